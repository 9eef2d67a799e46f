"""The gene network: published edges or co-expression, and the file `edges.parquet` that holds it.

The file has columns a, b: int32 vocabulary indices, a < b, sorted, each pair once.

Shapes: C cells, G vocabulary genes, E edges.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
from scipy import sparse

from celllm.base.atomic import writing
from celllm.base.errors import InputError, VocabularyMismatch
from celllm.harmonise.vocabulary import Vocabulary

REMEDY = "rebuild it: snakemake --forcerun build_network"
BLOCK_GENES = 1024
"""Genes whose correlations are held at once."""

Indices = npt.NDArray[np.int32]


@dataclass(frozen=True)
class Edges:
    """Undirected edges between vocabulary genes, a < b, sorted, no pair twice."""

    a_E: Indices
    b_E: Indices
    vocabulary: str
    """Digest of the vocabulary that the indices belong to."""
    source: str
    """What the edges were made from, for the report."""
    provenance: Mapping[str, Any] = field(default_factory=dict)


def write(edges: Edges, path: Path | str) -> None:
    """Write the edges, whole or not at all."""
    table = pa.table({"a": pa.array(edges.a_E, pa.int32()), "b": pa.array(edges.b_E, pa.int32())})
    provenance = json.dumps(dict(edges.provenance), sort_keys=True)
    metadata = {"vocabulary": edges.vocabulary, "source": edges.source, "provenance": provenance}
    table = table.replace_schema_metadata(metadata)
    with writing(path) as part:
        pq.write_table(table, part)


def read(path: Path | str, *, vocabulary: Vocabulary | None = None) -> Edges:
    """Read the edges; errors name a missing column or metadata, an edge out of order or range, another vocabulary."""
    table = pq.read_table(path)
    metadata = {key.decode(): value.decode() for key, value in (table.schema.metadata or {}).items()}
    if not {"a", "b"} <= set(table.column_names) or not {"vocabulary", "source"} <= set(metadata):
        raise InputError(
            file=path,
            field="columns and metadata",
            expected="columns a, b; metadata vocabulary, source",
            found=f"columns {', '.join(table.column_names)}; metadata {', '.join(metadata) or 'none'}",
            remedy=REMEDY,
        )
    found = metadata["vocabulary"]
    if vocabulary is not None and found != vocabulary.digest:
        raise VocabularyMismatch(file=path, found=found, expected=vocabulary.digest, remedy=REMEDY)
    a_E, b_E = (table[end].to_numpy().astype(np.int32) for end in "ab")
    n_genes = vocabulary.n_genes if vocabulary is not None else np.iinfo(np.int32).max
    if not ((a_E >= 0) & (a_E < b_E) & (b_E < n_genes)).all():
        expected = f"0 <= a < b < {n_genes}"
        raise InputError(file=path, field="a, b", expected=expected, found="an edge that breaks this", remedy=REMEDY)
    return Edges(a_E, b_E, found, metadata["source"], json.loads(metadata.get("provenance", "{}")))


def from_pairs(first_E: npt.NDArray[np.int64], second_E: npt.NDArray[np.int64]) -> tuple[Indices, Indices]:
    """Turn pairs of vocabulary indices into undirected edges.

    Pairs with an unmapped end (-1) and self-loops go; each edge is kept once, a < b, sorted.
    """
    keep = (first_E >= 0) & (second_E >= 0) & (first_E != second_E)
    low, high = np.minimum(first_E, second_E)[keep], np.maximum(first_E, second_E)[keep]
    edges = np.unique(np.stack([low, high], axis=1), axis=0).astype(np.int32)
    return edges[:, 0], edges[:, 1]


def coexpression(values_CG: sparse.csr_matrix, *, n_partners: int = 10) -> tuple[Indices, Indices]:
    """Connect each gene to the genes it is most strongly co-expressed with in log-normalised cells.

    Pearson's correlation over cells; of each gene's positive partners the strongest `n_partners` are
    kept, ties to the lower index. A gene that never varies has none. An edge needs to be chosen from
    one side only, so a gene can end with more.

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
    chosen: list[npt.NDArray[np.int64]] = [np.empty((0, 2), dtype=np.int64)]
    for start in range(0, len(varying), BLOCK_GENES):
        block = slice(start, min(start + BLOCK_GENES, len(varying)))
        product = np.asarray((columns[:, block].T @ columns).todense()) / n_cells
        correlation = (product - np.outer(mean_V[block], mean_V)) / np.outer(spread_V[block], spread_V)
        rows = np.arange(block.stop - block.start)
        correlation[rows, rows + start] = -np.inf
        # Rounded, so that ties do not hang on the last digit of a sum's order.
        order = np.argsort(-np.round(correlation, 9), axis=1, kind="stable")[:, :n_partners]
        positive = np.take_along_axis(correlation, order, axis=1) > 0
        gene, rank = np.nonzero(positive)
        chosen.append(np.stack([varying[gene + start], varying[order[gene, rank]]], axis=1))
    return from_pairs(*np.concatenate(chosen).T)
