"""Where a table of the report goes: options that its commands share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from celllm.base.report_table import ReportTable


@dataclass(frozen=True)
class Page:
    """Where tables go.

    Parameters
    ----------
    html
        Where to write the tables as a page; each can be sorted.
    tsv
        Where to write the rows of the first, numbers at full precision.
    rows
        Folder for the rows of the others, each under its own name.
    title
        Title of the page.
    caption
        How to read it.
    """

    html: Path
    tsv: Path
    rows: Path = Path("details")
    title: str = ""
    caption: str = ""

    def write(self, made: ReportTable | Sequence[ReportTable]) -> None:
        """Write the page, and the rows beside it; then raise what a table found that must stop the workflow."""
        from celllm.base.report_table import ReportTable, write_page, write_tsv

        tables = [made] if isinstance(made, ReportTable) else made
        write_page(tables, self.html, title=self.title or tables[0].name, note=self.caption)
        for number, table in enumerate(tables):
            write_tsv(table.rows, self.rows / f"{table.name}.tsv" if number else self.tsv)
        for table in tables:
            if table.fault is not None:
                raise table.fault
