"""Train a small ViT on scikit-learn's digits at six learning rates, with four schedules: data/results/learning_rates.json.

    python benchmarks/learning_rates.py

The model, the schedules and the training are chapter 07's own, which draws the record. Accuracy is on the validation
split. float32, five seeds, two processes with one thread each; under half an hour.
"""

from concurrent.futures import ProcessPoolExecutor
from itertools import product
from multiprocessing import get_context
from pathlib import Path

import torch
from chapter import definitions

from course_lib.data import digits
from course_lib.records import versions, write_json
from course_lib.train import describe, evaluate_set

NAMES = ("SMALL", "EPOCHS", "BATCH", "STEPS", "SCHEDULES", "scheduled", "shuffled", "train_digits")
chapter = definitions("07_training", *NAMES)
SEEDS = (0, 1, 2, 3, 4)
RATES = (1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2)
WINDOW = 10  # steps over which the recorded losses are means
OUT = Path(__file__).parent.parent / "data" / "results" / "learning_rates.json"


def run(job):
    """One training: the mean loss of every ten steps, and the accuracy at the end."""
    seed, schedule, rate = job
    torch.set_num_threads(1)
    torch.manual_seed(seed)
    model, losses = chapter.train_digits(chapter.scheduled(schedule, rate))
    means = torch.tensor(losses).view(-1, WINDOW).mean(dim=1)
    return {
        "schedule": schedule,
        "rate": rate,
        "seed": seed,
        "losses": [round(loss, 4) for loss in means.tolist()],
        "val_accuracy": round(evaluate_set(model, digits("val"))[1], 4),
    }


def main():
    jobs, runs = product(SEEDS, chapter.SCHEDULES, RATES), []
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        for result in pool.map(run, jobs):
            runs.append(result)
            print(*result.values(), flush=True)
    record = {
        "what": "a small ViT on scikit-learn's digits: training loss, mean of every ten steps, and accuracy on validation",
        "configuration": {
            "embed_dim": chapter.SMALL.embed_dim,
            "depth": chapter.SMALL.depth,
            "weight_init": chapter.SMALL.weight_init,
            "epochs": chapter.EPOCHS,
            "batch": chapter.BATCH,
            "optimizer": "AdamW, weight decay 0.05, clipping at 1, no augmentation",
            "warmup": "a tenth of the steps",
        },
        "device": describe(torch.device("cpu")),
        "versions": versions(),
        "runs": runs,
    }
    write_json(OUT, record)


if __name__ == "__main__":
    main()
