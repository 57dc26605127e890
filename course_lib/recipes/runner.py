"""All recipes by name, and how one is run: what came out is kept, with everything that one must know to trust it.

`course train NAME` runs one, `course runs` lists them. Chapters 07 to 10.
"""

import copy
import difflib
from pathlib import Path
from typing import Any

import torch
from torch import nn

from course_lib.data.image_set import SPLITS, ImageSet
from course_lib.files import places
from course_lib.metrics import predict, score
from course_lib.models.saved import save_model
from course_lib.recipes import folders
from course_lib.recipes.finetuning import FINE_TUNING, PHOTOS
from course_lib.recipes.recipe import Recipe, check_images, check_processor
from course_lib.recipes.scratch import FROM_SCRATCH
from course_lib.records import code_digest, commit, versions, write_json
from course_lib.train import distributed
from course_lib.train.device import count_parameters, describe, get_device, memory_shortage, peak_memory
from course_lib.train.loop import complete, errors_explained, evaluate_set
from course_lib.train.run import Run
from course_lib.weights.preprocessing import Preprocessing

RECIPES: dict[str, Recipe] = {recipe.name: recipe for recipe in (*FROM_SCRATCH, *FINE_TUNING, PHOTOS)}


def find_recipe(name: str) -> Recipe:
    """The recipe of that name.

    Raises:
        ValueError: there is none; the message has those with the nearest names.
    """
    if name not in RECIPES:
        near = difflib.get_close_matches(name, RECIPES, 3)
        raise ValueError(
            f"no recipe {name!r}"
            + (f"; near are {', '.join(near)}" if near else "")
            + "; `course runs` lists all."
            + f" For the pictures in that folder: course train photos data=folder:{name}" * Path(name).is_dir()
        )
    return RECIPES[name]


def run_recipe(
    recipe: Recipe,
    folder: str | Path,
    *,
    copy_to: str | Path | None = None,
    again: bool = False,
    allow_change: bool = False,
    after: Path | None = None,
    **options: Any,
) -> tuple[nn.Module, dict[str, Any]]:
    """Train by a recipe in `folder`, look once at the test split, and return what is recorded of it.

    A run that is finished is not trained again: its own record comes back.

    Args:
        recipe: a `Recipe`.
        folder: where checkpoints, history, record.json, model.safetensors and best.safetensors go. These are the
            weights at the end, and those after the epoch that was best on validation, the earliest of equals.
        copy_to: a second folder for a copy of each checkpoint.
        again: begin anew, and keep what is there under another name.
        allow_change: go on although settings or images have changed.
        after: the folder of a shorter run with the same settings, which this one goes on from if it has not begun.
        options: what `fit` takes besides.

    Returns:
        (the trained model, the record of this run: numbers and words in a dict). "best_epoch" is that of
        best.safetensors; "worst_class" the class of which the smallest share of the test images is right; "changes",
        where there are any, says which settings were changed half way.

    Raises:
        ValueError: the settings do not fit the data, it cannot go on, or its images have changed.

    Source: chapter 07.
    """
    folder, copy_to = Path(folder).expanduser(), Path(copy_to).expanduser() if copy_to else None
    with errors_explained():
        distributed.start(get_device(recipe.train.device))
        recipe = recipe.settled()
        train, val, test = load_splits(recipe)
        model = recipe.build()
        check_forward(model, train)
        files = {split: data.fingerprint for split, data in zip(SPLITS, (train, val, test), strict=True)}
        images = {split: fingerprint for split, fingerprint in files.items() if fingerprint}
        if distributed.is_main():
            folders.prepare(folder, copy_to, recipe, images, again=again, allow_change=allow_change, after=after)
        distributed.from_main(None)  # the others wait for the folder
        run = Run(model, train, recipe.train, recipe.rates(model))
        epochs = complete(run, val, folder=folder, copy_to=copy_to, allow_change=allow_change, **options)
        record = None if epochs else distributed.from_main(kept_record(recipe, run, folder))
        if record is None:
            if distributed.is_main():
                folders.note_changes(folder, recipe, images)
            record = keep(recipe, run, val, test, folder)
        else:
            recipe.finish(run.model)
    trained: Any = run.model
    trained.classes, trained.preprocessing = test.classes, Preprocessing.of(test)
    return trained, record


def load_splits(recipe: Recipe) -> tuple[ImageSet, ImageSet, ImageSet]:
    """(train, val, test) of a recipe.

    Raises:
        ValueError: they do not fit the recipe's model or each other; the line has the settings that mend it.
    """
    train, val, test = (recipe.load(split) for split in SPLITS)
    if len(train.classes) > 1:
        check_images(recipe, train)
    check_classes(train, recipe.model.num_classes)
    check_processor(recipe, train)
    for data in (val, test):
        if data.classes != train.classes:
            raise ValueError(f"{data.name} has the classes {data.classes}, {train.name} has {train.classes}.")
        if data.input_size is None and data.images.shape[1:] != train.images.shape[1:]:
            shapes = [" x ".join(map(str, each.images.shape[1:])) for each in (data, train)]
            raise ValueError(
                f"{data.name} has images of {shapes[0]}, {train.name} of {shapes[1]}: set size={train.images.shape[-1]}."
            )
    return train, val, test


@torch.no_grad()
def check_forward(model: nn.Module, data: ImageSet) -> None:
    """Raise a `ValueError` unless the model can take an image: some are too small for its layers."""
    _, channels, height, width = data.images.shape
    try:
        model.eval()(data.normalised(data.images[:1]))
    except RuntimeError as error:
        if memory_shortage(error):
            raise
        said = str(error).partition("\n")[0]
        raise ValueError(
            f"the {type(model).__name__} cannot take images of {channels} x {height} x {width} ({said}): set a larger size."
        ) from error


def kept_record(recipe: Recipe, run: Run, folder: Path) -> dict[str, Any] | None:
    """The record that a finished run left, and a line that says so; None if it left none, or one of another run."""
    try:
        written = folders.read_record(folder)
    except ValueError as error:
        if distributed.is_main() and (folder / folders.ABOUT).is_file():
            print(f"{str(error).partition(':')[0]}, and is made anew.", flush=True)
        return None
    record = written["runs"][0]
    if not (record.get("curve") == run.progress.history and (folder / "model.safetensors").is_file()):
        return None
    if distributed.is_main():
        longer = "" if run.stopped_early else ", epochs=N goes on to N"
        done = f"after {run.progress.epoch} epochs"
        print(f"{folder}: already finished {done}, nothing trained; --again trains anew{longer}.", flush=True)
    return record


def keep(recipe: Recipe, run: Run, val: ImageSet, test: ImageSet, folder: Path) -> dict[str, Any]:
    """Judge the model of a run that has come to its end, and write it and its record into the folder."""
    progress, device = run.progress, run.device
    model = run.model
    trained = count_parameters(model)
    facts: dict[str, Any] = {"classes": test.classes, "preprocessing": Preprocessing.of(test)}
    prints = {split: data.fingerprint for split, data in zip(SPLITS, (run.data, val, test), strict=True)}
    who = {"recipe": recipe.name, "settings": recipe.settings(), "seed": recipe.train.seed}
    who |= {"images": prints} if test.fingerprint else {}
    if run.best and distributed.is_main():
        best = copy.deepcopy(model)
        best.load_state_dict(run.best)
        recipe.finish(best)
        row = progress.history[progress.best_epoch - 1]
        told = who | {"epoch": progress.best_epoch, "val_accuracy": row["val_accuracy"]}
        save_model(best, folder / "best.safetensors", **facts, record=told)
    recipe.finish(model)
    val_loss, val_accuracy = evaluate_set(model, val.to(device))
    scores = score(predict(model, test), test.labels)
    record = {
        "seed": recipe.train.seed,
        "val_accuracy": val_accuracy,
        "val_loss": val_loss,
        "test_accuracy": scores.pop("accuracy"),
        "test_loss": scores.pop("loss"),
        "test_scores": scores,
        "worst_class": worst_class(scores["confusion"], test.classes),
        "best_epoch": progress.best_epoch,
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "trained_parameters": trained,
        "seconds": progress.history[-1]["seconds"],
        "cpu_seconds": progress.history[-1]["cpu_seconds"],
        "peak_memory_mb": peak_memory(device),
        "device": describe(device),
        "versions": versions(),
        "commit": commit(),
        "code": code_digest(),
        "curve": progress.history,
    }
    if progress.changes:
        record["changes"] = progress.changes
    if distributed.is_main():
        told = who | {name: record[name] for name in ("val_accuracy", "test_accuracy", "versions", "commit")}
        save_model(model, folder / "model.safetensors", **facts, record=told)
        write_json(folder / folders.RECORD, about(recipe) | {"runs": [record]})
    return record


def worst_class(confusion: list[list[int]], classes: tuple[str, ...]) -> dict[str, Any]:
    """{name, recall, images} of the class of which the smallest share of the images is right, the first of equals.

    Args:
        confusion: from `score`, a row for each true class.
        classes: their names.
    """
    shares = {k: row[k] / sum(row) for k, row in enumerate(confusion) if sum(row)}
    worst = min(shares, key=lambda k: shares[k])
    return {"name": classes[worst], "recall": shares[worst], "images": sum(confusion[worst])}


def check_classes(data: ImageSet, outputs: int) -> None:
    """Raise a `ValueError` unless the data has at least two classes, and one for each output."""
    count, some = len(data.classes), ", ".join(data.classes[:5])
    if count < 2:
        raise ValueError(f"{data.name} has one class only, {some}: a classifier needs at least two to tell apart.")
    if count != outputs:
        raise ValueError(
            f"{data.name} has {count} classes ({some}), the model {outputs} outputs: set model.num_classes={count}."
        )


def about(recipe: Recipe) -> dict[str, Any]:
    """The head of a record."""
    return {
        "what": recipe.what,
        "recipe": recipe.name,
        "source": recipe.source,
        "settings": recipe.settings(),
        "device": None,
        "versions": None,
    }


def add_to_record(recipe: Recipe, runs: list[dict], folder: Path | None = None) -> Path:
    """Put runs into the recipe's record (in data/results, or `folder`), in place of older ones with the same seeds.

    A record of other settings is begun anew. Returns its path.

    Raises:
        ValueError: the record there is damaged.
    """
    path = (folder or places.RESULTS[0]) / f"{recipe.name}.json"
    record = about(recipe)
    kept = {}
    if path.is_file():
        old = folders.read_json(path)
        if not isinstance(old, dict):
            raise ValueError(f"{path} is damaged: delete it, or get it back with git, and run the same command again.")
        if old.get("settings") == record["settings"]:
            kept = {run["seed"]: run for run in old["runs"]}
    kept |= {run["seed"]: run for run in runs}
    record["runs"] = [kept[seed] for seed in sorted(kept)]
    record["device"], record["versions"] = record["runs"][0]["device"], record["runs"][0]["versions"]
    write_json(path, record)
    return path
