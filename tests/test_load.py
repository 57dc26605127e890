"""Strict loading: every parameter finds its place, positions and heads are fitted, and what does not fit changes nothing."""

import os
import re
import warnings

import numpy as np
import pytest
import torch
from data_files import fails
from nightly import full
from torch import nn
from weight_files import (
    ENDINGS,
    SMALL,
    Snapshot,
    as_google,
    as_huggingface,
    as_torchvision,
    assert_same,
    check_message,
    filled,
    random_state,
    refuse,
    write,
)

from course_lib.models.create import create_model
from course_lib.pos_embed import resample_pos_embed
from course_lib.vit import VIT_CONFIGS, VisionTransformer, ViTConfig
from course_lib.weights.load import load_pretrained, save_weights
from course_lib.weights.preprocessing import Preprocessing
from course_lib.weights.registry import DEFAULTS, REGISTRY, WeightsEntry

PREPROCESSING = Preprocessing((0.1, 0.2, 0.3), (0.4, 0.5, 0.6), (8, 8), 9, "bicubic")


@pytest.fixture
def model():
    return filled(SMALL.model(), seed=8)


@pytest.fixture(scope="module")
def state():
    return random_state(SMALL.model())


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
    assert again.config == model.config and (again.preprocessing or None) == model.preprocessing
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


def test_a_failing_save_leaves_all_as_it_was(tmp_path, monkeypatch):
    """`write_atomically` is tested in test_atomic; here, that it is used."""
    path = tmp_path / "vit.safetensors"
    save_weights(filled(SMALL.model()), path)
    before = path.read_bytes()

    def fail(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="No space left"):
        save_weights(filled(SMALL.model(), seed=9), path)
    assert path.read_bytes() == before and os.listdir(tmp_path) == [path.name]


def test_what_cannot_be_saved_is_said_and_leaves_nothing(model, tmp_path):
    path = tmp_path / "vit.safetensors"
    fails(
        save_weights, nn.DataParallel(model), path, match="DataParallel, not a VisionTransformer: save the weights of"
    )
    with torch.device("meta"):
        fails(save_weights, SMALL.model(), path, match="cls_token is no plain tensor")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about quantised tensors having no future
        model.head.register_buffer("packed", torch.quantize_per_tensor(torch.ones(3), 0.1, 0, torch.qint8))
        fails(save_weights, model, path, match="head.packed is no plain tensor of floating-point numbers .quantised")
    model.head = type("Packed", (nn.Linear,), {"get_extra_state": lambda _: "int8"})(12, 7)
    fails(save_weights, model, path, match="head._extra_state is no plain tensor")
    assert not list(tmp_path.iterdir())


# Known by name


@pytest.fixture
def published(tmp_path, monkeypatch):
    """A function that makes a file known by name, as if it had been downloaded already; gives its path."""
    monkeypatch.setenv("COURSE_LIB_CACHE", str(tmp_path))
    monkeypatch.setenv("COURSE_LIB_OFFLINE", "1")
    monkeypatch.setitem(VIT_CONFIGS, "vit_test", SMALL.config())

    def publish(kind="zip", state=None, **facts):
        path = write(kind, state or random_state(SMALL.model()), tmp_path / f"vit-{kind}{ENDINGS[kind]}")
        facts = {"preprocessing": PREPROCESSING, "norm_eps": 1e-6} | facts
        known = {"file": path.name, "url": f"https://localhost/{path.name}", "num_classes": SMALL.classes}
        unknown = dict.fromkeys(("size", "sha256", "top1", "top1_from", "licence"))
        entry = WeightsEntry(name="test/vit", architecture="vit_test", **known, **unknown, **facts)
        monkeypatch.setitem(REGISTRY, "test/vit", entry)
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
    fails(load_pretrained(SMALL.model(), "test/vit").preprocessing.transform, match="not known")
    model = filled(SMALL.model())
    model.preprocessing = PREPROCESSING  # of the weights before: no longer true
    assert not load_pretrained(model, "test/vit").preprocessing
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
    if size in ((16, 16), (8, 32)):  # equal counts are equal grids, as long as the file does not say otherwise
        assert "resampled" not in out and ("are taken for 2 x 8" in out) == (size == (8, 32))
        assert torch.equal(ours.pos_embed, state["pos_embed"])
        return
    assert sum("resampled" in line for line in out.splitlines()) == 1
    assert f"from 4 x 4 to {grid[0]} x {grid[1]} patches" in out
    expected = resample_abs_pos_embed(state["pos_embed"], list(grid), old_size=[4, 4], num_prefix_tokens=1)
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


def test_our_files_say_their_grid(tmp_path, capsys):
    save_weights(filled(SMALL.model(img_size=(8, 32))), tmp_path / "vit.safetensors")
    wide = filled(SMALL.model(img_size=(8, 32)))
    for size, grid in ((16, (4, 4)), (24, (6, 6)), ((32, 8), (8, 2))):  # 4 x 4 and 8 x 2 are as many patches as 2 x 8
        ours = load_pretrained(SMALL.model(img_size=size), tmp_path / "vit.safetensors")
        assert f"from 2 x 8 to {grid[0]} x {grid[1]} patches" in capsys.readouterr().out
        assert torch.equal(ours.pos_embed, resample_pos_embed(wide.pos_embed, grid, 1, old_grid_size=(2, 8)))
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
    fails(load_pretrained, model, "torchvision/vit_b_16", match="torchvision/vit_b_16.imagenet1k_v1")
    fails(load_pretrained, model, "nowhere/weights.pth", match="there is no file nowhere/weights.pth")


# Another model

OTHER_MODELS = {
    "width": ({"embed_dim": 18, "mlp_ratio": 20 / 18}, r"width 18.*width 12"),
    "depth": ({"depth": 3}, r"depth 3.*depth 2"),
    "patch": ({"patch_size": 2}, r"patch 2.*patch 4"),
    "channels": ({"in_chans": 1}, r"1 channels?.*3 channels"),
    "hidden": ({"mlp_ratio": 2.0}, r"24.*20"),
    "qkv_bias": ({"qkv_bias": False}, r"missing.*blocks\.0\.attn\.qkv\.bias.*qkv_bias"),
    "no class token": ({"global_pool": "avg"}, r"no class token.*global_pool='avg'"),
    "no positions": ({"pos_embed": "none"}, r"missing.*pos_embed"),
    "sincos": ({"pos_embed": "sincos2d"}, r"missing.*pos_embed"),
    "relative": ({"pos_embed": "relative"}, r"missing.*pos_embed.*left over.*relative_position_bias_table"),
    "representation": ({"representation_size": 5}, r"representation_size=5"),
    "classes": ({"num_classes": 8}, r"8 classes.*7"),
}


@pytest.mark.parametrize("own", [True, False], ids=["ours", "plain"])
@pytest.mark.parametrize("case", OTHER_MODELS)
def test_another_architecture(case, own, model, tmp_path, capsys):
    options, match = OTHER_MODELS[case]
    path = tmp_path / "other.safetensors"
    other = filled(SMALL.model(**options))
    if own:
        save_weights(other, path)
    else:
        write("safetensors", other.state_dict(), path)
    refuse(model, path, capsys, match)


@pytest.mark.parametrize("case", sorted(OTHER_MODELS.keys() - {"channels"}))  # colour goes into grey: see test_family
def test_the_other_way_round(case, state, tmp_path, capsys):
    """The same pairs with file and model exchanged."""
    options, _ = OTHER_MODELS[case]
    write("safetensors", state, tmp_path / "vit.safetensors")
    refuse(filled(SMALL.model(**options), seed=8), tmp_path / "vit.safetensors", capsys)


@pytest.mark.parametrize("form", ["timm", "torchvision", "huggingface", "google"])
def test_the_sizes_of_the_paper_are_named(form, tmp_path, capsys):
    """The wording that readers see. The real models, but no real memory: nothing in them is ever read."""
    with torch.device("meta"):
        small = VisionTransformer(VIT_CONFIGS["vit_small_patch16_224"])
    state = {name: torch.zeros(1).expand(value.shape) for name, value in small.state_dict().items()}
    names = {
        "timm": lambda: state,
        "torchvision": lambda: as_torchvision(state, published=True),
        "huggingface": lambda: as_huggingface(state, old=True),
        "google": lambda: {name: torch.from_numpy(value) for name, value in as_google(state, 6, "params/").items()},
    }
    torch.save(names[form](), tmp_path / "vit.pth")
    with torch.device("meta"):
        model = VisionTransformer(ViTConfig())
    with pytest.raises(ValueError) as caught:
        load_pretrained(model, tmp_path / "vit.pth")
    check_message(str(caught.value), tmp_path / "vit.pth")
    assert "this is ViT-S/16, width 384; the model is ViT-B/16, width 768" in str(caught.value)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("library", ["timm", "torchvision"])
def test_another_kind_of_network(library, model, tmp_path, capsys):
    if library == "timm":
        import timm

        other = timm.create_model("resnet10t")
    else:
        import torchvision

        other = torchvision.models.squeezenet1_1()
    torch.save(other.state_dict(), tmp_path / "other.pth")
    line = refuse(model, tmp_path / "other.pth", capsys, r"0 of \d+ names.*another model")
    assert next(iter(other.state_dict())) in line


@pytest.mark.parametrize("kind", ["swin_t", "distilled", "convmixer"])
def test_relatives_of_the_vision_transformer(kind, model, tmp_path, capsys):
    """They share names with it, and are not it."""
    if kind == "swin_t":
        from timm.models.swin_transformer import SwinTransformer

        other = SwinTransformer(img_size=32, patch_size=4, window_size=4, embed_dim=12, depths=(1, 1), num_heads=(3, 3))
    elif kind == "distilled":
        from timm.models.deit import VisionTransformerDistilled

        other = VisionTransformerDistilled(
            img_size=8, patch_size=4, embed_dim=12, depth=2, num_heads=3, mlp_ratio=20 / 12, num_classes=7
        )
    else:
        from timm.models.vision_transformer import VisionTransformer as Theirs

        other = Theirs(  # layer scale, registers and no final norm: a descendant
            img_size=8,
            patch_size=4,
            embed_dim=12,
            depth=2,
            num_heads=3,
            mlp_ratio=20 / 12,
            num_classes=7,
            init_values=1,
        )
    torch.save(other.state_dict(), tmp_path / "other.pth")
    refuse(model, tmp_path / "other.pth", capsys)


FORMS = {
    "timm": lambda state: dict(state),
    "torchvision": as_torchvision,
    "huggingface": lambda state: as_huggingface(state, old=True),
    "huggingface 5": as_huggingface,
    "google": lambda state: as_google(state, SMALL.heads),
}


def save_form(form, content, folder):
    path = folder / ("vit.npz" if form == "google" else "vit.pth")
    if form == "google":
        np.savez(path, **{name: np.asarray(value) for name, value in content.items()})
    else:
        torch.save({name: torch.as_tensor(value) for name, value in content.items()}, path)
    return path


@pytest.mark.slow
@pytest.mark.parametrize("form", FORMS)
def test_one_tensor_missing(form, state, model, tmp_path, capsys):
    """Each in turn, q, k and v included."""
    whole = FORMS[form](state)
    for name in whole:
        path = save_form(form, {n: x for n, x in whole.items() if n != name}, tmp_path)
        refuse(model, path, capsys)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("extra", ["fc.weight", "blocks.0.ls1.gamma", "head_dist.bias", "x" * 5000, "two\nlines", ""])
def test_one_tensor_left_over(form, extra, state, model, tmp_path, capsys):
    beside = form.startswith("huggingface") and extra.isprintable() and len(extra) < 200
    extra = f"vit.{extra}" if beside else extra  # what lies beside the model, and not in it, may be left out
    path = save_form(form, FORMS[form](state) | {extra: torch.ones(3)}, tmp_path)
    refuse(model, path, capsys, "left over" if extra.isprintable() and len(extra) < 200 else "of the name")


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("change", ["scalar", "flat", "longer", "more axes", "empty", "turned"])
def test_one_tensor_of_another_shape(form, change, state, model, tmp_path, capsys):
    """Each in turn, and each tensor: a number, one axis only, a row more, an axis more, nothing, the axes exchanged."""
    changes = {
        "scalar": lambda x: x.flatten()[0].clone(),
        "flat": lambda x: x.flatten(),
        "longer": lambda x: torch.cat([x, x[:1]]),
        "more axes": lambda x: x[None, None, None],
        "empty": lambda x: x[:0],
        "turned": lambda x: x.permute(*reversed(range(x.ndim))).contiguous(),
    }
    whole = {name: torch.as_tensor(value) for name, value in FORMS[form](state).items()}
    first, step = list(changes).index(change), full(1, len(changes))  # each tensor is changed in one way at least
    pairs = [(name, changes[change](value)) for name, value in whole.items()]
    pairs = [pair for pair in pairs if pair[1].shape != whole[pair[0]].shape][first % step :: step]
    for name, changed in pairs:
        refuse(model, save_form(form, whole | {name: changed}, tmp_path), capsys)
    assert pairs


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("value", [float("nan"), float("inf")], ids=str)
def test_numbers_that_are_none(form, value, state, model, tmp_path, capsys):
    """One NaN makes every answer NaN: such a file is damaged."""
    whole = {name: torch.as_tensor(x).clone() for name, x in FORMS[form](state).items()}
    last = list(whole)[-1]
    whole[last].view(-1)[0] = value
    refuse(model, save_form(form, whole, tmp_path), capsys)


@pytest.mark.parametrize("kind", ["sparse", "complex", "quantised", "meta", "bool"])
@pytest.mark.parametrize("name", ["norm.bias", "blocks.1.mlp.fc2.weight"])
def test_tensors_of_other_kinds(kind, name, state, model, tmp_path, capsys):
    """Whatever cannot be copied into a parameter is found before the first is changed."""
    value = state[name]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about sparse and quantised tensors having no future
        changed = {
            "sparse": lambda: value.to_sparse(),
            "complex": lambda: value.to(torch.complex64),
            "quantised": lambda: torch.quantize_per_tensor(value, 0.1, 0, torch.qint8),
            "meta": lambda: value.to("meta"),
            "bool": lambda: value > 0,
        }[kind]()
        torch.save(state | {name: changed}, tmp_path / "vit.pth")
        refuse(model, tmp_path / "vit.pth", capsys)


@pytest.mark.parametrize("wanted", [5, 0])
def test_a_refused_file_leaves_the_head_too(wanted, state, model, tmp_path, capsys):
    """With a new head asked for, the fault is found before the old one is gone."""
    for name in ("norm.weight", "blocks.1.attn.qkv.bias"):
        torch.save({n: x for n, x in state.items() if n != name}, tmp_path / "vit.pth")
        refuse(model, tmp_path / "vit.pth", capsys, "missing", num_classes=wanted)


def test_a_wrapped_model_is_named(model, state, tmp_path):
    path = write("zip", state, tmp_path / "vit.pth")
    fails(
        load_pretrained, nn.Sequential(model), path, match="is a Sequential, not a VisionTransformer: load the weights"
    )
