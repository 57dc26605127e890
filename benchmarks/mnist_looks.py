"""One look at each digit, and five (see `five_looks`): data/results/mnist_looks.json. Some minutes a model on one core.

python benchmarks/mnist_looks.py mnist_vit     # after `course train mnist_vit`; what the record has of others stays
"""

import json
import sys
import time
from dataclasses import replace
from pathlib import Path

import torch
import torch.nn.functional as F

from course_lib.files.places import RESULTS
from course_lib.metrics import predict
from course_lib.models import load_model
from course_lib.recipes import find_recipe
from course_lib.records import versions, write_json
from course_lib.statistics import paired_difference
from course_lib.train import describe

OUT = RESULTS[0] / "mnist_looks.json"


def five_looks(model, data, pixels=1):
    """As `predict`, but each image is looked at as it is and shifted in four directions, and the probabilities averaged.

    Gives their logarithms, (n, K). What comes in at the edge is black. Source: Krizhevsky et al. 2012, section 4.1, with
    ten views.
    """
    height, width = data.images.shape[-2:]
    padded = F.pad(data.images, (pixels,) * 4)  # (n, C, h + 2p, w + 2p)
    corners = ((pixels, pixels), (0, pixels), (2 * pixels, pixels), (pixels, 0), (pixels, 2 * pixels))
    views = [replace(data, images=padded[:, :, y : y + height, x : x + width]) for y, x in corners]
    return torch.stack([predict(model, view).softmax(dim=1) for view in views]).mean(dim=0).log()


LOOKS = {"one": predict, "five": five_looks}


def compared(model, data):
    """The shares right at one look and at five, and on how many images only one of the two is right."""
    answers = {look: how(model, data).argmax(dim=1) == data.labels for look, how in LOOKS.items()}
    pairs = paired_difference(answers["five"], answers["one"])
    shares = {look: right.double().mean().item() for look, right in answers.items()}
    return shares | {"only_one": pairs.only_second, "only_five": pairs.only_first, "images": pairs.n}


def looks(name):
    """Validation and test by the run in runs/NAME/seed-0, see `compared`, and how long the looking takes."""
    folder = Path("runs") / name / "seed-0"
    run = json.loads((folder / "record.json").read_text(encoding="utf-8"))["runs"][0]
    recipe = find_recipe(name)
    model = load_model(folder / "model.safetensors")
    begin = time.monotonic()
    right = {split: compared(model, recipe.load(split)) for split in ("val", "test")}
    if abs(right["test"]["one"] - run["test_accuracy"]) > 0.0005:  # another precision may turn a few close decisions
        raise SystemExit(f"{name}: {right['test']['one']:.2%} are right, but {run['test_accuracy']:.2%} were recorded.")
    return {
        "recipe": name,
        "seed": run["seed"],
        "seconds_of_training": run["seconds"],
        "seconds_of_looking": round(time.monotonic() - begin, 1),
        **right,
        "device": describe(torch.device("cpu")),
        "versions": versions(),
    }


def main():
    record = json.loads(OUT.read_text(encoding="utf-8"))
    for name in sys.argv[1:]:
        run = looks(name)
        print(run)
        record["runs"] = [other for other in record["runs"] if other["recipe"] != name] + [run]
        write_json(OUT, record)


if __name__ == "__main__":
    main()
