# %% [markdown]
# # Is A better than B?
#
# | Goal | Before you start | Time | Runs on |
# |:--|:--|:--|:--|
# | Say whether a difference between two models is more than noise, and compare a ViT with a ResNet fairly | Chapters 1 to 9 | 65 minutes, without exercise 10.2 | any CPU; exercise 10.2 wants a GPU |
#
# Two models have been fine-tuned, and one of them is ahead. By how much would it have to be, before you may say that it is the better one? And better at what: with these images, this recipe, this budget?
#
# You take three students' comparison of ViT-B/16 and ResNet-152 apart, and write the one formula that it lacks. Then you look at a small comparison that was made to be fair, and at the paper's large one. In the end you can run one yourself.

# %% tags=["setup"]
from itertools import combinations, permutations

import matplotlib.pyplot as plt
import numpy as np
import torch

from course_lib import finetune, viz
from course_lib.checks import my_pieces
from course_lib.finetune import head_alone, set_trainable
from course_lib.lora import add_lora
from course_lib.models import create_resnet
from course_lib.recipes import find_recipe
from course_lib.records import load_record
from course_lib.statistics import (
    Scatter,
    mcnemar,
    paired_runs,
    pooled_scatter,
    share_interval,
)
from course_lib.train import count_parameters
from course_lib.train.device import training_memory
from course_lib.vit import VIT_CONFIGS, VisionTransformer

viz.set_style()
torch.set_num_threads(1)  # the models here are tiny: more threads only wait

# %% [markdown]
# ## A fair comparison
#
# Report A fine-tuned ViT-B/16 and ResNet-152 on four data sets. Per cent right:
#
# | | CIFAR-10 | CIFAR-100 | Flowers-102 | Pets |
# |:--|--:|--:|--:|--:|
# | ViT-B/16 | 97.97 | 87.41 | 89.12 | 93.65 |
# | ResNet-152 | 96.67 | 82.67 | 89.02 | 93.24 |
# | the ViT is ahead by | 1.30 | 4.74 | 0.10 | 0.41 |
#
# Four times out of four. Is a ViT the better model, then? Before you answer, how many *images* is that?
#
# > **Predict.** The test sets have 10,000, 10,000, 6149 and 3669 images. For each of the four: how many images make the difference? Is it more than chance?

# %% tags=["hide-output"]
report_a = {
    "CIFAR-10": (0.9797, 0.9667, 10_000),
    "CIFAR-100": (0.8741, 0.8267, 10_000),
    "Flowers-102": (0.8912, 0.8902, 6149),
    "Pets": (0.9365, 0.9324, 3669),
}


def half_of_share(share, n):
    """Half of the 95 % interval of a share that was counted on n images."""
    low, high = share_interval(round(share * n), n)
    return (high - low) / 2


print("             ahead by, 95 % interval    images   wrong on")
apart = {}
for name, (vit, resnet, n) in report_a.items():
    ahead, wrong = vit - resnet, (2 - vit - resnet) * n  # wrong: of both together
    half = np.hypot(half_of_share(vit, n), half_of_share(resnet, n))
    apart[name] = ahead, half, round(ahead * n), wrong
    points = f"{100 * ahead:4.2f} ± {100 * half:.2f} points"
    verdict = "within noise" if ahead < half else "more than noise"
    print(f"{name:12} {points} {ahead * n:14.0f} {wrong:10.0f}   {verdict}")

# %% tags=["hide-input"]
assert round(apart["Flowers-102"][1] / apart["Flowers-102"][0]) == 11
assert 2.5 < apart["Pets"][1] / apart["Pets"][0] < 3

with torch.device("meta"):
    pair = (
        VisionTransformer(VIT_CONFIGS["vit_base_patch16_224"]),
        create_resnet("resnet152"),
    )
assert [count_parameters(model) for model in pair] == [86_567_656, 60_192_808]  # fmt: skip

# %% [markdown]
# The number after ± is half of a 95 % *confidence interval*: the noise of two shares (chapter 7), as if the two models had been tested on different images. For Flowers it is eleven times the difference, for Pets nearly three times.
#
# ### On the same images
#
# They were tested on the *same* images, and that helps. Write 1 for an image on which only the first model is right, $-1$ for one on which only the second is, and 0 for all others. What both get right, or both get wrong, drops out. The mean of these $n$ numbers is what the first is ahead by, and a mean of $n$ numbers scatters by their standard deviation $s$ over $\sqrt n$. So with $b$ images on which the first alone is right, and $c$ on which the second is:
#
# $$\text{ahead} = \frac{b - c}{n}, \qquad \text{half} = 1.96\,\frac{s}{\sqrt n}, \qquad s^2 = \frac{b + c}{n} - \text{ahead}^2$$
#
# This is a *paired* comparison.

# %% [markdown]
# ### Exercise 10.1 · `paired_difference`
#
# *Medium, 12 minutes.* Write it.
#
# * `first` and `second` are tensors of bools, `(n,)` with $n$ of 300 or more: whether each of two models is right on the same $n$ images, in the same order.
# * Return four plain numbers: `only_first` and `only_second`, the images on which one alone is right (two ints), then `ahead` and `half` (two floats). `ahead` is above 0 where the first is better.
# * `ahead` and `half` are shares: 0.01 is one point.
# * `half` is looked at to one per cent. So $s$ may divide by $n$ or by $n - 1$, as `std` does, and you may take Student's $t$ in place of 1.96. But 2 is too far off.
#
# For 15 images against 5, of 1000, the result is `(15, 5, 0.01, 0.0087)`, rounded.


# %% tags=["exercise"]
def paired_difference(first, second):
    """Whether two models are right on the same images, (n,) and (n,) -> (only_first, only_second, ahead, half)."""
    # BEGIN SOLUTION
    apart = first.double() - second.double()  # (n,): 1, 0 or -1
    only_first, only_second = (apart > 0).sum().item(), (apart < 0).sum().item()
    half = 1.96 * apart.std().item() / len(apart) ** 0.5
    return only_first, only_second, apart.mean().item(), half
    # END SOLUTION


# %% tags=["check"]
from course_lib.checks import check_paired_difference

check_paired_difference(paired_difference)

# %% [markdown] tags=["help"]
# <details>
# <summary>Hint</summary>
#
# Either count: `first & ~second` is true where the first alone is right, and `.sum().item()` makes a number of it; the rest is the formulas. Or make the differences, which wants numbers in place of bools, and take `.mean()` and `.std()` of them.
#
# </details>
#
# <details>
# <summary>I get "Subtraction, the `-` operator, with two bool tensors is not supported"</summary>
#
# A bool is no number to PyTorch. `first.double()` has 1 for True and 0 for False.
#
# </details>
#
# <details>
# <summary>I get "only support floating point and complex dtypes", or "could not infer output dtype"</summary>
#
# `mean` and `std` want floats, and `.int()` makes whole numbers: take `.double()`.
#
# </details>

# %% [markdown]
# ### Two seeds of one model
#
# Now use it. A published ViT-S/14 was frozen, and a head for the cats and dogs of CIFAR-10 (JPEG copy) trained on its features, three times. Each seed drew other 4000 examples. All three were tested on the same 2000 images, and every answer was kept. (`benchmarks/published_body.py`; such a head on a frozen body is also called a *linear probe*, and the body a *backbone*.)
#
# > **Predict.** The three heads have 1573, 1591 and 1603 images right, so two of them are 30 images apart at most. On how many of the 2000 is one of two right and the other wrong?

# %% tags=["nbval-ignore-output"]
(own_difference,) = my_pieces("paired_difference")

# %% tags=["hide-output"]
runs = load_record("published_body")["cells"]["head"]["runs"]
heads = [torch.tensor([hit == "1" for hit in run["right"]]) for run in runs]
print("seeds   right alone    later one ahead    if unpaired      p")
among_seeds = {}
for i, j in combinations(range(3), 2):
    b, c, ahead, half = own_difference(heads[j], heads[i])
    p = mcnemar(b, c)
    shares = [heads[k].double().mean().item() for k in (i, j)]
    unpaired = np.hypot(*(half_of_share(share, 2000) for share in shares))
    among_seeds[i, j] = b + c, ahead, half, unpaired, p
    points = f"{100 * ahead:.1f} ± {100 * half:.1f} points"
    print(f"{i}, {j}    {c:5} : {b:3} {points:>20} {100 * unpaired:9.1f} {p:11.2f}")

# %% tags=["hide-input", "hide-output"]
assert [head.sum().item() for head in heads] == [1573, 1591, 1603]

# %% tags=["hide-input"]
wrong = [(~head).sum().item() for head in heads]
shares = [m / (wrong[i] + wrong[j]) for (i, j), (m, *_) in among_seeds.items()]
assert all(0.19 < share < 0.25 for share in shares)
assert all(
    0.45 < half / unpaired < 0.57
    for _, _, half, unpaired, _ in among_seeds.values()
)
clear_pairs = [
    pair for pair, (_, ahead, half, _, _) in among_seeds.items() if ahead > half
]
assert sorted(m for m, *_ in among_seeds.values())[::2] == [164, 202]
assert clear_pairs == [(0, 2)] and 0.05 / 3 < among_seeds[0, 2][-1] < 0.05

# %% [markdown]
# They disagree on 164 to 202 images, a fifth to a quarter of all mistakes of both. Paired, the interval is about half as wide. The column $p$ says how often a coin falls so unevenly, or more so (*McNemar's test*). It is exact where the interval is not: when they disagree on a handful of images.
#
# And one pair is **clear**: the interval of seeds 0 and 2 leaves 0 out. Yet both are one recipe. Nothing is wrong with that. The interval holds the noise of the test images, and no other. It speaks of these two heads: on more such images, that of seed 2 would probably stay ahead. That seed 2 is the better *recipe*, nobody would say.
#
# The noise of training comes on top: another seed, other examples, another order. And there were three comparisons. The more you make, the more of them are clear by chance alone: one in twenty, where there is nothing (*multiple comparisons*). Whoever makes three and wants to be wrong in one case of twenty at most, over all of them, asks each for $p$ below $0.05 / 3$ (*Bonferroni*). Then this one is not clear any more.
#
# The course's own function takes lists too, any score in place of bools, and Student's $t$. Compare it with yours.

# %% tags=["hide-output"]
import inspect

from course_lib.statistics import paired_difference as courses_own

print(inspect.getsource(courses_own))

# %% [markdown]
# ### What report A could have said
#
# It kept no answers. How many disagreements may there be, at most, for its differences to count? If two models are equally good and disagree on $m$ images, only a coin decides each of these, and the difference scatters by $\sqrt m$ images. So $d$ images are more than noise only if $m$ is below $(d / 1.96)^2$.


# %% tags=["hide-output"]
def most_disagreements(d):
    """On how many images two models may disagree, for d to be more than noise."""
    return (d / 1.96) ** 2


for name, (_, _, d, wrong) in apart.items():
    most = most_disagreements(d)
    may = "any number" if most > wrong else f"at most {int(most)}"
    print(f"{name:12} {d:4} ahead   may disagree on {may}")
enough = [most_disagreements(d) > wrong for _, _, d, wrong in apart.values()]
assert enough == [True, True, False, False]
assert most_disagreements(apart["Pets"][2]) / apart["Pets"][3] < 1 / 8

# %% [markdown]
# On the CIFARs the bound is above all mistakes of both together, so there the difference is more than the noise of the images, however often they disagree. For Pets the two would have to disagree on fewer than 60 images, an eighth of their mistakes, and for Flowers on fewer than 10. Two seeds of one head, on another task, disagreed on about a fifth of theirs, or more.
#
# ### The checklist
#
# | what a fair comparison needs | report A |
# |:--|:--|
# | images normalised as the weights want them | not normalised with ImageNet's mean and deviation, which torchvision's weights want |
# | choices made on a validation split, the test looked at once | the best epoch was chosen on the test set |
# | the same number of images seen, or of hours, for both | batches of 64 and 512, and 13 and 7 epochs |
# | the same parts trained, or each way tried for both | different parts were unfrozen |
# | as many tries for the learning rate for both | not known |
# | several seeds, and an interval | one seed |
# | the same data before fine-tuning, the same image size | the ViT from ImageNet-1k; the ResNet: not known |
# | what is left over, named: parameters, cost | 87 million parameters and 60 million, with a thousand classes each |
#
# You have seen in chapter 9 what the first line can cost. (Fine-tuning may repair some of it, and not necessarily as much for both.) In whose favour the others work, nobody can say. That is the trouble with an unfair comparison: not that its result is wrong, but that one does not know.
#
# None of this belittles the report. Two of its four results stand well outside the noise of the test images, and may well be right: about *two recipes*, and not yet about two architectures.

# %% [markdown]
# ## The small twin
#
# Here is a comparison at a size that a CPU can do. A ViT and a ResNet of equal size (204,616 and 208,790 parameters) are trained with one recipe on the eight classes of CIFAR-10 (JPEG copy) that are neither cat nor dog. The ResNet's body comes out the better one, as in chapter 8. Then both learn **cats against dogs**, from 100, 1000 and 4000 examples, in several ways. Each run sees 16,000 images in all; with few examples, each comes back more often. Each way's learning rate is chosen by the validation split, from the same rates for both models. Three are tried; if the best is at the edge, the next one beyond it, and so on. Then come three seeds, which draw other examples too. The test split (2000 images) is looked at once for each run. (`benchmarks/twin.py`)
#
# It does not pass every line of the checklist:
#
# * *seeds*: there is one trained body of each kind. How much another would change, the seeds do not say;
# * *cost*: in the same images the ResNet takes 1045 seconds against 598 for the body, and 0.82 minutes against 0.46 for fine-tuning everything;
# * *tries*: the rule is the same, their number is not: over the three sizes the ViT's *everything* had 13, the ResNet's 9;
# * *augmentation*: the head learns on kept features, so its images are not augmented. Those of the other ways are.
#
# Two classes of equal size: chance is 50 %. The intervals hold two kinds of noise, and their squares add up. *Seeds*: three runs are too few to see how far runs scatter, so the scatter is taken from all runs with as many examples, over ways and models, with a factor from Student's $t$, which allows for how few they are. *Test images*: all runs share the same 2000, so the seeds do not show this noise. This record keeps no answers image by image. So the noise of the images is taken as for report A at first, as if they were different ones. You have seen above what that can cost.
#
# > **Predict.** Three questions, before you look.
# > 1. How many examples is pre-training worth: where does the model from random numbers catch up with the other, if it does?
# > 2. Where is training the head alone better than training everything, and where does it fall behind?
# > 3. ViT or ResNet: who wins with 100 examples, and who with 4000?


# %% tags=["hide-input", "hide-output"]
SIZES = (100, 1000, 4000)
KINDS = {"vit": "ViT", "resnet": "ResNet"}
WAYS = {
    "scratch": ("from random numbers", viz.MUTED, "x:"),
    "head": ("head", viz.KEY, "o-"),
    "attention": ("attention and head", viz.OUTPUT, "^-"),
    "lora": ("LoRA and head", viz.VALUE, "v-"),
    "all": ("everything", viz.QUERY, "s-"),
}
twin = load_record("twin")
cells = {(c["model"], c["way"], c["examples"]): c for c in twin["cells"]}
recorded = [("vit", way) for way in WAYS]
recorded += [("resnet", way) for way in ("scratch", "head", "all")]
vit, resnet = (twin["bodies"][kind] for kind in KINDS)
assert (vit["parameters"], resnet["parameters"]) == (204616, 208790)
assert round(100 * vit["test_accuracy"]) == 76
assert round(100 * resnet["test_accuracy"]) == 86
assert (vit["cpu_seconds"], round(resnet["cpu_seconds"])) == (597.5, 1045)
assert 1.7 < resnet["cpu_seconds"] / vit["cpu_seconds"] < 1.8


def values(cell, what="accuracy"):
    """One number for each seed; shares in per cent."""
    scale = 1 if what == "cpu_seconds" else 100
    return scale * np.array([run[what] for run in cell["runs"]])


# how far one run scatters, from all cells with so many examples
scatter = {
    size: pooled_scatter(
        [values(c) for c in cells.values() if c["examples"] == size]
    )
    for size in SIZES
}


def half_width(cell):
    """Half of the 95 % interval about a cell's mean: seeds, and the 2000 test images."""
    seeds = scatter[cell["examples"]].half(1 / len(cell["runs"]))
    images = 100 * half_of_share(values(cell).mean() / 100, 2000)
    return np.hypot(seeds, images)


def print_table(first, lines):
    """Lines of (name, a text for each number of examples)."""
    for name, texts in ((first, [f"{size:,}" for size in SIZES]), *lines):
        print(f"{name:33}" + "".join(f"{text:>15}" for text in texts))


for kind, name in KINDS.items():
    found = values(cells[kind, "untrained head", 0])
    print(f"{name:6} untrained heads:", *(f"{v:.1f}" for v in found))
    assert found.min() > 43 and found.max() < 55
lines = []
for kind, way in recorded:
    row = [cells[kind, way, size] for size in SIZES]
    texts = [f"{values(cell).mean():.1f} ± {half_width(cell):.1f}" for cell in row]
    lines.append((f"{KINDS[kind]}, {WAYS[way][0]}", texts))
print_table("% right          examples:", lines)


# %% tags=["hide-input", "hide-output"]
#| alt: Two panels, ViT and ResNet: per cent of cats and dogs right on the test split against the number of examples, 100 to 4000 on a logarithmic axis, with whiskers for 95 % intervals of two to three points each way. ViT: from random numbers (grey, dotted) it is flat at about 55. Head, LoRA, attention and everything begin together at about 62; the head ends at 66, the other three together at 71 to 72. ResNet: from random numbers it rises from 59 to 65, the head from 64 to 70, everything from 69 to 80. A dashed line at 50 marks chance.
figure, axes = plt.subplots(1, 2, figsize=(7.6, 4.0), sharey=True)
for ax, kind in zip(axes, KINDS):
    ways = [way for model, way in recorded if model == kind]
    for number, way in enumerate(ways):
        name, color, style = WAYS[way]
        row = [cells[kind, way, size] for size in SIZES]
        ax.errorbar(
            np.array(SIZES) * 1.1 ** (number - 2),  # side by side, not on top of each other
            [values(cell).mean() for cell in row],
            [half_width(cell) for cell in row],
            fmt=style,
            color=color,
            capsize=2,
            label=name,
        )  # fmt: skip
    ax.axhline(50, color=viz.INK, linestyle="--", linewidth=1)
    ax.set_xscale("log")
    ax.set_xticks(SIZES, [f"{size:,}" for size in SIZES])
    ax.minorticks_off()
    ax.set(title=KINDS[kind], xlabel="examples of cats and dogs")
axes[0].set_ylabel("% right on test")
figure.legend(
    *axes[0].get_legend_handles_labels(),
    loc="outside lower center",
    ncols=3,
    fontsize=9,
)
plt.show()


# %% tags=["hide-input", "hide-output"]
def difference(one, other):
    """(points that the first cell is ahead, half of the 95 % interval), paired if it can be."""
    one, other = cells[one], cells[other]
    runs = [*one["runs"], *other["runs"]]
    if not all("right" in run for run in runs):
        ahead = values(one).mean() - values(other).mean()
        return ahead, np.hypot(half_width(one), half_width(other))
    right = 100 * np.array([[hit == "1" for hit in run["right"]] for run in runs])
    noise = [scatter[cell["examples"]] for cell in (one, other)]
    seeds = Scatter(
        np.hypot(*(part.deviation for part in noise)),
        min(part.freedom for part in noise),
    )
    found = paired_runs(*np.split(right, 2), seeds)
    return found.ahead, found.half


def clear(one, other):
    """Is the first ahead by more than noise?"""
    ahead, half = difference(one, other)
    return ahead > half


def last_loss(cell):
    """The training loss of the last epoch, the mean over seeds."""
    return np.mean([run["curve"][-1]["train_loss"] for run in cell["runs"]])


pairs = {}
for kind, name in KINDS.items():
    pairs[f"{name}: what pre-training buys"] = (kind, "all"), (kind, "scratch")
    pairs[f"{name}: everything over the head"] = (kind, "all"), (kind, "head")
for way in ("scratch", "head", "all"):
    pairs[f"ViT ahead, {WAYS[way][0]}"] = ("vit", way), ("resnet", way)
lines = []
for name, (one, other) in pairs.items():
    gaps = [difference((*one, size), (*other, size)) for size in SIZES]
    lines.append((name, [f"{ahead:+.1f} ± {half:.1f}" for ahead, half in gaps]))
print_table("points           examples:", lines)
assert sum(len(texts) for _, texts in lines) == 21
ahead, half = difference(("resnet", "all", 100), ("resnet", "scratch", 4000))
print(
    f"ResNet, everything at 100 over random at 4,000: {ahead:+.1f} ± {half:.1f}\n"
)

lines, rates = [], {}
for kind, way in recorded:
    row = [cells[kind, way, size] for size in SIZES]
    rates[kind, way] = np.array([cell["rate"] for cell in row])
    texts = [f"{cell['rate']:g}, {last_loss(cell):.3f}" for cell in row]
    lines.append((f"{KINDS[kind]}, {WAYS[way][0]}", texts))
print_table("rate, training loss     examples:", lines)

assert -half < ahead < half
for size in SIZES:
    for kind in KINDS:
        assert clear((kind, "all", size), (kind, "scratch", size))
        assert not clear((kind, "head", size), (kind, "all", size))
        assert clear((kind, "all", size), (kind, "head", size)) == (
            kind == "resnet" or size == 4000
        )
    assert clear(("resnet", "all", size), ("vit", "all", size))
    assert not clear(("resnet", "head", size), ("vit", "head", size))
    moved = [("vit", way, size) for way in ("attention", "lora", "all")]
    means = [values(cells[cell]).mean() for cell in moved]
    assert max(means) - min(means) < 2
    assert not any(clear(*both) for both in permutations(moved, 2))
bought = [
    difference((kind, "all", size), (kind, "scratch", size))[0]
    for kind in KINDS
    for size in SIZES
]
won = [difference(("resnet", "all", n), ("vit", "all", n))[0] for n in SIZES]
frozen = [
    difference((kind, "all", 4000), (kind, "head", 4000))[0] for kind in KINDS
]
assert (round(min(bought)), round(max(bought))) == (8, 16)
assert (round(min(won)), round(max(won))) == (6, 9)
assert [round(points, 1) for points in frozen] == [4.7, 10.2]
numbers = [cells["vit", way, 4000]["trained_parameters"] for way in ("lora", "all")]
assert numbers[0] < 0.105 * numbers[1]
for size in (1000, 4000):
    assert 0.68 < last_loss(cells["vit", "scratch", size]) < np.log(2)
    assert last_loss(cells["resnet", "scratch", size]) < 0.65
for kind in KINDS:
    times = rates[kind, "head"] / rates[kind, "all"]
    assert times.min() > 29 and times.max() < 101
assert rates["vit", "head"][2] == 0.01
assert (rates["vit", "attention"] > rates["vit", "all"]).all()
assert (rates["vit", "attention"] < rates["vit", "head"]).all()
assert (rates["vit", "lora"] < rates["vit", "attention"]).sum() == 2
for way, here, best in (("attention", 60, 73), ("lora", 51, 73)):
    tried = cells["vit", way, 4000]["validation_of_rates"]
    assert [round(100 * v) for v in (tried["0.01"], max(tried.values()))] == [
        here,
        best,
    ]
for cell in (cell for key, cell in cells.items() if key[2]):
    tried = {float(rate): v for rate, v in cell["validation_of_rates"].items()}
    lower = max(rate for rate in tried if rate < cell["rate"])
    assert (
        tried[cell["rate"]] - tried[lower]
        < 0.03
        < 2**0.5 * half_of_share(0.7, 1000)
    )
for kind, tries in (("vit", 13), ("resnet", 9)):
    tried = [cells[kind, "all", size]["validation_of_rates"] for size in SIZES]
    assert sum(map(len, tried)) == tries

# %% [markdown]
# The untrained heads, between 43 and 55 %, are chance, as the 20,000 of chapter 9 were.
#
# **Keep this picture.** The distance from the dotted line up to the others is what pre-training buys, if they are trained in the same way. The distance from *head* to *everything* is what freezing costs, or saves. Below the picture are both in numbers, and ViT against ResNet. Where an interval includes 0, claim nothing. There are 21 intervals. If nothing were behind any of them, about one would leave 0 out all the same: do not lean on a gap that is only just clear.
#
# Last come the rates that validation chose, each with the training loss of the last epoch. The one to compare with is $\log 2 = 0.693$.
#
# The answers, for this budget:
#
# 1. **A trained body buys 8 to 16 points** where everything is trained. But look at the loss before you turn that into examples. With 1000 and 4000 examples the ViT from random numbers ends just below $\log 2$: in 16,000 images it hardly begins to learn, so whether it would catch up, this budget cannot say. The ResNet from random numbers does learn. With 4000 examples it cannot be told from the trained body that has seen 100.
# 2. **The head alone is never clearly better.** For the ViT with 100 or 1000 examples it cannot be told from everything. With 4000 the frozen body costs 4.7 points. The ResNet's costs something clearly with 1000 and 4000 examples, 10.2 points with 4000, and only just with 100. Some of that may be the augmentation that the head went without.
# 3. **The ResNet wins where a trained body is trained on as a whole**, by 6 to 9 points. With the head alone the two cannot be told apart. It had the better body, and three quarters more computing time. In report A the ViT's body had seen the 1.3 million images of ImageNet; here it had seen 36,000. Whether that is what it lacks, this table does not show.
#
# And two things that nobody asked. For the ViT, attention, LoRA and everything end within two points of each other, less than the noise; LoRA trains a tenth of the numbers. (That they are equally good is not shown; the intervals are wide.) And the rates. With 4000 examples validation chose 0.01 for the ViT's head. At that rate attention gets 60 % of the validation split and LoRA 51, which is chance; at their own both get 73. The head has thirty to a hundred times the rate of everything, and attention lies between. (A step to the next lower rate costs less than 3 points everywhere, and two shares of 1000 images are known to ± 4. And LoRA does not fit the rule: it trains fewer numbers than attention, and twice has a smaller rate.)

# %% [markdown]
# ### More than accuracy
#
# The same runs have more to say. Which way do they go wrong, can one believe the model when it says how sure it is, and what did it cost?
#
# A model that says "80 %" a hundred times, and is right eighty times, is **calibrated**. To measure it, sort the answers into fifteen bins by their probability (of two classes the likelier has at least a half, so about eight of the bins are in use), and compare in each how sure the model was with how often it was right. The mean distance, weighted by the images in a bin, is the *expected calibration error*, ECE ([Guo et al. 2017](https://arxiv.org/abs/1706.04599)).
#
# > **Predict.** The ViT, all of it trained, on 100 examples and on 4000. Which is further from being as sure as it should be?

# %% tags=["hide-input", "hide-output"]
#| alt: Three panels about the ViT of which everything was trained, first seed. Left, loss against images seen, 4000 to 16,000: with 100 examples training falls to 0.14 while validation rises to 0.8, with 4000 both end near 0.55. Middle, the confusion matrix for 4000 examples, 1000 cats and 1000 dogs: 356 cats are called dogs, 236 dogs cats. Right, how often it is right against how sure it is, from one half on: with 100 examples far below the diagonal where it is surest, at 0.91 right 0.69, and the disc there is by far the largest; with 4000 close to the diagonal.
_, axes = plt.subplots(1, 3, figsize=(7.6, 2.9))
for examples, color in ((100, viz.QUERY), (4000, viz.KEY)):
    run = cells["vit", "all", examples]["runs"][0]
    for value, style in (("train_loss", "--"), ("val_loss", "-")):
        name = f"{examples:,}, {'training' if style == '--' else 'validation'}"
        viz.learning_curves([run], value, axes[0], color=color, style=style, label=name)  # fmt: skip
    viz.reliability(run["reliability"], axes[2], color=color, label=f"{examples:,}")
axes[0].set_xticks((1, 2, 3, 4), (4, 8, 12, 16))
axes[0].set(xlabel="images seen, thousands", ylabel="loss", ylim=(0, 1.3))
axes[0].legend(fontsize=8, loc="upper left")
axes[2].legend(title="examples", fontsize=9, loc="upper left")
viz.confusion_matrix(run["confusion"], axes[1], classes=("cat", "dog"))
plt.show()

# %% tags=["hide-input", "hide-output"]
print("calibration error, %    examples:     100   4,000")
errors = {}
for kind, way in recorded:
    row = [cells[kind, way, size] for size in (100, 4000)]
    errors[kind, way] = [values(c, "calibration_error").mean() for c in row]
    few, many = errors[kind, way]
    print(f"{KINDS[kind]:7}{WAYS[way][0]:26} {few:8.1f} {many:7.1f}")

moved = [key for key in errors if key[1] != "head"]
for run in (run for key in moved for run in cells[*key, 100]["runs"]):
    bins = run["reliability"]
    assert sum(share * (sure - right) for sure, right, share in bins) > 0.2
heads = [cells[kind, "head", 100] for kind in KINDS]
assert [f"{last_loss(head):.2f}" for head in heads] == ["0.50", "0.37"]
assert abs(heads[1]["rate"] / heads[0]["rate"] - 10) < 1e-9
assert [round(errors[kind, "head"][0]) for kind in KINDS] == [8, 14]
assert max(many for _, many in errors.values()) < 5
assert min(errors, key=lambda key: errors[key][1]) == ("vit", "scratch")
for run in cells["vit", "all", 4000]["runs"]:
    assert run["confusion"][0][1] > run["confusion"][1][0] + 30
assert cells["vit", "all", 100]["runs"][2]["confusion"] == [[684, 316], [464, 536]]
few = [run["confusion"] for run in cells["vit", "all", 100]["runs"]]
assert len({cats[1] > dogs[0] for cats, dogs in few}) == 2
for run in cells["vit", "all", 100]["runs"]:
    first, last = run["curve"][0], run["curve"][-1]
    assert last["train_loss"] < first["train_loss"]
    assert last["val_loss"] > first["val_loss"]
f1_apart = {
    (*key, run["seed"]): 100 * abs(run["macro_f1"] - run["accuracy"])
    for key, cell in cells.items() if key[2] for run in cell["runs"]
}  # fmt: skip
assert max(v for key, v in f1_apart.items() if key[1] != "scratch") < 0.4

# %% [markdown]
# * **Loss.** With 100 examples, each seen 160 times, the model *overfits*: training falls, validation rises.
# * **Mistakes** are coloured in the matrix, and what is right is left white. With 4000 examples more cats are called dogs than dogs cats, in each of the three seeds. With 100 it is a matter of the seed: in the third it is 316 against 464. Macro-F1 (chapter 9) says little more than accuracy here: where the body was trained before, the two are never further apart than 0.4 points.
# * **Calibration.** Each disc is as large as its share of the images, and of two classes the likelier has at least one half. With 100 examples, whichever way the body is moved, the model is surer than it has a right to be, by more than 20 points. The ViT's head, at its small rate, has not got that far: its training loss is still 0.50, and it is off by 8. The ResNet's, at ten times the rate, is at 0.37, and off by 14. With 4000 examples nobody is off by more than 5. But the least off is the ViT from random numbers, which has hardly learned anything. Calibrated does not mean good.
#
# What does each way cost? Time was recorded. What a training step keeps in memory can be counted: the weights, for each one that is trained a gradient and AdamW's two averages, and the activations that the backward pass wants.
#
# > **Predict.** LoRA trains a tenth of the numbers. Does it need a tenth of the memory?


# %% tags=["hide-input", "hide-output"]
#| alt: Two panels of horizontal bars, one bar for each model and way from trained weights: on the left minutes of one CPU core for 16,000 images, on the right megabytes that a training step with 40 images keeps. In both, the head alone is far below everything else. In minutes LoRA is level with everything, the ResNet takes nearly twice as long. In memory LoRA and attention are at about three quarters of everything.
def keeps(kind, way):
    """Megabytes that a training step with 40 images keeps."""
    recipe = {"vit": "cifar10_ladder_ema", "resnet": "cifar10_resnet"}[kind]
    model = finetune.replace_head(find_recipe(recipe).build(), 2)
    if way == "lora":
        add_lora(model, rank=8, alpha=16)
    set_trainable(model, way)
    assert count_parameters(model) == cells[kind, way, 4000]["trained_parameters"]
    images = torch.zeros(40, 3, 32, 32)
    if way == "head":
        width = finetune.get_head(model)[1].in_features
        images, model = torch.zeros(40, width, 1, 1), head_alone(model)
    return training_memory(model, images, torch.zeros(40, dtype=torch.int64))


pairs = [(kind, way) for kind, way in recorded if way != "scratch"]
minutes = [values(cells[*pair, 4000], "cpu_seconds").mean() / 60 for pair in pairs]
names = [f"{KINDS[kind]}, {WAYS[way][0]}" for kind, way in pairs]
kept = [keeps(*pair) for pair in pairs]
assert all(0.7 < kept[i] / kept[3] < 0.8 for i in (1, 2))  # attention, LoRA
assert [round(minutes[i], 2) for i in (2, 3, 5)] == [0.48, 0.46, 0.82]
assert minutes[2] > minutes[3] and 1.7 < minutes[5] / minutes[3] < 1.8
for numbers in (minutes, kept):
    assert numbers[0] < 0.5 * min(numbers[1:4])
    assert numbers[4] < 0.5 * numbers[5]
# weights, gradients and two averages, of 4 bytes each: the rest is activations
assert 4 * 4 * cells["vit", "all", 4000]["parameters"] / 1e6 < 0.1 * kept[3]
colors = [viz.KEY if kind == "vit" else viz.QUERY for kind, _ in pairs]
panels = {"minutes of one core": minutes, "MB kept, 40 images": kept}
_, axes = plt.subplots(1, 2, figsize=(7.2, 2.6), sharey=True)
for ax, (label, numbers) in zip(axes, panels.items()):
    ax.barh(names, numbers, color=colors, height=0.7)
    ax.set(xlabel=label, xlim=(0, 1.25 * max(numbers)))
    for y, number in enumerate(numbers):
        ax.text(number, y, f" {number:.2g}", va="center")
axes[0].invert_yaxis()
plt.show()

# %% [markdown]
# *Minutes* are for 16,000 images; for the head they include the one pass that computes the features. In memory, a small model with 40 images is nearly all activations, and the backward pass has to come through every block: LoRA and attention still want three quarters of what everything wants. LoRA is no faster than everything here, either. Only the head with kept features saves more than half of both.
#
# **What this comparison does not show.** Two small models, one trained body of each, one pair of classes, images of 32 pixels, one recipe. Eight classes are no ImageNet, and cats are much closer to deer than X-rays are to photographs. What carries over are the questions.

# %% [markdown]
# ## The paper's tables, as pictures
#
# At the other end of the scale stands the paper ([Dosovitskiy et al. 2021](https://arxiv.org/abs/2010.11929)). Its Table 2 compares ViTs and ResNets that were trained at Google's size, and then fine-tuned. Per cent right, mean and standard deviation of three fine-tuning runs, and the cost of the training before, in days of one TPUv3 core:
#
# | | ViT-H/14, JFT | ViT-L/16, JFT | ViT-L/16, I21k | BiT-L, JFT | Noisy Student |
# |:--|--:|--:|--:|--:|--:|
# | ImageNet | 88.55 ± 0.04 | 87.76 ± 0.03 | 85.30 ± 0.02 | 87.54 ± 0.02 | 88.4 |
# | ImageNet, ReaL labels | 90.72 ± 0.05 | 90.54 ± 0.03 | 88.62 ± 0.05 | 90.54 | 90.55 |
# | CIFAR-10 | 99.50 ± 0.06 | 99.42 ± 0.03 | 99.15 ± 0.03 | 99.37 ± 0.06 | |
# | CIFAR-100 | 94.55 ± 0.04 | 93.90 ± 0.05 | 93.25 ± 0.05 | 93.51 ± 0.08 | |
# | Pets | 97.56 ± 0.03 | 97.32 ± 0.11 | 94.67 ± 0.15 | 96.62 ± 0.23 | |
# | Flowers | 99.68 ± 0.02 | 99.74 ± 0.00 | 99.61 ± 0.02 | 99.63 ± 0.03 | |
# | VTAB, 19 tasks | 77.63 ± 0.23 | 76.28 ± 0.46 | 72.72 ± 0.21 | 76.29 ± 1.70 | |
# | TPUv3-core-days | 2500 | 680 | 230 | 9900 | 12300 |
#
# BiT-L is a ResNet-152x4, and Noisy Student an EfficientNet-L2, another convolutional network. ReaL are ImageNet's test images with better labels, VTAB is a collection of 19 small tasks. JFT is a data set of 300 million images which is not public, I21k is ImageNet-21k, with 14 million. (Noisy Student's figures are as quoted there.)
#
# Three columns are on the same data, from JFT: there a ViT can be compared with a ResNet. Of three runs and three one can make an interval, as above: both deviations together, Student's $t$ with four degrees of freedom.
#
# > **Predict.** In how many of the six rows that have deviations is ViT-L/16 ahead of BiT-L by more than that? And ViT-H/14? Look at VTAB before you answer.

# %% tags=["hide-input", "hide-output"]
paper = load_record("paper_vit_tables")
table = paper["table_2"]
large, huge, bit = (
    table["models"].index(name)
    for name in ("ViT-L/16, JFT", "ViT-H/14, JFT", "BiT-L, JFT")
)
print(f"{'points ahead of BiT-L, JFT':28}{'ViT-L/16':>21}{'ViT-H/14':>21}")
leads = {}
for row, found in table["mean_and_deviation"].items():
    texts = []
    for model in (large, huge):
        (mean, one), (other_mean, other) = found[model], found[bit]
        lead, half = mean - other_mean, None
        if other is not None:
            both = Scatter(np.hypot(one, other) / 2**0.5, 4)
            half = both.half(2 / 3)  # of the difference of two means of three
            leads[row, model] = lead, half
        noise = "no deviation" if half is None else f"± {half:.2f}"
        clearly = "  clear" if half is not None and abs(lead) > half else ""
        texts.append(f"{lead:+.2f} {noise}{clearly}")
    print(f"{row:28}" + "".join(f"{text:>21}" for text in texts))

clear_rows = {
    model: [
        row
        for (row, m), (lead, half) in leads.items()
        if m == model and lead > half
    ]
    for model in (large, huge)
}
assert clear_rows[large] == ["ImageNet", "CIFAR-100", "Pets", "Flowers"]
assert clear_rows[huge] == ["ImageNet", "CIFAR-100", "Pets"]
assert len(leads) == 12 and not any(lead < -half for lead, half in leads.values())

# %%
days = dict(zip(table["models"], table["core_days"]))
for model in (large, huge):
    name = table["models"][model]
    ratio = days["BiT-L, JFT"] / days[name]
    found = table["mean_and_deviation"]["ImageNet"]
    ahead, wrong = (
        found[model][0] - found[bit][0],
        200 - found[model][0] - found[bit][0],
    )
    ahead, wrong = round(500 * ahead), round(500 * wrong)  # of 50,000 images
    most = min(int(most_disagreements(ahead)), wrong)
    print(f"{name}: BiT-L cost {ratio:.1f} times as much.")
    print(f"  On ImageNet it is {ahead} images behind, which is more than noise")
    print(f"  for up to {most:,} disagreements; mistakes of both: {wrong:,}")

# %% tags=["hide-input", "hide-output"]
assert ratio == 3.96 and most == wrong  # of ViT-H/14

# %% [markdown]
# ViT-L/16 is clearly ahead in four rows, ViT-H/14 in three, and neither is clearly behind in any. The 1.34 points of ViT-H/14 on VTAB are well inside: BiT-L's three runs scatter by 1.70 there. (The paper says that ViT-L/16 is ahead on all tasks. In its table ReaL is a tie, and VTAB 0.01 the other way.)
#
# Twelve intervals, so do not lean on the narrowest. And what they hold is the noise of *fine-tuning*. A second pre-training was never run. The noise of the test images is not in it either: on ImageNet ViT-H/14 is beyond that, however often it disagrees with BiT-L; ViT-L/16 is if they disagree on fewer than 3150 images, and the paper does not say. So the result is **the cost**. ViT-L/16 is nowhere clearly behind, for a fifteenth of it, and ViT-H/14 for a quarter. All that compares two recipes, on data that nobody else has.
#
# ### Figures 3 and 5
#
# How does that depend on the data, and on the budget? The paper draws it in two figures, whose numbers are in its Tables 5 and 6.
#
# > **Predict.** *Left:* five ViTs, trained on ImageNet (1.3 million images), I21k (14 million) or JFT (300 million), then fine-tuned on ImageNet. Where is a ViT-L better than a ViT-B with the same patches? *Right:* all trained on JFT, for more or less computing. At equal accuracy, how many times less computing does a ViT need than a ResNet?

# %% tags=["hide-input", "hide-output"]
#| alt: Two panels, drawn from Tables 5 and 6 of the paper. Left, per cent right on ImageNet of five ViTs after a first training on ImageNet, I21k or JFT; all rise steeply from the first to the second. After ImageNet B/16 is at 77.9 and L/16 at 76.5, B/32 at 73.4 and L/32 at 71.2. After I21k L/16 and H/14 lie together at 85.1, B/16 at 84.0, and both with patches of 32 at 81. After JFT H/14 is at 88.0, L/16 at 87.1, L/32 and B/16 near 84.3, and B/32 has fallen to 80.7. Right, the mean of five test sets against exaFLOPs on a logarithmic axis, 50 to 4300: blue discs of ViTs along a line from 92.5 to 95.8, vermilion squares of ResNets from 89.3 to 95.1, all below the line, and green triangles of hybrids, above the line at small cost and on it at large cost.
accuracy = paper["table_5"]["accuracy"]
names = paper["table_5"]["models"]
images = {"ImageNet": 1.3e6, "I21k": 14e6, "JFT": 300e6}
runs, tests = paper["table_6"]["runs"], paper["table_6"]["sets"]
FIVE = [name for name in tests if name != "ImageNet, ReaL labels"]


def mean_of(run, sets):
    """The mean of a run's accuracies on these sets."""
    return np.mean([run["accuracy"][tests.index(name)] for name in sets])


def frontier(sets):
    """(accuracy, exaFLOPs) of each ViT that beats all cheaper ones."""
    found = []
    for run in sorted(runs, key=lambda run: run["exaflops"]):
        right = mean_of(run, sets)
        if run["family"] == "ViT" and (not found or right > found[-1][0]):
            found.append((right, run["exaflops"]))
    return np.array(found).T


_, axes = plt.subplots(1, 2, figsize=(7.6, 3.4))
for index, name in enumerate(names):
    color = {"B": viz.KEY, "L": viz.QUERY, "H": viz.VALUE}[name[0]]
    style = "s:" if name.endswith("32") else "o-"
    column = [accuracy[data]["ImageNet"][index] for data in images]
    right = [np.nan if value is None else value for value in column]
    axes[0].plot(
        list(images.values()), right, style, color=color, label=f"ViT-{name}"
    )
axes[0].set_xscale("log")
axes[0].set_xticks(list(images.values()), images)
axes[0].minorticks_off()
axes[0].set(
    xlabel="trained on, before", ylabel="% right on ImageNet", xlim=(8e5, 5e8)
)
for family, style, color in (
    ("ViT", "o", viz.KEY),
    ("hybrid", "^", viz.VALUE),
    ("ResNet", "s", viz.QUERY),
):
    of_family = [run for run in runs if run["family"] == family]
    cost = [run["exaflops"] for run in of_family]
    axes[1].plot(
        cost,
        [mean_of(run, FIVE) for run in of_family],
        style,
        color=color,
        label=family,
    )
right, cost = frontier(FIVE)
axes[1].plot(cost, right, color=viz.KEY, linewidth=1)
axes[1].set_xscale("log")
axes[1].set(
    xlabel="exaFLOPs of training, before", ylabel="% right, mean of five sets"
)
for ax in axes:
    ax.legend(fontsize=8, loc="lower right")
plt.show()

# %% tags=["hide-input", "hide-output"]
print("ResNets whose accuracy the ViTs' line has, and how many times")
print("as much computing they need as a ViT, by interpolation:")
times, spans = {}, {}
for label, sets in (
    ("ImageNet", ["ImageNet"]),
    ("mean of five sets", FIVE),
    ("without Flowers", [name for name in FIVE if name != "Flowers"]),
    ("ImageNet, ReaL labels", ["ImageNet, ReaL labels"]),
):
    right, cost = frontier(sets)
    for family in ("ResNet", "hybrid"):
        times[label, family] = [
            run["exaflops"]
            / np.exp(np.interp(mean_of(run, sets), right, np.log(cost)))
            for run in runs
            if run["family"] == family
            and right[0] <= mean_of(run, sets) <= right[-1]
        ]
    found = times[label, "ResNet"]
    spans[label] = len(found), round(min(found), 1), round(max(found), 1)
    print("{:22} {} of 7   {} to {}".format(label, *spans[label]))
assert list(spans.values()) == [
    (5, 1.7, 2.4),
    (3, 3.5, 5.9),
    (4, 2.0, 4.7),
    (6, 0.5, 1.4),
]

of = {data: dict(zip(names, accuracy[data]["ImageNet"])) for data in images}
for patch in ("16", "32"):
    assert of["ImageNet"][f"L/{patch}"] < of["ImageNet"][f"B/{patch}"]
    assert of["JFT"][f"L/{patch}"] > of["JFT"][f"B/{patch}"]
assert (
    of["I21k"]["L/16"] > of["I21k"]["B/16"]
    and of["I21k"]["L/32"] < of["I21k"]["B/32"]
)
assert of["JFT"]["H/14"] == max(of["JFT"].values())
cheapest = min(
    (run for run in runs if run["family"] == "ViT"), key=lambda run: run["exaflops"]
)
resnets = [run for run in runs if run["family"] == "ResNet"]
below = [
    sum(mean_of(run, sets) < mean_of(cheapest, sets) for run in resnets)
    for sets in (FIVE, ["Flowers"])
]
assert below == [4, 7]
assert {len(frontier(sets)[0]) for sets in (FIVE, tests[:1], tests[1:2])} == {5, 6}
small, big = (
    times["mean of five sets", "hybrid"][:3],
    times["mean of five sets", "hybrid"][3:],
)
assert max(small) < 0.8 and all(0.9 < ratio < 1.3 for ratio in big)

# %% [markdown]
# **Figure 3.** After ImageNet the larger ViT is the worse one, with either patch. After I21k it depends on the patch. After JFT the larger is always ahead, and H/14 is the best. (The figure has a band for ResNets too. By its caption large ViTs are below it after a small set, and above it after a large one. The band's numbers are in no table.) *Do not conclude* that the number of images does it: the three sets differ in their pictures and labels too. Table 5 gives no deviations. And the figure is older than the recipes of chapter 8, with which a ViT-B from ImageNet alone is four points better ([Touvron et al. 2021](https://arxiv.org/abs/2012.12877)).
#
# **Figure 5.** On ImageNet alone the five ResNets of seven that can be compared need 1.7 to 2.4 times a ViT's computing. The paper says 2 to 4, as a mean over five sets, and does not list them: with all but ReaL we get 3.5 to 5.9, for the three of seven ResNets that can be compared. The other four are below the cheapest ViT. Flowers weighs much, for there all seven are: without it four can be compared, and it is 2.0 to 4.7. And with the *better* labels of ReaL it is 0.5 to 1.4: sometimes the ResNet is the cheaper one. Hybrids, with a ResNet's first layers below a ViT's blocks, are cheaper than a ViT as long as they are small. *Do not conclude* a factor for your task: it depends on the test, it hangs on five or six ViTs without deviations, and all were trained on JFT.
#
# **Figure 4** trains a linear probe with five images of each class, on features from 9 to 300 million images of JFT. By the paper's text ResNets are ahead with few, and ViTs with many; its numbers are in no table. *Do not conclude* anything about fine-tuning from a probe.
#
# The paper's conclusion: what is built in helps when data are few, and matters less as they grow. In chapter 8 the data grew and the budget did not, and the ResNet stayed ahead.

# %% [markdown]
# ## When to choose which
#
# | your situation | begin with |
# |:--|:--|
# | few examples, photographs of everyday things | the head on kept features first, since it costs least; try many rates. Then see whether everything is better (for the twin's ResNet it was, clearly with 1000) |
# | more examples, or the head is not enough | everything at a small rate; LoRA or attention if memory is short (in the twin a quarter less) |
# | images of another kind (X-rays, satellites, turned digits) | everything, sooner: on the turned digits of chapter 9 the head alone was behind all ways that moved the body at a rate that suited it |
# | many tasks, one model | LoRA: a file of a few megabytes for each task, and one body |
# | no GPU | the head; the pass for the features is the only large cost |
# | "ViT or ResNet?" | whichever has the better weights for your kind of image and your budget. Then compare both, with the checklist |
#
# How many examples are few? Draw the twin's picture for your own task, and you know.
#
# Always: a head of zeros, a rate for each way by validation, three seeds, the test once, its answers kept image by image. And *first* the cheapest rival there is, then the head alone: they are what everything else has to beat.

# %% [markdown]
# ### Exercise 10.2 · Reproduce a report, and do better
#
# *Hard, for a GPU: about two hours on a modern one, by estimate; it has not been run.* Fine-tune ViT-B/16 to more than report A's 97.97 % on CIFAR-10, with a validation split and the test looked at once. There is no check for this one. The record is the proof:
#
# ```
# course train cifar10_vit_b16
# ```
#
# It fetches weights and data, fine-tunes everything with layer-wise decay, survives being interrupted, and writes a record. `course train cifar10_resnet152` does the same for the ResNet: the same images, steps, augmentation and rate. The rate was not tried out for either. Other ways are `trained=head` (for both), `trained=attention` and `trained=lora` (for the ViT). Each wants its own rate: try several, such as `trained=head layer_decay=1 lr=0.01`, and choose on validation.
#
# What `record.json` in the run's folder holds can be drawn as above: with `viz.learning_curves(...["runs"])`, and of one run's `test_scores` `viz.confusion_matrix(...["confusion"])` and `viz.reliability(...["reliability"])`. It also says how long the run took, and how much memory.
#
# `course reproduce` lists every experiment of the five reports: what the report has, what we have, and what is needed to run it. `course reproduce A.cifar10` runs one. They are all on the page [The five reports, reproduced](reports.md).
#
# <details>
# <summary>Two data sets come from Kaggle, by hand: how to lay them out</summary>
#
# Kaggle wants an account. Make a folder for each class, in `train` and in `test`:
#
# ```
# data/cache/dogs_vs_cats/            data/cache/shoes/
#     train/                              train/
#         cat/  cat.0.jpg ...                 boot/    ...
#         dog/  dog.0.jpg ...                 sandal/  ...
#     test/                                   shoe/    ...
#         cat/  ...                       test/
#         dog/  ...                           boot/    ...
#                                             sandal/  ...
#                                             shoe/    ...
# ```
#
# *Dogs versus Cats* (kaggle.com/c/dogs-vs-cats): unpack `train.zip`, and `course sort` puts its images into folders by the beginning of their names: `course sort dogs-vs-cats --into data/cache/dogs_vs_cats`. Report C trained with 20,000 and kept 2000 for validation and 2000 for the test. *Shoe vs Sandal vs Boot* (kaggle.com/datasets/hasibalmuzdadid/shoe-vs-sandal-vs-boot-dataset-15k-images) has 5000 images of each, in three folders; move a tenth of each to `test`. The validation split is the last tenth of each class in `train`, unless you make a folder `val`.
#
# Your own images go the same way ([chapter 9](09_finetuning.ipynb#further-a-folder-of-your-own)): `folder:PATH` is a data set like any other. With the classes' folders alone, without `train` and `test`, a tenth of each class becomes the test, and another tenth the validation.
#
# </details>
#
# **What was run, and what was not.** The small twin ran on a CPU. The recipes with published weights are made for a GPU; `course runs` says which of them have a recorded run.
#
# Set `FULL` to `True` on a machine with a GPU to start it from here. A terminal is better: it can be interrupted and goes on.

# %%
FULL = False

if FULL:
    from course_lib.recipes import run_recipe

    model, record = run_recipe(
        find_recipe("cifar10_vit_b16"), "runs/cifar10_vit_b16"
    )
    print(f"{100 * record['test_accuracy']:.2f} % right on test")
else:
    print("Not run here: this one wants a GPU.")

# %% [markdown]
# ## One to think about
#
# No code, a pencil. You try twenty variants of a model, each against the same baseline, on the same test images, with a 95 % interval each. In truth none of them is any better or worse. How many intervals leave 0 out, on average? How often does at least one, if the twenty were independent? And what do you do with the one that is ahead?
#
# <details>
# <summary>Answer</summary>
#
# One of twenty. At least one: $1 - 0.95^{20}$, in 64 % of such searches. (They share a baseline, so they are not independent; the average is still one.) You have chosen it *because* it was ahead on these images, so these images can no longer say by how much. Test it once more, on images and with seeds that had no part in the choice. That is what a validation split is for. Or ask each for a $p$ below $0.05 / 20$ from the start, and say how many you have tried.
#
# </details>

# %% [markdown]
# ## Check yourself
#
# Choose before you look: each answer comes with its reason, the wrong ones too. Four questions, about four minutes.
#
# **1.** Two models are tested on the same 1000 images. One has 90.0 % right and the other 91.0 %. What else must you
# know, to see whether ten images are more than noise?
#
# * **A.** How many parameters each has.
# * **B.** On how many images just one of them is right.
# * **C.** Only how many images there are.
#
# <details class="course-quiz">
# <summary>Answer to 1</summary>
#
# * **A, wrong.** That matters for the cost. The noise of a test does not know of it.
# * **B, right.** What both get right or both get wrong drops out. Ten more out of 20 disagreements are clear, and out
#   of 200 they are not.
# * **C, wrong.** That gives you a bound, as if each model had seen other images. On the same ones you can do better.
#
# </details>
#
# **2.** Two heads differ in the seed alone. The interval of their paired difference leaves 0 out. How can that be?
#
# * **A.** Somebody has made a mistake in the formula.
# * **B.** The better seed is the better recipe.
# * **C.** The interval holds the noise of the images, and no other.
#
# <details class="course-quiz">
# <summary>Answer to 2</summary>
#
# * **A, wrong.** It is what the formula says, and rightly so: on more such images this head would probably stay ahead.
# * **B, wrong.** It is the same recipe. The next seed may be worse.
# * **C, right.** It speaks of these two heads. The noise of training comes on top, and only more seeds show it.
#
# </details>
#
# **3.** You compare twenty variants with one baseline, each with a 95 % interval. One is clearly ahead. What next?
#
# * **A.** Test it anew, on images and with seeds that had no part in the choice.
# * **B.** Report it: its interval leaves 0 out.
# * **C.** Try twenty more, and take it if one of these is clear as well.
#
# <details class="course-quiz">
# <summary>Answer to 3</summary>
#
# * **A, right.** Where nothing is behind any of them, one in twenty is clear on average. You have chosen it because it
#   was ahead here.
# * **B, wrong.** That is what one of twenty does by chance, on average.
# * **C, wrong.** With more comparisons more of them are clear by chance.
#
# </details>
#
# **4.** Batches of 64 against 512, 13 epochs against 7, the best epoch chosen on the test set, one seed. The ViT is 130
# images of 10,000 ahead, and that is beyond the noise of the images. What may be said?
#
# * **A.** A ViT is the better architecture for these images.
# * **B.** Nothing at all.
# * **C.** Of these two trained models, one is ahead on such images.
#
# <details class="course-quiz">
# <summary>Answer to 4</summary>
#
# * **A, wrong.** Too much differs besides the architecture, and nobody knows in whose favour.
# * **B, wrong.** The difference is beyond what these images' noise explains. It is a result, only about something
#   smaller.
# * **C, right.** It compares two recipes, one run each. It may well be right, about these.
#
# </details>

# %% [markdown]
# ## What you take with you
#
# * A comparison needs the same images, tries and budget for both, a validation split, several seeds, and an interval.
# * **Keep the answers image by image.** Of two models that were tested on the same images, only those count on which one alone is right. Two seeds of one head disagree on about a tenth of all.
# * The noise of the images is not the noise of training, and **of many comparisons some are clear by chance**.
# * In the small twin a trained body buys 8 to 16 points where everything is trained, and the head alone is never clearly better than everything. **The ResNet wins where everything is trained**: for this budget, and with the better body.
# * Right and sure are two things: a body that was moved by 100 examples is surer than it should be, by more than 20 points.
# * The paper's strongest result is **the cost**: nowhere clearly behind for a fifteenth, or for a quarter and clearly ahead in three rows of six.
#
# The picture to keep: **the small twin**, accuracy against examples, one line for each way.
#
# ### To read
#
# * [Dosovitskiy et al. 2021](https://arxiv.org/abs/2010.11929), sections 4.1 to 4.4, with Tables 2, 5 and 6.
# * [Guo et al. 2017](https://arxiv.org/abs/1706.04599), sections 2 and 3: what calibration is, and how deep networks lost it.
#
# Next, chapter 11: open a trained model, and look at what its filters and positions have become.
