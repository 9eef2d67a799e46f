"""Simulated cells for the benchmarks, at the sparsity of the paper's corpus; no biology in them.

Shapes: C cells, G genes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import line  # noqa: F401 - finds the package
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import sparse

from celllm.corpus import writer
from celllm.harmonise import cells as cells_file
from celllm.harmonise.vocabulary import Vocabulary

N_GENES = 19_290
"""Protein-coding genes of HGNC, October 2024."""
MEAN_NONZERO = 1_500
"""Expressed genes of a cell; the corpus has a cell-weighted mean of 1,616 (PanglaoDB's table of samples)."""
SPREAD = 0.55
"""Standard deviation of the logarithm of depth; quartiles are then 1,104, 1,445 and 1,873 expressed genes."""


def pool(n_cells: int = 4096, *, n_genes: int = N_GENES) -> sparse.csr_matrix:
    """Draw counts, C x G, int32: Poisson, genes of log-normal abundances, cells of log-normal depth."""
    generator = np.random.default_rng(0)
    abundance_G = generator.lognormal(0.0, 2.0, n_genes)
    abundance_G /= abundance_G.sum()
    depth_C = generator.lognormal(0.0, SPREAD, n_cells)
    low, high = 10.0, 1e7
    for _ in range(60):  # the depth at which a cell of mean depth expresses so many genes
        middle = np.sqrt(low * high)
        expressed = -np.expm1(-middle * np.outer(depth_C[:64], abundance_G)).sum(axis=1).mean()
        low, high = (middle, high) if expressed < MEAN_NONZERO else (low, middle)
    pieces = [
        sparse.csr_matrix(generator.poisson(low * np.outer(depth_C[start : start + 512], abundance_G)).astype(np.int32))
        for start in range(0, n_cells, 512)
    ]
    return sparse.vstack(pieces, format="csr")


def drawn_from(cells: sparse.csr_matrix, n_cells: int, *, piece: int = 2048) -> Iterator[sparse.csr_matrix]:
    """Draw `n_cells` rows with replacement, a piece at a time: any number of cells from a small pool."""
    generator = np.random.default_rng([0, 1])
    for start in range(0, n_cells, piece):
        yield cells[generator.integers(0, cells.shape[0], min(piece, n_cells - start))]


def simulated_vocabulary() -> Vocabulary:
    """Return as many genes as HGNC has, by names of their own."""
    names = [f"SIMULATED{number}" for number in range(N_GENES)]
    return Vocabulary(pd.DataFrame({"symbol": names, "hgnc_id": names, "ensembl": "", "entrez": ""}))


def write_shards(folder: Path, n_cells: int, genes: Vocabulary) -> Path:
    """Write simulated cells as shards; return their manifest."""
    matrix = sparse.vstack(list(drawn_from(pool(), n_cells)), format="csr")
    names = [f"simulated:{number}" for number in range(n_cells)]
    known = {"sample": "s", "donor": "s", "study": "s", "label": "", "is_malignant": 0, "cell_hash": names}
    known |= {"n_counts": np.asarray(matrix.sum(axis=1)).ravel(), "n_genes": np.diff(matrix.indptr)}
    facts = {"dataset": "simulated", "units": "counts", "simulated": True, "provenance": {}}
    aligned = cells_file.build(matrix, pd.DataFrame(known, index=names), vocabulary=genes, **facts)
    cells_file.write(aligned, folder / "simulated.h5ad")
    options = {"n_genes": N_GENES, "tested": (), "hashes": {}, "shard_cells": 8_192, "seed": 0, "provenance": {}}
    writer.write([folder / "simulated.h5ad"], folder / "manifest.json", vocabulary=genes.digest, **options)
    return folder / "manifest.json"


@dataclass(frozen=True)
class SimulatedCorpus:
    """Simulated cells in memory, as training asks for them; every second one is called tumour."""

    counts: sparse.csr_matrix
    vocabulary: str = "simulated"
    digest: str = "simulated"

    @property
    def n_cells(self) -> int:
        return int(self.counts.shape[0])

    @property
    def n_genes(self) -> int:
        return int(self.counts.shape[1])

    @property
    def is_malignant(self) -> NDArray[np.int8]:
        return (np.arange(self.n_cells) % 2).astype(np.int8)

    def rows(self, indices: NDArray[np.int64]) -> sparse.csr_matrix:
        return self.counts[indices].astype(np.float32)

    def names(self, indices: NDArray[np.int64]) -> list[str]:
        return [f"simulated_{index}" for index in indices]
