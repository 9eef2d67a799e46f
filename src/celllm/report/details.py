"""The page of details: spreads, single classes, options tried, choices and configuration in force."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from celllm.base.report_table import Column, ReportTable
from celllm.config import recipe as recipe_files
from celllm.config import recipe_choices
from celllm.config.catalogue import Catalogue
from celllm.config.recipe import Recipe
from celllm.genes import network as network_file
from celllm.harmonise import cells as cells_file
from celllm.harmonise.harmonisation import Harmonisation
from celllm.harmonise.vocabulary import Vocabulary
from celllm.report.data import samples_table, vocabulary_table
from celllm.report.references import withheld
from celllm.report.results import Results
from celllm.report.titles import metric_title, task_and_method

_F1_OF_CLASS = "f1:"


def tables_of_details(
    catalogue: Catalogue,
    results: Results,
    trials: pd.DataFrame,
    recipes: Mapping[str, Recipe],
    harmonisation: Sequence[Harmonisation],
    genes: Vocabulary,
    cells: Sequence[Path],
    exact_duplicates: pd.DataFrame,
    label_rule: pd.DataFrame,
    labels: pd.DataFrame,
    network: Path | None = None,
) -> list[ReportTable]:
    """Return the tables of the page, in its order."""
    edges = None if network is None else network_file.read(network, vocabulary=genes)
    is_named = np.logical_or.reduce([cells_file.named_genes(path, vocabulary=genes.digest) for path in cells])
    return [
        spread_table(results, catalogue),
        classes_table(results, catalogue),
        trials_table(trials, results, catalogue),
        choices_table(recipes),
        config_table(catalogue.config),
        samples_table(harmonisation, catalogue),
        vocabulary_table(genes, is_named=is_named, edges=edges, config=catalogue.config),
        duplicates_table(exact_duplicates),
        label_rule_table(label_rule, catalogue.config["malignancy_rule"]),
        labels_table(labels),
    ]


def spread_table(results: Results, catalogue: Catalogue) -> ReportTable:
    """Set the spread between splits beside that between model seeds on the same split."""
    hidden = withheld(results, catalogue)
    names = ("n_splits", "n_seeds", "sd_splits", "sd_seeds")
    rows = []
    for task in catalogue.tasks.values():
        for method in catalogue.methods:
            if (task.task, method) in hidden or not results.has(task.task, method):
                continue
            found = results.summary(task.task, method, task.headline)
            head = {"task": task.task, "method": method, "metric": task.headline}
            rows.append(head | {name: getattr(found, name) for name in names})
    columns = [
        *task_and_method(catalogue),
        Column("metric", show=metric_title),
        Column("n_splits", "splits", ",d"),
        Column("n_seeds", "model seeds", ",d"),
        Column("sd_splits", "SD between splits", ".3f"),
        Column("sd_seeds", "SD between model seeds", ".3f"),
    ]
    note = (
        "Standard deviation of the headline metric. Between splits: of means over model seeds. Between model seeds: on "
        "the same split, pooled over splits; empty where one seed was run, as for methods without random numbers."
    )
    frame = pd.DataFrame(rows, columns=["task", "method", "metric", *names])
    return ReportTable("spread", frame, columns, "Spread by split and by model seed", note)


def classes_table(results: Results, catalogue: Catalogue) -> ReportTable:
    """List the F1 of every class, mean and interval over splits."""
    hidden = withheld(results, catalogue)
    rows = []
    for task in catalogue.tasks:
        for method in catalogue.methods:
            for name in results.metrics(classes=True):
                is_f1 = name.startswith(_F1_OF_CLASS)
                if not is_f1 or (task, method) in hidden or not results.splits(task, method, name):
                    continue
                found = results.summary(task, method, name)
                head = {"task": task, "method": method, "class": name.removeprefix(_F1_OF_CLASS)}
                numbers = {"n_splits": found.n_splits, "f1": found.mean, "f1_low": found.low, "f1_high": found.high}
                rows.append(head | numbers)
    frame = pd.DataFrame(rows, columns=["task", "method", "class", "n_splits", "f1", "f1_low", "f1_high"])
    columns = [Column("class"), Column("n_splits", "splits", ",d"), Column("f1", "F1", ".3f", is_interval=True)]
    note = "Mean over the splits whose test cells or predictions have the class. A mean over classes hides which fail."
    return ReportTable("classes", frame, [*task_and_method(catalogue), *columns], "F1 of every class", note)


def trials_table(trials: pd.DataFrame, results: Results, catalogue: Catalogue) -> ReportTable:
    """Say for each task and method which options were tried on validation cells, and how often each was chosen.

    The score on validation is left out of a method whose numbers are withheld.
    """
    hidden = withheld(results, catalogue)
    rows = [
        {
            "task": task,
            "method": method,
            "options": options,
            "tried": len(group),
            "failed": int(group["value"].isna().sum()),
            "validation": math.nan if (task, method) in hidden else float(group["value"].mean()),
            "chosen": int((group["chosen"] == "yes").sum()),
        }
        for (task, method, options), group in trials.groupby(["task", "method", "options"], sort=False)
    ]
    frame = pd.DataFrame(rows, columns=["task", "method", "options", "tried", "failed", "validation", "chosen"])
    columns = [
        *task_and_method(catalogue),
        Column("options"),
        *(Column(name, show=",d") for name in ("tried", "failed", "chosen")),
        Column("validation", show=".3f"),
    ]
    note = (
        "No method has more trials than another, and the first is its defaults. Validation: mean of the task's "
        "headline metric on validation cells. Few-shot tasks and the protocol compat choose no options."
    )
    return ReportTable("trials", frame, columns, "Options tried", note)


def read_recipes(text: str) -> dict[str, Recipe]:
    """Parse recipes by name, given as JSON."""
    return {name: recipe_files.parse(values, file="--recipes") for name, values in json.loads(text).items()}


def choices_table(recipes: Mapping[str, Recipe]) -> ReportTable:
    """List every recipe key whose value the paper does not give, with the value in force.

    Keys without effect in a recipe, such as the temperature of a loss of weight 0, are left out.
    """
    rows = pd.DataFrame(
        [
            {"recipe": name, "key": key, "value": _at(recipe, key), "mark": "our choice"}
            for name, recipe in recipes.items()
            for key in recipe_choices.in_force(recipe)
        ],
        columns=["recipe", "key", "value", "mark"],
    )
    columns = [Column("recipe", "encoder"), Column("key"), Column("value")]
    note = "The paper gives no value for these keys, or another one. None of them may be quoted as the paper's."
    return ReportTable("choices", rows, columns, "Our choices in force", note)


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
    return ReportTable("config", rows, [Column("key"), Column("value")], "Configuration in force")


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in values.items():
        found |= _flat(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {f"{prefix}{key}": value}
    return found


def duplicates_table(exact_duplicates: pd.DataFrame) -> ReportTable:
    """Lay out the exact duplicates that `audit_leakage` counts."""
    numbers = [Column(name, show=",d") for name in exact_duplicates.columns[2:]]
    note = (
        "Cells (or lines) of a task with exactly the counts of another one of the same task. Test in train: test cells "
        "with a duplicate among the training cells, whose label gives theirs away. A line that a split by pairs has in "
        "several subsets is no duplicate of its own."
    )
    columns = [Column("task"), Column("split"), *numbers]
    return ReportTable("exact_duplicates", exact_duplicates, columns, "Exact duplicates within a task", note)


def label_rule_table(label_rule: pd.DataFrame, malignancy_rule: str) -> ReportTable:
    """Lay out what probes answer on cells that the rule `by_source` labels wrongly, taught by either rule."""
    columns = [
        Column("rule", "taught by"),
        Column("view"),
        Column("n_train", "training cells", ",d"),
        Column("n_wrong_in_train", "of these wrong by source", ",d"),
        Column("n_wrong", "held out, wrong by source", ",d"),
        Column("n_right", "held out, right", ",d"),
        Column("accuracy_on_wrong", "accuracy on wrong", ".3f"),
        Column("accuracy_on_right", "accuracy on right", ".3f"),
    ]
    note = (
        "Tumour probes taught the labels of one rule on cells that both rules label, judged by the labels of metadata. "
        "Wrong by source: a healthy cell of a tumour sample, or the reverse. CellLM's pretraining was taught this "
        "run's labels, so only the other views test the rule. Where a data set's own labels are predictions, so is "
        "this truth."
    )
    if malignancy_rule != "metadata":
        note += f" This run's labels are those of {malignancy_rule}, so the truth is not at hand: no cell is wrong."
    return ReportTable("label_rule", label_rule, columns, "What a label rule teaches", note)


def labels_table(labels: pd.DataFrame) -> ReportTable:
    """Lay out the labels of the corpus by either rule."""
    columns = [
        Column("title", "data set", is_key=True),
        *(Column(name, show=",d") for name in ("cells", "tumour", "normal", "unknown")),
        Column("by_source"),
        Column("wrong_by_source", show=",d"),
    ]
    note = "Tumour, normal, unknown: by this run's labels. By source: the paper's literal rule, one label per data set."
    return ReportTable("labels", labels, columns, "Labels of the corpus", note)
