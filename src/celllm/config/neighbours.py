"""Which methods must stand beside a number of a pretrained encoder, and which bound a task's numbers as controls.

A score of a large model means little alone: a linear model may reach it, and so may the same network that was never
pretrained. Names are those of `config/methods.tsv`. Imports the standard library only, as `tables`.
"""

from __future__ import annotations

from celllm.config.tables import COMPONENTS, Method, Task

LINEAR = {"classification": "logistic", "regression": "ridge"}
"""The linear model, by kind of task."""
LINEAR_NEW_DRUGS = "ridge_pairs"
"""The linear model where drugs are tested that were never met: a regression for each drug has no answer there."""
SCRATCH = {"classification": "celllm_scratch", "regression": "celllm_scratch_response"}
"""CellLM without pretraining, beside encoders of other recipes too."""
LEAKED = {"classification": "control_leaked", "regression": "control_leaked_pairs"}
SHUFFLED = {"classification": "control_shuffled", "regression": "control_shuffled_pairs"}


def linear_of(task: Task) -> str:
    """Return the linear model that every number of a task is measured by."""
    return LINEAR_NEW_DRUGS if task.split in ("drugs", "both") else LINEAR[task.kind]


def neighbours_of(method: Method, task: Task) -> tuple[str, ...]:
    """Return the methods that must stand beside `method` on a task; none where it starts from no encoder."""
    if method.encoder in (None, COMPONENTS):
        return ()
    return tuple(name for name in (linear_of(task), SCRATCH[method.kind]) if name != method.method)
