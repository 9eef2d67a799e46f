"""How a cell of a tab-separated table is read: one function a kind of value, which says what it expected if it cannot.

A converter raises ValueError with that. Imports the standard library only, as config/rows.py.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Callable
from typing import Any

LOGARITHM = re.compile(r"(log2|ln|log10)\(x(?:/(\d+))?\+1\)")
"""A logarithm: its base, and what the values were divided by before."""
NONE = "-"
"""The cell that means none."""
Converter = Callable[[str], Any]


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
