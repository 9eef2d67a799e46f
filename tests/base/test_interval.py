"""Means over splits: intervals, p values, bounds."""

import math

import numpy as np
import pytest
from scipy import stats

from celllm.base.interval import mean_over

UNKNOWN = [math.nan] * 5
VALUES = [0.03, 0.01, 0.04, 0.02, 0.06]


def test_without_errors_the_spread_is_taken_for_the_test_units():
    # Nadeau and Bengio: variance (1/5 + 0.2/0.8) times that of the values, Student's t with 4 degrees of freedom
    found = mean_over(VALUES, UNKNOWN, test=0.2, train=0.7)
    half = stats.t.ppf(0.975, 4) * np.std(VALUES, ddof=1) * np.sqrt(1 / 5 + 0.2 / 0.8)

    assert found.interval() == pytest.approx((0.032 - half, 0.032 + half))
    assert found.p == pytest.approx(2 * stats.t.sf(0.032 / (half / stats.t.ppf(0.975, 4)), 4))


def test_what_test_units_do_not_explain_is_the_training_units():
    spread = float(np.var(VALUES, ddof=1))
    found = mean_over(VALUES, [0.01] * 5, test=0.2, train=0.05)

    assert found.variance == pytest.approx(spread / 5 + 0.2 * 1e-4 + 0.05 * (spread - 0.8 * 1e-4))


def test_many_splits_of_few_units_do_not_make_the_mean_certain():
    found = mean_over([0.8, 0.82] * 500, [0.03] * 1000, test=0.2, train=0.7)

    assert found.variance == pytest.approx(0.2 * 0.03**2, rel=0.01)


@pytest.mark.parametrize(
    ("values", "mean"), [([0.7], 0.7), ([0.5, math.nan], math.nan), ([], math.nan), ([0.9, 0.8, 0.7, 0.8], 0.8)]
)
def test_without_a_spread_or_over_few_donors_there_is_no_interval(values, mean):
    found = mean_over(values, [0.1] * len(values), test=0, train=0.9)

    assert found.value == pytest.approx(mean, nan_ok=True)
    assert np.isnan([found.p, *found.interval((0, 1))]).all()


@pytest.mark.parametrize("values", [[0.69, 0.92, 0.90, 0.97], [1.0, 1.0, 0.99], [0.0, 0.01, 0.0], [0.5, 0.1, 0.9]])
@pytest.mark.parametrize("bounds", [(0, 1), (-1, 1)])
def test_an_interval_holds_its_mean_and_keeps_to_the_bounds(values, bounds):
    low, high = mean_over(values, [0.05] * len(values), test=0.2, train=0.7).interval(bounds, n_units=100)

    assert bounds[0] <= low <= np.mean(values) <= high <= bounds[1]
    assert low < high


def test_a_perfect_score_is_as_uncertain_as_its_test_units_are_few():
    perfect = mean_over([1.0, 1.0], [0.0, 0.0], test=0.2, train=0.7)
    lows = [perfect.interval((0, 1), n_units=n)[0] for n in (40, 400)]

    # Wilson's interval of 40 of 40: 40 / (40 + 1.96^2)
    assert lows[0] == pytest.approx(40 / (40 + 1.96**2), abs=1e-3)
    assert lows[0] < lows[1] < 1


@pytest.mark.parametrize("bounds", [(0, 1), (-1, 1)])
def test_rounding_beside_a_bound_does_not_make_the_interval_the_whole_range(bounds):
    exact, rounded = (mean_over([1, 1, last], [1e-9] * 3, test=0.2, train=0.7) for last in (1, 1 - 2e-16))
    assert rounded.interval(bounds, n_units=100) == pytest.approx(exact.interval(bounds, n_units=100), abs=1e-3)
    assert rounded.interval(bounds, n_units=100)[0] > 0.9


def test_far_from_its_bounds_an_interval_is_the_plain_one():
    found = mean_over([0.49, 0.5, 0.51], [0.005] * 3, test=0.2, train=0.7)

    assert found.interval((0, 1)) == pytest.approx(found.interval(), abs=1e-3)


@pytest.mark.parametrize(("difference", "p"), [(0.0, 1.0), (0.025, math.nan)])
def test_differences_without_spread_or_error_are_certain_of_nothing_but_equality(difference, p):
    assert mean_over([difference] * 2, [0.0] * 2, test=0.2, train=0.7).p == pytest.approx(p, nan_ok=True)


def test_equal_differences_on_two_splits_are_as_certain_as_their_test_units_let_them_be():
    # one cell more right of 40, on both splits
    assert mean_over([0.025] * 2, [0.025] * 2, test=0.2, train=0.7).p > 0.02


def test_a_difference_is_found_where_there_is_none_no_more_often_than_it_says():
    # accuracy of two coin-tossing methods on overlapping test parts of the same 200 cells: no difference at all
    generator = np.random.default_rng(0)
    found = 0
    for _ in range(400):
        gain = generator.choice([-1.0, 0.0, 1.0], size=200)
        parts = [gain[generator.permutation(200)[:40]] for _ in range(10)]
        errors = [part.std(ddof=1) / np.sqrt(40) for part in parts]
        found += mean_over([part.mean() for part in parts], errors, test=0.2, train=0.7).p < 0.05

    assert 0.02 * 400 <= found <= 0.08 * 400
