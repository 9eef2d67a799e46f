import numpy as np
import pytest
from scipy import stats
from sklearn import metrics

from celllm.bench.metrics import classification_metrics, regression_metrics


def test_classification_metrics_equal_those_of_scikit_learn(generator):
    classes = ["a", "b", "c", "d"]
    truth = generator.choice(classes, size=300, p=[0.5, 0.3, 0.15, 0.05])
    scores = generator.dirichlet(np.ones(4), size=300) + 0.8 * (truth[:, None] == np.array(classes))
    scores /= scores.sum(axis=1, keepdims=True)
    predicted = np.array(classes)[scores.argmax(axis=1)]

    found = classification_metrics(truth, predicted, classes=classes, scores=scores)

    assert found["macro_f1"] == pytest.approx(metrics.f1_score(truth, predicted, average="macro"))
    assert found["balanced_accuracy"] == pytest.approx(metrics.balanced_accuracy_score(truth, predicted))
    assert found["auroc"] == pytest.approx(metrics.roc_auc_score(truth, scores, multi_class="ovr", average="macro"))
    by_class = metrics.f1_score(truth, predicted, average=None)
    assert [found[f"f1:{name}"] for name in classes] == pytest.approx(list(by_class))
    assert found["brier"] == pytest.approx(metrics.brier_score_loss(truth, scores, labels=classes, scale_by_half=False))


def test_calibration_error_equals_that_of_a_plain_loop_over_bins(generator):
    classes = np.array(["a", "b", "c"])
    scores = generator.dirichlet(np.ones(3), size=500)
    # right or wrong by turns of confidence, so that gaps have both signs and the number of bins matters
    is_hit = np.floor(scores.max(axis=1) * 24) % 2 == 0
    truth = classes[(scores.argmax(axis=1) + ~is_hit) % 3]
    expected = 0.0
    for number in range(15):
        low, high = number / 15, (number + 1) / 15
        rows = [row for row in range(500) if low < scores[row].max() <= high]
        if rows:
            hits = np.mean([classes[scores[row].argmax()] == truth[row] for row in rows])
            expected += len(rows) / 500 * abs(np.mean([scores[row].max() for row in rows]) - hits)

    found = classification_metrics(truth, classes[scores.argmax(axis=1)], classes=list(classes), scores=scores)

    assert found["ece"] == pytest.approx(expected)


def test_regression_metrics_equal_those_of_scipy(generator):
    truth = generator.normal(size=200)
    predicted = truth + generator.normal(size=200)

    found = regression_metrics(truth, predicted, drugs=np.full(200, "d"), lines=np.full(200, "l"))

    assert found["pearson"] == pytest.approx(stats.pearsonr(truth, predicted).statistic)
    assert found["spearman"] == pytest.approx(stats.spearmanr(truth, predicted).statistic)
    assert found["r2"] == pytest.approx(metrics.r2_score(truth, predicted))
