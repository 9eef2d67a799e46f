"""A cell as a sequence: one token a gene, made of the gene's index and the bin of its expression.

Shapes: B cells in the batch, L tokens of the longest of them, CLS included; a shorter cell ends in PAD.
Genes have the ids 0…n_genes-1 of the vocabulary, CLS is gene n_genes, PAD is gene n_genes + 1.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from celllm.config.recipe import TokenSettings
from celllm.harmonise.normalise import log_normalised

N_BINS = 6
"""Bins 0…5 of log expression. An expressed gene below 1 has bin 0 and is a token all the same."""
CLS = 6
"""First token of every cell; its embedding stands for the cell."""
PAD = 7
"""Fills up shorter cells; nothing may attend to it."""
MASK = 8
"""Hides a bin that is to be predicted. The paper names no such id; our choice."""
N_TOKENS = 9
"""Rows of the expression embedding."""

Kind = Literal["counts", "zscore"]
TokenRule = TokenSettings


@dataclass(frozen=True)
class Tokens:
    """A batch of cells, ready for the encoder.

    Parameters
    ----------
    genes_BL
        Gene ids, int64; n_genes at CLS, n_genes + 1 at PAD.
    bins_BL
        Bins of expression, CLS or PAD, int64.
    """

    genes_BL: NDArray[np.int64]
    bins_BL: NDArray[np.int64]

    @property
    def lengths_B(self) -> NDArray[np.int64]:
        """Tokens of each cell, CLS included and PAD not."""
        return np.asarray(np.count_nonzero(self.bins_BL != PAD, axis=1), dtype=np.int64)


def bins_of(values: csr_matrix, rule: TokenRule, *, kind: Kind = "counts") -> NDArray[np.int64]:
    """Return the bin of every stored value, in the order of `values.data`.

    Counts are scaled and logged (see `log_normalised`), then floored or rounded, and clipped at `top_bin`.

    `zscore` values are neither counts nor logarithms: a gene's z is its distance from its own mean over
    the lines, in standard deviations. There a gene above its mean is a token of bin min(floor(z), top_bin)
    (or rounded, as the rule says), and z <= 0 is silent. Such bins say "unusually high", not "high", so
    results on them are not comparable with the paper.

    Parameters
    ----------
    values
        Cells x genes; every stored value counts as expressed, so z-scores must be positive.
    rule
        The recipe's `tokens`.
    kind
        What the values are.
    """
    if kind == "counts":
        levels = log_normalised(values, target_sum=rule.target_sum, base=rule.log_base).data
    else:
        levels = values.data
    whole = np.floor(levels) if rule.rounding == "floor" else np.rint(levels)
    return np.asarray(np.clip(whole, 0, rule.top_bin), dtype=np.int64)


def tokenise(
    values: csr_matrix,
    rule: TokenRule,
    *,
    kind: Kind = "counts",
    generator: np.random.Generator | None = None,
    draw: int = 0,
    panel: NDArray[np.integer] | None = None,
) -> Tokens:
    """Turn cells into tokens, padded to the longest cell at hand and no further.

    Layout `nonzero`: CLS, then the expressed genes in the order of the vocabulary; a cell with more than
    max_length - 1 of them loses some, by the rule's `truncation`. A cell without any is CLS alone.
    Layout `full` (scBERT): CLS, then every gene of the panel in its order, silent ones as bin 0.

    Parameters
    ----------
    values
        Cells x genes of the vocabulary; `counts` or `zscore` (see `bins_of`). Stored zeros are silent.
    rule
        The recipe's `tokens`.
    kind
        What the values are.
    generator
        Draws the genes that stay under `random_subset`. None: a pseudo-random choice fixed by the cell's
        own expressed genes, so that it does not depend on the other cells of the batch.
    draw
        Which of many such choices; only under `random_subset` and without a generator.
    panel
        For layout `full`: gene indices; None: all genes.

    Raises
    ------
    ValueError
        If a panel does not fit into `max_length`, or names a gene that is not in the vocabulary.
    """
    cells = _expressed(values, kind)
    bins = bins_of(cells, rule, kind=kind)
    if rule.layout == "full":
        return _full(cells, bins, rule, panel)
    kept = _kept(cells, rule, generator, draw)
    lengths = np.minimum(np.diff(cells.indptr), rule.max_length - 1).astype(np.int64)
    return _padded(cells.indices[kept], bins[kept], lengths, n_genes=cells.shape[1])


def _expressed(values: csr_matrix, kind: Kind) -> csr_matrix:
    """Return a matrix of the expressed genes only, each once and in order; copies only if it must."""
    cells = csr_matrix(values)
    silent = cells.data <= 0 if kind == "zscore" else cells.data == 0
    if silent.any() or not cells.has_sorted_indices:
        cells = cells.copy()
        cells.data[silent] = 0
        cells.eliminate_zeros()
        cells.sort_indices()
    return cells


def _padded(
    genes: NDArray[np.integer],
    bins: NDArray[np.int64],
    lengths: NDArray[np.int64],
    *,
    n_genes: int,
) -> Tokens:
    """Lay consecutive runs of tokens out as rows, CLS first."""
    shape = (len(lengths), 1 + int(lengths.max(initial=0)))
    genes_BL = np.full(shape, n_genes + 1, dtype=np.int64)
    bins_BL = np.full(shape, PAD, dtype=np.int64)
    genes_BL[:, 0] = n_genes
    bins_BL[:, 0] = CLS
    filled = np.arange(shape[1] - 1) < lengths[:, None]
    genes_BL[:, 1:][filled] = genes
    bins_BL[:, 1:][filled] = bins
    return Tokens(genes_BL, bins_BL)


def _full(
    cells: csr_matrix,
    bins: NDArray[np.int64],
    rule: TokenRule,
    panel: NDArray[np.integer] | None,
) -> Tokens:
    n_cells, n_genes = cells.shape
    genes = np.arange(n_genes) if panel is None else np.asarray(panel, dtype=np.int64)
    if len(genes) > rule.max_length - 1:
        msg = f"a panel of {len(genes)} genes and CLS do not fit into max_length {rule.max_length}"
        raise ValueError(msg)
    if len(genes) and not 0 <= int(genes.min()) <= int(genes.max()) < n_genes:
        msg = f"a panel names genes {genes.min()} to {genes.max()}, the vocabulary has 0 to {n_genes - 1}"
        raise ValueError(msg)
    # bins + 1, because a sparse matrix cannot tell a stored bin 0 from a silent gene; both are bin 0 in the end
    table = csr_matrix((bins + 1, cells.indices, cells.indptr), shape=cells.shape)
    bins_BL = np.full((n_cells, 1 + len(genes)), CLS, dtype=np.int64)
    bins_BL[:, 1:] = np.maximum(table[:, genes].toarray() - 1, 0)
    genes_BL = np.tile(np.concatenate([[n_genes], genes]).astype(np.int64), (n_cells, 1))
    return Tokens(genes_BL, bins_BL)


def _kept(
    cells: csr_matrix,
    rule: TokenRule,
    generator: np.random.Generator | None,
    draw: int,
) -> NDArray[np.bool_]:
    """Mark the stored values that stay when each cell keeps at most max_length - 1."""
    capacity = rule.max_length - 1
    sizes = np.diff(cells.indptr)
    kept = np.ones(cells.nnz, dtype=np.bool_)
    long = np.flatnonzero(sizes > capacity)
    if not len(long):
        return kept
    width = int(sizes[long].max())
    columns = np.arange(width)
    inside = columns < sizes[long][:, None]
    at = (cells.indptr[:-1][long][:, None] + columns)[inside]  # where the long cells' values are stored
    ranks = np.full((len(long), width), np.inf)
    ranks[inside] = _priority(cells, at, sizes[long], rule, generator, draw)
    # stable: equal priorities go by vocabulary order; inf, the empty places, goes last
    chosen = np.argsort(ranks, axis=1, kind="stable")[:, :capacity]
    stays = np.zeros_like(inside)
    np.put_along_axis(stays, chosen, values=True, axis=1)
    kept[at] = stays[inside]
    return kept


def _priority(
    cells: csr_matrix,
    at: NDArray[np.integer],
    sizes: NDArray[np.integer],
    rule: TokenRule,
    generator: np.random.Generator | None,
    draw: int,
) -> NDArray[np.float64]:
    """Give every value of the long cells a number; the lowest of a cell stay."""
    if rule.truncation == "head":
        return np.asarray(cells.indices[at], dtype=np.float64)
    if rule.truncation == "top_expressed":
        return np.asarray(-cells.data[at], dtype=np.float64)
    if generator is not None:
        return generator.random(len(at))
    genes = _mixed(cells.indices[at].astype(np.uint64))
    starts = np.concatenate([[0], np.cumsum(sizes)[:-1]])
    of_cell = _mixed(np.add.reduceat(genes, starts) + np.uint64(draw))  # a sum does not depend on the order
    own = _mixed(genes ^ np.repeat(of_cell, sizes))
    return (own >> np.uint64(11)).astype(np.float64)  # 53 bits, exact in a float64


def _mixed(x: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Scatter 64-bit numbers (SplitMix64's output function, Steele et al. 2014); wraps on overflow."""
    x = x + np.uint64(0x9E3779B97F4A7C15)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))
