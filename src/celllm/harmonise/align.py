"""Values from a source's gene names to the vocabulary's axis, and the account of what was lost.

Shapes: C cells, N names of the source, G vocabulary genes.
"""

from __future__ import annotations

import re
from collections.abc import Mapping as Dictionary
from collections.abc import Sequence
from typing import Literal

import numpy as np
from scipy import sparse

from celllm.harmonise.harmonisation import Harmonisation, SampleCells
from celllm.harmonise.symbols import MAPPED_ROUTES, UNMAPPED_ROUTES, Mapping

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
    Cells x genes, CSR with sorted indices. The type of the values stays, unless some had to be combined: these are
    float64, which holds every whole number below 2^53, so sums stay exact.
    """
    mapped = np.flatnonzero(mapping.index_N >= 0)
    by_gene = mapped[np.argsort(mapping.index_N[mapped], kind="stable")]
    genes = mapping.index_N[by_gene].astype(np.int32)
    # Columns are put in the order of the genes, so that rows come out sorted without a sort of each.
    moved = sparse.csc_matrix(values_CN)[:, by_gene].tocsr()
    if combine == "mean":
        moved.data = moved.data / np.bincount(genes, minlength=n_genes)[genes[moved.indices]]
    values_CG = sparse.csr_matrix((moved.data, genes[moved.indices], moved.indptr), (values_CN.shape[0], n_genes))
    if not values_CG.has_canonical_format:
        values_CG.data = values_CG.data.astype(np.float64)
        values_CG.sum_duplicates()
    return values_CG


class Account:
    """Weighs the names of one file by their counts, piece after piece.

    Parameters
    ----------
    mapping
        Where the names go.
    are_counts
        Whether values can be added up. If not (z-scores), every name weighs 1.
    """

    def __init__(self, mapping: Mapping, *, are_counts: bool) -> None:
        self.mapping = mapping
        self._are_counts = are_counts
        self._weighs = np.array([SPIKE_IN.fullmatch(name) is None for name in mapping.names], dtype=np.float64)
        self.total_N = np.zeros(len(mapping.names)) if are_counts else self._weighs.copy()

    def add(self, values_CN: sparse.csr_matrix) -> None:
        """Add the counts of some cells; those of spike-ins do not weigh."""
        if self._are_counts:
            self.total_N += self._weighs * np.asarray(values_CN.sum(axis=0, dtype=np.float64)).ravel()


def harmonisation_of(
    accounts: Sequence[Account],
    *,
    dataset: str,
    samples: Dictionary[str, SampleCells],
    threshold: float,
) -> Harmonisation:
    """Sum up the accounts of a dataset's files.

    Parameters
    ----------
    accounts
        One a file.
    dataset
        Name of the dataset.
    samples
        By sample: what became of its cells.
    threshold
        The least share that is accepted; only written down here.
    """
    routes = (*MAPPED_ROUTES, *UNMAPPED_ROUTES)
    by_route = dict.fromkeys(routes, 0)
    counts_by_route = dict.fromkeys(routes, 0.0)
    lost: dict[str, float] = {}
    n_merged = 0
    for account in accounts:
        mapping = account.mapping
        codes = np.array([routes.index(route) for route in mapping.routes], dtype=np.int64)
        names_of = np.bincount(codes, minlength=len(routes))
        counts_of = np.bincount(codes, weights=account.total_N, minlength=len(routes))
        for place, route in enumerate(routes):
            by_route[route] += int(names_of[place])
            counts_by_route[route] += float(counts_of[place])
        is_mapped = mapping.index_N >= 0
        n_merged += int(is_mapped.sum()) - len(np.unique(mapping.index_N[is_mapped]))
        for i in np.flatnonzero(~is_mapped & (account.total_N > 0)):
            lost[mapping.names[i]] = lost.get(mapping.names[i], 0.0) + float(account.total_N[i])
    total = sum(counts_by_route.values())
    shares = {route: counts / total if total else 0.0 for route, counts in counts_by_route.items()}
    top = sorted(lost.items(), key=lambda item: (-item[1], item[0]))[:N_TOP_LOST]
    return Harmonisation(
        dataset=dataset,
        n_names=sum(by_route.values()),
        mapped=sum(by_route[route] for route in MAPPED_ROUTES),
        ambiguous=by_route["ambiguous"],
        lost=by_route["outside_vocabulary"] + by_route["unknown"],
        merged=n_merged,
        mapped_share_of_counts=sum(shares[route] for route in MAPPED_ROUTES),
        by_route=by_route,
        share_by_route=shares,
        top_lost=[(name, counts / total) for name, counts in top],
        samples=dict(samples),
        threshold=threshold,
    )
