"""`history.jsonl`: what pretraining logged, one JSON object a line, in the order of its steps."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from celllm.base.atomic import writing
from celllm.base.errors import InputError


def read(path: Path | str) -> pd.DataFrame:
    """Read a history: a row a logged step, a column a quantity; nan where a step lacks one.

    InputError if a line is no JSON object with a `step`, or there is no line.
    """
    rows = []
    for number, line in enumerate(Path(path).read_text(encoding="utf-8").splitlines(), start=1):
        try:
            row = json.loads(line)
        except json.JSONDecodeError:
            row = None
        if not isinstance(row, dict) or "step" not in row:
            raise _error(path, f"line {number}", "a JSON object with a step", repr(line[:60]))
        rows.append(row)
    if not rows:
        raise _error(path, "(whole file)", "one line a step", "no line")
    return pd.DataFrame(rows)


def _error(path: Path | str, field: str, expected: str, found: str) -> InputError:
    remedy = "pretrain again: remove the encoder and its history, then run snakemake"
    return InputError(file=path, field=field, expected=expected, found=found, remedy=remedy)


def write(rows: Iterable[Mapping[str, Any]], path: Path | str) -> None:
    """Write a history, one line a row."""
    with writing(path) as part:
        part.write_text("".join(json.dumps(dict(row)) + "\n" for row in rows), encoding="utf-8")
