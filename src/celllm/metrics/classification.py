"""Numbers from predicted classes and class scores."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from sklearn.metrics import accuracy_score, f1_score, recall_score, roc_auc_score

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
    (mean recall over the true classes), auroc (see `auroc`) and, for drug tasks, f1_sensitive and
    f1_resistant.
    """
    truth, predicted = np.asarray(truth, dtype=str), np.asarray(predicted, dtype=str)
    present = np.unique(np.concatenate([truth, predicted]))
    values = {
        "accuracy": float(accuracy_score(truth, predicted)),
        "macro_f1": float(f1_score(truth, predicted, labels=present, average="macro", zero_division=0)),
        "balanced_accuracy": float(
            recall_score(truth, predicted, labels=np.unique(truth), average="macro", zero_division=0)
        ),
        "auroc": auroc(truth, classes=classes, scores=scores),
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
    if len(true_classes) == 2:
        # one class is enough: with scores that sum to 1 the other's curve has the same area
        true_classes = np.array([SENSITIVE]) if SENSITIVE in true_classes else true_classes[1:]
    areas = [
        float(roc_auc_score(truth == name, scores[:, names.index(name)])) if name in names else 0.5
        for name in true_classes
    ]
    return float(np.mean(areas))
