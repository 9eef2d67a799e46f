"""Cells unlike all of a reference: how far their embedding lies from its types, beside its own held-out cells.

Shapes: N cells of the reference, C of the query, D width of the embedding, K types.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

NEAREST = 0.25
"""Share of a query that is taken to be known: its distance is that of the same share of held-out cells."""
FAR = 1.5
"""Beyond this many times that distance a user is warned: our choice."""


@dataclass(frozen=True)
class Types:
    """Where the types of a reference lie, and how far from them its cells are that were held out."""

    whitening_DD: NDArray[np.float64]
    """Makes directions along which cells of one type differ much count little."""
    centres_KD: NDArray[np.float64]
    """Mean of each type, whitened."""
    held_out_N: NDArray[np.float64]
    """Distances of held-out cells, ascending; none before they are known."""

    def distances(self, z_CD: NDArray[np.floating]) -> NDArray[np.float64]:
        """Return each cell's Mahalanobis distance from the nearest type."""
        from sklearn.metrics import pairwise_distances

        return np.asarray(pairwise_distances(z_CD @ self.whitening_DD, self.centres_KD).min(axis=1))

    def novelty(self, distances_C: NDArray[np.float64]) -> tuple[NDArray[np.float32], float]:
        """Return for each cell of a query the share of held-out cells that are nearer, and how far off the query is.

        Another study's cells all lie farther: all distances are divided by how many times farther its nearest quarter
        is. So types that make up most of a query are not found, and the farther off it is, the fewer.
        """
        if len(distances_C) == 0:
            return distances_C.astype(np.float32), 1.0
        off = max(1.0, float(np.quantile(distances_C, NEAREST) / np.quantile(self.held_out_N, NEAREST)))
        ranks = np.searchsorted(self.held_out_N, distances_C / off)
        return (ranks / len(self.held_out_N)).astype(np.float32), off


def learned(
    z_ND: NDArray[np.floating], labels: NDArray[np.str_], folds: Iterable[tuple[NDArray[np.int64], NDArray[np.int64]]]
) -> Types:
    """Learn the types of all cells, and from the folds (rows to learn from, rows to hold out) how far cells may be.

    Lee et al. 2018, arXiv:1807.03888; held-out cells give the level, as in Lopez-De-Castro et al. 2025,
    doi:10.1093/bioinformatics/btaf521.
    """
    held_out = [_types(z_ND[taught], labels[taught]).distances(z_ND[asked]) for taught, asked in folds]
    found = _types(z_ND, labels)
    return Types(found.whitening_DD, found.centres_KD, np.sort(np.concatenate(held_out)))


def _types(z_ND: NDArray[np.floating], labels: NDArray[np.str_]) -> Types:
    from sklearn.covariance import ledoit_wolf

    names, of = np.unique(labels, return_inverse=True)
    scale_D = np.maximum(z_ND.std(axis=0, dtype=np.float64), 1e-12)
    scaled_ND = z_ND / scale_D
    means_KD = np.stack([scaled_ND[of == k].mean(axis=0) for k in range(len(names))])
    covariance_DD, _ = ledoit_wolf(scaled_ND - means_KD[of], assume_centered=True)
    whitening_DD = np.linalg.cholesky(np.linalg.inv(covariance_DD)) / scale_D[:, None]
    return Types(whitening_DD, means_KD * scale_D @ whitening_DD, np.zeros(0))
