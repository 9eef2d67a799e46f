"""Tab-separated tables as rows of frozen pydantic dataclasses; whatever is wrong is said by file, line and column.

A header line, no quoting; a cell that holds only `-` means none: the column's default.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Generic, TypeVar

from pydantic import ConfigDict, TypeAdapter, ValidationError

from celllm.base.errors import InputError
from celllm.config.explain import fields_of, first_error, unknown

NONE = "-"
"""The cell that means none."""


ROW: Final = ConfigDict(extra="forbid", use_attribute_docstrings=True)
"""Configuration of a row's dataclass: its fields are the columns, in any order."""
AnyRow = TypeVar("AnyRow")


@dataclass(frozen=True)
class Table(Generic[AnyRow]):
    """The rows of a table, one dataclass each, in the order of the file."""

    file: Path
    key: str
    """The column that names a row. In `files.tsv` several rows share a dataset."""
    rows: tuple[AnyRow, ...]

    def __iter__(self) -> Iterator[AnyRow]:
        return iter(self.rows)

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def names(self) -> list[str]:
        """The key column, each name once, in the order of the file."""
        return list(dict.fromkeys(getattr(row, self.key) for row in self.rows))

    def row(self, name: str) -> AnyRow:
        """Return the row of that name; an unknown one raises InputError with the nearest name."""
        return self.of(name)[0]

    def of(self, name: str) -> tuple[AnyRow, ...]:
        """Return all rows of that name, at least one; errors as in `row`."""
        found = tuple(row for row in self.rows if getattr(row, self.key) == name)
        if found:
            return found
        raise unknown(name, self.names, file=self.file, field=self.key)


def read_rows(path: Path | str, model: type[AnyRow], *, key: str, unique: tuple[str, ...]) -> Table[AnyRow]:
    """Read a table; a column whose field has a default may be left out.

    The values of the columns `unique` together occur once; none: rows may repeat.

    InputError for a missing or unknown column, a short row, a repeated one, or a cell that is not what its column
    holds.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(
            file=path,
            field="(whole file)",
            expected=f"a table with the columns {', '.join(fields_of(model))}",
            found="no such file",
            remedy="give the path of the table, e.g. config/datasets.tsv, as seen from the current folder",
        )
    lines = csv.reader(io.StringIO(_text(path), newline=""), delimiter="\t", quoting=csv.QUOTE_NONE)
    header = next(lines, [])
    while header and not header[-1].strip():  # spreadsheets write empty columns at the end
        header.pop()
    _check_header(header, model, path)
    cells = [
        (number, line[: len(header)] if not any(line[len(header) :]) else line)
        for number, line in enumerate(lines, start=2)
        if any(line)
    ]
    rows: list[AnyRow] = []
    seen: dict[tuple[str, ...], int] = {}
    for number, line in cells:
        if len(line) != len(header):
            raise InputError(
                file=path,
                field=f"line {number}",
                expected=f"{len(header)} cells, as in the header",
                found=f"{len(line)}",
                remedy=f"separate the cells by one tab each; write {NONE} for none",
            )
        named = dict(zip(header, (cell.strip() for cell in line), strict=True))
        name = tuple(named[column] for column in unique)
        if unique and name in seen:
            raise InputError(
                file=path,
                field=" and ".join(unique),
                expected="each once",
                found=f"{' '.join(name)} in lines {seen[name]} and {number}",
                remedy="remove one of the two lines",
            )
        seen[name] = number
        rows.append(_row(model, named, path, number, named[key]))
    return Table(file=path, key=key, rows=tuple(rows))


def _text(path: Path) -> str:
    """Return a table's text; InputError that names the line where it is not UTF-8."""
    content = path.read_bytes()
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise InputError(
            file=path,
            field=f"line {line}",
            expected="text in UTF-8",
            found=f"the byte 0x{content[error.start]:02x}, as Excel's text and Latin-1 have it",
            remedy="save the table as UTF-8",
        ) from None


def _row(model: type[AnyRow], named: dict[str, str], path: Path, number: int, name: str) -> AnyRow:
    fields = fields_of(model)
    given = {
        column: None if cell in ("", NONE) else cell
        for column, cell in named.items()
        if cell not in ("", NONE) or fields[column].is_required()
    }
    try:
        return TypeAdapter(model).validate_python(given)
    except ValidationError as error:
        raise first_error(
            error,
            model,
            file=path,
            where=f"{{field}} of {name} (line {number})",
            remedy="correct the cell; docs/configuration.md explains the column",
        ) from None


def _check_header(header: list[str], model: type[Any], path: Path) -> None:
    fields = fields_of(model)
    columns = list(fields)
    expected = f"the columns {', '.join(columns)}"
    for column in columns:
        if column not in header and fields[column].is_required():
            raise InputError(
                file=path,
                field=f"column {column}",
                expected=expected,
                found=f"no column {column}, but {', '.join(header) or 'no header'}",
                remedy=f"add the column {column}; docs/configuration.md says what it holds",
            )
    for column in header:
        if column not in columns:
            raise unknown(column, columns, file=path, field=f"column {column}", expected=expected)
