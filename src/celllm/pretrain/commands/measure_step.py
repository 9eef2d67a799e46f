"""Measure what a contrastive step costs, divided and undivided: `python -m celllm.pretrain.commands.measure_step`.

Each step runs in a process of its own on the CPU, whatever the training ran on.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from celllm.base.entry import run
from celllm.config import recipe
from celllm.corpus.reader import ShardReader
from celllm.pretrain import step_cost
from celllm.pretrain.cost import Point, StepPlan, rows_of, sweep

PIECE = 4096
"""Cells read at once."""


def parser() -> argparse.ArgumentParser:
    """Declare the options."""
    options = argparse.ArgumentParser(prog="celllm measure_step", description=__doc__, allow_abbrev=False)
    options.add_argument("--recipe", required=True, help="whose encoder, longest cell and chunk are taken")
    options.add_argument("--shards", required=True, type=Path, help="manifest of the corpus; gives lengths of cells")
    options.add_argument("--batches", required=True, type=int, nargs="+", help="numbers of cells, B")
    options.add_argument("--limit-gb", required=True, type=float, help="memory a process may take, 10^9 bytes")
    options.add_argument("--seed", type=int, default=0, help="of the cells drawn")
    options.add_argument("--threads", type=int, default=1, help="of torch")
    options.add_argument("--stage", default="measure_step", help="name and version of the stage")
    options.add_argument("--out", required=True, type=Path, help="where to write step_cost.tsv")
    return options


def drawn_lengths(corpus: ShardReader, n_cells: int, *, longest: int, seed: int) -> np.ndarray:
    """Return the tokens, CLS included, of cells drawn from the corpus with replacement."""
    drawn = np.random.default_rng(seed).integers(0, corpus.n_cells, n_cells)
    pieces = [np.diff(corpus.rows(drawn[start : start + PIECE]).indptr) for start in range(0, n_cells, PIECE)]
    return np.minimum(np.concatenate(pieces).astype(np.int64) + 1, longest)


def tell(point: Point) -> None:
    """Print a point to stderr as soon as it is known."""
    told = "does not fit"
    if point.cost is not None:
        told = f"{point.cost.seconds:.2f} s, {point.cost.peak_bytes / 1e9:.2f} GB"
    print(f"{point.mode}, {point.n_cells} cells: {told}", file=sys.stderr, flush=True)


def main(argv: Sequence[str] | None = None) -> None:
    """Read the recipe and lengths of cells, measure, write."""
    args = parser().parse_args(argv)
    chosen = recipe.of_option([args.recipe])
    corpus = ShardReader(args.shards)
    longest = chosen.tokens.max_length
    plan = StepPlan(
        settings=chosen.encoder,
        n_genes=corpus.n_genes,
        lengths_B=drawn_lengths(corpus, max(args.batches), longest=longest, seed=args.seed),
        max_tokens=chosen.training.chunk_tokens,
        temperature=chosen.objectives.contrastive.temperature,
        threads=args.threads,
    )
    points = sweep(plan, args.batches, limit_bytes=int(args.limit_gb * 1e9), report=tell)
    step_cost.write(pd.DataFrame(rows_of(points)), args.out)


if __name__ == "__main__":
    run(main)
