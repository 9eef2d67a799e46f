"""Compute every metric of every predictions file, as one long table."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from celllm.cli.entry import run
from celllm.contracts import predictions, scores, tables
from celllm.contracts.predictions import PredictionsMeta, score_columns
from celllm.contracts.tables import Table, Task
from celllm.errors import InputError
from celllm.metrics.classification import classification_metrics
from celllm.metrics.regression import regression_metrics


def parser() -> argparse.ArgumentParser:
    """Declare the options."""
    options = argparse.ArgumentParser(prog="celllm.cli.score", description=__doc__, allow_abbrev=False)
    options.add_argument("--predictions", required=True, nargs="+", type=Path, help="predictions.parquet files")
    options.add_argument("--tasks", required=True, type=Path, help="tasks.tsv")
    options.add_argument("--stage", default="score", help="name and version of the stage")
    options.add_argument("--scores", required=True, type=Path, help="where to write the scores")
    return options


def metrics_of(table: pd.DataFrame, meta: PredictionsMeta) -> dict[str, float]:
    """Return every metric and every cost of one predictions file."""
    if meta.kind == "classification":
        classes, values = score_columns(table)
        metrics = classification_metrics(
            table["truth"].to_numpy(str),
            table["predicted"].to_numpy(str),
            classes=classes,
            scores=values,
        )
    else:
        metrics = regression_metrics(
            table["truth"].to_numpy(float),
            table["predicted"].to_numpy(float),
            drugs=table["drug"].to_numpy(str),
            lines=table["line"].to_numpy(str),
        )
    return {**metrics, **{cost: float(getattr(meta, cost)) for cost in scores.COSTS}}


def scored(path: Path, tasks: Table[Task]) -> pd.DataFrame:
    """Read and score one file.

    Raises
    ------
    InputError
        If its task is unknown, or the task's headline is no metric of such predictions.
    """
    table, meta = predictions.read(path)
    metrics = metrics_of(table, meta)
    check_headline(tasks.row(meta.task), metrics, tasks.file)
    return pd.DataFrame(
        {
            "task": meta.task,
            "method": meta.method,
            "seed": meta.seed,
            "metric": list(metrics),
            "value": list(metrics.values()),
        }
    )


def check_headline(task: Task, metrics: Mapping[str, float], file: Path) -> None:
    """Refuse a task whose headline metric was not computed."""
    if task.headline not in metrics:
        raise InputError(
            file=file,
            field=f"headline of {task.task}",
            expected=f"one of {', '.join(name for name in metrics if name not in scores.COSTS)}",
            found=task.headline,
            remedy="correct the task's headline",
        )


def main(argv: Sequence[str] | None = None) -> None:
    """Read all predictions, score them, write one table."""
    args = parser().parse_args(argv)
    tasks = tables.read_tasks(args.tasks)
    table = pd.concat([scored(path, tasks) for path in args.predictions], ignore_index=True)
    scores.write(table, args.scores)
    print(f"{len(table)} scores of {len(args.predictions)} predictions")


if __name__ == "__main__":
    run(main)
