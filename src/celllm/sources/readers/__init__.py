"""Cells as published: one reader a source format; each gives cells x source names, nothing harmonised.

Which reader a dataset needs stands in its row of `datasets.tsv`.
"""

from __future__ import annotations

from collections.abc import Iterator

from celllm.base.errors import InputError
from celllm.config.tables import Dataset
from celllm.sources.raw import RawManifest
from celllm.sources.readers.bundled import read_pbmc68k_reduced, read_zscore_table
from celllm.sources.readers.cells import RawCells, Reader, admitted, annotate, in_pieces
from celllm.sources.readers.h5ad import read_h5ad
from celllm.sources.readers.panglaodb import read_panglaodb
from celllm.sources.readers.tables import (
    read_baron_raw_tar,
    read_cancerscem_tsv,
    read_csv_genes_by_cells,
    read_depmap_csv,
    read_dge,
    read_tpm_with_cells,
)
from celllm.sources.readers.tenx import read_tenx_mtx
from celllm.sources.readers.tenx_h5 import read_tenx_h5

__all__ = ["READERS", "RawCells", "annotate", "in_pieces", "read_raw"]

READERS: dict[str, Reader] = {
    "baron_raw_tar": read_baron_raw_tar,
    "cancerscem_tsv": read_cancerscem_tsv,
    "csv_genes_by_cells": read_csv_genes_by_cells,
    "depmap_csv": read_depmap_csv,
    "dge": read_dge,
    "h5ad": read_h5ad,
    "panglaodb": read_panglaodb,
    "pbmc68k_reduced": read_pbmc68k_reduced,
    "tenx_h5": read_tenx_h5,
    "tenx_mtx": read_tenx_mtx,
    "tpm_with_cells": read_tpm_with_cells,
    "zscore_table": read_zscore_table,
}
"""By the name that `datasets.tsv` uses."""


def read_raw(manifest: RawManifest, dataset: Dataset) -> Iterator[RawCells]:
    """Read the cells of a dataset piece by piece, checked, logarithms undone.

    Raises
    ------
    InputError
        If no reader of that name exists, a file is not of its format, or its values are not what the
        dataset's row says.
    """
    if dataset.reader not in READERS:
        raise InputError(
            file=manifest.file,
            field=f"reader of {dataset.dataset}",
            expected=f"one of {', '.join(READERS)}",
            found=dataset.reader,
            remedy="convert the cells to h5ad and set reader to h5ad in config/datasets.tsv",
        )
    for cells in READERS[dataset.reader](manifest, dataset):
        yield admitted(cells, dataset)
