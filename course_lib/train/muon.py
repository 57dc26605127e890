"""Muon: momentum that is made orthogonal, matrix by matrix, before it moves the weights. Chapter 08."""

from collections.abc import Callable

import torch
from torch import (
    Tensor,
    _foreach_lerp,  # pyright: ignore[reportPrivateImportUsage]
    _foreach_lerp_,  # pyright: ignore[reportPrivateImportUsage]
    nn,
)

MOMENTUM = 0.95
COEFFICIENTS = (3.4445, -4.7750, 2.0315)  # of s, s³ and s⁵: chosen to lift small singular values fast, not to end at 1


def newton_schulz(matrices: Tensor, steps: int = 5) -> Tensor:
    """Each matrix with its singular values brought near 1: U S Vᵀ -> about U Vᵀ, by products alone.

    A step turns each singular value s into 3.4445 s - 4.7750 s³ + 2.0315 s⁵. They never settle at 1: after five steps
    those that were more than two thousandths of the matrix's length lie between 0.68 and 1.21.

    Args:
        matrices: (..., rows, columns), of any size but 0; each is divided by its length first.
        steps: how often the polynomial is applied.

    Returns:
        the same shape and dtype. A matrix of zeros stays as it is.

    Raises:
        ValueError: there are fewer than two dimensions.

    Source: Jordan et al. 2024, "Muon: an optimizer for hidden layers in neural networks"; Bernstein & Newhouse 2024,
    section 3. Chapter 08.
    """
    if matrices.ndim < 2:
        raise ValueError(
            f"matrices {tuple(matrices.shape)} must be (..., rows, columns): a vector has no singular values."
        )
    tall = matrices.shape[-2] > matrices.shape[-1]
    x = matrices.mT if tall else matrices  # the smaller side first: the products below are then (rows, rows)
    x = x / (x.norm(dim=(-2, -1), keepdim=True) + 1e-7)
    a, b, c = COEFFICIENTS
    for _ in range(steps):
        square = x @ x.mT  # (..., rows, rows)
        x = a * x + (b * square + c * square @ square) @ x
    return x.mT if tall else x


class MuonAdamW(torch.optim.AdamW):
    """Muon for the groups of parameters that have "matrices", AdamW for all others.

    "matrices" says how many matrices lie in each weight of the group, one below the other: 3 in `qkv`. Muon keeps one
    momentum for each weight, looks ahead along it (Nesterov), makes each matrix of that orthogonal, and subtracts it
    times the learning rate, and √(rows / columns) where there are more rows. So the step is about as long
    in every direction that the gradients have shown, but for the faintest (see `newton_schulz`).

    Args:
        groups: dicts with "params", as for AdamW; see `muon_groups`.
        lr, betas: as for AdamW; a group may have its own lr.

    Source: Jordan et al. 2024. Chapter 08.
    """

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:
        for group in self.param_groups:
            if "matrices" in group:
                self._muon(group)
        return super().step(closure)  # which leaves alone what has no gradient any more

    def _muon(self, group: dict) -> None:
        weights: list[Tensor] = [weight for weight in group["params"] if weight.grad is not None]
        gradients: list[Tensor] = []
        for weight in weights:
            gradients.append(weight.grad)  # pyright: ignore[reportArgumentType]
            weight.grad = None
            if not self.state[weight]:  # "step" is what AdamW asks of every state that it loads
                self.state[weight] = {"step": torch.zeros(()), "momentum": torch.zeros_like(weight)}
        momenta = [self.state[weight]["momentum"] for weight in weights]
        _foreach_lerp_(momenta, gradients, 1 - MOMENTUM)
        updates = _foreach_lerp(gradients, momenta, MOMENTUM)
        for shape in {update.shape for update in updates}:  # matrices of one shape, of all blocks, at once
            same = [i for i, update in enumerate(updates) if update.shape == shape]
            stack = torch.stack([updates[i] for i in same]).unflatten(
                1, (group["matrices"], -1)
            )  # (n, m, rows, columns)
            fast = torch.bfloat16 if stack.is_cuda else stack.dtype
            moves = newton_schulz(stack.to(fast)).to(stack.dtype).flatten(1, 2)
            length = max(1.0, stack.shape[2] / stack.shape[3]) ** 0.5
            for i, move in zip(same, moves, strict=True):
                weights[i].mul_(1 - group["lr"] * group["weight_decay"]).sub_(move, alpha=group["lr"] * length)


def muon_groups(groups: list[dict], model: nn.Module, factor: float) -> list[dict]:
    """The same parameters in more groups: the matrices of the model's blocks in two of their own, for `MuonAdamW`.

    Args:
        groups: from `course_lib.train.optim.param_groups`.
        model: a `VisionTransformer`, or whatever has its matrices in `blocks`.
        factor: Muon's learning rate over that of AdamW; it becomes "lr_scale".

    Raises:
        ValueError: the model has no such matrices.

    Source: Jordan et al. 2024: embedding, head, norms and biases stay with AdamW. Chapter 08.
    """
    found: dict[int, list[nn.Parameter]] = {3: [], 1: []}
    for name, weight in model.named_parameters():
        if name.startswith("blocks.") and weight.ndim == 2 and weight.requires_grad and name.endswith(".weight"):
            found[3 if name.endswith("qkv.weight") else 1].append(weight)
    taken = {id(weight) for weights in found.values() for weight in weights}
    if not taken:
        raise ValueError(f"the {type(model).__name__} has no matrices in blocks for Muon to train: set muon_lr=0.")
    decay = groups[0]["weight_decay"]
    rest = [group | {"params": [p for p in group["params"] if id(p) not in taken]} for group in groups]
    matrices = [
        {"params": weights, "weight_decay": decay, "matrices": count, "lr_scale": factor}
        for count, weights in found.items()
        if weights
    ]
    return [*rest, *matrices]
