"""Pretraining: `python perf/pretrain.py --json`, whether it survives, what it waits for, and what a second rank adds.

`kills_survived`: processes of one run that were killed at random moments, if its encoder is then, byte for byte, that
of a run that never was. `loader_wait_fraction`: share of a step's time in which it waits for cells, by the history of a
run. `ranks2_efficiency`: cells a second of two ranks with a thread each over twice those of one. Cells are simulated.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml
from kills import survive
from line import ROOT, line, options, show
from simulated import N_GENES, simulated_vocabulary, write_shards

from celllm.genes import gene_embedding
from celllm.genes.gene_embedding import GeneEmbedding
from celllm.harmonise import vocabulary
from celllm.pretrain import history

N_CELLS, WIDTH = 2_048, 64
QUICK = {"width": 16, "depth": 1, "heads": 2, "head_width": 8, "longest": 64, "batch": 32, "chunk": 1_024, "steps": 200}
"""Steps of some hundredths of a second: a kill then falls into any part of one, and into writing a checkpoint."""
USUAL = {"width": 64, "depth": 2, "heads": 4, "head_width": 16, "longest": 512, "batch": 128, "chunk": 8_192}
"""The size of recipe `real`."""


class Inputs:
    """What `celllm pretrain` reads, in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        genes = simulated_vocabulary()
        vocabulary.write(genes, folder / "genes.tsv")
        self.manifest = write_shards(folder, N_CELLS, genes)
        for width in (QUICK["width"], USUAL["width"]):
            noise = np.random.default_rng(0).standard_normal((N_GENES, width), dtype=np.float32)
            gene_embedding.write(GeneEmbedding(noise, genes.digest, "random"), folder / f"table{width}.safetensors")

    def options(self, name: str, sizes: dict[str, int], **training: int) -> list[str]:
        """Write a recipe of these sizes; return the options of a run of this name."""
        recipe = {
            "tokens": {"max_length": sizes["longest"]},
            "genes": {"method": "random"},
            "encoder": {key: sizes[key] for key in ("width", "depth", "heads", "head_width")},
            "training": {"batch_cells": sizes["batch"], "chunk_tokens": sizes["chunk"], **training},
        }
        path = self.folder / f"{name}.yaml"
        path.write_text(yaml.safe_dump(recipe))
        files = {
            "recipe": path,
            "shards": self.manifest,
            "genes": self.folder / f"table{sizes['width']}.safetensors",
            "vocabulary": self.folder / "genes.tsv",
            "checkpoints": self.folder / name,
            "encoder": self.folder / f"{name}.safetensors",
            "history": self.folder / f"{name}.jsonl",
        }
        return [part for key, file in files.items() for part in (f"--{key}", str(file))] + ["--seed", "0"]

    def rows(self, name: str, *, devices: int, steps: int) -> pd.DataFrame:
        """Train in processes of their own; return the history but for its first row, in which things warm up."""
        options = self.options(f"{name}{devices}", USUAL, steps=steps, log_every=1, checkpoint_every=10_000)
        command = [sys.executable, "-m", "celllm", "pretrain", *options, "--devices", str(devices)]
        environment = {**os.environ, "PYTHONPATH": str(ROOT / "src"), "OMP_NUM_THREADS": "1"}
        subprocess.run([*command, "--accelerator", "cpu"], env=environment, check=True, capture_output=True)
        return history.read(self.folder / f"{name}{devices}.jsonl").iloc[1:]


def kills(inputs: Inputs, args: argparse.Namespace) -> dict[str, Any]:
    """Kill a run again and again."""

    def options_of(name: str) -> list[str]:
        training = {"checkpoint_every": 1, "validation_cells": 64, "validate_every": 10}
        return inputs.options(name, QUICK, steps=QUICK["steps"], **training)

    n_kills, straight_s, is_same = survive(options_of, inputs.folder, n_kills=args.kills, seed=args.seed)
    told = f"straight in {straight_s:.1f} s; the same encoder: {'yes' if is_same else 'NO'}"
    return line("kills_survived", n_kills if is_same else 0, "kills", peer=told, at_least=20)


def loader(inputs: Inputs, args: argparse.Namespace) -> dict[str, Any]:
    """Ask a run's history how long it waited for cells."""
    rows = inputs.rows("loader", devices=1, steps=args.steps)
    share = float((rows["loader_wait"] * rows["step_s"]).sum() / rows["step_s"].sum())
    told = f"{rows['step_s'].mean():.2f} s a step of {USUAL['batch']} simulated cells, one thread"
    return line("loader_wait_fraction", share, "of a step", peer=told, at_most=0.02)


def ranks(inputs: Inputs, args: argparse.Namespace) -> dict[str, Any]:
    """Train on one rank and on two."""
    one, two = (inputs.rows("ranks", devices=n, steps=args.steps)["step_s"].mean() for n in (1, 2))
    told = f"one rank {one:.2f} s a step, two {two:.2f} s, a thread each, on {os.cpu_count()} cores"
    return line("ranks2_efficiency", float(one / two / 2), "of two cores", peer=told)


MEASURED = {"kills": kills, "loader": loader, "ranks": ranks}


def main() -> None:
    parser = options(__doc__)
    parser.add_argument("--only", nargs="+", choices=MEASURED, default=list(MEASURED))
    parser.add_argument("--kills", type=int, default=25)
    parser.add_argument("--steps", type=int, default=8, help="of the runs that are timed")
    parser.add_argument("--seed", type=int, default=0, help="of the moments of kills")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        inputs = Inputs(Path(folder))
        show((MEASURED[name](inputs, args) for name in args.only), as_json=args.json)


if __name__ == "__main__":
    main()
