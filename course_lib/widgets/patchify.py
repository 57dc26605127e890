"""An image cut into patches, beside the strip of tokens, with what each patch size costs (chapter 04)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import traitlets

from course_lib.widgets.explorer import Explorer, Numbers, as_images, check_index, picture, place

MAX_TOKENS = 4096  # more would be smaller than a pixel each


def _large(n: int) -> str:
    """Three digits and a unit."""
    unit, name = next(
        (each for each in ((1, ""), (1e3, "k"), (1e6, "M"), (1e9, "G")) if n < 999.5 * each[0]), (1e12, "T")
    )
    return f"{n}" if unit == 1 else f"{n / unit:#.3g}".rstrip(".") + f"\u00a0{name}"


class Patchify(Explorer):
    """An image, its cuts and the strip of tokens: choose a patch size, and see what it gives and costs.

    Shapes: ``image`` (C, h, w), uint8 or between 0 and 1. ``patch_size`` divides h and w; ``sizes`` are those that may
    be chosen, which give at most 4096 tokens. ``dim``: the width of the encoder block whose cost is shown.

    Traits, which follow what the reader does: ``patch_size``, and ``pixel`` [row, column], which the marked patch
    contains (so it stays in its place when the patch size changes). ``token`` is that patch's number, from 0.

    The cost is that of one block in multiplications: ``2 N² D`` for scores and average, ``12 N D²`` with the weights of
    the linear layers (queries, keys, values and projection 4, MLP of ratio 4: 8). Class token and softmax are left out.

    Raises ValueError for an image of another shape, and for a patch size or pixel that does not fit the image.
    """

    module = "patchify"
    state_names = ("channels", "dim", "image", "patch_size", "pixel", "size", "sizes")

    patch_size = traitlets.Int().tag(sync=True)
    pixel = traitlets.List(traitlets.Int(), help="[row, column]").tag(sync=True)
    image = traitlets.Unicode(help="a data URL", read_only=True).tag(sync=True)
    size = traitlets.List(help="[h, w]", read_only=True).tag(sync=True)
    sizes = traitlets.List(help="patch sizes that fit", read_only=True).tag(sync=True)
    channels = traitlets.Int(read_only=True).tag(sync=True)
    dim = traitlets.Int(read_only=True).tag(sync=True)

    def __init__(
        self, image: Numbers, patch_size: int, *, dim: int = 768, pixel: Sequence[int] | None = None, **kwargs: Any
    ) -> None:
        images = as_images(image)
        if len(images) != 1:
            raise ValueError(f"give 1 image (C, h, w), got {len(images)}.")
        channels, height, width = images[0].shape
        if dim < 1:
            raise ValueError(f"dim must be at least 1, got {dim}.")
        fits = [p for p in range(1, math.gcd(height, width) + 1) if not height % p and not width % p]
        fixed = {
            "image": picture(images[0]),
            "size": [height, width],
            "sizes": [p for p in fits if height * width <= MAX_TOKENS * p * p],
            "channels": channels,
            "dim": dim,
        }
        if not fixed["sizes"]:
            raise ValueError(
                f"no patch size cuts an image of {height} × {width} pixels into at most {MAX_TOKENS} patches."
            )
        for name, value in fixed.items():
            self.set_trait(name, value)
        pixel = [height // 2, width // 2] if pixel is None else list(pixel)
        super().__init__(patch_size=patch_size, pixel=pixel, **kwargs)

    @traitlets.validate("patch_size")
    def _check_patch_size(self, proposal):
        if proposal.value not in self.sizes:
            raise ValueError(
                f"patch_size {proposal.value} does not fit an image of {self.size[0]} × {self.size[1]} pixels: choose one of "
                f"{', '.join(map(str, self.sizes))}."
            )
        return proposal.value

    @traitlets.validate("pixel")
    def _check_pixel(self, proposal):
        if len(proposal.value) != 2:
            raise ValueError(f"pixel must be [row, column], got {proposal.value}.")
        names = ("the row of pixel", "the column of pixel")
        return [check_index(*each) for each in zip(names, proposal.value, self.size, strict=True)]

    @property
    def grid_size(self) -> tuple[int, int]:
        """(gh, gw)"""
        return self.size[0] // self.patch_size, self.size[1] // self.patch_size

    @property
    def token(self) -> int:
        """Number of the marked patch in the strip, from 0."""
        return self.pixel[0] // self.patch_size * self.grid_size[1] + self.pixel[1] // self.patch_size

    @property
    def cost(self) -> dict[str, int]:
        """Tokens, numbers in a patch, scores in a head (`weights`), and multiplications of one block."""
        tokens = self.grid_size[0] * self.grid_size[1]
        return {
            "tokens": tokens,
            "numbers": self.channels * self.patch_size**2,
            "weights": tokens**2,
            "attention": 2 * tokens**2 * self.dim,
            "linear": 12 * tokens * self.dim**2,
        }

    def describe(self) -> str:
        """The present state in a few sentences."""
        cost, (rows, columns), step = self.cost, self.grid_size, self.patch_size
        share = 100 * cost["attention"] / (cost["attention"] + cost["linear"])
        return (
            f"The image is cut into {rows} × {columns} = {cost['tokens']:,} {'patch' if cost['tokens'] == 1 else 'patches'} of "
            f"{step} × {step} pixels, {cost['numbers']:,} numbers a patch. In a block of width {self.dim}, scores and average "
            f"take {share:.1f}\u00a0% of the multiplications. The patch in {place(self.token, columns)} is token "
            f"{self.token + 1:,}."
        )

    def text_alternative(self) -> str:
        cells = {
            "tokens N": f"{self.cost['tokens']:,}",
            "numbers a patch, C · P²": f"{self.cost['numbers']:,}",
            "scores a head, N²": f"{self.cost['weights']:,}",
            "multiplications for scores and average in one block, 2 · N² · D": _large(self.cost["attention"]),
            "multiplications with weights in one block, 12 · N · D²": _large(self.cost["linear"]),
        }
        rows = "\n".join(f"<tr><th>{name}</th><td>{value}</td></tr>" for name, value in cells.items())
        return (
            "<p><strong>Patchify.</strong> An image is cut into patches, and the patches lie side by side as a strip of tokens,\n"
            f"row by row. The patch size can be changed: {', '.join(map(str, self.sizes))} pixels. In a notebook, run this\n"
            "cell to try it.</p>\n"
            f"<p>{self.describe()}</p>\n"
            f"<table>\n<tbody>\n{rows}\n</tbody>\n</table>"
        )

    def __repr__(self) -> str:
        return f"Patchify({self.size[0]} × {self.size[1]} pixels, patch size {self.patch_size}, {self.cost['tokens']} tokens)"
