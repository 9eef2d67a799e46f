"""Rivals that look at no gene: the commonest visible bin of a cell, and its depth."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from celllm.config.recipe import ObjectiveSettings
from celllm.corpus.tokens import CLS
from celllm.pretrain.batch import StepBatch
from celllm.pretrain.figures import Figures
from celllm.pretrain.losses import LossSum
from celllm.pretrain.ranks import ALONE
from celllm.pretrain.rivals import cell_mode, depth_loss, depth_numbers
from celllm.pretrain.views import IS_HIDDEN, IS_TARGET

HIDDEN, TARGET = IS_TARGET | IS_HIDDEN, IS_TARGET


def batch_of(*cells: list[int], is_zero_silent: bool = False) -> StepBatch:
    tokens = [np.array([CLS, *cell], dtype=np.uint8) for cell in cells]
    lengths = np.array([len(cell) for cell in tokens])
    genes, labels = np.zeros(lengths.sum(), dtype=np.uint8), np.full(len(cells), -1)
    packed, device = np.concatenate(tokens), torch.device("cpu")
    return StepBatch(genes, packed, lengths, labels, 9, device, is_zero_silent=is_zero_silent)


CELLS = batch_of([2, 2, 3, 2 | HIDDEN, 3 | HIDDEN], [5, 5 | TARGET, 1 | TARGET], [4 | HIDDEN])


def test_a_hidden_bin_is_guessed_by_the_commonest_that_its_cell_shows() -> None:
    assert cell_mode(CELLS) == (3, 1)
    silent = [0, 0, 0, 2, 2 | HIDDEN]
    assert cell_mode(batch_of(silent)) == (1, 0)
    assert cell_mode(batch_of(silent, is_zero_silent=True)) == (1, 1)


def test_what_is_not_hidden_can_be_read_off() -> None:
    told = [LossSum(torch.tensor(2.0), 3, 2), LossSum(torch.tensor(3.0), 2, 2)]
    found = Figures(CELLS, ObjectiveSettings(), ALONE).masked(told)
    expected = {"masked": 1.0, "masked_accuracy": 4 / 5, "masked_majority": 1 / 5, "masked_cell_mode": 3 / 5}
    assert found == pytest.approx(expected)


def test_depth_alone_tells_cells_apart_where_views_share_it_and_not_where_they_do_not() -> None:
    generator = np.random.default_rng(0)
    batch = batch_of(*(generator.integers(0, 6, n).tolist() for n in generator.integers(5, 300, 64)))
    numbers_BF = depth_numbers(batch)
    options = {"temperature": 0.05, "symmetric": False}
    assert depth_loss(numbers_BF, numbers_BF, **options) < 0.5
    shuffled = numbers_BF[torch.randperm(64, generator=torch.Generator().manual_seed(0))]
    assert depth_loss(numbers_BF, shuffled, **options) > math.log(64)
    equal_BF = torch.ones(64, 3, dtype=torch.float64)
    assert depth_loss(equal_BF, equal_BF, **options) == pytest.approx(math.log(64))
