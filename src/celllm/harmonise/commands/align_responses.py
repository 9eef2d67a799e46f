"""Bring a dataset's drug responses into one form: line, drug, SMILES, ln IC50."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from celllm.base.entry import run
from celllm.config import tables
from celllm.sources import raw, responses


def parser() -> argparse.ArgumentParser:
    """Declare the options."""
    options = argparse.ArgumentParser(prog="celllm align_responses", description=__doc__, allow_abbrev=False)
    options.add_argument("--dataset", required=True, help="name of the dataset")
    options.add_argument("--datasets", required=True, type=Path, help="config/datasets.tsv")
    options.add_argument("--raw", required=True, type=Path, help="manifest of the dataset's files")
    options.add_argument("--stage", default="align_responses", help="name and version of the stage")
    options.add_argument("--responses", required=True, type=Path, help="where to write the responses")
    return options


def main(argv: Sequence[str] | None = None) -> None:
    """Read the published responses, write them in our form."""
    args = parser().parse_args(argv)
    dataset = tables.read_datasets(args.datasets).row(args.dataset)
    pairs = responses.read_raw(raw.read(args.raw), dataset)
    responses.write(pairs, args.responses)
    table = pairs.table
    for reason, n_left_out in pairs.left_out.items():
        print(f"left out: {n_left_out} {reason}")
    print(f"{len(table)} pairs of {table['line'].nunique()} lines and {table['drug'].nunique()} drugs")


if __name__ == "__main__":
    run(main)
