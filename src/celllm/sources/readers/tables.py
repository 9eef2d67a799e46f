"""Readers of published tables: genes x cells (CancerSCEM, Drop-seq, TPM), cells x genes (GEO, DepMap), z-scores."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import IO, Final

import numpy as np
import pandas as pd
from scipy import sparse

from celllm.base.parquet import read_frame
from celllm.config.tables import Dataset
from celllm.sources.archives import chained, opened, reading, unreadable
from celllm.sources.raw import RawFile, RawManifest
from celllm.sources.readers.cells import RawCells, in_pieces
from celllm.sources.readers.text import TextTable, genes_by_cells

WITH_ID: Final = re.compile(r".+ \(\w+\)")
"""DepMap's name of a gene, `TP53 (7157)`."""
MODEL, DEFAULT = "ModelID", "IsDefaultEntryForModel"
"""DepMap's columns of the line's id, and of whether a profile is the one that stands for its line."""


TEXTS: Final = tuple(f"{ending}{packed}" for ending in (".tsv", ".csv", ".txt", ".tab") for packed in ("", ".gz"))
"""Endings of tables of any separator, which is seen by the first two lines."""


def read_genes_by_cells(manifest: RawManifest, _: Dataset) -> Iterator[RawCells]:
    """Read tables of genes x cells, one file a sample, whose line 1 holds the cells' names.

    No part of such a table is complete before its end.
    """
    for file in manifest.ending(*TEXTS):
        with reading(file.path, "genes x cells as text"), opened(file.path) as stream:
            matrix, names, barcodes = genes_by_cells(TextTable(stream, file.path, separator=_separator(file)))
        yield from in_pieces(RawCells.of(file, matrix, names, barcodes))


def read_cells_by_genes(manifest: RawManifest, dataset: Dataset) -> Iterator[RawCells]:
    """Read tables of cells x genes, comma-separated where the name says csv, else tab-separated.

    Leading columns that the dataset's row names (label, sample, donor, values of `obs`) are columns of `obs`.
    """
    taken = [said if isinstance(said, str) else next(iter(said)) for said in dataset.obs.values()]
    named = {dataset.label_column, dataset.sample_column, dataset.donor_column, *taken}
    for file in manifest.files:
        with opened(file.path) as stream:
            yield from _cells_by_genes(file, stream, separator=_separator(file), is_gene=lambda name: name not in named)


def read_depmap_csv(manifest: RawManifest, _: Dataset) -> Iterator[RawCells]:
    """Read DepMap's `CCLE_expression.csv`: cell lines x genes, log2(TPM + 1), comma-separated.

    Rows begin with the line's DepMap id, `ACH-000001`. Since 2025 columns of texts stand before the genes: the line is
    then `ModelID`, and profiles that are not its default are left out.
    """
    for file in manifest.ending("expression.csv", "expression.csv.gz"):
        with opened(file.path) as stream:
            for cells in _cells_by_genes(file, stream, separator=",", is_gene=WITH_ID.fullmatch):
                obs = cells.obs if MODEL not in cells.obs else cells.obs.set_index(MODEL)
                is_default = obs[DEFAULT].eq("Yes").to_numpy() if DEFAULT in obs else np.ones(len(obs), dtype=bool)
                kept = obs.index[is_default]
                yield replace(cells, matrix=cells.matrix[np.flatnonzero(is_default)], obs=pd.DataFrame(index=kept))


def read_zscore_table(manifest: RawManifest, _: Dataset) -> Iterator[RawCells]:
    """Read a table of z-scores, lines x genes, as parquet: line names in the index, symbols as column names.

    A csv is TGSA's `exp.csv`, whose columns are `(Entrez id)`: its logarithms become z-scores by gene, as there.
    """
    for file in manifest.ending(".parquet", ".csv"):
        try:
            if file.name.endswith(".csv"):
                table = pd.read_csv(file.path, index_col=0)
                table = ((table - table.mean()) / table.std(ddof=0).replace(0, 1)).fillna(0)
                table.columns = table.columns.str.strip("()")
            else:
                table = read_frame(file.path)
        except (OSError, ValueError, TypeError) as error:
            raise unreadable(file.path, "a table of numbers, lines x genes", error) from None
        matrix, names = sparse.csr_matrix(table.to_numpy(dtype=np.float32)), [str(name) for name in table.columns]
        yield from in_pieces(RawCells.of(file, matrix, names, pd.DataFrame(index=table.index.astype(str))))


def _cells_by_genes(
    file: RawFile, stream: IO[bytes], *, separator: str, is_gene: Callable[[str], object]
) -> Iterator[RawCells]:
    """Read a table with a line a cell: its name, columns of `obs` up to the first gene, then genes."""
    with reading(file.path, "cells x genes as text"):
        header = stream.readline()
        names = [name.strip('"') for name in header.decode("utf-8-sig").rstrip("\r\n").split(separator)]
        n_texts = 1 + next((n for n, name in enumerate(names[1:]) if is_gene(name)), 0)
        table = TextTable(chained(header, stream), file.path, separator=separator, n_texts=n_texts)
        for texts, matrix in table.rows():
            obs = texts.set_axis(["", *table.text_names[1:]], axis=1).set_index("")
            yield RawCells.of(file, matrix, table.columns, obs)


def _separator(file: RawFile) -> str:
    return "," if ".csv" in file.name else "\t"
