"""Run a recipe, and keep what came out: the weights, and a record with everything that one must know to trust it. Chapter 07."""

import json
from pathlib import Path

from course_lib.files import places
from course_lib.files.atomic import write_atomically
from course_lib.lora import merge_lora
from course_lib.metrics import predict, score
from course_lib.records import commit, describe, versions, write_json
from course_lib.train import distributed
from course_lib.train.device import count_parameters, peak_memory
from course_lib.train.loop import evaluate_set, fit
from course_lib.vit import VisionTransformer
from course_lib.weights.load import save_weights
from course_lib.weights.preprocessing import Preprocessing


def run_recipe(recipe, folder, **options):
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
    merge_lora(model)  # the weights that are kept are those of an ordinary model
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
        "curve": history,
    }
    if distributed.is_main():
        save_model(model, test, Path(folder) / "model.safetensors")
        write_json(Path(folder) / "record.json", about(recipe) | {"runs": [record]})
    return model, record


def check_classes(data, outputs):
    """Raise a `ValueError` unless the data has at least two classes, and one for each output."""
    count, some = len(data.classes), ", ".join(data.classes[:5])
    if count < 2:
        raise ValueError(f"{data.name} has one class only, {some}: a classifier needs at least two to tell apart.")
    if count != outputs:
        raise ValueError(
            f"{data.name} has {count} classes ({some}), the model {outputs} outputs: set model.num_classes={count}."
        )


def save_model(model, data, path):
    """Write the weights as `.safetensors`; those of a ViT with its config and how it wants its images."""
    if isinstance(model, VisionTransformer):
        size = (data.input_size, data.input_size) if data.input_size else tuple(data.images.shape[-2:])
        model.preprocessing = Preprocessing(data.mean, data.std, size, resize=size, interpolation="bilinear")
        save_weights(model, path)
    else:
        from safetensors.torch import save

        write_atomically(path, save({name: value.cpu() for name, value in model.state_dict().items()}))


def about(recipe):
    """The head of a record."""
    return {
        "what": recipe.what,
        "recipe": recipe.name,
        "source": recipe.source,
        "settings": recipe.settings(),
        "device": None,
        "versions": None,
    }


def add_to_record(recipe, runs, folder=None):
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
