"""Draw all tasks and methods: `python -m celllm.report.commands.plot_scores`."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from celllm.base import provenance
from celllm.base.entry import add_figure, add_tables, run
from celllm.bench import scores
from celllm.report import figures
from celllm.report.catalogue import Catalogue
from celllm.report.dots import dots_of, draw_scores
from celllm.report.results import Results


def parser() -> argparse.ArgumentParser:
    """Build the command line."""
    made = argparse.ArgumentParser(prog="celllm plot_scores", description=__doc__)
    made.add_argument("--scores", type=Path, required=True, help="results/bench/scores.tsv")
    add_tables(made)
    add_figure(made)
    return made


def main(argv: Sequence[str] | None = None) -> None:
    """Read scores, draw, write."""
    args = parser().parse_args(argv)
    catalogue = Catalogue.read(tasks=args.tasks, methods=args.methods, datasets=args.datasets)
    figure = draw_scores(dots_of(Results(scores.read(args.scores)), catalogue), catalogue)
    made = provenance.stamp(args.stage, {"scores": args.scores})
    figures.save(figure, png=args.png, pdf=args.pdf, provenance=made)


if __name__ == "__main__":
    run(main)
