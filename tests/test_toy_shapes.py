"""Drawn pictures: the same everywhere, and the mask and the box are where the object is."""

import hashlib
from dataclasses import replace

import pytest
import torch
from data_files import fails

from course_lib.data.image_set import SPLITS
from course_lib.data.toy_shapes import CLASSES, ShapeSet, draw_shapes, mask_boxes, toy_shapes


def test_shapes_are_the_same_everywhere():
    found = toy_shapes("train", 24)
    digests = [
        hashlib.sha256(tensor.numpy().tobytes()).hexdigest()[:16]
        for tensor in (found.images, found.masks.byte(), found.boxes)
    ]
    assert digests == ["7adb6571bb6d681c", "98d2537242271008", "2762db99f355f867"]


def test_shapes_do_not_depend_on_how_many():
    assert torch.equal(toy_shapes("val", 500).images, toy_shapes("val", 1000).images[:500])


@pytest.mark.slow
def test_classes_take_turns_and_the_default_sizes():
    train = toy_shapes("train")
    assert train.images.shape == (8000, 3, 32, 32) and train.images.dtype == torch.uint8
    assert train.labels.bincount().tolist() == [1000] * 8 and len(train.classes) == 8
    inputs = train.normalised(train.images[:2000])
    assert torch.allclose(inputs.mean((0, 2, 3)), torch.zeros(3), atol=0.02)
    assert torch.allclose(inputs.std((0, 2, 3)), torch.ones(3), atol=0.02)


def test_no_image_is_in_two_splits_or_seeds():
    sets = [toy_shapes(split, 300, 16) for split in SPLITS] + [toy_shapes("train", 300, 16, seed=1)]
    images = {image.numpy().tobytes() for found in sets for image in found.images}
    assert len(images) == 1200


@pytest.mark.parametrize("size", [16, 21, 32, 48])
def test_the_box_bounds_the_mask_and_is_inside(size):
    found = toy_shapes("val", 200, size)
    assert found.boxes.shape == (200, 4) and found.boxes.dtype == torch.int64
    for mask, box in zip(found.masks, found.boxes.tolist(), strict=True):
        rows, columns = mask.nonzero().unbind(1)
        assert box == [rows.min(), columns.min(), rows.max() + 1, columns.max() + 1]
    sides = found.boxes[:, 2:] - found.boxes[:, :2]
    assert (sides >= size // 4).all() and (sides <= 2 * (11 * size // 32)).all()


def test_the_mask_is_where_the_colour_of_the_object_is():
    """Inside one colour, with noise of 8 either way; outside nearly never that colour in all three channels."""
    found = toy_shapes("test", 400)
    pixels = found.images.int()
    for image, mask in zip(pixels, found.masks, strict=True):
        inside = image[:, mask]  # (3, pixels)
        low, high = inside.amin(1), inside.amax(1)
        assert (high - low <= 16).all()
        outside = image[:, ~mask]
        alike = ((outside >= low[:, None]) & (outside <= high[:, None])).all(0)
        assert alike.float().mean() < 0.1


def drawn(name, radius=6):
    label, centre = torch.tensor([CLASSES.index(name)]), torch.tensor(8, dtype=torch.int32).reshape(1, 1, 1)
    radius = torch.tensor(radius, dtype=torch.int32).reshape(1, 1, 1)
    return draw_shapes(label, centre, centre, radius, 16)[0]


def test_each_shape_is_what_its_name_says():
    area = {name: drawn(name).sum().item() for name in CLASSES}
    assert area["square"] == 144 and area["frame"] == 144 - 36
    assert area["circle"] == pytest.approx(3.1416 * 36, rel=0.05) and area["ring"] == pytest.approx(
        area["circle"] * 0.75, rel=0.05
    )
    assert area["diamond"] == pytest.approx(72, rel=0.2) and area["triangle"] == pytest.approx(72, rel=0.1)
    middle = {name: drawn(name)[8, 8].item() for name in CLASSES}
    assert [name for name, filled in middle.items() if not filled] == ["ring", "frame"]
    for name in CLASSES:
        mask = drawn(name)
        assert torch.equal(mask, mask.flip(1))  # left is right
        assert torch.equal(mask, mask.flip(0)) == (name != "triangle")
        assert torch.equal(mask, mask.T) == (name != "triangle")
        assert not mask[:2].any() and not mask[14:].any()
    assert drawn("plus")[8, 3] and not drawn("plus")[3, 3] and drawn("cross")[3, 3] and not drawn("cross")[8, 3]
    assert drawn("triangle")[13].sum() > drawn("triangle")[3].sum()  # it stands on its base
    assert len({drawn(name).numpy().tobytes() for name in CLASSES}) == 8


def test_masks_stay_with_their_images():
    found = toy_shapes("val", 40, 24)
    rows = torch.tensor([7, 3, 31])
    some = found.take(rows)
    assert isinstance(some, ShapeSet)
    for name in ("images", "labels", "masks", "boxes"):
        assert torch.equal(getattr(some, name), getattr(found, name)[rows])
    assert torch.equal(found.take(slice(5, 9)).boxes, found.boxes[5:9])
    moved = found.to("cpu")
    assert torch.equal(moved.masks, found.masks) and moved.name == "toy_shapes/val"
    images, labels = found
    assert torch.equal(images, found.images) and torch.equal(labels, found.labels)
    larger = found.resized(48)
    assert larger.images.shape == (40, 3, 48, 48) and larger.masks.shape == (40, 48, 48)
    assert torch.equal(larger.boxes, found.boxes * 2)
    assert larger.resized(48).images is larger.images


def test_no_box_around_nothing():
    masks = torch.zeros(2, 4, 6, dtype=torch.bool)
    masks[1, 1:3, 5] = True
    assert mask_boxes(masks).tolist() == [[0, 0, 0, 0], [1, 5, 3, 6]]


@pytest.mark.parametrize(
    ("options", "match"),
    [({"n": 0}, "n 0"), ({"n": 2.0}, "n 2.0"), ({"size": 15}, "size 15"), ({"size": 20.0}, "size 20.0")],
)
def test_shapes_that_cannot_be(options, match):
    fails(toy_shapes, "train", match=match, **options)


def test_masks_must_fit():
    found = toy_shapes("train", 3, 16)
    fails(replace, found, masks=found.masks[:2], match=r"masks \(2, 16, 16\) must be \(3, 16, 16\)")
    fails(replace, found, masks=found.masks.byte(), match="and boolean")
