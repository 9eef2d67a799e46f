"""Errors of pydantic as ours: file, field, what was expected, what was found and what to type next."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from celllm.base.errors import InputError


def suggestion(name: str, known: Iterable[str]) -> str:
    """Say what to type in place of an unknown name: the nearest known one, or to remove it."""
    near = difflib.get_close_matches(name, list(known), n=1)
    return f"did you mean {near[0]}?" if near else "remove it, or add it where the known ones stand"


def fields_of(model: type[Any]) -> dict[str, FieldInfo]:
    """Return the fields of a pydantic model or dataclass by name."""
    return dict(model.__pydantic_fields__)


def section_at(model: type[Any], path: Iterable[str]) -> type[Any]:
    """Return the model of the section at `path`; the last one known where the path leads out of the models."""
    for part in path:
        field = fields_of(model).get(part)
        annotation = None if field is None else field.annotation
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            model = annotation
    return model


def first_error(
    error: ValidationError,
    model: type[Any],
    *,
    file: Path | str,
    where: str = "{field}",
    remedy: str,
) -> InputError:
    """Turn the first of pydantic's errors into an `InputError`.

    Parameters
    ----------
    error
        What pydantic raised.
    model
        What was validated; its fields are the known keys, their descriptions say what is expected.
    file
        Named in the message.
    where
        How the field is shown: a format with `{field}`, the dotted key.
    remedy
        What to do where no nearer advice is at hand.
    """
    first = error.errors()[0]
    path = [str(part) for part in first["loc"]]
    field = ".".join(path) or "values together"
    section = section_at(model, path[:-1])
    known = list(fields_of(section))
    shown = where.format(field=field)
    if first["type"] == "extra_forbidden":
        return InputError(
            file=file,
            field=shown,
            expected=f"one of {', '.join(known)}",
            found="an unknown key",
            remedy=suggestion(path[-1], known),
        )
    if first["type"] == "missing":
        expected, found = _description(section, path[-1]) or "a value", "nothing"
    elif not path:
        expected, found = _expected(dict(first)), "other values"
    else:
        expected, found = _expected(dict(first)), repr(first.get("input"))
    allowed = _words(dict(first))
    near = difflib.get_close_matches(str(first.get("input")), allowed, n=1)
    return InputError(
        file=file,
        field=shown,
        expected=expected,
        found=found,
        remedy=f"did you mean {near[0]}?" if near else remedy,
    )


def _description(model: type[Any], name: str) -> str | None:
    field = fields_of(model).get(name)
    return None if field is None else field.description


def _words(first: dict[str, Any]) -> list[str]:
    expected = str(first.get("ctx", {}).get("expected", ""))
    return [word.strip("' ") for word in expected.replace(" or ", ", ").split(",") if word.strip("' ")]


def _expected(first: dict[str, Any]) -> str:
    if first["type"] in ("literal_error", "enum"):
        return f"one of {', '.join(_words(first))}"
    return str(first["msg"]).removeprefix("Value error, ")
