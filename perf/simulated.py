"""Simulated cells for the benchmarks, at the sparsity of the paper's corpus; no biology in them.

Shapes: C cells, G genes.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from scipy import sparse

from celllm.corpus.memory import MemoryCorpus

N_GENES = 19_290
"""Protein-coding genes of HGNC, October 2024."""
MEAN_NONZERO = 1_500
"""Expressed genes of a cell; the corpus has a cell-weighted mean of 1,616 (PanglaoDB's table of samples)."""
_SPREAD = 0.55
"""Standard deviation of the logarithm of depth; quartiles are then 1,104, 1,445 and 1,873 expressed genes."""


def pool(
    n_cells: int = 4096, *, n_genes: int = N_GENES, mean_nonzero: int = MEAN_NONZERO, seed: int = 0
) -> sparse.csr_matrix:
    """Draw simulated cells: Poisson counts of genes whose abundances are log-normal, cells of log-normal depth.

    Returns
    -------
    Counts, C x G, int32, about `mean_nonzero` expressed genes a cell.
    """
    generator = np.random.default_rng(seed)
    abundance_G = generator.lognormal(0.0, 2.0, n_genes)
    abundance_G /= abundance_G.sum()
    depth_C = generator.lognormal(0.0, _SPREAD, n_cells)
    low, high = 10.0, 1e7
    for _ in range(60):  # the depth at which a cell of mean depth expresses so many genes
        middle = np.sqrt(low * high)
        expressed = -np.expm1(-middle * np.outer(depth_C[:64], abundance_G)).sum(axis=1).mean()
        low, high = (middle, high) if expressed < mean_nonzero else (low, middle)
    pieces = [
        sparse.csr_matrix(generator.poisson(low * np.outer(depth_C[start : start + 512], abundance_G)).astype(np.int32))
        for start in range(0, n_cells, 512)
    ]
    return sparse.vstack(pieces, format="csr")


def drawn_from(
    cells: sparse.csr_matrix, n_cells: int, *, piece: int = 2048, seed: int = 0
) -> Iterator[sparse.csr_matrix]:
    """Draw `n_cells` rows with replacement, a piece at a time: any number of cells from a small pool."""
    generator = np.random.default_rng([seed, 1])
    for start in range(0, n_cells, piece):
        yield cells[generator.integers(0, cells.shape[0], min(piece, n_cells - start))]


def corpus(n_cells: int, *, n_genes: int, mean_nonzero: int = MEAN_NONZERO, seed: int = 0) -> MemoryCorpus:
    """Draw cells as in `pool`, as training asks for them; every second one is called tumour."""
    counts = pool(n_cells, n_genes=n_genes, mean_nonzero=mean_nonzero, seed=seed).astype(np.float32)
    return MemoryCorpus(counts, "simulated", is_malignant=(np.arange(n_cells) % 2).astype(np.int8))
