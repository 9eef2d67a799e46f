"""Loom files (loompy.org): a dense matrix of genes x cells in HDF5, with attributes of rows and columns."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import h5py
import numpy as np
import pandas as pd
from scipy import sparse

from celllm.config.tables import Dataset
from celllm.sources.archives import unreadable
from celllm.sources.raw import RawFile, RawManifest
from celllm.sources.readers.cells import RawCells
from celllm.sources.readers.genes import named
from celllm.sources.readers.h5ad import opening
from celllm.sources.readers.text import AT_ONCE, narrow

LOOM: Final = "a Loom file: matrix, row_attrs, col_attrs"
SYMBOLS: Final = (
    *("Gene", "gene", "gene_name", "gene_names", "GeneName", "Symbol", "symbol", "var_names", "gene_symbols"),
)
IDS: Final = ("Accession", "EnsemblID", "ensembl_id", "ensembl_ids", "gene_ids", "gene_id", "featurekey")
CELLS: Final = ("CellID", "cell_id", "obs_names", "cell_names", "barcode", "Barcode", "barcodes")
"""Attributes that hold the names, the first that is there counts."""


def read_loom(manifest: RawManifest, _: Dataset) -> Iterator[RawCells]:
    """Read Loom files a few hundred cells at a time; `obs` has the column attributes of one dimension."""
    for file in manifest.ending(".loom"):
        yield from read_one(file)


def read_one(file: RawFile) -> Iterator[RawCells]:
    """Read one file in pieces."""
    with opening(file.path, LOOM) as source:
        if not {"matrix", "row_attrs", "col_attrs"} <= set(source):
            raise unreadable(file.path, LOOM, f"the groups {', '.join(source)}")
        rows, columns = (_attributes(source[name]) for name in ("row_attrs", "col_attrs"))
        n_genes, n_cells = source["matrix"].shape
        symbols, ids = _first(rows, SYMBOLS), _first(rows, IDS)
        symbols = symbols or ids
        if symbols is None:
            expected = f"names of genes as row attribute {' or '.join(SYMBOLS[:2])}"
            raise unreadable(file.path, expected, ", ".join(rows) or "none")
        names = named(ids or symbols, symbols)
        barcodes = _first(columns, CELLS) or [str(number) for number in range(1, n_cells + 1)]
        obs = pd.DataFrame({name: values for name, values in columns.items() if len(values) == n_cells}, index=barcodes)
        step = max(1, AT_ONCE // max(1, n_genes))
        for start in range(0, max(1, n_cells), step):
            values = np.asarray(source["matrix"][:, start : start + step]).T
            matrix = narrow(sparse.csr_matrix(values))
            yield RawCells.of(file, matrix, names, obs.iloc[start : start + step])


def _attributes(group: h5py.Group) -> dict[str, list[str]]:
    """Return the attributes of one dimension, as texts."""
    return {
        name: [one.decode("utf-8", "replace") if isinstance(one, bytes) else str(one) for one in stored[:].tolist()]
        for name, stored in group.items()
        if isinstance(stored, h5py.Dataset) and stored.ndim == 1
    }


def _first(attributes: dict[str, list[str]], names: tuple[str, ...]) -> list[str] | None:
    return next((attributes[name] for name in names if name in attributes), None)
