"""The scripts behind the records run the chapters' own code, and still give what was recorded."""

import sys
from pathlib import Path

import pytest

from course_lib.records import load_record

sys.path.append(str(Path(__file__).parent.parent / "benchmarks"))

import chapter
import encoder_ablation
import number_of_heads
import position_kinds
import train_digits


def test_definitions_come_from_the_chapter():
    found = chapter.definitions("03_encoder", "PostNormBlock", "WIDTH", "accuracy")
    assert (found.WIDTH, found.PostNormBlock.__name__, found.accuracy.__name__) == (32, "PostNormBlock", "accuracy")
    with pytest.raises(ValueError, match="03_encoder does not define nothing"):
        chapter.definitions("03_encoder", "nothing")


def recorded(name, **configuration):
    (run,) = [run for run in load_record(name)["runs"] if configuration.items() <= run.items()]
    return run["accuracy"]


def test_a_recorded_ablation_again():
    """The same seed on another processor may round otherwise; the accuracy is near all the same."""
    again = encoder_ablation.ablation(("positions", 2, 2))
    assert again == pytest.approx(recorded("encoder_ablation", without="positions", depth=2, seed=2), abs=0.03)


def test_a_recorded_number_of_heads_again():
    record = load_record("number_of_heads")
    again = number_of_heads.accuracy(number_of_heads.trained(2, record["seeds"][0]))
    assert again == pytest.approx(record["accuracy"][record["heads"].index(2)][0], abs=0.03)


def test_a_recorded_kind_of_positions_again():
    runs = load_record("position_kinds")["runs"]
    (run,) = [run for run in runs if (run["kind"], run["seed"]) == ("learn, std 1", 0)]
    again = position_kinds.curves("learn, std 1", 0, stop=200)["ask"]
    assert again == pytest.approx(run["ask"][: len(again)], abs=0.1) and len(again) == 4


def test_the_recorded_digits_again():
    _, curve = train_digits.train(0, stop=6)
    assert curve == pytest.approx(load_record("digits_vit")["runs"][0]["val"][:6], abs=0.05)
