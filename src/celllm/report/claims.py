"""Published numbers against ours."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Sequence

import numpy as np
import pandas as pd

from celllm.contracts.claims import Answer, Claim, Verdict
from celllm.metrics.interval import mean_interval
from celllm.report.catalogue import Catalogue
from celllm.report.neighbours import MISSING, missing_neighbours, seeds_of

# Values are written with ten digits; a distance that equals the tolerance on paper must not fail by rounding.
_ROUNDING = 1e-9


def answer_claims(
    claims: Iterable[Claim],
    scores: pd.DataFrame,
    *,
    catalogue: Catalogue,
    not_run: Collection[str] = (),
) -> list[Answer]:
    """Put our mean over seeds beside each published number.

    Reproduced means that our mean lies within the tolerance of the published value, above it or below: a
    number that is far better than the paper's was not reproduced either.

    Parameters
    ----------
    claims
        Published numbers.
    scores
        Long table: task, method, seed, metric, value.
    catalogue
        Tasks, methods and data sets. A task on simulated data is never compared with a published number.
    not_run
        Tasks the configuration names but could not run.

    Returns
    -------
    One answer a claim, in order. `not run` where a task, method or metric has no score; `not comparable`
    where the data are simulated, a neighbour is missing, or the metric is undefined for a seed.
    """
    return [_answer(claim, scores, catalogue=catalogue, not_run=not_run) for claim in claims]


def _answer(
    claim: Claim,
    scores: pd.DataFrame,
    *,
    catalogue: Catalogue,
    not_run: Collection[str],
) -> Answer:
    method = catalogue.methods.row(claim.method)
    simulated = [task for task in claim.tasks if catalogue.is_simulated(task)]
    absent = [
        task
        for task in claim.tasks
        if task in not_run or not seeds_of(scores, task=task, method=claim.method, metric=claim.metric)
    ]
    if absent:
        return _without_number(claim, "not run", f"no score for {', '.join(absent)}")
    if simulated:
        return _without_number(claim, "not comparable", "simulated data")
    alone = [task for task in claim.tasks if missing_neighbours(scores, task=task, method=method, metric=claim.metric)]
    if alone:
        return _without_number(claim, "not comparable", f"{MISSING} on {', '.join(alone)}")
    values = _means_by_seed(claim, scores)
    if not values:
        return _without_number(claim, "not run", "the tasks share no seed")
    ours, low, high = mean_interval(values)
    if math.isnan(ours):
        return _without_number(claim, "not comparable", f"{claim.metric} is undefined for a seed")
    close = abs(ours - claim.paper) <= claim.tolerance + _ROUNDING
    return Answer(claim, ours, low, high, len(values), "reproduced" if close else "not reproduced")


def _means_by_seed(claim: Claim, scores: pd.DataFrame) -> Sequence[float]:
    """Mean over the claim's tasks for each seed that all of them have."""
    rows = scores[
        scores["task"].isin(claim.tasks) & (scores["method"] == claim.method) & (scores["metric"] == claim.metric)
    ]
    shared = frozenset.intersection(
        *(seeds_of(scores, task=task, method=claim.method, metric=claim.metric) for task in claim.tasks),
    )
    return [float(rows.loc[rows["seed"] == seed, "value"].to_numpy(np.float64).mean()) for seed in sorted(shared)]


def _without_number(claim: Claim, verdict: Verdict, note: str) -> Answer:
    return Answer(claim, math.nan, math.nan, math.nan, 0, verdict, note)
