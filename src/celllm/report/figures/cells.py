"""Cells: UMAP of embeddings beside principal components, confusion matrices, and what reached the gene vocabulary."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from celllm.annotate import embeddings as embedding_files
from celllm.base.errors import InputError
from celllm.bench.diagnostics import chosen_cells, principal_components
from celllm.bench.predictions import score_columns
from celllm.config.catalogue import Catalogue
from celllm.config.units import Units
from celllm.harmonise import cells as cell_files
from celllm.harmonise.harmonisation import Harmonisation
from celllm.harmonise.normalise import log_normalised
from celllm.report.figures.style import ALL_FAILED, MANY_COLOURS, PALE, look, notice, style
from celllm.report.results import Predictions, check
from celllm.report.titles import method_title, task_title, title_of_dataset

N_NEIGHBOURS: Final = 15
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


def plane(features: np.ndarray, *, seed: int, metric: str) -> np.ndarray:
    """Return two UMAP coordinates a cell.

    Parameters
    ----------
    features
        Cells x features.
    metric
        Distance between cells: `cosine` for embeddings trained with it, `euclidean` for components.
    seed
        Fixes the outcome; another seed turns and bends the picture.
    """
    with warnings.catch_warnings():
        # that Tensorflow is absent; only umap's neural variant needs it
        warnings.simplefilter("ignore", ImportWarning)
        from umap import UMAP  # takes many seconds to import: numba compiles

    # one thread: with more, a seed does not fix the outcome
    mapper = UMAP(
        n_neighbors=min(N_NEIGHBOURS, len(features) - 1),
        metric=metric,
        random_state=seed,
        n_jobs=1,
        init="pca",
    )
    coordinates: np.ndarray = mapper.fit_transform(np.ascontiguousarray(features, dtype=np.float32))
    return coordinates


def draw_embeddings(embeddings: Path, cells: Sequence[Path], catalogue: Catalogue, subject: str) -> Figure:
    """Draw the cells of a data set by the encoder's embedding, and by principal components of their genes."""
    cell_ids, embedded, labels = embedding_files.read(embeddings)
    aligned = cell_files.read(cells[0], vocabulary=None)
    unknown = cell_ids.difference(aligned.obs_names)
    if len(unknown):
        raise InputError(
            file=embeddings,
            field="cell_id",
            expected=f"cells of {cells[0]}",
            found=f"{len(unknown)} that are not, such as {unknown[0]}",
            remedy="embed them again: snakemake --forcerun embed_cells",
        )
    rows = chosen_cells(len(cell_ids), seed=0)
    chosen = aligned[cell_ids[rows]]
    is_proportional = Units(chosen.uns["units"]).is_proportional
    components = principal_components(log_normalised(chosen.X) if is_proportional else chosen.X, seed=0)
    what = "log-normalised counts" if is_proportional else "the values"
    planes = {
        f"pretrained encoder ({embeddings.parent.name})": plane(embedded[rows], seed=0, metric="cosine"),
        f"principal components of {what}": plane(components, seed=0, metric="euclidean"),
    }
    return draw_umap(planes, labels[rows], title=f"{title_of_dataset(catalogue, subject)}: {len(rows):,} cells")


def draw_umap(planes: Mapping[str, np.ndarray], labels: np.ndarray, *, title: str) -> Figure:
    """Draw the same cells on several planes, coloured by label.

    Parameters
    ----------
    planes
        By panel title: cells x 2.
    labels
        Label of each cell; "" is drawn pale, as unlabelled.
    title
        Name of the data set, with the word simulated where it is due.
    """
    names, counts = np.unique(labels[labels != ""], return_counts=True)
    names = names[np.argsort(-counts, kind="stable")]
    longest = max((len(str(name)) for name in names), default=10)
    size = float(np.clip(6_000 / max(1, len(labels)), 3, 22))
    with style():
        figure = Figure(figsize=(4.3 * len(planes) + 0.075 * longest + 0.9, 4.6), layout="constrained")
        axes = figure.subplots(1, len(planes), squeeze=False)[0]
        for axis, (panel, xy) in zip(axes, planes.items(), strict=True):
            bare = labels == ""
            if bare.any():
                axis.scatter(*xy[bare].T, s=size, color=PALE, linewidths=0, label="no label", rasterized=True)
            for i, name in enumerate(names):
                colour, mark = look(i, MANY_COLOURS)
                rows = labels == name
                axis.scatter(
                    *xy[rows].T,
                    s=size,
                    color=colour,
                    marker=mark,
                    linewidths=0,
                    alpha=0.75,
                    label=str(name),
                    rasterized=True,
                )
            axis.set_title(panel)
            axis.set_xlabel("UMAP 1 (no unit)")
            axis.set_ylabel("UMAP 2 (no unit)")
            axis.set_xticks([])
            axis.set_yticks([])
        handles, texts = axes[0].get_legend_handles_labels()
        legend = figure.legend(handles, texts, loc="outside right center", markerscale=(40 / size) ** 0.5)
        for handle in legend.legend_handles:
            if handle is not None:
                handle.set_alpha(1)
        figure.suptitle(title)
        return figure


def draw_confusions(predictions: Sequence[Predictions], catalogue: Catalogue, subject: str) -> Figure:
    """Draw the confusion matrix of the subject, TASK/METHOD: all its runs together.

    Raises
    ------
    InputError
        If predictions are of another task or method, or no classification.
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

    Parameters
    ----------
    truth, predicted
        Of each test cell, all runs together.
    classes
        Order of rows and columns; one that is never true has an empty row.
    title, subtitle
        Task, with the word simulated where it is due; method and runs.
    """
    from sklearn.metrics import ConfusionMatrixDisplay, confusion_matrix

    shares = 100 * confusion_matrix(truth, predicted, labels=list(classes), normalize="true")
    longest = max(len(name) for name in classes)
    side = max(2.6, 0.46 * len(classes))
    is_numbered = len(classes) <= MAX_NUMBERED
    with style():
        figure = Figure(figsize=(side + 0.075 * longest + 2.4, side + 0.06 * longest + 1.4), layout="constrained")
        axis = figure.subplots()
        display = ConfusionMatrixDisplay(shares, display_labels=list(classes))
        display.plot(
            ax=axis,
            cmap="Blues",
            colorbar=False,
            include_values=is_numbered,
            values_format=".0f",
            im_kw={"vmin": 0, "vmax": 100},
            text_kw={"fontsize": 7.5},
        )
        for text in display.text_.ravel() if is_numbered else ():
            text.set_visible(text.get_text() != "0")
        labels = [f"{name}  (n = {int((truth == name).sum()):,})" for name in classes]
        axis.set_xticks(range(len(classes)), labels=list(classes), rotation=45, ha="right", rotation_mode="anchor")
        axis.set_yticks(range(len(classes)), labels=labels)
        axis.set_xlabel("predicted class")
        axis.set_ylabel("true class")
        axis.tick_params(length=0)
        axis.spines[:].set_visible(False)
        bar = figure.colorbar(display.im_, ax=axis, shrink=0.8, pad=0.02)
        bar.set_label("share of the true class (%)")
        bar.outline.set_visible(False)
        figure.suptitle(f"{title}\n{subtitle}")
        return figure


def draw_harmonisation(harmonisation: Sequence[Harmonisation], catalogue: Catalogue) -> Figure:
    """Draw, for each data set, the way its counts went and the way its names went."""
    reports = harmonisation
    names = [title_of_dataset(catalogue, report.dataset) for report in reports]
    rows = range(len(reports))
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
        left.set_xlabel("share of counts (z-scores: of names)")
        left.set_yticks(list(rows), labels=names)
        left.set_ylim(len(reports) - 0.5, -0.5)
        right.set_xlabel("share of gene names")
        for axis in (left, right):
            axis.set_xlim(0, 1)
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
