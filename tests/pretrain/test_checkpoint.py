"""Checkpoints are whole or absent: the last few and the best are kept, and a failing disk loses nothing."""

from __future__ import annotations

import platform
import resource
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from celllm.base.errors import InputError
from celllm.pretrain.checkpoint import BEST, CheckpointError, Checkpoints, Progress, RunIdentity

IDENTITY = RunIdentity("recipe", "vocabulary", "shards", "genes", 0, "pretrain")


def progress(step: int) -> Progress:
    return Progress(step, {"n_drawn": step}, chunk_tokens=7, history=[{"step": step}], best={"step": 1, "loss": 0.5})


class Kept:
    """Checkpoints of a small module and its optimiser."""

    def __init__(self, folder: Path) -> None:
        self.checkpoints, self.module = Checkpoints(folder, IDENTITY, keep_last=2), nn.Linear(200, 100)
        self.optimiser = torch.optim.AdamW(self.module.parameters())
        self.module(torch.ones(1, 200)).sum().backward()
        self.optimiser.step()

    def save(self, step: int, *, is_best: bool = False) -> None:
        self.checkpoints.save(self.module, self.optimiser, progress(step), is_best=is_best)

    def load(self) -> Progress | None:
        return self.checkpoints.load(self.module, self.optimiser)

    def files(self) -> list[str]:
        return sorted(path.name for path in self.checkpoints.folder.iterdir())


@pytest.fixture
def kept(tmp_path: Path) -> Kept:
    return Kept(tmp_path / "run")


@contextmanager
def files_no_larger_than(n_bytes: int) -> Iterator[None]:
    """Let the system refuse to write more, as it does when a disk is full."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (n_bytes, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_what_is_loaded_is_what_was_saved(kept: Kept) -> None:
    kept.save(5)
    weights, moments = kept.module.weight.clone(), kept.optimiser.state_dict()["state"][0]["exp_avg"].clone()
    with torch.no_grad():
        kept.module.weight.zero_()
    kept.optimiser = torch.optim.AdamW(kept.module.parameters())
    assert kept.load() == progress(5)
    assert torch.equal(kept.module.weight, weights)
    assert torch.equal(kept.optimiser.state_dict()["state"][0]["exp_avg"], moments)


def test_the_last_few_and_the_best_are_kept(kept: Kept) -> None:
    for step in (1, 2, 3, 12):
        nn.init.constant_(kept.module.bias, step)
        kept.save(step, is_best=step == 2)
    assert kept.files() == [BEST, "step00000003.safetensors", "step00000012.safetensors"]
    kept.checkpoints.load_best(kept.module)
    assert kept.module.bias.eq(2).all()
    assert kept.load() == progress(12)


def test_a_disk_that_is_full_is_said_and_leaves_the_checkpoint_before(kept: Kept) -> None:
    kept.save(1)
    with files_no_larger_than(50_000), pytest.raises(CheckpointError) as caught:
        kept.save(2, is_best=True)
    assert "the checkpoint of step 1 is whole" in str(caught.value)
    assert f"make room on the disk (df -h {kept.checkpoints.folder})" in str(caught.value)
    assert kept.files() == ["step00000001.safetensors"]
    assert kept.load() == progress(1)
    kept.save(2)
    assert kept.load() == progress(2)


def test_the_best_that_does_not_fit_is_no_step_either(kept: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        message = "No space left on device"
        raise OSError(message)

    monkeypatch.setattr("shutil.copyfile", full)
    with pytest.raises(CheckpointError, match="there is no earlier checkpoint"):
        kept.save(2, is_best=True)
    assert kept.load() is None  # so that the run makes its best again


def test_one_that_is_cut_short_is_passed_over_aloud(kept: Kept, capsys: pytest.CaptureFixture[str]) -> None:
    for step in (1, 2):
        kept.save(step)
    last = kept.checkpoints.path(2)
    last.write_bytes(last.read_bytes()[:-100])
    assert kept.load() == progress(1)
    said = capsys.readouterr().err
    assert str(last) in said
    assert "going on from step 1 instead" in said


def test_a_folder_without_a_readable_one_is_refused_and_half_written_files_are_cleared(kept: Kept) -> None:
    kept.checkpoints.folder.mkdir()
    kept.checkpoints.path(3).write_bytes(b"half a file")
    with subprocess.Popen([sys.executable, "-c", ""]) as gone:
        gone.wait()
    part = kept.checkpoints.folder / f"step00000002.safetensors.{gone.pid}-abcdef@{platform.node()}.tmp"
    part.mkdir()
    with pytest.raises(InputError, match=r"step00000003\.safetensors"):
        kept.load()
    assert not part.exists()


def test_the_best_of_another_run_is_refused(kept: Kept) -> None:
    kept.save(1, is_best=True)
    other = Checkpoints(kept.checkpoints.folder, replace(IDENTITY, genes="9"), keep_last=2)
    before = kept.module.weight.clone()
    with pytest.raises(InputError) as caught:
        other.load_best(kept.module)
    assert caught.value.field == "genes"
    assert torch.equal(kept.module.weight, before)
