"""Time ViT-B/16 against the libraries: forward and training step, float32 and bfloat16, side by side.

    python benchmarks/vit_speed.py [--batch 4] [--rounds 12] [--write]     # --write: data/results/vit_speed.json

All models live in one process and take turns, in another order each round, so that a slow moment of the
machine hits them alike. Forward is under inference_mode in eval mode; a training step is forward,
cross-entropy and backward in train mode. What is compared is the fastest round of each (what the code can
do) and the median. "matmul" is the share of the machine's matrix-multiplication rate that the fastest
round reaches, with 17.56 G multiply-adds an image, and three times that for a training step.
"""

import argparse
import json
import platform
import random
import statistics
import time
from importlib.metadata import version
from pathlib import Path

import timm
import torch
import torch.nn.functional as F
import torchvision
import transformers
import vit_pytorch

from course_lib.models import vit_b_16

MACS = 17_563_828_224  # of one image, attention included
OUT = Path(__file__).parent.parent / "data" / "results" / "vit_speed.json"


def build():
    huggingface = transformers.ViTForImageClassification(transformers.ViTConfig(num_labels=1000))
    peer = {"image_size": 224, "patch_size": 16, "num_classes": 1000, "dim": 768, "depth": 12, "heads": 12}
    return {
        "course_lib": vit_b_16(),
        "torchvision": torchvision.models.vit_b_16(),
        "timm": timm.create_model("vit_base_patch16_224"),
        "transformers": huggingface,
        "vit-pytorch": vit_pytorch.ViT(**peer, mlp_dim=3072),
    }


def logits(output):
    return getattr(output, "logits", output)


@torch.inference_mode()
def forward(model, images, _):
    model(images)


def training_step(model, images, labels):
    F.cross_entropy(logits(model(images)), labels).backward()


def seconds(step, model, images, labels):
    model.train(step is training_step)
    start = time.perf_counter()
    step(model, images, labels)
    taken = time.perf_counter() - start
    for parameter in model.parameters():
        parameter.grad = None
    return taken


def matmul_rate(dtype):
    """Multiply-adds a second of the machine on one large product."""
    a, b = torch.randn(1024, 3072, dtype=dtype), torch.randn(3072, 1024, dtype=dtype)
    times = []
    for _ in range(15):
        start = time.perf_counter()
        a @ b
        times.append(time.perf_counter() - start)
    return 1024 * 3072 * 1024 / min(times)


def processor():
    """Its name, where the system tells."""
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())


def compare(models, step, dtype, batch, rounds):
    images, labels = torch.randn(batch, 3, 224, 224, dtype=dtype), torch.randint(1000, (batch,))
    names = list(models)
    times, rate = {name: [] for name in names}, matmul_rate(dtype)
    for turn in range(rounds + 1):
        random.shuffle(names)
        for name in names:
            taken = seconds(step, models[name], images, labels)
            if turn:  # the first round warms up
                times[name].append(taken)
    work = MACS * batch * (1 if step is forward else 3)
    rate = max(rate, matmul_rate(dtype))  # before and after: a slow moment must not flatter anybody
    fastest = min(map(min, times.values()))
    return {
        name: {
            "fastest_ms": round(1000 * min(values), 1),
            "median_ms": round(1000 * statistics.median(values), 1),
            "ratio": round(fastest / min(values), 3),
            "matmul": round(work / min(values) / rate, 3),
        }
        for name, values in times.items()
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=12)
    parser.add_argument("--write", action="store_true")
    arguments = parser.parse_args()
    torch.manual_seed(0)
    random.seed(0)
    models, results = build(), []
    for dtype in (torch.float32, torch.bfloat16):
        for model in models.values():
            model.to(dtype)
        for step in (forward, training_step):
            timed = compare(models, step, dtype, arguments.batch, arguments.rounds)
            results.append({"step": step.__name__, "dtype": str(dtype).removeprefix("torch."), "times": timed})
            print(f"\n{step.__name__}, {dtype}")
            for name, row in sorted(timed.items(), key=lambda item: item[1]["fastest_ms"]):
                print(f"  {name:<13}" + "  ".join(f"{key} {value:>7}" for key, value in row.items()), flush=True)
    if arguments.write:
        libraries = (torch, torchvision, timm, transformers)
        record = {
            "what": "milliseconds for ViT-B/16, 224 x 224; ratio: fastest of all / this one; matmul: share of the rate of one large product",
            "batch": arguments.batch,
            "rounds": arguments.rounds,
            "threads": torch.get_num_threads(),
            "device": f"cpu, {processor()}, {torch.backends.cpu.get_cpu_capability()}",
            "versions": {"python": platform.python_version()}
            | {library.__name__: library.__version__ for library in libraries}
            | {"vit-pytorch": version("vit-pytorch")},
            "results": results,
        }
        OUT.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
