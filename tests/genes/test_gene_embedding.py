"""Gene embeddings round-trip, and refuse what is none."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from celllm.base.errors import InputError, VocabularyMismatch
from celllm.genes import gene_embedding
from celllm.genes.gene_embedding import GeneEmbedding

MADE = GeneEmbedding(np.arange(6, dtype=np.float32).reshape(3, 2), "abc", "svd", {"losses": [1.0, 0.5]}, {"stage": "x"})


def test_an_embedding_round_trips(tmp_path: Path) -> None:
    gene_embedding.write(MADE, tmp_path / "e.safetensors")
    found = gene_embedding.read(tmp_path / "e.safetensors", vocabulary="abc")
    np.testing.assert_array_equal(found.genes_GD, MADE.genes_GD)
    assert (found.method, found.report, found.provenance) == ("svd", {"losses": [1.0, 0.5]}, {"stage": "x"})


def test_the_digest_is_that_of_the_numbers_and_not_of_who_made_them() -> None:
    again = replace(MADE, report={}, provenance={"stage": "y", "commit": "z"})
    assert again.digest == MADE.digest
    assert replace(MADE, genes_GD=MADE.genes_GD + 1).digest != MADE.digest
    assert replace(MADE, vocabulary="xyz").digest != MADE.digest


def test_another_vocabulary_is_refused(tmp_path: Path) -> None:
    gene_embedding.write(MADE, tmp_path / "e.safetensors")
    with pytest.raises(VocabularyMismatch, match="snakemake --forcerun embed_genes"):
        gene_embedding.read(tmp_path / "e.safetensors", vocabulary="xyz")


def test_a_file_of_another_kind_is_refused(tmp_path: Path) -> None:
    save_file({"genes": np.zeros(2, np.float32)}, str(tmp_path / "other"))
    with pytest.raises(InputError, match=r"found: *None"):
        gene_embedding.read(tmp_path / "other")
