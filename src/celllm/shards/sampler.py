"""Which cells come into which batch: every cell once an epoch, in an order that a seed fixes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray


class BatchSampler(Iterator[NDArray[np.int64]]):
    """Endless batches of cell numbers, each of exactly `batch` cells.

    Every epoch is a new permutation of all cells and none is dropped: where an epoch ends within a batch, the
    next one fills it up. A batch never holds a cell twice, for a contrastive loss would push it from itself.

    Parameters
    ----------
    n_cells
        Cells to draw from.
    batch
        Cells in a batch, at most `n_cells`.
    seed
        Of the order; the same seed gives the same batches on every machine.
    """

    def __init__(self, n_cells: int, batch: int, seed: int) -> None:
        if not 1 <= batch <= n_cells:
            msg = f"a batch must have 1 to {n_cells} cells (all there are), got {batch}"
            raise ValueError(msg)
        self.n_cells = n_cells
        self.batch = batch
        self.seed = seed
        self._position: int
        self._start(epoch=0, behind=np.empty(0, dtype=np.int64))

    def __next__(self) -> NDArray[np.int64]:
        chosen = self._order[self._position : self._position + self.batch]
        self._position += len(chosen)
        missing = self.batch - len(chosen)
        if missing:
            self._start(epoch=self._epoch + 1, behind=chosen)
            chosen = np.concatenate([chosen, self._order[:missing]])
            self._position = missing
        return chosen

    @property
    def epoch(self) -> int:
        """Number of the epoch that the next cell belongs to, from 0."""
        return self._epoch + self._position // self.n_cells

    def state(self) -> dict[str, Any]:
        """Return where the sampler stands, as JSON-able values."""
        return {
            "n_cells": self.n_cells,
            "batch": self.batch,
            "seed": self.seed,
            "epoch": self._epoch,
            "position": self._position,
            "behind": self._behind.tolist(),
        }

    def resume(self, state: dict[str, Any]) -> None:
        """Go on where another sampler of the same cells, batch and seed stood; ValueError if they differ."""
        for key in ("n_cells", "batch", "seed"):
            if state[key] != getattr(self, key):
                msg = f"the saved sampler has {key} {state[key]}, this one {getattr(self, key)}"
                raise ValueError(msg)
        self._start(epoch=int(state["epoch"]), behind=np.asarray(state["behind"], dtype=np.int64))
        self._position = int(state["position"])

    def _start(self, *, epoch: int, behind: NDArray[np.int64]) -> None:
        """Shuffle an epoch; cells `behind`, in the batch already, may not come up before it is full."""
        order = np.random.default_rng([self.seed, epoch]).permutation(self.n_cells)
        if len(behind):
            missing = self.batch - len(behind)
            is_new = ~np.isin(order, behind)
            first = np.flatnonzero(is_new)[:missing]
            order = np.concatenate([order[first], np.delete(order, first)])
        self._epoch = epoch
        self._behind = behind
        self._order = order
        self._position = 0
