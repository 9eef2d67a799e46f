"""Fixtures of all tests: real data where there is some, tiny cells and lines, an encoder, inputs of pretraining."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import yaml
from scipy import sparse
from tests.recipes import tiny, tiny_values

from celllm.annotate import commands as annotate_commands
from celllm.bench import commands as bench_commands
from celllm.bench.predictions import PredictionsMeta
from celllm.config import recipe as recipes
from celllm.config.tables import Task
from celllm.corpus import writer
from celllm.genes import commands as genes_commands
from celllm.genes import network
from celllm.genes.network import Edges
from celllm.harmonise import cells as counts
from celllm.harmonise import vocabulary as vocabulary_file
from celllm.harmonise.vocabulary import Vocabulary
from celllm.pretrain import commands as pretraining
from celllm.splits.units import Cells, Pairs

ROOT = Path(__file__).resolve().parents[1]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the whole chains, so that no worker ends alone with the longest file."""
    items.sort(key=lambda item: "smoke" not in item.path.parts)


@pytest.fixture(scope="session")
def root() -> Path:
    """The checkout's root folder."""
    return ROOT


@pytest.fixture(scope="session")
def mirror() -> Path:
    """The mirror folder of real data that CELLLM_MIRROR names; skips where there is none."""
    named = os.environ.get("CELLLM_MIRROR")
    if named is None or not (Path(named) / "README.md").is_file():
        pytest.skip(f"no mirror of real data at {named}; set CELLLM_MIRROR")
    return Path(named).resolve()


@pytest.fixture
def generator() -> np.random.Generator:
    """A seeded generator, new for each test."""
    return np.random.default_rng(0)


N_GENES = 40
CLASSES = ("alpha", "beta", "gamma")
SMILES = {"aspirin": "CC(=O)OC1=CC=CC=C1C(=O)O", "caffeine": "CN1C=NC2=C1C(=O)N(C(=O)N2C)C", "ethanol": "CCO"}


@pytest.fixture
def vocabulary() -> Vocabulary:
    """Forty genes."""
    names = [f"GENE{number:02d}" for number in range(N_GENES)]
    return Vocabulary(pd.DataFrame({"symbol": names, "hgnc_id": names, "ensembl": "", "entrez": ""}))


@pytest.fixture
def cells() -> Cells:
    """Ninety cells, thirty a class; each class has eight marker genes, and now and then expresses any other gene."""
    generator = np.random.default_rng(7)
    number = np.repeat(np.arange(len(CLASSES)), 30)
    means = np.full((len(number), N_GENES), 0.2)
    for label in range(len(CLASSES)):
        means[number == label, 8 * label : 8 * label + 8] = 4.0
    return Cells(
        counts=sparse.csr_matrix(generator.poisson(means).astype(np.float32)),
        values="counts",
        labels=np.array(CLASSES, dtype=str)[number],
        cell_ids=np.array([f"tiny:{cell}" for cell in range(len(number))]),
        simulated=True,
    )


@pytest.fixture
def parts() -> dict[str, np.ndarray]:
    """Rows of `cells` for training, validation and test; each class in each part."""
    order = np.random.default_rng(1).permutation(90)
    return {"train": np.sort(order[:54]), "validation": np.sort(order[54:66]), "test": np.sort(order[66:])}


@pytest.fixture
def pairs() -> Pairs:
    """Thirty lines, three drugs; a line's response to a drug follows one gene, which differs by drug."""
    generator = np.random.default_rng(3)
    expression = generator.normal(size=(30, N_GENES)).astype(np.float32)
    line, drug = (index.ravel() for index in np.meshgrid(np.arange(30), np.arange(3), indexing="ij"))
    response = 2.0 * drug + 1.5 * expression[line, drug] + 0.1 * generator.normal(size=len(line))
    return Pairs(
        expression=sparse.csr_matrix(expression),
        values="zscore",
        line_ids=np.array([f"line{number:02d}" for number in range(30)]),
        drugs=list(SMILES),
        smiles=list(SMILES.values()),
        line=line,
        drug=drug,
        response=response,
        simulated=True,
    )


@pytest.fixture(scope="session")
def cells_task() -> Task:
    """A task of cells, stratified at random."""
    return Task(
        task="types",
        kind="classification",
        title="Types",
        dataset="tiny",
        response=None,
        split="random",
        split_seeds=(0, 1, 2),
        train=0.7,
        validation=0.1,
        test=0.2,
        min_class_size=5,
        protocol="clean",
        headline="macro_f1",
    )


@pytest.fixture(scope="session")
def pairs_task(cells_task: Task) -> Task:
    """A task of pairs of line and drug."""
    kind = {"kind": "regression", "split": "pairs", "response": "tiny", "headline": "pearson"}
    return replace(cells_task, task="lines", **kind, train=0.8, validation=0.1, test=0.1)


@pytest.fixture
def encoder_file(tmp_path: Path, vocabulary: Vocabulary) -> Path:
    """An encoder of two layers of width 16, not trained."""
    torch = pytest.importorskip("torch")
    from celllm.model.encoder import Encoder
    from celllm.model.store import save_encoder

    recipe = tiny()
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(5)
        encoder = Encoder(recipe.encoder, n_genes=N_GENES, gene_embedding=torch.randn(N_GENES, 16))
    path = tmp_path / "encoder.safetensors"
    save_encoder(path, encoder, recipe=recipe, vocabulary=vocabulary.digest)
    return path


@pytest.fixture
def components_file(tmp_path: Path, cells: Cells, vocabulary: Vocabulary) -> Path:
    """Four principal components of the tiny cells."""
    from celllm.corpus import components

    found = components.fit_pca(
        lambda rows: cells.counts[rows], n_cells=90, vocabulary=vocabulary.digest, n_components=4, cells_at_once=40
    )
    components.write(found, tmp_path / "pca.safetensors")
    return tmp_path / "pca.safetensors"


@pytest.fixture
def made_of() -> Callable[..., PredictionsMeta]:
    """Make the metadata of predictions, with these values and small ones for the rest."""

    def make(**values: Any) -> PredictionsMeta:
        rest: dict[str, Any] = {
            "task": "types",
            "method": "m",
            "split": 0,
            "seed": 0,
            "kind": "classification",
            "simulated": False,
            "n_train": 10,
            "n_validation": 0,
            "n_test": 4,
            "options": {"C": 0.1},
            "trials": (),
            "fit_s": 1.5,
            "predict_s": 0.5,
            "peak_mb": 100.0,
            "trained_parameters": 7,
            "vocabulary": "v",
            "encoder": None,
            "provenance": {},
        }
        return PredictionsMeta(**{**rest, **values})

    return make


def aligned_cells(
    matrix: Any, genes: Vocabulary, *, dataset: str = "d", units: str = "counts", simulated: bool = False, **obs: Any
) -> ad.AnnData:
    """Aligned cells, named by data set and number; `obs` says what is known of them."""
    matrix = sparse.csr_matrix(matrix)
    names = [f"{dataset}:{number}" for number in range(matrix.shape[0])]
    known = {"sample": "s", "donor": "s", "study": dataset, "label": "x", "is_malignant": 0}
    known |= {"n_counts": np.asarray(matrix.sum(1)).ravel(), "n_genes": np.diff(matrix.indptr), "cell_hash": names}
    table = pd.DataFrame(known | obs, index=names)
    facts = {"dataset": dataset, "units": units, "simulated": simulated, "provenance": {}}
    return counts.build(matrix, table, vocabulary=genes, **facts)


@pytest.fixture(scope="session")
def aligned() -> Callable[..., ad.AnnData]:
    """Make aligned cells."""
    return aligned_cells


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
            "genes": "embedding.safetensors",
            "shards": "manifest.json",
            "checkpoints": "checkpoints",
            "encoder": "encoder.safetensors",
            "history": "history.jsonl",
            "cells": "cells.h5ad",
            "embeddings": "embeddings.parquet",
        } | changes
        return [part for name in names for part in (f"--{name}", str(self.path / files[name]))]

    def embed_genes(self) -> None:
        genes_commands.embed_genes(
            recipe=recipes.read(self.path / "recipe.yaml"),
            network=self.path / "edges.parquet",
            shards=self.path / "manifest.json",
            vocabulary=self.path / "genes.tsv",
            seed=0,
            embedding=self.path / "embedding.safetensors",
        )

    def training_options(self, **changes: str) -> list[str]:
        names = ("recipe", "shards", "genes", "vocabulary", "checkpoints", "encoder", "history")
        return [*self.options(*names, **changes), "--seed", "0"]

    def run_options(self, name: str) -> list[str]:
        """Options of a run of this name: its checkpoints, encoder and history bear it."""
        return self.training_options(checkpoints=name, encoder=f"{name}.safetensors", history=f"{name}.jsonl")

    def pretrain(self, *, probed: Mapping[str, Path] | None = None, **changes: str) -> None:
        options = self.training_options(**changes)
        names, files = options[:-2:2], options[1:-2:2]
        paths = {name.removeprefix("--"): Path(file) for name, file in zip(names, files, strict=True)}
        recipe = recipes.read(paths.pop("recipe"))
        pretraining.pretrain(recipe=recipe, seed=0, **paths, **(probed or {}))

    def embed_cells(self) -> None:
        files = {"encoder": "encoder.safetensors", "cells": "cells.h5ad", "vocabulary": "genes.tsv"}
        files |= {"embeddings": "embeddings.parquet"}
        annotate_commands.embed_cells(**{name: self.path / file for name, file in files.items()})

    def write_recipe(self, **changes: dict[str, Any]) -> None:
        small: dict[str, dict[str, Any]] = {
            "tokens": {"target_sum": 100},
            "genes": {"method": "graphmae", "epochs": 5, "hidden": 8},
            "encoder": {"width": 8, "depth": 1, "head_width": 4},
            "training": {"batch_cells": 10, "steps": 4, "log_every": 2, "checkpoint_every": 1},
        }
        values = tiny_values(**{name: small.get(name, {}) | changes.get(name, {}) for name in {**small, **changes}})
        (self.path / "recipe.yaml").write_text(yaml.safe_dump(values))


@pytest.fixture
def training(tmp_path: Path, vocabulary: Vocabulary, generator: np.random.Generator) -> Folder:
    """Inputs of pretraining, of 50 cells and 40 genes, and a recipe of four steps."""
    made = write_inputs(tmp_path, vocabulary, generator)
    made.write_recipe()
    return made


@pytest.fixture
def probed(training: Folder, generator: np.random.Generator) -> dict[str, Path]:
    """Files of a probe beside the inputs of `training`: 60 cells of two types, and components of the corpus."""
    labels = np.array(["a", "b"])[np.arange(60) % 2]
    rate = np.where((np.arange(training.genes.n_genes) < 20) == (labels[:, None] == "a"), 2.0, 1.0)
    files = {"probe_cells": training.path / "probe.h5ad", "probe_components": training.path / "pca.safetensors"}
    cells = aligned_cells(generator.poisson(rate), training.genes, dataset="probe", label=labels)
    cells.write_h5ad(files["probe_cells"])
    bench_commands.fit_pca(shards=training.path / "manifest.json", pca=files["probe_components"], components=3)
    return files


def write_inputs(path: Path, genes: Vocabulary, generator: np.random.Generator) -> Folder:
    vocabulary_file.write(genes, path / "genes.tsv")
    a, b = np.triu_indices(30, k=1)  # ten genes have no edge
    is_edge = generator.random(len(a)) < 0.3
    a, b = a[is_edge].astype(np.int32), b[is_edge].astype(np.int32)
    network.write(Edges(a, b, genes.digest, "test"), path / "edges.parquet")
    matrix = sparse.csr_matrix(generator.poisson(1.0, (N_CELLS, genes.n_genes)))
    cells = aligned_cells(matrix, genes, simulated=True, is_malignant=np.arange(N_CELLS) % 2)
    cells.write_h5ad(path / "cells.h5ad")
    writer.write(
        path / "cells.h5ad",
        path / "simulated" / "manifest.json",
        vocabulary=genes.digest,
        n_genes=genes.n_genes,
        tested=(),
        hashes={},
        shard_cells=20,
        provenance={},
    )
    writer.join([path / "simulated" / "manifest.json"], path / "manifest.json", seed=0, provenance={})
    return Folder(path, genes, cells)
