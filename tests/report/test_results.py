"""Model seeds are averaged within a split before anything is said about splits."""

import math

import pandas as pd
import pytest

from celllm.report.results import Results


@pytest.fixture
def results():
    values = {0: (0.6, 0.8), 1: (0.9, 0.9), 2: (0.5, 0.7)}
    rows = [
        ("t", "m", split, seed, "macro_f1", value)
        for split, of_seeds in values.items()
        for seed, value in enumerate(of_seeds)
    ]
    rows += [("t", "m", 0, 0, "f1:B cell", 0.5), ("t", "m", 0, 0, "fit_s", 2.0), ("t", "m", 0, 0, "n_test", 9.0)]
    rows += [("t", "m", 0, 0, "test_share", 0.2), ("t", "m", 0, 0, "train_share", 0.7)]
    table = pd.DataFrame(rows, columns=["task", "method", "split", "seed", "metric", "value"])
    return Results(table.assign(error=[0.1, 0.3, 0.2, 0.2, 0.1, 0.3] + [math.nan] * 5))


def test_the_mean_and_its_interval_are_over_splits(results):
    found = results.summary("t", "m", "macro_f1")

    assert found.mean == pytest.approx((0.7 + 0.9 + 0.6) / 3)
    # standard deviation of 0.7, 0.9, 0.6 is 0.152753, less than test units alone, with an error of 0.2, would make it
    variance = results.mean_over_splits("t", "m", "macro_f1").variance
    assert variance == pytest.approx(0.152753**2 / 3 + 0.2 * 0.2**2, rel=1e-5)
    assert 0 < found.low < found.mean < found.high < 1
    assert (found.n_splits, found.n_seeds) == (3, 2)


def test_the_spread_of_model_seeds_is_that_within_a_split(results):
    found = results.summary("t", "m", "macro_f1")

    assert found.sd_splits == pytest.approx(0.152753, rel=1e-5)
    # squares about each split's mean: 0.02, 0 and 0.02, with one degree of freedom each
    assert found.sd_seeds == pytest.approx(math.sqrt(0.04 / 3))


def test_metrics_of_single_classes_costs_and_sizes_are_kept_apart(results):
    assert results.metrics() == ["macro_f1"]
    assert results.metrics(classes=True) == ["f1:B cell"]


def test_a_method_without_scores_has_neither_mean_nor_splits(results):
    found = results.summary("t", "other", "macro_f1")

    assert math.isnan(found.mean)
    assert found.n_splits == 0
    assert not results.has("t", "other")
