"""Views of the same cells, and metrics that know an embedding that parts labels from one that parts batches."""

import numpy as np
import pytest

from celllm.bench.diagnostics import (
    BATCH_METRICS,
    COMPONENTS,
    ENCODER,
    LABEL_METRICS,
    SCRATCH,
    batch_metrics,
    chosen_cells,
    label_metrics,
    tells_batches,
    unit,
    views,
)
from celllm.model.inference import embed_cells
from celllm.model.store import load_encoder

N = 120


@pytest.fixture(scope="module")
def found():
    """Three labels in two batches: metrics of an embedding by label, and of one by batch."""
    generator = np.random.default_rng(0)
    labels = np.array(["a", "b", "c"])[np.arange(N) % 3]
    batches = np.array(["one", "two"])[np.arange(N) % 2]
    noise = generator.normal(0, 0.1, (N, 4))
    by_label, by_batch = noise.copy(), noise.copy()
    by_label[np.arange(N), np.arange(N) % 3] += 2
    by_batch[np.arange(N), np.arange(N) % 2] += 2
    return {
        name: label_metrics(view, labels, batches) | batch_metrics(view, labels, batches, components_NC=by_batch)
        for name, view in (("label", by_label), ("batch", by_batch))
    }


@pytest.mark.slow
def test_an_embedding_by_label_keeps_labels_together(found):
    for metric in LABEL_METRICS:
        assert found["label"][metric] > found["batch"][metric] + 0.3, metric
    assert found["label"]["ari_kmeans"] == found["label"]["ari_leiden"] == pytest.approx(1.0)


@pytest.mark.slow
def test_an_embedding_by_batch_does_not_mix_batches(found):
    for metric in ("ilisi", "kbet", "pcr_comparison"):
        assert found["label"][metric] > found["batch"][metric] + 0.3, metric
    assert found["batch"]["pcr_comparison"] == pytest.approx(0.0, abs=1e-5)
    assert set(found["label"]) == {*LABEL_METRICS, *BATCH_METRICS}


def test_batches_that_are_labels_tell_nothing():
    labels = np.array(["a", "a", "b", "b"])
    assert not tells_batches(labels, np.array(["one", "one", "two", "two"]))
    assert not tells_batches(labels, np.array(["one"] * 4))
    assert tells_batches(labels, np.array(["one", "two", "two", "two"]))


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


def test_a_small_set_is_drawn_whole_and_a_large_one_in_part():
    assert list(chosen_cells(4, 5)) == [0, 1, 2, 3]
    chosen = chosen_cells(100, 5)
    assert len(set(chosen)) == 5
    assert list(chosen) == sorted(chosen_cells(100, 5))
