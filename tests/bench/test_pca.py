"""Principal components round-trip, and refuse what is none."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from celllm.base.errors import InputError, VocabularyMismatch
from celllm.bench import pca as components
from celllm.bench.pca import Components

FOUND = Components(
    mean_G=np.array([1, 2, 3], dtype=np.float32),
    components_KG=np.array([[1, 0, 0], [0, 0, -1]], dtype=np.float32),
    explained_K=np.array([0.5, 0.25], dtype=np.float32),
    vocabulary="abc",
    n_cells=7,
    provenance={"stage": "x"},
)


def test_components_round_trip(tmp_path: Path) -> None:
    components.write(FOUND, tmp_path / "pca.safetensors")
    found = components.read(tmp_path / "pca.safetensors", vocabulary="abc")
    np.testing.assert_array_equal(found.mean_G, FOUND.mean_G)
    np.testing.assert_array_equal(found.components_KG, FOUND.components_KG)
    np.testing.assert_array_equal(found.explained_K, FOUND.explained_K)
    assert (found.vocabulary, found.n_cells, found.provenance) == ("abc", 7, {"stage": "x"})


def test_another_vocabulary_is_refused(tmp_path: Path) -> None:
    components.write(FOUND, tmp_path / "pca.safetensors")
    with pytest.raises(VocabularyMismatch, match="snakemake --forcerun fit_components"):
        components.read(tmp_path / "pca.safetensors", vocabulary="xyz")


def test_a_file_of_another_kind_is_refused(tmp_path: Path) -> None:
    save_file({"mean": np.zeros(2, np.float32)}, str(tmp_path / "other"))
    with pytest.raises(InputError, match=r"found: *None"):
        components.read(tmp_path / "other")
    (tmp_path / "text").write_text("components")
    with pytest.raises(InputError, match="no safetensors file"):
        components.read(tmp_path / "text")
