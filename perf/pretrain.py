"""Pretraining: `python perf/pretrain.py --json`, whether it survives, what it waits for, and whether its plan is right.

`kills_survived`: processes of one run that were killed at random moments, if its encoder is then, byte for byte, that
of a run that never was. `loader_wait_fraction`: share of a step's time in which it waits for cells, by the history of a
run. `plan_error_fraction`: how far `celllm plan` is from a run, in CPU seconds. `ranks2_efficiency`: cells a second of
two ranks with a thread each over twice those of one. Cells are simulated.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "src"))

import plan_check
import simulated
from kills import Life, survive
from line import line, show
from loader import write_both
from simulated import N_GENES

from celllm.genes import gene_embedding
from celllm.genes.gene_embedding import GeneEmbedding
from celllm.harmonise import vocabulary
from celllm.harmonise.vocabulary import Vocabulary
from celllm.pretrain import history

N_CELLS, WIDTH = 2_048, 64
QUICK = {"width": 16, "depth": 1, "heads": 2, "head_width": 8, "longest": 64, "batch": 32, "chunk": 1_024, "steps": 200}
"""Steps of some hundredths of a second: a kill then falls into any part of one, and into writing a checkpoint."""
USUAL = {"width": 64, "depth": 2, "heads": 4, "head_width": 16, "longest": 512, "batch": 128, "chunk": 8_192}
"""The size of recipe `real`."""
NAMES = ("kills", "loader", "plan", "ranks")


class Inputs:
    """What `celllm pretrain` reads, in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        names = [f"SIMULATED{number}" for number in range(N_GENES)]
        genes = Vocabulary(pd.DataFrame({"symbol": names, "hgnc_id": names, "ensembl": "", "entrez": ""}))
        vocabulary.write(genes, folder / "genes.tsv")
        self.manifest, _ = write_both(folder, N_CELLS, N_CELLS, vocabulary=genes.digest)
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


def kills(inputs: Inputs, args: argparse.Namespace) -> list[dict[str, Any]]:
    """Kill a run again and again."""

    def told(life: Life) -> None:
        how = "killed" if life.was_killed else "ended by itself"
        said = f"{how} after {life.seconds:.2f} s, last checkpoint {life.last_step}, {life.n_parts} half-written files"
        print(said, file=sys.stderr, flush=True)

    def options(name: str) -> list[str]:
        training = {"checkpoint_every": 1, "validation_cells": 64, "validate_every": 10}
        return inputs.options(name, QUICK, steps=QUICK["steps"], **training)

    found = survive(options, inputs.folder, n_kills=args.kills, seed=args.seed, report=told)
    straight = f"straight in {found.straight_s:.1f} s; the same encoder: {'yes' if found.same_encoder else 'NO'}"
    is_good = found.same_encoder and found.n_kills >= 20
    survived = found.n_kills if found.same_encoder else 0
    return [line("kills_survived", survived, "kills", peer=straight, bar=20, ok=is_good)]


def loader(inputs: Inputs, args: argparse.Namespace) -> list[dict[str, Any]]:
    """Ask a run's history how long it waited for cells."""
    rows = inputs.rows("loader", devices=1, steps=args.steps)
    share = float((rows["loader_wait"] * rows["step_s"]).sum() / rows["step_s"].sum())
    told = f"{rows['step_s'].mean():.2f} s a step of {USUAL['batch']} simulated cells, one thread"
    return [line("loader_wait_fraction", share, "of a step", peer=told, bar=0.02, ok=share <= 0.02)]


def plan(inputs: Inputs, args: argparse.Namespace) -> list[dict[str, Any]]:
    """Plan a run, and take it."""
    del inputs
    corpus = simulated.corpus(512, n_genes=plan_check.GENES)
    recipe = plan_check.recipe_of(plan_check.RECIPES["wide"])
    found = plan_check.plan_error(recipe, corpus, steps=args.steps, seed=args.seed)
    seconds = f"planned {found.predicted.seconds:.1f} CPU s, measured {found.measured.seconds:.1f}"
    memory = f"planned {found.predicted.peak_bytes / 1e9:.3f} GB, measured {found.measured.peak_bytes / 1e9:.3f}"
    return [
        line(
            "plan_error_fraction", found.seconds_fraction, "", peer=seconds, bar=0.2, ok=found.seconds_fraction <= 0.2
        ),
        line(
            "plan_memory_error_fraction", found.peak_fraction, "", peer=memory, bar=0.2, ok=found.peak_fraction <= 0.2
        ),
    ]


def ranks(inputs: Inputs, args: argparse.Namespace) -> list[dict[str, Any]]:
    """Train on one rank and on two."""
    one, two = (inputs.rows("ranks", devices=n, steps=args.steps)["step_s"].mean() for n in (1, 2))
    told = f"one rank {one:.2f} s a step, two {two:.2f} s, a thread each, on {os.cpu_count()} cores"
    return [line("ranks2_efficiency", float(one / two / 2), "of two cores", peer=told)]


MEASURED: dict[str, Callable[[Inputs, argparse.Namespace], list[dict[str, Any]]]] = dict(
    zip(NAMES, (kills, loader, plan, ranks), strict=True)
)


def main() -> None:
    """Measure and print."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--json", action="store_true", help="one JSON object a line")
    options.add_argument("--only", nargs="+", choices=NAMES, default=list(NAMES))
    options.add_argument("--kills", type=int, default=25)
    options.add_argument("--steps", type=int, default=8, help="of the runs that are timed")
    options.add_argument("--seed", type=int, default=0, help="of the moments of kills, and of the planned run")
    args = options.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        inputs = Inputs(Path(folder))
        for name in args.only:
            for figure in MEASURED[name](inputs, args):
                show(figure, as_json=args.json)


if __name__ == "__main__":
    main()
