"""Images to look at and to train on. Chapters 04 and 06; more in chapter 07.

What is here needs no network: scikit-learn brings it along.
"""

from pathlib import Path

import torch

SPLITS = {"train": slice(0, 1200), "val": slice(1200, 1500), "test": slice(1500, 1797)}


def photographs():
    """Two photographs in colour, by name: {"china": ..., "flower": ...}, each (3, 427, 640) uint8.

    Source: scikit-learn's sample images, taken by Flickr's danielbuechele and vultilion, CC BY 2.0. Chapter 04.
    """
    from sklearn.datasets import load_sample_images

    bunch = load_sample_images()
    names = [Path(file).stem for file in bunch.filenames]
    return {name: torch.tensor(image).permute(2, 0, 1) for name, image in zip(names, bunch.images, strict=True)}


def digits(split):
    """Handwritten digits of 8 x 8 pixels: (images (n, 1, 8, 8) float32 between 0 and 1, labels (n,)).

    Args:
        split: "train" (1200), "val" (300) or "test" (297), one after the other in the order of the data set:
            neighbours there are often by the same hand, so splitting at random would make the task easier.

    Raises:
        ValueError: no such split.

    Source: scikit-learn's copy of the UCI digits' test part (Alpaydin & Kaynak 1998). Chapter 06.
    """
    from sklearn.datasets import load_digits

    if split not in SPLITS:
        raise ValueError(f"split {split!r} must be one of {', '.join(SPLITS)}.")
    bunch = load_digits()
    images = torch.tensor(bunch.images[SPLITS[split]], dtype=torch.float32)[:, None] / 16  # (n, 1, 8, 8)
    return images, torch.tensor(bunch.target[SPLITS[split]])
