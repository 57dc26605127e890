"""Images to look at and to train on, each set as an `ImageSet`, in memory and ready for the device. Chapter 07.

Three tiers: bundled (`photographs`, `digits`, and `toy_shapes`), downloaded (`mnist`, `cifar10`, `cifar100`,
`flowers102`, `pets`), and yours (`image_folder`). `load_data` knows all by name.
"""

from collections.abc import Callable
from inspect import signature
from pathlib import Path
from typing import Any

import torch

from course_lib.data.downloads import DIGITS, cifar10, cifar100, flowers102, mnist, pets
from course_lib.data.folders import cifar10_jpeg, image_folder, labelled_files
from course_lib.data.image_set import ImageSet, check_split
from course_lib.data.toy_shapes import toy_shapes


def load_data(name: str, split: str, **options: Any) -> ImageSet:
    """An `ImageSet` by name.

    Args:
        name: one of `DATA_SETS`; with some of its classes only, such as "cifar10:cat,dog"; or "folder:" and the path
            of a folder of class folders.
        split: "train", "val" or "test".
        options: what the set's own function takes besides, such as `folder` for mnist, `size` and `skip` for a folder.
            Those that it does not take may be None or False.

    Raises:
        ValueError: no such name, split or option; or the files cannot be had, and then the message says how to get them.

    Source: chapter 07.
    """
    name, _, rest = name.partition(":")
    if name == "folder" and rest:
        return image_folder(rest, split, **_taken(name, image_folder, options))
    if name not in DATA_SETS:
        raise ValueError(f"data {name!r} must be one of {', '.join(DATA_SETS)}, or folder:PATH for your own images.")
    data = DATA_SETS[name](split, **_taken(name, DATA_SETS[name], options))
    return data.only(rest.split(",")) if rest else data


def _taken(name: str, function: Callable[..., ImageSet], options: dict[str, Any]) -> dict[str, Any]:
    """The options that a set's function takes; others must ask for nothing."""
    known = list(signature(function).parameters)[1:]  # after the split, or the folder
    known = [option for option in known if option != "split"]
    for option, value in options.items():
        if option not in known and value not in (None, False):
            raise ValueError(f"data {name!r} takes no {option}={value!r}; it takes {', '.join(known)}.")
    return {option: value for option, value in options.items() if option in known}


def classes_of(name: str) -> tuple[str, ...]:
    """The names of a data set's classes, in the order of its labels; of a folder without reading its pictures.

    Raises:
        ValueError: as `load_data`.
    """
    if name.startswith("folder:") and name != "folder:":
        return labelled_files(name.removeprefix("folder:"))[2]
    return load_data(name, "test").classes


def photographs() -> dict[str, torch.Tensor]:
    """Two photographs in colour, by name: {"china": ..., "flower": ...}, each (3, 427, 640) uint8.

    Source: scikit-learn's sample images, taken by Flickr's danielbuechele and vultilion, CC BY 2.0. Chapter 04.
    """
    from sklearn.datasets import load_sample_images

    bunch = load_sample_images()
    names = [Path(file).stem for file in bunch.filenames]
    return {name: torch.tensor(image).permute(2, 0, 1) for name, image in zip(names, bunch.images, strict=True)}


def digits(split: str) -> ImageSet:
    """Handwritten digits of 8 x 8 pixels, an `ImageSet`: images (n, 1, 8, 8) float32 between 0 and 1.

    Args:
        split: "train" (1200), "val" (300) or "test" (297), one after the other in the order of the data set:
            neighbours there are often by the same hand, so splitting at random would make the task easier.

    Raises:
        ValueError: no such split.

    Source: scikit-learn's copy of the UCI digits' test part (Alpaydin & Kaynak 1998). Chapter 06.
    """
    from sklearn.datasets import load_digits

    check_split(split)
    images, labels = load_digits(return_X_y=True)
    rows = {"train": slice(0, 1200), "val": slice(1200, 1500), "test": slice(1500, 1797)}[split]
    pixels = torch.tensor(images[rows], dtype=torch.float32).reshape(-1, 1, 8, 8) / 16  # (n, 64) -> (n, 1, 8, 8)
    return ImageSet(f"digits/{split}", pixels, torch.tensor(labels[rows]), DIGITS, (0.5,), (0.5,))


DATA_SETS: dict[str, Callable[..., ImageSet]] = {
    "mnist": mnist,
    "cifar10": cifar10,
    "cifar10_jpeg": cifar10_jpeg,
    "cifar100": cifar100,
    "flowers102": flowers102,
    "pets": pets,
    "digits": digits,
    "toy_shapes": toy_shapes,
}
