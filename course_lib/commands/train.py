"""`course train` and `course reproduce`: train by a recipe. Chapter 07."""

import argparse
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
    add_run_options(train)
    train.set_defaults(run=_train)


def add_reproduce(commands: Any) -> None:
    reproduce = commands.add_parser(
        "reproduce",
        help="list the experiments of the five reports, or run one",
        description="Without a name: every experiment of the five reports, its figure, ours, and what it takes.",
    )
    reproduce.add_argument("name", nargs="?", help="of the experiment, such as A.cifar10")
    add_run_options(reproduce)
    reproduce.set_defaults(run=_reproduce)


def add_run_options(train: argparse.ArgumentParser) -> None:
    train.add_argument("settings", nargs="*", metavar="name=value", help="epochs=5, augment.crop=2, model.depth=3")
    train.add_argument("--seeds", type=int, nargs="+", metavar="N", help="one run for each (default: 0)")
    train.add_argument("--name", dest="name_of_runs", metavar="NAME", help="of their folder (default: by the settings)")
    train.add_argument("--out", type=Path, default=Path("runs"), help="folder of the runs (default: runs)")
    train.add_argument("--copy-to", type=Path, help="second folder for checkpoints, such as one on Google Drive")
    train.add_argument("--allow-change", action="store_true", help="go on although settings were changed")
    train.add_argument("--tensorboard", action="store_true", help="write a log for TensorBoard")
    train.add_argument("--quiet", action="store_true", help="say nothing of how it goes")
    train.add_argument("--again", action="store_true", help="begin anew; the run before is kept under another name")
    train.add_argument("--record", action="store_true", help="put the results into data/results, as the course's own")


def _train(options: argparse.Namespace) -> int:
    train_runs(options)
    return 0


def train_runs(options: argparse.Namespace) -> list[dict[str, Any]]:
    """Train the recipe `options.name` once for each seed; returns the records of the runs, in the main process."""
    from course_lib.recipes import folders, runner
    from course_lib.recipes.settings import override
    from course_lib.train import distributed
    from course_lib.train.device import keep_memory

    keep_memory()
    standing = runner.find_recipe(options.name)
    recipe = override(standing, options.settings).settled()
    if options.record:
        _check_recordable(options, folders.changed(recipe, standing))
    if options.seeds and any(word.startswith(("seed=", "train.seed=")) for word in options.settings):
        raise ValueError(f"seed= and --seeds {' '.join(map(str, options.seeds))} are both given: leave one out.")
    seeds = options.seeds or [recipe.train.seed]
    name = folders.checked_name(options.name_of_runs) or folders.run_name(recipe, standing)
    done = folders.done_again(options.out / name) if options.again else []
    records = []
    for seed in seeds:
        seeded, place = folders.seeded(recipe, seed), Path(name) / f"seed-{seed}"
        again = options.again and seed not in done
        longer = recipe.train.epochs != standing.train.epochs and not again
        _, record = runner.run_recipe(
            seeded,
            options.out / place,
            copy_to=options.copy_to and options.copy_to / place,
            again=again,
            allow_change=options.allow_change,
            after=folders.find_shorter(options.out / place, seeded) if longer else None,
            tensorboard=options.tensorboard,
            quiet=options.quiet,
        )
        done.append(seed)
        records.append(record)
        if distributed.is_main():
            print(f"{_in_words(options.name, record)}; saved in {options.out / place}")
            if options.again:
                folders.note_again(options.out / name, done if set(seeds) - set(done) else [])
            if options.record:
                print(f"Recorded in {_record(seeded, record)}")
    main = distributed.is_main()
    distributed.stop()
    return records if main else []


def _check_recordable(options: argparse.Namespace, changes: dict[str, Any]) -> None:
    """Raise a `ValueError` unless this is a run that the course can vouch for: of the recipe, from start to end."""
    from course_lib.files import places

    if changes:
        names = ", ".join(changes)
        raise ValueError(
            f"--record is for a recipe as it stands, and here {names} {'is' if len(changes) == 1 else 'are'} changed: "
            f"leave out --record, or the settings. The run's folder has its record.json anyway."
        )
    if options.allow_change:
        raise ValueError("--record is for a run without changes half way: leave out --record or --allow-change.")
    if not places.RESULTS[0].is_dir():
        raise ValueError(f"--record writes into {places.RESULTS[0]}, and there is no such folder: leave it out.")


def _record(recipe: Any, record: dict[str, Any]) -> Path:
    from course_lib.recipes.runner import add_to_record

    if changes := record.get("changes"):
        raise ValueError(f"not recorded, for the run was changed half way ({changes[0]}): --again trains it anew.")
    return add_to_record(recipe, [record])


def _in_words(name: str, record: dict[str, Any]) -> str:
    """What a run reached, in one line."""
    worst, epochs = record.get("worst_class"), len(record["curve"])
    words = f"{100 * record['test_accuracy']:.2f} % on test (macro-F1 {100 * record['test_scores']['macro_f1']:.2f} %"
    if worst:
        words += f"; worst is {worst['name']!r}, {100 * worst['recall']:.2f} % of {worst['images']}"
    if record.get("best_epoch", epochs) != epochs:
        best = record["curve"][record["best_epoch"] - 1]["val_accuracy"]
        words += f"; best.safetensors is of epoch {record['best_epoch']}, {100 * best:.2f} % on validation"
    return (
        f"{name}, seed {record['seed']}: {100 * record['val_accuracy']:.2f} % on validation, {words}); "
        f"{record['parameters']:,} parameters, {record['seconds']:.0f} s"
    )


def _reproduce(options: argparse.Namespace) -> int:
    from course_lib.recipes import reports
    from course_lib.recipes.runner import find_recipe
    from course_lib.recipes.settings import override

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
