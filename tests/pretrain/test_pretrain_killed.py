"""A training process that is killed or told to stop goes on to the weights of one that never was."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.slow
STEPS = {"steps": 12, "checkpoint_every": 3, "log_every": 1, "validation_cells": 6, "validate_every": 5}


@pytest.fixture
def folder(training: Any) -> Any:
    """Inputs of a run with dropout, shuffling, validation and a checkpoint each third step."""
    training.write_recipe(encoder={"dropout": 0.1}, training=STEPS)
    training.embed_genes()
    return training


def start(training: Any, name: str, root: Path, *options: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "celllm", "pretrain", *training.run_options(name), *options],
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(root / "src"), "OMP_NUM_THREADS": "1"},
        text=True,
    )


def read_until(process: subprocess.Popen[str], step: int) -> str:
    """Read what a process says until it has taken a step."""
    assert process.stderr is not None
    said = ""
    for line in process.stderr:
        said += line
        if line.startswith(f"step {step}/"):
            return said
    pytest.fail(f"the process ended: {said}")


def test_killed_it_goes_on_to_the_same_encoder(folder: Any, root: Path) -> None:
    folder.pretrain(checkpoints="straight", encoder="straight.safetensors", history="straight.jsonl")
    killed = start(folder, "killed", root)
    read_until(killed, 7)
    killed.kill()
    killed.communicate()
    assert killed.returncode == -signal.SIGKILL
    checkpoints = sorted(path.name for path in (folder.path / "killed").glob("step*"))
    assert checkpoints[0] == "step00000003.safetensors"
    assert not (folder.path / "killed.safetensors").exists()
    folder.pretrain(checkpoints="killed", encoder="killed.safetensors", history="killed.jsonl")
    one, other = (folder.path / f"{name}.safetensors" for name in ("straight", "killed"))
    assert one.read_bytes() == other.read_bytes()
    assert not list(folder.path.glob("killed/*.part"))
    # the file that could be watched is whole, too
    assert (folder.path / "killed" / "history.jsonl").read_text() == (folder.path / "killed.jsonl").read_text()


def test_a_signal_to_one_of_two_ranks_ends_both_with_a_checkpoint_and_they_go_on_bit_for_bit(
    folder: Any, probed: dict[str, Path], root: Path
) -> None:
    folder.write_recipe(encoder={"dropout": 0.1}, training={**STEPS, "probe_every": 3, "select": "probe"})
    options = [part for name, file in probed.items() for part in (f"--{name.replace('_', '-')}", str(file))]
    ranks = ("--devices", "2", "--accelerator", "cpu", *options)
    straight = start(folder, "straight", root, *ranks)
    stopped = start(folder, "stopped", root, *ranks)
    said = read_until(stopped, 4)
    stopped.send_signal(signal.SIGTERM)  # the first rank alone hears it
    said += stopped.communicate()[1]
    assert stopped.returncode == 75, said
    step = int(said.split("stopped by SIGTERM after step ")[1].split(";")[0])
    assert 4 <= step < 12
    assert (folder.path / "stopped" / f"step{step:08d}.safetensors").exists()
    assert not (folder.path / "stopped.safetensors").exists()
    resumed = start(folder, "stopped", root, *ranks)
    said = resumed.communicate()[1]
    assert resumed.returncode == 0, said
    assert f"going on from step {step}\n" in said
    assert straight.communicate()[1]
    assert straight.returncode == 0
    one, other = (folder.path / f"{name}.safetensors" for name in ("straight", "stopped"))
    assert one.read_bytes() == other.read_bytes()
