"""Answers to the exercises of chapter 02, as readers write them.

RIGHT: implementations other than the chapter's own. WRONG: plausible mistakes, each with words of the
hint that it must get. They are written as a reader would, not as the records imitate them.
"""

import math

import torch
from einops import rearrange

from course_lib.attention import scaled_dot_product_attention

# --- split_heads ---------------------------------------------------------------------------------


def split_by_stacking(x, num_heads):
    return torch.stack(x.chunk(num_heads, dim=-1), dim=1)


def split_by_einops(x, num_heads):
    return rearrange(x, "b n (h d) -> b h n d", h=num_heads)


def split_by_slices(x, num_heads):
    d = x.shape[-1] // num_heads
    heads = [x[:, :, h * d : (h + 1) * d] for h in range(num_heads)]
    return torch.cat([head.unsqueeze(1) for head in heads], dim=1)


def split_by_view_alone(x, num_heads):
    B, N, D = x.shape
    return x.view(B, num_heads, N, D // num_heads)


def split_without_moving(x, num_heads):
    B, N, D = x.shape
    return x.view(B, N, num_heads, D // num_heads)


def split_dealing_columns(x, num_heads):
    B, N, D = x.shape
    return x.view(B, N, D // num_heads, num_heads).permute(0, 3, 1, 2)


def split_the_tokens(x, num_heads):
    return torch.stack(x.chunk(num_heads, dim=1), dim=1)


def split_into_pieces_of_num_heads(x, num_heads):
    B, N, _ = x.shape
    return x.view(B, N, -1, num_heads).transpose(1, 2)


def split_width_before_tokens(x, num_heads):
    B, N, D = x.shape
    return x.view(B, N, num_heads, D // num_heads).permute(0, 2, 3, 1)


def split_heads_first(x, num_heads):
    d = x.shape[-1] // num_heads
    return torch.stack([x[..., i * d : (i + 1) * d] for i in range(num_heads)])


def split_into_a_list(x, num_heads):
    d = x.shape[-1] // num_heads
    return [x[..., i * d : (i + 1) * d] for i in range(num_heads)]


def split_after_transposing(x, num_heads):
    B, N, D = x.shape
    return x.transpose(1, 2).reshape(B, num_heads, N, D // num_heads)


# --- merge_heads ---------------------------------------------------------------------------------


def merge_by_concatenation(x):
    return torch.cat(x.unbind(dim=1), dim=-1)


def merge_by_einops(x):
    return rearrange(x, "b h n d -> b n (h d)")


def merge_by_contiguous_view(x):
    B, H, N, d = x.shape
    return x.permute(0, 2, 1, 3).contiguous().view(B, N, H * d)


def merge_by_view_alone(x):
    B, H, N, d = x.shape
    return x.view(B, N, H * d)


def merge_interleaved(x):
    B, H, N, d = x.shape
    return x.permute(0, 2, 3, 1).reshape(B, N, H * d)


def merge_by_view_after_transpose(x):
    B, H, N, d = x.shape
    return x.transpose(1, 2).view(B, N, H * d)


def merge_by_adding(x):
    return torch.einsum("bhnd->bnd", x)


def merge_by_averaging(x):
    return x.mean(1)


def merge_half_way(x):
    return x.permute(0, 2, 1, 3)


def merge_below_each_other(x):
    B, H, N, d = x.shape
    return x.reshape(B, H * N, d)


def merge_swapping_the_wrong_two(x):
    B, H, N, d = x.shape
    return x.permute(0, 1, 3, 2).reshape(B, N, H * d)


def merge_iterating_over_the_batch(x):
    return torch.cat([head for head in x], dim=-1)


def merge_tokens_before_batch(x):
    B, H, N, d = x.shape
    return x.permute(2, 0, 1, 3).reshape(N, B, H * d)


# --- multi_head_self_attention -------------------------------------------------------------------


def multi_head_in_one_reshape(x, params, num_heads):
    B, N, D = x.shape
    qkv = torch.nn.functional.linear(x, params["qkv.weight"], params["qkv.bias"])
    q, k, v = qkv.reshape(B, N, 3, num_heads, D // num_heads).permute(2, 0, 3, 1, 4)
    out = torch.nn.functional.scaled_dot_product_attention(q, k, v)
    return torch.nn.functional.linear(out.transpose(1, 2).reshape(B, N, D), params["proj.weight"], params["proj.bias"])


def multi_head_by_a_loop(x, params, num_heads):
    D = x.shape[-1]
    d = D // num_heads
    W, b = params["qkv.weight"], params["qkv.bias"]
    out = params["proj.bias"]
    for h in range(num_heads):
        q, k, v = (x @ W[s : s + d].T + b[s : s + d] for s in (h * d, D + h * d, 2 * D + h * d))
        head = torch.softmax(q @ k.mT / math.sqrt(d), dim=-1) @ v
        out = out + head @ params["proj.weight"][:, h * d : (h + 1) * d].T
    return out


def multi_head_by_einsum(x, params, num_heads):
    q, k, v = rearrange(
        torch.einsum("bnd,ed->bne", x, params["qkv.weight"]) + params["qkv.bias"],
        "b n (three h d) -> three b h n d",
        three=3,
        h=num_heads,
    )
    weights = torch.einsum("bhid,bhjd->bhij", q, k).div(q.shape[-1] ** 0.5).softmax(-1)
    merged = rearrange(torch.einsum("bhij,bhjd->bhid", weights, v), "b h n d -> b n (h d)")
    return torch.einsum("bnd,ed->bne", merged, params["proj.weight"]) + params["proj.bias"]


def multi_head_scaled_by_root_of_model_width(x, params, num_heads):
    B, N, D = x.shape
    d = D // num_heads
    qkv = x @ params["qkv.weight"].T + params["qkv.bias"]
    q, k, v = qkv.view(B, N, 3, num_heads, d).permute(2, 0, 3, 1, 4)
    weights = (q @ k.mT / math.sqrt(D)).softmax(dim=-1)
    out = (weights @ v).transpose(1, 2).reshape(B, N, D)
    return out @ params["proj.weight"].T + params["proj.bias"]


def multi_head_unscaled(x, params, num_heads):
    B, N, D = x.shape
    d = D // num_heads
    qkv = x @ params["qkv.weight"].T + params["qkv.bias"]
    q, k, v = qkv.view(B, N, 3, num_heads, d).permute(2, 0, 3, 1, 4)
    weights = torch.softmax(q @ k.mT, dim=-1)
    out = (weights @ v).transpose(1, 2).reshape(B, N, D)
    return out @ params["proj.weight"].T + params["proj.bias"]


def multi_head_among_the_heads_of_a_token(x, params, num_heads):
    B, N, D = x.shape
    d = D // num_heads
    qkv = x @ params["qkv.weight"].T + params["qkv.bias"]
    q, k, v = (part.view(B, N, num_heads, d) for part in qkv.chunk(3, dim=-1))
    weights = (q @ k.mT / math.sqrt(d)).softmax(dim=-1)
    out = (weights @ v).reshape(B, N, D)
    return out @ params["proj.weight"].T + params["proj.bias"]


def multi_head_packed_per_head(x, params, num_heads):
    B, N, D = x.shape
    d = D // num_heads
    qkv = x @ params["qkv.weight"].T + params["qkv.bias"]
    q, k, v = qkv.view(B, N, num_heads, 3 * d).transpose(1, 2).chunk(3, dim=-1)
    weights = (q @ k.mT / math.sqrt(d)).softmax(dim=-1)
    out = (weights @ v).transpose(1, 2).reshape(B, N, D)
    return out @ params["proj.weight"].T + params["proj.bias"]


def multi_head_packed_in_turns(x, params, num_heads):
    B, N, D = x.shape
    d = D // num_heads
    qkv = x @ params["qkv.weight"].T + params["qkv.bias"]
    q, k, v = qkv.view(B, N, num_heads, d, 3).permute(4, 0, 2, 1, 3)
    weights = (q @ k.mT / math.sqrt(d)).softmax(dim=-1)
    out = (weights @ v).transpose(1, 2).reshape(B, N, D)
    return out @ params["proj.weight"].T + params["proj.bias"]


def multi_head_k_and_v_swapped(x, params, num_heads):
    B, N, D = x.shape
    d = D // num_heads
    qkv = x @ params["qkv.weight"].T + params["qkv.bias"]
    q, v, k = qkv.view(B, N, 3, num_heads, d).permute(2, 0, 3, 1, 4)
    weights = (q @ k.mT / math.sqrt(d)).softmax(dim=-1)
    out = (weights @ v).transpose(1, 2).reshape(B, N, D)
    return out @ params["proj.weight"].T + params["proj.bias"]


def multi_head_q_and_k_swapped(x, params, num_heads):
    B, N, D = x.shape
    d = D // num_heads
    qkv = x @ params["qkv.weight"].T + params["qkv.bias"]
    q, k, v = qkv.view(B, N, 3, num_heads, d).permute(2, 0, 3, 1, 4)
    weights = (k @ q.mT / math.sqrt(d)).softmax(dim=-1)
    out = (weights @ v).transpose(1, 2).reshape(B, N, D)
    return out @ params["proj.weight"].T + params["proj.bias"]


def multi_head_without_proj(x, params, num_heads):
    B, N, D = x.shape
    d = D // num_heads
    qkv = x @ params["qkv.weight"].T + params["qkv.bias"]
    q, k, v = qkv.view(B, N, 3, num_heads, d).permute(2, 0, 3, 1, 4)
    weights = (q @ k.mT / math.sqrt(d)).softmax(dim=-1)
    return (weights @ v).transpose(1, 2).reshape(B, N, D)


def multi_head_without_biases(x, params, num_heads):
    B, N, D = x.shape
    d = D // num_heads
    qkv = x @ params["qkv.weight"].T
    q, k, v = qkv.view(B, N, 3, num_heads, d).permute(2, 0, 3, 1, 4)
    weights = (q @ k.mT / math.sqrt(d)).softmax(dim=-1)
    out = (weights @ v).transpose(1, 2).reshape(B, N, D)
    return out @ params["proj.weight"].T


def multi_head_without_qkv_bias(x, params, num_heads):
    B, N, D = x.shape
    d = D // num_heads
    qkv = x @ params["qkv.weight"].T
    q, k, v = qkv.view(B, N, 3, num_heads, d).permute(2, 0, 3, 1, 4)
    weights = (q @ k.mT / math.sqrt(d)).softmax(dim=-1)
    out = (weights @ v).transpose(1, 2).reshape(B, N, D)
    return out @ params["proj.weight"].T + params["proj.bias"]


def multi_head_without_proj_bias(x, params, num_heads):
    B, N, D = x.shape
    d = D // num_heads
    qkv = x @ params["qkv.weight"].T + params["qkv.bias"]
    q, k, v = qkv.view(B, N, 3, num_heads, d).permute(2, 0, 3, 1, 4)
    weights = (q @ k.mT / math.sqrt(d)).softmax(dim=-1)
    out = (weights @ v).transpose(1, 2).reshape(B, N, D)
    return out @ params["proj.weight"].T


def multi_head_proj_not_transposed(x, params, num_heads):
    B, N, D = x.shape
    d = D // num_heads
    qkv = x @ params["qkv.weight"].T + params["qkv.bias"]
    q, k, v = qkv.view(B, N, 3, num_heads, d).permute(2, 0, 3, 1, 4)
    weights = (q @ k.mT / math.sqrt(d)).softmax(dim=-1)
    out = (weights @ v).transpose(1, 2).reshape(B, N, D)
    return out @ params["proj.weight"] + params["proj.bias"]


def multi_head_qkv_not_transposed(x, params, num_heads):
    B, N, D = x.shape
    d = D // num_heads
    qkv = x @ params["qkv.weight"] + params["qkv.bias"]
    q, k, v = qkv.view(B, N, 3, num_heads, d).permute(2, 0, 3, 1, 4)
    weights = (q @ k.mT / math.sqrt(d)).softmax(dim=-1)
    out = (weights @ v).transpose(1, 2).reshape(B, N, D)
    return out @ params["proj.weight"].T + params["proj.bias"]


def multi_head_cut_and_merged_by_view(x, params, num_heads):
    B, N, D = x.shape
    d = D // num_heads
    qkv = x @ params["qkv.weight"].T + params["qkv.bias"]
    q, k, v = (part.reshape(B, num_heads, N, d) for part in qkv.chunk(3, dim=-1))
    weights = (q @ k.mT / math.sqrt(d)).softmax(dim=-1)
    out = (weights @ v).view(B, N, D)
    return out @ params["proj.weight"].T + params["proj.bias"]


def multi_head_merged_by_view(x, params, num_heads):
    B, N, D = x.shape
    d = D // num_heads
    qkv = x @ params["qkv.weight"].T + params["qkv.bias"]
    q, k, v = qkv.view(B, N, 3, num_heads, d).permute(2, 0, 3, 1, 4)
    weights = (q @ k.mT / math.sqrt(d)).softmax(dim=-1)
    out = (weights @ v).view(B, N, D)
    return out @ params["proj.weight"].T + params["proj.bias"]


def multi_head_cut_by_view(x, params, num_heads):
    B, N, D = x.shape
    d = D // num_heads
    qkv = x @ params["qkv.weight"].T + params["qkv.bias"]
    q, k, v = (part.reshape(B, num_heads, N, d) for part in qkv.chunk(3, dim=-1))
    weights = (q @ k.mT / math.sqrt(d)).softmax(dim=-1)
    out = (weights @ v).transpose(1, 2).reshape(B, N, D)
    return out @ params["proj.weight"].T + params["proj.bias"]


def multi_head_softmax_over_queries(x, params, num_heads):
    B, N, D = x.shape
    d = D // num_heads
    qkv = x @ params["qkv.weight"].T + params["qkv.bias"]
    q, k, v = qkv.view(B, N, 3, num_heads, d).permute(2, 0, 3, 1, 4)
    weights = (q @ k.mT / math.sqrt(d)).softmax(dim=-2)
    out = (weights @ v).transpose(1, 2).reshape(B, N, D)
    return out @ params["proj.weight"].T + params["proj.bias"]


def multi_head_with_one_head(x, params, num_heads):
    D = x.shape[-1]
    q, k, v = (x @ params["qkv.weight"].T + params["qkv.bias"]).split(D, dim=-1)
    weights = (q @ k.mT / math.sqrt(D)).softmax(dim=-1)
    return weights @ v @ params["proj.weight"].T + params["proj.bias"]


def multi_head_returning_the_weights(x, params, num_heads):
    B, N, D = x.shape
    d = D // num_heads
    qkv = x @ params["qkv.weight"].T + params["qkv.bias"]
    q, k, v = qkv.view(B, N, 3, num_heads, d).permute(2, 0, 3, 1, 4)
    weights = (q @ k.mT / math.sqrt(d)).softmax(dim=-1)
    out = (weights @ v).transpose(1, 2).reshape(B, N, D)
    return out @ params["proj.weight"].T + params["proj.bias"], weights


def merge_heads(x):  # stands for the reader's own; the check puts a correct one in its place
    return x.transpose(1, 2).flatten(2)


def split_heads(x, num_heads):
    return x.unflatten(-1, (num_heads, -1)).transpose(1, 2)


def multi_head_forgetting_the_weights(x, params, num_heads):
    q, k, v = (x @ params["qkv.weight"].T + params["qkv.bias"]).chunk(3, dim=-1)
    out = scaled_dot_product_attention(*(split_heads(part, num_heads) for part in (q, k, v)))
    return merge_heads(out) @ params["proj.weight"].T + params["proj.bias"]


def multi_head_chunking_the_batch(x, params, num_heads):
    q, k, v = torch.nn.functional.linear(x, params["qkv.weight"], params["qkv.bias"]).chunk(3)
    out, _ = scaled_dot_product_attention(*(split_heads(part, num_heads) for part in (q, k, v)))
    return merge_heads(out) @ params["proj.weight"].T + params["proj.bias"]


def multi_head_splitting_by_three(x, params, num_heads):
    q, k, v = torch.nn.functional.linear(x, params["qkv.weight"], params["qkv.bias"]).split(3, dim=-1)
    out, _ = scaled_dot_product_attention(*(split_heads(part, num_heads) for part in (q, k, v)))
    return merge_heads(out) @ params["proj.weight"].T + params["proj.bias"]


def multi_head_transposing_twice(x, params, num_heads):
    q, k, v = torch.nn.functional.linear(x, params["qkv.weight"].T, params["qkv.bias"]).chunk(3, dim=-1)
    out, _ = scaled_dot_product_attention(*(split_heads(part, num_heads) for part in (q, k, v)))
    return merge_heads(out) @ params["proj.weight"].T + params["proj.bias"]


RIGHT = {
    "split_heads": (split_by_stacking, split_by_einops, split_by_slices),
    "merge_heads": (merge_by_concatenation, merge_by_einops, merge_by_contiguous_view),
    "multi_head_self_attention": (multi_head_in_one_reshape, multi_head_by_a_loop, multi_head_by_einsum),
}

WRONG = {
    "split_heads": {
        split_by_view_alone: "only relabel the shape",
        split_without_moving: "leave the heads behind the tokens",
        split_dealing_columns: "deal the columns out",
        split_the_tokens: "cut the tokens into pieces",
        split_into_pieces_of_num_heads: "for the width of a head",
        split_width_before_tokens: "the width before the tokens",
        split_heads_first: "the heads before the batch",
        split_into_a_list: "as separate tensors",
        split_after_transposing: "transpose the tokens and columns",
    },
    "merge_heads": {
        merge_by_view_alone: "only relabel the shape",
        merge_interleaved: "you interleave the heads",
        merge_by_view_after_transpose: ".view refuses",
        merge_by_adding: "you add the heads up",
        merge_by_averaging: "you average the heads",
        merge_half_way: "you stop at (B, N, H, d)",
        merge_below_each_other: "the heads below each other",
        merge_swapping_the_wrong_two: "you swap N with the width",
        merge_iterating_over_the_batch: "takes the batch apart",
        merge_tokens_before_batch: "the tokens before the batch",
    },
    "multi_head_self_attention": {
        multi_head_scaled_by_root_of_model_width: "divide the scores by √D",
        multi_head_unscaled: "do not scale",
        multi_head_among_the_heads_of_a_token: "the heads of one token attend to each other",
        multi_head_packed_per_head: "q, k, v of head 0, then of head 1",
        multi_head_packed_in_turns: "taking turns",
        multi_head_k_and_v_swapped: "you swap k and v",
        multi_head_q_and_k_swapped: "you swap q and k",
        multi_head_without_proj: "leave out the last projection",
        multi_head_without_biases: "leave out both biases",
        multi_head_without_qkv_bias: "leave out qkv.bias",
        multi_head_without_proj_bias: "leave out proj.bias",
        multi_head_proj_not_transposed: "multiply by proj.weight as it is stored",
        multi_head_qkv_not_transposed: "multiply by qkv.weight as it is stored",
        multi_head_cut_and_merged_by_view: "cut and merge by reshape alone",
        multi_head_merged_by_view: "you merge by reshape alone",
        multi_head_cut_by_view: "cut into heads by reshape alone",
        multi_head_softmax_over_queries: "along the queries",
        multi_head_with_one_head: "never use num_heads",
        multi_head_returning_the_weights: "return the output alone",
        multi_head_forgetting_the_weights: "returns two things",
        multi_head_chunking_the_batch: "chunk(3) cuts the batch",
        multi_head_splitting_by_three: "pieces of 3 columns",
        multi_head_transposing_twice: "F.linear transposes for you",
    },
}
