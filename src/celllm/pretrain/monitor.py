"""What a run tells while it goes on: rows of figures, into files that can be looked at at any time."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from tqdm import tqdm

from celllm.pretrain import history

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

HistoryRow = dict[str, float | int | None]
TIMES = ("seconds", "wait")
"""Figures of a step that are times; a row has speeds in their place."""
SHOWN = (
    "loss",
    "masked",
    "contrastive",
    "malignancy",
    "masked_accuracy",
    "malignancy_accuracy",
    "validation_loss",
    "probe_5pct",
    "probe_all",
    "cells_per_s",
    "tokens_per_s",
    "loader_wait",
)
"""Figures of a row that a terminal shows."""


class Monitor:
    """Someone who is told how a run goes; what it does not care for it lets pass."""

    def begin(self, n_steps: int, step: int, rows: Sequence[HistoryRow]) -> None:
        """Hear of a run of so many steps, of which this many are done and have left these rows."""

    def row(self, row: HistoryRow) -> None:
        """Hear of the next row."""

    def say(self, message: str) -> None:
        """Hear of something that is worth knowing and no figure."""

    def end(self) -> None:
        """Hear of the end, also of a bad one."""


class Files(Monitor):
    """Writes `history.jsonl`, whole after every row, and TensorBoard's events into a folder."""

    def __init__(self, path: Path, tensorboard: Path) -> None:
        self._path, self._tensorboard = path, tensorboard
        self._rows: list[HistoryRow] = []
        self._events: SummaryWriter | None = None

    def begin(self, n_steps: int, step: int, rows: Sequence[HistoryRow]) -> None:
        """Write the rows so far; events of steps that were lost are marked so."""
        from torch.utils.tensorboard import SummaryWriter  # its package is needed by who wants events alone

        del n_steps, step
        self._rows = list(rows)
        history.write(self._rows, self._path)
        following = int(self._rows[-1]["step"] or 0) + 1 if self._rows else 1
        self._events = SummaryWriter(str(self._tensorboard), purge_step=following)  # type: ignore[no-untyped-call]

    def row(self, row: HistoryRow) -> None:
        """Write a row to both."""
        self._rows.append(row)
        history.write(self._rows, self._path)
        for name, value in row.items():
            if self._events is not None and name != "step" and value is not None:
                self._events.add_scalar(name, value, row["step"])  # type: ignore[no-untyped-call]

    def end(self) -> None:
        """Close the events."""
        if self._events is not None:
            self._events.close()  # type: ignore[no-untyped-call]


class Terminal(Monitor):
    """Shows a progress bar on a terminal, and one plain line a row elsewhere."""

    def begin(self, n_steps: int, step: int, rows: Sequence[HistoryRow]) -> None:
        """Start at the step that was reached."""
        del rows
        self._n_steps = n_steps
        self._bar = tqdm(total=n_steps, initial=step, unit="step", disable=not sys.stderr.isatty())
        if step:
            self.say(f"going on from step {step}")

    def row(self, row: HistoryRow) -> None:
        """Show a row, and when the run will end."""
        figures = {name: f"{row[name]:.3g}" for name in SHOWN if row.get(name) is not None}
        step = int(row["step"] or 0)
        if self._bar.disable:
            told = "  ".join(f"{name} {value}" for name, value in figures.items())
            left = timedelta(seconds=round((self._n_steps - step) * float(row["step_s"] or 0)))
            sys.stderr.write(f"step {step}/{self._n_steps}  {told}  left {left}\n")
        else:
            self._bar.set_postfix(figures, refresh=False)
            self._bar.update(step - self._bar.n)

    def say(self, message: str) -> None:
        """Print a line beside the bar."""
        tqdm.write(message, file=sys.stderr)

    def end(self) -> None:
        """Leave the bar as it stands."""
        self._bar.close()


@contextmanager
def following(monitors: Sequence[Monitor], n_steps: int, step: int, rows: Sequence[HistoryRow]) -> Iterator[None]:
    """Tell monitors of the run's beginning, and of its end however it comes."""
    for monitor in monitors:
        monitor.begin(n_steps, step, rows)
    try:
        yield
    finally:
        for monitor in monitors:
            monitor.end()


def history_row(
    step: int,
    figures: Sequence[Mapping[str, Any]],
    *,
    batch_cells: int,
) -> HistoryRow:
    """Average the figures of some steps; a figure that no step had is None."""
    row: HistoryRow = {"step": step}
    for name in dict.fromkeys(name for step_figures in figures for name in step_figures):
        known = _known(name, figures)
        row[name] = float(np.mean(known)) if known else None
    seconds, wait = (float(row.pop(name) or float("nan")) for name in TIMES)
    row["log_batch"] = float(np.log(batch_cells))  # InfoNCE of embeddings that tell nothing
    row["step_s"] = seconds
    row["cells_per_s"] = batch_cells / seconds
    row["tokens_per_s"] = float(row.pop("tokens") or 0) / seconds
    row["loader_wait"] = wait / seconds
    row["pass_difference"] = max(_known("pass_difference", figures), default=None)
    row["learning_rate"] = figures[-1]["learning_rate"]
    return row


def _known(name: str, figures: Iterable[Mapping[str, Any]]) -> list[float]:
    return [one[name] for one in figures if one.get(name) is not None]
