# %% [markdown]
# # Training from scratch: MNIST
#
# | Goal | Before you start | Time | Runs on |
# |:--|:--|:--|:--|
# | Train a Vision Transformer yourself, know what each line of the loop is for, and trust the number that comes out | Chapters 1 to 6 | 120 minutes | any CPU; a GPU is welcome at the end |
#
# In chapter 6 you loaded weights that others had trained. Now you train your own, from random numbers, on MNIST: 70,000 handwritten digits, and the first thing that people try. A training run is a loop of six lines, and a handful of settings. Nearly all of what goes wrong goes wrong silently: the loss falls, only not as far as it could, or the number at the end is better than the model.
#
# You write the four functions on which everything stands: a step, the learning rate, the groups of parameters, the evaluation. What runs on this page is small, scikit-learn's digits of $8 \times 8$ pixels and drawn shapes, and needs no network. The longer runs were made once, on MNIST; you see their records, and at the end you start one yourself.

# %% tags=["setup"]
import itertools
import math
import shutil
import signal
import tempfile
from dataclasses import replace
from pathlib import Path

import matplotlib.pyplot as plt
import torch
import torch.nn.functional as F
from scipy.stats import t as student
from torch import nn
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms.functional import to_pil_image

from course_lib import train, vit, viz
from course_lib.checks import my_pieces
from course_lib.data import Augment, ImageSet, digits, toy_shapes
from course_lib.models import (
    create_model,
    load_model,
    probabilities,
    unlike,
    vit_b_16,
)
from course_lib.records import load_record
from course_lib.train import TrainConfig, fit, set_seed
from course_lib.weights import load_pretrained

viz.set_style()
torch.set_num_threads(1)  # the models here are tiny: more threads only wait

# %% [markdown]
# ## What training needs
#
# Images with labels, a model, a loss that says how wrong it is, and something that turns the gradient of the loss into a step. Start with the images. MNIST is 28 by 28 pixels of grey. Ten of its training images, the first of each class:

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

# %% [markdown]
# All data sets of this course are an `ImageSet`: images, labels, the names of the classes, and the mean and standard deviation that the pixels are normalised with. A pixel is a whole number from 0, the paper, to 255, the ink (we draw ink dark), so one byte is enough: `uint8`.
#
# > **Predict.** MNIST has 55,000 training images here (the other 5,000 are set apart, you will see why). How much memory do they take as `uint8`, and how much as `float32`? Do they fit onto a graphics card with 8 GB?

# %% tags=["hide-output"]
pixels = 55_000 * 28 * 28
for dtype in (torch.uint8, torch.float32):
    print(f"{dtype!s:14} {pixels * dtype.itemsize / 1e6:.0f} MB")

# %% [markdown]
# 43 MB. Small images live *in memory, on the device, as bytes*, all of them, for the whole run. A batch is an index into that tensor, normalised where it is needed. Nothing is read from a disk, decoded, or copied between devices. (Measured under *What it is worth*.)
#
# For now, the small digits of scikit-learn, which come as floats between 0 and 1, and a small ViT for them:

# %%
data = digits("train")
print(data.name, tuple(data.images.shape), data.images.dtype)

SMALL = vit.ViTConfig(
    img_size=8, patch_size=2, in_chans=1, num_classes=10, embed_dim=48, depth=6,
    num_heads=4, mlp_ratio=2.0, weight_init="xavier",  # fits so small a width: chapter 8
)  # fmt: skip
torch.manual_seed(3)
model = vit.VisionTransformer(SMALL)
print(f"{train.count_parameters(model):,} parameters")

# %% [markdown]
# ### The first test of every run
#
# The loss is **cross-entropy**: minus the logarithm of the probability that the model gives to the right class. The mean over all images is what training makes small.
#
# > **Predict.** The model is untrained. It knows nothing, so it should give each of the ten digits about the same probability. What must the loss be, before the first step?


# %% tags=["hide-output"]
@torch.no_grad()
def first_loss(model):
    return F.cross_entropy(model(data.normalised(data.images)), data.labels).item()


print(f"log(10) is {math.log(10):.1f}, the model's loss {first_loss(model):.1f}")

# Somebody starts the head with weights of standard deviation 1.
loud = vit.VisionTransformer(SMALL)
nn.init.normal_(loud.head.weight)
print(f"with a loud head, the loss is {first_loss(loud):.0f}")

# %% [markdown]
# $\log 10$, and for $K$ classes $\log K$. Print the loss of the first step of every run that you ever start, and compare; it costs nothing. If it is much larger, the model is sure of wrong answers before it has seen anything: something is initialised too large. If it is much *smaller*, the weights were trained before, the loss is scaled wrongly, or there are fewer classes than you think. (Labels that leak into the images show only later, as a validation accuracy that is too good.)
#
# The second test takes seconds. **A model must be able to learn ten images by heart.** If it cannot, there is no point in showing it 55,000.
#
# > **Predict.** Below, a ViT learns ten digits by heart. Then another one gets the same ten digits with their labels shuffled, so that the labels mean nothing. What share will it get right, of the ten that it was trained on?


# %% tags=["hide-output"]
def learn_by_heart(images, labels, steps=40):
    """Train on these images only; returns the share that is right in the end."""
    torch.manual_seed(5)
    model = vit.VisionTransformer(SMALL)
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3)
    for _ in range(steps):
        loss = F.cross_entropy(model(images), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return (model(images).argmax(dim=-1) == labels).float().mean().item()


ten = data.take(slice(0, 10))
images, labels = ten.normalised(ten.images), ten.labels
print(f"ten digits, their labels:    {learn_by_heart(images, labels):.0%}")
print(f"ten digits, shuffled labels: {learn_by_heart(images, labels.roll(3)):.0%}")

# %% [markdown]
# Both times all of them. So images, labels, loss and optimiser are wired together. And that is little: a model can learn nonsense by heart. **What it does on the images that it was trained on says nothing about what it has understood.**

# %% [markdown]
# ## One step
#
# Here is all of training. `learn_by_heart` had four of these lines; the first and the fifth are new:
#
# | line | what it does |
# |:--|:--|
# | `model.train()` | switches dropout on, and what else behaves differently in training |
# | `optimizer.zero_grad()` | forgets the gradients of the step before |
# | `loss = F.cross_entropy(model(images), labels)` | forward |
# | `loss.backward()` | backward: *adds* to the gradient of each parameter |
# | `clip_grad_norm_(model.parameters(), max_norm)` | shortens the gradient if it is too long |
# | `optimizer.step()` | moves the weights |
#
# The order is not a matter of taste. Most wrong orders run, and some even train a little.
#
# > **Predict.** `backward()` is called a second time, on the same images, without `zero_grad()`. What are the gradients then?

# %% tags=["hide-output"]
torch.manual_seed(7)
model = vit.VisionTransformer(SMALL).double()
images, labels = data.normalised(data.images[:30]).double(), data.labels[:30]

F.cross_entropy(model(images), labels).backward()
once = [parameter.grad.clone() for parameter in model.parameters()]
F.cross_entropy(model(images), labels).backward()
twice = [parameter.grad for parameter in model.parameters()]
print(
    "the sum of both:", all(torch.allclose(2 * a, b) for a, b in zip(once, twice))
)

# %% [markdown]
# Twice as large. PyTorch adds, so that one can collect the gradient of a batch in several parts. Without `zero_grad()` each step goes along all gradients since the beginning. It looks like training with a strange momentum, and hardly anybody notices.
#
# **Clipping** keeps one bad batch from throwing the weights far away. All gradients together are taken as *one* long vector. If its length (the root of the sum of squares, over all parameters) is above `max_norm`, everything is multiplied by the same number, so that the length becomes `max_norm`. The direction stays.
#
# > **Predict.** Two parameters, with gradients 3 and 4. Clip to 1, first the length (`clip_grad_norm_`), then the values (`clip_grad_value_`). What is left?

# %% tags=["hide-output"]
for clip in (nn.utils.clip_grad_norm_, nn.utils.clip_grad_value_):
    pair = nn.Parameter(torch.zeros(1)), nn.Parameter(torch.zeros(1))
    pair[0].grad, pair[1].grad = torch.tensor([3.0]), torch.tensor([4.0])
    clip(pair, 1.0)
    print(f"{clip.__name__:17}", [round(p.grad.item(), 2) for p in pair])

# %% [markdown]
# The length of $(3, 4)$ is 5, so the first divides by 5. The second cuts each number by itself, and $(1, 1)$ points somewhere else.

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
# `loss` is a tensor that remembers how it was computed. Whoever keeps it, in a list for the learning curve say, keeps all activations of that batch in memory. After some hundred steps there is none left.
#
# </details>
# %% [markdown]
# ## The learning rate
#
# The optimiser turns a gradient into a step, and the **learning rate** says how long the step is. It is the setting that matters most. AdamW, the optimiser of nearly all Transformers, divides each gradient by its own usual size, so that a step moves each weight by *about the learning rate*, whatever the gradient. That is why rates for AdamW are alike for very different models: $10^{-3}$, give or take a factor of three. The $10^{-1}$ and $10^{-2}$ that you may know from SGD are something else.
#
# The paper's ViT-B/16 had peaks between $8 \cdot 10^{-4}$ and $3 \cdot 10^{-3}$ for batches of 4096 images (its table 3), DeiT $10^{-3}$ for 1024.
#
# Easiest is a constant rate. Two changes are usual; below both are measured, alone and together.
#
# * **Warm-up.** During the first steps AdamW knows the usual size of the gradients from a few examples only, and its steps are of very uneven length ([Liu et al. 2020](https://arxiv.org/abs/1908.03265)). So the rate first rises on a straight line. (The line comes from SGD with large batches: [Goyal et al. 2017](https://arxiv.org/abs/1706.02677).)
# * **Cosine.** Near the end, steps that stay long jump about the minimum. So the rate falls along half a cosine: at first slowly, then fast, and flat at the end ([Loshchilov & Hutter 2017](https://arxiv.org/abs/1608.03983)).

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
print([round(train.warmup_cosine_lr(step, 12, 4, 1.0), 2) for step in range(12)])


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
# Yes: the last of the warm-up and the first of the cosine. The line above shows it, `1.0, 1.0`.
#
# </details>

# %% [markdown]
# ### Too low, too high
#
# Now measure. The function below trains a small ViT on the digits for 16 epochs (an **epoch** is one pass through the training images), with a given schedule and peak. The script `benchmarks/learning_rates.py` has called it for six rates and four schedules, with three seeds each. A *seed* starts the random numbers: other weights at the beginning, another order of the images.

# %%
EPOCHS, BATCH = 16, 48
SCHEDULES = ("constant", "warm-up, constant", "cosine", "warm-up, cosine")


def rate_at(schedule, step, total, peak):
    """The learning rate of a step, for the four schedules that are compared."""
    warmup_steps = total // 10 if schedule.startswith("warm-up") else 0
    if schedule.endswith("cosine"):
        return train.warmup_cosine_lr(step, total, warmup_steps, peak)
    return peak * min(1, (step + 1) / max(warmup_steps, 1))


def train_digits(schedule, peak, stop=None):
    """Train a small ViT on the digits, up to step `stop`; returns it and all losses."""
    data, model = digits("train"), vit.VisionTransformer(SMALL)
    optimizer = torch.optim.AdamW(train.param_groups(model, weight_decay=0.05))
    total, losses = EPOCHS * (len(data) // BATCH), []
    while len(losses) < (stop or total):
        for rows in torch.randperm(len(data)).split(BATCH):
            for group in optimizer.param_groups:
                group["lr"] = rate_at(schedule, len(losses), total, peak)
            logits = model(data.normalised(data.images[rows]))
            loss = F.cross_entropy(logits, data.labels[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
    return model, losses


# %% [markdown]
# > **Predict.** Four runs: constant $10^{-4}$; constant $10^{-2}$; $10^{-2}$ with a warm-up, then constant; $10^{-2}$ with a warm-up and a cosine. Sketch the four curves of the training loss. Where do they part? Which does more, the slow start or the fall at the end?

# %% tags=["hide-input"]
#| alt: Two diagrams over the same 400 steps. Above, the learning rate: near 0 for 1e-4; flat at 1e-2; rising to it on a straight line for 40 steps and then flat; rising as well and then falling along a cosine to 0. Below, the training loss on a logarithmic axis, a line and a band for three seeds each. The lowest rate comes down slowly, to 1.3. The constant 1e-2 falls behind within 100 steps and ends near 0.4. The two with a warm-up go together to about step 170; then the constant one jumps about between 0.4 and 0.1, and the one with a cosine falls to 0.01.
record = load_record("learning_rates")


def of(schedule, rate, name="losses"):
    """What was recorded of these runs: one row for each seed."""
    runs = record["runs"]
    return torch.tensor(
        [r[name] for r in runs if (r["schedule"], r["rate"]) == (schedule, rate)]
    )


SHOWN = (
    ("constant", 1e-4, viz.MUTED),
    ("constant", 1e-2, viz.QUERY),
    ("warm-up, constant", 1e-2, viz.VALUE),
    ("warm-up, cosine", 1e-2, viz.KEY),
)
total = EPOCHS * (len(data) // BATCH)
figure, (above, below) = plt.subplots(
    2, figsize=(6.6, 4.2), sharex=True, height_ratios=[1, 2]
)
for (schedule, peak, color), width in zip(SHOWN, (2, 6, 4, 2)):
    rates = [rate_at(schedule, step, total, peak) for step in range(total)]
    above.plot(rates, color=color, linewidth=width)
    losses = of(schedule, peak)
    steps = (torch.arange(losses.shape[1]) + 0.5) * total / losses.shape[1]
    low, high = losses.aminmax(dim=0)
    below.fill_between(steps, low, high, color=color, alpha=0.2, linewidth=0)
    below.plot(
        steps, losses.mean(dim=0), color=color, label=f"{schedule}, {peak:g}"
    )
above.set(ylim=(0, 0.011), ylabel="learning rate")
below.set(yscale="log", xlabel="step", ylabel="training loss", xlim=(0, total))
below.set_yticks([0.01, 0.1, 1], [0.01, 0.1, 1])
below.legend(fontsize=9, loc="lower left")
plt.show()

# %% [markdown]
# **Keep this picture: the learning rate above the loss.** The grey run is on its way, and would need many times the steps. The others have the same peak, and differ at its two ends. Orange starts at the full rate, and never makes up for it. Green starts slowly and is ahead for good, but its loss comes to jump about: its steps are too long for what is left to be done. Blue goes with green until its rate has come down by a third. From there its loss comes down too.
#
# And on digits that the model has not seen? All 72 runs:

# %% tags=["hide-input"]
#| alt: Share right on validation against the peak of the learning rate, 1e-4 to 3e-2: four lines with three dots at each rate. All rise up to 3e-3, the two with a cosine from lower down. At 1e-2 the two with a warm-up stay high, the two without fall. At 3e-2 all are low, the constant one lowest.
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

# %%
print("peak of 1e-2        loss at the end   right on validation")
for schedule in SCHEDULES:
    end = of(schedule, 1e-2)[:, -3:].mean(dim=1)  # of the last 30 steps
    share = accuracy[schedule][rates.index(1e-2)]
    print(f"{schedule:19} {end.min():.3f} to {end.max():.3f}", end="    ")
    print(f"{share.min():.0%} to {share.max():.0%}")

constant, slow, falling, both = (accuracy[s][rates.index(1e-2)] for s in SCHEDULES)
assert slow.min() > constant.max() and both.min() > falling.max()
for low in (0, 1):  # 1e-4 and 3e-4: here the fall costs accuracy
    constant, slow, falling, both = (accuracy[s][low] for s in SCHEDULES)
    assert min(constant.min(), slow.min()) > max(falling.max(), both.max())
assert all(found[-1].max() < found.max() - 0.15 for found in accuracy.values())

# %% [markdown]
# Read the picture from left to right. At the two lowest rates all are too slow, and the cosines are behind with every seed: a rate that falls is on average half its peak. At $10^{-3}$ and $3 \cdot 10^{-3}$ the four can hardly be told apart. At $10^{-2}$ the *warm-up* decides: every seed with it is better than every seed of the same schedule without. The fall after it makes the training loss about ten times smaller; what it gains on 300 new digits may be chance. At $3 \cdot 10^{-2}$ all of them fail.
#
# So the two do different things. **A warm-up makes high rates usable. The fall lets the loss settle, and wants a higher peak.** Together they move the range of good rates up.
#
# This model is tiny, and the run short. For another one start with $10^{-3}$, warm-up and cosine, try a factor of three up and down, and look at the *validation* split.

# %% [markdown]
# ## Weight decay
#
# **Weight decay** pulls each weight a little towards 0 at every step, so that only what the gradients keep asking for stays large. There are two ways to write it, and they are not the same.
#
# * As a part of the loss: add $\tfrac{\lambda}{2} w^2$ for each weight. Its gradient is $\lambda w$, so $\lambda w$ is added to the gradient *before* the optimiser sees it. That is what `torch.optim.Adam(weight_decay=...)` does.
# * As itself: beside the optimiser's step, multiply the weight by $1 - \eta\lambda$, with the learning rate $\eta$. That is the W in **AdamW** ([Loshchilov & Hutter 2019](https://arxiv.org/abs/1711.05101)).
#
# With plain gradient descent the two agree. But Adam *divides the gradient by its own size*.
#
# > **Predict.** One weight, $w = 1$, learning rate $0.1$, weight decay $0.1$, one step. First the gradient is $0.5$, then it is $0$, as for a weight that this batch does not need. Without decay, Adam moves the first by $0.1$, to $0.9$, and leaves the second alone. Where do Adam and AdamW take them with decay? Four numbers.


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
# Look at Adam's row with decay. In the first column the decay does *nothing*: a gradient of $0.6$ instead of $0.5$, divided by its own size, is the same step. In the second it does far too much: a gradient of $0.1$, which is nothing but decay, divided by its own size, is a full step of $0.1$. Weights with small gradients are punished most. In AdamW's row both lose the same, $\eta\lambda w = 0.01$. That is what was meant.
#
# ### What must not decay
#
# Decay is meant for what *multiplies* the features: the weights of linear layers and convolutions. Not everything in a ViT does.
#
# * **Biases** are added. Pulling them to 0 shifts the answers, and makes nothing simpler.
# * **Norms** have a scale that starts at 1. Pulling it to 0 shrinks the signal.
# * The **class token** and the **positions** are features themselves, not weights. (So are the tables of relative position biases of chapter 5.)
#
# The paper's authors decay what their code calls a kernel, and nothing else (that is the default in their [big_vision](https://github.com/google-research/big_vision)); DeiT and timm leave out biases, norms, class token and positions too. There is a trap in it. Biases and norms have one dimension, so many scripts let everything decay that has two or more. But `cls_token` is `(1, 1, D)` and `pos_embed` is `(1, N+1, D)`.

# %% [markdown]
# ### Exercise 7.3 · `param_groups`
#
# *Medium, 15 minutes.* Tell the optimiser what decays. An optimiser takes a list of dictionaries in place of a list of parameters, each with settings of its own.
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
# How much of a model is that? Here are the two groups of ViT-B/16:

# %%
with torch.device("meta"):  # shapes only: no numbers, no memory
    groups = train.param_groups(vit_b_16(), weight_decay=0.1)
for group in groups:
    numbers = sum(parameter.numel() for parameter in group["params"])
    print(
        f"decay {group['weight_decay']}: {len(group['params']):3} tensors", end=", "
    )
    print(f"{numbers:>10,} numbers")

# %% [markdown]
# Two thirds of the tensors do not decay, but only 0.3 % of the numbers. What a mistake here costs we have not measured; it gives no error message.

# %% [markdown]
# ## Evaluation
#
# How good is the model? That takes a loop over images that were not trained on, and three lines can go wrong.
#
# > **Predict.** A test set of four images comes in a batch of three and a batch of one. The model gets the three right and the one wrong. What is its accuracy? And what is the mean of the accuracies of the two batches?

# %% tags=["hide-output"]
right = torch.tensor([1.0, 1.0, 1.0, 0.0])
batches = right.split(3)
print("accuracy:               ", right.mean().item())
print(
    "mean over the batches:  ", sum(b.mean().item() for b in batches) / len(batches)
)

# %% [markdown]
# The last batch is nearly always smaller, and in a mean over batches each of its images counts for more. The same goes for the loss. The more images, the smaller the difference, but people compare models by the second decimal. So: **add up over images, divide once, at the end.**
#
# The other two lines are `model.eval()` and `torch.no_grad()`, and they do different things. Here is a model with dropout, asked twice:

# %%
torch.manual_seed(11)
model = vit.VisionTransformer(replace(SMALL, drop_rate=0.1))
images = data.normalised(data.images[:20])

for mode in (True, False):
    model.train(mode)
    with torch.no_grad():
        same = torch.equal(model(images), model(images))
    print(
        f"{'training' if mode else 'evaluation'} mode: twice the same answer: {same}"
    )
print(
    "remembers how it was computed, without no_grad:", model(images).requires_grad
)

# %% [markdown]
# `model.eval()` switches dropout off: the answers are no longer random. `torch.no_grad()` saves memory and time: nothing is kept for a backward pass. Neither replaces the other. And after an evaluation somebody must switch back to `model.train()`, which is why your `train_step` begins with it.

# %% [markdown]
# ### Exercise 7.4 · `evaluate`
#
# *Medium, 15 minutes.* The exact loss and accuracy of a model.
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
# These were the four functions. Here they are, at work together. (What you have not written yet, the course lends you.)

# %% tags=["nbval-ignore-output"]
my_step, my_rate, my_groups, my_evaluate = my_pieces(
    "train_step", "warmup_cosine_lr", "param_groups", "evaluate"
)


# %%
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
        images = data.normalised(data.images[rows]).to(weights[0])
        my_step(model, optimizer, images, data.labels[rows], max_norm=1.0)
    return torch.stack(lengths)


torch.manual_seed(13)
model = vit.VisionTransformer(replace(SMALL, depth=3))
order = [rows for _ in range(12) for rows in torch.randperm(len(data)).split(BATCH)]
clipped = my_training(model, order, warmup_steps=30) > 0.99
_, accuracy = my_evaluate(model, digits("val").batches(128))
print(f"right on 300 new digits: about {round(accuracy, 1):.0%}")
print(f"gradients that were clipped: about {4 * clipped.float().mean():.0f} in 4")

# %% [markdown]
# A Vision Transformer, trained from nothing, by a loop of which you have written every line. And look at the last line: with a `max_norm` of 1, clipping is no emergency brake here but the rule. AdamW divides by the usual size anyway, so it loses little; with plain gradient descent it would have been a smaller learning rate.

# %% [markdown]
# ### Three splits
#
# A model can learn nonsense by heart, so it is judged on other images. But why are there *two* more splits, validation and test?
#
# Because you will try things. Twenty learning rates, or twenty epochs of one run, and you keep the best. Suppose you chose on the test images, and that the twenty are in truth equally good: each gets 90 % of all digits right that will ever be written.
#
# > **Predict.** You report what the best of twenty got on 300 test images. How much will it be, on average: 90 %, 91 %, 93 %, 96 %? And with 10,000 images?

# %% tags=["hide-output"]
torch.manual_seed(17)
for count in (300, 1_000, 10_000):
    twenty = torch.distributions.Binomial(count, torch.tensor(0.9))
    scores = twenty.sample((20_000, 20)) / count  # twenty models, 20,000 times
    best = scores.argmax(dim=1, keepdim=True)
    again = twenty.sample((20_000, 20)) / count  # the same models, fresh images
    reported, fresh = (s.gather(1, best).mean().item() for s in (scores, again))
    print(f"{count:6} images: reported {reported:.1%}, on fresh images {fresh:.1%}")

# %% [markdown]
# Three points out of thin air on 300 images, half a point on 10,000, which on MNIST is a lot. The choice was made on noise, and the noise is gone on fresh images. (Real models trip over the same images. Their scores go up and down together, and the gain is smaller.)
#
# So: **choose on the validation images, as often as you like, and look at the test images once, at the end.** The recipes of this course were chosen on validation, and the last epoch's weights count, whatever they are. (Each run records its test accuracy all the same. Not to choose by it is up to you.) Many scripts, and some papers' code, call the test set "val" and keep the best epoch on it. You know now what that can add.
#
# The validation split comes from the *training* images: of MNIST's 60,000, the last 5,000. They are not drawn at random, since neighbours in the file are often by the same hand, and a digit is easier if the model knows the hand.
#
# ### A loader that is frozen
#
# > **Predict.** To save time, somebody writes `batches = list(loader)` once, and trains on `batches` in every epoch. The loader shuffles, and adds random changes to the images. What is left of both?


# %% tags=["hide-output"]
class Changing(Dataset):
    """Six images, each changed at random whenever it is asked for: only their numbers here."""

    def __len__(self):
        return 6

    def __getitem__(self, index):
        return index, torch.rand(())


def epoch(batches):
    indices, changes = zip(*batches)
    return torch.cat(indices), torch.cat(changes)


torch.manual_seed(19)
loader = DataLoader(Changing(), batch_size=3, shuffle=True)
cached = list(loader)
for name, batches in (("loader", loader), ("list(loader)", cached)):
    (order_1, changes_1), (order_2, changes_2) = epoch(batches), epoch(batches)
    print(f"{name:12} the same order:", torch.equal(order_1, order_2), end=", ")
    print("the same changes:", torch.equal(changes_1, changes_2))

# %% [markdown]
# Nothing. Every epoch is a copy of the first, and the loss falls *better* than before, since there is less to learn. Only validation would tell.

# %% [markdown]
# ## Forty versions of a digit
#
# A digit that is turned by ten degrees is the same digit. You know this. The model does not, unless it is shown. **Augmentation** changes the training images at random, each time anew, in ways that do not change the label.
#
# The usual code does it image by image, in Python, in the worker processes of a `DataLoader`. `Augment` does it *with the whole batch at once, on the device where the images are*: forty random angles are one tensor of 40 numbers, and forty maps of the plane are one call of `grid_sample`. Each image gets its own. (`shear` slants it.)

# %%
#| alt: Forty versions of one handwritten digit in four rows of ten: turned to the left and to the right, larger, smaller, slanted, shifted, each in another way. All can be read.
jitter = Augment(rotate=15, scale=0.15, shear=0.15, translate=0.1)
set_seed(29)
rows = torch.full((40,), 2)  # the same image forty times
versions, targets = jitter(examples, rows, classes=10)

viz.image_grid(
    (versions * examples.std[0] + examples.mean[0]).clamp(0, 1), columns=10
)
plt.show()
print("different images:", len(versions.unique(dim=0)))
print("still class", targets.argmax(dim=-1).unique().tolist())

# %% [markdown]
# > **Predict.** Of photographs one usually mirrors half, left to right. Below, everything is mirrored: MNIST above, the drawn shapes of `toy_shapes` below. For which of the two would you switch it on?

# %% tags=["hide-output"]
#| alt: Two rows of eight pictures. Above, mirrored handwritten digits: 2, 3, 4, 5, 6, 7 and 9 look wrong. Below, mirrored coloured shapes on cluttered backgrounds, which look as shapes do.
shapes = toy_shapes("train", n=8)
figure, axes = plt.subplots(2, figsize=(7, 2.3))
for ax, images, names in (
    (axes[0], examples.images[2:], examples.classes[2:]),
    (axes[1], shapes.images, [shapes.classes[i] for i in shapes.labels]),
):
    viz.image_grid(images.flip(-1), ax, columns=8, titles=list(names))
plt.show()

# %% [markdown]
# For the shapes. A mirrored ring is a ring, but a mirrored 2 is no digit at all. **Which changes keep the label is knowledge about the data, and it comes from you.**
#
# ### What the training accuracy says
#
# > **Predict.** The small model of chapter 6, which was trained with turned and shifted digits, sees its training images as they are, the same turned by up to 40 degrees, and the validation images as they are. Order the three accuracies.

# %% tags=["hide-output"]
trained = create_model("vit_digits_patch2_8").eval()
load_pretrained(trained, "course/vit_digits_patch2_8")

set_seed(23)
turned, targets = Augment(rotate=40)(data, torch.arange(len(data)), classes=10)
_, plain = train.evaluate_set(trained, data)
_, harder = train.evaluate(trained, [(turned, targets.argmax(dim=-1))])
_, new = train.evaluate_set(trained, digits("val"))
print(f"training {plain:.1%}, turned {harder:.1%}, validation {new:.1%}")

# %% [markdown]
# Changed images are harder. So with strong augmentation the training accuracy can lie *below* the validation accuracy, though the model does know its training images better. It is no error, and comparable with nothing. Compare validation with validation.
#
# ### What it is worth
#
# Images per second from memory to augmented, normalised batches, on two processor cores (`benchmarks/input_speed.py`). The `DataLoader` makes the same changes with torchvision, image by image; the faster of no and two worker processes counts.

# %%
for result in load_record("input_speed")["results"]:
    speeds = result["images_per_second"]
    loader = max(speed for way, speed in speeds.items() if way != "tensors")
    print(f"{result['case']:28} DataLoader {loader:>7,}", end="   ")
    print(f"tensors {speeds['tensors']:>8,}   {result['times_as_fast']:.0f} times")

# %% [markdown]
# If the card is faster than the loader, it waits. You paid for a fast card and use a slow one.

# %% [markdown]
# ## A run that survives
#
# Long runs are interrupted. The laptop sleeps, Colab takes its machine back, somebody presses Ctrl-C. `fit` is the loop of this course around your four functions, and it saves the run in a folder. Here is a run of three epochs, and the same run with a Ctrl-C in the middle of the second.
#
# > **Predict.** The interrupted run is started again with the same call, and goes on. At the end, are its weights those of the undisturbed run to a few per cent, to $10^{-5}$, or to the last bit?


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

    return model.register_forward_pre_hook(hook)


val = digits("val")
folder = Path(tempfile.mkdtemp())
config = TrainConfig(
    epochs=3, batch_size=BATCH, augment=Augment(rotate=10, translate=0.1),
    device="cpu", precision="float32",
)  # fmt: skip

undisturbed = fresh_model()
fit(undisturbed, data, val, config, quiet=True)

disturbed = fresh_model()
press_ctrl_c(disturbed, step=40)
try:
    fit(disturbed, data, val, config, folder=folder, quiet=True)
except KeyboardInterrupt:
    print("stopped; saved last:", max(folder.glob("step-*.pt")).name[:13])

resumed = fresh_model()  # another process, another day
history = fit(resumed, data, val, config, folder=folder, quiet=True)
print("epochs:", [row["epoch"] for row in history])
print(
    "equal to the last bit:",
    all(map(torch.equal, resumed.parameters(), undisturbed.parameters())),
)

# %% [markdown]
# Two things make it possible.
#
# * **Everything is saved**: weights, the optimiser's running means, the averaged weights of chapter 8 if there are any, the number of the step, the history. With the weights alone, AdamW's means start at 0 again, and the schedule at the beginning.
# * **Every step has random numbers of its own**, from a seed made of the run's seed and the step's number. So step 40 sees the same images, changed in the same way, with the same dropout, whether it is reached in one go or in five.
#
# To the last bit it is the same run on a CPU, with as many threads and the same PyTorch. A graphics card makes the same steps too, but adds up some of its sums, such as those of attention's backward pass, in no fixed order. There the two runs are the same up to rounding, and drift apart slowly.
#
# A crash in the middle of a save leaves the checkpoint before, and a damaged file is noticed and not used.
#
# ### One process or several
#
# The same idea makes a run independent of the machine. A batch can be cut into parts that go through the model one after the other, because memory is short (`accumulate`), or at the same time on several graphics cards. The gradient of the whole is the sum of the parts.
#
# > **Predict.** One epoch in `float64`: by your own four functions, and by `fit`, which gets the same order of images and cuts each batch into 4 parts. To how many decimals are the weights equal?

# %% tags=["hide-output"]
once = TrainConfig(
    epochs=1, batch_size=BATCH, lr=3e-3, warmup_epochs=0.2, weight_decay=0.05,
    accumulate=4, device="cpu", precision="float64",
)  # fmt: skip
theirs = vit.VisionTransformer(replace(SMALL, depth=2))
mine = vit.VisionTransformer(replace(SMALL, depth=2))
mine.load_state_dict(theirs.state_dict())
fit(theirs, data, val, once, quiet=True)

set_seed(once.seed, "order", 0)  # as fit shuffles its first epoch
my_training(mine.double(), torch.randperm(len(data)).split(BATCH), warmup_steps=5)

pairs = zip(mine.parameters(), theirs.parameters())
largest = max((a - b).abs().max().item() for a, b in pairs)
decimals = min(10, math.floor(-math.log10(largest)))
print(f"not equal to the last bit, but to {decimals} decimals or more")

# %% [markdown]
# Only rounding differs, because the same numbers are added in another order. So `fit` is your loop. Two processes do the same (the course's tests hold them to $10^{-10}$):
#
# ```
# torchrun --nproc_per_node=2 -m course_lib train mnist_fast
# ```
#
# ### When the loss is not a number
#
# One broken image is enough: an infinite pixel makes the loss `nan`, the gradient `nan`, and after the step *all weights*. Nothing raises an error, and the run goes on, for hours if need be.

# %%
images = data.images.clone()
images[500, 0, 3, 3] = math.inf
model = fresh_model()
try:
    fit(model, replace(data, images=images), val, config, quiet=True)
except ValueError as error:
    print(str(error).partition(",")[0])
finite = all(parameter.isfinite().all() for parameter in model.parameters())
print("all weights are numbers:", finite)
shutil.rmtree(folder)

# %% [markdown]
# `fit` looks at the loss and at the length of the gradient before every step. If one of them is not a finite number it stops *before* the step, says which images were in the batch, and the weights are still good.

# %% [markdown]
# ## MNIST
#
# Now the real thing. Four recipes, each recorded on the 55,000 training images of MNIST, with nothing but the settings in its name:
#
# | recipe | model | training |
# |:--|:--|:--|
# | `mnist_report_d` | a ViT of width 32, 4 blocks, patches of 4 on images enlarged to 32 pixels | a student report's: 20 epochs, batches of 64, cosine from $10^{-3}$, shifts by up to 5 % |
# | `mnist_cnn` | a convolutional network with as many parameters | the same |
# | `mnist_fast` | the course's ViT, patches of 4 on 28 pixels | everything of this chapter, in minutes |
# | `mnist_vit` | another as small | more of it: more epochs, more augmentation |
#
# (The two recipes of the course also use label smoothing, averaged weights and random erasing: chapter 8.)
#
# The report got 98.10 % with its ViT. And it says that an ordinary convolutional network with as many parameters and epochs gets about 90 %.
#
# > **Predict.** Do you believe the 90 %? Write down what you expect of each of the four.


# %% tags=["hide-output"]
NAMES = ("mnist_report_d", "mnist_cnn", "mnist_fast", "mnist_vit")
runs_of = {name: load_record(name)["runs"] for name in NAMES}


def mean_of(runs, name):
    return sum(run[name] for run in runs) / len(runs)


print("                parameters  epochs  runs  core minutes  right on test")
for name, runs in runs_of.items():
    tests = [100 * run["test_accuracy"] for run in runs]
    spread = f"({min(tests):.2f} to {max(tests):.2f})" if len(runs) > 1 else ""
    print(
        f"{name:15} {runs[0]['parameters']:>10,} {len(runs[0]['curve']):>7} {len(runs):>5}",
        f"{mean_of(runs, 'cpu_seconds') / 60:>13.0f}",
        f"{mean_of(runs, 'test_accuracy'):>10.2%} {spread}",
    )

assert all(run["test_accuracy"] > 0.97 for run in runs_of["mnist_cnn"])
assert all(run["parameters"] < 250_000 for runs in runs_of.values() for run in runs)

# %% tags=["hide-input"]
#| alt: Share right on validation against the epoch, on the left, and against the minutes of one processor core, on the right, both axes logarithmic, for the four recipes: one line each, with a band where there are several runs. All rise steeply at first and then flatten between 0.97 and 1.
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

# %% [markdown]
# Report D's recipe has no warm-up, no weight decay, and a model that is deep and narrow. How much does that cost? Both recipes once more, one after the other on one core, until 98.10 % of the validation digits are right:

# %% tags=["hide-output"]
race = load_record("mnist_race")
for run in race["runs"]:
    minutes = run["cpu_seconds"] / 60
    print(f"{run['recipe']:15} {run['epochs']:3} epochs, {minutes:3.0f} minutes")
    assert run["val_accuracy"][-1] >= race["goal"] == 0.981
assert min(race["times_as_fast"].values()) > 4

# %% [markdown]
# About 90 % is far from what a convolutional network does here. How can such a number get into a report? By any of the mistakes above. **If a baseline is much worse than everybody else's, look for the mistake in the baseline** before you praise your model. On MNIST a small convolutional network is a strong opponent: it knows from the start that neighbouring pixels belong together, and a ViT must learn it. That is the subject of chapter 8.
#
# ### How exact is a test set?
#
# > **Predict.** A model has 99.5 % right on the 10,000 test images. If somebody collected another 10,000 in the same way, by how much could the number change, by chance alone? And how many images is that?

# %% tags=["hide-output"]
share, count = 0.995, 10_000
half = 1.96 * math.sqrt(share * (1 - share) / count)
for what, width in (("the truth", half), ("another set", math.sqrt(2) * half)):
    print(f"95 % of sets: ± {width:.2%} from {what}, {width * count:.0f} images")

# %% [markdown]
# 20 images, since both sets vary. (Two models on the *same* images are easier to compare: only those count on which just one of the two is right.) A claim of 99.6 against 99.5 %, from one run each, is a claim about ten images. That brings us to what is left over.
#
# ### What it gets wrong
#
# One run of `mnist_vit`, on the test split. The diagonal, what is right, is written and left blank, so that the mistakes can be seen:

# %% tags=["hide-input"]
#| alt: A confusion matrix of ten by ten digits, row the true class, column the answer. The numbers on the diagonal are around a thousand each. A few cells beside it hold small numbers, the largest in the darkest blue.
mistaken = load_record("mnist_mistakes")
counts = torch.tensor(mistaken["confusion"])
viz.confusion_matrix(counts, plt.subplots(figsize=(4.6, 4.4))[1])
plt.show()
assert counts.sum() == mistaken["images"] == 10_000

# %% tags=["hide-input"]
#| alt: 24 handwritten digits in three rows of eight, each with its label, an arrow and the answer of the model above it. Many are hard to read: open loops, missing strokes, digits between two classes.
worst = mistaken["mistakes"]
viz.image_grid(
    from_record(worst),
    columns=8,
    titles=[f"{m['label']} → {m['answer']}, {m['probability']:.0%}" for m in worst],
    colors=[viz.INK if m["label"] == m["answer"] else viz.QUERY for m in worst],
)
plt.show()

# %% [markdown]
# These are the 24 test images with the highest loss: label → answer, and how sure the model is of it. Cover the titles and read them yourself. For some, you will side with the model. Some of the last half per cent cannot be reached.
#
# ### Look again
#
# A digit that is moved by one pixel is the same digit. For a ViT nearly every patch with ink in it has changed. Has the model learned that it does not matter? Show it each image five times, as it is and moved by one pixel to each side, and average the probabilities.
#
# > **Predict.** The same weights, five looks instead of one. Fewer mistakes, more, or the same?

# %% tags=["hide-output"]
for run in load_record("mnist_looks")["runs"]:
    for split in ("val", "test"):
        one, five = run[split]["one"], run[split]["five"]
        print(
            f"{run['recipe']:11} {split:5} one look {one:.2%}   five looks {five:.2%}"
        )
        assert five > one
        if run["recipe"] == "mnist_vit":
            images = {"val": 5_000, "test": 10_000}[split]
            assert round((five - one) * images) == {"val": 4, "test": 8}[split]

# %% [markdown]
# Fewer, for both models and on both splits; the fast one loses a third of its mistakes on the test. So a ViT has *nearly* learned it: which answer it gives depends, for some digits, on where the digit stands. (For `mnist_vit` that is 4 of 5000 images and 8 of 10,000, from one run.) The price is five times the work for each answer. (The table above has one look.) Keep the thought for chapter 8: a convolution need not learn this.
#
# ### Ink and paper
#
# This page draws digits as a pen does, dark on light. MNIST stores them the other way round: the paper is 0, the ink 255. Take a photograph of your own notebook, and you have digits of a kind that the model has never seen.
#
# > **Predict.** Ten test digits, a 0, a 1, and so on, turned round: dark on light. How many does `mnist_vit` still read? And how sure is it of its answers?

# %% tags=["hide-output"]
reader = load_model("course/vit_mnist_patch4_28")
prepare = reader.preprocessing.transform()
ink = from_record(load_record("mnist_test_examples")["examples"])  # light on dark
for what, pixels in (("as MNIST has it", ink), ("dark on light", 255 - ink)):
    images = torch.stack([prepare(image) for image in pixels])
    sure, answers = probabilities(reader, images).max(dim=1)
    print(f"{what:15} {answers.tolist()}, sure of it: {sure.mean():.2f}")

# %% [markdown]
# Ten zeros, and it is nearly as sure as before. A softmax has to give its probability to somebody; no output says *I have never seen such a thing*. **Confidence is not a warning.** So look at the picture before the model does. Here it is simple: what is mostly paper has a mean far from that of MNIST's pixels, $0.13$ on the scale from 0 for paper to 1 for ink, and turned round it would be near it. The function `unlike` looks at that.

# %% tags=["hide-input"]
assert answers.tolist() == [0] * 10 and sure.mean() > 0.8

# %%
photo = to_pil_image(255 - ink[3])
print(*unlike(photo, reader.preprocessing))
assert unlike(photo, reader.preprocessing) and not unlike(
    to_pil_image(ink[3]), reader.preprocessing
)

# %% [markdown]
# In a terminal it is one command. It names the five likeliest answers, and says when ink and paper have changed places:
#
# ```
# course predict course/vit_mnist_patch4_28 photo.png
# course predict course/vit_mnist_patch4_28 photo.png --invert
# ```
#
# It sees that much and no more. A light letter on a dark ground is still read as a digit. And it wants paper as white as MNIST's is black: crop to the digit, and raise the brightness.

# %% [markdown]
# ### Which parts matter?
#
# An **ablation** leaves out or exchanges one part at a time, with everything else as it was. The base is a small ViT with learned positions, class token, patches of 7 and the norm before each part, trained for 5 epochs. All are compared on the 5,000 *validation* images, since a comparison is a choice.
#
# > **Predict.** No positions at all; the mean of the patches instead of a class token; patches of 14, so 4 of them; patches of 4, so 49; the norm after each sum instead of before. Which of these cost accuracy, which gain, and which do not matter?

# %% tags=["hide-input"]
#| alt: Eight rows, one for each variant of the small ViT, with a dot for each seed and a bar for the 95 % interval of the difference to the base, which is drawn as a vertical line at 0. Some intervals lie entirely to the left of the line, some to the right, some contain it.
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
        [run["val_accuracy"] for run in runs], dtype=torch.float64
    )
base = found.pop("base")


def noise(groups):
    """The standard deviation of one run, from the scatter of all seeds about their means, and its degrees of freedom."""
    freedom = sum(len(scores) - 1 for scores in groups)
    squares = sum(((scores - scores.mean()) ** 2).sum() for scores in groups)
    return (squares / freedom).sqrt().item(), freedom


def difference(scores, base, noise, freedom):
    """Mean difference to the base, and half its 95 % interval."""
    half = student.ppf(0.975, freedom) * noise
    half *= (1 / len(scores) + 1 / len(base)) ** 0.5
    return (scores.mean() - base.mean()).item(), half


one_run = noise([base, *found.values()])
print(f"base: {base.mean().item():.2%} on validation, {len(base)} seeds")
print(f"one run scatters by {100 * one_run[0]:.2f} points")
_, ax = plt.subplots(figsize=(7, 3.2))
for row, (title, scores) in enumerate(found.items()):
    mean, half = (100 * value for value in difference(scores, base, *one_run))
    print(f"{title:22} {mean:+6.2f} ± {half:.2f}")
    ax.plot([mean - half, mean + half], [row, row], color=viz.KEY)
    ax.plot(mean, row, "o", color=viz.KEY)
    points, rows = 100 * (scores - base.mean()), [row + 0.25] * len(scores)
    ax.plot(points, rows, ".", color=viz.MUTED, markersize=5)
assert difference(found["patches of 4"], base, *one_run)[0] < 0
ax.axvline(0, color=viz.INK, linewidth=1)
ax.set_yticks(range(len(found)), found)
ax.invert_yaxis()
ax.set_xlabel("difference to the base on validation, in points")
plt.show()

# %% [markdown]
# The small dots are the seeds, the large one is their mean, and the bar is the 95 % interval of the difference to the base. Two seeds say little about how far seeds scatter, so the scatter is taken from all variants together, as if they all scattered alike. A bar across the line does not mean that the variant is as good: if it is short, there is hardly a difference; if it is long, nobody knows.
#
# That is the art of comparing: **several seeds, an interval, and silence when the interval contains 0.** With one seed each you could have written a story about every line. Even so, of eight such intervals at least one misses the truth in up to one study of three. And patches of 4 are behind here, although `mnist_vit` has them: what learns slowly looks bad after five epochs. The paper asks the same questions on larger data (its appendix D): the kind of positions hardly matters as long as there are some, and class token and mean do the same if each gets its own learning rate.

# %% [markdown]
# ## Your turn: reach the target
#
# *As long as you like; `course runs` says what a recipe costs.* No check stands below this exercise. The proof is the record that your run writes: settings, seed, versions, machine, curve, accuracy.
#
# 1. `course train mnist_fast` trains a recipe. Data is fetched and verified, Ctrl-C saves, the same command goes on.
# 2. **Reach what the table above says of `mnist_vit`**, with `course train mnist_vit`.
# 3. Or **beat it**, with at most 0.25 million parameters: change one setting, such as `course train mnist_vit augment.rotate=20`. Choose on *validation*. Three seeds, `--seeds 0 1 2`. Look at the test when you are done, once.
#
# In Colab, mount your Drive first (`from google.colab import drive; drive.mount("/content/drive")`). Then write `!python -m course_lib train mnist_fast --copy-to /content/drive/MyDrive/runs`, and the run outlives the machine.
#
# The cell below does it from a notebook, by default with the model of your own loop and some augmentation. With a graphics card, set `FULL = True`.

# %% tags=["nbval-ignore-output"]
FULL = False  # True: all of MNIST, for a machine with a graphics card

if FULL:
    from course_lib.recipes import find_recipe, run_recipe

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
# ## The block, tested
#
# This is what later chapters import: `fit`, and in it one epoch.

# %%
import inspect

print(inspect.getsource(train.train_one_epoch))

# %% [markdown]
# `run` holds the model, the optimiser, the settings and the number of the step. Your six lines are in `train_step` (`course_lib/train/loop.py`), and around them the rate, the parts of a batch, `float16`, and clear words when something is wrong.

# %% [markdown]
# ## Three to think about
#
# No code, a pencil.
#
# 1. Somebody applies softmax to the logits, and then `F.cross_entropy`, which applies it again. There are ten classes. What is the loss of the untrained model? What is the smallest loss that training can reach?
# 2. A run of 100 epochs is stopped after 50, because time is up, and its model is compared with one that was *planned* for 50 epochs. Both had warm-up and cosine with the same peak. Is it fair?
# 3. With AdamW, every weight moves by about the learning rate at each step. How far can a weight get in 400 steps at a constant $10^{-4}$, the grey line of the picture? How far in 400 steps of warm-up and cosine up to $3 \cdot 10^{-3}$? The weights start with a standard deviation of about $0.1$.
#
# <details>
# <summary>Answers</summary>
#
# 1. Untrained, all ten probabilities are about $0.1$, and the second softmax leaves them equal: still $\log 10 \approx 2.30$. At best the first softmax gives $(1, 0, \dots, 0)$, of which the second makes $e/(e + 9) \approx 0.23$. The loss is $-\log 0.23 \approx 1.46$ and can fall no further. The first test does not notice; a loss that stops at 1.46 does.
# 2. No. After 50 of 100 epochs, 10 of them warm-up, the learning rate is still at 59 % of its peak. The run has not had its fall, which in the picture divides the last loss by ten. A run is finished when its schedule is.
# 3. About $400 \cdot 10^{-4} = 0.04$, if every step goes the same way: less than half of the distance from 0 at which it started. With warm-up and cosine the mean of the rate is about half the peak, so $400 \cdot 1.5 \cdot 10^{-3} = 0.6$: far enough to go anywhere. A rate that is too low is a matter of distance, and more steps mend it. More steps do not mend one that is too high.
#
# </details>

# %% [markdown]
# ## What you take with you
#
# * Before the first step the loss is $\log K$. A model must be able to learn **ten images by heart**, and that it can proves nothing about others.
# * **Zero, forward, backward, clip, step**, in this order.
# * AdamW's learning rate is near $10^{-3}$. A **warm-up** makes higher ones usable, a **fall** at the end lets the loss settle. **Weight decay only on what multiplies**.
# * Evaluate in **eval mode**, without gradients, with **sums over images**.
# * Choose on **validation**, look at the **test once**. Compare with several seeds and an interval.
# * Small images live **on the device**, and a batch is augmented there at once.
# * A run that survives saves everything and gives every step its own random numbers: it goes on as if nothing had happened, on a CPU **to the last bit**.
#
# The picture to keep: **the learning rate above the loss.**
#
# ### To read
#
# * [Loshchilov & Hutter 2019, *Decoupled Weight Decay Regularization*](https://arxiv.org/abs/1711.05101), sections 1 and 2.
# * [Goyal et al. 2017, *Accurate, Large Minibatch SGD*](https://arxiv.org/abs/1706.02677), sections 2.2 and 5: warm-up, and how carefully one can measure.
# * [Touvron et al. 2021, *Training data-efficient image transformers*](https://arxiv.org/abs/2012.12877), table 9: the settings with which most ViTs have been trained since.
# * [Recht et al. 2019, *Do ImageNet Classifiers Generalize to ImageNet?*](https://arxiv.org/abs/1902.10811): somebody did collect the other test set. For MNIST it was found again: [Yadav & Bottou 2019, *Cold Case: The Lost MNIST Digits*](https://arxiv.org/abs/1905.10498).
#
# Next, chapter 8: on MNIST a ViT does well. On small photographs it meets a wall.
