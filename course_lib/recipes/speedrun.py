"""The speedrun: which plain ViT reaches a target at the least cost, by what was recorded. Chapter 08.

Cost is counted in floating-point operations, which are the same on every machine; seconds are in the records.
"""

import torch
from torch import nn

from course_lib.recipes.recipe import Recipe
from course_lib.recipes.runner import RECIPES
from course_lib.records import load_record
from course_lib.vit import VisionTransformer, ViTConfig

TRAINING_IMAGES = {"cifar10": 45_000, "cifar10_jpeg": 45_000, "cifar100": 45_000, "mnist": 55_000}


def forward_flops(model: nn.Module, *shape: int) -> int:
    """Floating-point operations of one image's way through a model, (C, h, w) being its shape.

    Counted are matrix products and convolutions, a multiplication and an addition each, as PyTorch's own counter does.

    Source: Kaplan et al. 2020, section 2.1. Chapter 08.
    """
    from torch.utils.flop_counter import FlopCounterMode

    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        model(torch.zeros(1, *shape, device="meta"))
    return counter.get_total_flops()


def training_flops(recipe: Recipe) -> float:
    """Of a whole run by a ViT's recipe: 3 times those forward (backward takes twice as many), for each image shown.

    Patches that are left out cost their embedding only. Not counted: the optimiser (Muon's products are about a tenth more),
    augmentation, validation.

    Raises:
        ValueError: it is no ViT, or how many images its data has is not known.

    Source: Kaplan et al. 2020, section 2.1. Chapter 08.
    """
    config, train = recipe.model, recipe.train
    if not isinstance(config, ViTConfig) or not (recipe.images or recipe.data in TRAINING_IMAGES):
        known = ", ".join(TRAINING_IMAGES)
        raise ValueError(
            f"operations are counted for ViTs on {known}, not for a {type(config).__name__} on {recipe.data}."
        )
    with torch.device("meta"):
        model = VisionTransformer(config)
    height, width = config.img_size if isinstance(config.img_size, tuple) else (config.img_size, config.img_size)
    shape = (config.in_chans, height, width)
    whole = forward_flops(model.eval(), *shape)
    model.patch_drop.rate = train.patch_drop
    early = forward_flops(model.train(), *shape)
    share = train.patch_drop_until if train.patch_drop else 0.0
    images = recipe.images or TRAINING_IMAGES[recipe.data]
    shown = train.epochs * (images // train.batch_size * train.batch_size)
    return 3.0 * shown * (share * early + (1 - share) * whole)


def recorded(data: str) -> dict[str, float]:
    """{recipe: mean accuracy on validation over its recorded runs} of all plain ViTs from random weights on `data`."""
    found = {}
    for name, recipe in RECIPES.items():
        if (
            recipe.data == data in TRAINING_IMAGES
            and type(recipe.model) is ViTConfig
            and not recipe.weights
            and not recipe.images
        ):
            try:
                runs = load_record(name)["runs"]
            except ValueError:
                continue
            found[name] = sum(run["val_accuracy"] for run in runs) / len(runs)
    return found


def quickest(data: str, target: float) -> Recipe:
    """The recipe with the fewest operations whose recorded runs reached `target` per cent on validation, in the mean.

    Raises:
        ValueError: nothing was recorded on such data, or nothing that good; the line says what there is.
    """
    found = recorded(data)
    if not found:
        there = sorted({recipe.data for recipe in RECIPES.values() if recorded(recipe.data)})
        raise ValueError(f"no recorded run of a plain ViT on {data}; there are some on {', '.join(there)}.")
    good = [name for name, accuracy in found.items() if 100 * accuracy >= target]
    if not good:
        best = max(found, key=lambda name: found[name])
        raise ValueError(
            f"no recorded recipe reaches {target:g} % of {data}'s validation split; the best is {best} with "
            f"{100 * found[best]:.2f} %: choose a lower target, or go beyond it with course train."
        )
    return min((RECIPES[name] for name in good), key=training_flops)
