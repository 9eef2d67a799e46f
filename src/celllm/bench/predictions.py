"""`predictions.parquet`: what a method said about the test subset of a task, one row a unit.

Columns: unit, truth, predicted; for classification one float column `score:{class}` a class the method
knows; for regression line and drug. How it was made stands in the schema metadata, key `celllm`, as JSON.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import ConfigDict, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from celllm.base.atomic import writing
from celllm.base.errors import InputError
from celllm.config.explain import first_error
from celllm.splits.format import KEY

SCORE = "score:"
_COLUMNS: dict[str, tuple[str, ...]] = {
    "classification": ("unit", "truth", "predicted"),
    "regression": ("unit", "truth", "predicted", "line", "drug"),
}
_REMEDY = "fit again: remove the file, then snakemake --forcerun fit"
_STRICT: Final = ConfigDict(extra="forbid", ser_json_inf_nan="constants", use_attribute_docstrings=True)


@dataclass(frozen=True, config=_STRICT)
class Trial:
    """Values of options that were tried."""

    options: dict[str, Any]
    value: float
    """Headline metric on the validation subset; nan where the fit failed."""


@dataclass(frozen=True, config=_STRICT)
class PredictionsMeta:
    """How predictions were made and what they cost."""

    task: str
    method: str
    split: int
    """Seed of the split."""
    seed: int
    """Seed of the method's own random numbers."""
    kind: Literal["classification", "regression"]
    simulated: bool
    """Whether the cells come from the simulator; such numbers say nothing about biology."""
    n_train: int
    """Units of the training subset; the next two of the others."""
    n_validation: int
    n_test: int
    options: dict[str, Any]
    """Settings in force, chosen ones among them; defaults of the method's class are not listed."""
    trials: tuple[Trial, ...]
    """What was tried on the validation subset; empty where nothing was chosen."""
    fit_s: float
    """Wall time of fitting, all trials included, in seconds."""
    predict_s: float
    """Wall time of predicting the test subset, in seconds."""
    peak_mb: float
    """Largest resident memory during the run, in MiB, the loaded data included."""
    trained_parameters: int
    """Numbers that fitting changed; those of a frozen encoder do not count."""
    vocabulary: str
    """Digest of the gene axis."""
    encoder: str | None
    """Digest of the encoder file; None where the method uses none."""
    provenance: dict[str, Any]
    """What made it; `request` is the digest of all it depends on."""
    shown_units: int = 0
    """Training units shown to the method, repeats counted; 0 where it does not learn batch by batch."""


_META = TypeAdapter(PredictionsMeta)


def score_columns(table: pd.DataFrame) -> tuple[list[str], np.ndarray]:
    """Return the classes a method knows and its scores, units x classes."""
    columns = [column for column in table.columns if column.startswith(SCORE)]
    return [column.removeprefix(SCORE) for column in columns], table[columns].to_numpy(np.float64)


def read(path: Path | str) -> tuple[pd.DataFrame, PredictionsMeta]:
    """Read predictions and how they were made.

    InputError if the metadata or a column is missing.
    """
    table = pq.read_table(path)
    held = table.schema.metadata or {}
    if KEY not in held:
        keys = ", ".join(key.decode() for key in held) or "none"
        raise InputError(file=path, field="schema metadata", expected="the key celllm", found=keys, remedy=_REMEDY)
    try:
        meta = _META.validate_json(held[KEY])
    except ValidationError as error:
        where = "schema metadata celllm: {field}"
        raise first_error(error, file=path, where=where, remedy=_REMEDY) from None
    frame = table.to_pandas()
    _check(frame, meta.kind, path)
    return frame, meta


def write(table: pd.DataFrame, meta: PredictionsMeta, path: Path | str) -> None:
    """Write predictions; the same checks as in `read`."""
    _check(table, meta.kind, path)
    arrow = pa.Table.from_pandas(table, preserve_index=False)
    metadata = {**(arrow.schema.metadata or {}), KEY: _META.dump_json(meta)}
    with writing(path) as part:
        pq.write_table(arrow.replace_schema_metadata(metadata), part)


def _check(table: pd.DataFrame, kind: str, path: Path | str) -> None:
    wanted, remedy = _COLUMNS[kind], _REMEDY
    if not set(wanted) <= set(table.columns):
        fault = ("columns", ", ".join(wanted), ", ".join(table.columns))
    elif not table["unit"].is_unique:
        fault = ("unit", "each unit once", f"{table['unit'][table['unit'].duplicated()].iloc[0]} more than once")
    else:
        numbers = score_columns(table)[1] if kind == "classification" else table["predicted"].to_numpy(np.float64)
        n_wrong = int((~np.isfinite(numbers)).sum())
        if not n_wrong:
            return
        fault = ("score:… or predicted", "finite numbers", f"{n_wrong} that are not")
        remedy = "the fit diverged; lower the method's learning_rate in config/methods.tsv"
    raise InputError(file=path, field=fault[0], expected=fault[1], found=fault[2], remedy=remedy)
