"""Classifiers of scikit-learn as rows of config/methods.tsv, on genes and on the principal components of the corpus."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.svm import LinearSVC

from celllm.base.errors import InputError, VocabularyMismatch
from celllm.bench.method import build
from celllm.config import tables
from celllm.config.tables import COMPONENTS
from celllm.corpus.components import gene_features
from celllm.harmonise.vocabulary import Vocabulary

ROWS = tables.read_methods(Path(__file__).resolve().parents[2] / "config/methods.tsv")
NAMES = [
    row.method
    for row in ROWS
    if row.kind == "classification" and row.module.startswith("sklearn.") and row.encoder in (None, COMPONENTS)
]
EACH = pytest.mark.parametrize("name", NAMES)


@pytest.fixture
def made(vocabulary, components_file):
    """Make a method from its shipped row, with the first values of its search and other options beside."""

    def make(name, *, seed=0, vocabulary=vocabulary, **options):
        row = ROWS.row(name)
        first = {option: values[0] for option, values in row.search.items()}
        encoder = components_file if row.encoder == COMPONENTS else None
        return build(row, {**row.options, **first, **options}, seed=seed, encoder=encoder, vocabulary=vocabulary)

    return make


@pytest.fixture
def fitted(made, cells, parts):
    def fit(name, *, shown=cells, parts=parts, seed=0, **options):
        method = made(name, seed=seed, **options)
        method.fit(shown.hiding(parts["test"]), parts["train"], parts["validation"])
        return method

    return fit


def _two(cells, parts):
    return {name: rows[cells.labels[rows] != "gamma"] for name, rows in parts.items()}


def test_the_shipped_table_has_such_rows():
    assert len(NAMES) > 5


@EACH
def test_it_learns_classes_that_genes_tell_apart(fitted, cells, parts, name):
    method = fitted(name)
    scores = method.predict(cells, parts["test"])

    assert scores.shape == (len(parts["test"]), 3)
    assert np.mean(method.classes_[scores.argmax(axis=1)] == cells.labels[parts["test"]]) > 0.9
    # a prediction depends on nothing but the cell
    np.testing.assert_allclose(method.predict(cells, parts["test"][3:4]), scores[3:4], atol=1e-6)


@EACH
def test_two_classes_have_two_columns_of_which_the_larger_is_right(fitted, cells, parts, name):
    two = _two(cells, parts)
    method = fitted(name, parts=two)
    scores = method.predict(cells, two["test"])

    assert scores.shape == (len(two["test"]), 2)
    assert np.mean(method.classes_[scores.argmax(axis=1)] == cells.labels[two["test"]]) > 0.9


@EACH
def test_neither_validation_labels_nor_the_seed_matter(fitted, cells, parts, name):
    scores = fitted(name).predict(cells, parts["test"])

    hidden = fitted(name, shown=cells.hiding(parts["validation"]))
    np.testing.assert_array_equal(hidden.predict(cells, parts["test"]), scores)
    np.testing.assert_allclose(fitted(name, seed=1).predict(cells, parts["test"]), scores, atol=1e-3)


def test_probabilities_equal_scikit_learns_on_log_counts_per_ten_thousand(fitted, cells, parts):
    dense = cells.counts.toarray().astype(float)
    logged = np.log1p(dense / dense.sum(axis=1, keepdims=True) * 10_000)
    rows = parts["train"]
    reference = LogisticRegression(C=1.0, max_iter=1000).fit(logged[rows], cells.labels[rows])
    method = fitted("logistic")

    expected = reference.predict_proba(logged[parts["test"]])
    np.testing.assert_allclose(method.predict(cells, parts["test"]), expected, atol=1e-4)
    assert list(method.classes_) == ["alpha", "beta", "gamma"]


def test_margins_equal_those_of_scikit_learn(fitted, cells, parts):
    logged = gene_features(cells.counts, "counts").toarray()
    reference = LinearSVC(C=0.1, random_state=0).fit(logged[parts["train"]], cells.labels[parts["train"]])

    expected = reference.decision_function(logged[parts["test"]])
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


def test_l1_of_two_classes_is_one_model_and_leaves_genes_out(fitted, cells, parts):
    two = _two(cells, parts)
    (one,) = fitted("logistic_l1", parts=two).model.estimators_

    assert 0 < np.count_nonzero(one.coef_) < 40
    assert np.count_nonzero(fitted("logistic", parts=two).model.coef_) == 40


@pytest.mark.parametrize(
    ("name", "options", "expected"),
    [
        ("logistic", {}, 3 * 40 + 3),
        ("logistic_l1", {}, 3 * 40 + 3),
        ("svm", {}, 3 * 40 + 3),
        ("pca_logistic", {}, 3 * 4 + 3),
        ("pca_knn", {}, 0),
        # five rounds of three trees, each with one cut
        ("boosting", {"max_iter": 5, "max_leaf_nodes": 2}, 5 * 3 * 2),
    ],
)
def test_what_was_learned_is_counted(fitted, name, options, expected):
    assert fitted(name, **options).trained_parameters == expected


def test_fewer_training_cells_than_neighbours_all_vote(fitted, cells, parts):
    few = {**parts, "train": np.array([0, 1, 30, 60])}
    method = fitted("pca_knn", parts=few)

    np.testing.assert_allclose(method.predict(cells, parts["test"]), [[0.5, 0.25, 0.25]] * len(parts["test"]))


def test_as_many_neighbours_vote_as_asked_for(fitted, cells, parts):
    # more than a class has training cells, so that others must vote too
    scores = fitted("pca_knn", n_neighbors=23).predict(cells, parts["test"])

    np.testing.assert_allclose(scores * 23, np.round(scores * 23), atol=1e-9)
    assert (scores.max(axis=1) < 1).all()


def test_components_carry_over_to_cells_of_few_labels(fitted, cells, parts):
    """With three labelled cells a class, components of the unlabelled corpus beat the genes themselves."""
    noise = np.random.default_rng(0).poisson(1.0, size=cells.counts.shape)
    noisy = replace(cells, counts=type(cells.counts)(cells.counts.toarray() * 0.25 + noise.astype(np.float32)))
    of_class = [parts["train"][cells.labels[parts["train"]] == name] for name in ("alpha", "beta", "gamma")]
    few = {**parts, "train": np.concatenate([rows[:3] for rows in of_class])}

    def accuracy(name):
        method = fitted(name, shown=noisy, parts=few)
        return np.mean(
            method.classes_[method.predict(noisy, parts["test"]).argmax(axis=1)] == cells.labels[parts["test"]]
        )

    assert accuracy("pca_logistic") > accuracy("logistic")


@pytest.mark.parametrize("values", ["counts", "tpm"])
@pytest.mark.parametrize("name", ["logistic", "pca_logistic"])
def test_depth_does_not_matter_for_counts(made, cells, name, values):
    method, rows = made(name), np.arange(5)
    shown = replace(cells, values=values)
    deeper = replace(shown, counts=cells.counts * 7)

    seen, again = (method.features(one, rows) for one in (shown, deeper))
    assert np.abs(seen - again).max() < 1e-5


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
    ],
)
def test_a_wrong_parameter_is_refused(made, name, options, message):
    with pytest.raises(InputError, match=message):
        made(name, **options)


@pytest.mark.parametrize(
    ("module", "message"),
    [
        ("sklearn.linear_model:LinearRegression", "a classifier of scikit-learn"),
        ("sklearn.metrics:accuracy_score", "an estimator of scikit-learn"),
        ("sklearn.ensemble:HistGradientBoostingClassifier", "components into the column encoder"),
    ],
)
def test_what_is_no_classifier_of_sparse_genes_is_refused(vocabulary, module, message):
    row = replace(ROWS.row("logistic"), module=module)

    with pytest.raises(InputError, match=message):
        build(row, {}, seed=0, encoder=None, vocabulary=vocabulary)


def test_the_seed_is_the_estimators_random_state_unless_the_row_gives_one(made):
    assert made("svm", seed=4).model.random_state == 4
    assert made("svm", seed=4, random_state=1).model.random_state == 1
    assert made("logistic_l1", seed=4).model.get_params()["estimator__random_state"] == 4


def test_one_class_in_training_is_refused_by_name(fitted, cells):
    with pytest.raises(InputError, match="at least 2 classes"):
        fitted("logistic", shown=replace(cells, labels=np.full(90, "alpha")))


def test_a_training_cell_without_label_is_refused(fitted, cells, parts):
    with pytest.raises(InputError, match="54 without"):
        fitted("logistic", shown=cells.hiding(parts["train"]))
