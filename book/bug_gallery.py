# %% [markdown]
# # It runs, it trains, it is wrong
#
# | Goal | Before you start | Time | Runs on |
# |:--|:--|:--|:--|
# | Find bugs that no shape betrays, and accuracy seldom, by a test that you write | Chapters 1 to 9 | 100 minutes, and 30 for what is marked *further* | any CPU |
#
# A bug that raises an error is a kind one. The bugs of this chapter raise none. All shapes fit, training runs, and most of them reach an accuracy at which nobody would wonder. Nearly all of them stood in somebody's code, in tutorials, in published models, in PyTorch itself, and the address is given.
#
# Of most you learn what it is, where it stood, what can be seen of it, and which test finds it. Six of the tests you write yourself. The check hands your test the bugs, and right code of several makes, and says which it cannot tell apart.
#
# What is marked *further* can wait for a second reading: run its cells, and go on.

# %% tags=["setup"]
import copy
from math import comb

import matplotlib.pyplot as plt
import numpy as np
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, TensorDataset
from torch.utils.flop_counter import FlopCounterMode

from course_lib import viz
from course_lib.attention import MultiHeadSelfAttention, merge_heads, split_heads
from course_lib.data import load_data
from course_lib.patch_embed import PatchEmbed, patchify
from course_lib.records import load_record
from course_lib.train import set_seed
from course_lib.train.muon import newton_schulz
from course_lib.vit import VIT_CONFIGS, EncoderBlock, VisionTransformer, ViTConfig

viz.set_style()
torch.set_num_threads(1)  # the models here are tiny: more threads only wait

# %% [markdown]
# ## Which one is right?
#
# Twelve tiny ViTs were trained on scikit-learn's digits, with five seeds each. They have the same parameters, the same images and, but for the bug, the same recipe. One is right. Eleven have a bug, each another one.

# %% tags=["hide-input"]
#| alt: Twelve columns A to L, each with five dots and a dash for their mean, the share of digits that are right, from 68 to 98 %. A lies below the picture, at 11 %. B has its mean at 78 and dots from 72 to 85; C to L lie between 87 and 95, rising slowly to the right. The dots of C to K overlap; those of L lie above all others.
record = load_record("bug_gallery")
found = {}
for run in record["runs"]:
    found.setdefault(run["bug"], []).append(100 * run["both"][-1])
order = sorted(found, key=lambda bug: np.mean(found[bug]))


def draw_strip(names, right=None):
    """A column for each kind of code: five seeds, and their mean."""
    _, ax = plt.subplots(figsize=(5.4, 2.8))
    for x, bug in enumerate(order):
        color = viz.VALUE if bug == right else viz.KEY
        ax.scatter([x] * 5, found[bug], s=22, color=color, alpha=0.6, lw=0)
        ax.hlines(np.mean(found[bug]), x - 0.3, x + 0.3, color=color)
    ax.set(ylabel="% right", ylim=(68, 98), xticks=range(len(order)))
    ax.text(
        0, 68.5, f"{np.mean(found[order[0]]):.0f} %", ha="center", color=viz.KEY
    )
    ax.set_xticklabels(names)
    return ax


draw_strip("ABCDEFGHIJKL")
plt.show()

# %% [markdown]
# Above the letters, a dot for each seed and a dash for their mean: how many of 597 digits that were held out are right. (A lies far below the picture.)
#
# > **Predict.** A to L, one column each, a dot for each seed. Which column is the right code?

# %% tags=["hide-input", "hide-output"]
#| alt: The same twelve columns. E is green, the others are blue. Below the picture are the names, letter by letter, each with its mean.
draw_strip("ABCDEFGHIJKL", right="nothing is wrong")
plt.show()
for letter, bug in zip("ABCDEFGHIJKL", order):
    print(f"{letter}  {bug:21} {np.mean(found[bug]):5.1f} %")

# %% tags=["hide-input"]
means = {bug: np.mean(found[bug]) for bug in order}
assert order[0] == "never cleared" and order[1] == "softmax twice"
assert order[-1] == "heads by reshape" and order.index("nothing is wrong") == 4
assert round(means["nothing is wrong"], 1) == 89.2
assert round(means["heads by reshape"], 1) == 93.5
assert round(means["softmax twice"]) == 78 and round(means["never cleared"]) == 11
assert sum(mean > means["nothing is wrong"] for mean in means.values()) == 7
overlap = [max(found[bug]) > min(found["nothing is wrong"]) for bug in order]
assert overlap == [False, False] + [True] * 10
assert min(found["heads by reshape"]) > max(found["nothing is wrong"])
assert 0.5 < means["nothing is wrong"] - means["reads last token"] < 0.7
best_right = max(found["nothing is wrong"])
assert [bug for bug in order if min(found[bug]) > best_right] == order[-1:]

# %% [markdown]
# It is E, with 89.2 %. Seven of the eleven bugs have a higher mean (but only of the last are all seeds above all of the right code's), and the highest, with 93.5 %, are heads that are cut in the wrong place. Two bugs show by being worse: gradients that are never cleared (11 %, a guess), and a softmax that is taken twice (78 %). Each of the other nine has a seed that is better than the worst one of the right code.

# %% [markdown]
# Here is how they were made. Each bug is a line or two.


# %% tags=["hide-input"]
class OverQueries(MultiHeadSelfAttention):
    """The softmax runs over the wrong axis."""

    def _attend(self, q, k, v):
        return (q @ k.mT / q.shape[-1] ** 0.5).softmax(dim=-2) @ v


class Unscaled(MultiHeadSelfAttention):
    """The scores are not divided by the root of d."""

    def _attend(self, q, k, v):
        return (q @ k.mT).softmax(dim=-1) @ v


class ScaledByWidth(MultiHeadSelfAttention):
    """The scores are divided by the root of D, the width of all heads."""

    def _attend(self, q, k, v):
        return (q @ k.mT / self.dim**0.5).softmax(dim=-1) @ v


class HeadsReshaped(MultiHeadSelfAttention):
    """Heads are cut by a reshape alone: a head gets a few whole tokens."""

    def forward(self, x):
        B, N = x.shape[:2]
        q, k, v = (
            t.reshape(B, self.num_heads, N, -1) for t in self.qkv(x).chunk(3, -1)
        )
        return self.proj(merge_heads(self._attend(q, k, v)))


class HeadsNotMerged(MultiHeadSelfAttention):
    """Heads are joined by a reshape alone."""

    def forward(self, x):
        q, k, v = (split_heads(t, self.num_heads) for t in self.qkv(x).chunk(3, -1))
        return self.proj(self._attend(q, k, v).reshape(x.shape))


class NormalisedResidual(EncoderBlock):
    """What a half computes is added to the tokens after the norm."""

    def forward(self, x):
        x = self.norm1(x)
        x = x + self.attn(x)
        x = self.norm2(x)
        return x + self.mlp(x)


class ReshapedPatches(PatchEmbed):
    """Patches are cut by a reshape alone: a patch of 2 x 2 is four pixels of a row."""

    def forward(self, images):
        pieces = images.reshape(len(images), self.num_patches, -1)
        return F.linear(pieces, self.proj.weight.flatten(1), self.proj.bias)


class ReadsTheLast(VisionTransformer):
    """The answer is read off the last token, and not off the class token."""

    def pool(self, tokens):
        return tokens[:, -1]


CONFIG = ViTConfig(
    img_size=8,
    patch_size=2,
    in_chans=1,
    num_classes=10,
    embed_dim=32,
    depth=2,
    num_heads=4,
    mlp_ratio=2.0,
    weight_init="xavier",
)
PARTS = {  # what is wrong: the part that is put in
    "softmax over queries": OverQueries,
    "not scaled": Unscaled,
    "scaled by √D": ScaledByWidth,
    "heads by reshape": HeadsReshaped,
    "heads not merged": HeadsNotMerged,
    "residual after norm": NormalisedResidual,
    "patches by reshape": ReshapedPatches,
    "reads last token": ReadsTheLast,
}
TRAINING = ("softmax twice", "sum for mean", "never cleared")
BUGS = ("nothing is wrong", *PARTS, *TRAINING)


def build(bug):
    """The tiny ViT with that bug in it."""
    model = VisionTransformer(CONFIG)
    part = PARTS.get(bug)
    for module in model.modules():  # the new class has the same parameters
        if part and type(module) is part.__base__:
            module.__class__ = part
    return model


def step(model, optimizer, images, labels, bug):
    """A step of training with that bug in it."""
    if bug != "never cleared":
        optimizer.zero_grad()
    logits = model(images)
    if bug == "softmax twice":
        logits = logits.softmax(dim=-1)
    how = "sum" if bug == "sum for mean" else "mean"
    loss = F.cross_entropy(logits, labels, reduction=how)
    loss.backward()
    optimizer.step()
    return loss


def train(bug, seed, epochs=12, batch=30, rate=8e-3):
    """Train on 1200 digits; after each epoch the accuracy on (validation, test)."""
    sets = [load_data("digits", split) for split in ("train", "val", "test")]
    (images, labels), *held_out = [(2 * s.images - 1, s.labels) for s in sets]
    set_seed("the bug gallery", seed)
    model = build(bug)
    optimizer = torch.optim.AdamW(model.parameters(), lr=rate)
    steps = epochs * len(images) // batch
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, rate, total_steps=steps
    )
    history = []
    for _ in range(epochs):
        model.train()
        for rows in torch.randperm(len(images)).split(batch):
            step(model, optimizer, images[rows], labels[rows], bug)
            schedule.step()
        model.eval()
        with torch.no_grad():
            history.append(
                [
                    (model(x).argmax(dim=1) == y).float().mean().item()
                    for x, y in held_out
                ]
            )
    return history


# %% tags=["hide-output"]
live = {
    bug: train(bug, seed=0)[-1] for bug in ("nothing is wrong", "heads by reshape")
}
for bug, shares in live.items():
    print(f"{bug:17} above 80 % on both halves:", min(shares) > 0.8)

# %% [markdown]
# Accuracy is no test, then. A good one says that the model has learned *something*. Whether it computes what you think is another question, and it has an answer that takes milliseconds.
#
# ## What a test is
#
# A function that takes the code in question, tries it on an example, and says no with `assert`. If it comes to its end, that was a yes. What can it compare with?
#
# * **A shape.** Cheap, and here it finds nothing.
# * **A law** that must hold whatever the weights are: weights sum to 1, the order of the keys does not matter.
# * **A reference**: the same numbers by another way, a slow and plain one that you trust.
#
# Take three bugs of attention: the softmax over the queries, no $\sqrt d$, and $\sqrt d$ after the softmax instead of before,
#
# $$\operatorname{softmax}\left(QK^\top\right) / \sqrt d \quad\text{in place of}\quad \operatorname{softmax}\left(QK^\top / \sqrt d\right).$$
#
# > **Predict.** Four tests: the shape; values that are all 1 must come out as 1; shuffling keys and values together must change nothing; the sum written out in loops. Which of them finds which of the bugs?


# %% tags=["hide-output"]
def by_loops(query, key, value):
    """One query and one head at a time, in float64: (N, d), (M, d), (M, dv) -> (N, dv)."""
    rows = []
    for q in query.double():
        weights = [float((q @ k / len(q) ** 0.5).exp()) for k in key.double()]
        parts = [w * v for w, v in zip(weights, value.double())]
        rows.append(sum(parts) / sum(weights))
    return torch.stack(rows).to(value.dtype)


ATTENTIONS = {
    "right": lambda q, k, v: (q @ k.mT / q.shape[-1] ** 0.5).softmax(-1) @ v,
    "over queries": lambda q, k, v: (q @ k.mT / q.shape[-1] ** 0.5).softmax(-2) @ v,
    "not scaled": lambda q, k, v: (q @ k.mT).softmax(-1) @ v,
    "scaled late": lambda q, k, v: (q @ k.mT).softmax(-1) / q.shape[-1] ** 0.5 @ v,
}
torch.manual_seed(0)
query, key, value = torch.randn(3, 4), torch.randn(5, 4), torch.randn(5, 6)
order_of_keys = torch.randperm(5)


def same(a, b):
    return a.shape == b.shape and torch.allclose(a, b, atol=1e-5)


TESTS = {
    "shape": lambda f: f(query, key, value).shape == (3, 6),
    "ones": lambda f: same(f(query, key, torch.ones(5, 6)), torch.ones(3, 6)),
    "shuffled": lambda f: same(
        f(query, key, value), f(query, key[order_of_keys], value[order_of_keys])
    ),
    "loops": lambda f: same(f(query, key, value), by_loops(query, key, value)),
}
print(" " * 12, *(f"{name:>9}" for name in TESTS))
verdicts = {}
for name, attention in ATTENTIONS.items():
    verdicts[name] = [test(attention) for test in TESTS.values()]
    print(
        f"{name:12}", *(f"{'yes' if said else 'NO':>9}" for said in verdicts[name])
    )

# %% tags=["hide-input", "hide-output"]
assert verdicts["right"] == [True] * 4
assert (
    verdicts["over queries"]
    == verdicts["scaled late"]
    == [True, False, True, False]
)
assert verdicts["not scaled"] == [True, True, True, False]

# %% [markdown]
# A law finds what breaks it, and no more. Weights without the root sum to 1, too. The reference finds all three. That is the usual picture: **where there is a plain way to the same numbers, take it; where there is none, look for a law.**
#
# The four sizes in the example all differ, and no number in it is round. Had there been one key, or zeros in the queries, the loops would have found less.
#
# ### Softmax over the wrong axis, and the root
#
# *What you see:* nothing. *Where:* the softmax ran over the queries in [labml's annotated diffusion model](https://github.com/labmlai/annotated_deep_learning_paper_implementations/issues/146) (its quality measure did not change when it was mended) and in [a ViT tutorial](https://github.com/nerminnuraydogan/vision-transformer/issues/1). The root was left out in [mlc-llm](https://github.com/mlc-ai/mlc-llm/pull/3426), on one of two ways through the code. It was that of $D$, not of $d$, in [vit-pytorch](https://github.com/lucidrains/vit-pytorch/issues/65) at first, in [ViT-CIFAR](https://github.com/omihub777/ViT-CIFAR/pull/12), and in many others.

# %% [markdown]
# ### Exercise B.1 · `test_attention`
#
# *Easy, 8 minutes.* Write the test that tells right attention from wrong.
#
# * `attention` is a function: `attention(query, key, value)` maps `(..., Nq, d)`, `(..., Nk, d)` and `(..., Nk, dv)` to `(..., Nq, dv)`. You choose the example.
# * If it is wrong, an `assert` of yours fails, or `torch.testing.assert_close`, which raises the same `AssertionError`. If it is right, the test comes to its end and returns nothing.
# * The check tries it on six right functions (loops, einsum, one that computes in float64, one whose parameters have other names, ...) and on five bugs, in several runs with other random numbers. With floating-point numbers they never raise an error by themselves.
#
# The line says which of them your test cannot tell apart. So it will be in all exercises of this chapter.


# %% tags=["exercise"]
def test_attention(attention):
    """Say no to `attention` unless it is scaled dot-product attention."""
    # BEGIN SOLUTION
    query, key, value = (
        torch.randn(2, 3, 4),
        torch.randn(2, 5, 4),
        torch.randn(2, 5, 6),
    )
    weights = (query @ key.mT / 4**0.5).softmax(dim=-1)  # (2, 3, 5)
    torch.testing.assert_close(
        attention(query, key, value), weights @ value, rtol=1e-4, atol=1e-4
    )
    # END SOLUTION


# %% tags=["check"]
from course_lib.checks import check_test_attention

check_test_attention(test_attention)

# %% [markdown] tags=["help"]
# <details>
# <summary>Hint</summary>
#
# Three random tensors whose sizes all differ; the result written out by you, or by `F.scaled_dot_product_attention`; and a comparison with a tolerance.
#
# </details>
#
# <details>
# <summary>It fails right code</summary>
#
# Numbers that were added up in another order differ in the last digits. `torch.equal` asks for the same bits, `torch.allclose` and `torch.testing.assert_close` do not. And call by position: `attention(query=...)` finds no parameter of that name where somebody has called it `q`.
#
# </details>

# %% [markdown]
# ## Bugs of order
#
# ### Heads cut by a reshape, heads not merged
#
# `(B, N, D)` and `(B, H, N, d)` hold equally many numbers. So `x.reshape(B, H, N, d)` runs, and cuts in the wrong place: a head gets a few *whole tokens* where it should get a slice of each. *Where:* [FuxiCTR](https://github.com/reczoo/FuxiCTR/issues/30), in three of its models, which had it from a blog. The same on the way back: [transformer-from-scratch](https://github.com/jsbaan/transformer-from-scratch/pull/6), whose author wonders why the test that trained the model still passed.
#
# A law finds both. Self-attention without positions does not know the order of its tokens (chapter 1): shuffle them, and the outputs are shuffled alike.
#
# > **Predict.** Does that law find the missing root? And the softmax over the queries?


# %% tags=["hide-output"]
def follows_a_shuffle(attend):
    """Whether outputs change places as their tokens do."""
    tokens, order = torch.randn(2, 6, 12), torch.randperm(6)
    return same(attend(tokens[:, order]), attend(tokens)[:, order])


torch.manual_seed(1)
KINDS = (
    MultiHeadSelfAttention,
    HeadsReshaped,
    HeadsNotMerged,
    OverQueries,
    Unscaled,
)
with torch.no_grad():
    follow = {kind.__name__: follows_a_shuffle(kind(12, 3)) for kind in KINDS}
for name, said in follow.items():
    print(f"{name:23}", "yes" if said else "NO")

# %% tags=["hide-input", "hide-output"]
assert list(follow.values()) == [True, False, False, True, True]

# %% [markdown]
# It finds the two that mix tokens up, and neither of the others: these treat all tokens alike, wrongly.
#
# And that is perhaps why the reshaped heads came out *ahead* on the digits: what they mix up depends on the place of a token, so they tell the model something about places. (A guess; it has not been tried.) Nobody should count on it. The code does not do what it says, and the first published weight that it loads will show it.
#
# ### Patches cut by a reshape
#
# The same mistake one step earlier, `images.reshape(B, N, -1)`. *Where:* in [a ViT on GitHub](https://github.com/gupta-abhay/pytorch-vit/issues/7) patches were mixed from several places; [a site of exercises](https://github.com/duoan/TorchCode/issues/21) accepted the reshape as an answer. And in [a pull request to NVIDIA's NeMo](https://github.com/NVIDIA-NeMo/RL/pull/4106) the code was right, and its tests were not: a reviewer exchanged rows and columns of the grid, and every test still passed.
#
# > **Predict.** A digit of 8 x 8 pixels is cut into four patches of 4 x 4 by a reshape. What does the first patch show?

# %% tags=["hide-input", "hide-output"]
#| alt: A handwritten zero of 8 by 8 pixels and, in two rows, four patches of 4 by 4. Cut rightly they are the four quarters of the zero. Cut by a reshape each patch holds two rows of the image: the left half of the first row, its right half, then those of the second.
digit = load_data("digits", "train").images[:1]  # (1, 1, 8, 8)
cuts = {"cut": patchify(digit, 4), "reshaped": digit.reshape(1, 4, 16)}
figure, axes = plt.subplots(2, 5, figsize=(6, 2.6), width_ratios=(1.6, 1, 1, 1, 1))
for row, (name, patches) in zip(axes, cuts.items()):
    row[0].imshow(digit[0, 0], cmap="gray_r", vmin=0, vmax=1)
    row[0].set_ylabel(name)
    for ax, patch in zip(row[1:], patches[0]):
        ax.imshow(patch.view(4, 4), cmap="gray_r", vmin=0, vmax=1)
for ax in axes.flat:
    ax.set(xticks=[], yticks=[])
    ax.spines[:].set_visible(True)  # white squares have an edge
plt.show()
assert torch.equal(cuts["reshaped"][0, 0].view(2, 8), digit[0, 0, :2])

# %% [markdown]
# Two rows of the image, each cut in half. The linear layer after it makes something of that, too.

# %% [markdown]
# ### Exercise B.2 · `test_patchify`
#
# *Medium, 8 minutes.* Write the test that NeMo lacked.
#
# * `patchify(images, patch_size)` maps `(B, C, gh·P, gw·P)` to `(B, gh·gw, C·P·P)`: patches in reading order, and within a patch the order is channel, row, column. It moves numbers and computes none, so that you may ask for the very same bits.
# * The check tries five right functions and five bugs.


# %% tags=["exercise"]
def test_patchify(patchify):
    """Say no to `patchify` unless each pixel lies where it belongs."""
    # BEGIN SOLUTION
    images = torch.randn(2, 3, 4, 6)
    patches = patchify(images, 2)
    assert patches.shape == (2, 6, 12)
    for i in range(2):
        for j in range(3):
            square = images[:, :, 2 * i : 2 * i + 2, 2 * j : 2 * j + 2]
            assert torch.equal(patches[:, 3 * i + j], square.flatten(1))
    # END SOLUTION


# %% tags=["check"]
from course_lib.checks import check_test_patchify

check_test_patchify(test_patchify)

# %% [markdown] tags=["help"]
# <details>
# <summary>Hint</summary>
#
# An image that is not square, with several channels, and a number of its own for each pixel. The patch in row `i` and column `j` of the grid is a slice of the image, `images[:, :, i * P : (i + 1) * P, ...]`, laid flat. Look at all of them.
#
# </details>
#
# <details>
# <summary>It passes a bug, and I do not see why</summary>
#
# Ask what your example leaves out. In the first patch and in the last, and in a single row or column of them, the grid's rows and columns may change places unseen; with one channel nobody sees in which order channels lie; pixels that are all alike show nothing.
#
# </details>

# %% [markdown]
# ## Bugs of broadcasting
#
# ### Positions for the batch
#
# `x + positions[: x.shape[0]]` was right where the tokens came first. With the batch first it takes as many positions as there are *images*, and with a dimension put in so that it fits, each image gets one vector, the same for all its tokens. *Where:* in [a course's Transformer](https://github.com/cmu-l3/anlp-fall2025-code/issues/1).
#
# > **Predict.** Five tokens, all alike, in each of three images. How many different tokens are there in an image once positions are added: rightly, and with the bug?

# %% tags=["hide-output"]
torch.manual_seed(2)
tokens, positions = torch.zeros(3, 5, 4), torch.randn(8, 4)
added = {
    "right": tokens + positions[:5],  # (5, 4): one for each token
    "bug": tokens + positions[:3, None],  # (3, 1, 4): one for each image
}
different = {name: len(x[0].unique(dim=0)) for name, x in added.items()}
print(different, "shapes alike:", added["right"].shape == added["bug"].shape)

# %% tags=["hide-input", "hide-output"]
assert different == {"right": 5, "bug": 1}

# %% [markdown]
# The test is the question itself: **tokens that are alike must differ afterwards, and images that are alike must not.**
#
# ### The class token without a position
#
# *Where:* in [labml's annotated ViT](https://github.com/labmlai/annotated_deep_learning_paper_implementations/pull/221) positions were added before the class token was put in front. It got none.
#
# > **Predict.** Train a model like that from random numbers. What does it lose?

# %% tags=["hide-output"]
torch.manual_seed(3)
model = VisionTransformer(CONFIG).eval()
nn.init.normal_(model.cls_token)
nn.init.normal_(model.pos_embed)
images = torch.randn(2, 1, 8, 8)


def without_position_for_class_token(model):
    twin = copy.deepcopy(model)
    twin.pos_embed.data[:, 0] = 0
    return twin


bare = without_position_for_class_token(model)
repaired = copy.deepcopy(bare)
repaired.cls_token.data += model.pos_embed.data[:, :1]
with torch.no_grad():
    before, after = (same(model(images), one(images)) for one in (bare, repaired))
print("the same answers, weights as loaded:   ", before)
print("the same, position in the class token: ", after)

# %% tags=["hide-input", "hide-output"]
assert (before, after) == (False, True)

# %% [markdown]
# Nothing that it could express. The class token and its position are two vectors that are only ever added, so one can play both. No accuracy shows this bug, and rightly so. But load published weights, which have split the sum in two, and half of it is missing. **Whether it is a bug depends on what it has to agree with.** The test that finds it is the one of chapter 6: the logits of the published model.
#
# (Read the answer off the last token in place of the class token, as it was [reported of a visual language model](https://github.com/Tencent/digitalhuman/issues/5), and on the digits the mean is half a point lower, which is no more than chance. The same test finds it.)

# %% [markdown]
# ## Bugs of the residual
#
# ### Added to the wrong tokens
#
# Pre-norm is `x + attn(norm(x))`. Write `x = norm(x)` first and `x + attn(x)` next, and the sum is of other tokens: the stream that should reach the end untouched is normalised in each half. *Where:* in [PyTorch's own encoder layer](https://github.com/pytorch/pytorch/issues/61165), when it learned pre-norm in 2021. In [Burn](https://github.com/tracel-ai/burn/issues/1056), a framework for Rust. In [Compact Transformers](https://github.com/SHI-Labs/Compact-Transformers/issues/25), by a bad merge. On the digits you cannot tell it from the right code.
#
# There is no reference for "a block": yours may have a gate or a LayerScale that mine has not. A law is wanted. *If both halves add nothing, what comes out is what went in.*
#
# A second bug goes by another law. A LayerNorm over tokens *and* features together (`(N, D)` where it should be `(D,)`; [it stood in a baseline of GATr](https://github.com/Qualcomm-AI-research/geometric-algebra-transformer/pull/8)) lets each token see all the others. *If the attention adds nothing, what happens to one token is nothing to the rest.*

# %% [markdown]
# ### Exercise B.3 · `test_block`
#
# *Hard, 10 minutes.* Write both laws down.
#
# * `block` is a module, `(B, N, 12)` to the same shape, in float32 and evaluation mode: a pre-norm encoder block. `block.attn.proj` and `block.mlp.fc2` are the linear layers with bias that its two halves end in (a LayerScale may follow). What else is in it may vary: LayerScale, another activation, another number of heads.
# * Its weights are as after some training: no gain is 1, no bias 0.
# * Leave it as it was. `copy.deepcopy(block)` makes one that you may change; `nn.init.zeros_(weight)` sets a weight to zero.
# * The check tries five right blocks and five bugs.


# %% tags=["exercise"]
def test_block(block):
    """Say no to `block` unless it is a pre-norm encoder block."""
    # BEGIN SOLUTION
    x = torch.randn(2, 5, 12)
    quiet = copy.deepcopy(block)
    for layer in (quiet.attn.proj, quiet.mlp.fc2):
        nn.init.zeros_(layer.weight)
        nn.init.zeros_(layer.bias)
    torch.testing.assert_close(quiet(x), x)

    alone = copy.deepcopy(block)
    nn.init.zeros_(alone.attn.proj.weight)  # its bias is the same for every token
    other = x.clone()
    other[:, 0] += torch.randn(2, 12)
    torch.testing.assert_close(alone(x)[:, 1:], alone(other)[:, 1:])
    # END SOLUTION


# %% tags=["check"]
from course_lib.checks import check_test_block

check_test_block(test_block)

# %% [markdown] tags=["help"]
# <details>
# <summary>Hint</summary>
#
# Two copies. In the first, weight and bias of both layers are zero, and `quiet(x)` must be `x`. In the second only those of `attn.proj` are; change one token of `x`, and compare the results of all *other* tokens.
#
# </details>
#
# <details>
# <summary>It fails right code</summary>
#
# A linear layer adds its bias, too, and here no bias is 0. And as long as the attention works, each token sees all the others: that is what it is for.
#
# </details>

# %% [markdown]
# ## Bugs of the training step
#
# ### Softmax twice
#
# `F.cross_entropy` takes logits and applies the softmax itself. Hand it probabilities, and it takes the softmax of them. It trains: the probabilities still rise where they should. *Where:* for the validation loss of [SciCo](https://github.com/ariecattan/SciCo/issues/2), where somebody saw that it stuck at one value; in the model of [an activity recogniser](https://github.com/jindongwang/Deep-learning-activity-recognition/issues/10); and in many others.
#
# > **Predict.** Ten classes, and the model is right and perfectly sure: its probabilities are 1 and nine times 0. What is the loss?

# %% tags=["hide-output"]
sure = torch.eye(10)  # image i is of class i
labels = torch.arange(10)
print(f"probabilities: {F.cross_entropy(sure, labels):.2f}")
print(f"logits, 100 times as large: {F.cross_entropy(100 * sure, labels):.2f}")
floor = -np.log(np.e / (np.e + 9))

# %% tags=["hide-input", "hide-output"]
assert abs(F.cross_entropy(sure, labels) - floor) < 1e-6 and round(floor, 2) == 1.46

# %% [markdown]
# It can never fall below $-\ln \frac{e}{e + 9} = 1.46$. So the symptom is a floor, and the test is an answer that you know: **sure and right must cost nearly nothing.** On the digits it is the one forward or loss bug that costs much: some eleven points.
#
# ### Gradients that are not cleared, and others
#
# *Where:* [wekws](https://github.com/wenet-e2e/wekws/issues/72) and [DAB-DETR](https://github.com/IDEA-Research/DAB-DETR/issues/58), whose author says that it had little influence; it has been asked whether [PyTorch should warn](https://github.com/pytorch/pytorch/issues/47175). Each step then gets the sum of all gradients so far. With AdamW on the digits it shows, as you have seen. In plain gradient descent with a small rate it is a momentum that never forgets.
#
# (To clear them at the end of the step is as good as at its beginning, though readers of PyTorch's own tutorial have [doubted](https://github.com/pytorch/tutorials/issues/2693) [that](https://github.com/pytorch/tutorials/issues/2799).)
#
# A loss that is summed over the batch where the mean was meant: AdamW divides by the size of the gradient, and so hides it nearly altogether. With SGD the rate is as many times too large as there are images. And a step that comes one call late, `optimizer.step()` first, then `zero_grad()` and `loss.backward()`: every loss that it reports is that of its weights, and these are always one step behind. A step may also report the loss from *after* itself, or lose an image: cut a batch into two halves of `len(images) // 2`, and of an odd number the last one is left out.
#
# All of these show within two steps, to whoever computes two steps by another way.

# %% [markdown]
# ### Exercise B.4 · `test_train_step`
#
# *Hard, 10 minutes.* Write the test of a training step.
#
# * `train_step(model, optimizer, images, labels)` makes one step of the optimiser on the mean cross-entropy of these images and returns that loss, from before the step, as a float. The model gives logits.
# * You make model, optimiser and images: a linear layer and `torch.optim.SGD` without momentum will do. Before the first call there are no gradients; a right step may clear them at its beginning or at its end.
# * Where the weights must be then, you know: $w - \text{lr} \cdot \partial L / \partial w$. `torch.autograd.grad(loss, weights)` gives the gradients without leaving any behind.
# * The check tries five right functions and six bugs.


# %% tags=["exercise"]
def test_train_step(train_step):
    """Say no to `train_step` unless it makes the step that it should."""
    # BEGIN SOLUTION
    model = nn.Linear(4, 3)
    twin = copy.deepcopy(model)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
    for _ in range(2):
        images, labels = torch.randn(7, 4), torch.randint(3, (7,))
        loss = F.cross_entropy(twin(images), labels)
        weights = list(twin.parameters())
        for weight, gradient in zip(weights, torch.autograd.grad(loss, weights)):
            weight.data -= 0.5 * gradient
        returned = train_step(model, optimizer, images, labels)
        assert abs(returned - loss.item()) < 1e-4
        for weight, wanted in zip(model.parameters(), weights):
            torch.testing.assert_close(weight, wanted, rtol=1e-4, atol=1e-4)
    # END SOLUTION


# %% tags=["check"]
from course_lib.checks import check_test_train_step

check_test_train_step(test_train_step)

# %% [markdown] tags=["help"]
# <details>
# <summary>Hint</summary>
#
# Two models with the same weights, `twin = copy.deepcopy(model)`. Let the candidate step on one, and step on the other by hand. Compare the weights, and the loss. Then do it once more on the same two models: what was left over from the first step shows in the second.
#
# </details>
#
# <details>
# <summary>I test that the loss falls, and it passes everything</summary>
#
# So it does with each of these bugs on an easy example. A falling loss says that the step goes downhill. Where it ends up is what the bugs change.
#
# </details>

# %% [markdown]
# ### Further: parts of uneven size
#
# Gradient accumulation cuts a batch into parts and adds up their gradients. If each part's loss is a mean, and each counts alike, then the examples of a small part count more. *Where:* in language models, whose parts hold different numbers of tokens, [Transformers' Trainer](https://github.com/huggingface/transformers/pull/34191) did so until 2024. [ms-swift](https://github.com/modelscope/ms-swift/pull/10084) divided by the usual number of parts at the end of an epoch, too, where fewer are left.

# %%
torch.manual_seed(4)
losses = torch.rand(4)
parts = losses.split(3)  # three examples, and one
mean_of_means = torch.stack([part.mean() for part in parts]).mean()
weighed = sum(part.mean() * len(part) for part in parts) / len(losses)
print("mean of the means is the mean:", same(mean_of_means, losses.mean()))
print("weighed by their sizes:       ", same(weighed, losses.mean()))
assert not same(mean_of_means, losses.mean()) and same(weighed, losses.mean())

# %% [markdown]
# The test: **one step with the batch in uneven parts must be the step with the batch in one.**
#
# ## Bugs of chance
#
# ### One coin for all
#
# A transform that was written for one image takes a batch as well, and throws its coin once. *Where:* it is how torchvision's random transforms treat a batch, as [two](https://github.com/pytorch/vision/issues/2929) [threads](https://github.com/pytorch/vision/issues/8484) found out. Batches then differ from each other, and within a batch nothing does. The images look right, whichever you look at.
#
# > **Predict.** You test it: mirror four images, and demand that some are mirrored and some are not. How often does that test fail right code?

# %% tags=["hide-output"]
for images_in_batch in (4, 8, 64):
    share = 2 / 2**images_in_batch
    print(f"{images_in_batch:2} images: {share:.1%} of all runs")

# %% tags=["hide-input", "hide-output"]
assert 2 / 2**4 == 1 / 8

# %% [markdown]
# With four images, in one run of eight all coins fall alike. Such a test is called *flaky*: it says no to right code now and then, one learns to run it again, and then it is no test any more. A fixed seed hides that, and only for code that draws in the same way. **Draw so many that chance cannot decide**, and leave room: of 200 coins, 60 heads or fewer, or 140 or more, come once in tens of millions of runs.

# %% tags=["hide-input"]
outside = 2 * sum(comb(200, heads) for heads in range(61)) / 2**200
assert 1e-8 < outside < 1e-7

# %% [markdown]
# ### Exercise B.5 · `test_random_flip`
#
# *Medium, 8 minutes.* Write a test for random numbers that is not flaky.
#
# * `random_flip(images)` maps `(B, C, height, width)` to the same shape. Each image comes back mirrored left to right, or as it was. A fair coin decides, one for each image, and new ones at each call. It may come from PyTorch, from NumPy or from Python, so no seed of yours foretells it. The input stays as it was.
# * The check tries four right functions and five bugs, each several times. A test that says now yes and now no is told so.


# %% tags=["exercise"]
def test_random_flip(random_flip):
    """Say no to `random_flip` unless it throws a fair coin for each image."""
    # BEGIN SOLUTION
    images = torch.randn(200, 3, 4, 6)
    seen = []
    for _ in range(2):
        given = images.clone()
        result = random_flip(given)
        assert torch.equal(given, images)
        mirrored = (result == images.flip(-1)).flatten(1).all(dim=1)
        as_it_was = (result == images).flatten(1).all(dim=1)
        assert (mirrored | as_it_was).all()
        assert 60 < mirrored.sum() < 140
        seen.append(mirrored)
    assert not torch.equal(*seen)
    # END SOLUTION


# %% tags=["check"]
from course_lib.checks import check_test_random_flip

check_test_random_flip(test_random_flip)

# %% [markdown] tags=["help"]
# <details>
# <summary>Hint</summary>
#
# `(result == images.flip(-1)).flatten(1).all(dim=1)` is true where an image came back mirrored. Each image is one or the other; count; call a second time and compare who was mirrored; and keep a clone of what you handed in.
#
# </details>
#
# <details>
# <summary>It says that chance decides</summary>
#
# Take more images, and ask for less: not for exactly a half, but for something between 30 and 70 per cent. With one image or with four, all coins fall alike too often.
#
# </details>

# %% [markdown]
# ### Further: the same numbers in every worker
#
# A `DataLoader` with several workers gives each a copy of the data set. What is in it is copied too, and if that is a generator of random numbers, all workers draw the same ones. *Where:* [PyTorch #5059](https://github.com/pytorch/pytorch/issues/5059), about NumPy's global generator, and [a count of public projects](https://tanelp.github.io/posts/a-bug-that-plagues-thousands-of-open-source-ml-projects): of those that could have it, over 95 per cent had it. Since then PyTorch gives each worker another seed for NumPy. It cannot do so for a generator that you keep yourself.


# %%
class Shifted:
    """A data set that draws how far each image is shifted."""

    def __init__(self):
        self.random = np.random.default_rng(0)

    def __getitem__(self, row):
        return int(self.random.integers(100))


data = Shifted()
workers = [copy.deepcopy(data) for _ in range(3)]  # what a DataLoader does
drawn = [[worker[row] for row in range(4)] for worker in workers]
print("three workers draw the same:", drawn[0] == drawn[1] == drawn[2])
assert drawn[0] == drawn[1] == drawn[2] and len(set(drawn[0])) > 1

# %% [markdown]
# The test: **print what two workers draw.** The way out: draw with `torch.rand` and its like, which are seeded apart in each worker.
#
# ## Further: bugs of the start, and of the optimiser
#
# ### A deviation that is another
#
# Three ways to start a matrix of weights, and a number that each is believed to have.
#
# > **Predict.** Normal numbers with deviation 1, cut off at ±2: is theirs still 1? `nn.init.trunc_normal_(w, std=0.02)`, whose bounds are −2 and 2 by default: how much is cut off? And `xavier_uniform_` of query, key and value in *one* matrix `(3D, D)`, as in `nn.MultiheadAttention`: is it as wide as for each alone?

# %% tags=["hide-output"]
torch.manual_seed(5)
cut_off = nn.init.trunc_normal_(torch.empty(300_000), std=1.0, a=-2.0, b=2.0)
barely = nn.init.trunc_normal_(torch.empty(300_000), std=0.02)
apart, fused = (
    nn.init.xavier_uniform_(torch.empty(rows, 256)) for rows in (256, 768)
)
print(f"cut off at two deviations: {cut_off.std():.2f}")
print(f"std=0.02, default bounds:  {barely.std():.3f}")
print(f"fused by apart:            {fused.std() / apart.std():.1f}")

# %% tags=["hide-input", "hide-output"]
assert (
    round(cut_off.std().item(), 2) == 0.88 and round(barely.std().item(), 3) == 0.02
)
assert barely.abs().max() > 0.06  # three deviations: nothing was cut off at two
assert abs(fused.std() / apart.std() - 0.5**0.5) < 0.01

# %% [markdown]
# Cut off at two deviations, 0.88 is left; JAX's own rules divide by it, `trunc_normal_` does not ([Keras #8048](https://github.com/keras-team/keras/issues/8048), [TensorFlow.js](https://github.com/tensorflow/tfjs/issues/8594)). The bounds are numbers, not deviations: at 0.02 they are a hundred deviations away, and nothing is cut off. And Xavier's rule counts the rows, so three matrices in one start narrower by $\sqrt 2$ ([PyTorch #166378](https://github.com/pytorch/pytorch/issues/166378); [Apex](https://github.com/NVIDIA/apex/pull/910) had put it right). The [authors of a ViT baseline](https://github.com/EIFY/mup-vit) met both as they moved a recipe from one library to the other. Nothing here is wrong by itself. It is wrong if you say that it is the same recipe. **Measure the deviation of each kind of weight at the start, and compare.**
#
# ### A Muon that does not make anything orthogonal
#
# Muon (chapter 8) brings the singular values of each step near 1, by a few steps of a polynomial. *Where:* in [a comparison of optimisers](https://github.com/leonardotonelli/optimizers-CIFAR10) for a small ViT the polynomial has three steps and starts from numbers far too small, so that its steps only enlarge them all. What is called Muon there is nearly gradient descent with momentum, at another rate, and the verdict on Muon rests on it.
#
# > **Predict.** $1.5\,s - 0.5\,s^3$ brings any $s$ between 0 and 1 nearer to 1. Three steps from 0.05: where is it?


# %% tags=["hide-output"]
def three_steps(matrix):
    """A cubic polynomial of the singular values, after division by the matrix's length."""
    x = matrix / matrix.norm()
    for _ in range(3):
        x = 1.5 * x - 0.5 * x @ x.mT @ x
    return x


s = 0.05
for _ in range(3):
    s = 1.5 * s - 0.5 * s**3
print(f"0.05 after three steps: {s:.2f}")
torch.manual_seed(6)
gradient = torch.randn(64, 192)
spread = {}
for name, function in (("three steps", three_steps), ("chapter 8", newton_schulz)):
    values = torch.linalg.svdvals(function(gradient))
    spread[name] = values.min().item(), values.max().item()
    print(
        f"{name:11} singular values from {values.min():.1f} to {values.max():.1f}"
    )

# %% tags=["hide-input", "hide-output"]
assert round(s, 2) == 0.17
assert spread["three steps"][1] < 0.65 and spread["three steps"][0] < 0.25
assert spread["chapter 8"][0] > 0.65 and spread["chapter 8"][1] < 1.15

# %% [markdown]
# At 0.17: it has grown $1.5^3 = 3.4$ times, as everything small does. The test takes a line: **`torch.linalg.svdvals` of what comes out must lie near 1.** How near? Chapter 8's own ends between 0.7 and 1.1 here, and is right. A test that asks for $UV^\top$ to a thousandth would fail it. *Tolerance* means: as much as right code may differ, and no more.

# %% [markdown]
# ## Bugs of the number that you report
#
# ### Dropout that stays on
#
# `model.eval()` switches off what is a module. `F.scaled_dot_product_attention(..., dropout_p=0.1)` is none: it drops whatever the mode. *Where:* in [timm](https://github.com/huggingface/pytorch-image-models/pull/1978), mended in all its models at once; in [V-JEPA 2](https://github.com/facebookresearch/vjepa2/pull/160); and [reported](https://github.com/pytorch/pytorch/issues/124464) to PyTorch, whose documentation now warns of it.

# %%
torch.manual_seed(7)
q, k, v = torch.randn(3, 1, 2, 6, 4)


class Dropping(nn.Module):
    """Attention with a dropout that no mode switches off."""

    def forward(self, q, k, v):
        return F.scaled_dot_product_attention(q, k, v, dropout_p=0.5)


still = Dropping().eval()
print("the same twice, in evaluation mode:", same(still(q, k, v), still(q, k, v)))
assert not same(still(q, k, v), still(q, k, v))

# %% [markdown]
# The test: **in evaluation mode, call it twice.** `self.attn_drop.p if self.training else 0.0` is the way out.
#
# ### Means of means, small numbers, two walks
#
# Three more for the same line of a table.
#
# * The accuracy of each batch, averaged over batches: the images of the last, smaller batch count more. *Where:* [Udacity's course](https://github.com/udacity/deep-learning-v2-pytorch/pull/74), [tflearn](https://github.com/tflearn/tflearn/issues/75).
# * Hits that are added up in a short number format. *Where:* as sums in [Candle](https://github.com/huggingface/candle/pull/3718) and [ExecuTorch](https://github.com/pytorch/executorch/pull/20090).
# * Answers from one walk through the test set, labels from another, and the loader shuffles. *Where:* [a course on health records](https://github.com/udacity/nd320-c1-emr-data-starter/issues/4), [skorch #499](https://github.com/skorch-dev/skorch/issues/499).
#
# > **Predict.** Add 1 ten thousand times in bfloat16. What is the sum?

# %% tags=["hide-output"]
total = torch.zeros((), dtype=torch.bfloat16)
for _ in range(10_000):
    total += 1
print(total.item())

# %% tags=["hide-input", "hide-output"]
assert total == 256

# %% [markdown]
# From 256 on its numbers are 2 apart, and $256 + 1$ is rounded back, for ever.

# %% [markdown]
# ### Exercise B.6 · `test_evaluate`
#
# *Medium, 8 minutes.* Write the test of an accuracy.
#
# * `evaluate(model, batches)` returns the share of *all* images on which the model, in evaluation mode, is right: a float between 0 and 1. `batches` gives pairs `(images, labels)`, and may be a `DataLoader` that shuffles, with a last batch that is smaller. In which mode the model was, and is afterwards, does not matter.
# * You make the model, the images and the labels, so you know the answer. Leave a tolerance of `1e-5`.
# * The check tries four right functions and five bugs.


# %% tags=["exercise"]
def test_evaluate(evaluate):
    """Say no to `evaluate` unless it returns the share of images that are right."""
    # BEGIN SOLUTION
    images = torch.randn(650, 8)
    model = nn.Sequential(nn.Dropout(0.5), nn.Linear(8, 4))
    with torch.no_grad():
        labels = model.eval()(images).argmax(dim=1)
    labels[:49] = 3 - labels[:49]  # all wrong: 0 and 3, 1 and 2 change places
    model.train()
    data = TensorDataset(images, labels)
    batches = DataLoader(data, batch_size=100, shuffle=True)
    assert abs(evaluate(model, batches) - 601 / 650) < 1e-5
    # END SOLUTION


# %% tags=["check"]
from course_lib.checks import check_test_evaluate

check_test_evaluate(test_evaluate)

# %% [markdown] tags=["help"]
# <details>
# <summary>Hint</summary>
#
# Take the labels from the model itself, in evaluation mode, and spoil some of them: then you know the share. For the five bugs: a dropout in the model, a last batch that is smaller, a loader that shuffles, and more than 256 hits.
#
# </details>
#
# <details>
# <summary>It finds the short number format only sometimes, or not at all</summary>
#
# bfloat16 has all whole numbers up to 256, every second one up to 512, and every fourth up to 1024. So more than 256 hits are wanted, and a number of them that the format must round: an odd one.
#
# </details>

# %% [markdown]
# ### Further: the best epoch of the test set
#
# Report the best of all epochs *on the test set*, and it is a little too good: of twelve numbers that go up and down, the largest is high by luck, too. *Where:* in [report A](reports.md), and in [many](https://github.com/xuanmay2701/shapeformer/issues/2) [others](https://github.com/martinmamql/multimodal_routing/issues/2).
#
# > **Predict.** Take the runs of the first picture, without those of A, which guess: 55 are left. For each: the accuracy on the 297 test images at the best of twelve epochs, and at the epoch that was best on the validation images (the first of them, if there are several). How many points are they apart, on average?

# %% tags=["hide-output"]
gain = []
for run in (run for run in record["runs"] if run["bug"] != "never cleared"):
    chosen = int(np.argmax(run["val"]))
    gain.append(100 * (max(run["test"]) - run["test"][chosen]))
print(f"{len(gain)} runs, too good by {np.mean(gain):.2f} points on average")
print(f"nothing in {gain.count(0)}, at most {max(gain):.1f}")

# %% tags=["hide-input", "hide-output"]
assert round(np.mean(gain), 2) == 0.64 and gain.count(0) == 24
assert len(gain) == 55 and round(max(gain), 1) == 2.7
learned = [run["test"] for run in record["runs"] if run["bug"] != "never cleared"]
assert round(np.mean([100 * (max(test) - test[-1]) for test in learned]), 2) == 0.28

# %% [markdown]
# Two thirds of a point, and up to 2.7, had for nothing. (Part of it is what choosing by validation costs. The last epoch, which the picture shows, is 0.28 points below the best.) **Choose on the validation set, and look at the test set once** (chapter 10).
#
# ### Further: multiply-adds without attention
#
# Many counters add up the layers, and $QK^\top$ and the product with the values are no layers. *Where:* [a question to FastBERT](https://github.com/autoliuweijie/FastBERT/issues/14) in 2020; [OlmoEarth](https://github.com/allenai/olmoearth_pretrain/pull/605), where it moved 19 of 21 models in a figure; and 4.25 billion for ViT-S/16 in [a book](https://github.com/VizuaraAI/Transformers-for-vision-BOOK).
#
# > **Predict.** ViT-S/16 at 224 pixels: 197 tokens, $D = 384$, twelve blocks. By how many per cent is a count without attention too low? And at 1024 pixels?


# %% tags=["hide-output"]
def multiply_adds(size, patch=16, dim=384, depth=12, classes=1000):
    """(in layers, in attention) for one image."""
    patches = (size // patch) ** 2
    tokens = patches + 1
    embedding = patches * 3 * patch**2 * dim
    blocks = depth * tokens * (4 + 8) * dim**2  # qkv and proj, fc1 and fc2
    attention = depth * 2 * tokens**2 * dim
    return embedding + blocks + dim * classes, attention


for size in (224, 1024):
    layers, attention = multiply_adds(size)
    missing = attention / (layers + attention)
    print(
        f"{size:4} pixels: {layers / 1e9:6.2f} billion in layers, {missing:.0%} missing"
    )

with torch.device("meta"):  # shapes alone, no numbers
    small = VisionTransformer(VIT_CONFIGS["vit_small_patch16_224"])
    image = torch.empty(1, 3, 224, 224)
with FlopCounterMode(display=False) as counter:
    small(image)

# %% tags=["hide-input", "hide-output"]
assert counter.get_total_flops() == 2 * sum(multiply_adds(224))
assert [round(n / 1e9, 2) for n in multiply_adds(224)] == [4.24, 0.36]
assert 0.62 < missing < 0.66

# %% [markdown]
# 8 % at 224 pixels, and at 1024 nearly two thirds: the layers grow with the number of tokens, attention with its square. The test is the closed form, or a counter that counts products wherever they are made, as `FlopCounterMode` does.

# %% [markdown]
# ## Which test finds which
#
# | bug | what you see | the test |
# |:--|:--|:--|
# | softmax over the wrong axis; no root, or another | nothing | a plain reference, sizes that all differ |
# | heads cut or merged by a reshape | nothing, or a gain | shuffle the tokens: the outputs are shuffled alike |
# | patches by a reshape, or in another order | nothing | each pixel has a number, and is looked for where it belongs |
# | positions for the batch | not tried here | tokens that are alike must differ afterwards |
# | class token without a position | nothing, until weights are loaded | the published model's logits |
# | residual after the norm; norm over all tokens | nothing; the second was not tried | silent halves: the input comes back, tokens stay apart |
# | softmax twice | a floor under the loss | sure and right costs nothing |
# | gradients not cleared; a sum for a mean | from nothing to guessing | two steps by another way |
# | parts of uneven size | not tried here | one step in parts is the step in one |
# | one coin for the batch; the same coins in every worker | not tried here | count, over many; print two workers' |
# | another deviation; a Muon that is none | another result, and no error | measure it: `std`, `svdvals` |
# | dropout that stays on | numbers that change | call it twice |
# | means of means, short numbers, two walks | a number that is nearly right | an accuracy that you know |
# | the best epoch of the test set | a number that is too good | look at the test set once |
# | multiply-adds without attention | a number that is too small | the closed form |
#
# ### Two to think about, with a pencil
#
# 1. A test of yours compares two functions in float32 with `rtol=0, atol=1e-8`. What will it say of right code? And with `atol=1` of logits whose size is 0.5?
# 2. Somebody shows you a training loss of a mended model that lies exactly on that of the broken one. Name two bugs of this chapter for which that is to be expected.
#
# <details>
# <summary>Answers</summary>
#
# 1. Float32 has about seven digits, so numbers near 1 differ by some $10^{-7}$ where sums run in another order: it fails right code. With 1 it passes everything of that size, and zeros too. A tolerance lies between what rounding does and what the bug does; both can be measured.
# 2. All that is measured and not trained: means of means, short numbers, two walks, the best epoch. (Not the class token without a position: it can express the same, and is moved otherwise. And a sum for a mean with AdamW nearly goes along, and not exactly.)
#
# </details>

# %% [markdown]
# ## Check yourself
#
# Choose before you look: each answer comes with its reason, the wrong ones too. Three questions, about three minutes.
#
# **1.** Your ViT reaches as good an accuracy as the one in the paper. What does that say of its code?
#
# * **A.** That it computes what the paper describes.
# * **B.** That it has learned something from its images.
# * **C.** That it has no bug that matters.
#
# <details class="course-quiz">
# <summary>Answer to 1</summary>
#
# * **A, wrong.** On the digits seven wrong models were ahead of the right one in the mean.
# * **B, right.** That much, and no more. Whether it computes what you think, only a comparison of numbers says.
# * **C, wrong.** Accuracy does not say which bugs matter. A bug may cost nothing here, and everything once weights are loaded that right code has trained.
#
# </details>
#
# **2.** A test of attention asks that values which are all 1 come out as 1. Which of these bugs does it find?
#
# * **A.** The softmax runs over the queries.
# * **B.** The scores are not divided by the root of $d$.
# * **C.** Both, since both change the weights.
#
# <details class="course-quiz">
# <summary>Answer to 2</summary>
#
# * **A, right.** Then the weights of one query do not sum to 1, and that is the law that the test asks for.
# * **B, wrong.** Those weights are others, but they sum to 1 as well.
# * **C, wrong.** Both change the weights, and only one of the two breaks the law.
#
# </details>
#
# **3.** Your test passes on the code that you wrote. What do you do before you trust it?
#
# * **A.** Run it on more seeds.
# * **B.** Put a bug into the code, and see that it says no.
# * **C.** Make its tolerance smaller, until it just passes.
#
# <details class="course-quiz">
# <summary>Answer to 3</summary>
#
# * **A, wrong.** That finds out whether chance decides. But a test that asserts nothing passes with every seed.
# * **B, right.** A test that never said no is not known to be one.
# * **C, wrong.** Then right code of another make fails, which adds up the same numbers in another order.
#
# </details>

# %% [markdown]
# ## What you take with you
#
# * **A shape, a falling loss and a good accuracy prove next to nothing.** On the digits the best of twelve models was a bug.
# * **A reference** where there is a plain way to the same numbers; **a law** where there is none; **an answer that you know** for what is measured.
# * **Sizes that differ**, none of them 1, and numbers that are neither alike nor extreme.
# * **A tolerance** as wide as right code may differ, and no wider. **More than one call.** No chance.
# * Try your test on the bug. A test that never said no is not known to be one.
#
# The picture to keep: **twelve columns, and the right one somewhere among them**.
#
# ### To read
#
# * [Karpathy 2019, *A Recipe for Training Neural Networks*](https://karpathy.github.io/2019/04/25/recipe/): why such code fails silently, and what to try in which order.
# * [Zhang, Harman, Ma & Liu 2020, *Machine Learning Testing: Survey, Landscapes and Horizons*](https://arxiv.org/abs/1906.10742): laws in place of references have a name there, *metamorphic relations*.
# * The threads above. Most are short, and each shows how somebody noticed.
