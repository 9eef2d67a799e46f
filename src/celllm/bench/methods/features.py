"""What the baselines see of a cell: every gene of the vocabulary, log-normalised."""

from __future__ import annotations

import numpy as np
from scipy import sparse

from celllm.harmonise.normalise import log_normalised

# TPM has lost its depth, but not its scale: scaled to 10,000 it means the same as counts.
SCALED_PER_CELL = frozenset({"counts", "linear"})


def gene_features(values: sparse.csr_matrix, kind: str) -> sparse.csr_matrix:
    """Return cells x genes, float64: ln(1 + counts per 10,000); z-scores and logarithms as they are."""
    if kind in SCALED_PER_CELL:
        return log_normalised(values, target_sum=10_000, base="e")
    return sparse.csr_matrix(values, dtype=np.float64)
