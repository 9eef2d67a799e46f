"""Mean and spread of a score over seeds."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from scipy import stats

LEVEL = 0.95


def mean_interval(values: Iterable[float]) -> tuple[float, float, float]:
    """Return the mean over seeds and its 95 % interval: mean, low, high.

    Student's t with n - 1 degrees of freedom, seeds taken as independent draws. One seed has no spread:
    low and high are nan. Undefined values (nan) make all three nan, so that they are not passed over.
    """
    numbers = np.fromiter(values, dtype=np.float64)
    if len(numbers) == 0:
        return float("nan"), float("nan"), float("nan")
    mean = float(numbers.mean())
    if len(numbers) == 1 or np.isnan(mean):
        return mean, float("nan"), float("nan")
    error = float(numbers.std(ddof=1)) / np.sqrt(len(numbers))
    half = float(stats.t.ppf((1 + LEVEL) / 2, df=len(numbers) - 1)) * error
    return mean, mean - half, mean + half
