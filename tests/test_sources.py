"""Data sets by name, and those that come with scikit-learn."""

import pytest
import torch
from data_files import fails

import course_lib.data
from course_lib.data.image_set import SPLITS
from course_lib.data.sources import DATA_SETS, digits, load_data


def test_digits_follow_one_another():
    from sklearn.datasets import load_digits

    sets = [digits(split) for split in SPLITS]
    assert [len(found) for found in sets] == [1200, 300, 297]
    assert [found.name for found in sets] == ["digits/train", "digits/val", "digits/test"]
    whole = torch.cat([found.images for found in sets])[:, 0] * 16
    assert torch.equal(whole, torch.tensor(load_digits().images, dtype=torch.float32))
    assert sets[0].classes == tuple("0123456789") and sets[0].images.max() == 1
    inputs, _ = next(sets[0].batches(10))
    assert torch.equal(inputs, sets[0].images[:10] * 2 - 1)


@pytest.mark.usefixtures("own_folder")
def test_names():
    assert torch.equal(load_data("digits", "val").images, digits("val").images)
    assert load_data("digits:7,2", "val").classes == ("7", "2")
    fails(load_data, "digits:1,", "val", match="must be different ones of")
    assert len(load_data("toy_shapes", "test", n=16, size=16)) == 16
    whole, some = (load_data(name, "test", n=16) for name in ("toy_shapes", "toy_shapes:ring,circle"))
    assert some.classes == ("ring", "circle") and some.labels.tolist() == [1, 0, 1, 0]
    rows = whole.labels < 2
    assert torch.equal(some.images, whole.images[rows]) and torch.equal(some.masks, whole.masks[rows])
    message = fails(load_data, "minst", "train", match="'minst' must be one of")
    assert all(name in message for name in DATA_SETS) and "folder:" in message
    for name in DATA_SETS:
        fails(load_data, name, "valid", match="'valid' must be one of train, val, test")
    fails(load_data, "folder:/nowhere", "valid", match="'valid' must be one of train, val, test")
    fails(load_data, "folder:/nowhere", "train", match="/nowhere is not a folder")


def test_everything_is_documented():
    for name in course_lib.data.__all__:
        thing = getattr(course_lib.data, name)
        assert not callable(thing) or "Chapter" in thing.__doc__ or "chapter" in thing.__doc__, name
        assert not callable(thing) or "Raises:" in thing.__doc__ or name in ("photographs", "draw_shapes"), name
