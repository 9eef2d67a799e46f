"""The neighbour rule: no number of a pretrained encoder without its simple rivals beside it.

A score of a large model means little alone: logistic regression may reach it, and so may the same network
that was never pretrained. So a number of a method that starts from an encoder is shown only where the linear
model and the network without pretraining were scored on the same task with the same splits.
"""

from __future__ import annotations

from celllm.config.neighbours import neighbours_of
from celllm.config.tables import Method, Task
from celllm.report.catalogue import Catalogue
from celllm.report.results import Results

MISSING = "neighbour missing"


def missing_neighbours(results: Results, *, task: Task, method: Method, metric: str) -> list[str]:
    """Return the neighbours that lack a split which `method` has on this task; empty where the rule is kept."""
    splits = results.splits(task.task, method.method, metric)
    return [name for name in neighbours_of(method, task) if not splits <= results.splits(task.task, name, metric)]


def alone(results: Results, catalogue: Catalogue) -> set[tuple[str, str]]:
    """Return every (task, method) whose numbers may not be shown, judged on the tasks' headline metrics."""
    return {
        (task.task, method.method)
        for task in catalogue.tasks
        for method in catalogue.methods
        if missing_neighbours(results, task=task, method=method, metric=task.headline)
    }
