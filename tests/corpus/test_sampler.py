"""Batches: complete, without repeats, and resumable to the cell."""

import json

import numpy as np
import pytest

from celllm.corpus.sampler import BatchSampler


def take(sampler, n):
    return [next(sampler) for _ in range(n)]


@pytest.mark.parametrize(("n_cells", "batch"), [(100, 7), (12, 4), (10, 10), (11, 10), (5, 1)])
def test_every_epoch_holds_every_cell_once(n_cells, batch):
    drawn = np.concatenate(take(BatchSampler(n_cells, batch, seed=0), 5 * n_cells))

    for epoch in drawn.reshape(-1, n_cells)[: 5 * batch]:
        assert sorted(epoch) == list(range(n_cells))


@pytest.mark.parametrize(("n_cells", "batch"), [(100, 7), (11, 10), (7, 5)])
def test_batches_are_full_and_hold_no_cell_twice_across_epochs_too(n_cells, batch):
    for cells in take(BatchSampler(n_cells, batch, seed=1), 200):
        assert len(set(cells.tolist())) == batch


def test_epochs_and_seeds_differ_and_a_seed_repeats():
    first, second = take(BatchSampler(50, 50, seed=0), 2)

    assert (first != second).any()
    assert (next(BatchSampler(50, 50, seed=1)) != first).any()
    np.testing.assert_array_equal(next(BatchSampler(50, 50, seed=0)), first)


@pytest.mark.parametrize("taken", [0, 3, 15, 40])
def test_a_resumed_sampler_goes_on_exactly(taken):
    straight = BatchSampler(11, 8, seed=4)
    take(straight, taken)
    state = json.loads(json.dumps(straight.state()))

    resumed = BatchSampler(11, 8, seed=4)
    resumed.resume(state)

    assert resumed.epoch == straight.epoch
    np.testing.assert_array_equal(take(resumed, 30), take(straight, 30))


@pytest.mark.parametrize("other", [(10, 8, 4), (11, 7, 4), (11, 8, 5)], ids=["cells", "batch", "seed"])
def test_the_state_of_another_sampler_is_refused(other):
    with pytest.raises(ValueError, match="the saved sampler has"):
        BatchSampler(*other).resume(BatchSampler(11, 8, 4).state())


def test_epochs_are_counted_by_cells_seen():
    sampler = BatchSampler(10, 4, seed=0)

    epochs = []
    for _ in range(5):
        next(sampler)
        epochs.append(sampler.epoch)

    assert epochs == [0, 0, 1, 1, 2]


@pytest.mark.parametrize("batch", [0, 11])
def test_a_batch_larger_than_the_corpus_or_empty_is_refused(batch):
    with pytest.raises(ValueError, match="1 to 10 cells"):
        BatchSampler(10, batch, seed=0)


@pytest.mark.parametrize(("ranks", "workers"), [(1, 1), (2, 1), (3, 2), (1, 4), (4, 3)])
@pytest.mark.parametrize(("n_cells", "batch"), [(96, 12), (25, 10)])
def test_ranks_and_workers_together_see_every_cell_of_an_epoch_once(n_cells, batch, ranks, workers):
    n_batches = 12 * n_cells
    alone = take(BatchSampler(n_cells, batch, seed=2), n_batches)

    parts = {}
    for rank in range(ranks):
        for worker in range(workers):
            sampler = BatchSampler(n_cells, batch, 2, rank=rank, ranks=ranks, worker=worker, workers=workers)
            for number in range(worker, n_batches, workers):
                parts[number, rank] = next(sampler)

    for number, whole in enumerate(alone):
        together = [parts[number, rank] for rank in range(ranks)]
        np.testing.assert_array_equal(np.concatenate(together), whole)
        assert max(map(len, together)) - min(map(len, together)) <= 1
    epochs = np.concatenate(alone)[: n_cells * batch].reshape(-1, n_cells)
    assert all(sorted(epoch) == list(range(n_cells)) for epoch in epochs)


def test_the_state_is_the_same_on_every_rank_and_resumes_with_another_number_of_ranks():
    samplers = [BatchSampler(30, 8, seed=3, rank=rank, ranks=2) for rank in range(2)]
    for sampler in samplers:
        take(sampler, 7)
    assert samplers[0].state() == samplers[1].state()

    alone = BatchSampler(30, 8, seed=3)
    alone.resume(samplers[0].state())

    np.testing.assert_array_equal(next(alone), np.concatenate([next(sampler) for sampler in samplers]))


def test_a_worker_resumes_at_its_own_next_batch():
    alone = take(BatchSampler(30, 8, seed=3), 20)
    sampler = BatchSampler(30, 8, seed=3, worker=1, workers=3)
    take(sampler, 2)  # numbers 1 and 4

    resumed = BatchSampler(30, 8, seed=3, worker=1, workers=3)
    resumed.resume(sampler.state())

    np.testing.assert_array_equal(next(resumed), alone[7])


@pytest.mark.parametrize(
    "place",
    [{"rank": 2, "ranks": 2}, {"rank": -1}, {"rank": 0, "ranks": 9}, {"worker": 1}, {"worker": 3, "workers": 3}],
)
def test_a_rank_or_worker_that_does_not_exist_or_would_get_nothing_is_refused(place):
    with pytest.raises(ValueError, match=r"must be 0 to (ranks|workers) - 1"):
        BatchSampler(30, 8, seed=0, **place)
