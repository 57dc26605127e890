# %% [markdown]
# # ViT-B/16, with real weights
#
# | Goal | Before you start | Time | Runs on |
# |:--|:--|:--|:--|
# | Put your pieces together to a Vision Transformer, load weights that others have trained, and prove that it gives their numbers | Chapters 1 to 5 | 100 minutes | any CPU |
#
# You have every piece: patches, class token, positions, the encoder block. In this chapter they become one function of a dozen lines, and that
# function is ViT-B/16, the model of the paper. You count its 86,567,656 parameters by hand. You translate the names of published weights, load them, and compare with
# three libraries to five decimals. And you see why such care is needed, on 58 models with one mistake each.
#
# Which weights, where? All comparisons at full size use random numbers: they need no network, and hide nothing. The trained weights that come with the course are those of a small model for
# handwritten digits. With a network you load torchvision's published ViT-B/16 as well.

# %% tags=["setup"]
import math
import os
import shutil
import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import torch
import torch.nn.functional as F
import torchvision
from torch import nn
from torch.utils.flop_counter import FlopCounterMode
from torchvision.transforms import v2

from course_lib import vit, viz
from course_lib.checks import my_pieces
from course_lib.data import digits, photographs
from course_lib.files import weights_folder
from course_lib.interpret import record_attention
from course_lib.models import create_model, vit_b_16
from course_lib.records import load_record
from course_lib.weights import (
    REGISTRY,
    convert,
    formats,
    load_pretrained,
    save_weights,
)

viz.set_style()
torch.set_num_threads(1)  # one image at a time: more threads would hardly help

# %% [markdown]
# ## The whole on one page
#
# [Dosovitskiy et al. (2021)](https://arxiv.org/abs/2010.11929) describe their model in four equations. Beside each stands the code of `course_lib.vit` that computes it, a little shortened. Equations 2 and 3 are in `EncoderBlock`, the others in `VisionTransformer`.
#
# | | the paper | the code |
# |:--|:--|:--|
# | 1 | $z_0 = [x_\text{class};\ x_p^1 E;\ \dots;\ x_p^N E] + E_\text{pos}$ | `x = self.patch_embed(images)` |
# | | | `x = torch.cat([self.cls_token.expand(B, -1, -1), x], dim=1)` |
# | | | `x = x + self.pos_embed` |
# | 2 | $z'_\ell = \text{MSA}(\text{LN}(z_{\ell-1})) + z_{\ell-1}$ | `x = x + attn(norm1(x))` |
# | 3 | $z_\ell = \text{MLP}(\text{LN}(z'_\ell)) + z'_\ell$ | `x = x + mlp(norm2(x))` |
# | 4 | $y = \text{LN}(z_L^0)$ | `self.norm(x)[:, 0]` |
#
# Symbol by symbol: $x_p^i$ is patch $i$, laid flat (chapter 4). $E$ is the weight of the patch embedding. The semicolons put tokens one after the other, and $x_\text{class}$, the class token, comes first. $E_\text{pos}$ holds the positions, $N + 1$ rows (chapter 5). $\ell$ counts the blocks, from 1 to $L$; MSA is
# multi-head self-attention (chapter 2), LN is LayerNorm, and equations 2 and 3 are the block of chapter 3. $z_L^0$ is token 0 after the last block, the class token. (The paper leaves out the biases. They are there.)
#
# The four equations end with $y$, a vector of width $D$. One linear layer, the **head**, turns it into one score for each class, the **logits**.

# %% tags=["hide-input"]
#| alt: The path of an image through ViT-B/16 from top to bottom, in seven rows. A photograph of a flower, (B, 3, 224, 224). Then 196 tokens drawn as a row of blue cells, (B, 196, 768). Then a pink cell, the class token, in front: (B, 197, 768). Positions are added to all cells. Encoder blocks 0 to 11, boxes joined by arrows, keep the shape. Then the pink cell alone, (B, 768). Last, bars of different height, the 1000 logits, (B, 1000). Beside the rows stand the operations and the numbers of the equations.
flower = photographs()["flower"]


def draw_tokens(ax, y, with_class, positions=False, only_class=False):
    """A row of cells: the class token in front, patches 1 to 8, dots, and the last one."""
    for i in range(11):
        if (i == 0 and not with_class) or i == 9 or (only_class and i > 0):
            continue
        color = viz.OUTPUT if i == 0 else viz.KEY
        ax.add_patch(
            plt.Rectangle((i, y), 0.86, 0.86, facecolor=color, edgecolor="none")
        )
        if positions:
            label = str(i) if i < 10 else "196"
            ax.text(
                i + 0.43,
                y + 0.4,
                label,
                color=viz.PAPER,
                ha="center",
                va="center",
                fontsize=9 if i < 10 else 7,
                weight="bold",
            )
    if not only_class:
        ax.text(9.43, y + 0.4, "…", ha="center", va="center")


def draw_flow(ax):
    """Seven rows, from the image to the logits."""
    picture = v2.functional.center_crop(v2.functional.resize(flower, 112), 112)
    ax.imshow(picture.permute(1, 2, 0), extent=(4.2, 6.6, 14.1, 16.5), zorder=2)
    draw_tokens(ax, 12, with_class=False)
    draw_tokens(ax, 10, with_class=True)
    draw_tokens(ax, 8, with_class=True, positions=True)
    for x, label in ((0, "block 0"), (3.2, "block 1"), (8.36, "block 11")):
        ax.add_patch(
            plt.Rectangle(
                (x, 5.9), 2.5, 1.05, facecolor=viz.VALUE, edgecolor="none"
            )
        )
        ax.text(
            x + 1.25,
            6.4,
            label,
            color=viz.PAPER,
            ha="center",
            va="center",
            fontsize=9,
            weight="bold",
        )
    ax.text(7.03, 6.4, "…", ha="center", va="center")
    for x in (2.5, 5.7, 7.66):  # from box to box
        ax.annotate(
            "",
            (x + 0.7, 6.4),
            (x - 0.05, 6.4),
            arrowprops={"arrowstyle": "->", "color": viz.MUTED},
        )
    draw_tokens(ax, 4, with_class=True, only_class=True)
    heights = [0.3, 0.2, 0.5, 0.3, 1.1, 0.4, 0.2, 0.6, 0.3, None, 0.4]
    for i, height in enumerate(heights):
        if height is None:
            ax.text(i + 0.43, 2.2, "…", ha="center", va="center")
        else:
            ax.add_patch(
                plt.Rectangle(
                    (i + 0.15, 1.9), 0.56, height, facecolor=viz.INK, lw=0
                )
            )
    steps = [
        (13.5, "patches, each times $E$", "1"),
        (11.5, "class token in front", "1"),
        (9.5, "+ positions", "1"),
        (7.5, "12 encoder blocks", "2, 3"),
        (5.4, "last norm, token 0", "4"),
        (3.5, "head", ""),
    ]
    for y, text, equation in steps:
        ax.annotate(
            "",
            (-0.9, y - 0.55),
            (-0.9, y + 0.55),
            arrowprops={"arrowstyle": "->", "color": viz.MUTED},
        )
        ax.text(-1.3, y, text, ha="right", va="center")
        ax.text(-9.2, y, equation, ha="center", va="center", color=viz.MUTED)
    ax.text(-9.2, 15.2, "equation", ha="center", color=viz.MUTED)
    for y, shape in (
        (15.2, "(B, 3, 224, 224)"),
        (12.4, "(B, 196, 768)"),
        (10.4, "(B, 197, 768)"),
        (8.4, "(B, 197, 768)"),
        (6.4, "(B, 197, 768)"),
        (4.4, "(B, 768)"),
        (2.3, "(B, 1000)"),
    ):
        ax.text(11.6, y, shape, va="center", family="monospace", fontsize=10)
    ax.set(xlim=(-10.6, 16.4), ylim=(1.6, 16.7), aspect="equal")
    ax.axis("off")


draw_flow(plt.subplots(figsize=(7, 4.4))[1])
plt.show()

# %% [markdown]
# **Keep this picture.** Read the shapes on the right from top to bottom. From 197 tokens on, nothing changes shape for twelve blocks. And most of it is thrown away at the end: 196 of 197 tokens have done their work by then, which is to have been looked at, by token 0 and by each other.
#
# What parameters does this take? Here are the names and shapes of a ViT-B/16. (On the device `meta` PyTorch keeps shapes only, so that nothing has to be computed.)

# %%
with torch.device("meta"):
    shapes_only = vit_b_16()

for name, value in shapes_only.state_dict().items():
    if not name.startswith("blocks.") or name.startswith("blocks.11."):
        print(f"{name:28} {tuple(value.shape)}")

# %% [markdown]
# Blocks 0 to 10 have the same twelve entries as block 11. The names are those of the library [timm](https://github.com/huggingface/pytorch-image-models), and this course keeps to them. A dictionary from names to tensors like this one is called a **state dict**.
#
# One detail of equation 4. The paper normalises token 0 only, the code normalises all tokens and then takes token 0. Is that the same? LayerNorm works on each token for itself (chapter 3), so it must be.

# %%
torch.manual_seed(3)
z, last_norm = torch.randn(3, 7, 20), nn.LayerNorm(20, eps=1e-6)
print("same:", torch.equal(last_norm(z)[:, 0], last_norm(z[:, 0])))

# %% [markdown]
# ## Your own parts
#
# Whenever one of your answers has passed its check, the course has kept it, in a file `my_pieces.py` beside the notebooks. Now you get them back. What you have not written, the course lends you, and says so:

# %% tags=["nbval-ignore-output"]
patch_embedding, prepend_class_token, encoder_block, layer_norm, softmax = (
    my_pieces(
        "patch_embedding",
        "prepend_class_token",
        "encoder_block",
        "layer_norm",
        "softmax",
    )
)

# %% [markdown]
# (What you see here on the page was made with no file. In your notebook "yours" stands beside each piece that you have written.)
#
# The file is plain Python. Open it and read; it is what you have built so far. In Colab the machine forgets its files, so mount your Drive *before* you work on a chapter (in the folder symbol on the left), and the file is kept there. Without
# Drive, `download_pieces()` from `course_lib.checks` saves it to your computer, and `upload_pieces()` brings it back another day.

# %% [markdown]
# ### Exercise 6.1 · `vit_forward`
#
# *Medium, 20 minutes.* The figure above, as a function.
#
# * `images` is `(B, C, H, W)`. `params` is a state dict with the names printed above, in any order. `num_heads` is the number of heads in every block.
# * The result is `(B, classes)`: the logits. Gradients must reach all of `params`, as in training.
# * How many blocks there are, and the patch size, follow from `params`. Do not assume twelve, or 16.
# * Use `patch_embedding(images, weight, bias)`, `prepend_class_token(tokens, cls_token)`, `encoder_block(x, params, num_heads)` and `layer_norm(x, weight, bias)`. `encoder_block` wants the names of *one* block without the beginning: `norm1.weight`, not `blocks.0.norm1.weight`.
#   If one of yours is not right yet, this check uses a correct one in its place.


# %% tags=["exercise"]
def vit_forward(images, params, num_heads):
    """Equations 1 to 4 and the head: images (B, C, H, W) -> logits (B, classes)."""
    # BEGIN SOLUTION
    x = patch_embedding(  # (B, N, D)
        images, params["patch_embed.proj.weight"], params["patch_embed.proj.bias"]
    )
    x = prepend_class_token(x, params["cls_token"])  # (B, N+1, D)
    x = x + params["pos_embed"]

    numbers = {int(name.split(".")[1]) for name in params if "blocks." in name}
    for i in range(len(numbers)):
        start = f"blocks.{i}."
        block = {
            name.removeprefix(start): value
            for name, value in params.items()
            if name.startswith(start)
        }
        x = encoder_block(x, block, num_heads)

    x = layer_norm(x, params["norm.weight"], params["norm.bias"])
    return x[:, 0] @ params["head.weight"].T + params["head.bias"]
    # END SOLUTION


# %% tags=["check"]
from course_lib.checks import check_vit_forward

check_vit_forward(vit_forward)

# %% [markdown] tags=["help"]
# <details>
# <summary>Hint</summary>
#
# Go down the figure, a line or two for each arrow. For block $i$, make a new dictionary of all entries whose name starts with `f"blocks.{i}."`, with that beginning cut off (`name.removeprefix(...)`). The depth is the highest block number plus 1, or the number of different ones.
#
# </details>
#
# <details>
# <summary>I get “KeyError: 'norm1.weight: encoder_block got names like ...'”</summary>
#
# `encoder_block` asks for `norm1.weight`, and the message shows a name that it got. `pos_embed`: that is the whole dictionary. `blocks.0.norm2.weight`: cut off the beginning. `.norm2.weight`: cut off the dot, too. No names at all: there is no such block.
#
# </details>
#
# <details>
# <summary>It is right for two blocks and wrong for twelve</summary>
#
# Names are text. In the alphabet `blocks.10` comes before `blocks.2`, and it *starts with* `blocks.1`. Loop over whole numbers, and compare with the dot at the end.
#
# </details>

# %% [markdown]
# ## 86,567,656
#
# That is the number that every library gives for the parameters of ViT-B/16 with 1000 classes. You can compute it without building a model. The state dict above says what there is. A block has two norms and four linear layers (qkv, proj, fc1, fc2), and chapter 3 counted one.
#
# ### Exercise 6.2 · `count_parameters`
#
# *Medium, 10 minutes.* Count with a formula, for any ViT with class token, learned positions, and a bias in each linear layer.
#
# * All seven arguments are whole numbers. Images are square, `mlp_dim` is the hidden width of the MLP ($3072$ in ViT-B), `dim` is $D$.
# * The result is a whole number, an `int`. Do not build a model to count it.


# %% tags=["exercise"]
def count_parameters(
    img_size, patch_size, in_chans, num_classes, dim, depth, mlp_dim
):
    """The number of parameters of a ViT, from its sizes alone."""
    # BEGIN SOLUTION
    tokens = (img_size // patch_size) ** 2 + 1
    embedding = in_chans * patch_size**2 * dim + dim
    class_token, positions = dim, tokens * dim

    norm = 2 * dim
    attention = (dim * 3 * dim + 3 * dim) + (dim * dim + dim)
    mlp = (dim * mlp_dim + mlp_dim) + (mlp_dim * dim + dim)
    blocks = depth * (norm + attention + norm + mlp)

    head = dim * num_classes + num_classes
    return embedding + class_token + positions + blocks + norm + head
    # END SOLUTION


# %% tags=["check"]
from course_lib.checks import check_count_parameters

check_count_parameters(count_parameters)

# %% [markdown] tags=["help"]
# <details>
# <summary>Hint</summary>
#
# A linear layer from $a$ to $b$ numbers has $ab + b$ parameters. A LayerNorm has two vectors of width $D$. The patch embedding is a linear layer from $C P^2$ to $D$. The state dict printed above is a list of all that must be counted.
#
# </details>
#
# <details>
# <summary>I get a number that is a little too small</summary>
#
# Subtract it from the expected one, and divide the difference by `dim`. One or two times $D$ is something that is there once. A multiple of `depth` is missing in each block.
#
# </details>

# %% [markdown]
# > **Predict.** Which has the most parameters in ViT-B/16: all the attentions, all the MLPs, or everything that is not in a block? About what share of the whole?

# %% tags=["hide-output"]
C, P, D, L, M, K, N = 3, 16, 768, 12, 3072, 1000, 14 * 14
parts = {
    "embedding": C * P * P * D + D + D + (N + 1) * D,  # patches, class, positions
    "attention": L * (4 * D * D + 4 * D),
    "MLP": L * (2 * D * M + M + D),
    "norms": L * 4 * D + 2 * D,
    "head": D * K + K,
}
total = sum(parts.values())
print(f"by hand:  {total:,}")
print(f"by tool:  {sum(p.numel() for p in shapes_only.parameters()):,}")
for name, count in parts.items():
    print(f"{name:10} {count / total:6.1%}")

# %% [markdown]
# Two thirds are MLPs, one third is attention, and all the rest together is less than 2 %.

# %% [markdown]
# ### And how much work?
#
# Parameters are what you store. What you *do* is multiply and add. The usual unit is one multiplication with its addition, a **MAC** (multiply-accumulate); a **FLOP** is either of the two, so a MAC is 2 FLOPs. Papers use both words for either, so look twice. With $T = N + 1 = 197$ tokens:
#
# | part | MACs | 224 pixels |
# |:--|:--|--:|
# | patch embedding | $N \cdot C P^2 D$ | 115,605,504 |
# | attention, the weights | $L \cdot 4\, T D^2$ | 5,577,375,744 |
# | attention, token by token | $L \cdot 2\, T^2 D$ | 715,327,488 |
# | MLP | $L \cdot 2\, T D M$ | 11,154,751,488 |
# | head | $D K$ | 768,000 |
# | **together** | | **17,563,828,224** |
#
# (Biases, norms, softmax and GELU are left out. They are small beside the products, and PyTorch's counter leaves them out, too.)
#
# > **Predict.** The third line is the famous $N^2$. What share of the work is it at 224 pixels? And at 384 pixels, where there are 577 tokens?


# %% tags=["hide-output"]
def macs(side):
    """Multiply-accumulates of ViT-B/16 on an image of side x side pixels, by part."""
    N = (side // P) ** 2
    T = N + 1
    return {
        "embedding": N * C * P * P * D,
        "attention, weights": L * 4 * T * D * D,
        "attention, N²": L * 2 * T * T * D,
        "MLP": L * 2 * T * D * M,
        "head": D * K,
    }


for side in (224, 384):
    with torch.device("meta"):
        model, image = vit_b_16(img_size=side), torch.empty(1, 3, side, side)
        counter = FlopCounterMode(display=False)
        # Recording runs the explicit softmax: older versions miss the fused one.
        with torch.no_grad(), record_attention(model), counter:
            model(image)
    by_hand = macs(side)
    print(f"{side} pixels: {sum(by_hand.values()):,} MACs")
    print("  two FLOPs each, says PyTorch's counter:", end=" ")
    print(2 * sum(by_hand.values()) == counter.get_total_flops())
    print(f"  N² part {by_hand['attention, N²'] / sum(by_hand.values()):.1%}")

# %% tags=["hide-input"]
#| alt: Three horizontal bars of full width, divided into parts. Parameters: one third attention, two thirds MLP, thin slices for embedding and head. Multiplications at 224 pixels: nearly the same division, and a slice of 4 % for the N squared part. At 384 pixels that slice is 11 %.
colors = {
    "embedding": (viz.KEY, ""),
    "attention, weights": (viz.QUERY, ""),
    "attention, N²": (viz.OUTPUT, "//"),
    "MLP": (viz.VALUE, ""),
    "head": (viz.MUTED, ""),
}
bars = {
    "parameters": {
        "embedding": parts["embedding"],
        "attention, weights": parts["attention"],
        "MLP": parts["MLP"],
        "head": parts["head"],
    },
    "MACs, 224 pixels": macs(224),
    "MACs, 384 pixels": macs(384),
}
_, ax = plt.subplots(figsize=(7, 2.3))
for y, amounts in enumerate(bars.values()):
    left, whole = 0.0, sum(amounts.values())
    for part, amount in amounts.items():
        share, (color, hatch) = amount / whole, colors[part]
        ax.barh(
            y,
            share,
            left=left,
            height=0.7,
            color=color,
            hatch=hatch,
            edgecolor=viz.PAPER,
            label=part if y == 1 else None,
        )
        if share > 0.03:
            ax.text(
                left + share / 2,
                y - 0.52 if hatch else y,  # above the narrow slices
                f"{share:.0%}",
                color=viz.INK if hatch else viz.PAPER,
                ha="center",
                va="center",
                weight="bold",
                fontsize=10,
            )
        left += share
ax.set_yticks(range(3), bars)
ax.set(xlim=(0, 1), xticks=[])
ax.invert_yaxis()
ax.spines[:].set_visible(False)
ax.tick_params(length=0)
ax.legend(
    loc="upper center",
    bbox_to_anchor=(0.4, -0.02),
    ncols=5,
    fontsize=9,
    columnspacing=1,
)
plt.show()

# %% [markdown]
# Four per cent. At 224 pixels, the size of pre-training, attention's square is hardly noticed, and at 384, the paper's size for fine-tuning, it is a ninth. What costs is $D^2$, and that cost grows with $N$ like any other network's. (In *memory* the square counts for more, and with small patches: chapter 4.)
#
# The parameter count is a good first test of a model. If yours differs, something is wrong. If it agrees, you know little: it says nothing about what happens to the parameters. Hold that thought for two sections.

# %% [markdown]
# ## Where each weight goes
#
# Weights for ViT come from at least four places, and each calls the same tensors by other names. In the rows of the blocks the beginnings are left out: `blocks.i.` (timm), `encoder.layers.encoder_layer_i.` (torchvision), `vit.encoder.layer.i.` (Hugging Face) and `Transformer/encoderblock_i/` (Google). $i$ is the number of the block.
#
# | timm, this course | torchvision | Hugging Face, files | Google, `.npz` |
# |:--|:--|:--|:--|
# | `patch_embed.proj` | `conv_proj` | `vit.embeddings.patch_embeddings.projection` | `embedding` |
# | `cls_token` | `class_token` | `vit.embeddings.cls_token` | `cls` |
# | `pos_embed` | `encoder.pos_embedding` | `vit.embeddings.position_embeddings` | `Transformer/posembed_input/pos_embedding` |
# | … `norm1` | … `ln_1` | … `layernorm_before` | … `LayerNorm_0` |
# | … `attn.qkv` | … `self_attention.in_proj_` | … `attention.attention.query`, `key`, `value` | … `MultiHeadDotProductAttention_1/query`, `key`, `value` |
# | … `attn.proj` | … `self_attention.out_proj` | … `attention.output.dense` | … `MultiHeadDotProductAttention_1/out` |
# | … `norm2` | … `ln_2` | … `layernorm_after` | … `LayerNorm_2` |
# | … `mlp.fc1` | … `mlp.linear_1` | … `intermediate.dense` | … `MlpBlock_3/Dense_0` |
# | … `mlp.fc2` | … `mlp.linear_2` | … `output.dense` | … `MlpBlock_3/Dense_1` |
# | `norm` | `encoder.ln` | `vit.layernorm` | `Transformer/encoder_norm` |
# | `head` | `heads.head` | `classifier` | `head` |
#
# All but class token and positions have two tensors, which end in `.weight` and `.bias` (torchvision's `in_proj_weight` and `in_proj_bias` have an underscore), and in `/kernel`, for norms `/scale`, and `/bias` at Google.
#
# (Google's names are those of the files beside [its code](https://github.com/google-research/vision_transformer).) Two of them spell some names in two ways. In torchvision's published *files* it is `mlp.linear_1` and `mlp.linear_2`, in its models in *memory* it is `mlp.0` and `mlp.3`. And inside Hugging Face's models names have changed with version 5 of the library (`layers.i.attention.q_proj`), while the published files keep the old ones.
#
# The shapes differ, too:
#
# | tensor | timm, torchvision | Hugging Face | Google |
# |:--|:--|:--|:--|
# | patch embedding | $(D, C, P, P)$ | the same | $(P, P, C, D)$: permute |
# | q, k, v | one $(3D, D)$ | three $(D, D)$: stack | three $(D, H, d)$: join the heads, transpose, stack |
# | attention's output | $(D, D)$ | the same | $(H, d, D)$: join the heads, transpose |
# | MLP, head | (out, in) | the same | (in, out): transpose |
#
# "Join the heads" sounds harmless. Here it is for a query, on numbers:

# %%
torch.manual_seed(5)
width, heads, d = 12, 3, 4
x = torch.randn(2, 7, width, dtype=torch.float64)
google = torch.randn(width, heads, d, dtype=torch.float64)  # (D, H, d)

in_jax = torch.einsum("bni,ihd->bnhd", x, google).flatten(2)  # heads in order
ours = google.flatten(1).T  # (D, H·d), then (H·d, D), as nn.Linear keeps it
forced = google.reshape(width, width)  # the same shape, not transposed
for name, weight in (("flatten, transpose", ours), ("reshape", forced)):
    print(f"{name}: {torch.allclose(F.linear(x, weight), in_jax)}")

# %% [markdown]
# $D = H d$, so both are square, and the wrong one loads without a word. Of all tables in this course, copy these into your notes.
#
# ### Two ways to load wrongly
#
# `load_state_dict` compares names, and stops if they do not agree. It has a switch to be less strict, and many a forum answer says: use it.
#
# > **Predict.** Torchvision's ViT-B/16 goes into our ViT-B/16 with `strict=False`. No name was changed. How many of the 152 tensors arrive? And what does PyTorch say?

# %% tags=["hide-output"]
with torch.device("meta"):
    theirs = torchvision.models.vit_b_16()
torch.manual_seed(7)
model = vit_b_16()
before = {name: value.clone() for name, value in model.state_dict().items()}

result = model.load_state_dict(theirs.state_dict(), strict=False)
after = model.state_dict()
unchanged = [name for name in after if torch.equal(after[name], before[name])]
print("error: none")
print("tensors of the model:        ", len(after))
print("of these, as random as before:", len(unchanged))

# %% [markdown]
# None, and nothing. Not one name is the same, so nothing was loaded, and `strict=False` had been told not to mind. The call returns the lists `missing_keys` and `unexpected_keys`, which is where you would have read it. Fine-tune such a model
# and it will train, from scratch, and you will wonder why pre-training does not help.
#
# The second way is to go by order: take the tensors of the file one after the other, and give each to the next parameter of the same shape. It needs no table of names.
#
# > **Predict.** A model with 12 blocks is saved and loaded again like that. What could go wrong, since the file holds the very same names?


# %% tags=["hide-output"]
def load_by_shape(model, tensors):
    """Wrong: the next unused tensor of the same shape, in the order of the file."""
    tensors = list(tensors)
    for parameter in model.parameters():
        shapes = [tensor.shape for tensor in tensors]
        parameter.data = tensors.pop(shapes.index(parameter.shape))
    print("tensors without a place:", len(tensors))


folder = Path(tempfile.mkdtemp())  # for the files of this chapter
torch.manual_seed(11)
config = vit.ViTConfig(
    img_size=24, patch_size=6, num_classes=5, embed_dim=32, depth=12, num_heads=2
)
model = vit.VisionTransformer(config)
for parameter in model.parameters():  # as after training: nothing left at 0 or 1
    nn.init.normal_(parameter, std=0.2)
save_weights(model, folder / "trained.safetensors")

in_the_file = formats.read_weights(folder / "trained.safetensors")
again = vit.VisionTransformer(config)
load_by_shape(again, in_the_file.values())
images = torch.randn(4, 3, 24, 24)
with torch.no_grad():
    same = torch.allclose(model(images), again(images), atol=1e-3)
wrong = [
    name
    for name, value in again.state_dict().items()
    if not torch.equal(value, in_the_file[name])
]
print("same logits:", same)
print(f"in the wrong place: {len(wrong)} of {len(in_the_file)}")
blocks_in_order = dict.fromkeys(
    n.split(".")[1] for n in in_the_file if "blocks" in n
)
print("blocks, as the file has them:", *blocks_in_order)

# %% [markdown]
# The usual writer of `.safetensors` sorts the tensors by name (within one type of numbers), so they are in alphabetical order. Blocks 10 and 11 come before block 2, and each `bias` before its `weight`, which for a norm have the same shape. Everything fits, and most of it is in the wrong place.
#
# So: **by name, strict, every tensor.** None missing, none left over.

# %% [markdown]
# ### Exercise 6.3 · `convert_torchvision_state_dict`
#
# *Medium, 15 minutes.* Bring torchvision's weights under timm's names. No tensor needs to change.
#
# * `state` is a dictionary from torchvision's names to tensors, as in the second column of the tables. It is from a model of any depth. The MLP is spelled in either of the two ways: `mlp.linear_1` and `mlp.linear_2`, or `mlp.0` and `mlp.3`.
# * The result is a new dictionary with the same tensors under timm's names: nothing missing, nothing left over. The order does not matter, neither theirs nor yours, and `state` stays as it is. Gradients must still reach the tensors.
#
# Full names look like `encoder.layers.encoder_layer_11.self_attention.in_proj_weight`, which becomes `blocks.11.attn.qkv.weight`.


# %% tags=["exercise"]
def convert_torchvision_state_dict(state):
    """The same tensors, each under the name that timm and this course have for it."""
    # BEGIN SOLUTION
    renames = {
        "conv_proj.": "patch_embed.proj.",
        "class_token": "cls_token",
        "encoder.pos_embedding": "pos_embed",
        "encoder.layers.encoder_layer_": "blocks.",
        ".ln_1.": ".norm1.",
        ".self_attention.in_proj_": ".attn.qkv.",
        ".self_attention.out_proj.": ".attn.proj.",
        ".ln_2.": ".norm2.",
        ".mlp.linear_1.": ".mlp.fc1.",
        ".mlp.linear_2.": ".mlp.fc2.",
        ".mlp.0.": ".mlp.fc1.",
        ".mlp.3.": ".mlp.fc2.",
        "encoder.ln.": "norm.",
        "heads.head.": "head.",
    }
    converted = {}
    for name, value in state.items():
        for theirs, ours in renames.items():
            name = name.replace(theirs, ours)
        converted[name] = value
    return converted
    # END SOLUTION


# %% tags=["check"]
from course_lib.checks import check_convert_torchvision_state_dict

check_convert_torchvision_state_dict(convert_torchvision_state_dict)

# %% [markdown] tags=["help"]
# <details>
# <summary>Hint</summary>
#
# A dictionary from their beginnings and endings to ours, and two loops: over the names of `state`, and over that dictionary with `name.replace(theirs, ours)`. Include the dots, so that a short piece of text does not match inside another name.
#
# </details>
#
# <details>
# <summary>I get “names missing”, and the name looks nearly right</summary>
#
# Torchvision writes `in_proj_weight`, with an underscore where everybody else has a dot. `in_proj_` becomes `qkv.`, with a dot.
#
# </details>
#
# <details>
# <summary>I get “names left over”</summary>
#
# A name came through unchanged, or changed in half. `heads.head.weight` becomes `head.weight`, and `encoder.ln.weight` becomes `norm.weight`. Print the names of your result and look for the odd ones.
#
# </details>

# %% [markdown]
# ## The same numbers as the libraries
#
# Now the proof. Three libraries each build a ViT-B/16 of their own. All their parameters are filled with random numbers, so that none is 0 or 1 and none can hide. Then the same tensors go into our model, by name and strictly. Both see the same photograph.
#
# Random weights are better than trained ones here: a bias that training has left near 0 would not show if it were lost.
#
# > **Predict.** `float32` keeps about seven digits. After 17 billion multiplications, each of them rounded, how far will the logits of two correct models be apart: nothing at all, less than $10^{-5}$, or about $10^{-3}$?


# %% tags=["hide-output"]
import timm
import transformers


def fill(model):
    """Random numbers into all parameters, of such a size that the logits are moderate."""
    torch.manual_seed(13)
    for parameter in model.parameters():
        values = parameter.data.uniform_(-1.7, 1.7)  # standard deviation near 1
        if (
            parameter.ndim == 2
        ):  # a linear layer: what comes out is as large as what goes in
            values /= parameter.shape[1] ** 0.5
        elif (
            parameter.ndim == 1
        ):  # a bias, or the scale of a norm, which gets 1 added below
            values *= 0.1
        else:  # patch embedding, class token, positions: small, as positions start out
            values *= 0.02
    for module in model.modules():
        if isinstance(module, nn.LayerNorm):
            module.weight.data += 1.0


def build_timm():
    return timm.create_model("vit_base_patch16_224")


def build_transformers():
    sizes = transformers.ViTConfig(num_labels=1000, layer_norm_eps=1e-6)
    return transformers.ViTForImageClassification(sizes)


def logits_of(model, images):
    with torch.inference_mode():
        result = model(images)
    return getattr(result, "logits", result)  # transformers wraps them


imagenet = REGISTRY["torchvision/vit_b_16.imagenet1k_v1"].preprocessing
photo = imagenet.transform()(flower)[None]  # (1, 3, 224, 224)
libraries = {}
for build in (build_timm, torchvision.models.vit_b_16, build_transformers):
    with torch.device("meta"):  # no time lost on numbers that are replaced
        theirs, ours = build().eval(), vit_b_16().eval()
    fill(theirs.to_empty(device="cpu"))
    library, renamed = convert.to_timm_names(theirs.state_dict())
    ours.load_state_dict(renamed, assign=True)  # strict: every name, nothing else

    wanted, found = logits_of(theirs, photo), logits_of(ours, photo)
    libraries[library] = theirs, wanted
    print(f"{library:12} {len(renamed)} tensors", end=", ")
    print(f"logits up to {wanted.abs().max():.0f}", end=", ")
    print("all equal to 1e-5:", ((wanted - found).abs().max() <= 1e-5).item())

# %% [markdown]
# Less than $10^{-5}$, whichever library. (It can be exactly 0, if two libraries happen to call the same routines in the same order. Print it: it depends on the machine, so it is not printed here.) Not one class, not the best five: all 1000 logits. That is what "the same model" means in this course.
#
# One line above is not what you get by default. Hugging Face's `ViTConfig` comes with `layer_norm_eps=1e-12`, and so do the weights that Google has put there; timm's, torchvision's and Google's own ViT have $10^{-6}$. Does it matter which one the model has? Look at the class token: `fill` makes it small, and its variance is what epsilon is added to. So here it is asked twice, the second time with patch embedding, class token and positions 50 times as large.

# %%
theirs, _ = libraries["huggingface"]
for scale in (1, 50):
    for parameter in theirs.parameters():
        if parameter.ndim > 2:  # patch embedding, class token, positions
            parameter.data *= scale
    answers = []
    for eps in (1e-6, 1e-12):
        for module in theirs.modules():
            if isinstance(module, nn.LayerNorm):
                module.eps = eps
        answers.append(logits_of(theirs, photo))
    embeddings = theirs.vit.embeddings
    first = (embeddings.cls_token + embeddings.position_embeddings[:, :1]).var()
    difference = (answers[0] - answers[1]).abs().max().item()
    print(f"variance of the class token {first:.1g}", end=": ")
    print("equal to 1e-5:", difference < 1e-5, end=", ")
    print("to 1e-3:", difference < 1e-3)

# %% [markdown]
# Beside a variance of $0.0008$, $10^{-6}$ is a thousandth, and you see it in the logits: enough to fail a comparison to $10^{-5}$, and too little to be noticed in any other way. Beside a variance of 2 it is nothing. **Epsilon counts only where tokens are small**, and you do not know beforehand where they are. So when you load weights, take over their epsilon, too. `load_pretrained` does.

# %% [markdown]
# ### Right is not "looks right"
#
# How would one notice that a model is wrong? By an error. By the number of parameters. By comparing the best class with a library's. By comparing logits, with some tolerance. To find out what these are worth, 58 wrong models were made for this course, one mistake in each, and each was compared with the
# right one on 16 images.
#
# > **Predict.** All 58 run without an error. How many have the right number of parameters? And how many name the right best class for *all* 16 images?

# %% tags=["hide-output"]
record = load_record("model_mutants")
mutants, images_seen = record["mutants"], record["images"]
same_count = sum(m["same_parameter_count"] for m in mutants)
same_answers = [m for m in mutants if m["top1_changed"] == 0]
print(f"wrong models: {len(mutants)}")
print(f"with the right number of parameters: {same_count}")
print(f"with the right best class on all {images_seen} images: {len(same_answers)}")
print("passed by a tolerance of 1e-3:", sum(m["passes_1e-3"] for m in mutants))
for m in sorted(same_answers, key=lambda m: -m["logit_error"]):
    print(f"  {m['logit_error']:<8} {m['mutant']}")

# %% tags=["hide-input"]
#| alt: 58 wrong models as points. Across, the largest error of their logits, logarithmic, from 0 to 5. Up, on how many of 16 images the best class changes. Most points lie on the right, with errors between 0.1 and 5, and change between 1 and 16 images. Along the bottom, at 0 changed images, lie nine points from error 0.3 down to 0. Vertical lines mark tolerances of 1e-3 and 1e-5: four points lie left of 1e-3, one left of 1e-5. Two points are crosses, models with another number of parameters.
NAMED = {  # in the figure: text, offset in points, where the text is aligned
    "LayerNorm epsilon 1e-5": ("epsilon 1e-5", (-4, 8), "left"),
    "LayerNorm epsilon 1e-12": (
        "epsilon: 1e-12,\noutside the root",
        (-8, 6),
        "right",
    ),
    "GELU by tanh": ("tanh GELU", (-3, 33), "right"),
    "bias of k dropped": ("bias of k\ndropped", (-6, 8), "left"),
    "bias of q dropped": ("bias of q dropped", (-7, -3), "right"),
    "second bias of the MLP missing": ("a bias missing", (8, -3), "left"),
    "no final norm": ("no final norm", (-7, -3), "right"),
    "last block left out": ("last block left out", (-7, -3), "right"),
    "attention over the batch": ("attention over the batch", (30, 12), "right"),
}
NOTHING = 1e-6  # an error of 0 is drawn here, since the axis is logarithmic
_, ax = plt.subplots(figsize=(7, 3.6))
for same, marker, label in (
    (True, "o", "right number of parameters"),
    (False, "X", "another number"),
):
    found = [m for m in mutants if m["same_parameter_count"] == same]
    ax.scatter(
        [max(m["logit_error"], NOTHING) for m in found],
        [m["top1_changed"] for m in found],
        marker=marker,
        s=50,
        alpha=0.75,
        color=viz.KEY if same else viz.QUERY,
        edgecolor="none",
        label=label,
    )
for m in mutants:
    if m["mutant"] in NAMED:
        text, offset, align = NAMED[m["mutant"]]
        ax.annotate(
            text,
            (max(m["logit_error"], NOTHING), m["top1_changed"]),
            xytext=offset,
            textcoords="offset points",
            ha=align,
            fontsize=9,
            arrowprops={"arrowstyle": "-", "relpos": (0.8, 0), "shrinkB": 4}
            if text in ("attention over the batch", "tanh GELU")
            else None,
        )
for tolerance in (1e-3, 1e-5):
    ax.axvline(tolerance, color=viz.MUTED, linestyle=":")
    ax.text(
        tolerance * 1.2,
        14.9,
        f"tolerance $10^{{{round(math.log10(tolerance))}}}$",
        color=viz.MUTED,
        fontsize=9,
        va="center",
    )
ax.set(
    xscale="log",
    xlim=(4e-7, 12),
    ylim=(-0.9, 18),
    yticks=range(0, 17, 2),
    xlabel="largest error of a logit",
    ylabel=f"images of {images_seen} with\nanother best class",
)
ax.set_xticks([NOTHING, 1e-5, 1e-3, 0.1, 1], ["0", "1e-5", "1e-3", "0.1", "1"])
ax.minorticks_off()
ax.legend(loc="center", bbox_to_anchor=(0.63, 0.72), fontsize=9)
plt.show()

# %% [markdown]
# Each point is a wrong model (small, with random weights; `tests/mutants.py` makes them and `data/README.md` says where the record is). Read the figure from the bottom. **Nine of them name the right class every time**, among them all that get LayerNorm or GELU slightly wrong. **All but two have the right number of parameters.** And left of the line at $10^{-3}$, a tolerance that is
# widely used in tests of this kind, lie four.
#
# The last one, on the far left, is not a mistake that a comparison of outputs could ever find. Dropping the bias of the keys changes all scores of a query by the same number, and you know from chapter 1 what softmax does with that: nothing. It is found by comparing *parameters*: each tensor in the model, bit by bit, with the one in the file. So do both. Compare
# parameters with `torch.equal`, in a line like the `wrong = [...]` in `load_by_shape`'s cell, and all logits with a tolerance of $10^{-5}$.

# %% [markdown]
# ### Exercise 6.4 · `my_vit`
#
# *Easy, 5 minutes. The capstone.* Everything together: from a photograph and somebody else's weights to probabilities.
#
# * `images` is `(B, C, H, W)`, prepared already: scaled and normalised as the model wants it. `state` has torchvision's names. `num_heads` as before.
# * The result is `(B, classes)`: for each image the probabilities of the classes, with sum 1, however large the logits are and however far the images lie apart. Nobody needs gradients here.
# * Use `convert_torchvision_state_dict`, `vit_forward` and `softmax(scores, dim=-1)`. The first two are above, and if one is not right yet, this check uses a correct one.


# %% tags=["exercise"]
def my_vit(images, state, num_heads):
    """Class probabilities from weights under torchvision's names: (B, C, H, W) -> (B, classes)."""
    # BEGIN SOLUTION
    params = convert_torchvision_state_dict(state)
    logits = vit_forward(images, params, num_heads)
    return softmax(logits, dim=-1)
    # END SOLUTION


# %% tags=["check"]
from course_lib.checks import check_my_vit

check_my_vit(my_vit)

# %% [markdown] tags=["help"]
# <details>
# <summary>Hint</summary>
#
# Three lines, one for each function. Each image has its own probabilities, so the softmax runs along the classes, the last dimension.
#
# </details>
#
# <details>
# <summary>I get “KeyError: 'patch_embed.proj.weight'”</summary>
#
# `vit_forward` got the names of torchvision. Convert `state` first, and hand on what comes back.
#
# </details>

# %% [markdown]
# If all your pieces are in place, that function is a ViT-B/16 of which you have written every line: softmax, attention, heads, LayerNorm, MLP, block, patches, class token. Run it at its true size. The weights are torchvision's model with random numbers, made for the purpose, 86 million of them, with torchvision's names. (Your `my_vit` is used if it has passed, otherwise the course's. On this page it is the answer given above.)

# %% tags=["nbval-ignore-output"]
(whole_vit,) = my_pieces("my_vit")

# %%
theirs, wanted = libraries["torchvision"]
with torch.inference_mode():
    probabilities = whole_vit(photo, theirs.state_dict(), 12)
print("shape:", tuple(probabilities.shape))
print("sum 1:", torch.allclose(probabilities.sum(dim=-1), torch.ones(1)))
difference = (probabilities - wanted.softmax(dim=-1)).abs().max().item()
print("as torchvision's own model, to 1e-6:", difference <= 1e-6)
libraries.clear()  # 0.7 GB that are needed no more

# %% [markdown]
# Is the last line `False` in your notebook? Then a piece in `my_pieces.py` is no longer what its check has passed. Run the earlier checks again.

# %% [markdown]
# ## Real weights
#
# ### Small ones, which are here
#
# The course brings along a ViT that was trained on scikit-learn's handwritten digits, $8 \times 8$ pixels each: `vit_digits_patch2_8`, with patches of 2 pixels, so 16 tokens, width 48, 4 blocks. It was trained with `benchmarks/train_digits.py`, on the first 1200 digits. You will train such models yourself from chapter 7 on. Here you load one.

# %%
model = create_model("vit_digits_patch2_8").eval()
load_pretrained(model, "course/vit_digits_patch2_8")
print(model.preprocessing)

# %% [markdown]
# `load_pretrained` recognises the format, translates the names, checks every shape, compares the file with its known hash, and takes over what belongs to the weights: LayerNorm's epsilon, and how the images must be prepared. Then the 297 digits of the test split, which the model has not seen:

# %%
images, labels = digits("test")


@torch.no_grad()
def predict(model, images):
    """The probabilities of the ten digits, for pixels between 0 and 1."""
    (mean,), (std,) = model.preprocessing.mean, model.preprocessing.std
    return model((images - mean) / std).softmax(dim=-1)


def share_right(probabilities):
    return (probabilities.argmax(dim=-1) == labels).double().mean().item()


answers = predict(model, images)
print(f"right: {share_right(answers):.0%} of {len(labels)} digits")

# %% tags=["hide-input"]
#| alt: Seven handwritten digits in a row, each with three horizontal bars below it, the most probable answers. The first four are right, with one long bar each. The last three are wrong, each with one long bar at a wrong digit, and in their titles stands what they should be.
sure, said = answers.max(dim=-1)
mistakes = (said != labels).nonzero()[:, 0]
surest = mistakes[sure[mistakes].argsort(descending=True)[:3]]
chosen = [0, 1, 2, 3, *surest.tolist()]

figure, axes = plt.subplots(2, 7, figsize=(7, 2.5), height_ratios=[1.5, 1])
for i, (top, below) in zip(chosen, axes.T):
    right = said[i] == labels[i]
    top.imshow(images[i, 0], cmap="gray_r", interpolation="nearest")
    top.set_title(
        f"a {labels[i]}" if right else f"a {labels[i]}: no",
        color=viz.INK if right else viz.QUERY,
        fontsize=11,
    )
    top.set(xticks=[], yticks=[])
    best = answers[i].topk(3)
    below.barh(range(3), best.values, color=viz.VALUE if right else viz.QUERY)
    below.set_yticks(range(3), best.indices.tolist())
    below.set(xlim=(0, 1), xticks=[0, 1])
    below.tick_params(labelsize=9)
    below.invert_yaxis()
figure.supxlabel("probability of the three best answers", fontsize=10)
plt.show()

# %% [markdown]
# The first four digits of the test split, and the three mistakes of which the model was most sure. Look at the three with your own eyes. Some are hard for anybody. And a probability is no promise: a model can be sure and wrong.
#
# ### What if the last norm is forgotten?
#
# The mutants above had random weights. Here are four mistakes on trained ones.
#
# > **Predict.** No last norm; reading token 1 in place of the class token; GELU in its tanh form; epsilon $10^{-5}$. Which of the four change the answer for more than one of 1497 digits, those of training and of test together?


# %% tags=["hide-output"]
def fresh():
    copy = create_model("vit_digits_patch2_8").eval()
    copy.load_state_dict(model.state_dict())
    copy.preprocessing = model.preprocessing
    return copy


no_norm, eps, tanh, token_1 = fresh(), fresh(), fresh(), fresh()
no_norm.norm = nn.Identity()
for module in eps.modules():
    if isinstance(module, nn.LayerNorm):
        module.eps = 1e-5
for block in tanh.blocks:
    block.mlp.act = nn.GELU(approximate="tanh")
token_1.forward_head = lambda tokens: token_1.head(tokens[:, 1])

every_digit = torch.cat([images, digits("train").images])
right = predict(model, every_digit)
for name, mutant in {
    "epsilon 1e-5": eps,
    "tanh GELU": tanh,
    "no last norm": no_norm,
    "reads token 1": token_1,
}.items():
    mistaken = predict(mutant, every_digit)
    changed = (mistaken.argmax(-1) != right.argmax(-1)).sum().item()
    print(f"{name:13}  more than one changed: {changed > 1!s:5}", end=", ")
    print(f"right in test {share_right(mistaken[: len(images)]):.0%}", end=", ")
    largest = (mistaken - right)[: len(images)].abs().max().item()
    print(f"a probability off by {largest:.1g}")

best = right.topk(2).values
margins = (best[:, 0] - best[:, 1]).sort().values
print(f"closest decisions of the right model: {margins[0]:.4f}, {margins[1]:.4f}")

# %% [markdown]
# Reading the wrong token is a disaster. The other three leave the accuracy at 94 %. They change at most one answer of 1497, that of a digit for which the right model has its two best answers only $0.0001$ apart: the toss of a coin. But look at the probabilities. Epsilon and tanh move them in the fourth decimal. The forgotten norm moves one by $0.6$, and the accuracy says nothing of it.
# On other weights it matters more: with random ones, in the record above, 7 of 16 best classes changed. **Accuracy does not tell a right model from a wrong one; numbers do.**
#
# ### What to do when the numbers differ
#
# Compare **block by block**: the first block that differs is where to look. A forward hook, a function that PyTorch calls with what a module puts out, works on anybody's model. Suppose that somebody has left one tanh GELU in block 2:


# %%
def outputs_of(blocks, run):
    """What each of the blocks puts out during `run()`."""
    outputs = []
    keep = lambda module, inputs, output: outputs.append(output)  # noqa: E731
    hooks = [block.register_forward_hook(keep) for block in blocks]
    run()
    for hook in hooks:
        hook.remove()
    return outputs


suspect = fresh()
suspect.blocks[2].mlp.act = nn.GELU(approximate="tanh")
theirs, ours = (
    outputs_of(m.blocks, lambda m=m: predict(m, images)) for m in (model, suspect)
)
for i, (wanted, found) in enumerate(zip(theirs, ours)):
    print(f"block {i} equal to 1e-5:", torch.allclose(wanted, found, atol=1e-5))

# %% [markdown]
# ### Each file has its own images
#
# A trained model expects its pixels as they were in training. Size, crop, mean and standard deviation belong to the weights, and stand in none of the file's tensors. Two entries of the course's registry, both a ViT-B/16 at 224 pixels:

# %%
torchvision_entry = REGISTRY["torchvision/vit_b_16.imagenet1k_v1"]
google_entry = REGISTRY["google/vit-base-patch16-224/model.safetensors"]
for entry in (torchvision_entry, google_entry):
    images_wanted = entry.preprocessing
    print(entry.name)
    print("  mean", images_wanted.mean, "std", images_wanted.std)
    print("  resize", images_wanted.resize, images_wanted.interpolation)
    print("  LayerNorm epsilon", entry.norm_eps)
    print("  right on ImageNet in per cent:", entry.top1)

# %% tags=["hide-input"]
#| alt: Three pictures of the same Chinese pavilion. The whole photograph, wider than high. As torchvision's weights see it, a square from the middle, with both sides of the picture gone. As Google's weights on Hugging Face see it, the whole picture squeezed into a square, everything narrower.
china = photographs()["china"]
small = v2.functional.resize(china, [156, 234])
pictures = {"the photograph": small / 255}
for name, entry in (("torchvision", torchvision_entry), ("Google", google_entry)):
    seen = entry.preprocessing.transform()(china)  # (3, 224, 224)
    mean, std = (
        torch.tensor(numbers)[:, None, None]
        for numbers in (entry.preprocessing.mean, entry.preprocessing.std)
    )
    title = f"{name}: {seen.min():.1f} to {seen.max():.1f}"
    pictures[title] = v2.functional.resize(seen * std + mean, [156, 156])
_, axes = plt.subplots(1, 3, figsize=(6.6, 2), width_ratios=[1.5, 1, 1])
for ax, (title, picture) in zip(axes, pictures.items()):
    ax.imshow(picture.permute(1, 2, 0).clamp(0, 1), interpolation="nearest")
    ax.set_title(title, fontsize=11)
    ax.axis("off")
plt.show()

# %% [markdown]
# Torchvision cuts $224 \times 224$ out of the middle, once the shorter side is 256 pixels long. Google's weights want the whole picture, squeezed. The numbers that go in (in the titles) differ as well.
#
# So do their histories. Torchvision has trained its model from the start on ImageNet's 1000 classes, with a changed form of DeiT's recipe, and [gives 81.072 %](https://docs.pytorch.org/vision/stable/models/generated/torchvision.models.vit_b_16.html) on the validation images. Google's was pre-trained on ImageNet-21k, 14 million images, and fine-tuned on the 1000 classes ([its page](https://huggingface.co/google/vit-base-patch16-224)). `None` means that no figure for this file was found at a source.
#
# > **Predict.** The digits model was trained with $(x - 0.5)/0.5$, pixels from $-1$ to $1$. Somebody forgets that and feeds pixels from 0 to 1. How many per cent of the digits does it get right: nearly as many, about half, or not much more than the 10 % of guessing?

# %% tags=["hide-output"]
runs = load_record("digits_sizes")["runs"]
prepared = {
    "(x - 0.5) / 0.5, as trained": "(x - 0.5) / 0.5",
    "(x - 0.449) / 0.226": "(x - 0.449) / 0.226",
    "x, not normalised": "x",
    "255 x, not even divided": "255 x",
}
print("right, lowest and highest of", len(runs), "models")
for title, name in prepared.items():
    shares = [run["test_by_preparation"][name] for run in runs]
    print(f"{title:28} {min(shares):.0%} to {max(shares):.0%}")

with torch.no_grad():
    live = model(images).softmax(dim=-1)
print("the loaded one, not normalised, loses more than half:", end=" ")
print(share_right(live) < share_right(answers) / 2)

# %% [markdown]
# Between 9 and 29 %: from guessing to not quite a third. Even the second line, ImageNet's mean and standard deviation (averaged over the colours), costs two digits of three: the pixels then run from $-2.0$ to $2.4$, more than twice the contrast that the model knows. Images that nobody has divided by 255 are the end of it, guessing or worse. No error, no warning, and all of the weights in their place.

# %% [markdown]
# ### What is refused
#
# `load_pretrained` does everything or nothing. Here is what it says to another number of classes, and to a file in which one bit has been changed. Then the same damaged file, under another name:


# %%
def refusal(model, file, **options):
    """The message, without the folder; and the model must be as it was."""
    before = [parameter.clone() for parameter in model.parameters()]
    try:
        load_pretrained(model, file, **options)
    except ValueError as error:
        print(str(error).replace(f"{folder}{os.sep}", ""))
    assert all(map(torch.equal, before, model.parameters()))
    print()


file = folder / "vit_digits_patch2_8.safetensors"
save_weights(model, file)  # byte by byte the published file
refusal(create_model("vit_digits_patch2_8", num_classes=7), file)

content = bytearray(file.read_bytes())
content[len(content) // 2] ^= 1  # one bit of 2.5 million
file.write_bytes(content)
refusal(create_model("vit_digits_patch2_8"), file)

damaged = create_model("vit_digits_patch2_8")
load_pretrained(damaged, file.rename(folder / "renamed.safetensors"))
published = model.state_dict()
for name, value in damaged.state_dict().items():
    if not torch.equal(value, published[name]):
        print("different:", name)

# %% [markdown]
# "All in place", and one weight is wrong. A `.safetensors` file has no checksum of its own, so with one bit changed it is as valid as before. It was noticed the first time only because the registry knows the SHA-256 of the published file by its name. So load by the registry's names, or compare the hash. (The last lines compare parameters, as above. They find the one tensor, if you have the right ones beside it.)
#
# One thing you cannot see here: a `.pth` file can hold a program besides the tensors. `load_pretrained` reads such files without running anything in them, and refuses those that ask for it.

# %% [markdown]
# ### Large ones, which others have trained
#
# The next cell loads the ViT-B/16 that torchvision publishes and shows it the two photographs. **It downloads 346 MB, once**, and keeps the file where torchvision would keep it. Without a network it says so and goes on.


# %% tags=["nbval-ignore-output"]
def published_vit():
    """Torchvision's weights in our model, or None where they cannot be had."""
    try:
        return create_model("vit_base_patch16_224", pretrained=True).eval()
    except ValueError:
        print("No network, and no copy of the weights here: nothing to show.")


large = published_vit()
classes = torchvision.models.ViT_B_16_Weights.IMAGENET1K_V1.meta["categories"]
if large is not None:
    prepare = large.preprocessing.transform()
    inputs = torch.stack([prepare(photo) for photo in photographs().values()])
    probabilities = logits_of(large, inputs).softmax(dim=-1)  # (2, 1000)
    for title, row in zip(photographs(), probabilities):
        print(title)
        for probability, index in zip(*row.topk(5)):
            print(f"  {probability:6.1%}  {classes[index]}")

# %% [markdown]
# Now the same file in torchvision's own model, and in `my_vit`:

# %% tags=["nbval-ignore-output"]
if large is not None:
    weights = formats.read_weights(weights_folder() / torchvision_entry.file)
    theirs = torchvision.models.vit_b_16().eval()
    theirs.load_state_dict(weights)
    wanted = logits_of(theirs, inputs)
    with torch.inference_mode():
        mine = whole_vit(inputs, weights, 12)
    difference = (logits_of(large, inputs) - wanted).abs().max().item()
    print("all logits as torchvision's, to 1e-4:", difference < 1e-4)
    difference = (mine - wanted.softmax(dim=-1)).abs().max().item()
    print("my_vit's probabilities, to 1e-5:", difference < 1e-5)

# %% [markdown]
# On the page you see what the cells print without a network. Run them where there is one, and a function of which you have written every line names what is in the pictures, with weights that somebody else has trained. To try a picture of your own, give `prepare` a `PIL.Image.open("...")`, of whatever kind: it becomes RGB on the way.

# %% [markdown]
# ## Another image size
#
# The digits model knows $4 \times 4$ patches. Give it digits of $12 \times 12$ pixels and there are $6 \times 6$ patches, so 36 positions in place of 16. You know from chapter 5 what to do, and `load_pretrained` does it, with one line to say so:

# %%
larger = create_model("vit_digits_patch2_8", img_size=12).eval()
larger = load_pretrained(larger, "course/vit_digits_patch2_8")

# %% [markdown]
# > **Predict.** The digits are resized to 12 pixels, too. They now show nothing that they did not show before, and a patch of 2 pixels covers less of the pen stroke than in training. How will the model do: clearly worse, about the same, or better?

# %% tags=["hide-output"]
resized = F.interpolate(images, size=(12, 12), mode="bilinear", antialias=True)
print(f"at  8 pixels: {share_right(answers):.0%}")
print(f"at 12 pixels: {share_right(predict(larger, resized)):.0%}")

# %% tags=["hide-input"]
#| alt: Share of digits that are right against the side of the image, 6 to 16 pixels, five lines for five models. At 6 pixels they lie between 0.66 and 0.79. From 8 pixels, the size of training, marked by a dotted line, to 16 they lie between 0.88 and 0.96, and cross each other; up to 14 they show no common rise or fall, and from 14 to 16 four of the five fall.
sizes = [int(size) for size in runs[0]["test_by_size"]]
_, ax = plt.subplots(figsize=(6, 2.8))
for run in runs:
    shares = [run["test_by_size"][str(size)] for size in sizes]
    ax.plot(sizes, shares, "o-", color=viz.KEY, alpha=0.45)
ax.axvline(8, color=viz.MUTED, linestyle=":")
ax.text(8.1, 0.62, "as in training", color=viz.MUTED)
ax.set(xlabel="side of the image in pixels", ylabel="share right", xticks=sizes)
ax.set_ylim(0.55, 1.0)
plt.show()

# %% [markdown]
# This model gains a point. Is a larger image better, then? One model and 297 digits, where a point is three digits: that is an anecdote. So five models were trained with the same recipe and other random numbers (`benchmarks/digits_sizes.py`; the loaded one is one of the five), and each judged at six sizes. Each line is one of them. From 8 to 12 pixels four of the five gain, between 0.7 and 4.7 points, and one loses 2.7. The honest answer is *about the same*. What is
# clear is the other side: at 6 pixels, with 9 patches, all five lose at least 15 points.
#
# That it works at all, without a step of training at 12 pixels, is the point. In practice one fine-tunes at the new size (chapter 9).

# %% [markdown]
# ## Another head, another front
#
# Both ends of the encoder have variants, and you will meet their names.
#
# **In front, a hybrid** (section 3.1 of the paper): a convolutional network looks first, and its output, a stack of feature maps, is cut into patches of size 1. **At the end, the head of pre-training**: not one linear layer, but a linear layer and a tanh, the **representation**, and then the classes. For fine-tuning it is replaced by one linear layer (`reset_classifier`; chapter 9). Both at once:

# %%
torch.manual_seed(23)
resnet = torchvision.models.resnet18().eval()
body = nn.Sequential(*list(resnet.children())[:7])  # up to the third stage
config = vit.ViTConfig(
    img_size=14, patch_size=1, in_chans=256, num_classes=21, embed_dim=40,
    depth=2, num_heads=5, representation_size=56,
)  # fmt: skip
hybrid = vit.VisionTransformer(config)
with torch.no_grad():
    maps = body(torch.randn(2, 3, 224, 224))
    tokens = hybrid.forward_features(maps)
    print("feature maps:  ", tuple(maps.shape))
    print("tokens:        ", tuple(tokens.shape))
    print("representation:", tuple(hybrid.pre_logits(tokens[:, 0]).shape))
    print("logits:        ", tuple(hybrid(maps).shape))

# %% [markdown]
# ## The block, tested
#
# This is what later chapters import. Compare it with your `vit_forward`.

# %%
import inspect

print(inspect.getsource(vit.VisionTransformer.forward_features))
print(inspect.getsource(vit.VisionTransformer.forward_head))

# %% [markdown]
# The three `if` are for models of chapter 5, without class token or without learned positions. `pre_logits` is the representation; in ViT-B/16 as you know it, it does nothing. Dropout (`pos_drop`) does nothing outside training.

# %%
shutil.rmtree(folder)  # the files of this chapter

# %% [markdown]
# ## Three to think about
#
# No code, a pencil.
#
# 1. ViT-L/16 has $D = 1024$, $L = 24$, $M = 4096$, at 224 pixels and with 1000 classes. How many parameters does it have? (Your formula.) Why about $3.5$ times as many as ViT-B?
# 2. Somebody loads weights, compares the logits with the library's on one image, and finds the largest difference to be $4 \cdot 10^{-4}$. The best five classes agree. What do you suspect first, and how do you find out?
# 3. Why can dropping the bias of the *keys* not change the output, while dropping that of the *queries* does?
#
# <details>
# <summary>Answers</summary>
#
# 1. 304,326,632. The blocks are nearly everything, with $12 D^2$ each: $(1024/768)^2 = 16/9$ times as many per block, and twice as many blocks, together $32/9 \approx 3.56$.
# 2. Epsilon, or the form of GELU: of the mutants, these have errors of that size and change no answer. Compare block by block. If the difference is there after the first block, and in the tokens that went in with a small variance, it is epsilon; in all tokens, it is GELU. (Before that: are both models in `eval` mode, and did both get the very same tensor?)
# 3. The score of query $i$ with key $j$ is $q_i \cdot (k_j + b) = q_i \cdot k_j + q_i \cdot b$. The second part is the same for all $j$, and softmax only sees differences along $j$. For the queries it is $(q_i + b) \cdot k_j = q_i \cdot k_j + b \cdot k_j$, which is different for each key.
#
# </details>

# %% [markdown]
# ## What you take with you
#
# * ViT is **four equations and a head**: embed, twelve blocks, norm, token 0, one linear layer.
# * **86,567,656** parameters, two thirds of them in MLPs. The $N^2$ of attention is 4 % of the work at 224 pixels.
# * Load **by name, strictly, all of them**. `strict=False` and copying by order fail silently.
# * With the weights come their **epsilon** and their **images**: size, crop, mean, standard deviation.
# * The right number of parameters and the right best class prove little. **Compare all logits** to $10^{-5}$, and the parameters bit by bit.
#
# The picture to keep: **from (B, 3, 224, 224) to (B, 1000)**, in seven rows.
#
# This was Part II. You have cut a photograph into patches, given each a place, put a class token in front, run it through blocks of your own, and loaded weights under other people's names. Nothing in a Vision Transformer is hidden from you now.
#
# ### To read
#
# * [Dosovitskiy et al. 2021, *An Image is Worth 16x16 Words*](https://arxiv.org/abs/2010.11929), now from beginning to end. Table 1 has the sizes, section 3.1 the equations and the hybrids, 3.2 fine-tuning.
# * [Steiner et al. 2022, *How to train your ViT?*](https://arxiv.org/abs/2106.10270): where many of the published weights come from, and what augmentation and data each needed.
# * [Touvron et al. 2021, *Training data-efficient image transformers*](https://arxiv.org/abs/2012.12877): the sizes Ti and S, and training without the huge data sets.
#
# Next, chapter 7: these weights came from somewhere. Train your own.
