"""Two and four processes take the step of one: same loss, same gradient, with uneven batches."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytestmark = pytest.mark.xdist_group("ranks")  # one worker: its fixture is dear

WORKER = Path(__file__).with_name("rank_worker.py")
SOURCE = Path(__file__).resolve().parents[2] / "src"


def run(folder: Path, sizes: list[int], **options: Any) -> list[dict[str, Any]]:
    folder.mkdir()
    environment = {**os.environ, "PYTHONPATH": str(SOURCE), "OMP_NUM_THREADS": "1"}
    processes = [
        subprocess.Popen(
            [sys.executable, WORKER, str(rank), str(len(sizes)), folder, json.dumps(sizes), json.dumps(options)],
            env=environment,
        )
        for rank in range(len(sizes))
    ]
    assert [process.wait(timeout=120) for process in processes] == [0] * len(sizes)
    return [json.loads((folder / f"{rank}.json").read_text()) for rank in range(len(sizes))]


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return run(tmp_path_factory.mktemp("ranks") / "alone", [9])[0]


@pytest.mark.parametrize("sizes", [[5, 4], [3, 1, 4, 1]], ids=["2 ranks", "4 ranks"])
def test_ranks_take_the_step_of_one_process(tmp_path: Path, alone: dict[str, Any], sizes: list[int]) -> None:
    for said in run(tmp_path / "ranks", sizes, check=True):
        assert said["loss"] == pytest.approx(alone["loss"], rel=1e-12)
        for name, expected in alone["gradients"].items():
            np.testing.assert_allclose(said["gradients"][name], expected, rtol=1e-9, atol=1e-12, err_msg=name)
        assert said["check"] < 1e-9
        assert said["pass"] < 1e-12
        assert said["idle"] == [True, True]  # what nobody trains gets no gradient, so no weight decay either


def test_ranks_that_keep_to_themselves_take_another_step(tmp_path: Path, alone: dict[str, Any]) -> None:
    apart = [run(tmp_path / str(size), [size])[0] for size in (5, 4)]
    for name, expected in alone["gradients"].items():
        added = np.add(*(said["gradients"][name] for said in apart))
        assert not np.allclose(added, expected, rtol=1e-3), name


def test_a_cell_that_is_not_finite_stops_every_rank_and_its_own_names_it(tmp_path: Path) -> None:
    said = run(tmp_path / "ranks", [5, 4], poisoned=6)
    assert said[0]["error"] == "an embedding of another rank is not finite"
    assert said[1]["error"] == "an embedding is not finite in chunk 0, cells 0, 1"
    for rank in said:
        assert not any(rank["gradients"].values())


def test_ranks_take_the_step_of_pretraining_of_one_process_with_all_three_losses(tmp_path: Path) -> None:
    alone = run(tmp_path / "alone", [9], step=True)[0]
    for said in run(tmp_path / "ranks", [2, 7], step=True):
        assert said["loss"] == pytest.approx(alone["loss"], rel=1e-9)
        for name, expected in alone["gradients"].items():
            if expected is None:
                assert said["gradients"][name] is None
            else:
                np.testing.assert_allclose(said["gradients"][name], expected, rtol=1e-7, atol=1e-10, err_msg=name)
        for name in ("loss", "masked", "masked_accuracy", "malignancy", "malignancy_accuracy", "contrastive"):
            assert said["figures"][name] == pytest.approx(alone["figures"][name], rel=1e-9), name
