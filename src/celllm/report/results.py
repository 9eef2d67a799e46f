"""Scores as the report asks for them: by task, method and metric, split seeds and model seeds told apart.

A split is a draw of training and test cells; a model seed is a run of the method on one split. The runs on one split
share their test cells, so they are no independent measurements: they are averaged first, and intervals and tests
are over splits.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from celllm.base.errors import InputError
from celllm.base.interval import mean_interval
from celllm.bench import predictions, scores
from celllm.bench.predictions import PredictionsMeta
from celllm.bench.runs import predictions_of
from celllm.bench.scores import is_quality

Predictions = tuple[pd.DataFrame, PredictionsMeta]
"""Predictions of a run, and how they were made."""


@dataclass(frozen=True)
class Summary:
    """A metric of a method on a task.

    Parameters
    ----------
    mean, low, high
        Mean over splits and its 95 % t interval; nan without a score, low and high also with a single split.
    n_splits, n_seeds
        Splits, and model seeds on the split that has most.
    sd_splits
        Standard deviation between splits, of their means over model seeds; nan with a single one.
    sd_seeds
        Standard deviation between model seeds on the same split, pooled over splits; nan with one seed a split.
    """

    mean: float
    low: float
    high: float
    n_splits: int
    n_seeds: int
    sd_splits: float
    sd_seeds: float


class Results:
    """The long table of scores, indexed.

    Parameters
    ----------
    table
        Columns task, method, split, seed, metric, value.
    """

    def __init__(self, table: pd.DataFrame) -> None:
        self._values: dict[tuple[str, str, str], dict[int, list[float]]] = {}
        columns = table[["task", "method", "metric", "split", "value"]].itertuples(index=False, name=None)
        for task, method, metric, split, value in columns:
            by_split = self._values.setdefault((str(task), str(method), str(metric)), {})
            by_split.setdefault(int(split), []).append(float(value))

    def has(self, task: str, method: str) -> bool:
        """Whether the method has any score on the task."""
        return any(key[:2] == (task, method) for key in self._values)

    def metrics(self, *, classes: bool = False) -> list[str]:
        """Return the metrics that there are, sorted: those of all classes together, or those of single ones."""
        names = {metric for _, _, metric in self._values}
        return sorted(name for name in names if (":" in name if classes else is_quality(name)))

    def runs(self, task: str, method: str, metric: str) -> Mapping[int, list[float]]:
        """Return the values of every model seed, by split."""
        return self._values.get((task, method, metric), {})

    def by_split(self, task: str, method: str, metric: str) -> dict[int, float]:
        """Return the mean over model seeds, by split, in order."""
        runs = self.runs(task, method, metric)
        return {split: float(np.mean(runs[split])) for split in sorted(runs)}

    def splits(self, task: str, method: str, metric: str) -> frozenset[int]:
        """Return the splits with a score."""
        return frozenset(self.runs(task, method, metric))

    def mean(self, task: str, method: str, metric: str) -> float:
        """Return the mean over splits; nan without a score."""
        values = list(self.by_split(task, method, metric).values())
        return float(np.mean(values)) if values else math.nan

    def summary(self, task: str, method: str, metric: str) -> Summary:
        """Return mean, interval and both spreads."""
        runs = self.runs(task, method, metric)
        means = list(self.by_split(task, method, metric).values())
        mean, low, high = mean_interval(means)
        repeated = [np.asarray(values) for values in runs.values() if len(values) > 1]
        freedom = sum(len(values) - 1 for values in repeated)
        squares = sum(float(((values - values.mean()) ** 2).sum()) for values in repeated)
        return Summary(
            mean=mean,
            low=low,
            high=high,
            n_splits=len(means),
            n_seeds=max((len(values) for values in runs.values()), default=0),
            sd_splits=float(np.std(means, ddof=1)) if len(means) > 1 else math.nan,
            sd_seeds=math.sqrt(squares / freedom) if freedom else math.nan,
        )


def read(path: Path) -> Results:
    """Read `scores.tsv`."""
    return Results(scores.read(path))


def read_predictions(runs: Sequence[Path]) -> list[Predictions]:
    """Read the predictions of all finished runs of these `runs.json` files."""
    return [predictions.read(path) for path in predictions_of(runs)]


def check(of_runs: Iterable[Predictions], *, task: str, methods: Collection[str], kind: str) -> None:
    """Refuse predictions that are not of this task and kind, or of none of these methods."""
    for _, meta in of_runs:
        if (meta.task, meta.kind) != (task, kind) or meta.method not in methods:
            raise InputError(
                file=f"predictions of split {meta.split}, seed {meta.seed}",
                field="task, method and kind",
                expected=f"{task}, {' or '.join(methods)}, {kind}",
                found=f"{meta.task}, {meta.method}, {meta.kind}",
                remedy=f"give the runs.json files of {task} alone",
            )
