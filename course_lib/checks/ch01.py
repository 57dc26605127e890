"""The exercises of chapter 01, scaled dot-product attention."""

import torch

from course_lib.checks.exercise import Exercise, Mistake


def _softmax_probes(generator):
    def scores(*shape):
        return torch.randn(shape, generator=generator, dtype=torch.float64)

    far_apart = torch.tensor([[900.0], [0.0], [-900.0]], dtype=torch.float64)
    return [
        {"scores": scores(5), "dim": -1},
        {"scores": scores(3, 4), "dim": -1},
        {"scores": scores(3, 3), "dim": -1},
        {"scores": scores(4, 2, 3), "dim": 1},
        {"scores": scores(3, 6) + far_apart, "dim": -1},
        {"scores": scores(2, 5).float().requires_grad_(), "dim": 0},
    ]


def _shifted_exp(scores, dim):
    return (scores - scores.amax(dim, keepdim=True)).exp()


SOFTMAX = Exercise(
    name="softmax",
    chapter="01",
    signature="softmax(scores, dim=-1)",
    task="exponentiate, then divide by the sum along `dim`, so that every slice along `dim` is positive and sums to 1.",
    probes=_softmax_probes,
    oracle=lambda scores, dim=-1: torch.softmax(scores, dim),
    forbidden=(
        "torch.softmax",
        "torch.Tensor.softmax",
        "torch.special.softmax",
        "torch.nn.functional.softmax",
        "torch.nn.Softmax.forward",
        "torch.log_softmax",
        "torch.Tensor.log_softmax",
        "torch.special.log_softmax",
        "torch.nn.functional.log_softmax",
    ),
    mistakes=(
        Mistake(
            "exp overflows for scores near 900 and inf/inf is NaN: subtract the maximum along `dim` first, the result does not change.",
            lambda scores, dim: scores.exp() / scores.exp().sum(dim, keepdim=True),
        ),
        Mistake(
            "you subtract the maximum of the whole tensor, so a row far below it underflows to 0/0: subtract each slice's own maximum, scores.amax(dim, keepdim=True).",
            lambda scores, dim: (scores - scores.max()).exp() / (scores - scores.max()).exp().sum(dim, keepdim=True),
        ),
        Mistake(
            "your columns sum to 1, not your rows: sum along `dim`, not always along 0.",
            lambda scores, dim: torch.softmax(scores, 0),
        ),
        Mistake(
            "you always work along the last dimension: use the `dim` that the caller gives.",
            lambda scores, dim: torch.softmax(scores, -1),
        ),
        Mistake(
            "you divide by the sum of the whole tensor: sum along `dim` only.",
            lambda scores, dim: _shifted_exp(scores, dim) / _shifted_exp(scores, dim).sum(),
        ),
        Mistake(
            "the sum lost its dimension and broadcast along the wrong one: keep it with keepdim=True.",
            lambda scores, dim: _shifted_exp(scores, dim) / _shifted_exp(scores, dim).sum(dim),
        ),
        Mistake(
            "the maximum and the sum lost their dimension: keep it with keepdim=True in both.",
            lambda scores, dim: (scores - scores.amax(dim)).exp() / (scores - scores.amax(dim)).exp().sum(dim),
        ),
        Mistake(
            "the maximum lost its dimension and broadcasts along the wrong one: keep it with keepdim=True.",
            lambda scores, dim: (
                (scores - scores.amax(dim)).exp() / (scores - scores.amax(dim)).exp().sum(dim, keepdim=True)
            ),
        ),
        Mistake(
            "scores.max(dim) returns two things, values and indices: use scores.amax(dim, keepdim=True).",
            lambda scores, dim: scores - scores.max(dim, keepdim=True),
        ),
        Mistake(
            "you divide by the sum of the whole tensor: sum along `dim` only. (And subtract the maximum first: exp overflows.)",
            lambda scores, dim: scores.exp() / scores.exp().sum(),
        ),
        Mistake(
            "the exponentials are right, but they do not sum to 1 yet: divide by their sum along `dim`.",
            _shifted_exp,
        ),
        Mistake(
            "you divide the scores themselves by their sum, which can be negative: take the exponential first.",
            lambda scores, dim: scores / scores.sum(dim, keepdim=True),
        ),
    ),
)


def _attention_probes(generator):
    """Queries and keys of unit variance: at these widths the softmax is far from saturated."""

    def normal(*shape):
        return torch.randn(shape, generator=generator, dtype=torch.float64)

    return [
        {"query": normal(3, 5), "key": normal(4, 5)},
        {"query": normal(2, 4, 6), "key": normal(2, 3, 6)},
        {"query": normal(5, 5, 3), "key": normal(5, 5, 3)},
        {"query": normal(2, 3, 4, 8).float().requires_grad_(), "key": normal(2, 3, 7, 8).float().requires_grad_()},
    ]


def _scores(query, key):
    return query @ key.transpose(-2, -1)


def _weights(query, key):
    return torch.softmax(_scores(query, key) / query.shape[-1] ** 0.5, dim=-1)


ATTENTION_WEIGHTS = Exercise(
    name="attention_weights",
    chapter="01",
    signature="attention_weights(query, key)",
    task="compute softmax(query @ keyᵀ / √d) along the keys: (..., Nq, d) and (..., Nk, d) -> (..., Nq, Nk).",
    probes=_attention_probes,
    oracle=_weights,
    uses={"softmax": lambda scores, dim=-1: torch.softmax(scores, dim)},
    mistakes=(
        Mistake(
            "the scale is missing: divide the scores by √d before the softmax.",
            lambda query, key: torch.softmax(_scores(query, key), dim=-1),
        ),
        Mistake(
            "you divide by d: the standard deviation of a dot product is √d, not d.",
            lambda query, key: torch.softmax(_scores(query, key) / query.shape[-1], dim=-1),
        ),
        Mistake(
            "you multiply by √d where you should divide.",
            lambda query, key: torch.softmax(_scores(query, key) * query.shape[-1] ** 0.5, dim=-1),
        ),
        Mistake(
            "you divide by the root of the number of keys: d is the width of a key, key.shape[-1].",
            lambda query, key: torch.softmax(_scores(query, key) / key.shape[-2] ** 0.5, dim=-1),
        ),
        Mistake(
            "you divide after the softmax, so rows no longer sum to 1: the division by √d belongs inside it.",
            lambda query, key: torch.softmax(_scores(query, key), dim=-1) / query.shape[-1] ** 0.5,
        ),
        Mistake(
            "you divide by the root of the number of queries: d is the width of a query, query.shape[-1].",
            lambda query, key: torch.softmax(_scores(query, key) / query.shape[-2] ** 0.5, dim=-1),
        ),
        Mistake(
            "shape[1] is the width only if there is no batch: count from the end, query.shape[-1].",
            lambda query, key: torch.softmax(_scores(query, key) / query.shape[1] ** 0.5, dim=-1),
        ),
        Mistake(
            "dim=1 is the keys only if there is no batch: count from the end, dim=-1.",
            lambda query, key: torch.softmax(_scores(query, key) / query.shape[-1] ** 0.5, dim=1),
        ),
        Mistake(
            "transpose(0, 1) moves the batch if there is one: count from the end, key.transpose(-2, -1).",
            lambda query, key: torch.softmax(query @ key.transpose(0, 1) / query.shape[-1] ** 0.5, dim=-1),
        ),
        Mistake(
            "your columns sum to 1, so the queries compete for each key: take the softmax along the keys, dim=-1.",
            lambda query, key: torch.softmax(_scores(query, key) / query.shape[-1] ** 0.5, dim=-2),
        ),
        Mistake(
            "these are scores, not yet weights: take the softmax along the keys.",
            lambda query, key: _scores(query, key) / query.shape[-1] ** 0.5,
        ),
        Mistake(
            "your rows are keys and your columns queries: it is query @ keyᵀ, not key @ queryᵀ.",
            lambda query, key: _weights(key, query),
        ),
        Mistake(
            "`key` is not transposed, so the shapes do not fit (or, worse, fit by accident): use key.transpose(-2, -1).",
            lambda query, key: torch.softmax(query @ key / query.shape[-1] ** 0.5, dim=-1),
        ),
        Mistake(
            ".T and .t() are for matrices without a batch: key.transpose(-2, -1) swaps the last two dimensions only.",
            lambda query, key: torch.softmax(query @ key.t() / query.shape[-1] ** 0.5, dim=-1),
        ),
        Mistake(
            ".T and .t() are for matrices without a batch: key.transpose(-2, -1) swaps the last two dimensions only.",
            lambda query, key: torch.softmax(query @ key.T / query.shape[-1] ** 0.5, dim=-1),
        ),
    ),
)


def _value_probes(generator):
    """The same queries and keys, each key with a value of another width."""
    widths = (7, 2, 3, 5)  # the third equals d, so that values and keys could be confused without an error
    probes = _attention_probes(generator)
    for probe, width in zip(probes, widths, strict=True):
        key = probe["key"]
        probe["value"] = torch.randn((*key.shape[:-1], width), generator=generator, dtype=torch.float64).to(key.dtype)
    return probes


def _attend(query, key, value):
    weights = _weights(query, key)
    return weights @ value, weights


def _unscaled(query, key):
    return torch.softmax(_scores(query, key), dim=-1)


def _over_queries(query, key):
    return torch.softmax(_scores(query, key) / query.shape[-1] ** 0.5, dim=-2)


SCALED_DOT_PRODUCT_ATTENTION = Exercise(
    name="scaled_dot_product_attention",
    chapter="01",
    signature="scaled_dot_product_attention(query, key, value)",
    task="return (output, weights): the weights of attention_weights, and weights @ value.",
    probes=_value_probes,
    oracle=_attend,
    parts=("output", "weights"),
    uses={**ATTENTION_WEIGHTS.uses, "attention_weights": _weights},
    forbidden=("torch.nn.functional.scaled_dot_product_attention",),
    mistakes=(
        Mistake(
            "return two tensors, the output and then the weights.",
            lambda query, key, value: _attend(query, key, value)[0],
        ),
        Mistake(
            "the two results are in the wrong order: output first, weights second.",
            lambda query, key, value: _attend(query, key, value)[::-1],
        ),
        Mistake(
            "you average the keys: keys are for comparing, what is averaged is the values.",
            lambda query, key, value: (_weights(query, key) @ key, _weights(query, key)),
        ),
        Mistake(
            "you average the queries: what is averaged is the values.",
            lambda query, key, value: (_weights(query, key) @ query, _weights(query, key)),
        ),
        Mistake(
            "the weights are transposed in the product: row i of the weights makes row i of the output, weights @ value.",
            lambda query, key, value: (_weights(query, key).transpose(-2, -1) @ value, _weights(query, key)),
        ),
        Mistake(
            "the scale is missing: divide the scores by √d before the softmax.",
            lambda query, key, value: (_unscaled(query, key) @ value, _unscaled(query, key)),
        ),
        Mistake(
            "the queries compete for each key: take the softmax along the keys, dim=-1.",
            lambda query, key, value: (_over_queries(query, key) @ value, _over_queries(query, key)),
        ),
        Mistake(
            "you divide the output by √d: the scale belongs inside the softmax, once.",
            lambda query, key, value: (_attend(query, key, value)[0] / query.shape[-1] ** 0.5, _weights(query, key)),
        ),
        Mistake(
            "`*` multiplies element by element: the average is a matrix product, weights @ value.",
            lambda query, key, value: _weights(query, key) * value,
        ),
        Mistake(
            "you divide by the root of the width of the values: d is the width of queries and keys.",
            lambda query, key, value: (
                torch.softmax(_scores(query, key) / value.shape[-1] ** 0.5, -1) @ value,
                torch.softmax(_scores(query, key) / value.shape[-1] ** 0.5, -1),
            ),
        ),
        Mistake(
            "you multiply the scores with the values: take the softmax first.",
            lambda query, key, value: (_scores(query, key) / query.shape[-1] ** 0.5 @ value, _weights(query, key)),
        ),
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


def _masked_scores(query, key, mask, fill):
    return (_scores(query, key) / query.shape[-1] ** 0.5).masked_fill(~mask, fill)


def _masked_weights(query, key, mask):
    return torch.softmax(_masked_scores(query, key, mask, float("-inf")), dim=-1).nan_to_num(nan=0.0)


def _with_output(weights):
    """Turn a function for the weights into one that returns (output, weights)."""

    def attend(query, key, value, mask):
        result = weights(query, key, mask)
        return result @ value, result

    return attend


MASKED_ATTENTION = Exercise(
    name="masked_attention",
    chapter="01",
    signature="masked_attention(query, key, value, mask)",
    task="return (output, weights), with weight 0 where mask is False, rows that sum to 1, and zeros for a row with nothing allowed.",
    probes=_mask_probes,
    oracle=_with_output(_masked_weights),
    parts=("output", "weights"),
    uses={**SCALED_DOT_PRODUCT_ATTENTION.uses, "scaled_dot_product_attention": _attend},
    forbidden=("torch.nn.functional.scaled_dot_product_attention",),
    mistakes=(
        Mistake(
            "the mask is the wrong way round: True means may attend.",
            _with_output(lambda query, key, mask: _masked_weights(query, key, ~mask)),
        ),
        Mistake(
            "the mask is the wrong way round: True means may attend. (And a row with nothing allowed becomes NaN: make it zeros.)",
            _with_output(lambda query, key, mask: torch.softmax(_masked_scores(query, key, ~mask, float("-inf")), -1)),
        ),
        Mistake(
            "a row with nothing allowed is 0/0 = NaN: set the weights to 0 where the mask is False.",
            _with_output(lambda query, key, mask: torch.softmax(_masked_scores(query, key, mask, float("-inf")), -1)),
        ),
        Mistake(
            "a row with nothing allowed comes out uniform, so it attends where it may not: set the weights to 0 where the mask is False.",
            _with_output(lambda query, key, mask: torch.softmax(_masked_scores(query, key, mask, -1e9), -1)),
        ),
        Mistake(
            "you zero the weights after the softmax, so rows no longer sum to 1: mask the scores before it.",
            _with_output(lambda query, key, mask: _weights(query, key) * mask),
        ),
        Mistake(
            "-10 is not low enough, e⁻¹⁰ still lets a little through: fill with the lowest number that the type has.",
            _with_output(
                lambda query, key, mask: (
                    torch.softmax(_masked_scores(query, key, mask, -10.0), -1) * mask.any(-1, keepdim=True)
                )
            ),
        ),
        Mistake(
            "-10 is not low enough, e⁻¹⁰ still lets a little through: fill with the lowest number that the type has.",
            _with_output(lambda query, key, mask: torch.softmax(_masked_scores(query, key, mask, -10.0), -1)),
        ),
        Mistake(
            "a score of 0 still gets weight, since exp(0) = 1: fill forbidden scores with a very large negative number.",
            _with_output(lambda query, key, mask: torch.softmax(_masked_scores(query, key, mask, 0.0), -1)),
        ),
        Mistake(
            "adding the mask shifts allowed scores by 1 and forbids nothing: fill forbidden scores with a very large negative number.",
            _with_output(
                lambda query, key, mask: torch.softmax(_scores(query, key) / query.shape[-1] ** 0.5 + mask, -1)
            ),
        ),
        Mistake(
            "the mask is not used at all.",
            _with_output(lambda query, key, mask: _weights(query, key)),
        ),
        Mistake(
            "return two tensors, the output and then the weights.",
            lambda query, key, value, mask: _masked_weights(query, key, mask) @ value,
        ),
        Mistake(
            "the queries compete for each key: take the softmax along the keys, dim=-1.",
            _with_output(
                lambda query, key, mask: torch.softmax(
                    _masked_scores(query, key, mask, torch.finfo(query.dtype).min), -2
                ).masked_fill(~mask, 0.0)
            ),
        ),
        Mistake(
            "the scale is missing: divide the scores by √d before masking.",
            _with_output(lambda query, key, mask: _masked_weights(query * query.shape[-1] ** 0.5, key, mask)),
        ),
    ),
)

EXERCISES = (SOFTMAX, ATTENTION_WEIGHTS, SCALED_DOT_PRODUCT_ATTENTION, MASKED_ATTENTION)
