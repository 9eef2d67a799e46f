"""The rank pipeline: it learns, and sequencing depth does not matter."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import sparse

from celllm.bench.methods.ranks import RankedGenes


@pytest.fixture
def fitted(vocabulary, cells, parts):
    method = RankedGenes({"genes": 10, "components": 5}, seed=0, encoder=None, vocabulary=vocabulary)
    method.fit(cells.hiding(parts["test"]), parts["train"], parts["validation"])
    return method


def test_it_learns_classes_that_genes_tell_apart(fitted, cells, parts):
    scores = fitted.predict(cells, parts["test"])

    assert np.mean(fitted.classes_[scores.argmax(axis=1)] == cells.labels[parts["test"]]) > 0.9
    np.testing.assert_allclose(fitted.predict(cells, parts["test"][3:4]), scores[3:4], atol=1e-5)
    assert fitted.trained_parameters == 3 * 5 + 3


def test_a_cell_that_was_sequenced_deeper_is_the_same_cell(fitted, cells, parts):
    deeper = replace(cells, counts=sparse.csr_matrix(cells.counts * 7))

    np.testing.assert_allclose(fitted.predict(deeper, parts["test"]), fitted.predict(cells, parts["test"]), atol=1e-6)
