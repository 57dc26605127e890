"""The exercises of chapter 03, the Transformer encoder."""

import math  # noqa: F401 (for the edits)

import numpy as np  # noqa: F401 (for the edits)
import torch
import torch.nn.functional as F
from einops import rearrange

from course_lib.checks.edits import edits_of
from course_lib.checks.exercise import Exercise, normal, single


def _layer_norm_probes(generator):
    """Tokens of several sizes: of size 1 with a mean of their own, and so small that epsilon counts; a single one.

    One is all zeros, so that its variance is 0. Those of one probe lie so far from 0 that E[x²] - m² has no digit left.
    """
    draw = normal(generator)

    def probe(x, **more):
        return {"x": x, "weight": 1 + 0.5 * draw(x.shape[-1]), "bias": draw(x.shape[-1]), **more}

    return [
        probe(2 * draw(3, 6) + 1),
        probe(draw(2, 3, 5) + draw(2, 3, 1)),
        probe(draw(4, 4, 4)),
        probe(0.003 * draw(2, 5, 7)),
        probe(draw(3, 2, 8), eps=0.1),
        probe(draw(1, 1, 4)),
        probe(draw(2, 1, 4) * torch.tensor([[[1.0]], [[0.0]]])),
        probe(2 * draw(3, 6) + 1),  # the shape of the first
        probe(draw(2, 5, 6) + 1e7),
        probe(2 * draw(6) + 1),
        single(probe(draw(2, 3, 4, 9))),
    ]


def _layer_norm(x, weight, bias, eps=1e-6):
    return F.layer_norm(x, x.shape[-1:], weight, bias, eps)


def _normalise(x, weight, bias, eps=1e-6):
    mean = x.mean(-1, keepdim=True)
    variance = x.var(-1, correction=0, keepdim=True)
    return (x - mean) / (variance + eps) ** 0.5 * weight + bias


LAYER_NORM = Exercise(
    name="layer_norm",
    chapter="03",
    signature="layer_norm(x, weight, bias, eps=1e-6)",
    task="subtract each token's mean over its features, divide by √(variance + eps), multiply by `weight` and add `bias`: (..., D) -> (..., D).",
    probes=_layer_norm_probes,
    oracle=_layer_norm,
    forbidden=("native_layer_norm", "group_norm", "instance_norm", "rms_norm", "LayerNorm.forward"),
    mistakes=edits_of(
        _normalise,
        """
        you divide the squares by D - 1, as statistics does for a sample: LayerNorm divides by D, .var(-1, correction=0).
            correction=0 ⇒ correction=1
        epsilon stands outside the root: add it to the variance before you take the root.
            (variance + eps) ** 0.5 ⇒ (variance**0.5 + eps)
        you divide by x.std(-1) + eps, and two things are off: std divides by D - 1, and epsilon stands outside the root. Take .var(-1, correction=0), add eps, then the root.
            correction=0 ⇒ correction=1
            (variance + eps) ** 0.5 ⇒ (variance**0.5 + eps)
        you take the root of the standard deviation, which is a root already: add epsilon to the variance, then take the root once.
            variance + eps ⇒ variance**0.5 + eps
        epsilon comes after the division: add it to the variance, under the root.
            (x - mean) / (variance + eps) ** 0.5 ⇒ ((x - mean) / variance**0.5 + eps)
          or
            / (variance + eps) ** 0.5 ⇒ / variance**0.5 + eps
        a power comes before a sum, so the root is that of epsilon alone: put variance + eps into brackets.
            (variance + eps) ** 0.5 ⇒ (variance + eps**0.5)
          or
            (variance + eps) ** 0.5 ⇒ variance + eps**0.5
        `** 1/2` is the first power, halved, since a power comes before a division: the root is ** 0.5.
            (variance + eps) ** 0.5 ⇒ (variance + eps) ** 1 / 2
          or
            (variance + eps) ** 0.5 ⇒ ((variance + eps) ** 1 / 2)
        you subtract epsilon: add it, so that no root of a negative number is taken.
            + eps ⇒ - eps
        epsilon is missing: add `eps` to the variance.
            + eps ⇒
        you divide by x.std(-1), and two things are off: std divides by D - 1, and epsilon is missing. Take .var(-1, correction=0), add eps, then the root.
            correction=0 ⇒ correction=1
            + eps ⇒
        you take epsilon as a lower bound: add it to the variance, whatever that is.
            variance + eps ⇒ variance.clamp(min=eps)
          or
            (variance + eps) ** 0.5 ⇒ (variance**0.5).clamp(min=eps)
        you add up the squares: the variance is their mean, divide by D.
            variance + eps ⇒ x.shape[-1] * variance + eps
        the squares in the variance are those of x itself: subtract the mean before you square.
            x.var(-1, correction=0, keepdim=True) ⇒ x.square().mean(-1, keepdim=True)
        your variance is E[x²] + m², with the squared mean added: average the squares of x - mean, which is exact far from 0 too.
            x.var(-1, correction=0, keepdim=True) ⇒ x.square().mean(-1, keepdim=True) + mean**2
        your variance is E[x²] - m, where the mean is not squared: average the squares of x - mean, which is exact far from 0 too.
            x.var(-1, correction=0, keepdim=True) ⇒ x.square().mean(-1, keepdim=True) - mean
        the mean of the squares minus the squared mean subtracts two numbers that are nearly equal, and far from 0 no digit is left: average the squares of x - mean.
            x.var(-1, correction=0, keepdim=True) ⇒ x.square().mean(-1, keepdim=True) - mean**2
          or
            x.var(-1, correction=0, keepdim=True) ⇒ (x.square().mean(-1, keepdim=True) - mean**2).clamp(min=0)
          or
            x.var(-1, correction=0, keepdim=True) ⇒ x.square().sum(-1, keepdim=True) / x.shape[-1] - mean**2
          or
            x.var(-1, correction=0, keepdim=True) ⇒ (x.square().mean(-1, keepdim=True) - mean**2).abs()
        you square epsilon: add it to the variance as it is.
            + eps ⇒ + eps**2
        epsilon stands in the numerator: add it to the variance, under the root, and nowhere else.
            (x - mean) ⇒ (x - mean + eps)
          or
            (x - mean) / (variance + eps) ⇒ (x - mean + eps) / variance
        F.normalize divides by the length of a token, the root of a sum: divide by √(variance + eps), the root of a mean.
            (x - mean) / (variance + eps) ** 0.5 ⇒ F.normalize(x - mean, dim=-1)
          or
            (x - mean) / (variance + eps) ** 0.5 ⇒ F.normalize(x, dim=-1)
        F.batch_norm takes mean and variance over the batch: LayerNorm takes them within each token, along the last dimension.
            ⇒ return F.batch_norm(x, None, None, weight, bias, training=True, eps=eps)
        you average the distances from the mean: square them first, that is the variance.
            x.var(-1, correction=0, keepdim=True) ⇒ (x - mean).abs().mean(-1, keepdim=True)
          or
            (variance + eps) ** 0.5 ⇒ ((x - mean).abs().mean(-1, keepdim=True) + eps)
        math.sqrt takes one plain number: torch.sqrt, or ** 0.5, takes a whole tensor.
            (variance + eps) ** 0.5 ⇒ math.sqrt(variance + eps)
        np.sqrt leaves PyTorch, and the .detach() that its error proposes would cut the gradient: use torch.sqrt, or ** 0.5.
            (variance + eps) ** 0.5 ⇒ np.sqrt(variance + eps)
        the default of `eps` is far too small: ViT, and this exercise, have 1e-6.
            eps=1e-6 ⇒ eps=0
          or
            eps=1e-6 ⇒ eps=1e-8
          or
            eps=1e-6 ⇒ eps=1e-12
        the default of `eps` is PyTorch's 1e-5: ViT, and this exercise, have 1e-6.
            eps=1e-6 ⇒ eps=1e-5
        you write 1e-6 into the formula: use the `eps` that the caller gives.
            + eps ⇒ + 1e-6
        you write 1e-5 into the formula: use the `eps` that the caller gives, and 1e-6 as its default.
            + eps ⇒ + 1e-5
        you divide by the variance: take its root.
            ** 0.5 ⇒
        you square the root in place of taking it: the exponent is 0.5.
            ** 0.5 ⇒ ** 2
        you multiply by the root: divide by it.
            / (variance ⇒ * (variance
        you do not divide by the spread: divide x - mean by √(variance + eps).
            / (variance + eps) ** 0.5 ⇒
        you add the mean: subtract it, so that each token has mean 0.
            x - mean ⇒ x + mean
        you subtract x from the mean, which turns every sign round: it is x - mean.
            x - mean ⇒ mean - x
        the mean is still in: subtract it before you divide.
            x - mean ⇒ x
        you subtract no mean and divide by the root of the mean square, which is RMSNorm: LayerNorm subtracts the mean first.
            x - mean ⇒ x
            x.var(-1, correction=0, keepdim=True) ⇒ x.square().mean(-1, keepdim=True)
        one mean and one variance for the whole tensor let the tokens and the batch leak into each other: take both along the last dimension.
            mean(-1, keepdim=True) ⇒ mean()
            var(-1, correction=0, keepdim=True) ⇒ var(correction=0)
          or
            mean(-1, keepdim=True) ⇒ mean()
            var(-1, correction=0, keepdim=True) ⇒ var()
        you subtract one mean for the whole tensor: each token has its own, along the last dimension.
            mean(-1, keepdim=True) ⇒ mean()
          or
            mean = x.mean(-1, keepdim=True) ⇒ mean = x.mean()
            x.var(-1, correction=0, keepdim=True) ⇒ (x - mean).square().mean(-1, keepdim=True)
        you divide by one variance for the whole tensor: each token has its own, along the last dimension.
            var(-1, correction=0, keepdim=True) ⇒ var(correction=0)
          or
            var(-1, correction=0, keepdim=True) ⇒ var()
        you normalise over the first dimension, the batch, as BatchNorm does: LayerNorm works along the last one, within a token.
            mean(-1 ⇒ mean(0
            var(-1 ⇒ var(0
        you normalise over the tokens: LayerNorm works along the last dimension, over the features of one token.
            mean(-1 ⇒ mean(-2
            var(-1 ⇒ var(-2
        you count the features' dimension from the front, and there may be any number of dimensions: count from the end, dim=-1.
            mean(-1 ⇒ mean(1
            var(-1 ⇒ var(1
          or
            mean(-1 ⇒ mean(2
            var(-1 ⇒ var(2
        a division comes before a subtraction: put x - mean into brackets.
            (x - mean) / ⇒ x - mean /
          or
            (x - mean) / (variance + eps) ** 0.5 ⇒ (x - mean / (variance + eps) ** 0.5)
        `weight` and `bias` have changed places: multiply by `weight`, then add `bias`.
            * weight + bias ⇒ * bias + weight
        you normalise over tokens and features together: each token has a mean and a variance of its own, dim=-1 alone.
            mean(-1 ⇒ mean((-2, -1)
            var(-1 ⇒ var((-2, -1)
        you divide by the root times `weight`: divide first, then multiply by `weight`.
            * weight ⇒ / weight
        mean and variance lost their last dimension: keep it with keepdim=True.
            mean(-1, keepdim=True) ⇒ mean(-1)
            correction=0, keepdim=True ⇒ correction=0
        the variance lost its last dimension: it needs keepdim=True too.
            correction=0, keepdim=True ⇒ correction=0
        the mean lost its last dimension: it needs keepdim=True too.
            mean(-1, keepdim=True) ⇒ mean(-1)
        `weight` and `bias` are not used: multiply by the one, then add the other.
            * weight + bias ⇒
        `bias` is missing: add it at the end.
            + bias ⇒
        `weight` is missing: multiply by it before you add `bias`.
            * weight ⇒
        you subtract `bias`: add it.
            + bias ⇒ - bias
        you add `weight`: multiply by it, then add `bias`.
            * weight ⇒ + weight
        you multiply by 1 + `weight`: multiply by `weight` itself.
            * weight ⇒ * (1 + weight)
        `weight` and `bias` come before the norm, which takes most of them out again: they come last.
            * weight + bias ⇒
            mean = ⇒ x = x * weight + bias; mean =
        you add `bias` before you multiply, so it is multiplied too: times `weight` first, then plus `bias`.
            + bias ⇒ + bias * weight
        """,
    ),
)


def _mlp_probes(generator):
    """Weights that keep the size; inputs of size 2, where the forms of GELU differ most."""
    draw, probes = normal(generator), []
    for shape, hidden in (
        ((3, 5), 11),
        ((2, 3, 4), 4),  # square weights: a missing transpose raises nothing here
        ((2, 7, 6), 24),
        ((1, 2, 3), 1),
        ((2, 1, 1), 3),
        ((3, 5), 11),  # the shapes of the first
        ((5,), 7),
        ((2, 1, 3, 4), 6),
        ((3, 4, 8), 10),
    ):
        probe = {"x": 2 * draw(*shape)}
        for layer, d_in, d_out in (("fc1", shape[-1], hidden), ("fc2", hidden, shape[-1])):
            probe |= {f"{layer}_weight": draw(d_out, d_in) / d_in**0.5, f"{layer}_bias": 0.5 * draw(d_out)}
        probes.append(probe)
    return [*probes[:-1], single(probes[-1])]


def _mlp(x, fc1_weight, fc1_bias, fc2_weight, fc2_bias):
    h = x @ fc1_weight.T + fc1_bias
    h = F.gelu(h)
    return h @ fc2_weight.T + fc2_bias


MLP = Exercise(
    name="mlp",
    chapter="03",
    signature="mlp(x, fc1_weight, fc1_bias, fc2_weight, fc2_bias)",
    task="compute x @ fc1_weightᵀ + fc1_bias, then GELU in its erf form, then @ fc2_weightᵀ + fc2_bias: (..., D) -> (..., D).",
    probes=_mlp_probes,
    oracle=_mlp,
    mistakes=edits_of(
        _mlp,
        """
        that is ReLU: the Vision Transformer has GELU between the layers.
            F.gelu ⇒ torch.relu
        that is GELU's tanh approximation, off by up to 5e-4: use the exact one with torch.erf, or F.gelu as it comes.
            F.gelu(h) ⇒ F.gelu(h, approximate="tanh")
        h·sigmoid(1.702 h) is an approximation that is off by up to 0.02: use the exact GELU with torch.erf, or F.gelu.
            F.gelu(h) ⇒ h * torch.sigmoid(1.702 * h)
        h·sigmoid(h) is SiLU, another activation: use GELU, h·Φ(h).
            F.gelu ⇒ F.silu
        the √2 in erf is missing or not as it should be: Φ(h) is (1 + erf(h/√2)) / 2.
            F.gelu(h) ⇒ 0.5 * h * (1 + torch.erf(h))
          or
            F.gelu(h) ⇒ 0.5 * h * (1 + torch.erf(h / 2))
          or
            F.gelu(h) ⇒ 0.5 * h * (1 + torch.erf(h * 2**0.5))
        `2 ** 1/2` is 1, so h / 2 ** 1/2 is h/4: the root is 2 ** 0.5, and Φ(h) is (1 + erf(h/√2)) / 2.
            F.gelu(h) ⇒ 0.5 * h * (1 + torch.erf(h / 2**1 / 2))
        the 1 beside erf is missing: Φ(h) is (1 + erf(h/√2)) / 2.
            F.gelu(h) ⇒ 0.5 * h * torch.erf(h / 2**0.5)
        the factor 1/2 is missing: Φ(h) is (1 + erf(h/√2)) / 2.
            F.gelu(h) ⇒ 2 * F.gelu(h)
        you return Φ(h) alone: GELU is h times Φ(h).
            F.gelu(h) ⇒ torch.special.ndtr(h)
        the half is of both, 1 and erf: Φ(h) is 0.5 * (1 + erf(h/√2)), with these brackets.
            F.gelu(h) ⇒ h * (0.5 * 1 + torch.erf(h / 2**0.5))
        it is 1 + erf and not 1 - erf, for Φ(h) grows with h.
            F.gelu(h) ⇒ 0.5 * h * (1 - torch.erf(h / 2**0.5))
        that is another activation function: the Vision Transformer has GELU, h·Φ(h), between the layers.
            F.gelu ⇒ torch.tanh
          or
            F.gelu ⇒ torch.sigmoid
          or
            F.gelu ⇒ F.leaky_relu
          or
            F.gelu ⇒ F.softplus
          or
            F.gelu ⇒ F.elu
          or
            F.gelu ⇒ F.mish
        math.erf takes one plain number: torch.erf takes a whole tensor.
            F.gelu(h) ⇒ 0.5 * h * (1 + math.erf(h / 2**0.5))
        you unpack the shape into a fixed number of sizes, and x may have any number of dimensions: `@` needs none of them.
            h = x @ ⇒ B, N, D = x.shape; h = x @
          or
            h = x @ ⇒ N, D = x.shape; h = x @
        torch.mm takes two dimensions and torch.bmm three, and there may be any number: `@` takes them all.
            x @ fc1_weight.T ⇒ torch.mm(x, fc1_weight.T)
          or
            x @ fc1_weight.T ⇒ torch.bmm(x, fc1_weight.T.expand(len(x), -1, -1))
        `fc1_bias` and `fc2_bias` have changed places: each is as long as what its layer gives.
            + fc1_bias ⇒ + another
            + fc2_bias ⇒ + fc1_bias
            + another ⇒ + fc2_bias
          or
            ⇒ return F.linear(F.gelu(F.linear(x, fc1_weight, fc2_bias)), fc2_weight, fc1_bias)
        GELU comes before the first layer: it stands between the two, after fc1.
            F.gelu(h) ⇒ h
            x @ ⇒ F.gelu(x) @
        there is no activation, so the two layers collapse into one: put GELU between them.
            F.gelu(h) ⇒ h
        GELU comes after the second layer too: it belongs between the two, once.
            h @ fc2_weight.T + fc2_bias ⇒ F.gelu(h @ fc2_weight.T + fc2_bias)
        GELU comes after the second layer and not between: move it to the middle.
            F.gelu(h) ⇒ h
            h @ fc2_weight.T + fc2_bias ⇒ F.gelu(h @ fc2_weight.T + fc2_bias)
        a weight goes in the wrong way round: it is (out, in), as in nn.Linear, so `@` takes weight.T, and F.linear takes it without .T.
            fc1_weight.T ⇒ fc1_weight
            fc2_weight.T ⇒ fc2_weight
          or
            fc1_weight.T ⇒ fc1_weight
          or
            fc2_weight.T ⇒ fc2_weight
        the second layer is missing: multiply by fc2_weight transposed and add `fc2_bias`.
            return h @ fc2_weight.T + fc2_bias ⇒ return h
          or
            h = F.gelu(h) ⇒
            return h @ fc2_weight.T + fc2_bias ⇒ return h
        a new nn.Linear has float32 weights of its own: calculate with the weights that you are given, F.linear does.
            x @ fc1_weight.T + fc1_bias ⇒ torch.nn.Linear(*fc1_weight.T.shape)(x)
          or
            h @ fc2_weight.T + fc2_bias ⇒ torch.nn.Linear(*fc2_weight.T.shape)(h)
        both biases are missing: add one after each product.
            + fc1_bias ⇒
            + fc2_bias ⇒
        `fc1_bias` is missing: add it before GELU.
            + fc1_bias ⇒
        `fc1_bias` comes after GELU: add it before.
            + fc1_bias ⇒
            F.gelu(h) ⇒ F.gelu(h) + fc1_bias
        `fc2_bias` is missing: add it at the end.
            + fc2_bias ⇒
        you add x at the end: the residual belongs to the block, the MLP returns its own contribution alone.
            return h ⇒ return x + h
        """,
    ),
)


def _block_probes(generator):
    """All parameters random, norms included: weights of 1 and biases of 0 would hide which norm was used.

    Their order is none that an answer could go by.
    """
    draw, probes = normal(generator), []
    for (B, N, D), num_heads, hidden, size in (
        ((2, 5, 8), 4, 32, 1.0),
        ((3, 4, 6), 2, 15, 1.0),
        ((1, 7, 12), 3, 20, 1.0),
        ((2, 3, 10), 5, 16, 0.003),  # so small that epsilon counts, in both norms
        ((2, 1, 4), 4, 1, 1.0),
        ((3, 5, 6), 1, 7, 1.0),
        ((2, 5, 8), 4, 32, 1.0),  # the shapes of the first
        ((2, 6, 9), 3, 13, 1.0),
    ):
        params = {}
        for name, d_in, d_out in (
            ("mlp.fc2", hidden, D),
            ("attn.qkv", D, 3 * D),
            ("attn.proj", D, D),
            ("mlp.fc1", D, hidden),
        ):
            params |= {f"{name}.bias": 0.6 * draw(d_out), f"{name}.weight": draw(d_out, d_in) / d_in**0.5}
        params["attn.proj.bias"] *= size
        params["attn.proj.weight"] *= size
        for name in ("norm2", "norm1"):
            params |= {f"{name}.bias": 0.3 * draw(D), f"{name}.weight": 1 + 0.3 * draw(D)}
        probes.append({"x": size * draw(B, N, D), "params": params, "num_heads": num_heads})
    return [*probes[:-1], single(probes[-1])]


def _self_attention(x, params, num_heads):
    qkv = F.linear(x, params["attn.qkv.weight"], params["attn.qkv.bias"])
    q, k, v = rearrange(qkv, "B N (three H d) -> three B H N d", three=3, H=num_heads)
    output = rearrange(F.scaled_dot_product_attention(q, k, v), "B H N d -> B N (H d)")
    return F.linear(output, params["attn.proj.weight"], params["attn.proj.bias"])


def _normed(x, params, name, eps=1e-6):
    return _layer_norm(x, params[f"{name}.weight"], params[f"{name}.bias"], eps)


def _mlp_of(x, params):
    return _mlp(x, *(params[f"mlp.{name}"] for name in ("fc1.weight", "fc1.bias", "fc2.weight", "fc2.bias")))


def _block(x, params, num_heads):
    read = _normed(x, params, "norm1")
    x = x + _self_attention(read, params, num_heads)
    read = _normed(x, params, "norm2")
    return x + _mlp_of(read, params)


ENCODER_BLOCK = Exercise(
    name="encoder_block",
    chapter="03",
    signature="encoder_block(x, params, num_heads)",
    task="compute x + attention(norm1(x)), and with the result x + mlp(norm2(x)), eps 1e-6 in both norms: (B, N, D) -> (B, N, D).",
    probes=_block_probes,
    oracle=_block,
    uses={"layer_norm": _layer_norm, "mlp": _mlp, "self_attention": _self_attention},
    forbidden=("transformer_encoder_layer_fwd", "TransformerEncoderLayer.forward", "EncoderBlock.forward"),
    mistakes=edits_of(
        _block,
        """
        that is post-norm, norm(x + f(x)), as in the original Transformer: ViT normalises what the branch reads, x + f(norm(x)).
            ⇒ x = _normed(x + _self_attention(x, params, num_heads), params, "norm1")
            | return _normed(x + _mlp_of(x, params), params, "norm2")
        nothing is added to the stream: both residuals are missing, write x + attention(...) and x + mlp(...).
            x = x + ⇒ x =
            return x + ⇒ return
        the residual around the attention is missing: add its result to x.
            x = x + ⇒ x =
        the residual around the MLP is missing: add its result to x.
            return x + ⇒ return
        you add to the normalised x: the norm is for the branch alone, the stream goes past it untouched.
            read = _normed(x, params, "norm1") ⇒ read = x = _normed(x, params, "norm1")
            read = _normed(x, params, "norm2") ⇒ read = x = _normed(x, params, "norm2")
        in the first half you add to the normalised x: give norm1(x) a name of its own, x itself stays as it was.
            read = _normed(x, params, "norm1") ⇒ read = x = _normed(x, params, "norm1")
        in the second half you add to the normalised x: give norm2(x) a name of its own, x itself stays as it was.
            return x ⇒ return read
        the names are those of the real weights: norm1.weight, mlp.fc1.weight and so on.
            ⇒ return params["norm1"]
          or
            ⇒ return params["fc1.weight"]
        weight and bias of the norms have changed places: it is layer_norm(x, weight, bias).
            read = _normed(x, params, "norm1") ⇒ read = _layer_norm(x, params["norm1.bias"], params["norm1.weight"])
            read = _normed(x, params, "norm2") ⇒ read = _layer_norm(x, params["norm2.bias"], params["norm2.weight"])
          or
            read = _normed(x, params, "norm1") ⇒ read = _layer_norm(x, params["norm1.bias"], params["norm1.weight"])
          or
            read = _normed(x, params, "norm2") ⇒ read = _layer_norm(x, params["norm2.bias"], params["norm2.weight"])
        you return two things: the block's result is one tensor, x + mlp(norm2(x)).
            return x + ⇒ return x, x +
          or
            return x + ⇒ return x,
          or
            _mlp_of(read, params) ⇒ _mlp_of(read, params), x
          or
            _mlp_of(read, params) ⇒ _mlp_of(read, params), read
        `params` and `num_heads` have changed places: it is self_attention(x, params, num_heads).
            (read, params, num_heads) ⇒ (read, num_heads, params)
        the MLP reads what the attention has read: normalise the new x with norm2 for it.
            _normed(x, params, "norm2") ⇒ read
        norm2 reads what norm1 has made: it reads the new x, to which the attention has been added.
            _normed(x, params, "norm2") ⇒ _normed(read, params, "norm2")
        you subtract the attention: add it to x.
            x = x + ⇒ x = x -
        you multiply where you should add: x + attention(...), then x + mlp(...).
            x = x + ⇒ x = x *
          or
            return x + ⇒ return x *
        x is added twice: x + attention(norm1(x)), once.
            x = x + ⇒ x = x + x +
          or
            return x + ⇒ return first + x +
            x = x + ⇒ first = x
            | x = x +
        your own MLP has another activation function than GELU in its exact form: call `mlp`, or F.gelu as it comes.
            _mlp_of(read, params) ⇒ F.linear(F.relu(F.linear(read, params["mlp.fc1.weight"], params["mlp.fc1.bias"])), params["mlp.fc2.weight"], params["mlp.fc2.bias"])
          or
            _mlp_of(read, params) ⇒ F.linear(F.silu(F.linear(read, params["mlp.fc1.weight"], params["mlp.fc1.bias"])), params["mlp.fc2.weight"], params["mlp.fc2.bias"])
          or
            _mlp_of(read, params) ⇒ F.linear(F.gelu(F.linear(read, params["mlp.fc1.weight"], params["mlp.fc1.bias"]), approximate="tanh"), params["mlp.fc2.weight"], params["mlp.fc2.bias"])
        your own MLP has no activation function, so its two layers collapse into one: call `mlp`, or put GELU between them.
            _mlp_of(read, params) ⇒ F.linear(F.linear(read, params["mlp.fc1.weight"], params["mlp.fc1.bias"]), params["mlp.fc2.weight"], params["mlp.fc2.bias"])
        norm2 reads what the attention returns: it reads the sum, x + attention(norm1(x)).
            x = x + _self_attention(read, params, num_heads) ⇒ attended = _self_attention(read, params, num_heads)
            | x = x + attended
            _normed(x, params, "norm2") ⇒ _normed(attended, params, "norm2")
        a norm has a weight and a bias of its own, norm1.weight and norm1.bias, norm2.weight and norm2.bias: hand them on to layer_norm.
            _normed(x, params, "norm1") ⇒ F.layer_norm(x, x.shape[-1:], eps=1e-6)
            _normed(x, params, "norm2") ⇒ F.layer_norm(x, x.shape[-1:], eps=1e-6)
          or
            _normed(x, params, "norm1") ⇒ F.layer_norm(x, x.shape[-1:], eps=1e-6)
          or
            _normed(x, params, "norm2") ⇒ F.layer_norm(x, x.shape[-1:], eps=1e-6)
        the parameters of the MLP are in another order: it is mlp(x, fc1_weight, fc1_bias, fc2_weight, fc2_bias).
            _mlp_of(read, params) ⇒ _mlp(read, params["mlp.fc2.weight"], params["mlp.fc2.bias"], params["mlp.fc1.weight"], params["mlp.fc1.bias"])
          or
            _mlp_of(read, params) ⇒ _mlp(read, params["mlp.fc1.weight"], params["mlp.fc2.weight"], params["mlp.fc1.bias"], params["mlp.fc2.bias"])
        you normalise the result too: the block ends with the second addition, and a last norm comes after all blocks.
            return x + _mlp_of(read, params) ⇒ return _normed(x + _mlp_of(read, params), params, "norm2")
          or
            return x + _mlp_of(read, params) ⇒ return _normed(x + _mlp_of(read, params), params, "norm1")
        you normalise what the branches return: normalise what they read, f(norm(x)).
            ⇒ x = x + _normed(_self_attention(x, params, num_heads), params, "norm1")
            | return x + _normed(_mlp_of(x, params), params, "norm2")
        norm1 is used twice: the MLP has its own, norm2.
            norm2 ⇒ norm1
        the two norms are swapped: norm1 stands before the attention, norm2 before the MLP.
            norm2 ⇒ another
            norm1 ⇒ norm2
            another ⇒ norm1
        the MLP comes before the attention: mix the tokens first, then work on each.
            ⇒ x = x + _mlp_of(_normed(x, params, "norm2"), params)
            | return x + _self_attention(_normed(x, params, "norm1"), params, num_heads)
        the MLP comes before the attention, each with the other's norm: attention with norm1 first, then the MLP with norm2.
            ⇒ x = x + _mlp_of(_normed(x, params, "norm1"), params)
            | return x + _self_attention(_normed(x, params, "norm2"), params, num_heads)
        both branches read the block's input, so the MLP does not see what attention found: it must read the sum x + attention(norm1(x)).
            _mlp_of(read, params) ⇒ _mlp_of(y, params)
            x = x + ⇒ y = _normed(x, params, "norm2")
            | x = x +
        the second addition starts from the block's input, so attention's contribution drops out of the stream: add the MLP to the x that attention has already been added to.
            x = x + ⇒ y = x +
            x, params, "norm2" ⇒ y, params, "norm2"
        both norms are missing: each branch reads a normalised copy of x.
            _normed(x, params, "norm1") ⇒ x
            _normed(x, params, "norm2") ⇒ x
        the norm before the MLP is missing: it reads norm2(x).
            _normed(x, params, "norm2") ⇒ x
        the norm before the attention is missing: it reads norm1(x).
            _normed(x, params, "norm1") ⇒ x
        you normalise with eps=1e-5, PyTorch's default: ViT has 1e-6 in both norms.
            "norm1" ⇒ "norm1", 1e-5
            "norm2" ⇒ "norm2", 1e-5
          or
            "norm1" ⇒ "norm1", 1e-5
          or
            "norm2" ⇒ "norm2", 1e-5
        you attend with a single head: pass `num_heads` on.
            (read, params, num_heads) ⇒ (read, params, 1)
        the attention is missing: x + attention(norm1(x)) comes first.
            + _self_attention(read, params, num_heads) ⇒
        the MLP is missing: after the attention comes x + mlp(norm2(x)).
            + _mlp_of(read, params) ⇒
        """,
    ),
)

EXERCISES = (LAYER_NORM, MLP, ENCODER_BLOCK)
