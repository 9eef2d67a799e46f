"""A corpus in memory, as pretraining reads one: `celllm adapt`'s own cells, and simulated ones."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix


@dataclass(frozen=True)
class MemoryCorpus:
    """What `celllm.corpus.reader.ShardReader` offers, from a matrix of cells of one data set and sample.

    `is_malignant` is 1 (tumour), 0 (normal) or -1 (unknown) for each cell.
    """

    counts: csr_matrix
    vocabulary: str
    is_malignant: NDArray[np.int8]

    @property
    def n_cells(self) -> int:
        """Number of cells."""
        return int(self.counts.shape[0])

    @property
    def n_genes(self) -> int:
        """Size of the vocabulary."""
        return int(self.counts.shape[1])

    @cached_property
    def digest(self) -> str:
        """Sha256 of the counts."""
        sha = hashlib.sha256()
        for part in (self.counts.data, self.counts.indices, self.counts.indptr):
            sha.update(part.tobytes())
        return sha.hexdigest()

    def rows(self, indices: NDArray[np.int64]) -> csr_matrix:
        """Return the counts of some cells."""
        return self.counts[indices]

    def groups(self, of: Literal["dataset", "sample"]) -> NDArray[np.int64]:
        """Return 0 for each cell."""
        del of
        return np.zeros(self.n_cells, dtype=np.int64)

    def names(self, indices: NDArray[np.int64]) -> list[str]:
        """Return the numbers of some cells, from 0."""
        return [f"cell {index}" for index in indices]
