"""What a token costs in memory and in memory traffic, found by watching every operation of a small step.

Sizes of tensors do not depend on their values, so a step over a few short cells tells what one over many would take.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_iter

from celllm.config.recipe import Recipe
from celllm.model.attention import default_features
from celllm.model.favor import BLOCK_NUMBERS
from celllm.model.randomness import seeded
from celllm.pretrain.drawn import drawn_batch, drawn_module
from celllm.pretrain.step import Pretrained, StepLoss

CPU = torch.device("cpu")
Layout = Literal["cpu", "gpu"]
PRODUCTS = {"mm", "addmm", "bmm", "baddbmm"}
FREE_OF_TRAFFIC = {"empty", "empty_like", "empty_strided", "new_empty", "detach"}
LOOK_UPS = {"embedding", "gather", "index"}
"""They read as much as they write, however large the table."""
N_GENES = 16
"""Of the small step; the gene table is no part of what a token costs."""
LENGTHS = (20, 40)
"""Tokens of its cell: whole numbers of hidden ones at the paper's rate, and all heads in one block of FAVOR+."""
INPUT_BYTES = 32
"""A token of a chunk as the encoder takes it: gene, bin and target, and the array they are cut from, int64 each."""


class Watch(TorchDispatchMode):
    """Adds up the memory of all tensors that are made inside and alive at once, and the bytes that operations move.

    Parameters
    ----------
    known
        Tensors that were there before; their memory is not counted.
    features_bytes
        Size of the tensors that hold the random features of all heads, counted apart; 0: there are none.

    Notes
    -----
    Traffic is what each operation reads and writes, matrix products excepted: nothing is fused, as without a compiler.
    Products in 16 bits are not carried out, zeros stand for them: many a CPU needs minutes for what a GPU does at once,
    and only their sizes matter here.
    """

    def __init__(self, known: Iterable[Tensor] = (), *, features_bytes: int = 0) -> None:
        super().__init__()
        self.traffic_bytes = 0
        self.held: list[tuple[int, int]] = []
        """Whenever a tensor is made: the bytes then alive, without random features, and those of random features."""
        self._alive = [0, 0]
        self._features_bytes = features_bytes
        self._seen = {tensor.untyped_storage()._cdata for tensor in known}

    def __torch_dispatch__(
        self,
        func: Any,  # noqa: ANN401 - torch's own
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:  # noqa: ANN401
        """Carry out one operation and note what it makes and moves."""
        name = func.overloadpacket.__name__
        read = [leaf for leaf in tree_iter((args, kwargs or {})) if isinstance(leaf, Tensor)]
        if name in ("mm", "addmm") and read[-1].dtype == torch.bfloat16:
            left, right = read[-2:]
            out: Any = left.new_zeros(left.shape[0], right.shape[1])
        else:
            out = func(*args, **(kwargs or {}))
        made = [leaf for leaf in tree_iter(out) if isinstance(leaf, Tensor)]
        before = {tensor.untyped_storage()._cdata for tensor in read}
        is_view = not func._schema.is_mutable and any(t.untyped_storage()._cdata in before for t in made)
        for tensor in made:
            self._note(tensor)
        if name in LOOK_UPS:
            self.traffic_bytes += 2 * sum(tensor.nbytes for tensor in made)
        elif not is_view and name not in PRODUCTS | FREE_OF_TRAFFIC:
            self.traffic_bytes += sum(tensor.nbytes for tensor in (*read, *made))
        return out

    def _note(self, tensor: Tensor) -> None:
        storage = tensor.untyped_storage()
        place, n_bytes = storage._cdata, storage.nbytes()
        if place in self._seen:
            return
        kind = int(n_bytes == self._features_bytes)
        self._seen.add(place)
        self._alive[kind] += n_bytes
        self.held.append((self._alive[0], self._alive[1]))
        weakref.finalize(storage, self._freed, place, n_bytes, kind).atexit = False

    def _freed(self, place: int, n_bytes: int, kind: int) -> None:
        self._seen.discard(place)
        self._alive[kind] -= n_bytes


class Moment(NamedTuple):
    """Memory held at one moment of a step: so much, and so much more a token."""

    constant_bytes: float
    token_bytes: float


@dataclass(frozen=True)
class Footprint:
    """What the tokens of a chunk take beside weights, gradients and optimiser.

    Parameters
    ----------
    layout
        Of which device.
    moments
        Those at which, for some number of tokens, more is held than at any other.
    forward_traffic
        Bytes that going forwards without a graph moves, a token.
    step_traffic
        Bytes that all passes of a step move, a token, as if no chunk were kept.
    """

    layout: Layout
    moments: tuple[Moment, ...]
    forward_traffic: float
    step_traffic: float

    @property
    def token_bytes(self) -> float:
        """Memory of one more token in a large chunk."""
        return max(moment.token_bytes for moment in self.moments)

    def peak_bytes(self, n_tokens: int) -> float:
        """Return the most memory that a chunk of so many tokens, padding included, holds."""
        return max(moment.constant_bytes + moment.token_bytes * n_tokens for moment in self.moments)


def footprint(recipe: Recipe, layout: Layout) -> Footprint:
    """Watch two small steps of a recipe and find what grows with the tokens.

    Parameters
    ----------
    recipe
        Whose encoder, losses and precision.
    layout
        FAVOR+ works on all heads and cells at once on a GPU, on a block that fits the cache on a CPU: on a GPU the
        random features of all tokens are alive together. The dropout of a CPU keeps a number where a GPU keeps a byte,
        so for a GPU the result is a little high.
    """
    module = drawn_module(recipe, N_GENES, device=CPU)
    passes = [[watch(recipe, module, length, is_step=is_step) for length in LENGTHS] for is_step in (False, True)]
    n_more = LENGTHS[1] - LENGTHS[0]
    forward, step = ((b.traffic_bytes - a.traffic_bytes) / n_more for a, b in passes)
    held = np.array([one.held for one in passes[1]], dtype=float)  # run x moment x (other, features)
    blocks_bytes = 0.0
    if layout == "cpu":
        blocks_bytes = 2 * 4 * BLOCK_NUMBERS * bool(held[..., 1].any())
        held[..., 1] = 0
    few, many = held.sum(axis=-1)
    slopes = (many - few) / n_more
    is_divided = recipe.objectives.contrastive.weight > 0
    made_bytes = sum(p.nbytes for p in module.parameters() if p.requires_grad) if is_divided else 0
    constants = few - slopes * LENGTHS[0] + blocks_bytes - made_bytes
    return Footprint(
        layout,
        _outermost([Moment(float(a), float(b) + INPUT_BYTES) for a, b in zip(constants, slopes, strict=True)]),
        forward * is_divided,
        step + forward * is_divided,
    )


def watch(recipe: Recipe, module: Pretrained, length: int, *, is_step: bool) -> Watch:
    """Watch a step over one chunk of one cell, or one pass forwards without a graph."""
    settings, objectives = recipe.encoder, recipe.objectives
    n_features = settings.n_features or default_features(settings.head_width)
    rate = objectives.masked.rate if objectives.masked.weight > 0 else 0.0
    batch = drawn_batch(np.array([length]), np.array([round(rate * length)]), n_genes=N_GENES, device=CPU)
    module.zero_grad(set_to_none=True)
    if (
        objectives.contrastive.weight == 0
    ):  # one backward pass: let it find gradients, as every chunk but the first does
        for parameter in module.parameters():
            parameter.grad = torch.zeros_like(parameter) if parameter.requires_grad else None
    known = [*module.parameters(), *module.buffers(), *(p.grad for p in module.parameters() if p.grad is not None)]
    watched = Watch(known, features_bytes=4 * settings.heads * length * n_features)
    step_loss = StepLoss(module, objectives, max_tokens=length, autocast=partial(precision_context, recipe, CPU))
    view = batch.plain()[slice(0, 1)]
    with seeded(0, CPU), watched:
        if is_step:
            step_loss.accumulate(batch, health=False)
        else:
            with torch.no_grad(), precision_context(recipe, CPU):
                module.encoder.embed(view["genes"], view["bins"])
    return watched


def precision_context(recipe: Recipe, device: torch.device) -> AbstractContextManager[Any]:
    """Return the context in which the recipe's precision holds."""
    if recipe.training.precision == "32-true":
        return nullcontext()
    return torch.autocast(device.type, torch.bfloat16)


def _outermost(moments: Sequence[Moment]) -> tuple[Moment, ...]:
    """Leave out moments that hold less than some other, whatever the tokens."""
    kept: list[Moment] = []
    for moment in sorted(moments, key=lambda one: (-one.token_bytes, -one.constant_bytes)):
        if not kept or moment.constant_bytes > kept[-1].constant_bytes:
            kept.append(moment)
    return tuple(kept)
