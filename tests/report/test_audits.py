"""Shards, cells and an encoder become the batch-confounding probe and the embedding diagnostics."""

import math
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from tests.recipes import tiny
from tests.report.conftest import listed

from celllm.base.errors import VocabularyMismatch
from celllm.config import catalogue as catalogues
from celllm.config import tables
from celllm.config.catalogue import Catalogue
from celllm.report.audits import head_rows, label_rule_table, labels_table
from celllm.report.commands import Page, audit_encoder

DATASETS = """\
dataset title role reader units simulated label_column sample_column malignancy source_malignancy min_genes citation \
licence
d Cells corpus h5ad counts no - - normal tumour 0 - -
"""
HISTORY = pd.DataFrame(
    {
        "step": [10, 20, 30],
        "validation_loss": [math.nan, 1.0, 2.0],
        "validation_malignancy_accuracy": [math.nan, 0.75, 0.5],
        "validation_malignancy_majority": [math.nan, 0.6, 0.6],
    }
)


def catalogue_file(folder):
    (folder / "datasets.tsv").write_text(DATASETS.replace(" ", "\t"))
    rows = {row.dataset: row for row in tables.read_datasets(folder / "datasets.tsv")}
    config = {"malignancy_rule": "metadata"}
    made = Catalogue(tasks={}, methods={}, datasets=rows, runs={}, not_run=(), claims=(), config=config)
    catalogues.write(made, folder / "catalogue.json")
    return folder / "catalogue.json"


def probe(folder, *, encoder="encoder.safetensors"):
    inputs = listed(
        shards=folder / "manifest.json",
        encoder=folder / encoder,
        history=[folder / "history.jsonl"],
        catalogue=catalogue_file(folder),
    )
    page = Page(html=folder / "source.html", tsv=folder / "source.tsv", rows=folder)
    audit_encoder(audit="audit_source", page=page, **inputs)
    return {name: pd.read_table(folder / f"{name}.tsv") for name in ("source", "label_rule", "labels")}


def test_the_corpus_is_probed_and_its_labels_are_counted(training):
    training.embed_genes()
    training.pretrain()
    found = probe(training.path)
    labels, source = found["labels"].iloc[0], found["source"]
    assert (labels["dataset"], labels["cells"], labels["tumour"], labels["normal"]) == ("d", 50, 25, 25)
    assert (labels["by_source"], labels["wrong_by_source"]) == ("tumour", 25)
    assert set(source["question"]) == {"tumour"}  # one data set, and no validation cells to ask the head about
    assert {"majority class", "data set alone", "CellLM", "CellLM without pretraining"} < set(source["view"])
    assert (source["n_train"] + source["n_test"] == 50).all()
    assert found["label_rule"].empty  # one label by source teaches nothing


def test_an_encoder_of_other_genes_is_refused(training, encoder_file):
    from celllm.model.store import load_encoder, save_encoder

    made = load_encoder(encoder_file, vocabulary=None)
    other = training.path / "other.safetensors"
    save_encoder(other, made.encoder, recipe=made.recipe, vocabulary="0" * 64)
    (training.path / "history.jsonl").write_text('{"step": 1}\n')
    with pytest.raises(VocabularyMismatch):
        probe(training.path, encoder="other.safetensors")


def recipe(select):
    return tiny(training={"validation_cells": 4, "select": select})


@pytest.mark.parametrize(("select", "accuracy"), [("last", 0.5), ("best", 0.75)])
def test_the_heads_accuracy_is_that_of_the_weights_that_were_kept(select, accuracy):
    majority, head = head_rows(HISTORY, recipe(select))
    assert (majority["accuracy"], head["accuracy"]) == (0.6, accuracy)


def test_a_head_that_was_not_trained_has_no_row():
    assert head_rows(HISTORY[["step"]], recipe("last")) == []


def test_labels_of_either_rule_are_counted_and_wrong_ones_too(catalogue):
    corpus = SimpleNamespace(
        dataset=pd.Categorical(["biopsy"] * 4 + ["blood"] * 2),
        is_malignant=np.array([1, 0, 0, -1, 0, 0], dtype=np.int8),
    )
    biopsy, blood = labels_table(corpus, catalogue, by_source={"biopsy": 1, "blood": -1}).rows.to_dict("records")
    assert (biopsy["tumour"], biopsy["normal"], biopsy["unknown"], biopsy["wrong_by_source"]) == (1, 2, 1, 2)
    assert (blood["title"], blood["by_source"], blood["wrong_by_source"]) == ("Blood", "unknown", 0)


def test_a_run_whose_labels_are_those_of_the_source_says_that_the_truth_is_not_at_hand():
    assert "truth is not at hand" in label_rule_table([], "by_source").note
    assert "truth is not at hand" not in label_rule_table([], "metadata").note


def diagnose(training, encoder_file):
    inputs = listed(
        encoder=encoder_file,
        cells=[training.path / "cells.h5ad"],
        vocabulary=training.path / "genes.tsv",
        catalogue=catalogue_file(training.path),
    )
    page = Page(html=training.path / "embeddings.html", tsv=training.path / "embeddings.tsv")
    audit_encoder(audit="audit_embeddings", page=page, **inputs)
    return pd.read_table(training.path / "embeddings.tsv").set_index("view")


def relabel(training, labels, samples):
    cells = training.cells.copy()
    cells.obs["label"], cells.obs["sample"] = labels, samples
    cells.write_h5ad(training.path / "cells.h5ad")


def test_cells_of_one_label_have_no_metrics_of_labels_but_their_spread(training, encoder_file):
    found = diagnose(training, encoder_file)
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
    found = diagnose(training, encoder_file)
    assert (found["cells"] == n).all()  # the cell without label counts for the spread
    assert (found[["labels", "batches"]] == [2, 3]).all(axis=None)
    assert found.notna().all(axis=None)
