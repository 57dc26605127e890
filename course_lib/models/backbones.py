"""Trained models to begin with, whatever they are: ours, torchvision's, published or from a run. Chapter 09."""

from dataclasses import dataclass
from pathlib import Path

from course_lib.files.places import weights_folder
from course_lib.models.cnn import ResNet
from course_lib.models.resnet import create_resnet, published_preprocessing, published_url
from course_lib.vit import VisionTransformer, ViTConfig
from course_lib.weights.formats import read_weights
from course_lib.weights.load import load_pretrained
from course_lib.weights.registry import REGISTRY


@dataclass(frozen=True)
class TorchvisionResNet:
    """A ResNet of torchvision, as a config.

    Args:
        name: such as "resnet152".
        num_classes: outputs.
    """

    name: str = "resnet50"
    num_classes: int = 1000


def load_backbone(config, weights):
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
    return _load_resnet(config, weights)


def weights_preprocessing(config, weights):
    """How the weights want their images, a `Preprocessing`; None for weights from a run, which want the data's own."""
    if isinstance(config, ViTConfig) and weights in REGISTRY:
        return REGISTRY[weights].preprocessing
    return published_preprocessing(config.name, weights) if isinstance(config, TorchvisionResNet) else None


def weights_file(config, weights):
    """(address or None, path) of the file with these weights: where it lies, or will lie once it is fetched."""
    url = None
    if isinstance(config, ViTConfig) and weights in REGISTRY and REGISTRY[weights].url:
        url, name = REGISTRY[weights].url, REGISTRY[weights].file
    elif isinstance(config, TorchvisionResNet) and (url := published_url(config.name, weights)):
        name = Path(url).name
    return (url, weights_folder() / name) if url else (None, Path(weights).expanduser())


def _load_resnet(config, weights):
    path = Path(weights).expanduser()
    if not path.is_file():
        raise ValueError(f"there is no file {path}: give the model.safetensors of a run.")
    model = ResNet(config)
    wanted, state = model.state_dict(), read_weights(path)
    body = {name: value for name, value in state.items() if not name.startswith("head.")}
    misfits = [
        name
        for name in wanted.keys() | body.keys()
        if not name.startswith("head.")
        and (name not in body or name not in wanted or body[name].shape != wanted[name].shape)
    ]
    if misfits:
        raise ValueError(
            f"{path} does not fit ResNetConfig(width={config.width}, blocks={config.blocks}): "
            f"{len(misfits)} tensors differ, such as {min(misfits)}. Use the config that it was trained with."
        )
    if "head.weight" in state and state["head.weight"].shape == wanted["head.weight"].shape:
        body = state
    model.load_state_dict(wanted | body)
    return model
