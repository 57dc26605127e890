"""What an exercise is, and how an answer to it is judged.

An `Exercise` is a record: fresh inputs, an oracle to compare with, and the mistakes that readers
make, each with its own hint. Judging sends inputs in and gets arrays back; nothing else about the
answer matters, so any correct implementation passes.
"""

import secrets
import types
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from importlib import import_module
from unittest import mock

import einops
import torch

# By how much an answer may differ from the oracle: rounding, and nothing more.
TOLERANCE = {torch.float64: 1e-9, torch.float32: 1e-5}


@dataclass(frozen=True)
class Mistake:
    """A known wrong answer and the hint it deserves.

    `gives` takes the same inputs as the exercise and behaves as the mistake does: it returns the
    same wrong numbers, or raises the same error. An answer that behaves alike gets the hint.
    """

    hint: str
    gives: Callable


@dataclass(frozen=True)
class Exercise:
    """One exercise: what is asked, how answers are probed, and what is known to go wrong.

    Args:
        name: the function that the reader writes.
        chapter: "01", "02", ...
        signature: the call as the chapter writes it.
        task: what the function must do, with shapes; reads on from "the task is to".
        probes: random generator -> list of keyword arguments, at least three, of different shapes.
        oracle: the right answer, computed by other means than the reader's: a tensor, a dict of tensors, a whole
            number, or a tuple of these.
        mistakes: tried in order; the first that behaves as the answer does gives the hint.
        parts: the names of the returned tensors, where there are several.
        uses: right answers to the exercises that this one may build on. They stand in for the
            reader's own while this one is judged, so that each check speaks of one exercise alone.
        forbidden: dotted names of ready-made solutions that the answer may not call.
    """

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

    @torch.enable_grad()  # also where the notebook has switched gradients off
    def judge(self, candidate, seed=None):
        """Run `candidate` on every probe, fresh each time unless `seed` is given, and return the `Verdict`."""
        generator = torch.Generator().manual_seed(secrets.randbits(62) if seed is None else seed)
        probes = self.probes(generator)
        if not callable(candidate):
            return Verdict(self.name, "error", f"expected a function, got {_describe(candidate)}")
        candidate = _with_globals(candidate, self.uses)
        for inputs in probes:
            outcome = run(candidate, inputs, self.forbidden)
            problem, advice = self._problem(inputs, outcome)
            if problem == "not attempted":
                return Verdict(
                    self.name, "not attempted", "it returns nothing: write the body, or add the missing `return`"
                )
            if problem:
                status = "error" if isinstance(outcome, Raised) else "wrong"
                hint = self._hint(candidate, inputs, outcome, probes) or advice
                return Verdict(self.name, status, f"{problem} for {_shapes(inputs)}", hint)
        return Verdict(self.name, "passed")

    def _problem(self, inputs, outcome):
        """What is wrong with the outcome and where, and general advice; ("", "") if nothing is."""
        asked = f"the task is to {self.task}"
        if isinstance(outcome, Raised):
            if outcome.kind is NotImplementedError:
                return "not attempted", ""
            if outcome.kind is ShortcutError:
                return f"you call {outcome.text}", "that is the ready-made answer; here you write your own."
            return f"{outcome.kind.__name__}: {outcome.text}", asked
        if outcome.value is None:
            return "not attempted", ""

        expected = _as_tuple(self.oracle(**inputs))
        got = _as_tuple(outcome.value) if len(self.parts) > 1 else (outcome.value,)
        if len(got) != len(expected):
            return f"expected {len(expected)} to be returned ({', '.join(self.parts)}), got {len(got)}", asked
        for part, wanted, given in zip(self.parts, expected, got, strict=True):
            difference = _difference(wanted, given)
            if difference:
                return f"{part}: {difference}" if len(expected) > 1 else difference, asked
        if outcome.changed:
            return f"your function changes its input {outcome.changed} in place", "compute a new tensor instead."
        pairs = zip(_tensors(expected), _tensors(got), strict=True)
        if any(wanted.requires_grad and not given.requires_grad for wanted, given in pairs):
            return "the result carries no gradient", "stay with tensors: no .detach(), .item(), .tolist() or numpy."
        return "", ""

    def _hint(self, candidate, inputs, outcome, probes):
        """The hint of the first mistake that behaves as the candidate does, or "".

        Best is a mistake that does the same on all probes (and something wrong on at least one).
        For a candidate that raised, the same error on the same inputs is good enough.
        """
        outcomes = [run(candidate, probe, self.forbidden) for probe in probes]
        right = [run(self.oracle, probe) for probe in probes]
        visible = not all(map(_alike, outcomes, right))  # otherwise a mistake like it would be none on these probes
        for mistake in self.mistakes:
            imitated = (run(mistake.gives, probe) for probe in probes)
            if visible and all(map(_alike, imitated, outcomes)):  # stops at the first probe that differs
                return mistake.hint
        if isinstance(outcome, Raised):
            return next((m.hint for m in self.mistakes if _alike(run(m.gives, inputs), outcome)), "")
        return ""


@dataclass(frozen=True)
class Verdict:
    """The judgement on one answer. `line` is what the reader sees: always one line."""

    exercise: str
    status: str  # "passed", "not attempted", "wrong" or "error"
    problem: str = ""
    hint: str = ""

    @property
    def line(self):
        mark = {"passed": "✓", "not attempted": "○"}.get(self.status, "✗")
        parts = [f"{mark} {self.exercise}: {self.status}"]
        if self.problem:
            parts.append(f" – {self.problem}.")
        if self.hint:
            parts.append(f" Hint: {self.hint}")
        return " ".join("".join(parts).split())


@dataclass(frozen=True)
class Returned:
    value: object
    changed: str  # the name of an input that the call changed in place, or ""


@dataclass(frozen=True)
class Raised:
    kind: type
    text: str


class ShortcutError(Exception):
    """The answer called a ready-made solution instead of writing it out."""


def normal(generator):
    """For probes: a function that draws standard normal numbers of the shape that it is given, in float64."""
    return lambda *shape: torch.randn(shape, generator=generator, dtype=torch.float64)


def single(value):
    """For probes: tensors, also those in a dictionary, in float32 and asking for gradients, as in training."""
    if isinstance(value, dict):
        return {name: single(item) for name, item in value.items()}
    return value.float().requires_grad_() if isinstance(value, torch.Tensor) else value


def run(function, inputs, forbidden=()):
    """Call `function` on copies of the inputs and say what came of it; nothing outside is disturbed."""
    copies = {name: _copy(value) for name, value in inputs.items()}
    with torch.random.fork_rng(devices=[]), torch.enable_grad(), ExitStack() as stack:
        for dotted in forbidden:
            stack.enter_context(_refuse(dotted))
        try:
            value = function(*copies.values())  # by position: the reader may name the parameters otherwise
        except Exception as error:  # whatever the reader's code raises becomes one line
            _forget_einops_recipes()
            text = " ".join(str(error).split())
            return Raised(type(error), text[:200] or "no message")
    changed = next((name for name, value in inputs.items() if not _same(value, copies[name])), "")
    return Returned(value, changed)


def _forget_einops_recipes():
    """einops remembers a failed call with H=3.0 as one with H=3, and would fail for all that come after."""
    recipes = getattr(einops.einops, "_reconstruct_from_shape", None)
    if recipes is not None:
        recipes.cache_clear()


def _with_globals(candidate, replacements):
    """The same function, seeing `replacements` among its globals; the reader's own names stay untouched."""
    if not isinstance(candidate, types.FunctionType):
        return candidate
    names = {**candidate.__globals__, **replacements}
    twin = types.FunctionType(
        candidate.__code__, names, candidate.__name__, candidate.__defaults__, candidate.__closure__
    )
    twin.__kwdefaults__ = candidate.__kwdefaults__
    return twin


def _refuse(dotted):
    path, _, attribute = dotted.rpartition(".")

    def refusing(*args, **kwargs):
        raise ShortcutError(dotted)

    return mock.patch.object(_resolve(path), attribute, refusing)


def _resolve(path):
    """A module or a class from its dotted name: 'torch.nn.functional', 'torch.Tensor'."""
    try:
        return import_module(path)
    except ModuleNotFoundError:
        parent, _, name = path.rpartition(".")
        return getattr(_resolve(parent), name)


def _difference(wanted, given):
    """None if `given` equals `wanted` to rounding, otherwise the first thing that differs."""
    if isinstance(wanted, dict):
        return _difference_of_dicts(wanted, given)
    if isinstance(wanted, int):
        if type(given) is not int:
            return f"expected a whole number (int), got {_describe(given)}"
        return None if given == wanted else f"expected {wanted}, got {given}"
    if not isinstance(given, torch.Tensor):
        return f"expected a tensor, got {_describe(given)}"
    if given.device != wanted.device or given.layout != wanted.layout:
        return f"expected a dense tensor on {wanted.device}, got {given.layout} on {given.device}"
    if given.shape != wanted.shape:
        return f"expected shape {tuple(wanted.shape)}, got {tuple(given.shape)}"
    if given.dtype != wanted.dtype:
        return f"expected {wanted.dtype}, got {given.dtype}"
    wanted, given = wanted.detach(), given.detach().as_subclass(torch.Tensor)  # no operators of the reader's own
    tolerance = TOLERANCE[wanted.dtype]
    right = (given - wanted).abs() <= tolerance * (1 + wanted.abs())  # False where given is NaN
    if right.all():
        return None
    index = tuple(int(i) for i in (~right).nonzero()[0])
    name = f"at index {list(index)} " if index else ""
    pairs = [(f"{wanted[index]:.{digits}g}", f"{given[index]:.{digits}g}") for digits in (6, 9, 12)]
    expected, got = next((pair for pair in pairs if pair[0] != pair[1]), pairs[-1])
    return f"{name}expected {expected}, got {got}"


def _difference_of_dicts(wanted, given):
    if not isinstance(given, dict):
        return f"expected a dict, got {_describe(given)}"
    sides = (("missing", wanted.keys() - given.keys()), ("left over", given.keys() - wanted.keys()))
    strange = [
        f"{len(names)} {'name' if len(names) == 1 else 'names'} {what}, {'' if len(names) == 1 else 'among them '}"
        f"{min(map(str, names))[:80]}"
        for what, names in sides
        if names
    ]
    if strange:
        return "; ".join(strange)
    differences = {name: _difference(value, given[name]) for name, value in wanted.items()}
    return next((f"{name}: {difference}" for name, difference in differences.items() if difference), None)


def _alike(a, b):
    """Whether two outcomes are the same: the same error, or the same numbers in the same shapes."""
    if isinstance(a, Raised) or isinstance(b, Raised):
        return type(a) is type(b) and (a.kind, a.text) == (b.kind, b.text)
    if bool(a.changed) != bool(b.changed):
        return False
    a, b = _as_tuple(a.value), _as_tuple(b.value)
    return len(a) == len(b) and all(_same_numbers(x, y) for x, y in zip(a, b, strict=True))


def _same_numbers(a, b):
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(_same_numbers(a[name], b[name]) for name in a)
    if isinstance(a, int | float) and isinstance(b, int | float):
        return type(a) is type(b) and a == b
    if not (isinstance(a, torch.Tensor) and isinstance(b, torch.Tensor)):
        return type(a) is type(b)
    return (
        a.shape == b.shape
        and a.dtype == b.dtype
        and a.requires_grad == b.requires_grad
        and torch.allclose(a.detach(), b.detach(), rtol=1e-5, atol=1e-6, equal_nan=True)
    )


def _tensors(values):
    """The tensors in a tuple of results, those of a dict by name."""
    inner = (x for v in values for x in ([v[name] for name in sorted(v)] if isinstance(v, dict) else [v]))
    return [x for x in inner if isinstance(x, torch.Tensor)]


def _as_tuple(value):
    return tuple(value) if isinstance(value, (tuple, list)) else (value,)


def _copy(value):
    if isinstance(value, dict):
        return {name: _copy(item) for name, item in value.items()}
    if isinstance(value, torch.Tensor):
        return value.detach().clone().requires_grad_(value.requires_grad)
    return value


def _same(a, b):
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(_same(a[name], b[name]) for name in a)
    return torch.equal(a, b) if isinstance(a, torch.Tensor) else a == b


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


def _describe(value):
    return f"{type(value).__name__} {str(value)[:40]!r}"
