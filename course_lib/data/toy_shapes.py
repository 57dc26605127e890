"""Pictures that are drawn, not taken, so that it is known where the object is. Chapters 07 and 13.

One coloured shape before a cluttered background. Everything is whole numbers: the same pixels on every machine.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Self

import torch
import torch.nn.functional as F

from course_lib.data.image_set import ImageSet, check_split
from course_lib.validate import check_count

CLASSES = ("circle", "ring", "square", "frame", "diamond", "triangle", "plus", "cross")
SIZES = {"train": 8000, "val": 1000, "test": 1000}
MEAN, STD = (0.497,) * 3, (0.295,) * 3  # of the training images
CLUTTER = 4  # bars behind each shape
AT_ONCE = 500  # images: more at once would not stay in the processor's cache


@dataclass(frozen=True)
class ShapeSet(ImageSet):
    """An `ImageSet` that knows where the object is.

    Args:
        masks: (n, h, w) boolean, True on the object.

    Raises:
        ValueError: as `ImageSet`; or `masks` does not fit the images.

    Source: chapter 13.
    """

    masks: torch.Tensor

    def __post_init__(self) -> None:
        super().__post_init__()
        wanted = (len(self.images), *self.images.shape[-2:])
        if tuple(self.masks.shape) != wanted or self.masks.dtype != torch.bool:
            raise ValueError(f"{self.name}: masks {tuple(self.masks.shape)} must be {wanted} and boolean.")

    @cached_property
    def boxes(self) -> torch.Tensor:
        """(n, 4) int64: top, left, bottom, right of each object; bottom and right lie just outside it."""
        return mask_boxes(self.masks)

    def to(self, device: torch.device | str) -> Self:
        """The same on another device."""
        masks = self.masks.to(device)
        return replace(self, images=self.images.to(device), labels=self.labels.to(device), masks=masks)

    def take(self, rows: torch.Tensor | slice | list[int]) -> Self:
        """Some of the images: `rows` is a slice, a list or a tensor of numbers."""
        return replace(self, images=self.images[rows], labels=self.labels[rows], masks=self.masks[rows])

    def resized(self, size: int) -> Self:
        """The same at `size` x `size` pixels: images bilinear with antialiasing, masks by the nearest pixel."""
        masks = F.interpolate(self.masks[:, None].float(), (size, size), mode="nearest-exact")[:, 0] > 0
        plain = ImageSet(self.name, self.images, self.labels, self.classes, self.mean, self.std)
        smaller = plain.resized(size)
        return replace(self, images=smaller.images, masks=masks)


def toy_shapes(split: str, n: int | None = None, size: int = 32, seed: int = 0) -> ShapeSet:
    """A `ShapeSet` of coloured shapes before textured, cluttered backgrounds: images (n, 3, size, size) uint8.

    The class is the shape alone: place, size and colours are random, and so is the background. Classes take turns, so
    each has the same share. The splits have random numbers of their own.

    Args:
        split: "train", "val" or "test".
        n: how many images; None for 8,000, 1,000 and 1,000.
        size: the side in pixels, from 16.
        seed: other numbers give other images.

    Raises:
        ValueError: no such split, no images, or a side below 16.

    Source: chapter 07.
    """
    check_split(split)
    n = SIZES[split] if n is None else n
    check_count("n", n)
    check_count("size", size, least=16)  # a shape needs room
    key = hashlib.blake2b(repr(("toy_shapes", split, seed)).encode(), digest_size=7).digest()
    random = torch.Generator().manual_seed(int.from_bytes(key, "big"))
    labels = torch.arange(n) % len(CLASSES)
    parts = [draw(part, size, random) for part in labels.split(AT_ONCE)]
    images, masks = (torch.cat(tensors) for tensors in zip(*parts, strict=True))
    return ShapeSet(f"toy_shapes/{split}", images, labels, CLASSES, MEAN, STD, masks)


def draw(labels: torch.Tensor, size: int, random: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    """(images (n, 3, size, size) uint8, masks (n, size, size)) of shapes of the given classes.

    Args:
        labels: (n,) int64.
        size: the side in pixels.
        random: a `torch.Generator`.
    """
    n = len(labels)

    def uniform(low, high, *shape):
        return torch.randint(low, high, (n, *shape), generator=random, dtype=torch.int32)

    radius = uniform(max(6 * size // 32, 4), 11 * size // 32 + 1, 1, 1)
    y, x = (radius + uniform(0, 2**16, 1, 1) % (size - 2 * radius) for _ in range(2))  # the whole shape is inside
    masks = draw_shapes(labels, y, x, radius, size)

    ground = uniform(0, 256, 3, 1, 1)
    # Between 96 and 160 away from the ground in every channel: any shape can be seen, and no colour is the rule.
    colour = (ground + uniform(96, 161, 3, 1, 1)) % 256
    background = ground + stripes(uniform(1, 5, 1, 1), uniform(-2, 3, 2, 1, 1), size)[:, None]
    for _ in range(CLUTTER):
        background = torch.where(bars(uniform, size)[:, None], uniform(0, 256, 3, 1, 1), background)
    images = torch.where(masks[:, None], colour, background) + uniform(-8, 9, 3, size, size)
    return images.clamp(0, 255).to(torch.uint8), masks


def draw_shapes(
    labels: torch.Tensor, y: torch.Tensor, x: torch.Tensor, radius: torch.Tensor, size: int
) -> torch.Tensor:
    """The shapes: True inside.

    Args:
        labels: (n,) which of `CLASSES`.
        y, x: (n, 1, 1) the centre, at the corner between four pixels.
        radius: (n, 1, 1) in pixels.
        size: the side of the pictures.

    Returns:
        (n, size, size).

    Chapter 11.
    """
    # In half pixels, so that a pixel's own centre is a whole number too.
    place = 2 * torch.arange(size, dtype=torch.int32) + 1
    v, u, r = place[:, None] - 2 * y, place - 2 * x, 2 * radius  # (n, size, 1), (n, 1, size), (n, 1, 1)
    far, distance = torch.maximum(v.abs(), u.abs()), v * v + u * u
    inside = far < r
    kinds = {
        "circle": distance < r * r,
        "ring": (distance < r * r) & (4 * distance >= r * r),
        "square": inside,
        "frame": inside & (2 * far >= r),
        "diamond": v.abs() + u.abs() < r,
        "triangle": inside & (2 * u.abs() < v + r),
        "plus": inside & (3 * torch.minimum(v.abs(), u.abs()) < r),
        "cross": inside & (3 * (v.abs() - u.abs()).abs() < r),
    }
    return torch.stack([kinds[name] for name in CLASSES])[labels, torch.arange(len(labels))]


def stripes(width: torch.Tensor, direction: torch.Tensor, size: int) -> torch.Tensor:
    """(n, size, size), 24 or -24: stripes of some width; of direction (n, 2, 1, 1), where (0, 0) is none."""
    place = torch.arange(size, dtype=torch.int32)
    along = place[:, None] * direction[:, 0] + place * direction[:, 1]  # (n, size, size)
    return 48 * ((along // (2 * width)) % 2) - 24


def bars(uniform: Callable[..., torch.Tensor], size: int) -> torch.Tensor:
    """(n, size, size): True on one bar in each picture, long and thin, lying or standing."""
    length, lies = uniform(size // 8, size // 3, 1, 1), uniform(0, 2, 1, 1) == 1
    width = torch.full_like(length, max(size // 16, 1))
    height, width = torch.where(lies, width, length), torch.where(lies, length, width)
    place = torch.arange(size, dtype=torch.int32)
    v, u = place[:, None] - uniform(0, size, 1, 1), place - uniform(0, size, 1, 1)
    return (v >= 0) & (v < height) & (u >= 0) & (u < width)


def mask_boxes(masks: torch.Tensor) -> torch.Tensor:
    """The box around each mask: (n, h, w) boolean -> (n, 4) int64 as top, left, bottom, right; zeros if it is empty."""
    edges = []
    for along in (masks.any(dim=2), masks.any(dim=1)):  # (n, h) and (n, w)
        length, some = along.shape[1], along.any(dim=1)
        first, beyond = along.long().argmax(dim=1), length - along.long().flip(1).argmax(dim=1)
        edges.append((first, beyond * some))
    (top, bottom), (left, right) = edges
    return torch.stack([top, left, bottom, right], dim=1)
