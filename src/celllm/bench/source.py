"""Whether a view of cells knows the tumour or the data set, and what a wrong label rule teaches.

Shapes: N cells, D numbers of a view.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from celllm.bench.methods import probe
from celllm.bench.methods.probe import Rows
from celllm.bench.metrics import classification_metrics
from celllm.pretrain.losses import UNKNOWN

NAMES = np.array(["normal", "tumour"])
"""What is_malignant 0 and 1 are called."""
MAJORITY = "majority class"
GROUP_ALONE = "data set alone"
DATASET, TUMOUR, UNSEEN = "data set", "tumour", "tumour, data set never seen"


@dataclass(frozen=True)
class CorpusCells:
    """Cells of the corpus as the audit sees them.

    Parameters
    ----------
    views
        By name: N x D numbers.
    dataset
        Name of each cell's data set.
    is_malignant
        1 tumour, 0 normal, -1 unknown, as annotation of cells or samples has it: taken as the truth.
    by_source
        The same as the label rule `by_source` has it: one label a data set.
    """

    views: Mapping[str, NDArray[np.float64]]
    dataset: NDArray[np.str_]
    is_malignant: NDArray[np.int8]
    by_source: NDArray[np.int8]


@dataclass(frozen=True)
class Answer:
    """How well one view answers one question on cells it was not taught.

    Parameters
    ----------
    question
        What was asked.
    view
        What it was asked of, or who answers without looking at the cell.
    n_train, n_test
        Cells taught and cells asked about.
    metrics
        accuracy, macro_f1, auroc.
    """

    question: str
    view: str
    n_train: int
    n_test: int
    metrics: Mapping[str, float]


def answers(cells: CorpusCells, *, train: Rows, test: Rows) -> Iterator[Answer]:
    """Ask for the data set, for the tumour, and for the tumour in data sets that the probe never saw.

    A question that has one answer only, such as the data set of a corpus of one, is not asked.
    """
    n_cells = len(cells.dataset)
    everyone = np.full(n_cells, "all")
    is_known = cells.is_malignant != UNKNOWN
    tumour = np.where(is_known, NAMES[np.clip(cells.is_malignant, 0, 1)], "")
    for question, labels, asked, groups in (
        (DATASET, cells.dataset, np.ones(n_cells, dtype=bool), {MAJORITY: everyone}),
        (TUMOUR, tumour, is_known, {MAJORITY: everyone, GROUP_ALONE: cells.dataset}),
    ):
        taught, held_out = train[asked[train]], test[asked[test]]
        if len(np.unique(labels[taught])) < 2:
            continue
        for name, group in groups.items():
            metrics = probe.scored_by_group(group, labels, train=taught, test=held_out)
            yield Answer(question, name, len(taught), len(held_out), metrics)
        for name, view_ND in cells.views.items():
            metrics = probe.scored(probe.fit(view_ND, labels, taught), view_ND, labels, held_out)
            yield Answer(question, name, len(taught), len(held_out), metrics)
    yield from _unseen(cells, tumour, np.flatnonzero(is_known))


def _unseen(cells: CorpusCells, tumour: NDArray[np.str_], known: Rows) -> Iterator[Answer]:
    nothing = np.zeros((len(cells.dataset), 1))  # teaches a probe the commonest label
    for name, view_ND in {MAJORITY: nothing, **cells.views}.items():
        rows, said = probe.predicted_by_others(view_ND[known], tumour[known], cells.dataset[known])
        if not len(rows):
            return
        certain = (said[:, None] == NAMES).astype(float)
        metrics = classification_metrics(tumour[known][rows], said, classes=NAMES.tolist(), scores=certain)
        # probes that were taught other cells have no common scale of scores
        yield Answer(UNSEEN, name, len(known), len(rows), {**metrics, "auroc": float("nan")})


@dataclass(frozen=True)
class Taught:
    """What a tumour probe says about cells that a label rule gets wrong, and about the others.

    Parameters
    ----------
    rule
        `by_source` or `metadata`: whose labels it was taught.
    view
        What it sees of a cell.
    n_train, n_wrong_in_train
        Cells taught, and how many of them `by_source` labels wrongly.
    n_wrong, n_right
        Held-out cells that `by_source` labels wrongly, and the others.
    accuracy_on_wrong, accuracy_on_right
        Against the truth.
    """

    rule: str
    view: str
    n_train: int
    n_wrong_in_train: int
    n_wrong: int
    n_right: int
    accuracy_on_wrong: float
    accuracy_on_right: float


def taught_by_rules(cells: CorpusCells, *, train: Rows, test: Rows) -> Iterator[Taught]:
    """Teach probes the labels of either rule on the same cells, those that both rules label.

    Nothing comes where `by_source` has one label only, or is never wrong.
    """
    has_both = (cells.is_malignant != UNKNOWN) & (cells.by_source != UNKNOWN)
    is_wrong = has_both & (cells.is_malignant != cells.by_source)
    truth = NAMES[np.clip(cells.is_malignant, 0, 1)]
    taught, held_out = train[has_both[train]], test[has_both[test]]
    wrong, right = held_out[is_wrong[held_out]], held_out[~is_wrong[held_out]]
    if len(np.unique(cells.by_source[taught])) < 2 or not len(wrong):
        return
    for rule, labels in (("by_source", NAMES[np.clip(cells.by_source, 0, 1)]), ("metadata", truth)):
        for name, view_ND in cells.views.items():
            made = probe.fit(view_ND, labels, taught)
            accuracies = [float((made.predict(view_ND[rows]) == truth[rows]).mean()) for rows in (wrong, right)]
            yield Taught(rule, name, len(taught), int(is_wrong[taught].sum()), len(wrong), len(right), *accuracies)
