"""How fast cells come out of the shards in random order: `python perf/loader.py --json`.

All contenders give the same cells, 64 at a time, as CSR matrices of float32, from files in the page cache. Peers
read an uncompressed h5ad file of the same cells in the same (shuffled) order, the layout that suits them best.
Simulated cells at the sparsity of the paper's corpus. Everyone reads in one thread, without reading ahead.
"""

from __future__ import annotations

import itertools
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import anndata as ad
import numpy as np
from line import in_turn, line, options, show
from scipy import sparse
from simulated import simulated_vocabulary, write_shards

from celllm.config.recipe_encoder import TokenSettings
from celllm.corpus.reader import ShardReader
from celllm.corpus.sampler import BatchSampler
from celllm.corpus.tokens import tokenise

BATCH = 64


def write_h5ad(manifest: Path) -> Path:
    """Write the cells of the shards as an h5ad file, in the same order."""
    reader = ShardReader(manifest)
    cells = ad.AnnData(reader.rows(np.arange(reader.n_cells)))
    cells.write_h5ad(manifest.with_name("same_order.h5ad"))
    return manifest.with_name("same_order.h5ad")


def cells_per_s(batches: Iterator[sparse.csr_matrix], n_batches: int) -> float:
    """Take batches, touch what they hold, and return cells a second."""
    next(batches)
    started = time.perf_counter()
    n_cells = touched = 0
    for batch in itertools.islice(batches, n_batches):
        n_cells += batch.shape[0]
        touched += int(batch.indices[-1]) + int(batch.data[-1])
    assert touched > 0
    return n_cells / (time.perf_counter() - started)


def ours(reader: ShardReader) -> Iterator[sparse.csr_matrix]:
    """Read batches in a random order of all cells."""
    yield from map(reader.rows, BatchSampler(reader.n_cells, BATCH, seed=0))


def backed(path: Path) -> Iterator[sparse.csr_matrix]:
    """Read an h5ad file in backed mode, row by row, as a plain data set class does."""
    cells = ad.read_h5ad(path, backed="r")
    matrix = cells.X
    order = np.random.default_rng(0).permutation(cells.n_obs)
    for start in itertools.count(0, BATCH):
        rows = order[start % (cells.n_obs - BATCH) :][:BATCH]
        yield sparse.vstack([matrix[int(row)] for row in rows], format="csr")


def scdataset(path: Path, block_cells: int) -> Iterator[sparse.csr_matrix]:
    """Read an h5ad file through scDataset, 16 batches at once, in random blocks of so many neighbouring cells."""
    from scdataset import BlockShuffling, scDataset
    from torch.utils.data import DataLoader

    cells = ad.read_h5ad(path, backed="r")
    data = scDataset(
        cells,
        BlockShuffling(block_size=block_cells),
        batch_size=BATCH,
        fetch_factor=16,
        fetch_callback=lambda collection, rows: collection[rows].to_memory().X,
    )
    while True:
        yield from DataLoader(data, batch_size=None)


def tokens_per_s(reader: ShardReader, n_batches: int) -> float:
    """Return cells a second with the tokens of the paper's recipe made of them, on one core."""
    rule = TokenSettings(max_length=6000)
    batches = ours(reader)
    next(batches)
    started = time.perf_counter()
    for cells in itertools.islice(batches, n_batches):
        tokenise(cells, rule)
    return n_batches * BATCH / (time.perf_counter() - started)


def figures(folder: Path, n_cells: int) -> Iterator[dict[str, Any]]:
    """Yield rates, alone and beside the peers."""
    manifest = write_shards(folder, n_cells, simulated_vocabulary())
    h5ad, reader = write_h5ad(manifest), ShardReader(manifest)

    def against(other: Callable[[], Iterator[sparse.csr_matrix]], n_batches: int, repeats: int) -> tuple[float, ...]:
        return in_turn(
            lambda: cells_per_s(ours(reader), 1500),
            lambda: cells_per_s(other(), n_batches),
            repeats,
            warm_up=False,
        )

    rate = float(np.median([cells_per_s(ours(reader), 1500) for _ in range(5)]))
    yield line("loader_cells_per_s", rate, "cells/s", at_least=50_000)
    rate, slow, ratio = against(lambda: backed(h5ad), 5, 3)
    peer = f"anndata {ad.__version__}, backed, row by row: {slow:.0f} cells/s"
    yield line("loader_vs_backed_h5ad", rate, "cells/s", peer=peer, ratio=ratio, at_least=50)
    # larger blocks are no random order of cells
    for name, block_cells, bar in (("loader_vs_scdataset", 1, 10), ("loader_vs_scdataset_blocks", 16, None)):
        if find_spec("scdataset") is None:
            yield line(name, rate, "cells/s", peer="scdataset is not installed")
            continue
        rate, theirs, ratio = against(lambda size=block_cells: scdataset(h5ad, size), 100, 5)
        peer = f"scdataset {metadata.version('scdataset')}, blocks of {block_cells}: {theirs:.0f} cells/s"
        yield line(name, rate, "cells/s", peer=peer, ratio=ratio, at_least=bar)
    yield line("loader_tokens_cells_per_s", tokens_per_s(reader, 300), "cells/s")


def main() -> None:
    parser = options(__doc__)
    parser.add_argument("--cells", type=int, default=50_000, help="simulated cells on disk")
    parser.add_argument("--folder", type=Path, help="where to put them; default: the system's temporary folder")
    args = parser.parse_args()
    warnings.filterwarnings("ignore")
    with tempfile.TemporaryDirectory(dir=args.folder) as name:
        show(figures(Path(name), args.cells), as_json=args.json)


if __name__ == "__main__":
    main()
