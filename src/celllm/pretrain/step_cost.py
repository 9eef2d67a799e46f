"""`step_cost.tsv`: what a step took; one row a number of cells and mode, columns B, mode, seconds, peak_gb.

`mode` is chunked or full-batch. A step that needs more memory than the limit has no seconds and no peak_gb (10^9 bytes,
interpreter and libraries included). Values depend on the machine.
"""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from celllm.base.atomic import writing
from celllm.base.errors import InputError

TYPES = {"B": "int64", "mode": "str", "seconds": "float64", "peak_gb": "float64"}
MODES = ("chunked", "full-batch")


def read(path: Path | str) -> pd.DataFrame:
    """Read `step_cost.tsv`; seconds and peak_gb are nan where a step does not fit.

    InputError if a column is missing or unknown, or a value is of the wrong kind.
    """
    try:
        table = pd.read_csv(path, sep="\t", dtype=TYPES)
    except ValueError as error:
        raise _error(path, "B, seconds or peak_gb", "numbers", str(error)) from None
    if list(table.columns) != list(TYPES):
        raise _error(path, "columns", ", ".join(TYPES), ", ".join(table.columns))
    if unknown := sorted(set(table["mode"]) - set(MODES)):
        raise _error(path, "mode", " or ".join(MODES), repr(unknown[0]))
    if (table["seconds"].isna() != table["peak_gb"].isna()).any():
        raise _error(path, "seconds or peak_gb", "both, or neither for a step that does not fit", "an empty value")
    return table


def write(table: pd.DataFrame, path: Path | str) -> None:
    """Write what `read` returns, by mode and B."""
    ordered = table[list(TYPES)].sort_values(["mode", "B"], kind="stable")
    with writing(path) as part:
        ordered.to_csv(part, sep="\t", index=False, float_format="%.6g")


def _error(path: Path | str, field: str, expected: str, found: str) -> InputError:
    remedy = "measure again: snakemake --forcerun measure_step"
    return InputError(file=path, field=field, expected=expected, found=found, remedy=remedy)
