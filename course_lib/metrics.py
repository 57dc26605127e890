"""How good a classifier is, in more than one number: confusions, F1, calibration. Chapter 09."""

from dataclasses import replace

import torch
import torch.nn.functional as F


def confusion_matrix(labels, answers, classes):
    """Count which class is taken for which: (n,), (n,) -> (K, K) int64, row = the true class, column = the answer.

    Args:
        labels, answers: whole numbers from 0.
        classes: how many there are, K.

    Raises:
        ValueError: not as many answers as labels; none at all; a number that is no class.

    Source: chapter 09.
    """
    if labels.shape != answers.shape or labels.ndim != 1 or not len(labels):
        raise ValueError(
            f"labels {tuple(labels.shape)} and answers {tuple(answers.shape)} must be two lists of the same length, "
            "with at least one image."
        )
    for name, numbers in (("label", labels), ("answer", answers)):
        wrong = numbers[(numbers < 0) | (numbers >= classes)]
        if len(wrong):
            raise ValueError(f"{name} {wrong[0].item()} is not among the classes 0 to {classes - 1}.")
    return (labels * classes + answers).bincount(minlength=classes * classes).view(classes, classes)


def macro_f1(counts):
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


def calibration(probabilities, labels, bins=15):
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


@torch.no_grad()
def predict(model, data, batch_size=250):
    """The logits of all images of an `ImageSet`, in their order: (n, K) float32 on the CPU. The model is in evaluation mode afterwards.

    Source: chapter 09.
    """
    model.eval()
    weight = next(model.parameters())
    return torch.cat([model(images.to(weight)).float().cpu() for images, _ in data.batches(batch_size)])


def predict_shifted(model, data, pixels=1):
    """As `predict`, but each image is looked at five times, as it is and shifted in four directions, and the probabilities averaged.

    Five times the work, the same parameters. What it gains is what the model has not learned about shifts.

    Args:
        model: a classifier.
        data: an `ImageSet`; what comes in at the edge is black.
        pixels: how far.

    Returns:
        (n, K): the logarithms of the averaged probabilities.

    Source: Krizhevsky et al. 2012, section 4.1, with ten views. Chapter 07.
    """
    height, width = data.images.shape[-2:]
    padded = F.pad(data.images, (pixels,) * 4)  # (n, C, h + 2p, w + 2p)
    views = [
        padded[:, :, top : top + height, left : left + width]
        for top, left in ((pixels, pixels), (0, pixels), (2 * pixels, pixels), (pixels, 0), (pixels, 2 * pixels))
    ]
    return torch.stack([predict(model, replace(data, images=view)).softmax(dim=1) for view in views]).mean(dim=0).log()


def score(logits, labels):
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
