# %% [markdown]
# # Attention maps, rollout, attention distance
#
# | Goal | Before you start | Time | Runs on |
# |:--|:--|:--|:--|
# | Get the attention weights out of a trained model, draw them by layer and head, follow them through all layers, and know what a random model would have shown | Chapters 1 to 7 | 90 minutes | any CPU |
#
# A Vision Transformer says, in every layer and for every patch, where it looks. The numbers are there, they sum to 1, and they fit over the image. No wonder that everybody wants to see them.
#
# It is as easy to see something in them that is not there. So this chapter has two rules. Beside every map stands that of a model which has learned nothing. And whatever one image shows is *counted* over hundreds. You write three pieces: a recorder that cannot fail in silence, attention rollout, and the mean attention distance.

# %% tags=["setup"]
from functools import partial
from itertools import product

import matplotlib.pyplot as plt
import torch
import torch.nn.functional as F

from course_lib import viz
from course_lib.attention import MultiHeadSelfAttention
from course_lib.data import digits, photographs, toy_shapes
from course_lib.interpret import maps as interpret
from course_lib.models import create_model
from course_lib.records import load_record
from course_lib.train import set_seed
from course_lib.vit import VisionTransformer

viz.set_style()
torch.set_num_threads(1)  # the models here are tiny: more threads only wait

# %% [markdown]
# ## The matrix that is never there
#
# Three models have been trained for this part of the course, with one and the same body: a class token, learned positions, six layers of four heads, width 64, patches of 4 pixels. One knows coloured shapes, one MNIST's digits, one the photographs of CIFAR-10 (JPEG copy). The shapes are drawn by the course. So for them it is known which pixels are the object.
#
# Each has a **twin**: the same architecture with random weights, before any training. One twin is one draw, so where a sentence is about random models, there are four.


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
photo_model = create_model("vit_cifar_token_patch4_32", pretrained=True).eval()

shapes = toy_shapes("test", n=240)  # eight classes, 30 of each
images = inputs(shapes.images / 255, model)
with torch.no_grad():
    right = (model(images).argmax(dim=1) == shapes.labels).float().mean()
print("images", tuple(images.shape), "tokens", 1 + model.patch_embed.num_patches)
print("more than 85 % right:", right.item() > 0.85)

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
# None, and no message. The layer calls `F.scaled_dot_product_attention`, the fused kernel of chapter 1. It goes from queries, keys and values to the output in one piece, and the $N \times N$ matrix is **never handed out**; the fast versions never even store it ([pytorch #98505](https://github.com/pytorch/pytorch/issues/98505)). The layer passes the dropout rate on as a number and never calls the module.
#
# timm does the same, and so this hook has fallen silent in many notebooks that once worked ([pytorch #102374](https://github.com/pytorch/pytorch/issues/102374), [vit-explain #23](https://github.com/jacobgil/vit-explain/issues/23)). With luck the empty list gives an error somewhere else, as in the second of these (`list index out of range`). Without it, yesterday's maps are drawn again.
#
# > **A hook that hears nothing must be an error.**
#
# There are two ways out. **Ask the layer.** It has to go the long way round, through an explicit softmax, and hand over what it finds.
#
# | library | how to ask |
# |:--|:--|
# | this course | set `layer.recorder` to a function; it is called with the weights (and is `None` as long as nobody asks) |
# | PyTorch, `nn.MultiheadAttention` | `need_weights=True, average_attn_weights=False` |
# | torchvision's ViT | calls that layer with `need_weights=False`, which is written into the code |
# | timm | `layer.fused_attn = False`; then the hook on `attn_drop` does hear |
# | Hugging Face | `attn_implementation="eager"`, and `output_attentions=True` |
#
# **Listen to the input.** A hook may also be called *before* a module runs, with its input. Queries and keys follow from that (if the layer does nothing more to them; some normalise or rotate them first), and the weights from these: $\mathrm{softmax}(QK^\top / \sqrt d)$. It takes longer, since `layer.qkv` and $QK^\top$ are computed twice. But the model itself runs as it always does.
#
# ### Exercise 12.1 · `record_attention`
#
# *Medium, 20 minutes.* Write the second way. (If you like the first better, take it: only what comes out is checked.)
#
# * `model` is a `VisionTransformer` of any depth, in either mode, and `images` is a batch. Call `model(images)` once, this model and no copy of it. Whether the maps carry gradients is up to you.
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
# The course's own recorder is a context manager, so that you can run whatever you like inside. It takes the first way, and it asks our layers, timm's and PyTorch's. It refuses one more thing: a run in which only some of the layers were heard.
#
# ## By depth
#
# `attention_maps` records a batch and stacks the layers: `(B, L, H, N, N)`. Row 0 of each map is the class token's, the one that the answer is read from. Take away what it keeps for itself, and 64 weights are left: an $8 \times 8$ picture. Divided by their sum they are **shares** of what it gives to patches.
#
# One scale serves for all such pictures: white is 0, and the darkest blue is five times the even share **or more** (in the next picture, up to fourteen times).


# %%
def share_of_patches(maps, grid):
    """Where the class token looks, as shares of what it gives to patches: (..., N, N) -> (..., gh, gw)."""
    looks = interpret.cls_attention(maps, grid)
    return looks / looks.sum(dim=(-2, -1), keepdim=True)


def even_shares(figure, image, axes, ticks=(0, 1, 3, 5)):
    """The scale beside the maps; a larger number has the last colour, too."""
    bar = figure.colorbar(image, ax=axes, extend="max", shrink=0.8, ticks=ticks)
    bar.set_label("times the even share", fontsize=9)


def draw_rows(rows, titles):
    """For each (name, picture, maps) a row: the picture, and the maps beside it."""
    size = (7.6, 1.0 * len(rows) + 0.3)
    figure, axes = plt.subplots(len(rows), 1 + len(titles), figsize=size)
    for row, (name, picture, looks) in zip(axes, rows):
        row[0].imshow(picture.permute(1, 2, 0), interpolation="nearest")
        row[0].set(xticks=[], yticks=[], ylabel=name)
        row[0].spines[:].set_visible(False)
        for ax, one in zip(row[1:], looks):
            viz.heatmap(one * one.numel(), ax, limits=(0, 5))
    for ax, title in zip(axes[0, 1:], titles):
        ax.set_title(title, loc="center", fontsize=10)
    even_shares(figure, axes[0, 1].images[0], axes)


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

# %% [markdown]
# Keep this picture. The trained model's class token looks at the circle in layers 2, 5 and 6, and at single patches on its edge in layers 3 and 4. The random model looks everywhere alike, a sixty-fourth for each patch, a little more or less.
#
# The third row shows the *same* numbers as the second, and the scale beside it does not hold there. Stretched to the full range of colours, noise comes alive: there are the stripes of the background, and in layers 2 and 5 there is the circle! A random projection of the pixels is still a picture, and what stands out in the image stands out a little in it, too. Show that map alone, and nobody will doubt that the model has found the object.
#
# **Give all maps that are compared one scale, and say which.**
#
# ## Does a head follow the object?
#
# In the picture some layers do. It is one picture. Count instead: how much of the class token's weight lies on the object? A patch may be object in part, so give each patch the share of its pixels that are object, multiply, and sum. A head that looks everywhere alike gets the object's share of the area. Do this for 240 images and 24 heads.
#
# > **Predict.** The object covers about a fifth of an image. What does the best of the trained heads have on it, on average? And the best of the random model's?


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
    print(f"{name:7} best head {values.mean(dim=0).max():.2f};", end=" ")
    print(f"above the area in 3 of 4 images: {often.sum()} of 24 heads")

# %% tags=["hide-input"]
#| alt: Two tables of coloured cells, six layers by four heads, the mean share of weight on the object. Trained: from 0.19 to 0.56, darkest in heads 3 and 4 of layer 5. Random: all cells from 0.17 to 0.24, about the object's share of the area.
_, axes = plt.subplots(1, 2, figsize=(6.6, 3.1))
for ax, (name, values) in zip(axes, on_object.items()):
    style = {"rows": range(1, 7), "columns": range(1, 5), "limits": (0, 0.8)}
    viz.heatmap(values.mean(dim=0), ax, annotate=True, title=name, **style)
    ax.set(xlabel="head", ylabel="layer")
plt.show()

# %% [markdown]
# So it is true of this model, on average: some heads have nearly three times the object's area on the object, and some no more than a random head. It is not true of "the attention", and not of every image. By their means, 22 of the 24 heads are at least a tenth above the area, but only 8 are above it in three images of four. A mean can be carried by some of the images. And one head of this twin follows the object a little, too, in three images of four: it happens to like what stands out. One trap is left.
#
# > **Predict.** You look through all 24 heads *for each image*, and show the one that fits best. How much has the random model on the object then?

# %% tags=["hide-output"]
chosen = on_object["random"].flatten(1).max(dim=1).values  # (240,)
print(f"random model, the best head for each image: {chosen.mean():.2f}")
print("more than the area, in every image:", (chosen > area).all().item())

# %% [markdown]
# "More than the area in every single image", and the model knows nothing. Whoever may choose will find. A head has to be named *before* the images are looked at, or on other images.
#
# ### Digits and photographs
#
# The two other models. Some test images come with the course; here are a digit, and a photograph of a *horse*.
#
# For the digits there is a right answer of a sort, too: the ink. Count it over 150 digits of scikit-learn's, which are by other hands, enlarged to $28 \times 28$.
#
# > **Predict.** The ink covers 0.30 of the patches' area. How much has the best head of the trained model on it? Of the random model?


# %% tags=["hide-output"]
#| alt: Four rows of a picture and six maps, layers 1 to 6. A digit 2 with the trained model: dark cells on the strokes, in each layer on others. The same digit with a random model: pale, with the 2 just visible in some layers. A white horse before a dark background with the trained model: dark cells on the horse's body in layers 2 and 5, at the lower edge in layer 3, at the upper edge in layer 6. The same with a random model: pale everywhere.
def examples(name, channels, side):
    """The pixels of a record of small test images, (n, C, side, side) between 0 and 1."""
    entries = load_record(name)["examples"]
    rows = [
        [list(bytes.fromhex(row)) for row in entry["image"]] for entry in entries
    ]
    return torch.tensor(rows).view(-1, side, side, channels).movedim(-1, 1) / 255


digit = examples("mnist_test_examples", 1, 28)[2]
photo = examples("cifar10_test_examples", 3, 32)[5]
rows = []
for pixels, trained in ((digit, digit_model), (photo, photo_model)):
    picture = pixels if len(pixels) == 3 else 1 - pixels.expand(3, -1, -1)
    for name, which in (("trained", trained), ("random", twin(trained))):
        found = interpret.attention_maps(which, inputs(pixels[None], trained))
        grid = trained.patch_embed.grid_size
        rows.append((name, picture, share_of_patches(found[0].mean(dim=1), grid)))
draw_rows(rows, LAYERS)
plt.show()

small = digits("test").images[:150]  # (150, 1, 8, 8)
enlarged = F.interpolate(small, (28, 28), mode="bilinear", antialias=True)
ink = F.avg_pool2d((enlarged > 0.5).float(), 4)[:, 0]  # (150, 7, 7)
readers = {"trained": digit_model, "random": twin(digit_model)}
readers |= {f"random {n}": twin(digit_model, n) for n in (1, 2, 3)}
on_ink = {}
for name, which in readers.items():
    found = interpret.attention_maps(which, inputs(enlarged, digit_model))
    on_ink[name] = weight_on(found, ink).mean(dim=0)  # (6, 4)
    print(f"{name:8} best head {on_ink[name].max():.2f}, area {ink.mean():.2f}")

# %% [markdown]
# Eight tenths, on three tenths of the area. But a random model's best head has about a half, the first one's 0.57, and without having learned a thing! Paper is all alike and ink is different, so random heads take sides: some give the ink more than its area, some less, and the best of 24 gives it much more. Measured against the area alone, that would have passed for understanding. The number to compare 0.80 with is not 0.30 but a half.
#
# With photographs there is no such count, since nobody has marked the horse. This is the usual case. What is left then are words like "it looks at the legs", and there is always a cell that fits.
#
# ### Look for yourself
#
# Single heads, and any patch in place of the class token. The model is that of chapter 7: three layers of four heads, no class token, so it is always a patch that looks. Choose it in the picture. (The rollout among the choices is explained further down.)

# %%
from course_lib.widgets import AttentionExplorer

reading = create_model("vit_mnist_patch4_28", pretrained=True).eval()
two = digit[None]  # (1, 1, 28, 28)
AttentionExplorer(
    two, interpret.attention_maps(reading, inputs(two, reading)), (7, 7)
)

# %% [markdown]
# ## Heads that follow positions
#
# A head can also attend without looking. "Always the patch to my left" is a perfectly good rule, and it needs no image, only positions. How do you tell such a head?
#
# To turn one map into another, some of the weight has to be moved; how much is a distance between the two. With it, two numbers for each head:
#
# * **shape**: how much must be moved to make its *average* map over all images an even one;
# * **change**: how much must be moved to make the map of a single image the average one, on average.
#
# A head that follows positions has a shape, and changes little. Only what patches see of patches is counted here, for four models: the three, and the digits' model of chapter 7, whose positions are computed (chapter 5) and not learned. The photographs are 48 pieces of scikit-learn's two.
#
# > **Predict.** A shape may be anywhere in its image. A digit is always in the middle, and always as large. Which of the four models has heads with clearly more shape than change? And their twins?


# %% tags=["hide-output"]
def among_patches(maps, model):
    """What patches see of patches: prefix cut off, rows sum to 1. (B, L, H, n, n)"""
    prefix = model.num_prefix_tokens
    weights = maps[..., prefix:, prefix:]
    return weights / weights.sum(dim=-1, keepdim=True)


def moved(a, b):
    """How much weight must be moved to make one map of the other: (..., n), (..., n) -> (...)."""
    return (a - b).abs().sum(dim=-1) / 2


def shape_and_change(found):
    """Two numbers for each head: (B, L, H, n, n) -> (L, H), (L, H)."""
    average = found.mean(dim=0)  # (L, H, n, n)
    shape = moved(average, 1 / average.shape[-1]).mean(dim=-1)
    return shape, moved(found, average).mean(dim=(0, -1))


whole = torch.stack(list(photographs().values())) / 255
whole = F.interpolate(whole, (128, 192), mode="bilinear", antialias=True)
squares = whole.unfold(2, 32, 32).unfold(3, 32, 32)  # (2, 3, 4, 6, 32, 32)
photos = squares.permute(0, 2, 3, 1, 4, 5).flatten(0, 2)  # (48, 3, 32, 32)
subjects = {
    "shapes": (model, shapes.images / 255),
    "digits": (digit_model, enlarged),
    "photographs": (photo_model, photos),
    "digits, computed": (reading, enlarged),
}
seen = {}  # (name, trained or random) -> (B, L, H, n, n)
for name, (trained, pixels) in subjects.items():
    for kind, which in (("trained", trained), ("random", twin(trained))):
        found = interpret.attention_maps(which, inputs(pixels, trained))
        seen[name, kind] = among_patches(found, which)

scores = {key: shape_and_change(found) for key, found in seen.items()}
averages = {key: found.mean(dim=0) for key, found in seen.items()}  # (L, H, n, n)
for (name, (trained, pixels)), n in product(subjects.items(), (1, 2, 3)):
    which = twin(trained, n)
    found = interpret.attention_maps(which, inputs(pixels, trained))
    found, key = among_patches(found, which), (name, f"random {n}")
    scores[key], averages[key] = shape_and_change(found), found.mean(dim=0)
past = {key: (shape > 1.2 * change) for key, (shape, change) in scores.items()}
print("heads with at least 1.2 times as much shape as change")
for name in subjects:
    many = [heads.sum().item() for (of, _), heads in past.items() if of == name]
    heads = past[name, "trained"].numel()
    print(f"{name:16} trained {many[0]:2} of {heads}, random", *many[1:])

# %% tags=["hide-input"]
#| alt: Scatter plot with logarithmic axes, shape across and change upwards, and a dashed line where shape is 1.2 times change. Trained shapes and photographs: all above the line, the photographs nearer. Digits: in a band across the line, about half of them below it. Digits, computed: all below it. A black star, the imaginary head, is below the line, amid the digits. Random twins, hollow, lie further left and above the line; those of the two digit models reach nearest to it.
gives = (ink / ink.sum(dim=(1, 2), keepdim=True)).flatten(1)  # (150, 49)
gives = gives[:, None, None, None].expand(-1, 1, 1, 49, -1)  # whoever asks
star = shape_and_change(gives)
_, ax = plt.subplots(figsize=(7, 3.9))
colors = (viz.VALUE, viz.KEY, viz.QUERY, viz.OUTPUT)
hollow = {"mfc": "none", "markersize": 4}
for (name, color, marker), kind in product(
    zip(subjects, colors, "so^D"), ("trained", "random")
):
    style = {"label": name} if kind == "trained" else hollow
    ax.plot(*(x.flatten() for x in scores[name, kind]), marker, c=color, **style)
ax.plot(*(x.item() for x in star), "*", c=viz.INK, ms=13, label="imaginary")
ax.plot([], [], "o", color=viz.MUTED, label="random twins", **hollow)
ax.plot([0.012, 1.2], [0.01, 1], color=viz.MUTED, linestyle="--", linewidth=1)
ax.set(xscale="log", yscale="log", xlim=(0.003, 1), ylim=(0.01, 1))
for axis in (ax.xaxis, ax.yaxis):
    axis.set_ticks([0.01, 0.1, 1], [0.01, 0.1, 1])
ax.set(xlabel="shape of the average map", ylabel="change from image to image")
ax.legend(loc="upper left", bbox_to_anchor=(1, 1), fontsize=9)
plt.show()
print(f"imaginary head: shape {star[0].item():.2f}, change {star[1].item():.2f}")

# %% [markdown]
# The line is drawn where few random heads come: none with shapes or photographs, and of the digits' models now and then a few. The first three models have one body, and differ in what they were trained on. With digits, half of the heads keep much the same map whatever the digit; with shapes and photographs none. It fits: a digit's parts are where they always are.
#
# **It fits too well.** The ink is always in the middle, so a head that follows the *ink* has a shape, too. The star is such a head, an imaginary one. It gives all its weight to the ink, wherever that is, and knows of no position. It is past the line, so these two numbers cannot tell the difference.
#
# An experiment can. Leave the positions where they are, and **move the digit**, one patch to the left. (Sideways only: the digits fill the height, and would be cut. The left column of patches is without ink in all 150.) A head that follows positions keeps its old map. In a head that follows the digit, the old map moves along.
#
# > **Predict.** Of the 13 and 12 heads past the line, how many are nearer to their old map than to the old map moved along?

# %% tags=["hide-output"]
shifted = enlarged.roll(-4, dims=-1)  # nothing leaves on the left
stays, follows = {}, {}  # how far from the old map, and from it moved along: (L, H)
for name in ("digits", "digits, computed"):
    trained, _ = subjects[name]
    new = interpret.attention_maps(trained, inputs(shifted, trained))
    new, old = among_patches(new, trained), seen[name, "trained"]
    grid = old.unflatten(-1, (7, 7)).unflatten(-3, (7, 7))  # (B, L, H, 7, 7, 7, 7)
    along = grid.roll((-1, -1), dims=(-3, -1)).reshape(old.shape)  # query and key
    stays[name] = moved(new, old).mean(dim=(0, -1))
    follows[name] = moved(new, along).mean(dim=(0, -1))
    keep = past[name, "trained"] & (stays[name] < follows[name])
    heads = [f"{layer + 1}.{head + 1}" for layer, head in keep.nonzero().tolist()]
    print(f"{name:16} {keep.sum()} of {past[name, 'trained'].sum()}:", *heads)

# %% [markdown]
# None of 13, and 2 of 12. (The numbers are layer and head.) Sideways, not one of the digits' heads keeps to a place in the image: it was the digits that kept to theirs. With computed positions two heads stay, and there may be more: a head that counts from whoever asks, "one to the right", fits both ways but for the edges.
#
# ### Rows and columns
#
# [Report C](reports.md) saw heads that follow rows, and others that follow columns. You can search for them with a score: how much of a patch's weight stays in its own row, or in its own column, the patch itself left out? If all others had the same, it would be one part in nine on a grid of $8 \times 8$ (7 of 63), and one in eight on $7 \times 7$ (6 of 48).
#
# > **Predict.** Of the 84 trained heads, how many keep more than twice that in their row? In their column?

# %% tags=["hide-output"]
keeps = {}  # (name, kind) -> for rows and columns, as multiples of the even share, (2, L, H)
for (name, kind), average in averages.items():
    side = round(average.shape[-1] ** 0.5)
    patch = torch.arange(side**2)
    apart = patch[:, None] != patch
    others = average * apart  # (L, H, n, n)
    others = others / others.sum(dim=-1, keepdim=True)
    lines = torch.stack([patch // side, patch % side])  # (2, n)
    same = lines[:, :, None] == lines[:, None]  # (2, n, n)
    share = torch.einsum("lhqk,cqk->clhq", others, same.float()).mean(dim=-1)
    keeps[name, kind] = share * (side + 1)
for kind in ("trained", "random"):
    both = torch.cat([keeps[name, kind].flatten(1) for name in subjects], dim=1)
    rows, columns = (both > 2).sum(dim=1).tolist()
    print(f"{kind:7} of {both.shape[1]} heads: rows {rows}, columns {columns}")

# %% [markdown]
# Two heads, both of rows, both of the model with computed positions: 1.1 and 2.3. Draw their average maps from two patches of the middle row, one on the left and one on the right; and beside them head 4.4 of the digits' model, the one with most shape for its change.
#
# > **Predict.** What does the map of a head look like that follows rows? And 4.4: what becomes of its map when another patch asks?

# %% tags=["hide-output"]
#| alt: For each of three heads the average map from two patches of the middle row, each marked by a square, one on the left and one on the right; above trained, below random. Head 4.4: one and the same dark spot in the upper middle, for both. Head 1.1: dark cells in the square's column and the one to its right, mostly in three rows. Head 2.3: from the left patch a cloud in the middle of the image, to the right of the square, in three rows; from the right patch the square itself and what is near. Random: nearly even.
drawn = (("digits", 3, 3), ("digits, computed", 0, 0), ("digits, computed", 1, 2))
asks = {"trained": [], "random": []}  # of each head, from both patches: (2, 49)
figure, axes = plt.subplots(2, 6, figsize=(7.6, 3.1))
for (kind, found), row in zip(asks.items(), axes):
    for (name, layer, head), pair in zip(drawn, (row[:2], row[2:4], row[4:])):
        average = seen[name, kind][:, layer, head].mean(dim=0)  # (49, 49)
        found.append(average[[22, 26]])
        for ax, one, column in zip(pair, found[-1], (1, 5)):
            viz.heatmap(49 * one.view(7, 7), ax, limits=(0, 10))
            style = {"fill": False, "edgecolor": viz.QUERY, "lw": 2}
            ax.add_patch(plt.Rectangle((column - 0.5, 2.5), 1, 1, **style))
        pair[0].set_title(f"head {layer + 1}.{head + 1}", fontsize=10)
    row[0].set_ylabel(kind)
even_shares(figure, axes[0, 0].images[0], axes, ticks=(0, 1, 5, 10))
plt.show()
for name, layer, head in drawn:
    far = [f"{way[name][layer, head]:.2f}" for way in (stays, follows)]
    print(f"{layer + 1}.{head + 1} from the old map {far[0]}, moved along {far[1]}")

# %% [markdown]
# None is a row. Head 1.1 looks at its own neighbourhood and to the right of it; of what it gives to others a third is in its row, and two thirds are not. It is one of the two that stay when the digit moves. Head 2.3 has nearly as high a score, and goes along with the digit. And 4.4 looks at one place, whoever asks, which might pass for a rule about positions. Move the digit, and the place moves, too: it is a place of the *digit*.
#
# **A score finds a head. What the head does, you see only if you draw it, and move something.**
#
# ## Through all layers
#
# The map of the last layer says which *tokens* the class token looks at. But a token in the last layer is not a patch any more. Five layers have mixed others into it. Where did they look?
#
# If attention did nothing but mix, the answer would be a product of matrices. Say token 0 takes half of its content from token 1, and token 1 had before taken half of its own from token 2. Then a quarter of token 0 comes from token 2: weights along a path multiply, and different paths add. That is what a matrix product does.
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

# %% tags=["hide-input"]
#| alt: Three rows of three circles, input at the bottom, after layer 1, after layer 2 at the top, joined by lines whose width is the weight. The only path from token 0 on top to token 2 at the bottom is drawn in vermilion: by one half to token 1 in the middle row, and by a quarter down to token 2.
_, ax = plt.subplots(figsize=(4.6, 2.9))
for level, i, j in product(range(2), range(3), range(3)):
    path = (level, i, j) in ((1, 0, 1), (0, 1, 2))
    style = {"color": viz.QUERY if path else viz.KEY, "alpha": 0.9 if path else 0.4}
    width = 8 * (mixed1, mixed2)[level][i, j].item()
    ax.plot([j, i], [level, level + 1], lw=width, zorder=1 + path, **style)
for level, i in product(range(3), range(3)):
    ax.scatter(i, level, 420, color=viz.PAPER, edgecolor=viz.INK, zorder=3)
    ax.text(i, level, i, ha="center", va="center", zorder=4)
ax.text(0.3, 1.82, "1/2", color=viz.QUERY)
ax.text(1.62, 0.5, "1/4", color=viz.QUERY)
ax.set(ylim=(-0.3, 2.3), xlim=(-0.3, 2.3), xticks=[])
ax.set_yticks(range(3), ["input", "after layer 1", "after layer 2"])
ax.tick_params(length=0)
ax.spines[:].set_visible(False)
plt.show()

# %% [markdown]
# Row 0 is $(\tfrac38, \tfrac12, \tfrac18)$. Token 2 has an eighth, $\tfrac12 \cdot \tfrac14$ along the one path that leads there, although in layer 2 token 0 did not look at it. In the other order it is a sixteenth, of something that has no meaning: the *later* layer stands on the *left*, since it works on what the earlier one has made. And without the residual connection token 0 would not remember itself.
#
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
# ### What is in use
#
# Much of the code for rollout on the web comes from one repository, [vit-explain](https://github.com/jacobgil/vit-explain). It fuses the heads, sets the smallest weights of the whole map to 0 (nine in ten, unless told otherwise), adds the identity and multiplies. Here is how it goes about it:


# %%
def rollout_in_use(maps, discard_ratio):
    """As found in many places, with three faults."""
    result = torch.eye(maps.shape[-1])
    for layer in maps.unbind(1):
        fused = layer.mean(dim=1)  # (B, N, N)
        flat = fused.flatten(1)  # (B, N·N), the same memory
        smallest = flat.topk(int(flat.shape[1] * discard_ratio), largest=False)
        drop = smallest.indices[smallest.indices != 0]  # "keep the class token"
        flat[0, drop] = 0  # (1)
        mixed = (fused + torch.eye(fused.shape[-1])) / 2
        mixed = mixed / mixed.sum(dim=-1)  # (2)
        result = mixed @ result
    return result


for rollout in (rollout_in_use, interpret.attention_rollout):
    sums = rollout(maps[:1], discard_ratio=0.9).sum(dim=-1)
    to_one = torch.allclose(sums, torch.ones(65), atol=1e-5)
    print(f"{rollout.__name__}: rows sum to 1: {to_one}")
try:
    rollout_in_use(maps[:2], 0.9)
except RuntimeError as error:
    print("two images:", error)

# %% [markdown]
# 1. `flat[0, ...]` drops weights from the *first* image alone, and drops there whatever is small in any image.
# 2. No `keepdim`: with one image the columns are divided by the sums of the rows, and nothing sums to 1 any more. With several it stops; that is the better fate.
# 3. `indices != 0` is meant to protect the class token. Index 0 of the flattened map is one number, the class token's weight on itself. Its other 64 are dropped like all others.
#
# With one image, nothing discarded and the mean of the heads, all sums are the same, and none of this can be seen. That is why it lives so long.
#
# ### Is it better than the last layer?
#
# Count again: weight on the object, 240 images. The mean over the heads is a choice, so take the maximum and the minimum as well.
#
# > **Predict.** The last layer has 0.43 on the object, with the mean over its heads, and the object has 0.19 of the area. Rollout takes account of all six layers. More, or less?

# %% tags=["hide-output"]
sharpened = partial(interpret.attention_rollout, discard_ratio=0.9)
ways = {
    "last layer, mean": lambda maps: maps[:, -1].mean(dim=1),
    "rollout, mean": interpret.attention_rollout,
    "rollout, max": partial(interpret.attention_rollout, head_fusion="max"),
    "rollout, min": partial(interpret.attention_rollout, head_fusion="min"),
    "rollout, 9 in 10 discarded": sharpened,
}
rolled, on = {}, {}  # (way, kind) -> (240, 65, 65), and the mean weight
for name, way in ways.items():
    for kind, recorded in (("trained", maps), ("random", random_maps)):
        rolled[name, kind] = way(recorded)
        on[name, kind] = weight_on(rolled[name, kind], covered).mean().item()
    print(f"{name:27} {on[name, 'trained']:.2f}, random {on[name, 'random']:.2f}")

by_depth = []
for first in range(6):
    rollout = interpret.attention_rollout(maps[:, first:])
    by_depth.append(weight_on(rollout, covered).mean().item())
print("rollout from layer 1, 2, ... on:", *(f"{v:.2f}" for v in by_depth))
by_chance = []
for n in (1, 2, 3):
    rollout = sharpened(interpret.attention_maps(twin(model, n), images))
    by_chance.append(weight_on(rollout, covered).mean().item())
print("discarded, other random models:", *(f"{v:.2f}" for v in by_chance))

# %% tags=["hide-input"]
#| alt: Two test images, each with five maps of the trained model and, below, five of the random one: last layer, rollout with the mean, the maximum and the minimum of the heads, and rollout with nine in ten weights discarded. Circle, trained: all but the minimum are dark on the circle, rollout paler than the last layer, with discarding darkest. Square, trained: the last layer is dark inside the square, rollout with mean and maximum is pale everywhere, with the minimum palest on the square itself. Random: pale everywhere, but with discarding the circle appears, and a line along the left and upper edges of the square.
rows = []
for i, kind in product((0, 2), ("trained", "random")):
    looks = [share_of_patches(rolled[name, kind][i], 8) for name in ways]
    rows.append((kind, shapes.images[i], looks))
draw_rows(rows, [name.replace(", ", ",\n") for name in ways])
plt.show()

# %% [markdown]
# Less: 0.30. The early layers count as much as the last: begin with layer 4, and it is 0.38, with layer 6 alone 0.43. The maximum over the heads gives a little more, the minimum takes most of it away.
#
# And then 0.56, with nine in ten weights discarded. It is sharp, it is on the object, and that is why this setting is in use. Now read the number beside it. **The random model has 0.47**, and three other random models nearly as much. Keeping only the largest weights and multiplying six layers of them blows small differences up, as stretching the colours did above. Most of the gain over the area, with these four models about three quarters of it, comes from the method and not from what the model has learned. (Dosovitskiy et al. 2021 discarded nothing: figure 6 and appendix D.8 are rollout with the mean over the heads.)
#
# Rollout has a second weakness: it never asks what the answer was. Of one image there is one map, for "circle" as for "square". Chapter 13 has the remedy, and asks whether any of these maps *explains*.
#
# ## How far does it look?
#
# One more number for a head, and Dosovitskiy et al.'s own (figure 7, right): the **mean attention distance**. Take the distance from each patch to every other, in pixels, and average it with the attention as weights. It is to a head what the size of the kernel is to a convolution, except that it is learned.
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
# > **Predict.** The four models again, layer by layer. In the paper some heads look far already in the lowest layers, others keep close, and the distance grows with depth. In ours?

# %% tags=["hide-output"]
#| alt: Four panels, mean attention distance in pixels against the layer, from 5 to 20, a dot for each head, a dashed line at the even value, crosses for random heads on the line. Shapes: dots from 15 to 17, line at 16.5. Digits: from 11 to 14.5, lowest in layers 3 and 4, line at 14.4. Photographs: from 14 to 16 in layers 1 to 3, rising to 16 to 18 in layer 6, line at 16.5. Digits, computed, three layers: one head of layer 1 at 7, the others from 9 to 14.5, line at 14.4.
far, even = {}, {}
_, axes = plt.subplots(1, 4, figsize=(7.6, 2.8), sharey=True)
for (name, kind), found in seen.items():
    ax = axes[list(subjects).index(name)]
    side = round(found.shape[-1] ** 0.5)
    far[name, kind] = interpret.mean_attention_distance(found, side, 4)  # (L, H)
    layers = range(1, len(far[name, kind]) + 1)
    color, marker = (viz.KEY, "o") if kind == "trained" else (viz.MUTED, "x")
    ax.plot(layers, far[name, kind], marker, color=color, markersize=5)
    flat = torch.full((1, 1, 1, side**2, side**2), 1 / side**2)
    even[name] = interpret.mean_attention_distance(flat, side, 4).item()
    ax.axhline(even[name], color=viz.QUERY, linestyle="--", linewidth=1)
    ax.set(xlabel="layer", xticks=layers, ylim=(5, 20), yticks=(5, 10, 15, 20))
    ax.set_title(name, fontsize=10)
axes[0].set(ylabel="pixels")
plt.show()

# %% [markdown]
# In the photographs' model the distance grows with depth, as in the paper ([Dosovitskiy et al. 2021](https://arxiv.org/abs/2010.11929), section 4.5). The paper's heads that look far already in the lowest layers are not to be seen here: in layers 1 to 3 all lie below the even value. The digits' model looks nearest in its third layer; in that of chapter 7 one head of the first layer stays at half the even distance.
#
# **The even value is not the upper end.** The two farthest heads of the photographs' model, 6.3 and 4.1, have more. They give a little less to what is near, and twice the even share to the two upper rows. **And near the even value does not mean "everywhere".** Six of the shapes' heads change by more than half from image to image, and lie within 2 pixels of the even value all the same.
#
# ## Registers, and other artefacts
#
# In large models the maps often have bright spots where nothing is: a few patches of sky or wall, which all others look at. [Darcet, Oquab, Mairal & Bojanowski (ICLR 2024)](https://arxiv.org/abs/2309.16588) looked at the tokens behind them, in DINOv2, OpenCLIP and DeiT-III. What they report:
#
# About one token in fifty has a norm some ten times that of the others. They call these tokens **artefacts**. They sit on patches that look like their neighbours, in background that says little. Where the patch was and what it showed can be read off such a token less well than off others. What the whole *image* shows can be read off it better. Their reading: the model takes patches that it can spare, and uses them for computations of its own. Their remedy: a few more learned tokens beside the class token, for that purpose, of which nothing is read in the end. These are **registers**; with them, they report, the artefacts are gone. In DINOv2 they found artefacts only in the larger models, and only after long training.
#
# > **Predict.** And in our four? Take the largest norm of a patch token, divided by the median, over all images and layers: 2, 3, or 10? And in their twins?


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
for name, (trained, pixels) in subjects.items():
    for kind, which in (("trained", trained), ("random", twin(trained))):
        by_layer = largest_norm(which, inputs(pixels, trained))
        norms[name, kind] = by_layer.max().item()
        print(f"{name:16} {kind:7} {norms[name, kind]:.1f}")

# %% [markdown]
# No artefacts here: nowhere is a norm four times the median. Nor is a large ratio a sign of training: on digits a random model's is larger than the trained one's. That is what we found in four small models, on these images, and no more. When your model is large, draw the norms beside the maps: a spot in the sky, at which all heads point, may be nothing that the model *sees* there.
#
# ### The real one
#
# Everything in this chapter works with ViT-B/16 as it is: 12 layers, 12 heads, $14 \times 14$ patches. Its weights are a download of 346 MB. **The cell was not run for this page**, and none of its numbers is quoted above.

# %%
FULL = False  # True fetches ViT-B/16 (346 MB), once

if FULL:
    vit_b = create_model("vit_base_patch16_224", pretrained=True).eval()
    wants = vit_b.preprocessing
    photo = wants.transform()(next(iter(photographs().values())))  # (3, 224, 224)
    mean, std = (torch.tensor(x)[:, None, None] for x in (wants.mean, wants.std))
    rows = []
    for name, which in (("trained", vit_b), ("random", twin(vit_b))):
        found = interpret.attention_maps(which, photo[None])  # (1, 12, 12, N, N)
        rollout = interpret.attention_rollout(found)  # (1, N, N), N = 197
        looks = torch.cat([found[0, [0, 5, 11]].mean(dim=1), rollout])
        rows.append((name, photo * std + mean, share_of_patches(looks, 14)))
        print(name, interpret.mean_attention_distance(found, 14, 16))
    draw_rows(rows, ("layer 1", "layer 6", "layer 12", "rollout"))
    plt.show()
else:
    print("not run here: it fetches 346 MB")

# %% [markdown]
# ## What a map says
#
# A map is a fact: *in this layer, this head mixed so much of that token into this one*. Everything else is a reading of it.
#
# * What is mixed in are the **values**, and they may be small where the weight is large. A head may look at a token because there is nothing in it.
# * A token in a late layer is not the patch under it.
# * That the model looked at the circle does not mean that it said "circle" **because** of it. Whether the answer changes when the circle is taken away is an experiment, and the map is none.
#
# **Attention is not explanation**, as [Jain & Wallace (2019)](https://arxiv.org/abs/1902.10186) put it; at least not by itself. The next chapter makes the experiment.
#
# ## What the text has claimed
#
# It is asserted below, with room to spare. The functions used here are yours, tested: `course_lib.interpret` has all three.

# %% tags=["hide-input"]
best = on_object["trained"].mean(dim=0)
assert best.max() > 2.5 * area.mean() and chosen.mean() > 0.3
assert (best > 1.1 * area.mean()).sum() == 22
first = weight_on(maps[:1].mean(dim=2), covered[:1])[0]  # (6,) of the first image
assert (first[[1, 4, 5]] > 2 * area[0]).all()
for number in ((), (1,), (2,), (3,)):  # four random models
    found = interpret.attention_maps(twin(model, *number), images)
    chance = weight_on(found, covered)  # (240, 6, 4)
    assert best.min() + 0.02 < chance.mean(dim=0).max() < 0.28
    assert (chance.flatten(1).max(dim=1).values > area).float().mean() > 0.95
    even_share = share_of_patches(found[0].mean(dim=1), 8) * 64
    assert even_share.min() > 0.4 and even_share.max() < 2.5
    for name, (trained, pixels) in subjects.items():
        norm = largest_norm(twin(trained, *number), inputs(pixels, trained)).max()
        assert norm < 4 and (
            name != "digits" or norm > norms[name, "trained"] + 0.3
        )
assert 13 < 64 * share_of_patches(maps[0].mean(dim=1), 8).max() < 16
assert on_ink.pop("trained").max() > 0.75
for found in on_ink.values():
    assert 0.4 < found.max() < 0.62 and found.min() < 0.7 * ink.mean()
ratios = {key: shape / change for key, (shape, change) in scores.items()}
assert 10 <= (ratios["digits", "trained"] > 1.2).sum() <= 14
assert ratios["digits, computed", "trained"].min() > 1.25
for (name, kind), heads in past.items():
    if name in ("shapes", "photographs"):
        assert ratios[name, kind].max() < (1.1 if kind == "trained" else 0.6)
    elif kind != "trained":
        assert heads.sum() <= 4
assert star[0].item() > 1.3 * star[1].item()
assert enlarged[..., :4].max() < 0.5  # the left column of patches
assert (stays["digits"] > follows["digits"]).all()
holds = stays["digits, computed"] < follows["digits, computed"]
assert holds.nonzero().tolist() == [[0, 0], [0, 3]]
apart = [moved(*both).item() for both in asks["trained"]]
assert apart[0] < 0.15 and min(apart[1:]) > 0.6
reach = torch.arange(49) % 7 - torch.tensor([[1], [5]])  # columns to the right
assert ((asks["trained"][1] * (reach >= 0)).sum(dim=1) > 0.85).all()
row_scores = keeps.pop(("digits, computed", "trained"))
assert (row_scores > 2.2).nonzero().tolist() == [[0, 0, 0], [0, 1, 2]]
assert 0.28 < row_scores[0, 0, 0] / 8 < 0.36  # a third
assert all(multiples.max() < 1.95 for multiples in keeps.values())
assert abs(by_depth[3] - 0.38) < 0.015 and abs(by_depth[5] - 0.43) < 0.015
tidied = "rollout, 9 in 10 discarded"
gain = on[tidied, "trained"] - area.mean()
method = [
    (on_it - area.mean()) / gain for on_it in (on[tidied, "random"], *by_chance)
]
assert min(method) > 0.6 and max(method) < 0.85
assert on["rollout, mean", "trained"] < on["last layer, mean", "trained"] - 0.1
assert abs(on[tidied, "random"] - 0.47) < 0.02
depth = far["photographs", "trained"].mean(dim=1)  # (6,)
assert depth[:3].max() < depth[3:].min() - 0.5 and depth[5] > depth[:5].max() + 0.5
assert far["photographs", "trained"][:3].max() < even["photographs"] - 0.3
places = torch.cartesian_prod(torch.arange(8.0), torch.arange(8.0))
near = (torch.cdist(places, places) < 2.1).float()  # at most two steps
for layer, head in ((5, 2), (3, 0)):
    assert far["photographs", "trained"][layer, head] > even["photographs"] + 1
    average = 64 * seen["photographs", "trained"][:, layer, head].mean(dim=0)
    assert 1.7 < average[:, :16].mean() < 2.4  # the two upper rows
    assert 0.7 < (average * near).sum() / near.sum() < 0.9
assert far["digits", "trained"].mean(dim=1).argmin() == 2
assert abs(far["digits, computed", "trained"][0].min() / even["digits"] - 0.5) < 0.1
assert (far["shapes", "trained"] - even["shapes"]).abs().max() < 2
assert (scores["shapes", "trained"][1] > 0.5).sum() == 6
assert max(norms.values()) < 4
flat = torch.full((1, 12, 1, 197, 197), 1 / 197)  # of the first question below
kept = interpret.attention_rollout(flat)[0, 0, :2].tolist()
assert [round(share, 4) for share in kept] == [0.0053, 0.0051]

# %% [markdown]
# ## Three to think about, with a pencil
#
# 1. A model attends perfectly evenly in all $L$ layers, one head, $N$ tokens. What is row 0 of its rollout? How much does token 0 keep of itself in a ViT-B/16, $L = 12$, $N = 197$?
# 2. Head A gives the class token 0.9 of every patch's weight, and the rest to the patch itself. Head B gives all of it to the patch itself. Which has the larger attention distance? And if the class token were not left out, but taken to be at the upper left corner?
# 3. Somebody shows the map of layer 9, head 4, for one image of a dog: all the weight is on the dog. Name three things to ask for.
#
# <details>
# <summary>Answers</summary>
#
# 1. $\tilde A = (I + J/N)/2$, where $J$ is full of ones and $(J/N)^2 = J/N$. So $\tilde A^L = 2^{-L} I + (1 - 2^{-L}) J/N$: token 0 keeps $2^{-L} + (1 - 2^{-L})/N$, here $0.0002 + 0.0051 = 0.0053$, and all others have $0.0051$. After 12 layers rollout has all but forgotten the residual connections.
# 2. Neither: both are 0, since among the patches each looks at itself alone. With the class token in the corner, each patch of head A would have 0.9 times its distance to the corner, a long way, for a head that looks at no other patch.
# 3. The same map of a random model, with the same colour scale. The same head for other images, in numbers. And how the head was chosen: before looking, or out of 144?
#
# </details>
#
# ## What you take with you
#
# * The fused kernel **never hands out the weights**. Ask the layer, or compute them from its input. A recorder that hears nothing must raise an error, and must clean up after itself, also after an error.
# * **One scale** for all maps that are compared, and a **random model** beside each. Stretched, and discarded from, noise finds objects too.
# * **Count.** Some heads follow the object: say how many, and in how many images. A fixed map does not make a head one that follows positions: move the object and see. A head must be named before you look.
# * **Rollout**: mean over the heads, identity, each row by its own sum with `keepdim`, the last layer leftmost. It blurs, and it knows no class.
# * **Attention distance**: in pixels, among patches, against the even value.
#
# The picture to keep: **six maps by depth, the random model's below, and the same random maps stretched**.
#
# ### To read
#
# * [Abnar & Zuidema 2020, *Quantifying Attention Flow in Transformers*](https://arxiv.org/abs/2005.00928): where rollout comes from.
# * [Dosovitskiy et al. 2021](https://arxiv.org/abs/2010.11929), figures 6 and 7, appendix D.7 and D.8.
# * [Darcet et al. 2024, *Vision Transformers Need Registers*](https://arxiv.org/abs/2309.16588).
#
# Next, chapter 13: do the maps explain?
