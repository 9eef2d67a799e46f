"""The printed interval holds the truth as often as it says; perf/coverage.py measures it for more designs."""

import pytest
from perf.coverage import METRICS, coverage


@pytest.mark.slow
@pytest.mark.parametrize(("n_splits", "train"), [(5, 0.7), (20, 0.05)])
def test_the_95_percent_interval_holds_the_truth_in_about_95_percent(n_splits, train):
    found = coverage(n_cells=500, n_splits=n_splits, train=train, repeats=120, n_truth=400, seed=1)

    for metric in METRICS:
        assert 0.90 <= found[metric] <= 0.995
