"""Intervals: equal to scipy's where it has them, and right as often as they say."""

import math

import numpy as np
import pytest
import torch
from scipy import stats

from course_lib import checks, statistics
from course_lib.statistics import mcnemar, paired_difference, paired_runs, pooled_scatter, share_interval


def test_paired_difference_is_the_paired_t_interval():
    draw = np.random.default_rng(0)
    for n in (2, 3, 40, 1000):
        first, second = draw.normal(size=(2, n)) * 1e3
        found = paired_difference(first, second, confidence=0.9)
        theirs = stats.ttest_rel(first, second).confidence_interval(0.9)
        assert math.isclose(found.ahead, (first - second).mean(), rel_tol=1e-12)
        assert math.isclose(found.ahead - found.half, theirs.low, rel_tol=1e-9)
        assert math.isclose(found.ahead + found.half, theirs.high, rel_tol=1e-9)
        assert (found.only_first, found.only_second, found.n) == ((first > second).sum(), (first < second).sum(), n)


def test_bools_are_counted():
    found = paired_difference([True] * 15 + [False] * 5 + [True] * 900, [False] * 15 + [True] * 5 + [True] * 900)
    assert found[2:] == (15, 5, 920)
    assert math.isclose(found.ahead, 10 / 920)
    assert found.clear
    assert not paired_difference([1, 0, 1, 0], [0, 1, 1, 0]).clear


def test_the_exercise_agrees():
    """Chapter 10's target, and its oracle to the one per cent that its prompt allows."""
    target = paired_difference([1] * 15 + [0] * 985, [0] * 995 + [1] * 5)
    assert target[2:] == (15, 5, 1000)
    assert math.isclose(target.ahead, 0.01) and math.isclose(target.half, 0.0087, rel_tol=0.01)
    exercise = checks.find("paired_difference")
    for probe in exercise.probes(torch.Generator().manual_seed(0)):
        found, (only_first, only_second, ahead, half) = paired_difference(**probe), exercise.oracle(**probe)
        assert (found.only_first, found.only_second) == (only_first, only_second)
        assert math.isclose(found.ahead, ahead, abs_tol=1e-15) and math.isclose(found.half, half, rel_tol=0.01)


@pytest.mark.parametrize("lists", [([1, 0], [1, 0, 1]), ([1], [0]), ([[1, 0]], [[0, 1]]), ([1, np.nan], [0, 1])])
def test_what_is_not_paired_is_refused(lists):
    with pytest.raises(ValueError, match="image"):
        paired_difference(*lists)


def test_mcnemar_is_the_sum_of_the_tails():
    for one, other in ((15, 5), (3, 7), (4, 12), (0, 6), (25, 8)):
        n = one + other
        tail = sum(math.comb(n, k) for k in range(min(one, other) + 1)) / 2**n
        assert math.isclose(mcnemar(one, other), min(1, 2 * tail), rel_tol=1e-12)
        assert mcnemar(one, other) == mcnemar(other, one)
    assert mcnemar(0, 0) == mcnemar(9, 9) == 1.0


def test_share_interval_is_wilsons():
    hits, n, z = 9950, 10_000, stats.norm.ppf(0.975)
    middle = (hits + z * z / 2) / (n + z * z)
    half = z / (n + z * z) * math.sqrt(hits * (n - hits) / n + z * z / 4)
    assert np.allclose(share_interval(hits, n), (middle - half, middle + half), rtol=1e-12)
    low, high = share_interval(0, 20)
    assert low == 0 and 0.1 < high < 0.2


def test_pooled_scatter_is_that_of_an_analysis_of_variance():
    groups = [[1.0, 2.0, 4.0], [10.0, 13.0], [5.0]]
    found = pooled_scatter(groups)
    assert found.freedom == 3
    assert math.isclose(found.deviation**2, (np.var(groups[0]) * 3 + np.var(groups[1]) * 2) / 3)
    assert math.isclose(found.half(1 / 4), stats.t.ppf(0.975, 3) * found.deviation / 2)
    with pytest.raises(ValueError, match="1 groups"):
        pooled_scatter([[5.0]])


def test_paired_runs_refuses_what_is_no_table_of_seeds_and_images():
    with pytest.raises(ValueError, match="seeds, images"):
        paired_runs([1, 0, 1], [0, 1, 1])
    with pytest.raises(ValueError, match="scatter"):
        paired_runs([[1, 0, 1]], [[0, 1, 1]])
    assert paired_runs([[1, 0, 1]], [[0, 1, 1]], statistics.Scatter(0.1, 20)).half > 0.1


def test_intervals_hold_the_truth_as_often_as_they_say():
    """Answers with a share for each image and a shift for each seed; the truth is known."""
    draw, seeds, n, inside = np.random.default_rng(1), 3, 400, []
    for _ in range(400):
        image, other = draw.normal(size=(2, n))
        shift = 0.15 * draw.normal(size=(2, seeds, 1))
        first = draw.normal(size=(seeds, n)) + image + shift[0] + 0.3 > 0
        second = draw.normal(size=(seeds, n)) + 0.8 * image + 0.6 * other + shift[1] > 0
        deviation = math.sqrt(1 + 1 + 0.15**2)
        truth = stats.norm.cdf(0.3 / deviation) - 0.5
        found = paired_runs(first, second)
        inside.append(abs(found.ahead - truth) <= found.half)
    assert 0.94 < np.mean(inside) <= 1
