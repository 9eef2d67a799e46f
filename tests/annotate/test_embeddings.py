"""`embed_cells` embeds aligned cells in any units that a fit takes; its file comes back as written, or is refused."""

import numpy as np
import pandas as pd
import pytest

from celllm.annotate import commands, embeddings
from celllm.base.errors import InputError, VocabularyMismatch
from celllm.base.parquet import read_frame
from celllm.harmonise import vocabulary as vocabulary_file
from celllm.harmonise.vocabulary import Vocabulary


@pytest.fixture
def embedded(tmp_path, aligned, encoder_file, vocabulary):
    """Run the command on values in some units; return the embeddings."""

    def run(values, units, genes=vocabulary):
        vocabulary_file.write(genes, tmp_path / "genes.tsv")
        made = aligned(values, genes, units=units)
        made.write_h5ad(tmp_path / "cells.h5ad")
        files = {"cells": "cells.h5ad", "vocabulary": "genes.tsv", "embeddings": "e.parquet"}
        commands.embed_cells(encoder=encoder_file, **{name: tmp_path / file for name, file in files.items()})
        ids, found, labels = embeddings.read(tmp_path / "e.parquet")
        assert (list(ids), set(labels)) == (list(made.obs_names), {"x"})
        assert set(read_frame(tmp_path / "e.parquet").attrs["provenance"]["inputs"]) == {"encoder", *list(files)[:2]}
        return found

    return run


def test_tpm_is_embedded_as_the_counts_that_it_is_proportional_to(embedded, cells):
    counts = cells.counts.toarray()
    tpm = (counts / counts.sum(axis=1, keepdims=True) * 1e6).astype(np.float32)
    np.testing.assert_allclose(embedded(tpm, "tpm"), embedded(counts, "counts"), atol=1e-5)


def test_z_scores_below_their_mean_are_silent(embedded, generator, vocabulary):
    scores = generator.normal(size=(5, vocabulary.n_genes)).astype(np.float32)
    np.testing.assert_array_equal(embedded(scores, "zscore"), embedded(np.maximum(scores, 0), "zscore"))


def test_cells_of_another_vocabulary_are_refused(embedded, cells, vocabulary):
    with pytest.raises(VocabularyMismatch, match="pretrain again"):
        embedded(cells.counts.toarray(), "counts", Vocabulary(vocabulary.genes[::-1].reset_index(drop=True)))


def test_embeddings_come_back_in_the_order_of_their_numbers(tmp_path):
    values = np.arange(24, dtype=np.float32).reshape(2, 12)
    embeddings.write(["d:a", "d:b"], values, ["B cell", ""], tmp_path / "e.parquet")
    cell_ids, found, labels = embeddings.read(tmp_path / "e.parquet")
    assert (list(cell_ids), list(labels)) == (["d:a", "d:b"], ["B cell", ""])
    np.testing.assert_array_equal(found, values)


def test_embeddings_without_labels_or_finite_numbers_are_refused(tmp_path):
    pd.DataFrame({"e0": [1.0]}, index=["d:a"]).to_parquet(tmp_path / "e.parquet")
    with pytest.raises(InputError, match="e0, e1, … and label"):
        embeddings.read(tmp_path / "e.parquet")
    embeddings.write(["d:a"], np.array([[np.nan, 1.0]]), ["x"], tmp_path / "e.parquet")
    with pytest.raises(InputError, match="finite numbers"):
        embeddings.read(tmp_path / "e.parquet")
