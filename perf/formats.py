"""File formats for shards, against each other: `python perf/formats.py --json`.

The same simulated cells in every format, read in batches of 64 in random order into arrays of gene and count, files
in the page cache. `peer` is the format that was chosen; docs/decisions/0010 says why.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from scipy import sparse

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))

from line import line, show
from simulated import drawn_from, pool

BATCH = 64
N_SLOW = 10 * BATCH
"""Cells read in formats that unpack far more than a cell for each cell."""
ROWS_OF_A_GROUP = 1024
CHUNK = 65_536
Read = Callable[[NDArray[np.int64]], None]


def sliced(arrays: list[NDArray[np.generic]], indptr: list[int]) -> Read:
    """Return what reads a batch from two arrays by slices of them."""

    def read(batch: NDArray[np.int64]) -> None:
        rows = batch.tolist()
        for array, dtype in zip(arrays, (np.int32, np.float32), strict=True):
            np.concatenate([array[indptr[row] : indptr[row + 1]] for row in rows]).astype(dtype)

    return read


def write(folder: Path, cells: sparse.csr_matrix) -> None:
    """Write the cells in every format."""
    genes, counts = cells.indices.astype(np.uint16), cells.data.astype(np.uint16)
    np.save(folder / "genes.npy", genes)
    np.save(folder / "counts.npy", counts)
    np.save(folder / "counts8.npy", np.minimum(counts, 255).astype(np.uint8))
    ends = pa.array(cells.indptr.astype(np.int64))
    lists = [pa.LargeListArray.from_arrays(ends, pa.array(part)) for part in (genes, counts)]
    table = pa.table(lists, names=["genes", "counts"])
    with pa.OSFile(str(folder / "cells.arrow"), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)
    pq.write_table(table, folder / "cells.parquet", compression="zstd", row_group_size=ROWS_OF_A_GROUP)
    with h5py.File(folder / "cells.h5", "w") as file:
        for name, part in (("genes", genes), ("counts", counts)):
            file.create_dataset(name, data=part, chunks=(CHUNK,), compression="lzf")


def readers(folder: Path, indptr: list[int]) -> dict[str, tuple[Read, tuple[str, ...], bool]]:
    """Return by format: what reads a batch, the files it reads, and whether it is slow."""
    genes, counts, small = (
        np.asarray(np.load(folder / f"{name}.npy", mmap_mode="r")) for name in ("genes", "counts", "counts8")
    )
    table = pa.ipc.open_file(pa.memory_map(str(folder / "cells.arrow"))).read_all()
    buffers = [table[name].combine_chunks().values.to_numpy() for name in ("genes", "counts")]

    def arrow_take(batch: NDArray[np.int64]) -> None:
        taken = table.take(pa.array(batch))
        for name, dtype in (("genes", np.int32), ("counts", np.float32)):
            taken[name].combine_chunks().values.to_numpy().astype(dtype)

    def parquet(batch: NDArray[np.int64]) -> None:
        file = pq.ParquetFile(folder / "cells.parquet")
        for row in batch.tolist():
            file.read_row_group(row // ROWS_OF_A_GROUP).slice(row % ROWS_OF_A_GROUP, 1)

    def hdf5(batch: NDArray[np.int64]) -> None:
        with h5py.File(folder / "cells.h5") as file:
            for row in batch.tolist():
                for name in ("genes", "counts"):
                    file[name][indptr[row] : indptr[row + 1]]

    return {
        "memory_mapped_16_bit": (sliced([genes, counts], indptr), ("genes.npy", "counts.npy"), False),
        "memory_mapped_8_bit": (sliced([genes, small], indptr), ("genes.npy", "counts8.npy"), False),
        "arrow_slices": (sliced(buffers, indptr), ("cells.arrow",), False),
        "arrow_take": (arrow_take, ("cells.arrow",), False),
        "hdf5_lzf": (hdf5, ("cells.h5",), True),
        "parquet_zstd": (parquet, ("cells.parquet",), True),
    }


def rate(read: Read, order: NDArray[np.int64]) -> float:
    """Return the cells a second of one pass, after one pass that warms up."""
    batches = [order[start : start + BATCH] for start in range(0, len(order), BATCH)]
    read(batches[0])
    started = time.perf_counter()
    for batch in batches:
        read(batch)
    return len(order) / (time.perf_counter() - started)


def main() -> None:
    """Measure and print."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--json", action="store_true", help="one JSON object a line")
    options.add_argument("--cells", type=int, default=20_000, help="simulated cells")
    args = options.parse_args()
    cells = sparse.vstack(list(drawn_from(pool(), args.cells)), format="csr")
    order = np.random.default_rng(0).permutation(args.cells)
    chosen = 0.0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write(folder, cells)
        for form, (read, files, is_slow) in readers(folder, cells.indptr.tolist()).items():
            value = rate(read, order[:N_SLOW] if is_slow else order)
            chosen = chosen or value
            show(
                line(f"format_{form}", value, "cells/s", peer="memory_mapped_16_bit", ratio=value / chosen),
                as_json=args.json,
            )
            n_bytes = sum((folder / file).stat().st_size for file in files)
            show(line(f"format_{form}_bytes", n_bytes / cells.nnz, "bytes a non-zero"), as_json=args.json)


if __name__ == "__main__":
    main()
