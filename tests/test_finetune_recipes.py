"""Fine-tuning by a recipe, from files in the published formats to a record. Chapter 09."""

import json
import math
import shutil
from dataclasses import replace

import pytest
import torch
import torchvision
from PIL import Image
from safetensors.torch import load_file
from weight_files import random_state, write

from course_lib.data.augment import Augment
from course_lib.data.image_set import ImageSet
from course_lib.data.sources import DATA_SETS
from course_lib.models import save_model
from course_lib.models.backbones import load_backbone
from course_lib.models.resnet import ResNet, ResNetConfig, TorchvisionResNet, published_preprocessing
from course_lib.recipes import runner as runs
from course_lib.recipes.finetuning import FINE_TUNING, FineTuning
from course_lib.recipes.settings import override
from course_lib.train.config import TrainConfig
from course_lib.vit import VisionTransformer, ViTConfig
from course_lib.weights.load import load_pretrained
from course_lib.weights.registry import REGISTRY

SMALL = ViTConfig(img_size=32, patch_size=8, num_classes=3, embed_dim=12, depth=2, num_heads=3, mlp_ratio=2.0)
CLASSES = ("boot", "sandal", "shoe")
RATES = TrainConfig(epochs=2, batch_size=6, lr=1e-2, warmup_epochs=0.5, precision="float32", device="cpu")


@pytest.fixture(scope="module")
def photographs(tmp_path_factory):
    """A folder of class folders: three colours, in images of several sizes."""
    folder = tmp_path_factory.mktemp("shoes")
    for part, count in (("train", 10), ("test", 3)):
        for label, name in enumerate(CLASSES):
            (folder / part / name).mkdir(parents=True)
            for number in range(count):
                color = [40 + 5 * number] * 3
                color[label] = 200
                Image.new("RGB", (40 + number, 36), tuple(color)).save(folder / part / name / f"{number}.png")
    return folder


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """Three models that were trained for seven classes, each in a format in which such models are published."""
    folder = tmp_path_factory.mktemp("weights")
    vit = VisionTransformer(replace(SMALL, num_classes=7))
    torch.manual_seed(4)
    resnet = torchvision.models.resnet18(num_classes=7)
    torch.save(resnet.state_dict(), folder / "resnet.pth")
    own = ResNet(ResNetConfig(num_classes=7, width=4, blocks=1))
    save_model(own, folder / "own.safetensors")
    return {
        "vit": (SMALL, write("zip", random_state(vit), folder / "vit.pth")),
        "resnet": (TorchvisionResNet("resnet18", 3), folder / "resnet.pth"),
        "own": (ResNetConfig(num_classes=3, width=4, blocks=1), folder / "own.safetensors"),
    }


def recipe(photographs, model, weights, **changes):
    return FineTuning(
        name="shoes",
        what="shoes, for the tests",
        data=f"folder:{photographs}",
        model=model,
        train=RATES,
        cost="a second",
        expect="nothing",
        source="the tests",
        **{"size": 32, "weights": str(weights)} | changes,
    )


CASES = [
    ("vit", "head"),
    ("vit", "attention"),
    ("vit", "lora"),
    ("vit", "all"),
    ("resnet", "head"),
    ("resnet", "all"),
    ("own", "head"),
    ("own", "all"),
]


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "trained"), CASES)
@pytest.mark.slow
def test_from_a_published_file_to_a_record(photographs, weights, kind, trained, tmp_path):
    tuning = recipe(photographs, *weights[kind], trained=trained, rank=2, layer_decay=0.5)
    if trained == "lora":
        tuning = replace(tuning, layer_decay=1.0)
    start = {name: value.clone() for name, value in load_backbone(*weights[kind]).state_dict().items()}
    model, record = runs.run_recipe(tuning, tmp_path, quiet=True)

    written = json.loads((tmp_path / "record.json").read_text())
    assert written["settings"]["trained"] == trained and written["settings"]["weights"] == str(weights[kind][1])
    assert record["parameters"] == sum(value.numel() for value in model.parameters())
    assert (record["trained_parameters"] == record["parameters"]) == (trained == "all")
    moved = {name.split(".")[0] for name, value in model.state_dict().items() if not torch.equal(value, start[name])}
    if trained == "head":
        assert moved <= {"head", "fc"}  # and no statistics of batch norms
    else:
        assert len(moved) >= 2
    assert set(model.state_dict()) == set(start)  # detours are merged
    best, last = (load_file(tmp_path / f"{name}.safetensors") for name in ("best", "model"))
    assert best.keys() == last.keys()
    if record["best_epoch"] == len(record["curve"]):
        assert all(torch.equal(value, last[name]) for name, value in best.items())
    if kind == "vit":
        again = load_pretrained(VisionTransformer(SMALL), tmp_path / "model.safetensors")
        assert all(torch.equal(value, again.state_dict()[name]) for name, value in model.state_dict().items())
        assert again.preprocessing.input_size == (32, 32)


@pytest.mark.slow
def test_three_colours_are_learned(photographs, weights):
    tuning = recipe(photographs, *weights["vit"], trained="head")
    tuning = replace(tuning, train=replace(RATES, epochs=30))
    _, record = runs.run_recipe(tuning, photographs.parent / "run", quiet=True)
    assert record["test_accuracy"] == 1.0


def test_a_new_head_of_zeros_and_rates_by_layer(photographs, weights):
    tuning = recipe(photographs, *weights["vit"], layer_decay=0.5)
    model = tuning.build()
    assert not model.head.weight.any() and not model.head.bias.any() and model.head.out_features == 3
    rates = tuning.rates(model)
    found = [rates[name] for name in ("head.weight", "norm.bias", "blocks.1.norm1.bias", "cls_token")]
    assert found == [1, 0.5, 0.5, 0.125]
    assert recipe(photographs, *weights["vit"]).rates(model) is None


def test_images_are_as_the_weights_want_them(photographs, weights):
    own = recipe(photographs, *weights["vit"]).load("val")
    assert own.mean == (0.485, 0.456, 0.406) and own.images.shape == (3, 3, 32, 32)
    published = replace(recipe(photographs, *weights["vit"]), weights="timm/vit_base_patch16_224.augreg_in21k")
    assert published.load("val").mean == (0.5, 0.5, 0.5)


def test_small_images_are_enlarged_batch_by_batch(weights, monkeypatch):
    images = torch.randint(256, (9, 3, 8, 8), dtype=torch.uint8)
    small = ImageSet("small", images, torch.arange(9) % 3, CLASSES, (0.5,) * 3, (0.25,) * 3)
    monkeypatch.setitem(DATA_SETS, "small", lambda split: small)
    tuning = replace(
        recipe("", *weights["vit"]), data="small", train=replace(RATES, augment=Augment(crop=2, flip=True))
    )
    data = tuning.load("train")
    assert data.images is images and data.input_size == 32
    assert next(data.batches(4))[0].shape == (4, 3, 32, 32)
    assert data.resized(32).normalised(data.resized(32).images).shape == (9, 3, 32, 32)
    inputs, _ = tuning.train.augment(data, torch.arange(5), 3)
    assert inputs.shape == (5, 3, 32, 32)
    assert tuning.build()(inputs).shape == (5, 3)


def test_settings_can_be_changed_by_name(photographs, weights):
    tuning = override(
        recipe(photographs, *weights["vit"]), ["trained=head", "layer_decay=0.6", "epochs=7", "weights=x.pth"]
    )
    assert (tuning.trained, tuning.layer_decay, tuning.train.epochs, tuning.weights) == ("head", 0.6, 7, "x.pth")


def test_weights_of_another_kind(weights, tmp_path):
    config = ResNetConfig(num_classes=3, width=6, blocks=1)
    other_names = r"\d+ tensors missing"
    for wrong, words in (("own", r"stem\.0\.weight has shape \(4,"), ("vit", other_names), ("resnet", other_names)):
        with pytest.raises(ValueError, match=rf"does not fit ResNetConfig\(width=6, blocks=1\): {words}"):
            load_backbone(config, weights[wrong][1])
    for wrong in ("own", "vit"):
        with pytest.raises(ValueError, match=r"does not fit a resnet18: \d+ tensors missing"):
            load_backbone(weights["resnet"][0], weights[wrong][1])
    for wrong in ("own", "resnet"):
        with pytest.raises(ValueError, match="\\.(pth|safetensors): "):
            load_backbone(SMALL, weights[wrong][1])
    with pytest.raises(ValueError, match="there is no file"):
        load_backbone(config, tmp_path / "nothing.safetensors")


def one_class(folder):
    for part in ("train", "test"):
        for name in CLASSES[1:]:
            shutil.rmtree(folder / part / name)


def no_test_of_a_class(folder):
    shutil.rmtree(folder / "test" / "sandal")


def another_class_in_the_test(folder):
    shutil.copytree(folder / "test" / "sandal", folder / "test" / "slipper")


def a_fourth_class(folder):
    for part in ("train", "test"):
        shutil.copytree(folder / part / "sandal", folder / part / "slipper")


def an_empty_class(folder):
    for file in (folder / "test" / "shoe").iterdir():
        file.unlink()


def a_broken_image(folder):
    (folder / "train" / "boot" / "3.png").write_bytes(b"no image")


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (one_class, "train has one class only, boot: a classifier needs at least two"),
        (no_test_of_a_class, "test must have the classes of the training images, but lacks 'sandal'"),
        (another_class_in_the_test, "test must have the classes of the training images, but has 'slipper' besides"),
        (a_fourth_class, "4 classes (boot, sandal, shoe, slipper), the model 3 outputs: set model.num_classes=4"),
        (an_empty_class, "shoe has no images"),
        (a_broken_image, "3.png (8 bytes) cannot be read as an image"),
    ],
)
def test_a_spoiled_folder_is_one_line_and_nothing_is_begun(photographs, weights, spoil, message, tmp_path):
    folder = shutil.copytree(photographs, tmp_path / "images")
    spoil(folder)
    with pytest.raises(ValueError) as error:
        runs.run_recipe(recipe(folder, *weights["vit"]), tmp_path / "run", quiet=True)
    assert message in str(error.value) and "\n" not in str(error.value)
    assert not (tmp_path / "run").exists()


def test_images_of_every_mode_are_learned(photographs, weights, tmp_path):
    folder = shutil.copytree(photographs, tmp_path / "images")
    modes = ("1", "L", "LA", "P", "RGBA", "CMYK", "I;16")
    for number, mode in enumerate(modes):
        image = Image.new("RGB", (40, 36), (200, 10, 10)).convert("L" if mode == "I;16" else mode)
        image = image.convert(mode) if mode == "I;16" else image
        image.save(folder / "train" / "boot" / f"{number}.{'tif' if mode == 'CMYK' else 'png'}")
    _, record = runs.run_recipe(recipe(folder, *weights["vit"], trained="head"), tmp_path / "run", quiet=True)
    assert len(record["curve"]) == RATES.epochs and math.isfinite(record["test_loss"])
    assert record["peak_memory_mb"] > 0


CLASSES_OF = {"cifar10": 10, "cifar100": 100, "flowers102": 102, "pets": 37, "dogs_vs_cats": 2, "shoes": 3}


@pytest.mark.parametrize("tuning", FINE_TUNING, ids=lambda tuning: tuning.name)
def test_the_recipes_fit_their_weights_and_data(tuning):
    assert tuning.model.num_classes == CLASSES_OF[tuning.data.rpartition("/")[2]] and tuning.size == 224
    if isinstance(tuning.model, TorchvisionResNet):
        preprocessing = published_preprocessing(tuning.model.name, tuning.weights)
    else:
        preprocessing = REGISTRY[tuning.weights].preprocessing
        assert REGISTRY[tuning.weights].architecture == "vit_base_patch16_224"
    assert preprocessing.input_size == (224, 224)
    assert "not run yet" in tuning.expect


def test_both_of_a_pair_are_treated_alike():
    recipes = {tuning.name: tuning for tuning in FINE_TUNING}
    for data in ("cifar10", "cifar100", "flowers102", "pets"):
        vit, resnet = recipes[f"{data}_vit_b16"], recipes[f"{data}_resnet152"]
        different = {"name", "what", "model", "weights", "expect", "source"}
        assert {k: v for k, v in vars(vit).items() if k not in different} == {
            k: v for k, v in vars(resnet).items() if k not in different
        }
