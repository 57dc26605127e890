"""Answers to the exercises of chapter 04, as readers write them.

RIGHT: implementations other than the chapter's own. Beside the record's known mistakes, which are wrong answers
themselves, SLIPS: the chapter's own solution with something changed, and WRONG: mistakes written in another way; each
with words of the hint that it must get. EQUIVALENT: mutants of the right answers that are right too, and why.
"""

import functools
import math

import einops
import numpy as np
import torch
import torch.nn.functional as F
from einops.layers.torch import Rearrange

# --- patchify ------------------------------------------------------------------------------------


def cut_by_slices(images, patch_size):
    P = patch_size
    patches = []
    for top in range(0, images.shape[2], P):
        for left in range(0, images.shape[3], P):
            square = images[:, :, top : top + P, left : left + P]
            patches.append(square.flatten(1))
    return torch.stack(patches, dim=1)


def cut_by_einops(images, patch_size):
    return einops.rearrange(images, "b c (h p) (w q) -> b (h w) (c p q)", p=patch_size, q=patch_size)


def cut_by_tensor_unfold(images, patch_size):
    windows = images.unfold(2, patch_size, patch_size).unfold(3, patch_size, patch_size)  # (B, C, gh, gw, P, P)
    return windows.permute(0, 2, 3, 1, 4, 5).flatten(3).flatten(1, 2)


def cut_by_chunks(images, patch_size):
    rows = images.split(patch_size, dim=2)
    squares = [square for row in rows for square in row.split(patch_size, dim=3)]
    return torch.cat([square.reshape(len(images), 1, -1) for square in squares], dim=1)


def cut_by_a_layer(imgs, p):
    layer = Rearrange("b c (h p1) (w p2) -> b (h w) (c p1 p2)", p1=p, p2=p)
    return layer(imgs)


def cut_by_a_convolution(x, P):
    """Each filter picks one pixel of a patch."""
    C = x.shape[1]
    pick = torch.eye(C * P * P, dtype=x.dtype).unflatten(1, (C, P, P))
    return F.conv2d(x, pick, stride=P).flatten(2).mT


class CutByNumbers:
    """Where each pixel of a patch lies in an image that is laid flat."""

    def __call__(self, images, patch_size):
        B, C, H, W = images.shape
        number = torch.arange(C * H * W).reshape(C, H, W)
        corners = [(i, j) for i in range(0, H, patch_size) for j in range(0, W, patch_size)]
        wanted = [number[:, i : i + patch_size, j : j + patch_size].flatten() for i, j in corners]
        return images.reshape(B, -1)[:, torch.stack(wanted)]


def filled_in(function):
    """Give `function` an empty result to write into."""

    @functools.wraps(function)
    def with_result(images, patch_size):
        B, C, H, W = images.shape
        P = patch_size
        result = torch.zeros(B, (H // P) * (W // P), C * P * P, dtype=images.dtype)
        function(images, P, result)
        return result

    return with_result


@filled_in
def cut_into_a_result(images, P, result):
    columns = images.shape[3] // P
    for n in range(result.shape[1]):
        top, left = n // columns * P, n % columns * P
        result[:, n] = images[:, :, top : top + P, left : left + P].flatten(1)


def cut_column_by_column(images, patch_size):
    patches = []
    for left in range(0, images.shape[3], patch_size):
        for top in range(0, images.shape[2], patch_size):
            square = images[:, :, top : top + patch_size, left : left + patch_size]
            patches.append(square.flatten(1))
    return torch.stack(patches, dim=1)


def cut_and_numbered_by_the_height(images, patch_size):
    B, C, H, W = images.shape
    gh, gw = H // patch_size, W // patch_size
    patches = images.new_zeros(B, gh * gw, C, patch_size, patch_size)
    for row in range(gh):
        for column in range(gw):
            top, left = row * patch_size, column * patch_size
            patches[:, row * gh + column] = images[:, :, top : top + patch_size, left : left + patch_size]
    return patches.flatten(2)


def cut_until_one_patch_before_the_end(images, patch_size):
    _, _, H, W = images.shape
    patches = []
    for top in range(0, H - patch_size, patch_size):
        for left in range(0, W - patch_size, patch_size):
            patches.append(images[:, :, top : top + patch_size, left : left + patch_size].flatten(1))
    return torch.stack(patches, 1)


def cut_with_unfolds_alone(images, patch_size):
    B, C = images.shape[:2]
    windows = images.unfold(2, patch_size, patch_size).unfold(3, patch_size, patch_size)
    return windows.reshape(B, -1, C * patch_size**2)


# --- unpatchify ----------------------------------------------------------------------------------


def joined_by_einops(patches, grid_size, in_chans=3):
    h, w = grid_size
    p = math.isqrt(patches.shape[2] // in_chans)
    return einops.rearrange(patches, "b (h w) (c p q) -> b c (h p) (w q)", h=h, w=w, c=in_chans, p=p)


def joined_square_by_square(patches, grid_size, in_chans=3):
    gh, gw = grid_size
    P = math.isqrt(patches.shape[-1] // in_chans)
    squares = patches.unflatten(-1, (in_chans, P, P))  # (B, N, C, P, P)
    rows = [torch.cat([squares[:, i * gw + j] for j in range(gw)], dim=-1) for i in range(gh)]
    return torch.cat(rows, dim=-2)


def joined_in_place(patches, grid_size, in_chans=3):
    gh, gw = grid_size
    B, N, width = patches.shape
    P = int((width // in_chans) ** 0.5)
    image = patches.new_zeros(B, in_chans, gh * P, gw * P)
    for n in range(N):
        top, left = n // gw * P, n % gw * P
        image[:, :, top : top + P, left : left + P] = patches[:, n].reshape(B, in_chans, P, P)
    return image


def joined_by_einsum(x, grid, channels=3):
    P = int(np.sqrt(x.shape[-1] / channels))
    x = torch.einsum("bijcpq->bcipjq", x.reshape(-1, *grid, channels, P, P))
    return x.reshape(len(x), channels, grid[0] * P, grid[1] * P)


def joined_by_a_transposed_convolution(patches, grid_size, in_chans=3):
    width = patches.shape[-1]
    P = round(math.sqrt(width // in_chans))
    place = torch.eye(width, dtype=patches.dtype).reshape(width, in_chans, P, P)
    return F.conv_transpose2d(patches.mT.unflatten(2, tuple(grid_size)), place, stride=P)


def joined_by_moving_axes(patches, grid_size, in_chans=3):
    P = torch.tensor(patches.shape[-1] / in_chans).sqrt().round().int().item()
    squares = patches.unflatten(2, (in_chans, P, P)).unflatten(1, grid_size)
    return squares.movedim(3, 1).transpose(3, 4).flatten(4, 5).flatten(2, 3)


def joined_and_numbered_by_the_height(patches, grid_size, in_chans=3):
    gh, gw = grid_size
    P = math.isqrt(patches.shape[-1] // in_chans)
    squares = patches.unflatten(-1, (in_chans, P, P))
    rows = [torch.cat([squares[:, row * gh + column] for column in range(gw)], dim=3) for row in range(gh)]
    return torch.cat(rows, dim=2)


def joined_channels_at_the_end_then_forced(patches, grid_size, in_chans=3):
    gh, gw = grid_size
    P = math.isqrt(patches.shape[-1] // in_chans)
    x = torch.einsum("bhwcpq->bhpwqc", patches.reshape(-1, gh, gw, in_chans, P, P))
    return x.reshape(-1, in_chans, gh * P, gw * P)


# --- linear_to_conv ------------------------------------------------------------------------------


def filters_by_unflatten(weight, in_chans, patch_size):
    return weight.unflatten(1, (in_chans, patch_size, patch_size))


def filters_one_by_one(weight, in_chans, patch_size):
    return torch.stack([row.view(in_chans, patch_size, patch_size) for row in weight])


def filters_by_einops(weight, in_chans, patch_size):
    return einops.rearrange(weight, "D (c p q) -> D c p q", c=in_chans, p=patch_size)


def filters_in_four_loops(w, c, p):
    filters = w.new_empty(len(w), c, p, p)
    for d in range(len(w)):
        for i in range(c):
            for row in range(p):
                filters[d, i, row] = w[d, i * p * p + row * p : i * p * p + (row + 1) * p]
    return filters


def filters_by_chunks(weight, C, P):
    channels = [torch.stack(channel.chunk(P, dim=1), dim=1) for channel in weight.chunk(C, dim=1)]
    return torch.stack(channels, dim=1)


filters_by_a_layer = functools.partial(lambda w, c, p, dim: torch.nn.Unflatten(dim, (c, p, p))(w), dim=1)


# --- patch_embedding -----------------------------------------------------------------------------


def embed_by_convolution(images, weight, bias):
    x = F.conv2d(images, weight, bias, stride=weight.shape[2:])
    return x.flatten(2).transpose(1, 2)


def embed_by_unfold(images, weight, bias):
    P = weight.shape[-1]
    patches = F.unfold(images, kernel_size=P, stride=P).mT
    return F.linear(patches, weight.reshape(len(weight), -1), bias)


def embed_by_einsum(images, weight, bias):
    B, C, H, W = images.shape
    P = weight.shape[-1]
    split = images.reshape(B, C, H // P, P, W // P, P)
    tokens = torch.einsum("bchpwq,dcpq->bhwd", split, weight)
    return tokens.flatten(1, 2) + bias


def embed_by_a_module(images, weight, bias):
    D, C, P, _ = weight.shape
    conv = torch.nn.Conv2d(C, D, P, P, device=images.device, dtype=images.dtype)
    x = torch.func.functional_call(conv, {"weight": weight, "bias": bias}, (images,))
    return x.permute(0, 2, 3, 1).reshape(len(x), -1, D)


def embed_one_image_at_a_time(images, weight, bias):
    P = weight.shape[-1]
    return torch.stack([F.conv2d(image, weight, bias, stride=P).flatten(1).mT for image in images])


def embed_square_by_square(x, w, b):
    P = w.shape[-1]
    tokens = []
    for top in range(0, x.shape[2], P):
        for left in range(0, x.shape[3], P):
            square = x[:, None, :, top : top + P, left : left + P]  # (B, 1, C, P, P) meets (D, C, P, P)
            tokens.append((square * w).sum(dim=(2, 3, 4)) + b)
    return torch.stack(tokens, dim=1)


def embed_by_our_pieces(images, weight, bias):
    patches = patchify(images, patch_size=weight.shape[-1])  # noqa: F821 - the check puts it there
    return torch.stack([torch.addmm(bias, rows, weight.flatten(1).T) for rows in patches])


def embed_padded(images, weight, bias):
    P = weight.shape[-1]
    padded = F.pad(images, (P // 2, P // 2, P // 2, P // 2))
    return F.conv2d(padded, weight, bias, stride=P).permute(0, 2, 3, 1).flatten(1, 2)


def embed_channels_last(images, weight, bias):
    B, C, H, W = images.shape
    P = weight.shape[-1]
    x = images.permute(0, 2, 3, 1).reshape(B, H // P, P, W // P, P, C)
    patches = x.transpose(2, 3).reshape(B, -1, P * P * C)
    return patches @ weight.flatten(1).T + bias


def embed_bias_on_the_wrong_axis(images, weight, bias):
    x = F.conv2d(images, weight, stride=weight.shape[-1])
    x = x.flatten(2) + bias
    return x.transpose(1, 2)


def embed_by_unfold_without_transpose(images, weight, bias):
    P = weight.shape[-1]
    return F.linear(F.unfold(images, P, stride=P), weight.flatten(1), bias)


def embed_by_a_new_convolution(images, weight, bias):
    D, C, P, _ = weight.shape
    conv = torch.nn.Conv2d(C, D, kernel_size=P, stride=P)
    x = conv(images)
    return x.flatten(2).mT


RIGHT = {
    "patchify": (
        cut_by_einops,
        cut_by_slices,
        cut_by_tensor_unfold,
        cut_by_chunks,
        cut_by_a_layer,
        cut_by_a_convolution,
        CutByNumbers(),
        cut_into_a_result,
    ),
    "unpatchify": (
        joined_square_by_square,
        joined_by_einops,
        joined_in_place,
        joined_by_einsum,
        joined_by_a_transposed_convolution,
        joined_by_moving_axes,
    ),
    "linear_to_conv": (
        filters_by_unflatten,
        filters_one_by_one,
        filters_by_einops,
        filters_in_four_loops,
        filters_by_chunks,
        filters_by_a_layer,
    ),
    "patch_embedding": (
        embed_by_convolution,
        embed_by_unfold,
        embed_by_einsum,
        embed_by_a_module,
        embed_one_image_at_a_time,
        embed_square_by_square,
        embed_by_our_pieces,
    ),
}

SLIPS = {
    "patchify": """
        your squares overlap
            ⇒ P = patch_size
            | _, _, H, W = images.shape
            | corners = [(i, j) for i in range(0, H - P + 1) for j in range(0, W - P + 1)]
            | return torch.stack([images[:, :, i : i + P, j : j + P].flatten(1) for i, j in corners], dim=1)
        you use the chapter's P = 32
            P = patch_size ⇒ P = 32
        patches of 16 pixels
            P = patch_size ⇒ P = 2**4
        every g-th pixel
            ⇒ gh, gw = images.shape[2] // patch_size, images.shape[3] // patch_size
            | squares = [images[:, :, i::gh, j::gw].flatten(1) for i in range(gh) for j in range(gw)]
            | return images.new_zeros(()) + __import__("torch").stack(squares, dim=1)
        torch.cat joins the patches end to end
            ⇒ P = patch_size
            | tops, lefts = range(0, images.shape[2], P), range(0, images.shape[3], P)
            | return __import__("torch").cat([images[:, :, i : i + P, j : j + P].flatten(1) for i in tops for j in lefts], 1)
        the patches come before the images
            ⇒ P = patch_size
            | tops, lefts = range(0, images.shape[2], P), range(0, images.shape[3], P)
            | return __import__("torch").stack([images[:, :, i : i + P, j : j + P].flatten(1) for i in tops for j in lefts])
        chunk(P) cuts into P pieces
            ⇒ squares = [s.flatten(1) for row in images.chunk(patch_size, 2) for s in row.chunk(patch_size, 3)]
            | return __import__("torch").stack(squares, 1)
        3 channels where you split
            images.reshape(B, C ⇒ images.reshape(B, 3
        3 channels where you join
            gh * gw, C * ⇒ gh * gw, 3 *
        leave N to the reshape
            gh * gw, C * P * P ⇒ -1, 3 * P * P
        from the height
            width // P ⇒ height // P
        from the width
            height // P ⇒ width // P
        (B, height, width, C)
            B, C, height, width ⇒ B, height, width, C
        """,
    "unpatchify": """
        is the first power, halved
            round((width / in_chans) ** 0.5) ⇒ int((width // in_chans) ** 1 / 2)
        divide by in_chans first
            / in_chans ⇒
        take no root
            round((width / in_chans) ** 0.5) ⇒ width // in_chans
        the chapter's P = 32
            round((width / in_chans) ** 0.5) ⇒ 32
        P is a float
            round((width / in_chans) ** 0.5) ⇒ (width / in_chans) ** 0.5
        a square grid
            gh, gw = grid_size ⇒ gh = gw = int(patches.shape[1] ** 0.5)
        count on 3 channels
            B, _, width ⇒ in_chans = 3
            | B, _, width
        your default for `in_chans` is 1
            in_chans=3 ⇒ in_chans=1
        is written into your code
            round((width / in_chans) ** 0.5) ⇒ 4**2
        you stop at six axes
            split.reshape(B, in_chans, gh * P, gw * P) ⇒ split
        """,
    "linear_to_conv": """
        the channels of a row as taking turns
            ⇒ P = patch_size
            | return __import__("torch").stack([weight[:, c::in_chans].reshape(-1, P, P) for c in range(in_chans)], dim=1)
        count on 3 channels:
            in_chans, patch_size, patch_size) ⇒ 3, patch_size, patch_size)
        3 channels and D rows
            -1, in_chans ⇒ weight.shape[0], 3
        5 filters
            -1 ⇒ 5
        40 filters
            -1 ⇒ 40
        50 filters
            -1 ⇒ 50
        """,
    "patch_embedding": """
        the weight is laid flat as (p q c)
            weight.flatten(1).T ⇒ weight.permute(0, 2, 3, 1).flatten(1).T
        you subtract `bias`
            + bias ⇒ - bias
        C·P·P meets C·P·P
            .T ⇒
        the weight has four axes
            patches @ weight.flatten(1).T + bias ⇒ F.linear(patches, weight, bias)
        a new nn.Linear
            patches @ weight.flatten(1).T + bias ⇒ nn.Linear(patches.shape[-1], len(bias))(patches)
        cut with weight.shape[1]
            weight.shape[-1] ⇒ weight.shape[1]
        patches of 16 pixels
            weight.shape[-1] ⇒ 16
        patches of 32 pixels
            weight.shape[-1] ⇒ 32
        """,
}

WRONG = {
    "patchify": {
        cut_and_numbered_by_the_height: "row * gw + column",
        cut_until_one_patch_before_the_end: "one square too early",
        cut_column_by_column: "the patches come column by column",
        cut_with_unfolds_alone: "the channels stay in front",
    },
    "unpatchify": {
        joined_and_numbered_by_the_height: "row * gw + column",
        joined_channels_at_the_end_then_forced: "have not moved to the front",
    },
    "patch_embedding": {
        embed_padded: "leave `padding` out",
        embed_channels_last: "laid flat as (p q c)",
        embed_bias_on_the_wrong_axis: "where D is not the last axis",
        embed_by_unfold_without_transpose: "features before patches",
        embed_by_a_new_convolution: "a new nn.Conv2d",
    },
}

EQUIVALENT = {
    "patchify": """
        What is made here asks for no gradient, and the reshape brings sizes of 1 back.
            cut_by_a_convolution: pick = torch.eye(C * P * P, dtype=x.dtype).unflatten(1, (C, P, P)) ⇒ pick = torch.eye(C * P * P, dtype=x.dtype).unflatten(1, (C, P, P)).detach()
            patchify: together = split.permute(0, 2, 4, 1, 3, 5) ⇒ together = split.permute(0, 2, 4, 1, 3, 5).squeeze()
        """,
    "unpatchify": """
        What is made here asks for no gradient, and the reshape brings sizes of 1 back.
            joined_by_a_transposed_convolution: place = torch.eye(width, dtype=patches.dtype).reshape(width, in_chans, P, P) ⇒ place = torch.eye(width, dtype=patches.dtype).reshape(width, in_chans, P, P).detach()
            joined_in_place: image = patches.new_zeros(B, in_chans, gh * P, gw * P) ⇒ image = patches.new_zeros(B, in_chans, gh * P, gw * P).detach()
            unpatchify: split = together.permute(0, 3, 1, 4, 2, 5) ⇒ split = together.permute(0, 3, 1, 4, 2, 5).squeeze()
        gh follows from gw and N, and gw from gh.
            joined_by_einops: return einops.rearrange(patches, 'b (h w) (c p q) -> b c (h p) (w q)', h=h, w=w, c=in_chans, p=p) ⇒ return einops.rearrange(patches, 'b (h w) (c p q) -> b c (h p) (w q)', w=w, c=in_chans, p=p)
            joined_by_einops: return einops.rearrange(patches, 'b (h w) (c p q) -> b c (h p) (w q)', h=h, w=w, c=in_chans, p=p) ⇒ return einops.rearrange(patches, 'b (h w) (c p q) -> b c (h p) (w q)', h=h, c=in_chans, p=p)
        A list, a tuple or a torch.Size, a tensor of one whole number: PyTorch takes each; and these roots are exact.
            joined_by_a_transposed_convolution: return F.conv_transpose2d(patches.mT.unflatten(2, tuple(grid_size)), place, stride=P) ⇒ return F.conv_transpose2d(patches.mT.unflatten(2, grid_size), place, stride=P)
            joined_by_moving_axes: P = torch.tensor(patches.shape[-1] / in_chans).sqrt().round().int().item() ⇒ P = torch.tensor(patches.shape[-1] / in_chans).sqrt().int().item()
            joined_by_moving_axes: P = torch.tensor(patches.shape[-1] / in_chans).sqrt().round().int().item() ⇒ P = torch.tensor(patches.shape[-1] / in_chans).sqrt().round().int()
        There are always four axes.
            joined_square_by_square: return torch.cat(rows, dim=-2) ⇒ return torch.cat(rows, dim=2)
        """,
    "linear_to_conv": """
        What is empty asks for no gradient, and its last two sizes are the same.
            filters_in_four_loops: filters = w.new_empty(len(w), c, p, p) ⇒ filters = w.new_empty(len(w), c, p, p).detach()
            filters_in_four_loops: filters = w.new_empty(len(w), c, p, p) ⇒ filters = w.new_empty(len(w), c, p, p).mT
        """,
    "patch_embedding": """
        The filters are square.
            patch_embedding: patches = patchify(images, weight.shape[-1]) ⇒ patches = patchify(images, weight.shape[-2])
            embed_by_convolution: x = F.conv2d(images, weight, bias, stride=weight.shape[2:]) ⇒ x = F.conv2d(images, weight, bias, stride=weight.shape[3:])
            embed_by_unfold: P = weight.shape[-1] ⇒ P = weight.shape[-2]
            embed_by_einsum: P = weight.shape[-1] ⇒ P = weight.shape[-2]
            embed_one_image_at_a_time: P = weight.shape[-1] ⇒ P = weight.shape[-2]
            embed_square_by_square: P = w.shape[-1] ⇒ P = w.shape[-2]
            embed_by_our_pieces: patches = patchify(images, patch_size=weight.shape[-1]) ⇒ patches = patchify(images, patch_size=weight.shape[-2])
            embed_by_a_module: D, C, P, _ = weight.shape ⇒ D, C, _, P = weight.shape
        The module's own weights are never used: its stride is all that counts.
            embed_by_a_module: conv = torch.nn.Conv2d(C, D, P, P, device=images.device, dtype=images.dtype) ⇒ conv = torch.nn.Conv2d(C, P, D, P, device=images.device, dtype=images.dtype)
            embed_by_a_module: conv = torch.nn.Conv2d(C, D, P, P, device=images.device, dtype=images.dtype) ⇒ conv = torch.nn.Conv2d(D, C, P, P, device=images.device, dtype=images.dtype)
            embed_by_a_module: conv = torch.nn.Conv2d(C, D, P, P, device=images.device, dtype=images.dtype) ⇒ conv = torch.nn.Conv2d(C, D, P, P, dtype=images.dtype)
            embed_by_a_module: conv = torch.nn.Conv2d(C, D, P, P, device=images.device, dtype=images.dtype) ⇒ conv = torch.nn.Conv2d(C, D, P, P, device=images.device)
        """,
}
