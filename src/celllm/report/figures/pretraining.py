"""Pretraining: curves of losses and embedding diagnostics beside trivial baselines; memory and time of a step."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Mapping
from dataclasses import dataclass

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter, ScalarFormatter

from celllm.config.catalogue import Catalogue
from celllm.corpus.reader import ShardReader
from celllm.report.figures.style import GREY, look, style


@dataclass(frozen=True)
class Panel:
    """One small plot: a quantity over the steps and what it must beat."""

    key: str
    """Column of the history."""
    title: str
    unit: str
    """What the axis says."""
    rivals: tuple[tuple[str | float, str], ...] = ()
    """What it is drawn beside, at most one a line style: a column of the history or a constant, and what that is."""


def _neighbours(share: str) -> tuple[tuple[str, str], ...]:
    """Return what the probe is compared with, for a share of the labels."""
    names = {"untrained": "untrained", "components": "components of the corpus", "joined": "both joined"}
    return tuple((f"probe_{column}_{share}", name) for column, name in names.items())


LINES = {"--": "dashed", ":": "dotted", "-.": "dash-dotted"}
PANELS = (
    Panel("loss", "total loss", "nats, weighted"),
    Panel("masked", "masked expression: loss", "nats a token"),
    Panel(
        "contrastive",
        "contrastive: loss",
        "nats a cell",
        (("log_batch", "log of the batch: guessing"), ("contrastive_depth", "depth alone")),
    ),
    Panel("malignancy", "tumour or normal: loss", "nats a cell", ((math.log(2), "log 2: guessing"),)),
    Panel(
        "masked_accuracy",
        "masked expression: accuracy",
        "share of tokens",
        (("masked_majority", "most common bin"), ("masked_cell_mode", "that of the cell's visible ones")),
    ),
    Panel("malignancy_accuracy", "tumour or normal: accuracy", "share", (("malignancy_majority", "larger class"),)),
    Panel("probe_5pct", "probe with 5 % of the labels", "macro-F1", _neighbours("5pct")),
    Panel("probe_all", "probe with all labels", "macro-F1", _neighbours("all")),
    Panel("alignment", "alignment of the two views", "mean squared distance, 0 best", ((0.0, "views agree"),)),
    Panel("uniformity", "uniformity", "log of mean Gaussian potential", ((0.0, "all cells in one point"),)),
    Panel("mean_cosine", "mean cosine of two cells", "cosine", ((1.0, "all cells in one direction"),)),
    Panel("effective_rank", "effective rank", "directions, of the width", ((1.0, "all cells on one line"),)),
    Panel("validation_loss", "total loss of cells never trained on", "nats, weighted"),
    Panel("gradient_norm", "norm of the gradient", "before clipping"),
)
_COLUMNS = 3


def draw_curves(histories: Mapping[str, pd.DataFrame], corpus: ShardReader) -> Figure:
    """Draw each quantity of `PANELS` for each run.

    A run is a table of a row for each logged step. A column that is absent or empty was left out of it. Where some
    cells of the corpus are simulated, the title says so.
    """
    is_simulated = any(stats["simulated"] for stats in corpus.datasets.values())
    with style():
        n_rows = math.ceil(len(PANELS) / _COLUMNS)
        figure = Figure(figsize=(10, 2.6 * n_rows + 0.4 + 0.2 * len(histories)), layout="constrained")
        axes = figure.subplots(n_rows, _COLUMNS, squeeze=False).ravel()
        for axis, panel in zip(axes, PANELS, strict=False):
            _draw_panel(axis, panel, histories)
        for axis in axes[len(PANELS) :]:
            axis.set_axis_off()
        handles = [axes[0].plot([], [], color=look(i)[0], label=name)[0] for i, name in enumerate(histories)]
        handles.append(axes[0].plot([], [], color=GREY, linestyle="--", label="what it must beat")[0])
        figure.legend(handles=handles, loc="outside lower center", ncols=min(3, len(handles)))
        figure.suptitle("Pretraining" + (" (corpus partly simulated)" if is_simulated else ""))
        return figure


def _draw_panel(axis: Axes, panel: Panel, histories: Mapping[str, pd.DataFrame]) -> None:
    drawn = False
    for i, history in enumerate(histories.values()):
        colour = look(i)[0]
        if panel.key not in history:
            continue
        values = pd.to_numeric(history[panel.key]).dropna()  # some are looked at every so many steps
        if values.empty:
            continue
        drawn = True
        steps = history["step"][values.index]
        axis.plot(steps, values, color=colour, linewidth=1.2, marker="." if len(values) < 10 else "")
        for (rival, _), line in zip(panel.rivals, LINES, strict=False):
            if isinstance(rival, str) and rival in history:
                beside = pd.to_numeric(history[rival]).dropna()
                axis.plot(history["step"][beside.index], beside, color=colour, linewidth=1, linestyle=line, alpha=0.7)
    said = ", ".join(f"{LINES[line]}: {name}" for (_, name), line in zip(panel.rivals, LINES, strict=False))
    axis.set_title(panel.title + (f"\n{textwrap.fill(said, 44)}" if said and drawn else ""))
    if not drawn:
        axis.text(0.5, 0.5, "left out", transform=axis.transAxes, ha="center", va="center", color=GREY)
        axis.set(xticks=[], yticks=[])
        return
    for (rival, _), line in zip(panel.rivals, LINES, strict=False):
        if isinstance(rival, float):
            axis.axhline(rival, color=GREY, linestyle=line, linewidth=1)
    axis.set(xlabel="optimiser step", ylabel=panel.unit)
    axis.grid(axis="y", alpha=0.25)


_NAMES = {
    "chunked": "chunked: one chunk's graph at a time",
    "full-batch": "full-batch: all graphs held",
}


def draw_cost_of_encoder(cost: pd.DataFrame, catalogue: Catalogue, subject: str) -> Figure:
    """Draw peak memory and seconds of a step of the subject's encoder against its cells, B.

    A cross at the height of the configuration's limit marks the first B that needs more memory than was offered.
    """
    limit_gb = catalogue.config["step_cost"]["limit_gb"]
    with style():
        figure = Figure(figsize=(8, 3.6), layout="constrained")
        memory, seconds = figure.subplots(1, 2)
        for i, (mode, name) in enumerate(_NAMES.items()):
            rows = cost[cost["mode"] == mode].sort_values("B")
            colour, mark = look(i)
            fitting, over = rows[rows["seconds"].notna()], rows[rows["seconds"].isna()]
            for axis, column in ((memory, "peak_gb"), (seconds, "seconds")):
                axis.plot(fitting["B"], fitting[column], color=colour, marker=mark, label=name)
            if len(over):
                n_cells = int(over["B"].min())
                memory.plot([n_cells], [limit_gb], "x", color=colour, markersize=8, clip_on=False)
                memory.annotate(
                    f"{n_cells:,} cells do not fit",
                    (n_cells, limit_gb),
                    xytext=(-6, -12),
                    textcoords="offset points",
                    ha="right",
                    color=colour,
                )
        memory.axhline(limit_gb, color=GREY, linestyle="--", linewidth=1, label=f"limit: {limit_gb:g} GB")
        memory.set(ylim=(0, 1.12 * limit_gb), ylabel="peak resident memory (GB)")
        seconds.set(yscale="log", ylabel="seconds a step")
        for axis in (memory, seconds):
            _name_cells(axis, sorted(set(cost["B"])))
        handles, names = memory.get_legend_handles_labels()
        figure.legend(handles, names, loc="outside lower center", ncols=3)
        figure.suptitle(f"Cost of a contrastive step: encoder {subject}, on the CPU")
        return figure


def _name_cells(axis: Axes, batches: list[int]) -> None:
    axis.set_xscale("log", base=2)
    axis.set_xticks(batches)
    axis.xaxis.set_major_formatter(ScalarFormatter())
    axis.xaxis.set_minor_formatter(NullFormatter())
    axis.set_xlabel("cells in the batch, B")
    axis.grid(axis="y", alpha=0.25)
