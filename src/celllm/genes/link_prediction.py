"""What a gene table knows: edges that were held out before it was made, told from pairs that are no edges.

Shapes: E edges of the network, T left for training, P pairs to be scored, G genes of the vocabulary.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import torch

from celllm.base.interval import mean_interval
from celllm.base.ranking import separation
from celllm.config.recipe import GeneSettings
from celllm.genes import links
from celllm.genes.graphmae import neighbourhood_features, normalised_adjacency
from celllm.genes.link_scores import METHODS, LinkScore
from celllm.genes.links import Pairs, Scores
from celllm.genes.methods import make_gene_table

TABLES = ("graphmae", "svd", "random")
_TOPOLOGY = {
    "adamic_adar": links.adamic_adar,
    "common_neighbours": links.common_neighbours,
    "degree_product": links.degree_product,
}


def score_links(
    edges_E2: Pairs,
    *,
    n_genes: int,
    width: int,
    settings: GeneSettings,
    seed: int,
    network_2: Pairs | None = None,
    methods: Sequence[str] = METHODS,
) -> list[LinkScore]:
    """Hold out a tenth of the edges, learn from the others alone, and score the held-out ones against non-edges.

    A pair is scored by the cosine of its genes' vectors, in tables that `make_gene_table` makes from the training edges
    (their features come from these edges too), or by what the training edges themselves say of it.

    Parameters
    ----------
    edges_E2
        The edges that are parted.
    n_genes
        G.
    width, settings
        Of the recipe; the method is each of TABLES in turn, whatever the recipe's own.
    seed
        Of held-out edges, non-edges, and the tables.
    network_2
        All edges there are, where `edges_E2` are not all: none of them is a non-edge.
    methods
        Those to be scored.

    Raises
    ------
    ValueError
        If the network is too small for the width, or too dense for non-edges.
    """
    network_2 = edges_E2 if network_2 is None else network_2
    parted = links.hold_out(edges_E2, seed)
    non_edges = {
        "uniform": links.uniform_non_edges(network_2, len(parted.held_H2), seed),
        "degree_matched": links.degree_matched_non_edges(parted.held_H2, network_2, seed),
    }
    connected = np.unique(network_2)
    counts = {
        "held_out": len(parted.held_H2),
        "without_edge": n_genes - len(connected),
        "cut_off": len(np.setdiff1d(np.unique(edges_E2), parted.train_T2)),
    }
    rows = []
    for method in methods:
        pairs_P2 = np.concatenate([parted.held_H2, *non_edges.values()])
        scores_P = _scores(method, parted.train_T2, pairs_P2, n_genes, width, settings, seed)
        held, *others = np.split(scores_P, 1 + len(non_edges))
        for kind, other in zip(non_edges, others, strict=True):
            auroc, precision = separation(held, other)
            rows.append(LinkScore(method, kind, seed, auroc, precision, **counts))
    return rows


def mean_aurocs(rows: Iterable[LinkScore], *, negatives: str) -> dict[str, float]:
    """Return the mean area under the ROC curve of each method over seeds, by name: `graphmae_auc` and so on."""
    found: dict[str, list[float]] = {}
    for row in rows:
        if row.negatives == negatives:
            found.setdefault(f"{row.method}_auc", []).append(row.auroc)
    return {name: mean_interval(values)[0] for name, values in found.items()}


def _scores(
    method: str,
    train_T2: Pairs,
    pairs_P2: Pairs,
    n_genes: int,
    width: int,
    settings: GeneSettings,
    seed: int,
) -> Scores:
    if method in _TOPOLOGY:
        return _TOPOLOGY[method](train_T2, pairs_P2, n_genes=n_genes)
    generator = torch.Generator().manual_seed(seed)
    if method == "features":
        ends = torch.from_numpy(train_T2)
        adjacency_GG = normalised_adjacency(ends[:, 0], ends[:, 1], n_genes)
        return links.cosine(
            neighbourhood_features(adjacency_GG, settings.feature_width or width, generator).numpy(), pairs_P2
        )
    made = make_gene_table(
        train_T2[:, 0],
        train_T2[:, 1],
        n_genes=n_genes,
        width=width,
        settings=settings.model_copy(update={"method": method}),
        generator=generator,
    )
    return links.cosine(made.genes_GD, pairs_P2)
