"""Which cells of a task are for training, validation and test; pairs are divided in splits/pairs.py.

The test subset is chosen first, by the seed and the share `test` alone. So a task with 80 % and one with 5 % for
training are measured on the same cells.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from celllm.base.errors import InputError
from celllm.config.tables import Task

MIN_CLASS_SIZE = 3
"""Cells a class needs to be in training, validation and test."""


def wrong(task: Task, columns: str, expected: str, found: str, remedy: str) -> InputError:
    """Say that a task's row cannot be carried out, and by which columns it is mended."""
    field = f"{columns} of {task.task}"
    return InputError(file="config/tasks.tsv", field=field, expected=expected, found=found, remedy=remedy)


def stratified(labels: NDArray[np.str_], units: Sequence[str], task: Task, *, seed: int) -> NDArray[np.str_]:
    """Return the subset of each cell, so that each class has nearly the same share of every subset.

    Cells without a label (""), those of classes with fewer than `min_class_size` cells, and what the shares of the
    others leave over are `unused`. Every class has at least one training cell. The split follows the ids (`units`).

    InputError if fewer than two classes are large enough, or the classes are too many for the test subset.
    """
    usable, classes = _usable(labels, units, task)
    n_test, n_validation, n_train = subset_sizes(task, len(usable))
    if len(classes) < 2 or not len(classes) <= n_test <= len(usable) - len(classes):
        expected = "at least 2 classes, and at least as many cells as classes in the test subset and outside it"
        found = f"{len(classes)} classes of at least {_smallest(task)} labelled cells; "
        found += f"test has {n_test} of {len(usable)}"
        remedy = "lower min_class_size or change test, or check the dataset's label_column in config/datasets.tsv"
        raise wrong(task, "min_class_size, test", expected, found, remedy)
    rest, test = _draw(usable, n_test, labels, seed)
    return _divided(labels, test, rest, classes, n_train=n_train, n_validation=n_validation, seed=seed)


def by_donor(
    labels: NDArray[np.str_], donors: NDArray[np.str_], units: Sequence[str], task: Task, *, seed: int
) -> NDArray[np.str_]:
    """Test one donor's cells; train and choose on those of the others.

    A class that only the tested donor has stays in the test subset: no method can know it, and it counts as missed.
    Cells of no known donor ("") are `unused`. `seed` is the position of the tested donor among the donors with usable
    cells, sorted by name, from 0; and the random seed.

    InputError if there are fewer donors, or fewer than two classes or too few cells to train on.
    """
    usable, classes = _usable(np.where(donors == "", "", labels), units, task)
    names = np.unique(donors[usable])
    if len(names) < 2 or seed >= len(names):
        listed, remedy = ", ".join(names) or "none", "correct split_seeds, or the dataset's donor_column or "
        expected, found = f"0-{len(names) - 1}, one a donor: {listed}", f"{seed}"
        if len(names) < 2:
            expected, found = "two donors or more", listed
        raise wrong(task, "split_seeds", expected, found, f"{remedy}sample_column in config/datasets.tsv")
    is_tested = donors[usable] == names[seed]
    rest = usable[~is_tested]
    known = [label for label in classes if label in labels[rest]]
    _, n_validation, n_train = subset_sizes(task, len(rest))
    if len(known) < 2 or n_validation + len(known) > len(rest):
        expected = "at least 2 classes among the cells of the other donors, and a training cell of each"
        found = f"{len(known)} classes, {len(rest)} cells, {n_validation} of them for validation"
        raise wrong(task, "train, validation", expected, found, "lower validation, or the task's min_class_size")
    return _divided(labels, usable[is_tested], rest, known, n_train=n_train, n_validation=n_validation, seed=seed)


def _smallest(task: Task) -> int:
    return max(task.min_class_size, MIN_CLASS_SIZE)


def _usable(labels: NDArray[np.str_], units: Sequence[str], task: Task) -> tuple[NDArray[np.int64], list[str]]:
    """Return the cells of classes that are large enough, in the order of their ids, and those classes."""
    found = dict(zip(*np.unique(labels, return_counts=True), strict=True))
    classes = [str(label) for label, size in found.items() if label != "" and size >= _smallest(task)]
    by_unit = np.argsort(np.asarray(units, dtype=str), kind="stable")
    return by_unit[np.isin(labels[by_unit], classes)], classes


def _divided(
    labels: NDArray[np.str_],
    test: NDArray[np.int64],
    rest: NDArray[np.int64],
    classes: Sequence[str],
    *,
    n_train: int,
    n_validation: int,
    seed: int,
) -> NDArray[np.str_]:
    """Divide the rest into validation and training, a training cell for each class at least."""
    subsets = np.full(len(labels), "unused", dtype="<U10")
    subsets[test] = "test"
    if n_validation:
        rest, validation = _draw(rest, max(n_validation, len(classes)), labels, seed)
        subsets[validation] = "validation"
    rest, train = _draw(rest, max(n_train, len(classes)), labels, seed)
    subsets[train] = "train"
    _give_each_class_a_cell(subsets, rest, labels, classes, seed)
    return subsets


def subset_sizes(task: Task, n: int) -> tuple[int, int, int]:
    """Return how many of n units are for test, validation and training; shares that sum to 1 leave none over."""
    n_test, n_validation = round(task.test * n), round(task.validation * n)
    whole = abs(task.train + task.validation + task.test - 1) < 1e-9
    return n_test, n_validation, n - n_test - n_validation if whole else round(task.train * n)


def _draw(
    rows: NDArray[np.int64], n: int, labels: NDArray[np.str_], seed: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return (left, drawn), `drawn` being `n` rows, stratified; all rows where none would be left."""
    from sklearn.model_selection import train_test_split

    n_left = len(rows) - n
    if n_left <= 0:
        return rows[:0], rows
    names, n_cells = np.unique(labels[rows], return_counts=True)
    if n_left < len(names) or n_cells.min() < 2:
        # scikit-learn demands of stratification that every class can be on both sides
        order = np.random.default_rng(seed).permutation(rows)
        return order[:n_left], order[n_left:]
    left, drawn = train_test_split(rows, test_size=n, stratify=labels[rows], random_state=seed)
    return left, drawn


def _give_each_class_a_cell(
    subsets: NDArray[np.str_], rest: NDArray[np.int64], labels: NDArray[np.str_], classes: Sequence[str], seed: int
) -> None:
    """Where a class has no training cell, swap one of its unused cells for one of the commonest training class."""
    generator = np.random.default_rng(seed)
    for label in classes:
        train = np.flatnonzero(subsets == "train")
        if label in labels[train]:
            continue
        candidates = rest[labels[rest] == label]
        if not len(candidates):  # all of them are in validation
            candidates = np.flatnonzero((subsets == "validation") & (labels == label))
        names, n_cells = np.unique(labels[train], return_counts=True)
        commonest = train[labels[train] == names[n_cells.argmax()]]
        chosen, replaced = generator.choice(candidates), generator.choice(commonest)
        subsets[replaced] = subsets[chosen]
        subsets[chosen] = "train"
