"""How well scores part positives from negatives."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from sklearn.metrics import average_precision_score, roc_auc_score


def separation(positive: npt.NDArray[np.float64], negative: npt.NDArray[np.float64]) -> tuple[float, float]:
    """Return the area under the ROC curve and the average precision of scores; larger means likelier positive.

    With as many negatives as positives, scores that know nothing have 0.5 of either.
    """
    truth = np.concatenate([np.ones(len(positive)), np.zeros(len(negative))])
    scores = np.concatenate([positive, negative])
    return float(roc_auc_score(truth, scores)), float(average_precision_score(truth, scores))
