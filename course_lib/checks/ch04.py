"""The exercises of chapter 04, from pixels to tokens."""

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import nn

from course_lib.checks.exercise import Exercise, Mistake


def _normal(generator):
    return lambda *shape: torch.randn(shape, generator=generator, dtype=torch.float64)


def _patchify_probes(generator):
    """Grids of all kinds: wide, high, square, a single row; one, three and other numbers of channels."""
    normal = _normal(generator)
    return [
        {"images": normal(2, 3, 4, 6), "patch_size": 2},
        {"images": normal(1, 2, 12, 6), "patch_size": 3},
        {"images": normal(3, 4, 10, 10), "patch_size": 5},
        {"images": normal(2, 1, 4, 12), "patch_size": 4},
        {"images": normal(3, 5, 6, 8).float().requires_grad_(), "patch_size": 2},
    ]


def _patchify(images, patch_size):
    return F.unfold(images, patch_size, stride=patch_size).transpose(1, 2)


def _cut(pattern):
    """Patches by an einops pattern with P rows and Q columns in a patch."""
    return lambda images, patch_size: rearrange(images, pattern, P=patch_size, Q=patch_size)


def _sizes(images, P):
    B, C, height, width = images.shape
    return B, C, height // P, width // P


def _cut_without_permute(images, patch_size):
    B, C, gh, gw = _sizes(images, patch_size)
    return images.reshape(B, gh * gw, C * patch_size**2)


def _cut_with_grid_swapped(images, patch_size):
    B, C, gh, gw = _sizes(images, P := patch_size)
    return images.reshape(B, C, gw, P, gh, P).permute(0, 2, 4, 1, 3, 5).reshape(B, gh * gw, -1)


def _cut_with_one_grid_size(images, patch_size, along=2):
    B, C, P = *images.shape[:2], patch_size
    g = images.shape[along] // P
    return images.reshape(B, C, g, P, g, P).permute(0, 2, 4, 1, 3, 5).reshape(B, g * g, C * P * P)


def _cut_and_view(images, patch_size):
    B, C, gh, gw = _sizes(images, P := patch_size)
    return images.reshape(B, C, gh, P, gw, P).permute(0, 2, 4, 1, 3, 5).view(B, gh * gw, C * P * P)


def _cut_for_three_channels(images, patch_size, split=False, count=True):
    """The right way for 3 channels: fixed where the axes are split, or where they are joined."""
    B, C, gh, gw = _sizes(images, P := patch_size)
    axes = images.reshape(B, 3 if split else C, gh, P, gw, P).permute(0, 2, 4, 1, 3, 5)
    return axes.reshape(B, gh * gw if count else -1, 3 * P * P)


def _cut_with_rows_between_the_grid(images, patch_size):
    B, C, gh, gw = _sizes(images, P := patch_size)
    return images.reshape(B, C, gh, P, gw, P).permute(0, 2, 3, 1, 4, 5).reshape(B, gh * gw, C * P * P)


def _cut_channels_left_in_front(images, patch_size):
    B, C, gh, gw = _sizes(images, patch_size)
    windows = rearrange(images, "B C (gh P) (gw Q) -> B C gh gw P Q", P=patch_size, Q=patch_size)
    return windows.reshape(B, gh * gw, C * patch_size**2)


def _cut_with_unpatchifys_permute(images, patch_size):
    B, C, gh, gw = _sizes(images, P := patch_size)
    return images.reshape(B, C, gh, P, gw, P).permute(0, 3, 1, 4, 2, 5).reshape(B, gh * gw, C * P * P)


def _cut_with_the_chapters_size(images, patch_size):
    B, C, gh, gw = _sizes(images, P := 32)
    return images.reshape(B, C, gh, P, gw, P).permute(0, 2, 4, 1, 3, 5).reshape(B, gh * gw, C * P * P)


def _cut_channels_last(images, patch_size):
    B, height, width, C = images.shape
    P = patch_size
    split = images.reshape(B, height // P, P, width // P, P, C)
    return split.permute(0, 1, 3, 5, 2, 4).reshape(B, (height // P) * (width // P), -1)


PATCHIFY = Exercise(
    name="patchify",
    chapter="04",
    signature="patchify(images, patch_size)",
    task="cut each image into patches in reading order and lay each flat, channel, row, column: (B, C, gh·P, gw·P) -> (B, gh·gw, C·P·P).",
    probes=_patchify_probes,
    oracle=_patchify,
    forbidden=("torch.nn.functional.unfold", "torch.nn.functional.pixel_unshuffle", "torch.pixel_unshuffle"),
    mistakes=(
        Mistake(
            "nothing has moved: a reshape alone gives slices of rows, so permute between splitting the axes and joining them.",
            _cut_without_permute,
        ),
        Mistake(
            "the numbers inside a patch lie as (p q c), channels last: put the channel axis before the rows and columns of the patch.",
            _cut("B C (gh P) (gw Q) -> B (gh gw) (P Q C)"),
        ),
        Mistake(
            "the patches come column by column: in reading order gh stands before gw.",
            _cut("B C (gh P) (gw Q) -> B (gw gh) (C P Q)"),
        ),
        Mistake(
            "each patch is transposed, columns before rows: inside a patch the order is channel, row, column.",
            _cut("B C (gh P) (gw Q) -> B (gh gw) (C Q P)"),
        ),
        Mistake(
            "both the patches and what is inside them come column by column: keep rows before columns in both pairs of axes.",
            _cut("B C (gh P) (gw Q) -> B (gw gh) (C Q P)"),
        ),
        Mistake(
            "you split the height into gw pieces and the width into gh: gh = height // P belongs to axis 2, gw = width // P to axis 3.",
            _cut_with_grid_swapped,
        ),
        Mistake(
            "you split each side into (P, g), which takes every g-th pixel: split into (g, P), which piece first and where in the piece second.",
            _cut("B C (P gh) (Q gw) -> B (gh gw) (C P Q)"),
        ),
        Mistake(
            "the channels stay in front of the patches, so a patch is filled from one channel: move the channel axis behind gh and gw before you join.",
            _cut_channels_left_in_front,
        ),
        Mistake(
            "you make separate patches of each channel: all C channels of a square belong to one patch.",
            _cut("B C (gh P) (gw Q) -> B (C gh gw) (P Q)"),
        ),
        Mistake(
            "the last two axes are swapped: each patch is a row, (B, N, C·P·P).",
            _cut("B C (gh P) (gw Q) -> B (C P Q) (gh gw)"),
        ),
        Mistake(
            "the grid is still there: join its two axes into one, N = gh·gw.",
            _cut("B C (gh P) (gw Q) -> B gh gw (C P Q)"),
        ),
        Mistake(
            "the patches are not laid flat: join their last three axes into C·P·P.",
            _cut("B C (gh P) (gw Q) -> B (gh gw) C P Q"),
        ),
        Mistake(
            "the rows of a patch come before the columns of the grid, so a patch is filled from a whole row of squares: the order before the last reshape is (B, gh, gw, C, P, P).",
            _cut_with_rows_between_the_grid,
        ),
        Mistake(
            "you permute as `unpatchify` will, but this way it is from (B, C, gh, P, gw, P) to (B, gh, gw, C, P, P).",
            _cut_with_unpatchifys_permute,
        ),
        Mistake(
            "you use the chapter's P = 32: inside the function, P is `patch_size`.",
            _cut_with_the_chapters_size,
        ),
        Mistake(
            "you count on 3 channels where you split the axes: C is images.shape[1].",
            lambda images, patch_size: _cut_for_three_channels(images, patch_size, split=True),
        ),
        Mistake(
            "you count on 3 channels where you join the axes: a patch has C·P·P numbers.",
            _cut_for_three_channels,
        ),
        Mistake(
            "you count on 3 channels and leave N to the reshape: a patch has C·P·P numbers, with C from images.shape[1].",
            lambda images, patch_size: _cut_for_three_channels(images, patch_size, count=False),
        ),
        Mistake(
            "you compute both grid sizes from the height: the number of columns is width // P.",
            _cut_with_one_grid_size,
        ),
        Mistake(
            "you compute both grid sizes from the width: the number of rows is height // P.",
            lambda images, patch_size: _cut_with_one_grid_size(images, patch_size, along=3),
        ),
        Mistake(
            "view cannot join axes that permute has put out of order: use reshape, which copies where it must.",
            _cut_and_view,
        ),
        Mistake(
            "you read the shape as (B, height, width, C): in PyTorch the channels come second, (B, C, height, width).",
            _cut_channels_last,
        ),
    ),
)


def _unpatchify_probes(generator):
    normal = _normal(generator)
    return [
        {"patches": normal(2, 6, 12), "grid_size": (2, 3), "in_chans": 3},
        {"patches": normal(1, 8, 18), "grid_size": (4, 2), "in_chans": 2},
        {"patches": normal(3, 4, 100), "grid_size": (2, 2), "in_chans": 4},
        {"patches": normal(2, 3, 16), "grid_size": (1, 3), "in_chans": 1},
        {"patches": normal(3, 15, 20).float().requires_grad_(), "grid_size": (3, 5), "in_chans": 5},
    ]


def _side(patches, in_chans):
    return round((patches.shape[-1] / in_chans) ** 0.5)


def _unpatchify(patches, grid_size, in_chans=3):
    P = _side(patches, in_chans)
    return F.fold(patches.transpose(1, 2), tuple(g * P for g in grid_size), P, stride=P)


def _join(pattern):
    """Images by an einops pattern with a grid of gh x gw, C channels, P rows and Q columns."""

    def join(patches, grid_size, in_chans=3):
        gh, gw = grid_size
        P = _side(patches, in_chans)
        return rearrange(patches, pattern, gh=gh, gw=gw, C=in_chans, P=P, Q=P)

    return join


def _joined_as(order, view=False):
    """Permute (B, gh, gw, C, P, P) by `order`, then reshape to an image whatever that gives."""

    def join(patches, grid_size, in_chans=3):
        (gh, gw), P = grid_size, _side(patches, in_chans)
        axes = patches.reshape(-1, gh, gw, in_chans, P, P).permute(order)
        shape = len(patches), in_chans, gh * P, gw * P
        return axes.view(shape) if view else axes.reshape(shape)

    return join


def _joined_with(side, in_chans_is=None):
    """The right way with another patch size, or another number of channels."""

    def join(patches, grid_size, in_chans=3):
        C = in_chans_is or in_chans
        (gh, gw), P, B = grid_size, side(patches, C), len(patches)
        axes = patches.reshape(B, gh, gw, C, P, P).permute(0, 3, 1, 4, 2, 5)
        return axes.reshape(B, C, gh * P, gw * P)

    return join


def _join_with_grid_swapped(patches, grid_size, in_chans=3):
    return _joined_with(_side)(patches, grid_size[::-1], in_chans)


UNPATCHIFY = Exercise(
    name="unpatchify",
    chapter="04",
    signature="unpatchify(patches, grid_size, in_chans=3)",
    task="put the patches, each laid flat as channel, row, column, back into their images: (B, gh·gw, C·P·P) -> (B, C, gh·P, gw·P).",
    probes=_unpatchify_probes,
    oracle=_unpatchify,
    forbidden=("torch.nn.functional.fold", "torch.nn.functional.pixel_shuffle", "torch.pixel_shuffle"),
    mistakes=(
        Mistake(
            "nothing has moved: a reshape alone fills the rows of the image with whole patches, so permute in between.",
            _joined_as((0, 1, 2, 3, 4, 5)),
        ),
        Mistake(
            "you swap rows and columns of the grid: grid_size is (gh, gw), rows first.",
            _join_with_grid_swapped,
        ),
        Mistake(
            "you read a patch as (p q c), channels last: patchify laid it flat as (c p q).",
            _join("B (gh gw) (P Q C) -> B C (gh P) (gw Q)"),
        ),
        Mistake(
            "you take the patches column by column: they come in reading order, so split N into (gh, gw).",
            _join("B (gw gh) (C P Q) -> B C (gh P) (gw Q)"),
        ),
        Mistake(
            "each patch is transposed: its rows go with gh and its columns with gw.",
            _join("B (gh gw) (C Q P) -> B C (gh P) (gw Q)"),
        ),
        Mistake(
            "the channels are in front, but the rows of the grid are not joined with the rows of the patch: the order before the last reshape is (B, C, gh, P, gw, P).",
            _joined_as((0, 3, 1, 2, 4, 5)),
        ),
        Mistake(
            "you permute as `patchify` does, but the way back is another one: from (B, gh, gw, C, P, P) to (B, C, gh, P, gw, P).",
            _joined_as((0, 2, 4, 1, 3, 5)),
        ),
        Mistake(
            "gh and gw have changed places in your permute: gh goes with the rows of a patch, gw with its columns, (B, C, gh, P, gw, P).",
            _joined_as((0, 3, 2, 4, 1, 5)),
        ),
        Mistake(
            "the channels have not moved to the front: the order before the last reshape is (B, C, gh, P, gw, P).",
            _joined_as((0, 1, 4, 2, 5, 3)),
        ),
        Mistake(
            "the rows and columns are right, but C stays behind gh and P: move it in front, (B, C, gh, P, gw, P).",
            _joined_as((0, 1, 4, 3, 2, 5)),
        ),
        Mistake(
            "the channels come last: in PyTorch an image is (B, C, height, width).",
            _join("B (gh gw) (C P Q) -> B (gh P) (gw Q) C"),
        ),
        Mistake(
            "P stands before its grid axis, which scatters every patch over the whole image: gh before P, and gw before P.",
            _join("B (gh gw) (C P Q) -> B C (P gh) (Q gw)"),
        ),
        Mistake(
            "you take the root of C·P·P: divide by in_chans first, then take the root.",
            _joined_with(lambda patches, C: int(patches.shape[-1] ** 0.5)),
        ),
        Mistake(
            "you divide by in_chans but take no root: P is √(C·P·P / C).",
            _joined_with(lambda patches, C: patches.shape[-1] // C),
        ),
        Mistake(
            "you use the chapter's P = 32: the patch size follows from the width of a patch, √(C·P·P / C).",
            _joined_with(lambda patches, C: 32),
        ),
        Mistake(
            "P is a float, and a shape wants whole numbers: round it.",
            _joined_with(lambda patches, C: (patches.shape[-1] / C) ** 0.5),
        ),
        Mistake(
            "you count on 3 channels: use `in_chans`.",
            _joined_with(_side, in_chans_is=3),
        ),
        Mistake(
            "view cannot join axes that permute has put out of order: use reshape, which copies where it must.",
            _joined_as((0, 3, 1, 4, 2, 5), view=True),
        ),
    ),
)


def _linear_to_conv_probes(generator):
    normal = _normal(generator)
    return [
        {"weight": normal(5, 12), "in_chans": 3, "patch_size": 2},
        {"weight": normal(7, 18), "in_chans": 2, "patch_size": 3},
        {"weight": normal(4, 80), "in_chans": 5, "patch_size": 4},
        {"weight": normal(12, 12), "in_chans": 3, "patch_size": 2},  # D = C·P·P: a wrong transpose fits
        {"weight": normal(6, 9).float().requires_grad_(), "in_chans": 1, "patch_size": 3},
    ]


def _linear_to_conv(weight, in_chans, patch_size):
    return rearrange(weight, "D (C P Q) -> D C P Q", C=in_chans, P=patch_size, Q=patch_size)


def _filters_for(D):
    return lambda weight, in_chans, patch_size: weight.reshape(D, in_chans, patch_size, patch_size)


def _filters(pattern):
    return lambda weight, in_chans, patch_size: rearrange(weight, pattern, C=in_chans, P=patch_size, Q=patch_size)


LINEAR_TO_CONV = Exercise(
    name="linear_to_conv",
    chapter="04",
    signature="linear_to_conv(weight, in_chans, patch_size)",
    task="give the filters of the convolution that equals this linear layer on patches: (D, C·P·P) in the order (c p q) -> (D, C, P, P).",
    probes=_linear_to_conv_probes,
    oracle=_linear_to_conv,
    mistakes=(
        Mistake(
            "you read a row as (p q c) and permute: it is (c p q) already, nothing needs to move.",
            _filters("D (P Q C) -> D C P Q"),
        ),
        Mistake(
            "the channels come last: F.conv2d wants (D, C, P, P).",
            lambda weight, in_chans, patch_size: weight.reshape(len(weight), patch_size, patch_size, in_chans),
        ),
        Mistake(
            "the channels come last, moved there: F.conv2d wants them second, (D, C, P, P), and there they are already.",
            _filters("D (C P Q) -> D P Q C"),
        ),
        Mistake(
            "you transpose `weight` first: it is (D, C·P·P), so each row is a filter already.",
            lambda weight, in_chans, patch_size: weight.T.reshape(-1, in_chans, patch_size, patch_size),
        ),
        Mistake(
            "you read `weight` as (C·P·P, D): nn.Linear keeps the outputs first, (D, C·P·P).",
            lambda weight, in_chans, patch_size: weight.reshape(in_chans, patch_size, patch_size, -1).permute(
                3, 0, 1, 2
            ),
        ),
        Mistake(
            "each filter is transposed: rows before columns, as in the patch.",
            _filters("D (C Q P) -> D C P Q"),
        ),
        Mistake(
            "you flip the filters, as a convolution in mathematics does: PyTorch's does not.",
            lambda weight, in_chans, patch_size: _linear_to_conv(weight, in_chans, patch_size).flip(-2, -1),
        ),
        Mistake(
            "D and C are swapped: a convolution's weight is (out, in, P, P), that is (D, C, P, P).",
            _filters("D (C P Q) -> C D P Q"),
        ),
        Mistake(
            "you count on 3 channels: use `in_chans`.",
            lambda weight, in_chans, patch_size: weight.reshape(-1, 3, patch_size, patch_size),
        ),
        Mistake(
            "you count on 3 channels and D rows: use `in_chans`.",
            lambda weight, in_chans, patch_size: weight.reshape(len(weight), 3, patch_size, patch_size),
        ),
        *(
            Mistake(f"you count on {D} filters: D is the first entry of weight.shape.", _filters_for(D))
            for D in (5, 40, 50)  # of the figure, of the cell above, and of the section before
        ),
        Mistake(
            "the filters are still flat, (D, C, P·P): split P·P into rows and columns.",
            _filters("D (C P Q) -> D C (P Q)"),
        ),
    ),
)


def _embedding_probes(generator):
    normal = _normal(generator)

    def probe(images, D, P):
        C = images.shape[1]
        return {"images": images, "weight": normal(D, C, P, P) / (C * P * P) ** 0.5, "bias": normal(D)}

    probes = [
        probe(normal(2, 3, 4, 6), D=5, P=2),
        probe(normal(3, 2, 12, 6), D=7, P=3),
        probe(normal(1, 4, 8, 8), D=9, P=4),
        probe(normal(4, 1, 6, 9), D=6, P=3),  # D = N: a missing transpose fits
    ]
    single = probe(normal(2, 5, 6, 8), D=10, P=2)
    return [*probes, {name: value.float().requires_grad_() for name, value in single.items()}]


def _convolve(images, weight, bias=None):
    return F.conv2d(images, weight, bias, stride=weight.shape[-1])


def _patch_embedding(images, weight, bias):
    return rearrange(_convolve(images, weight, bias), "B D gh gw -> B (gh gw) D")


def _embedded(pattern, with_bias=True):
    """What the convolution gives, brought to tokens by an einops pattern."""
    return lambda images, weight, bias: rearrange(_convolve(images, weight, bias if with_bias else None), pattern)


def _on_patches(pattern):
    """Patches by an einops pattern, times the weight laid flat."""

    def embed(images, weight, bias):
        patches = rearrange(images, pattern, P=weight.shape[-1], Q=weight.shape[-1])
        return F.linear(patches, weight.flatten(1), bias)

    return embed


def _cut_at(size):
    return lambda images, weight, bias: F.linear(_patchify(images, size), weight.flatten(1), bias)


def _with_new_linear(images, weight, bias):
    patches = _patchify(images, weight.shape[-1])
    return nn.Linear(patches.shape[-1], len(weight))(patches)


def _with_new_convolution(images, weight, bias):
    D, C, P = weight.shape[:3]
    return nn.Conv2d(C, D, P, stride=P)(images).flatten(2).transpose(1, 2)


def _tokens_by_reshape(images, weight, bias):
    x = _convolve(images, weight, bias)
    return x.reshape(len(x), -1, x.shape[1])


PATCH_EMBEDDING = Exercise(
    name="patch_embedding",
    chapter="04",
    signature="patch_embedding(images, weight, bias)",
    task="give one token for each patch, in reading order, the patch laid flat times the weight laid flat, plus bias: (B, C, gh·P, gw·P) -> (B, gh·gw, D).",
    probes=_embedding_probes,
    oracle=_patch_embedding,
    uses={"patchify": _patchify, "linear_to_conv": _linear_to_conv},
    mistakes=(
        Mistake(
            "the result is (B, D, N): tokens are rows, so transpose the last two axes.",
            _embedded("B D gh gw -> B D (gh gw)"),
        ),
        Mistake(
            "you reshape (B, D, gh, gw) straight to (B, N, D), which mixes the features of different tokens: flatten the grid, then transpose.",
            _tokens_by_reshape,
        ),
        Mistake(
            "the tokens come column by column: in reading order gh stands before gw.",
            _embedded("B D gh gw -> B (gw gh) D"),
        ),
        Mistake(
            "`bias` is missing: add it to every token.",
            _embedded("B D gh gw -> B (gh gw) D", with_bias=False),
        ),
        Mistake(
            "the patches are laid flat as (p q c) and the weight as (c p q): both must be (c p q).",
            _on_patches("B C (gh P) (gw Q) -> B (gh gw) (P Q C)"),
        ),
        Mistake(
            "inside a patch your columns come before the rows: the weight has rows first, (c p q).",
            _on_patches("B C (gh P) (gw Q) -> B (gh gw) (C Q P)"),
        ),
        Mistake(
            "you cut by a bare reshape, which gives slices of rows: permute in between, or use `patchify`.",
            lambda images, weight, bias: F.linear(
                images.reshape(len(images), -1, weight[0].numel()),
                weight.flatten(1),
                bias,
            ),
        ),
        Mistake(
            "the grid is still there, (B, gh, gw, D): join gh and gw into N.",
            _embedded("B D gh gw -> B gh gw D"),
        ),
        Mistake(
            "you return the convolution's image, (B, D, gh, gw): join gh and gw into N, then put D last.",
            _embedded("B D gh gw -> B D gh gw"),
        ),
        Mistake(
            "the window moves by one pixel, so the patches overlap: the stride must be P.",
            lambda images, weight, bias: F.conv2d(images, weight, bias).flatten(2).transpose(1, 2),
        ),
        Mistake(
            "you reshape the weight to (C·P·P, D), which mixes the filters: lay it flat to (D, C·P·P) and transpose.",
            lambda images, weight, bias: _patchify(images, weight.shape[-1]) @ weight.reshape(-1, len(weight)) + bias,
        ),
        Mistake(
            "the weight laid flat is (D, C·P·P): transpose it, so that C·P·P meets C·P·P.",
            lambda images, weight, bias: _patchify(images, weight.shape[-1]) @ weight.flatten(1) + bias,
        ),
        Mistake(
            "the weight has four axes: lay it flat to (D, C·P·P) before you multiply patches with it.",
            lambda images, weight, bias: F.linear(_patchify(images, weight.shape[-1]), weight, bias),
        ),
        Mistake(
            "you add `bias` where D is not the last axis: let the convolution add it, or transpose first.",
            lambda images, weight, bias: (_convolve(images, weight).flatten(2) + bias).transpose(1, 2),
        ),
        Mistake(
            "you flip the filters, as a convolution in mathematics does: the patch times the weight as it lies, no flip.",
            lambda images, weight, bias: _patch_embedding(images, weight.flip(-2, -1), bias),
        ),
        Mistake(
            "F.unfold gives (B, C·P·P, N), features before patches: transpose it before you multiply.",
            lambda images, weight, bias: F.linear(
                F.unfold(images, weight.shape[-1], stride=weight.shape[-1]), weight.flatten(1), bias
            ),
        ),
        Mistake(
            "a new nn.Linear has float32 weights of its own: calculate with the `weight` and `bias` that you are given, `F.linear` does.",
            _with_new_linear,
        ),
        Mistake(
            "a new nn.Conv2d has float32 weights of its own: calculate with the `weight` and `bias` that you are given, `F.conv2d` does.",
            _with_new_convolution,
        ),
        Mistake(
            "you cut with weight.shape[1], which is C: P is the last entry of weight.shape.",
            lambda images, weight, bias: F.linear(_patchify(images, weight.shape[1]), weight.flatten(1), bias),
        ),
        Mistake(
            "your stride is weight.shape[1], which is C: the window must move by P, the last entry of weight.shape.",
            lambda images, weight, bias: (
                F.conv2d(images, weight, bias, stride=weight.shape[1]).flatten(2).transpose(1, 2)
            ),
        ),
        Mistake(
            "your stride is a fixed number, larger than the patch: P is weight.shape[-1].",
            lambda images, weight, bias: F.conv2d(images, weight, bias, stride=16).flatten(2).transpose(1, 2),
        ),
        *(
            Mistake(f"you cut patches of {size} pixels whatever the weight: P is weight.shape[-1].", _cut_at(size))
            for size in (16, 32)
        ),
        Mistake(
            "you add `bias` twice: the convolution or the linear layer has added it already.",
            lambda images, weight, bias: _patch_embedding(images, weight, bias) + bias,
        ),
    ),
)

EXERCISES = (PATCHIFY, UNPATCHIFY, LINEAR_TO_CONV, PATCH_EMBEDDING)
