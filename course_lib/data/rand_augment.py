"""RandAugment for a whole batch at once: 14 simple changes, each image its own draw of them. Chapter 08.

The operations take and return `pixels`: (B, C, h, w), float32, whole numbers from 0 to 255, with C = 1 (grey) or 3
(red, green, blue). Their strengths are tensors (B,), one number per image, on the same device.
The strengths, nearest pixels, and black for what comes in from outside are torchvision's, so that each operation
can be held against it. Black is also what `random_crop_flip` pads with.
Legend: B batch, C channels, h height, w width.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from course_lib.validate import check_count, is_count

OPERATIONS = (
    "identity",
    "shear_x",
    "shear_y",
    "translate_x",
    "translate_y",
    "rotate",
    "brightness",
    "colour",
    "contrast",
    "sharpness",
    "posterize",
    "solarize",
    "autocontrast",
    "equalize",
)


def rand_augment(images: Tensor, number: int, magnitude: int) -> Tensor:
    """Put each image through `number` operations, drawn for it alone, all of one magnitude.

    Draws from PyTorch's global random numbers, on the device of the images.

    Args:
        images: (B, C, h, w), uint8.
        number: how many operations, one after the other. An operation may come twice.
        magnitude: a whole number from 0 to 30. The larger, the stronger.

    Returns:
        (B, C, h, w), uint8.

    Raises:
        ValueError: the images are not such, or a number is out of its range.

    Source: Cubuk et al. 2020, figure 2, with the table of AutoAugment (Cubuk et al. 2019, table 6). Chapter 08.
    """
    _check(images, number, magnitude)
    batch, device = len(images), images.device
    pixels = images.float()
    for _ in range(number):
        drawn = torch.randint(len(OPERATIONS), (batch,), device=device)
        signs = 2.0 * torch.randint(2, (batch,), device=device) - 1
        pixels = apply_operations(pixels, drawn, signs, magnitude)
    return pixels.to(torch.uint8)


def _check(images: Tensor, number: int, magnitude: int) -> None:
    if images.dtype != torch.uint8:
        raise ValueError(
            f"images are {images.dtype}, RandAugment needs torch.uint8: its operations count in 256 levels. "
            "Give it the images before they are normalised, or set rand_augment to 0."
        )
    if images.ndim != 4 or images.shape[1] not in (1, 3):
        raise ValueError(f"images {tuple(images.shape)} must be (B, C, h, w) with C = 1 or 3: reshape them.")
    check_count("number", number, least=0)
    if not is_count(magnitude, least=0) or magnitude > 30:
        raise ValueError(f"magnitude {magnitude!r} must be a whole number between 0 and 30.")


def strengths(magnitude: int, height: int, width: int) -> dict[str, float]:
    """What a magnitude from 0 to 30 means to each operation that has a strength: numbers by name.

    Shears in pixels per pixel, shifts in whole pixels, the turn in degrees, brightness to sharpness as shares, then
    how many bits stay and the level from which on pixels are turned round. Chapter 08.
    """

    def step(first: float, last: float) -> float:
        # Always on the CPU: reading a number from a GPU would make it wait.
        return torch.linspace(first, last, 31, device="cpu")[magnitude].item()

    shear, share = step(0.0, 0.3), step(0.0, 0.9)
    return {
        "shear_x": shear,
        "shear_y": shear,
        "translate_x": int(step(0.0, 150 / 331 * width)),
        "translate_y": int(step(0.0, 150 / 331 * height)),
        "rotate": step(0.0, 30.0),
        "brightness": share,
        "colour": share,
        "contrast": share,
        "sharpness": share,
        "posterize": 8 - round(magnitude / 7.5),
        "solarize": 255 * step(1.0, 0.0),
    }


def apply_operations(pixels: Tensor, drawn: Tensor, signs: Tensor, magnitude: int) -> Tensor:
    """One operation for each image.

    Every image goes through every operation, most of them at a strength that changes nothing. That costs arithmetic,
    but picking out the images of one operation would make a GPU stop and count them.

    Args:
        pixels: (B, C, h, w).
        drawn: (B,) whole numbers, places in `OPERATIONS`.
        signs: (B,) 1.0 or -1.0, the direction of the operations that have two.
        magnitude: as in `rand_augment`.

    Returns:
        (B, C, h, w).

    Chapter 08.
    """
    height, width = pixels.shape[-2:]
    strength = strengths(magnitude, height, width)

    def chosen(name: str) -> Tensor:
        return drawn == OPERATIONS.index(name)  # (B,)

    def amount(name: str) -> Tensor:
        return torch.where(chosen(name), signs * strength[name], 0.0)  # (B,)

    moves = [amount(name) for name in ("shear_x", "shear_y", "translate_x", "translate_y", "rotate")]
    pixels = warp(pixels, maps(*moves, height=height, width=width))
    for operation in (brightness, colour, contrast, sharpness):
        pixels = operation(pixels, amount(operation.__name__))
    pixels = posterize(pixels, torch.where(chosen("posterize"), strength["posterize"], 8))
    pixels = solarize(pixels, torch.where(chosen("solarize"), strength["solarize"], 256.0))
    for operation in (autocontrast, equalize):
        pixels = torch.where(chosen(operation.__name__)[:, None, None, None], operation(pixels), pixels)
    return pixels


def maps(
    shear_x: Tensor,
    shear_y: Tensor,
    translate_x: Tensor,
    translate_y: Tensor,
    rotate: Tensor,
    height: int,
    width: int,
) -> Tensor:
    """The map of the plane for each image, of whose five strengths at most one is not 0.

    Args:
        shear_x: (B,) pixels to the left for each pixel from the top.
        shear_y: (B,) pixels upwards for each pixel from the left.
        translate_x: (B,) pixels to the right.
        translate_y: (B,) pixels downwards.
        rotate: (B,) degrees, against the clock, about the centre.
        height, width: of the images.

    Returns:
        (B, 2, 3), from places in the result to places in the image: (x, y) in pixels from the centre.

    Chapter 08.
    """
    cos, sin = rotate.deg2rad().cos(), rotate.deg2rad().sin()
    # Shears are measured from the top and left edges, which lie half a side before the centre.
    first = torch.stack([cos, shear_x - sin, shear_x * (height / 2) - translate_x], dim=1)
    second = torch.stack([shear_y + sin, cos, shear_y * (width / 2) - translate_y], dim=1)
    return torch.stack([first, second], dim=1)


def warp(pixels: Tensor, matrices: Tensor) -> Tensor:
    """Each pixel of the result is the one nearest to where its map leads, or black where that is outside.

    Args:
        pixels: (B, C, h, w).
        matrices: (B, 2, 3), as from `maps`.

    Source: Jaderberg et al. 2015, equation 1, with the nearest pixel. Chapter 08.
    """
    height, width = pixels.shape[-2:]
    x = torch.arange(width, device=pixels.device) - (width - 1) / 2  # (w,), in pixels from the centre
    y = torch.arange(height, device=pixels.device)[:, None] - (height - 1) / 2  # (h, 1)
    a, b, c, d, e, f = matrices.flatten(1)[:, :, None, None].unbind(1)  # each (B, 1, 1)
    across, down = a * x + b * y + c, d * x + e * y + f  # (B, h, w)
    grid = torch.stack([across / (width / 2), down / (height / 2)], dim=-1)  # (B, h, w, 2), from -1 to 1
    return F.grid_sample(pixels, grid, mode="nearest", align_corners=False)


def _blend(pixels: Tensor, other: Tensor | float, amounts: Tensor) -> Tensor:
    """Away from `other` by `amounts`, or towards it where they are negative, cut off to whole levels."""
    return (pixels + amounts[:, None, None, None] * (pixels - other)).clamp_(0, 255).floor_()


def _grey(pixels: Tensor) -> Tensor:
    """How bright each pixel is, in whole levels: (B, C, h, w) -> (B, 1, h, w)."""
    if pixels.shape[1] == 1:
        return pixels
    red, green, blue = pixels.split(1, dim=1)
    return (0.2989 * red + 0.587 * green + 0.114 * blue).floor()


def brightness(pixels: Tensor, amounts: Tensor) -> Tensor:
    """Away from black by `amounts` (B,): -1 is black, 0 as it was, 1 twice as bright. Chapter 08."""
    return _blend(pixels, 0.0, amounts)


def colour(pixels: Tensor, amounts: Tensor) -> Tensor:
    """Away from the grey copy of the image by `amounts` (B,). A grey image stays as it is. Chapter 08."""
    return _blend(pixels, _grey(pixels), amounts)


def contrast(pixels: Tensor, amounts: Tensor) -> Tensor:
    """Away from the average grey of the image by `amounts` (B,). Chapter 08."""
    return _blend(pixels, _grey(pixels).mean(dim=(1, 2, 3), keepdim=True), amounts)


def sharpness(pixels: Tensor, amounts: Tensor) -> Tensor:
    """Away from the blurred copy of the image by `amounts` (B,). The outermost pixels stay as they are.

    Blurred: the average of 3 x 3 pixels, where the middle one counts five times. Chapter 08.
    """
    rows = pixels[:, :, :-2] + pixels[:, :, 1:-1] + pixels[:, :, 2:]  # (B, C, h - 2, w)
    blocks = rows[..., :-2] + rows[..., 1:-1] + rows[..., 2:]  # (B, C, h - 2, w - 2)
    blurred = pixels.clone()
    blurred[..., 1:-1, 1:-1] = ((blocks + 4 * pixels[..., 1:-1, 1:-1]) / 13).round()
    return _blend(pixels, blurred, amounts)


def posterize(pixels: Tensor, bits: Tensor) -> Tensor:
    """Keep the highest `bits` (B,) of the 8 bits of each pixel: whole numbers from 0 to 8. Chapter 08."""
    sizes = 2 ** (8 - bits[:, None, None, None])  # (B, 1, 1, 1), of the steps between the levels that are left
    return (pixels / sizes).floor() * sizes


def solarize(pixels: Tensor, levels: Tensor) -> Tensor:
    """Turn the pixels round, v to 255 - v, that are at `levels` (B,) or above. Chapter 08."""
    return torch.where(pixels >= levels[:, None, None, None], 255 - pixels, pixels)


def autocontrast(pixels: Tensor) -> Tensor:
    """Stretch each channel so that its darkest pixel is 0 and its brightest 255. Chapter 08."""
    low = pixels.amin(dim=(2, 3), keepdim=True)  # (B, C, 1, 1)
    spread = pixels.amax(dim=(2, 3), keepdim=True) - low
    stretched = ((pixels - low) / (spread * (1 / 255))).clamp(0, 255).floor()
    return torch.where(spread > 0, stretched, pixels)


def equalize(pixels: Tensor) -> Tensor:
    """Spread the levels of each channel so that all are about equally frequent. Chapter 08.

    A level becomes the number of pixels below it, counted in 255ths of all pixels but the brightest ones.
    """
    flat = pixels.flatten(2)  # (B, C, h·w)
    places = flat.long()
    counts = flat.new_zeros(*flat.shape[:2], 256).scatter_add_(2, places, torch.ones_like(flat))
    brightest = counts.gather(2, places.amax(dim=2, keepdim=True))  # (B, C, 1)
    step = ((flat.shape[2] - brightest) / 255).floor()
    below = counts.cumsum(dim=2) - counts  # (B, C, 256)
    table = ((below + (step / 2).floor()) / step).floor().clamp(max=255)
    # A channel in which fewer than 255 pixels are not the brightest stays as it is.
    return torch.where(step > 0, table.gather(2, places), flat).view_as(pixels)
