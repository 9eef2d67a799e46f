"""Choice of a method's options on the validation part, with the same number of trials for every method.

A rival that nobody tuned is easily beaten. So every method has its list of values (column `search` of
config/methods.tsv) and as many trials as any other; a method with fewer combinations tries them all.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import numpy as np

from celllm.base.errors import CellLMError
from celllm.bench.metrics import is_better
from celllm.bench.predictions import Trial

Fitted = TypeVar("Fitted")


@dataclass(frozen=True)
class Choice(Generic[Fitted]):
    """The chosen method, fitted, with its options and all trials in the order they were made."""

    method: Fitted
    options: dict[str, Any]
    trials: tuple[Trial, ...]


def candidates(search: Mapping[str, Sequence[Any]], *, budget: int, seed: int) -> list[dict[str, Any]]:
    """Return the combinations of values to try.

    The first is the first value of every option, the defaults. The others are drawn from all combinations without
    repeats, in the order of the draw.

    Parameters
    ----------
    search
        Values by option.
    budget
        Most combinations.
    seed
        Of the draw.
    """
    grid = [dict(zip(search, values, strict=True)) for values in itertools.product(*search.values())]
    others = np.random.default_rng(seed).permutation(len(grid) - 1) + 1
    return [grid[0], *(grid[place] for place in others[: budget - 1])]


def choose_options(
    fit: Callable[[Mapping[str, Any]], Fitted],
    judge: Callable[[Fitted], float],
    *,
    options: Mapping[str, Any],
    search: Mapping[str, Sequence[Any]],
    budget: int,
    seed: int,
    metric: str,
) -> Choice[Fitted]:
    """Fit every candidate, judge it, keep the best; the earlier one wins a tie.

    Parameters
    ----------
    fit
        Makes a method with these options and fits it.
    judge
        Value of `metric` on the validation part.
    options
        Options that are fixed.
    search, budget, seed
        As of `candidates`. With one candidate nothing is judged, and there is no trial to tell of.
    metric
        Says whether more or less is better.

    Raises
    ------
    CellLMError, ValueError
        What the first candidate met, if all of them fail. One that fails alone loses; a ValueError is how
        scikit-learn refuses numbers that are not finite.
    """
    tried = candidates(search, budget=budget, seed=seed)
    if len(tried) == 1:
        chosen = {**options, **tried[0]}
        return Choice(fit(chosen), chosen, ())
    best: tuple[Fitted, dict[str, Any]] | None = None
    value_of_best = math.nan
    trials: list[Trial] = []
    failures: list[CellLMError | ValueError] = []
    for values in tried:
        chosen = {**options, **values}
        try:
            fitted = fit(chosen)
            value = judge(fitted)
        except (CellLMError, ValueError) as error:
            failures.append(error)
            trials.append(Trial(values, math.nan))
            continue
        trials.append(Trial(values, value))
        if best is None or is_better(value, value_of_best, metric=metric):
            best, value_of_best = (fitted, chosen), value
    if best is None:
        raise failures[0]
    return Choice(best[0], best[1], tuple(trials))
