"""A tiny vocabulary, tiny cells with classes that genes tell apart, tiny cell lines, a tiny encoder."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from celllm.contracts.predictions import PredictionsMeta
from celllm.contracts.vocabulary import Vocabulary
from celllm.tasks.data import Cells, Pairs

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


@pytest.fixture
def encoder_file(tmp_path: Path, vocabulary: Vocabulary) -> Path:
    """An encoder of two layers of width 16, not trained."""
    torch = pytest.importorskip("torch")
    from celllm.contracts import recipe as recipes
    from celllm.model.encoder import Encoder
    from celllm.model.store import save_encoder

    recipe = recipes.parse(
        {
            "tokens": {"max_length": 24},
            "genes": {"method": "random"},
            "encoder": {"width": 16, "depth": 2, "heads": 2, "head_width": 8},
            "training": {"batch_cells": 8, "chunk_tokens": 128, "steps": 1},
        },
        file="tiny",
    )
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(5)
        encoder = Encoder(recipe.encoder, n_genes=N_GENES, gene_table=torch.randn(N_GENES, 16))
    path = tmp_path / "encoder.safetensors"
    save_encoder(path, encoder, recipe=recipe, vocabulary=vocabulary.digest)
    return path


@pytest.fixture
def components_file(tmp_path: Path, cells: Cells, vocabulary: Vocabulary) -> Path:
    """Four principal components of the tiny cells."""
    from celllm.baselines.components import fit_components
    from celllm.contracts import components

    found = fit_components(
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
