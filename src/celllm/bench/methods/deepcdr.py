"""DeepCDR as a method: its network, taught pair by pair, stopped by the validation subset.

Shapes: L lines, G genes, P pairs of a batch, M drugs of a batch.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any, ClassVar, Final

import numpy as np
import torch
from torch import Tensor, nn
from torch_geometric.nn import GCNConv, global_max_pool

from celllm.bench.methods.cell_lines import LineScale
from celllm.bench.methods.drugs import N_ATOM_FEATURES, GraphRegressor, graphs_of
from celllm.bench.methods.finetune import LEARNING_RATES, computing
from celllm.model.encoder import evaluating
from celllm.splits.units import Pairs

# Sizes and dropout of the released code, prog/model.py and prog/run_DeepCDR.py of kimmo1019/DeepCDR (MIT).
GRAPH_WIDTHS: Final = (256, 256, 256, 100)
EXPRESSION_HIDDEN: Final = 256
BRANCH_WIDTH: Final = 100
JOINED_WIDTH: Final = 300
DROPOUT: Final = 0.1
LAST_DROPOUT: Final = 0.2
# Pairs whose activations are held at once when predicting.
_AT_ONCE = 4096


class DeepCDRResponse(GraphRegressor):
    """DeepCDR on expression and drug graphs; Adam on the squared error, 64 pairs a batch.

    Genes are standardised by the training lines, as for ridge regression, and responses by the training pairs; the
    released code does neither, on a table of expression that is scaled already. It picks its epoch on the test set;
    here the validation subset says when to stop.

    Options: `epochs` and `patience`, as of EncoderClassifier; 100 and 10 in the released code. `batch`: pairs.
    `learning_rate`. `select`: a check is judged by `pearson`, as theirs, or by `rmse`.
    """

    defaults: ClassVar[Mapping[str, Any]] = {
        "epochs": None,
        "patience": None,
        "batch": 64,
        "learning_rate": 1e-3,
        "select": "pearson",
    }
    choices: ClassVar[Mapping[str, Sequence[str]]] = {"select": ("pearson", "rmse")}
    search: ClassVar[Mapping[str, Sequence[Any]]] = {"learning_rate": LEARNING_RATES}

    def predict(self, pairs: Pairs, rows: np.ndarray) -> np.ndarray:
        drugs, drug_of_row = np.unique(pairs.drug[rows], return_inverse=True)
        with computing(self, self._model) as device, evaluating(self._model):
            genes_LG = self._genes(pairs, device)
            line_P, drug_P = (torch.from_numpy(of_row).to(device) for of_row in (pairs.line[rows], drug_of_row))
            drugs_MX = self._model.drugs(graphs_of(pairs, drugs).to(device))
            answers = [
                self._model(genes_LG[line_P[start : start + _AT_ONCE]], drugs_MX, drug_P[start : start + _AT_ONCE])
                for start in range(0, len(rows), _AT_ONCE)
            ]
        return np.asarray(torch.cat(answers).double().cpu().numpy() * self._spread + self._mean)

    def _genes(self, pairs: Pairs, device: torch.device) -> Tensor:
        return torch.from_numpy(self._scale.of(pairs)).float().to(device)

    def _fit(self, pairs: Pairs, train: np.ndarray, validation: np.ndarray, device: torch.device) -> None:
        self._scale = LineScale(pairs, train)
        genes_LG = self._genes(pairs, device)
        self._model = DeepCDR(genes_LG.shape[1]).to(device)
        generator = np.random.default_rng(self.seed)
        places = _batches(len(train), self.options["batch"])

        def batches() -> Iterator[np.ndarray]:
            order = generator.permutation(len(train))
            for first, last in places:
                yield train[order[first:last]]

        def answers_of(rows: np.ndarray) -> tuple[np.ndarray, Tensor]:
            # batch norm sees each drug of the batch once, however many pairs it has there
            drugs, drug_P = np.unique(pairs.drug[rows], return_inverse=True)
            genes_PG = genes_LG[torch.from_numpy(pairs.line[rows]).to(device)]
            drugs_MX = self._model.drugs(graphs_of(pairs, drugs).to(device))
            return rows, self._model(genes_PG, drugs_MX, torch.from_numpy(drug_P).to(device))

        graphs_of(pairs, np.arange(len(pairs.drugs)))  # to refuse a structure before the first batch
        self._learn(
            pairs,
            train,
            validation,
            n_batches=len(places),
            batches=batches,
            answers_of=answers_of,
            heads=[self._model],
        )


def _batches(n: int, size: int) -> list[tuple[int, int]]:
    """Return first and last place of each batch; a last one of a single pair joins the one before it.

    Batch norm needs two.
    """
    starts = list(range(0, n, size))
    if len(starts) > 1 and n - starts[-1] == 1:
        starts.pop()
    return list(zip(starts, [*starts[1:], n], strict=True))


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
