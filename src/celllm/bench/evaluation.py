"""What a fitted method says of some units, as a table, and every metric of such a table."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

import numpy as np
import pandas as pd

from celllm.base.errors import InputError
from celllm.bench.classification import classification_metrics
from celllm.bench.method import Classifier, Regressor
from celllm.bench.predictions import SCORE, score_columns
from celllm.bench.regression import regression_metrics
from celllm.splits.units import Cells, Pairs


def predictions_of(
    method: Classifier | Regressor,
    shown: Cells | Pairs,
    known: Cells | Pairs,
    rows: np.ndarray,
) -> pd.DataFrame:
    """Have a fitted method predict some units.

    Parameters
    ----------
    method
        The fitted method.
    shown
        What the method sees; the answers of the test part are hidden in it.
    known
        The same units with their answers.
    rows
        Units to predict.

    Returns
    -------
    The columns of `contracts.predictions`: unit, truth, predicted, and score:{class} or line and drug.
    """
    if isinstance(known, Cells):
        return _classified(cast("Classifier", method), cast("Cells", shown), known, rows)
    return _regressed(cast("Regressor", method), cast("Pairs", shown), known, rows)


def metrics_of(table: pd.DataFrame, *, kind: str) -> dict[str, float]:
    """Return every metric of a table of predictions of that kind of task."""
    if kind == "classification":
        classes, values = score_columns(table)
        return classification_metrics(
            table["truth"].to_numpy(str),
            table["predicted"].to_numpy(str),
            classes=classes,
            scores=values,
        )
    return regression_metrics(
        table["truth"].to_numpy(float),
        table["predicted"].to_numpy(float),
        drugs=table["drug"].to_numpy(str),
        lines=table["line"].to_numpy(str),
    )


def headline_of(metrics: Mapping[str, float], metric: str, *, task: str, file: object) -> float:
    """Return the metric a task leads with.

    Raises
    ------
    InputError
        If no such metric was computed of the task's predictions.
    """
    if metric not in metrics:
        raise InputError(
            file=str(file),
            field=f"headline of {task}",
            expected=f"one of {', '.join(name for name in metrics if ':' not in name)}",
            found=metric,
            remedy="correct the task's headline",
        )
    return metrics[metric]


def _classified(method: Classifier, shown: Cells, known: Cells, rows: np.ndarray) -> pd.DataFrame:
    scores = method.predict(shown, rows)
    table = pd.DataFrame(
        {
            "unit": known.cell_ids[rows],
            "truth": known.labels[rows],
            "predicted": method.classes_[scores.argmax(axis=1)],
        }
    )
    columns = pd.DataFrame(scores, columns=[f"{SCORE}{name}" for name in method.classes_])
    return pd.concat([table, columns], axis=1)


def _regressed(method: Regressor, shown: Pairs, known: Pairs, rows: np.ndarray) -> pd.DataFrame:
    predicted = method.predict(shown, rows)
    units = known.units
    return pd.DataFrame(
        {
            "unit": [units[row] for row in rows],
            "truth": known.response[rows],
            "predicted": predicted,
            "line": known.line_ids[known.line[rows]],
            "drug": np.array(known.drugs, dtype=str)[known.drug[rows]],
        }
    )
