"""Who sees what: the subsets of a split, the choice of options, and what a fitted method says of the test subset."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from celllm.bench.method import Classifier, Regressor
from celllm.bench.metrics import headline_of, metrics_of
from celllm.bench.predictions import SCORE
from celllm.bench.tuning import Choice, choose_options
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
) -> tuple[Choice[Classifier | Regressor], Cells | Pairs]:
    """Choose the method's options and fit it; return it and the data as it may see them.

    Options are chosen under the protocol clean alone, and only where there is a validation subset.

    Parameters
    ----------
    row, task
        Of config/methods.tsv and config/tasks.tsv.
    data
        The task's cells or pairs, with all labels.
    subsets
        Rows of `train`, `validation` and `test`.
    make
        Makes the method with these options.
    search
        Values by option, to choose from.
    trials
        Combinations of options that are tried, at most.
    seed
        Random seed of the order of trials.
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
    """Let a fitted method predict some units.

    Parameters
    ----------
    method
        The fitted method.
    shown
        What the method sees; labels or responses of the test subset are hidden in it.
    known
        The same units with all labels or responses.
    rows
        Units to predict.

    Returns
    -------
    The columns of `bench.predictions`: unit, truth, predicted, and score:{class} or line and drug.
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
