"""Cells: confusion matrices, and what reached the gene vocabulary."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from celllm.bench.predictions import score_columns
from celllm.config.catalogue import Catalogue
from celllm.harmonise.harmonisation import Harmonisation
from celllm.report.figures.style import ALL_FAILED, notice, style
from celllm.report.results import Predictions, check
from celllm.report.titles import method_title, task_title, title_of_dataset

MAX_NUMBERED: Final = 15
"""With more classes the numbers of a confusion matrix would overlap."""

# Route to legend and colour: what was mapped in blues and greens, what was not in reds and greys.
_ROUTES = {
    "ensembl": ("Ensembl id", "#0072B2"),
    "entrez": ("Entrez id", "#003F5C"),
    "approved": ("approved symbol", "#56B4E9"),
    "previous": ("previous symbol", "#009E73"),
    "alias": ("alias", "#8FD1BC"),
    "repaired": ("repaired spelling", "#F0E442"),
    "ambiguous": ("lost: ambiguous", "#E69F00"),
    "outside_vocabulary": ("lost: gene outside the vocabulary", "#CC79A7"),
    "unknown": ("lost: unknown name", "#5A5A5A"),
}
_LABEL = {"boxstyle": "round,pad=0.15", "facecolor": "white", "edgecolor": "none", "alpha": 0.8}


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


def draw_harmonisation(harmonisation: Sequence[Harmonisation], catalogue: Catalogue) -> Figure:
    """Draw, for each data set, the way its counts went and the way its names went."""
    reports = list(harmonisation)
    names = [title_of_dataset(catalogue, report.dataset) for report in reports]
    longest = max(len(name) for name in names)
    with style():
        figure = Figure(figsize=(8.4 + 0.07 * longest, 0.34 * len(reports) + 2.0), layout="constrained")
        left, right = figure.subplots(1, 2, sharey=True)
        _stack(left, [report.share_by_route for report in reports])
        _stack(right, [_shares(report) for report in reports])
        for row, report in enumerate(reports):
            left.plot([report.threshold] * 2, [row - 0.4, row + 0.4], color="#D55E00", linewidth=2)
            left.text(0.02, row, f"{report.mapped_share_of_counts:.1%}", va="center", fontsize=7.5, bbox=_LABEL)
        left.plot([], [], color="#D55E00", linewidth=2, label="minimum share accepted")
        left.set_yticks(range(len(reports)), labels=names)
        left.set(xlabel="share of counts (z-scores: of names)", xlim=(0, 1), ylim=(len(reports) - 0.5, -0.5))
        right.set(xlabel="share of gene names", xlim=(0, 1))
        for axis in (left, right):
            axis.tick_params(axis="y", length=0)
        legend = {
            label: handle
            for axis in (left, right)
            for handle, label in zip(*axis.get_legend_handles_labels(), strict=True)
        }
        figure.legend(handles=list(legend.values()), loc="outside lower center", ncols=4)
        figure.suptitle("Gene names mapped to the vocabulary")
        return figure


def _shares(report: Harmonisation) -> dict[str, float]:
    return {route: n_names / max(1, report.n_names) for route, n_names in report.by_route.items()}


def _stack(axis: Axes, shares: Sequence[Mapping[str, float]]) -> None:
    """Draw one bar a data set, its routes side by side; routes that nobody took are not in the legend."""
    ends = [0.0] * len(shares)
    for route, (label, colour) in _ROUTES.items():
        widths = [share.get(route, 0.0) for share in shares]
        if any(widths):
            axis.barh(range(len(shares)), widths, left=ends, color=colour, label=label)
        ends = [end + width for end, width in zip(ends, widths, strict=True)]
