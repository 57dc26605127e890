"""The data sets that are downloaded: MNIST, CIFAR-10 and -100, Flowers-102 and Oxford-IIIT Pets. Chapters 07 to 09.

Their files lie as torchvision lays them, so what it has downloaded is found here, and the other way round. They are
fetched by `fetch` and, but for MNIST, unpacked and listed by torchvision; nothing is read before its digest is right.
"""

import contextlib
import gzip
import hashlib
import os
import shutil
import tarfile
import tempfile
import warnings
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import torch
from filelock import FileLock

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
from course_lib.files.fetch import fetch
from course_lib.files.places import data_folder

DIGITS = tuple("0123456789")
MNIST_MIRRORS = ("https://ossci-datasets.s3.amazonaws.com/mnist", "https://storage.googleapis.com/cvdf-datasets/mnist")
CIFAR_MIRRORS = ("https://www.cs.toronto.edu/~kriz", "https://dataset.bj.bcebos.com/cifar")
OXFORD = "https://www.robots.ox.ac.uk/~vgg/data"

# The SHA-256 of what is in each of MNIST's four files, however it was packed.
MNIST = {
    "train-images-idx3-ubyte": "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    "train-labels-idx1-ubyte": "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    "t10k-images-idx3-ubyte": "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    "t10k-labels-idx1-ubyte": "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
}

# torchvision's name of each other set: (the folder of its archives, the addresses of that folder, {archive: its MD5}).
ARCHIVES = {
    "CIFAR10": ("", CIFAR_MIRRORS, {"cifar-10-python.tar.gz": "c58f30108f718f92721af3b95e74349a"}),
    "CIFAR100": ("", CIFAR_MIRRORS, {"cifar-100-python.tar.gz": "eb9058c3a382ffc7106e4002c42a8d85"}),
    "Flowers102": (
        "flowers-102",
        (f"{OXFORD}/flowers/102",),
        {
            "102flowers.tgz": "52808999861908f626f3c1f4e79d11fa",
            "imagelabels.mat": "e0620be6f572b9609742df49c70aed4d",
            "setid.mat": "a5357ecc9cb78c4bef273ce3793fc85c",
        },
    ),
    "OxfordIIITPet": (
        "oxford-iiit-pet",
        (f"{OXFORD}/pets/data",),
        {
            "images.tar.gz": "5c4f3ee8e5d25df40f4fd59a7f44e54c",
            "annotations.tar.gz": "95a8c909bbe2e81eed6a22bccdf3f68f",
        },
    ),
}


def mnist(split: str, folder: str | Path | None = None) -> ImageSet:
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
    part = "t10k" if split == "test" else "train"
    images = _mnist_file(f"{part}-images-idx3-ubyte", 16, folder).reshape(-1, 1, 28, 28)
    labels = _mnist_file(f"{part}-labels-idx1-ubyte", 8, folder).long()
    rows = {"train": slice(0, -5000), "val": slice(-5000, None), "test": slice(None)}[split]
    return ImageSet(f"mnist/{split}", images[rows], labels[rows], DIGITS, (0.1307,), (0.3081,))


def _mnist_file(name: str, header: int, folder: str | Path | None) -> torch.Tensor:
    """The numbers of one of MNIST's files, as it was published or unpacked: (n,) uint8, without its header's bytes."""
    raw = data_folder(folder) / "MNIST" / "raw"
    path = raw / name
    if not path.is_file():
        path = raw / f"{name}.gz"
        if not path.is_file():
            _fetch(tuple(f"{mirror}/{path.name}" for mirror in MNIST_MIRRORS), path)
    try:
        content = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    except (OSError, EOFError, zlib.error):
        content = b""
    if hashlib.sha256(content).hexdigest() != MNIST[name]:
        raise ValueError(f"{path} is damaged, cut short, or another file: please delete it and try again.")
    return torch.frombuffer(bytearray(content), dtype=torch.uint8, offset=header)


def cifar10(split: str, folder: str | Path | None = None) -> ImageSet:
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
    return _cifar("CIFAR10", split, folder, CIFAR10_MEAN, CIFAR10_STD)


def cifar100(split: str, folder: str | Path | None = None) -> ImageSet:
    """CIFAR-100, an `ImageSet`: as `cifar10`, with 100 kinds of things and a tenth of the images of each.

    Args:
        split: as in `cifar10`.
        folder: where the files lie, as torchvision lays them (cifar-100-python in it); None for the course's data
            folder.

    Raises:
        ValueError: as `cifar10`.

    Source: Krizhevsky 2009. Chapter 08.
    """
    return _cifar("CIFAR100", split, folder, (0.5071, 0.4865, 0.4409), (0.2673, 0.2564, 0.2762))


def _cifar(
    name: str, split: str, folder: str | Path | None, mean: tuple[float, ...], std: tuple[float, ...]
) -> ImageSet:
    check_split(split)
    found = _torchvisions(name, folder, train=split != "test")
    images = torch.from_numpy(np.ascontiguousarray(found.data.transpose(0, 3, 1, 2)))  # (n, h, w, 3) -> (n, 3, h, w)
    labels = torch.tensor(found.targets)
    return _split(ImageSet(f"{name.lower()}/{split}", images, labels, tuple(found.classes), mean, std), split)


def flowers102(split: str, size: int = 224, folder: str | Path | None = None) -> ImageSet:
    """Oxford Flowers-102, an `ImageSet`: photographs of 102 kinds of flowers, images (n, 3, size, size) uint8.

    Downloaded at the first call (345 MB).

    Args:
        split: "train" (1,020: ten of each kind), "val" (1,020) or "test" (6,149), as its authors split it.
        size: each image's middle square is brought to `size` x `size` pixels.
        folder: where the files lie, as torchvision lays them (flowers-102 in it); None for the course's data folder.

    Raises:
        ValueError: no such split; the files cannot be had, and the message says what to do by hand; one is damaged.

    Source: Nilsback & Zisserman 2008. Chapter 09.
    """
    check_split(split)
    found = _torchvisions("Flowers102", folder, split=split)
    images, rows = read_files(found._image_files, size, f"flowers-102-{split}-{size}")
    labels, paths = torch.tensor(found._labels)[rows], tuple(found._image_files)
    classes = tuple(found.classes)
    return ImageSet(f"flowers102/{split}", images, labels, classes, IMAGENET_MEAN, IMAGENET_STD, paths=paths)


def pets(split: str, size: int = 224, folder: str | Path | None = None) -> ImageSet:
    """Oxford-IIIT Pets, an `ImageSet`: photographs of 37 breeds of cats and dogs, images (n, 3, size, size) uint8.

    Downloaded at the first call (811 MB).

    Args:
        split: "train", "val" or "test" (3,669). The validation split is the last tenth of each breed's training
            images; the 3,680 of its authors' "trainval" are both together.
        size, folder: as in `flowers102` (oxford-iiit-pet in the folder).

    Raises:
        ValueError: as `flowers102`.

    Source: Parkhi et al. 2012. Chapter 09.
    """
    check_split(split)
    part = "test" if split == "test" else "trainval"
    found = _torchvisions("OxfordIIITPet", folder, split=part)
    labels, files = torch.tensor(found._labels), tuple(found._images)
    if split != "test":  # chosen before they are read: photographs need memory
        mine = ((tenths_from_the_end(labels) == 0) == (split == "val")).nonzero().flatten()
        labels, files = labels[mine], tuple(files[i] for i in mine)
    images, rows = read_files(files, size, f"oxford-iiit-pet-{split}-{size}")
    return ImageSet(
        f"pets/{split}", images, labels[rows], tuple(found.classes), IMAGENET_MEAN, IMAGENET_STD, paths=files
    )


def _split(data: ImageSet, split: str) -> ImageSet:
    """The validation split is the last tenth of each class of the training images; the test stays whole."""
    if split == "test":
        return data
    last = tenths_from_the_end(data.labels) == 0
    return data.take(last if split == "val" else ~last)


def _torchvisions(name: str, folder: str | Path | None, **options: Any) -> Any:
    """One of torchvision's data sets, whose files are fetched and unpacked first if they are not there."""
    from torchvision import datasets

    root, (place, mirrors, archives) = data_folder(folder), ARCHIVES[name]

    def read() -> Any:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of NumPy, about the age of CIFAR's pickles
            return getattr(datasets, name)(root, **options)

    faults = RuntimeError, OSError  # it is not there, or damaged, or only a part of it is there
    with contextlib.suppress(*faults):
        return read()
    for archive, md5 in archives.items():
        _fetch(tuple(f"{mirror}/{archive}" for mirror in mirrors), root / place / archive, md5)
    try:
        with FileLock(root / f"{name}.lock"):
            with contextlib.suppress(*faults):  # another process may have been faster
                return read()
            for archive in archives:
                if not archive.endswith(".mat"):
                    _unpack(root / place / archive)
            return read()
    except faults as error:
        said = " ".join(str(error).split())[:150]
        raise ValueError(
            f"{name} cannot be unpacked in {root / place} ({said}): see to space and permissions."
        ) from error


def _unpack(archive: Path) -> None:
    """Put what is in an archive, folders, beside it: each whole or not at all, in the place of an older one."""
    with tempfile.TemporaryDirectory(dir=archive.parent) as fresh:
        with tarfile.open(archive) as tar:
            tar.extraction_filter = getattr(tarfile, "data_filter", lambda member, _: member)  # from Python 3.11.4 on
            tar.extractall(fresh)
        for made in Path(fresh).iterdir():
            shutil.rmtree(archive.parent / made.name, ignore_errors=True)
            os.replace(made, archive.parent / made.name)


def _fetch(urls: tuple[str, ...], path: Path, md5: str | None = None) -> None:
    try:
        fetch(urls, path, md5=md5)
    except ValueError as error:
        raise ValueError(f"{error} The sets digits and toy_shapes need no files.") from error
