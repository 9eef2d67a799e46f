"""Drugs as graphs of atoms, the network that embeds them, and what all networks on such graphs share.

Shapes: N atoms of all drugs, F features of an atom, M molecules, H width, P pairs of a batch.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch_geometric.data import Batch, Data
from torch_geometric.nn import global_mean_pool
from torch_geometric.nn.models import GIN
from torch_geometric.utils import from_smiles
from torch_geometric.utils.smiles import x_map

from celllm.base.errors import InputError
from celllm.bench.method import Regressor
from celllm.bench.methods.finetune import Lesson, computing
from celllm.bench.methods.finetune import train as learn
from celllm.bench.methods.molecules import molecule
from celllm.bench.metrics import pearson, rmse
from celllm.splits.units import Pairs

# Atomic number, chirality, degree, charge, hydrogens, radical electrons, hybridisation, aromatic, in a ring:
# how many values each of the nine features of torch_geometric takes.
_SIZES = [len(values) for values in x_map.values()]
N_ATOM_FEATURES = sum(_SIZES)


def drug_graphs(drugs: Sequence[str], smiles: Sequence[str]) -> Batch:
    """Turn structures into one batch of graphs; atoms are nodes with one-hot features, bonds are edges.

    InputError if a structure cannot be read, naming the drug.
    """
    return Batch.from_data_list([_graph(drug, text) for drug, text in zip(drugs, smiles, strict=True)])


@lru_cache(maxsize=4096)
def _graph(drug: str, smiles: str) -> Data:
    molecule(drug, smiles)  # to refuse what cannot be read; torch_geometric makes an empty graph of it
    graph = from_smiles(smiles)
    parts = [functional.one_hot(graph.x[:, column].clamp(0, size - 1), size) for column, size in enumerate(_SIZES)]
    return Data(x=torch.cat(parts, dim=1).float(), edge_index=graph.edge_index)


class GraphRegressor(Regressor):
    """A network on drug graphs, taught standardised responses by least squares, stopped by the validation subset.

    A check is judged by RMSE, or by Pearson's correlation where the option `select` says so.
    """

    def fit(self, pairs: Pairs, train: np.ndarray, validation: np.ndarray) -> None:
        if len(train) == 0:
            raise InputError(
                file="split",
                field="part",
                expected="training pairs",
                found="none",
                remedy="raise the task's train fraction in config/tasks.tsv",
            )
        response = pairs.response[train]
        self._mean, self._spread = float(response.mean()), float(response.std()) or 1.0  # one alone has no spread
        with computing(self) as device:
            self._fit(pairs, train, validation, device)

    @abstractmethod
    def _fit(self, pairs: Pairs, train: np.ndarray, validation: np.ndarray, device: torch.device) -> None:
        """Make the network and learn."""

    def _learn(
        self,
        pairs: Pairs,
        train: np.ndarray,
        validation: np.ndarray,
        *,
        n_batches: int,
        batches: Callable[[], Iterable[np.ndarray]],
        answers_of: Callable[[np.ndarray], tuple[np.ndarray, Tensor]],
        **modules: Sequence[nn.Module],
    ) -> None:
        """Train `modules` on batches of which `answers_of` returns the pairs and what the network says of them."""

        def loss_of(batch: np.ndarray) -> Tensor:
            rows, answers_P = answers_of(batch)
            target_P = torch.from_numpy((pairs.response[rows] - self._mean) / self._spread).float()
            return functional.mse_loss(answers_P.float(), target_P.to(answers_P.device))

        def score() -> float:
            truth, predicted = pairs.response[validation], self.predict(pairs, validation)
            if self.options.get("select") != "pearson":
                return -rmse(truth, predicted)
            value = pearson(truth, predicted)
            return -1.0 if np.isnan(value) else value

        lesson = Lesson("pairs", len(train), n_batches, batches)
        learn(self, lesson, loss_of, score=score if len(validation) else None, **modules)


def graphs_of(pairs: Pairs, drugs: np.ndarray) -> Batch:
    """Return the graphs of drugs, given by their places."""
    return drug_graphs([pairs.drugs[drug] for drug in drugs], [pairs.smiles[drug] for drug in drugs])


class DrugEncoder(nn.Module):
    """Graph isomorphism network (Xu et al. 2019, arXiv:1810.00826), mean over atoms, a linear layer; sizes as released.

    Batch norm keeps the sums over neighbours in range; its statistics are those of all drugs that are learned from,
    since all of them are embedded at once.
    """

    def __init__(self, *, hidden: int = 128, layers: int = 3, width: int = 256) -> None:
        super().__init__()
        self.gin = GIN(N_ATOM_FEATURES, hidden, layers, norm="batch_norm")
        self.to_embedding = nn.Linear(hidden, width)

    def forward(self, graphs: Any) -> Tensor:  # noqa: ANN401 - torch_geometric is not typed
        """Return M x H."""
        atoms_NH = self.gin(graphs.x, graphs.edge_index)
        return self.to_embedding(global_mean_pool(atoms_NH, graphs.batch))  # type: ignore[no-any-return]
