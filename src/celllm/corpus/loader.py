"""Batches made ahead of the one who asks for them, with a position that can be saved and resumed."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from celllm.corpus.sampler import BatchSampler

Made = TypeVar("Made")


@dataclass(frozen=True)
class Batch(Generic[Made]):
    """Some cells.

    Parameters
    ----------
    indices
        Their numbers in the corpus.
    cells
        What was made of them.
    """

    indices: NDArray[np.int64]
    cells: Made


class Loader(Iterator[Batch[Made]]):
    """Makes the sampler's batches in threads, and gives them in the sampler's order.

    Use it as a context manager, which ends its threads. What is made ahead does not count as taken: `state` is
    that behind the last batch given, so a run resumed from it gets exactly the next one.

    Parameters
    ----------
    make
        Makes a batch of the cells' numbers; also told how many batches this loader has made before. Called by several
        threads at a time, if there are several.
    sampler
        Draws the numbers; the loader goes on from where it stands, and nobody else may draw from it.
    threads
        Batches made at the same time, beside the one who asks; 0: each is made when it is asked for.
    ahead
        Batches made ahead; each takes the memory of its cells.
    """

    def __init__(
        self,
        make: Callable[[NDArray[np.int64], int], Made],
        sampler: BatchSampler,
        *,
        threads: int = 1,
        ahead: int = 4,
    ) -> None:
        if threads < 0 or ahead < 1:
            msg = f"a loader needs 0 or more threads and makes 1 or more batches ahead, got {threads} and {ahead}"
            raise ValueError(msg)
        self._make = make
        self._sampler = sampler
        self._ahead = ahead
        self._state = sampler.state()
        self._n_made = 0
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="loader") if threads else None
        self._waiting: deque[tuple[Future[Batch[Made]], dict[str, Any]]] = deque()

    def __enter__(self) -> Loader[Made]:
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)

    def __next__(self) -> Batch[Made]:
        if self._pool is None:
            batch = self._batch(next(self._sampler), self._n_made)
            self._n_made += 1
            self._state = self._sampler.state()
            return batch
        while len(self._waiting) <= self._ahead:
            indices = next(self._sampler)
            future = self._pool.submit(self._batch, indices, self._n_made)
            self._n_made += 1
            self._waiting.append((future, self._sampler.state()))
        future, state = self._waiting.popleft()
        batch = future.result()
        self._state = state
        return batch

    def state(self) -> dict[str, Any]:
        """Return where the sampler stood behind the last batch given; for BatchSampler.resume."""
        return self._state

    def _batch(self, indices: NDArray[np.int64], number: int) -> Batch[Made]:
        return Batch(indices, self._make(indices, number))
