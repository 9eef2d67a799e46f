"""The cells of one step: tokens packed end to end, padded a chunk at a time when they are asked for.

Shapes: B cells of the step, N tokens of all of them, C cells of a chunk, L tokens of its longest cell.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import csr_matrix
from torch import Tensor

from celllm.cells.tokens import PAD, Tokens, tokenise
from celllm.contracts.recipe import Recipe
from celllm.objectives.masked import IGNORED, mask
from celllm.train.chunks import Rows
from celllm.train.randomness import Purpose, stream_seed, torch_generator

PIECE = 256
"""Cells made into tokens at once, so that a large batch is never padded to its longest cell."""


@dataclass(frozen=True)
class StepBatch:
    """The cells of one step, 5 bytes a token.

    Parameters
    ----------
    genes_N, bins_N
        Tokens of all cells, one cell after the other, CLS first in each and no PAD: genes in the smallest type that
        holds them, bins int8.
    masked_N
        Bins with some hidden.
    is_target_N
        Whether the bin is to be predicted.
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
    bins_N: NDArray[np.int8]
    masked_N: NDArray[np.int8]
    is_target_N: NDArray[np.bool_]
    lengths_B: NDArray[np.int64]
    is_malignant_B: NDArray[np.int64]
    n_genes: int
    device: torch.device

    def __len__(self) -> int:
        """Return B."""
        return len(self.lengths_B)

    @property
    def n_targets(self) -> int:
        """Tokens to be predicted."""
        return int(self.is_target_N.sum())

    def targets(self) -> NDArray[np.int64]:
        """Return the bins to be predicted."""
        return self.bins_N[self.is_target_N].astype(np.int64)

    def labels(self, rows: Rows) -> Tensor:
        """Return the malignancy of some cells, on the device."""
        return torch.from_numpy(self.is_malignant_B[rows]).to(self.device)

    def plain(self) -> View:
        """Return the cells as they are."""
        return View(self, {"genes": self.genes_N, "bins": self.bins_N})

    def masked(self, *, targets: bool = True) -> View:
        """Return the cells with some bins hidden; with `targets`, those to be predicted stand beside them."""
        view = {"genes": self.genes_N, "bins": self.masked_N}
        if targets:
            view["targets"] = np.where(self.is_target_N, self.bins_N, np.int8(IGNORED))
        return View(self, view)


class View:
    """Cells of a batch, padded to the longest of those asked for."""

    def __init__(self, batch: StepBatch, packed: dict[str, NDArray[Any]]) -> None:
        self._batch, self._packed = batch, packed
        self._starts_B = np.cumsum(batch.lengths_B) - batch.lengths_B
        self._padding = {"genes": batch.n_genes + 1, "bins": PAD, "targets": IGNORED}

    @property
    def device(self) -> torch.device:
        """Where chunks go."""
        return self._batch.device

    def __len__(self) -> int:
        """Return B."""
        return len(self._batch)

    def __getitem__(self, rows: Rows) -> dict[str, Tensor]:
        """Return some cells, C x L each, int64."""
        lengths_C, starts_C = self._batch.lengths_B[rows], self._starts_B[rows]
        shape = (len(lengths_C), int(lengths_C.max()))
        padded = {name: np.full(shape, self._padding[name], dtype=np.int64) for name in self._packed}
        for row, (start, length) in enumerate(zip(starts_C.tolist(), lengths_C.tolist(), strict=True)):
            for name, values_N in self._packed.items():
                padded[name][row, :length] = values_N[start : start + length]
        return {name: torch.from_numpy(values).to(self.device) for name, values in padded.items()}


def make_batch(
    cells: csr_matrix,
    is_malignant_B: NDArray[np.int8],
    recipe: Recipe,
    *,
    panel: NDArray[np.int64] | None,
    seed: int,
    step: int,
    device: torch.device,
) -> StepBatch:
    """Turn the counts and labels of some cells into the tokens of one step.

    Parameters
    ----------
    cells
        Counts, B x genes.
    is_malignant_B
        1 tumour, 0 normal, -1 unknown.
    recipe
        Says how counts become tokens, and how many are hidden.
    panel
        Layout `full`: its genes.
    seed, step
        Decide over truncation and masks.
    device
        Where chunks go.
    """
    settings = recipe.objectives.masked
    truncation = np.random.default_rng(stream_seed(seed, step, Purpose.TRUNCATION))
    hiding = torch_generator(seed, step, Purpose.MASK)
    gene_type = np.min_scalar_type(cells.shape[1])
    packed: dict[str, list[NDArray[Any]]] = {"genes": [], "bins": [], "masked": [], "is_target": [], "lengths": []}
    for start in range(0, cells.shape[0], PIECE):
        tokens = tokenise(cells[start : start + PIECE], recipe.tokens, generator=truncation, panel=panel)
        bins_N = _packed(tokens, tokens.bins_BL)
        packed["genes"].append(_packed(tokens, tokens.genes_BL).astype(gene_type))
        packed["bins"].append(bins_N.astype(np.int8))
        packed["lengths"].append(tokens.lengths_B)
        if settings.weight == 0:
            packed["masked"].append(packed["bins"][-1])
            packed["is_target"].append(np.zeros(len(bins_N), dtype=bool))
            continue
        hidden = mask(
            torch.from_numpy(bins_N),
            rate=settings.rate,
            replace_share=settings.replace_share,
            generator=hiding,
            is_zero_silent=recipe.tokens.layout == "full",
        )
        packed["masked"].append(hidden.bins_BL.numpy().astype(np.int8))
        packed["is_target"].append((hidden.targets_BL != IGNORED).numpy())
    whole = {name: np.concatenate(parts) for name, parts in packed.items()}
    return StepBatch(
        genes_N=whole["genes"],
        bins_N=whole["bins"],
        masked_N=whole["masked"],
        is_target_N=whole["is_target"],
        lengths_B=whole["lengths"],
        is_malignant_B=is_malignant_B.astype(np.int64),
        n_genes=cells.shape[1],
        device=device,
    )


def _packed(tokens: Tokens, values_BL: NDArray[np.int64]) -> NDArray[np.int64]:
    return np.asarray(values_BL[tokens.bins_BL != PAD], dtype=np.int64)
