"""Cells on disk by the shard they will be in: added in any order, taken in the order of their places."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from celllm.corpus.format import CELLS

_SCHEMA: Final = CELLS.append(pa.field("place", pa.int64()))


class Buckets:
    """One bucket a shard; each is a file of Arrow streams, one behind the other.

    Parameters
    ----------
    folder
        Empty; holds one file a bucket.
    shard_cells
        Cell number n of the whole order is in bucket n // shard_cells.
    """

    def __init__(self, folder: Path, shard_cells: int) -> None:
        self._folder = folder
        self._shard_cells = shard_cells
        self.n_buckets = 0

    def add(self, places: NDArray[np.integer], cells: csr_matrix, table: pd.DataFrame) -> None:
        """Put cells into their buckets.

        Parameters
        ----------
        places
            Their numbers in the order of all cells.
        cells
            Their counts, cells x genes, int32, by gene.
        table
            What is known of them, with the columns of corpus.format.CELLS.
        """
        if not len(places):
            return
        bucket_of = places // self._shard_cells
        order = np.argsort(bucket_of, kind="stable")
        rows = pa.Table.from_pandas(table.assign(place=places.astype(np.int64)), _SCHEMA, preserve_index=False)
        rows, cells = rows.take(pa.array(order)), cells[order]
        ends = pa.array(cells.indptr.astype(np.int64))
        for name, values in (("genes", cells.indices.astype(np.uint16)), ("counts", cells.data.astype(np.int32))):
            rows = rows.append_column(name, pa.LargeListArray.from_arrays(ends, pa.array(values)))
        buckets, starts = np.unique(bucket_of[order], return_index=True)
        self.n_buckets = max(self.n_buckets, int(buckets[-1]) + 1)
        sizes = np.diff(starts, append=len(order))
        for bucket, start, size in zip(buckets.tolist(), starts.tolist(), sizes.tolist(), strict=True):
            with self._file(bucket).open("ab") as file, pa.ipc.new_stream(file, rows.schema) as stream:
                stream.write_table(rows.slice(start, size))

    def take(self, bucket: int) -> tuple[NDArray[np.int64], NDArray[np.uint16], NDArray[np.int32], pa.Table]:
        """Return a bucket in the order of places as indptr, genes, counts and table, and remove it."""
        tables = []
        path = self._file(bucket)
        size = path.stat().st_size
        with path.open("rb") as file:
            while file.tell() < size:
                with pa.ipc.open_stream(file) as stream:
                    tables.append(stream.read_all())
        path.unlink()
        rows = pa.concat_tables(tables).combine_chunks()
        order = np.argsort(rows["place"].to_numpy(), kind="stable")
        ends = rows["genes"].chunk(0).offsets.to_numpy()
        sizes = np.diff(ends)[order]
        indptr = np.concatenate([[0], np.cumsum(sizes)])
        starts = ends[order].tolist()
        genes, counts = (rows[name].chunk(0).values.to_numpy() for name in ("genes", "counts"))
        spans = [slice(start, start + size) for start, size in zip(starts, sizes.tolist(), strict=True)]
        known = rows.select(CELLS.names).take(pa.array(order))
        return indptr, np.concatenate([genes[s] for s in spans]), np.concatenate([counts[s] for s in spans]), known

    def _file(self, bucket: int) -> Path:
        return self._folder / f"{bucket}.arrows"
