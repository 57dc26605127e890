"""Importing the library costs little beside PyTorch: what is large comes in only where it is used.

Two parts need theirs at once: viz draws with Matplotlib, and a widget is one of ipywidgets.
"""

import json
import subprocess
import sys

import pytest

SCRIPT = """
import importlib, json, sys, time
from pathlib import Path

start = time.process_time()
import torch
torch_took = time.process_time() - start
import course_lib

root = Path(course_lib.__file__).parent
names = [".".join(path.relative_to(root).with_suffix("").parts) for path in sorted(root.rglob("*.py"))]
names = [name for name in names if name not in ("viz", "__main__") and not name.startswith("widgets.")]
loaded, start = {}, time.process_time()
for name in names:
    before = set(sys.modules)
    importlib.import_module(f"course_lib.{name}")
    loaded[name] = sorted(set(sys.modules) - before)
print(json.dumps([(time.process_time() - start) / torch_took, loaded]))
"""
LARGE = {"torchvision", "matplotlib", "sklearn", "scipy", "ipywidgets", "anywidget", "timm", "transformers", "PIL"}


@pytest.mark.slow
def test_importing_everything_is_cheap():
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True)
    ratio, loaded = json.loads(done.stdout)
    assert len(loaded) > 60
    assert {name: LARGE & set(modules) for name, modules in loaded.items() if LARGE & set(modules)} == {}
    assert ratio < 0.5, f"all of course_lib takes {ratio:.2f} times as long as torch"
