"""The model gives what timm, torchvision, transformers and a NumPy reference give, to rounding.

Random weights throughout, biases and norms too: with the usual zeros and ones half the mistakes would not show.
Logits, the output of every block and every attention map are compared, every element of each.
"""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import reference
import torch
import torch.nn.functional as F
from libraries import (
    BARS,
    LIBRARIES,
    as_published,
    ours,
    outputs_of,
    random_images,
    random_weights,
    run_ours,
    run_ours_fused,
    run_reference,
    twin,
    within_bar,
)
from torch import nn

from course_lib.attention import MultiHeadSelfAttention
from course_lib.interpret.maps import record_attention
from course_lib.patch_embed import PatchEmbed
from course_lib.pos_embed import (
    RelativePositionBias,
    relative_position_index,
    resample_pos_embed,
    sincos_pos_embed_1d,
    sincos_pos_embed_2d,
)
from course_lib.vit import VIT_CONFIGS, VisionTransformer, ViTConfig

dtypes = pytest.mark.parametrize("dtype", BARS, ids=str)

SMALL = {"img_size": 32, "patch_size": 8, "embed_dim": 40, "depth": 3, "num_heads": 4, "num_classes": 11}
CASES = {
    "plain": {},
    "not square": {"img_size": (24, 40)},
    "patch 14": {"img_size": 42, "patch_size": 14, "embed_dim": 48, "num_heads": 6},
    "wider than a patch": {"img_size": 16, "patch_size": 4, "embed_dim": 72, "mlp_ratio": 2.5},
    "one head": {"num_heads": 1},
    "a head for each dimension": {"embed_dim": 12, "num_heads": 12},
    "one channel": {"in_chans": 1},
    "no qkv bias": {"qkv_bias": False},
    "epsilon 1e-12": {"norm_eps": 1e-12},
    "epsilon 1e-5": {"norm_eps": 1e-5},
    "average": {"global_pool": "avg"},
    "average, not square": {"global_pool": "avg", "img_size": (40, 24)},
    "representation": {"representation_size": 28},
    "one block": {"depth": 1},
    "no positions": {"pos_embed": "none"},
    "sincos1d": {"pos_embed": "sincos1d", "img_size": (24, 40)},
    "sincos2d": {"pos_embed": "sincos2d", "img_size": (24, 40)},
    "sincos2d, square": {"pos_embed": "sincos2d"},
    "relative": {"pos_embed": "relative", "img_size": (24, 40)},
    "relative, average": {"pos_embed": "relative", "global_pool": "avg", "img_size": (40, 16)},
}
CASES = {name: ViTConfig(**(SMALL | changes)) for name, changes in CASES.items()}
PAIRS = [(case, "numpy") for case in CASES]
PAIRS += [(case, name) for name, library in LIBRARIES.items() for case in CASES if library.knows(CASES[case])]


def check(found, expected, what=""):
    assert found.shape == expected.shape, what
    error, size = (found.double() - expected.double()).abs().max(), expected.abs().max()
    assert within_bar(found, expected), f"{what}: error {error:.1e}, largest number {size:.3g}"


def check_pass(found, expected, maps=True):
    """All that a forward pass shows: the logits, then block for block its output and its attention map."""
    check(found.logits, expected.logits, "logits")
    for i, pair in enumerate(zip(found.blocks, expected.blocks, strict=True)):
        check(*pair, f"block {i}")
    if maps:
        for i, pair in enumerate(zip(found.attention, expected.attention, strict=True)):
            check(*pair, f"attention map {i}")


def run_library(name, model, images):
    return run_reference(model, images) if name == "numpy" else LIBRARIES[name].run(twin(name, model), images)


@pytest.mark.slow
@dtypes
@pytest.mark.parametrize(("case", "library"), PAIRS, ids=lambda value: value.replace(" ", "_"))
def test_forward_pass(case, library, dtype):
    model, images = ours(CASES[case], dtype), random_images(CASES[case], batch=3, dtype=dtype)
    expected = run_library(library, model, images)
    assert len(expected.blocks) == len(expected.attention) == model.config.depth
    check_pass(run_ours(model, images), expected)
    check_pass(run_ours_fused(model, images), expected, maps=False)


@pytest.mark.parametrize("library", LIBRARIES)
def test_forward_pass_as_the_library_runs_it(library):
    """Without hooks and questions for weights the libraries take other, faster paths: same logits."""
    model, images = ours(CASES["plain"], torch.float64), random_images(CASES["plain"], dtype=torch.float64)
    with torch.no_grad():
        check(model(images), as_published(library, model)(images))


def test_every_library_has_its_say():
    """The pairs above are chosen by what a library can do: none may drop out unseen."""
    count = {name: sum(library == name for _, library in PAIRS) for name in ("numpy", *LIBRARIES)}
    assert count == {"numpy": 20, "timm": 19, "torchvision": 11, "transformers": 15}


@pytest.mark.slow
def test_the_weights_can_tell():
    """Nothing vanishes and nothing saturates, or agreement would prove little."""
    for case, config in CASES.items():
        found = run_ours(ours(config), random_images(config))
        assert 1 <= found.logits.abs().max() <= 6, case
        for maps in found.attention:
            flat = 1 / maps.shape[-1]
            assert 1.5 * flat < maps.amax(-1).mean() < 0.9, case
        assert all((value != 0).all() for value in random_weights(VisionTransformer(config)).values())


B16 = VIT_CONFIGS["vit_base_patch16_224"]


@pytest.mark.slow
@dtypes
@pytest.mark.parametrize("size", [48, pytest.param(224, marks=pytest.mark.nightly)])
def test_vit_b16(size, dtype):
    """All of its weights; and with 10 tokens, in a twentieth of the time of 197, all that is done with them."""
    config = replace(B16, img_size=size)
    model, images = ours(config, dtype), random_images(config, batch=1, dtype=dtype)
    found, fused = run_ours(model, images), run_ours_fused(model, images)
    assert found.logits.shape == (1, 1000) and len(found.blocks) == len(found.attention) == 12
    for name in ("numpy", *LIBRARIES):
        expected = run_library(name, model, images)
        check_pass(found, expected)
        check_pass(fused, expected, maps=False)


MIDDLE = ViTConfig(img_size=96, embed_dim=192, depth=8, num_heads=3, num_classes=100)


@pytest.mark.slow
@pytest.mark.parametrize("library", LIBRARIES)
def test_bfloat16_is_as_good_as_the_library(library):
    """bfloat16 has 8 bits: the numbers differ, but ours lie at most twice as far from float64 as theirs."""
    model, images = ours(MIDDLE, torch.bfloat16), random_images(MIDDLE, batch=4, dtype=torch.bfloat16)
    with torch.no_grad():
        exact = ours(MIDDLE, torch.bfloat16).double()(images.double())
        theirs = as_published(library, model)(images)
        error, allowed = ((logits.double() - exact).abs().max() for logits in (model(images), theirs))
    assert 0 < error <= 2 * allowed


# Weights, one by one: the bias of the keys shifts all scores of a row alike, so no logit and no map shows it.


def timm_parts(model):
    parts = {name: value for name, value in model.state_dict().items() if not name.startswith("blocks.")}
    for i, block in enumerate(model.blocks):
        layers = (block.norm1, block.attn.qkv, block.attn.proj, block.norm2, block.mlp.fc1, block.mlp.fc2)
        parts |= block_parts(i, *layers)
    return parts


def torchvision_parts(model):
    parts = {"cls_token": model.class_token, "pos_embed": model.encoder.pos_embedding}
    parts |= pair("patch_embed.proj", model.conv_proj) | pair("norm", model.encoder.ln) | pair("head", model.heads.head)
    for i, block in enumerate(model.encoder.layers):
        attention = block.self_attention
        parts |= block_parts(i, block.ln_1, None, attention.out_proj, block.ln_2, block.mlp[0], block.mlp[3])
        parts[f"blocks.{i}.attn.qkv.weight"] = attention.in_proj_weight
        parts[f"blocks.{i}.attn.qkv.bias"] = attention.in_proj_bias
    return parts


def huggingface_parts(model):
    embeddings = model.vit.embeddings
    parts = {"cls_token": embeddings.cls_token, "pos_embed": embeddings.position_embeddings}
    parts |= pair("patch_embed.proj", embeddings.patch_embeddings.projection)
    parts |= pair("norm", model.vit.layernorm) | pair("head", model.classifier)
    for i, block in enumerate(model.vit.layers):
        norms, mlp, attention = (block.layernorm_before, block.layernorm_after), block.mlp, block.attention
        parts |= block_parts(i, norms[0], None, attention.o_proj, norms[1], mlp.fc1, mlp.fc2)
        three = (attention.q_proj, attention.k_proj, attention.v_proj)
        parts[f"blocks.{i}.attn.qkv.weight"] = torch.cat([layer.weight for layer in three])
        parts[f"blocks.{i}.attn.qkv.bias"] = torch.cat([layer.bias for layer in three])
    return parts


def pair(name, layer):
    return {f"{name}.weight": layer.weight, f"{name}.bias": layer.bias}


def block_parts(i, *layers):
    names = ("norm1", "attn.qkv", "attn.proj", "norm2", "mlp.fc1", "mlp.fc2")
    found = {}
    for name, layer in zip(names, layers, strict=True):
        found |= pair(f"blocks.{i}.{name}", layer) if layer is not None else {}
    return found


PARTS = {"timm": timm_parts, "torchvision": torchvision_parts, "transformers": huggingface_parts}


@pytest.mark.parametrize("library", LIBRARIES)
def test_weights_arrive_one_by_one(library):
    model = ours(CASES["plain"])
    weights, theirs = model.state_dict(), PARTS[library](twin(library, model))
    assert weights.keys() == theirs.keys()
    for name, value in weights.items():
        assert torch.equal(value, theirs[name]), name


def test_the_bias_of_the_keys_shows_nowhere_else():
    """Why the test above is needed: without it the losing of the key bias would pass all the others."""
    model, images = ours(CASES["plain"], torch.float64), random_images(CASES["plain"], dtype=torch.float64)
    expected = run_ours(model, images)
    with torch.no_grad():
        for block in model.blocks:
            block.attn.qkv.bias[40:80] = 0
    check_pass(run_ours(model, images), expected)


# Repeats and batches


@dtypes
def test_twice_the_same(dtype):
    model, images = ours(MIDDLE, dtype), random_images(MIDDLE, dtype=dtype)
    with torch.no_grad():
        assert torch.equal(model(images), model(images))
    first, second = run_ours(model, images), run_ours(model, images)
    assert all(torch.equal(*maps) for maps in zip(first.attention, second.attention, strict=True))


@pytest.mark.parametrize(
    "config", [CASES["plain"], CASES["relative, average"], MIDDLE], ids=["plain", "relative", "middle"]
)
@pytest.mark.parametrize(("dtype", "bar"), [(torch.float64, 1e-12), (torch.float32, 1e-6)], ids=str)
def test_an_image_does_not_see_its_batch(config, dtype, bar):
    model, images = ours(config, dtype), random_images(config, batch=7, dtype=dtype)
    with torch.no_grad():
        alone = torch.cat([model(image[None]) for image in images])
        # A share of the largest logit, as float32 itself counts: the libraries differ by as much.
        assert (model(images) - alone).abs().max() <= bar * alone.abs().max()


def test_eval_mode_ignores_all_rates():
    config, rates = CASES["plain"], {"drop_rate": 0.4, "attn_drop_rate": 0.4, "drop_path_rate": 0.4}
    images = random_images(config)
    dropping = ours(ViTConfig(**(SMALL | rates)))
    with torch.no_grad():
        assert torch.equal(dropping(images), ours(config)(images))
        assert not torch.equal(dropping.train()(images), ours(config)(images))


# Parts


@pytest.mark.parametrize("shape", [(14, 14), (3, 5), (5, 3), (1, 7)], ids=str)
@pytest.mark.parametrize("width", [4, 24, 192])
def test_sincos_2d(shape, width):
    from timm.layers import build_sincos2d_pos_embed
    from transformers.models.vit_mae.modeling_vit_mae import build_2d_sinusoidal_position_embedding

    found = sincos_pos_embed_2d(shape, width)
    assert found.dtype == torch.float32
    assert np.abs(found.numpy() - reference.sincos_2d(shape, width)).max() <= 1e-6
    # transformers (since 5) puts the row's half first, the published MAE code the column's.
    row_first = torch.cat(found.chunk(2, dim=1)[::-1], dim=1)
    assert (row_first - build_2d_sinusoidal_position_embedding(*shape, width)).abs().max() <= 1e-6
    # timm has sin(row), sin(column), cos(row), cos(column).
    sin_column, cos_column, sin_row, cos_row = found.chunk(4, dim=1)
    timms = torch.cat([sin_row, sin_column, cos_row, cos_column], dim=1)
    assert (timms - build_sincos2d_pos_embed(list(shape), width)).abs().max() <= 1e-6


def test_sincos_1d():
    found = sincos_pos_embed_1d(torch.arange(197), 48)
    assert np.abs(found.numpy() - reference.sincos_1d(range(197), 48)).max() <= 1e-6


def test_the_class_token_has_no_place_in_sincos_2d():
    table = VisionTransformer(CASES["sincos2d"]).pos_embed
    assert (table[0, 0] == 0).all() and torch.equal(table[0, 1:], sincos_pos_embed_2d((3, 5), 40))


@pytest.mark.parametrize("grid", [(4, 4), (3, 5), (5, 2), (1, 6)], ids=str)
@pytest.mark.parametrize("prefix", [0, 1])
def test_relative_bias_equals_timm(grid, prefix):
    from timm.layers import RelPosBias

    theirs, found = RelPosBias(grid, num_heads=3, prefix_tokens=prefix), RelativePositionBias(grid, 3, prefix)
    assert torch.equal(found.index.flatten(), theirs.relative_position_index.flatten())
    nn.init.normal_(found.relative_position_bias_table)
    theirs.load_state_dict(found.state_dict())
    assert torch.equal(found(), theirs.get_bias()[0])
    table = found.relative_position_bias_table.detach().double().numpy()
    assert np.array_equal(found().detach().double().numpy(), reference.relative_bias(table, grid))
    index, offsets = relative_position_index(grid)
    assert len(index.unique()) == offsets == (2 * grid[0] - 1) * (2 * grid[1] - 1)


@dtypes
@pytest.mark.parametrize("prefix", [0, 1])
@pytest.mark.parametrize("fused", [True, False])
def test_attention_with_relative_bias_equals_timm(prefix, fused, dtype):
    from timm.layers import RelPosBias
    from timm.models.vision_transformer_relpos import RelPosAttention

    torch.manual_seed(2)
    grid, dim, heads = (3, 5), 24, 4
    layer = MultiHeadSelfAttention(dim, heads, rel_pos=RelativePositionBias(grid, heads, prefix)).to(dtype)
    for name, parameter in layer.named_parameters():
        nn.init.normal_(parameter, std=1.0 if "table" in name else 0.2)
    bias = partial(RelPosBias, window_size=grid, prefix_tokens=prefix)
    theirs = RelPosAttention(dim, heads, qkv_bias=True, rel_pos_cls=bias)
    theirs = theirs.to(dtype).eval()
    theirs.load_state_dict(layer.state_dict())
    theirs.fused_attn = fused
    x = torch.randn(2, prefix + 15, dim, dtype=dtype)
    with torch.no_grad(), record_attention(layer) as maps:
        recorded = layer(x)
    with torch.no_grad():
        check(layer(x), theirs(x))
    check(recorded, layer(x).detach())
    if not fused:
        with outputs_of([theirs.attn_drop]) as their_maps:
            theirs(x)
        check(maps[0], their_maps[0].detach())


@pytest.mark.parametrize("new", [(24, 24), (5, 5), (14, 14), (7, 20), (20, 7), (1, 3), (3, 1)], ids=str)
@pytest.mark.parametrize("prefix", [0, 1, 2])
def test_resampling_equals_timm(new, prefix):
    from timm.layers import resample_abs_pos_embed

    table = torch.randn(1, prefix + 14 * 14, 6, generator=torch.manual_seed(3))
    found, expected = (
        resample(table, new, num_prefix_tokens=prefix) for resample in (resample_pos_embed, resample_abs_pos_embed)
    )
    assert found.shape == expected.shape == (1, prefix + new[0] * new[1], 6)
    assert (found - expected).abs().max() <= 1e-6


@dtypes
@pytest.mark.parametrize(
    ("size", "patch", "channels", "dim"), [((28, 42), 14, 3, 50), ((16, 8), 4, 1, 5), ((32, 32), 16, 4, 7)]
)
def test_patch_embed_equals_timm_and_unfold(size, patch, channels, dim, dtype):
    from timm.layers import PatchEmbed as TimmPatchEmbed

    torch.manual_seed(4)
    layer = PatchEmbed(size, patch, channels, dim).to(dtype)
    theirs = TimmPatchEmbed(size, patch, channels, dim).to(dtype)
    theirs.load_state_dict(layer.state_dict())
    images = torch.randn(2, channels, *size, dtype=dtype)
    with torch.no_grad():
        check(layer(images), theirs(images))
        columns = F.unfold(images, patch, stride=patch).transpose(1, 2)  # (B, N, C·P·P)
        check(layer(images), columns @ layer.proj.weight.flatten(1).T + layer.proj.bias)
    assert layer.grid_size == theirs.grid_size and layer.num_patches == theirs.num_patches


# Gradients


def gradients(model, images):
    """{name: gradient} of one number made from all the logits, each with a weight of its own."""
    logits = model(images)
    (logits.sin() * torch.arange(1.0, 1 + logits.numel(), dtype=logits.dtype).view_as(logits)).sum().backward()
    return {name: parameter.grad for name, parameter in model.named_parameters()}


GRADIENT_CASES = ("plain", "not square", "no qkv bias", "average", "relative", "relative, average")


@pytest.mark.parametrize("case", GRADIENT_CASES)
@pytest.mark.parametrize("rate", [0.0, 0.4])
def test_gradients_equal_timm(case, rate):
    """In evaluation mode; rates above 0 must then change nothing."""
    config = CASES[case]
    rates = {name: rate for name in ("drop_rate", "attn_drop_rate", "drop_path_rate")}
    model = VisionTransformer(ViTConfig(**(vars(config) | rates)))
    model.load_state_dict(random_weights(model))
    model = model.double().eval()
    images = random_images(config, dtype=torch.float64)
    found, expected = gradients(model, images), gradients(on_its_own(twin("timm", model)), images)
    assert found.keys() == expected.keys()
    for name, gradient in found.items():
        assert (gradient - expected[name]).abs().max() <= 1e-12 * expected[name].abs().max(), name
        assert gradient.abs().max() > 0, name


def on_its_own(theirs):
    """Parameters of its own, since `twin` shares ours, and attention step by step, where ours is fused."""
    for parameter in theirs.parameters():
        parameter.data = parameter.data.clone()
    for block in theirs.blocks:
        block.attn.fused_attn = False
    return theirs


def gradcheck(function, *inputs):
    return torch.autograd.gradcheck(function, inputs, atol=1e-8, rtol=1e-6)


def check_module(module, x):
    """Autograd against finite differences, for the input and all parameters together."""
    names, values = zip(*module.named_parameters(), strict=True)
    values = [value.detach().double().requires_grad_() for value in values]

    def call(x, *values):
        return torch.func.functional_call(module, dict(zip(names, values, strict=True)), (x,))

    return gradcheck(call, x.double().requires_grad_(), *values)


def test_gradcheck_patch_embedding():
    torch.manual_seed(5)
    assert check_module(PatchEmbed((4, 6), 2, 2, 3).double(), torch.randn(2, 2, 4, 6))


@pytest.mark.slow
@pytest.mark.parametrize("prefix", [0, 1])
def test_gradcheck_attention_with_relative_bias(prefix):
    torch.manual_seed(6)
    layer = MultiHeadSelfAttention(4, 2, rel_pos=RelativePositionBias((2, 3), 2, prefix)).double()
    for parameter in layer.parameters():
        nn.init.normal_(parameter, std=0.5)
    assert check_module(layer, torch.randn(1, prefix + 6, 4))
    with record_attention(layer):
        assert check_module(layer, torch.randn(1, prefix + 6, 4))


@pytest.mark.slow
@pytest.mark.parametrize("changes", [{}, {"global_pool": "avg", "pos_embed": "relative"}, {"representation_size": 3}])
def test_gradcheck_a_whole_model(changes):
    """In evaluation mode, where rates above 0 must change nothing."""
    sizes = {"img_size": (2, 4), "patch_size": 2, "in_chans": 1, "embed_dim": 4, "depth": 2, "num_heads": 2}
    rates = {name: 0.5 for name in ("drop_rate", "attn_drop_rate", "drop_path_rate")}
    config = ViTConfig(**sizes, mlp_ratio=1.5, num_classes=3, **rates, **changes)
    assert check_module(ours(config, torch.float64), random_images(config, batch=1))
