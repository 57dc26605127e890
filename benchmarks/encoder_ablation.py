"""Train small encoders to sort numbers: with one part taken away, and with the norm before or after.

    python benchmarks/encoder_ablation.py          # writes data/results/encoder_ablation.json and norm_placement.json

The task, the model and the training are chapter 03's own, which draws both records: ten numbers below 16 go
in, the same ten come out in order. Accuracy is the share of places that hold the right number, on 1000 new
sequences. Where the norm is moved, the first 20 steps are run a second time, to see how much then still tells the
tokens apart after the last block. float32, two processes with one thread each, about 25 minutes.
"""

import platform
from concurrent.futures import ProcessPoolExecutor
from itertools import product
from multiprocessing import get_context
from pathlib import Path

import torch
from chapter import definitions

from course_lib.records import write_json
from course_lib.vit import EncoderBlock

NAMES = ("NUMBERS", "LENGTH", "WIDTH", "HEADS", "Sorter", "PostNormBlock", "PartialBlock", "share_left")
chapter = definitions("03_encoder", *NAMES, "sorter_without", "sorting_loss", "train", "accuracy")
OUT = Path(__file__).parent.parent / "data" / "results"

PARTS = ("nothing", "positions", "attention", "MLP", "residual", "norm")
DEPTHS, SEEDS, ABLATION_STEPS, ABLATION_LR = (2, 8, 24), (0, 1, 2), 600, 3e-3
MLPS_ALONE = (8, 16)  # as many as 8 whole blocks have, and as many as these have layers
PLACEMENTS, WARMUPS = ("pre", "post"), (0, 100)
SEEDS_AT = {1e-3: SEEDS, 3e-3: tuple(range(9))}  # learning rate: seeds; at the larger one runs differ more
PLACEMENT_DEPTH, PLACEMENT_STEPS, EARLY = 24, 300, 20


def ablation(job):
    without, depth, seed = job
    torch.set_num_threads(1)
    torch.manual_seed(seed)
    model = chapter.sorter_without(without, depth)
    chapter.train(model, ABLATION_STEPS, ABLATION_LR)
    return {"accuracy": round(chapter.accuracy(model), 4)}


def after(steps, job):
    """A sorter with its norms before or after, and `steps` steps of training."""
    where, rate, warmup, seed = job
    torch.manual_seed(seed)
    block = EncoderBlock if where == "pre" else chapter.PostNormBlock
    blocks = [block(chapter.WIDTH, chapter.HEADS) for _ in range(PLACEMENT_DEPTH)]
    model = chapter.Sorter(blocks, last_norm=where == "pre")
    chapter.train(model, steps, rate, decay=False, warmup=warmup)
    return model


def placement(job):
    """Accuracy at the end, and what tells the tokens apart after the last block early on."""
    torch.set_num_threads(1)
    accuracy = round(chapter.accuracy(after(PLACEMENT_STEPS, job)), 4)
    early = after(EARLY, job)
    with torch.no_grad():
        share = chapter.share_left(early.encode(torch.randint(chapter.NUMBERS, (1000, chapter.LENGTH))))
    return {"accuracy": accuracy, "early_share_left": float(f"{share:.2g}")}


def run_all(function, jobs):
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        results = []
        for job, result in zip(jobs, pool.map(function, jobs), strict=True):
            print(*job, *result.values(), flush=True)
            results.append((job, result))
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
        "runs": [dict(zip(names, job, strict=True)) | result for job, result in results],
        "device": f"CPU, {platform.machine()}",
        "versions": {"python": platform.python_version(), "torch": torch.__version__},
    }
    write_json(OUT / f"{name}.json", record)


def record_ablation():
    write(
        "encoder_ablation",
        "share of places right after training an encoder to sort, with one part taken away",
        {"steps": ABLATION_STEPS, "learning_rate": ABLATION_LR, "schedule": "linear to 0"},
        ("without", "depth", "seed"),
        run_all(ablation, [*product(PARTS, DEPTHS, SEEDS), *product(["residual and attention"], MLPS_ALONE, SEEDS)]),
    )


def record_placement():
    settings = product(PLACEMENTS, SEEDS_AT, WARMUPS)
    jobs = [(where, rate, warmup, seed) for where, rate, warmup in settings for seed in SEEDS_AT[rate]]
    write(
        "norm_placement",
        "share of places right after training a deep encoder to sort, norm before (pre) or after (post)",
        {
            "depth": PLACEMENT_DEPTH,
            "steps": PLACEMENT_STEPS,
            "schedule": "warm-up over `warmup` steps, then constant",
            "early_share_left": f"what tells the tokens apart after the last block, after {EARLY} steps",
        },
        ("norm", "learning_rate", "warmup", "seed"),
        run_all(placement, jobs),
    )


if __name__ == "__main__":
    record_ablation()
    record_placement()
