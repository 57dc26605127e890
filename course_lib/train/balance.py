"""Classes with unequal numbers of images: each counts alike in the loss, or comes equally often. Chapter 09."""

import torch
from torch import Tensor


def class_weights(labels: Tensor, classes: int) -> Tensor:
    """What each class counts in the loss, so that all count alike together: n / (K · n_k) for class k.

    With n images, of which n_k are of class k, in the K classes that have any. The mean over the images is 1, so that
    the learning rate need not change. A class without images gets 0.

    Args:
        labels: (n,) whole numbers from 0.
        classes: how many classes there are.

    Returns:
        (classes,) float32.

    Source: King & Zeng 2001, section 4.2; scikit-learn's `compute_class_weight("balanced")`. Chapter 09.
    """
    counts = labels.bincount(minlength=classes)
    weights = len(labels) / ((counts > 0).sum() * counts.double())
    return weights.where(counts > 0, 0.0).float()


def balanced_order(labels: Tensor) -> Tensor:
    """The rows of one epoch with equally many of each class, in random order: (n,) -> (n,).

    Of the K classes that have images each gets n // K rows, and n % K of them, drawn at random, one more. Its images
    come in rounds of random order: none comes a second time before all have come once. So a rare class is repeated,
    and of a common one a part waits for another epoch. Draws from PyTorch's random numbers.

    Args:
        labels: (n,) whole numbers from 0, on the CPU.

    Source: Buda et al. 2018, section 3.3, oversampling. Chapter 09.
    """
    present = labels.unique()
    places = torch.full((len(present),), len(labels) // len(present))
    places[torch.randperm(len(present))[: len(labels) % len(present)]] += 1
    chosen = [
        _rounds((labels == label).nonzero()[:, 0], int(count)) for label, count in zip(present, places, strict=True)
    ]
    rows = torch.cat(chosen)
    return rows[torch.randperm(len(rows))]


def _rounds(rows: Tensor, count: int) -> Tensor:
    """The first `count` of the rows in one random order after another."""
    orders = [rows[torch.randperm(len(rows))] for _ in range(-(-count // len(rows)))]
    return torch.cat(orders)[:count] if orders else rows[:0]
