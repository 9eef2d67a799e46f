"""Fixtures of pretraining: what `tiny` has, processes that start in no time, and the files of a probe."""

from __future__ import annotations

import multiprocessing
import os
import sys
from multiprocessing.context import BaseContext
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).parent))
from tiny import TABLE, GroupedCorpus, made_corpus, tiny_recipe

from celllm.bench import commands as bench_commands
from celllm.harmonise import cells as cell_files


@pytest.fixture(scope="session")
def forked(root: Path) -> BaseContext:
    """Processes are forked from one in which `tiny`, and with it all that trains, is loaded."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tiny", "celllm.pretrain.run", "celllm.harmonise.cells", "celllm.splits.units"])
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join([str(root / "src"), str(Path(__file__).parent)]))
        patch.setenv("OMP_NUM_THREADS", "1")
        first = context.Process(target=os.getpid)
        first.start()
    first.join()
    return context


@pytest.fixture
def corpus() -> GroupedCorpus:
    return made_corpus()


@pytest.fixture
def gene_embedding() -> NDArray[np.float32]:
    return TABLE.copy()


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
