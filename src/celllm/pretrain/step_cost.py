"""`step_cost.tsv`: what a step took; one row a number of cells and mode, columns B, mode, seconds, peak_gb, fits.

`mode` is chunked or full-batch; `fits` is yes, or no for a step that needs more memory than the limit, whose seconds
and peak_gb (10^9 bytes, interpreter and libraries included) are empty. Values depend on the machine.
"""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from celllm.base.atomic import writing
from celllm.base.errors import InputError

COLUMNS = ("B", "mode", "seconds", "peak_gb", "fits")
MODES = ("chunked", "full-batch")
_FITS = {"yes": True, "no": False}
_REMEDY = "measure again: snakemake --forcerun measure_step"


def read(path: Path | str) -> pd.DataFrame:
    """Read `step_cost.tsv`; B is int, seconds and peak_gb float (nan where it does not fit), fits bool.

    InputError if a column is missing, a value is of the wrong kind, or a step that fits has no seconds or peak_gb.
    """
    table = pd.read_csv(path, sep="\t", dtype=str, keep_default_na=False)
    if tuple(table.columns) != COLUMNS:
        raise _error(path, "columns", ", ".join(COLUMNS), ", ".join(table.columns))
    for column, known in (("mode", MODES), ("fits", tuple(_FITS))):
        if unknown := sorted(set(table[column]) - set(known)):
            raise _error(path, column, " or ".join(known), repr(unknown[0]))
    try:
        typed = pd.DataFrame(
            {
                "B": table["B"].astype(int),
                "mode": table["mode"],
                "seconds": table["seconds"].replace("", "nan").astype(float),
                "peak_gb": table["peak_gb"].replace("", "nan").astype(float),
                "fits": table["fits"].map(_FITS).astype(bool),
            }
        )
    except ValueError as error:
        raise _error(path, "B, seconds or peak_gb", "numbers", str(error)) from None
    if typed.loc[typed["fits"], ["seconds", "peak_gb"]].isna().any(axis=None):
        raise _error(path, "seconds or peak_gb", "a number where fits is yes", "an empty value")
    return typed


def write(table: pd.DataFrame, path: Path | str) -> None:
    """Write what `read` returns, by mode and B."""
    told = {True: "yes", False: "no"}
    ordered = table[list(COLUMNS)].sort_values(["mode", "B"], kind="stable")
    with writing(path) as part:
        ordered.assign(fits=ordered["fits"].map(told)).to_csv(part, sep="\t", index=False, float_format="%.6g")


def _error(path: Path | str, field: str, expected: str, found: str) -> InputError:
    return InputError(file=path, field=field, expected=expected, found=found, remedy=_REMEDY)
