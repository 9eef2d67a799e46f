"""Whether `celllm plan` is right: `python perf/plan_check.py --json`, seconds and peak memory against a real run.

On a CPU, one thread, CPU seconds of the process, so that other work on the machine counts for little. The C library
gives freed blocks of 8 MiB and more back at once, as in the workflow's jobs. A recipe is planned from a few timed
steps, then trained for some steps on simulated cells in a process of its own. The first step
is left out of the time, as it warms up.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
import warnings
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))

import simulated
from line import line, show

from celllm.config import recipe as recipes
from celllm.config.recipe import Recipe
from celllm.corpus.memory import MemoryCorpus
from celllm.pretrain.estimate import chunk_cost, estimate, memory_of
from celllm.pretrain.measure import in_fresh_process, process_bytes, time_steps
from celllm.pretrain.monitor import HistoryRow, Monitor
from celllm.pretrain.run import pretrain
from celllm.pretrain.synthetic import CorpusSize, synthetic_step

BAR = 0.20
CPU = torch.device("cpu")
GENES = 4_000
RECIPES = {
    "narrow": {"width": 64, "depth": 2, "heads": 4, "head_width": 16, "longest": 512, "batch": 64, "chunk": 8_192},
    "wide": {"width": 192, "depth": 4, "heads": 6, "head_width": 32, "longest": 1_024, "batch": 16, "chunk": 8_192},
}


class Figures(NamedTuple):
    """Of all steps but the first, and of the whole process."""

    seconds: float
    peak_bytes: int


class Run(NamedTuple):
    """What training took."""

    seconds: float
    peak_bytes: int
    before_bytes: int
    """Resident when it began: interpreter, libraries, cells."""


class PlanError(NamedTuple):
    """A plan beside the run that it foretold."""

    predicted: Figures
    measured: Figures
    before_bytes: int

    @property
    def seconds_fraction(self) -> float:
        """How far the seconds are off, over those measured."""
        return abs(self.predicted.seconds / self.measured.seconds - 1)

    @property
    def peak_fraction(self) -> float:
        """How far the peak is off, over the one measured."""
        return abs(self.predicted.peak_bytes / self.measured.peak_bytes - 1)


def recipe_of(sizes: dict[str, int], *, precision: str = "32-true") -> Recipe:
    """Make a recipe with all three losses."""
    encoder = {name: sizes[name] for name in ("width", "depth", "heads", "head_width")}
    training = {"batch_cells": sizes["batch"], "chunk_tokens": sizes["chunk"], "steps": 10, "precision": precision}
    values = {
        "tokens": {"max_length": sizes["longest"]},
        "genes": {"method": "random"},
        "encoder": encoder,
        "training": training,
    }
    return recipes.parse(values, file="perf/plan_check.py")


def planned(recipe: Recipe, corpus: MemoryCorpus, *, n_steps: int, seconds: float, seed: int) -> Figures:
    """Plan a run of so many steps; of its memory, what it adds to a process."""
    torch.set_num_threads(1)
    size = CorpusSize(corpus.n_cells, corpus.n_genes, np.diff(corpus.counts.indptr).astype(np.int64))
    lengths, targets = synthetic_step(recipe, size, seed=seed)
    timing = time_steps(
        recipe, lengths, targets, n_genes=corpus.n_genes, seconds=seconds, device=CPU, clock=time.process_time
    )
    step_s = timing.step_s(estimate(recipe, size, seed=seed).flops.total)
    cost = chunk_cost(recipe, round(float(lengths.mean())), layout="cpu")
    memory = memory_of(recipe, size, cost, recipe.training.chunk_tokens)
    return Figures(n_steps * step_s, memory.device + memory.host)


def trained(recipe: Recipe, corpus: MemoryCorpus, n_steps: int, seed: int) -> Run:
    """Train for one step more than is timed, in this process."""
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore")
    training = recipe.training.model_copy(update={"steps": n_steps + 1, "log_every": 1})
    chosen = recipe.model_copy(update={"training": training})
    before_bytes = process_bytes("VmRSS")
    table = np.random.default_rng(seed).standard_normal((corpus.n_genes, recipe.encoder.width), dtype=np.float32)
    clock = _Clock()
    pretrain(chosen, corpus, gene_embedding=table, gene_digest="simulated", seed=seed, monitors=[clock])
    return Run(clock.ends[-1] - clock.ends[0], process_bytes("VmHWM"), before_bytes)


class _Clock(Monitor):
    """Notes when each row came, in CPU seconds of the process."""

    def __init__(self) -> None:
        self.ends: list[float] = []

    def row(self, row: HistoryRow) -> None:
        del row
        self.ends.append(time.process_time())


def plan_error(recipe: Recipe, corpus: MemoryCorpus, *, steps: int, seed: int, seconds: float = 20) -> PlanError:
    """Plan a run, take it, and return both.

    Parameters
    ----------
    recipe, corpus
        What is trained on what.
    steps
        That are timed.
    seed
        Of the cells that the plan draws, and of the run.
    seconds
        That the calibration may take.
    """
    foretold = planned(recipe, corpus, n_steps=steps, seconds=seconds, seed=seed)
    run: Run = in_fresh_process(trained, recipe, corpus, steps, seed)
    predicted = Figures(foretold.seconds, run.before_bytes + foretold.peak_bytes)
    return PlanError(predicted, Figures(run.seconds, run.peak_bytes), run.before_bytes)


def main() -> None:
    """Plan, train, print."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--json", action="store_true", help="one JSON object a line")
    options.add_argument("--recipes", nargs="+", default=list(RECIPES), help=f"of {', '.join(RECIPES)}")
    options.add_argument("--steps", type=int, default=4, help="that are timed")
    options.add_argument("--repeats", type=int, default=1, help="plans and runs, with seeds 0, 1, …")
    options.add_argument("--seconds", type=float, default=20, help="that a calibration may take")
    args = options.parse_args()
    os.environ.setdefault("MALLOC_MMAP_THRESHOLD_", str(8 << 20))  # of the processes that train
    corpus = simulated.corpus(512, n_genes=GENES)
    for name in args.recipes:
        recipe = recipe_of(RECIPES[name])
        for seed in range(args.repeats):
            found = plan_error(recipe, corpus, steps=args.steps, seed=seed, seconds=args.seconds)
            for what, value, unit, told in (
                (
                    "seconds",
                    found.seconds_fraction,
                    "of the CPU seconds",
                    f"planned {found.predicted.seconds:.2f} s, measured {found.measured.seconds:.2f} s",
                ),
                (
                    "memory",
                    found.peak_fraction,
                    "of the peak",
                    f"planned {found.predicted.peak_bytes / 1e9:.3f} GB, measured "
                    f"{found.measured.peak_bytes / 1e9:.3f} GB, of it before {found.before_bytes / 1e9:.3f} GB",
                ),
            ):
                figure = line(f"plan_error_{what}_{name}", value, unit, peer=told, bar=BAR, ok=value <= BAR)
                show(figure, as_json=args.json)


if __name__ == "__main__":
    main()
