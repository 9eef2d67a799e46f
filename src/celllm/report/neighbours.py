"""The neighbour rule: no number of a pretrained encoder without its simple rivals beside it.

A score of a large model means little alone: logistic regression may reach it, and so may the same network
that was never pretrained. So a number of a method that starts from an encoder is shown only where the linear
model and the network without pretraining were scored on the same task with the same splits.
"""

from __future__ import annotations

from celllm.contracts.tables import COMPONENTS, Method
from celllm.report.catalogue import Catalogue
from celllm.report.results import Results

MISSING = "neighbour missing"

# Rows of config/methods.tsv by the part they play beside an encoder, for each kind of task.
LINEAR = {"classification": "logistic", "regression": "ridge"}
SCRATCH = {"classification": "celllm_scratch", "regression": "celllm_scratch_response"}
LEAKED = {"classification": "control_leaked", "regression": "control_leaked_pairs"}
SHUFFLED = {"classification": "control_shuffled", "regression": "control_shuffled_pairs"}


def neighbours_of(method: Method) -> tuple[str, ...]:
    """Return the methods that must stand beside `method`; none where it starts from no encoder."""
    if method.recipe in (None, COMPONENTS):
        return ()
    return tuple(name for name in (LINEAR[method.kind], SCRATCH[method.kind]) if name != method.method)


def missing_neighbours(results: Results, *, task: str, method: Method, metric: str) -> list[str]:
    """Return the neighbours that lack a split which `method` has on this task; empty where the rule is kept."""
    splits = results.splits(task, method.method, metric)
    return [name for name in neighbours_of(method) if not splits <= results.splits(task, name, metric)]


def alone(results: Results, catalogue: Catalogue) -> set[tuple[str, str]]:
    """Return every (task, method) whose numbers may not be shown, judged on the tasks' headline metrics."""
    return {
        (task.task, method.method)
        for task in catalogue.tasks
        for method in catalogue.methods
        if missing_neighbours(results, task=task.task, method=method, metric=task.headline)
    }
