"""What later Vision Transformers put into block and head, each part against the library that published it."""

import pytest
import torch
import torch.nn.functional as F
from libraries import ours, random_images, run_ours, run_ours_fused
from torch import nn

from course_lib.interpret import record_attention
from course_lib.parts import AttentionPool, LayerScale, QuickGELU, SwiGLU
from course_lib.pos_embed import RotaryPositions, resample_pos_embed
from course_lib.vit import MLP, ViTConfig, make_mlp


def filled(module):
    torch.manual_seed(1)
    for parameter in module.parameters():
        nn.init.normal_(parameter, std=0.3)
    return module.double()


def test_activations():
    from transformers.activations import ACT2FN

    x = torch.linspace(-6, 6, 1201, dtype=torch.float64)
    assert (QuickGELU()(x) - ACT2FN["quick_gelu"](x)).abs().max() <= 1e-12
    assert 0.02 < (QuickGELU()(x) - F.gelu(x)).abs().max() < 0.021
    assert torch.equal(MLP(5, 7, activation="gelu_tanh").act(x), F.gelu(x, approximate="tanh"))


def test_swiglu_is_timms():
    from timm.layers import SwiGLUPacked

    mlp, x = filled(SwiGLU(6, 10)), torch.randn(2, 3, 6, dtype=torch.float64)
    theirs = SwiGLUPacked(6, 20).double()
    theirs.load_state_dict(mlp.state_dict())
    assert (mlp(x) - theirs(x)).abs().max() <= 1e-12
    assert isinstance(make_mlp("swiglu", 6, 10), SwiGLU) and isinstance(make_mlp("gelu", 6, 10), MLP)
    assert (SwiGLU(6, 10, drop=1.0)(x.float()) == 0).all()


def test_layer_scale():
    scale = LayerScale(4, 1e-5)
    assert torch.equal(scale.gamma, torch.full((4,), 1e-5))
    scale.gamma.data = torch.tensor([1.0, 2, 3, 4])
    assert torch.equal(scale(torch.ones(2, 3, 4)), torch.tensor([1.0, 2, 3, 4]).expand(2, 3, 4))


def test_attention_pool_is_timms():
    from timm.layers import AttentionPoolLatent

    pool = filled(AttentionPool(12, 3, nn.LayerNorm(12, eps=1e-6), MLP(12, 20)))
    theirs = AttentionPoolLatent(12, num_heads=3, mlp_ratio=20 / 12, norm_layer=nn.LayerNorm).double()
    theirs.load_state_dict(pool.state_dict())
    theirs.norm.eps = 1e-6
    tokens = torch.randn(2, 7, 12, dtype=torch.float64)
    assert (pool(tokens) - theirs(tokens)).abs().max() <= 1e-12
    order = torch.randperm(7)
    assert (pool(tokens[:, order]) - pool(tokens)).abs().max() <= 1e-12  # of a set of tokens


def test_where_the_pooling_looks():
    """As PyTorch's layer says, with which transformers pools; by these weights the values are mixed. It is not recorded."""
    pool, tokens = filled(AttentionPool(12, 3, nn.LayerNorm(12), MLP(12, 20))), torch.randn(2, 7, 12).double()
    theirs = nn.MultiheadAttention(12, 3, batch_first=True).double()
    joined = {
        f"in_proj_{kind}": torch.cat([getattr(pool.q, kind), getattr(pool.kv, kind)]) for kind in ("weight", "bias")
    }
    theirs.load_state_dict(joined | {f"out_proj.{name}": value for name, value in pool.proj.state_dict().items()})
    mixed, expected = theirs(pool.latent.expand(2, -1, -1), tokens, tokens, average_attn_weights=False)
    found = pool.weights(tokens)
    assert found.shape == (2, 3, 1, 7)
    assert (found - expected).abs().max() <= 1e-12
    assert (pool(tokens) - (mixed + pool.mlp(pool.norm(mixed)))[:, 0]).abs().max() <= 1e-12
    with (
        pytest.raises(ValueError, match="0 attention layers .*AttentionPool.weights gives its map"),
        record_attention(pool),
    ):
        pool(tokens)


def test_rotary_positions_are_timms():
    from timm.layers import RotaryEmbeddingDinoV3, apply_rot_embed_cat

    for grid in ((4, 4), (3, 5), (1, 6)):
        theirs = RotaryEmbeddingDinoV3(16, temperature=100.0, feat_shape=list(grid))
        x = torch.randn(2, 3, 2 + grid[0] * grid[1], 16)
        found = RotaryPositions(grid, 16)(x)
        assert torch.equal(found[:, :, :2], x[:, :, :2])  # tokens in front stay
        expected = apply_rot_embed_cat(x[:, :, 2:], theirs.get_embed(list(grid)), half=True)
        assert (found[:, :, 2:] - expected).abs().max() <= 1e-5


def test_rotated_scores_depend_on_the_offset_alone():
    """One query and one key, put at every place: two pairs of places with the same offset have the same score."""
    rope, (gh, gw) = RotaryPositions((3, 5), 8).double(), (3, 5)
    query, key = torch.randn(2, 8, dtype=torch.float64).unbind()
    scores = rope(query.expand(1, 1, 15, 8)) @ rope(key.expand(1, 1, 15, 8)).transpose(-2, -1)  # (1, 1, N, N)
    scores = scores.view(gh, gw, gh, gw)
    assert (scores[0, 0, 1, 2] - scores[1, 2, 2, 4]).abs() <= 1e-6
    assert (scores[0, 0, 1, 2] - scores[0, 0, 2, 1]).abs() > 1e-2
    assert torch.allclose(rope(query.expand(1, 1, 15, 8)).norm(dim=-1), query.norm().expand(15))


SMALL = {"img_size": (12, 20), "patch_size": 4, "embed_dim": 24, "depth": 2, "num_heads": 3, "num_classes": 5}


@pytest.mark.parametrize(
    "changes",
    [{"pos_embed": "rope", "reg_tokens": 2}, {"qk_norm": True, "init_values": 0.3, "global_pool": "map"}],
    ids=str,
)
def test_recording_changes_nothing(changes):
    config = ViTConfig(**SMALL, **changes)
    model, images = ours(config, torch.float64), random_images(config, dtype=torch.float64)
    recorded, fused = run_ours(model, images), run_ours_fused(model, images)
    assert (recorded.logits - fused.logits).abs().max() <= 1e-12
    assert {maps.shape for maps in recorded.attention} == {
        (2, 3, 15 + config.num_prefix_tokens, 15 + config.num_prefix_tokens)
    }


@pytest.mark.parametrize("changes", [{"dist_token": True}, {"fc_norm": True, "global_pool": "avg"}], ids=str)
def test_a_new_head_for_any_of_them(changes):
    model = ours(ViTConfig(**SMALL, **changes))
    before = model.forward_features(random_images(model.config))
    model.reset_classifier(9)
    assert model(random_images(model.config)).shape == (2, 9)
    assert torch.equal(model.forward_features(random_images(model.config)), before)
    model.reset_classifier(0)
    assert model(random_images(model.config)).shape == (2, 24)
    assert (model.head_dist is not None) == ("dist_token" in changes)


def test_fine_tuning_knows_both_heads():
    from course_lib.finetune import layerwise_lr, replace_head, set_trainable

    model = replace_head(ours(ViTConfig(**SMALL, dist_token=True)), 9)
    assert model.head_dist.weight.shape == model.head.weight.shape == (9, 24)
    assert set_trainable(model, "head")[0] == 2 * (24 * 9 + 9)
    rates = layerwise_lr(model, 0.5)
    assert rates["head.weight"] == rates["head_dist.weight"] == 1 and rates["dist_token"] == 0.5**3


@pytest.mark.slow
@pytest.mark.parametrize("changes", [{"activation": "swiglu"}, {"global_pool": "map"}, {"pos_embed": "rope"}], ids=str)
def test_gradients_reach_everything(changes):
    model = ours(ViTConfig(**SMALL, **changes, init_values=0.5, reg_tokens=2, norm_pre=True), torch.float64)
    model(random_images(model.config, dtype=torch.float64)).sin().sum().backward()
    assert all(parameter.grad is not None and parameter.grad.abs().max() > 0 for parameter in model.parameters())


@pytest.mark.slow
@pytest.mark.parametrize(
    "changes", [{"pos_embed": "rope", "reg_tokens": 2}, {"global_pool": "map", "qk_norm": True}], ids=str
)
def test_exported_for_any_batch(changes):
    model = ours(ViTConfig(**SMALL, **changes))
    program = torch.export.export(
        model, (random_images(model.config, batch=3),), dynamic_shapes=({0: torch.export.Dim("batch")},)
    )
    images = random_images(model.config, batch=5)
    with torch.no_grad():
        assert (program.module()(images) - model(images)).abs().max() <= 1e-5


def test_a_grid_that_does_not_fit_is_named():
    table = torch.zeros(1, 11, 4)
    with pytest.raises(
        ValueError, match="10 patches, which is no grid of 3 x 4: check num_prefix_tokens and old_grid_size"
    ):
        resample_pos_embed(table, 4, old_grid_size=(3, 4))
    assert resample_pos_embed(table, (2, 5), old_grid_size=(2, 5)) is table
