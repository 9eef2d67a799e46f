"""Cell lines as a pretrained encoder embeds them, with what its frozen layers say computed once a line.

Shapes: C lines of a batch, L tokens, D width.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from celllm.bench.tokens import TokenSource
from celllm.corpus.tokens import PAD
from celllm.model.encoder import Encoder

MAX_KEPT_BYTES = 2**30
"""Hidden states that are kept, at most; where all lines need more, they are computed anew each time."""


class LineEmbedder:
    """Embeds lines; of an encoder whose lower layers are frozen those are run once a line, not once a batch.

    What they say is kept only where it cannot change: not of lines that are cut at random, nor with attention
    `released`, whose output hangs on the rest of the batch. The encoder must be in evaluation, without dropout.

    Parameters
    ----------
    source
        The lines.
    encoder
        What embeds them.
    pool
        A line is its `cls` token, or the `mean` of its tokens.
    n_frozen
        Lower layers that fitting does not change, the embedding of tokens included; None: not even that is frozen.
    """

    def __init__(self, source: TokenSource, encoder: Encoder, *, pool: str, n_frozen: int | None) -> None:
        self._source, self._encoder, self._pool = source, encoder, pool
        self._n_frozen = 0 if n_frozen is None else n_frozen
        all_lines = np.arange(source.values.shape[0])
        # a bin is an int64, a hidden state float32s
        size = int((source.lengths(all_lines) + 1).sum()) * (4 * encoder.width + 8)
        self._keeps = bool(self._n_frozen) and not encoder.is_released and size <= MAX_KEPT_BYTES
        self._kept: dict[int, tuple[Tensor, Tensor]] = {}

    def embedded(self, rows: np.ndarray, generator: np.random.Generator | None = None, *, draw: int = 0) -> Tensor:
        """Return the lines' embeddings, C x D; `generator` and `draw` as of `TokenSource.batch`."""
        if not self._keeps or self._source.varies(rows):
            return self._pooled_of(*self._source.batch(rows, generator, draw=draw))
        fresh = [row for row in rows.tolist() if row not in self._kept]
        if fresh:
            self._keep(np.array(fresh))
        hidden_CLD = pad_sequence([self._kept[row][0] for row in rows.tolist()], batch_first=True)
        bins_CL = pad_sequence([self._kept[row][1] for row in rows.tolist()], batch_first=True, padding_value=PAD)
        return self._pooled(hidden_CLD, bins_CL)

    def _keep(self, rows: np.ndarray) -> None:
        genes_CL, bins_CL, values_CL = self._source.batch(rows)
        with torch.no_grad():
            hidden_CLD = self._encoder.below(genes_CL, bins_CL, values_CL, n_layers=self._n_frozen)
        for row, hidden_LD, bins_L in zip(rows.tolist(), hidden_CLD, bins_CL, strict=True):
            is_token_L = bins_L != PAD
            self._kept[row] = hidden_LD[is_token_L], bins_L[is_token_L]

    def _pooled_of(self, genes_CL: Tensor, bins_CL: Tensor, values_CL: Tensor) -> Tensor:
        if self._pool == "cls":
            first_C1 = bins_CL.new_zeros(len(bins_CL), 1)
            return self._encoder.at(genes_CL, bins_CL, first_C1, values_CL)[:, 0]
        return _mean(self._encoder(genes_CL, bins_CL, values_CL), bins_CL)

    def _pooled(self, hidden_CLD: Tensor, bins_CL: Tensor) -> Tensor:
        """Finish from the hidden states below the trained layers."""
        if self._pool == "cls":
            first_C1 = bins_CL.new_zeros(len(bins_CL), 1)
            return self._encoder.above(hidden_CLD, bins_CL, n_layers=self._n_frozen, positions_BQ=first_C1)[:, 0]
        return _mean(self._encoder.above(hidden_CLD, bins_CL, n_layers=self._n_frozen), bins_CL)


def _mean(hidden_CLD: Tensor, bins_CL: Tensor) -> Tensor:
    """Return the mean over a line's tokens, CLS among them."""
    is_token_CL1 = (bins_CL != PAD).unsqueeze(-1)
    mean_CD: Tensor = (hidden_CLD * is_token_CL1).sum(dim=1) / is_token_CL1.sum(dim=1)
    return mean_CD
