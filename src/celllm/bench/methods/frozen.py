"""What an audit compares: one vector a cell, of the encoder, of the encoder without pretraining, of the genes.

Shapes: N cells, D numbers of a view.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from celllm.bench.components import N_COMPONENTS, principal_components
from celllm.config.units import Units
from celllm.harmonise.normalise import log_normalised
from celllm.model.inference import embed_cells
from celllm.model.store import PretrainedEncoder, fresh
from celllm.pretrain.diagnostics import effective_rank, mean_cosine, uniformity

ENCODER = "CellLM"
SCRATCH = "CellLM without pretraining"
COMPONENTS = f"{N_COMPONENTS} principal components"


def views(
    pretrained: PretrainedEncoder,
    values: csr_matrix,
    *,
    units: Units | str,
    seed: int,
    device: torch.device | str = "cpu",
) -> dict[str, NDArray[np.float64]]:
    """Return three views of the same cells, none of which was shown a label of them; row i is cell i.

    Parameters
    ----------
    pretrained
        The encoder, frozen. Its second view has weights drawn anew and the same gene embedding, unless pretraining
        learned that too.
    values
        N x genes of the vocabulary.
    units
        What the values are.
    seed
        Of the weights without pretraining, and of the solver of the components.
    device
        Where to embed.
    """
    embedded = {
        name: embed_cells(encoder, values, units=units, device=device).astype(np.float64)
        for name, encoder in ((ENCODER, pretrained), (SCRATCH, fresh(pretrained, seed)))
    }
    expression = log_normalised(values) if Units(units).is_proportional else values
    return {**embedded, COMPONENTS: principal_components(expression, seed=seed)}


def unit(view_ND: NDArray[np.float64]) -> NDArray[np.float64]:
    """Put vectors on the unit sphere, where distance means what the contrastive loss compares; zeros stay."""
    lengths_N1 = np.linalg.norm(view_ND, axis=1, keepdims=True)
    return np.asarray(view_ND / np.where(lengths_N1 > 0, lengths_N1, 1))


def spread(view_ND: NDArray[np.float64]) -> Mapping[str, float]:
    """Return how spread out embeddings are: uniformity, mean pairwise cosine and effective rank of N x D numbers."""
    z_ND = torch.from_numpy(np.ascontiguousarray(view_ND, dtype=np.float64))
    return {
        "uniformity": uniformity(z_ND),
        "mean_cosine": mean_cosine(z_ND),
        "effective_rank": effective_rank(z_ND),
    }
