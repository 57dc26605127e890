"""A learner's notebook as a text: its cells, and where in it which exercise stands. What it says came out is not read."""

import ast
import functools
import hashlib
import json
import re
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path

from course_lib.words import one_line

LARGEST = 50 << 20  # bytes

# Lines that would change the machine: they are left out.
INSTALLS = re.compile(r"^(?P<indent>[ \t]*)[%!] *(?:sudo +)?(?P<what>pip3?|conda|mamba|uv|apt(?:-get)?)\b.*$", re.M)


class NotebookError(ValueError):
    """A file that is no notebook, in one line."""


@dataclass(frozen=True)
class Cell:
    """A cell of code: its number among the notebook's cells, as people count, and its text."""

    number: int
    source: str
    exercise: str = ""  # whose answer the course has marked it as

    @property
    def runs(self) -> str:
        """The text without the lines that install something."""
        return INSTALLS.sub(lambda line: f"{line['indent']}pass", self.source)


@dataclass(frozen=True)
class Notebook:
    """The cells of code of a notebook, and what is to be noticed about it."""

    name: str
    cells: tuple[Cell, ...]
    notes: list[str] = field(default_factory=list)

    def last_binding(self, name: str) -> Cell | None:
        """The last cell that gives `name` a value, as far as its text tells."""
        return next((cell for cell in reversed(self.cells) if name in bound_names(cell.source)), None)

    def cell_of(self, exercise: str) -> Cell | None:
        """The last cell that is marked as the exercise's answer, or else gives its name a value."""
        marked = next((cell for cell in reversed(self.cells) if cell.exercise == exercise), None)
        return self.last_binding(exercise) or marked

    def digest_of(self, exercise: str) -> str:
        """Of the answer to an exercise, without comments and layout; "" if there is none that can be read."""
        cell = self.last_binding(exercise)
        tree = parsed(cell.source) if cell else None
        return hashlib.sha256(ast.dump(tree).encode()).hexdigest()[:12] if tree else ""


def read_notebook(path: Path) -> Notebook:
    """The notebook in a file.

    Raises:
        NotebookError: there is none, or the file is something else.
    """
    told = read_json(path)
    version = told.get("nbformat")
    if version != 4:
        says = (
            "Open it in Jupyter, and save it again." if version in (1, 2, 3) else "This version of the course reads 4."
        )
        raise NotebookError(f"expected a notebook in format 4, got format {one_line(str(version), 20)}. {says}")
    if not isinstance(told.get("cells"), list):
        raise NotebookError("expected a notebook, got one without a list of cells: save it again.")
    cells, counts = [], []
    for number, cell in enumerate(told["cells"], 1):
        if isinstance(cell, dict) and cell.get("cell_type") == "code" and (source := _text(cell.get("source"))).strip():
            metadata = cell["metadata"] if isinstance(cell.get("metadata"), dict) else {}
            marked = metadata.get("exercise") if "exercise" in (metadata.get("tags") or []) else None
            cells.append(Cell(number, source, marked if isinstance(marked, str) else ""))
            counts.append(cell.get("execution_count"))
    return Notebook(path.name, tuple(cells), _notes(told, cells, counts))


def read_json(path: Path) -> dict:
    """The object in a JSON file.

    Raises:
        NotebookError: there is no such file, or it holds something else.
    """
    if path.is_dir():
        raise NotebookError("it is a folder: name the notebook in it, or use `course grade` for all.")
    try:
        size = path.stat().st_size
        if size > LARGEST:
            raise NotebookError(f"it has {size >> 20} MB, and at most {LARGEST >> 20} are read: clear its outputs.")
        content = path.read_bytes()
    except OSError as error:
        raise NotebookError(f"it cannot be read: {error.strerror}.") from None
    if not content.strip():
        raise NotebookError("the file is empty.")
    if re.search(rb"^(<<<<<<<|>>>>>>>) ", content, re.M):
        raise NotebookError("it holds the marks of a merge conflict (<<<<<<<): settle the conflict in git first.")
    try:
        told = json.loads(content)
    except (ValueError, RecursionError):
        raise NotebookError("it is no notebook: its content is not JSON.") from None
    if not isinstance(told, dict):
        raise NotebookError(f"it is no notebook: expected an object, got a {type(told).__name__}.")
    return told


def _text(source: object) -> str:
    if isinstance(source, list):
        return "".join(map(str, source))
    return source if isinstance(source, str) else ""


def _notes(told: dict, cells: list[Cell], counts: list) -> list[str]:
    notes = [
        f"cell {cell.number}: `{one_line(line.group().strip(), 60)}` was left out: a check installs nothing"
        for cell in cells
        for line in INSTALLS.finditer(cell.source)
        if '"course-lib @' not in line.group()  # the course's own setup
    ]
    numbers = [count for count in counts if isinstance(count, int)]
    if numbers and (numbers != sorted(set(numbers)) or len(numbers) < len(counts)):
        notes.append("it was not run from top to bottom before it was saved; here it is")
    metadata = told["metadata"] if isinstance(told.get("metadata"), dict) else {}
    kernel = metadata["kernelspec"] if isinstance(metadata.get("kernelspec"), dict) else {}
    language = kernel.get("language") or "python"
    if language != "python":
        notes.append(f"it names a kernel for {one_line(str(language), 20)}, and was run with Python")
    return notes


@functools.cache
def bound_names(source: str) -> frozenset[str]:
    """The names that a cell gives a value outside of functions and classes, as far as its text tells."""
    tree = parsed(source)
    if tree is None:
        return frozenset(_bound_by_pattern(source))
    return frozenset(_bound(tree.body))


def _bound_by_pattern(source: str) -> set[str]:
    found = re.findall(r"^(?:(?:async +)?def|class) +(\w+)|^(\w+) *=(?!=)", source, re.M)
    return {first or second for first, second in found}


def functions_in(source: str) -> set[str]:
    """The names of the functions and classes that a cell defines."""
    return set(re.findall(r"^(?:(?:async +)?def|class) +(\w+)", source, re.M))


def parsed(source: str) -> ast.Module | None:
    """The syntax tree of a cell, magics and all; None where it has none."""
    from IPython.core.inputtransformer2 import TransformerManager

    try:
        return ast.parse(TransformerManager().transform_cell(source))
    except (SyntaxError, ValueError, RecursionError):
        return None


def _bound(body: Collection[ast.stmt]) -> list[str]:
    names = []
    for statement in body:
        if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names.append(statement.name)
            continue
        for node in ast.walk(statement):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                names.append(node.name)
            elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store | ast.Del):
                names.append(node.id)
            elif isinstance(node, ast.Import | ast.ImportFrom):
                names += [alias.asname or alias.name.partition(".")[0] for alias in node.names]
    return names
