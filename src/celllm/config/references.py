"""Which reference baselines must stand beside a number of a pretrained encoder, and which controls bound a task.

A score of a large model means little alone: a linear model may reach it, and so may the same network that was never
pretrained. Who plays which part stands in the column `role` of config/methods.tsv, once for each type of task.
"""

from __future__ import annotations

from collections.abc import Mapping

from celllm.config.tables import (
    COMPONENTS,
    LINEAR,
    LINEAR_BASELINE,
    LINEAR_NEW_DRUGS,
    LOWER,
    SCRATCH,
    UPPER,
    Method,
    Task,
)

CONTROLS = (UPPER, LOWER)
LINEAR_MODELS = (LINEAR, LINEAR_NEW_DRUGS, LINEAR_BASELINE)


def of_role(role: str, kind: str, methods: Mapping[str, Method]) -> str:
    """Return the method of that role and kind; the role itself, which has no scores, where there is none."""
    return next((row.method for row in methods.values() if (row.role, row.kind) == (role, kind)), role)


def linear_reference(task: Task, methods: Mapping[str, Method]) -> str:
    """Return the linear model that every number of a task is measured by."""
    role = LINEAR_NEW_DRUGS if task.split in ("drugs", "both") else LINEAR
    return of_role(role, task.kind, methods)


def references_of(method: Method, task: Task, methods: Mapping[str, Method]) -> tuple[str, ...]:
    """Return the methods that must stand beside `method` on a task; none where it starts from no encoder."""
    if method.encoder in (None, COMPONENTS):
        return ()
    wanted = (linear_reference(task, methods), of_role(SCRATCH, task.kind, methods))
    return tuple(name for name in wanted if name != method.method)


def controls_of(task: Task, methods: Mapping[str, Method]) -> tuple[str, str]:
    """Return the control that must lose on a task and the one that must win."""
    return of_role(LOWER, task.kind, methods), of_role(UPPER, task.kind, methods)
