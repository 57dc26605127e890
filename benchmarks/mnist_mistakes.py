"""Look at MNIST, and at what the best model gets wrong: data/results/mnist_examples.json and mnist_mistakes.json.

    python benchmarks/mnist_mistakes.py                          # the first training image of each class
    python benchmarks/mnist_mistakes.py runs/mnist_vit/seed-0    # confusion matrix, and the images of the highest loss

The folder is one that `course train mnist_vit` has written; the images are of the test split. With these two records a
chapter can show some MNIST without a download. An image is 28 rows, each a text of 28 hexadecimal numbers.
"""

import json
import sys
from pathlib import Path

import torch
import torch.nn.functional as F

from course_lib.data import mnist
from course_lib.metrics import confusion_matrix, predict
from course_lib.recipes import find_recipe
from course_lib.records import versions, write_json
from course_lib.train import describe
from course_lib.weights import load_pretrained

ROOT = Path(__file__).parent.parent
COUNT = 24


def rows(image):
    """(1, 28, 28) uint8 -> 28 texts."""
    return [bytes(row).hex() for row in image[0].tolist()]


def mistakes(logits, data, count):
    """The `count` images of the highest loss, the highest first."""
    losses = F.cross_entropy(logits, data.labels, reduction="none")
    probabilities = logits.softmax(dim=1)
    return [
        {
            "image": rows(data.images[i]),
            "number": i,
            "label": data.labels[i].item(),
            "answer": probabilities[i].argmax().item(),
            "probability": round(probabilities[i].max().item(), 4),
            "probability_of_label": round(probabilities[i, data.labels[i]].item(), 4),
        }
        for i in losses.topk(count).indices.tolist()
    ]


def write(name, what, content):
    kind = {"device": describe(torch.device("cpu")), "versions": versions()}
    write_json(ROOT / "data" / "results" / f"{name}.json", {"what": what, **content, **kind})


def record_examples():
    train = mnist("train")
    firsts = [(train.labels == label).nonzero()[0, 0].item() for label in range(len(train.classes))]
    entries = [{"image": rows(train.images[i]), "number": i, "label": train.labels[i].item()} for i in firsts]
    write("mnist_examples", "the first training image of each class of MNIST", {"examples": entries})


def record_mistakes(folder):
    about = json.loads((folder / "record.json").read_text(encoding="utf-8"))
    recipe = find_recipe(about["recipe"])
    test = recipe.load("test")
    model = load_pretrained(recipe.build(), folder / "model.safetensors")
    logits = predict(model, test)
    counts = confusion_matrix(test.labels, logits.argmax(dim=1), len(test.classes))
    right, recorded = counts.trace().item() / len(test), about["runs"][0]["test_accuracy"]
    if abs(right - recorded) > 0.0005:  # another precision may turn a few close decisions
        raise SystemExit(f"{right:.2%} are right, but the run recorded {recorded:.2%}: is this its model?")
    content = {
        "recipe": recipe.name,
        "seed": about["runs"][0]["seed"],
        "images": len(test),
        "confusion": counts.tolist(),
        "mistakes": mistakes(logits, test, COUNT),
    }
    what = "the best MNIST model on the test split: what is taken for what, and the images of the highest loss"
    write("mnist_mistakes", what, content)


if __name__ == "__main__":
    if len(sys.argv) > 1:
        record_mistakes(Path(sys.argv[1]))
    else:
        record_examples()
