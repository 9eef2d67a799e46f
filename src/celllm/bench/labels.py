"""Labels a classifier may learn from."""

from __future__ import annotations

import numpy as np

from celllm.base.errors import InputError
from celllm.splits.units import Cells


def labelled(cells: Cells, rows: np.ndarray) -> np.ndarray:
    """Return the labels of the rows to learn from.

    Raises
    ------
    InputError
        If one of them has no label, or if all have the same: there is nothing to tell apart.
    """
    labels: np.ndarray = cells.labels[rows]
    classes = np.unique(labels)
    if "" in classes:
        raise InputError(
            file="split",
            field="part",
            expected="training cells that have a label",
            found=f"{int((labels == '').sum())} without",
            remedy="make the split again: snakemake --forcerun make_splits",
        )
    if len(classes) < 2:
        raise InputError(
            file="split",
            field="part",
            expected="at least 2 classes among the training cells",
            found=", ".join(classes) or "no cell",
            remedy="raise the task's train fraction in config/tasks.tsv",
        )
    return labels
