"""Logistic regression on all genes: the anchor that any cell encoder has to beat."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.multiclass import OneVsRestClassifier

from celllm.bench.method import choose
from celllm.bench.methods.classifier import FeatureClassifier
from celllm.harmonise.vocabulary import Vocabulary


class LogisticRegressionOnGenes(FeatureClassifier):
    """Logistic regression on log-normalised genes.

    Parameters
    ----------
    options
        `penalty`: `l2` (one multinomial model by lbfgs, intercept free) or `l1` (by liblinear, which tells two
        classes apart, so each class against the rest; liblinear counts the intercept as a weight and penalises
        it). `C`: inverse strength of the penalty (1); `max_iter`: most iterations (1000).

    Notes
    -----
    L1 with C = 0.1 is the anchor of Boiarsky et al. 2023, which used scikit-learn's liblinear.
    """

    # of the L2 penalty; takes any number of features
    solver = "lbfgs"
    defaults: Mapping[str, Any] = {"penalty": "l2", "C": 1.0, "max_iter": 1000}

    def __init__(
        self,
        options: Mapping[str, Any],
        *,
        seed: int,
        encoder: Path | None,
        vocabulary: Vocabulary,
    ) -> None:
        super().__init__(options, seed=seed, encoder=encoder, vocabulary=vocabulary)
        choose(self.options, "penalty", ("l2", "l1"))

    def new_model(self, labels: np.ndarray) -> Any:  # noqa: ANN401 - scikit-learn has no types
        """Make one model of all classes, or under L1 one of each class."""
        given = {"C": self.options["C"], "max_iter": self.options["max_iter"]}
        if self.options["penalty"] == "l2":
            return LogisticRegression(**given, solver=self.solver)
        # The seed draws the order in which weights are visited, which the optimum does not depend on.
        one = LogisticRegression(**given, l1_ratio=1.0, solver="liblinear", random_state=0)
        return one if len(np.unique(labels)) == 2 else OneVsRestClassifier(one)

    def n_trained(self, model: Any) -> int:  # noqa: ANN401
        """Count weights and intercepts, those at 0 too."""
        each: Sequence[Any] = getattr(model, "estimators_", [model])
        return sum(int(one.coef_.size + one.intercept_.size) for one in each)
