"""AnnData files: the matrix (X, raw or a layer), read a few thousand cells at a time, and `obs`."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

import anndata as ad
import h5py
import numpy as np
import pandas as pd
from scipy import sparse

from celllm.base.errors import InputError
from celllm.config.tables import Dataset
from celllm.sources.archives import unreadable
from celllm.sources.raw import RawFile, RawManifest
from celllm.sources.readers.cells import PIECE, RawCells
from celllm.sources.readers.genes import genes_of, names_of
from celllm.sources.units import as_units

CONVERT: Final = {
    "10x": "of Cell Ranger's: scanpy.read_10x_h5(FILE).write_h5ad(NEW); of others celllm look FILE says what they are",
    "loom": "convert it: anndata.io.read_loom(FILE).write_h5ad(NEW), with the package loompy",
    "folder": "of Cell Ranger's three files: scanpy.read_10x_mtx(FOLDER).write_h5ad(NEW); of a zarr store: "
    "anndata.read_zarr(FOLDER).write_h5ad(NEW)",
    "text": "give an .h5ad file, unpacked; of a table of genes x cells: anndata.io.read_csv(FILE, delimiter=…)"
    ".T.write_h5ad(NEW); of others celllm look FILE says what they are",
}
"""What makes an h5ad file of another format."""


def read_h5ad(manifest: RawManifest, dataset: Dataset) -> Iterator[RawCells]:
    """Read AnnData files: the matrix that the row's `matrix` names (X, raw or layers:NAME), `var`, `obs`.

    Features that are no genes are left out and counted. A CSR matrix and a dense one are read in pieces; a CSC matrix
    is read whole, because its cells lie scattered.
    """
    for file in manifest.ending(".h5ad"):
        yield from read_one(file, matrix=dataset.matrix)


def read_one(file: RawFile, *, matrix: str = "X", piece: int = PIECE) -> Iterator[RawCells]:
    """Read one AnnData file in pieces of at most `piece` cells."""
    with opening(file.path) as source:
        offered = matrices(source, file.path)
        matrix = next((name for name in matrix.split("|") if name in offered), matrix)
        if matrix not in offered:
            expected = "the matrix that the column matrix of the dataset names in config/datasets.tsv"
            found, remedy = f"the matrices {', '.join(offered) or '(none)'}", "name one of these in the column matrix"
            raise unreadable(file.path, expected, found, field=matrix, remedy=remedy)
        group, var = offered[matrix]
        genes, obs = read_table(source[var], file.path), read_table(source["obs"], file.path)
        stored = stored_matrix(source[group], file.path)
        if stored.shape != (len(obs), len(genes)):
            found = f"{group} of {stored.shape[0]} x {stored.shape[1]}, {len(obs)} rows of obs, {len(genes)} of {var}"
            raise unreadable(file.path, "a matrix with one row a cell of obs and one column a gene of var", found)
        kept, left_out = genes_of(genes)
        names = names_of(genes.iloc[kept])
        for start in range(0, max(1, len(obs)), piece):
            rows = sparse.csr_matrix(stored[start : start + piece])
            rows.check_format()
            rows = rows[:, kept] if left_out else rows
            yield RawCells.of(file, rows, names, obs.iloc[start : start + piece], left_out)


@contextmanager
def opening(path: Path, expected: str = "an h5ad file") -> Iterator[h5py.File]:
    """Open an HDF5 file; what HDF5 or AnnData say of a broken one becomes an InputError."""
    with understood(path, expected), h5py.File(path, "r") as source:
        yield source


@contextmanager
def understood(path: Path | str, expected: str = "an h5ad file") -> Iterator[None]:
    """Turn what HDF5 or AnnData say of a broken file into an InputError."""
    try:
        yield
    except InputError:
        raise
    except (OSError, KeyError, ValueError, TypeError, IndexError, AttributeError) as error:
        raise unreadable(path, expected, error) from None


@contextmanager
def old_formats() -> Iterator[None]:
    """Silence the warnings about files of older AnnData releases, but for whoever asks for the next piece."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ad.OldFormatWarning)
        warnings.filterwarnings("ignore", message="Moving element from", category=FutureWarning)
        yield


def matrices(source: h5py.File, path: Path) -> dict[str, tuple[str, str]]:
    """Return where each matrix and its genes stand, by the names that the column `matrix` uses: X, raw, layers:NAME.

    InputError, which has a line that converts it, if the file is none of AnnData's.
    """
    if "mod" in source and "X" not in source:
        found = f"MuData with the modalities {', '.join(source['mod'])}"
        remedy = "write the modality of the genes as h5ad: mudata.read_h5mu(FILE)['rna'].write_h5ad(…)"
        raise unreadable(path, "an AnnData file", found, remedy=remedy)
    if not {"obs", "var"} <= set(source):
        found = f"the groups {', '.join(source) or '(none)'}"
        remedy = CONVERT["loom" if "row_attrs" in source else "10x"]
        raise unreadable(path, "an h5ad file, with obs and var", found, remedy=remedy)
    raw = "raw." if "raw.X" in source else "raw/"  # AnnData before 0.7
    places = {"X": ("X", "var"), "raw": (f"{raw}X", f"{raw}var")}
    places |= {f"layers:{name}": (f"layers/{name}", "var") for name in source.get("layers", ())}
    return {
        name: (group, var)
        for name, (group, var) in places.items()
        if group in source and source[group].attrs.get("encoding-type") != "null"
    }


def passing(path: Path, dataset: Dataset) -> list[str]:
    """Return the matrices of a file whose first cells are what the dataset's row says of its units."""
    fit = []
    with opening(path) as source:
        for name, (group, _) in matrices(source, path).items():
            first = sparse.csr_matrix(stored_matrix(source[group], path)[:PIECE])
            with suppress(InputError):
                as_units(first, str(dataset.units), log=dataset.log, file=path)
                fit.append(name)
    return fit


def read_table(element: h5py.Group | h5py.Dataset, path: Path) -> pd.DataFrame:
    """Read `obs` or `var`, of any release of AnnData; a column of an encoding it does not know is left out."""
    kind = element.attrs.get("encoding-type"), element.attrs.get("encoding-version")
    if isinstance(element, h5py.Group) and kind in {("dataframe", "0.2.0"), (None, None)}:
        return _by_columns(element, path)
    with old_formats():
        table = ad.io.read_elem(element)
    if isinstance(table, np.ndarray) and table.dtype.names:  # AnnData before 0.7
        table = _of_structure(table, element.parent.get("uns", {}))
    if not isinstance(table, pd.DataFrame):
        raise unreadable(path, "an h5ad file with tables var and obs", f"{type(table).__name__} in place of a table")
    return table


def _of_structure(table: np.ndarray, uns: Mapping[str, Any]) -> pd.DataFrame:
    """Make a table of AnnData before 0.7; the categories of a column of codes stand in uns, as NAME_categories."""
    index, *names = table.dtype.names or ()
    columns: dict[str, Any] = {}
    for name in names:
        values, stored = table[name], uns.get(f"{name}_categories")
        categories = [] if stored is None else _plain(np.atleast_1d(stored[()]))
        # obs and var may have columns of one name, and one of them its categories overwritten
        is_coded = np.issubdtype(values.dtype, np.integer) and len(categories) > values.max(initial=-1)
        columns[name] = (
            pd.Categorical.from_codes(values, pd.Index(categories)) if is_coded and categories else _plain(values)
        )
    return pd.DataFrame(columns, index=pd.Index(list(map(str, _plain(table[index]))), dtype=object))


def _plain(values: np.ndarray) -> list[Any]:
    """Return values with bytes as text."""
    return [value.decode() if isinstance(value, bytes) else value for value in values.tolist()]


def _by_columns(group: h5py.Group, path: Path) -> pd.DataFrame:
    """Read a table as AnnData does, column by column; SeuratDisk's have no attributes that list them."""
    index = next((name for name in (group.attrs.get("_index"), "_index", "index") if name and name in group), None)
    if index is None:
        raise unreadable(path, "an h5ad file with tables var and obs", f"{group.name} without an index")
    columns = {}
    for name in group.attrs.get("column-order", [name for name in group if name != index]):
        try:
            with old_formats():
                columns[name] = ad.io.read_elem(group[name])
        except (OSError, LookupError, ValueError, TypeError, AttributeError):
            raise  # a broken file
        except Exception:  # noqa: BLE001 - anndata's own error, whose class is private
            continue
    with old_formats():
        stored = ad.io.read_elem(group[index])
    names = [name.decode() if isinstance(name, bytes) else str(name) for name in stored]
    fitting = {name: values for name, values in columns.items() if np.shape(values) == (len(names),)}
    return pd.DataFrame(fitting, index=pd.Index(names, dtype=object))


def stored_matrix(stored: h5py.Group | h5py.Dataset, path: Path) -> Any:  # noqa: ANN401 - three kinds of matrix
    """Return what rows are sliced from: a dense array or CSR matrix on disk, a CSC matrix in memory."""
    if isinstance(stored, h5py.Dataset):
        return stored
    try:
        matrix = ad.io.sparse_dataset(stored)
    except (KeyError, ValueError):
        encoding = stored.attrs.get("encoding-type", "(none)")
        raise unreadable(path, "an h5ad file whose matrix is CSR, CSC or dense", f"encoding {encoding}") from None
    if matrix.format == "csr":
        return matrix
    columns = matrix.to_memory()
    columns.check_format()
    return sparse.csr_matrix(columns)
