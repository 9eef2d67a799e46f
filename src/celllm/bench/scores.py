"""`scores.tsv`: one row a run and metric; columns task, method, split, seed, metric, value, error.

`error` is the standard error of the value by its own test units (`bench.influence`); empty where it is not known.
`split` is the seed of the split, `seed` that of the method's own random numbers. Costs (fit_s, predict_s, peak_mb,
trained_parameters, shown_units) and sizes (n_train, n_validation, n_test; test_share, train_share of the task) stand in
it as metrics too, the F1 of each class as `f1:{class}`. An empty value is a metric that is not defined for that run,
e.g. the correlation of a constant prediction. Beside it `failures.json`, an object a failed run, and `trials.tsv`, a
row a trial: which options, and what they gave on the validation subset.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from dataclasses import asdict, fields
from pathlib import Path

import pandas as pd

from celllm.base.atomic import writing
from celllm.base.errors import InputError
from celllm.bench.influence import influence
from celllm.bench.metrics import headline_of, metrics_of
from celllm.bench.predictions import PredictionsMeta
from celllm.bench.runs import Failure
from celllm.config.tables import Task

COLUMNS = ("task", "method", "split", "seed", "metric", "value", "error")
COSTS = ("fit_s", "predict_s", "peak_mb", "trained_parameters", "shown_units")
SIZES = ("n_train", "n_validation", "n_test", "test_share", "train_share")
FAILED_COLUMNS = tuple(field.name for field in fields(Failure))
TRIAL_COLUMNS = ("task", "method", "split", "seed", "trial", "options", "value", "chosen")
_KEYS = COLUMNS[:5]
_REMEDY = "score again: snakemake --forcerun score"


def is_quality(metric: str) -> bool:
    """Whether a metric says how good predictions are, over all classes: no cost, no size, no single class."""
    return metric not in COSTS and metric not in SIZES and ":" not in metric


def read(path: Path | str) -> pd.DataFrame:
    """Read `scores.tsv`; split and seed are int, value and error float.

    InputError if a column is missing, a value is no number, or a run and metric stand twice.
    """
    table = _read(path, COLUMNS)
    try:
        typed = table.replace({"value": {"": "nan"}, "error": {"": "nan"}}).astype(
            {"split": int, "seed": int, "value": float, "error": float}
        )
    except ValueError as error:
        where, found = "split, seed, value or error", str(error)
        raise InputError(file=path, field=where, expected="numbers", found=found, remedy=_REMEDY) from None
    _check_unique(typed, path)
    return typed[list(COLUMNS)]


def write(table: pd.DataFrame, path: Path | str) -> None:
    """Write `scores.tsv`, sorted, so that equal scores make equal files."""
    _check_unique(_with_columns(table, COLUMNS, path), path)
    _write(table, COLUMNS, path)


def read_failures(path: Path | str) -> pd.DataFrame:
    """Read `failures.json` as a table, a row a failed run."""
    return pd.DataFrame(json.loads(Path(path).read_text()), columns=list(FAILED_COLUMNS))


def write_failures(failures: Iterable[Failure], path: Path | str) -> None:
    """Write `failures.json`."""
    with writing(path) as part:
        part.write_text(json.dumps([asdict(failure) for failure in failures], indent=1) + "\n")


def write_trials(table: pd.DataFrame, path: Path | str) -> None:
    """Write `trials.tsv`, sorted."""
    _write(_with_columns(table, TRIAL_COLUMNS, path), TRIAL_COLUMNS, path)


def _read(path: Path | str, columns: tuple[str, ...]) -> pd.DataFrame:
    return _with_columns(pd.read_csv(path, sep="\t", dtype=str, keep_default_na=False), columns, path)


def _write(table: pd.DataFrame, columns: tuple[str, ...], path: Path | str) -> None:
    table = table[list(columns)].sort_values(list(columns[:5]), kind="stable")
    with writing(path) as part:
        table.to_csv(part, sep="\t", index=False, float_format="%.10g")


def _with_columns(table: pd.DataFrame, columns: tuple[str, ...], path: Path | str) -> pd.DataFrame:
    if set(table.columns) != set(columns):
        wanted, found = ", ".join(columns), ", ".join(table.columns)
        raise InputError(file=path, field="columns", expected=wanted, found=found, remedy=_REMEDY)
    return table


def _check_unique(table: pd.DataFrame, path: Path | str) -> None:
    keys = table[list(_KEYS)]
    twice = keys[keys.duplicated()]
    if len(twice):
        raise InputError(
            file=path,
            field=", ".join(_KEYS),
            expected="each combination once",
            found=f"{' '.join(str(part) for part in twice.iloc[0])} more than once",
            remedy="name each runs.json once",
        )


def together(tables: list[pd.DataFrame], columns: tuple[str, ...]) -> pd.DataFrame:
    """Join tables of these columns, of which some or all may be empty."""
    filled = [table for table in tables if len(table)]
    return pd.concat(filled, ignore_index=True) if filled else pd.DataFrame(columns=list(columns))


def scored(table: pd.DataFrame, meta: PredictionsMeta, *, task: Task) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Score the predictions of a run on a task; return its rows of `scores.tsv` and of `trials.tsv`.

    InputError if the task's headline is no metric of such predictions.
    """
    metrics = metrics_of(table, kind=meta.kind)
    headline_of(metrics, task.headline, task=meta.task)
    found = {name: influence(table, name, kind=meta.kind, split=task.split) for name in metrics}
    errors = [math.nan if each is None else each.error for each in found.values()]
    metrics |= {name: float(getattr(meta, name)) for name in (*COSTS, *SIZES[:3])}
    metrics |= {"test_share": task.test, "train_share": task.train}
    errors += [math.nan] * (len(metrics) - len(errors))
    run = {"task": meta.task, "method": meta.method, "split": meta.split, "seed": meta.seed}
    trials = [
        {
            **run,
            "trial": number,
            "options": json.dumps(dict(trial.options)),
            "value": trial.value,
            "chosen": "yes" if dict(trial.options).items() <= dict(meta.options).items() else "no",
        }
        for number, trial in enumerate(meta.trials)
    ]
    return (
        pd.DataFrame({**run, "metric": list(metrics), "value": list(metrics.values()), "error": errors}),
        pd.DataFrame(trials, columns=list(TRIAL_COLUMNS)),
    )
