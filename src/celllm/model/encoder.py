"""The encoder that reads a cell as a set of genes at expression levels (paper section 5: a Performer).

Shapes: B cells, L tokens a cell (CLS first), Q of them asked for, D width, T token kinds (bins, CLS, PAD, MASK).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from celllm.config.recipe_encoder import EncoderSettings
from celllm.corpus.tokens import N_TOKENS, PAD
from celllm.model.attention import Attention
from celllm.model.dropout import Dropout
from celllm.model.embedding import TokenEmbedding, mean_of_genes
from celllm.model.released import filled_up


class Layer(nn.Module):
    """Pre-LayerNorm attention, if any, and feed-forward, each added to its input, with dropout on what is added."""

    def __init__(self, settings: EncoderSettings) -> None:
        super().__init__()
        width = settings.width
        self.attention: Attention | None = None
        if settings.attention != "none":
            self.attention_norm = nn.LayerNorm(width)
            self.attention = Attention(
                width,
                heads=settings.heads,
                head_width=settings.head_width,
                n_features=settings.features_a_head,
                kind=settings.attention,
            )
        self.feedforward_norm = nn.LayerNorm(width)
        self.feedforward = nn.Sequential(
            nn.Linear(width, settings.feedforward_factor * width),
            nn.GELU(),
            nn.Linear(settings.feedforward_factor * width, width),
        )
        self.dropout = Dropout(settings.dropout)
        if settings.residual_start == "zero":
            last = [self.feedforward[2], *([] if self.attention is None else [self.attention.to_out])]
            for parameter in nn.ModuleList(last).parameters():
                nn.init.zeros_(parameter)

    def forward(self, x_BLD: Tensor, is_pad_BL: Tensor | None, *, positions_BQ: Tensor | None = None) -> Tensor:
        """Return the tokens at `positions_BQ` (None: all, in order) after this layer."""
        x_BQD = x_BLD if positions_BQ is None else _at(positions_BQ, x_BLD)
        if self.attention is not None:
            normed_BLD = self.attention_norm(x_BLD)
            queries_BQD = None if positions_BQ is None else _at(positions_BQ, normed_BLD)
            x_BQD = x_BQD + self.dropout(self.attention(normed_BLD, is_pad_BL, queries_BQD=queries_BQD))
        return x_BQD + self.dropout(self.feedforward(self.feedforward_norm(x_BQD)))  # type: ignore[no-any-return]


def _at(positions_BQ: Tensor, x_BLD: Tensor) -> Tensor:
    return x_BLD.gather(1, positions_BQ[:, :, None].expand(-1, -1, x_BLD.shape[-1]))


def _padding(bins_BL: Tensor) -> Tensor | None:
    """Return where PAD is; None if nowhere, which is asked on a CPU alone: a GPU would have to be waited for."""
    is_pad_BL = bins_BL == PAD
    return is_pad_BL if bins_BL.device.type != "cpu" or is_pad_BL.any() else None


class Encoder(nn.Module):
    """Embeds the tokens of cells; a cell's embedding depends on nothing but the cell, unless attention is `released`.

    The gene embedding, n_genes x D, is frozen unless set free; None: drawn, and learned with the rest. Of `n_tokens`
    the paper itself has 8, a MASK of its own makes 9. `padded_length`, for attention `released` alone: tokens to which
    every batch is filled up inside, see `released.filled_up`; its hidden states at PAD are zeros. None: a batch stays
    as it comes.
    """

    def __init__(
        self,
        settings: EncoderSettings,
        *,
        n_genes: int,
        gene_embedding: Tensor | None,
        n_tokens: int = N_TOKENS,
        padded_length: int | None = None,
    ) -> None:
        super().__init__()
        self.settings, self.n_genes = settings, n_genes
        self.is_released = settings.attention == "released"
        self.padded_length = padded_length
        self.embedding = TokenEmbedding(settings, n_genes, gene_embedding_GD=gene_embedding, n_tokens=n_tokens)
        self.dropout = Dropout(settings.dropout)
        self.layers = nn.ModuleList(Layer(settings) for _ in range(settings.depth))
        self.norm = nn.LayerNorm(settings.width)
        self.to_expression = nn.Linear(settings.width, n_tokens)

    @property
    def width(self) -> int:
        """D."""
        return self.settings.width

    @property
    def embedding_width(self) -> int:
        """Numbers of what `embed` returns for a cell."""
        return self.settings.embedding_width

    def forward(self, genes_BL: Tensor, bins_BL: Tensor, values_BL: Tensor | None = None) -> Tensor:
        """Return the hidden states B x L x D after the final LayerNorm; those of PAD mean nothing.

        `values_BL` are looked at where the recipe's `expression` is `value`, and only there.
        """
        return self._run(genes_BL, bins_BL, values_BL, positions_BQ=None)

    def at(self, genes_BL: Tensor, bins_BL: Tensor, positions_BQ: Tensor, values_BL: Tensor | None = None) -> Tensor:
        """Return the hidden states B x Q x D of the tokens at `positions_BQ` (int64, below L).

        The last layer is run for these alone, and without attention every layer: same numbers as `forward` with dropout
        off, for less work.
        """
        return self._run(genes_BL, bins_BL, values_BL, positions_BQ=positions_BQ)

    def embed(self, genes_BL: Tensor, bins_BL: Tensor, values_BL: Tensor | None = None) -> Tensor:
        """Return a cell's embedding by the recipe's `pooling`: B x D, or B x 2 D with `both`."""
        if self.settings.pooling == "cls":
            return self.at(genes_BL, bins_BL, genes_BL.new_zeros(len(genes_BL), 1), values_BL)[:, 0]
        return self.pooled(self(genes_BL, bins_BL, values_BL), bins_BL)

    def pooled(self, hidden_BLD: Tensor, bins_BL: Tensor) -> Tensor:
        """Return cells' embeddings, as `embed` does, from all their hidden states."""
        if self.settings.pooling == "cls":
            return hidden_BLD[:, 0]
        mean_BD = mean_of_genes(hidden_BLD, bins_BL)
        return mean_BD if self.settings.pooling == "mean" else torch.cat([hidden_BLD[:, 0], mean_BD], dim=1)

    def _run(
        self, genes_BL: Tensor, bins_BL: Tensor, values_BL: Tensor | None, *, positions_BQ: Tensor | None
    ) -> Tensor:
        is_token_BL = bins_BL != PAD if self.is_released else None
        if self.padded_length is not None:
            genes_BL, bins_BL = filled_up(genes_BL, bins_BL, length=self.padded_length, n_genes=self.n_genes)
        is_early = self.settings.attention == "none"  # no layer needs the other tokens
        x = self.below(genes_BL, bins_BL, values_BL, n_layers=0, positions_BQ=positions_BQ if is_early else None)
        hidden = self.above(x, bins_BL, n_layers=0, positions_BQ=None if is_early else positions_BQ)
        if is_token_BL is None:
            return hidden
        if positions_BQ is None:
            return hidden[:, : is_token_BL.shape[1]] * is_token_BL[:, :, None]
        return hidden * is_token_BL.gather(1, positions_BQ)[:, :, None]

    def below(
        self,
        genes_BL: Tensor,
        bins_BL: Tensor,
        values_BL: Tensor | None = None,
        *,
        n_layers: int,
        positions_BQ: Tensor | None = None,
    ) -> Tensor:
        """Return the hidden states B x L x D after the embedding and the first `n_layers`; for `above`.

        Without attention, `positions_BQ` asks for those of these tokens alone, B x Q x D.
        """
        x = self.dropout(self.embedding(genes_BL, bins_BL, values_BL, positions_BQ=positions_BQ))
        is_pad_BL = _padding(bins_BL)
        for layer in self.layers[:n_layers]:
            x = layer(x, is_pad_BL)
        return x  # type: ignore[no-any-return]

    def above(self, x_BLD: Tensor, bins_BL: Tensor, *, n_layers: int, positions_BQ: Tensor | None = None) -> Tensor:
        """Finish what `below` began: `above(below(…))` is `forward`, or `at` with positions.

        So hidden states of frozen layers can be kept; with attention `released` a cell's depend on its batch.
        """
        is_pad_BL, last = _padding(bins_BL), len(self.layers) - 1
        for i, layer in enumerate(self.layers[n_layers:], start=n_layers):
            x_BLD = layer(x_BLD, is_pad_BL, positions_BQ=positions_BQ if i == last else None)
        if positions_BQ is not None and n_layers > last:
            x_BLD = _at(positions_BQ, x_BLD)
        return self.norm(x_BLD)  # type: ignore[no-any-return]

    def expression_logits(self, hidden: Tensor) -> Tensor:
        """Return scores of the token kinds, … x T, for hidden states … x D."""
        return self.to_expression(hidden)  # type: ignore[no-any-return]

    @torch.no_grad()
    def share_below_epsilon(self, genes_BL: Tensor, bins_BL: Tensor, values_BL: Tensor | None = None) -> float | None:
        """Return the largest share of a layer's random features that say nothing; None unless attention is `favor`."""
        if self.settings.attention != "favor":
            return None
        x_BLD, is_pad_BL = self.below(genes_BL, bins_BL, values_BL, n_layers=0), _padding(bins_BL)
        shares: list[float] = []
        for layer in self.layers:
            shares.append(float(layer.attention.share_below_epsilon(layer.attention_norm(x_BLD), is_pad_BL)))  # type: ignore[union-attr, operator]
            x_BLD = layer(x_BLD, is_pad_BL)
        return max(shares)

    def redraw_features(self, generator: torch.Generator) -> None:
        """Draw new random features for every layer that has some from a CPU generator."""
        for module in self.modules():
            if isinstance(module, Attention):
                module.redraw(generator)

    def train_only(self, layers: Iterable[int]) -> None:
        """Freeze everything but the final LayerNorm and the given layers (-1: the last).

        What lies below the lowest of them then needs no graph: torch keeps none for it.
        """
        self.requires_grad_(False)  # noqa: FBT003 - torch's own signature
        self.norm.requires_grad_(True)  # noqa: FBT003
        for i in layers:
            self.layers[i].requires_grad_(True)  # noqa: FBT003


@contextmanager
def evaluating(*modules: nn.Module) -> Iterator[None]:
    """Switch modules to evaluation without gradients, and back to the mode each was in."""
    modes = [module.training for module in modules]
    for module in modules:
        module.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        for module, mode in zip(modules, modes, strict=True):
            module.train(mode)
