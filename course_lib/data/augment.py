"""Random changes to a whole batch at once, on its own device, each image its own. Chapters 07 and 08.

The random numbers are drawn in `Augment`; the functions that use them are plain and can be tested.
"""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from course_lib.data.image_set import ImageSet
from course_lib.data.rand_augment import rand_augment
from course_lib.validate import check_count, is_number


@dataclass(frozen=True)
class Augment:
    """What happens to a training batch on its way to the model. The defaults change nothing.

    Args:
        crop: shift by up to this many pixels each way; what comes in is black.
        flip: mirror half of the images.
        rotate: turn by up to this many degrees each way.
        scale: enlarge or shrink by up to this share.
        shear: slant by up to this share.
        translate: shift by up to this share of the side, also by fractions of a pixel.
        rand_augment: how many of RandAugment's operations each image goes through.
        magnitude: how strongly, a whole number between 0 and 30.
        erase: the share of images that lose a rectangle.
        mixup: Beta(mixup, mixup) is the weight with which two images are mixed; 0 for never.
        cutmix: Beta(cutmix, cutmix) is the share of an image that another one does not cover; 0 for never. With
            both, each batch has one of the two.
        mix_share: the share of batches that are mixed at all.

    Raises:
        ValueError: a value out of its range.

    Source: chapters 07 and 08.
    """

    crop: int = 0
    flip: bool = False
    rotate: float = 0.0
    scale: float = 0.0
    shear: float = 0.0
    translate: float = 0.0
    rand_augment: int = 0
    magnitude: int = 9
    erase: float = 0.0
    mixup: float = 0.0
    cutmix: float = 0.0
    mix_share: float = 1.0

    def __post_init__(self) -> None:
        for name in ("crop", "rand_augment", "magnitude"):
            check_count(name, getattr(self, name), least=0)
        limits = {"rotate": 180, "scale": 0.99, "shear": 2, "translate": 1, "magnitude": 30, "erase": 1}
        limits |= {
            "rand_augment": 100,
            "mixup": 1000,
            "cutmix": 1000,
            "mix_share": 1,
        }  # Beta(1000, 1000) is one half, nearly
        for name, limit in limits.items():
            value = getattr(self, name)
            if not (is_number(value) and 0 <= value <= limit):
                raise ValueError(f"{name} {value!r} must be between 0 and {limit}.")

    def __call__(self, data: ImageSet, rows: Tensor, classes: int) -> tuple[Tensor, Tensor]:
        """(images (B, C, h, w) normalised, targets (B, classes)) of the given rows of an `ImageSet`.

        Draws from PyTorch's global random numbers.
        """
        images, labels = data.images[rows], data.labels[rows]
        batch, device = len(images), images.device
        if self.crop or self.flip:
            shifts = torch.randint(2 * self.crop + 1, (batch, 2), device=device)
            flips = torch.rand(batch, device=device) < (0.5 if self.flip else 0.0)
            images = random_crop_flip(images, shifts, flips, self.crop)
        if self.rand_augment:
            images = rand_augment(images, self.rand_augment, self.magnitude)
        images = data.normalised(images)
        if self.rotate or self.scale or self.shear or self.translate:
            black = data.normalised(torch.zeros_like(data.images[:1])).amin(dim=(2, 3), keepdim=True)
            height, width = images.shape[-2:]
            images = affine(images, self._matrices(batch, height / width, device), black)
        if self.erase:
            images = self._erased(images)
        return self._mixed(images, F.one_hot(labels, classes).to(images.dtype))

    def _matrices(self, batch: int, tall: float, device: torch.device) -> Tensor:
        """One random map of the plane for each image, which is `tall` times as high as wide: (B, 2, 3)."""

        def uniform(limit: float) -> Tensor:
            return (2 * torch.rand(batch, device=device) - 1) * limit

        angle, size = uniform(math.radians(self.rotate)), 1 + uniform(self.scale)
        shear, x, y = uniform(self.shear), uniform(2 * self.translate), uniform(2 * self.translate)
        first = torch.stack([angle.cos() * size, (shear - angle.sin() * size) * tall, x], dim=1)
        second = torch.stack([angle.sin() * size / tall, angle.cos() * size, y], dim=1)
        return torch.stack([first, second], dim=1)

    def _erased(self, images: Tensor) -> Tensor:
        batch, _, height, width = images.shape
        device = images.device
        area = torch.empty(batch, device=device).uniform_(0.02, 1 / 3)
        ratio = torch.empty(batch, device=device).uniform_(math.log(0.3), math.log(1 / 0.3)).exp()
        boxes = random_boxes((area * ratio).sqrt() * height, (area / ratio).sqrt() * width, height, width)
        inside = box_mask(boxes, height, width) & (torch.rand(batch, 1, 1, 1, device=device) < self.erase)
        return torch.where(inside, torch.randn_like(images), images)

    def _mixed(self, images: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        if not (self.mixup or self.cutmix) or torch.rand(()) >= self.mix_share:
            return images, targets
        batch, _, height, width = images.shape
        partners = torch.randperm(batch, device=images.device)
        cut = self.cutmix and (not self.mixup or torch.rand(()) < 0.5)
        alpha = float(self.cutmix if cut else self.mixup)
        # On the CPU: a GPU would have to wait while the distribution checks its arguments, and Apple's cannot draw it.
        weight = torch.distributions.Beta(alpha, alpha).sample((batch,)).to(images, non_blocking=True)
        if not cut:
            return mixup(images, targets, partners, weight)
        side = (1 - weight).sqrt()
        return cutmix(images, targets, partners, random_boxes(side * height, side * width, height, width))


def random_crop_flip(images: Tensor, shifts: Tensor, flips: Tensor, padding: int) -> Tensor:
    """Pad with black, cut out a window of the old size, mirror some.

    Args:
        images: (B, C, h, w).
        shifts: (B, 2) whole numbers from 0 to 2 `padding`: where the window begins, from the top and from the left.
        flips: (B,) boolean.
        padding: pixels on each side.

    Returns:
        (B, C, h, w).

    Source: He et al. 2016, section 4.2. Chapter 08.
    """
    height, width = images.shape[-2:]
    if padding:
        padded = F.pad(images, (padding, padding, padding, padding))  # (B, C, h + 2p, w + 2p)
        windows = padded.unfold(2, height, 1).unfold(3, width, 1)  # (B, C, 2p + 1, 2p + 1, h, w), a view
        rows = torch.arange(len(images), device=images.device)
        images = windows[rows, :, shifts[:, 0], shifts[:, 1]]  # (B, C, h, w)
    return torch.where(flips[:, None, None, None], images.flip(-1), images)


def affine(images: Tensor, matrices: Tensor, fill: Tensor | float) -> Tensor:
    """Move each image by its own map of the plane; bilinear, and `fill` (broadcastable) comes in from outside.

    Args:
        images: (B, C, h, w), floating point.
        matrices: (B, 2, 3), from places in the result to places in `images`, both from -1 to 1 over the image.

    Source: Jaderberg et al. 2015, equation 1. Chapter 07.
    """
    y, x = (_centres(size, matrices) for size in images.shape[-2:])
    along_x, along_y, shift = matrices[..., None, None].unbind(2)  # each (B, 2, 1, 1)
    places = along_x * x + along_y * y[:, None] + shift  # (B, 2, h, w): F.affine_grid's, in a tenth of its time
    return F.grid_sample(images - fill, places.permute(0, 2, 3, 1), align_corners=False).add_(fill)


def _centres(size: int, like: Tensor) -> Tensor:
    """Where the centres of `size` pixels lie, if the image reaches from -1 to 1."""
    return (2 * torch.arange(size, dtype=like.dtype, device=like.device) + 1) / size - 1


def random_boxes(heights: Tensor, widths: Tensor, height: int, width: int) -> Tensor:
    """Boxes of the given sizes with random centres, cut at the edges: (B, 4) as top, left, bottom, right."""
    y = torch.rand_like(heights) * height
    x = torch.rand_like(widths) * width
    top, bottom = ((y + side * heights / 2).round().clamp(0, height) for side in (-1, 1))
    left, right = ((x + side * widths / 2).round().clamp(0, width) for side in (-1, 1))
    return torch.stack([top, left, bottom, right], dim=1).long()


def box_mask(boxes: Tensor, height: int, width: int) -> Tensor:
    """True inside the box: (B, 4) -> (B, 1, height, width)."""
    y = torch.arange(height, device=boxes.device)[None, :, None]
    x = torch.arange(width, device=boxes.device)[None, None, :]
    top, left, bottom, right = boxes[:, :, None, None].unbind(1)  # each (B, 1, 1)
    return ((y >= top) & (y < bottom) & (x >= left) & (x < right))[:, None]


def mixup(images: Tensor, targets: Tensor, partners: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    """Each image becomes `weight` of itself and the rest of its partner, and so does its target.

    Args:
        images: (B, C, h, w).
        targets: (B, classes), each row sums to 1.
        partners: (B,) the row that each is mixed with.
        weight: (B,) between 0 and 1.

    Returns:
        (images, targets), of the same shapes.

    Source: Zhang et al. 2018, section 1. Chapter 08.
    """
    mixed = torch.lerp(images[partners], images, weight[:, None, None, None])
    return mixed, torch.lerp(targets[partners], targets, weight[:, None])


def cutmix(images: Tensor, targets: Tensor, partners: Tensor, boxes: Tensor) -> tuple[Tensor, Tensor]:
    """Each image gets a rectangle of its partner, and its target the partner's by the rectangle's share of the area.

    Args:
        images, targets, partners: as in `mixup`.
        boxes: (B, 4) top, left, bottom, right.

    Source: Yun et al. 2019, equation 1. Chapter 08.
    """
    inside = box_mask(boxes, *images.shape[-2:])  # (B, 1, h, w)
    kept = 1 - inside.to(targets.dtype).mean(dim=(1, 2, 3))  # (B,)
    return torch.where(inside, images[partners], images), torch.lerp(targets[partners], targets, kept[:, None])
