"""Write down what the benchmark runs, with the titles and rows behind every name."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from celllm.base.entry import run
from celllm.config import catalogue


def parser() -> argparse.ArgumentParser:
    """Declare the options."""
    options = argparse.ArgumentParser(prog="celllm list_runs", description=__doc__, allow_abbrev=False)
    options.add_argument("--catalogue", required=True, help="tasks, methods, data sets, runs and configuration, JSON")
    options.add_argument("--out", required=True, type=Path, help="where to write it")
    return options


def main(argv: Sequence[str] | None = None) -> None:
    """Check the catalogue and write it."""
    args = parser().parse_args(argv)
    catalogue.write(catalogue.Catalogue.model_validate_json(args.catalogue), args.out)


if __name__ == "__main__":
    run(main)
