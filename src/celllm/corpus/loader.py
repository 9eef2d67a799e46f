"""Batches made ahead of the one who asks for them, with a position that can be saved and resumed."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Generic, Self, TypeVar

import numpy as np
from numpy.typing import NDArray

from celllm.corpus.sampler import Sampler

Made = TypeVar("Made")


@dataclass(frozen=True)
class Batch(Generic[Made]):
    """Some cells, by their numbers in the corpus, and what was made of them."""

    indices: NDArray[np.int64]
    cells: Made


class Loader(Iterator[Batch[Made]]):
    """Makes the sampler's batches in a thread, `ahead` of the one who asks, and gives them in the sampler's order.

    Use it as a context manager, which ends its thread. What is made ahead does not count as taken: `state` is
    that behind the last batch given, so a run resumed from it gets exactly the next one. `make` is given the cells'
    numbers, and how many batches this loader has made before. Nobody else may draw from the sampler.
    """

    def __init__(self, make: Callable[[NDArray[np.int64], int], Made], sampler: Sampler, *, ahead: int = 4) -> None:
        if ahead < 1:
            msg = f"a loader makes 1 or more batches ahead, got {ahead}"
            raise ValueError(msg)
        self._make = make
        self._sampler = sampler
        self._ahead = ahead
        self._state = sampler.state()
        self._n_made = 0
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="loader")
        self._waiting: deque[tuple[Future[Batch[Made]], dict[str, Any]]] = deque()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self._pool.shutdown(wait=True, cancel_futures=True)

    def __next__(self) -> Batch[Made]:
        while len(self._waiting) <= self._ahead:
            future = self._pool.submit(self._batch, next(self._sampler), self._n_made)
            self._n_made += 1
            self._waiting.append((future, self._sampler.state()))
        future, state = self._waiting.popleft()
        batch = future.result()
        self._state = state
        return batch

    def state(self) -> dict[str, Any]:
        """Return where the sampler stood behind the last batch given; for its sampler to resume."""
        return self._state

    def _batch(self, indices: NDArray[np.int64], number: int) -> Batch[Made]:
        return Batch(indices, self._make(indices, number))
