"""Numbers from predicted drug responses."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from scipy import stats
from sklearn.metrics import mean_absolute_error, r2_score, root_mean_squared_error

# A correlation over fewer pairs is always plus or minus one.
MIN_PAIRS = 3


def regression_metrics(
    truth: np.ndarray,
    predicted: np.ndarray,
    *,
    drugs: np.ndarray,
    lines: np.ndarray,
) -> dict[str, float]:
    """Score predicted responses.

    Parameters
    ----------
    truth, predicted
        Responses of each pair, ln IC50 (natural logarithm of µM).
    drugs, lines
        The drug and the cell line of each pair.

    Returns
    -------
    pearson and spearman over all pairs, rmse and mae in units of ln IC50, r2, and the medians of Pearson's
    correlation over drugs (pearson_per_drug) and over lines (pearson_per_line). The global correlations mostly say
    how well the drugs' means are known. Only the per-drug one says whether sensitive lines are told from resistant
    ones; the per-line one says whether a line's drugs are put in order, which on known drugs their means do, and on
    drugs held out is the question. A correlation is nan where it is not defined, as for a constant prediction.
    """
    truth, predicted = np.asarray(truth, dtype=np.float64), np.asarray(predicted, dtype=np.float64)
    return {
        "pearson": pearson(truth, predicted),
        "spearman": pearson(stats.rankdata(truth), stats.rankdata(predicted)),
        "rmse": rmse(truth, predicted),
        "mae": float(mean_absolute_error(truth, predicted)),
        "r2": float(r2_score(truth, predicted)) if len(truth) > 1 else float("nan"),
        "pearson_per_drug": median(pearson_by(drugs, truth, predicted)),
        "pearson_per_line": median(pearson_by(lines, truth, predicted)),
    }


def rmse(truth: np.ndarray, predicted: np.ndarray) -> float:
    """Return the root of the mean squared error, in the unit of the responses."""
    return float(root_mean_squared_error(truth, predicted))


def pearson(truth: np.ndarray, predicted: np.ndarray) -> float:
    """Return Pearson's correlation; nan for fewer than three pairs or where a side is constant."""
    if len(truth) < MIN_PAIRS or _is_constant(truth) or _is_constant(predicted):
        return float("nan")
    return float(stats.pearsonr(truth, predicted).statistic)


def pearson_by(groups: np.ndarray, truth: np.ndarray, predicted: np.ndarray) -> dict[str, float]:
    """Return Pearson's correlation inside each group, such as over a drug's lines or over a line's drugs.

    Groups with fewer than three pairs or constant truth are left out; a constant prediction tells no members of the
    group apart and counts 0.

    Parameters
    ----------
    groups
        The group of each pair.
    truth, predicted
        Responses of each pair.
    """
    groups = np.asarray(groups, dtype=str)
    order = np.argsort(groups, kind="stable")
    names, starts = np.unique(groups[order], return_index=True)
    values = {}
    for name, rows in zip(names.tolist(), np.split(order, starts[1:]), strict=True):
        if len(rows) < MIN_PAIRS or _is_constant(truth[rows]):
            continue
        value = pearson(truth[rows], predicted[rows])
        values[name] = 0.0 if np.isnan(value) else value
    return values


def median(values: Mapping[str, float]) -> float:
    """Return the median over groups; nan if there is none."""
    return float(np.median(list(values.values()))) if values else float("nan")


def _is_constant(values: np.ndarray) -> bool:
    # a spread of rounding size is none: the correlation would be one of rounding errors
    return bool(np.ptp(values) <= 1e-9 * max(1.0, float(np.abs(values).max())))
