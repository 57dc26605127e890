# %% [markdown]
# # Multi-head attention
#
# | Goal | Before you start | Time | Runs on |
# |:--|:--|:--|:--|
# | Write multi-head attention, know what each head can and cannot do, and look at all of them | Chapter 1 | 80 minutes | any CPU |
#
# In chapter 1 each token had one row of weights, so it looked at the others in one way. This chapter gives it several rows at once,
# called **heads**. By the end you have written the attention layer of the Vision Transformer and held it against PyTorch's. You have
# also trained a layer with one head and with two, and switched a head off to see what it was for.
#
# Most of the code is reshaping, and a wrong reshape raises no error. So the shapes get as much room here as the idea.

# %% tags=["setup"]
import copy

import matplotlib.pyplot as plt
import torch
import torch.nn.functional as F
from einops import rearrange
from matplotlib.colors import ListedColormap
from torch import nn

from course_lib import attention, viz
from course_lib.attention import MultiHeadSelfAttention
from course_lib.interpret import record_attention
from course_lib.records import load_record

viz.set_style()
torch.set_num_threads(1)  # the models here are tiny: more threads only wait

# %% [markdown]
# ## One row, one look
#
# A row of weights sums to 1. A token that wants to look at two places has to share that 1 between them, and what it gets is the sum of the two
# values. Here are two values, once as left and right neighbour, once the other way round:

# %%
one, other = torch.tensor([4.0, 0.0]), torch.tensor([0.0, 2.0])
print("one on the left: ", (0.5 * one + 0.5 * other).tolist())
print("one on the right:", (0.5 * other + 0.5 * one).tolist())

# %% [markdown]
# A sum does not record who contributed what. So let us set a task in which that matters: **name both neighbours.** The input is 14 symbols. For each place the
# model must name the symbol before it *and* the symbol after it. The sequence is a ring, so that the ends have neighbours too.


# %%
def neighbours(symbols):
    """Symbols (B, N) -> the previous and the next symbol of each place (B, N, 2)."""
    return torch.stack([symbols.roll(1, dims=1), symbols.roll(-1, dims=1)], dim=-1)


example = torch.tensor([[3, 1, 4, 8, 5]])
previous, following = neighbours(example).unbind(-1)
print("symbols ", example[0].tolist())
print("previous", previous[0].tolist())
print("next    ", following[0].tolist())

# %% [markdown]
# The model is the one of chapter 1: symbols become vectors, learned positions are added, one attention layer, one linear readout. The layer is
# the block that you are about to build. For now, know only that `num_heads` says how many rows of weights a token gets, and that `record_attention`
# hands out those weights.

# %%
NUM_SYMBOLS, LENGTH, WIDTH = 10, 14, 32


class Neighbours(nn.Module):
    """Symbols (B, 14) -> scores for the previous and the next symbol (B, 14, 2, 10)."""

    def __init__(self, num_heads, readout=None):
        super().__init__()
        self.symbol = nn.Embedding(NUM_SYMBOLS, WIDTH)
        self.position = nn.Parameter(torch.randn(LENGTH, WIDTH))
        self.attn = MultiHeadSelfAttention(WIDTH, num_heads)
        self.readout = readout or nn.Linear(WIDTH, 2 * NUM_SYMBOLS)

    def embed(self, symbols):
        return self.symbol(symbols) + self.position  # (B, 14, 32)

    def forward(self, symbols):
        scores = self.readout(self.attn(self.embed(symbols)))  # (B, 14, 20)
        return scores.unflatten(-1, (2, NUM_SYMBOLS))


def train(model, steps=300):
    """Teach the model to name both neighbours: about a second on a laptop."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    for _ in range(steps):
        symbols = torch.randint(NUM_SYMBOLS, (64, LENGTH))
        scores = model(symbols).flatten(0, 2)
        loss = F.cross_entropy(scores, neighbours(symbols).flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


@torch.no_grad()
def test(model):
    """Share of right answers on 1000 new sequences: for the previous symbol, for the next."""
    symbols = torch.randint(NUM_SYMBOLS, (1000, LENGTH))
    right = model(symbols).argmax(-1) == neighbours(symbols)
    return right.float().mean((0, 1)).tolist()


@torch.no_grad()
def average_maps(model):
    """The attention map of each head (H, 14, 14), averaged over 1000 sequences."""
    with record_attention(model) as maps:
        model(torch.randint(NUM_SYMBOLS, (1000, LENGTH)))
    return maps[0].mean(0)


# %% [markdown]
# > **Predict.** Train it twice: with one head of width 32, and with two heads of width 16. Both have the same number of parameters. One of them
# > gets every answer right. What share does the other get right: 10 %, which is blind guessing (chance level), half, or nearly all? And what will the three maps look like?

# %% tags=["hide-input", "hide-output"]
torch.manual_seed(3)
one_head = Neighbours(num_heads=1)
train(one_head)

torch.manual_seed(3)
two_heads = Neighbours(num_heads=2)
train(two_heads)

count = [sum(p.numel() for p in m.parameters()) for m in (one_head, two_heads)]
assert count[0] == count[1]
print(f"parameters: {count[0]:,} and {count[1]:,}")


def band(share):
    """Roughly how much is right: single points differ from machine to machine."""
    names = {0.99: "at least 99 %", 0.65: "65 to 99 %", 0.5: "50 to 65 %"}
    return next((names[low] for low in names if share >= low), "less than half")


shares = [sum(test(model)) / 2 for model in (one_head, two_heads)]
print(f"one head: {band(shares[0])} right, two heads: {band(shares[1])}")
assert 0.5 < shares[0] < 0.65 and shares[1] > 0.99

# %% tags=["hide-input", "hide-output"]
#| alt: Three 14 by 14 heat maps. The one head has two half-bright lines beside the diagonal, one on each side. Of the two heads, one has a single dark line just below the diagonal, with its last cell in the top right corner, and the other a single dark line just above it, with its last cell in the bottom left corner.
torch.manual_seed(4)
(blurred,) = average_maps(one_head)
maps = average_maps(two_heads)
places = torch.arange(LENGTH)
looks_back = maps[:, places, places - 1].mean(
    -1
)  # (2,), weight on the place before
back, ahead = looks_back.argsort(descending=True).tolist()  # which head is which

ticks = ["" if i % 2 else i for i in range(LENGTH)]
_, axes = plt.subplots(1, 3, figsize=(9, 3.5))
for ax, weights, title in zip(
    axes,
    (blurred, maps[back], maps[ahead]),
    ("one head", "two heads: one looks back …", "… and one ahead"),
):
    viz.heatmap(weights, ax, title=title, rows=ticks, columns=ticks)
    ax.set(xlabel="place it reads (key)", ylabel="place it writes (query)")
plt.show()

assert (maps[back][places, places - 1] > 0.8).all()
assert (maps[ahead][places, (places + 1) % LENGTH] > 0.8).all()
sides = blurred[places, places - 1], blurred[places, (places + 1) % LENGTH]
quiet, loud = sorted(side.mean().item() for side in sides)
assert 0.3 < quiet < 0.45 < loud < 0.6

# %% [markdown]
# **The two diagonals.** Nobody told the heads to share the work. One reads the place before (the line below the diagonal), the other the place after (the
# line above it). The lone cells in the corners are the ring closing. The single head here keeps both lines in one map, each at about half strength.
#
# What does it know, then? Look at its mistakes.

# %%
torch.manual_seed(6)
with torch.no_grad():
    symbols = torch.randint(NUM_SYMBOLS, (1000, LENGTH))
    answers, targets = one_head(symbols).argmax(-1), neighbours(symbols)

swapped = targets.flip(-1)  # the next symbol where the previous one is asked for
mistakes = answers != targets
other_one = (answers == swapped)[mistakes].float().mean().item()
print(f"mistakes that name the other neighbour: {band(other_one)}")

low, high = sorted((~mistakes).float().mean((0, 1)).tolist())
print("one question: over 90 % right, the other: under 25 %")
assert high > 0.9 and low < 0.25
twice = (answers[..., 0] == answers[..., 1]).float().mean().item()
print("the same answer to both questions: over 85 %")
assert twice > 0.85

# %% [markdown]
# When it is wrong, it names the symbol on the other side. So this model knows *which* two symbols stand beside it, but not which is on which side. (The learned positions do not help: their share of the sum is the same, whichever symbol stands where.) If it tossed a coin between the two, it would be right in half of the cases, and always in the one case of ten
# in which both neighbours are the same symbol: $0.9 \cdot 0.5 + 0.1 \cdot 1 = 55\,\%$. That is about what it reaches.
#
# It does not toss a coin, though. Its weights are not quite equal, about 0.5 and 0.4, so the symbol on one side counts for more in the sum. Call that side the *louder* one. The readout names the louder symbol, mostly for **both**
# questions: one of them is then nearly always right, the other nearly always wrong. A larger difference would not help: to answer the second question, the quieter symbol would have to win every time.
#
# <details>
# <summary>Why no linear readout can name the quiet one</summary>
#
# Say one side has weight 0.6 and the other 0.4. Let $f_k(s)$ be the score of answer $k$ if symbol $s$ had all the weight. The readout is linear, so with $a$ at 0.6 and $b$ at 0.4
# the score of answer $k$ is $0.6 f_k(a) + 0.4 f_k(b)$. Ask for the symbol at weight 0.4.
#
# If both are $a$, the answer must be $a$, so $u = f_a(a) - f_b(a) > 0$. Likewise $w = f_b(b) - f_a(b) > 0$.
#
# If $a$ is loud and $b$ quiet, the answer must be $b$: $0.4\,w > 0.6\,u$. If $b$ is loud and $a$ quiet: $0.4\,u > 0.6\,w$.
#
# Together $w > 1.5\,u > 2.25\,w$, which is impossible for a positive $w$. (This takes the weights to depend on the place alone. In the trained model
# they depend a little on the symbols as well, which is why we measure too.)
#
# </details>
#
# Is it the seed, perhaps? And does it have to be a linear readout?
#
# > **Predict.** Give the one head a readout with a hidden layer, which is not linear. Does it still fail?

# %% tags=["hide-input", "hide-output"]
for seed in (0, 1, 2):
    torch.manual_seed(seed)
    model = Neighbours(num_heads=1)
    train(model)
    assert 0.5 < sum(test(model)) / 2 < 0.65
print("one head, three other seeds: 50 to 65 % right")

torch.manual_seed(4)
hidden = nn.Sequential(
    nn.Linear(WIDTH, 64), nn.GELU(), nn.Linear(64, 2 * NUM_SYMBOLS)
)
model = Neighbours(num_heads=1, readout=hidden)
train(model)
share = sum(test(model)) / 2
print(f"one head and a hidden layer: {band(share)} right")
assert share > 0.99

(weights,) = average_maps(model)
before = weights[places, places - 1].mean().item()
after = weights[places, (places + 1) % LENGTH].mean().item()
assert max(before, after) > 1.5 * min(before, after)  # one side is clearly louder

# %% [markdown]
# With help, one head manages: it makes one neighbour clearly louder than the other, and the hidden layer works out from the loudness which is which. So the honest
# statement is not "one head cannot". It is: **one head adds up what it reads, and somebody later has to take the sum apart. Two heads
# read apart.** Each has columns of its own, and the next linear layer can read either.
#
# (Another seed may give up one side altogether and name the other perfectly. That makes 55 % too.)
#
# [Vaswani et al. (2017)](https://arxiv.org/abs/1706.03762), section 3.2.2, give this reason for heads: they attend to different positions, in different subspaces, and a single head
# averages that away. You have seen the positions. Now the subspaces.

# %% [markdown]
# ## Heads are slices of $D$
#
# A head is one attention, as in chapter 1, with projections of its own. There are $H$ of them, numbered from 0, and each works in a width of only
#
# $$d = D / H.$$
#
# Head $h$ has three matrices $W_Q^h, W_K^h, W_V^h$ of shape $(D, d)$. The outputs of all heads are laid side by side (*concatenated*), which gives width $H d = D$ again, and a
# last matrix $W_O$ of shape $(D, D)$ mixes them:
#
# $$\text{head}_h = \operatorname{Attention}(X W_Q^h,\; X W_K^h,\; X W_V^h), \qquad
#   \text{output} = [\,\text{head}_0 \;|\; \dots \;|\; \text{head}_{H-1}\,]\; W_O$$
#
# Drawn to scale for 5 tokens, $D = 12$ and $H = 3$, so $d = 4$:


# %% tags=["hide-input"]
#| alt: Three rows, one per head. In each row, Q of 5 by 4 cells times K transposed of 4 by 5 gives weights of 5 by 5, which times V of 5 by 4 give a head of 5 by 4. The three heads are laid side by side into one matrix of 5 by 12. Times W_O, 12 by 12, that gives the output, 5 by 12.
_, ax = plt.subplots(figsize=(8, 3.7))
for h, y in enumerate((8.5, 0, -8.5)):
    viz.draw_matrix(ax, 0, 5, 4, viz.QUERY, f"$Q^{h}$", y=y)
    viz.draw_matrix(ax, 6, 4, 5, viz.KEY, rf"$K^{{{h}\top}}$", y=y)
    viz.draw_matrix(ax, 15, 5, 5, viz.KEY, "weights", y=y)
    viz.draw_matrix(ax, 22, 5, 4, viz.VALUE, f"$V^{h}$", y=y)
    viz.draw_matrix(ax, 28, 5, 4, viz.OUTPUT, f"head$_{h}$", y=y)
    for x, sign in ((5, "@"), (21, "@"), (27, "=")):
        ax.text(x, y, sign, ha="center", va="center", fontsize=12)
    ax.annotate("", (14.6, y), (11.4, y), arrowprops={"arrowstyle": "->"})
    ax.text(13, y + 0.7, "softmax", ha="center", fontsize=7)
    ax.annotate("", (36.6, y / 4), (32.5, y), arrowprops={"arrowstyle": "->"})
viz.draw_matrix(ax, 37, 5, 12, viz.OUTPUT, "side by side")
viz.draw_matrix(ax, 51, 12, 12, viz.MUTED, "$W_O$")
viz.draw_matrix(ax, 65, 5, 12, viz.OUTPUT, "output")
ax.vlines((41, 45), -2.5, 2.5, color=viz.INK, lw=1.5)  # where one head ends
for x, sign in ((50, "@"), (64, "=")):
    ax.text(x, 0, sign, ha="center", va="center", fontsize=12)
ax.set(xlim=(-0.5, 77.5), ylim=(-12, 13.5), aspect="equal")
ax.axis("off")
plt.show()

# %% [markdown]
# Why $D/H$, and not $D$ for each?
#
# > **Predict.** From 1 head to 8 heads at $D = 24$: how do the number of parameters and the number of operations change?

# %% tags=["hide-input", "hide-output"]
from torch.utils.flop_counter import FlopCounterMode

B, N, D = 2, 5, 24
for H in (1, 2, 4, 8):
    layer = MultiHeadSelfAttention(D, num_heads=H)
    counter = FlopCounterMode(display=False)
    # Recording runs the explicit softmax: older versions miss the fused one.
    with record_attention(layer), counter:
        layer(torch.randn(B, N, D))
    parameters = sum(p.numel() for p in layer.parameters())
    operations = counter.get_total_flops()
    print(
        f"H = {H}, d = {D // H:2}: {parameters:,} parameters, {operations:,} operations"
    )

    assert parameters == 4 * D * D + 4 * D  # q, k, v and proj, with biases
    # four projections, then scores and averages: H heads of width d make D
    assert operations == 2 * B * (4 * N * D * D + 2 * N * N * D)

# %% [markdown]
# Not at all: the $H$ matrices $W_Q^h$, side by side, are one matrix of shape $(D, D)$, whatever $H$ is. **Heads split $D$; they do not multiply it.** Eight heads of width 24 would be eight times as many projections, and a different layer. (The counter counts
# matrix products. The softmax does grow: there are $H N^2$ weights instead of $N^2$.)
#
# ### The same sum, cut earlier
#
# What do the heads change, if the matrices are the same? The score of one wide head is a sum of $D$ products. Cut that sum into $H$ pieces, and each piece is
# the score of a narrow head.

# %%
torch.manual_seed(5)
N, D, H = 5, 24, 4
d = D // H
q, k = torch.randn(2, N, D, dtype=torch.float64).unbind(0)

wide = q @ k.T  # (5, 5), 24 products in each score
pieces = [q[:, h * d : (h + 1) * d] @ k[:, h * d : (h + 1) * d].T for h in range(H)]
print(
    "the heads' scores add up to the wide one:", torch.allclose(sum(pieces), wide)
)

# %% [markdown]
# The products are the same, and what differs is where you stop adding. One head adds up all 24 and takes one softmax. Four heads stop after 6 products each and take four: each head finds its own favourites.
#
# How much can such a narrow head ask? Without biases, its scores are $X W_Q^h (W_K^h)^\top X^\top$. In the middle stands a $(D, D)$ matrix that is
# made of a $(D, d)$ and a $(d, D)$ one, so its rank is at most $d$ (it is a *low-rank* matrix): it can tell queries apart in $d$ directions only, and keys in $d$. Two tokens that differ
# along a direction to which the queries are blind ask the same.

# %%
torch.manual_seed(7)
W_Q, W_K = torch.randn(2, D, D, dtype=torch.float64).unbind(0)


def score_matrix(h):
    """The matrix between the tokens in the scores of head h: (D, D)."""
    columns = slice(h * d, (h + 1) * d)
    return W_Q[:, columns] @ W_K[:, columns].T


ranks = [torch.linalg.matrix_rank(score_matrix(h)).item() for h in range(H)]
print(
    "rank with one head of width 24: ", torch.linalg.matrix_rank(W_Q @ W_K.T).item()
)
print("rank with each of 4, of width 6:", ranks)

X = torch.randn(N, D, dtype=torch.float64)
blind = torch.linalg.svd(W_Q[:, :d]).U[:, -1]  # (24,), orthogonal to W_Q of head 0
same = (X + blind) @ score_matrix(0) @ X.T, X @ score_matrix(0) @ X.T
assert torch.allclose(*same, rtol=0, atol=1e-10)

# %% tags=["hide-input"]
#| alt: Singular values of the score matrices, sorted, against their number from 1 to 24. For one head of width 24 they fall slowly from 56 and reach 0 only at the end. For each of four heads of width 6 they start near 40 and are 0 from the seventh on.
_, ax = plt.subplots(figsize=(6, 2.7))
numbers = range(1, D + 1)
for h in range(H):
    ax.plot(
        numbers,
        torch.linalg.svdvals(score_matrix(h)),
        "s--",
        color=viz.QUERY,
        alpha=0.6,
        markersize=4,
        label="each of 4 heads of width 6" if h == 0 else None,
    )
ax.plot(
    numbers,
    torch.linalg.svdvals(W_Q @ W_K.T),
    "o-",
    color=viz.KEY,
    label="one head of width 24",
)
ax.axvline(d + 0.5, color=viz.MUTED, lw=1, ls=":")
ax.set(
    xlabel="direction, sorted",
    ylabel="strength (singular value)",
    xticks=(1, 6, 12, 18, 24),
)
ax.legend()
plt.show()

# %% [markdown]
# Each head looks in 6 directions of the 24 and nowhere else. That is the trade: **many narrow questions instead of one wide one.**
#
# ### Which width goes under the root?
#
# > **Predict.** ViT-B has $D = 768$ and 12 heads of width 64. Its scores are dot products within a head. What is their standard deviation if you divide by
# > $\sqrt{64}$, and if you divide by $\sqrt{768}$?

# %% tags=["hide-output"]
torch.manual_seed(11)
q, k = torch.randn(2, 12, 197, 64)  # 12 heads, 197 tokens, width 64
scores = q @ k.transpose(-2, -1)  # (12, 197, 197)
for name, width in (("d", 64), ("D", 768)):
    scaled = scores / width**0.5
    largest = scaled.softmax(dim=-1).amax(dim=-1).mean()
    print(
        f"divided by sqrt({name}): spread {scaled.std():.1f}, largest weight {largest:.2f}"
    )

# %% [markdown]
# It is $\sqrt d$, the width of a *head*: the argument of chapter 1 counts the products in one dot product, and there are $d$ of them. With $\sqrt D$ the scores
# are $\sqrt{H} = \sqrt{12} \approx 3.5$ times too small, and the favourite of 197 keys gets 0.01, near the plain average's $1/197 \approx 0.005$. Nothing fails, no shape is wrong.

# %% [markdown]
# ## Cutting and joining
#
# In code there are no separate matrices per head. One projection makes all $D$ columns of $Q$, and then they are *cut*: head $h$ gets columns $hd$ to $(h+1)d - 1$.
# So that all heads attend in one matrix product, they get a dimension of their own, **in front of the tokens**, where the batch is:
#
# $$(B, N, D) \;\to\; (B, H, N, d)$$
#
# There, chapter 1's function takes them for more of a batch: `(..., N, d)`. It needs no change.
#
# The tool for this is [einops](https://einops.rocks). It takes a pattern that says what each dimension is called, before and after:

# %%
x = torch.arange(24).reshape(3, 8)  # 3 tokens, 8 columns
print(tuple(rearrange(x, "N (H d) -> N H d", H=2).shape))
print(tuple(rearrange(x, "N (H d) -> d N H", H=2).shape))

# %% [markdown]
# Read the first one aloud: *"There are N tokens. Their columns are H groups of d. Give the groups a dimension of their own."* The brackets say that the 8 columns are made of two dimensions,
# and the order inside says how: `(H d)` is group after group, 0 0 0 0 1 1 1 1. `(d H)` would deal the columns out like cards, 0 1 0 1 0 1 0 1. Names that change places, as in the second line, are
# *moved*: every number travels with its names.
#
# `view` and `reshape` do not know names. They lay all numbers in one line, in the order of memory, and fill the new shape from it. To cut a dimension in two, or to join two that stand side by side, that is all it takes. To *move* one, it is not.
#
# > **Predict.** Three tokens a, b, c with 8 columns each, to be cut into 2 heads: shape `(3, 8)` to `(2, 3, 4)`. Somebody writes `x.view(2, 3, 4)`. There is no error. What does head 0 get?

# %% tags=["hide-output"]
#| alt: A table of 3 tokens, a, b, c, by 8 columns: a0 to a7, b0 to b7, c0 to c7. The first four columns are light, the last four dark. Right: head 0 holds the light half of each token, a0 to a3, b0 to b3, c0 to c3, and head 1 the dark half. By view: head 0 holds a0 to a3, a4 to a7 and b0 to b3, head 1 holds b4 to b7, c0 to c3 and c4 to c7, so light and dark are mixed.
right = torch.stack([x[:, :4], x[:, 4:]])  # (2, 3, 4), cut column by column
wrong = x.view(2, 3, 4)


def draw_entries(ax, numbers, title):
    """A table of the numbers 0 to 23, each written as token and column; dark = columns 4 to 7."""
    viz.heatmap(
        numbers % 8 // 4,
        ax,
        title=title,
        cmap=ListedColormap([viz.LINE, viz.MUTED]),
    )
    rows, columns = numbers.shape
    ax.hlines(
        torch.arange(1, rows) - 0.5, -0.5, columns - 0.5, color=viz.PAPER, lw=1
    )
    ax.vlines(
        torch.arange(1, columns) - 0.5, -0.5, rows - 0.5, color=viz.PAPER, lw=1
    )
    for (i, j), number in zip(
        torch.cartesian_prod(*map(torch.arange, numbers.shape)), numbers.flatten()
    ):
        token, column = divmod(int(number), 8)
        color = viz.PAPER if column >= 4 else viz.INK
        ax.text(
            j, i, f"{'abc'[token]}{column}", ha="center", va="center", color=color
        )


_, axes = plt.subplot_mosaic(
    [["x", "x"], ["r0", "r1"], ["w0", "w1"]],
    figsize=(4.4, 5.3),
)
draw_entries(axes["x"], x, "x: 3 tokens, 8 columns")
for h in range(2):
    draw_entries(axes[f"r{h}"], right[h], f"cut right: head {h}")
    draw_entries(axes[f"w{h}"], wrong[h], f"x.view(2, 3, 4): head {h}")
plt.show()

# %% [markdown]
# Cut right, head 0 has the first half of *every* token. By `view` alone, head 0 has all of token a and half of b, as if these were three tokens. It has never seen c. The shape is the same, `(2, 3, 4)`.
#
# So a cut takes two steps: first give the groups a dimension, `(3, 2, 4)`, which `view` does right; then move it to the front.

# %% [markdown]
# ### Exercise 2.1 · `split_heads`
#
# *Easy, 5 minutes.* Write `split_heads(x, num_heads)`.
#
# * `x` is `(B, N, D)`, and `num_heads` $= H$ divides $D$.
# * The result is `(B, H, N, d)` with $d = D/H$. Head $h$ holds columns $hd$ to $(h+1)d - 1$ of every token.
# * Use einops, or PyTorch's own reshaping; the course's `attention.split_heads` is refused, and so is `attention.merge_heads` in the next exercise. Stay with tensors, here and in the next two exercises: gradients must pass through.


# %% tags=["exercise"]
def split_heads(x, num_heads):
    """Cut the columns into heads: (B, N, D) -> (B, H, N, d), d = D / H."""
    # BEGIN SOLUTION
    B, N, D = x.shape
    x = x.reshape(B, N, num_heads, D // num_heads)  # (B, N, H, d)
    return x.transpose(1, 2)  # (B, H, N, d)
    # END SOLUTION


# %% tags=["check"]
from course_lib.checks import check_split_heads

check_split_heads(split_heads)

# %% [markdown] tags=["help"]
# <details>
# <summary>Hint</summary>
#
# Two steps: $(B, N, D) \to (B, N, H, d) \to (B, H, N, d)$. The first is a `reshape`. The second changes the order, which only `transpose`, `permute` or a pattern can do.
# With einops it is one pattern: on the left the columns are a bracket, on the right `H` stands after `B`.
#
# </details>
#
# <details>
# <summary>I get “shape '[…]' is invalid for input of size …”</summary>
#
# The new sizes must multiply to the old ones. Check that you wrote $D / H$ with `//` (a width is an integer), and that all of $B$, $N$, $H$ and $d$ are there.
#
# </details>
#
# <details>
# <summary>I get “too many values to unpack”</summary>
#
# `x.shape` has three entries: `B, N, D = x.shape`.
#
# </details>

# %% [markdown]
# ### Exercise 2.2 · `merge_heads`
#
# *Easy, 5 minutes.* The way back: write `merge_heads(x)`.
#
# * `x` is `(B, H, N, d)`; the result is `(B, N, H·d)`.
# * Each token gets its heads side by side, head 0 first. So `merge_heads(split_heads(x, H))` is `x` again.


# %% tags=["exercise"]
def merge_heads(x):
    """Lay the heads of each token side by side: (B, H, N, d) -> (B, N, H·d)."""
    # BEGIN SOLUTION
    B, H, N, d = x.shape
    return x.transpose(1, 2).reshape(B, N, H * d)
    # END SOLUTION


# %% tags=["check"]
from course_lib.checks import check_merge_heads

check_merge_heads(merge_heads)

# %% [markdown] tags=["help"]
# <details>
# <summary>Hint</summary>
#
# The two steps of `split_heads`, undone in the opposite order: first move the heads back behind the tokens, $(B, N, H, d)$, then join the last two dimensions.
#
# </details>
#
# <details>
# <summary>I get “view size is not compatible with input tensor's size and stride”</summary>
#
# `transpose` moves no number. It only notes that the dimensions are to be read in another order. `view` cannot join dimensions that do not lie next to each other in memory. `reshape` makes a copy when it has to;
# `.contiguous().view(…)` does the same in two words. Here the error is a friend: without the `transpose`, `view` would have worked, and been wrong.
#
# </details>

# %% [markdown]
# The course's own versions are one pattern each, and begin with `attention.` as before. How wrong is the shortcut that leaves out the move?

# %%
torch.manual_seed(13)
B, N, D, H = 2, 5, 12, 3
x = torch.randn(B, N, D)
heads = attention.split_heads(x, H)
print("split", tuple(x.shape), "->", tuple(heads.shape))
print("merged again, equal to x:", torch.equal(attention.merge_heads(heads), x))

shortcut = heads.reshape(B, N, D)
print("shortcut, same shape:", shortcut.shape == x.shape)
print(f"shortcut, numbers in the wrong place: {(shortcut != x).float().mean():.0%}")

# %% [markdown]
# ## One `Linear` for $Q$, $K$ and $V$
#
# All three projections read the same tokens. So they are packed into one layer, `qkv`, from $D$ to $3D$ columns: one large matrix product instead of three. The first $D$
# columns of its output are $Q$, then come $K$ and $V$.
#
# Before you take it apart, one trap. This course writes $X W$, with tokens as rows. `nn.Linear` stores its weight the other way round and computes
#
# $$\texttt{linear(x)} = x\, W^\top + b, \qquad W \text{ of shape } (\text{out}, \text{in}).$$
#
# So what are *columns* of the output are *rows* of `weight`. For a square matrix a forgotten transpose raises no error.

# %%
torch.manual_seed(17)
layer = MultiHeadSelfAttention(D, H).double()
x = torch.randn(B, N, D, dtype=torch.float64)  # (2, 5, 12)
print(
    "qkv.weight",
    tuple(layer.qkv.weight.shape),
    " proj.weight",
    tuple(layer.proj.weight.shape),
)

qkv = layer.qkv(x)  # (2, 5, 36)
q, k, v = qkv.chunk(3, dim=-1)  # each (2, 5, 12)
for name, part, start in (("q", q, 0), ("k", k, D), ("v", v, 2 * D)):
    rows = slice(start, start + D)
    by_hand = x @ layer.qkv.weight[rows].T + layer.qkv.bias[rows]
    print(
        f"{name} comes from rows {start:2} to {start + D - 1}:",
        torch.allclose(part, by_hand),
    )

# %% [markdown]
# The 36 columns hold 3 roles × 3 heads × 4. There are two sensible orders for them, and both are in use:
#
# * **q | k | v, each then cut into heads.** So do `nn.MultiheadAttention`, timm (whose names we use) and this course.
# * **head after head, each with its own q, k, v.** So does [GPT-NeoX in Hugging Face's transformers](https://github.com/huggingface/transformers/blob/main/src/transformers/models/gpt_neox/modeling_gpt_neox.py).
#
# As patterns they differ in two names that change places: `(three H d)` and `(H three d)`, where `three` stands for q, k and v.

# %% tags=["hide-input"]
#| alt: Two strips of 36 columns in groups of four. In the upper strip come the queries of heads 0, 1, 2, then the three keys, then the three values. In the lower strip come query, key and value of head 0, then those of head 1, then those of head 2.
roles = (("q", viz.QUERY), ("k", viz.KEY), ("v", viz.VALUE))
by_role = [(role, color, h) for role, color in roles for h in range(H)]
by_head = [(role, color, h) for h in range(H) for role, color in roles]

_, axes = plt.subplots(2, 1, figsize=(8, 2.1), sharex=True)
for ax, order, title in zip(
    axes, (by_role, by_head), ("(three H d): here", "(H three d): elsewhere")
):
    for place, (role, color, h) in enumerate(order):
        style = {
            "width": 4,
            "align": "edge",
            "alpha": 0.75,
            "edgecolor": viz.PAPER,
            "lw": 2,
        }
        ax.bar(4 * place, 1, color=color, **style)
        ax.text(
            4 * place + 2,
            0.5,
            f"{role}, head {h}",
            ha="center",
            va="center",
            color=viz.INK,
        )
    ax.set(
        title=title, xlim=(0, 36), ylim=(0, 1), yticks=[], xticks=range(0, 37, 4)
    )
    ax.spines[:].set_visible(False)
ax.set_xlabel("column of the output of qkv (row of its weight)")
plt.show()

# %% [markdown]
# > **Predict.** Read the same 36 columns in the other order and do everything else right. Is there an error? How different is the output?


# %% tags=["hide-output"]
def attend_with(columns, pattern):
    """The layer after qkv, with the 36 columns (B, N, 3D) read by `pattern`."""
    q, k, v = rearrange(columns, pattern, three=3, H=H)  # each (B, H, N, d)
    out, _ = attention.scaled_dot_product_attention(q, k, v)
    return layer.proj(attention.merge_heads(out))


columns, other_order = layer.qkv(x), "B N (H three d) -> three B H N d"
right = attend_with(columns, "B N (three H d) -> three B H N d")
wrong = attend_with(columns, other_order)
print(
    "the first order is the layer's:", torch.allclose(right, layer(x), atol=1e-12)
)
print("same shape:", right.shape == wrong.shape)
error = ((wrong - right).norm() / right.norm()).item()
print(f"size of the error, as a share of the output: {error:.1f}")

moved = rearrange(columns, "B N (three H d) -> B N (H three d)", three=3, H=H)

# %% tags=["hide-input", "hide-output"]
assert torch.allclose(attend_with(moved, other_order), right, atol=1e-12)

# %% [markdown]
# No error, the right shape, and a mistake more than half as large as the output itself. The order is a convention: put the columns (the rows of `qkv.weight`) into the other order too, and the layer is the same again.
# It goes wrong when you load weights that somebody else trained under the other convention. Chapter 6 loads real ones, so get used to asking: *in which order?*

# %% [markdown]
# ## What the last projection does
#
# After the heads come back, their outputs stand side by side, and `proj`, the $W_O$ of the formula, multiplies them.
#
# > **Predict.** Change head 0 and nothing else. Which columns of the result change before `proj`? Which after it?

# %% tags=["hide-input", "hide-output"]
#| alt: Two maps of 5 tokens by 12 columns that show by how much each entry changes when head 0 changes, up in blue and down in red. Before proj only columns 0 to 3 are coloured, the others are empty. After proj there is colour in every column.
q, k, v = (attention.split_heads(part, H) for part in layer.qkv(x).chunk(3, dim=-1))
heads, _ = attention.scaled_dot_product_attention(q, k, v)  # (B, H, N, d)
d = D // H
torch.manual_seed(19)
changed = heads.clone()
changed[:, 0] += torch.randn(B, N, d, dtype=torch.float64)

before = attention.merge_heads(changed) - attention.merge_heads(heads)  # (B, N, D)
after = layer.proj(attention.merge_heads(changed)) - layer.proj(
    attention.merge_heads(heads)
)
assert (before[..., d:] == 0).all() and (after.abs().amax((0, 1)) > 0.1).all()

_, axes = plt.subplots(1, 2, figsize=(8, 2.4))
for ax, change, title in zip(
    axes,
    (before, after),
    ("before proj: only head 0's columns", "after proj: all columns"),
):
    viz.heatmap(
        change[0].detach(), ax, cmap=viz.SIGNED, limits=(-1, 1), title=title
    )
    ax.set(xticks=range(D), yticks=range(N))
    ax.set(xlabel="column", ylabel="token")
plt.show()

# %% [markdown]
# Without $W_O$ each head is confined to its own $d$ columns. With it, every head can write anywhere. Cut $W_O$ as the heads are cut: head $h$ meets only rows $hd$ to $(h+1)d - 1$ of it, a
# matrix $W_O^h$ of shape $(d, D)$. Then a matrix product over the columns becomes a sum over the heads:
#
# $$[\,\text{head}_0 \;|\; \dots \;|\; \text{head}_{H-1}\,]\; W_O = \sum_h \text{head}_h\, W_O^h$$

# %%
W_O = layer.proj.weight.T  # (12, 12), in the convention x @ W

# H tensors (B, N, D), one per head
written = [heads[:, h] @ W_O[h * d : (h + 1) * d] for h in range(H)]
print("one head writes", tuple(written[0].shape))
print(
    "their sum is the output:",
    torch.allclose(sum(written) + layer.proj.bias, layer(x)),
)

# %% [markdown]
# So the heads are not stacked, in the end. **They are added: each head writes a vector of full width $D$, and the output is the sum.** That is a useful way to think of it,
# and chapter 3 goes on from there. Why does this sum not blur the neighbours, as the one head's did? One head puts both symbols through the same $W_V$ and $W_O$. Two heads have their own,
# so the two symbols can arrive in different directions, and the readout can tell them apart.

# %% [markdown]
# ### Exercise 2.3 · `multi_head_self_attention`
#
# *Medium, 15 minutes.* Put it together: the attention layer of ViT as one function.
#
# * `x` is `(B, N, D)`, `num_heads` divides $D$. The result is `(B, N, D)`.
# * `params` is a dictionary under timm's names: `"qkv.weight"` `(3D, D)`, `"qkv.bias"` `(3D,)`, `"proj.weight"` `(D, D)`, `"proj.bias"` `(D,)`. They are stored as `nn.Linear` stores them,
#   and the $3D$ are laid out q | k | v.
# * Use your `split_heads` and `merge_heads` (where one is not right yet, a right result takes the place of its own), and for the attention itself your own lines or `attention.scaled_dot_product_attention`, which returns the output *and* the weights. Large scores must neither overflow nor underflow, in any row.
# * Only the finished layer is refused: `nn.MultiheadAttention`, its function in `F`, and the course's `MultiHeadSelfAttention`.
#
# $$(B, N, D) \xrightarrow{\;\texttt{qkv}\;} (B, N, 3D) \xrightarrow{\;\text{cut}\;} 3 \times (B, H, N, d) \xrightarrow{\;\text{attend}\;} (B, H, N, d) \xrightarrow{\;\text{merge}\;} (B, N, D) \xrightarrow{\;\texttt{proj}\;} (B, N, D)$$


# %% tags=["exercise"]
def multi_head_self_attention(x, params, num_heads):
    """Multi-head self-attention: (B, N, D) -> (B, N, D)."""
    # BEGIN SOLUTION
    qkv = x @ params["qkv.weight"].T + params["qkv.bias"]  # (B, N, 3D)
    q, k, v = (split_heads(part, num_heads) for part in qkv.chunk(3, dim=-1))
    out, _ = attention.scaled_dot_product_attention(q, k, v)  # (B, H, N, d)
    return merge_heads(out) @ params["proj.weight"].T + params["proj.bias"]
    # END SOLUTION


# %% tags=["check"]
from course_lib.checks import check_multi_head_self_attention

check_multi_head_self_attention(multi_head_self_attention)

# %% [markdown] tags=["help"]
# <details>
# <summary>Hint</summary>
#
# Four lines: `qkv`; cut; attend; merge and `proj`. `tensor.chunk(3, dim=-1)` gives three equal pieces. Print the shape after each line and compare with the arrows.
#
# </details>
#
# <details>
# <summary>I get “mat1 and mat2 shapes cannot be multiplied”</summary>
#
# `"qkv.weight"` is `(3D, D)`, as `nn.Linear` stores it. Multiply by its transpose, or use `F.linear(x, weight, bias)`, which does just that.
#
# </details>
#
# <details>
# <summary>I get the right shape and wrong numbers</summary>
#
# Is `proj.weight` transposed, once and not twice? (`F.linear` transposes for you.) Were the heads in front of the tokens when you attended? Was $d$ the width
# of a head when you divided? The hint in the check's line names the mistake if it is a common one.
#
# </details>

# %% [markdown]
# The state dictionary of the course's layer has exactly these four names. So yours can run on its weights, and in chapter 6 on those of ViT-B. Once your check passes, take the `#` away:

# %%
print(list(layer.state_dict()))
# print(torch.allclose(multi_head_self_attention(x, layer.state_dict(), H), layer(x)))

# %% [markdown]
# ## Against PyTorch
#
# PyTorch has this layer as `nn.MultiheadAttention`, under other names: `in_proj_weight`, `in_proj_bias`, `out_proj.weight`, `out_proj.bias`. Copy our weights into it, and the outputs must be equal.


# %%
def as_pytorch(layer, batch_first=True):
    """An nn.MultiheadAttention with the weights of our layer."""
    theirs = nn.MultiheadAttention(
        layer.dim, layer.num_heads, batch_first=batch_first
    )
    renamed = {
        "in_proj_weight": layer.qkv.weight,
        "in_proj_bias": layer.qkv.bias,
        "out_proj.weight": layer.proj.weight,
        "out_proj.bias": layer.proj.bias,
    }
    assert len(renamed) == len(layer.state_dict())  # nothing left out
    theirs.to(layer.qkv.weight.dtype).load_state_dict(renamed)
    return theirs


theirs = as_pytorch(layer)
output, weights = theirs(x, x, x)  # query, key and value are all x
print(
    "largest difference below 1e-12:",
    (output - layer(x)).abs().max().item() < 1e-12,
)

# %% [markdown]
# Equal to rounding, in every number. It also returns weights, and it has two habits that you should know.
#
# > **Predict.** The layer has 3 heads, the batch is 2, and there are 5 tokens. What shape do the returned weights have?

# %% tags=["hide-input", "hide-output"]
print("by default:                ", tuple(weights.shape))
_, per_head = theirs(x, x, x, average_attn_weights=False)
print("average_attn_weights=False:", tuple(per_head.shape))
print(
    "the first is the mean of the second:",
    torch.allclose(weights, per_head.mean(dim=1)),
)

# %% [markdown]
# **By default the heads are averaged.** What you are then shown is no head's map. Here is what that does to the two models from the start of the chapter: on the left the one head that fails,
# on the right the two heads that get everything right, as `nn.MultiheadAttention` shows them by default.

# %% tags=["hide-input"]
#| alt: Two 14 by 14 heat maps that look alike, each with two half-bright lines, one on either side of the diagonal. The left one is the single head that cannot tell the sides apart, the right one the average of the two heads that get everything right.
torch.manual_seed(23)
symbols = torch.randint(NUM_SYMBOLS, (1000, LENGTH))
with torch.no_grad():
    embedded = two_heads.embed(symbols)
    _, averaged = as_pytorch(two_heads.attn)(embedded, embedded, embedded)

_, axes = plt.subplots(1, 2, figsize=(6.4, 3.4))
for ax, weights, title in zip(
    axes,
    (blurred, averaged.mean(0)),
    ("one head: 50 to 65 % right", "two heads averaged: all right"),
):
    viz.heatmap(weights, ax, title=title, rows=ticks, columns=ticks)
    ax.set(xlabel="place it reads (key)", ylabel="place it writes (query)")
plt.show()

# %% [markdown]
# Both show the same two lines. **An average over heads cannot tell two specialists from one that is undecided.** Whenever you see an attention map, ask whether heads were averaged.
#
# The second habit: `batch_first` is `False` by default, so the layer expects `(N, B, D)`, tokens first. Give it `(B, N, D)`, and there is again no error: it takes the batch for tokens and the tokens for a batch.
#
# > **Predict.** Four sequences in a batch. Change only sequence 0. Which outputs change, with `batch_first=True` and with the default?

# %% tags=["hide-output"]
torch.manual_seed(29)
x = torch.randn(4, N, D, dtype=torch.float64)  # 4 sequences of 5 tokens
changed = x.clone()
changed[0] += 1.0

for batch_first in (True, False):
    theirs = as_pytorch(layer, batch_first)
    difference = theirs(changed, changed, changed)[0] - theirs(x, x, x)[0]
    moved = (difference.abs().amax((1, 2)) > 1e-9).tolist()
    print(f"batch_first={batch_first!s:5}: sequences whose output changes: {moved}")

# %% [markdown]
# By default, sequences that have nothing to do with each other attend to each other: token 2 of the first to token 2 of the others. For images this means that the answer for one picture depends on which others
# happen to be in the batch. This is worth a test in your own code: change one item of a batch, and check that the others stay as they were.

# %% [markdown]
# ## How to look inside
#
# Our layer is called with `x` and returns the output, nothing else. Inside, it calls PyTorch's `F.scaled_dot_product_attention`. You saw in chapter 1 why: the fused kernel is faster and never
# holds all the weights at once. The price is that there are no weights to return, and none for a hook to catch.
#
# So there are two ways through the layer. Normally the fused one (but for bfloat16 on a CPU, where it is slower). While `record_attention` is watching, the explicit one, with the softmax of chapter 1, whose weights are handed over:

# %%
plain = layer(x)
with record_attention(layer) as recorded:
    explicit = layer(x)

print("maps recorded:", len(recorded), "of shape", tuple(recorded[0].shape))
print("output the same to rounding:", torch.allclose(plain, explicit, atol=1e-12))

try:
    with record_attention(layer):
        pass  # nothing runs
except ValueError as error:
    print("ValueError:", error)

# %% [markdown]
# One list entry per attention layer, `(B, H, N, N)`, heads kept apart. If nothing was recorded, it says so, instead of leaving you with an empty list. Projections and all else are shared between the two ways, so what you look at is what the model computes.

# %% [markdown]
# ## Which head does what?
#
# The two diagonals *look* as if one head were responsible for the previous symbol and the other for the next. A picture is not a proof. But a head can be switched off: it reaches the output only
# through its slice of $W_O$. Set that slice to zero, and the head is silent.
#
# In `proj.weight`, which is stored transposed, the slice is a block of *columns*.
#
# > **Predict.** Silence the head that looks back. What happens to the share of right answers, for the previous symbol and for the next?


# %%
def without_head(model, h):
    """A copy of the model in which head h writes nothing."""
    silenced = copy.deepcopy(model)
    d = WIDTH // model.attn.num_heads
    with torch.no_grad():
        silenced.attn.proj.weight[:, h * d : (h + 1) * d] = 0
    return silenced


torch.manual_seed(31)
shares = [
    test(two_heads),
    *(test(without_head(two_heads, h)) for h in (back, ahead)),
]


# %% tags=["hide-input", "hide-output"]
#| alt: A table of 3 rows by 2 columns with the share of right answers. Both heads: 1.00 for the previous and 1.00 for the next symbol. Without the head that looks back, the previous symbol falls to about a tenth and the next stays at 1.00. Without the head that looks ahead, it is the other way round.
ax = viz.heatmap(
    shares,
    plt.subplots(figsize=(6, 2.6))[1],
    title="share of right answers",
    rows=(
        "both heads",
        "without the one that looks back",
        "without the one that looks ahead",
    ),
    columns=("previous symbol", "next symbol"),
    annotate=True,
)
ax.set_aspect("auto")
plt.show()

assert all(share > 0.99 for share in (*shares[0], shares[1][1], shares[2][0]))
assert max(shares[1][0], shares[2][1]) < 0.15

# %% [markdown]
# Each loss is clean: one answer falls to blind guessing, the other stays perfect. Now you *know* what each head is for, and not from the map. To change something inside and see what happens at the output is
# called an **ablation**. Chapter 13 comes back to the difference between a map and an explanation.
#
# ## How many heads?
#
# If two heads are better than one, are more better still?
#
# > **Predict.** The same task and the same $D = 32$ with 1, 2, 4, 8, 16 and 32 heads. How wide is each head in the last one, and how well will it do?
#
# The points were computed once with `benchmarks/number_of_heads.py`, five seeds each.

# %% tags=["hide-input", "hide-output"]
#| alt: Share of right answers against the number of heads, 1 to 32, five seeds each. After 300 steps, one head: between 55 and 58 percent. 2, 4, 8 and 16 heads: all at 100 percent. 32 heads of width 1: between 80 and 85 percent. After 4000 steps, open squares: three of the five runs with one head are still between 55 and 60 percent, two are at 90; 32 heads are near 100 percent.
record = load_record("number_of_heads")
heads = record["heads"]

_, ax = plt.subplots(figsize=(6, 2.8))
for number, accuracies in zip(heads, record["accuracy"]):
    ax.plot([number] * len(accuracies), accuracies, "o", color=viz.KEY, alpha=0.5)
ax.plot(
    heads,
    torch.tensor(record["accuracy"]).mean(1),
    color=viz.KEY,
    label="after 300 steps",
)
longer = record["longer"]
for number, accuracies in zip(longer["heads"], longer["accuracy"]):
    style = {"color": viz.QUERY, "mfc": "none"}
    (open_squares,) = ax.plot([number] * len(accuracies), accuracies, "s", **style)
open_squares.set_label("after 4000 steps")
ax.set_xscale("log", base=2)
ax.set(
    xlabel="number of heads H, each of width 32 / H",
    ylabel="share of right answers",
    xticks=heads,
    xticklabels=heads,
    ylim=(0, 1.05),
)
ax.legend(loc="lower right")
plt.show()

lowest = {
    number: min(accuracies) for number, accuracies in zip(heads, record["accuracy"])
}
assert all(lowest[number] > 0.99 for number in (2, 4, 8, 16)) and lowest[32] < 0.9
spread = longer[
    "symbol_spread"
]  # how much the one head's weights vary with the symbols
for share, varies in zip(longer["accuracy"][0], spread):
    assert (share > 0.8) == (varies > 0.05)
assert min(longer["accuracy"][1]) > 0.95
assert sorted(longer["accuracy"][0])[2] < 0.605  # three of five

# %% [markdown]
# The task needs two looks, so two heads are enough, and up to 16 do not hurt. The two ends fail for different reasons. With 32 heads each has a width of 1, a score is the product of two numbers, and the model
# learns more slowly: with 4000 steps it nearly gets there. One head stays between 55 and 60 % in three of five runs even then. In the other two it has found a way round, 90 %: there its weights depend on the symbols as well as on the places. On real translation, [Vaswani et al. (2017)](https://arxiv.org/abs/1706.03762), table 3, found one head worse than the best setting, and too many worse again.
#
# Common choices keep $d$ near 64. The original Transformer has 8 heads in $D = 512$; ViT-B has 12 in 768.
#
# Are they all needed? Two papers of 2019 took heads out of translation models. [Michel et al.](https://arxiv.org/abs/1905.10650) switched them off after training, as you just did, and could remove a large share with little
# loss, in some layers all but one. [Voita et al.](https://arxiv.org/abs/1905.09418) pruned while training on: 38 of 48 encoder heads, for 0.15 BLEU (a measure of translation quality), and among those that mattered most they found heads that attend to the neighbouring
# token: your two diagonals, learned without being asked for. So the number of heads is a setting with room to spare, not a number of jobs. Do not expect every head of a ViT to mean something.

# %% [markdown]
# ## The block, tested
#
# This is what later chapters import. Compare it with yours: the same lines, with names for the parameters, dropout, error messages, the two ways through, and what other models need (`rel_pos` of chapter 5, `rope`, the norms of q and k).

# %%
import inspect

print(inspect.getsource(MultiHeadSelfAttention.__init__))
print(inspect.getsource(MultiHeadSelfAttention.forward))
print(inspect.getsource(MultiHeadSelfAttention._attend))

# %% [markdown]
# ## Three to think about
#
# No code, a pencil.
#
# 1. A layer has $D = 768$ and $H = 12$. How many numbers are in `qkv.weight`, and how many of them belong to one head? What changes with $H = 24$?
# 2. Reorder the heads: exchange heads 0 and 1 in `qkv`. What must you do to `proj.weight` so that the layer computes the same function as before?
# 3. Multiply $W_Q^h$ by 2 and divide $W_K^h$ by 2. Does the head's map change? Find a larger family of changes to $W_Q^h$ and $W_K^h$ that leave it the same.
#
# <details>
# <summary>Answers</summary>
#
# 1. $3 \cdot 768 \cdot 768 = 1\,769\,472$; a twelfth of them, $3 \cdot 64 \cdot 768 = 147\,456$. With $H = 24$ the total stays, and each head has half as many.
# 2. Exchange columns 0 to $d-1$ of `proj.weight` with columns $d$ to $2d-1$. The output is a sum over heads, and a sum does not depend on the order. So no head is "the first" in any sense that the function knows.
# 3. It does not change: scores depend on $W_Q^h (W_K^h)^\top$ only. For any invertible $(d, d)$ matrix $M$, $W_Q^h M$ and $W_K^h (M^{-1})^\top$ give the same product. So the single numbers in $W_Q$ have no meaning of their own. (With biases, transform them along.)
#
# </details>

# %% [markdown]
# ## Check yourself
#
# Choose before you look: each answer comes with its reason, the wrong ones too. Five questions, about five minutes.
#
# **1.** A layer with $D = 768$ gets 12 heads in place of one. How many parameters has it now?
#
# * **A.** Twelve times as many, since each head has its own $W_Q$, $W_K$, $W_V$.
# * **B.** A twelfth, since each head is narrower.
# * **C.** As many as before, whatever the number of heads.
#
# <details class="course-quiz">
# <summary>Answer to 1</summary>
#
# * **A, wrong.** Each head has matrices of its own, but they are only $768 / 12 = 64$ columns wide.
# * **B, wrong.** One head has a twelfth of the columns, and there are twelve of them.
# * **C, right.** Heads split $D$, they do not multiply it. Side by side, the narrow matrices are one matrix of
#   $D \times D$ again.
#
# </details>
#
# **2.** `x` is `(3, 8)`: three tokens. For two heads somebody writes `x.view(2, 3, 4)`. What does head 0 get?
#
# * **A.** The first four columns of every token.
# * **B.** All of the first token, and half of the second.
# * **C.** Nothing: the line raises an error.
#
# <details class="course-quiz">
# <summary>Answer to 2</summary>
#
# * **A, wrong.** That would be right, and it takes a move: `x.view(3, 2, 4).transpose(0, 1)`.
# * **B, right.** `view` keeps the numbers in the order of memory, and the first twelve of them are these. The shape is
#   right all the same.
# * **C, wrong.** $2 \cdot 3 \cdot 4 = 24 = 3 \cdot 8$, so the shape fits, and that is the trouble.
#
# </details>
#
# **3.** In ViT-B, 12 heads share a width of 768. Under the root stands …
#
# * **A.** 64, the width of one head.
# * **B.** 768, the width of a token.
# * **C.** 197, the number of keys.
#
# <details class="course-quiz">
# <summary>Answer to 3</summary>
#
# * **A, right.** A score is a sum of 64 products, so its standard deviation is $\sqrt{64}$.
# * **B, wrong.** Then the scores are $\sqrt{12} \approx 3.5$ times too small, and the weights nearly even. No error
#   says so.
# * **C, wrong.** How many keys there are does not change how large one score is.
#
# </details>
#
# **4.** `nn.MultiheadAttention` with 3 heads returns weights of shape `(2, 5, 5)` for a batch of 2 with 5 tokens. What
# are they?
#
# * **A.** The map of the first head.
# * **B.** The mean over the three heads.
# * **C.** The sum over the three heads.
#
# <details class="course-quiz">
# <summary>Answer to 4</summary>
#
# * **A, wrong.** No head is picked out. All three are in it.
# * **B, right.** That is the default. Two specialists and one undecided head can look alike in it;
#   `average_attn_weights=False` shows the heads.
# * **C, wrong.** Then the rows would sum to 3. They sum to 1.
#
# </details>
#
# **5.** You want to know what a head is *for*. Which is the best evidence?
#
# * **A.** Its map, averaged over many inputs.
# * **B.** The size of its weights.
# * **C.** Its answers when you silence it.
#
# <details class="course-quiz">
# <summary>Answer to 5</summary>
#
# * **A, wrong.** That tells you where the head looks, which is a good start. What its looking does to the answer is
#   another question.
# * **B, wrong.** Double $W_Q^h$ and halve $W_K^h$: other numbers, and the same head.
# * **C, right.** Set its slice of $W_O$ to zero, and see which answers get worse. In the chapter one answer fell to
#   guessing, and the other stayed perfect.
#
# </details>

# %% [markdown]
# ## What you take with you
#
# * One row of weights is one look. **Two things that one head reads are added up**; two heads keep them apart.
# * Heads **split $D$**: $d = D/H$. Parameters and matrix products are the same for every $H$. The root is that of $d$.
# * A head asks a narrow question: its score matrix has rank $d$.
# * Cut, *then move*. `view` alone gives the right shape with the wrong numbers. So does the wrong packing of q, k and v.
# * The output is a **sum over heads**, each writing through its slice of $W_O$ into all of $D$.
# * `nn.MultiheadAttention` averages the heads it shows you, and puts the batch second, unless you say otherwise.
# * A map shows where a head looks. **Silencing it** shows what it is for.
#
# The picture to keep: **the two diagonals**, one head each, and the blur when they are averaged.
#
# ### To read
#
# * [Vaswani et al. 2017, *Attention Is All You Need*](https://arxiv.org/abs/1706.03762), section 3.2.2, and table 3, rows (A), on the number of heads.
# * [Michel, Levy and Neubig 2019, *Are Sixteen Heads Really Better than One?*](https://arxiv.org/abs/1905.10650)
# * [Voita et al. 2019, *Analyzing Multi-Head Self-Attention*](https://arxiv.org/abs/1905.09418): what the heads that survive are for.
#
# Next, chapter 3: attention mixes tokens. What else does an encoder need, so that you can stack twelve of them?
