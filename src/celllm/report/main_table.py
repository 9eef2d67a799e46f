"""The main table: every task and method, mean and interval over seeds, with the published value.

It holds nothing that differs between two runs of the same code: times and memory are a table of their own.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Sequence

import pandas as pd

from celllm.contracts.claims import Answer
from celllm.contracts.report_table import ReportTable, as_markdown
from celllm.contracts.scores import COSTS
from celllm.metrics.interval import mean_interval
from celllm.report.catalogue import Catalogue, metric_title
from celllm.report.neighbours import MISSING, alone

NOT_RUN = "not run"

_KINDS = {
    "classification": "Cells: annotation and drug sensitivity",
    "regression": "Cell lines: drug response",
}
_NOTE = (
    "Mean over seeds [95 % t interval]; each seed is a split and a fit of its own. The column *paper* holds "
    f"published values of config/claims.tsv. *{MISSING}*: an encoder's number is not shown without the linear "
    "model and the network without pretraining beside it."
)


def main_table(
    scores: pd.DataFrame,
    answers: Sequence[Answer],
    *,
    catalogue: Catalogue,
    not_run: Collection[str] = (),
) -> ReportTable:
    """Summarise the long table of scores, a row a task and method, in the order of config/*.tsv.

    Parameters
    ----------
    scores
        Long table: task, method, seed, metric, value.
    answers
        Answered claims; they supply the published values, for tasks on real data only.
    catalogue
        Tasks, methods and data sets.
    not_run
        Tasks that get one row saying so.

    Returns
    -------
    In the rows: `value`, `value_low`, `value_high` of the task's headline metric, then three such columns a
    metric. `value` is a text where there is no number to show.
    """
    hidden = alone(scores, catalogue)
    metrics = [name for name in dict.fromkeys(scores["metric"].sort_values()) if name not in COSTS]
    rows: list[dict[str, object]] = []
    for task in catalogue.tasks:
        if task.task in not_run:
            rows.append(_head(task.task, "-", catalogue) | {"n_seeds": 0, "value": NOT_RUN})
            continue
        of_task = scores[scores["task"] == task.task]
        for method in catalogue.methods:
            mine = of_task[of_task["method"] == method.method]
            if mine.empty:
                continue
            is_hidden = (task.task, method.method) in hidden
            rows.append(
                _head(task.task, method.method, catalogue)
                | {"n_seeds": mine["seed"].nunique()}
                | ({"value": MISSING} if is_hidden else _numbers(mine, headline=task.headline, metrics=metrics))
                | {"paper": _published(answers, task.task, method.method, catalogue)},
            )
    columns = [
        *("task", "dataset", "protocol", "method", "n_seeds", "headline", "value", "value_low", "value_high", "paper"),
        *(column for name in metrics for column in (name, f"{name}_low", f"{name}_high")),
    ]
    frame = pd.DataFrame(rows, columns=columns)
    return ReportTable("main", frame, _markdown(frame, metrics, catalogue))


def interval_text(mean: float, low: float, high: float, *, digits: int = 3) -> str:
    """Write `mean [low, high]`; the mean alone where one seed has no interval, nothing where undefined."""
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


def _numbers(mine: pd.DataFrame, *, headline: str, metrics: Iterable[str]) -> dict[str, float]:
    found: dict[str, float] = {}
    for name, column in ((headline, "value"), *((name, name) for name in metrics)):
        mean, low, high = mean_interval(_values(mine, name))
        found |= {column: mean, f"{column}_low": low, f"{column}_high": high}
    return found


def _values(mine: pd.DataFrame, metric: str) -> list[float]:
    return [float(value) for value in mine.loc[mine["metric"] == metric, "value"]]


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
            "seeds": str(row["n_seeds"]),
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
