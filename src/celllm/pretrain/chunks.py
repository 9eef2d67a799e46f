"""Batches of cells and their chunks: cut by number, or by a budget of tokens so that little padding is encoded.

Shapes: B cells in the batch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, TypeAlias

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from celllm.base.errors import CellLMError

LARGE_BYTES = 4 << 20
"""Of a tensor that is returned to the system when it is freed: chunks have ever new shapes, so a freed block seldom
fits the next tensor, and the heap would grow with their number. Smaller ones cost more to bring anew than they leave.
"""
Rows: TypeAlias = slice | NDArray[np.int64]
"""Which cells of a batch are in a chunk."""


class Cells(Protocol):
    """Cells that are made when they are asked for."""

    @property
    def device(self) -> torch.device:
        """Where they will be."""

    def __len__(self) -> int:
        """Return the number of cells."""

    def __getitem__(self, rows: Rows) -> Any:  # noqa: ANN401 - whatever `encode` takes
        """Return some cells."""


Batch: TypeAlias = Tensor | Mapping[str, Tensor] | Cells
"""Cells along the leading dimension of one tensor, of each tensor of a mapping, or of an object that makes them."""
Encode: TypeAlias = Callable[[Any], Tensor | tuple[Tensor, Any]]
"""Maps the cells of a chunk to their embeddings C x D, and perhaps to anything else beside them."""
ChunkLoss: TypeAlias = Callable[[Any, Any], Tensor | None]
"""Maps the rows of a chunk and what `encode` gave beside its embeddings to a loss, or None."""


class NonFiniteError(CellLMError, FloatingPointError):
    """Something of a step is not a finite number: an embedding, a loss or a gradient.

    `chunk` is its number, None: no single chunk, or one of another rank; `rows` its cells, as rows of the batch.
    """

    def __init__(self, what: str, *, chunk: int | None = None, rows: NDArray[np.int64] | None = None) -> None:
        cells = "" if rows is None else ", ".join(map(str, rows))
        where = "" if chunk is None else f" in chunk {chunk}, cells {cells}"
        super().__init__(f"{what} is not finite{where}")
        self.what, self.chunk, self.rows = what, chunk, rows


def by_number(n_cells: int, chunk_size: int) -> list[slice]:
    """Cut n_cells into runs of `chunk_size`; the last may be shorter."""
    if chunk_size < 1:
        msg = f"chunk_size must be at least 1 cell, got {chunk_size}"
        raise ValueError(msg)
    return [slice(start, min(start + chunk_size, n_cells)) for start in range(0, n_cells, chunk_size)]


def by_tokens(lengths_B: ArrayLike, max_tokens: int) -> list[NDArray[np.int64]]:
    """Put cells of similar length together, as many as fit into `max_tokens` once padded to the longest of them.

    A divided loss does not care which cells share a chunk, so they may be sorted; what a chunk needs of memory is then
    set by the budget, whatever the lengths. A cell that is longer by itself is a chunk of its own. Returns the rows of
    each chunk, shortest cells first; every cell is in one of them. ValueError if `max_tokens` is below 1.
    """
    if max_tokens < 1:
        msg = f"max_tokens must be at least 1 token, got {max_tokens}"
        raise ValueError(msg)
    lengths = np.asarray(lengths_B, dtype=np.int64)
    order = np.argsort(lengths, kind="stable")
    sorted_lengths = np.maximum(lengths[order], 1).tolist()
    chunks: list[NDArray[np.int64]] = []
    end = len(order)
    while end > 0:  # from the longest down: its length is that of the whole chunk
        start = max(0, end - max(1, max_tokens // sorted_lengths[end - 1]))
        chunks.append(order[start:end])
        end = start
    return chunks[::-1]


def padding_fraction(lengths_B: ArrayLike, chunks: Sequence[Rows]) -> float:
    """Return the share of padding among all tokens that are encoded when each chunk is padded to its longest cell."""
    lengths = np.asarray(lengths_B, dtype=np.int64)
    encoded = sum(len(lengths[rows]) * int(lengths[rows].max()) for rows in chunks)
    return 1 - int(lengths.sum()) / encoded


def n_kept_graphs(lengths_B: ArrayLike, chunks: Sequence[Rows], *, n_views: int, keep_tokens: int) -> int:
    """Return how many of the last chunks of all views have no more tokens than are to be kept; at least 1."""
    lengths = np.asarray(lengths_B)
    sizes = [len(lengths[rows]) * int(lengths[rows].max()) for rows in chunks] * n_views
    return max(1, int((np.cumsum(sizes[::-1]) <= keep_tokens).sum()))


def partition(n_cells: int, chunk_size: int | None, chunks: Sequence[Rows] | None) -> Sequence[Rows]:
    """Return the chunks asked for by size or by rows; ValueError unless each cell is in one of them."""
    if (chunk_size is None) == (chunks is None):
        msg = "give either chunk_size or chunks"
        raise ValueError(msg)
    if chunks is None:
        return by_number(n_cells, chunk_size or 0)
    found = np.sort(np.concatenate([np.arange(n_cells)[rows] for rows in chunks]))
    if not np.array_equal(found, np.arange(n_cells)):
        n_different = len(np.unique(found))
        msg = f"chunks must hold each of the {n_cells} cells once, got {len(found)} with {n_different} different"
        raise ValueError(msg)
    return chunks


def take(batch: Batch, rows: Rows) -> Any:  # noqa: ANN401 - whatever `encode` takes
    """Return some cells of a batch."""
    if isinstance(batch, Mapping):
        return {name: tensor[rows] for name, tensor in batch.items()}
    return batch[rows]


def n_cells_of(views: Sequence[Batch]) -> int:
    """Return B, which must be that of every view."""
    sizes = {len(next(iter(view.values())) if isinstance(view, Mapping) else view) for view in views}
    if len(sizes) != 1 or sizes == {0}:
        msg = f"views must be of the same number of cells, one or more, got {sorted(sizes) or 'no view'}"
        raise ValueError(msg)
    return sizes.pop()


def pair(encoded: Tensor | tuple[Tensor, Any]) -> tuple[Tensor, Any]:
    """Return an embedding and what `encode` gave besides, if anything."""
    return (encoded, None) if isinstance(encoded, Tensor) else encoded


def device_of(batch: Batch) -> torch.device:
    """Return where a batch is, or will be."""
    return next(iter(batch.values())).device if isinstance(batch, Mapping) else batch.device


def full_batch(encode: Encode, views: Sequence[Batch], chunks: Sequence[Rows]) -> tuple[list[Tensor], list[Any]]:
    """Encode the chunks of all views with every graph held.

    Returns the B x D embeddings of each view, and what `encode` returned besides for each chunk of the first.
    """
    made = [[pair(encode(take(view, rows))) for rows in chunks] for view in views]
    order = np.argsort(np.concatenate([np.arange(n_cells_of(views))[rows] for rows in chunks]))
    order_B = torch.from_numpy(order).to(device_of(views[0]))
    whole = [torch.cat([embedded for embedded, _ in of_view])[order_B] for of_view in made]
    return whole, [more for _, more in made[0]]


def sum_over_chunks(per_chunk_loss: ChunkLoss, chunks: Sequence[Rows]) -> Tensor:
    """Accumulate the gradient of a loss that is a sum over chunks alone: no cell is compared with another.

    Arguments and result as in `divide.divide_and_conquer`; 0 if no chunk has a loss.
    """
    total = torch.zeros(())
    for rows in chunks:
        own = per_chunk_loss(rows, None)
        if own is not None:
            own.backward()  # type: ignore[no-untyped-call]
            total = total.to(own.device) + own.detach()
    return total
