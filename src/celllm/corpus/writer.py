"""Aligned cells of many datasets into shards, in one random order over all of them.

The order is drawn first, from the number of cells that stay. Then every cell goes to the bucket of its
shard, and each bucket is put in order by itself. Memory holds a piece of cells or one shard, and 4 bytes a cell.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from celllm.base.errors import InputError
from celllm.corpus import format as shards
from celllm.corpus.format import CELLS, LARGEST, DatasetShare, ShardManifest
from celllm.harmonise import cells as cells_file

_BUCKET: Final = CELLS.append(pa.field("place", pa.int64()))


def benchmark_hashes(files: Sequence[Path], corpus: Sequence[Path], tested: Collection[str]) -> dict[str, set[str]]:
    """Collect, by dataset, the hashes of benchmark cells.

    Of a dataset that is in the corpus too these are its test cells only, else the corpus could not hold it.
    """
    own = {file.resolve() for file in corpus}
    found: dict[str, set[str]] = {}
    for file in files:
        hashes = found.setdefault(str(cells_file.header(file)["dataset"]), set())
        for obs in cells_file.obs_pieces(file):
            chosen = obs[obs.index.isin(tested)] if file.resolve() in own else obs
            hashes.update(chosen["cell_hash"])
    return found


def write(
    sources: Sequence[Path],
    manifest: Path | str,
    *,
    vocabulary: str,
    n_genes: int,
    tested: Collection[str],
    hashes: Mapping[str, Collection[str]],
    shard_cells: int,
    seed: int,
    provenance: Mapping[str, Any],
) -> ShardManifest:
    """Write shards of at most `shard_cells` cells and, last of all, their manifest.

    Whatever an earlier run left beside the manifest is removed first. The same sources in the same order and the same
    seed give the same files.

    Sources are files of aligned cells on a gene axis of this digest and length; each is read twice, in pieces.
    Benchmark cells are left out and counted: test cells by their ids (`tested`); and, by data set, cells whose counts
    no cell of the corpus may have, whatever its name, by their hashes.

    VocabularyMismatch if a source was aligned to another vocabulary; InputError if it holds no counts, has more than
    65,536 genes, brings a dataset twice, or if no cell is left.
    """
    manifest = Path(manifest)
    manifest.parent.mkdir(parents=True, exist_ok=True)
    shards.discard(manifest)
    equal: frozenset[str] = frozenset().union(*hashes.values())
    datasets: dict[str, DatasetShare] = {}
    is_kept = []
    for file in sources:
        header = cells_file.header(file, vocabulary=vocabulary)
        name = str(header["dataset"])
        _check(file, header, n_genes=n_genes, is_repeated=name in datasets)
        datasets[name], kept = _survey(file, tested, equal, simulated=bool(header["simulated"]))
        is_kept.append(kept)
    places = _places(sum(share["kept"] for share in datasets.values()), seed, manifest)
    with _scratch(manifest.parent) as folder:
        buckets = Buckets(folder, shard_cells)
        start = 0
        for file, name, kept in zip(sources, datasets, is_kept, strict=True):
            start += _fill(buckets, file, name, kept, places[start:])
        entries = []
        for number in range(buckets.n_buckets):
            indptr, genes, counts, cells = buckets.take(number)
            shard = shards.shard_of(indptr, genes, counts)
            entries.append(shards.write_shard(manifest, f"shard-{number:05d}", shard, cells))
    written = ShardManifest(
        vocabulary=vocabulary,
        n_genes=n_genes,
        n_cells=len(places),
        n_nonzero=sum(entry.n_nonzero for entry in entries),
        datasets=datasets,
        shards=tuple(entries),
        provenance=provenance,
    )
    shards.write(written, manifest)
    return written


def _check(file: Path, header: Mapping[str, Any], *, n_genes: int, is_repeated: bool) -> None:
    """Raise unless the cells are counts on an axis of the given length, of a data set not yet met."""
    fault: tuple[str, str, str] | None = None
    if header["units"] != "counts":
        fault = ("units", "counts", str(header["units"]))
    elif header["n_genes"] != n_genes:
        fault = ("X", f"{n_genes} genes, as in the vocabulary", str(header["n_genes"]))
    elif n_genes > LARGEST + 1:
        fault = ("X", f"at most {LARGEST + 1} genes (shards hold 16 bits)", str(n_genes))
    elif is_repeated:
        fault = ("dataset", "each dataset once", f"{header['dataset']} a second time")
    if fault is not None:
        remedy = "leave this dataset out of the config's corpus, or align it again"
        raise InputError(file=file, field=fault[0], expected=fault[1], found=fault[2], remedy=remedy)


def _survey(
    file: Path, tested: Collection[str], equal: Collection[str], *, simulated: bool
) -> tuple[DatasetShare, NDArray[np.bool_]]:
    """Decide which cells of a source stay."""
    pieces = list(cells_file.obs_pieces(file))
    is_test = np.concatenate([obs.index.isin(tested) for obs in pieces])
    is_equal = np.concatenate([obs["cell_hash"].isin(equal) for obs in pieces])
    kept = ~(is_test | is_equal)
    share = DatasetShare(
        kept=int(kept.sum()),
        excluded_test=int(is_test.sum()),
        excluded_equal=int((is_equal & ~is_test).sum()),
        simulated=simulated,
    )
    return share, kept


def _places(n_cells: int, seed: int, manifest: Path) -> NDArray[np.uint32]:
    """Draw the place of every cell in the order of all shards."""
    if n_cells == 0:
        raise InputError(
            file=manifest,
            field="cells",
            expected="at least one cell",
            found="none that is in no test set",
            remedy="add a dataset without test cells to the config's corpus",
        )
    places = np.arange(n_cells, dtype=np.uint32)
    np.random.default_rng(seed).shuffle(places)
    return places


def _fill(buckets: Buckets, file: Path, dataset: str, kept: NDArray[np.bool_], places: NDArray[np.uint32]) -> int:
    """Put a source's kept cells into the buckets of their places; return how many there are."""
    row = n_filled = 0
    for matrix, obs in cells_file.pieces(file):
        chosen = np.flatnonzero(kept[row : row + len(obs)])
        row += len(obs)
        cells = csr_matrix(matrix if len(chosen) == len(obs) else matrix[chosen])
        cells.eliminate_zeros()
        cells.sort_indices()
        table = obs.iloc[chosen].assign(dataset=dataset).rename_axis("cell_id").reset_index()
        buckets.add(places[n_filled : n_filled + len(chosen)], cells, table[CELLS.names])
        n_filled += len(chosen)
    return n_filled


@contextmanager
def _scratch(folder: Path) -> Iterator[Path]:
    """Yield a folder for the buckets; those of killed runs are removed first."""
    for abandoned in folder.glob(".buckets-*"):
        shutil.rmtree(abandoned)
    with tempfile.TemporaryDirectory(prefix=".buckets-", dir=folder) as scratch:
        yield Path(scratch)


class Buckets:
    """Cells on disk by the shard they will be in; each bucket is a file of Arrow streams, one behind the other.

    Cell number n of the whole order is in bucket n // shard_cells.
    """

    def __init__(self, folder: Path, shard_cells: int) -> None:
        self._folder = folder
        self._shard_cells = shard_cells
        self.n_buckets = 0

    def add(self, places: NDArray[np.integer], cells: csr_matrix, table: pd.DataFrame) -> None:
        """Put cells, with their places in the order of all and the columns of CELLS, into their buckets."""
        if not len(places):
            return
        bucket_of = places // self._shard_cells
        order = np.argsort(bucket_of, kind="stable")
        rows = pa.Table.from_pandas(table.assign(place=places.astype(np.int64)), _BUCKET, preserve_index=False)
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
        rows = pa.concat_tables(tables)
        rows = rows.take(pa.array(np.argsort(rows["place"].to_numpy(), kind="stable"))).combine_chunks()
        genes, counts = (rows[name].combine_chunks() for name in ("genes", "counts"))
        return genes.offsets.to_numpy(), genes.values.to_numpy(), counts.values.to_numpy(), rows.select(CELLS.names)

    def _file(self, bucket: int) -> Path:
        return self._folder / f"{bucket}.arrows"
