"""Pretraining, from a recipe and a corpus to an encoder: the run on one rank, its steps and its checkpoints.

Shapes: G genes, D width.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from lightning_fabric import Fabric
from numpy.typing import NDArray

from celllm.base.errors import CellLMError
from celllm.base.heap import return_large_blocks
from celllm.config.recipe import Recipe
from celllm.corpus.loader import Loader
from celllm.corpus.sampler import sampler_of
from celllm.model.encoder import Encoder
from celllm.model.randomness import Purpose, torch_generator
from celllm.model.store import PretrainedEncoder
from celllm.pretrain import optim
from celllm.pretrain.batch import Corpus, StepBatch, choose_panel, hold_out, make_batch
from celllm.pretrain.checkpoint import Checkpoints, Progress, RunIdentity
from celllm.pretrain.chunks import LARGE_BYTES
from celllm.pretrain.held_out import HeldOut
from celllm.pretrain.launch import alone
from celllm.pretrain.monitor import HistoryRow, Monitor, following, history_row
from celllm.pretrain.probe import ProbeCells, check_probed
from celllm.pretrain.ranks import ALONE, Ranks
from celllm.pretrain.step import StepLoss, check_ranks, check_trainable, initial_module
from celllm.pretrain.stopping import Stopped, StopRequest
from celllm.pretrain.update import Update

CELLS_AHEAD = 4096
"""Cells that are made into tokens ahead of the step, at 3 bytes a token; at least one batch, at most four."""


@dataclass(frozen=True)
class PretrainingResult:
    """What a finished run leaves: the encoder on the CPU, a row every `log_every` steps, genes of the layout `full`."""

    encoder: Encoder
    history: list[HistoryRow]
    panel: NDArray[np.int64] | None


def pretrain(
    recipe: Recipe,
    corpus: Corpus,
    *,
    gene_embedding: NDArray[np.float32] | None,
    gene_digest: str,
    seed: int,
    fabric: Fabric | None = None,
    checkpoints: Path | None = None,
    probe: ProbeCells | None = None,
    stage: str = "pretrain",
    monitors: Sequence[Monitor] = (),
    stop_after: int | None = None,
    initial: Encoder | None = None,
) -> PretrainingResult:
    """Train an encoder as the recipe says.

    On a CPU with the same numbers of threads and ranks, the same arguments give the same weights to the last bit, also
    when the run was stopped and went on from its checkpoint. SIGTERM, SIGINT and SIGUSR1 end it after the step in
    which they come, with a checkpoint.

    The gene embedding, G x D, is where genes start; None: drawn, and learned with the rest. Weights start at `initial`;
    None: drawn from the seed. `fabric` is launched and says which device this process has, and how many ranks there
    are; None: one device, the best there is. All ranks share the folder `checkpoints`, to go on from and to save to;
    the first tells monitors of each row of the history. With `stop_after` a run stops after so many steps of its
    schedule, as if killed right after a checkpoint.

    InputError if the recipe cannot be trained from, or the folder's checkpoint belongs to another run; DivergedError,
    CheckpointError, OutOfMemory or Stopped if a loss is not finite, a checkpoint not written, half the `chunk_tokens`
    too many, or a signal asks for it.
    """
    check_trainable(recipe)
    check_probed(recipe, probe)
    fabric = fabric or alone(recipe.training.precision)
    check_ranks(recipe, fabric.world_size)
    return_large_blocks(LARGE_BYTES)
    identity = RunIdentity(recipe.science_digest, corpus.vocabulary, corpus.digest, gene_digest, seed, stage)
    if probe is not None and recipe.training.select == "probe":
        identity = replace(identity, probe=probe.digest)
    run = Run(recipe, corpus, gene_embedding, seed=seed, fabric=fabric, probe=probe, initial=initial)
    if checkpoints is not None:
        run.resume(Checkpoints(checkpoints, identity, keep_last=recipe.training.keep_last))
    told = monitors if fabric.is_global_zero else ()
    last = recipe.training.steps if stop_after is None else min(stop_after, recipe.training.steps)
    with (
        StopRequest() as stop,
        run.loader() as loader,
        following(told, recipe.training.steps, run.progress.step, run.progress.history),
    ):
        for monitor in told:
            for note in run.notes:
                monitor.say(note)
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


class Run:
    """The state of one run on one rank; arguments as in `pretrain`."""

    def __init__(
        self,
        recipe: Recipe,
        corpus: Corpus,
        gene_embedding: NDArray[np.float32] | None,
        *,
        seed: int,
        fabric: Fabric,
        probe: ProbeCells | None = None,
        initial: Encoder | None = None,
    ) -> None:
        settings = recipe.training
        self._recipe, self._corpus, self._seed, self._fabric = recipe, corpus, seed, fabric
        self._rank, self._ranks = fabric.global_rank, Ranks() if fabric.world_size > 1 else ALONE
        self._module = initial_module(
            recipe, corpus.n_genes, gene_embedding, seed=seed, device=fabric.device, initial=initial
        )
        self._optimiser = optim.optimiser_of(self._module, recipe.optimiser)
        cells = hold_out(corpus.n_cells, settings.validation_cells)
        self._training = cells.training
        groups = None if settings.batch_of == "mixed" else corpus.groups(settings.batch_of)[cells.training]
        self._sampler = sampler_of(
            len(cells.training), settings.batch_cells, seed, groups=groups, rank=self._rank, ranks=fabric.world_size
        )
        self.panel = choose_panel(corpus, recipe.tokens.panel_size) if recipe.tokens.layout == "full" else None
        self._step_loss = StepLoss(
            self._module,
            max_tokens=settings.chunk_tokens,
            autocast=fabric.autocast,
            ranks=self._ranks,
        )
        self._update = Update(self._step_loss, self._optimiser, recipe, seed=seed, fabric=fabric)
        pretrained = PretrainedEncoder(self._module.encoder, recipe, corpus.vocabulary, self.panel, digest="")
        self._held_out = HeldOut(pretrained, self._step_loss, corpus, cells.validation, probe=probe, fabric=fabric)
        self._checkpoints: Checkpoints | None = None
        self._saved_step = -1
        self._is_best = False
        self.notes: list[str] = []
        """What is worth saying before the first step."""
        self.progress = Progress(
            step=0, sampler=self._sampler.state(), chunk_tokens=settings.chunk_tokens, ranks=fabric.world_size
        )

    def resume(self, checkpoints: Checkpoints) -> None:
        """Go on from the last checkpoint, if there is one; later ones are saved beside it."""
        self._checkpoints = checkpoints
        self.progress = checkpoints.load(self._module, self._optimiser) or self.progress
        self._sampler.resume(self.progress.sampler)
        self._update.encode_at_once(min(self.progress.chunk_tokens, self._recipe.training.chunk_tokens))
        if self.progress.ranks != self._fabric.world_size:
            self.notes.append(
                f"going on with {self._fabric.world_size} ranks after {self.progress.ranks}: the same batches, tokens "
                "and masks, but other dropout, so not the weights that the same number of ranks would give"
            )
        self.progress.ranks = self._fabric.world_size
        self._saved_step = self.progress.step
        if not self._ranks.agree(self.progress.step, self._fabric.device):
            msg = (
                f"{checkpoints.folder}: rank {self._rank} finds step {self.progress.step}, others another\n"
                "  do this:  give a folder that all nodes share with --checkpoints"
            )
            raise CellLMError(msg)

    def is_any(self, is_so: bool) -> bool:  # noqa: FBT001 - a question with one answer
        """Return whether it is so on any rank."""
        return self._ranks.any(is_so, self._fabric.device)

    def loader(self) -> Loader[StepBatch]:
        """Return batches of this rank, from the present step on."""
        first = self.progress.step + 1

        def make(indices: NDArray[np.int64], number: int) -> StepBatch:
            return make_batch(
                self._corpus,
                self._training[indices],
                self._recipe,
                panel=self.panel,
                seed=self._seed,
                step=first + number,
                device=self._fabric.device,
            )

        ahead = min(4, max(1, CELLS_AHEAD // self._recipe.training.batch_cells))
        return Loader(make, self._sampler, ahead=ahead)

    def step(self, loader: Loader[StepBatch], monitors: Sequence[Monitor]) -> HistoryRow | None:
        """Take one optimiser step; return a row of the history where one is due."""
        settings, progress = self._recipe.training, self.progress
        step = progress.step + 1
        started = time.perf_counter()
        rate = optim.learning_rate(step, n_steps=settings.steps, settings=self._recipe.optimiser)
        optim.set_learning_rate(self._optimiser, rate)
        drawn = next(loader)
        wait = time.perf_counter() - started
        if step > 1 and (step - 1) % settings.redraw_every == 0:
            # before a step and not after it: what is validated and saved has features that it was trained with
            self._module.encoder.redraw_features(torch_generator(self._seed, step - 1, Purpose.FEATURES))
        figures = self._update.take(drawn, step, monitors, names=self._names)
        progress.chunk_tokens = self._step_loss.max_tokens
        figures |= {"learning_rate": rate, "seconds": time.perf_counter() - started, "wait": wait}
        found, loss = self._held_out.figures(step)
        figures |= found
        self._is_best = loss is not None and loss < progress.best.get("loss", float("inf"))
        if loss is not None and self._is_best:
            progress.best = {"step": step, "loss": loss}
        progress.step = step
        progress.sampler = loader.state()
        progress.pending.append(figures)
        if step % settings.log_every != 0 and step != settings.steps:
            return None
        progress.history.append(history_row(step, progress.pending, batch_cells=settings.batch_cells))
        progress.pending = []
        return progress.history[-1]

    def save(self, *, is_due: bool) -> None:
        """Save a checkpoint, if it is due by the recipe, by the caller or as the best so far."""
        step = self.progress.step
        is_due = is_due or self._is_best or step % self._recipe.training.checkpoint_every == 0
        if self._checkpoints is None or not is_due or step == self._saved_step:
            return
        if self._fabric.is_global_zero:
            self._checkpoints.save(self._module, self._optimiser, self.progress, is_best=self._is_best)
        self._saved_step = step

    def encoder(self) -> Encoder:
        """Return the trained encoder, on the CPU and in evaluation mode; the selected one on the first rank only."""
        if self._recipe.training.steps == 0:
            self.progress.history = [{"step": 0}]
        # on the first rank alone, which wrote it: on others it may not be there yet
        is_chosen = self._recipe.training.select != "last" and self._fabric.is_global_zero
        if self._checkpoints is not None and is_chosen:
            self._checkpoints.load_best(self._module)
        return self._module.encoder.cpu().eval()

    def _names(self, rows: NDArray[np.int64]) -> list[str]:
        return self._corpus.names(self._training[rows])
