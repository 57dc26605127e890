# %% [markdown]
# # Filters and position embeddings
#
# | Goal | Before you start | Time | Runs on |
# |:--|:--|:--|:--|
# | Open a trained ViT and see what its first layer and its positions have become: the paper's Figure 7, made by you, beside what a random model gives | Chapters 01 to 06 | 80 minutes | any CPU |
#
# So far a model was something that you build and train. Now it is something that you look into. Nothing is trained in this chapter.
#
# Figure 7 of the paper has three panels ([Dosovitskiy et al. 2021](https://arxiv.org/abs/2010.11929), section 4.5). On the left, the filters of the patch embedding. In the middle, how similar the position embeddings are to each other. On the right, how far each attention head looks. It is one of the most copied figures of the field, and it is easy to see too much in it. You will make all three panels from models that were trained for this course, and put beside each what a model gives that has learned nothing.
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
from course_lib.vit import VIT_CONFIGS, VisionTransformer, create_model

viz.set_style()
torch.set_num_threads(1)  # the models here are tiny: more threads only wait

# %% [markdown]
# ## What one can look at
#
# There are three kinds of numbers in a model, and they answer different questions.
#
# | | what it is | what you need to see it | here |
# |:--|:--|:--|:--|
# | **weights** | what was learned; the same for every image | the file | panels 1 and 2 |
# | **activations** | what one image makes of the model | an image, and a place to listen | chapters 11 and 12 |
# | **attention** | who looks at whom, for one image | the same, and an explicit softmax | panel 3; chapter 11 |
#
# Most weights mean nothing by themselves: a row of `blocks.3.mlp.fc2` says something about neurons that nobody has a name for. Two are an exception, since one side of them is the world. The **patch embedding** reads pixels. The **position table** has a row for each place in the image.
#
# Five models. `cifar` and `mnist` are the ones to open: they have a class token and learned positions, as the paper's have, six blocks of four heads, width 64 and patches of 4 pixels. `shapes` is their sister, trained on drawn shapes. `wide` is the better CIFAR-10 model of chapter 08; its width is 128, its positions are fixed. And for each there is a **twin**: the same model with the random numbers that training begins with.

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
    _, axes = plt.subplots(1, len(sheets), figsize=(7, height))
    for ax, (title, pictures) in zip(axes, sheets.items()):
        ax.imshow(sheet(pictures, columns), interpolation="nearest")
        ax.set_title(title)
        ax.axis("off")
    plt.show()


def weight_of(model):
    return model.patch_embed.proj.weight.detach()


show_sheets(
    {"A": weight_of(trained["wide"])[:28], "B": weight_of(random["wide"])[:28]}
)

# %% [markdown]
# > **Predict.** The first 28 filters of `wide`, which is right on four of five CIFAR-10 images, and the first 28 of its twin. Unfold the picture: which sheet is which?
#
# It is not easy. A is the trained one. A stripe here, a soft change of colour there, and otherwise noise. If this were all, you might think that the first layer had hardly learned.
#
# ### Why single filters are the wrong thing to look at
#
# The $D$ numbers of a token have no meaning one by one. The next thing that happens to a token is a matrix, and that matrix can undo nearly any turn of the $D$ axes (a LayerNorm stands between, which treats one direction apart: see below). What a model is bound to is **which directions in the space of patches it reacts to**, and not how it distributes them over its $D$ filters.
#
# So treat the filters as a cloud of $D$ points in a space of $C P^2$ dimensions, and ask for the axes of the cloud. That is a principal component analysis (PCA), and a singular value decomposition (SVD) does it. Flatten the filters to a matrix $W$, $(D, CP^2)$, subtract the mean filter $\bar w$ from each row, and
#
# $$W - \bar w = U S V^\top$$
#
# Each row of $V^\top$ has $CP^2$ numbers: it is a picture again, a **component**. Each filter is a mixture of components. The singular values in $S$ fall, and $S_k^2 / \sum_j S_j^2$ is the share of the filters' variance that component $k$ explains. A few loud components, and the filters span little; all equally loud, and they span everything.
#
# Mix the centred filters by a random orthogonal matrix, and each becomes another picture. The components stay.

# %%
flat = weight_of(trained["wide"]).double().flatten(1)  # (128, 48)
centred = flat - flat.mean(dim=0)

torch.manual_seed(4)
turn = torch.linalg.qr(torch.randn(128, 128, dtype=torch.float64)).Q
turned = turn @ centred  # 128 mixtures of the 128 filters
alike = F.cosine_similarity(centred, turned, dim=1).abs()
print("a filter and its mixture, mean |cosine|:", f"{alike.mean():.2f}")

before, after = (
    torch.linalg.svd(x, full_matrices=False).Vh for x in (centred, turned)
)
alike = F.cosine_similarity(before, after, dim=1).abs()
print("all 48 components the same but for the sign:", (alike > 0.999).all().item())

# %% [markdown]
# ### What the model cannot see
#
# Why subtract the mean filter? For a better reason than that PCA always does.
#
# > **Predict.** Take one picture, any picture, as loud as the filters themselves. Add it to *all* 128 filters. What happens to the ten logits?

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
loud = weight_of(changed).std()
with torch.no_grad():
    changed.patch_embed.proj.weight += loud * torch.randn(1, 3, 4, 4)
print("to all filters, same logits:", same_logits(trained["wide"], changed))

with torch.no_grad():
    changed.patch_embed.proj.weight[:64] += loud * torch.randn(1, 3, 4, 4)
print("to half of them, same logits:", same_logits(trained["wide"], changed))

# %% [markdown]
# Nothing. What is added to all filters adds *one and the same number* to all $D$ entries of a token. The token goes into the residual stream, and whoever reads that stream, every attention, every MLP and the head, reads it through a LayerNorm. The first thing that LayerNorm does is to subtract the mean of the $D$ entries (chapter 03). So the number is gone before anybody sees it.
#
# The mean filter is therefore something that **the model itself is blind to**. To subtract it is to look only at what the model can see.
#
# (The 48 images are pieces of the two photographs, reduced to 32 pixels. They will do for such tests.)

# %% [markdown]
# ### Exercise 10.1 · `patch_filters`
#
# *Medium, 15 minutes.* The first $n$ principal components of the filters.
#
# * `weight` is `(D, C, P, P)`. Flatten each filter, and subtract the mean filter.
# * Take the first `n` right singular vectors. Each has length 1, and they come in order of the variance that they explain.
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
#
# <details>
# <summary>Why not simply make the sum positive?</summary>
#
# Many components sum to nearly 0, an edge for example: half of it is positive, half negative. Then rounding decides, and another machine shows you the negative. The largest number is never near 0.
#
# </details>

# %% [markdown]
# ### Twenty-eight components
#
# The paper shows 28. Here are ours. (From here on the cells call `interpret.patch_filters`, and later `interpret.pos_embed_similarity`: the library's versions of what you write here.) On the right, for comparison, the principal components of something else: of *patches*. Cut the two photographs into patches of 4 by 4 pixels and ask for the axes of that cloud.
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


def one_colour(pictures):
    """How much of each picture (n, 3, P, P) is a single pattern in a single colour, between 1/3 and 1."""
    sizes = torch.linalg.svdvals(pictures.flatten(2).double()).square()  # (n, 3)
    return sizes[:, 0] / sizes.sum(dim=1)


orderly = {
    name: (one_colour(interpret.patch_filters(model["wide"], 28)) > 0.75)
    .sum()
    .item()
    for name, model in (("trained", trained), ("random", random))
}
print("of one colour, of 28:", orderly)

# %% [markdown]
# Look at the left sheet, row by row. (Where two variances are nearly equal, their order is arbitrary: read it as a set, not as a ranking.) The first dozen are orderly: stripes, bars and edges in grey, and soft changes from one colour to its opposite. What comes after is noise, and looks like the noise in the middle. This is not a matter of taste: a picture that is *one* pattern in *one* colour, $\text{colour}_c \cdot \text{pattern}_{ij}$, is a matrix of rank 1, and one can measure how close each picture comes to that. None of the random ones is.
#
# The noise on the left looks like what the random numbers of the start have left behind: training has had no reason to remove it all. In the paper's figure all 28 look orderly: its model had seen far more images than our 45,000, and seen them longer.
#
# And the right sheet? Photographs vary most in brightness: the first component is a plain picture. Then comes a plain colour, then edges. Of these the model's first components seem to have the edges and the colours. The plain one is missing.

# %% [markdown]
# ### How many are needed?
#
# > **Predict.** How many of 48 components does it take to explain 90 % of the variance: of the patches of photographs? Of random filters, which know nothing? Of trained ones?

# %% tags=["hide-output"]
#| alt: Share of variance explained against the number of components, from 0 to 48. The line of the photographs' patches jumps to 0.86 at one component and is near 1 from three. The other two lie close together: both rise in a bow, trained slightly above random, and reach 0.9 at about 30 and 35 components. A dotted straight line runs below both.
share = {
    "patches of photographs": spread / spread.sum(),
    "trained": interpret.patch_filter_variance(trained["wide"], 48),
    "random": interpret.patch_filter_variance(random["wide"], 48),
}
set_seed("a great many random filters")
many = torch.randn(100_000, 48, dtype=torch.float64)
share["random, 100,000 filters"] = (
    torch.linalg.svdvals(many).square() / many.square().sum()
)

_, ax = plt.subplots(figsize=(6.4, 3))
styles = ("-", "-", "--", ":")
colors = (viz.VALUE, viz.KEY, viz.QUERY, viz.MUTED)
for (name, values), style, color in zip(share.items(), styles, colors):
    explained = np.concatenate([[0], values.cumsum(0)])
    ax.plot(explained, style, color=color, label=name)
    print(f"{name:24} {(explained < 0.9).sum():2} components for 90 %")
ax.axhline(0.9, color=viz.LINE, lw=1, zorder=0)
ax.set(xlabel="components", ylabel="share explained", ylim=(0, 1.05))
ax.legend()
plt.show()

# %% [markdown]
# Two for the photographs, about thirty for the filters, and that is nearly as many as for random ones. Two lessons.
#
# **Random is not flat.** The spectrum of a random model falls. 128 random filters are not spread evenly over 48 directions: by chance there is more in some than in others, and the SVD sorts by just that. Only with a great many filters does the line become straight. So if somebody shows you a falling spectrum and concludes that something has been learned, ask for the twin's. (For one channel and few numbers it is the same: in `mnist` there are 64 filters for 16 directions.)
#
# **"How many for 90 %" hardly tells ours from its twin.** Noise is spread over all directions, and it counts. There is a difference, if you know where to look: the first ten components explain 57 % in the trained model and about 40 % in the twin, and the curve bends at 11, where the order ends. The twin shows how much of the fall is chance. What has been learned is above all *which* directions are loud.

# %% [markdown]
# ### What gets through
#
# So ask another way, one that needs neither an order nor a sign. Take a direction $v$ in the space of patches. If patches vary along it by a step of length 1, how far does the token move? By $\lVert (W - \bar w)\, v \rVert$. Square it, and divide by the mean over all directions: that is the **gain**. A random model has a gain near 1 for everything.
#
# Do that for the 48 axes of the photographs' patches, from what varies most in photographs, brightness, to what varies least.
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


gains = {
    name: gain(models["wide"], axes_of)
    for name, models in (("trained", trained), ("random", random))
}
_, ax = plt.subplots(figsize=(6.4, 3))
for (name, values), color, style in zip(
    gains.items(), (viz.KEY, viz.QUERY), ("o-", "s--")
):
    ax.plot(
        range(1, 49), values, style, color=color, lw=1, markersize=4, label=name
    )
ax.axhline(1, color=viz.LINE, lw=1, zorder=0)
ax.set(xlabel="direction, by how much photographs vary along it", ylabel="gain")
ax.set(
    yscale="log", yticks=[0.25, 0.5, 1, 2, 4], yticklabels=["¼", "½", "1", "2", "4"]
)
ax.minorticks_off()
ax.legend()
plt.show()

for name, values in gains.items():
    low, middle, fine = values[0], values[4:14].mean(), values[20:].mean()
    print(
        f"{name:8} brightness {low:.1f}, directions 5 to 14 {middle:.1f}, 21 to 48 {fine:.1f}"
    )

# %% [markdown]
# There it is. The trained model turns **brightness down**, to about a quarter. That is where photographs vary most, by far: a small weight is loud enough there. It turns up **most of directions 5 to 14, and one plain colour**, number 2. The two plainest edges, 3 and 4, are near 1. And it turns what is finest **down** again, all of it alike. There photographs hardly vary at all.
#
# Two cautions. The gain is relative, and it is squared: a quarter is a half in amplitude. Without the division by the mean, training has mostly *taken away*: all directions together have less than two thirds of the twin's loudness, and "up" means one and a half times the twin's. And the axes come from our two photographs, not from CIFAR-10.
#
# The twin has nothing of the kind. So this is learned. `cifar` has the same pattern. `shapes`, which saw no photograph, turns brightness down too, but four more of the first axes as well, and many of the finest up.
#
# It answers the question from above. A trained model's filters are *not* the main directions of its patches. The paper says of its own that the components "resemble plausible basis functions for a low-dimensional representation of the fine structure within each patch" (section 4.5). *Within* the patch: its structure, not its brightness.

# %% [markdown]
# ## Panel 2: the positions
#
# Chapter 05 ended a section with a picture, and with a promise. The picture: for each place a little map, a tile, of how similar its vector is to that of every other place. The promise: to draw the same for a table that was *learned*.
#
# This is such a table. It began as random numbers with standard deviation 0.02. Nobody has told the model that patch 9 lies below patch 1, or that there are rows at all.
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
# <summary>I get “shape '[7, 7, 7, 7]' is invalid for input of size 2500”</summary>
#
# $2500 = 50^2$, and $50 = 1 + 7 \cdot 7$. The class token is still in. It has no place, so it has no tile.
#
# </details>
#
# <details>
# <summary>I cut off the last row instead, and the picture looks fine</summary>
#
# So does the [answer](https://github.com/google-research/vision_transformer/issues/55) that people find when they ask Google's repository for this figure: it takes `[:-1]`, as if the class token came last. Then every patch gets the vector of its neighbour on the left, and the first one that of the class token. Each tile still has its 1 at its own place. There is no error: you have to know that row 0 is the class token's.
#
# </details>

# %% [markdown]
# ### The tiles


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
# In the twin each place is like itself and like nothing else. In the trained table **near places are alike**, and the picture has **rows**: the tiles of the first row of patches are blue along the first rows, all of them. Nobody has told the model what is near. It found out from the images, by being a little less wrong when two vectors moved towards each other.
#
# And there is something that you may not have expected. Look at the tiles of the first column: they are blue at the left edge, and at the *right* edge as well. We come to that.
#
# ### Seven by seven, or fourteen by fourteen?
#
# The paper's figure has 7 by 7 tiles, yours may have 14 by 14, and people [ask why](https://github.com/google-research/vision_transformer/issues/138). There are as many tiles as patches, and each tile has as many cells.

# %%
for name in (
    "vit_large_patch32_224",
    "vit_base_patch16_224",
    "vit_base_patch16_384",
    "vit_mnist_token_patch4_28",
    "vit_cifar_token_patch4_32",
):
    config = VIT_CONFIGS[name]
    side = config.img_size // config.patch_size
    print(f"{name:26} {side} x {side} tiles of {side} x {side}")

# %% [markdown]
# The paper's is ViT-L/32: 49 patches. ViT-B/16 has 196, and each tile is finer. Our `mnist` happens to have the paper's 7 by 7.
#
# ### Is it really rows and columns?
#
# The paper reads it off the figure: "patches in the same row/column have similar embeddings". But neighbours *are* in the same row or column. Perhaps near places are alike in all directions, and the eye does the rest? Put it in numbers.
#
# Three means: of the cosine with other places in the same row, with other places in the same column, and with places that share neither. And one comparison that is fair about distance. There are two ways to be *exactly five patches* away: five along a row or column, or three one way and four the other, since $3^2 + 4^2 = 5^2$.
#
# Beside each trained table stands its twin's, in which there can be no rows.


# %% tags=["hide-output"]
def apart(grid):
    """How many rows and how many columns each pair of places is apart: (gh, gw, gh, gw) twice."""
    gh, gw = grid
    row, column = torch.meshgrid(torch.arange(gh), torch.arange(gw), indexing="ij")
    return [(x[:, :, None, None] - x).abs() for x in (row, column)]


def cross_scores(similarity):
    """Mean cosines: same row, same column, elsewhere; five apart along an axis, five apart as 3 and 4."""
    down, across = apart(similarity.shape[:2])
    axis, five = (down == 0) | (across == 0), down**2 + across**2 == 25
    same_row, same_column = (down == 0) & (across > 0), (across == 0) & (down > 0)
    groups = same_row, same_column, ~axis, five & axis, five & ~axis
    return [similarity[group].mean().item() for group in groups]


LEARNED = ("cifar", "mnist", "shapes")  # those with learned positions
scores = {}
print(f"{'':17}same row  same column  elsewhere    five: along, as 3 and 4")
for key in LEARNED:
    for name, similarity in (
        ("trained", similarity_of(trained[key])),
        ("random", similarity_of(random[key])),
    ):
        scores[key, name] = cross_scores(similarity)
        row, column, other, along, off = (
            round(x, 1) + 0.0 for x in scores[key, name]
        )
        print(f"{key:6} {name:9}{row:9}{column:13}{other:11}{along:15}{off:16}")

# %% [markdown]
# It is. In all three trained tables places in the same row are more alike than places elsewhere, and so are places in the same column. At the same distance of five patches, places along an axis are more alike than places off it. In the twins there is no difference to speak of. The eye was right, and now you know that it was.

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
    mirror, gains = first + second == n - 1, []
    for distance in range(1, n):
        apart = (first - second).abs() == distance
        if (apart & mirror).any() and (apart & ~mirror).any():
            gains.append(
                matrix[apart & mirror].mean() - matrix[apart & ~mirror].mean()
            )
    return torch.stack(gains).mean().item()


for key in LEARNED:
    effects = {kind: mirror_effect(matrix) for kind, matrix in means[key].items()}
    print(key, {kind: round(effect, 1) + 0.0 for kind, effect in effects.items()})

# %% [markdown]
# Two diagonals. In `cifar` column 0 is like column 7, the farthest of all, and not at all like column 3; the four columns in the middle are nearly one. To put it in a number: how much more alike are mirror images than other pairs *that are equally far apart*? Column 1 and column 6, say, against all others that are five columns apart. By 0.5 in `cifar`, and by 0.0 in `mnist`.
#
# (So the comparison of pairs that are five apart was not quite fair: columns 1 and 6 are a mirror pair. Without such pairs the mean along an axis falls to -0.08 in `cifar` and to -0.03 in `shapes`. Off the axes it is -0.45 and -0.26. Rows and columns survive.)
#
# The explanation is at hand, is it not? If every image is mirrored as often as not, then it does not help to tell left from right. So the two models with flips have the second diagonal, and the one without has not. **The figure shows the augmentation.** It fits three of three.
#
# Look at the lower row, though. `shapes` has it there too, and was never turned upside down. That is a crack in the story. A story about training can be tested: train without flips.
#
# > **Predict.** Chapter 08 has a ladder of recipes for CIFAR-10, and its first steps have learned positions and no flips. Does the second diagonal go away?

# %% tags=["hide-output"]
tables = load_record("position_mirror")["tables"]
effects = {
    kind: [mirror_effect(torch.tensor(table[kind]).double()) for table in tables]
    for kind in ("columns", "rows")
}
print(f"{'recipe':21}seed  flips  left and right  top and bottom")
for table, columns, rows in zip(tables, *effects.values()):
    flips = "yes" if table["flip"] else "no"
    print(
        f"{table['recipe']:18}{table['seed']:7}  {flips:5}{columns:11.1f}{round(rows, 1) + 0.0:16.1f}"
    )

without = [
    (columns, rows)
    for table, columns, rows in zip(tables, *effects.values())
    if "cifar" in table["recipe"] and not table["flip"]
]
assert len(without) == 8
assert all(columns > 0.3 and abs(rows) < 0.15 for columns, rows in without)

# %% [markdown]
# It does not. Eight tables, trained without a single flip, by six recipes, and every one has it. The explanation was wrong, and it had fitted perfectly.
#
# What is left is the images themselves. A photograph of a horse may look to the left or to the right, so *as a set* photographs are as good as symmetric, with flips or without. But they have an up and a down: hence none in the lower row. Of the drawn shapes seven in eight look the same upside down, and they lie anywhere: hence both. Digits are symmetric in neither way. (That is a story too. It explains what we have seen, and the first one did not. How would you try to refute it?)
#
# So: **what a place is, a model learns from what happens there**, and where the same things happen, two places become one. And something more general, which you will need in the next two chapters. A picture invites a story. The story that comes first may be wrong. It becomes knowledge when you have done the experiment that could have refuted it.

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
#
# <details>
# <summary>My share is negative</summary>
#
# Then your fit is worse than the plain mean. Most likely the mean of all is in it twice: each row's mean has it, and each column's. Subtract it once.
#
# </details>

# %% [markdown]
# > **Predict.** The twin's table is pure chance. Is its share 0? And that of the sine-cosine table of chapter 05, whose one half is the column and whose other half is the row?
#
# To check the means, here is the fit once more in another way: as a linear regression on "is in row 0", "is in row 1" ... "is in column 0" ...


# %% tags=["hide-output"]
def share_by_regression(table):
    """The same number by least squares: (gh, gw, D) -> a float."""
    gh, gw, _ = table.shape
    rows = torch.eye(gh, dtype=torch.float64).repeat_interleave(gw, dim=0)
    columns = torch.eye(gw, dtype=torch.float64).repeat(gh, 1)
    inputs = torch.cat([rows, columns[:, 1:]], dim=1)  # (gh·gw, gh + gw - 1)
    vectors = table.double().flatten(0, 1)  # (gh·gw, D)
    left = vectors - inputs @ torch.linalg.lstsq(inputs, vectors).solution
    return (
        1
        - (left.square().sum() / (vectors - vectors.mean(0)).square().sum()).item()
    )


def table_of(model):
    """The patches' positions on their grid: (gh, gw, D)."""
    patches = model.pos_embed.detach()[0, model.num_prefix_tokens :]
    return patches.unflatten(0, model.patch_embed.grid_size)


by_hand = torch.tensor([[1.0, 3.0], [5.0, 9.0]])[:, :, None]
print(
    f"by hand: 34/35 = {34 / 35:.3f}, by regression {share_by_regression(by_hand):.3f}"
)
shares = {}
for key in LEARNED:
    gh, gw = trained[key].patch_embed.grid_size
    set_seed("many tables of chance", key)
    chance = [share_by_regression(torch.randn(gh, gw, 64)) for _ in range(50)]
    expected = (gh + gw - 2) / (gh * gw - 1)
    shares[key] = share_by_regression(table_of(trained[key]))
    print(
        f"{key:6} trained {shares[key]:.1f}, chance {np.mean(chance):.2f}, expected of chance {expected:.2f}"
    )
computed = sincos_pos_embed_2d((8, 8), 64).unflatten(0, (8, 8))
print(f"sine-cosine {share_by_regression(computed):.3f}")

# %% [markdown]
# Chance is not at 0. A fit with $gh + gw - 2$ free vectors around the mean catches that share of $gh \cdot gw - 1$ deviations even where there is nothing to catch: $14/63$, for 8 by 8. The computed table is at 1, by construction. The learned ones lie far above chance, and below 1: rows and columns are most of what they know, and not all.

# %% [markdown]
# ### What the picture does not say
#
# Two warnings, the first with a test.
#
# **The mean position means nothing.** Add one vector to the positions of all patches and subtract it from the bias of the patch embedding. The tokens are the same numbers as before, so the model is the same function. The cosines are not.
#
# > **Predict.** In which direction do all cosines move if the added vector is long?

# %% tags=["hide-output"]
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

# %% tags=["hide-input"]
#| alt: Two rows of two grids of 8 by 8 tiles. Trained: as before, blue and vermilion. The same model, moved: every tile is dark blue all over. Trained, centred: blue and vermilion again, nearly as the first. Sine-cosine, centred: in each tile a blue cross and spot around its own place, vermilion far away, smooth from tile to tile and not mirrored.
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
# The first two pictures are of **one and the same function**. So part of what this famous figure shows is not the model at all; it is how the model happens to be written down. Take off the mean position first, and that part is gone: the two models have the same tiles again. In `cifar` it makes little difference, since the mean is short: a fifth of a vector's average length. In `shapes` it is two fifths. You do not know until you have tried.
#
# Centred, the tables can be compared with a computed one too. In the sine-cosine table near places are alike, and so are rows and columns; but it knows nothing of a mirror.
#
# **A tile for each position.** A single tile, that of the middle, say, is often shown as "the" position embedding. Go back to the first picture, and see how little the tile in the corner resembles the one in the middle.

# %% [markdown]
# ## Panel 3: how far a head looks
#
# The third panel needs images, and the attention maps that they cause. How to get at those is the subject of chapter 11, and there you will write the measure, too. Here you only use it.
#
# For each patch, take its distance in pixels to every other patch, weighted by how much attention it pays to it. Average over patches and images. That is one number for each head: its **mean attention distance**. A head that looks only at its own patch has 0. What has one that looks everywhere alike?


# %%
def distances(model, images):
    """Mean attention distance of each head in pixels: (L, H)."""
    maps = interpret.attention_maps(model, images)  # (B, L, H, N, N)
    grid, side = model.patch_embed.grid_size, model.config.patch_size
    return interpret.mean_attention_distance(maps, grid, side)


digits = [
    [list(bytes.fromhex(row)) for row in entry["image"]]
    for entry in load_record("mnist_test_examples")["examples"]
]
digits = torch.tensor(digits, dtype=torch.uint8)[:, None]  # (10, 1, 28, 28)
pictures_for = {
    "cifar": images,
    "mnist": trained["mnist"].preprocessing.transform()(digits),
}


def everywhere_alike(model):
    """The same number for a head that looks everywhere alike."""
    n = model.patch_embed.num_patches
    uniform = torch.full((1, 1, 1, n, n), 1 / n)
    grid, side = model.patch_embed.grid_size, model.config.patch_size
    return interpret.mean_attention_distance(uniform, grid, side).item()


everywhere = {key: everywhere_alike(model) for key, model in trained.items()}
print("a head that looks everywhere alike:")
for key in pictures_for:
    print(f"{key:6} {everywhere[key]:.1f} of {trained[key].config.img_size} pixels")

# %% [markdown]
# The answer is: about half of the image.
#
# > **Predict.** And the heads of a random model, which know nothing: near 0, near that number, or anywhere? And the trained ones?

# %% tags=["hide-output"]
#| alt: Two panels, cifar and mnist: mean attention distance in pixels against the layer from 1 to 6, four dots for each layer. The random twin's heads all lie close to the dotted line of a head that looks everywhere alike. The trained heads scatter widely: in cifar from 14 to 18, below the line in the lower layers and around it in the upper ones; in mnist from 11 to 14, all below the line.
reach = {}
_, axes = plt.subplots(1, 2, figsize=(7, 2.9), sharey=True)
for ax, (key, inputs) in zip(axes, pictures_for.items()):
    for name, models, color, marker, shift in (
        ("trained", trained, viz.KEY, "o", -0.1),
        ("random", random, viz.QUERY, "s", 0.1),
    ):
        reach[key, name] = found = distances(models[key], inputs)
        layer = torch.arange(1, 7).repeat_interleave(4) + shift
        ax.plot(
            layer, found.flatten(), marker, color=color, markersize=4, label=name
        )
    ax.axhline(everywhere[key], color=viz.MUTED, lw=1, ls=":")
    ax.set(title=key, xlabel="layer", xticks=range(1, 7))
axes[0].set(ylabel="pixels")
axes[0].legend()
plt.show()

# %% [markdown]
# A random model's heads look everywhere alike, nearly: their queries and keys are small random numbers, so the scores are nearly equal, and the softmax of equal scores is uniform. Small initial weights do that. It is a fact about the beginning of training, not about images.
#
# The trained heads have spread out. In `cifar` most heads look nearer than that, all of the lower three layers do, and some look farther. *Farther* than everywhere alike is possible: such a head prefers the other side of the image. In `mnist` all of them look nearer.
#
# The paper's panel, of a much larger model, has more to show. In its lowest layers some heads look at most of the image, and others have "consistently small attention distances". In hybrids, which put a ResNet before the transformer, such local heads are rarer. From that the authors infer that they "may serve a similar function as early convolutional layers in CNNs" (section 4.5). Our models have six layers, and even the nearest of their heads looks several patches far. So do not read the paper's sentence into our dots.

# %% [markdown]
# ## Figure 7, the whole of it
#
# Now put the three panels side by side, for both models and for a twin.


# %%
#| alt: Three rows of three panels. CIFAR-10: a sheet of 28 components, the first with edges and soft colours, most of them noise; 8 by 8 tiles in blue and vermilion, mirrored left and right; attention distances that scatter between 14 and 18 pixels. MNIST: 14 grey components; 7 by 7 tiles with blue near each place; distances that scatter between 11 and 14 pixels. Random: noise; blank tiles with a dark cell each; distances all at about 16.5. A dotted line in each third panel marks a head that looks everywhere alike.
def figure_7(axes, model, images, n=28):
    """Filters, positions and attention distance of a model, on three Axes."""
    filters, positions, reaches = axes
    filters.imshow(
        sheet(interpret.patch_filters(model, n)), interpolation="nearest"
    )
    filters.axis("off")
    show_tiles(positions, similarity_of(model))
    found = distances(model, images)
    layers = torch.arange(1, len(found) + 1).repeat_interleave(found.shape[1])
    reaches.plot(layers, found.flatten(), "o", color=viz.KEY, markersize=3)
    alike = everywhere_alike(model)
    reaches.axhline(alike, color=viz.MUTED, lw=1, ls=":")
    low, high = found.min().item(), found.max().item()
    reaches.set(ylim=(min(0.7 * alike, 0.9 * low), max(1.2 * alike, 1.1 * high)))


def label_panels(axes):
    titles = (
        "filters, main components",
        "positions, cosine",
        "attention distance, pixels",
    )
    for ax, title in zip(axes, titles):
        ax.set_title(title, fontsize=11)


_, axes = plt.subplots(3, 3, figsize=(7.4, 7), width_ratios=(1.25, 1, 1))
figure_7(axes[0], trained["cifar"], pictures_for["cifar"])
figure_7(axes[1], trained["mnist"], pictures_for["mnist"], n=14)
figure_7(axes[2], random["cifar"], pictures_for["cifar"])
label_panels(axes[0])
axes[2, 2].set(xlabel="layer")
for row, name in zip(axes, ("CIFAR-10", "MNIST", "random")):
    row[0].text(
        -0.06,
        0.5,
        name,
        rotation=90,
        va="center",
        ha="right",
        transform=row[0].transAxes,
    )
plt.show()

# %% [markdown]
# This is the picture to keep, with its last row. The paper's Figure 7 has the upper rows only. Be sober about the first column, too: MNIST's components look as noisy to the eye as the random ones, and those of `cifar` are far less orderly than those of `wide`. Of its first 14 only three reach 0.8 on the scale of one pattern in one colour.
#
# With a network you can draw the same for ViT-B/16, with weights that torchvision publishes: 196 tiles, twelve layers of twelve heads. It was **not run** for this page.

# %%
FULL = (
    False  # True downloads ViT-B/16 (330 MB) and draws its Figure 7; not run here
)

if FULL:
    vit_b = create_model("vit_base_patch16_224", pretrained=True).eval()
    pieces = photos.unfold(2, 213, 213).unfold(3, 213, 213)  # 2 x 3 of each
    pieces = pieces.permute(0, 2, 3, 1, 4, 5).flatten(0, 2)
    _, axes = plt.subplots(1, 3, figsize=(11, 3.6), width_ratios=(1.25, 1, 1))
    figure_7(axes, vit_b, vit_b.preprocessing.transform()(pieces))
    label_panels(axes)
    plt.show()
else:
    print("Not run here: this one wants 330 MB from the network.")

# %% [markdown]
# ## What is learned, and what is there at random
#
# | what you see | trained | random | so it is |
# |:--|:--|:--|:--|
# | components of the filters with order in them | the first dozen of `wide` | none | learned |
# | a falling spectrum of the filters | yes, steeper | yes | in good part there at random |
# | brightness and the finest turned down, middle scales up | `wide`, `cifar` | no | learned |
# | each place most like itself | yes | yes | there at random: it *is* itself |
# | near places alike, rows, columns | yes | no | learned |
# | left and right alike | photographs, drawn shapes | no | learned, from the images |
# | row plus column explains a fifth of the table | more | yes | there at random |
# | heads that look about half the image far | on average | all | there at random |
# | heads that differ in how far they look | yes | hardly | learned |
#
# Here are tests for most of these lines, with three twins of each model, so that none hangs on the luck of one.

# %%
for seed in range(3):
    twins = {key: twin(key, seed) for key in NAMES}
    assert (one_colour(interpret.patch_filters(twins["wide"], 28)) > 0.8).sum() == 0
    assert gain(twins["wide"], axes_of)[0] > 0.7
    assert interpret.patch_filter_variance(twins["wide"], 48)[:10].sum() < 0.45
    ratio = loudness(trained["wide"], axes_of) / loudness(twins["wide"], axes_of)
    assert ratio.mean() < 2 / 3 and 1.3 < ratio[4:14].mean() < 1.8
    for key in LEARNED:
        row, column, other, along, off = cross_scores(similarity_of(twins[key]))
        assert max(row - other, column - other, along - off) < 0.1
        assert abs(share_by_regression(table_of(twins[key])) - 0.24) < 0.06
    for key, inputs in pictures_for.items():
        assert (distances(twins[key], inputs) - everywhere[key]).abs().max() < 1

assert (one_colour(interpret.patch_filters(trained["wide"], 28)) > 0.8).sum() >= 9
assert gains["trained"][0] < 0.5 and gains["trained"][4:14].mean() > 1.5
assert gains["trained"][20:].max() < 1
assert interpret.patch_filter_variance(trained["wide"], 48)[:10].sum() > 0.54
for key in LEARNED:
    row, column, other, along, off = scores[key, "trained"]
    assert min(row - other, column - other, along - off) > 0.1
    assert shares[key] > 0.5
for key in ("cifar", "shapes"):
    assert mirror_effect(means[key]["columns"]) > 0.3
assert means["cifar"]["columns"][0, 7] > 0.5 > 0.3 > means["cifar"]["columns"][0, 3]
for key in ("cifar", "shapes", "wide"):
    assert gain(trained[key], axes_of)[0] < 0.5
assert reach["cifar", "trained"].min() < everywhere["cifar"] - 1.5
assert reach["cifar", "trained"].max() > everywhere["cifar"] + 0.8
assert (
    reach["cifar", "trained"][:3].mean()
    < reach["cifar", "trained"][3:].mean() - 0.5
)
assert reach["mnist", "trained"].max() < everywhere["mnist"]
assert min(reach[key, "trained"].min() for key in pictures_for) > 8  # two patches
print("what is said above holds, for three twins of each model")

# %% [markdown]
# ## Three to think about
#
# No code, a pencil.
#
# 1. A ViT has $D = 768$ filters of $3 \cdot 16 \cdot 16 = 768$ numbers. The mean filter is subtracted. How many components are there at most, and what would the token lose if only 28 were kept?
# 2. You multiply all patch filters, the bias, the class token and the position table by 10. Does the model change? (Think of what reads the residual stream, and of what is added to it.)
# 3. Somebody trains a ViT on images of which each was turned by 0, 90, 180 or 270 degrees at random. What do you expect its tiles to look like?
#
# <details>
# <summary>Answers</summary>
#
# 1. 767: without their mean, 768 points span one dimension less. With 28 components a token knows 28 numbers of its patch. That can be quite good: ten of the 48 axes of our photographs' patches carry nearly all that varies, and what the trained model turns up are middle scales, neither brightness nor the finest. What is lost would be mostly noise, if ViT-B's filters are like ours. You would have to look.
# 2. Yes, a great deal. Each block *reads* through a LayerNorm, which hardly notices the factor. But what it *adds* is as large as before, and so ten times smaller beside the rest: every block's words weigh less. In `cifar` only 7 of our 48 images keep their class.
# 3. Four places that are turned into each other cannot usefully be told apart, so each tile should have four spots. Rows and columns would be hard to find, since turning exchanges them.
#
# </details>

# %% [markdown]
# ## What you take with you
#
# * **Weights can be looked at where one side of them is the world**: pixels, places.
# * The filters one by one mean little. Their **principal components** do not depend on how the model distributes them; sign and near ties are arbitrary, so fix the one and do not rank by the other.
# * **A falling spectrum is there at random.** What is learned is which directions are loud: middle scales, neither brightness nor the finest.
# * A learned position table has **rows and columns**, and the symmetries of the images that it learned from.
# * An explanation that fits is not yet a reason. **Do the experiment that could refute it.**
# * Ask of each picture **what can be changed without changing the model**: the mean filter, the mean position, the order and sign of components. That part of the picture says nothing.
# * **Beside each picture of a trained model belongs one of its twin.**
#
# The picture to keep: **our Figure 7, with its last row**.
#
# ### To read
#
# * [Dosovitskiy et al. 2021](https://arxiv.org/abs/2010.11929), section 4.5 and figure 7; appendix D.4 for more tables, D.7 for the attention distance.
# * [Raghu et al. 2021](https://arxiv.org/abs/2108.08810), *Do Vision Transformers See Like Convolutional Neural Networks?*: how far heads look, with much and with little data.
#
# Next, chapter 11: the maps themselves. How to get them out of any model, what heads look at, and how to follow attention through all layers.
