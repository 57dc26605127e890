"""Where a token stands: position embeddings, learned, computed or relative.

Chapter 05 derives and compares them. Legend: N positions, (gh, gw) patch grid, D embedding dimension, H heads.
"""

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from course_lib.validate import as_pair, check_choice, check_rate, is_count

POS_EMBEDS = ("learn", "sincos1d", "sincos2d", "relative", "none")


def sincos_pos_embed_1d(positions: Tensor | Sequence[float], embed_dim: int, temperature: float = 10_000.0) -> Tensor:
    """Sines and cosines of a position at D/2 frequencies, from 1 down to almost 1/temperature.

    Args:
        positions: (N,) numbers, such as torch.arange(N).
        embed_dim: D, even.
        temperature: the slowest wave is almost this many times longer than the fastest.

    Returns:
        (N, D) in float64 precision rounded to float32: all sines, then all cosines. (Vaswani et al.
        alternate sine and cosine: the same numbers in another order.)

    Raises:
        ValueError: `embed_dim` is not a positive even number.

    Source: Vaswani et al. 2017, section 3.5. Chapter 05.
    """
    if not is_count(embed_dim) or embed_dim % 2:
        raise ValueError(f"embed_dim {embed_dim} must be a positive multiple of 2: a sine and a cosine per frequency.")
    half = embed_dim // 2
    frequencies = temperature ** -(torch.arange(half, dtype=torch.float64) / half)  # (D/2,)
    angles = torch.as_tensor(positions, dtype=torch.float64)[:, None] * frequencies  # (N, D/2)
    return torch.cat([angles.sin(), angles.cos()], dim=1).float()


def sincos_pos_embed_2d(grid_size: int | Sequence[int], embed_dim: int, temperature: float = 10_000.0) -> Tensor:
    """One half of the vector says in which column a patch stands, the other half in which row.

    Args:
        grid_size: (gh, gw), or one number if the grid is square.
        embed_dim: D, a multiple of 4.
        temperature: as in `sincos_pos_embed_1d`.

    Returns:
        (gh·gw, D), float32, patches in reading order: sin(column), cos(column), sin(row), cos(row), D/4 numbers each.

    Raises:
        ValueError: `embed_dim` is not a positive multiple of 4.

    Source: the layout is that of the code of He et al. 2022 (MAE); other libraries put the row first. Chapter 05.
    """
    if not is_count(embed_dim) or embed_dim % 4:
        raise ValueError(
            f"embed_dim {embed_dim} must be a positive multiple of 4: sine and cosine of the row and of the column."
        )
    gh, gw = as_pair("grid_size", grid_size)
    rows, columns = torch.meshgrid(torch.arange(gh), torch.arange(gw), indexing="ij")  # (gh, gw) each
    halves = [sincos_pos_embed_1d(axis.flatten(), embed_dim // 2, temperature) for axis in (columns, rows)]
    return torch.cat(halves, dim=1)


def resample_pos_embed(
    pos_embed: Tensor,
    new_grid_size: int | Sequence[int],
    num_prefix_tokens: int = 1,
    *,
    old_grid_size: int | Sequence[int] | None = None,
    antialias: bool = True,
    offset: float = 0.0,
) -> Tensor:
    """Stretch position embeddings to another patch grid, as for images of another size.

    The patches' embeddings are treated as a small image of D channels and resized with the bicubic filter. The prefix
    tokens have no place in the grid and stay as they are.

    Args:
        pos_embed: (1, prefix + patches, D).
        new_grid_size: (gh, gw), or one number if the grid is square.
        num_prefix_tokens: how many embeddings at the front belong to no patch: 1 for a class token.
        old_grid_size: the grid that they are for, rows times columns = patches; None if it is square.
        antialias: whether a smaller grid sees the mean of what lies between its places. Which of the two a model was
            used with belongs to its weights: timm's do it, DINOv2 does not.
        offset: so many places more than the new grid has are laid over the old one, and those beyond the grid are not
            taken: 0.1 in Meta's code of DINOv2, whose weights were used so; at least 0 and below 1.

    Returns:
        (1, prefix + gh·gw, D); `pos_embed` itself if the grid is already that.

    Raises:
        ValueError: `pos_embed` is not (1, N, D), its patches are not the old grid, the new grid is none, or the offset
            is out of range.

    Source: Dosovitskiy et al. 2021, section 3.2; the filter is the one that timm uses. Chapter 05.
    """
    if pos_embed.ndim != 3 or pos_embed.shape[0] != 1:
        raise ValueError(f"pos_embed {tuple(pos_embed.shape)} must be (1, N, D): use pos_embed[None] if it is (N, D).")
    check_rate("offset", offset)
    new_grid = as_pair("new_grid_size", new_grid_size)
    num_patches = pos_embed.shape[1] - num_prefix_tokens
    side = math.isqrt(max(num_patches, 0))
    old_grid = (side, side) if old_grid_size is None else as_pair("old_grid_size", old_grid_size)
    if num_patches < 1 or old_grid[0] * old_grid[1] != num_patches:
        square = old_grid_size is None
        grid = "square grid" if square else f"grid of {old_grid[0]} x {old_grid[1]}"
        raise ValueError(
            f"pos_embed {tuple(pos_embed.shape)} less {num_prefix_tokens} prefix tokens leaves {num_patches} patches, "
            f"which is no {grid}: check num_prefix_tokens{'' if square else ' and old_grid_size'}."
        )
    if new_grid == old_grid:
        return pos_embed
    prefix, patches = pos_embed.split([num_prefix_tokens, num_patches], dim=1)
    # Channels stay last in memory: in the usual layout torch's filter goes wrong for a target one column wide.
    picture = patches.reshape(1, *old_grid, -1).permute(0, 3, 1, 2)  # (1, patches, D) -> (1, D, rows, columns)
    picture = picture.to(torch.promote_types(patches.dtype, torch.float32))
    scale = [(new + offset) / old for new, old in zip(new_grid, old_grid, strict=True)] if offset else None
    size = None if offset else new_grid  # one of the two: rounded down, the scale gives the new grid
    picture = F.interpolate(picture, size=size, scale_factor=scale, mode="bicubic", antialias=antialias)
    return torch.cat([prefix, rearrange(picture, "1 D gh gw -> 1 (gh gw) D").to(patches.dtype)], dim=1)


class RelativePositionBias(nn.Module):
    """A learned number for each offset between two patches and each head, added to the attention scores.

    Two pairs of patches with the same offset (rows, columns) share a number, wherever they lie. A class
    token has no offset: it gets three numbers of its own, for class to patch, patch to class, and class to class.

    The parameter carries timm's name: `relative_position_bias_table`, ((2gh-1)·(2gw-1) + 3, H).

    Args:
        grid_size: (gh, gw), or one number if the grid is square.
        num_heads: H.
        num_prefix_tokens: 1 with a class token (the table then has the three rows more), 0 without.

    Shapes: () -> (H, N, N), N = prefix + gh·gw; row = query, column = key.

    Raises:
        ValueError: `num_prefix_tokens` is neither 0 nor 1, or the grid is none.

    Source: Liu et al. 2021 (Swin), section 3.2; Bao et al. 2022 (BEiT) for the class token. Chapter 05.
    """

    index: Tensor

    def __init__(self, grid_size: int | Sequence[int], num_heads: int, num_prefix_tokens: int = 1) -> None:
        super().__init__()
        check_choice("num_prefix_tokens", num_prefix_tokens, (0, 1))  # only a class token has rows of its own here
        index, offsets = relative_position_index(grid_size)
        if num_prefix_tokens:
            index = F.pad(index, (1, 0, 1, 0))  # (1 + gh·gw, 1 + gh·gw)
            index[0, :] = offsets  # class to patch
            index[:, 0] = offsets + 1  # patch to class
            index[0, 0] = offsets + 2
            offsets += 3
        self.relative_position_bias_table = nn.Parameter(torch.zeros(offsets, num_heads))
        self.register_buffer("index", index, persistent=False)

    def forward(self) -> Tensor:
        return rearrange(self.relative_position_bias_table[self.index], "Nq Nk H -> H Nq Nk")


def relative_position_index(grid_size: int | Sequence[int]) -> tuple[Tensor, int]:
    """Number the offsets between patches: ((gh·gw, gh·gw) integers, how many there are). Chapter 05."""
    gh, gw = as_pair("grid_size", grid_size)
    row, column = torch.arange(gh).repeat_interleave(gw), torch.arange(gw).repeat(gh)  # (gh·gw,) each
    down = row[:, None] - row + gh - 1  # 0 ... 2gh-2, query row minus key row
    right = column[:, None] - column + gw - 1  # 0 ... 2gw-2
    return down * (2 * gw - 1) + right, (2 * gh - 1) * (2 * gw - 1)


class RotaryPositions(nn.Module):
    """Turn queries and keys by angles that grow with the place of their patch, so that scores depend on the offset.

    The place is that of the patch's centre, from -1 to 1 along each side of the image, whatever the grid. Dimension i
    turns together with dimension i + d/2; the first half of these pairs by the row, the other by the column. Tokens in
    front of the patches stay as they are. Nothing is learned.

    Args:
        grid_size: (gh, gw), or one number if the grid is square.
        head_dim: d, a multiple of 4.
        temperature: as in `sincos_pos_embed_1d`.

    Shapes: (B, H, prefix + gh·gw, d) -> the same.

    Raises:
        ValueError: `head_dim` is not a positive multiple of 4.

    Source: Su et al. 2021 (RoFormer), equation 34; Siméoni et al. 2025 (DINOv3), section 3.2, for images. Chapter 15.
    """

    cos: Tensor
    sin: Tensor

    def __init__(self, grid_size: int | Sequence[int], head_dim: int, temperature: float = 100.0) -> None:
        super().__init__()
        if not is_count(head_dim) or head_dim % 4:
            raise ValueError(
                f"head_dim {head_dim} must be a positive multiple of 4: a pair of numbers for the row and for the column. "
                "Choose another num_heads."
            )
        gh, gw = as_pair("grid_size", grid_size)
        quarter = head_dim // 4
        frequencies = 2 * math.pi * temperature ** -(torch.arange(quarter, dtype=torch.float64) / quarter)  # (d/4,)
        rows, columns = torch.meshgrid(
            *((2 * torch.arange(n, dtype=torch.float64) + 1) / n - 1 for n in (gh, gw)), indexing="ij"
        )
        angles = torch.cat([axis.flatten()[:, None] * frequencies for axis in (rows, columns)], dim=1)  # (gh·gw, d/2)
        for name, table in (("cos", angles.cos()), ("sin", angles.sin())):
            self.register_buffer(name, table.repeat(1, 2).float(), persistent=False)  # (gh·gw, d)

    def forward(self, x: Tensor) -> Tensor:
        num_patches = len(self.cos)
        prefix, patches = x.split([x.shape[-2] - num_patches, num_patches], dim=-2)
        first, second = patches.chunk(2, dim=-1)  # (B, H, gh·gw, d/2) each
        turned = torch.cat([-second, first], dim=-1)  # by a quarter
        return torch.cat([prefix, (patches * self.cos + turned * self.sin).to(x.dtype)], dim=-2)
