"""The network of DeepCDR (Liu et al. 2020, doi:10.1093/bioinformatics/btaa822), its branches for drug and expression.

Shapes: N atoms of M drugs, F features of an atom, L lines, G genes, P pairs, X width of a branch.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any, Final

import torch
from torch import Tensor, nn
from torch_geometric.nn import GCNConv, global_max_pool

from celllm.bench.methods.drugs import N_ATOM_FEATURES

# Sizes and dropout of the released code, prog/model.py and prog/run_DeepCDR.py of kimmo1019/DeepCDR (MIT).
GRAPH_WIDTHS: Final = (256, 256, 256, 100)
EXPRESSION_HIDDEN: Final = 256
BRANCH_WIDTH: Final = 100
JOINED_WIDTH: Final = 300
DROPOUT: Final = 0.1
LAST_DROPOUT: Final = 0.2


class _GraphLayer(nn.Module):
    """Graph convolution, ReLU, batch norm, dropout, in this order."""

    def __init__(self, width_in: int, width: int) -> None:
        super().__init__()
        self.convolution = GCNConv(width_in, width)
        self.norm = nn.BatchNorm1d(width)
        self.dropout = nn.Dropout(DROPOUT)

    def forward(self, atoms_NF: Tensor, edges: Tensor) -> Tensor:
        atoms_NX = self.convolution(atoms_NF, edges).relu()
        return self.dropout(self.norm(atoms_NX))  # type: ignore[no-any-return]


class DeepCDR(nn.Module):
    """Drug graph and gene expression, each a vector of 100, joined by a small convolutional network.

    Parameters
    ----------
    n_genes
        G.

    Notes
    -----
    Written anew from the paper's description. Not theirs: atoms have the features of `bench.methods.drugs` instead of
    DeepChem's 75; a drug has no padding atoms (theirs fill up to 100, and those take part in batch norm and pooling);
    there is no branch for mutations or methylation.
    """

    def __init__(self, n_genes: int) -> None:
        super().__init__()
        widths = (N_ATOM_FEATURES, *GRAPH_WIDTHS)
        self.graph = nn.ModuleList(_GraphLayer(*pair) for pair in pairwise(widths))
        self.expression = nn.Sequential(
            nn.Linear(n_genes, EXPRESSION_HIDDEN),
            nn.Tanh(),
            nn.BatchNorm1d(EXPRESSION_HIDDEN),
            nn.Dropout(DROPOUT),
            nn.Linear(EXPRESSION_HIDDEN, BRANCH_WIDTH),
            nn.ReLU(),
        )
        self.joined = nn.Sequential(
            nn.Linear(GRAPH_WIDTHS[-1] + BRANCH_WIDTH, JOINED_WIDTH),
            nn.Tanh(),
            nn.Dropout(DROPOUT),
            nn.Unflatten(1, (1, JOINED_WIDTH)),
            nn.Conv1d(1, 30, 150),
            nn.ReLU(),
            nn.MaxPool1d(2),
            nn.Conv1d(30, 10, 5),
            nn.ReLU(),
            nn.MaxPool1d(3),
            nn.Conv1d(10, 5, 5),
            nn.ReLU(),
            nn.MaxPool1d(3),
            nn.Dropout(DROPOUT),
            nn.Flatten(),
            nn.Dropout(LAST_DROPOUT),
            # 300 - 149 = 151, halved 75; - 4 = 71, a third 23; - 4 = 19, a third 6; of 5 filters
            nn.Linear(30, 1),
        )

    def drugs(self, graphs: Any) -> Tensor:  # noqa: ANN401 - torch_geometric is not typed
        """Return the drugs' vectors, M x X: the largest value over a drug's atoms."""
        atoms = graphs.x
        for layer in self.graph:
            atoms = layer(atoms, graphs.edge_index)
        return global_max_pool(atoms, graphs.batch)  # type: ignore[no-any-return]

    def forward(self, genes_PG: Tensor, drugs_MX: Tensor, drug_P: Tensor) -> Tensor:
        """Return a number for each pair of a line's genes and a row of `drugs_MX`."""
        both_PX = torch.cat([drugs_MX[drug_P], self.expression(genes_PG)], dim=1)
        return self.joined(both_PX).squeeze(-1)  # type: ignore[no-any-return]
