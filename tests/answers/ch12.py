"""Answers to the exercises of chapter 12, as readers write them.

RIGHT: implementations other than the chapter's own. WRONG: plausible mistakes, each with words of the
hint that it must get. They are written as a reader would, not as the records imitate them.
"""

import math
from contextlib import ExitStack, suppress

import torch
import torch.nn.functional as F

from course_lib.attention import MultiHeadSelfAttention

# --- record_attention --------------------------------------------------------------------------------


def record_by_asking(model, images):
    maps = []
    layers = [part for part in model.modules() if hasattr(part, "recorder")]
    for layer in layers:
        layer.recorder = maps.append
    try:
        model(images)
    finally:
        for layer in layers:
            layer.recorder = None
    if not maps:
        raise ValueError("silence")
    return maps


def record_by_replacing_the_kernel(model, images):
    maps, kernel = [], F.scaled_dot_product_attention

    def slow(query, key, value, **options):
        weights = torch.softmax(query @ key.transpose(-2, -1) / math.sqrt(query.size(-1)), dim=-1)
        maps.append(weights)
        return weights @ value

    F.scaled_dot_product_attention = slow
    try:
        model(images)
    finally:
        F.scaled_dot_product_attention = kernel
    if len(maps) == 0:
        raise ValueError("no map")
    return maps


def record_with_a_stack(model, images):
    inputs = {}
    with ExitStack() as stack, torch.no_grad():
        for block in model.blocks:
            handle = block.attn.qkv.register_forward_hook(lambda part, args, out: inputs.__setitem__(part, out))
            stack.callback(handle.remove)
        model(images)
    if not inputs:
        raise ValueError("heard nothing")
    maps = []
    for block in model.blocks:
        q, k, _ = inputs[block.attn.qkv].chunk(3, dim=-1)  # (B, N, D)
        q, k = (x.unflatten(-1, (block.attn.num_heads, -1)).transpose(1, 2) for x in (q, k))
        maps.append(torch.einsum("bhid,bhjd->bhij", q, k).div(q.shape[-1] ** 0.5).softmax(-1))
    return maps


def attention_layers(model):
    return [part for part in model.modules() if isinstance(part, MultiHeadSelfAttention)]


def queries_keys_values(layer, x):
    B, N, D = x.shape
    return layer.qkv(x).view(B, N, 3, layer.num_heads, D // layer.num_heads).permute(2, 0, 3, 1, 4).unbind(0)


def scores(layer, x):
    q, k, _ = queries_keys_values(layer, x)
    return q @ k.mT / q.shape[-1] ** 0.5


def hooks(layers, weights_of, maps):
    return [
        layer.register_forward_pre_hook(lambda layer, args: maps.append(weights_of(layer, args[0]))) for layer in layers
    ]


def heard(maps):
    if not maps:
        raise ValueError("no attention layers here")
    return maps


def record_even_nothing(model, images, weights_of, layers=attention_layers):
    """With `weights_of(layer, x)`, and cleaned up as it should be."""
    maps = []
    handles = hooks(layers(model), weights_of, maps)
    try:
        model(images)
    finally:
        for handle in handles:
            handle.remove()
    return maps


def record(*inputs):
    return heard(record_even_nothing(*inputs))


def weights(layer, x):
    return scores(layer, x).softmax(-1)


def record_and_keep_the_hooks(model, images):
    maps = []
    hooks(attention_layers(model), weights, maps)
    model(images)
    return heard(maps)


def record_without_finally(model, images):
    maps = []
    handles = hooks(attention_layers(model), weights, maps)
    model(images)
    for handle in handles:
        handle.remove()
    return heard(maps)


def record_and_swallow(model, images):
    maps = []
    handles = hooks(attention_layers(model), weights, maps)
    with suppress(Exception):
        model(images)
    for handle in handles:
        handle.remove()
    return heard(maps)


def record_in_silence(model, images):
    return record_even_nothing(model, images, weights)


def record_and_go_on_asking(model, images):
    maps = []
    for block in model.blocks:
        block.attn.recorder = lambda weights: maps.append(weights)
    model(images)
    return heard(maps)


def record_the_outputs(model, images):
    maps = []
    handles = [
        layer.register_forward_hook(lambda layer, args, out: maps.append(out)) for layer in attention_layers(model)
    ]
    try:
        model(images)
    finally:
        for handle in handles:
            handle.remove()
    return heard(maps)


def record_scores(model, images):
    return record(model, images, scores)


def record_columns(model, images):
    return record(model, images, lambda layer, x: F.softmax(scores(layer, x), dim=2))


def record_unscaled(model, images):
    def weights_of(layer, x):
        q, k, _ = queries_keys_values(layer, x)
        return (q @ k.mT).softmax(-1)

    return record(model, images, weights_of)


def record_scaled_by_the_whole_width(model, images):
    def weights_of(layer, x):
        q, k, _ = queries_keys_values(layer, x)
        return (q @ k.mT / math.sqrt(x.size(2))).softmax(-1)

    return record(model, images, weights_of)


def record_transposed(model, images):
    return record(model, images, lambda layer, x: scores(layer, x).mT.softmax(-1))


def record_heads_before_qkv(model, images):
    def weights_of(layer, x):
        B, N, _ = x.shape
        q, k, _ = layer.qkv(x).view(B, N, layer.num_heads, -1).transpose(1, 2).chunk(3, dim=-1)
        return (q @ k.mT / math.sqrt(q.size(-1))).softmax(-1)

    return record(model, images, weights_of)


def record_mixed_heads(model, images):
    def weights_of(layer, x):
        B, N, D = x.shape
        q, k, _ = layer.qkv(x).split(D, dim=-1)
        q, k = (t.reshape(B, layer.num_heads, N, -1) for t in (q, k))
        return (q @ k.mT / math.sqrt(q.size(-1))).softmax(-1)

    return record(model, images, weights_of)


def record_mean_of_heads(model, images):
    return [weights.mean(1) for weights in record_by_asking(model, images)]


def record_the_last(model, images):
    return [record_by_asking(model, images)[-1]]


def record_one_tensor(model, images):
    return torch.stack(record_by_asking(model, images), 1)


def record_for_good(model, images):
    model.eval()
    with torch.no_grad():
        return record_by_asking(model, images)


def record_before_the_norm(model, images):
    return record(model, images, lambda block, x: weights(block.attn, x), lambda model: model.blocks)


# --- attention_rollout -------------------------------------------------------------------------------


def rollout_from_above(maps):
    """Beginning with the last layer: the product is the same, however it is bracketed."""
    result = None
    for layer in reversed(range(maps.shape[1])):
        fused = maps[:, layer].sum(1) / maps.shape[2] + torch.eye(maps.shape[-1]).to(maps)
        fused = fused / fused.sum(-1)[..., None]
        result = fused if result is None else torch.bmm(result, fused)
    return result


def rollout_image_by_image(maps):
    results = []
    for image in maps:
        result = torch.eye(maps.shape[-1], dtype=maps.dtype)
        for layer in image:
            a = layer.mean(0)
            a = torch.stack([(row + unit) / (row.sum() + 1) for row, unit in zip(a, eye(maps), strict=True)])
            result = a @ result
        results.append(result)
    return torch.stack(results)


def rolled(maps, mix, step=torch.matmul):
    result = torch.eye(maps.shape[-1], dtype=maps.dtype).repeat(len(maps), 1, 1)
    for i in range(maps.shape[1]):
        result = step(mix(maps[:, i]), result)
    return result


def eye(maps):
    return torch.eye(maps.shape[-1], dtype=maps.dtype)


def rows_to_one(a):
    return a / a.sum(-1, keepdim=True)


def rollout_without_residual(maps):
    return rolled(maps, lambda layer: layer.mean(1))


def rollout_without_sums(maps):
    return rolled(maps, lambda layer: layer.mean(1) + eye(maps))


def rollout_normalised_too_early(maps):
    return rolled(maps, lambda layer: rows_to_one(layer.mean(1)) + eye(maps))


def rollout_by_halves(maps):
    return rolled(maps, lambda layer: 0.5 * layer.mean(1) + 0.5 * eye(maps))


def rollout_normalised_and_halved(maps):
    return rolled(maps, lambda layer: 0.5 * rows_to_one(layer.mean(1)) + 0.5 * eye(maps))


def rollout_of_normalised_heads(maps):
    return rolled(maps, lambda layer: rows_to_one(rows_to_one(layer).mean(1) + eye(maps)))


def rollout_with_a_batch_of_float32(maps):
    result = torch.eye(maps.shape[-1]).repeat(len(maps), 1, 1)
    for layer in maps.unbind(1):
        result = torch.bmm(rows_to_one(layer.mean(1) + torch.eye(maps.shape[-1])), result)
    return result


def rollout_with_float32(maps):
    result = torch.eye(maps.shape[-1])
    for layer in maps.unbind(1):
        result = rows_to_one(layer.mean(1) + torch.eye(maps.shape[-1])) @ result
    return result


def rollout_in_float32(maps):
    return rollout_from_above(maps.float())


def rollout_without_keepdim(maps):
    def mix(layer):
        a = layer.mean(1) + eye(maps)
        return a / a.sum(-1)

    return rolled(maps, mix)


def rollout_of_columns(maps):
    def mix(layer):
        a = layer.mean(1) + eye(maps)
        return a / a.sum(1, keepdim=True)

    return rolled(maps, mix)


def rollout_backwards(maps):
    return rolled(maps, lambda layer: rows_to_one(layer.mean(1) + eye(maps)), lambda a, result: result @ a)


def rollout_of_the_maximum(maps):
    return rolled(maps, lambda layer: rows_to_one(layer.max(dim=1).values + eye(maps)))


def rollout_of_the_sum(maps):
    return rolled(maps, lambda layer: rows_to_one(layer.sum(1) + eye(maps)))


def rollout_of_the_first_head(maps):
    return rolled(maps, lambda layer: rows_to_one(layer[:, 0] + eye(maps)))


def rollout_number_by_number(maps):
    mixed = [rows_to_one(layer.mean(1) + eye(maps)) for layer in maps.unbind(1)]
    result = mixed[0]
    for a in mixed[1:]:
        result = a * result
    return result


def rollout_with_ones(maps):
    return rolled(maps, lambda layer: rows_to_one(layer.mean(1) + torch.ones_like(layer[:, 0])))


def rollout_of_the_last(maps):
    return rows_to_one(maps[:, -1].mean(1) + eye(maps))


def rollout_of_class_token(maps):
    return rollout_from_above(maps)[:, 0, :]


def rollout_of_first_image(maps):
    return rollout_from_above(maps)[0]


def rollout_normalised_once(maps):
    return rows_to_one(rollout_without_sums(maps))


def rollout_identity_at_the_end(maps):
    return rows_to_one(rollout_without_residual(maps) + eye(maps))


def rollout_in_place(maps):
    for layer in maps.unbind(1):
        layer += eye(maps)
    return rolled(maps, lambda layer: rows_to_one(layer.mean(1)))


# --- mean_attention_distance -------------------------------------------------------------------------


def distance_by_cdist(maps, grid_size, patch_size):
    y, x = torch.meshgrid(torch.arange(grid_size[0]), torch.arange(grid_size[1]), indexing="ij")
    middles = (torch.stack([y, x], dim=-1).reshape(-1, 2) + 0.5).double() * patch_size
    pixels = torch.cdist(middles, middles, compute_mode="donot_use_mm_for_euclid_dist").to(maps.dtype)
    a = maps[:, :, :, 1:, 1:]
    a = a / (1 - maps[:, :, :, 1:, :1])
    return torch.einsum("blhij,ij->lh", a, pixels) / (a.shape[0] * a.shape[3])


def distance_by_hypot(maps, grid_size, patch_size):
    gh, gw = grid_size
    result = torch.zeros(maps.shape[1:3], dtype=maps.dtype)
    for i in range(gh * gw):
        pixels = [patch_size * math.hypot(i // gw - j // gw, i % gw - j % gw) for j in range(gh * gw)]
        row = maps[:, :, :, i + 1, 1:]
        result += (row * torch.tensor(pixels, dtype=maps.dtype)).sum(-1).div(row.sum(-1)).mean(0)
    return result / (gh * gw)


def table(grid_size, patch_size, like):
    n = torch.arange(grid_size[0] * grid_size[1])
    y, x = n // grid_size[1], n % grid_size[1]
    return patch_size * torch.sqrt(((y[:, None] - y) ** 2 + (x[:, None] - x) ** 2).to(like.dtype))


def distance_in_patches(maps, grid_size, patch_size):
    a = rows_to_one(maps[..., 1:, 1:])
    return (a * table(grid_size, 1, maps)).sum(-1).mean((0, -1))


def distance_without_sums(maps, grid_size, patch_size):
    return (maps[..., 1:, 1:] * table(grid_size, patch_size, maps)).sum(-1).mean((0, -1))


def distance_with_the_last_cut_off(maps, grid_size, patch_size):
    a = rows_to_one(maps[..., :-1, :-1])
    return (a * table(grid_size, patch_size, maps)).sum(-1).mean((0, -1))


def distance_with_the_class_token(maps, grid_size, patch_size):
    n = torch.arange(maps.shape[-1])
    y, x = n // grid_size[1], n % grid_size[1]
    pixels = patch_size * ((y[:, None] - y) ** 2 + (x[:, None] - x) ** 2).to(maps.dtype).sqrt()
    return (maps * pixels).sum(-1).mean((0, -1))


def distance_along_streets(maps, grid_size, patch_size):
    n = torch.arange(grid_size[0] * grid_size[1])
    y, x = n // grid_size[1], n % grid_size[1]
    pixels = patch_size * ((y[:, None] - y).abs() + (x[:, None] - x).abs()).to(maps.dtype)
    return (rows_to_one(maps[..., 1:, 1:]) * pixels).sum(-1).mean((0, -1))


def distance_squared(maps, grid_size, patch_size):
    pixels = table(grid_size, 1, maps) ** 2
    return patch_size * (rows_to_one(maps[..., 1:, 1:]) * pixels).sum(-1).mean((0, -1))


def distance_in_reading_order(maps, grid_size, patch_size):
    n = torch.arange(grid_size[0] * grid_size[1])
    pixels = patch_size * (n[:, None] - n).abs().to(maps.dtype)
    return (rows_to_one(maps[..., 1:, 1:]) * pixels).sum(-1).mean((0, -1))


def distance_grid_turned(maps, grid_size, patch_size):
    a = rows_to_one(maps[..., 1:, 1:])
    return (a * table(grid_size[::-1], patch_size, maps)).sum(-1).mean((0, -1))


def distance_over_all_queries(maps, grid_size, patch_size):
    a = maps[..., 1:, 1:]
    return (a * table(grid_size, patch_size, maps)).sum((0, 3, 4)) / a.sum((0, 3, 4))


def distance_to_the_favourite(maps, grid_size, patch_size):
    favourite = maps[..., 1:, 1:].argmax(-1, keepdim=True)
    pixels = table(grid_size, patch_size, maps).expand(*maps.shape[:3], -1, -1)
    return pixels.gather(-1, favourite).mean((0, 3, 4))


def distance_of_layers(maps, grid_size, patch_size):
    return distance_by_cdist(maps, grid_size, patch_size).mean(1)


def distance_of_images(maps, grid_size, patch_size):
    a = rows_to_one(maps[..., 1:, 1:])
    return (a * table(grid_size, patch_size, maps)).sum(-1).mean(-1)


def distance_of_the_first_image(maps, grid_size, patch_size):
    return distance_by_cdist(maps[:1], grid_size, patch_size)


def distance_mean_over_keys(maps, grid_size, patch_size):
    return (rows_to_one(maps[..., 1:, 1:]) * table(grid_size, patch_size, maps)).mean((0, 3, 4))


def distance_in_float32(maps, grid_size, patch_size):
    return distance_by_cdist(maps.float(), grid_size, patch_size)


def distance_summed(maps, grid_size, patch_size):
    return distance_by_cdist(maps, grid_size, patch_size) * (maps.shape[-1] - 1)


def distance_of_columns(maps, grid_size, patch_size):
    a = maps[..., 1:, 1:]
    a = a / a.sum(3, keepdim=True)
    return (a * table(grid_size, patch_size, maps)).sum(-1).mean((0, -1))


RIGHT = {
    "record_attention": [record_by_asking, record_by_replacing_the_kernel, record_with_a_stack],
    "attention_rollout": [rollout_from_above, rollout_image_by_image],
    "mean_attention_distance": [distance_by_cdist, distance_by_hypot],
}

WRONG = {
    "record_attention": {
        record_and_go_on_asking: "never set back to None",
        record_and_keep_the_hooks: "keep what register_... returns",
        record_without_finally: "put it into `finally`",
        record_and_swallow: "without except",
        record_in_silence: "silence must not look like an answer",
        record_the_outputs: "what the layer puts out",
        record_scores: "those are scores",
        record_columns: "columns sum to 1",
        record_unscaled: "not divided",
        record_scaled_by_the_whole_width: "divided by sqrt(D)",
        record_transposed: "exchanged",
        record_heads_before_qkv: "before q, k and v",
        record_mixed_heads: "mixes tokens and heads",
        record_mean_of_heads: "keep them apart",
        record_the_last: "only the last layer's map",
        record_one_tensor: "one tensor of all layers",
        record_for_good: "remember model.training",
        record_before_the_norm: "before its first norm",
    },
    "attention_rollout": {
        rollout_without_residual: "residual connection is missing",
        rollout_without_sums: "after L layers to 2^L",
        rollout_normalised_too_early: "divide first",
        rollout_by_halves: "divide by 2",
        rollout_normalised_and_halved: "before the identity comes in",
        rollout_of_normalised_heads: "before the mean",
        rollout_with_a_batch_of_float32: "these maps are float64",
        rollout_with_float32: "does not multiply with float64 maps",
        rollout_in_float32: "but in float32",
        rollout_without_keepdim: "without keepdim",
        rollout_of_columns: "each column by its sum",
        rollout_backwards: "wrong order",
        rollout_of_the_maximum: "maximum over the heads",
        rollout_of_the_sum: "add up the heads",
        rollout_of_the_first_head: "one head",
        rollout_number_by_number: "number by number",
        rollout_with_ones: "matrix of ones",
        rollout_of_the_last: "only the last layer",
        rollout_of_class_token: "class token's row",
        rollout_of_first_image: "first image only",
        rollout_normalised_once: "once, in the end",
        rollout_identity_at_the_end: "finished product",
        rollout_in_place: "your caller's maps change",
    },
    "mean_attention_distance": {
        distance_with_the_class_token: "as if it were the first patch",
        distance_in_patches: "times patch_size",
        distance_without_sums: "cut it off first",
        distance_with_the_last_cut_off: "cut off the last patch",
        distance_along_streets: "along rows and columns",
        distance_squared: "square root is missing",
        distance_in_reading_order: "places in reading order",
        distance_grid_turned: "are exchanged",
        distance_over_all_queries: "counts less than others",
        distance_to_the_favourite: "largest weight",
        distance_of_layers: "the heads are averaged",
        distance_of_images: "over images too",
        distance_of_the_first_image: "first image only",
        distance_mean_over_keys: "mean over the keys",
        distance_in_float32: "but in float32",
        distance_summed: "sum over the queries",
        distance_of_columns: "each column by its sum",
    },
}
