"""Train the course's smallest ViT on scikit-learn's digits: data/checkpoints/vit_digits_patch2_8.safetensors.

    python benchmarks/train_digits.py

Three seeds are trained with the same recipe; the first one's weights are kept, whatever the other two reach. The
recipe was chosen on the validation split; the test split is looked at once, here. Writes the record
data/results/digits_vit.json and the manifest data/checkpoints/manifest.json too. A few minutes on one core.
"""

import math
import platform
from pathlib import Path

import torch
import torch.nn.functional as F
from keep_weights import add_to_manifest

from course_lib.data import digits
from course_lib.models import create_model
from course_lib.records import write_json
from course_lib.weights import Preprocessing, save_weights

ROOT = Path(__file__).parent.parent
NAME = "vit_digits_patch2_8"
RECIPE = {
    "optimiser": "AdamW",
    "learning_rate": 2e-3,
    "weight_decay": 0.05,
    "batch": 50,
    "epochs": 300,
    "warmup_epochs": 5,
    "schedule": "linear warm-up, then cosine to 0",
    "augmentation": "turn by up to 15 degrees, shear 0.2, scale 0.85 to 1.15, shift by up to 1 pixel",
    "label_smoothing": 0.1,
}
IMAGES = Preprocessing(mean=(0.5,), std=(0.5,), input_size=(8, 8), resize="cover", interpolation="bilinear")


def jittered(images):
    """Each image turned, sheared, scaled and shifted a little, at random; what comes in is background."""
    count = len(images)

    def uniform(limit):
        return (2 * torch.rand(count) - 1) * limit

    angle, scale = uniform(math.radians(15)), 1 + uniform(0.15)
    matrix = torch.zeros(count, 2, 3)
    matrix[:, 0, 0] = matrix[:, 1, 1] = angle.cos() * scale
    matrix[:, 0, 1] = uniform(0.2) - angle.sin() * scale
    matrix[:, 1, 0] = angle.sin() * scale
    matrix[:, 0, 2], matrix[:, 1, 2] = uniform(0.25), uniform(0.25)  # 1 pixel, where the image is 2 wide
    grid = F.affine_grid(matrix, images.shape, align_corners=False)
    return F.grid_sample(images + 1, grid, align_corners=False) - 1  # -1 is background after normalising


def normalised(split):
    images, labels = digits(split)
    return (images - IMAGES.mean[0]) / IMAGES.std[0], labels


@torch.no_grad()
def accuracy(model, images, labels):
    return (model.eval()(images).argmax(1) == labels).double().mean().item()


def train(seed, stop=RECIPE["epochs"]):
    """One run, up to epoch `stop` of the schedule: the model, and its accuracy on the validation split by epoch."""
    torch.manual_seed(seed)
    model = create_model(NAME)
    (images, labels), val = normalised("train"), normalised("val")
    steps = len(images) // RECIPE["batch"]
    optimiser = torch.optim.AdamW(model.parameters(), RECIPE["learning_rate"], weight_decay=RECIPE["weight_decay"])
    warmup, total = RECIPE["warmup_epochs"] * steps, RECIPE["epochs"] * steps
    schedule = torch.optim.lr_scheduler.SequentialLR(
        optimiser,
        [
            torch.optim.lr_scheduler.LinearLR(optimiser, 0.01, total_iters=warmup),
            torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, total - warmup),
        ],
        [warmup],
    )
    curve = []
    for _ in range(stop):
        model.train()
        for rows in torch.randperm(len(images)).split(RECIPE["batch"]):
            loss = F.cross_entropy(
                model(jittered(images[rows])), labels[rows], label_smoothing=RECIPE["label_smoothing"]
            )
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
        curve.append(round(accuracy(model, *val), 4))
    return model, curve


def main():
    torch.set_num_threads(1)
    test, runs = normalised("test"), []
    for seed in range(3):
        model, curve = train(seed)
        runs.append({"seed": seed, "val": curve, "test": round(accuracy(model, *test), 4)})
        print(f"seed {seed}: val {curve[-1]:.3f}, test {runs[-1]['test']:.3f}", flush=True)
        if seed == 0:
            kept = model
    file = ROOT / "data" / "checkpoints" / f"{NAME}.safetensors"
    kept.preprocessing = IMAGES
    save_weights(kept, file)
    source = "test split of course_lib.data.digits, data/results/digits_vit.json"
    add_to_manifest(NAME, IMAGES, digits("test").classes, round(100 * runs[0]["test"], 1), source)
    record = {
        "what": "ViT on scikit-learn's digits: accuracy on the validation split by epoch, on the test split at the end",
        "recipe": RECIPE,
        "model": NAME,
        "versions": {"python": platform.python_version(), "torch": torch.__version__},
        "device": "cpu, 1 thread",
        "runs": runs,
    }
    write_json(ROOT / "data" / "results" / "digits_vit.json", record)


if __name__ == "__main__":
    main()
