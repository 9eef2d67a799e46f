"""Gene tables round-trip, and refuse what is none."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from celllm.base.errors import InputError, VocabularyMismatch
from celllm.genes import gene_embedding as gene_table
from celllm.genes.gene_embedding import GeneTable

TABLE = GeneTable(np.arange(6, dtype=np.float32).reshape(3, 2), "abc", "svd", {"losses": [1.0, 0.5]}, {"stage": "x"})


def test_a_table_round_trips(tmp_path: Path) -> None:
    gene_table.write(TABLE, tmp_path / "t.safetensors")
    found = gene_table.read(tmp_path / "t.safetensors", vocabulary="abc")
    np.testing.assert_array_equal(found.genes_GD, TABLE.genes_GD)
    assert (found.method, found.report, found.provenance) == ("svd", {"losses": [1.0, 0.5]}, {"stage": "x"})


def test_the_digest_is_that_of_the_numbers_and_not_of_who_made_them() -> None:
    again = replace(TABLE, report={}, provenance={"stage": "y", "commit": "z"})
    assert again.digest == TABLE.digest
    assert replace(TABLE, genes_GD=TABLE.genes_GD + 1).digest != TABLE.digest
    assert replace(TABLE, vocabulary="xyz").digest != TABLE.digest


def test_another_vocabulary_is_refused(tmp_path: Path) -> None:
    gene_table.write(TABLE, tmp_path / "t.safetensors")
    with pytest.raises(VocabularyMismatch, match="snakemake --forcerun embed_genes"):
        gene_table.read(tmp_path / "t.safetensors", vocabulary="xyz")


def test_a_file_of_another_kind_is_refused(tmp_path: Path) -> None:
    save_file({"genes": np.zeros(2, np.float32)}, str(tmp_path / "other"))
    with pytest.raises(InputError, match=r"found: *None"):
        gene_table.read(tmp_path / "other")
