"""Gene vectors from cells: directions in which the genes of the pretraining corpus vary together.

Shapes: N cells, C of a block, G genes, K directions sought, D of them kept.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from celllm.harmonise.normalise import log_normalised

OVERSAMPLED = 16
"""Directions sought beyond those kept, so that the last ones kept are found well."""
N_PASSES = 8
"""Over the corpus: seven power iterations are scikit-learn's own choice for few components."""
CELLS_AT_ONCE = 1024


def singular_vectors(
    rows: Callable[[NDArray[np.int64]], csr_matrix],
    *,
    n_cells: int,
    n_genes: int,
    width: int,
    seed: int,
    cells_at_once: int = CELLS_AT_ONCE,
) -> NDArray[np.float64]:
    """Return the first right singular vectors of centred, log-normalised cells, G x D, of falling variance.

    Randomised subspace iteration: every pass reads the cells block by block, C x G numbers at once, and keeps G x K, so
    memory does not grow with the number of cells. `rows` returns the counts of the cells with these numbers, `seed` is
    that of the directions it starts from. A gene that no cell expresses has zeros. Signs are such that each vector's
    largest number is positive. ValueError unless D is below both N and G.

    Halko, Martinsson and Tropp 2011, SIAM Rev 53:217, algorithm 4.4.
    """
    if width >= min(n_cells, n_genes):
        msg = f"{width} singular vectors need more than {width} cells and genes, got {n_cells} and {n_genes}"
        raise ValueError(msg)
    n_sought = min(width + OVERSAMPLED, n_cells, n_genes)
    q_GK, _ = np.linalg.qr(np.random.default_rng(seed).standard_normal((n_genes, n_sought)))
    for number in range(N_PASSES):
        product_GK, total_G = np.zeros_like(q_GK), np.zeros(n_genes)
        single_GK = q_GK.astype(np.float32)
        for block_CG in _blocks(rows, n_cells, cells_at_once):
            product_GK += block_CG.T @ (block_CG @ single_GK)
            total_G += block_CG.sum(axis=0, dtype=np.float64)
        product_GK -= np.outer(total_G, total_G @ q_GK) / n_cells  # the centring
        if number < N_PASSES - 1:
            q_GK, _ = np.linalg.qr(product_GK)
    _, vectors_KK = np.linalg.eigh(q_GK.T @ product_GK)
    found_GD = q_GK @ vectors_KK[:, ::-1][:, :width]
    largest_D = np.abs(found_GD).argmax(axis=0)
    return np.asarray(found_GD * np.sign(found_GD[largest_D, np.arange(width)]))


def _blocks(
    rows: Callable[[NDArray[np.int64]], csr_matrix], n_cells: int, cells_at_once: int
) -> Iterator[NDArray[np.float32]]:
    """Yield log-normalised cells, dense: products of a matrix a tenth full are faster so."""
    for start in range(0, n_cells, cells_at_once):
        counts = rows(np.arange(start, min(start + cells_at_once, n_cells)))
        yield log_normalised(counts).astype(np.float32).toarray()
