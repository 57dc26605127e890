"""The weights that come with the course are what their list says, and do what their record says."""

import contextlib
import json
from pathlib import Path

import pytest
import torch

from course_lib.data.augment import Augment
from course_lib.data.sources import digits
from course_lib.files.fetch import file_digest
from course_lib.models.create import create_model
from course_lib.records import load_record
from course_lib.train import evaluate, evaluate_set, set_seed
from course_lib.weights.registry import REGISTRY

FOLDER = Path(__file__).parent.parent / "data" / "checkpoints"
MANIFEST = json.loads((FOLDER / "manifest.json").read_text())


def test_the_list_is_complete():
    assert sorted(entry["file"] for entry in MANIFEST) == sorted(file.name for file in FOLDER.glob("*.safetensors"))
    assert sum(file.stat().st_size for file in FOLDER.iterdir()) < 10e6  # the repository stays small


@pytest.mark.parametrize("facts", MANIFEST, ids=lambda facts: facts["file"])
def test_size_and_digest(facts):
    file = FOLDER / facts["file"]
    assert (file.stat().st_size, file_digest(file)) == (facts["size"], facts["sha256"])
    assert REGISTRY[facts["name"]].sha256 == facts["sha256"]


def test_a_changed_file_is_refused(tmp_path, monkeypatch):
    entry = REGISTRY["course/vit_digits_patch2_8"]
    data = bytearray((FOLDER / entry.file).read_bytes())
    data[-100] ^= 1
    (tmp_path / entry.file).write_bytes(data)
    monkeypatch.setattr("course_lib.weights.load.CHECKPOINTS", (tmp_path,))
    with pytest.raises(ValueError, match="has SHA-256 .* not .* .published"):
        create_model(entry.architecture, pretrained=True)


def test_the_digits_are_read_as_recorded():
    """Looked up through the registry, prepared as the entry says; one image may fall the other way elsewhere."""
    with contextlib.redirect_stdout(None):
        model = create_model("vit_digits_patch2_8", pretrained=True).eval()
    images, labels = digits("test")
    found = (model(model.preprocessing.transform()(images)).argmax(1) == labels).double().mean().item()
    entry, run = REGISTRY["course/vit_digits_patch2_8"], load_record("digits_vit")["runs"][0]
    assert found == pytest.approx(run["test"], abs=1.5 / len(labels))
    assert entry.top1 == round(100 * run["test"], 1)


def test_turned_training_images_are_harder_than_new_ones():
    """So the accuracy in training can lie below that on validation, chapter 7."""
    with contextlib.redirect_stdout(None):
        model = create_model("vit_digits_patch2_8", pretrained=True).eval()
    data = digits("train")
    set_seed(23)
    turned, targets = Augment(rotate=40)(data, torch.arange(len(data)), classes=10)
    harder = evaluate(model, [(turned, targets.argmax(dim=1))])[1]
    assert harder + 0.01 < evaluate_set(model, digits("val"))[1] < evaluate_set(model, data)[1]
