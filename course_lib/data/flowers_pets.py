"""Flowers-102 and Oxford-IIIT Pets, fetched by torchvision and read once. Chapter 09."""

import contextlib
import hashlib
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch

from course_lib.data.folders import FORMAT, IMAGENET_MEAN, IMAGENET_STD, keep, load_kept, to_array
from course_lib.data.image_set import ImageSet, check_split, tenths_from_the_end
from course_lib.files.places import data_folder


def flowers102(split, size=224, folder=None):
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
    from torchvision.datasets import Flowers102

    check_split(split)
    images, labels = _read("flowers-102", Flowers102, split, size, folder)
    return ImageSet(f"flowers102/{split}", images, labels, tuple(Flowers102.classes), IMAGENET_MEAN, IMAGENET_STD)


def pets(split, size=224, folder=None):
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
    from torchvision.datasets import OxfordIIITPet

    check_split(split)
    part = "test" if split == "test" else "trainval"
    images, labels = _read("oxford-iiit-pet", OxfordIIITPet, part, size, folder)
    last = tenths_from_the_end(labels) == 0
    rows = {"train": ~last, "val": last, "test": slice(None)}[split]
    classes = tuple(OxfordIIITPet(data_folder(folder), part).classes)
    return ImageSet(f"pets/{split}", images[rows], labels[rows], classes, IMAGENET_MEAN, IMAGENET_STD)


def _read(name, dataset, part, size, folder):
    """(images (n, 3, size, size) uint8, labels (n,)) of one of torchvision's data sets; read once, then kept."""
    root = data_folder(folder)
    try:
        images = dataset(root, part, transform=lambda image: to_array(image, size), download=True)
    except (OSError, RuntimeError) as error:
        raise ValueError(
            f"{name} cannot be had ({' '.join(str(error).split())[:150]}): download it by hand from "
            f"https://www.robots.ox.ac.uk/~vgg/data/ and unpack it in {root / name}, as torchvision's {dataset.__name__} "
            "expects it; or use any folder of class folders with data=folder:PATH."
        ) from error
    key = hashlib.sha256(repr((FORMAT, name, part, size, len(images))).encode()).hexdigest()
    kept = root / "folders" / f"{name}-{part}-{size}.safetensors"
    found = load_kept(kept, key)
    if found is None:
        found = *_read_all(name, images), []
        with contextlib.suppress(OSError):  # a folder that cannot be written in: then they are read each time
            keep(kept, key, *found)
    return found[:2]


def _read_all(name, images):
    def read(row):
        try:
            return images[row]
        except Exception as error:  # Pillow has a dozen kinds for damaged files
            raise ValueError(
                f"image {row} of {name} cannot be read ({type(error).__name__}: {' '.join(str(error).split())[:100]}): "
                f"delete the folder {images.root}/{name} and try again."
            ) from error

    from tqdm.auto import tqdm

    with ThreadPoolExecutor() as pool:
        rows = tqdm(pool.map(read, range(len(images))), f"reading {name}", len(images), leave=False, delay=5)
        pixels, labels = zip(*rows, strict=True)
    return torch.from_numpy(np.stack(pixels)), torch.tensor(labels)
