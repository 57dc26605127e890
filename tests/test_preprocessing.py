"""How a model wants its images: as the libraries prepare them; and what cannot be right is refused."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from data_files import fails
from PIL import Image
from weight_files import torchvision_weights

from course_lib.data.sources import photographs
from course_lib.weights.preprocessing import Preprocessing, UnknownPreprocessing
from course_lib.weights.registry import REGISTRY

PREPROCESSING = Preprocessing((0.1, 0.2, 0.3), (0.4, 0.5, 0.6), (8, 8), 9, "bicubic")


@pytest.fixture(scope="module")
def pictures():
    return {name: Image.fromarray(image.permute(1, 2, 0).numpy()) for name, image in photographs().items()}


@pytest.mark.parametrize("name", torchvision_weights())
def test_preprocessing_is_torchvisions(name, pictures):
    theirs, ours = torchvision_weights()[name].transforms(), REGISTRY[name].preprocessing.transform()
    for picture in pictures.values():
        found, expected = ours(picture), theirs(picture)
        assert type(found) is torch.Tensor
        assert found.dtype == expected.dtype
        assert found.shape == expected.shape
        assert (found - expected).abs().max() <= 1e-6


def test_preprocessing_of_tensors_is_almost_torchvisions():
    """torchvision's older functions round tensors otherwise (a sixth of the pixels by one level of 255)."""
    name = "torchvision/vit_b_16.imagenet1k_v1"
    theirs, ours = torchvision_weights()[name].transforms(), REGISTRY[name].preprocessing
    for picture in photographs().values():
        levels = (ours.transform()(picture) - theirs(picture)) * torch.tensor(ours.std)[:, None, None] * 255
        assert levels.abs().max() <= 1.01
        assert (levels.abs() > 0.5).float().mean() <= 0.2


@pytest.mark.parametrize(
    "name", ["timm/vit_base_patch16_224.augreg2_in21k_ft_in1k", "timm/vit_base_patch16_384.augreg_in21k_ft_in1k"]
)
def test_preprocessing_is_timms(name, pictures):
    from timm.data import create_transform, resolve_data_config
    from timm.models import get_pretrained_cfg

    settings = resolve_data_config(pretrained_cfg=get_pretrained_cfg(name.removeprefix("timm/")).to_dict())
    theirs, ours = create_transform(**settings), REGISTRY[name].preprocessing.transform()
    for picture in pictures.values():
        assert (ours(picture) - theirs(picture)).abs().max() <= 1e-6


@pytest.mark.parametrize("kind", ["tensor", "PIL"])
def test_preprocessing_is_huggingfaces(kind, pictures):
    """It has two processors: one works on tensors, one on PIL pictures. They differ by a level in 0.2 % of the pixels."""
    import transformers

    ours = REGISTRY["google/vit-base-patch16-224/model.safetensors"].preprocessing.transform()
    processor = transformers.ViTImageProcessor if kind == "tensor" else transformers.ViTImageProcessorPil
    theirs = processor(size={"height": 224, "width": 224}, image_mean=[0.5] * 3, image_std=[0.5] * 3, resample=2)
    for picture in (photographs() if kind == "tensor" else pictures).values():
        expected = torch.as_tensor(theirs(picture, return_tensors="pt")["pixel_values"][0])
        assert (ours(picture) - expected).abs().max() <= 1e-6


@pytest.mark.parametrize("mode", ["L", "RGBA", "P", "LA", "CMYK"])
def test_pictures_in_other_modes_are_made_colour(mode, pictures):
    """A drawing with transparency, a grey scan: what readers have."""
    picture = pictures["flower"].convert(mode)
    found = PREPROCESSING.transform()(picture)
    assert found.shape == (3, 8, 8)
    assert torch.equal(found, PREPROCESSING.transform()(picture.convert("RGB")))


def test_grey_models_take_grey_pictures(pictures):
    found = Preprocessing((0.5,), (0.25,), (8, 8), 8, "bilinear").transform()(pictures["flower"].convert("L"))
    assert found.shape == (1, 8, 8)


def test_another_input_size():
    assert PREPROCESSING.at((8, 8)) is PREPROCESSING
    assert PREPROCESSING.at((16, 16)) == replace(PREPROCESSING, input_size=(16, 16), resize=18)
    assert PREPROCESSING.at((12, 12)) == replace(PREPROCESSING, input_size=(12, 12), resize=14)  # 13.5
    squeezed = replace(PREPROCESSING, resize=(8, 8))
    assert squeezed.at((16, 24)) == replace(squeezed, input_size=(16, 24), resize=(16, 24))
    assert replace(PREPROCESSING, resize=None).at((16, 16)).resize is None
    assert REGISTRY["torchvision/vit_b_16.imagenet1k_v1"].preprocessing.at((384, 384)).resize == 439


@pytest.mark.parametrize("resize", [9, (8, 8), None])
@pytest.mark.parametrize("size", [(16, 16), (8, 20), (20, 8), (4, 6)])
def test_the_transform_fits_whatever_the_size(size, resize, pictures):
    for picture in (pictures["china"], pictures["china"].rotate(90, expand=True)):
        found = replace(PREPROCESSING, resize=resize).at(size).transform()(picture)
        assert found.shape == (3, *size)
        black = -torch.tensor(PREPROCESSING.mean) / torch.tensor(PREPROCESSING.std)
        edges = torch.cat([found[:, 0], found[:, -1], found[:, :, 0], found[:, :, -1]], dim=1)
        assert (edges - black[:, None]).abs().amax(0).min() > 0.02  # no black bars: the crop fits into the picture


def transform_of(channels=3):
    return Preprocessing((0.5,) * channels, (0.25,) * channels, (8, 8), 8, "bilinear").transform()


@pytest.mark.parametrize("wrong", [np.zeros((30, 28, 3), np.uint8), torch.zeros(4, 30, 28), torch.zeros(30, 28)])
def test_what_is_no_picture(wrong):
    fails(transform_of(), wrong, match=r"should be a PIL image or a tensor \(3, height, width\)")


def test_pixels_of_another_range():
    """255 times too bright, or normalised already: the model would answer, and nothing would show it."""
    picture = photographs()["flower"]
    right = transform_of()(picture)
    assert (transform_of()(picture / 255) - right).abs().max() < 0.02
    fails(transform_of(), picture.float(), match="from 0 to 255.*between 0 and 1: divide by 255")
    fails(transform_of(), right, match="normalised already")
    fails(transform_of(), torch.full((3, 9, 9), float("nan")), match="from nan to nan")
    fails(transform_of(), picture.long(), match="torch.int64, and should be torch.uint8 or floating point")
    larger = torch.nn.functional.interpolate(picture[None] / 255, scale_factor=1.7, mode="bicubic")[0]
    assert larger.min() < 0 and transform_of()(larger).shape == (3, 8, 8)  # it overshoots, and is still a picture


def test_where_nobody_knows_it():
    assert not UnknownPreprocessing() and UnknownPreprocessing() == UnknownPreprocessing()
    fails(UnknownPreprocessing().transform, match="not known: set model.preprocessing")
