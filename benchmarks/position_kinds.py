"""Train small ViTs to say whether a ring is right of a cross, with each kind of position embedding, and with none.

    python benchmarks/position_kinds.py          # writes data/results/position_kinds.json

The images, the model and the training are chapter 05's own, which draws the record. Accuracy is the share of right
answers on the third of the images that was not trained on (60 of 180), and on the rest. After a comma stands what is
changed: ", std 1" starts the learned numbers fifty times larger, at standard deviation 1, ", below" asks whether the
ring is below the cross. float32, two processes with one thread each, about 20 minutes.
"""

import json
import platform
from concurrent.futures import ProcessPoolExecutor
from itertools import product
from multiprocessing import get_context
from pathlib import Path

import torch
from chapter import definitions
from torch.optim.optimizer import register_optimizer_step_post_hook

NAMES = ("PATCH", "GRID", "CROSS", "RING", "cross_and_ring", "split", "build", "teach", "share_right")
chapter = definitions("05_positions", *NAMES)
KINDS = ("none", "learn", "learn, std 1", "sincos1d", "sincos2d", "relative", "relative, std 1", "sincos1d, below")
SEEDS, STEPS, EVERY = tuple(range(20)), 1000, 50
OUT = Path(__file__).parent.parent / "data" / "results" / "position_kinds.json"


class Enough(Exception):
    """As many steps as were asked for."""


def curves(kind, seed, stop=STEPS):
    """Accuracy on images to learn from and to be asked about, every 50 steps up to `stop`: {"learn": [...], "ask": [...]}."""
    torch.set_num_threads(1)
    kind, _, change = kind.partition(", ")
    images, answers = chapter.cross_and_ring(axis=0 if change == "below" else 1)
    parts = dict(zip(("learn", "ask"), chapter.split(answers, seed), strict=True))
    torch.manual_seed(seed)
    model = chapter.build(kind)
    if change == "std 1":
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                if name.endswith(("pos_embed", "relative_position_bias_table")):
                    parameter.mul_(50)
    result = {name: [] for name in parts}
    step = 0

    def look(*_):
        nonlocal step
        step += 1
        if step % EVERY == 0:
            for name, some in parts.items():
                result[name].append(round(chapter.share_right(model, images[some], answers[some]), 4))
        if step == stop:
            raise Enough

    hook = register_optimizer_step_post_hook(look)
    try:
        chapter.teach(model, images[parts["learn"]], answers[parts["learn"]], STEPS)
    except Enough:
        pass
    finally:
        hook.remove()
    return result


def record_curves():
    jobs = list(product(KINDS, SEEDS))
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        runs = []
        for (kind, seed), result in zip(jobs, pool.map(curves, *zip(*jobs, strict=True)), strict=True):
            print(kind, seed, result["ask"], flush=True)
            runs.append({"kind": kind, "seed": seed, **result})
    write(runs)


def write(runs):
    record = {
        "what": "share of right answers to 'is the ring right of the cross' ('below' where the kind says so), by kind of position embedding, while training",
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
