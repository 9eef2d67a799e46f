"""The learning rate's course, and what decays."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from torch import nn

from celllm.contracts.recipe import OptimiserSettings
from celllm.train.optim import adamw, learning_rate, set_learning_rate

SETTINGS = OptimiserSettings(learning_rate=1e-3, final_learning_rate=1e-5, warmup_fraction=0.1, weight_decay=0.5)


def course(settings: OptimiserSettings = SETTINGS) -> list[float]:
    return [learning_rate(step, n_steps=100, settings=settings) for step in range(1, 101)]


def test_it_rises_in_a_line_to_the_peak_and_falls_to_the_final_value() -> None:
    rates = course()
    assert rates[0] == pytest.approx(1e-4)
    assert rates[4] == pytest.approx(5e-4)
    assert max(rates) == rates[9] == pytest.approx(1e-3)
    assert rates[54] == pytest.approx((1e-3 + 1e-5) / 2)  # half way down the cosine
    assert rates[-1] == pytest.approx(1e-5)
    assert all(later < earlier for earlier, later in pairwise(rates[9:]))


def test_without_warm_up_it_only_falls_and_all_warm_up_only_rises() -> None:
    falling = course(SETTINGS.model_copy(update={"warmup_fraction": 0.0}))
    assert falling == sorted(falling, reverse=True)
    rising = course(SETTINGS.model_copy(update={"warmup_fraction": 1.0}))
    assert rising == sorted(rising)
    assert rising[-1] == pytest.approx(1e-3)


def test_weights_decay_and_biases_and_norms_do_not_and_frozen_ones_are_left_out() -> None:
    module = nn.Sequential(nn.Linear(3, 3), nn.LayerNorm(3), nn.Linear(3, 2).requires_grad_(False))
    optimiser = adamw(module, SETTINGS)
    set_learning_rate(optimiser, 0.1)
    before = {name: parameter.detach().clone() for name, parameter in module.named_parameters()}
    for parameter in module.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimiser.step()
    for name, parameter in module.named_parameters():
        factor = 1 - 0.1 * 0.5 if name == "0.weight" else 1
        torch.testing.assert_close(parameter.detach(), before[name] * factor)
