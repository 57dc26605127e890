"""Train small encoders to sort numbers: with one part taken away, and with the norm before or after.

    python benchmarks/encoder_ablation.py          # writes data/results/encoder_ablation.json and norm_placement.json

The task, the model and the training are chapter 03's own, which draws both records: ten numbers below 16 go
in, the same ten come out in order. Accuracy is the share of places that hold the right number, on 1000 new
sequences. float32, two processes with one thread each, about 20 minutes.
"""

import json
import platform
from concurrent.futures import ProcessPoolExecutor
from itertools import product
from multiprocessing import get_context
from pathlib import Path

import torch
from chapter import definitions

from course_lib.vit import EncoderBlock

NAMES = ("NUMBERS", "LENGTH", "WIDTH", "HEADS", "Sorter", "PostNormBlock", "PartialBlock")
chapter = definitions("03_encoder", *NAMES, "sorter_without", "train", "accuracy")
SEEDS = (0, 1, 2)
OUT = Path(__file__).parent.parent / "data" / "results"

PARTS = ("nothing", "positions", "attention", "MLP", "residual", "norm")
DEPTHS, ABLATION_STEPS, ABLATION_LR = (2, 8, 24), 600, 3e-3
PLACEMENTS, WARMUPS, RATES = ("pre", "post"), (0, 100), (1e-3, 3e-3)
PLACEMENT_DEPTH, PLACEMENT_STEPS = 24, 300


def ablation(job):
    without, depth, seed = job
    torch.set_num_threads(1)
    torch.manual_seed(seed)
    model = chapter.sorter_without(without, depth)
    chapter.train(model, ABLATION_STEPS, ABLATION_LR)
    return round(chapter.accuracy(model), 4)


def placement(job):
    where, rate, warmup, seed = job
    torch.set_num_threads(1)
    torch.manual_seed(seed)
    block = EncoderBlock if where == "pre" else chapter.PostNormBlock
    blocks = [block(chapter.WIDTH, chapter.HEADS) for _ in range(PLACEMENT_DEPTH)]
    model = chapter.Sorter(blocks, last_norm=where == "pre")
    chapter.train(model, PLACEMENT_STEPS, rate, decay=False, warmup=warmup)
    return round(chapter.accuracy(model), 4)


def run_all(function, jobs):
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        results = []
        for job, result in zip(jobs, pool.map(function, jobs), strict=True):
            print(*job, result, flush=True)
            results.append({"job": job, "accuracy": result})
    return results


def write(name, what, configuration, names, results):
    record = {
        "what": what,
        "configuration": {
            "numbers": chapter.NUMBERS,
            "length": chapter.LENGTH,
            "width": chapter.WIDTH,
            "heads": chapter.HEADS,
            "batch": 64,
            "optimizer": "Adam",
            **configuration,
        },
        "seeds": SEEDS,
        "runs": [{**dict(zip(names, r["job"], strict=True)), "accuracy": r["accuracy"]} for r in results],
        "device": f"CPU, {platform.machine()}",
        "versions": {"python": platform.python_version(), "torch": torch.__version__},
    }
    (OUT / f"{name}.json").write_text(json.dumps(record, indent=1) + "\n")


def record_ablation():
    write(
        "encoder_ablation",
        "share of places right after training an encoder to sort, with one part taken away",
        {"steps": ABLATION_STEPS, "learning_rate": ABLATION_LR, "schedule": "linear to 0"},
        ("without", "depth", "seed"),
        run_all(ablation, list(product(PARTS, DEPTHS, SEEDS))),
    )


def record_placement():
    write(
        "norm_placement",
        "share of places right after training a deep encoder to sort, norm before (pre) or after (post)",
        {"depth": PLACEMENT_DEPTH, "steps": PLACEMENT_STEPS, "schedule": "warm-up over `warmup` steps, then constant"},
        ("norm", "learning_rate", "warmup", "seed"),
        run_all(placement, list(product(PLACEMENTS, RATES, WARMUPS, SEEDS))),
    )


if __name__ == "__main__":
    record_ablation()
    record_placement()
