"""Logistic regression on all genes: the anchor that any cell encoder has to beat."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from scipy import sparse
from sklearn.linear_model import LogisticRegression

from celllm.baselines.features import gene_features
from celllm.contracts.vocabulary import Vocabulary
from celllm.tasks.data import Cells
from celllm.tasks.labels import labelled
from celllm.tasks.method import take_options


class LogisticRegressionOnGenes:
    """Multinomial logistic regression on log-normalised genes (lbfgs, L2 penalty, intercept free).

    It chooses nothing, so it learns from training and validation part together.

    Parameters
    ----------
    options
        `C`: inverse strength of the penalty (1); `max_iter`: most lbfgs iterations (1000).
    """

    sees_test_labels = False
    trained_parameters = 0

    def __init__(
        self,
        options: Mapping[str, Any],
        *,
        seed: int,
        encoder: Path | None,
        vocabulary: Vocabulary,
    ) -> None:
        self.options = take_options(options, {"C": 1.0, "max_iter": 1000})
        self.seed = seed
        self.classes_ = np.array([], dtype=str)

    def fit(self, cells: Cells, train: np.ndarray, validation: np.ndarray) -> None:
        """Learn from training and validation part."""
        rows = np.concatenate([train, validation])
        labels = labelled(cells, rows)
        self._model = LogisticRegression(C=self.options["C"], max_iter=self.options["max_iter"])
        self._model.fit(self.features(cells, rows), self.targets(labels))
        self.classes_ = self._model.classes_
        self.trained_parameters = int(self._model.coef_.size + self._model.intercept_.size)

    def predict(self, cells: Cells, rows: np.ndarray) -> np.ndarray:
        """Return class probabilities, rows x `classes_`."""
        return np.asarray(self._model.predict_proba(self.features(cells, rows)))

    def features(self, cells: Cells, rows: np.ndarray) -> sparse.csr_matrix:
        """Return what the regression sees."""
        return gene_features(cells.counts[rows], cells.values)

    def targets(self, labels: np.ndarray) -> np.ndarray:
        """Return what it is taught."""
        return labels
