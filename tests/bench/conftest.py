"""Fixtures of the benchmark's tests: shipped methods on the tiny cells and pairs."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from celllm.bench.method import build
from celllm.config import tables
from celllm.config.tables import COMPONENTS

ROWS = tables.read_methods(Path(__file__).resolve().parents[2] / "config/methods.tsv")


def share_right(method, cells, rows):
    """Share of the rows whose class a fitted classifier says."""
    return np.mean(method.classes_[method.predict(cells, rows).argmax(axis=1)] == cells.labels[rows])


@pytest.fixture
def made(request, vocabulary):
    """Make a method from a row, or the shipped one of a name, with the first values of its search."""

    def make(row, *, seed=0, vocabulary=vocabulary, is_bare=False, **options):
        row = ROWS.row(row) if isinstance(row, str) else row
        first = {} if is_bare else row.options | {option: values[0] for option, values in row.search.items()}
        file = {None: None, COMPONENTS: "components_file"}.get(row.encoder, "encoder_file")
        encoder = None if file is None else request.getfixturevalue(file)
        method = build(row, first | options, seed=seed, encoder=encoder, vocabulary=vocabulary)
        if method.options.get("beside") == COMPONENTS:
            method.components_file = request.getfixturevalue("components_file")
        return method

    return make


@pytest.fixture
def fitted(made, cells, parts):
    """Make a classifier and fit it to cells whose test labels are hidden."""

    def fit(row, *, shown=cells, parts=parts, **options):
        method = made(row, **options)
        method.fit(
            shown if method.sees_test_labels else shown.hiding(parts["test"]), parts["train"], parts["validation"]
        )
        return method

    return fit


@pytest.fixture
def divided():
    """Rows of `pairs` for training, validation and test."""
    order = np.random.default_rng(2).permutation(90)
    return SimpleNamespace(train=order[:65], validation=order[65:75], test=order[75:], none=order[:0])


@pytest.fixture
def answered(made):
    """Make a regression, fit it to pairs whose responses under test are hidden, and predict those."""

    def answer(row, pairs, at, **options):
        method = made(row, **options)
        shown = pairs if method.sees_test_labels else pairs.hiding(at.test)
        method.fit(shown, at.train, at.validation)
        return np.asarray(method.predict(shown, at.test))

    return answer
