"""Exercises about models and optimisers, whose answers are judged by what they do in a little scene."""

from collections.abc import Callable
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from numbers import Real

import torch

from course_lib.checks.exercise import Exercise


@dataclass(frozen=True)
class StagedExercise(Exercise):
    """An exercise about models and optimisers. Its probes are plain tensors and numbers.

    `stage(answer)` is a function of these: it builds what the answer wants, calls it, and returns what came of it as
    tensors. Given a model, it is the answer itself: so a later chapter can use the oracle.
    """

    of_scenes = Exercise  # what makes the exercise of the scenes

    stage: Callable = field(kw_only=True)

    @cached_property
    def on_stage(self) -> Exercise:  # pyright: ignore[reportIncompatibleMethodOverride] (kept, for it is made)
        """The exercise of the scenes: its oracle and its mistakes are staged, as its answers must be."""
        plain = {field.name: getattr(self, field.name) for field in fields(Exercise)}
        plain["oracle"] = self.stage(self.oracle)
        plain["mistakes"] = tuple(replace(mistake, gives=self.stage(mistake.gives)) for mistake in self.mistakes)
        return self.of_scenes(**plain)

    def staged(self, answer: Callable) -> Callable:
        """The scene with this answer, whose lines and names count where one is named."""
        scene = self.stage(answer)
        scene.__wrapped__ = answer
        return scene


def as_number(value, what):
    """A float that an answer returned, Python's or NumPy's, as a tensor; `what` names it in the message.

    Raises:
        TypeError: it is something else.
    """
    if not isinstance(value, Real) or isinstance(value, bool):
        raise TypeError(f"expected {what} as a float, got {type(value).__name__}")
    return torch.tensor(float(value), dtype=torch.float64)
