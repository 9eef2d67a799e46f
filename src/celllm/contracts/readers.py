"""Cells as published: one reader a source format; each gives cells x source names, nothing harmonised.

Which reader a dataset needs stands in its row of `datasets.tsv`.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import anndata as ad
import numpy as np
import pandas as pd
import rdata
from scipy import sparse

from celllm.contracts.counts import check_values
from celllm.contracts.raw import RawManifest
from celllm.contracts.tables import Dataset
from celllm.errors import InputError

NO_LABEL = frozenset({"", "nan", "None", "unlabelled"})
"""What sources write into the label column of a cell without a label."""
GENE_ID_COLUMNS = ("ensembl_id", "gene_ids")
"""Columns of `var` that hold Ensembl ids beside the symbols; `gene_ids` is Cell Ranger's by way of scanpy."""


@dataclass(frozen=True)
class RawCells:
    """The cells of one file.

    Parameters
    ----------
    matrix
        Cells x source names.
    names
        Gene names as the source gives them, one a column; repeats are possible.
    obs
        What the source says of its cells, indexed by barcode.
    file
        Where they were read from; errors name it.
    sample
        The sample that the whole file holds, if the manifest names one.
    """

    matrix: sparse.csr_matrix
    names: list[str]
    obs: pd.DataFrame
    file: Path
    sample: str | None = None


def read_raw(manifest: RawManifest, dataset: Dataset) -> Iterator[RawCells]:
    """Read the cells of a dataset, one file at a time.

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
    suffixes, read = READERS[dataset.reader]
    for file in manifest.ending(*suffixes):
        cells = read(file.path)
        if dataset.values is not None:
            check_values(cells.matrix.data, dataset.values, file=file.path, field="X")
        yield replace(cells, sample=file.sample)


def annotate(cells: RawCells, dataset: Dataset) -> pd.DataFrame:
    """Find each cell's sample, label and malignancy, as the dataset's row says.

    Returns
    -------
    Columns sample (str), label (str; "" where there is none), is_malignant (int8: 1 tumour, 0 normal,
    -1 unknown); index as in `cells.obs`.

    Raises
    ------
    InputError
        If a column that the row names is missing; the message lists those there are.
    """
    n_cells = len(cells.obs)
    sample = pd.Series([cells.sample or dataset.dataset] * n_cells, index=cells.obs.index, dtype=object)
    if cells.sample is None and dataset.sample_column is not None:
        sample = _column(cells, dataset.sample_column, "sample_column", dataset)
    label = pd.Series([""] * n_cells, index=cells.obs.index, dtype=object)
    if dataset.label_column is not None:
        label = _column(cells, dataset.label_column, "label_column", dataset)
        label = label.where(~label.isin(NO_LABEL), "")
    if dataset.malignancy.startswith("obs:"):
        _, column, value = dataset.malignancy.split(":", 2)
        malignant = (_column(cells, column, "malignancy", dataset) == value).to_numpy().astype(np.int8)
    else:
        code = {"normal": 0, "tumour": 1, "unknown": -1}[dataset.malignancy]
        malignant = np.full(n_cells, code, dtype=np.int8)
    return pd.DataFrame({"sample": sample, "label": label, "is_malignant": malignant}, index=cells.obs.index)


def _column(cells: RawCells, column: str, setting: str, dataset: Dataset) -> pd.Series[Any]:
    if column not in cells.obs.columns:
        raise InputError(
            file=cells.file,
            field=f"obs column {column}",
            expected=f"the {setting} of {dataset.dataset} in config/datasets.tsv",
            found=f"the columns {', '.join(map(str, cells.obs.columns)) or '(none)'}",
            remedy=f"name one of these as {setting}, or write - for none",
        )
    return cells.obs[column].astype(str).astype(object)


def read_h5ad(path: Path) -> RawCells:
    """Read an AnnData file: X, `var_names`, `obs`.

    Where `var` has Ensembl ids beside the symbols, a name is `SYMBOL_ENSG…`: the id settles what a
    repeated or an ambiguous symbol leaves open.
    """
    cells = _anndata(path)
    names = [str(name) for name in cells.var_names]
    for column in GENE_ID_COLUMNS:
        if column in cells.var.columns:
            ids = cells.var[column].astype(str)
            names = [f"{name}_{i}" if i.startswith("ENSG") else name for name, i in zip(names, ids, strict=True)]
            break
    return RawCells(matrix=sparse.csr_matrix(cells.X), names=names, obs=cells.obs, file=path)


def read_pbmc68k_reduced(path: Path) -> RawCells:
    """Read the 700 PBMC that scanpy carries, and recover their whole counts.

    `raw.X` is ln(1 + 10,000 x count / n_counts) rounded to three decimals, n_counts being that of all
    genes. So a count is the whole number nearest to expm1(x) x n_counts / 10,000. It is accepted only
    if its own logarithm gives back every stored value to the three decimals, and if no value was
    further than 0.1 from a whole number (the largest distance is 0.082).
    """
    cells = _anndata(path)
    if cells.raw is None or "n_counts" not in cells.obs:
        raise InputError(
            file=path,
            field="raw, obs column n_counts",
            expected="raw.X and obs.n_counts, as scanpy carries them",
            found=f"{'no ' if cells.raw is None else ''}raw; obs columns {', '.join(map(str, cells.obs.columns))}",
            remedy="install the scanpy release of the lock file",
        )
    matrix = sparse.csr_matrix(cells.raw.X)
    stored = matrix.data.astype(np.float64)
    scale = np.repeat(cells.obs["n_counts"].to_numpy(dtype=np.float64), np.diff(matrix.indptr)) / 1e4
    exact = np.expm1(stored) * scale
    counts = np.rint(exact)
    furthest = float(np.abs(exact - counts).max())
    error = float(np.abs(np.log1p(counts / scale) - stored).max())
    # Half a unit of the third decimal, and what float32 adds to it.
    if furthest >= 0.1 or error > 0.0005 + 1e-6:
        raise InputError(
            file=path,
            field="raw.X",
            expected="ln(1 + 10,000 x count / obs.n_counts), rounded to 3 decimals",
            found=f"values up to {furthest:.3f} from a whole count, given back to {error:.4f}",
            remedy="install the scanpy release of the lock file, which carries the values this was written for",
        )
    whole = sparse.csr_matrix((counts.astype(np.int32), matrix.indices, matrix.indptr), shape=matrix.shape)
    names = [str(name) for name in cells.raw.var_names]
    return RawCells(matrix=whole, names=names, obs=cells.obs, file=path)


def read_panglaodb(path: Path) -> RawCells:
    """Read a PanglaoDB download: RData with `sm`, a dgCMatrix of genes x cells, rows `SYMBOL_ENSG….version`."""
    constructors = {**rdata.conversion.DEFAULT_CLASS_MAP, "dgCMatrix": _dgcmatrix}
    try:
        with warnings.catch_warnings():
            # Otherwise a file of any kind is taken for R's and fails somewhere within.
            warnings.filterwarnings("error", message="Unknown file type", category=UserWarning)
            objects = rdata.conversion.convert(rdata.parser.parse_file(path), constructors)
    except (OSError, ValueError, NotImplementedError, EOFError, UserWarning) as error:
        raise _unreadable(path, "an RData file", error) from None
    if not isinstance(objects.get("sm"), tuple):
        raise InputError(
            file=path,
            field="sm",
            expected="the sparse matrix sm (dgCMatrix), as in PanglaoDB's *.sparse.RData",
            found=f"the objects {', '.join(map(str, objects)) or '(none)'}",
            remedy="fetch the sample with filetype=R and datatype=readcounts",
        )
    genes_by_cells, names, barcodes = objects["sm"]
    cells_by_genes = sparse.csr_matrix(genes_by_cells.T)
    return RawCells(matrix=cells_by_genes, names=names, obs=pd.DataFrame(index=barcodes), file=path)


def _dgcmatrix(_: Any, attributes: Mapping[str, Any]) -> tuple[sparse.csc_matrix, list[str], list[str]]:  # noqa: ANN401
    """Build R's compressed-column matrix: x values, i row indices, p column starts, all counted from 0."""
    matrix = sparse.csc_matrix(
        (attributes["x"], attributes["i"], attributes["p"]),
        shape=tuple(int(n) for n in attributes["Dim"]),
    )
    rows, columns = attributes["Dimnames"]
    return matrix, [str(name) for name in rows], [str(name) for name in columns]


def read_zscore_table(path: Path) -> RawCells:
    """Read a table of z-scores, lines x genes: line names in the index, symbols as column names."""
    try:
        table = pd.read_parquet(path)
    except (OSError, ValueError) as error:
        raise _unreadable(path, "a parquet table, lines x genes", error) from None
    return RawCells(
        matrix=sparse.csr_matrix(table.to_numpy(dtype=np.float32)),
        names=[str(name) for name in table.columns],
        obs=pd.DataFrame(index=table.index.astype(str)),
        file=path,
    )


def _anndata(path: Path) -> ad.AnnData:
    try:
        with warnings.catch_warnings():
            # Repeated names are met where they matter: genes are summed, cells refused.
            warnings.filterwarnings("ignore", message=".* names are not unique", category=UserWarning)
            # Files of older AnnData releases are read all the same.
            warnings.simplefilter("ignore", ad.OldFormatWarning)
            warnings.filterwarnings("ignore", message="Moving element from", category=FutureWarning)
            return ad.read_h5ad(path)
    except (OSError, KeyError, ValueError) as error:
        raise _unreadable(path, "an h5ad file", error) from None


def _unreadable(path: Path, expected: str, error: Exception) -> InputError:
    return InputError(
        file=path,
        field="(whole file)",
        expected=expected,
        found=f"{type(error).__name__}: {error}",
        remedy="check the dataset's reader in config/datasets.tsv, then fetch the file again",
    )


READERS: dict[str, tuple[tuple[str, ...], Callable[[Path], RawCells]]] = {
    "h5ad": ((".h5ad",), read_h5ad),
    "pbmc68k_reduced": ((".h5ad",), read_pbmc68k_reduced),
    "panglaodb": ((".RData",), read_panglaodb),
    "zscore_table": ((".parquet",), read_zscore_table),
}
"""By name: the endings of the files that hold cells, and the function that reads one of them."""
