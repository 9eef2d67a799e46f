"""What a step costs, measured in fresh processes, and the table it goes into."""

from __future__ import annotations

import math
import os
from dataclasses import replace
from multiprocessing.context import BaseContext
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from celllm.base.errors import CellLMError, InputError
from celllm.config.recipe_encoder import EncoderSettings
from celllm.model.randomness import seeded
from celllm.pretrain import measure, step_cost
from celllm.pretrain.synthetic import synthetic_batch, synthetic_encoder

SETTINGS = EncoderSettings(width=8, depth=1, heads=1, head_width=8, dropout=0.1)
PLAN = measure.StepPlan(SETTINGS, n_genes=50, lengths_B=np.array([5, 9, 7, 6]), max_tokens=16)


def test_chunked_and_full_batch_steps_leave_the_same_gradient() -> None:
    gradients = []
    batch, encoder = synthetic_batch(PLAN.lengths_B, n_genes=50), synthetic_encoder(SETTINGS, 50)
    chunks = [np.array([1]), np.array([0, 2]), np.array([3])]
    for mode in measure.MODES:
        with seeded(0, torch.device("cpu")):
            measure.contrastive_step(encoder, batch.plain(), chunks, mode=mode)
        gradients.append(encoder.layers[0].attention.to_qkv.weight.grad.clone())
    assert gradients[0].abs().max() > 0
    torch.testing.assert_close(*gradients, rtol=1e-5, atol=1e-6)


def test_a_step_that_does_not_fit_is_said_and_no_larger_one_is_tried(
    monkeypatch: pytest.MonkeyPatch, forked: BaseContext
) -> None:
    monkeypatch.setattr(measure, "get_context", lambda _: forked)  # which does not start an interpreter for each
    told: list[str] = []
    plan = replace(PLAN, lengths_B=np.full(2_000, 500), max_tokens=100_000, limit_bytes=1 << 20)
    rows = measure.sweep(plan, [1_000, 2_000], report=told.append)
    assert [(row["B"], row["mode"]) for row in rows] == [(1_000, "chunked"), (1_000, "full-batch")]
    assert all(math.isnan(row["seconds"]) and math.isnan(row["peak_gb"]) for row in rows)
    assert told == ["chunked, 1000 cells: does not fit", "full-batch, 1000 cells: does not fit"]


def test_a_process_that_dies_is_an_error_and_no_measurement(
    monkeypatch: pytest.MonkeyPatch, forked: BaseContext
) -> None:
    monkeypatch.setattr(measure, "get_context", lambda _: forked)
    real = measure.in_fresh_process
    monkeypatch.setattr(measure, "in_fresh_process", lambda function, plan: real(os._exit, 3))
    with pytest.raises(CellLMError, match=r"(?s)4 cells, chunked, died.*step_cost\.limit_gb"):
        measure.sweep(PLAN, [4])


ROWS = [
    (16, "chunked", 1.5, 0.5),
    (16, "full-batch", 1.25, 2.0),
    (64, "full-batch", math.nan, math.nan),
]


def test_a_table_is_read_as_it_was_written(tmp_path: Path) -> None:
    table = pd.DataFrame(ROWS, columns=list(step_cost.TYPES))
    step_cost.write(table.iloc[::-1], tmp_path / "cost.tsv")
    pd.testing.assert_frame_equal(step_cost.read(tmp_path / "cost.tsv"), table)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("16\tchunked\t\t0.5", "an empty value"),
        ("16\tby hand\t1\t0.5", "by hand"),
        ("few\tchunked\t1\t0.5", "few"),
    ],
)
def test_a_wrong_row_is_refused(tmp_path: Path, row: str, message: str) -> None:
    (tmp_path / "cost.tsv").write_text("\t".join(step_cost.TYPES) + "\n" + row + "\n")
    with pytest.raises(InputError, match=message):
        step_cost.read(tmp_path / "cost.tsv")
