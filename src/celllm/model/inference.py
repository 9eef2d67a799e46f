"""Cells to embeddings with a pretrained encoder that stays as it is.

Shapes: N cells, B of them at once, D width.
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
    cells_at_once: int = 64,
    device: torch.device | str = "cpu",
) -> NDArray[np.float32]:
    """Embed cells; row i of the result, N x D, is cell i.

    Cells of similar length go through together, which saves padding and changes nothing: an embedding depends on its
    cell alone (with attention `released` on the rest of the batch as well). Genes that do not fit into the recipe's
    `max_length` are left out by a choice that the cell fixes.

    Parameters
    ----------
    pretrained
        Encoder, token rule and panel; moved to `device`.
    values
        N x genes of the vocabulary.
    units
        What the values are.
    cells_at_once
        B.
    device
        Where to compute.
    """
    encoder = pretrained.encoder.to(device)
    embedded_ND = np.empty((values.shape[0], encoder.width), dtype=np.float32)
    by_size = np.argsort(np.diff(values.indptr), kind="stable")
    with evaluating(encoder):
        for start in range(0, len(by_size), cells_at_once):
            rows = by_size[start : start + cells_at_once]
            tokens = tokenise(values[rows], pretrained.recipe.tokens, units=units, panel=pretrained.panel)
            z_BD = encoder.embed(*(torch.from_numpy(part).to(device) for part in tokens.padded()))
            embedded_ND[rows] = z_BD.float().cpu().numpy()
    return embedded_ND
