"""Whether a method tells sensitive lines from resistant ones, drug by drug.

The global correlation mostly says how well the drugs' means are known. Inside one drug its mean says nothing: the
drug-mean predictor has correlation 0 there by definition, so every method stands against that line.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from celllm.base.report_table import ReportTable, as_markdown
from celllm.bench.metrics import pearson_by
from celllm.config.neighbours import linear_of
from celllm.report.catalogue import Catalogue
from celllm.report.figures import COLOURS, GREY, MARKS, style

_OURS = "ours"
# Fractions of consecutive multiples of the golden ratio lie evenly: dots spread without chance.
_GOLDEN = (5**0.5 - 1) / 2


def correlations(predictions: Iterable[tuple[str, pd.DataFrame]]) -> pd.DataFrame:
    """Return Pearson's correlation over each drug's test lines, drugs x methods.

    Parameters
    ----------
    predictions
        Method and its predictions (columns truth, predicted, drug), one table a split and seed.

    Returns
    -------
    Means over the tables of a method in which the drug has at least three test lines. Only drugs that all methods
    have, so that methods are compared on the same ones; sorted by name.
    """
    found = [
        {"method": method, "drug": drug, "pearson": value}
        for method, table in predictions
        for drug, value in pearson_by(
            table["drug"].to_numpy(str), table["truth"].to_numpy(float), table["predicted"].to_numpy(float)
        ).items()
    ]
    rows = pd.DataFrame(found, columns=["method", "drug", "pearson"])
    wide = rows.pivot_table(index="drug", columns="method", values="pearson", aggfunc="mean").dropna().sort_index()
    return wide[[method for method in dict.fromkeys(rows["method"]) if method in wide]]


def per_drug_table(values: pd.DataFrame, *, task: str, catalogue: Catalogue) -> ReportTable:
    """Lay the correlations out, a row a drug; the readers' copy has the medians above."""
    titles = {method: catalogue.methods.row(method).title for method in values.columns}
    medians = "; ".join(f"{titles[method]} {values[method].median():.3f}" for method in values.columns)
    note = (
        f"Pearson's correlation over a drug's test lines, mean over splits and seeds, {len(values)} drugs. The mean of "
        f"the drug has 0 by definition. Medians: {medians}."
    )
    shown = values.map(lambda value: f"{value:.3f}").rename(columns=titles).reset_index()
    markdown = as_markdown(shown, title=f"{catalogue.task_title(task)}: each drug", note=note)
    return ReportTable(task, values.reset_index(), markdown)


def draw_per_drug(values: pd.DataFrame, *, task: str, catalogue: Catalogue) -> Figure:
    """Draw a row of dots a method, a dot a drug; beside it, ours against the linear neighbour, drug by drug.

    Parameters
    ----------
    values
        Correlations, drugs x methods.
    task
        Named in the title, with the word simulated where it is due.
    catalogue
        Titles and roles of the methods.
    """
    titles = {method: catalogue.methods.row(method).title for method in values.columns}
    ours = [method for method in values.columns if catalogue.methods.row(method).role == _OURS]
    neighbour = linear_of(catalogue.tasks.row(task))
    has_pair = bool(ours) and neighbour in values.columns
    height = max(2.6, 0.42 * len(titles) + 1.2)
    with style():
        figure = Figure(figsize=(6.4 + 3.4 * has_pair, max(height, 3.4 * has_pair)), layout="constrained")
        axes = figure.subplots(1, 1 + has_pair, squeeze=False, width_ratios=[1.6, 1] if has_pair else [1])[0]
        _draw_rows(axes[0], values, titles)
        if has_pair:
            _draw_against(axes[1], values[neighbour], values[ours[0]], titles=(titles[neighbour], titles[ours[0]]))
        figure.suptitle(f"{catalogue.task_title(task)}: each of {len(values)} drugs")
        return figure


def _draw_rows(axis: Axes, values: pd.DataFrame, titles: Mapping[str, str]) -> None:
    """One row a method from above: dots, the median as a bar, the middle half as a line."""
    for row, method in enumerate(values.columns):
        sorted_values = np.sort(values[method].to_numpy())
        spread = ((np.arange(len(sorted_values)) * _GOLDEN) % 1 - 0.5) * 0.6
        colour = COLOURS[row % len(COLOURS)]
        axis.plot(
            sorted_values, row + spread, linestyle="none", marker="o", markersize=2.4, color=colour, alpha=0.55, mew=0
        )
        low, middle, high = np.quantile(sorted_values, [0.25, 0.5, 0.75])
        axis.plot([low, high], [row, row], color="black", linewidth=1.4)
        axis.plot([middle, middle], [row - 0.36, row + 0.36], color="black", linewidth=2)
        positive = 100 * float((sorted_values > 0).mean())
        axis.text(1.01, row, f"{middle:.2f}  ({positive:.0f} %)", transform=axis.get_yaxis_transform(), va="center")
    axis.axvline(0, color=GREY, linestyle="--", linewidth=1)
    axis.text(1.01, 1.0, "median (drugs above 0)", transform=axis.transAxes, va="bottom", fontsize=7.5, color=GREY)
    axis.set_yticks(range(len(titles)), labels=_distinct(list(titles.values())))
    axis.set_ylim(len(titles) - 0.5, -0.5)
    axis.tick_params(axis="y", length=0)
    axis.set_xlabel("Pearson over the drug's test lines\n(dashed: mean of the drug, 0 by definition)")
    axis.grid(axis="x", alpha=0.3)


def _draw_against(axis: Axes, x: pd.Series[float], y: pd.Series[float], *, titles: tuple[str, str]) -> None:
    """One dot a drug; above the diagonal the method of the y axis is better."""
    both = np.concatenate([x.to_numpy(), y.to_numpy(), [0.0]])
    ends = [float(both.min()) - 0.03, float(both.max()) + 0.03]
    axis.plot(ends, ends, color=GREY, linewidth=1)
    axis.plot(x, y, linestyle="none", marker=MARKS[0], markersize=3, color=COLOURS[0], alpha=0.6, mew=0)
    axis.set_xlim(*ends)
    axis.set_ylim(*ends)
    axis.set_aspect("equal")
    axis.set_xlabel(titles[0])
    axis.set_ylabel(titles[1])
    axis.set_title(f"{titles[1]} higher for {int((y > x).sum())} of {len(x)} drugs", fontsize=8.5)
    axis.grid(alpha=0.3)


def _distinct(titles: Sequence[str]) -> list[str]:
    """Break long titles in two lines at a comma."""
    return [title.replace(", ", ",\n", 1) if len(title) > 30 else title for title in titles]
