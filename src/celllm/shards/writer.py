"""Aligned cells of many datasets into shards, in one random order over all of them.

Cells first go to a spill file in the order they come, then each shard collects its own: memory holds one
dataset or one shard, never the corpus.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import IO, Any

import anndata as ad
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from celllm.contracts import shards
from celllm.contracts.shards import CELL_COLUMNS, LARGEST, DatasetShare, Shard, ShardEntry, ShardManifest
from celllm.errors import InputError, VocabularyMismatch


def write(
    sources: Iterable[tuple[Path | str, ad.AnnData]],
    manifest: Path | str,
    *,
    vocabulary: str,
    n_genes: int,
    excluded: Collection[str],
    shard_cells: int,
    seed: int,
    provenance: Mapping[str, Any],
) -> ShardManifest:
    """Write shards of at most `shard_cells` cells and, last of all, their manifest.

    Whatever an earlier run left beside the manifest is removed first.

    Parameters
    ----------
    sources
        Aligned cells with the file they were read from; taken one at a time.
    manifest
        Where the manifest is to stand; the shards lie beside it.
    vocabulary, n_genes
        Digest and length of the gene axis that all sources must have.
    excluded
        Ids of test cells; they are left out and counted.
    shard_cells
        Cells in a shard; the last one may have fewer.
    seed
        Of the order over all cells. The same sources in the same order and the same seed give the same files.
    provenance
        Kept in the manifest.

    Raises
    ------
    VocabularyMismatch
        If a source was aligned to another vocabulary.
    InputError
        If a source holds no counts, has more than 65,536 genes, brings a dataset or cell twice, or if no cell is left.
    """
    manifest = Path(manifest)
    manifest.parent.mkdir(parents=True, exist_ok=True)
    shards.discard(manifest)
    for abandoned in manifest.parent.glob(".spill-*"):  # of a run that was killed
        shutil.rmtree(abandoned)
    with tempfile.TemporaryDirectory(prefix=".spill-", dir=manifest.parent) as folder:
        spill = _Spill(Path(folder))
        with spill:
            for file, cells in sources:
                _check(file, cells, vocabulary=vocabulary, n_genes=n_genes)
                spill.add(file, cells, excluded)
        cells_N = spill.cells(manifest)
        order = np.random.default_rng(seed).permutation(len(cells_N))
        entries = [
            _write_shard(manifest, number, spill, cells_N, order[start : start + shard_cells])
            for number, start in enumerate(range(0, len(order), shard_cells))
        ]
    written = ShardManifest(
        vocabulary=vocabulary,
        n_genes=n_genes,
        n_cells=len(cells_N),
        n_nonzero=sum(entry.n_nonzero for entry in entries),
        datasets=spill.datasets,
        shards=tuple(entries),
        provenance=provenance,
    )
    shards.write(written, manifest)
    return written


class _Spill:
    """The kept cells of all sources in the order they came, on disk."""

    def __init__(self, folder: Path) -> None:
        self.datasets: dict[str, DatasetShare] = {}
        self._files = {"genes": folder / "genes", "counts": folder / "counts"}
        self._open: dict[str, IO[bytes]] = {}
        self._sizes: list[NDArray[np.int64]] = []
        self._tables: list[pd.DataFrame] = []

    def __enter__(self) -> None:
        self._open = {part: file.open("wb") for part, file in self._files.items()}

    def __exit__(self, *_: object) -> None:
        for file in self._open.values():
            file.close()

    def add(self, file: Path | str, cells: ad.AnnData, excluded: Collection[str]) -> None:
        """Append a source's cells that are not excluded; InputError names `file`."""
        dataset = str(cells.uns["dataset"])
        if dataset in self.datasets:
            raise InputError(
                file=file,
                field="dataset",
                expected="each dataset once",
                found=f"{dataset} a second time",
                remedy="name it once in the config's corpus",
            )
        keep = ~cells.obs_names.isin(list(excluded))
        matrix = csr_matrix(cells.X[keep])
        matrix.eliminate_zeros()
        matrix.sort_indices()
        self._open["genes"].write(matrix.indices.astype(np.uint16).tobytes())
        self._open["counts"].write(matrix.data.astype(np.uint32).tobytes())
        self._sizes.append(np.diff(matrix.indptr).astype(np.int64))
        table = cells.obs.loc[keep].assign(cell_id=cells.obs_names[keep], dataset=dataset)
        self._tables.append(table[list(CELL_COLUMNS)].reset_index(drop=True))
        self.datasets[dataset] = {
            "kept": int(keep.sum()),
            "excluded_test": int((~keep).sum()),
            "simulated": bool(cells.uns["simulated"]),
        }

    def cells(self, manifest: Path) -> pd.DataFrame:
        """Return what is known of all cells; InputError if there are none or one comes twice."""
        table = pd.concat(self._tables, ignore_index=True) if self._tables else pd.DataFrame(columns=["cell_id"])
        twice = table["cell_id"][table["cell_id"].duplicated()]
        if table.empty or len(twice):
            raise InputError(
                file=manifest,
                field="cells",
                expected="at least one cell, and each once",
                found=f"{twice.iloc[0]} twice" if len(twice) else "none that is in no test set",
                remedy="add a dataset without test cells to the config's corpus",
            )
        return table

    def rows(self, indices: NDArray[np.int64]) -> Shard:
        """Collect cells by their place in the spill, in the order asked for."""
        sizes = np.concatenate(self._sizes)
        starts = np.cumsum(sizes) - sizes
        wanted = sizes[indices]
        indptr = np.concatenate([[0], np.cumsum(wanted)])
        at = np.repeat(starts[indices] - indptr[:-1], wanted) + np.arange(indptr[-1])
        # a file of no bytes cannot be mapped: cells may be kept that have no count at all
        genes, counts = (
            np.memmap(self._files[part], dtype=dtype, mode="r")
            if self._files[part].stat().st_size
            else np.empty(0, dtype=dtype)
            for part, dtype in (("genes", np.uint16), ("counts", np.uint32))
        )
        return Shard(indptr=indptr, genes=genes[at], counts=counts[at])


def _write_shard(
    manifest: Path,
    number: int,
    spill: _Spill,
    cells: pd.DataFrame,
    indices: NDArray[np.int64],
) -> ShardEntry:
    return shards.write_shard(manifest, f"shard-{number:05d}", spill.rows(indices), cells.iloc[indices])


def _check(file: Path | str, cells: ad.AnnData, *, vocabulary: str, n_genes: int) -> None:
    """Raise unless the cells are counts on the given axis."""
    if cells.uns["vocabulary"] != vocabulary:
        raise VocabularyMismatch(
            file=file,
            found=str(cells.uns["vocabulary"]),
            expected=vocabulary,
            remedy="align it again: snakemake --forcerun align_cells",
        )
    fault: tuple[str, str, str] | None = None
    if cells.uns["values"] != "counts":
        fault = ("values", "counts", str(cells.uns["values"]))
    elif cells.n_vars != n_genes:
        fault = ("X", f"{n_genes} genes, as in the vocabulary", str(cells.n_vars))
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
