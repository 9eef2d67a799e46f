"""What a step costs: seconds and peak memory, divided and undivided, each measured in a process of its own.

Shapes: B cells in the batch, C cells of a chunk, L tokens of its longest cell, D embedding width.
"""

from __future__ import annotations

import multiprocessing
import re
import resource
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from celllm.base.errors import CellLMError
from celllm.config.recipe import EncoderSettings
from celllm.corpus.tokens import CLS, N_BINS, PAD
from celllm.model.encoder import Encoder
from celllm.model.randomness import seeded
from celllm.pretrain.chunks import Rows, by_tokens
from celllm.pretrain.contrastive import info_nce
from celllm.pretrain.divide import divide_and_conquer
from celllm.pretrain.passes import Batch, Encode, undivided

Mode = Literal["divided", "undivided"]
MODES: tuple[Mode, ...] = ("divided", "undivided")
POLL_S = 0.01
"""Between two looks at a child's memory; at 1 GB/s of newly touched pages it overshoots by 10 MB."""


class DrawnCells:
    """Cells of given lengths with random genes and bins, made when they are asked for: a batch takes no memory.

    Parameters
    ----------
    lengths_B
        Tokens of each cell, CLS included.
    n_genes
        Size of the vocabulary.
    seed
        With a cell's number it decides over its tokens.
    """

    def __init__(self, lengths_B: NDArray[np.int64], n_genes: int, *, seed: int = 0) -> None:
        self.lengths_B, self.n_genes, self.seed = lengths_B, n_genes, seed
        self.device = torch.device("cpu")

    def __len__(self) -> int:
        """Return B."""
        return len(self.lengths_B)

    def __getitem__(self, rows: Rows) -> dict[str, Tensor]:
        """Return the genes and bins of some cells, C x L each, int64, padded to the longest of them."""
        numbers_C, lengths_C = np.arange(len(self))[rows], self.lengths_B[rows]
        shape = (len(lengths_C), int(lengths_C.max()))
        genes_CL = np.full(shape, self.n_genes + 1, dtype=np.int64)
        bins_CL = np.full(shape, PAD, dtype=np.int64)
        for row, (number, length) in enumerate(zip(numbers_C.tolist(), lengths_C.tolist(), strict=True)):
            generator = np.random.default_rng([self.seed, number])
            genes_CL[row, :length] = generator.integers(0, self.n_genes, length)
            bins_CL[row, :length] = generator.integers(1, N_BINS, length)
            genes_CL[row, 0], bins_CL[row, 0] = self.n_genes, CLS
        return {"genes": torch.from_numpy(genes_CL), "bins": torch.from_numpy(bins_CL)}


@dataclass(frozen=True)
class StepPlan:
    """One step to be measured: encoder, cells, budget and mode. The contrastive loss alone, dropout on."""

    settings: EncoderSettings
    n_genes: int
    lengths_B: NDArray[np.int64]
    """Tokens of each cell, CLS included."""
    max_tokens: int
    """Tokens of a chunk, padding included."""
    mode: Mode = "divided"
    temperature: float = 0.05
    n_repeats: int = 1
    """Steps, after one small one that is not timed; the fastest counts."""
    threads: int = 1
    """Of torch."""


class Cost(NamedTuple):
    """What one step took."""

    seconds: float
    peak_bytes: int
    """Largest resident memory of the process in its life, interpreter and libraries included."""
    before_bytes: int
    """Resident memory when the steps began."""


def step(
    encode: Encode,
    views: Sequence[Batch],
    loss: Callable[..., Tensor],
    *,
    chunks: Sequence[Rows],
    mode: Mode,
) -> Tensor:
    """Accumulate one step's gradient; undivided: the same chunks with all their graphs held."""
    if mode == "divided":
        return divide_and_conquer(encode, views, loss, chunks=chunks)
    whole, _ = undivided(encode, views, chunks)
    value = loss(*whole)
    value.backward()  # type: ignore[no-untyped-call]
    return value.detach()


def run_step(plan: StepPlan) -> Cost:
    """Take the plan's step in this process."""
    torch.set_num_threads(plan.threads)
    with seeded(0, torch.device("cpu")):
        encoder = Encoder(
            plan.settings, n_genes=plan.n_genes, gene_embedding=torch.randn(plan.n_genes, plan.settings.width)
        )
    encoder.train()

    def encode(cells: dict[str, Tensor]) -> Tensor:
        return encoder.embed(cells["genes"], cells["bins"])

    def loss(first_BD: Tensor, second_BD: Tensor) -> Tensor:
        return info_nce(first_BD, second_BD, temperature=plan.temperature)

    small = DrawnCells(np.array([8, 8]), plan.n_genes)
    step(encode, [small] * 2, loss, chunks=by_tokens(small.lengths_B, 8), mode=plan.mode)
    cells = DrawnCells(plan.lengths_B, plan.n_genes)
    chunks = by_tokens(plan.lengths_B, plan.max_tokens)
    before_bytes = resident_bytes()
    seconds = []
    for _ in range(plan.n_repeats):
        encoder.zero_grad(set_to_none=True)
        started = time.perf_counter()
        step(encode, [cells] * 2, loss, chunks=chunks, mode=plan.mode)
        seconds.append(time.perf_counter() - started)
    return Cost(min(seconds), peak_bytes(), before_bytes)


class Point(NamedTuple):
    """The cost of a mode at one number of cells."""

    n_cells: int
    mode: Mode
    cost: Cost | None
    """None: the step needs more memory than the limit."""


def sweep(
    plan: StepPlan,
    batches: Sequence[int],
    *,
    limit_bytes: int,
    report: Callable[[Point], None] = lambda point: None,
) -> list[Point]:
    """Measure divided and undivided steps over ever more cells, each in a process of its own.

    Parameters
    ----------
    plan
        What all steps share; its first B cells make a batch of B.
    batches
        Values of B. Where a mode does not fit, larger ones are not tried in that mode.
    limit_bytes
        A process that holds more is stopped.
    report
        Called with each point when it is known.
    """
    points: list[Point] = []
    for mode in MODES:
        for n_cells in sorted(batches):
            one = replace(plan, lengths_B=plan.lengths_B[:n_cells], mode=mode)
            points.append(Point(n_cells, mode, in_child(run_step, one, limit_bytes=limit_bytes)))
            report(points[-1])
            if points[-1].cost is None:
                break
    return points


def rows_of(points: Sequence[Point]) -> list[dict[str, Any]]:
    """Return points as rows of `contracts.step_cost`."""
    return [
        {
            "B": point.n_cells,
            "mode": point.mode,
            "seconds": float("nan") if point.cost is None else point.cost.seconds,
            "peak_gb": float("nan") if point.cost is None else point.cost.peak_bytes / 1e9,
            "fits": point.cost is not None,
        }
        for point in points
    ]


def in_child(function: Callable[..., Any], *arguments: Any, limit_bytes: int | None = None) -> Any:  # noqa: ANN401
    """Call a function in a fresh process, whose peak memory is then that of the call.

    Parameters
    ----------
    function
        Defined at the top of a module, as are the classes of its arguments and result.
    *arguments
        What it is called with.
    limit_bytes
        The process is killed when its resident memory has passed this; None: no limit.

    Returns
    -------
    The function's result; None if it passed the limit, or the system killed it for want of memory.

    Raises
    ------
    CellLMError
        If the function raised or the process died of something else; what it said is on stderr.
    """
    spawning = multiprocessing.get_context("spawn")  # a forked child would begin with the parent's memory
    receiving, sending = spawning.Pipe(duplex=False)
    child = spawning.Process(target=_send, args=(sending, function, arguments))
    child.start()
    sending.close()
    result, is_over = None, False
    try:
        while not receiving.poll(POLL_S):
            if limit_bytes is not None and peak_bytes(child.pid) > limit_bytes:
                is_over = True
                break
        if not is_over:
            result = receiving.recv()
    except EOFError:
        pass
    finally:
        if is_over or (child.exitcode is None and sys.exc_info()[0] is not None):
            child.kill()
        child.join()
        receiving.close()
    if result is None and not is_over and child.exitcode != -9:  # SIGKILL is how a system ends what is too large
        msg = f"a process that measures ended with status {child.exitcode}"
        raise CellLMError(msg)
    if limit_bytes is not None and isinstance(result, Cost) and result.peak_bytes > limit_bytes:
        return None
    return result


def _send(sending: Connection, function: Callable[..., Any], arguments: Sequence[Any]) -> None:
    sending.send(function(*arguments))
    sending.close()


def resident_bytes() -> int:
    """Return this process's resident memory; 0 where the kernel does not say (no /proc)."""
    return _status("VmRSS", "self") or 0


def peak_bytes(process: int | None = None) -> int:
    """Return the largest resident memory that a process (None: this one) has had.

    Without /proc that of this process comes from getrusage, and that of another is 0.
    """
    found = _status("VmHWM", "self" if process is None else str(process))
    if found is not None:
        return found
    if process is not None:
        return 0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def _status(field: str, process: str) -> int | None:
    try:
        found = re.search(rf"{field}:\s+(\d+)", Path(f"/proc/{process}/status").read_text(encoding="utf-8"))
    except OSError:
        return None
    return int(found[1]) * 1024 if found else None
