"""Which pairs of cell line and drug are for training, validation and test: four questions, four rules.

`pairs`: an unmeasured pair of a known line and a known drug. `lines`: a new line. `drugs`: a new drug. `both`: a new
line and a new drug at once. What is divided (pairs, lines, drugs) is sorted by name before it is shuffled, so neither
the order of the pairs nor the process's hash seed matters.

Shapes: P pairs.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from celllm.config.tables import Task
from celllm.splits.cells import subset_sizes, wrong


def divide(
    lines: NDArray[np.str_], drugs: NDArray[np.str_], structures: NDArray[np.str_], task: Task, *, seed: int
) -> NDArray[np.str_]:
    """Return the subset of each pair, by the task's rule; whole lines or drugs where the rule names them.

    Under `both` line and drug of a pair are of the same subset, and all other pairs `unused`: of shares of 0.7, 0.1 and
    0.2 nearly half of the pairs are for training, 1 % for validation, 4 % for test. A compound that was screened under
    two names is one drug under every rule: `structures` has one text a compound, as `splits.compounds` gives it.

    InputError if a subset that has a share gets nothing.
    """
    if task.split == "pairs":
        known = sorted(zip(drugs.tolist(), structures.tolist(), strict=True), reverse=True)
        name_of = {structure: drug for drug, structure in known}
        first = np.array([name_of[structure] for structure in structures.tolist()], dtype=str)
        # the separator is below all letters, so pairs are sorted by line, then by the first name of the compound
        return _whole(np.strings.add(np.strings.add(lines, "\1"), first), task, seed=seed, of="pairs")
    if task.split == "lines":
        return _whole(lines, task, seed=seed, of="cell lines")
    by_drug = _whole(structures, task, seed=seed, of="drugs")
    if task.split == "drugs":
        return by_drug
    by_line = _whole(lines, task, seed=seed, of="cell lines")
    subsets = np.where(by_line == by_drug, by_line, "unused")
    for subset, share in _shares(task).items():
        if share > 0 and not (subsets == subset).any():  # of a sparse table
            expected = "at least one pair whose line and whose drug are both in this subset"
            found = f"{(by_line == subset).sum()} pairs of its lines, {(by_drug == subset).sum()} of its drugs"
            raise wrong(task, subset, expected, found, f"raise the task's share {subset}")
    return subsets


def _whole(names: NDArray[np.str_], task: Task, *, seed: int, of: str) -> NDArray[np.str_]:
    """Divide the different names at random, and give each pair the subset of its name."""
    different, of_pair = np.unique(names, return_inverse=True)
    n = len(different)
    n_test, n_validation, n_train = subset_sizes(task, n)
    for (subset, share), size in zip(_shares(task).items(), (n_train, n_validation, n_test), strict=True):
        if share > 0 and size < 1:
            found = f"none: the share {share:g} of {n}"
            remedy = f"raise the task's share {subset}, choose another split rule, or give more {of}"
            raise wrong(task, subset, f"at least one of the {of}", found, remedy)
    order = np.random.default_rng(seed).permutation(n)
    subsets = np.full(n, "unused", dtype="<U10")
    subsets[order[:n_test]] = "test"
    subsets[order[n_test : n_test + n_validation]] = "validation"
    subsets[order[n_test + n_validation :][:n_train]] = "train"
    return subsets[of_pair]


def _shares(task: Task) -> dict[str, float]:
    return {"train": task.train, "validation": task.validation, "test": task.test}
