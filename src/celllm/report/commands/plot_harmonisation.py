"""Draw how much of each data set reached the vocabulary: `python -m celllm.report.commands.plot_harmonisation`."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from celllm.base import provenance
from celllm.base.entry import add_figure, run
from celllm.config import tables
from celllm.harmonise import harmonisation
from celllm.report import figures
from celllm.report.coverage import draw_harmonisation


def parser() -> argparse.ArgumentParser:
    """Build the command line."""
    made = argparse.ArgumentParser(prog="celllm plot_harmonisation", description=__doc__)
    made.add_argument("--harmonisation", type=Path, required=True, nargs="+", help="results/cells/*.harmonisation.json")
    made.add_argument("--datasets", type=Path, required=True, help="config/datasets.tsv, for the titles")
    add_figure(made)
    return made


def main(argv: Sequence[str] | None = None) -> None:
    """Read the reports, draw, write."""
    args = parser().parse_args(argv)
    titles = {dataset.dataset: dataset.title for dataset in tables.read_datasets(args.datasets)}
    figure = draw_harmonisation([harmonisation.read(path) for path in args.harmonisation], titles=titles)
    made = provenance.stamp(args.stage, {path.name: path for path in args.harmonisation})
    figures.save(figure, png=args.png, pdf=args.pdf, provenance=made)


if __name__ == "__main__":
    run(main)
