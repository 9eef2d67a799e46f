"""Checkpoints are whole or absent: the last few and the best are kept, and a failing disk loses nothing."""

from __future__ import annotations

import resource
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


@pytest.fixture
def module() -> nn.Module:
    return nn.Linear(200, 100)


@pytest.fixture
def optimiser(module: nn.Module) -> torch.optim.Optimizer:
    made = torch.optim.AdamW(module.parameters())
    module(torch.ones(1, 200)).sum().backward()
    made.step()
    return made


@pytest.fixture
def checkpoints(tmp_path: Path) -> Checkpoints:
    return Checkpoints(tmp_path / "run", IDENTITY, keep_last=2)


def progress(step: int) -> Progress:
    return Progress(step, {"n_drawn": step}, chunk_tokens=7, history=[{"step": step}], best={"step": 1, "loss": 0.5})


@contextmanager
def files_no_larger_than(n_bytes: int) -> Iterator[None]:
    """Let the system refuse to write more, as it does when a disk is full."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (n_bytes, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_what_is_loaded_is_what_was_saved(
    checkpoints: Checkpoints, module: nn.Module, optimiser: torch.optim.Optimizer
) -> None:
    checkpoints.save(module, optimiser, progress(5))
    weights, moments = module.weight.clone(), optimiser.state_dict()["state"][0]["exp_avg"].clone()
    with torch.no_grad():
        module.weight.zero_()
    other = torch.optim.AdamW(module.parameters())
    assert checkpoints.load(module, other) == progress(5)
    assert torch.equal(module.weight, weights)
    assert torch.equal(other.state_dict()["state"][0]["exp_avg"], moments)


def test_the_last_few_and_the_best_are_kept(
    checkpoints: Checkpoints, module: nn.Module, optimiser: torch.optim.Optimizer
) -> None:
    for step in (1, 2, 3, 12):
        with torch.no_grad():
            module.bias.fill_(step)
        checkpoints.save(module, optimiser, progress(step), is_best=step == 2)
    assert sorted(path.name for path in checkpoints.folder.iterdir()) == [
        BEST,
        "step00000003.safetensors",
        "step00000012.safetensors",
    ]
    checkpoints.load_best(module)
    assert module.bias.eq(2).all()
    assert checkpoints.load(module, optimiser) == progress(12)


def test_a_disk_that_is_full_is_said_and_leaves_the_checkpoint_before(
    checkpoints: Checkpoints, module: nn.Module, optimiser: torch.optim.Optimizer
) -> None:
    checkpoints.save(module, optimiser, progress(1))
    with files_no_larger_than(50_000), pytest.raises(CheckpointError) as caught:
        checkpoints.save(module, optimiser, progress(2), is_best=True)
    assert "the checkpoint of step 1 is whole" in str(caught.value)
    assert f"make room on the disk (df -h {checkpoints.folder})" in str(caught.value)
    assert [path.name for path in checkpoints.folder.iterdir()] == ["step00000001.safetensors"]
    assert checkpoints.load(module, optimiser) == progress(1)
    checkpoints.save(module, optimiser, progress(2))
    assert checkpoints.load(module, optimiser) == progress(2)


def test_the_best_that_does_not_fit_is_no_step_either(
    checkpoints: Checkpoints,
    module: nn.Module,
    optimiser: torch.optim.Optimizer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def full(*_: object) -> None:
        message = "No space left on device"
        raise OSError(message)

    monkeypatch.setattr("shutil.copyfile", full)
    with pytest.raises(CheckpointError, match="there is no earlier checkpoint"):
        checkpoints.save(module, optimiser, progress(2), is_best=True)
    assert checkpoints.load(module, optimiser) is None  # so that the run makes its best again


def test_one_that_is_cut_short_is_passed_over_aloud(
    checkpoints: Checkpoints,
    module: nn.Module,
    optimiser: torch.optim.Optimizer,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for step in (1, 2):
        checkpoints.save(module, optimiser, progress(step))
    last = checkpoints.path(2)
    last.write_bytes(last.read_bytes()[:-100])
    assert checkpoints.load(module, optimiser) == progress(1)
    said = capsys.readouterr().err
    assert str(last) in said
    assert "going on from step 1 instead" in said


def test_a_folder_without_a_readable_one_is_refused_and_what_a_killed_process_left_half_written_is_cleared(
    checkpoints: Checkpoints, module: nn.Module, optimiser: torch.optim.Optimizer
) -> None:
    checkpoints.folder.mkdir()
    checkpoints.path(3).write_bytes(b"half a file")
    part = checkpoints.folder / "step00000002.safetensors.part"
    part.write_bytes(b"half")
    with pytest.raises(InputError, match=r"step00000003\.safetensors"):
        checkpoints.load(module, optimiser)
    assert not part.exists()


@pytest.mark.parametrize("which", ["last", "best"])
def test_that_of_another_run_is_refused(
    checkpoints: Checkpoints, module: nn.Module, optimiser: torch.optim.Optimizer, which: str
) -> None:
    checkpoints.save(module, optimiser, progress(1), is_best=True)
    other = Checkpoints(checkpoints.folder, replace(IDENTITY, genes="9"), keep_last=2)
    before = module.weight.clone()
    with pytest.raises(InputError) as caught:
        other.load(module, optimiser) if which == "last" else other.load_best(module)
    assert caught.value.field == "genes"
    assert torch.equal(module.weight, before)
