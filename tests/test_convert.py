"""Weights as each library names them, written by the library itself: each parameter equal, each output equal."""

import re

import numpy as np
import pytest
import torch
from weight_files import (
    SHAPES,
    SMALL,
    as_google,
    as_huggingface,
    as_torchvision,
    assert_same,
    filled,
    random_state,
    refuse,
)

from course_lib.weights.load import load_pretrained


@pytest.fixture
def model():
    return filled(SMALL.model(), seed=8)


@pytest.fixture(scope="module")
def state():
    return random_state(SMALL.model())


@pytest.fixture(params=SHAPES)
def shape(request):
    return SHAPES[request.param]


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


@pytest.mark.parametrize("ending", ["pth", "safetensors"])
def test_timm(shape, ending, tmp_path, capsys):
    from safetensors.torch import save_file
    from timm.models import load_checkpoint

    theirs, path = filled(timm_model(shape), seed=2), tmp_path / f"vit.{ending}"
    (torch.save if ending == "pth" else save_file)(theirs.state_dict(), path)
    load_checkpoint(timm_model(shape), str(path))  # timm can read it
    ours = load_pretrained(shape.model(), str(path))
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


WRAPPED = [(None, prefix) for prefix in PREFIXES]
WRAPPED += [(name, "module.") for name in ("state_dict", "model", "state_dict_ema", "model_ema")]


@pytest.mark.parametrize(("wrapper", "prefix"), WRAPPED)
def test_wrapped(wrapper, prefix, state, tmp_path):
    content = {prefix + name: value for name, value in state.items()}
    if wrapper:
        content = {wrapper: content, "epoch": 3, "optimizer": {"state": {0: torch.ones(2)}, "param_groups": [{}]}}
    torch.save(content, tmp_path / "last.pth")
    ours = load_pretrained(SMALL.model(), tmp_path / "last.pth")
    assert_same(ours.state_dict(), state)


@pytest.mark.parametrize("library", ["torchvision", "huggingface"])
def test_wrapped_names_of_the_other_libraries(library, state, tmp_path):
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


@pytest.mark.slow
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


@pytest.mark.slow
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


def test_both_old_and_new_names(state, model, tmp_path, capsys):
    """Two tensors for one parameter: which would count?"""
    torch.save(as_huggingface(state) | as_huggingface(state, old=True), tmp_path / "vit.bin")
    refuse(model, tmp_path / "vit.bin", capsys)


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
