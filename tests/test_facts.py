"""What stands beside the weights is heeded, and refused in one line where no ViT can have it."""

import contextlib
import json

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from torch import nn

from course_lib.vit import VisionTransformer, ViTConfig
from course_lib.weights.load import load_pretrained
from course_lib.weights.registry import REGISTRY

CONFIG = ViTConfig(
    img_size=8, patch_size=4, in_chans=3, num_classes=5, embed_dim=12, depth=1, num_heads=3, mlp_ratio=2.0
)


@pytest.fixture(scope="module")
def on_the_hub():
    """A tiny model in Hugging Face's names."""
    import transformers

    config = transformers.ViTConfig(
        hidden_size=12,
        num_hidden_layers=1,
        num_attention_heads=3,
        intermediate_size=24,
        image_size=8,
        patch_size=4,
        num_labels=5,
    )
    return transformers.ViTForImageClassification(config).state_dict()


@pytest.fixture
def folder(tmp_path, on_the_hub):
    save_file(on_the_hub, tmp_path / "model.safetensors")
    return tmp_path


def load(folder, **facts):
    for name, content in facts.items():
        (folder / f"{name}.json").write_text(json.dumps(content))
    model = VisionTransformer(CONFIG)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    try:
        with contextlib.redirect_stdout(None):
            return load_pretrained(model, folder / "model.safetensors")
    except ValueError as error:
        assert "\n" not in str(error) and str(folder) in str(error)
        assert model.config == CONFIG and all(torch.equal(before[name], x) for name, x in model.state_dict().items())
        raise


def test_a_relative_of_vit_keeps_its_own_epsilon(folder):
    assert load(folder, config={"model_type": "vit_msn", "layer_norm_eps": 1e-6}).config.norm_eps == 1e-6


@pytest.mark.parametrize(
    "config",
    [
        {"layer_norm_eps": -1},
        {"layer_norm_eps": "small"},
        {"num_attention_heads": "many"},
        {"num_attention_heads": 4},
        {"image_size": [8, 8], "patch_size": 0},
        {"hidden_act": "relu"},
    ],
    ids=str,
)
def test_a_config_that_does_not_fit_changes_nothing(folder, config):
    with pytest.raises(ValueError):
        load(folder, config=config)


def test_numbers_as_text_are_numbers(folder):
    assert load(folder, config={"layer_norm_eps": "1e-6", "num_attention_heads": "3"}).config.norm_eps == 1e-6


@pytest.mark.parametrize("images", [{"image_mean": 0.5, "image_std": 0.5, "size": 8}, {"resample": [2]}], ids=str)
def test_preprocessing_that_cannot_be_understood(folder, images):
    with pytest.raises(ValueError, match="preprocessor_config.json"):
        load(folder, preprocessor_config=images)


def test_part_of_the_attention_alone_is_refused(tmp_path, on_the_hub):
    some = {name: x for name, x in on_the_hub.items() if not name.endswith("q_proj.bias")}
    save_file(some, tmp_path / "model.safetensors")
    with pytest.raises(ValueError, match="query.bias missing"):
        load(tmp_path)


def test_a_wrapped_model_is_named(folder):
    with pytest.raises(ValueError, match="the model is a Sequential, not a VisionTransformer"):
        load_pretrained(nn.Sequential(VisionTransformer(CONFIG)), folder / "model.safetensors")


def test_a_path_that_leads_nowhere():
    with pytest.raises(ValueError, match="there is no file nowhere/weights.pth"):
        load_pretrained(VisionTransformer(CONFIG), "nowhere/weights.pth")


def test_pictures_of_every_kind():
    transform = REGISTRY["torchvision/vit_b_16.imagenet1k_v1"].preprocessing.transform()
    array = np.random.default_rng(0).integers(0, 256, (300, 280, 3), dtype=np.uint8)
    expected = transform(Image.fromarray(array))
    assert expected.shape == (3, 224, 224)
    assert torch.equal(transform(Image.fromarray(array).convert("RGBA")), expected)
    assert transform(Image.fromarray(array).convert("P")).shape == transform(torch.tensor(array).permute(2, 0, 1)).shape
    for wrong in (array, torch.zeros(4, 300, 280), torch.zeros(300, 280)):
        with pytest.raises(ValueError, match=r"should be a PIL image or a tensor \(3, height, width\)"):
            transform(wrong)
