"""Mean of a score over splits: how far it may lie from what other units would give, and whether it differs from 0."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from scipy.special import stdtr, stdtrit  # Student's t; scipy.stats takes seconds to import

LEVEL = 0.95
MIN_GROUPS = 6
"""Donors from which on a mean over them gets an interval: a sign test of fewer cannot reach 0.05."""
ROUNDING = 1e-12
"""Distance from a bound, as a share of the range, that arithmetic leaves."""
MANY = 1e6
"""Degrees of freedom of what is known."""


@dataclass(frozen=True)
class Mean:
    """A mean over splits."""

    value: float
    """The mean; nan where there is none."""
    variance: float = math.nan
    """Of the mean, over other data sets of the same size and other splits of them; nan where nothing tells of it."""
    freedom: float = math.nan
    """Degrees of freedom of `variance`."""

    @property
    def p(self) -> float:
        """The two-sided p value of the mean being 0; nan where the variance is unknown, or 0 beside another mean."""
        if self.variance == 0:
            return math.nan if self.value else 1.0
        return float(2 * stdtr(self.freedom, -abs(self.value) / math.sqrt(self.variance)))

    def interval(self, bounds: tuple[float, float] | None = None, *, n_units: float = math.nan) -> tuple[float, float]:
        """Return the 95 % interval, low and high; nan where the variance is unknown.

        It keeps to the `bounds`, the smallest and largest possible value, where there are such. `n_units`: test units
        of a split, what the interval of a bounded value rests on where all splits gave the same. Bounded values get the
        score interval of a proportion (Wilson 1927, doi:10.2307/2276774) for as many trials as would give this
        variance, with Student's t in place of the normal quantile.
        """
        if math.isnan(self.variance):
            return math.nan, math.nan
        quantile = float(stdtrit(self.freedom, (1 + LEVEL) / 2))
        if bounds is None:
            half = quantile * math.sqrt(self.variance)
            return self.value - half, self.value + half
        low, high = bounds
        share, variance = (self.value - low) / (high - low), self.variance / (high - low) ** 2
        is_inside = share * (1 - share) > ROUNDING  # a mean on the bound is of values that are all there
        trials = share * (1 - share) / variance if variance > 0 and is_inside else n_units
        if not trials > 0:
            return bounds if trials == 0 else (math.nan, math.nan)
        squared = quantile**2 / trials
        centre = (share + squared / 2) / (1 + squared)
        half = math.sqrt(squared * share * (1 - share) + squared**2 / 4) / (1 + squared)
        ends = (low + (high - low) * end for end in (centre - half, centre + half))
        return max(low, min(self.value, next(ends))), min(high, max(self.value, next(ends)))


def mean_over(values: Iterable[float], errors: Iterable[float], *, test: float, train: float) -> Mean:
    """Return the mean of a score, or of a difference of two, over random splits of the same units, one value a split.

    An undefined value (nan) makes the mean undefined; a single one leaves its variance unknown. `errors`: standard
    error of each value by its own test units; nan where unknown. `test`, `train`: share of the units in these subsets;
    `test` 0: each split tests one group of units that no other one tests, such as a donor.

    A value varies with the units tested (variance V, told by `errors`) and with those trained on (T). Two subsets of a
    share f of the units have a correlation of f, to first order. So the spread between splits is (1 - test) V + (1 -
    train) T, and the variance of their mean that spread / n + test V + train T. Of T only what the spread shows is
    counted: T itself would be that over 1 - train, mostly noise. Where V is unknown, all of the spread is taken for the
    test units': Nadeau & Bengio 2003, Machine Learning 52:239. Degrees of freedom: Satterthwaite, for spread / n.
    """
    numbers = np.fromiter(values, dtype=np.float64)
    n = len(numbers)
    value = float(numbers.mean()) if n else math.nan
    if n < 2 or math.isnan(value) or (test == 0 and n < MIN_GROUPS):
        return Mean(value)
    spread = float(numbers.var(ddof=1))
    of_tested = float(np.mean(np.fromiter(errors, dtype=np.float64) ** 2))
    if test == 0 or math.isnan(of_tested):
        share = test or 1 / n
        return Mean(value, spread * (1 / n + share / (1 - share)), n - 1)
    of_trained = max(0.0, spread - (1 - test) * of_tested)
    variance = spread / n + test * of_tested + train * of_trained
    return Mean(value, variance, min(MANY, (n - 1) * (variance * n / spread) ** 2) if spread else MANY)
