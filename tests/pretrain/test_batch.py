"""A step's cells: packed, padded a chunk at a time, and the same whatever the chunks."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from tiny import made_corpus, tiny_recipe

from celllm.corpus.sampler import BatchSampler
from celllm.corpus.tokens import CLS, MASK, PAD, tokenise
from celllm.pretrain import batch as batches
from celllm.pretrain.batch import IGNORED, StepBatch, make_batch
from celllm.pretrain.views import choose_masked

INDICES, CORPUS = np.array([5, 0, 9, 3, 41, 22]), made_corpus()


def made(recipe: Any, **options: Any) -> StepBatch:
    return make_batch(
        CORPUS,
        INDICES,
        recipe,
        **{"panel": None, "seed": 0, "step": 1, "device": torch.device("cpu"), **options},
    )


def test_chunks_are_padded_to_their_own_longest_cell_and_hold_the_tokens_of_the_tokeniser() -> None:
    recipe = tiny_recipe(tokens={"max_length": 60})
    batch = made(recipe)
    tokens = tokenise(CORPUS.rows(INDICES), recipe.tokens)
    genes_BL, bins_BL, _ = tokens.padded()
    assert batch.lengths_B.tolist() == tokens.lengths_B.tolist()
    assert batch.genes_N.dtype == batch.tokens_N.dtype == np.uint8  # 40 genes and CLS
    for rows in (slice(0, 6), slice(2, 4), np.array([4, 1])):
        view = batch.plain()[rows]
        longest = int(batch.lengths_B[rows].max())
        assert view["genes"].tolist() == genes_BL[rows, :longest].tolist()
        assert view["bins"].tolist() == bins_BL[rows, :longest].tolist()
        assert batch.labels(rows).tolist() == CORPUS.is_malignant[INDICES][rows].tolist()


def test_masked_cells_hide_what_is_to_be_predicted_and_never_cls() -> None:
    batch = made(tiny_recipe(objectives={"masked": {"rate": 0.5}}))
    everything = slice(0, 6)
    plain, view = batch.plain()[everything], batch.masked()[everything]
    is_target = view["targets"] != IGNORED
    assert is_target.sum() == len(batch.targets()) > 20
    assert torch.equal(view["targets"][is_target], plain["bins"][is_target])
    assert batch.targets().tolist() == plain["bins"][is_target].tolist()
    assert set(view["bins"][view["bins"] != plain["bins"]].tolist()) == {MASK}
    assert (is_target | (view["bins"] != MASK)).all()
    assert not is_target[(plain["bins"] == CLS) | (plain["bins"] == PAD)].any()
    assert "targets" not in batch.masked(targets=False)[everything]


def test_values_stand_beside_the_bins_and_a_hidden_token_has_none() -> None:
    objectives = {"masked": {"rate": 0.5}}
    recipe = tiny_recipe(encoder={"expression": "value"}, tokens={"max_length": 60}, objectives=objectives)
    batch = made(recipe)
    expected = torch.from_numpy(tokenise(CORPUS.rows(INDICES), recipe.tokens).padded()[2])
    everything = slice(0, 6)
    assert torch.equal(batch.plain()[everything]["values"], expected)
    view = batch.masked()[everything]
    assert torch.equal(view["values"], expected.masked_fill(view["bins"] == MASK, 0))
    assert "values" not in made(tiny_recipe()).plain()[everything]


@pytest.mark.parametrize("piece", [1, 4])
def test_tokens_do_not_depend_on_how_many_cells_are_made_at_once(monkeypatch: pytest.MonkeyPatch, piece: int) -> None:
    recipe = tiny_recipe(tokens={"max_length": 15})  # so that cells are truncated at random
    expected = made(recipe)
    monkeypatch.setattr(batches, "PIECE", piece)
    found = made(recipe)
    for name in ("genes_N", "tokens_N", "lengths_B"):
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name), err_msg=name)
    other = made(recipe, step=2)
    assert not np.array_equal(other.tokens_N, expected.tokens_N)


def test_without_a_masked_loss_nothing_is_hidden() -> None:
    batch = made(tiny_recipe(objectives={"masked": {"weight": 0.0}}))
    assert not len(batch.targets())
    everything = slice(0, 6)
    assert torch.equal(batch.masked()[everything]["bins"], batch.plain()[everything]["bins"])


def chosen(is_zero_silent: bool = False) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    bins = np.random.default_rng(0).integers(0, 6, 16_200).astype(np.uint8)
    bins[::81] = CLS
    chance = np.random.default_rng(1).random(len(bins))
    masks = choose_masked(bins, chance_N=chance, rate=0.15, replace_share=0.9, is_zero_silent=is_zero_silent)
    return bins, *masks


def test_fifteen_percent_are_chosen_and_nine_tenths_of_them_hidden_and_cls_never() -> None:
    bins, is_target, is_hidden = chosen()
    assert not is_target[bins == CLS].any()
    assert is_target[bins != CLS].mean() == pytest.approx(0.15, abs=0.01)
    assert is_hidden[is_target].mean() == pytest.approx(0.9, abs=0.02)
    assert not is_hidden[~is_target].any()


def test_bin_zero_is_chosen_only_where_it_is_an_expressed_gene() -> None:
    for is_zero_silent in (False, True):
        bins, is_target, _ = chosen(is_zero_silent)
        assert (bins[is_target] == 0).any() != is_zero_silent


def test_positions_are_cls_and_every_target() -> None:
    targets = torch.tensor([[IGNORED, 3, IGNORED, 5, 0], [IGNORED, IGNORED, 2, IGNORED, IGNORED]])
    positions, found = batches.positions(targets)
    assert positions.tolist() == [[0, 1, 3, 4], [0, 2, 0, 0]]
    assert found.tolist() == [[IGNORED, 3, 5, 0], [IGNORED, 2, IGNORED, IGNORED]]


def test_the_panel_holds_the_genes_of_highest_mean_share_whatever_the_piece(monkeypatch: pytest.MonkeyPatch) -> None:
    shares = CORPUS.counts.toarray() / CORPUS.counts.toarray().sum(1, keepdims=True)
    expected = np.sort(np.argsort(-shares.mean(0), kind="stable")[:9])
    for piece in (7, 1000):
        monkeypatch.setattr(batches, "CELLS_AT_ONCE", piece)
        np.testing.assert_array_equal(batches.choose_panel(CORPUS, 9), expected)
    np.testing.assert_array_equal(batches.choose_panel(CORPUS, None), np.arange(40))


def test_holding_out_all_cells_is_refused() -> None:
    with pytest.raises(ValueError, match="leave none to train on"):
        batches.hold_out(5, 5)


def test_a_seed_that_shuffled_the_shards_does_not_put_their_sources_back_in_a_row() -> None:
    places = np.arange(1000)
    np.random.default_rng(3).shuffle(places)  # as the writer of shards does
    first_epoch = next(BatchSampler(1000, 1000, seed=3))
    source_order = np.argsort(places)[batches.hold_out(1000, 0).training[first_epoch]]
    assert abs(np.corrcoef(source_order, np.arange(1000))[0, 1]) < 0.1
