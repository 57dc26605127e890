"""The plain convolutional network that a Vision Transformer is compared with. Chapters 07 and 08."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class CNNConfig:
    """A plain convolutional network.

    Args:
        in_chans: C, 1 for grey and 3 for colour.
        num_classes: outputs.
        widths: channels of each layer; after every second one the image is halved.
    """

    in_chans: int = 1
    num_classes: int = 10
    widths: tuple[int, ...] = (16, 32, 48, 64)


class CNN(nn.Module):
    """Convolutions of 3 x 3 with batch norm and ReLU, halved after every second one, averaged, and a linear head.

    Shapes: (B, C, h, w) -> (B, num_classes).

    Source: Simonyan & Zisserman 2015, section 2; Lin et al. 2014 for the averaging. Chapter 07.
    """

    def __init__(self, config: CNNConfig) -> None:
        super().__init__()
        self.config = config
        layers: list[nn.Module] = []
        before = config.in_chans
        for index, width in enumerate(config.widths):
            layers += [nn.Conv2d(before, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU()]
            if index % 2 == 1:
                layers.append(nn.MaxPool2d(2))
            before = width
        self.features = nn.Sequential(*layers)
        self.head = nn.Linear(before, config.num_classes)

    def forward(self, images: Tensor) -> Tensor:
        images = images.contiguous(memory_format=torch.channels_last)  # the order that convolutions are fastest in
        return self.head(self.features(images).mean(dim=(2, 3)))
