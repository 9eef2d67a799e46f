"""Draw which class is taken for which: `python -m celllm.report.commands.plot_confusion`."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from celllm.base import provenance
from celllm.base.entry import add_figure, add_tables, run
from celllm.base.errors import InputError
from celllm.bench import predictions, runs
from celllm.report import figures
from celllm.report.catalogue import Catalogue
from celllm.report.confusion import confusion_shares, draw_confusion


def parser() -> argparse.ArgumentParser:
    """Build the command line."""
    made = argparse.ArgumentParser(prog="celllm plot_confusion", description=__doc__)
    made.add_argument(
        "--runs",
        type=Path,
        required=True,
        nargs="+",
        help="runs.json of one task and method, which has their predictions beside it",
    )
    add_tables(made)
    add_figure(made)
    return made


def main(argv: Sequence[str] | None = None) -> None:
    """Read predictions, count, draw, write."""
    args = parser().parse_args(argv)
    catalogue = Catalogue.read(tasks=args.tasks, methods=args.methods, datasets=args.datasets)
    paths = runs.predictions_of(args.runs)
    if not paths:
        made = provenance.stamp(args.stage, {str(path): path for path in args.runs})
        figures.save(figures.notice(figures.ALL_FAILED), png=args.png, pdf=args.pdf, provenance=made)
        return
    read = [predictions.read(path) for path in paths]
    first = read[0][1]
    for path, (_, meta) in zip(paths, read, strict=True):
        _check(path, meta, first)
    pooled = pd.concat([table for table, _ in read])
    truth, predicted = (pooled[column].to_numpy(dtype=np.str_) for column in ("truth", "predicted"))
    known = {name for table, _ in read for name in predictions.score_columns(table)[0]}
    classes = sorted(known | set(truth))
    figure = draw_confusion(
        confusion_shares(truth, predicted, classes),
        classes,
        support=[int((truth == name).sum()) for name in classes],
        title=catalogue.task_title(first.task),
        subtitle=f"{catalogue.methods.row(first.method).title}, test cells of {len(read)} run{'s' * (len(read) > 1)}",
    )
    made = provenance.stamp(
        args.stage,
        {f"split {meta.split}, seed {meta.seed}": path for path, (_, meta) in zip(paths, read, strict=True)},
    )
    figures.save(figure, png=args.png, pdf=args.pdf, provenance=made)


def _check(path: Path, meta: predictions.PredictionsMeta, first: predictions.PredictionsMeta) -> None:
    if (meta.task, meta.method, meta.kind) != (first.task, first.method, "classification"):
        raise InputError(
            file=path,
            field="task, method and kind",
            expected=f"{first.task}, {first.method}, classification",
            found=f"{meta.task}, {meta.method}, {meta.kind}",
            remedy="give the predictions of one classification task and one method",
        )


if __name__ == "__main__":
    run(main)
