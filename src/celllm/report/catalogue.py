"""What the report has to know of tasks, methods and data sets, from config/*.tsv."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from celllm.config import tables
from celllm.config.tables import Dataset, Method, Table, Task

SIMULATED = "simulated"


@dataclass(frozen=True)
class Catalogue:
    """Tasks, methods and data sets by name; unknown names raise an InputError with the nearest one."""

    tasks: Table[Task]
    methods: Table[Method]
    datasets: Table[Dataset]

    @classmethod
    def read(cls, *, tasks: Path, methods: Path, datasets: Path) -> Catalogue:
        """Read the three tables."""
        return cls(tables.read_tasks(tasks), tables.read_methods(methods), tables.read_datasets(datasets))

    def is_simulated(self, task: str) -> bool:
        """Whether a task's cells or responses come from the simulator."""
        row = self.tasks.row(task)
        return any(self.datasets.row(name).simulated for name in (row.dataset, row.response) if name is not None)

    def task_title(self, task: str) -> str:
        """Title of a task; it says `simulated` where any of the task's data is."""
        return _marked(self.tasks.row(task).title, simulated=self.is_simulated(task))

    def dataset_title(self, task: str) -> str:
        """Title of the data set a task takes its cells from; it says `simulated` where any data is."""
        title = self.datasets.row(self.tasks.row(task).dataset).title
        return _marked(title, simulated=self.is_simulated(task))

    def headline(self, task: str) -> str:
        """Name of the metric that stands first for a task."""
        return self.tasks.row(task).headline


def metric_title(metric: str) -> str:
    """Say a metric's name in words, with its unit where it has one."""
    words = {
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
    }
    return words.get(metric, metric.replace("_", " "))


def _marked(title: str, *, simulated: bool) -> str:
    return f"{title} ({SIMULATED})" if simulated and SIMULATED not in title.lower() else title
