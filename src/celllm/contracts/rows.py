"""Tab-separated tables as rows of a dataclass; whatever is wrong is said by file, line and column.

A header line, no quoting; a cell holding only `-` means none. Imports the standard library only,
because the workflow reads tables where nothing but Snakemake is installed.
"""

from __future__ import annotations

import csv
import difflib
import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import MISSING, Field, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from celllm.errors import InputError

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

LOGARITHM = re.compile(r"(log2|ln|log10)\(x(?:/(\d+))?\+1\)")
"""A logarithm: its base, and what the values were divided by before."""
NONE = "-"
"""The cell that means none."""

Row = TypeVar("Row", bound="DataclassInstance")
Converter = Callable[[str], Any]


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


def text(cell: str) -> str:
    """Take any text; an empty cell or the one that means none is refused."""
    if cell in {"", NONE}:
        msg = "a text"
        raise ValueError(msg)
    return cell


def optional(cell: str) -> str | None:
    """Take any text or none."""
    return None if cell in {"", NONE} else cell


def one_of(*allowed: str) -> Converter:
    """Make a converter that takes these words only, and answers another with the nearest; `-` among them is none."""

    def convert(cell: str) -> str | None:
        if cell in allowed:
            return optional(cell)
        near = difflib.get_close_matches(cell, allowed, n=1)
        msg = f"one of {', '.join(allowed)}" + (f" (did you mean {near[0]}?)" if near else "")
        raise ValueError(msg)

    return convert


def yes_no(cell: str) -> bool:
    """Take yes or no."""
    return bool(one_of("yes", "no")(cell) == "yes")


def whole(cell: str) -> int:
    """Take a whole number."""
    if not cell.isdecimal():
        msg = "a whole number, 0 or more"
        raise ValueError(msg)
    return int(cell)


def optional_whole(cell: str) -> int | None:
    """Take a whole number or none."""
    return None if cell in {"", NONE} else whole(cell)


def seeds(cell: str) -> tuple[int, ...]:
    """Take seeds: a range with both ends such as `0-4`, or numbers separated by blanks such as `42` or `0 7`."""
    first, dash, last = cell.partition("-")
    if dash and first.isdecimal() and last.isdecimal() and int(first) <= int(last):
        return tuple(range(int(first), int(last) + 1))
    numbers = cell.split()
    if not numbers or not all(number.isdecimal() for number in numbers) or len(set(numbers)) < len(numbers):
        msg = "seeds, each once: a range such as 0-4, or numbers such as 42 or 0 7"
        raise ValueError(msg)
    return tuple(int(number) for number in numbers)


def share(cell: str) -> float:
    """Take a number from 0 to 1."""
    try:
        value = float(cell)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 1:
        msg = "a share between 0 and 1"
        raise ValueError(msg)
    return value


def sha256(cell: str) -> str | None:
    """Take a checksum in hex or none."""
    if cell in {"", NONE}:
        return None
    if len(cell) != 64 or set(cell) - set("0123456789abcdef"):
        msg = f"64 hexadecimal digits in lower case, or {NONE}"
        raise ValueError(msg)
    return cell


def malignancy(cell: str) -> str:
    """Take normal, tumour, unknown, samples or obs:COLUMN:VALUE."""
    parts = cell.split(":", 2)
    if cell in {"normal", "tumour", "unknown", "samples"} or (len(parts) == 3 and parts[0] == "obs" and all(parts)):
        return cell
    msg = "normal, tumour, unknown, samples or obs:COLUMN:VALUE"
    raise ValueError(msg)


def matrix(cell: str) -> str:
    """Take the matrix of an h5ad file: X, raw or layers:NAME."""
    if cell in {"X", "raw"} or (cell.startswith("layers:") and cell != "layers:"):
        return cell
    if cell in {"", NONE}:
        return "X"
    msg = "X, raw or layers:NAME"
    raise ValueError(msg)


def words(cell: str) -> tuple[str, ...]:
    """Take words separated by blanks, or none."""
    return () if cell in {"", NONE} else tuple(cell.split())


def logarithm(cell: str) -> str | None:
    """Take the logarithm that a source has taken, such as `log2(x+1)`, `ln(x+1)` or `log2(x/10+1)`; or none."""
    if cell in {"", NONE} or LOGARITHM.fullmatch(cell):
        return optional(cell)
    msg = "a logarithm such as log2(x+1), ln(x+1) or log2(x/10+1)"
    raise ValueError(msg)


def json_object(cell: str) -> dict[str, Any]:
    """Take a JSON object; none is an empty one."""
    if cell in {"", NONE}:
        return {}
    try:
        value = json.loads(cell)
    except json.JSONDecodeError:
        value = None
    if not isinstance(value, dict):
        msg = 'a JSON object such as {"mode": "probe"}'
        raise ValueError(msg)
    return value


def search(cell: str) -> dict[str, list[Any]]:
    """Take a JSON object whose values are lists without repeats, none of them empty; none is an empty object."""
    value = json_object(cell)
    lists = [values for values in value.values() if isinstance(values, list) and values]
    if len(lists) < len(value) or any(values.count(one) > 1 for values in lists for one in values):
        msg = 'lists of different values by option, such as {"C": [1.0, 0.1, 10.0]}'
        raise ValueError(msg)
    return value
