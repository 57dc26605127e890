"""Importing the library costs next to nothing beside PyTorch: the rest comes in only where it is used."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

import course_lib

PACKAGE = Path(course_lib.__file__).parent
HEAVY = {"torchvision", "matplotlib", "sklearn", "scipy", "ipywidgets", "anywidget", "timm", "transformers", "PIL"}
MAY_BE_HEAVY = ("widgets", "viz")  # these are about figures and widgets, and load what they show them with
SCRIPT = """
import importlib, json, sys, time
begun = time.perf_counter()
import torch
torch_is_there = time.perf_counter()
heavy, found = set(json.loads(sys.argv[1])), {}
for module in json.loads(sys.argv[2]):
    before = set(sys.modules)
    importlib.import_module(module)
    found[module] = sorted(heavy & (set(sys.modules) - before))
print(json.dumps([found, torch_is_there - begun, time.perf_counter() - torch_is_there]))
"""


def module_names():
    """Every module of the library, wings after their rooms: whoever brings in something heavy is named itself."""
    paths = [path.relative_to(PACKAGE).with_suffix("").parts for path in PACKAGE.rglob("*.py")]
    names = [
        ".".join(("course_lib", *parts)).removesuffix(".__init__") for parts in sorted(paths) if "__main__" not in parts
    ]
    return [name for name in names if not name.startswith(tuple(f"course_lib.{wing}" for wing in MAY_BE_HEAVY))]


@pytest.fixture(scope="module")
def loaded():
    """{module: what is heavy and came in with it}, all in one process; seconds for PyTorch, and for the library."""
    command = [sys.executable, "-c", SCRIPT, json.dumps(sorted(HEAVY)), json.dumps(module_names())]
    return json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


@pytest.mark.parametrize("module", module_names())
def test_import_is_cheap(loaded, module):
    assert loaded[0][module] == []


def test_all_of_it_comes_in_faster_than_pytorch(loaded):
    _, torch, library = loaded
    assert library < torch / 2
