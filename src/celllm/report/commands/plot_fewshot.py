"""Draw score against number of training cells: `python -m celllm.report.commands.plot_fewshot`."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from celllm.base import provenance
from celllm.base.entry import add_figure, add_tables, run
from celllm.bench import scores
from celllm.report import figures
from celllm.report.catalogue import Catalogue
from celllm.report.fewshot import curves_of, draw_curves, points_of
from celllm.report.results import Results


def parser() -> argparse.ArgumentParser:
    """Build the command line."""
    made = argparse.ArgumentParser(prog="celllm plot_fewshot", description=__doc__)
    made.add_argument("--scores", type=Path, required=True, help="results/bench/scores.tsv")
    add_tables(made)
    add_figure(made)
    return made


def main(argv: Sequence[str] | None = None) -> None:
    """Read scores, find curves, draw, write."""
    args = parser().parse_args(argv)
    catalogue = Catalogue.read(tasks=args.tasks, methods=args.methods, datasets=args.datasets)
    results = Results(scores.read(args.scores))
    curves = {curve: points_of(curve, catalogue, results) for curve in curves_of(catalogue, results)}
    figure = draw_curves(curves, catalogue)
    figures.save(figure, png=args.png, pdf=args.pdf, provenance=provenance.stamp(args.stage, {"scores": args.scores}))


if __name__ == "__main__":
    run(main)
