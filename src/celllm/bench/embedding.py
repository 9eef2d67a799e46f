"""How well an embedding keeps labels together and batches mixed, as scIB measures it, by the package scib-metrics.

All values lie between 0 and 1 except the adjusted Rand index, which may be below 0; larger is better.
Shapes: N cells, D numbers of an embedding.

Notes
-----
Luecken et al. 2022, Nat Methods 19:41 (scIB).
"""

from __future__ import annotations

import warnings
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from sklearn.neighbors import NearestNeighbors

if TYPE_CHECKING:
    from scib_metrics.nearest_neighbors import NeighborsResults

LABEL_METRICS = ("silhouette_label", "isolated_labels", "nmi_kmeans", "ari_kmeans", "nmi_leiden", "ari_leiden")
BATCH_METRICS = ("ilisi", "kbet", "graph_connectivity", "pcr_comparison")
# Neighbours of a cell, the cell itself among them, as scib-metrics' own Benchmarker has them.
_N_LISI, _N_KBET, _N_GRAPH = 90, 50, 15


def label_metrics(
    view_ND: NDArray[np.float64], labels: NDArray[np.str_], batches: NDArray[np.str_]
) -> dict[str, float]:
    """Measure how well labels keep together; distances are Euclidean.

    Parameters
    ----------
    view_ND
        The embedding.
    labels
        At least two different ones, none empty.
    batches
        Sample or donor of each cell. Isolated labels are those in the fewest batches; with one batch, all labels.
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
    """Measure how well batches mix within labels.

    Parameters
    ----------
    view_ND, labels, batches
        As in `label_metrics`; labels must tell batches (see `tells_batches`).
    components_NC
        Principal components of the expression: how much less of the embedding's variance the batch explains than of
        theirs is `pcr_comparison`. It is 0 for the components themselves, and where it explains more.
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

    found = NearestNeighbors(n_neighbors=min(n, len(view_ND) - 1)).fit(view_ND)
    distances, indices = found.kneighbors(view_ND)
    return NeighborsResults(indices=indices, distances=distances)


def _scib() -> ModuleType | Any:  # noqa: ANN401 - a package without types
    with warnings.catch_warnings():
        # that Tensorflow is absent; only umap's neural variant needs it
        warnings.simplefilter("ignore", ImportWarning)
        import scib_metrics  # brings jax, which takes seconds
    return scib_metrics
