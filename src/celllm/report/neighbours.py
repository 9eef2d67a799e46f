"""The neighbour rule: no number of a pretrained encoder without its simple rivals beside it.

A score of a large model means little alone: logistic regression may reach it, and so may the same network
that was never pretrained. So a number of a method that starts from an encoder is shown only where the linear
model and the network without pretraining were scored on the same task with the same seeds.
"""

from __future__ import annotations

import pandas as pd

from celllm.contracts.tables import COMPONENTS, Method
from celllm.report.catalogue import Catalogue

MISSING = "neighbour missing"

# Rows of config/methods.tsv by the part they play beside an encoder, for each kind of task.
LINEAR = {"classification": "logistic", "regression": "ridge"}
SCRATCH = {"classification": "celllm_scratch", "regression": "celllm_scratch_response"}
LEAKED = {"classification": "control_leaked", "regression": "control_leaked_pairs"}
SHUFFLED = {"classification": "control_shuffled", "regression": "control_shuffled_pairs"}


def seeds_of(scores: pd.DataFrame, *, task: str, method: str, metric: str) -> frozenset[int]:
    """Return the seeds for which a score stands in the long table `scores`."""
    rows = scores[(scores["task"] == task) & (scores["method"] == method) & (scores["metric"] == metric)]
    return frozenset(int(seed) for seed in rows["seed"])


def neighbours_of(method: Method) -> tuple[str, ...]:
    """Return the methods that must stand beside `method`; none where it starts from no encoder."""
    if method.recipe in (None, COMPONENTS):
        return ()
    return tuple(name for name in (LINEAR[method.kind], SCRATCH[method.kind]) if name != method.method)


def missing_neighbours(scores: pd.DataFrame, *, task: str, method: Method, metric: str) -> list[str]:
    """Return the neighbours that lack a seed which `method` has on this task; empty where the rule is kept."""
    seeds = seeds_of(scores, task=task, method=method.method, metric=metric)
    return [
        name for name in neighbours_of(method) if not seeds <= seeds_of(scores, task=task, method=name, metric=metric)
    ]


def alone(scores: pd.DataFrame, catalogue: Catalogue) -> set[tuple[str, str]]:
    """Return every (task, method) whose numbers may not be shown, judged on the tasks' headline metrics."""
    pairs = scores[["task", "method"]].drop_duplicates()
    return {
        (task, method)
        for task, method in zip(pairs["task"], pairs["method"], strict=True)
        if missing_neighbours(
            scores,
            task=task,
            method=catalogue.methods.row(method),
            metric=catalogue.headline(task),
        )
    }
