"""The questions about settings: what passes, what does not, and the one line that says so."""

import numpy as np
import pytest
import torch

from course_lib import validate

NAN = float("nan")


def test_what_is_a_count_and_what_a_number():
    assert all(map(validate.is_count, (1, 7))) and validate.is_count(0, least=0)
    assert not any(map(validate.is_count, (0, -1, 2.0, True, "2", None, NAN)))
    assert all(map(validate.is_number, (0, -1, 2.5, 1e300)))
    assert not any(map(validate.is_number, (True, "2", None, NAN, float("inf"), (1,))))


@pytest.mark.parametrize(
    "value",
    [(3, 5), [3, 5], torch.Size((3, 5)), np.array([3, 5]), torch.tensor([3, 5])],
    ids=lambda x: type(x).__name__,
)
def test_a_pair_of_any_make(value):
    assert validate.as_pair("grid_size", value) == (3, 5)
    assert all(type(side) is int for side in validate.as_pair("grid_size", value))


@pytest.mark.parametrize("value", [4, np.int64(4), torch.tensor(4), (4, 4)], ids=str)
def test_one_number_for_both(value):
    assert validate.as_pair("img_size", value) == (4, 4)


@pytest.mark.parametrize(
    ("call", "line"),
    [
        (lambda: validate.check_count("depth", 2.0), "depth 2.0 must be a whole number, at least 1."),
        (lambda: validate.check_count("crop", -1, 0), "crop -1 must be a whole number, at least 0."),
        (lambda: validate.check_rate("drop_rate", 1.0), "drop_rate 1.0 must be at least 0 and below 1."),
        (lambda: validate.check_rate("drop_rate", -0.1), "drop_rate -0.1 must be at least 0 and below 1."),
        (lambda: validate.check_rate("drop_rate", None), "drop_rate None must be at least 0 and below 1."),
        (lambda: validate.check_choice("split", "dev", ("train", "val")), "split 'dev' must be one of train, val."),
        (lambda: validate.check_choice("model", "c", {"a": 1}), "model 'c' must be one of a."),
        (lambda: validate.check_choice("model", ["a"], {"a": 1}), "model ['a'] must be one of a."),
    ]
    + [
        (
            lambda value=value: validate.as_pair("img_size", value),
            f"img_size {value!r} must be two positive whole numbers, height first, or one if they are equal.",
        )
        for value in (0, 224.0, (8, 8, 8), (), (0, 3), (3.0, 4), "34", None, True)
    ],
)
def test_refusals_are_one_line(call, line):
    with pytest.raises(ValueError) as error:
        call()
    assert str(error.value) == line


def test_what_passes_is_left_alone():
    assert validate.check_count("depth", 1) is validate.check_rate("drop_rate", 0) is None
    assert validate.check_rate("drop_rate", 0.999) is validate.check_choice("split", "val", ("train", "val")) is None
