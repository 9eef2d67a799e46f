"""One of several processes with some cells of a batch: `python rank_worker.py RANK N_RANKS FOLDER SIZES OPTIONS`.

Writes the step's loss and the gradient of every parameter to FOLDER/RANK.json. With one rank it is the reference.
"""

from __future__ import annotations

import json
import sys
from datetime import timedelta
from pathlib import Path

import torch
from torch import distributed as dist
from torch import nn

from celllm.objectives.contrastive import info_nce
from celllm.train.divide import NonFiniteError, Record, divide_and_conquer
from celllm.train.ranks import Ranks


def main() -> None:
    rank, n_ranks, folder = int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3])
    sizes, options = json.loads(sys.argv[4]), json.loads(sys.argv[5])
    torch.set_num_threads(1)
    generator = torch.Generator().manual_seed(0)
    module = nn.Sequential(nn.Linear(5, 8), nn.Tanh(), nn.Linear(8, 4)).double()
    head, idle = nn.Linear(4, 1).double(), nn.Linear(2, 2).double()
    with torch.no_grad():
        for parameter in (*module.parameters(), *head.parameters()):
            parameter.copy_(torch.randn(parameter.shape, generator=generator, dtype=torch.float64))
    first, second = (torch.randn(sum(sizes), 5, generator=generator, dtype=torch.float64) for _ in range(2))
    truth = torch.randn(sum(sizes), generator=generator, dtype=torch.float64)
    start, stop = sum(sizes[:rank]), sum(sizes[: rank + 1])
    own = slice(start, stop) if n_ranks > 1 else slice(0, sum(sizes))
    ranks = None
    if n_ranks > 1:
        store = f"file://{folder}/store"
        dist.init_process_group("gloo", init_method=store, rank=rank, world_size=n_ranks, timeout=timedelta(seconds=60))
        ranks = Ranks()
    if "poisoned" in options and start <= options["poisoned"] < stop:
        first[options["poisoned"]] = torch.nan
    said = {}
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
    (folder / f"{rank}.json").write_text(json.dumps(said))


if __name__ == "__main__":
    main()
