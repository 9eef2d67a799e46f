"""Every metric against numbers counted by hand and against scikit-learn and scipy, and which way it points."""

import math

import numpy as np
import pytest
from scipy import stats
from sklearn import metrics as sklearn_metrics

from celllm.bench.metrics import (
    auroc,
    brier,
    classification_metrics,
    expected_calibration_error,
    is_better,
    pearson,
    pearson_by,
    regression_metrics,
)

AB, ABC = ["a", "b"], ["a", "b", "c"]
NAN = math.nan


def scored(truth, predicted, classes, scores):
    return classification_metrics(
        np.array(list(truth)), np.array(list(predicted)), classes=classes, scores=np.array(scores)
    )


@pytest.mark.parametrize(
    ("truth", "predicted", "classes", "scores", "wanted"),
    [
        pytest.param(
            # a 2 of 3 found, one b called a; b 1 of 2 found; c (1 cell) called b. F1 = 2 hits / (true + predicted)
            "aaabbc",
            "aabbab",
            ABC,
            np.eye(3)[[0, 0, 1, 1, 0, 1]],
            {"accuracy": 3 / 6, "macro_f1": (4 / 6 + 2 / 5 + 0) / 3, "balanced_accuracy": (2 / 3 + 1 / 2 + 0) / 3}
            | {"f1:a": 4 / 6, "f1:b": 2 / 5, "f1:c": 0},
            id="by hand",
        ),
        pytest.param(
            "abn",
            "aba",
            AB,
            [[0.9, 0.1], [0.2, 0.8], [0.6, 0.4]],
            {"accuracy": 2 / 3, "macro_f1": (2 / 3 + 1 + 0) / 3, "auroc": (1 + 1 + 0.5) / 3},
            id="a class absent in training is missed",
        ),
        pytest.param(
            "aa",
            "ab",
            AB,
            [[1.0, 0.0], [0.0, 1.0]],
            {"macro_f1": (2 / 3 + 0) / 2, "balanced_accuracy": 1 / 2, "auroc": NAN},
            id="a class that is only predicted lowers macro-F1 alone",
        ),
        pytest.param("ab", "ab", AB, [[2.0, -1.0], [0.3, 0.7]], {"ece": NAN, "brier": NAN}, id="a negative score"),
        pytest.param("ab", "ab", AB, [[0.5, 0.6], [0.3, 0.7]], {"ece": NAN, "brier": NAN}, id="a sum other than 1"),
    ],
)
def test_metrics_of_classes_equal_those_counted_by_hand(truth, predicted, classes, scores, wanted):
    found = scored(truth, predicted, classes, scores)

    assert {name: found[name] for name in wanted} == pytest.approx(wanted, nan_ok=True)
    assert "f1_sensitive" not in found


def test_f1_of_both_drug_labels_is_reported_where_they_are_the_labels():
    s, r = "sensitive", "resistant"
    scores = [[0.1, 0.9], [0.6, 0.4], [0.8, 0.2], [0.7, 0.3], [0.3, 0.7]]
    found = scored([s, s, r, r, r], [s, r, r, r, s], [r, s], scores)

    # pairs (sensitive, resistant) ranked rightly: 0.9 beats all 3, 0.4 beats 2
    assert (found["f1_sensitive"], found["f1_resistant"], found["auroc"]) == pytest.approx((2 / 4, 4 / 6, 5 / 6))
    assert scored([r, r], [r, r], [r, s], [[0.9, 0.1]] * 2)["f1_sensitive"] == 0


def test_auroc_of_several_classes_is_the_mean_of_one_against_the_rest():
    scores = np.array([[0.8, 0.1, 0.1], [0.3, 0.6, 0.1], [0.4, 0.5, 0.1], [0.1, 0.1, 0.8]])
    # a: 0.8 beats both others, 0.3 beats 0.1 only: 3/4; b: 0.5 beats 0.1, 0.1, loses to 0.6: 2/3; c: 1
    assert auroc(np.array(list("aabc")), classes=ABC, scores=scores) == pytest.approx((3 / 4 + 2 / 3 + 1) / 3)

    # a donor who lacks class b: the scores of a and of c do not sum to 1, so neither curve tells the other's
    scores = np.array([[0.6, 0.3, 0.1], [0.2, 0.4, 0.4], [0.3, 0.2, 0.5], [0.1, 0.3, 0.6]])
    assert auroc(np.array(list("aacc")), classes=ABC, scores=scores) == pytest.approx((3 / 4 + 1) / 2)
    assert auroc(np.array(list("aacc")), classes=AB, scores=scores[:, :2]) == pytest.approx((3 / 4 + 0.5) / 2)


@pytest.mark.parametrize(
    ("truth", "first", "wanted"),
    [
        # (0.60, 0.6667]: 0.62 and 0.66, one hit; (0.9333, 1]: 0.95 a hit, 1 a miss
        ("aaab", [0.62, 0.34, 0.95, 1.0], abs((0.62 + 0.66) / 2 - 1 / 2) / 2 + abs((0.95 + 1) / 2 - 1 / 2) / 2),
        # 12 / 15 = 0.8 belongs to the bin below; in one bin hit and miss make up for each other
        ("ab", [0.8, 0.79], abs((0.8 + 0.79) / 2 - 1 / 2)),
    ],
)
def test_calibration_error_counts_the_gap_of_each_bin_by_its_cells(truth, first, wanted):
    scores = np.column_stack([first, 1 - np.array(first)])

    found = expected_calibration_error(np.array(list(truth)), classes=AB, scores=scores)
    assert found == pytest.approx(wanted)


def test_a_cell_of_a_class_absent_in_training_costs_one_more_than_its_probabilities():
    scores = np.array([[0.75, 0.25]])

    assert brier(np.array(["a"]), classes=AB, scores=scores) == pytest.approx(2 * 0.25**2)
    assert brier(np.array(["new"]), classes=AB, scores=scores) == pytest.approx(0.75**2 + 0.25**2 + 1)


def test_metrics_of_classes_equal_those_of_scikit_learn(generator):
    classes = list("abcd")
    truth = generator.choice(classes, size=300, p=[0.5, 0.3, 0.15, 0.05])
    scores = generator.dirichlet(np.ones(4), size=300) + 0.8 * (truth[:, None] == np.array(classes))
    scores /= scores.sum(axis=1, keepdims=True)
    predicted = np.array(classes)[scores.argmax(axis=1)]
    found = scored(truth, predicted, classes, scores)
    wanted = {
        "macro_f1": sklearn_metrics.f1_score(truth, predicted, average="macro"),
        "balanced_accuracy": sklearn_metrics.balanced_accuracy_score(truth, predicted),
        "auroc": sklearn_metrics.roc_auc_score(truth, scores, multi_class="ovr", average="macro"),
        "brier": sklearn_metrics.brier_score_loss(truth, scores, labels=classes, scale_by_half=False),
    }
    assert {name: found[name] for name in wanted} == pytest.approx(wanted)

    # right or wrong by turns of confidence, so that gaps have both signs and the number of bins matters
    confidence = scores.max(axis=1)
    is_hit = np.floor(confidence * 24) % 2 == 0
    truth = np.array(classes)[(scores.argmax(axis=1) + ~is_hit) % 4]
    bins = [(number / 15 < confidence) & (confidence <= (number + 1) / 15) for number in range(15)]
    gaps = [rows.mean() * abs(confidence[rows].mean() - is_hit[rows].mean()) for rows in bins if rows.any()]
    assert scored(truth, predicted, classes, scores)["ece"] == pytest.approx(sum(gaps))


def test_metrics_of_responses_equal_those_of_scipy_and_those_counted_by_hand(generator):
    truth = generator.normal(size=200)
    predicted = truth + generator.normal(size=200)
    found = regression_metrics(truth, predicted, drugs=np.full(200, "d"), lines=np.full(200, "l"))

    assert found["pearson"] == found["pearson_per_drug"] == found["pearson_per_line"]
    assert found["pearson"] == pytest.approx(stats.pearsonr(truth, predicted).statistic)
    assert found["spearman"] == pytest.approx(stats.spearmanr(truth, predicted).statistic)

    truth, predicted = np.array([1.0, 2.0, 3.0, 6.0]), np.array([2.0, 1.0, 4.0, 5.0])
    found = regression_metrics(truth, predicted, drugs=np.array(["d"] * 4), lines=np.array(["l"] * 4))
    # deviations (-2, -1, 0, 3) and (-1, -2, 1, 2): 10 / sqrt(14 x 10); ranks (1, 2, 3, 4) and (2, 1, 3, 4)
    wanted = {"pearson": 10 / np.sqrt(140), "spearman": 1 - 6 * 2 / (4 * 15), "rmse": 1, "mae": 1, "r2": 1 - 4 / 14}
    assert {name: found[name] for name in wanted} == pytest.approx(wanted)


def test_drug_means_reach_a_high_global_correlation_and_none_per_drug_but_order_the_drugs_of_a_line():
    drugs, lines = np.repeat(["x", "y"], 4), np.tile(["a", "b", "c", "d"], 2)
    truth, means = np.array([0.0, 1, 2, 3, 10, 11, 12, 13]), np.repeat([1.5, 11.5], 4)
    found = regression_metrics(truth, means, drugs=drugs, lines=lines)
    assert found["pearson"] > 0.95
    assert found["pearson_per_drug"] == 0
    assert np.isnan(found["pearson_per_line"])  # two drugs a line are too few

    truth, means = np.array([1.0, 5, 9, 3, 7, 11]), np.tile([2.0, 6.0, 10.0], 2)
    found = regression_metrics(truth, means, drugs=np.tile(["x", "y", "z"], 2), lines=np.repeat(["a", "b"], 3))
    assert found["pearson_per_line"] == pytest.approx(1)
    assert np.isnan(found["pearson_per_drug"])  # two lines a drug are too few


def test_correlations_by_group_leave_out_small_and_constant_groups_and_their_median_is_the_score(generator):
    drugs = np.repeat(["up", "down", "flat", "two", "half", "same"], [3, 3, 3, 2, 3, 3])
    truth = np.array([1.0, 2, 3, 1, 2, 3, 5, 5, 5, 0, 9, 1, 2, 3, 1, 2, 3])
    predicted = np.array([1.0, 2, 3, 3, 2, 1, 1, 2, 3, 0, 9, 1, 3, 2, 4, 4, 4])
    order = generator.permutation(len(drugs))

    found = pearson_by(drugs[order], truth[order], predicted[order])

    assert found == pytest.approx({"up": 1, "down": -1, "half": 0.5, "same": 0})
    whole = regression_metrics(truth, predicted, drugs=drugs, lines=np.full(len(drugs), "l"))
    assert whole["pearson_per_drug"] == pytest.approx(0.25)
    assert np.isnan(pearson(np.array([1.0, 2.0, 4.0]), np.array([0.1 + 0.2, 0.3, 0.3])))
    assert np.isnan(pearson(np.array([1.0, 2.0]), np.array([1.0, 2.0])))


@pytest.mark.parametrize(
    ("value", "other", "metric", "better"),
    [
        (0.9, 0.8, "macro_f1", True),
        (0.8, 0.9, "macro_f1", False),
        (0.8, 0.8, "macro_f1", False),
        (0.8, 0.9, "rmse", True),
        (0.9, 0.8, "brier", False),
        (0.1, NAN, "macro_f1", True),
        (0.9, NAN, "rmse", True),
        (NAN, 0.1, "macro_f1", False),
        (NAN, NAN, "macro_f1", False),
    ],
)
def test_more_is_better_but_of_errors_and_a_number_beats_none(value, other, metric, better):
    assert is_better(value, other, metric=metric) is better
