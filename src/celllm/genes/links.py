"""Link prediction on the gene network: edges held out, pairs that are no edges, what the network alone says of a pair.

Shapes: E edges of the network, T of them left for training, H held out, P pairs to be scored, G vocabulary genes.
A pair is a row (a, b) of vocabulary indices, a < b.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import sparse

Pairs = npt.NDArray[np.int64]
Scores = npt.NDArray[np.float64]

SHARE = 0.1
"""Share of the edges that is held out."""
ROUNDS = 1000
"""Attempts at pairs that are no edges, before a network counts as too dense for them."""
BLOCK_PAIRS = 8192
"""Pairs whose neighbourhoods are compared at once."""


@dataclass(frozen=True)
class HeldOut:
    """The edges of a network, parted into those to learn from and those to be found again.

    Parameters
    ----------
    train_T2, held_H2
        Both sorted as the edges were.
    """

    train_T2: Pairs
    held_H2: Pairs


def hold_out(edges_E2: Pairs, seed: int, *, share: float = SHARE) -> HeldOut:
    """Hold out a share of the edges, drawn without regard to their genes.

    A gene may lose all its edges. It then stays among the held-out ones: nothing is known of it, which counts.

    Raises
    ------
    ValueError
        If no edge would be held out, or none left.
    """
    n_held = round(share * len(edges_E2))
    if not 0 < n_held < len(edges_E2):
        msg = f"a share of {share} of {len(edges_E2)} edges leaves nothing to learn from or nothing to find"
        raise ValueError(msg)
    is_held_E = np.zeros(len(edges_E2), dtype=bool)
    is_held_E[np.random.default_rng(seed).choice(len(edges_E2), size=n_held, replace=False)] = True
    return HeldOut(train_T2=edges_E2[~is_held_E], held_H2=edges_E2[is_held_E])


def never_held_out(edges_E2: Pairs, seeds: Sequence[int], *, share: float = SHARE) -> Pairs:
    """Return the edges that `hold_out` holds out with none of the seeds: settings are chosen on these alone."""
    held = np.concatenate([_codes(hold_out(edges_E2, seed, share=share).held_H2) for seed in seeds])
    return edges_E2[~np.isin(_codes(edges_E2), held)]


def uniform_non_edges(edges_E2: Pairs, n_pairs: int, seed: int) -> Pairs:
    """Draw distinct pairs of connected genes that are no edge, each as likely as the other.

    Raises
    ------
    ValueError
        If the network is too dense for so many.
    """
    generator = np.random.default_rng(seed)
    genes = np.unique(edges_E2)
    taken = _codes(edges_E2)
    found = np.empty(0, dtype=np.int64)
    for _ in range(ROUNDS):
        if len(found) == n_pairs:
            return _pairs(np.sort(found))
        drawn_2 = np.sort(generator.choice(genes, size=(n_pairs - len(found), 2)), axis=1)
        drawn = np.unique(_codes(drawn_2[drawn_2[:, 0] < drawn_2[:, 1]]))
        found = np.concatenate([found, drawn[~np.isin(drawn, taken) & ~np.isin(drawn, found)]])
    raise ValueError(_too_dense(n_pairs))


def degree_matched_non_edges(held_H2: Pairs, edges_E2: Pairs, seed: int) -> Pairs:
    """Join the ends of the held-out edges anew, to as many distinct pairs that are no edge.

    Every gene is an end of as many of these pairs as of held-out edges, so that a gene's degree alone says nothing
    about which of its pairs is an edge. What is no good pair is shuffled again, together with as many good ones.

    Raises
    ------
    ValueError
        If the network is too dense for such pairs.
    """
    generator = np.random.default_rng(seed)
    taken = _codes(edges_E2)
    pairs_H2 = generator.permutation(held_H2.ravel()).reshape(-1, 2)
    for _ in range(ROUNDS):
        pairs_H2 = np.sort(pairs_H2, axis=1)
        codes_H = _codes(pairs_H2)
        is_first_H = np.zeros(len(codes_H), dtype=bool)
        is_first_H[np.unique(codes_H, return_index=True)[1]] = True
        is_bad_H = (pairs_H2[:, 0] == pairs_H2[:, 1]) | ~is_first_H | np.isin(codes_H, taken)
        bad, good = np.flatnonzero(is_bad_H), np.flatnonzero(~is_bad_H)
        if len(bad) == 0:
            return pairs_H2
        mixed = np.concatenate([bad, generator.choice(good, size=min(len(bad), len(good)), replace=False)])
        pairs_H2[mixed] = generator.permutation(pairs_H2[mixed].ravel()).reshape(-1, 2)
    raise ValueError(_too_dense(len(held_H2)))


def degree_product(train_T2: Pairs, pairs_P2: Pairs, *, n_genes: int) -> Scores:
    """Score a pair by the product of its genes' degrees (preferential attachment)."""
    degree_G = np.bincount(train_T2.ravel(), minlength=n_genes).astype(np.float64)
    return degree_G[pairs_P2[:, 0]] * degree_G[pairs_P2[:, 1]]


def common_neighbours(train_T2: Pairs, pairs_P2: Pairs, *, n_genes: int) -> Scores:
    """Score a pair by the number of genes that both are connected to."""
    return _shared(train_T2, pairs_P2, np.ones(n_genes))


def adamic_adar(train_T2: Pairs, pairs_P2: Pairs, *, n_genes: int) -> Scores:
    """Score a pair by its common neighbours, each counted 1 / ln(degree): few know a gene, it says more.

    Notes
    -----
    Adamic and Adar 2003, Social Networks 25:211. A common neighbour has a degree of at least 2.
    """
    degree_G = np.bincount(train_T2.ravel(), minlength=n_genes)
    return _shared(train_T2, pairs_P2, 1 / np.log(np.maximum(degree_G, 2)))


def cosine(vectors_GD: npt.NDArray[np.float32], pairs_P2: Pairs) -> Scores:
    """Score a pair by the cosine of its genes' vectors; a vector of zeros is like nobody: 0."""
    length_G = np.linalg.norm(vectors_GD, axis=1)
    unit_GD = vectors_GD / np.where(length_G > 0, length_G, 1)[:, None]
    blocks = [
        np.einsum("pd,pd->p", unit_GD[block[:, 0]], unit_GD[block[:, 1]], dtype=np.float64)
        for block in _blocks(pairs_P2)
    ]
    return np.concatenate(blocks)


def _shared(train_T2: Pairs, pairs_P2: Pairs, weight_G: npt.NDArray[np.float64]) -> Scores:
    ends = np.concatenate([train_T2, train_T2[:, ::-1]])
    adjacency_GG = sparse.csr_matrix((np.ones(len(ends)), (ends[:, 0], ends[:, 1])), shape=(len(weight_G),) * 2)
    weighted_GG = sparse.csr_matrix(adjacency_GG @ sparse.diags(weight_G))
    blocks = [
        np.asarray(adjacency_GG[block[:, 0]].multiply(weighted_GG[block[:, 1]]).sum(axis=1)).ravel()
        for block in _blocks(pairs_P2)
    ]
    return np.concatenate(blocks)


def _blocks(pairs_P2: Pairs) -> list[Pairs]:
    return [pairs_P2[start : start + BLOCK_PAIRS] for start in range(0, len(pairs_P2), BLOCK_PAIRS)]


def _codes(pairs_P2: Pairs) -> npt.NDArray[np.int64]:
    """One number a pair; indices are below 2^31."""
    return (pairs_P2[:, 0] << 32) | pairs_P2[:, 1]


def _pairs(codes_P: npt.NDArray[np.int64]) -> Pairs:
    return np.stack([codes_P >> 32, codes_P & (2**32 - 1)], axis=1)


def _too_dense(n_pairs: int) -> str:
    return f"the network is too dense, or too small, for {n_pairs} pairs of its genes that are no edge"
