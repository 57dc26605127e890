"""The order of the wings: imports go downwards only, also those inside functions."""

import ast
import functools
import re
from pathlib import Path

import course_lib

PACKAGE = Path(course_lib.__file__).parent

# From the ground up. What stands on one line may import from the lines above it and from its own.
FLOORS = (
    ("__init__", "validate", "words", "attention", "patch_embed", "pos_embed", "parts", "vit"),
    ("metrics", "statistics", "viz", "files"),
    ("data",),
    ("weights",),
    ("interpret",),
    ("train",),
    ("models",),
    ("finetune", "lora", "records"),
    ("checks", "recipes"),
    ("grading",),
    ("widgets",),
    ("commands",),
    ("cli",),
    ("__main__",),
)
FLOOR = {wing: number for number, floor in enumerate(FLOORS) for wing in floor}


@functools.cache
def modules():
    """{name under course_lib: syntax tree} of every module."""
    paths = {path.relative_to(PACKAGE).with_suffix("").parts: path for path in PACKAGE.rglob("*.py")}
    return {".".join(parts): ast.parse(path.read_text(encoding="utf-8")) for parts, path in paths.items()}


def imported(tree):
    """Names under course_lib that a module imports, wherever the import stands: "files.places", "attention"."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, "a relative import"
            if (node.module or "").partition(".")[0] == "course_lib":
                module = node.module.partition(".")[2]
                for alias in node.names:  # `from course_lib.files import places` names a module
                    inner = f"{module}.{alias.name}".strip(".")
                    yield inner if (PACKAGE / inner.replace(".", "/")).with_suffix(".py").is_file() else module
        elif isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[2] for alias in node.names if alias.name.startswith("course_lib"))


def test_every_module_stands_on_a_floor():
    assert {name.partition(".")[0] for name in modules()} == set(FLOOR)


def test_contributing_has_the_same_order():
    page = (PACKAGE.parent / "CONTRIBUTING.md").read_text(encoding="utf-8")
    table = page.partition("| from the ground up |")[2].partition("\n\n")[0].splitlines()[2:]
    lines = [tuple(re.findall(r"`(\w+)`", line.split("|")[1])) for line in table]
    assert lines == [tuple(wing for wing in floor if wing[0] != "_") for floor in FLOORS][:-1]


def test_imports_go_downwards_only():
    found = {(name, other or "__init__") for name, tree in modules().items() for other in imported(tree)}
    upwards = [pair for pair in found if FLOOR[pair[1].partition(".")[0]] > FLOOR[pair[0].partition(".")[0]]]
    assert len(found) > 100 and not upwards


def test_no_circle():
    """Within a wing and across wings: taking away what imports nothing that is left takes away everything."""
    left = {name: set(imported(tree)) - {""} for name, tree in modules().items() if not name.endswith("__init__")}
    while left:
        free = [name for name, others in left.items() if not others & left.keys()]
        assert free, f"these import each other in a circle: {sorted(left)}"
        left = {name: others for name, others in left.items() if name not in free}
