"""Parquet files as frames."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd


def read_frame(path: Path | str, columns: Sequence[str] | None = None) -> pd.DataFrame:
    """Read all columns, or those named.

    Arrow opens the file itself, by its address. Given a path alone pandas hands it an open Python file, which Arrow's
    threads may still hold when the interpreter ends: the process then aborts with its work done (apache/arrow#34314,
    #50482).
    """
    address = Path(path).resolve(strict=True).as_uri()
    return pd.read_parquet(address, columns=None if columns is None else list(columns))  # noqa: TID251 - the one place
