"""Whether a view of cells knows the tumour or only the data set (batch confounding), asked by linear probes.

A probe's answers stand beside those of whoever knows nothing of the cell. Shapes: N cells, D numbers of a view.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from celllm.bench.metrics import classification_metrics
from celllm.pretrain.losses import UNKNOWN

MAX_ITERATIONS = 2000
"""Of lbfgs; the probe of the annotation task stops there too."""
NAMES = np.array(["normal", "tumour"])
"""What is_malignant 0 and 1 are called."""
MAJORITY = "majority class"
GROUP_ALONE = "data set alone"
DATASET, TUMOUR, UNSEEN = "data set", "tumour", "tumour, data set never seen"
Rows = NDArray[np.int64]
Answer = dict[str, Any]
"""A row of the audit."""


def halves(strata: NDArray[np.str_], *, test_share: float, seed: int) -> tuple[Rows, Rows]:
    """Divide cells into a training and a held-out part, each stratum by itself; rows ascending.

    `test_share` of each stratum is held out, rounded; a stratum of one cell is for training.
    """
    generator = np.random.default_rng(seed)
    is_held_out = np.zeros(len(strata), dtype=bool)
    for name in np.unique(strata):
        rows = np.flatnonzero(strata == name)
        n_held_out = min(round(test_share * len(rows)), len(rows) - 1)
        is_held_out[generator.permutation(rows)[:n_held_out]] = True
    return np.flatnonzero(~is_held_out), np.flatnonzero(is_held_out)


def fit_probe(view_ND: NDArray[np.float64], labels: NDArray[np.str_], rows: Rows) -> Pipeline:
    """Teach a logistic regression (C = 1) the labels of some rows, each number of the view brought to unit variance."""
    probe = make_pipeline(StandardScaler(), LogisticRegression(max_iter=MAX_ITERATIONS))
    return probe.fit(view_ND[rows], labels[rows])


def scored(probe: Pipeline, view_ND: NDArray[np.float64], labels: NDArray[np.str_], rows: Rows) -> Mapping[str, float]:
    """Score a probe on rows it was not taught: accuracy, macro_f1, auroc and others."""
    said, scores = probe.predict(view_ND[rows]), probe.predict_proba(view_ND[rows])
    return classification_metrics(labels[rows], said, classes=probe.classes_.tolist(), scores=scores)


def scored_by_group(
    groups: NDArray[np.str_], labels: NDArray[np.str_], *, train: Rows, test: Rows
) -> Mapping[str, float]:
    """Score who knows a cell's group and nothing else, and says the commonest training label of that group.

    With one group for all cells this is the majority class.
    """
    classes = np.unique(labels[train])
    shares = {
        group: np.array([(labels[train][groups[train] == group] == name).mean() for name in classes])
        for group in np.unique(groups[train])
    }
    scores = np.stack([shares[group] for group in groups[test]])
    return classification_metrics(labels[test], classes[scores.argmax(axis=1)], classes=classes.tolist(), scores=scores)


def predicted_by_others(
    view_ND: NDArray[np.float64], labels: NDArray[np.str_], groups: NDArray[np.str_]
) -> tuple[Rows, NDArray[np.str_]]:
    """Predict the labels of each group by a probe that was taught all groups but this one; return rows and answers.

    A group is passed over where the others have one label only.
    """
    rows, answers = [np.empty(0, dtype=np.int64)], [np.empty(0, dtype=labels.dtype)]
    for group in np.unique(groups):
        others, own = np.flatnonzero(groups != group), np.flatnonzero(groups == group)
        if len(np.unique(labels[others])) < 2:
            continue
        rows.append(own)
        answers.append(fit_probe(view_ND, labels, others).predict(view_ND[own]))
    return np.concatenate(rows), np.concatenate(answers)


@dataclass(frozen=True)
class CorpusCells:
    """Cells of the corpus as the audit sees them."""

    views: Mapping[str, NDArray[np.float64]]
    """By name: N x D numbers."""
    dataset: NDArray[np.str_]
    is_malignant: NDArray[np.int8]
    """1 tumour, 0 normal, -1 unknown, as annotation of cells or samples has it: taken as the truth."""
    by_source: NDArray[np.int8]
    """The same as the label rule `by_source` has it: one label a data set."""


def answers(cells: CorpusCells, *, train: Rows, test: Rows) -> Iterator[Answer]:
    """Ask for the data set, for the tumour, and for the tumour in data sets that the probe never saw.

    An answer has `question`, `view` (what was asked, or who answers without looking at the cell), `n_train`, `n_test`
    and the metrics on cells that were not taught. A question that has one answer only, such as the data set of a corpus
    of one, is not asked.
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
            metrics = scored_by_group(group, labels, train=taught, test=held_out)
            yield _answer(question, name, len(taught), len(held_out), metrics)
        for name, view_ND in cells.views.items():
            metrics = scored(fit_probe(view_ND, labels, taught), view_ND, labels, held_out)
            yield _answer(question, name, len(taught), len(held_out), metrics)
    yield from _unseen(cells, tumour, np.flatnonzero(is_known))


def _unseen(cells: CorpusCells, tumour: NDArray[np.str_], known: Rows) -> Iterator[Answer]:
    nothing = np.zeros((len(cells.dataset), 1))  # teaches a probe the commonest label
    for name, view_ND in {MAJORITY: nothing, **cells.views}.items():
        rows, said = predicted_by_others(view_ND[known], tumour[known], cells.dataset[known])
        if not len(rows):
            return
        certain = (said[:, None] == NAMES).astype(float)
        metrics = classification_metrics(tumour[known][rows], said, classes=NAMES.tolist(), scores=certain)
        # probes that were taught other cells have no common scale of scores
        yield _answer(UNSEEN, name, len(known), len(rows), {**metrics, "auroc": float("nan")})


def _answer(question: str, view: str, n_train: int, n_test: int, metrics: Mapping[str, float]) -> Answer:
    return {"question": question, "view": view, "n_train": n_train, "n_test": n_test, **metrics}


def taught_by_rules(cells: CorpusCells, *, train: Rows, test: Rows) -> Iterator[Answer]:
    """Teach probes the labels of either rule on the same cells, those that both rules label.

    Each is asked about held-out cells that `by_source` labels wrongly, and about the others; accuracies are against the
    truth. Nothing comes where `by_source` has one label only, or is never wrong.
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
            made = fit_probe(view_ND, labels, taught)
            sizes = {"n_train": len(taught), "n_wrong_in_train": int(is_wrong[taught].sum())}
            found: Answer = {"rule": rule, "view": name, **sizes}
            for what, rows in (("wrong", wrong), ("right", right)):
                accuracy = float((made.predict(view_ND[rows]) == truth[rows]).mean())
                found |= {f"n_{what}": len(rows), f"accuracy_on_{what}": accuracy}
            yield found
