"""Batches of cells read ahead of the one who asks for them, with a position that can be saved and resumed."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from celllm.shards.sampler import BatchSampler


class Rows(Protocol):
    """Cells in random access; `celllm.shards.reader.ShardReader` is one."""

    def rows(self, indices: NDArray[np.int64]) -> csr_matrix:
        """Return the counts of some cells."""


@dataclass(frozen=True)
class Batch:
    """Some cells.

    Parameters
    ----------
    indices
        Their numbers in the corpus.
    cells
        Their counts, cells x genes, float32.
    """

    indices: NDArray[np.int64]
    cells: csr_matrix


class Loader(Iterator[Batch]):
    """Reads the sampler's batches in threads, and gives them in the sampler's order.

    Use it as a context manager, which ends its threads. What is read ahead does not count as taken: `state` is
    that behind the last batch given, so a run resumed from it gets exactly the next one.

    Parameters
    ----------
    corpus
        Where cells are read from.
    sampler
        Draws their numbers; the loader goes on from where it stands, and nobody else may draw from it.
    threads
        Batches read at the same time, beside the one who asks; 0: each is read when it is asked for.
    ahead
        Batches read ahead; each takes the memory of its cells.
    """

    def __init__(self, corpus: Rows, sampler: BatchSampler, *, threads: int = 1, ahead: int = 4) -> None:
        if threads < 0 or ahead < 1:
            msg = f"a loader needs 0 or more threads and reads 1 or more batches ahead, got {threads} and {ahead}"
            raise ValueError(msg)
        self._corpus = corpus
        self._sampler = sampler
        self._ahead = ahead
        self._state = sampler.state()
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="loader") if threads else None
        self._waiting: deque[tuple[Future[Batch], dict[str, Any]]] = deque()

    def __enter__(self) -> Loader:
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)

    def __next__(self) -> Batch:
        if self._pool is None:
            batch = self._read(next(self._sampler))
            self._state = self._sampler.state()
            return batch
        while len(self._waiting) <= self._ahead:
            indices = next(self._sampler)
            self._waiting.append((self._pool.submit(self._read, indices), self._sampler.state()))
        future, state = self._waiting.popleft()
        batch = future.result()
        self._state = state
        return batch

    def state(self) -> dict[str, Any]:
        """Return where the sampler stood behind the last batch given; for BatchSampler.resume."""
        return self._state

    def _read(self, indices: NDArray[np.int64]) -> Batch:
        return Batch(indices, self._corpus.rows(indices))
