# %% [markdown]
# # Is A better than B?
#
# | Goal | Before you start | Time | Runs on |
# |:--|:--|:--|:--|
# | Say whether a difference between two models is more than noise, and compare a ViT with a ResNet fairly | Chapters 1 to 9 | 65 minutes, without exercise 10.1 | any CPU; the exercise wants a GPU |
#
# Two models have been fine-tuned, and one of them is ahead. By how much would it have to be, before you may say that it is the better one? And better at what: with these images, this recipe, this budget?
#
# You take a student's comparison of ViT-B/16 and ResNet-152 apart, and then look at a small one that was made to be fair. In the end you can run the large one yourself.

# %% tags=["setup"]
from itertools import permutations

import matplotlib.pyplot as plt
import numpy as np
import torch
from scipy.stats import t as student

from course_lib import finetune, viz
from course_lib.finetune import head_alone, set_trainable
from course_lib.lora import add_lora
from course_lib.models import create_resnet
from course_lib.recipes import find_recipe
from course_lib.records import load_record
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
# Four times out of four. Is a ViT the better model, then? Before you answer, how many *images* are that?
#
# > **Predict.** The test sets have 10,000, 10,000, 6149 and 3669 images. For each of the four: how many images make the difference? Is it more than chance?

# %% tags=["hide-output"]
report_a = {
    "CIFAR-10": (97.97, 96.67, 10_000),
    "CIFAR-100": (87.41, 82.67, 10_000),
    "Flowers-102": (89.12, 89.02, 6149),
    "Pets": (93.65, 93.24, 3669),
}
print("             ahead by, 95 % interval    images   wrong on   may disagree on")
for name, (vit, resnet, images) in report_a.items():
    ahead = vit - resnet
    half = 1.96 * (sum(p * (100 - p) for p in (vit, resnet)) / images) ** 0.5
    net = ahead / 100 * images
    wrong = (200 - vit - resnet) / 100 * images  # they cannot disagree on more
    most = (net / 1.96) ** 2
    may = "any number" if most > wrong else f"at most {int(most)}"  # rounded down
    verdict = "within noise" if abs(ahead) < half else ""
    print(
        f"{name:12} {ahead:4.2f} ± {half:.2f} points {net:14.0f} {wrong:10.0f} {may:>17}   {verdict}"
    )

with torch.device("meta"):
    pair = (
        VisionTransformer(VIT_CONFIGS["vit_base_patch16_224"]),
        create_resnet("resnet152"),
    )
assert [count_parameters(model) for model in pair] == [86_567_656, 60_192_808]  # fmt: skip

# %% [markdown]
# The interval is that of two shares (chapter 7), as if the two models had been tested on different images. For Flowers half of it is eleven times the difference, for Pets nearly three times.
#
# They were tested on the same images, and that helps: what both get right, or both get wrong, drops out. What counts are the images on which *one* of them is right. If there are $m$ of these and nothing but chance decides, the difference scatters by $\sqrt m$ images. So a difference of $d$ images is more than noise only if $m$ is below $(d / 1.96)^2$: the last column. On the CIFARs this bound is above all mistakes of both together, so there the difference is more than noise however often they disagree. For Pets, two models of different kinds, each wrong on more than 230 images, would have to disagree on fewer than 60. For Flowers on fewer than 10. The report does not say on how many they do.
#
# And this is only the noise of the test images. The noise of training comes on top: another seed, another order, another head. There was one run each.
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
# Two classes of equal size: chance is 50 %. The intervals hold two kinds of noise, and their squares add up. *Seeds*: three runs are too few to see how far runs scatter, so the scatter is taken from all runs with as many examples, over ways and models, with a factor from Student's $t$, which allows for how few they are. *Test images*: all runs share the same 2000, so the seeds do not show this noise. The record keeps no answers image by image. So it is taken as for report A, as if the images were different ones, and the intervals of differences are probably too wide, if the models tend to fail on the same images.
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


def values(cell, what="accuracy"):
    """One number for each seed; shares in per cent."""
    scale = 1 if what == "cpu_seconds" else 100
    return scale * np.array([run[what] for run in cell["runs"]])


def scatter(examples):
    """(standard deviation of one run, degrees of freedom), from all cells with so many examples."""
    found = [values(c) for c in cells.values() if c["examples"] == examples]
    freedom = sum(len(v) - 1 for v in found)
    squares = sum(((v - v.mean()) ** 2).sum() for v in found)
    return (squares / freedom) ** 0.5, freedom


def half_width(cell):
    """Half of the 95 % interval about a cell's mean: seeds, and the 2000 test images."""
    deviation, freedom = scatter(cell["examples"])
    seeds = student.ppf(0.975, freedom) * deviation / len(cell["runs"]) ** 0.5
    mean = values(cell).mean()
    return np.hypot(seeds, 1.96 * (mean * (100 - mean) / 2000) ** 0.5)


def print_table(first, lines):
    """Lines of (name, a text for each number of examples)."""
    for name, texts in ((first, [f"{size:,}" for size in SIZES]), *lines):
        print(f"{name:33}" + "".join(f"{text:>15}" for text in texts))


for kind, name in KINDS.items():
    found = values(cells[kind, "untrained head", 0])
    print(f"{name:6} untrained heads:", *(f"{v:.1f}" for v in found))
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

# %% [markdown]
# The untrained heads, between 43 and 55 %, are chance, as the 20,000 of chapter 9 were.
#
# **Keep this picture.** The distance from the dotted line up to the others is what pre-training buys, if they are trained in the same way. The distance from *head* to *everything* is what freezing costs, or saves. Here are both in numbers, and ViT against ResNet. Where an interval includes 0, claim nothing. And of twenty exact intervals one misses, on average: do not lean on a gap that is only just clear.
#
# Below it stand the rates that validation chose, each with the training loss of the last epoch. The one to compare with is $\log 2 = 0.693$.


# %% tags=["hide-input", "hide-output"]
def difference(one, other):
    """How far the first cell is ahead of the second, and half of the 95 % interval."""
    one, other = cells[one], cells[other]
    ahead = values(one).mean() - values(other).mean()
    return ahead, np.hypot(half_width(one), half_width(other))


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
for size in (1000, 4000):
    assert 0.68 < last_loss(cells["vit", "scratch", size]) < np.log(2)
for kind in KINDS:
    times = rates[kind, "head"] / rates[kind, "all"]
    assert times.min() > 29 and times.max() < 101
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
    assert tried[cell["rate"]] - tried[lower] < 0.03
for kind, tries in (("vit", 13), ("resnet", 9)):
    tried = [cells[kind, "all", size]["validation_of_rates"] for size in SIZES]
    assert sum(map(len, tried)) == tries

# %% [markdown]
# The answers, for this budget:
#
# 1. **A trained body buys 8 to 16 points** where everything is trained. But look at the loss before you turn that into examples. With 1000 and 4000 examples the ViT from random numbers ends just below $\log 2$: in 16,000 images it hardly begins to learn, so it has nothing to catch up with. The ResNet from random numbers does learn. With 4000 examples it cannot be told from the trained body that has seen 100.
# 2. **The head alone is never clearly better.** For the ViT with 100 or 1000 examples it cannot be told from everything. With 4000 the frozen body costs 4.7 points. The ResNet's costs something clearly with 1000 and 4000 examples, 10.2 points with 4000, and only just with 100. Some of that may be the augmentation that the head went without.
# 3. **The ResNet wins where a trained body is trained on as a whole**, by 6 to 9 points. With the head alone the two cannot be told apart. It had the better body, and three quarters more computing time. In report A the ViT's body had seen the 1.3 million images of ImageNet; here it had seen 36,000. Probably a ViT needs what chapter 8 could not give it, but this table does not show that.
#
# And two things that nobody asked. For the ViT, attention, LoRA and everything end within two points of each other, less than the noise; LoRA trains a tenth of the numbers. And the rates. With 4000 examples validation chose 0.01 for the ViT's head. At that rate attention gets 60 % of the validation split and LoRA 51, which is chance; at their own both get 73. The head has thirty to a hundred times the rate of everything, and attention lies between. (A step to the next lower rate costs less than 3 points everywhere, which is noise on 1000 images. And LoRA does not fit the rule: it trains fewer numbers than attention, and twice has a smaller rate.)

# %% [markdown]
# ### More than accuracy
#
# The same runs have more to say. Which way do they go wrong, can one believe the model when it says how sure it is, and what did it cost?
#
# A model that says "80 %" a hundred times, and is right eighty times, is **calibrated**. To measure it, sort the answers into fifteen bins by their probability (of two classes the likelier has at least a half, so about eight of the bins are in use), and compare in each how sure the model was with how often it was right. The mean distance, weighted by the images in a bin, is the expected calibration error ([Guo et al. 2017](https://arxiv.org/abs/1706.04599)).
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
assert [round(errors[kind, "head"][0]) for kind in KINDS] == [8, 14]
assert max(many for _, many in errors.values()) < 5
assert min(errors, key=lambda key: errors[key][1]) == ("vit", "scratch")
for run in cells["vit", "all", 4000]["runs"]:
    assert run["confusion"][0][1] > run["confusion"][1][0] + 30
assert cells["vit", "all", 100]["runs"][2]["confusion"] == [[684, 316], [464, 536]]
apart = {
    (*key, run["seed"]): 100 * abs(run["macro_f1"] - run["accuracy"])
    for key, cell in cells.items() if key[2] for run in cell["runs"]
}  # fmt: skip
worst = max(apart, key=apart.get)
assert worst == ("vit", "scratch", 4000, 0) and round(apart[worst], 1) == 4.2
assert cells[worst[:3]]["runs"][0]["confusion"][0][1] == 742
assert max(v for key, v in apart.items() if key[1] != "scratch") < 0.4

# %% [markdown]
# * **Loss.** With 100 examples, each seen 160 times, the model learns them by heart: training falls, validation rises.
# * **Mistakes** are coloured in the matrix, and what is right is left white. With 4000 examples more cats are called dogs than dogs cats, in each of the three seeds. With 100 it is a matter of the seed: in the third it is 316 against 464. Macro-F1 says little more than accuracy here. With a trained body and a trained head it is never further from it than 0.4 points. Without a trained body it is at most 4.2: a ViT from random numbers that calls 742 of 1000 cats dogs.
# * **Calibration.** Each disc is as large as its share of the images, and of two classes the likelier has at least one half. With 100 examples, whichever way the body is moved, the model is surer than it has a right to be, by more than 20 points. The ViT's head, at its small rate, has not got that far: its training loss is still 0.50, and it is off by 8. The ResNet's, at ten times the rate, is at 0.37, and off by 14. With 4000 examples nobody is off by more than 5. But the least off is the ViT from random numbers, which has hardly learned anything. Calibrated does not mean good.
#
# What does each way cost? Time was recorded. What a training step keeps in memory can be counted: the weights, for each one that is trained a gradient and AdamW's two averages, and the activations that the backward pass wants.
#
# > **Predict.** LoRA trains a tenth of the numbers or fewer. Does it need a tenth of the memory?


# %% tags=["hide-input", "hide-output"]
#| alt: Two panels of horizontal bars, one bar for each model and way from trained weights: on the left minutes of one CPU core for 16,000 images, on the right megabytes that a training step with 40 images keeps. In both, the head alone is far below everything else. In minutes LoRA is level with everything, the ResNet takes nearly twice as long. In memory LoRA and attention are at about three quarters of everything.
def keeps(kind, way):
    """Megabytes that a training step with 40 images keeps."""
    recipe = {"vit": "cifar10_step_7", "resnet": "cifar10_resnet"}[kind]
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
# *Minutes* are for 16,000 images; for the head they include the one pass that computes the features. In memory, a small model with 40 images is nearly all activations, and the backward pass has to come through every block: LoRA and attention still want three quarters of them. For the same reason LoRA is no faster than everything here. What it saves besides are gradients and averages, which weigh more in a large model with a small batch. Only the head with kept features saves most of both.
#
# **What this comparison does not show.** Two small models, one trained body of each, one pair of classes, images of 32 pixels, one recipe. Eight classes are no ImageNet, and cats are much closer to deer than X-rays are to photographs. What carries over are the questions.

# %% [markdown]
# ## The paper's table, as pictures
#
# At the other end of the scale stands the paper. Its Table 2 compares ViTs and ResNets that were trained at Google's size, and then fine-tuned. Per cent right, and the cost of the training before fine-tuning, in days of one TPUv3 core:
#
# | | ViT-H/14, JFT | ViT-L/16, JFT | ViT-L/16, I21k | BiT-L, JFT | Noisy Student |
# |:--|--:|--:|--:|--:|--:|
# | ImageNet | 88.55 | 87.76 | 85.30 | 87.54 | 88.4 / 88.5 |
# | ImageNet, ReaL labels | 90.72 | 90.54 | 88.62 | 90.54 | 90.55 |
# | CIFAR-10 | 99.50 | 99.42 | 99.15 | 99.37 | |
# | CIFAR-100 | 94.55 | 93.90 | 93.25 | 93.51 | |
# | Pets | 97.56 | 97.32 | 94.67 | 96.62 | |
# | Flowers | 99.68 | 99.74 | 99.61 | 99.63 | |
# | VTAB, 19 tasks | 77.63 | 76.28 | 72.72 | 76.29 | |
# | TPUv3-core-days | 2.5k | 0.68k | 0.23k | 9.9k | 12.3k |
#
# BiT-L is a ResNet-152x4, and Noisy Student an EfficientNet-L2, another convolutional network. ReaL are ImageNet's test images with better labels, VTAB is a collection of 19 small tasks. JFT is a data set of 300 million images which is not public, I21k is ImageNet-21k, with 14 million. ([Dosovitskiy et al. 2021](https://arxiv.org/abs/2010.11929), table 2; the figures for Noisy Student are as quoted there, 88.5 from a later paper that improved it slightly.)
#
# Which columns would you compare? Draw the row for ImageNet against the cost.

# %% tags=["hide-input"]
#| alt: Five points: per cent right on ImageNet against TPUv3-core-days on a logarithmic axis, drawn from Table 2 of the paper. Blue circles are ViTs: L/16 from ImageNet-21k at 230 days and 85.3, L/16 from JFT at 680 and 87.8, H/14 from JFT at 2500 and 88.6. Vermilion squares are convolutional: BiT-L at 9900 and 87.5, Noisy Student at 12,300 and 88.4. The ViTs lie further left at equal height.
table_2 = (
    ("ViT-L/16, I21k", 230, 85.30, "vit"),
    ("ViT-L/16, JFT", 680, 87.76, "vit"),
    ("ViT-H/14, JFT", 2500, 88.55, "vit"),
    ("BiT-L, JFT", 9900, 87.54, "cnn"),
    ("Noisy Student", 12_300, 88.4, "cnn"),
)
_, ax = plt.subplots(figsize=(6.4, 3.2))
for name, days, accuracy, kind in table_2:
    marker, color = {"vit": ("o", viz.KEY), "cnn": ("s", viz.QUERY)}[kind]
    ax.plot(days, accuracy, marker, color=color, markersize=8)
    ax.annotate(
        name, (days, accuracy), (0, 9), textcoords="offset points", ha="center"
    )
ax.set_xscale("log")
ax.set(
    xlabel="TPUv3-core-days, before fine-tuning",
    ylabel="% right on ImageNet",
    xlim=(120, 30_000),
    ylim=(84.5, 89.4),
)
plt.show()

# %%
times = {name: days for name, days, _, _ in table_2}
ratio = times["BiT-L, JFT"] / times["ViT-L/16, JFT"]
print(f"BiT-L cost {ratio:.0f} times as much as ViT-L/16, on the same data")
ahead = (87.76 - 87.54) / 100 * 50_000  # images
print(f"on ImageNet it is behind by {ahead:.0f} of 50,000 images:")
print(f"noise, if they disagree on more than {int((ahead / 1.96) ** 2):,}")
ahead = (88.55 - 87.54) / 100 * 50_000
mistakes = (
    (200 - 88.55 - 87.54) / 100 * 50_000
)  # of both together: they cannot disagree on more
print(f"ViT-H/14 is ahead by {ahead:.0f}:")
print(f"noise, if they disagree on more than {int((ahead / 1.96) ** 2):,}")
print(f"but all mistakes of both together are {mistakes:,.0f}")
assert round(ahead) == 505 and (ahead / 1.96) ** 2 > mistakes

# %% [markdown]
# Three columns are on the same data, from JFT. Take the closer pair, ViT-L/16 and BiT-L. There the ViT is ahead in five rows, equal on ReaL and 0.01 behind on VTAB, by less than half a point but for Pets, at about a fifteenth of the cost. Is the lead on ImageNet more than noise? The paper gives a standard deviation over three fine-tuning runs, 0.03 and 0.02 there, and the lead of 0.22 is well outside it. That is the noise of fine-tuning. It is not the noise of a second pre-training, nor that of the test images: each is wrong on some 6200, and the paper does not say on how many they disagree. So for ViT-L/16 the result is the cost: as good, for a fifteenth of it. ViT-H/14 is ahead of BiT-L by 505 images, for a quarter of the cost. That is more than the noise of the test images however often they disagree. And all of this compares two recipes, on data that nobody else has; Figure 5 is the paper's more controlled comparison.
#
# Three more pictures of the paper, each with what not to conclude:
#
# * **Figure 3**, accuracy on ImageNet after a first training on ImageNet, I21k or JFT. From the smallest set, ResNets are ahead of the ViTs; from JFT the larger a ViT the better. But the three sets differ in more than their size.
# * **Figure 4**, a linear probe from a few examples of each class, on features from 9 to 300 million images of JFT. ResNets are better at first and level off; ViTs overtake. But nothing is fine-tuned, and you know from chapter 9 what a probe sees.
# * **Figure 5**, accuracy against the cost of the first training. A ViT needs about 2 to 4 times less computing than a ResNet. But all are from JFT, where a model can hardly see too little.
#
# What is built in helps when data are few, and matters less as they grow, provided that the budget grows too: in chapter 8 it did not, and the ResNet stayed ahead. Figure 3 is older than the recipes there, with which a ViT-B from ImageNet alone does far better.

# %% [markdown]
# ## When to choose which
#
# | your situation | begin with |
# |:--|:--|
# | few examples, photographs of everyday things | the head on kept features first, since it costs least; try many rates. Then see whether everything is better (for the twin's ResNet it was, at 100 already) |
# | more examples, or the head is not enough | everything at a small rate with layer-wise decay; LoRA or attention if memory is short |
# | images of another kind (X-rays, satellites, turned digits) | everything, sooner: what was thrown away there may be what you need |
# | many tasks, one model | LoRA: a file of a few megabytes for each task, and one body |
# | no GPU | the head; the pass for the features is the only large cost |
# | "ViT or ResNet?" | whichever has the better weights for your kind of image and your budget. Then compare both, with the checklist |
#
# How many examples are few? Draw the twin's picture for your own task, and you know.
#
# Always: a head of zeros, a rate for each way by validation, three seeds, the test once. And *first* the cheapest rival there is, then the head alone: they are what everything else has to beat.

# %% [markdown]
# ### Exercise 10.1 · Reproduce a report, and do better
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
# Your own images go the same way ([chapter 9](09_finetuning.ipynb#a-folder-of-your-own)): `folder:PATH` is a data set like any other. With the classes' folders alone, without `train` and `test`, a tenth of each class becomes the test, and another tenth the validation.
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
# No code, a pencil. Two models are tested on the same 1000 images. Both are right on 900, both are wrong on 80, and one of them alone is right on 20: 15 times it is the first. By how many points is it ahead, and is that more than noise?
#
# <details>
# <summary>Answer</summary>
#
# 915 against 905, so 1.0 point. They disagree on $m = 20$; by chance alone the difference scatters by $\sqrt{20} = 4.5$ images. 10 images are 2.2 times that, just more than noise (a coin falls 15 to 5 or more unevenly in 4 % of all rows of 20 tosses). If you treat them as tested on different images, the interval is ± 2.5 points, and you see nothing. Keep the answers image by image.
#
# </details>

# %% [markdown]
# ## What you take with you
#
# * A comparison needs the same images, tries and budget for both, a validation split, several seeds, and an interval.
# * Count **how many images** a difference is. Of two models that were tested on the same ones, only those count on which one alone is right.
# * In the small twin a trained body buys 8 to 16 points where everything is trained, and the head alone is never clearly better than everything. **The ResNet wins where everything is trained**: for this budget, and with the better body.
# * Right and sure are two things: a body that was moved by 100 examples is surer than it should be, by more than 20 points.
# * The paper's strongest result is **the cost**: as good for a fifteenth, better for a quarter.
#
# The picture to keep: **the small twin**, accuracy against examples, one line for each way.
#
# ### To read
#
# * [Dosovitskiy et al. 2021](https://arxiv.org/abs/2010.11929), sections 4.1 to 4.4, with Table 2.
# * [Guo et al. 2017](https://arxiv.org/abs/1706.04599), sections 2 and 3: what calibration is, and how deep networks lost it.
#
# Next, chapter 11: open a trained model, and look at what its filters and positions have become.
