"""`scores.tsv`: one row a task, method, seed and metric; columns task, method, seed, metric, value.

Costs (fit_s, predict_s, peak_mb, trained_parameters) stand in it as metrics too. An empty value is a
metric that is not defined for that run, e.g. the correlation of a constant prediction.
"""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from celllm.contracts.atomic import writing
from celllm.errors import InputError

COLUMNS = ("task", "method", "seed", "metric", "value")
COSTS = ("fit_s", "predict_s", "peak_mb", "trained_parameters")
_REMEDY = "score again: snakemake --forcerun score"


def read(path: Path | str) -> pd.DataFrame:
    """Read `scores.tsv`; seed is int, value float.

    Raises
    ------
    InputError
        If a column is missing, a value is no number, or a task, method, seed and metric stand twice.
    """
    table = pd.read_csv(path, sep="\t", dtype=str, keep_default_na=False)
    _check_columns(table, path)
    try:
        typed = table.assign(
            seed=table["seed"].astype(int),
            value=table["value"].replace("", "nan").astype(float),
        )
    except ValueError as error:
        raise InputError(
            file=path,
            field="seed or value",
            expected="numbers",
            found=str(error),
            remedy=_REMEDY,
        ) from None
    _check_unique(typed, path)
    return typed[list(COLUMNS)]


def write(table: pd.DataFrame, path: Path | str) -> None:
    """Write `scores.tsv`, sorted, so that equal scores make equal files."""
    _check_columns(table, path)
    _check_unique(table, path)
    table = table[list(COLUMNS)].sort_values(list(COLUMNS[:4]), kind="stable")
    with writing(path) as part:
        table.to_csv(part, sep="\t", index=False, float_format="%.10g")


def _check_columns(table: pd.DataFrame, path: Path | str) -> None:
    if set(table.columns) != set(COLUMNS):
        raise InputError(
            file=path,
            field="columns",
            expected=", ".join(COLUMNS),
            found=", ".join(table.columns),
            remedy=_REMEDY,
        )


def _check_unique(table: pd.DataFrame, path: Path | str) -> None:
    keys = table[list(COLUMNS[:4])]
    twice = keys[keys.duplicated()]
    if len(twice):
        raise InputError(
            file=path,
            field=", ".join(COLUMNS[:4]),
            expected="each combination once",
            found=f"{' '.join(str(part) for part in twice.iloc[0])} more than once",
            remedy="name each predictions file once",
        )
