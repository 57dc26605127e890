"""What a setting may be: the questions that all other rooms ask, each in one place, each refusal in one line."""

import math
from collections.abc import Iterable
from typing import Any, TypeGuard


def is_count(value: object, least: int = 1) -> TypeGuard[int]:
    """Whether `value` is a whole number, at least `least`. 2.0 and True are none."""
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


def is_number(value: object) -> TypeGuard[float]:
    """Whether `value` is a finite number. True is none."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def check_count(name: str, value: object, least: int = 1) -> None:
    """Raise a `ValueError` unless `value` is a whole number, at least `least`."""
    if not is_count(value, least):
        raise ValueError(f"{name} {value!r} must be a whole number, at least {least}.")


def check_rate(name: str, value: object) -> None:
    """Raise a `ValueError` unless `value` is a share that leaves something: at least 0 and below 1."""
    if not (is_number(value) and 0 <= value < 1):
        raise ValueError(f"{name} {value!r} must be at least 0 and below 1.")


def check_choice(name: str, value: object, choices: Iterable[object]) -> None:
    """Raise a `ValueError` unless `value` is one of `choices`, which the line names."""
    choices = tuple(choices)
    if value not in choices:
        raise ValueError(f"{name} {value!r} must be one of {', '.join(map(str, choices))}.")


def as_pair(name: str, value: Any) -> tuple[int, int]:
    """(height, width) or (rows, columns) from two positive whole numbers, or from one if they are the same.

    A tuple, a list, a shape, an array or a tensor will do.

    Raises:
        ValueError: it is anything else.
    """
    given = value.tolist() if hasattr(value, "tolist") else value
    pair = tuple(given) if isinstance(given, list | tuple) else (given, given)
    pair = tuple(each.item() if hasattr(each, "item") else each for each in pair)  # NumPy's numbers
    if len(pair) != 2 or not all(map(is_count, pair)):
        raise ValueError(
            f"{name} {value!r} must be two positive whole numbers, height first, or one if they are equal."
        )
    return pair[0], pair[1]
