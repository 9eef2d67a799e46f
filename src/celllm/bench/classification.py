"""Numbers from predicted classes and class scores."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from sklearn.metrics import accuracy_score, f1_score, recall_score, roc_auc_score

# Bins of the top probability, as in Guo et al. 2017.
N_BINS = 15

# The two labels of the drug tasks; sensitive is the positive class, as in scDEAL and SCAD.
SENSITIVE, RESISTANT = "sensitive", "resistant"


def classification_metrics(
    truth: np.ndarray,
    predicted: np.ndarray,
    *,
    classes: Sequence[str],
    scores: np.ndarray,
) -> dict[str, float]:
    """Score predicted classes.

    Parameters
    ----------
    truth, predicted
        True and predicted class of each unit.
    classes
        Classes the method knows, in the order of the columns of `scores`. A true class that is not among
        them was absent in training: it can only be missed, and counts as such.
    scores
        Units x classes; larger means likelier.

    Returns
    -------
    accuracy, macro_f1 (mean F1 over the classes that occur in truth or prediction), balanced_accuracy
    (mean recall over the true classes), auroc (see `auroc`), ece and brier (see there), `f1:{class}` of every
    class that occurs in truth or prediction and, for drug tasks, f1_sensitive and f1_resistant.
    """
    truth, predicted = np.asarray(truth, dtype=str), np.asarray(predicted, dtype=str)
    present = np.unique(np.concatenate([truth, predicted]))
    f1_of_class = f1_score(truth, predicted, labels=present, average=None, zero_division=0)
    values = {
        "accuracy": float(accuracy_score(truth, predicted)),
        "macro_f1": float(np.mean(f1_of_class)),
        "balanced_accuracy": float(
            recall_score(truth, predicted, labels=np.unique(truth), average="macro", zero_division=0)
        ),
        "auroc": auroc(truth, classes=classes, scores=scores),
        "ece": expected_calibration_error(truth, classes=classes, scores=scores),
        "brier": brier(truth, classes=classes, scores=scores),
        **{f"f1:{name}": float(f1) for name, f1 in zip(present, f1_of_class, strict=True)},
    }
    if set(truth) <= {SENSITIVE, RESISTANT}:
        for name in (SENSITIVE, RESISTANT):
            f1 = f1_score(truth, predicted, labels=[name], average="macro", zero_division=0)
            values[f"f1_{name}"] = float(f1)
    return values


def auroc(truth: np.ndarray, *, classes: Sequence[str], scores: np.ndarray) -> float:
    """Return the area under the ROC curve: of two classes, or the mean of one class against the rest.

    A true class without a score column was never seen in training; nothing ranks it, so it counts 0.5.
    With a single true class nothing can be ranked: nan.
    """
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
    probability and share of hits counts by its number of units. A bin includes its upper edge.

    Notes
    -----
    Guo et al. 2017, arXiv:1706.04599, equation 3.
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

    0 is perfect, 2 is certain of a wrong class. A true class without a column had probability 0.

    Notes
    -----
    Brier 1950, Monthly Weather Review 78:1, equation 2.
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
