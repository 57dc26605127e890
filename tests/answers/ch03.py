"""Answers to the exercises of chapter 03, as readers write them.

RIGHT: implementations other than the chapter's own. WRONG: plausible mistakes, each with words of the
hint that it must get. They are written as a reader would, not as the records imitate them.
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


def norm_with_sample_variance(x, weight, bias, eps=1e-6):
    mean = x.mean(dim=-1, keepdim=True)
    var = x.var(dim=-1, keepdim=True)
    return (x - mean) / torch.sqrt(var + eps) * weight + bias


def norm_eps_outside_the_root(x, weight, bias, eps=1e-6):
    mean = x.mean(dim=-1, keepdim=True)
    std = x.std(dim=-1, keepdim=True, unbiased=False)
    return weight * (x - mean) / (std + eps) + bias


def norm_sample_std_plus_eps(x, weight, bias, eps=1e-6):
    mean = x.mean(dim=-1, keepdim=True)
    std = x.std(dim=-1, keepdim=True)
    return weight * (x - mean) / (std + eps) + bias


def norm_without_eps(x, weight, bias, eps=1e-6):
    mean = x.mean(dim=-1, keepdim=True)
    std = x.std(dim=-1, keepdim=True, unbiased=False)
    return weight * ((x - mean) / std) + bias


def norm_with_eps_of_pytorch(x, weight, bias, eps=1e-5):
    mean = x.mean(dim=-1, keepdim=True)
    var = x.var(dim=-1, keepdim=True, unbiased=False)
    return (x - mean) / torch.sqrt(var + eps) * weight + bias


def norm_with_its_own_eps(x, weight, bias, eps=1e-6):
    mean = x.mean(dim=-1, keepdim=True)
    var = x.var(dim=-1, keepdim=True, unbiased=False)
    return (x - mean) / torch.sqrt(var + 0.000001) * weight + bias


def norm_by_variance(x, weight, bias, eps=1e-6):
    mean = x.mean(dim=-1, keepdim=True)
    var = x.var(dim=-1, keepdim=True, unbiased=False)
    return (x - mean) / (var + eps) * weight + bias


def norm_without_centring(x, weight, bias, eps=1e-6):
    return x / torch.sqrt(x.var(-1, keepdim=True, unbiased=False) + eps) * weight + bias


def norm_rms(x, weight, bias, eps=1e-6):
    return x * torch.rsqrt((x * x).mean(-1, keepdim=True) + eps) * weight + bias


def norm_over_everything(x, weight, bias, eps=1e-6):
    return (x - x.mean()) / torch.sqrt(x.var(unbiased=False) + eps) * weight + bias


def norm_over_the_batch(x, weight, bias, eps=1e-6):
    mean = x.mean(0)
    var = ((x - mean) ** 2).mean(0)
    return (x - mean) / torch.sqrt(var + eps) * weight + bias


def norm_over_the_tokens(x, weight, bias, eps=1e-6):
    mean = x.mean(-2, keepdim=True)
    var = ((x - mean) ** 2).mean(-2, keepdim=True)
    return (x - mean) / torch.sqrt(var + eps) * weight + bias


def norm_without_keepdim(x, weight, bias, eps=1e-6):
    mean = x.mean(dim=-1)
    var = x.var(dim=-1, unbiased=False)
    return (x - mean) / torch.sqrt(var + eps) * weight + bias


def norm_without_keepdim_in_the_variance(x, weight, bias, eps=1e-6):
    mean = x.mean(dim=-1, keepdim=True)
    var = x.var(dim=-1, unbiased=False)
    return (x - mean) / torch.sqrt(var + eps) * weight + bias


def norm_without_weight_and_bias(x, weight, bias, eps=1e-6):
    mean = x.mean(dim=-1, keepdim=True)
    var = ((x - mean) ** 2).mean(dim=-1, keepdim=True)
    return (x - mean) / torch.sqrt(var + eps)


def norm_without_bias(x, weight, bias, eps=1e-6):
    mean = x.mean(dim=-1, keepdim=True)
    var = ((x - mean) ** 2).mean(dim=-1, keepdim=True)
    return weight * (x - mean) / torch.sqrt(var + eps)


def norm_with_bias_first(x, weight, bias, eps=1e-6):
    mean = x.mean(dim=-1, keepdim=True)
    var = ((x - mean) ** 2).mean(dim=-1, keepdim=True)
    return weight * ((x - mean) / torch.sqrt(var + eps) + bias)


# --- mlp -----------------------------------------------------------------------------------------


def mlp_by_einsum(x, fc1_weight, fc1_bias, fc2_weight, fc2_bias):
    h = torch.einsum("...i,oi->...o", x, fc1_weight) + fc1_bias
    h = h * torch.special.ndtr(h)
    return torch.einsum("...i,oi->...o", h, fc2_weight) + fc2_bias


def mlp_with_erfc(x, fc1_weight, fc1_bias, fc2_weight, fc2_bias):
    h = torch.matmul(x, fc1_weight.transpose(0, 1)) + fc1_bias
    h = h * torch.erfc(-h / math.sqrt(2)) / 2
    return torch.matmul(h, fc2_weight.transpose(0, 1)) + fc2_bias


def mlp_with_relu(x, fc1_weight, fc1_bias, fc2_weight, fc2_bias):
    h = x @ fc1_weight.T + fc1_bias
    return h.clamp(min=0) @ fc2_weight.T + fc2_bias


def mlp_with_tanh_gelu(x, fc1_weight, fc1_bias, fc2_weight, fc2_bias):
    h = x @ fc1_weight.T + fc1_bias
    h = 0.5 * h * (1 + torch.tanh(math.sqrt(2 / math.pi) * (h + 0.044715 * h**3)))
    return h @ fc2_weight.T + fc2_bias


def mlp_with_quick_gelu(x, fc1_weight, fc1_bias, fc2_weight, fc2_bias):
    h = x @ fc1_weight.T + fc1_bias
    return (h / (1 + torch.exp(-1.702 * h))) @ fc2_weight.T + fc2_bias


def mlp_with_silu(x, fc1_weight, fc1_bias, fc2_weight, fc2_bias):
    h = x @ fc1_weight.T + fc1_bias
    return (h * h.sigmoid()) @ fc2_weight.T + fc2_bias


def mlp_erf_without_root_two(x, fc1_weight, fc1_bias, fc2_weight, fc2_bias):
    h = x @ fc1_weight.T + fc1_bias
    h = h * (1 + torch.erf(h)) / 2
    return h @ fc2_weight.T + fc2_bias


def mlp_erf_without_half(x, fc1_weight, fc1_bias, fc2_weight, fc2_bias):
    h = x @ fc1_weight.T + fc1_bias
    h = h * (1 + torch.erf(h / math.sqrt(2)))
    return h @ fc2_weight.T + fc2_bias


def mlp_with_phi_alone(x, fc1_weight, fc1_bias, fc2_weight, fc2_bias):
    h = x @ fc1_weight.T + fc1_bias
    h = (1 + torch.erf(h / math.sqrt(2))) / 2
    return h @ fc2_weight.T + fc2_bias


def mlp_without_activation(x, fc1_weight, fc1_bias, fc2_weight, fc2_bias):
    return (x @ fc1_weight.T + fc1_bias) @ fc2_weight.T + fc2_bias


def mlp_gelu_twice(x, fc1_weight, fc1_bias, fc2_weight, fc2_bias):
    for weight, bias in ((fc1_weight, fc1_bias), (fc2_weight, fc2_bias)):
        x = F.gelu(x @ weight.T + bias)
    return x


def mlp_gelu_at_the_end(x, fc1_weight, fc1_bias, fc2_weight, fc2_bias):
    h = x @ fc1_weight.T + fc1_bias
    return F.gelu(h @ fc2_weight.T + fc2_bias)


def mlp_without_transpose(x, fc1_weight, fc1_bias, fc2_weight, fc2_bias):
    h = x @ fc1_weight + fc1_bias
    h = F.gelu(h)
    return h @ fc2_weight + fc2_bias


def mlp_without_biases(x, fc1_weight, fc1_bias, fc2_weight, fc2_bias):
    return F.linear(F.gelu(F.linear(x, fc1_weight)), fc2_weight)


def mlp_without_first_bias(x, fc1_weight, fc1_bias, fc2_weight, fc2_bias):
    return F.linear(F.gelu(F.linear(x, fc1_weight)), fc2_weight, fc2_bias)


def mlp_first_bias_too_late(x, fc1_weight, fc1_bias, fc2_weight, fc2_bias):
    h = F.gelu(F.linear(x, fc1_weight)) + fc1_bias
    return F.linear(h, fc2_weight, fc2_bias)


def mlp_without_second_bias(x, fc1_weight, fc1_bias, fc2_weight, fc2_bias):
    return F.linear(F.gelu(F.linear(x, fc1_weight, fc1_bias)), fc2_weight)


def mlp_with_residual(x, fc1_weight, fc1_bias, fc2_weight, fc2_bias):
    return F.linear(F.gelu(F.linear(x, fc1_weight, fc1_bias)), fc2_weight, fc2_bias) + x


# --- encoder_block -------------------------------------------------------------------------------


def _norm(x, params, name, eps=1e-6):
    return F.layer_norm(x, (x.shape[-1],), params[name + ".weight"], params[name + ".bias"], eps)


def _attn(x, params, num_heads):
    B, N, D = x.shape
    qkv = x @ params["attn.qkv.weight"].T + params["attn.qkv.bias"]
    q, k, v = qkv.reshape(B, N, 3, num_heads, D // num_heads).permute(2, 0, 3, 1, 4)
    weights = torch.softmax(q @ k.mT / math.sqrt(D // num_heads), dim=-1)
    heads = (weights @ v).transpose(1, 2).reshape(B, N, D)
    return heads @ params["attn.proj.weight"].T + params["attn.proj.bias"]


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


def block_without_residuals(x, params, num_heads):
    x = _attn(_norm(x, params, "norm1"), params, num_heads)
    return _mlp(_norm(x, params, "norm2"), params)


def block_residual_around_the_mlp_only(x, params, num_heads):
    x = _attn(_norm(x, params, "norm1"), params, num_heads)
    return x + _mlp(_norm(x, params, "norm2"), params)


def block_residual_around_the_attention_only(x, params, num_heads):
    x = x + _attn(_norm(x, params, "norm1"), params, num_heads)
    return _mlp(_norm(x, params, "norm2"), params)


def block_residual_from_the_normalised(x, params, num_heads):
    x = _norm(x, params, "norm1")
    x = x + _attn(x, params, num_heads)
    x = _norm(x, params, "norm2")
    x = x + _mlp(x, params)
    return x


def block_norm_of_the_branch(x, params, num_heads):
    x = x + _norm(_attn(x, params, num_heads), params, "norm1")
    return x + _norm(_mlp(x, params), params, "norm2")


def block_norm1_twice(x, params, num_heads):
    x = x + _attn(_norm(x, params, "norm1"), params, num_heads)
    return x + _mlp(_norm(x, params, "norm1"), params)


def block_norms_swapped(x, params, num_heads):
    x = x + _attn(_norm(x, params, "norm2"), params, num_heads)
    return x + _mlp(_norm(x, params, "norm1"), params)


def block_mlp_first(x, params, num_heads):
    x = x + _mlp(_norm(x, params, "norm2"), params)
    return x + _attn(_norm(x, params, "norm1"), params, num_heads)


def block_mlp_first_with_norm1(x, params, num_heads):
    x = x + _mlp(_norm(x, params, "norm1"), params)
    return x + _attn(_norm(x, params, "norm2"), params, num_heads)


def block_in_parallel(x, params, num_heads):
    attended = _attn(_norm(x, params, "norm1"), params, num_heads)
    return x + attended + _mlp(_norm(x, params, "norm2"), params)


def block_adds_to_the_input_twice(x, params, num_heads):
    y = x + _attn(_norm(x, params, "norm1"), params, num_heads)
    return x + _mlp(_norm(y, params, "norm2"), params)


def block_without_norms(x, params, num_heads):
    x = x + _attn(x, params, num_heads)
    return x + _mlp(x, params)


def block_without_second_norm(x, params, num_heads):
    x = x + _attn(_norm(x, params, "norm1"), params, num_heads)
    return x + _mlp(x, params)


def block_without_first_norm(x, params, num_heads):
    x = x + _attn(x, params, num_heads)
    return x + _mlp(_norm(x, params, "norm2"), params)


def block_with_eps_of_pytorch(x, params, num_heads):
    D = x.shape[-1]
    x = x + _attn(F.layer_norm(x, (D,), params["norm1.weight"], params["norm1.bias"]), params, num_heads)
    return x + _mlp(F.layer_norm(x, (D,), params["norm2.weight"], params["norm2.bias"]), params)


def block_with_one_head(x, params, num_heads):
    x = x + _attn(_norm(x, params, "norm1"), params, 1)
    return x + _mlp(_norm(x, params, "norm2"), params)


def block_without_mlp(x, params, num_heads):
    return x + _attn(_norm(x, params, "norm1"), params, num_heads)


def norm_over_dimension_one(x, weight, bias, eps=1e-6):
    centred = x - x.mean(1, keepdim=True)
    return centred / (x.var(1, correction=0, keepdim=True) + eps).sqrt() * weight + bias


def norm_over_tokens_and_features(x, weight, bias, eps=1e-6):
    centred = x - x.mean((-2, -1), keepdim=True)
    return centred / (x.var((-2, -1), correction=0, keepdim=True) + eps).sqrt() * weight + bias


def norm_with_a_bracket_slip(x, weight, bias, eps=1e-6):
    root = (x.var(-1, correction=0, keepdim=True) + eps).sqrt()
    return (x - x.mean(-1, keepdim=True)) / (root * weight) + bias


def mlp_gelu_first(x, fc1_weight, fc1_bias, fc2_weight, fc2_bias):
    hidden = torch.nn.functional.gelu(x) @ fc1_weight.T + fc1_bias
    return hidden @ fc2_weight.T + fc2_bias


# The check puts correct ones in place of these.
layer_norm = mlp = self_attention = None


def _mlp_weights(params):
    return [params[f"mlp.{layer}.{kind}"] for layer in ("fc1", "fc2") for kind in ("weight", "bias")]


def block_first_half_on_the_normalised(x, params, num_heads):
    x = layer_norm(x, params["norm1.weight"], params["norm1.bias"])
    x = x + self_attention(x, params, num_heads)
    read = layer_norm(x, params["norm2.weight"], params["norm2.bias"])
    return x + mlp(read, *_mlp_weights(params))


def block_second_half_on_the_normalised(x, params, num_heads):
    x = x + self_attention(layer_norm(x, params["norm1.weight"], params["norm1.bias"]), params, num_heads)
    x = layer_norm(x, params["norm2.weight"], params["norm2.bias"])
    return x + mlp(x, *_mlp_weights(params))


def block_with_other_names(x, params, num_heads):
    x = x + self_attention(layer_norm(x, *params["norm1"]), params, num_heads)
    return x + mlp(layer_norm(x, *params["norm2"]), *params["mlp"])


RIGHT = {
    "layer_norm": (norm_by_moments, norm_by_var_mean, norm_with_features_in_front),
    "mlp": (mlp_by_einsum, mlp_with_erfc),
    "encoder_block": (block_in_one_piece, block_by_pytorchs_attention),
}

WRONG = {
    "layer_norm": {
        norm_with_sample_variance: "D - 1, as statistics does",
        norm_eps_outside_the_root: "outside the root",
        norm_sample_std_plus_eps: "two things are off",
        norm_without_eps: "epsilon is missing",
        norm_with_eps_of_pytorch: "default of `eps` is PyTorch's",
        norm_with_its_own_eps: "you write 1e-6 into the formula",
        norm_by_variance: "take its root",
        norm_without_centring: "the mean is still in",
        norm_rms: "RMSNorm",
        norm_over_everything: "for the whole tensor",
        norm_over_the_batch: "as BatchNorm does",
        norm_over_the_tokens: "over the tokens",
        norm_without_keepdim: "mean and variance lost",
        norm_without_keepdim_in_the_variance: "it needs keepdim=True too",
        norm_without_weight_and_bias: "`weight` and `bias` are not used",
        norm_without_bias: "`bias` is missing",
        norm_with_bias_first: "before you multiply",
        norm_over_dimension_one: "normalise over dimension 1",
        norm_over_tokens_and_features: "tokens and features together",
        norm_with_a_bracket_slip: "the root times `weight`",
    },
    "mlp": {
        mlp_with_relu: "that is ReLU",
        mlp_with_tanh_gelu: "tanh approximation",
        mlp_with_quick_gelu: "1.702",
        mlp_with_silu: "SiLU",
        mlp_erf_without_root_two: "without the √2",
        mlp_erf_without_half: "factor 1/2 is missing",
        mlp_with_phi_alone: "Φ(h) alone",
        mlp_without_activation: "no activation",
        mlp_gelu_twice: "after the second layer too",
        mlp_gelu_at_the_end: "not between",
        mlp_without_transpose: "not transposed",
        mlp_without_biases: "both biases",
        mlp_without_first_bias: "`fc1_bias` is missing",
        mlp_first_bias_too_late: "`fc1_bias` comes after",
        mlp_without_second_bias: "`fc2_bias` is missing",
        mlp_with_residual: "the residual belongs to the block",
        mlp_gelu_first: "before the first layer",
    },
    "encoder_block": {
        block_post_norm: "post-norm",
        block_without_residuals: "both residuals are missing",
        block_residual_around_the_mlp_only: "around the attention is missing",
        block_residual_around_the_attention_only: "around the MLP is missing",
        block_residual_from_the_normalised: "add to the normalised x",
        block_norm_of_the_branch: "what the branches return",
        block_norm1_twice: "norm1 is used twice",
        block_norms_swapped: "swapped",
        block_mlp_first: "mix the tokens first",
        block_mlp_first_with_norm1: "each with the other's norm",
        block_in_parallel: "both branches read the block's input",
        block_adds_to_the_input_twice: "drops out of the stream",
        block_without_norms: "both norms are missing",
        block_without_second_norm: "before the MLP is missing",
        block_without_first_norm: "before the attention is missing",
        block_with_eps_of_pytorch: "eps=1e-5",
        block_with_one_head: "single head",
        block_without_mlp: "the MLP is missing: after",
        block_first_half_on_the_normalised: "in the first half",
        block_second_half_on_the_normalised: "in the second half",
        block_with_other_names: "the names are those of the real weights",
    },
}
