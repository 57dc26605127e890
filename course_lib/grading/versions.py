"""The version of a check: a digest of its record, and of what judges it. A mended check has another one."""

import ast
import functools
import hashlib
import inspect
from importlib import import_module
from types import ModuleType

from course_lib.checks import catalogue, compare, edits, exercise, own_pieces, staged, watch

JUDGING = (exercise, compare, watch, staged, own_pieces, edits)


def version_of(name: str) -> str:
    """The version of the check of an exercise, as 12 hexadecimal digits.

    Raises:
        ValueError: there is no exercise of that name.
    """
    catalogue.find(name)
    (chapter,) = [chapter for chapter, names in catalogue.CHAPTERS.items() if name in names]
    return _digest(name + _record(import_module(f"course_lib.checks.{chapter}"), name) + _judging())


@functools.cache
def _judging() -> str:
    return "".join(inspect.getsource(module) for module in JUDGING)


@functools.cache
def _record(module: ModuleType, name: str) -> str:
    """The text of the statements of a module that an exercise's record is made of: its own, and those that it names."""
    text = inspect.getsource(module)
    statements = ast.parse(text).body
    makes: dict[str, list[ast.stmt]] = {}
    for statement in statements:
        for made in _made(statement):
            makes.setdefault(made, []).append(statement)
    (record,) = [
        key for key, value in vars(module).items() if isinstance(value, exercise.Exercise) and value.name == name
    ]
    wanted, left = set(), [record]
    while left:
        for statement in makes.get(left.pop(), []):
            if statement not in wanted:
                wanted.add(statement)
                left += [node.id for node in ast.walk(statement) if isinstance(node, ast.Name)]
    lines = text.splitlines(keepends=True)
    return "".join("".join(lines[s.lineno - 1 : s.end_lineno]) for s in statements if s in wanted)


def _made(statement: ast.stmt) -> list[str]:
    if isinstance(statement, ast.FunctionDef | ast.ClassDef):
        return [statement.name]
    return [node.id for node in ast.walk(statement) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)]


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:12]
