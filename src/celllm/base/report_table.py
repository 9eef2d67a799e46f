"""`results/report/tables/{name}.tsv` for machines and `{name}.md` for readers, the same rows in both."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from celllm.base.atomic import writing


@dataclass(frozen=True)
class ReportTable:
    """A table of the report.

    Parameters
    ----------
    name
        File name without ending.
    rows
        Plain values at full precision, one row a thing.
    markdown
        The same as a reader sees it: rounded, with headings.
    """

    name: str
    rows: pd.DataFrame
    markdown: str


def write(table: ReportTable, folder: Path | str) -> None:
    """Write both files; an undefined value is an empty cell."""
    with writing(Path(folder) / f"{table.name}.tsv") as part:
        # a column of numbers and texts is no float column to pandas, so its numbers are rounded here
        table.rows.map(_rounded).to_csv(part, sep="\t", index=False)
    with writing(Path(folder) / f"{table.name}.md") as part:
        part.write_text(table.markdown, encoding="utf-8")


def _rounded(value: object) -> object:
    return f"{value:.10g}" if isinstance(value, float) and not math.isnan(value) else value


def as_markdown(rows: pd.DataFrame, *, title: str, note: str = "") -> str:
    """Return a heading, a note and the rows as a Markdown table; cells must be text already."""
    if rows.empty:
        body = "No rows."
    else:
        shown = rows.astype(str).replace(r"\|", r"\\|", regex=True)
        # text as it stands: tabulate would turn 0.500 into 0.5 and 007 into 7
        body = shown.to_markdown(index=False, disable_numparse=True)
    return "\n\n".join(part for part in (f"## {title}", note, body) if part) + "\n"
