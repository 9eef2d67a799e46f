"""FLOPs, memory and memory traffic of a step, told by the encoder itself on torch's `meta` device.

Tensors there have sizes and no numbers, so nothing is computed.

Shapes: C cells of a chunk, L tokens of its longest cell, Q of them looked at, D width.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import astuple, dataclass
from functools import lru_cache
from typing import Any, Literal
from unittest import mock

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor
from torch.nn import functional
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_iter
from torch.utils.flop_counter import FlopCounterMode

from celllm.config.recipe import ObjectiveSettings, Recipe
from celllm.config.recipe_encoder import EncoderSettings
from celllm.corpus.tokens import N_TOKENS
from celllm.model import attention, dropout, favor
from celllm.model import encoder as encoders
from celllm.model.encoder import Encoder
from celllm.pretrain.chunks import Rows, n_kept_graphs

Layout = Literal["cpu", "gpu"]
"""Of memory: FAVOR+ works on all heads and cells at once on a GPU, on a block that fits the cache on a CPU."""
N_GENES = 16
"""Of the encoder that is probed; the gene embedding is no part of what a token costs."""
PRODUCTS = {"mm", "addmm", "bmm", "baddbmm"}
FREE_OF_TRAFFIC = {"empty", "empty_like", "empty_strided", "new_empty", "detach"}
LOOK_UPS = {"embedding", "gather", "index"}
"""They read as much as they write, however large the table."""


@dataclass(frozen=True)
class Flops:
    """Floating-point operations: in the precision of training, and in float32 whatever that is (FAVOR+)."""

    mixed: int = 0
    float32: int = 0

    @property
    def total(self) -> int:
        """All of them."""
        return self.mixed + self.float32

    def plus(self, other: Flops, *, times: int = 1) -> Flops:
        """Return the sum of these and `times` the others."""
        return Flops(self.mixed + times * other.mixed, self.float32 + times * other.float32)


@dataclass(frozen=True)
class Probe:
    """What encoding one chunk takes.

    FLOPs are those of torch's own counter. Traffic is what each operation reads and writes, matrix products excepted:
    nothing is fused, as without a compiler. `peak_bytes` are all tensors alive at the worst moment of forwards and
    backwards, parameters and their gradients left out.
    """

    forwards: Flops
    backwards: Flops
    forward_traffic: int
    traffic: int
    peak_bytes: int


class _Watch(TorchDispatchMode):
    """Adds up the memory of tensors that are made inside and alive at once, and the bytes that operations move."""

    def __init__(self, known: Iterable[Tensor]) -> None:
        super().__init__()
        self.traffic_bytes = self.alive_bytes = self.peak_bytes = 0
        self._seen = {tensor.untyped_storage()._cdata for tensor in known}

    def __torch_dispatch__(
        self,
        func: Any,  # noqa: ANN401 - torch's own
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:  # noqa: ANN401
        """Carry out one operation and note what it makes and moves."""
        out = func(*args, **(kwargs or {}))
        read = [leaf for leaf in tree_iter((args, kwargs or {})) if isinstance(leaf, Tensor)]
        made = [leaf for leaf in tree_iter(out) if isinstance(leaf, Tensor)]
        before = {tensor.untyped_storage()._cdata for tensor in read}
        is_view = not func._schema.is_mutable and any(t.untyped_storage()._cdata in before for t in made)
        for tensor in made:
            self._note(tensor.untyped_storage())
        name = func.overloadpacket.__name__
        if name in LOOK_UPS:
            self.traffic_bytes += 2 * sum(tensor.nbytes for tensor in made)
        elif not is_view and name not in PRODUCTS | FREE_OF_TRAFFIC:
            self.traffic_bytes += sum(tensor.nbytes for tensor in (*read, *made))
        return out

    def _note(self, storage: torch.UntypedStorage) -> None:
        key, n_bytes = storage._cdata, storage.nbytes()
        if key in self._seen:
            return
        self._seen.add(key)
        self.alive_bytes += n_bytes
        self.peak_bytes = max(self.peak_bytes, self.alive_bytes)
        weakref.finalize(storage, self._freed, key, n_bytes).atexit = False

    def _freed(self, key: int, n_bytes: int) -> None:
        self._seen.discard(key)
        self.alive_bytes -= n_bytes


class _Bfloat16(TorchFunctionMode):
    """What autocast does to the encoder, which torch does not offer for the meta device: linear layers in 16 bits."""

    def __torch_function__(
        self,
        func: Any,  # noqa: ANN401 - torch's own
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:  # noqa: ANN401
        """Cast the arguments of linear layers to bfloat16, those of LayerNorm to float32."""
        if func in (functional.linear, functional.layer_norm):
            dtype = torch.bfloat16 if func is functional.linear else torch.float32
            args = tuple(one.to(dtype) if isinstance(one, Tensor) else one for one in args)
        return func(*args, **(kwargs or {}))


def _flash(q_BHQE: Tensor, k_BHLE: Tensor, v_BHLE: Tensor, _: Tensor | None = None) -> Tensor:
    return torch.ops.aten._scaled_dot_product_flash_attention(q_BHQE, k_BHLE, v_BHLE)[0]  # type: ignore[no-any-return]


@contextmanager
def _stand_ins(layout: Layout, precision: str) -> Iterator[None]:
    """Replace what the meta device lacks or does otherwise than the device in question."""
    is_cpu = layout == "cpu"

    def dropped(module: dropout.Dropout, x: Tensor) -> Tensor:
        # a GPU keeps a byte, our dropout of a CPU a number
        return x * torch.empty_like(x) if is_cpu else torch.native_dropout(x, module.rate, train=True)[0]

    with ExitStack() as stack:
        stack.enter_context(torch.device("meta"))
        stack.enter_context(mock.patch.object(torch, "autocast", return_value=nullcontext()))
        stack.enter_context(mock.patch.object(attention, "softmax_attention", _flash))
        stack.enter_context(mock.patch.object(dropout.Dropout, "forward", dropped))
        stack.enter_context(mock.patch.object(encoders, "_padding", return_value=None))
        stack.enter_context(mock.patch.object(favor, "_on_cpu", return_value=is_cpu))
        if precision == "bf16-mixed":
            stack.enter_context(_Bfloat16())
        yield


def probe(
    settings: EncoderSettings,
    *,
    n_cells: int = 1,
    length: int,
    queries: int = 1,
    precision: str = "32-true",
    layout: Layout = "gpu",
) -> Probe:
    """Encode a chunk of `n_cells` cells forwards and backwards, the last layer for `queries` tokens of each."""
    with _stand_ins(layout, precision):
        encoder = Encoder(settings, n_genes=N_GENES, gene_embedding=torch.empty(N_GENES, settings.width)).train()
        for parameter in encoder.parameters():
            parameter.grad = torch.empty_like(parameter) if parameter.requires_grad else None
        genes_CL = torch.empty(n_cells, length, dtype=torch.int64)
        positions_CQ = torch.empty(n_cells, queries, dtype=torch.int64)
        gradients = [p.grad for p in encoder.parameters() if p.grad is not None]
        known = [*encoder.parameters(), *encoder.buffers(), *gradients]
        watch = _Watch(known)
        with watch, FlopCounterMode(display=False) as forwards:
            hidden_CQD = encoder.at(genes_CL, genes_CL, positions_CQ, torch.empty(n_cells, length))
        forward_traffic = watch.traffic_bytes
        with watch, FlopCounterMode(display=False) as backwards:
            torch.autograd.backward(hidden_CQD, torch.empty_like(hidden_CQD))
    return Probe(
        _counted(forwards, settings),
        _counted(backwards, settings),
        forward_traffic,
        watch.traffic_bytes,
        watch.peak_bytes,
    )


def _counted(counter: FlopCounterMode, settings: EncoderSettings) -> Flops:
    """Tell FAVOR+'s products, all the batched ones (`bmm`) that it has, from the others."""
    by_operation = counter.get_flop_counts()["Global"]
    float32 = sum(n for op, n in by_operation.items() if "bmm" in str(op)) if settings.attention == "favor" else 0
    return Flops(counter.get_total_flops() - float32, float32)


@dataclass(frozen=True)
class Passes:
    """How often a step encodes its cells: forwards and backwards, of contrastive views and of the masked input."""

    view_forwards: int
    view_backwards: int
    masked_forwards: int
    masked_backwards: int
    n_views: int

    @classmethod
    def of(cls, settings: ObjectiveSettings) -> Passes:
        """Count them as `step.StepLoss` does: a view goes forwards twice and backwards once, the masked input once.

        With `shared_masked_view` it is one of the two views. What is kept from the first pass saves a forward, and is
        not known here.
        """
        has_own_loss = settings.masked.weight > 0 or settings.malignancy.weight > 0
        if settings.contrastive.weight == 0:
            return cls(0, 0, 1, 1, n_views=0)
        if settings.shared_masked_view:
            return cls(2, 1, 2, 1, n_views=2)
        return cls(4, 2, int(has_own_loss), int(has_own_loss), n_views=2)


@lru_cache(maxsize=8)
def _flops_coefficients(settings: EncoderSettings) -> NDArray[np.float64]:
    """Return FLOPs of one cell as coefficients of L, Q, L^2 and L Q; rows: forwards and backwards, mixed and float32.

    A layer's products are of these sizes and no other, so four small shapes give the coefficients exactly.
    """
    shapes = np.array([(16, 1), (32, 1), (32, 8), (64, 8)], dtype=float)
    L, Q = shapes.T
    found = [probe(settings, length=int(n), queries=int(q)) for n, q in shapes]
    counted = [(*astuple(one.forwards), *astuple(one.backwards)) for one in found]
    coefficients = np.linalg.solve(np.stack([L, Q, L**2, L * Q], axis=1), np.array(counted, dtype=float))
    return np.rint(coefficients).T


def encoding_flops(settings: EncoderSettings, length: int, queries: int) -> tuple[Flops, Flops]:
    """Count the FLOPs of encoding one cell, forwards and backwards."""
    terms = np.array([length, queries, length**2, length * queries], dtype=float)
    mixed, float32, back_mixed, back_float32 = (round(x) for x in _flops_coefficients(settings) @ terms)
    return Flops(mixed, float32), Flops(back_mixed, back_float32)


def step_flops(recipe: Recipe, lengths_B: ArrayLike, targets_B: ArrayLike, chunks: Sequence[Rows]) -> Flops:
    """Count the FLOPs of a step over these chunks: encoder, heads and InfoNCE with their gradients."""
    lengths, targets = np.asarray(lengths_B), np.asarray(targets_B)
    settings, objectives, passes = recipe.encoder, recipe.objectives, Passes.of(recipe.objectives)
    total = Flops()
    n_views = passes.n_views
    n_kept = n_kept_graphs(lengths, chunks, n_views=n_views, keep_tokens=recipe.training.keep_tokens) if n_views else 0
    for number, rows in enumerate(chunks):
        n_cells, length = len(lengths[rows]), int(lengths[rows].max())
        is_mean = settings.pooling != "cls"
        forwards, backwards = encoding_flops(settings, length, length if is_mean else 1)
        kept = [v * len(chunks) + number >= n_views * len(chunks) - n_kept for v in range(n_views)]  # last ones first
        kept_masked = objectives.shared_masked_view and n_views > 0 and kept[0]
        total = total.plus(forwards, times=n_cells * (passes.view_forwards - sum(kept) + kept_masked))
        total = total.plus(backwards, times=n_cells * passes.view_backwards)
        is_whole = is_mean and objectives.shared_masked_view and passes.n_views > 0
        forwards, backwards = encoding_flops(settings, length, length if is_whole else 1 + int(targets[rows].max()))
        total = total.plus(forwards, times=n_cells * (passes.masked_forwards - kept_masked))
        total = total.plus(backwards, times=n_cells * passes.masked_backwards)
        outputs = int(targets[rows].sum()) * N_TOKENS if objectives.masked.weight > 0 else 0
        outputs += n_cells if objectives.malignancy.weight > 0 else 0
        total = total.plus(Flops(mixed=3 * 2 * settings.width * outputs))
    n_products = 0 if passes.n_views == 0 else 4 if objectives.contrastive.symmetric else 3
    return total.plus(Flops(float32=n_products * 2 * len(lengths) ** 2 * settings.width))
