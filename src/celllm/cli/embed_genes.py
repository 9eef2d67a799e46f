"""Embed the genes of the vocabulary from their network, as a recipe says."""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from pathlib import Path

import torch

from celllm.cli.entry import run
from celllm.contracts import edges, gene_table, recipe, vocabulary
from celllm.contracts.gene_table import GeneTable
from celllm.errors import InputError
from celllm.model.gene_table import make_gene_table
from celllm.provenance import stamp
from celllm.train.randomness import Purpose, torch_generator


def parser() -> argparse.ArgumentParser:
    """Declare the options."""
    options = argparse.ArgumentParser(prog="celllm.cli.embed_genes", description=__doc__, allow_abbrev=False)
    options.add_argument("--recipe", required=True, type=Path, help="recipe: method, width and training of the table")
    options.add_argument("--network", required=True, type=Path, help="edges.parquet")
    options.add_argument("--vocabulary", required=True, type=Path, help="genes.tsv")
    options.add_argument("--seed", required=True, type=int, help="of features, initial weights and masks")
    options.add_argument("--threads", type=int, default=1, help="of torch on a CPU")
    options.add_argument("--stage", default="embed_genes", help="name and version of the stage")
    options.add_argument("--table", required=True, type=Path, help="where to write the table")
    return options


def main(argv: Sequence[str] | None = None) -> None:
    """Read recipe and network, make the table, write it."""
    args = parser().parse_args(argv)
    torch.set_num_threads(args.threads)
    chosen = recipe.read(args.recipe)
    if chosen.genes.method == "imported":
        raise InputError(
            file=args.recipe,
            field="genes.method",
            expected="graphmae, svd, random or learned",
            found="imported: such a table came with a published checkpoint and is made nowhere else",
            remedy="choose one of the methods that make a table",
        )
    genes = vocabulary.read(args.vocabulary)
    network = edges.read(args.network, vocabulary=genes)
    started = time.perf_counter()
    try:
        made = make_gene_table(
            network.a_E,
            network.b_E,
            n_genes=genes.n_genes,
            width=chosen.encoder.width,
            settings=chosen.genes,
            generator=torch_generator(args.seed, 0, Purpose.GENE_TABLE),
        )
    except ValueError as error:
        raise InputError(
            file=args.network,
            field="a, b",
            expected=f"a network of more than {chosen.encoder.width} genes",
            found=str(error),
            remedy="choose a smaller encoder.width or genes.method random in the recipe",
        ) from error
    table = GeneTable(
        genes_GD=made.genes_GD,
        vocabulary=genes.digest,
        method=chosen.genes.method,
        report=made.report,
        provenance=stamp(
            args.stage,
            {"network": args.network, "vocabulary": args.vocabulary, "recipe": args.recipe},
            recipe=chosen.digest,
            seed=args.seed,
        ),
    )
    gene_table.write(table, args.table)
    losses = made.report["losses"]
    course = f"; loss {losses[0]:.3f} to {losses[-1]:.3f} in {len(losses)} epochs" if losses else ""
    print(
        f"{genes.n_genes} genes by {chosen.genes.method}, {made.report['genes_without_edges']} without an edge"
        f"{course}; {time.perf_counter() - started:.0f} s"
    )


if __name__ == "__main__":
    run(main)
