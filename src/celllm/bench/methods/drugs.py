"""Drugs as graphs of atoms, and the network that embeds them.

Shapes: N atoms of all drugs, F features of an atom, M molecules, H width.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch_geometric.data import Batch, Data
from torch_geometric.nn import global_mean_pool
from torch_geometric.nn.models import GIN
from torch_geometric.utils import from_smiles
from torch_geometric.utils.smiles import x_map

from celllm.bench.methods.molecules import molecule

# Atomic number, chirality, degree, charge, hydrogens, radical electrons, hybridisation, aromatic, in a ring:
# how many values each of the nine features of torch_geometric takes.
_SIZES = [len(values) for values in x_map.values()]
N_ATOM_FEATURES = sum(_SIZES)


def drug_graphs(drugs: Sequence[str], smiles: Sequence[str]) -> Batch:
    """Turn structures into one batch of graphs; atoms are nodes with one-hot features, bonds are edges.

    Parameters
    ----------
    drugs
        Names, for errors.
    smiles
        Their structures.

    Raises
    ------
    InputError
        If a structure cannot be read, naming the drug.
    """
    return Batch.from_data_list([_graph(drug, text) for drug, text in zip(drugs, smiles, strict=True)])


def _graph(drug: str, smiles: str) -> Data:
    molecule(drug, smiles)  # to refuse what cannot be read; torch_geometric makes an empty graph of it
    graph = from_smiles(smiles)
    parts = [functional.one_hot(graph.x[:, column].clamp(0, size - 1), size) for column, size in enumerate(_SIZES)]
    return Data(x=torch.cat(parts, dim=1).float(), edge_index=graph.edge_index)


class DrugEncoder(nn.Module):
    """Graph isomorphism network, mean over atoms, one linear layer.

    Parameters
    ----------
    hidden, layers
        Of the GIN; 128 and 3 in the released code.
    width
        Of a drug's embedding; 256 in the released code.

    Notes
    -----
    Xu et al. 2019, arXiv:1810.00826. Batch norm keeps the sums over neighbours in range; its statistics are
    those of all drugs that are learned from, since all of them are embedded at once.
    """

    def __init__(self, *, hidden: int = 128, layers: int = 3, width: int = 256) -> None:
        super().__init__()
        self.gin = GIN(N_ATOM_FEATURES, hidden, layers, norm="batch_norm")
        self.to_embedding = nn.Linear(hidden, width)

    def forward(self, graphs: Any) -> Tensor:  # noqa: ANN401 - torch_geometric is not typed
        """Return M x H."""
        atoms_NH = self.gin(graphs.x, graphs.edge_index)
        return self.to_embedding(global_mean_pool(atoms_NH, graphs.batch))  # type: ignore[no-any-return]
