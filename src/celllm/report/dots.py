"""Every task and method in one picture: dots for means over splits, lines for intervals."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from celllm.bench.metrics import ERRORS
from celllm.config.neighbours import LEAKED, LINEAR, SHUFFLED
from celllm.config.tables import Method
from celllm.report.catalogue import Catalogue, metric_title
from celllm.report.figures import COLOURS, GREY, MARKS, look, style
from celllm.report.neighbours import MISSING, alone
from celllm.report.results import Results

# Role of methods that know nothing of the single cell or line; drawn hollow and grey, as the floor of each task.
TRIVIAL = "trivial"


@dataclass(frozen=True)
class Dot:
    """One method on one task: mean and interval of the headline metric, or none where it may not be shown."""

    task: str
    method: str
    mean: float
    low: float
    high: float
    is_hidden: bool


def dots_of(results: Results, catalogue: Catalogue) -> list[Dot]:
    """Summarise the headline metric of every task and method, in the order of config/*.tsv."""
    hidden = alone(results, catalogue)
    dots = []
    for task in catalogue.tasks:
        for method in catalogue.methods:
            found = results.summary(task.task, method.method, task.headline)
            if not found.n_splits:
                continue
            is_hidden = (task.task, method.method) in hidden
            numbers = (math.nan,) * 3 if is_hidden else (found.mean, found.low, found.high)
            dots.append(Dot(task.task, method.method, *numbers, is_hidden))
    return dots


def draw_scores(dots: Sequence[Dot], catalogue: Catalogue) -> Figure:
    """Draw a panel for each headline metric, in it a band a task, in that a line a method.

    Methods keep their place in every band, so that a column of equal marks can be followed by eye.
    """
    panels: dict[tuple[str, str], list[str]] = {}
    for dot in dots:
        key = (catalogue.tasks.row(dot.task).kind, catalogue.headline(dot.task))
        panels.setdefault(key, [])
        if dot.task not in panels[key]:
            panels[key].append(dot.task)
    methods = {
        key: [
            method
            for method in catalogue.methods
            if any(dot.method == method.method and dot.task in tasks for dot in dots)
        ]
        for key, tasks in panels.items()
    }
    # inches: a line of a method, and as much again between two tasks
    heights = [len(tasks) * (0.1 * len(methods[key]) + 0.16) + 0.75 for key, tasks in panels.items()]
    with style():
        figure = Figure(figsize=(11, max(sum(heights) + 0.4, 2.6)), layout="constrained")
        axes = figure.subplots(len(panels), 1, squeeze=False, height_ratios=heights)[:, 0]
        for axis, (panel, tasks) in zip(axes, panels.items(), strict=True):
            shown = [dot for dot in dots if dot.task in tasks]
            _draw_panel(axis, shown, tasks, methods[panel], catalogue)
            axis.set_xlabel(f"{metric_title(panel[1])}: mean and 95 % interval over splits")
        figure.suptitle("All tasks and methods")
        return figure


def _draw_panel(
    axis: Axes,
    dots: Sequence[Dot],
    tasks: Sequence[str],
    methods: Sequence[Method],
    catalogue: Catalogue,
) -> None:
    """Fill one panel: bands for `tasks` from above, the dots of `methods` on their lines."""
    step = 0.8 / max(1, len(methods))
    styles = _styles(catalogue)
    for band in range(0, len(tasks), 2):
        axis.axhspan(band - 0.5, band + 0.5, color="#F4F4F4", linewidth=0)
    places = {method.method: place for place, method in enumerate(methods)}
    for dot in dots:
        y = tasks.index(dot.task) + (places[dot.method] - (len(methods) - 1) / 2) * step
        _draw_dot(axis, dot, y, styles[dot.method], title=catalogue.methods.row(dot.method).title)
    handles = [axis.plot([], [], label=_title(method), **styles[method.method])[0] for method in methods]
    axis.legend(handles=handles, loc="upper left", bbox_to_anchor=(1.01, 1))
    axis.set_yticks(range(len(tasks)), labels=[_wrapped(catalogue.task_title(task)) for task in tasks])
    axis.tick_params(axis="y", length=0)
    axis.set_ylim(len(tasks) - 0.5, -0.5)
    if catalogue.headline(tasks[0]) not in ERRORS:
        # the whole scale in every panel, so that panels can be compared
        ends = [end for dot in dots for end in (dot.mean, dot.low, dot.high) if not math.isnan(end)]
        axis.set_xlim(min([0.0, *ends]) - 0.02, max([1.0, *ends]) + 0.02)
    axis.grid(axis="x", alpha=0.3)


def _draw_dot(axis: Axes, dot: Dot, y: float, looks: Mapping[str, Any], *, title: str) -> None:
    if dot.is_hidden or math.isnan(dot.mean):
        axis.text(
            0.005,
            y,
            f"{title}: {MISSING if dot.is_hidden else 'undefined'}",
            color=looks["color"],
            fontsize=6.5,
            va="center",
            transform=axis.get_yaxis_transform(),
        )
        return
    if not math.isnan(dot.low):
        axis.plot([dot.low, dot.high], [y, y], color=looks["color"], linewidth=1.1, solid_capstyle="round")
    axis.plot(dot.mean, y, **looks)


def _styles(catalogue: Catalogue) -> dict[str, dict[str, Any]]:
    """Colour and mark of every method; methods of one title look the same on cells and on cell lines."""
    controls = {**dict.fromkeys(LEAKED.values(), "P"), **dict.fromkeys(SHUFFLED.values(), "X")}
    trivial = [method.method for method in catalogue.methods if method.role == TRIVIAL]
    plain = [method for method in catalogue.methods if method.method not in {*controls, *trivial}]
    # the linear models are one neighbour with two names
    groups = {method.method: "linear" if method.method in LINEAR.values() else method.title for method in plain}
    order = list(dict.fromkeys(groups.values()))
    styles: dict[str, dict[str, Any]] = {}
    for method in catalogue.methods:
        name = method.method
        if name in controls:
            colour, mark, face = "black", controls[name], "black"
        elif name in trivial:
            colour, mark, face = GREY, MARKS[trivial.index(name) % len(MARKS)], "white"
        else:
            colour, mark = look(order.index(groups[name]), COLOURS[:-1])  # black is for the controls
            face = colour
        styles[name] = {
            "color": colour,
            "marker": mark,
            "markerfacecolor": face,
            "markersize": 5.5 if name in controls else 4.2,
            "markeredgewidth": 0.9,
            "linestyle": "none",
        }
    return styles


def _title(method: Method) -> str:
    return method.title + (" (trivial)" if method.role == TRIVIAL else "")


def _wrapped(title: str, width: int = 34) -> str:
    """Break a title into lines of about `width` letters, never inside a word."""
    lines = [""]
    for word in title.split():
        if lines[-1] and len(lines[-1]) + 1 + len(word) > width:
            lines.append("")
        lines[-1] = f"{lines[-1]} {word}".strip()
    return "\n".join(lines)
