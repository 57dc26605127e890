"""Time the way from images to batches: `Augment` on tensors against the usual DataLoader with per-image transforms.

    python benchmarks/input_speed.py [--rounds 7] [--write]     # --write: data/results/input_speed.json

Both give shuffled batches of 128, augmented in the same way, normalised, float32, with two processor cores: ours as
two threads, the loader in the main process or with two worker processes, which are started and warm before the clock
runs. They take turns, and the fastest round of each counts: what it can do. The loader reads MNIST as torchvision
gives it, and CIFAR-10 from an array in memory, as torchvision's own class does; any images of 32 x 32 pixels take the
same time, so the CIFAR-10 (JPEG copy) serves, or random ones if that is not there.
"""

import argparse
import json
import platform
import time
from pathlib import Path

import torch
import torchvision
from PIL import Image
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms import v2
from vit_speed import processor

from course_lib.data import Augment, ImageSet, cifar10_jpeg, mnist
from course_lib.files import data_folder

BATCH = 128
IMAGES = 100 * BATCH  # in a round
THREADS = 2
OUT = Path(__file__).parent.parent / "data" / "results" / "input_speed.json"
AFFINE = Augment(rotate=10, scale=0.1, translate=0.1)
CASES = {  # what is timed: (data, ours, the same in torchvision's words)
    "mnist, translation": ("mnist", Augment(crop=2), [v2.RandomCrop(28, padding=2)]),
    "mnist, affine": ("mnist", AFFINE, None),
    "cifar, translation and flip": (
        "cifar",
        Augment(crop=4, flip=True),
        [v2.RandomCrop(32, padding=4), v2.RandomHorizontalFlip()],
    ),
    "cifar, affine": ("cifar", AFFINE, None),
}


class InMemory(Dataset):
    """Images in one array, given one by one as PIL images: what torchvision's CIFAR10 does."""

    def __init__(self, data, transform):
        self.pixels = data.images.permute(0, 2, 3, 1).contiguous().numpy()  # (n, C, h, w) -> (n, h, w, C)
        self.labels, self.transform = data.labels.tolist(), transform

    def __len__(self):
        return len(self.labels)

    def __getitem__(self, index):
        return self.transform(Image.fromarray(self.pixels[index])), self.labels[index]


def cifar():
    """Some images of CIFAR's size."""
    try:
        return cifar10_jpeg("train").take(slice(0, IMAGES))
    except ValueError:
        random = torch.Generator().manual_seed(0)
        images = torch.randint(256, (IMAGES, 3, 32, 32), generator=random, dtype=torch.uint8)
        labels = torch.randint(10, (IMAGES,), generator=random)
        return ImageSet("random", images, labels, tuple("0123456789"), (0.5,) * 3, (0.25,) * 3)


def loader(name, data, changes, workers):
    """The usual DataLoader, over as many images as a round of ours has."""
    affine = v2.RandomAffine(10, translate=(0.1, 0.1), scale=(0.9, 1.1), interpolation=v2.InterpolationMode.BILINEAR)
    finish = [v2.ToImage(), v2.ToDtype(torch.float32, scale=True), v2.Normalize(data.mean, data.std)]
    transform = v2.Compose([*(changes or [affine]), *finish])
    if name == "mnist":
        dataset = torchvision.datasets.MNIST(data_folder(), train=True, transform=transform)
        dataset = torch.utils.data.Subset(dataset, range(IMAGES))
    else:
        dataset = InMemory(data, transform)
    return DataLoader(dataset, BATCH, shuffle=True, num_workers=workers, persistent_workers=workers > 0, drop_last=True)


def tensors(data, augment):
    """Ours: the same batches."""
    for rows in torch.randperm(IMAGES).split(BATCH):
        yield augment(data, rows, len(data.classes))


def rate(batches):
    """Images per second over one round."""
    start = time.perf_counter()
    count = sum(len(images) for images, _ in batches)
    return count / (time.perf_counter() - start)


def compare(case, rounds):
    name, augment, changes = CASES[case]
    data = mnist("train") if name == "mnist" else cifar()
    loaders = {f"DataLoader, {workers} workers": loader(name, data, changes, workers) for workers in (0, 2)}
    best = dict.fromkeys(["tensors", *loaders], 0.0)
    for turn in range(rounds + 1):
        for way in best:
            found = rate(loaders[way] if way in loaders else tensors(data, augment))
            if turn:  # the first round warms up
                best[way] = max(best[way], found)
    times = best["tensors"] / max(best[way] for way in loaders)
    rates = {way: round(value) for way, value in best.items()}
    return {"case": case, "images_per_second": rates, "times_as_fast": round(times, 1)}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--write", action="store_true")
    arguments = parser.parse_args()
    torch.set_num_threads(THREADS)
    torch.manual_seed(0)
    results = []
    for case in CASES:
        results.append(compare(case, arguments.rounds))
        print(json.dumps(results[-1]), flush=True)
    if arguments.write:
        record = {
            "what": "images per second from images in memory to augmented, normalised batches, the fastest of several rounds; times_as_fast: tensors against the faster DataLoader",
            "batch": BATCH,
            "rounds": arguments.rounds,
            "threads": THREADS,
            "device": f"cpu, {processor()}, {torch.backends.cpu.get_cpu_capability()}",
            "versions": {
                "python": platform.python_version(),
                "torch": torch.__version__,
                "torchvision": torchvision.__version__,
            },
            "results": results,
        }
        OUT.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
