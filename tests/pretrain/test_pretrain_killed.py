"""A training process that is killed or told to stop goes on to the weights of one that never was."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

N_KILLS = 20


def started(options: list[str], log: Path) -> subprocess.Popen[bytes]:
    with log.open("ab") as file:
        return subprocess.Popen([sys.executable, "-m", "celllm.pretrain.commands.pretrain", *options], stderr=file)


def wait_for(path: Path, process: subprocess.Popen[bytes], *, seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while not path.exists():
        assert process.poll() is None, "the process ended"
        assert time.monotonic() < deadline, f"no {path.name}"
        time.sleep(0.01)


@pytest.fixture
def long(training: Any, root: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A run with dropout, shuffling and a checkpoint each third step, for processes of their own."""
    monkeypatch.setenv("PYTHONPATH", str(root / "src"))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    write_recipe(training, n_steps=200)
    training.embed_genes()
    return training


def write_recipe(training: Any, *, n_steps: int) -> None:
    seen = {"checkpoint_every": 3, "log_every": 7, "validation_cells": 6, "validate_every": 10}
    training.write_recipe(encoder={"dropout": 0.1}, training={"steps": n_steps, **seen})


@pytest.mark.slow
def test_killed_at_random_moments_it_ends_with_the_same_encoder(
    long: Any, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(root / "perf"))
    from kills import survive

    told = survive(long.run_options, long.path, n_kills=N_KILLS)
    assert told.n_kills == N_KILLS
    assert told.same_encoder
    assert len({life.last_step for life in told.lives}) > N_KILLS / 4  # it was killed on its way, not before it began
    assert not list(long.path.glob("killed/*.part"))
    one, other = ((long.path / f"{name}.jsonl").read_text().splitlines() for name in ("straight", "killed"))
    assert [json.loads(row)["loss"] for row in one] == [json.loads(row)["loss"] for row in other]
    # the file that could be watched is whole, too
    assert (long.path / "killed" / "history.jsonl").read_text() == (long.path / "killed.jsonl").read_text()


@pytest.mark.slow
@pytest.mark.parametrize("ranks", [1, 2])
def test_a_signal_ends_it_with_a_checkpoint_and_its_own_status_and_it_goes_on_bit_for_bit(
    long: Any, ranks: int
) -> None:
    write_recipe(long, n_steps=50)
    devices = ["--devices", str(ranks), "--accelerator", "cpu"]
    log = long.path / "log"
    straight = started([*long.run_options("straight"), *devices], log)
    assert straight.wait(240) == 0, log.read_text()
    stopped = started([*long.run_options("stopped"), *devices], log)
    wait_for(long.path / "stopped" / "step00000006.safetensors", stopped)
    os.kill(stopped.pid, signal.SIGTERM)  # the first rank alone hears it
    assert stopped.wait(120) == 75, log.read_text()
    assert not (long.path / "stopped.safetensors").exists()
    said = log.read_text().splitlines()[-2:]
    assert "stopped by SIGTERM after step" in said[0]
    step = int(said[0].split("after step ")[1].split(";")[0])
    assert (long.path / "stopped" / f"step{step:08d}.safetensors").exists()
    assert 6 <= step < 50
    resumed = started([*long.run_options("stopped"), *devices], log)
    assert resumed.wait(240) == 0, log.read_text()
    assert f"going on from step {step}\n" in log.read_text()
    one, other = (long.path / f"{name}.safetensors" for name in ("straight", "stopped"))
    assert one.read_bytes() == other.read_bytes()
