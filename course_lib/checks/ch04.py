"""The exercises of chapter 04, from pixels to tokens."""

import torch  # noqa: F401 (for the edits)
import torch.nn.functional as F
from einops import rearrange  # noqa: F401 (for the edits)
from torch import nn  # noqa: F401 (for the edits)

from course_lib.checks.edits import edits_of
from course_lib.checks.exercise import Exercise, normal, single


def _patchify_probes(generator):
    """Grids of all kinds: wide, high, square, a single row, a single patch; one, three and other numbers of channels."""
    draw = normal(generator)
    return [
        {"images": draw(2, 3, 4, 6), "patch_size": 2},
        {"images": draw(1, 2, 12, 6), "patch_size": 3},
        {"images": draw(3, 4, 10, 10), "patch_size": 5},
        {"images": draw(2, 1, 4, 12), "patch_size": 4},
        {"images": draw(4, 2, 3, 3), "patch_size": 3},
        {"images": draw(2, 1, 3, 2), "patch_size": 1},
        {"images": draw(2, 3, 4, 6), "patch_size": 2},  # the shape of the first
        single({"images": draw(3, 5, 6, 8), "patch_size": 2}),
    ]


def _patchify(images, patch_size):
    return F.unfold(images, patch_size, stride=patch_size).transpose(1, 2)


def _cut(images, patch_size):
    B, C, height, width = images.shape
    P = patch_size
    gh, gw = height // P, width // P
    squares = images.reshape(B, C, gh, P, gw, P).permute(0, 2, 4, 1, 3, 5)
    return squares.reshape(B, gh * gw, C * P * P)


PATCHIFY = Exercise(
    name="patchify",
    chapter="04",
    signature="patchify(images, patch_size)",
    task="cut each image into patches in reading order and lay each flat, channel, row, column: (B, C, gh·P, gw·P) -> (B, gh·gw, C·P·P).",
    probes=_patchify_probes,
    oracle=_patchify,
    forbidden=("functional.unfold", "im2col", "pixel_unshuffle"),
    mistakes=edits_of(
        _cut,
        """
        nothing has moved: a reshape alone gives slices of rows, so permute between splitting the axes and joining them.
            .permute(0, 2, 4, 1, 3, 5) ⇒
        the numbers inside a patch lie as (p q c), channels last: put the channel axis before the rows and columns of the patch.
            2, 4, 1, 3, 5 ⇒ 2, 4, 3, 5, 1
        the patches come column by column: in reading order gh stands before gw.
            2, 4, 1, 3, 5 ⇒ 4, 2, 1, 3, 5
        each patch is transposed, columns before rows: inside a patch the order is channel, row, column.
            2, 4, 1, 3, 5 ⇒ 2, 4, 1, 5, 3
        both the patches and what is inside them come column by column: keep rows before columns in both pairs of axes.
            2, 4, 1, 3, 5 ⇒ 4, 2, 1, 5, 3
        you split the height into gw pieces and the width into gh: gh = height // P belongs to axis 2, gw = width // P to axis 3.
            gh, P, gw, P ⇒ gw, P, gh, P
        a patch of yours has every g-th pixel of a side, not P neighbours: patch i has the rows from i * P to (i + 1) * P - 1, so a side is split into (g, P), g first.
            gh, P, gw, P ⇒ P, gh, P, gw
            2, 4, 1, 3, 5 ⇒ 3, 5, 1, 2, 4
        the channels stay in front of the patches, so a patch is filled from one channel: move the channel axis behind gh and gw before you join.
            2, 4, 1, 3, 5 ⇒ 1, 2, 4, 3, 5
        you make separate patches of each channel: all C channels of a square belong to one patch.
            2, 4, 1, 3, 5 ⇒ 1, 2, 4, 3, 5
            gh * gw, C * P * P ⇒ C * gh * gw, P * P
        the last two axes are swapped: each patch is a row, (B, N, C·P·P).
            C * P * P) ⇒ C * P * P).mT
        the grid is still there: join its two axes into one, N = gh·gw.
            gh * gw ⇒ gh, gw
        the patches are not laid flat: join their last three axes into C·P·P.
            C * P * P ⇒ C, P, P
        the rows of a patch come before the columns of the grid, so a patch is filled from a whole row of squares: the order before the last reshape is (B, gh, gw, C, P, P).
            2, 4, 1, 3, 5 ⇒ 2, 3, 1, 4, 5
        you permute as `unpatchify` will, but this way it is from (B, C, gh, P, gw, P) to (B, gh, gw, C, P, P).
            2, 4, 1, 3, 5 ⇒ 3, 1, 4, 2, 5
        you use the chapter's P = 32: inside the function, P is `patch_size`.
            P = patch_size ⇒ P = 32
        you count on 3 channels where you split the axes: C is images.shape[1].
            B, C, gh ⇒ B, 3, gh
        you count on 3 channels where you join the axes: a patch has C·P·P numbers.
            C * P * P ⇒ 3 * P * P
        you count on 3 channels and leave N to the reshape: a patch has C·P·P numbers, with C from images.shape[1].
            gh * gw, C * P * P ⇒ -1, 3 * P * P
        you compute both grid sizes from the height: the number of columns is width // P.
            width // P ⇒ height // P
        you compute both grid sizes from the width: the number of rows is height // P.
            height // P ⇒ width // P
        you cut patches of 16 pixels whatever `patch_size` is: inside the function, P is `patch_size`.
            P = patch_size ⇒ P = 16
        torch.cat joins the patches end to end: torch.stack(..., dim=1) makes the dimension of the N patches.
            ⇒ return _cut(images, patch_size).flatten(1)
          or
            ⇒ return _cut(images, patch_size).transpose(0, 1).flatten(0, 1)
        the patches come before the images, (N, B, C·P·P): stack them along dimension 1, torch.stack(..., dim=1).
            ⇒ return _cut(images, patch_size).transpose(0, 1)
        chunk(P) cuts into P pieces: split(P) makes pieces of P pixels.
            ⇒ squares = [square for rows in images.chunk(patch_size, dim=2) for square in rows.chunk(patch_size, dim=3)]
            | return torch.stack([square.flatten(1) for square in squares], dim=1)
          or
            ⇒ squares = [square for rows in images.chunk(patch_size, dim=2) for square in rows.chunk(patch_size, dim=3)]
            | return torch.stack([square.reshape(len(images), images.shape[1] * patch_size**2) for square in squares], dim=1)
        the channels stand between gh and gw, so a patch is filled from several squares: the order before the last reshape is (B, gh, gw, C, P, P).
            2, 4, 1, 3, 5 ⇒ 2, 1, 4, 3, 5
        you cut the first image alone: the patches of every image are asked for, (B, N, C·P·P).
            ⇒ return _cut(images, patch_size)[0]
        your squares overlap, each begins one pixel after the one before: let them begin at multiples of P.
            ⇒ P = patch_size
            | gh, gw = images.shape[2] // P, images.shape[3] // P
            | squares = [images[:, :, i : i + P, j : j + P] for i in range(gh) for j in range(gw)]
            | return torch.stack([square.flatten(1) for square in squares], dim=1)
          or
            ⇒ P = patch_size
            | windows = images.unfold(2, P, 1).unfold(3, P, 1)
            | return windows.permute(0, 2, 3, 1, 4, 5).reshape(len(images), -1, images.shape[1] * P * P)
          or
            ⇒ P = patch_size
            | corners = [(i, j) for i in range(images.shape[2]) for j in range(images.shape[3])]
            | return torch.stack([images[:, :, i : i + P, j : j + P].flatten(1) for i, j in corners], dim=1)
        the grid has gh rows of gw squares each, so the number of a square is row * gw + column.
            return squares.reshape(B, gh * gw, C * P * P) ⇒ patches = squares.reshape(B, gh * gw, C * P * P)
            | result = torch.zeros_like(patches)
            | for n in range(gh * gw):
            |     result[:, n // gw * gh + n % gw] = patches[:, n]
            | return result
          or
            return squares.reshape(B, gh * gw, C * P * P) ⇒ patches = squares.reshape(B, gh * gw, C * P * P)
            | result = torch.zeros_like(patches)
            | for n in range(gh * gw):
            |     result[:, n % gw * gw + n // gw] = patches[:, n]
            | return result
          or
            ⇒ P = patch_size
            | gh, gw = images.shape[2] // P, images.shape[3] // P
            | corners = [(n // gh * P, n % gh * P) for n in range(gh * gw)]
            | return torch.stack([images[:, :, i : i + P, j : j + P].flatten(1) for i, j in corners], dim=1)
          or
            ⇒ P = patch_size
            | result = torch.zeros_like(_cut(images, P))
            | gh, gw = images.shape[2] // P, images.shape[3] // P
            | for n in range(gh * gw):
            |     i, j = n // gh * P, n % gh * P
            |     result[:, n] = images[:, :, i : i + P, j : j + P].flatten(1)
            | return result
        your loops end one square too early: `range` leaves out its end already.
            ⇒ P = patch_size
            | tops, lefts = range(0, images.shape[2] - P, P), range(0, images.shape[3] - P, P)
            | return torch.stack([images[:, :, i : i + P, j : j + P].flatten(1) for i in tops for j in lefts], dim=1)
        every image gets the patches of the first: cut each of them.
            .reshape(B, gh * gw, C * P * P) ⇒ .reshape(B, gh * gw, C * P * P)[:1].expand(B, -1, -1)
        you read the shape as (B, height, width, C): in PyTorch the channels come second, (B, C, height, width).
            B, C, height, width ⇒ B, height, width, C
            B, C, gh, P, gw, P ⇒ B, gh, P, gw, P, C
            2, 4, 1, 3, 5 ⇒ 1, 3, 5, 2, 4
          or
            B, C, height, width ⇒ B, height, width, C
        """,
    ),
)


def _unpatchify_probes(generator):
    draw = normal(generator)
    return [
        {"patches": draw(2, 6, 12), "grid_size": (2, 3)},
        {"patches": draw(1, 8, 18), "grid_size": (4, 2), "in_chans": 2},
        {"patches": draw(3, 4, 100), "grid_size": (2, 2), "in_chans": 4},
        {"patches": draw(2, 3, 16), "grid_size": (1, 3), "in_chans": 1},
        {"patches": draw(2, 6, 2), "grid_size": (3, 2), "in_chans": 2},  # of one pixel each
        {"patches": draw(4, 1, 2), "grid_size": (1, 1), "in_chans": 2},
        {"patches": draw(2, 6, 12), "grid_size": (2, 3)},  # the shape of the first
        single({"patches": draw(3, 15, 20), "grid_size": (3, 5), "in_chans": 5}),
    ]


def _unpatchify(patches, grid_size, in_chans=3):
    P = round((patches.shape[-1] / in_chans) ** 0.5)
    return F.fold(patches.transpose(1, 2), tuple(g * P for g in grid_size), P, stride=P)


def _join(patches, grid_size, in_chans=3):
    B, _, width = patches.shape
    gh, gw = grid_size
    P = round((width / in_chans) ** 0.5)
    squares = patches.reshape(B, gh, gw, in_chans, P, P).permute(0, 3, 1, 4, 2, 5)
    return squares.reshape(B, in_chans, gh * P, gw * P)


# Ways to lay the patches on their grid: each says in words of its own that they do not fit.
_LAID = (
    "reshape(B, gh, gw ⇒ reshape(len(patches), gh, gw",
    "patches.reshape(B, gh, gw ⇒ patches.reshape(-1, gh, gw\n                squares.reshape(B ⇒ squares.reshape(-1",
    """patches.reshape(B, gh, gw, in_chans, P, P).permute(0, 3, 1, 4, 2, 5) ⇒ patches
                squares.reshape(B, in_chans, gh * P, gw * P) ⇒ rearrange(
                |     squares, "B (gh gw) (C p q) -> B C (gh p) (gw q)", gh=gh, C=in_chans, p=P
                | )""",
)

UNPATCHIFY = Exercise(
    name="unpatchify",
    chapter="04",
    signature="unpatchify(patches, grid_size, in_chans=3)",
    task="put the patches, each laid flat as channel, row, column, back into their images: (B, gh·gw, C·P·P) -> (B, C, gh·P, gw·P).",
    probes=_unpatchify_probes,
    oracle=_unpatchify,
    forbidden=("functional.fold", "col2im", "pixel_shuffle"),
    mistakes=edits_of(
        _join,
        """
        nothing has moved: a reshape alone fills the rows of the image with whole patches, so permute in between.
            .permute(0, 3, 1, 4, 2, 5) ⇒
        you swap rows and columns of the grid: grid_size is (gh, gw), rows first.
            gh, gw = ⇒ gw, gh =
        you read a patch as (p q c), channels last: patchify laid it flat as (c p q).
            in_chans, P, P) ⇒ P, P, in_chans)
            3, 1, 4, 2, 5 ⇒ 5, 1, 3, 2, 4
        you take the patches column by column: they come in reading order, so split N into (gh, gw).
            gh, gw, in_chans ⇒ gw, gh, in_chans
            3, 1, 4, 2, 5 ⇒ 3, 2, 4, 1, 5
        each patch is transposed: its rows go with gh and its columns with gw.
            3, 1, 4, 2, 5 ⇒ 3, 1, 5, 2, 4
        the channels are in front, but the rows of the grid are not joined with the rows of the patch: the order before the last reshape is (B, C, gh, P, gw, P).
            3, 1, 4, 2, 5 ⇒ 3, 1, 2, 4, 5
        you permute as `patchify` does, but the way back is another one: from (B, gh, gw, C, P, P) to (B, C, gh, P, gw, P).
            3, 1, 4, 2, 5 ⇒ 2, 4, 1, 3, 5
        gh and gw have changed places in your permute: gh goes with the rows of a patch, gw with its columns, (B, C, gh, P, gw, P).
            3, 1, 4, 2, 5 ⇒ 3, 2, 4, 1, 5
        the channels have not moved to the front: the order before the last reshape is (B, C, gh, P, gw, P).
            3, 1, 4, 2, 5 ⇒ 1, 4, 2, 5, 3
        the rows and columns are right, but C stays behind gh and P: move it in front, (B, C, gh, P, gw, P).
            3, 1, 4, 2, 5 ⇒ 1, 4, 3, 2, 5
        the channels come last: in PyTorch an image is (B, C, height, width).
            3, 1, 4, 2, 5 ⇒ 1, 4, 2, 5, 3
            in_chans, gh * P, gw * P ⇒ gh * P, gw * P, in_chans
        P stands before its grid axis, which scatters every patch over the whole image: gh before P, and gw before P.
            3, 1, 4, 2, 5 ⇒ 3, 4, 1, 5, 2
        the number of a square is row * gw + column: a row of the grid has gw squares.
            patches.reshape(B, gh, gw, in_chans, P, P) ⇒ torch.stack(
            |     [patches[:, i * gh + j] for i in range(gh) for j in range(gw)], 1
            | ).reshape(B, gh, gw, in_chans, P, P)
          or
            patches.reshape(B, gh, gw, in_chans, P, P) ⇒ torch.stack(
            |     [patches[:, j * gw + i] for i in range(gh) for j in range(gw)], 1
            | ).reshape(B, gh, gw, in_chans, P, P)
          or
            squares = patches.reshape(B, gh, gw, in_chans, P, P).permute(0, 3, 1, 4, 2, 5) ⇒ image = patches.new_zeros(B, in_chans, gh * P, gw * P)
            | for n in range(gh * gw):
            |     i, j = n // gh * P, n % gh * P
            |     image[:, :, i : i + P, j : j + P] = patches[:, n].reshape(B, in_chans, P, P)
            return squares.reshape(B, in_chans, gh * P, gw * P) ⇒ return image
        you stop at six axes, (B, C, gh, P, gw, P): join gh with P and gw with P by a last reshape.
            return squares.reshape(B, in_chans, gh * P, gw * P) ⇒ return squares
        you divide by in_chans but take no root: P is √(C·P·P / C).
            round((width / in_chans) ** 0.5) ⇒ width // in_chans
        you use the chapter's P = 32: the patch size follows from the width of a patch, √(C·P·P / C).
            round((width / in_chans) ** 0.5) ⇒ 32
        P is a float, and a shape wants whole numbers: round it.
            round((width / in_chans) ** 0.5) ⇒ (width / in_chans) ** 0.5
        you count on a square grid: its sides are given, (gh, gw) = grid_size.
            gh, gw = grid_size ⇒ gh = gw = round(patches.shape[1] ** 0.5)
          or
            gh, gw = grid_size ⇒ gh = gw = int(patches.shape[1] ** 0.5)
        """,
    )
    + tuple(
        mistake
        for laid in _LAID
        for mistake in edits_of(
            _join,
            f"""
            you take the root of C·P·P: divide by in_chans first, then take the root.
                / in_chans ⇒
                {laid}
              or
                round((width / in_chans) ** 0.5) ⇒ int(width ** 0.5)
                {laid}
            `** 1/2` is the first power, halved, since a power comes before a division: the root is ** 0.5.
                ** 0.5 ⇒ ** 1 / 2
                {laid}
            your default for `in_chans` is 1: it is 3, the colours.
                in_chans=3 ⇒ in_chans=1
                {laid}
            you count on 3 channels: use `in_chans`.
                gh, gw = grid_size ⇒ gh, gw, in_chans = *grid_size, 3
                {laid}
            a patch size is written into your code: it follows from the width of a patch, √(C·P·P / C).
                round((width / in_chans) ** 0.5) ⇒ 2
                {laid}
              or
                round((width / in_chans) ** 0.5) ⇒ 16
                {laid}
            """,
        )
    ),
)


def _linear_to_conv_probes(generator):
    draw = normal(generator)
    return [
        {"weight": draw(5, 12), "in_chans": 3, "patch_size": 2},
        {"weight": draw(7, 18), "in_chans": 2, "patch_size": 3},
        {"weight": draw(4, 80), "in_chans": 5, "patch_size": 4},
        {"weight": draw(12, 12), "in_chans": 3, "patch_size": 2},  # D = C·P·P: a wrong transpose fits
        {"weight": draw(1, 3), "in_chans": 3, "patch_size": 1},
        {"weight": draw(5, 12), "in_chans": 3, "patch_size": 2},  # the shape of the first
        single({"weight": draw(6, 9), "in_chans": 1, "patch_size": 3}),
    ]


def _linear_to_conv(weight, in_chans, patch_size):
    D, C, P = len(weight), in_chans, patch_size
    return weight.reshape(D, C, P, P)


LINEAR_TO_CONV = Exercise(
    name="linear_to_conv",
    chapter="04",
    signature="linear_to_conv(weight, in_chans, patch_size)",
    task="give the filters of the convolution that equals this linear layer on patches: (D, C·P·P) in the order (c p q) -> (D, C, P, P).",
    probes=_linear_to_conv_probes,
    oracle=_linear_to_conv,
    mistakes=edits_of(
        _linear_to_conv,
        """
        you take the channels of a row as taking turns, (p q c): they lie one after the other, (c p q), so nothing needs to move.
            (D, C, P, P) ⇒ (D, P, P, C).permute(0, 3, 1, 2)
        the channels come last: F.conv2d wants (D, C, P, P).
            (D, C, P, P) ⇒ (D, P, P, C)
        the channels come last, moved there: F.conv2d wants them second, (D, C, P, P), and there they are already.
            P, P) ⇒ P, P).movedim(1, -1)
        you transpose `weight` first: it is (D, C·P·P), so each row is a filter already.
            weight.reshape ⇒ weight.T.reshape
        you read `weight` as (C·P·P, D): nn.Linear keeps the outputs first, (D, C·P·P).
            (D, C, P, P) ⇒ (C, P, P, D).permute(3, 0, 1, 2)
        each filter is transposed: rows before columns, as in the patch.
            P, P) ⇒ P, P).mT
        you flip the filters, as a convolution in mathematics does: PyTorch's does not.
            P, P) ⇒ P, P).flip(-2, -1)
        D and C are swapped: a convolution's weight is (out, in, P, P), that is (D, C, P, P).
            P, P) ⇒ P, P).transpose(0, 1)
        you split off C before D: each row of `weight` is one filter, so D stands first.
            (D, C ⇒ (C, D
          or
            (D, C, P, P) ⇒ (C, D, P, P).transpose(0, 1)
        you count on 3 channels: use `in_chans`.
            (D, C ⇒ (-1, 3
        you count on 3 channels and D rows: use `in_chans`.
            (D, C ⇒ (D, 3
        you count on 5 filters: D is the first entry of weight.shape.
            len(weight) ⇒ 5
        you count on 40 filters: D is the first entry of weight.shape.
            len(weight) ⇒ 40
        you count on 50 filters: D is the first entry of weight.shape.
            len(weight) ⇒ 50
        the filters are still flat, (D, C, P·P): split P·P into rows and columns.
            P, P) ⇒ P * P)
        """,
    ),
)


def _embedding_probes(generator):
    draw, probes = normal(generator), []
    for (B, C, height, width), D, P in (
        ((2, 3, 4, 6), 5, 2),
        ((3, 2, 12, 6), 7, 3),
        ((1, 4, 8, 8), 9, 4),
        ((4, 1, 6, 9), 6, 3),  # D = N: a missing transpose fits
        ((3, 2, 4, 4), 1, 4),
        ((2, 3, 4, 6), 5, 2),  # the shape of the first
        ((2, 3, 2, 3), 4, 1),
        ((2, 5, 6, 8), 10, 2),
    ):
        weight = draw(D, C, P, P) / (C * P * P) ** 0.5
        probes.append({"images": draw(B, C, height, width), "weight": weight, "bias": draw(D)})
    return [*probes[:-1], single(probes[-1])]


def _convolve(images, weight, bias):
    x = F.conv2d(images, weight, bias, stride=weight.shape[-1])
    return x.flatten(2).transpose(1, 2)


def _multiply(images, weight, bias):
    patches = _cut(images, weight.shape[-1])  # laid as a reader's: the words of an error depend on it
    return patches @ weight.flatten(1).T + bias


PATCH_EMBEDDING = Exercise(
    name="patch_embedding",
    chapter="04",
    signature="patch_embedding(images, weight, bias)",
    task="give one token for each patch, in reading order, the patch laid flat times the weight laid flat, plus bias: (B, C, gh·P, gw·P) -> (B, gh·gw, D).",
    probes=_embedding_probes,
    oracle=_convolve,
    uses={"patchify": _cut, "linear_to_conv": _linear_to_conv},
    mistakes=edits_of(
        _convolve,
        """
        the result is (B, D, N): tokens are rows, so transpose the last two axes.
            .transpose(1, 2) ⇒
        you reshape (B, D, gh, gw) straight to (B, N, D), which mixes the features of different tokens: flatten the grid, then transpose.
            .flatten(2).transpose(1, 2) ⇒ .reshape(len(x), -1, x.shape[1])
        the tokens come column by column: in reading order gh stands before gw.
            x.flatten ⇒ x.mT.flatten
        `bias` is missing: add it to every token.
            bias, stride ⇒ stride
        inside a patch your columns come before the rows: the weight has rows first, (c p q).
            weight, bias, stride ⇒ weight.mT, bias, stride
        the grid is still there, (B, gh, gw, D): join gh and gw into N.
            .flatten(2).transpose(1, 2) ⇒ .movedim(1, -1)
        you return the convolution's image, (B, D, gh, gw): join gh and gw into N, then put D last.
            .flatten(2).transpose(1, 2) ⇒
        the window moves by one pixel, so the patches overlap: the stride must be P.
            , stride=weight.shape[-1] ⇒
        you pad the images, and the patches fill them already: leave `padding` out.
            stride=weight.shape[-1] ⇒ stride=weight.shape[-1], padding=weight.shape[-1] // 2
          or
            stride=weight.shape[-1] ⇒ stride=weight.shape[-1], padding=1
          or
            stride=weight.shape[-1] ⇒ stride=weight.shape[-1], padding=weight.shape[-1]
          or
            stride=weight.shape[-1] ⇒ stride=weight.shape[-1], padding=weight.shape[-1] - 1
          or
            stride=weight.shape[-1] ⇒ stride=weight.shape[-1], padding="same"
          or
            stride=weight.shape[-1] ⇒ padding="same"
        you subtract `bias`: add it to every token.
            bias, stride ⇒ -bias, stride
        you add `bias` where D is not the last axis: let the convolution add it, or transpose first.
            bias, stride ⇒ stride
            return x.flatten(2) ⇒ return (x.flatten(2) + bias)
        you flip the filters, as a convolution in mathematics does: the patch times the weight as it lies, no flip.
            weight, bias, stride ⇒ weight.flip(-2, -1), bias, stride
        a new nn.Conv2d has float32 weights of its own: calculate with the `weight` and `bias` that you are given, `F.conv2d` does.
            F.conv2d(images, weight, bias, stride=weight.shape[-1]) ⇒ nn.Conv2d(weight.shape[1], len(weight), weight.shape[-1], weight.shape[-1])(images)
        your stride is weight.shape[1], which is C: the window must move by P, the last entry of weight.shape.
            shape[-1] ⇒ shape[1]
        your stride is a fixed number, larger than the patch: P is weight.shape[-1].
            weight.shape[-1] ⇒ 16
        you add `bias` twice: the convolution or the linear layer has added it already.
            (1, 2) ⇒ (1, 2) + bias
        """,
    )
    + edits_of(
        _multiply,
        """
        the patches are laid flat as (p q c) and the weight as (c p q): both must be (c p q).
            shape[-1]) ⇒ shape[-1]).unflatten(-1, (weight.shape[1], -1)).mT.flatten(2)
        the weight is laid flat as (p q c) and the patches as (c p q): lay it flat as it comes, weight.flatten(1), nothing needs to move.
            weight.flatten(1) ⇒ weight.movedim(1, -1).flatten(1)
        you cut by a bare reshape, which gives slices of rows: permute in between, or use `patchify`.
            _cut(images, weight.shape[-1]) ⇒ images.reshape(len(images), -1, weight[0].numel())
        you reshape the weight to (C·P·P, D), which mixes the filters: lay it flat to (D, C·P·P) and transpose.
            flatten(1).T ⇒ reshape(-1, len(weight))
        the weight laid flat is (D, C·P·P), and C·P·P meets C·P·P: `@` takes it with .T, F.linear without.
            .T ⇒
        the weight has four axes: lay it flat to (D, C·P·P) before you multiply patches with it.
            patches @ weight.flatten(1).T + bias ⇒ F.linear(patches, weight, bias)
        F.unfold gives (B, C·P·P, N), features before patches: transpose it before you multiply.
            _cut(images, weight.shape[-1]) ⇒ F.unfold(images, weight.shape[-1], stride=weight.shape[-1])
          or
            _cut(images, weight.shape[-1]) ⇒ F.unfold(images, weight.shape[-1], stride=weight.shape[-1])
            patches @ weight.flatten(1).T + bias ⇒ F.linear(patches, weight.flatten(1), bias)
        a new nn.Linear has float32 weights of its own: calculate with the `weight` and `bias` that you are given, `F.linear` does.
            patches @ weight.flatten(1).T + bias ⇒ nn.Linear(patches.shape[-1], len(weight))(patches)
        you cut with weight.shape[1], which is C: P is the last entry of weight.shape.
            shape[-1] ⇒ shape[1]
        you cut patches of 16 pixels whatever the weight: P is weight.shape[-1].
            weight.shape[-1] ⇒ 16
        you cut patches of 32 pixels whatever the weight: P is weight.shape[-1].
            weight.shape[-1] ⇒ 32
        """,
    ),
)

EXERCISES = (PATCHIFY, UNPATCHIFY, LINEAR_TO_CONV, PATCH_EMBEDDING)
