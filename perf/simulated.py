"""Simulated cells for the benchmarks, at the sparsity of the paper's corpus; no biology in them.

Shapes: C cells, G genes.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from scipy import sparse

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


MEAN_LENGTH, LENGTH_99 = 1_616, 4_673
"""Expressed genes of a cell in the corpus: cell-weighted mean and 99th percentile of PanglaoDB's table of samples."""


def lengths(n_cells: int, *, longest: int = 6_000, seed: int = 0) -> np.ndarray:
    """Draw how many tokens cells have, CLS included: the log-normal of the corpus's mean and 99th percentile.

    Its quartiles, 983, 1,401 and 1,995 genes, are near those of the corpus, 967, 1,347 and 2,026. Cells below
    200 genes are no part of the corpus; those above `longest` tokens are cut, as by the paper.
    """
    z_99 = 2.3263  # of a standard normal
    # mean = exp(m + s^2 / 2) and percentile = exp(m + z s); of the two roots, the one below z is meant
    spread = z_99 - np.sqrt(z_99**2 - 2 * np.log(LENGTH_99 / MEAN_LENGTH))
    middle = np.log(MEAN_LENGTH) - spread**2 / 2
    genes = np.random.default_rng([seed, 2]).lognormal(middle, spread, n_cells)
    return np.clip(genes.astype(np.int64), 200, longest - 1) + 1


def typical_lengths(n_cells: int) -> np.ndarray:
    """Return the means of so many equal parts of all lengths in their order: few cells with the corpus's mean."""
    drawn = np.sort(lengths(100_000 // n_cells * n_cells))
    return drawn.reshape(n_cells, -1).mean(axis=1).round().astype(np.int64)
