"""The report's tables about single cells of the benchmark: what failed, what was tried, spreads, single classes."""

from __future__ import annotations

import math

import pandas as pd

from celllm.base.report_table import ReportTable, as_markdown
from celllm.report.catalogue import Catalogue, metric_title
from celllm.report.main_table import interval_text
from celllm.report.neighbours import alone
from celllm.report.results import Results

_F1_OF_CLASS = "f1:"


def failed_table(failed: pd.DataFrame, catalogue: Catalogue) -> ReportTable:
    """List every cell of the benchmark that failed, with its message and its log."""
    shown = failed.assign(
        task=[catalogue.task_title(task) for task in failed["task"]],
        method=[catalogue.methods.row(method).title for method in failed["method"]],
    )
    note = (
        "A cell is a task, a method, a split and a model seed. Its log begins with the command that runs it again by "
        "hand. To have the workflow try again, remove its predictions.parquet: snakemake --forcerun score."
    )
    return ReportTable(
        "failed", failed, as_markdown(shown, title="Cells that failed", note=note if len(failed) else "")
    )


def trials_table(trials: pd.DataFrame, results: Results, catalogue: Catalogue) -> ReportTable:
    """Say for each task and method which options were tried on validation parts, and how often each was chosen.

    The score on validation is left out of a method whose numbers may not be shown.
    """
    hidden = alone(results, catalogue)
    rows = []
    for (task, method, options), group in trials.groupby(["task", "method", "options"], sort=False):
        rows.append(
            {
                "task": task,
                "method": method,
                "options": options,
                "tried": len(group),
                "failed": int(group["value"].isna().sum()),
                "validation": math.nan if (task, method) in hidden else float(group["value"].mean()),
                "chosen": int((group["chosen"] == "yes").sum()),
            }
        )
    frame = pd.DataFrame(rows, columns=["task", "method", "options", "tried", "failed", "validation", "chosen"])
    shown = frame.assign(
        task=[catalogue.task_title(task) for task in frame["task"]],
        method=[catalogue.methods.row(method).title for method in frame["method"]],
        validation=["" if math.isnan(value) else f"{value:.3f}" for value in frame["validation"]],
    )
    note = (
        "No method has more trials than another, and the first is its defaults. Validation: mean of the task's "
        "headline metric on the validation part. Few-shot tasks and the protocol compat choose no options."
    )
    return ReportTable("trials", frame, as_markdown(shown, title="Options tried", note=note))


def spread_table(results: Results, catalogue: Catalogue) -> ReportTable:
    """Set the spread between splits beside that between model seeds on the same split."""
    hidden = alone(results, catalogue)
    rows = []
    for task in catalogue.tasks:
        for method in catalogue.methods:
            if (task.task, method.method) in hidden or not results.has(task.task, method.method):
                continue
            found = results.summary(task.task, method.method, task.headline)
            rows.append(
                {
                    "task": task.task,
                    "method": method.method,
                    "metric": task.headline,
                    "n_splits": found.n_splits,
                    "n_seeds": found.n_seeds,
                    "sd_splits": found.sd_splits,
                    "sd_seeds": found.sd_seeds,
                }
            )
    columns = ["task", "method", "metric", "n_splits", "n_seeds", "sd_splits", "sd_seeds"]
    frame = pd.DataFrame(rows, columns=columns)
    shown = pd.DataFrame(
        {
            "task": [catalogue.task_title(task) for task in frame["task"]],
            "method": [catalogue.methods.row(method).title for method in frame["method"]],
            "metric": [metric_title(metric) for metric in frame["metric"]],
            "splits": frame["n_splits"],
            "model seeds": frame["n_seeds"],
            "SD between splits": [_three(value) for value in frame["sd_splits"]],
            "SD between model seeds": [_three(value) for value in frame["sd_seeds"]],
        }
    )
    note = (
        "Between splits: of means over model seeds. Between model seeds: on the same split, pooled over splits; empty "
        "where one seed was run, as for methods without random numbers."
    )
    return ReportTable("spread", frame, as_markdown(shown, title="Split seed and model seed apart", note=note))


def classes_table(results: Results, catalogue: Catalogue) -> ReportTable:
    """List the F1 of every class, mean and interval over splits."""
    hidden = alone(results, catalogue)
    rows = []
    names = [name for name in results.metrics(classes=True) if name.startswith(_F1_OF_CLASS)]
    for task in catalogue.tasks:
        for method in catalogue.methods:
            if (task.task, method.method) in hidden:
                continue
            for name in names:
                if not results.splits(task.task, method.method, name):
                    continue
                found = results.summary(task.task, method.method, name)
                head = {"task": task.task, "method": method.method, "class": name.removeprefix(_F1_OF_CLASS)}
                numbers = {"n_splits": found.n_splits, "f1": found.mean, "f1_low": found.low, "f1_high": found.high}
                rows.append(head | numbers)
    frame = pd.DataFrame(rows, columns=["task", "method", "class", "n_splits", "f1", "f1_low", "f1_high"])
    shown = pd.DataFrame(
        {
            "task": [catalogue.task_title(task) for task in frame["task"]],
            "method": [catalogue.methods.row(method).title for method in frame["method"]],
            "class": frame["class"],
            "splits": frame["n_splits"],
            "F1": [
                interval_text(*row) for row in frame[["f1", "f1_low", "f1_high"]].itertuples(index=False, name=None)
            ],
        }
    )
    note = "Over the splits whose test part or predictions have the class."
    return ReportTable("classes", frame, as_markdown(shown, title="F1 of every class", note=note))


def _three(value: float) -> str:
    return "" if math.isnan(value) else f"{value:.3f}"
