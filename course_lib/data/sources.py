"""Images to look at and to train on, each set as an `ImageSet`, in memory and ready for the device. Chapter 07.

Three tiers: bundled (`photographs`, `digits`, and `toy_shapes`), downloaded (`mnist`, `cifar10`, `cifar100`,
`flowers102`, `pets`), and yours (`image_folder`). `load_data` knows all by name.
"""

from pathlib import Path

import torch

from course_lib.data.downloads import CIFAR10, CIFAR100, read_cifar, read_mnist
from course_lib.data.flowers_pets import flowers102, pets
from course_lib.data.folders import CIFAR10_MEAN, CIFAR10_STD, cifar10_jpeg, image_folder
from course_lib.data.image_set import SPLITS, ImageSet, check_split, tenths_from_the_end
from course_lib.data.toy_shapes import ShapeSet, toy_shapes

__all__ = [
    "DATA_SETS",
    "SPLITS",
    "ImageSet",
    "ShapeSet",
    "cifar10",
    "cifar10_jpeg",
    "cifar100",
    "digits",
    "flowers102",
    "image_folder",
    "load_data",
    "mnist",
    "pets",
    "photographs",
    "toy_shapes",
]

DIGITS = tuple("0123456789")


def load_data(name, split, **options):
    """An `ImageSet` by name.

    Args:
        name: one of `DATA_SETS`; with some of its classes only, such as "cifar10:cat,dog"; or "folder:" and the path
            of a folder of class folders.
        split: "train", "val" or "test".
        options: what the set's own function takes besides, such as `folder` for mnist, `size` for a folder.

    Raises:
        ValueError: no such name or split; or the files cannot be had, and then the message says how to get them.

    Source: chapter 07.
    """
    if name.startswith("folder:"):
        return image_folder(name.removeprefix("folder:"), split, **options)
    name, _, classes = name.partition(":")
    if name not in DATA_SETS:
        raise ValueError(f"data {name!r} must be one of {', '.join(DATA_SETS)}, or folder:PATH for your own images.")
    data = DATA_SETS[name](split, **options)
    return data.only(classes.split(",")) if classes else data


def photographs():
    """Two photographs in colour, by name: {"china": ..., "flower": ...}, each (3, 427, 640) uint8.

    Source: scikit-learn's sample images, taken by Flickr's danielbuechele and vultilion, CC BY 2.0. Chapter 04.
    """
    from sklearn.datasets import load_sample_images

    bunch = load_sample_images()
    names = [Path(file).stem for file in bunch.filenames]
    return {name: torch.tensor(image).permute(2, 0, 1) for name, image in zip(names, bunch.images, strict=True)}


def digits(split):
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
    rows = {"train": slice(0, 1200), "val": slice(1200, 1500), "test": slice(1500, 1797)}[split]
    bunch = load_digits()
    images = torch.tensor(bunch.images[rows], dtype=torch.float32)[:, None] / 16  # (n, 1, 8, 8)
    return ImageSet(f"digits/{split}", images, torch.tensor(bunch.target[rows]), DIGITS, (0.5,), (0.5,))


def mnist(split, folder=None):
    """MNIST, an `ImageSet`: handwritten digits, images (n, 1, 28, 28) uint8. Downloaded at the first call (12 MB).

    Args:
        split: "train" (55,000), "val" (5,000) or "test" (10,000). The validation split is the last 5,000 of the
            60,000 training images: neighbours there are often by the same hand, so images drawn at random would be by
            hands that the model has been trained on, and look easier than the test.
        folder: where the files lie, as torchvision lays them (MNIST/raw in it); None for the course's data folder.

    Raises:
        ValueError: no such split; a file is damaged, or cannot be downloaded, and the message says what to do by hand.

    Source: LeCun et al. 1998. Chapter 07.
    """
    check_split(split)
    images, labels = read_mnist("test" if split == "test" else "train", folder)
    rows = {"train": slice(0, -5000), "val": slice(-5000, None), "test": slice(None)}[split]
    return ImageSet(f"mnist/{split}", images[rows, None], labels[rows], DIGITS, (0.1307,), (0.3081,))


def cifar10(split, folder=None):
    """CIFAR-10, an `ImageSet`: photographs of ten kinds of things, images (n, 3, 32, 32) uint8.

    Downloaded at the first call (170 MB).

    Args:
        split: "train" (45,000), "val" (5,000) or "test" (10,000). The validation split is the last tenth of each
            class's training images, in the order of the files: every class has the same share, as in the test, and
            the split is the same for everybody.
        folder: where the files lie, as torchvision lays them (cifar-10-batches-py in it); None for the course's data
            folder.

    Raises:
        ValueError: no such split; a file is damaged, or cannot be downloaded, and the message says what to do by hand.

    Source: Krizhevsky 2009. Chapter 08.
    """
    return _cifar("cifar10", CIFAR10, split, folder, CIFAR10_MEAN, CIFAR10_STD)


def cifar100(split, folder=None):
    """CIFAR-100, an `ImageSet`: as `cifar10`, with 100 kinds of things and a tenth of the images of each.

    Args:
        split: as in `cifar10`.
        folder: where the files lie, as torchvision lays them (cifar-100-python in it); None for the course's data
            folder.

    Raises:
        ValueError: as `cifar10`.

    Source: Krizhevsky 2009. Chapter 08.
    """
    return _cifar("cifar100", CIFAR100, split, folder, (0.5071, 0.4865, 0.4409), (0.2673, 0.2564, 0.2762))


def _cifar(name, files, split, folder, mean, std):
    check_split(split)
    images, labels, classes = read_cifar(files, "test" if split == "test" else "train", folder)
    last = tenths_from_the_end(labels) == 0
    rows = {"train": ~last, "val": last, "test": slice(None)}[split]
    return ImageSet(f"{name}/{split}", images[rows], labels[rows], classes, mean, std)


DATA_SETS = {
    "mnist": mnist,
    "cifar10": cifar10,
    "cifar10_jpeg": cifar10_jpeg,
    "cifar100": cifar100,
    "flowers102": flowers102,
    "pets": pets,
    "digits": digits,
    "toy_shapes": toy_shapes,
}
