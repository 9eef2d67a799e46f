"""Cells as batches of tokens, and what frozen layers of an encoder say of them, computed once a cell and not a batch.

Shapes: B cells (or lines) of a batch, L tokens, D width.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from scipy import sparse
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from celllm.base.errors import InputError
from celllm.bench.method import BenchMethod
from celllm.config.recipe_encoder import TokenSettings
from celllm.config.units import Units
from celllm.corpus.tokens import PAD, tokenise
from celllm.model.encoder import Encoder
from celllm.model.store import PretrainedEncoder

MAX_KEPT_BYTES, MAX_KEPT_SHARE = 2**30, 0.5
"""Of hidden states that are kept, on a CPU, and as a share of a GPU's memory; others are computed anew each time."""
DRAWS = 4
"""Random subsets of genes that training shows of a cell that is too long, so that they can be kept."""


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


@dataclass
class Kept:
    """What is kept of some cells, and its size in bytes."""

    of: sparse.csr_matrix
    """The cells."""
    source: TokenSource
    """The same as tokens."""
    states: dict[Any, Any] = field(default_factory=dict)
    """By cell and draw: hidden states, genes and bins."""
    size: int = 0


def kept_of(
    method: BenchMethod,
    pretrained: PretrainedEncoder,
    values: sparse.csr_matrix,
    units: Units,
    *,
    rule: TokenSettings,
    what: Hashable,
) -> Kept:
    """Return what runs of a method's job have kept of these cells under a rule for tokens, told apart by `what`.

    Weights without pretraining differ by the method's seed.

    InputError if the cells are on another gene axis than the encoder.
    """
    n_genes = pretrained.encoder.n_genes
    if values.shape[1] != n_genes:
        raise InputError(
            file=method.encoder_file or "--encoder",
            field="vocabulary",
            expected=f"{n_genes} genes, as the encoder has",
            found=f"cells with {values.shape[1]}",
            remedy="align the cells again: snakemake --forcerun align_cells",
        )
    key = (what, rule, method.seed if method.options["scratch"] else "pretrained")
    kept = method.shared.get(key)
    if kept is None or kept.of is not values:
        source = token_source(values, units, rule=rule, panel=pretrained.panel)
        kept = method.shared[key] = Kept(values, source)
    return kept  # type: ignore[no-any-return]


class FrozenLayers:
    """Runs an encoder whose lower layers are frozen, those once a cell.

    What they say is not kept with attention `released`, whose output depends on the rest of the batch. The encoder must
    be in evaluation, without dropout. `n_frozen`: lower layers that fitting does not change, the embedding of tokens
    included; None: not even that is frozen.
    """

    def __init__(self, kept: Kept, encoder: Encoder, *, n_frozen: int | None) -> None:
        self.source, self._encoder, self._kept = kept.source, encoder, kept
        self._n_frozen = 0 if encoder.is_released or n_frozen is None else n_frozen

    def hidden(
        self, rows: np.ndarray, generator: np.random.Generator | None = None, *, draw: int = 0, only_cls: bool = False
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return hidden states after all layers, B x L x D (with `only_cls` B x 1 x D), genes and bins, B x L.

        A cell that is too long is cut to the choice of number `draw`; with a generator, to one of a few at random.
        """
        if not self._n_frozen:
            genes_BL, bins_BL, *more = self._batch(rows, generator, draw=draw)
            if only_cls:
                first_B1 = bins_BL.new_zeros(len(rows), 1)
                return self._encoder.at(genes_BL, bins_BL, first_B1, *more), genes_BL, bins_BL
            return self._encoder(genes_BL, bins_BL, *more), genes_BL, bins_BL
        draws = np.full(len(rows), draw) if generator is None else generator.integers(DRAWS, size=len(rows))
        keys = list(zip(rows.tolist(), (draws * self.source.are_cut(rows)).tolist(), strict=True))
        # without attention CLS, the mean of its cell's genes, asks no other token for anything
        is_alone = only_cls and self._encoder.settings.attention == "none"
        found = self._states(keys, is_alone=is_alone)
        below_BLD, genes_BL, bins_BL = (
            pad_sequence([found[key][part] for key in keys], batch_first=True, padding_value=padding)
            for part, padding in enumerate((0.0, self._encoder.n_genes + 1, PAD))
        )
        positions_B1 = bins_BL.new_zeros(len(keys), 1) if only_cls and not is_alone else None
        hidden = self._encoder.above(below_BLD, bins_BL, n_layers=self._n_frozen, positions_BQ=positions_B1)
        return hidden, genes_BL, bins_BL

    def embedded(
        self, rows: np.ndarray, generator: np.random.Generator | None = None, *, draw: int = 0, pool: str = "cls"
    ) -> Tensor:
        """Return embeddings, B x D: the hidden state of CLS, or the mean over all tokens, CLS among them."""
        hidden_BLD, _, bins_BL = self.hidden(rows, generator, draw=draw, only_cls=pool == "cls")
        if pool == "cls":
            return hidden_BLD[:, 0]
        is_token_BL1 = (bins_BL != PAD).unsqueeze(-1)
        mean_BD: Tensor = (hidden_BLD * is_token_BL1).sum(dim=1) / is_token_BL1.sum(dim=1)
        return mean_BD

    def _states(
        self, keys: list[tuple[int, int]], *, is_alone: bool
    ) -> dict[tuple[int, int], tuple[Tensor, Tensor, Tensor]]:
        """Return what the frozen layers say of each cell and draw, or of CLS alone; run them for what is not kept."""
        kept = self._kept
        found = {key: kept.states[*key, is_alone] for key in keys if (*key, is_alone) in kept.states}
        missing = set(keys) - set(found)
        for draw in sorted({draw for _, draw in missing}):
            rows = np.array(sorted(row for row, of_draw in missing if of_draw == draw))
            genes_BL, bins_BL, *more = self._batch(rows, draw=draw)
            first_B1 = bins_BL.new_zeros(len(rows), 1) if is_alone else None
            with torch.no_grad():
                below_BLD = self._encoder.below(
                    genes_BL, bins_BL, *more, n_layers=self._n_frozen, positions_BQ=first_B1
                )
            if is_alone:
                genes_BL, bins_BL = genes_BL[:, :1], bins_BL[:, :1]
            for row, *of_cell in zip(rows.tolist(), below_BLD, genes_BL, bins_BL, strict=True):
                is_token_L = of_cell[2] != PAD
                below_LD, genes_L, bins_L = (part[is_token_L] for part in of_cell)
                found[row, draw] = below_LD, genes_L, bins_L
                size = sum(part.nbytes for part in found[row, draw])
                if kept.size + size <= self._limit:
                    kept.states[row, draw, is_alone] = found[row, draw]
                    kept.size += size
        return found

    @property
    def _limit(self) -> float:
        device = self._encoder.norm.weight.device
        if device.type == "cpu":
            return MAX_KEPT_BYTES
        return MAX_KEPT_SHARE * torch.cuda.get_device_properties(device).total_memory

    def _batch(self, rows: np.ndarray, generator: np.random.Generator | None = None, *, draw: int) -> list[Tensor]:
        device = self._encoder.norm.weight.device
        return [part.to(device) for part in self.source.batch(rows, generator, draw=draw)]
