"""Say what a pretraining run will take before it runs: numbers, memory, hours by GPU and count, disk.

Computed from the recipe and, without --gpu, from some steps that are timed on the device at hand. With --shards the
lengths of cells are those of a corpus; without, they are drawn as those of the paper's.
"""

from __future__ import annotations

import argparse
import difflib
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from celllm.base.entry import run
from celllm.base.errors import InputError
from celllm.config import recipe as recipes
from celllm.config.recipe import Recipe
from celllm.corpus import format as shards
from celllm.corpus.reader import ShardReader
from celllm.pretrain.calibrate import calibrate
from celllm.pretrain.commands import measure_step
from celllm.pretrain.gpus import GPUS, gpu_of
from celllm.pretrain.hours import EFFICIENCY, NETWORK_GBIT_S
from celllm.pretrain.lengths import CORPUS_CELLS, CORPUS_GENES, drawn_lengths
from celllm.pretrain.outlook import outlook
from celllm.pretrain.plan import Cells, drawn_batches
from celllm.pretrain.plan_table import as_plain, described

RECIPES = Path("config/recipes")
COUNTS = (1, 2, 4, 8, 16, 32, 64)
SAMPLE = 20_000
"""Cells whose lengths are looked at."""


def parser() -> argparse.ArgumentParser:
    """Declare the options."""
    options = argparse.ArgumentParser(prog="celllm plan", description=__doc__, allow_abbrev=False)
    options.add_argument("--recipe", required=True, help="a file, or the name of one in config/recipes, such as paper")
    options.add_argument("--chunk-tokens", type=int, help="tokens of a chunk, in place of the recipe's")
    corpus = options.add_argument_group("the corpus")
    corpus.add_argument("--shards", type=Path, help="manifest; gives cells, genes, lengths and size")
    corpus.add_argument("--cells", type=int, default=CORPUS_CELLS, help="without shards; default: the paper's")
    corpus.add_argument("--genes", type=int, default=CORPUS_GENES, help="without shards; default: the paper's")
    device = options.add_argument_group("the device")
    device.add_argument("--gpu", nargs="+", default=[], help=f"one or more of: {', '.join(GPUS)}")
    device.add_argument(
        "--gpus", type=int, nargs="+", help=f"how many; default: {COUNTS}, of these at most the cells of a batch"
    )
    device.add_argument(
        "--efficiency", type=float, default=EFFICIENCY, help="share of a GPU's peaks that is reached; an assumption"
    )
    device.add_argument("--network-gbit-s", type=float, default=NETWORK_GBIT_S, help="between machines; an assumption")
    device.add_argument(
        "--calibrate", action="store_true", help="time some steps on the device at hand; the default without --gpu"
    )
    device.add_argument("--seconds", type=float, default=60, help="that --calibrate may take, about")
    device.add_argument("--threads", type=int, default=1, help="of torch on a CPU")
    options.add_argument("--seed", type=int, default=0, help="of the cells drawn")
    options.add_argument("--json", action="store_true", help="print JSON in place of tables")
    return options


def find_recipe(name: str) -> Path:
    """Return the file of a recipe from its path, or its name in `RECIPES`.

    Raises
    ------
    InputError
        If there is none.
    """
    for path in (Path(name), RECIPES / f"{name}.yaml"):
        if path.is_file():
            return path
    known = sorted(path.stem for path in RECIPES.glob("*.yaml"))
    near = difflib.get_close_matches(name, known, n=1)
    raise InputError(
        file=RECIPES,
        field="--recipe",
        expected=f"a file, or one of {', '.join(known)}" if known else "a file",
        found=repr(name),
        remedy=f"did you mean {near[0]}?" if near else "give a path, or run in the folder that holds config/recipes",
    )


def with_budget(recipe: Recipe, chunk_tokens: int | None) -> Recipe:
    """Return the recipe with another budget of tokens; None: its own. InputError below 1."""
    if chunk_tokens is None:
        return recipe
    values = recipe.model_dump()
    values["training"]["chunk_tokens"] = chunk_tokens
    return recipes.parse(values, file="--chunk-tokens")


def read_cells(args: argparse.Namespace) -> Cells:
    """Return what the plan has to know of the corpus."""
    if args.shards is None:
        longest = args.genes + 1
        return Cells(args.cells, args.genes, drawn_lengths(SAMPLE, longest=longest, seed=args.seed) - 1)
    corpus = ShardReader(args.shards)
    n_bytes = sum(sum(entry.bytes.values()) for entry in shards.read(args.shards).shards)
    n_drawn = min(SAMPLE, corpus.n_cells)
    lengths = measure_step.drawn_lengths(corpus, n_drawn, longest=corpus.n_genes + 1, seed=args.seed)
    return Cells(corpus.n_cells, corpus.n_genes, np.asarray(lengths) - 1, n_bytes)


def main(argv: Sequence[str] | None = None) -> None:
    """Read the recipe and the corpus, compute, print."""
    args = parser().parse_args(argv)
    torch.set_num_threads(args.threads)
    path = find_recipe(args.recipe)
    chosen = with_budget(recipes.read(path), args.chunk_tokens)
    gpus = {name: gpu_of(name) for name in args.gpu}
    cells = read_cells(args)
    batches = drawn_batches(chosen, cells, seed=args.seed)
    calibration = None
    if args.calibrate or not gpus:
        calibration = calibrate(
            chosen,
            batches.lengths[0],
            batches.targets[0],
            n_genes=cells.n_genes,
            seconds=args.seconds,
            device=torch.device("cuda" if torch.cuda.is_available() else "cpu"),
        )
    found = outlook(
        chosen,
        cells,
        batches,
        gpus=gpus,
        counts=args.gpus or [n for n in COUNTS if n <= chosen.training.batch_cells],
        efficiency=args.efficiency,
        network_gbit_s=args.network_gbit_s,
        calibration=calibration,
    )
    if args.json:
        print(json.dumps({"recipe": str(path), "digest": chosen.digest} | as_plain(found), indent=2))
    else:
        lengths = "simulated lengths, of the paper's corpus" if args.shards is None else f"lengths from {args.shards}"
        print(described(found, chosen, gpus, name=path.stem, lengths=lengths))


if __name__ == "__main__":
    run(main)
