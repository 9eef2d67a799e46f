"""A linear support vector machine on all genes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from sklearn.svm import LinearSVC

from celllm.bench.methods.classifier import FeatureClassifier


class LinearSupportVectors(FeatureClassifier):
    """Linear support vector machine, each class against the rest; scores are margins and no probabilities.

    Parameters
    ----------
    options
        `C`: inverse strength of the L2 penalty (0.01); `max_iter`: most passes over the cells (5000).
    """

    defaults: Mapping[str, Any] = {"C": 0.01, "max_iter": 5000}

    def new_model(self, labels: np.ndarray) -> Any:  # noqa: ANN401 - scikit-learn has no types
        """Solve the dual: there are more genes than cells."""
        # the seed draws the order in which cells are visited, which the optimum does not depend on
        return LinearSVC(C=self.options["C"], max_iter=self.options["max_iter"], random_state=0, dual="auto")

    def n_trained(self, model: Any) -> int:  # noqa: ANN401
        """Count weights and intercepts."""
        return int(model.coef_.size + model.intercept_.size)

    def scores(self, model: Any, features: Any) -> np.ndarray:  # noqa: ANN401
        """Return the signed distances; of two classes scikit-learn gives the second's alone."""
        margins = np.asarray(model.decision_function(features))
        return np.column_stack([-margins, margins]) if margins.ndim == 1 else margins
