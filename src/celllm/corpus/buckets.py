"""Cells on disk by the shard they will be in: added in any order, taken in the order of their places."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from celllm.corpus.format import CELLS

_DTYPES: Final[dict[str, np.dtype[Any]]] = {"genes": np.dtype(np.uint16), "counts": np.dtype(np.int32)}


class Piles:
    """One pile a shard.

    Parameters
    ----------
    folder
        Empty; holds four files a pile.
    shard_cells
        Cell number n of the whole order is in pile n // shard_cells.
    """

    def __init__(self, folder: Path, shard_cells: int) -> None:
        self._folder = folder
        self._shard_cells = shard_cells
        self.n_piles = 0

    def add(self, places: NDArray[np.integer], cells: csr_matrix, table: pd.DataFrame) -> None:
        """Put cells on their piles.

        Parameters
        ----------
        places
            Their numbers in the order of all cells.
        cells
            Their counts, cells x genes, int32, by gene.
        table
            What is known of them, with the columns of contracts.shards.CELLS.
        """
        if not len(places):
            return
        pile_of = places // self._shard_cells
        self.n_piles = max(self.n_piles, int(pile_of.max()) + 1)
        by_pile = np.argsort(pile_of, kind="stable")
        cells = cells[by_pile]
        known = pa.Table.from_pandas(table.assign(place=places.astype(np.int64)), _SCHEMA, preserve_index=False)
        known = known.take(pa.array(by_pile))
        sizes = np.diff(cells.indptr).astype(np.int32)
        parts = {"genes": cells.indices.astype(np.uint16), "counts": cells.data.astype(np.int32)}
        ends = np.flatnonzero(np.diff(pile_of[by_pile], append=-1)) + 1
        start = 0
        for end in ends.tolist():
            pile = int(pile_of[by_pile[start]])
            values = slice(cells.indptr[start], cells.indptr[end])
            for part, array in parts.items():
                self._append(pile, part, array[values].tobytes())
            self._append(pile, "sizes", sizes[start:end].tobytes())
            self._append_rows(pile, known.slice(start, end - start))
            start = end

    def take(self, pile: int) -> tuple[NDArray[np.int64], NDArray[np.uint16], NDArray[np.int32], pa.Table]:
        """Return a pile in the order of places as indptr, genes, counts and table, and remove it."""
        known = self._rows(pile)
        order = np.argsort(known["place"].to_numpy(), kind="stable")
        sizes = np.fromfile(self._file(pile, "sizes"), dtype=np.int32).astype(np.int64)
        starts = np.cumsum(sizes) - sizes
        indptr = np.concatenate([[0], np.cumsum(sizes[order])])
        spans = list(zip(starts[order].tolist(), (starts + sizes)[order].tolist(), strict=True))
        taken = {}
        for part, dtype in _DTYPES.items():
            stored = np.fromfile(self._file(pile, part), dtype=dtype)
            taken[part] = np.concatenate([stored[begin:end] for begin, end in spans])
            del stored
        for part in (*_DTYPES, "sizes", "rows"):
            self._file(pile, part).unlink()
        return indptr, taken["genes"], taken["counts"], known.take(pa.array(order)).select(CELLS.names)

    def _file(self, pile: int, part: str) -> Path:
        return self._folder / f"{pile}.{part}"

    def _append(self, pile: int, part: str, content: bytes) -> None:
        with self._file(pile, part).open("ab") as file:
            file.write(content)

    def _append_rows(self, pile: int, rows: pa.Table) -> None:
        """Append rows as an Arrow stream of their own; a pile's file is many streams in a row."""
        with self._file(pile, "rows").open("ab") as file, pa.ipc.new_stream(file, rows.schema) as stream:
            stream.write_table(rows)

    def _rows(self, pile: int) -> pa.Table:
        tables = []
        size = self._file(pile, "rows").stat().st_size
        with self._file(pile, "rows").open("rb") as file:
            while file.tell() < size:
                with pa.ipc.open_stream(file) as stream:
                    tables.append(stream.read_all())
        return pa.concat_tables(tables).combine_chunks()


_SCHEMA: Final = CELLS.append(pa.field("place", pa.int64()))
