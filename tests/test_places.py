"""Where data and weights lie: what is asked for, else the variable, else the usual place."""

from pathlib import Path

import torch

from course_lib.files import places
from course_lib.files.places import CHECKOUT, data_folder, weights_folder


def test_the_data_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("COURSE_LIB_DATA", str(tmp_path))
    assert data_folder() == tmp_path
    assert data_folder("~/x") == Path.home() / "x"
    monkeypatch.setenv("COURSE_LIB_DATA", "~/y")
    assert data_folder() == Path.home() / "y"
    monkeypatch.delenv("COURSE_LIB_DATA")
    assert data_folder() == CHECKOUT / "data" / "cache"
    monkeypatch.setattr(places, "CHECKOUT", tmp_path)  # not a checkout
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert data_folder() == tmp_path / "cache" / "course_lib"


def test_the_folder_of_weights_is_torchs(tmp_path, monkeypatch):
    """Files that torchvision fetched are found."""
    monkeypatch.delenv("COURSE_LIB_CACHE", raising=False)
    monkeypatch.setattr(torch.hub, "_hub_dir", str(tmp_path))
    assert weights_folder() == tmp_path / "checkpoints"
    monkeypatch.setenv("COURSE_LIB_CACHE", "~/x")
    assert weights_folder() == Path.home() / "x"
