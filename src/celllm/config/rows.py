"""Tab-separated tables as rows of a dataclass; whatever is wrong is said by file, line and column.

A header line, no quoting; a cell holding only `-` means none. Imports the standard library only,
because the workflow reads tables where nothing but Snakemake is installed.
"""

from __future__ import annotations

import csv
import difflib
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, Field, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from celllm.base.errors import InputError
from celllm.config.converters import NONE, Converter, text

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

Row = TypeVar("Row", bound="DataclassInstance")


@dataclass(frozen=True)
class Table(Generic[Row]):
    """The rows of a table in the order of the file.

    Parameters
    ----------
    file
        Where it was read from; errors name it.
    key
        The column that names a row. In `files.tsv` several rows share a dataset.
    rows
        One dataclass a row.
    """

    file: Path
    key: str
    rows: tuple[Row, ...]

    def __iter__(self) -> Iterator[Row]:
        return iter(self.rows)

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def names(self) -> list[str]:
        """The key column, each name once, in the order of the file."""
        return list(dict.fromkeys(getattr(row, self.key) for row in self.rows))

    def row(self, name: str) -> Row:
        """Return the row of that name; an unknown one raises InputError with the nearest name."""
        return self.of(name)[0]

    def of(self, name: str) -> tuple[Row, ...]:
        """Return all rows of that name, at least one; errors as in `row`."""
        found = tuple(row for row in self.rows if getattr(row, self.key) == name)
        if found:
            return found
        near = difflib.get_close_matches(name, self.names, n=1)
        raise InputError(
            file=self.file,
            field=self.key,
            expected=f"one of {', '.join(self.names) or 'no rows at all'}",
            found=repr(name),
            remedy=f"did you mean {near[0]}?" if near else f"add a row {name} to {self.file}",
        )


def read_rows(
    path: Path | str,
    kind: type[Row],
    *,
    key: str,
    unique: tuple[str, ...],
    convert: Mapping[str, Converter],
) -> Table[Row]:
    """Read a table into frozen dataclasses.

    Parameters
    ----------
    path
        The table.
    kind
        The dataclass of a row; its fields are the columns of the table, in any order. A column whose field
        has a default may be left out.
    key
        The column that names a row.
    unique
        Columns whose values together occur once.
    convert
        How a cell of a column is read; text where nothing is said. A converter raises ValueError
        with what it expected.

    Raises
    ------
    InputError
        For a missing or unknown column, a short row, a repeated one, or a cell that does not convert.
    """
    path = Path(path)
    columns = [field.name for field in fields(kind)]
    optional_columns = {field.name for field in fields(kind) if _has_default(field)}
    if not path.is_file():
        raise InputError(
            file=path,
            field="(whole file)",
            expected=f"a table with the columns {', '.join(columns)}",
            found="no such file",
            remedy="give the path of the table, e.g. config/datasets.tsv, as seen from the current folder",
        )
    with path.open(encoding="utf-8", newline="") as file:
        lines = csv.reader(file, delimiter="\t", quoting=csv.QUOTE_NONE)
        header = next(lines, [])
        _check_header(header, columns, optional_columns, path)
        cells = [(number, line) for number, line in enumerate(lines, start=2) if any(line)]
    rows: list[Row] = []
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
        named = dict(zip(header, line, strict=True))
        name = tuple(named[column] for column in unique)
        if name in seen:
            raise InputError(
                file=path,
                field=" and ".join(unique),
                expected="each once",
                found=f"{' '.join(name)} in lines {seen[name]} and {number}",
                remedy="remove one of the two lines",
            )
        seen[name] = number
        present = [column for column in columns if column in named]
        rows.append(kind(**{column: _value(named, column, convert, path, number) for column in present}))
    return Table(file=path, key=key, rows=tuple(rows))


def _has_default(field: Field[Any]) -> bool:
    return field.default is not MISSING or field.default_factory is not MISSING


def _check_header(header: list[str], columns: list[str], optional_columns: set[str], path: Path) -> None:
    for column in columns:
        if column not in header and column not in optional_columns:
            raise InputError(
                file=path,
                field=f"column {column}",
                expected=f"the columns {', '.join(columns)}",
                found=f"no column {column}, but {', '.join(header) or 'no header'}",
                remedy=f"add the column {column}; config/README.md says what it holds",
            )
    for column in header:
        if column not in columns:
            near = difflib.get_close_matches(column, columns, n=1)
            raise InputError(
                file=path,
                field=f"column {column}",
                expected=f"the columns {', '.join(columns)}",
                found=f"an unknown column {column}",
                remedy=f"did you mean {near[0]}?" if near else "remove it",
            )


def _value(
    named: Mapping[str, str],
    column: str,
    convert: Mapping[str, Converter],
    path: Path,
    number: int,
) -> Any:  # noqa: ANN401 - whatever the column holds
    try:
        return convert.get(column, text)(named[column].strip())
    except ValueError as error:
        first = next(iter(named.values()))
        raise InputError(
            file=path,
            field=f"{column} of {first} (line {number})",
            expected=str(error),
            found=repr(named[column]),
            remedy="correct the cell; config/README.md explains the column",
        ) from None
