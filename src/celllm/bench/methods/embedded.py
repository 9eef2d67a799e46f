"""Linear models and their like on the frozen embedding of a pretrained encoder, other features beside it or not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Final

import numpy as np
from scipy import sparse
from sklearn.preprocessing import StandardScaler

from celllm.base.errors import InputError
from celllm.bench.method import METHODS, BenchMethod
from celllm.bench.methods.cell_lines import LineScale, RidgePerDrug
from celllm.bench.methods.estimators import SklearnClassifier, component_features
from celllm.bench.methods.finetune import computing, ready_encoder
from celllm.bench.methods.frozen import kept_of
from celllm.config.units import Units
from celllm.corpus import components
from celllm.corpus.components import gene_features
from celllm.model.encoder import evaluating
from celllm.model.store import PretrainedEncoder
from celllm.splits.units import Cells, Pairs

AT_ONCE: Final = 64
"""Cells that are embedded at once."""


class EmbeddedClassifier(SklearnClassifier):
    """A classifier of scikit-learn on the embedding of all genes, each number brought to zero mean and unit variance.

    With other features beside it, it says what an encoder adds to the linear model on them, the case of `weight` 0.

    Options: `beside`, log-normalised `genes` or the `components` of the corpus, beside the embedding; null: nothing.
    `weight`, a factor of the embedding, so that of a linear model its inverse penalty is `C` x `weight`², that of what
    is beside it `C`; `scratch`, without the pretraining. The others are the estimator's parameters.
    """

    defaults: ClassVar[Mapping[str, Any]] = {"beside": None, "weight": 1.0, "scratch": False}
    choices: ClassVar[Mapping[str, Sequence[Any]]] = {
        "beside": (None, "genes", "components"),
        "scratch": (False, True),
    }

    def prepare(self) -> bool:
        """Load the encoder; only with genes beside it is the embedding sparse."""
        self._pretrained = ready_encoder(self)
        return bool(self.options["beside"] != "genes")

    def fit(self, cells: Cells, train: np.ndarray, validation: np.ndarray) -> None:
        self._scaler = StandardScaler().fit(self._embedded(cells, train))
        super().fit(cells, train, validation)

    def features(self, cells: Cells, rows: np.ndarray) -> Any:  # noqa: ANN401 - sparse with genes, dense without
        """Return the embedding and, beside it, the genes or the components."""
        embedded = self._scaler.transform(self._embedded(cells, rows)) * self.options["weight"]
        if self.options["beside"] is None:
            return embedded
        genes = gene_features(cells.counts[rows], cells.values)
        if self.options["beside"] == "genes":
            return sparse.hstack([genes, embedded], format="csr")
        return np.hstack([component_features(genes, cells, self._read_components()), embedded])

    def _embedded(self, cells: Cells, rows: np.ndarray) -> np.ndarray:
        return embedded(self, self._pretrained, cells.counts, cells.values, rows)

    def _read_components(self) -> components.PrincipalComponents:
        if self.components_file is None:
            raise InputError(
                file=METHODS,
                field="options.beside",
                expected="--components FILE beside the encoder",
                found="none",
                remedy="give the file: --components results/bench/pca.safetensors",
            )
        return components.read(self.components_file, vocabulary=self.vocabulary.digest)


class EmbeddedRidge(RidgePerDrug):
    """One ridge regression a drug on the frozen embedding of the line.

    Options: `beside`, standardised `genes` beside the embedding; null: nothing. `weight`, `scratch`: as of
    `EmbeddedClassifier`; `alphas`: as of `RidgePerDrug`.
    """

    defaults: ClassVar[Mapping[str, Any]] = {
        **RidgePerDrug.defaults,
        "beside": None,
        "weight": 1.0,
        "scratch": False,
    }
    choices: ClassVar[Mapping[str, Sequence[Any]]] = {"beside": (None, "genes"), "scratch": (False, True)}

    def learn_lines(self, pairs: Pairs, train: np.ndarray) -> None:
        """Load the encoder; learn the scale of genes and embedding from the training lines."""
        self._pretrained = ready_encoder(self)
        self._genes = LineScale(pairs, train) if self.options["beside"] == "genes" else None
        self._scaler = StandardScaler().fit(self._embedded(pairs)[np.unique(pairs.line[train])])

    def lines(self, pairs: Pairs) -> np.ndarray:
        """Return the standardised embedding of all lines and, beside it, their genes."""
        found = self._scaler.transform(self._embedded(pairs)) * self.options["weight"]
        return found if self._genes is None else np.hstack([self._genes.of(pairs), found])

    def _embedded(self, pairs: Pairs) -> np.ndarray:
        return embedded(self, self._pretrained, pairs.expression, pairs.values, np.arange(len(pairs.line_ids)))


def embedded(
    method: BenchMethod, pretrained: PretrainedEncoder, values: sparse.csr_matrix, units: Units | str, rows: np.ndarray
) -> np.ndarray:
    """Return the embedding of the rows of `values`, of all their genes; a row is embedded once a job."""
    encoder, rule = pretrained.encoder, pretrained.recipe.embedding_tokens
    kept = kept_of(method, pretrained, values, Units(units), rule=rule, what="embedded")
    known = kept.states
    missing = np.array([row for row in rows.tolist() if row not in known], dtype=np.int64)
    with computing(method, encoder) as device, evaluating(encoder):
        for at in kept.source.in_order_of_length(missing, AT_ONCE):
            z_BD = encoder.embed(*(part.to(device) for part in kept.source.batch(missing[at])))
            known.update(zip(missing[at].tolist(), z_BD.float().cpu().numpy(), strict=True))
    return np.array([known[row] for row in rows.tolist()], dtype=np.float64)
