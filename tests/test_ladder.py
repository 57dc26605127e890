"""The ladder of chapter 08: one ingredient a rung, at two budgets, and a record that is of these recipes."""

import sys
from dataclasses import replace
from pathlib import Path

import pytest

from course_lib.recipes.runner import RECIPES
from course_lib.recipes.scratch import LADDER, shortened
from course_lib.records import load_record

sys.path.append(str(Path(__file__).parent.parent / "benchmarks"))

import ladder

RUNS = load_record("ladder")["runs"]
BUNDLES = {"size": 3, "crop_flip": 3, "rand_augment": 2, "mixup": 2, "cutmix": 2}  # one thing, in more than one field


def flat(settings, path=""):
    found = {}
    for name, value in settings.items():
        found |= flat(value, f"{path}{name}.") if isinstance(value, dict) else {path + name: value}
    return found


def test_each_rung_adds_one_thing_to_the_one_below():
    for name, recipe in LADDER.items():
        if name == "ground":
            continue
        below = RECIPES[recipe.what.partition(" and ")[0]]
        old, new = flat(below.settings()), flat(recipe.settings())
        changed = [field for field in old | new if old.get(field) != new.get(field)]
        assert len(changed) == BUNDLES.get(name, 1), (name, changed)


@pytest.mark.parametrize("name", ["ema", "patch_drop"])
def test_the_short_budget_is_a_tenth(name):
    long, short = LADDER[name], shortened(LADDER[name])
    assert short.images * short.train.epochs * 10 == 45_000 * long.train.epochs
    assert short.train.warmup_epochs / short.train.epochs == long.train.warmup_epochs / long.train.epochs
    assert replace(short, images=None, train=long.train) == long


def test_the_record_is_of_these_recipes():
    record = load_record("ladder")
    for rung, settings in record["settings"].items():
        assert ladder.on_copy(rung, "long", 0).settings() == settings, rung
    assert {run["rung"] for run in RUNS} == set(record["settings"]) <= {*LADDER, "patch_drop_time", "resnet"}
    places = [(run["rung"], run["budget"], run["seed"]) for run in RUNS]
    assert len(places) == len(set(places))


def test_seeds_can_be_paired():
    """Of every rung the same seeds, at the short budget three."""
    for rung in (*LADDER, "patch_drop_time", "resnet"):
        assert [run["seed"] for run in RUNS if (run["rung"], run["budget"]) == (rung, "short")] == [0, 1, 2], rung
