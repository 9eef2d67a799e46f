"""Methods that are a model of scikit-learn's on genes or components."""

from dataclasses import replace

import numpy as np
import pytest
from sklearn.svm import LinearSVC

from celllm.bench.methods.boosting import BoostedTreesOnComponents
from celllm.bench.methods.features import gene_features
from celllm.bench.methods.logistic import LogisticRegressionOnGenes
from celllm.bench.methods.pca_knn import NearestNeighboursOnComponents
from celllm.bench.methods.pca_logistic import LogisticOnComponents
from celllm.bench.methods.svm import LinearSupportVectors

KINDS = [LogisticOnComponents, NearestNeighboursOnComponents, LinearSupportVectors, BoostedTreesOnComponents]
EACH = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)


@pytest.fixture
def fitted(cells, parts, vocabulary, components_file):
    def fit(kind, *, shown=cells, parts=parts, seed=0, **options):
        method = kind(options, seed=seed, encoder=components_file, vocabulary=vocabulary)
        method.fit(shown.hiding(parts["test"]), parts["train"], parts["validation"])
        return method

    return fit


@EACH
def test_it_learns_classes_that_genes_tell_apart(fitted, cells, parts, kind):
    method = fitted(kind)
    scores = method.predict(cells, parts["test"])

    assert scores.shape == (len(parts["test"]), 3)
    assert np.mean(method.classes_[scores.argmax(axis=1)] == cells.labels[parts["test"]]) > 0.9


@EACH
def test_two_classes_have_two_columns_of_which_the_larger_is_right(fitted, cells, parts, kind):
    two = {name: rows[cells.labels[rows] != "gamma"] for name, rows in parts.items()}
    method = fitted(kind, parts=two)
    scores = method.predict(cells, two["test"])

    assert scores.shape == (len(two["test"]), 2)
    assert np.mean(method.classes_[scores.argmax(axis=1)] == cells.labels[two["test"]]) > 0.9


@EACH
def test_neither_validation_labels_nor_the_seed_matter(fitted, cells, parts, kind):
    scores = fitted(kind).predict(cells, parts["test"])

    hidden = fitted(kind, shown=cells.hiding(parts["validation"]))
    np.testing.assert_array_equal(hidden.predict(cells, parts["test"]), scores)
    np.testing.assert_array_equal(fitted(kind, seed=1).predict(cells, parts["test"]), scores)


@EACH
def test_a_prediction_depends_on_nothing_but_the_cell(fitted, cells, parts, kind):
    method = fitted(kind)

    np.testing.assert_allclose(
        method.predict(cells, parts["test"][3:4]), method.predict(cells, parts["test"])[3:4], atol=1e-6
    )


def test_fewer_training_cells_than_neighbours_all_vote(fitted, cells, parts):
    few = {**parts, "train": np.array([0, 1, 30, 60])}
    method = fitted(NearestNeighboursOnComponents, parts=few, neighbours=15)

    np.testing.assert_allclose(method.predict(cells, parts["test"]), [[0.5, 0.25, 0.25]] * len(parts["test"]))


def test_as_many_neighbours_vote_as_asked_for(fitted, cells, parts):
    # more than a class has training cells, so that others must vote too
    scores = fitted(NearestNeighboursOnComponents, neighbours=23).predict(cells, parts["test"])

    np.testing.assert_allclose(scores * 23, np.round(scores * 23), atol=1e-9)
    assert (scores.max(axis=1) < 1).all()


def test_margins_equal_those_of_scikit_learn(fitted, cells, parts):
    logged = gene_features(cells.counts, "counts").toarray()
    reference = LinearSVC(C=0.1, random_state=0).fit(logged[parts["train"]], cells.labels[parts["train"]])
    method = fitted(LinearSupportVectors, C=0.1)

    expected = reference.decision_function(logged[parts["test"]])
    np.testing.assert_allclose(method.predict(cells, parts["test"]), expected, atol=1e-2)
    assert method.trained_parameters == 3 * 40 + 3


def test_counts_of_what_was_learned(fitted, cells):
    assert fitted(LogisticOnComponents).trained_parameters == 3 * 4 + 3
    assert fitted(NearestNeighboursOnComponents).trained_parameters == 0
    # five rounds of three trees, each with one cut
    assert fitted(BoostedTreesOnComponents, rounds=5, leaves=2).trained_parameters == 5 * 3 * 2


def test_components_carry_over_to_cells_of_few_labels(fitted, cells, parts):
    """With three labelled cells a class, components of the unlabelled corpus beat the genes themselves."""
    noise = np.random.default_rng(0).poisson(1.0, size=cells.counts.shape)
    noisy = replace(cells, counts=type(cells.counts)(cells.counts.toarray() * 0.25 + noise.astype(np.float32)))
    of_class = [parts["train"][cells.labels[parts["train"]] == name] for name in ("alpha", "beta", "gamma")]
    few = {**parts, "train": np.concatenate([rows[:3] for rows in of_class])}

    def accuracy(kind):
        method = fitted(kind, shown=noisy, parts=few)
        return np.mean(
            method.classes_[method.predict(noisy, parts["test"]).argmax(axis=1)] == cells.labels[parts["test"]]
        )

    assert accuracy(LogisticOnComponents) > accuracy(LogisticRegressionOnGenes)
