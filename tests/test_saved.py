"""A model and what belongs to it in one file: every kind comes back as it was, and what cannot is said."""

import json
from dataclasses import replace

import pytest
import torch
from data_files import fails
from PIL import Image
from torch import nn

from course_lib.data import ImageSet, load_data
from course_lib.models import (
    CNN,
    CNNConfig,
    PostNormConfig,
    PostNormViT,
    ResNet,
    ResNetConfig,
    create_resnet,
    load_model,
    save_model,
)
from course_lib.models.saved import build
from course_lib.vit import VIT_CONFIGS, VisionTransformer, ViTConfig
from course_lib.weights import REGISTRY, Preprocessing, load_pretrained, save_weights

TINY = {"img_size": (8, 12), "patch_size": 4, "in_chans": 3, "num_classes": 3, "embed_dim": 12, "depth": 2}
IMAGES = Preprocessing((0.1, 0.2, 0.3), (0.4, 0.5, 0.6), (8, 12), "cover", "bilinear")
CLASSES = ("cat", "dog", "red panda")
MODELS = {
    "ViT": lambda: VisionTransformer(ViTConfig(**TINY, num_heads=3, norm_eps=1e-3, representation_size=5)),
    "sincos": lambda: VisionTransformer(ViTConfig(**TINY, num_heads=3, pos_embed="sincos2d", global_pool="avg")),
    "PostNorm": lambda: PostNormViT(PostNormConfig(**TINY, num_heads=3)),
    "CNN": lambda: CNN(CNNConfig(3, 3, (4, 6))),
    "ResNet": lambda: ResNet(ResNetConfig(3, 3, width=4, blocks=1)),
    "torchvision": lambda: create_resnet("resnet18", num_classes=3),
}


@pytest.fixture(params=MODELS)
def model(request):
    torch.manual_seed(3)
    model = MODELS[request.param]()
    model(torch.randn(2, 3, 8, 12) if request.param != "torchvision" else torch.randn(2, 3, 32, 32))  # batch norms move
    return model.eval()


def test_it_comes_back_ready_to_be_asked(model, tmp_path, capsys):
    path = tmp_path / "model.safetensors"
    save_model(model, path, classes=CLASSES, preprocessing=IMAGES, record={"recipe": "tiny", "test_accuracy": 0.5})
    for where in (path, tmp_path):  # the file, or the run that it is in
        again = load_model(where)
        assert type(again) is type(model) and again.config == model.config and not again.training
        state = model.state_dict()
        assert {name: torch.equal(value, state[name]) for name, value in again.state_dict().items()} == dict.fromkeys(
            state, True
        )
        assert (again.classes, again.preprocessing) == (CLASSES, IMAGES)
        assert again.record == {"recipe": "tiny", "test_accuracy": 0.5}
    for seed in ("seed-10", "seed-2", "seed-0.before-1"):  # of a run with several seeds, the first
        save_model(model, tmp_path / "runs" / seed / "model.safetensors", classes=(seed, "b", "c"))
    assert load_model(tmp_path / "runs").classes[0] == "seed-2"
    assert capsys.readouterr().out == ""
    save_model(again, tmp_path / "again.safetensors", classes=CLASSES, preprocessing=IMAGES, record=again.record)
    assert (tmp_path / "again.safetensors").read_bytes() == path.read_bytes()


def test_what_is_not_known_stays_unknown(model, tmp_path):
    save_model(model, tmp_path / "model.safetensors")
    again = load_model(tmp_path)
    assert (again.classes, again.preprocessing, again.record) == ((), None, None)


def test_a_file_of_save_weights_is_a_model_too(tmp_path):
    model = MODELS["ViT"]()
    model.preprocessing = replace(IMAGES, enlarged_from=(4, 6))
    save_weights(model, tmp_path / "vit.safetensors")
    again = load_model(tmp_path / "vit.safetensors")
    assert again.config == model.config and again.preprocessing == model.preprocessing


def test_a_vit_with_classes_is_loaded_as_any_weights(tmp_path):
    model = MODELS["sincos"]()
    save_model(model, tmp_path / "vit.safetensors", classes=CLASSES, preprocessing=IMAGES)
    again = load_pretrained(build(model.config), tmp_path / "vit.safetensors")
    assert again.preprocessing == IMAGES


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"classes": ("cat",)}, "1 classes and 3 outputs must be the same number"),
        ({"model": nn.DataParallel(MODELS["CNN"]())}, "a DataParallel, none of the course's: save the one that was"),
    ],
)
def test_what_cannot_be_saved_is_said(change, words, tmp_path):
    options = {"model": MODELS["CNN"](), "path": tmp_path / "model.safetensors"} | change
    fails(save_model, match=words, **options)
    assert list(tmp_path.iterdir()) == []


def test_what_is_no_model_is_said(tmp_path):
    fails(load_model, tmp_path, match="holds no model.safetensors: it is no run, or one that has not finished")
    fails(load_model, tmp_path / "nothing.safetensors", match="no weights .*nothing.safetensors")
    torch.save(MODELS["ViT"]().state_dict(), tmp_path / "plain.pth")
    fails(load_model, tmp_path / "plain.pth", match="not what model they are of: build it")
    save_model(MODELS["CNN"](), tmp_path / "cnn.safetensors")
    damaged = (tmp_path / "cnn.safetensors").read_bytes().replace(b'kind\\": \\"CNN', b'kind\\": \\"CMM')
    (tmp_path / "cnn.safetensors").write_bytes(damaged)
    fails(load_model, tmp_path / "cnn.safetensors", match="what it says of itself cannot be read")


@pytest.mark.parametrize("entry", [entry for entry in REGISTRY.values() if entry.url is None], ids=lambda e: e.name)
def test_the_courses_own_are_ready_by_name(entry, capsys):
    model = load_model(entry.name)
    assert len(model.classes) == model.config.num_classes and model.preprocessing.resize == "cover"
    assert model.config == VIT_CONFIGS[entry.architecture] and capsys.readouterr().out == ""


@pytest.mark.parametrize("name", ["digits", "toy_shapes"])
def test_classes_stand_in_the_order_of_the_data(name):
    weights = {"digits": "course/vit_digits_patch2_8", "toy_shapes": "course/vit_shapes_token_patch4_32"}[name]
    assert load_model(weights).classes == load_data(name, "test").classes


def test_plain_weights_come_back_unchanged(tmp_path, capsys):
    """With another epsilon, and positions of a grid that is not square but as many."""
    model = VisionTransformer(
        ViTConfig(img_size=(8, 32), patch_size=2, embed_dim=12, num_heads=3, norm_eps=1e-3, depth=2)
    )
    torch.save(model.state_dict(), tmp_path / "own.pth")
    torch.manual_seed(9)
    again = load_pretrained(VisionTransformer(model.config), tmp_path / "own.pth")
    assert all(torch.equal(value, again.state_dict()[name]) for name, value in model.state_dict().items())
    assert again.config == model.config and again.norm.eps == 1e-3
    out = capsys.readouterr().out
    assert "epsilon does not stand in the file: the model's own, 0.001, stays" in out and "resampled" not in out


@pytest.mark.parametrize("head", [lambda: nn.Linear(12, 5), lambda: nn.Sequential(nn.Dropout(0.1), nn.Linear(12, 5))])
def test_a_torchvision_model_with_another_head(head, tmp_path):
    from torchvision.models import VisionTransformer as Theirs

    torch.manual_seed(5)
    theirs = Theirs(image_size=16, patch_size=8, num_layers=2, num_heads=3, hidden_dim=12, mlp_dim=48).eval()
    theirs.heads = head()
    torch.save(theirs.eval().state_dict(), tmp_path / "theirs.pth")
    config = ViTConfig(img_size=16, patch_size=8, embed_dim=12, depth=2, num_heads=3, num_classes=5)
    ours = load_pretrained(VisionTransformer(config), tmp_path / "theirs.pth").eval()
    images = torch.randn(2, 3, 16, 16)
    assert (ours(images) - theirs(images)).abs().max() < 1e-5


# How a model wants its images, from the images that it was trained on.


def picture(width, height):
    x, y = torch.arange(width) / width, torch.arange(height) / height
    pixels = torch.stack([x.expand(height, -1), y[:, None].expand(-1, width), (x * y[:, None])])
    return Image.fromarray((255 * pixels).byte().permute(1, 2, 0).numpy())


@pytest.mark.parametrize(("stored", "input_size"), [((8, 8), None), ((8, 12), None), ((8, 8), 16)])
@pytest.mark.parametrize("size", [(8, 8), (12, 8), (40, 30), (31, 77)])
def test_a_picture_is_seen_as_in_training(stored, input_size, size):
    from course_lib.data.pictures import cover, to_array

    pixels = torch.from_numpy(to_array(cover(picture(*size), stored)))[None]
    data = ImageSet(
        "x/train", pixels, torch.zeros(1).long(), ("a",), (0.4, 0.5, 0.6), (0.2, 0.3, 0.4), input_size=input_size
    )
    ((seen, _),) = data.batches()
    wants = Preprocessing.of(data)
    assert torch.equal(wants.transform()(picture(*size)), seen[0])
    as_tensor = torch.from_numpy(to_array(picture(*size)))
    assert torch.equal(wants.transform()(as_tensor), seen[0])
    several = as_tensor.expand(2, 3, -1, -1, -1)
    assert torch.equal(wants.transform()(several), seen[0].expand(2, 3, -1, -1, -1))
    assert (wants.transform()(as_tensor / 255) - seen[0]).abs().max() < 0.4  # these are cut at whole pixels
    assert (
        Preprocessing(
            **json.loads(
                json.dumps(wants.facts()),
                object_hook=lambda facts: {
                    name: tuple(value) if isinstance(value, list) else value for name, value in facts.items()
                },
            )
        )
        == wants
    )
