"""Mean and spread of a score over splits, and the test of a difference that the splits share."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from scipy.special import stdtr, stdtrit  # Student's t; scipy.stats takes seconds to import

LEVEL = 0.95


def mean_interval(values: Iterable[float]) -> tuple[float, float, float]:
    """Return the mean over splits and its 95 % interval: mean, low, high.

    Student's t with n - 1 degrees of freedom, splits taken as independent draws. One split has no spread:
    low and high are nan. Undefined values (nan) make all three nan, so that they are not passed over.
    """
    numbers = np.fromiter(values, dtype=np.float64)
    if len(numbers) == 0:
        return float("nan"), float("nan"), float("nan")
    mean = float(numbers.mean())
    if len(numbers) == 1 or np.isnan(mean):
        return mean, float("nan"), float("nan")
    return mean, *_around(mean, float(numbers.var(ddof=1)) / len(numbers), freedom=len(numbers) - 1)


def paired_test(differences: Sequence[float], *, test_to_rest: float) -> tuple[float, float, float, float]:
    """Return the mean difference of two methods over splits, its 95 % interval and its p value: mean, low, high, p.

    Random splits of the same cells overlap, so their differences are not independent and a plain t test
    finds too much. The corrected resampled t test enlarges the variance of the mean from 1/n to 1/n + test/train, where
    all that is not tested is trained on. With few training units of many, splits share no more than then, so
    the ratio is of test units to all others.

    Parameters
    ----------
    differences
        One a split, both methods on the same split. Without any spread p is 0, or 1 if they are all zero.
    test_to_rest
        Test units over all other units that the split was drawn from.

    Returns
    -------
    All but the mean are nan for fewer than two splits; all are nan if a difference is.

    Notes
    -----
    Nadeau & Bengio 2003, Machine Learning 52:239.
    """
    numbers = np.asarray(differences, dtype=np.float64)
    n = len(numbers)
    mean = float(numbers.mean()) if n else float("nan")
    if n < 2 or np.isnan(mean):
        return mean, float("nan"), float("nan"), float("nan")
    variance = float(numbers.var(ddof=1)) * (1 / n + test_to_rest)
    low, high = _around(mean, variance, freedom=n - 1)
    if variance == 0:
        return mean, low, high, 0.0 if mean else 1.0
    return mean, low, high, float(2 * stdtr(n - 1, -abs(mean) / np.sqrt(variance)))


def _around(mean: float, variance: float, *, freedom: int) -> tuple[float, float]:
    half = float(stdtrit(freedom, (1 + LEVEL) / 2)) * float(np.sqrt(variance))
    return mean - half, mean + half
