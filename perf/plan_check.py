"""Whether `celllm plan` is right: `python perf/plan_check.py --json`, seconds and peak memory against a real run.

On a CPU, one thread, CPU seconds of the process, so that other work on the machine counts for little. The C library
gives freed blocks of 8 MiB and more back at once, as in the workflow's jobs. A recipe is planned from a few timed
steps, then trained for some steps on simulated cells in a process of its own. The first step
is left out of the time, as it warms up.
"""

from __future__ import annotations

import os
import time
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
import simulated
import torch
from line import line, options, show

from celllm.config import recipe as recipes
from celllm.config.recipe import Recipe
from celllm.corpus.memory import MemoryCorpus
from celllm.pretrain.estimate import chunk_cost, estimate, memory_of
from celllm.pretrain.measure import Cost, in_fresh_process, process_bytes, time_steps
from celllm.pretrain.monitor import HistoryRow, Monitor
from celllm.pretrain.run import pretrain
from celllm.pretrain.synthetic import CorpusSize, synthetic_step

BAR = 0.20
GENES = 4_000
RECIPES = {
    "narrow": {"width": 64, "depth": 2, "heads": 4, "head_width": 16, "longest": 512, "batch": 64, "chunk": 8_192},
    "wide": {"width": 192, "depth": 4, "heads": 6, "head_width": 32, "longest": 1_024, "batch": 16, "chunk": 8_192},
}


def recipe_of(sizes: dict[str, int], n_steps: int) -> Recipe:
    """Make a recipe with all three losses, of one step more than is timed."""
    encoder = {name: sizes[name] for name in ("width", "depth", "heads", "head_width")}
    training = {"batch_cells": sizes["batch"], "chunk_tokens": sizes["chunk"], "steps": n_steps + 1, "log_every": 1}
    tokens = {"max_length": sizes["longest"]}
    return recipes.read({"tokens": tokens, "genes": {"method": "random"}, "encoder": encoder, "training": training})


def planned(recipe: Recipe, corpus: MemoryCorpus, *, seconds: float, seed: int) -> tuple[float, int]:
    """Plan a run: seconds of all steps but the first, and the memory that it adds to a process."""
    size = CorpusSize(corpus.n_cells, corpus.n_genes, np.diff(corpus.counts.indptr).astype(np.int64))
    lengths, targets = synthetic_step(recipe, size, seed=seed)
    on = {"device": torch.device("cpu"), "clock": time.process_time}
    timing = time_steps(recipe, lengths, targets, n_genes=corpus.n_genes, seconds=seconds, **on)
    step_s = timing.step_s(estimate(recipe, size, seed=seed).flops.total)
    cost = chunk_cost(recipe, round(float(lengths.mean())), layout="cpu")
    memory = memory_of(recipe, size, cost, recipe.training.chunk_tokens)
    return (recipe.training.steps - 1) * step_s, memory.device + memory.host


def trained(recipe: Recipe, corpus: MemoryCorpus, seed: int) -> Cost:
    """Train in this process; seconds of all steps but the first."""
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore")
    before_bytes = process_bytes("VmRSS")
    table = np.random.default_rng(seed).standard_normal((corpus.n_genes, recipe.encoder.width), dtype=np.float32)
    clock = _Clock()
    pretrain(recipe, corpus, gene_embedding=table, gene_digest="simulated", seed=seed, monitors=[clock])
    return Cost(clock.ends[-1] - clock.ends[0], process_bytes("VmHWM"), before_bytes)


class _Clock(Monitor):
    """Notes when each row came, in CPU seconds of the process."""

    def __init__(self) -> None:
        self.ends: list[float] = []

    def row(self, row: HistoryRow) -> None:
        del row
        self.ends.append(time.process_time())


def figures(name: str, *, steps: int, seed: int, seconds: float) -> Iterator[dict[str, Any]]:
    """Plan a run, take it, and yield how far the plan was off, over what was measured."""
    corpus, recipe = simulated.corpus(512, n_genes=GENES), recipe_of(RECIPES[name], steps)
    step_s, added_bytes = planned(recipe, corpus, seconds=seconds, seed=seed)
    run: Cost = in_fresh_process(trained, recipe, corpus, seed)
    told = f"planned {step_s:.2f} s, measured {run.seconds:.2f} s"
    off = abs(step_s / run.seconds - 1)
    yield line(f"plan_error_seconds_{name}", off, "of the CPU seconds", peer=told, at_most=BAR)
    peak_bytes = run.before_bytes + added_bytes
    told = f"planned {peak_bytes / 1e9:.3f} GB, measured {run.peak_bytes / 1e9:.3f} GB"
    told += f", of it before {run.before_bytes / 1e9:.3f} GB"
    off = abs(peak_bytes / run.peak_bytes - 1)
    yield line(f"plan_error_memory_{name}", off, "of the peak", peer=told, at_most=BAR)


def main() -> None:
    parser = options(__doc__)
    parser.add_argument("--recipes", nargs="+", choices=RECIPES, default=list(RECIPES))
    parser.add_argument("--steps", type=int, default=4, help="that are timed")
    parser.add_argument("--repeats", type=int, default=1, help="plans and runs, with seeds 0, 1, …")
    parser.add_argument("--seconds", type=float, default=20, help="that a calibration may take")
    args = parser.parse_args()
    os.environ.setdefault("MALLOC_MMAP_THRESHOLD_", str(8 << 20))  # of the processes that train
    torch.set_num_threads(1)
    for name in args.recipes:
        for seed in range(args.repeats):
            show(figures(name, steps=args.steps, seed=seed, seconds=args.seconds), as_json=args.json)


if __name__ == "__main__":
    main()
