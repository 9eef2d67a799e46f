"""What pretraining learns from: a corpus, and the cells of one step, packed until a chunk of them is asked for.

Shapes: B cells of the step, N tokens of all of them, C cells of a chunk, L tokens of its longest cell.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from celllm.config.recipe import Recipe
from celllm.corpus.tokens import MASK, PAD, padded
from celllm.model.randomness import Purpose, stream_seed
from celllm.pretrain.chunks import Rows
from celllm.pretrain.views import BIN, IS_HIDDEN, IS_TARGET, PieceMaker

if TYPE_CHECKING:
    from celllm.corpus.memory import MemoryCorpus
    from celllm.corpus.reader import ShardReader  # it brings pyarrow, which `celllm adapt` does without

PIECE = 256
"""Cells made into tokens at once."""
CELLS_AT_ONCE = 4096
"""Cells read at once where a panel is chosen."""
IGNORED = -100
"""Target of a token that is not to be predicted."""


Corpus: TypeAlias = "ShardReader | MemoryCorpus"
"""Cells to learn from, in random access."""


@dataclass(frozen=True)
class StepBatch:
    """The cells of one step, 3 bytes a token with a vocabulary below 65,536 genes, and 4 more with values."""

    genes_N: NDArray[np.unsignedinteger[Any]]
    """Genes of all cells, one cell after the other, CLS first in each and no PAD; the smallest type that holds them."""
    tokens_N: NDArray[np.uint8]
    """Their bins (CLS for CLS) and the flags `IS_TARGET` and `IS_HIDDEN`."""
    lengths_B: NDArray[np.int64]
    is_malignant_B: NDArray[np.int64]
    """1 tumour, 0 normal, -1 unknown."""
    n_genes: int
    device: torch.device
    """Where chunks go."""
    values_N: NDArray[np.float32] | None = None
    """Expression of each token; None where the encoder reads bins."""
    is_zero_silent: bool = False
    """Layout `full`: bin 0 is a gene that is silent, or nearly so."""
    log_total_B: NDArray[np.float32] | None = None
    """Logarithm of the molecules that each cell shows; None: not known."""
    views: tuple[StepBatch, StepBatch] | None = None
    """What the contrastive loss compares: the same cells with tokens of their own, as many in both for each cell;
    None: the batch itself, twice."""

    def __len__(self) -> int:
        """Return B."""
        return len(self.lengths_B)

    @property
    def view_lengths_B(self) -> NDArray[np.int64]:
        """Tokens of each cell in a contrastive view."""
        return self.lengths_B if self.views is None else self.views[0].lengths_B

    def targets(self) -> NDArray[np.uint8]:
        """Return the bins to be predicted."""
        return np.asarray(self.tokens_N[(self.tokens_N & IS_TARGET) != 0] & BIN, dtype=np.uint8)

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
        """Return `genes`, `bins` and perhaps `values` and `targets` of some cells, C x L each."""
        batch = self._batch
        lengths_C, starts_C = batch.lengths_B[rows], self._starts_B[rows]
        genes_CL = padded(batch.genes_N, lengths_C, fill=batch.n_genes + 1, starts_B=starts_C)
        tokens_CL = padded(batch.tokens_N, lengths_C, fill=PAD, starts_B=starts_C)
        bins_CL = tokens_CL & BIN
        chunk = {"genes": genes_CL, "bins": bins_CL}
        if self._hides:
            chunk["bins"] = np.where(tokens_CL & IS_HIDDEN, MASK, bins_CL)
        if batch.values_N is not None:
            chunk["values"] = padded(batch.values_N, lengths_C, fill=0, starts_B=starts_C, dtype=np.float32)
            if self._hides:
                chunk["values"][(tokens_CL & IS_HIDDEN) != 0] = 0
        if self._targets:
            chunk["targets"] = np.where(tokens_CL & IS_TARGET, bins_CL, IGNORED)
        return {name: torch.from_numpy(values).to(self.device) for name, values in chunk.items()}


def make_batch(
    corpus: Corpus,
    indices: NDArray[np.int64],
    recipe: Recipe,
    *,
    panel: NDArray[np.int64] | None,
    seed: int,
    step: int,
    device: torch.device,
) -> StepBatch:
    """Read some cells and turn their counts and labels into the tokens of one step.

    All that chance decides, which genes stay, which bins are hidden and what a view shows, is drawn from the seed, the
    step and the cell's number: a cell has the same tokens whatever rank reads it, and beside whatever cells. `panel`
    are the genes of layout `full`.
    """
    pieces = []
    for start in range(0, len(indices), PIECE):
        cells_B = indices[start : start + PIECE]
        pieces.append(PieceMaker(corpus.rows(cells_B), cells_B, recipe, panel, seed, step).inputs())
    gene_type, has_values = np.min_scalar_type(corpus.n_genes), recipe.encoder.expression == "value"
    made = [
        StepBatch(
            genes_N=np.concatenate([piece.tokens.genes_N.astype(gene_type) for piece in of_input]),
            tokens_N=np.concatenate([piece.flagged_N for piece in of_input]),
            lengths_B=np.concatenate([piece.tokens.lengths_B for piece in of_input]),
            is_malignant_B=corpus.is_malignant[indices].astype(np.int64),
            n_genes=corpus.n_genes,
            device=device,
            values_N=np.concatenate([piece.tokens.values_N for piece in of_input]) if has_values else None,
            is_zero_silent=recipe.tokens.layout == "full",
            log_total_B=np.concatenate([piece.log_total_B for piece in of_input]),
        )
        for of_input in zip(*pieces, strict=True)
    ]
    return made[0] if len(made) == 1 else replace(made[0], views=(made[-2], made[-1]))


def positions(targets_BL: Tensor) -> tuple[Tensor, Tensor]:
    """Return where to look in each cell, and for what: CLS, then the tokens to be predicted.

    An encoder that is asked for these places only can save most of its last layer. Both are B x Q, where Q is 1 + the
    most targets of any cell; cells with fewer repeat place 0. Targets are `IGNORED` at CLS and at the repeats.
    """
    is_chosen_BL = targets_BL != IGNORED
    n_most = int(is_chosen_BL.sum(dim=1).max())
    first_BL = is_chosen_BL.to(torch.uint8).sort(dim=1, descending=True, stable=True).indices[:, :n_most]
    is_real_BL = is_chosen_BL.gather(1, first_BL)
    targets_BQ = targets_BL.gather(1, first_BL)  # IGNORED where not real
    cls_B1 = first_BL.new_zeros(len(first_BL), 1)
    return (
        torch.cat([cls_B1, first_BL * is_real_BL], dim=1),
        torch.cat([torch.full_like(cls_B1, IGNORED), targets_BQ], dim=1),
    )


class Division(NamedTuple):
    """Numbers of the cells that are trained on, and of those that are not."""

    training: NDArray[np.int64]
    validation: NDArray[np.int64]


def hold_out(n_cells: int, n_validation: int) -> Division:
    """Hold some cells out, the same for every seed of a model; ValueError if no cell would be left to train on.

    Both are in ascending order; where none is held out, all come in a drawn one. Shards were shuffled by the numbers of
    their seed, which order the first epoch of batches, too: the same seed would put the sources in a row again.
    """
    if n_validation >= n_cells:
        msg = f"{n_validation} validation cells of {n_cells} leave none to train on"
        raise ValueError(msg)
    order = np.random.default_rng(stream_seed(0, 0, Purpose.VALIDATION)).permutation(n_cells)
    return Division(np.sort(order[n_validation:]) if n_validation else order, np.sort(order[:n_validation]))


def choose_panel(corpus: Corpus, panel_size: int | None) -> NDArray[np.int64]:
    """Return the `panel_size` (None: all) genes of highest mean share of a cell's counts, in vocabulary order."""
    if panel_size is None or panel_size >= corpus.n_genes:
        return np.arange(corpus.n_genes, dtype=np.int64)
    totals = np.zeros(corpus.n_genes)
    for start in range(0, corpus.n_cells, CELLS_AT_ONCE):
        counts = corpus.rows(np.arange(start, min(start + CELLS_AT_ONCE, corpus.n_cells)))
        depth = np.maximum(np.asarray(counts.sum(axis=1)).ravel(), 1)
        totals += (1 / depth) @ counts
    # stable, so equal genes go by vocabulary order on every machine
    return np.sort(np.argsort(-totals, kind="stable")[:panel_size]).astype(np.int64)
