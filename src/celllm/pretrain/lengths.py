"""How many tokens the cells of the paper's corpus have, for when the corpus is not at hand.

Shapes: B cells.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

CORPUS_CELLS = 1_764_921
"""PanglaoDB's and CancerSCEM's human cells by the databases' own totals (Zhao et al. 2023, arXiv:2306.04371)."""
CORPUS_GENES = 19_379
"""Rows of the gene table in the authors' release, CLS and PAD not counted."""
MEAN_LENGTH, LENGTH_99 = 1_616, 4_673
"""Expressed genes of a cell in the corpus: cell-weighted mean and 99th percentile of PanglaoDB's table of samples."""
FEWEST = 200
"""Cells with fewer expressed genes are no part of the corpus."""


def drawn_lengths(n_cells: int, *, longest: int = 6_000, seed: int = 0) -> NDArray[np.int64]:
    """Draw how many tokens cells have, CLS included: the log-normal of the corpus's mean and 99th percentile.

    Its quartiles, 983, 1,401 and 1,995 genes, are near those of the corpus, 967, 1,347 and 2,026. Cells below
    `FEWEST` genes are no part of the corpus; those above `longest` tokens are cut, as by the paper.
    """
    z_99 = 2.3263  # of a standard normal
    # mean = exp(m + s^2 / 2) and percentile = exp(m + z s); of the two roots, the one below z is meant
    spread = z_99 - np.sqrt(z_99**2 - 2 * np.log(LENGTH_99 / MEAN_LENGTH))
    middle = np.log(MEAN_LENGTH) - spread**2 / 2
    genes = np.random.default_rng([seed, 2]).lognormal(middle, spread, n_cells)
    return np.minimum(np.maximum(genes.astype(np.int64), FEWEST), longest - 1) + 1
