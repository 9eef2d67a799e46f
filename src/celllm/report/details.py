"""The page of details: spreads, single classes, choices and configuration in force."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from celllm.base.report_table import Column, ReportTable, frame_of
from celllm.config import recipe as recipe_files
from celllm.config import recipe_choices
from celllm.config.catalogue import Catalogue
from celllm.config.recipe import Recipe
from celllm.report.references import shown_pairs
from celllm.report.results import Results
from celllm.report.titles import metric_title, task_and_method

_F1_OF_CLASS = "f1:"


def tables_of_details(catalogue: Catalogue, results: Results, recipes: Mapping[str, Recipe]) -> list[ReportTable]:
    """Return the tables of the page, in its order; the rows of the first stand beside the page."""
    return [
        config_table(catalogue.config),
        spread_table(results, catalogue),
        classes_table(results, catalogue),
        choices_table(recipes),
    ]


def spread_table(results: Results, catalogue: Catalogue) -> ReportTable:
    """Set the spreads between splits, between model seeds on the same split and between pretraining seeds apart."""
    rows, pairs = [], list(shown_pairs(results, catalogue))
    for task, method in pairs:
        found = vars(results.summary(task.task, method, task.headline))
        numbers = {name: found[name] for name in ("n_splits", "n_seeds", "sd_splits", "sd_seeds")}
        alike = [name for one, name in pairs if one is task and catalogue.methods[name].stem == method]
        means = [results.mean(task.task, name, task.headline) for name in alike]
        numbers["sd_pretraining"] = float(np.std(means, ddof=1)) if len(means) > 1 else math.nan
        rows.append({"task": task.task, "method": method, "metric": task.headline} | numbers)
    columns = [
        *task_and_method(catalogue),
        Column("metric", show=metric_title),
        Column("n_splits", "splits", ",d"),
        Column("n_seeds", "model seeds", ",d"),
        Column("sd_splits", "SD between splits", ".3f"),
        Column("sd_seeds", "SD between model seeds", ".3f"),
        Column("sd_pretraining", "SD between pretraining seeds", ".3f"),
    ]
    note = (
        "Standard deviation of the headline metric. Between splits: of means over model seeds. Between model seeds: on "
        "the same split, pooled over splits; empty where one seed was run, as for methods without random numbers. "
        "Between pretraining seeds: of means over splits, beside the first of them."
    )
    return ReportTable(
        "spread", frame_of(rows, columns), columns, "Spread by split, model seed and pretraining seed", note
    )


def classes_table(results: Results, catalogue: Catalogue) -> ReportTable:
    """List the F1 of every class, mean and interval over splits."""
    f1 = [name for name in results.metrics(classes=True) if name.startswith(_F1_OF_CLASS)]
    rows = []
    for task, method in shown_pairs(results, catalogue):
        for name in (name for name in f1 if results.splits(task.task, method, name)):
            found = results.summary(task.task, method, name)
            head = {"task": task.task, "method": method, "class": name.removeprefix(_F1_OF_CLASS)}
            numbers = {"n_splits": found.n_splits, "f1": found.mean, "f1_low": found.low, "f1_high": found.high}
            rows.append(head | numbers)
    columns = [
        *(*task_and_method(catalogue), Column("class"), Column("n_splits", "splits", ",d")),
        Column("f1", "F1", ".3f", is_interval=True),
    ]
    note = "Mean over the splits whose test cells or predictions have the class. A mean over classes hides which fail."
    return ReportTable("classes", frame_of(rows, columns), columns, "F1 of every class", note)


def read_recipes(text: str) -> dict[str, Recipe]:
    """Parse recipes by name, given as JSON."""
    return {name: recipe_files.parse(values, file="--recipes") for name, values in json.loads(text).items()}


def choices_table(recipes: Mapping[str, Recipe]) -> ReportTable:
    """List every recipe key whose value the paper does not give, with the value in force.

    Keys without effect in a recipe, such as the temperature of a loss of weight 0, are left out.
    """
    rows = [
        {"recipe": name, "key": key, "value": _at(recipe, key), "mark": "our choice"}
        for name, recipe in recipes.items()
        for key in recipe_choices.in_force(recipe)
    ]
    columns = [Column("recipe", "encoder"), Column("key"), Column("value")]
    note = "The paper gives no value for these keys, or another one. None of them may be quoted as the paper's."
    return ReportTable("choices", frame_of(rows, columns), columns, "Our choices in force", note)


def _at(recipe: Recipe, key: str) -> str:
    value: Any = recipe.model_dump(mode="json")
    for part in key.split("."):
        value = value[part]
    return _text(value)


def _text(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def config_table(config: Mapping[str, Any]) -> ReportTable:
    """List the configuration in force, all files and command-line overrides merged."""
    columns = [Column("key"), Column("value")]
    rows = [{"key": key, "value": _text(value)} for key, value in _flat(config).items()]
    return ReportTable("config", frame_of(rows, columns), columns, "Configuration in force")


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in values.items():
        found |= _flat(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {f"{prefix}{key}": value}
    return found
