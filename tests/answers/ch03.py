"""Answers to the exercises of chapter 03, as readers write them.

RIGHT: implementations other than the chapter's own. Beside the record's known mistakes, which are wrong answers
themselves, SLIPS: the chapter's own solution with something changed, and WRONG: mistakes written in another way; each
with words of the hint that it must get. EQUIVALENT: mutants of the right answers that are right too, and why.
"""

import math

import torch
import torch.nn.functional as F

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
    "layer_norm": (norm_by_moments, norm_by_var_mean, norm_with_features_in_front),
    "mlp": (mlp_by_einsum, mlp_with_erfc),
    "encoder_block": (block_in_one_piece, block_by_pytorchs_attention),
}

SLIPS = {
    "layer_norm": """
        mean and variance lost
            mean(dim=-1, keepdim=True) ⇒ mean(dim=-1)
            correction=0, keepdim=True ⇒ correction=0
        the variance lost
            correction=0, keepdim=True ⇒ correction=0
        the mean lost
            mean(dim=-1, keepdim=True) ⇒ mean(dim=-1)
        """,
    "mlp": """
        tanh approximation
            hidden * 0.5 * (1 + torch.erf(hidden / 2**0.5)) ⇒ hidden * 0.5 * (1 + torch.tanh((2 / torch.pi) ** 0.5 * (hidden + 0.044715 * hidden**3)))
        1.702
            hidden * 0.5 * (1 + torch.erf(hidden / 2**0.5)) ⇒ hidden / (1 + torch.exp(-1.702 * hidden))
        factor 1/2 is missing
            * 0.5 ⇒
        Φ(h) alone
            hidden * 0.5 ⇒ 0.5
        not transposed
            fc2_weight.T ⇒ fc2_weight
        """,
    "encoder_block": """
        the names are those of the real weights
            params["norm1.weight"], params["norm1.bias"] ⇒ *params["norm1"]
        eps=1e-5
            params["norm1.bias"] ⇒ params["norm1.bias"], 1e-5
            params["norm2.bias"] ⇒ params["norm2.bias"], 1e-5
        """,
}

WRONG = {
    "layer_norm": {
        norm_sample_std_plus_eps: "two things are off",
        norm_over_the_batch: "as BatchNorm does",
    },
    "mlp": {mlp_gelu_twice: "after the second layer too"},
    "encoder_block": {block_post_norm: "post-norm"},
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
