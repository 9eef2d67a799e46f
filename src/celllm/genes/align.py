"""Cells from a source's gene names to the vocabulary's axis, and the account of what was lost.

Shapes: C cells, N names of the source, G vocabulary genes.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Literal

import numpy as np
import numpy.typing as npt
from scipy import sparse

from celllm.contracts.harmonisation import Harmonisation
from celllm.genes.symbols import Mapping

SPIKE_IN = re.compile(r"ERCC-\d+")
"""ERCC spike-ins: no genes of the cell, so no counts that could be lost."""
N_TOP_LOST = 10


def to_vocabulary(
    values_CN: sparse.csr_matrix,
    mapping: Mapping,
    n_genes: int,
    *,
    combine: Literal["sum", "mean"] = "sum",
) -> sparse.csr_matrix:
    """Move values from the source's axis to the vocabulary's; unmapped names are dropped.

    Parameters
    ----------
    values_CN
        Cells x names.
    mapping
        Where the N names go.
    n_genes
        Length of the vocabulary, G.
    combine
        What becomes of several names of one gene: counts are summed, z-scores averaged.

    Returns
    -------
    Cells x genes, CSR with sorted indices, of the type of `values_CN`.
    """
    mapped = np.flatnonzero(mapping.index_N >= 0)
    genes = mapping.index_N[mapped]
    weights = np.ones(len(mapped))
    if combine == "mean":
        weights /= np.bincount(genes, minlength=n_genes)[genes]
    # One entry a mapped name: the matrix product adds up the names of a gene.
    indicator_NG = sparse.csr_matrix((weights, (mapped, genes)), shape=(values_CN.shape[1], n_genes))
    # float64 holds every whole number below 2^53, so sums of counts stay exact.
    values_CG = sparse.csr_matrix(values_CN.astype(np.float64) @ indicator_NG)
    values_CG.sort_indices()
    return values_CG.astype(values_CN.dtype)


def account(
    values_CN: sparse.csr_matrix,
    mapping: Mapping,
    *,
    are_counts: bool,
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Weigh each name by its counts.

    Parameters
    ----------
    values_CN
        Cells x names.
    mapping
        Where the N names go.
    are_counts
        Whether values can be added up. If not (z-scores), every name weighs 1.

    Returns
    -------
    Counts of each name, 0 for spike-ins; and the same where the name is mapped, else 0.
    """
    total_N = np.asarray(values_CN.sum(axis=0), dtype=np.float64).ravel() if are_counts else np.ones(len(mapping.names))
    spike_ins = np.array([bool(SPIKE_IN.fullmatch(name)) for name in mapping.names], dtype=bool)
    total_N[spike_ins] = 0
    return total_N, np.where(mapping.index_N >= 0, total_N, 0)


def harmonisation_of(
    parts: Sequence[tuple[Mapping, npt.NDArray[np.float64], npt.NDArray[np.float64]]],
    *,
    dataset: str,
    cells_kept: int,
    cells_dropped: int,
    threshold: float,
) -> Harmonisation:
    """Sum up the accounts of a dataset's files.

    Parameters
    ----------
    parts
        Per file: its mapping and what `account` gave.
    dataset
        Name of the dataset.
    cells_kept, cells_dropped
        Cells with and without enough genes.
    threshold
        The least share that is accepted; only written down here.
    """
    by_route: dict[str, int] = {}
    lost: dict[str, float] = {}
    total = mapped = 0.0
    for mapping, total_N, mapped_N in parts:
        for route, n in mapping.by_route().items():
            by_route[route] = by_route.get(route, 0) + n
        total += float(total_N.sum())
        mapped += float(mapped_N.sum())
        for i in np.flatnonzero(total_N > mapped_N):
            lost[mapping.names[i]] = lost.get(mapping.names[i], 0.0) + float(total_N[i])
    top = sorted(lost.items(), key=lambda item: (-item[1], item[0]))[:N_TOP_LOST]
    n_names = sum(by_route.values())
    n_lost = by_route.get("outside_vocabulary", 0) + by_route.get("unknown", 0)
    return Harmonisation(
        dataset=dataset,
        n_names=n_names,
        mapped=n_names - n_lost - by_route.get("ambiguous", 0),
        ambiguous=by_route.get("ambiguous", 0),
        lost=n_lost,
        mapped_share_of_counts=mapped / total if total else 0.0,
        by_route=by_route,
        top_lost=[(name, share / total) for name, share in top],
        cells_kept=cells_kept,
        cells_dropped=cells_dropped,
        threshold=threshold,
    )
