"""What a step costs, measured in processes of their own."""

from __future__ import annotations

import os
from dataclasses import replace

import numpy as np
import pytest
import torch

from celllm.base.errors import CellLMError
from celllm.config.recipe import EncoderSettings
from celllm.model.encoder import Encoder
from celllm.model.randomness import seeded
from celllm.pretrain import cost
from celllm.pretrain.losses import info_nce

SETTINGS = EncoderSettings(width=8, depth=1, heads=1, head_width=8, dropout=0.1)
PLAN = cost.StepPlan(SETTINGS, n_genes=50, lengths_B=np.array([5, 9, 7, 6]), max_tokens=16)


def test_a_cell_is_the_same_in_whatever_chunk_it_is_asked_for():
    cells = cost.DrawnCells(PLAN.lengths_B, 50)
    together, alone = cells[np.array([1, 3])], cells[slice(3, 4)]
    assert together["genes"].shape == (2, 9)
    assert torch.equal(together["genes"][1, :6], alone["genes"][0])
    assert torch.equal(together["bins"][1, :6], alone["bins"][0])


def test_divided_and_undivided_steps_leave_the_same_gradient():
    gradients = []
    cells = cost.DrawnCells(PLAN.lengths_B, 50)
    encoder = Encoder(SETTINGS, n_genes=50, gene_embedding=torch.randn(50, 8)).train()
    for mode in cost.MODES:
        encoder.zero_grad()
        with seeded(0, torch.device("cpu")):
            cost.step(
                lambda view: encoder.embed(view["genes"], view["bins"]),
                [cells] * 2,
                lambda a, b: info_nce(a, b, temperature=0.05),
                chunks=[np.array([1]), np.array([0, 2]), np.array([3])],
                mode=mode,
            )
        gradients.append(encoder.layers[0].attention.to_qkv.weight.grad.clone())
    assert gradients[0].abs().max() > 0
    torch.testing.assert_close(*gradients, rtol=1e-5, atol=1e-6)


@pytest.mark.slow
def test_a_step_is_measured_in_a_process_of_its_own():
    found = cost.in_child(cost.run_step, PLAN)
    assert found.seconds > 0
    assert found.peak_bytes >= found.before_bytes


@pytest.mark.slow
def test_a_mode_that_does_not_fit_is_not_tried_with_more_cells():
    points = cost.sweep(replace(PLAN, threads=1), [2, 4], limit_bytes=1 << 20)
    assert [(point.n_cells, point.mode, point.cost) for point in points] == [
        (2, "divided", None),
        (2, "undivided", None),
    ]


@pytest.mark.slow
def test_a_process_that_dies_is_an_error_and_no_measurement():
    with pytest.raises(CellLMError, match="status 3"):
        cost.in_child(os._exit, 3)
