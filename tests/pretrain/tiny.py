"""A corpus in memory, a recipe that trains in a second, and what processes of their own do with them.

Such a process imports this module by its own name: no test is imported there.
"""

from __future__ import annotations

import json
import os
import resource
from collections.abc import Callable, Iterable
from contextlib import nullcontext
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import csr_matrix
from torch import distributed as dist
from torch import nn

from celllm.config import recipe as recipes
from celllm.config.recipe import Recipe
from celllm.corpus.memory import MemoryCorpus
from celllm.pretrain import commands
from celllm.pretrain.batch import make_batch
from celllm.pretrain.chunks import NonFiniteError
from celllm.pretrain.divide import Record, divide_and_conquer
from celllm.pretrain.losses import info_nce
from celllm.pretrain.measure import StepPlan, measured_step, process_bytes
from celllm.pretrain.ranks import Alone, Ranks
from celllm.pretrain.run import pretrain
from celllm.pretrain.step import StepLoss
from celllm.pretrain.stopping import is_out_of_memory
from celllm.pretrain.synthetic import synthetic_batch, synthetic_module


class GroupedCorpus(MemoryCorpus):
    """Cells of three data sets, or of four samples."""

    def groups(self, of: str) -> NDArray[np.int64]:
        return np.arange(self.n_cells) % (3 if of == "dataset" else 4)


def made_corpus() -> GroupedCorpus:
    """60 cells of two kinds, tumour and normal, that express different genes; every fifth has no label."""
    generator = np.random.default_rng(0)
    kind = np.arange(60) % 2
    rate = np.where((np.arange(40) < 20) == (kind[:, None] == 0), 3.0, 0.2)
    counts = csr_matrix(generator.poisson(rate).astype(np.float32))
    return GroupedCorpus(counts, "vocabulary", np.where(np.arange(60) % 5 == 0, -1, kind).astype(np.int8))


TABLE = np.random.default_rng(1).standard_normal((40, 16)).astype(np.float32)


def tiny_recipe(**changes: dict[str, Any]) -> Recipe:
    """The recipe, with some keys of some sections changed."""
    values: dict[str, dict[str, Any]] = {
        "tokens": {"max_length": 24, "target_sum": 100},  # so that bins 0 to 4 occur
        "genes": {"method": "random"},
        "encoder": {"width": 16, "depth": 2, "heads": 2, "head_width": 8, "dropout": 0.1},
        "optimiser": {"learning_rate": 0.01, "warmup_fraction": 0.1},
        "training": {
            "batch_cells": 14,
            "chunk_tokens": 96,
            "steps": 6,
            "redraw_every": 2,
            "checkpoint_every": 3,
            "log_every": 2,
        },
    }
    for section, keys in changes.items():
        values[section] = {**values.get(section, {}), **keys}
    return recipes.parse(values, file="recipe")


PARTS = [slice(0, 3), slice(3, 9)]
WHOLE = slice(0, 9)
STEPS = {
    "plain": {"masked": {"weight": 1.0}, "contrastive": {"weight": 0.5}, "malignancy": {"weight": 2.0}},
    "views": {"contrastive": {"views": "thinning_subset"}, "shared_masked_view": True},
}
SPEEDS = ("step_s", "cells_per_s", "tokens_per_s", "loader_wait", "probe_s")
"""What of a row of the history depends on the machine; all else is the same whenever a run is repeated."""
SHARED = ("loss", "masked", "masked_accuracy", "masked_cell_mode", "malignancy", "contrastive", "contrastive_depth")


def gradients_of(parameters: Iterable[tuple[str, nn.Parameter]]) -> dict[str, Any]:
    return {name: None if p.grad is None else p.grad.flatten().tolist() for name, p in parameters}


def pretraining_step(own: slice, ranks: Alone, name: str) -> dict[str, Any]:
    """The step of pretraining with all three losses, and with views of thinned counts and kept graphs."""
    recipe = tiny_recipe(objectives=STEPS[name], encoder={"dropout": 0.0}, training={"batch_cells": 9})
    counts = csr_matrix(np.random.default_rng(0).poisson(2.0, (20, 30)).astype(np.float32))
    corpus: Any = SimpleNamespace(n_genes=30, is_malignant=np.arange(20) % 3 - 1, rows=lambda indices: counts[indices])
    cells = np.arange(20)[::2][:9][own]
    batch = make_batch(corpus, cells, recipe, panel=None, seed=0, step=1, device=torch.device("cpu"))
    module = synthetic_module(recipe, 30).double()
    step = StepLoss(module, max_tokens=60, keep_tokens=120, autocast=nullcontext, ranks=ranks)
    loss, figures = step.accumulate(batch)
    return {"loss": float(loss), "figures": figures, "gradients": gradients_of(module.named_parameters())}


def small_step(own: slice, ranks: Alone, *, check: bool = False, poisoned: bool = False) -> dict[str, Any]:
    """A small chunked step, with a loss of its own for each chunk and parameters that nobody trains."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(0)
        module = nn.Sequential(nn.Linear(5, 8), nn.Tanh(), nn.Linear(8, 4)).double()
        head, idle = nn.Linear(4, 1).double(), nn.Linear(2, 2).double()
        first, second = torch.randn(2, 9, 5, dtype=torch.float64)
        truth = torch.randn(9, dtype=torch.float64)
    if poisoned:
        first[6] = torch.nan
    told: dict[str, Any] = {}
    record = Record()
    try:
        loss = divide_and_conquer(
            lambda cells: (lambda z: (z, z))(module(cells)),
            [first[own], second[own]],
            lambda z, w: info_nce(z, w, temperature=0.3),
            chunk_size=2,
            per_chunk_loss=lambda rows, z: (head(z)[:, 0] - truth[own][rows]).square().sum() / 9,
            parameters=[*module.parameters(), *head.parameters(), *idle.parameters()],
            ranks=ranks,
            check=check,
            record=record,
        )
        told = {"loss": float(loss), "check": record.check_difference, "pass": record.pass_difference}
    except NonFiniteError as error:
        told = {"error": str(error)}
    named = [*module.named_parameters(), *head.named_parameters(prefix="head"), *idle.named_parameters(prefix="idle")]
    return told | {"gradients": gradients_of(named)}


def take_steps(rank: int, folder: Path) -> None:
    torch.set_num_threads(1)
    store = f"file://{folder}/store"
    dist.init_process_group("gloo", init_method=store, rank=rank, world_size=2, timeout=timedelta(seconds=120))
    own, ranks = PARTS[rank], Ranks()
    steps = {name: pretraining_step(own, ranks, name) for name in STEPS}
    steps |= {"small": small_step(own, ranks, check=True), "poisoned": small_step(own, ranks, poisoned=True)}
    steps["agree"] = [ranks.agree(number, torch.device("cpu")) for number in (7, rank)]
    (folder / f"{rank}.json").write_text(json.dumps(steps))
    dist.destroy_process_group()  # its threads must not outlive the interpreter


def pretrain_files(recipe: Path, files: dict[str, Any], environment: dict[str, str]) -> None:
    os.environ.update(environment)
    commands.pretrain(recipe=recipes.read(recipe), seed=0, accelerator="cpu", **files)


def run_out() -> None:
    """Take a step with all its graphs in less memory than they need; the exit status says what is made of the error."""
    torch.set_num_threads(1)
    sizes = {"width": 64, "depth": 4, "heads": 4, "head_width": 32}
    module = synthetic_module(tiny_recipe(tokens={"max_length": 300}, encoder=sizes), 300)
    batch = synthetic_batch(np.full(60, 300), np.full(60, 40), n_genes=300)
    step = StepLoss(module, max_tokens=18_000, autocast=nullcontext)
    limit = process_bytes("VmSize") + (60 << 20)
    resource.setrlimit(resource.RLIMIT_AS, (limit, resource.RLIM_INFINITY))
    try:
        step.accumulate(batch)
    except (RuntimeError, MemoryError) as error:
        raise SystemExit(42 if is_out_of_memory(error) else 1) from None


def left_behind(n_mb: int) -> int:
    """Bytes that a block of so many MiB still takes once it is freed, when a block behind it is not."""
    before = process_bytes("VmRSS")
    block, behind = np.ones(n_mb << 17), np.ones(1 << 17)
    del block
    return process_bytes("VmRSS") - before - behind.nbytes


def free_after(work: Callable[[], object]) -> None:
    """The exit status is 0 if freed blocks stay before the work, and go back to the system after it."""
    torch.set_num_threads(1)
    np.ones(3 << 20)  # a block of 24 MiB that is freed teaches glibc to keep blocks up to that size
    kept = left_behind(16)
    work()
    raise SystemExit(not left_behind(20) < 4 << 20 < kept)


def train_a_step() -> None:
    pretrain(tiny_recipe(training={"steps": 1}), made_corpus(), gene_embedding=TABLE, gene_digest="genes", seed=0)


def measure_a_step() -> None:
    settings = tiny_recipe().encoder
    assert measured_step(StepPlan(settings, n_genes=50, lengths_B=np.array([5, 9, 7, 6]), max_tokens=16))
