"""Make a trained model do something else: a new head, what is trained, how fast, and features kept for the head. Chapter 09."""

import re
from collections.abc import Sequence
from fnmatch import fnmatchcase
from typing import TypeVar

import torch
from torch import nn

from course_lib.data.image_set import ImageSet
from course_lib.train.device import count_parameters
from course_lib.validate import check_choice, is_count

Model = TypeVar("Model", bound=nn.Module)

# What the last layer is called by timm and us, by torchvision's ResNets, by others.
HEADS = ("head", "fc", "classifier")

# What else stands behind the last block of a `VisionTransformer`.
BESIDE_THE_HEAD = ("pre_logits", "fc_norm", "attn_pool", "head_dist")

# The names of parameters in a layer that has a number: in a ViT's block, our ResNet's stage, torchvision's stage.
LAYER = re.compile(r"(?:blocks|stages)\.(?P<from_0>\d+)\.|layer(?P<from_1>\d+)\.")

TRAINABLE = {  # parameters by name, * stands for anything
    "head": ("head.*", "head_dist.*", "fc.*"),
    "attention": ("*.attn.*", "head.*", "head_dist.*", "fc.*"),
    "lora": ("*.lora_*", "head.*", "head_dist.*", "fc.*"),
    "all": ("*",),
}


def get_head(model: nn.Module) -> tuple[str, nn.Linear]:
    """(its name, the last linear layer) of a classifier.

    Raises:
        ValueError: it has none by one of the usual names.
    """
    for name in HEADS:
        if isinstance(head := getattr(model, name, None), nn.Linear):
            return name, head
    raise ValueError(
        f"the {type(model).__name__} has no linear layer called {', '.join(HEADS)}: it has no head to replace."
    )


def replace_head(model: Model, num_classes: int) -> Model:
    """Put a new head for `num_classes` classes in place of the old one; returns the model.

    Its weights and biases are 0: all classes are equally likely at the start, and the first step of the head does not
    depend on luck.

    Raises:
        ValueError: the model has no head, or `num_classes` is below 2.

    Source: Dosovitskiy et al. 2021, section 3.2: "a zero-initialized D x K feedforward layer". Chapter 09.
    """
    if not is_count(num_classes, least=2):
        raise ValueError(
            f"num_classes {num_classes} must be at least 2: with one class there is nothing to tell apart."
        )
    name, old = get_head(model)
    if reset := getattr(model, "reset_classifier", None):
        reset(num_classes)
    else:
        setattr(model, name, nn.Linear(old.in_features, num_classes).to(old.weight))
    for parameter in getattr(model, name).parameters():
        nn.init.zeros_(parameter)
    return model


def freeze_except(model: nn.Module, patterns: Sequence[str]) -> list[str]:
    """Train only the parameters whose name fits one of the patterns; returns the names of those.

    `train_one_epoch` leaves what is frozen as a whole in evaluation mode, so that its batch norms keep their statistics.

    Args:
        model: any module.
        patterns: such as "head.*" or "*.attn.*", where * stands for anything; `TRAINABLE` has the usual ones.

    Raises:
        ValueError: a pattern fits no parameter. Then nothing has changed.

    Source: Touvron et al. 2022, section 4, for the attention alone. Chapter 09.
    """
    names = [name for name, _ in model.named_parameters()]
    idle = [pattern for pattern in patterns if not any(fnmatchcase(name, pattern) for name in names)]
    if idle or not patterns:
        raise ValueError(f"no parameter of the {type(model).__name__} is called {' or '.join(idle) or 'nothing'}.")
    trained = [name for name in names if any(fnmatchcase(name, pattern) for pattern in patterns)]
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name in set(trained))
    return trained


def set_trainable(model: nn.Module, what: str) -> tuple[int, int]:
    """Freeze all but one of `TRAINABLE`: "head", "attention" (and head), "lora" (and head), "all".

    Returns:
        (how many parameters are trained, how many there are).

    Raises:
        ValueError: there is no such choice, or the model has no such parts.
    """
    check_choice("trained", what, TRAINABLE)
    names = [name for name, _ in model.named_parameters()]
    if what in ("attention", "lora") and not any(fnmatchcase(name, TRAINABLE[what][0]) for name in names):
        help = "call add_lora first" if what == "lora" else "choose head or all"
        raise ValueError(f"the {type(model).__name__} has no parameters called {TRAINABLE[what][0]}: {help}.")
    freeze_except(model, [p for p in TRAINABLE[what] if any(fnmatchcase(name, p) for name in names)])
    return count_parameters(model), sum(parameter.numel() for parameter in model.parameters())


def layerwise_lr(model: nn.Module, decay: float) -> dict[str, float]:
    """By how much the learning rate of each parameter is multiplied: 1 for the head, `decay` less for each layer below.

    A layer is a block of a ViT, or a stage of a ResNet. What comes before the first is one more layer, and the last
    norm belongs to the last block, as in timm.

    Args:
        model: a `VisionTransformer`, or a ResNet (torchvision's or ours).
        decay: above 0 and at most 1.

    Returns:
        {name of the parameter: factor}, in the order of the model.

    Raises:
        ValueError: the decay is out of range, or the model has no layers by these names.

    Source: Clark et al. 2020, section 3.1; Bao et al. 2022 for ViT. Chapter 09.
    """
    if not 0 < decay <= 1:
        raise ValueError(f"decay {decay!r} must be above 0 and at most 1.")
    numbers = {name: _layer_number(name) for name, _ in model.named_parameters()}
    depth = max(numbers.values(), default=0)
    if not depth:
        raise ValueError(
            f"the {type(model).__name__} has no parts called blocks.0, layer1 or stages.0: no layers to count."
        )
    after = dict.fromkeys((*HEADS, *BESIDE_THE_HEAD), depth + 1) | {"norm": depth}
    layers = {name: after.get(name.split(".")[0], number) for name, number in numbers.items()}
    return {name: decay ** (depth + 1 - layer) for name, layer in layers.items()}


def _layer_number(name: str) -> int:
    """The number of a parameter's layer, from 1; 0 if it is in none."""
    if not (layer := LAYER.match(name)):
        return 0
    return int(layer["from_0"]) + 1 if layer["from_0"] else int(layer["from_1"])


@torch.no_grad()
def cache_features(model: nn.Module, data: ImageSet, batch_size: int = 250) -> ImageSet:
    """What the head is given for each image, computed once: an `ImageSet` with "images" of (D, 1, 1).

    If only the head is trained, and the images are not augmented, the rest of the model gives the same numbers in every
    epoch. With these in place of the images, `fit(head_alone(model), ...)` does the same training for a small part of
    the time. The model is in evaluation mode afterwards.

    Args:
        model: a classifier with a head (see `get_head`).
        data: an `ImageSet`.
        batch_size: images at a time.

    Source: Kornblith et al. 2019, section 3.1, for classifiers on fixed features. Chapter 09.
    """
    model.eval()
    weight = next(model.parameters())
    found: list[torch.Tensor] = []
    watch = get_head(model)[1].register_forward_pre_hook(lambda head, inputs: found.append(inputs[0].float()))
    try:
        for images, _ in data.batches(batch_size):
            model(images.to(weight))
    finally:
        watch.remove()
    features = torch.cat(found)[:, :, None, None].to(data.labels.device)  # (n, D, 1, 1)
    return ImageSet(f"{data.name}, features", features, data.labels, data.classes, (0.0,), (1.0,))


def head_alone(model: nn.Module) -> nn.Sequential:
    """The model's own head as a classifier of features: (B, D, 1, 1) -> (B, K). What it learns, the model has learned."""
    return nn.Sequential(nn.Flatten(), get_head(model)[1])
