import numpy as np
import pytest
from scipy import sparse

from celllm.bench.methods.frozen import token_source
from celllm.config.recipe_encoder import TokenSettings
from celllm.corpus.tokens import PAD


@pytest.fixture
def source(generator):
    sizes = generator.integers(1, 30, size=100)
    rows = [np.concatenate([np.ones(size), np.zeros(30 - size)]) for size in sizes]
    return token_source(sparse.csr_matrix(np.array(rows)), "counts", rule=TokenSettings(max_length=20), panel=None)


@pytest.mark.parametrize("n_rows", [1, 7, 64, 100])
def test_every_row_comes_once_an_epoch(source, generator, n_rows):
    rows = generator.permutation(100)[:n_rows]

    for batches in (source.shuffled(rows, 8, generator), source.in_order_of_length(rows, 8)):
        batches = list(batches)
        assert sorted(np.concatenate(batches)) == list(range(n_rows))
        assert max(map(len, batches)) <= 8


def test_sorting_by_length_saves_most_of_the_padding(source, generator):
    def padding(batches):
        return sum(int((source.batch(at)[1] == PAD).sum()) for at in batches)

    order = generator.permutation(100)
    unsorted = padding([order[at : at + 8] for at in range(0, 100, 8)])
    assert padding(source.in_order_of_length(np.arange(100), 8)) < 0.2 * unsorted
    assert padding(source.shuffled(np.arange(100), 8, generator)) < 0.5 * unsorted


def test_negative_z_scores_are_silent_and_lengths_know_it():
    scores = sparse.csr_matrix(np.array([[-1.0, 2.0, 0.0, 0.5], [-1.0, -2.0, -3.0, 4.0]]))
    source = token_source(scores, "zscore", rule=TokenSettings(max_length=9), panel=None)

    assert source.lengths(np.array([0, 1])).tolist() == [2, 1]
    assert source.batch(np.array([0, 1]))[0].tolist() == [[4, 1, 3], [4, 3, 5]]
