"""Draw how well each method tells the lines of one drug apart: `python -m celllm.report.commands.plot_per_drug`."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from celllm.base import provenance, report_table
from celllm.base.entry import add_figure, add_tables, run
from celllm.base.errors import InputError
from celllm.base.report_table import ReportTable, as_markdown
from celllm.bench import predictions, runs
from celllm.bench.predictions import PredictionsMeta
from celllm.config.neighbours import neighbours_of
from celllm.report import figures
from celllm.report.catalogue import Catalogue
from celllm.report.per_drug import correlations, draw_per_drug, per_drug_table


def parser() -> argparse.ArgumentParser:
    """Build the command line."""
    made = argparse.ArgumentParser(prog="celllm plot_per_drug", description=__doc__)
    made.add_argument("--runs", type=Path, required=True, nargs="+", help="runs.json of one task, of any methods")
    made.add_argument("--task", required=True, help="their task")
    add_tables(made)
    made.add_argument("--tables", type=Path, required=True, help="folder for the table {task}.tsv and {task}.md")
    add_figure(made)
    return made


def main(argv: Sequence[str] | None = None) -> None:
    """Read predictions, correlate drug by drug, draw, write."""
    args = parser().parse_args(argv)
    catalogue = Catalogue.read(tasks=args.tasks, methods=args.methods, datasets=args.datasets)
    paths = runs.predictions_of(args.runs)
    read = [predictions.read(path) for path in paths]
    task = args.task
    for path, (_, meta) in zip(paths, read, strict=True):
        _check_task(path, meta, task)
    splits = {row.method: {meta.split for _, meta in read if meta.method == row.method} for row in catalogue.methods}
    # an encoder is drawn only where its simple rivals are, on the same splits
    methods = [
        row.method
        for row in catalogue.methods
        if splits[row.method]
        and all(splits[row.method] <= splits[name] for name in neighbours_of(row, catalogue.tasks.row(task)))
    ]
    made = provenance.stamp(args.stage, {str(path): path for path in args.runs})
    if not methods:
        nothing = pd.DataFrame(columns=["drug"])
        report_table.write(ReportTable(task, nothing, as_markdown(nothing, title=task)), args.tables)
        figures.save(figures.notice(figures.ALL_FAILED), png=args.png, pdf=args.pdf, provenance=made)
        return
    values = correlations((method, table) for method in methods for table, meta in read if meta.method == method)
    if values.empty:
        raise InputError(
            file=args.runs[0],
            field="drug",
            expected="a drug with three test lines or more, whose responses differ, in the predictions of each method",
            found="none",
            remedy=f"raise the share test of {task} in config/tasks.tsv",
        )
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


if __name__ == "__main__":
    run(main)
