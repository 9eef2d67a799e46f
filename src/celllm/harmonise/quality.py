"""Which cells are kept, and how a cell is recognised elsewhere."""

from __future__ import annotations

import hashlib

import numpy as np
import numpy.typing as npt
from scipy import sparse


def n_expressed(values: sparse.csr_matrix) -> npt.NDArray[np.int64]:
    """Count the expressed genes of each cell; a stored zero is silent.

    Meant for the source's own axis too: how many of its genes the vocabulary knows is no quality of a cell.
    """
    stored = np.diff(values.indptr).astype(np.int64)
    zeros = np.flatnonzero(values.data == 0)
    n_zeros = np.bincount(np.searchsorted(values.indptr, zeros, side="right") - 1, minlength=len(stored))
    return np.asarray(stored - n_zeros, dtype=np.int64)


def cell_hashes(values: sparse.csr_matrix) -> list[str]:
    """Hash each cell's sorted (gene index, value) pairs, 32 hex digits.

    Equal cells have equal hashes whatever their name, sample or file, so that a test cell is found in a
    pretraining corpus. Only hashes over one vocabulary compare.
    """
    ordered = sparse.csr_matrix(values)
    if not ordered.has_canonical_format or not ordered.data.all():
        ordered = ordered.copy()
        ordered.sum_duplicates()
        ordered.eliminate_zeros()
    genes = ordered.indices.astype("<i4", copy=False)
    amounts = ordered.data.astype("<f4")
    hashes = []
    for start, end in zip(ordered.indptr[:-1], ordered.indptr[1:], strict=True):
        cell = hashlib.blake2b(digest_size=16)
        cell.update(genes[start:end])
        cell.update(amounts[start:end])
        hashes.append(cell.hexdigest())
    return hashes
