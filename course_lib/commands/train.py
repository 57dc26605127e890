"""`course train` and `course reproduce`: train by a recipe. Chapter 07."""

import argparse
from dataclasses import replace
from pathlib import Path
from typing import Any


def add_train(commands: Any) -> None:
    train = commands.add_parser(
        "train",
        help="train by a recipe, or go on with a run that was stopped",
        description="Train by a recipe. A run that was stopped goes on where it ended. `course runs` lists the recipes.",
        epilog="Several devices: torchrun --nproc_per_node=2 -m course_lib train NAME",
    )
    train.add_argument("name", help="of the recipe")
    _add_run_options(train)
    train.set_defaults(run=_train)


def add_reproduce(commands: Any) -> None:
    reproduce = commands.add_parser(
        "reproduce",
        help="list the experiments of the five reports, or run one",
        description="Without a name: every experiment of the five reports, its figure, ours, and what it takes.",
    )
    reproduce.add_argument("name", nargs="?", help="of the experiment, such as A.cifar10")
    _add_run_options(reproduce)
    reproduce.set_defaults(run=_reproduce)


def _add_run_options(train: argparse.ArgumentParser) -> None:
    train.add_argument("settings", nargs="*", metavar="name=value", help="epochs=5, augment.crop=2, model.depth=3")
    train.add_argument("--seeds", type=int, nargs="+", default=[0], metavar="N", help="one run for each (default: 0)")
    train.add_argument("--out", type=Path, default=Path("runs"), help="folder of the runs (default: runs)")
    train.add_argument("--copy-to", type=Path, help="second folder for checkpoints, such as one on Google Drive")
    train.add_argument("--allow-change", action="store_true", help="go on although settings were changed")
    train.add_argument("--tensorboard", action="store_true", help="write a log for TensorBoard")
    train.add_argument("--quiet", action="store_true", help="show no progress bar")
    train.add_argument("--no-record", action="store_true", help="leave data/results as it is")


def _train(options: argparse.Namespace) -> int:
    from course_lib.files import places
    from course_lib.recipes import runner
    from course_lib.recipes.recipe import override
    from course_lib.train import distributed
    from course_lib.train.device import keep_memory

    keep_memory()
    recipe = override(runner.find_recipe(options.name), options.settings)
    # Only a recipe as it stands is recorded (be it on another copy of the data), and only in a checkout; the run's
    # folder has its record.json anyway.
    changed = [setting for setting in options.settings if not setting.startswith("data=")]
    recorded = places.RESULTS[0].is_dir() and not changed and not options.no_record
    label = "-".join([options.name, *(setting.replace("/", "_") for setting in options.settings)])
    for seed in options.seeds:
        seeded = replace(recipe, train=replace(recipe.train, seed=seed))
        folder = options.out / label / f"seed-{seed}"
        _, record = runner.run_recipe(
            seeded,
            folder,
            copy_to=options.copy_to and options.copy_to / label / f"seed-{seed}",
            allow_change=options.allow_change,
            tensorboard=options.tensorboard,
            quiet=options.quiet,
        )
        if distributed.is_main():
            print(
                f"{options.name}, seed {seed}: {100 * record['val_accuracy']:.2f} % on validation, "
                f"{100 * record['test_accuracy']:.2f} % on test; {record['parameters']:,} parameters, "
                f"{record['seconds']:.0f} s; saved in {folder}"
            )
            if recorded:
                print(f"Recorded in {runner.add_to_record(seeded, [record])}")
    distributed.stop()
    return 0


def _reproduce(options: argparse.Namespace) -> int:
    from course_lib.recipes import reports
    from course_lib.recipes.recipe import override
    from course_lib.recipes.runner import find_recipe

    if options.name:
        experiment = reports.find_experiment(options.name)
        if experiment.recipe is None:
            print(f"{experiment.name}, {experiment.what}: that is in chapter {experiment.chapter}.")
            return 0
        options.name = experiment.recipe
        reports.check_ready(override(find_recipe(options.name), options.settings))
        return _train(options)
    for letter, about in reports.REPORTS.items():
        print(f"\nReport {letter}. {about}")
        for experiment in (e for e in reports.EXPERIMENTS if e.name.startswith(letter)):
            print(f"  {experiment.name:19} {experiment.what}")
            figures = (
                f"report {experiment.figure}, ours {reports.ours(experiment) or '-'}; " if experiment.figure else ""
            )
            print(f"  {'':19} {figures}{reports.state(experiment)}")
    return 0
