"""How a picture becomes pixels: the one reader, whether it is trained on, evaluated, or asked about. Chapter 09.

`image_folder`, Flowers and Pets read files with it, and `Preprocessing.transform()` takes pictures through it.
"""

import contextlib
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from PIL import Image

ENDINGS = (".bmp", ".gif", ".jfif", ".jpe", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp")

# Kinds that not every installation reads, and what makes it read them.
READERS = {
    ".avif": "pip install --upgrade pillow",
    ".heic": "pip install pillow-heif",
    ".heif": "pip install pillow-heif",
    ".hif": "pip install pillow-heif",
}


class ImageError(ValueError):
    """A file that should be an image and cannot be read as one."""


def shown(path: str | Path) -> str:
    """A path as it can be printed on one line, whatever bytes are in it."""
    text = str(path).encode("utf-8", "backslashreplace").decode()
    return "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in text)


@cache
def picture_endings() -> frozenset[str]:
    """The endings, in small letters, of the files that are read as pictures: `ENDINGS`, and of `READERS` what is installed.

    Source: chapter 09.
    """
    from PIL import Image

    with contextlib.suppress(ImportError):
        import pillow_heif  # pyright: ignore[reportMissingImports]

        pillow_heif.register_heif_opener()
    known = Image.registered_extensions()
    return frozenset(ending for ending in (*ENDINGS, *READERS) if ending in known)


def read_image(path: Path, size: int | None = None) -> np.ndarray:
    """One file as RGB: (3, h, w) uint8; or its middle square, (3, size, size).

    Raises:
        ImageError: it is damaged, empty, or no image.
    """
    return to_array(open_picture(path), size)


def open_picture(path: Path) -> "Image.Image":
    """One file as a PIL image, RGB.

    Raises:
        ImageError: it is damaged, empty, or no image.
    """
    from PIL import Image

    readable = picture_endings()  # before the first picture is opened: it makes Pillow know the rarer kinds
    try:
        with Image.open(path) as image:
            return to_rgb(image)
    except Exception as error:  # Pillow has a dozen kinds for damaged files, and each release may add one
        if not path.exists():
            web = path.parts[:1] in (("http:",), ("https:",), ("file:",))
            advice = "addresses are not fetched, save the picture first" if web else "see to its name and its folder"
            raise ImageError(f"{shown(path)} is not there: {advice}.") from error
        length = f" ({path.stat().st_size:,} bytes)" if path.is_file() else ""
        ending = path.suffix.lower()
        reader = f"{READERS[ending]} reads this kind" if ending in READERS.keys() - readable else ""
        raise ImageError(
            f"{shown(path)}{length} cannot be read as an image ({type(error).__name__}: "
            f"{' '.join(str(error).split())[:100]}): {reader or 'replace it, or leave it out'}."
        ) from error


def to_array(image: "Image.Image", size: int | None = None) -> np.ndarray:
    """A PIL image of any kind -> (3, h, w) uint8 RGB; or its middle square, bilinear with antialiasing, (3, size, size)."""
    image = to_rgb(image)
    if size:
        image = cover(image, (size, size))
    return np.ascontiguousarray(np.asarray(image).transpose(2, 0, 1))  # (h, w, 3) -> (3, h, w)


def cover(image: "Image.Image", size: tuple[int, int], interpolation: str = "bilinear") -> "Image.Image":
    """The middle of a PIL image, as much of it as has the shape of `size`, brought to `size` = (height, width)."""
    from PIL import Image, ImageOps

    height, width = size
    return ImageOps.fit(image, (width, height), Image.Resampling[interpolation.upper()])


def to_rgb(image: "Image.Image") -> "Image.Image":
    """A PIL image of any kind -> RGB, turned as its camera says, white where it is transparent.

    Palettes, CMYK and single bits are what Pillow makes of them; 16-bit greys are scaled to 8.

    Raises:
        ValueError: its pixels are floating-point numbers.
    """
    from PIL import Image, ImageOps

    image = ImageOps.exif_transpose(image)
    if image.mode == "F":
        raise ValueError("its pixels are floating-point numbers, and their range is unknown")
    if image.mode.startswith("I"):  # 16 bits for each pixel, and `convert` would cut off what is above 255
        image = Image.fromarray((np.asarray(image).astype(np.int64) // 256).clip(0, 255).astype(np.uint8))
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image.convert("RGB")
