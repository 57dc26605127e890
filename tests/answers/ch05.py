"""Answers to the exercises of chapter 05, as readers write them.

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


def prepend_by_adding(patches, cls):
    """What is padded is 0, and 0 plus a number is the number."""
    return F.pad(patches, (0, 0, 1, 0)) + F.pad(cls, (0, 0, 0, patches.shape[1]))


class Prepend(torch.nn.Module):
    def forward(self, tokens, cls_token):
        return torch.vmap(lambda image: torch.cat([cls_token[0], image]))(tokens)


prepend_by_a_partial = functools.partial(lambda dim, x, cls: torch.cat([cls.expand_as(x[:, :1]), x], dim), 1)


def replace_first_patch(tokens, cls_token):
    B = tokens.shape[0]
    return torch.cat([cls_token.expand(B, -1, -1), tokens[:, 1:]], dim=1)


def prepend_to_first_image_only(tokens, cls_token):
    B, _, D = tokens.shape
    front = torch.zeros(B, 1, D, dtype=tokens.dtype)
    front[0] = cls_token[0]
    return torch.cat([front, tokens], dim=1)


# --- sincos_pos_embed_2d -------------------------------------------------------------------------


def sincos_by_all_pairs(grid_size, embed_dim, temperature=10_000.0):
    gh, gw = grid_size
    rows, cols = torch.cartesian_prod(torch.arange(gh), torch.arange(gw)).T
    omega = torch.arange(embed_dim // 4) / (embed_dim / 4)
    omega = 1.0 / temperature**omega
    parts = []
    for place in (cols, rows):
        angle = torch.einsum("n,k->nk", place, omega)
        parts += [torch.sin(angle), torch.cos(angle)]
    return torch.cat(parts, dim=1)


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


def sincos_number_by_number(grid_size, embed_dim, temperature=10_000.0):
    quarter = embed_dim // 4

    def half(place):
        angles = [torch.tensor(place / temperature ** (k / quarter)) for k in range(quarter)]
        return [torch.sin(a).item() for a in angles] + [torch.cos(a).item() for a in angles]

    rows, cols = map(range, grid_size)
    return torch.tensor([half(col) + half(row) for row in rows for col in cols])


def sincos_from_one_axis(grid, dim, base=10_000.0):
    """One table for each axis, in float64, and then every pair of their rows."""

    def axis(length):
        speeds = torch.exp(torch.arange(dim // 4, dtype=torch.float64) * (-4 * math.log(base) / dim))
        angles = torch.outer(torch.arange(length, dtype=torch.float64), speeds)
        return torch.hstack([torch.sin(angles), torch.cos(angles)])

    gh, gw = grid
    cols, rows = axis(gw).repeat(gh, 1), axis(gh).repeat_interleave(gw, dim=0)
    return torch.hstack([cols, rows]).to(torch.float32)


def sincos_by_complex_numbers(g, d, t=10_000.0):
    n, speeds = torch.arange(g[0] * g[1])[:, None], t ** (-torch.arange(d // 4) * 4 / d)
    col, row = (torch.exp(1j * place * speeds) for place in (n % g[1], n // g[1]))
    return torch.cat([col.imag, col.real, row.imag, row.real], dim=-1)


def sincos_numbered_by_the_height(grid_size, embed_dim, temperature=10_000.0):
    gh, gw = grid_size
    speeds = temperature ** (torch.arange(embed_dim // 4) / (-embed_dim // 4))
    table = torch.zeros(gh * gw, embed_dim)
    for row in range(gh):
        for column in range(gw):
            a, b = column * speeds, row * speeds
            table[row * gh + column] = torch.cat([torch.sin(a), torch.cos(a), torch.sin(b), torch.cos(b)])
    return table


def sincos_in_turn(grid_size, embed_dim, temperature=10_000.0):
    sin_c, cos_c, sin_r, cos_r = sincos_by_all_pairs(grid_size, embed_dim, temperature).chunk(4, dim=1)
    table = torch.zeros(len(sin_c), embed_dim)
    for start, sin, cos in ((0, sin_c, cos_c), (embed_dim // 2, sin_r, cos_r)):
        table[:, start : start + embed_dim // 2 : 2] = sin
        table[:, start + 1 : start + embed_dim // 2 : 2] = cos
    return table


# --- resample_pos_embed --------------------------------------------------------------------------


def resample_by_einops(pos_embed, new_grid_size, num_prefix_tokens=1):
    count = pos_embed.shape[1] - num_prefix_tokens
    prefix, patches = pos_embed.split([num_prefix_tokens, count], dim=1)
    picture = einops.rearrange(patches, "B (h w) D -> B D h w", h=math.isqrt(count))
    picture = F.interpolate(picture, new_grid_size, mode="bicubic", antialias=True)
    return torch.cat([prefix, einops.rearrange(picture, "B D h w -> B (h w) D")], dim=1)


def resample_axis_by_axis(pos_embed, new_grid_size, num_prefix_tokens=1):
    prefix, patches = pos_embed[:, :num_prefix_tokens], pos_embed[:, num_prefix_tokens:]
    side = int(patches.shape[1] ** 0.5)
    picture = patches.mT.reshape(1, -1, side, side)
    picture = F.interpolate(picture, size=(new_grid_size[0], side), mode="bicubic", antialias=True)
    picture = F.interpolate(picture, size=(picture.shape[2], new_grid_size[1]), mode="bicubic", antialias=True)
    return torch.cat([prefix, picture.permute(0, 2, 3, 1).flatten(1, 2)], dim=1)


def cubic_filter(old, new):
    """How much each of `old` places counts for each of `new` ones, by Keys' cubic with a = -1/2: (new, old)."""
    step = old / new
    centres = (torch.arange(new, dtype=torch.float64) + 0.5) * step - 0.5
    x = (torch.arange(old) - centres[:, None]).abs() / max(step, 1.0)  # wider where the grid shrinks
    near, far = 1.5 * x**3 - 2.5 * x**2 + 1, -0.5 * (x**3 - 5 * x**2 + 8 * x - 4)
    weights = torch.where(x <= 1, near, far) * (x < 2)
    return weights / weights.sum(dim=1, keepdim=True)


def resample_by_the_formula(pos_embed, new_grid_size, num_prefix_tokens=1):
    prefix, patches = pos_embed[:, :num_prefix_tokens], pos_embed[:, num_prefix_tokens:]
    side = round(patches.shape[1] ** 0.5)
    down, right = (cubic_filter(side, new).to(pos_embed.dtype) for new in new_grid_size)
    patches = torch.einsum("ih,jw,bhwd->bijd", down, right, patches.unflatten(1, (side, side)))
    return torch.cat([prefix, patches.flatten(1, 2)], dim=1)


def resample_each_channel(pos, size, n=1):
    side = int((pos.shape[1] - n) ** 0.5)
    pictures = pos[0, n:].T.reshape(-1, 1, side, side)  # each number of the vectors is a picture of its own
    new = [F.interpolate(picture[None], size, mode="bicubic", antialias=True).flatten() for picture in pictures]
    return torch.cat([pos[:, :n], torch.stack(new, dim=-1)[None]], dim=1)


resample_by_a_partial = functools.partial(
    lambda resize, x, size, n=1: torch.cat(
        [x[:, :n], resize(x[:, n:].mT.unflatten(2, (round((x.shape[1] - n) ** 0.5), -1)), size).flatten(2).mT], dim=1
    ),
    functools.partial(F.interpolate, mode="bicubic", antialias=True),
)


class ResampleInto:
    def __call__(self, table, size, prefix=1):
        gh, gw = size
        new = table.new_empty(1, prefix + gh * gw, table.shape[-1])
        new[:, :prefix], new[:, prefix:] = table[:, :prefix], self.patches(table[:, prefix:], size)
        return new

    def patches(self, x, size):
        g = math.isqrt(x.size(1))
        x = F.interpolate(x.mT.unflatten(2, (g, g)), size, mode="bicubic", align_corners=False, antialias=True)
        return x.flatten(start_dim=2).mT


def resample_unless_a_side_is_kept(pos_embed, new_grid_size, num_prefix_tokens=1):
    side = math.isqrt(pos_embed.shape[1] - num_prefix_tokens)
    if new_grid_size[0] == side or new_grid_size[1] == side:
        return pos_embed
    return resample_by_einops(pos_embed, new_grid_size, num_prefix_tokens)


def resample_if_the_count_differs(pos_embed, new_grid_size, num_prefix_tokens=1):
    gh, gw = new_grid_size
    if gh * gw == pos_embed.shape[1] - num_prefix_tokens:
        return pos_embed
    return resample_by_einops(pos_embed, new_grid_size, num_prefix_tokens)


RIGHT = {
    "prepend_class_token": (
        prepend_by_repeat,
        prepend_by_filling,
        prepend_by_einops,
        prepend_image_by_image,
        prepend_by_adding,
        Prepend(),
        prepend_by_a_partial,
    ),
    "sincos_pos_embed_2d": (
        sincos_by_all_pairs,
        sincos_by_loops,
        sincos_by_numpy,
        sincos_number_by_number,
        sincos_from_one_axis,
        sincos_by_complex_numbers,
    ),
    "resample_pos_embed": (
        resample_by_einops,
        resample_axis_by_axis,
        resample_by_the_formula,
        resample_each_channel,
        resample_by_a_partial,
        ResampleInto(),
    ),
}

SLIPS = {
    "prepend_class_token": """
        has lost a dimension
            cls_token.expand(tokens.shape[0], -1, -1) ⇒ cls_token[0].expand(tokens.shape[0], -1)
        stands behind a patch
            ⇒ first, others = tokens.split([1, tokens.shape[1] - 1], dim=1)
            | return torch.cat([first, cls_token.expand(len(tokens), -1, -1), others], dim=1)
        expand it to (B, 1, D) first
            .expand(tokens.shape[0], -1, -1) ⇒
        torch.cat gets the tokens first
            .expand(tokens.shape[0], -1, -1) ⇒
            [cls_tokens, tokens] ⇒ [tokens, cls_tokens]
        along the batch
            dim=1 ⇒ dim=0
        along the features
            dim=1 ⇒ dim=2
        torch.stack makes a new dimension
            torch.cat( ⇒ torch.stack(
        your function have changed places
            ⇒ batch, _, width = cls_token.shape
            | first = tokens.expand(batch, 1, width)
            | return torch.cat((first, cls_token), 1)
        the last patch is lost
            [cls_tokens, tokens] ⇒ [cls_tokens, tokens[:, : tokens.shape[1] - 1]]
        added to the patches as well
            [cls_tokens, tokens] ⇒ [cls_tokens, cls_tokens + tokens]
        takes one list
            [cls_tokens, tokens], dim=1 ⇒ cls_tokens, tokens, dim=1
        overwrite the first patch
            ⇒ tokens[:, 0] = cls_token[0]
            | return tokens
        take it from tokens.shape[0]
            tokens.shape[0] ⇒ 8
        in place of B
            tokens.shape[0] ⇒ tokens.shape[1]
        """,
    "sincos_pos_embed_2d": """
        twice as wide as D
            quarter = embed_dim // 4 ⇒ quarter = embed_dim // 2
        the row slowest
            repeat_interleave(gw) ⇒ repeat(gw)
        a factor of π
            column * speeds, row * speeds ⇒ column * speeds * 2 * torch.pi, row * speeds * 2 * torch.pi
        speeds grow
            ** - ⇒ **
        row comes before the column
            column * speeds, row * speeds ⇒ row * speeds, column * speeds
        your default for `temperature`
            10_000.0 ⇒ 1e3
        makes 0 of each
            (torch.arange(quarter) / quarter) ⇒ (torch.arange(quarter) // quarter).float()
        the middle of the grid
            torch.arange(gw) ⇒ (torch.arange(gw) - (gw - 1) / 2)
            torch.arange(gh) ⇒ (torch.arange(gh) - (gh - 1) / 2)
        the middle of each patch
            torch.arange(gw) ⇒ (torch.arange(gw) + 0.5)
            torch.arange(gh) ⇒ (torch.arange(gh) + 0.5)
        go through degrees
            column * speeds, row * speeds ⇒ column * speeds * torch.pi / 180, row * speeds * torch.pi / 180
        a row for the class token
            [part for a in angles for part in (a.sin(), a.cos())], dim=1) ⇒ [F.pad(part, (0, 0, 1, 0)) for a in angles for part in (a.sin(), a.cos())], dim=1)
        run up to 1
            (torch.arange(quarter) / quarter) ⇒ torch.linspace(0, 1, quarter)
        """,
    "resample_pos_embed": """
        is the first power, halved
            round(patches.shape[1] ** 0.5) ⇒ int(patches.shape[1] ** 1 / 2)
        lie on their side
            picture.flatten(2).transpose(1, 2) ⇒ picture.flatten(start_dim=2)
        still lie on their grid
            picture.flatten(2).transpose(1, 2) ⇒ picture.permute(0, 2, 3, 1)
        prefix is still in
            pos_embed[:, num_prefix_tokens:] ⇒ pos_embed
        your default for `num_prefix_tokens`
            num_prefix_tokens=1 ⇒ num_prefix_tokens=0
        14 × 14 is written
            round(patches.shape[1] ** 0.5) ⇒ 14
        you stretch both sides alike
            size=new_grid_size ⇒ scale_factor=new_grid_size[0] / g
        you return the picture
            torch.cat([prefix, patches], dim=1) ⇒ picture
        zeros in the place of the prefix
            [prefix, ⇒ [0 * prefix.detach(),
        split the prefix off the end
            ⇒ g = round((pos_embed.shape[1] - num_prefix_tokens) ** 0.5)
            | picture = pos_embed[:, : g * g].reshape(1, g, g, -1).permute(0, 3, 1, 2)
            | picture = F.interpolate(picture, size=new_grid_size, mode="bicubic", antialias=True)
            | return torch.cat([pos_embed[:, g * g :], picture.flatten(2).mT], dim=1)
        always take off one row
            pos_embed[:, :num_prefix_tokens] ⇒ pos_embed[:, :1]
            pos_embed[:, num_prefix_tokens:] ⇒ pos_embed[:, 1:]
        is a float
            round ⇒
        where you lay the rows on their grid
            patches.reshape(1, g, g, -1) ⇒ pos_embed.reshape(1, g, g, -1)
        without the prefix
            round(patches.shape[1] ** 0.5) ⇒ int(pos_embed.shape[1] ** 0.5)
        leave rows out at the end
            patches = pos_embed[:, num_prefix_tokens:] ⇒ patches = pos_embed[:, :-num_prefix_tokens]
        along dimension 0
            dim=1 ⇒ dim=0
        the corners are aligned: leave
            antialias=True ⇒ align_corners=True, antialias=True
        as a line, class token and all
            ⇒ N = num_prefix_tokens + new_grid_size[0] * new_grid_size[1]
            | return F.interpolate(pos_embed.transpose(1, 2), N, mode="linear").transpose(1, 2)
        """,
}

WRONG = {
    "prepend_class_token": {
        replace_first_patch: "takes the place of the first patch",
        prepend_to_first_image_only: "only the first image",
    },
    "sincos_pos_embed_2d": {
        sincos_numbered_by_the_height: "row * gw + column",
        sincos_in_turn: "alternate",
    },
    "resample_pos_embed": {
        resample_if_the_count_differs: "compare the sides",
        resample_unless_a_side_is_kept: "compare both",
    },
}

EQUIVALENT = {
    "prepend_class_token": """
        What is empty asks for no gradient, and one vector is handed out to all.
            prepend_by_filling: result = tokens.new_empty(B, N + 1, D) ⇒ result = tokens.new_empty(B, N + 1, D).detach()
            prepend_by_filling: result[:, :1] = cls_token ⇒ result[:, :1] = cls_token.squeeze()
        The next line writes over what is too much.
            prepend_by_filling: result[:, :1] = cls_token ⇒ result[:, :2] = cls_token
            prepend_by_filling: result[:, :1] = cls_token ⇒ result[:, :] = cls_token
        -1 leaves it as it is, which is 1.
            prepend_class_token: cls_tokens = cls_token.expand(tokens.shape[0], -1, -1) ⇒ cls_tokens = cls_token.expand(tokens.shape[0], 1, -1)
        """,
    "sincos_pos_embed_2d": """
        A single speed may stand without a dimension.
            sincos_pos_embed_2d: speeds = temperature ** (-(torch.arange(quarter) / quarter)) ⇒ speeds = (temperature ** (-(torch.arange(quarter) / quarter))).squeeze()
            sincos_by_numpy: omega = 1 / temperature ** (np.arange(embed_dim // 4) / (embed_dim // 4)) ⇒ omega = (1 / temperature ** (np.arange(embed_dim // 4) / (embed_dim // 4))).squeeze()
        There are two axes; float32 and tensors of one number are exact enough.
            sincos_by_complex_numbers: return torch.cat([col.imag, col.real, row.imag, row.real], dim=-1) ⇒ return torch.cat([col.imag, col.real, row.imag, row.real], dim=1)
            sincos_from_one_axis: angles = torch.outer(torch.arange(length, dtype=torch.float64), speeds) ⇒ angles = torch.outer(torch.arange(length), speeds)
            sincos_from_one_axis: speeds = torch.exp(torch.arange(dim // 4, dtype=torch.float64) * (-4 * math.log(base) / dim)) ⇒ speeds = torch.exp(torch.arange(dim // 4) * (-4 * math.log(base) / dim))
            sincos_number_by_number: return [torch.sin(a).item() for a in angles] + [torch.cos(a).item() for a in angles] ⇒ return [torch.sin(a) for a in angles] + [torch.cos(a).item() for a in angles]
            sincos_number_by_number: return [torch.sin(a).item() for a in angles] + [torch.cos(a).item() for a in angles] ⇒ return [torch.sin(a).item() for a in angles] + [torch.cos(a) for a in angles]
        """,
    "resample_pos_embed": """
        Of a list of rows the last new axis is axis 1.
            resample_each_channel: return torch.cat([pos[:, :n], torch.stack(new, dim=-1)[None]], dim=1) ⇒ return torch.cat([pos[:, :n], torch.stack(new, dim=1)[None]], dim=1)
        """,
}
