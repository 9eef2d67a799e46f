"""A run is deterministic, goes on where it stopped, learns, keeps its best, and ends as it should."""

from __future__ import annotations

import json
import platform
import signal
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from multiprocessing.context import BaseContext
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny import (
    SPEEDS,
    TABLE,
    GroupedCorpus,
    free_after,
    made_corpus,
    measure_a_step,
    run_out,
    tiny_recipe,
    train_a_step,
)

from celllm.base.errors import InputError
from celllm.model.encoder import Encoder
from celllm.pretrain import history
from celllm.pretrain.checkpoint import BEST, Checkpoints
from celllm.pretrain.monitor import Files, HistoryRow, Monitor, history_row
from celllm.pretrain.run import PretrainingResult, Run, pretrain
from celllm.pretrain.step import check_ranks
from celllm.pretrain.stopping import DivergedError, OutOfMemory, Stopped, WrongGradientError, is_out_of_memory
from celllm.pretrain.update import Update

HELD_OUT = {"validation_cells": 8, "validate_every": 2, "checkpoint_every": 100}
SECTIONS = ("tokens", "genes", "encoder", "objectives", "optimiser", "training")


class Hearer(Monitor):
    """Notes what it is told, and calls a function with each row."""

    def __init__(self, hear: Callable[[HistoryRow], object] = lambda row: None) -> None:
        self.hear, self.said, self.begun, self.ended = hear, [], [], 0

    def begin(self, n_steps: int, step: int, rows: Any) -> None:
        self.begun.append((n_steps, step, len(rows)))

    def row(self, row: HistoryRow) -> None:
        self.hear(row)

    def say(self, message: str) -> None:
        self.said.append(message)

    def end(self) -> None:
        self.ended += 1


def train(corpus: GroupedCorpus | None = None, **options: Any) -> PretrainingResult:
    """Train by the tiny recipe, with options of `pretrain`, and others as sections of the recipe."""
    sections = {name: options.pop(name) for name in SECTIONS if name in options}
    given = {"gene_embedding": TABLE, "gene_digest": "genes", "seed": 0, **options}
    return pretrain(tiny_recipe(**sections), corpus or made_corpus(), **given)


@pytest.fixture(scope="module")
def straight() -> PretrainingResult:
    """Six steps of the tiny recipe, uninterrupted."""
    return train()


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> list[np.ndarray]:
    """The cells that are read, read by read."""
    read: list[np.ndarray] = []
    real = GroupedCorpus.rows
    monkeypatch.setattr(GroupedCorpus, "rows", lambda self, indices: (read.append(indices), real(self, indices))[1])
    return read


def assert_same(one: PretrainingResult, other: PretrainingResult) -> None:
    assert_same_weights(one, other)
    timed = dict.fromkeys(SPEEDS, 0)
    assert [{**row, **timed} for row in one.history] == [{**row, **timed} for row in other.history]


def assert_same_weights(one: PretrainingResult, other: PretrainingResult) -> None:
    for name, tensor in one.encoder.state_dict().items():
        assert torch.equal(tensor, other.encoder.state_dict()[name]), name


def test_the_same_seed_gives_the_same_weights_and_another_does_not_and_the_caller_keeps_what_is_his(
    straight: PretrainingResult,
) -> None:
    torch.rand(5)  # what the caller draws does not matter
    before, table = torch.get_rng_state(), TABLE.copy()
    assert_same(straight, train())
    assert torch.equal(torch.get_rng_state(), before)
    assert not torch.equal(straight.encoder.to_expression.weight, train(seed=1).encoder.to_expression.weight)
    np.testing.assert_array_equal(TABLE, table)  # frozen
    np.testing.assert_array_equal(straight.encoder.embedding.genes.weight[:40].numpy(), table)


VIEWS = {
    "objectives": {"contrastive": {"views": "thinning_subset"}, "shared_masked_view": True},
    "training": {"keep_tokens": 400, "log_every": 1, "health_every": 2},
}


@pytest.mark.parametrize(
    ("stop_after", "options"),
    [
        (1, {}),
        (5, {}),
        (3, VIEWS),
        (3, {"training": {"batch_of": "dataset", "batch_cells": 10}}),
        (3, {"training": {"batch_of": "sample", "batch_cells": 10}}),
    ],
    ids=["after 1", "after 5", "views", "data sets", "samples"],
)
def test_a_run_that_was_stopped_goes_on_to_the_same_weights_bit_for_bit(
    straight: PretrainingResult,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    seen: list[np.ndarray],
    stop_after: int,
    options: dict[str, Any],
) -> None:
    whole = train(**options) if options else straight
    if options and options is not VIEWS:
        groups = made_corpus().groups(options["training"]["batch_of"])
        assert {len(np.unique(groups[cells])) for cells in seen} == {1}
        assert len(np.unique(groups[np.concatenate(seen)])) == groups.max() + 1
    if options is VIEWS:
        for row in whole.history:
            assert row["pass_difference"] == 0
            assert 0 <= row["masked_cell_mode"] <= 1
            assert (row["contrastive_depth"] is not None) == (row["step"] % 2 == 0)
    train(**options, checkpoints=tmp_path, stop_after=stop_after)
    done = train(**options, checkpoints=tmp_path)
    assert_same(whole, done)
    monkeypatch.setattr(Run, "step", lambda *_, **__: pytest.fail("a finished run took a step"))
    assert_same(done, train(**options, checkpoints=tmp_path))


@pytest.mark.parametrize(
    ("field", "options", "facts"),
    [
        ("recipe", {"optimiser": {"learning_rate": 0.02}}, {}),
        ("seed", {"seed": 7}, {}),
        ("stage", {"stage": "pretrain-2"}, {}),
        ("vocabulary", {}, {"vocabulary": "another"}),
        ("shards", {}, {"counts": 2 * made_corpus().counts}),
    ],
)
def test_the_checkpoint_of_another_run_is_refused(
    tmp_path: Path, field: str, options: dict[str, Any], facts: dict[str, Any]
) -> None:
    train(checkpoints=tmp_path, stop_after=1)
    with pytest.raises(InputError) as caught:
        train(replace(made_corpus(), **facts), checkpoints=tmp_path, **options)
    assert caught.value.field == field
    assert f"rm -r {tmp_path}" in caught.value.remedy


def test_a_run_goes_on_when_only_its_housekeeping_changed(tmp_path: Path) -> None:
    train(checkpoints=tmp_path, stop_after=3)
    changed = {"chunk_tokens": 48, "keep_last": 1, "log_every": 1, "checkpoint_every": 1}
    assert train(training=changed, checkpoints=tmp_path).history[-1]["step"] == 6
    assert len(list(tmp_path.glob("step*"))) == 1


def test_features_are_redrawn_before_a_step_every_so_many_steps() -> None:
    drawn = [dict(train(stop_after=n).encoder.named_buffers()) for n in (2, 3, 4, 5)]
    is_new = [any(not torch.equal(t, after[name]) for name, t in before.items()) for before, after in pairwise(drawn)]
    assert is_new == [True, False, True]


def test_the_chunk_size_does_not_change_the_course_of_training() -> None:
    # with dropout the chunks draw other numbers
    few, many = (train(training={"chunk_tokens": n}, encoder={"dropout": 0.0}).history for n in (50, 400))
    for first, second in zip(few, many, strict=True):
        assert first["loss"] == pytest.approx(second["loss"], rel=1e-4)


def test_training_learns_all_three_tasks() -> None:
    rows = train(training={"steps": 100, "log_every": 10, "chunk_tokens": 400}).history
    first, last = rows[0], rows[-1]
    assert last["masked"] < 0.8 * first["masked"]
    assert last["malignancy"] < 0.5 * first["malignancy"]
    assert last["malignancy_accuracy"] > last["malignancy_majority"] + 0.2
    assert last["contrastive"] < 0.8 * first["log_batch"]
    assert last["mean_cosine"] < first["mean_cosine"]
    assert [row["step"] for row in rows] == list(range(10, 101, 10))


@pytest.mark.parametrize("weight", [1.0, 0.0], ids=["contrastive", "not contrastive"])
def test_what_is_not_finite_stops_the_run_and_names_step_and_cells(
    straight: PretrainingResult, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, weight: float
) -> None:
    real, original = Update._optimised, Encoder.at
    steps: list[int] = []

    def noted(self: Update, drawn: Any, step: int, names: Any) -> Any:
        steps.append(step)
        return real(self, drawn, step, names)

    def at(self: Encoder, *tokens: torch.Tensor) -> torch.Tensor:
        hidden = original(self, *tokens)
        return hidden * float("nan") if steps[-1] == 5 and len(tokens[0]) > 1 else hidden

    monkeypatch.setattr(Update, "_optimised", noted)
    monkeypatch.setattr(Encoder, "at", at)
    objectives = {"contrastive": {"weight": weight}}
    found = (
        r"an embedding is not finite in chunk \d, cells cell \d+, cell \d+.*" if weight else "the loss is not finite"
    )
    with pytest.raises(DivergedError, match=f"step 5: {found}; the weights are those of step 4, the last checkpoint"):
        train(objectives=objectives, checkpoints=tmp_path)
    monkeypatch.undo()
    if weight:
        assert_same(train(objectives=objectives, checkpoints=tmp_path), straight)


def test_a_check_every_few_steps_is_in_the_history_and_changes_nothing(straight: PretrainingResult) -> None:
    checked = train(training={"check_every": 4, "log_every": 1})
    found = [row["check_difference"] for row in checked.history]
    assert [one is not None for one in found] == [False, False, False, True, False, False]
    assert found[3] < 1e-4
    assert_same_weights(checked, straight)


@pytest.mark.parametrize("figure", ["pass_difference", "check_difference"])
def test_a_wrong_gradient_stops_the_run_and_says_what_to_do(monkeypatch: pytest.MonkeyPatch, figure: str) -> None:
    real = Encoder.at
    passes: list[int] = []

    def drifting(self: Encoder, *tokens: torch.Tensor) -> torch.Tensor:
        passes.append(1)
        # what a compiler or a careless encoder would do: a graph is computed otherwise than an inference
        is_other = torch.is_grad_enabled() if figure == "pass_difference" else len(passes) > 12
        return real(self, *tokens) * (1.01 if is_other else 1.0)

    monkeypatch.setattr(Encoder, "at", drifting)
    training = {"check_every": 1, "chunk_tokens": 400}
    with pytest.raises(
        WrongGradientError, match=rf"(?s)step [12]: {figure} may be .*do this:  set training\.keep_tokens"
    ):
        train(training=training if figure == "check_difference" else {}, objectives={"masked": {"weight": 0}})


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGUSR1], ids=lambda number: number.name)
def test_a_signal_ends_a_run_after_its_step_with_a_checkpoint(
    straight: PretrainingResult, tmp_path: Path, number: signal.Signals
) -> None:
    handlers = signal.getsignal(number)

    def hear(row: HistoryRow) -> None:
        if row["step"] == 4:
            signal.raise_signal(number)
            if number is signal.SIGTERM:
                signal.raise_signal(number)  # schedulers repeat themselves

    hearer, again, rarely = Hearer(hear), Hearer(), {"checkpoint_every": 100}
    with pytest.raises(Stopped, match=rf"{number.name} after step 4; the checkpoint of step 4 is written") as caught:
        train(training=rarely, checkpoints=tmp_path, monitors=[hearer])
    assert caught.value.status == 75
    assert hearer.ended == 1
    assert signal.getsignal(number) == handlers
    # a signal in the last step does not spoil a finished run
    last = Hearer(lambda row: row["step"] == 6 and signal.raise_signal(number))
    gone_on = train(training=rarely, checkpoints=tmp_path, monitors=[again, last])
    assert again.begun == [(6, 4, 2)]
    assert_same_weights(straight, gone_on)


def test_a_second_ctrl_c_ends_at_once(tmp_path: Path) -> None:
    def hear(_: HistoryRow) -> None:
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)

    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell has jobs behind it ignore Ctrl-C
    try:
        with pytest.raises(KeyboardInterrupt):
            train(checkpoints=tmp_path, monitors=[Hearer(hear)])
    finally:
        signal.signal(signal.SIGINT, before)


def test_validation_cells_are_never_trained_on_and_the_same_for_every_seed(seen: list[np.ndarray]) -> None:
    held_out = []
    for seed in (0, 1):
        seen.clear()
        train(training={**HELD_OUT, "steps": 4}, seed=seed)
        held_out.append(seen[0])
        assert len(seen[0]) == 8
        assert not np.isin(np.concatenate(seen[1:]), seen[0]).any()
        assert len(np.unique(np.concatenate(seen[1:]))) == 52  # all the others, over the epoch
    np.testing.assert_array_equal(*held_out)


def test_looking_at_validation_cells_changes_nothing() -> None:
    assert_same_weights(*(train(training={**HELD_OUT, "validate_every": n}) for n in (1, 6)))


def test_the_losses_of_validation_cells_are_those_of_a_step_on_them() -> None:
    still = {"encoder": {"dropout": 0.0}, "tokens": {"max_length": 42, "target_sum": 100}}
    [row], [same] = (
        train(training={**HELD_OUT, "steps": 1, "log_every": 1, "chunk_tokens": n}, **still).history for n in (90, 9000)
    )
    for name in ("loss", "masked", "contrastive", "malignancy", "effective_rank", "uniformity"):
        assert row[f"validation_{name}"] == pytest.approx(same[f"validation_{name}"], rel=1e-5), name
    weighted = sum(row[f"validation_{name}"] for name in ("masked", "contrastive", "malignancy"))
    assert row["validation_loss"] == pytest.approx(weighted, rel=1e-6)
    assert row["validation_alignment"] == pytest.approx(0, abs=1e-10)  # without dropout two views are one


def test_the_best_checkpoint_is_that_of_least_validation_loss_and_read_by_the_rank_that_wrote_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # a rate far too high, so that the last is not the best
    wild = {"optimiser": {"learning_rate": 0.6, "warmup_fraction": 0.9}}
    training = {**HELD_OUT, "validate_every": 1, "log_every": 1, "steps": 8}
    last = train(training=training, **wild)
    best_step = 1 + int(np.argmin([row["validation_loss"] for row in last.history]))
    assert best_step < 8
    selecting = {"training": {**training, "select": "best"}, "checkpoints": tmp_path, **wild}
    assert_same_weights(train(training=training, stop_after=best_step, **wild), train(**selecting))
    (tmp_path / BEST).unlink()
    with pytest.raises(InputError, match=BEST):
        train(**selecting)
    monkeypatch.setattr("lightning_fabric.Fabric.is_global_zero", False)
    train(**selecting)


def test_going_on_with_another_number_of_ranks_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    train(checkpoints=tmp_path, stop_after=3)
    real = Checkpoints.load
    monkeypatch.setattr(Checkpoints, "load", lambda self, *given: replace(real(self, *given), ranks=2))
    hearer, again = Hearer(), Hearer()
    train(checkpoints=tmp_path, stop_after=4, monitors=[hearer])
    assert hearer.said[0].startswith("going on with 1 ranks after 2: the same batches, tokens and masks, but other")
    monkeypatch.undo()
    train(checkpoints=tmp_path, monitors=[again])
    assert not again.said


def test_recipes_that_cannot_be_trained_from_are_refused() -> None:
    with pytest.raises(InputError, match=r"(?s)encoder\.attention.*favor, softmax or none.*train with favor"):
        train(encoder={"attention": "released"})
    for field in ("batch_cells", "validation_cells"):
        recipe = tiny_recipe(training={"batch_cells": 14, "validation_cells": 14, field: 3})
        check_ranks(recipe, 3)
        with pytest.raises(InputError, match=rf"(?s)training\.{field}.*at least 4, one for each rank"):
            check_ranks(recipe, 4)
    with pytest.raises(InputError, match="of the three weights one must be above 0"):
        tiny_recipe(objectives={name: {"weight": 0} for name in ("masked", "contrastive", "malignancy")})
    with pytest.raises(InputError, match="select: best needs validation_cells"):
        tiny_recipe(training={"select": "best"})


def test_a_single_validation_cell_has_no_figures_of_pairs() -> None:
    [row] = train(training={**HELD_OUT, "validation_cells": 1, "steps": 1}).history
    assert row["validation_uniformity"] is row["validation_mean_cosine"] is None
    assert not [name for name, value in row.items() if value is not None and np.isnan(value)]


def test_no_steps_leave_the_encoder_as_it_is_drawn() -> None:
    one = train(training={"steps": 0})
    assert one.history == [{"step": 0}]
    assert_same_weights(one, train(stop_after=0))


@pytest.mark.parametrize("weight", [0.0, 1.0])
def test_diagnostics_are_taken_every_so_many_steps_also_without_the_contrastive_loss(weight: float) -> None:
    rows = train(training={"health_every": 3, "log_every": 1}, objectives={"contrastive": {"weight": weight}}).history
    for name in ("alignment", "uniformity", "mean_cosine", "effective_rank", "features_below_epsilon"):
        assert [row[name] is not None for row in rows] == [False, False, True] * 2, name
    assert 1 < rows[2]["effective_rank"] <= 14  # cells of the batch; the width is 16


def test_files_can_be_looked_at_while_the_run_goes_on_and_after_it_went_on(tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    path, events = tmp_path / "history.jsonl", tmp_path / "tensorboard"
    lengths: list[int] = []
    hearer = Hearer(lambda row: lengths.append(len(history.read(path))))
    train(checkpoints=tmp_path, stop_after=4, monitors=[Files(path, events), hearer])
    assert lengths == [1, 2]
    (tmp_path / "step00000004.safetensors").unlink()  # as if killed after its rows were told
    done = train(checkpoints=tmp_path, monitors=[Files(path, events)])
    assert [json.loads(line) for line in path.read_text().splitlines()] == done.history
    found = EventAccumulator(str(events)).Reload()
    assert [event.step for event in found.Scalars("loss")] == [2, 4, 6]
    assert [event.value for event in found.Scalars("loss")] == pytest.approx([row["loss"] for row in done.history])


def test_speeds_are_those_of_whole_steps() -> None:
    figures = [
        {"learning_rate": 0.1, "tokens": 100.0, "seconds": 1.0, "wait": 0.0, "pass_difference": None},
        {"learning_rate": 0.2, "tokens": 300.0, "seconds": 3.0, "wait": 1.0, "pass_difference": 0.5, "late": 4.0},
    ]
    row = history_row(2, figures, batch_cells=8)
    expected = {"step_s": 2, "cells_per_s": 4, "tokens_per_s": 100, "loader_wait": 0.25, "late": 4}
    assert row | expected | {"pass_difference": 0.5, "learning_rate": 0.2} == row


def test_an_error_that_memory_ran_out_is_told_from_others() -> None:
    with pytest.raises(RuntimeError) as caught:
        torch.empty(2**60, dtype=torch.uint8)
    says = ("could not create a primitive", "could not execute a primitive")
    for error in (caught.value, MemoryError(), torch.OutOfMemoryError("CUDA"), *map(RuntimeError, says)):
        assert is_out_of_memory(error)
    for said in ("could not create a primitive descriptor for a matmul primitive", "mat1 and mat2 shapes"):
        assert not is_out_of_memory(RuntimeError(said))


def test_a_step_that_does_not_fit_is_taken_again_with_half_the_chunk_and_says_so(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    real = Update._optimised
    limits = {"tokens": 60}

    def scarce(self: Update, drawn: Any, step: int, names: Any) -> Any:
        if self._step_loss.max_tokens > limits["tokens"] and step > 1:
            message = "DefaultCPUAllocator: can't allocate memory"
            raise RuntimeError(message)
        return real(self, drawn, step, names)

    monkeypatch.setattr(Update, "_optimised", scarce)
    hearer = Hearer()
    assert train(monitors=[hearer]).history[-1]["step"] == 6
    [said] = hearer.said
    assert said.startswith("step 2 does not fit into memory")
    assert said.endswith("chunk_tokens is 48 from now on")
    limits["tokens"] = 40
    with pytest.raises(OutOfMemory, match=r"set training\.chunk_tokens to 24 or less"):
        train()


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="limits of memory are set as on Linux")
def test_memory_that_really_runs_out_in_a_step_is_told_as_such(forked: BaseContext) -> None:
    process = forked.Process(target=run_out)
    process.start()
    process.join()
    assert process.exitcode == 42


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="elsewhere freed blocks go back by themselves, or never")
@pytest.mark.parametrize("work", [train_a_step, measure_a_step])
def test_who_takes_steps_gives_freed_memory_back_to_the_system(forked: BaseContext, work: Callable[[], None]) -> None:
    process = forked.Process(target=free_after, args=(work,))
    process.start()
    process.join()
    assert process.exitcode == 0
