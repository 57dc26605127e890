"""A Vision Transformer in NumPy, float64, written from the paper's equations and from nothing else.

It shares no code with course_lib and no arithmetic with torch; heads and patches are loops, so that no
clever reshape can be wrong in both. Weights come in a dict under timm's names.
Legend: B images, C channels, P patch size, (gh, gw) patch grid, N tokens, D width, H heads, d = D/H.
"""

from typing import NamedTuple

import numpy as np
from scipy.special import erf


class Pass(NamedTuple):
    """What one forward pass shows: (B, classes); a list of (B, N, D); a list of (B, H, N, N)."""

    logits: object
    blocks: list
    attention: list


def vision_transformer(weights, images, num_heads, eps=1e-6):
    """All of equations 1 to 4 (Dosovitskiy et al. 2021): images (B, C, height, width) -> Pass.

    A class token is used if `weights` has "cls_token", else the patches are averaged; positions are added if it
    has "pos_embed". Each pair "relative_position_bias_table" adds its numbers to the scores of its block.
    """
    w = {name: np.asarray(value, np.float64) for name, value in weights.items()}
    patch_size = w["patch_embed.proj.weight"].shape[-1]
    grid = images.shape[2] // patch_size, images.shape[3] // patch_size
    z = embed(w, np.asarray(images, np.float64), grid, patch_size)  # (B, N, D)
    blocks, attention = [], []
    for i in range(depth(w)):
        block = {name.removeprefix(f"blocks.{i}."): value for name, value in w.items() if f"blocks.{i}." in name}
        mixed, maps = self_attention(block, norm(block, "norm1", z, eps), num_heads, grid)
        z = z + mixed  # equation 2: z' = MSA(LN(z)) + z
        z = z + mlp(block, norm(block, "norm2", z, eps))  # equation 3: z = MLP(LN(z')) + z'
        blocks.append(z)
        attention.append(maps)
    z = norm(w, "norm", z, eps)
    y = z[:, 0] if "cls_token" in w else z.mean(axis=1)  # equation 4: y = LN(z)[0]; (B, D)
    if "pre_logits.fc.weight" in w:
        y = np.tanh(linear(w, "pre_logits.fc", y))
    return Pass(linear(w, "head", y), blocks, attention)


def depth(w):
    return 1 + max(int(name.split(".")[1]) for name in w if name.startswith("blocks."))


def embed(w, images, grid, patch_size):
    """Equation 1: [class; patch 1 · E; ...; patch N · E] + positions."""
    filters = w["patch_embed.proj.weight"]
    filters = filters.reshape(len(filters), -1)  # (D, C·P·P)
    tokens = []
    for row in range(grid[0]):
        for column in range(grid[1]):
            top, left = row * patch_size, column * patch_size
            patch = images[:, :, top : top + patch_size, left : left + patch_size]  # (B, C, P, P)
            tokens.append(patch.reshape(len(images), -1) @ filters.T + w["patch_embed.proj.bias"])  # (B, D)
    if "cls_token" in w:
        tokens.insert(0, np.repeat(w["cls_token"][0], len(images), axis=0))
    z = np.stack(tokens, axis=1)  # (B, N, D)
    return z + w["pos_embed"] if "pos_embed" in w else z


def self_attention(block, z, num_heads, grid):
    """Equations 5 to 8 of the appendix: (B, N, D) -> (B, N, D) and the maps (B, H, N, N)."""
    width = z.shape[-1]
    d = width // num_heads
    qkv = linear(block, "attn.qkv", z)  # (B, N, 3D): q | k | v
    table = block.get("attn.rel_pos.relative_position_bias_table")
    bias = np.zeros(num_heads) if table is None else relative_bias(table, grid)
    heads, maps = [], []
    for h in range(num_heads):
        q, k, v = (qkv[:, :, part * width + h * d : part * width + (h + 1) * d] for part in range(3))  # (B, N, d)
        scores = q @ k.transpose(0, 2, 1) / np.sqrt(d)  # (B, N, N)
        maps.append(softmax(scores + bias[h]))
        heads.append(maps[-1] @ v)
    return linear(block, "attn.proj", np.concatenate(heads, axis=-1)), np.stack(maps, axis=1)


def relative_bias(table, grid):
    """((2gh-1)(2gw-1) [+ 3], H) -> (H, N, N): one number for each offset, query minus key."""
    gh, gw = grid
    offsets = (2 * gh - 1) * (2 * gw - 1)
    prefix = int(len(table) > offsets)
    count = prefix + gh * gw
    bias = np.empty((table.shape[1], count, count))
    for i in range(gh * gw):
        for j in range(gh * gw):
            down, right = i // gw - j // gw, i % gw - j % gw
            bias[:, prefix + i, prefix + j] = table[(down + gh - 1) * (2 * gw - 1) + right + gw - 1]
    if prefix:
        to_patches, from_patches, to_itself = table[offsets:]
        bias[:, 0, :], bias[:, :, 0] = to_patches[:, None], from_patches[:, None]
        bias[:, 0, 0] = to_itself
    return bias


def mlp(block, z):
    hidden = linear(block, "mlp.fc1", z)
    return linear(block, "mlp.fc2", hidden * (1 + erf(hidden / np.sqrt(2))) / 2)  # the exact GELU


def linear(w, name, x):
    return x @ w[f"{name}.weight"].T + w.get(f"{name}.bias", 0.0)


def norm(w, name, x, eps):
    centred = x - x.mean(axis=-1, keepdims=True)
    variance = (centred**2).mean(axis=-1, keepdims=True)
    return centred / np.sqrt(variance + eps) * w[f"{name}.weight"] + w[f"{name}.bias"]


def softmax(scores):
    powers = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)


def sincos_1d(positions, width):
    """(N, width): sin(p / 10000^(2i/width)) for all i, then the cosines. Vaswani et al. 2017, section 3.5."""
    rates = [10_000 ** (2 * i / width) for i in range(width // 2)]
    return np.array([[np.sin(p / r) for r in rates] + [np.cos(p / r) for r in rates] for p in positions])


def sincos_2d(grid, width):
    """(gh·gw, width): the column in the first half, the row in the second, as in MAE's published code."""
    rows, columns = zip(*np.ndindex(*grid), strict=True)
    return np.concatenate([sincos_1d(columns, width // 2), sincos_1d(rows, width // 2)], axis=1)
