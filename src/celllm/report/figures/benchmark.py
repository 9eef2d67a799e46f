"""Scores: every task and method in one picture, and few-shot curves.

Dots are means over splits, lines intervals; few donors are ticks, one each.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from textwrap import fill
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from celllm.bench.metrics import ERRORS
from celllm.config.catalogue import Catalogue
from celllm.config.tables import Method, Task
from celllm.report.figures.style import TRIVIAL, looks_of_methods, notice, style
from celllm.report.references import WITHHELD, withheld
from celllm.report.results import Results, Summary
from celllm.report.titles import data_title, method_title, metric_title, task_title

Curve = tuple[Task, ...]


def dots_of(results: Results, catalogue: Catalogue) -> dict[tuple[str, str], Summary | None]:
    """Summarise the headline metric of every task and method, in the order of config/*.tsv; None: withheld."""
    hidden = withheld(results, catalogue)
    found = {
        (task.task, method): results.summary(task.task, method, task.headline)
        for task in catalogue.tasks.values()
        for method in catalogue.methods
    }
    return {key: None if key in hidden else dot for key, dot in found.items() if dot.n_splits}


def draw_scores(results: Results, catalogue: Catalogue) -> Figure:
    """Draw a panel for each headline metric, in it a band a task, in that a line a method.

    Methods keep their place in every band, so that a column of equal marks can be followed by eye.
    """
    dots = dots_of(results, catalogue)
    panels: dict[tuple[str, str], list[str]] = {}
    for task in dict.fromkeys(task for task, _ in dots):
        panels.setdefault((catalogue.tasks[task].kind, catalogue.tasks[task].headline), []).append(task)
    methods = {
        key: [row for name, row in catalogue.methods.items() if any((task, name) in dots for task in tasks)]
        for key, tasks in panels.items()
    }
    # inches: a line of a method, and as much again between two tasks
    heights = [len(tasks) * (0.1 * len(methods[key]) + 0.16) + 0.75 for key, tasks in panels.items()]
    with style():
        figure = Figure(figsize=(11, max(sum(heights) + 0.4, 2.6)), layout="constrained")
        axes = figure.subplots(len(panels), 1, squeeze=False, height_ratios=heights)[:, 0]
        for axis, (key, tasks) in zip(axes, panels.items(), strict=True):
            shown = {one: dot for one, dot in dots.items() if one[0] in tasks}
            _draw_panel(axis, shown, tasks, methods[key], catalogue)
            axis.set_xlabel(f"{metric_title(key[1])}: mean and 95 % interval over splits")
        figure.suptitle("All tasks and methods")
        return figure


def _draw_panel(
    axis: Axes,
    dots: Mapping[tuple[str, str], Summary | None],
    tasks: Sequence[str],
    methods: Sequence[Method],
    catalogue: Catalogue,
) -> None:
    """Fill one panel: bands for `tasks` from above, the dots of `methods` on their lines."""
    step = 0.8 / max(1, len(methods))
    looks = looks_of_methods(catalogue.methods.values())
    for band in range(0, len(tasks), 2):
        axis.axhspan(band - 0.5, band + 0.5, color="#F4F4F4", linewidth=0, zorder=0)
    places = {method.method: place for place, method in enumerate(methods)}
    for (task, name), dot in dots.items():
        y = tasks.index(task) + (places[name] - (len(methods) - 1) / 2) * step
        _draw_dot(axis, dot, y, looks[name], title=method_title(catalogue, name))
    titles = {method.method: method.title + " (trivial)" * (method.role == TRIVIAL) for method in methods}
    handles = [axis.plot([], [], linestyle="none", label=titles[name], **looks[name])[0] for name in titles]
    axis.legend(handles=handles, loc="upper left", bbox_to_anchor=(1.01, 1))
    axis.set_yticks(range(len(tasks)), labels=[fill(task_title(catalogue, task), 34) for task in tasks])
    axis.tick_params(axis="y", length=0)
    axis.set_ylim(len(tasks) - 0.5, -0.5)
    if catalogue.tasks[tasks[0]].headline not in ERRORS:
        # the whole scale in every panel, so that panels can be compared
        ends = [end for dot in dots.values() if dot for end in (dot.mean, dot.low) if not math.isnan(end)]
        axis.set_xlim(min([0.0, *ends]) - 0.02, 1.02)
    axis.grid(axis="x", alpha=0.3)


def _draw_dot(axis: Axes, dot: Summary | None, y: float, look: Mapping[str, Any], *, title: str) -> None:
    if dot is None or math.isnan(dot.mean):
        axis.text(
            0.005,
            y,
            f"{title}: {WITHHELD if dot is None else 'undefined'}",
            color=look["color"],
            fontsize=6.5,
            va="center",
            transform=axis.get_yaxis_transform(),
        )
        return
    if not math.isnan(dot.low):
        axis.plot([dot.low, dot.high], [y, y], color=look["color"], linewidth=1.1, solid_capstyle="round")
    axis.plot(dot.each, [y] * len(dot.each), linestyle="none", marker="|", markersize=4, color=look["color"])
    axis.plot(dot.mean, y, linestyle="none", **look)


def curves_of(catalogue: Catalogue, results: Results) -> list[Curve]:
    """Return the few-shot curves that were run.

    A curve is at least two tasks alike in all but the share for training, none of them with a validation part, so that
    all are tested on the same cells.
    """
    found: dict[tuple[object, ...], list[Task]] = {}
    for task in catalogue.tasks.values():
        is_fewshot = (task.kind, task.split, task.protocol) == ("classification", "random", "clean")
        was_run = any(results.splits(task.task, method, task.headline) for method in catalogue.methods)
        if is_fewshot and was_run and not task.validation:
            key = (task.dataset, task.test, task.min_class_size, task.headline)
            found.setdefault(key, []).append(task)
    return [tuple(sorted(tasks, key=lambda task: task.train)) for tasks in found.values() if len(tasks) > 1]


def points_of(curve: Curve, catalogue: Catalogue, results: Results) -> dict[str, list[tuple[float, Summary]]]:
    """Return each method's points, number of training cells and score, without those that may not be shown."""
    hidden = withheld(results, catalogue)
    points = {
        method: [
            (results.mean(task.task, method, "n_train"), results.summary(task.task, method, task.headline))
            for task in curve
            if results.splits(task.task, method, task.headline) and (task.task, method) not in hidden
        ]
        for method in catalogue.methods
    }
    return {method: of_method for method, of_method in points.items() if of_method}


def draw_fewshot(results: Results, catalogue: Catalogue) -> Figure:
    """Draw a panel for each curve: mean and 95 % interval over splits against the number of training cells."""
    curves = {curve: points_of(curve, catalogue, results) for curve in curves_of(catalogue, results)}
    if not curves:
        return notice("No few-shot curve was run: it takes two tasks that differ in the share for training alone.")
    looks = looks_of_methods(catalogue.methods.values())
    with style():
        figure = Figure(figsize=(8.5, 0.4 + 4.2 * len(curves)), layout="constrained")
        axes = figure.subplots(len(curves), 1, squeeze=False)[:, 0]
        for axis, (curve, methods) in zip(axes, curves.items(), strict=True):
            for place, (method, points) in enumerate(methods.items()):
                means = [score.mean for _, score in points]
                lengths = [(score.mean - score.low, score.high - score.mean) for _, score in points]
                # a little aside, so that intervals of many methods can be told apart
                x = [size * 1.02 ** (place - len(methods) / 2) for size, _ in points]
                axis.errorbar(
                    x,
                    means,
                    yerr=np.nan_to_num(lengths).T,
                    linewidth=1,
                    elinewidth=0.7,
                    **looks[method],
                    label=method_title(catalogue, method),
                )
            sizes = sorted({round(size) for points in methods.values() for size, _ in points})
            axis.set_xscale("log")
            axis.set_xticks(sizes, labels=[f"{size:,}" for size in sizes])
            axis.minorticks_off()
            axis.set(xlabel="training cells", ylabel=metric_title(curve[0].headline))
            axis.set_title(f"{data_title(catalogue, curve[0].task)}: mean and 95 % interval over splits")
            axis.legend(loc="upper left", bbox_to_anchor=(1.01, 1))
            axis.grid(axis="y", alpha=0.3)
        figure.supxlabel(f"Methods that are missing: {WITHHELD}, or not run.", fontsize=7, x=0.01, ha="left")
        return figure
