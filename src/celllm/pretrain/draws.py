"""Random numbers of a cell's genes, by seed, step, cell and view: the same whatever rank, chunk or place has the cell.

Shapes: B cells, N stored genes of all of them.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from celllm.corpus.tokens import mixed
from celllm.model.randomness import Purpose, stream_seed

FEW = 16
"""Molecules of a gene that are drawn one by one; more, which takes longer, by the quantile of a binomial."""


def keys(cells_B: NDArray[np.int64], *, seed: int, step: int, purpose: Purpose, view: int = 0) -> NDArray[np.uint64]:
    """Return a key a cell, of its number in the corpus; keys of another seed, step, purpose or view are independent."""
    return mixed(mixed(cells_B.astype(np.uint64)) ^ np.uint64(stream_seed(seed, step, purpose, rank=view)))


def of_genes(
    keys_B: NDArray[np.uint64], sizes_B: NDArray[np.integer], genes_N: NDArray[np.integer]
) -> NDArray[np.uint64]:
    """Return 64 random bits for each gene of each cell, which has `sizes_B` of them; a gene may stand anywhere."""
    return mixed(mixed(genes_N.astype(np.uint64)) ^ np.repeat(keys_B, sizes_B))


def chances(bits: NDArray[np.uint64]) -> NDArray[np.float64]:
    """Return a number in [0, 1) for each, of 53 bits."""
    return np.asarray((bits >> np.uint64(11)).astype(np.float64) * 2.0**-53)


def thinned(counts: csr_matrix, shares_B: NDArray[np.float64], bits_N: NDArray[np.uint64]) -> csr_matrix:
    """Keep each molecule of a cell with the probability `shares_B`: binomial counts, drawn from a gene's bits.

    Genes of which none is left are no stored values any more.
    """
    from scipy.stats import binom  # slow to import

    share_N = np.repeat(shares_B, np.diff(counts.indptr))
    left_N = np.zeros(counts.nnz, dtype=np.float32)
    many = np.flatnonzero(counts.data > FEW)
    left_N[many] = binom.ppf(chances(bits_N[many]), counts.data[many], share_N[many])
    some = np.flatnonzero((counts.data > 0) & (counts.data <= FEW))
    for molecule in range(FEW):
        left_N[some] += chances(mixed(bits_N[some] + np.uint64(molecule))) < share_N[some]
        some = some[counts.data[some] > molecule + 1]
    stays = left_N > 0
    made = csr_matrix(counts.shape, dtype=np.float32)  # filled in later: construction would look for the largest index
    made.indptr = np.concatenate([[0], np.cumsum(stays)])[counts.indptr].astype(np.int32)
    made.data, made.indices = left_N[stays], counts.indices[stays]
    return made
