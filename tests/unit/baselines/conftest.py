"""Principal components of a tiny corpus, as a file."""

from __future__ import annotations

from pathlib import Path

import pytest

from celllm.baselines.components import fit_components
from celllm.contracts import components
from celllm.contracts.vocabulary import Vocabulary
from celllm.tasks.data import Cells


@pytest.fixture
def components_file(tmp_path: Path, cells: Cells, vocabulary: Vocabulary) -> Path:
    """Four components of the tiny cells."""
    found = fit_components(
        lambda rows: cells.counts[rows], n_cells=90, vocabulary=vocabulary.digest, n_components=4, cells_at_once=40
    )
    components.write(found, tmp_path / "pca.safetensors")
    return tmp_path / "pca.safetensors"
