"""Gradient-boosted trees on principal components."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from sklearn.ensemble import HistGradientBoostingClassifier

from celllm.bench.methods.components import OnComponents


class BoostedTreesOnComponents(OnComponents):
    """Gradient-boosted trees on the corpus's components; trees on 20,000 sparse genes would take minutes.

    Parameters
    ----------
    options
        `rounds`: trees a class (100); `learning_rate`: shrinkage of each (0.1); `leaves`: at most, a tree
        (31); `leaf_cells`: fewest training cells of a leaf (5: with few labels a class may have no more).
    """

    defaults: Mapping[str, Any] = {"rounds": 100, "learning_rate": 0.1, "leaves": 31, "leaf_cells": 5}

    def new_model(self, labels: np.ndarray) -> Any:  # noqa: ANN401 - scikit-learn has no types
        """Grow all rounds: stopping early would learn from fewer cells."""
        return HistGradientBoostingClassifier(
            max_iter=self.options["rounds"],
            learning_rate=self.options["learning_rate"],
            max_leaf_nodes=self.options["leaves"],
            min_samples_leaf=self.options["leaf_cells"],
            early_stopping=False,
        )

    def n_trained(self, model: Any) -> int:  # noqa: ANN401
        """Count the leaves of all trees, each of which holds a number."""
        return sum(tree.get_n_leaf_nodes() for round_ in model._predictors for tree in round_)
