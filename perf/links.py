"""What gene embeddings know of their network: held-out edges told from pairs that are no edges (docs/genes.md).

    python perf/links.py --recipe RECIPE... --network EDGES --vocabulary GENES --out TABLE

A tenth of the edges is held out for each seed; embeddings are made from the others, as the recipe says.

Shapes: E edges of the network, T of them for training, P pairs to be scored, G genes of the vocabulary, D width.
A pair is a row (a, b) of vocabulary indices, a < b.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from scipy import sparse
from sklearn.metrics import average_precision_score, roc_auc_score
from sklearn.preprocessing import normalize

sys.path.insert(0, str(Path(__file__).resolve().parent))

from line import options

from celllm.config import recipe as recipes
from celllm.config.recipe_encoder import GeneSettings
from celllm.genes import embed
from celllm.genes import network as network_file
from celllm.genes.graphmae import neighbourhood_features, normalised_adjacency
from celllm.harmonise import vocabulary as vocabulary_file

Pairs = NDArray[np.int64]
Scores = NDArray[np.float64]
Negatives = Literal["uniform", "degree_matched"]
Method = Literal["graphmae", "svd", "random", "features", "adamic_adar", "common_neighbours", "degree_product"]
"""Gene embeddings; the features that GraphMAE starts from; what the network's edges alone say."""
METHODS: tuple[Method, ...] = get_args(Method)

SHARE = 0.1
"""Share of the edges that is held out."""
ROUNDS = 1000
"""Attempts at pairs that are no edges, before a network counts as too dense for them."""
BLOCK_PAIRS = 8192
"""Pairs whose genes are compared at once."""


def hold_out(edges_E2: Pairs, seed: int) -> tuple[Pairs, Pairs]:
    """Part the edges into those to learn from and a tenth to be found again, drawn without regard to their genes.

    A gene may lose all its edges. It then stays among the held-out ones: nothing is known of it, which counts.
    ValueError if no edge would be held out.
    """
    n_held = round(SHARE * len(edges_E2))
    if not n_held:
        msg = f"a share of {SHARE} of {len(edges_E2)} edges leaves nothing to find"
        raise ValueError(msg)
    is_held_E = np.zeros(len(edges_E2), dtype=bool)
    is_held_E[np.random.default_rng(seed).choice(len(edges_E2), size=n_held, replace=False)] = True
    return edges_E2[~is_held_E], edges_E2[is_held_E]


def non_edges(held_P2: Pairs, edges_E2: Pairs, kind: Negatives, seed: int) -> Pairs:
    """Draw as many distinct pairs that are no edge as there are held-out edges.

    `uniform`: any pair of connected genes. `degree_matched`: the ends of the held-out edges, joined anew. Every gene is
    an end of as many of these pairs as of held-out edges, so that a gene's degree alone says nothing about which of its
    pairs is an edge. What is no good pair is drawn, or shuffled together with as many good ones, again.

    torch_geometric's samplers draw from global generators, and none matches the degrees of both ends. ValueError if the
    network is too dense for such pairs.
    """
    generator = np.random.default_rng(seed)
    genes, edges = np.unique(edges_E2), _codes(edges_E2)
    if kind == "uniform":
        pairs_P2 = generator.choice(genes, size=held_P2.shape)
    else:
        pairs_P2 = generator.permutation(held_P2.ravel()).reshape(-1, 2)
    for _ in range(ROUNDS):
        pairs_P2 = np.sort(pairs_P2, axis=1)
        codes_P = _codes(pairs_P2)
        is_bad_P = (pairs_P2[:, 0] == pairs_P2[:, 1]) | np.isin(codes_P, edges)
        is_bad_P |= ~np.isin(np.arange(len(codes_P)), np.unique(codes_P, return_index=True)[1])
        bad, good = np.flatnonzero(is_bad_P), np.flatnonzero(~is_bad_P)
        if not len(bad):
            return pairs_P2
        if kind == "uniform":
            pairs_P2[bad] = generator.choice(genes, size=(len(bad), 2))
        else:
            mixed = np.concatenate([bad, generator.choice(good, size=min(len(bad), len(good)), replace=False)])
            pairs_P2[mixed] = generator.permutation(pairs_P2[mixed].ravel()).reshape(-1, 2)
    msg = f"the network is too dense, or too small, for {len(held_P2)} pairs of its genes that are no edge"
    raise ValueError(msg)


def scores(
    method: Method,
    train_T2: Pairs,
    pairs_P2: Pairs,
    *,
    n_genes: int,
    width: int,
    settings: GeneSettings,
    seed: int,
) -> Scores:
    """Score pairs by what the training edges say of them.

    An embedding is made from these edges alone, its features too, and scores a pair by the cosine of its genes' vectors
    (0 where one is zero). Without learning: the product of the degrees; the number of common neighbours; and these,
    each counted 1 / ln(degree), since a neighbour that knows few says more (Adamic and Adar 2003, Social Networks
    25:211).
    """
    degree_G = np.bincount(train_T2.ravel(), minlength=n_genes).astype(np.float64)
    if method == "degree_product":
        return np.asarray(degree_G[pairs_P2[:, 0]] * degree_G[pairs_P2[:, 1]])
    blocks = np.split(pairs_P2, range(BLOCK_PAIRS, len(pairs_P2), BLOCK_PAIRS))
    if method in ("adamic_adar", "common_neighbours"):
        weight_G = 1 / np.log(np.maximum(degree_G, 2)) if method == "adamic_adar" else np.ones(n_genes)
        ends = np.concatenate([train_T2, train_T2[:, ::-1]]).T
        adjacency_GG = sparse.csr_matrix((np.ones(ends.shape[1]), ends), shape=(n_genes, n_genes))
        weighted_GG = sparse.csr_matrix(adjacency_GG.multiply(weight_G))
        shared = [adjacency_GG[a].multiply(weighted_GG[b]).sum(axis=1) for a, b in (block.T for block in blocks)]
        return np.asarray(np.concatenate(shared)).ravel()
    generator = torch.Generator().manual_seed(seed)
    if method == "features":
        a_T, b_T = torch.from_numpy(train_T2).unbind(dim=1)
        adjacency = normalised_adjacency(a_T, b_T, n_genes)
        vectors_GD = neighbourhood_features(adjacency, settings.feature_width or width, generator).numpy()
    else:
        chosen = settings.model_copy(update={"method": method})
        vectors_GD, _ = embed.from_network(
            *train_T2.T, n_genes=n_genes, width=width, settings=chosen, generator=generator
        )
    unit_GD = normalize(vectors_GD)
    return np.concatenate([np.einsum("pd,pd->p", unit_GD[a], unit_GD[b]) for a, b in (block.T for block in blocks)])


def score_links(
    edges_E2: Pairs,
    *,
    n_genes: int,
    width: int,
    settings: GeneSettings,
    seed: int,
    methods: Sequence[Method] = METHODS,
) -> list[dict[str, Any]]:
    """Hold out edges, learn from the others, and tell the held-out ones from pairs of each kind that are no edges.

    Returned is a row for each method and kind of negatives; its `held_out` counts edges, its `cut_off` genes that lost
    all their edges to the held-out ones. ValueError if the network is too small for the width, or too dense.
    """
    train_T2, held_P2 = hold_out(edges_E2, seed)
    kinds: tuple[Negatives, ...] = ("uniform", "degree_matched")
    pairs = np.concatenate([held_P2, *(non_edges(held_P2, edges_E2, kind, seed) for kind in kinds)])
    counts = {"held_out": len(held_P2), "cut_off": len(np.setdiff1d(edges_E2, train_T2))}
    is_edge = np.repeat([True, False], len(held_P2))
    rows = []
    for method in methods:
        found = scores(method, train_T2, pairs, n_genes=n_genes, width=width, settings=settings, seed=seed)
        held, *others = np.split(found, 1 + len(kinds))
        for kind, other in zip(kinds, others, strict=True):
            both = np.concatenate([held, other])
            areas = {
                "auroc": float(roc_auc_score(is_edge, both)),
                "average_precision": float(average_precision_score(is_edge, both)),
            }
            rows.append({"method": method, "negatives": kind, "seed": seed, **areas, **counts})
    return rows


def _codes(pairs_P2: Pairs) -> NDArray[np.int64]:
    """One number a pair; indices are below 2^31."""
    return (pairs_P2[:, 0] << 32) | pairs_P2[:, 1]


def main(arguments: Sequence[str] | None = None) -> None:
    parser = options(__doc__)
    parser.add_argument("--recipe", nargs="+", required=True, help="recipes laid over one another")
    parser.add_argument("--network", type=Path, required=True, help="results/network/edges.parquet")
    parser.add_argument("--vocabulary", type=Path, required=True, help="results/vocabulary/genes.tsv")
    parser.add_argument("--out", type=Path, required=True, help="table to write")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    asked = parser.parse_args(arguments)
    recipe, genes = recipes.of_option(asked.recipe), vocabulary_file.read(asked.vocabulary)
    edges = network_file.read(asked.network, vocabulary=genes)
    edges_E2 = np.stack([edges.a_E, edges.b_E], axis=1).astype(np.int64)
    values: dict[str, Any] = {"n_genes": genes.n_genes, "width": recipe.encoder.width, "settings": recipe.genes}
    table = pd.DataFrame([row for seed in asked.seeds for row in score_links(edges_E2, seed=seed, **values)])
    table.to_csv(asked.out, sep="\t", index=False, float_format="%.6g")
    means = table.pivot_table("auroc", index="method", columns="negatives", sort=False)
    print(means.rename_axis(columns="mean AUROC").to_string(float_format="%.3f"))


if __name__ == "__main__":
    main()
