"""What commands share: how mistakes a user can mend are told, and options that mean the same everywhere."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

from celllm.base.errors import CellLMError


def run(main: Callable[[], None]) -> None:
    """Run a command's `main`; a `CellLMError` is printed to stderr and ends the process with its status."""
    try:
        main()
    except CellLMError as error:
        notes = "".join(f"\n{note}" for note in getattr(error, "__notes__", ()))
        sys.stderr.write(f"error: {error}{notes}\n")
        raise SystemExit(error.status) from None


def add_tables(options: argparse.ArgumentParser) -> None:
    """Add the options that name the tables behind `report.catalogue.Catalogue`."""
    options.add_argument("--tasks", type=Path, required=True, help="config/tasks.tsv")
    options.add_argument("--methods", type=Path, required=True, help="config/methods.tsv")
    options.add_argument(
        "--datasets", type=Path, required=True, help="config/datasets.tsv, which says what is simulated"
    )


def add_figure(options: argparse.ArgumentParser) -> None:
    """Add the options of a command that draws."""
    options.add_argument("--stage", default="report", help="name and version of the workflow's stage")
    options.add_argument("--png", type=Path, required=True, help="the figure for screens")
    options.add_argument("--pdf", type=Path, required=True, help="the figure for print")
