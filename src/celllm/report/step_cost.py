"""Memory and time of one step against the cells in it, chunked and full-batch."""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter, ScalarFormatter

from celllm.report.figures import GREY, look, style

_NAMES = {
    "chunked": "chunked: one chunk's graph at a time",
    "full-batch": "full-batch: all graphs held",
}


def draw_step_cost(table: pd.DataFrame, *, limit_gb: float, what: str) -> Figure:
    """Draw peak memory and seconds against B.

    Parameters
    ----------
    table
        As `contracts.step_cost` reads it.
    limit_gb
        What was offered, 10^9 bytes; a cross at this height marks the first B that needs more.
    what
        The encoder that was measured, for the title.
    """
    with style():
        figure = Figure(figsize=(8, 3.6), layout="constrained")
        memory, seconds = figure.subplots(1, 2)
        for i, (mode, name) in enumerate(_NAMES.items()):
            rows = table[table["mode"] == mode].sort_values("B")
            colour, mark = look(i)
            fitting, over = rows[rows["fits"]], rows[~rows["fits"]]
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
            _name_cells(axis, sorted(set(table["B"])))
        handles, names = memory.get_legend_handles_labels()
        figure.legend(handles, names, loc="outside lower center", ncols=3)
        figure.suptitle(f"Cost of a contrastive step: {what}")
        return figure


def _name_cells(axis: Axes, batches: list[int]) -> None:
    axis.set_xscale("log", base=2)
    axis.set_xticks(batches)
    axis.xaxis.set_major_formatter(ScalarFormatter())
    axis.xaxis.set_minor_formatter(NullFormatter())
    axis.set_xlabel("cells in the batch, B")
    axis.grid(axis="y", alpha=0.25)
