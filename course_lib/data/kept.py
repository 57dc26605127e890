"""Many image files as one tensor: read once with all processor cores, and then kept ready in one file. Chapter 09."""

import contextlib
import hashlib
import zlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch

from course_lib.data.pictures import ImageError, read_image
from course_lib.files.atomic import write_atomically
from course_lib.files.places import data_folder

FORMAT = 3  # of the kept files; another number makes them anew
AT_ONCE = 64  # images that a thread reads before it asks for more


def read_files(
    paths: Sequence[Path], size: int | None, name: str, *, skip: bool = False
) -> tuple[torch.Tensor, torch.Tensor]:
    """(images (n, 3, h, w) uint8, which of the `paths` they are (n,)); from the kept file if no path has changed since.

    Args:
        paths: of image files of any kind.
        size: every image becomes its middle square of `size` x `size` pixels; None if all have one size.
        name: of the kept file.
        skip: leave out files that cannot be read.

    Raises:
        ValueError: a file is not there, or cannot be read and `skip` is not set; or its size is another than the
            first one's.
    """
    kept = data_folder() / "folders" / f"{name}.safetensors"
    key = hashlib.sha256(repr((FORMAT, size, skip, [_state(path) for path in paths])).encode()).hexdigest()
    found = _load(kept, key)
    if found is None:
        found = _read(paths, size, skip)
        with contextlib.suppress(OSError):  # a folder that cannot be written in: then they are read each time
            _keep(kept, key, *found)
    return found


def _state(path: Path) -> tuple[str, int, int]:
    """What shows that a file has changed: (path, bytes, time of the last change)."""
    try:
        facts = path.stat()
    except OSError as error:
        raise ValueError(f"{path} is not there: delete the folder {path.parent} and try again.") from error
    return str(path), facts.st_size, facts.st_mtime_ns


def _load(file: Path, key: str) -> tuple[torch.Tensor, torch.Tensor] | None:
    """(images, rows) from a kept file; None if it is not there, damaged, or of other files."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(file, "pt") as kept:
            facts = kept.metadata() or {}
            if facts.get("key") == key:
                images, rows = kept.get_tensor("images"), kept.get_tensor("rows")
                if facts["crc"] == _checksum(images, rows):
                    return images, rows
    except (OSError, SafetensorError):
        pass
    return None


def _keep(file: Path, key: str, images: torch.Tensor, rows: torch.Tensor) -> None:
    from safetensors.torch import save

    facts = {"key": key, "crc": _checksum(images, rows)}
    write_atomically(file, save({"images": images, "rows": rows}, facts))


def _checksum(images: torch.Tensor, rows: torch.Tensor) -> str:
    """Catches a file that was damaged on the disk."""
    return str(zlib.crc32(images.numpy().data, zlib.crc32(rows.numpy().data)))


def _read(paths: Sequence[Path], size: int | None, skip: bool) -> tuple[torch.Tensor, torch.Tensor]:
    from tqdm.auto import tqdm

    first, example = _first_readable(paths, size, skip)
    images = np.zeros((len(paths), *example.shape), np.uint8)

    def read(rows: range) -> list[int]:
        good = []
        for row in rows:
            try:
                image = read_image(paths[row], size)
            except ImageError:
                if not skip:
                    raise
                continue
            if image.shape != example.shape:
                raise ValueError(
                    f"{paths[row]} has {image.shape[2]} x {image.shape[1]} pixels, {paths[first]} has "
                    f"{example.shape[2]} x {example.shape[1]}: give a size that all are brought to, such as size=224."
                )
            images[row] = image
            good.append(row)
        return good

    parts = [range(start, min(start + AT_ONCE, len(paths))) for start in range(0, len(paths), AT_ONCE)]
    with ThreadPoolExecutor() as pool:  # on the first error, `map` calls off what has not begun
        done = tqdm(pool.map(read, parts), "reading images", len(parts), leave=False, delay=5)
        rows = torch.tensor([row for good in done for row in good])
    stacked = torch.from_numpy(images)
    return (stacked if len(rows) == len(paths) else stacked[rows]), rows


def _first_readable(paths: Sequence[Path], size: int | None, skip: bool) -> tuple[int, np.ndarray]:
    """(row, image) of the first file that can be read."""
    for row, path in enumerate(paths):
        try:
            return row, read_image(path, size)
        except ImageError:
            if not skip:
                raise
    raise ValueError(f"none of the {len(paths)} files in {paths[0].parent.parent} can be read as an image.")
