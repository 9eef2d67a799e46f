"""Which cells of a task are for training, validation and test; pairs are divided in pair_splits.

The test part is drawn first, from the seed and the share `test` alone. So a task with 80 % and one with 5 % for
training are measured on the same cells.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from sklearn.model_selection import train_test_split

from celllm.contracts.tables import Task
from celllm.errors import InputError

SMALLEST_CLASS = 3
"""Cells a class needs to be in training, validation and test."""


def stratified(
    labels: NDArray[np.str_],
    units: Sequence[str],
    task: Task,
    *,
    seed: int,
    file: Path | str,
) -> NDArray[np.str_]:
    """Divide cells so that each class has nearly the same share of every part.

    Cells without a label, and those of classes with fewer than `min_class_size` cells, are `unused`. The shares
    refer to the others. What the shares leave over is `unused` too: a few-shot task has train 0.05, validation 0,
    test 0.2. Every class has at least one training cell.

    Parameters
    ----------
    labels
        One a cell; "" where there is none.
    units
        Ids of the cells. The split follows the ids, not the order they come in.
    task
        Its shares and its min_class_size.
    seed
        Of the draw.
    file
        The table of tasks, named in errors.

    Returns
    -------
    The part of each cell: `train`, `validation`, `test` or `unused`.

    Raises
    ------
    InputError
        If fewer than two classes are large enough, or the classes are too many for the test part.
    """
    sizes = dict(zip(*np.unique(labels, return_counts=True), strict=True))
    smallest = max(task.min_class_size, SMALLEST_CLASS)
    classes = [str(label) for label, size in sizes.items() if label != "" and size >= smallest]
    by_unit = np.argsort(np.asarray(units, dtype=str), kind="stable")
    usable = by_unit[np.isin(labels[by_unit], classes)]
    n_test, n_validation, n_train = part_sizes(task, len(usable))
    if len(classes) < 2 or not len(classes) <= n_test <= len(usable) - len(classes):
        raise InputError(
            file=file,
            field=f"min_class_size, test of {task.task}",
            expected="at least 2 classes, and at least as many cells as classes in the test part and outside it",
            found=f"{len(classes)} classes of at least {smallest} labelled cells; test has {n_test} of {len(usable)}",
            remedy="lower min_class_size or change test, or check the dataset's label_column in config/datasets.tsv",
        )
    parts = np.full(len(labels), "unused", dtype="<U10")
    rest, test = train_test_split(usable, test_size=n_test, stratify=labels[usable], random_state=seed)
    parts[test] = "test"
    if n_validation:
        rest, validation = _draw(rest, max(n_validation, len(classes)), labels, seed)
        parts[validation] = "validation"
    rest, train = _draw(rest, max(n_train, len(classes)), labels, seed)
    parts[train] = "train"
    _give_each_class_a_cell(parts, rest, labels, classes, np.random.default_rng(seed))
    return parts


def part_sizes(task: Task, n: int) -> tuple[int, int, int]:
    """Return how many of n units are for test, validation and training; shares that sum to 1 leave none over."""
    n_test, n_validation = round(task.test * n), round(task.validation * n)
    whole = abs(task.train + task.validation + task.test - 1) < 1e-9
    return n_test, n_validation, n - n_test - n_validation if whole else round(task.train * n)


def _draw(
    rows: NDArray[np.int64],
    n: int,
    labels: NDArray[np.str_],
    seed: int,
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return (left, drawn), `drawn` being `n` rows, stratified; all rows if none, or too few to divide, stay over."""
    n_left = len(rows) - n
    if n_left <= 0:
        return rows[:0], rows
    names, sizes = np.unique(labels[rows], return_counts=True)
    if n_left < len(names) or sizes.min() < 2:
        # scikit-learn demands of stratification that every class can be on both sides
        order = np.random.default_rng(seed).permutation(rows)
        return order[:n_left], order[n_left:]
    left, drawn = train_test_split(rows, test_size=n, stratify=labels[rows], random_state=seed)
    return left, drawn


def _give_each_class_a_cell(
    parts: NDArray[np.str_],
    rest: NDArray[np.int64],
    labels: NDArray[np.str_],
    classes: Sequence[str],
    generator: np.random.Generator,
) -> None:
    """Where a class has no training cell, swap one of its unused cells for one of the commonest training class."""
    for label in classes:
        train = np.flatnonzero(parts == "train")
        if label in labels[train]:
            continue
        candidates = rest[labels[rest] == label]
        if not len(candidates):  # all of them are in validation
            candidates = np.flatnonzero((parts == "validation") & (labels == label))
        names, sizes = np.unique(labels[train], return_counts=True)
        commonest = train[labels[train] == names[sizes.argmax()]]
        chosen, replaced = generator.choice(candidates), generator.choice(commonest)
        parts[replaced] = parts[chosen]
        parts[chosen] = "train"
