"""How long until 98.10 % of the validation digits are right: report D's recipe against `mnist_fast`, timed in one run.

    python benchmarks/mnist_race.py          # writes data/results/mnist_race.json; three quarters of an hour

Both recipes run as they stand, one after the other, in this process and on one thread. 98.10 % is what report D has on
the test split; the race is run on the validation split, since when to stop is a choice.
"""

import torch

from course_lib.recipes import find_recipe
from course_lib.records import FOLDERS, describe, versions, write_json
from course_lib.train import fit

GOAL = 0.981
RACERS = ("mnist_fast", "mnist_report_d")


def arrival(curve):
    """The first epoch in which the goal is reached."""
    return next(row for row in curve if row["val_accuracy"] >= GOAL)


def main():
    torch.set_num_threads(1)
    runs = []
    for name in RACERS:
        recipe = find_recipe(name)
        model = recipe.build()
        curve = fit(model, recipe.load("train"), recipe.load("val"), recipe.train)
        there = arrival(curve)
        runs.append(
            {
                "recipe": name,
                "seed": recipe.train.seed,
                "epochs_to_goal": there["epoch"],
                "seconds_to_goal": there["seconds"],
                "cpu_seconds_to_goal": there["cpu_seconds"],
                "curve": curve,
            }
        )
        print(name, there, flush=True)
    write_json(
        FOLDERS[0] / "mnist_race.json",
        {
            "what": "time until 98.10 % of MNIST's validation digits are right, by two recipes in one run on one thread",
            "goal": GOAL,
            "device": describe(next(model.parameters()).device),
            "versions": versions(),
            "times_as_fast": round(runs[1]["seconds_to_goal"] / runs[0]["seconds_to_goal"], 1),
            "runs": runs,
        },
    )


if __name__ == "__main__":
    main()
