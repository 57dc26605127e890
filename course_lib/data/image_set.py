"""Labelled images in memory, behind one interface: an `ImageSet`, ready for the device. Chapter 07."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Self

import torch
import torch.nn.functional as F

from course_lib.validate import check_choice

SPLITS = ("train", "val", "test")
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
CIFAR10_MEAN, CIFAR10_STD = (0.4914, 0.4822, 0.4465), (0.247, 0.2435, 0.2616)


@dataclass(frozen=True)
class ImageSet:
    """Labelled images of one size, all in memory.

    Args:
        name: of the data set, with the split: "mnist/train".
        images: (n, C, h, w), uint8; or float32 between 0 and 1.
        labels: (n,) int64, from 0.
        classes: the name of each label.
        mean, std: one number per channel, for pixels between 0 and 1: what the model's input is normalised with.
        input_size: side of the model's input; smaller images are enlarged to it batch by batch, since all of them at
            that size need not fit into memory. None for the images' own size.
        paths: the file of each image, so that one that is wrong can be named; None if they are not made of files.
        fingerprint: of the files that were read (names, sizes in bytes, classes): as long as it is the same, so are
            they. None if they are not your own. What is done to the set later does not change it.

    `images, labels = image_set` works too.

    Raises:
        ValueError: there are no images, not as many labels or paths, or a label without a class.

    Source: chapter 07.
    """

    name: str
    images: torch.Tensor
    labels: torch.Tensor
    classes: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    input_size: int | None = field(default=None, kw_only=True)
    paths: tuple[Path, ...] | None = field(default=None, kw_only=True, repr=False)
    fingerprint: str | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        check_labels(self.name, self.images, self.labels, len(self.classes))
        if self.paths is not None and len(self.paths) != len(self.images):
            raise ValueError(f"{self.name}: {len(self.paths)} paths must be as many as the {len(self.images)} images.")

    def __len__(self) -> int:
        return len(self.images)

    def __iter__(self) -> Iterator[torch.Tensor]:
        return iter((self.images, self.labels))

    def to(self, device: torch.device | str) -> Self:
        """The same on another device."""
        return replace(self, images=self.images.to(device), labels=self.labels.to(device))

    def take(self, rows: torch.Tensor | slice | list[int]) -> Self:
        """Some of the images: `rows` is a slice, a list or a tensor of numbers."""
        paths = self.paths
        if paths is not None:
            numbers = torch.arange(len(paths))[rows.cpu() if isinstance(rows, torch.Tensor) else rows]
            paths = tuple(paths[number] for number in numbers.tolist())
        return replace(self, images=self.images[rows], labels=self.labels[rows], paths=paths)

    def only(self, classes: Sequence[str]) -> Self:
        """The images of some classes, which are numbered anew in the order of `classes`, a list of names.

        Raises:
            ValueError: a name is no class here, or stands twice.
        """
        unknown = [name for name in classes if name not in self.classes]
        if unknown or len(set(classes)) < len(classes) or not classes:
            raise ValueError(
                f"{self.name}: classes {', '.join(classes) or '(none)'} must be different ones of {', '.join(self.classes)}."
            )
        numbers = torch.full((len(self.classes),), -1)
        numbers[[self.classes.index(name) for name in classes]] = torch.arange(len(classes))
        labels = numbers.to(self.labels.device)[self.labels]
        rows = labels >= 0
        return replace(self.take(rows), labels=labels[rows], classes=tuple(classes))

    def resized(self, size: int) -> Self:
        """The same at `size` x `size` pixels, bilinear with antialiasing."""
        if tuple(self.images.shape[-2:]) == (size, size):
            return self
        from torchvision.transforms.v2.functional import resize

        return replace(self, images=resize(self.images, [size, size], antialias=True))

    def normalised(self, images: torch.Tensor) -> torch.Tensor:
        """Pixels -> the model's input: float32, mean 0 and variance 1 over the training images, of `input_size`."""
        size = (self.input_size, self.input_size) if self.input_size else None
        return as_input(images, self.mean, self.std, size)

    def batches(self, size: int = 1000) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """The images in their order, normalised, with their labels, `size` at a time; the last may be smaller."""
        for rows in torch.arange(len(self)).split(size):
            yield self.normalised(self.images[rows]), self.labels[rows]


def as_input(
    images: torch.Tensor, mean: tuple[float, ...], std: tuple[float, ...], size: tuple[int, int] | None = None
) -> torch.Tensor:
    """Pixels (n, C, h, w) -> a model's input (n, C, *size), float32: each channel less its mean, over its deviation.

    Args:
        images: uint8, or floating point between 0 and 1.
        mean, std: one number per channel, for pixels between 0 and 1.
        size: (height, width), bilinear with antialiasing; None for the images' own.
    """
    most = 255 if images.dtype == torch.uint8 else 1
    # (C, 1, 1) each, sent without making a GPU wait
    middle, spread = (torch.tensor(value).to(images.device, non_blocking=True)[:, None, None] for value in (mean, std))
    images = images.to(torch.float32, copy=True)
    images = images.mul_(1 / (most * spread)).sub_(
        middle / spread
    )  # in place: asking for memory costs more than the sums
    if size is None or tuple(images.shape[-2:]) == size:
        return images
    return F.interpolate(images, size=size, mode="bilinear", antialias=True)


def check_labels(name: str, images: torch.Tensor, labels: torch.Tensor, classes: int) -> None:
    """Raise a `ValueError` unless every image has a label from 0 to `classes` - 1."""
    if images.ndim != 4 or len(images) != len(labels):
        raise ValueError(f"{name}: images {tuple(images.shape)} must be (n, C, h, w) with n = {len(labels)} labels.")
    if len(images) == 0:
        raise ValueError(f"{name} has no images.")
    wrong = ((labels < 0) | (labels >= classes)).nonzero()
    if len(wrong):
        row = int(wrong[0])
        raise ValueError(f"{name}: label {labels[row].item()} of image {row} is not among 0 to {classes - 1}.")


def check_split(split: str) -> None:
    """Raise a `ValueError` unless `split` is one of "train", "val" and "test"."""
    check_choice("split", split, SPLITS)


def tenths_from_the_end(labels: torch.Tensor) -> torch.Tensor:
    """Which tenth of its class each image is in, counted from the class's last one: (n,) -> (n,).

    0 is the last tenth, 1 the one before it, and so on. A tenth is rounded down, but holds at least one image.
    So every class gives the same share of its images to each split, and the split is the same every time.
    """
    counts = labels.bincount()
    order = labels.argsort(stable=True)
    place = torch.empty_like(labels)
    place[order] = torch.arange(len(labels)) - (counts.cumsum(0) - counts)[labels[order]]
    tenth = (counts // 10).clamp(min=1)
    return (counts[labels] - 1 - place) // tenth[labels]
