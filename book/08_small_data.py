# %% [markdown]
# # Small data: ViT against CNN
#
# | Goal | Before you start | Time | Runs on |
# |:--|:--|:--|:--|
# | Take "Transformers lack inductive bias" apart, and measure what stands in for it, on a budget | Chapters 1 to 7 | two sittings of about 75 minutes, and 65 for what is marked *further* | any CPU |
#
# On MNIST a small ViT gets almost everything right. Show it cats and ships, and it hits a wall. The usual explanation is one sentence: *Transformers lack
# the inductive bias of convolutions*. In this chapter you take the sentence apart. What is it that a convolution knows before it has seen anything? How much of it can you give to a ViT without
# building it in? And what else was wrong with that small ViT?
#
# You write five of the ingredients yourself: crop and flip, a loss for soft targets, MixUp, the averaging of weights, and the heart of an optimiser. And you weigh what an ingredient is worth.
#
# The data are CIFAR-10 ([Krizhevsky 2009](https://www.cs.toronto.edu/~kriz/learning-features-2009-TR.pdf)): 60,000 photographs of $32 \times 32$ pixels in ten classes: 45,000 to train with, 5000 for validation, 10,000 for the test. **Our own numbers come from a copy saved as JPEG**; they are marked
# "CIFAR-10 (JPEG copy)". JPEG blurs such small images a little, so the original files may give a little more.
#
# What is marked *further* can wait for a second reading: run its cells, and go on. The second sitting begins with *Three that make the most of a step*.

# %% tags=["setup"]
import matplotlib.pyplot as plt
import numpy as np
import torch
import torch.nn.functional as F
from torch import nn
from torchvision.transforms import v2

from course_lib import viz
from course_lib.data import Augment, augment, digits, photographs
from course_lib.data.rand_augment import OPERATIONS, apply_operations
from course_lib.records import load_record
from course_lib.statistics import pooled_scatter
from course_lib.train import TrainConfig, fit, set_seed
from course_lib.train import loop as train
from course_lib.vit import VisionTransformer, ViTConfig

viz.set_style()
torch.set_num_threads(1)  # the models here are tiny: more threads only wait

# %% [markdown]
# ## The wall
#
# You met a student's report in chapter 7; the recipes call it report D. Its author wrote a ViT from scratch and trained it on MNIST: patches of 4 pixels, width 32, four blocks, 20 epochs. 98.10 % right. Then the same kind of model, with three colours instead of one, on CIFAR-10.
#
# > **Predict.** The same size, the same recipe, nearly as many images. 98 % on digits. How many on photographs?


# %% tags=["hide-input", "hide-output"]
def shares(record, split="test"):
    """Per cent right, one number for each run of a record."""
    return np.array([100 * run[f"{split}_accuracy"] for run in record["runs"]])


report = {
    "MNIST": (98.10, load_record("mnist_report_d")),
    "CIFAR-10 (JPEG copy)": (56.41, load_record("cifar10_report_d")),
}
for data, (said, record) in report.items():
    print(f"{data:21} the report {said:.2f} %, here {shares(record).mean():.1f} %")
parameters = record["runs"][0]["parameters"]
print(f"parameters of the model: {parameters:,}")

# %% [markdown]
# Our run of the report's recipe (one run each) has seven points more than its 56.41 %, and on the copy saved as JPEG at that. The report leaves some settings out, so we cannot say why. But the wall is the same, and the report blames the missing inductive bias. It may be right. But look at the number of parameters, and at the recipe: there is more than one suspect.
#
# 1. **The model knows too little about images**, before it has seen any. That is the report's answer.
# 2. **It sees too few of them.** 45,000 photographs are not many for ten kinds of things from all sides.
# 3. **It is too small.** 55,000 parameters are enough for pen strokes.
# 4. **It is trained badly.** No warm-up, no weight decay, starting weights that suit another width.
#
# The rest of the chapter takes them one after the other. In the end each has a number beside it, and an interval. Not every interval will let you say something.

# %% [markdown]
# ## What a convolution knows
#
# A convolution is a linear map from one image to another. So is a linear layer that connects every pixel with every pixel. Any convolution can be written as such a layer: feed it the images with a single bright pixel, one after the other, and the results are the columns of its matrix.
#
# > **Predict.** A convolution of $3 \times 3$ on a grey image of $6 \times 6$ pixels, padded by 1. Its matrix is $36 \times 36$, 1296 numbers. How many of them are not 0? And how many different ones are there among those?

# %% tags=["hide-output"]
conv = nn.Conv2d(1, 1, kernel_size=3, padding=1, bias=False)
weights = torch.tensor([-4.0, 3.0, -2.0, 5.0, -5.0, 2.0, -3.0, 4.0, -1.0]) / 10
single_pixels = torch.eye(36).view(36, 1, 6, 6)
with torch.no_grad():
    conv.weight.copy_(weights.view(1, 1, 3, 3))
    matrix = conv(single_pixels).view(36, 36).T  # row = output, column = input

used = matrix[matrix != 0]
print("not 0:    ", len(used), "of", matrix.numel())
print("different:", len(used.unique()))

# %% tags=["hide-input"]
#| alt: Two matrices of 36 by 36 cells. On the left a linear layer: all cells have random colours. On the right a convolution: three narrow bands along the diagonal, each of three stripes with gaps, and all other cells empty. Along each stripe the colour is the same.
_, axes = plt.subplots(1, 2, figsize=(6.4, 3.3))
free = nn.Linear(36, 36).weight.detach()
for ax, weights, title in zip(
    axes, (free, matrix), ("a linear layer", "a convolution")
):
    limit = weights.abs().max().item()
    viz.heatmap(weights, ax, title=title, cmap=viz.SIGNED, limits=(-limit, limit))
    ax.set(xlabel="input pixel", ylabel="output pixel")
plt.show()

# %% [markdown]
# Nine different ones. Three neighbours in each direction would make $36 \cdot 9 = 324$, less the places where the window hangs over the edge: each direction has $3 \cdot 6 - 2 = 16$ pairs of neighbours, so $16^2 = 256$ are left. (The edge is also what cuts the stripes into pieces.) Everything else in the matrix on the right was decided before training, and it is two decisions:
#
# * **Locality**: the white cells. A pixel is computed from its neighbours, and far pixels do not count.
# * **Sharing**: the stripes. What is computed is the same at every place.
#
# This is what *inductive bias* means: what a model assumes before it has seen data. An assumption is not learned from examples, so no examples are spent on it. For the first layer of a CNN on CIFAR-10, from 3 colours to 16 maps:

# %%
inputs, outputs, window = 3 * 32 * 32, 16 * 32 * 32, 3 * 3 * 3
print(f"every pixel with every pixel: {inputs * outputs:>10,} weights")
print(
    f"and only with neighbours:     {window * outputs:>10,}  (the edge not deducted)"
)
print(f"and the same at every place:  {window * 16:>10,}")

# %% [markdown]
# ### Further: shift the image
#
# Sharing has a consequence with a name. Shift the image, and the output is shifted along: **translation equivariance**. You know the kind of statement from chapter 1, where attention was equivariant to shuffling.
#
# Take four layers and a photograph of $32 \times 32$ pixels. Shift it in a ring: what leaves on the right comes in again on the left, so that nothing is lost at the edge. The convolutions are padded in a ring too. Each output is a small image (for a ViT: the patch tokens on their grid). It ought to be shifted by as much, measured in its own cells.
#
# > **Predict.** The photograph is shifted by 1 pixel, and by 4 pixels, which is one patch. For which of the four is the output shifted by exactly as much?
# > One convolution; three of them, of which two halve the image; a ViT with patches of 4 and no positions; the same with positions.


# %% tags=["hide-output"]
def small(photo, side):
    """A photograph, cut square and made small: (3, side, side) uint8."""
    photo = v2.functional.center_crop(photo, min(photo.shape[-2:]))
    return v2.functional.resize(photo, [side, side], antialias=True)


def ring_conv(d_in, d_out, stride=1):
    return nn.Conv2d(d_in, d_out, 3, stride, padding=1, padding_mode="circular")


class PatchTokens(nn.Module):
    """A small ViT up to its last norm, its tokens as an image: (B, 3, 32, 32) -> (B, 24, 8, 8)."""

    def __init__(self, pos_embed, depth=2):
        super().__init__()
        config = ViTConfig(
            img_size=32, patch_size=4, num_classes=10, embed_dim=24, depth=depth,
            num_heads=3, pos_embed=pos_embed, global_pool="avg",
        )  # fmt: skip
        self.vit = VisionTransformer(config)

    def forward(self, images):
        tokens = self.vit.forward_features(images)  # (B, 64, 24)
        return tokens.transpose(1, 2).unflatten(2, (8, 8))


torch.manual_seed(5)
three = nn.Sequential(
    ring_conv(3, 8), nn.ReLU(), ring_conv(8, 16, 2), nn.ReLU(), ring_conv(16, 16, 2)
)  # fmt: skip
layers = {
    "one convolution": ring_conv(3, 8),
    "three, two of them halve": three,
    "ViT without positions": PatchTokens("none"),
    "ViT with positions": PatchTokens("learn"),
}
flower = small(photographs()["flower"], 32)
image = flower[None].double() / 255  # (1, 3, 32, 32)

print(f"{'output shifted as well, by':26}  1 pixel   4 pixels")
for name, layer in layers.items():
    answers = []
    with torch.no_grad():
        before = layer.double().eval()(image)
        cell = 32 // before.shape[-1]  # pixels for one cell of the output
        for pixels in (1, 4):
            after = layer(image.roll(pixels, dims=-1))
            along = before.roll(pixels // cell, dims=-1)
            close = torch.allclose(after, along, rtol=0, atol=1e-9)
            answers.append(pixels % cell == 0 and close)
    print(f"{name:26}  {answers[0]!s:8}  {answers[1]}")

# %% [markdown]
# * **One convolution** goes along with every shift. (Padded with zeros, everywhere but at the edge.)
# * **With two halvings** a cell is 4 pixels wide. A shift by 1 pixel is a quarter of a cell, and what comes out is something else. A CNN that halves is equivariant to its own steps only. For the rest it has to learn, as a ViT has.
# * **A ViT without positions** does as well as that CNN, with shifts by whole patches. It would go along with *any* shuffling of the patches, and that is the trouble: it knows that place does not matter, and not that neighbours do.
# * **With positions**, not even that. A flower in the upper left and the same flower in the lower right become different tokens. That they are the same flower, it must learn from flowers in many places.
#
# ### Further: look at one output
#
# And locality? Ask which pixels one output, in the middle, depends on: take its gradient with respect to the image. Where that is 0, the pixel is out of sight.
#
# > **Predict.** After one convolution it is $3 \times 3$ pixels. After two? After four? After one block of a ViT?


# %% tags=["hide-output"]
#| alt: Four squares of 32 by 32 pixels that show which pixels the middle output depends on, with their number above. After 1, 2 and 4 convolutions a small dark square in the middle, of 3, 5 and 9 pixels side: 9, 25 and 81 pixels. For one block of a ViT all 1024 are dark.
def convolutions(count):
    parts = [ring_conv(3, 8), nn.Tanh()]
    for _ in range(count - 1):
        parts += [ring_conv(8, 8), nn.Tanh()]
    return nn.Sequential(*parts)


def in_sight(layer):
    """Which pixels the middle of the output depends on: (32, 32) boolean."""
    pixels = image.clone().requires_grad_()
    output = layer.double().eval()(pixels)
    middle = output.shape[-1] // 2
    output[0, 0, middle, middle].backward()
    return pixels.grad[0].abs().amax(dim=0) > 0


torch.manual_seed(7)
seen = {
    "1 convolution": in_sight(convolutions(1)),
    "2 convolutions": in_sight(convolutions(2)),
    "4 convolutions": in_sight(convolutions(4)),
    "ViT, 1 block": in_sight(PatchTokens("learn", depth=1)),
}
_, axes = plt.subplots(1, 4, figsize=(7, 2.2))
for ax, (name, mask) in zip(axes, seen.items()):
    viz.heatmap(mask, ax, title=f"{name}\n{mask.sum()} of {mask.numel()}")
plt.show()

# %% [markdown]
# A CNN *must* look at neighbours first, and gets to see the whole by going on, and by halving: edges at full size, parts at half, things at a quarter. Near first, then far, at several scales. A ViT may look anywhere in its first block, at one scale. It has to find out that near is where to begin.
#
# The paper says it in section 3.1: in a CNN "locality, two-dimensional neighborhood structure, and translation equivariance are baked into each layer". In a ViT only the MLPs are local, and attention looks everywhere. That images have two dimensions it is told only where they are cut into patches, and where positions are resized
# ([Dosovitskiy et al. 2021](https://arxiv.org/abs/2010.11929)).
#
# Assumptions help when there are few data. They can also be wrong: pixels far apart may belong together, and what is in the sky and what is in the grass need not be treated alike. Whatever is built in cannot be unlearned. That is the whole bargain, and the end of the chapter measures it.
#
# ### Further: patches that fit
#
# ViT-B/16 has patches of 16 pixels, for images of 224. CIFAR-10 has images of 32.
#
# > **Predict.** Patches of 16 pixels on an image of 32: how many tokens? And with patches of 4, how many times more attention scores?

# %% tags=["hide-output"]
for patch in (16, 4):
    tokens = (32 // patch) ** 2
    print(f"patches of {patch:2}: {tokens:2} tokens, {tokens**2:4} scores")

# %% [markdown]
# Four tokens and 16 scores, against 64 tokens and 256 times as many scores.
#
# Attention between four corners, and all within a corner left to one linear layer: little is left of the Transformer. So the patch shrinks with the image. Nearly everybody takes 4 pixels on CIFAR, and so does this chapter, which has tried no other. (The other way is to enlarge the images to 224, which is what you do with a pre-trained model, in chapter 9.)

# %% [markdown]
# ## Data that are not there can be made
#
# A ViT has to learn that a flower is a flower in every place. So show it flowers in every place. A photograph that is shifted by three pixels is a new image with a known label. So is its mirror image. This is **augmentation**. For shifts it is the knowledge that a convolution has built in, written in another place: not in the layers, but in the data. For the mirror it is more than that, since a convolution of a mirrored image is not the mirror image of its convolution.
#
# > **Predict.** Pad an image of $32 \times 32$ by 4 pixels on each side, and cut a window of $32 \times 32$ out of it. Mirror it, or not. How many images is that, out of one?

# %% tags=["hide-output"]
places = 2 * 4 + 1
print(f"{places} x {places} windows, times 2: {places**2 * 2} images out of one")
print(f"45,000 training images: {45_000 * places**2 * 2:,}")

once = layers["one convolution"]

# %% tags=["hide-input", "hide-output"]
assert not torch.allclose(once(image.flip(-1)), once(image).flip(-1), atol=1e-3)

# %% [markdown]
# Seven million images out of 45,000. They are not worth seven million photographs. They show no new flower, only that place and side do not matter. Whether that is what was missing, you will see further below, on *the ladder*: twelve recipes, each with one thing more than the one before.
#
# It is the classic recipe for CIFAR-10 ([He et al. 2016](https://arxiv.org/abs/1512.03385), section 4.2, trained their ResNets with it). Usually it is done image by image, by the workers of a `DataLoader`. You write it for a whole batch at once, on the device that holds the images. The random numbers are drawn elsewhere and come in as arguments, so that your function can be tested.

# %% [markdown]
# ### Exercise 8.1 · `random_crop_flip`
#
# *Medium, 15 minutes.* Shift and mirror each image of a batch in its own way.
#
# * `images` is `(B, C, h, w)`. `padding` is a number of pixels, and may be 0. Pad with zeros, on all four sides.
# * `shifts` is `(B, 2)`, whole numbers from 0 to `2 * padding`. The window of image `i` begins at row `shifts[i, 0]` and column `shifts[i, 1]` of the padded image. It is as large as the image was.
# * `flips` is `(B,)`, boolean. Where it is `True`, the window is mirrored left to right.
# * The result is `(B, C, h, w)`, of the type of `images`, which is left as it was.
#
# A loop over the images is fine. Without one it is faster; the help says how.


# %% tags=["exercise"]
def random_crop_flip(images, shifts, flips, padding):
    """Pad with zeros, cut each image's own window, mirror some: (B, C, h, w) -> (B, C, h, w)."""
    # BEGIN SOLUTION
    h, w = images.shape[-2:]
    padded = F.pad(images, (padding, padding, padding, padding))
    # (B, C, 2p+1, 2p+1, h, w), a view
    windows = padded.unfold(2, h, 1).unfold(3, w, 1)
    batch = torch.arange(len(images), device=images.device)
    cut = windows[batch, :, shifts[:, 0], shifts[:, 1]]  # (B, C, h, w)
    return torch.where(flips[:, None, None, None], cut.flip(-1), cut)
    # END SOLUTION


# %% tags=["check"]
from course_lib.checks import check_random_crop_flip

check_random_crop_flip(random_crop_flip)

# %% [markdown] tags=["help"]
# <details>
# <summary>Hint</summary>
#
# Three steps: `F.pad(images, (p, p, p, p))`; in a loop, for each `i` the window `padded[i, :, top : top + h, left : left + w]`; and `torch.where(flips[:, None, None, None], cut.flip(-1), cut)`. The order matters: cut first, mirror afterwards.
#
# </details>
#
# <details>
# <summary>How does it go without a loop?</summary>
#
# All windows of an image are one view, `padded.unfold(2, h, 1).unfold(3, w, 1)`, of shape `(B, C, 2p + 1, 2p + 1, h, w)`. From it `view[rows, :, top, left]`, with one number for each image in `rows`, `top` and `left`, takes `(B, C, h, w)`: where index tensors stand on both sides of a `:`, PyTorch puts their dimension first.
#
# </details>
#
# <details>
# <summary>The windows come out in different sizes</summary>
#
# The window begins at `shift` in the *padded* image, and ends `h` rows later. If some of yours are cut off at the end, they begin too late: a shift of 0 is the first row of the padding, a shift of `padding` is the image as it was.
#
# </details>

# %% tags=["hide-input"]
#| alt: A photograph of a temple at 32 by 32 pixels, sixteen times: shifted by up to four pixels to each side, with a black margin where it was moved away from the edge, about half of them mirrored, so that its roof slopes to the other side. The first is the original.
temple = small(photographs()["china"], 32)
torch.manual_seed(11)
shifts = torch.randint(9, (16, 2))
flips = torch.rand(16) < 0.5
shifts[0], flips[0] = 4, False
copies = temple.expand(16, 3, 32, 32)
viz.image_grid(augment.random_crop_flip(copies, shifts, flips, padding=4))
plt.show()

# %% [markdown]
# ### Further: what must not matter
#
# Each augmentation is a claim: *this does not change what it is*. So ask of each whether it is true for your data. A mirrored cat is a cat. A mirrored 2 is no digit at all, and a 6 that is turned round is a 9. Colours do not matter for ships, but for ripe and unripe tomatoes they are the point.
#
# **RandAugment** ([Cubuk et al. 2020](https://arxiv.org/abs/1909.13719)) is a list of fourteen such claims with two knobs: how many of them an image goes through, drawn anew each time, and how strongly. Here is the whole list, at magnitude 9 of 30. (Some are faint at this strength: posterize and sharpness can hardly be seen.)

# %% tags=["hide-input"]
#| alt: The photograph of the flower fourteen times, one for each operation of RandAugment: identity, shear in two directions, translation in two directions, rotation, brightness, colour, contrast, sharpness, posterize, solarize, autocontrast, equalize. The geometric ones leave black corners or margins; brightness, contrast, solarize, autocontrast and equalize change the colours most visibly.
copies = flower.expand(14, 3, 32, 32).float()
changed = apply_operations(copies, torch.arange(14), torch.ones(14), magnitude=9)
viz.image_grid(
    changed / 255, columns=5, titles=[name.replace("_", " ") for name in OPERATIONS]
)
plt.show()

# %% [markdown]
# Earlier work had searched for the best combinations at great cost. This paper found that the search is hardly needed: a few operations drawn at random do about as well. Nothing here knows about Transformers. A model that assumes less may have more to gain from being shown; that is the hope.
#
# **Random erasing** ([Zhong et al. 2020](https://arxiv.org/abs/1708.04896)) makes one more claim: *part of it is enough*. A rectangle is filled with noise, and the label stays.
#
# In the course's library one object says what happens to a training batch: `Augment(crop=4, flip=True, rand_augment=2, erase=0.25)`. It draws the random numbers on the device that holds the images, each image its own, and no worker process is involved (chapter 7).
#
# The model hardly ever sees the same image twice. Two things follow.
#
# **It is harder to learn by heart** (to *overfit*): the same 45,000 images can be learned by heart when they have come often enough. A new variant each time makes that take longer.
#
# **The task has become harder**, and the model and the number of steps have not grown. Before the ladder you will see measured what comes of the two.

# %% [markdown]
# ## Soft targets
#
# So far the images were changed and the labels stayed. Now the labels.
#
# A label says: cat, 100 %. Cross-entropy with such a target is $-\log p_\text{cat}$, which is 0 when $p_\text{cat} = 1$, and on paper softmax never gives a 1. So the loss can always be lowered by making the logits larger, and that is what training does once the answers are right: it raises its voice. **Label smoothing**
# ([Szegedy et al. 2016](https://arxiv.org/abs/1512.00567), section 7) takes a tenth of the target away and spreads it evenly over all classes: with ten of them, 91 % cat, and 1 % for each of the others.
#
# > **Predict.** The logit of the right class is $m$ above the other nine, which are equal. With a hard target the loss falls with $m$ for ever. Where is it lowest with the smoothed one: at $m$ near 1, near 5, near 20? And is it 0 there?

# %% tags=["hide-output"]
margins = torch.linspace(0, 12, 1201)
logits = torch.zeros(len(margins), 10)
logits[:, 0] = margins
hard = F.one_hot(torch.tensor(0), 10).float()
soft = 0.9 * hard + 0.1 / 10


def losses(target):
    return -(target * logits.log_softmax(dim=-1)).sum(dim=-1)


best = losses(soft).argmin()
lowest = losses(soft)[best]
print(f"lowest at a margin of {margins[best]:.1f}, where it is {lowest:.2f}")
print(f"log(0.91 / 0.01) = {np.log(0.91 / 0.01):.1f}")

# %% tags=["hide-input"]
#| alt: Loss against the margin of the right logit, from 0 to 12. Both curves start at 2.3. The one for the hard target falls towards 0. The one for the smoothed target falls to 0.5 at a margin of 4.5, marked by a point, and then rises slowly along a straight line.
_, ax = plt.subplots(figsize=(6, 2.8))
ax.plot(margins, losses(hard), "--", color=viz.KEY, label="hard target")
ax.plot(margins, losses(soft), color=viz.QUERY, label="smoothed by 0.1")
ax.plot(margins[best], lowest, "o", color=viz.QUERY)
ax.set(xlabel="logit of the right class, above the others", ylabel="loss")
ax.set_ylim(0, 2.5)
ax.legend()
plt.show()

# %% [markdown]
# At $m = \log(0.91/0.01) = 4.5$ the probabilities are exactly the targets, and to be surer than that costs.
#
# **And the lowest loss is 0.50, not 0.** That is the entropy of the target, which nobody can get below. So a loss of 0.6 may be bad or nearly perfect, depending on the targets. Compare losses only if the targets are of the same kind.
#
# Such a target is a row of shares. `F.cross_entropy` takes these as well as class numbers. You write it once yourself, since there is a trap in it.
#
# > **Predict.** Compute the softmax, take the logarithm, multiply by the targets. The second logit here is far below the first, and its target is 0, so it should not count. What comes out?

# %% tags=["hide-output"]
logits = torch.tensor([[0.0, -200.0]])
targets = torch.tensor([[1.0, 0.0]])
print("softmax:           ", logits.softmax(dim=-1).tolist())
print("its logarithm:     ", logits.softmax(dim=-1).log().tolist())
print("times the targets: ", (targets * logits.softmax(dim=-1).log()).tolist())
print("log_softmax:       ", logits.log_softmax(dim=-1).tolist())

# %% [markdown]
# $0 \cdot (-\infty)$ is `nan`, and one `nan` in a loss ends a run. `log_softmax` computes $s_j - \log \sum_k e^{s_k}$, after subtracting the largest logit, and never forms the probability at all.

# %% [markdown]
# ### Exercise 8.2 · `soft_cross_entropy`
#
# *Easy, 10 minutes.* Cross-entropy against targets that are shares of classes.
#
# * `logits` and `targets` are both `(B, classes)`. Each row of `targets` sums to 1. Some shares may be 0.
# * The result is one number, a tensor without dimensions, from which gradients reach `logits`: for each image $-\sum_k t_k \log p_k$, and the mean of these over the batch.
# * It must survive logits of 900 in one row and $-900$ in another, and large differences within a row. `F.cross_entropy` itself is not allowed here.


# %% tags=["exercise"]
def soft_cross_entropy(logits, targets):
    """Cross-entropy against shares of classes: (B, classes), (B, classes) -> the mean over B."""
    # BEGIN SOLUTION
    return -(targets * logits.log_softmax(dim=-1)).sum(dim=-1).mean()
    # END SOLUTION


# %% tags=["check"]
from course_lib.checks import check_soft_cross_entropy

check_soft_cross_entropy(soft_cross_entropy)

# %% [markdown] tags=["help"]
# <details>
# <summary>Hint</summary>
#
# One line. `logits.log_softmax(dim=-1)` is $\log p$. Multiply, sum over the classes, put a minus, average over the batch.
#
# </details>
#
# <details>
# <summary>I get nan, or inf</summary>
#
# Somewhere stands the logarithm of a probability. A probability that is too small for the number format is 0, and its logarithm is $-\infty$. Do not repair it with `+ 1e-8`: then the loss of a badly wrong answer stops growing, and its gradient is lost. Stay with logarithms: `log_softmax`, or `logits - logits.logsumexp(-1, keepdim=True)`.
#
# </details>

# %% [markdown]
# ### Half a temple, half a flower
#
# Once a target may be any row of shares, an image may be any mixture. **MixUp** ([Zhang et al. 2018](https://arxiv.org/abs/1710.09412)) lays one image over another, and mixes their targets in the same way. With weight $\lambda$ and partner $j$:
#
# $$\tilde x_i = \lambda_i\, x_i + (1 - \lambda_i)\, x_j, \qquad \tilde t_i = \lambda_i\, t_i + (1 - \lambda_i)\, t_j$$
#
# **CutMix** ([Yun et al. 2019](https://arxiv.org/abs/1905.04899)) puts a rectangle of the partner into the image instead, and the partner's share of the target is its share of the area.

# %% tags=["hide-input"]
#| alt: Two rows of five images made of a photograph of a temple and one of a flower. Upper row, MixUp: from the temple alone over faint and equal mixtures to the flower alone, titled with the temple's share of the target, 1, 0.75, 0.5, 0.25 and 0. Lower row, CutMix: a rectangle of the flower in the lower right corner that grows from nothing over a quarter, half and three quarters to the whole image, with the same five shares.
china, partner = (small(photo, 32) for photo in photographs().values())
share = torch.tensor([1.0, 0.75, 0.5, 0.25, 0.0])
pairs = torch.stack([china, partner]).float() / 255
pairs = pairs[[0] * 5 + [1]]  # five temples, and the flower that is their partner
classes = F.one_hot(torch.tensor([0] * 5 + [1]), 2).float()
partners = torch.full((6,), 5)
heights = torch.tensor([0, 16, 32, 32, 32])  # rectangles with just these shares
widths = torch.tensor([0, 16, 16, 24, 32])
edge = torch.full_like(widths, 32)
boxes = torch.stack([edge - heights, edge - widths, edge, edge], dim=1)
boxes = torch.cat([boxes, boxes[-1:]])

laid_over, _ = augment.mixup(
    pairs, classes, partners, torch.cat([share, share[-1:]])
)
pasted, targets = augment.cutmix(pairs, classes, partners, boxes)
assert torch.equal(targets[:5, 0], share)
viz.image_grid(
    torch.cat([laid_over[:5], pasted[:5]]),
    columns=5,
    titles=[f"{kind} {s:.2f}" for kind in ("MixUp", "CutMix") for s in share],
)
plt.show()

# %% [markdown]
# No image of the test looks like this. Both papers report that it helps all the same, in runs of 90 to 300 epochs, and the reason that MixUp's authors give is this: between two training images the model is asked to go over gradually from one answer to the other, and not to jump somewhere. And it is asked to be entirely certain only where both images are of the same class. In our few epochs? See the ladder.
#
# Where does $\lambda$ come from? From a Beta distribution. With a parameter well below 1, such as 0.2, it gives mostly values near 0 or 1: nearly one image with a trace of another. With 0.8, as many recipes have it, true mixtures are common. And the partner of image $i$ is an image of the same batch, at the place to which a random shuffling leads (now and then that is $i$ itself). Both are drawn outside again.

# %% [markdown]
# ### Exercise 8.3 · `mixup`
#
# *Easy, 10 minutes.* Mix images and targets.
#
# * `images` is `(B, C, h, w)`, `targets` `(B, classes)`. `partners` is `(B,)`: row `i` is mixed with row `partners[i]`. `weight` is `(B,)`, the share of the row's *own* image.
# * Return both, the mixed images and the mixed targets, of the same shapes and types. Leave the inputs as they are.


# %% tags=["exercise"]
def mixup(images, targets, partners, weight):
    """`weight` of each row and the rest of its partner, images and targets alike: (B, C, h, w), (B, classes)."""
    # BEGIN SOLUTION
    w = weight[:, None, None, None]
    mixed = w * images + (1 - w) * images[partners]
    w = weight[:, None]
    return mixed, w * targets + (1 - w) * targets[partners]
    # END SOLUTION


# %% tags=["check"]
from course_lib.checks import check_mixup

check_mixup(mixup)

# %% [markdown] tags=["help"]
# <details>
# <summary>Hint</summary>
#
# `images[partners]` is the batch of partners, in the right order. The weight must become `(B, 1, 1, 1)` for the images and `(B, 1)` for the targets, so that each row gets its own.
#
# </details>
#
# <details>
# <summary>My partners are the wrong ones</summary>
#
# `images[partners]` *fetches* from row `partners[i]`. `result[partners] = images` would *send* there, which is another pairing.
#
# </details>

# %% [markdown]
# ### What the training accuracy means now
#
# People watch the training accuracy, to see whether a model learns by heart. With MixUp in every batch, what is it?
#
# > **Predict.** Suppose a model that is perfect: it recognises both images of each mixture and the shares to the last digit. You count an answer as right when its most probable class is the label of image $i$. What "accuracy" does the perfect model get? And what loss?

# %% tags=["hide-output"]
torch.manual_seed(17)
weight = torch.distributions.Beta(0.8, 0.8).sample((100_000,))
same_class = torch.rand(100_000) < 0.1  # the partner is of the same class

named = (weight > 0.5) | same_class
entropy = torch.special.entr(weight) + torch.special.entr(1 - weight)
entropy = torch.where(same_class, 0.0, entropy)
print(f"accuracy of the perfect model: about {100 * named.float().mean():.0f} %")
print(f"its loss:                      about {entropy.mean():.1f}")

# %% [markdown]
# 55 %, and a loss of 0.4. In half of the mixtures the partner is the larger part, and the perfect model says so. **Under mixing, training accuracy means nothing that you could compare**, and training loss means little. What can be compared is images apart, such as the validation set: real ones, hard labels, nothing changed.

# %% [markdown]
# ## Averaging the weights
#
# The last ingredient changes neither images nor labels. Each step of training is computed from one batch, so each step is partly noise. With a learning rate that does not fall, the weights do not come to rest. They wander about a good place, and whichever moment you stop at, they are at some distance from it.
#
# So keep a second copy of the model that follows slowly:
#
# $$\bar w \leftarrow \beta\, \bar w + (1 - \beta)\, w$$
#
# after each step, with $\beta$ near 1. It is called an **exponential moving average**, EMA, since the weights from $n$ steps ago count with $(1 - \beta)\,\beta^n$. It is not trained. It costs one more copy of the parameters, and it is the copy that you validate and keep
# ([Polyak & Juditsky 1992](https://doi.org/10.1137/0330046), and for networks [Izmailov et al. 2018](https://arxiv.org/abs/1803.05407), both with a plain mean).
#
# ### Two weights, and their average
#
# The best place is 0, and each gradient is right up to noise.
#
# > **Predict.** The learning rate stays the same for 1000 steps. Which is nearer to 0 at the end, the weights or their average? And if the learning rate falls to 0 along a cosine?


# %% tags=["hide-output"]
def walk(rates, beta=0.97, runs=200):
    """Two weights that follow noisy gradients, in many runs at once: both paths, (steps, runs, 2)."""
    torch.manual_seed(19)
    w = torch.full((runs, 2), 4.0)
    average, path, path_of_average = w.clone(), [], []
    for rate in rates:
        gradient = w + 2 * torch.randn(runs, 2)
        w = w - rate * gradient
        average = beta * average + (1 - beta) * w
        path.append(w)
        path_of_average.append(average)
    return torch.stack(path), torch.stack(path_of_average)


steps = torch.arange(1000)
schedules = {
    "the same throughout": torch.full((1000,), 0.2),
    "down along a cosine": 0.1 * (1 + torch.cos(torch.pi * steps / 1000)),
}
print("mean distance from 0       half way           at the end")
print("learning rate          weights  average   weights  average")
for name, rates in schedules.items():
    paths = walk(rates)
    ends = [path[step].norm(dim=-1).mean() for step in (499, -1) for path in paths]
    print("{:21} {:8.1f} {:8.1f}  {:8.1f} {:8.1f}".format(name, *ends))

# %% [markdown]
# With a constant rate the average is about three times as near, half way and at the end. With a cosine that falls to 0 it is twice as near half way; but at the end the weights have come to rest by themselves, and there is little left to gain. So an average buys much if you stop early or keep the rate up, and less at the end of a full cosine.
#
# And on the length. The average begins as a copy of the weights at the start, which are random.
#
# > **Predict.** $\beta = 0.9999$ is a common choice for long runs. You train for three epochs of 350 steps. How much of the random start is left in your average?

# %% tags=["hide-output"]
print("decay    reaches back about   of the start, left after 1050 steps")
for beta in (0.99, 0.998, 0.9999):
    print(f"{beta:<8} {1 / (1 - beta):6,.0f} steps  {beta**1050:18.1%}")

# %% [markdown]
# Nine tenths. The average is a random model with a little training in it, and validates as one. Choose $\beta$ so that $1/(1-\beta)$, the steps that it reaches back, is at most a fifth of the run. Then less than $e^{-5}$ of the start is left, below 1 %. (The runs below have 0.998, which reaches back 500 steps: a seventh of the ladder's long runs, and about a fifth of those on parts of the images. The ladder's short runs have 351 steps, too few for it. There the library lets $\beta$ grow with the step $t$, $(1 + t)/(10 + t)$, so that the average reaches back over about a tenth of the steps so far.)

# %% [markdown]
# ### Exercise 8.4 · `ema_update`
#
# *Medium, 15 minutes.* One step of the average.
#
# * `average` and `model` are two modules of the same kind. `decay` is $\beta$.
# * Change the parameters of `average` **in place**: $\beta$ times themselves, plus $1 - \beta$ times the model's. Nothing is returned, and `model` stays as it is. A parameter that two layers share is one parameter.
# * Modules also have *buffers*, tensors that are not trained: a batch norm keeps the running mean and variance of what it has seen, and a whole number that counts its batches. Copy the model's buffers into the average's. Running statistics are averages already, and whole numbers have no average.


# %% tags=["exercise"]
def ema_update(average, model, decay):
    """Move `average` towards `model`, in place: decay · old + (1 - decay) · new; buffers are copied."""
    # BEGIN SOLUTION
    with torch.no_grad():
        for old, new in zip(average.parameters(), model.parameters()):
            old.mul_(decay).add_(new, alpha=1 - decay)
        for old, new in zip(average.buffers(), model.buffers()):
            old.copy_(new)
    # END SOLUTION


# %% tags=["check"]
from course_lib.checks import check_ema_update

check_ema_update(ema_update)

# %% [markdown] tags=["help"]
# <details>
# <summary>Hint</summary>
#
# Two loops inside `with torch.no_grad():`, one over `zip(average.parameters(), model.parameters())` and one over the `buffers()` of both. In place means a method with an underscore at its end: `mul_`, `add_`, `lerp_`, `copy_`.
#
# </details>
#
# <details>
# <summary>I get “a leaf Variable that requires grad is being used in an in-place operation”</summary>
#
# PyTorch is recording gradients, and a parameter must not be changed under its eyes. Put the update into `with torch.no_grad():`.
#
# </details>

# %% [markdown]
# ### Further: leaving blocks out
#
# One more ingredient, for deep models and long runs. **Stochastic depth** ([Huang et al. 2016](https://arxiv.org/abs/1603.09382)), also called drop path: in training, each image skips some of the residual branches, at random. (In the paper a whole batch skips at once.) Attention or MLP adds nothing for this image, and the stream goes straight on. What is kept is made larger, so that the mean stays. The rate grows with depth: what the first blocks do, everything after them needs. The ladder does without it; the recipe for a GPU, at the end, has it.
#
# ### What it costs
#
# That is the toolbox. Most of it keeps a model from learning by heart, each tool at its own end.
#
# Take 1200 of scikit-learn's digits and a small ViT. Train it for 8 epochs, once with the digits "as they are", once turned, scaled, sheared, shifted and mixed. (Not mirrored.) The cell takes ten seconds or so.
#
# > **Predict.** Which is ahead after 8 epochs? And if both train for 128, on the very same 1200 digits?


# %% tags=["hide-output"]
def accuracy_after(epochs, changes):
    """A small ViT learns the digits; share of the validation digits that it gets right."""
    set_seed(0, "weights")
    model = VisionTransformer(ViTConfig(
        img_size=8, patch_size=2, in_chans=1, num_classes=10, embed_dim=48, depth=2,
        num_heads=3, pos_embed="sincos2d", global_pool="avg",
    ))  # fmt: skip
    config = TrainConfig(
        epochs, batch_size=50, lr=2e-3, augment=changes, precision="float32", device="cpu"
    )  # fmt: skip
    history = fit(model, digits("train"), digits("val"), config, quiet=True)
    return history[-1]["val_accuracy"]


moved = Augment(rotate=15, scale=0.15, shear=0.15, translate=0.125, mixup=0.4)
changes = {"as they are": Augment(), "augmented": moved}
runs = load_record("augmentation_budget")["runs"]
for kind, change in changes.items():
    same = {"kind": kind, "epochs": 8, "seed": 0}
    (right,) = [r["val_accuracy"] for r in runs if same.items() <= r.items()]
    close = abs(accuracy_after(8, change) - right) < 0.1
    print(f"{kind:11}  recorded {right:.0%}; here within 10 points of it: {close}")
    assert close

# %% tags=["hide-input", "hide-output"]
#| alt: Per cent of the validation digits right after 8, 32 and 128 epochs, five points each for digits as they are and, beside them, for augmented ones, with lines through the means, and a dotted line for guessing at 10. After 8 epochs the augmented runs are far behind, one of them at the dotted line; after 32 their mean is still behind; after 128 they are ahead, all five of all five.
budgets = sorted({run["epochs"] for run in runs})
_, ax = plt.subplots(figsize=(6, 3))
ends = []
for kind, color, style, marker, shift in (
    ("as they are", viz.KEY, "-", "o", 0.95),
    ("augmented", viz.QUERY, "--", "s", 1.05),
):
    right = [
        [100 * r["val_accuracy"] for r in runs if (r["kind"], r["epochs"]) == (kind, e)]
        for e in budgets
    ]  # fmt: skip
    ax.plot(budgets, np.mean(right, axis=1), style, color=color, label=kind)
    for epochs, values in zip(budgets, right):
        ax.plot([shift * epochs] * 5, values, marker, color=color, markersize=4)
    ends.append((right[0], right[-1]))
ax.axhline(10, color=viz.INK, linestyle=":")
ax.text(64, 13, "guessing", ha="center")
ax.set_xscale("log", base=2)
ax.set_xticks(budgets, budgets)
ax.minorticks_off()
ax.set(xlabel="epochs", ylabel="% of the validation digits right", ylim=(0, 102))
ax.legend(loc="center right")
plt.show()

for kind, (early, late) in zip(changes, ends):
    print(f"{kind:11} 8 epochs: {min(early):.0f} to {max(early):.0f} %", end=", ")
    print(f"128 epochs: {min(late):.1f} to {max(late):.1f} %")
(plain_early, plain_late), (early, late) = ends
assert min(late) > max(plain_late)
assert 9 < early[0] == min(early) and max(early) < 30.5
assert [round(end) for end in (min(plain_early), max(plain_early))] == [56, 65]

# %% [markdown]
# The lines cross. After 8 epochs the augmented model has hardly begun: 10 to 30 % in the five runs, where the plain one has 56 to 65. The task is harder, and it has had no more time. With 128 the plain one has seen each of its 1200 digits 128 times, always the same, and the augmented one never the same twice. (Recorded with five seeds by `benchmarks/augmentation_budget.py`. The live cell repeats the two with seed 0, which for the augmented digits is the worst of the five.)
#
# **"Augmentation helps" is half a sentence.** The other half is the budget. Keep it in mind for the ladder.

# %% [markdown]
# ## Three that make the most of a step
#
# So far the ingredients changed the task, or steadied the weights. The next three are taught more seldom. They ask what a step of training can do, and for how little.
#
# **Blocks that begin as the identity.** Let the last layer of the attention and of the MLP start at 0, and the head too. Then every block adds nothing at first: the stream of chapter 3 runs through untouched, and each block adds something only when training finds something worth adding. It costs no computing ([Zhang et al. 2019](https://arxiv.org/abs/1901.09321) start residual networks so).
#
# **Half of the patches.** Neighbouring patches say much the same. So for most of the run show the model a random half of each image's patches, another half each time, and all of them at the end. It is dropout of tokens, called *patch dropout* ([Liu et al. 2022](https://arxiv.org/abs/2208.07220)); but nothing is set to 0, the patches are not there, and of what is not there only the embedding is computed.
#
# > **Predict.** With 32 patches instead of 64: how many times fewer scores has an image? And how many times fewer operations does the whole model need for it: 2, 3 or 4 times?

# %% tags=["hide-input", "hide-output"]
from course_lib.recipes.scratch import LADDER
from course_lib.recipes.speedrun import forward_flops

with torch.device("meta"):  # counted, not computed
    model = VisionTransformer(LADDER["patch_drop"].model).train()
cost = []
for model.patch_drop.rate in (0.0, 0.5):
    cost.append(forward_flops(model, 3, 32, 32))
print(f"scores:     {64**2 / 32**2:.0f} times fewer")
print(f"operations: {cost[0] / cost[1]:.2f} times fewer")
assert 2 < cost[0] / cost[1] < 2.3

# %% [markdown]
# The whole model needs just over 2 times fewer operations. Only what passes between tokens goes with the square: the scores, and the sums of values that they weigh. Nearly everything else is done token by token.
#
# **Muon** ([Jordan et al. 2024](https://kellerjordan.github.io/posts/muon/)) is a way to step. It stretches the momentum of each weight matrix before the step, so that the step is about as long in the matrix's faint directions as in its strong ones. Embedding, head, norms and biases stay with AdamW. Which directions, and how to stretch them by products alone:
#
# ### The directions of a gradient
#
# AdamW treats a weight matrix as a heap of numbers, each with its own scale. But a matrix is a map, and what it does is told by its *singular values*: $W = U S V^\top$, so many times along this direction, so many times along that one.
#
# > **Predict.** The gradient of an MLP's first layer (192 rows, 48 columns, so 48 singular values) in a fresh model, from 256 digits. How much of its squared length lies in the three largest: a tenth, a half, or more?

# %% tags=["hide-input", "hide-output"]
#| alt: Singular values of one gradient matrix by rank, 1 to 48, on a logarithmic axis. Grey, as it is: from 0.75 they fall steadily, below a hundredth at rank 20 and below a ten-thousandth at rank 40. Blue, after one step, and green, after five: lifted more and more; after five steps the first twenty lie between 0.68 and 1.21, shaded, and beyond them the curve falls.
from course_lib.train.muon import newton_schulz as lifted

torch.manual_seed(23)
small_vit = VisionTransformer(ViTConfig(
    img_size=8, patch_size=2, in_chans=1, num_classes=10, embed_dim=48, depth=2,
    num_heads=3, pos_embed="sincos2d", global_pool="avg", weight_init="xavier",
))  # fmt: skip
data = digits("train")
logits = small_vit(data.normalised(data.images[:256]))
F.cross_entropy(logits, data.labels[:256]).backward()
gradient = small_vit.blocks[0].mlp.fc1.weight.grad  # (192, 48)

values = {
    "as it is": torch.linalg.svdvals(gradient / gradient.norm()),
    "1 step": torch.linalg.svdvals(lifted(gradient, steps=1)),
    "5 steps": torch.linalg.svdvals(lifted(gradient, steps=5)),
}
share = (values["as it is"][:3] ** 2).sum()
print(f"in the three largest: {share:.0%} of the squared length")
_, ax = plt.subplots(figsize=(6, 2.8))
ax.axhspan(0.68, 1.21, color=viz.LINE)
for (name, line), color in zip(values.items(), (viz.MUTED, viz.KEY, viz.VALUE)):
    ax.plot(range(1, 49), line, ".-", color=color, label=name)
ax.set(yscale="log", ylim=(1e-5, 3), xlabel="rank", ylabel="singular value")
ax.legend(loc="lower left")
plt.show()
first = values["as it is"]
assert 0.8 < share < 0.95 and first[19] < 0.01 and first[39] < 1e-4
inside = (values["5 steps"] > 0.68) & (values["5 steps"] < 1.21)
assert inside[:20].all() and not inside[40:].any()
assert 20 <= (~inside).sum() <= 24

# %% [markdown]
# Nearly nine tenths in three of 48 directions. A step along this gradient moves the weights along those three, and hardly along the rest.
#
# Muon takes the momentum, and makes it *orthogonal*, as nearly as is cheap: the singular values go near 1, the faintest left out (here nearly a half of them).
#
# To compute singular values at every step would be slow. But $(X X^\top) X$ has the singular vectors of $X$, and singular values cubed. So a polynomial of such odd powers is one in each singular value, and products of matrices are what a processor is best at. With the right one, applied five times, all that were above two thousandths of the matrix's length end between 0.68 and 1.21 (shaded above). It is a *Newton-Schulz iteration*.

# %% [markdown]
# ### Exercise 8.5 · `newton_schulz`
#
# *Medium, 15 minutes.* What Muon does with its momentum, a matrix: bring all its singular values near 1, by products alone.
#
# * `matrix` is `(rows, columns)`, wide, tall or square, and not all zeros. `steps` is a whole number, 1 or more.
# * First divide the matrix by its length, the root of the sum of the squares of all its numbers. You may add up to $10^{-7}$ to the length.
# * Then, `steps` times, with $a = 3.4445$, $b = -4.7750$, $c = 2.0315$:
#
# $$X \leftarrow a\,X + b\,(X X^\top)\,X + c\,(X X^\top)^2\,X$$
#
# * The result is `(rows, columns)` again. Its singular vectors are those of `matrix`, and each singular value $s$ has become $a\,s + b\,s^3 + c\,s^5$, again and again. It has the type of `matrix`, which is left as it was. So compute in this type: each number of yours may be off by a ten-thousandth of the result's length.
# * Nothing need be differentiable. `torch.linalg.svd` and its kin (`eigh`, `qr`, `pinv`) are not allowed here: to do without them is the point.
#
# For `[[3.0, 0.0], [0.0, 4.0]]` and one step the singular values 0.6 and 0.8 become 1.19 and 0.98.


# %% tags=["exercise"]
def newton_schulz(matrix, steps):
    """Singular values near 1, singular vectors as they were, by products alone: (rows, columns) -> the same."""
    a, b, c = 3.4445, -4.7750, 2.0315
    # BEGIN SOLUTION
    tall = matrix.shape[0] > matrix.shape[1]
    x = matrix.mT if tall else matrix  # the smaller side first: cheaper
    x = x / x.norm()
    for _ in range(steps):
        square = x @ x.mT  # (rows, rows)
        x = a * x + (b * square + c * square @ square) @ x
    return x.mT if tall else x
    # END SOLUTION


# %% tags=["check"]
from course_lib.checks import check_newton_schulz

check_newton_schulz(newton_schulz)

# %% [markdown] tags=["help"]
# <details>
# <summary>Hint</summary>
#
# `matrix.norm()` is the length. In the loop, `square = x @ x.mT` is $X X^\top$, and `square @ square` its square: products of matrices, all of them, where `*` and `** 2` would multiply single numbers. Do not write into `matrix`: `x = matrix / ...` makes a new one.
#
# </details>
#
# <details>
# <summary>Why tall matrices are often turned first</summary>
#
# $X X^\top$ is `(rows, rows)`. For a tall matrix that is the larger side, and $X^\top X$, which stands on the right, is the smaller one: $X X^\top X = X\,(X^\top X)$. Turn a tall matrix with `.mT`, or multiply from the right, or do neither: the numbers are the same, only the time is not. Whoever turns it must turn it back.
#
# </details>
#
# <details>
# <summary>My numbers grow without end, or become nan</summary>
#
# A singular value above 1.27 grows with every step. None is larger than the length. So divide by the length first, and once: all numbers by one and the same length.
#
# </details>

# %% tags=["hide-input"]
values = torch.linspace(0.002, 1, 100_001, dtype=torch.float64)
for _ in range(5):
    values = 3.4445 * values - 4.7750 * values**3 + 2.0315 * values**5
assert values.min() > 0.68 and values.max() < 1.21

# %% [markdown]
# Two things go wrong easily: three matrices that lie in one weight, as $q$, $k$ and $v$ do in `qkv`, made orthogonal as one, which stops no run; and a `*` where a product of matrices belongs, which may raise an error, end in `nan`, or go unnoticed. That the step is orthogonal must be tested; a falling loss does not show it.

# %% [markdown]
# ### Exercise 8.6 · `paired_gain`
#
# *Easy, 8 minutes.* A gain with its interval. Several seeds are run without an ingredient, and the same seeds with it. A seed that does well without it may well do so with it, and that drops out of the difference, seed by seed. With $n$ differences of mean $m$ and standard deviation $s$:
#
# $$\text{gain} = m, \qquad \text{half} = t\,\frac{s}{\sqrt n}$$
#
# A few seeds say little about their own scatter. The factor $t$, of Student's distribution, allows for that. For 95 %:
#
# | seeds | 2 | 3 | 5 | 10 |
# |:--|--:|--:|--:|--:|
# | $t$ | 12.706 | 4.303 | 2.776 | 2.262 |
#
# * `before` and `after` are tensors of floats, `(n,)`, with $n$ of 2 or more: what the seeds reached without and with the ingredient, in the same order.
# * `t` is the factor for this $n$ and whatever confidence is asked for, a number. Use it as it comes.
# * Return two plain numbers, `gain` and `half`, in the unit of `before` and `after`, and not rounded. `gain` is above 0 where `after` is the larger.
# * $s$ divides by $n - 1$.
#
# For `before` 70, 72, 71, `after` 71, 74, 71.5 and `t` 4.303 the result is `(1.17, 1.90)`, rounded. Three seeds, three gains, and the interval still holds 0.


# %% tags=["exercise"]
def paired_gain(before, after, t):
    """What an ingredient adds, from the same seeds without and with it: (n,), (n,), a number -> (gain, half)."""
    # BEGIN SOLUTION
    apart = after.double() - before.double()  # (n,), one for each seed
    half = t * apart.std().item() / len(apart) ** 0.5
    return apart.mean().item(), half
    # END SOLUTION


# %% tags=["check"]
from course_lib.checks import check_paired_gain

check_paired_gain(paired_gain)

# %% [markdown] tags=["help"]
# <details>
# <summary>Hint</summary>
#
# `after - before` are the differences. `.mean()` and `.std()` of them, `len(before) ** 0.5`, and the formulas. `.item()` makes a plain number of a tensor.
#
# </details>
#
# <details>
# <summary>My half is too small, and most of all for few seeds</summary>
#
# numpy's `std` and `statistics.pstdev` divide by $n$. The mean was taken from the same $n$ numbers, and they lie nearer to it than to the true one. So divide by $n - 1$: `torch.std` does, `statistics.stdev` too, and numpy's with `ddof=1`.
#
# </details>
#
# <details>
# <summary>My half is far too large</summary>
#
# Perhaps it is made of two standard deviations, that of `before` and that of `after`. They hold what the seeds have in common. Make the differences first, then take one standard deviation.
#
# </details>
# %% [markdown]
# ## The ladder
#
# Each rung adds or replaces one thing and keeps the rest. The right column names the suspect that it is aimed at.
#
# | rung | what it adds | suspect |
# |--:|:--|:--|
# | 0 | report D's model and recipe. It shifts its images by up to 5 % already. | |
# | 1 | two heads instead of eight: 16 dimensions each, instead of 4 | 3, too small |
# | 2 | a larger model: twice the width, six blocks instead of four, an MLP as wide as before; nearly four times the parameters | 3, too small |
# | 3 | twice the learning rate | 4, badly trained |
# | 4 | a warm-up, a fifth of the run | 4, badly trained |
# | 5 | weight decay | 4, badly trained |
# | 6 | clipping | 4, badly trained |
# | 7 | starting weights that fit the width | 4, badly trained |
# | 8 | the mean of the patches instead of a class token | 1, knows too little |
# | 9 | fixed positions of row and column: chapter 5 | 1, knows too little |
# | 10 | crop and flip in place of the small shifts | 2, too few images |
# | 11 | averaged weights | 4, badly trained |
#
# Up to rung 11 it is one *trunk*. From there on there are two ways. Four ingredients are tried **each alone**: label smoothing, RandAugment (one operation an image, gently), and MixUp and CutMix, each for half of the batches. And the three of the last section are put **on top of each other**: blocks that begin as the identity, Muon, half of the patches.
#
# Rung 7 needs a word. Many ViTs, DeiT's and timm's among them, start the weights of their linear layers with a standard deviation of 0.02, whatever the width. In a layer from 64 to 64 it makes outputs a sixth as large as the inputs, and before any training a block changes the stream by less than 2 % of its size. [Glorot & Bengio 2010](https://proceedings.mlr.press/v9/glorot10a.html) take the width into account: $\sqrt{2 / (64 + 64)} = 0.125$ for this layer. Then a block changes the stream by a third to two thirds. ([The paper's own code](https://github.com/google-research/vision_transformer/blob/main/vit_jax/models_vit.py) goes by the width, too; 0.02 is there for the positions.)
#
# Everything is run at a **short** budget, on CIFAR-10 (JPEG copy) and a CPU: 22,500 images, each once, in half a minute to two. Half of it, the ResNet of the next section too, was run at a **long** one as well, which shows ten times as many: all 45,000, five times. All runs that were made are shown, and so they are compared on the test images. In the picture blue is what a rung adds, hatched what it loses. The axis does not begin at 0, so compare the steps, not the lengths of the bars.
#
# > **Predict.** Which rung is the largest step? Is there one that goes down? And which rungs do you expect to pay at the long budget only?


# %% tags=["hide-output"]
#| alt: Two ladders side by side, titled short and long: a horizontal bar for each rung, numbered, rung 0 at the bottom. Each bar is grey up to the accuracy of the rung below it; what the rung adds is blue, what it loses is hatched. Short has twelve rungs. They rise from 30.0 at rung 0 to 39.4 at rung 9, most of it at rungs 2 and 9, and fall to 36.7 at rung 11, most of it at rung 10. Long has eight of them. They rise from 54.6 to 62.9 at rung 9, and fall to 61.6 at rung 11.
TRUNK = {  # what each rung adds, and the suspect that it is aimed at
    "ground": ("report D", None),
    "heads": ("two heads", 3),
    "size": ("a larger model", 3),
    "rate": ("twice the rate", 4),
    "warmup": ("warm-up", 4),
    "decay": ("weight decay", 4),
    "clip": ("clipping", 4),
    "start": ("starting weights", 4),
    "mean": ("mean of the patches", 1),
    "positions": ("fixed positions", 1),
    "crop_flip": ("crop and flip", 2),
    "ema": ("averaged weights", 4),
}
ALONE = {"smoothing": "smoothing", "rand_augment": "RandAugment", "mixup": "MixUp", "cutmix": "CutMix"}  # fmt: skip
FAST = {
    "zero": "identity at first",
    "muon": "Muon",
    "patch_drop": "half of the patches",
    "patch_drop_time": "the same, half as long again",
}
BELOW = dict(zip([*TRUNK][1:], TRUNK)) | dict.fromkeys(ALONE, "ema")
BELOW |= dict(zip(FAST, ("ema", "zero", "muon", "muon")))
ladder = load_record("ladder")["runs"]


def reached(rung, budget, split="test"):
    """{seed: per cent right} of the runs of a rung."""
    mine = [run for run in ladder if (run["rung"], run["budget"]) == (rung, budget)]
    return {run["seed"]: 100 * run[f"{split}_accuracy"] for run in mine}


def mean(rung, budget):
    return np.mean([*reached(rung, budget).values()])


labels = [f"{name}  {number}" for number, (name, _) in enumerate(TRUNK.values())]
_, axes = plt.subplots(1, 2, figsize=(5.8, 5.2))
for ax, budget in zip(axes, ("short", "long")):
    rungs = [rung for rung in TRUNK if reached(rung, budget)]
    means = [mean(rung, budget) for rung in rungs]
    names = [labels[[*TRUNK].index(rung)] for rung in rungs]
    viz.staircase(
        means, names if budget == "short" else [n.split()[-1] for n in names], ax
    )
    ax.set(
        title=budget,
        xlabel="% right on test",
        xlim=(min(means) - 6, max(means) + 5),
    )
plt.show()

# %% [markdown]
# **Keep this picture.** Now the numbers behind it. *Gain* is the difference to the rung below, **paired**: the same seeds without and with the ingredient, as in exercise 8.6. *n* is the number of seeds. With three of them alone an interval is wide; here the scatter of the differences is taken from all rungs of a budget together, as if all scattered alike. (*% right* is the mean of all seeds of a rung, so where one rung has more of them than the other, the gain is not quite the difference of the two.) If the interval includes 0, the seeds do not tell whether the rung did anything; one star marks those that do not include it. But so many comparisons are as many chances to be fooled, so two stars mark those that hold with as many times less room for error (*Bonferroni's correction*).


# %% tags=["hide-output"]
def apart(rung, below, budget):
    """What each seed gains from one rung to another: (n,)."""
    one, other = reached(rung, budget), reached(below, budget)
    return np.array([one[seed] - other[seed] for seed in one if seed in other])


def climbed(budget):
    """{rung: the next one below}, of the rungs that were run at this budget."""
    found = {}
    for rung, below in BELOW.items():
        while not reached(below, budget):
            below = BELOW[below]
        if reached(rung, budget):
            found[rung] = below
    return found


STEPS = {budget: climbed(budget) for budget in ("short", "long")}
NOISE = {}
for budget, steps in STEPS.items():
    pairs_of_seeds = [apart(*step, budget) for step in steps.items()]
    NOISE[budget] = pooled_scatter(
        [pair for pair in pairs_of_seeds if len(pair) > 1]
    )


def gain(rung, below, budget, comparisons=1):
    """(the mean gain, half of its interval, how many seeds it is from)."""
    pair = apart(rung, below, budget)
    half = NOISE[budget].half(1 / len(pair), 1 - 0.05 / comparisons)
    return pair.mean(), half, len(pair)


def in_words(rung, below, budget):
    value, half, n = gain(rung, below, budget)
    _, wider, _ = gain(rung, below, budget, comparisons=len(STEPS[budget]))
    stars = "*" * (int(abs(value) > half) + int(abs(value) > wider))
    return f"{value:+5.1f} ± {half:3.1f} {stars:2} n = {n}"


names = {rung: name for rung, (name, _) in TRUNK.items()} | ALONE | FAST
for budget, steps in STEPS.items():
    print(f"{budget:24}% right  gain")
    for rung, below in steps.items():
        over = "" if below == BELOW[rung] else f"  on {names[below]}"
        said = in_words(rung, below, budget)
        print(f"  {names[rung]:22} {mean(rung, budget):5.1f}  {said}{over}")

# %% [markdown]
# **A larger model and fixed positions gain at both budgets, with both stars.** (At the long budget rungs 1 and 3 to 5 were not run, nor were smoothing, MixUp, CutMix and half of the patches: there rungs 1 and 2 are weighed together, and rungs 3 to 6.) The training of chapter 7, rungs 3 to 6, gains 1.5 points at the short budget, where none of its four parts can be told from nothing by itself, and 2.5 at the long. Starting weights gain two points at the short budget, and less than noise at the long. The mean of the patches loses a point and a half at the short one, with one star, and not at the long. (And positions as such are no law: on MNIST, in chapter 7, two runs with the same exchange were a point below two without it.)
#
# **Crop and flip lose at the short budget**, by 2.4 points. In half an epoch no image comes twice, so there is nothing to be learned by heart, and the task has become harder. At the long budget they lose 0.9, which cannot be told from nothing. The two losses are only just apart: they differ by 1.6 ± 1.5. The digits went on to gain; for photographs, these two budgets are all we have.
#
# And **averaged weights** do nothing that can be seen, as in the small model above, where the rate fell to 0 along a cosine.

# %% tags=["hide-output"]
#| alt: Points gained on the rung below, with intervals, for eight rungs; blue discs for the short budget, vermilion squares for the long one, a line at 0. Each alone: smoothing just right of 0, RandAugment and MixUp just left of it, CutMix near -4. On top of each other: identity at first near -5, Muon near +14, half of the patches near -3, and the same with half as many steps again near +3.5. Of the long budget there are RandAugment, near 0, identity at first, near +1.5, and Muon, near +9.
_, ax = plt.subplots(figsize=(6.6, 3.2))
others = [*ALONE, *FAST]
for budget, marker, color, shift in (("short", "o", viz.KEY, 0.12), ("long", "s", viz.QUERY, -0.12)):  # fmt: skip
    rows = [row for row, rung in enumerate(others) if rung in STEPS[budget]]
    values, halves, _ = zip(
        *[gain(others[row], BELOW[others[row]], budget) for row in rows]
    )
    ax.errorbar(
        values, [-row + shift for row in rows], xerr=halves, fmt=marker, color=color, capsize=3, label=budget
    )  # fmt: skip
ax.axvline(0, color=viz.INK, linewidth=1)
ax.axhline(-3.5, color=viz.LINE)
ax.set_yticks(
    [-row for row in range(len(others))], [names[rung] for rung in others]
)
ax.set(xlabel="points gained on the rung below")
ax.legend()
plt.show()

# %% [markdown]
# **None of the four tried alone gains more than noise at the short budget**, and CutMix loses four points.
#
# **The three on top of each other are another matter.** Blocks that begin as the identity *lose* five points by themselves at the short budget. At the long one, with one seed, they stand 1.5 points ahead, with an interval of the same size. So here the budget seems to decide: the two differ by 6.6 ± 1.9. **Muon on top of them gains 14 points at the short budget**, twice what all rungs from 0 to 11 gain together, and with the loss before it nearly nine points on rung 11. At the long budget it gains nine, with one seed. (It was tried on such blocks only, and at one rate.) Half of the patches lose three points at equal steps; but such a run takes two thirds of the time. **Given half as many steps again, and still less time than with all patches, they gain three and a half.**
#
# Read it with five grains of salt.
#
# * **The order matters.** A gain is a gain *on top of what is below*.
# * **The budget matters.** And both budgets here are small ones: the long one takes minutes.
# * **Some rungs are a choice, not a law.** Their settings (how strong, how often) were not tuned one by one for these budgets.
# * **Equal steps are not equal time.** The lines below have the images a second, measured side by side; all comparisons are at equal steps, except those that say otherwise (*half as long again*, and the 20 epochs below). Even rung 1 is a matter of time: with as many parameters, two heads are seven tenths faster than eight.
# * **Two processors.** The short runs, and the long ones of identity and Muon, are from a Xeon; the other long ones are from an EPYC, where the course trains in bfloat16 by itself, and on that Xeon in float32. So whoever compares short with long, or those two long runs with the rest, compares the processors too.
#
# And remember what is *not* on the ladder: a convolution. Some of what a convolution assumes, the model at the top was told by other means: by positions, by a mean that treats all places alike, by images that are shifted.

# %% tags=["hide-output"]
speed = load_record("ladder")["speed"]["images_per_second"]
for rung in (
    "ground",
    "heads",
    "size",
    "ema",
    "zero",
    "muon",
    "patch_drop",
    "resnet",
):
    print(f"{names.get(rung, 'ResNet'):22} {speed[rung]:5} images a second")

# %% [markdown]
# ## ViT against ResNet
#
# What is left for suspect 1, then? Put a CNN beside it: a ResNet of the kind that was made for CIFAR ([He et al. 2016](https://arxiv.org/abs/1512.03385), section 4.2), of the same size. The comparison is worth something only if the rest is equal, and it usually is not. Here the ResNet is trained exactly as rung 11 was, with the same images, the same augmentation, the same optimiser and the same number of steps. (Its steps take longer, as the images a second show.) The recipe was put together for the ViT. If that is unfair to one of them, it is more likely to the ResNet.
#
# > **Predict.** Which is ahead at the short budget, in which no image comes twice: the one that knows more beforehand? And what is left of it at ten times as much?

# %% tags=["hide-output"]
settings = load_record("ladder")["settings"]
for budget in ("short", "long"):
    pair = [mean(rung, budget) for rung in ("ema", "resnet")]
    print(
        f"{budget:6} ViT {pair[0]:4.1f} %, ResNet {pair[1]:4.1f} %, ahead", end=" "
    )
    print(in_words("resnet", "ema", budget))

# %% [markdown]
# The one that knows more beforehand is ahead by 11 points at the short budget, and by 12 at the long: no sign that rung 11 catches up.
#
# Now look at the last three rungs again. At the short budget the ViT with Muon and half of the patches for half as many steps again is just ahead of the ResNet (+1.4 ± 1.1, three seeds), in half of its time, though it is shown half as many images more. At the long budget the ViT with Muon alone is level or a little behind (one seed). That is no fair comparison: nobody gave the ResNet an optimiser of that kind. But a gap that was put down to the architecture has closed without a convolution.
#
# And at four sizes of training set, one run each, with as many images of every class. Whatever the size, about 160,000 images are shown in all, so the images of a small set come back more often. (The long rungs were shown 225,000, and warmed up for a fifth of the run instead of a twentieth. The numbers here are lower, and not to be compared with the ladder's.) The whiskers take the scatter of the ladder's long runs; that it is the same here is an assumption.
#
# > **Predict.** Draw two curves: per cent right against the number of training images, from 1250 to 40,000. Which is higher on the left? Which is steeper? Do they cross?

# %% tags=["hide-output"]
#| alt: Per cent right on the test set against the number of training images, 1250 to 40,000 on a logarithmic axis, one line for a ViT and one for a ResNet, with whiskers. Both rise from 1250 to 5000 images, about equally steeply, and are flat from 20,000 on. The ResNet is above the ViT everywhere, by more than the whiskers.
runs_of = [[*reached(rung, "long").values()] for rung in settings]
one_run = pooled_scatter([runs for runs in runs_of if runs])


def ahead(factors, records):
    """The sum of the records' means, each times its factor, with half of its interval."""
    value = sum(f * shares(r).mean() for f, r in zip(factors, records))
    variance = sum(f**2 / len(r["runs"]) for f, r in zip(factors, records))
    return value, one_run.half(variance)


def interval(factors, records):
    value, half = ahead(factors, records)
    return f"{value:+.1f} ± {half:.1f} {'*' * int(abs(value) > half)}"


sizes = (1250, 5000, 20_000, 40_000)
kinds = {"ViT": ("vit", viz.KEY, "o-"), "ResNet": ("resnet", viz.QUERY, "s--")}
by_size = {
    name: [load_record(f"cifar10_{kind}_{size}") for size in sizes]
    for name, (kind, _, _) in kinds.items()
}
_, ax = plt.subplots(figsize=(6, 3.2))
for name, (_, color, style) in kinds.items():
    right, halves = zip(*[ahead([1], [record]) for record in by_size[name]])
    count = by_size[name][0]["runs"][0]["parameters"]
    ax.errorbar(
        sizes, right, halves, fmt=style, color=color, capsize=3,
        label=f"{name}, {count:,} parameters",
    )  # fmt: skip
ax.set_xscale("log")
ax.set_xticks(sizes, [f"{size:,}" for size in sizes])
ax.minorticks_off()
ax.set(xlabel="training images, CIFAR-10 (JPEG copy)", ylabel="% right on test")
ax.legend()
plt.show()

print("                     % right   the ResNet is    training loss")
print("images  epochs    ViT  ResNet   ahead by          ViT  ResNet")
for size, *pair in zip(sizes, *by_size.values()):
    (epochs,) = {record["settings"]["train"]["epochs"] for record in pair}
    vit, cnn = (shares(record).mean() for record in pair)
    losses = [record["runs"][0]["curve"][-1]["train_loss"] for record in pair]
    print(
        f"{size:6,} {epochs:7}  {vit:5.1f}  {cnn:6.1f}  {interval([-1, 1], pair)}"
        f"   {losses[0]:5.2f}  {losses[1]:6.2f}"
    )
corners = [line[i] for line in by_size.values() for i in (0, -1)]
print("lead at 40,000 less that at 1250:", interval([1, -1, -1, 1], corners))

# %% [markdown]
# Here is what is left of suspect 1: the distance between the lines. It is our best estimate of what the assumptions of a convolution are worth, with these images, this size of model, this recipe and this budget. (With Muon the distance was another one, as you have just seen. And a ResNet differs from a ViT in other things too, its batch norms for one.)
#
# If you let them cross, you are in good company. They do not cross. The ResNet's line is the steeper one: its lead *grows*, from 10 points at 1250 images to 14 at 40,000, and the last line says that this is just more than noise. That is the reverse of the paper's Figure 4 (below), under a budget that does not grow with the images. The training loss tells why the lines have this shape:
#
# * **On the left the images are missing.** Both have learned the 1250 by heart, cropped and flipped as they were, with a training loss near 0, and what they miss on the test is hardly for want of steps.
# * **On the right the budget is missing.** From 20,000 images on, both lines are flat. A run sees about 160,000 images whatever the set is, and neither model is done with them: the loss is high, no image has come back more than eight times, and more images bring next to nothing. There the ResNet has *learned faster*: its training loss is the lower one.
#
# So "how many images does a ViT need?" has no answer without "and how long may it look at them?". Perhaps the ViT of this recipe would catch up if the budget grew with the images. No run of this chapter shows that it does.
#
# ### Further: recipe, budget, architecture
#
# Three things have been changed by now. Side by side:

# %% tags=["hide-output"]
longer = load_record("cifar10_report_d")
for what, before, after in (
    ("recipe and model: rung 0 to rung 11", "ground", "ema"),
    (
        "and Muon on blocks that begin as the identity",
        "ground",
        "muon",
    ),
    ("architecture: rung 11 to the ResNet", "ema", "resnet"),
):
    print(
        what,
        *(f"{b}: {in_words(after, before, b).strip()}" for b in NOISE),
        sep="\n    ",
    )
more = shares(longer).mean() - mean("ground", "long")
print(f"budget: rung 0, 20 epochs instead of 5 (one run)\n    {more:+5.1f}")

# %% [markdown]
# Four times the budget bring report D's tiny model, with nothing else changed but the precision (float32 there), to 64 % in one run, level with the best rungs of the trunk. And at both budgets the architecture weighs more than the trunk of our ladder, from rung 0 to rung 11. At equal steps, and without Muon, the ResNet is the better one (its steps take nearly twice as long).
#
# **What is built in works at once.** What has to be shown takes longer than five epochs with the recipe of rung 11; how long, and whether it then suffices, is another experiment.
#
# ### What the paper says, and what it does not
#
# The paper has this picture at another scale (its Figures 3 and 4). In Figure 4 models are trained on 9, 30, 90 and 300 million images of the data set JFT: the ResNets are better with fewer images and level off sooner, the ViTs are better with more. The introduction sums up that "large scale training trumps inductive bias".
#
# From this came the saying that **ViTs need 300 million images**. The paper does not say that, and later work has contradicted it, by changing the recipe rather than the model:
#
# * [Touvron et al. 2021](https://arxiv.org/abs/2012.12877) trained the same ViT-B on ImageNet's 1.3 million images alone to 81.8 %, at 224 pixels; the paper had 77.9 %, at 384. Mostly with what you have met in this chapter.
# * [Steiner et al. 2022](https://arxiv.org/abs/2106.10270) trained tens of thousands of ViTs, and found that augmentation and regularisation, with enough computing, can be worth as much as ten times the data.
# * On CIFAR-100, [somebody asked](https://github.com/hananshafi/vits-for-small-scale-datasets/issues/6) why a plain ViT gives 40.4 % when a publication says 73.81 % for a ViT of about that kind, from scratch on the same images. The authors answer that one should use the fine-tuning recipe from their code, and name augmentation, schedule and epochs.
#
# If they are right, thirty-three points are a matter of the recipe, on the same 50,000 images. So when you read that an architecture is better than another, look first at whether both got a recipe that was made for them, and a budget in which it can work.

# %% [markdown]
# ## Further: how far can it go?
#
# [How fast can a plain ViT learn CIFAR-10?](speedrun.md) has the course's plain ViTs with their cost, and what others say of theirs, up to 93.58 %. One command trains the cheapest recipe that reached a target, here 80 % of the validation images, in a good hour on one core:
#
# ```
# course speedrun cifar10 80
# ```
#
# **Meant for 91 % and more**, on a GPU: `course train cifar10_vit` trains 3.7 million parameters for 200 epochs, survives being interrupted, looks at the test set once, and writes a record with all settings, the seed and the curve. It was not run for this chapter; `course runs` says whether there is a recorded run of it. Change what you like, `course train cifar10_vit muon_lr=0.01 model.weight_init=zero epochs=100`, and put your run beside ours: the record is the proof.

# %% [markdown]
# ## The block, tested
#
# The library's `random_crop_flip`, `mixup` and `soft_cross_entropy` (in `course_lib.data` and `course_lib.train`) do what yours do. So does `ema_update`, which has news:

# %%
import inspect

print(inspect.getsource(train.ema_update))

# %% [markdown]
# `torch.lerp(a, b, w)` is $a + w\,(b - a)$, the mixture in one pass. `torch._foreach_lerp_` does it for a whole list of tensors at once, which on a GPU is one launch instead of a hundred.

# %% tags=["hide-input"]
# What the text says of numbers and no cell above has asserted.
from course_lib.recipes.runner import RECIPES
from course_lib.recipes.scratch import shortened
from course_lib.recipes.speedrun import quickest
from course_lib.train.optim import ema_decay

fastest = load_record(quickest("cifar10", 80).name)["runs"]
assert 60 < np.mean([run["cpu_seconds"] for run in fastest]) / 60 < 80
assert len(digits("train")) == 1200
assert 58 < shares(longer).mean() < 70
assert round(shares(longer).mean() - 56.41) == 7


def starred(budget, comparisons):
    """{rung: the sign of its gain}, of those whose interval leaves 0 out."""
    found = {}
    for rung, below in STEPS[budget].items():
        value, half, _ = gain(rung, below, budget, comparisons)
        if abs(value) > half:
            found[rung] = int(np.sign(value))
    return found


assert all(len(apart(*step, "short")) == 3 for step in STEPS["short"].items())
up, down = (
    ("size", "start", "positions"),
    ("crop_flip", "cutmix", "zero", "patch_drop"),
)
strict = (
    dict.fromkeys(up, 1)
    | dict.fromkeys(down, -1)
    | {"muon": 1, "patch_drop_time": 1}
)
assert starred("short", len(STEPS["short"])) == strict
assert starred("short", 1) == strict | {"mean": -1}
long_on = {r["rung"]: r["device"] for r in ladder if r["budget"] == "long"}
elsewhere = {rung for rung, on in long_on.items() if on != long_on["ema"]}
assert elsewhere == {"zero", "muon"}
trunk_long = {
    rung: sign
    for rung, sign in starred("long", len(STEPS["long"])).items()
    if rung in TRUNK
}
assert trunk_long == {"size": 1, "clip": 1, "positions": 1}
assert starred("long", 1).keys() - {"size", "clip", "positions"} == {"muon"}
assert {STEPS["long"]["size"], STEPS["long"]["clip"]} == {"ground", "size"}


def points(rung, below, budget):
    """A gain as the text has it, to a tenth."""
    return round(gain(rung, below, budget)[0], 1) + 0.0


assert [points("clip", "size", budget) for budget in STEPS] == [1.5, 2.5]
assert [points("crop_flip", "positions", budget) for budget in STEPS] == [
    -2.4,
    -0.9,
]
assert (
    round(points("start", "clip", "short")) == 2
    and abs(points("ema", "crop_flip", "short")) < 0.5
)
assert (
    round(points("cutmix", "ema", "short")) == -4
    and round(points("zero", "ema", "short")) == -5
)
assert (
    round(points("muon", "zero", "short"))
    == 14
    > points("ema", "ground", "short") + 5
)
assert 8.5 < points("muon", "ema", "short") < 9.2
assert points("patch_drop", "muon", "short") == -3.0
assert points("patch_drop_time", "muon", "short") == 3.5
assert [round(gain("zero", "ema", "long")[i], 1) for i in (0, 1)] == [1.5, 1.5]
assert (
    round(points("muon", "zero", "long")) == 9
    and gain("muon", "zero", "long")[2] == 1
)
value, half, n = gain("patch_drop_time", "resnet", "short")
assert (round(value, 1), round(half, 1), n) == (1.4, 1.1, 3)
assert (
    abs(gain("resnet", "muon", "long")[0] - gain("resnet", "muon", "long")[1]) < 0.2
)
assert [round(points("resnet", "ema", budget)) for budget in STEPS] == [11, 12]
assert all(
    points("resnet", "ema", budget) > points("ema", "ground", budget) + 3
    for budget in STEPS
)
seconds = {
    rung: np.mean([run["cpu_seconds"] for run in ladder if (run["rung"], run["budget"]) == (rung, "short")])
    for rung in ("muon", "patch_drop", "patch_drop_time", "resnet")
}  # fmt: skip
assert 0.4 < seconds["patch_drop_time"] / seconds["resnet"] < 0.6
assert 0.6 < seconds["patch_drop"] / seconds["muon"] < 0.7
assert seconds["patch_drop_time"] < seconds["muon"]


def between(budget, factors):
    """A sum of rungs, each times its factor, which add up to 0: (its mean over the seeds, half of its interval)."""
    kept = set.intersection(*[set(reached(rung, budget)) for rung in factors])
    sums = [
        sum(f * reached(rung, budget)[s] for rung, f in factors.items())
        for s in kept
    ]
    runs = sum(f**2 for f in factors.values()) / 2  # a paired difference has two
    return np.mean(sums), NOISE[budget].half(runs / len(kept))


for budget in STEPS:  # the architecture more than the trunk
    value, half = between(budget, {"resnet": 1, "ema": -2, "ground": 1})
    assert value > half
value, half = between("short", {"muon": 1, "zero": -1, "ema": -1, "ground": 1})
assert (
    value > half
    and 1.9
    < points("muon", "zero", "short") / points("ema", "ground", "short")
    < 2.2
)
for rung, apart_by in (
    ("crop_flip", (1.6, 1.5)),
    ("zero", (6.6, 1.9)),
):  # long against short
    (early, first), (late, second) = (
        gain(rung, BELOW[rung], budget)[:2] for budget in STEPS
    )
    assert (round(late - early, 1), round(np.hypot(first, second), 1)) == apart_by
assert 1.8 < speed["ema"] / speed["resnet"] < 2.6
reach = 1 / (1 - LADDER["ema"].train.ema)  # of the averaged weights, in steps
short, long, parts = (
    recipe.train.epochs * ((recipe.images or 45_000) // recipe.train.batch_size)
    for recipe in (shortened(LADDER["ema"]), LADDER["ema"], RECIPES["cifar10_vit_20000"])
)  # fmt: skip
assert (short, round(reach), round(long / reach), round(parts / reach)) == (
    351,
    500,
    7,
    5,
)
assert (
    ema_decay(0.998, 200, short) == 201 / 210
    and ema_decay(0.998, 200, parts) == 0.998
)
assert (
    abs(gain("smoothing", "ema", "short")[0]) < gain("smoothing", "ema", "short")[1]
)
top = max(mean(rung, "long") for rung in TRUNK if rung in STEPS["long"])
assert abs(shares(longer).mean() - top) < 1.5 and round(shares(longer).mean()) == 64
assert longer["settings"]["train"]["precision"] == "float32"
learned, fixed = (
    np.mean([run["val_accuracy"] for run in load_record(f"mnist_ablation_{name}")["runs"]])
    for name in ("base", "pos_sincos2d")
)  # fmt: skip
assert -0.015 < fixed - learned < -0.005
lines = np.array([[shares(r).mean() for r in line] for line in by_size.values()])
losses = np.array(
    [[r["runs"][0]["curve"][-1]["train_loss"] for r in line] for line in by_size.values()]
)  # fmt: skip
pair = [line[0] for line in by_size.values()]
assert (lines[1] - lines[0]).min() > 1.3 * ahead([-1, 1], pair)[1]
assert [round(lead) for lead in (lines[1] - lines[0])[[0, -1]]] == [10, 14]
value, half = ahead([1, -1, -1, 1], corners)
assert half < value < 1.5 * half
assert abs(lines[:, 3] - lines[:, 2]).max() < 1 and lines[0, 3] + 3 < mean(
    "ema", "long"
)
assert lines[1, 3] - lines[0, 3] > lines[1, 0] - lines[0, 0]
assert (losses[1] < 0.8 * losses[0]).all()
assert losses[:, 0].max() < 0.15 and losses[:, 2:].min() > 0.6
streams = []  # what a block adds to the stream, before any training
for rung, low, high in (("clip", 0.01, 0.02), ("start", 0.32, 0.67)):
    for seed in range(3):
        set_seed(seed, "weights")
        vit = VisionTransformer(LADDER[rung].model).eval()
        vit.blocks.register_forward_pre_hook(lambda _, x: streams.append(x[0]))
        with torch.no_grad():
            vit(4 * pairs - 2)
            for block in vit.blocks:
                streams.append(block(streams[-1]))
                added = (streams[-1] - streams[-2]).std() / streams[-2].std()
                assert low < added < high
assert (32 // 4) ** 4 == 256 * (32 // 16) ** 4
assert settings["resnet"]["train"] == settings["ema"]["train"]
never_long = {"heads", "rate", "warmup", "decay", "smoothing", "mixup", "cutmix"}
never_long |= {"patch_drop", "patch_drop_time"}
assert STEPS["short"].keys() - STEPS["long"].keys() == never_long
assert len(STEPS["short"]) == 19
wide, narrow = LADDER["size"].model, LADDER["heads"].model
assert wide.embed_dim == 2 * narrow.embed_dim
assert wide.embed_dim * wide.mlp_ratio == narrow.embed_dim * narrow.mlp_ratio == 128
by_budget = {(r["budget"], r["rung"]): "Xeon" in r["device"] for r in ladder}
assert all(on == (budget == "short" or rung in elsewhere) for (budget, rung), on in by_budget.items())  # fmt: skip
assert all("EPYC" in long_on[rung] for rung in long_on.keys() - elsewhere)
assert 1.6 < speed["heads"] / speed["ground"] < 1.8
assert (
    f"{named.float().mean():.0%}" == "55%"
    and round(entropy.mean().item(), 1) == 0.4
)
apart_by = {}
for name, rates in schedules.items():
    w, average = (path.norm(dim=-1).mean(dim=1) for path in walk(rates))
    apart_by[name] = [(w[i] / average[i]).item() for i in (499, -1)]
assert all(2.5 < times < 3.5 for times in apart_by["the same throughout"])
assert 1.7 < apart_by["down along a cosine"][0] < 2.4
assert apart_by["down along a cosine"][1] < 1.3
in_short = [run for run in ladder if run["budget"] == "short"]
assert min(run["cpu_seconds"] for run in in_short) > 25
assert max(run["cpu_seconds"] for run in in_short) < 130
size_of = {run["rung"]: run["parameters"] for run in in_short}
assert 3.5 < size_of["size"] / size_of["heads"] < 4
assert 0.95 < size_of["resnet"] / size_of["ema"] < 1.05
assert abs(0.02 * 64**0.5 - 1 / 6) < 0.01
with torch.device("meta"):
    big = VisionTransformer(RECIPES["cifar10_vit"].model)
assert round(sum(p.numel() for p in big.parameters()) / 1e6, 1) == 3.7
assert RECIPES["cifar10_vit"].train.epochs == 200
for record in (r for line in by_size.values() for r in line):
    settings_of = record["settings"]["train"]
    images = record["settings"]["images"] or 45_000
    shown = settings_of["epochs"] * (images // settings_of["batch_size"]) * settings_of["batch_size"]  # fmt: skip
    assert 155_000 < shown <= 160_000

# %% [markdown]
# ## Further: four to think about
#
# No code, a pencil.
#
# 1. A ViT without positions classifies by the mean of its tokens. What can it, in principle, not tell apart, and can a CNN that ends in a mean over all places? (Careful with the second part.)
# 2. Label smoothing and MixUp both make targets soft. Which of the two tells the model something about *this* image?
# 3. Somebody crops and flips each image once, stores the result, and trains for 100 epochs on the stored images. What have they gained?
# 4. CutMix takes the partner's share from the area of the rectangle. When is that plainly wrong, and why can it pay in a long run all the same?
#
# <details>
# <summary>Answers</summary>
#
# 1. Two images with the same patches in another arrangement: it sees the bag of patches and nothing else. A CNN can tell those apart, although its last step is a mean as well, since its maps have looked across the borders of the patches before the mean is taken. What it cannot tell (in a ring, and up to the steps of its halvings) is *where* the whole thing stands.
# 2. MixUp. Its shares are of the two images that are really in the picture. The smoothed share is the same for every image, and says only that nothing is certain.
# 3. Nearly nothing: still 45,000 images, each merely altered once, and all seen 100 times. The gain is in drawing anew each time. (The same happens by accident when a list of batches is kept for the next epoch: chapter 7.)
# 4. When the rectangle covers the animal and leaves the grass: the target still says mostly cat. It is right on average; and where images come back often enough to be learned by heart, a target that is wrong at times may do less harm than that. (Where none comes back, on the short ladder, it lost four points.) Some variants weigh the area by where attention looks.
#
# </details>

# %% [markdown]
# ## Check yourself
#
# Choose before you look: each answer comes with its reason, the wrong ones too. Five questions, about five minutes.
#
# **1.** What does a convolution assume that a ViT has to be shown?
#
# * **A.** That a mirrored image shows the same.
# * **B.** That near pixels matter, and all places are alike.
# * **C.** That the object is in the middle.
#
# <details class="course-quiz">
# <summary>Answer to 1</summary>
#
# * **A, wrong.** A convolution of the mirrored image is not the mirror image of its result. Flips are news to a CNN,
#   too.
# * **B, right.** Locality and sharing: nine numbers in place of 1296. A ViT can learn both, from examples.
# * **C, wrong.** On the contrary: a convolution treats every place alike.
#
# </details>
#
# **2.** MixUp in every batch, ten classes. Training accuracy is 55 %, validation 80 %. What is wrong?
#
# * **A.** The model underfits: it cannot even learn its training images.
# * **B.** Validation images have leaked into training.
# * **C.** Nothing need be.
#
# <details class="course-quiz">
# <summary>Answer to 2</summary>
#
# * **A, wrong.** It is asked about mixtures. In half of them the other image is the larger part.
# * **B, wrong.** Nothing points to that. The two numbers answer different questions.
# * **C, right.** A *perfect* model gets about 55 % under mixing. Compare on validation, where images are whole.
#
# </details>
#
# **3.** Label smoothing takes a tenth away, ten classes; the training loss stops at 0.50. What now?
#
# * **A.** It cannot get lower.
# * **B.** Train on: a loss goes to 0 if it is given time.
# * **C.** Lower the learning rate, for the steps are too long.
#
# <details class="course-quiz">
# <summary>Answer to 3</summary>
#
# * **A, right.** That is the entropy of the targets, 0.91 once and 0.01 nine times. The model has reached them.
# * **B, wrong.** With hard targets it does. With soft ones nobody gets below their entropy.
# * **C, wrong.** Not for this reason: 0.50 is the lowest there is.
#
# </details>
#
# **4.** Three epochs of 350 steps, with an average of the weights at $\beta = 0.9999$. The average validates near
# chance, the weights do well. Why?
#
# * **A.** It has to be trained as well.
# * **B.** It still is mostly the random start.
# * **C.** Averaged weights only work without AdamW.
#
# <details class="course-quiz">
# <summary>Answer to 4</summary>
#
# * **A, wrong.** It is never trained. It follows.
# * **B, right.** $0.9999^{1050}$ is nine tenths. Let it reach back over at most a fifth of the run.
# * **C, wrong.** The optimiser does not matter here; how far the average reaches back does.
#
# </details>
#
# **5.** On the short ladder, crop and flip *lose* 2.4 points. So augmentation hurts a ViT?
#
# * **A.** Yes, that is what was measured.
# * **B.** No, the measurement must be wrong: augmentation helps.
# * **C.** On this budget and on these rungs, yes.
#
# <details class="course-quiz">
# <summary>Answer to 5</summary>
#
# * **A, wrong.** It was measured on one budget. On the long one the loss could not be told from nothing.
# * **B, wrong.** "Helps" is half a sentence. With the digits it lost after 8 epochs and gained after 128.
# * **C, right.** Half an epoch shows no image twice, so nothing can be learned by heart, and the task has become
#   harder.
#
# </details>

# %% [markdown]
# ## What you take with you
#
# * **Inductive bias** is what a model assumes before it sees data. A convolution assumes two things, that near matters and that all places are alike: nine numbers instead of 1296.
# * A ViT assumes less. What it does not assume, it must be **shown**: augmentation is a prior that is written into the data.
# * Soft targets have a **lowest loss above 0**. With ten classes and mixing in every batch, the training accuracy of a perfect model is 55 %. Compare on images apart, never on the mixed ones.
# * Average the weights, over **a small part of the run**.
# * A gain is a gain **on a budget, on top of the rungs below**. Without seeds and an interval it is an anecdote.
# * "ViTs need 300 million images" is not what the paper says. But **what is built in works at once**: at both budgets a ResNet of the same size was worth more than the trunk of the ladder.
# * **How a step is made** can weigh more than what it is made on: at the short budget Muon gained twice what eleven rungs did.
#
# The picture to keep: **the ladder**, up with a larger model, fitting starting weights and fixed positions, down with crop and flip; and beside it, at the short budget higher than all of them together, Muon.
#
# ### To read
#
# * [Dosovitskiy et al. 2021](https://arxiv.org/abs/2010.11929), sections 3.1 and 4.3, with Figures 3 and 4.
# * [Steiner et al. 2022, *How to train your ViT?*](https://arxiv.org/abs/2106.10270): what is worth what, measured at scale.
# * [Beyer et al. 2022, *Better plain ViT baselines for ImageNet-1k*](https://arxiv.org/abs/2205.01580): two pages, fixed positions, mean pooling, RandAugment and MixUp, and a plain ViT does well.
#
# Next, chapter 9: somebody has trained on millions of images already. Take their weights.
