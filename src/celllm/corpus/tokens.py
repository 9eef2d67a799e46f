"""A cell as a sequence: one token a gene, made of the gene's index and its expression, as a bin and as a value.

Tokens of many cells stand packed, one cell behind the other; whoever needs a rectangle pads them, last of all.

Shapes: B cells, N tokens of all of them, L tokens of the longest of them, CLS included; a padded cell ends in PAD.
Genes have the ids 0…n_genes-1 of the vocabulary, CLS is gene n_genes, PAD is gene n_genes + 1.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from celllm.config.recipe_encoder import TokenSettings
from celllm.config.units import Units
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


@dataclass(frozen=True)
class Tokens:
    """Cells as packed tokens, CLS first in each and no PAD."""

    genes_N: NDArray[np.int32]
    """Gene ids; n_genes at CLS."""
    bins_N: NDArray[np.uint8]
    """Bins of expression; CLS at CLS."""
    values_N: NDArray[np.float32]
    """Expression itself, see `levels_of`; 0 at CLS."""
    lengths_B: NDArray[np.int64]
    """Tokens of each cell, CLS included."""
    n_genes: int

    def padded(self) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float32]]:
        """Return gene ids, bins and values, B x L each, for the encoder."""
        genes_BL = padded(self.genes_N, self.lengths_B, fill=self.n_genes + 1)
        bins_BL = padded(self.bins_N, self.lengths_B, fill=PAD)
        return genes_BL, bins_BL, padded(self.values_N, self.lengths_B, fill=0, dtype=np.float32)


def padded(
    values_N: NDArray[Any],
    lengths_B: NDArray[np.int64],
    *,
    fill: int,
    starts_B: NDArray[np.int64] | None = None,
    dtype: type[np.generic] = np.int64,
) -> NDArray[Any]:
    """Lay packed cells out as rows, B x L; shorter ones end in `fill`.

    `starts_B` says where each cell begins in `values_N`, in any order; None: the cells follow each other from the first
    token on.
    """
    if starts_B is None:
        starts_B = np.cumsum(lengths_B) - lengths_B
    rows_BL = np.full((len(lengths_B), int(lengths_B.max(initial=1))), fill, dtype=dtype)
    for row, start, length in zip(rows_BL, starts_B.tolist(), lengths_B.tolist(), strict=True):
        row[:length] = values_N[start : start + length]
    return rows_BL


def levels_of(values: csr_matrix, rule: TokenSettings, *, units: Units | str = Units.COUNTS) -> NDArray[np.float64]:
    """Return the expression of every stored value, in the order of `values.data`.

    Counts, TPM and whatever else is proportional to molecules are scaled and logged (see `log_normalised`); z-scores
    stay as they are.
    """
    if Units(units).is_proportional:
        return np.asarray(log_normalised(values, target_sum=rule.target_sum, base=rule.log_base).data)
    return np.asarray(values.data, dtype=np.float64)


def bins_of(levels: NDArray[np.float64], rule: TokenSettings) -> NDArray[np.int64]:
    """Return the bin of each level: floored or rounded, and clipped at `top_bin`.

    `zscore` values are neither counts nor logarithms: a gene's z is its distance from its own mean over
    the lines, in standard deviations. There a gene above its mean is a token of bin min(floor(z), top_bin)
    (or rounded, as the rule says), and z <= 0 is silent. Such bins say "unusually high", not "high", so
    results on them are not comparable with the paper. Every stored value, cells x genes, counts as expressed, so
    z-scores must be positive.
    """
    whole = np.floor(levels) if rule.rounding == "floor" else np.rint(levels)
    return np.asarray(np.clip(whole, 0, rule.top_bin), dtype=np.int64)


def tokenise(
    values: csr_matrix,
    rule: TokenSettings,
    *,
    units: Units | str = Units.COUNTS,
    generator: np.random.Generator | None = None,
    draw: int = 0,
    panel: NDArray[np.integer] | None = None,
    priority_N: NDArray[np.float64] | None = None,
    n_most_B: NDArray[np.int64] | None = None,
) -> Tokens:
    """Turn cells into packed tokens.

    Layout `nonzero`: CLS, then the expressed genes in the order of the vocabulary; a cell with more than
    max_length - 1 of them loses some, by the rule's `truncation`. A cell without any is CLS alone.
    Layout `full` (scBERT): CLS, then every gene of the panel in its order, silent ones as bin 0.

    Stored zeros are silent, and so are z-scores below 0. The generator draws the genes that stay under `random_subset`;
    None: a pseudo-random choice fixed by the cell's own expressed genes, so that it does not depend on the other cells
    of the batch, of which `draw` is the number. In place of `truncation`, `priority_N` is a number for each stored
    value, of which the lowest of a cell stay; values must be expressed and in order then. `n_most_B` are the most genes
    that each cell keeps, where that is less than `max_length` allows. ValueError if a panel (None: all genes) does not
    fit into `max_length`, or names a gene that is not in the vocabulary.
    """
    cells = _expressed(values, Units(units))
    levels = levels_of(cells, rule, units=units)
    bins = bins_of(levels, rule)
    if rule.layout == "full":
        return _full(cells, bins, levels, rule, panel)
    capacity_B = np.full(cells.shape[0], rule.max_length - 1)
    capacity_B = capacity_B if n_most_B is None else np.minimum(capacity_B, n_most_B)
    if priority_N is None:
        kept = _kept(cells, capacity_B, lambda at, sizes: _priority(cells, at, sizes, rule, generator, draw))
    else:
        kept = _kept(cells, capacity_B, lambda at, _: priority_N[at])
    lengths = np.minimum(np.diff(cells.indptr), capacity_B).astype(np.int64)
    return _packed(cells.indices[kept], bins[kept], levels[kept], lengths, n_genes=cells.shape[1])


def _expressed(values: csr_matrix, units: Units) -> csr_matrix:
    """Return a matrix of the expressed genes only, each once and in order; copies only if it must."""
    cells = csr_matrix(values)
    silent = cells.data == 0 if units.is_proportional else cells.data <= 0
    if silent.any() or not cells.has_sorted_indices:
        cells = cells.copy()
        cells.data[silent] = 0
        cells.eliminate_zeros()
        cells.sort_indices()
    return cells


def _packed(
    genes: NDArray[np.integer],
    bins: NDArray[np.int64],
    levels: NDArray[np.float64],
    n_expressed_B: NDArray[np.int64],
    *,
    n_genes: int,
) -> Tokens:
    """Put CLS before the tokens of each cell, which follow each other already."""
    starts_B = np.cumsum(n_expressed_B) - n_expressed_B
    return Tokens(
        genes_N=np.insert(genes.astype(np.int32), starts_B, n_genes),
        bins_N=np.insert(bins.astype(np.uint8), starts_B, CLS),
        values_N=np.insert(levels.astype(np.float32), starts_B, 0),
        lengths_B=n_expressed_B + 1,
        n_genes=n_genes,
    )


def _full(
    cells: csr_matrix,
    bins: NDArray[np.int64],
    levels: NDArray[np.float64],
    rule: TokenSettings,
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
    shown = np.maximum(table[:, genes].toarray() - 1, 0)
    values = csr_matrix((levels, cells.indices, cells.indptr), shape=cells.shape)[:, genes].toarray()
    n_expressed_B = np.full(n_cells, len(genes))
    return _packed(np.tile(genes, n_cells), shown.ravel(), values.ravel(), n_expressed_B, n_genes=n_genes)


def _kept(
    cells: csr_matrix,
    capacity_B: NDArray[np.integer],
    priority: Callable[[NDArray[np.integer], NDArray[np.integer]], NDArray[np.float64]],
) -> NDArray[np.bool_]:
    """Mark the stored values that stay when each cell keeps so many; `priority` is asked for those of long cells."""
    sizes = np.diff(cells.indptr)
    kept = np.ones(cells.nnz, dtype=np.bool_)
    long = np.flatnonzero(sizes > capacity_B)
    if not len(long):
        return kept
    starts, sizes = cells.indptr[:-1][long], sizes[long]
    ends = np.cumsum(sizes)
    at = np.repeat(starts - (ends - sizes), sizes) + np.arange(ends[-1])  # where the long cells' values are stored
    ranks = np.split(priority(at, sizes), ends[:-1])
    for start, ranks_of_cell, capacity in zip(starts, ranks, capacity_B[long], strict=True):
        # cell by cell: some are ten times as long as most, and a rectangle of all would be sorted for them
        dropped = np.argsort(ranks_of_cell, kind="stable")[capacity:]  # equal ones go by vocabulary order
        kept[start + dropped] = False
    return kept


def _priority(
    cells: csr_matrix,
    at: NDArray[np.integer],
    sizes: NDArray[np.integer],
    rule: TokenSettings,
    generator: np.random.Generator | None,
    draw: int,
) -> NDArray[np.float64]:
    """Give every value of the long cells a number; the lowest of a cell stay."""
    if rule.truncation == "head":
        return np.asarray(cells.indices[at], dtype=np.float64)
    if rule.truncation == "random_subset" and generator is not None:
        return generator.random(len(at))
    genes = mixed(cells.indices[at].astype(np.uint64))
    starts = np.concatenate([[0], np.cumsum(sizes)[:-1]])
    of_cell = mixed(np.add.reduceat(genes, starts) + np.uint64(draw))  # a sum does not depend on the order
    own = mixed(genes ^ np.repeat(of_cell, sizes))
    chance = (own >> np.uint64(11)).astype(np.float64)  # 53 bits, exact in a float64
    if rule.truncation == "random_subset":
        return chance
    # of equal counts, one for most genes, chance decides and not the alphabet
    ranks = np.empty(len(at))
    ranks[np.lexsort((chance, -cells.data[at]))] = np.arange(len(at))
    return ranks


def mixed(x: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Scatter 64-bit numbers (SplitMix64's output function, Steele et al. 2014); wraps on overflow."""
    x = x + np.uint64(0x9E3779B97F4A7C15)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))
