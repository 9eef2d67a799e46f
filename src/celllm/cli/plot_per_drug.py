"""Draw how well each method tells the lines of one drug apart: `python -m celllm.cli.plot_per_drug`."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from celllm import provenance
from celllm.cli.entry import add_figure, add_tables, run
from celllm.contracts import predictions, report_table
from celllm.contracts.predictions import PredictionsMeta
from celllm.errors import InputError
from celllm.report import figures
from celllm.report.catalogue import Catalogue
from celllm.report.neighbours import neighbours_of
from celllm.report.per_drug import correlations, draw_per_drug, per_drug_table


def parser() -> argparse.ArgumentParser:
    """Build the command line."""
    made = argparse.ArgumentParser(prog="python -m celllm.cli.plot_per_drug", description=__doc__)
    made.add_argument(
        "--predictions", type=Path, required=True, nargs="+", help="predictions of one task, any methods and seeds"
    )
    add_tables(made)
    made.add_argument("--tables", type=Path, required=True, help="folder for the table {task}.tsv and {task}.md")
    add_figure(made)
    return made


def main(argv: Sequence[str] | None = None) -> None:
    """Read predictions, correlate drug by drug, draw, write."""
    args = parser().parse_args(argv)
    catalogue = Catalogue.read(tasks=args.tasks, methods=args.methods, datasets=args.datasets)
    read = [predictions.read(path) for path in args.predictions]
    task = read[0][1].task
    for path, (_, meta) in zip(args.predictions, read, strict=True):
        _check_task(path, meta, task)
    known = {meta.method for _, meta in read}
    methods = [method.method for method in catalogue.methods if method.method in known]
    _check_neighbours(methods, catalogue)
    values = correlations((method, table) for method in methods for table, meta in read if meta.method == method)
    if values.empty:
        raise InputError(
            file=args.predictions[0],
            field="drug",
            expected="a drug with three test lines or more, whose responses differ, in the predictions of each method",
            found="none",
            remedy=f"raise the share test of {task} in config/tasks.tsv",
        )
    made = provenance.stamp(args.stage, {str(path): path for path in args.predictions})
    report_table.write(per_drug_table(values, task=task, catalogue=catalogue), args.tables)
    figure = draw_per_drug(values, task=task, catalogue=catalogue)
    figures.save(figure, png=args.png, pdf=args.pdf, provenance=made)


def _check_task(path: Path, meta: PredictionsMeta, task: str) -> None:
    if (meta.task, meta.kind) != (task, "regression"):
        raise InputError(
            file=path,
            field="task and kind",
            expected=f"{task}, regression",
            found=f"{meta.task}, {meta.kind}",
            remedy="give the predictions of one regression task",
        )


def _check_neighbours(methods: Sequence[str], catalogue: Catalogue) -> None:
    """No number of an encoder without its simple rivals beside it."""
    for method in methods:
        missing = [name for name in neighbours_of(catalogue.methods.row(method)) if name not in methods]
        if missing:
            raise InputError(
                file="--predictions",
                field=f"neighbours of {method}",
                expected=f"predictions of {' and '.join(missing)} beside it",
                found=", ".join(methods),
                remedy=f"add {' and '.join(missing)} to the methods of the configuration",
            )


if __name__ == "__main__":
    run(main)
