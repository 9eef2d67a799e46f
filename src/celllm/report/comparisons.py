"""Ours against every other method, by paired tests; the linear model between its controls.

Corrected for their number are the comparisons that were stated beforehand, a question for each task: against itself
without pretraining, the matched encoder and the best linear model. The others stand below, uncorrected.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from celllm.base.interval import MIN_GROUPS, Mean, mean_over
from celllm.base.report_table import Column, ReportTable, frame_of
from celllm.bench.influence import Influence
from celllm.bench.metrics import bounds_of, is_better
from celllm.config.catalogue import Catalogue
from celllm.config.references import CONTROLS, LINEAR_MODELS, controls_of, linear_reference
from celllm.config.tables import MATCHED, SCRATCH, Claim, Method, Task
from celllm.report.main_table import NOT_RUN, UNDEFINED
from celllm.report.references import withheld
from celllm.report.results import Results, read_influences
from celllm.report.titles import method_title, metric_title, task_and_method, task_title

OURS = "ours"
LEVEL = 0.05
"""False discovery rate below which a difference is said to be one."""
CALIBRATION = "ece"
NO_DIFFERENCE = "no difference shown"
LINEAR_RIVAL, OTHERS = "the best linear model", ""
"""Questions of the family, among those of `_family`; what is not of the family answers none."""
_Influences = Mapping[tuple[str, str], Mapping[int, Influence]]


def compare(results: Results, catalogue: Catalogue, influences: _Influences | None = None) -> list[dict[str, Any]]:
    """Compare the methods of role `ours` with all others but controls, in the order of config/*.tsv.

    Left out are methods whose numbers are withheld, for want of a reference baseline. Where there are `influences` of
    the test units on the headline metric, the uncertainty of a difference comes from the test units too.
    """
    hidden = withheld(results, catalogue)
    found = []
    for task in catalogue.tasks.values():
        of_kind = [row for row in catalogue.methods.values() if row.kind == task.kind and row.role not in CONTROLS]
        shown = [method for method in of_kind if (task.task, method.method) not in hidden]
        questions = _family(results, task, shown)
        for ours in (method for method in shown if method.role == OURS):
            for other in (method for method in shown if method.role != OURS):
                question = questions.get(other.method, OTHERS)
                head = {"task": task.task, "metric": task.headline, "ours": ours.method, "other": other.method}
                numbers = _compared(results, task, ours, other, catalogue.claims, influences or {})
                if numbers["n_splits"]:
                    found.append(head | {"question": question} | numbers)
    return found


def _family(results: Results, task: Task, methods: Sequence[Method]) -> dict[str, str]:
    """Return the rivals that a task's question is about, each with the question.

    They are the same network without pretraining, the scBERT-like encoder of the same cells and steps, and of the
    linear models the one with the best mean: chosen by the reported score, which favours the rival.
    """
    names = {SCRATCH: "itself without pretraining", MATCHED: "an encoder pretrained as scBERT"}
    family = {method.method: names[method.role] for method in methods if method.role in names}
    best, value = "", math.nan
    for method in (method for method in methods if method.role in LINEAR_MODELS):
        mean = results.mean(task.task, method.method, task.headline)
        if is_better(mean, value, metric=task.headline):
            best, value = method.method, mean
    return family | ({best: LINEAR_RIVAL} if best else {})


def _compared(
    results: Results,
    task: Task,
    ours: Method,
    other: Method,
    claims: Sequence[Claim],
    influences: _Influences,
) -> dict[str, Any]:
    """Return mean difference over splits, its interval, p, the published difference or nan, and what p is worth."""
    mine = results.by_split(task.task, ours.method, task.headline)
    theirs = results.by_split(task.task, other.method, task.headline)
    shared = [split for split in mine if split in theirs]
    one, two = (influences.get((task.task, method.method), {}) for method in (ours, other))
    errors = [(one[split] - two[split]).error if split in one and split in two else math.nan for split in shared]
    found = mean_over(
        [mine[split] - theirs[split] for split in shared], errors, **results.shares(task.task, ours.method)
    )
    bounds = bounds_of(task.headline)
    low, high = found.interval(None if bounds is None else (bounds[0] - bounds[1], bounds[1] - bounds[0]))
    of_task = [claim for claim in claims if (claim.task, claim.metric) == (task.task, task.headline)]
    published = {claim.method: claim.paper for claim in reversed(of_task)}  # the first of several counts: CellLM's own
    paper = published.get(ours.method, math.nan) - published.get(other.method, math.nan)
    return {
        "n_splits": len(shared),
        "difference": found.value,
        "difference_low": low,
        "difference_high": high,
        "p": found.p,
        "q": math.nan,
        "verdict": _verdict(found, len(shared), task),
        "paper": paper,
    }


def corrected(p_values: Sequence[float]) -> list[float]:
    """Return q values: p corrected for their number; nan stays nan and counts for nothing."""
    from scipy import stats  # takes a second to import

    known = [p for p in p_values if not math.isnan(p)]
    if not known:
        return list(p_values)
    q_values = iter(stats.false_discovery_control(known, method="by").tolist())
    return [p if math.isnan(p) else next(q_values) for p in p_values]


def comparisons_table(results: Results, catalogue: Catalogue, runs: Sequence[Path] = ()) -> ReportTable:
    """Lay the comparisons out: those of the family that was stated beforehand first, with q values, then all others."""
    rows = sorted(
        compare(results, catalogue, read_influences(runs, catalogue)), key=lambda row: row["question"] == OTHERS
    )
    stated = [row for row in rows if row["question"] != OTHERS]
    for row, q in zip(stated, corrected([row["p"] for row in stated]), strict=True):
        row["q"] = q
        if q >= LEVEL:
            row["verdict"] = NO_DIFFERENCE
    for row in rows[len(stated) :]:
        if row["verdict"] in ("better", "worse"):
            row["verdict"] = f"{row['verdict']} (p not corrected)" if row["p"] < LEVEL else NO_DIFFERENCE
    columns = [
        task_and_method(catalogue)[0],
        Column("metric", show=metric_title),
        Column("ours", show=lambda name: method_title(catalogue, name)),
        Column("other", show=lambda name: method_title(catalogue, name)),
        Column("difference", show=".3f", is_interval=True, undefined=UNDEFINED),
        *(Column(name, show=".3g") for name in ("p", "q")),
        Column("verdict"),
        Column("question", "stated beforehand: against"),
        Column("paper", show=".3g"),
        Column("n_splits", "splits", ",d"),
    ]
    sections = ["Other comparisons" if row["question"] == OTHERS else "Stated beforehand" for row in rows]
    return ReportTable("comparisons", frame_of(rows, columns), columns, sections=sections)


def _verdict(found: Mean, n_splits: int, task: Task) -> str:
    """Say which way a difference goes, whatever its p, or why there is none."""
    if math.isnan(found.value):
        return "undecided: undefined for a split"
    if not math.isnan(found.p):
        return "better" if is_better(found.value, 0.0, metric=task.headline) else "worse"
    if n_splits < 2:
        return "undecided: too few splits"
    return f"undecided: fewer than {MIN_GROUPS} donors" if task.test == 0 else "undecided: no spread"


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
