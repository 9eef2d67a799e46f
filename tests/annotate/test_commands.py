"""`embed_cells` embeds aligned cells in any units that a fit takes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from celllm.annotate import commands, embeddings
from celllm.base.errors import VocabularyMismatch
from celllm.harmonise import cells as cells_file
from celllm.harmonise import vocabulary as vocabulary_file
from celllm.harmonise.vocabulary import Vocabulary
from celllm.splits.units import Cells


def embedded(folder: Path, values: np.ndarray, units: str, encoder: Path, genes: Vocabulary) -> np.ndarray:
    vocabulary_file.write(genes, folder / "genes.tsv")
    obs = {"sample": "s", "donor": "s", "study": "d", "label": "x", "is_malignant": 0}
    obs |= {"n_counts": 1.0, "n_genes": 1, "cell_hash": "a"}
    aligned = cells_file.build(
        sparse.csr_matrix(values),
        pd.DataFrame(obs, index=[f"d:{cell}" for cell in range(len(values))]),
        vocabulary=genes,
        dataset="d",
        units=units,
        simulated=True,
        provenance={},
    )
    aligned.write_h5ad(folder / "cells.h5ad")
    files = {"cells": "cells.h5ad", "vocabulary": "genes.tsv", "embeddings": "e.parquet"}
    commands.embed_cells(encoder=encoder, **{name: folder / file for name, file in files.items()})
    ids, found, labels = embeddings.read(folder / "e.parquet")
    assert list(ids) == list(aligned.obs_names)
    assert set(labels) == {"x"}
    assert set(pd.read_parquet(folder / "e.parquet").attrs["provenance"]["inputs"]) == {
        "encoder",
        "cells",
        "vocabulary",
    }
    return found


def test_tpm_is_embedded_as_the_counts_that_it_is_proportional_to(
    tmp_path: Path, cells: Cells, encoder_file: Path, vocabulary: Vocabulary
) -> None:
    counts = cells.counts.toarray()
    tpm = (counts / counts.sum(axis=1, keepdims=True) * 1e6).astype(np.float32)
    ours = embedded(tmp_path, tpm, "tpm", encoder_file, vocabulary)
    np.testing.assert_allclose(ours, embedded(tmp_path, counts, "counts", encoder_file, vocabulary), atol=1e-5)


def test_z_scores_below_their_mean_are_silent(
    tmp_path: Path, generator: np.random.Generator, encoder_file: Path, vocabulary: Vocabulary
) -> None:
    scores = generator.normal(size=(5, vocabulary.n_genes)).astype(np.float32)
    ours = embedded(tmp_path, scores, "zscore", encoder_file, vocabulary)
    other = embedded(tmp_path, np.maximum(scores, 0), "zscore", encoder_file, vocabulary)
    np.testing.assert_array_equal(ours, other)


def test_cells_of_another_vocabulary_are_refused(
    tmp_path: Path, cells: Cells, encoder_file: Path, vocabulary: Vocabulary
) -> None:
    turned = Vocabulary(vocabulary.genes[::-1].reset_index(drop=True))
    with pytest.raises(VocabularyMismatch, match="pretrain again"):
        embedded(tmp_path, cells.counts.toarray(), "counts", encoder_file, turned)
