"""`scores.tsv`: one row a cell of the benchmark and metric; columns task, method, split, seed, metric, value.

`split` is the seed of the draw of the parts, `seed` that of the method's own random numbers. Costs (fit_s, predict_s,
peak_mb, trained_parameters) and sizes (n_train, n_validation, n_test) stand in it as metrics too, the F1 of each class
as `f1:{class}`. An empty value is a metric that is not defined for that run, e.g. the correlation of a constant
prediction. Beside it `failed.tsv`, a row a cell that failed, and `trials.tsv`, a row a trial: which options, and what
they gave on the validation part.
"""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from celllm.base.atomic import writing
from celllm.base.errors import InputError

COLUMNS = ("task", "method", "split", "seed", "metric", "value")
COSTS = ("fit_s", "predict_s", "peak_mb", "trained_parameters")
SIZES = ("n_train", "n_validation", "n_test")
FAILED_COLUMNS = ("task", "method", "split", "seed", "status", "message", "log")
TRIAL_COLUMNS = ("task", "method", "split", "seed", "trial", "options", "value", "chosen")
_KEYS = COLUMNS[:5]
_REMEDY = "score again: snakemake --forcerun score"


def is_quality(metric: str) -> bool:
    """Whether a metric says how good predictions are, over all classes: no cost, no size, no single class."""
    return metric not in COSTS and metric not in SIZES and ":" not in metric


def read(path: Path | str) -> pd.DataFrame:
    """Read `scores.tsv`; split and seed are int, value float.

    Raises
    ------
    InputError
        If a column is missing, a value is no number, or a cell of the benchmark and metric stand twice.
    """
    table = _read(path, COLUMNS)
    try:
        typed = table.assign(
            split=table["split"].astype(int),
            seed=table["seed"].astype(int),
            value=table["value"].replace("", "nan").astype(float),
        )
    except ValueError as error:
        raise InputError(
            file=path,
            field="split, seed or value",
            expected="numbers",
            found=str(error),
            remedy=_REMEDY,
        ) from None
    _check_unique(typed, path)
    return typed[list(COLUMNS)]


def write(table: pd.DataFrame, path: Path | str) -> None:
    """Write `scores.tsv`, sorted, so that equal scores make equal files."""
    _check_columns(table, COLUMNS, path)
    _check_unique(table, path)
    _write(table, COLUMNS, path)


def read_failed(path: Path | str) -> pd.DataFrame:
    """Read `failed.tsv`; all columns text."""
    return _read(path, FAILED_COLUMNS)


def write_failed(table: pd.DataFrame, path: Path | str) -> None:
    """Write `failed.tsv`, sorted."""
    _check_columns(table, FAILED_COLUMNS, path)
    _write(table, FAILED_COLUMNS, path)


def read_trials(path: Path | str) -> pd.DataFrame:
    """Read `trials.tsv`; value is float (nan where the fit failed), the other columns text."""
    table = _read(path, TRIAL_COLUMNS)
    return table.assign(value=table["value"].replace("", "nan").astype(float))


def write_trials(table: pd.DataFrame, path: Path | str) -> None:
    """Write `trials.tsv`, sorted."""
    _check_columns(table, TRIAL_COLUMNS, path)
    _write(table, TRIAL_COLUMNS, path)


def _read(path: Path | str, columns: tuple[str, ...]) -> pd.DataFrame:
    table = pd.read_csv(path, sep="\t", dtype=str, keep_default_na=False)
    _check_columns(table, columns, path)
    return table


def _write(table: pd.DataFrame, columns: tuple[str, ...], path: Path | str) -> None:
    table = table[list(columns)].sort_values(list(columns[:5]), kind="stable")
    with writing(path) as part:
        table.to_csv(part, sep="\t", index=False, float_format="%.10g")


def _check_columns(table: pd.DataFrame, columns: tuple[str, ...], path: Path | str) -> None:
    if set(table.columns) != set(columns):
        raise InputError(
            file=path,
            field="columns",
            expected=", ".join(columns),
            found=", ".join(table.columns),
            remedy=_REMEDY,
        )


def _check_unique(table: pd.DataFrame, path: Path | str) -> None:
    keys = table[list(_KEYS)]
    twice = keys[keys.duplicated()]
    if len(twice):
        raise InputError(
            file=path,
            field=", ".join(_KEYS),
            expected="each combination once",
            found=f"{' '.join(str(part) for part in twice.iloc[0])} more than once",
            remedy="name each predictions file once",
        )
