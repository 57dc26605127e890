# %% [markdown]
# # The Transformer encoder
#
# | Goal | Before you start | Time | Runs on |
# |:--|:--|:--|:--|
# | Write the block that ViT-B repeats twelve times, and find out what each part of it is for | Chapters 1 and 2 | 90 minutes, 30 of them for the exercises | any CPU |
#
# Attention lets tokens look at each other. Stacked by itself it makes them all alike, as you will see. An **encoder block** puts three things around it: an addition, a normalisation, and a small network for each token.
# In this chapter you write the block in the order that the Vision Transformer has, and see what another order
# changes. Then you take a working encoder apart, to find out which parts it cannot do without.

# %% tags=["setup"]
import inspect

import matplotlib.pyplot as plt
import torch
import torch.nn.functional as F
from torch import nn

from course_lib import viz
from course_lib.checks import my_pieces
from course_lib.interpret import record_attention
from course_lib.records import load_record
from course_lib.statistics import mcnemar
from course_lib.vit import MLP, EncoderBlock

viz.set_style()
torch.set_num_threads(1)  # the models here are tiny: more threads only wait

# %% [markdown]
# ## What attention alone cannot do
#
# Remember the triangle of chapter 1: a weighted average never leaves the space between its values. One layer of attention replaces
# every token by such an average. The next layer averages these averages.
#
# How different are the tokens then? Take away their mean, which they have in common, and ask how much is left:
#
# $$\text{share left} = \frac{\sum_i \lVert x_i - \bar x \rVert^2}{\sum_i \lVert x_i \rVert^2}$$
#
# It is 1 if the mean is 0, and 0 if all tokens are the same.
#
# > **Predict.** Twelve attention layers with random weights that keep the size of what goes in, 20 random tokens. After how many layers is the share below 1 %: about 2, about 6, or not even after 12?


# %% tags=["hide-output"]
def share_left(x):
    """What the tokens (B, N, D) of a sequence do not have in common: 0 to 1."""
    differences = x - x.mean(dim=1, keepdim=True)
    return (differences.square().sum() / x.square().sum()).item()


def keep_size(module):
    """Linear weights of size 1/√(inputs): what goes in keeps its size."""
    for layer in module.modules():
        if isinstance(layer, nn.Linear):
            nn.init.normal_(layer.weight, std=layer.in_features**-0.5)
            nn.init.zeros_(layer.bias)
    return module.double()


def twelve_blocks(seed):
    """Blocks of width 48. Each holds an attention, `attn`; the rest comes below."""
    torch.manual_seed(seed)
    return [keep_size(EncoderBlock(48, num_heads=4)) for _ in range(12)]


@torch.no_grad()
def shares(layer, blocks):
    """The share left at the start and after each layer(block, x)."""
    x = tokens
    result = [share_left(x)]
    for block in blocks:
        x = layer(block, x)
        result.append(share_left(x))
    return result


torch.manual_seed(3)
tokens = torch.randn(3, 20, 48, dtype=torch.float64)  # batch 3, 20 tokens
blocks = twelve_blocks(seed=0)
attention_only = shares(lambda block, x: block.attn(x), blocks)
first = next(n for n, share in enumerate(attention_only) if share < 0.01)
print("attention layers until the share is below 1 %:", first)

# %% [markdown]
# Two. After two layers a few thousandths are left at most, after three less than a billionth, in each of ten random starts. Averages make the tokens
# alike; alike tokens have queries and keys that are alike; so the weights become equal, and the next average is flatter still. (If the weights of `qkv` are three times as large, the fall takes longer.)
# [Dong et al. (2021)](https://arxiv.org/abs/2103.03404) prove it for attention stacked by itself (the field speaks of *rank collapse*),
# and show what works against it: adding instead of replacing, and the MLP. You meet both below.

# %% [markdown]
# Here are the same attention layers, first with each result *added* to its input, then as whole encoder blocks. Ten random starts, one of them drawn in full.

# %% tags=["hide-input"]
#| alt: Share left, of what tells tokens apart, after 0 to 12 layers, on a linear axis and on a logarithmic one; ten random starts as thin lines. Attention alone drops to nothing: at two layers a thousandth, at three below a billionth, then the level of rounding. With the addition the share falls slowly, to between 0.01 and 0.15. The whole block stays highest, between 0.25 and 0.45.
kinds = {
    "the whole block": (lambda block, x: block(x), "o-", viz.VALUE),
    "x + attention(x)": (lambda block, x: x + block.attn(x), "s-", viz.KEY),
    "attention(x)": (lambda block, x: block.attn(x), "^--", viz.QUERY),
}
starts = [twelve_blocks(seed) for seed in range(10)]
left_after = {}  # kind: (10, 13)
_, (left, right) = plt.subplots(1, 2, figsize=(7, 3))
for name, (layer, line, color) in kinds.items():
    runs = torch.tensor([shares(layer, start) for start in starts])
    left_after[name] = runs
    for ax in (left, right):
        ax.plot(runs.clamp(min=1e-16).T, color=color, lw=0.6, alpha=0.5)
        ax.plot(runs[0].clamp(min=1e-16), line, color=color, label=name)
        ax.set(xlabel="layers", xticks=range(0, 13, 2))
left.set(ylabel="share left", ylim=(-0.04, 1.05))
right.set(yscale="log", ylim=(1e-17, 10), title="the same, logarithmic")
right.legend(loc="center right")
plt.show()

whole, added, alone = left_after.values()
assert (alone[:, 1] > 0.3).all() and (alone[:, 3] < 1e-9).all()
assert (alone[:, 2] > 5e-4).all() and (alone[:, 2] < 0.005).all()
assert (added[:, 12] > 0.009).all() and (added[:, 12] < 0.16).all()
assert (whole[:, 12] > 0.24).all() and (whole[:, 12] > added[:, 12]).all()

for start in starts:
    attentions = nn.Sequential(*(block.attn for block in start[:4]))
    with torch.no_grad(), record_attention(attentions) as maps:
        attentions(tokens)
        for layer in attentions:
            layer.qkv.weight *= 3
    uneven = [(m - 1 / m.shape[-1]).abs().max().item() for m in maps]
    assert uneven[0] > 5 * uneven[1] > 25 * uneven[2]
    sharper = shares(lambda layer, x: layer(x), attentions)
    assert sharper[2] > 0.1

# %% [markdown]
# (What lies at $10^{-16}$ is rounding.) Adding slows the fall: after twelve layers 1 to 15 % are left, instead of nothing after three. It does not stop it. The whole block keeps more in each of the ten starts, 24 % at least. Look at the addition first.

# %% [markdown]
# ## The residual stream
#
# Instead of *replacing* $x$ by $f(x)$, a block *adds* to it:
#
# $$x \leftarrow x + f(x)$$
#
# This is a **residual connection** (skip connection). [He et al. (2015)](https://arxiv.org/abs/1512.03385) trained image
# networks of over a hundred layers with it. $f$ only has to say what should change. And a token stays itself:
# an average need not tell whose average it is, while $x + f(x)$ still holds $x$.
#
# Think of $x$ as a **stream** that runs through the whole network ([Elhage et al. 2021](https://transformer-circuits.pub/2021/framework/index.html)). Each part
# reads from it and writes something into it. Nothing is ever overwritten.

# %% tags=["hide-input"]
#| alt: A thick straight arrow from left to right, the stream x. Four thin branches leave it one after the other, pass a box, attention, MLP, attention, MLP, and come back to a plus sign on the thick line.
NORM_BOX, BRANCH_BOX = "#a84300", "#00694c"  # dark: white text can be read on them


def draw_box(ax, x, y, name):
    color = NORM_BOX if name == "norm" else BRANCH_BOX
    shape = {"boxstyle": "round,pad=0.4", "facecolor": color, "edgecolor": "none"}
    style = {"ha": "center", "va": "center", "color": viz.PAPER, "zorder": 4}
    ax.text(x, y, name, bbox=shape, **style)


def draw_stream(ax, branches, on_stream=(), end=10.4):
    """The stream, and branches (from, to, names) that leave it and add to it."""
    thick = {"arrowstyle": "-|>", "color": viz.KEY, "lw": 5, "mutation_scale": 22}
    thin = {"arrowstyle": "-|>", "color": viz.MUTED, "lw": 1.8}
    ring = {"boxstyle": "circle,pad=0.15", "fc": viz.PAPER, "ec": viz.KEY}
    ax.annotate("", (end, 0), (-0.4, 0), arrowprops=thick)
    ax.text(-0.55, 0, "x", ha="right", va="center")
    for start, plus, names in branches:
        ax.plot([start, start, plus], [0, 1, 1], color=viz.MUTED, lw=1.8, zorder=1)
        ax.annotate("", (plus, 0.18), (plus, 1.04), arrowprops=thin)
        style = {"ha": "center", "va": "center", "zorder": 4, "fontsize": 14}
        ax.text(plus, 0, "+", bbox=ring, **style)
        for i, name in enumerate(names):
            draw_box(ax, start + (plus - start) * (i + 0.5) / len(names), 1, name)
    for x, name in on_stream:
        draw_box(ax, x, 0, name)
    ax.set(xlim=(-1, end + 0.4), ylim=(-0.5, 1.6))
    ax.axis("off")


_, ax = plt.subplots(figsize=(6.5, 1.7))
parts = ["attention", "MLP"] * 2
draw_stream(ax, [(0.2 + 2.5 * i, 2.2 + 2.5 * i, [p]) for i, p in enumerate(parts)])
ax.set_title("two blocks, without their norms: each part reads, and adds")
plt.show()

# %% [markdown]
# > **Predict.** Collect what all twelve attentions and all twelve MLPs write, 24 contributions. What do you have to add to get the output of the stack?

# %% tags=["hide-input", "hide-output"]
x, contributions = tokens, []
with torch.no_grad():
    for block in blocks:
        written = block.attn(block.norm1(x))  # norm1, norm2: see the next section
        contributions.append(written)
        x = x + written

        written = block.mlp(block.norm2(x))
        contributions.append(written)
        x = x + written

    output = nn.Sequential(*blocks)(tokens)
same = torch.allclose(tokens + sum(contributions), output, rtol=0, atol=1e-12)
print(len(contributions), "contributions and the input make the output:", same)

idle = EncoderBlock(48, num_heads=4).double()
for last in (idle.attn.proj, idle.mlp.fc2):  # the last layer of each branch
    nn.init.zeros_(last.weight)
    nn.init.zeros_(last.bias)
same = torch.equal(idle(tokens), tokens)
print("a block that writes nothing returns its input:", same)

# %% [markdown]
# The input itself: it is still in the output, in full, with 24 contributions added.

# %% [markdown]
# Backwards the addition is as kind. The derivative of
# $x + f(x)$ is $1 + f'(x)$, and thanks to the 1, part of the gradient reaches every block unchanged, whatever the $f$ do, as long as nothing else stands on the stream.
# And a block that writes nothing changes nothing, so *doing nothing* is easy: a deep network can leave blocks idle that it does not need.
#
# But what is added up can grow. Somebody has to look after the size of the numbers.

# %% [markdown]
# ## LayerNorm: every token for itself
#
# **LayerNorm** ([Ba et al. 2016](https://arxiv.org/abs/1607.06450)) takes one token, $D$ numbers, and brings it to mean 0 and standard deviation 1. Then a learned
# scale $\gamma$ and shift $\beta$, one for each of the $D$ features:
#
# $$\operatorname{LayerNorm}(x) = \gamma \cdot \frac{x - \mu}{\sqrt{\sigma^2 + \varepsilon}} + \beta, \qquad \mu = \frac1D \sum_j x_j, \quad \sigma^2 = \frac1D \sum_j (x_j - \mu)^2$$
#
# By hand, for the token $(17, 11, 9, 3)$: the mean is 10, so the deviations are $7, 1, -1, -7$. Their squares are $49, 1, 1, 49$, on average 25. The root is 5. Divide:
# $(1.4,\ 0.2,\ -0.2,\ -1.4)$.

# %%
token = torch.tensor([17.0, 11.0, 9.0, 3.0])
norm = nn.LayerNorm(4, eps=1e-6)  # at the start γ is 1 and β is 0

print("LayerNorm:            ", [round(v, 4) for v in norm(token).tolist()])
print("variance of torch.var:", round(token.var().item(), 2), "instead of 25")

# %% [markdown]
# The second line is a trap. `torch.var` divides by $D - 1$, as one does to estimate a variance from a sample. LayerNorm divides by $D$: `var(correction=0)`.
#
# > **Predict.** What does LayerNorm make of ten times that token plus 100, that is of $(270, 210, 190, 130)$?

# %% tags=["hide-output"]
print([round(v, 4) for v in norm(10 * token + 100).tolist()])

# %% [markdown]
# The same. **Size and offset of a token are gone after the norm; its pattern is left.** However large the stream has grown, what a branch reads has size 1, until $\gamma$ and $\beta$ have learned something else.
#
# ### Over which axis?
#
# A batch of images is a block of numbers, $(B, N, D)$. BatchNorm, which you may know from convolutional networks, takes
# one feature and averages over all images and places. LayerNorm takes one token and averages over its features.


# %% tags=["hide-input"]
#| alt: Two tables of 8 rows and 6 columns. The rows are 4 tokens of image 0 and 4 tokens of image 1, the columns are features. In both, one cell is marked with a cross. Under LayerNorm the dark cells, which share its mean and variance, are the rest of its row. Under BatchNorm they are the rest of its column, through both images.
def draw_group(group, title, ax):
    """Dark: the cells that are averaged to normalise the cell with the cross."""
    names = [f"image {i}, token {n}" for i in range(2) for n in range(4)]
    rows = names if ax is axes[0] else [""] * 8
    viz.heatmap(group, ax, title=title, rows=rows, columns=range(6))
    ax.set_xticks([j - 0.5 for j in range(1, 6)], minor=True)
    ax.set_yticks([i - 0.5 for i in range(1, 8)], minor=True)
    ax.grid(which="minor")
    ax.tick_params(which="minor", length=0)
    ax.axhline(3.5, color=viz.INK)
    ax.text(3, 1, "×", color=viz.PAPER, ha="center", va="center", fontsize=16)
    ax.set(xlabel="feature")


row, column = torch.zeros(8, 6), torch.zeros(8, 6)
row[1], column[:, 3] = 0.6, 0.6
_, axes = plt.subplots(1, 2, figsize=(7, 3.6))
draw_group(row, "LayerNorm: one token", axes[0])
draw_group(column, "BatchNorm: one feature", axes[1])
plt.show()

# %% [markdown]
# > **Predict.** Normalise a batch of two images. Then replace the second image by another and normalise again. Does anything change for the *first* image, under LayerNorm? Under
# > BatchNorm in training?

# %% tags=["hide-output"]
torch.manual_seed(7)
x = torch.randn(2, 4, 6)  # 2 images, 4 tokens, 6 features
layer_norm_6, batch_norm = nn.LayerNorm(6, eps=1e-6), nn.BatchNorm1d(6)


def by_batch_norm(x):
    return batch_norm(x.mT).mT  # it wants (B, D, N), the features in the middle


other_image, other_token = x.clone(), x.clone()
other_image[1] = torch.randn(4, 6)
other_token[0, 2] = torch.randn(6)

for name, function in (("LayerNorm", layer_norm_6), ("BatchNorm", by_batch_norm)):
    before = function(x)[0, :2]  # the first two tokens of the first image
    same_image = torch.equal(function(other_image)[0, :2], before)
    same_token = torch.equal(function(other_token)[0, :2], before)
    print(f"{name}, same with another image: {same_image}, token: {same_token}")

# %% [markdown]
# Under LayerNorm no token notices another, in its own image or in the next: **only attention carries information from token to token.** LayerNorm is therefore the same in training and in use, with one image or a thousand.
# (For text, [Shen et al. (2020)](https://arxiv.org/abs/2003.07845) found
# that BatchNorm does worse in a Transformer, and that its averages over the batch fluctuate strongly throughout training.)
#
# ### Epsilon
#
# $\varepsilon$ stands *under the root*, next to the variance, so that a token of equal numbers does not divide by 0. Can anything so tiny matter? ViT has $10^{-6}$, and PyTorch's
# `nn.LayerNorm` comes with $10^{-5}$.
#
# > **Predict.** Random tokens of width 768, once with standard deviation 1, then 0.1, then 0.01. How far apart are the two results at worst?

# %% tags=["hide-output"]
torch.manual_seed(11)
x = torch.randn(1000, 768, dtype=torch.float64)
for size in (1, 0.1, 0.01):
    vit, pytorch = (F.layer_norm(size * x, (768,), eps=e) for e in (1e-6, 1e-5))
    apart = (vit - pytorch).abs().max()
    print(f"size {size:4}: {apart:.5f}")

# %% tags=["hide-input", "hide-output"]
assert EncoderBlock(8, num_heads=2).norm1.eps == 1e-6

# %% [markdown]
# For tokens of size 1, nothing to speak of. At size 0.01 the variance is $10^{-4}$, a tenth of it is no longer tiny, and the results are 0.2 apart. Nothing fails: a network that was trained with
# one $\varepsilon$ and runs with another is a little wrong, and silent about it (chapter 6 measures how much). The course's blocks have $10^{-6}$ unless they are told otherwise.

# %% [markdown]
# ### Exercise 3.1 · `layer_norm`
#
# *Easy, 10 minutes.* The formula above, for every token at once.
#
# * `x` is `(..., D)`, and its numbers may lie far from 0; `weight` ($\gamma$) and `bias` ($\beta$) are `(D,)`.
# * The result is `(..., D)`. `F.layer_norm` and `nn.LayerNorm` are what you are writing, so do without them, and without their relatives `F.rms_norm`, `F.group_norm` and `F.instance_norm`.
# * Stay with tensors, here and in the other two exercises: gradients must pass through, also through mean and variance.


# %% tags=["exercise"]
def layer_norm(x, weight, bias, eps=1e-6):
    """Normalise each token, times weight plus bias: (..., D) -> (..., D)."""
    # BEGIN SOLUTION
    mean = x.mean(dim=-1, keepdim=True)  # (..., 1)
    variance = x.var(dim=-1, correction=0, keepdim=True)  # divides by D, not D - 1
    return (x - mean) / (variance + eps) ** 0.5 * weight + bias
    # END SOLUTION


# %% tags=["check"]
from course_lib.checks import check_layer_norm

check_layer_norm(layer_norm)

# %% [markdown] tags=["help"]
# <details>
# <summary>Hint</summary>
#
# Mean and variance over `dim=-1`, each with `keepdim=True`, so that `(..., D)` and `(..., 1)` fit together. `weight` and `bias` fit by themselves: PyTorch
# lines shapes up from the right.
#
# </details>
#
# <details>
# <summary>I get “The size of tensor a must match the size of tensor b”</summary>
#
# `x.mean(dim=-1)` is `(B, N)`, and `x` is `(B, N, D)`. Lined up from the right, $D$ meets $N$. With `keepdim=True` the mean is `(B, N, 1)`.
#
# </details>
#
# <details>
# <summary>I get numbers that are nearly right</summary>
#
# Then it is the variance or $\varepsilon$. `x.var(-1)` and `x.std(-1)` divide by $D - 1$; you need `correction=0`. And $\varepsilon$ is added to the variance, not to the standard deviation.
#
# </details>

# %% [markdown]
# ## The MLP: each token alone
#
# Attention moves information between tokens. What a token *does* with it is the business of the second branch, a **multilayer perceptron** (MLP, or feed-forward network): two linear layers with a bend between them, the activation function.
#
# $$\operatorname{MLP}(x) = \operatorname{GELU}(x\, W_1 + b_1)\, W_2 + b_2$$
#
# The first layer widens the token from $D$ to $4D$ features, the second brings it back to $D$. Each token goes through on its own: the dark row becomes the dark rows to its right, whatever stands in the others. Shuffle the tokens, or leave some out, and each gives what it gave before.

# %% tags=["hide-input"]
#| alt: Matrices to scale. Five tokens of width 3 times W1, 3 by 12, give 5 by 12. After GELU these, times W2, 12 by 3, give 5 by 3. One row, a token, is dark in all three token matrices.
_, ax = plt.subplots(figsize=(7, 2.4))
viz.draw_matrix(ax, 0, 5, 3, viz.KEY, "$x$", caption="$(N, D)$", dark=[1])
viz.draw_matrix(ax, 5, 3, 12, viz.MUTED, "$W_1$", caption="$(D, 4D)$")
viz.draw_matrix(ax, 19, 5, 12, viz.VALUE, "widened", caption="$(N, 4D)$", dark=[1])
viz.draw_matrix(ax, 37, 12, 3, viz.MUTED, "$W_2$", caption="$(4D, D)$")
viz.draw_matrix(ax, 42, 5, 3, viz.OUTPUT, "MLP", caption="$(N, D)$", dark=[1])
for at, sign in ((4, "@"), (18, "="), (36, "@"), (41, "=")):
    ax.text(at, 0, sign, ha="center", va="center", fontsize=12)
ax.annotate("", (35, 0), (31.5, 0), arrowprops={"arrowstyle": "->"})
ax.text(33.2, 0.6, "GELU", ha="center", fontsize=9)
ax.set(xlim=(-0.5, 46), ylim=(-7.6, 8), aspect="equal")
ax.axis("off")
plt.show()

torch.manual_seed(13)
layer = MLP(6, hidden_dim=24).double()
x = torch.randn(2, 7, 6, dtype=torch.float64)  # 2 sequences, 7 tokens of width 6
for chosen in (torch.randperm(7), [1, 4]):
    same = layer(x)[:, chosen]
    assert torch.allclose(layer(x[:, chosen]), same, rtol=0, atol=1e-12)

# %% [markdown]
# So the labour is divided: **attention mixes the tokens, the MLP works on each.** ($W_1$ acts from the right, as in all our formulas. `nn.Linear` stores it transposed: its `weight` is $(4D, D)$, and it computes `x @ weight.T + bias`.)
#
# ### The bend: GELU
#
# Without a bend, two linear layers are one: $(x W_1) W_2 = x\,(W_1 W_2)$. The classic bend is ReLU, which replaces negative numbers by 0. ViT uses a smooth relative, **GELU**
# ([Hendrycks and Gimpel 2016](https://arxiv.org/abs/1606.08415)):
#
# $$\operatorname{GELU}(x) = x\,\Phi(x), \qquad \Phi(x) = \tfrac12\left(1 + \operatorname{erf}\frac{x}{\sqrt2}\right)$$
#
# $\Phi(x)$ is the share of a standard normal distribution that lies below $x$. Far right it is 1, and $x$ passes; far left it is 0.
#
# The same paper gives two shortcuts without the error function `erf`. [GPT-2](https://github.com/openai/gpt-2) was trained with the tanh form, [CLIP](https://github.com/openai/CLIP) with the sigmoid.


# %%
#| alt: Two panels over x from -4 to 4. Left: ReLU is 0 up to x = 0 and then a straight line; GELU follows it smoothly and dips below zero, to -0.17 near x = -0.75. Right, on a logarithmic axis, how far two shortcuts are from the exact GELU: x times sigmoid of 1.702 x up to 0.02, the tanh form up to 0.0005.
def gelu(x):
    return x * 0.5 * (1 + torch.erf(x / 2**0.5))


def gelu_tanh(x):
    return 0.5 * x * (1 + torch.tanh((2 / torch.pi) ** 0.5 * (x + 0.044715 * x**3)))


def gelu_quick(x):
    return x * torch.sigmoid(1.702 * x)


x = torch.linspace(-4, 4, 4001, dtype=torch.float64)
tanh_off = (gelu_tanh(x) - gelu(x)).abs()
quick_off = (gelu_quick(x) - gelu(x)).abs()

_, (left, right) = plt.subplots(1, 2, figsize=(6.5, 2.7))
left.plot(x, gelu(x), color=viz.KEY, label="GELU")
left.plot(x, x.relu(), "--", color=viz.MUTED, label="ReLU")
left.set(xlabel="x", ylabel="what comes out", title="the bend")
right.semilogy(x, quick_off, "--", color=viz.QUERY, label="x·sigmoid(1.702 x)")
right.semilogy(x, tanh_off, color=viz.VALUE, label="tanh form")
right.set(xlabel="x", ylabel="difference from exact", title="two shortcuts")
right.set(ylim=(1e-6, 5), yticks=[1e-6, 1e-4, 1e-2])
right.minorticks_off()
left.legend()
right.legend(loc="upper center")
plt.show()

same = torch.allclose(gelu(x), F.gelu(x), rtol=0, atol=1e-12)
print("equal to PyTorch's:", same)
print(f"tanh form: off by up to {tanh_off.max():.5f}")
print(f"sigmoid form: off by up to {quick_off.max():.2f}")
assert -0.1701 < gelu(x).min() < -0.1699
assert 0.0004 < tanh_off.max() < 0.0005 and 0.015 < quick_off.max() < 0.025

# %% [markdown]
# GELU lets a little of the negative numbers through, at most 0.17, and has no corner. The tanh form, `F.gelu(x, approximate="tanh")`, is off by 0.0005 at worst, the sigmoid form by 0.02. Weights belong to the form that they were trained with: a ViT with the wrong one gives slightly wrong numbers and no error (chapter 6 again). Ours is the exact one.
#
# ### Where the parameters are
#
# > **Predict.** Attention is the famous part. Of the parameters of one block of ViT-B ($D = 768$), what share does it hold?

# %% tags=["hide-output"]
block = EncoderBlock(768, num_heads=12)
norms = nn.ModuleList([block.norm1, block.norm2])
named = {"attention": block.attn, "MLP": block.mlp, "norms": norms, "block": block}
count = {name: sum(p.numel() for p in named[name].parameters()) for name in named}
for name, number in count.items():
    print(f"{name:9} {number:9,} {number / count['block']:6.1%}")

# %% tags=["hide-input", "hide-output"]
assert count["block"] == 12 * 768**2 + 13 * 768 == 7_087_872

# %% [markdown]
# A third. Two thirds are in the MLP: it has $2 \cdot 4D \cdot D = 8D^2$ weights, attention $4D^2$. With the biases ($4D$ in attention, $5D$ in the MLP) and the norms ($4D$), a block has $12 D^2 + 13 D$ parameters.

# %% [markdown]
# ### Exercise 3.2 · `mlp`
#
# *Easy, 5 minutes.* Two linear layers with the exact GELU between them.
#
# * `x` is `(..., D)`. The weights lie as in `nn.Linear`, output first: `fc1_weight` is `(hidden, D)` and `fc2_weight` is `(D, hidden)`. The biases are `(hidden,)` and `(D,)`.
# * The result is `(..., D)`. Return what the MLP computes; adding it to the stream is the block's business.


# %% tags=["exercise"]
def mlp(x, fc1_weight, fc1_bias, fc2_weight, fc2_bias):
    """Linear, GELU (erf form), linear: (..., D) -> (..., D)."""
    # BEGIN SOLUTION
    hidden = x @ fc1_weight.T + fc1_bias  # (..., hidden)
    hidden = hidden * 0.5 * (1 + torch.erf(hidden / 2**0.5))
    return hidden @ fc2_weight.T + fc2_bias
    # END SOLUTION


# %% tags=["check"]
from course_lib.checks import check_mlp

check_mlp(mlp)

# %% [markdown] tags=["help"]
# <details>
# <summary>Hint</summary>
#
# `nn.Linear` computes `x @ weight.T + bias`. Do it twice. Between the two stands `gelu` from above, or `F.gelu`, which is exact if you do not ask for something else.
#
# </details>
#
# <details>
# <summary>I get “mat1 and mat2 shapes cannot be multiplied”</summary>
#
# `x` is `(..., D)` and `fc1_weight` is `(hidden, D)`: transpose the weight, so that $D$ meets $D$.
#
# </details>

# %% [markdown]
# ## Where does the norm stand?
#
# All the parts are there: attention, MLP, two additions, two norms. Two ways to wire them are usual:
#
# $$\text{post-norm:}\quad x \leftarrow \operatorname{norm}\bigl(x + f(x)\bigr) \qquad\qquad \text{pre-norm:}\quad x \leftarrow x + f\bigl(\operatorname{norm}(x)\bigr)$$
#
# Here $f$ is the attention first, and the MLP second. Post-norm is the original Transformer of 2017. Pre-norm is the Vision Transformer
# ([Dosovitskiy et al. 2021](https://arxiv.org/abs/2010.11929), equations 2 and 3).

# %% tags=["hide-input"]
#| alt: Two wiring diagrams of a block. On top, pre-norm: the stream is one straight line from left to right, and two branches leave it, pass a norm and then the attention or the MLP, and come back to a plus sign. Below, post-norm: the branches hold only attention and MLP, and the two norms sit on the stream itself, after each plus sign.
_, (top, bottom) = plt.subplots(2, 1, figsize=(6.5, 3.6))
pre = [(0.5, 4, ["norm", "attention"]), (5.4, 8.9, ["norm", "MLP"])]
draw_stream(top, pre)
top.set_title("pre-norm (ViT): the stream is free")
post = [(0.5, 2.9, ["attention"]), (5.4, 7.8, ["MLP"])]
draw_stream(bottom, post, on_stream=[(4.05, "norm"), (8.95, "norm")])
bottom.set_title("post-norm (2017): the norm stands in the stream")
plt.show()

# %% [markdown]
# Follow the thick line. In pre-norm no block puts anything on it but plus signs: the norm is a pair of glasses through which a branch reads. In post-norm everything
# that comes along has to pass through every norm, twice a block.
#
# ### The stream grows, and the last norm
#
# The parts are the same, so a post-norm block is a few characters away from `EncoderBlock`.
#
# > **Predict.** 24 blocks with random weights, input of size 1 (its standard deviation). How large is the stream after 24 post-norm blocks? After 24 pre-norm blocks: 1, about 5, or about $2^{24}$?


# %% tags=["hide-output"]
class PostNormBlock(EncoderBlock):
    """`EncoderBlock` with each norm after the addition: (B, N, D) -> (B, N, D)."""

    def forward(self, x):
        x = self.norm1(x + self.attn(x))
        return self.norm2(x + self.mlp(x))


@torch.no_grad()
def streams(block_class, depth=24):
    """The stream at the start and after each block."""
    torch.manual_seed(17)
    result = [tokens]
    for _ in range(depth):
        block = keep_size(block_class(48, num_heads=4))
        result.append(block(result[-1]))
    return result


pre, post = streams(EncoderBlock), streams(PostNormBlock)
print(f"after 24 blocks: post {post[-1].std():.1f}, pre {pre[-1].std():.0f}")

# %% tags=["hide-input", "hide-output"]
#| alt: Standard deviation of the stream after 0 to 24 blocks. Post-norm stays at 1. Pre-norm grows from 1 to about 5, near a dashed curve that grows like the root of the depth. A diamond at the end shows that the last norm brings it back to 1.
size = [x.std().item() for x in pre]
by_root = [(1 + (size[-1] ** 2 - 1) * n / 24) ** 0.5 for n in range(25)]
normed = F.layer_norm(pre[-1], (48,), eps=1e-6)

_, ax = plt.subplots()
ax.plot(size, "o-", color=viz.KEY, label="pre-norm")
ax.plot(by_root, "--", color=viz.MUTED, label="like the root of the depth")
ax.plot([x.std() for x in post], "s-", color=viz.QUERY, label="post-norm")
style = {"color": viz.OUTPUT, "markersize": 9, "zorder": 5}
ax.plot(24, normed.std(), "D", label="pre-norm, after the last norm", **style)
ax.set(xlabel="blocks", ylabel="size of the stream", ylim=(0, 6.5))
ax.set(xticks=range(0, 25, 4))
ax.legend(ncols=2, loc="upper left")
plt.show()

assert 4.5 < size[-1] < 5.5
assert all(abs(x.std() - 1) < 0.01 for x in (*post[1:], normed))
assert all(0.75 < grown / root < 1.15 for grown, root in zip(size, by_root))
written = [(pre[n + 1] - pre[n]).var() for n in range(24)]
assert all(0.5 < variance < 2 for variance in written)
assert 0.9 < sum(written) / (pre[-1].var() - pre[0].var()) < 1.1

# %% [markdown]
# Every branch reads through a norm, so what it writes has a size that does not depend on how large the stream has become. What different blocks write has little in common, so the *variances* nearly add up, and the size grows
# roughly like the root of the depth, an argument that you know from chapter 1.

# %% [markdown]
# Nothing in the blocks brings it back. So after the last block of a pre-norm network comes **one more norm**, which belongs to no block. It is easily forgotten, since nothing fails: the shapes are right.
# But whatever reads the output then gets numbers as large as the stream has become. A trained ViT without its last norm runs, often names the same class, and gives wrong probabilities. You will see that in chapter 6.
#
# ### A race
#
# Does the place of the norm matter for training? The task for the rest of the chapter: **sort ten numbers.** In go ten numbers from 0 to 15, out come the same ten in order, the smallest at place 0. A model that guesses is right at one place in sixteen, about 6 %.


# %%
NUMBERS, LENGTH, WIDTH, HEADS = 16, 10, 32, 4


class Sorter(nn.Module):
    """Numbers (B, 10) -> scores for each number at each place (B, 10, 16)."""

    def __init__(self, blocks, last_norm=True, positions=True):
        super().__init__()
        self.number = nn.Embedding(NUMBERS, WIDTH)
        shape = LENGTH, WIDTH
        self.position = nn.Parameter(torch.randn(shape)) if positions else 0.0
        self.blocks = nn.Sequential(*blocks)
        self.norm = nn.LayerNorm(WIDTH, eps=1e-6) if last_norm else nn.Identity()
        self.readout = nn.Linear(WIDTH, NUMBERS)

    def encode(self, numbers):
        x = self.number(numbers) + self.position  # (B, 10, 32)
        return self.blocks(x)

    def forward(self, numbers):
        return self.readout(self.norm(self.encode(numbers)))


def sorting_loss(model, numbers):
    scores = model(numbers).flatten(0, 1)  # (B * 10, 16)
    return F.cross_entropy(scores, numbers.sort(dim=1).values.flatten())


def train(model, steps, lr, decay=True, warmup=0):
    """Teach to sort. The rate rises over `warmup` steps, falls to 0 if `decay`."""
    optimizer = torch.optim.Adam(model.parameters(), lr=lr)
    for step in range(steps):
        rise = min(1.0, (step + 1) / warmup) if warmup else 1.0
        fall = 1 - step / steps if decay else 1.0
        optimizer.param_groups[0]["lr"] = lr * rise * fall
        loss = sorting_loss(model, torch.randint(NUMBERS, (64, LENGTH)))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


@torch.no_grad()
def accuracy(model):
    """Share of places that hold the right number, on 1000 new sequences."""
    numbers = torch.randint(NUMBERS, (1000, LENGTH))
    right = model(numbers).argmax(-1) == numbers.sort(dim=1).values
    return right.float().mean().item()


# %% [markdown]
# Each pair of runs has two models of 24 blocks, pre-norm and post-norm, with the same random start (PyTorch's own) and the same numbers to learn from. 300 steps, two learning rates, each from the first step on and with the cure of 2017, **warm-up**: the rate rises over the first 100 steps (`benchmarks/encoder_ablation.py`; three starts at the smaller rate, nine at the larger).
#
# > **Predict.** Which of the two is ahead? Which one needs the warm-up?

# %% tags=["hide-input", "hide-output"]
#| alt: Left, the learning rate with warm-up: it rises along a straight line over 100 steps and then stays. Right, accuracy of 24-block encoders after 300 steps in four settings. Pre-norm is above 0.93 in all of them. Post-norm lies between 0.86 and 0.95 at the small learning rate. At the large one with warm-up it lies between 0.8 and 0.92; without, seven of nine runs stay near the level of guessing, and two reach about 0.8.
record = load_record("norm_placement")
settings = [(1e-3, 100), (1e-3, 0), (3e-3, 100), (3e-3, 0)]
labels = ["0.001\nwith", "0.001\nwithout", "0.003\nwith", "0.003\nwithout"]
results = {}  # (norm, setting): its runs, in the order of their seeds
for run in record["runs"]:
    key = run["norm"], (run["learning_rate"], run["warmup"])
    results.setdefault(key, []).append(run)

_, (left, right) = plt.subplots(1, 2, figsize=(7, 3.3), width_ratios=(1, 2.6))
left.plot([0, 100, 300], [0, 1, 1], color=viz.VALUE)
left.set(xlabel="step", xticks=[0, 100, 200, 300], yticks=[0, 1], title="warm-up")
left.set(ylabel="learning rate / full rate")
for name, color, marker, side in (
    ("pre", viz.KEY, "o", -0.2),
    ("post", viz.QUERY, "s", 0.2),
):
    for i, setting in enumerate(settings):
        runs = results[name, setting]
        places = [i + side + 0.025 * (n - len(runs) / 2) for n in range(len(runs))]
        label = f"{name}-norm" if i == 0 else None
        reached = [run["accuracy"] for run in runs]
        right.plot(places, reached, marker, color=color, alpha=0.7, label=label)
right.axhline(1 / NUMBERS, color=viz.MUTED, linestyle=":", lw=1.5)
right.text(-0.4, 1 / NUMBERS + 0.03, "guessing", color=viz.MUTED)
right.set(ylabel="places right (accuracy)", ylim=(0, 1.05), xlim=(-0.5, 3.5))
right.set(xlabel="learning rate, with or without warm-up")
right.set(xticks=range(4), xticklabels=labels)
right.legend(loc="center left")
plt.show()


def places_right(norm, setting):
    return torch.tensor([run["accuracy"] for run in results[norm, setting]])


for setting in settings:
    assert (places_right("pre", setting) > places_right("post", setting)).all()
    assert (places_right("pre", setting) > 0.93).all()
assert sum(len(results["pre", setting]) for setting in settings) == 24
warm, cold = (results["post", (3e-3, warmup)] for warmup in (100, 0))
stuck = [run for run in cold if run["accuracy"] < 0.15]
assert len(stuck) == 7 and min(run["accuracy"] for run in warm) >= 0.8
early = sorted(run["early_share_left"] for run in stuck)
assert early[5] < 1e-6 and early[6] == 0.036
going = [run for norm, setting in results for run in results[norm, setting]]
going = [run for run in going if run not in stuck]
assert min(run["early_share_left"] for run in going) > 0.04
assert min(run["accuracy"] for run in going) > 0.75
assert round(mcnemar(7, 0), 3) == 0.016
gained = places_right("post", (1e-3, 100)) - places_right("post", (1e-3, 0))
assert gained.min() < 0 < gained.max()

# %% [markdown]
# Pre-norm is ahead in all 24 pairs, and comes to at least 93 % in every run. Post-norm learns too if you treat it gently. At the larger rate without warm-up, seven of its nine runs are still below 15 %; with warm-up none of the nine is below 80 % (7 : 0, $p = 0.016$). At the smaller rate three pairs do not show what warm-up does.
#
# Depth and rates were chosen so that the difference shows within a minute. Post-norm is not broken: the Transformer of 2017 and
# [BERT](https://arxiv.org/abs/1810.04805) had it, and both were trained with warm-up. ViT took pre-norm *and* warm-up.
#
# ### The first step
#
# Why? Look at the start of those runs.
#
# > **Predict.** Before the first step: in which of the two does the *last* block get the larger gradient? And after one single step at the larger rate, without warm-up: how much of what tells the tokens apart is left, going up through the 24 blocks?


# %% tags=["hide-input", "hide-output"]
#| alt: Two panels over the 24 blocks, means over eight starts. Left, the size of the gradient before the first step: post-norm lies around 0.2 and ends higher, pre-norm falls from 0.13 to 0.1. Right, what tells the tokens apart, on a logarithmic axis, before the step dashed and after it in full: pre-norm falls to about a third; post-norm falls steadily, to about 0.2 before the step and below 0.01 after it.
def start_of_race(block_class, seed):
    torch.manual_seed(seed)
    blocks = [block_class(WIDTH, HEADS) for _ in range(24)]
    return Sorter(blocks, last_norm=block_class is EncoderBlock)


@torch.no_grad()
def shares_by_block(model):
    torch.manual_seed(37)
    x = model.number(torch.randint(NUMBERS, (200, LENGTH))) + model.position
    result = [share_left(x)]
    for block in model.blocks:
        x = block(x)
        result.append(share_left(x))
    return torch.tensor(result)


classes = {"post": PostNormBlock, "pre": EncoderBlock}
gradients, before_step, after_step = {}, {}, {}  # norm: (8 starts, blocks)
for name, block_class in classes.items():
    rows = []
    for seed in range(8):
        model = start_of_race(block_class, seed)
        at_start = shares_by_block(model)
        sorting_loss(model, torch.randint(NUMBERS, (64, LENGTH))).backward()
        sizes = [block.mlp.fc2.weight.grad.norm() for block in model.blocks]
        model = start_of_race(block_class, seed)
        train(model, steps=1, lr=3e-3, decay=False)
        rows.append((torch.stack(sizes), at_start, shares_by_block(model)))
    stacked = [torch.stack(each) for each in zip(*rows)]
    gradients[name], before_step[name], after_step[name] = stacked

_, (left, right) = plt.subplots(1, 2, figsize=(7, 3.4))
for name, color, marker in (("post", viz.QUERY, "s"), ("pre", viz.KEY, "o")):
    style = {"color": color, "marker": marker, "markersize": 4}
    middle = gradients[name].log().mean(0).exp()
    left.semilogy(range(1, 25), middle, label=f"{name}-norm", **style)
    right.semilogy(after_step[name].log().mean(0).exp(), **style)
    right.semilogy(before_step[name].log().mean(0).exp(), "--", color=color)
left.set(
    xlabel="block", ylabel="size of its gradient", title="before the first step"
)
left.set(ylim=(0.05, 0.5), yticks=[0.05, 0.1, 0.2, 0.5], xticks=[1, 6, 12, 18, 24])
left.set(yticklabels=["0.05", "0.1", "0.2", "0.5"])
left.minorticks_off()
left.legend()
right.set(xlabel="blocks", ylabel="share left", title="after it (dashed: before)")
right.set(xticks=range(0, 25, 6))
plt.show()
ratio = gradients["post"] / gradients["pre"]
assert (ratio[:, -1] > 1.5).all() and (ratio[:, -1] < 3).all()
assert (gradients["pre"][:, -1] < gradients["pre"][:, 0]).all()
assert gradients["post"].min() > 0.05
assert (before_step["post"][:, -1] > 0.06).all()
assert (after_step["post"][:, -1] < 0.03).all()
assert (after_step["pre"][:, -1] > 0.25).all()
for seed in range(3):  # Adam's first step does not depend on the gradient's size
    model = start_of_race(PostNormBlock, seed)
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    (sorting_loss(model, torch.randint(NUMBERS, (64, LENGTH))) / 100).backward()
    optimizer.step()
    change = shares_by_block(model)[-1] / after_step["post"][seed, -1]
    assert abs(change - 1) < 0.05

# %% [markdown]
# On the left, the last block of post-norm gets the larger gradient in each of eight starts, 1.5 to 3 times as large. In pre-norm the last norm divides by the size of the stream, and the gradient with it; at the last block it is smaller than at the first.
# [Xiong et al. (2020)](https://arxiv.org/abs/2002.04745) derive how a bound on the last layer's gradient depends on the depth, at the start of training: it falls like $1/\sqrt{\text{depth}}$ in pre-norm, and stays in post-norm. Note what it is *not*: here no gradient of post-norm vanishes.
#
# A factor of two or three looks harmless. On the right is what one step does to the tokens. In pre-norm at least a quarter is left at the end. In post-norm, where it was at least 6 % before the step, less than 3 % is left, in each of the eight starts: it is the picture from the beginning of the chapter, made by training.
# After 20 steps less than a millionth is left in six of the seven runs that stayed below 15 % (in the seventh 3.6 %), and more than 4 % in all 41 others. A readout that gets nearly the same vector at every place says nearly the same at every place. Warm-up makes the first step a hundred times smaller.
# (This is what goes wrong, not why. Xiong et al. see the reason in the larger gradients. But the first step of Adam is equally long for small gradients and for large ones: with the loss divided by 100 the same is left. So the size of the gradients does not explain this step.)

# %% [markdown]
# ## The whole block
#
# Now you have all of it: $x \leftarrow x + \operatorname{attention}(\operatorname{norm}_1(x))$, then $x \leftarrow x + \operatorname{MLP}(\operatorname{norm}_2(x))$. Each norm has its own $\gamma$ and $\beta$.
# The attention is the one that you wrote in exercise 2.3. When your answer passed its check, it was kept in a file `my_pieces.py` beside the notebooks, and here it comes back. (If there is none, the course lends you one, and says so.) In a block, its weights have `attn.` in front of their names.

# %% tags=["nbval-ignore-output"]
(multi_head_self_attention,) = my_pieces("multi_head_self_attention")


def self_attention(x, params, num_heads):
    """Exercise 2.3, with the names of a block: (B, N, D) -> (B, N, D)."""
    names = (name for name in params if name.startswith("attn."))
    own = {name.removeprefix("attn."): params[name] for name in names}
    return multi_head_self_attention(x, own, num_heads)


# %% [markdown]
# ### Exercise 3.3 · `encoder_block`
#
# *Medium, 15 minutes.* One block of the Vision Transformer.
#
# * `x` is `(B, N, D)`, the result too. `num_heads` is $H$.
# * `params` is a dictionary with the names that the real weights have: `norm1.weight`, `norm1.bias`, `attn.qkv.weight`, `attn.qkv.bias`, `attn.proj.weight`, `attn.proj.bias`, `norm2.weight`, `norm2.bias`,
#   `mlp.fc1.weight`, `mlp.fc1.bias`, `mlp.fc2.weight`, `mlp.fc2.bias`.
# * You have `self_attention(x, params, num_heads)` from above and your own `layer_norm` and `mlp`. Where one of yours is not right yet, a right result takes the place of its own.
# * $\varepsilon$ is $10^{-6}$ in both norms. Only the finished block is refused: `nn.TransformerEncoderLayer` and the course's `EncoderBlock`.


# %% tags=["exercise"]
def encoder_block(x, params, num_heads):
    """One block of the Vision Transformer: (B, N, D) -> (B, N, D)."""
    # BEGIN SOLUTION
    read = layer_norm(x, params["norm1.weight"], params["norm1.bias"])
    x = x + self_attention(read, params, num_heads)
    read = layer_norm(x, params["norm2.weight"], params["norm2.bias"])
    return x + mlp(
        read,
        params["mlp.fc1.weight"],
        params["mlp.fc1.bias"],
        params["mlp.fc2.weight"],
        params["mlp.fc2.bias"],
    )
    # END SOLUTION


# %% tags=["check"]
from course_lib.checks import check_encoder_block

check_encoder_block(encoder_block)

# %% [markdown] tags=["help"]
# <details>
# <summary>Hint</summary>
#
# Two steps, each of the form `x = x + branch(norm(x))`. Give the normalised copy a name of its own, and never assign it to `x`. The second step starts from the `x` that the first one made.
#
# </details>
#
# <details>
# <summary>I get “not attempted”, but I wrote something</summary>
#
# There is no `return`, so Python returns `None`.
#
# </details>
#
# <details>
# <summary>I get the right shape and the wrong numbers</summary>
#
# Go through the diagram of pre-norm with your finger, and read out your line for each box. Which norm, which `x`? `norm1` and `norm2` have different weights. The plus signs sit on the stream, so what you add to is
# the `x` that has passed no norm.
#
# </details>

# %% [markdown]
# ### Your block at work
#
# Take all four pieces from the file, and run them together against the block that later chapters import. All its parameters are random, the norms' too. (For this page, the answers of this chapter were filled in. The attention is the course's.)

# %% tags=["nbval-ignore-output"]
pieces = "layer_norm", "mlp", "multi_head_self_attention", "encoder_block"
*_, own_block = my_pieces(*pieces)

# %%
torch.manual_seed(29)
tested = EncoderBlock(24, num_heads=3).double()
for parameter in tested.parameters():
    nn.init.normal_(parameter, std=0.3)
x = torch.randn(2, 7, 24, dtype=torch.float64)
shuffle = torch.randperm(7)
with torch.no_grad():
    difference = own_block(x, tested.state_dict(), 3) - tested(x)
    shuffled = own_block(x[:, shuffle], tested.state_dict(), 3)
print("equal to EncoderBlock, to 1e-12:", difference.abs().max().item() < 1e-12)
in_step = torch.allclose(shuffled, tested(x)[:, shuffle], rtol=0, atol=1e-12)
print("shuffled tokens, shuffled outputs:", in_step)

print(inspect.getsource(EncoderBlock.forward))

# %% [markdown]
# A `False` in your notebook? Then a piece in `my_pieces.py` is no longer what its check has passed: run that check again.
#
# The block is equivariant, as its parts are (chapter 1 for the attention). In the course's `forward` you see your two lines. `check_tokens` questions the shape. `ls1` and `ls2` pass everything on, unless a published model asks for LayerScale (chapter 6), and so does `drop_path`, which in training can skip a branch at random (chapter 8).
#
# ## Against PyTorch, and against the original
#
# PyTorch has a block of its own, `nn.TransformerEncoderLayer`, with other names for its parameters. So we translate, load, and compare.

# %%
THEIR_NAMES = {
    "self_attn.in_proj_": "attn.qkv.",
    "self_attn.out_proj.": "attn.proj.",
    "linear1.": "mlp.fc1.",
    "linear2.": "mlp.fc2.",
}


def translated(state):
    """A state dictionary of nn.TransformerEncoderLayer under our names."""
    result = {}
    for name, value in state.items():
        for theirs, ours in THEIR_NAMES.items():
            name = name.replace(theirs, ours)
        result[name] = value
    return result


def equal(ours, theirs):
    """Give both the same random weights, and compare them on one batch."""
    torch.manual_seed(29)
    for parameter in theirs.double().parameters():
        nn.init.normal_(parameter, std=0.3)
    ours.double().load_state_dict(translated(theirs.state_dict()))
    x = torch.randn(2, 7, 24, dtype=torch.float64)
    return (ours(x) - theirs(x)).abs().max().item() < 1e-12


sizes = {"nhead": 3, "dim_feedforward": 96, "dropout": 0.0, "batch_first": True}
as_vit = {"activation": "gelu", "layer_norm_eps": 1e-6, "norm_first": True}
vit_style = nn.TransformerEncoderLayer(24, **sizes, **as_vit)
print("equal to PyTorch's:", equal(EncoderBlock(24, num_heads=3), vit_style))

# %% [markdown]
# That the norm has moved is one difference of several between ViT's encoder and the original:
#
# | | Transformer ([Vaswani et al. 2017](https://arxiv.org/abs/1706.03762)), base | Vision Transformer ([Dosovitskiy et al. 2021](https://arxiv.org/abs/2010.11929)), base |
# |:--|:--|:--|
# | norm | after each addition | before each branch |
# | norm after the last block | none needed | one |
# | activation in the MLP | ReLU | GELU |
# | what goes in | word pieces, embedding times $\sqrt D$ | patches, linearly projected, and a class token |
# | positions | sines and cosines, added | learned, added |
# | blocks, $D$, heads, MLP | 6, 512, 8, 2048 | 12, 768, 12, 3072 |
# | what reads it | a decoder | a classifier, on the class token |
#
# PyTorch's layer at its defaults is the original (we choose sizes, and switch its dropout off, to compare).
#
# > **Predict.** What has to change in our block to equal it, besides the order?

# %% tags=["hide-input", "hide-output"]
original = nn.TransformerEncoderLayer(24, **sizes)
for epsilon in (1e-6, 1e-5):
    for activation in (nn.GELU(), nn.ReLU()):
        ours = PostNormBlock(24, num_heads=3, norm_eps=epsilon)
        ours.mlp.act = activation
        name = activation.__class__.__name__
        print(f"post-norm, eps {epsilon:g}, {name}: {equal(ours, original)}")

# %% [markdown]
# The activation and $\varepsilon$, both.
#
# ### What a block costs
#
# Count the multiplications for $N$ tokens. Every weight matrix meets every token once, and there are $12 D^2$ weights: $12 N D^2$. The scores and the average take $N^2 D$ each, as in chapter 1. A multiplication comes with an
# addition, so operations are twice that:
#
# $$2\,(12\, N D^2 + 2\, N^2 D)$$
#
# > **Predict.** Attention is known for its $N^2$. In ViT-B, with 197 tokens and $D = 768$, what share of the operations of a block are the two terms with $N^2$?

# %% tags=["hide-output"]
from torch.utils.flop_counter import FlopCounterMode

N, D = 10, 48
block = EncoderBlock(D, num_heads=4)
counter = FlopCounterMode(display=False)
# While recording, attention takes the explicit path, which every counter sees.
with torch.no_grad(), counter, record_attention(block):
    block(torch.randn(1, N, D))
by_hand = 2 * (12 * N * D**2 + 2 * N**2 * D)
print("counted:", counter.get_total_flops(), " by hand:", by_hand)

N, D = 197, 768
square, linear = 2 * N**2 * D, 12 * N * D**2
print(f"share of the square: {square / (linear + square):.1%}")
print("half of it at N =", linear // (N * 2 * D))

# %% [markdown]
# 4 %. The square matters when there are many tokens, and 197 are few: it takes $6D = 4608$ tokens until scores and averages cost as much as all the linear layers. That is an image of more than 1000 pixels a side, in patches of 16.

# %% [markdown]
# ## All together: an encoder that sorts
#
# Back to sorting, with encoders of one block and of two. To know which number comes to place 3, a model has to compare all ten: nothing that a token could do alone. Then *your* block takes the weights of the larger one, and sorts.

# %%
sorters = {}
for depth in (1, 2):
    torch.manual_seed(0)
    sorters[depth] = Sorter([EncoderBlock(WIDTH, HEADS) for _ in range(depth)])
    train(sorters[depth], steps=600, lr=3e-3)
sorter = sorters[2]
print("one block, at least 95 % of the places right: ", accuracy(sorters[1]) > 0.95)
print("two blocks, at least 99 % of the places right:", accuracy(sorter) > 0.99)

assert accuracy(sorters[1]) > 0.95 and accuracy(sorter) > 0.99

numbers = torch.tensor([[7, 2, 9, 4, 13, 0, 11, 5, 15, 3]])
with torch.no_grad():
    x = sorter.number(numbers) + sorter.position
    for block in sorter.blocks:
        x = own_block(x, block.state_dict(), HEADS)
    scores = sorter.readout(sorter.norm(x))
    assert torch.allclose(scores, sorter(numbers), atol=1e-4)
print(numbers[0].tolist(), "->", scores.argmax(-1)[0].tolist())

# %% [markdown]
# How does it do it? Record the attention of 1000 sequences, average over heads and sequences, and look where each place of the output reads. But what should the columns be? The *place* of a number in the input says nothing
# about where it has to go. Its *rank* does: 0 for the smallest of the ten, 9 for the largest.
#
# > **Predict.** Row = place in the output, column = rank of the number that it reads. What do you expect to see?

# %% tags=["hide-input", "hide-output"]
#| alt: Three 10 by 10 heat maps of attention, averaged over heads and 1000 sequences, row = place in the output, darkest = 0.6. Block 2 with columns by place in the input: evenly pale. Block 1 with columns by rank: nearly even. Block 2 with columns by rank: a clear diagonal, a few cells wide, sharpest at both ends.
torch.manual_seed(31)
numbers = torch.randint(NUMBERS, (1000, LENGTH))
with torch.no_grad(), record_attention(sorter) as maps:
    sorter(numbers)  # maps: one per block, (1000, 4, 10, 10)
by_place = [m.mean(dim=1) for m in maps]  # mean over heads: (1000, 10, 10)

# order[0] is the place of the smallest number, order[1] of the second, and so on.
# Reading the columns in that order turns "by place" into "by rank".
order = numbers.argsort(dim=1, stable=True)[:, None, :].expand(-1, LENGTH, -1)
by_rank = [m.gather(-1, order).mean(dim=0) for m in by_place]  # (10, 10)

_, axes = plt.subplots(1, 3, figsize=(7.2, 2.9))
pictures = (
    (by_place[1].mean(0), "block 2, by place"),
    (by_rank[0], "block 1, by rank"),
    (by_rank[1], "block 2, by rank"),
)
for ax, (picture, title) in zip(axes, pictures):
    style = {"rows": range(10), "columns": range(10), "limits": (0, 0.6)}
    viz.heatmap(picture, ax, title=title, **style)
    ax.set(xlabel=f"{title.split()[-1]} of the number read")
axes[0].set(ylabel="place in the output")
plt.show()

most = by_rank[1].argmax(dim=-1)  # the rank that each place reads most from
assert ((most - torch.arange(10)).abs() <= 1).all()
assert sum(by_rank[1].diagonal(shift).sum() for shift in (-1, 0, 1)) > 0.6 * LENGTH
assert max(picture.max() for picture, _ in pictures[:2]) < 0.25

# %% [markdown]
# By place there is nothing to see. By rank, block 2 shows a diagonal: place 3 reads mostly from numbers of rank 3, and their neighbours. In block 1 all places look nearly everywhere, on average. In this model, then, the looking-up
# by rank happens in the second block. That is *where* the model looks, not yet *how* it knows. (It does not even need two: one block alone gets more than 95 % right.) Chapter 13 is about this difference.

# %% [markdown]
# ### One part at a time
#
# Now break it. Below, a block that can leave out one of its parts. Six kinds of encoder: the full one, and without positions, attention, MLP, residuals, norms.


# %%
class PartialBlock(EncoderBlock):
    """A block without a part: "attention", "MLP", "residual", "norm", ..."""

    def __init__(self, dim, num_heads, without="nothing"):
        super().__init__(dim, num_heads)
        self.without = without
        if without == "norm":
            self.norm1, self.norm2 = nn.Identity(), nn.Identity()

    def forward(self, x):
        keep = 0.0 if "residual" in self.without else 1.0
        if "attention" not in self.without:
            x = keep * x + self.attn(self.norm1(x))
        if "MLP" not in self.without:
            x = keep * x + self.mlp(self.norm2(x))
        return x


def sorter_without(part, depth):
    blocks = [PartialBlock(WIDTH, HEADS, part) for _ in range(depth)]
    return Sorter(blocks, last_norm=part != "norm", positions=part != "positions")


# %% [markdown]
# All of them, with 2, 8 and 24 blocks, three random starts each, 600 steps, from the record. The dashes are the best that anybody can do who knows all ten numbers but no places, or one number and its place.
#
# > **Predict.** Sort the five by how badly you think they are missed. Does your order change between 2 blocks and 24?

# %% tags=["hide-input", "hide-output"]
#| alt: Accuracy after training for the full encoder and without norm, MLP, residual, attention or positions, at 2, 8 and 24 blocks, three runs each. Nothing missing, without norm and without MLP: all above 0.94. Without residual: 0.99 with 2 blocks, at the level of guessing with 8 and 24. Without attention 0.28 to 0.3 and without positions 0.23, at every depth, each at its dash, the best possible.
record = load_record("encoder_ablation")
parts = ["nothing", "norm", "MLP", "residual", "attention", "positions"]
reached = {}  # (part, depth): accuracy at each of the three starts
for run in record["runs"]:
    reached.setdefault((run["without"], run["depth"]), []).append(run["accuracy"])
reached = {key: torch.tensor(values) for key, values in reached.items()}

# The best possible, from 200,000 sequences: the commonest number everywhere, and for
# each pair of a place and its number the commonest target.
torch.manual_seed(41)
numbers = torch.randint(NUMBERS, (200_000, LENGTH))
targets = numbers.sort(dim=1).values
counts = F.one_hot(numbers, NUMBERS).sum(dim=1)  # (200000, 16)
best = {"positions": counts.max(dim=1).values.double().mean().item() / LENGTH}
seen = (torch.arange(LENGTH) * NUMBERS + numbers) * NUMBERS + targets
table = seen.flatten().bincount(minlength=LENGTH * NUMBERS**2)
by_own = table.view(LENGTH, NUMBERS, NUMBERS).max(dim=-1).values
best["attention"] = by_own.sum().item() / seen.numel()
assert [round(100 * share) for share in best.values()] == [23, 29]

_, ax = plt.subplots(figsize=(7, 3.5))
for depth, color, marker, shift in (
    (2, viz.VALUE, "o", -0.2),
    (8, viz.KEY, "s", 0.0),
    (24, viz.QUERY, "^", 0.2),
):
    points = torch.stack([reached[part, depth] for part in parts])  # (6, 3)
    places = torch.arange(6)[:, None] + shift + 0.05 * torch.tensor([-1, 0, 1])
    style = {"color": color, "alpha": 0.8, "label": f"{depth} blocks"}
    ax.plot(places.flatten(), points.flatten(), marker, **style)
for part, share in best.items():
    at = parts.index(part)
    ax.hlines(share, at - 0.4, at + 0.4, color=viz.INK, linestyle="--", lw=1.2)
ax.axhline(1 / NUMBERS, color=viz.MUTED, linestyle=":", lw=1.5)
ax.text(-0.4, 1 / NUMBERS + 0.03, "guessing", color=viz.MUTED)
ax.set(ylabel="places right", ylim=(0, 1.05), xlim=(-0.5, 5.5), xlabel="without")
ax.set(xticks=range(6), xticklabels=parts)
ax.legend(loc="center left", bbox_to_anchor=(0, 0.55))
plt.show()

loss = {
    (part, depth): reached["nothing", depth] - reached[part, depth]
    for part in parts
    for depth in (2, 8, 24)
}
for part, share in best.items():
    for depth in (2, 8, 24):
        assert (reached[part, depth] > share - 0.015).all()
        assert (reached[part, depth] < share + 0.01).all()
assert (loss["residual", 2] > 0).all() and (loss["residual", 2] < 0.01).all()
for depth in (8, 24):
    assert (reached["residual", depth] < 0.07).all()
assert (reached["residual and attention", 8] > 0.24).all()
assert (reached["residual and attention", 16] < 0.13).all()
assert (loss["MLP", 2] > 0.02).all() and (loss["MLP", 2] < 0.06).all()
assert (loss["MLP", 24] > 0.002).all() and (loss["MLP", 24] < 0.006).all()
assert (loss["norm", 24] > 0.003).all() and (loss["norm", 24] < 0.011).all()
assert max(loss["norm", depth].abs().max() for depth in (2, 8)) < 0.003

# %% [markdown]
# Go through the columns from the right.
#
# * **Positions and attention** are missed at every depth. Without positions equal numbers get equal answers, wherever they should go; the best that is left is to name the commonest number everywhere, 23 %. Without attention each token knows its own number and its
#   place, and has to guess the rest: 29 %. These encoders come within a point and a half of their dash, and no training would bring them above it.
# * **The residual** is the surprise. With two blocks the encoder loses less than a point without it, with eight it learns nothing at all. Is that the attention, which makes tokens alike? Take it away as well, and eight bare MLPs come to 25 %, near the dash. But sixteen, as many layers as eight
#   blocks have, stay below 13 %. So alike tokens are not the whole story: here other layers cannot be stacked bare either.
# * **The MLP** is missed a little: 2 to 6 points with two blocks, less than one with 24.
# * **The norm** (all of them, the last one included) seems not to be needed. With 24 blocks the encoder loses between 0.3 and 1.1 points without it, in each of the three starts; with fewer, less than 0.3.
#
# That does not mean that a ViT needs no norm. It means that *this* encoder, narrow, started with small weights, on *this* task, can do without. An **ablation** answers the question that it was asked, at that depth and for that task.
# Look at the residual once more: had we tried two blocks only, we would have concluded that it is decoration.

# %% [markdown]
# Take out a part yourself:

# %%
part, depth = "positions", 2  # put another part here, or another depth
torch.manual_seed(0)
broken = sorter_without(part, depth)
train(broken, steps=150, lr=3e-3)
share = 10 * round(10 * accuracy(broken))  # a point more or less is the machine
print(f"{depth} blocks without {part}, 150 steps: about {share} % right")

# %% [markdown]
# ## One to think about
#
# No code, a pencil, and three more minutes. In a pre-norm block, $\gamma$ and $\beta$ of `norm1` are followed at once by the linear layer `qkv`. Change the weights of `qkv` so that `norm1` can do without them. Why does this not work in a post-norm block?
#
# <details>
# <summary>Answer</summary>
#
# With $\hat x$ the normalised token, `qkv` computes $(\gamma \cdot \hat x + \beta)\,W + b = \hat x\,(\operatorname{diag}(\gamma)\, W) + (\beta W + b)$, so take $\operatorname{diag}(\gamma) W$ as weights and $\beta W + b$ as bias. In a post-norm block the normalised token also goes on along the stream, where no weight can take $\gamma$ and $\beta$ over.
#
# </details>

# %% [markdown]
# ## Check yourself
#
# Choose before you look: each answer comes with its reason, the wrong ones too. Five questions, about five minutes.
#
# **1.** Your `layer_norm` is too small by the same factor for every token of width 4, about 0.87. What is the likely
# reason?
#
# * **A.** $\varepsilon$ was added outside of the root.
# * **B.** The variance was divided by $D - 1$.
# * **C.** The mean was taken over the tokens.
#
# <details class="course-quiz">
# <summary>Answer to 1</summary>
#
# * **A, wrong.** So small a number changes next to nothing in a token of ordinary size, and never by one and the same
#   factor.
# * **B, right.** For $D = 4$ the root is too large by $\sqrt{4/3}$, and $1/\sqrt{4/3} \approx 0.87$. `x.var(-1)` does
#   that; `correction=0` mends it.
# * **C, wrong.** Then every token would be off in its own way, and not all by one factor.
#
# </details>
#
# **2.** You change one token of an image. Which tokens does the *MLP branch* of a block, with its norm, hand on
# changed?
#
# * **A.** That token alone.
# * **B.** All tokens of the image.
# * **C.** All tokens of the batch.
#
# <details class="course-quiz">
# <summary>Answer to 2</summary>
#
# * **A, right.** LayerNorm and MLP work within a token. Only attention carries anything from one to another.
# * **B, wrong.** That is what attention does. Neither the norm nor the MLP looks beyond its token.
# * **C, wrong.** That would be BatchNorm in training. LayerNorm takes its mean over one token's features.
#
# </details>
#
# **3.** Somebody forgets the last norm of a trained ViT. What will they notice?
#
# * **A.** An error: the shapes do not fit.
# * **B.** The accuracy falls to chance.
# * **C.** Perhaps nothing, if they look at the accuracy alone.
#
# <details class="course-quiz">
# <summary>Answer to 3</summary>
#
# * **A, wrong.** A norm does not change a shape, so nothing fails.
# * **B, wrong.** The numbers are too large, but mostly in the right order. With chapter 6's digits at most one answer
#   in 1497 changes.
# * **C, right.** The best class often stays, while the probabilities are off, by up to 0.6 with these digits. Nothing
#   in a pre-norm block brings the stream's size back.
#
# </details>
#
# **4.** A ViT-B block at 197 tokens: on what does it spend most of its multiplications?
#
# * **A.** On scores and averages, which grow with $N^2$.
# * **B.** On its weight matrices.
# * **C.** On softmax and norms.
#
# <details class="course-quiz">
# <summary>Answer to 4</summary>
#
# * **A, wrong.** They take 4 % here. The square counts when there are many tokens: half is reached at 4608.
# * **B, right.** Each of the $12 D^2$ weights meets every token once. That is 96 % at this length.
# * **C, wrong.** They are small beside the matrix products, and were left out of the count for that reason.
#
# </details>
#
# **5.** With two blocks, the sorting encoder loses less than a point without its residual connections. What may you
# conclude?
#
# * **A.** Little: at this depth, for this task, it is hardly missed.
# * **B.** That the residual is decoration.
# * **C.** That the run is wrong, since theory says it is needed.
#
# <details class="course-quiz">
# <summary>Answer to 5</summary>
#
# * **A, right.** With eight blocks it learned nothing at all. An ablation answers the question that it was asked.
# * **B, wrong.** That is what one would have thought after trying two blocks only. Eight blocks refute it.
# * **C, wrong.** Nothing is wrong with the run: it was made three times. Two blocks can do without, eight cannot.
#
# </details>

# %% [markdown]
# ## What you take with you
#
# * Attention alone makes tokens alike. **The addition keeps them apart much longer**: the output is the input plus everything that was written into the stream.
# * **LayerNorm works within a token**, over its features: not over tokens, not over the batch. It divides by $D$, and $\varepsilon = 10^{-6}$ stands under the root.
# * **Attention mixes, the MLP works on each token.** Two thirds of the parameters are in the MLP. GELU is $x\,\Phi(x)$, with `erf`.
# * **Pre-norm leaves the stream free**: $x + f(\operatorname{norm}(x))$. The stream grows with depth, so there is a last norm. Post-norm, 24 blocks deep, needed a warm-up at the larger rate.
# * A block has $12D^2 + 13D$ parameters and takes $2(12ND^2 + 2N^2D)$ operations. At 197 tokens the square is 4 % of them.
# * Whether a part is missed depends on the depth and the task. **Take it out and measure.**
#
# The picture to keep: **the thick line**. In ViT it runs from the first block to the last with nothing on it but plus signs.
#
# ### To read
#
# * [Dosovitskiy et al. 2021, *An Image is Worth 16x16 Words*](https://arxiv.org/abs/2010.11929), section 3.1: the block in two equations.
# * [Xiong et al. 2020, *On Layer Normalization in the Transformer Architecture*](https://arxiv.org/abs/2002.04745): pre-norm against post-norm.
# * [Elhage et al. 2021, *A Mathematical Framework for Transformer Circuits*](https://transformer-circuits.pub/2021/framework/index.html): the residual stream as the place where parts of a network talk to each other.
#
# Next, chapter 4: the encoder takes tokens. How does an image become tokens?
