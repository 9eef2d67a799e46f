"""Pretraining, from a recipe and a corpus to an encoder.

Shapes: G genes, D width.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from lightning_fabric import Fabric
from lightning_fabric.plugins.environments import LightningEnvironment
from numpy.typing import NDArray

from celllm.config.recipe import Recipe
from celllm.model.encoder import Encoder
from celllm.pretrain.checkpoint import Checkpoints, Progress, RunIdentity
from celllm.pretrain.corpus import Corpus
from celllm.pretrain.monitor import HistoryRow, Monitor
from celllm.pretrain.run import Run
from celllm.pretrain.stopping import Stopped, StopRequest
from celllm.pretrain.trainable import check_trainable


@dataclass(frozen=True)
class PretrainingResult:
    """What a finished run leaves.

    Parameters
    ----------
    encoder
        On the CPU, in evaluation mode.
    history
        One row every `log_every` steps, means over these steps.
    panel
        Layout `full`: gene indices of the panel; None for layout `nonzero`.
    """

    encoder: Encoder
    history: list[HistoryRow]
    panel: NDArray[np.int64] | None


def pretrain(
    recipe: Recipe,
    corpus: Corpus,
    *,
    gene_table: NDArray[np.float32] | None,
    gene_digest: str,
    seed: int,
    fabric: Fabric | None = None,
    checkpoints: Path | None = None,
    stage: str = "pretrain",
    monitors: Sequence[Monitor] = (),
    stop_after: int | None = None,
) -> PretrainingResult:
    """Train an encoder as the recipe says.

    On a CPU with the same numbers of threads and ranks, the same arguments give the same weights to the last bit, also
    when the run was stopped and went on from its checkpoint. SIGTERM, SIGINT and SIGUSR1 end it after the step in
    which they come, with a checkpoint.

    Parameters
    ----------
    recipe
        Everything but the data and the seed.
    corpus
        The cells to learn from.
    gene_table
        G x D, frozen; None: learned with the rest.
    gene_digest
        Names the gene table in checkpoints.
    seed
        Of initial weights, order of cells, truncation, masks, dropout and random features.
    fabric
        Launched; says which device this process has, and how many ranks there are. None: one device, the best there is.
    checkpoints
        Folder to go on from and to save to, the same for all ranks; None: neither.
    stage
        Name and version of the stage; a checkpoint of another is refused.
    monitors
        Told of each row of the history, on the first rank.
    stop_after
        Stop after this many steps of the schedule, as if killed right after a checkpoint; None: run to the end.

    Raises
    ------
    InputError
        If the recipe cannot be trained from, or the folder's checkpoint belongs to another run.
    DivergedError
        If a loss or gradient is not finite.
    CheckpointError
        If a checkpoint could not be written.
    OutOfMemory
        If a step does not fit into memory, also with half the recipe's `chunk_tokens`.
    Stopped
        If a signal asked for it.
    """
    check_trainable(recipe)
    if fabric is None:
        # an environment of its own: on a login node it would look for srun
        alone = [LightningEnvironment()]
        fabric = Fabric(accelerator="auto", devices=1, precision=recipe.training.precision, plugins=alone)
    identity = RunIdentity(recipe.science_digest, corpus.vocabulary, corpus.digest, gene_digest, seed, stage)
    run = Run(recipe, corpus, gene_table, seed=seed, fabric=fabric)
    if checkpoints is not None:
        run.resume(Checkpoints(checkpoints, identity, keep_last=recipe.training.keep_last))
    told = monitors if fabric.is_global_zero else ()
    last = recipe.training.steps if stop_after is None else min(stop_after, recipe.training.steps)
    with StopRequest() as stop, run.loader() as loader, _told(told, recipe.training.steps, run.progress):
        while run.progress.step < last:
            row = run.step(loader, told)
            if row is not None:
                for monitor in told:
                    monitor.row(row)
            is_asked = run.is_any(bool(stop.signal_name))
            run.save(is_due=is_asked or run.progress.step == last)
            if is_asked and run.progress.step < last:
                asked_by = stop.signal_name or "the signal of another rank"
                raise Stopped(run.progress.step, asked_by, is_saved=checkpoints is not None)
    return PretrainingResult(run.encoder(), run.progress.history, run.panel)


@contextmanager
def _told(monitors: Sequence[Monitor], n_steps: int, progress: Progress) -> Iterator[None]:
    for monitor in monitors:
        monitor.begin(n_steps, progress.step, progress.history)
    try:
        yield
    finally:
        for monitor in monitors:
            monitor.end()
