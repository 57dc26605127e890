"""Cats against dogs from a published body: a ViT-S/14 of DINOv2's make, on a CPU, beside the same body from random numbers.

    python benchmarks/published_body.py features FILE         # which image size? a quarter of an hour on one core
    python benchmarks/published_body.py tune FILE head        # or attention, lora, all, one_rate, scratch: half an hour each
    python benchmarks/published_body.py tune FILE             # all of them; a run that is done is not made again

FILE is the body's model.safetensors (see chapter 06 for what it is). All writes data/results/published_body.json. On
the CIFAR-10 (JPEG copy), its 32 pixels enlarged. The protocol is that of benchmarks/twin.py: 4,000 examples, the same
number of images for each way but the head, rates chosen by the validation split (seed 0), then two more seeds at the
chosen rate, and one look at the test split for each of the three. The answers are kept image by image, so that two ways
can be compared on the same images. The head reads the class token beside the mean patch, as DINOv2's authors do.
"""

import json
import sys
import time
from dataclasses import replace
from functools import cache
from pathlib import Path

import torch
from filelock import FileLock
from safetensors.torch import load_file, save
from torch import Tensor, nn

from course_lib.data import Augment, ImageSet, load_data
from course_lib.files.atomic import write_atomically
from course_lib.files.places import RESULTS
from course_lib.finetune import cache_features, head_alone, layerwise_lr, set_trainable
from course_lib.lora import add_lora, merge_lora
from course_lib.metrics import predict
from course_lib.records import versions, write_json
from course_lib.train import TrainConfig, count_parameters, describe, fit, set_seed
from course_lib.train.device import keep_memory
from course_lib.vit import VIT_CONFIGS, VisionTransformer
from course_lib.weights import load_pretrained

TWO = "cifar10_jpeg:cat,dog"
SIZES = (56, 84, 112, 140, 168)  # pixels, whole patches of 14: what the head alone reaches at each
SIZE = 112  # at which the ways are compared: the next larger one makes each run half as long again
EXAMPLES = 4000
SEEDS = (0, 1, 2)
HEAD = TrainConfig(epochs=20, batch_size=100, weight_decay=0.05, augment=Augment(), precision="float32", device="cpu")
BODY = TrainConfig(
    epochs=3, batch_size=40, warmup_epochs=0.3, weight_decay=0.05, augment=Augment(crop=4, flip=True), device="cpu"
)
RATES = {
    "head": (3e-4, 1e-3, 3e-3, 1e-2, 3e-2),
    "all": (3e-5, 1e-4, 3e-4),
    "one_rate": (1e-5, 3e-5, 1e-4),  # everything, without layer-wise decay
    "scratch": (3e-4, 1e-3),
    "attention": (1e-4, 3e-4, 1e-3),
    "lora": (3e-4, 1e-3, 3e-3),
}
DECAY = 0.75  # of the learning rate from layer to layer, where all is trained
OUT = RESULTS[0] / "published_body.json"
KEPT = Path("runs") / "published_body"


class TwoViews(VisionTransformer):
    """A `VisionTransformer` whose head reads the class token beside the mean patch: (B, N, D) -> (B, 2D) -> (B, K)."""

    def forward_head(self, tokens: Tensor) -> Tensor:
        return self.head(torch.cat([tokens[:, 0], tokens[:, self.num_prefix_tokens :].mean(dim=1)], dim=1))


def body(file: str | None, size: int) -> TwoViews:
    """The body with its weights, or with random ones, and a head of zeros for two classes."""
    model = TwoViews(replace(VIT_CONFIGS["vit_small_patch14_dinov2"], img_size=size, num_classes=0))
    if file:
        load_pretrained(model, file)
    model.head = nn.Linear(2 * model.config.embed_dim, 2)
    nn.init.zeros_(model.head.weight), nn.init.zeros_(model.head.bias)
    return model


def pictures(split: str, size: int) -> ImageSet:
    """Cats and dogs, enlarged batch by batch, normalised as the body wants it."""
    from course_lib.data.image_set import IMAGENET_MEAN, IMAGENET_STD

    return replace(load_data(TWO, split), input_size=size, mean=IMAGENET_MEAN, std=IMAGENET_STD)


def examples(seed: int, size: int) -> ImageSet:
    """As many of each class, drawn by the seed, as in benchmarks/twin.py."""
    data = pictures("train", size)
    set_seed("twin", seed)
    rows = [(data.labels == label).nonzero()[:, 0] for label in range(2)]
    return data.take(torch.cat([row[torch.randperm(len(row))[: EXAMPLES // 2]] for row in rows]))


@cache
def kept_features(file: str, split: str, seed: int, size: int) -> ImageSet:
    """What the head is given by the published body for the images of a split, or for the examples of a seed."""
    return cache_features(body(file, size), examples(seed, size) if split == "train" else pictures(split, size))


@cache
def best_head(file: str, seed: int, size: int) -> tuple[dict[str, Tensor], dict[float, float], list[dict]]:
    """(the head, {rate: accuracy on validation}, its history) of the best head on the frozen body."""
    train, val = kept_features(file, "train", seed, size), kept_features(file, "val", 0, size)
    trials = {}
    for rate in RATES["head"]:
        model = body(None, size)
        history = fit(head_alone(model), train, val, replace(HEAD, lr=rate, seed=seed), quiet=True)
        trials[rate] = model.head.state_dict(), history
    reached = {rate: history[-1]["val_accuracy"] for rate, (_, history) in trials.items()}
    best = max(reached, key=reached.get)
    return trials[best][0], reached, trials[best][1]


def features(file: str) -> None:
    """Which size: what the head reaches on validation at each."""
    found = {}
    for size in SIZES:
        begin = time.process_time()
        _, reached, _ = best_head(file, 0, size)
        found[str(size)] = {"val_accuracy": max(reached.values()), "cpu_seconds": time.process_time() - begin}
        print(size, found[str(size)], flush=True)
    add({"sizes": found})


def tuned(file: str, way: str, rate: float, seed: int) -> tuple[VisionTransformer, dict]:
    """A tuned model, and the facts of its run. What is done is kept in runs/published_body, and read from there."""
    facts, weights = (KEPT / f"{way}-{rate:g}-{seed}.{kind}" for kind in ("json", "safetensors"))
    if not facts.is_file():
        model, found = newly_tuned(file, way, rate, seed)
        KEPT.mkdir(parents=True, exist_ok=True)
        write_atomically(weights, save(model.state_dict()))
        write_json(facts, found)
    model = body(None, SIZE)
    model.load_state_dict(load_file(weights))
    return model, json.loads(facts.read_text(encoding="utf-8"))


def newly_tuned(file: str, way: str, rate: float, seed: int) -> tuple[VisionTransformer, dict]:
    """The same, trained now. The head is trained first, on the features of the frozen body."""
    begin, val, train = time.process_time(), pictures("val", SIZE), examples(seed, SIZE)
    set_seed("published body", seed)
    model = body(None if way == "scratch" else file, SIZE)
    facts: dict = {"seed": seed}
    if way != "scratch":
        head, reached, history = best_head(file, seed, SIZE)
        model.head.load_state_dict(head)
        facts["head_first"] = {"rates": {f"{r:g}": a for r, a in reached.items()}}
        if way == "lora":
            add_lora(model, 8, alpha=16)
    set_trainable(model, "all" if way in ("scratch", "one_rate") else way)
    facts["trained_parameters"] = count_parameters(model)
    if way != "head":
        rates = layerwise_lr(model, DECAY) if way == "all" else None
        history = fit(model, train, val, replace(BODY, lr=rate, seed=seed), rates=rates, quiet=True)
    model = merge_lora(model)
    names = ("epoch", "train_loss", "train_accuracy", "val_loss", "val_accuracy")
    facts["curve"] = [{name: row[name] for name in names if name in row} for row in history]
    facts |= {"val_accuracy": history[-1]["val_accuracy"], "cpu_seconds": time.process_time() - begin}
    return model, facts


def tune(file: str, *ways: str) -> None:
    """The best rate by validation, then three seeds, and the answers on the test split."""
    torch.set_num_threads(1)
    test = pictures("test", SIZE)
    for way in [way for way in ways or RATES if way not in record().get("cells", {})]:
        rates = RATES[way] if way != "head" else (0.0,)  # the head chooses its rate by itself
        trials = {rate: tuned(file, way, rate, 0) for rate in rates}
        reached = {rate: facts["val_accuracy"] for rate, (_, facts) in trials.items()}
        best = max(reached, key=reached.get)
        found = [trials[best], *(tuned(file, way, best, seed) for seed in SEEDS[1:])]
        cell = {
            "way": way,
            "size": SIZE,
            "rate": best,
            "validation_of_rates": {f"{rate:g}": accuracy for rate, accuracy in reached.items()},
            "cpu_seconds": sum(facts["cpu_seconds"] for _, facts in [*trials.values(), *found[1:]]),
            "runs": [],
        }
        for model, facts in found:
            right = predict(model, test).argmax(dim=1) == test.labels
            answers = {"accuracy": right.double().mean().item(), "right": "".join(str(int(hit)) for hit in right)}
            cell["runs"].append(facts | answers)
        add({"cells": {way: cell}})
        print(way, best, cell["validation_of_rates"], [run["accuracy"] for run in cell["runs"]], flush=True)


def record() -> dict:
    return json.loads(OUT.read_text(encoding="utf-8")) if OUT.is_file() else {}


def add(part: dict) -> None:
    """Put a part into the record; other processes may be adding theirs."""
    KEPT.mkdir(parents=True, exist_ok=True)
    with FileLock(KEPT / "record.lock"):
        old = record()
        new = {
            "what": "cats against dogs of CIFAR-10 (JPEG copy), from a published ViT-S/14 body and from random numbers",
            "device": describe(torch.device("cpu")),
            "versions": versions(),
            "sizes": old.get("sizes", {}) | part.get("sizes", {}),
            "cells": old.get("cells", {}) | part.get("cells", {}),
        }
        write_json(OUT, new)


if __name__ == "__main__":
    keep_memory()
    {"features": features, "tune": tune}[sys.argv[1]](str(Path(sys.argv[2])), *sys.argv[3:])
