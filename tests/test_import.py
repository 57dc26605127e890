"""Importing the library costs next to nothing beside PyTorch: the rest comes in only where it is used."""

import json
import subprocess
import sys

import pytest

SCRIPT = """
import json, sys, time
import torch
before, start = set(sys.modules), time.perf_counter()
import importlib
importlib.import_module("{module}")
print(json.dumps([time.perf_counter() - start, sorted(set(sys.modules) - before)]))
"""
MODULES = (
    "attention",
    "augment",
    "convert",
    "data",
    "formats",
    "image_folder",
    "interpret",
    "machine",
    "optimise",
    "patch_embed",
    "pieces",
    "pos_embed",
    "pretrained",
    "toy_shapes",
    "train",
    "vit",
)


@pytest.mark.parametrize("module", MODULES)
def test_import_is_cheap(module):
    command = [sys.executable, "-c", SCRIPT.format(module=f"course_lib.{module}")]
    seconds, loaded = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    heavy = {"torchvision", "matplotlib", "sklearn", "ipywidgets", "anywidget", "timm", "transformers", "PIL"}
    assert not heavy & set(loaded)
    assert seconds < 1.5
