"""Answers to the exercises of chapter 04, as readers write them.

RIGHT: implementations other than the chapter's own. WRONG: plausible mistakes, each with words of the
hint that it must get. They are written as a reader would, not as the records imitate them.
"""

import math

import einops
import torch
import torch.nn.functional as F

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


def cut_by_bare_reshape(images, patch_size):
    B, C, H, W = images.shape
    N = (H // patch_size) * (W // patch_size)
    return images.view(B, N, C * patch_size * patch_size)


def cut_with_channels_last(images, patch_size):
    B, C, H, W = images.shape
    P = patch_size
    x = images.reshape(B, C, H // P, P, W // P, P)
    x = torch.einsum("bchpwq->bhwpqc", x)
    return x.reshape(B, -1, P * P * C)


def cut_column_by_column(images, patch_size):
    patches = []
    for left in range(0, images.shape[3], patch_size):
        for top in range(0, images.shape[2], patch_size):
            square = images[:, :, top : top + patch_size, left : left + patch_size]
            patches.append(square.flatten(1))
    return torch.stack(patches, dim=1)


def cut_with_transposed_patches(images, patch_size):
    B, C, H, W = images.shape
    P = patch_size
    x = images.reshape(B, C, H // P, P, W // P, P).permute(0, 2, 4, 1, 5, 3)
    return x.reshape(B, -1, C * P * P)


def cut_from_transposed_images(images, patch_size):
    return cut_by_slices(images.transpose(2, 3), patch_size)


def cut_with_grid_swapped(images, patch_size):
    B, C, H, W = images.shape
    gw, gh = H // patch_size, W // patch_size
    x = images.reshape(B, C, gh, patch_size, gw, patch_size)
    return x.permute(0, 2, 4, 1, 3, 5).reshape(B, gh * gw, -1)


def cut_with_pixels_before_pieces(images, patch_size):
    B, C, H, W = images.shape
    P = patch_size
    x = images.reshape(B, C, P, H // P, P, W // P)
    return x.permute(0, 3, 5, 1, 2, 4).reshape(B, -1, C * P * P)


def cut_with_unfolds_alone(images, patch_size):
    B, C = images.shape[:2]
    windows = images.unfold(2, patch_size, patch_size).unfold(3, patch_size, patch_size)
    return windows.reshape(B, -1, C * patch_size**2)


def cut_each_channel(images, patch_size):
    B, C, H, W = images.shape
    P = patch_size
    x = images.reshape(B, C, H // P, P, W // P, P).transpose(3, 4)
    return x.reshape(B, -1, P * P)


def cut_with_patches_in_columns(images, patch_size):
    return cut_by_slices(images, patch_size).transpose(1, 2)


def cut_keeping_the_grid(images, patch_size):
    B, C, H, W = images.shape
    P = patch_size
    x = images.reshape(B, C, H // P, P, W // P, P).permute(0, 2, 4, 1, 3, 5)
    return x.flatten(3)


def cut_not_laid_flat(images, patch_size):
    B, C, H, W = images.shape
    P = patch_size
    x = images.reshape(B, C, H // P, P, W // P, P).permute(0, 2, 4, 1, 3, 5)
    return x.flatten(1, 2)


def cut_with_a_square_grid(images, patch_size):
    B, C, H, _ = images.shape
    P = patch_size
    g = H // P
    x = images.reshape(B, C, g, P, g, P)
    x = x.permute(0, 2, 4, 1, 3, 5)
    return x.reshape(B, g * g, C * P * P)


def cut_and_viewed(images, patch_size):
    B, C, H, W = images.shape
    P = patch_size
    x = images.view(B, C, H // P, P, W // P, P)
    x = x.permute(0, 2, 4, 1, 3, 5)
    return x.view(B, -1, C * P * P)


def cut_as_if_channels_last(images, patch_size):
    B, H, W, C = images.shape
    P = patch_size
    x = images.reshape(B, H // P, P, W // P, P, C)
    x = x.permute(0, 1, 3, 5, 2, 4)
    return x.reshape(B, -1, C * P * P)


def cut_with_rows_between_the_grid(images, patch_size):
    B, C, H, W = images.shape
    P = patch_size
    x = torch.einsum("bchpwq->bhpcwq", images.reshape(B, C, H // P, P, W // P, P))
    return x.reshape(B, (H // P) * (W // P), C * P * P)


def cut_with_unpatchifys_permute(images, patch_size):
    B, C, H, W = images.shape
    P = patch_size
    x = images.reshape(B, C, H // P, P, W // P, P).permute(0, 3, 1, 4, 2, 5)
    return x.reshape(B, (H // P) * (W // P), C * P * P)


def cut_with_the_chapters_size(images, patch_size):
    P = 32  # in the notebook it is a global
    B, C, H, W = images.shape
    gh, gw = H // P, W // P
    x = images.reshape(B, C, gh, P, gw, P)
    return x.permute(0, 2, 4, 1, 3, 5).reshape(B, gh * gw, C * P * P)


def cut_into_three_channels(images, patch_size):
    B, _, H, W = images.shape
    h, w = H // patch_size, W // patch_size
    x = images.reshape(B, 3, h, patch_size, w, patch_size)
    return x.permute(0, 2, 4, 1, 3, 5).reshape(B, h * w, -1)


def cut_and_joined_for_three_channels(images, patch_size):
    B, C, H, W = images.shape
    h, w = H // patch_size, W // patch_size
    x = images.reshape(B, C, h, patch_size, w, patch_size)
    return x.permute(0, 2, 4, 1, 3, 5).reshape(B, h * w, 3 * patch_size**2)


def cut_for_three_channels_and_any_number(images, patch_size):
    B, C, H, W = images.shape
    x = images.reshape(B, C, H // patch_size, patch_size, W // patch_size, patch_size)
    x = torch.einsum("bchpwq->bhwcpq", x)
    return x.reshape(B, -1, 3 * patch_size * patch_size)


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


def joined_by_bare_reshape(patches, grid_size, in_chans=3):
    gh, gw = grid_size
    P = math.isqrt(patches.shape[-1] // in_chans)
    return patches.reshape(len(patches), in_chans, gh * P, gw * P)


def joined_with_grid_swapped(patches, grid_size, in_chans=3):
    gw, gh = grid_size
    B = patches.shape[0]
    P = math.isqrt(patches.shape[-1] // in_chans)
    x = patches.reshape(B, gh, gw, in_chans, P, P)
    return torch.einsum("bhwcpq->bchpwq", x).reshape(B, in_chans, gh * P, gw * P)


def joined_as_if_channels_last(patches, grid_size, in_chans=3):
    gh, gw = grid_size
    B = patches.shape[0]
    P = math.isqrt(patches.shape[-1] // in_chans)
    x = patches.reshape(B, gh, gw, P, P, in_chans)
    return torch.einsum("bhwpqc->bchpwq", x).reshape(B, in_chans, gh * P, gw * P)


def joined_column_by_column(patches, grid_size, in_chans=3):
    gh, gw = grid_size
    B = patches.shape[0]
    P = math.isqrt(patches.shape[-1] // in_chans)
    x = patches.reshape(B, gw, gh, in_chans, P, P)
    return x.permute(0, 3, 2, 4, 1, 5).reshape(B, in_chans, gh * P, gw * P)


def joined_with_transposed_patches(patches, grid_size, in_chans=3):
    gh, gw = grid_size
    B = patches.shape[0]
    P = math.isqrt(patches.shape[-1] // in_chans)
    x = patches.reshape(B, gh, gw, in_chans, P, P)
    return x.permute(0, 3, 1, 5, 2, 4).reshape(B, in_chans, gh * P, gw * P)


def joined_channels_moved_only(patches, grid_size, in_chans=3):
    gh, gw = grid_size
    P = math.isqrt(patches.shape[-1] // in_chans)
    x = patches.reshape(-1, gh, gw, in_chans, P, P).movedim(3, 1)
    return x.reshape(-1, in_chans, gh * P, gw * P)


def joined_with_patchifys_permute(patches, grid_size, in_chans=3):
    gh, gw = grid_size
    P = math.isqrt(patches.shape[-1] // in_chans)
    x = patches.reshape(-1, gh, gw, in_chans, P, P).permute(0, 2, 4, 1, 3, 5)
    return x.reshape(-1, in_chans, gh * P, gw * P)


def joined_with_grid_axes_swapped(patches, grid_size, in_chans=3):
    gh, gw = grid_size
    P = math.isqrt(patches.shape[-1] // in_chans)
    x = torch.einsum("bhwcpq->bcwphq", patches.reshape(-1, gh, gw, in_chans, P, P))
    return x.reshape(-1, in_chans, gh * P, gw * P)


def joined_channels_left_behind(patches, grid_size, in_chans=3):
    gh, gw = grid_size
    P = math.isqrt(patches.shape[-1] // in_chans)
    x = patches.reshape(-1, gh, gw, in_chans, P, P).transpose(2, 4)  # (B, gh, P, C, gw, Q)
    return x.reshape(-1, in_chans, gh * P, gw * P)


def joined_channels_at_the_end(patches, grid_size, in_chans=3):
    gh, gw = grid_size
    P = math.isqrt(patches.shape[-1] // in_chans)
    x = torch.einsum("bhwcpq->bhpwqc", patches.reshape(-1, gh, gw, in_chans, P, P))
    return x.reshape(-1, gh * P, gw * P, in_chans)


def joined_channels_at_the_end_then_forced(patches, grid_size, in_chans=3):
    gh, gw = grid_size
    P = math.isqrt(patches.shape[-1] // in_chans)
    x = torch.einsum("bhwcpq->bhpwqc", patches.reshape(-1, gh, gw, in_chans, P, P))
    return x.reshape(-1, in_chans, gh * P, gw * P)


def joined_pixels_before_pieces(patches, grid_size, in_chans=3):
    gh, gw = grid_size
    P = math.isqrt(patches.shape[-1] // in_chans)
    x = torch.einsum("bhwcpq->bcphqw", patches.reshape(-1, gh, gw, in_chans, P, P))
    return x.reshape(-1, in_chans, gh * P, gw * P)


def joined_root_of_everything(patches, grid_size, in_chans=3):
    B, _, width = patches.shape
    gh, gw = grid_size
    P = int(math.sqrt(width))
    x = patches.reshape(B, gh, gw, in_chans, P, P)
    return x.permute(0, 3, 1, 4, 2, 5).reshape(B, in_chans, gh * P, gw * P)


def joined_without_a_root(patches, grid_size, in_chans=3):
    B, _, width = patches.shape
    gh, gw = grid_size
    P = width // in_chans
    x = patches.reshape(B, gh, gw, in_chans, P, P)
    return x.permute(0, 3, 1, 4, 2, 5).reshape(B, in_chans, gh * P, gw * P)


def joined_with_the_chapters_size(patches, grid_size, in_chans=3):
    P = 32  # in the notebook it is a global
    gh, gw = grid_size
    B = patches.shape[0]
    x = patches.reshape(B, gh, gw, in_chans, P, P)
    return x.permute(0, 3, 1, 4, 2, 5).reshape(B, in_chans, gh * P, gw * P)


def joined_with_a_float(patches, grid_size, in_chans=3):
    B, _, width = patches.shape
    gh, gw = grid_size
    P = (width / in_chans) ** 0.5
    x = patches.reshape(B, gh, gw, in_chans, P, P)
    return x.permute(0, 3, 1, 4, 2, 5).reshape(B, in_chans, gh * P, gw * P)


def joined_with_three_channels(patches, grid_size, in_chans=3):
    B, _, width = patches.shape
    gh, gw = grid_size
    P = round((width / 3) ** 0.5)
    x = patches.reshape(B, gh, gw, 3, P, P)
    return x.permute(0, 3, 1, 4, 2, 5).reshape(B, 3, gh * P, gw * P)


def joined_and_viewed(patches, grid_size, in_chans=3):
    B, _, width = patches.shape
    gh, gw = grid_size
    P = round((width / in_chans) ** 0.5)
    x = patches.view(B, gh, gw, in_chans, P, P)
    return x.permute(0, 3, 1, 4, 2, 5).view(B, in_chans, gh * P, gw * P)


# --- linear_to_conv ------------------------------------------------------------------------------


def filters_by_unflatten(weight, in_chans, patch_size):
    return weight.unflatten(1, (in_chans, patch_size, patch_size))


def filters_one_by_one(weight, in_chans, patch_size):
    return torch.stack([row.view(in_chans, patch_size, patch_size) for row in weight])


def filters_by_einops(weight, in_chans, patch_size):
    return einops.rearrange(weight, "D (c p q) -> D c p q", c=in_chans, p=patch_size)


def filters_from_pqc(weight, in_chans, patch_size):
    return weight.reshape(-1, patch_size, patch_size, in_chans).permute(0, 3, 1, 2)


def filters_channels_last(weight, in_chans, patch_size):
    return weight.view(-1, patch_size, patch_size, in_chans)


def filters_moved_channels_last(weight, in_chans, patch_size):
    return weight.view(-1, in_chans, patch_size, patch_size).movedim(1, -1)


def filters_after_transposing(weight, in_chans, patch_size):
    D = weight.shape[0]
    return weight.transpose(0, 1).reshape(D, in_chans, patch_size, patch_size)


def filters_from_input_first(weight, in_chans, patch_size):
    D = weight.shape[0]
    return torch.einsum("cpqd->dcpq", weight.view(in_chans, patch_size, patch_size, D))


def filters_transposed(weight, in_chans, patch_size):
    return weight.view(-1, in_chans, patch_size, patch_size).transpose(2, 3)


def filters_flipped(weight, in_chans, patch_size):
    return torch.flip(weight.view(-1, in_chans, patch_size, patch_size), dims=(2, 3))


def filters_in_and_out_swapped(weight, in_chans, patch_size):
    return weight.view(-1, in_chans, patch_size, patch_size).transpose(0, 1)


def filters_for_three_channels(weight, in_chans, patch_size):
    return weight.reshape(-1, 3, patch_size, patch_size)


def filters_for_three_channels_and_all_rows(weight, in_chans, patch_size):
    D = weight.shape[0]
    return weight.reshape(D, 3, patch_size, patch_size)


def filters_as_many_as_in_the_figure(weight, in_chans, patch_size):
    return weight.view(5, in_chans, patch_size, patch_size)


def filters_as_many_as_in_the_cell_above(weight, in_chans, patch_size):
    D = 40  # in the notebook it is a global
    return weight.reshape(D, in_chans, patch_size, patch_size)


def filters_as_many_as_before(weight, in_chans, patch_size):
    return weight.reshape(50, in_chans, patch_size, patch_size)


def filters_still_flat(weight, in_chans, patch_size):
    return weight.reshape(len(weight), in_chans, -1)


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


def embed_without_transpose(images, weight, bias):
    P = weight.shape[-1]
    return F.conv2d(images, weight, bias, stride=P).flatten(2)


def embed_and_reshape(images, weight, bias):
    D, P = weight.shape[0], weight.shape[-1]
    x = F.conv2d(images, weight, bias, stride=P)
    return x.flatten(2).reshape(images.shape[0], -1, D)


def embed_column_by_column(images, weight, bias):
    P = weight.shape[-1]
    x = F.conv2d(images, weight, bias, stride=P)
    return x.permute(0, 3, 2, 1).flatten(1, 2)


def embed_without_bias(images, weight, bias):
    P = weight.shape[-1]
    return F.unfold(images, P, stride=P).mT @ weight.flatten(1).T


def embed_channels_last(images, weight, bias):
    B, C, H, W = images.shape
    P = weight.shape[-1]
    x = images.permute(0, 2, 3, 1).reshape(B, H // P, P, W // P, P, C)
    patches = x.transpose(2, 3).reshape(B, -1, P * P * C)
    return patches @ weight.flatten(1).T + bias


def embed_transposed_patches(images, weight, bias):
    P = weight.shape[-1]
    x = F.conv2d(images, weight.transpose(2, 3), bias, stride=P)
    return x.flatten(2).mT


def embed_slices_of_rows(images, weight, bias):
    P = weight.shape[-1]
    B, C, H, W = images.shape
    patches = images.reshape(B, (H // P) * (W // P), C * P * P)
    return patches @ weight.flatten(1).T + bias


def embed_keeping_the_grid(images, weight, bias):
    P = weight.shape[-1]
    return F.conv2d(images, weight, bias, stride=P).movedim(1, -1)


def embed_as_an_image(images, weight, bias):
    return F.conv2d(images, weight, bias, stride=weight.shape[-1])


def embed_without_stride(images, weight, bias):
    x = F.conv2d(images, weight, bias)
    return x.flatten(2).transpose(1, 2)


# The check puts a correct one in place of this.
patchify = None


def embed_with_weight_reshaped(images, weight, bias):
    D, C, P, _ = weight.shape
    return patchify(images, P) @ weight.reshape(C * P * P, D) + bias


def embed_with_weight_untransposed(images, weight, bias):
    return patchify(images, weight.shape[-1]) @ weight.flatten(1) + bias


def embed_with_weight_not_flat(images, weight, bias):
    return F.linear(patchify(images, weight.shape[-1]), weight, bias)


def embed_bias_on_the_wrong_axis(images, weight, bias):
    x = F.conv2d(images, weight, stride=weight.shape[-1])
    x = x.flatten(2) + bias
    return x.transpose(1, 2)


def embed_with_flipped_filters(images, weight, bias):
    x = F.conv2d(images, weight.flip(2).flip(3), bias, stride=weight.shape[-1])
    return x.flatten(2).transpose(1, 2)


def embed_by_unfold_without_transpose(images, weight, bias):
    P = weight.shape[-1]
    return F.linear(F.unfold(images, P, stride=P), weight.flatten(1), bias)


def embed_by_a_new_layer(images, weight, bias):
    D, C, P, _ = weight.shape
    layer = torch.nn.Linear(C * P * P, D)
    return layer(patchify(images, P))


def embed_by_a_new_convolution(images, weight, bias):
    D, C, P, _ = weight.shape
    conv = torch.nn.Conv2d(C, D, kernel_size=P, stride=P)
    x = conv(images)
    return x.flatten(2).mT


def embed_with_the_wrong_size(images, weight, bias):
    P = weight.shape[1]
    return patchify(images, P) @ weight.flatten(1).T + bias


def embed_with_the_wrong_stride(images, weight, bias):
    x = F.conv2d(images, weight, bias, stride=weight.shape[1])
    return x.flatten(2).mT


def embed_with_a_fixed_stride(images, weight, bias):
    return F.conv2d(images, weight, bias, stride=16).flatten(2).mT


def embed_with_patches_of_16(images, weight, bias):
    return patchify(images, 16) @ weight.flatten(1).T + bias


def embed_with_the_chapters_size(images, weight, bias):
    P = 32  # in the notebook it is a global
    return F.linear(patchify(images, P), weight.flatten(1), bias)


def embed_with_bias_twice(images, weight, bias):
    x = F.conv2d(images, weight, bias, stride=weight.shape[-1])
    return x.flatten(2).mT + bias


RIGHT = {
    "patchify": (cut_by_einops, cut_by_slices, cut_by_tensor_unfold, cut_by_chunks),
    "unpatchify": (joined_square_by_square, joined_by_einops, joined_in_place),
    "linear_to_conv": (filters_by_unflatten, filters_one_by_one, filters_by_einops),
    "patch_embedding": (embed_by_convolution, embed_by_unfold, embed_by_einsum, embed_by_a_module),
}

WRONG = {
    "patchify": {
        cut_by_bare_reshape: "nothing has moved",
        cut_with_channels_last: "lie as (p q c)",
        cut_column_by_column: "the patches come column by column",
        cut_with_transposed_patches: "each patch is transposed",
        cut_from_transposed_images: "both the patches and what is inside",
        cut_with_grid_swapped: "the height into gw pieces",
        cut_with_pixels_before_pieces: "every g-th pixel",
        cut_with_unfolds_alone: "the channels stay in front",
        cut_each_channel: "separate patches of each channel",
        cut_with_patches_in_columns: "last two axes are swapped",
        cut_keeping_the_grid: "the grid is still there",
        cut_not_laid_flat: "not laid flat",
        cut_with_a_square_grid: "from the height",
        cut_with_rows_between_the_grid: "from a whole row of squares",
        cut_with_unpatchifys_permute: "as `unpatchify` will",
        cut_with_the_chapters_size: "P is `patch_size`",
        cut_into_three_channels: "3 channels where you split",
        cut_and_joined_for_three_channels: "3 channels where you join",
        cut_for_three_channels_and_any_number: "leave N to the reshape",
        cut_and_viewed: "view cannot join",
        cut_as_if_channels_last: "(B, height, width, C)",
    },
    "unpatchify": {
        joined_by_bare_reshape: "nothing has moved",
        joined_with_grid_swapped: "rows and columns of the grid",
        joined_as_if_channels_last: "a patch as (p q c)",
        joined_column_by_column: "you take the patches column by column",
        joined_with_transposed_patches: "each patch is transposed",
        joined_channels_moved_only: "are not joined with the rows of the patch",
        joined_with_patchifys_permute: "you permute as `patchify` does",
        joined_with_grid_axes_swapped: "gh and gw have changed places",
        joined_channels_left_behind: "C stays behind gh and P",
        joined_channels_at_the_end: "the channels come last",
        joined_channels_at_the_end_then_forced: "have not moved to the front",
        joined_pixels_before_pieces: "scatters every patch",
        joined_root_of_everything: "divide by in_chans first",
        joined_without_a_root: "take no root",
        joined_with_the_chapters_size: "the chapter's P = 32",
        joined_with_a_float: "P is a float",
        joined_with_three_channels: "count on 3 channels",
        joined_and_viewed: "view cannot join",
    },
    "linear_to_conv": {
        filters_from_pqc: "read a row as (p q c)",
        filters_channels_last: "F.conv2d wants (D, C, P, P)",
        filters_moved_channels_last: "moved there",
        filters_after_transposing: "you transpose `weight` first",
        filters_from_input_first: "as (C·P·P, D)",
        filters_transposed: "each filter is transposed",
        filters_flipped: "flip the filters",
        filters_in_and_out_swapped: "D and C are swapped",
        filters_for_three_channels: "count on 3 channels:",
        filters_for_three_channels_and_all_rows: "3 channels and D rows",
        filters_as_many_as_in_the_figure: "5 filters",
        filters_as_many_as_in_the_cell_above: "40 filters",
        filters_as_many_as_before: "50 filters",
        filters_still_flat: "still flat",
    },
    "patch_embedding": {
        embed_without_transpose: "the result is (B, D, N)",
        embed_and_reshape: "straight to (B, N, D)",
        embed_column_by_column: "column by column",
        embed_without_bias: "`bias` is missing",
        embed_channels_last: "laid flat as (p q c)",
        embed_transposed_patches: "columns come before the rows",
        embed_slices_of_rows: "bare reshape",
        embed_keeping_the_grid: "the grid is still there",
        embed_as_an_image: "the convolution's image",
        embed_without_stride: "the stride must be P",
        embed_with_weight_reshaped: "mixes the filters",
        embed_with_weight_untransposed: "C·P·P meets C·P·P",
        embed_with_weight_not_flat: "the weight has four axes",
        embed_bias_on_the_wrong_axis: "where D is not the last axis",
        embed_with_flipped_filters: "flip the filters",
        embed_by_unfold_without_transpose: "features before patches",
        embed_by_a_new_layer: "a new nn.Linear",
        embed_by_a_new_convolution: "a new nn.Conv2d",
        embed_with_the_wrong_size: "cut with weight.shape[1]",
        embed_with_the_wrong_stride: "your stride is weight.shape[1]",
        embed_with_a_fixed_stride: "a fixed number",
        embed_with_patches_of_16: "patches of 16 pixels",
        embed_with_the_chapters_size: "patches of 32 pixels",
        embed_with_bias_twice: "`bias` twice",
    },
}
