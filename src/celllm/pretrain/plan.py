"""What a run will take, before it runs: parameters, tokens, operations, memory, disk. Hours are in `train.hours`.

Shapes: B cells of the batch, D width.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from celllm.config.recipe import Recipe
from celllm.corpus.tokens import N_TOKENS
from celllm.model.encoder import Encoder
from celllm.pretrain.chunks import by_tokens, padding_fraction
from celllm.pretrain.contrastive import TILE_NUMBERS
from celllm.pretrain.footprint import Footprint
from celllm.pretrain.operations import Shape, Work, drawn_targets, passes_of, shapes_of, step_work
from celllm.pretrain.run import CELLS_AHEAD
from celllm.pretrain.step import Pretrained
from celllm.pretrain.trainable import check_trainable

NUMBER_BYTES = 4
"""Weights, gradients, states of the optimiser and embeddings are float32 in either precision."""
SHARD_BYTES_PER_NONZERO = 4.02
"""All files of a shard over its non-zero counts, measured at a million cells (docs/performance.md)."""
BUDGETS = (4_096, 8_192, 16_384, 32_768, 65_536, 131_072)
USABLE = 0.9
"""Share of a GPU's memory that is planned with; an assumption: CUDA itself and gaps between blocks take the rest."""
GAPS = 0.6
"""Memory of a CPU's heap that is lost between chunks of ever new shapes, over what a chunk holds. Measured with glibc
over a few steps: 0.4 to 0.8 with encoders of widths 64 and 192 (perf/plan_check.py)."""
BATCHES = 4
"""Batches over which lengths are averaged."""


@dataclass(frozen=True)
class Cells:
    """What a plan has to know of a corpus.

    Parameters
    ----------
    n_cells, n_genes
        Cells, and genes of the vocabulary.
    expressed
        Expressed genes of a sample of its cells.
    shard_bytes
        Size of its shards; None: not written yet, computed.
    """

    n_cells: int
    n_genes: int
    expressed: NDArray[np.int64]
    shard_bytes: int | None = None


class Parameters(NamedTuple):
    """Numbers of a module."""

    total: int
    trained: int
    gene_table: int
    """Of the genes; CLS and PAD, which have rows in the same table, included."""
    buffers: int
    """Random features: not trained, but saved."""


class Tokens(NamedTuple):
    """Tokens of a cell, CLS included, after cutting."""

    mean: float
    median: float
    percentile_99: float
    cut_fraction: float
    """Share of the cells that are cut."""
    padding_fraction: float
    """Share of padding among the tokens encoded, at the recipe's batch and chunk."""


class Memory(NamedTuple):
    """Bytes that a step holds when it holds most."""

    chunk_tokens: int
    weights: int
    gradients: int
    optimiser: int
    caches: int
    """Embeddings of all views and cells, what InfoNCE makes of them, and its tiles."""
    activations: int
    """Of one chunk: its graph, copies of weights in 16 bits, and what is passing."""
    gaps: int
    """Between the blocks of a CPU's heap; of a GPU, `USABLE` allows for them."""
    batches: int
    """Tokens made ahead, and the gene table as it was read: on the machine's side where there is a GPU."""

    @property
    def device(self) -> int:
        """What a GPU holds."""
        return self.weights + self.gradients + self.optimiser + self.caches + self.activations

    @property
    def total(self) -> int:
        """What a process on a CPU holds, interpreter and libraries not counted."""
        return self.device + self.gaps + self.batches


class Disk(NamedTuple):
    """Bytes of what a run reads and leaves."""

    shards: int
    checkpoint: int
    """One of them."""
    n_checkpoints: int
    encoder: int


def parameters_of(recipe: Recipe, n_genes: int, *, n_tokens: int = N_TOKENS) -> tuple[Parameters, Parameters]:
    """Count the parameters of the encoder alone, and of all that is trained with it; no memory is taken for them."""
    with torch.device("meta"):
        is_learned = recipe.genes.method == "learned"
        table = None if is_learned else torch.empty(n_genes, recipe.encoder.width)
        encoder = Encoder(recipe.encoder, n_genes=n_genes, gene_embedding=table, n_tokens=n_tokens)
        whole = Pretrained(encoder, recipe.objectives)
    return _counted(encoder, encoder), _counted(whole, encoder)


def _counted(module: torch.nn.Module, encoder: Encoder) -> Parameters:
    parameters = list(module.parameters())
    return Parameters(
        total=sum(p.numel() for p in parameters),
        trained=sum(p.numel() for p in parameters if p.requires_grad),
        gene_table=encoder.embedding.genes.weight.numel(),
        buffers=sum(buffer.numel() for buffer in module.buffers()),
    )


class Batches(NamedTuple):
    """Drawn batches: tokens of each cell, and how many of them are hidden."""

    lengths: list[NDArray[np.int64]]
    targets: list[NDArray[np.int64]]


def drawn_batches(recipe: Recipe, cells: Cells, *, n_batches: int = BATCHES, seed: int = 0) -> Batches:
    """Draw batches of cells as the recipe sees them.

    Raises
    ------
    InputError
        If the recipe cannot be trained from.
    """
    check_trainable(recipe)
    generator = np.random.default_rng([seed, 5])
    masked = recipe.objectives.masked
    batches = Batches([], [])
    for number in range(n_batches):
        expressed = generator.choice(cells.expressed, recipe.training.batch_cells)
        lengths, candidates = _as_tokens(recipe, cells.n_genes, expressed)
        rate = masked.rate if masked.weight > 0 else 0.0
        batches.lengths.append(lengths)
        batches.targets.append(drawn_targets(candidates, rate, seed=seed + number))
    return batches


def _as_tokens(
    recipe: Recipe, n_genes: int, expressed: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the tokens of cells and how many of them may be hidden, from their expressed genes."""
    longest = recipe.tokens.max_length
    if recipe.tokens.layout == "nonzero":
        lengths = np.minimum(expressed + 1, longest)
        return lengths, lengths - 1
    # silent genes are never hidden; those of the panel are taken to be expressed as often as any
    panel = min(recipe.tokens.panel_size or n_genes, n_genes, longest - 1)
    return np.full(len(expressed), panel + 1), np.minimum(expressed * panel // n_genes, panel)


def tokens_of(recipe: Recipe, cells: Cells, batches: Batches) -> Tokens:
    """Describe the lengths of cells."""
    lengths, _ = _as_tokens(recipe, cells.n_genes, cells.expressed)
    budget = recipe.training.chunk_tokens
    padding = [padding_fraction(of_batch, by_tokens(of_batch, budget)) for of_batch in batches.lengths]
    is_cut = (cells.expressed + 1 > recipe.tokens.max_length) & (recipe.tokens.layout == "nonzero")
    return Tokens(
        float(lengths.mean()),
        float(np.median(lengths)),
        float(np.percentile(lengths, 99)),
        float(is_cut.mean()),
        float(np.mean(padding)),
    )


def shapes_of_batch(recipe: Recipe, lengths_B: NDArray[np.int64], targets_B: NDArray[np.int64]) -> list[Shape]:
    """Return the chunks of a batch, or of a rank's part of one."""
    return shapes_of(lengths_B, targets_B, by_tokens(lengths_B, recipe.training.chunk_tokens))


def mean_work(recipe: Recipe, batches: Batches) -> Work:
    """Return the operations of a step of one device."""
    works = [
        step_work(recipe.encoder, recipe.objectives, shapes_of_batch(recipe, *of_batch))
        for of_batch in zip(*batches, strict=True)
    ]
    return Work(*(int(np.mean(column)) for column in zip(*works, strict=True)))


def memory_of(recipe: Recipe, cells: Cells, footprint: Footprint, chunk_tokens: int) -> Memory:
    """Compute what a step holds with a budget of so many tokens a chunk.

    Parameters
    ----------
    recipe, cells
        What is trained on what.
    footprint
        What the tokens of a chunk take.
    chunk_tokens
        The budget, in place of the recipe's; a cell that is longer is a chunk of its own.
    """
    lengths, _ = _as_tokens(recipe, cells.n_genes, cells.expressed)
    _, counted = parameters_of(recipe, cells.n_genes)
    n_cells, width = recipe.training.batch_cells, recipe.encoder.width
    n_views = passes_of(recipe.objectives).n_views
    # embeddings and their gradient; unit vectors, and their gradients. Two tiles are held at once, three if symmetric
    n_tiles = (3 if recipe.objectives.contrastive.symmetric else 2) * bool(n_views)
    tiles = n_tiles * min(TILE_NUMBERS, n_cells**2)
    n_ahead = min(4, max(1, CELLS_AHEAD // n_cells)) + 2  # `ahead` of them and one wait, one is worked on
    batch_bytes = n_cells * float(lengths.mean()) * (np.min_scalar_type(cells.n_genes).itemsize + 1)
    table = 0 if recipe.genes.method == "learned" else cells.n_genes * width
    activations = footprint.peak_bytes(max(chunk_tokens, int(lengths.max())))
    return Memory(
        chunk_tokens=chunk_tokens,
        weights=NUMBER_BYTES * (counted.total + counted.buffers),
        gradients=NUMBER_BYTES * counted.trained,
        optimiser=2 * NUMBER_BYTES * counted.trained,
        caches=NUMBER_BYTES * (4 * n_views * n_cells * width + tiles),
        activations=round(activations),
        gaps=round(GAPS * activations) if footprint.layout == "cpu" else 0,
        batches=round(n_ahead * batch_bytes + NUMBER_BYTES * table),
    )


def largest_budget(memory: Memory, footprint: Footprint, *, limit_bytes: float) -> int:
    """Return the tokens a chunk may have on a device of so much memory, in whole 1,024; 0: it holds no chunk.

    Parameters
    ----------
    memory
        Of the same recipe with any budget.
    footprint
        What the tokens of a chunk take.
    limit_bytes
        What the device holds, of which `USABLE` is planned with.
    """
    left = USABLE * limit_bytes - (memory.device - memory.activations)
    if footprint.peak_bytes(1024) > left:
        return 0
    fitting = min((left - one.constant_bytes) / one.token_bytes for one in footprint.moments if one.token_bytes > 0)
    return int(fitting) // 1024 * 1024


def disk_of(recipe: Recipe, cells: Cells) -> Disk:
    """Compute the size of shards, checkpoints and encoder."""
    encoder, counted = parameters_of(recipe, cells.n_genes)
    shards = cells.shard_bytes
    if shards is None:
        shards = round(cells.n_cells * float(cells.expressed.mean()) * SHARD_BYTES_PER_NONZERO)
    is_best_kept = recipe.training.validation_cells > 0
    return Disk(
        shards=shards,
        checkpoint=NUMBER_BYTES * (counted.total + counted.buffers + 2 * counted.trained),
        n_checkpoints=recipe.training.keep_last + is_best_kept,
        encoder=NUMBER_BYTES * (encoder.total + encoder.buffers),
    )


def budgets_of(recipe: Recipe) -> Sequence[int]:
    """Return the budgets that a plan shows, the recipe's among them."""
    return sorted({*BUDGETS, recipe.training.chunk_tokens})
