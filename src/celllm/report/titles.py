"""What readers call tasks, data sets, methods and metrics; the word simulated stands wherever it is due."""

from __future__ import annotations

from typing import Final

from celllm.base.report_table import Column
from celllm.config.catalogue import Catalogue

SIMULATED: Final = "simulated"
METRICS: Final = {
    "macro_f1": "macro F1",
    "f1_sensitive": "F1 of sensitive",
    "f1_resistant": "F1 of resistant",
    "auroc": "AUROC",
    "pearson": "Pearson",
    "spearman": "Spearman",
    "pearson_per_drug": "Pearson per drug",
    "pearson_per_line": "Pearson per line",
    "rmse": "RMSE (ln µM)",
    "mae": "MAE (ln µM)",
    "r2": "R²",
    "ece": "calibration error",
    "brier": "Brier score",
    "fit_s": "fit (s)",
    "predict_s": "predict (s)",
    "peak_mb": "peak memory (MiB)",
    "trained_parameters": "trained parameters",
    "shown_units": "training units shown",
}
"""Metrics whose title is more than their name, with the unit where there is one."""


def metric_title(metric: str) -> str:
    """Say a metric's name in words."""
    return METRICS.get(metric, metric.replace("_", " "))


def task_title(catalogue: Catalogue, task: str) -> str:
    """Title of a task; it says `simulated` where any of the task's data is."""
    return _marked(catalogue.tasks[task].title, simulated=catalogue.is_simulated(task))


def data_title(catalogue: Catalogue, task: str) -> str:
    """Title of the data set a task takes its cells from; it says `simulated` where any data is."""
    return _marked(catalogue.datasets[catalogue.tasks[task].dataset].title, simulated=catalogue.is_simulated(task))


def method_title(catalogue: Catalogue, method: str) -> str:
    """Title of a method; a name that is none of a method, such as `-`, stands for itself."""
    return catalogue.methods[method].title if method in catalogue.methods else method


def title_of_dataset(catalogue: Catalogue, name: str) -> str:
    """Title of a data set; its name where the catalogue lacks it."""
    return catalogue.datasets[name].title if name in catalogue.datasets else name


def task_and_method(catalogue: Catalogue) -> tuple[Column, Column]:
    """Return the two columns that most tables open with."""
    return (
        Column("task", show=lambda name: task_title(catalogue, name), is_key=True),
        Column("method", show=lambda name: method_title(catalogue, name), is_key=True),
    )


def _marked(title: str, *, simulated: bool) -> str:
    return f"{title} ({SIMULATED})" if simulated and SIMULATED not in title.lower() else title
