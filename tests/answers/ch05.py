"""Answers to the exercises of chapter 05, as readers write them.

RIGHT: implementations other than the chapter's own. WRONG: plausible mistakes, each with words of the
hint that it must get. They are written as a reader would, not as the records imitate them.
"""

import math

import einops
import numpy as np
import torch
import torch.nn.functional as F

# --- prepend_class_token -------------------------------------------------------------------------


def prepend_by_repeat(tokens, cls_token):
    B = tokens.shape[0]
    return torch.cat((cls_token.repeat(B, 1, 1), tokens), 1)


def prepend_by_filling(tokens, cls_token):
    B, N, D = tokens.shape
    result = tokens.new_empty(B, N + 1, D)
    result[:, :1] = cls_token
    result[:, 1:] = tokens
    return result


def prepend_by_einops(tokens, cls_token):
    front = einops.repeat(cls_token, "1 1 D -> B 1 D", B=len(tokens))
    return einops.pack([front, tokens], "B * D")[0]


def prepend_image_by_image(tokens, cls_token):
    return torch.stack([torch.vstack([cls_token[0], image]) for image in tokens])


def prepend_without_expand(tokens, cls_token):
    return torch.cat([cls_token, tokens], dim=1)


def prepend_without_expand_at_the_end(tokens, cls_token):
    return torch.cat([tokens, cls_token], dim=1)


def prepend_to_the_batch(tokens, cls_token):
    return torch.cat((cls_token, tokens))


def prepend_to_the_features(tokens, cls_token):
    B, _, _ = tokens.shape
    return torch.cat([cls_token.repeat(B, 1, 1), tokens], dim=2)


def append_class_token(tokens, cls_token):
    B = tokens.size(0)
    return torch.cat([tokens, cls_token.expand(B, 1, -1)], dim=1)


def add_class_token(tokens, cls_token):
    return cls_token + tokens


def glue_to_every_token(tokens, cls_token):
    B, N, D = tokens.shape
    return torch.cat([cls_token.expand(B, N, D), tokens], dim=2)


def prepend_n_times(tokens, cls_token):
    B, N, _ = tokens.shape
    return torch.cat([cls_token.repeat(B, N, 1), tokens], dim=1)


def overwrite_first_patch(tokens, cls_token):
    tokens[:, 0, :] = cls_token[0, 0]
    return tokens


def replace_first_patch(tokens, cls_token):
    B = tokens.shape[0]
    return torch.cat([cls_token.expand(B, -1, -1), tokens[:, 1:]], dim=1)


def prepend_to_first_image_only(tokens, cls_token):
    B, _, D = tokens.shape
    front = torch.zeros(B, 1, D, dtype=tokens.dtype)
    front[0] = cls_token[0]
    return torch.cat([front, tokens], dim=1)


def prepend_the_mean(tokens, cls_token):
    return torch.cat([tokens.mean(dim=1).unsqueeze(1), tokens], dim=1)


def prepend_fresh_zeros(tokens, cls_token):
    B, _, D = tokens.shape
    cls = torch.zeros(B, 1, D, dtype=tokens.dtype)
    return torch.cat([cls, tokens], dim=1)


def prepend_in_float32(tokens, cls_token):
    B, N, D = tokens.shape
    result = torch.empty(B, N + 1, D)
    result[:, 0] = cls_token[0, 0]
    result[:, 1:] = tokens
    return result


def prepend_to_five(tokens, cls_token):
    return torch.cat([cls_token.expand(5, -1, -1), tokens], dim=1)


def prepend_cut_off(tokens, cls_token):
    return torch.cat([cls_token.detach().expand(len(tokens), -1, -1), tokens], dim=1)


def prepend_a_new_parameter(tokens, cls_token):
    cls = torch.nn.Parameter(cls_token.expand(tokens.shape[0], -1, -1).clone())
    return torch.cat([cls, tokens], dim=1)


# --- sincos_pos_embed_2d -------------------------------------------------------------------------


def sincos_by_meshgrid(grid_size, embed_dim, temperature=10_000.0):
    gh, gw = grid_size
    rows, cols = torch.meshgrid(torch.arange(gh), torch.arange(gw), indexing="ij")
    omega = torch.arange(embed_dim // 4, dtype=torch.float64) / (embed_dim / 4)
    omega = 1.0 / temperature**omega
    parts = []
    for place in (cols, rows):
        angle = torch.einsum("n,k->nk", place.flatten().double(), omega)
        parts += [torch.sin(angle), torch.cos(angle)]
    return torch.cat(parts, dim=1).float()


def sincos_by_loops(grid_size, embed_dim, temperature=10_000.0):
    quarter = embed_dim // 4
    speeds = [math.exp(-math.log(temperature) * k / quarter) for k in range(quarter)]
    table = []
    for row in range(grid_size[0]):
        for col in range(grid_size[1]):
            angles = ([col * s for s in speeds], [row * s for s in speeds])
            table.append([f(a) for half in angles for f in (math.sin, math.cos) for a in half])
    return torch.tensor(table)


def sincos_by_numpy(grid_size, embed_dim, temperature=10_000.0):
    gh, gw = grid_size
    omega = 1 / temperature ** (np.arange(embed_dim // 4) / (embed_dim // 4))
    one = [
        np.concatenate([np.sin(np.outer(np.arange(g), omega)), np.cos(np.outer(np.arange(g), omega))], 1)
        for g in (gw, gh)
    ]
    col, row = np.tile(one[0], (gh, 1)), np.repeat(one[1], gw, axis=0)
    return torch.from_numpy(np.concatenate([col, row], 1)).float()


def _one_axis(place, dim, temperature):
    omega = temperature ** -(torch.arange(dim // 2, dtype=torch.float64) / (dim // 2))
    angle = place.flatten().double()[:, None] * omega
    return torch.cat([angle.sin(), angle.cos()], dim=1)


def _places(grid_size, indexing="ij"):
    return torch.meshgrid(torch.arange(grid_size[0]), torch.arange(grid_size[1]), indexing=indexing)


def sincos_rows_first(grid_size, embed_dim, temperature=10_000.0):
    gh, gw = grid_size
    omega = temperature ** -(torch.arange(embed_dim // 4) / (embed_dim // 4))
    rows = torch.arange(gh).repeat_interleave(gw)[:, None] * omega
    cols = torch.arange(gw).repeat(gh)[:, None] * omega
    return torch.cat([rows.sin(), rows.cos(), cols.sin(), cols.cos()], dim=1)


def sincos_in_column_order(grid_size, embed_dim, temperature=10_000.0):
    rows, cols = _places(grid_size, indexing="xy")
    halves = [_one_axis(place, embed_dim // 2, temperature) for place in (cols, rows)]
    return torch.cat(halves, dim=1).float()


def sincos_grid_swapped(grid_size, embed_dim, temperature=10_000.0):
    gw, gh = grid_size
    omega = temperature ** -(torch.arange(embed_dim // 4) / (embed_dim // 4))
    rows = torch.arange(gh).repeat_interleave(gw)[:, None] * omega
    cols = torch.arange(gw).repeat(gh)[:, None] * omega
    return torch.cat([cols.sin(), cols.cos(), rows.sin(), rows.cos()], dim=1)


def sincos_in_turn(grid_size, embed_dim, temperature=10_000.0):
    rows, cols = _places(grid_size)
    table = torch.zeros(rows.numel(), embed_dim)
    for start, place in ((0, cols), (embed_dim // 2, rows)):
        half = _one_axis(place, embed_dim // 2, temperature).float()
        table[:, start : start + embed_dim // 2 : 2] = half[:, : embed_dim // 4]
        table[:, start + 1 : start + embed_dim // 2 : 2] = half[:, embed_dim // 4 :]
    return table


def sincos_cosines_first(grid_size, embed_dim, temperature=10_000.0):
    sin_c, cos_c, sin_r, cos_r = sincos_by_meshgrid(grid_size, embed_dim, temperature).chunk(4, dim=1)
    return torch.cat([cos_c, sin_c, cos_r, sin_r], dim=1)


def sincos_sines_together(grid_size, embed_dim, temperature=10_000.0):
    rows, cols = (place.flatten()[:, None] for place in _places(grid_size))
    omega = temperature ** -(torch.arange(embed_dim // 4) / (embed_dim // 4))
    return torch.cat([(cols * omega).sin(), (rows * omega).sin(), (cols * omega).cos(), (rows * omega).cos()], dim=-1)


def sincos_divided_by_half(grid_size, embed_dim, temperature=10_000.0):
    rows, cols = (place.flatten()[:, None] for place in _places(grid_size))
    k = torch.arange(embed_dim // 4)
    omega = 1 / temperature ** (2 * k / embed_dim)
    return torch.cat([(cols * omega).sin(), (cols * omega).cos(), (rows * omega).sin(), (rows * omega).cos()], dim=1)


def sincos_divided_by_all(grid_size, embed_dim, temperature=10_000.0):
    rows, cols = (place.flatten()[:, None] for place in _places(grid_size))
    k = torch.arange(embed_dim // 4)
    omega = 1 / temperature ** (k / embed_dim)
    return torch.cat([(cols * omega).sin(), (cols * omega).cos(), (rows * omega).sin(), (rows * omega).cos()], dim=1)


def sincos_by_linspace(grid_size, embed_dim, temperature=10_000.0):
    rows, cols = (place.flatten()[:, None] for place in _places(grid_size))
    omega = temperature ** -torch.linspace(0, 1, embed_dim // 4)
    return torch.cat([(cols * omega).sin(), (cols * omega).cos(), (rows * omega).sin(), (rows * omega).cos()], dim=1)


def sincos_with_its_own_temperature(grid_size, embed_dim, temperature=10_000.0):
    rows, cols = (place.flatten()[:, None] for place in _places(grid_size))
    omega = 10000 ** -(torch.arange(embed_dim // 4) / (embed_dim // 4))
    return torch.cat([(cols * omega).sin(), (cols * omega).cos(), (rows * omega).sin(), (rows * omega).cos()], dim=1)


def sincos_growing(grid_size, embed_dim, temperature=10_000.0):
    rows, cols = (place.flatten()[:, None] for place in _places(grid_size))
    omega = temperature ** (torch.arange(embed_dim // 4) / (embed_dim // 4))
    return torch.cat([(cols * omega).sin(), (cols * omega).cos(), (rows * omega).sin(), (rows * omega).cos()], dim=1)


def sincos_in_one_dimension(grid_size, embed_dim, temperature=10_000.0):
    gh, gw = grid_size
    return _one_axis(torch.arange(gh * gw), embed_dim, temperature).float()


def sincos_without_modulo(grid_size, embed_dim, temperature=10_000.0):
    gh, gw = grid_size
    n = torch.arange(gh * gw)
    halves = [_one_axis(place, embed_dim // 2, temperature) for place in (n, n // gw)]
    return torch.cat(halves, dim=1).float()


def sincos_from_one(grid_size, embed_dim, temperature=10_000.0):
    gh, gw = grid_size
    rows, cols = torch.meshgrid(torch.arange(1, gh + 1), torch.arange(1, gw + 1), indexing="ij")
    halves = [_one_axis(place, embed_dim // 2, temperature) for place in (cols, rows)]
    return torch.cat(halves, dim=1).float()


def sincos_on_the_unit_square(grid_size, embed_dim, temperature=10_000.0):
    gh, gw = grid_size
    rows, cols = _places(grid_size)
    halves = [_one_axis(place, embed_dim // 2, temperature) for place in (cols / gw, rows / gh)]
    return torch.cat(halves, dim=1).float()


def sincos_added(grid_size, embed_dim, temperature=10_000.0):
    rows, cols = _places(grid_size)
    half = embed_dim // 2
    return (_one_axis(cols, half, temperature) + _one_axis(rows, half, temperature)).float()


def sincos_columns_twice(grid_size, embed_dim, temperature=10_000.0):
    _, cols = _places(grid_size)
    halves = [_one_axis(place, embed_dim // 2, temperature) for place in (cols, cols)]
    return torch.cat(halves, dim=1).float()


def sincos_not_flat(grid_size, embed_dim, temperature=10_000.0):
    gh, gw = grid_size
    omega = temperature ** -(torch.arange(embed_dim // 4) / (embed_dim // 4))
    rows = (torch.arange(gh)[:, None] * omega)[:, None].expand(gh, gw, -1)
    cols = (torch.arange(gw)[:, None] * omega)[None].expand(gh, gw, -1)
    return torch.cat([cols.sin(), cols.cos(), rows.sin(), rows.cos()], dim=-1)


def sincos_on_its_side(grid_size, embed_dim, temperature=10_000.0):
    rows, cols = (place.flatten() for place in _places(grid_size))
    omega = temperature ** -(torch.arange(embed_dim // 4) / (embed_dim // 4))[:, None]
    return torch.cat([(omega * cols).sin(), (omega * cols).cos(), (omega * rows).sin(), (omega * rows).cos()])


def sincos_with_a_batch(grid_size, embed_dim, temperature=10_000.0):
    return sincos_by_meshgrid(grid_size, embed_dim, temperature).unsqueeze(0)


def sincos_in_float64(grid_size, embed_dim, temperature=10_000.0):
    rows, cols = _places(grid_size)
    halves = [_one_axis(place, embed_dim // 2, temperature) for place in (cols, rows)]
    return torch.cat(halves, dim=1)


# --- resample_pos_embed --------------------------------------------------------------------------


def resample_by_einops(pos_embed, new_grid_size, num_prefix_tokens=1):
    count = pos_embed.shape[1] - num_prefix_tokens
    prefix, patches = pos_embed.split([num_prefix_tokens, count], dim=1)
    picture = einops.rearrange(patches, "B (h w) D -> B D h w", h=math.isqrt(count))
    picture = F.interpolate(picture, tuple(new_grid_size), mode="bicubic", antialias=True, align_corners=False)
    return torch.cat([prefix, einops.rearrange(picture, "B D h w -> B (h w) D")], dim=1)


def resample_channel_by_channel(pos_embed, new_grid_size, num_prefix_tokens=1):
    gh, gw = new_grid_size
    prefix = pos_embed[0, :num_prefix_tokens]
    patches = pos_embed[0, num_prefix_tokens:]
    side = int(len(patches) ** 0.5)
    columns = []
    for channel in patches.T:
        new = F.interpolate(channel.view(1, 1, side, side), size=(gh, gw), mode="bicubic", antialias=True)
        columns.append(new.view(gh * gw))
    return torch.cat([prefix, torch.stack(columns, dim=1)])[None]


def resample_axis_by_axis(pos_embed, new_grid_size, num_prefix_tokens=1):
    prefix, patches = pos_embed[:, :num_prefix_tokens], pos_embed[:, num_prefix_tokens:]
    side = int(patches.shape[1] ** 0.5)
    picture = patches.mT.reshape(1, -1, side, side)
    picture = F.interpolate(picture, size=(new_grid_size[0], side), mode="bicubic", antialias=True)
    picture = F.interpolate(picture, size=(new_grid_size[0], new_grid_size[1]), mode="bicubic", antialias=True)
    return torch.cat([prefix, picture.permute(0, 2, 3, 1).flatten(1, 2)], dim=1)


def resample_prefix_and_all(pos_embed, new_grid_size, num_prefix_tokens=1):
    _, N, D = pos_embed.shape
    side = int(math.sqrt(N))
    picture = pos_embed.reshape(1, side, side, D).permute(0, 3, 1, 2)
    picture = F.interpolate(picture, size=new_grid_size, mode="bicubic", antialias=True)
    return picture.flatten(2).transpose(1, 2)


def resample_always_one(pos_embed, new_grid_size, num_prefix_tokens=1):
    cls, patches = pos_embed[:, :1], pos_embed[:, 1:]
    side = int(math.sqrt(patches.shape[1]))
    picture = patches.reshape(1, side, side, -1).permute(0, 3, 1, 2)
    picture = F.interpolate(picture, size=new_grid_size, mode="bicubic", antialias=True)
    return torch.cat([cls, picture.flatten(2).transpose(1, 2)], dim=1)


def resample_as_a_line(pos_embed, new_grid_size, num_prefix_tokens=1):
    N = num_prefix_tokens + math.prod(new_grid_size)
    return F.interpolate(pos_embed.transpose(1, 2), N, mode="linear").transpose(1, 2)


def resample_patches_as_a_line(pos_embed, new_grid_size, num_prefix_tokens=1):
    prefix, patches = pos_embed[:, :num_prefix_tokens], pos_embed[:, num_prefix_tokens:]
    patches = F.interpolate(patches.transpose(1, 2), size=math.prod(new_grid_size), mode="linear")
    return torch.cat([prefix, patches.transpose(1, 2)], dim=1)


def resample_reshape_only(pos_embed, new_grid_size, num_prefix_tokens=1):
    prefix, patches = pos_embed[:, :num_prefix_tokens], pos_embed[:, num_prefix_tokens:]
    _, N, D = patches.shape
    g = int(N**0.5)
    picture = F.interpolate(patches.reshape(1, D, g, g), size=new_grid_size, mode="bicubic", antialias=True)
    return torch.cat([prefix, picture.reshape(1, -1, D)], dim=1)


def resample_reshape_there(pos_embed, new_grid_size, num_prefix_tokens=1):
    prefix, patches = pos_embed[:, :num_prefix_tokens], pos_embed[:, num_prefix_tokens:]
    _, N, D = patches.shape
    g = int(N**0.5)
    picture = F.interpolate(patches.reshape(1, D, g, g), size=new_grid_size, mode="bicubic", antialias=True)
    return torch.cat([prefix, picture.permute(0, 2, 3, 1).reshape(1, -1, D)], dim=1)


def resample_reshape_back(pos_embed, new_grid_size, num_prefix_tokens=1):
    prefix, patches = pos_embed[:, :num_prefix_tokens], pos_embed[:, num_prefix_tokens:]
    _, N, D = patches.shape
    g = int(N**0.5)
    picture = patches.reshape(1, g, g, D).permute(0, 3, 1, 2)
    picture = F.interpolate(picture, size=new_grid_size, mode="bicubic", antialias=True)
    return torch.cat([prefix, picture.reshape(1, -1, D)], dim=1)


def _picture(pos_embed, num_prefix_tokens):
    prefix, patches = pos_embed[:, :num_prefix_tokens], pos_embed[:, num_prefix_tokens:]
    g = int(patches.shape[1] ** 0.5)
    return prefix, patches.transpose(1, 2).reshape(1, -1, g, g)


def _table(picture):
    return picture.permute(0, 2, 3, 1).flatten(1, 2)


def resample_without_prefix(pos_embed, new_grid_size, num_prefix_tokens=1):
    _, picture = _picture(pos_embed, num_prefix_tokens)
    return _table(F.interpolate(picture, size=new_grid_size, mode="bicubic", antialias=True))


def resample_prefix_last(pos_embed, new_grid_size, num_prefix_tokens=1):
    prefix, picture = _picture(pos_embed, num_prefix_tokens)
    picture = F.interpolate(picture, size=new_grid_size, mode="bicubic", antialias=True)
    return torch.cat([_table(picture), prefix], dim=1)


def resample_sides_swapped(pos_embed, new_grid_size, num_prefix_tokens=1):
    prefix, picture = _picture(pos_embed, num_prefix_tokens)
    width, height = new_grid_size
    picture = F.interpolate(picture, size=(height, width), mode="bicubic", antialias=True)
    return torch.cat([prefix, _table(picture)], dim=1)


def resample_on_its_side(pos_embed, new_grid_size, num_prefix_tokens=1):
    prefix, patches = pos_embed[:, :num_prefix_tokens], pos_embed[:, num_prefix_tokens:]
    g = int(patches.shape[1] ** 0.5)
    picture = patches.reshape(1, g, g, -1).permute(0, 3, 2, 1)
    picture = F.interpolate(picture, size=new_grid_size, mode="bicubic", antialias=True)
    return torch.cat([prefix, picture.permute(0, 2, 3, 1).flatten(1, 2)], dim=1)


def resample_back_on_its_side(pos_embed, new_grid_size, num_prefix_tokens=1):
    prefix, picture = _picture(pos_embed, num_prefix_tokens)
    picture = F.interpolate(picture, size=new_grid_size, mode="bicubic", antialias=True)
    return torch.cat([prefix, picture.permute(0, 3, 2, 1).flatten(1, 2)], dim=1)


def resample_to_a_square(pos_embed, new_grid_size, num_prefix_tokens=1):
    prefix, picture = _picture(pos_embed, num_prefix_tokens)
    picture = F.interpolate(picture, size=new_grid_size[0], mode="bicubic", antialias=True)
    return torch.cat([prefix, _table(picture)], dim=1)


def resample_without_antialiasing(pos_embed, new_grid_size, num_prefix_tokens=1):
    prefix, picture = _picture(pos_embed, num_prefix_tokens)
    picture = F.interpolate(picture, size=new_grid_size, mode="bicubic", align_corners=False)
    return torch.cat([prefix, _table(picture)], dim=1)


def resample_with_aligned_corners(pos_embed, new_grid_size, num_prefix_tokens=1):
    prefix, picture = _picture(pos_embed, num_prefix_tokens)
    picture = F.interpolate(picture, size=new_grid_size, mode="bicubic", align_corners=True)
    return torch.cat([prefix, _table(picture)], dim=1)


def resample_bilinear(pos_embed, new_grid_size, num_prefix_tokens=1):
    prefix, picture = _picture(pos_embed, num_prefix_tokens)
    picture = F.interpolate(picture, size=new_grid_size, mode="bilinear", antialias=True)
    return torch.cat([prefix, _table(picture)], dim=1)


def resample_plain_bilinear(pos_embed, new_grid_size, num_prefix_tokens=1):
    prefix, picture = _picture(pos_embed, num_prefix_tokens)
    picture = F.interpolate(picture, size=new_grid_size, mode="bilinear")
    return torch.cat([prefix, _table(picture)], dim=1)


def resample_like_google(pos_embed, new_grid_size, num_prefix_tokens=1):
    prefix, picture = _picture(pos_embed, num_prefix_tokens)
    picture = F.interpolate(picture, size=new_grid_size, mode="bilinear", align_corners=True)
    return torch.cat([prefix, _table(picture)], dim=1)


def resample_by_default(pos_embed, new_grid_size, num_prefix_tokens=1):
    prefix, picture = _picture(pos_embed, num_prefix_tokens)
    picture = F.interpolate(picture, size=new_grid_size)
    return torch.cat([prefix, _table(picture)], dim=1)


def resample_one_row_of_prefix(pos_embed, new_grid_size, num_prefix_tokens=1):
    _, picture = _picture(pos_embed, num_prefix_tokens)
    picture = F.interpolate(picture, size=new_grid_size, mode="bicubic", antialias=True)
    return torch.cat([pos_embed[:, 0:1], _table(picture)], dim=1)


def resample_with_a_float(pos_embed, new_grid_size, num_prefix_tokens=1):
    prefix, patches = pos_embed[:, :num_prefix_tokens], pos_embed[:, num_prefix_tokens:]
    _, N, D = patches.shape
    side = math.sqrt(N)
    picture = patches.reshape(1, side, side, D).permute(0, 3, 1, 2)
    return torch.cat([prefix, _table(F.interpolate(picture, size=new_grid_size, mode="bicubic", antialias=True))], 1)


def resample_if_the_count_differs(pos_embed, new_grid_size, num_prefix_tokens=1):
    gh, gw = new_grid_size
    if gh * gw == pos_embed.shape[1] - num_prefix_tokens:
        return pos_embed
    return resample_by_einops(pos_embed, new_grid_size, num_prefix_tokens)


def resample_without_gradients(pos_embed, new_grid_size, num_prefix_tokens=1):
    prefix, picture = _picture(pos_embed, num_prefix_tokens)
    with torch.no_grad():
        picture = F.interpolate(picture, size=new_grid_size, mode="bicubic", antialias=True)
    return torch.cat([prefix, _table(picture)], dim=1)


RIGHT = {
    "prepend_class_token": [prepend_by_repeat, prepend_by_filling, prepend_by_einops, prepend_image_by_image],
    "sincos_pos_embed_2d": [sincos_by_meshgrid, sincos_by_loops, sincos_by_numpy],
    "resample_pos_embed": [resample_by_einops, resample_channel_by_channel, resample_axis_by_axis],
}

WRONG = {
    "prepend_class_token": {
        append_class_token: "stands at the end",
        prepend_without_expand: "expand it to (B, 1, D) first",
        prepend_without_expand_at_the_end: "and put it first in the list",
        prepend_to_the_batch: "along the batch",
        prepend_to_the_features: "along the features",
        add_class_token: "to every token",
        glue_to_every_token: "D doubles",
        prepend_n_times: "N class tokens",
        overwrite_first_patch: "overwrite the first patch",
        replace_first_patch: "takes the place of the first patch",
        prepend_to_first_image_only: "only the first image",
        prepend_the_mean: "mean of the tokens",
        prepend_fresh_zeros: "you put zeros in front",
        prepend_in_float32: "dtype=tokens.dtype",
        prepend_to_five: "take it from tokens.shape[0]",
        prepend_cut_off: "would never train",
        prepend_a_new_parameter: "a new nn.Parameter",
    },
    "sincos_pos_embed_2d": {
        sincos_rows_first: "row comes before the column",
        sincos_in_column_order: "column order",
        sincos_grid_swapped: "of the grid are swapped",
        sincos_in_turn: "alternate",
        sincos_cosines_first: "cosines come before the sines",
        sincos_sines_together: "keep the halves apart",
        sincos_divided_by_half: "divide k by D/2",
        sincos_divided_by_all: "divide k by D:",
        sincos_by_linspace: "run up to 1",
        sincos_with_its_own_temperature: "10 000 into the formula",
        sincos_growing: "speeds grow",
        sincos_in_one_dimension: "1-D embedding",
        sincos_without_modulo: "n % gw",
        sincos_from_one: "count from 1",
        sincos_on_the_unit_square: "by the size of the grid",
        sincos_added: "lay them side by side",
        sincos_columns_twice: "both halves say the column",
        sincos_not_flat: "flatten it",
        sincos_on_its_side: "lies on its side",
        sincos_with_a_batch: "batch dimension too many",
        sincos_in_float64: "type is float64",
    },
    "resample_pos_embed": {
        resample_as_a_line: "as a line, class token and all",
        resample_prefix_and_all: "prefix is still in",
        resample_always_one: "always take off one row",
        resample_patches_as_a_line: "patches as a line",
        resample_reshape_only: "and again on the way back",
        resample_reshape_there: "reshape(1, D, g, g) mixes",
        resample_reshape_back: "on the way back, reshape",
        resample_without_prefix: "prefix is missing",
        resample_prefix_last: "prefix stands at the end",
        resample_sides_swapped: "rows and columns are swapped",
        resample_on_its_side: "the picture lies on its side: ",
        resample_back_on_its_side: "come back in column order",
        resample_to_a_square: "one side of the new grid",
        resample_without_antialiasing: "without antialiasing, as Hugging Face",
        resample_with_aligned_corners: "torchvision's way",
        resample_bilinear: "that is bilinear: ",
        resample_plain_bilinear: "bilinear without antialiasing",
        resample_like_google: "Google's way",
        resample_by_default: "nearest patch",
        resample_one_row_of_prefix: "one row of the prefix",
        resample_with_a_float: "is a float",
        resample_if_the_count_differs: "compare the sides",
        resample_without_gradients: "would never train",
    },
}
