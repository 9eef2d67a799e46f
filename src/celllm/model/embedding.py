"""Tokens as vectors, and a cell's tokens as one vector.

Shapes: B cells, L tokens a cell (CLS first), Q of them asked for, G genes, D width.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from celllm.config.recipe_encoder import EncoderSettings
from celllm.corpus.tokens import CLS, MASK, N_TOKENS, PAD

EPSILON = 1e-8
"""Added to a variance; a mean of 1,000 vectors of scale 0.05 has one of 1e-6."""


class TokenEmbedding(nn.Module):
    """Gene embedding (frozen or learned) with expression (bins and special tokens), and what CLS starts from.

    With bins, frozen gene embeddings are expected at unit root mean square: the CLS row of ones and the freshly drawn
    expression embeddings have that scale too. None: a table drawn at that scale and learned.
    """

    def __init__(
        self,
        settings: EncoderSettings,
        n_genes: int,
        *,
        gene_embedding_GD: Tensor | None = None,
        n_tokens: int = N_TOKENS,
    ) -> None:
        super().__init__()
        width = settings.width
        if gene_embedding_GD is not None and tuple(gene_embedding_GD.shape) != (n_genes, width):
            msg = f"the gene embedding must be {n_genes} x {width}, got {tuple(gene_embedding_GD.shape)}"
            raise ValueError(msg)
        self.has_values, self.has_no_attention = settings.expression == "value", settings.attention == "none"
        self.genes = nn.Embedding(n_genes + 2, width, padding_idx=n_genes + 1)
        self.expression = nn.Embedding(n_tokens, width)
        self.mean_norm = nn.LayerNorm(width, eps=EPSILON) if settings.starts_at_mean else None
        with torch.no_grad():
            self.genes.weight[n_genes].fill_(1.0)  # CLS: a row of ones, as released
            if gene_embedding_GD is not None:
                self.genes.weight[:n_genes].copy_(gene_embedding_GD)
        self.genes.weight.requires_grad_(gene_embedding_GD is None)

    def forward(
        self,
        genes_BL: Tensor,
        bins_BL: Tensor,
        values_BL: Tensor | None = None,
        *,
        positions_BQ: Tensor | None = None,
    ) -> Tensor:
        """Return B x L x D, or B x Q x D for the tokens at `positions_BQ`.

        A token is the gene's vector plus its bin's, or times its value. Without attention each token has the mean of
        its cell added, since nothing else tells it of the others.
        """
        if self.has_values and values_BL is None:
            msg = "an encoder whose expression is a value needs the values beside the bins"
            raise ValueError(msg)
        mean_BD = None if self.mean_norm is None else self.mean_norm(self._mean(genes_BL, bins_BL, values_BL))
        if positions_BQ is not None:
            genes_BL, bins_BL = genes_BL.gather(1, positions_BQ), bins_BL.gather(1, positions_BQ)
            values_BL = None if values_BL is None else values_BL.gather(1, positions_BQ)
        x_BLD = self._tokens(genes_BL, bins_BL, values_BL)
        if mean_BD is None:
            return x_BLD
        others_BLD = x_BLD + mean_BD[:, None] if self.has_no_attention else x_BLD
        return torch.where((bins_BL == CLS)[:, :, None], mean_BD[:, None].to(x_BLD.dtype), others_BLD)

    def _tokens(self, genes_BL: Tensor, bins_BL: Tensor, values_BL: Tensor | None) -> Tensor:
        x_BLD = self.genes(genes_BL)
        if not self.has_values or values_BL is None:
            return x_BLD + self.expression(bins_BL)  # type: ignore[no-any-return]
        is_special_BL = (bins_BL == MASK) | (bins_BL == CLS)
        weights_BL = values_BL.to(x_BLD.dtype).masked_fill(is_special_BL, 1.0)
        return x_BLD * weights_BL[:, :, None] + self.expression(bins_BL) * is_special_BL[:, :, None]  # type: ignore[no-any-return]

    def _mean(self, genes_BL: Tensor, bins_BL: Tensor, values_BL: Tensor | None) -> Tensor:
        """Return the mean vector of the genes whose expression is visible, B x D; zeros if there are none."""
        table_GD = self.genes.weight
        is_seen_BL = (bins_BL != CLS) & (bins_BL != PAD) & (bins_BL != MASK)
        share_BL = is_seen_BL.to(table_GD.dtype) / is_seen_BL.sum(dim=1, keepdim=True).clamp(min=1)
        if self.has_values and values_BL is not None:
            return _summed(table_GD, genes_BL, share_BL * values_BL.to(table_GD.dtype))
        return _summed(table_GD, genes_BL, share_BL) + _summed(self.expression.weight, bins_BL, share_BL)


def _summed(table: Tensor, rows_BL: Tensor, weights_BL: Tensor) -> Tensor:
    """Return weighted sums of a table's rows, B x D, without the B x L x D that would be summed."""
    return functional.embedding_bag(rows_BL, table, per_sample_weights=weights_BL, mode="sum")


def mean_of_genes(hidden_BLD: Tensor, bins_BL: Tensor) -> Tensor:
    """Return the mean hidden state of each cell's genes, B x D.

    CLS is left out, which is no gene and has a vector of its own; so is PAD, so padding changes nothing. Layout `full`:
    silent genes are among the tokens and count. A cell without any gene has zeros.
    """
    is_gene_BL = (bins_BL != CLS) & (bins_BL != PAD)
    n_genes_B = is_gene_BL.sum(dim=1).clamp(min=1)
    # no product with the mask: what stands at PAD means nothing, and 0 times it need not be 0
    genes_BLD = hidden_BLD.masked_fill(~is_gene_BL[:, :, None], 0)
    dtype = torch.float32 if hidden_BLD.dtype in (torch.float16, torch.bfloat16) else hidden_BLD.dtype
    return genes_BLD.sum(dim=1, dtype=dtype) / n_genes_B[:, None]
