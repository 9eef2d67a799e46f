"""Evaluate what a recipe's gene embedding knows: held-out edges of the network against pairs that are no edges."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from celllm.base.entry import run
from celllm.base.errors import InputError
from celllm.config import recipe
from celllm.genes import edges, link_scores
from celllm.genes.link_prediction import mean_aurocs, score_links
from celllm.genes.link_scores import METHODS, NEGATIVES, LinkScore
from celllm.genes.links import never_held_out
from celllm.harmonise import vocabulary

SEEDS = (0, 1, 2)


def parser() -> argparse.ArgumentParser:
    """Declare the options."""
    options = argparse.ArgumentParser(prog="celllm evaluate_genes", description=__doc__, allow_abbrev=False)
    options.add_argument("--recipe", required=True, help="recipe: width of the table, training of GraphMAE")
    options.add_argument("--network", required=True, type=Path, help="edges.parquet")
    options.add_argument("--vocabulary", required=True, type=Path, help="genes.tsv")
    options.add_argument(
        "--seeds", type=int, nargs="+", default=list(SEEDS), help="each holds out a tenth of the edges"
    )
    options.add_argument("--methods", choices=METHODS, nargs="+", default=list(METHODS), help="what is to be scored")
    options.add_argument(
        "--validation",
        type=int,
        nargs="+",
        default=[],
        metavar="SEED",
        help="seeds of the reported evaluation: their held-out edges stay untouched, to choose settings by others",
    )
    options.add_argument("--threads", type=int, default=1, help="of torch on a CPU")
    options.add_argument("--stage", default="evaluate_genes", help="name and version of the stage")
    options.add_argument("--out", required=True, type=Path, help="where to write links.tsv")
    return options


def link_scores_of(
    network: Path,
    genes: Path,
    settings: Path,
    *,
    seeds: Sequence[int] = SEEDS,
    methods: Sequence[str] = METHODS,
    validation: Sequence[int] = (),
) -> list[LinkScore]:
    """Read network, vocabulary and recipe, and score every method with every seed; progress goes to stderr.

    Raises
    ------
    InputError
        If the network cannot be parted so, or is too small for the recipe's width.
    """
    chosen = recipe.of_option([str(settings)])
    axis = vocabulary.read(genes)
    found = edges.read(network, vocabulary=axis)
    network_2 = np.stack([found.a_E, found.b_E], axis=1).astype(np.int64)
    rows: list[LinkScore] = []
    try:
        parted_2 = never_held_out(network_2, validation) if validation else network_2
        for seed in seeds:
            started = time.perf_counter()
            rows += score_links(
                parted_2,
                n_genes=axis.n_genes,
                width=chosen.encoder.width,
                settings=chosen.genes,
                seed=seed,
                network_2=network_2,
                methods=methods,
            )
            print(f"seed {seed}: {time.perf_counter() - started:.0f} s", file=sys.stderr, flush=True)
    except ValueError as error:
        raise InputError(
            file=network,
            field="a, b",
            expected=f"a network of more than {chosen.encoder.width} genes, most of whose pairs are no edges",
            found=str(error),
            remedy="choose a smaller encoder.width in the recipe, or another network",
        ) from error
    return rows


def aurocs(network: Path, genes: Path, settings: Path, *, negatives: str = "degree_matched") -> dict[str, float]:
    """Return each method's mean area under the ROC curve over three seeds: `graphmae_auc`, `svd_auc` and so on."""
    return mean_aurocs(link_scores_of(network, genes, settings), negatives=negatives)


def main(argv: Sequence[str] | None = None) -> None:
    """Read the network, hold out edges, score, write."""
    args = parser().parse_args(argv)
    torch.set_num_threads(args.threads)
    rows = link_scores_of(
        args.network,
        args.vocabulary,
        args.recipe,
        seeds=args.seeds,
        methods=args.methods,
        validation=args.validation,
    )
    link_scores.write(rows, args.out)
    for kind in NEGATIVES:
        told = ", ".join(f"{name} {value:.3f}" for name, value in mean_aurocs(rows, negatives=kind).items())
        print(f"{kind}: {told}")


if __name__ == "__main__":
    run(main)
