"""Answers to the exercise of chapter 10, as readers write them.

RIGHT: implementations other than the chapter's own. Beside the record's known mistakes, which are wrong answers
themselves, SLIPS: the chapter's own solution with something changed, and WRONG: mistakes written in another way; each
with words of the hint that it must get. EQUIVALENT: mutants of the right answers that are right too, and why.
"""

import math
import statistics

import numpy as np
import torch
from scipy import stats


def paired_by_loops(first, second):
    only_first = only_second = 0
    for one, other in zip(first.tolist(), second.tolist(), strict=True):
        if one and not other:
            only_first += 1
        if other and not one:
            only_second += 1
    n, d = len(first), only_first - only_second
    return only_first, only_second, d / n, 1.96 * math.sqrt(only_first + only_second - d * d / n) / n


def paired_by_numpy(first, second):
    apart = first.numpy().astype(int) - second.numpy().astype(int)
    error = apart.std(ddof=1) / np.sqrt(apart.size)
    return (apart == 1).sum(), (apart == -1).sum(), apart.mean(), stats.t.ppf(0.975, apart.size - 1) * error


def paired_by_a_table(first, second):
    neither, only_second, only_first, both = torch.bincount(2 * first.int() + second.int(), minlength=4).tolist()
    n = neither + only_second + only_first + both
    p, q = only_first / n, only_second / n
    return only_first, only_second, p - q, 1.96 * math.sqrt((p + q - (p - q) ** 2) / n)


def paired_by_moments(first, second):
    outcomes = torch.stack([first, second]).long()
    apart = torch.diff(outcomes.flip(0), dim=0)[0].tolist()
    n = len(apart)
    mean, square = sum(apart) / n, sum(d * d for d in apart) / n
    alone = [sum(d == sign for d in apart) for sign in (1, -1)]
    return [*alone, mean, 1.96 * math.sqrt((square - mean * mean) / n)]


def paired_by_the_library(first, second):
    apart = [int(a) - int(b) for a, b in zip(first, second, strict=True)]
    z = statistics.NormalDist().inv_cdf(0.975)
    half = z * statistics.pstdev(apart) / len(apart) ** 0.5
    return apart.count(1), apart.count(-1), statistics.fmean(apart), half


def paired_by_single_precision(first, second):
    differences = first.float() - second.float()
    half = 1.96 * differences.std(unbiased=False) / differences.numel() ** 0.5
    return (differences > 0).sum(), (differences < 0).sum(), float(differences.mean()), float(half)


# Wrong


def paired_of_bools(first, second):
    apart = first - second
    return (apart > 0).sum().item(), (apart < 0).sum().item(), apart.double().mean().item(), apart.double().std().item()


def paired_of_whole_numbers(first, second):
    apart = first.int() - second.int()
    half = 1.96 * apart.std() / len(apart) ** 0.5
    return (apart > 0).sum().item(), (apart < 0).sum().item(), apart.double().mean().item(), half.item()


def paired_as_tensors(first, second):
    apart = first.double() - second.double()
    return (apart > 0).sum(), (apart < 0).sum(), apart.mean(), 1.96 * apart.std() / len(apart) ** 0.5


def paired_with_and(first, second):
    only_first = sum(first and not second)
    return only_first, sum(second and not first), only_first / len(first), 0.0


def paired_unpaired(first, second):
    n = len(first)
    p, q = first.double().mean().item(), second.double().mean().item()
    half = 1.96 * math.sqrt(p * (1 - p) / n + q * (1 - q) / n)
    return (first & ~second).sum().item(), (second & ~first).sum().item(), p - q, half


def paired_of_equals(first, second):
    only_first, only_second = (first > second).sum().item(), (second > first).sum().item()
    n = len(first)
    return only_first, only_second, (only_first - only_second) / n, 1.96 * (only_first + only_second) ** 0.5 / n


def paired_of_those_that_differ(first, second):
    differ = first != second
    apart = first[differ].double() - second[differ].double()
    half = 1.96 * apart.std().item() / len(apart) ** 0.5 if len(apart) else 0.0
    ahead = apart.mean().item() if len(apart) else 0.0
    return (apart > 0).sum().item(), (apart < 0).sum().item(), ahead, half


def paired_in_bytes(first, second):
    apart = first.to(torch.uint8) - second.to(torch.uint8)
    mean, half = apart.float().mean().item(), 1.96 * apart.float().std().item() / len(apart) ** 0.5
    return (apart > 0).sum().item(), (apart < 0).sum().item(), mean, half


def paired_in_images(first, second):
    only_first, only_second = (first & ~second).sum().item(), (second & ~first).sum().item()
    d = only_first - only_second
    return only_first, only_second, d, 1.96 * (only_first + only_second - d**2 / len(first)) ** 0.5


def counted(first, second):
    """(b, c), the images on which one alone is right."""
    pairs = list(zip(first.tolist(), second.tolist(), strict=True))
    return pairs.count((True, False)), pairs.count((False, True))


def paired_ahead_among_those_that_differ(first, second):
    b, c = counted(first, second)
    half = 1.96 * math.sqrt(b + c - (b - c) ** 2 / len(first)) / len(first)
    return b, c, (b - c) / (b + c), half


def paired_by_the_root_of_those_that_differ(first, second):
    (b, c), apart = counted(first, second), first.float() - second.float()
    return b, c, float(apart.mean()), 1.96 * apart.std().item() / (b + c) ** 0.5


def paired_with_the_square_over_those_that_differ(first, second):
    (b, c), n = counted(first, second), len(first)
    return b, c, (b - c) / n, 1.96 * math.sqrt((b + c - (b - c) ** 2 / (b + c)) / n**2)


RIGHT = {
    "paired_difference": (
        paired_by_loops,
        paired_by_numpy,
        paired_by_a_table,
        paired_by_moments,
        paired_by_the_library,
        paired_by_single_precision,
    ),
}

SLIPS = {
    "paired_difference": """
        the two counts have changed places
            only_first, only_second = ⇒ only_second, only_first =
        the sign of ahead is the wrong way round
            return only_first, only_second, apart.mean() ⇒ return only_first, only_second, -apart.mean()
        the two models have changed places
            first.double() - second.double() ⇒ second.double() - first.double()
        one standard error
            1.96 * ⇒
        the whole interval
            1.96 * ⇒ 3.92 *
        how far one image scatters
            / len(apart) ** 0.5 ⇒
        you divide by n: the mean
            / len(apart) ** 0.5 ⇒ / len(apart)
        do not multiply
            / len(apart) ** 0.5 ⇒ * len(apart) ** 0.5
        that is the variance
            apart.std() ⇒ apart.var()
        keep the sign
            apart.std() ⇒ apart.abs().std()
        has lost its sign
            apart.mean().item() ⇒ abs(apart.mean().item())
        these are points
            apart = first.double() ⇒ apart = 100 * first.double()
            - second.double() ⇒ - 100 * second.double()
        90 % interval
            1.96 ⇒ 1.645
        images are counted in whole numbers
            (apart > 0).sum().item(), (apart < 0).sum().item() ⇒ (apart > 0).double().sum().item(), (apart < 0).double().sum().item()
        """,
}

WRONG = {
    "paired_difference": {
        paired_of_bools: "minus does not know bools",
        paired_of_whole_numbers: "mean and std want floats",
        paired_as_tensors: "plain numbers are asked for",
        paired_with_and: "ask for one truth",
        paired_unpaired: "two models on different images",
        paired_of_equals: "holds where both are equally good",
        paired_of_those_that_differ: "the others are differences of 0",
        paired_in_bytes: "0 - 1 is 255 there",
        paired_ahead_among_those_that_differ: "ahead is a share of the images on which they disagree",
        paired_by_the_root_of_those_that_differ: "you divide by the root of how many disagree",
        paired_with_the_square_over_those_that_differ: "the square of only_first - only_second is divided by",
        paired_in_images: "ahead and half are numbers of images",
    },
}

EQUIVALENT = {
    "paired_difference": """
        A list of several numbers, and one number, have no side that squeeze or mT could change.
            paired_difference: apart = first.double() - second.double() ⇒ apart = (first.double() - second.double()).squeeze()
            paired_by_numpy: apart = first.numpy().astype(int) - second.numpy().astype(int) ⇒ apart = (first.numpy().astype(int) - second.numpy().astype(int)).squeeze()
            paired_by_numpy: error = apart.std(ddof=1) / np.sqrt(apart.size) ⇒ error = (apart.std(ddof=1) / np.sqrt(apart.size)).squeeze()
            paired_by_single_precision: differences = first.float() - second.float() ⇒ differences = (first.float() - second.float()).squeeze()
            paired_by_single_precision: half = 1.96 * differences.std(unbiased=False) / differences.numel() ** 0.5 ⇒ half = (1.96 * differences.std(unbiased=False) / differences.numel() ** 0.5).squeeze()
            paired_by_single_precision: half = 1.96 * differences.std(unbiased=False) / differences.numel() ** 0.5 ⇒ half = (1.96 * differences.std(unbiased=False) / differences.numel() ** 0.5).mT
            paired_by_moments: outcomes = torch.stack([first, second]).long() ⇒ outcomes = torch.stack([first, second]).long().squeeze()
        A count may be a whole number in a tensor.
            paired_difference: only_first, only_second = ((apart > 0).sum().item(), (apart < 0).sum().item()) ⇒ only_first, only_second = ((apart > 0).sum(), (apart < 0).sum().item())
            paired_difference: only_first, only_second = ((apart > 0).sum().item(), (apart < 0).sum().item()) ⇒ only_first, only_second = ((apart > 0).sum().item(), (apart < 0).sum())
        An element of a tensor of bools is as true as a bool.
            paired_by_loops: for one, other in zip(first.tolist(), second.tolist()): ⇒ for one, other in zip(first, second.tolist()):
            paired_by_loops: for one, other in zip(first.tolist(), second.tolist()): ⇒ for one, other in zip(first.tolist(), second):
        To one per cent n, n - 1 and n - 2 are the same, and so are the degrees of freedom.
            paired_by_numpy: error = apart.std(ddof=1) / np.sqrt(apart.size) ⇒ error = apart.std() / np.sqrt(apart.size)
            paired_by_numpy: error = apart.std(ddof=1) / np.sqrt(apart.size) ⇒ error = apart.std(ddof=2) / np.sqrt(apart.size)
            paired_by_numpy: error = apart.std(ddof=1) / np.sqrt(apart.size) ⇒ error = apart.std(ddof=0) / np.sqrt(apart.size)
            paired_by_numpy: return ((apart == 1).sum(), (apart == -1).sum(), apart.mean(), stats.t.ppf(0.975, apart.size - 1) * error) ⇒ return ((apart == 1).sum(), (apart == -1).sum(), apart.mean(), stats.t.ppf(0.975, apart.size) * error)
            paired_by_numpy: return ((apart == 1).sum(), (apart == -1).sum(), apart.mean(), stats.t.ppf(0.975, apart.size - 1) * error) ⇒ return ((apart == 1).sum(), (apart == -1).sum(), apart.mean(), stats.t.ppf(0.975, apart.size + 1) * error)
            paired_by_numpy: return ((apart == 1).sum(), (apart == -1).sum(), apart.mean(), stats.t.ppf(0.975, apart.size - 1) * error) ⇒ return ((apart == 1).sum(), (apart == -1).sum(), apart.mean(), stats.t.ppf(0.975, apart.size - 2) * error)
            paired_by_numpy: return ((apart == 1).sum(), (apart == -1).sum(), apart.mean(), stats.t.ppf(0.975, apart.size - 1) * error) ⇒ return ((apart == 1).sum(), (apart == -1).sum(), apart.mean(), stats.t.ppf(0.975, apart.size - 0) * error)
            paired_by_single_precision: half = 1.96 * differences.std(unbiased=False) / differences.numel() ** 0.5 ⇒ half = 1.96 * differences.std() / differences.numel() ** 0.5
            paired_by_single_precision: half = 1.96 * differences.std(unbiased=False) / differences.numel() ** 0.5 ⇒ half = 1.96 * differences.std(unbiased=True) / differences.numel() ** 0.5
        A whole number and a bool make a whole number.
            paired_by_numpy: apart = first.numpy().astype(int) - second.numpy().astype(int) ⇒ apart = first.numpy() - second.numpy().astype(int)
            paired_by_numpy: apart = first.numpy().astype(int) - second.numpy().astype(int) ⇒ apart = first.numpy().astype(int) - second.numpy()
            paired_by_a_table: neither, only_second, only_first, both = torch.bincount(2 * first.int() + second.int(), minlength=4).tolist() ⇒ neither, only_second, only_first, both = torch.bincount(2 * first.int() + second, minlength=4).tolist()
            paired_by_a_table: neither, only_second, only_first, both = torch.bincount(2 * first.int() + second.int(), minlength=4).tolist() ⇒ neither, only_second, only_first, both = torch.bincount(2 * first + second.int(), minlength=4).tolist()
        Both are always right on some images, so there are four counts without being asked for.
            paired_by_a_table: neither, only_second, only_first, both = torch.bincount(2 * first.int() + second.int(), minlength=4).tolist() ⇒ neither, only_second, only_first, both = torch.bincount(2 * first.int() + second.int()).tolist()
            paired_by_a_table: neither, only_second, only_first, both = torch.bincount(2 * first.int() + second.int(), minlength=4).tolist() ⇒ neither, only_second, only_first, both = torch.bincount(2 * first.int() + second.int(), minlength=3).tolist()
        A square has no sign.
            paired_by_a_table: return (only_first, only_second, p - q, 1.96 * math.sqrt((p + q - (p - q) ** 2) / n)) ⇒ return (only_first, only_second, p - q, 1.96 * math.sqrt((p + q - (q - p) ** 2) / n))
        """,
}
