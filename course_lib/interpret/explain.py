"""Test what a map says: does it point at the object, and does the answer depend on what it points at? Chapter 13.

Legend: B images, C channels, (h, w) pixels, (gh, gw) patch grid, K classes. A map has one number a patch, (B, gh, gw), and
large means important. Which patches are left of an image is said by `kept`, (B, gh, gw), boolean.
"""

import copy
from collections.abc import Callable

import torch
from torch import Tensor, nn

from course_lib.interpret.maps import evaluating
from course_lib.vit import VisionTransformer

# The parts of a `VisionTransformer` behind its blocks.
BEHIND_THE_BLOCKS = ("norm", "attn_pool", "fc_norm", "pre_logits", "head", "head_dist")

Predict = Callable[[Tensor], Tensor]  # `kept`, (B, gh, gw) boolean -> logits (B, K)

# Does it point at the object?


def pointing_game(maps: Tensor, masks: Tensor) -> Tensor:
    """How surely the largest number of each map lies on the object.

    A patch stands for its pixels, and so several pixels share the largest number: the result is the share of them that
    are on the object, the chance that one of them, picked blindly, hits. A map that is the same everywhere gets
    the share of the object in the image.

    Args:
        maps: (B, gh, gw), on the patch grid or on any other, the pixels' own included.
        masks: (B, h, w) boolean, True on the object; h and w are multiples of gh and gw.

    Returns:
        (B,), between 0 and 1.

    Raises:
        ValueError: the shapes do not fit, or a map holds something that is not a number.

    Source: Zhang et al. 2018, "Top-down Neural Attention by Excitation Backprop", there with a margin of 15 pixels.
    Chapter 13.
    """
    on_object = _share_of_each(maps, masks)
    if maps.isnan().any():
        raise ValueError(f"maps {tuple(maps.shape)} hold nan: its place cannot be compared with others.")
    largest = (maps == maps.amax(dim=(1, 2), keepdim=True)).to(on_object)  # (B, gh, gw)
    return (largest * on_object).sum(dim=(1, 2)) / largest.sum(dim=(1, 2))


def inside_share(maps: Tensor, masks: Tensor) -> Tensor:
    """Which share of each map lies on the object: the map as a whole, not its largest number alone.

    Args, raises: as `pointing_game`; and no number may be negative, nor all of a map's 0.

    Returns:
        (B,), between 0 and 1. A map that is the same everywhere gets the share of the object in the image.

    Source: Wang et al. 2020, "Score-CAM", there with boxes. Chapter 13.
    """
    on_object, total = _share_of_each(maps, masks), maps.sum(dim=(1, 2))
    if not (maps >= 0).all() or not (total > 0).all():
        raise ValueError(
            f"maps {tuple(maps.shape)} go down to {maps.min().item():.3g} and sum to {total.min().item():.3g} at least: "
            "no number may be negative, and no map 0 everywhere."
        )
    return (maps.to(on_object) * on_object).sum(dim=(1, 2)) / total.to(on_object)


def _share_of_each(maps: Tensor, masks: Tensor) -> Tensor:
    """The share of each patch that is on the object, (B, gh, gw), in the maps' dtype."""
    if maps.ndim != 3 or masks.ndim != 3 or len(maps) != len(masks) or masks.dtype != torch.bool:
        raise ValueError(
            f"maps {tuple(maps.shape)} must be (B, gh, gw), and masks {tuple(masks.shape)} of {masks.dtype} "
            "(B, h, w) and boolean."
        )
    return patch_means(masks.to(maps), (maps.shape[1], maps.shape[2]))


def patch_means(pixels: Tensor, grid_size: tuple[int, int]) -> Tensor:
    """The mean over the pixels of each patch: (B, h, w) -> (B, gh, gw).

    Raises:
        ValueError: h and w are not multiples of gh and gw.

    Source: chapter 13.
    """
    (h, w), (gh, gw) = pixels.shape[-2:], grid_size
    if h % gh or w % gw:
        raise ValueError(f"{h} x {w} pixels do not fall into {gh} x {gw} patches: multiples are needed.")
    return pixels.unflatten(-1, (gw, w // gw)).unflatten(-3, (gh, h // gh)).mean(dim=(-3, -1))  # (B, gh, P, gw, P) ->


# Maps that ask the model: how would the answer change?


def input_gradient(model: nn.Module, images: Tensor, classes: Tensor) -> Tensor:
    """By how much the logit of a class rises if a pixel does: (B, C, h, w).

    Args:
        model: a classifier, (B, C, h, w) -> (B, K); it is in evaluation mode meanwhile. No parameter's gradient changes.
        images: (B, C, h, w).
        classes: (B,), which logit of each.

    Raises:
        ValueError: the images are of another dtype than the model.

    Source: Simonyan et al. 2014, section 3. Chapter 13.
    """
    with torch.enable_grad(), evaluating(model, images):
        images = images.detach().clone()
        logits = model(images.requires_grad_(images.is_floating_point()))
        # One number for all: no image's logit depends on another image.
        return torch.autograd.grad(_of_class(logits, classes).sum(), images)[0]


def occlusion_map(predict: Predict, grid_size: tuple[int, int], classes: Tensor) -> Tensor:
    """By how much the logit of a class falls if one patch is taken away: (B, gh, gw). As many passes as patches.

    Args:
        predict: (B, gh, gw) boolean -> (B, K), from `replacing` or `leaving_out`.
        grid_size: (gh, gw).
        classes: (B,), which logit of each.

    Source: Zeiler & Fergus 2014, section 4.2. Chapter 13.
    """
    gh, gw = grid_size
    kept = torch.ones(len(classes), gh * gw, dtype=torch.bool, device=classes.device)
    before, falls = _of_class(predict(kept.view(-1, gh, gw)), classes), []
    for patch in range(gh * gw):
        kept[:, patch] = False
        falls.append(before - _of_class(predict(kept.view(-1, gh, gw)), classes))
        kept[:, patch] = True
    return torch.stack(falls, dim=1).unflatten(1, (gh, gw))  # (B, gh·gw) -> (B, gh, gw)


def _of_class(values: Tensor, classes: Tensor) -> Tensor:
    """One number of each row: (B, K), (B,) -> (B,)."""
    return values.gather(1, classes[:, None])[:, 0]


# Two ways to take patches away


def replacing(model: nn.Module, images: Tensor, fill: Tensor) -> Predict:
    """A function from `kept` to logits: where a patch is not kept, the pixels of `fill` stand in for those of the image.

    Args:
        model: a classifier, (B, C, h, w) -> (B, K); it is in evaluation mode while it is asked.
        images: (B, C, h, w), as the model wants them.
        fill: as large, or of a shape that is broadcast to it.

    Returns:
        (B, gh, gw) boolean -> (B, K), without gradients.

    Raises:
        ValueError: from that function, if h and w are not multiples of gh and gw, or the dtypes differ.

    Source: chapter 13.
    """
    h, w = images.shape[-2:]

    @torch.no_grad()
    def predict(kept: Tensor) -> Tensor:
        gh, gw = kept.shape[-2:]
        if h % gh or w % gw:
            raise ValueError(f"{h} x {w} pixels do not fall into {gh} x {gw} patches: multiples are needed.")
        shown = kept.repeat_interleave(h // gh, dim=1).repeat_interleave(w // gw, dim=2)  # (B, h, w)
        with evaluating(model, images):
            return model(torch.where(shown[:, None], images, fill))

    return predict


def leaving_out(model: VisionTransformer, images: Tensor) -> Predict:
    """A function from `kept` to logits: patches that are not kept are no tokens at all, and nothing takes their place.

    Args:
        model: a `VisionTransformer` whose positions are added to the tokens; in evaluation mode while it is asked.
        images: (B, C, h, w), as the model wants them.

    Returns:
        (B, gh, gw) boolean -> (B, K), without gradients.

    Raises:
        ValueError: relative or rotary positions, which need the whole grid; and from that function, if not as many patches of each
            image are kept, or none where there is no class token.

    Source: chapter 13. (Naseer et al. 2021 paint patches black instead.)
    """
    if model.config.pos_embed in ("relative", "rope"):
        raise ValueError(
            f"pos_embed {model.config.pos_embed!r} needs all tokens: of its places none can be left out here."
        )
    prefix = model.num_prefix_tokens

    @torch.no_grad()
    def predict(kept: Tensor) -> Tensor:
        counts = kept.flatten(1).sum(dim=1)
        if (counts != counts[0]).any() or not counts[0] + prefix:
            raise ValueError(
                f"from {counts.min()} to {counts.max()} patches are kept of an image: as many of each, so that the tokens "
                "are one tensor, and without a class token at least 1."
            )
        stays = torch.cat([kept.new_ones(len(kept), prefix), kept.flatten(1)], dim=1)  # (B, N)
        with evaluating(model, images):
            x = model.embed(images)  # (B, N, D): each token knows its place before others go
            x = x[stays].view(len(x), -1, x.shape[-1])  # (B, prefix + kept, D)
            return model.forward_head(model.encode(x))

    return predict


# Does the answer depend on what it points at?


def deletion_curve(predict: Predict, maps: Tensor, classes: Tensor, every: int = 1) -> Tensor:
    """The probability of a class as patches are taken away, those with the largest numbers first.

    Of equal numbers, the patch that comes first in reading order goes first.

    Args:
        predict: (B, gh, gw) boolean -> (B, K), from `replacing` or `leaving_out`.
        maps: (B, gh, gw).
        classes: (B,), whose probability.
        every: how many patches go between two points of the curve, a divisor of gh·gw.

    Returns:
        (B, gh·gw / every + 1): with all patches first, with none last.

    Raises:
        ValueError: `every` does not divide gh·gw.

    Source: Petsiuk et al. 2018, "RISE", there pixel by pixel. Chapter 13.
    """
    return _curve(predict, maps, classes, every, lambda rank, done: rank >= done)


def insertion_curve(predict: Predict, maps: Tensor, classes: Tensor, every: int = 1) -> Tensor:
    """As `deletion_curve`, but from nothing: patches come, those with the largest numbers first.

    What stands in for a missing patch is up to `predict`, as in deletion; Petsiuk et al. begin insertion with a blurred
    image, and end deletion with a flat one.

    Args, returns, raises, source: as `deletion_curve`; with no patch first, with all last. Chapter 13.
    """
    return _curve(predict, maps, classes, every, lambda rank, done: rank < done)


def _curve(predict: Predict, maps: Tensor, classes: Tensor, every: int, keep: Callable) -> Tensor:
    count = maps[0].numel()
    if not isinstance(every, int) or every < 1 or count % every:
        raise ValueError(f"every {every!r} must be a whole number that divides the {count} patches.")
    order = maps.flatten(1).argsort(dim=1, descending=True, stable=True)  # (B, gh·gw)
    rank = order.argsort(dim=1).view_as(maps)  # 0 for the largest
    points = [_of_class(predict(keep(rank, done)).softmax(dim=-1), classes) for done in range(0, count + 1, every)]
    return torch.stack(points, dim=1)


def area_under(curves: Tensor) -> Tensor:
    """The mean height of curves over an axis from 0 to 1, by the trapezium rule: (..., points) -> (...).

    Source: Petsiuk et al. 2018, "RISE". Chapter 13.
    """
    return ((curves[..., 1:] + curves[..., :-1]) / 2).mean(dim=-1)


# Does it notice when the model forgets?


def randomise_from_top(model: VisionTransformer, fresh: VisionTransformer, blocks: int) -> VisionTransformer:
    """A copy of `model` in which head, last norm and the last blocks have the weights of an untrained model.

    A representation layer belongs to the head.

    Args:
        model: a `VisionTransformer`, which stays as it is.
        fresh: another of the same shape, untrained; it stays as it is too.
        blocks: how many blocks, from 0 (head and norm alone) to all.

    Raises:
        ValueError: the model has not as many blocks.

    Source: Adebayo et al. 2018, "cascading randomization". Chapter 13.
    """
    depth = len(model.blocks)
    if not 0 <= blocks <= depth:
        raise ValueError(f"blocks {blocks} must be between 0 and {depth}, the blocks of the model.")
    result = copy.deepcopy(model)
    behind = [name for name, _ in model.named_children() if name in BEHIND_THE_BLOCKS]
    for name in (*behind, *(f"blocks.{i}" for i in range(depth - blocks, depth))):
        result.get_submodule(name).load_state_dict(fresh.get_submodule(name).state_dict())
    return result


def rank_correlation(maps: Tensor, others: Tensor) -> Tensor:
    """How alike two maps order their patches, by Spearman's coefficient: 1 for the same order, about 0 for chance, -1 for the reverse.

    Of equal numbers each gets the mean of their ranks. A map that is the same everywhere has no order, and gets nan.

    Args:
        maps, others: (B, ...), of the same shape.

    Returns:
        (B,), float64, on the CPU.

    Raises:
        ValueError: the shapes differ.

    Source: Adebayo et al. 2018. Chapter 13.
    """
    from scipy.stats import rankdata

    if maps.shape != others.shape:
        raise ValueError(f"maps {tuple(maps.shape)} and {tuple(others.shape)} must have the same shape.")
    both = torch.stack([maps, others]).detach().cpu().double().flatten(2)  # (2, B, n)
    ranks = torch.from_numpy(rankdata(both.numpy(), axis=2))
    a, b = ranks - ranks.mean(dim=2, keepdim=True)
    return (a * b).sum(dim=1) / (a.square().sum(dim=1) * b.square().sum(dim=1)).sqrt()
