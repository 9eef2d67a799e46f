"""Random numbers come again when they should, and leave no trace."""

from __future__ import annotations

import torch

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


def test_the_present_state_comes_back_after_an_error_too() -> None:
    before = torch.get_rng_state()
    try:
        with seeded(3, CPU):
            torch.rand(1)
            raise KeyError
    except KeyError:
        pass
    assert torch.equal(torch.get_rng_state(), before)


def test_a_seeded_block_always_draws_the_same() -> None:
    drawn = []
    for _ in range(2):
        with seeded(3, CPU):
            drawn.append(torch.rand(3))
        torch.rand(7)
    assert torch.equal(*drawn)


def test_streams_differ_by_seed_step_and_purpose() -> None:
    seeds = {stream_seed(seed, step, purpose) for seed in range(3) for step in range(4) for purpose in Purpose}
    assert len(seeds) == 3 * 4 * len(Purpose)


def test_a_stream_is_the_same_on_every_machine() -> None:
    # numpy promises that SeedSequence does not change
    assert stream_seed(0, 1, Purpose.MASK) == 1535930435702422785
    one, other = (torch_generator(0, 1, Purpose.MASK) for _ in range(2))
    assert torch.equal(torch.rand(2, generator=one), torch.rand(2, generator=other))
