"""Views: what the inputs of a step show of each cell, drawn from seed, step, cell and view.

Shapes: B cells of a piece, N tokens or stored counts of all of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from celllm.config.recipe import Recipe
from celllm.corpus.tokens import CLS, Tokens, tokenise
from celllm.model.randomness import Purpose
from celllm.pretrain import draws

IS_TARGET, IS_HIDDEN = 1 << 4, 1 << 5
"""Flags of a token beside its bin: to be predicted; and shown as MASK."""
BIN = IS_TARGET - 1
"""Bits of the bin."""


@dataclass(frozen=True)
class Piece:
    """Some cells of one input: their tokens, their bins with flags, uint8, and log(1 + molecules shown)."""

    tokens: Tokens
    flagged_N: NDArray[np.uint8]
    log_total_B: NDArray[np.float32]


def choose_masked(
    bins_N: NDArray[np.uint8],
    *,
    chance_N: NDArray[np.float64],
    rate: float,
    replace_share: float,
    is_zero_silent: bool = False,
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Choose tokens to predict, each with probability `rate`, and of them `replace_share` to become MASK; CLS never.

    The rest stay visible; none become another bin. `chance_N` is a number in [0, 1) for each token. `is_zero_silent`,
    layout `full`: bin 0 is a gene that is silent, or nearly so, and is never chosen, as in scBERT; in layout `nonzero`
    every token is an expressed gene. Returns which tokens are to be predicted, and which of these are hidden.
    """
    is_candidate_N = bins_N != CLS
    if is_zero_silent:
        is_candidate_N &= bins_N != 0
    is_target_N = is_candidate_N & (chance_N < rate)
    # below rate * replace_share: uniform again among the chosen, so one draw serves both
    return is_target_N, is_target_N & (chance_N < rate * replace_share)


@dataclass(frozen=True)
class PieceMaker:
    """Makes the inputs of some cells, of these counts and numbers in the corpus; the rest as for a batch."""

    counts: csr_matrix
    cells_B: NDArray[np.int64]
    recipe: Recipe
    panel: NDArray[np.int64] | None
    seed: int
    step: int

    def inputs(self) -> list[Piece]:
        """Return one input, or with views of their own three: the cells as they are, then both views.

        With `shared_masked_view`, or where the contrastive loss is the only one, the first view is the first input too,
        and there are two.
        """
        objectives = self.recipe.objectives
        contrastive = objectives.contrastive
        if contrastive.weight == 0 or contrastive.views == "dropout":
            return [self._masked(self._whole)]
        first, second = self._views()
        if objectives.shared_masked_view or objectives.masked.weight == objectives.malignancy.weight == 0:
            return [self._masked(first), second]
        return [self._masked(self._whole), first, second]

    def _keys(self, purpose: Purpose, view: int = 0) -> NDArray[np.uint64]:
        return draws.keys(self.cells_B, seed=self.seed, step=self.step, purpose=purpose, view=view)

    def _bits(self, purpose: Purpose, counts: csr_matrix, view: int = 0) -> NDArray[np.uint64]:
        return draws.of_genes(self._keys(purpose, view), np.diff(counts.indptr), counts.indices)

    @cached_property
    def _cells(self) -> csr_matrix:
        """The expressed genes in order."""
        cells = csr_matrix(self.counts)
        if not cells.has_sorted_indices or not cells.data.all():
            cells = cells.copy()
            cells.eliminate_zeros()
            cells.sort_indices()
        return cells

    @cached_property
    def _whole(self) -> Piece:
        is_random = self.recipe.tokens.truncation == "random_subset"
        order = draws.chances(self._bits(Purpose.TRUNCATION, self._cells)) if is_random else None
        return self._piece(self._cells, order, None)

    def _piece(
        self, cells: csr_matrix, priority_N: NDArray[np.float64] | None, n_most_B: NDArray[np.int64] | None
    ) -> Piece:
        rule = self.recipe.tokens
        found = tokenise(cells, rule, panel=self.panel, priority_N=priority_N, n_most_B=n_most_B)
        total_B = np.asarray(cells.sum(axis=1)).ravel()
        return Piece(found, found.bins_N.copy(), np.log1p(total_B).astype(np.float32))

    def _masked(self, piece: Piece) -> Piece:
        """Choose what is to be predicted, and hide most of it."""
        settings, tokens = self.recipe.objectives.masked, piece.tokens
        if settings.weight == 0:
            return piece
        is_target_N, is_hidden_N = choose_masked(
            tokens.bins_N,
            chance_N=self._chances(tokens, Purpose.MASK),
            rate=settings.rate,
            replace_share=settings.replace_share,
            is_zero_silent=self.recipe.tokens.layout == "full",
        )
        flags_N = is_target_N * np.uint8(IS_TARGET) | is_hidden_N * np.uint8(IS_HIDDEN)
        return Piece(tokens, piece.flagged_N | flags_N, piece.log_total_B)

    def _chances(self, tokens: Tokens, purpose: Purpose, view: int = 0) -> NDArray[np.float64]:
        return draws.chances(draws.of_genes(self._keys(purpose, view), tokens.lengths_B, tokens.genes_N))

    def _views(self) -> tuple[Piece, Piece]:
        contrastive = self.recipe.objectives.contrastive
        if contrastive.views == "mask":
            return self._hidden(0), self._hidden(1)
        found = [self._thinned(view) if contrastive.has_thinning else self._cells for view in (0, 1)]
        order = [self._order(view, cells) for view, cells in enumerate(found)]
        n_most_B = np.minimum(*(_n_finite(cells, order_N) for cells, order_N in zip(found, order, strict=True)))
        if contrastive.has_subsets:
            n_expressed_B = np.minimum(*(np.diff(cells.indptr) for cells in found))
            n_most_B = np.minimum(n_most_B, np.ceil(contrastive.view_share * n_expressed_B).astype(np.int64))
        first, second = (self._piece(cells, order_N, n_most_B) for cells, order_N in zip(found, order, strict=True))
        return first, second

    def _hidden(self, view: int) -> Piece:
        """Return the cells with the bins hidden that this view does not show."""
        whole = self._whole
        is_shown_N = self._chances(whole.tokens, Purpose.VIEW, view) < self.recipe.objectives.contrastive.view_share
        is_hidden_N = ~is_shown_N & (whole.tokens.bins_N != CLS)
        return Piece(whole.tokens, whole.flagged_N | is_hidden_N * np.uint8(IS_HIDDEN), whole.log_total_B)

    def _thinned(self, view: int) -> csr_matrix:
        low = self.recipe.objectives.contrastive.view_min_depth
        share_B = low + (1 - low) * draws.chances(self._keys(Purpose.DEPTH, view))
        return draws.thinned(self._cells, share_B, self._bits(Purpose.THINNING, self._cells, view))

    def _order(self, view: int, cells: csr_matrix) -> NDArray[np.float64]:
        """Return the random order in which a view takes its genes; infinite: not at all."""
        order_N = draws.chances(self._bits(Purpose.VIEW, cells, view))
        contrastive = self.recipe.objectives.contrastive
        if not (contrastive.has_subsets and contrastive.view_disjoint):
            return order_N
        is_of_second_N = (self._bits(Purpose.VIEW, cells, 2) & np.uint64(1)).astype(np.bool_)
        return np.where(is_of_second_N == bool(view), order_N, np.inf)


def _n_finite(cells: csr_matrix, order_N: NDArray[np.float64]) -> NDArray[np.int64]:
    """Count the genes of each cell that a view may take."""
    n_so_far = np.concatenate([[0], np.cumsum(np.isfinite(order_N))])
    return np.asarray(n_so_far[cells.indptr[1:]] - n_so_far[cells.indptr[:-1]], dtype=np.int64)
