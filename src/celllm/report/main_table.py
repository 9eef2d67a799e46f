"""The main table: every task and method, mean and interval over splits, with the published value.

It holds nothing that differs between two runs of the same code: times and memory are a table of their own.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence

import pandas as pd

from celllm.base.report_table import ReportTable, as_markdown
from celllm.config.claims import Answer
from celllm.config.tables import Task
from celllm.report.catalogue import Catalogue, metric_title
from celllm.report.neighbours import MISSING, alone
from celllm.report.results import Results

NOT_RUN = "not run"

_KINDS = {
    "classification": "Cells: annotation and drug sensitivity",
    "regression": "Cell lines: drug response",
}
FAILED = "failed"

_NOTE = (
    "Mean over splits [95 % t interval]; the runs of several model seeds on one split are averaged first. Protocol "
    "clean: options and epochs are chosen on a validation part; compat: the epoch is chosen on the reported cells, as "
    "in the released code. The column *paper* holds published values of config/claims.tsv. "
    f"*{MISSING}*: an encoder's number is not shown without the linear model and the network without pretraining "
    f"beside it. *{FAILED}*: cells of the benchmark that failed are listed in the table of that name."
)


def main_table(
    results: Results,
    answers: Sequence[Answer],
    *,
    catalogue: Catalogue,
    failed: Mapping[tuple[str, str], int] | None = None,
    not_run: Collection[str] = (),
) -> ReportTable:
    """Summarise the long table of scores, a row a task and method, in the order of config/*.tsv.

    Parameters
    ----------
    results
        All scores.
    answers
        Answered claims; they supply the published values, for tasks on real data only.
    catalogue
        Tasks, methods and data sets.
    failed
        Number of failed cells by task and method. Means are over the others; without any the value is `failed`.
    not_run
        Tasks that get one row saying so.

    Returns
    -------
    In the rows: `value`, `value_low`, `value_high` of the task's headline metric, then three such columns a
    metric. `value` is a text where there is no number to show.
    """
    hidden = alone(results, catalogue)
    failed = failed or {}
    metrics = results.metrics()
    rows: list[dict[str, object]] = []
    for task in catalogue.tasks:
        if task.task in not_run:
            rows.append(_head(task.task, "-", catalogue) | {"n_splits": 0, "n_failed": 0, "value": NOT_RUN})
            continue
        for method in catalogue.methods:
            n_failed = failed.get((task.task, method.method), 0)
            has_scores = results.has(task.task, method.method)
            if not has_scores and not n_failed:
                continue
            found = results.summary(task.task, method.method, task.headline)
            numbers: dict[str, object] = {"value": FAILED}
            if has_scores:
                is_hidden = (task.task, method.method) in hidden
                numbers = {"value": MISSING} if is_hidden else _numbers(results, task, method.method, metrics)
            rows.append(
                _head(task.task, method.method, catalogue)
                | {"n_splits": found.n_splits, "n_seeds": found.n_seeds, "n_failed": n_failed}
                | numbers
                | {"paper": _published(answers, task.task, method.method, catalogue)},
            )
    columns = [
        *("task", "dataset", "protocol", "method", "n_splits", "n_seeds", "n_failed", "headline"),
        *("value", "value_low", "value_high", "paper"),
        *(column for name in metrics for column in (name, f"{name}_low", f"{name}_high")),
    ]
    frame = pd.DataFrame(rows, columns=columns)
    return ReportTable("main", frame, _markdown(frame, metrics, catalogue))


def interval_text(mean: float, low: float, high: float, *, digits: int = 3) -> str:
    """Write `mean [low, high]`; the mean alone where one split has no interval, nothing where undefined."""
    if math.isnan(mean):
        return "undefined"
    if math.isnan(low):
        return f"{mean:.{digits}f}"
    return f"{mean:.{digits}f} [{low:.{digits}f}, {high:.{digits}f}]"


def _head(task: str, method: str, catalogue: Catalogue) -> dict[str, object]:
    return {
        "task": task,
        "dataset": catalogue.dataset_title(task),
        "protocol": catalogue.tasks.row(task).protocol,
        "method": method,
        "headline": catalogue.headline(task),
    }


def _numbers(results: Results, task: Task, method: str, metrics: Iterable[str]) -> dict[str, object]:
    numbers: dict[str, object] = {}
    for name, column in ((task.headline, "value"), *((name, name) for name in metrics)):
        found = results.summary(task.task, method, name)
        numbers |= {column: found.mean, f"{column}_low": found.low, f"{column}_high": found.high}
    return numbers


def _published(answers: Iterable[Answer], task: str, method: str, catalogue: Catalogue) -> str:
    """Published values of the headline metric; several sources may differ. None for simulated data."""
    if catalogue.is_simulated(task):
        return ""
    return "; ".join(
        f"{answer.claim.paper:g}"
        for answer in answers
        if answer.claim.task == task
        and answer.claim.method == method
        and answer.claim.metric == catalogue.headline(task)
    )


def _markdown(frame: pd.DataFrame, metrics: Sequence[str], catalogue: Catalogue) -> str:
    parts = ["# Main table", _NOTE]
    for kind, title in _KINDS.items():
        of_kind = frame[[catalogue.tasks.row(task).kind == kind for task in frame["task"]]]
        if of_kind.empty:
            continue
        present = [name for name in metrics if of_kind[name].notna().any()]
        parts.append(as_markdown(_shown(of_kind, present, catalogue), title=title))
    return "\n\n".join(part.rstrip("\n") for part in parts) + "\n"


def _shown(frame: pd.DataFrame, metrics: Sequence[str], catalogue: Catalogue) -> pd.DataFrame:
    titles = {method.method: method.title for method in catalogue.methods}
    shown = []
    for row in frame.to_dict("records"):
        value = row["value"]
        has_number = not isinstance(value, str)
        cells = {
            "task": catalogue.task_title(row["task"]),
            "data": row["dataset"],
            "protocol": row["protocol"],
            "method": titles.get(row["method"], row["method"]),
            "splits": str(row["n_splits"]),
            "model seeds": "" if math.isnan(row["n_seeds"]) else f"{row['n_seeds']:.0f}",
            "failed": str(row["n_failed"] or ""),
            "leads with": metric_title(row["headline"]),
            "value": interval_text(value, row["value_low"], row["value_high"]) if has_number else value,
            "paper": row["paper"] if isinstance(row["paper"], str) else "",
        }
        for name in metrics:
            is_shown = has_number and name != row["headline"] and not math.isnan(row[name])
            cells[metric_title(name)] = (
                interval_text(row[name], row[f"{name}_low"], row[f"{name}_high"]) if is_shown else ""
            )
        shown.append(cells)
    return pd.DataFrame(shown)
