"""Aligned cells of many datasets into shards, in one random order over all of them.

The order is drawn first, from the number of cells that stay. Then every cell goes to the bucket of its
shard, and each bucket is put in order by itself. Memory holds a piece of cells or one shard, and 4 bytes a cell.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from celllm.base.errors import InputError
from celllm.corpus import format as shards
from celllm.corpus.buckets import Buckets
from celllm.corpus.format import CELLS, LARGEST, DatasetShare, ShardManifest
from celllm.harmonise import cells as cells_file


@dataclass(frozen=True)
class Excluded:
    """Benchmark cells, which no encoder may be pretrained on."""

    ids: Collection[str]
    """Test cells of tasks whose data sets are in the corpus too."""
    hashes: Mapping[str, Collection[str]]
    """By data set: hashes of its benchmark cells. A cell of the corpus with the same counts is left out, whatever its
    name."""


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
    excluded: Excluded,
    shard_cells: int,
    seed: int,
    provenance: Mapping[str, Any],
) -> ShardManifest:
    """Write shards of at most `shard_cells` cells and, last of all, their manifest.

    Whatever an earlier run left beside the manifest is removed first. The sources are files of aligned cells on the gene
    axis of this digest and length; each is read twice, in pieces. The same sources in the same order and the same seed
    give the same files.

    Raises
    ------
    VocabularyMismatch
        If a source was aligned to another vocabulary.
    InputError
        If a source holds no counts, has more than 65,536 genes, brings a dataset twice, or if no cell is left.
    """
    manifest = Path(manifest)
    manifest.parent.mkdir(parents=True, exist_ok=True)
    shards.discard(manifest)
    ids, hashes = frozenset(excluded.ids), frozenset().union(*excluded.hashes.values())
    datasets: dict[str, DatasetShare] = {}
    is_kept = []
    for file in sources:
        name, share, kept = _survey(file, ids, hashes, vocabulary=vocabulary, n_genes=n_genes)
        if name in datasets:
            raise InputError(
                file=file,
                field="dataset",
                expected="each dataset once",
                found=f"{name} a second time",
                remedy="name it once in the config's corpus",
            )
        datasets[name] = share
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


def _survey(
    file: Path,
    ids: Collection[str],
    hashes: Collection[str],
    *,
    vocabulary: str,
    n_genes: int,
) -> tuple[str, DatasetShare, NDArray[np.bool_]]:
    """Check a source and decide which of its cells stay."""
    header = cells_file.header(file, vocabulary=vocabulary)
    _check(file, header, n_genes=n_genes)
    is_test, is_equal = [], []
    for obs in cells_file.obs_pieces(file):
        is_test.append(np.array([name in ids for name in obs.index], dtype=bool))
        is_equal.append(np.array([digest in hashes for digest in obs["cell_hash"]], dtype=bool))
    test, equal = np.concatenate(is_test), np.concatenate(is_equal)
    kept = ~(test | equal)
    share = DatasetShare(
        kept=int(kept.sum()),
        excluded_test=int(test.sum()),
        excluded_equal=int((equal & ~test).sum()),
        simulated=bool(header["simulated"]),
    )
    return str(header["dataset"]), share, kept


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


def _check(file: Path, header: Mapping[str, Any], *, n_genes: int) -> None:
    """Raise unless the cells are counts on an axis of the given length."""
    fault: tuple[str, str, str] | None = None
    if header["units"] != "counts":
        fault = ("units", "counts", str(header["units"]))
    elif header["n_genes"] != n_genes:
        fault = ("X", f"{n_genes} genes, as in the vocabulary", str(header["n_genes"]))
    elif n_genes > LARGEST + 1:
        fault = ("X", f"at most {LARGEST + 1} genes (shards hold 16 bits)", str(n_genes))
    if fault is not None:
        raise InputError(
            file=file,
            field=fault[0],
            expected=fault[1],
            found=fault[2],
            remedy="leave this dataset out of the config's corpus, or align it again",
        )
