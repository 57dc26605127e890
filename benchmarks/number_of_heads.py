"""Train chapter 02's neighbours task with 1 to 32 heads of one width D = 32: accuracy by the number of heads.

    python benchmarks/number_of_heads.py           # writes data/results/number_of_heads.json

The model and the training are the chapter's own. CPU, five minutes. Chapter 02 draws the record.
"""

import json
import platform
from pathlib import Path

import torch
from chapter import definitions

from course_lib.interpret import record_attention

chapter = definitions(
    "02_multi_head_attention", "Neighbours", "neighbours", "train", "test", "NUM_SYMBOLS", "LENGTH", "WIDTH"
)
HEADS = (1, 2, 4, 8, 16, 32)
LONGER = {"heads": (1, 32), "steps": 4000}  # do the two ends only need more time?
SEEDS = tuple(range(5))
OUT = Path(__file__).parent.parent / "data" / "results" / "number_of_heads.json"


@torch.no_grad()
def symbol_spread(model):
    """How much of one head's weight goes to the place before, and by how much that varies with the symbols."""
    with record_attention(model) as maps:
        model(torch.randint(chapter.NUM_SYMBOLS, (1000, chapter.LENGTH)))
    places = torch.arange(chapter.LENGTH)
    before, after = (maps[0][:, 0, places, (places + step) % chapter.LENGTH] for step in (-1, 1))  # (1000, 14)
    return round((before / (before + after)).std(dim=0).mean().item(), 4)


def trained(num_heads, seed, **training):
    torch.manual_seed(seed)
    model = chapter.Neighbours(num_heads)
    chapter.train(model, **training)
    return model


def accuracy(model):
    """Share of symbols that the model names on 1000 new sequences."""
    return round(sum(chapter.test(model)) / 2, 4)


def main():
    torch.set_num_threads(1)
    measured = [[accuracy(trained(n, seed)) for seed in SEEDS] for n in HEADS]
    longer = [[trained(n, seed, steps=LONGER["steps"]) for seed in SEEDS] for n in LONGER["heads"]]
    record = {
        "what": "share of neighbours named on 1000 new sequences after training, one entry a seed",
        "dim": chapter.WIDTH,
        "length": chapter.LENGTH,
        "symbols": chapter.NUM_SYMBOLS,
        "heads": HEADS,
        "accuracy": measured,
        "longer": {
            **LONGER,
            "accuracy": [[accuracy(model) for model in models] for models in longer],
            "symbol_spread": [symbol_spread(model) for model in longer[0]],
        },
        "training": "as in the chapter: 300 steps of 64 sequences, AdamW, learning rate 0.01",
        "seeds": SEEDS,
        "device": f"CPU, {platform.machine()}",
        "versions": {"python": platform.python_version(), "torch": torch.__version__},
    }
    OUT.write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main()
