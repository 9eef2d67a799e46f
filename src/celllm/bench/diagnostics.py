"""Embedding diagnostics: views of the same cells, how spread out they are, and how well they keep labels together.

Labels and batches are measured as scIB does it, by the package scib-metrics. Those values lie between 0 and 1 except
the adjusted Rand index, which may be below 0; larger is better (Luecken et al. 2022, Nat Methods 19:41).
Shapes: N cells, D numbers of an embedding.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from celllm.config.units import Units
from celllm.corpus.components import N_COMPONENTS

if TYPE_CHECKING:
    import torch
    from scib_metrics.nearest_neighbors import NeighborsResults
    from scipy.sparse import csr_matrix

    from celllm.model.store import PretrainedEncoder

ENCODER = "CellLM"
SCRATCH = "CellLM without pretraining"
COMPONENTS = f"{N_COMPONENTS} principal components"
LABEL_METRICS = ("silhouette_label", "isolated_labels", "nmi_kmeans", "ari_kmeans", "nmi_leiden", "ari_leiden")
BATCH_METRICS = ("ilisi", "kbet", "graph_connectivity", "pcr_comparison")
# Neighbours of a cell, the cell itself among them, as scib-metrics' own Benchmarker has them.
_N_LISI, _N_KBET, _N_GRAPH = 90, 50, 15
# More points only blacken a page, and UMAP and distances between all cells take minutes on them.
MAX_CELLS = 5_000


def chosen_cells(n_cells: int, max_cells: int = MAX_CELLS) -> NDArray[np.int64]:
    """Return the rows to look at, in order: all, or a random choice that their numbers alone decide."""
    if n_cells <= max_cells:
        return np.arange(n_cells)
    return np.sort(np.random.default_rng(0).choice(n_cells, size=max_cells, replace=False))


def principal_components(expression: csr_matrix, *, seed: int) -> np.ndarray:
    """Return the first 50 principal components of cells x genes, fewer where the matrix has no 50."""
    from sklearn.decomposition import PCA  # slow to import

    n = min(N_COMPONENTS, min(expression.shape) - 1)
    components: np.ndarray = PCA(n, svd_solver="arpack", random_state=seed).fit_transform(expression.astype(np.float64))
    return components


def views(
    pretrained: PretrainedEncoder,
    values: csr_matrix,
    *,
    units: Units | str,
    seed: int,
    device: torch.device | str = "cpu",
) -> dict[str, NDArray[np.float64]]:
    """Return three views of the same cells (N x genes), none of which was shown a label of them; row i is cell i.

    The encoder's second view has weights drawn anew by `seed` and the same gene embedding, unless pretraining learned
    that too.
    """
    from celllm.harmonise.normalise import log_normalised
    from celllm.model.inference import embed_cells
    from celllm.model.store import fresh

    embedded = {
        name: embed_cells(encoder, values, units=units, device=device).astype(np.float64)
        for name, encoder in ((ENCODER, pretrained), (SCRATCH, fresh(pretrained, seed)))
    }
    expression = log_normalised(values) if Units(units).is_proportional else values
    return {**embedded, COMPONENTS: principal_components(expression, seed=seed)}


def unit(view_ND: NDArray[np.float64]) -> NDArray[np.float64]:
    """Put vectors on the unit sphere, where distance means what the contrastive loss compares; zeros stay."""
    lengths_N1 = np.linalg.norm(view_ND, axis=1, keepdims=True)
    return np.asarray(view_ND / np.where(lengths_N1 > 0, lengths_N1, 1))


def spread(view_ND: NDArray[np.float64]) -> Mapping[str, float]:
    """Return how spread out embeddings are: uniformity, mean pairwise cosine and effective rank of N x D numbers."""
    import torch

    from celllm.pretrain.diagnostics import effective_rank, mean_cosine, uniformity

    z_ND = torch.from_numpy(np.ascontiguousarray(view_ND, dtype=np.float64))
    return {
        "uniformity": uniformity(z_ND),
        "mean_cosine": mean_cosine(z_ND),
        "effective_rank": effective_rank(z_ND),
    }


def label_metrics(
    view_ND: NDArray[np.float64], labels: NDArray[np.str_], batches: NDArray[np.str_]
) -> dict[str, float]:
    """Measure how well labels, two or more and none empty, keep together; distances are Euclidean.

    A batch is a sample or a donor. Isolated labels are those in the fewest batches; with one batch, all labels.
    """
    scib = _scib()
    x_ND = view_ND.astype(np.float32)
    by_means = scib.nmi_ari_cluster_labels_kmeans(x_ND, labels)
    by_graph = scib.nmi_ari_cluster_labels_leiden(_neighbours(view_ND, _N_GRAPH), labels)
    return {
        "silhouette_label": float(scib.silhouette_label(x_ND, labels)),
        "isolated_labels": float(scib.isolated_labels(x_ND, labels, batches)),
        "nmi_kmeans": float(by_means["nmi"]),
        "ari_kmeans": float(by_means["ari"]),
        "nmi_leiden": float(by_graph["nmi"]),
        "ari_leiden": float(by_graph["ari"]),
    }


def tells_batches(labels: NDArray[np.str_], batches: NDArray[np.str_]) -> bool:
    """Return whether some label occurs in two batches; else a batch is a label and its mixing means nothing."""
    return any(len(np.unique(batches[labels == name])) > 1 for name in np.unique(labels))


def batch_metrics(
    view_ND: NDArray[np.float64],
    labels: NDArray[np.str_],
    batches: NDArray[np.str_],
    *,
    components_NC: NDArray[np.float64],
) -> dict[str, float]:
    """Measure how well batches mix within labels, which must tell batches (see `tells_batches`).

    `pcr_comparison` is how much less of the embedding's variance the batch explains than of the principal components of
    the expression. It is 0 for the components themselves, and where it explains more.
    """
    scib = _scib()
    codes = np.unique(batches, return_inverse=True)[1]
    around = _neighbours(view_ND, _N_LISI)
    before_NC, after_ND = components_NC.astype(np.float32), view_ND.astype(np.float32)
    with warnings.catch_warnings():
        # where the batch explains more of the embedding the package says so and gives 0
        warnings.filterwarnings("ignore", message="PCR comparison score is negative", category=UserWarning)
        pcr = float(scib.pcr_comparison(before_NC, after_ND, codes, categorical=True))
    return {
        "ilisi": float(scib.ilisi_knn(around, codes)),
        "kbet": float(scib.kbet_per_label(_neighbours(view_ND, _N_KBET), codes, labels)),
        "graph_connectivity": float(scib.graph_connectivity(_neighbours(view_ND, _N_GRAPH), labels)),
        "pcr_comparison": pcr,
    }


def _neighbours(view_ND: NDArray[np.float64], n: int) -> NeighborsResults:
    """Return exact neighbours; those of scib-metrics are approximate and take minutes to compile."""
    from scib_metrics.nearest_neighbors import NeighborsResults
    from sklearn.neighbors import NearestNeighbors

    found = NearestNeighbors(n_neighbors=min(n, len(view_ND) - 1)).fit(view_ND)
    distances, indices = found.kneighbors(view_ND)
    return NeighborsResults(indices=indices, distances=distances)


def _scib() -> ModuleType | Any:  # noqa: ANN401 - a package without types
    with warnings.catch_warnings():
        # that Tensorflow is absent; only umap's neural variant needs it
        warnings.simplefilter("ignore", ImportWarning)
        import scib_metrics  # brings jax, which takes seconds
    return scib_metrics
