"""Configuration files laid over one another, for commands that are run by hand; jobs get values from the workflow."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from snakemake.utils import update_config

from celllm.base.errors import InputError
from celllm.config.overlays import read_mapping
from celllm.config.settings import Settings, check


def read(paths: Sequence[Path]) -> tuple[dict[str, Any], Settings]:
    """Read configuration files, each laid over the ones before, as Snakemake lays them; return values and model.

    InputError as of `check`; and for a file that is not there.
    """
    values: dict[str, Any] = {}
    for path in paths:
        if not path.is_file():
            raise InputError(
                file=path,
                field="(whole file)",
                expected="a configuration: YAML, key: value",
                found="no such file",
                remedy="start this in the checkout, or name its folder as --checkout",
            )
        update_config(values, read_mapping(path))
    return values, check(values, files=paths)
