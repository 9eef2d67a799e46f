"""Divide and conquer: a loss over more cells than fit into memory, with the gradient of the undivided batch.

Shapes: B cells in the batch, C cells in one chunk (C <= B), D embedding width, V views.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import torch
from torch import Tensor

from celllm.train.randomness import RandomState, random_state, replay

Batch: TypeAlias = Tensor | Mapping[str, Tensor]
"""Cells along the leading dimension of one tensor, or of each tensor of a mapping."""

Encode: TypeAlias = Callable[[Any], Tensor | tuple[Tensor, Any]]
ChunkLoss: TypeAlias = Callable[[slice, Any], Tensor | None]


@dataclass
class Record:
    """What a step leaves behind besides gradients; filled by `divide_and_conquer`."""

    embeddings: tuple[Tensor, ...] = ()
    """One B x D cache a view, as of the first pass, without a graph."""
    coupled_loss: float = float("nan")
    """The loss over embeddings alone, without the chunks' own losses."""
    pass_difference: float = float("nan")
    """Largest difference of an embedding between the two passes. Above rounding, the second pass was another
    computation than the first and the gradient is wrong."""
    chunk_sizes: list[int] = field(default_factory=list)
    """Cells of each chunk."""


def divide_and_conquer(
    encode: Encode,
    views: Sequence[Batch],
    loss: Callable[..., Tensor],
    *,
    chunk_size: int,
    per_chunk_loss: ChunkLoss | None = None,
    record: Record | None = None,
) -> Tensor:
    """Accumulate the gradient of a loss that couples B cells, holding the graph of C of them.

    A contrastive loss compares every pair of cells, so it is no sum over chunks. But it sees the encoder only
    through V x B embeddings, and those are small. So the chain rule is cut there: embed all chunks without a graph,
    differentiate the loss once with respect to the embeddings, then embed each chunk again, with the same random
    numbers, and push its share of that gradient through. Losses that are sums over cells need no cache; they are
    added chunk by chunk in the second pass.

    Parameters
    ----------
    encode
        Maps C cells of a view to C x D embeddings; its parameters receive the gradient. It may draw from torch's own
        generators. It may return a pair (embeddings, anything); `anything` goes to `per_chunk_loss` if the cells are
        of the first view.
    views
        One batch of B cells each; row i of all of them is cell i.
    loss
        Maps the V embeddings, B x D each, to a scalar.
    chunk_size
        C; the last chunk may be smaller. It sets memory; dropout aside it does not change the gradient.
    per_chunk_loss
        Called once a chunk with its rows and what `encode` returned besides the embeddings (None if nothing); its
        scalar is added to the loss. For a mean over something that is spread unevenly over the chunks, such as masked
        tokens, divide the chunk's sum by the number in the whole batch. None: nothing to add.
    record
        Filled with the embeddings and health figures of the step.

    Returns
    -------
    The whole loss, detached.

    Raises
    ------
    ValueError
        If `chunk_size` is below 1, there is no view, or views differ in the number of cells.

    Notes
    -----
    Zhao et al. 2023, arXiv:2306.04371; the same cut as Gao et al. 2021, arXiv:2101.06983 (gradient caching).
    Equality with the undivided batch needs an encoder that treats each cell alone and the same way in both passes:
    no batch norm, no change of mode, parameters or random features in between. The cache is kept in float32 at least.
    """
    n_cells = _n_cells(views)
    chunks = list(slices(n_cells, chunk_size))
    caches, states = _first_pass(encode, views, chunks)

    with torch.enable_grad():
        coupled = loss(*caches)
        gradients = torch.autograd.grad(coupled, caches)

    total = coupled.detach().clone()
    differences: list[Tensor] = []
    for i, rows in enumerate(chunks):
        for v, view in enumerate(views):
            with replay(states[v][i]):
                embedded, more = _pair(encode(take(view, rows)))
            differences.append((embedded.detach() - caches[v].detach()[rows]).abs().max())
            roots, seeds = [embedded], [gradients[v][rows].to(embedded.dtype)]
            own = None
            if per_chunk_loss is not None and v == 0:
                if more is None:  # a graph of its own: let go of the embeddings' graph first
                    torch.autograd.backward(roots, seeds)
                    roots, seeds = [], []
                    del embedded
                own = per_chunk_loss(rows, more)
            if own is not None:
                total += own.detach()
                roots, seeds = [*roots, own], [*seeds, torch.ones_like(own)]
            if roots:
                torch.autograd.backward(roots, seeds)
            del roots, own, more
    if record is not None:
        record.embeddings = tuple(cache.detach() for cache in caches)
        record.coupled_loss = float(coupled.detach())
        record.pass_difference = float(torch.stack(differences).max())
        record.chunk_sizes = [rows.stop - rows.start for rows in chunks]
    return total


def _first_pass(
    encode: Encode,
    views: Sequence[Batch],
    chunks: Sequence[slice],
) -> tuple[list[Tensor], list[list[RandomState]]]:
    """Embed everything without a graph; return a cache a view, and the random state before each chunk."""
    device = _device(views[0])
    caches, states = [], []
    with torch.no_grad():
        for view in views:
            pieces, states_of_view = [], []
            for rows in chunks:
                states_of_view.append(random_state(device))
                embedded, _ = _pair(encode(take(view, rows)))
                is_short = embedded.dtype in (torch.float16, torch.bfloat16)
                pieces.append(embedded.float() if is_short else embedded)
            caches.append(torch.cat(pieces).requires_grad_())
            states.append(states_of_view)
    return caches, states


def sum_over_chunks(per_chunk_loss: ChunkLoss, *, n_cells: int, chunk_size: int) -> Tensor:
    """Accumulate the gradient of a loss that is a sum over chunks alone: no cell is compared with another.

    Arguments and result as in `divide_and_conquer`; 0 if no chunk has a loss.
    """
    total = torch.zeros(())
    for rows in slices(n_cells, chunk_size):
        own = per_chunk_loss(rows, None)
        if own is not None:
            own.backward()  # type: ignore[no-untyped-call]
            total = total.to(own.device) + own.detach()
    return total


def slices(n_cells: int, chunk_size: int) -> list[slice]:
    """Cut n_cells into runs of `chunk_size`; the last may be shorter."""
    if chunk_size < 1:
        msg = f"chunk_size must be at least 1 cell, got {chunk_size}"
        raise ValueError(msg)
    return [slice(start, min(start + chunk_size, n_cells)) for start in range(0, n_cells, chunk_size)]


def take(batch: Batch, rows: slice) -> Batch:
    """Return some cells of a batch."""
    return batch[rows] if isinstance(batch, Tensor) else {name: tensor[rows] for name, tensor in batch.items()}


def _pair(encoded: Tensor | tuple[Tensor, Any]) -> tuple[Tensor, Any]:
    return (encoded, None) if isinstance(encoded, Tensor) else encoded


def _first(batch: Batch) -> Tensor:
    return batch if isinstance(batch, Tensor) else next(iter(batch.values()))


def _device(batch: Batch) -> torch.device:
    return _first(batch).device


def _n_cells(views: Sequence[Batch]) -> int:
    sizes = {len(_first(view)) for view in views}
    if len(sizes) != 1:
        msg = f"views must be of the same number of cells, got {sorted(sizes) or 'no view'}"
        raise ValueError(msg)
    return sizes.pop()
