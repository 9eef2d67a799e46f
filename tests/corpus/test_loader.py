"""Batches read ahead are those of the sampler, in its order, and resume to the exact next one."""

import json
import threading

import numpy as np
import pytest
from scipy.sparse import csr_matrix

from celllm.corpus.loader import Loader
from celllm.corpus.sampler import BatchSampler

CELLS = csr_matrix(np.random.default_rng(0).poisson(0.5, (50, 12)).astype(np.float32))


def make(indices, number):
    return CELLS[indices], number


def sampler():
    return BatchSampler(50, 7, seed=5)


@pytest.mark.parametrize("ahead", [1, 6])
def test_batches_come_in_the_order_of_the_sampler_with_their_cells(ahead):
    alone = sampler()
    with Loader(make, sampler(), ahead=ahead) as loader:
        for expected in range(30):
            batch = next(loader)
            cells, number = batch.cells
            np.testing.assert_array_equal(batch.indices, next(alone))
            assert (cells != CELLS[batch.indices]).nnz == 0
            assert number == expected


def test_batches_are_read_by_another_thread_which_ends_and_ahead_but_not_further():
    threads = []
    with Loader(lambda *_: threads.append(threading.get_ident()), sampler(), ahead=4) as loader:
        next(loader)
    assert threading.get_ident() not in threads
    assert 1 <= len(threads) <= 5
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("loader")]


@pytest.mark.parametrize("taken", [0, 7, 23])
def test_a_loader_resumed_from_a_state_gives_the_exact_next_batch_whatever_was_read_ahead(taken):
    with Loader(make, sampler(), ahead=5) as loader:
        for _ in range(taken):
            next(loader)
        state = json.loads(json.dumps(loader.state()))
        expected = [next(loader).indices for _ in range(20)]
    resumed = sampler()
    resumed.resume(state)
    with Loader(make, resumed, ahead=2) as loader:
        np.testing.assert_array_equal([next(loader).indices for _ in range(20)], expected)


def test_what_goes_wrong_while_reading_reaches_the_one_who_asks():
    def broken(_indices, _number):
        message = "disk gone"
        raise OSError(message)

    with Loader(broken, sampler()) as loader, pytest.raises(OSError, match="disk gone"):
        next(loader)
    with pytest.raises(ValueError, match="1 or more batches ahead"):
        Loader(make, sampler(), ahead=0)
