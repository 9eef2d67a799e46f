import numpy as np
import pytest

from celllm.metrics.interval import mean_interval


def test_three_seeds_give_the_interval_of_the_t_table():
    # mean 2, standard deviation 1, t(0.975, 2) = 4.302653 in any printed table
    mean, low, high = mean_interval([1.0, 2.0, 3.0])

    assert mean == 2
    assert (low, high) == pytest.approx((2 - 4.302653 / np.sqrt(3), 2 + 4.302653 / np.sqrt(3)), abs=1e-6)


@pytest.mark.parametrize(("values", "mean"), [([0.7], 0.7), ([0.5, float("nan")], float("nan")), ([], float("nan"))])
def test_without_a_spread_there_is_no_interval(values, mean):
    found = mean_interval(values)

    assert found[0] == pytest.approx(mean, nan_ok=True)
    assert np.isnan(found[1:]).all()
