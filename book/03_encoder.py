# %% [markdown]
# # The Transformer encoder
#
# | Goal | Before you start | Time | Runs on |
# |:--|:--|:--|:--|
# | Write the block that ViT repeats twelve times, and know what each part of it is for | Chapters 1 and 2 | 75 minutes | any CPU |
#
# Attention lets tokens look at each other. On its own it is a poor network: stack twelve of them, and soon all tokens are the
# same. An **encoder block** puts three things around it that make it stackable: an addition, a normalisation, and a small network for each
# token. By the end of this chapter you have written the block, in the order in which the Vision Transformer has it, and you have
# seen what that order changes. Then you take a working encoder apart, one part at a time.

# %% tags=["setup"]
import matplotlib.pyplot as plt
import torch
import torch.nn.functional as F
from torch import nn

from course_lib import viz
from course_lib.attention import (
    MultiHeadSelfAttention,
    merge_heads,
    scaled_dot_product_attention,
    split_heads,
)
from course_lib.interpret import record_attention
from course_lib.records import load_record
from course_lib.vit import MLP, EncoderBlock

viz.set_style()

# %% [markdown]
# ## What attention alone cannot do
#
# Remember the triangle of chapter 1: a weighted average never leaves the space between its values. One layer of attention replaces every token by
# such an average. The next layer averages these averages.
#
# How different are the tokens from each other? Take away what they have in common, their mean, and ask how much is left:
#
# $$\text{share left} = \frac{\sum_i \lVert x_i - \bar x \rVert^2}{\sum_i \lVert x_i \rVert^2}$$
#
# It is 1 if the tokens have nothing in common, and 0 if they are all the same.
#
# > **Predict.** Twelve attention layers with random weights of the usual size, 20 random tokens. After how many layers is the share below 1 %: about 2, about 6, or not even after 12?


# %% tags=["hide-output"]
def share_left(x):
    """How much of the tokens (B, N, D) is not common to all tokens of their sequence: 1 = all of it, 0 = nothing."""
    differences = x - x.mean(dim=1, keepdim=True)
    return (differences.square().sum() / x.square().sum()).item()


def keep_size(module):
    """Draw all linear weights with standard deviation 1/√(inputs), so that each of them hands on the size it gets."""
    for layer in module.modules():
        if isinstance(layer, nn.Linear):
            nn.init.normal_(layer.weight, std=layer.in_features**-0.5)
            nn.init.zeros_(layer.bias)
    return module.double()


torch.manual_seed(3)
tokens = torch.randn(3, 20, 48, dtype=torch.float64)  # batch 3, 20 tokens
layers = [keep_size(MultiHeadSelfAttention(48, num_heads=4)) for _ in range(12)]

x, attention_only = tokens, [share_left(tokens)]
with torch.no_grad():
    for layer in layers:
        x = layer(x)
        attention_only.append(share_left(x))
for depth in (0, 1, 2, 3):
    print(f"layers: {depth}, share left: {attention_only[depth]:.0e}")

# %% [markdown]
# Two. After two layers a thousandth is left, after three about a millionth of a millionth. Averages make the tokens alike, and once tokens resemble each other, their queries and keys do too: the weights become equal, and the
# next average is flatter still. That is why the fall is so steep. (Much larger weights make sharper attention, and slow it.) [Dong et al. (2021)](https://arxiv.org/abs/2103.03404) prove it for attention stacked by itself, and
# show what works against it: adding instead of replacing, and the MLP. You meet both below.
#
# Here are the same twelve attention layers, first with each result *added* to its input, then as whole encoder blocks, which have norms and an MLP besides. You will know all of that by the end of the chapter.

# %%
#| alt: Share left, of what tells tokens apart, after 0 to 12 layers, on a linear axis and on a logarithmic one. Attention alone drops to nothing: at two layers a thousandth, at three about a trillionth, then the level of rounding. With the addition the share falls slowly to below a tenth. The whole block stays highest, above a third.
torch.manual_seed(5)
blocks = [keep_size(EncoderBlock(48, num_heads=4)) for _ in range(12)]
for block, layer in zip(blocks, layers):
    block.attn = layer  # the same attention everywhere


def shares(step):
    """The share left after each of the twelve layers, if step(x, block) is what a layer does."""
    x, result = tokens, [share_left(tokens)]
    with torch.no_grad():
        for block in blocks:
            x = step(x, block)
            result.append(share_left(x))
    return result


with_addition = shares(lambda x, block: x + block.attn(x))
whole_block = shares(lambda x, block: block(x))

_, (left, right) = plt.subplots(1, 2, figsize=(7, 3))
for ax in (left, right):
    ax.plot(whole_block, "o-", color=viz.VALUE, label="the whole block")
    ax.plot(with_addition, "s-", color=viz.KEY, label="x + attention(x)")
    ax.plot(
        [max(share, 1e-16) for share in attention_only],
        "^--",
        color=viz.QUERY,
        label="attention(x)",
    )
    ax.set(xlabel="layers", xticks=range(0, 13, 2))
left.set(ylabel="share left", ylim=(-0.04, 1.05))
right.set(yscale="log", ylim=(1e-17, 10), title="the same, logarithmic")
right.legend(loc="center right")
plt.show()

assert attention_only[3] < 1e-9 < 1e-3 < with_addition[12] < whole_block[12]

# %% [markdown]
# (The dashed line is cut off at $10^{-16}$. What lies there is rounding.) Adding slows the fall enormously: a few hundredths are left after twelve layers, instead of nothing after three. It does not stop it. The whole block does better still, about a third is left.
# So let us look at the addition first.

# %% [markdown]
# ## The residual stream
#
# Instead of *replacing* $x$ by $f(x)$, a block *adds* to it:
#
# $$x \leftarrow x + f(x)$$
#
# This is a **residual connection**. [He et al. (2015)](https://arxiv.org/abs/1512.03385) introduced it to train image networks of over a hundred layers. $f$ no longer has to
# reproduce what is already known. It only has to say what should change.
#
# Think of $x$ as a **stream** that runs through the whole network, from the first layer to the last
# ([Elhage et al. 2021](https://transformer-circuits.pub/2021/framework/index.html)). Each part reads from it and writes something into it. Nothing is ever overwritten. In chapter 2 you saw heads do that: each wrote
# its share, and the output was the sum. The same holds for the whole stack.
#
# > **Predict.** Collect what all twelve attentions and all twelve MLPs write, 24 contributions. What do you have to add to get the output of the stack?

# %% tags=["hide-output"]
x, contributions = tokens, [tokens]
with torch.no_grad():
    for block in blocks:
        written = block.attn(
            block.norm1(x)
        )  # norm1 and norm2: see the next section
        contributions.append(written)
        x = x + written

        written = block.mlp(block.norm2(x))
        contributions.append(written)
        x = x + written

    output = nn.Sequential(*blocks)(tokens)
same = torch.allclose(sum(contributions), output, atol=1e-12)
print(len(contributions), "terms, their sum is the output:", same)

# %% [markdown]
# The input itself: it is still in the output, in full, with 24 contributions added. Backwards the addition is as kind. The derivative of
# $x + f(x)$ is $1 + f'(x)$, and thanks to the 1, part of the gradient reaches every layer unchanged, whatever the $f$ do, as long as nothing else stands on the stream.
#
# There is also a quiet side to it. A block that writes nothing changes nothing, so *doing nothing* is easy for it:

# %%
idle = EncoderBlock(48, num_heads=4).double()
for last in (idle.attn.proj, idle.mlp.fc2):  # the last layer of each branch
    nn.init.zeros_(last.weight)
    nn.init.zeros_(last.bias)
print(
    "a block that writes nothing returns its input:",
    torch.equal(idle(tokens), tokens),
)

# %% [markdown]
# A deep network that only needs half its depth can leave the rest idle. But adding has a price: what is added up grows. Somebody has to
# look after the size of the numbers.

# %% [markdown]
# ## LayerNorm: every token for itself
#
# **LayerNorm** ([Ba et al. 2016](https://arxiv.org/abs/1607.06450)) takes one token, $D$ numbers, and brings it to mean 0 and standard deviation 1. Then it lets the network choose
# a scale $\gamma$ and a shift $\beta$ for each of the $D$ features:
#
# $$\operatorname{LayerNorm}(x) = \gamma \cdot \frac{x - \mu}{\sqrt{\sigma^2 + \varepsilon}} + \beta, \qquad \mu = \frac1D \sum_j x_j, \quad \sigma^2 = \frac1D \sum_j (x_j - \mu)^2$$
#
# Do one token by hand: $(17, 11, 9, 3)$. The mean is 10, so the deviations are $7, 1, -1, -7$. Their squares are $49, 1, 1, 49$, on average 25. The root is 5. Divide:
# $(1.4,\ 0.2,\ -0.2,\ -1.4)$.

# %%
token = torch.tensor([17.0, 11.0, 9.0, 3.0])
norm = nn.LayerNorm(4, eps=1e-6)  # at the start γ is 1 and β is 0

print("LayerNorm:            ", [round(v, 4) for v in norm(token).tolist()])
print("variance of torch.var:", round(token.var().item(), 2), "instead of 25")

# %% [markdown]
# The second line is a trap. `torch.var` divides by $D - 1$, as statisticians do when they guess a variance from a sample. LayerNorm does not guess, it divides by $D$: `var(correction=0)`.
#
# > **Predict.** What does LayerNorm make of ten times that token plus 100, that is of $(270, 210, 190, 130)$?

# %% tags=["hide-output"]
print([round(v, 4) for v in norm(10 * token + 100).tolist()])

# %% [markdown]
# The same. **Size and offset of a token are gone after the norm; its pattern is what is left.** However large the stream grows, what a branch reads has size 1.
#
# ### Over which axis?
#
# A batch of images is a block of numbers, $(B, N, D)$, and there are several ways to average over it. BatchNorm, which you may know from convolutional networks, takes
# one feature and averages over all images and places. LayerNorm takes one token and averages over its features.


# %% tags=["hide-input"]
#| alt: Two tables of 8 rows and 6 columns. The rows are 4 tokens of image 0 and 4 tokens of image 1, the columns are features. In both, one cell is marked with a cross. Under LayerNorm the dark cells, which share its mean and variance, are the rest of its row. Under BatchNorm they are the rest of its column, through both images.
def draw_group(group, title, ax):
    """Dark: the cells that are averaged to normalise the cell with the cross."""
    names = [f"image {i}, token {n}" for i in range(2) for n in range(4)]
    viz.heatmap(
        group,
        ax,
        title=title,
        rows=names if ax is axes[0] else [""] * 8,
        columns=range(6),
    )
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
# > BatchNorm in training? And if you replace a token of the first image, do its other tokens notice?

# %% tags=["hide-output"]
torch.manual_seed(7)
x = torch.randn(2, 4, 6)  # 2 images, 4 tokens, 6 features
by_layer_norm, batch_norm = nn.LayerNorm(6), nn.BatchNorm1d(6)


def by_batch_norm(x):
    return batch_norm(x.mT).mT  # it wants (B, D, N), the features in the middle


other_image, other_token = x.clone(), x.clone()
other_image[1] = torch.randn(4, 6)
other_token[0, 2] = torch.randn(6)

for name, function in (("LayerNorm", by_layer_norm), ("BatchNorm", by_batch_norm)):
    before = function(x)[0, :2]  # the first two tokens of the first image
    same_image = torch.equal(function(other_image)[0, :2], before)
    same_token = torch.equal(function(other_token)[0, :2], before)
    print(
        f"{name}: same with another image {same_image}, with another token {same_token}"
    )

# %% [markdown]
# Under LayerNorm no token notices another: **only attention carries information from token to token.** LayerNorm is therefore the same in training and in use, with one image or a thousand.
# Normalising over a wrong axis runs as well, and trains. If you ever see a result change with the batch size, look at the norm first.
#
# ### Epsilon
#
# $\varepsilon$ stands *under the root*, next to the variance, so that a token of equal numbers does not divide by 0. It is tiny. Can it matter? ViT has $10^{-6}$, and PyTorch's
# `nn.LayerNorm` comes with $10^{-5}$.
#
# > **Predict.** Random tokens of width 768, once with standard deviation 1, then 0.1, then 0.01. How far apart are the two results at worst?

# %% tags=["hide-output"]
torch.manual_seed(11)
x = torch.randn(1000, 768, dtype=torch.float64)
for size in (1, 0.1, 0.01):
    apart = F.layer_norm(size * x, (768,), eps=1e-6) - F.layer_norm(
        size * x, (768,), eps=1e-5
    )
    print(f"size {size:4}: {apart.abs().max():.0e}")

# %% [markdown]
# For tokens of size 1, nothing to speak of. At size 0.01 the variance is $10^{-4}$, a tenth of it is no longer tiny, and the results are 0.2 apart. Nothing fails: a network that was trained with
# one $\varepsilon$ and runs with another is slightly wrong, and silent about it. In this course it is always $10^{-6}$.

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
    """Each token to mean 0 and standard deviation 1, then times weight plus bias: (..., D) -> (..., D)."""
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
# Attention moves information between tokens. What a token *does* with it is the business of the second branch, a **multilayer perceptron** (MLP), that is two linear layers with a bend between them:
#
# $$\operatorname{MLP}(x) = W_2\, \operatorname{GELU}(W_1 x + b_1) + b_2$$
#
# The first layer widens the token from $D$ to $4D$ features, the second brings it back to $D$. Each token goes through on its own.
#
# > **Predict.** Run an MLP over seven tokens. Then shuffle them, or keep only two of them. Do the results of the remaining tokens change?

# %% tags=["hide-output"]
torch.manual_seed(13)
mlp_block = MLP(6, hidden_dim=24).double()
x = torch.randn(2, 7, 6, dtype=torch.float64)  # 2 sequences, 7 tokens of width 6
shuffle = torch.randperm(7)

for name, chosen in (("shuffled", shuffle), ("only two kept", [1, 4])):
    same = torch.allclose(
        mlp_block(x[:, chosen]), mlp_block(x)[:, chosen], atol=1e-12
    )
    print(f"{name}: each token's result is the same: {same}")

convolution = nn.Conv1d(6, 24, kernel_size=1).double()
convolution.weight.data = mlp_block.fc1.weight.data[:, :, None]
convolution.bias.data = mlp_block.fc1.bias.data
same = torch.allclose(convolution(x.mT).mT, mlp_block.fc1(x), atol=1e-12)
print("its first layer is a convolution of width 1:", same)

# %% [markdown]
# No token notices the others. So the block has a clean division of labour: **attention mixes the tokens, the MLP works on each.** If you come from convolutions: an MLP on tokens is two
# convolutions whose window is one token wide.
#
# ### The bend: GELU
#
# Without a bend, two linear layers are one: $W_2(W_1 x) = (W_2 W_1)\,x$. The usual bend is ReLU, which replaces negative numbers by 0. ViT uses a smooth relative, **GELU**
# ([Hendrycks and Gimpel 2016](https://arxiv.org/abs/1606.08415)):
#
# $$\operatorname{GELU}(x) = x\,\Phi(x), \qquad \Phi(x) = \tfrac12\left(1 + \operatorname{erf}\frac{x}{\sqrt2}\right)$$
#
# $\Phi(x)$ is the share of a standard normal distribution that lies below $x$. So GELU multiplies $x$ by the probability that a random number is smaller. Far right that is 1, and $x$ passes; far left it is 0.
#
# The same paper gives two shortcuts that do without the error function `erf`, and both are in use.


# %%
#| alt: Two panels over x from -4 to 4. Left: ReLU is 0 up to x = 0 and then a straight line; GELU follows it smoothly and dips below zero, to -0.17 near x = -0.75. Right, on a logarithmic axis, how far two shortcuts are from the exact GELU: x times sigmoid of 1.702 x up to 0.02, the tanh form up to 0.0005.
def gelu(x):
    return x * 0.5 * (1 + torch.erf(x / 2**0.5))


def gelu_tanh(x):
    return 0.5 * x * (1 + torch.tanh((2 / torch.pi) ** 0.5 * (x + 0.044715 * x**3)))


def gelu_quick(x):
    return x * torch.sigmoid(1.702 * x)


x = torch.linspace(-4, 4, 4001, dtype=torch.float64)
_, (left, right) = plt.subplots(1, 2, figsize=(6.5, 2.7))
left.plot(x, gelu(x), color=viz.KEY, label="GELU")
left.plot(x, x.relu(), "--", color=viz.MUTED, label="ReLU")
left.set(xlabel="x", ylabel="what comes out", title="the bend")
right.semilogy(
    x,
    (gelu_quick(x) - gelu(x)).abs(),
    "--",
    color=viz.QUERY,
    label="x·sigmoid(1.702 x)",
)
right.semilogy(
    x, (gelu_tanh(x) - gelu(x)).abs(), color=viz.VALUE, label="tanh form"
)
right.set(
    xlabel="x",
    ylabel="difference from exact",
    ylim=(1e-6, 5),
    yticks=[1e-6, 1e-4, 1e-2],
    title="two shortcuts",
)
right.minorticks_off()
left.legend()
right.legend(loc="upper center")
plt.show()

print("equal to PyTorch's:", torch.allclose(gelu(x), F.gelu(x), atol=1e-12))
print(f"tanh form: off by up to {(gelu_tanh(x) - gelu(x)).abs().max():.1e}")
print(f"sigmoid form: off by up to {(gelu_quick(x) - gelu(x)).abs().max():.0e}")

# %% [markdown]
# GELU lets a little of the negative numbers through, at most 0.17, and has no corner. The tanh form, `F.gelu(x, approximate="tanh")`, is off by at most $4.7 \cdot 10^{-4}$, the sigmoid form by $2 \cdot 10^{-2}$. You can train with
# any of them. But weights belong to the form that they were trained with, and a ViT with the wrong one gives slightly wrong answers and no error. Ours is the exact one.
#
# ### Where the parameters are
#
# > **Predict.** Attention is the famous part. Of the parameters of one block of ViT-B ($D = 768$), what share does it hold?

# %% tags=["hide-output"]
block = EncoderBlock(768, num_heads=12)
count = {
    name: sum(p.numel() for p in part.parameters())
    for name, part in (
        ("attention", block.attn),
        ("MLP", block.mlp),
        ("norms", nn.ModuleList([block.norm1, block.norm2])),
    )
}
total = sum(count.values())
for name, number in count.items():
    print(f"{name:9} {number:9,} {number / total:6.1%}")
print(f"{'block':9} {total:9,}")
assert total == 12 * 768**2 + 13 * 768 == 7_087_872

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
    """Linear, GELU (erf form), linear, for each token on its own: (..., D) -> (..., D)."""
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
# All the parts are there: attention, MLP, two additions, two norms. They can be wired in two ways:
#
# $$\text{post-norm:}\quad x \leftarrow \operatorname{norm}\bigl(x + f(x)\bigr) \qquad\qquad \text{pre-norm:}\quad x \leftarrow x + f\bigl(\operatorname{norm}(x)\bigr)$$
#
# Here $f$ is the attention first, and the MLP second. Post-norm is the original Transformer of 2017. Pre-norm is the Vision Transformer
# ([Dosovitskiy et al. 2021](https://arxiv.org/abs/2010.11929), equations 2 and 3).


# %% tags=["hide-input"]
#| alt: Two wiring diagrams of a block. On top, pre-norm: the stream is one straight line from left to right, and two branches leave it, pass a norm and then the attention or the MLP, and come back to a plus sign. Below, post-norm: the branches hold only attention and MLP, and the two norms sit on the stream itself, after each plus sign.
NORM_BOX, BRANCH_BOX = (
    "#a84300",
    "#00694c",
)  # darker, so that white text can be read


def draw_box(ax, x, y, name, color):
    shape = {"boxstyle": "round,pad=0.4", "facecolor": color, "edgecolor": "none"}
    ax.text(
        x, y, name, ha="center", va="center", color=viz.PAPER, zorder=4, bbox=shape
    )


def draw_block(ax, pre_norm):
    """The wiring of one block, left to right: the stream below, two branches above."""
    thick = {"arrowstyle": "-|>", "color": viz.KEY, "lw": 5, "mutation_scale": 22}
    thin = {"arrowstyle": "-|>", "color": viz.MUTED, "lw": 1.8}
    ring = {
        "boxstyle": "circle,pad=0.15",
        "facecolor": viz.PAPER,
        "edgecolor": viz.KEY,
    }
    ax.annotate("", (10.4, 0), (-0.4, 0), arrowprops=thick)
    ax.text(-0.55, 0, "x", ha="right", va="center")
    for start, name in ((0.5, "attention"), (5.4, "MLP")):
        plus = start + (3.5 if pre_norm else 2.4)
        ax.plot([start, start, plus], [0, 1, 1], color=viz.MUTED, lw=1.8, zorder=1)
        ax.annotate("", (plus, 0.18), (plus, 1.04), arrowprops=thin)
        ax.text(
            plus, 0, "+", ha="center", va="center", zorder=4, fontsize=14, bbox=ring
        )
        if pre_norm:
            draw_box(ax, start + 0.85, 1, "norm", NORM_BOX)
            draw_box(ax, start + 2.35, 1, name, BRANCH_BOX)
        else:
            draw_box(ax, start + 1.2, 1, name, BRANCH_BOX)
            draw_box(ax, plus + 1.15, 0, "norm", NORM_BOX)
    ax.set(xlim=(-1, 10.8), ylim=(-0.5, 1.6))
    ax.axis("off")


_, axes = plt.subplots(2, 1, figsize=(6.5, 3.6))
draw_block(axes[0], pre_norm=True)
axes[0].set_title("pre-norm (ViT): the stream is free")
draw_block(axes[1], pre_norm=False)
axes[1].set_title("post-norm (2017): the norm stands in the stream")
plt.show()

# %% [markdown]
# Follow the thick line. In pre-norm nothing stands on it: what is in the stream reaches the end of the network untouched, and the norm is only a pair of glasses through which a branch reads. In post-norm everything
# that comes along has to pass through every norm, twice a block.
#
# The parts are the same, so a post-norm block is a few characters away from `EncoderBlock`:


# %%
class PostNormBlock(EncoderBlock):
    """The same parts as `EncoderBlock`, with each norm after the addition: (B, N, D) -> (B, N, D)."""

    def forward(self, x):
        x = self.norm1(x + self.attn(x))
        return self.norm2(x + self.mlp(x))


# %% [markdown]
# ### The stream grows, and the last norm
#
# > **Predict.** 24 blocks with random weights, input of size 1 (its standard deviation). How large is the stream after 24 post-norm blocks? After 24 pre-norm blocks: 1, about 5, or about $2^{24}$?


# %% tags=["hide-output"]
def sizes(block_class, depth=24):
    """Standard deviation of the stream at the start and after each block."""
    x = tokens
    result = [x.std().item()]
    with torch.no_grad():
        for _ in range(depth):
            x = keep_size(block_class(48, num_heads=4))(x)
            result.append(x.std().item())
    return result, x


torch.manual_seed(17)
pre, stream = sizes(EncoderBlock)
post, _ = sizes(PostNormBlock)
print(f"after 24 blocks: post-norm {post[-1]:.1f}, pre-norm about {pre[-1]:.0f}")

# %% tags=["hide-input"]
#| alt: Standard deviation of the stream after 0 to 24 blocks. Post-norm stays at 1. Pre-norm grows from 1 to about 5, fast at first and then more slowly, along a dashed curve proportional to the square root of the depth. A diamond at the end shows that the last norm brings it back to 1.
_, ax = plt.subplots()
ax.plot(pre, "o-", color=viz.KEY, label="pre-norm")
ax.plot(
    [(1 + (pre[-1] ** 2 - 1) * n / 24) ** 0.5 for n in range(25)],
    "--",
    color=viz.MUTED,
    label=r"$\sqrt{1 + c \cdot \mathrm{depth}}$",
)
ax.plot(post, "s-", color=viz.QUERY, label="post-norm")
ax.plot(
    24,
    F.layer_norm(stream, (48,), eps=1e-6).std(),
    "D",
    color=viz.OUTPUT,
    markersize=9,
    zorder=5,
    label="pre-norm, after the last norm",
)
ax.set(
    xlabel="blocks",
    ylabel="size of the stream",
    ylim=(0, 6.5),
    xticks=range(0, 25, 4),
)
ax.legend(ncols=2, loc="upper left")
plt.show()

assert 3 < pre[-1] < 8 and abs(post[-1] - 1) < 0.01

# %% [markdown]
# Every branch reads through a norm, so what it writes has a size that does not depend on how large the stream has become. What different branches write has little to do with each other, so the *variances* add up, and the size grows
# roughly like the root of the depth. You have seen that argument in chapter 1. (The dashed line is drawn through the last point. The stream starts below it because the first attentions average tokens that still differ, and averages of different things are small.)
#
# Nothing in the blocks brings it back. So after the last block of a pre-norm network comes **one more norm**, which belongs to no block. It is easily forgotten, since nothing fails: the shapes are right.
# But whatever reads the output then gets numbers four or five times too large, here after 24 blocks that have learned nothing. A ViT without its last norm runs, and classifies badly.

# %%
torch.manual_seed(19)
head = keep_size(nn.Sequential(nn.Linear(48, 10)))  # a classifier with 10 classes
with torch.no_grad():
    for name, x in (
        ("with the last norm", F.layer_norm(stream, (48,), eps=1e-6)),
        ("without it", stream),
    ):
        scores = head(x)
        print(
            f"{name:18}: scores {tuple(scores.shape)}, size about {scores.std():.0f}"
        )

# %% [markdown]
# ### Gradients by depth
#
# Now backwards. Before the first step of training, how large is the gradient that each block gets?
#
# > **Predict.** 24 blocks, pre-norm and post-norm, same random weights. In which of the two does the *last* block get the larger gradient? And as you make the network deeper, does that gradient grow, shrink or
# > stay?


# %% tags=["hide-output"]
def gradients(block_class, depth, seed):
    """Size of the gradient of each block's last weight matrix, before training, for random targets."""
    torch.manual_seed(seed)
    blocks = nn.Sequential(*(block_class(48, num_heads=4) for _ in range(depth)))
    last_norm = (
        nn.LayerNorm(48, eps=1e-6) if block_class is EncoderBlock else nn.Identity()
    )
    model = keep_size(nn.Sequential(blocks, last_norm, nn.Linear(48, 10)))
    x, targets = (
        torch.randn(8, 12, 48, dtype=torch.float64),
        torch.randint(10, (8 * 12,)),
    )
    F.cross_entropy(model(x).flatten(0, 1), targets).backward()
    return torch.stack([block.mlp.fc2.weight.grad.norm() for block in blocks])


def typical(block_class, depth):
    """The geometric mean over eight random starts."""
    each = [gradients(block_class, depth, seed) for seed in range(8)]
    return torch.stack(each).log().mean(dim=0).exp()


depths = [3, 6, 12, 24, 48]
grown = {
    name: [typical(cls, depth) for depth in depths]
    for name, cls in (("pre", EncoderBlock), ("post", PostNormBlock))
}

last = {name: [g[-1].item() for g in values] for name, values in grown.items()}
print(
    "24 blocks: post-norm's last gradient is at least 3 times pre-norm's:",
    last["post"][3] > 3 * last["pre"][3],
)
for name in ("pre", "post"):
    fell = last[name][4] < last[name][0] / 2
    print(f"from 3 to 48 blocks, {name}-norm's falls to less than half:", fell)

# %% tags=["hide-input"]
#| alt: Two panels with logarithmic axes, size of the gradient. Left, each of 24 blocks: post-norm lies around 2 at all blocks; pre-norm lies lower everywhere and falls from above 1 at the first block to below 0.3 at the last. Right, the last block against depth from 3 to 48: post-norm rises from 1 to above 2, pre-norm falls from above 0.6 to below 0.2, close to a dashed line 1 over the square root of the depth.
_, (left, right) = plt.subplots(1, 2, figsize=(7, 3.3), sharey=True)
for name, color, line in (("post", viz.QUERY, "s-"), ("pre", viz.KEY, "o-")):
    left.semilogy(
        range(1, 25), grown[name][3], line, color=color, label=f"{name}-norm"
    )
    right.loglog(depths, [g[-1] for g in grown[name]], line, color=color)
right.loglog(
    depths,
    [grown["pre"][0][-1] * (3 / depth) ** 0.5 for depth in depths],
    "--",
    color=viz.MUTED,
    label=r"$\propto 1/\sqrt{\mathrm{depth}}$",
)
left.set(
    xlabel="block",
    ylabel="size of its gradient",
    title="24 blocks",
    xticks=[1, 6, 12, 18, 24],
)
right.set(xlabel="depth", title="the last block", xticks=depths, xticklabels=depths)
for ax in (left, right):
    ax.set(
        ylim=(0.1, 5), yticks=[0.1, 0.3, 1, 3], yticklabels=["0.1", "0.3", "1", "3"]
    )
    ax.minorticks_off()
    ax.legend(loc="lower left")
plt.show()

# %% [markdown]
# Look at the left panel first: in pre-norm the first blocks get about as much as in post-norm, the last ones clearly less. Now the right one. In pre-norm, the deeper the network, the smaller the last block's gradient: the last norm divides by the size of
# the stream, and that has grown like the root of the depth. In post-norm the stream is back at size 1 after every block, so the last block counts in full, whether there are 3 blocks or 48. Its gradient does not shrink, here it even grows.
# [Xiong et al. (2020)](https://arxiv.org/abs/2002.04745) derive this for the last layer at the start of training, the root of the depth included.
#
# A gradient says how strongly the loss reacts to a block's weights. Adam takes steps of about the same size whatever the gradient is, so where the loss reacts strongly, the same step changes it more. In post-norm it reacts strongly to all 24 blocks, and when they take their first steps
# at once, that can be too much. Note what it is *not*: at this start, the gradients of post-norm do not vanish.
#
# The cure of 2017 was **warm-up**: begin with a tiny learning rate and raise it over the first steps. Does it make a difference in practice?

# %% [markdown]
# ### A race
#
# The task for the rest of the chapter: **sort ten numbers.** In go ten numbers from 0 to 15, out come the same ten in order, the smallest at place 0. A model that guesses is right at one place in sixteen, about 6 %.


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

    def forward(self, numbers):
        x = self.number(numbers) + self.position  # (B, 10, 32)
        return self.readout(self.norm(self.blocks(x)))


def train(model, steps, lr, decay=True, warmup=0):
    """Teach the model to sort. The learning rate rises over `warmup` steps and falls to 0 if `decay`."""
    optimizer = torch.optim.Adam(model.parameters(), lr=lr)
    for step in range(steps):
        rise = min(1.0, (step + 1) / warmup) if warmup else 1.0
        fall = 1 - step / steps if decay else 1.0
        optimizer.param_groups[0]["lr"] = lr * rise * fall
        numbers = torch.randint(NUMBERS, (64, LENGTH))
        loss = F.cross_entropy(
            model(numbers).flatten(0, 1), numbers.sort(dim=1).values.flatten()
        )
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
# Two deep models, 24 blocks each, with the same parameters (but for the last norm) and the same random start, PyTorch's own, whose weights are smaller than above. Learning rate $3 \cdot 10^{-3}$ from the first step. They train for 100 steps, which takes some seconds each.
#
# > **Predict.** Which is ahead after 100 steps, and is it close?

# %% tags=["hide-output"]
share_right = {}
for name, block_class in (("pre", EncoderBlock), ("post", PostNormBlock)):
    torch.manual_seed(0)
    deep = Sorter(
        [block_class(WIDTH, HEADS) for _ in range(24)], last_norm=name == "pre"
    )
    train(deep, steps=100, lr=3e-3, decay=False)
    share_right[name] = accuracy(deep)
assert share_right["pre"] > share_right["post"] + 0.1
for name, share in share_right.items():
    print(f"{name}-norm: {'more' if share > 0.5 else 'less'} than half right")

# %% [markdown]
# One run proves little. The picture below is from a record of 24 longer ones, 300 steps each: two learning rates, with and without 100 steps of warm-up, three random starts (script `benchmarks/encoder_ablation.py`).

# %% tags=["hide-input"]
#| alt: Accuracy of 24-block encoders after 300 steps in four settings, three runs each. Pre-norm is above 0.96 in all of them. Post-norm lies between 0.86 and 0.95 at the small learning rate. At the large one without warm-up two runs stay at 0.06, the level of guessing, and one reaches 0.78; with warm-up all three reach 0.8 to 0.84.
record = load_record("norm_placement")
settings = [(1e-3, 100), (1e-3, 0), (3e-3, 100), (3e-3, 0)]
labels = [
    f"lr {lr:g}\n{'warm-up' if warmup else 'no warm-up'}" for lr, warmup in settings
]

_, ax = plt.subplots(figsize=(7, 3.3))
for name, color, marker, shift in (
    ("pre", viz.KEY, "o", -0.12),
    ("post", viz.QUERY, "s", 0.12),
):
    runs = [run for run in record["runs"] if run["norm"] == name]
    places = [
        settings.index((run["learning_rate"], run["warmup"]))
        + shift
        + 0.05 * (run["seed"] - 1)
        for run in runs
    ]
    ax.plot(
        places,
        [run["accuracy"] for run in runs],
        marker,
        color=color,
        alpha=0.8,
        label=f"{name}-norm",
    )
ax.axhline(1 / NUMBERS, color=viz.MUTED, linestyle=":", lw=1.5)
ax.text(-0.4, 1 / NUMBERS + 0.03, "guessing", color=viz.MUTED)
ax.set(
    ylabel="places right",
    ylim=(0, 1.05),
    xlim=(-0.5, 3.5),
    xticks=range(4),
    xticklabels=labels,
)
ax.legend(loc="center left")
plt.show()

# %% [markdown]
# Pre-norm does not care: 96 to 99 % in every setting. Post-norm learns too if you treat it gently. With the larger rate and no warm-up two of its three runs are still at the level of guessing after 300 steps; with warm-up all three learn.
#
# Depth and learning rate were chosen so that you can see this in a minute. With the smaller rate the difference is 4 to 8 points on average, and warm-up decides little. The race fits the explanation above; it does not prove it. And post-norm is not broken: the Transformer of 2017 and
# [BERT](https://arxiv.org/abs/1810.04805) had it, and both were trained with warm-up. Pre-norm forgives more. ViT took pre-norm *and* warm-up.

# %% [markdown]
# ## The whole block
#
# Now you have all of it: $x \leftarrow x + \operatorname{attention}(\operatorname{norm}_1(x))$, then $x \leftarrow x + \operatorname{MLP}(\operatorname{norm}_2(x))$. Each norm has its own $\gamma$ and $\beta$. Chapter 2's
# attention, as one function that takes its weights from a dictionary:


# %%
def self_attention(x, params, num_heads):
    """Multi-head self-attention of chapter 2: (B, N, D) -> (B, N, D)."""
    qkv = F.linear(
        x, params["attn.qkv.weight"], params["attn.qkv.bias"]
    )  # (B, N, 3D)
    q, k, v = (split_heads(part, num_heads) for part in qkv.chunk(3, dim=-1))
    output, _ = scaled_dot_product_attention(q, k, v)  # (B, H, N, d)
    output = merge_heads(output)  # (B, N, D)
    return F.linear(output, params["attn.proj.weight"], params["attn.proj.bias"])


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
# A check by thought: attention is permutation equivariant (chapter 1), the norm and the MLP treat each token alone.
#
# > **Predict.** Shuffle the tokens in front of twelve blocks. What happens to the outputs? And to their mean?

# %% tags=["hide-output"]
torch.manual_seed(23)
encoder = nn.Sequential(
    *(EncoderBlock(24, num_heads=3) for _ in range(12))
).double()
x = torch.randn(2, 7, 24, dtype=torch.float64)
shuffle = torch.randperm(7)
with torch.no_grad():
    shuffled, straight = encoder(x[:, shuffle]), encoder(x)


def equal(a, b):
    return torch.allclose(a, b, rtol=0, atol=1e-12)


print("outputs shuffled along:", equal(shuffled, straight[:, shuffle]))
print("mean unchanged:        ", equal(shuffled.mean(1), straight.mean(1)))

# %% [markdown]
# Parts that do not know the order make a whole that does not know the order. The encoder is **equivariant**; a classifier that averages its outputs is **invariant**. Without positions, a ViT could not tell an image
# from its shuffled patches.

# %% [markdown]
# ## The block, tested
#
# This is what later chapters import. Compare its `forward` with yours.

# %%
import inspect

print(inspect.getsource(EncoderBlock.forward))

# %% [markdown]
# PyTorch has a block of its own, `nn.TransformerEncoderLayer`. Its parameters have other names, so we translate, load them with `strict` checking (which `load_state_dict` does unless told otherwise), and compare.

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


def largest_difference(ours, theirs):
    """Give both the same random weights, all of them, and compare them on one batch."""
    torch.manual_seed(29)
    for parameter in theirs.parameters():
        nn.init.normal_(parameter, std=0.3)
    ours.double().load_state_dict(translated(theirs.state_dict()))
    x = torch.randn(2, 7, 24, dtype=torch.float64)
    return (ours(x) - theirs(x)).abs().max().item()


vit_style = nn.TransformerEncoderLayer(
    24,
    nhead=3,
    dim_feedforward=96,
    dropout=0.0,
    activation="gelu",
    layer_norm_eps=1e-6,
    norm_first=True,
    batch_first=True,
)
ours = EncoderBlock(24, num_heads=3)
print(
    "ViT's block equals PyTorch's:         ",
    largest_difference(ours, vit_style.double()) < 1e-12,
)

# %% [markdown]
# ### The original beside ViT's
#
# Often you read that ViT's encoder is the original one with the norm moved. That is one difference of several:
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
# PyTorch's layer, left at its defaults, is the original (we only switch its dropout off, to compare). Ours becomes it with three changes: the other order, the other activation, and the other $\varepsilon$.

# %%
original = nn.TransformerEncoderLayer(
    24, nhead=3, dim_feedforward=96, dropout=0.0, batch_first=True
)
theirs = original.double()
for epsilon in (1e-6, 1e-5):
    for activation in (nn.GELU(), nn.ReLU()):
        ours = PostNormBlock(24, num_heads=3, norm_eps=epsilon)
        ours.mlp.act = activation
        equal = largest_difference(ours, theirs) < 1e-12
        print(
            f"post-norm, eps {epsilon:g}, {activation.__class__.__name__}: {equal}"
        )

# %% [markdown]
# ### What a block costs
#
# Count the multiplications for $N$ tokens. Every weight matrix meets every token once, and there are $12 D^2$ weights: $12 N D^2$. The scores and the average take $N^2 D$ each, as in chapter 1. A multiplication comes with an
# addition, so operations are twice that:
#
# $$2\,(12\, N D^2 + 2\, N^2 D)$$

# %%
from torch.utils.flop_counter import FlopCounterMode

N, D = 10, 48
block = EncoderBlock(D, num_heads=4)
counter = FlopCounterMode(display=False)
# While recording, attention takes the explicit path, which every version of the counter sees.
with torch.no_grad(), counter, record_attention(block):
    block(torch.randn(1, N, D))
by_hand = 2 * (12 * N * D**2 + 2 * N**2 * D)
print("counted:", counter.get_total_flops(), " by hand:", by_hand)

# %% [markdown]
# > **Predict.** Attention is known for its $N^2$. In ViT-B, with 197 tokens and $D = 768$, what share of the operations of a block are the two terms with $N^2$?

# %% tags=["hide-output"]
N, D = 197, 768
print(f"{2 * N**2 * D / (12 * N * D**2 + 2 * N**2 * D):.1%}")
print("both halves are equal at N =", 6 * D)

# %% [markdown]
# 4 %. The square matters when there are many tokens, and 197 are few: it takes $6D = 4608$ tokens until scores and averages cost as much as all the linear layers. That is an image of more than 1000 pixels a side, in patches of 16.

# %% [markdown]
# ## All together: an encoder that sorts
#
# Back to the sorting task, with small encoders. To know which number comes to place 3, the model has to compare all ten: nothing that a token could do alone.

# %%
sorters = {}
for depth in (1, 2):
    torch.manual_seed(0)
    sorters[depth] = Sorter([EncoderBlock(WIDTH, HEADS) for _ in range(depth)])
    train(sorters[depth], steps=600, lr=3e-3)
sorter = sorters[2]
print("one block, at least 95 % of the places right: ", accuracy(sorters[1]) > 0.95)
print("two blocks, at least 99 % of the places right:", accuracy(sorter) > 0.99)

numbers = torch.tensor([[7, 2, 9, 4, 13, 0, 11, 5, 15, 3]])
with torch.no_grad():
    print(numbers[0].tolist(), "->", sorter(numbers).argmax(-1)[0].tolist())

# %% [markdown]
# A few seconds of training. How does it do it? Record the attention of 1000 sequences, average over heads and sequences, and look where each place of the output reads. But what should the columns be? The *place* of a number in the input says nothing
# about where it has to go. Its *rank* does: 0 for the smallest of the ten, 9 for the largest.
#
# > **Predict.** Row = place in the output, column = rank of the number that it reads. What would you like to see?

# %% tags=["hide-output"]
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
    viz.heatmap(
        picture, ax, title=title, rows=range(10), columns=range(10), limits=(0, 0.6)
    )
    ax.set(xlabel=f"{title.split()[-1]} of the number read")
axes[0].set(ylabel="place in the output")
plt.show()

most = by_rank[1].argmax(dim=-1)  # the rank that each place reads most from
assert ((most - torch.arange(10)).abs() <= 1).all()

# %% [markdown]
# By place there is nothing to see. By rank, block 2 shows a diagonal: place 3 reads from numbers of rank 3, and their neighbours. In block 1 all places look nearly everywhere, on average. With two blocks, then, the looking-up
# happens in the second. That is *where* the model looks, not yet *how* it knows. (It does not even need two: one block alone gets more than 95 % right.) Chapter 13 is about this difference.

# %% [markdown]
# ### One part at a time
#
# Now break it. Below, a block that can leave out one of its parts. Train six kinds of encoder: the full one, and without positions, attention, MLP, residuals, norms.
#
# > **Predict.** Sort the five by how badly you think they are missed. Does your order change between 2 blocks and 24?


# %% tags=["hide-output"]
class PartialBlock(EncoderBlock):
    """A pre-norm block without one of its parts: "positions", "attention", "MLP", "residual", "norm" or "nothing"."""

    def __init__(self, dim, num_heads, without="nothing"):
        super().__init__(dim, num_heads)
        self.without = without
        if without == "norm":
            self.norm1, self.norm2 = nn.Identity(), nn.Identity()

    def forward(self, x):
        keep = 0.0 if self.without == "residual" else 1.0
        if self.without != "attention":
            x = keep * x + self.attn(self.norm1(x))
        if self.without != "MLP":
            x = keep * x + self.mlp(self.norm2(x))
        return x


def sorter_without(part, depth):
    blocks = [PartialBlock(WIDTH, HEADS, part) for _ in range(depth)]
    return Sorter(blocks, last_norm=part != "norm", positions=part != "positions")


part, depth = "positions", 2  # put another part here, or another depth
torch.manual_seed(0)
broken = sorter_without(part, depth)
train(broken, steps=150, lr=3e-3)
share = 10 * round(10 * accuracy(broken))  # a point more or less is the machine
print(f"{depth} blocks without {part}, 150 steps: about {share} % right")

# %% [markdown]
# All of them, with 2, 8 and 24 blocks, three random starts each, 600 steps, from the record:

# %% tags=["hide-input"]
#| alt: Accuracy after training for the full encoder and without norm, MLP, residual, attention or positions, at 2, 8 and 24 blocks, three runs each. Nothing missing, without norm and without MLP: all above 0.94. Without residual: 0.99 with 2 blocks, at the level of guessing with 8 and 24. Without attention just below 0.3 and without positions 0.23, at every depth.
record = load_record("encoder_ablation")
parts = ["nothing", "norm", "MLP", "residual", "attention", "positions"]

_, ax = plt.subplots(figsize=(7, 3.5))
for depth, color, marker, shift in (
    (2, viz.VALUE, "o", -0.2),
    (8, viz.KEY, "s", 0.0),
    (24, viz.QUERY, "^", 0.2),
):
    runs = [run for run in record["runs"] if run["depth"] == depth]
    places = [
        parts.index(run["without"]) + shift + 0.05 * (run["seed"] - 1)
        for run in runs
    ]
    ax.plot(
        places,
        [run["accuracy"] for run in runs],
        marker,
        color=color,
        alpha=0.8,
        label=f"{depth} blocks",
    )
ax.axhline(1 / NUMBERS, color=viz.MUTED, linestyle=":", lw=1.5)
ax.text(-0.4, 1 / NUMBERS + 0.03, "guessing", color=viz.MUTED)
ax.set(
    ylabel="places right",
    ylim=(0, 1.05),
    xlim=(-0.5, 5.5),
    xlabel="without",
    xticks=range(6),
    xticklabels=parts,
)
ax.legend(loc="center left", bbox_to_anchor=(0, 0.55))
plt.show()

# %% [markdown]
# Go through the columns from the right.
#
# * **Positions and attention** are missed at every depth. Without positions the encoder is equivariant: equal numbers get equal answers, wherever they should go. The best that is left is to name the commonest number everywhere, 23 %. Without attention, each token knows its own number and its
#   place, and has to guess the rest from that: just below 30 %.
# * **The residual** is the surprise. With two blocks it is hardly missed, 99 %. With eight, nothing is learned at all. Remember the first picture: after two layers a trace of difference between the tokens is left, which training can enlarge; a few layers
#   further down there is nothing to enlarge. A short stack can do without the stream, a deep one cannot.
# * **The MLP** is missed a little, most where there are few blocks: 95 to 98 % with two, over 99 % with 24. In this task most of the work is comparing, and attention does that.
# * **The norm** (all of them, the last one included) seems not to be needed. With 24 blocks the encoder makes 0.4 to 1 % mistakes without it, and at most 0.03 % with it: a difference that you see in the numbers, not in the picture.
#
# Does that mean that a ViT needs no norm? No. It means that *this* encoder, narrow, started with small weights, on *this* task, can do without. An ablation answers the question that it was asked, at the depth and for the task at which it was asked.
# Look at the residual once more: had we tried two blocks only, we would have concluded that it is decoration.

# %% [markdown]
# ## Three to think about
#
# No code, a pencil.
#
# 1. Let $a > 0$. Show that LayerNorm gives the same for $a x + b$ as for $x$ if $\varepsilon = 0$. What happens with $\varepsilon > 0$ when $a$ is very small?
# 2. In a pre-norm block, $\gamma$ and $\beta$ of `norm1` are followed at once by the linear layer `qkv`. Change the weights of `qkv` so that `norm1` can do without them. Why does this not work in a post-norm block?
# 3. How many parameters do ViT-B's twelve blocks and its last norm have together? All of ViT-B/16 has 86,567,656. How much is left for everything else?
#
# <details>
# <summary>Answers</summary>
#
# 1. The mean becomes $a\mu + b$ and the standard deviation $a\sigma$, so $(ax + b - a\mu - b)/(a\sigma) = (x - \mu)/\sigma$. With $\varepsilon$ the root is $\sqrt{a^2\sigma^2 + \varepsilon}$. When $a^2\sigma^2$ is much smaller than $\varepsilon$, the result shrinks towards 0.
# 2. With $\hat x$ the normalised token, `qkv` computes $(\gamma \cdot \hat x + \beta)\,W + b = \hat x\,(\operatorname{diag}(\gamma)\, W) + (\beta W + b)$, so take $\operatorname{diag}(\gamma) W$ as weights and $\beta W + b$ as bias. In a post-norm block the normalised token also goes on along the stream, where there is no weight to take $\gamma$ and $\beta$ over.
# 3. $12 \cdot 7\,087\,872 + 2 \cdot 768 = 85\,056\,000$. There are 1,511,656 left, for the patches, the positions, the class token and the head. You will count them in chapter 6.
#
# </details>

# %% [markdown]
# ## What you take with you
#
# * Attention alone makes tokens alike. **The addition keeps them apart much longer**: the output is the input plus everything that was written into the stream.
# * **LayerNorm works within a token**, over its features: not over tokens, not over the batch. It divides by $D$, and $\varepsilon = 10^{-6}$ stands under the root.
# * **Attention mixes, the MLP works on each token.** Two thirds of the parameters are in the MLP. GELU is $x\,\Phi(x)$, with `erf`.
# * **Pre-norm leaves the stream free**: $x + f(\operatorname{norm}(x))$. The stream grows with depth, so there is a last norm, and the loss reacts less to the last blocks. Post-norm needs gentler treatment: warm-up.
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
