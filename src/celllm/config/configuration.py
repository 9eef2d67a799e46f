"""`config.yaml`, checked before the first job: against its schema, then against the tables it names rows of.

Imported by the Snakefile, so it needs nothing but what Snakemake itself installs.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jsonschema
import yaml

from celllm.base.errors import InputError


def check(config: Mapping[str, Any], *, schema: Path | str, files: Sequence[Path | str]) -> None:
    """Check the merged configuration against its JSON schema.

    Parameters
    ----------
    config
        The values in force, after all files and command-line overrides were merged.
    schema
        The JSON schema.
    files
        The configuration files read, the last one winning; errors name the one that holds the key.

    Raises
    ------
    InputError
        For the first unknown key, missing key or wrong value.
    """
    rules = json.loads(Path(schema).read_text(encoding="utf-8"))
    error = jsonschema.exceptions.best_match(jsonschema.Draft202012Validator(rules).iter_errors(dict(config)))
    if error is None:
        return
    path = [str(part) for part in error.absolute_path]
    if error.validator == "additionalProperties":
        known = list(error.schema.get("properties", {}))
        unknown = next(key for key in error.instance if key not in known)
        raise InputError(
            file=_holder([*path, unknown], files),
            field=".".join([*path, unknown]),
            expected=f"one of {', '.join(known)}",
            found="an unknown key",
            remedy=suggestion(unknown, known),
        )
    meaning = error.schema.get("description", "") if isinstance(error.schema, dict) else ""
    raise InputError(
        file=_holder(path, files),
        field=".".join(path) or "(top level)",
        expected=f"{error.validator} {json.dumps(error.validator_value)}" + (f" ({meaning})" if meaning else ""),
        found=error.message if error.validator == "required" else json.dumps(error.instance),
        remedy="correct it; every key is explained in config/README.md",
    )


def check_names(
    names: Iterable[str],
    known: Iterable[str],
    *,
    field: str,
    table: Path | str,
    files: Sequence[Path | str],
) -> None:
    """Check that each name a configuration key lists is a row of its table (or a file of its folder).

    Raises
    ------
    InputError
        Naming the first unknown name, with the nearest known one.
    """
    known = list(known)
    for name in names:
        if name not in known:
            raise InputError(
                file=_holder(field.split("."), files),
                field=field,
                expected=f"names that stand in {table}",
                found=repr(name),
                remedy=suggestion(name, known),
            )


def suggestion(name: str, known: Iterable[str]) -> str:
    """Say what to type in place of an unknown name: the nearest known one, or to remove it."""
    near = difflib.get_close_matches(name, list(known), n=1)
    return f"did you mean {near[0]}?" if near else "remove it, or add it where the known ones stand"


def _holder(path: Sequence[str], files: Sequence[Path | str]) -> str:
    """Return the last file that holds the key at `path`; the command line where none does."""
    for file in reversed(files):
        with Path(file).open(encoding="utf-8") as stream:
            values = yaml.safe_load(stream)
        for part in path:
            values = values.get(part) if isinstance(values, dict) else None
            if values is None:
                break
        else:
            return str(file)
    return "--config on the command line" if path else str(files[-1] if files else "configuration")
