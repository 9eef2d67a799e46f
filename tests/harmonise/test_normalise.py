"""Log-normalisation: depth goes, zeros stay."""

import numpy as np
import pytest
from scipy.sparse import csr_matrix

from celllm.harmonise.normalise import log_normalised


@pytest.mark.parametrize("base", [2, "e"])
def test_undoing_the_logarithm_gives_cells_of_the_target_sum(base, generator):
    counts = csr_matrix(generator.poisson(0.7, (20, 50)))

    logs = log_normalised(counts, target_sum=5000, base=base).toarray()

    scaled = 2.0**logs - 1 if base == 2 else np.expm1(logs)
    np.testing.assert_allclose(scaled.sum(axis=1), 5000)
    np.testing.assert_allclose(np.multiply(scaled, counts.sum(axis=1)) / 5000, counts.toarray(), atol=1e-9)


@pytest.mark.parametrize("dtype", [np.int32, np.float64])
def test_a_cell_without_counts_stays_empty_and_the_input_unchanged(dtype):
    counts = csr_matrix(np.array([[0, 0], [0, 4]], dtype=dtype))
    before = counts.toarray()

    logs = log_normalised(counts, target_sum=10, base="e")

    np.testing.assert_array_equal(counts.toarray(), before)
    assert logs[0].nnz == 0
    assert logs[1, 1] == pytest.approx(np.log(11))
    powers = log_normalised(csr_matrix([[1, 3, 7, 9989]]), target_sum=10_000, base=2)
    assert powers.data[:3].tolist() == [1.0, 2.0, 3.0]  # exact: else they fall into the bin below
