"""The command of the splits."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from celllm.base.app import commands
from celllm.config.rows import TaskRow

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

app = commands()


@app.command
def make_splits(
    *,
    task: TaskRow,
    cells: Path,
    responses: Path | None = None,
    seed: int,
    stage: str = "make_splits",
    split: Path,
) -> None:
    r"""Divide the cells of a task, or its pairs of cell line and drug, into training, validation and test.

    Parameters
    ----------
    task
        the task's row of config/tasks.tsv as JSON
    cells
        aligned cells of the task's data set
    responses
        aligned drug responses; for tasks of kind regression only
    seed
        random seed of the split; of a split by donors, the position of the tested donor
    stage
        name and version of the workflow's stage
    split
        file to write the split to

    Example::

        celllm make_splits --cells results/cells/pbmc68k_reduced.h5ad --seed 0 --split split0.parquet \
            --task '{"task": "annotation", "kind": "classification", "title": "PBMC", "dataset": "pbmc68k_reduced",
                     "response": null, "split": "random", "split_seeds": [0], "train": 0.7, "validation": 0.1,
                     "test": 0.2, "min_class_size": 10, "protocol": "clean", "headline": "macro_f1"}'
    """
    from collections import Counter

    from celllm.base.provenance import stamp
    from celllm.splits import format as split_file
    from celllm.splits.format import SUBSETS, Split
    from celllm.splits.units import check_responses

    check_responses(task, responses)
    inputs = {"cells": cells}
    if responses is None:
        units, subsets = _of_cells(cells, task, seed=seed)
    else:
        inputs["responses"] = responses
        units, subsets = _of_pairs(cells, responses, task, seed=seed)
    split_file.write(Split(task.task, seed, units, subsets, provenance=stamp(stage, inputs, seed=seed)), split)
    sizes = Counter(subsets.tolist())
    print(", ".join(f"{subset} {sizes[subset]}" for subset in SUBSETS))


def _of_cells(cells: Path, task: TaskRow, *, seed: int) -> tuple[list[str], NDArray[np.str_]]:
    """Return the task's cells and their subsets; say which classes are tested but never met in training."""
    import pandas as pd

    from celllm.harmonise import cells as cells_file
    from celllm.splits.cells import MIN_CLASS_SIZE, by_donor, stratified

    obs = pd.concat(cells_file.obs_pieces(cells))
    units, labels = list(obs.index), obs["label"].to_numpy(str)
    if task.split == "donors":
        subsets = by_donor(labels, obs["donor"].to_numpy(str), units, task, seed=seed)
    else:
        subsets = stratified(labels, units, task, seed=seed)
    unknown = sorted(set(labels[subsets == "test"]) - set(labels[subsets == "train"]))
    if unknown:
        print(f"tested, but without a training cell, so that they can only be missed: {', '.join(unknown)}")
    too_small = sorted(set(labels[subsets == "unused"]) - set(labels[subsets != "unused"]) - {""})
    if too_small:
        print(f"left out, fewer cells than min_class_size or {MIN_CLASS_SIZE}: {', '.join(too_small)}")
    return units, subsets


def _of_pairs(cells: Path, responses: Path, task: TaskRow, *, seed: int) -> tuple[list[str], NDArray[np.str_]]:
    """Return the task's pairs of line and drug and their subsets."""
    import pandas as pd

    from celllm.harmonise import cells as cells_file
    from celllm.sources import responses as responses_file
    from celllm.splits import pairs
    from celllm.splits.units import line_of, with_expression

    table = responses_file.read(responses).table
    lines = [line_of(name) for name in pd.concat(cells_file.obs_pieces(cells)).index]
    kept = with_expression(table, lines, file=responses)
    if len(table) > len(kept):
        print(f"left out: {len(table) - len(kept)} of {len(table)} pairs, whose lines have no expression")
    names, drugs, structures = (kept[column].to_numpy(str) for column in ("line", "drug", "smiles"))
    subsets = pairs.divide(names, drugs, structures, task, seed=seed)
    return [f"{line}|{drug}" for line, drug in zip(names, drugs, strict=True)], subsets
