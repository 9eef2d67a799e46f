"""Batches: complete, without repeats, and resumable to the cell."""

import json

import numpy as np
import pytest

from celllm.corpus.sampler import BatchSampler, GroupSampler


def take(sampler, n):
    return [next(sampler) for _ in range(n)]


@pytest.mark.parametrize(("n_cells", "batch"), [(100, 7), (12, 4), (10, 10), (11, 10), (7, 5), (5, 1)])
def test_every_epoch_holds_every_cell_once_and_no_batch_a_cell_twice(n_cells, batch):
    batches = take(BatchSampler(n_cells, batch, seed=0), 5 * n_cells)

    assert all(len(set(cells.tolist())) == batch for cells in batches)
    assert all(sorted(epoch) == list(range(n_cells)) for epoch in np.concatenate(batches).reshape(-1, n_cells))


def test_epochs_and_seeds_differ_and_a_seed_repeats():
    first, second = take(BatchSampler(50, 50, seed=0), 2)

    assert (first != second).any()
    assert (next(BatchSampler(50, 50, seed=1)) != first).any()
    np.testing.assert_array_equal(next(BatchSampler(50, 50, seed=0)), first)


@pytest.mark.parametrize("taken", [0, 3, 15, 40])
def test_a_resumed_sampler_goes_on_exactly(taken):
    straight = BatchSampler(11, 8, seed=4)
    take(straight, taken)

    resumed = BatchSampler(11, 8, seed=4)
    resumed.resume(json.loads(json.dumps(straight.state())))

    np.testing.assert_array_equal(take(resumed, 30), take(straight, 30))


@pytest.mark.parametrize("other", [(10, 8, 4), (11, 7, 4), (11, 8, 5)], ids=["cells", "batch", "seed"])
def test_the_state_of_another_sampler_is_refused(other):
    with pytest.raises(ValueError, match="the saved sampler has"):
        BatchSampler(*other).resume(BatchSampler(11, 8, 4).state())


@pytest.mark.parametrize("ranks", [1, 2, 3])
@pytest.mark.parametrize(("n_cells", "batch"), [(96, 12), (25, 10)])
def test_ranks_together_get_the_batches_of_one(n_cells, batch, ranks):
    samplers = [BatchSampler(n_cells, batch, 2, rank=rank, ranks=ranks) for rank in range(ranks)]
    for whole in take(BatchSampler(n_cells, batch, seed=2), 3 * n_cells):
        together = [next(sampler) for sampler in samplers]
        np.testing.assert_array_equal(np.concatenate(together), whole)
        assert max(map(len, together)) - min(map(len, together)) <= 1


def test_the_state_is_the_same_on_every_rank_and_resumes_with_another_number_of_ranks():
    samplers = [BatchSampler(30, 8, seed=3, rank=rank, ranks=2) for rank in range(2)]
    for sampler in samplers:
        take(sampler, 7)
    assert samplers[0].state() == samplers[1].state()

    alone = BatchSampler(30, 8, seed=3)
    alone.resume(samplers[0].state())

    np.testing.assert_array_equal(next(alone), np.concatenate([next(sampler) for sampler in samplers]))


@pytest.mark.parametrize(
    ("batch", "place", "message"),
    [
        pytest.param(0, {}, "1 to 30 cells", id="empty batch"),
        pytest.param(31, {}, "1 to 30 cells", id="batch larger than the corpus"),
        pytest.param(8, {"rank": 2, "ranks": 2}, "rank must be 0 to ranks - 1", id="no such rank"),
        pytest.param(8, {"rank": -1}, "rank must be 0 to ranks - 1", id="negative rank"),
        pytest.param(8, {"rank": 0, "ranks": 9}, "each rank must get a cell", id="more ranks than cells"),
    ],
)
def test_a_batch_or_rank_that_cannot_be_is_refused(batch, place, message):
    with pytest.raises(ValueError, match=message):
        BatchSampler(30, batch, seed=0, **place)


GROUPS = np.random.default_rng(0).permutation(np.repeat([4, 1, 7, 2, 3], [60, 30, 10, 3, 2]))


def test_a_batch_is_of_one_group_and_groups_take_turns_in_proportion():
    batches = take(GroupSampler(GROUPS, 10, seed=0), 105)

    assert all(len(set(cells.tolist())) == 10 for cells in batches)
    found = [tuple(np.unique(GROUPS[cells])) for cells in batches]
    assert {found.count((group,)) for group in (4,)} == {60}
    assert found.count((1,)) == 30
    # groups 2 and 3 have five cells together, fewer than a batch: they share those of the next smallest
    assert sum(set(groups) <= {2, 3, 7} for groups in found) == 15
    assert (np.bincount(np.concatenate(batches), minlength=105) == 10).all()
    # groups smaller than a batch are no group of their own
    assert (np.bincount(np.concatenate(take(GroupSampler(np.arange(30) // 3, 10, seed=0), 30))) == 10).all()


@pytest.mark.parametrize("taken", [0, 3, 40])
def test_a_resumed_group_sampler_goes_on_exactly_with_another_number_of_ranks(taken):
    straight = GroupSampler(GROUPS, 10, seed=4)
    ranks = [GroupSampler(GROUPS, 10, seed=4, rank=rank, ranks=2) for rank in range(2)]
    for sampler in (straight, *ranks):
        take(sampler, taken)
    assert ranks[0].state() == ranks[1].state()
    assert (next(GroupSampler(GROUPS, 10, seed=5)) != next(GroupSampler(GROUPS, 10, seed=4))).any()

    resumed = GroupSampler(GROUPS, 10, seed=4)
    resumed.resume(json.loads(json.dumps(ranks[0].state())))

    np.testing.assert_array_equal(take(resumed, 30), take(straight, 30))
    with pytest.raises(ValueError, match="the saved sampler has"):
        GroupSampler(GROUPS, 10, seed=5).resume(straight.state())
    with pytest.raises(ValueError, match="the saved sampler has 3 groups, this one 1"):
        GroupSampler(np.zeros(105, dtype=int), 10, seed=4).resume(straight.state())
