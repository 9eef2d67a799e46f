import numpy as np
import pytest
from scipy import stats

from celllm.base.interval import mean_interval, paired_test


def test_three_splits_give_the_interval_of_the_t_table():
    # mean 2, standard deviation 1, t(0.975, 2) = 4.302653 in any printed table
    mean, low, high = mean_interval([1.0, 2.0, 3.0])

    assert mean == 2
    assert (low, high) == pytest.approx((2 - 4.302653 / np.sqrt(3), 2 + 4.302653 / np.sqrt(3)), abs=1e-6)


@pytest.mark.parametrize(("values", "mean"), [([0.7], 0.7), ([0.5, float("nan")], float("nan")), ([], float("nan"))])
def test_without_a_spread_there_is_no_interval(values, mean):
    found = mean_interval(values)

    assert found[0] == pytest.approx(mean, nan_ok=True)
    assert np.isnan(found[1:]).all()


def test_without_overlap_the_paired_test_is_the_plain_t_test():
    differences = [0.03, 0.01, 0.04, 0.02, 0.06]
    plain = stats.ttest_1samp(differences, 0.0)

    mean, low, high, p = paired_test(differences, test_to_rest=0.0)

    assert (mean, p) == pytest.approx((0.032, float(plain.pvalue)))
    assert (low, high) == pytest.approx(tuple(plain.confidence_interval(0.95)))


def test_cells_that_splits_share_make_a_difference_less_certain():
    differences = [0.03, 0.01, 0.04, 0.02, 0.06]
    _, low, _, p = paired_test(differences, test_to_rest=0.0)
    _, corrected_low, _, corrected_p = paired_test(differences, test_to_rest=0.25)

    # variance of the mean grows from 1/5 to 1/5 + 1/4, so its root by 1.5
    assert 0.032 - corrected_low == pytest.approx(1.5 * (0.032 - low))
    assert corrected_p > p


def test_the_corrected_test_finds_a_difference_where_there_is_none_no_more_often_than_it_says():
    # Accuracy of two coin-tossing methods on overlapping test parts of the same 200 cells: no difference at all.
    generator = np.random.default_rng(0)
    found, plain = 0, 0
    for _ in range(400):
        gain = generator.choice([-1.0, 0.0, 1.0], size=200)
        differences = [gain[generator.permutation(200)[:40]].mean() for _ in range(10)]
        found += paired_test(differences, test_to_rest=40 / 160)[3] < 0.05
        plain += paired_test(differences, test_to_rest=0.0)[3] < 0.05

    assert found <= 0.08 * 400
    assert plain > 2 * found


@pytest.mark.parametrize(("differences", "p"), [([0.1, 0.1, 0.1], 0.0), ([0.0, 0.0, 0.0], 1.0)])
def test_differences_without_spread_are_certain(differences, p):
    assert paired_test(differences, test_to_rest=0.25)[3] == pytest.approx(p, abs=1e-12)


@pytest.mark.parametrize("differences", [[], [0.1], [0.1, float("nan")]])
def test_too_few_or_undefined_differences_have_no_p(differences):
    assert np.isnan(paired_test(differences, test_to_rest=0.25)[3])
