"""Every metric of a table of predictions, and which way a metric points."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from celllm.bench.predictions import score_columns
from celllm.config.explain import unknown

if TYPE_CHECKING:
    import pandas as pd

# Bins of the top probability, as in Guo et al. 2017.
N_BINS = 15
# The two labels of the drug tasks; sensitive is the positive class, as in scDEAL and SCAD.
SENSITIVE, RESISTANT = "sensitive", "resistant"
# A correlation over fewer pairs is always plus or minus one.
MIN_PAIRS = 3
# Metrics of which less is better; of all others more is.
ERRORS = frozenset({"rmse", "mae", "ece", "brier"})


def bounds_of(metric: str) -> tuple[float, float] | None:
    """Return the smallest and the largest possible value of a metric; None where it has no such bounds."""
    if metric in ("rmse", "mae", "r2"):
        return None
    if metric in ("pearson", "spearman", "pearson_per_drug", "pearson_per_line"):
        return -1.0, 1.0
    return (0.0, 2.0) if metric == "brier" else (0.0, 1.0)


def metrics_of(table: pd.DataFrame, *, kind: str) -> dict[str, float]:
    """Return every metric of a table of predictions of that kind of task."""
    if kind == "classification":
        classes, values = score_columns(table)
        truth, predicted = (table[name].to_numpy(str) for name in ("truth", "predicted"))
        return classification_metrics(truth, predicted, classes=classes, scores=values)
    truth, predicted = (table[name].to_numpy(float) for name in ("truth", "predicted"))
    drugs, lines = (table[name].to_numpy(str) for name in ("drug", "line"))
    return regression_metrics(truth, predicted, drugs=drugs, lines=lines)


def headline_of(metrics: Mapping[str, float], metric: str, *, task: str) -> float:
    """Return the metric a task leads with; InputError if no such metric was computed of its predictions."""
    if metric not in metrics:
        names = [name for name in metrics if ":" not in name]
        raise unknown(metric, names, file="config/tasks.tsv", field=f"headline of {task}")
    return metrics[metric]


def is_better(value: float, other: float, *, metric: str) -> bool:
    """Whether `value` is strictly better than `other`; nan is worse than any number, and no better than nan."""
    if math.isnan(value) or math.isnan(other):
        return math.isnan(other) and not math.isnan(value)
    return value < other if metric in ERRORS else value > other


def classification_metrics(
    truth: np.ndarray, predicted: np.ndarray, *, classes: Sequence[str], scores: np.ndarray
) -> dict[str, float]:
    """Score predicted classes by every metric; `macro_f1` and `f1:{class}` are of classes in truth or prediction.

    `scores` are units x `classes`, those the method knows; larger means likelier. A true class that is not among them
    was absent in training: it can only be missed, and counts as such.
    """
    from sklearn.metrics import accuracy_score, f1_score, recall_score

    truth, predicted = np.asarray(truth, dtype=str), np.asarray(predicted, dtype=str)
    present, true_classes = np.unique(np.concatenate([truth, predicted])), np.unique(truth)
    f1_of_class = f1_score(truth, predicted, labels=present, average=None, zero_division=0)
    recall = recall_score(truth, predicted, labels=true_classes, average="macro", zero_division=0)
    f1_of = {str(name): float(f1) for name, f1 in zip(present, f1_of_class, strict=True)}
    values = {
        "accuracy": float(accuracy_score(truth, predicted)),
        "macro_f1": float(np.mean(f1_of_class)),
        "balanced_accuracy": float(recall),
        "auroc": auroc(truth, classes=classes, scores=scores),
        "ece": expected_calibration_error(truth, classes=classes, scores=scores),
        "brier": brier(truth, classes=classes, scores=scores),
        **{f"f1:{name}": f1 for name, f1 in f1_of.items()},
    }
    if set(truth) <= {SENSITIVE, RESISTANT}:
        values |= {f"f1_{name}": f1_of.get(name, 0.0) for name in (SENSITIVE, RESISTANT)}
    return values


def auroc(truth: np.ndarray, *, classes: Sequence[str], scores: np.ndarray) -> float:
    """Return the area under the ROC curve: of two classes, or the mean of one class against the rest.

    A true class without a score column was never seen in training; nothing ranks it, so it counts 0.5.
    With a single true class nothing can be ranked: nan.
    """
    from sklearn.metrics import roc_auc_score

    truth = np.asarray(truth, dtype=str)
    names = list(classes)
    true_classes = np.unique(truth)
    if len(true_classes) < 2:
        return float("nan")
    if set(true_classes) == set(names) and len(names) == 2:
        # one class is enough: with scores that sum to 1 the other's curve has the same area
        true_classes = np.array([SENSITIVE]) if SENSITIVE in true_classes else true_classes[1:]
    areas = [
        float(roc_auc_score(truth == name, scores[:, names.index(name)])) if name in names else 0.5
        for name in true_classes
    ]
    return float(np.mean(areas))


def expected_calibration_error(truth: np.ndarray, *, classes: Sequence[str], scores: np.ndarray) -> float:
    """Return by how much confidence and accuracy differ, averaged over the units; nan if scores are no probabilities.

    Units fall into 15 bins of equal width by the largest of their probabilities; a bin's gap between mean
    probability and share of hits counts by its number of units. A bin includes its upper edge. Guo et al. 2017,
    arXiv:1706.04599, equation 3.
    """
    if not are_probabilities(scores):
        return float("nan")
    confidence = scores.max(axis=1)
    is_hit = np.asarray(classes, dtype=str)[scores.argmax(axis=1)] == np.asarray(truth, dtype=str)
    edges = np.linspace(0, 1, N_BINS + 1)
    bin_of = np.clip(np.searchsorted(edges, confidence, side="left") - 1, 0, N_BINS - 1)
    gaps = np.bincount(bin_of, weights=confidence - is_hit, minlength=N_BINS)
    return float(np.abs(gaps).sum() / len(truth))


def brier(truth: np.ndarray, *, classes: Sequence[str], scores: np.ndarray) -> float:
    """Return the squared distance of probabilities from the truth, summed over classes; nan if they are none.

    0 is perfect, 2 is certain of a wrong class. A true class without a column had probability 0. Brier 1950, Monthly
    Weather Review 78:1, equation 2.
    """
    if not are_probabilities(scores):
        return float("nan")
    truth = np.asarray(truth, dtype=str)
    is_class = truth[:, None] == np.asarray(classes, dtype=str)[None, :]
    is_unknown = ~is_class.any(axis=1)
    return float(np.mean(((scores - is_class) ** 2).sum(axis=1) + is_unknown))


def are_probabilities(scores: np.ndarray) -> bool:
    """Whether no score is negative and each unit's sum to 1."""
    return bool((scores >= 0).all() and np.allclose(scores.sum(axis=1), 1, rtol=0, atol=1e-6))


def regression_metrics(
    truth: np.ndarray, predicted: np.ndarray, *, drugs: np.ndarray, lines: np.ndarray
) -> dict[str, float]:
    """Score predicted responses, ln IC50 (natural logarithm of µM), of pairs of these drugs and lines.

    The global correlations mostly say how well the drugs' means are known. Only the median over drugs says whether
    sensitive lines are told from resistant ones; that over lines says whether a line's drugs are put in order, which on
    known drugs their means do, and on drugs held out is the question. A correlation is nan where it is not defined, as
    for a constant prediction.
    """
    from scipy import stats
    from sklearn.metrics import mean_absolute_error, r2_score

    truth, predicted = np.asarray(truth, dtype=np.float64), np.asarray(predicted, dtype=np.float64)
    return {
        "pearson": pearson(truth, predicted),
        "spearman": pearson(stats.rankdata(truth), stats.rankdata(predicted)),
        "rmse": rmse(truth, predicted),
        "mae": float(mean_absolute_error(truth, predicted)),
        "r2": float(r2_score(truth, predicted)) if len(truth) > 1 else float("nan"),
        "pearson_per_drug": _median(pearson_by(drugs, truth, predicted)),
        "pearson_per_line": _median(pearson_by(lines, truth, predicted)),
    }


def rmse(truth: np.ndarray, predicted: np.ndarray) -> float:
    """Return the root of the mean squared error, in the unit of the responses."""
    from sklearn.metrics import root_mean_squared_error

    return float(root_mean_squared_error(truth, predicted))


def pearson(truth: np.ndarray, predicted: np.ndarray) -> float:
    """Return Pearson's correlation; nan for fewer than three pairs or where a side is constant."""
    if len(truth) < MIN_PAIRS or _is_constant(truth) or _is_constant(predicted):
        return float("nan")
    from scipy import stats

    return float(stats.pearsonr(truth, predicted).statistic)


def pearson_by(groups: np.ndarray, truth: np.ndarray, predicted: np.ndarray) -> dict[str, float]:
    """Return Pearson's correlation inside each group, such as over a drug's lines or over a line's drugs.

    Groups with fewer than three pairs or constant truth are left out; a constant prediction tells no members of the
    group apart and counts 0.
    """
    names, group_of, sizes = np.unique(np.asarray(groups, dtype=str), return_inverse=True, return_counts=True)
    in_order = np.split(np.argsort(group_of, kind="stable"), np.cumsum(sizes)[:-1])
    values = {}
    for name, rows in zip(names.tolist(), in_order, strict=True):
        if len(rows) >= MIN_PAIRS and not _is_constant(truth[rows]):
            value = pearson(truth[rows], predicted[rows])
            values[name] = 0.0 if np.isnan(value) else value
    return values


def _median(values: Mapping[str, float]) -> float:
    return float(np.median(list(values.values()))) if values else float("nan")


def _is_constant(values: np.ndarray) -> bool:
    # a spread of rounding size is none: the correlation would be one of rounding errors
    return bool(np.ptp(values) <= 1e-9 * max(1.0, float(np.abs(values).max())))
