"""Published numbers against ours."""

from __future__ import annotations

import math

import numpy as np

from celllm.base.interval import Mean, mean_over
from celllm.base.report_table import Column, ReportTable, frame_of
from celllm.bench.metrics import bounds_of
from celllm.config.catalogue import Catalogue
from celllm.config.explain import unknown
from celllm.config.tables import Claim
from celllm.report.references import WITHHELD, missing_references
from celllm.report.results import Results
from celllm.report.titles import metric_title

# Values are written with ten digits; a distance that equals the tolerance on paper must not fail by rounding.
_ROUNDING = 1e-9


def claims_table(results: Results, catalogue: Catalogue) -> ReportTable:
    """Set our mean over splits beside each published number, in the order of config/claims.tsv.

    A test of equivalence: `reproduced` where the whole interval of our mean lies within the tolerance of the published
    value, `not reproduced` where all of it lies outside, above or below (a number that is far better than the paper's
    was not reproduced either), else `undecided`, as without an interval. `not run` where a task, method or metric has
    no score; `not comparable` where the data are simulated, the number is withheld, or the metric is undefined for a
    split.

    InputError if a claim names a method that there is not.
    """
    columns = [
        *(Column(name) for name in ("claim", "task", "method")),
        Column("metric", show=metric_title),
        Column("paper", show="g"),
        Column("tolerance", "± tolerance", "g"),
        Column("ours", show=".3f", is_interval=True),
        Column("n_splits", "splits", ",d"),
        *(Column(name) for name in ("verdict", "note", "source")),
    ]
    names = ("claim", "source", "task", "method", "metric", "paper", "tolerance")
    rows = [
        {name: getattr(claim, name) for name in names} | _compared(claim, results, catalogue)
        for claim in catalogue.claims
    ]
    return ReportTable("claims", frame_of(rows, columns), columns)


def _compared(claim: Claim, results: Results, catalogue: Catalogue) -> dict[str, object]:
    """Return our number, its interval, the verdict, and why there is none on the number."""
    if claim.method not in catalogue.methods:
        place = {"file": "config/claims.tsv", "field": f"method of {claim.claim}"}
        raise unknown(claim.method, catalogue.methods, **place, expected="a method of config/methods.tsv")
    is_absent = {task: not results.splits(task, claim.method, claim.metric) for task in claim.tasks}
    absent = [task for task in claim.tasks if task in catalogue.not_run or is_absent[task]]
    if absent:
        return _row("not run", f"no score for {', '.join(absent)}")
    if any(catalogue.is_simulated(task) for task in claim.tasks):
        return _row("not comparable", "simulated data")
    method = catalogue.methods[claim.method]
    alone = [
        task
        for task in claim.tasks
        if missing_references(results, catalogue, task=catalogue.tasks[task], method=method, metric=claim.metric)
    ]
    if alone:
        return _row("not comparable", f"{WITHHELD} on {', '.join(alone)}")
    ours, n_splits = _mean(claim, results)
    if not n_splits:
        return _row("not run", "the tasks share no split")
    if math.isnan(ours.value):
        return _row("not comparable", f"{claim.metric} is undefined for a split")
    n_units = min(results.mean(task, claim.method, "n_test") for task in claim.tasks)
    low, high = ours.interval(bounds_of(claim.metric), n_units=n_units)
    return _row(_verdict(claim, low, high), ours=(ours.value, low, high), n_splits=n_splits)


def _row(
    verdict: str, note: str = "", *, ours: tuple[float, ...] = (math.nan,) * 3, n_splits: int = 0
) -> dict[str, object]:
    numbers = dict(zip(("ours", "ours_low", "ours_high"), ours, strict=True))
    return numbers | {"n_splits": n_splits, "verdict": verdict, "note": note}


def _verdict(claim: Claim, low: float, high: float) -> str:
    tolerance = claim.tolerance + _ROUNDING
    if max(abs(low - claim.paper), abs(high - claim.paper)) <= tolerance:
        return "reproduced"
    if low > claim.paper + tolerance or high < claim.paper - tolerance:
        return "not reproduced"
    return "undecided"  # also where there is no interval


def _mean(claim: Claim, results: Results) -> tuple[Mean, int]:
    """Mean over the claim's tasks, split by split, and the number of splits that all of them have."""
    keys = [(task, claim.method, claim.metric) for task in claim.tasks]
    values, errors = [results.by_split(*key) for key in keys], [results.errors(*key) for key in keys]
    shared = sorted(frozenset.intersection(*(frozenset(of_task) for of_task in values)))
    shares = [results.shares(task, claim.method) for task in claim.tasks]
    mean = mean_over(
        [float(np.mean([of_task[split] for of_task in values])) for split in shared],
        # the tasks' cells are different ones
        [math.hypot(*(of_task[split] for of_task in errors)) / len(keys) for split in shared],
        test=float(np.mean([of_task["test"] for of_task in shares])),
        train=float(np.mean([of_task["train"] for of_task in shares])),
    )
    return mean, len(shared)
