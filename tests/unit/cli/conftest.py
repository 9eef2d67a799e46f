"""Everything that pretraining reads, in a folder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import yaml
from scipy import sparse

from celllm.cli import embed_cells, embed_genes, pretrain
from celllm.contracts import counts, edges, vocabulary
from celllm.contracts.edges import Edges
from celllm.contracts.vocabulary import Vocabulary
from celllm.shards import writer
from celllm.shards.writer import Excluded

N_CELLS = 50


@dataclass
class Folder:
    """Inputs of the three commands in a folder, and the commands with their options."""

    path: Path
    genes: Vocabulary
    cells: ad.AnnData

    def options(self, *names: str, **changes: str) -> list[str]:
        files = {
            "recipe": "recipe.yaml",
            "network": "edges.parquet",
            "vocabulary": "genes.tsv",
            "table": "table.safetensors",
            "genes": "table.safetensors",
            "shards": "manifest.json",
            "checkpoints": "checkpoints",
            "encoder": "encoder.safetensors",
            "history": "history.jsonl",
            "cells": "cells.h5ad",
            "embeddings": "embeddings.parquet",
        } | changes
        return [part for name in names for part in (f"--{name}", str(self.path / files[name]))]

    def embed_genes(self) -> None:
        embed_genes.main([*self.options("recipe", "network", "vocabulary", "table"), "--seed", "0"])

    def training_options(self, **changes: str) -> list[str]:
        names = ("recipe", "shards", "genes", "vocabulary", "checkpoints", "encoder", "history")
        return [*self.options(*names, **changes), "--seed", "0"]

    def run_options(self, name: str) -> list[str]:
        """Options of a run of this name: its checkpoints, encoder and history bear it."""
        return self.training_options(checkpoints=name, encoder=f"{name}.safetensors", history=f"{name}.jsonl")

    def pretrain(self, **changes: str) -> None:
        pretrain.main(self.training_options(**changes))

    def embed_cells(self) -> None:
        embed_cells.main(self.options("encoder", "cells", "vocabulary", "embeddings"))

    def write_recipe(self, **changes: dict[str, Any]) -> None:
        values: dict[str, dict[str, Any]] = {
            "tokens": {"max_length": 24, "target_sum": 100},
            "genes": {"method": "graphmae", "epochs": 5, "hidden": 8},
            "encoder": {"width": 8, "depth": 1, "heads": 2, "head_width": 4},
            "training": {"batch_cells": 10, "chunk_tokens": 128, "steps": 4, "log_every": 2, "checkpoint_every": 1},
        }
        for section, keys in changes.items():
            values[section] = {**values.get(section, {}), **keys}
        (self.path / "recipe.yaml").write_text(yaml.safe_dump(values))


@pytest.fixture
def training(tmp_path: Path, vocabulary: Vocabulary, generator: np.random.Generator) -> Folder:
    """Inputs of pretraining, of 50 cells and 40 genes, and a recipe of four steps."""
    made = write_inputs(tmp_path, vocabulary, generator)
    made.write_recipe()
    return made


def write_inputs(path: Path, genes: Vocabulary, generator: np.random.Generator) -> Folder:
    vocabulary.write(genes, path / "genes.tsv")
    a, b = np.triu_indices(30, k=1)  # ten genes have no edge
    is_edge = generator.random(len(a)) < 0.3
    a, b = a[is_edge].astype(np.int32), b[is_edge].astype(np.int32)
    edges.write(Edges(a, b, genes.digest, "test"), path / "edges.parquet")
    matrix = sparse.csr_matrix(generator.poisson(1.0, (N_CELLS, genes.n_genes)))
    obs = pd.DataFrame(
        {
            "sample": "s",
            "donor": "s",
            "study": "d",
            "label": "x",
            "is_malignant": np.arange(N_CELLS) % 2,
            "n_counts": np.asarray(matrix.sum(1)).ravel(),
            "n_genes": np.diff(matrix.indptr),
            "cell_hash": [f"{i:02x}" for i in range(N_CELLS)],
        },
        index=[f"d:{i}" for i in range(N_CELLS)],
    )
    cells = counts.build(matrix, obs, vocabulary=genes, dataset="d", values="counts", simulated=True, provenance={})
    counts.write(cells, path / "cells.h5ad")
    writer.write(
        [path / "cells.h5ad"],
        path / "manifest.json",
        vocabulary=genes.digest,
        n_genes=genes.n_genes,
        excluded=Excluded(ids=(), hashes={}),
        shard_cells=20,
        seed=0,
        provenance={},
    )
    return Folder(path, genes, cells)
