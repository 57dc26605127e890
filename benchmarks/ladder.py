"""The ladder of chapter 08, at two budgets, three seeds each: data/results/ladder.json.

    python benchmarks/ladder.py short            # half an epoch, a minute or two a run on one core
    python benchmarks/ladder.py long 0           # five epochs, ten times as much; seed 0 only
    python benchmarks/ladder.py long 0 1 2 --rungs muon zero
    python benchmarks/ladder.py speed            # images a second of every rung, in one process, in turn

On the CIFAR-10 (JPEG copy). What the record has is not run again. A long run that is interrupted goes on from its folder
in runs/ladder. Several of these commands may run side by side.
"""

import argparse
import json
import time
from dataclasses import replace
from pathlib import Path

import torch
from filelock import FileLock

from course_lib.files.places import RESULTS
from course_lib.recipes import find_recipe, run_recipe
from course_lib.recipes.scratch import LADDER, shortened
from course_lib.records import versions, write_json
from course_lib.train import describe
from course_lib.train.checkpoint import CheckpointError
from course_lib.train.device import keep_memory
from course_lib.train.loop import train_mode, train_step
from course_lib.train.run import Run

RUNGS = LADDER | {"patch_drop_time": LADDER["patch_drop"], "resnet": find_recipe("cifar10_resnet")}
BUDGETS = {"short": shortened, "long": lambda recipe: recipe}
SEEDS = (0, 1, 2)
OUT, FOLDER = RESULTS[0] / "ladder.json", Path("runs") / "ladder"
KEPT = ("val_accuracy", "test_accuracy", "val_loss", "test_loss", "parameters", "cpu_seconds")


def on_copy(rung, budget, seed):
    """The recipe of a rung at a budget, on the JPEG copy."""
    recipe = BUDGETS[budget](replace(RUNGS[rung], data="cifar10_jpeg"))
    if rung == "patch_drop_time":
        recipe = as_long_as_with_all(recipe)
    return replace(recipe, train=replace(recipe.train, seed=seed))


def as_long_as_with_all(recipe):
    """The same for about as much time as a run that sees every patch: half as many images more."""
    if recipe.images:
        return replace(recipe, images=3 * recipe.images // 2)
    epochs = 3 * recipe.train.epochs // 2
    warmup = recipe.train.warmup_epochs * epochs / recipe.train.epochs
    return replace(recipe, train=replace(recipe.train, epochs=epochs, warmup_epochs=warmup))


def read():
    """The record as it stands."""
    if OUT.is_file():
        return json.loads(OUT.read_text(encoding="utf-8"))
    about = {
        "what": "the ladder of chapter 08: every rung at a short budget, some at a long one",
        "data": "CIFAR-10 (JPEG copy)",
        "runs": [],
    }
    return about | {"device": "of each run", "versions": "of each run"}


def changed(change):
    """Let `change` do something to the record, one process at a time."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    with FileLock(FOLDER / "record.lock"):
        record = read()
        change(record)
        write_json(OUT, record)


def climb(budget, rung, seed):
    """One run, unless the record has it."""
    where = {"rung": rung, "budget": budget, "seed": seed}
    if any(where.items() <= run.items() for run in read()["runs"]):
        return
    recipe = on_copy(rung, budget, seed)
    try:
        _, written = run_recipe(recipe, FOLDER / f"{rung}-{budget}-{seed}", quiet=True)
    except CheckpointError as error:  # another of these commands is at it
        print(budget, rung, seed, f"left to another process ({error})", flush=True)
        return
    run = where | {name: written[name] for name in KEPT}
    run |= {
        "train_loss": written["curve"][-1]["train_loss"],
        "device": written["device"],
        "versions": written["versions"],
    }
    order = {name: number for number, name in enumerate(RUNGS)}

    def add(record):
        others = [old for old in record["runs"] if not where.items() <= old.items()]
        record["runs"] = sorted(
            [*others, run], key=lambda each: (each["budget"], order.get(each["rung"], 99), each["seed"])
        )
        record.setdefault("settings", {})[rung] = on_copy(rung, "long", 0).settings()

    changed(add)
    print(
        budget,
        rung,
        seed,
        f"{run['val_accuracy']:.4f} {run['test_accuracy']:.4f} {run['cpu_seconds']:.0f} s",
        flush=True,
    )


def speed(steps=12):
    """Images a second of one core in training, the best of `steps` steps for each rung, in turn."""
    runs = {}
    for rung in RUNGS:
        recipe = on_copy(rung, "long", 0)
        runs[rung] = Run(recipe.build(), recipe.load("train"), recipe.train)
        train_mode(runs[rung].model)
    rows, seconds = torch.arange(64), {rung: [] for rung in runs}
    for _ in range(steps):
        for rung, run in runs.items():
            begin = time.perf_counter()
            train_step(run, rows)
            seconds[rung].append(time.perf_counter() - begin)
            run.progress.step += 1
    found = {rung: round(len(rows) / min(times)) for rung, times in seconds.items()}
    print(found)
    about = {"images_per_second": found, "device": describe(torch.device("cpu")), "versions": versions()}
    changed(lambda record: record.update(speed=about))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("what", choices=(*BUDGETS, "speed"))
    parser.add_argument("seeds", type=int, nargs="*", default=SEEDS)
    parser.add_argument("--rungs", nargs="+", choices=RUNGS, default=list(RUNGS))
    options = parser.parse_args()
    torch.set_num_threads(1)
    keep_memory()
    if options.what == "speed":
        return speed()
    for seed in options.seeds:
        for rung in options.rungs:
            climb(options.what, rung, seed)


if __name__ == "__main__":
    main()
