"""Simulated cells for the benchmarks, at the sparsity of the paper's corpus; no biology in them.

Shapes: C cells, G genes.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import line  # noqa: F401 - finds the package
import numpy as np
import pandas as pd
from scipy import sparse

from celllm.corpus import writer
from celllm.corpus.memory import MemoryCorpus
from celllm.harmonise import cells as cells_file
from celllm.harmonise.vocabulary import Vocabulary

N_GENES = 19_290
"""Protein-coding genes of HGNC, October 2024."""
MEAN_NONZERO = 1_500
"""Expressed genes of a cell; the corpus has a cell-weighted mean of 1,616 (PanglaoDB's table of samples)."""
SPREAD = 0.55
"""Standard deviation of the logarithm of depth; quartiles are then 1,104, 1,445 and 1,873 expressed genes."""


def pool(n_cells: int = 4096, *, n_genes: int = N_GENES, mean_nonzero: int = MEAN_NONZERO) -> sparse.csr_matrix:
    """Draw counts, C x G, int32: Poisson, genes of log-normal abundances, cells of log-normal depth."""
    generator = np.random.default_rng(0)
    abundance_G = generator.lognormal(0.0, 2.0, n_genes)
    abundance_G /= abundance_G.sum()
    depth_C = generator.lognormal(0.0, SPREAD, n_cells)
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
    facts = {"dataset": "simulated", "units": "counts", "simulated": True, "provenance": {}}
    known = {"sample": "s", "donor": "s", "study": "s", "label": "", "is_malignant": 0}
    with cells_file.writing_cells(folder / "simulated.h5ad", vocabulary=genes, **facts) as cells:
        for number, matrix in enumerate(drawn_from(pool(), n_cells)):
            names = [f"simulated:{number}:{row}" for row in range(matrix.shape[0])]
            sizes = {"n_counts": np.asarray(matrix.sum(axis=1)).ravel(), "n_genes": np.diff(matrix.indptr)}
            cells.append(matrix, pd.DataFrame(known | sizes | {"cell_hash": names}, index=names))
    part, manifest = folder / "simulated" / "manifest.json", folder / "manifest.json"
    options = {"n_genes": N_GENES, "tested": (), "hashes": {}, "shard_cells": 8_192, "provenance": {}}
    writer.write(folder / "simulated.h5ad", part, vocabulary=genes.digest, **options)
    writer.join([part], manifest, seed=0, provenance={})
    return manifest


def corpus(n_cells: int, *, n_genes: int = N_GENES) -> MemoryCorpus:
    """Draw cells as in `pool`, as training asks for them; every second one is called tumour."""
    counts = pool(n_cells, n_genes=n_genes).astype(np.float32)
    return MemoryCorpus(counts, "simulated", is_malignant=(np.arange(n_cells) % 2).astype(np.int8))
