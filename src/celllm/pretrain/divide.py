"""Divide and conquer: a loss over more cells than fit into memory, with the gradient of the undivided batch.

Shapes: B cells in the batch, C cells in one chunk (C <= B), D embedding width, V views.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor, nn

from celllm.pretrain.chunks import Rows, by_number
from celllm.pretrain.passes import Batch, ChunkLoss, Encode, NonFiniteError, Passes, n_cells_of
from celllm.pretrain.ranks import Ranks

__all__ = ["NonFiniteError", "Record", "divide_and_conquer", "sum_over_chunks"]


@dataclass
class Record:
    """What a step leaves behind besides gradients; filled by `divide_and_conquer`."""

    embeddings: tuple[Tensor, ...] = ()
    """One B x D cache a view, as of the first pass, without a graph."""
    coupled_loss: float = float("nan")
    """The loss over embeddings alone, without the chunks' own losses."""
    pass_difference: float = float("nan")
    """Largest difference of an embedding between the two passes; 0 if there is one chunk of one view. Above rounding,
    the second pass was another computation than the first and the gradient is wrong."""
    chunk_sizes: list[int] = field(default_factory=list)
    """Cells of each chunk."""
    check_difference: float = float("nan")
    """With `check`: largest difference of a gradient from that of the undivided step, over the largest gradient."""


def divide_and_conquer(
    encode: Encode,
    views: Sequence[Batch],
    loss: Callable[..., Tensor],
    *,
    chunk_size: int | None = None,
    chunks: Sequence[Rows] | None = None,
    per_chunk_loss: ChunkLoss | None = None,
    parameters: Iterable[Tensor] | None = None,
    ranks: Ranks | None = None,
    check: bool = False,
    record: Record | None = None,
) -> Tensor:
    """Accumulate the gradient of a loss that couples B cells, holding the graph of C of them.

    A contrastive loss compares every pair of cells, so it is no sum over chunks. But it sees the encoder only
    through V x B embeddings, and those are small. So the chain rule is cut there: embed all chunks without a graph,
    differentiate the loss once with respect to the embeddings, then embed each chunk again, with the same random
    numbers, and push its share of that gradient through. The last chunk keeps its graph from the first pass. Losses
    that are sums over cells need no cache; they are added chunk by chunk in the second pass.

    Parameters
    ----------
    encode
        Maps C cells of a view to C x D embeddings; its parameters receive the gradient. It may draw from torch's own
        generators. It may return a pair (embeddings, anything); `anything` goes to `per_chunk_loss` if the cells are
        of the first view.
    views
        One batch of B cells each; row i of all of them is cell i. A batch is a tensor, a mapping of tensors, or an
        object with a length, a device and cells by slice or index array, which may make them when they are asked for.
    loss
        Maps the V embeddings, B x D each, to a scalar. With `ranks`, they are those of all ranks.
    chunk_size
        C; the last chunk may be smaller. It sets memory; dropout aside it does not change the gradient.
    chunks
        In place of `chunk_size`: the rows of each chunk, every cell in one of them. `chunks.by_tokens` makes them from
        the cells' lengths and a budget of tokens.
    per_chunk_loss
        Called once a chunk with its rows and what `encode` returned besides the embeddings (None if nothing); its
        scalar is added to the loss. For a mean over something that is spread unevenly over the chunks, such as masked
        tokens, divide the chunk's sum by the number in the whole batch, of all ranks. None: nothing to add.
    parameters
        What receives gradients; by default those of `encode`, if it is a module. Needed by `ranks` and `check`; with
        them, a gradient that is not finite is found, and the chunk that it comes from.
    ranks
        Other processes with cells of the same batch. Gradients are summed over them once, at the end, so a wrapper that
        averages gradients by itself must not.
    check
        Compute the step once more undivided, all graphs held, with the same random numbers, and record how far
        the gradients differ. For small batches.
    record
        Filled with the embeddings and health figures of the step; embeddings are those of this rank.

    Returns
    -------
    The whole loss, detached.

    Raises
    ------
    NonFiniteError
        If an embedding, a loss or (where `parameters` are known) a gradient is not finite; it says which and where.
        Gradients are cleared then, parameters untouched.
    ValueError
        If there is no view or no cell, views differ in the number of cells, chunks do not hold every cell once, or
        `ranks` or `check` come without parameters.

    Notes
    -----
    Zhao et al. 2023, arXiv:2306.04371; the same cut as Gao et al. 2021, arXiv:2101.06983 (gradient caching).
    Equality with the undivided batch needs an encoder that treats each cell alone and the same way in both passes:
    no batch norm, no change of mode, parameters or random features in between. The cache is kept in float32 at least.
    """
    n_cells = n_cells_of(views)
    chunks = _chunks(n_cells, chunk_size, chunks)
    if parameters is None and isinstance(encode, nn.Module):
        parameters = encode.parameters()
    trained = None if parameters is None else [p for p in parameters if p.requires_grad]
    if trained is None and (ranks is not None or check):
        msg = "ranks and check need to know the parameters: give parameters=model.parameters()"
        raise ValueError(msg)
    passes = Passes(encode, views, chunks, per_chunk_loss, ranks)
    before = _set_aside(trained) if trained is not None else []
    try:
        caches = passes.first()
        with torch.enable_grad():
            coupled = loss(*caches.joined)
            passes.refuse_non_finite(torch.isfinite(coupled.detach()), "the loss over embeddings")
            gradients = torch.autograd.grad(coupled, caches.own)
        own, differences = passes.second(gradients)
        if trained is not None:
            if check:
                difference = passes.compare(loss, trained)
            if ranks is not None:
                ranks.sum_gradients(trained)
            passes.locate_non_finite(gradients, trained)
            _add(before, trained)
    except NonFiniteError:
        for parameter in trained or []:
            parameter.grad = None
        raise
    if record is not None:
        record.embeddings = tuple(cache.detach() for cache in caches.own)
        record.coupled_loss = float(coupled.detach())
        record.pass_difference = float(torch.stack(differences).max()) if differences else 0.0
        record.chunk_sizes = [passes.size(number) for number in range(len(chunks))]
        record.check_difference = difference if check else float("nan")
    return coupled.detach() + own


def sum_over_chunks(
    per_chunk_loss: ChunkLoss,
    *,
    n_cells: int,
    chunk_size: int | None = None,
    chunks: Sequence[Rows] | None = None,
) -> Tensor:
    """Accumulate the gradient of a loss that is a sum over chunks alone: no cell is compared with another.

    Arguments and result as in `divide_and_conquer`; 0 if no chunk has a loss.
    """
    total = torch.zeros(())
    for rows in _chunks(n_cells, chunk_size, chunks):
        own = per_chunk_loss(rows, None)
        if own is not None:
            own.backward()  # type: ignore[no-untyped-call]
            total = total.to(own.device) + own.detach()
    return total


def _chunks(n_cells: int, chunk_size: int | None, chunks: Sequence[Rows] | None) -> Sequence[Rows]:
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


def _set_aside(parameters: Sequence[Tensor]) -> list[Tensor | None]:
    """Take the gradients that are there already away, and return them."""
    before = [parameter.grad for parameter in parameters]
    for parameter in parameters:
        parameter.grad = None
    return before


def _add(before: Sequence[Tensor | None], parameters: Sequence[Tensor]) -> None:
    """Add the gradients that were set aside."""
    for gradient, parameter in zip(before, parameters, strict=True):
        if gradient is not None:
            parameter.grad = gradient if parameter.grad is None else gradient.add_(parameter.grad)
