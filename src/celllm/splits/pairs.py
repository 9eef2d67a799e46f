"""Which pairs of cell line and drug are for training, validation and test: four questions, four rules.

`pairs`: an unmeasured pair of a known line and a known drug. `lines`: a new line. `drugs`: a new drug. `both`: a new
line and a new drug at once. What is divided (pairs, lines, drugs) is sorted by name before it is shuffled, so neither
the order of the pairs nor the process's hash seed matters.

Shapes: P pairs.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from celllm.base.errors import InputError
from celllm.config.tables import Task
from celllm.splits.cells import part_sizes
from celllm.splits.units import Pairs


def divide(pairs: Pairs, task: Task, *, seed: int, file: Path | str) -> NDArray[np.str_]:
    """Divide the pairs of a task by its rule.

    Drugs are told apart by their structure: a compound that was screened under two names is one drug, and is held
    out whole.

    Parameters
    ----------
    pairs
        All pairs of the task.
    task
        Its split rule and shares.
    seed
        Of the draw.
    file
        The table of tasks, named in errors.

    Returns
    -------
    The part of each pair: `train`, `validation`, `test` or `unused`.

    Raises
    ------
    InputError
        If the rule is none for pairs, or a part that has a share gets nothing.
    """
    lines = np.asarray(pairs.line_ids, dtype=str)[pairs.line]
    drugs = np.asarray(pairs.drugs, dtype=str)[pairs.drug]
    structures = np.asarray(pairs.smiles, dtype=str)[pairs.drug]
    if task.split == "pairs":
        return over_pairs(lines, drugs, task, seed=seed, file=file)
    if task.split == "lines":
        return over_lines(lines, task, seed=seed, file=file)
    if task.split == "drugs":
        return over_drugs(structures, task, seed=seed, file=file)
    if task.split == "both":
        return over_both(lines, structures, task, seed=seed, file=file)
    raise InputError(
        file=file,
        field=f"split of {task.task}",
        expected="pairs, lines, drugs or both, since the task has responses",
        found=task.split,
        remedy="correct the task's column split, or take its response away",
    )


def over_pairs(
    lines: Sequence[str] | NDArray[np.str_],
    drugs: Sequence[str] | NDArray[np.str_],
    task: Task,
    *,
    seed: int,
    file: Path | str,
) -> NDArray[np.str_]:
    """Divide pairs at random: a line of the test part is met in training with other drugs, and a drug with other lines.

    Parameters
    ----------
    lines, drugs
        Of each pair; no pair twice.
    task
        Its shares, here of the pairs.
    seed
        Of the draw.
    file
        The table of tasks, named in errors.

    Returns
    -------
    The part of each pair.
    """
    order = np.lexsort((np.asarray(drugs, dtype=str), np.asarray(lines, dtype=str)))
    parts = np.empty(len(order), dtype="<U10")
    parts[order] = _shuffled(len(order), task, seed=seed, of="pairs", file=file)
    return parts


def over_lines(
    lines: Sequence[str] | NDArray[np.str_],
    task: Task,
    *,
    seed: int,
    file: Path | str,
) -> NDArray[np.str_]:
    """Divide whole cell lines at random: a line of the test part is never met in training.

    Parameters
    ----------
    lines
        The line of each pair.
    task
        Its shares, here of the lines.
    seed, file
        As of `over_pairs`.

    Returns
    -------
    The part of each pair: that of its line.
    """
    return _whole(lines, task, seed=seed, of="cell lines", file=file)


def over_drugs(
    drugs: Sequence[str] | NDArray[np.str_],
    task: Task,
    *,
    seed: int,
    file: Path | str,
) -> NDArray[np.str_]:
    """Divide whole drugs at random: a drug of the test part is never met in training.

    Parameters
    ----------
    drugs
        The drug of each pair, by name or by structure.
    task
        Its shares, here of the drugs.
    seed, file
        As of `over_pairs`.

    Returns
    -------
    The part of each pair: that of its drug.
    """
    return _whole(drugs, task, seed=seed, of="drugs", file=file)


def over_both(
    lines: Sequence[str] | NDArray[np.str_],
    drugs: Sequence[str] | NDArray[np.str_],
    task: Task,
    *,
    seed: int,
    file: Path | str,
) -> NDArray[np.str_]:
    """Divide lines and drugs at random: a test pair has a test line and a test drug, neither met in training.

    A training pair has a training line and a training drug, and a validation pair a validation line and a validation
    drug, so that what is chosen on validation is chosen for the question that the test asks. All other pairs are
    `unused`: of a share of 0.7, 0.1 and 0.2 nearly half of the pairs are for training, 1 % for validation, 4 % for
    test.

    Parameters
    ----------
    lines, drugs
        Of each pair; drugs by name or by structure.
    task
        Its shares, of the lines and again of the drugs.
    seed, file
        As of `over_pairs`.

    Returns
    -------
    The part of each pair.

    Raises
    ------
    InputError
        Also if no pair is left for a part, which a sparse table can bring about.
    """
    by_line = over_lines(lines, task, seed=seed, file=file)
    by_drug = over_drugs(drugs, task, seed=seed, file=file)
    parts = np.where(by_line == by_drug, by_line, "unused")
    for part, share in _shares(task).items():
        if share > 0 and not (parts == part).any():
            raise InputError(
                file=file,
                field=f"{part} of {task.task}",
                expected="at least one pair whose line and whose drug are both in this part",
                found=f"{int((by_line == part).sum())} pairs of its lines, {int((by_drug == part).sum())} of its drugs",
                remedy=f"raise the task's share {part}",
            )
    return parts


def _whole(
    names: Sequence[str] | NDArray[np.str_],
    task: Task,
    *,
    seed: int,
    of: str,
    file: Path | str,
) -> NDArray[np.str_]:
    """Divide the different names, and give each pair the part of its name."""
    different, of_pair = np.unique(np.asarray(names, dtype=str), return_inverse=True)
    return _shuffled(len(different), task, seed=seed, of=of, file=file)[of_pair]


def _shuffled(n: int, task: Task, *, seed: int, of: str, file: Path | str) -> NDArray[np.str_]:
    """Divide n things at random."""
    n_test, n_validation, n_train = part_sizes(task, n)
    sizes = {"train": n_train, "validation": n_validation, "test": n_test}
    for part, share in _shares(task).items():
        if share > 0 and sizes[part] < 1:
            raise InputError(
                file=file,
                field=f"{part} of {task.task}",
                expected=f"at least one of the {of}",
                found=f"none: the share {share:g} of {n}",
                remedy=f"raise the task's share {part}, choose another split rule, or give more {of}",
            )
    order = np.random.default_rng(seed).permutation(n)
    parts = np.full(n, "unused", dtype="<U10")
    parts[order[:n_test]] = "test"
    parts[order[n_test : n_test + n_validation]] = "validation"
    parts[order[n_test + n_validation :][:n_train]] = "train"
    return parts


def _shares(task: Task) -> dict[str, float]:
    return {"train": task.train, "validation": task.validation, "test": task.test}
