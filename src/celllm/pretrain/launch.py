"""What a run begins with: the processes of all ranks, and a corpus that fits vocabulary and recipe."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import torch
from lightning_fabric import Fabric
from lightning_fabric.plugins.environments import LightningEnvironment

from celllm.base.errors import InputError
from celllm.config.recipe import Recipe
from celllm.harmonise.vocabulary import Vocabulary
from celllm.model.device import require

if TYPE_CHECKING:
    from celllm.corpus.reader import ShardReader


def launch(precision: Literal["32-true", "bf16-mixed"], *, accelerator: str, devices: int, nodes: int) -> Fabric:
    """Start the other ranks, if there are any, and tell this process which device it has.

    Under srun each task is a rank already, under torchrun each process. Elsewhere this process starts the others of its
    node, also in a SLURM job of one task.
    """
    require(accelerator)
    _allow_tf32(precision)
    # A job of one task is no distributed run, though its variables look like one; nor is one process that is started by
    # hand, without srun, in an allocation of several.
    n_tasks = os.environ.get("SLURM_NTASKS", "1") if devices * nodes > 1 else "1"
    is_alone = int(os.environ.get("SLURM_STEP_NUM_TASKS", n_tasks)) == 1 and "TORCHELASTIC_RUN_ID" not in os.environ
    fabric = Fabric(
        accelerator=accelerator,
        devices=devices,
        num_nodes=nodes,
        strategy="ddp" if devices * nodes > 1 else "auto",
        precision=precision,
        plugins=[LightningEnvironment()] if is_alone else None,
    )
    fabric.launch()
    return fabric


def _allow_tf32(precision: str) -> None:
    """Let a GPU multiply what autocast leaves in float32, FAVOR+'s products, on its tensor cores, summed in float32."""
    torch.backends.cuda.matmul.allow_tf32 = precision == "bf16-mixed"


def alone(precision: Literal["32-true", "bf16-mixed"]) -> Fabric:
    """Return one device, the best there is; with an environment of its own, which on a login node looks for no srun."""
    _allow_tf32(precision)
    return Fabric(accelerator="auto", devices=1, precision=precision, plugins=[LightningEnvironment()])


def open_corpus(manifest: Path, known: Vocabulary, recipe: Recipe) -> ShardReader:
    """Open the shards, and check that they fit vocabulary and recipe."""
    from celllm.corpus.reader import cells_of

    corpus = cells_of(manifest, known)
    training = recipe.training
    if corpus.n_cells < training.batch_cells + training.validation_cells:
        raise InputError(
            file=manifest,
            field="n_cells",
            expected=f"at least one batch of {training.batch_cells} and {training.validation_cells} validation cells",
            found=f"{corpus.n_cells} cells",
            remedy="lower training.batch_cells in the recipe, or put more cells into the corpus",
        )
    return corpus
