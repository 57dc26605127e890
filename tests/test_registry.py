"""The list of published weights: what the libraries say of their own files, what proves each, and what README says."""

import json
import math
import os
import re
from pathlib import Path

import pytest
import torch
from weight_files import torchvision_weights

from course_lib.vit import VIT_CONFIGS, VisionTransformer
from course_lib.weights import registry
from course_lib.weights.registry import DEFAULTS, REGISTRY

DINOV2 = re.compile(r"facebook/dinov2-(with-registers-)?(small|base|large|giant)")

README = (Path(__file__).parent.parent / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", REGISTRY)
def test_every_entry_is_well_formed(name):
    entry = REGISTRY[name]
    config = VIT_CONFIGS[entry.architecture]
    assert entry.name == name
    assert entry.url is None or entry.url.startswith("https://")
    assert entry.file
    assert "/" not in entry.file
    assert entry.url is None or entry.file.endswith(os.path.splitext(entry.url)[1])
    assert entry.size is None or entry.size > 1e6 or name.startswith("course/")
    assert entry.sha256 is None or re.fullmatch("[0-9a-f]{64}|[0-9a-f]{8}", entry.sha256)
    assert entry.norm_eps in (1e-5, 1e-6, 1e-12, None)
    assert entry.num_classes >= 0
    assert entry.top1 is None or (50 < entry.top1 < 100 and entry.top1_from)
    short = re.search(r"-([0-9a-f]{8})\.pth$", entry.file)
    if short:
        assert (entry.sha256 or short[1]).startswith(short[1])
        assert entry.digest.startswith(short[1])
        assert short[0] in entry.url
    images = entry.preprocessing
    if images:
        side = 224 if DINOV2.fullmatch(name) else config.img_size  # the hub's processor, of positions for 518
        assert images.input_size == (side, side)
        assert len(images.mean) == len(images.std) == config.in_chans
        assert all(0 < value < 1 for value in images.mean + images.std)
        assert images.interpolation in ("bilinear", "bicubic")
        sides = (images.resize, images.resize) if isinstance(images.resize, int) else images.resize
        assert sides in (None, "cover") or all(
            size <= side <= 1.2 * size for side, size in zip(sides, images.input_size, strict=True)
        )


def test_the_json_says_what_is_unknown():
    """Nothing is half known: mean without std, a filter without a size."""
    facts = json.loads((Path(registry.__file__).parent / "registry.json").read_text(encoding="utf-8"))
    assert {entry["name"] for entry in facts} == {name for name in REGISTRY if not name.startswith("course/")}
    assert len({tuple(sorted(entry)) for entry in facts}) == 1
    for entry in facts:
        assert (entry["mean"] is None) == (entry["std"] is None) == (entry["interpolation"] is None), entry["name"]
        hub = DINOV2.fullmatch(entry["name"])
        assert entry["input_size"] == (224 if hub else VIT_CONFIGS[entry["architecture"]].img_size)
        assert entry["resize"] is None or entry["mean"] is not None
        if entry["sha256"] is not None:
            assert re.fullmatch("[0-9a-f]{64}", entry["sha256"]), entry["name"]


def test_file_names_are_unique():
    assert len({entry.file.lower() for entry in REGISTRY.values()}) == len(REGISTRY)
    urls = [entry.url for entry in REGISTRY.values() if entry.url]
    assert len(set(urls)) == len(urls)


def test_the_defaults_exist():
    assert set(DEFAULTS) <= set(VIT_CONFIGS)
    missing = [name for name in DEFAULTS.values() if name not in REGISTRY]
    assert not missing
    for architecture, name in DEFAULTS.items():
        assert REGISTRY[name].architecture == architecture
        assert REGISTRY[name].num_classes == VIT_CONFIGS[architecture].num_classes  # else pretrained=True cannot fit
        assert REGISTRY[name].preprocessing is not None


def test_every_architecture_with_published_weights_has_a_default():
    assert {entry.architecture for entry in REGISTRY.values()} <= set(DEFAULTS)


@pytest.mark.slow
def test_torchvision_entries_are_torchvisions():
    theirs = torchvision_weights()
    assert set(theirs) == {name for name in REGISTRY if name.startswith("torchvision/")}
    for name, weights in theirs.items():
        entry, images = REGISTRY[name], weights.transforms()
        assert entry.url == weights.url
        assert entry.file == weights.url.rsplit("/", 1)[1]
        assert entry.num_classes == len(weights.meta["categories"])
        assert entry.top1 == weights.meta["_metrics"]["ImageNet-1K"]["acc@1"]
        ours = entry.preprocessing
        assert list(ours.mean) == images.mean
        assert list(ours.std) == images.std
        assert [ours.resize] == images.resize_size
        assert list(ours.input_size) == images.crop_size * 2
        assert ours.interpolation == images.interpolation.value
        assert weights.meta["min_size"] == ours.input_size
        assert entry.norm_eps == 1e-6
        with torch.device("meta"):
            model = VisionTransformer(VIT_CONFIGS[entry.architecture])
        assert sum(parameter.numel() for parameter in model.parameters()) == weights.meta["num_params"]


TIMM_ENTRIES = sorted(name for name in REGISTRY if re.match(r"timm/(vit|deit3?)_", name))


@pytest.mark.parametrize("name", TIMM_ENTRIES)
def test_timm_entries_are_timms(name):
    from timm.models import get_pretrained_cfg, is_model

    entry, theirs = REGISTRY[name], get_pretrained_cfg(name.removeprefix("timm/"))
    assert theirs is not None
    assert is_model(entry.architecture)
    assert theirs.architecture == entry.architecture
    hub = name.replace("_quickgelu", "")  # one file for both
    assert theirs.hf_hub_id == hub
    assert re.fullmatch(rf"https://huggingface\.co/{hub}/resolve/(main|[0-9a-f]{{40}})/model\.safetensors", entry.url)
    ours = entry.preprocessing
    assert (ours.mean, ours.std) == (tuple(theirs.mean), tuple(theirs.std))
    assert (3, *ours.input_size) == tuple(theirs.input_size)
    assert ours.resize == math.floor(theirs.input_size[-1] / theirs.crop_pct)
    assert ours.interpolation == theirs.interpolation
    assert theirs.crop_mode == "center"
    assert entry.num_classes == theirs.num_classes


def test_the_hubs_dinov2_want_their_images_as_its_processor_gives_them():
    """Resize 256, crop 224, bicubic, ImageNet's mean and std: transformers' convert_dinov2_to_hf.py wrote them so."""
    from transformers import BitImageProcessor
    from transformers.image_utils import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD

    names = [name for name in REGISTRY if DINOV2.fullmatch(name)]
    assert len(names) == 8
    theirs = BitImageProcessor(
        size={"shortest_edge": 256}, image_mean=IMAGENET_DEFAULT_MEAN, image_std=IMAGENET_DEFAULT_STD
    )
    for name in names:
        entry = REGISTRY[name]
        ours = entry.preprocessing
        assert (list(ours.mean), list(ours.std)) == (list(theirs.image_mean), list(theirs.image_std))
        assert ours.resize == theirs.size["shortest_edge"]
        assert ours.input_size == (theirs.crop_size["height"], theirs.crop_size["width"])
        assert (ours.interpolation, int(theirs.resample)) == ("bicubic", 3)
        size, registers = name.rpartition("-")[2], "reg4_" * ("registers" in name)
        assert entry.architecture == f"vit_{size}_patch14_{registers}dinov2"


def test_what_chapters_and_recipes_ask_for_is_there():
    assert len(TIMM_ENTRIES) > 30
    assert "jx_vit_base_p16_224-80ecf9dd.pth" in {entry.file for entry in REGISTRY.values()}


def test_readme_says_what_proves_each():
    """How many are known by the whole SHA-256, by its first digits in the name, and only by what the hub says."""
    entries = REGISTRY.values()
    unknown = [entry for entry in entries if entry.digest is None]
    short = [entry for entry in entries if entry.digest and len(entry.digest) == 8]
    whole = len(entries) - len(unknown) - len(short)
    assert all(entry.url.startswith("https://huggingface.co/") for entry in unknown)
    said = f"({whole} files), its first eight digits in the name ({len(short)}), or what the Hugging Face hub says as it sends the file ({len(unknown)})"
    assert said in " ".join(README.split())
