"""How much of each data set reached the gene vocabulary."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from matplotlib.figure import Figure

from celllm.contracts.harmonisation import Harmonisation
from celllm.report.figures import PALE, style

# No colour of a route: it stands for all of them together.
_SLATE = "#44546A"

# Route to legend and colour: what was mapped in blues and greens, what was not in reds and greys.
_ROUTES = {
    "ensembl": ("Ensembl id", "#0072B2"),
    "approved": ("approved symbol", "#56B4E9"),
    "previous": ("previous symbol", "#009E73"),
    "alias": ("alias", "#8FD1BC"),
    "repaired": ("repaired spelling", "#F0E442"),
    "ambiguous": ("lost: ambiguous", "#E69F00"),
    "outside_vocabulary": ("lost: gene outside the vocabulary", "#CC79A7"),
    "unknown": ("lost: unknown name", "#5A5A5A"),
}


def draw_harmonisation(reports: Sequence[Harmonisation], *, titles: Mapping[str, str]) -> Figure:
    """Draw, for each data set, the share of counts that was kept and the way each name went.

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
        mapped = [report.mapped_share_of_counts for report in reports]
        left.barh(rows, mapped, color=_SLATE, label="on the vocabulary")
        left.barh(rows, [1 - share for share in mapped], left=mapped, color=PALE, label="not on it")
        for row, report in zip(rows, reports, strict=True):
            left.plot([report.threshold] * 2, [row - 0.4, row + 0.4], color="#D55E00", linewidth=2)
            left.text(
                0.02 if report.mapped_share_of_counts > 0.2 else report.mapped_share_of_counts + 0.02,
                row,
                f"{report.mapped_share_of_counts:.1%}",
                va="center",
                color="white" if report.mapped_share_of_counts > 0.2 else "black",
                fontsize=7.5,
            )
        left.plot([], [], color="#D55E00", linewidth=2, label="least share accepted")
        left.set_xlabel("share of counts (z-scores: of names)")
        left.set_yticks(list(rows), labels=names)
        left.set_ylim(len(reports) - 0.5, -0.5)
        ends = [0.0] * len(reports)
        for route, (label, colour) in _ROUTES.items():
            shares = [report.by_route.get(route, 0) / max(1, report.n_names) for report in reports]
            if any(shares):
                right.barh(rows, shares, left=ends, color=colour, label=label)
            ends = [end + share for end, share in zip(ends, shares, strict=True)]
        right.set_xlabel("share of gene names")
        for axis in (left, right):
            axis.set_xlim(0, 1)
            axis.tick_params(axis="y", length=0)
        handles = [handle for axis in (left, right) for handle in axis.get_legend_handles_labels()[0]]
        figure.legend(handles=handles, loc="outside lower center", ncols=4)
        figure.suptitle("Gene names mapped to the vocabulary")
        return figure
