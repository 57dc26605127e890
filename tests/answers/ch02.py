"""Answers to the exercises of chapter 02, as readers write them.

RIGHT: implementations other than the chapter's own. Beside the record's known mistakes, which are wrong answers
themselves, SLIPS: the chapter's own solution with something changed, and WRONG: mistakes written in another way; each
with words of the hint that it must get. EQUIVALENT: mutants of the right answers that are right too, and why.
"""

import functools
import math

import torch
import torch.nn.functional as F
from einops import einsum, rearrange
from einops.layers.torch import Rearrange
from torch import nn

from course_lib import attention


def decorated(function):
    def inside(*args, **kwargs):
        return function(*args, **kwargs)

    return inside


# --- split_heads -----------------------------------------------------------------------------------


def split_by_stacking(x, num_heads):
    return torch.stack(x.chunk(num_heads, dim=-1), dim=1)


def split_by_einops(x, num_heads):
    return rearrange(x, "b n (h d) -> b h n d", h=num_heads)


def split_by_slices(x, num_heads):
    d = x.shape[-1] // num_heads
    heads = [x[:, :, h * d : (h + 1) * d] for h in range(num_heads)]
    return torch.cat([head.unsqueeze(1) for head in heads], dim=1)


def split_heads(t, H):
    """Its parameters have names of its own, by which the answers below call it."""
    return t.unflatten(-1, (H, -1)).transpose(1, 2)


class SplitHeads(nn.Module):
    def forward(self, x, num_heads):
        return Rearrange("b n (h d) -> b h n d", h=num_heads)(x)


@decorated
def split_into_an_empty_tensor(x, num_heads):
    B, N, D = x.shape
    heads = torch.empty(B, num_heads, N, D // num_heads, dtype=x.dtype)
    for h, part in enumerate(x.split(D // num_heads, dim=2)):
        heads[:, h] = part
    return heads


def split_by_a_pattern(pattern, x, H):
    return rearrange(x, pattern, H=H)


def split_squeezed(x, num_heads):
    return rearrange(x, "b n (h d) -> b h n d", h=num_heads).squeeze(-1)


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


@decorated
def merge_into_an_empty_tensor(x):
    B, H, N, d = x.shape
    tokens = x.new_empty(B, N, H * d)
    for h in range(H):
        tokens[..., h * d : (h + 1) * d] = x[:, h]
    return tokens


class MergeHeads:
    def __call__(self, heads):
        return heads.swapaxes(1, 2).flatten(-2)


def merge_by_a_pattern(pattern, heads):
    return rearrange(heads, pattern)


def merge_squeezed(x):
    return torch.cat(x.unbind(1), -1).squeeze()


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


def merge_heads(x):
    raise NotImplementedError("not written yet: answers that call it are judged by themselves")


def heads_of(part, num_heads):
    return split_heads(part, H=num_heads)


def linear(x, params, name):
    return F.linear(x, weight=params[f"{name}.weight"], bias=params[f"{name}.bias"])


def multi_head_by_an_unfinished_piece(x, params, num_heads):
    q, k, v = (heads_of(part, num_heads) for part in linear(x, params, "qkv").split(x.shape[-1], dim=-1))
    output = attention.scaled_dot_product_attention(query=q, key=k, value=v)[0]
    return linear(merge_heads(output), params, "proj")


class MultiHead(nn.Module):
    def forward(self, x, params, num_heads):
        B, N, C = x.shape
        qkv = linear(x, params, "qkv").reshape(B, N, 3, num_heads, C // num_heads).permute(2, 0, 3, 1, 4)
        q, k, v = qkv.unbind(0)
        weights = (q / torch.sqrt(torch.tensor(C // num_heads)) @ k.transpose(-2, -1)).softmax(dim=-1)
        return linear((weights @ v).transpose(1, 2).reshape(B, N, C), params, "proj")


@decorated
def multi_head_in_the_batch(x, params, num_heads):
    parts = (F.linear(x, w, b) for w, b in zip(params["qkv.weight"].chunk(3), params["qkv.bias"].chunk(3), strict=True))
    q, k, v = (rearrange(part, "b n (h d) -> (b h) n d", h=num_heads) for part in parts)
    weights = torch.softmax(torch.bmm(q, k.transpose(1, 2)) / q.shape[2] ** 0.5, 2)
    return linear(rearrange(torch.bmm(weights, v), "(b h) n d -> b n (h d)", h=num_heads), params, "proj")


def multi_head_by_a_function(attend, x, params, num_heads):
    D = x.shape[-1]
    qkv = einsum(x, params["qkv.weight"], "... i, o i -> ... o") + params["qkv.bias"]
    heads = [split_heads(qkv[..., start : start + D], num_heads) for start in (0, D, 2 * D)]
    return linear(rearrange(attend(*heads), "b h n d -> b n (h d)"), params, "proj")


def multi_head_squeezed(x, params, num_heads):
    return multi_head_in_one_reshape(x, params, num_heads).squeeze(0)


def multi_head_without_a_shift(x, params, num_heads):
    q, k, v = (split_heads(part, num_heads) for part in linear(x, params, "qkv").chunk(3, dim=-1))
    e = (q @ k.mT / math.sqrt(q.shape[-1])).exp()
    return linear(rearrange(e @ v / e.sum(-1, keepdim=True), "b h n d -> b n (h d)"), params, "proj")


def multi_head_scaled_twice(x, params, num_heads):
    q, k, v = (split_heads(part, num_heads) for part in linear(x, params, "qkv").chunk(3, dim=-1))
    output, _ = attention.scaled_dot_product_attention(q / q.shape[-1] ** 0.5, k, v)
    return linear(output.transpose(1, 2).flatten(2), params, "proj")


def multi_head_split_by_three(x, params, num_heads):
    q, k, v = linear(x, params, "qkv").split(3, -1)
    return linear(F.scaled_dot_product_attention(q, k, v), params, "proj")


def multi_head_split_along_the_batch(x, params, num_heads):
    q, k, v = (split_heads(part, num_heads) for part in linear(x, params, "qkv").split(x.shape[2]))
    return linear(F.scaled_dot_product_attention(q, k, v), params, "proj")


def multi_head_among_the_heads_of_a_token(x, params, num_heads):
    B, N, D = x.shape
    d = D // num_heads
    qkv = x @ params["qkv.weight"].T + params["qkv.bias"]
    q, k, v = (part.view(B, N, num_heads, d) for part in qkv.chunk(3, dim=-1))
    weights = (q @ k.mT / math.sqrt(d)).softmax(dim=-1)
    out = (weights @ v).reshape(B, N, D)
    return out @ params["proj.weight"].T + params["proj.bias"]


def multi_head_along_the_heads(x, params, num_heads):
    q, k, v = (split_heads(part, num_heads) for part in linear(x, params, "qkv").chunk(3, -1))
    weights = F.softmax(torch.einsum("bhid,bhjd->bhij", q, k) / math.sqrt(q.shape[-1]), dim=-3)
    return linear(rearrange(weights @ v, "b h n d -> b n (h d)"), params, "proj")


def multi_head_below_the_highest_of_all(x, params, num_heads):
    q, k, v = (split_heads(part, num_heads) for part in linear(x, params, "qkv").chunk(3, dim=-1))
    scores = q @ k.mT / math.sqrt(q.shape[-1])
    e = (scores - torch.max(scores)).exp()
    return linear(rearrange(e @ v / e.sum(-1, keepdim=True), "b h n d -> b n (h d)"), params, "proj")


def multi_head_packed_per_head(x, params, num_heads):
    B, N, D = x.shape
    d = D // num_heads
    qkv = x @ params["qkv.weight"].T + params["qkv.bias"]
    q, k, v = qkv.view(B, N, num_heads, 3 * d).transpose(1, 2).chunk(3, dim=-1)
    weights = (q @ k.mT / math.sqrt(d)).softmax(dim=-1)
    out = (weights @ v).transpose(1, 2).reshape(B, N, D)
    return out @ params["proj.weight"].T + params["proj.bias"]


RIGHT = {
    "split_heads": (
        split_by_stacking,
        split_by_einops,
        split_by_slices,
        split_heads,
        SplitHeads(),
        split_into_an_empty_tensor,
        functools.partial(split_by_a_pattern, "... n (H d) -> ... H n d"),
    ),
    "merge_heads": (
        merge_by_concatenation,
        merge_by_einops,
        merge_by_contiguous_view,
        MergeHeads(),
        merge_into_an_empty_tensor,
        Rearrange("b h n d -> b n (h d)"),
        functools.partial(merge_by_a_pattern, "... h n d -> ... n (h d)"),
    ),
    "multi_head_self_attention": (
        multi_head_in_one_reshape,
        multi_head_by_a_loop,
        multi_head_by_einsum,
        multi_head_by_an_unfinished_piece,
        MultiHead(),
        multi_head_in_the_batch,
        functools.partial(multi_head_by_a_function, F.scaled_dot_product_attention),
    ),
}

SLIPS = {
    "split_heads": """
        only relabel the shape
            B, N, num_heads, D // num_heads ⇒ B, num_heads, N, D // num_heads
            x.transpose(1, 2) ⇒ x
        transpose the tokens and columns
            ⇒ return x.transpose(1, 2).reshape(x.shape[0], num_heads, x.shape[1], -1)
        your slices begin one column apart
            ⇒ width = x.shape[-1] // num_heads
            | return __import__("torch").stack([x[..., i : i + width] for i in range(num_heads)], 1)
        is written into your code
            num_heads, D // num_heads ⇒ 12, D // 12
        you read the shape as (N, B, D)
            B, N, D = ⇒ N, B, D =
        unpack all of them
            B, N, D = ⇒ batch, D =
        you cut right and then swap H with the width
            (1, 2) ⇒ (2, 3)
        """,
    "merge_heads": """
        a head is left out
            ⇒ return torch.cat(x.unbind(1)[:-1], dim=-1)
        .view refuses
            reshape ⇒ view
        you read the shape as (B, N, H, d)
            B, H, N, d = ⇒ B, N, H, d =
        unpack all of them
            B, H, N, d = ⇒ B, N, d =
        along the batch if you name no dimension
            ⇒ return __import__("torch").cat([x[:, h] for h in range(x.shape[1])])
        torch.stack makes a new dimension
            ⇒ return __import__("torch").stack([x[:, h] for h in range(x.shape[1])])
        two heads are written
            ⇒ return __import__("torch").cat([x[:, h] for h in range(2)], -1)
        """,
    "multi_head_self_attention": """
        relabels the numbers
            (split_heads(part, num_heads) for part in qkv.chunk(3, dim=-1)) ⇒ qkv.view(3, x.shape[0], num_heads, x.shape[1], -1)
        weights of its own
            merge_heads(out) @ params["proj.weight"].T + params["proj.bias"] ⇒ __import__("torch").nn.Linear(x.shape[-1], x.shape[-1])(merge_heads(out))
        proj.weight goes in the wrong way round
            merge_heads(out) @ params["proj.weight"].T + params["proj.bias"] ⇒ F.linear(merge_heads(out), params["proj.weight"].T, params["proj.bias"])
        root of the number of heads
            out, _ = attention.scaled_dot_product_attention(q, k, v) ⇒ out = (q @ k.transpose(-2, -1) * num_heads**-0.5).softmax(-1) @ v
        these are scores, not yet weights
            out, _ = attention.scaled_dot_product_attention(q, k, v) ⇒ out = q @ (k.transpose(-2, -1) @ v) / q.shape[-1] ** 0.5
        is the first power, halved
            out, _ = attention.scaled_dot_product_attention(q, k, v) ⇒ out = (q @ k.transpose(-2, -1) * q.shape[-1] ** -1 / 2).softmax(-1) @ v
        returns two things
            out, _ ⇒ out
        chunk(3) cuts the batch
            chunk(3, dim=-1) ⇒ chunk(3)
        F.linear transposes for you
            x @ params["qkv.weight"].T + params["qkv.bias"] ⇒ F.linear(x, params["qkv.weight"].T, params["qkv.bias"])
        you cut dimension 1
            chunk(3, dim=-1) ⇒ chunk(3, dim=1)
        not cut into heads
            (split_heads(part, num_heads) for part in qkv.chunk(3, dim=-1)) ⇒ qkv.split(x.shape[-1], dim=-1)
        the width of a head for their number
            part, num_heads ⇒ part, x.shape[-1] // num_heads
        the task is to project
            chunk(3, dim=-1)) ⇒ chunk(num_heads, dim=-1))
        never use num_heads
            part, num_heads ⇒ part, 1
        in another order
            q, k, v = ⇒ k, v, q =
        the queries with themselves
            (q, k, v) ⇒ (q, q, v)
        you average the keys
            (q, k, v) ⇒ (q, k, k)
        your columns go out to the heads in turn
            (split_heads(part, num_heads) for part in qkv.chunk(3, dim=-1)) ⇒ (part.unflatten(-1, (-1, num_heads)).permute(0, 3, 1, 2) for part in qkv.chunk(3, dim=-1))
        you cut right and merge
            merge_heads(out) ⇒ out.permute(0, 2, 3, 1).flatten(2)
        the heads are still apart when you project
            merge_heads(out) @ params["proj.weight"].T + params["proj.bias"] ⇒ F.linear(out, params["proj.weight"], params["proj.bias"])
        unpack all of them
            qkv = ⇒ tokens, width = x.shape; qkv =
        """,
}

WRONG = {
    "split_heads": {
        split_squeezed: "a dimension of size 1 is missing",
        split_heads_first: "the heads before the batch",
        split_into_a_list: "as separate tensors",
    },
    "merge_heads": {
        merge_squeezed: "a dimension of size 1 is missing",
        merge_iterating_over_the_batch: "takes the batch apart",
    },
    "multi_head_self_attention": {
        multi_head_squeezed: "a dimension of size 1 is missing",
        multi_head_without_a_shift: "exp overflows",
        multi_head_below_the_highest_of_all: "the maximum of all scores",
        multi_head_along_the_heads: "dimension 1, the heads",
        multi_head_scaled_twice: "by √d twice",
        multi_head_split_by_three: "pieces of 3 columns",
        multi_head_split_along_the_batch: "split(D) cuts the batch",
        multi_head_among_the_heads_of_a_token: "the heads of one token attend to each other",
        multi_head_packed_per_head: "q, k, v of head 0, then of head 1",
    },
}

EQUIVALENT = {
    "split_heads": "",
    "merge_heads": "",
    "multi_head_self_attention": """
        The reshape brings back sizes of 1.
            multi_head_in_one_reshape: qkv = torch.nn.functional.linear(x, params['qkv.weight'], params['qkv.bias']) ⇒ qkv = torch.nn.functional.linear(x, params['qkv.weight'], params['qkv.bias']).squeeze()
        """,
}
