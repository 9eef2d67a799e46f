"""Any classifier of scikit-learn on the frozen embedding of a pretrained encoder, with the genes beside it or not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Final

import numpy as np
from scipy import sparse
from sklearn.preprocessing import StandardScaler

from celllm.bench.methods.estimators import SklearnClassifier
from celllm.bench.methods.finetune import computing, ready_encoder
from celllm.bench.methods.frozen import kept_of
from celllm.corpus.components import gene_features
from celllm.model.encoder import evaluating
from celllm.splits.units import Cells

AT_ONCE: Final = 64
"""Cells that are embedded at once."""


class EmbeddedClassifier(SklearnClassifier):
    """A classifier of scikit-learn on the embedding of all genes, each number brought to zero mean and unit variance.

    With `genes` it says what an encoder adds to the linear model, which it holds as the case of `weight` 0.

    Options: `genes`, whether log-normalised genes stand beside the embedding; `weight`, a factor of the embedding, so
    that of a linear model its inverse penalty is `C` x `weight`², that of the genes `C`; `scratch`, without the
    pretraining. The others are the estimator's parameters.
    """

    defaults: ClassVar[Mapping[str, Any]] = {"genes": False, "weight": 1.0, "scratch": False}
    choices: ClassVar[Mapping[str, Sequence[Any]]] = {"genes": (False, True), "scratch": (False, True)}

    def prepare(self) -> bool:
        """Load the encoder; only with genes beside it is the embedding sparse."""
        self._pretrained = ready_encoder(self)
        return not self.options["genes"]

    def fit(self, cells: Cells, train: np.ndarray, validation: np.ndarray) -> None:
        """Learn from the rows `train`; nothing is chosen, so `validation` is not looked at."""
        self._scaler = StandardScaler().fit(self._embedded(cells, train))
        super().fit(cells, train, validation)

    def features(self, cells: Cells, rows: np.ndarray) -> Any:  # noqa: ANN401 - sparse with genes, dense without
        """Return the embedding and, beside it, the genes."""
        embedded = self._scaler.transform(self._embedded(cells, rows)) * self.options["weight"]
        if not self.options["genes"]:
            return embedded
        return sparse.hstack([gene_features(cells.counts[rows], cells.values), embedded], format="csr")

    def _embedded(self, cells: Cells, rows: np.ndarray) -> np.ndarray:
        """Return the embedding of the rows; a cell is embedded once a job."""
        encoder, rule = self._pretrained.encoder, self._pretrained.recipe.embedding_tokens
        kept = kept_of(self, self._pretrained, cells.counts, cells.values, rule=rule, what="embedded")
        known = kept.states
        missing = np.array([row for row in rows.tolist() if row not in known], dtype=np.int64)
        with computing(self, encoder) as device, evaluating(encoder):
            for at in kept.source.in_order_of_length(missing, AT_ONCE):
                z_BD = encoder.embed(*(part.to(device) for part in kept.source.batch(missing[at])))
                known.update(zip(missing[at].tolist(), z_BD.float().cpu().numpy(), strict=True))
        return np.array([known[row] for row in rows.tolist()], dtype=np.float64)
