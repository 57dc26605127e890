"""Answers to the exercises of chapter 13, as readers write them.

RIGHT: implementations other than the chapter's own. Beside the record's known mistakes, which are wrong answers
themselves, SLIPS: the chapter's own solution with something changed, and WRONG: mistakes written in another way; each
with words of the hint that it must get. EQUIVALENT: mutants of the right answers that are right too, and why.
"""

import copy

import numpy as np
import torch
import torch.nn.functional as F
from einops import rearrange

# --- pointing_game -------------------------------------------------------------------------------


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
    large = F.interpolate(maps[:, None], size=masks.shape[1:])[:, 0]
    top = (large == large.amax((1, 2), keepdim=True)).to(maps.dtype)
    return (top * masks).sum((1, 2)) / top.sum((1, 2))


def pointing_in_numpy(maps, masks):
    side = masks.shape[1] // maps.shape[1]
    large = np.kron(maps, np.ones((1, side, side)))
    shares = [mask.numpy()[one == one.max()].mean() for one, mask in zip(large, masks, strict=True)]
    return torch.tensor(shares, dtype=maps.dtype)


def pointing_from_zero(maps, masks):
    side, results = masks.shape[1] // maps.shape[1], maps.new_zeros(len(maps))
    for i, (one, mask) in enumerate(zip(maps.tolist(), masks.to(maps.dtype), strict=True)):
        best, shares = 0.0, [0.0]
        for patches, numbers in zip(mask.split(side), one, strict=True):
            for patch, number in zip(patches.split(side, dim=1), numbers, strict=True):
                if number > best:
                    best, shares = number, []
                if number == best:
                    shares.append(patch.mean().item())
        results[i] = sum(shares) / len(shares)
    return results


def pointing_of_cut_masks(maps, masks):
    side = masks.shape[1] // maps.shape[1]
    share = masks.reshape(*maps.shape, side, side).to(maps.dtype).mean(dim=(3, 4))
    return torch.stack([s[one == one.max()].mean() for one, s in zip(maps, share, strict=True)])


def pointing_in_single_precision(maps, masks):
    return pointing_by_loops(maps.float(), masks).to(maps.dtype)


def pointing_without_enlarging(maps, masks):
    top = maps == maps.amax(dim=(1, 2), keepdim=True)
    return ((top & masks).sum(dim=(1, 2)) / top.sum(dim=(1, 2))).to(maps.dtype)


def pointing_mean_of_booleans(maps, masks):
    side = masks.shape[1] // maps.shape[1]
    top = (maps == maps.amax(dim=(1, 2), keepdim=True)).repeat_interleave(side, 1).repeat_interleave(side, 2)
    return torch.stack([mask[t].mean() for mask, t in zip(masks, top, strict=True)])


# --- deletion_curve ------------------------------------------------------------------------------


@torch.no_grad()
def deletion_one_by_one(model, image, saliency, fill, label):
    mode = model.training
    model.eval()
    image, side = image.to(next(model.parameters()).device, copy=True), image.shape[1] // saliency.shape[0]
    points = [model(image[None]).softmax(dim=1)[0, label]]
    for patch in saliency.flatten().argsort(descending=True):
        row, column = patch // saliency.shape[1] * side, patch % saliency.shape[1] * side
        image[:, row : row + side, column : column + side] = fill[:, row : row + side, column : column + side]
        points.append(model(image[None]).softmax(dim=1)[0, label])
    model.train(mode)
    return torch.stack(points)


def deletion_by_thresholds(model, image, saliency, fill, label):
    levels = saliency.flatten().sort(descending=True).values
    limits = torch.cat([levels[:1] + 1, levels])
    gone = saliency[None] >= limits[:, None, None]
    gone = F.interpolate(gone[:, None].to(image.dtype), size=image.shape[1:])
    batch = image * (1 - gone) + fill * gone
    return torch.softmax(model(batch), dim=1)[:, label]


def deletion_by_ranks(model, image, saliency, fill, label):
    gh, gw = saliency.shape
    old, new = (rearrange(x, "c (gh p) (gw q) -> (gh gw) c p q", gh=gh, gw=gw) for x in (image, fill))
    rank = saliency.flatten().argsort(descending=True).argsort()
    gone = rank < torch.arange(gh * gw + 1)[:, None]
    steps = torch.where(gone[:, :, None, None, None], new, old)
    logits = model(rearrange(steps, "s (gh gw) c p q -> s c (gh p) (gw q)", gh=gh))
    return (logits - logits.logsumexp(dim=1, keepdim=True)).exp()[:, label]


def deletion_from_behind(model, image, saliency, fill, label):
    side, steps = image.shape[1] // saliency.shape[0], [fill.clone()]
    for patch in saliency.flatten().argsort().tolist():
        row, column = patch // saliency.shape[1] * side, patch % saliency.shape[1] * side
        fill[:, row : row + side, column : column + side] = image[:, row : row + side, column : column + side]
        steps.append(fill.clone())
    return model(torch.stack(steps[::-1])).softmax(-1)[:, label]


def deletion_without_a_batch(model, image, saliency, fill, label):
    return torch.stack([model(image).softmax(-1)[label]])


# --- randomise_from_top --------------------------------------------------------------------------


def randomise_by_names(model, fresh, blocks):
    first, state = len(model.blocks) - blocks, model.state_dict()
    for name, value in fresh.state_dict().items():
        part = name.split(".")
        if part[0] in ("head", "norm") or (part[0] == "blocks" and int(part[1]) >= first):
            state[name] = value
    result = type(model)(model.config)
    result.load_state_dict(state)
    return result


@torch.no_grad()
def randomise_by_modules(model, fresh, blocks):
    result, new = copy.deepcopy(model), copy.deepcopy(fresh)
    result.head, result.norm = new.head, new.norm
    for i in range(1, blocks + 1):
        result.blocks[-i] = new.blocks[-i]
    return result


def randomise_a_copy_of_fresh(model, fresh, blocks):
    result, below = copy.deepcopy(fresh), len(model.blocks) - blocks
    top = ("head.", "norm.", *(f"blocks.{i}." for i in range(below, len(model.blocks))))
    for name, parameter in result.named_parameters():
        if not name.startswith(top):
            parameter.data.copy_(model.get_parameter(name))
    return result


def randomise_a_shallow_copy(model, fresh, blocks):
    result, new = copy.copy(model), copy.deepcopy(fresh)
    result.head, result.norm = new.head, new.norm
    for i in range(1, blocks + 1):
        result.blocks[-i] = new.blocks[-i]
    return result


def randomise_into_fresh(model, fresh, blocks):
    below = model.state_dict()
    for name in list(below):
        if name.startswith(("head", "norm", *(f"blocks.{len(model.blocks) - i}." for i in range(1, blocks + 1)))):
            del below[name]
    fresh.load_state_dict(below, strict=False)
    return fresh


def randomise_and_train(model, fresh, blocks):
    result = randomise_by_modules(model, fresh, blocks)
    for one in (model, fresh, result):
        one.train()
    return result


def randomise_and_freeze(model, fresh, blocks):
    for parameter in (*model.parameters(), *fresh.parameters()):
        parameter.requires_grad = False
    return randomise_a_copy_of_fresh(model, fresh, blocks)


def randomise_with_shared_parts(model, fresh, blocks):
    result = copy.deepcopy(model)
    result.head, result.norm = fresh.head, fresh.norm
    for i in range(1, blocks + 1):
        result.blocks[-i] = fresh.blocks[-i]
    return result


def randomise_sharing_what_is_below(model, fresh, blocks):
    result = copy.deepcopy(fresh)
    result.patch_embed, result.cls_token, result.pos_embed = model.patch_embed, model.cls_token, model.pos_embed
    for i in range(len(model.blocks) - blocks):
        result.blocks[i] = model.blocks[i]
    return result


def randomise_a_state_dict(model, fresh, blocks):
    return randomise_by_names(model, fresh, blocks).state_dict()


RIGHT = {
    "pointing_game": (pointing_by_loops, pointing_by_pooling, pointing_by_interpolation, pointing_in_numpy),
    "deletion_curve": (deletion_one_by_one, deletion_by_thresholds, deletion_by_ranks),
    "randomise_from_top": (randomise_by_names, randomise_by_modules, randomise_a_copy_of_fresh),
}

SLIPS = {
    "pointing_game": """
        whole maps stand side by side
            maps.repeat_interleave(P, dim=1).repeat_interleave(
            |     P, dim=2
            | ) ⇒ maps.tile(1, P, P)
        as wide as it is high
            masks.shape[1] // ⇒ masks.size(2) //
        returns one pixel
            return (picked * masks).sum(dim=(1, 2)) / picked.sum(dim=(1, 2)) ⇒ places = large.reshape(len(maps), -1).argmax(1).tolist()
            | return torch.tensor([float(mask.flatten()[place]) for mask, place in zip(masks, places)], dtype=maps.dtype)
        // leaves 0 or 1
            .sum(dim=(1, 2)) / ⇒ .sum(dim=(1, 2)) //
        """,
    "deletion_curve": """
        sorts each of its rows
            saliency.flatten().argsort(descending=True) ⇒ saliency.argsort(dim=1, descending=True).flatten()
        a mean of fill
            fill[here] ⇒ fill.mean()
        a mean of the image
            fill[here] ⇒ image.mean()
        a list of plain numbers
            return model(torch.stack(steps)).softmax(dim=-1)[:, label] ⇒ return [model(x[None]).softmax(dim=-1)[0, label].item() for x in steps]
        a list of tensors
            return model(torch.stack(steps)).softmax(dim=-1)[:, label] ⇒ return [model(x[None]).softmax(dim=-1)[0, label] for x in steps]
        is in float32
            return model(torch.stack(steps)).softmax(dim=-1)[:, label] ⇒ return torch.tensor(model(torch.stack(steps)).softmax(dim=-1)[:, label].tolist())
        to training mode
            return model ⇒ return model.train()
        one number, the area
            return model(torch.stack(steps)).softmax(dim=-1)[:, label] ⇒ curve = model(torch.stack(steps)).softmax(dim=-1)[:, label]
            | return torch.trapezoid(curve, dx=1 / saliency.numel())
        P is written into your code
            image.shape[1] // gh ⇒ 4
        """,
    "randomise_from_top": """
        with i = 0 is the first block
            for i in range(depth - blocks, depth):
            |     result ⇒ for i in range(blocks):
            |     i = -i
            |     result
        the same block of fresh
            fresh.blocks[i] ⇒ fresh.blocks[::-1][i]
        the first blocks are random
            for i in range(depth - blocks, depth):
            |     result.blocks[i] ⇒ for i in range(-blocks, 0):
            |     result.blocks[i + blocks]
        is written into your code
            range(depth - blocks, depth) ⇒ range(6 - blocks, 6)
        miss it
            range(depth - blocks, depth) ⇒ range(depth - blocks - 1, depth - 1)
        block depth is none
            range(depth - blocks, depth) ⇒ range(depth - blocks + 1, depth + 1)
        """,
}

WRONG = {
    "pointing_game": {
        pointing_of_cut_masks: "lie apart",
        pointing_from_zero: "below 0 everywhere",
        pointing_in_single_precision: "own dtype",
        pointing_without_enlarging: "the maps have patches and the masks pixels",
        pointing_mean_of_booleans: "no mean of True and False",
    },
    "deletion_curve": {
        deletion_from_behind: "compute a new tensor",
        deletion_without_a_batch: "the model wants a batch",
    },
    "randomise_from_top": {
        randomise_a_shallow_copy: "you change the model that you are given",
        randomise_into_fresh: "you change fresh",
        randomise_and_train: "the mode of a model",
        randomise_and_freeze: "you freeze a model",
        randomise_with_shared_parts: "shares its parts with fresh",
        randomise_sharing_what_is_below: "shares parts with model",
        randomise_a_state_dict: "you return a state dict",
    },
}

EQUIVALENT = {
    "pointing_game": """
        Both are 0.
            pointing_by_loops: hits, pixels = (0, 0) ⇒ pixels, hits = (0, 0)
        A tensor of one whole number is as good a place in a slice as the number.
            pointing_by_loops: for row, column in (one == one.max()).nonzero().tolist(): ⇒ for row, column in (one == one.max()).nonzero():
        A tensor of one number is counted as the number is.
            pointing_by_loops: hits, pixels = (hits + patch.sum().item(), pixels + patch.numel()) ⇒ hits, pixels = (hits + patch.sum(), pixels + patch.numel())
        """,
    "deletion_curve": """
        A tensor of one whole number is as good a place in a slice as the number.
            deletion_curve: for patch in saliency.flatten().argsort(descending=True).tolist(): ⇒ for patch in saliency.flatten().argsort(descending=True):
        There are always two axes.
            deletion_curve: return model(torch.stack(steps)).softmax(dim=-1)[:, label] ⇒ return model(torch.stack(steps)).softmax(dim=1)[:, label]
        The model is in evaluation mode when it is handed over.
            deletion_one_by_one: model.eval() ⇒ pass
            deletion_one_by_one: model.eval() ⇒ model
            deletion_one_by_one: model.train(mode) ⇒ pass
            deletion_one_by_one: model.train(mode) ⇒ model
            deletion_one_by_one: model.train(mode) ⇒ mode
        Any number above the largest.
            deletion_by_thresholds: limits = torch.cat([levels[:1] + 1, levels]) ⇒ limits = torch.cat([levels[:1] + 2, levels])
        There are two points or more, and one patch alone is one number either way.
            deletion_by_ranks: rank = saliency.flatten().argsort(descending=True).argsort() ⇒ rank = saliency.flatten().argsort(descending=True).argsort().squeeze()
            deletion_by_thresholds: limits = torch.cat([levels[:1] + 1, levels]) ⇒ limits = torch.cat([levels[:1] + 1, levels]).squeeze()
            deletion_one_by_one: return torch.stack(points) ⇒ return torch.stack(points).squeeze()
        """,
    "randomise_from_top": """
        The names have no order.
            randomise_a_copy_of_fresh: top = ('head.', 'norm.', *(f'blocks.{i}.' for i in range(below, len(model.blocks)))) ⇒ top = ('norm.', 'head.', *(f'blocks.{i}.' for i in range(below, len(model.blocks))))
            randomise_a_copy_of_fresh: top = ('head.', 'norm.', *(f'blocks.{i}.' for i in range(below, len(model.blocks)))) ⇒ top = ('head.', *(f'blocks.{i}.' for i in range(below, len(model.blocks))), 'norm.')
        """,
}
