from dataclasses import replace

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from celllm.base.errors import InputError
from celllm.bench.methods.logistic import LogisticRegressionOnGenes


def _fitted(cells, parts, vocabulary, **options):
    method = LogisticRegressionOnGenes(options, seed=0, encoder=None, vocabulary=vocabulary)
    method.fit(cells, parts["train"], parts["validation"])
    return method


def _logged(cells):
    dense = cells.counts.toarray().astype(float)
    return np.log1p(dense / dense.sum(axis=1, keepdims=True) * 10_000)


def test_scores_equal_scikit_learn_on_log_counts_per_ten_thousand(cells, parts, vocabulary):
    method = _fitted(cells, parts, vocabulary)
    logged = _logged(cells)
    rows = parts["train"]
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
    with pytest.raises(InputError, match="l1_ratio"):
        LogisticRegressionOnGenes({"l1_ratio": 1}, seed=0, encoder=None, vocabulary=vocabulary)
    with pytest.raises(InputError, match="one of l2, l1"):
        LogisticRegressionOnGenes({"penalty": "L1"}, seed=0, encoder=None, vocabulary=vocabulary)


def test_l1_of_several_classes_is_one_liblinear_model_a_class_against_the_rest(cells, parts, vocabulary):
    method = _fitted(cells, parts, vocabulary, penalty="l1", C=0.1)
    logged = _logged(cells)
    each = [
        LogisticRegression(C=0.1, l1_ratio=1.0, solver="liblinear", random_state=0)
        .fit(logged[parts["train"]], cells.labels[parts["train"]] == name)
        .predict_proba(logged[parts["test"]])[:, 1]
        for name in ("alpha", "beta", "gamma")
    ]
    expected = np.column_stack(each) / np.sum(each, axis=0)[:, None]

    np.testing.assert_allclose(method.predict(cells, parts["test"]), expected, atol=1e-3)
    assert method.trained_parameters == 3 * 40 + 3


def test_l1_of_two_classes_is_one_model_and_leaves_genes_out(cells, parts, vocabulary):
    two = {name: rows[cells.labels[rows] != "gamma"] for name, rows in parts.items()}
    method = _fitted(cells, two, vocabulary, penalty="l1", C=0.1)

    assert method.predict(cells, two["test"]).shape == (len(two["test"]), 2)
    assert method.trained_parameters == 40 + 1
    assert 0 < np.count_nonzero(method._model.coef_) < 40
    assert np.count_nonzero(_fitted(cells, two, vocabulary)._model.coef_) == 40


def test_validation_labels_teach_nothing(cells, parts, vocabulary):
    before = _fitted(cells, parts, vocabulary).predict(cells, parts["test"])
    hidden = cells.hiding(parts["validation"])

    np.testing.assert_array_equal(_fitted(hidden, parts, vocabulary).predict(hidden, parts["test"]), before)


def test_one_class_in_training_is_refused_by_name(cells, parts, vocabulary):
    with pytest.raises(InputError, match="at least 2 classes"):
        _fitted(replace(cells, labels=np.full(90, "alpha")), parts, vocabulary)


def test_a_training_cell_without_label_is_refused(cells, parts, vocabulary):
    with pytest.raises(InputError, match="54 without"):
        _fitted(cells.hiding(parts["train"]), parts, vocabulary)
