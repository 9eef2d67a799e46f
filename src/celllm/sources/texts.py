"""Tables whose columns are read as text, by name."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Final

import pandas as pd

from celllm.sources.archives import opened, reading, unreadable

CHECK: Final = "check the dataset's reader in config/datasets.tsv"


def read_texts(
    path: Path,
    *,
    separator: str | None = None,
    columns: Collection[str] = (),
    header: bool = True,
    n_rows: int | None = None,
    errors: str = "strict",
    remedy: str = CHECK,
) -> pd.DataFrame:
    """Read a table as text, packed or not, "" where a field is empty; a comma separates where its name says csv.

    `errors` says what becomes of bytes that are not UTF-8. InputError if it is no table, or lacks one of `columns`.
    """
    separator = separator or ("," if ".csv" in path.name else "\t")
    with reading(path, "a table of text"), opened(path) as stream:
        try:
            table = pd.read_csv(
                stream,
                sep=separator,
                header=0 if header else None,
                dtype=str,
                keep_default_na=False,
                nrows=n_rows,
                encoding_errors=errors,
            )
        except (pd.errors.ParserError, pd.errors.EmptyDataError) as error:
            raise unreadable(path, "a table of text", str(error).strip()) from None
    require(table, columns, path, remedy=remedy)
    return table


def require(
    table: pd.DataFrame,
    columns: Collection[str],
    file: Path | str,
    *,
    remedy: str = CHECK,
) -> None:
    """Raise InputError if a table lacks a column."""
    missing = [column for column in columns if column not in table.columns]
    if missing:
        found = f"no {', '.join(missing)} among {', '.join(map(str, table.columns[:12]))}"
        raise unreadable(file, ", ".join(columns), found, field="columns", remedy=remedy)
