"""Cells as batches of tokens for a pretrained encoder.

Shapes: B cells, L tokens of the longest of them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from scipy import sparse
from torch import Tensor

from celllm.config.recipe_encoder import TokenSettings
from celllm.config.units import Units
from celllm.corpus.tokens import tokenise

# Batches among which cells are exchanged so that each holds cells of like length.
_WINDOW = 8


@dataclass(frozen=True)
class TokenSource:
    """Cells, and the rule that makes them tokens."""

    values: sparse.csr_matrix
    """Cells x genes of the vocabulary."""
    units: Units
    rule: TokenSettings
    """The encoder's own."""
    panel: np.ndarray | None
    """Genes of layout `full`; None otherwise."""

    def batch(
        self, rows: np.ndarray, generator: np.random.Generator | None = None, *, draw: int = 0
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return gene ids, bins and values, B x L each.

        Without a generator a cell is cut to length by a choice fixed by its content and the number `draw`; with one a
        cell too long shows other genes in each epoch (under the rule `random_subset`).
        """
        tokens = tokenise(
            self.values[rows], self.rule, units=self.units, generator=generator, draw=draw, panel=self.panel
        )
        genes_BL, bins_BL, values_BL = map(torch.from_numpy, tokens.padded())
        return genes_BL, bins_BL, values_BL

    def are_cut(self, rows: np.ndarray) -> np.ndarray:
        """Return of which cells chance has a say in what they show: they are too long, and lose a random subset."""
        if self.rule.layout == "full" or self.rule.truncation != "random_subset":
            return np.zeros(len(rows), dtype=bool)
        return np.asarray(np.diff(self.values.indptr)[rows] > self.rule.max_length - 1)

    def lengths(self, rows: np.ndarray) -> np.ndarray:
        """Return the number of genes in each row's sequence, nearly: what batches are sorted by."""
        if self.rule.layout == "full":
            return np.zeros(len(rows), dtype=np.int64)
        expressed = np.diff(self.values.indptr)[rows]
        return np.asarray(np.minimum(expressed, self.rule.max_length - 1))

    def in_order_of_length(self, rows: np.ndarray, batch: int) -> Iterator[np.ndarray]:
        """Yield positions in `rows`, in batches of cells of like length: little padding, and no chance."""
        order = np.argsort(self.lengths(rows), kind="stable")
        for start in range(0, len(order), batch):
            yield order[start : start + batch]

    def shuffled(self, rows: np.ndarray, batch: int, generator: np.random.Generator) -> Iterator[np.ndarray]:
        """Yield positions in `rows` once each, in random batches.

        Cells are shuffled, then sorted by length within eight batches, then the batches are shuffled.
        """
        order = generator.permutation(len(rows))
        lengths = self.lengths(rows)
        batches = []
        for start in range(0, len(order), batch * _WINDOW):
            window = order[start : start + batch * _WINDOW]
            window = window[np.argsort(lengths[window], kind="stable")]
            batches += [window[at : at + batch] for at in range(0, len(window), batch)]
        for number in generator.permutation(len(batches)):
            yield batches[number]


def token_source(
    values: sparse.csr_matrix, units: Units | str, *, rule: TokenSettings, panel: np.ndarray | None
) -> TokenSource:
    """Prepare cells for an encoder; z-scores at or below 0 are dropped at once: the token rule takes them as silent."""
    units = Units(units)
    if not units.is_proportional:
        values = values.multiply(values > 0).tocsr()
        values.eliminate_zeros()
    return TokenSource(values=sparse.csr_matrix(values), units=units, rule=rule, panel=panel)
