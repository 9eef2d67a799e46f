"""The vote of the nearest neighbours among principal components."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from sklearn.neighbors import KNeighborsClassifier

from celllm.bench.methods.components import OnComponents


class NearestNeighboursOnComponents(OnComponents):
    """A cell's scores are the shares of classes among the training cells nearest to it.

    Parameters
    ----------
    options
        `neighbours`: how many vote (15); all training cells, where there are fewer.
    """

    defaults: Mapping[str, Any] = {"neighbours": 15}

    def new_model(self, labels: np.ndarray) -> Any:  # noqa: ANN401 - scikit-learn has no types
        """Ask no more neighbours than there are."""
        return KNeighborsClassifier(min(self.options["neighbours"], len(labels)))

    def n_trained(self, model: Any) -> int:  # noqa: ANN401
        """Nothing is learned; cells are kept."""
        return 0
