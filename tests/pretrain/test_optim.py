"""The learning rate's course, and what decays."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from torch import nn

from celllm.config.recipe import OptimiserSettings
from celllm.config.recipe_encoder import EncoderSettings
from celllm.model.encoder import Encoder
from celllm.pretrain.optim import learning_rate, optimiser_of, set_learning_rate

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

    falling = course(SETTINGS.model_copy(update={"warmup_fraction": 0.0}))
    assert falling == sorted(falling, reverse=True)
    rising = course(SETTINGS.model_copy(update={"warmup_fraction": 1.0}))
    assert rising == sorted(rising)
    assert rising[-1] == pytest.approx(1e-3)


@pytest.mark.parametrize("name", ["adamw", "adam"])
def test_weights_decay_and_biases_and_norms_do_not_and_frozen_ones_are_left_out(name: str) -> None:
    module = nn.Sequential(nn.Linear(3, 3), nn.LayerNorm(3), nn.Linear(3, 2).requires_grad_(False))
    optimiser = optimiser_of(module, SETTINGS.model_copy(update={"name": name}))
    set_learning_rate(optimiser, 0.1)
    before = {key: parameter.detach().clone() for key, parameter in module.named_parameters()}
    for parameter in module.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimiser.step()
    # Adam adds the decay to the gradient; of whatever size, a first one moves a weight by the learning rate
    weight = before["0.weight"]
    before["0.weight"] = weight * (1 - 0.1 * 0.5) if name == "adamw" else weight - 0.1 * weight.sign()
    for key, parameter in module.named_parameters():
        torch.testing.assert_close(parameter.detach(), before[key], rtol=1e-4, atol=1e-5)


def test_a_gene_embedding_keeps_the_ratio_of_its_own_learning_rate() -> None:
    settings = EncoderSettings(width=4, depth=1, heads=1, head_width=4)
    module = Encoder(settings, n_genes=5, gene_embedding=None)
    optimiser = optimiser_of(module, SETTINGS.model_copy(update={"gene_learning_rate": 4e-3}))
    set_learning_rate(optimiser, 0.1)
    rate_of = {id(p): group["lr"] for group in optimiser.param_groups for p in group["params"]}
    for name, parameter in module.named_parameters():
        expected = 0.4 if name == "embedding.genes.weight" else 0.1
        assert rate_of[id(parameter)] == pytest.approx(expected), name


SCBERT = OptimiserSettings(learning_rate=1e-4, final_learning_rate=1e-6, schedule="cosine_restarts")


def restarting(n_epochs: int, settings: OptimiserSettings = SCBERT) -> list[float]:
    return [learning_rate(step, n_steps=n_epochs, settings=settings) for step in range(1, n_epochs + 1)]


def test_scberts_cycles_are_15_25_45_and_85_epochs_and_their_peaks_sink_by_a_tenth() -> None:
    rates = restarting(175)
    lowest = [epoch for epoch, rate in enumerate(rates) if rate == pytest.approx(1e-6)]
    assert lowest == [0, 15, 40, 85, 170]
    for cycle, start in enumerate([0, 15, 40, 85]):
        peak = 1e-4 * 0.9**cycle
        assert rates[start + 5] == pytest.approx(peak)
        assert rates[start + 1] == pytest.approx(1e-6 + (peak - 1e-6) / 5)  # warm-up from the lowest rate
    assert max(rates) == rates[5]
    assert all(later < earlier for earlier, later in pairwise(rates[5:15]))


def test_without_warm_up_and_with_equal_peaks_restarts_are_those_of_torch() -> None:
    restarts = SCBERT.restarts.model_copy(update={"warmup": 0, "peak_factor": 1.0, "first_cycle": 7})
    found = restarting(60, SCBERT.model_copy(update={"restarts": restarts}))
    optimiser = torch.optim.SGD(nn.Linear(1, 1).parameters(), lr=1e-4)
    schedule = torch.optim.lr_scheduler.CosineAnnealingWarmRestarts(optimiser, T_0=7, T_mult=2, eta_min=1e-6)
    for rate in found:
        assert rate == pytest.approx(schedule.get_last_lr()[0])
        optimiser.step()
        schedule.step()

    restarts = SCBERT.restarts.model_copy(update={"epoch_steps": 4})
    rates = restarting(4 * 40, SCBERT.model_copy(update={"restarts": restarts}))
    assert rates == [rate for rate in restarting(40) for _ in range(4)]
