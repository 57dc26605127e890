"""What a class found hard: for each exercise how many passed, and which known mistake was made how often."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Hardness:
    """One exercise in one class. `mistakes` are known ones: (their hint, how often), the most frequent first."""

    exercise: str
    judged: int
    passed: int
    not_attempted: int
    wrong: int
    errors: int
    skipped: int
    mistakes: tuple[tuple[str, int], ...]


def hardness(told: Iterable[dict[str, Any]]) -> list[Hardness]:
    """From what was told of each submission, in the order in which the exercises first come."""
    lines: dict[str, list[dict[str, Any]]] = {}
    for one in told:
        for line in one.get("exercises", ()):
            lines.setdefault(line["exercise"], []).append(line)
    return [_hardness(name, its) for name, its in lines.items()]


def _hardness(name: str, lines: list[dict[str, Any]]) -> Hardness:
    kinds = Counter(line["status"] for line in lines)
    mistakes = Counter(line["hint"] for line in lines if line["known_mistake"])
    return Hardness(
        name,
        judged=len(lines),
        passed=kinds["passed"],
        not_attempted=kinds["not attempted"],
        wrong=kinds["wrong"],
        errors=kinds["error"],
        skipped=kinds["skipped"],
        mistakes=tuple(sorted(mistakes.items(), key=lambda pair: (-pair[1], pair[0]))),
    )


def alike(told: Iterable[dict[str, Any]]) -> list[tuple[str, ...]]:
    """Groups of submissions whose answers, two at least, are the same but for comments and layout. No more is said."""
    groups: dict[tuple, list[str]] = {}
    for one in told:
        answers = one.get("answers") or {}
        if len(answers) > 1:
            groups.setdefault(tuple(sorted(answers.items())), []).append(one["file"])
    return sorted(tuple(sorted(files)) for files in groups.values() if len(files) > 1)
