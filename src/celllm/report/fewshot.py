"""Score against the share of cells that may be learned from: few-shot curves, the linear model beside every method."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from matplotlib.figure import Figure

from celllm.config.tables import Method, Task
from celllm.report.catalogue import Catalogue, metric_title
from celllm.report.figures import look, notice, style
from celllm.report.neighbours import MISSING, alone
from celllm.report.results import Results, Summary

Curve = tuple[Task, ...]


@dataclass(frozen=True)
class Points:
    """A method's scores along a curve, by number of training cells, without tasks whose number may not be shown."""

    method: Method
    n_train: tuple[float, ...]
    scores: tuple[Summary, ...]


def curves_of(catalogue: Catalogue, results: Results) -> list[Curve]:
    """Return the few-shot curves that were run.

    A curve is at least two tasks alike in all but the share for training, none of them with a validation part, so that
    all are tested on the same cells.
    """
    found: dict[tuple[object, ...], list[Task]] = {}
    for task in catalogue.tasks:
        if (
            task.kind == "classification"
            and task.split == "random"
            and not task.validation
            and task.protocol == "clean"
        ):
            key = (task.dataset, task.test, task.min_class_size, task.headline)
            found.setdefault(key, []).append(task)
    run = [
        sorted((task for task in tasks if _was_run(task, catalogue, results)), key=lambda task: task.train)
        for tasks in found.values()
    ]
    return [tuple(tasks) for tasks in run if len(tasks) > 1]


def points_of(curve: Curve, catalogue: Catalogue, results: Results) -> list[Points]:
    """Return each method's points, in the order of config/methods.tsv."""
    hidden = alone(results, catalogue)
    made = []
    for method in catalogue.methods:
        tasks = [
            task
            for task in curve
            if results.splits(task.task, method.method, task.headline) and (task.task, method.method) not in hidden
        ]
        if tasks:
            sizes = tuple(results.mean(task.task, method.method, "n_train") for task in tasks)
            scores = tuple(results.summary(task.task, method.method, task.headline) for task in tasks)
            made.append(Points(method, sizes, scores))
    return made


def draw_curves(curves: Mapping[Curve, Sequence[Points]], catalogue: Catalogue) -> Figure:
    """Draw a panel a curve: mean and 95 % interval over splits against the number of training cells."""
    if not curves:
        return notice("No few-shot curve was run: it takes two tasks that differ in the share for training alone.")
    with style():
        figure = Figure(figsize=(8.5, 0.4 + 4.2 * len(curves)), layout="constrained")
        axes = figure.subplots(len(curves), 1, squeeze=False)[:, 0]
        for axis, (curve, methods) in zip(axes, curves.items(), strict=True):
            for place, points in enumerate(methods):
                colour, mark = look(place)
                means = [score.mean for score in points.scores]
                below = [_length(score.mean, score.low) for score in points.scores]
                above = [_length(score.high, score.mean) for score in points.scores]
                # a little aside, so that intervals of many methods can be told apart
                x = [size * 1.02 ** (place - len(methods) / 2) for size in points.n_train]
                axis.errorbar(
                    x,
                    means,
                    yerr=[below, above],
                    color=colour,
                    marker=mark,
                    markersize=3.5,
                    linewidth=1,
                    elinewidth=0.7,
                    label=points.method.title,
                )
            axis.set_xscale("log")
            sizes = sorted({round(size) for points in methods for size in points.n_train})
            axis.set_xticks(sizes, labels=[f"{size:,}" for size in sizes])
            axis.minorticks_off()
            axis.set_xlabel("training cells")
            axis.set_ylabel(metric_title(curve[0].headline))
            axis.set_title(f"{catalogue.dataset_title(curve[0].task)}: mean and 95 % interval over splits")
            axis.legend(loc="upper left", bbox_to_anchor=(1.01, 1))
            axis.grid(axis="y", alpha=0.3)
        figure.supxlabel(f"Methods that are missing: {MISSING}, or not run.", fontsize=7, x=0.01, ha="left")
        return figure


def _was_run(task: Task, catalogue: Catalogue, results: Results) -> bool:
    return any(results.splits(task.task, method.method, task.headline) for method in catalogue.methods)


def _length(upper: float, lower: float) -> float:
    return 0.0 if math.isnan(upper - lower) else upper - lower
