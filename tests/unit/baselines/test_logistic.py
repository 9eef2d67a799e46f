from dataclasses import replace

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from celllm.baselines.logistic import LogisticRegressionOnGenes
from celllm.errors import InputError


def _fitted(cells, parts, vocabulary, **options):
    method = LogisticRegressionOnGenes(options, seed=0, encoder=None, vocabulary=vocabulary)
    method.fit(cells, parts["train"], parts["validation"])
    return method


def test_scores_equal_scikit_learn_on_log_counts_per_ten_thousand(cells, parts, vocabulary):
    method = _fitted(cells, parts, vocabulary)
    dense = cells.counts.toarray().astype(float)
    logged = np.log1p(dense / dense.sum(axis=1, keepdims=True) * 10_000)
    rows = np.concatenate([parts["train"], parts["validation"]])
    reference = LogisticRegression(C=1.0, max_iter=1000).fit(logged[rows], cells.labels[rows])

    np.testing.assert_allclose(
        method.predict(cells, parts["test"]), reference.predict_proba(logged[parts["test"]]), atol=1e-4
    )
    assert list(method.classes_) == ["alpha", "beta", "gamma"]
    assert method.trained_parameters == 3 * 40 + 3


def test_depth_does_not_matter_for_counts_but_z_scores_are_taken_as_they_are(cells, parts, vocabulary):
    method = _fitted(cells, parts, vocabulary)
    deeper = replace(cells, counts=cells.counts * 7)
    np.testing.assert_allclose(method.predict(deeper, parts["test"]), method.predict(cells, parts["test"]), atol=1e-6)

    scores = replace(cells, values="zscore")
    method = _fitted(scores, parts, vocabulary)
    larger = method.predict(replace(deeper, values="zscore"), parts["test"])
    assert not np.allclose(larger, method.predict(scores, parts["test"]), atol=1e-3)


def test_an_unknown_option_is_refused(vocabulary):
    with pytest.raises(InputError, match="penalty"):
        LogisticRegressionOnGenes({"penalty": "l1"}, seed=0, encoder=None, vocabulary=vocabulary)


def test_one_class_in_training_is_refused_by_name(cells, parts, vocabulary):
    with pytest.raises(InputError, match="at least 2 classes"):
        _fitted(replace(cells, labels=np.full(90, "alpha")), parts, vocabulary)


def test_a_training_cell_without_label_is_refused(cells, parts, vocabulary):
    with pytest.raises(InputError, match="54 without"):
        _fitted(cells.hiding(parts["train"]), parts, vocabulary)
