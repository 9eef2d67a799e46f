"""Published numbers against ours."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd

from celllm.base.errors import InputError
from celllm.base.interval import mean_interval
from celllm.base.report_table import Column, ReportTable
from celllm.config.catalogue import Catalogue
from celllm.config.explain import suggestion
from celllm.config.tables import Claim
from celllm.report.references import WITHHELD, missing_references
from celllm.report.results import Results
from celllm.report.titles import metric_title

Verdict = Literal["reproduced", "not reproduced", "not run", "not comparable"]

# Values are written with ten digits; a distance that equals the tolerance on paper must not fail by rounding.
_ROUNDING = 1e-9


@dataclass(frozen=True)
class ClaimResult:
    """A claim with our number beside it.

    Parameters
    ----------
    ours, low, high
        Mean over splits and its 95 % interval; nan where there is nothing to compare.
    n_splits
        Splits behind `ours`.
    note
        Why there is no verdict on the number, where there is none.
    """

    claim: Claim
    ours: float
    low: float
    high: float
    n_splits: int
    verdict: Verdict
    note: str = ""


def compare_claims(results: Results, catalogue: Catalogue) -> list[ClaimResult]:
    """Put our mean over splits beside each published number, in the order of config/claims.tsv.

    Reproduced means that our mean lies within the tolerance of the published value, above it or below: a
    number that is far better than the paper's was not reproduced either. `not run` where a task, method or metric has
    no score; `not comparable` where the data are simulated, the number is withheld, or the metric is undefined for a
    split.

    Raises
    ------
    InputError
        If a claim names a method that there is not.
    """
    return [_compared(claim, results, catalogue) for claim in catalogue.claims]


def _compared(claim: Claim, results: Results, catalogue: Catalogue) -> ClaimResult:
    if claim.method not in catalogue.methods:
        raise InputError(
            file="config/claims.tsv",
            field=f"method of {claim.claim}",
            expected="a method of config/methods.tsv",
            found=repr(claim.method),
            remedy=suggestion(claim.method, catalogue.methods),
        )
    is_absent = {task: not results.splits(task, claim.method, claim.metric) for task in claim.tasks}
    absent = [task for task in claim.tasks if task in catalogue.not_run or is_absent[task]]
    if absent:
        return _without_number(claim, "not run", f"no score for {', '.join(absent)}")
    if any(catalogue.is_simulated(task) for task in claim.tasks):
        return _without_number(claim, "not comparable", "simulated data")
    method = catalogue.methods[claim.method]
    alone = [
        task
        for task in claim.tasks
        if missing_references(results, catalogue, task=catalogue.tasks[task], method=method, metric=claim.metric)
    ]
    if alone:
        return _without_number(claim, "not comparable", f"{WITHHELD} on {', '.join(alone)}")
    values = _means_by_split(claim, results)
    if not values:
        return _without_number(claim, "not run", "the tasks share no split")
    ours, low, high = mean_interval(values)
    if math.isnan(ours):
        return _without_number(claim, "not comparable", f"{claim.metric} is undefined for a split")
    close = abs(ours - claim.paper) <= claim.tolerance + _ROUNDING
    return ClaimResult(claim, ours, low, high, len(values), "reproduced" if close else "not reproduced")


def _means_by_split(claim: Claim, results: Results) -> Sequence[float]:
    """Mean over the claim's tasks for each split that all of them have."""
    found = [results.by_split(task, claim.method, claim.metric) for task in claim.tasks]
    shared = frozenset.intersection(*(frozenset(of_task) for of_task in found))
    return [float(np.mean([of_task[split] for of_task in found])) for split in sorted(shared)]


def _without_number(claim: Claim, verdict: Verdict, note: str) -> ClaimResult:
    return ClaimResult(claim, math.nan, math.nan, math.nan, 0, verdict, note)


def claims_table(results: Results, catalogue: Catalogue) -> ReportTable:
    """Set each published number beside ours, with the verdict."""
    names = ("claim", "source", "task", "method", "metric", "paper", "tolerance")
    rows = pd.DataFrame(
        [
            {
                **{name: getattr(one.claim, name) for name in names},
                "ours": one.ours,
                "ours_low": one.low,
                "ours_high": one.high,
                "n_splits": one.n_splits,
                "verdict": one.verdict,
                "note": one.note,
            }
            for one in compare_claims(results, catalogue)
        ]
    )
    columns = [
        *(Column(name) for name in ("claim", "task", "method")),
        Column("metric", show=metric_title),
        Column("paper", show="g"),
        Column("tolerance", "± tolerance", "g"),
        Column("ours", show=".3f", is_interval=True),
        Column("n_splits", "splits", ",d"),
        *(Column(name) for name in ("verdict", "note", "source")),
    ]
    return ReportTable("claims", rows, columns)
