"""Your own images: any folder with a folder for each class; and CIFAR-10 as such a folder. Chapter 09.

Read from the top: `image_folder`, then which part of the folder is which split.
"""

import hashlib
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch

from course_lib.data.image_set import (
    CIFAR10_MEAN,
    CIFAR10_STD,
    IMAGENET_MEAN,
    IMAGENET_STD,
    ImageSet,
    check_split,
    tenths_from_the_end,
)
from course_lib.data.kept import read_files
from course_lib.data.pictures import ImageError
from course_lib.files.places import data_folder

ENDINGS = (".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp")
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

    The folder holds train/ and test/ and perhaps val/, each with the classes' folders in it; or the classes' folders
    alone. Without val/, the last tenth of each class in train/ is the validation split. With the classes' folders
    alone, the last tenth of each class is the test split, the tenth before it the validation split, and the rest is
    for training. Classes and files go in the order of their names.

    Images of every kind become RGB: what is transparent becomes white, and photographs are turned as the camera says.
    The first call reads every file; what it read is kept in the data folder until a file changes.

    Args:
        folder: its path.
        split: "train", "val" or "test".
        size: every image becomes `size` x `size` pixels: the middle square, bilinear with antialiasing. None if all
            have one size and should keep it.
        skip: leave out files that cannot be read, and print how many; otherwise the first one is an error.
        mean, std: see `ImageSet`; ImageNet's by default.

    Raises:
        ValueError: no such folder or split; a class without images, or with too few to be split; classes that are
            not the same in all parts; a file that cannot be read; images of several sizes and no `size`. The folder
            or file is named.

    Source: the layout of torchvision's ImageFolder. Chapter 09.
    """
    check_split(split)
    folder = Path(folder).expanduser()
    part, first, last = find_part(folder, split)
    classes = class_names(folder / "train" if part != folder else folder)
    check_classes(part, classes)
    images, labels = _read_part(part, classes, size, skip)
    tenths = tenths_from_the_end(labels)
    rows = ((tenths >= first) & (tenths < last)).nonzero()[:, 0]
    for label, name in enumerate(classes):
        if not (labels[rows] == label).any():
            raise ValueError(f"{part / name} has too few images for a share of them to be {split!r}: add some.")
    return ImageSet(f"{folder.resolve().name}/{split}", images[rows], labels[rows], classes, mean, std)


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
    for part in (folder / "train", folder / "test"):
        if not part.is_dir() or class_names(part) != CIFAR10_CLASSES:
            raise ValueError(
                f"{part} does not hold the ten classes of CIFAR-10: unpack a copy of CIFAR-10 as JPEG files into "
                f"{folder}, so that {part / 'airplane'} is there. cifar10 has the original; digits and toy_shapes need no files."
            )
    return replace(image_folder(folder, split, mean=CIFAR10_MEAN, std=CIFAR10_STD), name=f"cifar10_jpeg/{split}")


def find_part(folder: Path, split: str) -> tuple[Path, float, float]:
    """(the folder whose classes' folders hold the split, the first and the last but one of the tenths that are it)."""
    train = folder / "train"
    if not (train.is_dir() and any(path.is_dir() for path in train.iterdir())):  # a class may be called train
        return folder, *{"train": (2, torch.inf), "val": (1, 2), "test": (0, 1)}[split]
    if split == "test" or (folder / "val").is_dir():
        return folder / split, 0, torch.inf
    return train, *{"train": (1, torch.inf), "val": (0, 1)}[split]


def class_names(part: Path) -> tuple[str, ...]:
    """The names of the folders in a folder, in order.

    Raises:
        ValueError: there is no such folder, or none in it.
    """
    if not part.is_dir():
        raise ValueError(f"{part} is not a folder: give one that holds a folder of images for each class.")
    names = tuple(sorted(path.name for path in part.iterdir() if path.is_dir() and not path.name.startswith(".")))
    if not names:
        raise ValueError(f"{part} holds no folders: it needs one for each class, with its images.")
    return names


def check_classes(part: Path, classes: Sequence[str]) -> None:
    """Raise a `ValueError` unless the folders in `part` are those of the classes."""
    found = class_names(part)
    missing, unknown = sorted(set(classes) - set(found)), sorted(set(found) - set(classes))
    if missing or unknown:
        names = [f"lacks {name!r}" for name in missing] + [f"has {name!r} besides" for name in unknown]
        raise ValueError(f"{part} must have the classes of the training images, but {', '.join(names[:5])}.")


def list_images(folder: Path) -> list[Path]:
    """The images in a folder, in the order of the names.

    Raises:
        ValueError: there is none.
    """
    with os.scandir(folder) as entries:
        names = sorted(
            entry.name
            for entry in entries
            if entry.name.lower().endswith(ENDINGS) and not entry.name.startswith(".") and entry.is_file()
        )
    if not names:
        raise ValueError(f"{folder} has no images ({', '.join(ENDINGS)}): add some, or delete the folder.")
    return [folder / name for name in names]


def _read_part(part: Path, classes: Sequence[str], size: int | None, skip: bool) -> tuple[torch.Tensor, torch.Tensor]:
    """(images (n, 3, h, w) uint8, labels (n,)) of all classes' folders in `part`."""
    files = [(path, label) for label, name in enumerate(classes) for path in list_images(part / name)]
    paths, labels = zip(*files, strict=True)
    place = hashlib.sha256(repr((str(part.resolve()), size, skip)).encode()).hexdigest()[:16]
    try:
        images, rows = read_files(paths, size, f"{part.resolve().name}-{place}", skip=skip)
    except ImageError as error:
        raise ImageError(f"{error} Or leave such files out with skip=True.") from error
    if len(rows) < len(paths):
        skipped = sorted(set(range(len(paths))) - set(rows.tolist()))
        names = ", ".join(str(paths[row]) for row in skipped[:3])
        print(f"Skipped {len(skipped)} of {len(paths)} files in {part} that cannot be read: {names}")
    return images, torch.tensor(labels)[rows]
