"""The exercises of chapter 01, scaled dot-product attention."""

import torch

from course_lib.checks.edits import edits_of
from course_lib.checks.exercise import Exercise, normal


def _softmax_probes(generator):
    draw = normal(generator)
    far_apart = torch.tensor([[900.0], [0.0], [-900.0]], dtype=torch.float64)
    return [
        {"scores": draw(5), "dim": -1},
        {"scores": draw(3, 4), "dim": -1},
        {"scores": draw(3, 3), "dim": -1},
        {"scores": draw(4, 2, 3), "dim": 1},
        {"scores": draw(3, 6) + far_apart, "dim": -1},
        {"scores": draw(3, 2) + far_apart, "dim": 0},
        {"scores": draw(2, 5).float().requires_grad_(), "dim": 0},
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
    forbidden=("log_softmax", "Softmax.forward", "scaled_dot_product_attention"),
    mistakes=edits_of(
        _softmax,
        """
        exp overflows for scores near 900 and inf/inf is NaN: subtract the maximum along `dim` first, the result does not change.
            scores - scores.amax(dim, keepdim=True) ⇒ scores
        you subtract the minimum, and exp overflows where scores are far apart: subtract the maximum, so that no exponent is above 0.
            amax ⇒ amin
        you subtract the maximum of the whole tensor, so a row far below it underflows to 0/0: subtract each slice's own maximum, scores.amax(dim, keepdim=True).
            scores.amax(dim, keepdim=True) ⇒ scores.max()
        your columns sum to 1, not your rows: sum along `dim`, not always along 0.
            ⇒ return _softmax(scores, 0)
        you always work along the last dimension: use the `dim` that the caller gives.
            ⇒ return _softmax(scores, -1)
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
        the exponentials are right, but they do not sum to 1 yet: divide by their sum along `dim`.
            / exps.sum(dim, keepdim=True) ⇒
        you divide the scores themselves by their sum, which can be negative: take the exponential first.
            ⇒ return scores / scores.sum(dim, keepdim=True)
        """,
    ),
)


def _attention_probes(generator):
    """Queries and keys of unit variance: at these widths the softmax is far from saturated."""
    draw = normal(generator)
    return [
        {"query": draw(3, 5), "key": draw(4, 5)},
        {"query": draw(2, 4, 6), "key": draw(2, 3, 6)},
        {"query": draw(5, 5, 3), "key": draw(5, 5, 3)},
        {"query": draw(2, 3, 4, 8).float().requires_grad_(), "key": draw(2, 3, 7, 8).float().requires_grad_()},
    ]


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
        you divide by d: the standard deviation of a dot product is √d, not d.
            ** 0.5 ⇒
        you multiply by √d where you should divide.
            scores / query ⇒ scores * query
        you divide by the root of the number of keys: d is the width of a key, key.shape[-1].
            query.shape[-1] ⇒ key.shape[-2]
        you divide after the softmax, so rows no longer sum to 1: the division by √d belongs inside it.
            (scores / query.shape[-1] ** 0.5, dim=-1) ⇒ (scores, dim=-1) / query.shape[-1] ** 0.5
        you divide by the root of the number of queries: d is the width of a query, query.shape[-1].
            shape[-1] ⇒ shape[-2]
        shape[1] is the width only if there is no batch: count from the end, query.shape[-1].
            shape[-1] ⇒ shape[1]
        dim=1 is the keys only if there is no batch: count from the end, dim=-1.
            dim=-1 ⇒ dim=1
        transpose(0, 1) moves the batch if there is one: count from the end, key.transpose(-2, -1).
            (-2, -1) ⇒ (0, 1)
        your columns sum to 1, so the queries compete for each key: take the softmax along the keys, dim=-1.
            dim=-1 ⇒ dim=-2
        these are scores, not yet weights: take the softmax along the keys.
            torch.softmax(scores / query.shape[-1] ** 0.5, dim=-1) ⇒ scores / query.shape[-1] ** 0.5
        your rows are keys and your columns queries: it is query @ keyᵀ, not key @ queryᵀ.
            query @ key.transpose(-2, -1) ⇒ key @ query.transpose(-2, -1)
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
    widths = (7, 2, 3, 5)  # the third equals d, so that values and keys could be confused without an error
    probes = _attention_probes(generator)
    for probe, width in zip(probes, widths, strict=True):
        key = probe["key"]
        probe["value"] = normal(generator)(*key.shape[:-1], width).to(key.dtype)
    return probes


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
    forbidden=("scaled_dot_product_attention", "multi_head_attention_forward"),
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
        the scale is missing: divide the scores by √d before the softmax.
            / query.shape[-1] ** 0.5 ⇒
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
    """Random masks; in each, one query may attend to nothing and one to everything."""
    probes = _value_probes(generator)
    for probe in probes:
        shape = (*probe["query"].shape[:-1], probe["key"].shape[-2])
        mask = torch.rand(shape, generator=generator) < 0.6
        mask[..., 0, :] = True
        mask[..., 1, :] = False
        mask[..., 2, 0] = True
        mask[..., 2, 1] = False
        probe["mask"] = mask
    return probes


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
    forbidden=("scaled_dot_product_attention", "multi_head_attention_forward"),
    mistakes=edits_of(
        _masked_attend,
        """
        the mask is the wrong way round: True means may attend.
            ~mask ⇒ mask
        the mask is the wrong way round: True means may attend. (And a row with nothing allowed becomes NaN: make it zeros.)
            ~mask ⇒ mask
            .nan_to_num(nan=0.0) ⇒
        a row with nothing allowed is 0/0 = NaN: set the weights to 0 where the mask is False.
            .nan_to_num(nan=0.0) ⇒
        a row with nothing allowed comes out uniform, so it attends where it may not: set the weights to 0 where the mask is False.
            float("-inf") ⇒ -1e9
        you zero the weights after the softmax, so rows no longer sum to 1: mask the scores before it.
            scores.masked_fill(~mask, float("-inf")) ⇒ scores
            .nan_to_num(nan=0.0) ⇒ * mask
        -10 is not low enough, e⁻¹⁰ still lets a little through: fill with the lowest number that the type has.
            float("-inf") ⇒ -10
          or
            float("-inf") ⇒ -10
            .nan_to_num(nan=0.0) ⇒ * mask.any(-1, keepdim=True)
        a score of 0 still gets weight, since exp(0) = 1: fill forbidden scores with a very large negative number.
            float("-inf") ⇒ 0.0
        adding the mask shifts allowed scores by 1 and forbids nothing: fill forbidden scores with a very large negative number.
            scores.masked_fill(~mask, float("-inf")) ⇒ scores + mask
        the mask is not used at all.
            scores.masked_fill(~mask, float("-inf")) ⇒ scores
        return two tensors, the output and then the weights.
            , weights ⇒
        the queries compete for each key: take the softmax along the keys, dim=-1.
            dim=-1 ⇒ dim=-2
        the scale is missing: divide the scores by √d before masking.
            / query.shape[-1] ** 0.5 ⇒
        """,
    ),
)

EXERCISES = (SOFTMAX, ATTENTION_WEIGHTS, SCALED_DOT_PRODUCT_ATTENTION, MASKED_ATTENTION)
