"""Labelled images in memory: what they must be, how they are normalised, which share of each class is which split."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from data_files import fails

from course_lib.data.image_set import ImageSet, tenths_from_the_end
from course_lib.data.sources import digits


def test_batches_cover_everything_in_order():
    found = digits("val")
    inputs, labels = zip(*found.batches(128), strict=True)
    assert [len(part) for part in inputs] == [128, 128, 44]
    assert torch.equal(torch.cat(labels), found.labels)
    assert torch.equal(torch.cat(inputs), found.normalised(found.images))


def test_integers_are_normalised_from_0_to_255():
    pixels = torch.tensor([0, 255], dtype=torch.uint8).reshape(1, 2, 1, 1).expand(1, 2, 3, 5)
    found = ImageSet("two", pixels, torch.tensor([0]), ("a",), (0.5, 0.25), (0.5, 0.75))
    assert found.normalised(pixels)[0, :, 0, 0].tolist() == [-1.0, 1.0]
    assert found.resized(4).images.shape == (1, 2, 4, 4) and found.resized(4).images.dtype == torch.uint8


@pytest.mark.parametrize(
    ("images", "labels", "match"),
    [
        ((3, 1, 4, 5), [0, 1, 2], "label 2 of image 2 is not among 0 to 1"),
        ((3, 1, 4, 5), [0, -1, 1], "label -1 of image 1"),
        ((3, 1, 4, 5), [0, 1], "with n = 2 labels"),
        ((3, 4, 5), [0, 1, 1], r"must be \(n, C, h, w\)"),
        ((0, 1, 4, 5), [], "has no images"),
    ],
)
def test_an_image_set_is_checked(images, labels, match):
    labels = torch.tensor(labels, dtype=torch.int64)
    fails(ImageSet, "x/train", torch.zeros(images), labels, ("a", "b"), (0.5,), (0.5,), match=f"x/train.*{match}")


def test_some_of_the_classes():
    data = digits("val")
    some = data.only(["7", "2"])
    assert some.classes == ("7", "2") and some.name == data.name
    rows = (data.labels == 7) | (data.labels == 2)
    assert torch.equal(some.images, data.images[rows])
    assert torch.equal(some.labels, (data.labels[rows] == 2).long())
    fails(data.only, ["1", "x"], match="classes 1, x must be different ones of 0, 1")
    fails(data.only, ["1", "1"], match="classes 1, 1 must be different")
    fails(data.only, [], match=r"\(none\) must be different")


def test_paths_follow_their_images():
    plain = digits("val")
    data = replace(plain, paths=tuple(Path(f"{row}.png") for row in range(300)), fingerprint="abc")
    rows = torch.tensor([4, 2, 2, 299])
    for chosen in (
        rows,
        rows.tolist(),
        slice(3, 40, 5),
        slice(None, 1),
        plain.labels == 7,
        (plain.labels == 7).tolist(),
    ):
        some = data.take(chosen)
        numbers = [int(path.stem) for path in some.paths]
        assert torch.equal(some.images, plain.images[numbers]) and some.fingerprint == "abc"
        assert plain.take(chosen).paths is None
    some = data.only(["7", "2"])
    assert torch.equal(some.images, plain.images[[int(path.stem) for path in some.paths]])
    assert data.to("cpu").paths == data.resized(4).paths == data.paths and plain.fingerprint is None
    fails(replace, data, paths=data.paths[1:], match="digits/val: 299 paths must be as many as the 300 images")


def test_small_images_become_larger_when_they_are_normalised():
    data = replace(digits("val").take(slice(0, 6)), input_size=20)
    larger = data.normalised(data.images)
    plain = replace(data, input_size=None).normalised(data.images)
    assert larger.shape == (6, 1, 20, 20)
    expected = torch.nn.functional.interpolate(plain, size=(20, 20), mode="bilinear", antialias=True)
    assert torch.equal(larger, expected)
    assert torch.equal(replace(data, input_size=8).normalised(data.images), plain)


def test_the_last_tenth_of_each_class():
    labels = torch.tensor([1] * 25 + [0] * 3 + [1] * 5 + [2] + [0] * 7)
    tenths = tenths_from_the_end(labels)
    assert tenths[labels == 0].tolist() == [9, 8, 7, 6, 5, 4, 3, 2, 1, 0]
    assert tenths[labels == 1].tolist() == [place // 3 for place in range(29, -1, -1)]
    assert tenths[labels == 2].tolist() == [0]
