"""Numbers from predicted drug responses."""

from __future__ import annotations

import numpy as np
from scipy import stats
from sklearn.metrics import mean_absolute_error, r2_score, root_mean_squared_error

# A correlation over fewer pairs is always plus or minus one.
MIN_PAIRS = 3


def regression_metrics(truth: np.ndarray, predicted: np.ndarray, *, drugs: np.ndarray) -> dict[str, float]:
    """Score predicted responses.

    Parameters
    ----------
    truth, predicted
        Responses of each pair, ln IC50 (natural logarithm of µM).
    drugs
        The drug of each pair.

    Returns
    -------
    pearson and spearman over all pairs, rmse and mae in units of ln IC50, r2, and pearson_per_drug, the
    median over drugs. The global correlations mostly say how well the drugs' means are known; only
    the per-drug one says whether sensitive lines are told from resistant ones. A correlation is nan where
    it is not defined, as for a constant prediction.
    """
    truth, predicted = np.asarray(truth, dtype=np.float64), np.asarray(predicted, dtype=np.float64)
    return {
        "pearson": pearson(truth, predicted),
        "spearman": pearson(stats.rankdata(truth), stats.rankdata(predicted)),
        "rmse": rmse(truth, predicted),
        "mae": float(mean_absolute_error(truth, predicted)),
        "r2": float(r2_score(truth, predicted)) if len(truth) > 1 else float("nan"),
        "pearson_per_drug": pearson_per_drug(truth, predicted, drugs=drugs),
    }


def rmse(truth: np.ndarray, predicted: np.ndarray) -> float:
    """Return the root of the mean squared error, in the unit of the responses."""
    return float(root_mean_squared_error(truth, predicted))


def pearson(truth: np.ndarray, predicted: np.ndarray) -> float:
    """Return Pearson's correlation; nan for fewer than three pairs or where a side is constant."""
    if len(truth) < MIN_PAIRS or _is_constant(truth) or _is_constant(predicted):
        return float("nan")
    return float(stats.pearsonr(truth, predicted).statistic)


def pearson_per_drug(truth: np.ndarray, predicted: np.ndarray, *, drugs: np.ndarray) -> float:
    """Return the median over drugs of Pearson's correlation over a drug's lines.

    Drugs with fewer than three pairs or constant truth are left out; a constant prediction tells no lines
    apart and counts 0. nan if no drug is left.
    """
    drugs = np.asarray(drugs, dtype=str)
    values = []
    for drug in np.unique(drugs):
        rows = drugs == drug
        if rows.sum() < MIN_PAIRS or _is_constant(truth[rows]):
            continue
        value = pearson(truth[rows], predicted[rows])
        values.append(0.0 if np.isnan(value) else value)
    return float(np.median(values)) if values else float("nan")


def _is_constant(values: np.ndarray) -> bool:
    # a spread of rounding size is none: the correlation would be one of rounding errors
    return bool(np.ptp(values) <= 1e-9 * max(1.0, float(np.abs(values).max())))
