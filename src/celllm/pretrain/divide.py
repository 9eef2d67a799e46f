"""Divide and conquer: a loss over more cells than fit into memory, with the gradient of the full batch.

Also known as gradient caching. It imports torch, numpy and four small modules of ours. Shapes: B cells of this rank, C
cells of a chunk (C <= B), A cells of all ranks, D embedding width, V views.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from celllm.model.randomness import RandomState, random_state, replay
from celllm.pretrain.chunks import (
    Batch,
    ChunkLoss,
    Encode,
    NonFiniteError,
    Rows,
    device_of,
    full_batch,
    n_cells_of,
    pair,
    partition,
    take,
)
from celllm.pretrain.ranks import ALONE, Alone


@dataclass
class Record:
    """What a step leaves behind besides gradients; filled by `divide_and_conquer`."""

    embeddings: tuple[Tensor, ...] = ()
    """B x D of each view, as of the first pass, without a graph."""
    coupled_loss: float = float("nan")
    """The loss over embeddings alone, without the chunks' own losses."""
    pass_difference: float = float("nan")
    """Largest difference of an embedding between the two passes; 0 if all graphs were kept. Above rounding,
    the second pass was another computation than the first and the gradient is wrong."""
    check_difference: float = float("nan")
    """With `check`: largest difference of a gradient from that of the full-batch step, over the largest gradient."""


def divide_and_conquer(
    encode: Encode,
    views: Sequence[Batch],
    loss: Callable[..., Tensor],
    *,
    chunk_size: int | None = None,
    chunks: Sequence[Rows] | None = None,
    n_kept: int = 1,
    per_chunk_loss: ChunkLoss | None = None,
    parameters: Iterable[Tensor] | None = None,
    ranks: Alone = ALONE,
    check: bool = False,
    record: Record | None = None,
) -> Tensor:
    """Accumulate the gradient of a loss that couples B cells, holding the graph of C of them.

    A contrastive loss compares every pair of cells, so it is no sum over chunks. But it sees the encoder only
    through V x B embeddings, and those are small. So the chain rule is cut there: embed all chunks without a graph,
    differentiate the loss once with respect to the embeddings, then embed each chunk again, with the same random
    numbers, and push its share of that gradient through. The last chunk, or more of them where memory allows, keeps its
    graph from the first pass. Losses that are sums over cells need no cache; they are added chunk by chunk in the
    second pass.

    Parameters
    ----------
    encode
        Maps C cells of a view to C x D embeddings; its parameters receive the gradient. It may draw from torch's own
        generators, and return a pair (embeddings, anything), which of the first view goes to `per_chunk_loss`.
    views
        One batch of B cells each; row i of all of them is cell i. A batch is a tensor, a mapping of tensors, or an
        object with a length, a device and cells by slice or index array, which may make them when they are asked for.
    loss
        Maps the V embeddings, B x D each and of all ranks, to a scalar.
    chunk_size, chunks
        C (the last chunk may be smaller), or the rows of each chunk, such as from `chunks.by_tokens`. They set memory;
        dropout aside they do not change the gradient.
    n_kept
        Chunks, the last ones over all views, whose graphs are kept from the first pass and so need no second: all these
        graphs are held at once. At least one is; the gradient is the same.
    per_chunk_loss
        Called once a chunk with its rows and what `encode` returned besides the embeddings (None if nothing); its
        scalar is added to the loss. For a mean over something that is spread unevenly over the chunks, such as masked
        tokens, divide the chunk's sum by the number in the whole batch, of all ranks.
    parameters
        What receives gradients; by default those of `encode`, if it is a module. Needed by `ranks` and `check`; with
        them, a gradient that is not finite is found, and the chunk that it comes from.
    ranks
        Other processes with cells of the same batch. Gradients are summed over them once, at the end, so a wrapper that
        averages gradients by itself must not.
    check
        Take the full-batch step too, with the same random numbers, and record how far the gradients differ.
    record
        Filled with the embeddings of this rank and diagnostics of the step.

    Returns the whole loss, detached. NonFiniteError if an embedding, a loss or (where `parameters` are known) a
    gradient is not finite; gradients are cleared then, parameters untouched. ValueError if there is no cell, views or
    chunks do not fit together, or `ranks` or `check` come without parameters.

    Zhao et al. 2023, arXiv:2306.04371; the same cut as Gao et al. 2021, arXiv:2101.06983 (gradient caching). Equality
    with the full batch needs an encoder that treats each cell alone and the same way in both passes:
    no batch norm, no change of mode, parameters or random features in between. The cache is kept in float32 at least.
    """
    chunks = partition(n_cells_of(views), chunk_size, chunks)
    if parameters is None and isinstance(encode, nn.Module):
        parameters = encode.parameters()
    trained = None if parameters is None else [p for p in parameters if p.requires_grad]
    if trained is None and (ranks.n_ranks > 1 or check):
        msg = "ranks and check need to know the parameters: give parameters=model.parameters()"
        raise ValueError(msg)
    passes = _Passes(encode, views, chunks, per_chunk_loss, ranks, n_kept=n_kept)
    before = [parameter.grad for parameter in trained or []]
    for parameter in trained or []:
        parameter.grad = None
    try:
        caches = passes.first()
        with torch.enable_grad():
            coupled = loss(*map(ranks.gather, caches))
            passes.refuse_non_finite(torch.isfinite(coupled.detach()), "the loss over embeddings")
            gradients = torch.autograd.grad(coupled, caches)
        own, differences = passes.second(gradients)
        if trained is not None:
            if check:
                difference = passes.compare(loss, trained)
            ranks.sum_gradients(trained)
            passes.locate_non_finite(gradients, trained)
            for gradient, parameter in zip(before, trained, strict=True):
                if gradient is not None:
                    parameter.grad = gradient if parameter.grad is None else gradient.add_(parameter.grad)
    except NonFiniteError:
        for parameter in trained or []:
            parameter.grad = None
        raise
    if record is not None:
        record.embeddings = tuple(cache.detach() for cache in caches)
        record.coupled_loss = float(coupled.detach())
        record.pass_difference = float(torch.stack(differences).max()) if differences else 0.0
        record.check_difference = difference if check else float("nan")
    return coupled.detach() + own


class _Passes:
    """The two passes over the chunks of all views; arguments as in `divide_and_conquer`."""

    def __init__(
        self,
        encode: Encode,
        views: Sequence[Batch],
        chunks: Sequence[Rows],
        own_loss: ChunkLoss | None,
        ranks: Alone,
        *,
        n_kept: int,
    ) -> None:
        self.encode, self.views, self.chunks, self.own_loss, self.ranks = encode, views, chunks, own_loss, ranks
        self.cells = np.arange(n_cells_of(views))
        self.device = device_of(views[0])
        self.rows = [rows if isinstance(rows, slice) else torch.from_numpy(rows).to(self.device) for rows in chunks]
        self.places = [(v, i) for v in range(len(views)) for i in range(len(chunks))]
        self.states: dict[tuple[int, int], RandomState] = {}
        self.own_states: dict[int, RandomState] = {}
        n_kept = min(max(1, n_kept), len(self.places))
        # of the second pass: graphs that are held go first, so that no other is beside them
        self.order = [*self.places[len(self.places) - n_kept :], *self.places[: len(self.places) - n_kept]]
        self.kept: dict[tuple[int, int], tuple[Tensor, Any] | None] = dict.fromkeys(self.order[:n_kept])
        self.caches: list[Tensor] = []

    def first(self) -> list[Tensor]:
        """Embed everything, without a graph but for the last chunks; return B x D of each view."""
        caches: list[Tensor] = []
        is_finite = []
        for v, i in self.places:
            self.states[v, i] = random_state(self.device)
            with torch.set_grad_enabled((v, i) in self.kept):
                made = pair(self.encode(take(self.views[v], self.chunks[i])))
            embedded = made[0].detach()
            if (v, i) in self.kept:
                self.kept[v, i] = made
            del made
            if len(caches) == v:
                is_short = embedded.dtype in (torch.float16, torch.bfloat16)
                shape = (len(self.cells), *embedded.shape[1:])
                caches.append(embedded.new_empty(shape, dtype=torch.float32 if is_short else embedded.dtype))
            caches[v][self.rows[i]] = embedded.to(caches[v].dtype)
            is_finite.append(torch.isfinite(embedded).all())
        self.refuse_non_finite(torch.stack(is_finite), "an embedding")
        self.caches = [cache.requires_grad_() for cache in caches]
        return self.caches

    def second(self, gradients: Sequence[Tensor]) -> tuple[Tensor, list[Tensor]]:
        """Push the embeddings' gradients through; return the chunks' own loss, and what the passes differ by."""
        total, differences = self.caches[0].new_zeros(()), []
        is_finite = torch.ones(len(self.chunks), dtype=torch.bool, device=self.device)
        for v, i in self.order:
            is_kept = (v, i) in self.kept
            own, difference = self.push(v, i, gradients, self.kept.pop((v, i), None))
            if not is_kept:
                differences.append(difference)
            if own is not None:
                total = total + own
                is_finite[i] = torch.isfinite(own)
        if self.own_loss is not None:
            self.refuse_non_finite(is_finite, "the loss of a chunk")
        return total.new_tensor(self.ranks.total(float(total), self.device)), differences

    def push(
        self, v: int, i: int, gradients: Sequence[Tensor], kept: tuple[Tensor, Any] | None
    ) -> tuple[Tensor | None, Tensor]:
        """Push one chunk's gradient and own loss through; return that loss and how far the embeddings differ."""
        with torch.enable_grad():
            if kept is None:
                with replay(self.states[v, i]):
                    embedded, more = pair(self.encode(take(self.views[v], self.chunks[i])))
            else:
                embedded, more = kept
                del kept
            rows = self.rows[i]
            difference = (embedded.detach() - self.caches[v].detach()[rows]).abs().max()
            roots, seeds = [embedded], [gradients[v][rows].to(embedded.dtype)]
            own = None
            if self.own_loss is not None and v == 0:
                if more is None:  # a graph of its own: let go of the embeddings' graph first
                    torch.autograd.backward(roots, seeds)
                    roots, seeds = [], []
                    del embedded
                if i in self.own_states:
                    with replay(self.own_states[i]):
                        own = self.own_loss(self.chunks[i], more)
                else:
                    self.own_states[i] = random_state(self.device)
                    own = self.own_loss(self.chunks[i], more)
            if own is not None:
                roots, seeds = [*roots, own], [*seeds, torch.ones_like(own)]
            if roots:
                torch.autograd.backward(roots, seeds)
        return None if own is None else own.detach(), difference

    def compare(self, loss: Callable[..., Tensor], parameters: Sequence[Tensor]) -> float:
        """Take the full-batch step, and return the largest difference of a gradient over the largest gradient."""
        chunked, found = [p.grad for p in parameters], _dense(parameters)
        for parameter in parameters:
            parameter.grad = None
        with torch.enable_grad(), replay(self.states[0, 0]):
            whole, made = full_batch(self.encode, self.views, self.chunks)
            whole = [z.to(cache.dtype) for z, cache in zip(whole, self.caches, strict=True)]
            total = loss(*map(self.ranks.gather, whole))
            for v, i in self.order:  # the order in which own losses draw random numbers
                own = self.own_loss(self.chunks[i], made[i]) if self.own_loss is not None and v == 0 else None
                total = total if own is None else total + own
            total.backward()  # type: ignore[no-untyped-call]
        expected = _dense(parameters)
        for parameter, gradient in zip(parameters, chunked, strict=True):
            parameter.grad = gradient
        largest = max(float(gradient.abs().max()) for gradient in (*found, *expected))
        difference = max(float((a - b).abs().max()) for a, b in zip(found, expected, strict=True))
        return difference / largest if largest else 0.0

    def refuse_non_finite(self, is_finite: Tensor, what: str) -> None:
        """Raise on every rank if anything is not finite on any; numbers of chunks follow one another in `is_finite`."""
        bad = (~is_finite.flatten()).nonzero()
        if not self.ranks.any(bool(len(bad)), self.device):
            return
        if not len(bad):
            msg = f"{what} of another rank"
            raise NonFiniteError(msg)
        if is_finite.ndim == 0:
            raise NonFiniteError(what)
        chunk = int(bad[0]) % len(self.chunks)
        raise NonFiniteError(what, chunk=chunk, rows=self.cells[self.chunks[chunk]])

    def locate_non_finite(self, gradients: Sequence[Tensor], parameters: Sequence[Tensor]) -> None:
        """Raise if a parameter's gradient is not finite; the second pass is gone through again to find the chunk."""
        if _are_finite(parameters):
            return
        for v, i in self.places:
            for parameter in parameters:
                parameter.grad = None
            self.push(v, i, gradients, None)
            if not _are_finite(parameters):
                msg = "the gradient"
                raise NonFiniteError(msg, chunk=i, rows=self.cells[self.chunks[i]])
        raise NonFiniteError("the gradient" if self.ranks.n_ranks == 1 else "the gradient of another rank")


def _dense(parameters: Sequence[Tensor]) -> list[Tensor]:
    return [torch.zeros_like(p) if p.grad is None else p.grad for p in parameters]


def _are_finite(parameters: Sequence[Tensor]) -> bool:
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    return bool(torch.stack([torch.isfinite(gradient).all() for gradient in gradients]).all()) if gradients else True
