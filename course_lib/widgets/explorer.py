"""What the explorers share: one common script, and pictures that travel to the page."""

from __future__ import annotations

import base64
import io
import re
from pathlib import Path
from typing import Any

import numpy as np

from course_lib.widgets.base import CourseWidget

SCRIPTS = Path(__file__).parent / "js"
SMALL = 64  # pixels: pictures up to this side are kept exactly, larger ones as JPEG
Numbers = Any  # a tensor (any device and dtype), an array, or nested lists
IMPORT = re.compile(r'^import (\{[^}]*\}) from "\./explorer\.js";$', re.M)


class Explorer(CourseWidget):
    """A widget whose module imports ``js/explorer.js``.

    The static page resolves the import. A live front end gets one text, in which the common script stands where the
    import was: what it runs has no folder to import from.
    """

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "module" in cls.__dict__:
            common, own = ((SCRIPTS / f"{name}.js").read_text(encoding="utf-8") for name in ("explorer", cls.module))
            common = re.sub(r"^export ", "", common, flags=re.M)
            cls._esm = IMPORT.sub(
                lambda names: f"const {names[1]} = (() => {{\n{common}return {names[1]};\n}})();", own
            )


def as_array(name: str, data: Numbers) -> np.ndarray:
    """A float32 array, which must be finite."""
    if hasattr(data, "detach"):
        data = data.detach().cpu().float()
    data = np.asarray(data, dtype=np.float32)
    if not np.isfinite(data).all():
        raise ValueError(
            f"{name} must be finite, but {np.count_nonzero(~np.isfinite(data))} of {data.size} numbers are not."
        )
    return data


def as_images(images: Numbers) -> np.ndarray:
    """(n, C, h, w) in uint8 from a batch, or from one image (C, h, w); C = 1 or 3; uint8, or between 0 and 1."""
    whole = str(getattr(images, "dtype", "")).endswith("uint8")
    images = as_array("images", images)
    images = images[None] if images.ndim == 3 else images
    if images.ndim != 4 or images.shape[1] not in (1, 3):
        raise ValueError(f"images must be (n, C, h, w) or (C, h, w) with C = 1 or 3, got {images.shape}.")
    if not whole and images.size and not (images.min() >= 0 and images.max() <= 1):
        raise ValueError(
            f"images must be uint8 or lie between 0 and 1, got {images.min():.2f} to {images.max():.2f}: "
            "give the pictures as they were before they were normalised."
        )
    return (images if whole else np.round(images * 255)).astype(np.uint8)


def picture(image: np.ndarray) -> str:
    """(C, h, w) in uint8 as a data URL; grey pictures are dark on light, as in the figures."""
    from PIL import Image

    pixels = 255 - image[0] if len(image) == 1 else image.transpose(1, 2, 0)  # (h, w) or (h, w, 3)
    exact = max(pixels.shape[:2]) <= SMALL
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, **({"format": "PNG"} if exact else {"format": "JPEG", "quality": 90}))
    kind = "png" if exact else "jpeg"
    return f"data:image/{kind};base64,{base64.b64encode(file.getvalue()).decode()}"


def check_index(name: str, value: int, count: int) -> int:
    if not 0 <= value < count:
        raise ValueError(f"{name} must lie between 0 and {count - 1}, got {value}.")
    return int(value)


def place(index: int, columns: int) -> str:
    """Where a patch lies, counted from 1, in words."""
    return f"row {index // columns + 1}, column {index % columns + 1}"


def percent(share: float) -> str:
    """A share of 1 as a percentage: one decimal, two below 1 %."""
    value = 100 * share
    return f"{value:.{2 if value < 0.995 else 1}f}\u00a0%"


def brief_percent(share: float) -> str:
    """A percentage with as many digits as a byte allows: whole from 10 % on, one decimal below, two below 1 %."""
    return percent(share) if 100 * share < 9.95 else whole_percent(share)


def whole_percent(share: float) -> str:
    return f"{100 * share:.0f}\u00a0%"


def signed(value: float, digits: int = 2) -> str:
    """A number with a true minus sign and no negative zero."""
    text = f"{abs(value):.{digits}f}"
    return "−" + text if value < 0 and float(text) else text
