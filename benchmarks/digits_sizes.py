"""The course's smallest ViT, trained on digits of 8 pixels, run on the same digits at other sizes.

    python benchmarks/digits_sizes.py          # writes data/results/digits_sizes.json

Five seeds are trained with the recipe of `train_digits.py`. Each is loaded at every size, its position embeddings
resampled, and judged on the test split, the digits resized bilinearly. Also judged: images that were prepared in
another way than in training. Chapter 06 draws both. Five minutes on one core.
"""

import json
import platform
import tempfile
from contextlib import redirect_stdout
from pathlib import Path

import torch
import torch.nn.functional as F
from train_digits import NAME, RECIPE, accuracy, train

from course_lib.data import digits
from course_lib.models import create_model
from course_lib.weights import load_pretrained, save_weights

OUT = Path(__file__).parent.parent / "data" / "results" / "digits_sizes.json"
SEEDS = range(5)
SIZES = (6, 8, 10, 12, 14, 16)
# From pixels between 0 and 1; the first is how the models were trained.
PREPARATIONS = {
    "(x - 0.5) / 0.5": lambda x: (x - 0.5) / 0.5,
    "(x - 0.449) / 0.226": lambda x: (x - 0.449) / 0.226,
    "x": lambda x: x,
    "255 x": lambda x: 255 * x,
    "(0.5 - x) / 0.5": lambda x: (0.5 - x) / 0.5,
}


def at_size(file, size):
    with redirect_stdout(None):
        return load_pretrained(create_model(NAME, img_size=size), file).eval()


def run(seed):
    images, labels = digits("test")
    model = train(seed)[0].eval()
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "digits.safetensors"
        save_weights(model, file)
        sizes = {}
        for size in SIZES:
            resized = F.interpolate(images, size=(size, size), mode="bilinear", antialias=True)
            sizes[size] = round(accuracy(at_size(file, size), 2 * resized - 1, labels), 4)
    prepared = {name: round(accuracy(model, prepare(images), labels), 4) for name, prepare in PREPARATIONS.items()}
    print(seed, sizes, prepared, flush=True)
    return {"seed": seed, "test_by_size": sizes, "test_by_preparation": prepared}


def main():
    torch.set_num_threads(1)
    record = {
        "what": "accuracy on the digits' test split of models trained at 8 pixels: at other sizes, and with other preparations",
        "recipe": RECIPE,
        "model": NAME,
        "resize": "bilinear, antialias",
        "runs": [run(seed) for seed in SEEDS],
        "device": "cpu, 1 thread",
        "versions": {"python": platform.python_version(), "torch": torch.__version__},
    }
    OUT.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
