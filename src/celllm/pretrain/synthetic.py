"""Synthetic cells: as long as real ones, with genes and bins that mean nothing. For measuring, not for learning.

Shapes: B cells, N tokens of all of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from celllm.config.recipe import Recipe
from celllm.config.recipe_encoder import EncoderSettings
from celllm.corpus import format as shard_format
from celllm.corpus.reader import ShardReader
from celllm.corpus.tokens import CLS, N_BINS
from celllm.model.encoder import Encoder
from celllm.model.randomness import seeded
from celllm.pretrain.batch import StepBatch
from celllm.pretrain.step import Pretrained, initial_module
from celllm.pretrain.views import IS_HIDDEN, IS_TARGET

MEAN_EXPRESSED, EXPRESSED_99, MIN_EXPRESSED = 1_616, 4_673, 200
"""Expressed genes of a cell of the paper's corpus: cell-weighted mean and 99th percentile of PanglaoDB's table of
samples, and the minimum below which a cell is no part of it."""
SAMPLE = 20_000
"""Cells whose lengths are looked at."""
PIECE = 4096
"""Cells of a corpus read at once."""
CPU = torch.device("cpu")


@dataclass(frozen=True)
class CorpusSize:
    """What an estimate has to know of a corpus.

    `expressed` are the expressed genes of a sample of its cells; `shard_bytes` is None where no shards are written yet.
    """

    n_cells: int
    n_genes: int
    expressed: NDArray[np.int64]
    shard_bytes: int | None = None


def synthetic_expressed(n_cells: int, *, seed: int = 0) -> NDArray[np.int64]:
    """Draw the numbers of expressed genes of cells: the log-normal of the corpus's mean and 99th percentile.

    Its quartiles, 983, 1,401 and 1,995 genes, are near those of the corpus, 967, 1,347 and 2,026.
    """
    z_99 = 2.3263  # of a standard normal
    # mean = exp(m + s^2 / 2) and percentile = exp(m + z s); of the two roots, the one below z is meant
    spread = z_99 - np.sqrt(z_99**2 - 2 * np.log(EXPRESSED_99 / MEAN_EXPRESSED))
    middle = np.log(MEAN_EXPRESSED) - spread**2 / 2
    genes = np.random.default_rng([seed, 2]).lognormal(middle, spread, n_cells)
    return np.maximum(genes.astype(np.int64), MIN_EXPRESSED)


def synthetic_lengths(n_cells: int, *, max_length: int = 6_000) -> NDArray[np.int64]:
    """Draw the tokens of cells, CLS included, at most `max_length` of each (the paper's by default)."""
    return np.minimum(synthetic_expressed(n_cells) + 1, max_length)


def sampled_expressed(corpus: ShardReader, n_cells: int, *, seed: int = 0) -> NDArray[np.int64]:
    """Return the numbers of expressed genes of cells drawn from a corpus with replacement."""
    drawn = np.random.default_rng(seed).integers(0, corpus.n_cells, n_cells)
    pieces = [np.diff(corpus.rows(drawn[start : start + PIECE]).indptr) for start in range(0, n_cells, PIECE)]
    return np.concatenate(pieces).astype(np.int64)


def corpus_size(shards: Path | None, *, n_cells: int, n_genes: int, seed: int = 0) -> CorpusSize:
    """Return what an estimate has to know of a corpus: of these shards, or without of synthetic cells."""
    if shards is None:
        return CorpusSize(n_cells, n_genes, synthetic_expressed(SAMPLE, seed=seed).clip(max=n_genes))
    corpus = ShardReader(shards)
    n_bytes = sum(sum(entry.bytes.values()) for entry in shard_format.read(shards).shards)
    expressed = sampled_expressed(corpus, min(SAMPLE, corpus.n_cells), seed=seed)
    return CorpusSize(corpus.n_cells, corpus.n_genes, expressed, n_bytes)


def as_tokens(recipe: Recipe, corpus: CorpusSize) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the tokens of the corpus's cells, CLS included, and how many of them may be hidden."""
    expressed, max_length = corpus.expressed, recipe.tokens.max_length
    if recipe.tokens.layout == "nonzero":
        objectives = recipe.objectives
        if objectives.shared_masked_view and objectives.contrastive.has_subsets:
            expressed = np.ceil(objectives.contrastive.view_share * expressed).astype(np.int64)  # of either view
        lengths = np.minimum(expressed + 1, max_length)
        return lengths, lengths - 1
    # silent genes are never hidden; those of the panel are taken to be expressed as often as any
    panel = min(recipe.tokens.panel_size or corpus.n_genes, corpus.n_genes, max_length - 1)
    return np.full(len(expressed), panel + 1), np.minimum(expressed * panel // corpus.n_genes, panel)


def synthetic_step(recipe: Recipe, corpus: CorpusSize, *, seed: int = 0) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Draw the lengths of one batch's cells and how many of their tokens are hidden."""
    lengths, candidates = as_tokens(recipe, corpus)
    drawn = np.random.default_rng([seed, 5]).integers(0, len(lengths), recipe.training.batch_cells)
    masked = recipe.objectives.masked
    rate = masked.rate if masked.weight > 0 else 0.0
    return lengths[drawn], np.random.default_rng([seed, 3]).binomial(candidates[drawn], rate)


def synthetic_encoder(settings: EncoderSettings, n_genes: int) -> Encoder:
    """Return an encoder with drawn weights and a gene embedding of noise, in training mode."""
    with seeded(0, CPU):
        return Encoder(settings, n_genes=n_genes, gene_embedding=torch.randn(n_genes, settings.width)).train()


def synthetic_module(recipe: Recipe, n_genes: int, *, device: torch.device = CPU) -> Pretrained:
    """Return what a recipe trains, freshly drawn, with a gene embedding of noise."""
    noise_GD = np.random.default_rng(0).standard_normal((n_genes, recipe.encoder.width), dtype=np.float32)
    return initial_module(recipe, n_genes, noise_GD, seed=0, device=device)


def synthetic_batch(
    lengths_B: NDArray[np.int64],
    targets_B: NDArray[np.int64] | None = None,
    *,
    n_genes: int,
    device: torch.device = CPU,
    has_values: bool = False,
) -> StepBatch:
    """Return cells of these lengths, CLS included, with `targets_B` hidden tokens to predict (None: none).

    Half of the cells are tumour; a gene may come twice in a cell. `has_values`: the encoder reads expression as a
    value.
    """
    generator = np.random.default_rng([0, 4])
    n_tokens, starts_B = int(lengths_B.sum()), np.cumsum(lengths_B) - lengths_B
    genes_N = np.empty(n_tokens, dtype=np.min_scalar_type(n_genes))
    tokens_N = np.empty(n_tokens, dtype=np.uint8)
    n_targets_B = np.zeros_like(lengths_B) if targets_B is None else targets_B
    for start, length, n_targets in zip(starts_B.tolist(), lengths_B.tolist(), n_targets_B.tolist(), strict=True):
        genes_L, tokens_L = genes_N[start : start + length], tokens_N[start : start + length]
        genes_L[:] = generator.integers(0, n_genes, length)
        tokens_L[:] = generator.integers(0, N_BINS, length)
        genes_L[0], tokens_L[0] = n_genes, CLS
        tokens_L[1 + generator.permutation(length - 1)[:n_targets]] |= IS_TARGET | IS_HIDDEN
    return StepBatch(
        genes_N=genes_N,
        tokens_N=tokens_N,
        lengths_B=lengths_B,
        is_malignant_B=np.arange(len(lengths_B)) % 2,
        n_genes=n_genes,
        device=device,
        values_N=generator.random(n_tokens, dtype=np.float32) if has_values else None,
    )
