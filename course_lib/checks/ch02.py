"""The exercises of chapter 02, multi-head attention."""

import torch
import torch.nn.functional as F
from einops import rearrange

from course_lib.checks.exercise import Exercise, Mistake


def _split_probes(generator):
    """N is a multiple of H, so that cutting the tokens instead of the columns runs; d is neither N nor H."""

    def normal(*shape):
        return torch.randn(shape, generator=generator, dtype=torch.float64)

    return [
        {"x": normal(3, 4, 10), "num_heads": 2},
        {"x": normal(2, 6, 12), "num_heads": 3},
        {"x": normal(5, 8, 24), "num_heads": 4},
        {"x": normal(2, 9, 15).float().requires_grad_(), "num_heads": 3},
    ]


def _split(x, num_heads):
    return x.unflatten(-1, (num_heads, -1)).transpose(1, 2)


SPLIT_HEADS = Exercise(
    name="split_heads",
    chapter="02",
    signature="split_heads(x, num_heads)",
    task="cut the last dimension into num_heads pieces and move the heads in front of the tokens: (B, N, D) -> (B, H, N, d).",
    probes=_split_probes,
    oracle=_split,
    mistakes=(
        Mistake(
            "you only relabel the shape, so a head gets all columns of a few tokens: make it (B, N, H, d) first, then swap N and H.",
            lambda x, num_heads: x.reshape(x.shape[0], num_heads, x.shape[1], -1),
        ),
        Mistake(
            "you cut right but leave the heads behind the tokens, (B, N, H, d): swap dimensions 1 and 2.",
            lambda x, num_heads: rearrange(x, "B N (H d) -> B N H d", H=num_heads),
        ),
        Mistake(
            "you deal the columns out in turn, so head 0 gets columns 0, H, 2H: give it the first d, H comes before d when you cut.",
            lambda x, num_heads: rearrange(x, "B N (d H) -> B H N d", H=num_heads),
        ),
        Mistake(
            "you cut the tokens into pieces: cut the last dimension, every head sees all tokens.",
            lambda x, num_heads: rearrange(x, "B (H n) D -> B H n D", H=num_heads),
        ),
        Mistake(
            "you take num_heads for the width of a head: there are num_heads pieces, each D // num_heads wide.",
            lambda x, num_heads: rearrange(x, "B N (H d) -> B H N d", d=num_heads),
        ),
        Mistake(
            "you put the width before the tokens, (B, H, d, N): after the heads come tokens, then width.",
            lambda x, num_heads: rearrange(x, "B N (H d) -> B H d N", H=num_heads),
        ),
        Mistake(
            "you put the heads before the batch, (H, B, N, d): they belong second, stack or permute them into dimension 1.",
            lambda x, num_heads: rearrange(x, "B N (H d) -> H B N d", H=num_heads),
        ),
        Mistake(
            "you return the heads as separate tensors: stack them along dimension 1.",
            lambda x, num_heads: x.chunk(num_heads, dim=-1),
        ),
        Mistake(
            "you transpose the tokens and columns before you cut, so a head mixes tokens: reshape to (B, N, H, d) first.",
            lambda x, num_heads: x.transpose(1, 2).reshape(x.shape[0], num_heads, x.shape[1], -1),
        ),
    ),
)


def _merge_probes(generator):
    def normal(*shape):
        return torch.randn(shape, generator=generator, dtype=torch.float64)

    return [
        {"x": normal(2, 3, 5, 4)},
        {"x": normal(3, 2, 4, 6)},
        {"x": normal(4, 5, 7, 3)},
        {"x": normal(2, 4, 3, 5).float().requires_grad_()},
    ]


def _merge(x):
    return torch.cat(x.unbind(dim=1), dim=-1)


MERGE_HEADS = Exercise(
    name="merge_heads",
    chapter="02",
    signature="merge_heads(x)",
    task="lay the heads of each token side by side, head 0 first: (B, H, N, d) -> (B, N, H·d).",
    probes=_merge_probes,
    oracle=_merge,
    mistakes=(
        Mistake(
            "you only relabel the shape, so a row mixes several tokens of one head: swap H and N first, then join the last two.",
            lambda x: x.reshape(x.shape[0], x.shape[2], -1),
        ),
        Mistake(
            "you interleave the heads, one column of each in turn: the order before joining must be (B, N, H, d), not (B, N, d, H).",
            lambda x: rearrange(x, "B H N d -> B N (d H)"),
        ),
        Mistake(
            "after the swap the memory is no longer in order, so .view refuses: use .reshape, or .contiguous() before .view.",
            lambda x: x.transpose(1, 2).view(x.shape[0], x.shape[2], -1),
        ),
        Mistake(
            "you add the heads up: lay them side by side, so that no number is lost.",
            lambda x: x.sum(dim=1),
        ),
        Mistake(
            "you average the heads: lay them side by side, so that no number is lost.",
            lambda x: x.mean(dim=1),
        ),
        Mistake(
            "you stop at (B, N, H, d): join the last two dimensions into one of width H·d.",
            lambda x: x.transpose(1, 2),
        ),
        Mistake(
            "you put the heads below each other, (B, H·N, d): swap H and N, then join H with d, not with N.",
            lambda x: x.flatten(1, 2),
        ),
        Mistake(
            "you swap N with the width: swap N with H, dimensions 1 and 2.",
            lambda x: x.transpose(2, 3).reshape(x.shape[0], x.shape[2], -1),
        ),
        Mistake(
            "iterating over x or joining along dimension 0 takes the batch apart: take the heads from dimension 1.",
            lambda x: torch.cat(tuple(x), dim=-1),
        ),
        Mistake(
            "you put the tokens before the batch: keep dimension 0 where it is and swap 1 and 2 only.",
            lambda x: rearrange(x, "B H N d -> N B (H d)"),
        ),
    ),
)


def _attention_probes(generator):
    """Weights of size 1/√D, so that queries, keys and values have a size near 1; biases as large as that."""
    probes = []
    for (B, N, D), num_heads in (((2, 5, 12), 3), ((3, 4, 10), 2), ((2, 7, 24), 4), ((3, 6, 8), 2)):

        def normal(*shape, size=1.0):
            return size * torch.randn(shape, generator=generator, dtype=torch.float64)

        params = {
            "qkv.weight": normal(3 * D, D, size=D**-0.5),
            "qkv.bias": normal(3 * D, size=0.5),
            "proj.weight": normal(D, D, size=D**-0.5),
            "proj.bias": normal(D, size=0.5),
        }
        probes.append({"x": normal(B, N, D), "params": params, "num_heads": num_heads})
    last = probes[-1]
    last["x"] = last["x"].float().requires_grad_()
    last["params"] = {name: value.float().requires_grad_() for name, value in last["params"].items()}
    return probes


def _multi_head(x, params, num_heads):
    tokens_first = x.transpose(0, 1)
    output, _ = F.multi_head_attention_forward(
        tokens_first,
        tokens_first,
        tokens_first,
        x.shape[-1],
        num_heads,
        params["qkv.weight"],
        params["qkv.bias"],
        None,
        None,
        False,
        0.0,
        params["proj.weight"],
        params["proj.bias"],
        need_weights=False,
    )
    return output.transpose(0, 1)


def _relabel_split(x, num_heads):
    return x.reshape(x.shape[0], num_heads, x.shape[1], -1)


def _relabel_merge(x):
    return x.reshape(x.shape[0], x.shape[2], -1)


def _weigh(q, k, scale):
    return torch.softmax(q @ k.transpose(-2, -1) / scale, dim=-1)


def _variation(
    *,
    order="qkv",
    packing="B N (three H d) -> three B N (H d)",
    split=_split,
    merge=_merge,
    scale=lambda D, d: d**0.5,
    weigh=_weigh,
    qkv_bias=True,
    proj=lambda out, params: out @ params["proj.weight"].T + params["proj.bias"],
):
    """Multi-head attention written out, with one thing different."""

    def attend(x, params, num_heads):
        D = x.shape[-1]
        qkv = x @ params["qkv.weight"].T
        if qkv_bias:
            qkv = qkv + params["qkv.bias"]
        parts = rearrange(qkv, packing, three=3, H=num_heads)
        q, k, v = (split(parts["qkv".index(role)], num_heads) for role in order)
        return proj(merge(weigh(q, k, scale(D, D // num_heads)) @ v), params)

    return attend


def _with_weights(x, params, num_heads):
    qkv = F.linear(x, params["qkv.weight"], params["qkv.bias"])
    q, k, _ = (_split(part, num_heads) for part in qkv.chunk(3, dim=-1))
    return _multi_head(x, params, num_heads), _weigh(q, k, q.shape[-1] ** 0.5)


def _three(pieces):
    q, k, v = pieces
    return q, k, v


MULTI_HEAD_SELF_ATTENTION = Exercise(
    name="multi_head_self_attention",
    chapter="02",
    signature="multi_head_self_attention(x, params, num_heads)",
    task="project to q | k | v, split each into heads, attend in each head, merge, project: (B, N, D) -> (B, N, D).",
    probes=_attention_probes,
    oracle=_multi_head,
    uses={"split_heads": _split, "merge_heads": _merge},
    forbidden=("torch.nn.functional.multi_head_attention_forward", "torch.nn.MultiheadAttention.forward"),
    mistakes=(
        Mistake(
            "scaled_dot_product_attention returns two things, the output and the weights: take the first.",
            lambda x, params, num_heads: _merge((x, x)),
        ),
        Mistake(
            "chunk(3) cuts the batch: cut the columns, chunk(3, dim=-1).",
            lambda x, params, num_heads: _three(F.linear(x, params["qkv.weight"], params["qkv.bias"]).chunk(3)),
        ),
        Mistake(
            "split(3) makes pieces of 3 columns: use chunk(3, dim=-1) for three equal pieces.",
            lambda x, params, num_heads: _three(F.linear(x, params["qkv.weight"], params["qkv.bias"]).split(3, dim=-1)),
        ),
        Mistake(
            "F.linear transposes for you: give it the weight as it is stored.",
            lambda x, params, num_heads: F.linear(x, params["qkv.weight"].T, params["qkv.bias"]),
        ),
        Mistake(
            "you divide the scores by √D: the dot products run over one head, divide by √d with d = D / num_heads.",
            _variation(scale=lambda D, d: D**0.5),
        ),
        Mistake(
            "you do not scale the scores: divide them by √d before the softmax, d = D / num_heads.",
            _variation(scale=lambda D, d: 1.0),
        ),
        Mistake(
            "you leave the heads behind the tokens, so the heads of one token attend to each other: move them in front, (B, H, N, d), before the scores.",
            _variation(
                split=lambda x, num_heads: rearrange(x, "B N (H d) -> B N H d", H=num_heads),
                merge=lambda x: x.flatten(-2),
            ),
        ),
        Mistake(
            "you read the 3D columns as q, k, v of head 0, then of head 1: here all of q comes first, so cut into q | k | v before you cut into heads.",
            _variation(packing="B N (H three d) -> three B N (H d)"),
        ),
        Mistake(
            "you read the 3D columns with q, k and v taking turns: cut them into three blocks of D columns, q | k | v.",
            _variation(packing="B N (H d three) -> three B N (H d)"),
        ),
        Mistake(
            "you swap k and v: the columns are laid out q | k | v.",
            _variation(order="qvk"),
        ),
        Mistake(
            "you swap q and k, so every score is transposed: the columns are laid out q | k | v.",
            _variation(order="kqv"),
        ),
        Mistake(
            "you swap q and v: the columns are laid out q | k | v.",
            _variation(order="vkq"),
        ),
        Mistake(
            "you leave out the last projection: multiply the merged heads by proj.weight transposed and add proj.bias.",
            _variation(proj=lambda out, params: out),
        ),
        Mistake(
            "you leave out both biases: add qkv.bias after the first product and proj.bias after the last.",
            _variation(qkv_bias=False, proj=lambda out, params: out @ params["proj.weight"].T),
        ),
        Mistake(
            "you leave out qkv.bias: add it before you cut into q, k and v.",
            _variation(qkv_bias=False),
        ),
        Mistake(
            "you leave out proj.bias: add it after the last product.",
            _variation(proj=lambda out, params: out @ params["proj.weight"].T),
        ),
        Mistake(
            "you multiply by proj.weight as it is stored, and being square it fits either way: transpose it, nn.Linear computes x @ weight.T + bias.",
            _variation(proj=lambda out, params: out @ params["proj.weight"] + params["proj.bias"]),
        ),
        Mistake(
            "you multiply by qkv.weight as it is stored, (3D, D): transpose it, nn.Linear computes x @ weight.T + bias.",
            lambda x, params, num_heads: x @ params["qkv.weight"] + params["qkv.bias"],
        ),
        Mistake(
            "you cut and merge by reshape alone, so each head gets a few tokens with all their columns: swap N and H after cutting and before merging.",
            _variation(split=_relabel_split, merge=_relabel_merge),
        ),
        Mistake(
            "you merge by reshape alone, so the rows mix tokens: swap H and N back first.",
            _variation(merge=_relabel_merge),
        ),
        Mistake(
            "you cut into heads by reshape alone, so each head gets a few tokens with all their columns: make it (B, N, H, d), then swap N and H.",
            _variation(split=_relabel_split),
        ),
        Mistake(
            "you take the softmax along the queries, so rows do not sum to 1: take it along the keys, dim=-1.",
            _variation(weigh=lambda q, k, scale: torch.softmax(q @ k.transpose(-2, -1) / scale, dim=-2)),
        ),
        Mistake(
            "you attend once over all D columns and never use num_heads: split q, k and v into heads first.",
            _variation(
                split=lambda x, num_heads: x[:, None],
                merge=lambda x: x[:, 0],
                scale=lambda D, d: D**0.5,
            ),
        ),
        Mistake(
            "you return the weights as well: return the output alone.",
            _with_weights,
        ),
    ),
)

EXERCISES = (SPLIT_HEADS, MERGE_HEADS, MULTI_HEAD_SELF_ATTENTION)
