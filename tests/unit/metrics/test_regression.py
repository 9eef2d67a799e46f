import numpy as np
import pytest

from celllm.metrics.regression import pearson, pearson_per_drug, regression_metrics


def test_metrics_equal_those_counted_by_hand():
    truth, predicted = np.array([1.0, 2.0, 3.0, 6.0]), np.array([2.0, 1.0, 4.0, 5.0])

    found = regression_metrics(truth, predicted, drugs=np.array(["d"] * 4))

    # deviations (-2, -1, 0, 3) and (-1, -2, 1, 2): 10 / sqrt(14 x 10)
    assert found["pearson"] == pytest.approx(10 / np.sqrt(140))
    # ranks (1, 2, 3, 4) and (2, 1, 3, 4): 1 - 6 x 2 / (4 x 15)
    assert found["spearman"] == pytest.approx(0.8)
    assert found["rmse"] == pytest.approx(1.0)
    assert found["mae"] == pytest.approx(1.0)
    assert found["r2"] == pytest.approx(1 - 4 / 14)
    assert found["pearson_per_drug"] == pytest.approx(found["pearson"])


def test_drug_means_reach_a_high_global_correlation_and_none_per_drug():
    drugs = np.repeat(["x", "y"], 4)
    truth = np.array([0.0, 1, 2, 3, 10, 11, 12, 13])
    means = np.repeat([1.5, 11.5], 4)

    found = regression_metrics(truth, means, drugs=drugs)

    assert found["pearson"] > 0.95
    assert found["pearson_per_drug"] == 0


def test_the_correlation_per_drug_is_the_median_over_drugs_with_enough_pairs():
    drugs = np.repeat(["up", "down", "flat", "two", "half"], [3, 3, 3, 2, 3])
    truth = np.array([1.0, 2, 3, 1, 2, 3, 5, 5, 5, 0, 9, 1, 2, 3])
    predicted = np.array([1.0, 2, 3, 3, 2, 1, 1, 2, 3, 0, 9, 1, 3, 2])

    # up 1, down -1, half 0.5; flat has constant truth, two has two pairs
    assert pearson_per_drug(truth, predicted, drugs=drugs) == pytest.approx(0.5)


def test_correlations_that_are_not_defined_are_nan():
    constant = np.array([0.1 + 0.2, 0.3, 0.3])

    assert np.isnan(pearson(np.array([1.0, 2.0, 4.0]), constant))
    assert np.isnan(pearson(np.array([1.0, 2.0]), np.array([1.0, 2.0])))
    assert np.isnan(pearson_per_drug(np.array([1.0]), np.array([1.0]), drugs=np.array(["d"])))
