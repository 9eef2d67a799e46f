"""Whether a method tells sensitive lines from resistant ones, drug by drug.

The global correlation mostly says how well the drugs' means are known. Inside one drug its mean says nothing: the
drug-mean predictor has correlation 0 there by definition, so every method stands against that line.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from textwrap import fill

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from celllm.base.errors import InputError
from celllm.base.report_table import Column, ReportTable
from celllm.bench.metrics import pearson_by
from celllm.config.catalogue import Catalogue
from celllm.config.references import references_of
from celllm.report.figures.style import ALL_FAILED, GREY, looks_of_methods, notice, style
from celllm.report.results import Predictions, check
from celllm.report.titles import method_title, task_title

# Fractions of consecutive multiples of the golden ratio lie evenly: dots spread without chance.
_GOLDEN = (5**0.5 - 1) / 2


def correlations(predictions: Iterable[tuple[str, pd.DataFrame]]) -> pd.DataFrame:
    """Return Pearson's correlation over each drug's test lines, drugs x methods, of a table a split and seed.

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


def correlations_of(predictions: Sequence[Predictions], catalogue: Catalogue, task: str) -> pd.DataFrame:
    """Return each drug's correlation, drugs x methods; without a run, no rows.

    An encoder is there only where its reference baselines are, on the same splits.

    InputError if predictions are of another task, or no drug has lines enough.
    """
    of_kind = {name: row for name, row in catalogue.methods.items() if row.kind == "regression"}
    check(predictions, task=task, methods=of_kind, kind="regression")
    splits = {name: {meta.split for _, meta in predictions if meta.method == name} for name in of_kind}
    methods = [
        name
        for name, row in of_kind.items()
        if splits[name]
        and all(
            splits[name] <= splits.get(other, set())
            for other in references_of(row, catalogue.tasks[task], catalogue.methods)
        )
    ]
    if not methods:
        return pd.DataFrame(index=pd.Index([], name="drug"))
    values = correlations((name, table) for name in methods for table, meta in predictions if meta.method == name)
    if values.empty:
        raise InputError(
            file=f"predictions of {task}",
            field="drug",
            expected="a drug with three test lines or more, whose responses differ, in the predictions of each method",
            found="none",
            remedy=f"raise the share test of {task} in config/tasks.tsv",
        )
    return values


def per_drug_table(predictions: Sequence[Predictions], catalogue: Catalogue, subject: str) -> ReportTable:
    """Lay the correlations of the subject's task out, a row a drug; the note has the medians."""
    values = correlations_of(predictions, catalogue, subject)
    titles = {method: method_title(catalogue, method) for method in values.columns}
    medians = "; ".join(f"{titles[method]} {values[method].median():.3f}" for method in values.columns)
    columns = [Column("drug"), *(Column(method, title, ".3f") for method, title in titles.items())]
    note = f"{len(values)} drugs. Medians: {medians}."
    return ReportTable("per_drug", values.reset_index(), columns, note=note)


def draw_per_drug(predictions: Sequence[Predictions], catalogue: Catalogue, subject: str) -> Figure:
    """Draw a row of dots a method, a dot a drug."""
    values = correlations_of(predictions, catalogue, subject)
    if values.empty:
        return notice(ALL_FAILED)
    titles = {method: method_title(catalogue, method) for method in values.columns}
    looks = looks_of_methods(catalogue.methods.values())
    with style():
        figure = Figure(figsize=(6.4, max(2.6, 0.42 * len(titles) + 1.2)), layout="constrained")
        axis = figure.subplots()
        _draw_rows(axis, values, titles, colours={method: looks[method]["color"] for method in titles})
        figure.suptitle(f"{task_title(catalogue, subject)}: each of {len(values)} drugs")
        return figure


def _draw_rows(axis: Axes, values: pd.DataFrame, titles: Mapping[str, str], *, colours: Mapping[str, str]) -> None:
    """One row a method from above: dots, the median as a bar, the middle half as a line."""
    for row, method in enumerate(values.columns):
        sorted_values = np.sort(values[method].to_numpy())
        spread = ((np.arange(len(sorted_values)) * _GOLDEN) % 1 - 0.5) * 0.6
        axis.plot(
            sorted_values,
            row + spread,
            linestyle="none",
            marker="o",
            markersize=2.4,
            color=colours[method],
            alpha=0.55,
            mew=0,
        )
        low, middle, high = np.quantile(sorted_values, [0.25, 0.5, 0.75])
        axis.plot([low, high], [row, row], color="black", linewidth=1.4)
        axis.plot([middle, middle], [row - 0.36, row + 0.36], color="black", linewidth=2)
        positive = 100 * float((sorted_values > 0).mean())
        axis.text(1.01, row, f"{middle:.2f}  ({positive:.0f} %)", transform=axis.get_yaxis_transform(), va="center")
    axis.axvline(0, color=GREY, linestyle="--", linewidth=1)
    axis.text(1.01, 1.0, "median (drugs above 0)", transform=axis.transAxes, va="bottom", fontsize=7.5, color=GREY)
    axis.set_yticks(range(len(titles)), labels=[fill(title, 34) for title in titles.values()])
    axis.set_ylim(len(titles) - 0.5, -0.5)
    axis.tick_params(axis="y", length=0)
    axis.set_xlabel("Pearson over the drug's test lines\n(dashed: mean of the drug, 0 by definition)")
    axis.grid(axis="x", alpha=0.3)
