"""Errors of pydantic as ours: file, field, what was expected, what was found and what to type next."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from celllm.base.errors import InputError


def unknown(name: str, known: Iterable[str], *, file: Path | str, field: str, expected: str = "") -> InputError:
    """Return the error of a name that is none of the known ones; it names the nearest."""
    known = list(known)
    expected = expected or f"one of {', '.join(known) or 'nothing'}"
    near = difflib.get_close_matches(name, known, n=1)
    remedy = f"did you mean {near[0]}?" if near else "remove it, or add it where the known ones stand"
    return InputError(file=file, field=field, expected=expected, found=repr(name), remedy=remedy)


def fields_of(model: type[Any]) -> dict[str, FieldInfo]:
    """Return the fields of a pydantic model or dataclass by name."""
    return dict(getattr(model, "__pydantic_fields__", {}))


def first_error(
    error: ValidationError, model: type[Any] = object, *, file: Path | str, where: str = "{field}", remedy: str
) -> InputError:
    """Turn the first of pydantic's errors into an `InputError` about `file`.

    `model` is what was validated, if users know its keys: an unknown one is answered with the nearest, a missing one
    with its description. `where` says how the field is shown: a format with `{field}`, the dotted key. `remedy` is what
    to do where no nearer advice is at hand.
    """
    first: dict[str, Any] = dict(error.errors()[0])
    path = [str(part) for part in first["loc"]]
    section = _section_at(model, path[:-1])
    known = list(fields_of(section))
    field = where.format(field=".".join(path) or "values together")
    if first["type"] == "extra_forbidden" and known:
        made = unknown(path[-1], known, file=file, field=field)
        return InputError(file=file, field=field, expected=made.expected, found="an unknown key", remedy=made.remedy)
    words = re.findall(r"'(.+?)'", str(first.get("ctx", {}).get("expected", "")))
    expected = str(first["msg"]).removeprefix("Value error, ")
    found = repr(first.get("input"))[:200] if path else "other values"
    if first["type"] in ("literal_error", "enum"):
        expected = f"one of {', '.join(words)}"
    elif first["type"] == "missing":
        described = fields_of(section).get(path[-1])
        expected, found = (described and described.description) or "a value", "nothing"
    near = difflib.get_close_matches(str(first.get("input")), words, n=1)
    return InputError(
        file=file, field=field, expected=expected, found=found, remedy=f"did you mean {near[0]}?" if near else remedy
    )


def _section_at(model: type[Any], path: Iterable[str]) -> type[Any]:
    """Return the model of the section at `path`; the last one known where the path leads out of the models."""
    for part in path:
        field = fields_of(model).get(part)
        annotation = None if field is None else field.annotation
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            model = annotation
    return model
