"""Embedding metrics know an embedding that parts labels from one that parts batches."""

import numpy as np
import pytest

from celllm.bench.embedding import BATCH_METRICS, LABEL_METRICS, batch_metrics, label_metrics, tells_batches

pytestmark = pytest.mark.xdist_group("embedding")  # one worker: its fixture is dear

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
