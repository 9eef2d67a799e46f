"""Scores as the report asks for them: by task, method and metric, split seeds and model seeds told apart.

A split is a draw of training and test cells; a model seed is a run of the method on one split. The runs on one split
share their test cells, so they are no independent measurements: they are averaged first. Intervals and tests are over
splits, and know how many units splits share and how much a score hangs on its own test units (`base.interval`).
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from celllm.base.errors import InputError
from celllm.base.interval import Mean, mean_over
from celllm.bench import predictions, scores
from celllm.bench.influence import Influence, influence, mean_influence
from celllm.bench.metrics import bounds_of
from celllm.bench.predictions import PredictionsMeta
from celllm.bench.runs import predictions_of
from celllm.bench.scores import is_quality
from celllm.config.catalogue import Catalogue

Predictions = tuple[pd.DataFrame, PredictionsMeta]
"""Predictions of a run, and how they were made."""


@dataclass(frozen=True)
class Summary:
    """A metric of a method on a task."""

    mean: float
    low: float
    high: float
    """Mean over splits and its 95 % interval; nan without a score, low and high also with a single split and over few
    donors, which `each` shows one by one."""
    each: tuple[float, ...]
    """The values of few donors, in the order of their splits; else empty."""
    n_splits: int
    n_seeds: int
    """Splits, and model seeds on the split that has most."""
    sd_splits: float
    """Standard deviation between splits, of their means over model seeds; nan with a single one."""
    sd_seeds: float
    """Standard deviation between model seeds on the same split, pooled over splits; nan with one seed a split."""


class Results:
    """The long table of scores (columns task, method, split, seed, metric, value, error), indexed."""

    def __init__(self, table: pd.DataFrame) -> None:
        self._values: dict[tuple[str, str, str], dict[int, list[float]]] = {}
        self._errors: dict[tuple[str, str, str], dict[int, list[float]]] = {}
        columns = table[["task", "method", "metric", "split", "value", "error"]].itertuples(index=False, name=None)
        for task, method, metric, split, value, error in columns:
            key = str(task), str(method), str(metric)
            self._values.setdefault(key, {}).setdefault(int(split), []).append(float(value))
            self._errors.setdefault(key, {}).setdefault(int(split), []).append(float(error))

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

    def errors(self, task: str, method: str, metric: str) -> dict[int, float]:
        """Return the standard error of the score of each split by its own test units, a mean over model seeds."""
        found = self._errors.get((task, method, metric), {})
        return {split: float(np.mean(found[split])) for split in sorted(found)}

    def shares(self, task: str, method: str) -> dict[str, float]:
        """Return the shares of the units that a split of the task tests and trains on."""
        return {name: self.mean(task, method, f"{name}_share") for name in ("test", "train")}

    def mean_over_splits(self, task: str, method: str, metric: str) -> Mean:
        """Return the mean with its variance."""
        values, errors = self.by_split(task, method, metric), self.errors(task, method, metric)
        return mean_over(values.values(), errors.values(), **self.shares(task, method))

    def summary(self, task: str, method: str, metric: str) -> Summary:
        """Return mean, interval and both spreads."""
        runs = self.runs(task, method, metric)
        means = list(self.by_split(task, method, metric).values())
        found = self.mean_over_splits(task, method, metric)
        low, high = found.interval(bounds_of(metric), n_units=self.mean(task, method, "n_test"))
        is_few_donors = self.shares(task, method)["test"] == 0 and math.isnan(low)
        repeated = [np.asarray(values) for values in runs.values() if len(values) > 1]
        freedom = sum(len(values) - 1 for values in repeated)
        squares = sum(float(((values - values.mean()) ** 2).sum()) for values in repeated)
        return Summary(
            mean=found.value,
            low=low,
            high=high,
            each=tuple(means) if is_few_donors else (),
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


def read_influences(runs: Sequence[Path], catalogue: Catalogue) -> dict[tuple[str, str], dict[int, Influence]]:
    """Read how much each test unit weighs in the headline metric: by task and method, then split; means over seeds."""
    found: dict[tuple[str, str], dict[int, list[Influence]]] = {}
    for table, meta in map(predictions.read, predictions_of(runs)):
        task = catalogue.tasks[meta.task]
        one = influence(table, task.headline, kind=task.kind, split=task.split)
        if one is not None:
            found.setdefault((meta.task, meta.method), {}).setdefault(meta.split, []).append(one)
    return {
        key: {split: mean_influence(of_split) for split, of_split in by_split.items()}
        for key, by_split in found.items()
    }


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
