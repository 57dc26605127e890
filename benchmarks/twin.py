"""What fine-tuning buys, in small: a ViT and a ResNet of equal size, from eight classes of CIFAR-10 to cats against dogs.

    python benchmarks/twin.py pretrain vit         # weights in runs/twin, a quarter of an hour on one core
    python benchmarks/twin.py pretrain resnet
    python benchmarks/twin.py tune vit             # half an hour; both write data/results/twin.json
    python benchmarks/twin.py tune resnet
    python benchmarks/twin.py tune vit lora        # one way of them

On the CIFAR-10 (JPEG copy). Both models are trained on the images of the eight classes that are neither cat nor dog,
with one recipe. Then each learns cats against dogs, from several numbers of examples, in several ways. Each way, size
and model gets the same number of images in all. The learning rate is chosen by the validation split (seed 0), from the
same rates for both models: three, and as long as the best of them is at an edge, the next one beyond it. Then come two
more seeds at the chosen rate. A seed draws other examples, and orders and augments them in another way. The test
split is looked at once for each of these three runs, and the answers are kept image by image.
"""

import json
import sys
import time
from dataclasses import replace
from pathlib import Path

import torch
from filelock import FileLock

from course_lib.data import Augment, load_data
from course_lib.files.places import RESULTS
from course_lib.finetune import cache_features, get_head, head_alone
from course_lib.lora import merge_lora
from course_lib.metrics import predict, score
from course_lib.recipes import FineTuning, Recipe, find_recipe, run_recipe
from course_lib.records import versions, write_json
from course_lib.train import TrainConfig, count_parameters, describe, fit, set_seed
from course_lib.train.device import keep_memory

EIGHT = "cifar10_jpeg:airplane,automobile,bird,deer,frog,horse,ship,truck"
TWO = "cifar10_jpeg:cat,dog"
MODELS = {  # two of equal size, from chapter 08
    "vit": replace(find_recipe("cifar10_ladder_ema").model, num_classes=8),
    "resnet": replace(find_recipe("cifar10_resnet").model, num_classes=8),
}
PRETRAIN = TrainConfig(epochs=12, batch_size=64, lr=2e-3, ema=0.998, augment=Augment(crop=4, flip=True))
WAYS = {"vit": ("scratch", "head", "attention", "lora", "all"), "resnet": ("scratch", "head", "all")}
SIZES = (100, 1000, 4000)  # examples
LENGTH, EPOCHS = 4000, 4  # what is trained on has so many images: the examples, over and over; 16,000 images in all
RATES = {  # the middle three are tried first
    "scratch": (1.25e-4, 2.5e-4, 5e-4, 1e-3, 2e-3, 4e-3, 8e-3, 1.6e-2, 3.2e-2),
    "head": (3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 1e-1, 3e-1, 1.0, 3.0),
    "attention": (3e-5, 1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 1e-1, 3e-1),
    "lora": (1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 1e-1, 3e-1, 1.0),
    "all": (1e-5, 3e-5, 1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 1e-1),
}
SEEDS = (0, 1, 2)
OUT = RESULTS[0] / "twin.json"


def weights(kind):
    return Path("runs") / "twin" / kind / "model.safetensors"


def pretrain(kind):
    """Train on the eight classes."""
    recipe = Recipe(f"twin_{kind}", "eight classes", EIGHT, MODELS[kind], PRETRAIN, "", "", "")
    _, record = run_recipe(recipe, weights(kind).parent, quiet=True)
    print(
        kind,
        f"{record['parameters']:,} parameters, {record['val_accuracy']:.2%} of the eight classes' validation split",
    )


def body(kind):
    """What the trained body reached on the eight classes."""
    (run,) = json.loads((weights(kind).parent / "record.json").read_text(encoding="utf-8"))["runs"]
    return {name: run[name] for name in ("parameters", "val_accuracy", "test_accuracy", "cpu_seconds")}


def examples(data, count, seed):
    """`count` images, as many of each class, drawn by the seed, and repeated until there are LENGTH."""
    set_seed("twin", seed)
    rows = [(data.labels == label).nonzero()[:, 0] for label in range(len(data.classes))]
    drawn = torch.cat([row[torch.randperm(len(row))[: count // len(rows)]] for row in rows])
    return data.take(drawn.repeat(LENGTH // count))


def tuned(kind, way, count, rate, seed, data, val):
    """A fine-tuned model, with its history, how many parameters were trained, and the seconds that it took."""
    few = {"epochs": EPOCHS, "batch_size": 40, "warmup_epochs": EPOCHS / 10, "ema": 0.0}  # too few steps to average
    config = replace(PRETRAIN, lr=rate, seed=seed, **few)
    recipe = FineTuning(
        name="twin",
        what="cats against dogs",
        data=TWO,
        model=replace(MODELS[kind], num_classes=2),
        train=config,
        cost="",
        expect="",
        source="",
        weights=None if way == "scratch" else str(weights(kind)),
        trained="all" if way == "scratch" else way,
    )
    begin, model = time.process_time(), recipe.build()
    trained, train = count_parameters(model), examples(data, count, seed)
    if way == "head":
        plain = replace(config, augment=Augment())
        history = fit(head_alone(model), cache_features(model, train), cache_features(model, val), plain, quiet=True)
    else:
        history = fit(model, train, val, config, quiet=True)
    model = merge_lora(model)
    return model, history, trained, time.process_time() - begin


def judged(model, test):
    """The scores on the test split, and image by image whether the answer is right: "right", "1" or "0" each."""
    answers = predict(model, test)
    right = answers.argmax(dim=1) == test.labels
    return score(answers, test.labels) | {"right": "".join(str(int(hit)) for hit in right)}


def search(rates, run):
    """{rate: what `run` makes of it}: the middle three, and beyond an edge as long as the best is there.

    `run` returns a tuple whose second is a history; the best has the largest last `val_accuracy`.
    """
    low, high, trials = 3, 5, {}
    while True:
        trials |= {rate: run(rate) for rate in rates[low : high + 1] if rate not in trials}
        best = rates.index(max(trials, key=lambda rate: trials[rate][1][-1]["val_accuracy"]))
        if low < best < high or not 0 < best < len(rates) - 1:
            return trials
        low, high = min(low, best - 1), max(high, best + 1)


def tune(kind, *ways):
    """Every way (or some) and size: the best rate by validation, then three seeds."""
    torch.set_num_threads(1)
    data, val, test = (load_data(TWO, split) for split in ("train", "val", "test"))
    for way in ways or WAYS[kind]:
        for count in SIZES:
            trials = search(RATES[way], lambda rate, way=way, count=count: tuned(kind, way, count, rate, 0, data, val))
            reached = {rate: history[-1]["val_accuracy"] for rate, (_, history, *_) in trials.items()}
            best = max(reached, key=reached.get)
            cell = {"model": kind, "way": way, "examples": count, "rate": best, "times_seen": EPOCHS * LENGTH // count}
            cell["validation_of_rates"] = {f"{rate:g}": accuracy for rate, accuracy in reached.items()}
            cell["runs"] = []
            for seed in SEEDS:
                found = trials[best] if seed == 0 else tuned(kind, way, count, best, seed, data, val)
                model, history, trained, seconds = found
                scores = judged(model, test)
                curve = [
                    {name: row[name] for name in ("epoch", "train_loss", "val_loss", "val_accuracy")} for row in history
                ]
                run = {"seed": seed, "val_accuracy": curve[-1]["val_accuracy"], "cpu_seconds": seconds, "curve": curve}
                cell["runs"].append(run | scores)
            cell["trained_parameters"] = trained
            cell["parameters"] = sum(parameter.numel() for parameter in model.parameters())
            add(cell)
            print(kind, way, count, best, [round(run["accuracy"], 3) for run in cell["runs"]], flush=True)
    add(untrained_heads(kind, test))


def untrained_heads(kind, test):
    """Trained body, random head: what some reports call zero-shot."""
    runs = []
    for seed in SEEDS:
        recipe = FineTuning(
            "twin", "", TWO, replace(MODELS[kind], num_classes=2), PRETRAIN, "", "", "", weights=str(weights(kind))
        )
        model = recipe.build()
        set_seed("untrained head", seed)
        torch.nn.init.normal_(get_head(model)[1].weight, std=0.02)
        runs.append({"seed": seed} | judged(model, test))
    return {"model": kind, "way": "untrained head", "examples": 0, "runs": runs}


def add(cell):
    """Put a cell into the record, in place of an older one."""
    with FileLock(weights("vit").parent.parent / "record.lock"):  # both models may be tuned at the same time
        _add(cell)


def _add(cell):
    record = {
        "what": "a ViT and a ResNet of equal size, trained on eight classes of CIFAR-10 (JPEG copy), then tuned on cats and dogs",
        "device": describe(torch.device("cpu")),
        "versions": versions(),
        "bodies": {kind: body(kind) for kind in MODELS if weights(kind).is_file()},
        "cells": [],
    }
    if OUT.is_file():
        record["cells"] = json.loads(OUT.read_text(encoding="utf-8"))["cells"]
    where = ("model", "way", "examples")
    others = [old for old in record["cells"] if [old[k] for k in where] != [cell[k] for k in where]]
    record["cells"] = sorted([*others, cell], key=lambda c: [c[k] for k in where])
    write_json(OUT, record)


if __name__ == "__main__":
    keep_memory()
    {"pretrain": pretrain, "tune": tune}[sys.argv[1]](*sys.argv[2:])
