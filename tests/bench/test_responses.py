"""Regressions of scikit-learn on expression and drug structure."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from celllm.base.errors import InputError
from celllm.bench.method import build
from celllm.config import tables

ROWS = tables.read_methods(Path(__file__).resolve().parents[2] / "config/methods.tsv")
NAMES = [row.method for row in ROWS if row.kind == "regression" and row.module.startswith("sklearn.")]


@pytest.mark.parametrize("name", NAMES)
def test_it_learns_the_drugs_from_the_training_pairs_alone(vocabulary, pairs, name):
    order = np.random.default_rng(2).permutation(len(pairs.line))
    train, test = order[:65], order[75:]
    row = ROWS.row(name)
    first = {option: values[0] for option, values in row.search.items()}
    predicted = []
    for shown in (pairs, pairs.hiding(test)):
        method = build(row, {**row.options, **first}, seed=0, encoder=None, vocabulary=vocabulary)
        method.fit(shown, train, order[65:75])
        predicted.append(method.predict(shown, test))

    assert np.corrcoef(predicted[0], pairs.response[test])[0, 1] > 0.3
    np.testing.assert_array_equal(*predicted)


def test_a_classifier_is_refused(vocabulary):
    row = ROWS.row("elastic_net_pairs")
    with pytest.raises(InputError, match="a regression of scikit-learn"):
        build(
            replace(row, module="sklearn.linear_model:LogisticRegression"),
            {},
            seed=0,
            encoder=None,
            vocabulary=vocabulary,
        )
