"""Ranks within a cell, z-scores, genes chosen by ANOVA, principal components, logistic regression."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
from scipy import sparse
from scipy.stats import rankdata
from sklearn.decomposition import PCA
from sklearn.feature_selection import SelectKBest, VarianceThreshold, f_classif
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from celllm.bench.method import Classifier, labelled
from celllm.splits.units import Cells


class RankedGenes(Classifier):
    """A linear model on what sequencing depth does not change: the order of a cell's genes.

    Genes that no training cell expresses are left out, silent genes of a cell share its lowest rank. In
    arXiv:2602.16696 such a pipeline is on a par with pretrained models; sizes are ours.

    Options: `genes`, how many are chosen, by the F value of an analysis of variance among the training cells;
    `components`, principal components of their z-scores; `C`, inverse penalty of the logistic regression on them.
    """

    is_cheap = True
    defaults: ClassVar[Mapping[str, Any]] = {"genes": 1000, "components": 50, "C": 1.0}
    search: ClassVar[Mapping[str, Sequence[Any]]] = {"C": [1.0, 0.1, 0.01], "genes": [1000, 3000]}

    def fit(self, cells: Cells, train: np.ndarray, validation: np.ndarray) -> None:
        labels = labelled(cells, train)
        self._genes = np.unique(cells.counts[train].indices)
        ranks = self._ranks(cells, train)
        n_genes = min(self.options["genes"], ranks.shape[1])
        regression = LogisticRegression(C=self.options["C"], max_iter=1000)
        self._model = make_pipeline(
            VarianceThreshold(),
            StandardScaler(),
            SelectKBest(f_classif, k="all" if n_genes == ranks.shape[1] else n_genes),
            PCA(min(self.options["components"], n_genes, len(labels) - 1), random_state=self.seed),
            regression,
        ).fit(ranks, labels)
        self.classes_ = regression.classes_
        self.trained_parameters = int(regression.coef_.size + regression.intercept_.size)

    def predict(self, cells: Cells, rows: np.ndarray) -> np.ndarray:
        return np.asarray(self._model.predict_proba(self._ranks(cells, rows)))

    def _ranks(self, cells: Cells, rows: np.ndarray) -> np.ndarray:
        values = sparse.csr_matrix(cells.counts[rows])[:, self._genes]
        ranks = [rankdata(values[at : at + 512].toarray(), axis=1) for at in range(0, len(rows), 512)]
        return np.concatenate(ranks).astype(np.float32)
