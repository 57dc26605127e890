"""Answers to the exercises of chapter 01, as readers write them.

RIGHT: implementations other than the chapter's own. Beside the record's known mistakes, which are wrong answers
themselves, SLIPS: the chapter's own solution with something changed, and WRONG: mistakes written in another way; each
with words of the hint that it must get. EQUIVALENT: mutants of the right answers that are right too, and why.
"""

import math

import torch

# --- softmax ---------------------------------------------------------------------------------------


def softmax_by_logsumexp(scores, dim=-1):
    return torch.exp(scores - torch.logsumexp(scores, dim=dim, keepdim=True))


def softmax_by_moving_the_axis(scores, dim=-1):
    moved = scores.transpose(dim, 0)
    shifted = moved - moved.max(dim=0).values
    e = math.e**shifted
    return (e / e.sum(0)).transpose(0, dim)


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


# --- masked_attention ------------------------------------------------------------------------------


def masked_by_minus_infinity(query, key, value, mask):
    scores = query @ key.mT / math.sqrt(query.size(-1))
    weights = torch.softmax(scores.masked_fill(mask.logical_not(), -math.inf), -1)
    weights = torch.where(mask.any(-1, keepdim=True), weights, torch.zeros_like(weights))
    return weights @ value, weights


def masked_by_renormalising(query, key, value, mask):
    e = torch.exp(query @ key.mT / math.sqrt(query.size(-1))) * mask
    weights = e / e.sum(-1, keepdim=True).clamp_min(1e-30)
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
    "softmax": (softmax_by_logsumexp, softmax_by_moving_the_axis),
    "attention_weights": (weights_by_einsum, weights_with_scaled_inputs),
    "scaled_dot_product_attention": (attention_by_einsum, attention_by_loops),
    "masked_attention": (masked_by_minus_infinity, masked_by_renormalising),
}

SLIPS = {
    "softmax": """
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
        is not transposed
            key.transpose(-2, -1) ⇒ key
        matrices without a batch
            transpose(-2, -1) ⇒ t()
        transpose(0, 1) moves the batch
            (-2, -1) ⇒ (0, 1)
        """,
    "scaled_dot_product_attention": """
        weights are transposed
            weights @ ⇒ weights.mT @
        you average the queries
            @ value ⇒ @ query
        `*` multiplies element by element
            weights @ ⇒ weights *
        """,
}

WRONG = {
    "softmax": {softmax_along_the_first_axis: "your columns sum to 1"},
    "masked_attention": {
        masked_leaves_uniform_rows: "comes out uniform",
        masked_with_score_zero: "exp(0) = 1",
        masked_along_queries: "queries compete",
    },
}

EQUIVALENT = {
    "softmax": "",
    "attention_weights": """
        -1 is the default.
            attention_weights: return softmax(scores / query.shape[-1] ** 0.5, dim=-1) ⇒ return softmax(scores / query.shape[-1] ** 0.5)
        """,
    "scaled_dot_product_attention": """
        (..., 1, d) either way.
            attention_by_loops: scores = (query[..., i, None, :] * key).sum(-1) / math.sqrt(query.shape[-1]) ⇒ scores = (query[..., None, i, :] * key).sum(-1) / math.sqrt(query.shape[-1])
        """,
    "masked_attention": """
        -1 is the default.
            masked_attention: weights = softmax(scores, dim=-1).masked_fill(~mask, 0.0) ⇒ weights = softmax(scores).masked_fill(~mask, 0.0)
        Where the mask is False the weight is 0 anyway.
            masked_by_minus_infinity: weights = torch.where(mask.any(-1, keepdim=True), weights, torch.zeros_like(weights)) ⇒ weights = torch.where(mask, weights, torch.zeros_like(weights))
        Any small number will do.
            masked_by_renormalising: weights = e / e.sum(-1, keepdim=True).clamp_min(1e-30) ⇒ weights = e / e.sum(-1, keepdim=True).clamp_min(2e-30)
        """,
}
