"""Confusion matrices of cells."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.figure import Figure

from celllm.bench.predictions import score_columns
from celllm.config.catalogue import Catalogue
from celllm.report.figures.style import ALL_FAILED, notice, style
from celllm.report.results import Predictions, check
from celllm.report.titles import method_title, task_title

MAX_NUMBERED: Final = 15
"""With more classes the numbers of a confusion matrix would overlap."""


def draw_confusions(predictions: Sequence[Predictions], catalogue: Catalogue, subject: str) -> Figure:
    """Draw the confusion matrix of the subject, TASK/METHOD: all its runs together.

    InputError if predictions are of another task or method, or no classification.
    """
    task, method = subject.split("/")
    check(predictions, task=task, methods=[method], kind="classification")
    if not predictions:
        return notice(ALL_FAILED)
    pooled = pd.concat([table for table, _ in predictions])
    truth, predicted = (pooled[column].to_numpy(dtype=np.str_) for column in ("truth", "predicted"))
    known = {name for table, _ in predictions for name in score_columns(table)[0]}
    runs = f"{len(predictions)} run{'s' * (len(predictions) > 1)}"
    return draw_confusion(
        truth,
        predicted,
        sorted(known | set(truth)),
        title=task_title(catalogue, task),
        subtitle=f"{method_title(catalogue, method)}, test cells of {runs}",
    )


def draw_confusion(
    truth: npt.NDArray[np.str_], predicted: npt.NDArray[np.str_], classes: Sequence[str], *, title: str, subtitle: str
) -> Figure:
    """Draw the share of each true class (row) that is predicted as each class (column), in percent.

    `classes` gives the order of rows and columns; one that is never true has an empty row.
    """
    counts = pd.crosstab(truth, predicted).reindex(index=list(classes), columns=list(classes), fill_value=0).to_numpy()
    shares = 100 * counts / np.maximum(1, counts.sum(axis=1, keepdims=True))
    longest = max(len(name) for name in classes)
    side = max(2.6, 0.46 * len(classes))
    is_numbered = len(classes) <= MAX_NUMBERED
    with style():
        figure = Figure(figsize=(side + 0.075 * longest + 2.4, side + 0.06 * longest + 1.4), layout="constrained")
        axis = figure.subplots()
        image = axis.imshow(shares, cmap="Blues", vmin=0, vmax=100)
        for row, column in np.argwhere(shares >= 0.5) if is_numbered else ():
            share = shares[row, column]
            colour = "white" if share > 50 else "#08306B"
            axis.text(column, row, f"{share:.0f}", ha="center", va="center", fontsize=7.5, color=colour)
        labels = [f"{name}  (n = {int((truth == name).sum()):,})" for name in classes]
        axis.set_xticks(range(len(classes)), labels=list(classes), rotation=45, ha="right", rotation_mode="anchor")
        axis.set_yticks(range(len(classes)), labels=labels)
        axis.set(xlabel="predicted class", ylabel="true class")
        axis.tick_params(length=0)
        axis.spines[:].set_visible(False)
        bar = figure.colorbar(image, ax=axis, shrink=0.8, pad=0.02)
        bar.set_label("share of the true class (%)")
        bar.outline.set_visible(False)
        figure.suptitle(f"{title}\n{subtitle}")
        return figure
