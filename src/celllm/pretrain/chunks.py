"""Cells of a batch cut into chunks: by number, or by a budget of tokens so that little of what is encoded is padding.

Shapes: B cells in the batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

Rows: TypeAlias = slice | NDArray[np.int64]
"""Which cells of a batch are in a chunk."""


def by_number(n_cells: int, chunk_size: int) -> list[slice]:
    """Cut n_cells into runs of `chunk_size`; the last may be shorter."""
    if chunk_size < 1:
        msg = f"chunk_size must be at least 1 cell, got {chunk_size}"
        raise ValueError(msg)
    return [slice(start, min(start + chunk_size, n_cells)) for start in range(0, n_cells, chunk_size)]


def by_tokens(lengths_B: ArrayLike, max_tokens: int) -> list[NDArray[np.int64]]:
    """Put cells of similar length together, as many as fit into `max_tokens` once padded to the longest of them.

    A divided loss does not care which cells share a chunk, so they may be sorted; what a chunk needs of memory is then
    set by the budget, whatever the lengths.

    Parameters
    ----------
    lengths_B
        Tokens of each cell.
    max_tokens
        Cells of a chunk times the longest of them; a cell that is longer by itself is a chunk of its own.

    Returns
    -------
    Rows of each chunk, shortest cells first. Every cell is in one of them.

    Raises
    ------
    ValueError
        If `max_tokens` is below 1.
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
