"""Published numbers against ours."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Sequence

import numpy as np

from celllm.base.interval import mean_interval
from celllm.config.claims import Answer, Verdict
from celllm.config.tables import Claim
from celllm.report.catalogue import Catalogue
from celllm.report.neighbours import MISSING, missing_neighbours
from celllm.report.results import Results

# Values are written with ten digits; a distance that equals the tolerance on paper must not fail by rounding.
_ROUNDING = 1e-9


def answer_claims(
    claims: Iterable[Claim],
    results: Results,
    *,
    catalogue: Catalogue,
    not_run: Collection[str] = (),
) -> list[Answer]:
    """Put our mean over splits beside each published number.

    Reproduced means that our mean lies within the tolerance of the published value, above it or below: a
    number that is far better than the paper's was not reproduced either.

    Parameters
    ----------
    claims
        Published numbers.
    results
        All scores.
    catalogue
        Tasks, methods and data sets. A task on simulated data is never compared with a published number.
    not_run
        Tasks the configuration names but could not run.

    Returns
    -------
    One answer a claim, in order. `not run` where a task, method or metric has no score; `not comparable`
    where the data are simulated, a neighbour is missing, or the metric is undefined for a split.
    """
    return [_answer(claim, results, catalogue=catalogue, not_run=not_run) for claim in claims]


def _answer(
    claim: Claim,
    results: Results,
    *,
    catalogue: Catalogue,
    not_run: Collection[str],
) -> Answer:
    method = catalogue.methods.row(claim.method)
    simulated = [task for task in claim.tasks if catalogue.is_simulated(task)]
    absent = [task for task in claim.tasks if task in not_run or not results.splits(task, claim.method, claim.metric)]
    if absent:
        return _without_number(claim, "not run", f"no score for {', '.join(absent)}")
    if simulated:
        return _without_number(claim, "not comparable", "simulated data")
    alone = [
        task
        for task in claim.tasks
        if missing_neighbours(results, task=catalogue.tasks.row(task), method=method, metric=claim.metric)
    ]
    if alone:
        return _without_number(claim, "not comparable", f"{MISSING} on {', '.join(alone)}")
    values = _means_by_split(claim, results)
    if not values:
        return _without_number(claim, "not run", "the tasks share no split")
    ours, low, high = mean_interval(values)
    if math.isnan(ours):
        return _without_number(claim, "not comparable", f"{claim.metric} is undefined for a split")
    close = abs(ours - claim.paper) <= claim.tolerance + _ROUNDING
    return Answer(claim, ours, low, high, len(values), "reproduced" if close else "not reproduced")


def _means_by_split(claim: Claim, results: Results) -> Sequence[float]:
    """Mean over the claim's tasks for each split that all of them have."""
    found = [results.by_split(task, claim.method, claim.metric) for task in claim.tasks]
    shared = frozenset.intersection(*(frozenset(of_task) for of_task in found))
    return [float(np.mean([of_task[split] for of_task in found])) for split in sorted(shared)]


def _without_number(claim: Claim, verdict: Verdict, note: str) -> Answer:
    return Answer(claim, math.nan, math.nan, math.nan, 0, verdict, note)
