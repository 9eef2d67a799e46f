"""Steps over drawn cells: as long as real ones, with genes and bins that mean nothing. For measuring, not for learning.

Shapes: B cells, N tokens of all of them.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from celllm.config.recipe import Recipe
from celllm.corpus.tokens import CLS, N_BINS
from celllm.model.encoder import Encoder
from celllm.model.randomness import seeded
from celllm.pretrain.batch import IS_HIDDEN, IS_TARGET, StepBatch
from celllm.pretrain.step import Pretrained


def drawn_module(recipe: Recipe, n_genes: int, *, device: torch.device, seed: int = 0) -> Pretrained:
    """Return what a recipe trains, freshly drawn, with a gene table of noise where it is not learned."""
    with seeded(seed, torch.device("cpu")):
        table = None if recipe.genes.method == "learned" else torch.randn(n_genes, recipe.encoder.width)
        module = Pretrained(Encoder(recipe.encoder, n_genes=n_genes, gene_embedding=table), recipe.objectives)
    return module.to(device).train()


def drawn_batch(
    lengths_B: NDArray[np.int64],
    targets_B: NDArray[np.int64],
    *,
    n_genes: int,
    device: torch.device,
    seed: int = 0,
) -> StepBatch:
    """Return a batch of cells of which so many tokens are hidden and to be predicted; half of them are tumour.

    Parameters
    ----------
    lengths_B
        Tokens of each cell, CLS included.
    targets_B
        Of these, how many are to be predicted; below the length.
    n_genes
        Size of the vocabulary; a gene may come twice in a cell.
    device
        Where chunks go.
    seed
        Of genes, bins and what is hidden.
    """
    generator = np.random.default_rng([seed, 4])
    gene_type = np.min_scalar_type(n_genes)
    genes, tokens = [], []
    for length, n_targets in zip(lengths_B.tolist(), targets_B.tolist(), strict=True):
        genes_L = generator.integers(0, n_genes, length).astype(gene_type)
        tokens_L = generator.integers(0, N_BINS, length).astype(np.uint8)
        genes_L[0], tokens_L[0] = n_genes, CLS
        tokens_L[1 + generator.permutation(length - 1)[:n_targets]] |= IS_TARGET | IS_HIDDEN
        genes.append(genes_L)
        tokens.append(tokens_L)
    return StepBatch(
        genes_N=np.concatenate(genes),
        tokens_N=np.concatenate(tokens),
        lengths_B=lengths_B,
        is_malignant_B=np.arange(len(lengths_B)) % 2,
        n_genes=n_genes,
        device=device,
    )
