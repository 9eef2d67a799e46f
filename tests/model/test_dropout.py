"""Our dropout is dropout."""

from __future__ import annotations

import pytest
import torch

from celllm.model.dropout import Dropout


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.9])
def test_the_rate_of_zeros_and_the_mean_are_right(rate: float) -> None:
    x = torch.ones(400, 1001)
    dropped = Dropout(rate)(x)
    assert (dropped == 0).float().mean().item() == pytest.approx(rate, abs=0.003)
    assert dropped.mean().item() == pytest.approx(1, abs=0.02)


def test_evaluation_and_rate_zero_change_nothing() -> None:
    x = torch.randn(3, 5)
    assert Dropout(0.5).eval()(x) is x
    assert Dropout(0.0)(x) is x


def test_zeros_are_drawn_from_torchs_generator() -> None:
    x = torch.ones(7, 9)
    state = torch.get_rng_state()
    first, second = Dropout(0.5)(x), Dropout(0.5)(x)
    torch.set_rng_state(state)
    assert torch.equal(Dropout(0.5)(x), first)
    assert not torch.equal(first, second)


def test_the_gradient_passes_where_the_number_was_kept() -> None:
    x = torch.ones(50, 50, requires_grad=True)
    dropped = Dropout(0.25)(x)
    dropped.sum().backward()
    assert torch.equal(x.grad, dropped.detach())
