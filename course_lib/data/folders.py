"""Your own images: any folder with a folder for each class, read once with all processor cores and then kept ready.

Read from the top: `image_folder`, which part of the folder is which split, and how one image is read. Chapter 09.
"""

import contextlib
import hashlib
import json
import os
import zlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from course_lib.data.image_set import ImageSet, check_split, tenths_from_the_end
from course_lib.files.atomic import write_atomically
from course_lib.files.places import data_folder

ENDINGS = (".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp")
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
CIFAR10_MEAN, CIFAR10_STD = (0.4914, 0.4822, 0.4465), (0.247, 0.2435, 0.2616)
CIFAR10_CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
FORMAT = 1  # of the kept files; another number makes them anew
AT_ONCE = 64  # images that a thread reads before it asks for more


class ImageError(ValueError):
    """A file that should be an image and cannot be read as one."""


def image_folder(folder, split, size=None, *, skip=False, mean=IMAGENET_MEAN, std=IMAGENET_STD):
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
    images, labels = read_part(part, classes, size, skip)
    tenths = tenths_from_the_end(labels)
    rows = ((tenths >= first) & (tenths < last)).nonzero()[:, 0]
    for label, name in enumerate(classes):
        if not (labels[rows] == label).any():
            raise ValueError(f"{part / name} has too few images for a share of them to be {split!r}: add some.")
    return ImageSet(f"{folder.resolve().name}/{split}", images[rows], labels[rows], classes, mean, std)


def cifar10_jpeg(split, folder=None):
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


def find_part(folder, split):
    """(the folder whose classes' folders hold the split, the first and the last but one of the tenths that are it)."""
    train = folder / "train"
    if not (train.is_dir() and any(path.is_dir() for path in train.iterdir())):  # a class may be called train
        return folder, *{"train": (2, torch.inf), "val": (1, 2), "test": (0, 1)}[split]
    if split == "test" or (folder / "val").is_dir():
        return folder / split, 0, torch.inf
    return train, *{"train": (1, torch.inf), "val": (0, 1)}[split]


def class_names(part):
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


def check_classes(part, classes):
    """Raise a `ValueError` unless the folders in `part` are those of the classes."""
    found = class_names(part)
    missing, unknown = sorted(set(classes) - set(found)), sorted(set(found) - set(classes))
    if missing or unknown:
        names = [f"lacks {name!r}" for name in missing] + [f"has {name!r} besides" for name in unknown]
        raise ValueError(f"{part} must have the classes of the training images, but {', '.join(names[:5])}.")


def read_part(part, classes, size, skip):
    """(images (n, 3, h, w) uint8, labels (n,)) of all classes' folders in `part`, from the kept file if it still holds."""
    listing = [(label, *file) for label, name in enumerate(classes) for file in list_images(part / name)]
    key = hashlib.sha256(repr((FORMAT, listing)).encode()).hexdigest()
    place = hashlib.sha256(repr((str(part.resolve()), size, skip)).encode()).hexdigest()[:16]
    kept = data_folder() / "folders" / f"{part.resolve().name}-{place}.safetensors"
    found = load_kept(kept, key)
    if found is None:
        paths = [part / classes[label] / name for label, name, _, _ in listing]
        images, failed = read_images(paths, size, skip)
        good = torch.ones(len(paths), dtype=torch.bool)
        good[failed] = False
        labels = torch.tensor([label for label, *_ in listing])[good]
        found = images[good], labels, [str(paths[row]) for row in failed]
        with contextlib.suppress(OSError):  # a folder that cannot be written in: then they are read each time
            keep(kept, key, *found)
    images, labels, skipped = found
    if skipped:
        print(f"Skipped {len(skipped)} of {len(listing)} files in {part} that cannot be read: {', '.join(skipped[:3])}")
    return images, labels


def list_images(folder):
    """(name, size, time of the last change) of each image in a folder, in the order of the names.

    Raises:
        ValueError: there is none.
    """
    found = []
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.lower().endswith(ENDINGS) and not entry.name.startswith(".") and entry.is_file():
                facts = entry.stat()
                found.append((entry.name, facts.st_size, facts.st_mtime_ns))
    if not found:
        raise ValueError(f"{folder} has no images ({', '.join(ENDINGS)}): add some, or delete the folder.")
    return sorted(found)


def load_kept(file, key):
    """(images, labels, skipped) from a kept file; None if it is not there, damaged, or of other files."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(file, "pt") as kept:
            facts = kept.metadata() or {}
            if facts.get("key") == key:
                images, labels = kept.get_tensor("images"), kept.get_tensor("labels")
                if facts["crc"] == checksum(images, labels):
                    return images, labels, json.loads(facts["skipped"])
    except (OSError, SafetensorError):
        pass
    return None


def keep(file, key, images, labels, skipped):
    """Write what `load_kept` reads."""
    from safetensors.torch import save

    facts = {"key": key, "crc": checksum(images, labels), "skipped": json.dumps(skipped)}
    write_atomically(file, save({"images": images, "labels": labels}, facts))


def checksum(images, labels):
    """Catches a file that was damaged on the disk."""
    return str(zlib.crc32(images.numpy(), zlib.crc32(labels.numpy())))


def read_images(paths, size, skip):
    """(images (n, 3, h, w) uint8, the rows that could not be read); several threads share the work.

    Raises:
        ValueError: a file cannot be read and `skip` is not set, or its size is another than the first one's.
    """
    from tqdm.auto import tqdm

    first, example = first_readable(paths, size, skip)
    images = np.zeros((len(paths), *example.shape), np.uint8)

    def read(rows):
        failed = []
        for row in rows:
            try:
                image = read_image(paths[row], size)
            except ImageError:
                if not skip:
                    raise
                failed.append(row)
                continue
            if image.shape != example.shape:
                raise ValueError(
                    f"{paths[row]} has {image.shape[2]} x {image.shape[1]} pixels, {paths[first]} has "
                    f"{example.shape[2]} x {example.shape[1]}: give a size that all are brought to, such as size=224."
                )
            images[row] = image
        return failed

    parts = [range(start, min(start + AT_ONCE, len(paths))) for start in range(0, len(paths), AT_ONCE)]
    with ThreadPoolExecutor() as pool:  # on the first error, `map` calls off what has not begun
        done = tqdm(pool.map(read, parts), "reading images", len(parts), leave=False, delay=5)
        failed = [row for rows in done for row in rows]
    return torch.from_numpy(images), failed


def first_readable(paths, size, skip):
    """(row, image) of the first file that can be read."""
    for row, path in enumerate(paths):
        try:
            return row, read_image(path, size)
        except ImageError:
            if not skip:
                raise
    raise ValueError(f"none of the {len(paths)} files in {paths[0].parent.parent} can be read as an image.")


def read_image(path, size=None):
    """One file as RGB: a NumPy array (3, h, w) uint8, or (3, size, size).

    Raises:
        ImageError: it is damaged, empty, or no image.
    """
    from PIL import Image

    try:
        with Image.open(path) as image:
            return to_array(image, size)
    except Exception as error:  # Pillow has a dozen kinds for damaged files, and each release may add one
        raise ImageError(
            f"{path} ({path.stat().st_size:,} bytes) cannot be read as an image ({type(error).__name__}: "
            f"{' '.join(str(error).split())[:100]}): replace or delete it, or leave such files out with skip=True."
        ) from error


def to_array(image, size=None):
    """A PIL image of any kind, turned as its camera says -> (3, h, w) uint8 RGB, or its middle square (3, size, size)."""
    from PIL import Image, ImageOps

    if size:  # a large JPEG need not be decoded at its full size
        image.draft(None, (2 * size, 2 * size))
    ImageOps.exif_transpose(image, in_place=True)
    image = to_rgb(image)
    if size:
        image = ImageOps.fit(image, (size, size), Image.Resampling.BILINEAR)
    return np.ascontiguousarray(np.asarray(image).transpose(2, 0, 1))  # (h, w, 3) -> (3, h, w)


def to_rgb(image):
    """A PIL image of any kind -> RGB."""
    from PIL import Image

    if image.mode.startswith("I"):  # 16 bits for each pixel, and `convert` would cut off what is above 255
        image = Image.fromarray((np.asarray(image).astype(np.int64) // 256).clip(0, 255).astype(np.uint8))
    if image.mode == "F":
        raise ValueError("its pixels are floating-point numbers, and their range is unknown")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image if image.mode == "RGB" else image.convert("RGB")
