"""What the baselines see of a cell: every gene of the vocabulary, log-normalised."""

from __future__ import annotations

import numpy as np
from scipy import sparse

from celllm.config.units import Units
from celllm.harmonise.normalise import log_normalised


def gene_features(values: sparse.csr_matrix, units: Units | str) -> sparse.csr_matrix:
    """Return cells x genes, float64: ln(1 + counts per 10,000); z-scores as they are."""
    if Units(units).is_proportional:
        return log_normalised(values, target_sum=10_000, base="e")
    return sparse.csr_matrix(values, dtype=np.float64)
