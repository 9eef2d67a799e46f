"""Malignancy: unknown labels do not count."""

from __future__ import annotations

import math

import pytest
import torch

from celllm.pretrain.malignancy import majority_accuracy, malignancy_loss

LOGITS = torch.tensor([2.0, -1.0, 0.5, 3.0])
LABELS = torch.tensor([1, 0, 0, -1])


def test_the_loss_is_the_binary_cross_entropy_of_known_cells() -> None:
    made = malignancy_loss(LOGITS, LABELS)
    expected = math.log1p(math.exp(-2)) + math.log1p(math.exp(-1)) + math.log1p(math.exp(0.5))
    assert made.loss_sum.item() == pytest.approx(expected, rel=1e-6)
    assert (made.n_cells, made.n_correct) == (3, 2)


def test_an_unknown_cell_gets_no_gradient() -> None:
    logits = LOGITS.clone().requires_grad_()
    malignancy_loss(logits, LABELS).loss_sum.backward()
    assert logits.grad is not None
    assert (logits.grad != 0).tolist() == [True, True, True, False]


def test_a_chunk_without_labels_costs_nothing_and_still_has_a_graph() -> None:
    logits = LOGITS.clone().requires_grad_()
    made = malignancy_loss(logits, torch.full((4,), -1))
    made.loss_sum.backward()
    assert (made.loss_sum.item(), made.n_cells) == (0, 0)
    assert logits.grad is not None
    assert not logits.grad.any()


def test_the_majority_counts_known_cells_only() -> None:
    assert majority_accuracy(LABELS) == pytest.approx(2 / 3)
    assert math.isnan(majority_accuracy(torch.tensor([-1])))
