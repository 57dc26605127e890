"""The scripts behind the records run the chapters' own code, and still give what was recorded."""

import sys
from dataclasses import replace
from pathlib import Path

import pytest
import tiny
import torch

from course_lib.metrics import predict
from course_lib.records import load_record

sys.path.append(str(Path(__file__).parent.parent / "benchmarks"))

import chapter
import mnist_looks

# The others execute a part of a chapter when they are imported, so each test imports its own.


def test_definitions_come_from_the_chapter():
    found = chapter.definitions("03_encoder", "PostNormBlock", "WIDTH", "accuracy")
    assert (found.WIDTH, found.PostNormBlock.__name__, found.accuracy.__name__) == (32, "PostNormBlock", "accuracy")
    with pytest.raises(ValueError, match="03_encoder does not define nothing"):
        chapter.definitions("03_encoder", "nothing")


def recorded(name, **configuration):
    (run,) = [run for run in load_record(name)["runs"] if configuration.items() <= run.items()]
    return run["accuracy"]


@pytest.mark.nightly
def test_a_recorded_ablation_again():
    """The same seed on another processor may round otherwise; the accuracy is near all the same."""
    import encoder_ablation

    again = encoder_ablation.ablation(("positions", 2, 2))["accuracy"]
    assert again == pytest.approx(recorded("encoder_ablation", without="positions", depth=2, seed=2), abs=0.03)


@pytest.mark.nightly
def test_a_recorded_number_of_heads_again():
    import number_of_heads

    record = load_record("number_of_heads")
    again = number_of_heads.accuracy(number_of_heads.trained(2, record["seeds"][0]))
    assert again == pytest.approx(record["accuracy"][record["heads"].index(2)][0], abs=0.03)


@pytest.mark.nightly
def test_a_recorded_kind_of_positions_again():
    import position_kinds

    runs = load_record("position_kinds")["runs"]
    (run,) = [run for run in runs if (run["kind"], run["seed"]) == ("learn, std 1", 0)]
    again = position_kinds.curves("learn, std 1", 0, stop=200)["ask"]
    assert again == pytest.approx(run["ask"][: len(again)], abs=0.1) and len(again) == 4


@pytest.mark.nightly
def test_the_recorded_digits_again():
    import train_digits

    _, curve = train_digits.train(0, stop=6)
    assert curve == pytest.approx(load_record("digits_vit")["runs"][0]["val"][:6], abs=0.05)


def test_how_much_faster_whole_batches_are():
    """What chapter 7 says of the loader."""
    times = [result["times_as_fast"] for result in load_record("input_speed")["results"]]
    assert (round(min(times)), round(max(times))) == (14, 40)


def test_two_ways_of_looking_are_compared_image_by_image():
    data, model = tiny.val_set(), tiny.model()
    found = mnist_looks.compared(model, data)
    one, five = (look(model, data).argmax(dim=1) == data.labels for look in mnist_looks.LOOKS.values())
    assert found["images"] == len(data) and found["one"] == one.double().mean().item()
    assert found["five"] == five.double().mean().item()
    assert found["only_one"] == (one & ~five).sum() and found["only_five"] == (five & ~one).sum()


def test_five_looks_are_five_shifted_images():
    data, model = tiny.val_set(), tiny.model().double()
    averaged = mnist_looks.five_looks(model, data, pixels=2)
    assert averaged.exp().sum(dim=1).sub(1).abs().max() <= 1e-6
    total = 0
    for down, right in ((0, 0), (2, 0), (-2, 0), (0, 2), (0, -2)):
        moved = torch.zeros_like(data.images)
        rows, columns = slice(max(down, 0), 8 + min(down, 0)), slice(max(right, 0), 8 + min(right, 0))
        moved[:, :, rows, columns] = data.images.roll((down, right), (2, 3))[:, :, rows, columns]
        total = total + predict(model, replace(data, images=moved)).softmax(dim=1)
    assert (averaged.exp() - total / 5).abs().max() <= 1e-6
    assert (averaged - predict(model, data).log_softmax(dim=1)).abs().max() > 1e-4
