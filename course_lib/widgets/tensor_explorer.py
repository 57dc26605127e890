"""Tensors that travel to an explorer in parts: in the page if they are small, fetched one by one if they are large."""

from __future__ import annotations

import base64
import math
import zlib
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import traitlets

from course_lib.files.atomic import write_atomically
from course_lib.widgets.explorer import Explorer

# A number between 0 and 1 travels as the step it lies in, and comes back as the step's middle: at most 1/120,000 off.
# The limits at which a displayed digit changes (0.05 %, 0.15 %, ... and 0.005 %, 0.015 %, ... below 1 %) are limits of
# steps too, so that a number that is only stored and shown has the digits that it had before.
LEVELS = 60_000
EMBEDDED_BYTES = 300_000  # before packing; about 200,000 after it

# In one byte: the numbers, in per cent, that can be shown. Below 10 % they have the digits of `percent`; from there on
# they are whole, and from 50 % on even.
DIGITS = np.concatenate(
    [np.arange(100) / 100, np.arange(10, 100) / 10, np.arange(10, 50), np.arange(50, 101, 2)]
)  # (256,)
LIMITS = (DIGITS[:-1] + DIGITS[1:]) / 2


def to_levels(shares: np.ndarray) -> np.ndarray:
    """uint16 steps of numbers between 0 and 1."""
    return np.floor(shares.astype(np.float64) * LEVELS).clip(0, LEVELS).astype(np.uint16)


def to_digits(shares: np.ndarray) -> np.ndarray:
    """uint8: which of the 256 `DIGITS` is nearest to each number between 0 and 1."""
    return np.searchsorted(LIMITS, 100 * shares.astype(np.float64), side="right").astype(np.uint8)


def from_digits(digits: np.ndarray) -> np.ndarray:
    """The numbers between 0 and 1 that bytes stand for, in float64."""
    return DIGITS[digits] / 100


def pack(levels: np.ndarray) -> bytes:
    """In zlib's format: bytes as they are; of uint16 all high bytes, then all low bytes (a quarter smaller so)."""
    if levels.dtype == np.uint8:
        ways = (zlib.Z_DEFAULT_STRATEGY, zlib.Z_FILTERED)
        return min((_deflate(levels.tobytes(), strategy) for strategy in ways), key=len)
    return zlib.compress((levels >> 8).astype(np.uint8).tobytes() + (levels & 255).astype(np.uint8).tobytes())


def _deflate(data: bytes, strategy: int) -> bytes:
    compressor = zlib.compressobj(9, memLevel=9, strategy=strategy)
    return compressor.compress(data) + compressor.flush()


def unpack(packed: bytes, shape: tuple[int, ...]) -> np.ndarray:
    """What :func:`pack` made, as the numbers between 0 and 1 that are shown, in float64."""
    plain = np.frombuffer(zlib.decompress(packed), np.uint8)
    if plain.size == math.prod(shape):
        return from_digits(plain).reshape(shape)
    high, low = plain.reshape(2, *shape).astype(np.float64)
    return np.minimum(1, (256 * high + low + 0.5) / LEVELS)


class TensorExplorer(Explorer):
    """An explorer with a tensor of numbers between 0 and 1, in equal parts.

    Up to 300,000 bytes (two a number) travel with the state. Beyond, a part is asked from the kernel when it is looked
    at, and on the static page fetched from a file beside the widget's module: name the files (``files="attention/vit"``)
    and write them once, by a script, into a folder whose content the site serves under ``_static``. With ``brief`` the
    files hold a byte a number (:data:`DIGITS`): half as large, and shown with as many digits as that allows.

    Traits: ``packed``, the parts in base64, or none; ``files``, what the files' paths begin with, or ""; ``brief``,
    whether the files hold bytes.
    """

    packed = traitlets.List(traitlets.Unicode(), read_only=True).tag(sync=True)
    files = traitlets.Unicode(read_only=True).tag(sync=True)
    brief = traitlets.Bool(read_only=True).tag(sync=True)

    def _store(self, parts: np.ndarray, files: str | None, *, brief: bool = False) -> None:
        """Keep ``parts`` (n, ...) as they will be shown. Called before the widget is opened."""
        self._levels = np.stack([to_levels(part) for part in parts])
        if self._levels.nbytes <= EMBEDDED_BYTES:
            self.set_trait("packed", [base64.b64encode(pack(part)).decode() for part in self._levels])
        elif files:
            self.set_trait("files", files)
            self.set_trait("brief", brief)
        self.on_msg(self._answer)

    def _answer(self, _widget, content, _buffers):
        """A live front end asks for a part."""
        part = content.get("part")
        if isinstance(part, int) and 0 <= part < len(self._levels):
            self.send({"part": part}, buffers=[pack(self._levels[part])])

    def write_files(self, folder: str | Path) -> list[Path]:
        """Write the files that the static page fetches, below ``folder`` (``assets`` in the course's own repository).

        Returns their paths; none if everything travels with the state.

        Raises ValueError when the tensor is large and the explorer was made without ``files``.
        """
        if self.packed:
            return []
        if not self.files:
            raise ValueError(
                f"{self._levels.nbytes} bytes are more than the {EMBEDDED_BYTES} that travel with the page: "
                'name the files, such as files="attention/vit".'
            )
        parts = (to_digits((part + 0.5) / LEVELS) for part in self._levels) if self.brief else self._levels
        return self._write(folder, "", parts)

    def _write(self, folder: str | Path, kind: str, parts: Iterable[np.ndarray]) -> list[Path]:
        paths = []
        for i, part in enumerate(parts):
            paths.append(Path(folder) / f"{self.files}.{kind}{i}.bin")
            write_atomically(paths[-1], pack(part))
        return paths
