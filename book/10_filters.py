# %% [markdown]
# # Filters and position embeddings
#
# | Goal | Before you start | Time | Runs on |
# |:--|:--|:--|:--|
# | Open a trained ViT and see what its first layer and its positions have become: the paper's Figure 7, made by you, beside what a random model gives | Chapters 01 to 06 | 70 minutes | any CPU |
#
# So far a model was something that you build and train. Now it is something that you look into. Nothing is trained in this chapter.
#
# Figure 7 of the paper has three panels ([Dosovitskiy et al. 2021](https://arxiv.org/abs/2010.11929), section 4.5). On the left, the filters of the patch embedding. In the middle, how similar the position embeddings are to each other. On the right, how far each attention head looks. It is one of the most copied figures of the field, and it is easy to see too much in it. You will make all three panels, and put beside each what a model gives that has learned nothing.
#
# You write three pieces: the principal components of the filters, the tiles of the positions, and a number that says how much of a position is its row and its column.

# %% tags=["setup"]
import copy

import matplotlib.pyplot as plt
import numpy as np
import torch
import torch.nn.functional as F
from torchvision.transforms import v2

from course_lib import interpret, viz
from course_lib.data import photographs
from course_lib.machine import set_seed
from course_lib.pos_embed import sincos_pos_embed_2d
from course_lib.records import load_record
from course_lib.toy_shapes import draw_shapes
from course_lib.vit import VIT_CONFIGS, VisionTransformer, create_model

viz.set_style()
torch.set_num_threads(1)  # the models here are tiny: more threads only wait

# %% [markdown]
# ## What one can look at
#
# Most weights mean nothing by themselves: a row of `blocks.3.mlp.fc2` says something about neurons that nobody has a name for. Two are an exception, since one side of them is the world. The **patch embedding** reads pixels. The **position table** has a row for each place in the image. To see them you need the file and nothing else: they are panels 1 and 2. Panel 3 is **attention**, and that each image makes anew.
#
# You open four models. `cifar` and `mnist` have a class token and learned positions, as the paper's have, six blocks of four heads, width 64 and patches of 4 pixels. `shapes` is their sister, trained on drawn shapes. `wide` is a CIFAR-10 model of width 128, with fixed positions. And for each there is a **twin**: the same model with the random numbers that training begins with.

# %%
NAMES = {
    "cifar": "vit_cifar_token_patch4_32",
    "mnist": "vit_mnist_token_patch4_28",
    "shapes": "vit_shapes_token_patch4_32",
    "wide": "vit_cifar_small_patch4_32",
}
trained = {
    key: create_model(name, pretrained=f"course/{name}").eval()
    for key, name in NAMES.items()
}


def twin(key, seed=0):
    """The same model, untrained."""
    set_seed("an untrained twin", key, seed)
    return VisionTransformer(VIT_CONFIGS[NAMES[key]]).eval()


random = {key: twin(key) for key in NAMES}
for key, model in trained.items():
    filters, grid = model.patch_embed.proj.weight, model.patch_embed.grid_size
    print(f"{key:6} filters {tuple(filters.shape)}, grid {grid}")

# %% [markdown]
# ## Panel 1: the filters
#
# ### A filter is a picture
#
# Chapter 04: the patch embedding is a convolution whose stride is its size. Number $d$ of a patch's token is
#
# $$x_d = \sum_{c, i, j} W_{d, c, i, j}\, \text{patch}_{c, i, j} + b_d$$
#
# so $W_d$ has the shape of a patch, $(C, P, P)$. It can be drawn as one. Where it is bright, a bright pixel makes $x_d$ larger; where it is dark, smaller. There are $D$ of them.
#
# One thing about drawing. A weight can be negative, and a screen cannot. So 0 becomes middle grey, and each picture is divided by its own largest number, so that a faint filter can be seen as well as a loud one. The price: **pictures that are drawn so say nothing about loudness**. Remember that when you see a sheet of them.
#
# > **Predict.** Here come the first 28 filters of `wide` and the first 28 of its twin, as A and B. Which sheet is which?

# %% tags=["hide-output"]
#| alt: Two sheets of 28 tiny coloured squares of 4 by 4 pixels, titled A and B. Both look like coloured noise; in sheet A some squares have a visible stripe or a soft change of colour, in B none.


def sheet(pictures, columns=7):
    """(n, C, P, P) -> one picture for imshow: 0 is middle grey, each divided by its own largest number."""
    n, C, P, _ = pictures.shape
    pictures = pictures / pictures.abs().amax(dim=(1, 2, 3), keepdim=True) / 2 + 0.5
    pictures = F.pad(pictures, (0, 1, 0, 1), value=1.0)  # a gap
    empty = pictures.new_ones(-n % columns, C, P + 1, P + 1)
    rows = torch.cat([pictures, empty]).unflatten(0, (-1, columns))
    joined = rows.permute(0, 3, 1, 4, 2).flatten(2, 3).flatten(0, 1)  # (h, w, C)
    return joined[:-1, :-1].expand(-1, -1, 3).clamp(0, 1)


def show_sheets(sheets, columns=7):
    """Several sheets of pictures side by side: {title: pictures}."""
    rows = max(len(pictures) for pictures in sheets.values()) / columns
    height = 7 / len(sheets) * rows / columns + 0.45
    figure, axes = plt.subplots(1, len(sheets), figsize=(7, height))
    figure.get_layout_engine().set(wspace=0.07)
    for ax, (title, pictures) in zip(axes, sheets.items()):
        ax.imshow(sheet(pictures, columns), interpolation="nearest")
        ax.set_title(title)
        ax.axis("off")
    plt.show()


def weight_of(model):
    return model.patch_embed.proj.weight.detach()


a, b = weight_of(trained["wide"]), weight_of(random["wide"])
show_sheets({"A": a[:28], "B": b[:28]})

# %% [markdown]
# A is the trained one. It is not easy to see: a stripe here, a soft change of colour there, and otherwise noise. If this were all, you might think that the first layer had hardly learned.
#
# ### Why single filters are the wrong thing to look at
#
# The $D$ numbers of a token have no meaning one by one. What reads them is a matrix that takes all of them together, and such a matrix can undo a turn of the $D$ axes. (Nearly any turn: one direction is special, as you will see.) So what matters is **which directions in the space of patches the model reacts to**, and not how it shares them out over its $D$ filters.
#
# Treat the filters as a cloud of $D$ points in a space of $C P^2$ dimensions, and ask for the axes of the cloud. That is the principal component analysis (PCA) of chapter 04, and a singular value decomposition (SVD) does it. Flatten the filters to a matrix $W$, $(D, CP^2)$, subtract the mean filter $\bar w$ from each row, and
#
# $$W - \bar w = U S V^\top$$
#
# Each row of $V^\top$ has $CP^2$ numbers: it is a picture again, a **component**. Each filter is a mixture of components. The singular values in $S$ fall, and $S_k^2 / \sum_j S_j^2$ is the share of the filters' variance that component $k$ explains.
#
# Now mix the centred filters by a random orthogonal matrix, that is, by a turn. Each becomes another picture. The components stay.

# %%
torch.manual_seed(4)
turn = torch.linalg.qr(torch.randn(128, 128, dtype=torch.float64)).Q
flat = weight_of(trained["wide"]).double().flatten(1)  # (128, 48)
centred = flat - flat.mean(dim=0)
turned = turn @ centred  # 128 mixtures of the 128 filters
before, after = (
    torch.linalg.svd(x, full_matrices=False).Vh for x in (centred, turned)
)

alike = F.cosine_similarity(centred, turned, dim=1).abs().mean()
print(f"a filter and its mixture, mean |cosine|: {alike:.2f}")
alike = F.cosine_similarity(before, after, dim=1).abs()
print("all 48 components the same but for the sign:", (alike > 0.999).all().item())

# %% [markdown]
# ### Why the mean filter is taken off
#
# > **Predict.** Take one picture, any picture, as loud as the filters themselves. Add it to *all* 128 filters. What happens to the ten logits? And if you add it to half of the filters? (48 pieces of two photographs, reduced to 32 pixels, are the test images here and later.)

# %% tags=["hide-output"]
photos = torch.stack(list(photographs().values()))  # (2, 3, 427, 640) uint8
small = v2.functional.resize(photos, [128, 192], antialias=True)
crops = small.unfold(2, 32, 32).unfold(3, 32, 32)  # (2, 3, 4, 6, 32, 32)
crops = crops.permute(0, 2, 3, 1, 4, 5).flatten(0, 2)  # (48, 3, 32, 32)
images = trained["cifar"].preprocessing.transform()(crops)


@torch.no_grad()
def same_logits(model, changed):
    return torch.allclose(model(images), changed(images), rtol=0, atol=1e-3)


changed = copy.deepcopy(trained["wide"])
filters = weight_of(changed)  # the model's own numbers, not a copy
picture = filters.std() * torch.randn(1, 3, 4, 4)
filters += picture
print("to all filters, same logits:", same_logits(trained["wide"], changed))

filters[:64] += picture
print("to half of them, same logits:", same_logits(trained["wide"], changed))

# %% [markdown]
# To all: nothing happens. The picture adds *one and the same number* to all $D$ entries of a token. Every attention, every MLP and the head read the residual stream through a LayerNorm, and the first thing that LayerNorm does is to subtract the mean of the $D$ entries (chapter 03). So the number is gone before anybody sees it.
#
# To the mean filter **the model itself is blind**. Take it off, and you look only at what the model can see.

# %% [markdown]
# ### Exercise 10.1 · `patch_filters`
#
# *Medium, 15 minutes.* The first $n$ principal components of the filters.
#
# * `weight` is `(D, C, P, P)`. Flatten each filter, and subtract the mean filter.
# * Take the first `n` right singular vectors, the rows of $V^\top$. Each has length 1, and they come in order of the variance that they explain.
# * The sign is arbitrary: $-v$ is as good a component as $v$, and which of the two a library returns may depend on the machine. Fix it: in each component, the number that is **largest by size** is positive.
# * The result is `(n, C, P, P)`.


# %% tags=["exercise"]
def patch_filters(weight, n):
    """The first n principal components of the filters, signs fixed: (D, C, P, P) -> (n, C, P, P)."""
    # BEGIN SOLUTION
    filters = weight.flatten(1)  # (D, C·P·P)
    filters = filters - filters.mean(dim=0)
    components = torch.linalg.svd(filters, full_matrices=False).Vh[:n]
    largest = components.abs().argmax(dim=1, keepdim=True)  # (n, 1)
    components = components * components.gather(1, largest).sign()
    return components.unflatten(1, weight.shape[1:])
    # END SOLUTION


# %% tags=["check"]
from course_lib.checks import check_patch_filters

check_patch_filters(patch_filters)

# %% [markdown] tags=["help"]
# <details>
# <summary>Hint</summary>
#
# `torch.linalg.svd(filters, full_matrices=False)` returns `U, S, Vh`. `Vh` is already transposed: its *rows* are the components. For the sign, `components.abs().argmax(dim=1, keepdim=True)` says where the largest number by size stands, and `components.gather(1, ...)` fetches it, with its sign.
#
# </details>

# %% [markdown]
# ### Twenty-eight components
#
# The paper shows 28. Here are ours. (From here on the cells call the library's versions of what you write here, such as `interpret.patch_filters`.) On the right, for comparison, the principal components of *patches*: cut the two photographs into patches of 4 by 4 pixels and ask for the axes of that cloud.
#
# > **Predict.** A patch of a photograph has 48 numbers. Which direction varies most from patch to patch? And will a trained model's filters be these directions, so that it catches most of what varies?

# %% tags=["hide-output"]
#| alt: Three sheets of 28 pictures, seven rows of four. Left, trained: in the first three rows most pictures are orderly, vertical and horizontal stripes in grey, and soft gradients between two colours such as magenta, red or blue; the rows below are coloured noise. Middle, random: coloured noise everywhere. Right, patches of photographs: one plain pale picture, one plain orange, then soft edges, bars and corners in grey, orange with blue, and green with magenta, ever finer.
scaled = small.float() / 255  # the photographs, 128 x 192 pixels
patches = F.unfold(scaled, 4).mT.flatten(0, 1)  # (47250, 48), overlapping
patches = patches.double() - patches.mean(dim=0)
spread, axes_of = torch.linalg.eigh(patches.T @ patches / len(patches))
spread, axes_of = spread.flip(0), axes_of.flip(1).T  # the largest first, rows
axes_of = axes_of * axes_of.gather(1, axes_of.abs().argmax(1, keepdim=True)).sign()

show_sheets(
    {
        "trained": interpret.patch_filters(trained["wide"], 28),
        "random": interpret.patch_filters(random["wide"], 28),
        "photographs": axes_of[:28].unflatten(1, (3, 4, 4)),
    },
    columns=4,
)


def orderly(model):
    """Which of the first 28 components are nearly a single pattern in a single colour: (28,) boolean."""
    components = (
        interpret.patch_filters(model, 28).double().flatten(2)
    )  # (28, 3, P·P)
    sizes = torch.linalg.svdvals(components).square()  # (28, 3)
    return sizes[:, 0] / sizes.sum(dim=1) > 0.7


for name, models in (("trained", trained), ("random", random)):
    found = orderly(models["wide"]).sum()
    print(f"{name:8} {found} of 28 are one pattern in one colour")

# %% [markdown]
# The first dozen on the left are orderly: stripes, bars and edges in grey, and soft changes from one colour to another. (Where two variances are nearly equal, their order is arbitrary: read the sheet as a set, not as a ranking.) What comes after looks like the noise in the middle. This is not a matter of taste. A picture that is *one* pattern in *one* colour, $\text{colour}_c \cdot \text{pattern}_{ij}$, is a matrix of rank 1, and the cell counts the pictures that come close to that. Twelve of the trained ones do, and none of the random ones. In the paper's figure all 28 look orderly; its model had seen far more images than our 45,000.
#
# And the right sheet? Photographs vary most in brightness: the first component is a plain picture. Then comes a plain colour, then edges. The model's components seem to have the edges and the colours. The plain one is missing.

# %% [markdown]
# ### How many are needed?
#
# > **Predict.** How many of 48 components does it take to explain 90 % of the variance: of the patches of photographs? Of random filters, which know nothing? Of trained ones?

# %% tags=["hide-output"]
spectra = {
    "patches of photographs": spread / spread.sum(),
    "trained": interpret.patch_filter_variance(trained["wide"], 48),
    "random": interpret.patch_filter_variance(random["wide"], 48),
}
for name, values in spectra.items():
    needed = (values.cumsum(0) < 0.9).sum() + 1
    print(f"{name:22} {needed:3} for 90 %, first ten {values[:10].sum():.0%}")

# %% [markdown]
# Two for the photographs, about thirty for the filters, and that is nearly as many as for random ones.
#
# **Random is not flat.** 128 random filters are not spread evenly over 48 directions: by chance there is more in some than in others, and the SVD sorts by just that. So a falling spectrum is no sign of learning.
#
# There is a difference, if you know where to look: the first ten components explain 57 % in the trained model and about 40 % in the twin. But what has been learned is above all *which* directions are loud.

# %% [markdown]
# ### What gets through
#
# So take the directions one by one. Let $v$ be a direction in the space of patches. If a patch moves along it by a step of length 1, how far does the token move? By $\lVert (W - \bar w)\, v \rVert$. Square it, and divide by the mean over all directions: that is the **gain**. A random model has a gain near 1 for everything.
#
# The 48 directions are the axes of the photographs' patches, from brightness, which varies most, to what varies least.
#
# > **Predict.** Where will a trained model turn up the volume, and where down?


# %% tags=["hide-output"]
#| alt: Gain on a logarithmic axis against 48 directions of photographs' patches, ordered by how much photographs vary along them. The random model's points scatter closely about 1 everywhere. The trained model starts at about a quarter for brightness, lies between 1 and 4 for most of the directions from 5 to 16, and then stays near a half for all the rest.
def loudness(model, directions):
    """Squared step of the token for a step of 1 along each direction: (n, C·P·P) -> (n,)."""
    filters = weight_of(model).double().flatten(1)
    filters = filters - filters.mean(dim=0)  # (D, C·P·P)
    return (filters @ directions.T).square().sum(dim=0)


def gain(model, directions):
    """The same, divided by its mean: (n, C·P·P) -> (n,)."""
    loud = loudness(model, directions)
    return loud / loud.mean()


_, ax = plt.subplots(figsize=(6.4, 3))
for name, models, color, style in (
    ("trained", trained, viz.KEY, "o-"),
    ("random", random, viz.QUERY, "s--"),
):
    values = gain(models["wide"], axes_of)
    ax.plot(range(1, 49), values, style, color=color, lw=1, ms=4, label=name)
    low, middle, fine = values[0], values[4:14].mean(), values[20:].mean()
    print(f"{name:8} 1: {low:.1f}, 5 to 14: {middle:.1f}, 21 to 48: {fine:.1f}")
ax.axhline(1, color=viz.LINE, lw=1, zorder=0)
ax.set(xlabel="direction, by how much photographs vary along it", ylabel="gain")
ax.set(yscale="log", yticks=[0.25, 0.5, 1, 2, 4], yticklabels="¼½124")
ax.minorticks_off()
ax.legend()
plt.show()

# %% [markdown]
# The trained model turns **brightness down**, to about a quarter. That is where photographs vary most, by far. It turns **up** most of directions 5 to 14, and one plain colour, number 2. The two plainest edges, 3 and 4, stay near 1. And it turns what is finest **down** again, to about a half; there photographs hardly vary at all. The twin does nothing of the kind.
#
# Two cautions. The gain is relative: all directions together have less than two thirds of the twin's loudness, so training has mostly *taken away*, and "up" is about one and a half times the twin's. And the axes come from our two photographs, not from CIFAR-10.
#
# `cifar` has the same pattern. `shapes`, which saw no photograph, has another: all of the first five are down, and many of the finest up.
#
# So a trained model's filters are *not* the main directions of its patches. The paper says of its own that the components "resemble plausible basis functions for a low-dimensional representation of the fine structure within each patch" (section 4.5). *Within* the patch: its structure, not its brightness.

# %% [markdown]
# ## Panel 2: the positions
#
# In chapter 05 you saw a little map for each place, a **tile**: how similar its vector is to that of every other place. That table was computed. This one was *learned*. It began as random numbers with standard deviation 0.02, and nobody told the model that patch 9 lies below patch 1, or that there are rows at all.
#
# > **Predict.** Take the tile of the patch in row 2, column 5, counted from 0. Blue will mean alike, vermilion the opposite. Where will it be blue in the trained model? In the twin? Sketch both.

# %% [markdown]
# ### Exercise 10.2 · `pos_embed_similarity`
#
# *Easy, 10 minutes.* All tiles at once.
#
# * `pos_embed` is `(1, N, D)`, `grid_size` is `(gh, gw)`. The patches are the **last** $gh \cdot gw$ rows, in reading order. What stands in front of them belongs to no patch: a class token, nothing, or a class token and registers.
# * Take the cosine of each patch's vector with that of each other patch.
# * The result is `(gh, gw, gh, gw)`: `[r, c]` is the tile of the patch in row $r$ and column $c$.


# %% tags=["exercise"]
def pos_embed_similarity(pos_embed, grid_size):
    """Cosines of all pairs of positions as tiles: (1, prefix + gh·gw, D) -> (gh, gw, gh, gw)."""
    # BEGIN SOLUTION
    gh, gw = grid_size
    table = pos_embed[0, -gh * gw :]  # (gh·gw, D)
    table = F.normalize(table, dim=-1)
    cosines = table @ table.T  # (gh·gw, gh·gw)
    return cosines.reshape(gh, gw, gh, gw)
    # END SOLUTION


# %% tags=["check"]
from course_lib.checks import check_pos_embed_similarity

check_pos_embed_similarity(pos_embed_similarity)

# %% [markdown] tags=["help"]
# <details>
# <summary>Hint</summary>
#
# `F.normalize(table, dim=-1)` gives every vector length 1. The dot product of two such vectors is their cosine, and `table @ table.T` takes all of them at once. `reshape` splits both of its dimensions into rows and columns, since the patches are in reading order.
#
# </details>
#
# <details>
# <summary>I cut off the last row instead, and the picture looks fine</summary>
#
# So does the [answer](https://github.com/google-research/vision_transformer/issues/55) that people find when they ask Google's repository for this figure: it takes `[:-1]`, as if the class token came last. Then every patch gets the vector of its neighbour on the left, and the first one that of the class token. There is no error: you have to know that row 0 is the class token's.
#
# </details>

# %% [markdown]
# ### The tiles
#
# There are as many tiles as patches, and each tile has a cell for each patch: 8 by 8 of 8 by 8 here. The paper's figure shows ViT-L/32 and has 7 by 7; for ViT-B/16 it would be 14 by 14. (People [ask why](https://github.com/google-research/vision_transformer/issues/138) theirs differ.)


# %% tags=["hide-output"]
#| alt: Two pictures, each a grid of 8 by 8 tiles of 8 by 8 cells. Trained: tiles in the upper and lower rows are blue along the rows near their own and vermilion in the middle; tiles of the first and last columns are blue at both the left and the right edge; tiles in the middle have one broad blue spot around the middle of their row. The whole picture is nearly its own mirror image, left and right swapped. Random: nearly blank tiles with one dark cell each, at their own place.
def tiles(similarity):
    """(gh, gw, gh, gw) -> one picture, each tile at the place of its patch, with gaps."""
    similarity = F.pad(similarity, (0, 1, 0, 1), value=torch.nan)
    picture = similarity.transpose(1, 2)  # (gh, gh + 1, gw, gw + 1)
    return picture.flatten(2).flatten(0, 1)[:-1, :-1]


def show_tiles(ax, similarity, title=""):
    viz.heatmap(tiles(similarity), ax, cmap=viz.SIGNED, limits=(-1, 1), title=title)
    ax.spines[:].set_visible(False)
    ax.set_facecolor(viz.LINE)  # seen in the gaps


def similarity_of(model):
    return interpret.pos_embed_similarity(
        model.pos_embed, model.patch_embed.grid_size
    )


figure, axes = plt.subplots(1, 2, figsize=(7, 3.3))
for ax, (name, models) in zip(axes, {"trained": trained, "random": random}.items()):
    show_tiles(ax, similarity_of(models["cifar"]), name)
figure.colorbar(axes[0].images[0], ax=axes, shrink=0.8, label="cosine")
plt.show()

# %% [markdown]
# Choose a tile and read it: it is a map of the image, and its colour says how similar the *other* places are to this tile's own. Here you can go through the trained ones one by one. Point to a tile.

# %%
from course_lib.widgets import PositionExplorer

PositionExplorer(similarity_of(trained["cifar"]))

# %% [markdown]
# In the twin each place is like itself and like nothing else. In the trained table **near places are alike**, and the picture has **rows**: the tiles of the first row of patches are blue along the first rows, all of them. The model found out from the images what is near, by being a little less wrong when two vectors moved towards each other.
#
# And there is something that you may not have expected. Your tile, row 2 and column 5, has a broad blue spot, but it reaches three columns to the left and not one to the right. The tiles of the first column are blue at the left edge, and at the *right* edge as well. We come to that.
#
# ### Is it really rows and columns?
#
# The paper reads it off the figure: "patches in the same row/column have similar embeddings". But neighbours *are* in the same row or column. Perhaps near places are alike in all directions, and the eye does the rest? Put it in numbers.
#
# There is a comparison that is fair about distance. Two places can be *exactly five patches* apart in two ways: five along a row or column, or three one way and four the other, since $3^2 + 4^2 = 5^2$. If only distance counted, the mean cosine would be the same. Beside each trained table stands its twin's.


# %% tags=["hide-output"]
def apart(grid):
    """How many rows and how many columns each pair of places is apart: (gh, gw, gh, gw) twice."""
    gh, gw = grid
    row, column = torch.meshgrid(torch.arange(gh), torch.arange(gw), indexing="ij")
    return [(x[:, :, None, None] - x).abs() for x in (row, column)]


def five_apart(similarity, counts=True):
    """Mean cosine of places five apart, along an axis and as 3 and 4, of the pairs that count."""
    down, across = apart(similarity.shape[:2])
    five, axis = (down**2 + across**2 == 25) & counts, (down == 0) | (across == 0)
    return [similarity[five & group].mean().item() for group in (axis, ~axis)]


LEARNED = ("cifar", "mnist", "shapes")  # those with learned positions
print("five apart:        along  as 3 and 4")
for key in LEARNED:
    for name, models in (("trained", trained), ("random", random)):
        found = five_apart(similarity_of(models[key]))
        along, off = (round(x, 1) + 0.0 for x in found)
        print(f"{key:7} {name:10}{along:6}{off:12}")

# %% [markdown]
# In all three trained tables places along an axis are more alike than places as far apart that are off it. In the twins there is no difference to speak of. The eye was right.

# %% [markdown]
# ### The mirror
#
# Now to the right edge. Take the cosines of all pairs of places in the *same row*, sort them by their two columns, and average over the rows. That is a small matrix, column with column. Do the same for row with row.
#
# > **Predict.** Near columns are alike, so the diagonal will be blue. `cifar` was trained with a horizontal flip: half of the images, at random, were mirrored and kept their label (chapter 08). So was `shapes`. `mnist` was not, since a mirrored digit is no digit. What else will be blue, and in which of the three?


# %% tags=["hide-output"]
#| alt: Two rows of three small heat maps, column with column above and row with row below. Above: in cifar the four columns in the middle form a blue square, and the corners are blue too, so that the first columns are like the last; shapes is alike, with both diagonals blue; mnist has one broad diagonal only. Below: cifar and mnist have one diagonal, and shapes has both again.
def column_and_row_means(similarity):
    """(gh, gw, gh, gw) -> {"columns": (gw, gw) within a row, "rows": (gh, gh) within a column}."""
    return {
        "columns": similarity.diagonal(dim1=0, dim2=2).mean(dim=-1),
        "rows": similarity.diagonal(dim1=1, dim2=3).mean(dim=-1),
    }


means = {key: column_and_row_means(similarity_of(trained[key])) for key in LEARNED}
figure, axes = plt.subplots(2, 3, figsize=(5.4, 3.6))
for across, key in zip(axes.T, LEARNED):
    for ax, kind in zip(across, ("columns", "rows")):
        viz.heatmap(means[key][kind], ax, cmap=viz.SIGNED, limits=(-1, 1))
    across[0].set_title(key)
axes[0, 0].set(ylabel="columns")
axes[1, 0].set(ylabel="rows")
figure.colorbar(axes[0, 0].images[0], ax=axes, shrink=0.8, label="cosine")
plt.show()


def mirror_effect(matrix):
    """How much more alike mirror images are than other pairs that are as far apart: (n, n) -> a float."""
    n = len(matrix)
    first, second = torch.meshgrid(torch.arange(n), torch.arange(n), indexing="ij")
    mirror, more = first + second == n - 1, []
    for distance in range(1, n):
        pairs = (first - second).abs() == distance
        if (pairs & mirror).any() and (pairs & ~mirror).any():
            more.append(
                matrix[pairs & mirror].mean() - matrix[pairs & ~mirror].mean()
            )
    return torch.stack(more).mean().item()


for key in LEARNED:
    effects = {kind: mirror_effect(matrix) for kind, matrix in means[key].items()}
    print(key, {kind: round(effect, 1) + 0.0 for kind, effect in effects.items()})

# %% [markdown]
# Two diagonals. In `cifar` column 0 is like column 7, the farthest of all, and not at all like column 3; the four columns in the middle are nearly one. To put it in a number: how much more alike are mirror images than other pairs *that are equally far apart*? Column 1 and column 6, say, against all others that are five columns apart. By 0.5 in `cifar`, and by 0.0 in `mnist`. (Rows and columns survive this: without the mirror pairs, places five along an axis are still more alike than places off it.)
#
# The explanation is at hand, is it not? If every image is mirrored as often as not, then it does not help to tell left from right. So the two models with flips have the second diagonal, and the one without has not. **The figure shows the augmentation.** It fits three of three.
#
# Look at the lower row, though. `shapes` has it there too, and was never turned upside down. That is a crack in the story. A story about training can be tested: train without flips.
#
# > **Predict.** Chapter 08 has a ladder of recipes for CIFAR-10, and its first steps have learned positions and no flips. Does the second diagonal go away?

# %% tags=["hide-output"]
without = []  # the recipes of CIFAR-10 models that never saw a flip
print(f"{'recipe':21}seed  flips  left and right  top and bottom")
for table in load_record("position_mirror")["tables"]:
    columns, rows = (
        mirror_effect(torch.tensor(table[x])) for x in ("columns", "rows")
    )
    effects = f"{columns:11.1f}{round(rows, 1) + 0.0:16.1f}"
    flips = "yes" if table["flip"] else "no"
    print(f"{table['recipe']:18}{table['seed']:7}  {flips:5}{effects}")
    if "cifar" in table["recipe"] and not table["flip"]:
        assert columns > 0.35 and abs(rows) < 0.15
        without.append(table["recipe"])
assert len(without) == 8 and len(set(without)) == 6

# %% [markdown]
# It does not. Eight tables, trained without a single flip, by six recipes, and every one has it. The explanation was wrong, and it had fitted perfectly.
#
# What is left is the images themselves. A photograph of a horse may look to the left or to the right, so *as a set* photographs are as good as symmetric, with flips or without. But they have an up and a down: hence no second diagonal in the lower row. Of the eight drawn shapes seven look the same upside down, and they lie anywhere: hence both. Digits are symmetric in neither way. (That is a story too. It explains what we have seen, and the first one did not. How would you try to refute it?)
#
# So: **what a place is, a model learns from what happens there**, and where the same things happen, two places become one. And something more general, which you will need in the next two chapters. A picture invites a story, and the one that comes first may be wrong. It becomes knowledge when you have done the experiment that could have refuted it.

# %% [markdown]
# ### How much of a place is row plus column?
#
# One more number. Suppose that the vector of a place is a vector for its row plus a vector for its column, $p_{r,c} = a_r + b_c$. Then $gh + gw$ vectors would do, and not $gh \cdot gw$. How near to that is a learned table?
#
# This is an old question of statistics, a two-way analysis of variance. The best fit is made of means:
#
# $$\hat p_{r,c} = \bar p_{r,\cdot} + \bar p_{\cdot,c} - \bar p, \qquad \text{share} = 1 - \frac{\sum_{r,c} \lVert p_{r,c} - \hat p_{r,c} \rVert^2}{\sum_{r,c} \lVert p_{r,c} - \bar p \rVert^2}$$
#
# the mean of the row, plus the mean of the column, minus the mean of all, which is in both. By hand, with one number for each place, on a grid of 2 by 2: $\begin{pmatrix} 1 & 3 \\ 5 & 9 \end{pmatrix}$ has row means 2 and 7, column means 3 and 6, and the mean of all is 4.5. The fit is $\begin{pmatrix} 0.5 & 3.5 \\ 5.5 & 8.5 \end{pmatrix}$. What is left is 0.5 everywhere, squared and summed 1. The whole is $3.5^2 + 1.5^2 + 0.5^2 + 4.5^2 = 35$. The share is $34/35$.

# %% [markdown]
# ### Exercise 10.3 · `row_column_share`
#
# *Medium, 10 minutes.* Compute it.
#
# * `table` is `(gh, gw, D)`: the position vectors on their grid, without the class token.
# * Fit each vector by the mean of its row, plus the mean of its column, minus the mean of all. These are vectors, of length $D$.
# * Return 1 minus (the sum of squares that is left) / (the sum of squared deviations from the mean of all), each sum over everything: one number.


# %% tags=["exercise"]
def row_column_share(table):
    """How much of a table of positions is row plus column, between 0 and 1: (gh, gw, D) -> one number."""
    # BEGIN SOLUTION
    mean = table.mean(dim=(0, 1))  # (D,)
    rows = table.mean(dim=1, keepdim=True)  # (gh, 1, D)
    columns = table.mean(dim=0, keepdim=True)  # (1, gw, D)
    fit = rows + columns - mean  # (gh, gw, D)
    left = (table - fit).square().sum()
    return 1 - left / (table - mean).square().sum()
    # END SOLUTION


# %% tags=["check"]
from course_lib.checks import check_row_column_share

check_row_column_share(row_column_share)

# %% [markdown] tags=["help"]
# <details>
# <summary>Hint</summary>
#
# `table.mean(dim=1, keepdim=True)` is the mean of each row, `(gh, 1, D)`, and can be added to a `(1, gw, D)`: broadcasting fills in the grid. The mean of all is `table.mean(dim=(0, 1))`, `(D,)`.
#
# </details>

# %% [markdown]
# > **Predict.** The twin's table is pure chance. Is its share 0? And that of the sine-cosine table of chapter 05, whose one half is the column and whose other half is the row?
#
# The cell comes to the same number by another way: the variance of the rows' means plus the variance of the columns' means, divided by the variance of the whole.


# %% tags=["hide-output"]
def share_of(table):
    """The share of row plus column, by variances: (gh, gw, D) -> a float."""
    parts = table.mean(dim=1), table.mean(dim=0), table.flatten(0, 1)
    rows, columns, whole = (
        x.double().var(dim=0, correction=0).sum() for x in parts
    )
    return ((rows + columns) / whole).item()


def table_of(model):
    """The patches' positions on their grid: (gh, gw, D)."""
    patches = model.pos_embed.detach()[0, model.num_prefix_tokens :]
    return patches.unflatten(0, model.patch_embed.grid_size)


by_hand = torch.tensor([[1.0, 3.0], [5.0, 9.0]])[:, :, None]
print(f"by hand: 34/35 = {34 / 35:.3f}, by variances {share_of(by_hand):.3f}")
shares = {}
for key in LEARNED:
    gh, gw = trained[key].patch_embed.grid_size
    set_seed("many tables of chance", key)
    chance = np.mean([share_of(torch.randn(gh, gw, 64)) for _ in range(50)])
    expected = (gh + gw - 2) / (gh * gw - 1)
    shares[key] = share_of(table_of(trained[key]))
    print(
        f"{key:6} trained {shares[key]:.1f}, chance {chance:.2f}, expected of chance {expected:.2f}"
    )
computed = sincos_pos_embed_2d((8, 8), 64).unflatten(0, (8, 8))
print(f"sine-cosine {share_of(computed):.3f}")

# %% [markdown]
# Chance is not at 0. A fit with $gh + gw - 2$ free vectors around the mean catches that share of $gh \cdot gw - 1$ deviations even where there is nothing to catch: $14/63$, for 8 by 8. The computed table is at 1, by construction. The learned ones lie far above chance, and below 1: rows and columns are most of what they know, and not all.

# %% [markdown]
# ### What the picture does not say
#
# Add one vector to the positions of all patches and subtract it from the bias of the patch embedding. The tokens are the same numbers as before, so the model is the same function. The cosines are not.
#
# > **Predict.** In which direction do all cosines move if the added vector is long?

# %% tags=["hide-output"]
#| alt: Two rows of two grids of 8 by 8 tiles. Trained: as before, blue and vermilion. The same model, moved: every tile is dark blue all over. Trained, centred: blue and vermilion again, nearly as the first. Sine-cosine, centred: in each tile a blue cross and spot around its own place, vermilion far away, smooth from tile to tile and not mirrored.
model = trained["cifar"]
moved = copy.deepcopy(model)
set_seed("a vector to move by")
vector = torch.randn(64)
with torch.no_grad():
    moved.pos_embed[:, 1:] += vector
    moved.patch_embed.proj.bias -= vector
print("moved, same logits:", same_logits(model, moved))
print(
    f"smallest cosine before {similarity_of(model).min():.1f}, after {similarity_of(moved).min():.1f}"
)


def centred_similarity(table):
    """Cosines once the mean position is taken off: (gh, gw, D) -> (gh, gw, gh, gw)."""
    deviations = table - table.mean(dim=(0, 1))
    return interpret.pos_embed_similarity(deviations.flatten(0, 1), table.shape[:2])


both = [centred_similarity(table_of(each)) for each in (model, moved)]
print("centred, the same tiles:", torch.allclose(*both, atol=1e-3))
pictures = {
    "trained": similarity_of(model),
    "moved: the same model": similarity_of(moved),
    "trained, centred": both[0],
    "sine-cosine, centred": centred_similarity(computed),
}
_, axes = plt.subplots(2, 2, figsize=(6.4, 6.8))
for ax, (title, similarity) in zip(axes.flat, pictures.items()):
    show_tiles(ax, similarity)
    ax.set_title(title, fontsize=9)
plt.show()

# %% [markdown]
# All cosines move towards 1, since each vector is now mostly the added one. And the first two pictures are of **one and the same function**. So part of what this famous figure shows is not the model at all; it is how the model happens to be written down. Take off the mean position first, and that part is gone: the two models have the same tiles again. In `cifar` it makes little difference, since the mean is less than a quarter as long as a vector. You do not know until you have tried.
#
# Centred, the table can be compared with a computed one too. In the sine-cosine table near places are alike, and so are rows and columns; but it knows nothing of a mirror.

# %% [markdown]
# ## Panel 3: how far a head looks, and Figure 7 whole
#
# The third panel needs images, and the attention maps that they cause. How to get at those is the subject of chapter 11, and there you will write the measure, too. Here you only use it.
#
# For each patch, take its distance in pixels to every patch, weighted by how much attention it pays to it. Average over patches and images. That is one number for each head: its **mean attention distance**. A head that looks only at its own patch has 0.
#
# The cell draws it beside the other two panels, for both models and for a twin. A dotted line marks a head that looks everywhere alike.
#
# > **Predict.** Where is that line, for images of 32 and of 28 pixels? And where are the heads of the random model, which know nothing: near 0, near the line, or anywhere? And the trained ones?


# %% tags=["hide-output"]
#| alt: Three rows of three panels. CIFAR-10: a sheet of 28 components, the first with edges and soft colours, most of them noise; 8 by 8 tiles in blue and vermilion, mirrored left and right; attention distances of the four heads of each of six layers, which scatter between 14 and 18 pixels, below the dotted line at 16.5 in the lower layers and around it in the upper ones. MNIST: 14 grey components; 7 by 7 tiles with blue near each place; distances that scatter between 11 and 14 pixels, all below the line at 14.4. Random: noise; blank tiles with a dark cell each; distances that all lie close to the line at 16.5.
def grid_of(model):
    return model.patch_embed.grid_size, model.config.patch_size


def distances(model, images):
    """Mean attention distance of each head in pixels: (L, H)."""
    maps = interpret.attention_maps(model, images)  # (B, L, H, N, N)
    return interpret.mean_attention_distance(maps, *grid_of(model))


def everywhere_alike(model):
    """The same number for a head that looks everywhere alike."""
    n = model.patch_embed.num_patches
    maps = torch.full((1, 1, 1, n, n), 1 / n)
    return interpret.mean_attention_distance(maps, *grid_of(model)).item()


def figure_7(axes, name, model, images, n=28):
    """Filters, positions and attention distance of a model, on three Axes."""
    filters, positions, reaches = axes
    components = sheet(interpret.patch_filters(model, n))
    filters.imshow(components, interpolation="nearest")
    filters.axis("off")
    show_tiles(positions, similarity_of(model))
    found, alike = distances(model, images), everywhere_alike(model)
    layers = torch.arange(1, len(found) + 1).repeat_interleave(found.shape[1])
    reaches.plot(layers, found.flatten(), "o", color=viz.KEY, markersize=3)
    reaches.axhline(alike, color=viz.MUTED, lw=1, ls=":")
    low = min(0.7 * alike, found.min().item() - 1)
    reaches.set(ylim=(low, 1.2 * alike), xticks=range(1, len(found) + 1))
    titles = f"{name}: filters", "positions", "distance, pixels"
    for ax, title in zip(axes, titles):
        ax.set_title(title, fontsize=11)


digits = [
    [list(bytes.fromhex(row)) for row in entry["image"]]
    for entry in load_record("mnist_test_examples")["examples"]
]
digits = torch.tensor(digits, dtype=torch.uint8)[:, None]  # (10, 1, 28, 28)
digits = trained["mnist"].preprocessing.transform()(digits)

_, axes = plt.subplots(3, 3, figsize=(7.4, 7.2), width_ratios=(1.25, 1, 1))
figure_7(axes[0], "CIFAR-10", trained["cifar"], images)
figure_7(axes[1], "MNIST", trained["mnist"], digits, n=14)
figure_7(axes[2], "random", random["cifar"], images)
axes[2, 2].set(xlabel="layer")
plt.show()

# %% [markdown]
# This is the picture to keep, with its last row: the paper's Figure 7 has the upper rows only.
#
# A head that looks everywhere alike has about half of the image: 16.5 pixels of 32, and 14.4 of 28. A random model's heads are all near that line. Their queries and keys are small random numbers, so the scores are nearly equal, and the softmax of equal scores is uniform. It is a fact about the beginning of training, not about images.
#
# The trained heads have spread out. In `cifar` most look nearer than that, all of the lower three layers do, and some look farther, which is possible: such a head prefers places that are far. In `mnist` all of them look nearer.
#
# The paper's panel, of a much larger model, has more to show. In its lowest layers some heads look at most of the image, and others have "consistently small attention distances". In hybrids, which put a ResNet before the transformer, such local heads are rarer. From that the authors infer that they "may serve a similar function as early convolutional layers in CNNs" (section 4.5). Our models have six layers, and even the nearest of their heads looks more than two patches far. So do not read the paper's sentence into our dots.
#
# Be sober about the first column, too. MNIST's components look as noisy to the eye as the random ones, and `cifar` has fewer orderly ones than `wide`.
#
# With a network you can draw the same for ViT-B/16 from the weights that torchvision publishes: 14 by 14 tiles, twelve layers of twelve heads. It was **not run** for this page.

# %%
FULL = False  # True fetches ViT-B/16 (346 MB), once

if FULL:
    vit_b = create_model("vit_base_patch16_224", pretrained=True).eval()
    pieces = photos.unfold(2, 213, 213).unfold(3, 213, 213)  # (2, 3, 2, 3, 213, 213)
    pieces = pieces.permute(0, 2, 3, 1, 4, 5).flatten(0, 2)  # (12, 3, 213, 213)
    _, axes = plt.subplots(1, 3, figsize=(11, 3.6), width_ratios=(1.25, 1, 1))
    figure_7(axes, "ViT-B/16", vit_b, vit_b.preprocessing.transform()(pieces))
    plt.show()
else:
    print("not run here: it fetches 346 MB")

# %% [markdown]
# ## What is learned, and what is there at random
#
# | what you see | trained | random | so it is |
# |:--|:--|:--|:--|
# | components of the filters with order in them | the first dozen of `wide` | none | learned |
# | a falling spectrum of the filters | yes, steeper | yes | in good part there at random |
# | brightness and the finest turned down, middle scales up | `wide`, `cifar` | no | learned |
# | near places alike, rows, columns | yes | no | learned |
# | left and right alike | photographs, drawn shapes | no | learned, from the images |
# | heads that look about half the image far | on average | all | there at random |
# | heads that differ in how far they look | yes | hardly | learned |
#
# The last cell tests what the chapter says, with three twins of each model, so that nothing hangs on the luck of one.

# %%
wide, cifar, shapes = (trained[key] for key in ("wide", "cifar", "shapes"))
loud = loudness(wide, axes_of)


def mirrors(similarity):
    """The mirror effect of columns and of rows, and five apart without mirror pairs: along less off the axis."""
    place = torch.arange(len(similarity))
    mirror = place[:, None] + place == len(place) - 1
    in_pairs = mirror[:, None, :, None] | mirror[:, None]  # of rows, of columns
    along, off = five_apart(similarity, ~in_pairs)
    columns, rows = column_and_row_means(similarity).values()
    return mirror_effect(columns), mirror_effect(rows), along - off


for seed in range(3):
    twins = {key: twin(key, seed) for key in NAMES}
    assert not orderly(twins["wide"]).any()
    assert interpret.patch_filter_variance(twins["wide"], 10).sum() < 0.45
    assert (gain(twins["wide"], axes_of) - 1).abs().max() < 0.6
    random_loud = loudness(twins["wide"], axes_of)
    assert loud.sum() < 0.66 * random_loud.sum()
    assert abs((loud / random_loud)[4:14].mean() - 1.5) < 0.2
    for key in LEARNED:
        assert max(map(abs, mirrors(similarity_of(twins[key])))) < 0.15
        assert abs(share_of(table_of(twins[key])) - 0.24) < 0.06
    for key, inputs, alike in (("cifar", images, 16.5), ("mnist", digits, 14.4)):
        assert (distances(twins[key], inputs) - alike).abs().max() < 1

assert orderly(wide)[:12].all() and orderly(cifar).sum() < 9
assert abs(spectra["trained"][:10].sum() - 0.57) < 0.02
of_wide, of_cifar = gain(wide, axes_of), gain(cifar, axes_of)
for gains in (of_wide, of_cifar):
    assert gains[0] < 0.4 and gains[4:14].mean() > 1.8 and gains[20:].max() < 0.95
assert of_wide[1] > 1.3 and (of_wide[4:14] > 1.4).sum() >= 8
assert (of_wide[2:4] - 1).abs().max() < 0.3 and abs(of_wide[20:].mean() - 0.5) < 0.1
of_shapes = gain(shapes, axes_of)
assert of_shapes[:5].max() < 0.5 and (of_shapes[20:] > 1.1).sum() >= 8

tile = similarity_of(cifar)[2, 5]
assert tile[2, 2:6].min() > 0.7 and tile[2, 6] < 0.4 and tile[6:].max() < -0.2
alike = means["cifar"]["columns"]
assert alike[0, 7] > 0.6 and alike[0, 3] < 0.2 and alike[2:6, 2:6].min() > 0.75
for key, expected in zip(LEARNED, ((0.5, 0), (0, 0), (0.5, 0.5))):
    *effects, rest = mirrors(similarity_of(trained[key]))
    assert np.allclose(effects, expected, rtol=0, atol=0.1) and rest > 0.15
    assert 0.6 < shares[key] < 0.95
columns, rows, rest = mirrors(pictures["sine-cosine, centred"])
assert max(columns, rows) < 0.05 and rest > 0.5
middle, radius = (torch.full((8, 1, 1), n) for n in (16, 9))
outlines = draw_shapes(torch.arange(8), middle, middle, radius, 32)
assert (outlines == outlines.flip(1)).all(dim=(1, 2)).sum() == 7  # upside down
vectors = table_of(cifar).flatten(0, 1)
assert vectors.mean(dim=0).norm() < 0.25 * vectors.norm(dim=1).mean()

found = distances(cifar, images)
assert abs(everywhere_alike(cifar) - 16.5) < 0.1 and (found < 16).sum() > 14
assert found[:3].max() < 16.3 and found.max() > 17.3 and found.min() > 8
found = distances(trained["mnist"], digits)
assert abs(everywhere_alike(trained["mnist"]) - 14.4) < 0.1
assert found.max() < 14.3 and found.min() > 8  # two patches

louder = copy.deepcopy(cifar)  # the second question below
with torch.no_grad():
    louder.cls_token *= 10
    for part in (*louder.patch_embed.parameters(), louder.pos_embed):
        part *= 10
    kept = louder(images).argmax(dim=1) == cifar(images).argmax(dim=1)
assert kept.float().mean() < 0.25
print("what this chapter says holds, for three twins of each model")

# %% [markdown]
# ## Three to think about
#
# No code, a pencil.
#
# 1. A ViT has $D = 768$ filters of $3 \cdot 16 \cdot 16 = 768$ numbers. The mean filter is subtracted. How many components are there at most?
# 2. You multiply all patch filters, the bias, the class token and the position table by 10. Does the model change? (Think of what reads the residual stream, and of what is added to it.)
# 3. Somebody trains a ViT on images of which each was turned by 0, 90, 180 or 270 degrees at random. What do you expect its tiles to look like?
#
# <details>
# <summary>Answers</summary>
#
# 1. 767: without their mean, 768 points span one dimension less.
# 2. Yes, a great deal. Each block *reads* through a LayerNorm, which hardly notices the factor. But what it *adds* is as large as before, and so ten times smaller beside the rest: every block's words weigh less. In `cifar` fewer than one in four of our 48 images keeps its class.
# 3. If it is the images that count, then what happens at a place happens as often at the three places that turning brings it to, and each tile should have four spots. That is a prediction. You know what to do with it.
#
# </details>

# %% [markdown]
# ## What you take with you
#
# * **Weights can be looked at where one side of them is the world**: pixels, places.
# * The filters one by one mean little. Their **principal components** do not depend on how the model shares them out; sign and near ties are arbitrary.
# * What is learned is **which directions in a patch are loud**, and for the positions **rows, columns and the symmetries of the images**.
# * An explanation that fits is not yet a reason. **Do the experiment that could refute it.**
# * Ask of each picture **what can be changed without changing the model**, and **what a model gives that has learned nothing**.
#
# The picture to keep: **our Figure 7, with its last row**.
#
# ### To read
#
# * [Dosovitskiy et al. 2021](https://arxiv.org/abs/2010.11929), section 4.5 and figure 7; appendix D.4 for more tables, D.7 for the attention distance.
# * [Raghu et al. 2021](https://arxiv.org/abs/2108.08810), *Do Vision Transformers See Like Convolutional Neural Networks?*: how far heads look, with much and with little data.
#
# Next, chapter 11: the maps themselves. How to get them out of any model, what heads look at, and how to follow attention through all layers.
