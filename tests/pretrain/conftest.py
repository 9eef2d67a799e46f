"""Processes of pretraining that start in no time."""

from __future__ import annotations

import multiprocessing
import os
import sys
from multiprocessing.context import BaseContext
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))


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
