"""Steps with some cells of a batch: functions for one process, and `python rank_worker.py RANK N_RANKS FOLDER SIZES`.

As a script it is one of several processes; it writes each step's loss and gradients to FOLDER/RANK.json.
"""

from __future__ import annotations

import json
import sys
from contextlib import nullcontext
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from scipy.sparse import csr_matrix
from torch import distributed as dist
from torch import nn

from celllm.config import recipe as recipes
from celllm.config.recipe import ObjectiveSettings
from celllm.config.recipe_encoder import EncoderSettings
from celllm.corpus.tokens import CLS
from celllm.model.encoder import Encoder
from celllm.pretrain.batch import StepBatch, make_batch
from celllm.pretrain.chunks import NonFiniteError
from celllm.pretrain.divide import Record, divide_and_conquer
from celllm.pretrain.losses import info_nce
from celllm.pretrain.ranks import Ranks
from celllm.pretrain.step import Pretrained, StepLoss
from celllm.pretrain.views import IS_HIDDEN, IS_TARGET


def main() -> None:
    rank, n_ranks, folder, sizes = int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]), json.loads(sys.argv[4])
    torch.set_num_threads(1)
    store = f"file://{folder}/store"
    dist.init_process_group("gloo", init_method=store, rank=rank, world_size=n_ranks, timeout=timedelta(seconds=120))
    start = sum(sizes[:rank])
    own, ranks = slice(start, start + sizes[rank]), Ranks()
    steps = {
        "pretraining": pretraining_step(own, sum(sizes), ranks),
        "views": views_step(own, sum(sizes), ranks),
        "small": small_step(own, sum(sizes), ranks, check=True),
        "poisoned": small_step(own, sum(sizes), ranks, poisoned=6),
    }
    (folder / f"{rank}.json").write_text(json.dumps(steps))
    dist.destroy_process_group()  # its threads must not outlive the interpreter


def pretraining_step(own: slice, n_cells: int, ranks: Ranks | None) -> dict[str, Any]:
    """The step of pretraining, with all three losses."""
    objectives = ObjectiveSettings.model_validate(
        {"masked": {"weight": 1.0}, "contrastive": {"weight": 0.5}, "malignancy": {"weight": 2.0}}
    )
    settings = EncoderSettings(width=8, depth=2, heads=2, head_width=4, dropout=0.0)
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(0)
        module = Pretrained(Encoder(settings, n_genes=30, gene_embedding=torch.randn(30, 8))).double().train()
    random = np.random.default_rng(0)
    lengths = random.integers(3, 12, n_cells)
    starts = np.cumsum(lengths) - lengths
    tokens = random.integers(0, 6, lengths.sum()).astype(np.uint8)
    tokens[random.random(lengths.sum()) < 0.3] |= IS_TARGET | IS_HIDDEN
    genes = random.integers(0, 30, lengths.sum()).astype(np.uint8)
    tokens[starts], genes[starts] = CLS, 30
    span = slice(starts[own][0], starts[own][-1] + lengths[own][-1])
    labels = random.integers(-1, 2, n_cells)
    batch = StepBatch(genes[span], tokens[span], lengths[own], labels[own], 30, torch.device("cpu"))
    step = StepLoss(module, objectives, max_tokens=25, autocast=nullcontext, ranks=ranks)
    loss, figures = step.accumulate(batch)
    gradients = {name: None if p.grad is None else p.grad.flatten().tolist() for name, p in module.named_parameters()}
    return {"loss": float(loss), "figures": figures, "gradients": gradients}


def views_step(own: slice, n_cells: int, ranks: Ranks | None) -> dict[str, Any]:
    """The step of pretraining with views and masks that are drawn from counts, graphs kept."""
    recipe = recipes.parse(
        {
            "tokens": {"max_length": 12, "target_sum": 100},
            "genes": {"method": "random"},
            "encoder": {"width": 8, "depth": 2, "heads": 2, "head_width": 4, "dropout": 0.0},
            "objectives": {"contrastive": {"views": "thinning_subset"}, "shared_masked_view": True},
            "training": {"batch_cells": n_cells, "chunk_tokens": 25, "steps": 1},
        },
        file="recipe",
    )
    counts = csr_matrix(np.random.default_rng(0).poisson(2.0, (20, 30)).astype(np.float32))
    corpus: Any = SimpleNamespace(n_genes=30, is_malignant=np.arange(20) % 3 - 1, rows=lambda indices: counts[indices])
    cells = np.arange(20)[::2][:n_cells][own]
    batch = make_batch(corpus, cells, recipe, panel=None, seed=0, step=1, device=torch.device("cpu"))
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(0)
        encoder = Encoder(recipe.encoder, n_genes=30, gene_embedding=torch.randn(30, 8))
        module = Pretrained(encoder).double().train()
    step = StepLoss(module, recipe.objectives, max_tokens=25, keep_tokens=60, autocast=nullcontext, ranks=ranks)
    loss, figures = step.accumulate(batch)
    gradients = {name: None if p.grad is None else p.grad.flatten().tolist() for name, p in module.named_parameters()}
    return {"loss": float(loss), "figures": figures, "gradients": gradients}


def small_step(
    own: slice, n_cells: int, ranks: Ranks | None, *, check: bool = False, poisoned: int | None = None
) -> dict[str, Any]:
    """A small chunked step, with a loss of its own for each chunk and parameters that nobody trains."""
    generator = torch.Generator().manual_seed(0)
    module = nn.Sequential(nn.Linear(5, 8), nn.Tanh(), nn.Linear(8, 4)).double()
    head, idle = nn.Linear(4, 1).double(), nn.Linear(2, 2).double()
    with torch.no_grad():
        for parameter in (*module.parameters(), *head.parameters()):
            parameter.copy_(torch.randn(parameter.shape, generator=generator, dtype=torch.float64))
    first, second = (torch.randn(n_cells, 5, generator=generator, dtype=torch.float64) for _ in range(2))
    truth = torch.randn(n_cells, generator=generator, dtype=torch.float64)
    if poisoned is not None:
        first[poisoned] = torch.nan
    told: dict[str, Any] = {}
    record = Record()
    try:
        loss = divide_and_conquer(
            lambda cells: (lambda z: (z, z))(module(cells)),
            [first[own], second[own]],
            lambda z, w: info_nce(z, w, temperature=0.3),
            chunk_size=2,
            per_chunk_loss=lambda rows, z: (head(z)[:, 0] - truth[own][rows]).square().sum() / n_cells,
            parameters=[*module.parameters(), *head.parameters(), *idle.parameters()],
            ranks=ranks,
            check=check,
            record=record,
        )
        told = {"loss": float(loss), "check": record.check_difference, "pass": record.pass_difference}
    except NonFiniteError as error:
        told = {"error": str(error)}
    named = [*module.named_parameters(), *head.named_parameters(prefix="head")]
    told["gradients"] = {name: None if p.grad is None else p.grad.flatten().tolist() for name, p in named}
    told["idle"] = [p.grad is None for p in idle.parameters()]
    return told


if __name__ == "__main__":
    main()
