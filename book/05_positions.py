# %% [markdown]
# # Class token and positions
#
# | Goal | Before you start | Time | Runs on |
# |:--|:--|:--|:--|
# | Give the Transformer a token to answer with and a sense of place, and carry both to images of another size | Chapters 1 to 4 | 90 minutes | any CPU |
#
# Chapter 4 left you with a strip of patches. Two things are missing before the encoder can name what is in the picture. It needs
# one place from which to read *one* answer, and it needs to know where each patch came from. ViT solves both with vectors that are
# learned: one more token, and one more addition. Both are a line of code, and both have variants that run and are wrong.

# %% tags=["setup"]
from collections import OrderedDict
from itertools import product

import matplotlib.pyplot as plt
import torch
import torch.nn.functional as F
from scipy import ndimage
from torchvision.models.vision_transformer import interpolate_embeddings
from torchvision.transforms import v2

from course_lib import patch_embed, viz
from course_lib import pos_embed as positions
from course_lib.data import photographs
from course_lib.interpret import record_attention
from course_lib.records import load_record
from course_lib.vit import VisionTransformer, ViTConfig

viz.set_style()
torch.set_num_threads(1)  # the models here are tiny: more threads only wait

# %% [markdown]
# ## Many tokens in, one answer out
#
# An encoder returns as many tokens as it was given. An image has one label. Somebody has to make one vector out of $N$. Two ways are in use:
#
# * **A class token.** Put one more token in front, a learned vector that stands for no patch. It goes through all blocks, attends to the patches, and the head reads it, and it alone, after the last norm.
# * **Mean pooling** (global average pooling, GAP). Add nothing. After the last norm take the average of all tokens, and let the head read that.

# %% tags=["hide-input"]
#| alt: Two diagrams of tokens drawn as rows of cells. Left, class token: one pale pink row above six pale blue rows goes through the encoder; seven rows come out, and only the top one, now strong pink, goes on to the head. Right, mean pooling: six pale blue rows go in, six strong blue ones come out, and all six go on to the head as their average.
_, axes = plt.subplots(1, 2, figsize=(7, 2.6))
for ax, extra, title in zip(axes, (1, 0), ("class token", "mean pooling")):
    for x in (0, 9):
        viz.draw_matrix(
            ax, x, 6, 4, viz.KEY, dark=() if extra else range(6 * (x > 0))
        )
        if extra:
            viz.draw_matrix(ax, x, 1, 4, viz.OUTPUT, y=4, dark=[0] if x else [])
    arrow = {"arrowstyle": "-|>", "color": viz.INK}
    ax.annotate("", (8.6, 0), (4.4, 0), arrowprops=arrow)
    ax.text(6.5, 0.4, "encoder", ha="center", fontsize=9)
    y = 4 if extra else 0
    ax.annotate("", (16.6, y), (13.4, y), arrowprops=arrow)
    ax.text(15, y + 0.4, "read" if extra else "mean", ha="center", fontsize=9)
    ax.text(16.9, y, "head", va="center")
    ax.text(2, -4.3, f"{6 + extra} in", ha="center", color=viz.MUTED)
    ax.text(11, -4.3, f"{6 + extra} out", ha="center", color=viz.MUTED)
    ax.set(xlim=(-0.5, 19.5), ylim=(-4.8, 5.2), aspect="equal", title=title)
    ax.axis("off")
plt.show()

# %% [markdown]
# The paper takes the class token, to stay close to the Transformer of text: BERT has one ([Dosovitskiy et al. 2021](https://arxiv.org/abs/2010.11929), section 3.1). Its appendix D.3 tells how mean pooling did very poorly at first, and that this was neither the fault of the
# mean nor the merit of the token: it only needed another learning rate. [Beyer et al. (2022)](https://arxiv.org/abs/2205.01580) use mean pooling in their better plain ViT. So the class token is a choice, and that of the weights that you will load in chapter 6.
#
# `course_lib` has the whole model; you build your own in the next chapter. Here is a small one that has learned nothing, and two photographs.

# %%
HEIGHT, WIDTH, P = 160, 240, 40  # 4 rows and 6 columns of patches
photos = torch.stack(list(photographs().values()))  # "china" and "flower"
to_picture = v2.Compose(
    [
        v2.Resize((HEIGHT, WIDTH), antialias=True),
        v2.ToDtype(torch.float32, scale=True),
    ]
)
pictures = to_picture(photos)  # (2, 3, 160, 240), 0 to 1
images = (2 * pictures - 1).double()  # -1 to 1


def small_vit(pos_embed="learn", global_pool="token"):
    """A Vision Transformer of width 48 with 3 blocks for these photographs, untrained, in float64."""
    torch.manual_seed(3)
    config = ViTConfig(
        img_size=(HEIGHT, WIDTH),
        patch_size=P,
        num_classes=7,
        embed_dim=48,
        depth=3,
        num_heads=4,
        pos_embed=pos_embed,
        global_pool=global_pool,
    )
    return VisionTransformer(config).double()


model = small_vit()
print("images          ", tuple(images.shape))
print("patch tokens    ", tuple(model.patch_embed(images).shape))
print("class token     ", tuple(model.cls_token.shape))
print("positions       ", tuple(model.pos_embed.shape))
print("after the blocks", tuple(model.forward_features(images).shape))

# %% [markdown]
# Read the shapes. There are $4 \cdot 6 = 24$ patches, and 25 tokens after the blocks. The class token is **not the first patch**: it pushes the first patch to place 1.
# And it is `(1, 1, 48)`, without a batch dimension of its own. It is *one* vector, the same for every image.
#
# > **Predict.** If it is the same for every image, how can it tell the two photographs apart? At which point does the class token of "china" begin to differ from that of "flower": before the first block, after the first, after the last?

# %% tags=["hide-output"]
with torch.no_grad(), record_attention(model) as maps:
    x = model.patch_embed(images)  # (2, 24, 48)
    x = torch.cat([model.cls_token.expand(2, -1, -1), x], dim=1)  # (2, 25, 48)
    x = x + model.pos_embed
    print("before the blocks, same class token:", torch.equal(x[0, 0], x[1, 0]))
    for number, block in enumerate(model.blocks, start=1):
        x = block(x)
        print(
            f"after block {number}, same class token:",
            torch.equal(x[0, 0], x[1, 0]),
        )

# In block 1, whom does the class token look at? (2, 4, 25)
asked = maps[0][:, :, 0]
print(
    "its weights sum to 1:",
    torch.allclose(asked.sum(-1), torch.ones(2, 4).double()),
)
print("they are the same in both images:", torch.allclose(asked[0], asked[1]))

# %% [markdown]
# After the first block. In that block the class token asks the same question of every image: same vector, same query. The *answers* differ, since keys and values come from the patches, and the answers are what is added to it. It is an empty form that each image fills in.
#
# ### One vector for all
#
# To put it in front of every image, it has to be handed out $B$ times. `expand` does that without copying: all rows are the same memory. Five images then send five gradients to one vector. Where do they go?

# %%
torch.manual_seed(5)
shared = torch.randn(1, 1, 6, requires_grad=True)
handed_out = shared.expand(5, -1, -1)  # (5, 1, 6)
print(
    "expanded:",
    tuple(handed_out.shape),
    "same memory:",
    handed_out.data_ptr() == shared.data_ptr(),
)

wishes = torch.randn(5, 1, 6)  # what each image's loss would change
(handed_out * wishes).sum().backward()
print("gradient:", tuple(shared.grad.shape))
print(
    "it is the sum over the images:",
    torch.allclose(shared.grad[0, 0], wishes.sum(dim=(0, 1))),
)

# %% [markdown]
# All images vote on one vector. A parameter of shape $(B, 1, D)$ would be another thing: $B$ vectors, each trained by whichever image happens to stand in its row of the batch, and a crash on the last, smaller batch.

# %% [markdown]
# ### Exercise 5.1 · `prepend_class_token`
#
# *Easy, 5 minutes.* Put the class token in front.
#
# * `tokens` is `(B, N, D)`, `cls_token` is `(1, 1, D)`.
# * The result is `(B, N+1, D)`: the class token first, the same for every image, then the tokens as they were. It has their type, and gradients must reach both inputs.


# %% tags=["exercise"]
def prepend_class_token(tokens, cls_token):
    """Put one and the same class token before the tokens of every image: (B, N, D), (1, 1, D) -> (B, N+1, D)."""
    # BEGIN SOLUTION
    cls_tokens = cls_token.expand(tokens.shape[0], -1, -1)  # (B, 1, D), no copy
    return torch.cat([cls_tokens, tokens], dim=1)
    # END SOLUTION


# %% tags=["check"]
from course_lib.checks import check_prepend_class_token

check_prepend_class_token(prepend_class_token)

# %% [markdown] tags=["help"]
# <details>
# <summary>Hint</summary>
#
# Two steps: `expand` the class token to `(B, 1, D)`, where `-1` leaves a dimension as it is, and `torch.cat` the two along the dimension that counts tokens.
#
# </details>
#
# <details>
# <summary>I get “Sizes of tensors must match except in dimension 1”</summary>
#
# `torch.cat` does not broadcast. The class token still has batch size 1, and the tokens have $B$. Expand it first.
#
# </details>

# %% [markdown]
# ## A bag of patches
#
# Chapter 1: attention does not know the order. Shuffle the tokens, and the outputs are the same ones, shuffled along. That is **equivariance**. What becomes of it in a whole ViT? Here is a photograph, and the same with its 24 patches shuffled.

# %%
#| alt: Left, a photograph of a Chinese temple by the water. Right, the same photograph cut into 24 square patches that have been shuffled: pieces of roof, sky and trees lie in no order.
torch.manual_seed(7)
shuffle = torch.randperm(24)
patches = patch_embed.patchify(images, P)  # (2, 24, 4800)
shuffled = patch_embed.unpatchify(patches[:, shuffle], (4, 6))

_, axes = plt.subplots(1, 2, figsize=(4.4, 1.7))
for ax, x, title in zip(axes, (images, shuffled), ("china", "shuffled")):
    shown = F.avg_pool2d(x[:1], 2)[0].permute(1, 2, 0)  # half the size
    ax.imshow((shown + 1) / 2, interpolation="nearest")
    ax.set_title(title)
    ax.axis("off")
plt.show()

# %% [markdown]
# > **Predict.** A ViT *without* positions gets both. The seven numbers that its head returns: are they the same for the two pictures, the same but in another order, or different? With a class token, and with the mean?


# %% tags=["hide-output"]
def equal(a, b):
    return torch.allclose(a, b, rtol=0, atol=1e-12)


for pool in ("token", "avg"):
    orderless = small_vit("none", pool)
    first = 1 if pool == "token" else 0  # where the patches begin
    with torch.no_grad():
        before, after = (
            orderless.forward_features(x)[:, first:] for x in (images, shuffled)
        )
        print(
            f"{pool:5} tokens: same in the same place: {equal(after, before)}, shuffled along: {equal(after, before[:, shuffle])}"
        )
        print(
            f"{pool:5} answer: same: {equal(orderless(shuffled), orderless(images))}"
        )

# %% [markdown]
# The patch tokens are shuffled along: the blocks are **equivariant**. But the head reads the class token, which has no place to be shuffled to, or the mean, which does not care. So the answer does not change at all: the classifier is **invariant**.
#
# To such a model a temple and a heap of temple pieces are the same thing. It sees a **bag of patches**. (What is *inside* a patch it sees in order: a linear layer gives each pixel a weight of its own.) Does any way of adding positions repair it?

# %%
with torch.no_grad():
    for kind in positions.POS_EMBEDS:
        tried = small_vit(kind)
        print(f"{kind:9} same answer: {equal(tried(shuffled), tried(images))}")

# %% [markdown]
# Every one of the four: the untrained model now *can* tell the two pictures apart. The rest of the chapter is about what they are, how they differ, and when it matters.

# %% [markdown]
# ## A task in which place is everything
#
# For a photograph, a bag of patches says a lot: roof, sky, so perhaps a temple. To see what positions are worth, take a task in which the bag says nothing.
#
# Each image has a cross and a ring, each in a patch of its own, on a grid of 3 rows and 5 columns. **Is the ring to the right of the cross?** If they are in the same column, the image is left out. (The marks are faint, 0.3 of white. The pictures below are brightened.)

# %%
PATCH, GRID = 4, (3, 5)
CROSS = torch.tensor([[1, 0, 0, 1], [0, 1, 1, 0], [0, 1, 1, 0], [1, 0, 0, 1]])
RING = torch.tensor([[0, 1, 1, 0], [1, 0, 0, 1], [1, 0, 0, 1], [0, 1, 1, 0]])


def cross_and_ring(axis=1):
    """All images with the answers: axis 1 asks if the ring is right of the cross (180), axis 0 if it is below (150)."""
    places = list(product(range(GRID[0]), range(GRID[1])))
    drawn, answers = [], []
    for cross, ring in product(places, places):
        if cross[axis] == ring[axis]:
            continue
        image = torch.zeros(1, PATCH * GRID[0], PATCH * GRID[1])
        for (row, column), mark in ((cross, CROSS), (ring, RING)):
            rows = slice(PATCH * row, PATCH * (row + 1))
            columns = slice(PATCH * column, PATCH * (column + 1))
            image[0, rows, columns] = 0.3 * mark  # faint: the reason comes below
        drawn.append(image)
        answers.append(int(ring[axis] > cross[axis]))
    return torch.stack(drawn), torch.tensor(answers)


def split(answers, seed=0):
    """Two thirds to learn from, one third to be asked about; half of each with answer 1."""
    generator = torch.Generator().manual_seed(seed)
    halves = [(answers == a).nonzero()[:, 0] for a in (0, 1)]
    halves = [
        half[torch.randperm(len(half), generator=generator)] for half in halves
    ]
    cut = len(answers) // 3  # two thirds of a half
    return (
        torch.cat([half[:cut] for half in halves]),
        torch.cat([half[cut:] for half in halves]),
    )


marks, answers = cross_and_ring()
learn, ask = split(answers)
print(
    "images",
    tuple(marks.shape),
    "right:",
    int(answers.sum()),
    "left:",
    int((1 - answers).sum()),
)
print("to learn from:", len(learn), "to be asked about:", len(ask))

# %% tags=["hide-input"]
#| alt: Four small black images with a grid of 3 by 5 patches drawn in. Each has a cross in one patch and a ring in another. In the first two the ring is right of the cross and the title says right, in the other two it is left and the title says left.
_, axes = plt.subplots(1, 4, figsize=(7, 1.3))
for ax, i in zip(axes, (95, 60, 20, 160)):
    ax.imshow(marks[i, 0], cmap="gray", vmin=0, vmax=0.3, interpolation="nearest")
    ax.set_xticks([PATCH * j - 0.5 for j in range(1, GRID[1])], [])
    ax.set_yticks([PATCH * j - 0.5 for j in range(1, GRID[0])], [])
    ax.grid(color=viz.MUTED, lw=0.6)
    ax.tick_params(length=0)
    ax.set_title(("left", "right")[answers[i]])
plt.show()

# %% [markdown]
# Cut any of these images into patches, throw them into a bag, and shake. The bag holds one cross, one ring and 13 times black. Always.
#
# > **Predict.** A small ViT *without* positions trains on 120 of the images, many times each. How many of these 120 will it get right? It may learn them by heart. And of the 60 others?


# %%
def build(kind):
    """A Vision Transformer of width 32 with two blocks and mean pooling for these images."""
    config = ViTConfig(
        img_size=(PATCH * GRID[0], PATCH * GRID[1]),
        patch_size=PATCH,
        in_chans=1,
        num_classes=2,
        embed_dim=32,
        depth=2,
        num_heads=4,
        mlp_ratio=2.0,
        pos_embed=kind,
        global_pool="avg",
    )
    return VisionTransformer(config)


def teach(model, images, answers, steps):
    """Train: the learning rate goes up to 3e-3 in 50 steps, and then down to 0."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: min(1, (step + 1) / 50) * (1 - step / steps)
    )
    for _ in range(steps):
        chosen = torch.randint(len(images), (48,))
        loss = F.cross_entropy(model(images[chosen]), answers[chosen])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()


@torch.no_grad()
def share_right(model, images, answers):
    return (model(images).argmax(dim=-1) == answers).float().mean().item()


# %% tags=["hide-input", "hide-output"]
torch.manual_seed(11)
blind = build("none")
teach(blind, marks[learn], answers[learn], steps=300)
for name, some in (("learned from:", learn), ("asked about: ", ask)):
    print(name, f"{share_right(blind, marks[some], answers[some]):.0%} right")

with torch.no_grad():
    outputs = blind(marks)
print(
    "one and the same output for all 180:",
    torch.allclose(outputs, outputs[:1], rtol=0, atol=1e-5),
)

# %% [markdown]
# Half, and half. Not about half: exactly. All 180 images are the same bag, so the model gives all of them the same output, and whichever answer that is, it is right for half of them. It cannot even learn by heart.
# No training changes that, and no larger model.
#
# Now the same model with positions, of a kind that you will build below:

# %%
torch.manual_seed(13)
seeing = build("sincos2d")
teach(seeing, marks[learn], answers[learn], steps=300)
for name, some in (("learned from:", learn), ("asked about: ", ask)):
    assert share_right(seeing, marks[some], answers[some]) >= 0.95
    print(name, "at least 95 % right")

# %% [markdown]
# Solved, and it holds for pairs of places that it was never shown. The two models differ in one addition:
#
# ```python
# x = x + pos_embed      # (B, N, D) + (1, N, D)
# ```
#
# That is all there is to an (absolute) position embedding, also called positional encoding: **each place has a vector, and it is added to whatever token stands there.** The question is where the vectors come from.

# %% [markdown]
# ## Learned positions
#
# The simplest answer, and ViT's: do not decide. Make a table of $N + 1$ vectors, one for each place and one for the class token, start it at random, and train it with the rest:
#
# ```python
# self.pos_embed = nn.Parameter(0.02 * torch.randn(1, N + 1, D))
# ```
#
# Row 0 belongs to the class token, so it is added *after* the class token has been put in front. (Strictly, it is needless: class token and its position are two learned vectors of which only the sum is ever seen.
# Some models add first and concatenate then; their table has $N$ rows.)
#
# ### How large at the start?
#
# The standard deviation is 0.02, and not the 1 of `torch.randn`. How much of a token is then picture, and how much is place? Measure it with a patch embedding as ViT starts with, on patches at the *same place* in the two photographs, which show different things.
#
# > **Predict.** With `randn`, how alike are two tokens that share nothing but their place, as a cosine: near 0, 0.2, or above 0.5?

# %% tags=["hide-output"]
torch.manual_seed(1)
fine = VisionTransformer(
    ViTConfig(img_size=(HEIGHT, WIDTH), embed_dim=192, depth=1, num_heads=3)
).double()
with torch.no_grad():
    content = fine.patch_embed(images)  # (2, 150, 192): patches of 16 pixels
    for std in (0.02, 1.0):
        start = std * torch.randn(1, 150, 192, dtype=torch.float64)
        ratio = start.norm(dim=-1).mean() / content.norm(dim=-1).mean()
        china, other = content + start
        alike = F.cosine_similarity(china, other, dim=-1).mean()
        print(
            f"std {std:4}: place / picture {ratio:.2f}, same place, other photograph: cosine {alike:.2f}"
        )

# %% [markdown]
# With 0.02 the place is a whisper, 3 % of the length of the picture's part. With `randn` it is longer than the picture's part, here about one and a half times, and two patches at the same place look alike whatever they show.
#
# That is a matter of proportion: the normalisation of the images decides, and the first weights. Hence the faint marks above: drawn with 1 instead of 0.3, they would make the whisper more than three times fainter still.
# (In the 13 black patches nothing drowns it. The bias starts at 0, so these tokens are pure place, and LayerNorm makes even a whisper loud.)
#
# ### The sum that swallows a mistake
#
# > **Predict.** Many codes for text keep the sequence *first*: `x` is `(N, B, D)`, the table is `(max_len, 1, D)`, and they write `x + max_table[: x.size(0)]`. Take that line over to tokens with the batch first, `(B, N, D)`. What happens?

# %% tags=["hide-input", "hide-output"]
torch.manual_seed(19)
B, N, D = 3, 15, 8
x = torch.randn(B, N, D)
max_table = torch.randn(40, 1, D)  # made for up to 40 places, sequence first

wrong = x + max_table[: x.size(0)]
right = x + max_table[: x.size(1)].transpose(0, 1)
print("shapes:", tuple(wrong.shape), tuple(right.shape))

added = wrong - x
print(
    "all places of an image got the same vector:",
    torch.allclose(added, added[:, :1], atol=1e-6),
)
print(
    "all images of the batch got the same:      ",
    torch.allclose(added, added[:1], atol=1e-6),
)

# %% [markdown]
# Nothing happens, and that is the trouble, until a batch has more than 40 images. `max_table[:3]` is `(3, 1, 8)`, which broadcasts over all places. Every place of image 0 gets position 0, every place of image 1 gets position 1. The model is as blind to place as before, and on top of that an image's answer depends on where in the batch it stands.
# **Broadcasting turns a wrong shape into a wrong sum.** Two cheap guards: keep a leading 1 in the table, `(1, N, D)`, and assert `pos_embed.shape[1] == x.shape[1]` before you add.

# %% [markdown]
# ## Computed positions
#
# One can also write the vectors down (*sinusoidal* positions). Think of the hands of a clock. The second hand tells 12:00:10 from 12:00:20, but is back after a minute. The hour hand knows morning from noon and cannot tell seconds. Together they tell the time.
# [Vaswani et al. (2017)](https://arxiv.org/abs/1706.03762), section 3.5, give a position $D/2$ such hands, each with a speed $\omega_k$ of its own, and write down the sine and the cosine of each:
#
# $$\omega_k = \frac{1}{10\,000^{\,k / (D/2)}}, \qquad k = 0, \dots, \tfrac D2 - 1, \qquad p(n) = \bigl(\sin \omega_0 n,\ \dots,\ \sin \omega_{D/2-1} n,\ \cos \omega_0 n,\ \dots,\ \cos \omega_{D/2-1} n\bigr)$$
#
# By hand, with $D = 4$: the speeds are $1$ and $1/100$. Position 0 is $(0, 0, 1, 1)$. Position 1 is $(\sin 1, \sin 0.01, \cos 1, \cos 0.01) = (0.84, 0.01, 0.54, 1.00)$.

# %%
for row in positions.sincos_pos_embed_1d(torch.arange(3), embed_dim=4).tolist():
    print([f"{v:.2f}" for v in row])

# %% [markdown]
# > **Predict.** Take the dot product of $p(m)$ and $p(n)$. It depends on $m$ and $n$, of course. On what about them?

# %% tags=["hide-input", "hide-output"]
hands = positions.sincos_pos_embed_1d(torch.arange(40), 32).double()  # (40, 32)
dots = hands @ hands.T  # (40, 40)
same = all((dots.diagonal(k) - dots[0, k]).abs().max() < 1e-5 for k in range(40))
print("the same along every diagonal:", same)
print("with itself:", [round(d, 2) for d in dots.diagonal()[:3].tolist()])

# %% tags=["hide-input", "hide-output"]
#| alt: Left, a table with 40 rows, the positions, and 32 columns. The sine half and the cosine half each go from fast waves on the left to columns of nearly one colour on the right. Right, the dot product of two position vectors against their distance: 16 at distance 0, falling at first, then in waves between 12 and 6.
_, (left, right) = plt.subplots(1, 2, figsize=(7, 2.9))
left.imshow(
    hands, cmap=viz.SIGNED, vmin=-1, vmax=1, aspect="auto", interpolation="nearest"
)
left.axvline(15.5, color=viz.INK, lw=1)
left.set(
    xlabel="sines                  cosines",
    ylabel="position",
    xticks=[],
    title="the table",
)
right.plot(dots[0], "o-", color=viz.KEY, markersize=3)
right.set(
    xlabel="distance",
    ylabel="dot product",
    ylim=(0, 17),
    title="nearby places are alike",
)
plt.show()

# %% [markdown]
# On their **distance** alone. $\sin a \sin b + \cos a \cos b = \cos(a - b)$, so $p(m) \cdot p(n) = \sum_k \cos \omega_k (m - n)$. All vectors have the same length, $\sqrt{D/2}$, and places that are close have similar vectors. A learned table has to find that out. A computed one has it from the start, and costs no parameters.
#
# ### Two dimensions
#
# Patches do not stand in a line, though. Number them in reading order, and with 8 columns the patch *below* another is 8 places away, farther than any in its own row. A 2-D embedding asks for row and column separately: **one half of the vector says in which column the patch stands, the other in which row**, each by the recipe above with
# $D/2$ numbers. [MAE](https://arxiv.org/abs/2111.06377) has it so (with a row of zeros for the class token, which has no place), and its code has this order:
#
# $$\bigl(\,\underbrace{\sin,\ \cos}_{\text{of the column}},\ \underbrace{\sin,\ \cos}_{\text{of the row}}\,\bigr), \qquad \tfrac D4 \text{ numbers each}$$
#
# Others have another order, row before column, or sine and cosine in turn (Vaswani et al. do), or slightly other speeds. A model that learns with any of them learns as well. But weights learned with one are wrong with another, and there is no error.
# [MoCo v3](https://github.com/facebookresearch/moco-v3/blob/main/vits.py) even names its first half after the width, and it holds the *row*: `torch.meshgrid(grid_w, grid_h)`, flattened, changes its *first* argument slowest, and in reading order that is the row. On a square grid nobody is hurt.

# %% [markdown]
# ### Exercise 5.2 · `sincos_pos_embed_2d`
#
# *Medium, 15 minutes.* Build the table.
#
# * `grid_size` is `(gh, gw)`: rows, columns. `embed_dim` is $D$, a multiple of 4. `temperature` takes the place of the 10 000.
# * The result is `(gh·gw, D)`, float32, the patches in reading order (row by row).
# * In each row: $D/4$ sines of the column, $D/4$ cosines of the column, $D/4$ sines of the row, $D/4$ cosines of the row. Columns and rows count from 0.
# * The speeds are $\omega_k = 1 / \text{temperature}^{\,k/(D/4)}$ for $k = 0, \dots, D/4 - 1$, since each half has $D/2$ numbers.


# %% tags=["exercise"]
def sincos_pos_embed_2d(grid_size, embed_dim, temperature=10_000.0):
    """Sine and cosine of the column, then of the row, D/4 numbers each: (gh, gw), D -> (gh·gw, D)."""
    # BEGIN SOLUTION
    gh, gw = grid_size
    column = torch.arange(gw).repeat(gh)[:, None]  # 0 1 2 0 1 2 ..., (gh·gw, 1)
    row = torch.arange(gh).repeat_interleave(gw)[:, None]  # 0 0 0 1 1 1 ...
    quarter = embed_dim // 4
    speeds = temperature ** -(torch.arange(quarter) / quarter)  # (D/4,)
    angles = [column * speeds, row * speeds]  # (gh·gw, D/4) each
    return torch.cat([part for a in angles for part in (a.sin(), a.cos())], dim=1)
    # END SOLUTION


# %% tags=["check"]
from course_lib.checks import check_sincos_pos_embed_2d

check_sincos_pos_embed_2d(sincos_pos_embed_2d)

# %% [markdown] tags=["help"]
# <details>
# <summary>Hint</summary>
#
# First two tensors of length $gh \cdot gw$ that say for each patch, in reading order, its column and its row. For a grid of 2 rows and 3 columns they are `0 1 2 0 1 2` and `0 0 0 1 1 1`: `repeat` makes the one, `repeat_interleave` the other
# (or `torch.meshgrid` with `indexing="ij"`, flattened). Each times the speeds gives angles of shape `(gh·gw, D/4)`.
#
# </details>
#
# <details>
# <summary>I get “expected torch.float32, got torch.float64”</summary>
#
# Something in your formula is float64, perhaps a NumPy array. Computing in float64 is a good idea. Call `.float()` at the end.
#
# </details>
#
# <details>
# <summary>I get numbers that are right in the first row only</summary>
#
# In the first row of the *table*? It is $(0, \dots, 1, \dots, 0, \dots, 1, \dots)$ whatever the speeds are. Look at the exponent: it runs over $k/(D/4)$, so that the first speed is 1 and the last is still above $1/\text{temperature}$.
#
# In the first row of the *grid*? Then the columns go on counting in the second row. Patch $n$ is in column `n % gw` and row `n // gw`.
#
# </details>

# %% [markdown]
# ### A map for every place
#
# What does a table know about space? Take one patch and compare its position vector with those of all patches, as a cosine. That gives a little map of the grid. Do it for every patch, and put each map where its patch is.
#
# > **Predict.** On a grid of 5 rows and 8 columns, take a patch in the middle. Which other patches are most like it, if the table is 1-D, in reading order? And if it is 2-D? Sketch both maps.


# %% tags=["hide-output"]
#| alt: Two panels, one above the other, each a grid of 5 by 8 little maps, one for each patch, dark where positions are similar. Above, 1-D in reading order: each map is dark in a stripe along its own row and pale elsewhere, and near the left and right edge the stripe goes on at the other end of the row above or below. Below, 2-D: each map is dark around its own patch, a spot with pale arms along its row and column, and the spot moves from map to map as the patch does.
def maps_of(table, grid):
    """Cosine similarity of every place with every other, tiled: one little map (gh, gw) per patch, at its place."""
    gh, gw = grid
    table = F.normalize(table, dim=1)
    maps = (table @ table.T).view(gh, gw, gh, gw)  # of patch, to patch
    maps = F.pad(maps, (0, 1, 0, 1), value=torch.nan)  # a gap between the maps
    return maps.permute(0, 2, 1, 3).reshape(gh * (gh + 1), gw * (gw + 1))[:-1, :-1]


tables = {
    "1-D": positions.sincos_pos_embed_1d(torch.arange(40), 64),
    "2-D": positions.sincos_pos_embed_2d((5, 8), 64),
}
_, axes = plt.subplots(2, 1, figsize=(6.6, 5.8), sharex=True)
for ax, (name, computed) in zip(axes, tables.items()):
    viz.heatmap(maps_of(computed, (5, 8)), ax, title=name, limits=(0.7, 1.0))
    ax.set_xticks([9 * c + 3.5 for c in range(8)], range(8))
    ax.set_yticks([6 * r + 2 for r in range(5)], range(5))
    ax.spines[:].set_visible(False)
    ax.set_facecolor(viz.LINE)  # seen in the gaps
    ax.set(ylabel="row of the patch")
axes[1].set(xlabel="column of the patch")
plt.colorbar(axes[1].images[0], ax=axes, label="cosine", ticks=[0.7, 0.8, 0.9, 1])
plt.show()

for name, computed in tables.items():
    unit = F.normalize(computed, dim=1)
    print(
        f"{name}: right neighbour {unit[19] @ unit[20]:.2f}, neighbour below {unit[19] @ unit[27]:.2f}"
    )

# %% [markdown]
# Above, a patch resembles its neighbours in the *row*. The patch below is eight places away, farther than any in its own row. The maps are **stripes**, and at the edges a stripe goes on at the other end of the next row, as reading does. Below, each map is dark **around its own patch**, to the left and right as much as up and down, and the
# dark spot walks across the grid as the patch does. It is a spot with pale arms rather than a disc, because the cosine is an average of two, one of the columns and one of the rows.
#
# Nothing of this was learned. In chapter 11 you will draw the same maps for a table that *was*, by a ViT that nobody told about rows and columns.

# %% [markdown]
# ## Relative positions
#
# A patch may not need to know *where it is*, only where the others are *from it*. [Shaw et al. (2018)](https://arxiv.org/abs/1803.02155) put that into the attention instead of the tokens. The form that vision models use, in
# [Swin](https://arxiv.org/abs/2103.14030) and [BEiT](https://arxiv.org/abs/2106.08254), is the plainest: each head has one learned number for each *offset*, such as "one down, two to the left" (row and column of the query minus those of the key), and adds it to the score:
#
# $$\text{score}_{ij} = \frac{q_i \cdot k_j}{\sqrt d} + b_{\,\text{offset}(i, j)}$$
#
# > **Predict.** A grid of 2 rows and 3 columns has $6 \cdot 6 = 36$ pairs of patches. How many different offsets are there?

# %% tags=["hide-output"]
index, offsets = positions.relative_position_index((2, 3))  # (6, 6)
print(
    "offsets:",
    offsets,
    "all in use:",
    index.unique().tolist() == list(range(offsets)),
)

bias = positions.RelativePositionBias((2, 3), num_heads=5)
print("with a class token, table:", tuple(bias.relative_position_bias_table.shape))
print("added to the scores:      ", tuple(bias().shape))

# %% tags=["hide-input", "hide-output"]
#| alt: A 7 by 7 table for a class token and 6 patches, row = query, column = key, with a number in each cell. Among the patches the main diagonal is 7 everywhere, and equal offsets carry equal numbers along the diagonals of each block. The row of the class token is all 15, its column all 16, the corner 17.
full = positions.RelativePositionBias((2, 3), num_heads=1).index  # (7, 7)
labels = ["class"] + [f"{r},{c}" for r in range(2) for c in range(3)]
ax = viz.heatmap(
    full / 17,
    plt.subplots(figsize=(4.4, 3.6))[1],
    rows=labels,
    columns=labels,
    limits=(0, 1.6),
)
for i, j in product(range(7), range(7)):
    ax.text(j, i, int(full[i, j]), ha="center", va="center", fontsize=10)
ax.set(
    xlabel="key (row,column of the patch)",
    ylabel="query",
    title="which number is added",
)
plt.show()

for gh, gw in ((2, 3), (4, 6), (14, 14)):
    different = len(positions.relative_position_index((gh, gw))[0].unique())
    assert different == (2 * gh - 1) * (2 * gw - 1)

# %% [markdown]
# Rows can differ by $-1, 0, 1$ and columns by $-2, \dots, 2$: that is $3 \cdot 5 = 15$, in general $(2\,gh - 1)(2\,gw - 1)$. They are numbered in reading order, both shifted to begin at 0. Query 0,1 and key 1,0, say: row $0 - 1 + 1 = 0$, column $1 - 0 + 2 = 3$, so number $0 \cdot 5 + 3 = 3$.
# Cells with the same number share one learned number. A class token has no place, so it gets three numbers of its own: 15 for what it
# adds when it asks a patch, 16 when a patch asks it, 17 for itself.
#
# What is learned about "one to the left" anywhere then holds everywhere. The price: a table in every block, and a matrix that has to be added to the scores of every head. (**Rotary** embeddings, [RoPE](https://arxiv.org/abs/2104.09864), need neither: they turn queries and keys like the hands of the clock, and the scores then feel places by their offset alone.)

# %% [markdown]
# ## Which one?
#
# You have met four. All of them, and none, on the task of the cross and the ring, trained for 1000 steps with 20 seeds each by `benchmarks/position_kinds.py`. The learned table takes part twice, once starting at 0.02 and once at 1.
#
# > **Predict.** Which kind gets there first? Which last? Does any fail?

# %% tags=["hide-input", "hide-output"]
#| alt: Six small panels, share right on unseen images against training steps from 0 to 1000, twenty thin lines each. None: all flat at one half. Learned from 0.02: about one half for 100 to 750 steps, then up to nearly 1; two end at one half. Learned from 1: up within 200 steps. Sine-cosine 1-D: up quickly, then mostly flat between 0.8 and 1. Sine-cosine 2-D: at 1 almost at once. Relative: at one half for 100 to 900 steps, then steeply up to 1, some after falling back; one stays at one half.
record = load_record("position_kinds")
every = record["configuration"]["every"]
kinds = {
    "none": "none",
    "learn": "learned, from 0.02",
    "learn, std 1": "learned, from 1",
    "sincos1d": "sine-cosine, 1-D",
    "sincos2d": "sine-cosine, 2-D",
    "relative": "relative",
}
_, axes = plt.subplots(2, 3, figsize=(7, 3.4), sharex=True, sharey=True)
for ax, (kind, name) in zip(axes.flat, kinds.items()):
    for run in record["runs"]:
        if run["kind"] == kind:
            steps = range(every, every * len(run["ask"]) + 1, every)
            ax.plot(steps, run["ask"], color=viz.KEY, lw=0.8, alpha=0.5)
    ax.axhline(0.5, color=viz.MUTED, lw=1, ls=":")
    ax.set_title(name)
for ax in axes[1]:
    ax.set(xlabel="steps", xticks=[0, 500, 1000])
axes[0, 0].set(ylabel="share right", ylim=(0.3, 1.05), yticks=[0.5, 0.75, 1.0])
axes[1, 0].set(ylabel="share right")
plt.show()

extra = {
    "relative, std 1": "relative, from 1",
    "sincos1d, below": "1-D, “is it below?”",
}
print(f"{'':20} at the end    not started  steps to 0.9: half the runs, all")
ends, first = {}, {}  # for each kind, sorted: the last share, the steps to 0.9
for kind, name in {**kinds, **extra}.items():
    runs = [run["ask"] for run in record["runs"] if run["kind"] == kind]
    ends[kind] = e = sorted(run[-1] for run in runs)
    good = [
        [every * i for i, share in enumerate(run, 1) if share >= 0.9]
        for run in runs
    ]
    first[kind] = f = sorted(steps[0] if steps else torch.inf for steps in good)
    print(
        f"{name:20} {e[0]:.2f} to {e[-1]:.2f}  {e.count(0.5):2} of {len(runs)} {f[9]:17} {f[-1]:13}"
    )
print("(inf: never in these 1000 steps)")

by_heart = [run["learn"][-1] for run in record["runs"] if run["kind"] == "sincos1d"]
assert min(by_heart) > 0.99  # 1-D, on the images that it learned from
assert 0.9 < ends["sincos1d"][10] < 0.95 and ends["sincos1d"].count(1) == 1
assert ends["sincos2d"][0] == 1 and first["sincos2d"][-1] == 200
assert first["learn"][0] == 250 and first["learn"][17] == 1000  # all but two
assert ends["relative"][0] == 0.5 and ends["relative"][2] == 1
assert first["learn, std 1"][-1] == 200 and first["relative, std 1"][-1] == 350
assert first["sincos1d, below"][-1] == 100

# %% [markdown]
# Every thin line is a seed, tested on the 60 images that it did not learn from. Read the panels one by one.
#
# * **None** stays at one half, as it must.
# * **Sine-cosine 2-D** is at nine in ten after 100 steps in half of the runs and after 200 in all, and ends with everything right in all 20. The answer to "left or right?" is half of its vector.
# * **Sine-cosine 1-D** learns almost as fast, and then most runs stop a little above nine in ten (one of 20 ends with everything right). On the images that it learned from it is right in 99 to 100 % of the cases, so part of this it has learned by heart (it *overfits*). Its maps suggest why: the stripes tell rows apart, and the question is about columns. Ask it about rows, whether the ring is *below* the cross (the last line), and all 20 are at nine in ten within 100 steps.
# * **Learned**, from 0.02, does nothing for a while. Two of 20 had not started after 1000 steps; the others reach nine in ten after 250 to 1000. Started at 1, all 20 do within 200. So the small start is not a law: where place is everything, a loud table helps.
# * **Relative** waits as well. One of 20 had not started after 1000 steps, and one had only just; the other 18 end with everything right. Its numbers begin at 0.02, too. From 1 (the last line but one) all 20 are at nine in ten within 350 steps.
#
# This is a toy, built to bring differences out. On ImageNet the paper's pre-trained ViT-B/16 has 61 % without positions and 64 % with 1-D, 2-D or relative ones, all learned ([Dosovitskiy et al. 2021](https://arxiv.org/abs/2010.11929), appendix D.4; a linear classifier on five examples per class).
# There, **that there are positions matters more than which**. And 61 is not so much below 64: for photographs, a bag of patches goes a long way. Chapter 7 compares the kinds on MNIST.

# %% [markdown]
# ## Another image size
#
# A ViT that was trained on images of 224 pixels can be fine-tuned on images of 384, which often does better (section 3.2 of the paper). The patch stays 16 pixels, so the grid grows from $14 \times 14$ to $24 \times 24$. Blocks, patch embedding and head do not care how many tokens there are.
#
# > **Predict.** One parameter of the model does not fit any more. Which? And what would you do with its row 0?

# %% tags=["hide-output"]
small, large = (
    VisionTransformer(
        ViTConfig(img_size=size, embed_dim=24, depth=2, num_heads=3)
    ).state_dict()
    for size in (224, 384)
)
for name in small:
    if small[name].shape != large[name].shape:
        print(name, tuple(small[name].shape), "->", tuple(large[name].shape))

# %% [markdown]
# Only the position table, with $1 + 196$ rows instead of $1 + 576$. The paper resizes it **as if it were a picture** (it *interpolates* the positions): take off row 0, which belongs to the class token and has no place; lay the other 196 on their grid, a picture of $14 \times 14$ "pixels" with $D$ channels; resize that picture to $24 \times 24$; lay it flat again, and put row 0 back in front.
#
# Here is one channel of a computed table, before and after: you know what it should look like.

# %% tags=["hide-input"]
#| alt: Two heat maps of one channel of a position table, with waves that run from left to right. On the left 14 by 14 coarse cells, on the right 24 by 24 finer cells with the same waves.
smooth = torch.cat(
    [torch.zeros(1, 64), positions.sincos_pos_embed_2d((14, 14), 64)]
)[None].double()
resized = positions.resample_pos_embed(smooth, (24, 24))
_, axes = plt.subplots(1, 2, figsize=(5, 2.5))
for ax, t, g in zip(axes, (smooth, resized), (14, 24)):
    channel = t[0, 1:, 1].view(g, g)
    viz.heatmap(
        channel, ax, title=f"{g} × {g}", cmap=viz.SIGNED, limits=(-1.1, 1.1)
    )
plt.show()

# %% [markdown]
# ### Exercise 5.3 · `resample_pos_embed`
#
# *Medium, 15 minutes.* Resize a table.
#
# * `pos_embed` is `(1, prefix + g·g, D)`: the first `num_prefix_tokens` rows belong to no patch, the others to a square grid in reading order.
# * `new_grid_size` is `(gh, gw)`, which need not be square, and may be smaller.
# * The result is `(1, prefix + gh·gw, D)`, the prefix unchanged. It is trained on, so gradients must reach every row of `pos_embed`.
# * Resize with `F.interpolate(picture, size=..., mode="bicubic", antialias=True)`, where `picture` is `(1, D, g, g)`. Bicubic means that each new value is a weighted sum of $4 \times 4$ old ones; antialiasing widens that where the picture shrinks.


# %% tags=["exercise"]
def resample_pos_embed(pos_embed, new_grid_size, num_prefix_tokens=1):
    """Stretch position embeddings to another grid: (1, prefix + g·g, D) -> (1, prefix + gh·gw, D)."""
    # BEGIN SOLUTION
    prefix = pos_embed[:, :num_prefix_tokens]
    patches = pos_embed[:, num_prefix_tokens:]
    g = round(patches.shape[1] ** 0.5)
    picture = patches.reshape(1, g, g, -1).permute(0, 3, 1, 2)  # (1, D, g, g)
    picture = F.interpolate(
        picture, size=new_grid_size, mode="bicubic", antialias=True
    )
    patches = picture.flatten(2).transpose(1, 2)  # (1, D, gh, gw) -> (1, gh·gw, D)
    return torch.cat([prefix, patches], dim=1)
    # END SOLUTION


# %% tags=["check"]
from course_lib.checks import check_resample_pos_embed

check_resample_pos_embed(resample_pos_embed)

# %% [markdown] tags=["help"]
# <details>
# <summary>Hint</summary>
#
# `(1, g·g, D)` becomes `(1, g, g, D)` by `reshape`, and then the channels have to go to the front with `permute`. After resizing, the same two steps backwards: `flatten(2)` makes `(1, D, gh·gw)`, and `transpose(1, 2)` brings the channels to the end.
#
# </details>
#
# <details>
# <summary>I get “shape '[1, 4, 4, 6]' is invalid for input of size 102”</summary>
#
# The prefix is still in. 102 is $17 \cdot 6$, and $17 = 1 + 4 \cdot 4$. Split it off first.
#
# </details>
#
# <details>
# <summary>I get “must be tuple of ints, but got float”</summary>
#
# `n ** 0.5` is a float even where it comes out whole, and a shape wants an `int`: `round(n ** 0.5)`.
#
# </details>
#
# <details>
# <summary>I get the right shape and wrong numbers</summary>
#
# `reshape(1, D, g, g)` straight from `(1, g·g, D)` runs, and mixes channels with places. It is the patch bug of chapter 4 again: reshape splits dimensions, only `permute` swaps them.
#
# </details>

# %% [markdown]
# ### Four libraries, four tables
#
# Everybody agrees on the idea. On the resizing itself they do not:
#
# | library | filter | corners |
# |:--|:--|:--|
# | torchvision, `interpolate_embeddings` | bicubic | aligned |
# | Hugging Face, `interpolate_pos_encoding` | bicubic | not aligned |
# | timm, `resample_abs_pos_embed` (and this course) | bicubic, antialiased | not aligned |
# | Google's own code, SciPy's `zoom` with order 1 | bilinear | aligned |
#
# *Corners aligned* is about where the new patches lie between the old ones. Aligned: the first and last new patch lie exactly on the first and last old one, and the others evenly between. Not aligned: the *image* is what stays, its outer edges, and each new patch lies where it really is in the image.

# %% tags=["hide-input"]
#| alt: Three rows of points on one axis, old patch coordinates from -0.5 to 13.5. The 14 old patch centres at 0 to 13. Below, corners not aligned: 24 centres evenly from about -0.2 to 13.2. At the bottom, corners aligned: 24 centres from exactly 0 to exactly 13.
old, new = torch.arange(14.0), torch.arange(24.0)
not_aligned = (new + 0.5) * 14 / 24 - 0.5
aligned = new * 13 / 23
_, ax = plt.subplots(figsize=(7, 1.7))
for y, x, color, marker in (
    (2, old, viz.INK, "s"),
    (1, not_aligned, viz.VALUE, "o"),
    (0, aligned, viz.QUERY, "D"),
):
    ax.plot(x, [y] * len(x), marker, color=color, markersize=5)
for edge in (-0.5, 13.5):
    ax.axvline(edge, color=viz.MUTED, lw=1, ls="--")
ax.set(
    xlabel="place, counted in old patches (dashed: the edges of the image)",
    ylim=(-0.6, 2.6),
    xticks=range(0, 14, 2),
)
ax.set_yticks([2, 1, 0], ["14 old patches", "24, not aligned", "24, aligned"])
plt.show()
print(
    f"how far apart at the corner: {(aligned - not_aligned).abs().max():.2f} of an old patch"
)

# %% [markdown]
# How different are they? Here are all four on the smooth table from above. For torchvision it is their own function, for Google the SciPy function that theirs calls, for the other two the one call of `F.interpolate` that theirs come down to.
# The last column is the mean length of the vectors after resizing, divided by that before, on the smooth table and on a rough one of random numbers.


# %% tags=["hide-output"]
def four_ways(table):
    """(1, 197, D), made for 14 x 14 -> {library: (1, 576, D)}, the patches for 24 x 24."""
    picture = table[:, 1:].mT.unflatten(2, (14, 14))  # (1, D, 14, 14)
    key = "encoder.pos_embedding"
    torchvision = interpolate_embeddings(384, 16, OrderedDict({key: table}))[key]
    hugging_face = F.interpolate(picture, size=(24, 24), mode="bicubic")
    zoomed = ndimage.zoom(picture[0].numpy(), (1, 24 / 14, 24 / 14), order=1)
    return {
        "torchvision": torchvision[:, 1:],
        "Hugging Face": hugging_face.flatten(2).mT,
        "timm": positions.resample_pos_embed(table, (24, 24))[:, 1:],
        "Google": torch.from_numpy(zoomed)[None].flatten(2).mT,
    }


torch.manual_seed(23)
rough = torch.randn(1, 197, 64, dtype=torch.float64)
ways, rough_ways = four_ways(smooth), four_ways(rough)
print("largest difference", *(f"{library:>12}" for library in ways), "  length")
for library, patches in ways.items():
    apart = [f"{(patches - other).abs().max():12.2f}" for other in ways.values()]
    lengths = [
        new[library].norm(dim=-1).mean() / old[:, 1:].norm(dim=-1).mean()
        for new, old in ((ways, smooth), (rough_ways, rough))
    ]
    print(f"{library:18}", *apart, "  smooth {:.2f}, rough {:.2f}".format(*lengths))

# bilinear with aligned corners is what SciPy's zoom does
picture = rough[:, 1:].mT.unflatten(2, (14, 14))
ours = F.interpolate(picture, size=(24, 24), mode="bilinear", align_corners=True)
assert (ours.flatten(2).mT - rough_ways["Google"]).abs().max() < 1e-12

# %% [markdown]
# The table's numbers lie between −1 and 1, and two libraries can be a quarter apart. And resizing averages, and averages are shorter: on the rough table bilinear, which mixes the nearest four and never overshoots, leaves two thirds of the length. On the smooth one next to nothing is lost. (You will see learned tables in chapter 11.)
#
# Which is right? For the smooth table you can tell, since it is a formula: put in the true place of each new patch.

# %%
true_place = (torch.arange(24) + 0.5) * 14 / 24 - 0.5  # -0.21, 0.38, ..., 13.21
axis = positions.sincos_pos_embed_1d(true_place, 32)
truth = torch.cat([axis.repeat(24, 1), axis.repeat_interleave(24, dim=0)], dim=1)
rim = torch.ones(24, 24, dtype=torch.bool)
rim[1:-1, 1:-1] = False  # the outermost ring of patches
inside = torch.zeros(24, 24, dtype=torch.bool)
inside[2:-2, 2:-2] = True  # all but the two outermost rings
for library, patches in ways.items():
    off = (patches - truth).abs().amax(-1).view(24, 24)
    print(
        f"{library:13} off at the edge by {off[rim].min():.2f} to {off[rim].max():.2f}, inside by up to {off[inside].max():.2f}"
    )
    assert off[rim].min() > 0.1
    assert (off[inside].max() < 0.04) == (library in ("Hugging Face", "timm"))

# %% [markdown]
# Inside the image (from the third ring of patches on), Hugging Face and timm are within a few hundredths of the true vectors. torchvision and Google are not: with the corners aligned, nearly every patch gets the vector of a place where it is not. At the edge everybody is off by a tenth or more. There the new patches lie outside the old ones, at −0.21, and there is nothing to interpolate between.
# Still, all four are in use, and weights that were fine-tuned after one of them have got used to it. **Which filter was used is part of what the weights mean**, like their mean and standard deviation. The course follows timm.
#
# A *computed* table needs no resizing: call the function for the new grid. That is a choice, too. `sincos_pos_embed_2d((24, 24), D)` counts on to 23, so a patch keeps its vector if it keeps its *number*. The `truth` above measures in old patches, from −0.21 to 13.21, and a patch keeps its vector if it keeps its *place in the image*, as with resizing.
# A relative table does not fit a new grid either: $27^2 = 729$ offsets become $47^2 = 2209$.
#
# <details>
# <summary>For the curious: why do Hugging Face and timm differ, where nothing shrinks?</summary>
#
# Both are bicubic, and neither aligns corners. But a bicubic filter has a free constant, usually called $a$. Halfway between two old patches the four weights are $a/8,\ 1/2 - a/8,\ 1/2 - a/8,\ a/8$. PyTorch has $a = -0.75$ without antialiasing and $a = -0.5$ with it, as Pillow has, the library for images. Try it: `F.interpolate(torch.eye(6)[None, :, None], size=(1, 9), mode="bicubic")[0, :, 0, 4]`
# gives $-0.09375$ and $0.59375$, and with `antialias=True` $-0.0625$ and $0.5625$. So `antialias=True` changes more than its name says.
#
# </details>

# %% [markdown]
# ## The block, tested
#
# This is what later chapters import. Compare it with yours: the work is the same, the rest is for those who call it wrongly, and for models that came later (`no_embed_class`, the other two tokens, `norm_pre`).

# %%
import inspect

print(inspect.getsource(positions.resample_pos_embed))
print(inspect.getsource(VisionTransformer.embed))

# %%
for wrong in (
    lambda: positions.resample_pos_embed(
        torch.zeros(1, 197, 24), (24, 24), num_prefix_tokens=0
    ),
    lambda: positions.sincos_pos_embed_2d((4, 6), embed_dim=30),
    lambda: ViTConfig(pos_embed="sincos"),
):
    try:
        wrong()
    except ValueError as error:
        print(error)

# %% [markdown]
# ## Three to think about
#
# No code, a pencil.
#
# 1. A ViT without positions and with mean pooling gives a photograph and its shuffled version the same answer. What if you shuffle by *half* a patch, that is, cut and shuffle squares of 8 pixels and use patches of 16?
# 2. Show that in $p(n)$ a step of $s$ places is a rotation: there is a matrix $M_s$ that does not depend on $n$, with $p(n + s) = M_s\, p(n)$.
# 3. Tokens are picture plus place, $x_i = c_i + p_i$. Multiply out the score $q_i \cdot k_j$. Which of the four terms could a relative bias replace?
#
# <details>
# <summary>Answers</summary>
#
# 1. Then the insides of the patches change, and with them the tokens. The model sees another bag, and gives another answer. Invariance holds for shuffling whole patches, and for nothing finer.
# 2. Each pair $(\sin \omega n, \cos \omega n)$ turns by the angle $\omega s$: $\sin \omega(n+s) = \cos(\omega s) \sin \omega n + \sin(\omega s) \cos \omega n$, and $\cos \omega(n+s) = \cos(\omega s) \cos \omega n - \sin(\omega s) \sin \omega n$. The four coefficients depend on $s$ only. $M_s$ has one such $2 \times 2$ rotation for each speed.
# 3. With $A = W_Q W_K^\top$ the score is $c_i A c_j^\top + c_i A p_j^\top + p_i A c_j^\top + p_i A p_j^\top$: picture with picture, picture with place, place with picture, place with place. A relative bias takes the part of the last, the one that knows only the two places, and lets it depend on their offset alone.
#
# </details>

# %% [markdown]
# ## Check yourself
#
# Choose before you look: each answer comes with its reason, the wrong ones too. Five questions, about five minutes.
#
# **1.** The class token is one vector, `(1, 1, D)`, the same for every image. Where do two images first differ in it?
#
# * **A.** At the input: each image has a copy that it trains.
# * **B.** After the first block, in what it has read by then.
# * **C.** Only after the last block.
#
# <details class="course-quiz">
# <summary>Answer to 1</summary>
#
# * **A, wrong.** A batch of images shares one vector, and all of them send their gradients to it.
# * **B, right.** It asks every image the same question, and gets other answers, since keys and values come from the
#   patches.
# * **C, wrong.** It reads the patches in every block, from the first on.
#
# </details>
#
# **2.** A ViT *without* positions classifies a photograph, and then the same with its patches shuffled. How are the two
# answers related?
#
# * **A.** They are the same.
# * **B.** The same numbers, in another order.
# * **C.** They differ, since the picture no longer makes sense.
#
# <details class="course-quiz">
# <summary>Answer to 2</summary>
#
# * **A, right.** The blocks are equivariant, and class token or mean throw the order away. Together that is invariance:
#   the model sees a bag of patches.
# * **B, wrong.** That holds for the patch *tokens*. The logits belong to classes, and these are not shuffled.
# * **C, wrong.** To you. To this model both are the same bag.
#
# </details>
#
# **3.** `x` is `(3, 24, D)`, batch first, and the table is `(40, 1, D)`. What does `x + table[: x.size(0)]` do?
#
# * **A.** It raises an error, since 3 is not 24.
# * **B.** It gives positions to the first three patches only.
# * **C.** It gives all patches of one image the same position.
#
# <details class="course-quiz">
# <summary>Answer to 3</summary>
#
# * **A, wrong.** `(3, 1, D)` is broadcast over the 24 places. No error comes before a batch has more than 40 images.
# * **B, wrong.** Every patch gets a vector, and that is what hides the mistake.
# * **C, right.** Image 0 gets position 0 everywhere, image 1 position 1. Place is not told, and the answer depends on
#   the row in the batch.
#
# </details>
#
# **4.** Learned positions start at 0.02 and not at 1. What did the cross and the ring show of this?
#
# * **A.** That 0.02 is always the better start.
# * **B.** That where place is everything, a louder start helps.
# * **C.** That the start does not matter.
#
# <details class="course-quiz">
# <summary>Answer to 4</summary>
#
# * **A, wrong.** In this task the reverse was seen: from 1, all 20 runs were there within 200 steps.
# * **B, right.** From 0.02 two of 20 runs had not begun to learn after 1000 steps; from 1 all were at nine in ten after
#   200. The small start is no law.
# * **C, wrong.** They are, and still the runs from 0.02 waited for hundreds of steps.
#
# </details>
#
# **5.** Your ViT has 197 learned positions for 224 pixels. You want 384. What do you do?
#
# * **A.** Keep row 0, and resize the other 196 as a picture.
# * **B.** Interpolate all 197 along the sequence.
# * **C.** Train from scratch: there is no vector for a new place.
#
# <details class="course-quiz">
# <summary>Answer to 5</summary>
#
# * **A, right.** Row 0 is the class token's and has no place. The rest is a 14 × 14 picture with $D$ channels, which
#   becomes 24 × 24.
# * **B, wrong.** A patch's neighbour above is 14 rows away in the table. Along the sequence you would mix the end of
#   one row with the start of the next, and the class token with the first patch.
# * **C, wrong.** Between old places one can interpolate, and that works well enough to go on training from.
#
# </details>

# %% [markdown]
# ## What you take with you
#
# * **One answer out of $N$ tokens**: a class token, learned, `(1, 1, D)`, expanded over the batch and put *in front* of the patches; or the mean. Both work.
# * Without positions the encoder is **equivariant**, the classifier **invariant**: a ViT sees a bag of patches.
# * A position embedding is **one addition**, `(B, N, D) + (1, N, D)`. Check the shape before you add, since broadcasting will not.
# * Learned tables start **small**, at 0.02. Computed ones know from the start that near places are alike. Relative ones put a number per offset into the scores.
# * For another image size, **take off the class token's row, resize the rest as a picture, put it back**. Which filter is part of what the weights mean.
#
# The picture to keep: **a map for every place**. Stripes if the table thinks in a line, a spot around each patch if it thinks in the plane.
#
# ### To read
#
# * [Dosovitskiy et al. 2021](https://arxiv.org/abs/2010.11929), section 3.1 and 3.2, appendix D.3 (class token against mean) and D.4 (position embeddings).
# * [Vaswani et al. 2017](https://arxiv.org/abs/1706.03762), section 3.5: sines and cosines, on half a page.
# * [Liu et al. 2021, *Swin Transformer*](https://arxiv.org/abs/2103.14030), section 3.2: the relative bias.
#
# Next, chapter 6: all the pieces are there. Put them together, and load the real weights.
