"""What a pretraining run will take: parameters, FLOPs, memory, hours and disk, computed before it runs.

Shapes: B cells of the batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from celllm.base.errors import InputError
from celllm.config.recipe import Recipe
from celllm.model.encoder import Encoder
from celllm.pretrain.chunks import by_tokens, padding_fraction
from celllm.pretrain.flops import Flops, Layout, Passes, probe, step_flops
from celllm.pretrain.gpus import gpu_of, gpu_seconds
from celllm.pretrain.losses import TILE_NUMBERS
from celllm.pretrain.run import CELLS_AHEAD
from celllm.pretrain.step import Pretrained, check_trainable
from celllm.pretrain.synthetic import CorpusSize, as_tokens, synthetic_step

EFFICIENCY = 0.5
"""Share of each peak that is reached; an assumption. Chowdhery et al. 2022 (arXiv:2204.02311, PaLM) report 0.578 of the
peak of their accelerators, recomputation counted."""
USABLE = 0.9
"""Share of a GPU's memory that is planned with; an assumption: CUDA itself and gaps between blocks take the rest."""
NUMBER_BYTES = 4
"""Weights, gradients, states of AdamW (two) and embeddings are float32 in either precision."""
OPTIMISER_BYTES = 40
"""Moved for a trained number by clipping (reads the gradient twice, writes it once) and by AdamW (reads weight,
gradient and two states, writes all but the gradient)."""
SHARD_BYTES_PER_NONZERO = 4.02
"""All files of a shard over its non-zero counts, measured at a million cells (docs/performance.md)."""
BUDGETS = (4_096, 8_192, 16_384, 32_768, 65_536, 131_072)
INPUT_BYTES = 32
"""A token of a chunk as the encoder takes it: gene, bin and target, and the array they are cut from, int64 each."""
PROBED_CELLS = (2, 4)
"""Cells of the two chunks from which memory and traffic of a token follow."""


@dataclass(frozen=True)
class Parameters:
    """Numbers of a module; `gene_embedding` includes CLS and PAD, `buffers` are random features: saved, not trained."""

    total: int
    trained: int
    gene_embedding: int
    buffers: int

    @property
    def n_bytes(self) -> int:
        """Of parameters and buffers."""
        return NUMBER_BYTES * (self.total + self.buffers)


@dataclass(frozen=True)
class Memory:
    """Bytes that a step holds when it holds most.

    `embeddings` are those of all views and cells, with InfoNCE's tiles; `chunk` is one chunk's graph, or all that are
    kept; `device` is the sum so far. `host` are the batches made ahead and the gene embedding as it was read.
    """

    chunk_tokens: int
    weights: int
    gradients: int
    optimiser: int
    embeddings: int
    chunk: int
    device: int
    host: int


@dataclass(frozen=True)
class Disk:
    """Bytes of what a run reads and leaves."""

    shards: int
    checkpoint: int
    n_checkpoints: int
    encoder: int


def parameters_of(recipe: Recipe, n_genes: int) -> tuple[Parameters, Parameters]:
    """Count the parameters of the encoder alone, and of all that is trained with it."""
    with torch.device("meta"):
        table = torch.empty(n_genes, recipe.encoder.width)
        encoder = Encoder(recipe.encoder, n_genes=n_genes, gene_embedding=table)
        encoder.embedding.genes.weight.requires_grad_(recipe.genes.is_trained)
        whole = Pretrained(encoder, recipe.objectives)

    def counted(module: torch.nn.Module) -> Parameters:
        return Parameters(
            total=sum(p.numel() for p in module.parameters()),
            trained=sum(p.numel() for p in module.parameters() if p.requires_grad),
            gene_embedding=encoder.embedding.genes.weight.numel(),
            buffers=sum(buffer.numel() for buffer in module.buffers()),
        )

    return counted(encoder), counted(whole)


@dataclass(frozen=True)
class ChunkCost:
    """What the tokens of a chunk take on a device: memory held at the worst moment, and bytes moved, a token."""

    constant_bytes: float
    token_bytes: float
    step_traffic: float
    """Of all passes of a step."""

    def peak_bytes(self, n_tokens: int) -> float:
        """Return the most that a chunk of so many tokens, padding included, holds."""
        return self.constant_bytes + self.token_bytes * n_tokens


def chunk_cost(recipe: Recipe, length: int, *, layout: Layout = "gpu") -> ChunkCost:
    """Probe two chunks of cells of `length` tokens; the rest follows in a straight line."""
    passes, precision = Passes.of(recipe.objectives), recipe.training.precision
    n_hidden = round(recipe.objectives.masked.rate * length) if recipe.objectives.masked.weight > 0 else 0
    few, many = (
        probe(recipe.encoder, n_cells=n, length=length, queries=1 + n_hidden, precision=precision, layout=layout)
        for n in PROBED_CELLS
    )
    n_more = (PROBED_CELLS[1] - PROBED_CELLS[0]) * length
    slope = (many.peak_bytes - few.peak_bytes) / n_more
    forward = (many.forward_traffic - few.forward_traffic) / n_more
    both = (many.traffic - few.traffic) / n_more
    n_backwards = passes.view_backwards + passes.masked_backwards
    n_forwards = passes.view_forwards + passes.masked_forwards - n_backwards
    return ChunkCost(
        constant_bytes=few.peak_bytes - slope * PROBED_CELLS[0] * length,
        token_bytes=slope + INPUT_BYTES,
        step_traffic=forward * n_forwards + both * n_backwards,
    )


def memory_of(recipe: Recipe, corpus: CorpusSize, cost: ChunkCost, chunk_tokens: int) -> Memory:
    """Compute what a step holds with `chunk_tokens` in a chunk; a cell that is longer is a chunk of its own."""
    lengths, _ = as_tokens(recipe, corpus)
    _, counted = parameters_of(recipe, corpus.n_genes)
    n_cells, width = recipe.training.batch_cells, recipe.encoder.embedding_width
    n_views = Passes.of(recipe.objectives).n_views
    # embeddings and their gradient; unit vectors, and their gradients. Two tiles are held at once, three if symmetric
    n_tiles = (3 if recipe.objectives.contrastive.symmetric else 2) * bool(n_views)
    tiles = n_tiles * min(TILE_NUMBERS, n_cells**2)
    n_ahead = min(4, max(1, CELLS_AHEAD // n_cells)) + 2  # `ahead` of them and one wait, one is worked on
    batch_bytes = n_cells * float(lengths.mean()) * (np.min_scalar_type(corpus.n_genes).itemsize + 1)
    table = corpus.n_genes * recipe.encoder.width
    parts = {
        "weights": counted.n_bytes,
        "gradients": NUMBER_BYTES * counted.trained,
        "optimiser": 2 * NUMBER_BYTES * counted.trained,
        "embeddings": NUMBER_BYTES * (4 * n_views * n_cells * width + tiles),
        "chunk": round(cost.peak_bytes(max(chunk_tokens, recipe.training.keep_tokens, int(lengths.max())))),
    }
    host = round(n_ahead * batch_bytes + NUMBER_BYTES * table)
    return Memory(chunk_tokens, **parts, device=sum(parts.values()), host=host)


def max_budget(memory: Memory, cost: ChunkCost, *, limit_bytes: float) -> int:
    """Return the tokens that a chunk may have on a device of so much memory, in whole 1,024; 0: it holds no chunk."""
    left = USABLE * limit_bytes - (memory.device - memory.chunk)
    return max(0, int((left - cost.constant_bytes) / cost.token_bytes)) // 1024 * 1024


def disk_of(recipe: Recipe, corpus: CorpusSize) -> Disk:
    """Compute the size of shards, checkpoints and encoder."""
    encoder, counted = parameters_of(recipe, corpus.n_genes)
    training, shards = recipe.training, corpus.shard_bytes
    if shards is None:
        shards = round(corpus.n_cells * float(corpus.expressed.mean()) * SHARD_BYTES_PER_NONZERO)
    return Disk(
        shards=shards,
        checkpoint=counted.n_bytes + 2 * NUMBER_BYTES * counted.trained,
        n_checkpoints=training.keep_last + (training.validation_cells > 0 or training.select == "probe"),
        encoder=encoder.n_bytes,
    )


@dataclass(frozen=True)
class Estimate:
    """What a run will take; times by name of the GPU, of a step on one of them."""

    n_cells: int
    n_genes: int
    epochs: float
    encoder: Parameters
    trained: Parameters
    tokens: dict[str, float]
    """Of a cell; with the shares of cells that are cut, and of padding among encoded tokens."""
    flops: Flops
    chunk: ChunkCost
    memory: list[Memory]
    max_budgets: dict[str, int]
    step_s: dict[str, float]
    hours: dict[str, dict[int, float]]
    efficiency: float
    disk: Disk


def estimate(
    recipe: Recipe,
    corpus: CorpusSize,
    *,
    gpus: Sequence[str] = (),
    counts: Sequence[int] = (1,),
    efficiency: float = EFFICIENCY,
    seed: int = 0,
) -> Estimate:
    """Compute what a run will take.

    Hours on `counts` of the GPUs named are those on one over their number: what they send each other is below a
    hundredth of a step at the paper's size, and the cells of a large batch are shared evenly enough. `efficiency` is
    the share of each peak that is reached, `seed` that of the cells in the step that is counted. InputError for an
    unknown GPU, a count or share out of range, or a recipe that cannot be trained from.
    """
    batch_cells, budget = recipe.training.batch_cells, recipe.training.chunk_tokens
    known = {name: gpu_of(name) for name in gpus}
    check_trainable(recipe)
    for file, expected, wrong in (
        (
            "--gpus",
            f"numbers from 1 to {batch_cells}, the cells of a batch",
            [n for n in counts if not 1 <= n <= batch_cells],
        ),
        ("--efficiency", "a share of a GPU's peak, above 0 and at most 1", [efficiency] * (not 0 < efficiency <= 1)),
    ):
        if wrong:
            raise InputError(file=file, field="value", expected=expected, found=f"{wrong[0]:g}", remedy="correct it")
    lengths_B, targets_B = synthetic_step(recipe, corpus, seed=seed)
    chunks = by_tokens(lengths_B, budget)
    flops = step_flops(recipe, lengths_B, targets_B, chunks)
    padding = padding_fraction(lengths_B, chunks)
    cost = chunk_cost(recipe, round(float(lengths_B.mean())))
    encoder, trained = parameters_of(recipe, corpus.n_genes)
    traffic_bytes = cost.step_traffic * lengths_B.sum() / (1 - padding) + OPTIMISER_BYTES * trained.trained
    memory = [memory_of(recipe, corpus, cost, n) for n in sorted({*BUDGETS, budget})]
    token_lengths, _ = as_tokens(recipe, corpus)
    is_cut = (corpus.expressed + 1 > recipe.tokens.max_length) & (recipe.tokens.layout == "nonzero")
    step_s = {n: gpu_seconds(recipe, gpu, flops, traffic_bytes, efficiency=efficiency) for n, gpu in known.items()}
    hours = {name: one * recipe.training.steps / 3600 for name, one in step_s.items()}
    return Estimate(
        n_cells=corpus.n_cells,
        n_genes=corpus.n_genes,
        epochs=recipe.training.steps * batch_cells / corpus.n_cells,
        encoder=encoder,
        trained=trained,
        tokens={
            "mean": float(token_lengths.mean()),
            "median": float(np.median(token_lengths)),
            "percentile_99": float(np.percentile(token_lengths, 99)),
            "cut_fraction": float(is_cut.mean()),
            "padding_fraction": padding,
        },
        flops=flops,
        chunk=cost,
        memory=memory,
        max_budgets={n: max_budget(memory[0], cost, limit_bytes=gpu.memory_gb * 1e9) for n, gpu in known.items()},
        step_s=step_s,
        hours={name: {n: one / n for n in counts} for name, one in hours.items()},
        efficiency=efficiency,
        disk=disk_of(recipe, corpus),
    )
