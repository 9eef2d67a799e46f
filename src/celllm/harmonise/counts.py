"""Which matrix of an AnnData holds counts: X, raw and every layer are looked at, and none is believed by its name.

A matrix is named as the column `matrix` of config/datasets.tsv has it: `X`, `raw` or `layers:NAME`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import sparse

from celllm.base.errors import InputError

BLOCK = 64
"""Cells that are looked at from each of the beginning, the middle and the end."""


@dataclass(frozen=True)
class Evidence:
    """What the numbers of a matrix look like in the cells that were looked at."""

    place: str
    n_cells: int
    n_genes: int
    lowest: float
    highest: float
    """Zeros count, stored or not."""
    whole_share: float
    """Share of whole numbers among those that are not zero; 1 where all are zero."""
    sums: tuple[float, ...]
    """Sums of the first, the middle and the last cell."""
    sample: sparse.csr_matrix
    """The cells that were looked at, cells x genes."""

    @property
    def is_counts(self) -> bool:
        """Whether these can be counts: whole, none negative, and not merely present or absent."""
        return self.lowest >= 0 and self.whole_share == 1 and 1 < self.highest < float("inf")

    def __str__(self) -> str:
        """Say it in one line."""
        sums = ", ".join(f"{total:,.6g}" for total in self.sums)
        return (
            f"{self.place} ({self.n_cells:,} x {self.n_genes:,}): minimum {self.lowest:.4g}, maximum "
            f"{self.highest:.6g}, {self.whole_share:.1%} whole numbers, cells sum to {sums}"
        )


def look(place: str, matrix: Any) -> Evidence:  # noqa: ANN401 - whatever gives rows when sliced
    """Look at cells from the beginning, the middle and the end of a matrix.

    Parameters
    ----------
    place
        Its name.
    matrix
        Cells x genes, dense or CSR, in memory or on disk; only the rows looked at are read.
    """
    n_cells, n_genes = map(int, matrix.shape)
    starts = sorted({0, max(0, (n_cells - BLOCK) // 2), max(0, n_cells - BLOCK)})
    sample = sparse.vstack([sparse.csr_matrix(matrix[start : start + BLOCK]) for start in starts], format="csr")
    values = sample.data[sample.data != 0].astype(np.float64)
    ends = [values.min(initial=np.inf), values.max(initial=-np.inf)]
    if len(values) < sample.shape[0] * n_genes:
        ends = [min(0.0, ends[0]), max(0.0, ends[1])]
    looked_at = sample.shape[0]
    chosen = [0, looked_at // 2, looked_at - 1] if looked_at else []
    sums = np.asarray(sample[chosen].sum(axis=1, dtype=np.float64)).ravel() if looked_at else np.empty(0)
    return Evidence(
        place=place,
        n_cells=n_cells,
        n_genes=n_genes,
        lowest=float(ends[0]),
        highest=float(ends[1]),
        whole_share=float((values == np.rint(values)).mean()) if len(values) else 1.0,
        sums=tuple(float(total) for total in sums),
        sample=sample,
    )


def find_counts(matrices: Mapping[str, Any], *, file: str, asked: str | None = None) -> Evidence:
    """Find the one matrix that holds counts; copies of each other are one.

    Parameters
    ----------
    matrices
        By name, in order of preference among copies.
    file
        Named in errors.
    asked
        The name to take instead of looking for it; what it holds is checked all the same.

    Raises
    ------
    InputError
        If none holds counts, or several that differ; the message shows what each looks like.
    """
    if asked is not None and asked not in matrices:
        offered = ", ".join(matrices) or "no matrix"
        raise InputError(
            file=file, field=asked, expected="a matrix of the file", found=offered, remedy=_remedy(matrices)
        )
    looked = [look(place, matrix) for place, matrix in matrices.items() if asked in (None, place)]
    found = [evidence for evidence in looked if evidence.is_counts]
    if found and all(_is_copy(found[0], other) for other in found[1:]):
        return found[0]
    described = "\n            ".join(str(evidence) for evidence in looked) or "no matrix"
    if found:
        expected, remedy = "one matrix of counts", f"several differ; {_remedy(e.place for e in found)}"
    else:
        expected = "a matrix of whole counts, 0 or more"
        remedy = 'take the object before it was normalised, or keep its counts: adata.layers["counts"] = adata.X.copy()'
    raise InputError(file=file, field=asked or "counts", expected=expected, found=described, remedy=remedy)


def _is_copy(one: Evidence, other: Evidence) -> bool:
    if (one.n_cells, one.n_genes) != (other.n_cells, other.n_genes):
        return False
    return bool((one.sample != other.sample).nnz == 0)


def _remedy(places: Any) -> str:  # noqa: ANN401 - any iterable of names
    return "name one: " + " or ".join(f"--counts {place}" for place in places)
