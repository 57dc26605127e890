"""Exercises whose answer is a test: it passes right implementations, of whatever make, and fails wrong ones.

A test takes the implementation as its argument and says no with an `AssertionError`. What is judged is what it says of
each implementation, with fresh random numbers each time.
"""

import random
from collections.abc import Callable, Iterable, Mapping
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from typing import Any, Self

import numpy as np
import torch
from torch import nn

from course_lib.checks.advice import dropped
from course_lib.checks.exercise import Exercise
from course_lib.checks.staged import StagedExercise
from course_lib.checks.watch import Raised, described, raised

RUNS = 8  # of a test, with other random numbers each, on every implementation


class Rulings(tuple):
    """What a test says of each implementation, 1 if it passes it and 0 if not; `lines` has the lines that said no."""

    lines: dict[str, str]

    @classmethod
    def of(cls, said: Iterable[int], lines: dict[str, str]) -> Self:
        rulings = cls(said)
        rulings.lines = lines
        return rulings


def seeds(generator: torch.Generator) -> list[dict]:
    """For probes: one for each run of a test."""
    return [{"seed": int(seed)} for seed in torch.randint(2**31, (RUNS,), generator=generator)]


@dataclass(frozen=True)
class WrittenTest(StagedExercise):
    """An exercise whose answer is a test. Its oracle is a right test, its mistakes are tests that are not.

    Args:
        right: {what tells it from the others: a right implementation}.
        wrong: {what is wrong: an implementation with this bug}.
    """

    right: Mapping[str, Callable] = field(kw_only=True)
    wrong: Mapping[str, Callable] = field(kw_only=True)

    @property
    def of_scenes(self):
        return partial(Trial, right=len(self.right))

    @cached_property
    def on_stage(self):  # a right test's rulings are known: its runs are saved
        wanted = Rulings.of([1] * len(self.right) + [0] * len(self.wrong), {})
        return replace(super().on_stage, oracle=lambda seed: wanted)


def trial(implementations: Mapping[str, Callable]) -> Callable:
    """The stage of a `WrittenTest`: test -> a function of a seed that gives the `Rulings`, or None for a stub."""

    def stage(test):
        def scene(seed):
            if _looks_at_nothing(test):
                return None
            said, lines = [], {}
            for number, (name, implementation) in enumerate(implementations.items()):
                given = deepcopy(implementation)  # a test may spoil a module: the next run has a fresh one
                try:
                    with _seeded(seed):
                        value = test(given)
                except Exception as error:
                    if number == 0 and not isinstance(error, AssertionError):
                        raise  # the test itself does not run
                    said.append(0)
                    lines[name] = raised(error, test).line
                    continue
                said.append(1)
                if value is not None:
                    raise TypeError(
                        f"your test returns {described(value)}: a test returns nothing, and says no with `assert`"
                    )
                if _changed(implementation, given):
                    raise TypeError("your test changes what it is given: work on a copy, copy.deepcopy(...)")
            return Rulings.of(said, lines)

        return scene

    return stage


@contextmanager
def _seeded(seed):
    """Whatever draws, the test or the implementation, draws the same for one seed; PyTorch's state the caller keeps."""
    before = random.getstate(), np.random.get_state()
    torch.manual_seed(seed)
    random.seed(seed)
    np.random.seed(seed % 2**32)
    try:
        yield
    finally:
        random.setstate(before[0])
        np.random.set_state(before[1])


def _looks_at_nothing(test):
    """Whether a test runs to its end with something that no test can use: so it is a stub."""
    try:
        return test(object()) is None
    except Exception:
        return False


def _changed(before: Any, after: Any) -> bool:
    if not isinstance(before, nn.Module):
        return False
    modes = [[module.training for module in model.modules()] for model in (before, after)]
    left = [[weight.grad is not None for weight in model.parameters()] for model in (before, after)]
    weights = [model.state_dict() for model in (before, after)]
    same = weights[0].keys() == weights[1].keys() and all(torch.equal(weights[0][n], weights[1][n]) for n in weights[0])
    return modes[0] != modes[1] or left[0] != left[1] or not same


@dataclass(frozen=True)
class Trial(Exercise):
    """A `WrittenTest` on its stage: `parts` are the implementations, and the first `right` of them are right."""

    nothing = "it does not look at what it is given: write the body"

    right: int = field(kw_only=True)

    def _problem(self, inputs, outcome):
        if not self._rules(outcome):
            return super()._problem(inputs, outcome)
        names = dict(zip(self.parts, outcome.value, strict=True))
        failed = [name for name in self.parts[: self.right] if not names[name]]
        passed = [name for name in self.parts[self.right :] if names[name]]
        if not failed and not passed:
            return super()._problem(inputs, outcome)  # it may have left a trace outside
        return _said(failed, passed, outcome.value.lines, self), _advice(failed, passed, self)

    def _rules(self, outcome):
        """Whether it came to a ruling on each implementation."""
        value = None if isinstance(outcome, Raised) else outcome.value
        return isinstance(value, Rulings) and len(value) == len(self.parts)

    def _named(self, answer, probes, inputs, outcome, problem, advice):
        verdict = super()._named(answer, probes, inputs, outcome, problem, advice)
        if verdict.status == "not attempted":
            return verdict
        hint = "" if verdict.known else dropped(answer.source(), self.uses) or self._chance(answer, probes)
        return replace(verdict, problem=problem, hint=hint or verdict.hint)

    def _chance(self, answer, probes):
        """A hint for a test whose verdict on one implementation is not always the same; "" if it is."""
        outcomes = [answer.run(probe) for probe in probes]
        if not all(map(self._rules, outcomes)):
            return ""
        for name, *of_one in zip(self.parts, *(outcome.value for outcome in outcomes), strict=True):
            if 0 < sum(of_one) < len(of_one):
                its_right = name in self.parts[: self.right]
                kind, room = ("right code", "more") if its_right else ("a bug", "less")
                runs = f"In {len(of_one)} runs it passes {kind} ({name}) {sum(of_one)} times."
                what = "chance decides: it says now yes and now no to the same code."
                return f"{what} Draw more, leave {room} room, or choose the numbers yourself. {runs}"
        return ""


EVERYTHING = "nothing is asserted, or what holds for the bugs as well, as the shape does, a loss that falls, all that one may say of pixels that are alike: compare numbers that you know, with `assert` or torch.testing.assert_close."
NOTHING = "try it on the right code, the first of all: what you expect is wrong, or more than the task promises."
TOO_STRICT = "right code of another make differs in the last digits, in the names of its parameters, in what nobody promised: leave a tolerance such as 1e-5, call by position, ask for no more than the task says."
TOO_LAX = "choose an example in which this bug shows: sizes that all differ and none of them 1, numbers that are neither all alike nor extreme, more calls than one, a tolerance no wider than rounding needs."


def _advice(failed, passed, trial):
    if len(failed) == trial.right:
        return NOTHING
    if failed:
        return TOO_STRICT
    return EVERYTHING if len(passed) == len(trial.parts) - trial.right else TOO_LAX


def _said(failed, passed, lines, trial):
    """'it passes 1 of 5 bugs (...) and fails 2 of 6 that are right (...)', each by its name."""
    bugs, words = len(trial.parts) - trial.right, []
    if passed:
        every = "all of them" if len(passed) == bugs else "; ".join(passed)
        words.append(f"passes {len(passed)} of {bugs} bugs ({every})")
    if failed:
        every = "all of them" if len(failed) == trial.right else "; ".join(failed)
        line = next((lines[name] for name in failed if lines.get(name)), "")
        where = f", in your line `{line}`" if line else ""
        words.append(f"fails {len(failed)} of {trial.right} that are right ({every}){where}")
    return f"it {' and '.join(words)}"
