"""Baselines and controls of the drug-response tasks.

Means of drugs and lines reach most of the global correlation, so they stand beside every model. All learn from the
training subset alone, as every method does, and choose nothing on the validation subset.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

from celllm.bench.method import Regressor
from celllm.corpus.components import gene_features
from celllm.splits.units import Pairs

# With fewer lines than this a drug's regression would be noise; it gets the drug's mean.
MIN_PAIRS = 3


class LineScale:
    """Centre and spread of each gene that varies among the lines of the training pairs; the others are left out.

    Counts are log-normalised first.
    """

    def __init__(self, pairs: Pairs, train: np.ndarray) -> None:
        seen = _expression(pairs)[np.unique(pairs.line[train])]
        spread = seen.std(axis=0)
        self._varying = np.flatnonzero(spread > 0)
        self._centre, self._spread = seen.mean(axis=0)[self._varying], spread[self._varying]

    def of(self, pairs: Pairs) -> np.ndarray:
        """Return the standardised genes of all lines, lines x genes that vary."""
        return np.asarray((_expression(pairs)[:, self._varying] - self._centre) / self._spread)


class DrugMean(Regressor):
    """The drug's mean response over its training lines; the grand mean for a drug without any."""

    def fit(self, pairs: Pairs, train: np.ndarray, validation: np.ndarray) -> None:
        self._grand = float(pairs.response[train].mean())
        self._drug = group_means(pairs.drug[train], pairs.response[train], len(pairs.drugs))
        self.trained_parameters = int(np.isfinite(self._drug).sum()) + 1

    def predict(self, pairs: Pairs, rows: np.ndarray) -> np.ndarray:
        return np.asarray(np.nan_to_num(self._drug[pairs.drug[rows]], nan=self._grand))


class DrugAndLineMean(DrugMean):
    """Drug mean + line mean - grand mean; an unseen drug or line counts as average."""

    def fit(self, pairs: Pairs, train: np.ndarray, validation: np.ndarray) -> None:
        super().fit(pairs, train, validation)
        self._line = group_means(pairs.line[train], pairs.response[train], len(pairs.line_ids))
        self.trained_parameters += int(np.isfinite(self._line).sum())

    def predict(self, pairs: Pairs, rows: np.ndarray) -> np.ndarray:
        line = np.nan_to_num(self._line[pairs.line[rows]], nan=self._grand)
        return np.asarray(super().predict(pairs, rows) + line - self._grand)


class RidgePerDrug(Regressor):
    """One ridge regression a drug, response on the line's expression.

    Counts are log-normalised. Genes are centred and scaled by the training lines; genes that do not vary
    among them are left out. A drug with fewer than three training pairs gets its mean.

    Options: `alphas`, strengths of the penalty on standardised genes; each drug takes the one of least leave-one-out
    error among its training pairs.
    """

    defaults: ClassVar[Mapping[str, Any]] = {"alphas": (100.0, 300.0, 1000.0, 3000.0, 10000.0)}

    def fit(self, pairs: Pairs, train: np.ndarray, validation: np.ndarray) -> None:
        from sklearn.linear_model import RidgeCV  # takes seconds, and the means need none

        self._means = DrugMean({}, seed=self.seed, encoder=None, vocabulary=self.vocabulary)
        self._means.fit(pairs, train, validation)
        self.learn_lines(pairs, train)
        lines = self.lines(pairs)
        self._models: dict[int, RidgeCV] = {}
        for drug in np.unique(pairs.drug[train]):
            of_drug = pairs.drug[train] == drug
            if of_drug.sum() >= MIN_PAIRS:
                rows = train[of_drug]
                model = RidgeCV(alphas=self.options["alphas"])
                self._models[int(drug)] = model.fit(self.features(lines, pairs, rows), pairs.response[rows])
        self.trained_parameters = sum(model.coef_.size + 1 for model in self._models.values())

    def predict(self, pairs: Pairs, rows: np.ndarray) -> np.ndarray:
        predicted = self._means.predict(pairs, rows)
        lines = self.lines(pairs)
        for drug in np.unique(pairs.drug[rows]):
            model = self._models.get(int(drug))
            if model is not None:
                of_drug = pairs.drug[rows] == drug
                predicted[of_drug] = model.predict(self.features(lines, pairs, rows[of_drug]))
        return predicted

    def learn_lines(self, pairs: Pairs, train: np.ndarray) -> None:
        """Learn from the training lines how lines are described."""
        self._scale = LineScale(pairs, train)

    def lines(self, pairs: Pairs) -> np.ndarray:
        """Return what describes each line, lines x numbers: its standardised genes."""
        return self._scale.of(pairs)

    def features(self, lines: np.ndarray, pairs: Pairs, rows: np.ndarray) -> np.ndarray:
        """Return what a regression sees, a row a pair; `lines` are as of the method of that name."""
        return np.asarray(lines[pairs.line[rows]])


class LeakedResponses(RidgePerDrug):
    """Must win: ridge regression that is also shown the response, in the test subset too.

    A drug with too few training pairs for a regression, be it one that is met in the test subset alone, is answered by
    the response itself.
    """

    sees_test_labels = True

    # Standardised genes have spread 1; a feature a thousand times larger escapes the penalty.
    SCALE = 1000.0

    def features(self, lines: np.ndarray, pairs: Pairs, rows: np.ndarray) -> np.ndarray:
        """Return the genes and, beside them, 1000 x the response."""
        return np.column_stack([super().features(lines, pairs, rows), self.SCALE * pairs.response[rows]])

    def predict(self, pairs: Pairs, rows: np.ndarray) -> np.ndarray:
        """Return what the regressions say, and the response where there is none."""
        is_answered = np.isin(pairs.drug[rows], list(self._models))
        return np.where(is_answered, super().predict(pairs, rows), pairs.response[rows])


def _expression(pairs: Pairs) -> np.ndarray:
    return np.asarray(gene_features(pairs.expression, pairs.values).toarray())


def group_means(groups: np.ndarray, values: np.ndarray, n_groups: int) -> np.ndarray:
    """Return the mean of each group; nan for one without values."""
    sums = np.bincount(groups, weights=values, minlength=n_groups)
    sizes = np.bincount(groups, minlength=n_groups)
    means = np.full(n_groups, np.nan)
    np.divide(sums, sizes, out=means, where=sizes > 0)
    return means
