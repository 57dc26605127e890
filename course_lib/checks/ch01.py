"""The exercises of chapter 01, scaled dot-product attention."""

import math  # noqa: F401 (for the edits)

import numpy as np  # noqa: F401 (for the edits)
import torch

from course_lib.checks.edits import edits_of
from course_lib.checks.exercise import Exercise, normal, single


def _softmax_probes(generator):
    """Sizes of 1 along `dim` and beside it, one shape more than once, and scores that overflow in either precision.

    Those are multiples of 1/8, which float32 holds exactly.
    """
    draw = normal(generator)

    def steps(*shape):
        return (8 * draw(*shape)).round() / 8

    far_apart = torch.tensor([[900.0], [0.0], [-900.0]], dtype=torch.float64)
    return [
        {"scores": draw(5), "dim": -1},
        {"scores": draw(3, 4), "dim": -1},
        {"scores": draw(3, 3), "dim": -1},
        {"scores": draw(4, 2, 3), "dim": 1},
        {"scores": draw(4, 3)},
        {"scores": steps(3, 6) + far_apart, "dim": -1},
        {"scores": steps(3, 2) + far_apart, "dim": 0},
        {"scores": single(draw(2, 5)), "dim": 0},
        {"scores": (draw(3, 6) + far_apart / 4).float(), "dim": 0},
        {"scores": draw(3, 4), "dim": 0},
        {"scores": draw(1, 4), "dim": -1},
        {"scores": draw(2, 1, 3), "dim": -2},
        {"scores": draw(2, 4, 1), "dim": 0},
        {"scores": draw(2, 3, 4)},
        {"scores": draw(2, 3, 2, 4)},
        {"scores": draw(2, 4, 3), "dim": 2},
        {"scores": single(draw(3, 2, 4)), "dim": -2},
    ]


def _softmax(scores, dim=-1):
    exps = torch.exp(scores - scores.amax(dim, keepdim=True))
    return exps / exps.sum(dim, keepdim=True)


SOFTMAX = Exercise(
    name="softmax",
    chapter="01",
    signature="softmax(scores, dim=-1)",
    task="exponentiate, then divide by the sum along `dim`, so that every slice along `dim` is positive and sums to 1.",
    probes=_softmax_probes,
    oracle=lambda scores, dim=-1: torch.softmax(scores, dim),
    forbidden=("log_softmax", "softmin", "Softmax.forward", "scaled_dot_product_attention"),
    mistakes=edits_of(
        _softmax,
        """
        exp overflows for scores near 900 and inf/inf is NaN: subtract the maximum along `dim` first, the result does not change.
            scores - scores.amax(dim, keepdim=True) ⇒ scores
        dividing inf by inf gave NaN, and setting it to a number does not bring the weights back: subtract the maximum along `dim` first, so that nothing overflows.
            scores - scores.amax(dim, keepdim=True) ⇒ scores
            exps / exps.sum(dim, keepdim=True) ⇒ (exps / exps.sum(dim, keepdim=True)).nan_to_num()
        you subtract the largest absolute value, and a slice of scores near -900 underflows to 0/0: subtract the maximum itself, scores.amax(dim, keepdim=True).
            scores.amax ⇒ scores.abs().amax
        your bounds make different scores the same: subtract the maximum along `dim` in place of clamping, the result does not change.
            scores - scores.amax(dim, keepdim=True) ⇒ scores.clamp(max=50)
          or
            scores - scores.amax(dim, keepdim=True) ⇒ scores.clamp(-50, 50)
          or
            scores - scores.amax(dim, keepdim=True) ⇒ scores.clamp(-10, 10)
          or
            scores - scores.amax(dim, keepdim=True) ⇒ scores.clamp(max=700)
          or
            scores - scores.amax(dim, keepdim=True) ⇒ scores.clamp(-700, 700)
          or
            scores - scores.amax(dim, keepdim=True) ⇒ scores.clamp(max=709)
        you divide by the maximum, which changes the result: subtract it.
            scores - ⇒ scores /
        you subtract the scores from the maximum, so the largest gets the smallest weight: it is scores minus their maximum.
            scores - scores.amax(dim, keepdim=True) ⇒ scores.amax(dim, keepdim=True) - scores
        the base of your powers is not e: torch.exp has the right one.
            torch.exp( ⇒ 2 ** (
          or
            torch.exp(scores - scores.amax(dim, keepdim=True)) ⇒ 2**scores
          or
            torch.exp( ⇒ 10 ** (
          or
            torch.exp(scores - scores.amax(dim, keepdim=True)) ⇒ 10**scores
        math.exp takes one plain number: torch.exp takes a whole tensor.
            torch.exp ⇒ math.exp
        np.exp leaves PyTorch, and the .detach() that its error proposes would cut the gradient: use torch.exp.
            torch.exp ⇒ np.exp
        you subtract the mean, and a score far above it still overflows: subtract the maximum, so that no exponent is above 0.
            amax ⇒ mean
        you subtract the minimum, and exp overflows where scores are far apart: subtract the maximum, so that no exponent is above 0.
            amax ⇒ amin
        you subtract the maximum of the whole tensor, so a row far below it underflows to 0/0: subtract each slice's own maximum, scores.amax(dim, keepdim=True).
            scores.amax(dim, keepdim=True) ⇒ scores.max()
        your columns sum to 1, not your rows: sum along `dim`, not always along 0.
            ⇒ return _softmax(scores, 0)
        you always work along the last dimension: use the `dim` that the caller gives.
            ⇒ return _softmax(scores, -1)
        your default for `dim` is the first dimension: it is the last one, dim=-1.
            dim=-1 ⇒ dim=0
        your default for `dim` is 1, which is the last dimension of a matrix alone: it is -1, the last of any tensor.
            dim=-1 ⇒ dim=1
        your default for `dim` is None, the whole tensor: it is the last dimension, dim=-1.
            dim=-1 ⇒ dim=None
        you sum along the same dimension whatever `dim` is: sum along `dim`, as you take the maximum.
            exps.sum(dim, ⇒ exps.sum(-1,
          or
            exps.sum(dim, ⇒ exps.sum(0,
        you divide by the sum of the whole tensor: sum along `dim` only.
            exps.sum(dim, keepdim=True) ⇒ exps.sum()
        the sum lost its dimension and broadcast along the wrong one: keep it with keepdim=True.
            exps.sum(dim, keepdim=True) ⇒ exps.sum(dim)
        the maximum and the sum lost their dimension: keep it with keepdim=True in both.
            scores.amax(dim, keepdim=True) ⇒ scores.amax(dim)
            exps.sum(dim, keepdim=True) ⇒ exps.sum(dim)
        the maximum lost its dimension and broadcasts along the wrong one: keep it with keepdim=True.
            scores.amax(dim, keepdim=True) ⇒ scores.amax(dim)
        scores.max(dim) returns two things, values and indices: use scores.amax(dim, keepdim=True).
            amax ⇒ max
        you divide by the sum of the whole tensor: sum along `dim` only. (And subtract the maximum first: exp overflows.)
            scores - scores.amax(dim, keepdim=True) ⇒ scores
            exps.sum(dim, keepdim=True) ⇒ exps.sum()
        unsqueeze(-1) puts the lost dimension at the end: it belongs where `dim` says, unsqueeze(dim), or keep it with keepdim=True.
            scores.amax(dim, keepdim=True) ⇒ scores.amax(dim).unsqueeze(-1)
            exps.sum(dim, keepdim=True) ⇒ exps.sum(dim).unsqueeze(-1)
          or
            scores.amax(dim, keepdim=True) ⇒ scores.amax(dim).unsqueeze(-1)
          or
            exps.sum(dim, keepdim=True) ⇒ exps.sum(dim).unsqueeze(-1)
        you go through dimension 0 and take all that an entry has together: work along `dim`, whatever it is, and without a loop.
            ⇒ exps = [torch.exp(row - row.max()) for row in scores]
            | return torch.stack([e / e.sum() for e in exps])
          or
            ⇒ exps = [torch.exp(row) for row in scores]
            | return torch.stack([e / e.sum() for e in exps])
        the maximum is subtracted on one side of the division alone: divide exponentials by the sum of the very same ones.
            exps.sum(dim, keepdim=True) ⇒ torch.exp(scores).sum(dim, keepdim=True)
          or
            return exps / ⇒ return torch.exp(scores) /
        that is the logarithm of the softmax: return the weights themselves.
            ⇒ shifted = scores - scores.amax(dim, keepdim=True)
            | return shifted - shifted.exp().sum(dim, keepdim=True).log()
          or
            exps / exps.sum(dim, keepdim=True) ⇒ (exps / exps.sum(dim, keepdim=True)).log()
        a small number in the denominator does not help where exp overflows, and inf/inf is NaN: subtract the maximum along `dim` first, the result does not change.
            scores - scores.amax(dim, keepdim=True) ⇒ scores
            exps.sum(dim, keepdim=True) ⇒ (exps.sum(dim, keepdim=True) + 1e-9)
        you divide by the mean of the exponentials, so a slice sums to the number of its scores: divide by their sum.
            exps.sum ⇒ exps.mean
        you divide by the root of the sum of squares, as F.normalize does: divide by the sum, so that a slice sums to 1.
            exps.sum(dim, keepdim=True) ⇒ exps.norm(dim=dim, keepdim=True)
        you divide by the largest absolute value, which changes the result: subtract the maximum.
            scores - scores.amax(dim, keepdim=True) ⇒ scores / scores.abs().amax(dim, keepdim=True)
        the exponentials are right, but they do not sum to 1 yet: divide by their sum along `dim`.
            / exps.sum(dim, keepdim=True) ⇒
        you divide the scores themselves by their sum, which can be negative: take the exponential first.
            ⇒ return scores / scores.sum(dim, keepdim=True)
        """,
    ),
)

LARGE = 6  # the place of the probe with large scores


def _attention_probes(generator):
    """Queries and keys of unit variance, so that the softmax is far from saturated; one pair with large scores.

    There three queries find three keys near 800 and three near -800, one finds all near -800, and one near 0. All that
    it has is whole, and so is its √d: float32 holds such scores exactly, and others it would move by more than is
    allowed.
    """
    draw, probes = normal(generator), []
    for queries, keys in (
        ((6, 5), (4, 5)),
        ((2, 4, 6), (2, 3, 6)),
        ((5, 5, 3), (5, 5, 3)),
        ((1, 3, 1), (1, 4, 1)),
        ((2, 1, 4), (2, 5, 4)),
        ((3, 1, 2, 5), (3, 1, 1, 5)),
        ((5, 4), (6, 4)),
        ((6, 5), (4, 5)),  # the shapes of the first
        ((2, 3, 4, 8), (2, 3, 7, 8)),
    ):
        probes.append({"query": draw(*queries), "key": draw(*keys)})
    large = probes[LARGE]
    large.update({name: x.round() for name, x in large.items()})
    large["query"][:, :2] = torch.tensor([[40, 0], [40, 0], [40, 0], [0, -80], [0, 0]])
    large["key"][:, :2] = torch.tensor([[40, 20], [-40, 20]]).repeat_interleave(3, dim=0)
    return [*probes[:-1], single(probes[-1])]


def _attention_weights(query, key):
    scores = query @ key.transpose(-2, -1)  # (..., Nq, Nk)
    return torch.softmax(scores / query.shape[-1] ** 0.5, dim=-1)


ATTENTION_WEIGHTS = Exercise(
    name="attention_weights",
    chapter="01",
    signature="attention_weights(query, key)",
    task="compute softmax(query @ keyᵀ / √d) along the keys: (..., Nq, d) and (..., Nk, d) -> (..., Nq, Nk).",
    probes=_attention_probes,
    oracle=_attention_weights,
    uses={"softmax": lambda scores, dim=-1: torch.softmax(scores, dim)},
    mistakes=edits_of(
        _attention_weights,
        """
        the scale is missing: divide the scores by √d before the softmax.
            / query.shape[-1] ** 0.5 ⇒
        exp overflows for large scores and inf/inf is NaN: use your softmax, which subtracts each row's maximum first.
            ⇒ exps = torch.exp(query @ key.mT / query.shape[-1] ** 0.5)
            | return exps / exps.sum(-1, keepdim=True)
        you subtract the maximum of all scores, and a row far below it underflows to 0/0: use your softmax, or subtract each row's own maximum.
            ⇒ scores = query @ key.mT / query.shape[-1] ** 0.5
            | exps = torch.exp(scores - scores.max())
            | return exps / exps.sum(-1, keepdim=True)
        torch.sqrt takes a tensor, and a width is a plain number: write query.shape[-1] ** 0.5.
            query.shape[-1] ** 0.5 ⇒ torch.sqrt(query.shape[-1])
        `** 1/2` is the first power, halved, since a power comes before a division: the root is ** 0.5.
            query.shape[-1] ** 0.5 ⇒ query.shape[-1] ** 1 / 2
          or
            query.shape[-1] ** 0.5 ⇒ (query.shape[-1] ** 1 / 2)
        you divide by d: the standard deviation of a dot product is √d, not d.
            ** 0.5 ⇒
        you multiply by √d where you should divide.
            scores / query ⇒ scores * query
        you divide by the root of the number of keys: d is the width of a key, key.shape[-1].
            query.shape[-1] ⇒ key.shape[-2]
          or
            query.shape[-1] ⇒ len(key)
        you divide after the softmax, so rows no longer sum to 1: the division by √d belongs inside it.
            (scores / query.shape[-1] ** 0.5, dim=-1) ⇒ (scores, dim=-1) / query.shape[-1] ** 0.5
        you divide by the root of the number of queries: d is the width of a query, query.shape[-1].
            shape[-1] ⇒ shape[-2]
        you count the width from the front, and there may be any number of dimensions: count from the end, query.shape[-1].
            shape[-1] ⇒ shape[1]
          or
            shape[-1] ⇒ shape[2]
          or
            shape[-1] ⇒ shape[0]
        you count the keys' dimension from the front, and there may be any number of dimensions: count from the end, dim=-1.
            dim=-1 ⇒ dim=1
          or
            dim=-1 ⇒ dim=2
        you transpose by counting from the front, and there may be any number of dimensions: count from the end, key.transpose(-2, -1).
            (-2, -1) ⇒ (0, 1)
          or
            (-2, -1) ⇒ (1, 2)
          or
            transpose(-2, -1) ⇒ permute(0, 2, 1)
        you take the softmax along dimension 0, the queries of a matrix or the batch: take it along the keys, dim=-1.
            dim=-1 ⇒ dim=0
        your columns sum to 1, so the queries compete for each key: take the softmax along the keys, dim=-1.
            dim=-1 ⇒ dim=-2
        these are scores, not yet weights: take the softmax along the keys.
            torch.softmax(scores / query.shape[-1] ** 0.5, dim=-1) ⇒ scores / query.shape[-1] ** 0.5
        your rows are keys and your columns queries: it is query @ keyᵀ, not key @ queryᵀ.
            query @ key.transpose(-2, -1) ⇒ key @ query.transpose(-2, -1)
        a reshape to (..., d, Nk) only relabels the numbers, and its columns are no keys: key.transpose(-2, -1) turns the matrix.
            key.transpose(-2, -1) ⇒ key.reshape(*key.shape[:-2], key.shape[-1], key.shape[-2])
        you make a whole number of the root of d: leave it as it is, query.shape[-1] ** 0.5.
            query.shape[-1] ** 0.5 ⇒ int(query.shape[-1] ** 0.5)
          or
            query.shape[-1] ** 0.5 ⇒ round(query.shape[-1] ** 0.5)
        the number by which you divide is written into your code, and it fits one width alone: √d is query.shape[-1] ** 0.5.
            query.shape[-1] ** 0.5 ⇒ 2
          or
            query.shape[-1] ** 0.5 ⇒ 4
          or
            query.shape[-1] ** 0.5 ⇒ 8
          or
            query.shape[-1] ** 0.5 ⇒ 16
          or
            query.shape[-1] ** 0.5 ⇒ 768**0.5
        you divide by the standard deviation that these scores happen to have: divide by √d, which the scores do not change.
            query.shape[-1] ** 0.5 ⇒ scores.std()
        you compare directions alone, as a cosine does: take the dot products of query and key as they come.
            query @ key.transpose(-2, -1) ⇒ torch.nn.functional.normalize(query, dim=-1) @ torch.nn.functional.normalize(key, dim=-1).mT
        you unpack a shape into a fixed number of sizes, and there may be any number of dimensions: count from the end, query.shape[-1].
            scores = ⇒ B, N, d = query.shape; scores =
          or
            scores = ⇒ N, d = query.shape; scores =
        your einsum has a letter for each dimension, and there may be any number of them: write an ellipsis for the leading ones, "...qd,...kd->...qk".
            query @ key.transpose(-2, -1) ⇒ torch.einsum("bqd,bkd->bqk", query, key)
          or
            query @ key.transpose(-2, -1) ⇒ torch.einsum("qd,kd->qk", query, key)
        torch.bmm takes three dimensions and torch.mm two, and there may be any number: `@` takes them all.
            query @ key.transpose(-2, -1) ⇒ torch.bmm(query, key.mT)
          or
            query @ key.transpose(-2, -1) ⇒ torch.mm(query, key.mT)
        you take the softmax twice: once is enough.
            dim=-1) ⇒ dim=-1).softmax(-1)
        these are the logarithms of the weights: it is softmax, not log_softmax.
            torch.softmax ⇒ torch.log_softmax
          or
            dim=-1) ⇒ dim=-1).log()
        a sigmoid judges each key alone: the keys share 1, so it is softmax.
            torch.softmax(scores / query.shape[-1] ** 0.5, dim=-1) ⇒ torch.sigmoid(scores / query.shape[-1] ** 0.5)
        `key` is not transposed, so the shapes do not fit (or, worse, fit by accident): use key.transpose(-2, -1).
            .transpose(-2, -1) ⇒
        .T and .t() are for matrices without a batch: key.transpose(-2, -1) swaps the last two dimensions only.
            transpose(-2, -1) ⇒ t()
          or
            transpose(-2, -1) ⇒ T
        """,
    ),
)


def _value_probes(generator):
    """The same queries and keys, each key with a value of another width."""
    widths = (
        7,
        2,
        3,
        4,
        1,
        2,
        6,
        7,
        5,
    )  # the third equals d, so that values and keys could be confused without an error
    probes = _attention_probes(generator)
    for probe, width in zip(probes, widths, strict=True):
        key = probe["key"]
        probe["value"] = normal(generator)(*key.shape[:-1], width)
    return [*probes[:-1], single(probes[-1])]


def _attend(query, key, value):
    weights = torch.softmax(query @ key.transpose(-2, -1) / query.shape[-1] ** 0.5, dim=-1)
    return weights @ value, weights


SCALED_DOT_PRODUCT_ATTENTION = Exercise(
    name="scaled_dot_product_attention",
    chapter="01",
    signature="scaled_dot_product_attention(query, key, value)",
    task="return (output, weights): the weights of attention_weights, and weights @ value.",
    probes=_value_probes,
    oracle=_attend,
    parts=("output", "weights"),
    uses={**ATTENTION_WEIGHTS.uses, "attention_weights": _attention_weights},
    forbidden=("attention_weights", "scaled_dot_product_attention", "multi_head_attention_forward"),
    mistakes=edits_of(
        _attend,
        """
        return two tensors, the output and then the weights.
            , weights ⇒
        the two results are in the wrong order: output first, weights second.
            weights @ value, weights ⇒ weights, weights @ value
        you average the keys: keys are for comparing, what is averaged is the values.
            @ value ⇒ @ key
        you average the queries: what is averaged is the values.
            @ value ⇒ @ query
        the weights are transposed in the product: row i of the weights makes row i of the output, weights @ value.
            weights @ ⇒ weights.mT @
        exp overflows for large scores and inf/inf is NaN: use your attention_weights, or subtract each row's maximum first.
            torch.softmax(query @ key.transpose(-2, -1) / query.shape[-1] ** 0.5, dim=-1) ⇒ torch.exp(query @ key.mT / query.shape[-1] ** 0.5)
            | weights = weights / weights.sum(-1, keepdim=True)
        you subtract the maximum of all scores, and a row far below it underflows to 0/0: use your attention_weights, or subtract each row's own maximum.
            torch.softmax(query @ key.transpose(-2, -1) / query.shape[-1] ** 0.5, dim=-1) ⇒ query @ key.mT / query.shape[-1] ** 0.5
            | weights = torch.exp(weights - weights.max())
            | weights = weights / weights.sum(-1, keepdim=True)
        the scale is missing: divide the scores by √d before the softmax.
            / query.shape[-1] ** 0.5 ⇒
        `** 1/2` is the first power, halved, since a power comes before a division: the root is ** 0.5.
            query.shape[-1] ** 0.5 ⇒ query.shape[-1] ** 1 / 2
          or
            query.shape[-1] ** 0.5 ⇒ (query.shape[-1] ** 1 / 2)
        you divide by d, or by √d twice: divide the scores by √d, once.
            ** 0.5 ⇒
        you take the softmax twice: what attention_weights returns are weights already.
            weights @ value, weights ⇒ torch.softmax(weights, dim=-1) @ value, weights
          or
            return weights ⇒ weights = torch.softmax(weights, dim=-1)
            | return weights
        query and key have changed places: row i of the weights belongs to query i, attention_weights(query, key).
            query @ key.transpose(-2, -1) ⇒ key @ query.transpose(-2, -1)
        key and value have changed places: keys are compared with the queries, and values are averaged.
            query @ key.transpose(-2, -1) ⇒ query @ value.transpose(-2, -1)
            weights @ value ⇒ weights @ key
        the product is the wrong way round: row i of the weights makes row i of the output, weights @ value.
            weights @ value ⇒ value @ weights
        `value` is transposed, and nothing has to be in this product: the keys of the weights meet the keys of the values, weights @ value.
            weights @ value ⇒ weights @ value.mT
        the output is right, and the weights that you return are transposed: a row is a query, a column a key.
            value, weights ⇒ value, weights.mT
        you unpack a shape into a fixed number of sizes, and there may be any number of dimensions: count from the end, query.shape[-1].
            weights = ⇒ B, N, d = query.shape; weights =
          or
            weights = ⇒ N, d = query.shape; weights =
        your einsum has a letter for each dimension, and there may be any number of them: write an ellipsis for the leading ones, "...qk,...kv->...qv".
            weights @ value ⇒ torch.einsum("bqk,bkv->bqv", weights, value)
          or
            weights @ value ⇒ torch.einsum("qk,kv->qv", weights, value)
        torch.bmm takes three dimensions and torch.mm two, and there may be any number: `@` takes them all.
            weights @ value ⇒ torch.bmm(weights, value)
          or
            weights @ value ⇒ torch.mm(weights, value)
        you return the scores: return the weights, which are their softmax.
            value, weights ⇒ value, query @ key.mT / query.shape[-1] ** 0.5
        you take the softmax along dimension 0, the queries of a matrix or the batch: take it along the keys, dim=-1.
            dim=-1 ⇒ dim=0
        the queries compete for each key: take the softmax along the keys, dim=-1.
            dim=-1 ⇒ dim=-2
        you divide the output by √d: the scale belongs inside the softmax, once.
            weights @ value ⇒ weights @ value / query.shape[-1] ** 0.5
        `*` multiplies element by element: the average is a matrix product, weights @ value.
            weights @ value ⇒ weights * value
        you divide by the root of the width of the values: d is the width of queries and keys.
            query.shape ⇒ value.shape
        you multiply the scores with the values: take the softmax first.
            weights @ value ⇒ query @ key.mT / query.shape[-1] ** 0.5 @ value
        """,
    ),
)


def _mask_probes(generator):
    """Random masks. Where there are three queries, one may attend to all keys, every other one to none, one to some.

    The last key of the second batch is for nobody, and in one batch nobody may attend to anything. The large scores lie
    millions apart. Gradients are asked for where
    there is a row for nobody too: some ways to make zeros of nothing have the gradient nan.
    """
    probes = _value_probes(generator)
    for number, probe in enumerate(probes):
        query, key = probe["query"], probe["key"]
        mask = torch.rand((*query.shape[:-1], key.shape[-2]), generator=generator) < 0.6
        if query.shape[-2] < 3:
            mask[..., 0] = True
        else:
            mask[..., 0, :] = True
            mask[..., 1::2, :] = False
            mask[..., 2, 0] = True
            mask[..., 2, 1] = False
        if number == 1:
            mask[..., -1] = False
        if number == LARGE:
            query[:3, :2] *= 5000
            query[3, :2] = torch.tensor([20, 40])  # three keys near 800, three near 0
            mask[2:4, :3], mask[2:4, 3:] = False, True  # the low ones alone
            mask[4, 0], mask[4, 1] = True, False
        probe["mask"] = mask
    draw = normal(generator)
    nothing = {"query": draw(2, 3, 4), "key": draw(2, 5, 4), "value": draw(2, 5, 6)}
    nothing["mask"] = torch.zeros(2, 3, 5, dtype=torch.bool)
    return [*probes[:-1], nothing, probes[-1]]


def _masked_attend(query, key, value, mask):
    scores = query @ key.transpose(-2, -1) / query.shape[-1] ** 0.5
    weights = torch.softmax(scores.masked_fill(~mask, float("-inf")), dim=-1).nan_to_num(nan=0.0)
    return weights @ value, weights


MASKED_ATTENTION = Exercise(
    name="masked_attention",
    chapter="01",
    signature="masked_attention(query, key, value, mask)",
    task="return (output, weights), with weight 0 where mask is False, rows that sum to 1, and zeros for a row with nothing allowed.",
    probes=_mask_probes,
    oracle=_masked_attend,
    parts=("output", "weights"),
    uses={**SCALED_DOT_PRODUCT_ATTENTION.uses, "scaled_dot_product_attention": _attend},
    forbidden=("attention_weights", "scaled_dot_product_attention", "multi_head_attention_forward"),
    mistakes=edits_of(
        _masked_attend,
        """
        the mask is the wrong way round: True means may attend.
            ~mask ⇒ mask
          or
            ~mask ⇒ mask
            float("-inf") ⇒ -1e9
          or
            ~mask ⇒ mask
            float("-inf") ⇒ -1e9
            .nan_to_num(nan=0.0) ⇒ * mask
          or
            ~mask ⇒ mask
            float("-inf") ⇒ -1e9
            .nan_to_num(nan=0.0) ⇒ * mask.any(-1, keepdim=True)
        the mask is the wrong way round: True means may attend. (And a row with nothing allowed becomes NaN: make it zeros.)
            ~mask ⇒ mask
            .nan_to_num(nan=0.0) ⇒
        a row with nothing allowed is 0/0 = NaN: set the weights to 0 where the mask is False, then multiply with the values.
            .nan_to_num(nan=0.0) ⇒
          or
            .nan_to_num(nan=0.0) ⇒
            return weights @ value ⇒ return (weights @ value).nan_to_num()
          or
            .nan_to_num(nan=0.0) ⇒
            value, weights ⇒ value, weights.nan_to_num()
        0 times -inf is NaN, where it should add nothing: fill the forbidden scores with masked_fill.
            scores.masked_fill(~mask, float("-inf")) ⇒ scores + ~mask * float("-inf")
          or
            scores.masked_fill(~mask, float("-inf")) ⇒ scores + ~mask * float("-inf")
            .nan_to_num(nan=0.0) ⇒
        a mask times a number is float32, where the lowest float64 becomes -inf, and 0 times -inf is NaN: fill the forbidden scores with masked_fill.
            scores.masked_fill(~mask, float("-inf")) ⇒ scores + ~mask * torch.finfo(scores.dtype).min
            .nan_to_num(nan=0.0) ⇒ .masked_fill(~mask, 0.0)
          or
            scores.masked_fill(~mask, float("-inf")) ⇒ scores + ~mask * torch.finfo(scores.dtype).min
            .nan_to_num(nan=0.0) ⇒
          or
            scores.masked_fill(~mask, float("-inf")) ⇒ scores + ~mask * torch.finfo(scores.dtype).min
            .nan_to_num(nan=0.0) ⇒ * mask
        a row with nothing allowed comes out uniform, so it attends where it may not: set the weights to 0 where the mask is False.
            float("-inf") ⇒ -1e9
        a row with nothing allowed has weights of 0 and the mean of the values as output: set the weights to 0 first, then multiply with the values.
            float("-inf") ⇒ -1e9
            value, weights ⇒ value, weights * mask
        a row with nothing allowed has an output of 0 and weights that are not: return the weights that you have set to 0.
            float("-inf") ⇒ -1e9
            return weights @ ⇒ return (weights * mask) @
        a row with nothing allowed is left unmasked: set its weights to 0.
            .nan_to_num(nan=0.0) ⇒
            return ⇒ weights = torch.where(mask.any(-1, keepdim=True), weights, torch.softmax(scores, dim=-1))
            | return
        a row with nothing allowed gets the weight 1 for every key: set its weights to 0.
            nan=0.0 ⇒ nan=1.0
        you subtract the maximum of all scores, and a row far below it underflows to 0/0: take torch.softmax, or each row's own maximum among what is allowed.
            weights = torch.softmax(scores.masked_fill(~mask, float("-inf")), dim=-1).nan_to_num(nan=0.0) ⇒ scores = scores.masked_fill(~mask, float("-inf"))
            | weights = torch.exp(scores - scores.max())
            | weights = (weights / weights.sum(-1, keepdim=True)).nan_to_num(nan=0.0)
          or
            weights = torch.softmax(scores.masked_fill(~mask, float("-inf")), dim=-1).nan_to_num(nan=0.0) ⇒ scores = scores.masked_fill(~mask, float("-inf"))
            | weights = torch.exp(scores - scores.max())
            | weights = weights / weights.sum(-1, keepdim=True)
        you zero the weights after the softmax, so rows no longer sum to 1: mask the scores before it.
            scores.masked_fill(~mask, float("-inf")) ⇒ scores
            .nan_to_num(nan=0.0) ⇒ * mask
          or
            scores.masked_fill(~mask, float("-inf")) ⇒ scores
            return weights @ ⇒ return (weights * mask) @
        you exponentiate before you mask, and large scores overflow or leave 0/0 to the allowed ones: mask the scores first, then take the softmax.
            ⇒ weights = torch.softmax(query @ key.mT / query.shape[-1] ** 0.5, dim=-1) * mask
            | weights = weights / weights.sum(-1, keepdim=True).clamp_min(1e-30)
            | return weights @ value, weights
          or
            ⇒ weights = torch.exp(query @ key.mT / query.shape[-1] ** 0.5) * mask
            | weights = weights / weights.sum(-1, keepdim=True).clamp_min(1e-30)
            | return weights @ value, weights
          or
            ⇒ weights = torch.exp(query @ key.mT / query.shape[-1] ** 0.5) * mask
            | weights = (weights / weights.sum(-1, keepdim=True)).nan_to_num(nan=0.0)
            | return weights @ value, weights
        the number that you fill in is not low enough, for scores may lie below it: fill with the lowest that the type has, torch.finfo(scores.dtype).min.
            float("-inf") ⇒ -10
          or
            float("-inf") ⇒ -10
            .nan_to_num(nan=0.0) ⇒ * mask
          or
            float("-inf") ⇒ -10
            .nan_to_num(nan=0.0) ⇒ * mask.any(-1, keepdim=True)
          or
            float("-inf") ⇒ -100
          or
            float("-inf") ⇒ -100
            .nan_to_num(nan=0.0) ⇒ * mask
          or
            float("-inf") ⇒ -100
            .nan_to_num(nan=0.0) ⇒ * mask.any(-1, keepdim=True)
          or
            scores.masked_fill(~mask, float("-inf")) ⇒ scores - 1e4 * ~mask
          or
            scores.masked_fill(~mask, float("-inf")) ⇒ scores - 1e4 * ~mask
            .nan_to_num(nan=0.0) ⇒ * mask
          or
            scores.masked_fill(~mask, float("-inf")) ⇒ scores - 1e4 * ~mask
            .nan_to_num(nan=0.0) ⇒ * mask.any(-1, keepdim=True)
        one below the lowest score is not low enough, for exp(-1) is 0.37 still: fill with the lowest that the type has, torch.finfo(scores.dtype).min.
            float("-inf") ⇒ scores.min().item() - 1
          or
            float("-inf") ⇒ scores.min().item() - 1
            .nan_to_num(nan=0.0) ⇒ * mask
        you fill in the highest number in place of the lowest, and the forbidden keys get all the weight: fill with torch.finfo(scores.dtype).min.
            float("-inf") ⇒ torch.finfo(scores.dtype).max
        your second fill sets the weights of the allowed keys to 0: it is masked_fill(~mask, 0.0), for the others.
            float("-inf") ⇒ torch.finfo(scores.dtype).min
            .nan_to_num(nan=0.0) ⇒ .masked_fill(mask, 0.0)
          or
            .nan_to_num(nan=0.0) ⇒ .masked_fill(mask, 0.0)
        a row comes out as zeros as soon as anything in it is forbidden: fill with the lowest number of the type and not the highest, and make zeros of a whole row only where mask.any(-1) is False.
            float("-inf") ⇒ torch.finfo(scores.dtype).max
            .nan_to_num(nan=0.0) ⇒ * mask
          or
            float("-inf") ⇒ float("inf")
          or
            .nan_to_num(nan=0.0) ⇒ .masked_fill(~mask.all(-1, keepdim=True), 0.0)
        your `any` runs along the queries: ask each row whether it has a key, mask.any(-1, keepdim=True).
            float("-inf") ⇒ torch.finfo(scores.dtype).min
            .nan_to_num(nan=0.0) ⇒ * mask.any(-2, keepdim=True)
          or
            .nan_to_num(nan=0.0) ⇒ .masked_fill(~mask.any(-2, keepdim=True), 0.0)
          or
            float("-inf") ⇒ -1e9
            weights @ value, weights ⇒ (weights * mask.any(-2, keepdim=True)) @ value, weights
        a score of 0 still gets weight, since exp(0) = 1: fill forbidden scores with a very large negative number.
            float("-inf") ⇒ 0.0
        adding the mask shifts allowed scores by 1 and forbids nothing: fill forbidden scores with a very large negative number.
            scores.masked_fill(~mask, float("-inf")) ⇒ scores + mask
        a forbidden score of 0 counts in the sum, since exp(0) = 1, even if its weight is set to 0 afterwards: fill forbidden scores with a very large negative number.
            scores.masked_fill(~mask, float("-inf")) ⇒ scores * mask
            .nan_to_num(nan=0.0) ⇒ * mask
        you use the mask of the first query for all of them: each query has a row of its own in `mask`.
            ~mask ⇒ ~mask[..., :1, :]
        the mask is not used at all.
            scores.masked_fill(~mask, float("-inf")) ⇒ scores
        the two results are in the wrong order: output first, weights second.
            weights @ value, weights ⇒ weights, weights @ value
        return two tensors, the output and then the weights.
            , weights ⇒
        you take the softmax along dimension 0, the queries of a matrix or the batch: take it along the keys, dim=-1.
            dim=-1 ⇒ dim=0
        the queries compete for each key: take the softmax along the keys, dim=-1.
            dim=-1 ⇒ dim=-2
        the scale is missing: divide the scores by √d before masking.
            / query.shape[-1] ** 0.5 ⇒
        `** 1/2` is the first power, halved, since a power comes before a division: the root is ** 0.5.
            query.shape[-1] ** 0.5 ⇒ query.shape[-1] ** 1 / 2
          or
            query.shape[-1] ** 0.5 ⇒ (query.shape[-1] ** 1 / 2)
        torch.sqrt takes a tensor, and a width is a plain number: write query.shape[-1] ** 0.5.
            query.shape[-1] ** 0.5 ⇒ torch.sqrt(query.shape[-1])
        """,
    ),
)

EXERCISES = (SOFTMAX, ATTENTION_WEIGHTS, SCALED_DOT_PRODUCT_ATTENTION, MASKED_ATTENTION)
