"""Carry your own functions from chapter to chapter.

When a check passes in a notebook, your function is kept in `my_pieces.py` beside the notebooks. A later
chapter takes it from there; what you have not written yet, it takes from the course, and says so. Chapter 06.
"""

import ast
import builtins
import inspect
import linecache
import re
import symtable
import sys
import types
from collections.abc import Callable
from pathlib import Path

from course_lib.checks.catalogue import NAMES, find
from course_lib.files.atomic import write_atomically

FILE = "my_pieces.py"
DRIVE = Path("/content/drive/MyDrive")  # where Colab puts a mounted Google Drive

HEADER = '''"""Your pieces. The course's checks write this file: one block for each exercise that you have passed.

Blocks are replaced when you pass an exercise again. To have one forgotten, delete it or call forget("its name").
"""
'''
BLOCK = re.compile(r"^# %% piece: (\w+)\n(.*?)(?=^# %% piece: |\Z)", re.M | re.S)


def pieces_file():
    """Where the pieces are kept: in the working folder; in Colab on your Drive, once it is mounted."""
    return (DRIVE if DRIVE.is_dir() else Path.cwd()) / FILE


def keep(exercise, function):
    """Put the source of `function`, which has just passed, into the file. Outside of a notebook nothing happens.

    A function that does not pass any more when it stands alone (it uses a variable of some other cell) is
    not kept, and a line says why.
    """
    if not _in_notebook():
        return
    try:
        source = _source(exercise.name, function)
        verdict = exercise.judge(_load(exercise.name, source, kept_pieces()))
        if verdict.status != "passed":
            raise ValueError(f"standing alone it gives: {verdict.problem}")
        _write(kept_pieces() | {exercise.name: source})
    except Exception as error:  # whatever the reader's code does when it is run again
        print(
            f"  ({exercise.name} is right, but was not kept for later chapters: {' '.join(str(error).split())[:150]})"
        )


def my_pieces(*names):
    """The functions of these exercises: yours where you have passed, the course's where not. Prints which is whose.

    Args:
        names: of exercises, such as "softmax", "encoder_block".

    Returns:
        the functions in that order.

    Raises:
        ValueError: there is no exercise of that name.
    """
    for name in names:
        find(name)  # raises before anything is printed
    kept, functions = kept_pieces(), []
    for name in names:
        function, whose = _resolve(name, kept)
        functions.append(function)
        print(f"{name:<32} {whose}")
    return tuple(functions)


def kept_pieces():
    """{exercise: source} of what is kept: in the working folder and, where there is one, on the Drive, which wins."""
    found = {}
    for file in _files():
        found |= _blocks(file.read_bytes())
    return found


def _files():
    """The files that there are, the one that wins last."""
    return [file for file in dict.fromkeys((Path.cwd() / FILE, pieces_file())) if file.is_file()]


def forget(*names: str) -> None:
    """Forget what has passed: the exercises of these names, or all of them. Prints what became of it.

    Named ones are taken out of the file. All together are set aside: the file gets another name, which is printed.

    Raises:
        ValueError: nothing is kept of an exercise of that name.
    """
    kept = kept_pieces()
    if unknown := [name for name in names if name not in kept]:
        raise ValueError(f"nothing is kept of {unknown[0]!r}; there are {', '.join(kept) or 'no pieces'}.")
    for file in _files():
        if names:
            left = {name: source for name, source in _blocks(file.read_bytes()).items() if name not in names}
            _write(left, file)
        else:
            print(f"{file.name} is called {_set_aside(file).name} now.")
    print(f"Forgotten: {', '.join(names or kept) or 'nothing, since nothing was kept'}.")


def _set_aside(file):
    """Give a file another name, one that is free."""
    place, number = file.with_suffix(".old.py"), 1
    while place.exists():
        number += 1
        place = file.with_suffix(f".old-{number}.py")
    return file.rename(place)


def _blocks(content):
    """{exercise: source} of a file's bytes, whichever line ends it has."""
    return dict(BLOCK.findall("\n".join(content.decode("utf-8", errors="replace").splitlines()) + "\n"))


def download_pieces():
    """In Colab without Drive: save the file to your computer, to be uploaded again another day."""
    from google.colab import files  # pyright: ignore[reportMissingImports] (only Colab has it)

    files.download(str(pieces_file()))


def upload_pieces():
    """In Colab without Drive: bring back a file that you have downloaded. Your newer pieces win over those in it."""
    from google.colab import files  # pyright: ignore[reportMissingImports] (only Colab has it)

    for content in files.upload().values():
        _write(_blocks(content) | kept_pieces())


def _in_notebook():
    return "IPython" in sys.modules and hasattr(sys.modules["IPython"].get_ipython(), "kernel")


def _resolve(name, kept):
    """The function for an exercise and whose it is; a piece that does not load any more gives way to the course's."""
    exercise = find(name)
    course = exercise.oracle
    if name not in kept:
        return course, f"the course's (exercise of chapter {exercise.chapter.lstrip('0')})"
    try:
        return _load(name, kept[name], kept), "yours"
    except Exception as error:  # whatever the reader's file does
        return (
            course,
            f"the course's (yours does not load: {type(error).__name__}: {' '.join(str(error).split())[:80]})",
        )


def _load(name, source, kept):
    """Run one block in a namespace of its own, in which it finds the other pieces that it calls."""
    code = compile(source, f"{FILE}:{name}", "exec")
    others = (_names_in(code) & set(NAMES)) - {name}
    space = {other: _resolve(other, {k: v for k, v in kept.items() if k != name})[0] for other in others}
    exec(code, space)
    return space[name]


def load_piece(name: str, sources: dict[str, str]) -> Callable:
    """The function of an exercise from its text. Others of `sources` that it calls are loaded with it; what is not
    among them it takes from the course.

    Raises:
        KeyError: the text does not define it. Anything else that the text raises goes through.
    """
    return _load(name, sources[name], sources)


def _source(exercise, function):
    """Everything that `function` needs, as a text that can be run alone: imports, constants, helpers, itself."""
    blocks, seen = [], set()
    # A decorated function has its decorator's globals; what it stands around has the notebook's.
    notebook = getattr(inspect.unwrap(function), "__globals__", {})

    def add(name, value):
        if name in seen:
            return
        seen.add(name)
        if getattr(value, "__module__", None) == "__main__" and isinstance(value, types.FunctionType | type):
            text = _text(value)
            for other in sorted(_looked_up(text) - set(NAMES)):
                if other in notebook and not hasattr(builtins, other):
                    add(other, notebook[other])
            blocks.append(text)
            if value.__name__ not in (name, "<lambda>"):
                blocks.append(f"{name} = {value.__name__}")
        elif line := _line(name, value):
            blocks.append(line)
        # Anything else stays out; if it was needed, the check of the finished text says so.

    add(exercise, function)
    if exercise not in seen or not blocks:
        raise ValueError(f"a {type(function).__name__} cannot be written into a file, a function made with `def` can.")
    return "\n".join(blocks) + "\n"


def _looked_up(text):
    """The global names that a definition looks up: in its body, its defaults, its annotations, its decorators."""
    top = symtable.symtable(text, FILE, "exec")
    names, scopes = {symbol.get_name() for symbol in top.get_symbols() if symbol.is_referenced()}, top.get_children()
    for scope in scopes:
        names |= {symbol.get_name() for symbol in scope.get_symbols() if symbol.is_global()}
        scopes.extend(scope.get_children())
    return names


def _text(value):
    """The source of a function or class of the notebook."""
    if isinstance(value, types.FunctionType):
        return inspect.cleandoc("\n" + inspect.getsource(value))
    # Of a class in a notebook, inspect does not know the cell; its methods do.
    method = next(part for part in vars(value).values() if isinstance(part, types.FunctionType))
    lines = linecache.getlines(method.__code__.co_filename)
    classes = [node for node in ast.parse("".join(lines)).body if isinstance(node, ast.ClassDef)]
    (found,) = [node for node in classes if node.name == value.__name__]
    start = min([found.lineno, *(decorator.lineno for decorator in found.decorator_list)])
    return "".join(lines[start - 1 : found.end_lineno])


def _line(name, value):
    """The line that gives `name` its value again: an import or a constant; "" for anything else."""
    if isinstance(value, types.ModuleType):
        return f"import {value.__name__} as {name}"
    if isinstance(value, float):
        return f"{name} = float({str(value)!r})"
    if isinstance(value, bool | int | str | tuple | list | dict | None):
        return f"{name} = {value!r}" if _is_literal(value) else ""
    own = getattr(value, "__name__", "")
    for module in (
        getattr(value, "__module__", None),
        "torch",
        "torch.nn.functional",
    ):  # torch.exp does not know its own
        if own and getattr(sys.modules.get(module or ""), own, None) is value:
            return f"from {module} import {own} as {name}"
    return ""


def _is_literal(value):
    try:
        return ast.literal_eval(repr(value)) == value
    except (ValueError, SyntaxError):
        return False


def _names_in(code):
    """All global names that a code object and the functions inside it may look up."""
    inner = (constant for constant in code.co_consts if isinstance(constant, types.CodeType))
    return set(code.co_names).union(*map(_names_in, inner))


def _write(pieces, file=None):
    """Replace the file, or another one, in one step, in the order in which the course asks for the pieces."""
    order = [name for name in NAMES if name in pieces] + [name for name in pieces if name not in NAMES]
    blocks = [f"# %% piece: {name}\n{pieces[name].strip()}\n" for name in order]
    write_atomically(file or pieces_file(), "\n\n".join([HEADER, *blocks]).encode())
