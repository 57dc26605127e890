"""What an exercise is, and how an answer to it is judged.

An `Exercise` is a record: fresh inputs, an oracle to compare with, and the mistakes that readers
make, each with its own hint. Judging sends inputs in and gets arrays back; nothing else about the
answer matters, so any correct implementation passes.
"""

import inspect
import secrets
import time
import warnings
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Protocol

import torch

from course_lib.checks.advice import dropped, on_error, seen
from course_lib.checks.compare import alike, as_tuple, difference, gradient_problem, largest_error
from course_lib.checks.own_pieces import stand_ins
from course_lib.checks.watch import (
    Raised,
    Returned,
    ShortcutError,
    TooSlowError,
    definition,
    described,
    run,
)
from course_lib.words import one_line

PATIENCE = 3  # seconds of computing after which no hint is looked for: the answer itself takes too long


@dataclass(frozen=True)
class Mistake:
    """A known wrong answer and the hint it deserves.

    `gives` takes the same inputs as the exercise and behaves as the mistake does: it returns the
    same wrong numbers, or raises the same error. An answer that behaves alike gets the hint.
    """

    hint: str
    gives: Callable


class Answer(Protocol):
    """An answer where it can be called: in this process (`Here`), or in one that is only sent inputs."""

    def run(self, inputs: dict, forbidden: tuple[str, ...] = (), draw: int | None = None) -> Returned | Raised:
        """What comes of calling it with one of the probes, or a seed (`draw`) for what it draws itself."""
        ...

    def with_right(self, pieces: Mapping[str, Callable]) -> AbstractContextManager:
        """While this lasts, right pieces stand in for the reader's own."""
        ...

    def source(self) -> str:
        """Its text, or "" where there is none."""
        ...


@dataclass(frozen=True)
class Here:
    """An answer in this process, as a check cell has it."""

    function: Callable

    def run(self, inputs: dict, forbidden: tuple[str, ...] = (), draw: int | None = None) -> Returned | Raised:
        if draw is None:
            return run(self.function, inputs, forbidden)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(draw)
            return run(self.function, inputs, forbidden)

    def with_right(self, pieces: Mapping[str, Callable]) -> AbstractContextManager:
        return stand_ins(self.function, pieces)

    def source(self) -> str:
        written = definition(self.function)
        try:
            return inspect.getsource(written) if written else ""
        except OSError:  # nothing to be read
            return ""


@dataclass(frozen=True)
class Exercise:
    """One exercise: what is asked, how answers are probed, and what is known to go wrong.

    Args:
        name: the function that the reader writes.
        chapter: "01", "02", ..., or "B" for the bug gallery.
        signature: the call as the chapter writes it.
        task: what the function must do, with shapes; reads on from "the task is to".
        probes: random generator -> list of keyword arguments, at least three, of different shapes.
        oracle: the right answer, computed by other means than the reader's: a tensor, a dict of tensors, a whole
            number, or a tuple of these.
        mistakes: tried in order; the first that behaves as the answer does gives the hint.
        parts: the names of the returned tensors, where there are several.
        uses: right answers to the exercises that this one may build on. They stand in for the reader's own where the
            answer is not right with those, so that each check speaks of one exercise alone.
        forbidden: ends of the names of ready-made solutions, such as "softmax" or "LayerNorm.forward". The answer may
            call none of them, nor a function of the course's that is named as the exercise is.
    """

    nothing = "it returns nothing: write the body, or add the missing `return`"  # said of a stub

    name: str
    chapter: str
    signature: str
    task: str
    probes: Callable[[torch.Generator], list[dict]]
    oracle: Callable
    mistakes: tuple[Mistake, ...]
    parts: tuple[str, ...] = ("result",)
    uses: Mapping[str, Callable] = field(default_factory=dict)
    forbidden: tuple[str, ...] = ()

    def check(self, candidate):
        """Print one line: passed, not attempted, or what is wrong and where, with a hint; and return the `Verdict`."""
        verdict = self.judge(candidate)
        print(verdict.line)
        return verdict

    @property
    def on_stage(self) -> "Exercise":
        """The exercise whose probes and oracle an answer is compared with, once it is `staged`: this one."""
        return self

    def staged(self, answer: Callable) -> Callable:
        """What is called with the probes: the answer itself, or a scene with it."""
        return answer

    @torch.enable_grad()  # also where the notebook has switched gradients off
    def judge(self, candidate, seed=None):
        """Run `candidate` on every probe, fresh each time unless `seed` is given, and return the `Verdict`."""
        if not callable(candidate):
            return Verdict(self.name, "error", f"expected a function, got {described(candidate)}")
        return self.on_stage.verdict(Here(self.staged(candidate)), self.fresh_probes(seed))

    def fresh_probes(self, seed: int | None = None) -> list[dict]:
        """Inputs that nobody has seen before, unless `seed` is given."""
        seed = secrets.randbits(62) if seed is None else seed
        return self.probes(torch.Generator().manual_seed(seed))

    def verdict(self, answer: Answer, probes: list[dict]) -> "Verdict":
        """The judgement on an answer, wherever it is.

        First with all that the reader wrote. If that is not right, once more with right answers to the earlier
        exercises in place of the reader's, so that each check speaks of one exercise alone.
        """
        fault = self._fault(answer, probes)
        with answer.with_right(self.uses if fault else {}):
            if fault and self.uses:
                fault = self._fault(answer, probes)
            return self._named(answer, probes, *fault) if fault else Verdict(self.name, "passed")

    def _fault(self, answer, probes):
        """(inputs, outcome, problem, advice) of the first probe on which the answer is not right, or None."""
        for inputs in probes:
            outcome = answer.run(inputs, (*self.forbidden, self.name))
            problem, advice = self._problem(inputs, outcome)
            if problem:
                return inputs, outcome, problem, advice
        return None

    def _named(self, answer, probes, inputs, outcome, problem, advice):
        """The verdict on a wrong answer."""
        if _is_a_stub(outcome) and inputs is probes[0]:
            raises = "it raises NotImplementedError: write the body in its place"
            return Verdict(self.name, "not attempted", raises if isinstance(outcome, Raised) else self.nothing)
        status = "error" if isinstance(outcome, Raised) else "wrong"
        with warnings.catch_warnings(action="ignore"):  # those of the mistakes are not the reader's
            hint = dropped(answer.source(), self.uses)
            known = "" if hint else self._hint(answer, probes, outcome)
            hint = hint or known or _drawn(answer, inputs, outcome) or advice or f"the task is to {self.task}"
        off = "" if isinstance(outcome, Raised) else largest_error(run(self.oracle, inputs), outcome)
        return Verdict(self.name, status, f"{problem} for {_shapes(inputs)}", hint, bool(known), off)

    def _problem(self, inputs, outcome):
        """What is wrong with the outcome and where, and what can be said about it; ("", "") if nothing is."""
        if isinstance(outcome, Raised):
            if outcome.kind is ShortcutError:
                return f"you call {outcome.text}", "that is the ready-made answer; here you write your own."
            if outcome.by_check:
                return outcome.text, ""
            place = f" in your line `{outcome.line}`" if outcome.line else ""
            return f"{outcome.kind.__name__}: {outcome.text}{place}", on_error(outcome)
        right = run(self.oracle, inputs)
        assert isinstance(right, Returned), right
        expected = as_tuple(right.value)
        got = as_tuple(outcome.value) if len(self.parts) > 1 else (outcome.value,)
        if len(got) != len(expected):
            parts = f"{len(expected)} to be returned ({', '.join(self.parts)})"
            return f"expected {parts}, got {len(got)}: {described(outcome.value)}", ""
        for part, wanted, given in zip(self.parts, expected, got, strict=True):
            if words := difference(wanted, given):
                return f"{part}: {words}" if len(expected) > 1 else words, seen(wanted, given, inputs)
        if outcome.changed:
            advice = "leave what is not yours as it was: compute a new tensor in place of an input, and undo a switch."
            return f"your function changes {outcome.changed}", advice
        return gradient_problem(right, outcome, self.parts)

    def _hint(self, answer, probes, outcome):
        """The hint of the mistakes that do on all probes what the answer does; "" if there are none, or two hints.

        Of an error the words count too, unless the mistake has shown itself in wrong numbers on another probe.
        """
        if isinstance(outcome, Raised) and outcome.kind in (ShortcutError, TooSlowError):
            return ""
        tried, begun = [], time.process_time()
        for probe in probes:
            if time.process_time() - begun > PATIENCE:
                return ""
            start = time.perf_counter()
            given = answer.run(probe)
            tried.append((time.perf_counter() - start, given, probe, alike(given, run(self.oracle, probe))))
        if all(right for *_, right in tried):
            return ""  # it does not show in the numbers, and a mistake that is alike is none on these probes
        # First where it is wrong, for there most mistakes differ; and of these the cheapest.
        tried.sort(key=lambda row: (row[3], row[0]))
        shown = any(not right and not isinstance(given, Raised) for _, given, _, right in tried)
        for words_count in (True, False) if shown else (True,):
            hints = {
                mistake.hint
                for mistake in self.mistakes
                if all(alike(given, run(mistake.gives, probe), words_count) for _, given, probe, _ in tried)
            }
            if hints:
                return hints.pop() if len(hints) == 1 else ""
        return ""


def _is_a_stub(outcome):
    return outcome.by_stub if isinstance(outcome, Raised) else outcome.value is None


def _drawn(answer, inputs, outcome):
    """A hint for an answer that gives other numbers each time, as with a layer that it makes itself; "" otherwise."""
    if isinstance(outcome, Raised):
        return ""
    first, second = (answer.run(inputs, draw=seed) for seed in (1, 2))
    return (
        DRAWN if alike(first, first) and not alike(first, second) else ""
    )  # what has no numbers is not even like itself


DRAWN = "called twice with the same inputs, it gives different numbers: a layer that you make starts with random weights, and rand, empty and dropout are no better; compute with what you are given."


@dataclass(frozen=True)
class Verdict:
    """The judgement on one answer. `line` is what the reader sees: always one line."""

    exercise: str
    status: str  # "passed", "not attempted", "wrong" or "error"
    problem: str = ""
    hint: str = ""
    known: bool = False  # whether the hint is that of a known mistake
    off: str = ""  # how far the numbers are off, where the fault lies in them

    @property
    def line(self):
        mark = {"passed": "✓", "not attempted": "○"}.get(self.status, "✗")
        parts = [f"{mark} {self.exercise}: {self.status}"]
        if self.problem:
            parts.append(f" – {self.problem}.")
        if self.hint:
            parts.append(f" Hint: {self.hint}")
        return one_line("".join(parts), 10_000)


def normal(generator):
    """For probes: a function that draws standard normal numbers of the shape that it is given, in float64."""
    return lambda *shape: torch.randn(shape, generator=generator, dtype=torch.float64)


def single(value):
    """For probes: tensors, also those in a dictionary, in float32 and asking for gradients, as in training."""
    if isinstance(value, dict):
        return {name: single(item) for name, item in value.items()}
    return value.float().requires_grad_() if isinstance(value, torch.Tensor) else value


def _shapes(inputs):
    """'query (2, 3, 4), num_heads 2': the inputs in few words."""
    words = []
    for name, value in inputs.items():
        if isinstance(value, dict):
            words.append(f"{name} with {len(value)} tensors")
        elif isinstance(value, torch.Tensor):
            words.append(f"{name} {tuple(value.shape)}")
        elif value is not None:
            words.append(f"{name} {value}")
    return ", ".join(words)
