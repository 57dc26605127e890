"""`course speedrun`: reach a target at the least cost. Chapter 08."""

import argparse
import os
from typing import Any

from course_lib.commands.train import add_run_options, train_runs


def add_speedrun(commands: Any) -> None:
    speedrun = commands.add_parser(
        "speedrun",
        help="train the cheapest plain ViT that reaches a target on validation",
        description="Train the plain ViT with the fewest operations whose recorded runs reached TARGET per cent on validation.",
    )
    speedrun.add_argument("data", help="cifar10 or mnist")
    speedrun.add_argument("target", type=float, metavar="TARGET", help="per cent right on validation, such as 80")
    add_run_options(speedrun)
    speedrun.set_defaults(run=_speedrun)


def _speedrun(options: argparse.Namespace) -> int:
    from course_lib.recipes.settings import override
    from course_lib.recipes.speedrun import quickest, training_flops

    standing = quickest(options.data, options.target)
    options.name = standing.name
    if os.environ.get("RANK", "0") == "0":  # of torchrun's processes one speaks
        print(f"{options.target:g} % of {options.data}: {standing.name}, {standing.what}; {standing.cost}.", flush=True)
    flops = training_flops(override(standing, options.settings))
    for record in train_runs(options):
        reached = 100 * record["val_accuracy"] >= options.target
        print(
            f"seed {record['seed']}: target {'reached' if reached else 'missed'}, "
            f"{100 * record['val_accuracy']:.2f} % on validation after {record['cpu_seconds'] / 60:.1f} core-minutes "
            f"({record['seconds'] / 60:.1f} minutes on {record['device']}), {flops / 1e15:.3g} PFLOP"
        )
    return 0
