"""Held-out edges are told from non-edges by what was learned without them."""

from __future__ import annotations

import json
from typing import Any

import networkx as nx
import numpy as np
import pandas as pd
import pytest
from perf import links
from tests.recipes import tiny_values

from celllm.config.recipe_encoder import GeneSettings
from celllm.genes import network as network_file
from celllm.genes.network import Edges
from celllm.harmonise import vocabulary as vocabulary_file

SETTINGS = GeneSettings(method="graphmae", epochs=30, hidden=32, learning_rate=0.01)
KINDS = ("uniform", "degree_matched")


def network(*, inside: float = 0.6, between: float = 0.01) -> np.ndarray:
    """Six groups of 20 genes, dense inside, sparse between; genes 120 to 129 have no edge."""
    a, b = np.triu_indices(120, k=1)
    chance = np.where(a // 20 == b // 20, inside, between)
    return np.stack([a, b], axis=1)[np.random.default_rng(0).random(len(a)) < chance].astype(np.int64)


def hubs(n_genes: int = 300) -> np.ndarray:
    """A few genes with many partners, nothing else."""
    a, b = np.triu_indices(n_genes, k=1)
    pull = 1 / np.sqrt(1 + np.arange(n_genes))
    is_edge = np.random.default_rng(2).random(len(a)) < np.minimum(3 * pull[a] * pull[b], 0.4)
    return np.stack([a, b], axis=1)[is_edge].astype(np.int64)


def scored(edges: np.ndarray, *, seeds: range = range(2), **options: Any) -> pd.DataFrame:
    values = {"n_genes": 300, "width": 16, "settings": SETTINGS} | options
    return pd.DataFrame([row for seed in seeds for row in links.score_links(edges, seed=seed, **values)])


def aurocs(rows: pd.DataFrame) -> pd.Series:
    return rows.groupby(["negatives", "method"])["auroc"].mean()


def as_set(pairs: np.ndarray) -> set[tuple[int, ...]]:
    return {tuple(pair) for pair in pairs.tolist()}


def test_embeddings_that_saw_the_groups_find_edges_again_and_noise_does_not() -> None:
    found = aurocs(scored(network()))
    assert set(found.index) == {(kind, method) for kind in KINDS for method in links.METHODS}
    for kind in KINDS:
        for method in ("graphmae", "svd", "features", "adamic_adar", "common_neighbours"):
            assert found[kind, method] > 0.75, (kind, method)
        assert abs(found[kind, "random"] - 0.5) < 0.1, kind


def test_nothing_that_scores_a_pair_sees_the_held_out_edges(monkeypatch: pytest.MonkeyPatch) -> None:
    given = []
    monkeypatch.setattr(links, "scores", lambda _, train, pairs, **__: given.append(train) or np.zeros(len(pairs)))
    scored(network(), seeds=range(1))
    held = links.hold_out(network(), 0)[1]
    assert len(given) == len(links.METHODS)
    assert all(as_set(train) == as_set(network()) - as_set(held) for train in given)


def test_held_out_edges_and_the_others_are_all_edges_each_once() -> None:
    edges = hubs()
    train, held = links.hold_out(edges, 3)
    assert len(held) == round(0.1 * len(edges))
    assert sorted([*train.tolist(), *held.tolist()]) == edges.tolist()
    assert as_set(links.hold_out(edges, 3)[1]) == as_set(held) != as_set(links.hold_out(edges, 4)[1])
    with pytest.raises(ValueError, match="leaves nothing to find"):
        links.hold_out(np.array([[0, 1]]), 0)


@pytest.mark.parametrize("kind", KINDS)
def test_pairs_that_are_no_edges_are_distinct_ordered_and_of_connected_genes(kind: links.Negatives) -> None:
    edges = hubs() + 10
    held = links.hold_out(edges, 0)[1]
    pairs = links.non_edges(held, edges, kind, 0)
    assert len(as_set(pairs)) == len(held)
    assert not as_set(pairs) & as_set(edges)
    assert (pairs[:, 0] < pairs[:, 1]).all()
    assert set(pairs.ravel()) <= set(edges.ravel())
    has_equal_ends = np.array_equal(np.sort(pairs.ravel()), np.sort(held.ravel()))
    assert has_equal_ends == (kind == "degree_matched")


def test_scores_of_the_network_are_those_of_networkx(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(links, "BLOCK_PAIRS", 7)
    edges = hubs()
    graph = nx.Graph(edges.tolist())
    pairs = links.non_edges(links.hold_out(edges, 0)[1], edges, "uniform", 0)
    ends = pairs.tolist()
    lonely = np.array([[0, 305], [5, 306]])  # genes without an edge
    for method, expected in {
        "degree_product": [score for *_, score in nx.preferential_attachment(graph, ends)],
        "adamic_adar": [score for *_, score in nx.adamic_adar_index(graph, ends)],
        "common_neighbours": [len(list(nx.common_neighbors(graph, *pair))) for pair in ends],
    }.items():
        asked = np.concatenate([pairs, lonely])
        found = links.scores(method, edges, asked, n_genes=310, width=2, settings=SETTINGS, seed=0)
        np.testing.assert_allclose(found, [*expected, 0, 0], rtol=1e-12)


def test_the_script_writes_a_row_for_each_method_kind_of_negatives_and_seed(tmp_path, vocabulary, capsys) -> None:
    vocabulary_file.write(vocabulary, tmp_path / "genes.tsv")
    a, b = (end.astype(np.int32) for end in network()[(network() < 40).all(axis=1)].T)
    network_file.write(Edges(a, b, vocabulary.digest, "test"), tmp_path / "edges.parquet")
    recipe = tiny_values(genes={"method": "svd", "epochs": 5, "hidden": 8}, encoder={"width": 8})
    files = {"network": "edges.parquet", "vocabulary": "genes.tsv", "out": "links.tsv"}
    options = [word for name, file in files.items() for word in (f"--{name}", str(tmp_path / file))]
    links.main(["--recipe", json.dumps(recipe), *options])
    rows = pd.read_csv(tmp_path / "links.tsv", sep="\t")
    expected = {(method, kind, seed) for method in links.METHODS for kind in KINDS for seed in (0, 1, 2)}
    assert set(rows[["method", "negatives", "seed"]].itertuples(index=False, name=None)) == expected
    assert "mean AUROC" in capsys.readouterr().out
