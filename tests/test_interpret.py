"""Attention maps, what is made of them, positions and filters: each against plain loops, in every element.

A check is given the library that it checks, so that it can be given a wrong one: the mutants at the end are the modules'
own source with one change, and the check named beside each must refuse them.
"""

import copy
import gc
import inspect
import io
import math
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import replace
from functools import cache, partial
from itertools import product
from types import MethodType, ModuleType, SimpleNamespace

import numpy as np
import pytest
import torch
from libraries import ours, random_images, run_reference, twin, within_bar
from sklearn.decomposition import PCA
from timm.models import VisionTransformer
from torch import nn
from torch.utils.checkpoint import checkpoint

from course_lib.attention import MultiHeadSelfAttention
from course_lib.interpret import maps as interpret
from course_lib.interpret import taps
from course_lib.interpret.maps import (
    attention_maps,
    attention_rollout,
    cls_attention,
    gradient_rollout,
    mean_attention_distance,
    patch_attention,
    patch_filter_variance,
    patch_filters,
    pos_embed_similarity,
    record_attention,
)
from course_lib.lora import add_lora
from course_lib.pos_embed import sincos_pos_embed_2d
from course_lib.vit import ViTConfig

REAL = SimpleNamespace(**vars(interpret), taps=taps)
LIBRARIES = ("course_lib", "timm", "torchvision")
TOLERANCE = {torch.float64: 1e-12, torch.float32: 1e-6}
CONFIG = ViTConfig(img_size=24, patch_size=8, embed_dim=24, depth=3, num_heads=4, num_classes=5, mlp_ratio=2.0)
NO_TOKEN = ViTConfig(
    img_size=(4, 12), patch_size=2, in_chans=1, embed_dim=12, depth=2, num_heads=3, num_classes=5, global_pool="avg"
)
TINY = ViTConfig(img_size=(2, 6), patch_size=2, in_chans=1, embed_dim=8, depth=2, num_heads=2, num_classes=3)


def close(found, expected, tolerance=1e-12):
    """Every element, absolutely, and the shape. `expected` may be an array or nested lists."""
    expected = torch.as_tensor(np.asarray(expected))
    assert found.shape == expected.shape, (found.shape, expected.shape)
    assert (found.double() - expected.double()).abs().max() <= tolerance


def model_of(library="course_lib", dtype=torch.float64, config=CONFIG):
    """The same numbers in each library; attention so soft that float32 gives it to 1e-6 in every layer."""
    model = ours(config, dtype)
    with torch.no_grad():
        for block in model.blocks:
            block.attn.qkv.weight.mul_(0.5)
    return model if library == "course_lib" else twin(library, model)


@cache
def images_of(dtype=torch.float64, config=CONFIG, batch=3):
    return random_images(config, batch, dtype=dtype)


@cache
def reference_maps(config=CONFIG):
    """What NumPy says: (B, L, H, N, N)."""
    found = run_reference(model_of(config=config), images_of(config=config))
    return torch.stack(found.attention, dim=1)


@cache
def random_maps(tokens=7, batch=3, depth=4, heads=2):
    """(B, L, H, N, N), float64: rows sum to 1, and no two numbers are alike."""
    powers = np.exp(2 * np.random.default_rng(0).standard_normal((batch, depth, heads, tokens, tokens)))
    return torch.from_numpy(powers / powers.sum(-1, keepdims=True))


# Recording: the same maps from all libraries


def check_recorded(lib, library, dtype=torch.float64):
    model, images = model_of(library, dtype), images_of(dtype)
    with torch.no_grad():
        before = model(images)
        with lib.record_attention(model) as maps:
            during = model(images)
        assert torch.equal(model(images), before)
    assert [m.dtype for m in maps] == [dtype] * CONFIG.depth
    close(torch.stack(maps, 1), reference_maps(), TOLERANCE[dtype])
    assert within_bar(during, before)


@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@pytest.mark.parametrize("library", LIBRARIES)
def test_maps_are_those_of_the_reference(library, dtype):
    check_recorded(REAL, library, dtype)


@pytest.mark.parametrize("fused", [True, False])
def test_timm_is_recorded_fused_or_not(fused):
    model = model_of("timm")
    for block in model.blocks:
        block.attn.fused_attn = fused
    close(attention_maps(model, images_of()), reference_maps())
    assert {block.attn.fused_attn for block in model.blocks} == {fused}


@pytest.mark.parametrize("library", ["course_lib", "timm"])
@pytest.mark.parametrize("positions", ["learn", "relative"])
def test_another_grid_and_depth_without_class_token(library, positions):
    config = replace(NO_TOKEN, pos_embed=positions)
    close(attention_maps(model_of(library, config=config), images_of(config=config)), reference_maps(config))


def test_adapted_layers_are_recorded():
    model = model_of()
    close(attention_maps(add_lora(model, rank=2), images_of()), reference_maps())


def attention_dropout(model, rate):
    for part in model.modules():
        if isinstance(part, nn.MultiheadAttention):
            part.dropout = rate
        elif hasattr(part, "attn_drop"):
            part.attn_drop.p = rate


def check_training(lib, library):
    """Dropout falls on the weights after they were recorded, and it does fall."""
    model, images = model_of(library).train(), images_of()
    attention_dropout(model, 0.5)
    with torch.no_grad(), lib.record_attention(model) as maps:
        assert not torch.equal(model(images), model(images))
    close(maps[0], reference_maps()[:, 0])
    assert torch.equal(maps[CONFIG.depth], maps[0])
    close(torch.stack(maps).sum(-1), torch.ones(2 * CONFIG.depth, 3, 4, 10))
    model.eval()
    with torch.no_grad(), lib.record_attention(model):
        during = model(images)
    assert within_bar(during, model(images).detach())


@pytest.mark.parametrize("library", LIBRARIES)
def test_training_records_the_weights_before_dropout(library):
    check_training(REAL, library)


@pytest.mark.parametrize("library", LIBRARIES)
def test_gradients_reach_the_maps(library):
    model = model_of(library)
    with record_attention(model) as maps:
        score = model(images_of()).square().sum()
    for gradient in torch.autograd.grad(score, maps):
        assert gradient.isfinite().all() and gradient.abs().max() > 1e-6


def check_multihead(lib):
    """PyTorch's layer gives the same answer while it is recorded, however it is called."""
    torch.manual_seed(0)
    x = torch.randn(2, 5, 6, dtype=torch.float64)
    for batch_first, bias, need, average in product([True, False], repeat=4):
        layer = nn.MultiheadAttention(6, 3, bias=bias, batch_first=batch_first, dtype=torch.float64)
        options = {"need_weights": need, "average_attn_weights": average}
        expected, weights = layer(x, x, x, **options)
        each_head = layer(x, x, x, average_attn_weights=False)[1]
        with lib.record_attention(layer) as maps:
            found, found_weights = layer(x, x, x, **options)
            positional, none = layer(x, x, x, None, False)
        close(found.detach(), expected.detach())
        close(positional.detach(), expected.detach())
        close(maps[0].detach(), each_head.detach())
        assert len(maps) == 2 and none is None and (found_weights is None) == (not need)
        if need:
            close(found_weights.detach(), weights.detach())


def test_multihead_attention_answers_as_before():
    check_multihead(REAL)


@pytest.mark.parametrize("grad", [True, False])
def test_pytorchs_encoder_is_recorded_off_its_fast_path(grad):
    torch.manual_seed(0)
    layer = nn.TransformerEncoderLayer(6, 3, 8, batch_first=True, norm_first=True, dtype=torch.float64)
    encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False).eval()
    x = torch.randn(2, 5, 6, dtype=torch.float64)
    with torch.set_grad_enabled(grad):
        before = encoder(x)
        with record_attention(encoder) as maps:
            close(encoder(x).detach(), before.detach())
    first = encoder.layers[0]
    _, expected = first.self_attn(*[first.norm1(x)] * 3, average_attn_weights=False)
    assert len(maps) == 2
    close(maps[0].detach(), expected.detach())


REFUSED = {
    "a mask": lambda layer, x: layer(x, x, x, attn_mask=torch.ones(5, 5, dtype=torch.bool).tril()),
    "padding": lambda layer, x: layer(x, x, x, key_padding_mask=torch.zeros(2, 5, dtype=torch.bool)),
    "other keys": lambda layer, x: layer(x, x[:, :4], x[:, :4]),
    "other values": lambda layer, x: layer(x, x, 2 * x),
    "no batch": lambda layer, x: layer(x[0], x[0], x[0]),
}


@pytest.mark.parametrize("call", REFUSED.values(), ids=REFUSED)
@pytest.mark.parametrize("options", [{}, {"kdim": 6, "vdim": 6}])
def test_multihead_attention_between_others_is_refused(call, options):
    layer = nn.MultiheadAttention(6, 3, batch_first=True, **options)
    message = r"called with query \((2, )?5, 6\) and key .* only where one batch"
    with pytest.raises(ValueError, match=message), record_attention(layer):
        call(layer, torch.randn(2, 5, 6))


@pytest.mark.parametrize("options", [{"add_bias_kv": True}, {"add_zero_attn": True}, {"kdim": 6, "vdim": 5}], ids=str)
def test_multihead_attention_with_extra_keys_is_refused(options):
    layer, x = nn.MultiheadAttention(6, 3, batch_first=True, **options), torch.randn(2, 5, 6)
    with pytest.raises(ValueError, match="without a mask or extra keys"), record_attention(layer):
        layer(x, x, x)


def timm_layers():
    from timm.layers import AttentionRope, RelPosBias
    from timm.models.beit import Attention as BeitAttention
    from timm.models.eva import EvaAttention
    from timm.models.vision_transformer import ParallelScalingBlock
    from timm.models.vision_transformer_relpos import RelPosAttention

    def bias(num_heads, **options):
        return RelPosBias(window_size=(2, 3), num_heads=num_heads, **options)

    return {
        "rope": AttentionRope(12, 3),
        "beit": BeitAttention(12, 3, window_size=(2, 3)),
        "eva": EvaAttention(12, 3, norm_layer=nn.LayerNorm),
        "parallel": ParallelScalingBlock(12, 3),
        "relative": RelPosAttention(12, 3, rel_pos_cls=bias),
    }


@pytest.mark.parametrize("name", ["rope", "beit", "eva", "parallel", "relative"])
def test_timms_other_layers_are_recorded(name):
    """Their weights, seen as they leave the dropout of the unfused layer, and their answer."""
    torch.manual_seed(0)
    layer = timm_layers()[name].double().eval()
    for parameter in layer.parameters():
        nn.init.normal_(parameter, std=0.4)
    x = torch.randn(2, 6 if name == "relative" else 7, 12, dtype=torch.float64)
    with torch.no_grad():
        before, seen = layer(x), []
        with record_attention(layer) as maps:
            close(layer(x), before)
        layer.fused_attn = False
        layer.attn_drop.register_forward_hook(lambda part, given, result: seen.append(result))
        close(layer(x), before)
    assert len(maps) == len(seen) == 1 and maps[0].std() > 0.01
    close(maps[0], seen[0])


TIMM_SIZES = {"img_size": 8, "patch_size": 4, "embed_dim": 12, "num_heads": 3, "depth": 2, "num_classes": 2}


@pytest.mark.skipif("attn_layer" not in inspect.signature(VisionTransformer).parameters, reason="needs timm 1.0.22")
def test_attention_of_two_softmaxes_is_refused():
    model = VisionTransformer(**TIMM_SIZES, attn_layer="diff")
    with pytest.raises(ValueError, match=r"blocks\.0\.attn of the VisionTransformer is a DiffAttention.* 0 other"):
        attention_maps(model, torch.randn(1, 3, 8, 8))


def test_what_has_no_such_weights_is_refused():
    pooled = VisionTransformer(**TIMM_SIZES, global_pool="map", class_token=False)
    found = attention_maps(pooled, torch.randn(1, 3, 8, 8))
    assert found.shape == (1, 2, 3, 4, 4)  # the pooling's one query is no token
    with pytest.raises(ValueError, match="Sequential contains 0 attention layers"):
        attention_maps(nn.Sequential(nn.Linear(2, 2)), torch.zeros(1, 2))


# Recording: nothing left behind, nothing silent


def state_of(model):
    """All that a module holds: each attribute, and what lies in its dicts of hooks, parameters and parts."""

    def shallow(value):
        return tuple((key, id(item)) for key, item in value.items()) if isinstance(value, dict) else id(value)

    return {(name, key): shallow(value) for name, part in model.named_modules() for key, value in vars(part).items()}


class Sudden(Exception):
    pass


def check_nothing_is_left(lib, library):
    model, images = model_of(library), images_of()
    before = state_of(model)
    with torch.no_grad():
        with pytest.raises(Sudden), lib.record_attention(model) as maps:
            model(images)
            raise Sudden
        assert state_of(model) == before and len(maps) == CONFIG.depth
        with pytest.raises((ValueError, RuntimeError, AssertionError)), lib.record_attention(model):
            model(images[:, :, :5])
        assert state_of(model) == before
        with pytest.raises(Sudden), lib.recording(model, sudden):
            model(images)
        assert state_of(model) == before
        with lib.record_attention(model) as outer:
            model(images)
            with pytest.raises(Sudden), lib.record_attention(model):
                raise Sudden
            with lib.record_attention(model) as inner:
                model(images)
            model(images)
        model(images)
    assert (len(maps), len(outer), len(inner)) == (CONFIG.depth, 2 * CONFIG.depth, CONFIG.depth)
    assert state_of(model) == before
    assert nothing_is_open(lib)


def sudden(weights):
    raise Sudden


@pytest.mark.parametrize("library", LIBRARIES)
def test_nothing_is_left_behind(library):
    check_nothing_is_left(REAL, library)


def nothing_is_open(lib):
    return torch.backends.mha.get_fastpath_enabled() and not lib.taps._recordings and not lib.taps._tapped


def check_any_order_of_closing(lib, library):
    """Also if one is never closed, but forgotten."""
    model, images = model_of(library), images_of()
    before = state_of(model)
    first, second, forgotten = (lib.record_attention(model) for _ in range(3))
    with torch.no_grad():
        early = first.__enter__()
        model(images)
        late = second.__enter__()
        model(images)
        assert first.__exit__(None, None, None) is False
        model(images)
        assert second.__exit__(None, None, None) is False
        model(images)
        assert state_of(model) == before and nothing_is_open(lib)
        forgotten.__enter__()
        del forgotten
        gc.collect()
    assert (len(early), len(late)) == (CONFIG.depth, 2 * CONFIG.depth)
    close(torch.stack(early, 1), reference_maps())
    close(torch.stack(late[CONFIG.depth :], 1), reference_maps())
    assert state_of(model) == before and nothing_is_open(lib)


@pytest.mark.slow
@pytest.mark.parametrize("library", LIBRARIES)
def test_recordings_may_be_closed_in_any_order(library):
    check_any_order_of_closing(REAL, library)


def check_threads(lib, library):
    """Two record the same model at once, each its own images; a third only runs it."""
    model, images, answer = model_of(library), images_of(), model_of(library)(images_of()).detach()
    before, together = state_of(model), threading.Barrier(3, timeout=200)

    @torch.no_grad()
    def record(rows):
        with lib.record_attention(model) as maps:
            for _ in range(4):
                together.wait()
                model(images[rows])
            if rows == [0]:  # goes on while the other has closed
                together.wait()
                model(images[rows])
        if rows != [0]:
            together.wait()
        close(torch.cat(maps), torch.cat([*reference_maps()[rows].unbind(1)] * (len(maps) // CONFIG.depth)))
        return len(maps) // CONFIG.depth

    @torch.no_grad()
    def run():
        for _ in range(5):
            together.wait()
            close(model(images), answer)
        return 0

    def aborting(work, *arguments):  # or the others would wait for a thread that is gone
        try:
            return work(*arguments)
        except BaseException:
            together.abort()
            raise

    with ThreadPoolExecutor(3) as threads:
        tasks = [threads.submit(aborting, *work) for work in ((record, [0]), (record, [2, 1]), (run,))]
        assert [task.result() for task in tasks] == [5, 4, 0]
    assert state_of(model) == before and nothing_is_open(lib)


@pytest.mark.parametrize("library", LIBRARIES)
def test_two_threads_record_the_same_model(library):
    check_threads(REAL, library)


def test_what_another_thread_runs_is_not_recorded():
    model, images = model_of(), images_of()
    with (
        ThreadPoolExecutor(1) as threads,
        pytest.raises(ValueError, match="0 attention maps .* inside the `with` block, in the same thread"),
        record_attention(model),
    ):
        threads.submit(model, images).result()


def check_copies(lib, library, make_copy=copy.deepcopy):
    """What is copied in the middle of a recording is the plain model."""
    model, images = model_of(library), images_of()
    answer = model(images)
    with torch.no_grad(), lib.record_attention(model) as maps:
        copied = make_copy(model)
        copied(images)
        model(images)
    assert torch.equal(copied(images), answer) and len(maps) == CONFIG.depth
    for own, its in zip(model.modules(), copied.modules(), strict=True):
        assert type(own) is type(its) and getattr(own, "fused_attn", 0) is getattr(its, "fused_attn", 0)
        assert its.forward == MethodType(type(its).forward, its)
        assert getattr(its, "recorder", None) is None
    close(lib.attention_maps(copied, images), reference_maps())
    close(lib.attention_maps(copy.deepcopy(copied), images), reference_maps())


def stored_and_loaded(model):
    stored = io.BytesIO()
    torch.save(model, stored)
    stored.seek(0)
    return torch.load(stored, weights_only=False)


@pytest.mark.parametrize("make_copy", [copy.deepcopy, stored_and_loaded])
@pytest.mark.parametrize("library", LIBRARIES)
def test_a_copy_is_not_recorded(library, make_copy):
    check_copies(REAL, library, make_copy)


def check_never_silent(lib):
    model, images = model_of(), images_of()
    tokens = torch.zeros(1, 2, CONFIG.embed_dim, dtype=torch.float64)
    for run, message in (
        (lambda: None, "0 attention maps were recorded from the 3 attention layers of the VisionTransformer: run"),
        (lambda: model.blocks[:2](tokens), r"only 2 of the 3 attention layers .* not blocks\.2\.attn: run"),
        (lambda: model.blocks[1](tokens), r"only 1 of the 3 .* not blocks\.0\.attn, blocks\.2\.attn: run"),
    ):
        with pytest.raises(ValueError, match=message), lib.record_attention(model):
            run()
    with (
        pytest.raises(ValueError, match="0 attention maps"),
        lib.record_attention(model),
        lib.record_attention(model) as inner,  # takes them all
    ):
        model(images)
    assert len(inner) == CONFIG.depth
    with lib.record_attention(model) as outer, lib.record_attention(model.blocks[1]) as inner:
        model(images)
    assert (len(outer), len(inner)) == (2, 1)


def test_never_silent():
    check_never_silent(REAL)


@pytest.mark.parametrize("library", LIBRARIES)
def test_a_layer_that_goes_past_its_tap_is_noticed(library):
    """One of several layers has a forward pass of its own, as an optimiser of models might give it."""
    model = model_of(library)
    block = model.encoder.layers[1] if library == "torchvision" else model.blocks[1]
    block.forward = lambda x: x
    with pytest.raises(ValueError, match=r"only 2 of the 3 .* not \S*1\.(attn|self_attention): run"):
        attention_maps(model, images_of())


class ThreeKinds(nn.Module):
    """One layer of each kind, (B, N, 12) -> (B, N, 12)."""

    def __init__(self):
        from timm.layers import Attention

        super().__init__()
        self.own, self.timm = MultiHeadSelfAttention(12, 2), Attention(12, 2)
        self.multihead = nn.MultiheadAttention(12, 2, batch_first=True)

    def forward(self, x):
        x = self.timm(self.own(x))
        return self.multihead(x, x, x, need_weights=False)[0]


@torch.no_grad()
def check_compiled(lib):
    """What torch.compile made is recorded as it was written: nothing is compiled for it, and nothing need be afterwards."""
    graphs = []

    def backend(graph, inputs):
        graphs.append(graph)
        return graph.forward

    torch.manual_seed(0)
    model, x = ThreeKinds().double().eval(), torch.randn(2, 5, 12, dtype=torch.float64)
    with lib.record_attention(model) as expected:
        answer = model(x)
    compiled = torch.compile(model, backend=backend)
    close(compiled(x), answer)
    made = len(graphs)
    with lib.record_attention(compiled) as maps:
        close(compiled(x), answer)
    assert len(maps) == 3 and all(map(torch.equal, maps, expected))
    close(compiled(x), answer)
    assert len(graphs) == made > 0 and len(maps) == 3


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:Guards may run slower on Python 3.13.0")
@pytest.mark.slow
def test_compiled_models_are_recorded():
    check_compiled(REAL)


# attention_maps


def check_attention_maps(lib):
    model = model_of().train()
    attention_dropout(model, 0.5)
    model.blocks[1].eval()
    modes = [part.training for part in model.modules()]
    maps = lib.attention_maps(model, images_of().requires_grad_())
    close(maps, reference_maps())
    assert maps.dtype == torch.float64 and maps.is_contiguous() and not maps.requires_grad
    with pytest.raises(ValueError):
        lib.attention_maps(model, images_of()[:, :, :5])
    assert [part.training for part in model.modules()] == modes
    assert all(parameter.grad is None and parameter.requires_grad for parameter in model.parameters())


def test_attention_maps():
    check_attention_maps(REAL)


@pytest.mark.parametrize("library", LIBRARIES)
def test_maps_of_a_bfloat16_model_are_float32(library):
    model = model_of(library).bfloat16()
    maps = attention_maps(model, images_of().bfloat16())
    close(maps, reference_maps(), 0.02)
    with torch.no_grad(), record_attention(model) as recorded:
        model(images_of().bfloat16())
    assert maps.dtype == torch.float32 and recorded[0].dtype == torch.bfloat16
    assert torch.equal(maps, torch.stack(recorded, 1).float())


def test_images_may_lie_in_any_order_and_number():
    turned = images_of().transpose(2, 3).contiguous().transpose(2, 3)
    assert not turned.is_contiguous()
    close(attention_maps(model_of(), turned), reference_maps())
    close(attention_maps(model_of(), images_of()[[2, 0]]), reference_maps()[[2, 0]])
    close(attention_maps(model_of(), images_of()[1:2]), reference_maps()[1:2])
    assert attention_maps(model_of(), images_of()[:0]).shape == (0, 3, 4, 10, 10)


def test_maps_of_different_sizes_make_no_tensor():
    torch.manual_seed(0)
    first, second = MultiHeadSelfAttention(6, 2), MultiHeadSelfAttention(6, 3)
    with pytest.raises(ValueError, match=r"map 2 is \(1, 3, 5, 5\), the first of 2 layers \(1, 2, 5, 5\)"):
        attention_maps(nn.Sequential(first, second), torch.randn(1, 5, 6))
    with pytest.raises(ValueError, match=r"map 2 is \(1, 2, 5, 5\), the first of 1 layers"):
        attention_maps(nn.Sequential(first, first), torch.randn(1, 5, 6))


# Where a token looks


def loops_cls(maps, gh, gw, prefix):
    maps, found = maps.numpy(), np.empty((*maps.shape[:-2], gh, gw))
    for r, c in np.ndindex(gh, gw):
        found[..., r, c] = maps[..., 0, prefix + r * gw + c]
    return found


def loops_patches(maps, gh, gw, prefix):
    maps, found = maps.numpy(), np.empty((*maps.shape[:-2], gh, gw, gh, gw))
    for r, c, row, column in np.ndindex(gh, gw, gh, gw):
        found[..., r, c, row, column] = maps[..., prefix + r * gw + c, prefix + row * gw + column]
    return found


def check_cls_attention(lib):
    for tokens, prefix in ((7, None), (7, 1), (11, 5)):
        maps = random_maps(tokens)
        expected = loops_cls(maps, 2, 3, prefix or 1)
        close(lib.cls_attention(maps, (2, 3), prefix), expected, 0)
        close(lib.cls_attention(maps[:, 0, 0], [2, 3], prefix), expected[:, 0, 0], 0)
    close(lib.cls_attention(random_maps(10), 3), loops_cls(random_maps(10), 3, 3, 1), 0)


def check_patch_attention(lib):
    for tokens, prefix in ((6, None), (7, None), (6, 0), (11, 5)):
        maps = random_maps(tokens)
        expected = loops_patches(maps, 2, 3, tokens - 6)
        close(lib.patch_attention(maps, (2, 3), prefix), expected, 0)
        close(lib.patch_attention(maps[0, 1, 1], (2, 3), prefix), expected[0, 1, 1], 0)
    assert lib.patch_attention(maps, (2, 3), 5).untyped_storage().data_ptr() == maps.untyped_storage().data_ptr()


def test_where_the_class_token_looks():
    check_cls_attention(REAL)
    turned = random_maps().transpose(-1, -2)  # another order in memory
    close(cls_attention(turned, (2, 3)), loops_cls(turned, 2, 3, 1), 0)


def test_where_patches_look():
    check_patch_attention(REAL)
    turned = random_maps().transpose(-1, -2)
    close(patch_attention(turned, (2, 3)), loops_patches(turned, 2, 3, 1), 0)


def test_without_class_token_the_error_says_what_to_do():
    maps = random_maps(6)
    with pytest.raises(ValueError, match=r"maps \(3, 4, 2, 6, 6\) have no class token, only 2 x 3 patches") as error:
        cls_attention(maps, (2, 3))
    (advice,) = [words for words in str(error.value).split(": ")[1:] if "patch_attention" in words]
    assert "patch_attention(maps, (2, 3))[..., row, column, :, :]" in advice and "mean over dim=(-4, -3)" in advice
    average = patch_attention(maps, (2, 3)).mean(dim=(-4, -3))
    close(average, maps.mean(-2).unflatten(-1, (2, 3)))


# Rollout


def loops_rollout(maps, fusion="mean", ratio=0.0):
    fuse = {"mean": lambda numbers: sum(numbers) / len(numbers), "max": max, "min": min}[fusion]
    batch, depth, heads, tokens, _ = maps.shape
    found = []
    for image in range(batch):
        result = [[float(i == j) for j in range(tokens)] for i in range(tokens)]
        for layer in range(depth):
            one = maps[image, layer].tolist()
            fused = [[fuse([one[h][i][j] for h in range(heads)]) for j in range(tokens)] for i in range(tokens)]
            limit = sorted(number for row in fused for number in row)[int(ratio * tokens * tokens)]
            for i, j in product(range(tokens), repeat=2):
                if fused[i][j] < limit and (i, j) != (0, 0):
                    fused[i][j] = 0.0
                if i == j:
                    fused[i][j] += 1.0
            step = [[number / math.fsum(row) for number in row] for row in fused]
            result = [
                [math.fsum(step[i][k] * result[k][j] for k in range(tokens)) for j in range(tokens)]
                for i in range(tokens)
            ]
        found.append(result)
    return found


@cache
def expected_rollout(fusion, ratio):
    return np.array(loops_rollout(random_maps(), fusion, ratio))


ROLLOUTS = [("mean", 0.0), ("max", 0.0), ("min", 0.0), ("mean", 0.5), ("max", 0.9), ("min", 0.97), ("mean", 0.01)]


def check_rollout(lib):
    maps = random_maps()
    before = maps.clone()
    for fusion, ratio in ROLLOUTS:
        found = lib.attention_rollout(maps, head_fusion=fusion, discard_ratio=ratio)
        close(found, expected_rollout(fusion, ratio))
        close(found.sum(-1), torch.ones(3, 7))
        close(lib.attention_rollout(list(maps.unbind(1)), head_fusion=fusion, discard_ratio=ratio), found, 0)
    close(lib.attention_rollout(maps), expected_rollout("mean", 0.0))
    close(lib.attention_rollout(maps[:, :1, :1], discard_ratio=0.5), loops_rollout(maps[:, :1, :1], ratio=0.5))
    assert torch.equal(maps, before)


def check_rollout_of_equal_numbers(lib):
    """They stay or go together, whoever sorts them."""
    ties = torch.tensor([[0.5, 0.25, 0.25], [0.25, 0.25, 0.5], [0.0, 0.0, 1.0]], dtype=torch.float64)[None, None, None]
    for ratio in (0.1, 0.2, 0.23, 0.3, 0.6, 0.7, 0.8, 0.9):
        close(lib.attention_rollout(ties, discard_ratio=ratio), loops_rollout(ties, ratio=ratio))


def check_rollout_in_bfloat16(lib):
    maps = random_maps().bfloat16()
    found = lib.attention_rollout(maps)
    assert found.dtype == torch.float32
    close(found, loops_rollout(maps.double()), 1e-6)
    assert lib.attention_rollout(maps.float()).dtype == torch.float32


def test_rollout():
    check_rollout(REAL)
    check_rollout_of_equal_numbers(REAL)
    check_rollout_in_bfloat16(REAL)


def test_rollout_properties():
    maps = random_maps()
    whole = attention_rollout(maps, discard_ratio=0.4)
    for image in range(3):
        close(attention_rollout(maps[image : image + 1], discard_ratio=0.4), whole[image : image + 1], 1e-15)
    close(attention_rollout(maps[[2, 0, 1]], discard_ratio=0.4), whole[[2, 0, 1]], 1e-15)
    order = torch.tensor([0, 4, 2, 6, 1, 3, 5])  # the tokens in another order
    close(attention_rollout(maps[..., order, :][..., order], discard_ratio=0.4), whole[:, order][:, :, order])
    turned = maps.transpose(0, 1).contiguous().transpose(0, 1)
    close(attention_rollout(turned, discard_ratio=0.4), whole, 1e-15)
    eye = torch.eye(7, dtype=torch.float64).expand(1, 4, 2, 7, 7)
    close(attention_rollout(eye), torch.eye(7)[None], 0)
    uniform = torch.full((1, 5, 2, 4, 4), 0.25, dtype=torch.float64)
    expected = 0.5**5 * torch.eye(4) + (1 - 0.5**5) / 4  # each layer halves what is left of the token itself
    close(attention_rollout(uniform), expected[None])
    close(attention_rollout(uniform, discard_ratio=0.9), expected[None])
    assert attention_rollout(maps[:0]).shape == (0, 7, 7)


def repaired_vit_explain(maps, fusion, ratio):
    """The common code as it stands, for one image; the one repair is keepdim=True."""
    result = torch.eye(maps[0].size(-1), dtype=torch.float64)
    for attention in maps:
        fused = {"mean": attention.mean(1), "max": attention.max(1)[0], "min": attention.min(1)[0]}[fusion]
        flat = fused.view(fused.size(0), -1)
        _, indices = flat.topk(int(flat.size(-1) * ratio), -1, False)
        flat[0, indices[indices != 0]] = 0
        a = (fused + torch.eye(fused.size(-1))) / 2
        result = torch.matmul(a / a.sum(dim=-1, keepdim=True), result)
    return result


@pytest.mark.parametrize(("fusion", "ratio"), ROLLOUTS)
def test_rollout_is_that_of_the_common_code_repaired(fusion, ratio):
    maps = random_maps(13)
    found = attention_rollout(maps, head_fusion=fusion, discard_ratio=ratio)
    expected = [repaired_vit_explain([m.clone() for m in image[:, None]], fusion, ratio) for image in maps]
    close(found, torch.cat(expected))


@pytest.mark.parametrize("library", LIBRARIES)
def test_rollout_of_a_model(library):
    expected = loops_rollout(reference_maps(), "max", 0.6)
    close(
        attention_rollout(attention_maps(model_of(library), images_of()), head_fusion="max", discard_ratio=0.6),
        expected,
    )


# Gradient rollout


def bumped_logits(model, image, layer, place, by):
    """Logits (K,) of one image if one number of one map were larger: no autograd, no `record_attention`."""

    def bump(weights):
        weights[(0, *place)] += by

    model.blocks[layer].attn.recorder = bump
    logits = model(image[None])[0]
    model.blocks[layer].attn.recorder = None
    return logits


@cache
@torch.no_grad()
def loops_relevance():
    """For every class of the tiny model: (B, K, N, N)."""
    model, images, step = model_of(config=TINY), images_of(config=TINY), 1e-5
    maps = reference_maps(TINY)
    batch, depth, heads, tokens, _ = maps.shape
    slopes = torch.empty(*maps.shape, TINY.num_classes, dtype=torch.float64)
    for image, layer, *place in np.ndindex(*maps.shape):
        more, less = (bumped_logits(model, images[image], layer, place, by) for by in (step, -step))
        slopes[(image, layer, *place)] = (more - less) / (2 * step)
    found = np.empty((batch, TINY.num_classes, tokens, tokens))
    for image, label in np.ndindex(batch, TINY.num_classes):
        relevance = np.eye(tokens)
        for layer in range(depth):
            raises = np.zeros((tokens, tokens))
            for h, i, j in np.ndindex(heads, tokens, tokens):
                rise = slopes[image, layer, h, i, j, label] * maps[image, layer, h, i, j]
                raises[i, j] += max(rise.item(), 0.0) / heads
            relevance = relevance + raises @ relevance
        found[image, label] = relevance
    return torch.from_numpy(found)


def check_gradient_rollout(lib):
    model, images, expected = model_of(config=TINY).train(), images_of(config=TINY), loops_relevance()
    attention_dropout(model, 0.5)
    assert (expected - torch.eye(4)).abs().mean() > 1e-3
    each = torch.arange(3)
    with torch.no_grad():
        best = model.eval()(images).argmax(-1)
        model.train()
    assert len(set(best.tolist())) > 1  # or it would not matter whose class is taken
    for classes, labels in ((None, best), (1, [1, 1, 1]), ([2, 0, 1], [2, 0, 1]), (torch.tensor([0, 2, 2]), [0, 2, 2])):
        found = lib.gradient_rollout(model, images, classes)
        close(found, expected[each, labels], 1e-8)
    assert found.dtype == torch.float64 and not found.requires_grad
    assert all(part.training for part in model.modules())
    assert all(parameter.grad is None for parameter in model.parameters()) and not images.requires_grad


def test_gradient_rollout():
    check_gradient_rollout(REAL)


def test_gradient_rollout_treats_each_image_by_itself():
    model, images = model_of(), images_of()
    whole = gradient_rollout(model, images, [3, 1, 4])
    for image, label in enumerate([3, 1, 4]):
        close(gradient_rollout(model, images[image : image + 1], label), whole[image : image + 1], 1e-13)
    close(gradient_rollout(model, images[[2, 0, 1]], [4, 3, 1]), whole[[2, 0, 1]], 1e-13)


@pytest.mark.parametrize("library", LIBRARIES)
def test_gradient_rollout_of_a_frozen_model_without_gradients(library):
    expected = gradient_rollout(model_of(), images_of())
    model = model_of(library).requires_grad_(False)
    with torch.no_grad():
        close(gradient_rollout(model, images_of()), expected)
    with torch.inference_mode():
        close(gradient_rollout(model, images_of().clone()), expected)
    before = attention_maps(model, images_of())
    with record_attention(model) as maps:
        model(images_of())
        gradient_rollout(model, images_of())
    close(torch.stack(maps, 1), before, 0)  # its own pass is not in the list


@pytest.mark.parametrize("library", ["course_lib", "timm"])
def test_gradient_rollout_with_activation_checkpointing(library):
    """Layers run again on the way back; reentrant checkpointing runs them without gradients first."""
    expected, model = gradient_rollout(model_of(), images_of()), model_of(library)
    for block in model.blocks:
        block.forward = partial(checkpoint, type(block).forward, block, use_reentrant=False)
    close(gradient_rollout(model, images_of()), expected)
    for block in model.blocks:
        block.forward = partial(checkpoint, type(block).forward, block, use_reentrant=True)
    before = state_of(model)
    with pytest.raises(
        ValueError, match="maps of the VisionTransformer have no gradients: use_reentrant=False"
    ) as error:
        gradient_rollout(model, images_of())
    assert "\n" not in str(error.value) and state_of(model) == before


def test_gradient_rollout_with_timms_own_checkpointing():
    model = model_of("timm")
    model.set_grad_checkpointing()
    close(gradient_rollout(model, images_of()), gradient_rollout(model_of(), images_of()))


def test_gradient_rollout_in_bfloat16():
    found = gradient_rollout(model_of().bfloat16(), images_of().bfloat16(), 2)
    assert found.dtype == torch.float32
    close(found, gradient_rollout(model_of(), images_of(), 2), 0.05)


# Attention distance


def loops_distance(maps, gh, gw, patch_height, patch_width, prefix):
    batch, depth, heads, _, _ = maps.shape
    found = np.zeros((depth, heads))
    for layer, head in np.ndindex(depth, heads):
        means = []
        for image, r, c in np.ndindex(batch, gh, gw):
            row = maps[image, layer, head, prefix + r * gw + c].tolist()
            far = total = 0.0
            for row_to, column_to in np.ndindex(gh, gw):
                weight = row[prefix + row_to * gw + column_to]
                far += weight * math.hypot((row_to - r) * patch_height, (column_to - c) * patch_width)
                total += weight
            if total:
                means.append(far / total)
        found[layer, head] = sum(means) / len(means)
    return found


def check_distance(lib):
    for tokens, prefix, patch in ((7, None, (5, 8)), (6, None, 4), (11, 5, (3.5, 2))):
        maps, before = random_maps(tokens), random_maps(tokens).clone()
        height, width = patch if isinstance(patch, tuple) else (patch, patch)
        expected = loops_distance(maps, 2, 3, height, width, tokens - 6)
        close(lib.mean_attention_distance(maps, (2, 3), patch, prefix), expected)
        close(lib.mean_attention_distance(list(maps.unbind(1)), (2, 3), patch, prefix), expected)
        assert torch.equal(maps, before)
    blind = random_maps().clone()
    blind[0, 1, 1, 3], blind[0, 1, 1, 3, 0] = 0, 1  # one query looks at the class token only
    close(lib.mean_attention_distance(blind, (2, 3), 4), loops_distance(blind, 2, 3, 4, 4, 1))
    small = random_maps().bfloat16()
    found = lib.mean_attention_distance(small, (2, 3), 4)
    assert found.dtype == torch.float32
    close(found, loops_distance(small.double(), 2, 3, 4, 4, 1), 1e-5)


def test_attention_distance():
    check_distance(REAL)


def test_attention_distance_properties():
    eye = torch.eye(50).expand(2, 3, 4, 50, 50)
    close(mean_attention_distance(eye, 7, 4), torch.zeros(3, 4), 0)
    next_patch = torch.eye(12).roll(1, dims=1)[None, None, None]  # in reading order, the last looks at the first
    row_ends = 2 * math.hypot(3 * 10, 16)  # from the end of two rows to the start of the next
    back = math.hypot(3 * 10, 2 * 16)
    close(mean_attention_distance(next_patch, (3, 4), (16, 10)), [[(9 * 10 + row_ends + back) / 12]], 1e-5)
    uniform = torch.full((1, 1, 1, 197, 197), 1 / 197)
    close(mean_attention_distance(uniform, 14, 16), [[116.492]], 1e-3)  # as the docstring says
    lost = torch.full((1, 1, 1, 5, 5), torch.nan)
    assert mean_attention_distance(lost, 2, 4).isnan().all()


# Positions


def loops_similarity(table, gh, gw, prefix):
    rows = table.double().reshape(-1, table.shape[-1]).tolist()[prefix:]
    found = np.empty((gh, gw, gh, gw))
    for r, c, row, column in np.ndindex(gh, gw, gh, gw):
        one, other = rows[r * gw + c], rows[row * gw + column]
        dot = math.fsum(x * y for x, y in zip(one, other, strict=True))
        found[r, c, row, column] = dot / math.hypot(*one) / math.hypot(*other)
    return found


def check_similarity(lib):
    generator = torch.manual_seed(0)
    for tokens, prefix in ((6, None), (7, None), (7, 1), (11, 5)):
        table = torch.randn(1, tokens, 5, generator=generator, dtype=torch.float64).requires_grad_()
        expected = loops_similarity(table.detach(), 2, 3, tokens - 6)
        found = lib.pos_embed_similarity(table, (2, 3), prefix)
        close(found, expected)
        close(lib.pos_embed_similarity(table[0], (2, 3), prefix), expected)
        assert not found.requires_grad
    half = table.detach().bfloat16()
    assert lib.pos_embed_similarity(half, (2, 3), 5).dtype == torch.float32
    close(lib.pos_embed_similarity(half, (2, 3), 5), loops_similarity(half, 2, 3, 5), 1e-6)


def test_position_similarity():
    check_similarity(REAL)


def test_position_similarity_of_models():
    for library, name in (("course_lib", "pos_embed"), ("timm", "pos_embed"), ("torchvision", "encoder.pos_embedding")):
        table = dict(model_of(library).named_parameters())[name]
        close(pos_embed_similarity(table, 3), loops_similarity(table.detach(), 3, 3, 1))
    waves = pos_embed_similarity(sincos_pos_embed_2d((3, 5), 16), (3, 5))
    close(waves, loops_similarity(sincos_pos_embed_2d((3, 5), 16), 3, 5, 0), 1e-6)
    assert (waves.flatten(2).flatten(0, 1).diagonal() - 1).abs().max() < 1e-6 and waves.abs().max() <= 1


# Filters


def eigen_filters(weight, n):
    """The same by the eigenvectors of the covariance, signs by a loop."""
    filters = weight.detach().double().reshape(len(weight), -1).numpy()
    centred = filters - filters.mean(0)
    values, vectors = np.linalg.eigh(centred.T @ centred)
    values, vectors = values[::-1], vectors.T[::-1][:n].copy()
    for vector in vectors:
        if vector[np.argmax(np.abs(vector))] < 0:
            vector *= -1
    return vectors.reshape(n, *weight.shape[1:]), values[:n] / values.sum()


def check_filters(lib):
    for config, n in ((CONFIG, 12), (NO_TOKEN, 4), (NO_TOKEN, 1)):
        model = model_of(config=config)
        expected, shares = eigen_filters(model.patch_embed.proj.weight, n)
        found, variance = lib.patch_filters(model, n), lib.patch_filter_variance(model, n)
        close(found, expected, 1e-9)
        close(found.flatten(1) @ found.flatten(1).T, np.eye(n))
        close(variance, shares)
        assert not found.requires_grad and not variance.requires_grad
    few = nn.Sequential()
    few.conv_proj = nn.Conv2d(2, 4, 3, dtype=torch.float64)  # fewer filters than numbers in one
    close(lib.patch_filters(few, 3), eigen_filters(few.conv_proj.weight, 3)[0], 1e-9)
    close(lib.patch_filter_variance(few, 3).sum(), 1.0)
    tie = nn.Sequential()
    tie.conv_proj = nn.Conv2d(1, 3, 2, dtype=torch.float64)
    for sign in (1, -1):  # twice the same size: the first decides, whatever the last bit says
        direction = torch.tensor([0.1, -0.7, 0.7 + 1e-9, 0.1], dtype=torch.float64)
        with torch.no_grad():
            tie.conv_proj.weight.copy_((sign * torch.tensor([[1.0], [2.0], [-3.0]]) * direction).reshape(3, 1, 2, 2))
        close(lib.patch_filters(tie, 1).flatten(), -direction / direction.norm())


def test_patch_filters():
    check_filters(REAL)


@pytest.mark.parametrize("library", LIBRARIES)
def test_patch_filters_are_those_of_scikit_learn_in_all_libraries(library):
    model = model_of(library)
    weight = model_of().patch_embed.proj.weight.detach()
    pca = PCA(23, svd_solver="full").fit(weight.flatten(1).numpy())
    found = patch_filters(model, 23).flatten(1)
    signs = (found * torch.from_numpy(pca.components_)).sum(1, keepdim=True).sign()
    close(found * signs, pca.components_, 1e-9)
    assert (found.gather(1, found.abs().argmax(1, keepdim=True)) > 0).all()
    close(patch_filter_variance(model, 23), pca.explained_variance_ratio_)


def test_patch_filters_of_other_dtypes_are_float32_and_computed_in_float64():
    model = model_of()
    expected = patch_filters(model, 5).float()
    assert torch.equal(patch_filters(model.float(), 5), expected)
    half = patch_filters(model.bfloat16(), 5)
    assert half.dtype == torch.float32 and half.shape == (5, 3, 8, 8)
    assert patch_filter_variance(model, 5).dtype == torch.float32


# Errors name both values

MAPS = random_maps()
ERRORS = {
    "ratio below 0": (lambda: attention_rollout(MAPS, discard_ratio=-0.1), "discard_ratio -0.1 .* below 1"),
    "ratio 1": (lambda: attention_rollout(MAPS, discard_ratio=1.0), "discard_ratio 1.0 must be at least 0 and below 1"),
    "ratio NaN": (lambda: attention_rollout(MAPS, discard_ratio=math.nan), "discard_ratio nan"),
    "fusion": (lambda: attention_rollout(MAPS, head_fusion="sum"), "head_fusion 'sum' .* mean, max, min"),
    "one layer": (lambda: attention_rollout(MAPS[:, 0]), r"maps \(3, 2, 7, 7\) must be \(B, L, H, N, N\)"),
    "not square": (
        lambda: attention_rollout(MAPS[..., 1:]),
        r"\(3, 2, 7, 6\) .* must be \(B, H, N, N\) = \(3, H, 6, 6\)",
    ),
    "no layer": (lambda: attention_rollout([]), "0 layers: at least 1"),
    "other size": (
        lambda: attention_rollout([MAPS[:, 0], MAPS[1:, 0]]),
        r"\(2, 2, 7, 7\) beside the first, \(3, 2, 7, 7\)",
    ),
    "a list": (lambda: cls_attention([MAPS[:, 0]], (2, 3)), r"maps are a list, .* torch.stack\(maps, dim=1\)"),
    "no square": (lambda: cls_attention(MAPS[..., 1:], (2, 3)), r"maps \(3, 4, 2, 7, 6\) must be \(..., N, N\)"),
    "wrong grid": (
        lambda: cls_attention(MAPS, (2, 2)),
        "7 tokens do not fit the grid 2 x 2 = 4: 3 are left over, expected 0 or 1",
    ),
    "grid too large": (
        lambda: patch_attention(MAPS, (3, 3)),
        "7 tokens do not fit the grid 3 x 3 = 9: -2 are left over",
    ),
    "prefix": (lambda: patch_attention(MAPS, (2, 3), 5), "6: 1 are left over, expected 5. Give .* num_prefix_tokens"),
    "no prefix": (lambda: cls_attention(MAPS, (2, 3), 0), "1 are left over, expected 0"),
    "no token": (lambda: cls_attention(random_maps(6), (2, 3), 0), "have no class token, only 2 x 3 patches"),
    "grid negative": (
        lambda: cls_attention(MAPS, (-2, -3)),
        r"grid_size \(-2, -3\) must be two positive whole numbers",
    ),
    "grid 3": (lambda: patch_attention(MAPS, (1, 2, 3)), r"grid_size \(1, 2, 3\) must be two"),
    "grid fraction": (lambda: pos_embed_similarity(torch.ones(1, 7, 3), 2.5), "grid_size 2.5 must be two"),
    "distance grid": (lambda: mean_attention_distance(MAPS, (2, 4), 4), "7 tokens do not fit the grid 2 x 4 = 8"),
    "patch 0": (lambda: mean_attention_distance(MAPS, (2, 3), 0), "patch_size 0 must be a positive number"),
    "patch 3": (lambda: mean_attention_distance(MAPS, (2, 3), (4, 4, 4)), r"patch_size \(4, 4, 4\)"),
    "no table": (lambda: pos_embed_similarity(None, (2, 3)), r"pos_embed None must be \(1, N, D\) or \(N, D\)"),
    "two tables": (lambda: pos_embed_similarity(torch.ones(2, 7, 3), (2, 3)), r"pos_embed \(2, 7, 3\) must be"),
    "table grid": (
        lambda: pos_embed_similarity(torch.ones(1, 7, 3), 3),
        r"pos_embed \(1, 7, 3\) with 7 tokens .* 3 x 3 = 9",
    ),
    "no filters": (lambda: patch_filters(nn.Linear(2, 2)), "Linear has neither patch_embed.proj nor conv_proj"),
    "too many": (
        lambda: patch_filters(model_of(config=NO_TOKEN)),
        "n 28 must be between 1 and 4: 12 filters of 4 numbers",
    ),
    "none": (lambda: patch_filters(model_of(), 0), "n 0 must be between 1 and 23: 24 filters of 192 numbers"),
    "more shares": (lambda: patch_filter_variance(model_of(), 24), "n 24 must be between 1 and 23"),
    "class": (lambda: gradient_rollout(model_of(), images_of(), 5), r"classes 5 must all be between 0 and 4"),
    "class below 0": (lambda: gradient_rollout(model_of(), images_of(), [0, -1, 1]), r"classes \[0, -1, 1\] must"),
    "too few": (
        lambda: gradient_rollout(model_of(), images_of(), [0, 1]),
        r"classes \(2,\) of torch.int64 .* or 3: one an image",
    ),
    "one-hot": (lambda: gradient_rollout(model_of(), images_of(), torch.eye(3)), r"classes \(3, 3\) of torch.float32"),
    "no classes": (
        lambda: gradient_rollout(model_of(config=replace(CONFIG, num_classes=0)), images_of()),
        "the VisionTransformer gives features, not the logits of classes",
    ),
    "no classes in timm": (
        lambda: gradient_rollout(headless("timm"), images_of()),
        "the VisionTransformer gives features, not the logits of classes",
    ),
    "no tensor": (lambda: gradient_rollout(Dictionary(model_of()), images_of()), "gives a dict, and logits"),
    "float64": (
        lambda: attention_maps(model_of(dtype=torch.float32), images_of()),
        r"images are torch.float64, the model is torch.float32: give it images.to\(torch.float32\)",
    ),
    "bytes": (
        lambda: gradient_rollout(model_of(), images_of().byte()),
        "images are torch.uint8, the weights torch.float64",
    ),
    "array": (lambda: attention_rollout(MAPS.numpy()), "maps are a ndarray, and not a tensor .* torch.from_numpy"),
    "arrays": (lambda: attention_rollout([MAPS.numpy()[:, 0]]), "maps are a list, and not .* list of tensors"),
    "one image": (lambda: attention_rollout(MAPS[0, 0]), r"maps \(2, 7, 7\) must be \(B, L, H, N, N\)"),
    "list of one image": (
        lambda: attention_rollout([MAPS[0, 0]]),
        r"a map \(2, 7, 7\) beside the first, \(2, 7, 7\), must be \(B, H, N, N\)",
    ),
    "list of numbers": (lambda: attention_rollout([torch.ones(())]), r"a map \(\) beside the first"),
    "distance of an array": (lambda: mean_attention_distance(MAPS.numpy(), (2, 3), 4), "maps are a ndarray"),
    "cls of an array": (lambda: cls_attention(MAPS.numpy(), (2, 3)), "maps are a ndarray, not one tensor.*from_numpy"),
    "grid of nothing": (lambda: cls_attention(MAPS, None), "grid_size None must be two"),
    "no logits": (
        lambda: gradient_rollout(MultiHeadSelfAttention(4, 2), torch.ones(1, 3, 4)),
        r"gives \(1, 3, 4\), and logits \(B, K\)",
    ),
}


def headless(library):
    model = model_of(library)
    model.reset_classifier(0)
    return model


class Dictionary(nn.Module):
    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, images):
        return {"logits": self.model(images)}


def test_a_grid_may_be_of_any_make():
    expected = cls_attention(MAPS, (2, 3))
    for grid in ([2, 3], torch.Size([2, 3]), np.array([2, 3]), tuple(np.array([2, 3])), torch.tensor([2, 3])):
        close(cls_attention(MAPS, grid), expected, 0)
    square = torch.eye(10).expand(1, 1, 1, 10, 10)
    close(cls_attention(square, np.int64(3)), cls_attention(square, 3), 0)


@pytest.mark.parametrize(("call", "message"), ERRORS.values(), ids=ERRORS)
def test_errors(call, message):
    with pytest.raises(ValueError, match=message) as error:
        call()
    assert "\n" not in str(error.value)


# Mutants: the modules' source with one change, and the check that refuses it

CHECKS = {
    "recorded": lambda lib: [check_recorded(lib, library) for library in LIBRARIES],
    "training": lambda lib: [check_training(lib, library) for library in LIBRARIES],
    "multihead": check_multihead,
    "left": lambda lib: [check_nothing_is_left(lib, library) for library in LIBRARIES],
    "order": lambda lib: [check_any_order_of_closing(lib, library) for library in LIBRARIES],
    "threads": lambda lib: [check_threads(lib, library) for library in LIBRARIES],
    "copies": lambda lib: [check_copies(lib, library) for library in LIBRARIES],
    "silent": check_never_silent,
    "compiled": check_compiled,
    "maps": check_attention_maps,
    "cls": check_cls_attention,
    "patch": check_patch_attention,
    "rollout": check_rollout,
    "ties": check_rollout_of_equal_numbers,
    "bfloat16": check_rollout_in_bfloat16,
    "gradient": check_gradient_rollout,
    "distance": check_distance,
    "similarity": check_similarity,
    "filters": check_filters,
}
MIXED = "mixed = mixed / mixed.sum(dim=-1, keepdim=True)"
SMALL = "small = fused < smallest_kept[:, None, None]"
FAR = "far = (weights * distances.to(weights)).sum(dim=-1) / total"
MEAN = "found.append(far.where(looks, 0.0).sum(dim=(0, 2)) / looks.sum(dim=(0, 2)))"
MUTANTS = {  # name: (check, source, what stands there instead)
    "timm: after the dropout": (
        "training",
        "        _hand_over(layer, weights)\n        return type(dropout).forward(dropout, weights)",
        "        weights = type(dropout).forward(dropout, weights)\n        _hand_over(layer, weights)\n        return weights",
    ),
    "timm: no dropout": ("training", "return type(dropout).forward(dropout, weights)", "return weights"),
    "timm: left fused": ("recorded", "        return False\n", "        return self.made == (bool, (True,))\n"),
    "timm: fused afterwards or not": (
        "left",
        '_replaced(layer, "fused_attn", _StandIn(None, bool, layer.fused_attn)),',
        'setattr(layer, "fused_attn", False) or nullcontext(),',
    ),
    "multihead: after the dropout": (
        "training",
        "    _hand_over(layer, weights)\n    weights = F.dropout(weights, layer.dropout, layer.training)",
        "    weights = F.dropout(weights, layer.dropout, layer.training)\n    _hand_over(layer, weights)",
    ),
    "multihead: no dropout": ("training", "F.dropout(weights, layer.dropout, layer.training)", "weights"),
    "multihead: dropout in evaluation": ("training", "layer.dropout, layer.training)", "layer.dropout, True)"),
    "multihead: packed by head": ("recorded", "B N (three H d) ->", "B N (H three d) ->"),
    "multihead: heads inside": ("recorded", "B N (three H d) ->", "B N (three d H) ->"),
    "multihead: k before q": ("recorded", "attention_weights(q, k)", "attention_weights(k, q)"),
    "multihead: not scaled": ("recorded", "attention_weights(q, k)", "(q @ k.mT).softmax(-1)"),
    "multihead: batch second": ("multihead", "query if layer.batch_first else query.transpose(0, 1)", "query"),
    "multihead: answer batch first": ("multihead", "output if layer.batch_first else output.transpose(0, 1)", "output"),
    "multihead: always weights": ("multihead", "if not need_weights:", "if False:"),
    "multihead: always the mean": ("multihead", "if average_attn_weights else weights", ""),
    "multihead: never the mean": ("multihead", "weights.mean(dim=1) if average_attn_weights else weights", "weights"),
    "fast path stays off": ("left", "set_fastpath_enabled(fast)", "set_fastpath_enabled(False)"),
    "not put back after an error": (
        "left",
        "    try:\n        _open(mine)\n        yield\n    finally:\n        _close(mine)\n",
        "    _open(mine)\n    yield\n    _close(mine)\n",
    ),
    "always deleted": ("left", "if had:", "if False:"),
    "always put back": ("left", "if had:", "if True:"),
    "all recordings get all": (
        "left",
        "        listening[-1].take(weights)\n",
        "        [each.take(weights) for each in listening]\n",
    ),
    "silence is no error": ("silent", "if silent:", "if False:"),
    "nothing is no error": ("silent", "if not mine.taken:", "if False:"),
    "heard by the innermost only": ("silent", "for each in listening:", "for each in listening[-1:]:"),
    "the outermost stays open": ("left", "if each is not mine)", "if each is not mine or each is _recordings[0])"),
    "the first to close ends all": (
        "order",
        "for each in _recordings for what in each.taps}",
        "for each in () for what in each.taps}",
    ),
    "the last to open is closed first": (
        "order",
        "tuple(each for each in _recordings if each is not mine)",
        "_recordings[:-1]",
    ),
    "tapped twice": ("order", "            if what not in _tapped:\n", "            if True:\n"),
    "forgotten is for ever": (
        "order",
        "    finally:\n        _close(mine)\n",
        "    except Exception:\n        _close(mine)\n        raise\n    else:\n        _close(mine)\n",
    ),
    "other threads' too": ("threads", " and each.thread == threading.get_ident()", ""),
    "of the thread whatever the layer": ("silent", "if layer in each.taps and each.thread", "if each.thread"),
    "copies are recorded": ("copies", "_StandIn(partial(_hand_over, layer), type(None))", "partial(_hand_over, layer)"),
    "copies of timm's are not fused": ("copies", "_StandIn(None, bool, layer.fused_attn)", "_StandIn(None, bool, 0)"),
    "copies of timm's share a dropout": ("copies", '_StandIn(forward, getattr, dropout, "forward")', "forward"),
    "copies of multihead are recorded": (
        "copies",
        '_StandIn(partial(_multihead_forward, layer), getattr, layer, "forward")',
        "partial(_multihead_forward, layer)",
    ),
    "compiled code runs": ("compiled", '"force_eager"', '"default"'),
    "not in evaluation mode": ("maps", "    model.eval()\n", ""),
    "trains afterwards": ("maps", "            part.training = mode\n", "            part.training = True\n"),
    "evaluates afterwards": ("maps", "            part.training = mode\n", "            pass\n"),
    "layers reversed": ("maps", "maps[:, done] = weights", "maps[:, -1 - done] = weights"),
    "with gradients": ("maps", "@torch.no_grad()\ndef attention_maps", "def attention_maps"),
    "cls: column": ("cls", "maps[..., 0, prefix:]", "maps[..., prefix:, 0]"),
    "cls: registers are patches": ("cls", "maps[..., 0, prefix:]", "maps[..., 0, 1 : 1 + math.prod(grid)]"),
    "cls: second token": ("cls", "maps[..., 0, prefix:]", "maps[..., 1, prefix:]"),
    "cls: grid turned": (
        "cls",
        "prefix:].unflatten(-1, grid)  # (..., gh·gw) ->",
        "prefix:].unflatten(-1, grid[::-1]).mT  # ->",
    ),
    "patch: queries are keys": (
        "patch",
        "maps[..., prefix:, prefix:].unflatten",
        "maps[..., prefix:, prefix:].mT.unflatten",
    ),
    "patch: last tokens dropped": (
        "patch",
        "maps[..., prefix:, prefix:].unflatten",
        "maps[..., : maps.shape[-1] - prefix, : maps.shape[-1] - prefix].unflatten",
    ),
    "patch: a copy": (
        "patch",
        "maps[..., prefix:, prefix:].unflatten",
        "maps[..., prefix:, prefix:].clone().unflatten",
    ),
    "rollout: no identity": ("rollout", " + torch.eye(fused.shape[-1]).to(fused)", ""),
    "rollout: identity twice": ("rollout", " + torch.eye(fused", " + 2 * torch.eye(fused"),
    "rollout: identity before the discard": (
        "rollout",
        "_without_smallest(fused, discard_ratio) + torch.eye(fused.shape[-1]).to(fused)",
        "_without_smallest(fused + torch.eye(fused.shape[-1]).to(fused), discard_ratio)",
    ),
    "rollout: not normalised": ("rollout", MIXED, "mixed = mixed / 2"),
    "rollout: no keepdim": ("rollout", MIXED, "mixed = mixed / mixed.sum(dim=-1)[:, None, :]"),
    "rollout: columns": ("rollout", MIXED, MIXED.replace("-1", "-2")),
    "rollout: normalised first": ("rollout", MIXED, "mixed = mixed / (1 + fused.sum(dim=-1, keepdim=True))"),
    "rollout: first layer leftmost": ("rollout", "else mixed @ result", "else result @ mixed"),
    "rollout: transposed": ("rollout", "else mixed @ result", "else mixed.mT @ result"),
    "rollout: last layer only": ("rollout", "mixed if result is None else mixed @ result", "mixed"),
    "rollout: one image for all": (
        "rollout",
        "    return result\n\n\ndef _without",
        "    return result[:1].expand_as(result)\n\n\ndef _without",
    ),
    "rollout: max is min": ("rollout", '"max": torch.amax', '"max": torch.amin'),
    "rollout: min is mean": ("rollout", '"min": torch.amin', '"min": torch.mean'),
    "rollout: mean is the sum": ("rollout", '"mean": torch.mean', '"mean": torch.sum'),
    "rollout: mean is the median": (
        "rollout",
        '"mean": torch.mean',
        '"mean": lambda maps, dim: maps.median(dim).values',
    ),
    "discard: nothing": ("rollout", "    if count == 0:", "    if True:"),
    "discard: one more": ("rollout", "kthvalue(count + 1", "kthvalue(count + 2"),
    "discard: one fewer": ("rollout", "kthvalue(count + 1", "kthvalue(count"),
    "discard: rounded up": ("rollout", "int(share * fused.shape[-1] ** 2)", "math.ceil(share * fused.shape[-1] ** 2)"),
    "discard: the largest": ("rollout", SMALL, SMALL.replace("<", ">")),
    "discard: ties go": (
        "ties",
        SMALL,
        "small = fused <= fused.flatten(1).kthvalue(count, dim=1).values[:, None, None]",
    ),
    "discard: first image decides": ("rollout", SMALL, SMALL.replace("[:,", "[:1,")),
    "discard: first image only": ("rollout", SMALL, SMALL + "\n    small[1:] = False"),
    "discard: row by row": (
        "rollout",
        SMALL,
        "small = fused < fused.sort(dim=-1).values[..., [int(share * fused.shape[-1])]]",
    ),
    "discard: [0, 0] too": ("rollout", "    small[:, 0, 0] = False\n", ""),
    "discard: never the class column": ("rollout", "small[:, 0, 0] = False", "small[:, :, 0] = False"),
    "rollout: in bfloat16": ("bfloat16", "(layer.to(_at_least_float32(layer)), dim=1)", "(layer, dim=1)"),
    "gradient: with what is negative": ("gradient", ".clamp(min=0)", ""),
    "gradient: size": ("gradient", ".clamp(min=0)", ".abs()"),
    "gradient: heads first": (
        "gradient",
        "raises.mean(dim=1) @",
        "(gradient * weights).mean(dim=1).clamp(min=0) @",
    ),
    "gradient: heads' sum": ("gradient", "raises.mean(dim=1)", "raises.sum(dim=1)"),
    "gradient: positive gradients": (
        "gradient",
        "(gradient.to(relevance) * weights",
        "(gradient.to(relevance).clamp(min=0) * -weights",
    ),
    "gradient: no attention": ("gradient", " * weights.to(relevance)).clamp", ").clamp"),
    "gradient: no gradient": ("gradient", "(gradient.to(relevance) * weights.to(relevance))", "weights.to(relevance)"),
    "gradient: layers reversed": ("gradient", "raises.mean(dim=1) @ relevance", "relevance @ raises.mean(dim=1)"),
    "gradient: no sum of layers": ("gradient", "relevance = relevance + raises", "relevance = raises"),
    "gradient: identity each layer": (
        "gradient",
        "relevance = relevance + raises.mean",
        "relevance = raises.mean(dim=1) + raises.mean",
    ),
    "gradient: always the best class": ("gradient", "_class_of_each(logits, classes)", "_class_of_each(logits, None)"),
    "gradient: class of the first": (
        "gradient",
        "gather(1, which[:, None])",
        "gather(1, which[:1].expand(len(logits))[:, None])",
    ),
    "gradient: of the probability": ("gradient", "score = logits.gather", "score = logits.softmax(-1).gather"),
    "gradient: mean of the images": ("gradient", "[:, None]).sum()", "[:, None]).mean()"),
    "gradient: in training mode": (
        "gradient",
        "        evaluating(model, images),\n",
        "",
    ),
    "gradient: into the parameters": (
        "gradient",
        "torch.autograd.grad(score, maps)",
        "torch.autograd.grad(score, maps, retain_graph=True)\n        score.backward()",
    ),
    "gradient: into the images": ("gradient", "images.detach().clone()", "images"),
    "distance: not normalised": ("distance", FAR, FAR.removesuffix(" / total")),
    "distance: columns": ("distance", FAR, "far = (weights * distances.to(weights)).sum(dim=-2) / weights.sum(dim=-2)"),
    "distance: last tokens dropped": (
        "distance",
        "layer[..., prefix:, prefix:].to",
        "layer[..., : layer.shape[-1] - prefix, : layer.shape[-1] - prefix].to",
    ),
    "distance: in patches": ("distance", "dtype=torch.float64) * side", "dtype=torch.float64)"),
    "distance: patch turned": ("distance", "zip(grid, patch, strict=True)", "zip(grid, patch[::-1], strict=True)"),
    "distance: grid turned": ("distance", "zip(grid, patch, strict=True)", "zip(grid[::-1], patch[::-1], strict=True)"),
    "distance: along rows and columns": ("distance", "cdist(middles, middles,", "cdist(middles, middles, p=1,"),
    "distance: squared": ("distance", "distances.to(weights)", "distances.square().to(weights)"),
    "distance: in float32": ("distance", "distances.to(weights)", "distances.float().to(weights)"),
    "distance: the blind count as near": ("distance", "looks = total != 0", "looks = total.isfinite()"),
    "distance: the blind are NaN": ("distance", MEAN, "found.append(far.mean(dim=(0, 2)))"),
    "distance: one image": ("distance", MEAN, "found.append(far.where(looks, 0.0)[0].mean(dim=1))"),
    "distance: weighted by what is left": (
        "distance",
        MEAN,
        "found.append((far.where(looks, 0.0) * total).sum((0, 2)) / total.sum((0, 2)))",
    ),
    "distance: bfloat16": ("distance", "prefix:].to(_at_least_float32(layer))", "prefix:]"),
    "similarity: dot product": (
        "similarity",
        "F.normalize(table.to(_at_least_float32(table)), dim=-1)",
        "table.to(_at_least_float32(table))",
    ),
    "similarity: centred": (
        "similarity",
        "F.normalize(table.to(_at_least_float32(table))",
        "F.normalize(table.to(_at_least_float32(table)) - table.mean()",
    ),
    "similarity: per channel": ("similarity", "table)), dim=-1)", "table)), dim=0)"),
    "similarity: last tokens dropped": ("similarity", "[prefix:]  # (gh·gw, D)", "[: tokens - prefix]  # (gh·gw, D)"),
    "similarity: tiles turned": ("similarity", ".unflatten(1, grid)", ".unflatten(1, grid[::-1]).transpose(1, 2)"),
    "similarity: queries turned": ("similarity", ".unflatten(0, grid)", ".unflatten(0, grid[::-1]).transpose(0, 1)"),
    "similarity: size": ("similarity", ".clamp(-1, 1)", ".abs()"),
    "similarity: with gradient": ("similarity", "pos_embed.detach().reshape", "pos_embed.reshape"),
    "similarity: in bfloat16": ("similarity", "F.normalize(table.to(_at_least_float32(table))", "F.normalize(table"),
    "filters: not centred": ("filters", "filters - filters.mean(dim=0)", "filters"),
    "filters: each centred": ("filters", "filters.mean(dim=0)", "filters.mean(dim=1, keepdim=True)"),
    "filters: any sign": ("filters", " * components.gather(1, first).sign()", ""),
    "filters: first number decides": ("filters", "components.gather(1, first).sign()", "components[:, :1].sign()"),
    "filters: sum decides": ("filters", "components.gather(1, first).sign()", "components.sum(1, keepdim=True).sign()"),
    "filters: largest negative": (
        "filters",
        "components.gather(1, first).sign()",
        "-components.gather(1, first).sign()",
    ),
    "filters: the last bit decides": ("filters", "(1 - 1e-6) * size.amax", "size.amax"),
    "filters: smallest first": ("filters", ".Vh[:n]", ".Vh.flip(0)[:n]"),
    "filters: left side": ("filters", ".Vh[:n]", ".U.T[:n].repeat(1, 99)[:, : weight[0].numel()]"),
    "filters: scaled": (
        "filters",
        "components * components.gather",
        "components * _svd_of_filters(weight, n).S[:n, None] * components.gather",
    ),
    "filters: in float32": ("filters", ".cpu().double()", ".cpu().float()"),
    "filters: P, P, C": (
        "filters",
        ".unflatten(1, weight.shape[1:])",
        ".unflatten(1, weight.permute(0, 2, 3, 1).shape[1:]).permute(0, 3, 1, 2)",
    ),
    "variance: not squared": ("filters", ".S.square()", ".S"),
    "variance: of the first n": ("filters", "(variance / variance.sum())[:n]", "(variance[:n] / variance[:n].sum())"),
}


def load(old="", new=""):
    """The library from its source, with `new` in the one place where `old` stands."""
    sources = [inspect.getsource(module) for module in (taps, interpret)]
    if old:
        assert sum(source.count(old) for source in sources) == 1, old
    made = [ModuleType(module.__name__) for module in (taps, interpret)]
    for module, source in zip(made, sources, strict=True):
        vars(module).update(math=math, nullcontext=nullcontext)
        exec(compile(source.replace(old, new) if old else source, module.__name__, "exec"), vars(module))
    made[1].attention_layers, made[1].recording = made[0].attention_layers, made[0].recording
    return SimpleNamespace(**vars(made[1]), taps=made[0])


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:Guards may run slower on Python 3.13.0")
@pytest.mark.parametrize("name", CHECKS)
@pytest.mark.slow
def test_the_source_as_it_stands_passes(name):
    CHECKS[name](load())


@pytest.mark.parametrize("name", MUTANTS)
@pytest.mark.slow
def test_mutants_are_caught(name):
    check, old, new = MUTANTS[name]
    mutant, fast = load(old, new), torch.backends.mha.get_fastpath_enabled()
    # Other errors would mean that the mutant is no program at all.
    with pytest.raises((AssertionError, ValueError, RuntimeError, pytest.fail.Exception)):
        CHECKS[check](mutant)
    torch.backends.mha.set_fastpath_enabled(fast)


def test_there_are_mutants_of_everything():
    assert len(MUTANTS) >= 100 and {check for check, _, _ in MUTANTS.values()} == set(CHECKS)
