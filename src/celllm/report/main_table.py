"""The main table: every task and method, mean and interval over splits, with the published value.

It holds nothing that differs between two runs of the same code: runtime and memory are a table of their own.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

import pandas as pd

from celllm.base.report_table import Column, ReportTable
from celllm.bench.scores import COSTS
from celllm.config.catalogue import Catalogue
from celllm.config.tables import Task
from celllm.report.references import WITHHELD, withheld
from celllm.report.results import Results
from celllm.report.titles import data_title, metric_title, task_and_method

NOT_RUN = "not run"
FAILED = "failed"
UNDEFINED = "undefined"

_SECTIONS = {
    "classification": "Cells: annotation and drug sensitivity",
    "regression": "Cell lines: drug response",
}


def main_table(
    results: Results,
    catalogue: Catalogue,
    failures: pd.DataFrame | None = None,
) -> ReportTable:
    """Summarise the long table of scores, a row a task and method, in the order of config/*.tsv.

    A task that was not run has one row saying so; means are over the runs that did not fail, and a method without any
    has the value `failed`. In the rows: `value`, `value_low`, `value_high` of the task's headline metric, and `each`,
    the values of few donors; then three such columns a metric. `value` is a text where there is no number to show.
    """
    hidden = withheld(results, catalogue)
    n_failed = Counter() if failures is None else Counter(zip(failures["task"], failures["method"], strict=True))
    metrics = results.metrics()
    rows: list[dict[str, object]] = []
    for task in catalogue.tasks.values():
        if task.task in catalogue.not_run:
            rows.append(_head(task, "-", catalogue) | {"n_splits": 0, "n_failed": 0, "value": NOT_RUN})
            continue
        for method in catalogue.methods:
            key = (task.task, method)
            if not results.has(*key) and not n_failed[key]:
                continue
            found = results.summary(*key, task.headline)
            numbers: dict[str, object] = {"value": FAILED}
            if results.has(*key):
                numbers = {"value": WITHHELD} if key in hidden else _numbers(results, task, method, metrics)
            rows.append(
                _head(task, method, catalogue)
                | {"n_splits": found.n_splits, "n_seeds": found.n_seeds, "n_failed": n_failed[key]}
                | numbers
                | {"paper": _published(catalogue, task, method)},
            )
    columns = [
        *("task", "dataset", "protocol", "method", "n_splits", "n_seeds", "n_failed", "headline"),
        *("value", "value_low", "value_high", "each", "paper"),
        *(column for name in metrics for column in (name, f"{name}_low", f"{name}_high")),
    ]
    frame = pd.DataFrame(rows, columns=columns)
    sections = [_SECTIONS[catalogue.tasks[task].kind] for task in frame["task"]]
    shown = frame.copy()
    shown["value"] = [
        f"{value:.3f} ({each})" if isinstance(each, str) and each else value
        for value, each in zip(frame["value"], frame["each"], strict=True)
    ]
    for name in metrics:  # the headline metric stands in a column of its own
        shown[name] = shown[name].where(shown["headline"] != name)
    return ReportTable("main", frame, _columns(catalogue, metrics), sections=sections, shown=shown)


def _columns(catalogue: Catalogue, metrics: Sequence[str]) -> list[Column]:
    task, method = task_and_method(catalogue)
    return [
        task,
        method,
        Column("headline", "headline metric", metric_title),
        Column("value", "headline", ".3f", is_interval=True, undefined=UNDEFINED),
        Column("paper", "paper"),
        *(Column(name, metric_title(name), ".3f", is_interval=True) for name in metrics),
        Column("n_splits", "splits", ",d"),
        Column("n_seeds", "model seeds", ",d"),
        Column("n_failed", "failed runs", lambda number: str(number or "")),
        Column("dataset", "data"),
        Column("protocol"),
    ]


def _head(task: Task, method: str, catalogue: Catalogue) -> dict[str, object]:
    return {
        "task": task.task,
        "dataset": data_title(catalogue, task.task),
        "protocol": task.protocol,
        "method": method,
        "headline": task.headline,
    }


def _numbers(results: Results, task: Task, method: str, metrics: Iterable[str]) -> dict[str, object]:
    numbers: dict[str, object] = {}
    for name, column in ((task.headline, "value"), *((name, name) for name in metrics)):
        found = results.summary(task.task, method, name)
        numbers |= {column: found.mean, f"{column}_low": found.low, f"{column}_high": found.high}
    each = results.summary(task.task, method, task.headline).each
    return numbers | {"each": " ".join(f"{value:.3f}" for value in each)}


def _published(catalogue: Catalogue, task: Task, method: str) -> str:
    """Published values of the headline metric; several sources may differ. None for simulated data."""
    if catalogue.is_simulated(task.task):
        return ""
    of_task = [claim for claim in catalogue.claims if (claim.task, claim.metric) == (task.task, task.headline)]
    return "; ".join(f"{claim.paper:g}" for claim in of_task if claim.method == method)


def failures_table(failures: pd.DataFrame, catalogue: Catalogue) -> ReportTable:
    """List every failed run with its message and its log."""
    others = [Column(name) for name in failures.columns if name not in ("task", "method")]
    return ReportTable("failures", failures, [*task_and_method(catalogue), *others])


def costs_table(results: Results, catalogue: Catalogue) -> ReportTable:
    """List what each method took on each task, as means over splits: runtime, memory, numbers trained."""
    rows = [
        {
            "task": task,
            "method": method,
            "n_splits": len(results.splits(task, method, COSTS[0])),
            **{cost: results.mean(task, method, cost) for cost in COSTS},
        }
        for task in catalogue.tasks
        for method in catalogue.methods
        if results.has(task, method)
    ]
    formats = dict(zip(COSTS, (",.1f", ",.2f", ",.0f", ",.0f", ",.0f"), strict=True))
    columns = [Column("n_splits", "splits", ",d"), *(Column(cost, metric_title(cost), formats[cost]) for cost in COSTS)]
    frame = pd.DataFrame(rows, columns=["task", "method", "n_splits", *COSTS])
    return ReportTable("costs", frame, [*task_and_method(catalogue), *columns])
