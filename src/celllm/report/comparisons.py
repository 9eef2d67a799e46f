"""Our method against every other on every task: paired tests, corrected for their number."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd
from scipy import stats

from celllm.base.interval import paired_test
from celllm.base.report_table import ReportTable, as_markdown
from celllm.bench.metrics import is_better
from celllm.config.tables import Claim, Method, Task
from celllm.report.catalogue import Catalogue, metric_title
from celllm.report.main_table import interval_text
from celllm.report.neighbours import alone
from celllm.report.results import Results

OURS = "ours"
CONTROL = "control"
LEVEL = 0.05
"""False discovery rate below which a difference is said to be one."""

_NOTE = (
    "Ours minus the other, headline metric, on the splits both have; each split's value is a mean over model seeds. "
    "Interval and p by the corrected resampled t test (Nadeau & Bengio 2003), which allows for the cells that splits "
    "share. q: p corrected for all rows of this table (Benjamini & Yekutieli 2001, any dependence). A verdict needs "
    f"q < {LEVEL:g}. The column *paper* is the published difference of the same two methods, where both are "
    "published, by the first rows of config/claims.tsv that have them."
)


@dataclass(frozen=True)
class Comparison:
    """Two methods on one task: mean difference over splits, its interval, p, and the published difference or nan."""

    task: Task
    ours: Method
    other: Method
    n_splits: int
    difference: float
    low: float
    high: float
    p: float
    paper: float


def compare(results: Results, catalogue: Catalogue, claims: Sequence[Claim] = ()) -> list[Comparison]:
    """Compare the methods of role `ours` with all others but controls, in the order of config/*.tsv.

    Left out are methods whose numbers may not be shown, for want of a neighbour.
    """
    hidden = alone(results, catalogue)
    found = []
    for task in catalogue.tasks:
        of_kind = [method for method in catalogue.methods if method.kind == task.kind and method.role != CONTROL]
        shown = [method for method in of_kind if (task.task, method.method) not in hidden]
        for ours in (method for method in shown if method.role == OURS):
            for other in (method for method in shown if method.role != OURS):
                comparison = _compared(results, task, ours, other, claims)
                if comparison.n_splits:
                    found.append(comparison)
    return found


def _compared(results: Results, task: Task, ours: Method, other: Method, claims: Sequence[Claim]) -> Comparison:
    mine = results.by_split(task.task, ours.method, task.headline)
    theirs = results.by_split(task.task, other.method, task.headline)
    shared = [split for split in mine if split in theirs]
    differences = [mine[split] - theirs[split] for split in shared]
    difference, low, high, p = paired_test(differences, test_to_rest=_test_to_rest(results, task, ours))
    of_task = [claim for claim in claims if (claim.task, claim.metric) == (task.task, task.headline)]
    published = {claim.method: claim.paper for claim in reversed(of_task)}  # the first of several counts: CellLM's own
    paper = published.get(ours.method, math.nan) - published.get(other.method, math.nan)
    return Comparison(task, ours, other, len(shared), difference, low, high, p, paper)


def _test_to_rest(results: Results, task: Task, method: Method) -> float:
    """Return the test units over all others that a split is drawn from, be they used for training or not."""
    if task.test:
        return task.test / (1 - task.test)
    tested, *others = (results.mean(task.task, method.method, size) for size in ("n_test", "n_train", "n_validation"))
    return tested / sum(others)


def corrected(p_values: Sequence[float]) -> list[float]:
    """Return q values: p corrected for their number; nan stays nan and counts for nothing."""
    known = [p for p in p_values if not math.isnan(p)]
    if not known:
        return list(p_values)
    q_values = iter(stats.false_discovery_control(known, method="by").tolist())
    return [p if math.isnan(p) else next(q_values) for p in p_values]


def comparisons_table(comparisons: Sequence[Comparison], catalogue: Catalogue) -> ReportTable:
    """Lay the comparisons out, with q values and verdicts."""
    q_values = corrected([comparison.p for comparison in comparisons])
    rows = [
        {
            "task": one.task.task,
            "metric": one.task.headline,
            "ours": one.ours.method,
            "other": one.other.method,
            "n_splits": one.n_splits,
            "difference": one.difference,
            "difference_low": one.low,
            "difference_high": one.high,
            "p": one.p,
            "q": q,
            "verdict": _verdict(one, q),
            "paper": one.paper,
        }
        for one, q in zip(comparisons, q_values, strict=True)
    ]
    frame = pd.DataFrame(rows, columns=list(_COLUMNS))
    shown = pd.DataFrame(
        [
            {
                "task": catalogue.task_title(one.task.task),
                "metric": metric_title(one.task.headline),
                "ours": one.ours.title,
                "other": one.other.title,
                "splits": one.n_splits,
                "difference": interval_text(one.difference, one.low, one.high),
                "p": _number(one.p),
                "q": _number(q),
                "verdict": _verdict(one, q),
                "paper": _number(one.paper),
            }
            for one, q in zip(comparisons, q_values, strict=True)
        ]
    )
    return ReportTable("comparisons", frame, as_markdown(shown, title="Ours against every other", note=_NOTE))


_COLUMNS = (
    *("task", "metric", "ours", "other", "n_splits", "difference", "difference_low", "difference_high"),
    *("p", "q", "verdict", "paper"),
)


def _verdict(one: Comparison, q: float) -> str:
    if math.isnan(q):
        return "undecided: too few splits" if one.n_splits < 2 else "undecided: undefined for a split"
    if q >= LEVEL:
        return "no difference shown"
    return "better" if is_better(one.difference, 0.0, metric=one.task.headline) else "worse"


def _number(value: float) -> str:
    return "" if math.isnan(value) else f"{value:.3g}"
