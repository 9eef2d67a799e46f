"""Held-out edges are told from non-edges by what was learned without them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from celllm.config.recipe import GeneSettings
from celllm.genes import link_prediction, links
from celllm.genes.link_prediction import mean_aurocs, score_links
from celllm.genes.link_scores import METHODS, NEGATIVES, LinkScore

N_GENES = 130
SETTINGS = GeneSettings(method="graphmae", epochs=30, hidden=32, learning_rate=0.01)


def network(*, seed: int = 0) -> np.ndarray:
    """Six groups of 20 genes, dense inside, sparse between; genes 120 to 129 have no edge."""
    generator = np.random.default_rng(seed)
    a, b = np.triu_indices(120, k=1)
    chance = np.where(a // 20 == b // 20, 0.6, 0.01)
    return np.stack([a, b], axis=1)[generator.random(len(a)) < chance].astype(np.int64)


def scored(edges: np.ndarray, **options: Any) -> list[LinkScore]:
    values = {"n_genes": N_GENES, "width": 16, "settings": SETTINGS, "seed": 0} | options
    return score_links(edges, **values)


def test_tables_that_saw_the_groups_find_edges_again_and_noise_does_not() -> None:
    rows = [row for seed in (0, 1, 2) for row in scored(network(), seed=seed)]
    assert {(row.method, row.negatives) for row in rows} == {(m, n) for m in METHODS for n in NEGATIVES}
    for kind in NEGATIVES:
        found = mean_aurocs(rows, negatives=kind)
        for name in ("graphmae_auc", "svd_auc", "features_auc", "adamic_adar_auc", "common_neighbours_auc"):
            assert found[name] > 0.75, (kind, name)
        assert abs(found["random_auc"] - 0.5) < 0.1, kind


def test_in_a_network_without_structure_nothing_is_found() -> None:
    generator = np.random.default_rng(1)
    a, b = np.triu_indices(120, k=1)
    edges = np.stack([a, b], axis=1)[generator.random(len(a)) < 0.1].astype(np.int64)
    rows = [row for seed in range(3) for row in scored(edges, seed=seed)]
    for name, value in mean_aurocs(rows, negatives="degree_matched").items():
        assert abs(value - 0.5) < 0.12, name


def test_degree_says_much_of_uniform_pairs_and_little_of_matched_ones() -> None:
    generator = np.random.default_rng(2)
    a, b = np.triu_indices(300, k=1)
    pull = 1 / np.sqrt(1 + np.arange(300))  # a few genes with many partners, nothing else
    is_edge = generator.random(len(a)) < np.minimum(3 * pull[a] * pull[b], 0.4)
    edges = np.stack([a, b], axis=1)[is_edge].astype(np.int64)
    rows = [row for seed in range(5) for row in scored(edges, n_genes=300, seed=seed, methods=["degree_product"])]
    uniform, matched = (mean_aurocs(rows, negatives=kind)["degree_product_auc"] for kind in NEGATIVES)
    assert uniform > 0.65
    assert abs(matched - 0.5) < 0.1


def test_nothing_that_scores_a_pair_sees_the_held_out_edges(monkeypatch: pytest.MonkeyPatch) -> None:
    edges = network()
    parted = links.hold_out(edges, 0)
    before = scored(edges)
    # were they seen, removing them from the network beforehand would change a score
    monkeypatch.setattr(link_prediction.links, "hold_out", lambda *_: parted)
    after = scored(parted.train_T2, network_2=edges)
    assert [replace(row, cut_off=0) for row in after] == [replace(row, cut_off=0) for row in before]


def test_scores_follow_the_seed() -> None:
    assert scored(network(), seed=4) == scored(network(), seed=4)
    ours, others = scored(network(), seed=4), scored(network(), seed=5)
    assert [row.auroc for row in ours] != [row.auroc for row in others]


def test_genes_without_an_edge_and_those_that_lose_theirs_are_counted() -> None:
    star = np.array([[0, leaf] for leaf in range(100, 120)])  # leaves with one edge each
    edges = np.unique(np.concatenate([network()[network()[:, 1] < 100], star]), axis=0)
    (row,) = [row for row in scored(edges, methods=["degree_product"]) if row.negatives == "uniform"]
    held = links.hold_out(edges, 0).held_H2
    assert row.held_out == len(held)
    assert row.without_edge == 10
    assert row.cut_off == int((held[:, 1] >= 100).sum()) > 0


def test_a_network_that_is_parted_in_turn_keeps_its_known_edges_from_the_non_edges() -> None:
    edges = network()
    rest = links.never_held_out(edges, [0, 1, 2])
    strict = scored(rest, network_2=edges, methods=["common_neighbours"])
    loose = scored(rest, methods=["common_neighbours"])
    # a hidden edge among the non-edges looks like an edge, so that the score falls
    assert strict[0].auroc > loose[0].auroc
