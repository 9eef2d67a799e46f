"""Cells to embeddings with a pretrained encoder that stays as it is.

Shapes: N cells, B of them at once, L tokens of the longest, D numbers of an embedding.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from celllm.config.units import Units
from celllm.corpus.tokens import tokenise
from celllm.model.encoder import evaluating
from celllm.model.store import PretrainedEncoder


def embed_cells(
    pretrained: PretrainedEncoder,
    values: csr_matrix,
    *,
    units: Units | str,
    max_tokens: int = 65_536,
    device: torch.device | str = "cpu",
) -> NDArray[np.float32]:
    """Embed cells; row i of the result, N x D, is cell i.

    Cells of similar length go through together, which saves padding and changes nothing: an embedding depends on its
    cell alone (with attention `released` on the rest of the batch as well). All expressed genes are
    tokens, or as many as the recipe's `embed_length` allows: the others are left out by a choice that the cell fixes.
    `max_tokens`, B x L, sets memory; a cell that is longer is embedded alone. The encoder is moved to `device`.
    """
    encoder = pretrained.encoder.to(device)
    rule, panel = pretrained.recipe.embedding_tokens, pretrained.panel
    embedded_ND = np.empty((values.shape[0], encoder.embedding_width), dtype=np.float32)
    lengths_N = np.minimum(np.diff(values.indptr) + 1, rule.max_length)
    if rule.layout == "full":
        lengths_N[:] = 1 + (values.shape[1] if panel is None else len(panel))
    order = np.argsort(lengths_N, kind="stable")
    with evaluating(encoder):
        while len(order):  # from the longest down: its length is that of all that go with it
            n_cells = max(1, max_tokens // int(lengths_N[order[-1]]))
            rows, order = order[-n_cells:], order[:-n_cells]
            tokens = tokenise(values[rows], rule, units=units, panel=panel)
            z_BD = encoder.embed(*(torch.from_numpy(part).to(device) for part in tokens.padded()))
            embedded_ND[rows] = z_BD.float().cpu().numpy()
    return embedded_ND
