"""Which way a metric points."""

from __future__ import annotations

import math

# Metrics of which less is better; of all others more is.
ERRORS = frozenset({"rmse", "mae", "ece", "brier"})


def is_better(value: float, other: float, *, metric: str) -> bool:
    """Whether `value` is strictly better than `other`; nan is worse than any number, and no better than nan."""
    if math.isnan(value) or math.isnan(other):
        return math.isnan(other) and not math.isnan(value)
    return value < other if metric in ERRORS else value > other
