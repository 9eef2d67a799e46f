"""Pretraining cells by number, from memory-mapped shards."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import csr_matrix

from celllm.contracts import shards
from celllm.contracts.shards import DatasetShare


class ShardReader:
    """All shards of a manifest as one matrix, of which only the rows asked for are read.

    Parameters
    ----------
    manifest
        The manifest's path. InputError if it or a shard is missing, or a shard has another size.
    """

    def __init__(self, manifest: Path | str) -> None:
        self.path = Path(manifest)
        self._manifest = shards.read(self.path)
        self._shards = [shards.open_shard(self.path, entry) for entry in self._manifest.shards]
        self._starts = np.cumsum([0, *(entry.n_cells for entry in self._manifest.shards)])

    @property
    def n_cells(self) -> int:
        """Number of cells in all shards."""
        return self._manifest.n_cells

    @property
    def n_genes(self) -> int:
        """Length of the gene axis."""
        return self._manifest.n_genes

    @property
    def vocabulary(self) -> str:
        """Digest of the gene axis."""
        return self._manifest.vocabulary

    @property
    def digest(self) -> str:
        """Digest of the shards' content; it does not change when equal shards are written again."""
        return self._manifest.digest

    @property
    def datasets(self) -> dict[str, DatasetShare]:
        """By dataset: cells `kept`, cells left out as test cells (`excluded_test`), `simulated`."""
        return self._manifest.datasets

    @cached_property
    def cells(self) -> pd.DataFrame:
        """Columns cell_id, dataset, sample, is_malignant; one row a cell, in the order of `rows`."""
        tables = [shards.read_cells(self.path, entry) for entry in self._manifest.shards]
        return pd.concat(tables, ignore_index=True)

    @cached_property
    def is_malignant(self) -> NDArray[np.int8]:
        """For each cell 1 tumour, 0 normal, -1 unknown."""
        return self.cells["is_malignant"].to_numpy(dtype=np.int8)

    @cached_property
    def dataset(self) -> NDArray[np.str_]:
        """Name of each cell's dataset."""
        return self.cells["dataset"].to_numpy(dtype=str)

    def rows(self, indices: ArrayLike) -> csr_matrix:
        """Read cells in the order asked for; a number may come twice.

        Returns
        -------
        Counts, cells asked for x genes, float32.

        Raises
        ------
        IndexError
            If a number is not in 0…n_cells-1.
        """
        asked = np.asarray(indices, dtype=np.int64)
        if len(asked) and (asked.min() < 0 or asked.max() >= self.n_cells):
            msg = f"cells are numbered 0 to {self.n_cells - 1}, got {asked.min()} to {asked.max()}"
            raise IndexError(msg)
        of_shard = np.searchsorted(self._starts, asked, side="right") - 1
        begins = np.empty(len(asked), dtype=np.int64)
        sizes = np.empty(len(asked), dtype=np.int64)
        visited = np.unique(of_shard)
        for number in visited:
            here = of_shard == number
            local, indptr = asked[here] - self._starts[number], self._shards[number].indptr
            begins[here] = indptr[local]
            sizes[here] = indptr[local + 1] - indptr[local]
        indptr_out = np.concatenate([[0], np.cumsum(sizes)])
        genes = np.empty(indptr_out[-1], dtype=np.int32)
        counts = np.empty(indptr_out[-1], dtype=np.float32)
        source = np.repeat(begins - indptr_out[:-1], sizes) + np.arange(indptr_out[-1])
        shard_of_value = np.repeat(of_shard, sizes)
        for number in visited:
            here = shard_of_value == number
            genes[here] = self._shards[number].genes[source[here]]
            counts[here] = self._shards[number].counts[source[here]]
        return csr_matrix((counts, genes, indptr_out), shape=(len(asked), self.n_genes))
