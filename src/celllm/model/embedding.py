"""A token is a gene at an expression level: the sum of a gene's and a bin's embedding.

Shapes: B cells, L tokens a cell, G genes, D width. Row G of the gene embedding is CLS, row G + 1 is PAD.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from celllm.corpus.tokens import N_TOKENS


class TokenEmbedding(nn.Module):
    """Gene embedding (frozen or learned) plus expression embedding (always learned).

    Parameters
    ----------
    n_genes
        G, the vocabulary's size.
    width
        D.
    gene_embedding_GD
        Frozen gene embeddings, expected at unit root mean square: the CLS row of ones and the freshly drawn
        expression embeddings have that scale too. None: a table drawn at that scale and learned.
    n_tokens
        Rows of the expression embedding: bins and special tokens.
    """

    def __init__(
        self,
        n_genes: int,
        width: int,
        *,
        gene_embedding_GD: Tensor | None = None,
        n_tokens: int = N_TOKENS,
    ) -> None:
        super().__init__()
        if gene_embedding_GD is not None and tuple(gene_embedding_GD.shape) != (n_genes, width):
            msg = f"the gene embedding must be {n_genes} x {width}, got {tuple(gene_embedding_GD.shape)}"
            raise ValueError(msg)
        self.genes = nn.Embedding(n_genes + 2, width, padding_idx=n_genes + 1)
        self.expression = nn.Embedding(n_tokens, width)
        with torch.no_grad():
            self.genes.weight[n_genes].fill_(1.0)  # CLS: a row of ones, as released
            if gene_embedding_GD is not None:
                self.genes.weight[:n_genes].copy_(gene_embedding_GD)
        self.genes.weight.requires_grad_(gene_embedding_GD is None)

    def forward(self, genes_BL: Tensor, bins_BL: Tensor) -> Tensor:
        """Return B x L x D."""
        return self.genes(genes_BL) + self.expression(bins_BL)  # type: ignore[no-any-return]
