"""Train one method on one task's training part and predict its test part, whose answers it is not given."""

from __future__ import annotations

import argparse
import resource
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import cast

import numpy as np
import pandas as pd

from celllm.cli.entry import run
from celllm.contracts import counts, predictions, responses, splits, tables, vocabulary
from celllm.contracts.predictions import SCORE, PredictionsMeta
from celllm.contracts.tables import Method, Task
from celllm.errors import InputError
from celllm.provenance import digest, stamp
from celllm.tasks.data import Cells, Pairs, cells_from, pairs_from
from celllm.tasks.method import Classifier, Regressor, build


def parser() -> argparse.ArgumentParser:
    """Declare the options."""
    options = argparse.ArgumentParser(prog="celllm.cli.fit", description=__doc__, allow_abbrev=False)
    options.add_argument("--task", required=True, help="a row of the table of tasks")
    options.add_argument("--tasks", required=True, type=Path, help="tasks.tsv")
    options.add_argument("--method", required=True, help="a row of the table of methods")
    options.add_argument("--methods", required=True, type=Path, help="methods.tsv")
    options.add_argument("--cells", required=True, type=Path, help="the task's aligned cells")
    options.add_argument("--responses", type=Path, help="the task's drug responses, where it has any")
    options.add_argument("--split", required=True, type=Path, help="the task's parts for this seed")
    options.add_argument("--vocabulary", required=True, type=Path, help="genes.tsv")
    options.add_argument("--encoder", type=Path, help="pretrained encoder, for methods that start from one")
    options.add_argument("--seed", required=True, type=int, help="of the method's own random numbers")
    options.add_argument("--threads", type=int, default=1, help="CPU threads (1)")
    options.add_argument("--stage", default="fit", help="name and version of the stage")
    options.add_argument("--predictions", required=True, type=Path, help="where to write the predictions")
    return options


def check_kinds(task: Task, method: Method, *, args: argparse.Namespace) -> None:
    """Refuse a method on a task of the other kind, and a regression without responses."""
    if task.kind != method.kind:
        raise InputError(
            file=args.methods,
            field=f"kind of {method.method}",
            expected=f"{task.kind}, as the task {task.task}",
            found=method.kind,
            remedy=f"choose a method of kind {task.kind}",
        )
    if (task.kind == "regression") != (args.responses is not None):
        raise InputError(
            file=args.tasks,
            field=f"kind of {task.task}",
            expected="--responses for a regression, and only there",
            found=f"{task.kind}, {args.responses or 'no --responses'}",
            remedy="give or leave out --responses, or correct the task's columns kind and response",
        )


def read_units(args: argparse.Namespace, genes: vocabulary.Vocabulary) -> Cells | Pairs:
    """Read the cells of the task, or its pairs of line and drug."""
    cells = counts.read(args.cells, vocabulary=genes)
    if args.responses is None:
        return cells_from(cells)
    read = responses.read(args.responses)
    pairs = pairs_from(cells, read.table, file=args.responses)
    return pairs if not read.simulated else pairs.marked_simulated()


def classified(
    method: Classifier,
    cells: Cells,
    parts: dict[str, np.ndarray],
) -> tuple[pd.DataFrame, tuple[float, float]]:
    """Fit and predict; return the table of predictions and the seconds of both."""
    test = parts["test"]
    shown = cells if method.sees_test_labels else cells.hiding(test)
    start = time.perf_counter()
    method.fit(shown, parts["train"], parts["validation"])
    fitted = time.perf_counter()
    scores = method.predict(shown, test)
    seconds = (fitted - start, time.perf_counter() - fitted)
    table = pd.DataFrame(
        {
            "unit": cells.cell_ids[test],
            "truth": cells.labels[test],
            "predicted": method.classes_[scores.argmax(axis=1)],
        }
    )
    columns = pd.DataFrame(scores, columns=[f"{SCORE}{name}" for name in method.classes_])
    return pd.concat([table, columns], axis=1), seconds


def regressed(
    method: Regressor,
    pairs: Pairs,
    parts: dict[str, np.ndarray],
) -> tuple[pd.DataFrame, tuple[float, float]]:
    """Fit and predict; return the table of predictions and the seconds of both."""
    test = parts["test"]
    shown = pairs if method.sees_test_labels else pairs.hiding(test)
    start = time.perf_counter()
    method.fit(shown, parts["train"], parts["validation"])
    fitted = time.perf_counter()
    predicted = method.predict(shown, test)
    seconds = (fitted - start, time.perf_counter() - fitted)
    units = pairs.units
    table = pd.DataFrame(
        {
            "unit": [units[row] for row in test],
            "truth": pairs.response[test],
            "predicted": predicted,
            "line": pairs.line_ids[pairs.line[test]],
            "drug": np.array(pairs.drugs, dtype=str)[pairs.drug[test]],
        }
    )
    return table, seconds


def main(argv: Sequence[str] | None = None) -> None:
    """Read the task, fit the method, write its predictions."""
    args = parser().parse_args(argv)
    task = tables.read_tasks(args.tasks).row(args.task)
    row = tables.read_methods(args.methods).row(args.method)
    check_kinds(task, row, args=args)
    genes = vocabulary.read(args.vocabulary)
    encoder = args.encoder if row.recipe is not None else None
    method = build(row, seed=args.seed, encoder=encoder, vocabulary=genes, file=args.methods)
    use_threads(args.threads)
    data = read_units(args, genes)
    split = splits.read(args.split)
    check_split(split, task.task, args)
    parts = {part: split.rows(part, data.units) for part in ("train", "validation", "test")}
    if isinstance(data, Cells):
        table, (fit_s, predict_s) = classified(cast("Classifier", method), data, parts)
    else:
        table, (fit_s, predict_s) = regressed(cast("Regressor", method), data, parts)
    inputs = {"cells": args.cells, "split": args.split, "vocabulary": args.vocabulary}
    inputs |= {"responses": args.responses} if args.responses is not None else {}
    meta = PredictionsMeta(
        task=task.task,
        method=row.method,
        seed=args.seed,
        kind=cast("predictions.Kind", task.kind),
        simulated=data.simulated,
        fit_s=fit_s,
        predict_s=predict_s,
        # ru_maxrss is in KiB on Linux
        peak_mb=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        trained_parameters=method.trained_parameters,
        vocabulary=genes.digest,
        encoder=None if encoder is None else digest(encoder),
        provenance=stamp(args.stage, inputs, seed=args.seed, options=row.options),
    )
    predictions.write(table, meta, args.predictions)
    sizes = ", ".join(f"{part} {len(rows)}" for part, rows in parts.items())
    print(f"{row.method} on {task.task}: {sizes}; fitted in {fit_s:.1f} s, predicted in {predict_s:.1f} s")


def use_threads(n_threads: int) -> None:
    """Limit torch where the method has imported it; the cheap methods do without that import."""
    torch = sys.modules.get("torch")
    if torch is not None:
        torch.set_num_threads(n_threads)


def check_split(split: splits.Split, task: str, args: argparse.Namespace) -> None:
    """Refuse the split of another task."""
    if split.task != task:
        raise InputError(
            file=args.split,
            field="task",
            expected=task,
            found=split.task,
            remedy=f"give results/splits/{task}/seed{args.seed}.parquet",
        )


if __name__ == "__main__":
    run(main)
