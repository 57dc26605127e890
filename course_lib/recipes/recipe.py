"""What makes a training run: data, model, settings, what to expect and where it comes from. Chapter 07."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor, nn

from course_lib.data.image_set import ImageSet
from course_lib.data.sources import classes_of, load_data
from course_lib.files.places import run_weights
from course_lib.models.backbones import load_backbone, weights_preprocessing
from course_lib.models.cnn import CNNConfig
from course_lib.models.resnet import NAMES, ResNetConfig, TorchvisionResNet, load_strictly
from course_lib.models.saved import KINDS, build, kind_of, settings_of
from course_lib.models.variants import PostNormConfig
from course_lib.train.config import TrainConfig
from course_lib.train.device import generators_kept, get_device, memory_shortage, set_seed
from course_lib.validate import as_pair, check_choice, check_count
from course_lib.vit import DEEPEST, VisionTransformer, ViTConfig
from course_lib.weights.facts import frozen, read_about
from course_lib.weights.load import load_pretrained

CPU = torch.device("cpu")
ModelConfig = ViTConfig | CNNConfig | ResNetConfig | TorchvisionResNet
LARGEST = 4096  # pixels
# Fields of a model's configuration in which it need not be as its weights: those of the head, and those without weights.
FREE = ("img_size", "num_classes", "representation_size", "norm_eps", "weight_init", "pos_antialias", "pos_offset")
FREE += ("drop_rate", "attn_drop_rate", "drop_path_rate")
READ_AT_A_SIZE = ("flowers102", "pets", "folder:")  # large photographs, which are made small when they are read


@dataclass(frozen=True)
class Recipe:
    """One training run, ready to be started by its name.

    Args:
        name: what to call it.
        what: one sentence about it.
        data: a name that `course_lib.data.load_data` knows.
        model: a `ViTConfig`, `CNNConfig`, `ResNetConfig` or `TorchvisionResNet`; with 0 for `num_classes`, it gets as many
            outputs as the data has classes.
        train: a `TrainConfig`.
        cost: about how long it takes, and on what.
        expect: what it reached, and where that is recorded; or what it is meant to reach, said so.
        source: the report or paper it follows.
        size: side of the images in pixels; None as they are.
        images: how many training images it uses, the same share of each class; None for all.
        weights: what the model begins with: a published name, or the `model.safetensors` of a run; None for random
            weights. A head for another number of classes is left out, and a new one learned.
        skip: leave out the files of a folder that cannot be read.

    Raises:
        ValueError: a value that no run can have.
    """

    name: str
    what: str
    data: str
    model: ModelConfig
    train: TrainConfig
    cost: str
    expect: str
    source: str
    size: int | None = None
    images: int | None = None
    weights: str | None = None
    skip: bool = False

    def __post_init__(self) -> None:
        for name in ("size", "images"):
            if getattr(self, name) is not None:
                check_count(name, getattr(self, name))
        if self.size and self.size > LARGEST:
            raise ValueError(f"size {self.size} must be at most {LARGEST}, in pixels: 224 is usual for photographs.")
        if self.skip and not self.data.startswith("folder:"):
            raise ValueError(f"skip=True leaves out files of a folder, and data is {self.data}: use data=folder:PATH.")
        check_model(self.model)

    def settled(self) -> Self:
        """The same, with as many outputs as the data has classes, if their number was left open."""
        if self.model.num_classes:
            return self
        return replace(self, model=replace(self.model, num_classes=len(classes_of(self.data))))

    def build(self) -> nn.Module:
        """The model with its starting weights, which depend on the seed only.

        Raises:
            ValueError: there can be no such model, or its weights do not fit.
        """
        with generators_kept(CPU):
            set_seed(self.train.seed, "weights", device=CPU)
            try:
                return self.begin()
            except (RuntimeError, TypeError, OverflowError) as error:
                if memory_shortage(error):
                    raise
                said = str(error).partition("\n")[0]
                raise ValueError(f"no computer can build {self.model} ({said}): choose smaller numbers.") from error

    def begin(self) -> nn.Module:
        """The model as the run begins with it. Draws from PyTorch's random numbers."""
        if self.weights:
            check_weights(self.model, self.weights)
        if self.weights and not isinstance(self.model, CNNConfig | PostNormConfig):
            return load_backbone(self.model, self.weights)
        model = build(self.model)
        if self.weights and isinstance(model, VisionTransformer):
            load_pretrained(model, self.weights, num_classes=self.model.num_classes)
        elif self.weights:
            path = Path(self.weights).expanduser()
            if not path.is_file():
                raise ValueError(f"there is no file {path}: give the model.safetensors of a run.")
            load_strictly(model, path, head="head", what=str(self.model))
        return model

    def rates(self, model: nn.Module) -> Mapping[str, float] | None:
        """Factors for the learning rates of its parameters by name; None for 1 throughout."""
        return None

    def finish(self, model: nn.Module) -> None:
        """What is done to the trained model before it is looked at and kept: nothing."""

    def load(self, split: str) -> ImageSet:
        """The `ImageSet` of a split, as the recipe wants it, and normalised as the weights want it if they are published."""
        options: dict[str, Any] = {"skip": True} if self.skip else {}
        if self.size and self.data.startswith(READ_AT_A_SIZE):
            options["size"] = self.size
        data = self.chosen(load_data(self.data, split, **options), split)
        if self.weights and not isinstance(self.model, CNNConfig):
            wanted = weights_preprocessing(self.model, self.weights)
            data = replace(data, mean=wanted.mean, std=wanted.std) if wanted else data
        return self.at_its_size(data)

    def at_its_size(self, data: ImageSet) -> ImageSet:
        """The same images, brought to the recipe's size."""
        return data.resized(self.size) if self.size else data

    def chosen(self, data: ImageSet, split: str) -> ImageSet:
        """The images that the recipe uses of a split."""
        if self.images and split == "train":
            return data.take(balanced_rows(data.labels, self.images, len(data.classes)))
        return data

    def settings(self) -> dict[str, Any]:
        """What makes this run what it is, but for the seed and the device, as plain numbers and words."""
        about = {name: getattr(self, name) for name in ("data", "size", "images")}
        about |= {"weights": self.weights} if self.weights else {}  # older records have neither, and stay true
        about |= {"skip": True} if self.skip else {}
        about |= {"model": {"kind": type(self.model).__name__.removesuffix("Config"), **settings_of(self.model)}}
        train = {name: value for name, value in self.train.settings().items() if name not in ("seed", "device")}
        return json.loads(json.dumps(about | {"train": train}))


def check_model(config: ModelConfig) -> None:
    """Raise a `ValueError` unless there can be such a model. A `ViTConfig` asks itself."""
    if isinstance(config, TorchvisionResNet):
        check_choice("model.name", config.name, NAMES)
    if isinstance(config, CNNConfig) and not config.widths:
        raise ValueError("model.widths () must be at least one number, such as 16,32.")
    counts = {} if isinstance(config, ViTConfig) else asdict(config)
    for name, value in counts.items():
        for count in value if isinstance(value, list | tuple) else [value] * (name != "name"):
            check_count(f"model.{name}", count)
    if counts.get("blocks", 0) > DEEPEST:
        raise ValueError(f"model.blocks {counts['blocks']} must be at most {DEEPEST}.")


def check_weights(config: ModelConfig, weights: str) -> None:
    """Raise a `ValueError` if weights that say what model they are of are of another, with all settings that mend it."""
    path = Path(weights).expanduser()
    path = run_weights(path) or path
    theirs = read_about(path) if path.is_file() else {}
    if not isinstance(theirs.get("config"), dict):
        return
    kind, own = theirs.get("kind", "ViT"), kind_of(config)
    if kind != own:
        raise ValueError(f"{path} holds a {kind}, the recipe's model is a {own}: take other weights or another recipe.")
    fields = {name: frozen(value) for name, value in theirs["config"].items()}
    try:
        known = asdict(KINDS[kind][0](**fields))  # with what the file leaves out
    except TypeError as error:
        raise ValueError(f"{path} is damaged (what it says of itself cannot be read): use another copy.") from error
    free = (*FREE, "in_chans") if kind == "ViT" else FREE  # `load_pretrained` sums or repeats a ViT's channels
    other = {name: value for name, value in known.items() if name not in free and value != getattr(config, name)}
    if other:
        told = {name: ",".join(map(str, value)) if isinstance(value, tuple) else value for name, value in other.items()}
        mends = " ".join(f"model.{name}={value}" for name, value in told.items())
        raise ValueError(f"{path} is of another model than the recipe's: set {mends}.")


def check_images(recipe: Recipe, data: ImageSet) -> None:
    """Raise a `ValueError` unless the recipe's model takes these images.

    The line has all that does not fit, also the number of classes, and the settings that mend it.
    """
    config, classes, (channels, *sides) = recipe.model, len(data.classes), data.images.shape[1:]
    height, width = (data.input_size or side for side in sides)
    wanted = getattr(config, "in_chans", 3)
    grid = as_pair("img_size", config.img_size) if isinstance(config, ViTConfig) else (height, width)
    if (channels, height, width) == (wanted, *grid):
        return
    mends = [f"model.num_classes={classes}"] * (classes > 1 and classes != config.num_classes)
    if channels != wanted and isinstance(config, TorchvisionResNet):
        mends.append("data= to images in colour")
    elif channels != wanted:
        mends.append("weights=None " * bool(recipe.weights) + f"model.in_chans={channels}")
    if (height, width) != grid and isinstance(config, ViTConfig):
        mends.append(_size_that_fits(config, height, width))
    raise ValueError(
        f"{data.name} has images of {channels} x {height} x {width} in {classes} classes, the model takes "
        f"{' x '.join(map(str, (wanted, *grid)))} and has {config.num_classes} outputs: set {' '.join(mends)}."
    )


def check_processor(recipe: Recipe, data: ImageSet) -> None:
    """Raise a `ValueError` for narrow convolutions over large images on a processor: there PyTorch crashes.

    Its library (oneDNN, as of PyTorch 2.15) writes beyond its memory in the backward pass of those with fewer than 16
    channels, from 96 x 96 pixels on, which ends the process or, worse, does not.
    """
    config, side = recipe.model, data.input_size or max(data.images.shape[2:])
    narrow = {ResNetConfig: "width", CNNConfig: "widths"}.get(type(config))
    if narrow is None or side <= 64 or get_device(recipe.train.device).type != "cpu":
        return
    widths = getattr(config, narrow)
    wider = tuple(max(width, 16) for width in (widths if narrow == "widths" else (widths,)))
    if wider not in (widths, (widths,)):
        raise ValueError(
            f"{data.name} has images of {side} pixels, and on a processor PyTorch crashes with {narrow} {widths} above 64: "
            f"set model.{narrow}={','.join(map(str, wider))} or size=64."
        )


def _size_that_fits(config: ViTConfig, height: int, width: int) -> str:
    """The setting that makes images of this size fit a ViT: its own size changed, or theirs."""
    rows, columns = as_pair("img_size", config.img_size)
    own = f"model.img_size={height}" + (f",{width}" if width != height else "")
    if rows != columns:
        side = max(round(height / config.patch_size), 1) * config.patch_size
        return f"size={side} model.img_size={side}"
    if height % config.patch_size or width % config.patch_size:
        return f"size={rows}"
    return f"{own} (or, which is {'quicker' if rows < height else 'finer'}, size={rows})"


def balanced_rows(labels: Tensor, count: int, classes: int) -> Tensor:
    """The numbers of the first `count` / `classes` images of each class, in order."""
    if count < classes:
        raise ValueError(f"images={count} must be at least {classes}, one for each class.")
    each = count // classes
    rows = torch.cat([(labels == label).nonzero()[:each, 0] for label in range(classes)]).sort().values
    if len(rows) < each * classes:
        raise ValueError(f"there are not {each} images of each class: images={count} must be smaller.")
    return rows
