"""Batches read ahead are those of the sampler, in its order, and resume to the exact next one."""

import json
import threading
import time

import numpy as np
import pytest
from scipy.sparse import csr_matrix

from celllm.corpus.loader import Loader
from celllm.corpus.sampler import BatchSampler

CELLS = csr_matrix(np.random.default_rng(0).poisson(0.5, (50, 12)).astype(np.float32))


class Corpus:
    """Cells in memory; reads some batches slowly, so that threads finish out of order."""

    def __init__(self, *, slow=False):
        self.slow = slow
        self.threads = set()
        self.n_reads = 0

    def rows(self, indices):
        self.n_reads += 1
        self.threads.add(threading.get_ident())
        if self.slow and indices[0] % 2:
            time.sleep(0.001)
        return CELLS[indices]

    def make(self, indices, number):
        return self.rows(indices), number


def sampler(**place):
    return BatchSampler(50, 7, seed=5, **place)


@pytest.mark.parametrize("threads", [0, 1, 3])
@pytest.mark.parametrize("ahead", [1, 6])
def test_batches_come_in_the_order_of_the_sampler_with_their_cells(threads, ahead):
    alone = sampler()
    with Loader(Corpus(slow=True).make, sampler(), threads=threads, ahead=ahead) as loader:
        for expected in range(30):
            batch = next(loader)
            cells, number = batch.cells
            np.testing.assert_array_equal(batch.indices, next(alone))
            assert (cells != CELLS[batch.indices]).nnz == 0
            assert number == expected


def test_batches_are_read_elsewhere_and_ahead_but_not_further():
    corpus = Corpus()
    with Loader(corpus.make, sampler(), ahead=4) as loader:
        next(loader)
    assert threading.get_ident() not in corpus.threads
    assert 1 <= corpus.n_reads <= 5


@pytest.mark.parametrize("threads", [0, 2])
@pytest.mark.parametrize("taken", [0, 1, 6, 7, 8, 23])
def test_a_loader_resumed_from_a_state_gives_the_exact_next_batch_whatever_was_read_ahead(taken, threads):
    with Loader(Corpus().make, sampler(), threads=threads, ahead=5) as loader:
        for _ in range(taken):
            next(loader)
        state = json.loads(json.dumps(loader.state()))
        expected = [next(loader).indices for _ in range(20)]
    resumed = sampler()
    resumed.resume(state)
    with Loader(Corpus().make, resumed, ahead=2) as loader:
        np.testing.assert_array_equal([next(loader).indices for _ in range(20)], expected)


def test_what_goes_wrong_while_reading_reaches_the_one_who_asks():
    def broken(_indices, _number):
        message = "disk gone"
        raise OSError(message)

    with Loader(broken, sampler()) as loader, pytest.raises(OSError, match="disk gone"):
        next(loader)


def test_no_thread_outlives_the_loader():
    with Loader(Corpus(slow=True).make, sampler(), threads=3) as loader:
        next(loader)
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("loader")]


@pytest.mark.parametrize("settings", [{"threads": -1}, {"ahead": 0}])
def test_a_loader_without_room_or_with_less_than_no_thread_is_refused(settings):
    with pytest.raises(ValueError, match="0 or more threads"):
        Loader(Corpus().make, sampler(), **settings)
