"""Tables and columns as text, and the one list of what stands for nothing: missing is not a value."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd

from celllm.sources.archives import opened, reading, unreadable

CHECK: Final = "check the dataset's reader in config/datasets.tsv"
MISSING: Final = re.compile(
    r"|\?|n ?/?a|#n/a|nan|<na>|nat|none|null|nil|\\n|missing|unk|un(?:known|assigned|labell?ed|annotated|defined)"
    r"|un(?:determined|specified|available)|not (?:assigned|defined|determined|specified|available|applicable)"
    r"|not (?:provided|collected|known|annotated)"
)
"""Compared in lower case, a run of blanks, hyphens, dots and underscores being one blank, at the ends none."""
WHOLE: Final = re.compile(r"(-?\d+)\.0+")
"""A whole number as pandas writes it beside a missing one: 1.0."""


def is_missing(text: str) -> bool:
    """Tell whether a text stands for nothing."""
    return MISSING.fullmatch(re.sub(r"[\s_.-]+", " ", text.casefold()).strip()) is not None


def plain(text: str) -> str:
    """Give a value the one form it is compared in: no blanks around it, 1.0 as 1."""
    stripped = " ".join(text.split())
    whole = WHOLE.fullmatch(stripped)
    return whole[1] if whole else stripped


def texts(column: pd.Series[Any], *, known: Iterable[str] = ()) -> pd.Series[Any]:
    """Return a column of any type as plain texts, "" where the value is missing; one of `known` never is."""
    named = {plain(value) for value in known}
    codes, values = pd.factorize(column, use_na_sentinel=True)
    written = [plain(str(value)) for value in values]
    kept = ["", *(text if text in named or not is_missing(text) else "" for text in written)]
    return pd.Series(np.array(kept, dtype=object)[codes + 1], index=column.index, name=column.name, dtype=object)


def read_texts(
    path: Path,
    *,
    separator: str | None = None,
    header: bool = True,
    n_rows: int | None = None,
    errors: str = "strict",
) -> pd.DataFrame:
    """Read a table as text, packed or not, "" where a field is empty; a comma separates where its name says csv.

    `errors` says what becomes of bytes that are not UTF-8. InputError if it is no table.
    """
    separator = separator or ("," if ".csv" in path.name else "\t")
    with reading(path, "a table of text"), opened(path) as stream:
        try:
            return pd.read_csv(
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


def require(table: pd.DataFrame, columns: Collection[str], file: Path | str, *, remedy: str = CHECK) -> None:
    """Raise InputError if a table lacks a column."""
    missing = [column for column in columns if column not in table.columns]
    if missing:
        found = f"no {', '.join(missing)} among {', '.join(map(str, table.columns[:12]))}"
        raise unreadable(file, ", ".join(columns), found, field="columns", remedy=remedy)
