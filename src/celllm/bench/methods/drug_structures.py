"""Baselines that know a drug by its structure, so that they have an answer for a drug never met in training.

Shapes: L lines, M drugs, P training pairs, Q pairs to predict.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar, NoReturn

import numpy as np
from scipy.sparse.linalg import LinearOperator, cg

from celllm.base.errors import InputError
from celllm.bench.method import METHODS, Regressor
from celllm.bench.methods.cell_lines import LineScale, group_means
from celllm.bench.methods.molecules import fingerprints, tanimoto
from celllm.splits.units import Pairs

# Relative residual at which the linear system counts as solved: predictions then agree with the exact ones to far
# below the error of a measurement.
TOLERANCE = 1e-6
# Conjugate gradients of P unknowns end after P steps in exact arithmetic; some hundreds do in practice.
MAX_STEPS = 5000


class RidgePairs(Regressor):
    """One ridge regression for all pairs, on every product of what is known of the line and of the drug.

    A line is known by a constant and its standardised genes, a drug by a constant, its Morgan fingerprint and, if it
    was met in training, itself. Solved as kernel ridge regression, which needs none of the products: two pairs are
    alike as `(1 + K_L) (1 + K_D + 1[same drug])`, with K_L the mean product of the lines' genes and K_D the
    Tanimoto similarity of the drugs. So it holds drug means, line means, a regression for each drug, and what drugs
    of like structure share. For a new drug the last is left, for a new line its genes are.

    Pairs lie on a grid of lines and drugs, so one product with the P x P kernel is two small ones with those of
    lines and of drugs, and conjugate gradients solve 80,000 pairs in seconds.

    Options: `alpha`, the variance of a measurement's noise over that of what one unit of the kernel explains.
    """

    is_cheap = True
    defaults: ClassVar[Mapping[str, Any]] = {"alpha": 3.0}

    def __init__(self, options: Mapping[str, Any], **made_with: Any) -> None:  # noqa: ANN401 - as of BenchMethod
        super().__init__(options, **made_with)
        if not self.options["alpha"] > 0:
            self._refuse_alpha("a number above 0")

    def fit(self, pairs: Pairs, train: np.ndarray, validation: np.ndarray) -> None:
        line, drug = pairs.line[train], pairs.drug[train]
        self._mean = float(pairs.response[train].mean())
        self._scale = LineScale(pairs, train)
        lines_LL, drugs_MM = self._kernels(pairs)
        alpha, shape = float(self.options["alpha"]), (len(lines_LL), len(drugs_MM))

        def times(weights_P: np.ndarray) -> np.ndarray:
            # with the kernel of pairs, K[p, q] = lines[line p, line q] drugs[drug p, drug q], and the penalty
            on_grid = lines_LL @ _gridded(weights_P, line, drug, shape=shape) @ drugs_MM
            return np.asarray(on_grid[line, drug] + alpha * weights_P)

        system = LinearOperator((len(train), len(train)), matvec=times, dtype=np.float64)
        weights_P, failed = cg(system, pairs.response[train] - self._mean, rtol=TOLERANCE, maxiter=MAX_STEPS)
        if failed:
            self._refuse_alpha(f"a penalty with which {MAX_STEPS} steps of conjugate gradients solve the system")
        # on the grid, so that predicting is two products however many pairs are asked for
        self._weights_LM = _gridded(weights_P, line, drug, shape=shape)
        self.trained_parameters = len(train) + 1

    def _refuse_alpha(self, expected: str) -> NoReturn:
        found = repr(self.options["alpha"])
        raise InputError(file=METHODS, field="options.alpha", expected=expected, found=found, remedy="raise it")

    def predict(self, pairs: Pairs, rows: np.ndarray) -> np.ndarray:
        lines_LL, drugs_MM = self._kernels(pairs)
        return np.asarray(self._mean + (lines_LL @ self._weights_LM @ drugs_MM)[pairs.line[rows], pairs.drug[rows]])

    def _kernels(self, pairs: Pairs) -> tuple[np.ndarray, np.ndarray]:
        """Return how alike lines are, L x L, and drugs, M x M.

        Of lines and drugs that are not met in training only the rows are used: their weights are 0.
        """
        genes = self._scale.of(pairs)
        # a mean over genes: a line's likeness to itself is about 1 on any number of genes; a line alone has none
        lines_LL = 1 + genes @ genes.T / max(1, genes.shape[1])
        bits = fingerprints(pairs.drugs, pairs.smiles)
        return lines_LL, 1 + tanimoto(bits, bits) + np.eye(len(bits))


class ShuffledResponses(RidgePairs):
    """Must lose: the ridge regression for all pairs, taught the training responses in another order."""

    def fit(self, pairs: Pairs, train: np.ndarray, validation: np.ndarray) -> None:
        response = pairs.response.copy()
        response[train] = np.random.default_rng(self.seed).permutation(response[train])
        super().fit(replace(pairs, response=response), train, validation)


class DrugNeighbour(Regressor):
    """What the drugs of most similar structure did, in this line if it is known.

    A pair's response is its drug's mean plus what is peculiar to the line. A drug without training pairs gets the
    mean of its nearest training drugs, weighted by Tanimoto similarity of Morgan fingerprints. Peculiar to the line is
    how far its responses to the nearest drugs that it met lie from those drugs' means; 0 for a line that met none. So
    with known lines it is a nearest-neighbour recommender, and for new ones a mean of drugs.

    Options: `neighbours`, nearest drugs that are averaged. Drugs equally near are taken in the order of their names.
    """

    is_cheap = True
    defaults: ClassVar[Mapping[str, Any]] = {"neighbours": 5}

    def fit(self, pairs: Pairs, train: np.ndarray, validation: np.ndarray) -> None:
        line, drug = pairs.line[train], pairs.drug[train]
        self._grand = float(pairs.response[train].mean())
        self._mean_M = group_means(drug, pairs.response[train], len(pairs.drugs))
        self._deviation_LM = np.full((len(pairs.line_ids), len(pairs.drugs)), np.nan)
        self._deviation_LM[line, drug] = pairs.response[train] - self._mean_M[drug]
        self.trained_parameters = len(train) + int(np.isfinite(self._mean_M).sum()) + 1

    def predict(self, pairs: Pairs, rows: np.ndarray) -> np.ndarray:
        bits = fingerprints(pairs.drugs, pairs.smiles)
        alike_MM = tanimoto(bits, bits)
        predicted = np.empty(len(rows))
        for drug in np.unique(pairs.drug[rows]):
            here = pairs.drug[rows] == drug
            order = np.argsort(-alike_MM[drug], kind="stable")
            alike = alike_MM[drug, order]
            deviation_L = self._averaged(self._deviation_LM[:, order], alike, default=0.0)
            mean = self._mean_M[drug]
            if np.isnan(mean):
                mean = self._averaged(self._mean_M[None, order], alike, default=self._grand)[0]
            predicted[here] = mean + deviation_L[pairs.line[rows[here]]]
        return predicted

    def _averaged(self, values_XM: np.ndarray, alike_M: np.ndarray, *, default: float) -> np.ndarray:
        """Average each row over the first values it has, by similarity.

        Where all of them are strangers they count the same; a row without a value gets `default`.
        """
        there = np.isfinite(values_XM)
        taken = there & (np.cumsum(there, axis=1) <= self.options["neighbours"])
        weights = taken * alike_M
        weights = np.where(weights.sum(axis=1, keepdims=True) > 0, weights, taken.astype(float))
        total_X = weights.sum(axis=1)
        sums_X = (weights * np.where(taken, values_XM, 0.0)).sum(axis=1)
        return np.asarray(np.divide(sums_X, total_X, out=np.full(len(sums_X), default), where=total_X > 0))


def _gridded(values_P: np.ndarray, line: np.ndarray, drug: np.ndarray, *, shape: tuple[int, int]) -> np.ndarray:
    grid = np.zeros(shape)
    grid[line, drug] = values_P
    return grid
