"""Pretraining cells by number, from memory-mapped shards."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import csr_matrix

from celllm.base.errors import VocabularyMismatch
from celllm.corpus import format as shards
from celllm.corpus.format import LARGEST, DatasetShare
from celllm.harmonise.vocabulary import Vocabulary


class ShardReader:
    """All shards of a manifest as one matrix, of which only the rows asked for are read.

    InputError if the manifest or a shard is missing, or a shard has another size than the manifest says.
    """

    def __init__(self, manifest: Path | str) -> None:
        self.path = Path(manifest)
        self._manifest = shards.read(self.path)
        self.n_cells, self.n_genes = self._manifest.n_cells, self._manifest.n_genes
        self.vocabulary = self._manifest.vocabulary
        """Digest of the gene axis."""
        self.digest = self._manifest.digest
        """Of the shards' content; it does not change when equal shards are written again."""
        self.datasets: dict[str, DatasetShare] = self._manifest.datasets
        """By dataset: what became of its cells."""
        self._order = np.arange(self.n_cells, dtype=np.uint32)
        if self._manifest.order is not None:
            self._order = shards.open_order(self.path).view(np.ndarray)
        opened = [shards.open_shard(self.path, entry) for entry in self._manifest.shards]
        # Plain views: a slice of an np.memmap costs many times as much.
        self._genes = [shard.genes.view(np.ndarray) for shard in opened]
        self._counts = [shard.counts.view(np.ndarray) for shard in opened]
        self._large = [np.array(shard.large) for shard in opened]
        self._has_large = any(len(large) for large in self._large)
        self._starts = np.cumsum([0, *(entry.n_cells for entry in self._manifest.shards)])
        # 4 bytes a cell: where it begins in its shard; a shard has one more entry than cells.
        self._begins = np.concatenate([shard.indptr.astype(np.uint32) for shard in opened])

    @cached_property
    def cells(self) -> pd.DataFrame:
        """Columns of corpus.format.CELLS; one row a cell, in the order of `rows`."""
        return self._table()

    @cached_property
    def is_malignant(self) -> NDArray[np.int8]:
        """For each cell 1 tumour, 0 normal, -1 unknown."""
        return self._table(["is_malignant"])["is_malignant"].to_numpy(dtype=np.int8)

    @cached_property
    def dataset(self) -> pd.Categorical[str]:
        """Name of each cell's dataset."""
        return pd.Categorical(self._table(["dataset"])["dataset"], categories=list(self.datasets))

    def groups(self, of: Literal["dataset", "sample"]) -> NDArray[np.int64]:
        """Return a number for each cell's data set, or sample of a data set."""
        columns = ["dataset"] if of == "dataset" else ["dataset", "sample"]
        return np.asarray(self._table(columns).groupby(columns, dropna=False).ngroup(), dtype=np.int64)

    def _table(self, columns: list[str] | None = None) -> pd.DataFrame:
        tables = [shards.read_cells(self.path, entry, columns) for entry in self._manifest.shards]
        return pd.concat(tables, ignore_index=True).take(self._order).reset_index(drop=True)

    def names(self, indices: ArrayLike) -> list[str]:
        """Return the ids of some cells, in the order asked for."""
        return [str(name) for name in self.cells["cell_id"].to_numpy()[np.asarray(indices)]]

    def rows(self, indices: ArrayLike) -> csr_matrix:
        """Read the counts, float32, of cells in the order asked for; a number may come twice.

        IndexError if one is not in 0…n_cells-1.
        """
        asked = np.asarray(indices, dtype=np.int64)
        if len(asked) and (asked.min() < 0 or asked.max() >= self.n_cells):
            msg = f"cells are numbered 0 to {self.n_cells - 1}, got {asked.min()} to {asked.max()}"
            raise IndexError(msg)
        asked = self._order[asked].astype(np.int64)
        of_shard = np.searchsorted(self._starts, asked, side="right") - 1
        begins = self._begins[asked + of_shard].astype(np.int64)
        ends = self._begins[asked + of_shard + 1].astype(np.int64)
        # A cell is one run of bytes: slices cost far less than gathering number by number.
        runs = list(zip(of_shard.tolist(), begins.tolist(), ends.tolist(), strict=True))
        genes = _joined([self._genes[shard][begin:end] for shard, begin, end in runs], np.int32)
        counts = _joined([self._counts[shard][begin:end] for shard, begin, end in runs], np.float32)
        indptr = np.concatenate([[0], np.cumsum(ends - begins)]).astype(np.int32)
        if self._has_large and counts.max(initial=0) >= LARGEST:
            for row, run in enumerate(runs):
                self._widen(counts[indptr[row] : indptr[row + 1]], *run)
        # Filled in after construction, which would look through all numbers for the largest index.
        cells = csr_matrix((len(asked), self.n_genes), dtype=np.float32)
        cells.data, cells.indices, cells.indptr = counts, genes, indptr
        return cells

    def _widen(self, counts: NDArray[np.float32], shard: int, begin: int, end: int) -> None:
        """Put in the counts of a cell that do not fit into 16 bits."""
        places, large = self._large[shard].T
        first, last = np.searchsorted(places, (begin, end))
        counts[places[first:last] - begin] = large[first:last]


def _joined(runs: list[NDArray[np.uint16]], dtype: type[np.generic]) -> NDArray[Any]:
    return np.concatenate(runs, dtype=dtype) if runs else np.empty(0, dtype=dtype)


def cells_of(manifest: Path, genes: Vocabulary) -> ShardReader:
    """Open the pretraining cells; VocabularyMismatch if they are of other genes."""
    cells = ShardReader(manifest)
    if cells.vocabulary != genes.digest:
        raise VocabularyMismatch(
            file=manifest,
            found=cells.vocabulary,
            expected=genes.digest,
            remedy="rebuild the shards: snakemake --forcerun write_shards",
        )
    return cells
