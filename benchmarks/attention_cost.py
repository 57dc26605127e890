"""Time one forward pass of self-attention, recurrence and convolution against the sequence length.

    python benchmarks/attention_cost.py            # writes data/results/attention_cost.json

Each layer maps (1, N, D) to (1, N, D) with D = 64: explicit attention with its four projections, a GRU, a
convolution of width 3. One thread, float32, median of several runs. Chapter 01 draws the record.
"""

import json
import platform
import statistics
import time
from pathlib import Path

import torch
from torch import nn

from course_lib.attention import MultiHeadSelfAttention
from course_lib.interpret import record_attention

DIM, WIDTH = 64, 3
LENGTHS = (64, 128, 256, 512, 1024, 2048, 4096)
REPEATS = 9
OUT = Path(__file__).parent.parent / "data" / "results" / "attention_cost.json"


def layers():
    attention = MultiHeadSelfAttention(DIM, num_heads=1)
    recurrence = nn.GRU(DIM, DIM, batch_first=True)
    convolution = nn.Conv1d(DIM, DIM, WIDTH, padding="same")

    def explicit(x):
        with record_attention(attention):
            return attention(x)

    return {
        "attention": explicit,
        "attention_fused": attention,
        "recurrence": recurrence,
        "convolution": lambda x: convolution(x.transpose(1, 2)),
    }


def milliseconds(layer, x):
    times = []
    for _ in range(REPEATS + 1):  # the first warms up
        start = time.perf_counter()
        layer(x)
        times.append(1000 * (time.perf_counter() - start))
    return round(statistics.median(times[1:]), 4)


@torch.no_grad()
def main():
    torch.set_num_threads(1)
    torch.manual_seed(0)
    timed = {
        name: [milliseconds(layer, torch.randn(1, length, DIM)) for length in LENGTHS]
        for name, layer in layers().items()
    }
    record = {
        "what": "median wall time in milliseconds of one forward pass, batch 1, one thread, float32",
        "dim": DIM,
        "kernel_width": WIDTH,
        "lengths": LENGTHS,
        "milliseconds": timed,
        "repeats": REPEATS,
        "seed": 0,
        "device": f"CPU, {platform.machine()}",
        "versions": {"python": platform.python_version(), "torch": torch.__version__},
    }
    OUT.write_text(json.dumps(record, indent=1) + "\n")
    for name, values in timed.items():
        print(f"{name:16}", *(f"{value:9.3f}" for value in values))


if __name__ == "__main__":
    main()
