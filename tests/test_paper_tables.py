"""The paper's tables: the record agrees with itself, and chapter 10's typed table with the record."""

import re

import notebooks
import pytest

from course_lib.records import load_record

PAPER = load_record("paper_vit_tables")
CHAPTER = (notebooks.BOOK / "10_comparison.py").read_text(encoding="utf-8")


def typed(row):
    """What the chapter's table has in a row: a number or (mean, deviation) for each model, None where it is empty."""
    (line,) = re.findall(rf"^# \| {re.escape(row)} \|(.*)\|$", CHAPTER, re.M)
    return [[float(word) for word in cell.split("±")] if cell.strip() else None for cell in line.split("|")]


@pytest.mark.parametrize("row", PAPER["table_2"]["mean_and_deviation"])
def test_the_typed_table_is_the_record(row):
    recorded = PAPER["table_2"]["mean_and_deviation"][row]
    assert typed(row) == [cell and [number for number in cell if number is not None] for cell in recorded]


def test_the_typed_cost_is_the_record():
    assert typed("TPUv3-core-days") == [[days] for days in PAPER["table_2"]["core_days"]]
    assert "# | | " + " | ".join(PAPER["table_2"]["models"]) + " |" in CHAPTER


def test_tables_5_and_6_agree():
    """The models from JFT stand in both, trained for as long as the paper says; of H/14 some figures differ there too."""
    table_6 = {(run["model"], run["epochs"]): run["accuracy"] for run in PAPER["table_6"]["runs"]}
    for index, name in enumerate(PAPER["table_5"]["models"][:4]):
        found = table_6[f"ViT-{name}", 14 if name == "L/16" else 7]
        for data, accuracy in zip(PAPER["table_6"]["sets"], found, strict=True):
            assert (
                accuracy
                == PAPER["table_5"]["accuracy"]["JFT"][data.removeprefix("ImageNet, ").removesuffix(" labels")][index]
            ), (name, data)
    assert len(table_6) == 18
