"""The 700 real cells that scanpy carries, and tables of z-scores: small sources, read whole."""

from __future__ import annotations

from collections.abc import Iterator

import anndata as ad
import numpy as np
import pandas as pd
from scipy import sparse

from celllm.base.parquet import read_frame
from celllm.config.tables import Dataset
from celllm.sources.archives import unreadable
from celllm.sources.raw import RawManifest
from celllm.sources.readers.cells import RawCells, in_pieces
from celllm.sources.readers.h5ad import old_formats, opening

REMEDY = "install the scanpy release of the lock file, which carries the values this was written for"


def read_pbmc68k_reduced(manifest: RawManifest, _: Dataset) -> Iterator[RawCells]:
    """Read the 700 PBMC that scanpy carries, and recover their whole counts.

    `raw.X` is ln(1 + 10,000 x count / n_counts) rounded to three decimals, n_counts being that of all
    genes. So a count is the whole number nearest to expm1(x) x n_counts / 10,000. It is accepted only
    if its own logarithm gives back every stored value to the three decimals, and if no value was
    further than 0.1 from a whole number (the largest distance is 0.082).
    """
    (file,) = manifest.ending(".h5ad")
    path = file.path
    with opening(path), old_formats():
        cells = ad.read_h5ad(path)
    if cells.raw is None or "n_counts" not in cells.obs:
        found = f"{'no ' if cells.raw is None else ''}raw; obs columns {', '.join(map(str, cells.obs.columns))}"
        expected, field = "raw.X and obs.n_counts, as scanpy carries them", "raw, obs column n_counts"
        raise unreadable(path, expected, found, field=field, remedy=REMEDY)
    matrix = sparse.csr_matrix(cells.raw.X)
    stored = matrix.data.astype(np.float64)
    scale = np.repeat(cells.obs["n_counts"].to_numpy(dtype=np.float64), np.diff(matrix.indptr)) / 1e4
    exact = np.expm1(stored) * scale
    counts = np.rint(exact)
    furthest = float(np.abs(exact - counts).max())
    error = float(np.abs(np.log1p(counts / scale) - stored).max())
    # Half a unit of the third decimal, and what float32 adds to it.
    if furthest >= 0.1 or error > 0.0005 + 1e-6:
        found = f"values up to {furthest:.3f} from a whole count, given back to {error:.4f}"
        expected = "ln(1 + 10,000 x count / obs.n_counts), rounded to 3 decimals"
        raise unreadable(path, expected, found, field="raw.X", remedy=REMEDY)
    whole = sparse.csr_matrix((counts.astype(np.int32), matrix.indices, matrix.indptr), shape=matrix.shape)
    names = [str(name) for name in cells.raw.var_names]
    yield from in_pieces(RawCells.of(file, whole, names, cells.obs))


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
