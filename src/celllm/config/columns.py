"""How the cells of a table are read: lists of words, seeds, JSON, patterns.

Each takes the text of a cell, or the value itself where a row comes as JSON; a ValueError says what was expected.
"""

from __future__ import annotations

import json
import re
from typing import Annotated, Any

from pydantic import BeforeValidator, Field


def words(cell: Any) -> Any:  # noqa: ANN401 - any cell
    """Take words separated by blanks, at least one; a column that may be empty has a default for that."""
    if cell is None:
        msg = "one name or more, separated by blanks"
        raise ValueError(msg)
    return tuple(cell.split()) if isinstance(cell, str) else cell


def json_object(cell: Any) -> Any:  # noqa: ANN401 - any cell
    """Take a JSON object; none is an empty one."""
    if cell is None:
        return {}
    if not isinstance(cell, str):
        return cell
    try:
        value = json.loads(cell)
    except json.JSONDecodeError:
        value = None
    if not isinstance(value, dict):
        msg = 'a JSON object such as {"mode": "probe"}'
        raise ValueError(msg)
    return value


def seeds(cell: Any) -> Any:  # noqa: ANN401 - any cell
    """Take a range with both ends, such as `0-4`, or numbers separated by blanks."""
    if cell is not None and not isinstance(cell, str):
        return cell
    first, dash, last = (cell or "").partition("-")
    if dash and first.isdecimal() and last.isdecimal() and int(first) <= int(last):
        return tuple(range(int(first), int(last) + 1))
    numbers = (cell or "").split()
    if not numbers or not all(number.isdecimal() for number in numbers) or len(set(numbers)) < len(numbers):
        msg = "seeds, each once: a range such as 0-4, or numbers such as 42 or 0 7"
        raise ValueError(msg)
    return tuple(int(number) for number in numbers)


def matching(pattern: str, expected: str) -> BeforeValidator:
    """Make a check of text against a pattern; `expected` says it in words."""

    def check(cell: Any) -> Any:  # noqa: ANN401 - any cell
        if isinstance(cell, str) and not re.fullmatch(pattern, cell):
            raise ValueError(expected)
        return cell

    return BeforeValidator(check)


def search(cell: Any) -> Any:  # noqa: ANN401 - any cell
    """Take a JSON object whose values are lists without repeats, none of them empty."""
    value = json_object(cell)
    lists = [values for values in value.values() if isinstance(values, list | tuple) and values]
    if len(lists) < len(value) or any(list(values).count(one) > 1 for values in lists for one in values):
        msg = 'lists of different values by option, such as {"C": [1.0, 0.1, 10.0]}'
        raise ValueError(msg)
    return value


Words = Annotated[tuple[str, ...], BeforeValidator(words)]
Seeds = Annotated[tuple[int, ...], BeforeValidator(seeds)]
JsonObject = Annotated[dict[str, Any], BeforeValidator(json_object)]
Share = Annotated[float, Field(ge=0, le=1)]
WholeNumber = Annotated[int, matching(r"\d+", "a whole number, 0 or more"), Field(ge=0)]
Search = Annotated[dict[str, list[Any]], BeforeValidator(search)]
