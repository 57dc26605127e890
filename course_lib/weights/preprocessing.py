"""How a model wants its images: what travels with weights beside the numbers. Chapter 06."""

from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Preprocessing:
    """How a model wants its images. Other images than it was trained with are another problem for it.

    Args:
        mean, std: one number per channel, for pixels between 0 and 1.
        input_size: (height, width) that the model takes.
        resize: before the crop: the length of the shorter side; or (height, width), which squeezes; or None.
        interpolation: "bilinear" or "bicubic".
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]
    input_size: tuple[int, int]
    resize: int | tuple[int, int] | None
    interpolation: str

    def transform(self):
        """A function from a picture to the model's input (C, height, width), float32.

        The picture is a PIL image of any kind, or a tensor (C, height, width): uint8, or floating point between 0
        and 1. PIL images are resized before they become tensors, as the libraries do it.
        """
        import torch
        from torchvision.transforms import v2

        steps = [_InChannels(len(self.mean))]
        if self.resize is not None:
            size = self.resize if isinstance(self.resize, int) else list(self.resize)
            steps.append(v2.Resize(size, interpolation=v2.InterpolationMode(self.interpolation), antialias=True))
        steps += [
            v2.CenterCrop(list(self.input_size)),
            v2.ToImage(),
            v2.ToDtype(torch.float32, scale=True),
            v2.Normalize(list(self.mean), list(self.std)),
            v2.ToPureTensor(),
        ]
        return v2.Compose(steps)

    def at(self, input_size):
        """The same for another input size: the resize grows or shrinks in proportion, and still covers the crop."""
        if tuple(input_size) == self.input_size:
            return self
        scales = [new / old for new, old in zip(input_size, self.input_size, strict=True)]
        resize = self.resize
        if isinstance(resize, int):
            resize = round(resize * max(scales))
        elif resize is not None:
            resize = tuple(round(side * scale) for side, scale in zip(resize, scales, strict=True))
        return replace(self, input_size=tuple(input_size), resize=resize)


class _InChannels:
    """Make a PIL image grey or RGB, as the model wants it: files come with palettes and with transparency."""

    def __init__(self, channels):
        self.channels = channels

    def __call__(self, picture):
        if hasattr(picture, "convert"):
            return picture.convert("L" if self.channels == 1 else "RGB")
        import torch

        if not isinstance(picture, torch.Tensor) or picture.ndim < 3 or picture.shape[-3] != self.channels:
            given = f"{type(picture).__name__} {tuple(getattr(picture, 'shape', ()))}"
            raise ValueError(
                f"the picture is a {given}, and should be a PIL image or a tensor ({self.channels}, height, width): "
                "Image.fromarray makes a PIL image of an array."
            )
        return picture
