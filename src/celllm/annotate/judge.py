"""Which way of labelling does best on a reference, by cross-validation: no user is to get less than the cheap one.

Shapes: N cells, F features, K classes.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from celllm.annotate.head import Features, LinearHead, Views, calibrated, of_fitted
from celllm.base.errors import InputError
from celllm.base.interval import Mean, mean_over

Way = Literal["embedding", "joined", "pca", "genes"]
WAYS: Final[dict[Way, tuple[tuple[Features, ...], str]]] = {
    "embedding": (("embedding",), "logistic regression on the embedding"),
    "joined": (("embedding", "genes"), "logistic regression on embedding and components"),
    "pca": (("genes",), "logistic regression on 50 principal components"),
    "genes": (("genes",), "logistic regression on all genes"),
}
"""Ways of labelling: what each sees, and what it is called."""
N_FOLDS, N_COMPONENTS = 5, 50
MAX_JUDGED = 10_000
"""Cells of the reference that are cross-validated, drawn at random; all of them are taught in the end."""


@dataclass(frozen=True)
class Reference:
    """Labelled cells, in the views that the ways see; donors where they are known."""

    views: Views
    labels: NDArray[np.str_]
    donors: NDArray[np.str_] | None = None


@dataclass(frozen=True)
class Judgement:
    """Cross-validation of one way: macro-F1 of each fold, and what it said of each cell when it was held out."""

    way: Way
    scores: tuple[float, ...]
    rows: NDArray[np.int64]
    probabilities_NK: NDArray[np.float64]

    @property
    def interval(self) -> tuple[float, float, float]:
        """Mean macro-F1 over the folds and its 95 % interval."""
        found = _over_folds(self.scores)
        return found.value, *found.interval((0, 1), n_units=len(self.rows) / len(self.scores))

    def gain(self, before: Judgement) -> tuple[float, float, float]:
        """Mean difference from a judgement of the same folds, and its 95 % interval."""
        found = _over_folds(np.subtract(self.scores, before.scores).tolist())
        return found.value, *found.interval()


def _over_folds(values: Sequence[float]) -> Mean:
    n = len(values)
    return mean_over(values, [math.nan] * n, test=1 / n, train=1 - 1 / n)


def check(reference: Reference, *, file: str) -> tuple[Reference, dict[str, int]]:
    """Take cells of known donors, of classes with cells for every fold; return also the sizes of the other classes.

    InputError if fewer than two classes are left, or there are fewer than two donors.
    """
    names, sizes = np.unique(reference.labels[reference.labels != ""], return_counts=True)
    small = {str(name): int(size) for name, size in zip(names, sizes, strict=True) if size < N_FOLDS}
    is_kept = (reference.labels != "") & ~np.isin(reference.labels, list(small))
    if reference.donors is not None:
        is_kept &= reference.donors != ""
    kept = np.flatnonzero(is_kept)
    donors = None if reference.donors is None else reference.donors[kept]
    classes = np.unique(reference.labels[kept])
    fault: tuple[str, str, str, str] | None = None
    if len(classes) < 2:
        found = ", ".join(f"{name} ({size})" for name, size in zip(names[:10], sizes[:10], strict=True)) or "no label"
        found += f" and {len(names) - 10:,} more" if len(names) > 10 else ""
        fault = ("labels", f"two classes of at least {N_FOLDS} cells", found, "name another column with --labels")
    elif donors is not None and not 2 <= len(np.unique(donors)) <= len(donors) / 2:
        remedy = "name another column with --donors, or none: cells are then held out at random"
        said = ", ".join(np.unique(donors)[:5])
        found = f"{len(np.unique(donors)):,} in {len(donors):,} cells: {said}" if said else "no donor"
        fault = ("donors", "two donors or more, of several cells each", found, remedy)
    if fault is not None:
        raise InputError(file=file, field=fault[0], expected=fault[1], found=fault[2], remedy=fault[3])
    views = {name: view[kept] for name, view in reference.views.items()}
    return Reference(views, reference.labels[kept], donors), small


def judge(reference: Reference, *, ways: Sequence[Way]) -> list[Judgement]:
    """Cross-validate ways of labelling on the same folds of a reference as `check` leaves it.

    Donors are held out whole where they are known.
    """
    from sklearn.metrics import f1_score

    classes = np.unique(reference.labels)
    folds = list(folds_of(reference))
    found = []
    for way in ways:
        scores, rows, probabilities = [], [], []
        for train, test in tqdm(folds, desc=f"judge {way}", unit=" folds", disable=None):
            head = taught(reference, train, way)
            known_NK = head.probabilities({name: reference.views[name][test] for name in head.weights})
            all_NK = np.zeros((len(test), len(classes)))
            all_NK[:, np.searchsorted(classes, np.array(head.classes))] = known_NK
            truth, said = reference.labels[test], classes[all_NK.argmax(axis=1)]
            scores.append(float(f1_score(truth, said, labels=np.unique(truth), average="macro", zero_division=0)))
            rows.append(test)
            probabilities.append(all_NK)
        found.append(Judgement(way, tuple(scores), np.concatenate(rows), np.concatenate(probabilities)))
    return found


def best(found: list[Judgement]) -> Judgement:
    """Return the way of highest mean macro-F1; of equals the first."""
    return max(found, key=lambda judgement: judgement.interval[0])


def taught(reference: Reference, rows: NDArray[np.int64], way: Way) -> LinearHead:
    """Teach some cells in one way; its principal components are those of these cells."""
    from sklearn.decomposition import PCA
    from sklearn.linear_model import LogisticRegression
    from sklearn.preprocessing import StandardScaler

    steps: dict[Features, Any] = {}
    seen: list[Any] = []
    for features in WAYS[way][0]:
        view = reference.views[features][rows]
        step = None
        if features == "embedding":
            step = StandardScaler()
        elif way != "genes":
            step = PCA(min(N_COMPONENTS, min(view.shape) - 1), svd_solver="arpack", random_state=0)
        seen.append(view if step is None else step.fit_transform(view))
        steps[features] = step
    together = seen[0] if len(seen) == 1 else np.hstack(seen)
    return of_fitted(LogisticRegression(max_iter=1000).fit(together, reference.labels[rows]), steps)


def finished(reference: Reference, judgement: Judgement) -> LinearHead:
    """Teach all cells in the judged way, calibrated by what it said of them when they were held out."""
    head = taught(reference, np.arange(len(reference.labels)), judgement.way)
    return calibrated(head, judgement.probabilities_NK, reference.labels[judgement.rows])


def folds_of(reference: Reference) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Yield rows to teach and rows to ask."""
    from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold, train_test_split

    rows = np.arange(len(reference.labels))
    if len(rows) > MAX_JUDGED:
        rows, _ = train_test_split(rows, train_size=MAX_JUDGED, stratify=reference.labels, random_state=0)
    labels = reference.labels[rows]
    if reference.donors is None:
        drawn = StratifiedKFold(N_FOLDS, shuffle=True, random_state=0).split(rows, labels)
    else:
        donors = reference.donors[rows]
        n_folds = min(N_FOLDS, len(np.unique(donors)))
        drawn = StratifiedGroupKFold(n_folds, shuffle=True, random_state=0).split(rows, labels, donors)
    for train, test in drawn:
        if len(np.unique(labels[train])) > 1 and len(test):
            yield rows[train], rows[test]
