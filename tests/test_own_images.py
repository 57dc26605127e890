"""Your own photographs, of several sizes, with every kind of recipe: what does not fit is said, and the advice works."""

import json
import re
import shutil
from dataclasses import replace

import pytest
import torch
from PIL import Image
from test_finetune_recipes import SMALL

from course_lib import cli
from course_lib.models.resnet import TorchvisionResNet
from course_lib.recipes.finetuning import FineTuning
from course_lib.recipes.runner import RECIPES, load_splits
from course_lib.recipes.settings import override
from course_lib.train.config import TrainConfig

CLASSES = ("boot", "sandal", "shoe")
QUICK = ("epochs=1", "batch_size=6", "warmup_epochs=0", "ema=0", "precision=float32", "device=cpu", "--quiet")


@pytest.fixture(scope="module")
def photographs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("shoes")
    for part, count in (("train", 10), ("test", 3)):
        for label, name in enumerate(CLASSES):
            (folder / part / name).mkdir(parents=True)
            for number in range(count):
                color = [40 + 5 * number] * 3
                color[label] = 200
                Image.new("RGB", (40 + number, 36), tuple(color)).save(folder / part / name / f"{number}.png")
    return folder


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.set_num_threads(1)
    return tmp_path


def follow(recipe, words, capsys, choose=lambda mends: mends[:1]):
    """Run; do what the line says until it trains. Returns the settings that were added."""
    added = []
    for _ in range(4):
        status = cli.main(["train", recipe, *words, *added, *QUICK])
        error = capsys.readouterr().err
        if status == 0:
            return added
        assert error.count("\n") == 1
        if "such as size=" in error:
            added.append("size=28")
            continue
        advice = re.search(r": set (.*)\.\n$", error)
        assert advice, error
        plain, _, other = advice[1].partition(" (or, which is ")
        added += plain.split() if not other else choose([plain.split(), other])
    raise AssertionError(f"still wrong with {added}: {error}")


SCRATCH = (
    "mnist_fast",
    "mnist_ablation_base",
    "mnist_ablation_post_norm",
    "mnist_cnn",
    "cifar10_ladder_ema",
    "cifar10_resnet",
)


@pytest.mark.slow
@pytest.mark.parametrize("recipe", SCRATCH)
def test_the_advice_works(photographs, here, capsys, recipe):
    added = follow(recipe, [f"data=folder:{photographs}"], capsys, lambda mends: mends[0])
    assert ("size=28" in added) == (recipe != "mnist_cnn") and "model.num_classes=3" in added  # that one has a size
    assert ("model.in_chans=3" in added) == recipe.startswith("mnist")
    (record,) = here.glob("runs/*/seed-0/record.json")
    assert json.loads(record.read_text())["runs"][0]["parameters"]


@pytest.mark.slow
@pytest.mark.parametrize("recipe", ["mnist_ablation_patch14", "mnist_cnn", "cifar10_resnet"])
def test_at_224_pixels(photographs, here, capsys, recipe):
    """One line says all that does not fit, and what mends it."""
    words = [f"data=folder:{photographs}", "size=224", "batch_size=2"]
    words += ["model.width=16"] * ("resnet" in recipe)
    assert cli.main(["train", recipe, *words, *QUICK[:1], *QUICK[2:]]) == 1
    error = capsys.readouterr().err
    mends = error.partition("set ")[2].partition(" (or")[0].strip(".\n").split()
    assert "model.num_classes=3" in mends and ("model.in_chans=3" in mends) == recipe.startswith("mnist")
    assert ("model.img_size=224" in mends) == ("ablation" in recipe)
    assert cli.main(["train", recipe, *words, *mends, *QUICK[:1], *QUICK[2:]]) == 0


def test_the_other_way_of_the_advice(photographs, here, capsys):
    """The images are made smaller, and the model keeps its size."""
    words = [f"data=folder:{photographs}", "size=224"]
    assert cli.main(["train", "mnist_fast", *words, *QUICK]) == 1
    error = capsys.readouterr().err
    assert "shoes" in error and "3 x 224 x 224 in 3 classes, the model takes 1 x 28 x 28 and has 10 outputs" in error
    assert "model.num_classes=3 model.in_chans=3 model.img_size=224 (or, which is quicker, size=28)" in error
    mended = [words[0], "model.num_classes=3", "model.in_chans=3", "size=28"]
    assert cli.main(["train", "mnist_fast", *mended, *QUICK]) == 0


def test_narrow_convolutions_over_large_images(photographs, monkeypatch):
    """PyTorch crashes there, on a processor."""
    words = [f"data=folder:{photographs}", "model.num_classes=3", "model.in_chans=3", "device=cpu"]
    for name, width in (("cifar10_resnet", "width=16"), ("mnist_cnn", "widths=16,16")):
        narrow = ["model.widths=4,16"] if name == "mnist_cnn" else []
        known = [word for word in words if name == "mnist_cnn" or "in_chans" not in word]
        recipe = override(RECIPES[name], [*known, *narrow, "size=96"])
        with pytest.raises(ValueError, match=f"96 pixels.* crashes .*: set model.{width} or size=64"):
            load_splits(recipe)
        load_splits(override(recipe, [f"model.{width}"]))
        load_splits(override(recipe, ["size=64"]))
    monkeypatch.setattr("course_lib.recipes.recipe.get_device", lambda name: torch.device("cuda"))
    load_splits(recipe)


def test_a_size_that_no_patch_fits(photographs):
    recipe = override(RECIPES["mnist_fast"], [f"data=folder:{photographs}", "size=50", "model.num_classes=3"])
    with pytest.raises(ValueError, match=r"set model.in_chans=3 size=28\."):
        load_splits(recipe)
    wide = override(recipe, ["model.img_size=28,32"])
    with pytest.raises(ValueError, match=r"set model.in_chans=3 size=48 model.img_size=48\."):
        load_splits(wide)
    load_splits(override(wide, ["model.in_chans=3", "size=48", "model.img_size=48"]))


def tuned(model, **changes):
    train = TrainConfig(epochs=1, batch_size=6, warmup_epochs=0, device="cpu", precision="float32")
    words = dict.fromkeys(("what", "cost", "expect", "source"), "")
    return FineTuning(name="tuned", data="digits", model=model, train=train, **words | changes)


def test_grey_images_for_weights_in_colour(here, monkeypatch, capsys):
    monkeypatch.setitem(RECIPES, "tuned", tuned(replace(SMALL, num_classes=10), size=32, weights="x.pth"))
    added = follow("tuned", [], capsys)
    assert added == ["weights=None", "model.in_chans=1"]


def test_grey_images_for_torchvisions_resnets(monkeypatch):
    """Theirs take three colours."""
    recipe = tuned(TorchvisionResNet("resnet18", 10), size=32)
    with pytest.raises(ValueError, match="set data= to images in colour"):
        load_splits(recipe)
    load_splits(override(recipe, ["data=toy_shapes", "model.num_classes=8"]))


def test_images_too_small_for_the_layers(here, capsys):
    words = ["data=digits", "size=4", "model.num_classes=10"]
    assert cli.main(["train", "mnist_cnn", *words, *QUICK]) == 1
    error = capsys.readouterr().err
    assert "cannot take images of 1 x 4 x 4" in error and "set a larger size" in error and error.count("\n") == 1
    assert cli.main(["train", "mnist_cnn", *words[::2], "size=8", *QUICK[:1], "batch_size=600", *QUICK[2:]]) == 0


def test_a_test_split_of_another_size(photographs, tmp_path):
    folder = shutil.copytree(photographs, tmp_path / "images")
    for part, side in (("train", 28), ("test", 32)):
        for path in (folder / part).rglob("*.png"):
            Image.new("RGB", (side, side)).save(path)
    recipe = override(
        RECIPES["mnist_cnn"], [f"data=folder:{folder}", "model.in_chans=3", "model.num_classes=3", "size=None"]
    )
    with pytest.raises(ValueError, match=r"test has images of 3 x 32 x 32, .*train of 3 x 28 x 28: set size=28"):
        load_splits(recipe)
    load_splits(override(recipe, ["size=28"]))


def test_one_class_is_said_before_anything_else(photographs, tmp_path):
    folder = tmp_path / "images"
    for part in ("train", "test"):
        shutil.copytree(photographs / part / "boot", folder / part / "boot")
    with pytest.raises(ValueError, match="has one class only, boot"):
        load_splits(override(RECIPES["mnist_fast"], [f"data=folder:{folder}", "size=28"]))


@pytest.mark.parametrize("recipe", ["mnist_fast", "shoes_resnet50"])
def test_files_that_cannot_be_read_are_left_out(photographs, tmp_path, recipe):
    folder = shutil.copytree(photographs, tmp_path / "images")
    (folder / "train" / "boot" / "3.png").write_bytes(b"no image")
    words = [f"data=folder:{folder}", "size=28", "model.num_classes=3"]
    words += ["model.in_chans=3"] if recipe == "mnist_fast" else []
    with pytest.raises(ValueError, match="skip=True"):
        load_splits(override(RECIPES[recipe], words))
    train, *_ = load_splits(override(RECIPES[recipe], [*words, "skip=True"]))
    assert train.labels.bincount().tolist()[1:] == [9, 9] and len(train) < 27


@pytest.mark.parametrize("part", ["train", "test"])
def test_a_folder_that_was_repaired(photographs, tmp_path, here, capsys, part):
    """As many photographs as before, one of them another."""
    folder = shutil.copytree(photographs, tmp_path / "images")
    command = ["train", "mnist_cnn", f"data=folder:{folder}", "model.num_classes=3", "model.in_chans=3", *QUICK]
    assert cli.main(command) == 0 and cli.main(command) == 0
    assert "already finished" in capsys.readouterr().out
    Image.new("RGB", (70, 36), (1, 2, 3)).save(folder / part / "boot" / "2.png")
    assert cli.main(command) == 1
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and "have changed since this run began: --again trains anew" in error
    assert str(folder) in error
    assert cli.main([*command, "--again"]) == 0 and cli.main(command) == 0


def test_only_files_can_be_left_out():
    with pytest.raises(
        ValueError, match="skip=True leaves out files of a folder, and data is mnist: use data=folder:PATH"
    ):
        override(RECIPES["mnist_fast"], ["skip=True"])


def test_too_few_images_for_the_classes():
    recipe = override(RECIPES["mnist_fast"], ["data=digits", "images=9"])
    with pytest.raises(ValueError, match="images=9 must be at least 10, one for each class"):
        recipe.load("train")
    assert len(override(recipe, ["images=10"]).load("train")) == 10
