"""Pretrain an encoder: masked genes, tumour or normal, and divide-and-conquer contrastive learning.

Killed at any time it goes on from its last checkpoint when it is called again in the same way.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from tqdm import tqdm

from celllm.cli.entry import run
from celllm.contracts import gene_table, history, recipe, vocabulary
from celllm.contracts.recipe import Recipe
from celllm.contracts.vocabulary import Vocabulary
from celllm.errors import InputError, VocabularyMismatch
from celllm.model.store import save_encoder
from celllm.provenance import stamp
from celllm.shards.reader import ShardReader
from celllm.train.loop import HistoryRow, pretrain

SHOWN = ("loss", "masked", "contrastive", "malignancy", "masked_accuracy", "malignancy_accuracy", "cells_per_s")


def parser() -> argparse.ArgumentParser:
    """Declare the options."""
    options = argparse.ArgumentParser(prog="celllm.cli.pretrain", description=__doc__, allow_abbrev=False)
    options.add_argument("--recipe", required=True, type=Path, help="architecture, objectives, optimiser, training")
    options.add_argument("--shards", required=True, type=Path, help="manifest of the corpus")
    options.add_argument("--genes", required=True, type=Path, help="gene table; not used where the recipe learns it")
    options.add_argument("--vocabulary", required=True, type=Path, help="genes.tsv")
    options.add_argument("--seed", required=True, type=int, help="of everything random")
    options.add_argument("--threads", type=int, default=1, help="of torch on a CPU")
    options.add_argument("--stage", default="pretrain", help="name and version of the stage")
    options.add_argument("--checkpoints", required=True, type=Path, help="folder to go on from and to save to")
    options.add_argument("--encoder", required=True, type=Path, help="where to write the encoder")
    options.add_argument("--history", required=True, type=Path, help="where to write the figures of training")
    return options


def open_corpus(manifest: Path, genes: Vocabulary, chosen: Recipe) -> ShardReader:
    """Open the shards, and check that they fit vocabulary and recipe."""
    corpus = ShardReader(manifest)
    if corpus.vocabulary != genes.digest:
        raise VocabularyMismatch(
            file=manifest,
            found=corpus.vocabulary,
            expected=genes.digest,
            remedy="rebuild the shards: snakemake --forcerun write_shards",
        )
    if corpus.n_cells < chosen.training.batch_cells:
        raise InputError(
            file=manifest,
            field="n_cells",
            expected=f"at least one batch, {chosen.training.batch_cells} cells",
            found=f"{corpus.n_cells} cells",
            remedy="lower training.batch_cells in the recipe, or put more cells into the corpus",
        )
    return corpus


def reporter(n_steps: int, *, n_done: int = 0) -> Callable[[HistoryRow], None]:
    """Return what shows a row of the history: a progress bar on a terminal, one plain line a row elsewhere."""
    bar = tqdm(total=n_steps, initial=n_done, unit="step", disable=not sys.stderr.isatty())

    def show(row: HistoryRow) -> None:
        figures = {name: f"{row[name]:.3g}" for name in SHOWN if row.get(name) is not None}
        if bar.disable:
            told = "  ".join(f"{name} {value}" for name, value in figures.items())
            print(f"step {row['step']}/{n_steps}  {told}", file=sys.stderr, flush=True)
        else:
            bar.set_postfix(figures, refresh=False)
            bar.update(int(row["step"] or 0) - bar.n)
            if bar.n >= n_steps:
                bar.close()

    return show


def main(argv: Sequence[str] | None = None) -> None:
    """Read recipe, corpus and gene table, train, write encoder and history."""
    args = parser().parse_args(argv)
    torch.set_num_threads(args.threads)
    chosen = recipe.read(args.recipe)
    genes = vocabulary.read(args.vocabulary)
    corpus = open_corpus(args.shards, genes, chosen)
    is_learned = chosen.genes.method == "learned"
    table = None if is_learned else gene_table.read(args.genes, vocabulary=genes.digest)
    if table is not None and table.genes_GD.shape[1] != chosen.encoder.width:
        raise InputError(
            file=args.genes,
            field="genes",
            expected=f"width {chosen.encoder.width}, the recipe's encoder.width",
            found=f"width {table.genes_GD.shape[1]}",
            remedy="make the table with the same recipe: snakemake --forcerun embed_genes",
        )
    result = pretrain(
        chosen,
        corpus,
        gene_table=None if table is None else table.genes_GD,
        gene_digest="learned" if table is None else table.digest,
        seed=args.seed,
        checkpoints=args.checkpoints,
        stage=args.stage,
        report=reporter(chosen.training.steps),
    )
    made_by = stamp(
        args.stage,
        {"shards": args.shards, "genes": args.genes, "vocabulary": args.vocabulary, "recipe": args.recipe},
        recipe=chosen.digest,
        seed=args.seed,
    )
    history.write(result.history, args.history)
    save_encoder(
        args.encoder,
        result.encoder,
        recipe=chosen,
        vocabulary=genes.digest,
        panel=result.panel,
        stamp=made_by,
    )


if __name__ == "__main__":
    run(main)
