"""Pretraining: draw cells, accumulate a step's gradient chunk by chunk, step, log, save.

Shapes: B cells in the batch, G genes, D width.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from lightning_fabric import Fabric
from numpy.typing import NDArray

from celllm.contracts.recipe import Recipe
from celllm.errors import CellLMError
from celllm.model.encoder import Encoder
from celllm.shards.loader import Loader
from celllm.shards.sampler import BatchSampler
from celllm.train import checkpoint, optim
from celllm.train.batch import BatchCorpus, StepBatch, make_batch
from celllm.train.checkpoint import Progress, RunIdentity
from celllm.train.divide import NonFiniteError
from celllm.train.randomness import Purpose, seeded, stream_seed, torch_generator
from celllm.train.step import Pretrained, StepLoss

CELLS_AHEAD = 4096
"""Cells that are made into tokens ahead of the step, at 3 bytes a token; at least one batch, at most four."""
HistoryRow = dict[str, float | int | None]


class DivergedError(CellLMError, FloatingPointError):
    """A loss or gradient is not finite; the parameters are those before the step named."""


class Corpus(BatchCorpus, Protocol):
    """Cells to learn from, in random access; `celllm.shards.reader.ShardReader` is one."""

    @property
    def n_cells(self) -> int:
        """Number of cells."""

    @property
    def vocabulary(self) -> str:
        """Digest of the vocabulary."""

    @property
    def digest(self) -> str:
        """Digest of the corpus."""

    def names(self, indices: NDArray[np.int64]) -> list[str]:
        """Return the ids of some cells."""


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
    checkpoints: Path | None = None,
    stage: str = "pretrain",
    report: Callable[[HistoryRow], None] = lambda row: None,
    stop_after: int | None = None,
) -> PretrainingResult:
    """Train an encoder as the recipe says.

    On a CPU with the same number of threads, the same arguments give the same weights to the last bit, also when the
    run was stopped and went on from its checkpoint.

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
    checkpoints
        Folder to go on from and to save to; None: neither.
    stage
        Name and version of the stage; a checkpoint of another is refused.
    report
        Called with each row of the history.
    stop_after
        Stop after this many steps of the schedule, as if killed right after a checkpoint; None: run to the end.

    Raises
    ------
    InputError
        If the folder's checkpoint belongs to another run.
    DivergedError
        If a loss or gradient is not finite.
    """
    settings = recipe.training
    fabric = Fabric(accelerator="auto", devices=1, precision=settings.precision)
    module = _initial(recipe, corpus.n_genes, gene_table, seed=seed, device=fabric.device)
    optimiser = optim.adamw(module, recipe.optimiser)
    sampler = BatchSampler(corpus.n_cells, settings.batch_cells, seed)
    panel = choose_panel(corpus, recipe.tokens.panel_size) if recipe.tokens.layout == "full" else None
    identity = RunIdentity(recipe.digest, corpus.vocabulary, corpus.digest, gene_digest, seed, stage)
    progress = Progress(step=0, sampler=sampler.state(), history=[], pending=[])
    if checkpoints is not None:
        progress = checkpoint.load(checkpoints, module, optimiser, identity=identity) or progress
        sampler.resume(progress.sampler)

    step_loss = StepLoss(module, recipe.objectives, max_tokens=settings.chunk_tokens, autocast=fabric.autocast)
    last = settings.steps if stop_after is None else min(stop_after, settings.steps)
    first = progress.step + 1

    def make(indices: NDArray[np.int64], number: int) -> StepBatch:
        return make_batch(corpus, indices, recipe, panel=panel, seed=seed, step=first + number, device=fabric.device)

    ahead = min(4, max(1, CELLS_AHEAD // settings.batch_cells))
    with Loader(make, sampler, ahead=ahead) as loader:
        while progress.step < last:
            step = progress.step + 1
            started = time.perf_counter()
            rate = optim.learning_rate(step, n_steps=settings.steps, settings=recipe.optimiser)
            optim.set_learning_rate(optimiser, rate)
            drawn = next(loader)
            with seeded(stream_seed(seed, step, Purpose.DROPOUT), fabric.device):
                try:
                    figures = _step(step_loss, optimiser, drawn.cells, step=step, recipe=recipe)
                except NonFiniteError as error:
                    cells = [] if error.rows is None else corpus.names(drawn.indices[error.rows])
                    raise _diverged(step, str(error.what), chunk=error.chunk, cells=cells) from None
            if step % settings.redraw_every == 0:
                module.encoder.redraw_features(torch_generator(seed, step, Purpose.FEATURES))
            figures |= {"learning_rate": rate, "seconds": time.perf_counter() - started}
            progress.step = step
            progress.sampler = loader.state()
            progress.pending.append(figures)
            if step % settings.log_every == 0 or step == settings.steps:
                progress.history.append(history_row(step, progress.pending, batch_cells=settings.batch_cells))
                progress.pending = []
                report(progress.history[-1])
            is_due = step % settings.checkpoint_every == 0 or step == last
            if checkpoints is not None and is_due:
                checkpoint.save(checkpoints, module, optimiser, identity=identity, progress=progress)
    return PretrainingResult(module.encoder.cpu().eval(), progress.history, panel)


def _initial(
    recipe: Recipe,
    n_genes: int,
    gene_table: NDArray[np.float32] | None,
    *,
    seed: int,
    device: torch.device,
) -> Pretrained:
    with seeded(stream_seed(seed, 0, Purpose.INITIAL_WEIGHTS), torch.device("cpu")):
        table = None if gene_table is None else torch.from_numpy(np.array(gene_table, dtype=np.float32))
        length = recipe.padded_length
        module = Pretrained(Encoder(recipe.encoder, n_genes=n_genes, gene_table=table, padded_length=length))
    return module.to(device).train()


def _step(
    step_loss: StepLoss,
    optimiser: torch.optim.Optimizer,
    batch: StepBatch,
    *,
    step: int,
    recipe: Recipe,
) -> dict[str, float | None]:
    """Take one optimiser step, unless something is not finite."""
    optimiser.zero_grad(set_to_none=True)
    is_checked = recipe.training.check_every is not None and step % recipe.training.check_every == 0
    loss, figures = step_loss.accumulate(batch, check=is_checked)
    trained = [parameter for group in optimiser.param_groups for parameter in group["params"]]
    norm = torch.nn.utils.clip_grad_norm_(trained, recipe.optimiser.clip_norm)
    for name, value in (("loss", loss), ("norm of the gradient", norm)):
        if not torch.isfinite(value):
            raise _diverged(step, f"the {name}")
    optimiser.step()
    return figures


def _diverged(step: int, what: str, *, chunk: int | None = None, cells: Sequence[str] = ()) -> DivergedError:
    where = "" if chunk is None else f" in chunk {chunk}, cells {', '.join(cells)}"
    return DivergedError(
        f"step {step}: {what} is not finite{where}; the weights are those of step {step - 1}, the last checkpoint is "
        "kept\n  do this:  lower optimiser.learning_rate or raise optimiser.warmup_fraction in the recipe, or train in "
        "32-true"
    )


def choose_panel(corpus: Corpus, panel_size: int | None, *, piece: int = 4096) -> NDArray[np.int64]:
    """Return the genes of highest mean share of a cell's counts, in the order of the vocabulary.

    Parameters
    ----------
    corpus
        The cells whose mean counts.
    panel_size
        How many; None: all.
    piece
        Cells read at once.
    """
    if panel_size is None or panel_size >= corpus.n_genes:
        return np.arange(corpus.n_genes, dtype=np.int64)
    totals = np.zeros(corpus.n_genes)
    for start in range(0, corpus.n_cells, piece):
        counts = corpus.rows(np.arange(start, min(start + piece, corpus.n_cells)))
        depth = np.maximum(np.asarray(counts.sum(axis=1)).ravel(), 1)
        totals += (1 / depth) @ counts
    # stable, so equal genes go by vocabulary order on every machine
    return np.sort(np.argsort(-totals, kind="stable")[:panel_size]).astype(np.int64)


def history_row(
    step: int,
    figures: Sequence[Mapping[str, Any]],
    *,
    batch_cells: int,
) -> HistoryRow:
    """Average the figures of some steps; a figure that no step had is None."""
    row: HistoryRow = {"step": step}
    for name in figures[0]:
        known = [step_figures[name] for step_figures in figures if step_figures[name] is not None]
        row[name] = float(np.mean(known)) if known else None
    seconds = row.pop("seconds")
    row["log_batch"] = float(np.log(batch_cells))  # InfoNCE of embeddings that tell nothing
    row["cells_per_s"] = batch_cells / float(seconds or float("nan"))
    row["pass_difference"] = max(
        (f["pass_difference"] for f in figures if f["pass_difference"] is not None), default=None
    )
    row["learning_rate"] = figures[-1]["learning_rate"]
    return row
