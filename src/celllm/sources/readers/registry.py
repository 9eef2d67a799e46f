"""Readers by the name that a dataset's row uses; each is imported when a dataset of its format is read.

A reader gives cells x source names, nothing harmonised. Some need a package that only few environments hold (rdata,
openpyxl), so no reader is imported on the way to another.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Final, cast

from celllm.base.errors import InputError
from celllm.config.tables import Dataset
from celllm.sources.archives import unreadable
from celllm.sources.raw import RawManifest
from celllm.sources.readers.cells import RawCells, Reader
from celllm.sources.readers.prepare import prepared
from celllm.sources.units import as_units

READERS: Final = {
    "cells_by_genes": "tables",
    "depmap_csv": "tables",
    "genes_by_cells": "tables",
    "h5ad": "h5ad",
    "loom": "loom",
    "robjects": "robjects",
    "tenx_h5": "tenx",
    "tenx_mtx": "tenx",
    "zscore_table": "tables",
}
"""Name that `datasets.tsv` uses, and the module beside this one that holds its function `read_{name}`."""


def reader(name: str) -> Reader:
    """Import a reader of READERS."""
    module = import_module(f"celllm.sources.readers.{READERS[name]}")
    return cast("Reader", getattr(module, f"read_{name}"))


def read_raw(manifest: RawManifest, dataset: Dataset) -> Iterator[RawCells]:
    """Read the cells of a dataset piece by piece, checked as units.py says, logarithms undone."""
    if dataset.reader not in READERS:
        expected, field = f"one of {', '.join(READERS)}", f"reader of {dataset.dataset}"
        remedy = "convert the cells to h5ad and set reader to h5ad in config/datasets.tsv"
        raise unreadable(manifest.file, expected, dataset.reader, field=field, remedy=remedy)
    for cells in _pieces(manifest, dataset):
        if dataset.units is None:
            yield cells
            continue
        try:
            matrix = as_units(cells.matrix, dataset.units, log=dataset.log, file=cells.file)
        except InputError as error:
            raise _with_alternatives(error, cells.file, dataset) from None
        yield replace(cells, matrix=matrix)


def _with_alternatives(error: InputError, file: Path, dataset: Dataset) -> InputError:
    """Say which other matrix of an AnnData file would be what the row says."""
    if file.suffix != ".h5ad":
        return error
    from celllm.sources.readers.h5ad import passing

    fit = passing(file, dataset)
    found = f"{error.found} in {dataset.matrix}; {' and '.join(fit) or 'no other matrix of the file'} would pass"
    remedy = f"write {fit[0]} into the column matrix of {dataset.dataset}" if fit else error.remedy
    return InputError(file=file, field=error.field, expected=error.expected, found=found, remedy=remedy)


def _pieces(manifest: RawManifest, dataset: Dataset) -> Iterator[RawCells]:
    """Read the published files and prepare their cells; or read the cells that a mirror holds prepared."""
    names = tuple(file.name for file in manifest.files)
    if names == dataset.built and names[0].endswith(".h5ad"):
        return reader("h5ad")(manifest, dataset)
    return prepared(manifest, dataset, reader(dataset.reader))
