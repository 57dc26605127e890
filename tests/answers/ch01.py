"""Answers to the exercises of chapter 01, as readers write them.

RIGHT: implementations other than the chapter's own. WRONG: plausible mistakes, each with words of the
hint that it must get. They are written as a reader would, not as the records imitate them.
"""

import math

import torch

# --- softmax -------------------------------------------------------------------------------------


def softmax_by_logsumexp(scores, dim=-1):
    return torch.exp(scores - torch.logsumexp(scores, dim=dim, keepdim=True))


def softmax_by_moving_the_axis(scores, dim=-1):
    moved = scores.transpose(dim, 0)
    shifted = moved - moved.max(dim=0).values
    e = math.e**shifted
    return (e / e.sum(0)).transpose(0, dim)


def softmax_without_maximum(scores, dim=-1):
    e = torch.exp(scores)
    return e / torch.sum(e, dim=dim, keepdim=True)


def softmax_with_global_maximum(scores, dim=-1):
    e = torch.exp(scores - torch.max(scores))
    return e / e.sum(dim=dim, keepdim=True)


def softmax_along_the_first_axis(scores, dim=-1):
    e = torch.exp(scores - scores.max(0, keepdim=True).values)
    return e / e.sum(0, keepdim=True)


def softmax_along_the_last_axis(scores, dim=-1):
    e = torch.exp(scores - scores.max(-1, keepdim=True).values)
    return e / e.sum(-1, keepdim=True)


def softmax_over_everything(scores, dim=-1):
    e = torch.exp(scores - scores.amax(dim, keepdim=True))
    return e / torch.sum(e)


def softmax_without_keepdim_in_the_sum(scores, dim=-1):
    e = torch.exp(scores - scores.amax(dim, keepdim=True))
    return e / e.sum(dim)


def softmax_not_normalised(scores, dim=-1):
    largest, _ = scores.max(dim, keepdim=True)
    return torch.exp(scores - largest)


def softmax_without_exp(scores, dim=-1):
    total = scores.sum(dim, keepdim=True)
    return scores / total


def softmax_with_max(scores, dim=-1):
    e = torch.exp(scores - scores.max(dim, keepdim=True))
    return e / e.sum(dim, keepdim=True)


def softmax_without_keepdim_in_the_maximum(scores, dim=-1):
    e = torch.exp(scores - scores.amax(dim))
    return e / e.sum(dim, keepdim=True)


# --- attention_weights ---------------------------------------------------------------------------


def weights_by_einsum(query, key):
    d = key.size(-1)
    return torch.einsum("...qd,...kd->...qk", query, key).div(math.sqrt(d)).softmax(-1)


def weights_with_scaled_inputs(query, key):
    root = query.shape[-1] ** 0.25
    return torch.nn.functional.softmax((query / root) @ (key / root).mT, dim=-1)


def weights_unscaled(query, key):
    return torch.softmax(query @ key.mT, dim=-1)


def weights_divided_by_d(query, key):
    return torch.softmax(query @ key.mT / query.size(-1), dim=-1)


def weights_multiplied_by_root(query, key):
    return torch.softmax(query @ key.mT * math.sqrt(query.size(-1)), dim=-1)


def weights_scaled_by_number_of_keys(query, key):
    return torch.softmax(query @ key.mT / math.sqrt(key.size(-2)), dim=-1)


def weights_scaled_after_softmax(query, key):
    return torch.softmax(query @ key.mT, dim=-1) / math.sqrt(query.size(-1))


def weights_along_queries(query, key):
    return torch.softmax(query @ key.mT / math.sqrt(query.size(-1)), dim=-2)


def weights_are_scores(query, key):
    return query @ key.mT / math.sqrt(query.size(-1))


def weights_keys_by_queries(query, key):
    return torch.softmax(key @ query.mT / math.sqrt(query.size(-1)), dim=-1)


def weights_without_transpose(query, key):
    return torch.softmax(query @ key / math.sqrt(query.size(-1)), dim=-1)


def weights_with_t(query, key):
    return torch.softmax(query @ key.t() / math.sqrt(query.size(-1)), dim=-1)


def weights_with_the_second_size(query, key):
    return torch.softmax(query @ key.mT / math.sqrt(query.shape[1]), dim=-1)


def weights_along_dimension_one(query, key):
    return torch.softmax(query @ key.mT / math.sqrt(query.shape[-1]), dim=1)


def weights_with_the_batch_transposed(query, key):
    return torch.softmax(query @ key.transpose(0, 1) / math.sqrt(query.shape[-1]), dim=-1)


# --- scaled_dot_product_attention ----------------------------------------------------------------


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


def attention_output_only(query, key, value):
    return torch.softmax(query @ key.mT / math.sqrt(query.size(-1)), -1) @ value


def attention_swapped_results(query, key, value):
    weights = torch.softmax(query @ key.mT / math.sqrt(query.size(-1)), -1)
    return weights, weights @ value


def attention_averages_keys(query, key, value):
    weights = torch.softmax(query @ key.mT / math.sqrt(query.size(-1)), -1)
    return weights @ key, weights


def attention_unscaled(query, key, value):
    weights = torch.softmax(query @ key.mT, -1)
    return weights @ value, weights


def attention_along_queries(query, key, value):
    weights = torch.softmax(query @ key.mT / math.sqrt(query.size(-1)), -2)
    return weights @ value, weights


def attention_scales_the_output(query, key, value):
    weights = torch.softmax(query @ key.mT / math.sqrt(query.size(-1)), -1)
    return weights @ value / math.sqrt(query.size(-1)), weights


def attention_with_transposed_weights(query, key, value):
    weights = torch.softmax(query @ key.mT / math.sqrt(query.size(-1)), -1)
    return weights.mT @ value, weights


def attention_with_raw_scores(query, key, value):
    scores = query @ key.mT / math.sqrt(query.size(-1))
    return scores @ value, torch.softmax(scores, -1)


def attention_by_elements(query, key, value):
    weights = torch.softmax(query @ key.mT / math.sqrt(query.size(-1)), -1)
    return weights * value, weights


def attention_scaled_by_value_width(query, key, value):
    weights = torch.softmax(query @ key.mT / math.sqrt(value.size(-1)), -1)
    return weights @ value, weights


# --- masked_attention ----------------------------------------------------------------------------


def masked_by_minus_infinity(query, key, value, mask):
    scores = query @ key.mT / math.sqrt(query.size(-1))
    weights = torch.softmax(scores.masked_fill(mask.logical_not(), -math.inf), -1)
    weights = torch.where(mask.any(-1, keepdim=True), weights, torch.zeros_like(weights))
    return weights @ value, weights


def masked_by_renormalising(query, key, value, mask):
    e = torch.exp(query @ key.mT / math.sqrt(query.size(-1))) * mask
    weights = e / e.sum(-1, keepdim=True).clamp_min(1e-30)
    return weights @ value, weights


def masked_the_wrong_way_round(query, key, value, mask):
    scores = query @ key.mT / math.sqrt(query.size(-1))
    weights = torch.softmax(scores.masked_fill(mask, -math.inf), -1).nan_to_num(0.0)
    return weights @ value, weights


def masked_leaves_nan(query, key, value, mask):
    scores = query @ key.mT / math.sqrt(query.size(-1))
    weights = torch.softmax(scores.masked_fill(mask == False, -math.inf), -1)  # noqa: E712
    return weights @ value, weights


def masked_leaves_uniform_rows(query, key, value, mask):
    scores = query @ key.mT / math.sqrt(query.size(-1))
    weights = torch.softmax(torch.where(mask, scores, -1e9), -1)
    return weights @ value, weights


def masked_after_the_softmax(query, key, value, mask):
    weights = torch.softmax(query @ key.mT / math.sqrt(query.size(-1)), -1)
    weights = weights.masked_fill(~mask, 0)
    return weights @ value, weights


def masked_with_minus_ten(query, key, value, mask):
    scores = query @ key.mT / math.sqrt(query.size(-1))
    weights = torch.softmax(scores.masked_fill(~mask, -10), -1)
    return weights @ value, weights


def masked_with_score_zero(query, key, value, mask):
    weights = torch.softmax(query @ key.mT / math.sqrt(query.size(-1)) * mask, -1)
    return weights @ value, weights


def masked_by_adding_the_mask(query, key, value, mask):
    weights = torch.softmax(query @ key.mT / math.sqrt(query.size(-1)) + mask.to(query.dtype), -1)
    return weights @ value, weights


def masked_not_at_all(query, key, value, mask):
    weights = torch.softmax(query @ key.mT / math.sqrt(query.size(-1)), -1)
    return weights @ value, weights


def masked_unscaled(query, key, value, mask):
    weights = torch.softmax((query @ key.mT).masked_fill(~mask, -math.inf), -1).nan_to_num(0.0)
    return weights @ value, weights


def masked_output_only(query, key, value, mask):
    return masked_by_minus_infinity(query, key, value, mask)[0]


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

WRONG = {
    "softmax": {
        softmax_without_maximum: "exp overflows",
        softmax_with_global_maximum: "maximum of the whole tensor",
        softmax_along_the_first_axis: "your columns sum to 1",
        softmax_along_the_last_axis: "always work along the last",
        softmax_over_everything: "sum of the whole tensor",
        softmax_without_keepdim_in_the_sum: "the sum lost its dimension",
        softmax_not_normalised: "divide by their sum",
        softmax_without_exp: "take the exponential first",
        softmax_with_max: "returns two things",
        softmax_without_keepdim_in_the_maximum: "the maximum lost its dimension",
    },
    "attention_weights": {
        weights_unscaled: "the scale is missing",
        weights_divided_by_d: "√d, not d",
        weights_multiplied_by_root: "should divide",
        weights_scaled_by_number_of_keys: "number of keys",
        weights_scaled_after_softmax: "divide after the softmax",
        weights_along_queries: "queries compete",
        weights_are_scores: "not yet weights",
        weights_keys_by_queries: "your rows are keys",
        weights_without_transpose: "is not transposed",
        weights_with_t: "matrices without a batch",
        weights_with_the_second_size: "shape[1] is the width only",
        weights_along_dimension_one: "dim=1 is the keys only",
        weights_with_the_batch_transposed: "transpose(0, 1) moves the batch",
    },
    "scaled_dot_product_attention": {
        attention_output_only: "return two tensors",
        attention_swapped_results: "wrong order",
        attention_averages_keys: "you average the keys",
        attention_unscaled: "the scale is missing",
        attention_along_queries: "queries compete",
        attention_scales_the_output: "divide the output",
        attention_with_transposed_weights: "weights are transposed",
        attention_with_raw_scores: "multiply the scores",
        attention_by_elements: "`*` multiplies element by element",
        attention_scaled_by_value_width: "width of the values",
    },
    "masked_attention": {
        masked_the_wrong_way_round: "wrong way round",
        masked_leaves_nan: "0/0 = NaN",
        masked_leaves_uniform_rows: "comes out uniform",
        masked_after_the_softmax: "you zero the weights after",
        masked_with_minus_ten: "-10 is not low enough",
        masked_with_score_zero: "exp(0) = 1",
        masked_by_adding_the_mask: "adding the mask",
        masked_not_at_all: "not used at all",
        masked_unscaled: "the scale is missing",
        masked_output_only: "return two tensors",
        masked_along_queries: "queries compete",
    },
}
