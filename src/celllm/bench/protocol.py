"""Who sees what: the subsets of a split, the choice of options, and what a fitted method says of the test subset.

A rival that nobody tuned is easily beaten. So every method has its list of values (column `search` of
config/methods.tsv, or its class's own) and as many trials as any other; one with fewer combinations, or whose fit takes
seconds, tries them all.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from celllm.base.errors import CellLMError
from celllm.bench.method import Classifier, Regressor
from celllm.bench.metrics import headline_of, is_better, metrics_of
from celllm.bench.predictions import SCORE, Trial
from celllm.config.tables import Method, Task
from celllm.splits.format import Split
from celllm.splits.units import Cells, Pairs

if TYPE_CHECKING:
    import pandas as pd


def subsets_of(split: Split, task: Task, units: Sequence[str]) -> dict[str, np.ndarray]:
    """Return the rows of each subset; under the protocol compat options and epochs are chosen on the test subset."""
    subsets = {subset: split.rows(subset, units) for subset in ("train", "validation", "test")}
    return subsets | {"validation": subsets["test"]} if task.protocol == "compat" else subsets


def fitted(
    row: Method,
    task: Task,
    data: Cells | Pairs,
    subsets: Mapping[str, np.ndarray],
    *,
    make: Callable[[Mapping[str, Any]], Classifier | Regressor],
    search: Mapping[str, Sequence[Any]],
    trials: int,
    seed: int,
) -> tuple[Choice, Cells | Pairs]:
    """Choose the method's options and fit it; return it and the data as it may see them.

    Options are chosen under the protocol clean alone, and only where there is a validation subset. `make` makes the
    method with given options; `search`, `seed` and `trials`, the budget, are as of `choose_options`.
    """
    is_compat = task.protocol == "compat"
    chooses = len(subsets["validation"]) > 0 and not is_compat

    def shown(method: Classifier | Regressor) -> Cells | Pairs:
        return data if method.sees_test_labels or is_compat else data.hiding(subsets["test"])

    def fit(options: Mapping[str, Any]) -> Classifier | Regressor:
        method = make(options)
        method.fit(shown(method), subsets["train"], subsets["validation"])  # type: ignore[arg-type]
        return method

    def judge(method: Classifier | Regressor) -> float:
        table = predicted(method, shown(method), data, subsets["validation"])
        return headline_of(metrics_of(table, kind=task.kind), task.headline, task=task.task)

    choice = choose_options(
        fit,
        judge,
        options=row.options,
        search=search,
        budget=trials if chooses else 1,
        seed=seed,
        metric=task.headline,
    )
    return choice, shown(choice.method)


def predicted(
    method: Classifier | Regressor, shown: Cells | Pairs, known: Cells | Pairs, rows: np.ndarray
) -> pd.DataFrame:
    """Let a fitted method predict some units; return the columns of `bench.predictions`.

    In what the method is `shown`, labels or responses of the test subset are hidden; they are taken from `known`.
    """
    import pandas as pd

    if isinstance(known, Cells):
        classifier = cast("Classifier", method)
        scores = classifier.predict(cast("Cells", shown), rows)
        best = classifier.classes_[scores.argmax(axis=1)]
        table = pd.DataFrame({"unit": known.cell_ids[rows], "truth": known.labels[rows], "predicted": best})
        columns = [f"{SCORE}{name}" for name in classifier.classes_]
        return pd.concat([table, pd.DataFrame(scores, columns=columns)], axis=1)
    units = known.units
    return pd.DataFrame(
        {
            "unit": [units[row] for row in rows],
            "truth": known.response[rows],
            "predicted": cast("Regressor", method).predict(cast("Pairs", shown), rows),
            "line": known.line_ids[known.line[rows]],
            "drug": np.array(known.drugs, dtype=str)[known.drug[rows]],
        }
    )


@dataclass(frozen=True)
class Choice:
    """The chosen method, fitted, with its options and all trials in the order they were made."""

    method: Any
    options: dict[str, Any]
    trials: tuple[Trial, ...]


def candidates(search: Mapping[str, Sequence[Any]], *, budget: int, seed: int) -> list[dict[str, Any]]:
    """Return the combinations of values to try, `budget` at most.

    The first is the first value of every option, the defaults. The others are drawn from all combinations without
    repeats, in the order of the draw.
    """
    grid = [dict(zip(search, values, strict=True)) for values in itertools.product(*search.values())]
    others = np.random.default_rng(seed).permutation(len(grid) - 1) + 1
    return [grid[0], *(grid[place] for place in others[: budget - 1])]


def choose_options(
    fit: Callable[[Mapping[str, Any]], Any],
    judge: Callable[[Any], float],
    *,
    options: Mapping[str, Any],
    search: Mapping[str, Sequence[Any]],
    budget: int,
    seed: int,
    metric: str,
) -> Choice:
    """Fit every candidate, judge it on the validation subset by `metric`, keep the best; the earlier one wins a tie.

    `options` are fixed; `search`, `budget` and `seed` are as of `candidates`. With one candidate nothing is judged, and
    there is no trial to tell of. A candidate that fails loses (a ValueError is how scikit-learn refuses numbers that
    are not finite); if all of them do, the first error is raised.
    """
    tried = candidates(search, budget=budget, seed=seed)
    if len(tried) == 1:
        chosen = {**options, **tried[0]}
        return Choice(fit(chosen), chosen, ())
    best: Choice | None = None
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
            best, value_of_best = Choice(fitted, chosen, ()), value
    if best is None:
        raise failures[0]
    return replace(best, trials=tuple(trials))
