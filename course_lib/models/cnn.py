"""What a Vision Transformer is compared with: two convolutional networks for small images. Chapters 07 and 08."""

from dataclasses import dataclass

import torch
from torch import nn


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

    def __init__(self, config):
        super().__init__()
        self.config = config
        layers, before = [], config.in_chans
        for index, width in enumerate(config.widths):
            layers += [nn.Conv2d(before, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU()]
            if index % 2 == 1:
                layers.append(nn.MaxPool2d(2))
            before = width
        self.features = nn.Sequential(*layers)
        self.head = nn.Linear(before, config.num_classes)

    def forward(self, images):
        images = images.contiguous(memory_format=torch.channels_last)  # the order that convolutions are fastest in
        return self.head(self.features(images).mean(dim=(2, 3)))


@dataclass(frozen=True)
class ResNetConfig:
    """A residual network for small images.

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

    def __init__(self, config):
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

    def forward(self, images):
        images = images.contiguous(memory_format=torch.channels_last)
        return self.head(self.stages(self.stem(images)).mean(dim=(2, 3)))


def _stage(before, width, stride, blocks):
    """Residual blocks, of which the first changes the size and the channels."""
    from torchvision.models.resnet import BasicBlock

    shortcut = None
    if before != width or stride != 1:
        shortcut = nn.Sequential(nn.Conv2d(before, width, 1, stride, bias=False), nn.BatchNorm2d(width))
    rest = [BasicBlock(width, width) for _ in range(blocks - 1)]
    return nn.Sequential(BasicBlock(before, width, stride, shortcut), *rest)
