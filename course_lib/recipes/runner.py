"""All recipes by name, and how one is run: what came out is kept, with everything that one must know to trust it.

`course train NAME` runs one, `course runs` lists them. Chapters 07 to 10.
"""

import json
from pathlib import Path
from typing import Any

from torch import nn

from course_lib.data.image_set import ImageSet
from course_lib.files import places
from course_lib.files.atomic import write_atomically
from course_lib.metrics import predict, score
from course_lib.recipes.finetuning import FINE_TUNING
from course_lib.recipes.recipe import Recipe
from course_lib.recipes.scratch import FROM_SCRATCH
from course_lib.records import code_digest, commit, versions, write_json
from course_lib.train import distributed
from course_lib.train.device import count_parameters, describe, peak_memory
from course_lib.train.loop import evaluate_set, fit
from course_lib.vit import VisionTransformer
from course_lib.weights.load import save_weights
from course_lib.weights.preprocessing import Preprocessing

RECIPES: dict[str, Recipe] = {recipe.name: recipe for recipe in (*FROM_SCRATCH, *FINE_TUNING)}


def find_recipe(name: str) -> Recipe:
    """The recipe of that name.

    Raises:
        ValueError: there is none; the message lists those there are.
    """
    if name not in RECIPES:
        raise ValueError(f"no recipe {name!r}; there are {', '.join(RECIPES)}.")
    return RECIPES[name]


def run_recipe(recipe: Recipe, folder: str | Path, **options: Any) -> tuple[nn.Module, dict[str, Any]]:
    """Train by a recipe in `folder`, look once at the test split, and return what is recorded of it.

    Args:
        recipe: a `Recipe`.
        folder: where the run is saved, and the finished model (`model.safetensors`, `record.json`).
        options: of `course_lib.train.fit`.

    Returns:
        (model, record): the record of this one run.

    Raises:
        ValueError: the data has one class only, or not as many as the model has outputs.
    """
    train, val = recipe.load("train"), recipe.load("val")
    check_classes(train, recipe.model.num_classes)
    test = recipe.load("test")  # loaded now, so that a missing file does not cost a finished run
    model = recipe.build()
    history = fit(model, train, val, recipe.train, rates=recipe.rates(model), folder=folder, **options)
    trained = count_parameters(model)
    recipe.finish(model)
    device = next(model.parameters()).device
    val_loss, val_accuracy = evaluate_set(model, val.to(device))
    scores = score(predict(model, test), test.labels)
    record = {
        "seed": recipe.train.seed,
        "val_accuracy": val_accuracy,
        "val_loss": val_loss,
        "test_accuracy": scores.pop("accuracy"),
        "test_loss": scores.pop("loss"),
        "test_scores": scores,
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "trained_parameters": trained,
        "seconds": history[-1]["seconds"],
        "cpu_seconds": history[-1]["cpu_seconds"],
        "peak_memory_mb": peak_memory(device),
        "device": describe(device),
        "versions": versions(),
        "commit": commit(),
        "code": code_digest(),
        "curve": history,
    }
    if distributed.is_main():
        save_model(model, test, Path(folder) / "model.safetensors")
        write_json(Path(folder) / "record.json", about(recipe) | {"runs": [record]})
    return model, record


def check_classes(data: ImageSet, outputs: int) -> None:
    """Raise a `ValueError` unless the data has at least two classes, and one for each output."""
    count, some = len(data.classes), ", ".join(data.classes[:5])
    if count < 2:
        raise ValueError(f"{data.name} has one class only, {some}: a classifier needs at least two to tell apart.")
    if count != outputs:
        raise ValueError(
            f"{data.name} has {count} classes ({some}), the model {outputs} outputs: set model.num_classes={count}."
        )


def save_model(model: nn.Module, data: ImageSet, path: Path) -> None:
    """Write the weights as `.safetensors`; those of a ViT with its config and how it wants its images."""
    if isinstance(model, VisionTransformer):
        height, width = data.images.shape[-2:]
        size = (data.input_size or height, data.input_size or width)
        model.preprocessing = Preprocessing(data.mean, data.std, size, resize=size, interpolation="bilinear")
        save_weights(model, path)
    else:
        from safetensors.torch import save

        write_atomically(path, save({name: value.cpu() for name, value in model.state_dict().items()}))


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
    """
    path = (folder or places.RESULTS[0]) / f"{recipe.name}.json"
    record = about(recipe)
    kept = {}
    if path.is_file():
        old = json.loads(path.read_text(encoding="utf-8"))
        if old.get("settings") == record["settings"]:
            kept = {run["seed"]: run for run in old["runs"]}
    kept |= {run["seed"]: run for run in runs}
    record["runs"] = [kept[seed] for seed in sorted(kept)]
    record["device"], record["versions"] = record["runs"][0]["device"], record["runs"][0]["versions"]
    write_json(path, record)
    return path
