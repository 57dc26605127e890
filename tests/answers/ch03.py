"""Answers to the exercises of chapter 03, as readers write them.

RIGHT: implementations other than the chapter's own. Beside the record's known mistakes, which are wrong answers
themselves, SLIPS: the chapter's own solution with something changed, and WRONG: mistakes written in another way; each
with words of the hint that it must get. EQUIVALENT: mutants of the right answers that are right too, and why.
"""

import functools
import math

import torch
import torch.nn.functional as F
from einops import einsum, rearrange, reduce
from torch import nn


def decorated(function):
    def inside(*args, **kwargs):
        return function(*args, **kwargs)

    return inside


# --- layer_norm ----------------------------------------------------------------------------------


def norm_by_moments(x, weight, bias, eps=1e-6):
    mean = x.sum(-1, keepdim=True) / x.shape[-1]
    centred = x - mean
    variance = (centred * centred).sum(-1, keepdim=True) / x.shape[-1]
    return centred * torch.rsqrt(variance + eps) * weight + bias


def norm_by_var_mean(x, weight, bias, eps=1e-6):
    variance, mean = torch.var_mean(x, dim=-1, unbiased=False, keepdim=True)
    return torch.addcmul(bias, (x - mean) / torch.sqrt(variance + eps), weight)


def norm_with_features_in_front(x, weight, bias, eps=1e-6):
    x = x.movedim(-1, 0)
    x = x - x.mean(0)
    x = x / (x.pow(2).mean(0) + eps).sqrt()
    return x.movedim(0, -1) * weight + bias


def layer_norm(x, gamma, beta, eps=1e-6):
    """Its parameters have names of its own, by which the answers below call it."""
    centred = x - reduce(x, "... d -> ... 1", "mean")
    variance = reduce(centred**2, "... d -> ... 1", "mean")
    return gamma * centred / torch.sqrt(variance + eps) + beta


class LayerNorm:
    def __init__(self, eps=1e-6):
        self.eps = eps

    def __call__(self, x, weight, bias, eps=None):
        eps = self.eps if eps is None else eps
        D = x.shape[-1]
        variance = x.var(-1, keepdim=True) * (D - 1) / D
        return weight * (x - x.mean(-1, True)) / (variance + torch.tensor(eps)).sqrt() + bias


class NormLayer(nn.Module):
    def forward(self, x, weight, bias, eps=1e-6):
        mean = x.mean(-1)
        variance = (x - mean[..., None]).square().mean(-1)
        return torch.addcmul(bias, weight, (x - mean[..., None]) * (variance + eps).rsqrt().unsqueeze(-1))


def norm_of_squares(x, weight, bias, eps=1e-6):
    mean = x.mean(-1)
    variance = x.square().mean(-1) - mean**2
    return torch.addcmul(bias, weight, (x - mean[..., None]) * (variance + eps).rsqrt().unsqueeze(-1))


@decorated
def norm_token_by_token(x, weight, bias, eps=1e-6):
    centred = [token - token.mean() for token in x.reshape(-1, x.shape[-1])]
    return torch.stack([c / (c.dot(c) / len(c) + eps) ** 0.5 * weight + bias for c in centred]).view_as(x)


def norm_by_a_function(mean, x, weight, bias, eps=1e-6):
    centred = x - mean(x)
    return centred * (mean(centred * centred) + eps) ** -0.5 * weight + bias


def norm_of_a_constant_spread(x, weight, bias, eps=1e-6):
    mean = x.mean(-1, keepdim=True).detach()
    spread = torch.sqrt(x.var(-1, correction=0, keepdim=True).detach() + eps)
    return (x - mean) / spread * weight + bias


def norm_squeezed(x, weight, bias, eps=1e-6):
    return norm_by_moments(x, weight, bias, eps).squeeze(1)


def norm_with_a_floor(x, weight, bias, eps=1e-6):
    spread = x.std(-1, correction=0, keepdim=True)
    return (x - x.mean(-1, keepdim=True)) / torch.maximum(spread, torch.tensor(eps)) * weight + bias


def norm_by_unit_length(x, weight, bias, eps=1e-6):
    centred = x - x.mean(-1, keepdim=True)
    return centred / torch.sqrt((centred**2).sum(-1, keepdim=True) + eps) * weight + bias


def norm_over_dimension_two(x, weight, bias, eps=1e-6):
    return (x - x.mean(2, keepdim=True)) / torch.sqrt(x.var(2, correction=0, keepdim=True) + eps) * weight + bias


def norm_sample_std_plus_eps(x, weight, bias, eps=1e-6):
    mean = x.mean(dim=-1, keepdim=True)
    std = x.std(dim=-1, keepdim=True)
    return weight * (x - mean) / (std + eps) + bias


def norm_over_the_batch(x, weight, bias, eps=1e-6):
    mean = x.mean(0)
    var = ((x - mean) ** 2).mean(0)
    return (x - mean) / torch.sqrt(var + eps) * weight + bias


# --- mlp -----------------------------------------------------------------------------------------


def mlp_by_einsum(x, fc1_weight, fc1_bias, fc2_weight, fc2_bias):
    h = torch.einsum("...i,oi->...o", x, fc1_weight) + fc1_bias
    h = h * torch.special.ndtr(h)
    return torch.einsum("...i,oi->...o", h, fc2_weight) + fc2_bias


def mlp_with_erfc(x, fc1_weight, fc1_bias, fc2_weight, fc2_bias):
    h = torch.matmul(x, fc1_weight.transpose(0, 1)) + fc1_bias
    h = h * torch.erfc(-h / math.sqrt(2)) / 2
    return torch.matmul(h, fc2_weight.transpose(0, 1)) + fc2_bias


def gelu(h):
    return 0.5 * h * (1.0 + torch.erf(h / torch.sqrt(torch.tensor(2.0))))


def mlp_by_a_helper(x, w1, b1, w2, b2):
    return F.linear(gelu(F.linear(x, w1, b1)), w2, b2)


class Layers(nn.Module):
    """With layers of its own, into which the weights are put for one call."""

    def forward(self, x, w1, b1, w2, b2):
        layers = nn.Sequential(nn.Linear(*w1.T.shape), nn.GELU(), nn.Linear(*w2.T.shape))
        weights = {"0.weight": w1, "0.bias": b1, "2.weight": w2, "2.bias": b2}
        return torch.func.functional_call(layers, weights, x)


@decorated
def mlp_token_by_token(x, w1, b1, w2, b2):
    tokens = x.reshape(-1, x.shape[-1])
    return torch.stack([w2 @ F.gelu(w1 @ token + b1) + b2 for token in tokens]).reshape(x.shape)


def mlp_by_a_function(activation, x, fc1_weight, fc1_bias, fc2_weight, fc2_bias):
    h = activation(einsum(x, fc1_weight, "... i, o i -> ... o") + fc1_bias)
    return einsum(h, fc2_weight, "... i, o i -> ... o") + fc2_bias


def mlp_squeezed(x, fc1_weight, fc1_bias, fc2_weight, fc2_bias):
    return mlp_by_a_helper(x, fc1_weight, fc1_bias, fc2_weight, fc2_bias).squeeze(0)


def mlp_gelu_twice(x, fc1_weight, fc1_bias, fc2_weight, fc2_bias):
    for weight, bias in ((fc1_weight, fc1_bias), (fc2_weight, fc2_bias)):
        x = F.gelu(x @ weight.T + bias)
    return x


# --- encoder_block -------------------------------------------------------------------------------


def _norm(x, params, name, eps=1e-6):
    return F.layer_norm(x, (x.shape[-1],), params[name + ".weight"], params[name + ".bias"], eps)


def _mlp(x, params):
    h = F.gelu(x @ params["mlp.fc1.weight"].T + params["mlp.fc1.bias"])
    return h @ params["mlp.fc2.weight"].T + params["mlp.fc2.bias"]


def block_in_one_piece(x, params, num_heads):
    def norm(x, name):
        return F.layer_norm(x, x.shape[-1:], params[name + ".weight"], params[name + ".bias"], 1e-6)

    def linear(x, name):
        return F.linear(x, params[name + ".weight"], params[name + ".bias"])

    q, k, v = linear(norm(x, "norm1"), "attn.qkv").chunk(3, dim=-1)
    q, k, v = (part.unflatten(-1, (num_heads, -1)).transpose(1, 2) for part in (q, k, v))
    attended = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
    x = x + linear(attended, "attn.proj")
    return x + linear(F.gelu(linear(norm(x, "norm2"), "mlp.fc1")), "mlp.fc2")


def block_by_pytorchs_attention(x, params, num_heads):
    y = _norm(x, params, "norm1").transpose(0, 1)
    attended, _ = F.multi_head_attention_forward(
        *(y, y, y, x.shape[-1], num_heads, params["attn.qkv.weight"], params["attn.qkv.bias"], None, None, False, 0.0),
        out_proj_weight=params["attn.proj.weight"],
        out_proj_bias=params["attn.proj.bias"],
        need_weights=False,
    )
    after_attention = attended.transpose(0, 1) + x
    return torch.add(after_attention, _mlp(_norm(after_attention, params, "norm2"), params))


def mlp(x, w1, b1, w2, b2):
    """Not written yet: answers that call it are judged by themselves."""


def self_attention(x, params, num_heads):
    """The chapter's own."""
    qkv = F.linear(x, params["attn.qkv.weight"], params["attn.qkv.bias"])
    q, k, v = rearrange(qkv, "b n (three h d) -> three b h n d", three=3, h=num_heads)
    output = rearrange(F.scaled_dot_product_attention(q, k, v), "b h n d -> b n (h d)")
    return F.linear(output, params["attn.proj.weight"], params["attn.proj.bias"])


def parts(params, name):
    return {key.removeprefix(name + "."): value for key, value in params.items() if key.startswith(name + ".")}


def block_by_an_unfinished_piece(x, params, num_heads):
    read = layer_norm(x, gamma=params["norm1.weight"], beta=params["norm1.bias"])
    x = x + self_attention(read, params=params, num_heads=num_heads)
    read = layer_norm(x, gamma=params["norm2.weight"], beta=params["norm2.bias"])
    layers = parts(params, "mlp")
    return x + mlp(read, layers["fc1.weight"], b1=layers["fc1.bias"], w2=layers["fc2.weight"], b2=layers["fc2.bias"])


class Block(nn.Module):
    def forward(self, x, params, num_heads):
        for branch in (self.attend, self.think):
            x = x + branch(x, params, num_heads)
        return x

    def attend(self, x, params, num_heads):
        return self_attention(_norm(x, params, "norm1"), params, num_heads)

    def think(self, x, params, _):
        return _mlp(_norm(x, params, "norm2"), params)


@decorated
def block_by_addition(x, params, num_heads):
    attended = torch.add(x, self_attention(_norm(x, params, "norm1"), params, num_heads))
    return torch.add(attended, _mlp(_norm(attended, params, "norm2"), params))


def block_by_a_function(norm, x, params, num_heads):
    first, second = parts(params, "norm1"), parts(params, "norm2")
    x = self_attention(norm(x, first["weight"], first["bias"]), params, num_heads) + x
    return _mlp(norm(x, second["weight"], second["bias"]), params) + x


def block_squeezed(x, params, num_heads):
    return block_in_one_piece(x, params, num_heads).squeeze(1)


def block_post_norm(x, params, num_heads):
    def norm(x, name):
        return F.layer_norm(x, x.shape[-1:], params[name + ".weight"], params[name + ".bias"], 1e-6)

    def linear(x, name):
        return F.linear(x, params[name + ".weight"], params[name + ".bias"])

    q, k, v = linear(x, "attn.qkv").chunk(3, dim=-1)
    q, k, v = (part.unflatten(-1, (num_heads, -1)).transpose(1, 2) for part in (q, k, v))
    attended = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
    x = norm(x + linear(attended, "attn.proj"), "norm1")
    return norm(x + linear(F.gelu(linear(x, "mlp.fc1")), "mlp.fc2"), "norm2")


RIGHT = {
    "layer_norm": (
        norm_by_moments,
        norm_by_var_mean,
        norm_with_features_in_front,
        layer_norm,
        LayerNorm(),
        NormLayer(),
        norm_token_by_token,
        functools.partial(norm_by_a_function, functools.partial(torch.mean, dim=-1, keepdim=True)),
    ),
    "mlp": (
        mlp_by_einsum,
        mlp_with_erfc,
        mlp_by_a_helper,
        Layers(),
        mlp_token_by_token,
        functools.partial(mlp_by_a_function, nn.GELU()),
    ),
    "encoder_block": (
        block_in_one_piece,
        block_by_pytorchs_attention,
        block_by_an_unfinished_piece,
        Block(),
        block_by_addition,
        functools.partial(block_by_a_function, layer_norm),
    ),
}

SLIPS = {
    "layer_norm": """
        is the first power, halved
            (x - mean) / (variance + eps) ** 0.5 ⇒ (x - mean) * (variance + eps) ** -1 / 2
        a root already
            variance + eps ⇒ torch.sqrt(variance) + eps
        comes after the division
            (x - mean) / (variance + eps) ** 0.5 ⇒ ((x - mean) / torch.sqrt(variance) + eps)
        is that of epsilon alone
            (variance + eps) ** 0.5 ⇒ (variance + __import__("math").sqrt(eps))
        with the squared mean added
            x.var(dim=-1, correction=0, keepdim=True) ⇒ mean * mean + (x * x).mean(-1, keepdim=True)
        the mean is not squared
            x.var(dim=-1, correction=0, keepdim=True) ⇒ -mean + (x * x).mean(-1, keepdim=True)
        the distances from the mean
            x.var(dim=-1, correction=0, keepdim=True) ⇒ (mean - x).abs().mean(-1, keepdim=True)
        math.sqrt takes one plain number
            (variance + eps) ** 0.5 ⇒ __import__("math").sqrt(eps + variance)
        np.sqrt leaves PyTorch
            (variance + eps) ** 0.5 ⇒ __import__("numpy").sqrt(eps + variance)
        far too small
            eps=1e-6 ⇒ eps=1e-12
        one mean for the whole tensor
            x.mean(dim=-1, keepdim=True) ⇒ torch.mean(x)
        one variance for the whole tensor
            x.var(dim=-1, correction=0, keepdim=True) ⇒ torch.var(x, correction=0)
        `weight` is missing
            * weight + bias ⇒ + bias
        you subtract `bias`
            + bias ⇒ - bias
        you add `weight`
            * weight + bias ⇒ + (weight + bias)
        by 1 + `weight`
            * weight + bias ⇒ * (weight + 1) + bias
        you add the mean
            x - mean ⇒ mean + x
        you subtract x from the mean
            x - mean ⇒ -x + mean
        come before the norm
            ⇒ x = torch.addcmul(bias, x, weight)
            | return (x - x.mean(-1, keepdim=True)) / torch.sqrt(x.var(-1, correction=0, keepdim=True) + eps)
        mean and variance lost
            mean(dim=-1, keepdim=True) ⇒ mean(dim=-1)
            correction=0, keepdim=True ⇒ correction=0
        the variance lost
            correction=0, keepdim=True ⇒ correction=0
        the mean lost
            mean(dim=-1, keepdim=True) ⇒ mean(dim=-1)
        over the tokens
            mean(dim=-1 ⇒ mean(dim=-2
            var(dim=-1 ⇒ var(dim=-2
        over tokens and features together
            mean(dim=-1 ⇒ mean(dim=(-1, -2)
            var(dim=-1 ⇒ var(dim=(-1, -2)
        F.batch_norm takes
            ⇒ return __import__("torch").nn.functional.batch_norm(x, None, None, weight, bias, True, 0.1, eps)
        F.normalize divides by the length
            (x - mean) / (variance + eps) ** 0.5 ⇒ (x - mean) / (x - mean).norm(dim=-1, keepdim=True).clamp(min=1e-12)
        you square epsilon
            + eps ⇒ + eps * eps
        epsilon stands in the numerator
            x - mean ⇒ x - mean + eps
        a division comes before a subtraction
            (x - mean) / (variance + eps) ** 0.5 ⇒ (x - mean * (variance + eps) ** -0.5)
        """,
    "mlp": """
        h / 2 ** 1/2 is h/4
            2**0.5 ⇒ 2**1 / 2
        the second layer is missing
            return hidden @ fc2_weight.T + fc2_bias ⇒ return hidden
        weights of its own
            hidden @ fc2_weight.T + fc2_bias ⇒ torch.nn.Linear(len(fc1_bias), len(fc2_bias))(hidden)
        tanh approximation
            hidden * 0.5 * (1 + torch.erf(hidden / 2**0.5)) ⇒ hidden * 0.5 * (1 + torch.tanh((2 / torch.pi) ** 0.5 * (hidden + 0.044715 * hidden**3)))
        1.702
            hidden * 0.5 * (1 + torch.erf(hidden / 2**0.5)) ⇒ hidden / (1 + torch.exp(-1.702 * hidden))
        factor 1/2 is missing
            * 0.5 ⇒
        Φ(h) alone
            hidden * 0.5 ⇒ 0.5
        the wrong way round
            fc2_weight.T ⇒ fc2_weight
        the half is of both
            hidden * 0.5 * (1 + ⇒ hidden * (0.5 +
        it is 1 + erf
            (1 + ⇒ (1 -
        another activation function
            hidden * 0.5 * (1 + torch.erf(hidden / 2**0.5)) ⇒ (1 + hidden.exp()).log()
        math.erf takes one plain number
            torch.erf ⇒ __import__("math").erf
        you unpack the shape
            hidden = x @ ⇒ batch, tokens, width = x.shape; hidden = x @
        torch.mm takes two
            x @ fc1_weight.T ⇒ x.mm(fc1_weight.T)
        have changed places
            ⇒ hidden = torch.nn.functional.gelu(torch.nn.functional.linear(x, fc1_weight, fc2_bias))
            | return torch.nn.functional.linear(hidden, fc2_weight, fc1_bias)
        """,
    "encoder_block": """
        your own MLP has another activation
            return x + mlp( ⇒ mlp = lambda x, a, b, c, d: (x @ a.T + b).clamp(min=0) @ c.T + d
            | return x + mlp(
        your own MLP has no activation
            return x + mlp( ⇒ mlp = lambda x, a, b, c, d: (x @ a.T + b) @ c.T + d
            | return x + mlp(
        norm2 reads what the attention returns
            layer_norm(x, params["norm2.weight"] ⇒ layer_norm(self_attention(read, params, num_heads), params["norm2.weight"]
        a norm has a weight and a bias
            layer_norm(x, params["norm2.weight"], params["norm2.bias"]) ⇒ layer_norm(x, 1 + 0 * params["norm2.weight"].detach(), 0 * params["norm2.bias"].detach())
        in another order
            params["mlp.fc1.bias"] ⇒ params["mlp.another"]
            params["mlp.fc2.weight"] ⇒ params["mlp.fc1.bias"]
            params["mlp.another"] ⇒ params["mlp.fc2.weight"]
        you normalise the result too
            return x + mlp( ⇒ y = x + mlp(
            |     read,
            |     params["mlp.fc1.weight"],
            |     params["mlp.fc1.bias"],
            |     params["mlp.fc2.weight"],
            |     params["mlp.fc2.bias"],
            | )
            | return layer_norm(y, params["norm2.weight"], params["norm2.bias"])
            | (
        norms have changed places
            params["norm2.weight"], params["norm2.bias"] ⇒ params["norm2.bias"], params["norm2.weight"]
        you return two things
            return x + mlp( ⇒ return x, mlp(
        `num_heads` have changed places
            read, params, num_heads ⇒ read, num_heads, params
        reads what the attention has read
            read = layer_norm(x, params["norm2.weight"], params["norm2.bias"]) ⇒ x = x
        reads what norm1 has made
            layer_norm(x, params["norm2.weight"] ⇒ layer_norm(read, params["norm2.weight"]
        you multiply where you should add
            x = x + ⇒ x = x *
        x is added twice
            x = x + ⇒ x = 2 * x +
        the names are those of the real weights
            params["norm1.weight"], params["norm1.bias"] ⇒ *params["norm1"]
        with eps=1e-5
            params["norm1.bias"] ⇒ params["norm1.bias"], 1e-5
            params["norm2.bias"] ⇒ params["norm2.bias"], 1e-5
        """,
}

WRONG = {
    "layer_norm": {
        norm_squeezed: "a dimension of size 1 is missing",
        norm_of_a_constant_spread: "it is cut off on the way",
        norm_of_squares: "far from 0 no digit is left",
        norm_with_a_floor: "a lower bound",
        norm_by_unit_length: "you add up the squares",
        norm_over_dimension_two: "the features' dimension from the front",
        norm_sample_std_plus_eps: "two things are off",
        norm_over_the_batch: "as BatchNorm does",
    },
    "mlp": {
        mlp_squeezed: "a dimension of size 1 is missing",
        mlp_gelu_twice: "after the second layer too",
    },
    "encoder_block": {
        block_squeezed: "a dimension of size 1 is missing",
        block_post_norm: "post-norm",
    },
}

EQUIVALENT = {
    "layer_norm": """
        The factors of a product may change places.
            norm_by_var_mean: return torch.addcmul(bias, (x - mean) / torch.sqrt(variance + eps), weight) ⇒ return torch.addcmul(bias, weight, (x - mean) / torch.sqrt(variance + eps))
        """,
    "mlp": "",
    "encoder_block": """
        So may the terms of a sum.
            block_by_pytorchs_attention: return torch.add(after_attention, _mlp(_norm(after_attention, params, 'norm2'), params)) ⇒ return torch.add(_mlp(_norm(after_attention, params, 'norm2'), params), after_attention)
        False is 0.0, as a rate of dropout and as an answer to "add zeros?".
            block_by_pytorchs_attention: attended, _ = F.multi_head_attention_forward(*(y, y, y, x.shape[-1], num_heads, params['attn.qkv.weight'], params['attn.qkv.bias'], None, None, False, 0.0), out_proj_weight=params['attn.proj.weight'], out_proj_bias=params['attn.proj.bias'], need_weights=False) ⇒ attended, _ = F.multi_head_attention_forward(*(y, y, y, x.shape[-1], num_heads, params['attn.qkv.weight'], params['attn.qkv.bias'], None, None, 0.0, False), out_proj_weight=params['attn.proj.weight'], out_proj_bias=params['attn.proj.bias'], need_weights=False)
        The weights that are returned as well are thrown away.
            block_by_pytorchs_attention: attended, _ = F.multi_head_attention_forward(*(y, y, y, x.shape[-1], num_heads, params['attn.qkv.weight'], params['attn.qkv.bias'], None, None, False, 0.0), out_proj_weight=params['attn.proj.weight'], out_proj_bias=params['attn.proj.bias'], need_weights=False) ⇒ attended, _ = F.multi_head_attention_forward(*(y, y, y, x.shape[-1], num_heads, params['attn.qkv.weight'], params['attn.qkv.bias'], None, None, False, 0.0), out_proj_weight=params['attn.proj.weight'], out_proj_bias=params['attn.proj.bias'], need_weights=True)
            block_by_pytorchs_attention: attended, _ = F.multi_head_attention_forward(*(y, y, y, x.shape[-1], num_heads, params['attn.qkv.weight'], params['attn.qkv.bias'], None, None, False, 0.0), out_proj_weight=params['attn.proj.weight'], out_proj_bias=params['attn.proj.bias'], need_weights=False) ⇒ attended, _ = F.multi_head_attention_forward(*(y, y, y, x.shape[-1], num_heads, params['attn.qkv.weight'], params['attn.qkv.bias'], None, None, False, 0.0), out_proj_weight=params['attn.proj.weight'], out_proj_bias=params['attn.proj.bias'])
        """,
}
