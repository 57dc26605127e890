"""How a model wants its images: what travels with weights beside the numbers. Chapter 06."""

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, NoReturn, Self

import torch

from course_lib.data.image_set import ImageSet, as_input
from course_lib.data.pictures import cover, to_rgb

if TYPE_CHECKING:
    from PIL import Image

# Floating-point pixels lie between 0 and 1; whoever enlarges pictures by bicubic interpolation goes beyond by so much.
OVERSHOOT = 0.25


@dataclass(frozen=True)
class Preprocessing:
    """How a model wants its images. Other images than it was trained with are another problem for it.

    Args:
        mean, std: one number per channel, for pixels between 0 and 1.
        input_size: (height, width) that the model takes.
        resize: before the crop: the length of the shorter side; or (height, width), which squeezes; or "cover": as
            large as covers the crop; or None.
        interpolation: "bilinear" or "bicubic".
        enlarged_from: (height, width) that the pictures are brought to first, where a model was trained on small ones
            that were enlarged to its input size; None where they were not.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]
    input_size: tuple[int, int]
    resize: int | tuple[int, int] | Literal["cover"] | None
    interpolation: str
    enlarged_from: tuple[int, int] | None = None

    @classmethod
    def of(cls, data: ImageSet) -> Self:
        """How a model wants its images that is trained on `data`: files are brought there by `data.pictures.cover`."""
        height, width = data.images.shape[-2:]
        size = (data.input_size, data.input_size) if data.input_size else (height, width)
        small = (height, width) if size != (height, width) else None
        return cls(data.mean, data.std, size, resize="cover", interpolation="bilinear", enlarged_from=small)

    def facts(self) -> dict[str, Any]:
        """Its fields as they are written into files: `enlarged_from` only where there is one."""
        return {name: value for name, value in asdict(self).items() if name != "enlarged_from" or value}

    def transform(self) -> Callable[["Image.Image | torch.Tensor"], torch.Tensor]:
        """A function from a picture to the model's input (C, height, width), float32.

        The picture is a PIL image of any kind, or a tensor (C, height, width), or many of one size as (n, C, height,
        width): uint8, or floating point between 0 and 1. PIL images are read as `data.pictures` reads files, and resized before they become tensors, as the
        libraries do it.
        """
        from torchvision.transforms import v2

        crop = self.enlarged_from or self.input_size
        steps: list[Callable[[Any], Any]] = [self._in_channels]
        if self.resize == "cover":
            steps.append(lambda picture: _cover(picture, crop, self.interpolation))
        elif self.resize is not None:
            size = self.resize if isinstance(self.resize, int) else list(self.resize)
            steps.append(v2.Resize(size, interpolation=v2.InterpolationMode(self.interpolation), antialias=True))
        steps += [v2.CenterCrop(list(crop)), v2.ToImage(), v2.ToPureTensor()]
        return v2.Compose([*steps, self._as_input])

    def _as_input(self, pixels: torch.Tensor) -> torch.Tensor:
        """(..., C, h, w) -> (..., C, height, width)."""
        images = as_input(pixels.reshape(-1, *pixels.shape[-3:]), self.mean, self.std, self.input_size)
        return images.reshape(*pixels.shape[:-2], *images.shape[-2:])

    def _in_channels(self, picture: Any) -> Any:
        """The picture, in grey or RGB as the model wants it, and with pixels of a range that is known."""
        channels = len(self.mean)
        if hasattr(picture, "convert"):
            return to_rgb(picture).convert("L") if channels == 1 else to_rgb(picture)
        if not isinstance(picture, torch.Tensor) or picture.ndim < 3 or picture.shape[-3] != channels:
            given = f"{type(picture).__name__} {tuple(getattr(picture, 'shape', ()))}"
            raise ValueError(
                f"the picture is a {given}, and should be a PIL image or a tensor ({channels}, height, width): "
                "Image.fromarray makes a PIL image of an array."
            )
        if picture.is_floating_point():
            low, high = picture.aminmax()
            if not (low >= -OVERSHOOT and high <= 1 + OVERSHOOT):
                raise ValueError(
                    f"the picture's pixels go from {low:.4g} to {high:.4g}, and floating-point ones should lie between 0 "
                    "and 1: divide by 255, or give uint8; what is normalised already needs no transform."
                )
        elif picture.dtype != torch.uint8:
            raise ValueError(
                f"the picture is {picture.dtype}, and should be torch.uint8 or floating point: convert it."
            )
        return picture

    def at(self, input_size: tuple[int, int]) -> Self:
        """The same for another input size: the resize grows or shrinks in proportion, and still covers the crop."""
        if tuple(input_size) == self.input_size:
            return self
        scales = [new / old for new, old in zip(input_size, self.input_size, strict=True)]
        resize = self.resize
        if isinstance(resize, int):
            resize = round(resize * max(scales))
        elif isinstance(resize, tuple):
            resize = tuple(round(side * scale) for side, scale in zip(resize, scales, strict=True))
        return replace(self, input_size=tuple(input_size), resize=resize)


def _cover(picture: Any, size: tuple[int, int], interpolation: str) -> Any:
    """`pictures.cover`, of a tensor (..., C, h, w) too; one of floating-point numbers is cut at whole pixels."""
    from torchvision.transforms import v2

    if not isinstance(picture, torch.Tensor):
        return cover(picture, size, interpolation)
    if tuple(picture.shape[-2:]) == size:
        return picture
    if picture.ndim > 3:
        return torch.stack([_cover(one, size, interpolation) for one in picture])
    if picture.dtype == torch.uint8:
        return v2.functional.pil_to_tensor(cover(v2.functional.to_pil_image(picture), size, interpolation))
    scale = max(wanted / given for wanted, given in zip(size, picture.shape[-2:], strict=True))
    middle = [round(wanted / scale) for wanted in size]
    mode = v2.InterpolationMode(interpolation)
    return v2.functional.resize(v2.functional.center_crop(picture, middle), list(size), mode, antialias=True)


@dataclass(frozen=True)
class UnknownPreprocessing:
    """Stands in the place of a `Preprocessing` after weights were loaded of which nobody knows it. It counts as false."""

    def __bool__(self) -> bool:
        return False

    def __repr__(self) -> str:
        return "None known"

    def transform(self) -> NoReturn:
        """Raises a `ValueError`, which says so."""
        raise ValueError(
            "how these weights want their images is not known: set model.preprocessing to the Preprocessing that their "
            "publisher names (mean, std, input size)."
        )
