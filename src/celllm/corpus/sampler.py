"""Which cells come into which batch: every cell once an epoch, in an order that a seed fixes, mixed or by group."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

_IDENTITY: Final = ("n_cells", "batch", "seed")


class BatchSampler(Iterator[NDArray[np.int64]]):
    """Endless batches of cell numbers, each of exactly `batch` cells, at most `n_cells`.

    Every epoch is a new permutation of all cells and none is dropped: where an epoch ends within a batch, the
    next one fills it up. A batch never holds a cell twice, for a contrastive loss would push it from itself.

    Several ranks share a batch: each gets its part of every batch, and the parts together are the batch that one rank
    alone would get, so their number changes no batch. Parts differ by one cell at most.
    """

    def __init__(self, n_cells: int, batch: int, seed: int, *, rank: int = 0, ranks: int = 1) -> None:
        if not 1 <= batch <= n_cells:
            msg = f"a batch must have 1 to {n_cells} cells (all there are), got {batch}"
            raise ValueError(msg)
        if not 0 <= rank < ranks <= batch:
            msg = f"rank must be 0 to ranks - 1, and each rank must get a cell: rank {rank} of {ranks}, batch {batch}"
            raise ValueError(msg)
        self.n_cells = n_cells
        self.batch = batch
        self.seed = seed
        self._rank, self._ranks = rank, ranks
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
        return np.array_split(chosen, self._ranks)[self._rank]

    def state(self) -> dict[str, Any]:
        """Return where the sampler stands, as JSON-able values; the same on every rank."""
        return {
            "n_cells": self.n_cells,
            "batch": self.batch,
            "seed": self.seed,
            "epoch": self._epoch,
            "position": self._position,
            "behind": self._behind.tolist(),
        }

    def resume(self, state: dict[str, Any]) -> None:
        """Go on where another sampler of the same cells, batch and seed stood; ValueError if they differ.

        The number of ranks may be another one.
        """
        for key in _IDENTITY:
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
            first = np.flatnonzero(~np.isin(order, behind))[:missing]
            order = np.concatenate([order[first], np.delete(order, first)])
        self._epoch = epoch
        self._behind = behind
        self._order = order
        self._position = 0


class GroupSampler(Iterator[NDArray[np.int64]]):
    """Endless batches of cell numbers, each of cells of one group.

    Within a group cells come as from a `BatchSampler`. Groups take turns in proportion to their cells: next is the one
    that is furthest behind its share. Groups with fewer cells than a batch are joined, smallest first, until they have
    as many.
    """

    def __init__(self, groups: NDArray[np.int64], batch: int, seed: int, *, rank: int = 0, ranks: int = 1) -> None:
        self._cells = _joined(groups, batch)
        self._sizes = np.array([len(cells) for cells in self._cells])
        seeds = np.random.SeedSequence(seed).generate_state(len(self._cells), np.uint64).tolist()
        self._samplers = [
            BatchSampler(len(cells), batch, own, rank=rank, ranks=ranks)
            for cells, own in zip(self._cells, seeds, strict=True)
        ]
        self._taken = np.zeros(len(self._cells), dtype=np.int64)

    def __next__(self) -> NDArray[np.int64]:
        # in whole numbers, so that it is the same everywhere
        owed = self._sizes * (self._taken.sum() + 1) - self._taken * self._sizes.sum()
        number = int(owed.argmax())
        self._taken[number] += 1
        return np.asarray(self._cells[number][next(self._samplers[number])])

    def state(self) -> dict[str, Any]:
        """Return where the sampler stands, as JSON-able values; the same on every rank."""
        return {"taken": self._taken.tolist(), "groups": [sampler.state() for sampler in self._samplers]}

    def resume(self, state: dict[str, Any]) -> None:
        """Go on where another sampler of the same groups, batch and seed stood; ValueError if they differ."""
        if len(state["groups"]) != len(self._samplers):
            msg = f"the saved sampler has {len(state['groups'])} groups, this one {len(self._samplers)}"
            raise ValueError(msg)
        for sampler, of_group in zip(self._samplers, state["groups"], strict=True):
            sampler.resume(of_group)
        self._taken = np.asarray(state["taken"], dtype=np.int64)


def _joined(groups: NDArray[np.int64], batch: int) -> list[NDArray[np.int64]]:
    """Return the cells of each group, largest first, once those are joined that are smaller than a batch."""
    cells = [np.flatnonzero(groups == group) for group in np.unique(groups)]
    cells.sort(key=len, reverse=True)
    while len(cells) > 1 and len(cells[-1]) < batch:
        cells[-2:] = [np.sort(np.concatenate(cells[-2:]))]
        cells.sort(key=len, reverse=True)
    return cells


Sampler: TypeAlias = BatchSampler | GroupSampler


def sampler_of(
    n_cells: int, batch: int, seed: int, *, groups: NDArray[np.int64] | None, rank: int = 0, ranks: int = 1
) -> Sampler:
    """Return the sampler of batches that mix all cells, or with `groups`, a number for each cell, of one group each."""
    if groups is None:
        return BatchSampler(n_cells, batch, seed, rank=rank, ranks=ranks)
    return GroupSampler(groups, batch, seed, rank=rank, ranks=ranks)
