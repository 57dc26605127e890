"""The models of the chapters, for scripts that train them at length: taken from the chapter, not written again."""

import ast
from pathlib import Path
from types import SimpleNamespace

BOOK = Path(__file__).parent.parent / "book"


def definitions(chapter, *names):
    """Execute a chapter's imports and its definitions of `names` (functions, classes, constants), nothing else.

    Raises:
        ValueError: the chapter does not define one of the names.
    """
    defined, wanted = {}, []
    for node in ast.parse((BOOK / f"{chapter}.py").read_text()).body:
        targets = ast.walk(ast.Tuple(node.targets)) if isinstance(node, ast.Assign) else [node]
        found = {getattr(target, "id", getattr(target, "name", None)) for target in targets} & set(names)
        if found or isinstance(node, ast.Import | ast.ImportFrom):
            wanted.append(node)
    exec(compile(ast.Module(wanted, []), chapter, "exec"), defined)
    missing = [name for name in names if name not in defined]
    if missing:
        raise ValueError(f"chapter {chapter} does not define {missing[0]}; asked for were {', '.join(names)}.")
    return SimpleNamespace(**{name: defined[name] for name in names})
