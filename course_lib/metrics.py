"""How good a classifier is, in more than one number: confusions, F1, calibration. Chapter 09."""

from collections.abc import Iterable
from typing import Any, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def confusion_matrix(labels: Tensor, answers: Tensor, classes: int) -> Tensor:
    """Count which class is taken for which: (n,), (n,) -> (K, K) int64, row = the true class, column = the answer.

    Args:
        labels, answers: whole numbers from 0.
        classes: how many there are, K.

    Raises:
        ValueError: not as many answers as labels; none at all; a number that is no class.

    Source: chapter 09.
    """
    from sklearn import metrics  # not above: it takes most of a second

    if labels.shape != answers.shape or labels.ndim != 1 or not len(labels):
        raise ValueError(
            f"labels {tuple(labels.shape)} and answers {tuple(answers.shape)} must be two lists of the same length, "
            "with at least one image."
        )
    if strange := {*labels.tolist(), *answers.tolist()} - set(range(classes)):
        raise ValueError(f"labels and answers must be from 0 to {classes - 1}: {min(strange)} is none of the classes.")
    return torch.from_numpy(metrics.confusion_matrix(labels.cpu(), answers.cpu(), labels=range(classes)))


def macro_f1(counts: Tensor) -> float:
    """The mean over classes of F1, which is the harmonic mean of precision and recall: (K, K) -> a float.

    Every class counts the same, however few images it has. A class that is neither among the labels nor among the
    answers says nothing, and is left out.

    Args:
        counts: a `confusion_matrix`.

    Source: Opitz & Burst 2019, "averaged F1"; as scikit-learn computes it. Chapter 09.
    """
    right = counts.diagonal().double()
    either = (counts.sum(0) + counts.sum(1)).double()  # answers and labels: 2 TP + FP + FN
    return (2 * right / either)[either > 0].mean().item()


def calibration(probabilities: Tensor, labels: Tensor, bins: int = 15) -> tuple[Tensor, Tensor, Tensor, float]:
    """How often a classifier is right when it says that it is p sure.

    The images are sorted into bins of equal width by the probability of the answer.

    Args:
        probabilities: (n, K), each row sums to 1.
        labels: (n,).
        bins: how many.

    Returns:
        (confidence, accuracy, share, error): the first three (bins,), nan where a bin is empty (its share is 0); and
        the expected calibration error, a float: the mean distance of confidence and accuracy, each bin by its share.

    Raises:
        ValueError: the shapes do not fit.

    Source: Guo et al. 2017, equation 3. Chapter 10.
    """
    if probabilities.ndim != 2 or labels.shape != probabilities.shape[:1] or not len(labels):
        raise ValueError(
            f"probabilities {tuple(probabilities.shape)} must be (n, K), labels {tuple(labels.shape)} (n,)."
        )
    sure, answers = probabilities.double().max(dim=1)
    place = (sure * bins).ceil().long().sub(1).clamp(0, bins - 1)  # (n,): a bin holds its upper edge
    count = place.bincount(minlength=bins).double()
    confidence = place.bincount(sure, minlength=bins) / count
    accuracy = place.bincount((answers == labels).double(), minlength=bins) / count
    share = count / len(labels)
    error = ((confidence - accuracy).abs() * share).nansum().item()
    return confidence, accuracy, share, error


class Batched(Protocol):
    """Whatever gives its images in batches, with their labels, as an `ImageSet` does."""

    def batches(self, size: int, /) -> Iterable[tuple[Tensor, Tensor]]: ...


@torch.no_grad()
def predict(model: nn.Module, data: Batched, batch_size: int = 250) -> Tensor:
    """The logits of all images of an `ImageSet`, in their order: (n, K) float32 on the CPU. The model is in evaluation mode afterwards.

    Source: chapter 09.
    """
    model.eval()
    weight = next(model.parameters())
    return torch.cat([model(images.to(weight)).float().cpu() for images, _ in data.batches(batch_size)])


def score(logits: Tensor, labels: Tensor) -> dict[str, Any]:
    """Everything that is reported of a classifier, ready for a record.

    Args:
        logits: (n, K).
        labels: (n,).

    Returns:
        a dict with accuracy, macro_f1, loss, calibration_error, reliability (a list of confidence, accuracy, share for
        each bin of `calibration` that is not empty) and confusion (a list of lists).

    Source: chapter 09.
    """
    counts = confusion_matrix(labels, logits.argmax(dim=1), logits.shape[1])
    *bins, error = calibration(logits.double().softmax(dim=1), labels)
    bins = torch.stack(bins, dim=1)  # (bins, 3)
    return {
        "accuracy": counts.trace().item() / counts.sum().item(),
        "macro_f1": macro_f1(counts),
        "loss": F.cross_entropy(logits.double(), labels).item(),
        "calibration_error": error,
        "reliability": [[round(x, 5) for x in row] for row in bins[bins[:, 2] > 0].tolist()],
        "confusion": counts.tolist(),
    }
