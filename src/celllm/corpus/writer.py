"""Aligned cells into shards: each data set by itself and in one pass, then all of them joined in one random order.

Writing holds one shard in memory. Joining reads no cell; it draws the order, 8 bytes a cell.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from celllm.base.errors import InputError, VocabularyMismatch
from celllm.corpus import format as shards
from celllm.corpus.format import CELLS, LARGEST, REMEDY, DatasetShare, ShardManifest
from celllm.harmonise import cells as cells_file


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
    source: Path,
    manifest: Path | str,
    *,
    vocabulary: str,
    n_genes: int,
    tested: Collection[str],
    hashes: Mapping[str, Collection[str]],
    shard_cells: int,
    provenance: Mapping[str, Any],
) -> ShardManifest:
    """Write a data set's shards, each of what stays of `shard_cells` cells, and, last of all, their manifest.

    Whatever an earlier run left beside the manifest is removed first. The source is a file of aligned cells on a gene
    axis of this digest and length. Benchmark cells are left out and counted: test cells by their ids (`tested`); and,
    by data set, cells whose counts no cell of the corpus may have, whatever its name, by their hashes.

    VocabularyMismatch if the source was aligned to another vocabulary; InputError if it holds no counts, or has more
    than 65,536 genes.
    """
    manifest = Path(manifest)
    manifest.parent.mkdir(parents=True, exist_ok=True)
    shards.discard(manifest)
    header = cells_file.header(source, vocabulary=vocabulary)
    _check(source, header, n_genes=n_genes)
    dataset, equal = str(header["dataset"]), frozenset[str]().union(*hashes.values())
    share = DatasetShare(kept=0, excluded_test=0, excluded_equal=0, simulated=bool(header["simulated"]))
    entries = []
    for number, (matrix, obs) in enumerate(cells_file.pieces(source, size=shard_cells)):
        is_test, is_equal = obs.index.isin(tested), obs["cell_hash"].isin(equal).to_numpy()
        kept = np.flatnonzero(~(is_test | is_equal))
        share["kept"] += len(kept)
        share["excluded_test"] += int(is_test.sum())
        share["excluded_equal"] += int((is_equal & ~is_test).sum())
        if len(kept):
            cells = csr_matrix(matrix if len(kept) == len(obs) else matrix[kept])
            cells.eliminate_zeros()
            cells.sort_indices()
            shard = shards.shard_of(cells.indptr, cells.indices, cells.data)
            table = obs.iloc[kept].assign(dataset=dataset).rename_axis("cell_id").reset_index()[CELLS.names]
            rows = pa.Table.from_pandas(table, CELLS, preserve_index=False)
            entries.append(shards.write_shard(manifest, f"shard-{number:05d}", shard, rows))
    written = ShardManifest(
        vocabulary=vocabulary,
        n_genes=n_genes,
        n_cells=share["kept"],
        n_nonzero=sum(entry.n_nonzero for entry in entries),
        datasets={dataset: share},
        shards=tuple(entries),
        provenance=provenance,
    )
    shards.write(written, manifest)
    return written


def join(parts: Sequence[Path], manifest: Path | str, *, seed: int, provenance: Mapping[str, Any]) -> ShardManifest:
    """Join the shards of data sets, which stay where they are, into a corpus in one random order over all its cells.

    The same parts in the same order and the same seed give the same corpus.

    VocabularyMismatch if parts are of different genes; InputError if one is missing or broken, brings a dataset twice,
    or if no cell is left.
    """
    manifest = Path(manifest)
    manifest.parent.mkdir(parents=True, exist_ok=True)
    shards.discard(manifest)
    datasets: dict[str, DatasetShare] = {}
    entries = []
    first = shards.read(parts[0])
    for file in parts:
        part = shards.read(file)
        if part.vocabulary != first.vocabulary:
            raise VocabularyMismatch(file=file, found=part.vocabulary, expected=first.vocabulary, remedy=REMEDY)
        for name in part.datasets.keys() & datasets.keys():
            expected, found = "each dataset once", f"{name} a second time"
            remedy = "leave one of them out of the config's corpus"
            raise InputError(file=file, field="dataset", expected=expected, found=found, remedy=remedy)
        datasets |= part.datasets
        folder = Path(os.path.relpath(Path(file).parent, manifest.parent))
        entries += [replace(entry, name=(folder / entry.name).as_posix()) for entry in part.shards]
    n_cells = sum(share["kept"] for share in datasets.values())
    order = shards.write_order(manifest, _order(n_cells, seed, manifest))
    written = replace(
        first,
        n_cells=n_cells,
        n_nonzero=sum(entry.n_nonzero for entry in entries),
        datasets=datasets,
        shards=tuple(entries),
        provenance=provenance,
        order=order,
    )
    shards.write(written, manifest)
    return written


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
        remedy = "leave this dataset out of the config's corpus, or align it again"
        raise InputError(file=file, field=fault[0], expected=fault[1], found=fault[2], remedy=remedy)


def _order(n_cells: int, seed: int, manifest: Path) -> NDArray[np.uint32]:
    """Draw which cell of the shards comes when: the inverse of a place drawn for each."""
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
    order = np.empty_like(places)
    for start in range(0, n_cells, 1 << 20):
        stop = min(start + (1 << 20), n_cells)
        order[places[start:stop]] = np.arange(start, stop, dtype=np.uint32)
    return order
