"""How much a score hangs on each test unit, and so on which units were tested: the infinitesimal jackknife.

The influence of a unit is the derivative of the metric by the unit's weight, times their number; its mean is 0. Medians
over drugs or lines, and the calibration error, have none: they are no smooth function of the weights.

Efron 1982, The Jackknife, the Bootstrap and Other Resampling Plans, chapter 6. For AUROC it is DeLong's variance (1988,
doi:10.2307/2531595). Shapes: N test units, K classes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from celllm.bench.metrics import RESISTANT, SENSITIVE, are_probabilities
from celllm.bench.predictions import score_columns

if TYPE_CHECKING:
    import pandas as pd

Floats = NDArray[np.float64]
CLUSTERS: Final[Mapping[str, tuple[str, ...]]] = {"lines": ("line",), "drugs": ("drug",), "both": ("line", "drug")}
"""What a split strategy draws as a whole, so that its pairs are no independent draws: columns of predictions."""


@dataclass(frozen=True)
class Influence:
    """Influence of each test unit on a score."""

    values_N: Floats
    clusters: tuple[NDArray[np.int64], ...] = ()
    """Number of the cluster of each unit, once for each way in which units are drawn together."""

    def __sub__(self, other: Influence) -> Influence:
        """Return the influence on the difference of two scores of the same units."""
        return Influence(self.values_N - other.values_N, self.clusters)

    @property
    def error(self) -> float:
        """Standard error of the score over draws of as many units, or clusters; nan for fewer than two."""
        alone = _variance(self.values_N, len(self.values_N))
        by_cluster = [_variance(np.bincount(of, weights=self.values_N), len(self.values_N)) for of in self.clusters]
        if not by_cluster:
            return math.sqrt(alone)
        # drawn in two ways at once: Cameron, Gelbach & Miller 2011, doi:10.1198/jbes.2010.07136
        return math.sqrt(max(*by_cluster, sum(by_cluster) - alone) if len(by_cluster) > 1 else by_cluster[0])


def mean_influence(of_seeds: Sequence[Influence]) -> Influence:
    """Return the influence on the mean score of several runs on the same test units."""
    return Influence(_mean([one.values_N for one in of_seeds]), of_seeds[0].clusters)


def influence(table: pd.DataFrame, metric: str, *, kind: str, split: str) -> Influence | None:
    """Return the influence of each row of predictions on a metric of `bench.metrics`; None where there is none.

    `kind` and `split` are the task's: what is predicted, and by what strategy the test subset was drawn.
    """
    if kind == "classification":
        values = _of_classes(table, metric)
    else:
        values = _of_responses(table["truth"].to_numpy(float), table["predicted"].to_numpy(float), metric)
    if values is None:
        return None
    columns = [table[name].to_numpy(str) for name in CLUSTERS.get(split, ())]
    return Influence(values, tuple(np.unique(column, return_inverse=True)[1] for column in columns))


def _variance(sums: NDArray[Any], n_units: int) -> float:
    if len(sums) < 2:
        return math.nan
    return float(np.sum(sums**2) / n_units**2 * len(sums) / (len(sums) - 1))


def _of_classes(table: pd.DataFrame, metric: str) -> Floats | None:
    truth, predicted = table["truth"].to_numpy(str), table["predicted"].to_numpy(str)
    name, _, of_class = metric.partition("_" if metric in (f"f1_{SENSITIVE}", f"f1_{RESISTANT}") else ":")
    if name == "accuracy":
        return _centred(truth == predicted)
    one_class: Mapping[str, tuple[Callable[..., Floats], Any]] = {
        "f1": (_f1, [of_class]),
        "macro_f1": (_f1, np.unique(np.concatenate([truth, predicted]))),
        "balanced_accuracy": (_within, np.unique(truth)),
    }
    if name in one_class:
        of, labels = one_class[name]
        return _mean([of(truth == label, predicted == label) for label in labels])
    classes, scores_NK = score_columns(table)
    if name == "auroc":
        return _auroc(truth, classes, scores_NK)
    if name == "brier" and are_probabilities(scores_NK):
        is_class_NK = truth[:, None] == np.array(classes)[None, :]
        return _centred(((scores_NK - is_class_NK) ** 2).sum(axis=1) + ~is_class_NK.any(axis=1))
    return None


def _centred(values: NDArray[np.generic]) -> Floats:
    numbers = values.astype(np.float64)
    return np.asarray(numbers - numbers.mean())


def _mean(of_each: Sequence[Floats]) -> Floats:
    return np.asarray(np.mean(of_each, axis=0))


def _within(is_chosen: NDArray[np.bool_], values: NDArray[np.generic]) -> Floats:
    """Influence on the mean of some units' values."""
    numbers = values.astype(np.float64)
    return np.asarray(is_chosen * (numbers - numbers[is_chosen].mean()) / is_chosen.mean())


def _f1(truth: NDArray[np.bool_], predicted: NDArray[np.bool_]) -> Floats:
    size = truth.mean() + predicted.mean()
    if size == 0:
        return np.zeros(len(truth))
    both = 2.0 * (truth & predicted)
    return np.asarray((both - both.mean() / size * (truth.astype(float) + predicted)) / size)


def _auroc(truth: NDArray[np.str_], classes: list[str], scores_NK: Floats) -> Floats | None:
    """Influence on the mean of one class against the rest, as `metrics.auroc` takes it."""
    from scipy.stats import rankdata

    true_classes = np.unique(truth)
    if len(true_classes) < 2:
        return None
    if set(true_classes) == set(classes) and len(classes) == 2:
        true_classes = true_classes[:1]
    total = np.zeros(len(truth))
    for label in (name for name in true_classes if name in classes):
        is_class, scores = truth == label, scores_NK[:, classes.index(label)]
        for side, sign in ((is_class, 1), (~is_class, -1)):
            beaten = np.zeros(len(truth))  # share of the other side that a unit stands above
            beaten[side] = (rankdata(scores)[side] - rankdata(scores[side])) / (~side).sum()
            total += sign * _within(side, beaten)
    return total / len(true_classes)


def _of_responses(truth: Floats, predicted: Floats, metric: str) -> Floats | None:
    errors = predicted - truth
    if metric == "mae":
        return _centred(np.abs(errors))
    if metric == "rmse":
        root = float(np.sqrt(np.mean(errors**2)))
        return _centred(errors**2) / (2 * root) if root else np.zeros(len(errors))
    if metric == "r2":
        squares = (truth - truth.mean()) ** 2
        if not squares.any():
            return None
        return np.asarray(((errors**2).mean() / squares.mean() * squares - errors**2) / squares.mean())
    if metric not in ("pearson", "spearman"):
        return None
    if metric == "spearman":
        from scipy.stats import rankdata

        truth, predicted = rankdata(truth), rankdata(predicted)
    if not (truth.std() and predicted.std()):
        return None
    one, other = (truth - truth.mean()) / truth.std(), (predicted - predicted.mean()) / predicted.std()
    return np.asarray(one * other - (one * other).mean() / 2 * (one**2 + other**2))
