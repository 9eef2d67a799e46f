"""Principal components of log-normalised genes: the cheapest embedding of a cell, and the rival of every encoder.

Shapes: N cells, G genes, K components.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from sklearn.decomposition import IncrementalPCA

from celllm.base.errors import InputError
from celllm.bench import pca as components
from celllm.bench.methods.classifier import FeatureClassifier
from celllm.bench.methods.features import gene_features
from celllm.bench.pca import Components
from celllm.config.units import Units
from celllm.harmonise.vocabulary import Vocabulary
from celllm.splits.units import Cells

N_COMPONENTS = 50
"""As many as scanpy and Seurat take by default."""


def fit_components(
    rows: Callable[[NDArray[np.int64]], sparse.csr_matrix],
    *,
    n_cells: int,
    vocabulary: str,
    n_components: int = N_COMPONENTS,
    cells_at_once: int = 512,
) -> Components:
    """Fit principal components to cells that are read in batches, in the order of their numbers.

    Memory grows with genes x (components + batch) and not with the number of cells. What a batch adds outside
    of the components so far is cut off, so the result is an approximation; the more of the variance the
    components hold, the closer it is.

    Parameters
    ----------
    rows
        Returns the counts, cells x genes, of the cells with these numbers.
    n_cells
        How many there are, at least `n_components`; their order should be random, as that of shards is.
    vocabulary
        Digest of the gene axis.
    n_components
        K.
    cells_at_once
        Cells of a batch, at least `n_components`.

    Notes
    -----
    Ross et al. 2008, Int J Comput Vis 77:125, as scikit-learn's IncrementalPCA has it.
    """
    pca = IncrementalPCA(n_components=n_components, copy=False)
    starts = np.arange(0, n_cells, cells_at_once)
    if len(starts) > 1 and n_cells - starts[-1] < n_components:
        starts = starts[:-1]  # too few cells for a batch of their own: they join the one before
    for start, stop in zip(starts, [*starts[1:], n_cells], strict=True):
        batch = gene_features(rows(np.arange(start, stop)), "counts")
        pca.partial_fit(batch.astype(np.float32).toarray())
    return Components(
        mean_G=pca.mean_.astype(np.float32),
        components_KG=pca.components_.astype(np.float32),
        explained_K=pca.explained_variance_ratio_.astype(np.float32),
        vocabulary=vocabulary,
        n_cells=n_cells,
    )


def projected(values: sparse.csr_matrix, found: Components) -> NDArray[np.float64]:
    """Return the components N x K of log-normalised cells N x G."""
    directions_GK = found.components_KG.T.astype(np.float64)
    return np.asarray(values @ directions_GK - found.mean_G @ directions_GK)


class OnComponents(FeatureClassifier):
    """Sees a cell's components, fitted to the corpus: the cells that encoders are pretrained on, without labels.

    Parameters
    ----------
    encoder
        The file of `contracts.components`.
    """

    def __init__(
        self,
        options: Mapping[str, Any],
        *,
        seed: int,
        encoder: Path | None,
        vocabulary: Vocabulary,
    ) -> None:
        super().__init__(options, seed=seed, encoder=encoder, vocabulary=vocabulary)
        if encoder is None:
            msg = "components of the corpus are needed; celllm.bench.method.build asks for them"
            raise ValueError(msg)
        self._components = components.read(encoder, vocabulary=vocabulary.digest)
        self._file = encoder

    def features(self, cells: Cells, rows: np.ndarray) -> Any:  # noqa: ANN401 - as in FeatureClassifier
        """Return the components of the rows, N x K."""
        if not Units(cells.values).is_proportional:
            raise InputError(
                file=self._file,
                field="values",
                expected="counts or TPM, to be log-normalised as the corpus was",
                found=cells.values,
                remedy="leave the method out of this task",
            )
        return projected(gene_features(cells.counts[rows], cells.values), self._components)
