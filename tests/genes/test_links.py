"""Held-out edges, pairs that are no edges, and scores of a pair by the network alone."""

import networkx as nx
import numpy as np
import pytest

from celllm.genes import links

N_GENES = 60


@pytest.fixture
def edges(generator):
    """A network with hubs; genes 50 to 59 have no edge."""
    a, b = np.triu_indices(50, k=1)
    chance = np.minimum(0.5, 4 / (1 + a))
    return np.stack([a, b], axis=1)[generator.random(len(a)) < chance].astype(np.int64)


def as_set(pairs):
    return {tuple(pair) for pair in pairs.tolist()}


def test_held_out_edges_and_the_others_are_all_edges_each_once(edges):
    parted = links.hold_out(edges, 3)
    assert len(parted.held_H2) == round(0.1 * len(edges))
    assert sorted([*parted.train_T2.tolist(), *parted.held_H2.tolist()]) == edges.tolist()


def test_held_out_edges_follow_the_seed(edges):
    assert as_set(links.hold_out(edges, 3).held_H2) == as_set(links.hold_out(edges, 3).held_H2)
    assert as_set(links.hold_out(edges, 3).held_H2) != as_set(links.hold_out(edges, 4).held_H2)


def test_edges_for_validation_are_those_that_no_seed_holds_out(edges):
    held = set().union(*(as_set(links.hold_out(edges, seed).held_H2) for seed in (0, 1, 2)))
    assert as_set(links.never_held_out(edges, [0, 1, 2])) == as_set(edges) - held


def test_one_edge_cannot_be_parted():
    with pytest.raises(ValueError, match="leaves nothing to learn from or nothing to find"):
        links.hold_out(np.array([[0, 1]]), 0)


@pytest.mark.parametrize("kind", ["uniform", "degree_matched"])
def test_pairs_that_are_no_edges_are_distinct_ordered_and_of_connected_genes(edges, kind):
    held = links.hold_out(edges, 0).held_H2
    if kind == "uniform":
        pairs = links.uniform_non_edges(edges, len(held), 0)
    else:
        pairs = links.degree_matched_non_edges(held, edges, 0)
    assert len(as_set(pairs)) == len(held)
    assert not as_set(pairs) & as_set(edges)
    assert (pairs[:, 0] < pairs[:, 1]).all()
    assert pairs.max() < 50


def test_degree_matched_pairs_have_the_ends_of_the_held_out_edges(edges):
    held = links.hold_out(edges, 0).held_H2
    pairs = links.degree_matched_non_edges(held, edges, 0)
    np.testing.assert_array_equal(np.sort(pairs.ravel()), np.sort(held.ravel()))


def test_uniform_pairs_reach_every_non_edge():
    square = np.array([[0, 1], [1, 2], [2, 3], [0, 3]])
    assert as_set(links.uniform_non_edges(square, 2, 0)) == {(0, 2), (1, 3)}


def test_a_complete_network_has_no_pairs_to_offer(monkeypatch):
    monkeypatch.setattr(links, "ROUNDS", 20)
    complete = np.stack(np.triu_indices(8, k=1), axis=1)
    with pytest.raises(ValueError, match="too dense, or too small, for 3 pairs"):
        links.uniform_non_edges(complete, 3, 0)
    with pytest.raises(ValueError, match="too dense, or too small, for 3 pairs"):
        links.degree_matched_non_edges(complete[:3], complete, 0)


def test_scores_of_the_network_are_those_of_networkx(edges, monkeypatch):
    monkeypatch.setattr(links, "BLOCK_PAIRS", 7)
    graph = nx.Graph(edges.tolist())
    pairs = links.uniform_non_edges(edges, 40, 0)
    ends = pairs.tolist()
    for found, expected in (
        (links.degree_product, [score for *_, score in nx.preferential_attachment(graph, ends)]),
        (links.adamic_adar, [score for *_, score in nx.adamic_adar_index(graph, ends)]),
        (links.common_neighbours, [len(list(nx.common_neighbors(graph, *pair))) for pair in ends]),
    ):
        np.testing.assert_allclose(found(edges, pairs, n_genes=N_GENES), expected, rtol=1e-12)


def test_a_gene_without_training_edges_scores_nothing():
    train, pairs = np.array([[0, 1], [1, 2]]), np.array([[0, 5], [0, 2]])
    for score in (links.degree_product, links.adamic_adar, links.common_neighbours):
        found = score(train, pairs, n_genes=6)
        assert found[0] == 0
        assert found[1] > 0


def test_cosine_is_that_of_the_rows_and_none_for_zeros(monkeypatch):
    monkeypatch.setattr(links, "BLOCK_PAIRS", 2)
    vectors = np.array([[0.5, 0], [2, 2], [0, 0], [-3, 0]], dtype=np.float32)
    found = links.cosine(vectors, np.array([[0, 1], [0, 2], [0, 3]]))
    np.testing.assert_allclose(found, [0.5**0.5, 0, -1], atol=1e-7)
