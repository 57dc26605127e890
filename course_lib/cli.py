"""The `course` command: train by a recipe, list the recipes and what they reached, look at the installation. Chapter 07."""

import argparse
import os
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit status: 0, 1 for what the reader can mend, 130 and 143 after a stop."""
    parser = argparse.ArgumentParser(prog="course", description="Train and look at the models of the course.")
    commands = parser.add_subparsers(dest="command", required=True)
    _add_train(commands)
    _add_reproduce(commands)
    commands.add_parser("runs", help="list the recipes, and what their recorded runs reached").set_defaults(run=_runs)
    commands.add_parser("doctor", help="say whether what is installed fits together").set_defaults(run=_doctor)
    options, rest = parser.parse_known_args(arguments)
    if options.command in ("train", "reproduce"):  # settings may also stand after the options
        options.settings += [word for word in rest if "=" in word and not word.startswith("-")]
        rest = [word for word in rest if word not in options.settings]
    if rest:
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    try:
        return options.run(options)
    except ValueError as error:
        print(f"course {options.command}: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("Stopped. The same command goes on from here.", file=sys.stderr)
        return 130
    except BrokenPipeError:  # `course runs | head`: nobody reads on
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # Python flushes once more when it ends
        return 0


def _add_train(commands):
    train = commands.add_parser(
        "train",
        help="train by a recipe, or go on with a run that was stopped",
        description="Train by a recipe. A run that was stopped goes on where it ended. `course runs` lists the recipes.",
        epilog="Several devices: torchrun --nproc_per_node=2 -m course_lib train NAME",
    )
    train.add_argument("name", help="of the recipe")
    _add_run_options(train)
    train.set_defaults(run=_train)


def _add_reproduce(commands):
    reproduce = commands.add_parser(
        "reproduce",
        help="list the experiments of the five reports, or run one",
        description="Without a name: every experiment of the five reports, its figure, ours, and what it takes.",
    )
    reproduce.add_argument("name", nargs="?", help="of the experiment, such as A.cifar10")
    _add_run_options(reproduce)
    reproduce.set_defaults(run=_reproduce)


def _add_run_options(train):
    train.add_argument("settings", nargs="*", metavar="name=value", help="epochs=5, augment.crop=2, model.depth=3")
    train.add_argument("--seeds", type=int, nargs="+", default=[0], metavar="N", help="one run for each (default: 0)")
    train.add_argument("--out", type=Path, default=Path("runs"), help="folder of the runs (default: runs)")
    train.add_argument("--copy-to", type=Path, help="second folder for checkpoints, such as one on Google Drive")
    train.add_argument("--allow-change", action="store_true", help="go on although settings were changed")
    train.add_argument("--tensorboard", action="store_true", help="write a log for TensorBoard")
    train.add_argument("--quiet", action="store_true", help="show no progress bar")
    train.add_argument("--no-record", action="store_true", help="leave data/results as it is")


def _train(options):
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


def _reproduce(options):
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


def _runs(options):
    from course_lib.files.places import RESULTS
    from course_lib.recipes.runner import RECIPES

    for recipe in RECIPES.values():
        print(f"{recipe.name}\n    {recipe.what}\n    data {recipe.data}; {recipe.cost}\n    {recipe.source}")
        recorded = _recorded(recipe.name)
        print(f"    {recorded or 'not recorded here'}; {recipe.expect}")
    print(f"\nRecords: {next(folder for folder in RESULTS if folder.is_dir())}")
    return 0


def _recorded(name: str) -> str:
    """What the record of that name holds, in one line; empty if there is none."""
    from course_lib.records import load_record

    try:
        runs = load_record(name)["runs"]
    except ValueError:
        return ""
    tests = ", ".join(f"{100 * run['test_accuracy']:.2f}" for run in runs)
    return f"recorded: {tests} % on test (seeds {', '.join(str(run['seed']) for run in runs)}), on {runs[0]['device']}"


def _doctor(options):
    """Name torch and torchvision, and the pair that belongs together: torchvision's own metadata say which."""
    from importlib.metadata import requires, version
    from platform import python_version

    from packaging.requirements import Requirement

    from course_lib import __version__

    found = {"course-lib": __version__} | {name: version(name) for name in ("torch", "torchvision", "numpy")}
    print(", ".join(f"{name} {number}" for name, number in {"Python": python_version(), **found}.items()))
    needed = map(Requirement, requires("torchvision") or ())
    wanted = next(requirement.specifier for requirement in needed if requirement.name == "torch")
    if not wanted.contains(found["torch"], prereleases=True):
        raise ValueError(
            f"torch {found['torch']} and torchvision {found['torchvision']} do not belong together: this torchvision "
            f"needs torch {wanted}. Run: pip install --upgrade torch torchvision"
        )
    import torch
    import torchvision  # noqa: F401  (fails here if its operators do not load)

    from course_lib.train.device import get_device, get_precision

    device = get_device()
    print(f"Training would run on {device}, in {str(get_precision('auto', device)).removeprefix('torch.')}.")
    print(f"{torch.get_num_threads()} threads. All is well.")
    return 0
