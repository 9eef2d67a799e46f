"""Views are of the cell, the seed and the step, as long as one another, and show what they say."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from scipy.sparse import csr_matrix
from tiny import made_corpus, tiny_recipe

from celllm.base.errors import InputError
from celllm.corpus.tokens import CLS, MASK, tokenise
from celllm.model.randomness import Purpose
from celllm.pretrain import batch as batches
from celllm.pretrain import draws, views
from celllm.pretrain.batch import IGNORED, StepBatch, make_batch

KINDS = ["dropout", "mask", "subset", "thinning", "thinning_subset"]
DISJOINT = {"views": "subset", "view_disjoint": True}
INDICES, CORPUS = np.arange(20), made_corpus()
ALL = slice(None)


def made(recipe: Any, indices: np.ndarray = INDICES, *, corpus: Any = CORPUS, **options: Any) -> StepBatch:
    options = {"panel": None, "seed": 0, "step": 1, "device": torch.device("cpu"), **options}
    return make_batch(corpus, indices, recipe, **options)


def recipe_of(tokens: dict[str, Any] | None = None, **changes: Any) -> Any:
    shared = changes.pop("shared_masked_view", False)
    rest = {"tokens": {"max_length": 24, "target_sum": 100, **(tokens or {})}}
    return tiny_recipe(objectives={"contrastive": changes, "shared_masked_view": shared}, **rest)


def shown(batch: StepBatch) -> list[list[tuple[int, int]]]:
    """Genes and bins, with flags, of each cell, CLS left out."""
    ends = np.cumsum(batch.lengths_B)
    pairs = list(zip(batch.genes_N.tolist(), batch.tokens_N.tolist(), strict=True))
    return [pairs[end - n + 1 : end] for end, n in zip(ends, batch.lengths_B.tolist(), strict=True)]


def inputs(batch: StepBatch) -> list[list[list[tuple[int, int]]]]:
    return [shown(one) for one in (batch, *(batch.views or ()))]


@pytest.mark.parametrize(
    ("kind", "is_shared"), [*((kind, False) for kind in KINDS), ("mask", True), ("thinning_subset", True)]
)
def test_a_cell_has_the_same_tokens_whatever_rank_or_piece_it_is_in(
    monkeypatch: pytest.MonkeyPatch, kind: str, is_shared: bool
) -> None:
    recipe = recipe_of({"max_length": 12}, views=kind, shared_masked_view=is_shared)
    together = inputs(made(recipe))
    monkeypatch.setattr(batches, "PIECE", 3)
    order = np.random.default_rng(0).permutation(20)
    of_ranks = [inputs(made(recipe, part)) for part in np.array_split(order, 2)]
    for number, expected in enumerate(together):
        found = [cell for of_rank in of_ranks for cell in of_rank[number]]
        assert found == [expected[cell] for cell in order]
    for other in ({"seed": 1}, {"step": 2}):
        assert inputs(made(recipe, **other)) != together


@pytest.mark.parametrize("kind", KINDS[2:])
def test_views_differ_and_are_as_long_as_one_another(kind: str) -> None:
    batch = made(recipe_of(views=kind))
    assert batch.views is not None
    first, second = batch.views
    np.testing.assert_array_equal(first.lengths_B, second.lengths_B)
    assert all(one != other for one, other in zip(shown(first), shown(second), strict=True))
    assert not (first.tokens_N & (views.IS_TARGET | views.IS_HIDDEN)).any()
    assert (made(recipe_of({"max_length": 6}, views=kind)).view_lengths_B == 6).all()


@pytest.mark.parametrize("changes", [{"view_share": 0.3}, {"view_share": 0.8}, {"view_disjoint": True}], ids=str)
def test_a_subset_shows_its_share_of_the_genes_in_the_bins_of_the_whole_cell(changes: dict[str, Any]) -> None:
    recipe = recipe_of({"max_length": 60}, views="subset", **changes)
    batch = made(recipe)
    assert batch.views is not None
    whole = [dict(cell) for cell in shown(made(recipe_of({"max_length": 60}, weight=0.0)))]
    whole = [{gene: flagged & views.BIN for gene, flagged in cell.items()} for cell in whole]
    for cell, one, other in zip(whole, *map(shown, batch.views), strict=True):
        assert dict(one).items() <= cell.items()
        assert dict(other).items() <= cell.items()
        if recipe.objectives.contrastive.view_disjoint:
            assert not dict(one).keys() & dict(other).keys()
            assert 0.25 * len(cell) < len(one) <= len(cell) / 2
        else:
            assert len(one) == int(np.ceil(recipe.objectives.contrastive.view_share * len(cell)))


def test_a_thinned_view_is_normalised_by_the_molecules_that_are_left() -> None:
    recipe = recipe_of({"max_length": 60}, views="thinning")
    batch = made(recipe)
    assert batch.views is not None
    keys = [draws.keys(INDICES, seed=0, step=1, purpose=p) for p in (Purpose.DEPTH, Purpose.THINNING)]
    counts = CORPUS.rows(INDICES)
    bits_N = draws.of_genes(keys[1], np.diff(counts.indptr), counts.indices)
    left = draws.thinned(counts, 0.3 + 0.7 * draws.chances(keys[0]), bits_N)
    expected = tokenise(left, recipe.tokens)
    np.testing.assert_allclose(batch.views[0].log_total_B, np.log1p(left.sum(axis=1).A1), rtol=1e-6)
    starts = np.cumsum(expected.lengths_B) - expected.lengths_B
    for cell, start, n in zip(shown(batch.views[0]), starts, expected.lengths_B, strict=True):
        pairs = zip(
            expected.genes_N[start : start + n].tolist(), expected.bins_N[start : start + n].tolist(), strict=True
        )
        assert set(cell) <= set(pairs)  # the longer of two views loses some genes


def test_a_masked_view_hides_its_own_share_of_the_bins() -> None:
    recipe = recipe_of({"max_length": 60}, views="mask", view_share=0.6)
    batch = made(recipe)
    assert batch.views is not None
    first, second = (view.masked(targets=False)[ALL] for view in batch.views)
    assert torch.equal(first["genes"], second["genes"])
    assert not torch.equal(first["bins"], second["bins"])
    n_genes = int((batch.lengths_B - 1).sum())
    for view in (first, second):
        assert int((view["bins"] == MASK).sum()) / n_genes == pytest.approx(0.4, abs=0.07)
        assert (view["bins"][:, 0] == CLS).all()


@pytest.mark.parametrize("kind", KINDS[1:])
def test_the_first_view_is_what_is_predicted_from_if_it_is_shared(kind: str) -> None:
    batch = made(recipe_of(views=kind, shared_masked_view=True))
    assert batch.views is not None
    alone = made(recipe_of(views=kind)).views
    assert alone is not None
    assert shown(batch.views[1]) == shown(alone[1])
    assert [[gene for gene, _ in cell] for cell in shown(batch)] == [[gene for gene, _ in c] for c in shown(alone[0])]
    found = batch.masked()[ALL]
    is_target = found["targets"] != IGNORED
    assert is_target.sum() > 10
    assert torch.equal(found["targets"][is_target], batch.plain()[ALL]["bins"][is_target])


def test_without_other_losses_nothing_but_the_views_is_made() -> None:
    no_other = {"masked": {"weight": 0.0}, "malignancy": {"weight": 0.0}}
    objectives = {"contrastive": {"views": "thinning_subset"}}
    recipe, alone = (tiny_recipe(objectives=objectives | others) for others in ({}, no_other))
    views, same = made(recipe).views, made(alone)
    assert views is not None
    assert same.views is not None
    assert [shown(view) for view in same.views] == [shown(view) for view in views]
    assert shown(same) == shown(views[0])


def test_an_empty_cell_is_cls_alone_in_every_view() -> None:
    counts = csr_matrix((np.ones(1, dtype=np.float32), ([1], [3])), shape=(60, 40))
    for kind in KINDS:
        batch = made(recipe_of(views=kind), corpus=replace(CORPUS, counts=counts))
        assert batch.view_lengths_B[0] == 1
        assert batch.view_lengths_B[1] <= 2


def test_views_of_genes_need_tokens_of_expressed_genes() -> None:
    with pytest.raises(InputError, match=r"views subset needs tokens\.layout nonzero"):
        recipe_of({"layout": "full"}, views="subset")
    recipe_of({"layout": "full"}, views="subset", weight=0.0)


@pytest.mark.parametrize("count", [1, 3, draws.FEW, draws.FEW + 1, 400])
def test_thinned_counts_are_binomial(count: int) -> None:
    counts = csr_matrix(np.full((200, 100), count, dtype=np.float32))
    share_B = np.repeat([0.3, 0.9], 100)
    bits_N = draws.of_genes(
        draws.keys(np.arange(200), seed=3, step=1, purpose=Purpose.THINNING), np.full(200, 100), counts.indices
    )
    left = draws.thinned(counts, share_B, bits_N).toarray()
    assert left.max() <= count
    for rows, share in ((slice(0, 100), 0.3), (slice(100, 200), 0.9)):
        variance = count * share * (1 - share)
        assert left[rows].mean() == pytest.approx(count * share, abs=5 * (variance / 10_000) ** 0.5)
        assert left[rows].var() == pytest.approx(variance, rel=0.1)


def test_numbers_of_a_cell_are_those_of_its_genes_wherever_they_stand() -> None:
    keys = draws.keys(np.array([7, 8]), seed=0, step=1, purpose=Purpose.VIEW)
    bits = draws.of_genes(keys, np.array([2, 3]), np.array([5, 6, 6, 5, 1]))
    np.testing.assert_array_equal(draws.of_genes(keys[1:], np.array([2]), np.array([6, 5])), bits[2:4])
    assert len(np.unique(bits)) == 5
    others = [
        draws.keys(np.array([7, 8]), **{"seed": 0, "step": 1, "purpose": Purpose.VIEW, **other})
        for other in ({"seed": 1}, {"step": 2}, {"purpose": Purpose.THINNING}, {"view": 1})
    ]
    assert len(np.unique([keys, *others])) == 10
