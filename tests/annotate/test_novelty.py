"""Cells unlike a reference are told from its own, by how far held-out cells of it lie; another study's shift is not."""

import numpy as np
import pytest

from celllm.annotate import novelty as novelties

WIDTH, N = 8, 600
SPREAD = np.linspace(0.2, 3.0, WIDTH)
"""How much cells of one type differ, by direction."""


def drawn(generator, centre, n):
    """Draw cells of a type, away from the others in the direction along which its cells differ least."""
    return SPREAD * generator.normal(size=(n, WIDTH)) + np.eye(WIDTH)[0] * 2.0 * centre


@pytest.fixture
def types(generator):
    """Two types, and five folds."""
    z = np.vstack([drawn(generator, centre, N) for centre in (0, 1)])
    folds = np.arange(2 * N) % 5
    held_out = [(np.flatnonzero(folds != fold), np.flatnonzero(folds == fold)) for fold in range(5)]
    return novelties.learned(z, np.repeat(["a", "b"], N), held_out)


def test_known_cells_are_refused_at_the_rate_and_unknown_ones_are_found(types, generator):
    known, unknown = drawn(generator, 1, 5_000), drawn(generator, 3, 500)
    said, off = types.novelty(types.distances(np.vstack([known, unknown])))
    assert off == pytest.approx(1, abs=0.05)
    assert (said[:5_000] > 0.95).mean() == pytest.approx(0.05, abs=0.025)
    assert (said[5_000:] > 0.99).mean() > 0.95


def test_distance_counts_by_how_much_cells_of_one_type_differ(types):
    along, across = 4 * np.eye(WIDTH)[-1], 4 * np.eye(WIDTH)[0]
    assert types.distances(across[None]) > 5 * types.distances(along[None])


def test_a_study_that_is_farther_off_as_a_whole_is_not_refused(types, generator):
    known, unknown = 2 * drawn(generator, 0, 2_000), drawn(generator, 8, 100)
    said, off = types.novelty(types.distances(np.vstack([known, unknown])))
    assert off > 1.5
    assert (said[:2_000] > 0.99).mean() < 0.03
    assert (said[2_000:] > 0.99).mean() > 0.95


def test_a_query_without_cells_has_no_novelty(types):
    said, off = types.novelty(np.zeros(0))
    assert (len(said), off) == (0, 1)
