import numpy as np
import pytest
from scipy import stats
from sklearn import metrics

from celllm.metrics.classification import classification_metrics
from celllm.metrics.regression import regression_metrics


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


def test_regression_metrics_equal_those_of_scipy(generator):
    truth = generator.normal(size=200)
    predicted = truth + generator.normal(size=200)

    found = regression_metrics(truth, predicted, drugs=np.full(200, "d"), lines=np.full(200, "l"))

    assert found["pearson"] == pytest.approx(stats.pearsonr(truth, predicted).statistic)
    assert found["spearman"] == pytest.approx(stats.spearmanr(truth, predicted).statistic)
    assert found["r2"] == pytest.approx(metrics.r2_score(truth, predicted))
