"""Answers to the exercises of chapter 01, as readers write them.

RIGHT: implementations other than the chapter's own. Beside the record's known mistakes, which are wrong answers
themselves, SLIPS: the chapter's own solution with something changed, and WRONG: mistakes written in another way; each
with words of the hint that it must get. EQUIVALENT: mutants of the right answers that are right too, and why.
"""

import functools
import math

import torch
from einops import einsum
from torch import nn

# --- softmax ---------------------------------------------------------------------------------------


def softmax_by_logsumexp(scores, dim=-1):
    return torch.exp(scores - torch.logsumexp(scores, dim=dim, keepdim=True))


def softmax_by_moving_the_axis(scores, dim=-1):
    moved = scores.transpose(dim, 0)
    shifted = moved - moved.max(dim=0).values
    e = math.e**shifted
    return (e / e.sum(0)).transpose(0, dim)


def softmax(s, axis=-1):
    """Its parameters have names of its own, by which the answers below call it."""
    shifted = s - s.amax(axis, keepdim=True)
    return shifted.exp() / shifted.exp().sum(axis=axis, keepdim=True)


class Softmax:
    def __call__(self, scores, dim=-1):
        slices = scores.unbind(dim)
        highest = functools.reduce(torch.maximum, slices).detach()
        exps = [torch.exp(one - highest) for one in slices]
        return torch.stack([e / sum(exps) for e in exps], dim)


class SoftmaxLayer(nn.Module):
    def forward(self, scores, dim=-1):
        return (scores - functools.reduce(torch.logaddexp, scores.unbind(dim)).unsqueeze(dim)).exp()


def softmax_to_a_base(base, s, dim=-1):
    powers = base ** ((s - s.amax(dim, keepdim=True)) / math.log(base))
    return powers / powers.sum(dim, keepdim=True)


def decorated(function):
    def inside(*args, **kwargs):
        return function(*args, **kwargs)

    return inside


@decorated
def softmax_row_by_row(s, dim=-1):
    rows = s.movedim(dim, -1)
    exps = [torch.exp(row - row.max()) for row in rows.reshape(-1, rows.shape[-1])]
    return torch.stack([e / e.sum() for e in exps]).reshape(rows.shape).movedim(-1, dim)


def softmax_squeezed(scores, dim=-1):
    return torch.exp(scores - torch.logsumexp(scores, dim, keepdim=True)).squeeze()


def softmax_below_the_mean(scores, dim=-1):
    e = torch.exp(scores - scores.mean(dim).unsqueeze(dim))
    return e / e.sum(dim).unsqueeze(dim)


def softmax_with_a_constant_sum(scores, dim=-1):
    e = torch.exp(scores - scores.amax(dim, keepdim=True))
    return e / e.sum(dim, keepdim=True).detach()


def softmax_of_clamped_scores(scores, dim=-1):
    e = torch.exp(torch.clamp(scores, max=80.0))
    return e / e.sum(dim, keepdim=True)


def softmax_to_base_two(scores, dim=-1):
    powers = torch.pow(2, scores - scores.max(dim, keepdim=True)[0])
    return powers / powers.sum(dim, keepdim=True)


def softmax_along_the_first_axis(scores, dim=-1):
    e = torch.exp(scores - scores.max(0, keepdim=True).values)
    return e / e.sum(0, keepdim=True)


# --- attention_weights -----------------------------------------------------------------------------


def weights_by_einsum(query, key):
    d = key.size(-1)
    return torch.einsum("...qd,...kd->...qk", query, key).div(math.sqrt(d)).softmax(-1)


def weights_with_scaled_inputs(query, key):
    root = query.shape[-1] ** 0.25
    return torch.nn.functional.softmax((query / root) @ (key / root).mT, dim=-1)


def weights_with_an_axis(q, k):
    return softmax(q @ k.mT / math.sqrt(q.shape[-1]), axis=-1)


def weights_with_a_root_in_float32(query, key):
    scores = torch.matmul(query, key.transpose(-2, -1))
    return nn.functional.softmax(scores / torch.sqrt(torch.tensor(query.size(-1))), dim=-1)


class Weights(nn.Module):
    def __init__(self):
        super().__init__()
        self.softmax = nn.Softmax(dim=-1)

    def forward(self, q, k):
        return self.softmax(einsum(q, k, "... i d, ... j d -> ... i j") * q.shape[-1] ** -0.5)


@decorated
def weights_by_broadcasting(q, k):
    scores = (q.unsqueeze(-2) * k.unsqueeze(-3)).sum(-1)
    return torch.softmax(scores / q.shape[-1] ** 0.5, -1)


def weights_by_a_function(normalise, q, k):
    return normalise(
        torch.stack([(q * k[..., j : j + 1, :]).sum(-1) for j in range(k.shape[-2])], -1) / q.shape[-1] ** 0.5
    )


def weights_without_a_shift(query, key):
    e = (torch.einsum("...id,...jd->...ij", query, key) / math.sqrt(key.size(-1))).exp()
    return e / e.sum(dim=-1, keepdim=True)


def weights_below_the_highest_of_all(query, key):
    scores = torch.matmul(query, key.transpose(-1, -2)) / math.sqrt(key.size(-1))
    e = (scores - torch.max(scores)).exp()
    return e / e.sum(dim=-1, keepdim=True)


def weights_with_a_root_of_an_int(query, key):
    return torch.softmax(torch.matmul(query, key.mT) / torch.sqrt(key.size(-1)), -1)


def weights_over_dimension_two(query, key):
    return (query @ key.mT / math.sqrt(key.size(-1))).softmax(dim=2)


def weights_by_the_third_size(query, key):
    return torch.softmax(query @ key.mT / math.sqrt(query.shape[2]), -1)


def weights_squeezed(query, key):
    return torch.softmax(query @ key.mT / math.sqrt(query.shape[-1]), -1).squeeze(0)


# --- scaled_dot_product_attention ------------------------------------------------------------------


def attention_by_einsum(query, key, value):
    scores = torch.einsum("...id,...jd->...ij", query, key) / key.shape[-1] ** 0.5
    weights = scores.softmax(dim=-1)
    return torch.einsum("...ij,...jv->...iv", weights, value), weights


def attention_by_loops(query, key, value):
    rows = []
    for i in range(query.shape[-2]):
        scores = (query[..., i, None, :] * key).sum(-1) / math.sqrt(query.shape[-1])
        rows.append(torch.softmax(scores, -1))
    weights = torch.stack(rows, dim=-2)
    return torch.matmul(weights, value), weights


def attention_weights(query, key):
    """Not written yet: answers that call it are judged by themselves."""


def mixed(q, k, v):
    weights = attention_weights(query=q, key=k)
    return torch.matmul(weights, v), weights


def attention_by_an_unfinished_piece(q, k, v):
    return list(mixed(q, k, v))


class Attention(nn.Module):
    def forward(self, q, k, v):
        weights = nn.functional.softmax(q @ k.mT / torch.sqrt(torch.tensor(k.size(-1))), -1)
        return weights @ v, weights


@decorated
def attention_by_broadcasting(q, k, v):
    weights = softmax(einsum(q, k, "... i d, ... j d -> ... i j") / q.shape[-1] ** 0.5, axis=-1)
    return (weights.unsqueeze(-1) * v.unsqueeze(-3)).sum(-2), weights


def attention_by_a_function(scale, q, k, v):
    weights = torch.softmax(scale(q @ k.mT, k.shape[-1]), -1)
    return (v.mT @ weights.mT).mT, weights


def attention_squeezed(q, k, v):
    weights = torch.softmax(q @ k.mT / math.sqrt(q.shape[-1]), -1)
    return (weights @ v).squeeze(), weights


def attention_without_a_shift(q, k, v):
    e = torch.exp(torch.einsum("...id,...jd->...ij", q, k) / math.sqrt(q.shape[-1]))
    weights = e / e.sum(-1, keepdim=True)
    return weights @ v, weights


def attention_below_the_highest_of_all(q, k, v):
    scores = q @ k.mT / math.sqrt(q.shape[-1])
    e = torch.exp(scores - scores.max())
    weights = e / e.sum(-1, keepdim=True)
    return torch.matmul(weights, v), weights


def attention_with_two_softmaxes(q, k, v):
    weights = softmax(softmax(q @ k.mT / math.sqrt(q.shape[-1]), -1), -1)
    return weights @ v, weights


# --- masked_attention ------------------------------------------------------------------------------


def masked_by_minus_infinity(query, key, value, mask):
    scores = query @ key.mT / math.sqrt(query.size(-1))
    weights = torch.softmax(scores.masked_fill(mask.logical_not(), -math.inf), -1)
    weights = torch.where(mask.any(-1, keepdim=True), weights, torch.zeros_like(weights))
    return weights @ value, weights


def masked_in_place(q, k, v, allowed):
    scores = torch.einsum("...id,...jd->...ij", q, k) / q.shape[-1] ** 0.5
    scores[~allowed] = torch.finfo(scores.dtype).min
    weights = softmax(scores, axis=-1) * allowed
    return torch.einsum("...ij,...jd->...id", weights, v), weights


def masked_by_a_bias(q, k, v, mask):
    scores = q @ k.mT / q.shape[-1] ** 0.5
    scores = scores + torch.zeros_like(scores).masked_fill(mask == 0, -torch.inf)
    weights = torch.nan_to_num(nn.functional.softmax(scores, -1))
    return weights @ v, weights


class MaskedAttention:
    def __init__(self, low):
        self.low = low

    def __call__(self, q, k, v, mask):
        scores = q @ k.mT / torch.sqrt(torch.tensor(q.shape[-1]))
        weights = nn.functional.softmax(torch.where(mask, scores, self.low), -1)
        weights = torch.where(mask, weights, torch.zeros_like(weights))
        return weights @ v, weights


@decorated
def masked_row_by_row(q, k, v, mask):
    scores = q @ k.mT / q.shape[-1] ** 0.5
    rows = []
    for row, allowed in zip(scores.flatten(0, -2), mask.flatten(0, -2), strict=True):
        rows.append(row.new_zeros(row.shape).masked_scatter(allowed, torch.softmax(row[allowed], 0)))
    weights = torch.stack(rows).reshape(scores.shape)
    return weights @ v, weights


def masked_far_below(q, k, v, mask):
    scores = q @ k.mT / q.shape[-1] ** 0.5 - 1e9 * ~mask
    weights = (scores - torch.logsumexp(scores, -1, keepdim=True)).exp() * mask
    return weights @ v, weights


def masked_by_a_function(fill, q, k, v, mask):
    weights = fill(torch.softmax(fill(q @ k.mT / q.shape[-1] ** 0.5, ~mask, -1e30), -1), ~mask, 0)
    return weights @ v, weights


def masked_by_renormalising(query, key, value, mask):
    e = torch.exp(query @ key.mT / math.sqrt(query.size(-1))) * mask
    weights = e / e.sum(-1, keepdim=True).clamp_min(1e-30)
    return weights @ value, weights


def masked_below_the_highest_of_all(query, key, value, mask):
    scores = query @ key.mT / math.sqrt(query.size(-1))
    e = (scores - scores.amax(-1, keepdim=True)).exp() * mask
    total = e.sum(-1, keepdim=True)
    weights = e / torch.where(total == 0, 1.0, total)
    return weights @ value, weights


def masked_below_the_maximum_of_the_tensor(query, key, value, mask):
    scores = torch.where(mask, query @ key.mT / math.sqrt(query.size(-1)), -torch.inf)
    e = torch.exp(scores - scores.max())
    weights = e / torch.sum(e, -1, keepdim=True)
    weights = torch.where(weights.isnan(), 0.0, weights)
    return weights @ value, weights


def masked_with_minus_thousand(query, key, value, mask):
    scores = (query @ key.mT / math.sqrt(query.size(-1))).masked_fill(~mask, -1000)
    weights = torch.softmax(scores, -1) * mask
    return weights @ value, weights


def masked_output_first(query, key, value, mask):
    scores = query @ key.mT / math.sqrt(query.size(-1))
    weights = torch.softmax(torch.where(mask, scores, torch.finfo(scores.dtype).min), -1)
    output = weights @ value
    return output, weights.masked_fill(~mask, 0)


def masked_output_alone(query, key, value, mask):
    scores = query @ key.mT / math.sqrt(query.size(-1))
    weights = torch.softmax(torch.where(mask, scores, torch.finfo(scores.dtype).min), -1)
    return torch.where(mask.any(-1, keepdim=True), weights @ value, 0.0), weights


def masked_unless_nothing_is_allowed(query, key, value, mask):
    mask = mask | ~mask.any(-1, keepdim=True)
    weights = torch.softmax((query @ key.mT / math.sqrt(query.size(-1))).masked_fill(~mask, -math.inf), -1)
    return weights @ value, weights


def masked_by_multiplication(query, key, value, mask):
    scores = query @ key.mT / math.sqrt(query.size(-1)) * mask
    weights = scores.softmax(-1).masked_fill(~mask, 0)
    return weights @ value, weights


def masked_with_the_sign_of_a_mask(query, key, value, mask):
    scores = query @ key.mT / math.sqrt(query.size(-1))
    weights = torch.softmax(scores.masked_fill(1 - mask, -math.inf), -1)
    return weights @ value, weights


def masked_with_a_root_of_an_int(query, key, value, mask):
    scores = query @ key.mT / torch.sqrt(key.size(-1))
    weights = torch.softmax(scores.masked_fill(~mask, -1e9), -1) * mask
    return weights @ value, weights


def masked_keys(query, key, value, mask):
    seen = key * mask.any(-2).unsqueeze(-1)
    weights = torch.softmax(query @ seen.mT / math.sqrt(query.size(-1)), -1)
    return weights @ value, weights


def masked_leaves_uniform_rows(query, key, value, mask):
    scores = query @ key.mT / math.sqrt(query.size(-1))
    weights = torch.softmax(torch.where(mask, scores, -1e9), -1)
    return weights @ value, weights


def masked_with_score_zero(query, key, value, mask):
    weights = torch.softmax(query @ key.mT / math.sqrt(query.size(-1)) * mask, -1)
    return weights @ value, weights


def masked_along_queries(query, key, value, mask):
    scores = query @ key.mT / math.sqrt(query.size(-1))
    weights = torch.softmax(scores.masked_fill(~mask, torch.finfo(scores.dtype).min), -2)
    weights = weights * mask
    return weights @ value, weights


RIGHT = {
    "softmax": (
        softmax_by_logsumexp,
        softmax_by_moving_the_axis,
        softmax,
        Softmax(),
        SoftmaxLayer(),
        functools.partial(softmax_to_a_base, 2.0),
        softmax_row_by_row,
    ),
    "attention_weights": (
        weights_by_einsum,
        weights_with_scaled_inputs,
        weights_with_an_axis,
        weights_with_a_root_in_float32,
        Weights(),
        weights_by_broadcasting,
        functools.partial(weights_by_a_function, functools.partial(torch.softmax, dim=-1)),
    ),
    "scaled_dot_product_attention": (
        attention_by_einsum,
        attention_by_loops,
        attention_by_an_unfinished_piece,
        Attention(),
        attention_by_broadcasting,
        functools.partial(attention_by_a_function, lambda scores, d: scores / d**0.5),
    ),
    "masked_attention": (
        masked_by_minus_infinity,
        masked_in_place,
        MaskedAttention(-1e9),
        masked_row_by_row,
        masked_far_below,
        functools.partial(masked_by_a_function, torch.masked_fill),
    ),
}

SLIPS = {
    "softmax": """
        your default for `dim` is the first
            dim=-1 ⇒ dim=0
        the last dimension of a matrix alone
            dim=-1 ⇒ dim=1
        it belongs where `dim` says
            scores.amax(dim, keepdim=True) ⇒ scores.max(dim)[0].unsqueeze(-1)
            exponentials.sum(dim, keepdim=True) ⇒ exponentials.sum(dim)[..., None]
        work along `dim`, whatever it is
            ⇒ result = torch.zeros_like(scores)
            | for i in range(len(scores)):
            |     e = torch.exp(scores[i] - scores[i].max())
            |     result[i] = e / e.sum()
            | return result
        on one side of the division alone
            exponentials.sum( ⇒ scores.exp().sum(
        that is the logarithm of the softmax
            ⇒ return scores - torch.logsumexp(scores, dim, keepdim=True)
        a small number in the denominator
            ⇒ e = scores.exp()
            | return e / (e.sum(dim, keepdim=True) + 1e-8)
        the number of its scores
            .sum(dim, ⇒ .mean(dim,
        as F.normalize does
            exponentials / exponentials.sum(dim, keepdim=True) ⇒ torch.nn.functional.normalize(exponentials, dim=dim)
        largest absolute value
            scores.amax(dim, keepdim=True) ⇒ scores.abs().max(dim, keepdim=True).values
        you divide by the maximum
            scores - ⇒ scores /
        scores from the maximum
            scores - scores.amax(dim, keepdim=True) ⇒ -scores + scores.amax(dim, keepdim=True)
        math.exp takes one plain number
            (scores - scores.amax(dim, keepdim=True)).exp() ⇒ __import__("math").exp(scores)
        np.exp leaves PyTorch
            (scores - scores.amax(dim, keepdim=True)).exp() ⇒ __import__("numpy").exp(scores - scores.amax(dim, keepdim=True))
        whatever `dim` is
            exponentials.sum(dim, keepdim=True) ⇒ sum(exponentials)
        returns two things
            scores.amax(dim, keepdim=True) ⇒ scores.max(dim, keepdim=True)
        the sum lost its dimension
            .sum(dim, keepdim=True) ⇒ .sum(dim)
        the maximum lost its dimension
            .amax(dim, keepdim=True) ⇒ .amax(dim)
        the maximum and the sum lost
            .amax(dim, keepdim=True) ⇒ .amax(dim)
            .sum(dim, keepdim=True) ⇒ .sum(dim)
        """,
    "attention_weights": """
        is the first power, halved
            query.shape[-1] ** 0.5 ⇒ query.shape[-1] ** 1 / 2
        along dimension 0
            dim=-1 ⇒ dim=0
        is not transposed
            key.transpose(-2, -1) ⇒ key
        matrices without a batch
            transpose(-2, -1) ⇒ t()
        you transpose by counting from the front
            (-2, -1) ⇒ (0, 1)
        only relabels the numbers
            key.transpose(-2, -1) ⇒ key.view(*key.shape[:-2], query.shape[-1], -1)
        a whole number of the root
            query.shape[-1] ** 0.5 ⇒ __import__("math").isqrt(query.shape[-1])
        is written into your code
            query.shape[-1] ** 0.5 ⇒ 64**0.5
        you unpack a shape
            scores = ⇒ batch, tokens, width = key.shape; scores =
        your einsum has a letter
            query @ key.transpose(-2, -1) ⇒ torch.einsum("bid,bjd->bij", query, key)
        torch.bmm takes three
            query @ key.transpose(-2, -1) ⇒ query.bmm(key.transpose(-2, -1))
        you take the softmax twice
            return softmax(scores / query.shape[-1] ** 0.5, dim=-1) ⇒ return softmax(softmax(scores / query.shape[-1] ** 0.5))
        these are the logarithms
            return softmax(scores / query.shape[-1] ** 0.5, dim=-1) ⇒ return softmax(scores / query.shape[-1] ** 0.5).log()
        a sigmoid judges each key
            return softmax(scores / query.shape[-1] ** 0.5, dim=-1) ⇒ return 1 / (1 + (-scores / query.shape[-1] ** 0.5).exp())
        """,
    "scaled_dot_product_attention": """
        weights are transposed
            weights @ ⇒ weights.mT @
        you average the queries
            @ value ⇒ @ query
        is the first power, halved
            weights = attention_weights(query, key) ⇒ scale = query.shape[-1] ** 1 / 2
            | weights = softmax(query @ key.transpose(-2, -1) / scale, dim=-1)
        along dimension 0
            weights = attention_weights(query, key) ⇒ weights = softmax(query @ key.mT / query.shape[-1] ** 0.5, dim=0)
        `*` multiplies element by element
            weights @ ⇒ weights *
        query and key have changed places
            (query, key) ⇒ (key, query)
        key and value have changed places
            weights = attention_weights(query, key) ⇒ weights = attention_weights(query, value)
            weights @ value, weights ⇒ torch.matmul(weights, key), weights
        the product is the wrong way round
            weights @ value, weights ⇒ torch.matmul(value, weights), weights
        `value` is transposed
            weights @ value, weights ⇒ torch.matmul(weights, value.transpose(-2, -1)), weights
        the weights that you return are transposed
            value, weights ⇒ value, weights.transpose(-2, -1)
        you unpack a shape
            weights = ⇒ batch, tokens, width = value.shape; weights =
        your einsum has a letter
            weights @ value, weights ⇒ torch.einsum("nij,njd->nid", weights, value), weights
        torch.bmm takes three
            weights @ value, weights ⇒ weights.bmm(value), weights
        """,
    "masked_attention": """
        is 0.37 still
            torch.finfo(scores.dtype).min ⇒ float(scores.min()) - 1
        the forbidden keys get all the weight
            torch.finfo(scores.dtype).min ⇒ torch.finfo(scores.dtype).max
            softmax(scores, dim=-1).masked_fill(~mask, 0.0) ⇒ softmax(scores, dim=-1)
        your second fill sets
            softmax(scores, dim=-1).masked_fill(~mask, 0.0) ⇒ softmax(scores, dim=-1).masked_fill(mask, 0.0)
        as soon as anything in it is forbidden
            softmax(scores, dim=-1).masked_fill(~mask, 0.0) ⇒ softmax(scores, dim=-1)
            return ⇒ weights = torch.where(mask.all(-1, keepdim=True), weights, 0.0)
            | return
        runs along the queries
            softmax(scores, dim=-1).masked_fill(~mask, 0.0) ⇒ softmax(scores, dim=-1)
            return ⇒ weights = torch.where(mask.any(-2, keepdim=True), weights, 0.0)
            | return
        the mask is the wrong way round
            scores = scores.masked_fill(~mask, torch.finfo(scores.dtype).min) ⇒ scores[mask] = torch.finfo(scores.dtype).min
        output first, weights second
            weights @ value, weights ⇒ weights, weights @ value
        along dimension 0
            dim=-1 ⇒ dim=0
        is the first power, halved
            query.shape[-1] ** 0.5 ⇒ query.shape[-1] ** 1 / 2
        """,
}

WRONG = {
    "softmax": {
        softmax_along_the_first_axis: "your columns sum to 1",
        softmax_of_clamped_scores: "your bounds make different scores the same",
        softmax_to_base_two: "is not e",
        softmax_squeezed: "a dimension of size 1 is missing",
        softmax_below_the_mean: "you subtract the mean",
        softmax_with_a_constant_sum: "it is cut off on the way",
    },
    "attention_weights": {
        weights_without_a_shift: "exp overflows",
        weights_below_the_highest_of_all: "the maximum of all scores",
        weights_with_a_root_of_an_int: "torch.sqrt takes a tensor",
        weights_over_dimension_two: "the keys' dimension from the front",
        weights_by_the_third_size: "the width from the front",
        weights_squeezed: "a dimension of size 1 is missing",
    },
    "scaled_dot_product_attention": {
        attention_without_a_shift: "exp overflows",
        attention_below_the_highest_of_all: "the maximum of all scores",
        attention_squeezed: "a dimension of size 1 is missing",
        attention_with_two_softmaxes: "the softmax twice",
    },
    "masked_attention": {
        masked_leaves_uniform_rows: "comes out uniform",
        masked_with_score_zero: "exp(0) = 1",
        masked_along_queries: "queries compete",
        masked_by_renormalising: "you exponentiate before you mask",
        masked_below_the_maximum_of_the_tensor: "the maximum of all scores",
        masked_with_minus_thousand: "not low enough",
        masked_output_first: "the mean of the values as output",
        masked_output_alone: "weights that are not",
        masked_unless_nothing_is_allowed: "is left unmasked",
        masked_by_multiplication: "counts in the sum",
        masked_by_a_bias: "choose with torch.where before such a step",
        masked_with_the_sign_of_a_mask: "a mask is of type bool",
        masked_with_a_root_of_an_int: "torch.sqrt takes a tensor",
        masked_keys: "the task is to return",
    },
}

EQUIVALENT = {
    "softmax": "",
    "attention_weights": """
        -1 is the default.
            attention_weights: return softmax(scores / query.shape[-1] ** 0.5, dim=-1) ⇒ return softmax(scores / query.shape[-1] ** 0.5)
            weights_with_an_axis: return softmax(q @ k.mT / math.sqrt(q.shape[-1]), axis=-1) ⇒ return softmax(q @ k.mT / math.sqrt(q.shape[-1]))
        """,
    "scaled_dot_product_attention": """
        (..., 1, d) either way.
            attention_by_loops: scores = (query[..., i, None, :] * key).sum(-1) / math.sqrt(query.shape[-1]) ⇒ scores = (query[..., None, i, :] * key).sum(-1) / math.sqrt(query.shape[-1])
        """,
    "masked_attention": """
        -1 is the default.
            masked_attention: weights = softmax(scores, dim=-1).masked_fill(~mask, 0.0) ⇒ weights = softmax(scores).masked_fill(~mask, 0.0)
            masked_in_place: weights = softmax(scores, axis=-1) * allowed ⇒ weights = softmax(scores) * allowed
        As low as it is, it may be lower still.
            masked_far_below: scores = q @ k.mT / q.shape[-1] ** 0.5 - 1000000000.0 * ~mask ⇒ scores = q @ k.mT / q.shape[-1] ** 0.5 - 2000000000.0 * ~mask
        Where the mask is False the weight is 0 anyway.
            masked_by_minus_infinity: weights = torch.where(mask.any(-1, keepdim=True), weights, torch.zeros_like(weights)) ⇒ weights = torch.where(mask, weights, torch.zeros_like(weights))
        """,
}
