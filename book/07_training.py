# %% [markdown]
# # Training from scratch: MNIST
#
# | Goal | Before you start | Time | Runs on |
# |:--|:--|:--|:--|
# | Train a Vision Transformer yourself, know what each line of the loop is for, and trust the number that comes out | Chapters 1 to 6 | 90 minutes | any CPU; a GPU is welcome at the end |
#
# In chapter 6 you loaded weights that others had trained. Now you train your own on MNIST, 70,000 handwritten digits. A training run is a loop of six lines and a handful of settings (*hyperparameters*). Much can go wrong in it without an error: the loss falls, only not as far as it could, or the number at the end is better than the model.
#
# You write four functions: a step, the learning rate, the groups of parameters, the evaluation. What runs on this page is small and needs no network; of the longer runs you see the records.

# %% tags=["setup"]
import itertools
import math
import signal
import tempfile
from dataclasses import replace
from pathlib import Path

import matplotlib.pyplot as plt
import torch
import torch.nn.functional as F
from torch import nn
from torchvision.transforms.functional import to_pil_image

from course_lib import train, vit, viz
from course_lib.checks import my_pieces
from course_lib.data import Augment, ImageSet, digits
from course_lib.models import load_model, probabilities, unlike
from course_lib.recipes import find_recipe
from course_lib.records import load_record
from course_lib.statistics import (
    mcnemar,
    paired_difference,
    pooled_scatter,
    share_interval,
)
from course_lib.train import TrainConfig, fit, set_seed

viz.set_style()
torch.set_num_threads(1)  # the models here are tiny: more threads only wait

# %% [markdown]
# ## What training needs
#
# Images with labels, a model, a loss, and an optimiser, which turns the gradient of the loss into a step. Of MNIST's training images, the first of each class:

# %%
#| alt: Ten handwritten digits in a row, 0 to 9, dark on light, with their labels above them.
record = load_record("mnist_examples")


def from_record(entries):
    """Images (n, 1, 28, 28) uint8 out of a record: 28 rows of hexadecimal numbers each."""
    images = [
        [list(bytes.fromhex(row)) for row in entry["image"]] for entry in entries
    ]
    return torch.tensor(images, dtype=torch.uint8)[:, None]


labels = torch.tensor([entry["label"] for entry in record["examples"]])
examples = ImageSet(
    "mnist/examples",
    from_record(record["examples"]),
    labels,
    classes=tuple("0123456789"),
    mean=(0.1307,),
    std=(0.3081,),
)
viz.image_grid(examples.images, columns=10, titles=labels.tolist())
plt.show()
assert round(55_000 * 28 * 28 * torch.uint8.itemsize / 1e6) == 43

data, val = digits("train"), digits("val")
print(data.name, tuple(data.images.shape), data.images.dtype)

SMALL = vit.ViTConfig(
    img_size=8, patch_size=2, in_chans=1, num_classes=10, embed_dim=48, depth=6,
    num_heads=4, mlp_ratio=2.0, weight_init="xavier",  # fits so small a width: chapter 8
)  # fmt: skip
torch.manual_seed(3)
model = vit.VisionTransformer(SMALL)
print(f"{train.count_parameters(model):,} parameters")

# %% [markdown]
# All data sets of this course are an `ImageSet`: images, labels, names of the classes, and the mean and standard deviation that pixels are normalised with. A pixel is a byte, from 0, the paper, to 255, the ink (we draw ink dark). So MNIST's 55,000 training images take 43 MB, and live *in memory, on the device*, for the whole run. A batch is an index into that tensor.
#
# This page trains on scikit-learn's small digits, floats between 0 and 1, with the small ViT of the last lines.

# %% [markdown]
# ### The first loss
#
# The loss is **cross-entropy**: minus the logarithm of the probability that the model gives to the right class, and its mean over the images.
#
# > **Predict.** The model is untrained, and should give each of the ten digits about the same probability. What must the loss be, before the first step?


# %% tags=["hide-input", "hide-output"]
@torch.no_grad()
def first_loss(model):
    return F.cross_entropy(model(data.normalised(data.images)), data.labels).item()


print(f"log(10) is {math.log(10):.1f}, the model's loss {first_loss(model):.1f}")

# Somebody starts the head with weights of standard deviation 1.
loud = vit.VisionTransformer(SMALL)
nn.init.normal_(loud.head.weight)
print(f"with a loud head, the loss is {first_loss(loud):.0f}")

# %% [markdown]
# $\log 10$, and for $K$ classes $\log K$. **Compare the loss of the first step with it.** Much larger: the model is sure of wrong answers, something starts too large. Much *smaller*: the weights were trained before, the loss is scaled wrongly, or there are fewer classes than you think.
#
# ### Ten images by heart
#
# **A model must be able to learn ten images by heart.**
#
# > **Predict.** Below, a ViT learns ten digits by heart. Then another one gets the same ten digits with their labels shuffled. What share will it get right, of the ten that it was trained on?


# %% tags=["hide-output"]
def learn_by_heart(images, labels, steps=40):
    """Train on these images only; returns the last loss, and the share that is right."""
    torch.manual_seed(5)
    model = vit.VisionTransformer(SMALL)
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3)
    for _ in range(steps):
        loss = F.cross_entropy(model(images), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    right = model(images).argmax(dim=-1) == labels
    return loss.item(), right.float().mean().item()


ten = data.take(slice(0, 10))
images, labels = ten.normalised(ten.images), ten.labels
by_heart = {}
for what, wanted in (("their", labels), ("shuffled", labels.roll(3))):
    _, by_heart[what] = learn_by_heart(images, wanted)
    print(f"ten digits, {what} labels: {by_heart[what]:.0%}")

# %% [markdown]
# Both times all of them. So gradients reach the weights, and the optimiser follows. Wrong labels this test *cannot* see. And a full score on the images that a model was trained on proves nothing about others.
#
# ### The baseline
#
# Now take the images away. What is left is what every number must beat (an *input-independent baseline*).
#
# > **Predict.** The same model, sixty digits with their labels, but each image is painted over with the same grey. What share does it get right? Where does its loss stop?

# %% tags=["hide-input", "hide-output"]
assert by_heart == {"their": 1, "shuffled": 1}

sixty = data.take(slice(0, 60))
images, labels = sixty.normalised(sixty.images), sixty.labels
frequencies = labels.bincount() / len(labels)
entropy = -(frequencies * frequencies.log()).sum().item()
for what, pixels in (("digits", images), ("grey", torch.zeros_like(images))):
    loss, share = learn_by_heart(pixels, labels)
    print(f"{what:6} loss {loss:.1f}, right {share:.0%}")
print(f"the most frequent digit: {frequencies.max():.0%} of them")
assert share == frequencies.max() and abs(loss - entropy) < 0.03

ones = sum(load_record("mnist_mistakes")["confusion"][1])
assert ones == 1135  # of MNIST's 10,000 test images

# %% [markdown]
# It learns how often each digit comes, and always answers the most frequent one. Its loss is the entropy of the labels, at most $\log K$. Of MNIST's test images 11.35 % are right so; where one class has 95 % of the images, 95 %. A run whose loss stops here has found nothing in its images.

# %% [markdown]
# ## One step
#
# All of training:
#
# | line | what it does |
# |:--|:--|
# | `model.train()` | switches dropout on, and what else behaves differently in training |
# | `optimizer.zero_grad()` | clears the gradients |
# | `loss = F.cross_entropy(model(images), labels)` | forward |
# | `loss.backward()` | backward: a gradient for each parameter |
# | `clip_grad_norm_(model.parameters(), max_norm)` | shortens the gradient if it is too long |
# | `optimizer.step()` | moves the weights |
#
# **Clipping** takes all gradients together as *one* long vector. If its length (the root of the sum of squares, over all parameters) is above `max_norm`, everything is multiplied by the same number, so that the length becomes `max_norm`.
#
# > **Predict.** `backward()` is called a second time, on the same images, without `zero_grad()`. How large are the gradients then? And two parameters have gradients 3 and 4: what is left of them after `clip_grad_norm_` to 1, and after `clip_grad_value_` to 1, which cuts each number by itself?

# %% tags=["hide-input", "hide-output"]
torch.manual_seed(7)
model = vit.VisionTransformer(SMALL).double()
images, labels = data.normalised(data.images[:30]).double(), data.labels[:30]
F.cross_entropy(model(images), labels).backward()
once = [parameter.grad.clone() for parameter in model.parameters()]
F.cross_entropy(model(images), labels).backward()
twice = [parameter.grad for parameter in model.parameters()]
assert all(torch.allclose(2 * a, b) for a, b in zip(once, twice))
print("after a second backward: twice the gradients of the first")

for clip in (nn.utils.clip_grad_norm_, nn.utils.clip_grad_value_):
    pair = nn.Parameter(torch.zeros(1)), nn.Parameter(torch.zeros(1))
    pair[0].grad, pair[1].grad = torch.tensor([3.0]), torch.tensor([4.0])
    clip(pair, 1.0)
    print(f"{clip.__name__:17}", [round(p.grad.item(), 2) for p in pair])

# %% [markdown]
# Twice as large: PyTorch *adds*. Without `zero_grad()` each step goes along all gradients since the beginning, and nothing complains. The length of $(3, 4)$ is 5, so the first clip divides by 5 and keeps the direction; $(1, 1)$ points somewhere else.

# %% [markdown]
# ### Exercise 7.1 · `train_step`
#
# *Easy, 10 minutes.* One step of training.
#
# * `images` is `(B, C, h, w)`, `labels` is `(B,)`, `optimizer` holds the parameters of `model`, in one group or in several. `max_norm` is the greatest length that the gradient may have.
# * The model may come to you in evaluation mode, with old gradients in it.
# * The result is the mean cross-entropy of the batch before the step, as a plain number, a float. What really counts are the weights: the check compares them afterwards.


# %% tags=["exercise"]
def train_step(model, optimizer, images, labels, max_norm):
    """One step of the optimiser on one batch; returns the loss as a float."""
    # BEGIN SOLUTION
    model.train()
    optimizer.zero_grad()
    loss = F.cross_entropy(model(images), labels)
    loss.backward()
    nn.utils.clip_grad_norm_(model.parameters(), max_norm)
    optimizer.step()
    return loss.item()
    # END SOLUTION


# %% tags=["check"]
from course_lib.checks import check_train_step

check_train_step(train_step)

# %% [markdown] tags=["help"]
# <details>
# <summary>Hint</summary>
#
# The six lines of the table, in their order, and a `return`. `nn.utils.clip_grad_norm_` changes the gradients where they are, so there is nothing to assign.
#
# </details>
#
# <details>
# <summary>I get “fc1.weight: at index ...”: the loss is right, the weights are not</summary>
#
# Then the gradients that `optimizer.step()` used were not those of this batch, or they were not clipped. Say aloud what is in `parameter.grad` before and after each of your lines.
#
# </details>
#
# <details>
# <summary>Why must it be <code>loss.item()</code>?</summary>
#
# `loss` is a tensor with a graph behind it: it remembers how it was computed. `backward()` lets go of the activations in it, so a loss kept after a step costs little. Without `backward()`, as in an evaluation that forgot `no_grad`, it keeps all activations of its batch, and after some hundred batches the memory is full. A float keeps nothing.
#
# </details>
# %% [markdown]
# ## The learning rate
#
# The **learning rate** says how long a step is. AdamW, the usual optimiser of Transformers, divides each gradient by its own usual size. So a step moves each weight by *at most about the learning rate*, and by less where the gradients of successive steps disagree ([Kingma & Ba 2015](https://arxiv.org/abs/1412.6980), section 2.1). The paper's ViT-B/16 had peaks between $8 \cdot 10^{-4}$ and $3 \cdot 10^{-3}$ (its table 3).
#
# Easiest is a constant rate. Two changes are usual:
#
# * **Warm-up.** At first AdamW knows the usual size of the gradients from a few examples only, and its steps are of very uneven length ([Liu et al. 2020](https://arxiv.org/abs/1908.03265)). So the rate first rises on a straight line.
# * **Cosine.** Near the end, steps that stay long jump about the minimum. So the rate falls along half a cosine ([Loshchilov & Hutter 2017](https://arxiv.org/abs/1608.03983)).

# %% [markdown]
# ### Exercise 7.2 · `warmup_cosine_lr`
#
# *Easy, 10 minutes.* The learning rate of each step, with both.
#
# * Steps are counted from 0 to `total_steps - 1`. The first `warmup_steps` of them are the warm-up; there may be none, and at least one step comes after them.
# * In the warm-up the rate rises on a straight line. Step 0 already has `peak / warmup_steps`, since a rate of 0 would waste the step, and the last step of the warm-up has `peak`.
# * From step `warmup_steps` on, the rate is `peak` times $\tfrac12(1 + \cos(\pi p))$. The progress $p$ is 0 at that step, and would be 1 at step `total_steps`. Nothing holds the rate up on its way down.
#
# For 12 steps, 4 of them warm-up, and a peak of 1, these are the rates:

# %%
#| alt: Twelve dots, the rate against the step. The first four rise on a straight line from 0.25 to 1; the fifth is at 1 too; from there the dots fall along half a cosine, to 0.04 at step 11.
rates = [train.warmup_cosine_lr(step, 12, 4, 1.0) for step in range(12)]
print([round(rate, 2) for rate in rates])
_, ax = plt.subplots(figsize=(4.6, 1.9))
ax.plot(rates, "o-", color=viz.KEY)
ax.set(xlabel="step", ylabel="learning rate", xticks=range(12), ylim=(0, 1.1))
plt.show()


# %% tags=["exercise"]
def warmup_cosine_lr(step, total_steps, warmup_steps, peak):
    """A straight line up to `peak`, then half a cosine down towards 0; returns a float."""
    # BEGIN SOLUTION
    if step < warmup_steps:
        return peak * (step + 1) / warmup_steps
    progress = (step - warmup_steps) / (total_steps - warmup_steps)
    return peak * 0.5 * (1 + math.cos(math.pi * progress))
    # END SOLUTION


# %% tags=["check"]
from course_lib.checks import check_warmup_cosine_lr

check_warmup_cosine_lr(warmup_cosine_lr)

# %% [markdown] tags=["help"]
# <details>
# <summary>Hint</summary>
#
# Two cases, told apart by `step < warmup_steps`. In the first, the share of the peak is one more than the number of the step, out of `warmup_steps`. In the second, how many steps after the warm-up is it, and out of how many? The cosine is `math.cos`, and $\pi$ is `math.pi`.
#
# </details>
#
# <details>
# <summary>I get “ZeroDivisionError”</summary>
#
# There may be no warm-up. Divide by `warmup_steps` only in the case where `step < warmup_steps`: with no warm-up it never happens.
#
# </details>
#
# <details>
# <summary>Two steps have the peak. Is that right?</summary>
#
# Yes: the last of the warm-up and the first of the cosine. The numbers above the picture show it, `1.0, 1.0`.
#
# </details>

# %% [markdown]
# ### Too low, too high
#
# The function below trains a small ViT on the digits for 16 epochs (an **epoch** is one pass through the training images), at the given rates, one a step. `benchmarks/learning_rates.py` has called it for six peaks and four schedules, with five seeds each. (A seed starts the random numbers: of the weights, and of the order of the images.)

# %%
EPOCHS, BATCH, STEPS = 16, 48, 400
SCHEDULES = ("constant", "warm-up, constant", "cosine", "warm-up, cosine")


def scheduled(schedule, peak):
    """The learning rates of all steps, for the four schedules that are compared."""
    warmup_steps = STEPS // 10 if schedule.startswith("warm-up") else 0
    if schedule.endswith("cosine"):
        return [
            train.warmup_cosine_lr(step, STEPS, warmup_steps, peak)
            for step in range(STEPS)
        ]
    return [
        peak * min(1, (step + 1) / max(warmup_steps, 1)) for step in range(STEPS)
    ]


def shuffled(data, epochs):
    """Row numbers, batch after batch; in each epoch the images come in a new order."""
    orders = (torch.randperm(len(data)) for _ in range(epochs))
    return [rows for order in orders for rows in order.split(BATCH)]


def train_digits(rates):
    """Train a small ViT on the digits, one step for each rate; returns it and all losses."""
    data, model = digits("train"), vit.VisionTransformer(SMALL)
    optimizer, losses = torch.optim.AdamW(train.param_groups(model, 0.05)), []
    for rate, rows in zip(rates, shuffled(data, EPOCHS)):
        for group in optimizer.param_groups:
            group["lr"] = rate
        logits = model(data.normalised(data.images[rows]))
        loss = F.cross_entropy(logits, data.labels[rows])
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        losses.append(loss.item())
    return model, losses


assert len(shuffled(data, EPOCHS)) == STEPS

# %% [markdown]
# > **Predict.** Four runs: constant $10^{-4}$; constant $10^{-2}$; $10^{-2}$ with a warm-up, then constant; $10^{-2}$ with a warm-up and a cosine. Sketch the four curves of the training loss. Where do they part?

# %% tags=["hide-input"]
#| alt: Two diagrams over the same 400 steps. Above, the learning rate: near 0 for 1e-4; flat at 1e-2; rising to it on a straight line for 40 steps and then flat; rising as well and then falling along a cosine to 0. Below, the training loss on a logarithmic axis, a line and a band for five seeds each. The lowest rate comes down slowly, to 1.5. The constant 1e-2 falls behind within 100 steps and ends near 0.35. The two with a warm-up go together to about step 190; then the constant one levels off near 0.2, and the one with a cosine falls to 0.01.
record = load_record("learning_rates")


def of(schedule, rate, name="losses"):
    """What was recorded of these runs: one row for each seed."""
    runs = record["runs"]
    return torch.tensor(
        [r[name] for r in runs if (r["schedule"], r["rate"]) == (schedule, rate)],
        dtype=torch.float64,
    )


SHOWN = (
    ("constant", 1e-4, viz.MUTED),
    ("constant", 1e-2, viz.QUERY),
    ("warm-up, constant", 1e-2, viz.VALUE),
    ("warm-up, cosine", 1e-2, viz.KEY),
)
figure, (above, below) = plt.subplots(
    2, figsize=(6.6, 4.2), sharex=True, height_ratios=[1, 2]
)
for (schedule, peak, color), width in zip(SHOWN, (2, 6, 4, 2)):
    above.plot(scheduled(schedule, peak), color=color, linewidth=width)
    losses = of(schedule, peak)  # (seeds, STEPS / 10)
    steps = (torch.arange(losses.shape[1]) + 0.5) * STEPS / losses.shape[1]
    low, high = losses.aminmax(dim=0)
    below.fill_between(steps, low, high, color=color, alpha=0.2, linewidth=0)
    below.plot(
        steps, losses.mean(dim=0), color=color, label=f"{schedule}, {peak:g}"
    )
above.set(ylim=(0, 0.011), ylabel="learning rate")
below.set(yscale="log", xlabel="step", ylabel="training loss", xlim=(0, STEPS))
below.set_yticks([0.01, 0.1, 1], [0.01, 0.1, 1])
below.legend(fontsize=9, loc="lower left")
plt.show()

grey, orange, green, blue = (
    of(schedule, peak)[:, -3:].mean(dim=1) for schedule, peak, _ in SHOWN
)  # each seed's loss in the last 30 steps
assert grey.min() > 1 and orange.min() > green.max() and green.min() > blue.max()
assert 10 < green.mean() / blue.mean() < 20

# %% [markdown]
# **Keep this picture: the learning rate above the loss.** For the grey run 400 steps are not enough. The others have the same peak. Orange starts at the full rate, and never makes up for it. Green starts slowly and ends lower with every seed, but levels off: its steps are too long for what is left. Blue, whose rate falls, ends below a tenth of green's loss.
#
# ### On new digits
#
# All 120 runs on validation, and what each change gains at each peak, paired by seed:

# %% tags=["hide-input"]
#| alt: Share right on validation against the peak of the learning rate, 1e-4 to 3e-2: four lines with five dots at each rate. All rise up to 3e-3, the two with a cosine from lower down. At 1e-2 the constant one falls, the two with either a warm-up or a cosine stay, and the one with both rises a little more. At 3e-2 all are lower, the two with a cosine least.
rates = sorted({run["rate"] for run in record["runs"]})
accuracy = {  # (rates, seeds)
    schedule: torch.stack([of(schedule, rate, "val_accuracy") for rate in rates])
    for schedule in SCHEDULES
}
_, ax = plt.subplots(figsize=(6.4, 3))
for row, (schedule, color) in enumerate(
    zip(SCHEDULES, (viz.QUERY, viz.VALUE, viz.OUTPUT, viz.KEY))
):
    places = torch.arange(len(rates)) + 0.1 * (row - 1.5)  # side by side
    ax.plot(places, accuracy[schedule].mean(dim=1), color=color, label=schedule)
    ax.plot(places, accuracy[schedule], "os^D"[row], color=color, alpha=0.6)
ax.set_xticks(range(len(rates)), ["1e-4", "3e-4", "1e-3", "3e-3", "1e-2", "3e-2"])
ax.set(xlabel="peak of the learning rate", ylabel="right on validation")
ax.legend(fontsize=9, loc="lower center")
plt.show()

constant, slow, falling, both = (accuracy[schedule] for schedule in SCHEDULES)
gains = {}
print("peak       warm-up gains   the fall gains    (points)")
for row, rate in enumerate(rates):
    warmup = slow[row] + both[row], constant[row] + falling[row]
    fall = falling[row] + both[row], constant[row] + slow[row]
    gains[rate] = [paired_difference(a / 2, b / 2) for a, b in (warmup, fall)]
    cells = [f"{100 * g.ahead:+6.1f} ± {100 * g.half:4.1f}" for g in gains[rate]]
    print(f"{rate:.0e}    {'     '.join(cells)}")

warmups, falls = ([gain[part] for gain in gains.values()] for part in (0, 1))
assert [gain.clear for gain in falls] == [True] * 3 + [False] + [True] * 2
assert [gain.ahead > 0 for gain in falls] == [False] * 3 + [True] * 3
assert [gain.clear for gain in warmups] == [False] * 4 + [True, False]
assert all(4.5 < 100 * found[4].ahead < 6 for found in (warmups, falls))
assert round(100 * falls[5].ahead) == 12
for found in accuracy.values():
    assert found[-1].mean() < found.mean(dim=1).max() - 0.15

# %% [markdown]
# At the three lowest peaks the *fall* costs accuracy: a rate that falls is on average half its peak. At $3 \cdot 10^{-3}$ neither change can be told from nothing. At $10^{-2}$ both gain, five points or so. At $3 \cdot 10^{-2}$ the fall gains twelve, the warm-up cannot be told from nothing, and all four are at least 15 points below their best. (With twelve intervals of 95 % the odds are about even that one misses.)
#
# So **a warm-up makes a high rate usable, and the fall lets the loss settle**; on new digits, **a rate that falls wants a higher peak**.
#
# ### A learning-rate finder
#
# A cheap look beforehand ([Smith 2017](https://arxiv.org/abs/1506.01186)): one run of 100 steps, in which the rate grows exponentially from far too small to far too large.
#
# > **Predict.** From $10^{-5}$ to $1$. At which rates does the loss fall fastest, and from which on does it rise? Where between are the best peaks of the runs above?

# %% tags=["hide-input"]
#| alt: The training loss of one run against its learning rate, which grows from 1e-5 to 1 on a logarithmic axis. Up to 3e-4 the loss stays near 2.3; then it falls, to 1.9 near 1e-2; then it rises to 2.5, falls a little, and near 0.5 leaves the picture. A grey band marks the best peaks of the runs above, 3e-3 to 1e-2.
torch.manual_seed(47)
growing = torch.logspace(-5, 0, 100).tolist()
_, losses = train_digits(growing)
smooth = torch.tensor(losses).unfold(0, 9, 1).mean(dim=1)  # of nine steps each
places = growing[4:-4]
best = {rates[found.mean(dim=1).argmax()] for found in accuracy.values()}
_, ax = plt.subplots(figsize=(6.4, 2.6))
ax.axvspan(min(best), max(best), color=viz.MUTED, alpha=0.25, linewidth=0)
ax.plot(places, smooth, color=viz.KEY)
ax.set(xscale="log", xlabel="learning rate", ylabel="training loss", ylim=(1.5, 4))
plt.show()

steepest = places[(smooth[:-10] - smooth[10:]).argmax() + 5]
lowest = places[smooth.argmin()]
assert lowest / 10 < steepest < lowest and 4e-3 < lowest < 2e-2
assert smooth[-1] > 4 and best == {3e-3, 1e-2}
assert constant[4].max() < both[4].min()  # at 1e-2, from the first step on

# %% [markdown]
# It is lowest near $10^{-2}$, falls fastest within the factor of ten below that, and rises above. The band is where the best peaks are: a good guess, for 100 steps. What the finder does not say: it is at each rate for a moment only, on training images, and its slow growth is itself a warm-up. So it cannot see that $10^{-2}$ *from the first step on* does badly, nor how the rate should fall. Start a little below its lowest point, and try a factor of three up and down.

# %% [markdown]
# ## Weight decay
#
# **Weight decay** pulls each weight a little towards 0 at every step. There are two ways to write it.
#
# * As a part of the loss, $\tfrac{\lambda}{2} w^2$ for each weight: $\lambda w$ is added to the gradient *before* the optimiser sees it. `torch.optim.Adam(weight_decay=...)` does so.
# * As itself: beside the step, multiply the weight by $1 - \eta\lambda$, with the learning rate $\eta$. That is the W in **AdamW** ([Loshchilov & Hutter 2019](https://arxiv.org/abs/1711.05101)).
#
# With plain gradient descent the two agree. But Adam *divides the gradient by its own size*.
#
# > **Predict.** One weight, $w = 1$, learning rate $0.1$, weight decay $0.1$, one step. First the gradient is $0.5$, then it is $0$, as for a weight that this batch does not need. Without decay, Adam moves the first by $0.1$, to $0.9$, and leaves the second alone. Where do Adam and AdamW take them with decay?


# %% tags=["hide-output"]
def one_step(optimizer, gradient, weight_decay):
    weight = nn.Parameter(torch.tensor(1.0))
    weight.grad = torch.tensor(gradient)
    optimizer([weight], lr=0.1, weight_decay=weight_decay).step()
    return round(weight.item(), 3)


adam, adamw = torch.optim.Adam, torch.optim.AdamW
print("                     gradient 0.5   gradient 0")
for name, optimizer, decay in (
    ("Adam, no decay", adam, 0.0),
    ("Adam, decay 0.1", adam, 0.1),
    ("AdamW, decay 0.1", adamw, 0.1),
):
    print(f"{name:16} {one_step(optimizer, 0.5, decay):>16}", end="")
    print(f"{one_step(optimizer, 0.0, decay):>13}")

# %% [markdown]
# Adam's decay does *nothing* in the first column: a gradient of $0.6$ instead of $0.5$, divided by its own size, is the same step. In the second it does far too much: $0.1$, nothing but decay, divided by its own size, is a full step. AdamW takes the same from both, $\eta\lambda w = 0.01$.
#
# ### What must not decay
#
# Decay is meant for what *multiplies* the features: the weights of linear layers and convolutions. **Biases** are added. **Norms** have a scale that starts at 1, not 0. The **class token** and the **positions** (of chapter 5's relative kind too) are features themselves.
#
# The paper's authors ([big_vision](https://github.com/google-research/big_vision)), DeiT and timm leave out these four. The trap: biases and norms have one dimension, so it is tempting to let everything decay that has two or more. But `cls_token` is `(1, 1, D)` and `pos_embed` is `(1, N+1, D)`.

# %% [markdown]
# ### Exercise 7.3 · `param_groups`
#
# *Medium, 10 minutes.* Tell the optimiser what decays. An optimiser takes a list of dictionaries in place of a list of parameters, each with settings of its own.
#
# * `model` is any model of linear layers, convolutions (`nn.Conv2d`) and norms: a ViT of this course with any kind of positions, or, say, an `nn.Sequential`, perhaps with others in it. Its biases and the parameters of its norms have one dimension.
# * The result is a list of two dictionaries. One has in `"params"` the list of all parameters that decay, and in `"weight_decay"` the given number. The other has all the rest, and `0.0`.
# * Each parameter is in exactly one of them, once, also if the model uses it in two places, or two layers share it. What is in none is never trained. (So what is frozen, with `requires_grad` False, may be left out.)
# * You only make lists: the parameters themselves stay as they are.
#
# `model.named_parameters()` gives pairs such as `("blocks.0.attn.qkv.weight", parameter)`. In our ViTs the special names end in `cls_token`, `pos_embed` and `bias_table` (as in `relative_position_bias_table`), also where a ViT is a part of a larger model.


# %% tags=["exercise"]
def param_groups(model, weight_decay):
    """Two groups for the optimiser: weights of layers decay, everything else does not."""
    # BEGIN SOLUTION
    decay, rest = [], []
    for name, parameter in model.named_parameters():
        special = name.endswith(("cls_token", "pos_embed", "bias_table"))
        (rest if special or parameter.ndim < 2 else decay).append(parameter)
    return [
        {"params": decay, "weight_decay": weight_decay},
        {"params": rest, "weight_decay": 0.0},
    ]
    # END SOLUTION


# %% tags=["check"]
from course_lib.checks import check_param_groups

check_param_groups(param_groups)

# %% [markdown] tags=["help"]
# <details>
# <summary>Hint</summary>
#
# Two empty lists, one loop, one `if`. What has fewer than two dimensions (`parameter.ndim`) is a bias or belongs to a norm, whatever its name. Of the rest, three kinds are told by the end of their name: `name.endswith((..., ...))` takes several at once.
#
# </details>
#
# <details>
# <summary>It is right for a ViT and wrong for the nn.Sequential</summary>
#
# There the layers have numbers for names, and a norm's scale is called `1.weight`. Its one dimension gives it away.
#
# </details>

# %% [markdown]
# ## Evaluation
#
# How good is the model? That takes a loop over images that were not trained on. Three lines of it can go wrong.
#
# Four images come in a batch of three, all right, and a batch of one, wrong. The accuracy is $0.75$; the mean over the batches is $0.5$. So: **add up over images, divide once, at the end**, and likewise for the loss.
#
# The other two lines are `model.eval()`, which switches dropout off, so that the answers are not random, and `torch.no_grad()`, which keeps nothing for a backward pass and saves memory and time. Your `train_step` switches back.

# %% [markdown]
# ### Exercise 7.4 · `evaluate`
#
# *Medium, 10 minutes.* The exact loss and accuracy of a model.
#
# * `batches` gives pairs of `images` $(B, C, h, w)$ and `labels` $(B,)$. The batches may be of any sizes, there is at least one, and you can go through them once. They have no length.
# * The model comes in whatever mode it is, and you may leave it in another. Nothing else about it changes, its gradients included.
# * The result is `(loss, accuracy)`, two floats: the mean cross-entropy over all images, and the share of images whose largest logit is that of the right class. No gradients may be recorded on the way.


# %% tags=["exercise"]
def evaluate(model, batches):
    """(loss, accuracy) over all images, as two floats."""
    # BEGIN SOLUTION
    model.eval()
    loss, right, count = 0.0, 0, 0
    with torch.no_grad():
        for images, labels in batches:
            logits = model(images)
            loss += F.cross_entropy(logits, labels, reduction="sum").item()
            right += (logits.argmax(dim=-1) == labels).sum().item()
            count += len(labels)
    return loss / count, right / count
    # END SOLUTION


# %% tags=["check"]
from course_lib.checks import check_evaluate

check_evaluate(evaluate)

# %% [markdown] tags=["help"]
# <details>
# <summary>Hint</summary>
#
# Three sums, over all batches: of the losses, of the right answers, of the images. `F.cross_entropy` has an argument `reduction`, and `"sum"` is one of its values. `.item()` makes a plain number of a tensor with one element.
#
# </details>
#
# <details>
# <summary>I get another accuracy each time</summary>
#
# Then something in the model is random: it is still in training mode. `model.eval()`, before the loop.
#
# </details>
#
# <details>
# <summary>I get “object of type 'zip' has no len()”</summary>
#
# Batches can come from a generator, which makes one after the other and does not know how many there will be. Count the images as they come.
#
# </details>

# %% [markdown]
# ### Your own training
#
# The four functions, at work together. (What you have not written yet, the course lends you.)

# %% tags=["nbval-ignore-output"]
my_step, my_rate, my_groups, my_evaluate = my_pieces(
    "train_step", "warmup_cosine_lr", "param_groups", "evaluate"
)


def my_training(model, order, warmup_steps, lr=3e-3):
    """One step for each batch of row numbers in `order`; returns the gradients' lengths."""
    weights, lengths = list(model.parameters()), []
    optimizer = torch.optim.AdamW(my_groups(model, 0.05))
    optimizer.register_step_pre_hook(
        lambda *_: lengths.append(
            nn.utils.get_total_norm([w.grad for w in weights])
        )
    )
    for step, rows in enumerate(order):
        for group in optimizer.param_groups:
            group["lr"] = my_rate(step, len(order), warmup_steps, lr)
        images = data.normalised(data.images[rows])
        my_step(model, optimizer, images, data.labels[rows], max_norm=1.0)
    return torch.stack(lengths)


torch.manual_seed(13)
model = vit.VisionTransformer(replace(SMALL, depth=3))
clipped = my_training(model, shuffled(data, 12), warmup_steps=30) > 0.99
_, accuracy = my_evaluate(model, val.batches(128))
print(f"right on 300 new digits: about {round(accuracy, 1):.0%}")
print(f"gradients that were clipped: about {4 * clipped.float().mean():.0f} in 4")

# %% [markdown]
# A Vision Transformer, trained from nothing, by your four functions. And look at the last line: with a `max_norm` of 1, clipping is no emergency brake here but the rule.
#
# ### Two curves that part
#
# `fit` (`course_lib/train/loop.py`) is the course's loop around such functions, and what later chapters import. It returns both losses of each epoch, in training and on validation images.
#
# > **Predict.** A hundred digits to train on, and sixty passes over them. Sketch the training loss, and the loss on 300 digits that are not trained on.

# %% tags=["hide-input"]
#| alt: Two losses over 60 epochs. Both start at 2.3 and fall together for the first epochs. The loss of the 100 training digits falls to nearly 0. That of the 300 new ones is lowest at about 1.9, which a grey line marks, and ends above 2.2.
set_seed(43)
few = TrainConfig(
    epochs=60, batch_size=50, lr=3e-3, warmup_epochs=5, device="cpu",
    precision="float32",
)  # fmt: skip
model = vit.VisionTransformer(SMALL)
history = fit(model, data.take(slice(0, 100)), val, few, quiet=True)
_, ax = plt.subplots(figsize=(6.4, 2.8))
for name, label, color in (
    ("train_loss", "100 training digits", viz.QUERY),
    ("val_loss", "300 new digits", viz.KEY),
):
    viz.learning_curves([{"curve": history}], name, ax, label=label, color=color)
best = min(history, key=lambda row: row["val_loss"])
ax.axvline(best["epoch"], color=viz.MUTED, linewidth=1)
ax.set(ylabel="loss", ylim=(0, None))
ax.legend(fontsize=9)
plt.show()

last = history[-1]
assert last["train_loss"] < 0.1 and 1.6 < best["val_loss"] < 2.1
assert last["val_loss"] > best["val_loss"] + 0.25
assert last["val_accuracy"] > best["val_accuracy"] + 0.03
with torch.no_grad():
    logits = model(val.normalised(val.images))
losses = F.cross_entropy(logits, val.labels, reduction="none")
wrong = losses[logits.argmax(dim=1) != val.labels].mean()
# More than the mistakes of the best epoch, had they made up all of its loss.
assert wrong > best["val_loss"] / (1 - best["val_accuracy"])

# %% [markdown]
# They fall together, and part. That is **overfitting**: from some step on the model learns what is particular to these hundred digits. (*Underfitting* is the grey line of the rates: the training loss itself is still high.) The usual remedies are more images, augmentation (below), and *early stopping*, which ends a run that no longer gets better on validation: `TrainConfig(patience=5)`.
#
# By which number it stops matters: here the share of right answers on validation still *rises* while the loss does, too. The model gets more digits right, and is surer of its mistakes.
#
# ### Three splits
#
# Why *two* more splits, validation and test? Because you will try things, say twenty learning rates, and keep the best. Suppose you chose on the test images, and the twenty are in truth equally good: each reads 90 % of all digits.
#
# > **Predict.** You report what the best of twenty got on 300 test images. How much will it be, on average: 90 %, 91 %, 93 %, 96 %? And with 10,000 images?

# %% tags=["hide-output"]
torch.manual_seed(17)
for count in (300, 10_000):
    twenty = torch.distributions.Binomial(count, torch.tensor(0.9))
    scores = twenty.sample((20_000, 20)) / count  # twenty models, 20,000 times
    best = scores.argmax(dim=1, keepdim=True)
    again = twenty.sample((20_000, 20)) / count  # the same models, fresh images
    reported, fresh = (s.gather(1, best).mean().item() for s in (scores, again))
    print(f"{count:6} images: reported {reported:.1%}, on fresh images {fresh:.1%}")

# %% [markdown]
# Three points out of thin air on 300 images, half a point on 10,000, and gone on fresh images.
#
# So: **choose on the validation images, as often as you like, and look at the test images once, at the end.** The recipes of this course were chosen on validation, which is the last 5,000 of MNIST's 60,000 training images.

# %% [markdown]
# ## Forty versions of a digit
#
# A digit that is turned by ten degrees is the same digit. The model does not know, unless it is shown. **Augmentation** changes the training images at random, each time anew, in ways that do not change the label. `Augment` does it *with the whole batch at once, on the device*: forty random angles are one tensor of 40 numbers. On two processor cores that is 14 to 40 times as fast as a `DataLoader`, image by image (`benchmarks/input_speed.py`).

# %%
#| alt: Forty versions of one handwritten digit in four rows of ten: turned to the left and to the right, larger, smaller, slanted, shifted, each in another way. All can be read.
jitter = Augment(rotate=15, scale=0.15, shear=0.15, translate=0.1)
set_seed(29)
rows = torch.full((40,), 2)  # the same image forty times
versions, targets = jitter(examples, rows, classes=10)


def as_pixels(batch):
    """Normalised images back on the scale from 0 to 1, to be drawn."""
    return (batch * examples.std[0] + examples.mean[0]).clamp(0, 1)


viz.image_grid(as_pixels(versions), columns=10)
plt.show()
assert len(versions.unique(dim=0)) == 40 and (targets.argmax(dim=-1) == 2).all()

# %% [markdown]
# Each time anew: whoever makes `batches = list(loader)` once, to save time, has frozen the order and the changes, and every epoch is a copy of the first.
#
# ### Look at the batch
#
# > **Predict.** Somebody takes over the augmentation of a recipe for photographs. No error, no warning. Below is a batch as the model gets it: augmented, normalised, with its labels. What do you see that no number shows?

# %% tags=["hide-input", "hide-output"]
#| alt: Ten handwritten digits in a row, slightly turned, with their labels above them. Some are mirrored: the 5 looks like a 2, the 9 like the letter P.
set_seed(37)
batch, targets = Augment(rotate=10, flip=True)(examples, torch.arange(10), 10)
titles = targets.argmax(dim=-1).tolist()
viz.image_grid(as_pixels(batch), columns=10, titles=titles)
plt.show()
print(tuple(batch.shape), f"from {batch.min():.1f} to {batch.max():.1f}")
assert round((255 - 0.1307) / 0.3081, -2) == 800

# %% [markdown]
# Some digits are mirrored, and the 5 looks like a 2: `flip=True` mirrors about half of the images, which for photographs of cats is right. **Which changes keep the label is knowledge about the data, and it comes from you.** Labels of other images, paper and ink exchanged, digits shifted out of the picture: the same look shows them. The numbers, too: paper is $(0 - 0.1307)/0.3081 = -0.4$, ink $2.8$. From 0 to 1, and it was not normalised; up to 800, and bytes were taken for shares.
#
# Changed images are harder than those of validation, which nobody turns. So with augmentation the training accuracy can lie *below* the validation accuracy. Compare validation with validation.

# %% [markdown]
# ## A run that survives
#
# `fit` saves the run in a folder, if it is given one. Here are three epochs, and the same with a Ctrl-C in the second.
#
# > **Predict.** The interrupted run is started again with the same call, and goes on. At the end, are its weights those of the undisturbed run to a few per cent, to $10^{-5}$, to the last bit?


# %% tags=["hide-output"]
def fresh_model():
    set_seed(31)
    return vit.VisionTransformer(replace(SMALL, depth=2, drop_rate=0.1))


def press_ctrl_c(model, step):
    """When the model runs for the given time in training, a Ctrl-C arrives."""
    runs = itertools.count(1)

    def hook(module, inputs):
        if module.training and next(runs) == step:
            signal.raise_signal(signal.SIGINT)

    model.register_forward_pre_hook(hook)


config = TrainConfig(
    epochs=3, batch_size=BATCH, augment=Augment(rotate=10, translate=0.1),
    device="cpu", precision="float32",
)  # fmt: skip
undisturbed, disturbed, resumed = fresh_model(), fresh_model(), fresh_model()
fit(undisturbed, data, val, config, quiet=True)

with tempfile.TemporaryDirectory() as folder:
    press_ctrl_c(disturbed, step=40)
    try:
        fit(disturbed, data, val, config, folder=folder, quiet=True)
    except KeyboardInterrupt:
        print("stopped; saved last:", max(Path(folder).glob("step-*.pt")).name[:13])
    history = fit(resumed, data, val, config, folder=folder, quiet=True)

print("epochs:", [row["epoch"] for row in history])
pairs = zip(resumed.parameters(), undisturbed.parameters())
print("largest difference:", max((a - b).abs().max().item() for a, b in pairs))

# %% [markdown]
# To the last bit. Two things make it possible: **everything is saved**, the optimiser's means too, and **every step has random numbers of its own**, from a seed made of the run's seed and the step's number. (So it is on a CPU, with as many threads and the same PyTorch; a graphics card adds up in no fixed order.)
#
# The course's tests hold more: a batch cut into parts (`accumulate`), or shared by two processes, gives the same weights to $10^{-10}$ in `float64`. A loss that is no finite number stops the run *before* the step.

# %% [markdown]
# ## MNIST
#
# Now the real thing. Four recipes, each run once:
#
# | recipe | model | training |
# |:--|:--|:--|
# | `mnist_report_d` | a ViT of width 32, 4 blocks, patches of 4 | a student report's: 20 epochs, batches of 64, cosine from $10^{-3}$, shifts by up to 5 % |
# | `mnist_cnn` | a convolutional network with as many parameters | the same |
# | `mnist_fast` | the course's ViT, width 96, 3 blocks, patches of 4 | 13 epochs, warm-up to $3 \cdot 10^{-3}$, decay, clipping, more augmentation; label smoothing, averaged weights (chapter 8) |
# | `mnist_vit` | the same as `mnist_fast` | 60 epochs, batches of 32, peak of $2 \cdot 10^{-3}$, and random erasing (chapter 8) |
#
# The report has 98.10 % for its ViT, and says that an ordinary convolutional network of that size gets about 90 %.
#
# > **Predict.** Do you believe the 90 %? Write down what you expect of each of the four.

# %% tags=["hide-input", "hide-output"]
#| alt: Share right on validation against the epoch, on the left, and against the minutes of one processor core, on the right, both axes logarithmic, for the four recipes: one line each. All rise steeply at first and then flatten between 0.97 and 1.
NAMES = ("mnist_report_d", "mnist_cnn", "mnist_fast", "mnist_vit")
runs_of = {name: load_record(name)["runs"] for name in NAMES}

print("                parameters  epochs  core minutes  right on test")
for name, (run,) in runs_of.items():
    print(
        f"{name:15} {run['parameters']:>10,} {len(run['curve']):>7}",
        f"{run['cpu_seconds'] / 60:>13.0f} {run['test_accuracy']:>14.2%}",
    )
assert runs_of["mnist_cnn"][0]["test_accuracy"] > 0.97
fast, best = find_recipe("mnist_fast"), find_recipe("mnist_vit")
assert fast.model == best.model and best.train.augment.erase > 0
assert fast.train.augment == replace(best.train.augment, erase=0.0)

COLORS = dict(zip(NAMES, (viz.MUTED, viz.VALUE, viz.QUERY, viz.KEY)))
figure, axes = plt.subplots(1, 2, figsize=(7, 2.9), sharey=True)
for ax, across in zip(axes, ("epoch", "cpu_seconds")):
    for name, runs in runs_of.items():
        viz.learning_curves(
            runs, ax=ax, across=across, label=name, color=COLORS[name]
        )
    ax.set(xscale="log", ylim=(0.95, 1.0))
axes[0].set_xticks([1, 2, 5, 10, 20, 60], [1, 2, 5, 10, 20, 60])
axes[0].set(ylabel="right on validation")
axes[1].set_xticks([60, 600, 6000], [1, 10, 100])
axes[1].set(xlabel="minutes of one core", ylabel="")
for ax in axes:
    ax.minorticks_off()
axes[0].legend(fontsize=9)
plt.show()

race = load_record("mnist_race")
ours, theirs = race["runs"]
assert (ours["epochs"], theirs["epochs"], race["goal"]) == (4, 13, 0.981)
assert round(race["times_as_fast"]["cpu_seconds"]) == 6
ours, theirs = (find_recipe(run["recipe"]) for run in race["runs"])
for part in ("embed_dim", "depth", "num_heads", "pos_embed", "global_pool"):
    assert getattr(ours.model, part) != getattr(theirs.model, part)
for part in (
    "lr",
    "weight_decay",
    "clip_grad",
    "label_smoothing",
    "ema",
    "augment",
):
    assert getattr(ours.train, part) != getattr(theirs.train, part)
assert ours.train.warmup_epochs > theirs.train.warmup_epochs == 0
for part in ("weight_init", "img_size"):
    assert getattr(ours.model, part) != getattr(theirs.model, part)
sizes = [runs_of[r.name][0]["parameters"] for r in (ours, theirs)]
assert round(sizes[0] / sizes[1], 1) == 4.2

# %% [markdown]
# **If a baseline is much worse than everybody else's, look for the mistake in the baseline** before you praise your model. How the 90 % came about we do not know.
#
# ### A race
#
# Once, until 98.10 % of the validation digits are right: `mnist_fast` is there after 4 epochs, `mnist_report_d` after 13, and with six times the computing. Which part of the recipe does it? *The race cannot say.* The two differ in a bundle: 4.2 times the parameters, width, depth, kind of positions, pooling, start, image size; peak rate, warm-up, decay, clipping, smoothing, averaging, augmentation. To name a cause, change one thing at a time.
#
# ### How exact is a test set?
#
# > **Predict.** A model has 99.5 % right on 10,000 test images. By how much could that change on another 10,000, by chance alone? How many images is that?

# %% tags=["hide-output"]
low, high = share_interval(9950, 10_000)  # 95 %
print(f"the share of all digits that it reads: {low:.2%} to {high:.2%}")
half = math.sqrt(2) * (high - low) / 2  # both sets vary
print(f"another set: ± {half:.2%}, {half * 10_000:.0f} images")

# %% [markdown]
# The first line is a *confidence interval*: made so, it holds the true share for about 95 of 100 test sets. A claim of 99.6 against 99.5 % is one about ten images.
#
# ### What it gets wrong
#
# `mnist_vit` on the test split; below it the 24 images of the highest loss, label → answer, and how sure the model is. Read them yourself first.

# %% tags=["hide-input"]
#| alt: Above, a confusion matrix of ten by ten digits, row the true class, column the answer. The numbers on the diagonal are around a thousand each; a few cells beside it hold small numbers, up to 4. Below, 24 handwritten digits in three rows of eight, each with its label, an arrow and the answer of the model above it. Many are hard to read: open loops, missing strokes, digits between two classes.
mistaken = load_record("mnist_mistakes")
figure, (above, below) = plt.subplots(2, figsize=(7, 7.6), height_ratios=[1.4, 1])
viz.confusion_matrix(torch.tensor(mistaken["confusion"]), above)
worst = mistaken["mistakes"]
viz.image_grid(
    from_record(worst),
    below,
    columns=8,
    titles=[f"{m['label']} → {m['answer']}, {m['probability']:.0%}" for m in worst],
    colors=[viz.INK if m["label"] == m["answer"] else viz.QUERY for m in worst],
)
plt.show()

# %% [markdown]
# ### Look again
#
# A digit that is moved by one pixel is the same digit. For a ViT nearly every patch with ink in it has changed. Show `mnist_vit` each image five times, as it is and moved by one pixel to each side, and average the probabilities (*test-time augmentation*). On the *same* images only those count that just one of the two ways gets right. If both were equally good, these would fall like coins: how often so unevenly is **McNemar's test**.
#
# > **Predict.** The same weights, five looks instead of one. Fewer mistakes, more, or the same? Is the difference more than chance? And for the CNN of the race, `mnist_cnn`?

# %% tags=["hide-input", "hide-output"]
print(
    "model      split  one look  five looks  right by one only  by five only    p"
)
turned = {}  # images that are right in one of the two ways only
for run in load_record("mnist_looks")["runs"]:
    for split in ("val", "test"):
        found = run[split]
        counts = found["only_one"], found["only_five"]
        turned[run["recipe"], split] = counts
        print(f"{run['recipe']}  {split:5}{found['one']:>10.2%}", end="")
        print(f"{found['five']:>12.2%}{counts[0]:>19}{counts[1]:>14}", end="")
        print(f"{mcnemar(*counts):>8.2f}")
        assert mcnemar(*counts) > 0.05
by_vit, by_cnn = (
    sum(turned[name, "val"] + turned[name, "test"])
    for name in ("mnist_vit", "mnist_cnn")
)
p = mcnemar(by_vit, by_cnn)
print(f"of 15,000 images: {by_vit} by the ViT, {by_cnn} by the CNN; p = {p:.2f}")
assert turned["mnist_vit", "val"] == (3, 7)
assert turned["mnist_vit", "test"] == (4, 12)
assert (by_vit, by_cnn) == (26, 12) and 0.03 < p < 0.04

# %% [markdown]
# With five looks the ViT has more right on both splits, by 4 images and by 8. But only 10 and 16 images tell the two ways apart, and coins fall as unevenly as 3 : 7 in 34 of 100 times, as 4 : 12 in 8 of 100. So it is not shown that more looks help, nor that they do not.
#
# The CNN is the control. A convolution goes along with a shift, so there should be less to average. Of all 15,000 images 12 are right in one way only, against 26 with the ViT: coins would part so unevenly in 3 of 100 times. It points that way, with one run of each; and the two were trained by different recipes.
#
# ### Ink and paper
#
# MNIST is light on dark: the paper is 0. A photograph of your notebook is the other way round.
#
# > **Predict.** Ten test digits, a 0, a 1, and so on, dark on light. How many does `mnist_vit` still read? And how sure is it of its answers?

# %% tags=["hide-input", "hide-output"]
reader = load_model("course/vit_mnist_patch4_28")
prepare = reader.preprocessing.transform()
ink = from_record(load_record("mnist_test_examples")["examples"])  # light on dark
for what, pixels in (("as MNIST has it", ink), ("dark on light", 255 - ink)):
    images = torch.stack([prepare(image) for image in pixels])
    sure, answers = probabilities(reader, images).max(dim=1)
    print(f"{what:15} {answers.tolist()}, sure of it: {sure.mean():.2f}")
assert answers.tolist() == [0] * 10 and sure.mean() > 0.8

print(*unlike(to_pil_image(255 - ink[3]), reader.preprocessing))
assert not unlike(to_pil_image(ink[3]), reader.preprocessing)

# %% [markdown]
# Ten zeros, and it is nearly as sure as before: a softmax has to give its probability to somebody. **Confidence is not a warning.** The last line is from `unlike`, which looks at the picture before the model does: its mean is far from that of MNIST's pixels. `course predict course/vit_mnist_patch4_28 photo.png` says it too, and `--invert` turns the photograph round.

# %% [markdown]
# ### Which parts matter?
#
# An **ablation** leaves out or exchanges one part at a time. The base is a small ViT with learned positions, class token, patches of 7 and the norm before each part, trained for 5 epochs. All are compared on the 5,000 *validation* images.
#
# > **Predict.** No positions at all; the mean of the patches instead of a class token; patches of 14, so 4 of them; patches of 4, so 49; the norm after each sum instead of before. Which of these cost accuracy, which gain, and which do not matter?

# %% tags=["hide-input"]
#| alt: Eight rows, one for each variant of the small ViT, with a dot for each seed and a bar for the 95 % interval of the difference to the base, which is drawn as a vertical line at 0. The bars of no positions, of fixed 2-D positions and of patches of 4 lie entirely to the left of the line, that of patches of 14 to the right; the other four contain it.
VARIANTS = {
    "base": "base",
    "pos_none": "no positions",
    "pos_sincos1d": "fixed positions, 1-D",
    "pos_sincos2d": "fixed positions, 2-D",
    "pos_relative": "relative positions",
    "avg": "mean of the patches",
    "patch14": "patches of 14",
    "patch4": "patches of 4",
    "post_norm": "norm after each sum",
}
found = {}
for name, title in VARIANTS.items():
    runs = load_record(f"mnist_ablation_{name}")["runs"]
    found[title] = torch.tensor(
        [100 * run["val_accuracy"] for run in runs], dtype=torch.float64
    )
scatter = pooled_scatter(list(found.values()))
base = found.pop("base")
half = scatter.half(1 / len(base) + 1 / 2)
print(f"base: {base.mean().item():.2f} % on validation, {len(base)} seeds")
_, ax = plt.subplots(figsize=(7, 3.2))
ahead = {}
for row, (title, scores) in enumerate(found.items()):
    ahead[title] = mean = (scores.mean() - base.mean()).item()
    assert len(scores) == len(base) == 2
    print(f"{title:22} {mean:+6.2f} ± {half:.2f}")
    ax.plot([mean - half, mean + half], [row, row], color=viz.KEY)
    ax.plot(mean, row, "o", color=viz.KEY)
    points, rows = scores - base.mean(), [row + 0.25] * len(scores)
    ax.plot(points, rows, ".", color=viz.MUTED, markersize=5)
ax.axvline(0, color=viz.INK, linewidth=1)
ax.set_yticks(range(len(found)), found)
ax.invert_yaxis()
ax.set_xlabel("difference to the base on validation, in points")
plt.show()

behind = {title for title, mean in ahead.items() if mean < -half}
assert behind == {"no positions", "fixed positions, 2-D", "patches of 4"}
assert {title for title, mean in ahead.items() if mean > half} == {"patches of 14"}
assert min(ahead, key=ahead.get) == "no positions"
low, high = share_interval(round(base.mean().item() * 50), 5_000)
assert round(100 * (high - low) / 2, 1) == 0.4
rounded = [round(ahead[title]) for title in found]
assert rounded == [-5, 0, -1, -1, 0, 1, -2, 0]

small = find_recipe("mnist_ablation_base")
for name in ("mnist_fast", "mnist_vit"):  # with patches of 4, after five epochs
    assert load_record(name)["runs"][0]["curve"][4]["val_accuracy"] > 0.988
    other = find_recipe(name)
    for part in ("embed_dim", "depth", "pos_embed", "global_pool", "weight_init"):
        assert getattr(other.model, part) != getattr(small.model, part)
    for part in ("lr", "warmup_epochs", "batch_size", "augment", "ema"):
        assert getattr(other.train, part) != getattr(small.train, part)

# %% [markdown]
# Small dots are the two seeds, the large one is their mean, the bar the 95 % interval of the difference to the base, with the scatter of all 18 runs together. The bars hold *seeds only*: for the 5,000 images, the base's accuracy has ± 0.4 points of its own. A bar across the line does not mean *as good*. And of eight intervals one misses in about one study of three.
#
# **For this base, after five epochs**: no positions cost nearly five points, fixed 2-D ones one, patches of 4 nearly two; patches of 14 gain one. The other four bars contain 0.
#
# *Why* patches of 4 are behind, the table does not say: `mnist_fast` and `mnist_vit` have them too, and stand above 98.8 % after five epochs. They differ from this base in width, depth, positions, pooling, start, rate, warm-up, batch, augmentation and averaging. An ablation answers for its base. The paper's own (ViT-B/16, 5-shot on ImageNet, table 8) has 61.4 % without positions, 64.2 % with 1-D, 64.0 % with 2-D and 64.0 % with relative ones: there the kind hardly matters.

# %% [markdown]
# ## Your turn: reach the target
#
# *As long as you like; `course runs` says what a recipe costs.*
#
# 1. `course train mnist_fast`. Ctrl-C saves, the same command goes on.
# 2. **Reach what the table above says of `mnist_vit`**, with `course train mnist_vit`.
# 3. Or **beat it**, with at most 0.25 million parameters: change one setting, such as `course train mnist_vit augment.rotate=20`. Choose on *validation*, with `--seeds 0 1 2`. Look at the test when you are done, once.
#
# In Colab, `--copy-to /content/drive/MyDrive/runs` lets the run outlive the machine. Or use this cell; with a graphics card, set `FULL = True`.

# %% tags=["nbval-ignore-output"]
FULL = False  # True: all of MNIST, for a machine with a graphics card

if FULL:
    from course_lib.recipes import run_recipe

    recipe = find_recipe("mnist_vit")
    _, proof = run_recipe(recipe, Path("runs/mnist_vit/seed-0"))
    print({k: proof[k] for k in ("val_accuracy", "test_accuracy", "parameters")})
else:
    set_seed(41)
    model = vit.VisionTransformer(replace(SMALL, depth=3))
    small = TrainConfig(
        epochs=12, batch_size=BATCH, lr=3e-3, augment=Augment(rotate=10, scale=0.1),
        precision="float32",
    )  # fmt: skip
    history = fit(model, data, val, small, quiet=True)
    print(f"right on validation: about {round(history[-1]['val_accuracy'], 1):.0%}")

# %% [markdown]
# ## Three to think about
#
# 1. Somebody applies softmax to the logits, and then `F.cross_entropy`, which applies it again. There are ten classes. What is the loss of the untrained model? What is the smallest loss that training can reach?
# 2. A run of 100 epochs is stopped after 50, because time is up, and its model is compared with one that was *planned* for 50 epochs. Both had warm-up and cosine with the same peak. Is it fair?
# 3. With AdamW, every weight moves by at most about the learning rate at each step. How far can a weight get in 400 steps at a constant $10^{-4}$, the grey line of the picture? How far in 400 steps of warm-up and cosine up to $10^{-2}$? The weights start with a standard deviation of about $0.1$.
#
# <details>
# <summary>Answers</summary>
#
# 1. Untrained, all ten probabilities are about $0.1$, and the second softmax leaves them equal: still $\log 10 \approx 2.30$. At best the first softmax gives $(1, 0, \dots, 0)$, of which the second makes $e/(e + 9) \approx 0.23$. The loss is $-\log 0.23 \approx 1.46$ and can fall no further. The first test does not notice; a loss that stops at 1.46 does.
# 2. No. After 50 of 100 epochs, 10 of them warm-up, the learning rate is still at 59 % of its peak. The run has not had its fall, in which the loss settles. A run is finished when its schedule is.
# 3. At most about $400 \cdot 10^{-4} = 0.04$, and only if every step goes the same way: less than half of the distance from 0 at which it started. With warm-up and cosine the mean of the rate is about half the peak, so at most about $400 \cdot 5 \cdot 10^{-3} = 2$: far enough to go anywhere. A rate that is too low is a matter of distance, and more steps mend it. More steps do not mend one that is too high.
#
# </details>

# %% [markdown]
# ## Check yourself
#
# Choose before you look: each answer comes with its reason, the wrong ones too. Five questions, about five minutes.
#
# **1.** Ten classes, equally frequent. After a thousand steps the training loss is still 2.30. What does that say?
#
# * **A.** The model overfits.
# * **B.** The loss is scaled wrongly.
# * **C.** The model has found nothing in the images.
#
# <details class="course-quiz">
# <summary>Answer to 1</summary>
#
# * **A, wrong.** Then the *training* loss would be low, and that of validation high.
# * **B, wrong.** Then it would not be $\log 10$ so exactly.
# * **C, right.** 2.30 is $\log 10$, the loss of whoever gives all ten the same probability. It is also where the model
#   stopped whose images were painted grey.
#
# </details>
#
# **2.** A ViT learns ten images by heart, all of them right. What is shown by that?
#
# * **A.** The labels are right.
# * **B.** Gradients reach the weights, and the optimiser follows.
# * **C.** The model will do well on new images.
#
# <details class="course-quiz">
# <summary>Answer to 2</summary>
#
# * **A, wrong.** With shuffled labels it reached all ten as well. This test cannot see labels.
# * **B, right.** That is what it is for. It takes seconds, and fails if the graph is cut or the step goes nowhere.
# * **C, wrong.** About other images it says nothing.
#
# </details>
#
# **3.** Training loss near 0; the validation loss fell and now rises; the validation accuracy still creeps up. What is
# it?
#
# * **A.** Overfitting: more digits right, and surer of its mistakes.
# * **B.** Underfitting: the model is too small for its task.
# * **C.** A bug: loss and accuracy cannot both rise.
#
# <details class="course-quiz">
# <summary>Answer to 3</summary>
#
# * **A, right.** The loss punishes a mistake that is made with confidence, the accuracy counts it once. So the two can
#   part.
# * **B, wrong.** Then the training loss would still be high.
# * **C, wrong.** They can, and in the chapter they did: accuracy does not ask how sure an answer was.
#
# </details>
#
# **4.** You try twenty learning rates, all equally good in truth, and report the best by 300 test images: 93 %. What
# will fresh images give?
#
# * **A.** 93 %, since they are test images.
# * **B.** About 90 %.
# * **C.** More than 93 %, since the best rate was found.
#
# <details class="course-quiz">
# <summary>Answer to 4</summary>
#
# * **A, wrong.** They were used to choose. Their noise is in the choice.
# * **B, right.** What twenty equal runs have in truth. Three points are the luck of the best of twenty, and luck does
#   not come along.
# * **C, wrong.** No rate is better here. It was the images that were kind to one of them.
#
# </details>
#
# **5.** Which parameters of a ViT should decay?
#
# * **A.** All that have two or more dimensions.
# * **B.** All of them: decay keeps any weight small.
# * **C.** The weights of linear layers and convolutions.
#
# <details class="course-quiz">
# <summary>Answer to 5</summary>
#
# * **A, wrong.** The class token is `(1, 1, D)` and the positions are `(1, N+1, D)`: by that rule they would decay, and
#   should not.
# * **B, wrong.** A norm's scale starts at 1 and is pulled to 0 for nothing, and a bias multiplies no feature.
# * **C, right.** They multiply features. Biases, norms, class token and positions are left alone.
#
# </details>

# %% [markdown]
# ## What you take with you
#
# * Before a run: a first loss of $\log K$, **ten images by heart**, the **baseline** without images, a **look at the batch**.
# * **Zero, forward, backward, clip, step**, in this order.
# * AdamW's learning rate is near $10^{-3}$. A **warm-up** makes a higher one usable, a **fall** at the end lets the loss settle.
# * **Weight decay only on what multiplies**. Evaluate in **eval mode**, with **sums over images**.
# * Two losses that part: **overfitting**. Choose on **validation**, look at the **test once**.
# * A difference wants **seeds, an interval**, on the same images **McNemar's test**. A bundle names no cause.
#
# The picture to keep: **the learning rate above the loss.**
#
# ### To read
#
# * [Loshchilov & Hutter 2019, *Decoupled Weight Decay Regularization*](https://arxiv.org/abs/1711.05101).
# * [Touvron et al. 2021, *Training data-efficient image transformers*](https://arxiv.org/abs/2012.12877), table 9: DeiT's settings.
# * [Recht et al. 2019, *Do ImageNet Classifiers Generalize to ImageNet?*](https://arxiv.org/abs/1902.10811): somebody did collect the other test set.
#
# Next, chapter 8: on MNIST a ViT does well. On small photographs it meets a wall.
