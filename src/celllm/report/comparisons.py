"""Ours against every other method, by paired and corrected tests; the linear model between its controls."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from celllm.base.interval import paired_test
from celllm.base.report_table import Column, ReportTable
from celllm.bench.metrics import is_better
from celllm.config.catalogue import Catalogue
from celllm.config.references import CONTROLS, controls_of, linear_reference
from celllm.config.tables import Claim, Method, Task
from celllm.report.main_table import NOT_RUN, UNDEFINED
from celllm.report.references import withheld
from celllm.report.results import Results
from celllm.report.titles import method_title, metric_title, task_and_method, task_title

OURS = "ours"
LEVEL = 0.05
"""False discovery rate below which a difference is said to be one."""
CALIBRATION = "ece"


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


def compare(results: Results, catalogue: Catalogue) -> list[Comparison]:
    """Compare the methods of role `ours` with all others but controls, in the order of config/*.tsv.

    Left out are methods whose numbers are withheld, for want of a reference baseline.
    """
    hidden = withheld(results, catalogue)
    found = []
    for task in catalogue.tasks.values():
        of_kind = [row for row in catalogue.methods.values() if row.kind == task.kind and row.role not in CONTROLS]
        shown = [method for method in of_kind if (task.task, method.method) not in hidden]
        for ours in (method for method in shown if method.role == OURS):
            for other in (method for method in shown if method.role != OURS):
                comparison = _compared(results, task, ours, other, catalogue.claims)
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
    from scipy import stats  # takes a second to import

    known = [p for p in p_values if not math.isnan(p)]
    if not known:
        return list(p_values)
    q_values = iter(stats.false_discovery_control(known, method="by").tolist())
    return [p if math.isnan(p) else next(q_values) for p in p_values]


def comparisons_table(results: Results, catalogue: Catalogue) -> ReportTable:
    """Lay the comparisons out, with q values and verdicts."""
    comparisons = compare(results, catalogue)
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
    names = ["task", "metric", "ours", "other", "n_splits", "difference", "difference_low", "difference_high"]
    frame = pd.DataFrame(rows, columns=[*names, "p", "q", "verdict", "paper"])
    columns = [
        task_and_method(catalogue)[0],
        Column("metric", show=metric_title),
        Column("ours", show=lambda name: method_title(catalogue, name)),
        Column("other", show=lambda name: method_title(catalogue, name)),
        Column("difference", show=".3f", is_interval=True, undefined=UNDEFINED),
        *(Column(name, show=".3g") for name in ("p", "q")),
        Column("verdict"),
        Column("paper", show=".3g"),
        Column("n_splits", "splits", ",d"),
    ]
    return ReportTable("comparisons", frame, columns)


def _verdict(one: Comparison, q: float) -> str:
    if math.isnan(q):
        return "undecided: too few splits" if one.n_splits < 2 else "undecided: undefined for a split"
    if q >= LEVEL:
        return "no difference shown"
    return "better" if is_better(one.difference, 0.0, metric=one.task.headline) else "worse"


def controls_table(results: Results, catalogue: Catalogue) -> ReportTable:
    """Say for each task, split and metric whether the controls bound the linear model, as they must.

    One control is shown the test labels and must win, another learns from shuffled labels and must lose. Where
    they do not, the split, the metric or the plumbing is broken and no other number counts. At the top of
    the scale, where the linear model is right throughout, a tie counts as a win. The calibration error is left out:
    whoever knows nothing and says so is calibrated. Readers see means over splits.
    """
    rows = []
    for task in catalogue.tasks.values():
        lower, upper = controls_of(task, catalogue.methods)
        names = (lower, linear_reference(task, catalogue.methods), upper)
        for metric in (name for name in results.metrics() if name != CALIBRATION):
            found = [results.by_split(task.task, name, metric) for name in names]
            for split in sorted(set().union(*found)):
                values = [of_method.get(split) for of_method in found]
                rows.append(
                    {
                        "task": task_title(catalogue, task.task),
                        "split": split,
                        "metric": metric_title(metric),
                        **dict(zip(_CONTROLS, values, strict=True)),
                        "ordered": _ordered(*values, metric=metric),
                    },
                )
    frame = pd.DataFrame(rows, columns=["task", "split", "metric", *_CONTROLS, "ordered"])
    groups = frame.groupby(["task", "metric"], sort=False)
    shown = groups[list(_CONTROLS)].mean().assign(ordered=groups["ordered"].agg(_counted)).reset_index()
    numbers = [Column(name, show=".3f") for name in _CONTROLS]
    columns = [Column("task"), Column("metric"), *numbers, Column("ordered", "splits in order")]
    return ReportTable("controls", frame, columns, shown=shown)


_CONTROLS = ("shuffled", "linear model", "leaked")


def _counted(ordered: pd.Series[str]) -> str:
    """Say on how many splits the order is right, of those on which it could be, and where a control is missing."""
    if set(ordered) <= {NOT_RUN, UNDEFINED}:
        return str(ordered.iloc[0])
    missing = int((ordered == NOT_RUN).sum())
    of = f"{int((ordered == 'yes').sum())} of {int((ordered != UNDEFINED).sum())}"
    return of + (f" ({missing} without a control)" if missing else "")


def _ordered(shuffled: float | None, linear: float | None, leaked: float | None, *, metric: str) -> str:
    if shuffled is None or linear is None or leaked is None:
        return NOT_RUN
    if math.isnan(shuffled + linear + leaked):
        return UNDEFINED
    wins = is_better(leaked, linear, metric=metric) or leaked == linear == 1
    return "yes" if wins and is_better(linear, shuffled, metric=metric) else "no"
