"""From shards and a network to an encoder and embeddings, by the commands that the workflow calls."""

from __future__ import annotations

import json
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
from celllm.contracts import counts, edges, embeddings, gene_table, history, vocabulary
from celllm.contracts.edges import Edges
from celllm.contracts.vocabulary import Vocabulary
from celllm.errors import InputError, VocabularyMismatch
from celllm.model.store import load_encoder
from celllm.shards import writer
from celllm.shards.writer import Excluded

N_CELLS, N_GENES = 50, 40


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

    def pretrain(self, **changes: str) -> None:
        names = ("recipe", "shards", "genes", "vocabulary", "checkpoints", "encoder", "history")
        pretrain.main([*self.options(*names, **changes), "--seed", "0"])

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
def folder(tmp_path: Path, vocabulary: Vocabulary, generator: np.random.Generator) -> Folder:
    made = write_inputs(tmp_path, vocabulary, generator)
    made.write_recipe()
    return made


def write_inputs(path: Path, genes: Vocabulary, generator: np.random.Generator) -> Folder:
    vocabulary.write(genes, path / "genes.tsv")
    a, b = np.triu_indices(30, k=1)  # ten genes have no edge
    is_edge = generator.random(len(a)) < 0.3
    a, b = a[is_edge].astype(np.int32), b[is_edge].astype(np.int32)
    edges.write(Edges(a, b, genes.digest, "test"), path / "edges.parquet")
    matrix = sparse.csr_matrix(generator.poisson(1.0, (N_CELLS, N_GENES)))
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


def test_the_chain_ends_in_an_encoder_a_history_and_embeddings(folder: Folder, capsys: Any) -> None:
    folder.embed_genes()
    folder.pretrain()
    folder.embed_cells()
    table = gene_table.read(folder.path / "table.safetensors", vocabulary=folder.genes.digest)
    assert table.report["genes_without_edges"] == 10
    loaded = load_encoder(folder.path / "encoder.safetensors", vocabulary=folder.genes.digest)
    np.testing.assert_array_equal(loaded.encoder.embedding.genes.weight[:N_GENES].numpy(), table.genes_GD)
    rows = history.read(folder.path / "history.jsonl")
    assert rows["step"].tolist() == [2, 4]
    assert {"loss", "masked", "contrastive", "malignancy", "masked_majority", "cells_per_s"} <= set(rows.columns)
    ids, values, labels = embeddings.read(folder.path / "embeddings.parquet")
    assert list(ids) == list(folder.cells.obs_names)
    assert values.shape == (N_CELLS, 8)
    assert np.std(values, axis=0).min() > 0
    assert set(labels) == {"x"}
    shown = capsys.readouterr()
    assert "40 genes by graphmae, 10 without an edge" in shown.out
    assert "step 4/4  loss " in shown.err


def test_a_run_without_its_encoder_goes_on_from_the_checkpoint_to_the_same_encoder(
    folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder.embed_genes()
    folder.pretrain(checkpoints="straight", encoder="straight.safetensors", history="straight.jsonl")
    real = pretrain.pretrain

    class Killed(BaseException):
        pass

    def killed(*args: Any, **options: Any) -> Any:
        real(*args, **options, stop_after=3)
        raise Killed

    monkeypatch.setattr(pretrain, "pretrain", killed)
    with pytest.raises(Killed):
        folder.pretrain()
    assert not (folder.path / "encoder.safetensors").exists()
    assert not (folder.path / "history.jsonl").exists()
    monkeypatch.undo()
    folder.pretrain()
    one, other = (folder.path / name for name in ("straight.safetensors", "encoder.safetensors"))
    assert one.read_bytes() == other.read_bytes()


def test_the_recipe_of_scbert_keeps_its_panel_in_the_encoder(folder: Folder) -> None:
    folder.write_recipe(
        tokens={"layout": "full", "panel_size": 12},
        genes={"method": "svd"},
        objectives={"contrastive": {"weight": 0}, "malignancy": {"weight": 0}},
    )
    folder.embed_genes()
    folder.pretrain()
    folder.embed_cells()
    panel = load_encoder(folder.path / "encoder.safetensors", vocabulary=None).panel
    assert panel is not None
    assert len(panel) == 12
    assert json.loads((folder.path / "history.jsonl").read_text().splitlines()[0])["contrastive"] is None


def test_a_recipe_that_learns_its_table_needs_no_network_knowledge(folder: Folder) -> None:
    folder.write_recipe(genes={"method": "learned"})
    folder.embed_genes()
    folder.pretrain()
    loaded = load_encoder(folder.path / "encoder.safetensors", vocabulary=None)
    assert loaded.encoder.embedding.genes.weight.requires_grad


def test_a_table_of_another_width_is_refused(folder: Folder) -> None:
    folder.embed_genes()
    folder.write_recipe(encoder={"width": 16})
    with pytest.raises(InputError, match=r"(?s)width 16.*width 8.*snakemake --forcerun embed_genes"):
        folder.pretrain()


def test_a_corpus_smaller_than_a_batch_is_refused(folder: Folder) -> None:
    folder.embed_genes()
    folder.write_recipe(training={"batch_cells": 64})
    with pytest.raises(InputError, match=r"(?s)one batch, 64 cells.*50 cells.*training\.batch_cells"):
        folder.pretrain()


def test_a_network_smaller_than_the_width_is_refused(folder: Folder) -> None:
    folder.write_recipe(encoder={"width": 32})
    with pytest.raises(InputError, match=r"(?s)more than 32 genes.*network of 30 genes"):
        folder.embed_genes()


@pytest.mark.parametrize("command", ["embed_genes", "pretrain", "embed_cells"])
def test_artefacts_of_another_vocabulary_are_refused(folder: Folder, command: str) -> None:
    folder.embed_genes()
    folder.pretrain()
    renamed = folder.genes.genes.assign(symbol=[f"OTHER{i}" for i in range(N_GENES)])
    vocabulary.write(Vocabulary(renamed), folder.path / "genes.tsv")
    with pytest.raises(VocabularyMismatch):
        getattr(folder, command)()


def test_values_without_a_token_rule_are_refused(folder: Folder) -> None:
    folder.embed_genes()
    folder.pretrain()
    folder.cells.uns["values"] = "linear"
    counts.write(folder.cells, folder.path / "cells.h5ad")
    with pytest.raises(InputError, match=r"(?s)counts or zscore.*linear"):
        folder.embed_cells()
