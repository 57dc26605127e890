"""Low-rank adaptation: train a narrow detour around a frozen linear layer. Chapter 09."""

import math
from typing import TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Model = TypeVar("Model", bound=nn.Module)

TARGETS = ("attn.qkv", "attn.proj")  # how the names of the adapted layers end


def lora_linear(x: Tensor, weight: Tensor, bias: Tensor | None, down: Tensor, up: Tensor, scale: float) -> Tensor:
    """A linear layer and a detour through `rank` dimensions: x Wᵀ + b + scale · x downᵀ upᵀ.

    Args:
        x: (..., d_in).
        weight, bias: (d_out, d_in) and (d_out,) or None, as they were trained; they stay as they are.
        down: (rank, d_in).
        up: (d_out, rank).
        scale: a number.

    Returns:
        (..., d_out).

    Source: Hu et al. 2022, equation 3. Chapter 09.
    """
    return F.linear(x, weight, bias) + scale * F.linear(F.linear(x, down), up)


class LoRALinear(nn.Linear):
    """A linear layer whose weight is frozen, and beside it a detour of low rank that is trained.

    It takes over the layer's parameters under their old names, `weight` and `bias`, and adds `lora_down` (rank, d_in)
    and `lora_up` (d_out, rank). `lora_up` begins at 0, so that nothing has changed before the first step.

    Args:
        linear: an `nn.Linear`; the new layer uses its very parameters, and freezes them.
        rank: width of the detour.
        alpha: its weight is alpha / rank, so that another rank needs no other learning rate.

    Raises:
        ValueError: the rank is not between 1 and the smaller side of the weight.

    Source: Hu et al. 2022, section 4.1. Chapter 09.
    """

    def __init__(self, linear: nn.Linear, rank: int, alpha: float) -> None:
        if not 1 <= rank <= min(linear.weight.shape):
            raise ValueError(
                f"rank {rank} must be between 1 and the smaller side of weight {tuple(linear.weight.shape)}."
            )
        nn.Module.__init__(self)  # the parameters are there already
        self.in_features, self.out_features = linear.in_features, linear.out_features
        self.weight, self.bias = linear.weight, linear.bias
        self.scale = alpha / rank
        self.lora_down = nn.Parameter(torch.empty_like(self.weight[:rank]))  # (rank, d_in)
        self.lora_up = nn.Parameter(torch.zeros_like(self.weight[:, :rank]))  # (d_out, rank)
        nn.init.kaiming_uniform_(self.lora_down, a=math.sqrt(5))  # as nn.Linear starts its weight
        for parameter in linear.parameters():
            parameter.requires_grad_(False)

    def forward(self, x: Tensor) -> Tensor:
        return lora_linear(x, self.weight, self.bias, self.lora_down, self.lora_up, self.scale)


def add_lora(model: Model, rank: int = 8, alpha: float = 16) -> Model:
    """Put a `LoRALinear` in place of each linear layer of the attention (see `TARGETS`); returns the model.

    Raises:
        ValueError: no linear layer has such a name, the rank is too large for one, or the model has detours already.

    Source: Hu et al. 2022, section 4.2, which adapts the attention weights only. Chapter 09.
    """
    linear = {name: part for name, part in model.named_modules() if isinstance(part, nn.Linear)}
    detours = [name for name, part in linear.items() if isinstance(part, LoRALinear)]
    if detours:
        raise ValueError(
            f"{detours[0]} has a detour already: merge_lora keeps what it has learned, then add a new one."
        )
    found = {name: LoRALinear(part, rank, alpha) for name, part in linear.items() if name.endswith(TARGETS)}
    if not found:
        raise ValueError(
            f"no linear layer of the {type(model).__name__} has a name that ends in {' or '.join(TARGETS)}."
        )
    for name, part in found.items():
        model.set_submodule(name, part)
    return model


@torch.no_grad()
def merge_lora(model: Model) -> Model:
    """Add each detour to the weight beside it, and put plain linear layers back: same answers, no cost. Returns the model.

    Source: Hu et al. 2022, section 4.1. Chapter 09.
    """
    for name, part in list(model.named_modules()):
        if isinstance(part, LoRALinear):
            linear = nn.Linear(part.in_features, part.out_features, part.bias is not None, device="meta")
            linear.weight, linear.bias = part.weight, part.bias
            linear.weight += part.scale * part.lora_up @ part.lora_down
            model.set_submodule(name, linear)
    return model
