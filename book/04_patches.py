# %% [markdown]
# # From pixels to tokens
#
# | Goal | Before you start | Time | Runs on |
# |:--|:--|:--|:--|
# | Turn a photograph into the tokens that a Transformer reads, and know what that keeps and what it loses | Chapters 1 to 3 | 90 minutes | any CPU |
#
# The encoder of chapter 3 reads a sequence of tokens. A photograph is not a sequence, and it has no tokens. The Vision Transformer
# makes some in the plainest way there is: it cuts the picture into squares, lays each square flat (*flattens* it), and sends all of them
# through one and the same linear layer. Those are a few lines of code, and six ways to get them wrong without
# an error message. By the end of this chapter you have written them, and you can tell when somebody else's are wrong.

# %% tags=["setup"]
import matplotlib.pyplot as plt
import torch
import torch.nn.functional as F
from einops import rearrange
from torch import nn
from torchvision.transforms import v2

from course_lib import patch_embed, viz
from course_lib.data import photographs

viz.set_style()
torch.set_num_threads(1)  # the examples are tiny: more threads only wait

# %% [markdown]
# ## Why not a token a pixel?
#
# It would be the obvious choice. Text comes in words and images come in pixels, so let every pixel be a token.
#
# > **Predict.** An image of $224 \times 224$ pixels, the usual size. How many tokens is that? How many entries does the matrix of attention
# > scores have, for one head in one block? And how much memory is that, at 4 bytes an entry?

# %% tags=["hide-output"]
pixels = 224 * 224
print(f"tokens: {pixels:,}")
print(f"scores: {pixels**2:,}, that is {4 * pixels**2 / 1e9:.0f} GB")

# %% [markdown]
# Ten gigabytes, and ViT-B has twelve heads in each of twelve blocks. A fused kernel (chapter 1) need not store all that, but it has to compute it all the same.
# [Nguyen et al. (2024)](https://arxiv.org/abs/2406.09415) do train Transformers on single pixels, those of much smaller images, and themselves call it computationally less practical.
#
# [Dosovitskiy et al. (2021)](https://arxiv.org/abs/2010.11929), section 3.1, make the sequence shorter with **patches**: squares of $P \times P$ pixels that do not overlap, one token each. With the $P = 16$ of their title, *An Image is Worth 16x16 Words*, the 50,176 tokens become
# $14 \times 14 = 196$.

# %% [markdown]
# ## An image is a tensor
#
# scikit-learn brings two photographs along, "china" and "flower", taken by Flickr's danielbuechele and vultilion (CC BY 2.0). Here is the flower.

# %%
photos = photographs()
flower = photos["flower"]
print(tuple(flower.shape), flower.dtype)
print("the pixel in row 200, column 310:", flower[:, 200, 310].tolist())

# %% [markdown]
# Three axes: **channel, row, column**. There are 3 channels (red, green, blue), 427 rows and 640 columns, in whole numbers from 0 to 255. PyTorch puts the channels first, $(C, \text{height}, \text{width})$. Files, Matplotlib and
# NumPy mostly put them last, $(\text{height}, \text{width}, C)$ (*channels-last*). That difference comes back in this chapter, twice.
#
# 427 cannot be divided by any useful patch size, since $427 = 7 \cdot 61$. So a photograph is first resized (as here), cropped, or padded with a border to a size that can be. Then its numbers are normalised: from 0…255 to 0…1,
# and then, channel by channel, minus a mean and divided by a standard deviation, so that over a whole data set they lie around 0 with a spread near 1. The mean and standard deviation are usually those of the training data, here
# ImageNet's. They come with the pretrained weights (chapter 6).

# %%
HEIGHT, WIDTH, P = 128, 192, 32  # not square, so that nothing can be swapped unseen
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)

to_picture = v2.Compose(
    [
        v2.Resize((HEIGHT, WIDTH), antialias=True),
        v2.ToDtype(torch.float32, scale=True),  # 0 ... 255 becomes 0 ... 1
    ]
)
normalise = v2.Normalize(MEAN, STD)

picture = to_picture(flower)
print(tuple(picture.shape))
for version in (picture, normalise(picture)):
    print(f"from {version.min():.1f} to {version.max():.1f}")

# %% tags=["hide-input"]
#| alt: A coarse detail of the photograph, four times side by side. An orange dahlia before dark green leaves, in colour, and its red, green and blue channel in grey. The blossom is bright in red, middling in green and dark in blue. The background is nearly black in red.
_, axes = plt.subplots(1, 4, figsize=(5.2, 1.5))
shown = picture[:, 20:116:2, 44:148:2]  # a detail, every other pixel
axes[0].imshow(shown.permute(1, 2, 0), interpolation="nearest")
axes[0].set_title("in colour")
for ax, channel, name in zip(axes[1:], shown, ("0: red", "1: green", "2: blue")):
    ax.imshow(channel, cmap="gray", vmin=0, vmax=1, interpolation="nearest")
    ax.set_title(name)
for ax in axes:
    ax.axis("off")
plt.show()

# %% [markdown]
# (All pictures here show the numbers between 0 and 1. Networks get them normalised.)
#
# In which order does PyTorch read the numbers of this tensor?
#
# > **Predict.** `picture.flatten()` lays all $3 \cdot 128 \cdot 192$ numbers in a row. Which are the first three: the red, green and blue of the first pixel, the red of the first three pixels in the top row, or
# > the red of the first three pixels in the left column?

# %% tags=["hide-output"]
first = picture.flatten()[:3]
print("colours of one pixel: ", torch.equal(first, picture[:, 0, 0]))
print("red, along a row:     ", torch.equal(first, picture[0, 0, :3]))
print("red, down a column:   ", torch.equal(first, picture[0, :3, 0]))

# %% [markdown]
# The last axis runs fastest. First come all the reds, row by row, then all the greens, then all the blues. `reshape` cuts this row of numbers into other lengths and **never changes their order**.
# (How they lie in memory is another matter. `flatten` and `reshape` hide it from you.)

# %% [markdown]
# ## Patches
#
# Now cut the *other* photograph into patches of $32 \times 32$ pixels. The function that does it is the course's own; you are about to write yours.

# %%
china = to_picture(photos["china"])  # (3, 128, 192)
gh, gw = HEIGHT // P, WIDTH // P
patches = patch_embed.patchify(china[None], P)[0]  # no batch, for a moment
print(f"{gh} rows of {gw} patches:", tuple(patches.shape))

# %% [markdown]
# 24 patches, each a row of $3 \cdot 32 \cdot 32 = 3072$ numbers. Here are four of them, as little pictures.
#
# > **Predict.** What does the photograph show? And how do the four belong together: which lies to the left, which above?

# %% tags=["hide-input"]
#| alt: Four square patches in a row: something very dark with a little green, an empty pale blue, an upturned corner of an orange roof over dark red columns, and a pale grey surface above bushes that could be water or mist.
squares = patches.unflatten(1, (3, P, P)).permute(0, 2, 3, 1)  # to look at
_, axes = plt.subplots(1, 4, figsize=(5, 1.4))
for ax, square in zip(axes, squares[[23, 3, 13, 16]]):
    ax.imshow(square, interpolation="nearest")
    ax.axis("off")
plt.show()

# %% [markdown]
# You may have guessed that the pale square belongs at the top, but that is something you know about photographs. The patch does not say it.
#
# Now look for the four, numbers 23, 3, 13 and 16, in the whole picture, cut into its patches and numbered in **reading order**: left to right, then top to bottom. Below it are the same patches, one after the other. That strip is all that the Transformer gets.

# %% tags=["hide-input"]
STRIP_TICKS = [P * (i + 0.5) - 0.5 for i in range(gh * gw)]


def draw_strip(ax, patches):
    """Patches (N, C·P·P) side by side in one row, numbered."""
    strip = patch_embed.unpatchify(patches[None], (1, len(patches)))[0]
    ax.imshow(strip.permute(1, 2, 0), interpolation="nearest")
    for i in range(1, len(patches)):
        ax.axvline(P * i - 0.5, color=viz.PAPER, lw=2.5)
    ax.set_xticks(STRIP_TICKS, range(len(patches)), fontsize=9)
    ax.set_yticks([])
    ax.tick_params(length=0, pad=2)
    ax.spines[:].set_visible(False)


def frame(ax, row, column, color, line):
    corner = P * column - 0.5, P * row - 0.5
    style = {"fill": False, "edgecolor": color, "linestyle": line}
    ax.add_patch(
        plt.Rectangle(corner, P, P, lw=3, zorder=5, clip_on=False, **style)
    )


# %% tags=["hide-input"]
#| alt: Above, a photograph of a Chinese pavilion with a curved roof by a lake, cut by a grid into 4 rows of 6 patches, numbered 0 to 23. Patches 7 and 13, one above the other on the pavilion, are framed. Below, the same 24 patches as one strip. There the two framed patches lie six places apart, joined by a bracket, and the pavilion is torn into pieces.
_, (top, below) = plt.subplots(2, 1, figsize=(7, 4), height_ratios=[7.5, 1])
top.imshow(china.permute(1, 2, 0), interpolation="nearest")
for i in range(1, gh):
    top.axhline(P * i - 0.5, color=viz.PAPER, lw=2.5)
for j in range(1, gw):
    top.axvline(P * j - 0.5, color=viz.PAPER, lw=2.5)
label = {"facecolor": viz.PAPER, "edgecolor": "none", "pad": 1.2}
for n in range(gh * gw):
    row, column = divmod(n, gw)
    x, y = P * column + 1.5, P * row + 1.5
    top.text(x, y, n, va="top", fontsize=9, bbox=label, color=viz.INK)
top.axis("off")
draw_strip(below, patches)
for n, color, line in ((7, viz.QUERY, "-"), (7 + gw, viz.KEY, "--")):
    frame(top, *divmod(n, gw), color, line)
    frame(below, 0, n, color, line)
x, y = [STRIP_TICKS[n] for n in (7, 7, 13, 13)], [-4, -12, -12, -4]
below.plot(x, y, color=viz.INK, lw=1.5, clip_on=False)
below.text(
    STRIP_TICKS[10], -17, "neighbours, 6 places apart", ha="center", fontsize=10
)
plt.show()

# %% [markdown]
# **The strip.** Try to see the pavilion in it. Patches 7 and 13 touch in the picture; in the strip they are $g_w = 6$ places apart, with five other patches between them. Patches 5 and 6 touch in the strip, and in the
# picture they lie at opposite edges. With 196 patches it is worse: above and below are 14 places apart.
#
# Attention reads the strip as a bag (chapter 1): distance in it costs nothing, and even the order goes unseen until chapter 5 adds it. What is above and below, it has to learn. A convolution is built on
# neighbourhood; chapter 8 asks what it costs to start with less.
#
# In letters (here $H$ is a height, as in the paper; in the other chapters it counts heads): an image of height $H$ and width $W$, in pixels, gives a grid of $g_h = H/P$ rows and $g_w = W/P$ columns, so $N = g_h\, g_w$ patches of $C \cdot P \cdot P$ numbers each.

# %% [markdown]
# ### How to cut
#
# Start with a single row of six numbers and $P = 2$. Cutting it takes no more than a reshape: `(6,)` to `(3, 2)`, three pieces of two. An axis of length $g \cdot P$ splits into two axes, *which piece* and *where in the piece*.
#
# Now a picture of 4 rows and 6 columns. Both axes split: `(4, 6)` to `(2, 2, 3, 2)`, and the axes now mean ($g_h$, $P$, $g_w$, $P$). Their order has not changed.
#
# > **Predict.** The pixels are numbered 0 to 23, row by row. Which four are the patch in patch row 1, patch column 2, the last one?

# %% tags=["hide-output"]
numbered = torch.arange(24).reshape(4, 6)
split = numbered.reshape(2, 2, 3, 2)  # (gh, P, gw, P)
print(numbered)
print("patch (1, 2):", split[1, :, 2].tolist())

# %% [markdown]
# A patch now sits on axes 1 and 3, with axis 2 between them. `permute` changes the order of the axes, and with it the order in which the numbers are read. Afterwards a reshape may join neighbouring axes again.
#
# In what order should the numbers of a patch lie? Any would do, as long as everybody agrees. The course uses the order of PyTorch's convolutions, for a reason that you will see: **channel, then row, then column**, or (c p q) for short, with p the row and q the column inside the patch.

# %% [markdown]
# ### Exercise 4.1 · `patchify`
#
# *Medium, 10 minutes.* Cut a batch of images into patches.
#
# * `images` is `(B, C, gh*P, gw*P)`, and `patch_size` is `P`. The images need not be square, and $C$ need not be 3.
# * The result is `(B, gh*gw, C*P*P)`: patches in reading order, and the numbers inside a patch in the order (c p q).
# * It has the type of `images`, and gradients must find their way back through it.
# * Reshape and permute do it in three lines, and that is the point. (einops or a loop over slices pass, too.) `F.unfold` and `F.pixel_unshuffle` are ready-made, and not allowed here; in 4.4 they are.


# %% tags=["exercise"]
def patchify(images, patch_size):
    """Patches in reading order, each laid flat as (c p q): (B, C, gh·P, gw·P) -> (B, gh·gw, C·P·P)."""
    # BEGIN SOLUTION
    B, C, height, width = images.shape
    P = patch_size
    gh, gw = height // P, width // P
    split = images.reshape(B, C, gh, P, gw, P)
    together = split.permute(0, 2, 4, 1, 3, 5)  # (B, gh, gw, C, P, P)
    return together.reshape(B, gh * gw, C * P * P)
    # END SOLUTION


# %% tags=["check"]
from course_lib.checks import check_patchify

check_patchify(patchify)

# %% [markdown] tags=["help"]
# <details>
# <summary>Hint</summary>
#
# Three steps. Split height and width: `(B, C, gh, P, gw, P)`. Permute, so that the patch axes come first and the axes inside a patch last: `(B, gh, gw, C, P, P)`. Then join the two patch axes into one, and the last three into one.
#
# </details>
#
# <details>
# <summary>I get “shape ... is invalid for input of size ...”</summary>
#
# A reshape must keep the number of elements. Often $g_h$ and $g_w$ were both computed from the height. They are `height // P` and `width // P`.
#
# </details>
#
# <details>
# <summary>I get “view size is not compatible with input tensor's size and stride”</summary>
#
# `view` works only where the numbers lie in memory in the order of the axes, and it refuses to move them. After `permute` they do not lie so. (Nor do those of the two photographs: their files have the channels last.) `reshape` copies them where it has to.
#
# </details>

# %% [markdown]
# ### The cut that is not one
#
# From here on the chapter uses the course's own functions, `patch_embed.…`, so that you can go on even if an exercise is still open.
#
# The shortest wrong solution skips the permutation: `images.reshape(B, N, C*P*P)`. The shape is right.
#
# > **Predict.** Our picture is $3 \times 128 \times 192$, and a "patch" gets 3072 numbers. Which pixels make up the first one? (How many rows of 192 numbers are that, and of which channels?)

# %% tags=["hide-input", "hide-output"]
wrong = china.reshape(gh * gw, 3 * P * P)  # (24, 3072): the same shape
top_reds, reds = china[0, :16].flatten(), china[0].flatten()
print("shapes are equal:           ", wrong.shape == patches.shape)
print("the first: red, top 16 rows:", torch.equal(wrong[0], top_reds))
print("0 to 7: red, all rows:      ", torch.equal(wrong[:8].flatten(), reds))

# %% tags=["hide-input", "hide-output"]
#| alt: Two large squares above a strip. Number 13 with permute: an upturned corner of an orange roof over dark red columns. Number 13 by bare reshape: thin horizontal stripes in red, orange, green, blue and magenta. Below, all 24 squares of the bare reshape: stripes and noise. Marks divide them into three times eight, reds, greens and blues, and in each part they go from bright to dark.
layout = [["with permute", "bare reshape"], ["strip", "strip"]]
_, axes = plt.subplot_mosaic(layout, figsize=(7, 2.5), height_ratios=[2.4, 1])
for name, patch in (("with permute", patches), ("bare reshape", wrong)):
    square = patch[13].reshape(3, P, P).permute(1, 2, 0)  # read as (c p q)
    axes[name].imshow(square, interpolation="nearest")
    axes[name].set_title(f"number 13, {name}", fontsize=11)
    axes[name].axis("off")
draw_strip(axes["strip"], wrong)
for start, values in ((0, "reds"), (8, "greens"), (16, "blues")):
    x = P * start - 0.5
    axes["strip"].axvline(x, ymax=1.5, color=viz.INK, lw=1.5, clip_on=False)
    axes["strip"].text(x + 6, -5, values, fontsize=10)
plt.show()

# %% [markdown]
# Sixteen rows of red, then sixteen more: slices, not squares. The first eight "patches" hold nothing but red, the next eight green, the last eight blue. They are drawn as if each were (c p q), so a third of the greens in number 13 is shown as red and a third as blue: hence the false colours. Three times the strip goes from the bright sky to the dark trees.
#
# You have met the sibling of this bug: `x.view(2, 3, 4)` in chapter 2. So: **after a reshape or a view, look at one element that you can compute by hand.**

# %% [markdown]
# ### Exercise 4.2 · `unpatchify`
#
# *Medium, 10 minutes.* Put the patches back. It is the inverse of `patchify`, number by number. You need it whenever you want to *see* patches: the strip above was drawn with it.
#
# * `patches` is `(B, gh*gw, C*P*P)`, `grid_size` is the pair `(gh, gw)`, and `in_chans` is $C$. The patch size is not given: it follows from the width of a patch.
# * The result is `(B, C, gh*P, gw*P)`, of the type of `patches`, and lets gradients through. `F.fold` and `F.pixel_shuffle` are ready-made, and not allowed either.


# %% tags=["exercise"]
def unpatchify(patches, grid_size, in_chans=3):
    """The images that the patches were cut from: (B, gh·gw, C·P·P) -> (B, C, gh·P, gw·P)."""
    # BEGIN SOLUTION
    gh, gw = grid_size
    B, _, width = patches.shape
    P = round((width / in_chans) ** 0.5)
    together = patches.reshape(B, gh, gw, in_chans, P, P)
    split = together.permute(0, 3, 1, 4, 2, 5)  # (B, C, gh, P, gw, P)
    return split.reshape(B, in_chans, gh * P, gw * P)
    # END SOLUTION


# %% tags=["check"]
from course_lib.checks import check_unpatchify

check_unpatchify(unpatchify)

# %% [markdown] tags=["help"]
# <details>
# <summary>Hint</summary>
#
# Run `patchify` backwards. Split both long axes: `(B, gh, gw, C, P, P)`. Permute to `(B, C, gh, P, gw, P)`, where each $P$ stands right behind its grid axis. Then join them in pairs. And $P$: a patch has $C \cdot P \cdot P$ numbers, so divide by $C$ and take the root.
#
# </details>
#
# <details>
# <summary>I get “type must be tuple of ints,but got float”</summary>
#
# A root is a float: `36 ** 0.5` is `6.0`. Shapes want whole numbers: `round(...)`.
#
# </details>
#
# <details>
# <summary>I get a picture that looks shuffled or turned</summary>
#
# The order of `permute` is that of the *new* axes, each named by its *old* number. Write the six letters above the line before and after, and read the numbers off.
#
# </details>

# %% [markdown]
# Cutting loses not one bit, since numbers are only moved.

# %%
images = torch.stack([normalise(picture), normalise(china)])  # (2, 3, 128, 192)
back = patch_embed.unpatchify(patch_embed.patchify(images, P), (gh, gw))
print("there and back, bit by bit:", torch.equal(back, images))

# %% [markdown]
# ## From patch to token
#
# A patch is now a row of $C \cdot P \cdot P$ numbers. The encoder wants rows of $D$ numbers. The bridge is one linear layer, **the same for all patches**:
#
# $$z_i = x_i\, E + b, \qquad E: (C P^2,\ D)$$
#
# It is called the **patch embedding**, and it is a learned one: $E$ and $b$ are trained together with everything else. Drawn for six patches of 12 numbers ($C = 3$, $P = 2$) and $D = 5$ (without $b$, which is added to each row):

# %% tags=["hide-input"]
#| alt: Matrices drawn as rectangles of cells. Patches, 6 rows by 12 columns, times E, 12 rows by 5 columns, equals tokens, 6 rows by 5 columns. One row of the patches is dark, all of E is dark, and the same row of the tokens is dark.
_, ax = plt.subplots(figsize=(6, 2.6))
viz.draw_matrix(
    ax, 0, 6, 12, viz.KEY, "patches $x$", caption="$(N, C P^2)$", dark=[1]
)
viz.draw_matrix(
    ax, 14.5, 12, 5, viz.MUTED, "$E$", caption="$(C P^2, D)$", dark=range(12)
)
viz.draw_matrix(
    ax, 22, 6, 5, viz.OUTPUT, "tokens $z$", caption="$(N, D)$", dark=[1]
)
for x, sign in ((13.25, "@"), (20.75, "=")):
    ax.text(x, 0, sign, ha="center", va="center", fontsize=14)
ax.set(xlim=(-0.5, 27.5), ylim=(-7.6, 7.6), aspect="equal")
ax.axis("off")
plt.show()

# %% [markdown]
# The dark row: one patch makes one token, and no other patch takes part. A convolutional network would already have mixed neighbours at this point. Here nothing looks across the edge of a patch before the first attention does.
#
# > **Predict.** Change the red of a single pixel. How many of the photograph's 24 tokens change? And how many numbers in such a token, if $D = 50$?

# %% tags=["hide-output"]
torch.manual_seed(5)
linear = nn.Linear(3 * P * P, 50)  # keeps E transposed: weight is (D, C·P·P)

touched = images.clone()
touched[1, 0, 40, 70] += 1.0  # image 1, red, row 40, column 70
with torch.no_grad():
    before, after = (
        linear(patch_embed.patchify(x, P)) for x in (images, touched)
    )  # (2, 24, 50)
changed = (before - after).abs() > 1e-6
print("tokens that change:", changed.any(dim=-1).nonzero().tolist())
print("numbers that change in it:", changed.sum().item())

# %% [markdown]
# One token, number 8 of image 1: row 40 is in patch row 1 and column 70 in patch column 2, so $1 \cdot 6 + 2 = 8$. All 50 numbers of it change, since each of them is a weighted sum over the whole patch.

# %% [markdown]
# ### The 768 coincidence
#
# A patch of ViT-B/16 has $3 \cdot 16 \cdot 16 = 768$ numbers, and its tokens have width $D = 768$. These two 768 have nothing to do with each other: the second comes from BERT, whose base model the paper adopts (section 4.1).
# But they are equal, and so code that confuses them runs.
#
# > **Predict.** Somebody writes the two lines below, tries them with ViT-B/16, and sees the right shape. For which of the paper's other four models will they fail?


# %% tags=["hide-output"]
def embed_by_coincidence(patches, D):
    project = nn.Linear(D, D)  # wrong: a patch is not D numbers wide
    return project(patches)


MODELS = {  # P is in the name; D is in table 1 of the paper
    "ViT-B/32": (32, 768),
    "ViT-B/16": (16, 768),
    "ViT-L/32": (32, 1024),
    "ViT-L/16": (16, 1024),
    "ViT-H/14": (14, 1280),
}
square_image = torch.randn(1, 3, 224, 224)
for name, (size, D) in MODELS.items():
    try:
        tokens = embed_by_coincidence(patch_embed.patchify(square_image, size), D)
        print(f"{name}: runs, {tuple(tokens.shape)}")
    except RuntimeError:
        numbers = 3 * size**2
        print(f"{name}: fails, {numbers} numbers meet a layer that takes {D}")

# %% [markdown]
# For all of them. Only B/16 is lucky. **Test code with sizes that differ.**

# %% [markdown]
# ## The same as a convolution
#
# In torchvision and timm nobody cuts anything. You find `nn.Conv2d(3, 768, kernel_size=16, stride=16)`. It is the same computation.
#
# A **convolution** lays a window of $P \times P$ pixels on the image, multiplies what it sees with a filter of shape $(C, P, P)$, and adds up: one number. $D$ filters give $D$ numbers. Then the window moves on by the **stride**. Most networks use small windows that move by
# one pixel, so they overlap. Let the window have the size of a patch and move by a whole patch, and nothing overlaps: each position of the window *is* a patch, and each filter is one column of $E$.
#
# PyTorch also has `F.unfold`, which cuts out the windows of a convolution without multiplying them: $(B, C, H, W)$ to $(B, C P^2, N)$. So there are three ways. Copy the same weights into all of them.

# %%
torch.manual_seed(9)
C, D, small = 3, 40, 4  # patches of 4 pixels; a patch has 48 numbers
random_images = torch.randn(6, C, 20, 28, dtype=torch.float64)  # a grid of 5 x 7
weight = torch.randn(D, C, small, small, dtype=torch.float64)
bias = torch.randn(D, dtype=torch.float64)

conv = nn.Conv2d(C, D, kernel_size=small, stride=small).double()
conv.load_state_dict({"weight": weight, "bias": bias})
linear = nn.Linear(C * small * small, D).double()
linear.load_state_dict({"weight": weight.flatten(1), "bias": bias})  # (D, 48)

with torch.no_grad():
    image_of_tokens = conv(random_images)
    as_conv = image_of_tokens.flatten(2).transpose(1, 2)
    windows = F.unfold(random_images, small, stride=small)
    as_unfold = linear(windows.transpose(1, 2))
    as_patches = linear(patch_embed.patchify(random_images, small))

print("conv gives", tuple(image_of_tokens.shape), "and then", tuple(as_conv.shape))
for name, tokens in (("unfold + linear", as_unfold), ("conv", as_conv)):
    print(
        f"patchify + linear equals {name}:",
        ((tokens - as_patches).abs().max() <= 1e-12).item(),
    )

# %% [markdown]
# Equal to $10^{-12}$, which is rounding. Note what happens after the convolution. Its result is $(B, D, g_h, g_w)$, a small image with $D$ channels. `flatten(2)` joins the grid to $(B, D, N)$, in reading order, and `transpose(1, 2)` makes tokens of it, $(B, N, D)$.
# To reshape straight to $(B, N, D)$ would be the mistake of the wrong strip once more.
#
# ### Exercise 4.3 · `linear_to_conv`
#
# *Easy, 3 minutes.* You have the weight of a linear layer, and a library that wants a convolution.
#
# * `weight` is `(D, C*P*P)`, as `nn.Linear` keeps it, with patches in the order (c p q). `in_chans` is $C$ and `patch_size` is $P$.
# * The result is `(D, C, P, P)`, ready for `F.conv2d(images, ..., stride=patch_size)`. It lets gradients through to `weight`.


# %% tags=["exercise"]
def linear_to_conv(weight, in_chans, patch_size):
    """The weight of a linear layer on patches as the weight of a convolution: (D, C·P·P) -> (D, C, P, P)."""
    # BEGIN SOLUTION
    return weight.reshape(-1, in_chans, patch_size, patch_size)
    # END SOLUTION


# %% tags=["check"]
from course_lib.checks import check_linear_to_conv

check_linear_to_conv(linear_to_conv)

# %% [markdown] tags=["help"]
# <details>
# <summary>Hint</summary>
#
# Each row of `weight` is one filter, laid flat in the order of a convolution's weights. Nothing has to move.
#
# </details>
#
# <details>
# <summary>I get the right shape and the wrong numbers</summary>
#
# Then your code permutes, transposes or flips something. A convolution in mathematics flips its filter; the one in PyTorch does not.
#
# </details>

# %% [markdown]
# ### The order inside a patch
#
# In the exercise a reshape is enough because patches and filters agree on (c p q). Whoever cuts pictures with the channels last gets (p q c): red, green and blue of the first pixel, then the next pixel.

# %% tags=["hide-input"]
#| alt: On the left a patch of 2 by 2 pixels, numbered 0, 1 in the upper row and 2, 3 in the lower. Beside it, laid flat twice, as twelve labelled cells. In the order c p q the cells read R0 R1 R2 R3, G0 to G3, B0 to B3. In the order p q c they read R0 G0 B0, R1 G1 B1, R2 G2 B2, R3 G3 B3. Only the first and the last cell are the same in both.
CHANNELS = (("R", "#a84300"), ("G", "#00694c"), ("B", viz.KEY))


def draw_cells(ax, y, cells, name):
    for x, (channel, pixel) in enumerate(cells):
        letter, color = CHANNELS[channel]
        ax.add_patch(
            plt.Rectangle((x, y), 1, 1, facecolor=color, edgecolor=viz.PAPER, lw=2)
        )
        style = {"color": viz.PAPER, "ha": "center", "va": "center"}
        ax.text(x + 0.5, y + 0.48, f"{letter}{pixel}", **style)
    ax.text(-0.4, y + 0.5, name, ha="right", va="center", family="monospace")


_, ax = plt.subplots(figsize=(7, 1.3))
for i in range(4):
    row, column = divmod(i, 2)
    corner = column - 6, 1.2 - row
    style = {"facecolor": viz.LINE, "edgecolor": viz.PAPER, "lw": 2}
    ax.add_patch(plt.Rectangle(corner, 1, 1, **style))
    ax.text(column - 5.5, 1.68 - row, i, ha="center", va="center")
draw_cells(ax, 1.4, [(c, i) for c in range(3) for i in range(4)], "(c p q)")
draw_cells(ax, 0, [(c, i) for i in range(4) for c in range(3)], "(p q c)")
ax.set(xlim=(-6.1, 12.1), ylim=(-0.1, 2.5), aspect="equal")
ax.axis("off")
plt.show()

# %% [markdown]
# > **Predict.** Take the patches of 4 pixels and the filters of before. Cut in the order (p q c), and multiply with weights in the order (c p q). Does anything fail? How large is the error (root mean square), in units of the right tokens' own size: for the random images of before, in which no number tells you
# > anything about another, and for the two photographs?


# %% tags=["hide-output"]
def relative_error(wrong, right):
    """Root mean square of the error, in units of the right values' own."""
    return ((wrong - right).square().mean() / right.square().mean()).sqrt().item()


filters = weight.flatten(1).T  # (48, 40), in the order (c p q)
filters_pqc = weight.permute(2, 3, 1, 0).flatten(0, 2)  # (48, 40), in (p q c)
grey = images.double().mean(dim=1, keepdim=True).expand(-1, 3, -1, -1)
batches = {
    "random images": random_images,
    "photographs": images.double(),
    "the same in grey": grey,
}
for name, batch in batches.items():
    cpq = patch_embed.patchify(batch, small)  # (B, N, 48)
    pqc = rearrange(
        batch, "B C (gh p) (gw q) -> B (gh gw) (p q C)", p=small, q=small
    )
    error = relative_error(pqc @ filters, cpq @ filters)
    agreed = relative_error(pqc @ filters_pqc, cpq @ filters)
    print(f"{name:16} error {error:.1f} mixed, {agreed:.0f} where both are (p q c)")
    assert agreed < 1e-12

# %% [markdown]
# Nothing fails. On random images the error is nearly $\sqrt 2$ times the tokens: two numbers that have nothing to do with each other, and their variances add. On the photographs, cut into patches of 4 pixels, it is about half the tokens, and that is worse, since it is easier to miss. The reason: neighbouring pixels are nearly
# equal, and so are, often, the three colours. With equal colours, in grey, it is about half of that, and an even grey patch does not notice that it was reordered.
#
# Either order is fine; mixing them is not. It matters on the day that you load somebody's weights,
# and for the most famous ones of all. Google published ViT's weights from JAX, where the filter of the patch embedding is stored as $(P, P, C, D)$. One permute turns it into PyTorch's. Look at one weight, of feature 5, channel 1, row 2, column 3:

# %%
google = torch.randn(small, small, C, D)  # (P, P, C, D)
ours = google.permute(3, 2, 0, 1)  # (D, C, P, P)
forced = google.reshape(D, C, small, small)  # the same shape
for name, w in (("permuted", ours), ("reshaped", forced)):
    same = (w[5, 1, 2, 3] == google[2, 3, 1, 5]).item()
    print(f"{name}: {tuple(w.shape)}, the same weight: {same}")

# %% [markdown]
# ### Exercise 4.4 · `patch_embedding`
#
# *Medium, 10 minutes.* The whole way, from images to tokens.
#
# * `images` is `(B, C, gh*P, gw*P)`, `weight` is `(D, C, P, P)`, as PyTorch keeps it, and `bias` is `(D,)`.
# * The result is `(B, gh*gw, D)`, tokens in reading order. Gradients must reach `images`, `weight` and `bias`, which are to be trained.
# * Use your `patchify` and a matrix product, or `F.conv2d`, or `F.unfold`. Where your `patchify` is not right yet, the check goes on with a right result, so it says nothing about 4.1.


# %% tags=["exercise"]
def patch_embedding(images, weight, bias):
    """One token for each patch, in reading order: (B, C, gh·P, gw·P) -> (B, gh·gw, D)."""
    # BEGIN SOLUTION
    patches = patchify(images, weight.shape[-1])  # (B, N, C·P·P)
    return patches @ weight.flatten(1).T + bias
    # END SOLUTION


# %% tags=["check"]
from course_lib.checks import check_patch_embedding

check_patch_embedding(patch_embedding)

# %% [markdown] tags=["help"]
# <details>
# <summary>Hint</summary>
#
# $P$ is the last entry of `weight.shape`. With `patchify`: lay the weight flat to `(D, C*P*P)`; then it is a linear layer. With `F.conv2d`: mind the stride, and bring `(B, D, gh, gw)` to `(B, N, D)`.
#
# </details>
#
# <details>
# <summary>I get “expected shape (2, 6, 5), got (2, 5, 6)”</summary>
#
# Tokens are rows. After `flatten(2)` you have `(B, D, N)`: transpose the last two axes. A reshape to the right shape would put the wrong numbers there.
#
# </details>
#
# <details>
# <summary>I get far too many tokens</summary>
#
# A convolution moves by one pixel unless told otherwise: `stride=P`.
#
# </details>

# %% [markdown]
# ## How large should a patch be?
#
# The name of a model tells you: ViT-B/16 is the base size with patches of 16 pixels. $P$ is not a detail. It fixes the number of tokens, $N = (H/P)(W/P)$, and with it the price. From chapter 3 you know what a block costs, in multiplications:
#
# $$\underbrace{12\, N D^2}_{\text{weights}} + \underbrace{2\, N^2 D}_{\text{scores and average}}$$
#
# Halve $P$, and $N$ is four times as large, and $N^2$ sixteen times.
#
# > **Predict.** ViT-B at 224 pixels: $D = 768$. From $P = 16$ to $P = 8$, how many times more does a block cost: about 4, about 10 or about 16?


# %% tags=["hide-output"]
def block_cost(P, D=768, side=224):
    """Tokens, and the two parts of a block's multiplications: (N, with weights, among tokens)."""
    N = (side // P) ** 2
    return N, 12 * N * D**2, 2 * N**2 * D


print("Multiplications in one block, and the share of the part with N²:")
print(" P      N  billions  share")
for size in (16, 8, 4, 2):
    N, with_weights, among_tokens = block_cost(size)
    total = with_weights + among_tokens
    print(f"{size:2}  {N:5}  {total / 1e9:8.2f}  {among_tokens / total:5.0%}")

ratios = [4]
for size in (16, 8, 4):
    ratios.append(sum(block_cost(size // 2)[1:]) / sum(block_cost(size)[1:]))
    print(f"from {size} to {size // 2}: {ratios[-1]:.1f} times")

# %% tags=["hide-input", "hide-output"]
assert ratios == sorted(ratios) and ratios[-1] < 16

# %% tags=["hide-input", "hide-output"]
#| alt: Multiplications of one block against patch size, both axes logarithmic, patch size halving from 32 on the left to 2 on the right, with the number of tokens under each. The line of the weights rises with slope 2, the line of scores and average with slope 4. The second starts a hundred times lower and crosses the first between P = 4 and P = 2. A dotted line marks the crossing, at N = 6D = 4608 tokens.
sizes = [32, 16, 8, 4, 2]
costs = [block_cost(size) for size in sizes]
_, ax = plt.subplots(figsize=(6.2, 3))
for part, line, color, name in (
    (1, "o-", viz.KEY, r"weights, $12 N D^2$"),
    (2, "s--", viz.QUERY, r"scores and average, $2 N^2 D$"),
):
    ax.loglog(sizes, [c[part] / 1e9 for c in costs], line, color=color, label=name)
ax.axvline(224 / (6 * 768) ** 0.5, color=viz.MUTED, linestyle=":", lw=1.5)
ax.text(3.4, 0.004, "N = 6D", color=viz.MUTED, ha="right")
ax.set(
    xlabel="patch size P and number of tokens N",
    ylabel="billions of multiplications",
)
ax.set_yticks([0.01, 0.1, 1, 10, 100], ["0.01", "0.1", "1", "10", "100"])
ax.set_xticks(sizes, [f"P = {s}\nN = {block_cost(s)[0]:,}" for s in sizes])
ax.invert_xaxis()
ax.minorticks_off()
ax.legend(loc="upper left")
plt.show()

# %% [markdown]
# Four and a half. At 16 pixels nearly everything is spent on the weights, and that part only quadruples. The steeper line overtakes it where $N = 6D$, between $P = 4$ and $P = 2$. So each halving multiplies the cost by more than the last, and always by a factor between 4 and 16. The *memory* of the scores, where they are stored, grows sixteenfold every time.
#
# The patch embedding itself takes the same number of multiplications for every $P$: each number of the image meets each of the $D$ filters once, $C \cdot H \cdot W \cdot D$. Its parameters, $C P^2 D + D$, even shrink. For ViT-B/16 they are $768 \cdot 768 + 768 = 590{,}592$ of 86 million.
#
# So the price of small patches is paid in the blocks. In return, in the paper's table 5, B/16 is more accurate on ImageNet than B/32, and L/16 than L/32, after training on the same data. And small images need small patches. On a CIFAR image of $32 \times 32$ pixels,
# $P = 16$ leaves four tokens.

# %% [markdown]
# Move the slider, and watch the cuts, the strip of tokens, and what a block has to pay for them. (The explorer counts rows, columns and tokens from 1, this text from 0.)

# %%
from course_lib.widgets import Patchify

square = v2.functional.center_crop(flower, [427, 427])
square = v2.functional.resize(square, [224, 224], antialias=True)
Patchify(square, 16)

# %% [markdown]
# ## What is kept, and what is lost
#
# ### Pixels
#
# The cut kept every bit. Does the linear layer lose anything?
#
# > **Predict.** Patches of 8 pixels, so $C P^2 = 192$ numbers. Can a *linear* map get the exact pixels back from tokens of width $D = 200$? From tokens of width 64?

# %% tags=["hide-output"]
torch.manual_seed(11)
china_large = v2.functional.resize(photos["china"], [192, 288], antialias=True)
china_large = china_large.double()[None] / 255  # (1, 3, 192, 288)
patches_8 = patch_embed.patchify(china_large, 8)[0]  # (864, 192)

E = nn.init.orthogonal_(torch.empty(192, 200, dtype=torch.float64))  # E @ E.T = 1
tokens = patches_8 @ E  # (864, 200)
print("back from 200:", ((tokens @ E.T - patches_8).abs().max() < 1e-12).item())
print("rank of the patches:", torch.linalg.matrix_rank(patches_8).item())

# %% [markdown]
# From 200, yes. The rows of this $E$ are orthogonal and of length 1, so $E E^\top$ is the identity and $E^\top$ leads back.
#
# From 64, no. The patches fill all 192 dimensions, as the rank says, and $192 > 64$: a linear map to 64 must drop the other 128. But not all dimensions matter alike. Neighbouring pixels are nearly equal, so most of what there is to know lies in a few directions. **Principal component
# analysis** (PCA) finds them: the $D$ directions from which these patches can be rebuilt with the smallest squared error. No linear layer of width $D$, followed by another one back, can do better on them.

# %%
mean = patches_8.mean(dim=0)
_, spread, directions = torch.linalg.svd(patches_8 - mean, full_matrices=False)
variance = spread.square() / spread.square().sum()  # share of each direction


def rebuilt(D):
    """The photograph (3, 192, 288) from D numbers a patch."""
    best = directions[:D].T  # (192, D)
    tokens = (patches_8 - mean) @ best  # (864, D)
    pixels = tokens @ best.T + mean
    return patch_embed.unpatchify(pixels[None], (24, 36))[0]


for D in (4, 16, 64):
    print(f"D = {D:2}: {variance[:D].sum():.1%} of the variance")

# %% tags=["hide-input"]
#| alt: The same corner of the photograph, the top of the pavilion, four times. With D = 4 it consists of visible blocks in which the roof can be made out. With D = 16 roof and windows are plain, with a little noise along the edges. With D = 64 it can hardly be told from the fourth, the original.
_, axes = plt.subplots(1, 4, figsize=(6.2, 1.8))
titles = ["D = 4", "D = 16", "D = 64", "original"]
crops = [rebuilt(D) for D in (4, 16, 64)] + [china_large[0]]
for ax, crop, title in zip(axes, crops, titles):
    corner = crop[:, 8:80, 32:104].clamp(0, 1)
    ax.imshow(corner.permute(1, 2, 0), interpolation="nearest")
    ax.set_title(title)
    ax.axis("off")
plt.show()

# %% [markdown]
# Four numbers in place of 192 keep 95 % of the variance and show you blocks. With 64, a third of the numbers, the eye hardly finds the difference. ViT-B/16, with 768 for 768, *could* keep everything.
#
# It need not: the embedding is trained for classification, not to rebuild pixels. Chapter 11 looks at what trained filters have become, and how they differ from these directions.
#
# ### Places
#
# > **Predict.** Cut the photograph into its 24 patches, shuffle them like cards, put them together again and embed the result. How many of the 24 tokens are new?

# %% tags=["hide-input", "hide-output"]
torch.manual_seed(13)
embed = patch_embed.PatchEmbed((HEIGHT, WIDTH), P, embed_dim=50)
order = torch.randperm(gh * gw)
shuffled = patch_embed.unpatchify(patches[None, order], (gh, gw))  # an image again


def change(tokens, known):
    """How far each of the tokens (N, D) is from the nearest known one, in units of its length: (N,)."""
    apart = (tokens[:, None] - known).norm(dim=-1)  # (N, N)
    return apart.amin(dim=1) / tokens.norm(dim=1)


with torch.no_grad():
    known = embed(normalise(china)[None])[0]  # (24, 50)
    tokens = embed(normalise(shuffled))[0]
print("new tokens:", (change(tokens, known) > 1e-4).sum().item())
print(
    "same tokens, in the order of the cards:",
    torch.allclose(tokens, known[order], atol=1e-5),
)

# %% tags=["hide-input"]
#| alt: Two pictures of 4 by 6 patches. On the left the pavilion by the lake. On the right the same patches in random order: pieces of roof, sky and trees next to each other without sense.
_, axes = plt.subplots(1, 2, figsize=(4.6, 1.75))
for ax, image, title in zip(axes, (china, shuffled[0]), ("photograph", "shuffled")):
    ax.imshow(image[:, ::2, ::2].permute(1, 2, 0), interpolation="nearest")
    ax.set_title(title)
    ax.axis("off")
plt.show()

# %% [markdown]
# None. The encoder gets the same tokens in another order, and to a classifier that averages what comes out these two are *the same picture*. Nothing in a token says where its patch came from. That is the gap that chapter 5 closes.
#
# > **Predict.** Slide the photograph to the right, with what leaves on the right coming in on the left. How many tokens are new if you slide it by 32 pixels? And by 1 pixel? And how far, typically, is each of these from the nearest old token, in units of its own length?

# %% tags=["hide-input", "hide-output"]
with torch.no_grad():
    for by in (P, 1):
        slid = normalise(china)[None].roll(by, dims=-1)
        by_how_much = change(embed(slid)[0], known)
        new, median = (by_how_much > 1e-4).sum(), by_how_much.median()
        print(f"slid by {by:2}: {new:2} new tokens, median change {median:.1f}")
assert 0.15 < median < 0.25 and by_how_much.min() < 0.01  # a patch of sky

# %% [markdown]
# By a whole patch, none: the same tokens one place further along. By one pixel, all of them, typically by a fifth of their length (the even sky by less than a hundredth). You would hardly see the difference, but the grid has stayed where it was. The output of a convolution with stride 1 would have moved along with the picture, apart from the border (*translation equivariance*).
#
# Some therefore put a little of a convolutional network in front. A **convolutional stem** replaces the one large convolution by a few small ones with stride 2, and [Xiao et al. (2021)](https://arxiv.org/abs/2106.14881) report that this makes a ViT easier to train. The *hybrids* of Dosovitskiy et al. cut their patches from the features of a ResNet (chapter 6).

# %% [markdown]
# ## The block, tested
#
# This is what later chapters import. It uses the convolution, and it refuses images that do not fit. (`check_divides` refuses sizes that $P$ does not divide.)

# %%
import inspect

print(inspect.getsource(patch_embed.PatchEmbed.__init__))
print(inspect.getsource(patch_embed.PatchEmbed.forward))

# %%
embed = patch_embed.PatchEmbed((HEIGHT, WIDTH), P, embed_dim=50)
with torch.no_grad():
    filters = embed.proj.weight.flatten(1)  # (50, 3072)
    by_hand = patch_embed.patchify(images, P) @ filters.T + embed.proj.bias
    same = torch.allclose(embed(images), by_hand, atol=1e-5)
    grid = embed.proj(images)  # (2, 50, 4, 6)
print("equals patchify + linear:", same)

# the first three rows of the table below: the right way passes, the wrong one not
cut = patch_embed.patchify(images, P)
pqc = rearrange(images, "B C (gh p) (gw q) -> B (gh gw) (p q C)", p=P, q=P)
first, second = images[0, 0, :2, :P]
assert torch.equal(cut[0, 0, :P], first) and not torch.equal(pqc[0, 0, :P], first)
assert torch.equal(cut[0, 0, P : 2 * P], second)
assert not torch.equal(images.reshape(cut.shape)[0, 0, P : 2 * P], second)
assert torch.equal(grid.flatten(2).mT[0, 1], grid[0, :, 0, 1])
assert not torch.equal(grid.reshape(2, 24, 50)[0, 1], grid[0, :, 0, 1])

base = patch_embed.PatchEmbed(224, 16, embed_dim=768)  # ViT-B/16
assert sum(p.numel() for p in base.parameters()) == 590_592

attempts = {
    "height and width swapped": torch.randn(2, 3, 192, 128),
    "the batch forgotten": china,
    "a size that cannot be cut": flower[None] / 255,
}
for name, batch in attempts.items():
    print(f"\n{name}, {tuple(batch.shape)}")
    tokens = embed.proj(batch).flatten(2).transpose(1, 2)
    print("  the bare convolution:", tuple(tokens.shape))
    try:
        embed(batch)
    except ValueError as error:
        print("  the block:", error)

# %% [markdown]
# All three run through the bare convolution. The first gives as many tokens as before. The second becomes $(50, 4, 6)$, without a batch, and then `flatten` and `transpose` take the wrong axes: 50 images with 6 tokens of width 4. The last gives $13 \cdot 20 = 260$ tokens: $13 \cdot 32 = 416$, so the bottom 11 of the 427 rows are dropped.
#
# The silent errors of this chapter, each with what finds it:
#
# | What runs and is wrong | What must be true |
# |:--|:--|
# | reshape without permute | `patches[0, 0, P:2*P]` is `images[0, 0, 1, :P]`, the second row of the first patch |
# | (p q c) for (c p q) | `patches[0, 0, :P]` is `images[0, 0, 0, :P]`, the first row |
# | the convolution's result reshaped to $(B, N, D)$ | `tokens[0, 1]` is `conv(images)[0, :, 0, 1]` |
# | JAX's filters reshaped | `ours[5, 1, 2, 3]` is `google[2, 3, 1, 5]` |
# | `nn.Linear(D, D)`, the 768 coincidence | `linear.weight.shape` is `(D, C*P*P)`, tried where $D \ne C P^2$ |
# | swapped sides, no batch, rows dropped | `images.shape` is `(B, C, gh*P, gw*P)`, with the model's own `gh` and `gw` |

# %% [markdown]
# ## Three to think about
#
# No code, a pencil.
#
# 1. Let the patches overlap: a window of 16 pixels that moves by 8, on an image of $224 \times 224$, with no border added. How many tokens are there? What does a block cost then, roughly, compared with patches that do not overlap?
# 2. Normalising an image subtracts $m_c$ and divides by $s_c$ in each channel. Show that a patch embedding with other weights and another bias can do that by itself, on images that are not normalised.
# 3. A convolution with $P = 1$ and stride 1 is a patch embedding, too. What does it do, how many tokens are there, and how many dimensions do they fill? In ViT-H/14 a patch of 588 numbers becomes a token of 1280: what are the others for?
#
# <details>
# <summary>Answers</summary>
#
# 1. Along each side $(224 - 16)/8 + 1 = 27$ positions, so 729 tokens instead of 196, 3.7 times as many. The weights' part grows by 3.7, the other by $3.7^2 \approx 14$. At $N = 729$ the second part is still small, so a block costs about 4 times as much.
# 2. $\sum_{c,p,q} w_{cpq} \frac{x_{cpq} - m_c}{s_c} + b = \sum_{c,p,q} \frac{w_{cpq}}{s_c}\, x_{cpq} + \bigl(b - \sum_{c,p,q} w_{cpq} \frac{m_c}{s_c}\bigr)$. So divide each filter's channel by $s_c$ and take the sum off the bias. The network *could* learn it. But it starts from small random
#    weights and a bias of 0 or nearly, and numbers around 0 with a spread of 1 are what that start is made for.
# 3. Every pixel becomes a token on its own: $H \cdot W$ tokens, the first section of this chapter. A pixel has $C = 3$ numbers, so whatever $D$ is, the tokens lie on a three-dimensional (affine) subspace.
#    In the same way those of ViT-H/14 start on 588 dimensions. But $D$ is the width of all blocks, and what the blocks add, such as what a token has read in others, can use the rest.
#
# </details>

# %% [markdown]
# ## Check yourself
#
# Choose before you look: each answer comes with its reason, the wrong ones too. Five questions, about five minutes.
#
# **1.** Somebody's patch embedding is `nn.Linear(D, D)`. Which test finds the mistake?
#
# * **A.** A run of ViT-B/16, with a look at the shape.
# * **B.** A run with patches of 32 pixels.
# * **C.** Counting the parameters of ViT-B/16.
#
# <details class="course-quiz">
# <summary>Answer to 1</summary>
#
# * **A, wrong.** There $C P^2 = 3 \cdot 16 \cdot 16 = 768 = D$. It is the one model of the paper's five for which the
#   code runs.
# * **B, right.** Then a patch has 3072 numbers and meets a layer that takes 768. Test with sizes that differ.
# * **C, wrong.** They agree, since the two 768 are equal there.
#
# </details>
#
# **2.** `images.reshape(B, N, C*P*P)`, without a permute, on a photograph of 3 × 128 × 192 with $P = 32$. What is
# "patch" 0?
#
# * **A.** The top left square, with its colours mixed up.
# * **B.** An error.
# * **C.** Sixteen whole rows of red.
#
# <details class="course-quiz">
# <summary>Answer to 2</summary>
#
# * **A, wrong.** A square would need numbers from 32 different rows, 32 from each. A reshape takes them as they lie.
# * **B, wrong.** $24 \cdot 3072$ is exactly how many numbers there are.
# * **C, right.** A reshape takes the numbers as they lie: all the reds first, row by row, and $3072 = 16 \cdot 192$.
#
# </details>
#
# **3.** From patches of 16 pixels to patches of 8, at 224 pixels: by how much does a block of ViT-B get dearer?
#
# * **A.** 2 times
# * **B.** 4.5 times
# * **C.** 16 times
#
# <details class="course-quiz">
# <summary>Answer to 3</summary>
#
# * **A, wrong.** The *side* of the grid doubles, and the number of tokens quadruples.
# * **B, right.** Four times the tokens meet the weights, which is nearly all of the work. The scores grow sixteenfold
#   and are a small part.
# * **C, wrong.** The scores do grow so, and their memory, but at 196 tokens they are a few per cent of the work.
#
# </details>
#
# **4.** `nn.Conv2d(3, D, kernel_size=16, stride=16)` and a linear layer on cut-out patches: how are they related?
#
# * **A.** The same function, with the weight laid flat as (c p q).
# * **B.** The convolution is a good approximation, since its filters are shared by all places.
# * **C.** The convolution also sees the neighbouring patches.
#
# <details class="course-quiz">
# <summary>Answer to 4</summary>
#
# * **A, right.** Window and step are as large as a patch, so each position of the window is one patch, and each filter
#   one column of $E$.
# * **B, wrong.** So is the linear layer: one for all patches. They agree to rounding.
# * **C, wrong.** With a stride of 16 and a window of 16 nothing overlaps. With a stride of 1 it would.
#
# </details>
#
# **5.** You cut a photograph into 24 patches, shuffle them like cards and embed the new picture. How many of the 24
# tokens are new?
#
# * **A.** All of them.
# * **B.** Those whose patch has moved.
# * **C.** None.
#
# <details class="course-quiz">
# <summary>Answer to 5</summary>
#
# * **A, wrong.** A token depends on its patch alone, and the patches are the old ones.
# * **B, wrong.** The token of a moved patch is the same vector, at another place in the sequence. Nothing in it says
#   where it came from.
# * **C, right.** The encoder gets the same tokens in another order. That gap is what positions close.
#
# </details>

# %% [markdown]
# ## What you take with you
#
# * An image becomes a **sequence of patches** in reading order: $N = (H/P)(W/P)$ of them, $C P^2$ numbers each. Single pixels would be far too many tokens.
# * Cutting is **reshape, permute, reshape**. Without the permute you get the same shape and slices of rows.
# * One **linear layer for all patches** makes tokens. $C P^2$ and $D$ are two different numbers, even where both are 768.
# * A **convolution with kernel = stride = P** is the same thing, with the weight laid flat as (c p q). Another order runs, too: on photographs it is only partly wrong, so easy to miss.
# * Half the patch size: **4 times the tokens, 16 times the scores**. A block costs between 4 and 16 times as much; ViT-B at 224 pixels, from 16 to 8: 4.5.
# * Cutting keeps every bit, and the linear layer can, if $D \ge C P^2$. What no token knows is **where it came from**.
#
# The picture to keep: **the strip**. It is all that the Transformer gets, and even its order is not seen until chapter 5.
#
# ### To read
#
# * [Dosovitskiy et al. 2021, *An Image is Worth 16x16 Words*](https://arxiv.org/abs/2010.11929), section 3.1 and equation 1. You know its $x_p^i E$ and what $E$ is (here with a bias besides); chapter 5 brings the rest.
# * [Xiao et al. 2021, *Early Convolutions Help Transformers See Better*](https://arxiv.org/abs/2106.14881): what a stem of small convolutions changes.
# * [Beyer et al. 2023, *FlexiViT*](https://arxiv.org/abs/2212.08013): one set of weights for many patch sizes.
#
# Next, chapter 5: each token learns its place, and one more token comes along to speak for all of them.
