"""Singular vectors of the corpus, found block by block."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.sparse import csr_matrix

from celllm.genes.corpus import singular_vectors
from celllm.harmonise.normalise import log_normalised


@pytest.fixture
def counts(generator: np.random.Generator) -> csr_matrix:
    """300 cells of five programmes over 60 genes, of which the last is silent."""
    programmes = generator.gamma(0.5, 4.0, (5, 60))
    cells = csr_matrix(generator.poisson(generator.dirichlet(np.full(5, 0.3), 300) @ programmes).astype(np.float32))
    silenced = cells.tolil()
    silenced[:, 59] = 0
    return silenced.tocsr()


def test_they_are_those_of_all_cells_at_once_and_no_more_than_a_block_is_read(counts: csr_matrix) -> None:
    sizes = []

    def rows(indices: np.ndarray) -> csr_matrix:
        sizes.append(len(indices))
        return counts[indices]

    found = singular_vectors(rows, n_cells=300, n_genes=60, width=8, seed=0, cells_at_once=70)

    dense = log_normalised(counts).toarray()
    exact = np.linalg.svd(dense - dense.mean(axis=0), full_matrices=False)[2][:8].T
    np.testing.assert_allclose(np.abs(np.sum(found[:, :4] * exact[:, :4], axis=0)), 1, atol=1e-6)
    assert np.linalg.svd(found.T @ exact, compute_uv=False).min() > 0.99  # the last ones are close to each other
    np.testing.assert_allclose(found.T @ found, np.eye(8), atol=1e-10)
    assert max(sizes) == 70
    assert (found[np.abs(found).argmax(axis=0), range(8)] > 0).all()
    np.testing.assert_allclose(found[59], 0, atol=1e-8)


def test_too_few_cells_for_the_width_are_refused(counts: csr_matrix) -> None:
    with pytest.raises(ValueError, match="8 singular vectors need more than 8 cells"):
        singular_vectors(lambda indices: counts[indices], n_cells=8, n_genes=60, width=8, seed=0)
