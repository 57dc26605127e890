"""Is a difference more than noise? Paired differences, and intervals over seeds, images, and both. Chapter 10."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

# scipy.stats is imported where it is used: it takes most of a second


class Difference(NamedTuple):
    """How far one is ahead of another: `ahead` plus or minus `half`, the two counts behind it, and their number."""

    ahead: float
    half: float
    only_first: int
    only_second: int
    n: int

    @property
    def clear(self) -> bool:
        """Whether the interval leaves 0 out."""
        return abs(self.ahead) > self.half


class Scatter(NamedTuple):
    """How far one run scatters: a standard deviation, and the degrees of freedom that it was estimated with."""

    deviation: float
    freedom: int

    def half(self, variance: float, confidence: float = 0.95) -> float:
        """Half the interval of a sum of runs: `variance` in units of one run's, so 1/n for a mean of n, 2/n for the
        difference of two such means."""
        from scipy import stats

        return float(stats.t.ppf((1 + confidence) / 2, self.freedom)) * self.deviation * math.sqrt(variance)


def paired_difference(first: ArrayLike, second: ArrayLike, confidence: float = 0.95) -> Difference:
    """How far the first is ahead of the second, on the same images (or seeds): (n,), (n,) -> a `Difference`.

    The mean of the n differences, and Student's t times their standard error. What both get right, or both wrong, drops
    out. Where only a few of n answers differ, take `mcnemar` of the two counts: the interval is too narrow then.

    Args:
        first, second: for each image whether the model is right (bools, 0 and 1), or any score; for each seed a score.
        confidence: of the interval.

    Raises:
        ValueError: not two lists of equal length, fewer than two of each, or a number that is not finite.

    Source: Student 1908, the interval of a mean, here of the differences. Chapter 10.
    """
    from scipy import stats

    first, second = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    if first.ndim != 1 or first.shape != second.shape or len(first) < 2:
        raise ValueError(
            f"{first.shape} and {second.shape} must be two lists of the same length, at least 2: pair them image by image."
        )
    apart = first - second  # (n,)
    if not np.isfinite(apart).all():
        raise ValueError("a score is nan or infinite: leave its image out of both lists.")
    n = len(apart)
    half = stats.t.ppf((1 + confidence) / 2, n - 1) * apart.std(ddof=1) / math.sqrt(n)
    return Difference(float(apart.mean()), float(half), int((apart > 0).sum()), int((apart < 0).sum()), n)


def mcnemar(only_first: int, only_second: int) -> float:
    """How often a fair coin falls so unevenly, or more so: the exact p-value of two counts that disagree.

    Args:
        only_first, only_second: images on which the first model alone is right, and on which the second alone is.

    Source: McNemar 1947, in its exact form (a binomial test of 1/2). Chapter 10.
    """
    from scipy import stats

    both = only_first + only_second
    return float(stats.binomtest(only_first, both).pvalue) if both else 1.0


def share_interval(hits: int, n: int, confidence: float = 0.95) -> tuple[float, float]:
    """(low, high): where a share may lie of which `hits` of `n` were seen. Right at 0 and at n too.

    Source: Wilson 1927. Chapter 10.
    """
    from scipy import stats

    found = stats.binomtest(hits, n).proportion_ci(confidence, method="wilson")
    return float(found.low), float(found.high)


def pooled_scatter(groups: Sequence[ArrayLike]) -> Scatter:
    """The scatter of one run, from several groups of runs, each about its own mean, as if all scattered alike.

    Three seeds say little about how far seeds scatter; three seeds of ten recipes say more.

    Raises:
        ValueError: no group has two runs.

    Source: the pooled variance of an analysis of variance. Chapters 07, 08 and 10.
    """
    values = [np.asarray(group, dtype=np.float64) for group in groups]
    freedom = sum(len(group) - 1 for group in values)
    if freedom < 1:
        raise ValueError(f"{len(values)} groups without two runs in any: scatter needs at least one group with two.")
    squares = sum(((group - group.mean()) ** 2).sum() for group in values)
    return Scatter(math.sqrt(squares / freedom), freedom)


def paired_runs(first: ArrayLike, second: ArrayLike, scatter: Scatter | None = None) -> Difference:
    """How far one way of training is ahead of another, over seeds and images: (S, n), (S, n) -> a `Difference`.

    Row s holds the answers of the two runs with seed s on the same n test images. The interval has two parts, whose
    squares add up: the images' (each image's difference is averaged over the seeds) and the seeds'. The rest that is in
    both is counted twice, so the interval is a little wide. The counts are of images, by the mean over seeds.

    Args:
        first, second: whether each answer is right.
        scatter: of one seed's difference, from several such comparisons (`pooled_scatter`); None: from this one alone.

    Raises:
        ValueError: the shapes differ, or are not (S, n); one seed and no `scatter`.

    Source: the variance of a mean over two crossed random factors, seeds and images. Chapter 09.
    """
    first, second = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    if first.ndim != 2 or first.shape != second.shape:
        raise ValueError(f"{first.shape} and {second.shape} must both be (seeds, images): pair them run by run.")
    images = paired_difference(first.mean(axis=0), second.mean(axis=0))
    seeds = scatter or pooled_scatter([first.mean(axis=1) - second.mean(axis=1)])
    return images._replace(half=math.hypot(images.half, seeds.half(1 / len(first))))
