"""Which cells are kept, and how one is recognised."""

import numpy as np
from scipy import sparse

from celllm.harmonise.quality import cell_hashes, n_expressed


def test_a_stored_zero_is_no_expressed_gene():
    values = sparse.csr_matrix((np.array([1, 0, 2]), np.array([0, 1, 0]), np.array([0, 2, 3])), shape=(2, 2))
    assert n_expressed(values).tolist() == [1, 1]


def test_equal_cells_have_equal_hashes_wherever_they_stand():
    values = sparse.csr_matrix(np.array([[1, 2, 0], [2, 1, 0], [1, 0, 2], [0, 0, 0], [1, 1, 1]]))
    hashes = cell_hashes(values)
    assert len(set(hashes)) == 5
    assert cell_hashes(values[[3, 0]].astype(np.float32)) == [hashes[3], hashes[0]]
    turned = sparse.csr_matrix((np.array([2, 1, 0]), np.array([2, 0, 1]), np.array([0, 3])), shape=(1, 3))
    assert cell_hashes(turned) == [hashes[2]]
    assert turned.indices.tolist() == [2, 0, 1]
