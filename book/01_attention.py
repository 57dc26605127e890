# %% [markdown]
# # Scaled dot-product attention
#
# | Goal | Before you start | Time | Runs on |
# |:--|:--|:--|:--|
# | Write attention yourself, and know why each part is there | Matrix products, a little PyTorch | 85 minutes | any CPU |
#
# Attention is an average. Not the plain kind, in which everybody counts the same, but one in which each
# participant decides how much to listen to every other. By the end of this chapter you have written it
# yourself, in four steps, and checked each of them. You also know why it divides by $\sqrt d$, what a mask
# may and may not do, and what attention sees of the order of its tokens.
#
# The Vision Transformer is built around the few lines of this chapter.

# %% tags=["setup"]
import matplotlib.pyplot as plt
import torch
import torch.nn.functional as F
from torch import nn

from course_lib import viz
from course_lib.records import load_record

viz.set_style()
torch.set_num_threads(1)  # the models here are tiny: more threads only wait

# %% [markdown]
# ## A weighted average
#
# Three thermometers hang in a room. They show 10, 20 and 60 degrees. The plain average is 30, but the third one hangs
# over the stove, so you trust it less. You give the three of them *weights*: numbers that are not negative and
# sum to 1. Then you multiply and add.

# %%
readings = torch.tensor([10.0, 20.0, 60.0])
trust = torch.tensor([0.5, 0.4, 0.1])

print("weights sum to", trust.sum().item())
print("weighted average:", (trust * readings).sum().item())

# %% [markdown]
# Now let each reading be a vector instead of a number, and let several people average the same readings, each
# with weights of their own. One person's weights are a row. All the rows together are a matrix, and
# averaging is a matrix product:
#
# $$\underbrace{\text{output}}_{(N_q,\, d_v)} \;=\; \underbrace{\text{weights}}_{(N_q,\, N_k)} \;\underbrace{\text{values}}_{(N_k,\, d_v)}$$
#
# $N_k$ is the number of values, $d_v$ the width of each, and $N_q$ the number of people, one row each.

# %%
# Three values of width 2, and two rows of weights: (3, 2) and (2, 3).
values = torch.tensor([[0.0, 0.0], [4.0, 0.0], [1.0, 3.0]])
weights = torch.tensor(
    [
        [1 / 3, 1 / 3, 1 / 3],  # trusts everybody alike
        [0.1, 0.8, 0.1],  # trusts mostly the second
    ]
)

output = weights @ values  # (2, 3) @ (3, 2) -> (2, 2)
print(output)

# %% tags=["hide-input"]
#| alt: A triangle whose corners are three green points, the values v1, v2 and v3. Two purple points lie inside it: output 1 in the middle of the triangle, output 2 close to v2.
_, ax = plt.subplots(figsize=(5, 3))
ax.fill(*values.T, color=viz.VALUE, alpha=0.12)
ax.scatter(*values.T, color=viz.VALUE, s=90, label="values")
ax.scatter(*output.T, color=viz.OUTPUT, s=90, marker="D", label="outputs")
for name, point in zip(
    ("v1", "v2", "v3", "output 1", "output 2"), torch.cat([values, output]).tolist()
):
    ax.annotate(name, point, xytext=(9, 5), textcoords="offset points")
ax.set(
    xlabel="first component",
    ylabel="second component",
    xlim=(-0.4, 5.2),
    ylim=(-0.5, 3.6),
)
ax.legend(loc="upper right")
plt.show()

# %% [markdown]
# Look where the outputs can be: inside the triangle, and nowhere else. A weighted average never leaves the
# space between its values (their *convex hull*). Keep that picture: attention only ever *mixes* what is there.
#
# Only one question is left, and the rest of the chapter answers it: **where do the weights come from?**

# %% [markdown]
# ## Asking by dot product
#
# A Python dictionary has an answer. You come with a query, it finds the key that is equal, and returns
# its value. All the weight goes to that one value, and none to the others. A query that
# equals no key gets an error.
#
# Attention is a dictionary that is soft. Query and keys are vectors. They are compared by a dot product, and every
# value is returned, each as much as its key resembles the query:
#
# 1. **score**: the dot product of the query with each key, one number per key;
# 2. **weigh**: turn the scores into weights, not negative and with sum 1;
# 3. **average**: mix the values with these weights.
#
# Here is a sentence to try it on, the one with which the Transformer, the network that is made of attention, was
# [presented in 2017](https://research.google/blog/transformer-a-novel-neural-network-architecture-for-language-understanding/):
#
# > The animal didn't cross the street because **it** was too *tired*.
#
# You know that *it* is the animal. Replace *tired* by *wide*, and *it* becomes the street. Let us make this happen with
# vectors of width 2 that you can follow by hand. The first component says "this could be tired", the second
# "this could be wide". The key of *it* is a little of both, since *it* could be either. There are two queries for *it*, one
# for each ending; how the ending gets into the query is a later matter. The vectors are made up, small and round. A trained model finds its own.

# %%
words = ["animal", "cross", "street", "it"]
# What each word offers, (4, 2). What "it" asks, (1, 2): who could be tired, or wide?
keys = torch.tensor([[3.0, 0.0], [0.0, 0.0], [0.0, 3.0], [1.0, 1.0]])
it_tired = torch.tensor([[2.0, 0.0]])
it_wide = torch.tensor([[0.0, 2.0]])

print("scores of 'it', tired:", (it_tired @ keys.T).tolist())
print("scores of 'it', wide: ", (it_wide @ keys.T).tolist())

# %% [markdown]
# The scores already point the right way: 6 for *animal* when it is tired, 6 for *street* when it is wide. But they are
# not weights yet: their sum is 8, and other vectors could give scores below 0.

# %% [markdown]
# ## Softmax: from scores to weights
#
# Two wishes: the weights must be positive, and they must sum to 1. The exponential makes any number positive.
# Division by the sum does the rest. The two together are called **softmax**:
#
# $$\operatorname{softmax}(s)_j = \frac{e^{s_j}}{\sum_k e^{s_k}}$$
#
# > **Predict.** The softmax of `[1, 2, 3]` is about `[0.09, 0.24, 0.67]`. What is it for `[101, 102, 103]`? And for
# > `[10, 20, 30]`? One of them is the same as before. Decide which, and run.

# %% tags=["hide-output"]
for scores in ([1.0, 2.0, 3.0], [101.0, 102.0, 103.0], [10.0, 20.0, 30.0]):
    print(
        scores,
        "->",
        [f"{w:.2f}" for w in torch.tensor(scores).softmax(dim=0).tolist()],
    )

# %% [markdown]
# Adding 100 changed nothing: it multiplies numerator and denominator by the same $e^{100}$. **Only differences of scores
# matter.** Multiplying by 10 changed everything: the differences are now 10 and the winner takes it all. **The
# scale of the scores decides how sharp the weights are.**
#
# > **Predict.** What does `torch.tensor(1000.0).exp()` give? And `exp(1000) / exp(1000)`?

# %% tags=["hide-output"]
big = torch.tensor(1000.0)
print(big.exp().item(), (big.exp() / big.exp()).item())
print(torch.tensor([1000.0, 999.0]).softmax(dim=0))

# %% [markdown]
# `inf / inf` is `nan`, "not a number", and one `nan` spreads to everything that it touches. PyTorch's softmax gets it right all the
# same. You have just seen the trick: only differences matter, so it first subtracts the largest score. Then the
# largest exponential is $e^0 = 1$, and nothing can overflow.

# %% [markdown]
# ### Exercise 1.1 · `softmax`
#
# *Easy, 5 minutes.* Write `softmax(scores, dim=-1)` from exponentials and sums, without calling PyTorch's own.
#
# * `scores` is a tensor of any shape; `dim` is the dimension along which the weights must sum to 1, the last one if the caller names none.
# * The result has the same shape and type.
# * It must survive scores of 900 and of −900, in one slice or in two.
# * Stay with tensors, here and in the next three exercises: gradients must pass through.
#
# The cell under yours judges it. Its line begins with ✓ when yours is right; otherwise it says what is not.
# [How your answers are judged](checks.md) tells what is looked at.


# %% tags=["exercise"]
def softmax(scores, dim=-1):
    """Exponentiate and normalise along `dim`: same shape, each slice along `dim` sums to 1."""
    # BEGIN SOLUTION
    exponentials = (scores - scores.amax(dim, keepdim=True)).exp()
    return exponentials / exponentials.sum(dim, keepdim=True)
    # END SOLUTION


# %% tags=["check"]
from course_lib.checks import check_softmax

check_softmax(softmax)

# %% [markdown] tags=["help"]
# <details>
# <summary>Hint</summary>
#
# Two lines are enough: the exponential of `scores` minus their maximum, then that divided by its sum. The maximum is taken
# along `dim` as well: each slice has its own.
#
# </details>
#
# <details>
# <summary>I get “The size of tensor a must match the size of tensor b”</summary>
#
# `scores.sum(dim)` removes the dimension that it sums over. A `(3, 4)` tensor cannot be divided by the `(3,)` tensor that is left:
# PyTorch lines shapes up from the right. `keepdim=True` keeps the dimension with length 1, `(3, 1)`, and that fits. With a square
# tensor there is no error at all: `(3, 3)` and `(3,)` fit, along the wrong dimension.
#
# </details>

# %% [markdown]
# ### Along which axis?
#
# With one query there is one row of scores. With several, the scores form a matrix: **row = query, column = key**. A softmax can
# run along either axis. Each query distributes its attention over the keys, so each *row* must sum to 1.
#
# > **Predict.** Take the softmax along the columns instead. Which of these happens: an error, a wrong shape, `nan`, or nothing that
# > you would notice?

# %% tags=["hide-output"]
torch.manual_seed(3)
scores = torch.randn(4, 4)
right, wrong = scores.softmax(dim=-1), scores.softmax(dim=-2)

print("right, row sums:", [round(s, 2) for s in right.sum(dim=-1).tolist()])
print("wrong, row sums:", [round(s, 2) for s in wrong.sum(dim=-1).tolist()])

# %% tags=["hide-input", "hide-output"]
#| alt: Two 4 by 4 heat maps with numbers. On the left, softmax along the keys: each row sums to 1. On the right, softmax along the queries of the same scores: each column sums to 1. The row sums, written beside the maps, are 1.00 four times on the left and 0.84, 1.14, 0.70 and 1.32 on the right.
_, axes = plt.subplots(1, 2, figsize=(7, 3.2))
for ax, matrix, title in zip(
    axes,
    (right, wrong),
    ("dim=-1: each row sums to 1", "dim=-2: each column sums to 1"),
):
    viz.heatmap(
        matrix, ax, title=title, annotate=True, rows=range(4), columns=range(4)
    )
    ax.set(xlabel="key", ylabel="query")
    for row, total in enumerate(matrix.sum(dim=-1)):
        ax.text(
            3.6,
            row,
            f"sum {total:.2f}",
            va="center",
            color=viz.QUERY,
            weight="bold",
        )
plt.show()

# %% [markdown]
# Same shape, no error, all numbers between 0 and 1. Nothing you would notice. The rows no longer sum to 1, so the outputs are no longer
# averages: query 3 hands out a third more than it has, and query 2 three tenths less. Near the end of the chapter you will *train* this bug.

# %% [markdown]
# ## Three roles: query, key, value
#
# In the example above, queries and keys were given. In a Transformer they are made, from the tokens themselves. A **token** is a vector that stands
# for one piece of the input: a word here, later a patch of an image. $N$ tokens of width $D$ are the rows of a
# matrix $X$ of shape $(N, D)$. Three matrices give each token its three roles. They are learned; until then they are random. The products are called *projections*:
#
# $$Q = X W_Q, \qquad K = X W_K, \qquad V = X W_V$$
#
# * the **query** is what a token asks for,
# * the **key** is what it can be found by,
# * the **value** is what it hands over when it is found.
#
# When the tokens ask each other in this way, it is called **self-attention** (*cross-attention* if they ask another sequence).
#
# Why three matrices, when $X$ could play all the roles itself? Because looking is not symmetric.

# %%
torch.manual_seed(5)
N, D, d = 5, 6, 4  # 5 tokens of width 6, projected to width 4
X = torch.randn(N, D)
W_Q, W_K, W_V = torch.randn(3, D, d).unbind(0)  # three matrices (6, 4)

without_roles = X @ X.T
with_roles = (X @ W_Q) @ (X @ W_K).T
for name, S in (("without", without_roles), ("with", with_roles)):
    print(
        f"{name} projections, score(i, j) == score(j, i):", torch.allclose(S, S.T)
    )

# %% [markdown]
# Without the projections, *it* scores *animal* exactly as *animal* scores *it*. (The weights still differ, since each row has a sum of its own.) But *it* needs the animal
# to be understood, and the animal does not need *it*. With $W_Q \ne W_K$ the two directions are free. And with a $W_V$ of its own,
# what a token is found by need not be what it hands over: a printed dictionary, too, files a long entry under a short word.
#
# Here is the whole computation, drawn to scale for 5 tokens of width 6:


# %% tags=["hide-input"]
#| alt: Matrices drawn as rectangles of cells. Q, 5 rows by 4 columns, times K transposed, 4 by 5, gives scores, 5 by 5. Softmax turns the scores into weights, 5 by 5. Weights times V, 5 by 3, give the output, 5 by 3. One row is dark all the way through: row i of Q makes row i of the output.
_, ax = plt.subplots(figsize=(8, 2.5))
viz.draw_matrix(ax, 0, 5, 4, viz.QUERY, "$Q$", caption="(5, 4)", dark=[1])
viz.draw_matrix(
    ax, 5.5, 4, 5, viz.KEY, r"$K^\top$", caption="(4, 5)", dark=range(4)
)
viz.draw_matrix(ax, 12.5, 5, 5, viz.MUTED, "scores", caption="(5, 5)", dark=[1])
viz.draw_matrix(ax, 20.5, 5, 5, viz.KEY, "weights", caption="(5, 5)", dark=[1])
viz.draw_matrix(ax, 27, 5, 3, viz.VALUE, "$V$", caption="(5, 3)", dark=range(5))
viz.draw_matrix(ax, 32, 5, 3, viz.OUTPUT, "output", caption="(5, 3)", dark=[1])
for x, sign in ((4.75, "@"), (11.5, "="), (26.25, "@"), (31, "=")):
    ax.text(x, 0, sign, ha="center", va="center", fontsize=14)
ax.annotate("", (20.2, 0), (17.8, 0), arrowprops={"arrowstyle": "->"})
ax.text(19, 0.5, "softmax", ha="center", fontsize=9)
ax.set(xlim=(-0.5, 35.5), ylim=(-3.9, 4), aspect="equal")
ax.axis("off")
plt.show()

# %% [markdown]
# Follow the dark row: one query, its five scores, its five weights that sum to 1, one output. In general:
#
# | | tokens $X$ | $Q$, $K$ | $V$ | scores and weights | output |
# |:--|:--|:--|:--|:--|:--|
# | shape | $(N, D)$ | $(N, d)$ | $(N, d_v)$ | $(N, N)$ | $(N, d_v)$ |
#
# $Q$ and $K$ must have the same width, since they meet in a dot product. $K$ and $V$ must have the same number of rows, one value per key. Nothing else needs to agree.

# %% [markdown]
# ## Play with it
#
# Five keys in the plane, five values, one query. Drag the query, or use the sliders. Watch three things:
#
# * At the start the query points closest to k2, and yet k4, which is longer, gets more weight: **a dot product rewards length as well as direction.**
# * Move the scale, a number by which all scores are multiplied before the softmax. At 0 the weights are equal. At 5 one key usually takes most.
#   Which scale is the right one? That is the next section.
# * The output never leaves the space between the values. Forbid some keys, and that space shrinks.

# %%
from course_lib.widgets import AttentionPlayground

AttentionPlayground()

# %% [markdown]
# ## Why divide by $\sqrt d$?
#
# [Vaswani et al. (2017)](https://arxiv.org/abs/1706.03762) call their attention *scaled*, because one more thing happens to the scores before the softmax:
#
# $$\operatorname{Attention}(Q, K, V) = \operatorname{softmax}\!\left(\frac{QK^\top}{\sqrt d}\right) V$$
#
# Often you read that this "keeps the numbers small". But any large constant would do that. Why this one? Ask how large a
# dot product is.
#
# > **Predict.** Take two vectors of width $d$ with independent components of mean 0 and variance 1. Their dot product has mean 0. What is
# > its standard deviation for $d$ = 4, 64 and 768? Write down three numbers.

# %% tags=["hide-input", "hide-output"]
torch.manual_seed(7)
widths = [4, 64, 768]
for d in widths:
    products = (torch.randn(20_000, d) * torch.randn(20_000, d)).sum(dim=-1)
    print(f"d = {d:3}: standard deviation {products.std():.0f}")
    assert abs(products.std() / d**0.5 - 1) < 0.02

# %% [markdown]
# Each of the $d$ products $q_i k_i$ has variance 1. They are independent, so their variances add: the sum has variance $d$ and
# **standard deviation $\sqrt d$**. Divide by $\sqrt d$ and the scores have standard deviation 1 again, *whatever the width*.
#
# And why does that matter? You saw it above: the scale of the scores decides how sharp the softmax is. ViT looks at 197 tokens (196 patches of the image and
# one more). Let us ask how much weight the favourite of them gets before anything is learned.
#
# > **Predict.** Take 197 random keys and $d = 768$. Without the division, is the largest weight in a row nearer to 1/197, to 1/2 or to 1? And with it?


# %% tags=["hide-output"]
def random_scores(d, num_queries=400, num_keys=197):
    """Scores (num_queries, num_keys) of random queries and keys of width d."""
    return torch.randn(num_queries, d) @ torch.randn(num_keys, d).T


torch.manual_seed(11)
for d in widths:
    scores = random_scores(d)
    unscaled, scaled = (
        s.softmax(dim=-1).amax(dim=-1).mean().item()
        for s in (scores, scores / d**0.5)
    )
    print(f"d = {d:3}: largest weight {unscaled:.2f} unscaled, {scaled:.2f} scaled")

# %% [markdown]
# Without the division, at $d = 768$, a network that has learned nothing is already certain: one key out of 197 gets about nine tenths of the weight, chosen by accident.
# The softmax is **saturated**. With the division the favourite gets one twentieth on average, at every width. (A common width is 64. There one key gets three quarters.)
# Here are the weights of a row, sorted, on average over 400 queries. Mind the two axes:

# %% tags=["hide-input"]
#| alt: Two bar charts of the 40 largest of 197 weights at d = 768, sorted, averaged over 400 queries. Without the scale the first bar reaches above 0.9 and the others can hardly be seen. With it the first bar is at 0.05, and the others fall off slowly.
torch.manual_seed(12)
scores = random_scores(768)
_, axes = plt.subplots(1, 2, figsize=(7, 2.6))
for ax, scale, title in zip(
    axes, (1, 768**0.5), ("without the scale", "with the scale")
):
    sorted_weights = (scores / scale).softmax(dim=-1).sort(descending=True).values
    ax.bar(range(40), sorted_weights.mean(dim=0)[:40], color=viz.KEY)
    ax.set(title=title, xlabel="the 40 largest, sorted", ylabel="weight")
plt.show()

# %% [markdown]
# Being certain is bad because it is hard to unlearn. Learning goes through the gradient of the weights with respect to the scores. For
# one row $p = \operatorname{softmax}(s)$ it is a matrix (the *Jacobian*),
#
# $$\frac{\partial p_i}{\partial s_j} = p_i\,(\delta_{ij} - p_j),$$
#
# where $\delta_{ij}$ is 1 if $i = j$ and 0 otherwise. If one $p_i$ is near 1 and the others are near 0, *every* entry is near 0. First, is
# that formula right? Autograd can tell. Then measure its size as the width grows.

# %%
s = torch.randn(6, dtype=torch.float64)
p = s.softmax(dim=0)
by_hand = p.diag() - p.outer(p)
by_autograd = torch.autograd.functional.jacobian(lambda s: s.softmax(dim=0), s)
print("formula equals autograd:", torch.allclose(by_hand, by_autograd, atol=1e-12))


# %%
#| alt: A plot with logarithmic axes: width d from 4 to 1024 against the size of the gradient of softmax, for each curve the median and a band that holds the middle half of the queries. The scaled curve is flat at 0.1 and its band is thin. The unscaled one rises to 0.3 near d = 32, crosses the scaled one between 128 and 256 and falls below 0.01 at d = 1024, while its band becomes enormous.
def gradient_sizes(scores):
    """Size of ∂p/∂s (root of the sum of squares) for each row: (rows, 197) -> (rows,)."""
    p = scores.double().softmax(dim=-1)
    matrices = p.diag_embed() - p[:, :, None] * p[:, None, :]  # (rows, 197, 197)
    return matrices.flatten(1).norm(dim=1)


torch.manual_seed(13)
many_widths = [4, 8, 16, 32, 64, 128, 256, 512, 1024]
drawn = [random_scores(d, num_queries=100) for d in many_widths]
unscaled = torch.stack([gradient_sizes(s) for s in drawn])  # (9, 100)
scaled = torch.stack(
    [gradient_sizes(s / d**0.5) for s, d in zip(drawn, many_widths)]
)
quarters = torch.tensor([0.25, 0.5, 0.75], dtype=torch.float64)

_, ax = plt.subplots(figsize=(7, 3.2))
for sizes, color, line, name in (
    (scaled, viz.KEY, "o-", "with the scale"),
    (unscaled, viz.QUERY, "s--", "without"),
):
    low, median, high = sizes.quantile(quarters, dim=1)
    ax.loglog(many_widths, median, line, color=color, label=name)
    ax.fill_between(many_widths, low, high, color=color, alpha=0.2, lw=0)
ax.set(xlabel="width d of queries and keys", ylabel="gradient", ylim=(1e-4, 1))
ax.set_xticks(many_widths, many_widths)
ax.minorticks_off()
ax.legend(loc="lower left")
plt.show()

usual, bare = scaled.median(dim=1).values, unscaled.median(dim=1).values
assert usual.max() < 1.5 * usual.min()  # the same at every width
assert (
    bare.argmax() == 3 and bare[3] > 2 * usual[3]
)  # sharper weights react more ...
assert bare[4] > usual[4] and bare[6] < usual[6]  # (d = 64 and 256)
assert bare[-1] < usual[-1] / 10  # ... saturated ones hardly at all
lucky = unscaled[-1] > usual[-1]  # the exceptions at d = 1024
best, second = drawn[-1].topk(2).values.T
assert 0.15 < lucky.float().mean() < 0.3
assert (best - second)[lucky].max() < (best - second)[~lucky].min()

# %% [markdown]
# The lines are the median over the queries, the bands hold the middle half of them. With the scale, all queries get about the same gradient, at every width. Without it two things happen. At small widths the sharper weights react even more, most of all near
# $d = 32$. From there on they saturate, and between 64 and 256 the curve falls below the scaled one. At $d = 1024$ next to nothing gets through for half of the queries, while about one in five, those whose two best keys happen to be close, still get a large gradient:
# what a query can learn is a matter of luck.
#
# That is the reason for $\sqrt d$: **not merely smaller numbers, but scores whose spread does not depend on the width.** You choose the width, and the softmax does not notice.
#
# Dividing by $d$ instead would also keep the numbers small. It fails on the other side: the spread becomes $1/\sqrt d$, all scores
# are nearly equal, and attention is a plain average. A handy way to see this is the *effective number of keys*, $\exp(-\sum_j p_j \ln p_j)$ for a row $p$. (The sum, with its sign, is
# called the entropy, and its exponential the *perplexity*.) It is 1 if one key has all the weight, 2 if two share it half and half, since $\exp(\ln 2) = 2$, and 197 if all share alike.


# %%
def effective_keys(weights):
    """exp(entropy) of each row, averaged: how many keys share the weight."""
    return torch.special.entr(weights).sum(-1).exp().mean().item()


torch.manual_seed(17)
scores = random_scores(768)
for name, scale in (("no scale", 1), ("sqrt(d)", 768**0.5), ("d", 768)):
    print(
        f"{name:8}: {effective_keys((scores / scale).softmax(dim=-1)):4.0f} of 197 keys share the weight"
    )

# %% [markdown]
# ### Exercise 1.2 · `attention_weights`
#
# *Easy, 5 minutes.* Write the inside of the formula: $\operatorname{softmax}(QK^\top/\sqrt d)$.
#
# * `query` is `(..., Nq, d)` and `key` is `(..., Nk, d)`. The dots stand for any number of leading dimensions, a batch for example, or none.
# * The result is `(..., Nq, Nk)`: row = query, column = key.
# * It must survive large scores, as `softmax` does.
# * The course has its own `attention.attention_weights`, which is refused. As in every exercise, you may not call the course's function of the same name.
# * You may use your `softmax` or PyTorch's. Where yours is not right yet, a right result takes the place of its own, so that this check speaks of this exercise alone.


# %% tags=["exercise"]
def attention_weights(query, key):
    """softmax(query keyᵀ / √d): (..., Nq, d) and (..., Nk, d) -> (..., Nq, Nk)."""
    # BEGIN SOLUTION
    scores = query @ key.transpose(-2, -1)  # (..., Nq, Nk)
    return softmax(scores / query.shape[-1] ** 0.5, dim=-1)
    # END SOLUTION


# %% tags=["check"]
from course_lib.checks import check_attention_weights

check_attention_weights(attention_weights)

# %% [markdown] tags=["help"]
# <details>
# <summary>Hint</summary>
#
# Scores first: every query with every key is one matrix product, with the keys transposed. What is $d$? The last
# entry of `query.shape`.
#
# </details>
#
# <details>
# <summary>I get “mat1 and mat2 shapes cannot be multiplied” or “Expected size for first two dimensions of batch2 tensor”</summary>
#
# The keys are not transposed, or too many of their dimensions are. `key.transpose(-2, -1)` (or `key.mT`) swaps the last two and leaves the batch
# alone. `key.T` reverses *all* dimensions, the batch included.
#
# </details>

# %% [markdown]
# ### Exercise 1.3 · `scaled_dot_product_attention`
#
# *Easy, 3 minutes.* One line more, and it is the whole formula. Return the output **and** the weights: the output for the network, the weights for you to look at.
#
# * `query` `(..., Nq, d)`, `key` `(..., Nk, d)`, `value` `(..., Nk, dv)`.
# * The result is a pair: output `(..., Nq, dv)`, weights `(..., Nq, Nk)`.
# * You may use what you have written so far, here and in the next exercise. Where it is not right yet, a right result takes the place of its own.
# * `F.scaled_dot_product_attention` is what you are writing, so do without it, in the next exercise too, and without the course's `attention.attention_weights` and `attention.scaled_dot_product_attention`.


# %% tags=["exercise"]
def scaled_dot_product_attention(query, key, value):
    """softmax(query keyᵀ / √d) value, and the weights: a pair (..., Nq, dv), (..., Nq, Nk)."""
    # BEGIN SOLUTION
    weights = attention_weights(query, key)
    return weights @ value, weights
    # END SOLUTION


# %% tags=["check"]
from course_lib.checks import check_scaled_dot_product_attention

check_scaled_dot_product_attention(scaled_dot_product_attention)

# %% [markdown] tags=["help"]
# <details>
# <summary>Hint</summary>
#
# Step 3 of the soft dictionary: mix the values with the weights. It is the matrix product from the start of the chapter.
#
# </details>
#
# <details>
# <summary>I get “not attempted”, but I wrote something</summary>
#
# Your function returns `None`. Python does that when there is no `return`.
#
# </details>

# %% [markdown]
# From here on the chapter uses the course's own blocks, so that you can go on even if an exercise is still open. They are what you have just written,
# with error messages and masks, and you recognise them by their first name: `attention.…`. PyTorch has the same function, without the weights. Do they agree?

# %%
from course_lib import attention

torch.manual_seed(19)
query = torch.randn(2, 3, 8, dtype=torch.float64)  # batch 2, 3 queries of width 8
key = torch.randn(2, 5, 8, dtype=torch.float64)  # 5 keys of width 8
value = torch.randn(2, 5, 7, dtype=torch.float64)  # 5 values of width 7

output, weights = attention.scaled_dot_product_attention(query, key, value)
print("output", tuple(output.shape), "weights", tuple(weights.shape))
theirs = F.scaled_dot_product_attention(query, key, value)
print("equal to PyTorch's:", torch.allclose(output, theirs, rtol=0, atol=1e-12))

# %% [markdown]
# And what becomes of *it*? The sentence again, with the whole formula. Do one row by hand: the score of *animal* is 6, and
# $6/\sqrt 2 = 4.24$, so its exponential is 69.6. *it* itself gets $e^{2/\sqrt2} = 4.1$, the other two $e^0 = 1$ each. The sum is 75.7, and
# *animal* has 69.6 of it: 0.92. Now each word also gets a value, of width 3: how much it is a creature, a deed, a place. *it* on its own is none of them.

# %%
values = torch.tensor([[1.0, 0, 0], [0, 1.0, 0], [0, 0, 1.0], [0, 0, 0]])  # (4, 3)
both = torch.cat([it_tired, it_wide])  # (2, 2)
output, weights = attention.scaled_dot_product_attention(both, keys, values)

print("                creature, deed, place")
for ending, row in zip(("tired", "wide "), output):
    print(f"it ... {ending} ->", [f"{x:.2f}" for x in row.tolist()])

# %% tags=["hide-input"]
#| alt: A heat map with two rows and four columns. In the row "it, too tired" the weight 0.92 is on animal. In the row "it, too wide" the weight 0.92 is on street.
ax = viz.heatmap(
    weights,
    plt.subplots(figsize=(5.5, 2.2))[1],
    rows=["it … too tired", "it … too wide"],
    columns=words,
    annotate=True,
)
ax.set_title("one word changes, and “it” looks elsewhere")
plt.show()

# %% [markdown]
# *it* went in as nothing in particular and came out as a creature, or as a place. **A token comes out as a mixture of what it looked at.**

# %% [markdown]
# ## Masks: who may attend to whom
#
# Sometimes a token must not look at another one. Sentences in a batch have different lengths and are filled up with
# padding, which means nothing. A model that predicts the next word must not see that word. A **mask** says who may attend to whom. Here, and in
# `torch.nn.functional.scaled_dot_product_attention`, `True` means *may attend*.
#
# The rule is simple to say: **masking a key is the same as removing it.** It holds if the forbidden *scores* are set to $-\infty$ before the softmax,
# since $e^{-\infty} = 0$.
#
# > **Predict.** Somebody masks later: `softmax(scores) * mask`. Forbidden weights are 0 then too. What is wrong with it?

# %% tags=["hide-output"]
torch.manual_seed(23)
scores = torch.randn(1, 4)
mask = torch.tensor([[True, True, False, False]])

before = scores.masked_fill(~mask, float("-inf")).softmax(dim=-1)
after = scores.softmax(dim=-1) * mask
removed = scores[:, :2].softmax(dim=-1)

for name, row in (("before", before), ("after", after), ("removed", removed)):
    row = [round(w, 2) for w in row[0].tolist()]
    print(f"{name:8}{row}, sum {round(sum(row), 2)}")

# %% [markdown]
# Masked afterwards, the weights no longer sum to 1. The forbidden keys are silent, but they have still taken their share. Masked before, the result
# is what you get without those keys.
#
# One case is left that is easy to get wrong: a row in which *nothing* is allowed. You get one if your mask also forbids padding to look at anything, or if a whole sentence is empty.

# %%
nothing = torch.zeros(1, 4, dtype=torch.bool)
everywhere = scores.masked_fill(~nothing, float("-inf"))
print("-inf everywhere:", everywhere.softmax(dim=-1).tolist())

query, key, value = torch.randn(1, 3), torch.randn(4, 3), torch.randn(4, 2)
output, weights = attention.scaled_dot_product_attention(query, key, value, nothing)
theirs = F.scaled_dot_product_attention(query, key, value, attn_mask=nothing)
print("course_lib: weights", weights.tolist(), "output", output.tolist())
print("PyTorch:    output", theirs.tolist())

# %% [markdown]
# A softmax over nothing is $0/0$. A convention is needed, and ours is: who may attend to nothing gets **zeros**. So does the function of recent PyTorch. The
# rule "masking is removing" suggests it: an empty sum is 0.
#
# Two masks that you will meet often, as pictures:

# %%
#| alt: Two 6 by 6 heat maps of attention weights. Forbidden cells are hatched. Causal: everything above the diagonal is hatched, each row spreads over itself and the tokens before it. Padding: the last two columns are hatched, because nobody may attend to padding.
torch.manual_seed(29)
tokens = torch.randn(6, 4)
causal = torch.ones(
    6, 6, dtype=torch.bool
).tril()  # row i may attend to columns 0 to i
padding = (torch.arange(6) < 4).expand(6, 6)  # nobody may attend to the last two

_, axes = plt.subplots(1, 2, figsize=(7, 3.4))
for ax, mask, title in zip(
    axes,
    (causal, padding),
    ("causal: not into the future", "padding: tokens 4 and 5 are empty"),
):
    weights = attention.attention_weights(tokens, tokens, mask)
    assert (weights[~mask] == 0).all() and torch.allclose(
        weights.sum(-1), torch.ones(6)
    )
    viz.heatmap(weights, ax, title=title, rows=range(6), columns=range(6))
    for i, j in (~mask).nonzero().tolist():
        ax.add_patch(
            plt.Rectangle(
                (j - 0.5, i - 0.5),
                1,
                1,
                fill=False,
                hatch="////",
                edgecolor=viz.LINE,
                linewidth=0,
            )
        )
    ax.set(xlabel="key", ylabel="query")
plt.show()

# %% [markdown]
# (Rows 4 and 5 are padding that asks. They are still filled; their outputs are thrown away later.)
#
# ViT needs no mask: in an image, every patch may look at every other. But where you meet one, mind
# this trap: `nn.MultiheadAttention` reads a boolean mask **the other way round**. There, `True` means *may not attend*.

# %%
torch.manual_seed(31)
layer = nn.MultiheadAttention(embed_dim=4, num_heads=1, batch_first=True)
x = tokens[None]  # (1, 6, 4)
_, theirs = layer(x, x, x, attn_mask=~causal)  # note the ~
looks_back_only = bool((theirs[0][~causal] == 0).all())
print("nn.MultiheadAttention with ~causal looks only back:", looks_back_only)

# %% [markdown]
# ### Exercise 1.4 · `masked_attention`
#
# *Medium, 10 minutes.* Attention with a mask.
#
# * `query`, `key`, `value` as before; `mask` is boolean, `(..., Nq, Nk)`, `True` = may attend.
# * Weights are 0 where the mask is `False`, and the rest of the row sums to 1.
# * A row in which nothing is allowed gives zeros, in the weights and in the output. Never `nan`, and never in the gradients either.
# * Scores may be large: an allowed one may lie millions below 0, and below a forbidden one. So fill with the lowest number of the type, `torch.finfo(scores.dtype).min`, or with `-torch.inf`.
# * Return the pair (output, weights).


# %% tags=["exercise"]
def masked_attention(query, key, value, mask):
    """Attention in which only pairs with mask True count: a pair (..., Nq, dv), (..., Nq, Nk)."""
    # BEGIN SOLUTION
    scores = query @ key.transpose(-2, -1) / query.shape[-1] ** 0.5  # (..., Nq, Nk)
    scores = scores.masked_fill(~mask, torch.finfo(scores.dtype).min)
    weights = softmax(scores, dim=-1).masked_fill(~mask, 0.0)
    return weights @ value, weights
    # END SOLUTION


# %% tags=["check"]
from course_lib.checks import check_masked_attention

check_masked_attention(masked_attention)

# %% [markdown] tags=["help"]
# <details>
# <summary>Hint</summary>
#
# `scores.masked_fill(~mask, number)` puts `number` wherever the mask is `False`. Do that before the softmax. Then think about
# the row in which nothing is allowed: what comes out of the softmax there, and what should?
#
# </details>
#
# <details>
# <summary>I get “nan”</summary>
#
# A row of $-\infty$ only. Fill with the lowest finite number in its place, `scores.masked_fill(~mask, torch.finfo(scores.dtype).min)`: then
# the softmax of such a row is uniform, and you set the forbidden weights to 0 before they meet the values, `weights.masked_fill(~mask, 0.0)`. No step makes a `nan`.
# If you replace the `nan` afterwards instead, it can come back in the gradients, where no output shows it.
#
# </details>

# %% [markdown]
# ## What it costs
#
# Every token looks at every other, so there are $N^2$ scores, and each is a dot product of width $d$. The count is easy to do by hand, and PyTorch can count along (it counts matrix products, which are nearly all of the work).

# %%
from torch.utils.flop_counter import FlopCounterMode


def count_operations(N, d):
    """Multiplications and additions of one attention, as PyTorch counts them."""
    x = torch.randn(N, d)
    with FlopCounterMode(display=False) as counter:
        attention.scaled_dot_product_attention(x, x, x)
    return counter.get_total_flops()


# Q Kᵀ: N·N dot products of d multiplications and d additions. The average with V: as many again.
assert count_operations(N=50, d=16) == 2 * (2 * 50 * 50 * 16)
base = count_operations(50, 16)
print("twice the tokens:", count_operations(100, 16) // base, "times the work")
print("twice the width: ", count_operations(50, 32) // base, "times the work")

# %% [markdown]
# So attention costs $O(N^2 d)$ operations: the number grows like $N^2 d$. ($O(1)$ does not grow at all.) Its rivals for mixing a sequence are a recurrent network, which walks from token to token and carries a memory along,
# and a convolution, which looks at $k$ neighbours ([Vaswani et al. 2017](https://arxiv.org/abs/1706.03762), table 1 and section 4):
#
# | layer | operations | steps that must wait for each other | layers or steps between the two ends |
# |:--|:--|:--|:--|
# | self-attention | $O(N^2 d)$ | $O(1)$ | $O(1)$ |
# | recurrence | $O(N d^2)$ | $O(N)$ | $O(N)$ |
# | convolution of width $k$ | $O(k N d^2)$ | $O(1)$ | $O(N/k)$ |
#
# The last column counts through how many steps a signal has to pass from the first token to the last. With attention it is one, however long the sequence. A convolution of width 3 reaches
# one neighbour further with each layer: to connect the two ends of 197 tokens it takes 196 layers. That short path is what the $N^2$ buys.
#
# For images, $N$ is the number of patches. A 224-pixel image in patches of 16 gives $14 \times 14 = 196$ tokens.
#
# > **Predict.** Halve the patch to 8 pixels. How many times more tokens? How many times more attention scores?

# %% tags=["hide-output"]
coarse, fine = (224 // 16) ** 2, (224 // 8) ** 2
print(
    f"tokens: {coarse} -> {fine}, {fine // coarse} times; scores: {coarse**2:,} -> {fine**2:,}, {fine**2 // coarse**2} times"
)

# %% [markdown]
# And in seconds? The curves below were measured once, on one core of a server, with the script `benchmarks/attention_cost.py`: one layer of
# width 64 with all its projections, one sequence. Set `MEASURE` to `True` to add your own machine.

# %% tags=["hide-input"]
#| alt: Time of one layer against the number of tokens, both axes logarithmic, from 64 to 4096 tokens. Recurrence and convolution rise along lines of slope 1, convolution lowest. Attention starts below recurrence, rises more and more steeply, and crosses it near 2000 tokens. Fused attention lies below the explicit one and crosses later.
MEASURE = False

record = load_record("attention_cost")
lengths, times = record["lengths"], record["milliseconds"]
curves = {
    "attention, as written here": (times["attention"], "o-", viz.QUERY),
    "attention, fused kernel": (times["attention_fused"], "o:", viz.QUERY),
    "recurrence (GRU)": (times["recurrence"], "s-", viz.KEY),
    "convolution, width 3": (times["convolution"], "^-", viz.VALUE),
}
if MEASURE:
    from statistics import median
    from timeit import repeat

    layer = attention.MultiHeadSelfAttention(
        record["dim"], num_heads=1
    )  # see chapter 2
    yours = []
    for length in lengths:
        x = torch.randn(1, length, record["dim"])
        seconds = repeat(lambda x=x: layer(x), number=1, repeat=record["repeats"])
        yours.append(1000 * median(seconds))
    curves["attention, fused kernel, your machine"] = (yours, "x--", viz.INK)

_, ax = plt.subplots(figsize=(7, 3.6))
for label, (milliseconds, style, color) in curves.items():
    ax.loglog(lengths, milliseconds, style, color=color, label=label)
ax.set(xlabel="number of tokens N", ylabel="milliseconds")
ax.set_xticks(lengths, lengths)
ax.minorticks_off()
ax.legend()
plt.show()

solid, dotted, recurrent, narrow = map(
    torch.tensor,
    (
        times[k]
        for k in ("attention", "attention_fused", "recurrence", "convolution")
    ),
)
assert (solid[:-1] < recurrent[:-1]).all() and (solid[-1] > recurrent[-1])
assert solid[-1] > 4 * solid[-2] and dotted[-1] < 4 * dotted[-2]
assert (dotted < solid).all() and (narrow < torch.minimum(dotted, recurrent)).all()
N, D = 256, record["dim"]  # multiplications: attention twice those of the GRU
assert 4 * N * D * D + 2 * N * N * D == 2 * (6 * N * D * D)

# %% [markdown]
# Up to about 2000 tokens attention is faster than the recurrence (here a GRU), although at 256 it already does twice as many operations: it does them in a few large matrix products, and the recurrence makes one small step after another.
# Then the square catches up. In its last step the solid curve grows more than fourfold, the dotted one does not. The convolution is cheapest everywhere, and sees three tokens.
#
# The *fused* kernel computes the same numbers without ever storing the whole weight matrix
# ([Dao et al. 2022](https://arxiv.org/abs/2205.14135)). It has a price that will matter in chapter 2: with the weights never
# stored, there is nothing to look at.

# %% [markdown]
# ## Attention does not know the order
#
# Look at the formula once more. Where does it say that one token comes before another? Nowhere.
#
# > **Predict.** Shuffle the tokens, then run self-attention. How are the outputs related to those without shuffling?

# %% tags=["hide-input", "hide-output"]
torch.manual_seed(37)
X = torch.randn(7, 6, dtype=torch.float64)  # 7 tokens of width 6
W_Q, W_K, W_V = torch.randn(3, 6, 5, dtype=torch.float64).unbind(0)


def self_attention(X):
    return attention.scaled_dot_product_attention(X @ W_Q, X @ W_K, X @ W_V)[0]


shuffle = torch.randperm(7)
before, after = self_attention(X), self_attention(X[shuffle])


def equal(a, b):
    return torch.allclose(a, b, rtol=0, atol=1e-12)


print("attend(shuffle(X)) == shuffle(attend(X)):", equal(after, before[shuffle]))
print("attend(shuffle(X)) == attend(X):         ", equal(after, before))
print(
    "their means over tokens are equal:       ",
    equal(after.mean(0), before.mean(0)),
)

# %% [markdown]
# The outputs are the same ones, shuffled along. This is called **permutation equivariance**. It is not the same as *in*variance, in which the shuffling would
# leave no trace at all: for that, you have to throw the order away, for instance by averaging over the tokens, as the third line does.
#
# So to attention a sentence is a bag of words, and an image a bag of patches. What is in the bag must say where it belongs:
# the position has to become part of the token. Chapter 5 is about how ViT does it. Next you will see what happens without it.

# %% [markdown]
# ## A task with a known answer
#
# It is time to train something. The task: **reverse a sequence.** In go twelve symbols, out come the same twelve from last to first. It is a good
# first task because you know what attention must look like before you start.
#
# > **Predict.** To write output 0, the model must read input 11. To write output 1, it must read input 10. Sketch the $12 \times 12$ attention map,
# > row = output, column = input. What will you see once the model has learned the task?
#
# The model is one self-attention and nothing more: each symbol becomes a vector, a learned vector for its position is added, and a linear layer reads
# the answer off the output.

# %%
NUM_SYMBOLS, LENGTH, WIDTH = 10, 12, 32


class Reverser(nn.Module):
    """Symbols (B, 12) -> scores for each symbol at each place (B, 12, 10), and the attention weights (B, 12, 12)."""

    def __init__(self, with_positions=True, weigh=attention.attention_weights):
        super().__init__()
        self.symbol = nn.Embedding(
            NUM_SYMBOLS, WIDTH
        )  # a table: one learned vector per symbol
        self.position = (
            nn.Parameter(torch.randn(LENGTH, WIDTH)) if with_positions else 0.0
        )
        self.query, self.key, self.value = (
            nn.Linear(WIDTH, WIDTH) for _ in range(3)
        )
        self.readout = nn.Linear(WIDTH, NUM_SYMBOLS)
        self.weigh = weigh

    def forward(self, symbols):
        x = self.symbol(symbols) + self.position  # (B, 12, 32)
        weights = self.weigh(self.query(x), self.key(x))  # (B, 12, 12)
        return self.readout(weights @ self.value(x)), weights


def train(model, steps=300):
    """Teach the model to reverse random sequences: about a second on a laptop."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    for _ in range(steps):
        symbols = torch.randint(NUM_SYMBOLS, (64, LENGTH))
        scores, _ = model(symbols)
        loss = F.cross_entropy(scores.flatten(0, 1), symbols.flip(1).flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


@torch.no_grad()
def test(model):
    """Share of symbols that are right on 1000 new sequences, and the attention map averaged over them."""
    symbols = torch.randint(NUM_SYMBOLS, (1000, LENGTH))
    scores, weights = model(symbols)
    return (
        scores.argmax(-1) == symbols.flip(1)
    ).float().mean().item(), weights.mean(0)


torch.manual_seed(41)
model = Reverser()
_, map_before = test(model)
train(model)
accuracy, map_after = test(model)
print(f"right after training: {accuracy:.0%}")

# %% tags=["hide-input", "hide-output"]
#| alt: Two 12 by 12 heat maps. Before training, the weight is spread in no visible order. After training, all of it lies on the anti-diagonal, from the top right corner to the bottom left one: output 0 reads input 11, output 1 reads input 10, and so on.
_, axes = plt.subplots(1, 2, figsize=(7, 3.6))
for ax, weights, title in zip(
    axes, (map_before, map_after), ("before training", "after training")
):
    viz.heatmap(weights, ax, title=title, rows=range(LENGTH), columns=range(LENGTH))
    ax.set(xlabel="input it reads (key)", ylabel="output it writes (query)")
plt.show()

on_the_anti_diagonal = map_after.flip(1).diagonal()
assert (on_the_anti_diagonal > 0.9).all()  # in every row

# %% [markdown]
# **The anti-diagonal.** Nobody told the model where to look. It was told only which symbols were right, and the gradient found the rest. When you look into a
# ViT in chapter 12, you will read maps of this kind, with nobody to tell you what they ought to look like. Here you know.
#
# > **Predict.** Now take the positions away: `with_positions=False`. There are ten symbols, so blind guessing is right in 10 % of the cases. Will the model reach
# > 100 %, stay at 10 %, or something between?

# %% tags=["hide-input", "hide-output"]
torch.manual_seed(43)
blind = Reverser(with_positions=False)
train(blind)
symbols = torch.randint(NUM_SYMBOLS, (1000, LENGTH))
with torch.no_grad():
    named = blind(symbols)[0].argmax(-1)  # (1000, 12)
accuracy = (named == symbols.flip(1)).float().mean().item()

one_hot = F.one_hot(symbols)  # (1000, 12, 10)
others = one_hot.sum(1, keepdim=True) - one_hot  # counts at the other eleven places
most = others.amax(-1)
obvious = (others.gather(-1, named[..., None])[..., 0] == most).float().mean()

print("without positions: 24 to 33 % right")
print(f"by naming the commonest other symbol: {most.float().mean() / 11:.0%}")
print("of its answers, over 95 % name it")
assert 0.24 < accuracy < 0.33 and obvious > 0.95

# %% [markdown]
# Something between, a little over a quarter. Without positions, two places that hold the same symbol have the same query, get the same weights and so write the same answer, though they should write different ones.
# The model still sees *which* symbols there are, not where. Naming the commonest among the others is the best that anybody can do with that, so more training would not help.

# %% [markdown]
# ### The wrong axis, trained
#
# You have met the softmax along the wrong axis. Let us train it.
#
# > **Predict.** The same model, the same task, but every *column* of the weights sums to 1. What accuracy will it reach?


# %% tags=["hide-output"]
def weights_along_the_wrong_axis(query, key):
    return (query @ key.transpose(-2, -1) / query.shape[-1] ** 0.5).softmax(dim=-2)


torch.manual_seed(47)
buggy = Reverser(weigh=weights_along_the_wrong_axis)
train(buggy)
accuracy, map_buggy = test(buggy)
print(f"with the wrong axis: {accuracy:.0%} right")

# %% tags=["hide-input", "hide-output"]
assert accuracy > 0.995 and (map_buggy.flip(1).diagonal() > 0.85).all()

# %% tags=["hide-input", "hide-output"]
#| alt: Two 12 by 12 heat maps side by side, softmax along the keys and softmax along the queries, both after training. Both show the same dark anti-diagonal and cannot be told apart.
_, axes = plt.subplots(1, 2, figsize=(7, 3.6))
for ax, weights, title in zip(
    axes, (map_after, map_buggy), ("the right axis", "the wrong axis")
):
    viz.heatmap(weights, ax, title=title, rows=range(LENGTH), columns=range(LENGTH))
    ax.set(xlabel="input it reads (key)", ylabel="output it writes (query)")
plt.show()

# %% [markdown]
# All of it. The loss goes down, the accuracy is perfect, even the map looks as it should. On the anti-diagonal, each row *and* each column holds a
# single 1, so the task cannot tell the two axes apart. Other tasks can, and you would find out much later.
#
# **That training works does not show that the code is right.** So test the numbers. But a test can hide a bug as well.
#
# > **Predict.** Somebody forgets $\sqrt d$ and compares with the right function on random queries and keys. Once they multiply both by 100, once they do not. Which comparison notices?


# %% tags=["hide-output"]
def share_of_equal_rows(size):
    """1000 queries, 5 keys of width 8: how often does leaving out the scale not show?"""
    query, key = size * torch.randn(1000, 8), size * torch.randn(5, 8)
    without_scale = (query @ key.T).softmax(dim=-1)
    difference = without_scale - attention.attention_weights(query, key)
    return (difference.abs().amax(-1) < 0.001).float().mean().item()


torch.manual_seed(53)
print(f"times 100:        {share_of_equal_rows(100):.0%} of the rows agree")
print(f"as they are:      {share_of_equal_rows(1):.0%} of the rows agree")

# %% [markdown]
# With large scores nearly every row is saturated: the winner takes all, with the scale and without it. Test data must leave room for the mistake to show. That is why the checks in this
# course use fresh inputs of moderate size, in several shapes.

# %% [markdown]
# ## The block, tested
#
# This is what later chapters import. Compare it with yours. (`bias` is for chapter 5.)

# %%
import inspect

print(inspect.getsource(attention.scaled_dot_product_attention))

# %% [markdown]
# ## Three to think about
#
# No code, a pencil.
#
# 1. Which queries and keys make attention copy its input, so that the output of token $i$ is (nearly) value $i$?
# 2. Let $P$ be a permutation matrix, so that $PX$ is $X$ with its rows shuffled. Prove in two lines that self-attention of $PX$ is $P$ times self-attention of $X$.
# 3. Where does $p_i(\delta_{ij} - p_j)$ come from? Differentiate $p_i = e^{s_i} / \sum_k e^{s_k}$, once for $j = i$ and once for $j \ne i$.
#
# <details>
# <summary>Answers</summary>
#
# 1. Each token needs a key that only its own query resembles. For instance $q_i = k_i = c\, e_i$ with unit vectors $e_i$ that are orthogonal, and a large $c$: the score of a token with itself is $c^2/\sqrt d$, with all the others 0.
#    There can be at most $d$ such directions.
# 2. The scores of $PX$ are $(PXW_Q)(PXW_K)^\top = P S P^\top$, with $S$ the scores of $X$: rows and columns are shuffled. Softmax works row by row and does not care about the order within a row, so the weights are $P A P^\top$.
#    The output is $P A P^\top P X W_V = P A X W_V$, because $P^\top P$ is the identity.
# 3. Write $Z = \sum_k e^{s_k}$. For $j = i$ the quotient rule gives $(e^{s_i} Z - e^{s_i} e^{s_i})/Z^2 = p_i - p_i^2$. For $j \ne i$ only the denominator depends on $s_j$: $-e^{s_i} e^{s_j}/Z^2 = -p_i p_j$. One formula covers both.
#
# </details>

# %% [markdown]
# ## Check yourself
#
# Choose before you look: each answer comes with its reason, the wrong ones too. Five questions, about five minutes.
#
# **1.** Your softmax runs along `dim=-2` in place of `-1`. There are as many queries as keys. How can you find out?
#
# * **A.** By the loss: such a model does not learn.
# * **B.** By the shape of the output.
# * **C.** Add up each row of the weights.
# * **D.** Look for `nan`.
#
# <details class="course-quiz">
# <summary>Answer to 1</summary>
#
# * **A, wrong.** The reversing model learned its task completely with this very bug. That training works does not show
#   that the code is right.
# * **B, wrong.** Twelve queries and twelve keys give 12 × 12 weights whichever axis you take. The shape is right.
# * **C, right.** Each query hands out exactly 1. Along the wrong axis the columns sum to 1, and the rows to anything.
# * **D, wrong.** All numbers lie between 0 and 1, as they should. Nothing is undefined.
#
# </details>
#
# **2.** Why are the scores divided by $\sqrt d$?
#
# * **A.** Their spread then does not depend on the width.
# * **B.** Otherwise the exponentials would overflow at large widths.
# * **C.** Otherwise the weights would not sum to 1.
#
# <details class="course-quiz">
# <summary>Answer to 2</summary>
#
# * **A, right.** The sum of $d$ products has standard deviation $\sqrt d$; divided by that it is 1, for $d = 4$ and for
#   $d = 768$. So the softmax starts neither saturated nor flat.
# * **B, wrong.** A softmax subtracts the largest score first, so nothing overflows, with the scale or without.
# * **C, wrong.** Softmax sees to that, whatever the scores are.
#
# </details>
#
# **3.** Somebody divides by $d$ in place of $\sqrt d$, at $d = 64$. What do the weights of an untrained layer look
# like?
#
# * **A.** One key has nearly everything.
# * **B.** All keys have nearly the same.
# * **C.** The same as with $\sqrt d$, since softmax normalises.
#
# <details class="course-quiz">
# <summary>Answer to 3</summary>
#
# * **A, wrong.** That is what happens with no scale at all: the spread is then 8, not 1/8.
# * **B, right.** The spread of the scores is $1/\sqrt d = 1/8$, so their differences are small, and attention is close
#   to a plain average.
# * **C, wrong.** It normalises the sum, and not the scale. Only differences of scores matter, and these are eight times
#   too small.
#
# </details>
#
# **4.** A mask is applied *after* the softmax: `softmax(scores) * mask`. What is wrong with the result?
#
# * **A.** The rows sum to less than 1.
# * **B.** The forbidden keys still have some weight left.
# * **C.** Nothing: the order of the two steps does not matter.
#
# <details class="course-quiz">
# <summary>Answer to 4</summary>
#
# * **A, right.** The forbidden keys are silent, but have still taken their share. Masked before the softmax, the row is
#   what you would get without these keys.
# * **B, wrong.** They are multiplied by 0, so their weight is exactly 0.
# * **C, wrong.** It does. The softmax has already shared out the 1 among all keys.
#
# </details>
#
# **5.** You shuffle the tokens and run self-attention, with no positions and no mask. What happens to the outputs?
#
# * **A.** Each changes, since each token has other neighbours now.
# * **B.** Nothing: there is no trace of the shuffling.
# * **C.** The same outputs come out, shuffled along with the tokens.
#
# <details class="course-quiz">
# <summary>Answer to 5</summary>
#
# * **A, wrong.** Attention knows no neighbours. Nothing in the formula says who stands beside whom.
# * **B, wrong.** That would be *in*variance, which you get after an average over the tokens, for instance.
# * **C, right.** This is equivariance: a token gets what it would have got elsewhere.
#
# </details>

# %% [markdown]
# ## What you take with you
#
# * Attention is a **weighted average of values**. The weights come from comparing a query with keys.
# * **Rows sum to 1**: softmax along the keys. The wrong axis has the right shape, and trains.
# * $\sqrt d$ keeps the **spread** of the scores at 1, whatever the width, so that the softmax starts neither saturated nor flat.
# * **Masking is removing**: before the softmax, and a row with nothing allowed is zeros.
# * Attention is **permutation equivariant**. Positions must be put into the tokens.
# * It costs $O(N^2 d)$, and any two tokens are one step apart.
#
# The picture to keep: **the anti-diagonal**. A model that learns where to look, and a map that shows it.
#
# ### To read
#
# * [Vaswani et al. 2017, *Attention Is All You Need*](https://arxiv.org/abs/1706.03762), section 3.2.1 and footnote 4, which is the variance argument in one sentence.
# * [Bahdanau, Cho and Bengio 2015](https://arxiv.org/abs/1409.0473): attention before the Transformer, with the first attention maps worth looking at.
#
# Next, chapter 2: one attention can look in one way at a time. What if a token wants to look in several?
