"""The exercise of chapter 10, whether a difference is more than noise."""

import torch

from course_lib.checks.edits import Edited, edits_of, listed
from course_lib.checks.exercise import Exercise, Mistake
from course_lib.checks.staged import StagedExercise, as_number

CLOSE = 0.01  # of half an interval: 1.96 or Student's t, n or n - 1, they differ by less from 300 images on


def _answers_probes(generator):
    """Whether two models are right on the same images: one far ahead and one little, one always right where the other
    is, and twice the same answers."""

    def about(count):
        return count + int(torch.randint(-count // 10, count // 10 + 1, (), generator=generator))

    probes = []
    for n, only_first, only_second, both in (
        (400, about(150), about(20), about(150)),
        (333, about(30), about(110), about(100)),
        (1000, about(40), about(20), about(850)),
        (600, about(90), 0, about(300)),
        (500, 0, 0, about(400)),
        (400, about(40), about(130), about(60)),  # the shape of the first
    ):
        place = torch.randperm(n, generator=generator)
        first = (place < both) | ((place >= both) & (place < both + only_first))
        second = (place < both) | ((place >= both + only_first) & (place < both + only_first + only_second))
        probes.append({"first": first, "second": second})
    return probes


def _paired(first, second):
    only_first = (first & ~second).sum().item()
    only_second = (second & ~first).sum().item()
    n = len(first)
    ahead = (only_first - only_second) / n
    deviation = ((only_first + only_second) / n - ahead**2) ** 0.5
    half = 1.96 * deviation / n**0.5
    return only_first, only_second, ahead, half


def _to_a_per_cent(answer):
    """With the right half interval in place of one that is as near to it as the prompt asks."""

    def staged(first, second):
        value = answer(first, second)
        if not isinstance(value, tuple | list) or len(value) != 4:
            return value
        *counts, ahead, half = value
        ahead, half = as_number(ahead, "ahead"), as_number(half, "half")
        right = torch.tensor(_paired(first, second)[3], dtype=torch.float64)
        return *counts, ahead, right if abs(half - right) <= CLOSE * right else half

    return staged


def _of_either_deviation(text):
    """The mistakes that `text` lists, each also with the deviation that divides by n - 1, as torch.std does."""
    sample = ("deviation = ", "deviation = (n / (n - 1)) ** 0.5 * ")
    others = tuple(Mistake(hint, Edited(_paired, [*changes, sample])) for hint, changes in listed(text))
    return edits_of(_paired, text) + others


PAIRED_DIFFERENCE = StagedExercise(
    name="paired_difference",
    chapter="10",
    signature="paired_difference(first, second)",
    task="count the images on which the first alone is right, and those on which the second alone is, and return both counts, the mean of the n differences (1, 0 or -1) as a share, and 1.96 times their standard deviation / √n: (n,), (n,) -> two ints, two floats.",
    parts=("only_first", "only_second", "ahead", "half"),
    probes=_answers_probes,
    oracle=_paired,
    stage=_to_a_per_cent,
    mistakes=edits_of(
        _paired,
        """
        the two counts have changed places: on only_first images the first is right and the second wrong.
            return only_first, only_second, ⇒ return only_second, only_first,
        the sign of ahead is the wrong way round: it is above 0 where the first is better, (only_first - only_second) / n.
            (only_first - only_second) / n ⇒ (only_second - only_first) / n
        the two models have changed places, in the counts and in ahead.
            return only_first, only_second, ahead ⇒ return only_second, only_first, -ahead
        you count all that each has right: only those count where the other is wrong, first & ~second.
            return only_first, only_second, ⇒ return first.sum().item(), second.sum().item(),
          or
            (first & ~second).sum() ⇒ first.sum()
            (second & ~first).sum() ⇒ second.sum()
        you count where both are right and where both are wrong: these drop out, what counts is where one alone is right.
            return only_first, only_second, ⇒ return (first & second).sum().item(), (~first & ~second).sum().item(),
          or
            (first & ~second).sum() ⇒ (first & second).sum()
            (second & ~first).sum() ⇒ (~first & ~second).sum()
        both counts are of all images on which they disagree: two counts, one for each model that is right alone.
            return only_first, only_second, ⇒ return only_first + only_second, only_first + only_second,
          or
            (first & ~second).sum() ⇒ (first != second).sum()
            (second & ~first).sum() ⇒ (first != second).sum()
        the counts are shares: return numbers of images, and divide by n for ahead alone.
            return only_first, only_second, ⇒ return only_first / n, only_second / n,
        the counts are floats: images are counted in whole numbers, int(...).
            return only_first, only_second, ⇒ return float(only_first), float(only_second),
        ahead is in points, half is not: both are shares.
            return only_first, only_second, ahead ⇒ return only_first, only_second, 100 * ahead
        ahead is a number of images: divide it by n, which makes it a share of all.
            return only_first, only_second, ahead ⇒ return only_first, only_second, only_first - only_second
        ahead is a share of the images on which they disagree: divide by all n, for those that drop out are tested too.
            return only_first, only_second, ahead ⇒ return only_first, only_second, (only_first - only_second) / max(only_first + only_second, 1)
          or
            return only_first, only_second, ahead ⇒ return only_first, only_second, (only_first - only_second) / (only_first + only_second)
        you compute with the images on which they disagree alone: the others are differences of 0, and count among the n.
            n = len(first) ⇒ n = max(only_first + only_second, 1)
          or
            n = len(first) ⇒ n = only_first + only_second
          or
            n = len(first) ⇒ n = max(only_first + only_second, 2)
            deviation = ⇒ deviation = (n / (n - 1)) ** 0.5 *
        ahead has lost its sign: where the second is better it is below 0, without abs.
            return only_first, only_second, ahead ⇒ return only_first, only_second, abs(ahead)
        // leaves whole numbers alone: ahead is a share, divide with /.
            (only_first - only_second) / n ⇒ (only_first - only_second) // n
        ahead is a share of what the second has right: divide by n, all images.
            return only_first, only_second, ahead ⇒ return only_first, only_second, (only_first - only_second) / second.sum().item()
        that is the interval of two models on different images: what both get right would count as noise. Take the deviation of the differences, image by image.
            deviation = ⇒ p, q = first.double().mean().item(), second.double().mean().item()
            | deviation =
            ((only_first + only_second) / n - ahead**2) ⇒ (p * (1 - p) + q * (1 - q))
          or
            ((only_first + only_second) / n - ahead**2) ⇒ (first.double().var().item() + second.double().var().item())
        you add up the deviations of the two models: take that of the differences, image by image.
            deviation = ⇒ p, q = first.double().mean().item(), second.double().mean().item()
            | deviation =
            ((only_first + only_second) / n - ahead**2) ** 0.5 ⇒ (p * (1 - p)) ** 0.5 + (q * (1 - q)) ** 0.5
          or
            ((only_first + only_second) / n - ahead**2) ** 0.5 ⇒ first.double().std().item() + second.double().std().item()
        that is the interval of the first model's share alone.
            deviation = ⇒ p = first.double().mean().item()
            | deviation =
            ((only_first + only_second) / n - ahead**2) ⇒ (p * (1 - p))
          or
            ((only_first + only_second) / n - ahead**2) ** 0.5 ⇒ first.double().std().item()
        1.96 √m / n holds where both are equally good: the deviation is about the mean, so subtract the mean's square, m / n - ahead².
            - ahead**2 ⇒
        you subtract the mean, and not its square: the variance is m / n - ahead².
            ahead**2) ⇒ ahead)
          or
            ahead**2) ⇒ abs(ahead))
        you add the mean's square: the variance is m / n - ahead².
            - ahead**2) ⇒ + ahead**2)
        the square of only_first - only_second is divided by the images on which they disagree: by n, for the mean is over all.
            - ahead**2) ⇒ - (only_first - only_second) ** 2 / max(only_first + only_second, 1) / n)
          or
            - ahead**2) ⇒ - (only_first - only_second) ** 2 / (only_first + only_second) / n)
        that is how sure you are of how often they disagree: a difference is 1, 0 or -1, keep the sign.
            deviation = ⇒ m = (only_first + only_second) / n
            | deviation =
            ((only_first + only_second) / n - ahead**2) ⇒ (m - m**2)
          or
            ((only_first + only_second) / n - ahead**2) ** 0.5 ⇒ (first != second).double().std().item()
        byte has no numbers below 0, and 0 - 1 is 255 there: first.double() - second.double().
            ⇒ apart = first.byte() - second.byte()
            | half = 1.96 * apart.double().std().item() / len(apart) ** 0.5
            | return (apart > 0).sum().item(), (apart < 0).sum().item(), apart.double().mean().item(), half
        minus does not know bools: make numbers of them first, first.double() - second.double().
            ⇒ return first - second
        mean and std want floats: first.double() - second.double().
            ⇒ return (first.int() - second.int()).double().mean().item(), (first.int() - second.int()).std()
          or
            ⇒ return (first.long() - second.long()).double().mean().item(), (first.long() - second.long()).std()
          or
            ⇒ return (first.int() - second.int()).mean()
          or
            ⇒ return (first.long() - second.long()).mean()
          or
            ⇒ return first.mean() - second.mean()
        plain numbers are asked for: .item() makes one of a tensor.
            ahead, half ⇒ torch.tensor(ahead), torch.tensor(half)
          or
            ahead, half ⇒ ahead, torch.tensor(half)
        and, or and not ask for one truth, and a tensor has many: &, | and ~ work image by image.
            (first & ~second) ⇒ (first and not second)
            (second & ~first) ⇒ (second and not first)
        """,
    )
    + _of_either_deviation(
        """
        ahead and half have changed places.
            ahead, half ⇒ half, ahead
        these are points, and shares are asked for: 0.01 where you have 1.
            return only_first, only_second, ahead, half ⇒ return only_first, only_second, 100 * ahead, 100 * half
        half is in points, ahead is not: both are shares.
            ahead, half ⇒ ahead, 100 * half
        ahead and half are numbers of images: divide both by n.
            return only_first, only_second, ahead, half ⇒ return only_first, only_second, only_first - only_second, half * n
        that is one standard error: 1.96 of them make half of a 95 % interval.
            1.96 * deviation ⇒ deviation
        that is the whole interval, from one end to the other: half of it is asked for, what stands after ±.
            1.96 * deviation ⇒ 2 * 1.96 * deviation
        2 is a rule of thumb, and too wide by a fiftieth: take 1.96.
            1.96 * ⇒ 2 *
        that is a 90 % interval: for 95 % take 1.96.
            1.96 * ⇒ 1.645 *
        that is a 99 % interval: for 95 % take 1.96.
            1.96 * ⇒ 2.576 *
        that is how far one image scatters: a mean of n scatters less, divide by √n.
            / n**0.5 ⇒
        you divide by n: the mean of n numbers scatters by their deviation / √n.
            / n**0.5 ⇒ / n
        half is a number of images: divide by √n, and do not multiply, it is a share.
            / n**0.5 ⇒ * n**0.5
        you divide by the root of how many disagree: by √n, for the mean is over all images.
            / n**0.5 ⇒ / max(only_first + only_second, 1) ** 0.5
          or
            / n**0.5 ⇒ / (only_first + only_second) ** 0.5
        that is the variance: take its root, the standard deviation.
            deviation / n**0.5 ⇒ deviation**2 / n**0.5
          or
            deviation / n**0.5 ⇒ deviation**2 / n
        """
    ),
)


EXERCISES: tuple[Exercise, ...] = (PAIRED_DIFFERENCE,)
