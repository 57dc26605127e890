"""Build a Vision Transformer by its name, with published weights or without. Chapter 06."""

from dataclasses import replace
from difflib import get_close_matches
from typing import Any

from course_lib.vit import VIT_CONFIGS, VisionTransformer, ViTConfig
from course_lib.weights.load import load_pretrained
from course_lib.weights.registry import default_weights


def create_model(name: str, *, pretrained: bool | str = False, **overrides: Any) -> VisionTransformer:
    """Build a model by name.

        create_model("vit_base_patch16_224", num_classes=10, drop_path_rate=0.1)

    Args:
        name: one of `VIT_CONFIGS`.
        pretrained: True loads the weights published for that name (see `course_lib.weights.DEFAULTS`); a string
            says which: a registry name or a path. False starts from random weights.
        overrides: fields of `ViTConfig` to change. With pretrained weights, `num_classes` makes a new head.

    Raises:
        ValueError: no such name or field, or the weights do not fit.

    Source: Dosovitskiy et al. 2021, table 1. Chapter 06.
    """
    if name not in VIT_CONFIGS:
        near = [each for each in VIT_CONFIGS if each.startswith(name)] or get_close_matches(
            name, VIT_CONFIGS, 5, cutoff=0.3
        )
        raise ValueError(
            f"model {name!r} is none of the {len(VIT_CONFIGS)} names in VIT_CONFIGS; near it are {', '.join(near[:5])}."
        )
    unknown = [field for field in overrides if field not in ViTConfig.__dataclass_fields__]
    if unknown:
        raise ValueError(
            f"{', '.join(unknown)}: no field of ViTConfig; there are {', '.join(ViTConfig.__dataclass_fields__)}."
        )
    config = replace(VIT_CONFIGS[name], **overrides)
    model = VisionTransformer(config)
    if pretrained:
        weights = default_weights(name) if pretrained is True else pretrained
        load_pretrained(model, weights, num_classes=overrides.get("num_classes"))
    return model


def vit_b_16(**overrides: Any) -> VisionTransformer:
    """ViT-B/16 for 224 x 224 images and 1000 classes: 86,567,656 parameters. Takes what `create_model` takes. Chapter 06."""
    return create_model("vit_base_patch16_224", **overrides)
