"""What makes a training run: data, model, settings, what to expect and where it comes from. Chapter 07."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, is_dataclass, replace
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from course_lib.data.image_set import ImageSet
from course_lib.data.sources import load_data
from course_lib.models.cnn import CNN, CNNConfig
from course_lib.models.resnet import ResNet, ResNetConfig
from course_lib.models.variants import PostNormConfig, PostNormViT
from course_lib.train.config import TrainConfig
from course_lib.train.device import generators_kept, set_seed
from course_lib.vit import VisionTransformer, ViTConfig

Dataclass = TypeVar("Dataclass", bound=Any)
CPU = torch.device("cpu")
MODELS = {ViTConfig: VisionTransformer, PostNormConfig: PostNormViT, CNNConfig: CNN, ResNetConfig: ResNet}


@dataclass(frozen=True)
class Recipe:
    """One training run, ready to be started by its name.

    Args:
        name: what to call it.
        what: one sentence about it.
        data: a name that `course_lib.data.load_data` knows.
        model: a `ViTConfig`, `CNNConfig` or `ResNetConfig`.
        train: a `TrainConfig`.
        cost: about how long it takes, and on what.
        expect: what it reached, and where that is recorded; or what it is meant to reach, said so.
        source: the report or paper it follows.
        size: side of the images in pixels; None as they are.
        images: how many training images it uses, the same share of each class; None for all.
    """

    name: str
    what: str
    data: str
    model: ViTConfig | CNNConfig | ResNetConfig
    train: TrainConfig
    cost: str
    expect: str
    source: str
    size: int | None = None
    images: int | None = None

    def build(self) -> nn.Module:
        """The model with its starting weights, which depend on the seed only."""
        with generators_kept(CPU):
            set_seed(self.train.seed, "weights", device=CPU)
            return self.begin()

    def begin(self) -> nn.Module:
        """The model as the run begins with it. Draws from PyTorch's random numbers."""
        return MODELS[type(self.model)](self.model)

    def rates(self, model: nn.Module) -> Mapping[str, float] | None:
        """Factors for the learning rates of its parameters by name; None for 1 throughout."""
        return None

    def finish(self, model: nn.Module) -> None:
        """What is done to the trained model before it is looked at and kept: nothing."""

    def load(self, split: str) -> ImageSet:
        """The `ImageSet` of a split, as the recipe wants it."""
        data = self.chosen(load_data(self.data, split), split)
        return data.resized(self.size) if self.size else data

    def chosen(self, data: ImageSet, split: str) -> ImageSet:
        """The images that the recipe uses of a split."""
        if self.images and split == "train":
            return data.take(balanced_rows(data.labels, self.images, len(data.classes)))
        return data

    def settings(self) -> dict[str, Any]:
        """What makes this run what it is, but for the seed and the device, as plain numbers and words."""
        about = {name: getattr(self, name) for name in ("data", "size", "images")}
        about |= {"model": {"kind": type(self.model).__name__.removesuffix("Config"), **asdict(self.model)}}
        train = {name: value for name, value in asdict(self.train).items() if name not in ("seed", "device")}
        return json.loads(json.dumps(about | {"train": train}))


def balanced_rows(labels: Tensor, count: int, classes: int) -> Tensor:
    """The numbers of the first `count` / `classes` images of each class, in order."""
    each = count // classes
    rows = torch.cat([(labels == label).nonzero()[:each, 0] for label in range(classes)]).sort().values
    if len(rows) < each * classes:
        raise ValueError(f"there are not {each} images of each class: images={count} must be smaller.")
    return rows


def override(recipe: Recipe, settings: Sequence[str]) -> Recipe:
    """The recipe with some settings changed, each as "name=value": epochs=5, augment.crop=2, model.depth=3.

    A name without a dot is looked for in `Recipe`, then in `TrainConfig`.

    Raises:
        ValueError: no such setting, or a value that it cannot have.
    """
    for setting in settings:
        name, equals, text = setting.partition("=")
        if not equals:
            raise ValueError(f"{setting!r} must be name=value, such as epochs=5.")
        own = {item.name for item in fields(recipe)} - {"name", "what", "cost", "expect", "source"}
        path = name.split(".") if name.split(".")[0] in own else ["train", *name.split(".")]
        recipe = _replaced(recipe, path, text, name)
    return recipe


def _replaced(config: Any, path: Sequence[str], text: str, name: str) -> Any:
    known = {item.name: item for item in fields(config)}
    if path[0] not in known:
        raise ValueError(f"no setting {name!r}; here there are {', '.join(known)}.")
    old = getattr(config, path[0])
    if len(path) > 1 and is_dataclass(old):
        return replace(config, **{path[0]: _replaced(old, path[1:], text, name)})
    if len(path) > 1 or is_dataclass(old):
        raise ValueError(f"{name!r} is not a single setting: give the name of one of its values.")
    return replace(config, **{path[0]: _parsed(text, known[path[0]].type, name)})


def _parsed(text: str, kind: object, name: str) -> Any:
    """The value that `text` means; words may stand without quotes."""
    try:
        value = json.loads(text.lower() if text in ("True", "False") else text.replace("None", "null"))
    except json.JSONDecodeError:
        value = text
    value = tuple(value) if isinstance(value, list) else value
    if isinstance(value, str) and "str" not in str(kind):
        raise ValueError(f"{name}={text}: {text!r} is no number.")
    return value
