import numpy as np
import pytest

from celllm.bench.regression import median, pearson, pearson_by, regression_metrics


def test_metrics_equal_those_counted_by_hand():
    truth, predicted = np.array([1.0, 2.0, 3.0, 6.0]), np.array([2.0, 1.0, 4.0, 5.0])

    found = regression_metrics(truth, predicted, drugs=np.array(["d"] * 4), lines=np.array(["l"] * 4))

    # deviations (-2, -1, 0, 3) and (-1, -2, 1, 2): 10 / sqrt(14 x 10)
    assert found["pearson"] == pytest.approx(10 / np.sqrt(140))
    # ranks (1, 2, 3, 4) and (2, 1, 3, 4): 1 - 6 x 2 / (4 x 15)
    assert found["spearman"] == pytest.approx(0.8)
    assert found["rmse"] == pytest.approx(1.0)
    assert found["mae"] == pytest.approx(1.0)
    assert found["r2"] == pytest.approx(1 - 4 / 14)
    assert found["pearson_per_drug"] == found["pearson_per_line"] == pytest.approx(found["pearson"])


def test_drug_means_reach_a_high_global_correlation_and_none_per_drug():
    drugs = np.repeat(["x", "y"], 4)
    truth = np.array([0.0, 1, 2, 3, 10, 11, 12, 13])
    means = np.repeat([1.5, 11.5], 4)

    found = regression_metrics(truth, means, drugs=drugs, lines=np.tile(["a", "b", "c", "d"], 2))

    assert found["pearson"] > 0.95
    assert found["pearson_per_drug"] == 0
    assert np.isnan(found["pearson_per_line"])  # two drugs a line are too few


def test_drug_means_put_the_drugs_of_a_line_in_order():
    lines, drugs = np.repeat(["a", "b"], 3), np.tile(["x", "y", "z"], 2)
    truth, means = np.array([1.0, 5, 9, 3, 7, 11]), np.tile([2.0, 6.0, 10.0], 2)

    found = regression_metrics(truth, means, drugs=drugs, lines=lines)

    assert found["pearson_per_line"] == pytest.approx(1)
    assert np.isnan(found["pearson_per_drug"])  # two lines a drug are too few


def test_correlations_by_group_leave_out_small_and_constant_groups_and_their_median_is_the_score(generator):
    drugs = np.repeat(["up", "down", "flat", "two", "half", "same"], [3, 3, 3, 2, 3, 3])
    truth = np.array([1.0, 2, 3, 1, 2, 3, 5, 5, 5, 0, 9, 1, 2, 3, 1, 2, 3])
    predicted = np.array([1.0, 2, 3, 3, 2, 1, 1, 2, 3, 0, 9, 1, 3, 2, 4, 4, 4])
    order = generator.permutation(len(drugs))

    found = pearson_by(drugs[order], truth[order], predicted[order])

    assert found == pytest.approx({"up": 1, "down": -1, "half": 0.5, "same": 0})
    assert median(found) == pytest.approx(0.25)


def test_correlations_that_are_not_defined_are_nan():
    constant = np.array([0.1 + 0.2, 0.3, 0.3])

    assert np.isnan(pearson(np.array([1.0, 2.0, 4.0]), constant))
    assert np.isnan(pearson(np.array([1.0, 2.0]), np.array([1.0, 2.0])))
    assert np.isnan(median(pearson_by(np.array(["d"]), np.array([1.0]), np.array([1.0]))))
