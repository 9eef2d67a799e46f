"""What stands on an encoder: from hidden states to the answer of a task.

Shapes: B cells, L tokens a cell (CLS first), D width, K answers, G genes, S slots of the gene axis.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class MalignancyHead(nn.Module):
    """One linear layer from a cell's embedding to the logit of "tumour"."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.linear = nn.Linear(width, 1)

    def forward(self, z_BD: Tensor) -> Tensor:
        """Return logits, length B."""
        return self.linear(z_BD).squeeze(-1)  # type: ignore[no-any-return]


class ClsHead(nn.Module):
    """From the hidden state of CLS to K answers: linear, or with one hidden layer, and dropout on it."""

    def __init__(self, width: int, n_out: int, *, hidden: int | None = None, dropout: float = 0.0) -> None:
        super().__init__()
        self.layers: nn.Module = nn.Linear(width, n_out)
        if hidden is not None:
            self.layers = nn.Sequential(
                nn.Linear(width, hidden), nn.ReLU(), nn.Dropout(dropout), nn.Linear(hidden, n_out)
            )

    def forward(self, hidden_BLD: Tensor, genes_BL: Tensor | None = None) -> Tensor:
        """Return B x K; only the first token is looked at; takes what `GeneScatterHead` takes."""
        return self.layers(hidden_BLD[:, 0])  # type: ignore[no-any-return]


class GeneScatterHead(nn.Module):
    """The released annotation head: one number a token, put at its gene's place, then three linear layers.

    A convolution of size 1 x D is a dot product with each token's hidden state. The numbers are scattered onto the
    gene axis with CLS behind the genes; silent genes stay 0 and PAD falls away. The released head puts a ReLU on these
    numbers (`relu`); ours does not: a pretrained encoder's hidden states share a direction, and where the dot product
    with it starts negative every gene is 0, no gradient passes and the head says the same of every cell
    (docs/decisions/0007). `panel` are the genes that get a slot; None: all. Genes that no cell of a task expresses can
    be left out without changing any prediction: their slot would always hold 0.

    OpenBioMed's cell type annotation head (paper section 9).
    """

    slot_of_gene: Tensor

    def __init__(
        self,
        width: int,
        n_genes: int,
        n_out: int,
        *,
        panel: Sequence[int] | Tensor | None = None,
        hidden: tuple[int, int] = (512, 128),
        dropout: float = 0.1,
        relu: bool = False,
    ) -> None:
        super().__init__()
        genes = torch.arange(n_genes) if panel is None else torch.as_tensor(panel, dtype=torch.int64)
        self.n_slots = len(genes) + 1
        nowhere = self.n_slots
        slot_of_gene = torch.full((n_genes + 2,), nowhere)
        slot_of_gene[genes] = torch.arange(len(genes))
        slot_of_gene[n_genes] = len(genes)
        self.register_buffer("slot_of_gene", slot_of_gene)
        self.to_number, self.relu = nn.Linear(width, 1), relu
        self.layers = nn.Sequential(
            nn.Linear(self.n_slots, hidden[0]),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Linear(hidden[0], hidden[1]),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Linear(hidden[1], n_out),
        )

    def forward(self, hidden_BLD: Tensor, genes_BL: Tensor) -> Tensor:
        """Return B x K."""
        numbers_BL = self.to_number(hidden_BLD).squeeze(-1)
        if self.relu:
            numbers_BL = numbers_BL.relu()
        axis_BS = numbers_BL.new_zeros(len(genes_BL), self.n_slots + 1)
        axis_BS = axis_BS.scatter(1, self.slot_of_gene[genes_BL], numbers_BL)
        return self.layers(axis_BS[:, :-1])  # type: ignore[no-any-return]
