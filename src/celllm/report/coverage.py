"""How much of each data set reached the gene vocabulary."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from celllm.harmonise.harmonisation import Harmonisation
from celllm.report.figures import style

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


def draw_harmonisation(reports: Sequence[Harmonisation], *, titles: Mapping[str, str]) -> Figure:
    """Draw, for each data set, the way its counts went and the way its names went.

    Parameters
    ----------
    reports
        One a data set.
    titles
        What readers call the data sets, with the word simulated where it is due.
    """
    names = [titles.get(report.dataset, report.dataset) for report in reports]
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
        left.plot([], [], color="#D55E00", linewidth=2, label="least share accepted")
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
