"""Time what looking inside costs: recording the attention maps of ViT-B/16, and their rollout, beside the forward pass.

    python benchmarks/interpret_speed.py [--batch 16] [--rounds 9] [--write]     # --write: data/results/interpret_speed.json

Random weights, float32, evaluation mode. All contestants live in one process and take turns, in another order each round,
so that a slow moment of the machine hits them alike; what is compared is the median of the rounds.

* "recording": the forward pass of one model by the explicit softmax, its maps thrown away at once ("explicit"), kept by
  `record_attention` ("recorded"), and as one tensor by `attention_maps` ("attention_maps"). The ratio is to "explicit".
* "rollout": `attention_rollout` of the batch's maps, and how far it is from a loop over single images. The share is of
  the forward pass that the maps came from, in the faster of its two ways, fused or explicit.
"""

import argparse
import json
import platform
import random
import statistics
import time
from contextlib import nullcontext
from pathlib import Path

import timm
import torch
import torchvision
from vit_speed import processor

from course_lib.interpret import attention_maps, attention_rollout, record_attention
from course_lib.interpret.taps import recording
from course_lib.models import vit_b_16

OUT = Path(__file__).parent.parent / "data" / "results" / "interpret_speed.json"
ROLLOUTS = {
    "mean": {},
    "max": {"head_fusion": "max"},
    "min": {"head_fusion": "min"},
    "mean, 90 % discarded": {"discard_ratio": 0.9},
}


def build():
    return {
        "course_lib": vit_b_16(),
        "timm": timm.create_model("vit_base_patch16_224"),
        "torchvision": torchvision.models.vit_b_16(),
    }


def ways(model):
    """{name: what is open around the forward pass}."""
    return {
        "fused": nullcontext,
        "explicit": lambda: recording(model, lambda weights: None),
        "recorded": lambda: record_attention(model),
    }


def seconds(work):
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def medians(contestants, rounds):
    """{name: median seconds} of functions that take turns; the first round warms up."""
    names, times = list(contestants), {name: [] for name in contestants}
    for turn in range(rounds + 1):
        random.shuffle(names)
        for name in names:
            taken = seconds(contestants[name])
            if turn:
                times[name].append(taken)
    return {name: statistics.median(values) for name, values in times.items()}


def forward(model, images, way):
    def work():
        with way():
            model(images)

    return work


def time_recording(model, images, rounds):
    contestants = {name: forward(model, images, way) for name, way in ways(model).items()}
    contestants["attention_maps"] = lambda: attention_maps(model, images)
    found = medians(contestants, rounds)
    return {
        name: {"median_ms": round(1000 * value, 1), "ratio": round(value / found["explicit"], 3)}
        for name, value in found.items()
    }


def one_image(maps, head_fusion="mean", discard_ratio=0.0):
    """The same for the maps (L, H, N, N) of a single image, step by step in float64: (N, N)."""
    result = torch.eye(maps.shape[-1], dtype=torch.float64)
    for layer in maps.double():
        fused = {"mean": layer.mean(0), "max": layer.amax(0), "min": layer.amin(0)}[head_fusion]
        count = int(discard_ratio * fused.numel())
        kept = fused.where(fused >= fused.flatten().sort().values[count], 0)
        kept[0, 0] = fused[0, 0]
        mixed = kept + torch.eye(len(kept))
        result = mixed / mixed.sum(1, keepdim=True) @ result
    return result


def time_rollout(maps, forward_ms, rounds):
    found = medians(
        {name: lambda o=options: attention_rollout(maps, **o) for name, options in ROLLOUTS.items()}, rounds
    )
    rows = {}
    for name, options in ROLLOUTS.items():
        loop = torch.stack([one_image(image, **options) for image in maps])
        rows[name] = {
            "median_ms": round(1000 * found[name], 1),
            "share_of_forward": round(1000 * found[name] / forward_ms, 4),
            "difference_from_single_images": float((attention_rollout(maps, **options) - loop).abs().max()),
        }
    return rows


@torch.no_grad()
def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--write", action="store_true")
    arguments = parser.parse_args()
    torch.manual_seed(0)
    random.seed(0)
    images, timed = torch.randn(arguments.batch, 3, 224, 224), {}
    models = {name: model.eval() for name, model in build().items()}
    for name, model in models.items():
        timed[name] = time_recording(model, images, arguments.rounds)
        print(name)
        show(timed[name])
    maps = attention_maps(models["course_lib"], images)
    forward_ms = min(timed["course_lib"][way]["median_ms"] for way in ("fused", "explicit"))
    rollout = time_rollout(maps, forward_ms, arguments.rounds)
    print("rollout")
    show(rollout)
    if arguments.write:
        record = {
            "what": "median milliseconds of ViT-B/16, float32: forward passes with and without recording, and rollout of the maps",
            "batch": arguments.batch,
            "rounds": arguments.rounds,
            "seed": 0,
            "maps": {"shape": list(maps.shape), "megabytes": round(maps.nbytes / 1e6)},
            "recording": timed,
            "rollout": rollout,
            "threads": torch.get_num_threads(),
            "device": f"cpu, {processor()}, {torch.backends.cpu.get_cpu_capability()}",
            "versions": {"python": platform.python_version()}
            | {library.__name__: library.__version__ for library in (torch, torchvision, timm)},
        }
        OUT.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


def show(rows):
    for name, row in rows.items():
        print(f"  {name:<22}" + "  ".join(f"{key} {value:>9}" for key, value in row.items()), flush=True)


if __name__ == "__main__":
    main()
