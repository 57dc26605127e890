"""Train small encoders to sort numbers: with one part taken away, and with the norm before or after.

    python benchmarks/encoder_ablation.py          # writes data/results/encoder_ablation.json and norm_placement.json

The task, the model and the training are those of chapter 03, which draws both records: ten numbers below 16 go
in, the same ten come out in order. Accuracy is the share of places that hold the right number, on 1000 new
sequences. float32, two processes with one thread each, about 25 minutes.
"""

import json
import platform
from concurrent.futures import ProcessPoolExecutor
from itertools import product
from multiprocessing import get_context
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn

from course_lib.vit import EncoderBlock

NUMBERS, LENGTH, WIDTH, HEADS, BATCH = 16, 10, 32, 4, 64
SEEDS = (0, 1, 2)
OUT = Path(__file__).parent.parent / "data" / "results"

PARTS = ("nothing", "positions", "attention", "MLP", "residual", "norm")
DEPTHS, ABLATION_STEPS, ABLATION_LR = (2, 8, 24), 600, 3e-3
PLACEMENTS, WARMUPS, RATES = ("pre", "post"), (0, 100), (1e-3, 3e-3)
PLACEMENT_DEPTH, PLACEMENT_STEPS = 24, 300


class PartialBlock(EncoderBlock):
    """A pre-norm block without one of its parts."""

    def __init__(self, dim, num_heads, without="nothing"):
        super().__init__(dim, num_heads)
        self.without = without
        if without == "norm":
            self.norm1, self.norm2 = nn.Identity(), nn.Identity()

    def forward(self, x):
        keep = 0.0 if self.without == "residual" else 1.0
        if self.without != "attention":
            x = keep * x + self.attn(self.norm1(x))
        if self.without != "MLP":
            x = keep * x + self.mlp(self.norm2(x))
        return x


class PostNormBlock(EncoderBlock):
    """The same parts, with each norm after the addition."""

    def forward(self, x):
        x = self.norm1(x + self.attn(x))
        return self.norm2(x + self.mlp(x))


class Sorter(nn.Module):
    """Numbers (B, 10) -> scores for each number at each place (B, 10, 16)."""

    def __init__(self, blocks, last_norm=True, positions=True):
        super().__init__()
        self.number = nn.Embedding(NUMBERS, WIDTH)
        self.position = nn.Parameter(torch.randn(LENGTH, WIDTH)) if positions else 0.0
        self.blocks = nn.Sequential(*blocks)
        self.norm = nn.LayerNorm(WIDTH, eps=1e-6) if last_norm else nn.Identity()
        self.readout = nn.Linear(WIDTH, NUMBERS)

    def forward(self, numbers):
        return self.readout(self.norm(self.blocks(self.number(numbers) + self.position)))


def train(model, steps, lr, warmup=0, decay=True):
    """Adam; the learning rate rises over `warmup` steps, then falls to 0 along a line if `decay`."""
    optimizer = torch.optim.Adam(model.parameters(), lr=lr)
    for step in range(steps):
        rise = min(1.0, (step + 1) / warmup) if warmup else 1.0
        optimizer.param_groups[0]["lr"] = lr * rise * (1 - step / steps if decay else 1.0)
        numbers = torch.randint(NUMBERS, (BATCH, LENGTH))
        loss = F.cross_entropy(model(numbers).flatten(0, 1), numbers.sort(dim=1).values.flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


@torch.no_grad()
def accuracy(model):
    numbers = torch.randint(NUMBERS, (1000, LENGTH))
    return round((model(numbers).argmax(-1) == numbers.sort(dim=1).values).float().mean().item(), 4)


def ablation(job):
    without, depth, seed = job
    torch.set_num_threads(1)
    torch.manual_seed(seed)
    blocks = [PartialBlock(WIDTH, HEADS, without) for _ in range(depth)]
    model = Sorter(blocks, last_norm=without != "norm", positions=without != "positions")
    train(model, ABLATION_STEPS, ABLATION_LR)
    return accuracy(model)


def placement(job):
    where, rate, warmup, seed = job
    torch.set_num_threads(1)
    torch.manual_seed(seed)
    block = EncoderBlock if where == "pre" else PostNormBlock
    model = Sorter([block(WIDTH, HEADS) for _ in range(PLACEMENT_DEPTH)], last_norm=where == "pre")
    train(model, PLACEMENT_STEPS, rate, warmup, decay=False)
    return accuracy(model)


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
            **{
                "numbers": NUMBERS,
                "length": LENGTH,
                "width": WIDTH,
                "heads": HEADS,
                "batch": BATCH,
                "optimizer": "Adam",
            },
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
