"""The gene network: edges between symbols, or genes that are expressed together.

Shapes: C cells, G vocabulary genes, E edges.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy import sparse

Indices = npt.NDArray[np.int32]

BLOCK_GENES = 1024
"""Genes whose correlations are held at once."""


def from_pairs(first_E: npt.NDArray[np.int64], second_E: npt.NDArray[np.int64]) -> tuple[Indices, Indices]:
    """Turn pairs of vocabulary indices into undirected edges.

    Pairs with an unmapped end (-1) and self-loops go; each edge is kept once, a < b, sorted.
    """
    keep = (first_E >= 0) & (second_E >= 0) & (first_E != second_E)
    low, high = np.minimum(first_E, second_E)[keep], np.maximum(first_E, second_E)[keep]
    edges = np.unique(np.stack([low, high], axis=1), axis=0).astype(np.int32)
    return edges[:, 0], edges[:, 1]


def coexpression(values_CG: sparse.csr_matrix, *, n_partners: int = 10) -> tuple[Indices, Indices]:
    """Connect each gene to the genes it is most strongly co-expressed with.

    Pearson's correlation over cells; of each gene's positive partners the strongest `n_partners` are
    kept, ties to the lower index. A gene that never varies has none. An edge needs to be chosen from
    one side only, so a gene can end with more.

    Parameters
    ----------
    values_CG
        Log-normalised expression, cells x genes.
    n_partners
        Partners each gene may choose.

    Notes
    -----
    A stand-in where no protein network is at hand: it follows the cells it was made from and must be
    called co-expression wherever it is shown.
    """
    n_cells = values_CG.shape[0]
    columns = sparse.csc_matrix(values_CG, dtype=np.float64)
    mean_G = np.asarray(columns.mean(axis=0)).ravel()
    square_G = np.asarray(columns.multiply(columns).mean(axis=0)).ravel()
    variance_G = np.maximum(square_G - mean_G**2, 0)
    # The difference of two equal squares is rounding, some 1e-16 of them, and no variance.
    varying = np.flatnonzero(variance_G > 1e-12 * square_G)
    spread_G = np.sqrt(variance_G)
    columns, mean_V, spread_V = columns[:, varying], mean_G[varying], spread_G[varying]
    chosen: list[npt.NDArray[np.int64]] = []
    for start in range(0, len(varying), BLOCK_GENES):
        block = slice(start, min(start + BLOCK_GENES, len(varying)))
        product = np.asarray((columns[:, block].T @ columns).todense()) / n_cells
        correlation = (product - np.outer(mean_V[block], mean_V)) / np.outer(spread_V[block], spread_V)
        rows = np.arange(block.stop - block.start)
        correlation[rows, rows + start] = -np.inf
        # Rounded, so that ties do not hang on the last digit of a sum's order.
        order = np.argsort(-np.round(correlation, 9), axis=1, kind="stable")[:, :n_partners]
        positive = np.take_along_axis(correlation, order, axis=1) > 0
        gene, place = np.nonzero(positive)
        chosen.append(np.stack([varying[gene + start], varying[order[gene, place]]], axis=1))
    pairs = np.concatenate(chosen) if chosen else np.empty((0, 2), dtype=np.int64)
    return from_pairs(pairs[:, 0].astype(np.int64), pairs[:, 1].astype(np.int64))
