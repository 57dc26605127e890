"""From pixels to tokens: cut an image into patches and map each to a vector.

Chapter 04 derives all of it. Legend: B images, C channels, P patch size, (gh, gw) patch grid, N = gh·gw, D embedding dimension.
"""

import math
from collections.abc import Sequence

import torch
from einops import rearrange
from torch import Tensor, nn

from course_lib.validate import as_pair, is_count


def patchify(images: Tensor, patch_size: int) -> Tensor:
    """Cut images into patches and lay each one flat, in reading order of the patches.

    Within a patch the order is that of a convolution's weights: channel, then row, then column.

    Args:
        images: (B, C, gh·P, gw·P).
        patch_size: P, in pixels.

    Returns:
        (B, gh·gw, C·P·P).

    Raises:
        ValueError: `images` is not (B, C, height, width), or P does not divide height and width.

    Source: Dosovitskiy et al. 2021, section 3.1. Chapter 04.
    """
    if images.ndim != 4:
        raise ValueError(
            f"images {tuple(images.shape)} must be (B, C, height, width): use images[None] if it is a single image."
        )
    check_divides(patch_size, images.shape[-2:])
    return rearrange(images, "B C (gh P) (gw Q) -> B (gh gw) (C P Q)", P=patch_size, Q=patch_size)


def unpatchify(patches: Tensor, grid_size: int | Sequence[int], in_chans: int = 3) -> Tensor:
    """Put the patches back where they came from, the inverse of `patchify`.

    Args:
        patches: (B, gh·gw, C·P·P).
        grid_size: (gh, gw), or one number if the grid is square.
        in_chans: C.

    Returns:
        (B, C, gh·P, gw·P).

    Raises:
        ValueError: the number of patches is not gh·gw, or their width is not C·P·P for any whole P.

    Source: Dosovitskiy et al. 2021, section 3.1. Chapter 04.
    """
    gh, gw = as_pair("grid_size", grid_size)
    if patches.ndim != 3 or patches.shape[1] != gh * gw:
        raise ValueError(
            f"patches {tuple(patches.shape)} must be (B, {gh * gw}, C·P·P) for the grid {gh} x {gw}: "
            "leave the class token out, and give the grid as (rows, columns)."
        )
    patch_size = math.isqrt(patches.shape[-1] // in_chans)
    if in_chans * patch_size**2 != patches.shape[-1]:
        raise ValueError(
            f"patches of width {patches.shape[-1]} are not {in_chans} channels of P x P pixels: check `in_chans`."
        )
    return rearrange(
        patches, "B (gh gw) (C P Q) -> B C (gh P) (gw Q)", gh=gh, gw=gw, C=in_chans, P=patch_size, Q=patch_size
    )


def check_divides(patch_size: int, image_size: Sequence[int]) -> None:
    """Raise a `ValueError` unless `patch_size` is a positive integer that divides both sides of `image_size`."""
    height, width = image_size
    if not is_count(patch_size) or height % patch_size or width % patch_size:
        raise ValueError(
            f"an image of {height} x {width} pixels cannot be cut into patches of {patch_size} x {patch_size}: "
            "resize or crop it to whole multiples of the patch size."
        )


class PatchEmbed(nn.Module):
    """Map each patch to a vector with one linear layer, written as a convolution that steps from patch to patch.

    The parameters carry timm's name: `proj`, with weight (D, C, P, P) and bias (D,). Its weight, laid flat to
    (D, C·P·P), is the linear layer that `patchify` would be followed by.

    Args:
        img_size: height and width of the images in pixels, or one number if they are square.
        patch_size: P.
        in_chans: C.
        embed_dim: D.
        bias: whether a number is added to each dimension; not so where a norm follows at once (chapter 15).

    Attributes:
        grid_size: (gh, gw).
        num_patches: N = gh·gw.

    Shapes: (B, C, height, width) -> (B, N, D).

    Raises:
        ValueError: P does not divide the image size, or an image comes in another size, number of channels or dtype.

    Source: Dosovitskiy et al. 2021, equation 1. Chapter 04.
    """

    def __init__(
        self,
        img_size: int | Sequence[int] = 224,
        patch_size: int = 16,
        in_chans: int = 3,
        embed_dim: int = 768,
        bias: bool = True,
    ) -> None:
        super().__init__()
        self.img_size = height, width = as_pair("img_size", img_size)
        check_divides(patch_size, self.img_size)
        self.grid_size = (height // patch_size, width // patch_size)
        self.num_patches = self.grid_size[0] * self.grid_size[1]
        self.proj = nn.Conv2d(in_chans, embed_dim, kernel_size=patch_size, stride=patch_size, bias=bias)

    def forward(self, images: Tensor) -> Tensor:
        expected = (self.proj.in_channels, *self.img_size)
        if images.ndim != 4 or tuple(images.shape[1:]) != expected:
            raise ValueError(
                f"images {tuple(images.shape)} must be (B, {', '.join(map(str, expected))}): resize them, "
                "or build the model with their img_size and in_chans."
            )
        wanted = self.proj.weight.dtype
        if not images.is_floating_point():
            raise ValueError(
                f"images are {images.dtype}, the weights {wanted}: scale them to floating point first, "
                "as the weights want them (model.preprocessing.transform() does it)."
            )
        if images.dtype != wanted and not torch.is_autocast_enabled(images.device.type):
            raise ValueError(f"images are {images.dtype}, the model is {wanted}: give it images.to({wanted}).")
        # Without .contiguous() all tokens keep the convolution's order in memory, and every norm after it copies them.
        return rearrange(self.proj(images), "B D gh gw -> B (gh gw) D").contiguous()
