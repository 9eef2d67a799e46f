"""Draw all tasks and methods: `python -m celllm.cli.plot_scores`."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from celllm import provenance
from celllm.cli.entry import run
from celllm.contracts import scores, tables
from celllm.report import figures
from celllm.report.catalogue import Catalogue
from celllm.report.dots import dots_of, draw_scores


def parser() -> argparse.ArgumentParser:
    """Build the command line."""
    made = argparse.ArgumentParser(prog="python -m celllm.cli.plot_scores", description=__doc__)
    made.add_argument("--scores", type=Path, required=True, help="results/bench/scores.tsv")
    made.add_argument("--tasks", type=Path, required=True, help="config/tasks.tsv")
    made.add_argument("--methods", type=Path, required=True, help="config/methods.tsv")
    made.add_argument("--datasets", type=Path, required=True, help="config/datasets.tsv, which says what is simulated")
    made.add_argument("--stage", default="report", help="name and version of the workflow's stage")
    made.add_argument("--png", type=Path, required=True, help="the figure for screens")
    made.add_argument("--pdf", type=Path, required=True, help="the figure for print")
    return made


def main(argv: Sequence[str] | None = None) -> None:
    """Read scores, draw, write."""
    args = parser().parse_args(argv)
    catalogue = Catalogue(
        tasks=tables.read_tasks(args.tasks),
        methods=tables.read_methods(args.methods),
        datasets=tables.read_datasets(args.datasets),
    )
    figure = draw_scores(dots_of(scores.read(args.scores), catalogue), catalogue)
    made = provenance.stamp(args.stage, {"scores": args.scores})
    figures.save(figure, png=args.png, pdf=args.pdf, provenance=made)


if __name__ == "__main__":
    run(main)
