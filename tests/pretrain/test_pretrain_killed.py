"""A training process that is killed or told to stop goes on to the weights of one that never was."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from multiprocessing.context import BaseContext
from pathlib import Path
from typing import Any

import pytest
from tiny import pretrain_files

pytestmark = pytest.mark.slow
STEPS = {"steps": 8, "checkpoint_every": 2, "log_every": 1, "validation_cells": 6, "validate_every": 3}


def run_of(training: Any, name: str) -> dict[str, Any]:
    """Files of a run of this name."""
    files = {"checkpoints": name, "encoder": f"{name}.safetensors", "history": f"{name}.jsonl"}
    files |= {"shards": "manifest.json", "genes": "embedding.safetensors", "vocabulary": "genes.tsv"}
    return {option: training.path / file for option, file in files.items()}


def start(forked: BaseContext, training: Any, name: str, *, ranks: int = 1, **options: Any) -> list[Any]:
    """Start the processes of a run, several as torchrun does."""
    processes = []
    for rank in range(ranks):
        environment = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": ranks, "MASTER_ADDR": "localhost"}
        environment |= {"MASTER_PORT": 29_400 + os.getpid() % 500, "TORCHELASTIC_RUN_ID": name}
        given = {key: str(value) for key, value in environment.items()} if ranks > 1 else {}
        arguments = (training.path / "recipe.yaml", run_of(training, name) | options, given)
        processes.append(forked.Process(target=pretrain_files, args=arguments))
        processes[-1].start()
    return processes


def ended(processes: list[Any]) -> list[int]:
    for process in processes:
        process.join()
    return [process.exitcode for process in processes]


def same(training: Any, *names: str) -> bool:
    return len({(training.path / f"{name}.safetensors").read_bytes() for name in names}) == 1


def test_killed_it_goes_on_to_the_same_encoder(training: Any, forked: BaseContext) -> None:
    training.write_recipe(encoder={"dropout": 0.1}, training=STEPS)
    training.embed_genes()
    training.pretrain(checkpoints="straight", encoder="straight.safetensors", history="straight.jsonl")
    [killed] = start(forked, training, "killed")
    while killed.is_alive() and not (training.path / "killed/step00000004.safetensors").exists():
        time.sleep(0.002)
    killed.kill()
    assert ended([killed]) == [-signal.SIGKILL]
    assert not (training.path / "killed.safetensors").exists()
    training.pretrain(checkpoints="killed", encoder="killed.safetensors", history="killed.jsonl")
    assert same(training, "straight", "killed")
    assert not list(training.path.glob("killed/*.tmp"))
    # the file that could be watched is whole, too
    assert (training.path / "killed" / "history.jsonl").read_text() == (training.path / "killed.jsonl").read_text()


def test_a_signal_to_one_of_two_ranks_ends_both_with_a_checkpoint_and_they_go_on_bit_for_bit(
    training: Any, probed: dict[str, Path], root: Path, forked: BaseContext
) -> None:
    """The command starts its second rank by itself, but where something like torchrun has done so."""
    training.write_recipe(encoder={"dropout": 0.1}, training={**STEPS, "probe_every": 3, "select": "probe"})
    training.embed_genes()
    straight = start(forked, training, "straight", ranks=2, devices=2, **probed)
    options = [part for name, file in probed.items() for part in (f"--{name.replace('_', '-')}", str(file))]
    command = ["pretrain", *training.run_options("stopped"), "--devices", "2", "--accelerator", "cpu", *options]
    environment = {**os.environ, "PYTHONPATH": str(root / "src"), "OMP_NUM_THREADS": "1"}
    stopped = subprocess.Popen(
        [sys.executable, "-m", "celllm", *command], stderr=subprocess.PIPE, env=environment, text=True
    )
    said = ""
    for line in stopped.stderr or ():
        said += line
        if line.startswith("step 3/"):
            stopped.send_signal(signal.SIGTERM)  # the first rank alone hears it
            break
    said += stopped.communicate()[1]
    assert stopped.returncode == 75, said
    step = int(said.split("stopped by SIGTERM after step ")[1].split(";")[0])
    assert 3 <= step < 8
    assert (training.path / "stopped" / f"step{step:08d}.safetensors").exists()
    assert not (training.path / "stopped.safetensors").exists()
    assert ended(straight) == [0, 0]
    assert ended(start(forked, training, "stopped", ranks=2, devices=2, **probed)) == [0, 0]
    assert same(training, "straight", "stopped")
