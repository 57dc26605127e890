"""The five reports that the course grew from: every experiment of theirs, the report's figure, ours, and what it takes.

`course reproduce` lists them, `course reproduce NAME` runs one. Chapter 10.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from course_lib.models.backbones import weights_file
from course_lib.models.cnn import CNNConfig
from course_lib.recipes.recipe import Recipe
from course_lib.recipes.runner import RECIPES
from course_lib.records import load_record

REPORTS = {
    "A": "Chen, Zhou & Fang, Southampton: a ViT in parts, fine-tuned against ResNet-152, and looked into",
    "B": "Bugnot, NTU: a reading of the papers",
    "C": "Zhang, Bologna: dogs against cats, positions, attention",
    "D": "Romand-Ferroni, CentraleSupélec: a ViT from scratch on MNIST and CIFAR-10",
    "E": "shoe, sandal, boot: a ViT against two ResNets",
}

BY_HAND = {
    "dogs_vs_cats": "kaggle.com/c/dogs-vs-cats: train.zip, which `course sort` sorts into",
    "shoes": "kaggle.com/datasets/hasibalmuzdadid/shoe-vs-sandal-vs-boot-dataset-15k-images: with its folders moved to",
}
CLASSES = {"dogs_vs_cats": ("cat", "dog"), "shoes": ("boot", "sandal", "shoe")}


@dataclass(frozen=True)
class Experiment:
    """One thing that a report did.

    Args:
        name: the report's letter and a word.
        what: in a few words.
        figure: what the report has; empty if it is not a number.
        recipe: the name of the recipe that does it here; None if a chapter does it.
        chapter: where it is explained.
        verdict: what our run says of the figure, in a sentence; empty while there is none.
    """

    name: str
    what: str
    figure: str = ""
    recipe: str | None = None
    chapter: int = 10
    verdict: str = ""


def _pairs() -> Iterator[Experiment]:
    for data, title, vit, resnet in (
        ("cifar10", "CIFAR-10", "97.97", "96.67"),
        ("cifar100", "CIFAR-100", "87.41", "82.67"),
        ("flowers102", "Oxford Flowers-102", "89.12", "89.02"),
        ("pets", "Oxford-IIIT Pets", "93.65", "93.24"),
    ):
        yield Experiment(f"A.{data}", f"ViT-B/16 fine-tuned on {title}", f"{vit} %", f"{data}_vit_b16")
        yield Experiment(f"A.{data}.resnet", f"ResNet-152 fine-tuned on {title}", f"{resnet} %", f"{data}_resnet152")


EXPERIMENTS = (
    Experiment("A.parts", "a ViT from its parts; where the norm stands", chapter=3),
    Experiment("A.weights", "torchvision's weights for B/16, B/32, L/16 and L/32 in their own model", chapter=6),
    *_pairs(),
    Experiment("A.filters", "28 principal components of the patch filters", chapter=11),
    Experiment("A.positions", "similarity of position embeddings, as tiles", chapter=11),
    Experiment("A.attention", "attention weights got in two ways, and rollout", chapter=12),
    Experiment("A.distance", "mean attention distance (planned there)", chapter=12),
    Experiment("B.attention", "scaled dot-product and multi-head attention; what a word looks at", chapter=2),
    Experiment("B.cost", "the cost of attention, recurrence and convolution", chapter=3),
    Experiment("B.results", "the paper's table 2 and figures 3 to 5", chapter=10),
    Experiment("B.inside", "filters, positions, attention distance, rollout", chapter=12),
    Experiment("C.head", "dogs against cats, the head only", "96.5 %", "dogs_vs_cats_head"),
    Experiment("C.all", "dogs against cats, everything trained", "98.65 %", "dogs_vs_cats_vit_b16"),
    Experiment("C.positions", "kinds of positions compared", chapter=5),
    Experiment("C.attention", "attention of an image with two objects", chapter=12),
    Experiment("D.mnist", "a ViT from scratch on MNIST", "98.10 %", "mnist_report_d", 7, "It holds."),
    Experiment(
        "D.cnn",
        "a convolutional network of the same size",
        "about 90 %",
        "mnist_cnn",
        7,
        "It does not hold: the convolutional network makes fewer mistakes than the ViT.",
    ),
    Experiment(
        "D.cifar10",
        "the same kind of ViT on CIFAR-10",
        "56.41 %",
        "cifar10_report_d",
        8,
        "By what the report tells of its recipe we get seven points more, and do not know what it did otherwise.",
    ),
    Experiment("D.maps", "attention from the class token to the patches", chapter=12),
    Experiment("E.vit", "ViT-B/16 on shoe, sandal, boot", "99.33 %", "shoes_vit_b16"),
    Experiment("E.resnet152", "ResNet-152 on the same", "92.76 %", "shoes_resnet152"),
    Experiment("E.resnet50", "ResNet-50 on the same", "80.03 %", "shoes_resnet50"),
)


def find_experiment(name: str) -> Experiment:
    """The experiment of that name.

    Raises:
        ValueError: there is none; the message lists those there are.
    """
    for experiment in EXPERIMENTS:
        if experiment.name.lower() == name.lower():
            return experiment
    raise ValueError(f"no experiment {name!r}; there are {', '.join(e.name for e in EXPERIMENTS)}.")


def ours(experiment: Experiment) -> str:
    """What the recorded runs of an experiment have on test, such as "98.57 % (1 run)"; empty if there are none."""
    try:
        runs = load_record(experiment.recipe or "")["runs"]
    except ValueError:
        return ""
    mean = 100 * sum(run["test_accuracy"] for run in runs) / len(runs)
    return f"{mean:.2f} % ({len(runs)} {'run' if len(runs) == 1 else 'runs'})"


def lacking(recipe: Recipe) -> list[tuple[str, Path, bool]]:
    """What is not here yet that the recipe needs: [(what, where it must be, whether the course fetches it itself)]."""
    found = []
    if recipe.weights and not isinstance(recipe.model, CNNConfig):
        url, path = weights_file(recipe.model, recipe.weights)
        if not path.is_file():
            found.append((f"weights {path.name}" + (f" from {url}" if url else ""), path, bool(url)))
    folder = recipe.data.removeprefix("folder:")
    if folder != recipe.data and not Path(folder).expanduser().is_dir():
        name = Path(folder).name
        parts = ", ".join(f"train/{label}" for label in CLASSES.get(name, ("one folder for each class",)))
        found.append((f"{BY_HAND.get(name, 'your images, in')} {parts}, and the same in test", Path(folder), False))
    return found


def state(experiment: Experiment) -> str:
    """In a few words, how things stand with an experiment."""
    if experiment.recipe is None:
        return f"chapter {experiment.chapter}"
    if ours(experiment):
        return "recorded"
    needs = lacking(RECIPES[experiment.recipe])
    if not needs:
        return "ready to run"
    return "; ".join(
        f"fetches {what}, to {path.parent}" if fetched else f"needs {what}, in {path}" for what, path, fetched in needs
    )


def check_ready(recipe: Recipe) -> None:
    """Raise a `ValueError` that says what to get and where to put it, unless the recipe can run, or can fetch what it lacks."""
    needs = [f"{what}, in {path}" for what, path, fetched in lacking(recipe) if not fetched]
    if needs:
        raise ValueError(f"{recipe.name} needs {'; and '.join(needs)}. Then run the same command again.")
