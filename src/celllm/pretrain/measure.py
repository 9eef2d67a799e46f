"""Steps over synthetic cells, measured: seconds and peak memory, chunked and full-batch, and seconds of a FLOP."""

from __future__ import annotations

import re
import resource
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from celllm.base.errors import CellLMError
from celllm.base.heap import return_large_blocks
from celllm.config.recipe import Recipe
from celllm.config.recipe_encoder import EncoderSettings
from celllm.model.encoder import Encoder
from celllm.pretrain import optim
from celllm.pretrain.batch import View
from celllm.pretrain.chunks import LARGE_BYTES, Rows, by_tokens, full_batch
from celllm.pretrain.divide import divide_and_conquer
from celllm.pretrain.flops import step_flops
from celllm.pretrain.losses import info_nce
from celllm.pretrain.step import StepLoss
from celllm.pretrain.step_cost import MODES
from celllm.pretrain.stopping import is_out_of_memory
from celllm.pretrain.synthetic import synthetic_batch, synthetic_encoder, synthetic_module

MIN_CHUNKS = 3
"""Of a timed step; one chunk alone would be encoded less often than those of a whole step."""
MIN_STEPS, MAX_STEPS = 2, 9
MIN_LENGTH = 64
"""Tokens of the cells of the first timed step."""


def in_fresh_process(function: Callable[..., Any], *arguments: Any) -> Any:  # noqa: ANN401
    """Call a function in a process of its own, whose peak memory is then that of the call; errors are raised here."""
    # spawned: a forked child would begin with the parent's memory
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(function, *arguments).result()


@dataclass(frozen=True)
class StepPlan:
    """One step to be measured: the contrastive loss alone, dropout on, `max_tokens` in a chunk, padding included.

    A step that needs more than `limit_bytes` in all does not fit; None: no limit.
    """

    settings: EncoderSettings
    n_genes: int
    lengths_B: NDArray[np.int64]
    max_tokens: int
    mode: str = "chunked"
    temperature: float = 0.05
    threads: int = 1
    limit_bytes: int | None = None


class Cost(NamedTuple):
    """What one step took; memory is that of the process, interpreter and libraries included."""

    seconds: float
    peak_bytes: int
    before_bytes: int


def contrastive_step(
    encoder: Encoder,
    cells: View,
    chunks: Sequence[Rows],
    *,
    mode: str,
    temperature: float = 0.05,
    context: AbstractContextManager[Any] | None = None,
) -> Tensor:
    """Set the gradient of one step, the cells compared with themselves; full-batch: the same chunks, all graphs held.

    `context` is what the encoder runs in, such as autocast.
    """

    def encode(chunk: dict[str, Tensor]) -> Tensor:
        with context or nullcontext():
            return encoder.embed(chunk["genes"], chunk["bins"], chunk.get("values"))

    def loss(first_BD: Tensor, second_BD: Tensor) -> Tensor:
        return info_nce(first_BD, second_BD, temperature=temperature)

    encoder.zero_grad(set_to_none=True)
    if mode == "chunked":
        return divide_and_conquer(encode, [cells, cells], loss, chunks=chunks)
    value = loss(*full_batch(encode, [cells, cells], chunks)[0])
    value.backward()  # type: ignore[no-untyped-call]
    return value.detach()


def measured_step(plan: StepPlan) -> Cost | None:
    """Take the plan's step in this process; None if it needs more memory than the limit."""
    torch.set_num_threads(plan.threads)
    return_large_blocks(LARGE_BYTES)
    cpu = torch.device("cpu")
    encoder = synthetic_encoder(plan.settings, plan.n_genes)

    def step(lengths_B: NDArray[np.int64], max_tokens: int) -> float:
        has_values = plan.settings.expression == "value"
        batch = synthetic_batch(lengths_B, n_genes=plan.n_genes, device=cpu, has_values=has_values)
        chunks = by_tokens(lengths_B, max_tokens)
        started = time.perf_counter()
        contrastive_step(encoder, batch.plain(), chunks, mode=plan.mode, temperature=plan.temperature)
        return time.perf_counter() - started

    step(np.array([8, 8]), 8)  # the first of all takes longer
    before_bytes = process_bytes("VmRSS")
    if plan.limit_bytes is not None:
        # resident memory cannot be limited; what is mapped from here on will be resident
        allowed = process_bytes("VmSize") + max(0, plan.limit_bytes - before_bytes)
        resource.setrlimit(resource.RLIMIT_AS, (allowed, allowed))
    try:
        seconds = step(plan.lengths_B, plan.max_tokens)
    except (RuntimeError, MemoryError) as error:
        if is_out_of_memory(error):
            return None
        raise
    return Cost(seconds, process_bytes("VmHWM"), before_bytes)


def sweep(
    plan: StepPlan, batches: Sequence[int], *, report: Callable[[str], object] = lambda message: None
) -> list[dict[str, Any]]:
    """Measure chunked and full-batch steps over ever more cells, each in a fresh process; report tells of each.

    The plan's first B cells make a batch of B. Where a mode does not fit, larger batches are not tried in that mode.
    Returns rows of `celllm.pretrain.step_cost`; a CellLMError says that a process died.
    """
    rows: list[dict[str, Any]] = []
    for mode in MODES:
        for n_cells in sorted(batches):
            one = replace(plan, lengths_B=plan.lengths_B[:n_cells], mode=mode)
            try:
                cost: Cost | None = in_fresh_process(measured_step, one)
            except BrokenProcessPool:
                msg = (
                    f"the process that measured {n_cells} cells, {mode}, died; the system may have ended it for want "
                    "of memory\n  do this:  set step_cost.limit_gb below the memory of the machine"
                )
                raise CellLMError(msg) from None
            seconds, peak_gb = (float("nan"),) * 2 if cost is None else (cost.seconds, cost.peak_bytes / 1e9)
            told = "does not fit" if cost is None else f"{seconds:.2f} s, {peak_gb:.2f} GB"
            report(f"{mode}, {n_cells} cells: {told}")
            rows.append({"B": n_cells, "mode": mode, "seconds": seconds, "peak_gb": peak_gb})
            if cost is None:
                break
    return rows


def process_bytes(field: str) -> int:
    """Return this process's memory: `VmRSS` resident, `VmHWM` its peak, `VmSize` mapped.

    Where the kernel does not say (no /proc), the peak comes from getrusage, and the others are 0.
    """
    try:
        found = re.search(rf"{field}:\s+(\d+)", Path("/proc/self/status").read_text(encoding="utf-8"))
        return int(found[1]) * 1024 if found else 0
    except OSError:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
        return peak if field == "VmHWM" else 0


@dataclass(frozen=True)
class Timing:
    """What was timed on a device: seconds of a FLOP of encoding, whatever its precision, and of clipping and AdamW."""

    seconds_per_flop: float
    optimiser_s: float
    n_cells: int
    n_tokens: int
    n_steps: int
    device: str
    threads: int

    def step_s(self, flops: int) -> float:
        """Return the time of a step with so many FLOPs."""
        return flops * self.seconds_per_flop + self.optimiser_s


def time_steps(
    recipe: Recipe,
    lengths_B: NDArray[np.int64],
    targets_B: NDArray[np.int64],
    *,
    n_genes: int,
    seconds: float,
    device: torch.device,
    clock: Callable[[], float] = time.perf_counter,
) -> Timing:
    """Time steps with all losses of the recipe, over ever longer and more cells until one fills a fifth of `seconds`.

    `targets_B` are how many tokens of each cell are hidden. Four steps are taken in any case. `clock` may be
    `time.process_time`, for a machine that others use as well.
    """
    module = synthetic_module(recipe, n_genes, device=device)
    optimiser = optim.optimiser_of(module, recipe.optimiser)
    trained = [p for group in optimiser.param_groups for p in group["params"]]

    def autocast() -> AbstractContextManager[Any]:
        return torch.autocast(device.type, torch.bfloat16, enabled=recipe.training.precision != "32-true")

    def now() -> float:
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        return clock()

    def step(n_cells: int, max_length: int) -> tuple[float, float, float]:
        lengths = np.minimum(lengths_B[:n_cells], max_length)
        targets = np.minimum(targets_B[:n_cells] * lengths // lengths_B[:n_cells], lengths - 1)
        budget = max(1, min(recipe.training.chunk_tokens, int(lengths.sum()) // MIN_CHUNKS))
        loss = StepLoss(module, max_tokens=budget, autocast=autocast)
        batch = synthetic_batch(lengths, targets, n_genes=n_genes, device=device)
        optimiser.zero_grad(set_to_none=True)
        started = now()
        loss.accumulate(batch, health=False)
        encoded = now()
        torch.nn.utils.clip_grad_norm_(trained, recipe.optimiser.clip_norm)
        optimiser.step()
        flops = step_flops(recipe, lengths, targets, by_tokens(lengths, budget)).total
        return encoded - started, now() - encoded, (encoded - started) / flops

    started = now()
    n_cells, max_length = min(2 * MIN_CHUNKS, len(lengths_B)), MIN_LENGTH
    step(n_cells, max_length)  # the first of all takes longer
    while step(n_cells, max_length)[0] < seconds / 5:
        if max_length < lengths_B[:n_cells].max():
            max_length *= 2
        elif n_cells < len(lengths_B):
            n_cells *= 2
        else:
            break
    timed: list[tuple[float, float, float]] = []
    while len(timed) < MIN_STEPS or (len(timed) < MAX_STEPS and now() - started < seconds):
        timed.append(step(n_cells, max_length))
    _, optimiser_s, rates = (float(np.median(column)) for column in zip(*timed, strict=True))
    return Timing(
        seconds_per_flop=rates,
        optimiser_s=optimiser_s,
        n_cells=min(n_cells, len(lengths_B)),
        n_tokens=int(np.minimum(lengths_B[:n_cells], max_length).sum()),
        n_steps=len(timed),
        device=str(device),
        threads=torch.get_num_threads(),
    )
