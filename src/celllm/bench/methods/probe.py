"""A linear probe: what a frozen view of cells says about a question, beside who knows nothing of the cell.

Shapes: N cells, D numbers of a view.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from celllm.bench.metrics import classification_metrics

MOST_ITERATIONS = 2000
"""Of lbfgs; the probe of the annotation task stops there too."""
Rows = NDArray[np.int64]


def halves(strata: NDArray[np.str_], *, test_share: float, seed: int) -> tuple[Rows, Rows]:
    """Divide cells into a training and a held-out part, each stratum by itself; rows ascending.

    Parameters
    ----------
    strata
        What must be alike in both parts, one a cell.
    test_share
        Share of each stratum that is held out, rounded; a stratum of one cell is for training.
    seed
        Of the draw.
    """
    generator = np.random.default_rng(seed)
    is_held_out = np.zeros(len(strata), dtype=bool)
    for name in np.unique(strata):
        rows = np.flatnonzero(strata == name)
        n_held_out = min(round(test_share * len(rows)), len(rows) - 1)
        is_held_out[generator.permutation(rows)[:n_held_out]] = True
    return np.flatnonzero(~is_held_out), np.flatnonzero(is_held_out)


def fit(view_ND: NDArray[np.float64], labels: NDArray[np.str_], rows: Rows) -> Pipeline:
    """Teach a logistic regression (C = 1) the labels of some rows, each number of the view brought to unit variance."""
    probe = make_pipeline(StandardScaler(), LogisticRegression(max_iter=MOST_ITERATIONS))
    return probe.fit(view_ND[rows], labels[rows])


def scored(probe: Pipeline, view_ND: NDArray[np.float64], labels: NDArray[np.str_], rows: Rows) -> Mapping[str, float]:
    """Score a probe on rows it was not taught: accuracy, macro_f1, auroc and others."""
    return classification_metrics(
        labels[rows],
        probe.predict(view_ND[rows]),
        classes=[str(name) for name in probe.classes_],
        scores=probe.predict_proba(view_ND[rows]),
    )


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
    return classification_metrics(
        labels[test], classes[scores.argmax(axis=1)], classes=[str(name) for name in classes], scores=scores
    )


def predicted_by_others(
    view_ND: NDArray[np.float64], labels: NDArray[np.str_], groups: NDArray[np.str_]
) -> tuple[Rows, NDArray[np.str_]]:
    """Predict the labels of each group by a probe that was taught all groups but this one.

    Returns
    -------
    Rows that were predicted, and what was predicted. A group is passed over where the others have one label only.
    """
    rows, answers = [np.empty(0, dtype=np.int64)], [np.empty(0, dtype=labels.dtype)]
    for group in np.unique(groups):
        others, own = np.flatnonzero(groups != group), np.flatnonzero(groups == group)
        if len(np.unique(labels[others])) < 2:
            continue
        rows.append(own)
        answers.append(fit(view_ND, labels, others).predict(view_ND[own]))
    return np.concatenate(rows), np.concatenate(answers)
