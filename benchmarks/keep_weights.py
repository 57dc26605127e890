"""Keep the weights of a finished run: copy them into data/checkpoints, and write what proves them into its manifest.

    python benchmarks/keep_weights.py runs/mnist_vit/seed-0 vit_mnist_patch4_28

The run's folder is one that `course train` wrote; the second word is the name of its model in `VIT_CONFIGS`, by which
`create_model(name, pretrained=True)` will load it.
"""

import json
import sys
from dataclasses import replace
from pathlib import Path

from safetensors import safe_open
from safetensors.torch import save

from course_lib.files import file_digest, write_atomically
from course_lib.recipes import find_recipe
from course_lib.records import write_json
from course_lib.vit import VIT_CONFIGS
from course_lib.weights import Preprocessing

MOST = 2_000_000  # bytes
CHECKPOINTS = Path(__file__).parent.parent / "data" / "checkpoints"


def add_to_manifest(name, preprocessing, classes, top1, top1_from):
    """Put the entry of data/checkpoints/NAME.safetensors into the manifest, in place of an older one."""
    file, config = CHECKPOINTS / f"{name}.safetensors", VIT_CONFIGS[name]
    entry = {
        "name": f"course/{name}",
        "architecture": name,
        "url": None,
        "file": file.name,
        "size": file.stat().st_size,
        "sha256": file_digest(file),
        "mean": preprocessing.mean,
        "std": preprocessing.std,
        "input_size": config.img_size,
        "resize": preprocessing.resize,
        "interpolation": preprocessing.interpolation,
        "norm_eps": config.norm_eps,
        "num_classes": config.num_classes,
        "classes": list(classes),
        "top1": top1,
        "top1_from": top1_from,
        "licence": "MIT",
    }
    path = CHECKPOINTS / "manifest.json"
    others = [old for old in json.loads(path.read_text(encoding="utf-8")) if old["name"] != entry["name"]]
    write_json(path, sorted([*others, entry], key=lambda entry: entry["name"]))


def small_enough(path):
    """The file's bytes; in half precision if it is larger than what a repository should hold. Loading makes it float32."""
    if path.stat().st_size <= MOST:
        return path.read_bytes()
    with safe_open(path, "pt") as file:
        return save({key: file.get_tensor(key).half() for key in file.keys()}, file.metadata())  # noqa: SIM118


def main(folder, name):
    record = json.loads((Path(folder) / "record.json").read_text(encoding="utf-8"))
    recipe, run = find_recipe(record["recipe"]), record["runs"][0]
    recipe = replace(recipe, data=record["settings"]["data"])  # another copy of the same images may have been used
    if recipe.model != VIT_CONFIGS[name]:
        raise SystemExit(f"the model of {recipe.name} is not {name}")
    write_atomically(CHECKPOINTS / f"{name}.safetensors", small_enough(Path(folder) / "model.safetensors"))
    images = recipe.load("test")
    add_to_manifest(
        name,
        Preprocessing.of(images),
        images.classes,
        round(100 * run["test_accuracy"], 2),
        f"test split of {images.name.partition('/')[0]}, data/results/{recipe.name}.json, seed {run['seed']}",
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
