"""A trained model in one file, with all that one must know to ask it: what it is, its classes, its images. Chapter 07."""

import contextlib
import io
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from torch import nn

from course_lib.files.places import WEIGHTS, run_weights
from course_lib.models.cnn import CNN, CNNConfig
from course_lib.models.create import create_model
from course_lib.models.resnet import NAMES, ResNet, ResNetConfig, TorchvisionResNet, create_resnet, load_strictly
from course_lib.models.variants import PostNormConfig, PostNormViT
from course_lib.vit import VIT_CONFIGS, VisionTransformer, ViTConfig
from course_lib.weights.facts import as_preprocessing, frozen, read_about, timm_model
from course_lib.weights.formats import recognise
from course_lib.weights.load import load_pretrained, write_weights
from course_lib.weights.preprocessing import Preprocessing
from course_lib.weights.registry import REGISTRY, default_weights, find_entry, imagenet_classes

Config = ViTConfig | PostNormConfig | CNNConfig | ResNetConfig | TorchvisionResNet

# {what a file says it is: (its config, what is built from one)}
KINDS: dict[str, tuple[type[Config], Any]] = {
    "ViT": (ViTConfig, VisionTransformer),
    "PostNorm": (PostNormConfig, PostNormViT),
    "CNN": (CNNConfig, CNN),
    "ResNet": (ResNetConfig, ResNet),
    "TorchvisionResNet": (TorchvisionResNet, lambda config: create_resnet(config.name, num_classes=config.num_classes)),
}


def kind_of(config: Config) -> str:
    """The name in `KINDS` of a config's kind."""
    return next(name for name, (made_of, _) in KINDS.items() if made_of is type(config))


def settings_of(config: Config) -> dict[str, Any]:
    """The fields of a config of any kind, as they are written into files."""
    return config.settings() if isinstance(config, ViTConfig) else asdict(config)


def build(config: Config) -> Any:
    """A model of any kind from its config, with random weights."""
    return KINDS[kind_of(config)][1](config)


def save_model(
    model: nn.Module,
    path: str | Path,
    *,
    classes: Sequence[str] = (),
    preprocessing: Preprocessing | None = None,
    record: dict[str, Any] | None = None,
) -> None:
    """Write a model as `.safetensors`, ready for `load_model`; complete or not at all.

    Args:
        model: any whose config is in `KINDS`.
        path: where to; an older file there is replaced only when the new one is complete.
        classes: the name of each output; () where they have none.
        preprocessing: how it wants its images; None if nobody knows.
        record: how it came about, ready for JSON; None for nothing.

    Raises:
        ValueError: there are not as many names as outputs; the model is wrapped, or its weights are no plain numbers.

    Source: chapter 07.
    """
    config: Any = getattr(model, "config", None)
    if type(config) not in [made_of for made_of, _ in KINDS.values()]:
        raise ValueError(
            f"the model is a {type(model).__name__}, none of the course's: save the one that was compiled or wrapped."
        )
    if classes and len(classes) != config.num_classes:
        raise ValueError(f"{len(classes)} classes and {config.num_classes} outputs must be the same number.")
    about = {"config": settings_of(config), "preprocessing": preprocessing and preprocessing.facts()}
    about |= {"kind": kind_of(config), "classes": list(classes), "record": record}
    write_weights(model.state_dict(), path, about)


def load_model(weights: str | Path) -> Any:
    """A trained model, ready to be asked: built, filled, in evaluation mode.

    Its attributes `classes` (the name of each output, () where they have none), `preprocessing` (a `Preprocessing`, or
    None if nobody knows it) and `record` (a dict, or None) say the rest.

    Args:
        weights: the folder of a run (with several seeds: of the first), or a file that `save_model` or a run has written; a
            folder that timm has put on the hub; or a name: of `REGISTRY`, of
            `VIT_CONFIGS` or of torchvision's ResNets, whose published weights are fetched if they are not here yet.

    Raises:
        ValueError: there is nothing of that path or name; the file does not say what model it is of; or it is damaged.

    Source: chapter 07.
    """
    path = Path(weights).expanduser()
    if path.is_dir():
        found = run_weights(path)
        if found is None:
            raise ValueError(f"{path} holds no {WEIGHTS}: it is no run, or one that has not finished.")
        path = found
    model = _from_file(path) if path.is_file() else _by_name(str(weights))
    return model.eval()


def _from_file(path: Path) -> Any:
    about = read_about(path)
    if "config" not in about:
        recognise(path)  # what is no weights file says what it is
        if published := timm_model(path.parent):
            return _from_timm(*published, path)
        raise ValueError(
            f"{path} holds weights, and not what model they are of: build it, as in create_model('vit_base_patch16_224'), "
            "fill it with load_pretrained, and keep it with save_model."
        )
    try:
        made_of = KINDS[about.get("kind", "ViT")][0]
        config = made_of(**{name: frozen(value) for name, value in about["config"].items()})
        preprocessing, classes = as_preprocessing(about.get("preprocessing")), tuple(about.get("classes") or ())
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path} is damaged (what it says of itself cannot be read): use another copy.") from error
    model = build(config)
    load_strictly(model, path, what="what it says it is")
    entry = next((entry for entry in REGISTRY.values() if entry.url is None and entry.file == path.name), None)
    model.classes, model.preprocessing = classes or (entry.classes if entry else ()), preprocessing
    model.record = about.get("record")
    return model


def _from_timm(config: ViTConfig, classes: tuple[str, ...], path: Path) -> Any:
    with contextlib.redirect_stdout(io.StringIO()):  # the model says it itself, in its attributes
        model: Any = load_pretrained(VisionTransformer(config), path)
    model.classes = classes or (imagenet_classes() if config.num_classes == 1000 else ())
    model.preprocessing, model.record = model.preprocessing or None, None
    return model


def _by_name(name: str) -> Any:
    with contextlib.redirect_stdout(io.StringIO()):  # the model says it itself, in its attributes
        if name in NAMES:
            model: Any = create_resnet(name, pretrained=True)
            model.classes = imagenet_classes()
        else:
            entry = find_entry(default_weights(name) if name in VIT_CONFIGS else name)
            model = create_model(entry.architecture, pretrained=entry.name, num_classes=entry.num_classes)
            model.classes = entry.classes or (imagenet_classes() if entry.num_classes == 1000 else ())
    model.preprocessing, model.record = model.preprocessing or None, None
    return model
