"""Any regression of scikit-learn on expression and drug structure, a row a pair."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
from sklearn.decomposition import PCA
from sklearn.preprocessing import StandardScaler

from celllm.bench.method import Regressor
from celllm.bench.methods.cell_lines import LineScale
from celllm.bench.methods.estimators import SklearnMethod, n_trained
from celllm.bench.methods.molecules import fingerprints
from celllm.splits.units import Pairs


class SklearnRegressor(SklearnMethod, Regressor):
    """A regression of scikit-learn on what is known of a line and of a drug, side by side.

    A line is known by principal components of its genes, standardised by the training lines, a drug by principal
    components of its Morgan fingerprint; both are fitted to what training meets, and brought to unit variance.

    Options: `line_components`, `drug_components`, how many of each; the others are the estimator's parameters.
    """

    what = "regression"
    defaults: ClassVar[Mapping[str, Any]] = {"line_components": 100, "drug_components": 50}

    def fit(self, pairs: Pairs, train: np.ndarray, validation: np.ndarray) -> None:
        self._scale = LineScale(pairs, train)
        lines, drugs = self._known(pairs)
        self._of_line = _components(lines[np.unique(pairs.line[train])], self.options["line_components"], self.seed)
        self._of_drug = _components(drugs[np.unique(pairs.drug[train])], self.options["drug_components"], self.seed)
        self.model.fit(self._features(pairs, train), pairs.response[train])
        self.trained_parameters = n_trained(self.model)

    def predict(self, pairs: Pairs, rows: np.ndarray) -> np.ndarray:
        return np.asarray(self.model.predict(self._features(pairs, rows)))

    def _known(self, pairs: Pairs) -> tuple[np.ndarray, np.ndarray]:
        return self._scale.of(pairs), fingerprints(pairs.drugs, pairs.smiles).astype(np.float64)

    def _features(self, pairs: Pairs, rows: np.ndarray) -> np.ndarray:
        lines, drugs = self._known(pairs)
        return np.hstack([self._of_line(lines)[pairs.line[rows]], self._of_drug(drugs)[pairs.drug[rows]]])


def _components(known: np.ndarray, n: int, seed: int) -> Any:  # noqa: ANN401 - a function
    """Fit principal components of unit variance; return what projects on them."""
    pca = PCA(min(n, *known.shape), random_state=seed).fit(known)
    scaler = StandardScaler().fit(pca.transform(known))
    return lambda values: scaler.transform(pca.transform(values))
