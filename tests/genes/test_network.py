"""Edges from pairs and from co-expression."""

import numpy as np
import pytest
from scipy import sparse

from celllm.genes import network


def pairs(edges):
    return list(zip(edges[0].tolist(), edges[1].tolist(), strict=True))


def test_edges_are_undirected_unique_and_without_loops():
    first, second = np.array([3, 1, 1, 2, -1, 0]), np.array([1, 3, 1, 0, 2, -1])
    assert pairs(network.from_pairs(first, second)) == [(0, 2), (1, 3)]


def by_hand(values, k):
    dense = values.toarray()
    chosen = set()
    varying = [g for g in range(dense.shape[1]) if dense[:, g].std() > 0]
    for gene in varying:
        others = [(-np.corrcoef(dense[:, gene], dense[:, o])[0, 1], o) for o in varying if o != gene]
        chosen |= {tuple(sorted((gene, o))) for r, o in sorted(others)[:k] if r < 0}
    return sorted(chosen)


@pytest.fixture
def values(generator):
    made = generator.gamma(1.0, 1.0, (60, 25)) * (generator.random((60, 25)) < 0.6)
    made[:, 5] = 0
    made[:, 6] = 1.5
    return sparse.csr_matrix(made)


@pytest.mark.parametrize("k", [1, 3, 30])
def test_coexpression_keeps_the_strongest_positive_partners(values, k):
    assert pairs(network.coexpression(values, n_partners=k)) == by_hand(values, k)


def test_the_size_of_blocks_does_not_matter(values, monkeypatch):
    whole = pairs(network.coexpression(values, n_partners=3))
    monkeypatch.setattr(network, "BLOCK_GENES", 7)
    assert pairs(network.coexpression(values, n_partners=3)) == whole


def test_the_order_of_cells_does_not_matter(values, generator):
    turned = values[generator.permutation(60)]
    assert pairs(network.coexpression(turned, n_partners=3)) == pairs(network.coexpression(values, n_partners=3))


def test_genes_that_never_vary_have_no_edge(values):
    first, second = network.coexpression(values)
    assert not {5, 6} & {*first.tolist(), *second.tolist()}


def test_cells_without_any_expression_give_no_edge():
    assert pairs(network.coexpression(sparse.csr_matrix((4, 3)))) == []
