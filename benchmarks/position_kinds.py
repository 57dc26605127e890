"""Train small ViTs to say whether a ring is right of a cross, with each kind of position embedding, and with none.

    python benchmarks/position_kinds.py          # writes data/results/position_kinds.json

The images, the model and the training are chapter 05's own, which draws the record. Accuracy is the share of right
answers on the 60 of the 180 images that were not trained on, and on the 120 that were. "learn, std 1" is the learned
table started fifty times larger than usual. float32, two processes with one thread each, about 10 minutes.
"""

import json
import platform
from concurrent.futures import ProcessPoolExecutor
from itertools import product
from multiprocessing import get_context
from pathlib import Path

import torch
from chapter import definitions

NAMES = ("PATCH", "GRID", "CROSS", "RING", "cross_and_ring", "split", "build", "teach", "share_right")
chapter = definitions("05_positions", *NAMES)
KINDS = ("none", "learn", "learn, std 1", "sincos1d", "sincos2d", "relative")
SEEDS, STEPS, EVERY = (0, 1, 2, 3, 4), 1000, 50
OUT = Path(__file__).parent.parent / "data" / "results" / "position_kinds.json"


def curves(kind, seed, stop=STEPS):
    """Accuracy on images to learn from and to be asked about, every 50 steps up to `stop`: {"learn": [...], "ask": [...]}."""
    torch.set_num_threads(1)
    images, answers = chapter.cross_and_ring()
    parts = dict(zip(("learn", "ask"), chapter.split(answers, seed), strict=True))
    torch.manual_seed(seed)
    model = chapter.build(kind.removesuffix(", std 1"))
    if kind == "learn, std 1":
        with torch.no_grad():
            model.pos_embed.mul_(50)
    result = {name: [] for name in parts}
    for step in chapter.teach(model, images[parts["learn"]], answers[parts["learn"]], STEPS, EVERY):
        for name, some in parts.items():
            result[name].append(round(chapter.share_right(model, images[some], answers[some]), 4))
        if step >= stop:
            break
    return result


def record_curves():
    jobs = list(product(KINDS, SEEDS))
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        runs = []
        for (kind, seed), result in zip(jobs, pool.map(curves, *zip(*jobs, strict=True)), strict=True):
            print(kind, seed, result["ask"], flush=True)
            runs.append({"kind": kind, "seed": seed, **result})
    record = {
        "what": "share of right answers to 'is the ring right of the cross', by kind of position embedding, while training",
        "configuration": {
            "grid": chapter.GRID,
            "patch": chapter.PATCH,
            "width": 32,
            "depth": 2,
            "heads": 4,
            "pool": "avg",
            "batch": 48,
            "optimizer": "AdamW",
            "learning_rate": 0.003,
            "schedule": "50 steps warm-up, linear to 0",
            "steps": STEPS,
            "every": EVERY,
        },
        "seeds": SEEDS,
        "runs": runs,
        "device": f"CPU, {platform.machine()}",
        "versions": {"python": platform.python_version(), "torch": torch.__version__},
    }
    OUT.write_text(json.dumps(record, indent=None, separators=(",", ":")).replace('{"kind"', '\n{"kind"') + "\n")


if __name__ == "__main__":
    record_curves()
