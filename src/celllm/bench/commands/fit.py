"""Train one method on one task's training part and predict its test part, whose answers it is not given."""

from __future__ import annotations

import argparse
import json
import resource
import shlex
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from celllm.base.entry import run
from celllm.base.errors import InputError
from celllm.base.provenance import digest, stamp
from celllm.bench import predictions
from celllm.bench.evaluation import headline_of, metrics_of, predictions_of
from celllm.bench.method import Classifier, Regressor, build
from celllm.bench.predictions import PredictionsMeta
from celllm.bench.tuning import Choice, choose_options
from celllm.config import tables
from celllm.config.tables import Method, Task
from celllm.harmonise import cells as counts
from celllm.harmonise import vocabulary
from celllm.sources import responses
from celllm.splits import format as splits
from celllm.splits.units import Cells, Pairs, cells_from, pairs_from


def parser() -> argparse.ArgumentParser:
    """Declare the options."""
    options = argparse.ArgumentParser(prog="celllm fit", description=__doc__, allow_abbrev=False)
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
    options.add_argument("--trials", type=int, default=1, help="most combinations of options to try on validation (1)")
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


def parts_of(split: splits.Split, task: Task, units: Sequence[str]) -> dict[str, np.ndarray]:
    """Return the rows of each part; under the protocol compat the test part is also what is chosen on."""
    parts = {part: split.rows(part, units) for part in ("train", "validation", "test")}
    return parts | {"validation": parts["test"]} if task.protocol == "compat" else parts


def fitted(
    row: Method,
    task: Task,
    data: Cells | Pairs,
    parts: Mapping[str, np.ndarray],
    *,
    make: Callable[[Mapping[str, Any]], Classifier | Regressor],
    trials: int,
    seed: int,
) -> tuple[Choice[Classifier | Regressor], Cells | Pairs]:
    """Choose the method's options and fit it; return it and the data as it may see them.

    Options are chosen under the protocol clean alone, and where there is a validation part.
    """
    is_compat = task.protocol == "compat"
    chooses = len(parts["validation"]) > 0 and not is_compat

    def fit(options: Mapping[str, Any]) -> Classifier | Regressor:
        method = make(options)
        method.fit(_shown(method, data, parts, is_compat=is_compat), parts["train"], parts["validation"])  # type: ignore[arg-type]
        return method

    def judge(method: Classifier | Regressor) -> float:
        shown = _shown(method, data, parts, is_compat=is_compat)
        table = predictions_of(method, shown, data, parts["validation"])
        return headline_of(metrics_of(table, kind=task.kind), task.headline, task=task.task, file="config/tasks.tsv")

    choice = choose_options(
        fit,
        judge,
        options=row.options,
        search=row.search,
        budget=trials if chooses else 1,
        seed=seed,
        metric=task.headline,
    )
    return choice, _shown(choice.method, data, parts, is_compat=is_compat)


def _shown(
    method: Classifier | Regressor,
    data: Cells | Pairs,
    parts: Mapping[str, np.ndarray],
    *,
    is_compat: bool,
) -> Cells | Pairs:
    return data if method.sees_test_labels or is_compat else data.hiding(parts["test"])


def main(argv: Sequence[str] | None = None) -> None:
    """Read the task, choose and fit the method, write its predictions."""
    args = parser().parse_args(argv)
    # one cell of the benchmark by hand: paste this line
    print("python -m celllm.bench.commands.fit", shlex.join(sys.argv[1:] if argv is None else argv), flush=True)
    task = tables.read_tasks(args.tasks).row(args.task)
    row = tables.read_methods(args.methods).row(args.method)
    check_kinds(task, row, args=args)
    genes = vocabulary.read(args.vocabulary)
    encoder = args.encoder if row.encoder is not None else None
    data = read_units(args, genes)
    split = splits.read(args.split)
    check_split(split, task.task, args)
    parts = parts_of(split, task, data.units)

    def make(options: Mapping[str, Any]) -> Classifier | Regressor:
        method = build(
            replace(row, options=dict(options)), seed=args.seed, encoder=encoder, vocabulary=genes, file=args.methods
        )
        use_threads(args.threads)
        return method

    start = time.perf_counter()
    choice, shown = fitted(row, task, data, parts, make=make, trials=args.trials, seed=args.seed)
    fitted_at = time.perf_counter()
    table = predictions_of(choice.method, shown, data, parts["test"])
    predicted_at = time.perf_counter()
    inputs = {"cells": args.cells, "split": args.split, "vocabulary": args.vocabulary}
    inputs |= {"responses": args.responses} if args.responses is not None else {}
    meta = PredictionsMeta(
        task=task.task,
        method=row.method,
        split=split.seed,
        seed=args.seed,
        kind=task.kind,
        simulated=data.simulated,
        n_train=len(parts["train"]),
        n_validation=len(parts["validation"]),
        n_test=len(parts["test"]),
        options=choice.options,
        trials=choice.trials,
        fit_s=fitted_at - start,
        predict_s=predicted_at - fitted_at,
        # ru_maxrss is in KiB on Linux
        peak_mb=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        trained_parameters=choice.method.trained_parameters,
        vocabulary=genes.digest,
        encoder=None if encoder is None else digest(encoder),
        provenance=stamp(args.stage, inputs, seed=args.seed, options=choice.options),
    )
    predictions.write(table, meta, args.predictions)
    sizes = ", ".join(f"{part} {len(rows)}" for part, rows in parts.items())
    for trial in choice.trials:
        print(f"trial {json.dumps(dict(trial.options))}: {task.headline} on validation {trial.value:.4f}")
    print(f"{row.method} on {task.task}: {sizes}; fitted in {meta.fit_s:.1f} s, predicted in {meta.predict_s:.1f} s")


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
            remedy=f"give results/splits/{task}/split{split.seed}.parquet",
        )


if __name__ == "__main__":
    run(main)
