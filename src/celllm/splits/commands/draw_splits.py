"""Draw the training, validation and test part of a task for one seed."""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from celllm.base.entry import run
from celllm.base.errors import InputError
from celllm.base.provenance import stamp
from celllm.config import tables
from celllm.config.tables import Task
from celllm.harmonise import cells as counts
from celllm.sources import responses
from celllm.splits import cells as splitting
from celllm.splits import format as splits
from celllm.splits import pairs as pair_splits
from celllm.splits.format import PARTS, Split
from celllm.splits.units import cells_from, pairs_from


def parser() -> argparse.ArgumentParser:
    """Declare the options."""
    options = argparse.ArgumentParser(prog="celllm draw_splits", description=__doc__, allow_abbrev=False)
    options.add_argument("--task", required=True, help="a row of the table of tasks")
    options.add_argument("--tasks", required=True, type=Path, help="tasks.tsv")
    options.add_argument("--cells", required=True, type=Path, help="the task's aligned cells")
    options.add_argument("--responses", type=Path, help="the task's drug responses, where it has any")
    options.add_argument("--seed", required=True, type=int, help="of the draw")
    options.add_argument("--stage", default="draw_splits", help="name and version of the stage")
    options.add_argument("--split", required=True, type=Path, help="where to write the split")
    return options


def draw_cells(cells_file: Path, task: Task, *, seed: int, file: Path) -> tuple[list[str], NDArray[np.str_]]:
    """Return the task's cells and their parts; say which classes are tested but never met in training."""
    read = counts.read(cells_file)
    cells = cells_from(read)
    if task.split == "donors":
        donors = read.obs["donor"].to_numpy(str)
        parts = splitting.by_donor(cells.labels, donors, cells.units, task, seed=seed, file=file)
    else:
        parts = splitting.stratified(cells.labels, cells.units, task, seed=seed, file=file)
    unknown = sorted(set(cells.labels[parts == "test"]) - set(cells.labels[parts == "train"]))
    if unknown:
        print(f"tested, but without a training cell, so that they can only be missed: {', '.join(unknown)}")
    too_small = sorted(set(cells.labels[parts == "unused"]) - set(cells.labels[parts != "unused"]) - {""})
    if too_small:
        print(f"left out, fewer cells than min_class_size or {splitting.SMALLEST_CLASS}: {', '.join(too_small)}")
    return cells.units, parts


def draw_pairs(
    cells_file: Path,
    responses_file: Path,
    task: Task,
    *,
    seed: int,
    file: Path,
) -> tuple[list[str], NDArray[np.str_]]:
    """Return the task's pairs of line and drug and their parts."""
    table = responses.read(responses_file).table
    pairs = pairs_from(counts.read(cells_file), table, file=responses_file)
    if len(table) > len(pairs.line):
        print(f"left out: {len(table) - len(pairs.line)} of {len(table)} pairs, whose lines have no expression")
    return pairs.units, pair_splits.divide(pairs, task, seed=seed, file=file)


def main(argv: Sequence[str] | None = None) -> None:
    """Read the units, divide them, write the parts."""
    args = parser().parse_args(argv)
    task = tables.read_tasks(args.tasks).row(args.task)
    if (task.kind == "classification") != (args.responses is None):
        raise InputError(
            file=args.tasks,
            field=f"response of {task.task}",
            expected="a response for a regression, and only there",
            found=f"{task.kind}, {'no responses' if args.responses is None else args.responses}",
            remedy="correct the task's columns kind and response, or the option --responses",
        )
    inputs = {"cells": args.cells}
    if args.responses is None:
        units, parts = draw_cells(args.cells, task, seed=args.seed, file=args.tasks)
    else:
        inputs["responses"] = args.responses
        units, parts = draw_pairs(args.cells, args.responses, task, seed=args.seed, file=args.tasks)
    made = Split(task.task, args.seed, units, parts, provenance=stamp(args.stage, inputs, seed=args.seed))
    splits.write(made, args.split)
    sizes = Counter(parts.tolist())
    print(", ".join(f"{part} {sizes[part]}" for part in PARTS))


if __name__ == "__main__":
    run(main)
