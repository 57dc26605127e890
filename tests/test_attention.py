"""The attention blocks agree with PyTorch's everywhere, and keep their promises at the edges."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from nightly import full
from torch import nn

from course_lib.attention import (
    MultiHeadSelfAttention,
    attention_weights,
    merge_heads,
    scaled_dot_product_attention,
    split_heads,
)
from course_lib.interpret.maps import record_attention

TOLERANCE = {torch.float64: 1e-12, torch.float32: 1e-5}
dtypes = pytest.mark.parametrize("dtype", TOLERANCE, ids=str)

# One case: batch, queries, keys, width, value width, and a seed. Sizes differ on purpose.
cases = st.tuples(*(st.integers(1, 6) for _ in range(5)), st.integers(0, 2**31))
many = settings(max_examples=full(200, 50), deadline=None)


def assert_equal(ours, theirs):
    """Every element, absolutely: no share of elements, no tolerance relative to a norm."""
    assert ours.shape == theirs.shape and ours.dtype == theirs.dtype
    assert (ours - theirs).abs().max() <= TOLERANCE[ours.dtype]


def inputs(batch, num_queries, num_keys, width, value_width, seed, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    shapes = ((num_queries, width), (num_keys, width), (num_keys, value_width))
    return [torch.randn(batch, *shape, generator=generator, dtype=dtype) for shape in shapes]


def random_mask(query, key, seed):
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(*query.shape[:-1], key.shape[-2], generator=generator) < 0.5


@dtypes
@pytest.mark.parametrize("shape", [(2, 3, 5, 4, 7), (1, 197, 197, 64, 64), (3, 1, 9, 8, 2)], ids=str)
@pytest.mark.parametrize("masked", [False, True])
def test_equals_pytorch(shape, dtype, masked):
    query, key, value = inputs(*shape, seed=1, dtype=dtype)
    mask = random_mask(query, key, seed=2) if masked else None
    output, _ = scaled_dot_product_attention(query, key, value, mask)
    assert_equal(output, F.scaled_dot_product_attention(query, key, value, attn_mask=mask))


@many
@given(cases)
def test_equals_pytorch_on_any_shape(case):
    query, key, value = inputs(*case)
    mask = random_mask(query, key, seed=case[-1])
    output, weights = scaled_dot_product_attention(query, key, value, mask)
    assert_equal(output, F.scaled_dot_product_attention(query, key, value, attn_mask=mask))
    assert_equal(weights @ value, output)


@many
@given(cases)
def test_rows_sum_to_one_or_are_empty(case):
    query, key, _ = inputs(*case)
    mask = random_mask(query, key, seed=case[-1])
    weights = attention_weights(query, key, mask)
    assert (weights >= 0).all() and (weights[~mask] == 0).all()
    assert_equal(weights.sum(-1), mask.any(-1).to(weights.dtype))


@many
@given(cases)
def test_masking_is_removing(case):
    query, key, value = inputs(*case)
    keep = torch.rand(key.shape[-2], generator=torch.Generator().manual_seed(case[-1])) < 0.5
    masked, _ = scaled_dot_product_attention(query, key, value, keep.expand(query.shape[-2], -1))
    removed, _ = scaled_dot_product_attention(query, key[:, keep], value[:, keep])
    assert_equal(masked, removed)


@many
@given(cases)
def test_permutations(case):
    query, key, value = inputs(*case)
    generator = torch.Generator().manual_seed(case[-1])
    rows, columns = (torch.randperm(x.shape[-2], generator=generator) for x in (query, key))
    output, weights = scaled_dot_product_attention(query, key, value)
    shuffled, shuffled_weights = scaled_dot_product_attention(query[:, rows], key[:, columns], value[:, columns])
    assert_equal(shuffled, output[:, rows])
    assert_equal(shuffled_weights, weights[:, rows][:, :, columns])


@many
@given(cases, st.floats(-50, 50))
def test_a_common_shift_of_the_scores_changes_nothing(case, shift):
    """Adding a vector to all keys adds the same number to all scores of a row."""
    query, key, _ = inputs(*case)
    assert_equal(attention_weights(query, key + shift / 10), attention_weights(query, key))


def test_gradients():
    query, key, value = (x.requires_grad_() for x in inputs(2, 3, 4, 5, 2, seed=3))
    mask = random_mask(query, key, seed=4)
    mask[0, 0] = False  # an empty row must not poison the gradient
    for m in (None, mask):

        def attend(q, k, v, m=m):
            return scaled_dot_product_attention(q, k, v, m)

        assert torch.autograd.gradcheck(attend, (query, key, value), atol=1e-8, rtol=1e-6)
        assert torch.autograd.gradgradcheck(attend, (query, key, value), atol=1e-8, rtol=1e-6)


@dtypes
def test_a_row_that_may_attend_to_nothing_is_zero(dtype):
    query, key, value = (x.requires_grad_() for x in inputs(2, 3, 4, 5, 6, seed=5, dtype=dtype))
    mask = torch.ones(3, 4, dtype=torch.bool)
    mask[1] = False
    output, weights = scaled_dot_product_attention(query, key, value, mask)
    assert (output[:, 1] == 0).all() and (weights[:, 1] == 0).all()
    output.sum().backward()
    assert (query.grad[:, 1] == 0).all() and all(x.grad.isfinite().all() for x in (query, key, value))


@pytest.mark.parametrize(
    ("arguments", "both"),
    [
        ((torch.ones(2, 3), torch.ones(4, 5), torch.ones(4, 6)), ("(2, 3)", "(4, 5)")),
        ((torch.ones(2, 3), torch.ones(4, 3), torch.ones(5, 6)), ("(4, 3)", "(5, 6)")),
        ((torch.ones(2, 3), torch.ones(4, 3), torch.ones(4, 6), torch.ones(4, 2).bool()), ("(4, 2)", "(2, 4)")),
        ((torch.ones(2, 3), torch.ones(4, 3), torch.ones(4, 6), torch.ones(7, 2, 4).bool()), ("(7, 2, 4)", "(2, 4)")),
        ((torch.ones(2, 3), torch.ones(4, 3), torch.ones(4, 6), torch.ones(2, 4)), ("boolean", "torch.float32")),
    ],
)
def test_errors_name_both(arguments, both):
    with pytest.raises(ValueError) as error:
        scaled_dot_product_attention(*arguments)
    assert all(shape in str(error.value) for shape in both)


def test_heads_are_blocks_of_columns():
    x = torch.randn(2, 5, 12)
    heads = split_heads(x, 3)
    assert heads.shape == (2, 3, 5, 4)
    for h in range(3):
        assert torch.equal(heads[:, h], x[..., 4 * h : 4 * (h + 1)])
    assert torch.equal(merge_heads(heads), x)


def pytorch_twin(layer):
    """nn.MultiheadAttention with the weights of one of ours."""
    twin = nn.MultiheadAttention(layer.dim, layer.num_heads, batch_first=True, bias=layer.qkv.bias is not None)
    twin.to(layer.qkv.weight.dtype)
    with torch.no_grad():
        twin.in_proj_weight.copy_(layer.qkv.weight)
        twin.out_proj.weight.copy_(layer.proj.weight)
        if layer.qkv.bias is not None:
            twin.in_proj_bias.copy_(layer.qkv.bias)
            twin.out_proj.bias.copy_(layer.proj.bias)
        else:
            layer.proj.bias.zero_()
    return twin


@dtypes
@pytest.mark.parametrize(("dim", "num_heads"), [(12, 3), (20, 4), (7, 1), (768, 12)])
@pytest.mark.parametrize("qkv_bias", [True, False])
def test_multi_head_equals_pytorch(dim, num_heads, qkv_bias, dtype):
    torch.manual_seed(6)
    layer = MultiHeadSelfAttention(dim, num_heads, qkv_bias=qkv_bias).to(dtype)
    for parameter in layer.parameters():
        nn.init.normal_(parameter, std=dim**-0.5)  # biases too: zeros would hide their absence
    x = torch.randn(2, 9, dim, dtype=dtype)
    theirs, their_weights = pytorch_twin(layer)(x, x, x, average_attn_weights=False)
    assert_equal(layer(x), theirs)
    with record_attention(layer) as maps:
        assert_equal(layer(x), theirs)
    assert len(maps) == 1
    assert_equal(maps[0], their_weights)


def test_one_head_is_plain_attention():
    torch.manual_seed(7)
    layer = MultiHeadSelfAttention(6, 1).double()
    x = torch.randn(2, 5, 6, dtype=torch.float64)
    q, k, v = layer.qkv(x).chunk(3, dim=-1)
    assert_equal(layer(x), layer.proj(scaled_dot_product_attention(q, k, v)[0]))


@pytest.mark.parametrize("recorded", [False, True])
def test_attention_dropout_drops_only_in_training(recorded):
    torch.manual_seed(8)
    layer = MultiHeadSelfAttention(8, 2, attn_drop=0.5, proj_drop=0.5)
    x = torch.randn(2, 5, 8)

    def run():
        if not recorded:
            return layer(x)
        with record_attention(layer):
            return layer(x)

    assert not torch.equal(run(), run())
    layer.eval()
    assert torch.equal(run(), run())


def test_attention_dropout_acts_on_the_weights():
    """With everything dropped nothing but the output bias is left, on both paths."""
    layer = MultiHeadSelfAttention(8, 2, attn_drop=1.0)
    x = torch.randn(2, 5, 8)
    expected = layer.proj.bias.expand(2, 5, 8)
    assert_equal(layer(x), expected)
    with record_attention(layer):
        assert_equal(layer(x), expected)


def test_output_dropout_acts_on_the_output():
    assert (MultiHeadSelfAttention(8, 2, proj_drop=1.0)(torch.randn(2, 5, 8)) == 0).all()


def test_masking_holds_for_huge_scores():
    query, key, value = inputs(2, 3, 4, 5, 6, seed=9)
    mask = random_mask(query, key, seed=10)
    ours, _ = scaled_dot_product_attention(1e12 * query, key, value, mask)
    assert_equal(ours, F.scaled_dot_product_attention(1e12 * query, key, value, attn_mask=mask))


def test_recording_in_float16_does_not_overflow():
    layer = MultiHeadSelfAttention(64, 1).half()
    with torch.no_grad():
        layer.qkv.weight.copy_(torch.eye(64).repeat(3, 1))
    x = torch.full(
        (1, 3, 64), 60.0, dtype=torch.float16
    )  # unscaled scores: 64 * 60² = 230,400; the largest half is 65,504
    with record_attention(layer) as maps:
        assert layer(x).isfinite().all() and maps[0].isfinite().all()


def test_every_layer_is_recorded_in_order_and_with_gradients():
    model = nn.Sequential(MultiHeadSelfAttention(8, 2), MultiHeadSelfAttention(8, 4))
    with record_attention(model) as outer, record_attention(model[1]) as inner:
        model(torch.randn(1, 3, 8))
    assert [m.shape[1] for m in outer] == [2] and [m.shape[1] for m in inner] == [4]
    with record_attention(model) as maps:
        model(torch.randn(1, 3, 8))
    assert [m.shape[1] for m in maps] == [2, 4] and all(m.requires_grad for m in maps)


def test_defaults():
    layer = MultiHeadSelfAttention(16)
    assert layer.num_heads == 8 and layer.qkv.bias is not None


def test_recording_leaves_nothing_behind():
    layer = MultiHeadSelfAttention(8, 2)
    x = torch.randn(1, 3, 8)
    with pytest.raises(KeyError), record_attention(layer) as maps:
        layer(x)
        raise KeyError
    layer(x)
    assert len(maps) == 1 and layer.recorder is None


def test_recording_never_comes_back_empty():
    with pytest.raises(ValueError, match="0 attention maps"), record_attention(MultiHeadSelfAttention(8, 2)):
        pass
    with pytest.raises(ValueError, match="Linear contains 0"), record_attention(nn.Linear(2, 2)):
        pass


@pytest.mark.parametrize(("dim", "num_heads"), [(10, 3), (8, 0), (8, -2), (8, 2.0)])
def test_head_count_must_divide_the_width(dim, num_heads):
    with pytest.raises(ValueError, match=f"dim {dim} .* {num_heads} heads"):
        MultiHeadSelfAttention(dim, num_heads)
    with pytest.raises(ValueError, match=f"dim {dim} .* {num_heads} heads"):
        split_heads(torch.ones(2, 3, dim), num_heads)


@pytest.mark.parametrize("shape", [(5, 8), (2, 5, 7), (1, 2, 5, 8)])
def test_multi_head_rejects_other_shapes(shape):
    with pytest.raises(ValueError, match=r"must be \(B, N, 8\)"):
        MultiHeadSelfAttention(8, 2)(torch.ones(shape))
