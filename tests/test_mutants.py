"""Every wrong Vision Transformer is caught, and the recorded table of what catches it is what a run gives."""

import mutants
import pytest
import torch
from libraries import ours, random_images, run_ours

from course_lib.records import load_record

RECORD = load_record("model_mutants")
CONFIGS = list(dict.fromkeys(map(mutants.config_of, mutants.MUTANTS)))  # in order: xdist compares the workers' lists


def test_the_record_holds_all_mutants_in_order():
    assert [row["mutant"] for row in RECORD["mutants"]] == list(mutants.MUTANTS) and len(mutants.MUTANTS) >= 36
    assert RECORD["images"] == mutants.BATCH
    assert RECORD["model"].items() >= {**mutants.SIZES, "img_size": list(mutants.SIZES["img_size"])}.items()


@pytest.mark.slow
@pytest.mark.parametrize("row", RECORD["mutants"], ids=lambda row: row["mutant"].replace(" ", "_"))
def test_mutant(row):
    found = mutants.score(row["mutant"])
    assert found == row
    assert found["seen_by"] and found["seen_in_float32"]


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
@pytest.mark.parametrize(
    "config", CONFIGS, ids=lambda config: f"{config.pos_embed}-{config.global_pool}-{config.representation_size}"
)
def test_the_right_model_is_not_caught(config, dtype):
    model = ours(config, dtype)
    assert mutants.seen_by(model, run_ours(model, random_images(config, mutants.BATCH, dtype=dtype))) == []


def test_usual_checks_let_mutants_pass():
    """What the book says about the table: each of the usual checks alone misses something."""
    rows = RECORD["mutants"]
    for check in (
        lambda row: row["passes_1e-3"],
        lambda row: row["passes_1e-4"],
        lambda row: row["top1_changed"] == 0,
        lambda row: row["same_parameter_count"],
    ):
        assert any(map(check, rows))
    (row,) = [row for row in rows if row["seen_by"] == ["parameters"]]
    assert row["mutant"] == "bias of k dropped" and row["logit_error"] == 0
