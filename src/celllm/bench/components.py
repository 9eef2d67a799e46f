"""Which cells a picture or an audit looks at, and principal components: the neighbour of every embedding."""

from __future__ import annotations

import numpy as np
from scipy.sparse import csr_matrix

N_COMPONENTS = 50
# More points only blacken a page, and UMAP and distances between all cells take minutes on them.
MOST_CELLS = 5_000


def chosen_cells(n_cells: int, *, seed: int, most: int = MOST_CELLS) -> np.ndarray:
    """Return the rows to draw, in order: all, or `most` drawn at random."""
    if n_cells <= most:
        return np.arange(n_cells)
    return np.sort(np.random.default_rng(seed).choice(n_cells, size=most, replace=False))


def principal_components(expression: csr_matrix, *, seed: int) -> np.ndarray:
    """Return the first 50 principal components of cells x genes, fewer where the matrix has no 50."""
    from sklearn.decomposition import PCA  # slow to import

    n = min(N_COMPONENTS, min(expression.shape) - 1)
    components: np.ndarray = PCA(n, svd_solver="arpack", random_state=seed).fit_transform(expression.astype(np.float64))
    return components
