"""Residual networks: our own for small images (chapters 08 and 09), torchvision's with its published weights (chapter 09)."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from course_lib.files.fetch import fetch, verify
from course_lib.files.places import weights_folder
from course_lib.validate import check_choice
from course_lib.weights.formats import read_weights
from course_lib.weights.preprocessing import Preprocessing

NAMES = ("resnet18", "resnet34", "resnet50", "resnet101", "resnet152")  # of torchvision's


@dataclass(frozen=True)
class ResNetConfig:
    """A `ResNet`.

    Args:
        in_chans: C, 1 for grey and 3 for colour.
        num_classes: outputs.
        width: channels of the first stage; the second has twice, the third four times as many.
        blocks: residual blocks in each of the three stages.
    """

    in_chans: int = 3
    num_classes: int = 10
    width: int = 16
    blocks: int = 3


class ResNet(nn.Module):
    """The residual network for CIFAR: a 3 x 3 convolution, three stages at full, half and quarter size, a linear head.

    Its blocks are torchvision's. With width 16 and 3 blocks it is ResNet-20.

    Shapes: (B, C, h, w) -> (B, num_classes).

    Source: He et al. 2016, section 4.2. Chapter 08.
    """

    def __init__(self, config: ResNetConfig) -> None:
        super().__init__()
        self.config = config
        width = config.width
        self.stem = nn.Sequential(
            nn.Conv2d(config.in_chans, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU()
        )
        self.stages = nn.Sequential(
            _stage(width, width, 1, config.blocks),
            _stage(width, 2 * width, 2, config.blocks),
            _stage(2 * width, 4 * width, 2, config.blocks),
        )
        self.head = nn.Linear(4 * width, config.num_classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, images: Tensor) -> Tensor:
        images = images.contiguous(memory_format=torch.channels_last)
        return self.head(self.stages(self.stem(images)).mean(dim=(2, 3)))


def _stage(before: int, width: int, stride: int, blocks: int) -> nn.Sequential:
    """Residual blocks, of which the first changes the size and the channels."""
    from torchvision.models.resnet import BasicBlock

    shortcut = None
    if before != width or stride != 1:
        shortcut = nn.Sequential(nn.Conv2d(before, width, 1, stride, bias=False), nn.BatchNorm2d(width))
    rest = [BasicBlock(width, width) for _ in range(blocks - 1)]
    return nn.Sequential(BasicBlock(before, width, stride, shortcut), *rest)


@dataclass(frozen=True)
class TorchvisionResNet:
    """A ResNet of torchvision, as a config.

    Args:
        name: such as "resnet152".
        num_classes: outputs.
    """

    name: str = "resnet50"
    num_classes: int = 1000


def create_resnet(name: str, *, pretrained: bool | str | Path = False, num_classes: int = 1000) -> Any:
    """Build one of torchvision's ResNets by name.

        create_resnet("resnet50", pretrained=True, num_classes=10)

    Args:
        name: one of `NAMES`.
        pretrained: True loads torchvision's newest weights for ImageNet; a string says which, such as
            "IMAGENET1K_V1", or is the path of a file with such weights. False starts from random weights.
        num_classes: outputs. If the weights have another number, the head is new and untrained.

    Returns:
        the model, with the attribute `preprocessing`: how its weights want their images; None if that is not known.

    Raises:
        ValueError: no such name or weights, or they do not fit. The line says what is wrong.

    Source: He et al. 2016, table 1. Chapter 09.
    """
    import torchvision

    check_choice("model", name, NAMES)
    model: Any = torchvision.models.get_model(name, weights=None, num_classes=num_classes)
    model.config, model.preprocessing = TorchvisionResNet(name, num_classes), None
    if not pretrained:
        return model
    load_strictly(model, _locate(name, pretrained), head="fc", what=f"a {name}")
    model.preprocessing = published_preprocessing(name, pretrained)
    return model


def published_preprocessing(name: str, weights: bool | str | Path) -> Preprocessing | None:
    """How torchvision's weights for a ResNet want their images; None if the weights are not its own."""
    if not (entry := find_published(name, weights)):
        return None
    transform = entry.transforms()
    (size,), (resize,) = transform.crop_size, transform.resize_size
    return Preprocessing(
        tuple(transform.mean), tuple(transform.std), (size, size), resize, transform.interpolation.value
    )


def find_published(name: str, weights: bool | str | Path) -> Any:
    """Torchvision's entry for weights that are asked for as in `create_resnet`, or by the name of their file; else None."""
    from torchvision.models import get_model_weights

    published = get_model_weights(name)
    entries = {**published.__members__, **{Path(entry.url).name: entry for entry in published}}
    return entries.get("DEFAULT" if isinstance(weights, bool) else Path(weights).name)


def _locate(name: str, weights: bool | str | Path) -> Path:
    """The path of a weights file: the reader's own, or a published one, which is fetched if it is not here yet."""
    entry = find_published(name, weights)
    path = Path("" if isinstance(weights, bool) else weights).expanduser()
    if path.is_file():
        verify(path)
        return path
    if entry is None or path.name == Path(entry.url).name:
        raise ValueError(
            f"no weights {str(weights)!r}: neither a file, nor a name of torchvision's, such as IMAGENET1K_V1."
        )
    return fetch(entry.url, weights_folder() / Path(entry.url).name)


def load_strictly(model: nn.Module, path: Path, *, what: str, head: str | None = None) -> None:
    """Load a file's tensors, all of them, but for a `head` with another number of classes, if one is named.

    Raises:
        ValueError: a tensor is missing, left over, of another shape than in `what`, or holds NaN or infinity.
    """
    state, wanted = read_weights(path), model.state_dict()
    counters = {name: value for name, value in wanted.items() if name.endswith("num_batches_tracked")}
    state = counters | state  # older files have none, and nothing needs them
    missing, left_over = wanted.keys() - state.keys(), state.keys() - wanted.keys()
    if missing or left_over:
        raise ValueError(
            f"{path} does not fit {what}: {len(missing)} tensors missing, {len(left_over)} left over, "
            f"such as {min(missing or left_over)}. Use the file that belongs to it."
        )
    if head:
        theirs, ours = state[f"{head}.weight"].shape, wanted[f"{head}.weight"].shape
        if theirs != ours and theirs[1:] == ours[1:]:
            print(
                f"{path.name}: its head ({theirs[0]} classes) is left out; the new one ({ours[0]} classes) is untrained."
            )
            state |= {name: wanted[name] for name in (f"{head}.weight", f"{head}.bias")}
    other = [name for name, value in wanted.items() if state[name].shape != value.shape]
    if other:
        raise ValueError(
            f"{path} does not fit {what}: {other[0]} has shape {tuple(state[other[0]].shape)} in the file and "
            f"{tuple(wanted[other[0]].shape)} in the model. Use the file that belongs to it."
        )
    broken = [name for name, value in state.items() if value.is_floating_point() and not value.isfinite().all()]
    if broken:
        raise ValueError(f"{path}: {broken[0]} holds NaN or infinity: the file is damaged, or its training went wrong.")
    model.load_state_dict(state)
