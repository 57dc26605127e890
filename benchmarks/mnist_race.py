"""How long until 98.10 % of the validation digits are right: report D's recipe against `mnist_fast`, timed in one run.

    python benchmarks/mnist_race.py          # writes data/results/mnist_race.json; half an hour

Both recipes run as they stand, one after the other, in this process and on one thread, until they are there. 98.10 % is
what report D has on the test split; the race is run on the validation split, since when to stop is a choice.
"""

import time

import torch

from course_lib.files.places import RESULTS
from course_lib.recipes import find_recipe
from course_lib.records import versions, write_json
from course_lib.train import describe, evaluate_set, train_one_epoch
from course_lib.train.run import Run

GOAL = 0.981
RACERS = ("mnist_fast", "mnist_report_d")


def race(name):
    """Train by the recipe until the goal is reached after an epoch; how long that took."""
    recipe = find_recipe(name)
    train, val = recipe.load("train"), recipe.load("val")
    begin, cpu_begin, curve = time.monotonic(), time.process_time(), []
    run = Run(recipe.build(), train, recipe.train)
    while not curve or curve[-1] < GOAL:
        train_one_epoch(run)
        curve.append(evaluate_set(run.average, val)[1])
        print(name, run.progress.epoch, f"{curve[-1]:.2%}", flush=True)
    return {
        "recipe": name,
        "seed": recipe.train.seed,
        "epochs": run.progress.epoch,
        "seconds": round(time.monotonic() - begin, 1),
        "cpu_seconds": round(time.process_time() - cpu_begin, 1),
        "val_accuracy": curve,
    }


def main():
    torch.set_num_threads(1)
    ours, theirs = (race(name) for name in RACERS)
    write_json(
        RESULTS[0] / "mnist_race.json",
        {
            "what": "time until 98.10 % of MNIST's validation digits are right, by two recipes in one run on one thread",
            "goal": GOAL,
            "device": describe(torch.device("cpu")),
            "versions": versions(),
            "times_as_fast": {clock: round(theirs[clock] / ours[clock], 1) for clock in ("seconds", "cpu_seconds")},
            "runs": [ours, theirs],
        },
    )


if __name__ == "__main__":
    main()
