"""The two passes of a divided step over its chunks, and the undivided one to compare them with.

Shapes: B cells of this rank, C of one chunk, A of all ranks, D embedding width, V views.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from celllm.base.errors import CellLMError
from celllm.base.heap import give_back_free
from celllm.model.randomness import RandomState, random_state, replay
from celllm.pretrain.chunks import Rows
from celllm.pretrain.ranks import Ranks

GIVE_BACK_FROM = 64
"""Chunks, of all views, from which on free memory of a CPU is given back; with fewer the heap grows little."""
GIVE_BACK_EVERY_S = 0.1
"""Seconds between two times that free memory of a CPU is given back, before a chunk is encoded; without it the heap
grows with the number of chunks. Pages given back are touched anew: that is little beside a chunk that takes as long,
and would be half the time of a very small encoder if it were done before each."""


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
ChunkLoss: TypeAlias = Callable[[Any, Any], Tensor | None]


class NonFiniteError(CellLMError, FloatingPointError):
    """Something of a step is not a finite number.

    Parameters
    ----------
    what
        An embedding, a loss or a gradient.
    chunk
        Number of the chunk; None: no single chunk, or one of another rank.
    rows
        Cells of the chunk, as rows of the batch.
    """

    def __init__(self, what: str, *, chunk: int | None = None, rows: NDArray[np.int64] | None = None) -> None:
        where = (
            "" if chunk is None else f" in chunk {chunk}, cells {', '.join(map(str, rows)) if rows is not None else ''}"
        )
        super().__init__(f"{what} is not finite{where}")
        self.what, self.chunk, self.rows = what, chunk, rows


class Caches(NamedTuple):
    """Embeddings of the first pass, one tensor a view."""

    own: list[Tensor]
    """B x D, of this rank; leaves that receive the loss's gradient."""
    joined: list[Tensor]
    """A x D, of all ranks."""


class Passes:
    """Encodes the chunks of all views twice; see `divide.divide_and_conquer`, which says what the arguments are."""

    def __init__(
        self,
        encode: Encode,
        views: Sequence[Batch],
        chunks: Sequence[Rows],
        per_chunk_loss: ChunkLoss | None,
        ranks: Ranks | None,
    ) -> None:
        self._encode, self._views, self._chunks = encode, views, chunks
        self._own_loss, self._ranks = per_chunk_loss, ranks
        self._n_cells = n_cells_of(views)
        self._device = _device(views[0])
        self._rows = [rows if isinstance(rows, slice) else torch.from_numpy(rows).to(self._device) for rows in chunks]
        self._states: dict[tuple[int, int], RandomState] = {}
        self._own_states: dict[int, RandomState] = {}
        self._places = [(v, i) for v in range(len(views)) for i in range(len(chunks))]
        self._kept: tuple[Tensor, Any] | None = None
        self._caches: list[Tensor] = []
        self._gave_back_at = time.monotonic()

    def size(self, chunk: int) -> int:
        """Return the number of cells of a chunk."""
        return len(self._cells(chunk))

    def first(self) -> Caches:
        """Embed everything, without a graph but for the last chunk."""
        caches: list[Tensor] = []
        is_finite = []
        for v, i in self._places:
            self._states[v, i] = random_state(self._device)
            with torch.set_grad_enabled((v, i) == self._places[-1]):
                made = self._encoded(v, i)
            embedded = made[0].detach()
            if (v, i) == self._places[-1]:
                self._kept = made
            if len(caches) == v:
                is_short = embedded.dtype in (torch.float16, torch.bfloat16)
                shape = (self._n_cells, *embedded.shape[1:])
                caches.append(embedded.new_empty(shape, dtype=torch.float32 if is_short else embedded.dtype))
            caches[v][self._rows[i]] = embedded.to(caches[v].dtype)
            is_finite.append(torch.isfinite(embedded).all())
        self.refuse_non_finite(torch.stack(is_finite), "an embedding")
        self._caches = [cache.requires_grad_() for cache in caches]
        return Caches(self._caches, [self._join(cache)[0] for cache in self._caches])

    def second(self, gradients: Sequence[Tensor]) -> tuple[Tensor, list[Tensor]]:
        """Push the embeddings' gradients through; return the chunks' own loss, and what the passes differ by."""
        total, differences = self._caches[0].new_zeros(()), []
        is_finite = torch.ones(len(self._chunks), dtype=torch.bool, device=self._device)
        self._give_back()  # what the loss over embeddings has let go of
        for v, i in [self._places[-1], *self._places[:-1]]:
            kept, self._kept = self._kept, None
            own, difference = self._push(v, i, gradients, kept)
            if kept is None:
                differences.append(difference)
            if own is not None:
                total = total + own
                is_finite[i] = torch.isfinite(own)
        if self._own_loss is not None:
            self.refuse_non_finite(is_finite, "the loss of a chunk")
        if self._ranks is not None:
            total = total.new_tensor(self._ranks.total(float(total), self._device))
        return total, differences

    def compare(self, loss: Callable[..., Tensor], parameters: Sequence[Tensor]) -> float:
        """Compute the step undivided, and return the largest difference of a gradient over the largest gradient."""
        divided = [parameter.grad for parameter in parameters]
        for parameter in parameters:
            parameter.grad = None
        with torch.enable_grad(), replay(self._states[0, 0]):
            whole, made = undivided(self._encode, self._views, self._chunks)
            total = loss(*(self._join(z.to(cache.dtype))[0] for z, cache in zip(whole, self._caches, strict=True)))
            for v, i in [self._places[-1], *self._places[:-1]]:  # the order in which own losses draw random numbers
                own = self._own_loss(self._chunks[i], made[i]) if self._own_loss is not None and v == 0 else None
                total = total if own is None else total + own
            total.backward()  # type: ignore[no-untyped-call]
        difference = largest = 0.0
        for parameter, found in zip(parameters, divided, strict=True):
            expected, parameter.grad = parameter.grad, found
            for gradient in (found, expected):
                if gradient is not None:
                    largest = max(largest, float(gradient.abs().max()))
            if found is not None or expected is not None:
                zero = torch.zeros_like(parameter)
                found, expected = (zero if gradient is None else gradient for gradient in (found, expected))
                difference = max(difference, float((found - expected).abs().max()))
        return difference / largest if largest else 0.0

    def refuse_non_finite(self, is_finite: Tensor, what: str) -> None:
        """Raise on every rank if anything is not finite on any; numbers of chunks follow one another in `is_finite`."""
        bad = (~is_finite.flatten()).nonzero()
        is_anywhere = self._ranks.any(bool(len(bad)), self._device) if self._ranks is not None else bool(len(bad))
        if not is_anywhere:
            return
        if not len(bad):
            msg = f"{what} of another rank"
            raise NonFiniteError(msg)
        if is_finite.ndim == 0:
            raise NonFiniteError(what)
        chunk = int(bad[0]) % len(self._chunks)
        raise NonFiniteError(what, chunk=chunk, rows=self._cells(chunk))

    def locate_non_finite(self, gradients: Sequence[Tensor], parameters: Sequence[Tensor]) -> None:
        """Raise if a parameter's gradient is not finite; the second pass is gone through again to find the chunk."""
        if _are_finite(parameters):
            return
        for v, i in self._places:
            for parameter in parameters:
                parameter.grad = None
            self._push(v, i, gradients, None)
            if not _are_finite(parameters):
                msg = "the gradient"
                raise NonFiniteError(msg, chunk=i, rows=self._cells(i))
        raise NonFiniteError("the gradient" if self._ranks is None else "the gradient of another rank")

    def _push(
        self, v: int, i: int, gradients: Sequence[Tensor], kept: tuple[Tensor, Any] | None
    ) -> tuple[Tensor | None, Tensor]:
        """Push one chunk's gradient and own loss through; return that loss and how far the embeddings differ."""
        with torch.enable_grad():
            if kept is None:
                with replay(self._states[v, i]):
                    embedded, more = self._encoded(v, i)
            else:
                embedded, more = kept
                del kept
            rows = self._rows[i]
            difference = (embedded.detach() - self._caches[v].detach()[rows]).abs().max()
            roots, seeds = [embedded], [gradients[v][rows].to(embedded.dtype)]
            own = None
            if self._own_loss is not None and v == 0:
                if more is None:  # a graph of its own: let go of the embeddings' graph first
                    torch.autograd.backward(roots, seeds)
                    roots, seeds = [], []
                    del embedded
                if i in self._own_states:
                    with replay(self._own_states[i]):
                        own = self._own_loss(self._chunks[i], more)
                else:
                    self._own_states[i] = random_state(self._device)
                    own = self._own_loss(self._chunks[i], more)
            if own is not None:
                roots, seeds = [*roots, own], [*seeds, torch.ones_like(own)]
            if roots:
                torch.autograd.backward(roots, seeds)
        return None if own is None else own.detach(), difference

    def _encoded(self, v: int, i: int) -> tuple[Tensor, Any]:
        if time.monotonic() - self._gave_back_at > GIVE_BACK_EVERY_S:
            self._give_back()
        return pair(self._encode(take(self._views[v], self._chunks[i])))

    def _give_back(self) -> None:
        """Give free memory of a CPU back, if there are chunks enough."""
        if self._device.type == "cpu" and len(self._places) >= GIVE_BACK_FROM:
            give_back_free()
            self._gave_back_at = time.monotonic()

    def _join(self, z_BD: Tensor) -> tuple[Tensor, slice]:
        return (z_BD, slice(0, len(z_BD))) if self._ranks is None else self._ranks.gather(z_BD)

    def _cells(self, chunk: int) -> NDArray[np.int64]:
        return np.arange(self._n_cells)[self._chunks[chunk]]


def undivided(encode: Encode, views: Sequence[Batch], chunks: Sequence[Rows]) -> tuple[list[Tensor], list[Any]]:
    """Encode the chunks of all views with every graph held.

    Returns
    -------
    The B x D embeddings of each view, and what `encode` returned besides for each chunk of the first.
    """
    n_chunks = len(chunks)
    made = [pair(encode(take(view, rows))) for view in views for rows in chunks]
    order = np.argsort(np.concatenate([np.arange(n_cells_of(views))[rows] for rows in chunks]))
    order_B = torch.from_numpy(order).to(_device(views[0]))
    whole = [
        torch.cat([embedded for embedded, _ in made[start : start + n_chunks]])[order_B]
        for start in range(0, len(made), n_chunks)
    ]
    return whole, [more for _, more in made[:n_chunks]]


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


def _device(batch: Batch) -> torch.device:
    return next(iter(batch.values())).device if isinstance(batch, Mapping) else batch.device


def _are_finite(parameters: Sequence[Tensor]) -> bool:
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    return bool(torch.stack([torch.isfinite(gradient).all() for gradient in gradients]).all()) if gradients else True
