"""Cells of an AnnData, in memory or in a file, read a piece at a time."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, TypeAlias

import anndata as ad
import h5py
import pandas as pd
from scipy import sparse

from celllm.sources.archives import unreadable
from celllm.sources.readers.cells import PIECE, column_of
from celllm.sources.readers.h5ad import CONVERT, matrices, read_table, stored_matrix, understood
from celllm.sources.texts import texts

Own: TypeAlias = ad.AnnData | Path | str
"""One's own cells: an object, which may be backed by a file, or an h5ad file."""
TO_CSR = "python -c \"import anndata; a = anndata.read_h5ad('{0}'); a.X = a.X.tocsr(); a.write_h5ad('csr.h5ad')\""


@dataclass(frozen=True)
class Source:
    """Cells with all their matrices."""

    file: str
    """Named in errors."""
    matrices: Mapping[str, tuple[Any, pd.DataFrame]]
    """By name (X, raw, layers:NAME): what rows are sliced from, cells x genes, and the table of its genes."""
    table: h5py.Group | pd.DataFrame
    """The file's or the object's `obs`."""

    @cached_property
    def obs(self) -> pd.DataFrame:
        """What is known of the cells."""
        with understood(self.file):
            return self.table if isinstance(self.table, pd.DataFrame) else read_table(self.table, Path(self.file))

    def column(self, name: str, option: str) -> pd.Series[str]:
        """Return a column of `obs` as text, empty where a value is missing; `option` is what named it, to errors."""
        expected, remedy = f"the column that {option} names", f"give one of them: {option} COLUMN"
        return texts(column_of(self.obs, name, file=self.file, expected=expected, remedy=remedy))

    def pieces(self, place: str, *, size: int = PIECE) -> Iterator[sparse.csr_matrix]:
        """Read a matrix, `size` cells at a time."""
        matrix = self.matrices[place][0]
        for start in range(0, matrix.shape[0], size):
            with understood(self.file):
                piece = sparse.csr_matrix(matrix[start : start + size])
            yield piece


@contextmanager
def opened(cells: Own) -> Iterator[Source]:
    """Give the cells of an object; or those of a file, to be read in pieces, a CSC matrix whole, if memory holds it.

    InputError if the file is no h5ad file, or holds a CSC matrix that is too large.
    """
    if isinstance(cells, ad.AnnData):
        yield _of_object(cells)
    else:
        with _of_file(Path(cells)) as found:
            yield found


def _of_object(cells: ad.AnnData) -> Source:
    places = {"X": (cells.X, cells.var)}
    if cells.raw is not None:
        places["raw"] = (cells.raw.X, cells.raw.var)
    places |= {f"layers:{name}": (layer, cells.var) for name, layer in cells.layers.items()}
    held = {
        place: (matrix.tocsr() if isinstance(matrix, (sparse.spmatrix, sparse.sparray)) else matrix, var)
        for place, (matrix, var) in places.items()
        if matrix is not None
    }
    return Source(str(cells.filename or "the AnnData object"), held, cells.obs)


@contextmanager
def _of_file(path: Path) -> Iterator[Source]:
    if not h5py.is_hdf5(path):
        found = "a folder" if path.is_dir() else "no HDF5 file" if path.is_file() else "no such file"
        raise unreadable(path, "an h5ad file", found, remedy=CONVERT["folder" if path.is_dir() else "text"])
    with ExitStack() as stack:
        with understood(path):  # what a caller raises is nothing that the file is to blame for
            file = stack.enter_context(h5py.File(path, "r"))
            places = matrices(file, path)
            tables = {var: read_table(file[var], path) for var in {var for _, var in places.values()}}
            for group, _ in places.values():
                _check_fits(file[group], path)
            held = {name: (stored_matrix(file[group], path), tables[var]) for name, (group, var) in places.items()}
        yield Source(str(path), held, file["obs"])


def _check_fits(stored: h5py.Group | h5py.Dataset, path: Path) -> None:
    """Raise InputError for a CSC matrix whose cells cannot be put into order in this machine's memory."""
    if isinstance(stored, h5py.Dataset) or stored.attrs.get("encoding-type") != "csc_matrix":
        return
    needed = 2 * sum(stored[name].size * stored[name].dtype.itemsize for name in ("data", "indices"))
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if needed > memory:
        expected = "a CSR matrix, which is read in pieces, or a CSC matrix that fits into memory"
        found = f"a CSC matrix that takes {needed / 1e9:.0f} GB; there are {memory / 1e9:.0f} GB"
        remedy = f"convert it on a larger machine: {TO_CSR.format(path.name)}"
        raise unreadable(path, expected, found, field=stored.name, remedy=remedy)
