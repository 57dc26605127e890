"""Write the page "How fast can a plain ViT learn CIFAR-10?" (book/speedrun.md) and its picture from recipes and records.

python tools/speedrun_page.py
"""

import io
from dataclasses import dataclass

import matplotlib.pyplot as plt
import notebooks

from course_lib import viz
from course_lib.files.atomic import write_atomically
from course_lib.recipes.recipe import Recipe
from course_lib.recipes.runner import RECIPES
from course_lib.recipes.scratch import LADDER
from course_lib.recipes.speedrun import recorded, training_flops
from course_lib.records import load_record
from course_lib.train.config import TrainConfig
from course_lib.vit import ViTConfig

PAGE = notebooks.BOOK / "speedrun.md"
PICTURE = notebooks.ROOT / "assets" / "img" / "speedrun.svg"
PETA = 1e15


@dataclass(frozen=True)
class Claim:
    """What somebody else says of a plain ViT on the original CIFAR-10, and the sizes from which its cost is counted."""

    who: str
    link: str
    accuracy: float
    passes: int  # over the training images
    training: str
    model: ViTConfig
    place: tuple[int, int]  # of its name in the picture, from the square, in points
    images: int = 50_000

    @property
    def flops(self) -> float:
        """Of the whole training, counted as for the course's own recipes."""
        train = TrainConfig(epochs=self.passes, batch_size=1)
        recipe = Recipe(self.who, "", "cifar10", self.model, train, "", "", "", images=self.images)
        return training_flops(recipe)

    @property
    def parameters(self) -> str:
        """In millions."""
        d = self.model.embed_dim
        hidden = int(d * self.model.mlp_ratio)
        return f"{self.model.depth * (4 * d * d + 2 * d * hidden) / 1e6:.1f} M"


def _model(dim, depth, heads, ratio=2.0):
    return ViTConfig(
        img_size=32, patch_size=4, num_classes=10, embed_dim=dim, depth=depth, num_heads=heads, mlp_ratio=ratio
    )


UVA = "https://uvadlc-notebooks.readthedocs.io/en/latest/tutorial_notebooks/tutorial15/Vision_Transformer.html"
KENTARO = "https://github.com/kentaroy47/vision-transformers-cifar10"
CLAIMS = (
    Claim("UvA tutorial 15", UVA, 75.6, 180, "180 epochs, below an hour on a Titan RTX", _model(256, 6, 8), (-8, -4), 45_000),
    Claim("kentaroy47, patch 4", KENTARO, 80.0, 200, "200 epochs", _model(512, 6, 8, 1.0), (8, -4)),
    Claim("kentaroy47, longer", KENTARO, 89.0, 1000, "1000 epochs", _model(512, 6, 8, 1.0), (8, -11)),
    Claim(
        "omihub777", "https://github.com/omihub777/ViT-CIFAR", 90.92, 200, "200 epochs, 2 h 14 min on a V100",
        _model(384, 7, 12, 1.0), (8, 2),
    ),
    Claim(
        "Compact-Transformers, an early ViT-Lite-7/4", "https://github.com/SHI-Labs/Compact-Transformers", 91.38, 200,
        "200 epochs", _model(256, 7, 4), (-8, -8),
    ),
    Claim(
        "Lee et al. 2021, their plain ViT", "https://arxiv.org/abs/2112.13492", 93.58, 300,
        "100 epochs, each image three times", _model(192, 9, 12), (-8, 0),
    ),
)  # fmt: skip

LEAD = """\
# How fast can a plain ViT learn CIFAR-10?

With how little computing does a Vision Transformer get how far? Here are the course's plain ViTs with their cost, and
what others say of theirs. Yours may go in between.

## The rules

* **A plain ViT**: the image is cut into patches, one linear map makes tokens of them, then come encoder blocks. No
  convolution, no teacher, no weights from elsewhere, no other images.
* At most **4 million parameters**.
* The last tenth of each class is **validation**. Whatever is chosen (rates, sizes, number of epochs) is chosen there, and
  the weights are those after the last epoch. The test images are looked at once, each as it is.
* The cost is **core-seconds** (of the training process, validation after each epoch included) and **operations**: those
  of forward, counted, and twice as many for backward. They are not timed, and so the same on every machine.

Our runs are on a copy of CIFAR-10 saved as JPEG, marked "CIFAR-10 (JPEG copy)"; the others' are on the original. So a
point more or less says nothing between ours and theirs.

One command trains the cheapest recipe whose recorded runs reached a target, in per cent of the validation images, and
says whether it did so again:

```bash
course speedrun cifar10 80
```

It trains as long as the table says, here for more than an hour of one core. `course speedrun mnist 99` does the same for
digits. On a graphics card it is the same command.
"""

OURS = """\
## What the course has run

Per cent right, the mean over the seeds, on CIFAR-10 (JPEG copy). PFLOP are $10^{15}$ operations. Each recipe's name begins
with `cifar10_`: `course train cifar10_fast` trains the third. The dots in the picture are chapter 8's ladder.
"""

THEIRS = """\
## What others say

Plain ViTs on the original CIFAR-10, from scratch, without other data. The accuracies are their authors' own; parameters
(of the blocks) and operations we have counted from the sizes in their code and the epochs that they state.
"""

CARE = """\
**Read these with care.** In the published code of the last one, what is called validation is the test set, and the best
epoch is kept by it; what choosing on the test set does, you have seen in chapter 7. Of the whole table only the first
line held out a validation split. So an honest number, with the last epoch or one that was chosen on validation images,
may be lower than one of these and still be the better result. Those above 4 million parameters are larger than the
rules allow.
"""

QUICK = """\
## What makes it quick

The recipe `cifar10_fast` begins with chapter 8's ladder and what lies on its other side: blocks that begin as the
identity, Muon for their matrices, half of the patches until the last 15 % of the run. Moreover it has twice the width,
26 epochs, a rate that falls along a straight line, a squared ReLU, RMSNorm, larger batches, a shorter memory of AdamW's
for squared gradients, and smoothing; and neither clipping nor averaged weights. Chapter 8 has each of the first three
apart; the rest is a bundle that nobody has taken apart here.
"""


def runs():
    """[(recipe, its recorded runs)] of the plain ViTs that were trained on CIFAR-10, the cheapest first."""
    names = sorted(recorded("cifar10"), key=lambda name: training_flops(RECIPES[name]))
    return [(RECIPES[name], load_record(name)["runs"]) for name in names]


def mean(each, name):
    """Over the runs of a recipe."""
    return sum(run[name] for run in each) / len(each)


def machine(each):
    """What the runs ran on, in short."""
    names = {run["device"].removeprefix("cpu, ").partition(", AVX")[0].replace("(R)", "") for run in each}
    return " and ".join(sorted(name.partition(" Processor")[0] for name in names))


def ours():
    """The table of our runs, the ladder's in one line."""
    lines = [
        "| recipe | parameters | validation | test | seeds | core-minutes | PFLOP | on |",
        "|:--|--:|--:|--:|--:|--:|--:|:--|",
    ]
    for recipe, each in runs():
        lines.append(
            f"| `{recipe.name.removeprefix('cifar10_')}` | {each[0]['parameters'] / 1e6:.2f} M | {100 * mean(each, 'val_accuracy'):.1f} | "
            f"{100 * mean(each, 'test_accuracy'):.1f} | {len(each)} | {mean(each, 'cpu_seconds') / 60:.0f} | "
            f"{training_flops(recipe) / PETA:.3f} | {machine(each)} |"
        )
    return "\n".join([OURS, *lines]) + "\n"


def theirs():
    """The table of claims."""
    lines = ["| who | parameters | % right, they say | training | PFLOP |", "|:--|--:|--:|:--|--:|"]
    for claim in CLAIMS:
        lines.append(
            f"| [{claim.who}]({claim.link}) | {claim.parameters} | {claim.accuracy:g} | {claim.training} | "
            f"{claim.flops / PETA:.0f} |"
        )
    return "\n".join([THEIRS, *lines]) + "\n"


def ladder():
    """[{flops in PFLOP, core-hours, per cent right}] of the rungs of chapter 08's ladder, at the long budget."""
    long = [run for run in load_record("ladder")["runs"] if run["budget"] == "long" and run["rung"] in LADDER]
    found = []
    for rung in dict.fromkeys(run["rung"] for run in long):
        mine = [run for run in long if run["rung"] == rung]
        about = {"flops": training_flops(LADDER[rung]) / PETA, "hours": mean(mine, "cpu_seconds") / 3600}
        found.append(about | {"right": 100 * mean(mine, "test_accuracy")})
    return found


def picture():
    """The picture, as SVG: accuracy against core-hours, and against operations, beside what others say."""
    viz.set_style()
    with plt.rc_context({"svg.hashsalt": "speedrun", "svg.fonttype": "none"}):
        figure, axes = plt.subplots(2, figsize=(5.4, 6.6))
        for ax, cost in zip(axes, ("hours", "flops"), strict=True):
            ax.plot(*zip(*((rung[cost], rung["right"]) for rung in ladder()), strict=True), ".", color=viz.MUTED)
            for recipe, each in runs():
                x = training_flops(recipe) / PETA if cost == "flops" else mean(each, "cpu_seconds") / 3600
                y = 100 * mean(each, "test_accuracy")
                ax.plot(x, y, "o", color=viz.KEY)
                name = recipe.name.removeprefix("cifar10_")
                at, align = ((-7, -4), "right") if name == "fast" else ((7, -4), "left")
                ax.annotate(name, (x, y), at, textcoords="offset points", fontsize=9, ha=align)
            ax.set(xscale="log", ylabel="% right on test", ylim=(45, 100))
        for claim in CLAIMS:
            x, y = claim.flops / PETA, claim.accuracy
            axes[1].plot(x, y, "s", color="none", markeredgecolor=viz.QUERY, markersize=7)
            name, align = (
                claim.who.removesuffix(", their plain ViT").removesuffix(", an early ViT-Lite-7/4"),
                "left" if claim.place[0] > 0 else "right",
            )
            axes[1].annotate(name, (x, y), claim.place, textcoords="offset points", fontsize=9, ha=align)
        axes[0].set(xlabel="core-hours, on the processors of the table", xlim=(0.03, 30))
        axes[1].set(xlabel="operations of the training, PFLOP", xlim=(0.003, 40000))
        keys = [(".", viz.MUTED, "the ladder's rungs"), ("o", viz.KEY, "recipes of the course")]
        for marker, color, text in keys:
            axes[0].plot([], [], marker, color=color, label=text)
        axes[0].plot([], [], "s", color="none", markeredgecolor=viz.QUERY, label="what others say, original CIFAR-10")
        axes[0].legend(fontsize=9, loc="upper left")
        out = io.BytesIO()
        figure.savefig(out, format="svg", metadata={"Date": None})
        plt.close(figure)
    return out.getvalue()


def alt():
    """What is seen in the picture, with the numbers that it is drawn from."""
    recipe, each = max(runs(), key=lambda pair: mean(pair[1], "test_accuracy"))
    rungs, costs = [rung["right"] for rung in ladder()], [claim.flops / PETA for claim in CLAIMS]
    return (
        "Two panels, per cent right on test against cost, on logarithmic axes: above core-hours, below operations. Small "
        f"dots: the rungs of the ladder, between {min(rungs):.0f} and {max(rungs):.0f}. Discs: recipes of the course; the "
        f"highest, {recipe.name}, at {100 * mean(each, 'test_accuracy'):.1f} with {training_flops(recipe) / PETA:.2f} PFLOP. "
        f"Hollow squares, in the lower panel only: what others say, from 75.6 to 93.58, with {min(costs):.0f} to "
        f"{max(costs):.0f} PFLOP, all to the right of the discs."
    )


def page():
    """The whole page as Markdown."""
    figure = f"![{alt()}](../assets/img/{PICTURE.name})\n"
    return notebooks.link_mentions("\n".join([LEAD, ours(), figure, theirs(), CARE, QUICK]), notebooks.targets())


if __name__ == "__main__":
    write_atomically(PICTURE, picture())
    write_atomically(PAGE, page().encode())
