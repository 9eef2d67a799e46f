"""Two processes with uneven parts of a batch take the step of one: same loss, same gradient."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent))
from rank_worker import pretraining_step, small_step, views_step

SIZES = [3, 6]
N_CELLS = sum(SIZES)
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def ranks(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """What each of two processes has found."""
    folder = tmp_path_factory.mktemp("ranks")
    worker = Path(__file__).with_name("rank_worker.py")
    source = Path(__file__).resolve().parents[2] / "src"
    processes = [
        subprocess.Popen(
            [sys.executable, worker, str(rank), str(len(SIZES)), folder, json.dumps(SIZES)],
            env={**os.environ, "PYTHONPATH": str(source), "OMP_NUM_THREADS": "1"},
        )
        for rank in range(len(SIZES))
    ]
    assert [process.wait(timeout=240) for process in processes] == [0] * len(SIZES)
    return [json.loads((folder / f"{rank}.json").read_text()) for rank in range(len(SIZES))]


def assert_same(found: dict[str, Any], expected: dict[str, Any], *, rel: float) -> None:
    assert found["loss"] == pytest.approx(expected["loss"], rel=rel)
    for name, gradient in expected["gradients"].items():
        if gradient is None:
            assert found["gradients"][name] is None
        else:
            np.testing.assert_allclose(found["gradients"][name], gradient, rtol=1e-7, atol=1e-10, err_msg=name)


def test_ranks_take_the_step_of_one_process(ranks: list[dict[str, Any]]) -> None:
    alone = small_step(slice(0, N_CELLS), N_CELLS, None)
    for found in ranks:
        assert_same(found["small"], alone, rel=1e-12)
        assert found["small"]["check"] < 1e-9
        assert found["small"]["pass"] < 1e-12
        assert found["small"]["idle"] == [True, True]  # what nobody trains gets no gradient, so no weight decay either


def test_ranks_that_keep_to_themselves_take_another_step() -> None:
    alone = small_step(slice(0, N_CELLS), N_CELLS, None)
    apart = [small_step(own, N_CELLS, None) for own in (slice(0, 3), slice(3, 9))]
    for name, expected in alone["gradients"].items():
        added = np.add(*(found["gradients"][name] for found in apart))
        assert not np.allclose(added, expected, rtol=1e-3) or name.startswith("head"), name


def test_a_cell_that_is_not_finite_stops_every_rank_and_its_own_names_it(ranks: list[dict[str, Any]]) -> None:
    assert ranks[0]["poisoned"]["error"] == "an embedding of another rank is not finite"
    assert ranks[1]["poisoned"]["error"] == "an embedding is not finite in chunk 1, cells 2, 3"
    for found in ranks:
        assert not any(found["poisoned"]["gradients"].values())


@pytest.mark.parametrize(("name", "step"), [("pretraining", pretraining_step), ("views", views_step)])
def test_ranks_take_the_step_of_pretraining_of_one_process_with_all_three_losses(
    ranks: list[dict[str, Any]], name: str, step: Callable[..., dict[str, Any]]
) -> None:
    alone = step(slice(0, N_CELLS), N_CELLS, None)
    shared = ("loss", "masked", "masked_accuracy", "masked_cell_mode", "malignancy", "contrastive", "contrastive_depth")
    for found in ranks:
        assert_same(found[name], alone, rel=1e-9)
        for figure in shared:
            assert found[name]["figures"][figure] == pytest.approx(alone["figures"][figure], rel=1e-6), figure
