"""Controls of the classification tasks: a trivial rule, one that must win and one that must lose.

If the one that sees the answers does not win, or the one taught nonsense does not lose, then the
benchmark is broken, and no other number of it can be believed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from scipy import sparse

from celllm.bench.method import Classifier, labelled
from celllm.bench.methods.estimators import SklearnClassifier
from celllm.splits.units import Cells


class MajorityClass(Classifier):
    """Says the commonest class of the training subset of every cell; the scores are the classes' shares."""

    def fit(self, cells: Cells, train: np.ndarray, validation: np.ndarray) -> None:
        labels = labelled(cells, train)
        self.classes_, counts = np.unique(labels, return_counts=True)
        self._shares = counts / counts.sum()

    def predict(self, cells: Cells, rows: np.ndarray) -> np.ndarray:
        return np.tile(self._shares, (len(rows), 1))


class LogisticRegressionOnGenes(SklearnClassifier):
    """What both controls are: the linear reference, taught or shown something else."""

    def __init__(self, options: Mapping[str, Any], **made_with: Any) -> None:  # noqa: ANN401 - as of BenchMethod
        from sklearn.linear_model import LogisticRegression  # takes seconds, and the trivial rule needs none

        super().__init__(LogisticRegression, {"max_iter": 1000, **options}, **made_with)


class LeakedLabels(LogisticRegressionOnGenes):
    """Must win: logistic regression that is also shown the label, in the test subset too."""

    sees_test_labels = True

    # Log-normalised genes reach about 8; a larger feature is worth its penalty at once.
    SCALE = 10.0

    def features(self, cells: Cells, rows: np.ndarray) -> sparse.csr_matrix:
        """Return the genes and, beside them, one column a class with 10 where it is the cell's."""
        known = np.array(sorted(set(cells.labels) - {""}), dtype=str)
        leaked = sparse.csr_matrix((cells.labels[rows][:, None] == known[None, :]) * self.SCALE)
        return sparse.csr_matrix(sparse.hstack([super().features(cells, rows), leaked]))


class ShuffledLabels(LogisticRegressionOnGenes):
    """Must lose: logistic regression taught the training labels in another order."""

    def targets(self, labels: np.ndarray) -> np.ndarray:
        """Return the labels, permuted by the method's seed."""
        return np.random.default_rng(self.seed).permutation(labels)
