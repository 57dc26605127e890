"""Answers to the exercises of chapter 02, as readers write them.

RIGHT: implementations other than the chapter's own. Beside the record's known mistakes, which are wrong answers
themselves, SLIPS: the chapter's own solution with something changed, and WRONG: mistakes written in another way; each
with words of the hint that it must get. EQUIVALENT: mutants of the right answers that are right too, and why.
"""

import math

import torch
from einops import rearrange

# --- split_heads -----------------------------------------------------------------------------------


def split_by_stacking(x, num_heads):
    return torch.stack(x.chunk(num_heads, dim=-1), dim=1)


def split_by_einops(x, num_heads):
    return rearrange(x, "b n (h d) -> b h n d", h=num_heads)


def split_by_slices(x, num_heads):
    d = x.shape[-1] // num_heads
    heads = [x[:, :, h * d : (h + 1) * d] for h in range(num_heads)]
    return torch.cat([head.unsqueeze(1) for head in heads], dim=1)


def split_heads_first(x, num_heads):
    d = x.shape[-1] // num_heads
    return torch.stack([x[..., i * d : (i + 1) * d] for i in range(num_heads)])


def split_into_a_list(x, num_heads):
    d = x.shape[-1] // num_heads
    return [x[..., i * d : (i + 1) * d] for i in range(num_heads)]


# --- merge_heads -----------------------------------------------------------------------------------


def merge_by_concatenation(x):
    return torch.cat(x.unbind(dim=1), dim=-1)


def merge_by_einops(x):
    return rearrange(x, "b h n d -> b n (h d)")


def merge_by_contiguous_view(x):
    B, H, N, d = x.shape
    return x.permute(0, 2, 1, 3).contiguous().view(B, N, H * d)


def merge_iterating_over_the_batch(x):
    return torch.cat([head for head in x], dim=-1)


# --- multi_head_self_attention ---------------------------------------------------------------------


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


RIGHT = {
    "split_heads": (split_by_stacking, split_by_einops, split_by_slices),
    "merge_heads": (merge_by_concatenation, merge_by_einops, merge_by_contiguous_view),
    "multi_head_self_attention": (multi_head_in_one_reshape, multi_head_by_a_loop, multi_head_by_einsum),
}

SLIPS = {
    "split_heads": """
        only relabel the shape
            B, N, num_heads, D // num_heads ⇒ B, num_heads, N, D // num_heads
            x.transpose(1, 2) ⇒ x
        transpose the tokens and columns
            ⇒ return x.transpose(1, 2).reshape(x.shape[0], num_heads, x.shape[1], -1)
        """,
    "merge_heads": """
        .view refuses
            reshape ⇒ view
        """,
    "multi_head_self_attention": """
        returns two things
            out, _ ⇒ out
        chunk(3) cuts the batch
            chunk(3, dim=-1) ⇒ chunk(3)
        pieces of 3 columns
            chunk ⇒ split
        F.linear transposes for you
            x @ params["qkv.weight"].T + params["qkv.bias"] ⇒ F.linear(x, params["qkv.weight"].T, params["qkv.bias"])
        never use num_heads
            part, num_heads ⇒ part, 1
        """,
}

WRONG = {
    "split_heads": {
        split_heads_first: "the heads before the batch",
        split_into_a_list: "as separate tensors",
    },
    "merge_heads": {
        merge_iterating_over_the_batch: "takes the batch apart",
    },
    "multi_head_self_attention": {
        multi_head_among_the_heads_of_a_token: "the heads of one token attend to each other",
        multi_head_packed_per_head: "q, k, v of head 0, then of head 1",
    },
}

EQUIVALENT = {"split_heads": "", "merge_heads": "", "multi_head_self_attention": ""}
