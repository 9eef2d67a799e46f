"""Gene embeddings know the network, or say that they do not."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from celllm.config.recipe_encoder import GeneSettings
from celllm.genes import embed
from celllm.genes.graphmae import GraphMAE, neighbourhood_features, normalised_adjacency, scaled_cosine_error

N_GENES = 90
FEATURES = [{"feature_width": 16}, {"feature_width": 48}]


def communities() -> tuple[np.ndarray, np.ndarray]:
    """Four groups of 20 genes, dense inside and with a few edges between; genes 80 to 89 have none."""
    generator = np.random.default_rng(0)
    a, b = np.triu_indices(80, k=1)
    is_same = a // 20 == b // 20
    is_edge = generator.random(len(a)) < np.where(is_same, 0.5, 0.01)
    return a[is_edge].astype(np.int32), b[is_edge].astype(np.int32)


def made(method: str, *, seed: int = 0, **settings: Any) -> embed.Embedded:
    a, b = communities()
    values = {"method": method, "epochs": 40, "hidden": 32, "learning_rate": 0.01} | settings
    return embed.from_network(
        a,
        b,
        n_genes=N_GENES,
        width=16,
        settings=GeneSettings.model_validate(values),
        generator=torch.Generator().manual_seed(seed),
    )


@pytest.mark.parametrize("method", ["graphmae", "svd"])
def test_genes_of_one_community_are_more_alike_than_those_of_two(method: str) -> None:
    unit = made(method)[0]
    unit = unit / np.linalg.norm(unit, axis=1, keepdims=True)
    cosines = unit[:80] @ unit[:80].T
    group = np.arange(80) // 20
    is_same = group[:, None] == group
    off_diagonal = ~np.eye(80, dtype=bool)
    assert cosines[is_same & off_diagonal].mean() > cosines[~is_same].mean() + 0.3
    # the control: genes without an edge are like nobody
    assert abs((unit[80:] @ unit[:80].T).mean()) < 0.1


@pytest.mark.parametrize("method", ["graphmae", "svd", "random"])
def test_embeddings_have_unit_scale_distinct_rows_and_follow_the_seed(method: str) -> None:
    genes, report = made(method)
    assert report["genes_without_edges"] == (N_GENES if method == "random" else 10)
    if method == "graphmae":
        assert len(report["losses"]) == 40
        assert np.mean(report["losses"][-5:]) < 0.6 * report["losses"][0]
    assert genes.dtype == np.float32
    assert np.sqrt((genes**2).mean()) == pytest.approx(1, abs=1e-5)
    assert len(np.unique(genes, axis=0)) == N_GENES
    np.testing.assert_array_equal(made(method)[0], genes)
    assert np.abs(made(method, seed=1)[0] - genes).max() > 0.1


def test_features_may_be_wider_than_the_embedding_and_are_as_wide_if_nothing_is_said() -> None:
    plain, same, wide = (made("graphmae", epochs=2, **width)[0] for width in ({}, FEATURES[0], FEATURES[1]))
    np.testing.assert_array_equal(same, plain)
    assert wide.shape == plain.shape
    assert np.abs(wide - plain).max() > 0.1


def test_the_adjacency_is_that_of_kipf_and_welling() -> None:
    found = normalised_adjacency(torch.tensor([0, 1]), torch.tensor([1, 2]), 3).to_dense()
    with_own = torch.tensor([[1.0, 1, 0], [1, 1, 1], [0, 1, 1]])
    root = with_own.sum(1).rsqrt()
    torch.testing.assert_close(found, root[:, None] * with_own * root)


def test_features_of_genes_with_equal_neighbours_are_equal() -> None:
    adjacency = normalised_adjacency(torch.tensor([0, 0, 1]), torch.tensor([1, 2, 2]), 4)  # a triangle, one alone
    features = neighbourhood_features(adjacency, 8, torch.Generator().manual_seed(0))
    torch.testing.assert_close(features[0], features[1])
    assert not torch.allclose(features[0], features[3])


def test_the_scaled_cosine_error_is_its_formula() -> None:
    x, y = torch.tensor([[1.0, 0], [1, 1]]), torch.tensor([[0.0, 2], [3, 3]])
    assert scaled_cosine_error(x, y, alpha=3).item() == pytest.approx((1**3 + 0) / 2, abs=1e-6)
    assert scaled_cosine_error(-x, x, alpha=2).item() == pytest.approx(4, abs=1e-5)


def test_a_hidden_gene_is_predicted_from_its_neighbours_and_not_from_itself() -> None:
    adjacency = normalised_adjacency(torch.arange(9), torch.arange(1, 10), 10)  # a chain of ten genes
    model = GraphMAE(4, 8)
    features = torch.randn(10, 4)
    is_hidden = torch.arange(10) == 5
    before = model(features, adjacency, is_hidden)[5]
    for gene, changes in ((5, False), (4, True), (1, False)):  # itself, a neighbour, one beyond three convolutions
        other = features.clone()
        other[gene] += 3
        assert torch.equal(model(other, adjacency, is_hidden)[5], before) != changes, gene


def test_the_decoder_does_not_see_the_code_of_a_hidden_gene() -> None:
    adjacency = normalised_adjacency(torch.tensor([0]), torch.tensor([1]), 3)  # gene 2 has no neighbour
    model = GraphMAE(4, 8)
    torch.nn.init.ones_(model.mask_token_F)  # its start, 0, would be coded as 0 anyway
    features = torch.randn(3, 4)
    found = model(features, adjacency, torch.arange(3) == 2)[2]
    torch.testing.assert_close(found, model.decoder.bias)
