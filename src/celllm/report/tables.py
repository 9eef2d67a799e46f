"""The report's audit tables: published numbers, controls, costs, choices in force."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from celllm.base.report_table import ReportTable, as_markdown
from celllm.bench.metrics import is_better
from celllm.bench.scores import COSTS
from celllm.config import recipe_choices
from celllm.config.claims import Answer
from celllm.config.neighbours import LEAKED, SHUFFLED, linear_of
from celllm.config.recipe import Recipe
from celllm.report.catalogue import Catalogue, metric_title
from celllm.report.main_table import NOT_RUN, interval_text
from celllm.report.results import Results

UNDEFINED = "undefined"
CALIBRATION = "ece"


def claims_table(answers: Sequence[Answer]) -> ReportTable:
    """Published numbers with ours beside them, as a reader sees them."""
    rows = pd.DataFrame(
        [
            {
                "claim": answer.claim.claim,
                "task": answer.claim.task,
                "method": answer.claim.method,
                "metric": metric_title(answer.claim.metric),
                "paper": f"{answer.claim.paper:g} ± {answer.claim.tolerance:g}",
                "ours": "" if math.isnan(answer.ours) else interval_text(answer.ours, answer.ci_low, answer.ci_high),
                "splits": answer.n_splits,
                "verdict": answer.verdict,
                "note": answer.note,
                "source": answer.claim.source,
            }
            for answer in answers
        ],
    )
    note = "Reproduced: our mean lies within the tolerance behind ±, which is ours and not the paper's."
    return ReportTable("verdicts", rows, as_markdown(rows, title="Published numbers and ours", note=note))


def controls_table(results: Results, catalogue: Catalogue) -> ReportTable:
    """Say for each task, split and metric whether the controls bound the linear model, as they must.

    One control is shown the test labels and must win, another learns from shuffled labels and must lose. Where
    they do not, the split, the metric or the plumbing is broken and no other number counts. At the top of
    the scale, where the linear model is right throughout, a tie counts as a win. The calibration error is left out:
    whoever knows nothing and says so is calibrated.
    """
    rows = []
    for task in catalogue.tasks:
        names = (SHUFFLED[task.kind], linear_of(task), LEAKED[task.kind])
        for metric in (name for name in results.metrics() if name != CALIBRATION):
            found = [results.by_split(task.task, name, metric) for name in names]
            for split in sorted(set().union(*found)):
                values = [of_method.get(split) for of_method in found]
                rows.append(
                    {
                        "task": catalogue.task_title(task.task),
                        "split": split,
                        "metric": metric_title(metric),
                        "shuffled": values[0],
                        "linear model": values[1],
                        "leaked": values[2],
                        "ordered": _ordered(*values, metric=metric),
                    },
                )
    columns = ["task", "split", "metric", "shuffled", "linear model", "leaked", "ordered"]
    frame = pd.DataFrame(rows, columns=columns)
    counts = frame.groupby(["task", "metric"], sort=False)
    shown = pd.DataFrame(
        [
            {
                "task": task,
                "metric": metric,
                **{name: _three(group[name].mean()) for name in columns[3:6]},
                "ordered": _counted(group["ordered"]),
            }
            for (task, metric), group in counts
        ]
    )
    note = (
        "Means over splits. Ordered: splits on which shuffled labels lose against the linear model and leaked labels "
        "win; the file beside this one has every split. A metric that is undefined for a method has no order."
    )
    return ReportTable("controls", frame, as_markdown(shown, title="Controls", note=note))


def _counted(ordered: pd.Series[str]) -> str:
    """Say on how many splits the order is right, of those on which it could be, and where a control is missing."""
    if set(ordered) <= {NOT_RUN, UNDEFINED}:
        return str(ordered.iloc[0])
    missing = int((ordered == NOT_RUN).sum())
    of = f"{int((ordered == 'yes').sum())} of {int((ordered != UNDEFINED).sum())}"
    return of + (f" ({missing} without a control)" if missing else "")


def _three(value: float) -> str:
    return "" if pd.isna(value) else f"{value:.3f}"


def _ordered(shuffled: float | None, linear: float | None, leaked: float | None, *, metric: str) -> str:
    if shuffled is None or linear is None or leaked is None:
        return NOT_RUN
    if math.isnan(shuffled + linear + leaked):
        return UNDEFINED
    wins = is_better(leaked, linear, metric=metric) or leaked == linear == 1
    return "yes" if wins and is_better(linear, shuffled, metric=metric) else "no"


def costs_table(results: Results, catalogue: Catalogue) -> ReportTable:
    """List what each method took on each task, as means over splits: time, memory, numbers trained."""
    rows = []
    for task in catalogue.tasks:
        for method in catalogue.methods:
            if not results.has(task.task, method.method):
                continue
            means = {cost: results.mean(task.task, method.method, cost) for cost in COSTS}
            titles = {"task": catalogue.task_title(task.task), "method": method.title}
            rows.append({**titles, "n_splits": len(results.splits(task.task, method.method, COSTS[0])), **means})
    frame = pd.DataFrame(rows, columns=["task", "method", "n_splits", *COSTS])
    shown = frame.copy()
    for cost, digits in zip(COSTS, (1, 2, 0, 0), strict=True):
        shown[cost] = ["" if math.isnan(value) else f"{value:,.{digits}f}" for value in frame[cost]]
    shown = shown.rename(columns={"n_splits": "splits"} | {cost: metric_title(cost) for cost in COSTS})
    note = (
        "Means over splits and model seeds, wall clock. Fit: all trials on the validation part included. Peak memory: "
        "of the whole command, the data included. Pretraining is not counted."
    )
    return ReportTable("costs", frame, as_markdown(shown, title="Costs", note=note))


def choices_table(recipes: Mapping[str, Recipe]) -> ReportTable:
    """List every recipe key whose value the paper does not give, with the value in force.

    Keys without effect in a recipe, such as the temperature of a loss of weight 0, are left out.

    Parameters
    ----------
    recipes
        Those in use, by name.
    """
    rows = pd.DataFrame(
        [
            {
                "recipe": name,
                "key": key,
                "value": _at(recipe, key),
                "mark": "our choice",
            }
            for name, recipe in recipes.items()
            for key in recipe_choices.in_force(recipe)
        ],
        columns=["recipe", "key", "value", "mark"],
    )
    note = "The paper gives no value for these keys, or another one. None of them may be quoted as the paper's."
    shown = rows
    return ReportTable("choices", rows, as_markdown(shown, title="Our choices in force", note=note))


def _at(recipe: Recipe, key: str) -> str:
    value: Any = recipe.model_dump(mode="json")
    for part in key.split("."):
        value = value[part]
    return value if isinstance(value, str) else json.dumps(value)


def config_table(config: Mapping[str, Any]) -> ReportTable:
    """List the configuration in force, all files and command-line overrides merged."""
    rows = pd.DataFrame(
        [
            {"key": key, "value": value if isinstance(value, str) else json.dumps(value)}
            for key, value in _flat(config).items()
        ],
        columns=["key", "value"],
    )
    return ReportTable("config", rows, as_markdown(rows, title="Configuration in force"))


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in values.items():
        found |= _flat(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {f"{prefix}{key}": value}
    return found
