"""Train chapter 02's neighbours task with 1 to 32 heads of one width D = 32: accuracy by the number of heads.

    python benchmarks/number_of_heads.py           # writes data/results/number_of_heads.json

The model and the training are those of the chapter: symbols and learned positions, one multi-head
self-attention, one linear readout; 300 steps of 64 sequences. CPU, a few minutes. Chapter 02 draws the record.
"""

import json
import platform
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn

from course_lib.attention import MultiHeadSelfAttention

SYMBOLS, LENGTH, DIM = 10, 14, 32
HEADS = (1, 2, 4, 8, 16, 32)
SEEDS = tuple(range(5))
STEPS, BATCH, LEARNING_RATE = 300, 64, 1e-2
OUT = Path(__file__).parent.parent / "data" / "results" / "number_of_heads.json"


class Model(nn.Module):
    def __init__(self, num_heads):
        super().__init__()
        self.symbol = nn.Embedding(SYMBOLS, DIM)
        self.position = nn.Parameter(torch.randn(LENGTH, DIM))
        self.attn = MultiHeadSelfAttention(DIM, num_heads)
        self.readout = nn.Linear(DIM, 2 * SYMBOLS)

    def forward(self, symbols):
        return self.readout(self.attn(self.symbol(symbols) + self.position)).unflatten(-1, (2, SYMBOLS))


def neighbours(symbols):
    return torch.stack([symbols.roll(1, dims=1), symbols.roll(-1, dims=1)], dim=-1)


def accuracy(num_heads, seed):
    """Train one model and return the share of symbols that it names on 1000 new sequences."""
    torch.manual_seed(seed)
    model = Model(num_heads)
    optimizer = torch.optim.AdamW(model.parameters(), lr=LEARNING_RATE)
    for _ in range(STEPS):
        symbols = torch.randint(SYMBOLS, (BATCH, LENGTH))
        loss = F.cross_entropy(model(symbols).flatten(0, 2), neighbours(symbols).flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        symbols = torch.randint(SYMBOLS, (1000, LENGTH))
        return (model(symbols).argmax(-1) == neighbours(symbols)).float().mean().item()


def main():
    measured = {}
    for num_heads in HEADS:
        measured[num_heads] = [round(accuracy(num_heads, seed), 4) for seed in SEEDS]
        print(f"{num_heads:3} heads", *measured[num_heads], flush=True)
    record = {
        "what": "share of neighbours named on 1000 new sequences after training, one entry a seed",
        "dim": DIM,
        "length": LENGTH,
        "symbols": SYMBOLS,
        "heads": HEADS,
        "accuracy": [measured[num_heads] for num_heads in HEADS],
        "training": {"steps": STEPS, "batch": BATCH, "learning_rate": LEARNING_RATE, "optimizer": "AdamW"},
        "seeds": SEEDS,
        "device": f"CPU, {platform.machine()}",
        "versions": {"python": platform.python_version(), "torch": torch.__version__},
    }
    OUT.write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main()
