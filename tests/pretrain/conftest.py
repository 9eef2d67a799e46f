"""Fixtures of pretraining: what `tiny` has, and processes that start in no time."""

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
