"""Embedding many cells is embedding each."""

from __future__ import annotations

import numpy as np
import torch
from scipy.sparse import csr_matrix, vstack
from tests.recipes import tiny

from celllm.model.encoder import Encoder
from celllm.model.inference import embed_cells
from celllm.model.store import PretrainedEncoder


def test_a_cells_embedding_does_not_depend_on_order_or_company(generator: np.random.Generator) -> None:
    recipe = tiny(tokens={"max_length": 16, "embed_length": 24}, encoder={"width": 8, "head_width": 4})
    encoder = Encoder(recipe.encoder, n_genes=40, gene_embedding=torch.randn(40, 8)).train()
    pretrained = PretrainedEncoder(encoder, recipe, "abc", None, "digest")
    # sparse and dense cells: some must be cut to 23 genes
    counts = vstack([csr_matrix(generator.poisson(rate, (4, 40)).astype(np.float32)) for rate in (0.2, 2.0)]).tocsr()
    together = embed_cells(pretrained, counts, units="counts", max_tokens=48)
    backwards = embed_cells(pretrained, counts[::-1], units="counts", max_tokens=1000)[::-1]
    alone = np.concatenate([embed_cells(pretrained, counts[i], units="counts") for i in range(8)])
    np.testing.assert_allclose(together, alone, atol=1e-6)
    np.testing.assert_allclose(backwards, alone, atol=1e-6)
    assert np.abs(alone[0] - alone[7]).max() > 1e-3
    assert encoder.training
