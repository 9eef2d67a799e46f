"""Counts to log-normalised expression, cell by cell: cells differ in depth, and depth is no biology."""

from __future__ import annotations

from typing import Literal

import numpy as np
from scipy.sparse import csr_matrix


def log_normalised(
    counts: csr_matrix,
    *,
    target_sum: float = 10_000,
    base: Literal[2, "e"] = "e",
) -> csr_matrix:
    """Scale each cell (a row of whole counts) to `target_sum` and take log(1 + x) to base e or 2 (scBERT's).

    Zero stays zero, so the matrix stays as sparse as it was. A cell without counts stays empty. The sum runs over the
    genes given; TPM or logarithms must be undone before: they are no counts. Float64 comes back: an exact power of two
    must not fall into the bin below.
    """
    counts = csr_matrix(counts)
    values = counts.data.astype(np.float64)
    sizes = np.diff(counts.indptr)
    totals = np.asarray(counts.sum(axis=1, dtype=np.float64)).ravel()
    scale = np.divide(target_sum, totals, out=np.zeros_like(totals), where=totals > 0)
    values *= np.repeat(scale, sizes)
    values = np.log2(1 + values) if base == 2 else np.log1p(values)
    return csr_matrix((values, counts.indices, counts.indptr), shape=counts.shape)
