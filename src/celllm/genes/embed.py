"""Embed genes: from a network, from published vectors, or by noise that knows nothing.

Shapes: G genes of the vocabulary, E edges, N genes that have an edge or a vector, D width.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from celllm.config.recipe_encoder import GeneSettings
from celllm.genes.graphmae import normalised_adjacency, train_graphmae

Vectors = NDArray[np.float32]
Embedded = tuple[Vectors, dict[str, Any]]
"""Vectors G x D, and a report: genes without an edge or a vector, edges, loss of each epoch."""


def from_network(
    a_E: NDArray[np.integer[Any]],
    b_E: NDArray[np.integer[Any]],
    *,
    n_genes: int,
    width: int,
    settings: GeneSettings,
    generator: torch.Generator,
) -> Embedded:
    """Embed the genes of the vocabulary by the recipe's method.

    `graphmae` and `svd` (of the normalised adjacency) embed the genes that have an edge. These columns are centred, the
    other genes get the mean, which is then 0, plus noise of each column's own spread: distinct, but saying nothing.
    `random` is noise for all.

    Every embedding is scaled to unit root mean square, which `genes.scale` then multiplies: the CLS row is all ones and
    expression embeddings start with unit variance, so at scale 1 gene and bin begin with equal weight in their sum.

    Any other method is GraphMAE. ValueError if a method that needs a network gets one with too few genes for D.
    """
    if settings.method == "random":
        noise_GD = torch.randn(n_genes, width, generator=generator)
        return at_unit_scale(noise_GD.numpy()), {"genes_without_edges": n_genes, "losses": []}
    connected_N = np.union1d(a_E, b_E)
    if len(connected_N) <= width:
        msg = f"a network of {len(connected_N)} genes is too small for an embedding of width {width}"
        raise ValueError(msg)
    adjacency_NN = normalised_adjacency(
        torch.from_numpy(np.searchsorted(connected_N, a_E)),
        torch.from_numpy(np.searchsorted(connected_N, b_E)),
        len(connected_N),
    )
    losses: list[float] = []
    if settings.method != "svd":
        embedded_ND, losses = train_graphmae(adjacency_NN, width, settings, generator)
    else:
        embedded_ND = _svd(adjacency_NN, width, generator)
    report = {"genes_without_edges": n_genes - len(connected_N), "edges": len(a_E), "losses": losses}
    return _filled(embedded_ND, connected_N, n_genes, generator), report


def from_vectors(
    vectors_ND: NDArray[np.float32],
    genes_N: NDArray[np.integer[Any]],
    *,
    n_genes: int,
    generator: torch.Generator,
) -> Embedded:
    """Put the published vectors of genes, two at least and no gene twice, in the vocabulary's order.

    Other genes, the centre and the scale are as in `from_network`.
    """
    genes_GD = _filled(torch.from_numpy(vectors_ND), genes_N, n_genes, generator)
    return genes_GD, {"genes_without_vector": n_genes - len(genes_N), "losses": []}


def _filled(
    known_ND: Tensor, genes_N: NDArray[np.integer[Any]], n_genes: int, generator: torch.Generator
) -> NDArray[np.float32]:
    """Centre what is known, and give the other genes noise of each column's own spread."""
    centred_ND = known_ND - known_ND.mean(dim=0)
    genes_GD = torch.randn(n_genes, known_ND.shape[1], generator=generator) * centred_ND.std(dim=0)
    genes_GD[torch.from_numpy(genes_N).long()] = centred_ND
    return at_unit_scale(genes_GD.numpy())


def _svd(adjacency_NN: Tensor, width: int, generator: torch.Generator) -> Tensor:
    from scipy.sparse import csr_matrix
    from sklearn.decomposition import TruncatedSVD

    parts = (adjacency_NN.values(), adjacency_NN.col_indices(), adjacency_NN.crow_indices())
    matrix = csr_matrix(tuple(part.numpy() for part in parts), shape=adjacency_NN.shape)
    state = int(torch.randint(2**31 - 1, (), generator=generator))
    embedded = TruncatedSVD(n_components=width, random_state=state).fit_transform(matrix)
    return torch.from_numpy(embedded.astype(np.float32))


def at_unit_scale(genes_GD: NDArray[Any]) -> NDArray[np.float32]:
    """Scale a table by one number to unit root mean square."""
    return np.asarray(genes_GD / np.sqrt(np.square(genes_GD).mean()), dtype=np.float32)
