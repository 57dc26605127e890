"""Images to look at and to train on: bundled, downloaded, or yours; and how they are changed at random. Chapters 07 and 08."""

from course_lib.data.augment import Augment
from course_lib.data.downloads import cifar10, cifar100, flowers102, mnist, pets
from course_lib.data.folders import cifar10_jpeg, image_folder
from course_lib.data.image_set import SPLITS, ImageSet
from course_lib.data.sources import DATA_SETS, digits, load_data, photographs
from course_lib.data.toy_shapes import ShapeSet, draw_shapes, toy_shapes

__all__ = [
    "DATA_SETS",
    "SPLITS",
    "Augment",
    "ImageSet",
    "ShapeSet",
    "cifar10",
    "cifar10_jpeg",
    "cifar100",
    "digits",
    "draw_shapes",
    "flowers102",
    "image_folder",
    "load_data",
    "mnist",
    "pets",
    "photographs",
    "toy_shapes",
]
