"""One process or several: the few lines that differ. Started by `torchrun`, each process has a rank; otherwise there is one. Chapter 07."""

import os
from contextlib import AbstractContextManager, nullcontext
from typing import TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn

Value = TypeVar("Value")


def rank() -> int:
    """The number of this process, from 0."""
    return dist.get_rank() if dist.is_initialized() else 0


def world_size() -> int:
    """How many processes work together."""
    return dist.get_world_size() if dist.is_initialized() else 1


def is_main() -> bool:
    """Whether this is the process that prints and writes files."""
    return rank() == 0


def start(device: torch.device) -> torch.device:
    """Join the processes that `torchrun` started, if it did, and return the device of this one.

    Args:
        device: a torch.device; "cuda" becomes the graphics card of this process.

    Raises:
        ValueError: there are more processes than graphics cards.
    """
    if "RANK" not in os.environ:
        return device
    if device.type == "cuda":
        card, cards = int(os.environ["LOCAL_RANK"]), torch.cuda.device_count()
        if card >= cards:
            raise ValueError(f"process {card} has no graphics card, there are {cards}: use --nproc_per_node={cards}.")
        device = torch.device("cuda", card)
        torch.cuda.set_device(device)
    if dist.is_initialized():
        return device
    dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
    return device


def stop() -> None:
    """Part from the other processes."""
    if dist.is_initialized():
        dist.destroy_process_group()


def sum_over_processes(values: Tensor) -> Tensor:
    """Add up a tensor over all processes; the same numbers come back in each."""
    if dist.is_initialized():
        dist.all_reduce(values)
    return values


def from_main(value: Value) -> Value:
    """What the main process has as `value`, in every process."""
    box = [value]
    if dist.is_initialized():
        dist.broadcast_object_list(box)
    return box[0]


def largest(number: int, device: torch.device) -> int:
    """The largest of all processes' whole numbers, in each of them."""
    if not dist.is_initialized():
        return number
    numbers = torch.tensor(number, device=device)
    dist.all_reduce(numbers, dist.ReduceOp.MAX)
    return int(numbers.item())


def wrap(model: nn.Module) -> nn.Module:
    """The model, with gradients averaged over the processes after each backward pass."""
    return nn.parallel.DistributedDataParallel(model) if dist.is_initialized() else model


def averaging(model: nn.Module, on: bool) -> AbstractContextManager:
    """Inside `with`, whether backward passes of a wrapped model average the gradients over the processes."""
    wrapped = isinstance(model, nn.parallel.DistributedDataParallel)
    return model.no_sync() if wrapped and not on else nullcontext()
