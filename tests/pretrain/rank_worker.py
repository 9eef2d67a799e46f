"""One of several processes with some cells of a batch: `python rank_worker.py RANK N_RANKS FOLDER SIZES OPTIONS`.

Writes the step's loss and the gradient of every parameter to FOLDER/RANK.json. With one rank it is the reference.
Option `step`: the step of pretraining, with all three losses, in place of a small divided one.
"""

from __future__ import annotations

import json
import sys
from contextlib import nullcontext
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import distributed as dist
from torch import nn

from celllm.config.recipe import EncoderSettings, ObjectiveSettings
from celllm.corpus.tokens import CLS
from celllm.model.encoder import Encoder
from celllm.pretrain.batch import IS_HIDDEN, IS_TARGET, StepBatch
from celllm.pretrain.losses import info_nce
from celllm.pretrain.chunks import NonFiniteError
from celllm.pretrain.divide import Record, divide_and_conquer
from celllm.pretrain.ranks import Ranks
from celllm.pretrain.step import Pretrained, StepLoss


def main() -> None:
    rank, n_ranks, folder = int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3])
    sizes, options = json.loads(sys.argv[4]), json.loads(sys.argv[5])
    torch.set_num_threads(1)
    ranks = join(rank, n_ranks, folder)
    if options.get("step"):
        said = pretraining_step(rank if n_ranks > 1 else None, sizes, ranks)
    else:
        said = small_step(rank if n_ranks > 1 else None, sizes, ranks, options)
    (folder / f"{rank}.json").write_text(json.dumps(said))
    if ranks is not None:
        dist.destroy_process_group()  # its threads must not outlive the interpreter


def join(rank: int, n_ranks: int, folder: Path) -> Ranks | None:
    if n_ranks == 1:
        return None
    store = f"file://{folder}/store"
    dist.init_process_group("gloo", init_method=store, rank=rank, world_size=n_ranks, timeout=timedelta(seconds=60))
    return Ranks()


def own_cells(rank: int | None, sizes: list[int]) -> slice:
    return slice(0, sum(sizes)) if rank is None else slice(sum(sizes[:rank]), sum(sizes[: rank + 1]))


def pretraining_step(rank: int | None, sizes: list[int], ranks: Ranks | None) -> dict[str, Any]:
    objectives = ObjectiveSettings.model_validate(
        {"masked": {"weight": 1.0}, "contrastive": {"weight": 0.5}, "malignancy": {"weight": 2.0}}
    )
    settings = EncoderSettings(width=8, depth=2, heads=2, head_width=4, dropout=0.0)
    torch.default_generator.manual_seed(0)
    module = Pretrained(Encoder(settings, n_genes=30, gene_embedding=torch.randn(30, 8))).double().train()
    random = np.random.default_rng(0)
    lengths = random.integers(3, 12, sum(sizes))
    starts = np.cumsum(lengths) - lengths
    tokens = random.integers(0, 6, lengths.sum()).astype(np.uint8)
    tokens[random.random(lengths.sum()) < 0.3] |= IS_TARGET | IS_HIDDEN
    genes = random.integers(0, 30, lengths.sum()).astype(np.uint8)
    tokens[starts], genes[starts] = CLS, 30
    own = own_cells(rank, sizes)
    span = slice(starts[own][0], starts[own][-1] + lengths[own][-1])
    labels = random.integers(-1, 2, sum(sizes))
    batch = StepBatch(genes[span], tokens[span], lengths[own], labels[own], 30, torch.device("cpu"))
    step = StepLoss(module, objectives, max_tokens=25, autocast=nullcontext, ranks=ranks)
    loss, figures = step.accumulate(batch)
    gradients = {name: None if p.grad is None else p.grad.flatten().tolist() for name, p in module.named_parameters()}
    return {"loss": float(loss), "figures": figures, "gradients": gradients}


def small_step(rank: int | None, sizes: list[int], ranks: Ranks | None, options: dict[str, Any]) -> dict[str, Any]:
    generator = torch.Generator().manual_seed(0)
    module = nn.Sequential(nn.Linear(5, 8), nn.Tanh(), nn.Linear(8, 4)).double()
    head, idle = nn.Linear(4, 1).double(), nn.Linear(2, 2).double()
    with torch.no_grad():
        for parameter in (*module.parameters(), *head.parameters()):
            parameter.copy_(torch.randn(parameter.shape, generator=generator, dtype=torch.float64))
    first, second = (torch.randn(sum(sizes), 5, generator=generator, dtype=torch.float64) for _ in range(2))
    truth = torch.randn(sum(sizes), generator=generator, dtype=torch.float64)
    own = own_cells(rank, sizes)
    if "poisoned" in options and own.start <= options["poisoned"] < own.stop:
        first[options["poisoned"]] = torch.nan
    said: dict[str, Any] = {}
    record = Record()
    try:
        loss = divide_and_conquer(
            lambda cells: (lambda z: (z, z))(module(cells)),
            [first[own], second[own]],
            lambda z, w: info_nce(z, w, temperature=0.3),
            chunk_size=2,
            per_chunk_loss=lambda rows, z: (head(z)[:, 0] - truth[own][rows]).square().sum() / sum(sizes),
            parameters=[*module.parameters(), *head.parameters(), *idle.parameters()],
            ranks=ranks,
            check=options.get("check", False),
            record=record,
        )
        said = {"loss": float(loss), "check": record.check_difference, "pass": record.pass_difference}
    except NonFiniteError as error:
        said = {"error": str(error)}
    named = [*module.named_parameters(), *head.named_parameters(prefix="head")]
    said["gradients"] = {name: None if p.grad is None else p.grad.flatten().tolist() for name, p in named}
    said["idle"] = [p.grad is None for p in idle.parameters()]
    return said


if __name__ == "__main__":
    main()
