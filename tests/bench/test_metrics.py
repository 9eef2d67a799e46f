"""Every metric against numbers counted by hand, and which way it points."""

import math

import numpy as np
import pytest

from celllm.bench.metrics import (
    auroc,
    brier,
    classification_metrics,
    expected_calibration_error,
    is_better,
    median,
    pearson,
    pearson_by,
    regression_metrics,
)

# Counted by hand: a 2 of 3 found, one b called a; b 1 of 2 found; c (1 cell) called b.
TRUTH = np.array(["a", "a", "a", "b", "b", "c"])
PREDICTED = np.array(["a", "a", "b", "b", "a", "b"])
CLASSES = ["a", "b", "c"]
SCORES = np.eye(3)[[CLASSES.index(name) for name in PREDICTED]]


def test_metrics_equal_those_counted_by_hand():
    found = classification_metrics(TRUTH, PREDICTED, classes=CLASSES, scores=SCORES)

    assert found["accuracy"] == pytest.approx(3 / 6)
    # F1 = 2 hits / (true + predicted): a 4/6, b 2/5, c 0/1
    assert found["macro_f1"] == pytest.approx((4 / 6 + 2 / 5 + 0) / 3)
    assert found["balanced_accuracy"] == pytest.approx((2 / 3 + 1 / 2 + 0) / 3)
    assert "f1_sensitive" not in found
    by_class = {name: value for name, value in found.items() if name.startswith("f1:")}
    assert by_class == pytest.approx({"f1:a": 4 / 6, "f1:b": 2 / 5, "f1:c": 0})


def test_f1_of_both_drug_labels_is_reported_where_they_are_the_labels():
    truth = np.array(["sensitive", "sensitive", "resistant", "resistant", "resistant"])
    predicted = np.array(["sensitive", "resistant", "resistant", "resistant", "sensitive"])
    scores = np.array([[0.1, 0.9], [0.6, 0.4], [0.8, 0.2], [0.7, 0.3], [0.3, 0.7]])

    found = classification_metrics(truth, predicted, classes=["resistant", "sensitive"], scores=scores)

    assert found["f1_sensitive"] == pytest.approx(2 / 4)
    assert found["f1_resistant"] == pytest.approx(4 / 6)
    # pairs (sensitive, resistant) ranked rightly: 0.9 beats all 3, 0.4 beats 2
    assert found["auroc"] == pytest.approx(5 / 6)


def test_auroc_of_several_classes_is_the_mean_of_one_against_the_rest():
    truth = np.array(["a", "a", "b", "c"])
    scores = np.array([[0.8, 0.1, 0.1], [0.3, 0.6, 0.1], [0.4, 0.5, 0.1], [0.1, 0.1, 0.8]])

    # a: 0.8 beats both others, 0.3 beats 0.1 only: 3/4; b: 0.5 beats 0.1, 0.1, loses to 0.6: 2/3; c: 1
    assert auroc(truth, classes=["a", "b", "c"], scores=scores) == pytest.approx((3 / 4 + 2 / 3 + 1) / 3)


def test_a_class_absent_in_training_is_scored_as_missed():
    truth = np.array(["a", "b", "new"])
    predicted = np.array(["a", "b", "a"])
    scores = np.array([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4]])

    found = classification_metrics(truth, predicted, classes=["a", "b"], scores=scores)

    assert found["accuracy"] == pytest.approx(2 / 3)
    assert found["macro_f1"] == pytest.approx((2 / 3 + 1 + 0) / 3)
    assert found["auroc"] == pytest.approx((1 + 1 + 0.5) / 3)


def test_a_class_that_is_only_predicted_lowers_macro_f1_and_not_balanced_accuracy():
    found = classification_metrics(
        np.array(["a", "a"]), np.array(["a", "b"]), classes=["a", "b"], scores=np.array([[1.0, 0.0], [0.0, 1.0]])
    )

    assert found["macro_f1"] == pytest.approx((2 / 3 + 0) / 2)
    assert found["balanced_accuracy"] == pytest.approx(1 / 2)
    assert np.isnan(found["auroc"])


def test_calibration_error_counts_the_gap_of_each_bin_by_its_cells():
    # (0.60, 0.6667]: 0.62 and 0.66, one hit; (0.9333, 1]: 0.95 a hit, 1 a miss
    scores = np.array([[0.62, 0.38], [0.34, 0.66], [0.95, 0.05], [1.0, 0.0]])
    truth = np.array(["a", "a", "a", "b"])

    expected = 2 / 4 * abs((0.62 + 0.66) / 2 - 1 / 2) + 2 / 4 * abs((0.95 + 1) / 2 - 1 / 2)

    assert expected_calibration_error(truth, classes=["a", "b"], scores=scores) == pytest.approx(expected)


def test_a_probability_at_an_edge_belongs_to_the_bin_below():
    scores = np.array([[0.8, 0.2], [0.79, 0.21]])  # 12 / 15 = 0.8; in one bin hit and miss make up for each other

    found = expected_calibration_error(np.array(["a", "b"]), classes=["a", "b"], scores=scores)

    assert found == pytest.approx(abs((0.8 + 0.79) / 2 - 1 / 2))


def test_a_cell_of_a_class_absent_in_training_costs_one_more_than_its_probabilities():
    scores = np.array([[0.75, 0.25]])

    assert brier(np.array(["a"]), classes=["a", "b"], scores=scores) == pytest.approx(2 * 0.25**2)
    assert brier(np.array(["new"]), classes=["a", "b"], scores=scores) == pytest.approx(0.75**2 + 0.25**2 + 1)


@pytest.mark.parametrize(
    "scores",
    [
        pytest.param([[2.0, -1.0], [0.3, 0.7]], id="a negative score, though the sum is 1"),
        pytest.param([[0.5, 0.6], [0.3, 0.7]], id="a sum other than 1"),
    ],
)
def test_scores_that_are_no_probabilities_have_no_calibration(scores):
    found = classification_metrics(
        np.array(["a", "b"]), np.array(["a", "b"]), classes=["a", "b"], scores=np.array(scores)
    )

    assert np.isnan(found["ece"])
    assert np.isnan(found["brier"])


def test_auroc_of_two_true_classes_among_others_is_the_mean_of_both():
    # a donor who lacks class b: the scores of a and of c do not sum to 1, so neither curve tells the other's
    truth = np.array(["a", "a", "c", "c"])
    scores = np.array([[0.6, 0.3, 0.1], [0.2, 0.4, 0.4], [0.3, 0.2, 0.5], [0.1, 0.3, 0.6]])
    assert auroc(truth, classes=["a", "b", "c"], scores=scores) == pytest.approx((3 / 4 + 1) / 2)
    assert auroc(truth, classes=["a", "b"], scores=scores[:, :2]) == pytest.approx((3 / 4 + 0.5) / 2)


def test_metrics_of_responses_equal_those_counted_by_hand():
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


@pytest.mark.parametrize(
    ("value", "other", "metric", "better"),
    [
        (0.9, 0.8, "macro_f1", True),
        (0.8, 0.9, "macro_f1", False),
        (0.8, 0.8, "macro_f1", False),
        (0.8, 0.9, "rmse", True),
        (0.9, 0.8, "brier", False),
        (0.1, math.nan, "macro_f1", True),
        (0.9, math.nan, "rmse", True),
        (math.nan, 0.1, "macro_f1", False),
        (math.nan, math.nan, "macro_f1", False),
    ],
)
def test_more_is_better_but_of_errors_and_a_number_beats_none(value, other, metric, better):
    assert is_better(value, other, metric=metric) is better
