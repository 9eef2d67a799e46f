"""Cells and an encoder become the table of embedding metrics."""

import pandas as pd
import pytest

from celllm.harmonise import cells as counts
from celllm.report.commands import audit_embeddings

DATASETS = """\
dataset title role reader units simulated label_column sample_column malignancy min_genes citation licence
d Tiny task h5ad counts no - - normal 0 - -
"""


def audit(training, encoder_file):
    (training.path / "datasets.tsv").write_text(DATASETS.replace(" ", "\t"))
    argv = ["--encoder", str(encoder_file), *training.options("cells", "vocabulary")]
    argv += ["--datasets", str(training.path / "datasets.tsv"), "--tables", str(training.path / "tables")]
    audit_embeddings.main(argv)
    return pd.read_csv(training.path / "tables/audit_embeddings.tsv", sep="\t").set_index("view")


def relabel(training, labels, samples):
    cells = training.cells.copy()
    cells.obs["label"], cells.obs["sample"] = labels, samples
    counts.write(cells, training.path / "cells.h5ad")


def test_cells_of_one_label_have_no_metrics_of_labels_but_their_spread(training, encoder_file):
    found = audit(training, encoder_file)
    assert list(found.index) == ["CellLM", "CellLM without pretraining", "50 principal components"]
    assert (found["labels"] == 1).all()
    assert found["silhouette_label"].isna().all()
    assert found["effective_rank"].between(1, 50).all()


@pytest.mark.slow
def test_labelled_cells_of_two_samples_have_all_metrics(training, encoder_file):
    pytest.importorskip("scib_metrics", reason="scib-metrics is not installed")
    n = training.cells.n_obs
    relabel(
        training, ["", *(f"type{number % 2}" for number in range(n - 1))], [f"s{number % 3}" for number in range(n)]
    )
    found = audit(training, encoder_file)
    assert (found["cells"] == n).all()  # the cell without label counts for the spread
    assert (found[["labels", "batches"]] == [2, 3]).all(axis=None)
    assert found.notna().all(axis=None)


@pytest.mark.slow
def test_samples_that_are_labels_have_no_metrics_of_batches(training, encoder_file):
    pytest.importorskip("scib_metrics", reason="scib-metrics is not installed")
    names = [f"type{number % 2}" for number in range(training.cells.n_obs)]
    relabel(training, names, names)
    found = audit(training, encoder_file)
    assert found["silhouette_label"].notna().all()
    assert found["kbet"].isna().all()
