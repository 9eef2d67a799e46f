"""Three views of the same cells, in the same order."""

import numpy as np
import pytest

from celllm.bench.methods.frozen import COMPONENTS, ENCODER, SCRATCH, spread, unit, views
from celllm.model.inference import embed_cells
from celllm.model.store import load_encoder


def test_a_view_of_a_cell_is_in_the_cells_row_and_pretraining_makes_a_difference(encoder_file, cells):
    pretrained = load_encoder(encoder_file, vocabulary=None)
    found = views(pretrained, cells.counts, units="counts", seed=0)
    assert list(found) == [ENCODER, SCRATCH, COMPONENTS]
    np.testing.assert_allclose(found[ENCODER], embed_cells(pretrained, cells.counts, units="counts"))
    assert np.abs(found[ENCODER] - found[SCRATCH]).max() > 0.1
    again = views(pretrained, cells.counts[::-1], units="counts", seed=0)
    np.testing.assert_allclose(again[SCRATCH][::-1], found[SCRATCH], atol=1e-5)


def test_unit_vectors_keep_their_direction_and_zeros_stay():
    np.testing.assert_allclose(unit(np.array([[3.0, 4.0], [0.0, 0.0]])), [[0.6, 0.8], [0.0, 0.0]])


def test_spread_tells_a_line_from_a_cross():
    line, cross = np.array([[1.0, 0.0], [2.0, 0.0]]), np.array([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0], [0.0, -1.0]])
    assert spread(line)["mean_cosine"] == pytest.approx(1.0)
    assert spread(line)["effective_rank"] == pytest.approx(1.0)
    assert spread(cross)["effective_rank"] == pytest.approx(2.0)
    assert spread(cross)["uniformity"] < spread(line)["uniformity"] == pytest.approx(0.0)
