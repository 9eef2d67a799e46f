"""Log-normalised genes, and principal components of the corpus, kept in `pca.safetensors`.

The file holds mean and directions on the gene axis, and JSON in its header.
Shapes: N cells, G genes, K components.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from celllm.base import tensors
from celllm.config.units import Units
from celllm.harmonise.normalise import log_normalised

N_COMPONENTS = 50
"""As many as scanpy and Seurat take by default."""
FORMAT = "celllm-components-1"
REMEDY = "fit them again: snakemake --forcerun fit_pca"


def gene_features(values: sparse.csr_matrix, units: Units | str) -> sparse.csr_matrix:
    """Return cells x genes, float64: ln(1 + counts per 10,000); z-scores as they are."""
    if Units(units).is_proportional:
        return log_normalised(values, target_sum=10_000, base="e")
    return sparse.csr_matrix(values, dtype=np.float64)


@dataclass(frozen=True)
class PrincipalComponents:
    """What `pca.safetensors` holds."""

    mean_G: NDArray[np.float32]
    """Mean log-normalised expression of each gene over the corpus."""
    components_KG: NDArray[np.float32]
    """Orthonormal directions, of falling variance."""
    explained_K: NDArray[np.float32]
    """Share of the corpus's variance along each."""
    vocabulary: str
    """Digest of the gene axis."""
    n_cells: int
    """Of the corpus."""
    provenance: Mapping[str, Any] = field(default_factory=dict)


def read(path: Path | str, *, vocabulary: str | None = None) -> PrincipalComponents:
    """Read components, fitted for the vocabulary of this digest (None: any); errors as of `base.tensors.read`."""
    header, found = tensors.read(path, form=FORMAT, remedy=REMEDY, vocabulary=vocabulary)
    del header["format"]
    return PrincipalComponents(found["mean"], found["components"], found["explained"], **header)


def write(components: PrincipalComponents, path: Path | str) -> None:
    """Write components, whole or not at all."""
    header = asdict(components)
    names = {"mean": "mean_G", "components": "components_KG", "explained": "explained_K"}
    arrays = {name: np.asarray(header.pop(field), dtype=np.float32) for name, field in names.items()}
    tensors.write(path, form=FORMAT, header=header, tensors=arrays)


def fit_pca(
    rows: Callable[[NDArray[np.int64]], sparse.csr_matrix],
    *,
    n_cells: int,
    vocabulary: str,
    n_components: int = N_COMPONENTS,
    cells_at_once: int = 512,
) -> PrincipalComponents:
    """Fit principal components to cells that are read in batches, in the order of their numbers.

    Memory grows with genes x (components + batch) and not with the number of cells. What a batch adds outside
    of the components so far is cut off, so the result is an approximation; the more of the variance the
    components hold, the closer it is. `rows` returns the counts of the cells with these numbers, whose order should be
    random, as that of shards is. Cells and a batch are at least as many as components.

    Ross et al. 2008, Int J Comput Vis 77:125, as scikit-learn's IncrementalPCA has it.
    """
    from sklearn.decomposition import IncrementalPCA

    pca = IncrementalPCA(n_components=n_components, copy=False)
    starts = np.arange(0, n_cells, cells_at_once)
    if len(starts) > 1 and n_cells - starts[-1] < n_components:
        starts = starts[:-1]  # too few cells for a batch of their own: they join the one before
    for start, stop in zip(starts, [*starts[1:], n_cells], strict=True):
        batch = gene_features(rows(np.arange(start, stop)), Units.COUNTS)
        pca.partial_fit(batch.astype(np.float32).toarray())
    return PrincipalComponents(
        mean_G=pca.mean_.astype(np.float32),
        components_KG=pca.components_.astype(np.float32),
        explained_K=pca.explained_variance_ratio_.astype(np.float32),
        vocabulary=vocabulary,
        n_cells=n_cells,
    )


def projected(values: sparse.csr_matrix, found: PrincipalComponents) -> NDArray[np.float64]:
    """Return the components N x K of log-normalised cells N x G."""
    directions_GK = found.components_KG.T.astype(np.float64)
    return np.asarray(values @ directions_GK - found.mean_G @ directions_GK)
