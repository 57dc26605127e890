"""The published weights that are known by name: where they are, what proves them, how they want their images.

The facts stand in `registry.json`, those of the course's own weights in `manifest.json` beside them. What could not
be found at a source is null there: unknown, never a guess. Chapter 06.
"""

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from course_lib.files.places import CHECKPOINTS
from course_lib.weights.preprocessing import Preprocessing

# What `create_model(name, pretrained=True)` loads.
DEFAULTS = {
    "vit_tiny_patch16_224": "timm/vit_tiny_patch16_224.augreg_in21k_ft_in1k",
    "vit_tiny_patch16_384": "timm/vit_tiny_patch16_384.augreg_in21k_ft_in1k",
    "vit_small_patch16_224": "timm/vit_small_patch16_224.augreg_in21k_ft_in1k",
    "vit_small_patch16_384": "timm/vit_small_patch16_384.augreg_in21k_ft_in1k",
    "vit_small_patch32_224": "timm/vit_small_patch32_224.augreg_in21k_ft_in1k",
    "vit_small_patch32_384": "timm/vit_small_patch32_384.augreg_in21k_ft_in1k",
    "vit_base_patch8_224": "timm/vit_base_patch8_224.augreg2_in21k_ft_in1k",
    "vit_base_patch16_224": "torchvision/vit_b_16.imagenet1k_v1",
    "vit_base_patch16_384": "timm/vit_base_patch16_384.augreg_in21k_ft_in1k",
    "vit_base_patch32_224": "torchvision/vit_b_32.imagenet1k_v1",
    "vit_base_patch32_384": "timm/vit_base_patch32_384.augreg_in21k_ft_in1k",
    "vit_large_patch16_224": "torchvision/vit_l_16.imagenet1k_v1",
    "vit_large_patch16_384": "timm/vit_large_patch16_384.augreg_in21k_ft_in1k",
    "vit_large_patch16_512": "torchvision/vit_l_16.imagenet1k_swag_e2e_v1",
    "vit_large_patch32_224": "torchvision/vit_l_32.imagenet1k_v1",
    "vit_large_patch32_384": "timm/vit_large_patch32_384.orig_in21k_ft_in1k",
    "vit_huge_patch14_224": "torchvision/vit_h_14.imagenet1k_swag_linear_v1",
    "vit_huge_patch14_518": "torchvision/vit_h_14.imagenet1k_swag_e2e_v1",
    "deit_tiny_patch16_224": "timm/deit_tiny_patch16_224.fb_in1k",
    "deit_small_patch16_224": "timm/deit_small_patch16_224.fb_in1k",
    "deit_base_patch16_224": "timm/deit_base_patch16_224.fb_in1k",
    "deit_base_patch16_384": "timm/deit_base_patch16_384.fb_in1k",
    "deit_tiny_distilled_patch16_224": "timm/deit_tiny_distilled_patch16_224.fb_in1k",
    "deit_small_distilled_patch16_224": "timm/deit_small_distilled_patch16_224.fb_in1k",
    "deit_base_distilled_patch16_224": "timm/deit_base_distilled_patch16_224.fb_in1k",
    "deit_base_distilled_patch16_384": "timm/deit_base_distilled_patch16_384.fb_in1k",
    "deit3_small_patch16_224": "timm/deit3_small_patch16_224.fb_in1k",
    "deit3_medium_patch16_224": "timm/deit3_medium_patch16_224.fb_in1k",
    "deit3_base_patch16_224": "timm/deit3_base_patch16_224.fb_in1k",
    "deit3_large_patch16_224": "timm/deit3_large_patch16_224.fb_in1k",
    "deit3_small_patch16_384": "timm/deit3_small_patch16_384.fb_in1k",
    "deit3_base_patch16_384": "timm/deit3_base_patch16_384.fb_in1k",
    "deit3_large_patch16_384": "timm/deit3_large_patch16_384.fb_in1k",
    "deit3_huge_patch14_224": "timm/deit3_huge_patch14_224.fb_in1k",
    "vit_small_patch14_dinov2": "timm/vit_small_patch14_dinov2.lvd142m",
    "vit_base_patch14_dinov2": "timm/vit_base_patch14_dinov2.lvd142m",
    "vit_large_patch14_dinov2": "timm/vit_large_patch14_dinov2.lvd142m",
    "vit_giant_patch14_dinov2": "timm/vit_giant_patch14_dinov2.lvd142m",
    "vit_small_patch14_reg4_dinov2": "timm/vit_small_patch14_reg4_dinov2.lvd142m",
    "vit_base_patch14_reg4_dinov2": "timm/vit_base_patch14_reg4_dinov2.lvd142m",
    "vit_large_patch14_reg4_dinov2": "timm/vit_large_patch14_reg4_dinov2.lvd142m",
    "vit_giant_patch14_reg4_dinov2": "timm/vit_giant_patch14_reg4_dinov2.lvd142m",
    "vit_small_patch16_dinov3": "timm/vit_small_patch16_dinov3.lvd1689m",
    "vit_base_patch16_dinov3": "timm/vit_base_patch16_dinov3.lvd1689m",
    "vit_large_patch16_dinov3": "timm/vit_large_patch16_dinov3.lvd1689m",
    "vit_small_patch16_dinov3_qkvb": "timm/vit_small_patch16_dinov3_qkvb.lvd1689m",
    "vit_base_patch16_dinov3_qkvb": "timm/vit_base_patch16_dinov3_qkvb.lvd1689m",
    "vit_large_patch16_dinov3_qkvb": "timm/vit_large_patch16_dinov3_qkvb.lvd1689m",
    "vit_base_patch16_clip_224": "timm/vit_base_patch16_clip_224.laion2b",
    "vit_base_patch32_clip_224": "timm/vit_base_patch32_clip_224.laion2b",
    "vit_large_patch14_clip_224": "timm/vit_large_patch14_clip_224.laion2b",
    "vit_base_patch16_clip_quickgelu_224": "timm/vit_base_patch16_clip_quickgelu_224.openai",
    "vit_base_patch32_clip_quickgelu_224": "timm/vit_base_patch32_clip_quickgelu_224.openai",
    "vit_base_patch16_siglip_224": "timm/vit_base_patch16_siglip_224.webli",
    "vit_digits_patch2_8": "course/vit_digits_patch2_8",
    "vit_mnist_patch4_28": "course/vit_mnist_patch4_28",
    "vit_cifar_small_patch4_32": "course/vit_cifar_small_patch4_32",
    "vit_mnist_token_patch4_28": "course/vit_mnist_token_patch4_28",
    "vit_cifar_token_patch4_32": "course/vit_cifar_token_patch4_32",
    "vit_shapes_token_patch4_32": "course/vit_shapes_token_patch4_32",
}


@dataclass(frozen=True)
class WeightsEntry:
    """One published file. None means that the fact could not be found at a source.

    Args:
        name: how it is asked for.
        architecture: the name in `VIT_CONFIGS` that it fits.
        url: its address, https; None for weights that come with the course.
        file: what it is called on disk.
        size: bytes.
        sha256: of the whole file.
        preprocessing: a `Preprocessing`, or None.
        norm_eps: what its LayerNorms add to the variance.
        num_classes: outputs of its head; 0 if it has none.
        top1, top1_from: accuracy in percent, and whose figure it is: its publisher's, except for the course's own.
        licence: as its publisher states it.
        classes: the name of each output; () where none stand with the weights (see `imagenet_classes`).
    """

    name: str
    architecture: str
    url: str | None
    file: str
    size: int | None
    sha256: str | None
    preprocessing: Preprocessing | None
    norm_eps: float | None
    num_classes: int
    top1: float | None
    top1_from: str | None
    licence: str | None
    classes: tuple[str, ...] = ()

    @property
    def digest(self) -> str | None:
        """All that is published of the SHA-256: the whole, or the first eight digits in the file's name, or None.

        Of files without one, all on the Hugging Face hub, the hub states it as it sends them: see `files.fetch`.
        """
        short = re.search(r"-([0-9a-f]{8})\.pth$", self.file)  # published: they are meant, even without a letter
        return self.sha256 or (short[1] if short else None)


def _entry(facts: dict[str, Any]) -> WeightsEntry:
    facts = dict(facts)
    mean, std, size, resize, interpolation = (
        facts.pop(name) for name in ("mean", "std", "input_size", "resize", "interpolation")
    )
    preprocessing = None
    if mean is not None and interpolation is not None:
        resize = tuple(resize) if isinstance(resize, list) else resize
        preprocessing = Preprocessing(tuple(mean), tuple(std), (size, size), resize, interpolation)
    return WeightsEntry(preprocessing=preprocessing, classes=tuple(facts.pop("classes", ())), **facts)


def _read() -> dict[str, WeightsEntry]:
    files = [Path(__file__).parent / "registry.json", *(folder / "manifest.json" for folder in CHECKPOINTS)]
    facts = [facts for file in files if file.is_file() for facts in json.loads(file.read_text(encoding="utf-8"))]
    return {entry["name"]: _entry(entry) for entry in facts}


REGISTRY = _read()


def imagenet_classes() -> tuple[str, ...]:
    """The names of ImageNet's 1000 classes in the order that all published heads have, as torchvision knows them."""
    from torchvision.models import ViT_B_16_Weights

    return tuple(ViT_B_16_Weights.IMAGENET1K_V1.meta["categories"])


def find_entry(name: str) -> WeightsEntry:
    """The entry of that name.

    Raises:
        ValueError: there is none; the line names the nearest.
    """
    if name not in REGISTRY:
        from difflib import get_close_matches

        near = get_close_matches(name, REGISTRY, n=3, cutoff=0.3) or list(REGISTRY)[:3]
        raise ValueError(
            f"no weights {name!r}, neither a file of that path nor a name in the registry; near it are {', '.join(near)}."
        )
    return REGISTRY[name]


def default_weights(architecture: str) -> str:
    """The name of the weights that `pretrained=True` means.

    Raises:
        ValueError: none are published for this architecture.
    """
    if architecture not in DEFAULTS:
        raise ValueError(f"no weights are published for {architecture!r}; there are some for {', '.join(DEFAULTS)}.")
    return DEFAULTS[architecture]
