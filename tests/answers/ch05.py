"""Answers to the exercises of chapter 05, as readers write them.

RIGHT: implementations other than the chapter's own. Beside the record's known mistakes, which are wrong answers
themselves, SLIPS: the chapter's own solution with something changed, and WRONG: mistakes written in another way; each
with words of the hint that it must get. EQUIVALENT: mutants of the right answers that are right too, and why.
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


def replace_first_patch(tokens, cls_token):
    B = tokens.shape[0]
    return torch.cat([cls_token.expand(B, -1, -1), tokens[:, 1:]], dim=1)


def prepend_to_first_image_only(tokens, cls_token):
    B, _, D = tokens.shape
    front = torch.zeros(B, 1, D, dtype=tokens.dtype)
    front[0] = cls_token[0]
    return torch.cat([front, tokens], dim=1)


def prepend_in_float32(tokens, cls_token):
    B, N, D = tokens.shape
    result = torch.empty(B, N + 1, D)
    result[:, 0] = cls_token[0, 0]
    result[:, 1:] = tokens
    return result


def prepend_cut_off(tokens, cls_token):
    return torch.cat([cls_token.detach().expand(len(tokens), -1, -1), tokens], dim=1)


def prepend_a_new_parameter(tokens, cls_token):
    cls = torch.nn.Parameter(cls_token.expand(tokens.shape[0], -1, -1).clone())
    return torch.cat([cls, tokens], dim=1)


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


def resample_if_the_count_differs(pos_embed, new_grid_size, num_prefix_tokens=1):
    gh, gw = new_grid_size
    if gh * gw == pos_embed.shape[1] - num_prefix_tokens:
        return pos_embed
    return resample_by_einops(pos_embed, new_grid_size, num_prefix_tokens)


def resample_without_gradients(pos_embed, new_grid_size, num_prefix_tokens=1):
    with torch.no_grad():
        resampled = resample_by_einops(pos_embed, new_grid_size, num_prefix_tokens)
    return torch.cat([pos_embed[:, :num_prefix_tokens], resampled[:, num_prefix_tokens:]], dim=1)


RIGHT = {
    "prepend_class_token": (prepend_by_repeat, prepend_by_filling, prepend_by_einops, prepend_image_by_image),
    "sincos_pos_embed_2d": (sincos_by_all_pairs, sincos_by_loops, sincos_by_numpy),
    "resample_pos_embed": (resample_by_einops, resample_axis_by_axis, resample_by_the_formula),
}

SLIPS = {
    "prepend_class_token": """
        expand it to (B, 1, D) first
            .expand(tokens.shape[0], -1, -1) ⇒
        put it first in the list
            .expand(tokens.shape[0], -1, -1) ⇒
            [cls_tokens, tokens] ⇒ [tokens, cls_tokens]
        along the batch
            dim=1 ⇒ dim=0
        along the features
            dim=1 ⇒ dim=2
        overwrite the first patch
            ⇒ tokens[:, 0] = cls_token[0]
            | return tokens
        take it from tokens.shape[0]
            tokens.shape[0] ⇒ 8
        """,
    "sincos_pos_embed_2d": """
        speeds grow
            ** - ⇒ **
        row comes before the column
            column * speeds, row * speeds ⇒ row * speeds, column * speeds
        run up to 1
            (torch.arange(quarter) / quarter) ⇒ torch.linspace(0, 1, quarter)
        """,
    "resample_pos_embed": """
        prefix is still in
            pos_embed[:, num_prefix_tokens:] ⇒ pos_embed
        always take off one row
            pos_embed[:, :num_prefix_tokens] ⇒ pos_embed[:, :1]
            pos_embed[:, num_prefix_tokens:] ⇒ pos_embed[:, 1:]
        is a float
            round ⇒
        as a line, class token and all
            ⇒ N = num_prefix_tokens + new_grid_size[0] * new_grid_size[1]
            | return F.interpolate(pos_embed.transpose(1, 2), N, mode="linear").transpose(1, 2)
        """,
}

WRONG = {
    "prepend_class_token": {
        replace_first_patch: "takes the place of the first patch",
        prepend_to_first_image_only: "only the first image",
        prepend_in_float32: "dtype=tokens.dtype",
        prepend_cut_off: "would never train",
        prepend_a_new_parameter: "a new nn.Parameter",
    },
    "sincos_pos_embed_2d": {sincos_in_turn: "alternate"},
    "resample_pos_embed": {
        resample_if_the_count_differs: "compare the sides",
        resample_without_gradients: "would never train",
    },
}

EQUIVALENT = {
    "prepend_class_token": """
        The next line writes over what is too much.
            prepend_by_filling: result[:, :1] = cls_token ⇒ result[:, :2] = cls_token
            prepend_by_filling: result[:, :1] = cls_token ⇒ result[:, :] = cls_token
        -1 leaves it as it is, which is 1.
            prepend_class_token: cls_tokens = cls_token.expand(tokens.shape[0], -1, -1) ⇒ cls_tokens = cls_token.expand(tokens.shape[0], 1, -1)
        """,
    "sincos_pos_embed_2d": "",
    "resample_pos_embed": "",
}
