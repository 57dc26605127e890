"""Your own images: any folder with a folder for each class; and CIFAR-10 as such a folder. Chapter 09.

What lies in a folder is listed in `listing`, which part of it is which split is found in `layout`, and read in `kept`.
"""

import hashlib
import os
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path

import torch

from course_lib.data.image_set import (
    CIFAR10_MEAN,
    CIFAR10_STD,
    IMAGENET_MEAN,
    IMAGENET_STD,
    ImageSet,
    check_split,
)
from course_lib.data.kept import read_files
from course_lib.data.layout import Layout, find_layout, say_deeper, say_left_out
from course_lib.data.listing import Folder, enumerate_some, list_folder
from course_lib.data.pictures import ImageError, shown
from course_lib.files.places import data_folder
from course_lib.validate import check_count

CIFAR10_CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")


def image_folder(
    folder: str | Path,
    split: str,
    size: int | None = None,
    *,
    skip: bool = False,
    mean: tuple[float, ...] = IMAGENET_MEAN,
    std: tuple[float, ...] = IMAGENET_STD,
) -> ImageSet:
    """An `ImageSet` of the images in a folder that has a folder for each class: images (n, 3, h, w) uint8.

    | the folder holds | training | validation | test |
    |:--|:--|:--|:--|
    | the classes' folders, or train/ alone | the rest | the last tenth but one of each class | the last tenth |
    | train/ and test/ | the rest of train/ | the last tenth of each class of train/ | test/ |
    | train/ and val/ | the rest of train/ | the last tenth of each class of train/ | val/ |
    | train/, val/ and test/ | train/ | val/ | test/ |

    The classes' folders lie in train/, val/ and test/, which may also be called training, valid, validation, dev and
    testing, in capitals or not, with "_set" behind; and all may lie one or more levels deeper. Classes and files go in
    the order of their names; pictures in folders within a class's folder belong to the class. What is no picture, or of
    a kind that is not read here, is left out. All that a person may not expect is said, a line each, once.

    Images of every kind become RGB: what is transparent becomes white, and photographs are turned as the camera says.
    The first call reads every file; what it read is kept in the data folder until a file changes.

    Args:
        folder: its path.
        split: "train", "val" or "test".
        size: every image becomes `size` x `size` pixels: the middle square, bilinear with antialiasing. None if all
            have one size and should keep it.
        skip: leave out files that cannot be read, and print how many; otherwise they are an error.
        mean, std: see `ImageSet`; ImageNet's by default.

    Raises:
        ValueError: no such folder or split; pictures without folders for their classes; a class without images, or
            with too few to be split; classes that are not the same in all parts, or whose names are those of splits;
            files that cannot be read; images of several sizes and no `size`. The folder or file is named.

    Source: the layout of torchvision's ImageFolder. Chapter 09.
    """
    check_split(split)
    top = list_folder(folder)
    return _read(top.path, find_layout(top), split, size, skip, mean, std)


def labelled_files(folder: str | Path, split: str | None = None) -> tuple[list[Path], torch.Tensor, tuple[str, ...]]:
    """(paths, labels (n,), classes) of the pictures of a split, as `image_folder` finds them, unread; None for all splits.

    Raises:
        ValueError: as `image_folder`, but for what only reading shows.

    Source: chapter 09.
    """
    layout = find_layout(list_folder(folder))
    found: dict[Path, int] = {}
    for name in [split] if split else layout.shares:
        share = layout.share(name)
        paths, labels, numbers = share.sorted_files()
        rows = share.rows(numbers)
        found |= dict(zip(paths[rows], labels[rows].tolist(), strict=True))
    return list(found), torch.tensor(list(found.values())), layout.classes


def fingerprint_of(folder: str | Path, split: str) -> str:
    """The `fingerprint` that the `ImageSet` of a split would have, without reading its pictures. Chapter 09."""
    return _fingerprint(find_layout(list_folder(folder)), labelled_files(folder, split)[0])


def cifar10_jpeg(split: str, folder: str | Path | None = None) -> ImageSet:
    """CIFAR-10 (JPEG copy), an `ImageSet`: 45,000, 5,000 or 10,000 images (n, 3, 32, 32) uint8 in 10 classes.

    A copy of CIFAR-10 as small JPEG files, train/airplane/0000.jpg to test/truck/…: compressed with loss, so
    accuracies come out somewhat below those on the original. The validation split is the last tenth of each class.

    Args:
        split: "train", "val" or "test".
        folder: that with train/ and test/ in it; None for the course's data folder.

    Raises:
        ValueError: it is not there, or is not CIFAR-10; and as `image_folder`.

    Source: Krizhevsky 2009. Chapter 08.
    """
    check_split(split)
    folder = data_folder(folder)
    parts = {}
    for part in (folder / "train", folder / "test"):
        parts[part.name] = list_folder(part) if part.is_dir() else Folder(part)
        if tuple(parts[part.name].folders) != CIFAR10_CLASSES:
            raise ValueError(
                f"{part} does not hold the ten classes of CIFAR-10: unpack a copy of CIFAR-10 as JPEG files into "
                f"{folder}, so that {part / 'airplane'} is there. cifar10 has the original; digits and toy_shapes need no files."
            )
    layout = find_layout(Folder(folder, folders=parts))  # other data sets lie beside the two
    data = _read(folder, layout, split, None, False, CIFAR10_MEAN, CIFAR10_STD)
    return replace(data, name=f"cifar10_jpeg/{split}")


def _read(
    folder: Path,
    layout: Layout,
    split: str,
    size: int | None,
    skip: bool,
    mean: tuple[float, ...],
    std: tuple[float, ...],
) -> ImageSet:
    """The `ImageSet` of a split: `image_folder`, once it is known what lies where."""
    if size is not None:
        check_count("size", size)
    share, name = layout.share(split), folder.resolve().name
    place = "/".join((name, *share.part.path.relative_to(folder).parts))
    for note in layout.notes:
        say(f"{shown(name)}: {note}")
    for note in filter(None, (say_left_out(share.part), say_deeper(share.part))):
        say(f"{shown(place)}: {note}")
    paths, labels, numbers = share.sorted_files()
    piece = share.rows(numbers)
    layout.check_all_there(split, labels[piece])
    part = share.part.path.resolve()
    here = hashlib.sha256(repr((str(part), size, skip)).encode()).hexdigest()[:16]
    try:
        images, rows = read_files(paths, size, f"{part.name[:60]}-{here}", skip=skip, wanted=piece)
    except ImageError as error:
        raise ImageError(f"{error} Or leave such files out with skip=True.") from error
    layout.check_all_there(split, labels[rows])
    chosen = tuple(paths[row] for row in rows.tolist())
    _say_skipped(name, split, paths[piece], chosen)
    fingerprint = _fingerprint(layout, chosen)
    return ImageSet(
        f"{name}/{split}", images, labels[rows], layout.classes, mean, std, paths=chosen, fingerprint=fingerprint
    )


@cache
def say(line: str) -> None:
    """Print a line once in a process: the three splits of a folder have much in common."""
    print(line, flush=True)


def _say_skipped(name: str, split: str, paths: Sequence[Path], chosen: Sequence[Path]) -> None:
    """Name the files that could not be read."""
    if skipped := sorted(set(paths) - set(chosen)):
        files = enumerate_some(skipped, 3)
        say(f"{shown(name)}/{split}: skipped {len(skipped)} of {len(paths)} files that cannot be read: {files}")


def _fingerprint(layout: Layout, paths: Sequence[Path]) -> str:
    """Of files and classes: the same wherever the folder is, and whenever it was copied there."""
    files = [(path.relative_to(layout.root).as_posix(), os.stat(path).st_size) for path in paths]
    return hashlib.sha256(repr((layout.classes, files)).encode()).hexdigest()[:16]
