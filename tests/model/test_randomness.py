"""Random numbers come again when they should, and leave no trace; our dropout is dropout."""

from __future__ import annotations

from contextlib import suppress

import pytest
import torch

from celllm.model.dropout import Dropout
from celllm.model.randomness import Purpose, random_state, replay, seeded, stream_seed, torch_generator

CPU = torch.device("cpu")


def test_a_replayed_state_draws_the_same_and_leaves_the_present_one_alone() -> None:
    state = random_state(CPU)
    first = torch.rand(3)
    torch.rand(5)
    before = torch.get_rng_state()
    with replay(state):
        assert torch.equal(torch.rand(3), first)
    assert torch.equal(torch.get_rng_state(), before)


def test_a_seeded_block_always_draws_the_same_and_the_present_state_comes_back_after_an_error_too() -> None:
    before, drawn = torch.get_rng_state(), []
    for _ in range(2):
        with suppress(KeyError), seeded(3, CPU):
            drawn.append(torch.rand(3))
            raise KeyError
    assert torch.equal(*drawn)
    assert torch.equal(torch.get_rng_state(), before)


def test_streams_differ_by_seed_step_and_purpose_and_are_the_same_on_every_machine() -> None:
    seeds = {stream_seed(seed, step, purpose) for seed in range(3) for step in range(4) for purpose in Purpose}
    assert len(seeds) == 3 * 4 * len(Purpose)
    # numpy promises that SeedSequence does not change
    assert stream_seed(0, 1, Purpose.MASK) == 1535930435702422785
    one, other = (torch_generator(0, 1, Purpose.MASK) for _ in range(2))
    assert torch.equal(torch.rand(2, generator=one), torch.rand(2, generator=other))


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.9])
def test_the_rate_of_zeros_and_the_mean_of_dropout_are_right(rate: float) -> None:
    x = torch.ones(400, 1001, requires_grad=True)
    dropped = Dropout(rate)(x)
    assert (dropped == 0).float().mean().item() == pytest.approx(rate, abs=0.003)
    assert dropped.mean().item() == pytest.approx(1, abs=0.02)
    dropped.sum().backward()
    assert torch.equal(x.grad, dropped.detach())  # the gradient passes where the number was kept
    assert Dropout(rate).eval()(x) is x
    assert Dropout(0.0)(x) is x


def test_zeros_are_drawn_from_torchs_generator() -> None:
    x, state = torch.ones(7, 9), torch.get_rng_state()
    first, second = Dropout(0.5)(x), Dropout(0.5)(x)
    torch.set_rng_state(state)
    assert torch.equal(Dropout(0.5)(x), first)
    assert not torch.equal(first, second)
