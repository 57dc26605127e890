"""What an optimiser is fed with: a learning rate, groups of parameters, a loss; and averaged weights. Chapters 07 and 08."""

import math
from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import (
    Tensor,
    _foreach_lerp_,  # pyright: ignore[reportPrivateImportUsage]
    nn,
)


def warmup_cosine_lr(step: int, total_steps: int, warmup_steps: int, peak: float) -> float:
    """The learning rate of a step: a straight line up to `peak`, then half a cosine down towards 0.

    Args:
        step: the number of the step, from 0.
        total_steps: how many there are; the rate would be 0 at the step after the last.
        warmup_steps: over how many of them the rate rises; the last of these is the first with the peak.
        peak: the highest rate.

    Returns:
        a float; never 0, so that no step is wasted.

    Raises:
        ValueError: the step is not one of them.

    Source: Goyal et al. 2017 and Liu et al. 2020 for the warm-up, Loshchilov & Hutter 2017, equation 5, for the
    cosine. Chapter 07.
    """
    if not 0 <= step < total_steps:
        raise ValueError(f"step {step} must be at least 0 and below total_steps {total_steps}.")
    if step < warmup_steps:
        return peak * (step + 1) / warmup_steps
    progress = (step - warmup_steps) / (total_steps - warmup_steps)
    return peak * 0.5 * (1 + math.cos(math.pi * progress))


def warmup_linear_lr(step: int, total_steps: int, warmup_steps: int, peak: float) -> float:
    """As `warmup_cosine_lr`, but down along a straight line.

    Source: Devlin et al. 2019 for the line; Defazio et al. 2023 for how well it does. Chapter 08.
    """
    rate = warmup_cosine_lr(step, total_steps, warmup_steps, peak)
    return rate if step < warmup_steps else peak * (total_steps - step) / (total_steps - warmup_steps)


SCHEDULES = {"cosine": warmup_cosine_lr, "linear": warmup_linear_lr}


def param_groups(model: nn.Module, weight_decay: float) -> list[dict]:
    """The parameters in two groups for the optimiser: those that decay, and those that do not.

    Only what multiplies something decays: the weights of linear and convolution layers. Biases, norms, the class
    token, positions and tables of position biases are left alone. What is frozen is in neither group.

    Source: Dosovitskiy et al. 2021, released code; Touvron et al. 2021. Chapter 07.
    """
    decay, rest = [], []
    for name, parameter in model.named_parameters():
        kept = parameter.ndim < 2 or name.endswith(("_token", "pos_embed", "bias_table", "latent"))
        if parameter.requires_grad:
            (rest if kept else decay).append(parameter)
    return [{"params": decay, "weight_decay": weight_decay}, {"params": rest, "weight_decay": 0.0}]


def split_by_rate(groups: list[dict], model: nn.Module, rates: Mapping[str, float]) -> list[dict]:
    """The same parameters in more groups, each with one factor for its learning rate, as "lr_scale".

    Args:
        groups: from `param_groups`.
        model: the module that they are from.
        rates: {name of a parameter: factor}, such as from `course_lib.finetune.layerwise_lr`; 1 for the others.

    Raises:
        ValueError: the model has no parameter of such a name.

    Source: Howard & Ruder 2018, section 3.2, "discriminative fine-tuning". Chapter 09.
    """
    named = dict(model.named_parameters())
    unknown = [name for name in rates if name not in named]
    if unknown:
        raise ValueError(f"the {type(model).__name__} has no parameter called {', '.join(unknown[:3])}.")
    factors = {id(parameter): float(rates.get(name, 1.0)) for name, parameter in named.items()}
    return [
        group
        | {
            "params": [p for p in group["params"] if factors[id(p)] == factor],
            "lr_scale": factor * group.get("lr_scale", 1.0),
        }
        for group in groups
        for factor in sorted({factors[id(parameter)] for parameter in group["params"]})
    ]


def soft_cross_entropy(
    logits: Tensor, targets: Tensor, smoothing: float = 0.0, weights: Tensor | None = None
) -> Tensor:
    """Cross-entropy against targets that are shares of classes: (B, classes), (B, classes) -> the mean over B.

    Args:
        logits, targets: of one shape.
        smoothing: the share of each target that is taken away and spread evenly over all classes.
        weights: (classes,) what each class's term counts, such as from `class_weights`; None for 1.

    Raises:
        ValueError: the shapes differ.

    Source: Szegedy et al. 2016, section 7. Chapter 08.
    """
    if logits.shape != targets.shape:
        raise ValueError(
            f"logits {tuple(logits.shape)} and targets {tuple(targets.shape)} must have the same shape: "
            "the model needs one output for each class."
        )
    return F.cross_entropy(logits, targets, weights, label_smoothing=smoothing)


def ema_decay(decay: float, step: int, total_steps: int) -> float:
    """How much of the old average stays at a step: `decay`, or less where the run is too short for it.

    Of the weights that a run begins with, decay ** total_steps is still in the average at its end. Where that is more
    than a hundredth, the average would be of weights that know nothing: there it is min(decay, (1 + t) / (10 + t)) at
    step t, so that it reaches back over about a tenth of the steps so far. In a longer run it is `decay` throughout.

    Args:
        decay: the share that is asked for, from 0 to 1.
        step: the number of the step, from 0.
        total_steps: how many there are.

    Source: TensorFlow's ExponentialMovingAverage, for the shorter average. Chapter 08.
    """
    return min(decay, (1 + step) / (10 + step)) if decay**total_steps > 0.01 else decay


@torch.no_grad()
def ema_update(average: nn.Module, model: nn.Module, decay: float) -> None:
    """Move each weight of `average` towards the one of `model`: decay · old + (1 - decay) · new, in place.

    Source: Polyak & Juditsky 1992; Izmailov et al. 2018. Chapter 08.
    """
    _foreach_lerp_(list(average.parameters()), list(model.parameters()), 1 - decay)
    for old, new in zip(average.buffers(), model.buffers(), strict=True):
        old.copy_(new)
