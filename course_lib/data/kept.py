"""Many image files as one tensor: read once with all processor cores, and then kept ready in one file. Chapter 09.

The tensor is a view of that file: its pixels come into memory when they are looked at, and never twice.
"""

import contextlib
import glob
import hashlib
import json
import os
import re
import zlib
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from math import prod
from pathlib import Path
from typing import BinaryIO

import numpy as np
import torch
from filelock import FileLock

from course_lib.data.pictures import ImageError, read_image
from course_lib.files.places import data_folder

FORMAT = 4  # of the kept files; another number makes them anew
HEADER = 1024  # bytes before the pixels, more than their description ever needs
AT_ONCE = 16  # images that a thread reads before it asks for more


def read_files(
    paths: Sequence[Path], size: int | None, name: str, *, skip: bool = False, wanted: slice = slice(None)
) -> tuple[torch.Tensor, torch.Tensor]:
    """(images (n, 3, h, w) uint8, which of the `paths` they are (n,)); from the kept file if no path has changed since.

    Args:
        paths: of image files of any kind.
        size: every image becomes its middle square of `size` x `size` pixels; None if all have one size.
        name: of the kept file.
        skip: leave out files that cannot be read.
        wanted: which of the `paths`, a piece of them; all are kept, but only these are returned.

    Raises:
        ValueError: a file is not there, or some cannot be read and `skip` is not set; or the size of one is another
            than the first one's.
    """
    key = hashlib.sha256(repr((FORMAT, size, skip, [_state(path) for path in paths])).encode()).hexdigest()[:16]
    name = re.sub(r"[^\w.-]", "_", name)
    kept = data_folder() / "folders" / f"{name}-{key}.safetensors"
    found = _load(kept)
    if found is None:
        try:
            kept.parent.mkdir(parents=True, exist_ok=True)
            with FileLock(kept.with_name(f"{name}.lock")):
                found = _load(kept)  # another process may have been faster
                if found is None:
                    _keep(kept, name, _decode(paths, size, skip), len(paths))
                    found = _load(kept)
        except (OSError, NotImplementedError):  # no room, no permission, or a drive without locks
            pass
    start, stop, _ = wanted.indices(len(paths))
    if found is None:  # what cannot be kept is read each time, and no more than is wanted
        images, rows = _gather(_decode(paths[start:stop], size, skip), stop - start)
        return images, rows + start
    images, rows = found
    piece = slice(int((rows < start).sum()), int((rows < stop).sum()))
    return images[piece], rows[piece]


def _state(path: Path) -> tuple[str, int, int]:
    """What shows that a file has changed: (path, bytes, time of the last change)."""
    try:
        facts = path.stat()
    except OSError as error:
        raise ValueError(f"{path} is not there: delete the folder {path.parent} and try again.") from error
    return str(path), facts.st_size, facts.st_mtime_ns


def _load(kept: Path) -> tuple[torch.Tensor, torch.Tensor] | None:
    """(images, rows) from a kept file; None if it is not there or damaged."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(kept, "pt") as content:
            if (content.metadata() or {}).get("crc") == str(_checksum(kept)):
                return content.get_tensor("images"), content.get_tensor("good").nonzero()[:, 0]
    except (OSError, RuntimeError, SafetensorError):  # RuntimeError: of torch, on a drive whose files cannot be mapped
        pass
    return None


def _checksum(kept: Path) -> int:
    """Of all that comes after the header. It is read, not mapped, so that memory holds no page of it for this."""
    crc = 0
    with open(kept, "rb") as file:
        file.seek(HEADER)
        while block := file.read(2**20):
            crc = zlib.crc32(block, crc)
    return crc


def _keep(kept: Path, name: str, decoded: Iterator[tuple[int, np.ndarray]], count: int) -> None:
    """Write a kept file as the images come, in the place of older ones of that name; whole or not at all."""
    part = kept.with_name(f"{name}.part")
    try:
        with open(part, "wb") as file:
            _write(file, decoded, count)
        os.replace(part, kept)
    finally:
        part.unlink(missing_ok=True)
    for old in kept.parent.glob(f"{glob.escape(name)}-*.safetensors"):
        if old != kept:
            with contextlib.suppress(OSError):  # Windows keeps a file that somebody looks at
                old.unlink()


def _write(file: BinaryIO, decoded: Iterator[tuple[int, np.ndarray]], count: int) -> None:
    """Images and which of `count` files they are, laid out as the safetensors format wants it."""
    good = np.zeros(count, np.uint8)
    crc, shape = 0, (0,)
    file.seek(HEADER)
    for row, image in decoded:
        file.write(image.data)
        crc, shape = zlib.crc32(image.data, crc), image.shape
        good[row] = 1
    file.write(good.data)
    shape = (int(good.sum()), *shape)
    pixels = prod(shape)
    facts = {
        "__metadata__": {"crc": str(zlib.crc32(good.data, crc))},
        "images": {"dtype": "U8", "shape": shape, "data_offsets": (0, pixels)},
        "good": {"dtype": "U8", "shape": (count,), "data_offsets": (pixels, pixels + count)},
    }
    file.seek(0)
    file.write((HEADER - 8).to_bytes(8, "little") + json.dumps(facts).encode().ljust(HEADER - 8))


def _gather(decoded: Iterator[tuple[int, np.ndarray]], count: int) -> tuple[torch.Tensor, torch.Tensor]:
    """(images, rows) in memory only."""
    images, rows = np.empty(0, np.uint8), []
    for row, image in decoded:
        if not rows:
            images = np.empty((count, *image.shape), np.uint8)
        images[len(rows)] = image
        rows.append(row)
    return torch.from_numpy(images[: len(rows)]), torch.tensor(rows)


def _decode(paths: Sequence[Path], size: int | None, skip: bool) -> Iterator[tuple[int, np.ndarray]]:
    """(row, image (3, h, w)) of every file that can be read, in order.

    Raises:
        ImageError: some cannot, and `skip` is not set: after the last one, so that all are named.
        ValueError: none can; or the size of one is another than the first one's.
    """
    first, faults = None, []
    for row, image in _read_ahead(paths, size):
        if isinstance(image, ImageError):
            faults.append(image)
            continue
        first = first or (paths[row], image.shape)
        if image.shape != first[1]:
            raise ValueError(
                f"{paths[row]} has {image.shape[2]} x {image.shape[1]} pixels, {first[0]} has "
                f"{first[1][2]} x {first[1][1]}: give a size that all are brought to, such as size=224."
            )
        yield row, image
    if faults and not skip:
        raise _all_faults(faults, len(paths))
    if first is None:
        raise ValueError(f"none of the {len(paths)} files in {paths[0].parent.parent} can be read as an image.")


def _read_ahead(paths: Sequence[Path], size: int | None) -> Iterator[tuple[int, np.ndarray | ImageError]]:
    """(row, image or what is wrong with it) of every file, in order; a few per core are waiting, so memory stays small."""
    from tqdm.auto import tqdm

    def read(rows: range) -> list[tuple[int, np.ndarray | ImageError]]:
        return [(row, _read_or_fault(paths[row], size)) for row in rows]

    workers = min(32, (os.cpu_count() or 1) + 4)
    parts = iter([range(start, min(start + AT_ONCE, len(paths))) for start in range(0, len(paths), AT_ONCE)])
    bar = tqdm(desc="reading images", total=len(paths), leave=False, delay=5)
    with bar, ThreadPoolExecutor(workers) as pool:
        waiting = deque(pool.submit(read, part) for part in islice(parts, 2 * workers))
        while waiting:
            found = waiting.popleft().result()
            waiting.extend(pool.submit(read, part) for part in islice(parts, 1))
            yield from found
            bar.update(len(found))


def _read_or_fault(path: Path, size: int | None) -> np.ndarray | ImageError:
    try:
        return read_image(path, size)
    except ImageError as error:
        return error


def _all_faults(faults: Sequence[ImageError], count: int) -> ImageError:
    """One error for all files that cannot be read."""
    if len(faults) == 1:
        return faults[0]
    said = "; ".join(str(fault).rpartition(":")[0] for fault in faults[:3])
    more = f"; and {len(faults) - 3:,} more" if len(faults) > 3 else ""
    return ImageError(f"{len(faults):,} of {count:,} files: {said}{more}. Replace or delete them.")
