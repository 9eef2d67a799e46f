"""A corpus in memory and a recipe that trains in a second."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from celllm.bench import commands as bench_commands
from celllm.config import recipe as recipes
from celllm.config.recipe import Recipe
from celllm.harmonise import cells as cell_files


@dataclass
class MemoryCorpus:
    """What a ShardReader offers, from a matrix."""

    counts: csr_matrix
    is_malignant: NDArray[np.int8]
    vocabulary: str = "vocabulary"
    digest: str = "shards"

    @property
    def n_cells(self) -> int:
        return int(self.counts.shape[0])

    @property
    def n_genes(self) -> int:
        return int(self.counts.shape[1])

    def rows(self, indices: NDArray[np.int64]) -> csr_matrix:
        return self.counts[indices]

    def groups(self, of: str) -> NDArray[np.int64]:
        return np.arange(self.n_cells) % (3 if of == "dataset" else 4)

    def names(self, indices: NDArray[np.int64]) -> list[str]:
        return [f"cell{index}" for index in indices]


@pytest.fixture
def corpus() -> MemoryCorpus:
    """60 cells of two kinds, tumour and normal, that express different genes; every fifth has no label."""
    generator = np.random.default_rng(0)
    kind = np.arange(60) % 2
    rate = np.where((np.arange(40) < 20) == (kind[:, None] == 0), 3.0, 0.2)
    counts = csr_matrix(generator.poisson(rate).astype(np.float32))
    return MemoryCorpus(counts, np.where(np.arange(60) % 5 == 0, -1, kind).astype(np.int8))


@pytest.fixture
def gene_embedding() -> NDArray[np.float32]:
    return np.random.default_rng(1).standard_normal((40, 16)).astype(np.float32)


def tiny_recipe(**changes: dict[str, Any]) -> Recipe:
    """The recipe, with some keys of some sections changed."""
    values: dict[str, dict[str, Any]] = {
        "tokens": {"max_length": 24, "target_sum": 100},  # so that bins 0 to 4 occur
        "genes": {"method": "random"},
        "encoder": {"width": 16, "depth": 2, "heads": 2, "head_width": 8, "dropout": 0.1},
        "optimiser": {"learning_rate": 0.01, "warmup_fraction": 0.1},
        "training": {
            "batch_cells": 14,
            "chunk_tokens": 96,
            "steps": 6,
            "redraw_every": 2,
            "checkpoint_every": 3,
            "log_every": 2,
        },
    }
    for section, keys in changes.items():
        values[section] = {**values.get(section, {}), **keys}
    return recipes.parse(values, file="recipe")


@pytest.fixture(name="tiny_recipe")
def tiny_recipe_fixture() -> Any:
    """The function `tiny_recipe`."""
    return tiny_recipe


@pytest.fixture
def probed(training: Any, aligned: Any, generator: np.random.Generator) -> dict[str, Path]:
    """Files of a probe beside the inputs of `training`: 60 cells of two types, and components of the corpus."""
    labels = np.array(["a", "b"])[np.arange(60) % 2]
    rate = np.where((np.arange(training.genes.n_genes) < 20) == (labels[:, None] == "a"), 2.0, 1.0)
    files = {"probe_cells": training.path / "probe.h5ad", "probe_components": training.path / "pca.safetensors"}
    cell_files.write(
        aligned(generator.poisson(rate), training.genes, dataset="probe", label=labels), files["probe_cells"]
    )
    bench_commands.fit_pca(shards=training.path / "manifest.json", pca=files["probe_components"], components=3)
    return files
