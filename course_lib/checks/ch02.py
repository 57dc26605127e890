"""The exercises of chapter 02, multi-head attention."""

import torch
import torch.nn.functional as F
from einops import rearrange

from course_lib import attention  # noqa: F401 (for the edits)
from course_lib.checks.edits import edits_of
from course_lib.checks.exercise import Exercise, normal, single


def _split_probes(generator):
    """N is a multiple of H, so that cutting the tokens instead of the columns runs; d is neither N nor H.

    Each size is 1 once, and one shape comes twice.
    """
    draw = normal(generator)
    return [
        {"x": draw(3, 4, 10), "num_heads": 2},
        {"x": draw(2, 6, 12), "num_heads": 3},
        {"x": draw(5, 8, 24), "num_heads": 4},
        {"x": draw(1, 4, 6), "num_heads": 2},
        {"x": draw(2, 1, 6), "num_heads": 1},
        {"x": draw(2, 6, 3), "num_heads": 3},
        {"x": draw(3, 4, 10), "num_heads": 2},  # the shape of the first
        {"x": single(draw(2, 9, 15)), "num_heads": 3},
    ]


def _split_heads(x, num_heads):
    return rearrange(x, "B N (H d) -> B H N d", H=num_heads)


SPLIT_HEADS = Exercise(
    name="split_heads",
    chapter="02",
    signature="split_heads(x, num_heads)",
    task="cut the last dimension into num_heads pieces and move the heads in front of the tokens: (B, N, D) -> (B, H, N, d).",
    probes=_split_probes,
    oracle=_split_heads,
    mistakes=edits_of(
        _split_heads,
        """
        you only relabel the shape, so a head gets all columns of a few tokens: make it (B, N, H, d) first, then swap N and H.
            ⇒ return x.reshape(len(x), num_heads, x.shape[1], -1)
        you cut right but leave the heads behind the tokens, (B, N, H, d): swap dimensions 1 and 2.
            B H N d ⇒ B N H d
        you deal the columns out in turn, so head 0 gets columns 0, H, 2H: give it the first d, H comes before d when you cut.
            (H d) ⇒ (d H)
        you cut the tokens into pieces: cut the last dimension, every head sees all tokens.
            B N (H d) -> B H N d ⇒ B (H n) D -> B H n D
        you take num_heads for the width of a head: there are num_heads pieces, each D // num_heads wide.
            H=num_heads ⇒ d=num_heads
        you put the width before the tokens, (B, H, d, N): after the heads come tokens, then width.
            B H N d ⇒ B H d N
        you put the heads before the batch, (H, B, N, d): they belong second, stack or permute them into dimension 1.
            B H N d ⇒ H B N d
        your slices begin one column apart: head h begins at column h * d, x[:, :, h * d : (h + 1) * d].
            ⇒ d = x.shape[-1] // num_heads
            | return torch.stack([x[:, :, h : h + d] for h in range(num_heads)], dim=1)
        your slices end one column early: the end of a slice is left out already, x[:, :, h * d : (h + 1) * d].
            ⇒ d = x.shape[-1] // num_heads
            | return torch.stack([x[:, :, h * d : (h + 1) * d - 1] for h in range(num_heads)], dim=1)
        a number of heads is written into your code: use `num_heads`.
            ⇒ return x.reshape(len(x), x.shape[1], 2, -1).transpose(1, 2)
          or
            ⇒ return x.reshape(len(x), x.shape[1], 3, -1).transpose(1, 2)
          or
            ⇒ return x.reshape(len(x), x.shape[1], 4, -1).transpose(1, 2)
          or
            ⇒ return x.reshape(len(x), x.shape[1], 12, -1).transpose(1, 2)
          or
            H=num_heads ⇒ H=2
          or
            H=num_heads ⇒ H=3
          or
            H=num_heads ⇒ H=12
        you read the shape as (N, B, D): the batch comes first, (B, N, D).
            ⇒ N, B, D = x.shape
            | return x.reshape(B, N, num_heads, D // num_heads).transpose(1, 2)
        x has three dimensions, B, N and D: unpack all of them, and no more.
            ⇒ N, D = x.shape
            | return x.reshape(N, num_heads, D // num_heads).transpose(0, 1)
          or
            ⇒ B, N, H, d = x.shape
            | return x.reshape(B, N, num_heads, -1).transpose(1, 2)
        you cut right and then swap H with the width: swap it with N, dimensions 1 and 2.
            B H N d ⇒ B N d H
        you return the heads as separate tensors: stack them along dimension 1.
            ⇒ return x.chunk(num_heads, dim=-1)
        you transpose the tokens and columns before you cut, so a head mixes tokens: reshape to (B, N, H, d) first.
            ⇒ return x.mT.reshape(len(x), num_heads, x.shape[1], -1)
        """,
    ),
)


def _merge_probes(generator):
    """Each size is 1 once, and one shape comes twice."""
    draw = normal(generator)
    return [
        {"x": draw(2, 3, 5, 4)},
        {"x": draw(3, 2, 4, 6)},
        {"x": draw(4, 5, 7, 3)},
        {"x": draw(1, 2, 3, 4)},
        {"x": draw(3, 1, 2, 4)},
        {"x": draw(4, 3, 1, 2)},
        {"x": draw(2, 3, 4, 1)},
        {"x": draw(2, 3, 5, 4)},  # the shape of the first
        {"x": single(draw(2, 4, 3, 5))},
    ]


def _merge_heads(x):
    return rearrange(x, "B H N d -> B N (H d)")


MERGE_HEADS = Exercise(
    name="merge_heads",
    chapter="02",
    signature="merge_heads(x)",
    task="lay the heads of each token side by side, head 0 first: (B, H, N, d) -> (B, N, H·d).",
    probes=_merge_probes,
    oracle=_merge_heads,
    mistakes=edits_of(
        _merge_heads,
        """
        you only relabel the shape, so a row mixes several tokens of one head: swap H and N first, then join the last two.
            ⇒ return x.reshape(len(x), x.shape[2], -1)
        you interleave the heads, one column of each in turn: the order before joining must be (B, N, H, d), not (B, N, d, H).
            (H d) ⇒ (d H)
        after the swap the memory is no longer in order, so .view refuses: use .reshape, or .contiguous() before .view.
            ⇒ return x.transpose(1, 2).view(len(x), x.shape[2], -1)
        a head is left out: range(H) counts all of them, from 0 to H - 1.
            ⇒ return torch.cat([x[:, h] for h in range(x.shape[1] - 1)], dim=-1)
          or
            ⇒ return torch.cat([x[:, h] for h in range(1, x.shape[1])], dim=-1)
          or
            ⇒ return _merge_heads(x[:, :-1])
          or
            ⇒ return _merge_heads(x[:, 1:])
        you add the heads up: lay them side by side, so that no number is lost.
            ⇒ return x.sum(dim=1)
        you average the heads: lay them side by side, so that no number is lost.
            ⇒ return x.mean(dim=1)
        you stop at (B, N, H, d): join the last two dimensions into one of width H·d.
            (H d) ⇒ H d
        you put the heads below each other, (B, H·N, d): swap H and N, then join H with d, not with N.
            B N (H d) ⇒ B (H N) d
        you swap H with the width: swap it with N, dimensions 1 and 2.
            ⇒ return x.transpose(1, 3).reshape(len(x), x.shape[2], -1)
        you read the shape as (B, N, H, d): the heads come second, (B, H, N, d).
            ⇒ B, N, H, d = x.shape
            | return x.transpose(1, 2).reshape(B, N, H * d)
          or
            ⇒ B, N, H, d = x.shape
            | return x.reshape(B, N, H * d)
        x has four dimensions, B, H, N and d: unpack all of them, and no more.
            ⇒ B, N, D = x.shape
            | return x.transpose(1, 2).reshape(B, N, D)
        torch.cat joins along the batch if you name no dimension: the heads of a token lie side by side, dim=-1.
            ⇒ return torch.cat(x.unbind(1))
        torch.stack makes a new dimension: torch.cat(..., dim=-1) lays the heads of a token side by side.
            ⇒ return torch.stack(x.unbind(1))
          or
            ⇒ return torch.stack(x.unbind(1), dim=-1)
        two heads are written into your code: go through all of them, x.shape[1].
            ⇒ return torch.cat([x[:, 0], x[:, 1]], dim=-1)
        you swap N with the width: swap N with H, dimensions 1 and 2.
            ⇒ return x.mT.reshape(len(x), x.shape[2], -1)
        iterating over x or joining along dimension 0 takes the batch apart: take the heads from dimension 1.
            B N (H d) ⇒ H N (B d)
        you put the tokens before the batch: keep dimension 0 where it is and swap 1 and 2 only.
            B N (H d) ⇒ N B (H d)
        """,
    ),
)


def _attention_probes(generator):
    """Weights of size 1/√D, so that queries, keys and values have a size near 1; biases as large as that.

    No batch can be cut into three, so that chunk(3) gives too few pieces in each. In two probes the biases make large
    scores, in one of them each row's as far from 0 as its query says; their √d is a whole number, as rounding another
    root to float32 would move such scores too far.
    """
    draw, probes = normal(generator), []
    for (B, N, D), num_heads, large_q, large_k in (
        ((2, 5, 12), 3, 0, 0),
        ((4, 3, 10), 2, 0, 0),
        ((2, 7, 24), 4, 0, 0),
        ((1, 4, 6), 1, 0, 0),
        ((2, 1, 4), 2, 0, 0),
        ((4, 6, 5), 5, 0, 0),
        ((2, 5, 8), 2, 30, 30),
        ((2, 5, 12), 3, 0, 1e8),  # the shapes of the first
        ((2, 6, 8), 2, 0, 0),
    ):
        params = {
            "qkv.weight": draw(3 * D, D) / D**0.5,
            "qkv.bias": draw(3 * D) / 2,
            "proj.weight": draw(D, D) / D**0.5,
            "proj.bias": draw(D) / 2,
        }
        params["qkv.bias"][:D] += large_q
        params["qkv.bias"][D : 2 * D] += large_k
        probes.append({"x": draw(B, N, D), "params": params, "num_heads": num_heads})
    return [*probes[:-1], single(probes[-1])]


def _attention_by_pytorch(x, params, num_heads):
    x = x.transpose(0, 1)  # (N, B, D)
    qkv, proj = ((params[f"{name}.weight"], params[f"{name}.bias"]) for name in ("qkv", "proj"))
    output, _ = F.multi_head_attention_forward(
        x, x, x, x.shape[-1], num_heads, *qkv, None, None, False, 0.0, *proj, need_weights=False
    )
    return output.transpose(0, 1)


def _split_in_place(x, num_heads):
    """In the place of a reader's, with words for what it cannot take."""
    if not isinstance(x, torch.Tensor) or x.dim() != 3:
        raise ValueError(f"split_heads got {_shape(x)}, not (B, N, D)")
    if x.shape[-1] % num_heads:
        raise ValueError(f"split_heads got {x.shape[-1]} columns, which {num_heads} heads cannot share")
    return _split_heads(x, num_heads)


def _merge_in_place(x):
    if not isinstance(x, torch.Tensor) or x.dim() != 4:
        raise ValueError(f"merge_heads got {_shape(x)}, not (B, H, N, d)")
    return _merge_heads(x)


def _shape(x):
    return str(tuple(x.shape)) if isinstance(x, torch.Tensor) else f"a {type(x).__name__}"


def _attention(x, params, num_heads):
    qkv = x @ params["qkv.weight"].T + params["qkv.bias"]  # (B, N, 3D)
    q, k, v = rearrange(qkv, "B N (three H d) -> three B H N d", three=3, H=num_heads)
    weights = torch.softmax(q @ k.mT / q.shape[-1] ** 0.5, dim=-1)
    out = rearrange(weights @ v, "B H N d -> B N (H d)")
    return out @ params["proj.weight"].T + params["proj.bias"]


MULTI_HEAD_SELF_ATTENTION = Exercise(
    name="multi_head_self_attention",
    chapter="02",
    signature="multi_head_self_attention(x, params, num_heads)",
    task="project to q | k | v, split each into heads, attend in each head, merge, project: (B, N, D) -> (B, N, D).",
    probes=_attention_probes,
    oracle=_attention_by_pytorch,
    uses={"split_heads": _split_in_place, "merge_heads": _merge_in_place},
    forbidden=(
        "multi_head_attention_forward",
        "native_multi_head_attention",
        "MultiheadAttention.forward",
        "MultiHeadSelfAttention.forward",
    ),
    mistakes=edits_of(
        _attention,
        """
        scaled_dot_product_attention returns two things, the output and the weights: take the first.
            rearrange(weights @ v, "B H N d -> B N (H d)") ⇒ _merge_in_place((weights @ v, weights))
        chunk(3) cuts the batch: cut the columns, chunk(3, dim=-1).
            rearrange(qkv, "B N (three H d) -> three B H N d", three=3, H=num_heads) ⇒ qkv.chunk(3)
        split(3) makes pieces of 3 columns: use chunk(3, dim=-1) for three equal pieces.
            rearrange(qkv, "B N (three H d) -> three B H N d", three=3, H=num_heads) ⇒ qkv.split(3, dim=-1)
          or
            rearrange(qkv, "B N (three H d) -> three B H N d", three=3, H=num_heads) ⇒ (_split_in_place(part, num_heads) for part in qkv.split(3, dim=-1))
        split(D) cuts the batch: cut the columns, split(D, dim=-1).
            rearrange(qkv, "B N (three H d) -> three B H N d", three=3, H=num_heads) ⇒ qkv.split(x.shape[-1])
        you cut dimension 1, the tokens: cut the columns, dim=-1.
            rearrange(qkv, "B N (three H d) -> three B H N d", three=3, H=num_heads) ⇒ (_split_in_place(part, num_heads) for part in qkv.chunk(3, dim=1))
          or
            rearrange(qkv, "B N (three H d) -> three B H N d", three=3, H=num_heads) ⇒ (_split_in_place(part, num_heads) for part in qkv.chunk(3, dim=1))
            weights @ v, ⇒ attention.scaled_dot_product_attention(q, k, v)[0],
            weights = torch.softmax(q @ k.mT / q.shape[-1] ** 0.5, dim=-1) ⇒
          or
            rearrange(qkv, "B N (three H d) -> three B H N d", three=3, H=num_heads) ⇒ (_split_in_place(part, num_heads) for part in qkv.chunk(3, dim=1))
            weights @ v, ⇒ F.scaled_dot_product_attention(q, k, v),
            weights = torch.softmax(q @ k.mT / q.shape[-1] ** 0.5, dim=-1) ⇒
          or
            rearrange(qkv, "B N (three H d) -> three B H N d", three=3, H=num_heads) ⇒ (_split_in_place(part, num_heads) for part in qkv.split(x.shape[-1], dim=1))
        q, k and v are not cut into heads, which merge_heads needs: call split_heads for each of them.
            rearrange(qkv, "B N (three H d) -> three B H N d", three=3, H=num_heads) ⇒ qkv.chunk(3, dim=-1)
            rearrange(weights @ v, "B H N d -> B N (H d)") ⇒ _merge_in_place(weights @ v)
        you subtract the maximum of all scores, and a row far below it underflows to 0/0: use torch.softmax, or subtract each row's own maximum.
            torch.softmax(q @ k.mT / q.shape[-1] ** 0.5, dim=-1) ⇒ q @ k.mT / q.shape[-1] ** 0.5
            | weights = torch.exp(weights - weights.max())
            | weights = weights / weights.sum(-1, keepdim=True)
        exp overflows for large scores and inf/inf is NaN: use torch.softmax, or subtract each row's maximum first.
            torch.softmax(q @ k.mT / q.shape[-1] ** 0.5, dim=-1) ⇒ torch.exp(q @ k.mT / q.shape[-1] ** 0.5)
            | weights = weights / weights.sum(-1, keepdim=True)
        `** 1/2` is the first power, halved, since a power comes before a division: the root is ** 0.5.
            q.shape[-1] ** 0.5 ⇒ q.shape[-1] ** 1 / 2
          or
            q.shape[-1] ** 0.5 ⇒ (q.shape[-1] ** 1 / 2)
        you divide the scores by the root of the number of heads: divide by √d, the width of a head, d = D / num_heads.
            q.shape[-1] ** ⇒ num_heads **
        you divide the scores by d, or by √d twice: divide by √d once. (attention.scaled_dot_product_attention does it for you.)
            ** 0.5 ⇒
        you divide the scores by √D: the dot products run over one head, divide by √d with d = D / num_heads.
            q.shape ⇒ x.shape
        you do not scale the scores: divide them by √d before the softmax, d = D / num_heads.
            / q.shape[-1] ** 0.5 ⇒
        you leave the heads behind the tokens, so the heads of one token attend to each other: move them in front, (B, H, N, d), before the scores.
            three B H N d ⇒ three B N H d
            B H N d -> ⇒ B N H d ->
        you read the 3D columns as q, k, v of head 0, then of head 1: here all of q comes first, so cut into q | k | v before you cut into heads.
            three H d ⇒ H three d
        you read the 3D columns with q, k and v taking turns: cut them into three blocks of D columns, q | k | v.
            three H d ⇒ H d three
        you swap k and v: the columns are laid out q | k | v.
            q, k, v ⇒ q, v, k
        you swap q and k, so every score is transposed: the columns are laid out q | k | v.
            q, k, v ⇒ k, q, v
        you swap q and v: the columns are laid out q | k | v.
            q, k, v ⇒ v, k, q
        you read the columns in another order, k | v | q or v | q | k: they are laid out q | k | v.
            q, k, v ⇒ k, v, q
          or
            q, k, v ⇒ v, q, k
        you compare the queries with themselves: the scores are q @ kᵀ.
            q @ k.mT ⇒ q @ q.mT
        you average the keys: keys are for comparing, what is averaged is v.
            weights @ v ⇒ weights @ k
        your columns go out to the heads in turn, (d H): head 0 has the first d columns of q, of k and of v, so it is (H d).
            three H d) ⇒ three d H)
          or
            three H d) ⇒ three d H)
            B N (H d)") ⇒ B N (d H)")
        you cut right and merge with the columns of the heads taking turns, (d H): lay the heads side by side, (H d).
            B N (H d)") ⇒ B N (d H)")
        the heads are still apart when you project: merge them first, to (B, N, D).
            rearrange(weights @ v, "B H N d -> B N (H d)") ⇒ weights @ v
        x has three dimensions, B, N and D: unpack all of them, and no more.
            qkv = ⇒ N, D = x.shape; qkv =
          or
            qkv = ⇒ B, H, N, d = x.shape; qkv =
        the tokens attend to the same place in the other images: x is (B, N, D), and the batch stays in front.
            qkv = ⇒ x = x.transpose(0, 1); qkv =
            return out @ params["proj.weight"].T + params["proj.bias"] ⇒ return (out @ params["proj.weight"].T + params["proj.bias"]).transpose(0, 1)
        you leave out the last projection: multiply the merged heads by proj.weight transposed and add proj.bias.
            return out @ params["proj.weight"].T + params["proj.bias"] ⇒ return out
        you leave out both biases: add qkv.bias after the first product and proj.bias after the last.
            + params["qkv.bias"] ⇒
            + params["proj.bias"] ⇒
        you leave out qkv.bias: add it before you cut into q, k and v.
            + params["qkv.bias"] ⇒
        you leave out proj.bias: add it after the last product.
            + params["proj.bias"] ⇒
        proj.weight goes in the wrong way round, and being square it fits either way: `@` takes proj.weight.T, and F.linear takes it without .T.
            params["proj.weight"].T ⇒ params["proj.weight"]
        qkv.weight goes in the wrong way round: it is (3D, D), so `@` takes qkv.weight.T. F.linear transposes for you, so it takes the weight without .T.
            params["qkv.weight"].T ⇒ params["qkv.weight"]
          or
            x @ params["qkv.weight"].T + params["qkv.bias"] ⇒ F.linear(x, params["qkv.weight"].T, params["qkv.bias"])
        you cut and merge by reshape alone, so each head gets a few tokens with all their columns: swap N and H after cutting and before merging.
            rearrange(qkv, "B N (three H d) -> three B H N d", three=3, H=num_heads) ⇒ (part.reshape(len(x), num_heads, x.shape[1], -1) for part in qkv.chunk(3, dim=-1))
            rearrange(weights @ v, "B H N d -> B N (H d)") ⇒ (weights @ v).reshape(x.shape)
        you merge by reshape alone, so the rows mix tokens: swap H and N back first.
            rearrange(weights @ v, "B H N d -> B N (H d)") ⇒ (weights @ v).reshape(x.shape)
        you cut into heads by reshape alone, so each head gets a few tokens with all their columns: make it (B, N, H, d), then swap N and H.
            rearrange(qkv, "B N (three H d) -> three B H N d", three=3, H=num_heads) ⇒ (part.reshape(len(x), num_heads, x.shape[1], -1) for part in qkv.chunk(3, dim=-1))
        you reshape straight to (3, B, H, N, d), which only relabels the numbers: reshape to (B, N, 3, H, d), then permute(2, 0, 3, 1, 4).
            rearrange(qkv, "B N (three H d) -> three B H N d", three=3, H=num_heads) ⇒ qkv.reshape(3, len(x), num_heads, x.shape[1], -1)
        these are scores, not yet weights, that you multiply with the values: take their softmax first.
            torch.softmax(q @ k.mT / q.shape[-1] ** 0.5, dim=-1) ⇒ q @ k.mT / q.shape[-1] ** 0.5
          or
            torch.softmax(q @ k.mT / q.shape[-1] ** 0.5, dim=-1) ⇒ q @ k.mT
        a new nn.Linear has float32 weights of its own: calculate with those in `params`, F.linear does.
            x @ params["qkv.weight"].T + params["qkv.bias"] ⇒ torch.nn.Linear(x.shape[-1], 3 * x.shape[-1])(x)
          or
            out @ params["proj.weight"].T + params["proj.bias"] ⇒ torch.nn.Linear(x.shape[-1], x.shape[-1])(out)
        you take the softmax along the queries, so rows do not sum to 1: take it along the keys, dim=-1.
            dim=-1 ⇒ dim=-2
        you take the softmax along dimension 1, the heads: take it along the keys, dim=-1.
            dim=-1 ⇒ dim=1
        you take the softmax along dimension 0, the batch: take it along the keys, dim=-1.
            dim=-1 ⇒ dim=0
        you take the width of a head for their number: pass `num_heads` to split_heads.
            H=num_heads ⇒ H=x.shape[-1] // num_heads
        you attend once over all D columns and never use num_heads: split q, k and v into heads first.
            H=num_heads ⇒ H=1
        you add x at the end: that is the block's business, return what the attention computes.
            return out @ ⇒ return x + out @
        you return the weights as well: return the output alone.
            + params["proj.bias"] ⇒ + params["proj.bias"], weights
        """,
    ),
)

EXERCISES = (SPLIT_HEADS, MERGE_HEADS, MULTI_HEAD_SELF_ATTENTION)
