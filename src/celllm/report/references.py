"""The reference rule: no number of a pretrained encoder without its simple baselines beside it (docs/report.md)."""

from __future__ import annotations

from collections.abc import Iterator

from celllm.config.catalogue import Catalogue
from celllm.config.references import references_of
from celllm.config.tables import Method, Task
from celllm.report.results import Results

WITHHELD = "withheld: no baseline"


def missing_references(results: Results, catalogue: Catalogue, *, task: Task, method: Method, metric: str) -> list[str]:
    """Return the reference baselines that lack a split which `method` has on this task."""
    splits = results.splits(task.task, method.method, metric)
    needed = references_of(method, task, catalogue.methods)
    return [name for name in needed if not splits <= results.splits(task.task, name, metric)]


def withheld(results: Results, catalogue: Catalogue) -> set[tuple[str, str]]:
    """Return every (task, method) whose numbers may not be shown, judged on the tasks' headline metrics."""
    return {
        (task.task, method.method)
        for task in catalogue.tasks.values()
        for method in catalogue.methods.values()
        if missing_references(results, catalogue, task=task, method=method, metric=task.headline)
    }


def shown_pairs(results: Results, catalogue: Catalogue) -> Iterator[tuple[Task, str]]:
    """Yield every task and method with scores that may be shown, in the order of config/*.tsv."""
    hidden = withheld(results, catalogue)
    for task in catalogue.tasks.values():
        for method in catalogue.methods:
            if (task.task, method) not in hidden and results.has(task.task, method):
                yield task, method
