"""Look inside a model: its attention maps and what is made of them, its positions, its filters. Chapters 11 to 13.

Legend: B images, L layers, H heads, N tokens = prefix (class token, registers) + gh·gw patches, D embedding dimension,
(gh, gw) patch grid, P patch size. Map [i, j] is how much token i looks at token j; row i sums to 1.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from course_lib.interpret.taps import attention_layers, recording
from course_lib.validate import as_pair

Grid = int | Sequence[int]  # (gh, gw), or one number if the grid is square
Maps = Tensor | Sequence[Tensor]  # (B, L, H, N, N), or L of (B, H, N, N)

FUSIONS = {"mean": torch.mean, "max": torch.amax, "min": torch.amin}


# Getting the maps


@contextmanager
def record_attention(model: nn.Module) -> Iterator[list[Tensor]]:
    """Collect the attention weights of every forward pass inside the `with` block.

    While recording, attention runs through the explicit softmax (same numbers to rounding, a little
    slower), because the fused kernel never forms the weights. Afterwards the model is as it was.

        with record_attention(model) as maps:
            model(x)
        maps[0]        # first attention layer, (B, H, N, N), row = query, column = key

    In training mode the weights are those before dropout. They are the very tensors that the layers go on with, in the
    model's dtype, so that a gradient with respect to them can be asked for. Of the recordings that are open, the one
    opened last gets the maps of its layers, and only what its own thread runs. What torch.compile made runs uncompiled
    inside the block.

    Attention pooling, with which SigLIP ends, is not recorded, since its query is no token: the map of ours, (B, H, 1, N),
    is `model.attn_pool.weights(tokens)`, with the tokens of `model.forward_features`.

    Args:
        model: any module that contains `course_lib.attention.MultiHeadSelfAttention`, timm's attention (VisionTransformer,
            DeiT, BEiT, EVA and others), that of Hugging Face's vision models (ViT, DeiT, DINOv2 and 3, CLIP, SigLIP
            and others), or `nn.MultiheadAttention` as torchvision's VisionTransformer uses it.

    Yields:
        a list, filled in the order in which the layers run.

    Raises:
        ValueError: `model` contains no such layer, nothing ran inside the `with` block, or one of the layers stayed silent.

    Source: chapter 12.
    """
    maps: list[Tensor] = []
    with recording(model, maps.append):
        yield maps


@torch.no_grad()
def attention_maps(model: nn.Module, images: Tensor) -> Tensor:
    """The attention maps of all layers, in evaluation mode and without gradients; the model's mode is as before afterwards.

    They take room: 16 images through ViT-B/16 give 358 MB. Each layer's map is put in its place as soon as it is
    there, so that no second copy of them all is needed.

    Args:
        model: as for `record_attention`.
        images: (B, C, height, width), as the model wants them.

    Returns:
        (B, L, H, N, N), float32 (float64 from a float64 model).

    Raises:
        ValueError: as `record_attention`, or the layers do not all give one map of the same size, or the images are of
            another dtype than the model.

    Source: Dosovitskiy et al. 2021, equation 6. Chapter 12.
    """
    depth, done = len(attention_layers(model)), 0
    maps: Any = None

    def put(weights):
        nonlocal maps, done
        if maps is None:
            batch, *rest = weights.shape
            maps = weights.new_empty((batch, depth, *rest), dtype=_at_least_float32(weights))
        if done == depth or maps[:, 0].shape != weights.shape:
            raise ValueError(
                f"map {done + 1} is {tuple(weights.shape)}, the first of {depth} layers {tuple(maps[:, 0].shape)}: "
                "one map of one size from each is needed; record_attention collects any."
            )
        maps[:, done] = weights
        done += 1

    with evaluating(model, images), recording(model, put):
        model(images)
    return maps


@contextmanager
def evaluating(model: nn.Module, images: Tensor) -> Iterator[None]:
    """While this lasts, the model is in evaluation mode, and says in words if it cannot take images of their dtype.

    Afterwards every part is in the mode in which it was.
    """
    modes = [(part, part.training) for part in model.modules()]
    model.eval()
    try:
        yield
    except RuntimeError as error:
        wanted = next((parameter.dtype for parameter in model.parameters()), images.dtype)
        if images.dtype == wanted or isinstance(error, torch.OutOfMemoryError):
            raise
        raise ValueError(f"images are {images.dtype}, the model is {wanted}: give it images.to({wanted}).") from error
    finally:
        for part, mode in modes:
            part.training = mode


def _at_least_float32(tensor: Tensor) -> torch.dtype:
    return torch.promote_types(tensor.dtype, torch.float32)


# Where a token looks


def cls_attention(maps: Tensor, grid_size: Grid, num_prefix_tokens: int | None = None) -> Tensor:
    """Where the class token looks, as pictures: its row of each map, laid out on the patch grid.

    What it keeps for itself is left out, so that a picture need not sum to 1. Any dimensions may stand in front, so the
    result of `attention_rollout` can be given as well.

    Args:
        maps: (B, L, H, N, N), or (..., N, N).
        grid_size: (gh, gw), or one number if the grid is square.
        num_prefix_tokens: how many tokens stand before the patches, the class token first; None: what is left
            over beside the patches, at most 1.

    Returns:
        (B, L, H, gh, gw), or (..., gh, gw).

    Raises:
        ValueError: there is no class token, or N does not fit the grid.

    Source: Caron et al. 2021 (DINO), figure 1. Chapter 12.
    """
    grid, prefix = _layout(maps, grid_size, num_prefix_tokens)
    if prefix == 0:
        raise ValueError(
            f"maps {tuple(maps.shape)} have no class token, only {grid[0]} x {grid[1]} patches: look from a patch, "
            f"patch_attention(maps, {grid})[..., row, column, :, :], or from all, its mean over dim=(-4, -3)."
        )
    return maps[..., 0, prefix:].unflatten(-1, grid)  # (..., gh·gw) -> (..., gh, gw)


def patch_attention(maps: Tensor, grid_size: Grid, num_prefix_tokens: int | None = None) -> Tensor:
    """Where each patch looks, as pictures: [..., r, c, :, :] is that of the patch in row r, column c.

        patch_attention(maps, (14, 14))[0, 5, 2, 3, 4]                          # image 0, layer 5, head 2, patch (3, 4)
        patch_attention(maps, (14, 14)).mean(dim=(-4, -3))                      # what all patches look at, on average

    What goes to the class token is left out, so that a picture need not sum to 1. Nothing is copied.

    Args:
        maps, grid_size, num_prefix_tokens: as for `cls_attention`.

    Returns:
        (B, L, H, gh, gw, gh, gw), or (..., gh, gw, gh, gw).

    Raises:
        ValueError: N does not fit the grid.

    Source: chapter 12.
    """
    grid, prefix = _layout(maps, grid_size, num_prefix_tokens)
    return maps[..., prefix:, prefix:].unflatten(-1, grid).unflatten(-3, grid)  # (..., n, n) -> (..., gh, gw, gh, gw)


def _layout(maps: Tensor, grid_size: Grid, given: int | None) -> tuple[tuple[int, int], int]:
    """((gh, gw), how many tokens stand before the patches) of maps (..., N, N)."""
    if not isinstance(maps, Tensor):
        raise ValueError(
            f"maps are a {type(maps).__name__}, not one tensor: torch.stack(maps, dim=1) makes one of a list, "
            "torch.from_numpy(maps) of an array."
        )
    if maps.ndim < 2 or maps.shape[-1] != maps.shape[-2]:
        raise ValueError(f"maps {tuple(maps.shape)} must be (..., N, N): each token as a query, each as a key.")
    return _layout_of(f"maps {tuple(maps.shape)}", maps.shape[-1], grid_size, given)


def _layout_of(what: str, tokens: int, grid_size: Grid, given: int | None) -> tuple[tuple[int, int], int]:
    gh, gw = grid = as_pair("grid_size", grid_size)
    prefix = tokens - gh * gw
    if prefix != given if given is not None else prefix not in (0, 1):
        expected = "0 or 1" if given is None else given
        raise ValueError(
            f"{what} with {tokens} tokens do not fit the grid {gh} x {gw} = {gh * gw}: {prefix} are left over, expected "
            f"{expected}. Give the grid as (rows, columns), and num_prefix_tokens if the model has registers."
        )
    return grid, prefix


# All layers together


def attention_rollout(maps: Maps, *, head_fusion: str = "mean", discard_ratio: float = 0.0) -> Tensor:
    """How much of each token's answer came from each input token, if attention did nothing but mix.

    In each layer the heads are fused, the identity is added for the residual connection, and the rows are made to sum to 1;
    then the layers are multiplied, the last one leftmost. It knows of no class: see `gradient_rollout`.

    With a `discard_ratio`, the smallest numbers of each layer's fused map become 0 first, that share of the N·N
    (rounded down), for each image by itself. Equal numbers stay or go together: if they do not all fit in, they
    stay. As in vit-explain, the implementation that most others copy, token 0's own number, [0, 0], always
    stays. That code differs in three ways: it drops what is small in any image from the first image alone, it divides each
    column and not each row by the sums of the rows, and among equal numbers it drops some.

    Args:
        maps: (B, L, H, N, N), or a list of L maps (B, H, N, N) as `record_attention` gives it.
        head_fusion: "mean", "max" or "min" over the heads.
        discard_ratio: at least 0 and below 1.

    Returns:
        (B, N, N), at least float32; row i: where token i's answer came from. Rows sum to 1.

    Raises:
        ValueError: `maps` are no square maps of one size, or there is no such fusion or ratio.

    Source: Abnar & Zuidema 2020, section 3, equation 1; Dosovitskiy et al. 2021, appendix D.8. Chapter 12.
    """
    if head_fusion not in FUSIONS:
        raise ValueError(f"head_fusion {head_fusion!r} must be one of {', '.join(FUSIONS)}.")
    if not 0 <= discard_ratio < 1:
        raise ValueError(f"discard_ratio {discard_ratio!r} must be at least 0 and below 1.")
    result: Any = None
    for layer in _layers(maps):
        fused = FUSIONS[head_fusion](layer.to(_at_least_float32(layer)), dim=1)  # (B, H, N, N) -> (B, N, N)
        mixed = _without_smallest(fused, discard_ratio) + torch.eye(fused.shape[-1]).to(fused)
        mixed = mixed / mixed.sum(dim=-1, keepdim=True)
        result = mixed if result is None else mixed @ result
    return result


def _without_smallest(fused: Tensor, share: float) -> Tensor:
    """(B, N, N) with the smallest numbers of each image 0; [0, 0] stays."""
    count = int(share * fused.shape[-1] ** 2)
    if count == 0:
        return fused
    smallest_kept = fused.flatten(1).kthvalue(count + 1, dim=1).values  # (B,)
    small = fused < smallest_kept[:, None, None]
    small[:, 0, 0] = False
    return fused.masked_fill(small, 0.0)


def _layers(maps: Maps) -> Sequence[Tensor]:
    """The L maps (B, H, N, N), one after the other."""
    if isinstance(maps, Tensor):
        if maps.ndim != 5:
            raise ValueError(f"maps {tuple(maps.shape)} must be (B, L, H, N, N): attention_maps gives them so.")
        maps = maps.unbind(1)
    if not isinstance(maps, list | tuple) or not all(isinstance(layer, Tensor) for layer in maps):
        raise ValueError(
            f"maps are a {type(maps).__name__}, and not a tensor (B, L, H, N, N), nor a list of tensors (B, H, N, N): "
            "torch.from_numpy makes a tensor of an array."
        )
    if not maps:
        raise ValueError("maps of 0 layers: at least 1 is needed.")
    first = tuple(maps[0].shape)
    batch, tokens = (first[0], first[-1]) if len(first) == 4 else ("B", "N")
    for shape in (tuple(layer.shape) for layer in maps):
        if len(shape) != 4 or (shape[0], *shape[2:]) != (batch, tokens, tokens):
            raise ValueError(
                f"a map {shape} beside the first, {first}, must be (B, H, N, N) = ({batch}, H, {tokens}, {tokens})."
            )
    return maps


def gradient_rollout(model: nn.Module, images: Tensor, classes: Any = None) -> Tensor:
    """As `attention_rollout`, but what counts of each head is what raises the score of one class.

    Each map is multiplied by its gradient, the rise of the class's logit if that weight rose; what is negative
    is left out, and the heads are averaged: Ā = mean over heads of max(∇A ⊙ A, 0). Each layer then adds what
    flows through it, R <- R + Ā R, beginning with the identity. Nothing is normalised: rows do not sum to 1.

    The model is in evaluation mode meanwhile, no parameter's gradient is touched, and each image has its own result,
    whatever else is in the batch. The maps and all activations are in memory at once: take a few images at a time.

    Args:
        model: a classifier, (B, C, height, width) -> (B, K), as for `record_attention`.
        images: (B, C, height, width).
        classes: one class for all images, or (B,) of them; None: for each image the one with the largest logit.

    Returns:
        (B, N, N), at least float32, without gradient. Its picture is that of the class token, `cls_attention`, or where
        there is none the mean of all patches, `patch_attention(...).mean(dim=(-4, -3))`.

    Raises:
        ValueError: as `attention_maps`, or the classes are not those of the model, or it has none; or its layers run
            without gradients, as reentrant activation checkpointing has it.

    Source: Chefer, Gur & Wolf 2021, "Generic Attention-Model Explainability", equations 1, 5 and 6. Chapter 13.
    """
    if isinstance(getattr(model, "head", None), nn.Identity):
        raise ValueError(
            f"the {type(model).__name__} gives features, not the logits of classes, and it is the logit of a class that "
            "is looked into: give the model a head."
        )
    with (
        torch.inference_mode(False),
        torch.enable_grad(),
        evaluating(model, images),
        record_attention(model) as recorded,
    ):
        # The images ask for gradients, so that the maps of a frozen model have some.
        images = images.detach().clone()
        logits = model(images.requires_grad_(images.is_floating_point()))
        which = _class_of_each(logits, classes)
        # One number for all: no image's logit depends on another's maps.
        score = logits.gather(1, which[:, None]).sum()
        maps = list(recorded)  # going backwards, activation checkpointing runs layers again, which are recorded again
        if not all(weights.requires_grad for weights in maps):
            raise ValueError(
                f"the attention maps of the {type(model).__name__} have no gradients: use_reentrant=False in activation "
                "checkpointing, or leave it away."
            )
        gradients = torch.autograd.grad(score, maps)
    with torch.no_grad():
        relevance = torch.eye(maps[0].shape[-1], dtype=_at_least_float32(maps[0]), device=maps[0].device)  # (N, N)
        for weights, gradient in zip(maps, gradients, strict=True):
            raises = (gradient.to(relevance) * weights.to(relevance)).clamp(min=0)  # (B, H, N, N)
            relevance = relevance + raises.mean(dim=1) @ relevance  # (B, N, N)
    return relevance


def _class_of_each(logits: Tensor, classes: Any) -> Tensor:
    """(B,) of them."""
    if not isinstance(logits, Tensor) or logits.ndim != 2:
        found = tuple(logits.shape) if isinstance(logits, Tensor) else f"a {type(logits).__name__}"
        raise ValueError(f"the model gives {found}, and logits (B, K) are needed: one number a class.")
    if classes is None:
        return logits.argmax(dim=-1)
    classes = torch.as_tensor(classes, device=logits.device)
    if classes.ndim > 1 or classes.is_floating_point() or classes.numel() not in (1, len(logits)):
        raise ValueError(
            f"classes {tuple(classes.shape)} of {classes.dtype} must be one whole number, or {len(logits)}: one an image."
        )
    if classes.min() < 0 or classes.max() >= logits.shape[1]:
        raise ValueError(
            f"classes {classes.tolist()} must all be between 0 and {logits.shape[1] - 1}, the model's last."
        )
    return classes.long().expand(len(logits))


# How far heads look


def mean_attention_distance(
    maps: Maps, grid_size: Grid, patch_size: float | Sequence[float], num_prefix_tokens: int | None = None
) -> Tensor:
    """How far each head looks, in pixels: from the middle of a patch to those of all patches, weighted by attention.

    Class token and registers have no place: they are left out, as queries and as keys, and what is left of each row is made
    to sum to 1 again. Then comes the mean over queries and images. (A query that looks at no patch at all has no
    distance and is left out of the mean.)

    Args:
        maps: (B, L, H, N, N), or a list of L maps (B, H, N, N).
        grid_size: (gh, gw), or one number if the grid is square.
        patch_size: P in pixels, or (height, width) of a patch.
        num_prefix_tokens: as for `cls_attention`.

    Returns:
        (L, H), at least float32. A head that looks everywhere alike has about half the image's side (14 x 14 patches
        of 16 pixels: 116.5).

    Raises:
        ValueError: N does not fit the grid, or the patch size is not positive.

    Source: Dosovitskiy et al. 2021, figure 7 (right) and appendix D.7. Chapter 12.
    """
    layers = _layers(maps)
    grid, prefix = _layout(layers[0], grid_size, num_prefix_tokens)
    patch = (patch_size, patch_size) if isinstance(patch_size, int | float) else tuple(patch_size)
    if len(patch) != 2 or min(patch) <= 0:
        raise ValueError(f"patch_size {patch_size!r} must be a positive number of pixels, or two: (height, width).")
    distances, found = _distances(grid, patch), []
    for layer in layers:
        weights = layer[..., prefix:, prefix:].to(_at_least_float32(layer))  # (B, H, gh·gw, gh·gw)
        total = weights.sum(dim=-1)  # (B, H, gh·gw)
        far = (weights * distances.to(weights)).sum(dim=-1) / total
        looks = total != 0
        found.append(far.where(looks, 0.0).sum(dim=(0, 2)) / looks.sum(dim=(0, 2)))  # (H,)
    return torch.stack(found)


def _distances(grid: tuple[int, int], patch: tuple[float, ...]) -> Tensor:
    """(gh·gw, gh·gw) in pixels, from the middle of each patch to that of each other, float64."""
    rows, columns = (torch.arange(n, dtype=torch.float64) * side for n, side in zip(grid, patch, strict=True))
    middles = torch.cartesian_prod(rows, columns)  # (gh·gw, 2)
    return torch.cdist(middles, middles, compute_mode="donot_use_mm_for_euclid_dist")


# Positions and filters


def pos_embed_similarity(pos_embed: Tensor | None, grid_size: Grid, num_prefix_tokens: int | None = None) -> Tensor:
    """Cosine similarity of each patch's position embedding with all others: [r, c] is the tile of the patch in row r, column c.

    Args:
        pos_embed: (1, N, D) or (N, D).
        grid_size: (gh, gw), or one number if the grid is square.
        num_prefix_tokens: as for `cls_attention`; theirs are left out.

    Returns:
        (gh, gw, gh, gw), at least float32, between -1 and 1, without gradient.

    Raises:
        ValueError: `pos_embed` is None or has another shape, or N does not fit the grid.

    Source: Dosovitskiy et al. 2021, figure 7 (middle) and appendix D.4. Chapter 11.
    """
    shape = None if pos_embed is None else tuple(pos_embed.shape)
    if pos_embed is None or shape is None or len(shape) not in (2, 3) or (len(shape) == 3 and shape[0] != 1):
        raise ValueError(f"pos_embed {shape} must be (1, N, D) or (N, D): the table that a model adds to its tokens.")
    tokens = shape[-2]
    grid, prefix = _layout_of(f"pos_embed {shape}", tokens, grid_size, num_prefix_tokens)
    table = pos_embed.detach().reshape(tokens, -1)[prefix:]  # (gh·gw, D)
    directions = F.normalize(table.to(_at_least_float32(table)), dim=-1)
    return (directions @ directions.T).clamp(-1, 1).unflatten(1, grid).unflatten(0, grid)


def patch_filters(model: nn.Module, n: int = 28) -> Tensor:
    """The first n principal components of the D filters that a model embeds its patches with.

    The mean filter is taken off first. A component has length 1 and could as well be its negative: here its largest number by
    size is positive (the first of them, if several are as large, to a millionth).

    Args:
        model: ours or timm's, with `patch_embed.proj`, or torchvision's, with `conv_proj`.
        n: how many, at most D - 1 and C·P·P.

    Returns:
        (n, C, P, P), at least float32, in order of the variance that they explain (`patch_filter_variance`); computed
        in float64.

    Raises:
        ValueError: no such convolution, or there are not n components.

    Source: Dosovitskiy et al. 2021, figure 7 (left). Chapter 11.
    """
    weight = _patch_weight(model)  # (D, C, P, P)
    components = _svd_of_filters(weight, n).Vh[:n]  # (n, C·P·P)
    size = components.abs()
    as_large = size >= (1 - 1e-6) * size.amax(dim=1, keepdim=True)
    first = as_large.int().argmax(dim=1, keepdim=True)  # (n, 1)
    components = components * components.gather(1, first).sign()
    return components.to(weight.device, _at_least_float32(weight)).unflatten(1, weight.shape[1:])


def patch_filter_variance(model: nn.Module, n: int = 28) -> Tensor:
    """The share of the filters' variance that each of the first n principal components explains: (n,), falling.

    Args, raises, source: as `patch_filters`. Chapter 11.
    """
    weight = _patch_weight(model)
    variance = _svd_of_filters(weight, n).S.square()
    return (variance / variance.sum())[:n].to(weight.device, _at_least_float32(weight))


def _patch_weight(model: nn.Module) -> Tensor:
    """(D, C, P, P), without gradient."""
    for name in ("patch_embed.proj", "conv_proj"):
        try:
            part = model.get_submodule(name)
        except AttributeError:
            continue
        if isinstance(part, nn.Conv2d):
            return part.weight.detach()
    raise ValueError(
        f"{type(model).__name__} has neither patch_embed.proj nor conv_proj as a convolution: no patch filters to look at."
    )


def _svd_of_filters(weight: Tensor, n: int) -> Any:
    filters = weight.flatten(1).cpu().double()  # (D, C·P·P); on the CPU: not every device has float64
    most = min(filters.shape[0] - 1, filters.shape[1])  # without their mean, D filters span D - 1 dimensions
    if not 1 <= n <= most:
        raise ValueError(
            f"n {n} must be between 1 and {most}: {filters.shape[0]} filters of {filters.shape[1]} numbers have no more components."
        )
    return torch.linalg.svd(filters - filters.mean(dim=0), full_matrices=False)
