"""What the classifiers share that are a set of features and a model of scikit-learn's form on it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from celllm.bench.labels import labelled
from celllm.bench.method import take_options
from celllm.bench.methods.features import gene_features
from celllm.harmonise.vocabulary import Vocabulary
from celllm.splits.units import Cells


class FeatureClassifier(ABC):
    """Features of a cell, and a model that learns their classes from the training part alone.

    A subclass says what its options are, makes its model in `new_model` and counts what it learned in
    `n_trained`. It may see other features than log-normalised genes, be taught other labels than the true
    ones, or score by something other than `predict_proba`.
    """

    sees_test_labels = False
    defaults: Mapping[str, Any] = {}

    def __init__(
        self,
        options: Mapping[str, Any],
        *,
        seed: int,
        encoder: Path | None,
        vocabulary: Vocabulary,
    ) -> None:
        self.options = take_options(options, self.defaults)
        self.seed = seed
        self.classes_ = np.array([], dtype=str)
        self.trained_parameters = 0

    def fit(self, cells: Cells, train: np.ndarray, validation: np.ndarray) -> None:
        """Learn from the rows `train`; nothing is chosen, so `validation` is not looked at."""
        labels = labelled(cells, train)
        self._model = self.new_model(labels)
        self._model.fit(self.features(cells, train), self.targets(labels))
        self.classes_ = self._model.classes_
        self.trained_parameters = self.n_trained(self._model)

    def predict(self, cells: Cells, rows: np.ndarray) -> np.ndarray:
        """Return class probabilities, rows x `classes_`."""
        return self.scores(self._model, self.features(cells, rows))

    def features(self, cells: Cells, rows: np.ndarray) -> Any:  # noqa: ANN401 - sparse or dense, as the model takes it
        """Return what the model sees of the rows."""
        return gene_features(cells.counts[rows], cells.values)

    def targets(self, labels: np.ndarray) -> np.ndarray:
        """Return what it is taught."""
        return labels

    @abstractmethod
    def new_model(self, labels: np.ndarray) -> Any:  # noqa: ANN401 - scikit-learn has no types
        """Make the model that is to be fitted to `labels`."""

    @abstractmethod
    def n_trained(self, model: Any) -> int:  # noqa: ANN401
        """Count the numbers that a fitted model has learned."""

    def scores(self, model: Any, features: Any) -> np.ndarray:  # noqa: ANN401
        """Return the fitted model's score of each class."""
        return np.asarray(model.predict_proba(features))
