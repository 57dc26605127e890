"""The judging side: makes the inputs, keeps what is right to itself, and compares what comes back in this process."""

import contextlib
import secrets
from collections.abc import Callable, Iterator, Mapping

import torch

from course_lib.checks.catalogue import CHAPTERS, NAMES, chapter_key, find
from course_lib.checks.exercise import Verdict
from course_lib.checks.watch import Raised, Returned, TooSlowError
from course_lib.grading.kernel import CellError, Kernel, KernelError
from course_lib.grading.notebook import Cell, Notebook, NotebookError, functions_in
from course_lib.grading.plain import NotPlainError, decode_outcome, encode
from course_lib.grading.versions import version_of
from course_lib.words import one_line

HUMAN = ("StdinNotImplementedError", "NeedsAHumanError")


class NoAnswerError(Exception):
    """There is nothing to be compared. The text says why."""


class Remote:
    """An answer in a learner's kernel. It is called with all probes at once, and what came of it is kept."""

    def __init__(self, kernel: Kernel, exercise: str, probes: list[dict], seed: int) -> None:
        self.kernel, self.exercise, self.probes, self.seed = kernel, exercise, probes, seed
        self.right, self.text = False, ""
        self.told: dict[tuple, list[Returned | Raised]] = {}

    def run(self, inputs: dict, forbidden: tuple[str, ...] = (), draw: int | None = None) -> Returned | Raised:
        """What came of it; the last outcome too for what comes after one that took too long.

        Raises:
            NoAnswerError: there is no such function, or nothing that can be read came back.
            KernelError: the kernel has ended over it.
        """
        number = next(i for i, probe in enumerate(self.probes) if probe is inputs)
        wanted = range(len(self.probes)) if draw is None else [number]
        key = bool(forbidden), self.right, draw, tuple(wanted)
        if key not in self.told:
            self.told[key] = self._ask([self.probes[i] for i in wanted], bool(forbidden), draw)
        outcomes = self.told[key]
        return outcomes[min(number - wanted[0], len(outcomes) - 1)]

    @contextlib.contextmanager
    def with_right(self, pieces: Mapping[str, Callable]) -> Iterator[None]:
        self.right = bool(pieces)
        yield
        self.right = False

    def source(self) -> str:
        return self.text

    def _ask(self, probes: list[dict], judged: bool, draw: int | None) -> list[Returned | Raised]:
        inputs = [{name: encode(value) for name, value in probe.items()} for probe in probes]
        question = {"exercise": self.exercise, "inputs": inputs, "judged": judged, "right": self.right}
        question["draw"] = self.seed if draw is None else draw
        answer = self.kernel.ask(question)
        if not isinstance(answer, dict):
            raise NoAnswerError(
                "no answer came back: something in the notebook changes how cells run or what they show"
            )
        if none := answer.get("none"):
            raise NoAnswerError(one_line(str(none)))
        try:
            self.text = str(answer["source"])
            outcomes = [decode_outcome(outcome) for outcome in answer["outcomes"]]
        except (NotPlainError, KeyError, TypeError):
            raise NoAnswerError("no answer came back: what came cannot be read") from None
        if not 0 < len(outcomes) <= len(probes):
            raise NoAnswerError(f"no answer came back: {len(outcomes)} results for {len(probes)} questions")
        return outcomes


def judge(kernel: Kernel, name: str, seed: int | None = None) -> Verdict:
    """The verdict on the answer that the kernel has under the exercise's name; with fresh inputs, unless a seed is given.

    Raises:
        KernelError: the kernel has ended over it.
    """
    exercise, drawn = find(name), secrets.randbits(62)
    probes = exercise.fresh_probes(seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(drawn)  # whatever draws random numbers, here or there, an answer or a mistake, draws the same
        try:
            return exercise.on_stage.verdict(Remote(kernel, name, probes, drawn), probes)
        except NoAnswerError as error:
            return Verdict(name, "error", str(error))


class Broken(Exception):
    """The run is over before its end; the text says what has ended it."""


def judge_notebook(
    kernel: Kernel, notebook: Notebook, exercises: tuple[str, ...]
) -> tuple[list[Verdict], str, list[str]]:
    """Run a notebook's cells and judge its answers.

    An answer is judged when its cell has run, as the check cell below it would; what is not right then, once more at
    the end, when all that it may need has been defined.

    Returns:
        the verdicts in the order of the exercises, why the run broke off ("" if it did not), and notes.
    """
    homes = {name: notebook.cell_of(name) for name in exercises}
    found: dict[str, Verdict] = {}
    errors: dict[int, CellError] = {}
    broken = ""
    try:
        for cell in notebook.cells:
            with _breaking(f"cell {cell.number}"):
                if error := kernel.run(cell.runs):
                    errors[cell.number] = error
            for name in (name for name, home in homes.items() if home == cell):
                found[name] = _judged(kernel, name, found)
        for name in exercises:
            if name not in found or _may_do_better(found[name]):
                found[name] = _judged(kernel, name, found)
    except Broken as error:
        broken = str(error)
    verdicts = [found.get(name) or Verdict(name, "skipped", f"not reached: {broken}") for name in exercises]
    explained = [_explained(verdict, homes[verdict.exercise], errors) for verdict in verdicts]
    notes = [f"cell {number}: {_in_words(error)}" for number, error in errors.items()]
    return explained, broken, notes


def judge_pieces(kernel: Kernel, sources: dict[str, str]) -> tuple[list[Verdict], str, list[str]]:
    """Judge answers that stand as texts by themselves, in the course's order; returns what `judge_notebook` does."""
    found: dict[str, Verdict] = {}
    broken = ""
    names = [name for name in NAMES if name in sources]
    take = "__import__('course_lib.grading.inside', fromlist=['take_piece']).take_piece"
    try:
        for name in names:
            with _breaking(f"the answer to {name}"):
                error = kernel.run(f"{take}({name!r}, {sources!r})")
            found[name] = Verdict(name, "error", _in_words(error)) if error else _judged(kernel, name, found)
    except Broken as error:
        broken = str(error)
    return [found.get(name) or Verdict(name, "skipped", f"not reached: {broken}") for name in names], broken, []


def _may_do_better(verdict: Verdict) -> bool:
    """Whether an answer that did not pass may pass when the whole notebook has run; none gets quicker."""
    return verdict.status in ("wrong", "error") and not verdict.problem.startswith(TooSlowError.__name__)


@contextlib.contextmanager
def _breaking(what: str) -> Iterator[None]:
    try:
        yield
    except KernelError as error:
        raise Broken(f"{what} {error}") from None


def _judged(kernel: Kernel, name: str, found: dict[str, Verdict]) -> Verdict:
    try:
        with _breaking(f"the answer to {name}"):
            return judge(kernel, name)
    except Broken as error:
        found[name] = Verdict(name, "error", str(error))
        raise


def _explained(verdict: Verdict, home: Cell | None, errors: dict[int, CellError]) -> Verdict:
    """Of an answer that is not there, or not whole: what its cell raised, if it did."""
    error = errors.get(home.number) if home else None
    absent = verdict.status == "not attempted" or verdict.problem.endswith("is not defined")
    if home is None or error is None or not absent:
        return verdict
    return Verdict(verdict.exercise, "error", f"cell {home.number}: {_in_words(error)}")


def _in_words(error: CellError) -> str:
    if error.kind in HUMAN:
        return "it needs a human, and nobody is here to type, to choose or to allow something"
    place = f" (line {error.line})" if error.line else ""
    return f"{error.kind}: {error.text}{place}"


def chapter_of(notebook: Notebook, wanted: str | None = None) -> str:
    """The chapter ("ch01") whose exercises a notebook answers: the one asked for, or the one of which it has most.

    Raises:
        NotebookError: it has none of the course's exercises, and its name says no chapter.
    """
    if wanted is not None:
        try:
            return chapter_key(wanted)
        except ValueError as error:
            raise NotebookError(str(error)) from None
    sources = [cell.source for cell in notebook.cells]
    defined = {name for source in sources for name in functions_in(source)} & set(NAMES)
    marked = {cell.exercise for cell in notebook.cells}
    named = f"ch{notebook.name[:2]}"

    def has(chapter: str) -> tuple[int, int, bool]:
        names = set(CHAPTERS[chapter])
        return len(names & marked), len(names & defined), chapter == named

    best = max(CHAPTERS, key=has)
    if not any(has(best)):
        raise NotebookError("none of the course's exercises is answered in it: say which chapter it is, --chapter 3.")
    return best


def versions(names: tuple[str, ...]) -> dict[str, str]:
    """{exercise: the version of its check}."""
    return {name: version_of(name) for name in names}
