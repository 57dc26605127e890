"""Train twelve tiny ViTs on scikit-learn's digits, eleven of them with a bug: data/results/bug_gallery.json.

    python benchmarks/bug_gallery.py

Models, bugs and training are the bug gallery's own, which draws the record. float32, one process with one thread, about
three minutes.
"""

import platform

import torch
from chapter import definitions

from course_lib.files.places import RESULTS
from course_lib.records import versions, write_json

PARTS = (
    "OverQueries",
    "Unscaled",
    "ScaledByWidth",
    "HeadsReshaped",
    "HeadsNotMerged",
    "NormalisedResidual",
    "ReshapedPatches",
    "ReadsTheLast",
)
gallery = definitions("bug_gallery", *PARTS, "CONFIG", "PARTS", "TRAINING", "BUGS", "build", "step", "train")
SEEDS = 5
VALIDATION, TEST = 300, 297


def run(bug, seed):
    """Accuracy after each epoch, on validation and test images and on both together."""
    history = gallery.train(bug, seed)
    both = [(VALIDATION * val + TEST * test) / (VALIDATION + TEST) for val, test in history]
    val, test = zip(*history, strict=True)
    print(f"{bug:20} {seed} {both[-1]:.1%}", flush=True)
    return {"bug": bug, "seed": seed} | {
        name: [round(share, 4) for share in shares] for name, shares in (("val", val), ("test", test), ("both", both))
    }


def main():
    torch.set_num_threads(1)
    runs = [run(bug, seed) for bug in gallery.BUGS for seed in range(SEEDS)]
    record = {
        "what": "accuracy after each epoch of a tiny ViT on scikit-learn's digits, right and with eleven bugs",
        "configuration": {"epochs": 12, "batch": 30, "learning_rate": 8e-3, "optimizer": "AdamW"},
        "runs": runs,
        "device": f"CPU, {platform.machine()}",
        "versions": versions(),
    }
    write_json(RESULTS[0] / "bug_gallery.json", record)


if __name__ == "__main__":
    main()
