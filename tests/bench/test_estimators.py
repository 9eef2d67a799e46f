"""Classifiers of scikit-learn as rows of config/methods.tsv, on genes and on the principal components of the corpus."""

from dataclasses import replace

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.svm import LinearSVC
from tests.bench.conftest import ROWS

from celllm.base.errors import InputError, VocabularyMismatch
from celllm.corpus.components import gene_features
from celllm.harmonise.vocabulary import Vocabulary


def test_answers_equal_scikit_learns_on_log_counts_per_ten_thousand(fitted, cells, parts):
    dense = cells.counts.toarray().astype(float)
    logged = np.log1p(dense / dense.sum(axis=1, keepdims=True) * 10_000)
    taught, asked, labels = logged[parts["train"]], logged[parts["test"]], cells.labels[parts["train"]]
    logistic, svm = LogisticRegression(C=1.0, max_iter=1000), LinearSVC(C=0.1, random_state=0)
    method = fitted("logistic")

    expected = logistic.fit(taught, labels).predict_proba(asked)
    np.testing.assert_allclose(method.predict(cells, parts["test"]), expected, atol=1e-4)
    assert list(method.classes_) == ["alpha", "beta", "gamma"]
    expected = svm.fit(taught, labels).decision_function(asked)
    np.testing.assert_allclose(fitted("svm", C=0.1).predict(cells, parts["test"]), expected, atol=1e-2)


def test_l1_of_several_classes_is_one_liblinear_model_a_class_against_the_rest(fitted, cells, parts):
    logged = gene_features(cells.counts, "counts").toarray()
    each = [
        LogisticRegression(C=0.1, l1_ratio=1.0, solver="liblinear", random_state=0)
        .fit(logged[parts["train"]], cells.labels[parts["train"]] == name)
        .predict_proba(logged[parts["test"]])[:, 1]
        for name in ("alpha", "beta", "gamma")
    ]
    expected = np.column_stack(each) / np.sum(each, axis=0)[:, None]

    np.testing.assert_allclose(fitted("logistic_l1").predict(cells, parts["test"]), expected, atol=1e-3)


@pytest.mark.parametrize(
    ("name", "options", "expected"),
    [
        ("logistic", {}, 3 * 40 + 3),
        ("logistic_l1", {}, 3 * 40 + 3),
        ("svm", {}, 3 * 40 + 3),
        ("pca_logistic", {}, 3 * 4 + 3),
        ("ranked_genes", {"genes": 10, "components": 5}, 3 * 5 + 3),
        ("pca_knn", {}, 0),
        # five rounds of three trees, each with one cut
        ("boosting", {"max_iter": 5, "max_leaf_nodes": 2}, 5 * 3 * 2),
    ],
)
def test_what_was_learned_is_counted(fitted, name, options, expected):
    assert fitted(name, **options).trained_parameters == expected


def test_as_many_neighbours_vote_as_asked_for_and_all_where_there_are_fewer(fitted, cells, parts):
    few = {**parts, "train": np.array([0, 1, 30, 60])}
    # more than a class has training cells, so that others must vote too
    scores = fitted("pca_knn", n_neighbors=23).predict(cells, parts["test"])

    np.testing.assert_allclose(scores * 23, np.round(scores * 23), atol=1e-9)
    assert (scores.max(axis=1) < 1).all()
    of_few = fitted("pca_knn", parts=few).predict(cells, parts["test"])
    np.testing.assert_allclose(of_few, [[0.5, 0.25, 0.25]] * len(parts["test"]))


def test_z_scores_are_taken_as_they_are_and_refused_by_components_of_counts(made, cells):
    shown, rows = replace(cells, values="zscore"), np.arange(5)

    np.testing.assert_array_equal(made("logistic").features(shown, rows).toarray(), cells.counts[rows].toarray())
    with pytest.raises(InputError, match=r"found: *zscore"):
        made("pca_logistic").features(shown, rows)


def test_components_of_other_genes_are_refused(made, vocabulary):
    other = Vocabulary(vocabulary.genes.iloc[::-1].reset_index(drop=True))

    with pytest.raises(VocabularyMismatch, match=vocabulary.digest[:12]):
        made("pca_logistic", vocabulary=other)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("logistic", {"depth": 3}, r"parameters of LogisticRegression: (.|\n)*depth"),
        ("logistic_l1", {"estimator__depth": 3}, "depth"),
        ("logistic_l1", {"estimator": "sklearn.linear_model:Logistics"}, "module and class that exist"),
        ("logistic_l1", {"estimator": "sklearn.linear_model:ridge_regression"}, "an estimator of scikit-learn"),
        ("ranked_genes", {"depth": 3}, "one of genes, components, C"),
    ],
)
def test_a_wrong_parameter_is_refused(made, name, options, message):
    with pytest.raises(InputError, match=message):
        made(name, **options)


@pytest.mark.parametrize(
    ("name", "module", "message"),
    [
        ("logistic", "sklearn.linear_model:LinearRegression", "a classifier of scikit-learn"),
        ("logistic", "sklearn.metrics:accuracy_score", "an estimator of scikit-learn"),
        ("logistic", "sklearn.ensemble:HistGradientBoostingClassifier", "components into the column encoder"),
        ("elastic_net_pairs", "sklearn.linear_model:LogisticRegression", "a regression of scikit-learn"),
    ],
)
def test_what_is_no_estimator_for_such_a_row_is_refused(made, name, module, message):
    with pytest.raises(InputError, match=message):
        made(replace(ROWS.row(name), module=module), is_bare=True)


def test_the_seed_is_the_estimators_random_state_unless_the_row_gives_one(made):
    assert made("svm", seed=4).model.random_state == 4
    assert made("svm", seed=4, random_state=1).model.random_state == 1
    assert made("logistic_l1", seed=4).model.get_params()["estimator__random_state"] == 4


@pytest.mark.parametrize("name", ["logistic", "celllm", "majority"])
def test_one_class_and_a_cell_without_label_in_training_are_refused(made, cells, parts, name):
    with pytest.raises(InputError, match="at least 2 classes"):
        made(name).fit(replace(cells, labels=np.full(90, "alpha")), parts["train"], parts["validation"])
    with pytest.raises(InputError, match="54 without"):
        made(name).fit(cells.hiding(parts["train"]), parts["train"], parts["validation"])
