"""The cells of one step: tokens packed end to end, padded a chunk at a time when they are asked for.

Shapes: B cells of the step, N tokens of all of them, C cells of a chunk, L tokens of its longest cell.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import csr_matrix
from torch import Tensor

from celllm.config.recipe import Recipe
from celllm.corpus.tokens import MASK, PAD, tokenise
from celllm.model.randomness import Purpose, stream_seed, torch_generator
from celllm.pretrain.chunks import Rows
from celllm.pretrain.masked import IGNORED, mask

PIECE = 256
"""Cells made into tokens at once, so that a large batch is never padded to its longest cell."""
IS_TARGET, IS_HIDDEN = 1 << 4, 1 << 5
"""Flags of a token beside its bin: to be predicted; and shown as MASK."""
_BIN = IS_TARGET - 1


class BatchCorpus(Protocol):
    """What a batch is made from: cells in random access."""

    @property
    def n_genes(self) -> int:
        """Size of the vocabulary."""

    @property
    def is_malignant(self) -> NDArray[np.int8]:
        """1 tumour, 0 normal, -1 unknown, for each cell."""

    def rows(self, indices: NDArray[np.int64]) -> csr_matrix:
        """Return the counts of some cells."""


@dataclass(frozen=True)
class StepBatch:
    """The cells of one step, 3 bytes a token with a vocabulary below 65,536 genes.

    Parameters
    ----------
    genes_N
        Genes of all cells, one cell after the other, CLS first in each and no PAD; the smallest type that holds them.
    tokens_N
        Their bins (CLS for CLS) and the flags `IS_TARGET` and `IS_HIDDEN`, uint8.
    lengths_B
        Tokens of each cell.
    is_malignant_B
        1 tumour, 0 normal, -1 unknown; int64.
    n_genes
        Size of the vocabulary.
    device
        Where chunks go.
    """

    genes_N: NDArray[np.unsignedinteger[Any]]
    tokens_N: NDArray[np.uint8]
    lengths_B: NDArray[np.int64]
    is_malignant_B: NDArray[np.int64]
    n_genes: int
    device: torch.device

    def __len__(self) -> int:
        """Return B."""
        return len(self.lengths_B)

    def targets(self) -> NDArray[np.uint8]:
        """Return the bins to be predicted."""
        return np.asarray(self.tokens_N[(self.tokens_N & IS_TARGET) != 0] & _BIN, dtype=np.uint8)

    def labels(self, rows: Rows) -> Tensor:
        """Return the malignancy of some cells, on the device."""
        return torch.from_numpy(self.is_malignant_B[rows]).to(self.device)

    def plain(self) -> View:
        """Return the cells as they are."""
        return View(self, hides=False, targets=False)

    def masked(self, *, targets: bool = True) -> View:
        """Return the cells with some bins hidden; with `targets`, those to be predicted stand beside them."""
        return View(self, hides=True, targets=targets)


class View:
    """Cells of a batch, padded to the longest of those asked for."""

    def __init__(self, batch: StepBatch, *, hides: bool, targets: bool) -> None:
        self._batch, self._hides, self._targets = batch, hides, targets
        self._starts_B = np.cumsum(batch.lengths_B) - batch.lengths_B

    @property
    def device(self) -> torch.device:
        """Where chunks go."""
        return self._batch.device

    def __len__(self) -> int:
        """Return B."""
        return len(self._batch)

    def __getitem__(self, rows: Rows) -> dict[str, Tensor]:
        """Return `genes`, `bins` and perhaps `targets` of some cells, C x L each, int64."""
        batch = self._batch
        lengths_C, starts_C = batch.lengths_B[rows], self._starts_B[rows]
        shape = (len(lengths_C), int(lengths_C.max()))
        genes_CL = np.full(shape, batch.n_genes + 1, dtype=np.int64)
        tokens_CL = np.full(shape, PAD, dtype=np.int64)
        for row, (start, length) in enumerate(zip(starts_C.tolist(), lengths_C.tolist(), strict=True)):
            genes_CL[row, :length] = batch.genes_N[start : start + length]
            tokens_CL[row, :length] = batch.tokens_N[start : start + length]
        bins_CL = tokens_CL & _BIN
        chunk = {"genes": genes_CL, "bins": bins_CL}
        if self._hides:
            chunk["bins"] = np.where(tokens_CL & IS_HIDDEN, MASK, bins_CL)
        if self._targets:
            chunk["targets"] = np.where(tokens_CL & IS_TARGET, bins_CL, IGNORED)
        return {name: torch.from_numpy(values).to(self.device) for name, values in chunk.items()}


def make_batch(
    corpus: BatchCorpus,
    indices: NDArray[np.int64],
    recipe: Recipe,
    *,
    panel: NDArray[np.int64] | None,
    seed: int,
    step: int,
    device: torch.device,
    rank: int = 0,
) -> StepBatch:
    """Read some cells and turn their counts and labels into the tokens of one step.

    Parameters
    ----------
    corpus
        Where the cells are.
    indices
        Their numbers.
    recipe
        Says how counts become tokens, and how many are hidden.
    panel
        Layout `full`: its genes.
    seed, step
        Decide over truncation and masks.
    device
        Where chunks go.
    rank
        Which of several processes, with cells of the same batch, these are for; each draws numbers of its own.
    """
    settings = recipe.objectives.masked
    truncation = np.random.default_rng(stream_seed(seed, step, Purpose.TRUNCATION, rank=rank))
    hiding = torch_generator(seed, step, Purpose.MASK, rank=rank)
    gene_type = np.min_scalar_type(corpus.n_genes)
    genes, tokens, lengths = [], [], []
    for start in range(0, len(indices), PIECE):
        counts = corpus.rows(indices[start : start + PIECE])
        padded = tokenise(counts, recipe.tokens, generator=truncation, panel=panel)
        is_real = padded.bins_BL != PAD
        bins_N = padded.bins_BL[is_real]
        tokens_N = bins_N.astype(np.uint8)
        if settings.weight > 0:
            hidden = mask(
                torch.from_numpy(bins_N),
                rate=settings.rate,
                replace_share=settings.replace_share,
                generator=hiding,
                is_zero_silent=recipe.tokens.layout == "full",
            )
            tokens_N[(hidden.targets_BL != IGNORED).numpy()] |= IS_TARGET
            tokens_N[(hidden.bins_BL == MASK).numpy()] |= IS_HIDDEN
        genes.append(padded.genes_BL[is_real].astype(gene_type))
        tokens.append(tokens_N)
        lengths.append(padded.lengths_B)
    return StepBatch(
        genes_N=np.concatenate(genes),
        tokens_N=np.concatenate(tokens),
        lengths_B=np.concatenate(lengths),
        is_malignant_B=corpus.is_malignant[indices].astype(np.int64),
        n_genes=corpus.n_genes,
        device=device,
    )
