"""The maps that the page "A real ViT" fetches: two photographs, 12 layers of 6 heads, and a random twin's.

    python benchmarks/published_vit_maps.py FOLDER    # a minute on one core

FOLDER is that of benchmarks/published_vit.py; the twin is the first of its three random models.
Writes assets/real_vit/: a file of bytes for each photograph and layer, of the twin as well, the means over the heads in
two bytes, the logit lens (what the author's decoder makes of the patches after each layer), and the photographs as the
model gets them; and data/results/published_vit_maps.json, how exact they are. Then run tools/live_page.py.
"""

import json
import sys
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from published_vit import ABOUT, GRID, NAME, PATCH, PREPARE, SEEDS, SIDE, decoder, saliency
from torch import Tensor, nn
from torchvision.transforms.functional import to_pil_image

from course_lib import interpret
from course_lib.data import photographs
from course_lib.files.atomic import write_atomically
from course_lib.files.places import RESULTS
from course_lib.models import create_model
from course_lib.records import versions, write_json
from course_lib.train import describe, set_seed
from course_lib.vit import VisionTransformer
from course_lib.weights import load_pretrained
from course_lib.widgets.attention_explorer import AttentionExplorer
from course_lib.widgets.tensor_explorer import from_digits, to_digits

ASSETS = Path(__file__).parent.parent / "assets"
FILES = "real_vit/vit"


def inputs() -> Tensor:
    return torch.stack([PREPARE.transform()(to_pil_image(photo)) for photo in photographs().values()])


def pictures(images: Tensor) -> Tensor:
    """(B, 3, 224, 224) uint8: the inputs, no longer normalised."""
    mean, std = (torch.tensor(numbers)[:, None, None] for numbers in (PREPARE.mean, PREPARE.std))
    return ((images * std + mean) * 255).round().clamp(0, 255).to(torch.uint8)


def both_models(folder: Path) -> tuple[VisionTransformer, VisionTransformer]:
    """The published model, and its twin with random weights."""
    torch.set_num_threads(1)
    model = create_model(NAME, img_size=SIDE, num_classes=0).eval()
    load_pretrained(model, folder / "model.safetensors")
    set_seed("published vit", SEEDS[0])
    return model, create_model(NAME, img_size=SIDE, num_classes=0).eval()


@torch.no_grad()
def all_maps(folder: Path) -> tuple[Tensor, Tensor]:
    """(2, 12, 6, 257, 257) of the published model, and of its twin."""
    model, twin = both_models(folder)
    return interpret.attention_maps(model, inputs()), interpret.attention_maps(twin, inputs())


@torch.no_grad()
def lens(model: VisionTransformer, decode: nn.Module) -> Tensor:
    """(2, 12, 16, 16), between 0 and 1: the saliency of each patch, if the model ended after each of its layers."""
    tokens, depths = model.embed(inputs()), []
    for block in model.blocks:
        tokens = block(tokens)
        patches = model.norm(tokens)[:, model.num_prefix_tokens :]  # (2, 256, D)
        depths.append(F.avg_pool2d(saliency(decode, patches), PATCH))  # (2, 224, 224) -> (2, 16, 16)
    return torch.stack(depths, dim=1)


def likeness(seen: Tensor) -> list[list[float]]:
    """(2, 12): the correlation of each layer's saliency with the last one's, over the patches."""
    centred = seen.flatten(2).double()
    centred = F.normalize(centred - centred.mean(dim=-1, keepdim=True), dim=-1)
    return (centred * centred[:, -1:]).sum(dim=-1).numpy().round(4).tolist()


def exactness(maps: np.ndarray) -> dict[str, float]:
    """How far the bytes are from the numbers, and the sums of their rows from 1."""
    shares = maps.astype(np.float64)
    back = from_digits(to_digits(shares))
    off = abs(back - shares)
    bands = {
        "below 1 %": (0, 0.00995),
        "below 10 %": (0.00995, 0.0995),
        "below 50 %": (0.0995, 0.495),
        "above": (0.495, 2),
    }
    found = {name: float(off[(shares >= low) & (shares < high)].max(initial=0)) for name, (low, high) in bands.items()}
    return found | {
        "mean": float(off.mean()),
        "largest number": float(shares.max()),
        "sum of a row": float(abs(back.sum(axis=-1) - 1).max()),
    }


def main(folder: Path) -> None:
    maps, twin = all_maps(folder)
    models, decode, shown = both_models(folder), decoder(folder), pictures(inputs())
    said = [lens(model, decode) for model in models]
    explorer = AttentionExplorer(shown, maps, GRID, twin=twin, files=FILES, brief=True, one_scale=True)
    paths = explorer.write_files(ASSETS)
    for name, image in zip(photographs(), shown, strict=True):
        to_pil_image(image).save(ASSETS / f"real_vit/{name}.jpg", quality=90)
    write_atomically(ASSETS / "real_vit/lens.bin", (255 * torch.stack(said)).round().byte().numpy().tobytes())
    sizes = {path.name: path.stat().st_size for path in paths}
    record = {
        "what": f"attention maps of {ABOUT}, and of a random twin, as bytes: largest errors, and sizes of the files",
        "device": describe(torch.device("cpu")),
        "versions": versions(),
        "published": exactness(maps.numpy()),
        "random": exactness(twin.numpy()),
        "lens": {
            name: {"likeness": likeness(part), "largest": part.amax(dim=(2, 3)).numpy().astype(float).round(4).tolist()}
            for name, part in zip(("published", "random"), said, strict=True)
        },
        "files": len(sizes),
        "largest": max(sizes.values()),
        "bytes": sum(sizes.values()),
    }
    write_json(RESULTS[0] / "published_vit_maps.json", record)
    print(json.dumps(record, indent=1))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
