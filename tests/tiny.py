"""A training run so small that tests can afford hundreds of them."""

import copy

import torch

from course_lib.data.augment import Augment
from course_lib.data.image_set import ImageSet
from course_lib.train.config import TrainConfig
from course_lib.vit import VisionTransformer, ViTConfig

BATCH = 4
TRAIN, STEPS = 22, 5  # images, and steps an epoch
LONG, LONG_STEPS = 54, 13  # the same, for runs that are stopped often
VAL = 7
AUGMENT = Augment(crop=1, flip=True, mixup=0.4, cutmix=1.0)


def image_set(count=TRAIN, seed=0, classes="abcde", name="tiny/train"):
    """Random images (count, 1, 8, 8) with random labels."""
    random = torch.Generator().manual_seed(seed)
    images = torch.randint(256, (count, 1, 8, 8), generator=random, dtype=torch.uint8)
    labels = torch.randint(len(classes), (count,), generator=random)
    return ImageSet(name, images, labels, tuple(classes), (0.5,), (0.3,))


def val_set():
    return image_set(VAL, seed=1, name="tiny/val")


def model(seed=0, **changes):
    torch.manual_seed(seed)
    sizes = {
        "img_size": 8,
        "patch_size": 4,
        "in_chans": 1,
        "num_classes": 5,
        "embed_dim": 12,
        "depth": 2,
        "num_heads": 2,
    }
    return VisionTransformer(ViTConfig(**{**sizes, **changes}))


def config(**changes):
    settings = {"epochs": 3, "batch_size": BATCH, "precision": "float32", "device": "cpu", "augment": AUGMENT}
    return TrainConfig(**{**settings, **changes})


def same(first, second):
    """Whether two nests of dicts and lists hold the same, tensors to the last bit; times do not count."""
    if isinstance(first, dict):
        assert first.keys() == second.keys()
        return all(same(first[name], second[name]) for name in first if name not in TIMES)
    if isinstance(first, (list, tuple)):
        return len(first) == len(second) and all(map(same, first, second))
    if isinstance(first, torch.Tensor):
        return first.dtype == second.dtype and torch.equal(first, second)
    return first == second or (first != first and second != second)


TIMES = ("seconds", "cpu_seconds", "images_per_second")


def frozen(state):
    """A deep copy, which the run does not change."""
    return copy.deepcopy(state)
