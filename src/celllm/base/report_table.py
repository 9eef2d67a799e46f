"""Tables of the report: `{name}.tsv` for machines, and pages for readers, who sort them by a click on a heading.

A page needs nothing but itself: style and script stand in it.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

import pandas as pd

from celllm.base.atomic import writing
from celllm.base.errors import InputError


@dataclass(frozen=True)
class Column:
    """A column as readers see it."""

    name: str
    """Column of the rows."""
    title: str = ""
    """Heading; without one, the name with blanks."""
    show: str | Callable[[Any], str] = ""
    """Format of the numbers, such as `,d`, `.3f` or `.1%`; or a function that turns a value into text; "" for text as
    it stands. A text among numbers stands as it is."""
    is_interval: bool = False
    """Whether `{name}_low` and `{name}_high` stand in brackets behind the number, where they are known."""
    undefined: str = ""
    """What stands for nan."""
    is_key: bool = False
    """Whether the column says what a row is about: it stays in sight when a wide table is moved."""

    @property
    def heading(self) -> str:
        """What stands above the column."""
        return self.title or self.name.replace("_", " ")

    @property
    def is_number(self) -> bool:
        """Whether the column holds numbers, which are set to the right."""
        return isinstance(self.show, str) and bool(self.show)

    def texts(self, rows: pd.DataFrame) -> list[str]:
        """Return the column's cells as readers see them."""
        if not self.is_interval:
            return [self._text(value) for value in rows[self.name]]
        ends = rows[[self.name, f"{self.name}_low", f"{self.name}_high"]].itertuples(index=False, name=None)
        return [
            self._text(value)
            if _is_missing(value) or _is_missing(low)
            else f"{self._text(value)} [{self._text(low)}, {self._text(high)}]"
            for value, low, high in ends
        ]

    def _text(self, value: object) -> str:
        if _is_missing(value):
            return self.undefined
        if callable(self.show):
            return self.show(value)
        if isinstance(value, str) or not self.show:
            return str(value)
        return format(int(value) if self.show.endswith("d") else value, self.show)  # type: ignore[call-overload]


@dataclass(frozen=True)
class ReportTable:
    """A table of the report."""

    name: str
    """File name without ending, and anchor on a page of several tables."""
    rows: pd.DataFrame
    """Plain values at full precision, one row a thing."""
    columns: Sequence[Column]
    """What readers see of them, in this order; a column without any text is left out."""
    title: str = ""
    """Heading, where a page has several tables."""
    note: str = ""
    """How to read it: ``code`` and *emphasis* as in reStructuredText."""
    sections: Sequence[str] | None = None
    """Title of the part of the table that each row belongs to; none: the table has one part."""
    shown: pd.DataFrame | None = None
    """What readers get in place of the rows, where that is a summary."""
    fault: InputError | None = None
    """What the table found, if that must stop the workflow; raised once the table is written."""


def frame_of(rows: Iterable[Mapping[str, object]], columns: Sequence[Column]) -> pd.DataFrame:
    """Return rows as a frame, which has the columns' names where there is no row."""
    ends = ("", "_low", "_high")
    names = [f"{column.name}{end}" for column in columns for end in ends[: 3 if column.is_interval else 1]]
    return pd.DataFrame(list(rows), columns=None if rows else names)


def write_tsv(rows: pd.DataFrame, path: Path | str) -> None:
    """Write rows tab separated, numbers with ten digits; an undefined value is an empty cell."""
    with writing(path) as part:
        # a column of numbers and texts is no float column to pandas, so its numbers are rounded here
        rows.map(_rounded).to_csv(part, sep="\t", index=False)


def write_page(tables: Sequence[ReportTable], path: Path | str, *, title: str, note: str = "") -> None:
    """Write tables one below the other as a page that needs no other file; several get a list of contents."""
    titled = [table for table in tables if table.title]
    contents = "".join(f'<li><a href="#{table.name}">{escape(table.title)}</a></li>' for table in titled)
    body = "\n".join(_article(table) for table in tables)
    page = _PAGE.format(
        title=escape(title),
        note=_paragraph(note),
        contents=f"<ul>{contents}</ul>" if len(tables) > 1 else "",
        body=body,
        style=_STYLE,
        script=_SCRIPT,
    )
    with writing(path) as part:
        part.write_text(page, encoding="utf-8")


def as_markdown(rows: pd.DataFrame, *, title: str, note: str = "") -> str:
    """Return a heading, a note and the rows as a Markdown table, for a terminal."""
    lines = [list(map(str, rows.columns)), *rows.astype(str).to_numpy().tolist()]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    lines.insert(1, ["-" * width for width in widths])
    texts = [" | ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)) for line in lines]
    body = "No rows." if rows.empty else "\n".join(f"| {text} |" for text in texts)
    return "\n\n".join(part for part in (f"## {title}", note, body) if part) + "\n"


def _article(table: ReportTable) -> str:
    parts = [f'<h2 id="{table.name}">{escape(table.title)}</h2>' if table.title else "", _paragraph(table.note)]
    shown = table.rows if table.shown is None else table.shown
    if shown.empty:
        return "\n".join([*filter(None, parts), "<p>No rows.</p>"])
    sections = pd.Series(list(table.sections or [""] * len(shown)), index=shown.index)
    for section, rows in shown.groupby(sections, sort=False):
        parts += [f"<h3>{escape(str(section))}</h3>" if section else "", _table(rows, table.columns)]
    return "\n".join(part for part in parts if part)


def _table(rows: pd.DataFrame, columns: Sequence[Column]) -> str:
    texts = {column: column.texts(rows) for column in columns}
    shown = [column for column in columns if any(texts[column])]
    classes = [_class(column, texts[column]) for column in shown]
    head = "".join(
        f'<th class="{name}" scope="col">{escape(column.heading)}</th>'
        for column, name in zip(shown, classes, strict=True)
    )
    lines = [
        "".join(f'<td class="{name}">{escape(text)}</td>' for text, name in zip(line, classes, strict=True))
        for line in zip(*(texts[column] for column in shown), strict=True)
    ]
    body = "\n".join(f"<tr>{line}</tr>" for line in lines)
    return f'<div class="table"><table><thead><tr>{head}</tr></thead><tbody>\n{body}\n</tbody></table></div>'


def _class(column: Column, texts: Sequence[str]) -> str:
    """Return the style of a column: numbers and short texts stay on one line, long texts are broken."""
    kind = "number" if column.is_number else "text" if max(map(len, texts)) <= _ONE_LINE else "long"
    return f"{kind} key" if column.is_key else kind


def _paragraph(text: str) -> str:
    marked = re.sub(r"``(.+?)``", r"<code>\1</code>", escape(text))
    marked = re.sub(r"\*(.+?)\*", r"<em>\1</em>", marked)
    return f"<p>{marked}</p>" if marked else ""


def _is_missing(value: object) -> bool:
    return value is None or value is pd.NA or (isinstance(value, float) and math.isnan(value))


def _rounded(value: object) -> object:
    return f"{value:.10g}" if isinstance(value, float) and not math.isnan(value) else value


_ONE_LINE = 28
"""Letters of a text that stays on one line."""
_PAGE = """\
<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
{style}</style>
</head>
<body>
<h1>{title}</h1>
{note}
{contents}
{body}
<script>
{script}</script>
</body>
</html>
"""
_STYLE = """\
body { font: 15px/1.45 system-ui, "Segoe UI", Roboto, "DejaVu Sans", sans-serif; color: #1b1b1b; margin: 1.5rem; }
h1 { font-size: 1.4rem; } h2 { font-size: 1.15rem; margin-top: 2rem; } h3 { font-size: 1rem; margin-bottom: 0.4rem; }
p, ul { max-width: 62rem; } code { background: #f2f2f2; padding: 0 0.2em; }
.table { position: relative; overflow: auto; max-height: 85vh; border: 1px solid #d5d5d5; }
.table { width: fit-content; max-width: 100%; }
table { border-collapse: separate; border-spacing: 0; font-variant-numeric: tabular-nums; }
th, td { padding: 0.3rem 0.7rem; text-align: left; vertical-align: top; }
td.number, td.text { white-space: nowrap; } td.long { min-width: 15rem; max-width: 30rem; }
.number { text-align: right; }
th { position: sticky; top: 0; z-index: 1; background: #eceff3; border-bottom: 1px solid #9aa3ad; cursor: pointer; }
th::after { content: "\\00A0\\2195"; color: #9aa3ad; }
th[aria-sort="ascending"]::after { content: "\\00A0\\25B2"; color: #1b1b1b; }
th[aria-sort="descending"]::after { content: "\\00A0\\25BC"; color: #1b1b1b; }
tbody tr { background: #fff; } tbody tr:nth-child(even) { background: #f7f8fa; } tbody tr:hover { background: #e6f0fa; }
td.key { position: sticky; background: inherit; } th.key { z-index: 2; }
"""
# Texts among numbers, such as "not run", come last either way.
_SCRIPT = """\
for (const cell of document.querySelectorAll(".key")) cell.style.left = `${cell.offsetLeft}px`;
for (const table of document.querySelectorAll("table")) {
  table.tHead.addEventListener("click", event => {
    const head = event.target.closest("th");
    if (!head) return;
    const isUp = head.getAttribute("aria-sort") !== "ascending";
    for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", isUp ? "ascending" : "descending");
    const text = row => row.cells[head.cellIndex].textContent;
    const number = row => parseFloat(text(row).replaceAll(",", ""));
    const compare = (a, b) => head.classList.contains("number")
      ? (isNaN(number(a)) - isNaN(number(b))) || (isUp ? number(a) - number(b) : number(b) - number(a)) || 0
      : (isUp ? 1 : -1) * text(a).localeCompare(text(b), "en", { numeric: true });
    table.tBodies[0].append(...[...table.tBodies[0].rows].sort(compare));
  });
}
"""
