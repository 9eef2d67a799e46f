"""A run stops when it is asked to, holds cells out, keeps its best, and fits itself to the memory there is."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from celllm.base.errors import InputError
from celllm.pretrain import history
from celllm.pretrain.checkpoint import BEST
from celllm.pretrain.corpus import divided
from celllm.pretrain.loop import PretrainingResult, pretrain
from celllm.pretrain.monitor import Files, HistoryRow, Monitor, history_row
from celllm.pretrain.stopping import Stopped

HELD_OUT = {"validation_cells": 8, "validate_every": 2, "checkpoint_every": 100}


class Teller(Monitor):
    """Calls a function with each row."""

    def __init__(self, hear: Any) -> None:
        self.hear, self.said, self.begun, self.ended = hear, [], [], 0

    def begin(self, n_steps: int, step: int, rows: Any) -> None:
        self.begun.append((n_steps, step, len(rows)))

    def row(self, row: HistoryRow) -> None:
        self.hear(row)

    def say(self, message: str) -> None:
        self.said.append(message)

    def end(self) -> None:
        self.ended += 1


def trained(recipe: Any, corpus: Any, gene_table: np.ndarray | None, **options: Any) -> PretrainingResult:
    return pretrain(recipe, corpus, gene_table=gene_table, gene_digest="genes", **{"seed": 0, **options})


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGUSR1], ids=lambda number: number.name)
def test_a_signal_ends_a_run_after_its_step_with_a_checkpoint(
    corpus: Any, gene_table: np.ndarray, tiny_recipe: Any, tmp_path: Path, number: signal.Signals
) -> None:
    recipe = tiny_recipe(training={"checkpoint_every": 100})
    handlers = signal.getsignal(number)

    def hear(row: HistoryRow) -> None:
        if row["step"] == 4:
            signal.raise_signal(number)
            if number is signal.SIGTERM:
                signal.raise_signal(number)  # schedulers repeat themselves

    teller = Teller(hear)
    with pytest.raises(Stopped, match=rf"{number.name} after step 4; the checkpoint of step 4 is written") as caught:
        trained(recipe, corpus, gene_table, checkpoints=tmp_path, monitors=[teller])
    assert caught.value.status == 75
    assert teller.ended == 1
    assert signal.getsignal(number) == handlers
    again = Teller(lambda row: None)
    gone_on = trained(recipe, corpus, gene_table, checkpoints=tmp_path, monitors=[again])
    assert again.begun == [(6, 4, 2)]
    straight = trained(recipe, corpus, gene_table)
    for name, tensor in straight.encoder.state_dict().items():
        assert torch.equal(tensor, gone_on.encoder.state_dict()[name]), name


def test_a_signal_in_the_last_step_does_not_spoil_a_finished_run(
    corpus: Any, gene_table: np.ndarray, tiny_recipe: Any, tmp_path: Path
) -> None:
    teller = Teller(lambda row: row["step"] == 6 and signal.raise_signal(signal.SIGTERM))
    assert trained(tiny_recipe(), corpus, gene_table, checkpoints=tmp_path, monitors=[teller]).history[-1]["step"] == 6


def test_a_second_ctrl_c_ends_at_once(corpus: Any, gene_table: np.ndarray, tiny_recipe: Any, tmp_path: Path) -> None:
    def hear(row: HistoryRow) -> None:
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)

    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell has jobs behind it ignore Ctrl-C
    try:
        with pytest.raises(KeyboardInterrupt):
            trained(tiny_recipe(), corpus, gene_table, checkpoints=tmp_path, monitors=[Teller(hear)])
    finally:
        signal.signal(signal.SIGINT, before)


def test_validation_cells_are_never_trained_on_and_the_same_for_every_seed(
    corpus: Any, gene_table: np.ndarray, tiny_recipe: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[np.ndarray] = []
    real = type(corpus).rows
    monkeypatch.setattr(type(corpus), "rows", lambda self, indices: (seen.append(indices), real(self, indices))[1])
    recipe = tiny_recipe(training={**HELD_OUT, "steps": 12})
    held_out = []
    for seed in (0, 1):
        seen.clear()
        trained(recipe, corpus, gene_table, seed=seed)
        held_out.append(seen[0])
        assert len(seen[0]) == 8
        assert not np.isin(np.concatenate(seen[1:]), seen[0]).any()
        assert len(np.unique(np.concatenate(seen[1:]))) == 52  # all the others, over the epochs
    np.testing.assert_array_equal(*held_out)


def test_looking_at_validation_cells_changes_nothing(corpus: Any, gene_table: np.ndarray, tiny_recipe: Any) -> None:
    one, other = (
        trained(tiny_recipe(training={**HELD_OUT, "validate_every": n}), corpus, gene_table).encoder.state_dict()
        for n in (1, 6)
    )
    assert all(torch.equal(tensor, other[name]) for name, tensor in one.items())


def test_the_losses_of_validation_cells_are_those_of_a_step_on_them(
    corpus: Any, gene_table: np.ndarray, tiny_recipe: Any
) -> None:
    still = {"encoder": {"dropout": 0.0}, "tokens": {"max_length": 42, "target_sum": 100}}
    recipe = tiny_recipe(training={**HELD_OUT, "steps": 1, "log_every": 1, "chunk_tokens": 90}, **still)
    [row] = trained(recipe, corpus, gene_table).history
    whole = tiny_recipe(training={**HELD_OUT, "steps": 1, "log_every": 1, "chunk_tokens": 9000}, **still)
    [same] = trained(whole, corpus, gene_table).history
    for name in ("loss", "masked", "contrastive", "malignancy", "effective_rank", "uniformity"):
        assert row[f"validation_{name}"] == pytest.approx(same[f"validation_{name}"], rel=1e-5), name
    weighted = sum(row[f"validation_{name}"] for name in ("masked", "contrastive", "malignancy"))
    assert row["validation_loss"] == pytest.approx(weighted, rel=1e-6)
    assert row["validation_alignment"] == pytest.approx(0, abs=1e-10)  # without dropout two views are one


def test_the_best_checkpoint_is_that_of_least_validation_loss(
    corpus: Any, gene_table: np.ndarray, tiny_recipe: Any, tmp_path: Path
) -> None:
    # a rate far too high, so that the last is not the best
    wild = {"optimiser": {"learning_rate": 0.6, "warmup_fraction": 0.9}}
    training = {**HELD_OUT, "validate_every": 1, "log_every": 1, "steps": 12}
    last = trained(tiny_recipe(training=training, **wild), corpus, gene_table)
    losses = [row["validation_loss"] for row in last.history]
    best_step = 1 + int(np.argmin(losses))
    assert best_step < 12
    recipe = tiny_recipe(training={**training, "select": "best"}, **wild)
    best = trained(recipe, corpus, gene_table, checkpoints=tmp_path)
    assert (tmp_path / BEST).exists()
    there = trained(tiny_recipe(training=training, **wild), corpus, gene_table, stop_after=best_step)
    for name, tensor in there.encoder.state_dict().items():
        assert torch.equal(tensor, best.encoder.state_dict()[name]), name
    assert not all(torch.equal(t, best.encoder.state_dict()[name]) for name, t in last.encoder.state_dict().items())


def test_the_best_of_no_validation_cells_is_refused(tiny_recipe: Any) -> None:
    with pytest.raises(InputError, match="select: best needs validation_cells"):
        tiny_recipe(training={"select": "best"})


def test_holding_out_all_cells_is_refused() -> None:
    with pytest.raises(ValueError, match="leave none to train on"):
        divided(5, 5)


def test_no_steps_leave_the_encoder_as_it_is_drawn(corpus: Any, gene_table: np.ndarray, tiny_recipe: Any) -> None:
    one = trained(tiny_recipe(training={"steps": 0}), corpus, gene_table)
    assert one.history == [{"step": 0}]
    first = trained(tiny_recipe(), corpus, gene_table, stop_after=0)
    assert all(torch.equal(t, first.encoder.state_dict()[name]) for name, t in one.encoder.state_dict().items())


def test_a_run_goes_on_when_only_its_housekeeping_changed(
    corpus: Any, gene_table: np.ndarray, tiny_recipe: Any, tmp_path: Path
) -> None:
    trained(tiny_recipe(), corpus, gene_table, checkpoints=tmp_path, stop_after=3)
    changed = tiny_recipe(training={"chunk_tokens": 48, "keep_last": 1, "log_every": 1, "checkpoint_every": 1})
    assert trained(changed, corpus, gene_table, checkpoints=tmp_path).history[-1]["step"] == 6
    assert len(list(tmp_path.glob("step*"))) == 1


def test_health_of_embeddings_is_looked_at_every_so_many_steps_also_without_the_contrastive_loss(
    corpus: Any, gene_table: np.ndarray, tiny_recipe: Any
) -> None:
    for weight in (0.0, 1.0):
        training = {"health_every": 3, "log_every": 1}
        recipe = tiny_recipe(training=training, objectives={"contrastive": {"weight": weight}})
        rows = trained(recipe, corpus, gene_table).history
        for name in ("alignment", "uniformity", "mean_cosine", "effective_rank"):
            assert [row[name] is not None for row in rows] == [False, False, True] * 2, name
        assert 1 < rows[2]["effective_rank"] <= 14  # cells of the batch; the width is 16


def test_files_can_be_looked_at_while_the_run_goes_on_and_after_it_went_on(
    corpus: Any, gene_table: np.ndarray, tiny_recipe: Any, tmp_path: Path
) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    path, events = tmp_path / "history.jsonl", tmp_path / "tensorboard"
    lengths: list[int] = []
    teller = Teller(lambda row: lengths.append(len(history.read(path))))
    recipe = tiny_recipe(training={"steps": 10})
    trained(recipe, corpus, gene_table, checkpoints=tmp_path, stop_after=6, monitors=[Files(path, events), teller])
    assert lengths == [1, 2, 3]
    (tmp_path / "step00000006.safetensors").unlink()  # as if killed after its rows were told
    done = trained(recipe, corpus, gene_table, checkpoints=tmp_path, monitors=[Files(path, events)])
    assert [json.loads(line) for line in path.read_text().splitlines()] == done.history
    found = EventAccumulator(str(events)).Reload()
    assert [event.step for event in found.Scalars("loss")] == [2, 4, 6, 8, 10]
    assert [event.value for event in found.Scalars("loss")] == pytest.approx([row["loss"] for row in done.history])


def test_speeds_are_those_of_whole_steps() -> None:
    figures = [
        {"learning_rate": 0.1, "tokens": 100.0, "seconds": 1.0, "wait": 0.0, "pass_difference": None},
        {"learning_rate": 0.2, "tokens": 300.0, "seconds": 3.0, "wait": 1.0, "pass_difference": 0.5, "late": 4.0},
    ]
    row = history_row(2, figures, batch_cells=8)
    assert row["step_s"] == 2
    assert row["cells_per_s"] == 4
    assert row["tokens_per_s"] == 100
    assert row["loader_wait"] == 0.25
    assert row["late"] == 4
    assert row["pass_difference"] == 0.5
    assert row["learning_rate"] == 0.2


SCARCE = """
import resource, sys
import numpy as np, torch
from pathlib import Path
from scipy.sparse import csr_matrix
from celllm.config import recipe as recipes
from celllm.pretrain.loop import pretrain
from celllm.pretrain.monitor import Monitor

class Corpus:
    n_cells, n_genes, vocabulary, digest = 60, 300, "v", "s"
    counts = csr_matrix(np.random.default_rng(0).poisson(3.0, (60, 300)).astype(np.float32))
    is_malignant = np.zeros(60, np.int8)
    def rows(self, indices): return self.counts[indices]
    def names(self, indices): return [str(i) for i in indices]

class Loud(Monitor):
    def row(self, row): print("step", row["step"], flush=True)
    def say(self, message): print(message, flush=True)

def status(field):
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith(field)) // 1024

torch.set_num_threads(1)
chunk_tokens, limit = int(sys.argv[1]), int(sys.argv[2])
recipe = recipes.parse({
    "tokens": {"max_length": 300}, "genes": {"method": "random"},
    "encoder": {"width": 64, "depth": 4, "heads": 4, "head_width": 32},
    "training": {"batch_cells": 60, "chunk_tokens": chunk_tokens, "steps": 2, "log_every": 1},
}, file="scarce")
before = status("VmSize")
if limit:
    resource.setrlimit(resource.RLIMIT_AS, ((before + limit) * 2**20, resource.RLIM_INFINITY))
pretrain(recipe, Corpus(), gene_table=None, gene_digest="g", seed=0, monitors=[Loud()])
print(status("VmPeak") - before)
"""


def scarce(chunk_tokens: int, root: Path, *, limit_mb: int = 0) -> subprocess.CompletedProcess[str]:
    # every tensor a mapping of its own: what a first try left of the heap would be in the way of the second by chance
    settings = {"OMP_NUM_THREADS": "1", "MALLOC_MMAP_THRESHOLD_": "65536"}
    environment = {**os.environ, "PYTHONPATH": str(root / "src"), **settings}
    command = [sys.executable, "-c", SCARCE, str(chunk_tokens), str(limit_mb)]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="limits of memory are set as on Linux")
def test_a_step_that_does_not_fit_is_taken_again_with_half_the_chunk_and_says_so(root: Path) -> None:
    whole, half, quarter = (int(scarce(n, root).stdout.splitlines()[-1]) for n in (18_000, 9_000, 4_500))
    assert quarter < half < whole
    found = scarce(18_000, root, limit_mb=(half + whole) // 2)
    assert found.returncode == 0, found.stderr
    said = found.stdout.splitlines()
    assert said[0].startswith("step 1 does not fit into memory")
    assert said[0].endswith("chunk_tokens is 9000 from now on")
    assert said[1:3] == ["step 1", "step 2"]
    too_little = scarce(18_000, root, limit_mb=(quarter + half) // 2)
    assert "OutOfMemory" in too_little.stderr
    assert "set training.chunk_tokens to 4500 or less" in too_little.stderr
