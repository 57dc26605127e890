"""What is in a folder of images, before anything is trained on it: classes, sizes, faults, duplicates. Chapter 09.

Read from the top: `look_at`, what it asks of every picture, and what it makes of that.
"""

import hashlib
import os
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from course_lib.data.image_set import SPLITS
from course_lib.data.layout import Layout, find_layout, say_deeper
from course_lib.data.listing import list_folder
from course_lib.data.pictures import ImageError, read_image

Places = dict[Path, tuple[str, str]]  # {path: (split, class)}

AT_ONCE = 8  # pictures: each is decoded at its full size, and a telephone's takes 100 MB while that is done

# Pillow's modes in words; what the reader makes of them is in `pictures`.
COLOURS = {
    "1": "black and white",
    "L": "grey",
    "LA": "grey, transparent",
    "P": "palette",
    "RGBA": "transparent",
    "I;16": "grey of 16 bits",
    "I": "grey of 16 bits",
}


@dataclass(frozen=True)
class Picture:
    """One picture that can be read.

    Args:
        path: its file.
        width, height: in pixels, turned as its camera says.
        colours: "RGB", "grey", "transparent", ...
        digest: of its pixels as the model gets them, so that it is the same in a file of another kind or name.
    """

    path: Path
    width: int
    height: int
    colours: str
    digest: str


def look_at(folder: str | Path) -> tuple[dict[str, Any], dict[str, list[Path]]]:
    """(all that is found out about a folder, its pictures that can be read by class, or else by folder).

    Every picture is decoded once. Paths are relative to the folder.

    Raises:
        ValueError: there is no such folder.
    """
    top = list_folder(folder)
    paths = top.all_pictures()
    pictures, faults = survey(paths)
    readable = {picture.path for picture in pictures}
    refused, notes, held_back, places = None, [], 0, {}
    try:
        layout = find_layout(top)
        notes = [*layout.notes, *filter(None, (say_deeper(share.part) for share in layout.shares.values()))]
        held_back, places = max(share.cut for share in layout.shares.values()), _find_places(layout)
        _check_shares(layout, places, readable)
    except ValueError as error:
        refused = str(error)

    groups: dict[str, list[Path]] = {}
    for path in paths:
        if path in readable:
            groups.setdefault(places[path][1] if path in places else _relative(path.parent, top.path), []).append(path)
    counts = Counter(places[path] for path in paths if path in places and path in readable)
    facts = {
        "folder": str(top.path),
        "pictures": len(paths),
        "bytes": sum(os.path.getsize(path) for path in paths),
        "refused": refused,
        "notes": list(dict.fromkeys(notes)),
        "tenths_held_back": held_back,
        "classes": _table(counts),
        "folders": dict(Counter(_relative(path.parent, top.path) for path in paths)),
        "sizes": _sizes(pictures),
        "colours": dict(Counter(picture.colours for picture in pictures).most_common()),
        "left_out": dict(top.all_left_out().most_common()),
        "unreadable": [{"file": _relative(path, top.path), "error": str(fault)} for path, fault in faults],
        "balance": _balance(counts),
        "duplicates": [_duplicate(group, places, top.path) for group in find_duplicates(pictures)],
    }
    return facts, dict(sorted(groups.items()))


def survey(paths: Sequence[Path]) -> tuple[list[Picture], list[tuple[Path, ImageError]]]:
    """(the pictures that can be read, the files that cannot and why), each decoded once, at its full size."""
    from tqdm.auto import tqdm

    with ThreadPoolExecutor(AT_ONCE) as pool:
        found = list(tqdm(pool.map(_look, paths), "looking", len(paths), leave=False, delay=5))
    good = [picture for picture in found if isinstance(picture, Picture)]
    bad = [(path, fault) for path, fault in zip(paths, found, strict=True) if isinstance(fault, ImageError)]
    return good, bad


def find_duplicates(pictures: Sequence[Picture]) -> list[list[Path]]:
    """The groups of files that hold the same pixels, each in the order of the pictures."""
    groups: dict[str, list[Path]] = {}
    for picture in pictures:
        groups.setdefault(picture.digest, []).append(picture.path)
    return [group for group in groups.values() if len(group) > 1]


def count_sizes(pictures: Sequence[Picture]) -> Counter[tuple[int, int]]:
    """How many pictures have each (width, height)."""
    return Counter((picture.width, picture.height) for picture in pictures)


def _look(path: Path) -> Picture | ImageError:
    from PIL import Image

    try:
        pixels = read_image(path)  # (3, h, w)
    except ImageError as error:
        return error
    with Image.open(path) as image:
        mode = image.mode
    digest = hashlib.blake2b(repr(pixels.shape).encode(), digest_size=16)
    digest.update(pixels.data)
    return Picture(path, pixels.shape[2], pixels.shape[1], COLOURS.get(mode, mode), digest.hexdigest())


def _find_places(layout: Layout) -> Places:
    """{path: (split, class)} of all pictures that are read."""
    places = {}
    for split, share in layout.shares.items():
        paths, labels, numbers = share.sorted_files()
        rows = share.rows(numbers)
        for path, label in zip(paths[rows], labels[rows].tolist(), strict=True):
            places[path] = (split, layout.classes[label])
    return places


def _check_shares(layout: Layout, places: Places, readable: set[Path]) -> None:
    """Raise a `ValueError` unless each split has pictures of each class that can be read, and there are two classes."""
    for split in layout.shares:
        names = [name for path, (part, name) in places.items() if part == split and path in readable]
        layout.check_all_there(split, torch.tensor([layout.classes.index(name) for name in names]))
    if len(layout.classes) < 2:
        raise ValueError(f"{layout.root} has one class only: a classifier needs at least two to tell apart.")


def _relative(path: Path, top: Path) -> str:
    return path.relative_to(top).as_posix()


def _table(counts: Counter[tuple[str, str]]) -> dict[str, dict[str, int]]:
    """{class: {split: pictures}}."""
    splits = [split for split in SPLITS if any(split == part for part, _ in counts)]
    names = sorted({name for _, name in counts})
    return {name: {split: counts[split, name] for split in splits} for name in names}


def _sizes(pictures: list[Picture]) -> dict[str, Any]:
    """What there is to say about widths and heights; nothing without pictures."""
    sizes = count_sizes(pictures)
    if not sizes:
        return {}
    by_area = sorted(sizes, key=lambda size: (size[0] * size[1], size))
    ((commonest, count),) = sizes.most_common(1)
    return {
        "different": len(sizes),
        "smallest": by_area[0],
        "largest": by_area[-1],
        "commonest": commonest,
        "commonest_count": count,
        "not_square": sum(count for (width, height), count in sizes.items() if width != height),
    }


def _balance(counts: Counter[tuple[str, str]]) -> dict[str, Any]:
    """The largest and the smallest class of the training split, and what always saying the largest is right in."""
    train = Counter({name: count for (split, name), count in counts.items() if split == "train"})
    test = Counter({name: count for (split, name), count in counts.items() if split == "test"})
    if not train or not test:
        return {}
    ordered = train.most_common()
    (most, largest), (least, smallest) = ordered[0], ordered[-1]
    return {
        "largest": [most, largest],
        "smallest": [least, smallest],
        "ratio": largest / smallest,
        "always_the_largest": test[most] / test.total(),
    }


def _duplicate(group: list[Path], places: Places, top: Path) -> dict[str, Any]:
    """One group of files with the same pixels, and whether it is a leak or a contradiction."""
    found = [places[path] for path in group if path in places]
    return {
        "files": [_relative(path, top) for path in group],
        "splits": sorted({split for split, _ in found}, key=SPLITS.index),
        "classes": sorted({name for _, name in found}),
    }
