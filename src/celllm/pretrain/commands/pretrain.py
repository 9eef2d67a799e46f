"""Pretrain an encoder: masked genes, tumour or normal, and divide-and-conquer contrastive learning.

Killed at any time it goes on from its last checkpoint when it is called again in the same way. SIGTERM, SIGINT and
SIGUSR1 end it after the step in which they come, with a checkpoint and exit status 75.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

import torch
from lightning_fabric import Fabric
from lightning_fabric.plugins.environments import LightningEnvironment
from torch import distributed as dist
from tqdm import tqdm

from celllm.base.entry import run
from celllm.base.errors import InputError, VocabularyMismatch
from celllm.base.provenance import stamp
from celllm.config import recipe
from celllm.config.recipe import Recipe
from celllm.corpus.reader import ShardReader
from celllm.genes import gene_embedding as gene_table
from celllm.harmonise import vocabulary
from celllm.harmonise.vocabulary import Vocabulary
from celllm.model.store import save_encoder
from celllm.pretrain import history
from celllm.pretrain.loop import pretrain
from celllm.pretrain.monitor import Files, HistoryRow, Monitor
from celllm.pretrain.stopping import Stopped

SHOWN = (
    "loss",
    "masked",
    "contrastive",
    "malignancy",
    "masked_accuracy",
    "malignancy_accuracy",
    "validation_loss",
    "cells_per_s",
    "tokens_per_s",
    "loader_wait",
)


def parser() -> argparse.ArgumentParser:
    """Declare the options."""
    options = argparse.ArgumentParser(prog="celllm pretrain", description=__doc__, allow_abbrev=False)
    options.add_argument("--recipe", required=True, help="architecture, objectives, optimiser, training")
    options.add_argument("--shards", required=True, type=Path, help="manifest of the corpus")
    options.add_argument("--genes", required=True, type=Path, help="gene table; not used where the recipe learns it")
    options.add_argument("--vocabulary", required=True, type=Path, help="genes.tsv")
    options.add_argument("--seed", required=True, type=int, help="of everything random")
    options.add_argument("--threads", type=int, default=1, help="of torch on a CPU")
    options.add_argument("--stage", default="pretrain", help="name and version of the stage")
    options.add_argument("--accelerator", default="auto", choices=("auto", "cpu", "cuda"), help="kind of device")
    options.add_argument("--devices", type=int, default=1, help="processes a node, one a GPU")
    options.add_argument("--nodes", type=int, default=1, help="under srun with as many tasks a node as devices")
    options.add_argument(
        "--checkpoints",
        required=True,
        type=Path,
        help="folder to go on from and to save to; all nodes share it, and history.jsonl and tensorboard/ are in it",
    )
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
    training = chosen.training
    if corpus.n_cells < training.batch_cells + training.validation_cells:
        raise InputError(
            file=manifest,
            field="n_cells",
            expected=f"at least one batch of {training.batch_cells} and {training.validation_cells} validation cells",
            found=f"{corpus.n_cells} cells",
            remedy="lower training.batch_cells in the recipe, or put more cells into the corpus",
        )
    return corpus


class Terminal(Monitor):
    """Shows a progress bar on a terminal, and one plain line a row elsewhere."""

    def begin(self, n_steps: int, step: int, rows: Sequence[HistoryRow]) -> None:
        """Start at the step that was reached."""
        del rows
        self._n_steps = n_steps
        self._bar = tqdm(total=n_steps, initial=step, unit="step", disable=not sys.stderr.isatty())
        if step:
            self.say(f"going on from step {step}")

    def row(self, row: HistoryRow) -> None:
        """Show a row, and when the run will end."""
        figures = {name: f"{row[name]:.3g}" for name in SHOWN if row.get(name) is not None}
        step = int(row["step"] or 0)
        if self._bar.disable:
            told = "  ".join(f"{name} {value}" for name, value in figures.items())
            left = timedelta(seconds=round((self._n_steps - step) * float(row["step_s"] or 0)))
            print(f"step {step}/{self._n_steps}  {told}  left {left}", file=sys.stderr, flush=True)
        else:
            self._bar.set_postfix(figures, refresh=False)
            self._bar.update(step - self._bar.n)

    def say(self, message: str) -> None:
        """Print a line beside the bar."""
        tqdm.write(message, file=sys.stderr)

    def end(self) -> None:
        """Leave the bar as it stands."""
        self._bar.close()


def launch(recipe: Recipe, *, accelerator: str, devices: int, nodes: int) -> Fabric:
    """Start the other ranks, if there are any, and tell this process which device it has.

    Under srun each task is a rank already, under torchrun each process. Elsewhere this process starts the others of its
    node, also in a SLURM job of one task.
    """
    # a job of one task is no distributed run, though its variables look like one
    is_alone = int(os.environ.get("SLURM_NTASKS", "1")) == 1 and "TORCHELASTIC_RUN_ID" not in os.environ
    fabric = Fabric(
        accelerator=accelerator,
        devices=devices,
        num_nodes=nodes,
        strategy="ddp" if devices * nodes > 1 else "auto",
        precision=recipe.training.precision,
        plugins=[LightningEnvironment()] if is_alone else None,
    )
    fabric.launch()
    return fabric


def main(argv: Sequence[str] | None = None) -> None:
    """Read recipe, corpus and gene table, train, write encoder and history."""
    args = parser().parse_args(argv)
    chosen = recipe.of_option([args.recipe])
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
    fabric = launch(chosen, accelerator=args.accelerator, devices=args.devices, nodes=args.nodes)
    torch.set_num_threads(args.threads)  # after the launch, which sets its own
    try:
        result = pretrain(
            chosen,
            corpus,
            gene_table=None if table is None else table.genes_GD,
            gene_digest="learned" if table is None else table.digest,
            seed=args.seed,
            fabric=fabric,
            checkpoints=args.checkpoints,
            stage=args.stage,
            monitors=[Files(args.checkpoints / "history.jsonl", args.checkpoints / "tensorboard"), Terminal()],
        )
    except Stopped:
        if fabric.is_global_zero:
            raise
        return  # a rank that ends badly would have the first one killed
    finally:
        if dist.is_initialized():
            dist.destroy_process_group()  # its threads must not outlive the interpreter
    if not fabric.is_global_zero:
        return
    made_by = stamp(
        args.stage,
        {"shards": args.shards, "genes": args.genes, "vocabulary": args.vocabulary},
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
