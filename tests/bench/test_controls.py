from dataclasses import replace

import numpy as np
import pytest

from celllm.bench.methods.controls import LeakedLabels, LogisticRegressionOnGenes, MajorityClass, ShuffledLabels


@pytest.fixture
def noisy(cells):
    """Cells of which every third has the label of another class: nobody can be right on all of them."""
    labels = cells.labels.copy()
    labels[::3] = np.roll(labels, 30)[::3]
    return replace(cells, labels=labels)


def _accuracy(kind, cells, parts, vocabulary):
    method = kind({}, seed=0, encoder=None, vocabulary=vocabulary)
    shown = cells if method.sees_test_labels else cells.hiding(parts["test"])
    method.fit(shown, parts["train"], parts["validation"])
    predicted = method.classes_[method.predict(shown, parts["test"]).argmax(axis=1)]
    return np.mean(predicted == cells.labels[parts["test"]])


def test_the_control_that_sees_the_answers_wins_where_nobody_honest_can(noisy, parts, vocabulary):
    honest = _accuracy(LogisticRegressionOnGenes, noisy, parts, vocabulary)

    assert _accuracy(LeakedLabels, noisy, parts, vocabulary) == 1.0
    assert honest < 0.9


def test_the_control_that_is_taught_nonsense_loses(cells, parts, vocabulary):
    assert _accuracy(LogisticRegressionOnGenes, cells, parts, vocabulary) > 0.9
    assert _accuracy(ShuffledLabels, cells, parts, vocabulary) < 0.6


def test_the_leaking_control_cannot_win_where_labels_are_hidden(noisy, parts, vocabulary):
    method = LeakedLabels({}, seed=0, encoder=None, vocabulary=vocabulary)
    hidden = noisy.hiding(parts["test"])
    method.fit(hidden, parts["train"], parts["validation"])

    predicted = method.classes_[method.predict(hidden, parts["test"]).argmax(axis=1)]

    assert np.mean(predicted == noisy.labels[parts["test"]]) < 0.9


def test_the_majority_is_that_of_the_training_part(cells, vocabulary):
    method = MajorityClass({}, seed=0, encoder=None, vocabulary=vocabulary)
    method.fit(cells, np.array([0, 30, 31, 60]), np.array([61, 62]))

    np.testing.assert_allclose(method.predict(cells, np.array([5, 6])), [[0.25, 0.5, 0.25]] * 2)
