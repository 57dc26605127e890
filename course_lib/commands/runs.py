"""`course runs`: the recipes, and what they reached. Chapter 07."""

import argparse
import json
from typing import Any


def add_runs(commands: Any) -> None:
    runs = commands.add_parser("runs", help="list the recipes, and what their recorded runs reached")
    runs.add_argument("--json", action="store_true", help="print all of it as JSON")
    runs.set_defaults(run=_runs)


def _runs(options: argparse.Namespace) -> int:
    from course_lib.files.places import RESULTS
    from course_lib.recipes.runner import RECIPES

    if options.json:
        words = ("name", "what", "data", "cost", "source", "expect")
        print(json.dumps([{w: getattr(r, w) for w in words} | {"runs": _runs_of(r.name)} for r in RECIPES.values()]))
        return 0
    for recipe in RECIPES.values():
        print(f"{recipe.name}\n    {recipe.what}\n    data {recipe.data}; {recipe.cost}\n    {recipe.source}")
        recorded = _recorded(recipe.name)
        print(f"    {recorded or 'not recorded here'}; {recipe.expect}")
    print(f"\nRecords: {next(folder for folder in RESULTS if folder.is_dir())}")
    return 0


def _recorded(name: str) -> str:
    """What the record of that name holds, in one line; empty if there is none."""
    if not (runs := _runs_of(name)):
        return ""
    tests = ", ".join(f"{100 * run['test_accuracy']:.2f}" for run in runs)
    return f"recorded: {tests} % on test (seeds {', '.join(str(run['seed']) for run in runs)}), on {runs[0]['device']}"


def _runs_of(name: str) -> list[dict[str, Any]]:
    """Seed, accuracies and device of each recorded run of that name."""
    from course_lib.records import load_record

    try:
        runs = load_record(name)["runs"]
    except ValueError:
        return []
    return [{key: run[key] for key in ("seed", "val_accuracy", "test_accuracy", "device")} for run in runs]
