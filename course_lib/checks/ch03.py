"""The exercises of chapter 03, the Transformer encoder."""

import torch
import torch.nn.functional as F
from einops import rearrange

from course_lib.checks.exercise import Exercise, Mistake


def _layer_norm_probes(generator):
    """Tokens of several sizes: of size 1 with a mean of their own, and so small that epsilon counts."""

    def normal(*shape):
        return torch.randn(shape, generator=generator, dtype=torch.float64)

    def probe(x, **more):
        return {"x": x, "weight": 1 + 0.5 * normal(x.shape[-1]), "bias": normal(x.shape[-1]), **more}

    probes = [
        probe(2 * normal(3, 6) + 1),
        probe(normal(2, 3, 5) + normal(2, 3, 1)),
        probe(normal(4, 4, 4)),
        probe(0.003 * normal(2, 5, 7)),
        probe(normal(3, 2, 8), eps=0.1),
    ]
    single = probe(normal(2, 3, 4, 9))
    return [*probes, {name: value.float().requires_grad_() for name, value in single.items()}]


def _normalise(x, eps, dim=-1, correction=0):
    variance = x.var(dim, correction=correction, keepdim=True)
    return (x - x.mean(dim, keepdim=True)) / (variance + eps) ** 0.5


def _layer_norm(x, weight, bias, eps=1e-6):
    return F.layer_norm(x, x.shape[-1:], weight, bias, eps)


def _spread(x, keepdim=True):
    return x.var(-1, correction=0, keepdim=keepdim)


LAYER_NORM = Exercise(
    name="layer_norm",
    chapter="03",
    signature="layer_norm(x, weight, bias, eps=1e-6)",
    task="subtract each token's mean over its features, divide by √(variance + eps), multiply by `weight` and add `bias`: (..., D) -> (..., D).",
    probes=_layer_norm_probes,
    oracle=_layer_norm,
    forbidden=("torch.nn.functional.layer_norm", "torch.layer_norm", "torch.nn.LayerNorm.forward"),
    mistakes=(
        Mistake(
            "you divide the squares by D - 1, as statistics does for a sample: LayerNorm divides by D, .var(-1, correction=0).",
            lambda x, weight, bias, eps=1e-6: _normalise(x, eps, correction=1) * weight + bias,
        ),
        Mistake(
            "epsilon stands outside the root: add it to the variance before you take the root.",
            lambda x, weight, bias, eps=1e-6: (
                (x - x.mean(-1, keepdim=True)) / (_spread(x) ** 0.5 + eps) * weight + bias
            ),
        ),
        Mistake(
            "you divide by x.std(-1) + eps, and two things are off: std divides by D - 1, and epsilon stands outside the root. Take .var(-1, correction=0), add eps, then the root.",
            lambda x, weight, bias, eps=1e-6: (
                (x - x.mean(-1, keepdim=True)) / (x.std(-1, keepdim=True) + eps) * weight + bias
            ),
        ),
        Mistake(
            "epsilon is missing: add `eps` to the variance.",
            lambda x, weight, bias, eps=1e-6: _normalise(x, 0.0) * weight + bias,
        ),
        Mistake(
            "the default of `eps` is PyTorch's 1e-5: ViT, and this exercise, have 1e-6.",
            lambda x, weight, bias, eps=1e-5: _normalise(x, eps) * weight + bias,
        ),
        Mistake(
            "you write 1e-6 into the formula: use the `eps` that the caller gives.",
            lambda x, weight, bias, eps=1e-6: _normalise(x, 1e-6) * weight + bias,
        ),
        Mistake(
            "you write 1e-5 into the formula: use the `eps` that the caller gives, and 1e-6 as its default.",
            lambda x, weight, bias, eps=1e-6: _normalise(x, 1e-5) * weight + bias,
        ),
        Mistake(
            "you divide by the variance: take its root.",
            lambda x, weight, bias, eps=1e-6: (x - x.mean(-1, keepdim=True)) / (_spread(x) + eps) * weight + bias,
        ),
        Mistake(
            "the mean is still in: subtract it before you divide.",
            lambda x, weight, bias, eps=1e-6: x / (_spread(x) + eps) ** 0.5 * weight + bias,
        ),
        Mistake(
            "you subtract no mean and divide by the root of the mean square, which is RMSNorm: LayerNorm subtracts the mean first.",
            lambda x, weight, bias, eps=1e-6: x / (x.square().mean(-1, keepdim=True) + eps) ** 0.5 * weight + bias,
        ),
        Mistake(
            "one mean and one variance for the whole tensor let the tokens and the batch leak into each other: take both along the last dimension.",
            lambda x, weight, bias, eps=1e-6: (x - x.mean()) / (x.var(correction=0) + eps) ** 0.5 * weight + bias,
        ),
        Mistake(
            "you normalise over the first dimension, the batch, as BatchNorm does: LayerNorm works along the last one, within a token.",
            lambda x, weight, bias, eps=1e-6: _normalise(x, eps, dim=0) * weight + bias,
        ),
        Mistake(
            "you normalise over the tokens: LayerNorm works along the last dimension, over the features of one token.",
            lambda x, weight, bias, eps=1e-6: _normalise(x, eps, dim=-2) * weight + bias,
        ),
        Mistake(
            "you normalise over dimension 1, which is the features only for a matrix: count from the end, dim=-1.",
            lambda x, weight, bias, eps=1e-6: _normalise(x, eps, dim=1) * weight + bias,
        ),
        Mistake(
            "you normalise over tokens and features together: each token has a mean and a variance of its own, dim=-1 alone.",
            lambda x, weight, bias, eps=1e-6: _normalise(x, eps, dim=(-2, -1)) * weight + bias,
        ),
        Mistake(
            "you divide by the root times `weight`: divide first, then multiply by `weight`.",
            lambda x, weight, bias, eps=1e-6: (_normalise(x, eps) / weight) + bias,
        ),
        Mistake(
            "mean and variance lost their last dimension: keep it with keepdim=True.",
            lambda x, weight, bias, eps=1e-6: (
                (x - x.mean(-1)) / (_spread(x, keepdim=False) + eps) ** 0.5 * weight + bias
            ),
        ),
        Mistake(
            "the variance lost its last dimension: it needs keepdim=True too.",
            lambda x, weight, bias, eps=1e-6: (
                (x - x.mean(-1, keepdim=True)) / (_spread(x, keepdim=False) + eps) ** 0.5 * weight + bias
            ),
        ),
        Mistake(
            "`weight` and `bias` are not used: multiply by the one, then add the other.",
            lambda x, weight, bias, eps=1e-6: _normalise(x, eps),
        ),
        Mistake(
            "`bias` is missing: add it at the end.",
            lambda x, weight, bias, eps=1e-6: _normalise(x, eps) * weight,
        ),
        Mistake(
            "you add `bias` before you multiply, so it is multiplied too: times `weight` first, then plus `bias`.",
            lambda x, weight, bias, eps=1e-6: (_normalise(x, eps) + bias) * weight,
        ),
    ),
)


def _mlp_probes(generator):
    """Weights that keep the size; inputs of size 2, where the forms of GELU differ most."""

    def normal(*shape):
        return torch.randn(shape, generator=generator, dtype=torch.float64)

    def probe(*shape, hidden):
        D = shape[-1]
        return {
            "x": 2 * normal(*shape),
            "fc1_weight": normal(hidden, D) / D**0.5,
            "fc1_bias": 0.5 * normal(hidden),
            "fc2_weight": normal(D, hidden) / hidden**0.5,
            "fc2_bias": 0.5 * normal(D),
        }

    probes = [
        probe(3, 5, hidden=11),
        probe(2, 3, 4, hidden=4),  # square weights: a missing transpose raises nothing here
        probe(2, 7, 6, hidden=24),
    ]
    single = probe(3, 4, 8, hidden=10)
    return [*probes, {name: value.float().requires_grad_() for name, value in single.items()}]


def _mlp(x, fc1_weight, fc1_bias, fc2_weight, fc2_bias):
    return F.linear(F.gelu(F.linear(x, fc1_weight, fc1_bias)), fc2_weight, fc2_bias)


def _mlp_with(activation):
    """The MLP with another activation."""

    def mlp(x, fc1_weight, fc1_bias, fc2_weight, fc2_bias):
        return F.linear(activation(F.linear(x, fc1_weight, fc1_bias)), fc2_weight, fc2_bias)

    return mlp


MLP = Exercise(
    name="mlp",
    chapter="03",
    signature="mlp(x, fc1_weight, fc1_bias, fc2_weight, fc2_bias)",
    task="compute x @ fc1_weightᵀ + fc1_bias, then GELU in its erf form, then @ fc2_weightᵀ + fc2_bias: (..., D) -> (..., D).",
    probes=_mlp_probes,
    oracle=_mlp,
    mistakes=(
        Mistake(
            "that is ReLU: the Vision Transformer has GELU between the layers.",
            _mlp_with(torch.relu),
        ),
        Mistake(
            "that is GELU's tanh approximation, off by up to 5e-4: use the exact one with torch.erf, or F.gelu as it comes.",
            _mlp_with(lambda h: F.gelu(h, approximate="tanh")),
        ),
        Mistake(
            "h·sigmoid(1.702 h) is an approximation that is off by up to 0.02: use the exact GELU with torch.erf, or F.gelu.",
            _mlp_with(lambda h: h * torch.sigmoid(1.702 * h)),
        ),
        Mistake(
            "h·sigmoid(h) is SiLU, another activation: use GELU, h·Φ(h).",
            _mlp_with(F.silu),
        ),
        Mistake(
            "erf(h) without the √2: Φ(h) is (1 + erf(h/√2)) / 2.",
            _mlp_with(lambda h: 0.5 * h * (1 + torch.erf(h))),
        ),
        Mistake(
            "the factor 1/2 is missing: Φ(h) is (1 + erf(h/√2)) / 2.",
            _mlp_with(lambda h: h * (1 + torch.erf(h / 2**0.5))),
        ),
        Mistake(
            "you return Φ(h) alone: GELU is h times Φ(h).",
            _mlp_with(lambda h: 0.5 * (1 + torch.erf(h / 2**0.5))),
        ),
        Mistake(
            "GELU comes before the first layer: it stands between the two, after fc1.",
            lambda x, fc1_weight, fc1_bias, fc2_weight, fc2_bias: F.linear(
                F.linear(F.gelu(x), fc1_weight, fc1_bias), fc2_weight, fc2_bias
            ),
        ),
        Mistake(
            "there is no activation, so the two layers collapse into one: put GELU between them.",
            _mlp_with(lambda h: h),
        ),
        Mistake(
            "GELU comes after the second layer too: it belongs between the two, once.",
            lambda x, fc1_weight, fc1_bias, fc2_weight, fc2_bias: F.gelu(
                _mlp(x, fc1_weight, fc1_bias, fc2_weight, fc2_bias)
            ),
        ),
        Mistake(
            "GELU comes after the second layer and not between: move it to the middle.",
            lambda x, fc1_weight, fc1_bias, fc2_weight, fc2_bias: F.gelu(
                F.linear(F.linear(x, fc1_weight, fc1_bias), fc2_weight, fc2_bias)
            ),
        ),
        Mistake(
            "the weights are not transposed: they are (out, in), as in nn.Linear, so it is x @ weight.T.",
            lambda x, fc1_weight, fc1_bias, fc2_weight, fc2_bias: (
                F.gelu(x @ fc1_weight + fc1_bias) @ fc2_weight + fc2_bias
            ),
        ),
        Mistake(
            "both biases are missing: add one after each product.",
            lambda x, fc1_weight, fc1_bias, fc2_weight, fc2_bias: F.gelu(x @ fc1_weight.T) @ fc2_weight.T,
        ),
        Mistake(
            "`fc1_bias` is missing: add it before GELU.",
            lambda x, fc1_weight, fc1_bias, fc2_weight, fc2_bias: F.gelu(x @ fc1_weight.T) @ fc2_weight.T + fc2_bias,
        ),
        Mistake(
            "`fc1_bias` comes after GELU: add it before.",
            lambda x, fc1_weight, fc1_bias, fc2_weight, fc2_bias: (
                (F.gelu(x @ fc1_weight.T) + fc1_bias) @ fc2_weight.T + fc2_bias
            ),
        ),
        Mistake(
            "`fc2_bias` is missing: add it at the end.",
            lambda x, fc1_weight, fc1_bias, fc2_weight, fc2_bias: F.gelu(x @ fc1_weight.T + fc1_bias) @ fc2_weight.T,
        ),
        Mistake(
            "you add x at the end: the residual belongs to the block, the MLP returns its own contribution alone.",
            lambda x, fc1_weight, fc1_bias, fc2_weight, fc2_bias: (
                x + _mlp(x, fc1_weight, fc1_bias, fc2_weight, fc2_bias)
            ),
        ),
    ),
)


def _block_probes(generator):
    """All parameters random, norms included: weights of 1 and biases of 0 would hide which norm was used."""

    def normal(*shape):
        return torch.randn(shape, generator=generator, dtype=torch.float64)

    def linear(name, d_in, d_out):
        return {f"{name}.weight": normal(d_out, d_in) / d_in**0.5, f"{name}.bias": 0.6 * normal(d_out)}

    def norm(name, dim):
        return {f"{name}.weight": 1 + 0.3 * normal(dim), f"{name}.bias": 0.3 * normal(dim)}

    def probe(B, N, D, num_heads, hidden, size=1.0):
        params = {
            **norm("norm1", D),
            **linear("attn.qkv", D, 3 * D),
            **linear("attn.proj", D, D),
            **norm("norm2", D),
            **linear("mlp.fc1", D, hidden),
            **linear("mlp.fc2", hidden, D),
        }
        return {"x": size * normal(B, N, D), "params": params, "num_heads": num_heads}

    probes = [
        probe(2, 5, 8, num_heads=4, hidden=32),
        probe(3, 4, 6, num_heads=2, hidden=15),
        probe(1, 7, 12, num_heads=3, hidden=20),
        probe(2, 3, 10, num_heads=5, hidden=16, size=0.003),  # so small that epsilon counts
    ]
    single = probe(2, 6, 9, num_heads=3, hidden=13)
    single["params"] = {name: value.float().requires_grad_() for name, value in single["params"].items()}
    return [*probes, {**single, "x": single["x"].float().requires_grad_()}]


def _norm_of(name, eps=1e-6):
    return lambda x, params: _layer_norm(x, params[f"{name}.weight"], params[f"{name}.bias"], eps)


_norm1, _norm2 = _norm_of("norm1"), _norm_of("norm2")


def _self_attention(x, params, num_heads):
    qkv = F.linear(x, params["attn.qkv.weight"], params["attn.qkv.bias"])
    q, k, v = rearrange(qkv, "B N (three H d) -> three B H N d", three=3, H=num_heads)
    output = rearrange(F.scaled_dot_product_attention(q, k, v), "B H N d -> B N (H d)")
    return F.linear(output, params["attn.proj.weight"], params["attn.proj.bias"])


def _mlp_of(x, params):
    return _mlp(x, *(params[f"mlp.{name}"] for name in ("fc1.weight", "fc1.bias", "fc2.weight", "fc2.bias")))


def _block(x, params, num_heads, norm1=_norm1, norm2=_norm2, keep1=1.0, keep2=1.0):
    x = keep1 * x + _self_attention(norm1(x, params), params, num_heads)
    return keep2 * x + _mlp_of(norm2(x, params), params)


def _no_norm(x, params):
    return x


def _post_norm(x, params, num_heads):
    x = _norm1(x + _self_attention(x, params, num_heads), params)
    return _norm2(x + _mlp_of(x, params), params)


def _normalised_residual(x, params, num_heads):
    x = _norm1(x, params)
    x = _norm2(x + _self_attention(x, params, num_heads), params)
    return x + _mlp_of(x, params)


def _norm_of_the_branch(x, params, num_heads):
    x = x + _norm1(_self_attention(x, params, num_heads), params)
    return x + _norm2(_mlp_of(x, params), params)


def _mlp_first(x, params, num_heads, norm_of_mlp=_norm2, norm_of_attention=_norm1):
    x = x + _mlp_of(norm_of_mlp(x, params), params)
    return x + _self_attention(norm_of_attention(x, params), params, num_heads)


def _second_half(x, params, keep_normalised=False):
    """The MLP's half of the block; with keep_normalised its result is added to what the norm made of x."""
    read = _norm2(x, params)
    return (read if keep_normalised else x) + _mlp_of(read, params)


ENCODER_BLOCK = Exercise(
    name="encoder_block",
    chapter="03",
    signature="encoder_block(x, params, num_heads)",
    task="compute x + attention(norm1(x)), and with the result x + mlp(norm2(x)), eps 1e-6 in both norms: (B, N, D) -> (B, N, D).",
    probes=_block_probes,
    oracle=_block,
    uses={"layer_norm": _layer_norm, "mlp": _mlp, "self_attention": _self_attention},
    forbidden=("torch.nn.TransformerEncoderLayer.forward",),
    mistakes=(
        Mistake(
            "that is post-norm, norm(x + f(x)), as in the original Transformer: ViT normalises what the branch reads, x + f(norm(x)).",
            _post_norm,
        ),
        Mistake(
            "nothing is added to the stream: both residuals are missing, write x + attention(...) and x + mlp(...).",
            lambda x, params, num_heads: _block(x, params, num_heads, keep1=0.0, keep2=0.0),
        ),
        Mistake(
            "the residual around the attention is missing: add its result to x.",
            lambda x, params, num_heads: _block(x, params, num_heads, keep1=0.0),
        ),
        Mistake(
            "the residual around the MLP is missing: add its result to x.",
            lambda x, params, num_heads: _block(x, params, num_heads, keep2=0.0),
        ),
        Mistake(
            "you add to the normalised x: the norm is for the branch alone, the stream goes past it untouched.",
            _normalised_residual,
        ),
        Mistake(
            "in the first half you add to the normalised x: give norm1(x) a name of its own, x itself stays as it was.",
            lambda x, params, num_heads: _second_half(
                _norm1(x, params) + _self_attention(_norm1(x, params), params, num_heads), params
            ),
        ),
        Mistake(
            "in the second half you add to the normalised x: give norm2(x) a name of its own, x itself stays as it was.",
            lambda x, params, num_heads: _second_half(
                x + _self_attention(_norm1(x, params), params, num_heads), params, keep_normalised=True
            ),
        ),
        Mistake(
            "the names are those of the real weights: norm1.weight, norm1.bias, norm2.weight and so on.",
            lambda x, params, num_heads: params["norm1"],
        ),
        Mistake(
            "you normalise what the branches return: normalise what they read, f(norm(x)).",
            _norm_of_the_branch,
        ),
        Mistake(
            "norm1 is used twice: the MLP has its own, norm2.",
            lambda x, params, num_heads: _block(x, params, num_heads, norm2=_norm1),
        ),
        Mistake(
            "the two norms are swapped: norm1 stands before the attention, norm2 before the MLP.",
            lambda x, params, num_heads: _block(x, params, num_heads, norm1=_norm2, norm2=_norm1),
        ),
        Mistake(
            "the MLP comes before the attention: mix the tokens first, then work on each.",
            _mlp_first,
        ),
        Mistake(
            "the MLP comes before the attention, each with the other's norm: attention with norm1 first, then the MLP with norm2.",
            lambda x, params, num_heads: _mlp_first(x, params, num_heads, _norm1, _norm2),
        ),
        Mistake(
            "both branches read the block's input, so the MLP does not see what attention found: it must read the sum x + attention(norm1(x)).",
            lambda x, params, num_heads: (
                x + _self_attention(_norm1(x, params), params, num_heads) + _mlp_of(_norm2(x, params), params)
            ),
        ),
        Mistake(
            "the second addition starts from the block's input, so attention's contribution drops out of the stream: add the MLP to the x that attention has already been added to.",
            lambda x, params, num_heads: (
                x + _mlp_of(_norm2(x + _self_attention(_norm1(x, params), params, num_heads), params), params)
            ),
        ),
        Mistake(
            "both norms are missing: each branch reads a normalised copy of x.",
            lambda x, params, num_heads: _block(x, params, num_heads, norm1=_no_norm, norm2=_no_norm),
        ),
        Mistake(
            "the norm before the MLP is missing: it reads norm2(x).",
            lambda x, params, num_heads: _block(x, params, num_heads, norm2=_no_norm),
        ),
        Mistake(
            "the norm before the attention is missing: it reads norm1(x).",
            lambda x, params, num_heads: _block(x, params, num_heads, norm1=_no_norm),
        ),
        Mistake(
            "your norms use eps=1e-5, PyTorch's default: ViT has 1e-6.",
            lambda x, params, num_heads: _block(
                x, params, num_heads, norm1=_norm_of("norm1", 1e-5), norm2=_norm_of("norm2", 1e-5)
            ),
        ),
        Mistake(
            "you attend with a single head: pass `num_heads` on.",
            lambda x, params, num_heads: _block(x, params, 1),
        ),
        Mistake(
            "the MLP is missing: after the attention comes x + mlp(norm2(x)).",
            lambda x, params, num_heads: x + _self_attention(_norm1(x, params), params, num_heads),
        ),
    ),
)

EXERCISES = (LAYER_NORM, MLP, ENCODER_BLOCK)
