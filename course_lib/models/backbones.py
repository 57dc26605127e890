"""Trained models to begin with, whatever they are: ours, torchvision's, published or from a run. Chapter 09."""

from pathlib import Path

from torch import nn

from course_lib.files.places import run_weights, weights_folder
from course_lib.models.resnet import (
    ResNet,
    ResNetConfig,
    TorchvisionResNet,
    create_resnet,
    find_published,
    load_strictly,
    published_preprocessing,
)
from course_lib.vit import VisionTransformer, ViTConfig
from course_lib.weights.load import load_pretrained
from course_lib.weights.preprocessing import Preprocessing
from course_lib.weights.registry import REGISTRY

Config = ViTConfig | TorchvisionResNet | ResNetConfig


def load_backbone(config: Config, weights: str | Path) -> nn.Module:
    """A model with trained weights, and a head for `config.num_classes` classes that is new if the weights' own has others.

    Args:
        config: a `ViTConfig`, `TorchvisionResNet` or `ResNetConfig`.
        weights: for a ViT what `load_pretrained` takes, for torchvision's ResNets what `create_resnet` takes, for ours
            the `model.safetensors` of a run.

    Raises:
        ValueError: they do not fit; one line that says what to do.

    Source: chapter 09.
    """
    if isinstance(config, ViTConfig):
        return load_pretrained(VisionTransformer(config), weights, num_classes=config.num_classes)
    if isinstance(config, TorchvisionResNet):
        return create_resnet(config.name, pretrained=weights, num_classes=config.num_classes)
    path = Path(weights).expanduser()
    path = run_weights(path) or path
    if not path.is_file():
        raise ValueError(f"there is no file {path}: give the model.safetensors of a run.")
    model = ResNet(config)
    load_strictly(model, path, head="head", what=f"ResNetConfig(width={config.width}, blocks={config.blocks})")
    return model


def weights_preprocessing(config: Config, weights: str | Path) -> Preprocessing | None:
    """How the weights want their images, a `Preprocessing`; None for weights from a run, which want the data's own."""
    if isinstance(config, ViTConfig) and (entry := REGISTRY.get(str(weights))):
        return entry.preprocessing
    return published_preprocessing(config.name, weights) if isinstance(config, TorchvisionResNet) else None


def weights_file(config: Config, weights: str | Path) -> tuple[str | None, Path]:
    """(address or None, path) of the file with these weights: where it lies, or will lie once it is fetched."""
    if isinstance(config, ViTConfig) and (entry := REGISTRY.get(str(weights))) and entry.url:
        return entry.url, weights_folder() / entry.file
    if isinstance(config, TorchvisionResNet) and (entry := find_published(config.name, weights)):
        return entry.url, weights_folder() / Path(entry.url).name
    return None, Path(weights).expanduser()
