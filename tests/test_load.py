"""Weights in every format, written by the library that owns it: each parameter equal, each output equal."""

import json
import math
import os
import re
import sys
import tempfile
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from weight_files import (
    ENDINGS,
    SHAPES,
    SMALL,
    Snapshot,
    as_google,
    as_huggingface,
    as_torchvision,
    assert_same,
    filled,
    random_state,
    refuse,
    write,
)

from course_lib.data.sources import photographs
from course_lib.models.create import create_model
from course_lib.pos_embed import resample_pos_embed
from course_lib.vit import VIT_CONFIGS, VisionTransformer
from course_lib.weights import load as pretrained
from course_lib.weights.load import load_pretrained, save_weights
from course_lib.weights.preprocessing import Preprocessing
from course_lib.weights.registry import DEFAULTS, REGISTRY, WeightsEntry

PREPROCESSING = Preprocessing((0.1, 0.2, 0.3), (0.4, 0.5, 0.6), (8, 8), 9, "bicubic")


@pytest.fixture(params=SHAPES)
def shape(request):
    return SHAPES[request.param]


# What the other libraries make of the same weights


def torchvision_model(shape, **changes):
    from torchvision.models import VisionTransformer as Theirs

    facts = {"image_size": shape.img, "patch_size": shape.patch, "num_layers": shape.depth, "hidden_dim": shape.dim}
    facts |= {"num_heads": shape.heads, "mlp_dim": shape.hidden, "num_classes": shape.classes}
    return Theirs(**(facts | changes)).eval()


def timm_model(shape, **changes):
    from timm.models.vision_transformer import VisionTransformer as Theirs

    facts = {"img_size": shape.img, "patch_size": shape.patch, "embed_dim": shape.dim, "depth": shape.depth}
    facts |= {"num_heads": shape.heads, "mlp_ratio": shape.hidden / shape.dim, "num_classes": shape.classes}
    return Theirs(**(facts | changes)).eval()


def huggingface_model(shape, kind="ViTForImageClassification", **changes):
    import transformers

    facts = {"image_size": shape.img, "patch_size": shape.patch, "hidden_size": shape.dim, "num_labels": shape.classes}
    facts |= {"num_hidden_layers": shape.depth, "num_attention_heads": shape.heads}
    config = transformers.ViTConfig(intermediate_size=shape.hidden, **(facts | changes))
    return getattr(transformers, kind)(config).eval()


def images_for(model, batch=2):
    config = model.config
    size = model.patch_embed.img_size
    z = np.random.default_rng(5).standard_normal((batch, config.in_chans, *size))
    return torch.from_numpy(z)


@torch.no_grad()
def outputs(model, blocks, images):
    """The logits, and what each block gives."""
    found = []
    handles = [block.register_forward_hook(lambda _, __, output: found.append(output)) for block in blocks]
    answer = model(images)
    for handle in handles:
        handle.remove()
    return getattr(answer, "logits", answer), found


def assert_answers_equal(ours, theirs, their_blocks, dtype=torch.float64, tolerance=1e-12):
    ours, theirs = ours.to(dtype), theirs.to(dtype)
    images = images_for(ours).to(dtype)
    (logits, blocks), (their_logits, their_outputs) = (
        outputs(ours, ours.blocks, images),
        outputs(theirs, their_blocks, images),
    )
    assert len(blocks) == len(their_outputs) == len(ours.blocks)
    for mine, other in zip([logits, *blocks], [their_logits, *their_outputs], strict=True):
        assert mine.shape == other.shape
        assert 0.05 < other.std() < 20  # neither vanished nor saturated
        assert (mine - other).abs().max() <= tolerance


# Each format


@pytest.mark.parametrize("names", ["memory", "published"])
@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
def test_torchvision(shape, names, zipped, tmp_path, capsys):
    theirs = filled(torchvision_model(shape), seed=1)
    state = theirs.state_dict()
    if names == "published":
        new = {".mlp.0.": ".mlp.linear_1.", ".mlp.3.": ".mlp.linear_2."}
        state = {re.sub(r"\.mlp\.[03]\.", lambda m: new[m[0]], name): value for name, value in state.items()}
    torch.save(state, tmp_path / "vit.pth", _use_new_zipfile_serialization=zipped)
    ours = shape.model()
    assert load_pretrained(ours, tmp_path / "vit.pth") is ours
    assert_same(as_torchvision(ours.state_dict(), published=names == "published"), state)
    line = capsys.readouterr().out.splitlines()[0]
    assert line == f"vit.pth: {len(ours.state_dict())} tensors under torchvision's names, all in place."
    assert ours.config.norm_eps == 1e-6
    assert_answers_equal(ours, theirs, theirs.encoder.layers)


def test_torchvision_float32(shape, tmp_path):
    theirs = filled(torchvision_model(shape), seed=1)
    torch.save(theirs.state_dict(), tmp_path / "vit.pth")
    ours = load_pretrained(shape.model(), tmp_path / "vit.pth")
    assert_answers_equal(ours, theirs, theirs.encoder.layers, torch.float32, 1e-5)


def test_torchvision_representation_layer(tmp_path):
    shape = SHAPES["patch14"]
    theirs = filled(torchvision_model(shape, representation_size=9), seed=1)
    torch.save(theirs.state_dict(), tmp_path / "vit.pth")
    ours = load_pretrained(shape.model(representation_size=9), tmp_path / "vit.pth")
    assert_same(as_torchvision(ours.state_dict()), theirs.state_dict())
    assert_answers_equal(ours, theirs, theirs.encoder.layers)


@pytest.mark.parametrize("path_as", [str, lambda path: path], ids=["str", "Path"])
@pytest.mark.parametrize("ending", ["pth", "safetensors"])
def test_timm(shape, ending, path_as, tmp_path, capsys):
    from safetensors.torch import save_file
    from timm.models import load_checkpoint

    theirs, path = filled(timm_model(shape), seed=2), tmp_path / f"vit.{ending}"
    (torch.save if ending == "pth" else save_file)(theirs.state_dict(), path)
    load_checkpoint(timm_model(shape), str(path))  # timm can read it
    ours = load_pretrained(shape.model(), path_as(path))
    assert_same(ours.state_dict(), theirs.state_dict())
    assert "timm's names" in capsys.readouterr().out
    assert_answers_equal(ours, theirs, theirs.blocks)


@pytest.mark.parametrize("options", [{"qkv_bias": False}, {"global_pool": "avg"}, {"in_chans": 1}], ids=str)
def test_timm_variants(options, tmp_path):
    theirs_too = options | ({"class_token": False, "fc_norm": False} if "global_pool" in options else {})
    theirs = filled(timm_model(SMALL, **theirs_too), seed=2)
    torch.save(theirs.state_dict(), tmp_path / "vit.pth")
    ours = load_pretrained(SMALL.model(**options), tmp_path / "vit.pth")
    assert_same(ours.state_dict(), theirs.state_dict())
    assert_answers_equal(ours, theirs, theirs.blocks)


@pytest.mark.parametrize("options", [{}, {"class_token": False, "global_pool": "avg"}], ids=["token", "avg"])
def test_timm_relative_positions(options, tmp_path):
    from timm.models.vision_transformer_relpos import VisionTransformerRelPos

    shape = SMALL
    theirs = VisionTransformerRelPos(
        img_size=shape.img,
        patch_size=shape.patch,
        embed_dim=shape.dim,
        depth=shape.depth,
        num_heads=shape.heads,
        mlp_ratio=shape.hidden / shape.dim,
        num_classes=shape.classes,
        init_values=None,
        rel_pos_type="bias",
        fc_norm=False,
        **({"class_token": True, "global_pool": "token"} | options),
    ).eval()
    filled(theirs, seed=2)
    torch.save(theirs.state_dict(), tmp_path / "vit.pth")
    ours = shape.model(pos_embed="relative", global_pool=options.get("global_pool", "token"))
    load_pretrained(ours, tmp_path / "vit.pth")
    assert_same(ours.state_dict(), theirs.state_dict())
    assert_answers_equal(ours, theirs, theirs.blocks)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_half_precision_files(dtype, tmp_path):
    from safetensors.torch import save_file

    state = {name: value.to(dtype) for name, value in random_state(SMALL.model()).items()}
    save_file(state, tmp_path / "half.safetensors")
    ours = load_pretrained(SMALL.model(), tmp_path / "half.safetensors")
    assert_same(ours.state_dict(), {name: value.float() for name, value in state.items()})


def test_the_model_keeps_its_precision(tmp_path):
    state = random_state(SMALL.model())
    torch.save(state, tmp_path / "vit.pth")
    ours = load_pretrained(SMALL.model(num_classes=4).double(), tmp_path / "vit.pth", num_classes=9)
    assert {value.dtype for value in ours.state_dict().values()} == {torch.float64}
    assert torch.equal(ours.norm.weight, state["norm.weight"].double())


PREFIXES = [
    "",
    "module.",
    "_orig_mod.",
    "model.",
    "module._orig_mod.",
    "_orig_mod.module.",
    "model._orig_mod.",
    "model.module._orig_mod.",
    "_orig_mod.module.model.",
    "model._orig_mod.module.",
    "module.model._orig_mod.",
]


@pytest.mark.parametrize("prefix", PREFIXES)
@pytest.mark.parametrize("wrapper", [None, "state_dict", "model", "state_dict_ema", "model_ema"])
def test_wrapped(wrapper, prefix, tmp_path):
    state = random_state(SMALL.model())
    content = {prefix + name: value for name, value in state.items()}
    if wrapper:
        content = {wrapper: content, "epoch": 3, "optimizer": {"state": {0: torch.ones(2)}, "param_groups": [{}]}}
    torch.save(content, tmp_path / "last.pth")
    ours = load_pretrained(SMALL.model(), tmp_path / "last.pth")
    assert_same(ours.state_dict(), state)


@pytest.mark.parametrize("library", ["torchvision", "huggingface"])
def test_wrapped_names_of_the_other_libraries(library, tmp_path):
    state = random_state(SMALL.model())
    theirs = as_torchvision(state) if library == "torchvision" else as_huggingface(state)
    torch.save({"state_dict": {"module." + name: value for name, value in theirs.items()}}, tmp_path / "last.pth")
    ours = load_pretrained(SMALL.model(), tmp_path / "last.pth")
    assert_same(ours.state_dict(), state)


def test_a_checkpoint_of_timms_trainer_gives_the_averaged_weights(tmp_path):
    from timm.utils import CheckpointSaver, ModelEmaV3

    model = filled(timm_model(SMALL), seed=1)
    average = ModelEmaV3(model)
    filled(average.module, seed=2)
    saver = CheckpointSaver(
        model, torch.optim.SGD(model.parameters(), 0.1), model_ema=average, checkpoint_dir=str(tmp_path)
    )
    saver.save_checkpoint(epoch=1)
    ours = load_pretrained(SMALL.model(), tmp_path / "last.pth.tar")
    assert_same(ours.state_dict(), average.module.state_dict())


@pytest.mark.parametrize("form", ["safetensors", "bin", "bin-old", "bin-legacy"])
def test_huggingface(shape, form, tmp_path, capsys):
    theirs = filled(huggingface_model(shape), seed=3)
    state = theirs.state_dict()
    if form == "safetensors":
        theirs.save_pretrained(tmp_path)
        path = tmp_path / "model.safetensors"
    else:
        path = tmp_path / "pytorch_model.bin"
        if form == "bin-old":
            from safetensors.torch import load_file

            theirs.save_pretrained(tmp_path / "hub")
            state = load_file(tmp_path / "hub" / "model.safetensors")
            assert any("attention.attention.query" in name for name in state)
        torch.save(state, path, _use_new_zipfile_serialization=form != "bin-legacy")
    ours = load_pretrained(shape.model(), path)
    assert_same(as_huggingface(ours.state_dict(), old=form == "bin-old"), state)
    assert_same(as_huggingface(ours.state_dict()), theirs.state_dict())
    assert "Hugging Face's names" in (out := capsys.readouterr().out)
    assert ours.config.norm_eps == 1e-12
    assert "epsilon set from 1e-06 to 1e-12" in out
    assert_answers_equal(ours, theirs, theirs.vit.layers)


@pytest.mark.parametrize("form", ["safetensors", "bin"])
@pytest.mark.parametrize("pooler", [True, False])
def test_huggingface_backbone(form, pooler, tmp_path):
    import transformers

    shape = SHAPES["patch14"]
    config = huggingface_model(shape).config
    theirs = filled(transformers.ViTModel(config, add_pooling_layer=pooler).eval(), seed=3)
    if form == "bin":
        torch.save(theirs.state_dict(), tmp_path / "pytorch_model.bin")
    else:
        theirs.save_pretrained(tmp_path)
    path = tmp_path / ("model.safetensors" if form == "safetensors" else "pytorch_model.bin")
    ours = shape.model(num_classes=0, representation_size=shape.dim if pooler else None)
    load_pretrained(ours, path)
    assert_same(as_huggingface(ours.state_dict(), prefix=""), theirs.state_dict())
    images = images_for(ours)
    with torch.no_grad():
        mine, found = ours.double()(images), theirs.double()(images)
    expected = found.pooler_output if pooler else found.last_hidden_state[:, 0]
    assert (mine - expected).abs().max() <= 1e-12
    assert (ours.forward_features(images) - found.last_hidden_state).abs().max() <= 1e-12


def test_files_beside_a_hub_file_are_heeded(tmp_path, capsys):
    from transformers import ViTImageProcessor

    theirs = filled(huggingface_model(SMALL, layer_norm_eps=3e-4), seed=3)
    theirs.save_pretrained(tmp_path)
    processor = ViTImageProcessor(
        size={"height": 8, "width": 8}, image_mean=[0.1, 0.2, 0.3], image_std=[0.4, 0.5, 0.6], resample=3
    )
    processor.save_pretrained(tmp_path)
    ours = load_pretrained(SMALL.model(), tmp_path / "model.safetensors")
    assert {module.eps for module in ours.modules() if isinstance(module, torch.nn.LayerNorm)} == {3e-4}
    assert "epsilon set from 1e-06 to 0.0003" in capsys.readouterr().out
    assert ours.preprocessing == Preprocessing((0.1, 0.2, 0.3), (0.4, 0.5, 0.6), (8, 8), (8, 8), "bicubic")
    assert_answers_equal(ours, theirs, theirs.vit.layers)
    other = SMALL.model(num_heads=4)
    assert "3 heads; the model has 4" in refuse(other, tmp_path / "model.safetensors", capsys)


def test_a_nonsquare_hub_file_says_its_grid(tmp_path, capsys):
    theirs = filled(huggingface_model(SMALL, image_size=(8, 32)), seed=3)  # 2 x 8: as many patches as 4 x 4
    theirs.save_pretrained(tmp_path)
    ours = load_pretrained(SMALL.model(img_size=(8, 32)), tmp_path / "model.safetensors")
    assert "resampled" not in capsys.readouterr().out
    assert_same(as_huggingface(ours.state_dict()), theirs.state_dict())


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        ({"size": 8}, (8, 8)),
        ({"size": {"shortest_edge": 9}, "crop_size": {"height": 8, "width": 8}}, 9),
        ({"size": {"height": 9, "width": 9}, "do_center_crop": True, "crop_size": {"height": 8, "width": 8}}, (9, 9)),
        ({"size": {"height": 8, "width": 8}, "resample": None}, None),
        ({"size": {"height": 8, "width": 8}, "resample": 0}, None),  # neither bilinear nor bicubic: not guessed
    ],
    ids=["number", "shorter side", "crop", "no filter", "nearest"],
)
def test_other_preprocessor_files(facts, expected, tmp_path):
    """Loading never fails because of a preprocessor file, and nothing in one is guessed."""
    path = write("huggingface", random_state(SMALL.model()), tmp_path / "model.safetensors")
    mean = {"image_mean": [0.1, 0.2, 0.3], "image_std": [0.4, 0.5, 0.6], "resample": 2}
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(mean | facts))
    ours = load_pretrained(SMALL.model(), path)
    if expected is None:
        assert ours.preprocessing is None
    else:
        assert ours.preprocessing is None or (ours.preprocessing.resize, ours.preprocessing.input_size) == (
            expected,
            (8, 8),
        )


@pytest.mark.parametrize("text", ["", "{", "[1]", '{"layer_norm_eps": null, "model_type": "vit"}', "<html>"])
def test_broken_files_beside_a_hub_file(text, tmp_path):
    path = write("huggingface", random_state(SMALL.model()), tmp_path / "model.safetensors")
    for name in ("config.json", "preprocessor_config.json"):
        (tmp_path / name).write_text(text)
    ours = load_pretrained(SMALL.model(), path)
    assert ours.config.norm_eps == 1e-12


@pytest.mark.parametrize("prefix", ["", "opt/target/", "params/"])
@pytest.mark.parametrize("packed", [False, True], ids=["stored", "deflated"])
def test_google(shape, prefix, packed, tmp_path, capsys):
    """timm's own loader reads the same file: what it makes of it is the truth."""
    if prefix == "params/" and packed:
        return
    state = random_state(shape.model(), seed=4)
    arrays = as_google(state, shape.heads, prefix)
    (np.savez_compressed if packed else np.savez)(tmp_path / "vit.npz", **arrays)
    if prefix == "params/":  # timm takes this for the layout of big_vision, and looks for other names
        arrays = as_google(state, shape.heads)
        np.savez(tmp_path / "plain.npz", **arrays)
    theirs = timm_model(shape)
    theirs.load_pretrained(str(tmp_path / ("plain.npz" if prefix == "params/" else "vit.npz")))
    ours = load_pretrained(shape.model(), tmp_path / "vit.npz")
    assert_same(ours.state_dict(), theirs.state_dict())
    assert_same(ours.state_dict(), state)
    assert "Google's names" in capsys.readouterr().out
    assert_answers_equal(ours, theirs, theirs.blocks)


@pytest.mark.parametrize("representation_size", [9, 12], ids=["other width", "same width"])
def test_google_representation_layer(representation_size, tmp_path):
    """Its kernel is transposed too, which shows only where it is not square. timm no longer reads it: by hand."""
    state = random_state(SMALL.model(representation_size=representation_size), seed=4)
    np.savez(tmp_path / "vit.npz", **as_google(state, SMALL.heads))
    ours = load_pretrained(SMALL.model(representation_size=representation_size), tmp_path / "vit.npz")
    assert_same(ours.state_dict(), state)


def test_google_heads_are_known(tmp_path, capsys):
    """(D, H, d): the file says how many heads there are. Another number would load, and answer otherwise."""
    np.savez(tmp_path / "vit.npz", **as_google(random_state(SMALL.model()), 3))
    assert re.search(r"\b3 heads.*\b4\b", refuse(SMALL.model(num_heads=4), tmp_path / "vit.npz", capsys))


@pytest.mark.parametrize("size", [0x80, 0x180, 0x4B50, 0x3C20, 0x7B20, 0x5B20])
def test_a_safetensors_file_is_known_whatever_the_length_of_its_header(size, tmp_path):
    """The length comes first in the file, and may look like the beginning of a pickle, a zip, HTML or JSON."""
    from safetensors.torch import save

    shortest = int.from_bytes(save({"x": torch.ones(3)}, metadata={"pad": ""})[:8], "little")
    data = save({"x": torch.ones(3)}, metadata={"pad": "p" * (size - shortest)})
    assert int.from_bytes(data[:8], "little") == size
    from course_lib.weights.formats import read_weights, recognise

    path = tmp_path / "x.safetensors"
    path.write_bytes(data)
    assert recognise(path) == "safetensors"
    assert_same(read_weights(path), {"x": torch.ones(3)})


# Our own files

OWN = {
    "plain": {},
    "avg": {"global_pool": "avg"},
    "not square": {"img_size": (8, 20)},
    "relative": {"pos_embed": "relative"},
    "sincos": {"pos_embed": "sincos2d"},
    "no bias": {"qkv_bias": False, "norm_eps": 1e-5},
    "representation": {"representation_size": 5},
    "no head": {"num_classes": 0},
    "grey": {"in_chans": 1},
}


@pytest.mark.parametrize("images", [None, PREPROCESSING], ids=["bare", "preprocessing"])
@pytest.mark.parametrize("options", OWN.values(), ids=OWN)
def test_saved_loaded_and_saved_again_is_the_same_to_the_byte(options, images, tmp_path, capsys):
    model = filled(SMALL.model(**options))
    model.preprocessing = images and images.at(model.patch_embed.img_size)
    save_weights(model, tmp_path / "first.safetensors")
    again = SMALL.model(**options)
    load_pretrained(again, tmp_path / "first.safetensors")
    assert_same(again.state_dict(), model.state_dict())
    assert (again.config, again.preprocessing) == (model.config, model.preprocessing)
    assert "resampled" not in capsys.readouterr().out
    save_weights(again, tmp_path / "second.safetensors")
    assert (tmp_path / "first.safetensors").read_bytes() == (tmp_path / "second.safetensors").read_bytes()
    assert sorted(os.listdir(tmp_path)) == ["first.safetensors", "second.safetensors"]


def test_epsilon_and_heads_travel_in_our_own_files(tmp_path, capsys):
    save_weights(filled(SMALL.model(norm_eps=1e-4)), tmp_path / "vit.safetensors")
    capsys.readouterr()
    ours = load_pretrained(SMALL.model(), tmp_path / "vit.safetensors")
    assert ours.config.norm_eps == ours.norm.eps == ours.blocks[1].norm2.eps == 1e-4
    assert "from 1e-06 to 0.0001" in capsys.readouterr().out
    assert "3 heads" in refuse(SMALL.model(num_heads=2), tmp_path / "vit.safetensors", capsys)


@pytest.mark.parametrize("fault", ["write", "fsync", "replace"])
def test_a_failing_save_leaves_all_as_it_was(fault, tmp_path, monkeypatch):
    path = tmp_path / "vit.safetensors"
    save_weights(filled(SMALL.model()), path)
    before = path.read_bytes()

    def fail(*_, **__):
        raise OSError(28, "No space left on device")

    if fault == "write":
        original = tempfile.NamedTemporaryFile

        def opened(*arguments, **options):
            file = original(*arguments, **options)
            file.write = fail
            return file

        monkeypatch.setattr(tempfile, "NamedTemporaryFile", opened)
    else:
        monkeypatch.setattr(os, fault, fail)
    with pytest.raises((OSError, ValueError)):
        save_weights(filled(SMALL.model(), seed=9), path)
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == [path.name]


@pytest.mark.parametrize("fault", [KeyboardInterrupt, MemoryError])
def test_an_interrupted_save_leaves_all_as_it_was(fault, tmp_path, monkeypatch):
    path = tmp_path / "vit.safetensors"
    save_weights(filled(SMALL.model()), path)
    before = path.read_bytes()

    def fail(*_):
        raise fault

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(fault):
        save_weights(filled(SMALL.model(), seed=9), path)
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == [path.name]


# Preprocessing


@pytest.fixture(scope="module")
def pictures():
    return {name: Image.fromarray(image.permute(1, 2, 0).numpy()) for name, image in photographs().items()}


def torchvision_weights():
    import torchvision.models as models

    enums = (
        models.ViT_B_16_Weights,
        models.ViT_B_32_Weights,
        models.ViT_L_16_Weights,
        models.ViT_L_32_Weights,
        models.ViT_H_14_Weights,
    )
    return {
        f"torchvision/{enum.__name__.removesuffix('_Weights').lower()}.{weights.name.lower()}": weights
        for enum in enums
        for weights in enum
    }


TORCHVISION_ENTRIES = sorted(name for name in REGISTRY if name.startswith("torchvision/"))


@pytest.mark.parametrize("name", TORCHVISION_ENTRIES)
def test_preprocessing_is_torchvisions(name, pictures):
    theirs, ours = torchvision_weights()[name].transforms(), REGISTRY[name].preprocessing.transform()
    for picture in pictures.values():
        found, expected = ours(picture), theirs(picture)
        assert type(found) is torch.Tensor
        assert found.dtype == expected.dtype
        assert found.shape == expected.shape
        assert (found - expected).abs().max() <= 1e-6


def test_preprocessing_of_tensors_is_almost_torchvisions():
    """torchvision's older functions round tensors otherwise (a sixth of the pixels by one level of 255)."""
    name = "torchvision/vit_b_16.imagenet1k_v1"
    theirs, ours = torchvision_weights()[name].transforms(), REGISTRY[name].preprocessing
    for picture in photographs().values():
        levels = (ours.transform()(picture) - theirs(picture)) * torch.tensor(ours.std)[:, None, None] * 255
        assert levels.abs().max() <= 1.01
        assert (levels.abs() > 0.5).float().mean() <= 0.2


@pytest.mark.parametrize(
    "name", ["timm/vit_base_patch16_224.augreg2_in21k_ft_in1k", "timm/vit_base_patch16_384.augreg_in21k_ft_in1k"]
)
def test_preprocessing_is_timms(name, pictures):
    from timm.data import create_transform, resolve_data_config
    from timm.models import get_pretrained_cfg

    settings = resolve_data_config(pretrained_cfg=get_pretrained_cfg(name.removeprefix("timm/")).to_dict())
    theirs, ours = create_transform(**settings), REGISTRY[name].preprocessing.transform()
    for picture in pictures.values():
        assert (ours(picture) - theirs(picture)).abs().max() <= 1e-6


@pytest.mark.parametrize("kind", ["tensor", "PIL"])
def test_preprocessing_is_huggingfaces(kind, pictures):
    """It has two processors: one works on tensors, one on PIL pictures. They differ by a level in 0.2 % of the pixels."""
    import transformers

    ours = REGISTRY["google/vit-base-patch16-224/model.safetensors"].preprocessing.transform()
    processor = transformers.ViTImageProcessor if kind == "tensor" else transformers.ViTImageProcessorPil
    theirs = processor(size={"height": 224, "width": 224}, image_mean=[0.5] * 3, image_std=[0.5] * 3, resample=2)
    for picture in (photographs() if kind == "tensor" else pictures).values():
        expected = torch.as_tensor(theirs(picture, return_tensors="pt")["pixel_values"][0])
        assert (ours(picture) - expected).abs().max() <= 1e-6


@pytest.mark.parametrize("mode", ["L", "RGBA", "P", "LA", "CMYK"])
def test_pictures_in_other_modes_are_made_colour(mode, pictures):
    """A drawing with transparency, a grey scan: what readers have."""
    picture = pictures["flower"].convert(mode)
    found = PREPROCESSING.transform()(picture)
    assert found.shape == (3, 8, 8)
    assert torch.equal(found, PREPROCESSING.transform()(picture.convert("RGB")))


def test_grey_models_take_grey_pictures(pictures):
    found = Preprocessing((0.5,), (0.25,), (8, 8), 8, "bilinear").transform()(pictures["flower"].convert("L"))
    assert found.shape == (1, 8, 8)


def test_another_input_size():
    assert PREPROCESSING.at((8, 8)) is PREPROCESSING
    assert PREPROCESSING.at((16, 16)) == replace(PREPROCESSING, input_size=(16, 16), resize=18)
    assert PREPROCESSING.at((12, 12)) == replace(PREPROCESSING, input_size=(12, 12), resize=14)  # 13.5
    squeezed = replace(PREPROCESSING, resize=(8, 8))
    assert squeezed.at((16, 24)) == replace(squeezed, input_size=(16, 24), resize=(16, 24))
    assert replace(PREPROCESSING, resize=None).at((16, 16)).resize is None
    assert REGISTRY["torchvision/vit_b_16.imagenet1k_v1"].preprocessing.at((384, 384)).resize == 439


@pytest.mark.parametrize("resize", [9, (8, 8), None])
@pytest.mark.parametrize("size", [(16, 16), (8, 20), (20, 8), (4, 6)])
def test_the_transform_fits_whatever_the_size(size, resize, pictures):
    for picture in (pictures["china"], pictures["china"].rotate(90, expand=True)):
        found = replace(PREPROCESSING, resize=resize).at(size).transform()(picture)
        assert found.shape == (3, *size)
        black = -torch.tensor(PREPROCESSING.mean) / torch.tensor(PREPROCESSING.std)
        edges = torch.cat([found[:, 0], found[:, -1], found[:, :, 0], found[:, :, -1]], dim=1)
        assert (edges - black[:, None]).abs().amax(0).min() > 0.02  # no black bars: the crop fits into the picture


def entry_for(path, name="test/vit", **facts):
    known = {
        "name": name,
        "architecture": "vit_test",
        "url": f"https://localhost/{path.name}",
        "file": path.name,
        "size": path.stat().st_size,
        "sha256": None,
        "preprocessing": PREPROCESSING,
        "norm_eps": 1e-6,
        "num_classes": SMALL.classes,
        "top1": None,
        "top1_from": None,
        "licence": None,
    }
    return WeightsEntry(**(known | facts))


@pytest.fixture
def published(tmp_path, monkeypatch):
    """A function that makes a file known by name, as if it had been downloaded already."""
    monkeypatch.setenv("COURSE_LIB_CACHE", str(tmp_path))
    monkeypatch.setenv("COURSE_LIB_OFFLINE", "1")
    monkeypatch.setitem(VIT_CONFIGS, "vit_test", SMALL.config())

    def publish(kind="zip", state=None, **facts):
        path = write(kind, state or random_state(SMALL.model()), tmp_path / f"vit-{kind}{ENDINGS[kind]}")
        monkeypatch.setitem(REGISTRY, "test/vit", entry_for(path, **facts))
        monkeypatch.setitem(DEFAULTS, "vit_test", "test/vit")
        return path

    return publish


@pytest.mark.parametrize(
    ("kind", "known", "expected"),
    [
        ("zip", 1e-6, 1e-6),
        ("zip", None, 1e-6),
        ("huggingface", 1e-12, 1e-12),
        ("huggingface", None, 1e-12),
        ("safetensors", 1e-6, 1e-6),
        ("safetensors", 1e-5, 1e-5),
        ("npz", None, 1e-6),
    ],
)
@pytest.mark.parametrize("start", [1e-6, 1e-12])
def test_epsilon_comes_with_the_entry(kind, known, expected, start, published, capsys):
    published(kind, norm_eps=known)
    model = load_pretrained(SMALL.model(norm_eps=start), "test/vit")
    assert model.config.norm_eps == expected
    assert {module.eps for module in model.modules() if isinstance(module, torch.nn.LayerNorm)} == {expected}
    changed = f"epsilon set from {start:g} to {expected:g}"
    assert (changed in capsys.readouterr().out) == (start != expected)


def test_preprocessing_comes_with_the_entry(published, capsys):
    path = published()
    assert load_pretrained(SMALL.model(), "test/vit").preprocessing == PREPROCESSING
    assert load_pretrained(SMALL.model(), path).preprocessing == PREPROCESSING  # known by the file's name too
    big = load_pretrained(SMALL.model(img_size=16), "test/vit")
    assert big.preprocessing == PREPROCESSING.at((16, 16))
    capsys.readouterr()
    published(preprocessing=None)
    model = filled(SMALL.model())
    model.preprocessing = PREPROCESSING  # of the weights before: no longer true
    assert load_pretrained(model, "test/vit").preprocessing is None
    assert "not known" in capsys.readouterr().out


def test_heads_are_known_from_the_entry(published, capsys):
    published()
    before = Snapshot(model := SMALL.model(num_heads=2))
    with pytest.raises(ValueError, match="3 heads; the model has 2"):
        load_pretrained(model, "test/vit")
    before.assert_unchanged(model)


# Positions


def positions_file(tmp_path, shape=SMALL, **options):
    state = random_state(shape.model(**options))
    torch.save(as_torchvision(state), tmp_path / "vit.pth")
    return state, tmp_path / "vit.pth"


@pytest.mark.parametrize("size", [(16, 16), (32, 32), (8, 8), (12, 28), (28, 12), (8, 32), (4, 4)], ids=str)
def test_positions_are_resampled_as_timm_does(size, tmp_path, capsys):
    from timm.layers import resample_abs_pos_embed

    state, path = positions_file(tmp_path, img_size=16)  # 4 x 4; (8, 32) has as many patches: 2 x 8
    ours = load_pretrained(SMALL.model(img_size=size), path)
    grid = (size[0] // 4, size[1] // 4)
    out = capsys.readouterr().out
    if size == (16, 16):
        assert "resampled" not in out
        assert torch.equal(ours.pos_embed, state["pos_embed"])
        return
    assert sum("resampled" in line for line in out.splitlines()) == 1
    assert f"from 4 x 4 to {grid[0]} x {grid[1]} patches" in out
    # timm takes equal counts for equal grids, unless it is told the old one and both are not square
    expected = resample_abs_pos_embed(state["pos_embed"], list(grid), old_size=[4, 4], num_prefix_tokens=1)
    if size != (8, 32):
        assert (ours.pos_embed - expected).abs().max() <= 1e-6
        assert not torch.equal(ours.pos_embed[:, 1:5], state["pos_embed"][:, 1:5])
    patches = state["pos_embed"][:, 1:].reshape(1, 4, 4, -1).permute(0, 3, 1, 2)
    picture = torch.nn.functional.interpolate(patches, grid, mode="bicubic", antialias=True)
    assert (ours.pos_embed[:, 1:] - picture.flatten(2).transpose(1, 2)).abs().max() <= 1e-6
    assert torch.equal(ours.pos_embed[:, 0], state["pos_embed"][:, 0])
    rest = {name: value for name, value in ours.state_dict().items() if name != "pos_embed"}
    assert_same(rest, {name: value for name, value in state.items() if name != "pos_embed"})


def test_positions_without_class_token(tmp_path):
    state = random_state(SMALL.model(img_size=16, global_pool="avg"))
    torch.save(state, tmp_path / "vit.pth")
    ours = load_pretrained(SMALL.model(img_size=24, global_pool="avg"), tmp_path / "vit.pth")
    assert torch.equal(ours.pos_embed, resample_pos_embed(state["pos_embed"], (6, 6), 0))


def test_positions_of_timms_own_loader(tmp_path):
    """The same .npz into the same larger model, in both libraries (timm resamples those without antialiasing)."""
    np.savez(tmp_path / "vit.npz", **as_google(random_state(SMALL.model(img_size=16)), 3))
    theirs = timm_model(SMALL, img_size=24)
    theirs.load_pretrained(str(tmp_path / "vit.npz"))
    ours = load_pretrained(SMALL.model(img_size=24), tmp_path / "vit.npz")
    patches = [model.pos_embed for model in (ours, theirs)]
    assert patches[0].shape == patches[1].shape
    other = [name for name, value in ours.state_dict().items() if not torch.equal(value, theirs.state_dict()[name])]
    assert other == ["pos_embed"]
    assert 1e-6 < (patches[0] - patches[1]).abs().max() < 0.2  # bilinear there: the paper's code, not timm's .pth path


def test_our_files_say_their_grid(tmp_path, capsys):
    save_weights(filled(SMALL.model(img_size=(8, 32))), tmp_path / "vit.safetensors")
    refuse(SMALL.model(img_size=16), tmp_path / "vit.safetensors", capsys, "no square grid")
    refuse(SMALL.model(img_size=24), tmp_path / "vit.safetensors", capsys, "no square grid")
    refuse(SMALL.model(img_size=(32, 8)), tmp_path / "vit.safetensors", capsys, "no square grid")
    square = filled(SMALL.model(img_size=16))
    save_weights(square, tmp_path / "square.safetensors")
    ours = load_pretrained(SMALL.model(img_size=(8, 32)), tmp_path / "square.safetensors")
    assert torch.equal(ours.pos_embed, resample_pos_embed(square.pos_embed, (2, 8), 1))


def test_positions_that_are_no_square_cannot_be_stretched(tmp_path, capsys):
    _, path = positions_file(tmp_path, img_size=(8, 20))
    refuse(SMALL.model(img_size=16), path, capsys, "10 patch positions")


def test_a_nonsquare_file_of_another_library_fits_the_same_model(tmp_path):
    """A count that is no square can only be the same grid, if the model has as many."""
    state, path = positions_file(tmp_path, img_size=(8, 20))
    assert_same(load_pretrained(SMALL.model(img_size=(8, 20)), path).state_dict(), state)


# Heads


@pytest.fixture
def seven(tmp_path):
    """A file with 7 classes, and its weights."""
    state = random_state(SMALL.model())
    torch.save(state, tmp_path / "seven.pth")
    return tmp_path / "seven.pth", state


def body(state):
    return {name: value for name, value in state.items() if not name.startswith(("head.", "pre_logits."))}


def test_another_number_of_classes_is_an_error(seven, capsys):
    path, _ = seven
    line = refuse(SMALL.model(num_classes=5), path, capsys)
    assert "7 classes" in line
    assert "num_classes=5" in line
    assert "num_classes=7" in line
    line = refuse(SMALL.model(num_classes=0), path, capsys)
    assert re.search(r"7 classes.*\b0\b", line)


@pytest.mark.parametrize("built_with", [5, 7, 1000, 0])
@pytest.mark.parametrize("asked", [5, 12, 0])
def test_a_new_head_where_asked_for(built_with, asked, seven, capsys):
    path, state = seven
    model = load_pretrained(SMALL.model(num_classes=built_with), path, num_classes=asked)
    out = capsys.readouterr().out
    assert_same(body(model.state_dict()), body(state))
    assert model.config.num_classes == asked
    assert "7 classes" in out
    if asked:
        assert model(torch.zeros(1, 3, 8, 8)).shape == (1, asked)
        assert f"new head for {asked} classes is untrained" in out
        assert not model.head.bias.any()
        assert 0 < model.head.weight.std() < 0.05
    else:
        assert isinstance(model.head, torch.nn.Identity)
        assert model(torch.zeros(1, 3, 8, 8)).shape == (1, SMALL.dim)


@pytest.mark.parametrize("built_with", [7, 5, 1000, 0])
def test_the_files_head_stays_where_it_has_the_classes_asked_for(built_with, seven, capsys):
    path, state = seven
    model = load_pretrained(SMALL.model(num_classes=built_with), path, num_classes=7)
    assert_same(model.state_dict(), state)
    assert model.config.num_classes == 7
    assert "untrained" not in capsys.readouterr().out


@pytest.mark.parametrize("asked", [5, 0])
def test_a_representation_layer_goes_with_the_head(asked, tmp_path, capsys):
    state = random_state(SMALL.model(representation_size=5))
    torch.save(as_torchvision(state), tmp_path / "vit.pth")
    refuse(SMALL.model(), tmp_path / "vit.pth", capsys, "representation_size=5")
    refuse(SMALL.model(representation_size=6), tmp_path / "vit.pth", capsys)
    model = load_pretrained(SMALL.model(representation_size=6), tmp_path / "vit.pth", num_classes=asked)
    assert model.config.representation_size is None
    assert_same(body(model.state_dict()), body(state))
    assert "representation layer" in capsys.readouterr().out


def test_a_headless_file_with_a_pooler_into_a_plain_backbone(tmp_path, capsys):
    """google/vit-base-patch16-224-in21k without its pooler: asked for with num_classes=0, it is left out."""
    state = random_state(SMALL.model(num_classes=0, representation_size=12))
    torch.save(as_huggingface(state, old=True, prefix=""), tmp_path / "pytorch_model.bin")
    model = load_pretrained(SMALL.model(num_classes=0), tmp_path / "pytorch_model.bin", num_classes=0)
    assert_same(model.state_dict(), body(state))


def test_a_model_with_a_representation_layer_and_a_file_without(seven, capsys):
    path, _ = seven
    line = refuse(SMALL.model(representation_size=4), path, capsys, "representation")
    assert "representation_size=None" in line


def test_create_model_from_a_path(seven, capsys, monkeypatch):
    path, state = seven
    monkeypatch.setitem(VIT_CONFIGS, "vit_test", SMALL.config())
    assert_same(create_model("vit_test", pretrained=str(path)).state_dict(), state)
    five = create_model("vit_test", pretrained=path, num_classes=5, drop_path_rate=0.2)
    assert_same(body(five.state_dict()), body(state))
    assert five.config.num_classes == 5
    assert five.config.drop_path_rate == 0.2
    assert_same(create_model("vit_test", pretrained=path, num_classes=7).state_dict(), state)
    assert "new head for 5 classes" in capsys.readouterr().out
    bigger = create_model("vit_test", pretrained=path, img_size=16)
    assert torch.equal(bigger.pos_embed, resample_pos_embed(state["pos_embed"], (4, 4), 1))


def test_create_model_by_name(published, capsys):
    state = random_state(SMALL.model())
    published(state=state)
    for model in (create_model("vit_test", pretrained=True), create_model("vit_test", pretrained="test/vit")):
        assert_same(model.state_dict(), state)
        assert model.preprocessing == PREPROCESSING
    five = create_model("vit_test", pretrained=True, num_classes=5)
    assert_same(body(five.state_dict()), body(state))
    with pytest.raises(ValueError, match="no weights are published for 'vit_mnist_patch7_28'"):
        create_model("vit_mnist_patch7_28", pretrained=True)
    with pytest.raises(ValueError, match="near it are.*test/vit"):
        create_model("vit_test", pretrained="test/vyt")


def test_a_name_that_is_nothing(tmp_path):
    model = SMALL.model()
    before = Snapshot(model)
    for name in ("weights/not_here.pth", "", "torchvision/vit_b_16", str(tmp_path)):
        with pytest.raises(ValueError) as caught:
            load_pretrained(model, name)
        assert "\n" not in str(caught.value)
    before.assert_unchanged(model)
    with pytest.raises(ValueError, match="torchvision/vit_b_16.imagenet1k_v1"):
        load_pretrained(model, "torchvision/vit_b_16")


# The registry


@pytest.mark.parametrize("name", REGISTRY)
def test_every_entry_is_well_formed(name):
    entry = REGISTRY[name]
    config = VIT_CONFIGS[entry.architecture]
    assert entry.name == name
    assert entry.url is None or entry.url.startswith("https://")
    assert entry.file
    assert "/" not in entry.file
    assert entry.url is None or entry.file.endswith(os.path.splitext(entry.url)[1])
    assert entry.size is None or entry.size > 1e6 or name.startswith("course/")
    assert entry.sha256 is None or re.fullmatch("[0-9a-f]{64}|[0-9a-f]{8}", entry.sha256)
    assert entry.norm_eps in (1e-6, 1e-12, None)
    assert entry.num_classes >= 0
    assert entry.top1 is None or (50 < entry.top1 < 100 and entry.top1_from)
    short = re.search(r"-([0-9a-f]{8})\.pth$", entry.file)
    if short:
        assert (entry.sha256 or short[1]).startswith(short[1])
        assert entry.digest.startswith(short[1])
        assert short[0] in entry.url
    images = entry.preprocessing
    if images:
        assert images.input_size == (config.img_size, config.img_size)
        assert len(images.mean) == len(images.std) == config.in_chans
        assert all(0 < value < 1 for value in images.mean + images.std)
        assert images.interpolation in ("bilinear", "bicubic")
        sides = (images.resize, images.resize) if isinstance(images.resize, int) else images.resize
        assert sides is None or all(
            size <= side <= 1.2 * size for side, size in zip(sides, images.input_size, strict=True)
        )


def test_the_json_says_what_is_unknown():
    """Nothing is half known: mean without std, a filter without a size."""
    facts = json.loads((pretrained.Path(pretrained.__file__).parent / "registry.json").read_text(encoding="utf-8"))
    assert {entry["name"] for entry in facts} == {name for name in REGISTRY if not name.startswith("course/")}
    assert len({tuple(sorted(entry)) for entry in facts}) == 1
    for entry in facts:
        assert (entry["mean"] is None) == (entry["std"] is None) == (entry["interpolation"] is None), entry["name"]
        assert entry["input_size"] == VIT_CONFIGS[entry["architecture"]].img_size
        assert entry["resize"] is None or entry["mean"] is not None
        if entry["sha256"] is not None:
            assert re.fullmatch("[0-9a-f]{64}", entry["sha256"]), entry["name"]


def test_file_names_are_unique():
    assert len({entry.file.lower() for entry in REGISTRY.values()}) == len(REGISTRY)
    urls = [entry.url for entry in REGISTRY.values() if entry.url]
    assert len(set(urls)) == len(urls)


def test_the_defaults_exist():
    assert set(DEFAULTS) <= set(VIT_CONFIGS)
    missing = [name for name in DEFAULTS.values() if name not in REGISTRY]
    assert not missing
    for architecture, name in DEFAULTS.items():
        assert REGISTRY[name].architecture == architecture
        assert REGISTRY[name].num_classes == VIT_CONFIGS[architecture].num_classes  # else pretrained=True cannot fit
        assert REGISTRY[name].preprocessing is not None


def test_every_architecture_with_published_weights_has_a_default():
    assert {entry.architecture for entry in REGISTRY.values()} <= set(DEFAULTS)


def test_torchvision_entries_are_torchvisions():
    theirs = torchvision_weights()
    assert set(theirs) == set(TORCHVISION_ENTRIES)
    for name, weights in theirs.items():
        entry, images = REGISTRY[name], weights.transforms()
        assert entry.url == weights.url
        assert entry.file == weights.url.rsplit("/", 1)[1]
        assert entry.num_classes == len(weights.meta["categories"])
        assert entry.top1 == weights.meta["_metrics"]["ImageNet-1K"]["acc@1"]
        ours = entry.preprocessing
        assert list(ours.mean) == images.mean
        assert list(ours.std) == images.std
        assert [ours.resize] == images.resize_size
        assert list(ours.input_size) == images.crop_size * 2
        assert ours.interpolation == images.interpolation.value
        assert weights.meta["min_size"] == ours.input_size
        assert entry.norm_eps == 1e-6
        with torch.device("meta"):
            model = VisionTransformer(VIT_CONFIGS[entry.architecture])
        assert sum(parameter.numel() for parameter in model.parameters()) == weights.meta["num_params"]


TIMM_ENTRIES = sorted(name for name in REGISTRY if re.match(r"timm/vit_", name))


@pytest.mark.parametrize("name", TIMM_ENTRIES)
def test_timm_entries_are_timms(name):
    from timm.models import get_pretrained_cfg, is_model

    entry, theirs = REGISTRY[name], get_pretrained_cfg(name.removeprefix("timm/"))
    assert theirs is not None
    assert is_model(entry.architecture)
    assert theirs.architecture == entry.architecture
    assert theirs.hf_hub_id == name
    assert re.fullmatch(rf"https://huggingface\.co/{name}/resolve/(main|[0-9a-f]{{40}})/model\.safetensors", entry.url)
    ours = entry.preprocessing
    assert (ours.mean, ours.std) == (tuple(theirs.mean), tuple(theirs.std))
    assert (3, *ours.input_size) == tuple(theirs.input_size)
    assert ours.resize == math.floor(theirs.input_size[-1] / theirs.crop_pct)
    assert ours.interpolation == theirs.interpolation
    assert theirs.crop_mode == "center"
    assert entry.num_classes == theirs.num_classes


def test_there_are_timm_entries():
    assert len(TIMM_ENTRIES) > 30
    assert len(TORCHVISION_ENTRIES) == 10
    assert "jx_vit_base_p16_224-80ecf9dd.pth" in {entry.file for entry in REGISTRY.values()}


def test_google_entries_have_the_preprocessing_of_timms_twins():
    """timm says of some of its weights which .npz they were made from."""
    from timm.models import get_pretrained_cfg

    by_url = {entry.url: entry for entry in REGISTRY.values() if entry.url}
    checked = 0
    for name in TIMM_ENTRIES:
        theirs = get_pretrained_cfg(name.removeprefix("timm/"))
        entry = by_url.get(theirs.url)
        if entry is None or not entry.url.endswith(".npz"):
            continue
        checked += 1
        assert entry.num_classes == theirs.num_classes, entry.name
        assert entry.architecture == theirs.architecture
        assert entry.preprocessing == REGISTRY[name].preprocessing
    assert checked > 10


def test_importing_the_registry_imports_no_torchvision_and_no_timm():
    import subprocess

    code = "import sys, course_lib.weights.load; print([m for m in ('torchvision', 'timm', 'transformers') if m in sys.modules])"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
