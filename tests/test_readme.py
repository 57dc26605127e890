"""The README's commands, run as they stand there; and a folder of every kind of picture, from training to an answer."""

import json
import re
import shlex
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from course_lib import cli
from course_lib.data import image_folder
from course_lib.data.augment import Augment
from course_lib.metrics import predict
from course_lib.models import load_model, save_model
from course_lib.models.ask import ask_files
from course_lib.recipes.finetuning import PHOTOS
from course_lib.recipes.runner import RECIPES, run_recipe
from course_lib.train import TrainConfig
from course_lib.vit import VisionTransformer, ViTConfig

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
SMALL = ViTConfig(img_size=32, patch_size=8, num_classes=0, embed_dim=24, depth=2, num_heads=3)
COLOURS = {"cat": (200, 60, 40), "dog": (40, 190, 60), "owl": (50, 60, 200)}
MODES = ("RGB", "L", "LA", "P", "RGBA", "CMYK", "I;16")


def section(title):
    return README.partition(f"\n## {title}\n")[2].partition("\n## ")[0]


def commands(title):
    """The commands of a section's blocks, without what is said of them."""
    blocks = re.findall(r"^```\n(.*?)^```", section(title), re.M | re.S)
    return [re.split(r"\s{3,}#", line)[0].strip() for block in blocks for line in block.splitlines() if line.strip()]


def draw(file, colour, mode, size, seed, orientation=1):
    """A picture of a colour in its middle, in which the edges are of another class's colour."""
    generator = np.random.default_rng(seed)
    pixels = generator.integers(0, 50, (*size[::-1], 3)) + np.array(colour) // 2
    wide = size[0] > size[1]
    edge = (slice(None), slice(0, size[0] // 8)) if wide else (slice(0, size[1] // 8), slice(None))
    pixels[edge] = COLOURS["owl"] if colour != COLOURS["owl"] else COLOURS["cat"]
    image = Image.fromarray(pixels.astype(np.uint8))
    exif = Image.Exif()
    exif[0x0112] = orientation
    if mode == "I;16":
        image = Image.fromarray(np.asarray(image.convert("L")).astype(np.uint16) * 256)
    elif mode in ("LA", "RGBA"):
        image = image.convert(mode)
        image.putalpha(Image.linear_gradient("L").resize(image.size))
    else:
        image = image.convert(mode)
    image.save(file, exif=exif)


def photographs(folder, each):
    """`each` pictures of three colours, of every kind and several sizes."""
    for label, (name, colour) in enumerate(COLOURS.items()):
        (folder / name).mkdir(parents=True)
        for number in range(each):
            mode = MODES[number % len(MODES)]
            ending = {"CMYK": "tif", "RGB": "jpg"}.get(mode, "png")
            size = ((48, 36), (36, 64), (40, 40), (90, 41))[number % 4]
            draw(folder / name / f"{number:03}.{ending}", colour, mode, size, 100 * label + number, 1 + number % 8)
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return photographs(tmp_path_factory.mktemp("own") / "photos", 67)


@pytest.fixture
def here(tmp_path, folder, monkeypatch):
    """A folder to work in, with the photographs, and the recipes of the README as small as can be."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COURSE_LIB_DATA", str(tmp_path / "cache"))
    torch.set_num_threads(1)
    for name in ("photos", "elsewhere"):
        shutil.copytree(folder, tmp_path / name)
    draw(tmp_path / "new.jpg", COLOURS["dog"], "RGB", (80, 60), 7, 6)
    torch.manual_seed(1)
    save_model(VisionTransformer(replace(SMALL, num_classes=5)), tmp_path / "published.safetensors")
    train = TrainConfig(epochs=2, batch_size=16, lr=3e-3, augment=Augment(flip=True), precision="float32")
    small = replace(PHOTOS, size=32, model=SMALL, weights=str(tmp_path / "published.safetensors"), train=train)
    monkeypatch.setitem(RECIPES, "photos", small)
    digits = replace(RECIPES["mnist_fast"], data="digits", train=replace(train, batch_size=400), images=400)
    digits = replace(digits, model=replace(digits.model, img_size=8, patch_size=4, depth=1), expect="")
    shapes = replace(
        RECIPES["cifar10_ladder_rand_augment"], data="toy_shapes", images=160, train=replace(train, batch_size=80)
    )
    shapes = replace(shapes, model=ViTConfig(img_size=32, patch_size=16, num_classes=8, embed_dim=6, num_heads=2))
    small_ones = {"mnist_fast": digits, "cifar10_ladder_rand_augment": shapes, "pets_vit_b16": small}
    for name, recipe in small_ones.items():
        monkeypatch.setitem(RECIPES, name, replace(recipe, name=name))
    quick = replace(shapes, name="cifar10_fast")
    monkeypatch.setattr("course_lib.recipes.speedrun.quickest", lambda data, target: quick)
    monkeypatch.setattr("course_lib.recipes.speedrun.TRAINING_IMAGES", {"toy_shapes": 160})
    monkeypatch.setitem(RECIPES, "cifar10_fast", quick)
    return tmp_path


def test_a_folder_to_an_answer_takes_four_commands():
    assert [command.split()[1] for command in commands("Your own photographs")[:4]] == [
        "look",
        "train",
        "evaluate",
        "predict",
    ]


@pytest.mark.slow
@pytest.mark.parametrize("title", ["Your own photographs", "Train the course's models"])
def test_every_command_works_as_it_stands(title, here, capsys):
    for command in commands(title):
        program, *words = shlex.split(command)
        if program == "torchrun":  # in one process here; test_distributed has several
            words = words[words.index("course_lib") + 1 :]
        assert program in ("course", "torchrun") and cli.main(words) == 0, command
        out = capsys.readouterr().out
        assert out.strip(), command
    if title == "Your own photographs":
        picture = Image.open(here / "new.jpg")
        space = {"picture": picture}
        (code,) = re.findall(r"^```python\n(.*?)^```", section(title), re.M | re.S)
        exec(code, space)
        assert space["model"].classes == ("cat", "dog", "owl") and space["chances"].sum().item() == pytest.approx(1)
        assert (here / "mine.onnx").is_file() and (here / "maps" / "new.png").is_file()


@pytest.mark.slow
@pytest.mark.parametrize("size", [16, 32])
def test_the_record_is_what_the_saved_preprocessing_gives(size, here):
    """Answer by answer, over pictures of every kind; also where small pictures are enlarged for the model."""
    recipe = replace(RECIPES["photos"], data=f"folder:{here / 'photos'}", trained="all")
    recipe = replace(recipe, train=replace(recipe.train, epochs=6)).settled()
    if size == 16:  # read at 16, and enlarged to 32
        for split in ("train", "val", "test"):
            part = image_folder(here / "photos", split, 16)
            for number, (image, label) in enumerate(zip(*part, strict=True)):
                file = here / "small" / split / part.classes[label] / f"{number:03}.png"
                file.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(image.permute(1, 2, 0).numpy()).save(file)
        recipe = replace(recipe, data=f"folder:{here / 'small'}")
    _, record = run_recipe(recipe, here / "run", quiet=True)
    model, test = load_model(here / "run"), image_folder(recipe.data.removeprefix("folder:"), "test", 32)
    assert model.classes == test.classes == ("cat", "dog", "owl")
    chances = ask_files(model, test.paths, model.preprocessing)
    logits = predict(model, replace(test, mean=model.preprocessing.mean, std=model.preprocessing.std, input_size=32))
    assert torch.equal(chances.argmax(1), logits.argmax(1))
    assert (chances - logits.softmax(1)).abs().max() < 1e-6
    right = (chances.argmax(1) == test.labels).double().mean().item()
    assert right == record["test_accuracy"] and model.record["test_accuracy"] == right
    assert json.loads((here / "run" / "record.json").read_text())["runs"][0]["test_accuracy"] == right
    assert right > 0.34  # it has learned something, so an answer is more than a constant
