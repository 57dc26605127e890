"""Answers to the exercises of chapter 13, as readers write them.

RIGHT: implementations other than the chapter's own. WRONG: plausible mistakes, each with words of the
hint that it must get. They are written as a reader would, not as the records imitate them.
"""

import copy

import torch
import torch.nn.functional as F

# --- pointing_game -----------------------------------------------------------------------------------


def pointing_by_loops(maps, masks):
    side, results = masks.shape[1] // maps.shape[1], []
    for one, mask in zip(maps, masks, strict=True):
        hits, pixels = 0, 0
        for row, column in (one == one.max()).nonzero().tolist():
            patch = mask[row * side : (row + 1) * side, column * side : (column + 1) * side]
            hits, pixels = hits + patch.sum().item(), pixels + patch.numel()
        results.append(hits / pixels)
    return torch.tensor(results, dtype=maps.dtype)


def pointing_by_pooling(maps, masks):
    share = F.avg_pool2d(masks[:, None].to(maps.dtype), masks.shape[1] // maps.shape[1])[:, 0]
    top = maps == maps.flatten(1).max(dim=1).values[:, None, None]
    return torch.stack([s[t].mean() for s, t in zip(share, top, strict=True)])


def pointing_by_interpolation(maps, masks):
    large = F.interpolate(maps[:, None], size=masks.shape[1:], mode="nearest-exact")[:, 0]
    top = (large == large.amax((1, 2), keepdim=True)).to(maps.dtype)
    return (top * masks).sum((1, 2)) / top.sum((1, 2))


def pointing_by_argmax(maps, masks):
    side, gw = masks.shape[1] // maps.shape[1], maps.shape[2]
    results = []
    for one, mask in zip(maps, masks, strict=True):
        row, column = divmod(one.argmax().item(), gw)
        results.append(mask[row * side : (row + 1) * side, column * side : (column + 1) * side].to(maps.dtype).mean())
    return torch.stack(results)


def pointing_by_sorting(maps, masks):
    side, gw = masks.shape[1] // maps.shape[1], maps.shape[2]
    results = []
    for one, mask in zip(maps, masks, strict=True):
        patch = one.flatten().argsort(stable=True)[-1].item()
        row, column = patch // gw * side, patch % gw * side
        results.append(mask[row : row + side, column : column + side].to(maps.dtype).mean())
    return torch.stack(results)


def enlarged(maps, masks):
    side = masks.shape[1] // maps.shape[1]
    return maps.repeat_interleave(side, dim=1).repeat_interleave(side, dim=2)


def pointing_any(maps, masks):
    large = enlarged(maps, masks)
    top = large == large.amax(dim=(1, 2), keepdim=True)
    return (top & masks).any(dim=2).any(dim=1).to(maps.dtype)


def pointing_of_the_batch(maps, masks):
    large = enlarged(maps, masks)
    top = (large == large.max()).to(maps.dtype)
    return (top * masks).sum(dim=(1, 2)) / top.sum(dim=(1, 2))


def pointing_at_the_smallest(maps, masks):
    large = enlarged(maps, masks)
    top = (large == large.amin(dim=(1, 2), keepdim=True)).to(maps.dtype)
    return (top * masks).sum(dim=(1, 2)) / top.sum(dim=(1, 2))


def pointing_by_size(maps, masks):
    return pointing_by_interpolation(maps.abs(), masks)


def pointing_with_tiles(maps, masks):
    side = masks.shape[1] // maps.shape[1]
    large = maps.tile(1, side, side)
    top = (large == large.amax((1, 2), keepdim=True)).to(maps.dtype)
    return (top * masks).sum((1, 2)) / top.sum((1, 2))


def pointing_recall(maps, masks):
    large = enlarged(maps, masks)
    top = large == large.amax(dim=(1, 2), keepdim=True)
    return (top & masks).sum(dim=(1, 2)).to(maps.dtype) / masks.sum(dim=(1, 2))


def pointing_of_all_pixels(maps, masks):
    large = enlarged(maps, masks)
    top = large == large.amax(dim=(1, 2), keepdim=True)
    return (top & masks).to(maps.dtype).mean(dim=(1, 2))


def pointing_counted(maps, masks):
    large = enlarged(maps, masks)
    top = large == large.amax(dim=(1, 2), keepdim=True)
    return (top & masks).sum(dim=(1, 2)).to(maps.dtype)


def pointing_mean(maps, masks):
    return pointing_by_pooling(maps, masks).mean()


def pointing_missed(maps, masks):
    return 1 - pointing_by_pooling(maps, masks)


def pointing_at_the_middle(maps, masks):
    side = masks.shape[1] // maps.shape[1]
    middle = masks[:, side // 2 :: side, side // 2 :: side]
    top = maps == maps.amax(dim=(1, 2), keepdim=True)
    return (top & middle).sum(dim=(1, 2)).to(maps.dtype) / top.sum(dim=(1, 2))


def pointing_rounded(maps, masks):
    return (pointing_by_pooling(maps, masks) > 0.5).to(maps.dtype)


def pointing_by_small_masks(maps, masks):
    small = F.avg_pool2d(masks[:, None].to(maps.dtype), masks.shape[1] // maps.shape[1])[:, 0] >= 0.5
    top = maps == maps.amax(dim=(1, 2), keepdim=True)
    return (top & small).sum(dim=(1, 2)).to(maps.dtype) / top.sum(dim=(1, 2))


def pointing_without_enlarging(maps, masks):
    top = maps == maps.amax(dim=(1, 2), keepdim=True)
    return (top & masks).sum(dim=(1, 2)) / top.sum(dim=(1, 2))


def pointing_mean_of_booleans(maps, masks):
    large = enlarged(maps, masks)
    top = large == large.amax(dim=(1, 2), keepdim=True)
    return torch.stack([mask[t].mean() for mask, t in zip(masks, top, strict=True)])


# --- deletion_curve ----------------------------------------------------------------------------------


@torch.no_grad()
def deletion_one_by_one(model, image, saliency, fill, label):
    image, side, points = image.clone(), image.shape[1] // saliency.shape[0], []
    points.append(model(image[None]).softmax(-1)[0, label])
    for patch in saliency.flatten().argsort(descending=True).tolist():
        row, column = patch // saliency.shape[1] * side, patch % saliency.shape[1] * side
        image[:, row : row + side, column : column + side] = fill[:, row : row + side, column : column + side]
        points.append(model(image[None]).softmax(-1)[0, label])
    return torch.stack(points)


def deletion_by_thresholds(model, image, saliency, fill, label):
    levels = saliency.flatten().sort(descending=True).values
    limits = torch.cat([levels[:1] + 1, levels])
    gone = saliency[None] >= limits[:, None, None]
    gone = F.interpolate(gone[:, None].to(image.dtype), size=image.shape[1:], mode="nearest-exact")
    batch = image * (1 - gone) + fill * gone
    return torch.softmax(model(batch), dim=1)[:, label]


def ranks_of(saliency):
    return saliency.flatten().argsort(descending=True).argsort().view(saliency.shape)


def batch_of(image, fill, kept):
    side = image.shape[1] // kept.shape[1]
    return torch.where(kept.repeat_interleave(side, 1).repeat_interleave(side, 2)[:, None], image, fill)


def kept_in_order(saliency):
    return ranks_of(saliency)[None] >= torch.arange(saliency.numel() + 1)[:, None, None]


def deletion_of_the_least(model, image, saliency, fill, label):
    return deletion_one_by_one(model, image, -saliency, fill, label)


def deletion_reversed(model, image, saliency, fill, label):
    return model(batch_of(image, fill, ~kept_in_order(saliency))).softmax(-1)[:, label]


def deletion_backwards(model, image, saliency, fill, label):
    return deletion_one_by_one(model, image, saliency, fill, label).flip(0)


def deletion_without_the_first(model, image, saliency, fill, label):
    image, side, points = image.clone(), image.shape[1] // saliency.shape[0], []
    for patch in saliency.flatten().argsort(descending=True).tolist():
        row, column = patch // saliency.shape[1] * side, patch % saliency.shape[1] * side
        image[:, row : row + side, column : column + side] = fill[:, row : row + side, column : column + side]
        points.append(model(image[None]).softmax(-1)[0, label])
    return torch.stack(points)


def deletion_without_the_last(model, image, saliency, fill, label):
    return model(batch_of(image, fill, kept_in_order(saliency)[:-1])).softmax(-1)[:, label]


def deletion_of_single_patches(model, image, saliency, fill, label):
    side, points = image.shape[1] // saliency.shape[0], [model(image[None]).softmax(-1)[0, label]]
    for patch in saliency.flatten().argsort(descending=True).tolist():
        row, column = patch // saliency.shape[1] * side, patch % saliency.shape[1] * side
        changed = image.clone()
        changed[:, row : row + side, column : column + side] = fill[:, row : row + side, column : column + side]
        points.append(model(changed[None]).softmax(-1)[0, label])
    return torch.stack(points)


def deletion_logits(model, image, saliency, fill, label):
    return model(batch_of(image, fill, kept_in_order(saliency)))[:, label]


def deletion_of_the_winner(model, image, saliency, fill, label):
    return model(batch_of(image, fill, kept_in_order(saliency))).softmax(-1).max(dim=1).values


def deletion_of_the_first_winner(model, image, saliency, fill, label):
    label = model(image[None]).argmax(dim=1).item()
    return model(batch_of(image, fill, kept_in_order(saliency))).softmax(-1)[:, label]


def deletion_softmax_over_images(model, image, saliency, fill, label):
    return model(batch_of(image, fill, kept_in_order(saliency))).softmax(0)[:, label]


def deletion_accuracy(model, image, saliency, fill, label):
    return (model(batch_of(image, fill, kept_in_order(saliency))).argmax(1) == label).double()


def deletion_of_all_classes(model, image, saliency, fill, label):
    return model(batch_of(image, fill, kept_in_order(saliency))).softmax(-1)


def deletion_area(model, image, saliency, fill, label):
    return deletion_by_thresholds(model, image, saliency, fill, label).mean()


def deletion_to_zero(model, image, saliency, fill, label):
    return deletion_by_thresholds(model, image, saliency, torch.zeros_like(fill), label)


def deletion_by_order_for_rank(model, image, saliency, fill, label):
    order = saliency.flatten().argsort(descending=True).view(saliency.shape)
    kept = order[None] >= torch.arange(saliency.numel() + 1)[:, None, None]
    return model(batch_of(image, fill, kept)).softmax(-1)[:, label]


def deletion_swapped(by, model, image, saliency, fill, label):
    """Rows and columns exchanged, a patch's number divided by the grid's height, `by` 0, or width, 1."""
    image, side = image.clone(), image.shape[1] // saliency.shape[0]
    points = [model(image[None]).softmax(-1)[0, label]]
    for patch in saliency.flatten().argsort(descending=True).tolist():
        column, row = patch // saliency.shape[by] * side, patch % saliency.shape[by] * side
        image[:, row : row + side, column : column + side] = fill[:, row : row + side, column : column + side]
        points.append(model(image[None]).softmax(-1)[0, label])
    return torch.stack(points)


def deletion_with_rows_for_columns(*inputs):
    return deletion_swapped(0, *inputs)


def deletion_with_swapped_names(*inputs):
    return deletion_swapped(1, *inputs)


def deletion_appending(steps, model, image, saliency, fill, label):
    side = image.shape[1] // saliency.shape[0]
    for patch in saliency.flatten().argsort(descending=True).tolist():
        row, column = patch // saliency.shape[1] * side, patch % saliency.shape[1] * side
        image[:, row : row + side, column : column + side] = fill[:, row : row + side, column : column + side]
        steps.append(image)
    return model(torch.stack(steps)).softmax(-1)[:, label]


def deletion_without_clones(model, image, saliency, fill, label):
    image = image.clone()
    return deletion_appending([image], model, image, saliency, fill, label)


def deletion_with_one_clone(model, image, saliency, fill, label):
    return deletion_appending([image], model, image.clone(), saliency, fill, label)


def deletion_in_place(model, image, saliency, fill, label):
    side, points = image.shape[1] // saliency.shape[0], [model(image[None]).softmax(-1)[0, label]]
    for patch in saliency.flatten().argsort(descending=True).tolist():
        row, column = patch // saliency.shape[1] * side, patch % saliency.shape[1] * side
        image[:, row : row + side, column : column + side] = fill[:, row : row + side, column : column + side]
        points.append(model(image[None]).softmax(-1)[0, label])
    return torch.stack(points)


def deletion_without_a_batch(model, image, saliency, fill, label):
    points = [model(image).softmax(-1)[label]]
    return torch.stack(points)


# --- randomise_from_top ------------------------------------------------------------------------------


def randomise_by_names(model, fresh, blocks):
    first, state = len(model.blocks) - blocks, copy.deepcopy(model.state_dict())
    for name, value in fresh.state_dict().items():
        part = name.split(".")
        if part[0] in ("head", "norm") or (part[0] == "blocks" and int(part[1]) >= first):
            state[name] = value.clone()
    result = copy.deepcopy(model)
    result.load_state_dict(state)
    return result


@torch.no_grad()
def randomise_by_modules(model, fresh, blocks):
    result, new = copy.deepcopy(model), copy.deepcopy(fresh)
    result.head, result.norm = new.head, new.norm
    for i in range(1, blocks + 1):
        result.blocks[-i] = new.blocks[-i]
    return result


def load_parts(result, fresh, chosen):
    result.head.load_state_dict(fresh.head.state_dict())
    result.norm.load_state_dict(fresh.norm.state_dict())
    for mine, theirs in zip(result.blocks[chosen], fresh.blocks[chosen], strict=True):
        mine.load_state_dict(theirs.state_dict())
    return result


def randomise_minus_zero(model, fresh, blocks):
    return load_parts(copy.deepcopy(model), fresh, slice(-blocks, None))


def randomise_in_place(model, fresh, blocks):
    return load_parts(model, fresh, slice(len(model.blocks) - blocks, None))


def randomise_with_shared_parts(model, fresh, blocks):
    result = copy.deepcopy(model)
    result.head, result.norm = fresh.head, fresh.norm
    for i in range(1, blocks + 1):
        result.blocks[-i] = fresh.blocks[-i]
    return result


def randomise_from_below(model, fresh, blocks):
    return load_parts(copy.deepcopy(model), fresh, slice(blocks))


def randomise_without_head(model, fresh, blocks):
    result = load_parts(copy.deepcopy(model), fresh, slice(len(model.blocks) - blocks, None))
    result.head.load_state_dict(model.head.state_dict())
    return result


def randomise_without_norm(model, fresh, blocks):
    result = load_parts(copy.deepcopy(model), fresh, slice(len(model.blocks) - blocks, None))
    result.norm.load_state_dict(model.norm.state_dict())
    return result


def randomise_blocks_only(model, fresh, blocks):
    result = copy.deepcopy(model)
    for i in range(len(model.blocks) - blocks, len(model.blocks)):
        result.blocks[i].load_state_dict(fresh.blocks[i].state_dict())
    return result


def randomise_one_too_many(model, fresh, blocks):
    return load_parts(copy.deepcopy(model), fresh, slice(len(model.blocks) - blocks - 1, None))


def randomise_one_block(model, fresh, blocks):
    result = load_parts(copy.deepcopy(model), fresh, slice(0))
    if blocks:
        result.blocks[-blocks].load_state_dict(fresh.blocks[-blocks].state_dict())
    return result


def randomise_the_head(model, fresh, blocks):
    return load_parts(copy.deepcopy(model), fresh, slice(0))


def randomise_all_blocks(model, fresh, blocks):
    return load_parts(copy.deepcopy(model), fresh, slice(None))


def randomise_everything(model, fresh, blocks):
    result = copy.deepcopy(model)
    result.load_state_dict(fresh.state_dict())
    return result


def randomise_by_one_digit(model, fresh, blocks):
    first, state = len(model.blocks) - blocks, copy.deepcopy(model.state_dict())
    for name, value in fresh.state_dict().items():
        if name.startswith(("head", "norm")) or (name.startswith("blocks.") and int(name[7]) >= first):
            state[name] = value.clone()
    result = copy.deepcopy(model)
    result.load_state_dict(state)
    return result


def randomise_a_state_dict(model, fresh, blocks):
    return randomise_by_names(model, fresh, blocks).state_dict()


RIGHT = {
    "pointing_game": [pointing_by_loops, pointing_by_pooling, pointing_by_interpolation],
    "deletion_curve": [deletion_one_by_one, deletion_by_thresholds],
    "randomise_from_top": [randomise_by_names, randomise_by_modules],
}

WRONG = {
    "pointing_game": {
        pointing_by_argmax: "argmax returns the first alone",
        pointing_by_sorting: "you take the last alone",
        pointing_any: "one hit counts as all",
        pointing_of_the_batch: "largest number of the whole batch",
        pointing_at_the_smallest: "smallest number of each map",
        pointing_by_size: "largest by size",
        pointing_with_tiles: "whole maps side by side",
        pointing_recall: "share of the object the patches cover",
        pointing_of_all_pixels: "divide by all pixels of the image",
        pointing_counted: "you count pixels",
        pointing_mean: "one number for the batch",
        pointing_missed: "share that misses",
        pointing_at_the_middle: "middle pixel",
        pointing_rounded: "no matter of one half",
        pointing_by_small_masks: "you round each patch",
        pointing_without_enlarging: "the maps have patches and the masks pixels",
        pointing_mean_of_booleans: "no mean of True and False",
    },
    "deletion_curve": {
        deletion_of_the_least: "least important patch goes first",
        deletion_reversed: "that is the insertion curve",
        deletion_backwards: "the curve is backwards",
        deletion_without_the_first: "the first point is missing",
        deletion_without_the_last: "the last point is missing",
        deletion_of_single_patches: "one patch at a time",
        deletion_logits: "you return logits",
        deletion_of_the_winner: "whatever is largest",
        deletion_of_the_first_winner: "the model names at first",
        deletion_softmax_over_images: "softmax over the images",
        deletion_accuracy: "whether the model is right",
        deletion_of_all_classes: "all classes are there",
        deletion_area: "one number, the area",
        deletion_to_zero: "the patches become 0",
        deletion_by_order_for_rank: "you take the one for the other",
        deletion_with_rows_for_columns: "rows and columns are swapped",
        deletion_with_swapped_names: "n // gw is the row",
        deletion_without_clones: "all steps show the last picture",
        deletion_with_one_clone: "all steps but the first",
        deletion_in_place: "has been changed",
        deletion_without_a_batch: "the model wants a batch",
    },
    "randomise_from_top": {
        randomise_minus_zero: "model.blocks[-0:] is all of them",
        randomise_in_place: "you change the model that you are given",
        randomise_with_shared_parts: "shares its parts with fresh",
        randomise_from_below: "begin at the top",
        randomise_without_head: "the head is still the trained one",
        randomise_without_norm: "the last norm is still",
        randomise_blocks_only: "head and norm are still",
        randomise_one_too_many: "one block too many",
        randomise_one_block: "only one block is random",
        randomise_the_head: "no block is",
        randomise_all_blocks: "all blocks are random",
        randomise_everything: "everything is random",
        randomise_by_one_digit: "one digit",
        randomise_a_state_dict: "you return a state dict",
    },
}
