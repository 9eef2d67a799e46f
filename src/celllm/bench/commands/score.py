"""Compute every metric of every predictions file, as one long table."""

from __future__ import annotations

import argparse
import itertools
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import pandas as pd

from celllm.base.entry import run
from celllm.bench import predictions, scores
from celllm.bench.evaluation import headline_of, metrics_of
from celllm.config import tables
from celllm.config.tables import Table, Task


def parser() -> argparse.ArgumentParser:
    """Declare the options."""
    options = argparse.ArgumentParser(prog="celllm score", description=__doc__, allow_abbrev=False)
    options.add_argument("--folder", required=True, type=Path, help="folder of the predictions: results/bench")
    options.add_argument(
        "--cells",
        required=True,
        type=json.loads,
        help='which of them, JSON: {"task": {"method": {"splits": [0, 1], "seeds": [0]}}}',
    )
    options.add_argument("--tasks", required=True, type=Path, help="tasks.tsv")
    options.add_argument("--stage", default="score", help="name and version of the stage")
    options.add_argument("--scores", required=True, type=Path, help="where to write the scores")
    options.add_argument("--failed", required=True, type=Path, help="where to write which cells failed")
    options.add_argument("--trials", required=True, type=Path, help="where to write what was tried on validation parts")
    return options


def scored(path: Path, tasks: Table[Task]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Read and score one file; return its rows of the tables of scores and of trials.

    Raises
    ------
    InputError
        If its task is unknown, or the task's headline is no metric of such predictions.
    """
    table, meta = predictions.read(path)
    metrics = metrics_of(table, kind=meta.kind)
    headline_of(metrics, tasks.row(meta.task).headline, task=meta.task, file=tasks.file)
    metrics |= {name: float(getattr(meta, name)) for name in (*scores.COSTS, *scores.SIZES)}
    cell = {"task": meta.task, "method": meta.method, "split": meta.split, "seed": meta.seed}
    trials = [
        {
            **cell,
            "trial": number,
            "options": json.dumps(dict(trial.options)),
            "value": trial.value,
            "chosen": "yes" if dict(trial.options).items() <= dict(meta.options).items() else "no",
        }
        for number, trial in enumerate(meta.trials)
    ]
    return (
        pd.DataFrame({**cell, "metric": list(metrics), "value": list(metrics.values())}),
        pd.DataFrame(trials, columns=list(scores.TRIAL_COLUMNS)),
    )


def main(argv: Sequence[str] | None = None) -> None:
    """Read all predictions, score them, write the tables of scores, of failed cells and of trials."""
    args = parser().parse_args(argv)
    tasks = tables.read_tasks(args.tasks)
    paths = [
        predictions.path_of(args.folder, task=task, method=method, split=split, seed=seed)
        for task, methods in args.cells.items()
        for method, runs in methods.items()
        for split, seed in itertools.product(runs["splits"], runs["seeds"])
    ]
    failures = {path: predictions.failure_of(path) for path in paths}
    failed = [asdict(failure) for failure in failures.values() if failure is not None]
    made = [scored(path, tasks) for path, failure in failures.items() if failure is None]
    empty = pd.DataFrame(columns=list(scores.COLUMNS)).astype({"value": float})
    table = pd.concat([found for found, _ in made], ignore_index=True) if made else empty
    trials = [found for _, found in made if not found.empty]
    no_trials = pd.DataFrame(columns=list(scores.TRIAL_COLUMNS))
    scores.write(table, args.scores)
    scores.write_failed(pd.DataFrame(failed, columns=list(scores.FAILED_COLUMNS)), args.failed)
    scores.write_trials(pd.concat(trials, ignore_index=True) if trials else no_trials, args.trials)
    print(f"{len(table)} scores of {len(made)} predictions; {len(failed)} cells failed")
    for failure in failed:
        print(f"failed: {failure['task']} {failure['method']} split {failure['split']}, see {failure['log']}")


if __name__ == "__main__":
    run(main)
