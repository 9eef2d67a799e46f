"""From shards and a network to an encoder and embeddings, by the commands that the workflow calls."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from celllm.annotate import embeddings
from celllm.base.errors import InputError, VocabularyMismatch
from celllm.genes import gene_embedding
from celllm.harmonise import vocabulary
from celllm.harmonise.vocabulary import Vocabulary
from celllm.model.store import load_encoder
from celllm.pretrain import history

N_CELLS, N_GENES = 50, 40


def test_the_chain_ends_in_an_encoder_a_history_and_embeddings(training: Any, capsys: Any) -> None:
    training.embed_genes()
    training.pretrain()
    training.embed_cells()
    table = gene_embedding.read(training.path / "embedding.safetensors", vocabulary=training.genes.digest)
    assert table.report["genes_without_edges"] == 10
    loaded = load_encoder(training.path / "encoder.safetensors", vocabulary=training.genes.digest)
    np.testing.assert_array_equal(loaded.encoder.embedding.genes.weight[:N_GENES].numpy(), table.genes_GD)
    rows = history.read(training.path / "history.jsonl")
    assert rows["step"].tolist() == [2, 4]
    assert {"loss", "masked", "contrastive", "malignancy", "masked_majority", "cells_per_s"} <= set(rows.columns)
    ids, values, labels = embeddings.read(training.path / "embeddings.parquet")
    assert list(ids) == list(training.cells.obs_names)
    assert values.shape == (N_CELLS, 8)
    assert np.std(values, axis=0).min() > 0
    assert set(labels) == {"x"}
    shown = capsys.readouterr()
    assert "40 genes by graphmae, 10 without edges" in shown.out
    assert "step 4/4  loss " in shown.err


def test_the_recipe_of_scbert_keeps_its_panel_in_the_encoder(training: Any) -> None:
    training.write_recipe(
        tokens={"layout": "full", "panel_size": 12},
        genes={"method": "svd"},
        objectives={"contrastive": {"weight": 0}, "malignancy": {"weight": 0}},
    )
    training.embed_genes()
    training.pretrain()
    training.embed_cells()
    panel = load_encoder(training.path / "encoder.safetensors", vocabulary=None).panel
    assert panel is not None
    assert len(panel) == 12
    assert json.loads((training.path / "history.jsonl").read_text().splitlines()[0])["contrastive"] is None


@pytest.mark.parametrize("method", ["random", "corpus"])
def test_a_trained_gene_embedding_moves_from_its_start_which_the_encoder_keeps(training: Any, method: str) -> None:
    training.write_recipe(
        genes={"method": method, "trainable": "trained", "scale": 0.05},
        encoder={"expression": "value", "attention": "none", "residual_start": "zero"},
    )
    training.embed_genes()
    training.pretrain()
    loaded = load_encoder(training.path / "encoder.safetensors", vocabulary=None)
    start = gene_embedding.read(training.path / "embedding.safetensors").genes_GD
    assert loaded.first_genes_GD is not None
    np.testing.assert_array_equal(loaded.first_genes_GD, start)
    assert np.sqrt(np.square(start).mean()) == pytest.approx(0.05, rel=1e-5)
    moved = loaded.encoder.embedding.genes.weight[: len(start)].detach().numpy() - start
    assert np.abs(moved).max() > 1e-4


def test_recipes_that_do_not_fit_their_inputs_are_refused(training: Any) -> None:
    training.embed_genes()
    training.write_recipe(encoder={"width": 16})
    with pytest.raises(InputError, match=r"(?s)width 16.*width 8.*snakemake --forcerun embed_genes"):
        training.pretrain()
    training.write_recipe(training={"batch_cells": 64})
    with pytest.raises(InputError, match=r"(?s)batch of 64 and 0 validation cells.*50 cells.*training\.batch_cells"):
        training.pretrain()
    training.write_recipe(encoder={"width": 32})
    with pytest.raises(InputError, match=r"(?s)more than 32 genes.*network of 30 genes"):
        training.embed_genes()


def test_artefacts_of_another_vocabulary_are_refused(training: Any) -> None:
    training.embed_genes()
    training.pretrain()
    renamed = training.genes.genes.assign(symbol=[f"OTHER{i}" for i in range(N_GENES)])
    vocabulary.write(Vocabulary(renamed), training.path / "genes.tsv")
    for command in (training.embed_genes, training.pretrain, training.embed_cells):
        with pytest.raises(VocabularyMismatch):
            command()
