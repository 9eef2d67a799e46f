"""AnnData files, read a few thousand cells at a time: the matrix in X, raw or a layer, and `obs` beside it."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import anndata as ad
import h5py
import numpy as np
import pandas as pd
from scipy import sparse

from celllm.base.errors import InputError
from celllm.config.tables import Dataset
from celllm.sources.raw import RawFile, RawManifest
from celllm.sources.readers.cells import PIECE, RawCells, unreadable

GENE_ID_COLUMNS = ("ensembl_id", "gene_ids")
"""Columns of `var` that hold Ensembl ids beside the symbols; `gene_ids` is Cell Ranger's by way of scanpy."""


def read_h5ad(manifest: RawManifest, dataset: Dataset) -> Iterator[RawCells]:
    """Read AnnData files: the matrix that the row's `matrix` names (X, raw or layers:NAME), `var`, `obs`.

    Where `var` has Ensembl ids beside the symbols, a name is `SYMBOL_ENSG…`: the id settles what a
    repeated or an ambiguous symbol leaves open. A CSR matrix and a dense one are read in pieces; a CSC matrix
    is read whole, because its cells lie scattered.
    """
    for file in manifest.ending(".h5ad"):
        yield from read_one(file, matrix=dataset.matrix)


def read_one(file: RawFile, *, matrix: str = "X", piece: int = PIECE) -> Iterator[RawCells]:
    """Read one AnnData file in pieces of at most `piece` cells."""
    with opening(file.path) as source:
        group, var = _places(source, matrix, file.path)
        names = _names(_table(source[var], file.path))
        obs = Obs(source["obs"], file.path)
        rows = _Rows(source[group], file.path)
        if rows.shape != (obs.n_cells, len(names)):
            found = f"{group} of {rows.shape[0]} x {rows.shape[1]}, {obs.n_cells} rows of obs, {len(names)} of {var}"
            raise unreadable(file.path, "a matrix with one row a cell of obs and one column a gene of var", found)
        for start in range(0, max(1, obs.n_cells), piece):
            stop = min(start + piece, obs.n_cells)
            yield RawCells(
                matrix=rows.between(start, stop),
                names=names,
                obs=obs.between(start, stop),
                file=file.path,
                sample=file.sample,
                facts=file.facts,
            )


@contextmanager
def opening(path: Path, expected: str = "an h5ad file") -> Iterator[h5py.File]:
    """Open an HDF5 file; what HDF5 or AnnData say of a broken one becomes an InputError."""
    try:
        with h5py.File(path, "r") as source:
            yield source
    except InputError:
        raise
    except (OSError, KeyError, ValueError, TypeError, IndexError, AttributeError) as error:
        raise unreadable(path, expected, error) from None


@contextmanager
def reading(path: Path) -> Iterator[h5py.File]:
    """Open an AnnData file as `opening` does. Files of older AnnData releases are read without their warnings.

    Not to be held over a `yield`: the warnings of whoever asks for the next piece would be silenced too.
    """
    with warnings.catch_warnings(), opening(path) as source:
        _accept_old_formats()
        yield source


def _accept_old_formats() -> None:
    warnings.simplefilter("ignore", ad.OldFormatWarning)
    warnings.filterwarnings("ignore", message="Moving element from", category=FutureWarning)


def _places(source: h5py.File, matrix: str, path: Path) -> tuple[str, str]:
    """Return where the matrix and its genes stand."""
    kind, _, layer = matrix.partition(":")
    group, var = {"X": ("X", "var"), "raw": ("raw/X", "raw/var"), "layers": (f"layers/{layer}", "var")}[kind]
    if "obs" in source and "var" in source and group not in source:
        offered = ["X"] if "X" in source else []
        offered += ["raw"] if "raw/X" in source else []
        offered += [f"layers:{name}" for name in source.get("layers", ())]
        raise InputError(
            file=path,
            field=matrix,
            expected="the matrix that the column matrix of the dataset names in config/datasets.tsv",
            found=f"the matrices {', '.join(offered) or '(none)'}",
            remedy="name one of these in the column matrix",
        )
    return group, var


def _table(element: h5py.Group | h5py.Dataset, path: Path) -> pd.DataFrame:
    with warnings.catch_warnings():
        _accept_old_formats()
        table = ad.io.read_elem(element)
    if isinstance(table, np.ndarray) and table.dtype.names:  # AnnData before 0.7
        table = pd.DataFrame(table).set_index(table.dtype.names[0])
        table.index = [name.decode() if isinstance(name, bytes) else str(name) for name in table.index]
    if not isinstance(table, pd.DataFrame):
        raise unreadable(path, "an h5ad file with tables var and obs", f"{type(table).__name__} in place of a table")
    return table


def _names(var: pd.DataFrame) -> list[str]:
    names = [str(name) for name in var.index]
    for column in GENE_ID_COLUMNS:
        if column in var.columns:
            ids = var[column].astype(str)
            return [f"{name}_{i}" if i.startswith("ENSG") else name for name, i in zip(names, ids, strict=True)]
    return names


class _Rows:
    """Rows of a stored matrix, cells x genes, as CSR."""

    def __init__(self, stored: h5py.Group | h5py.Dataset, path: Path) -> None:
        self._stored = stored
        self._whole: sparse.csr_matrix | None = None
        if isinstance(stored, h5py.Dataset):
            self.shape = tuple(stored.shape)
            self._format = "dense"
            return
        encoding = str(stored.attrs.get("encoding-type", stored.attrs.get("h5sparse_format", "")))
        shape = stored.attrs.get("shape", stored.attrs.get("h5sparse_shape"))
        self._format = encoding.removesuffix("_matrix")
        if self._format not in {"csr", "csc"} or shape is None:
            raise unreadable(path, "an h5ad file whose matrix is CSR, CSC or dense", f"encoding {encoding or '(none)'}")
        self.shape = (int(shape[0]), int(shape[1]))
        if self._format == "csc":
            parts = (stored["data"][:], stored["indices"][:], stored["indptr"][:])
            columns = sparse.csc_matrix(parts, shape=self.shape)
            columns.check_format()
            self._whole = sparse.csr_matrix(columns)

    def between(self, start: int, stop: int) -> sparse.csr_matrix:
        """Read the rows from `start` to before `stop`."""
        if self._whole is not None:
            return self._whole[start:stop]
        if self._format == "dense":
            return sparse.csr_matrix(self._stored[start:stop])
        indptr = self._stored["indptr"][start : stop + 1].astype(np.int64)
        begin, end = int(indptr[0]), int(indptr[-1])
        parts = (self._stored["data"][begin:end], self._stored["indices"][begin:end], indptr - begin)
        rows = sparse.csr_matrix(parts, shape=(stop - start, self.shape[1]))
        rows.check_format()
        return rows


class Obs:
    """Rows of `obs`. Tables of today's AnnData are read in pieces, older ones whole."""

    def __init__(self, stored: h5py.Group | h5py.Dataset, path: Path) -> None:
        self._path = path
        self._whole: pd.DataFrame | None = None
        self._columns: dict[str, h5py.Group | h5py.Dataset] = {}
        if isinstance(stored, h5py.Group) and stored.attrs.get("encoding-type") == "dataframe":
            self._index = stored[stored.attrs["_index"]]
            self._columns = {str(name): stored[str(name)] for name in stored.attrs["column-order"]}
        if not self._columns.values() or not all(map(_is_known, self._columns.values())):
            self._whole = _table(stored, path)
        self.n_cells = len(self._whole) if self._whole is not None else int(self._index.shape[0])

    def between(self, start: int, stop: int) -> pd.DataFrame:
        """Read the rows from `start` to before `stop`."""
        if self._whole is not None:
            return self._whole.iloc[start:stop]
        columns = {name: _slice(column, start, stop) for name, column in self._columns.items()}
        return pd.DataFrame(columns, index=pd.Index(_slice(self._index, start, stop), dtype=object))


def _is_known(column: h5py.Group | h5py.Dataset) -> bool:
    if isinstance(column, h5py.Dataset):
        return column.attrs.get("encoding-type") in {"array", "string-array"}
    return column.attrs.get("encoding-type") == "categorical" and isinstance(column["categories"], h5py.Dataset)


def _slice(column: h5py.Group | h5py.Dataset, start: int, stop: int) -> Any:  # noqa: ANN401 - what a column holds
    if isinstance(column, h5py.Group):
        categories = _slice(column["categories"], 0, column["categories"].shape[0])
        return pd.Categorical.from_codes(column["codes"][start:stop], categories=categories)
    if h5py.check_string_dtype(column.dtype) is not None:
        return column.asstr()[start:stop]
    return column[start:stop]
