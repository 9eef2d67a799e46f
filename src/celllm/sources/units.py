"""What the numbers of a matrix are, judged in one place: sums of cells, decimals and common factors tell kinds apart.

Shapes: C cells, G genes. Few cells or numbers prove nothing, so nothing is said of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from scipy import sparse

from celllm.base.errors import InputError
from celllm.config.units import Units
from celllm.sources.values import MAX_COUNT, MAX_LOG, check_values, refused, without_log

TOTALS: Final = {Units.CP10K: 1e4, Units.TPM: 1e6}
"""What a cell's values sum to over all genes."""
LOGARITHMS: Final = ("ln(x+1)", "log2(x+1)", "log10(x+1)", "log2(x/10+1)")
MIN_CELLS: Final = 5
"""Cells with values that sums are judged by."""
MIN_VALUES: Final = 20
"""Numbers that a common factor, or the lack of decimals or negative values, is judged by."""
MIN_OF_CELL: Final = 10
"""Numbers of a cell that a factor of its own is judged by."""
MIN_OF_WHOLE: Final = 50
"""Whole numbers of a cell that a gap among the smallest is judged by."""
MIN_GAPPED: Final = 0.02
"""Share of cells with such a gap from which on counts were scaled and rounded; of counts none has one."""
SPREAD: Final = 0.01
"""Relative spread of cells' sums up to which they count as equal; sums of counts differ by far more."""
ROUNDED_LOGS: Final = 0.05
"""Relative distance from its total at which a cell's sum may lie whose logarithms were rounded to two decimals."""
ROUNDING: Final = 0.01
"""Distance from a whole number that arithmetic in 32 bits leaves."""


@dataclass(frozen=True)
class Evidence:
    """What the numbers of some cells are, and what speaks for it."""

    units: str
    remark: str
    lowest: float
    highest: float
    whole: float
    sums: tuple[float, ...]
    """Of the first, the middle and the last cell with values."""

    @property
    def is_counts(self) -> bool:
        """Whether these are counts, and not merely present or absent."""
        return self.units == "counts" and self.highest > 1

    def line(self) -> str:
        """Say all of it in one line."""
        said = f"{self.units}{f' ({self.remark})' if self.remark else ''}"
        sums = ", ".join(f"{value:,.6g}" for value in self.sums)
        numbers = f": {self.lowest:,.6g} to {self.highest:,.6g}, {self.whole:.1%} whole, sums of three cells {sums}"
        return said + (numbers if sums else "")


def evidence(matrix: sparse.csr_matrix) -> Evidence:
    """Tell what the numbers of cells x genes are."""
    kept = _stored(matrix)
    data = kept.data.astype(np.float64)
    if not len(data):
        return Evidence("nothing", "no number but zero", 0.0, 0.0, 1.0, ())
    filled = np.flatnonzero(np.diff(kept.indptr))
    three = dict.fromkeys(filled[[0, len(filled) // 2, -1]].tolist())
    sums = tuple(float(kept[row].sum(dtype=np.float64)) for row in three)
    whole = float(np.mean(data == np.rint(data)))
    return Evidence(*kind_of(kept), float(data.min()), float(data.max()), whole, sums)


def kind_of(matrix: sparse.csr_matrix) -> tuple[str, str]:
    """Say what numbers are, and why; of counts nothing speaks against them."""
    data = matrix.data
    is_finite = np.isfinite(data)
    if not is_finite.all():
        return "missing values", f"{int((~is_finite).sum())} of {len(data)} numbers are missing or infinite"
    if data.min() < 0:
        return "scaled values", "negative numbers"
    if not are_whole(data):
        return _kind_of_fractions(matrix)
    if data.max() > MAX_COUNT:
        return "counts", ""
    factor = int(np.gcd.reduce(data.astype(np.int64))) if data.min() > 1 and len(data) >= MIN_VALUES else 1
    if factor > 1:
        return f"counts times {factor}", f"all {len(data)} numbers are multiples of it"
    total = common_total(matrix)
    if total is not None and np.median(_smallest(matrix)) > 1:
        return "rounded normalised values", f"every cell sums to about {total:,.0f}, and a cell's smallest is not 1"
    n_gapped, n_judged = _gapped(matrix)
    if n_gapped >= MIN_CELLS and n_gapped > MIN_GAPPED * n_judged:
        return (
            "rounded normalised values",
            f"{n_gapped:,} of {n_judged:,} cells begin at 2 or more, the next missing",
        )
    return "counts", ""


def _gapped(matrix: sparse.csr_matrix) -> tuple[int, int]:
    """Count the cells whose smallest number is above 1 and the next whole one missing, of those with enough numbers.

    Counts begin 1, 2, 3; times a factor and rounded they leave numbers out, such as 3, 5, 8.
    """
    starts, smallest = _starts(matrix), _smallest(matrix)
    sizes = np.diff([*starts, len(matrix.data)])
    has_next = np.logical_or.reduceat(matrix.data == np.repeat(smallest + 1, sizes), starts)
    is_judged = sizes >= MIN_OF_WHOLE
    return int((is_judged & (smallest > 1) & ~has_next).sum()), int(is_judged.sum())


def _kind_of_fractions(matrix: sparse.csr_matrix) -> tuple[str, str]:
    data = matrix.data
    total, taken = common_total(matrix), logarithm_of(matrix)
    if total is not None:
        return "normalised values", f"every cell sums to {total:,.0f}"
    if taken is not None:
        return "log-normalised values", f"{taken[0]} undone, every cell sums to {taken[1]:,.0f}"
    off, is_whole = np.abs(data - np.rint(data)), data == np.rint(data)
    if off.max() <= ROUNDING and (data >= 1 - ROUNDING).all():
        return "counts with the rounding of floats", f"up to {off.max():.1g} from a whole number: round them"
    is_whole_cell = np.logical_and.reduceat(is_whole, _starts(matrix))
    if is_whole_cell.mean() > 0.05:
        n_whole, n_cells = int(is_whole_cell.sum()), len(is_whole_cell)
        return "mixed values", f"whole numbers in {n_whole:,} of {n_cells:,} cells, decimals in the others"
    if _have_factors(matrix):
        return "counts times a factor", "each cell's numbers are multiples of its smallest"
    if data.max() <= MAX_LOG and is_whole.mean() < 0.1:
        return "logarithms, or another small scale", "fractions, and no large number"
    return (
        f"decimals in {1 - is_whole.mean():.0%} of the numbers",
        "cells of different sums: counts corrected for ambient RNA (SoupX, not rounded), or expected counts (RSEM)",
    )


def _have_factors(matrix: sparse.csr_matrix) -> bool:
    """Whether the numbers of nearly every cell are whole multiples of its smallest, and not just rounded."""
    starts, smallest = _starts(matrix), _smallest(matrix)
    sizes = np.diff([*starts, len(matrix.data)])
    ratios = matrix.data / np.repeat(smallest, sizes)
    is_multiple = np.logical_and.reduceat(np.abs(ratios - np.rint(ratios)) < ROUNDING, starts)
    # numbers rounded to some decimals are multiples of 0.1, 0.01, …
    powers = np.log10(smallest)
    is_rounded = np.abs(powers - np.rint(powers)) < 1e-6
    return bool(np.mean(is_multiple & ~is_rounded & (sizes >= MIN_OF_CELL)) > 0.9)


def as_units(matrix: sparse.csr_matrix, units: str, *, log: str | None, file: Path | str) -> sparse.csr_matrix:
    """Check a source's cells x names against what its row says, and undo the logarithm; counts come back whole.

    Beside what `check_values` sees, the sums of cells tell normalised values, multiples of counts and other logarithms.
    """
    known = Units(units)
    try:
        check_values(matrix.data, units, file=file, field="units", log=log)
    except InputError as error:
        kind, why = kind_of(_stored(matrix))
        if log is not None or not known.is_whole or kind in {"missing values", "scaled values", "counts"}:
            raise
        raise refused(known, log, f"{error.found}; {kind}: {why}", file=file) from None
    plain = matrix if log is None else without_log(matrix, log)
    if known is Units.CP10K:
        plain = per_ten_thousand(plain)
    found = _fault_of_cells(_stored(matrix), plain, known, log) if matrix.data.any() else None
    if found is not None:
        raise refused(known, log, found, file=file)
    if log is not None and known.is_whole:
        plain.data = np.rint(plain.data)
    return plain


def _fault_of_cells(matrix: sparse.csr_matrix, plain: sparse.csr_matrix, units: Units, log: str | None) -> str | None:
    """Say why values are not what they are said to be; `plain` are they with the logarithm undone."""
    data = matrix.data
    are_many_whole = len(data) >= MIN_VALUES and are_whole(data)
    if units is Units.ZSCORE:
        is_positive = len(data) >= MIN_VALUES and data.min() >= 0
        return "no negative value, and z-scores lie on both sides of 0" if is_positive else None
    if log is not None:
        if are_many_whole:
            return f"whole numbers up to {data.max():.0f}, so these are counts and no logarithms"
        taken = logarithm_of(matrix) if common_total(plain) is None else None
        if taken is not None and taken[0] != log:
            return f"{taken[0]}: undone so every cell sums to {taken[1]:,.0f}, and undone as {log} they differ"
        off = np.abs(plain.data - np.rint(plain.data)) - 1e-5 * plain.data
        if units.is_whole and off.max() > ROUNDING:
            return f"with {log} undone no whole numbers, such as {plain.data[off.argmax()]:g}"
        return _fault_of_total(plain, units, but=f" with {log} undone")
    if units.is_whole:
        kind, why = kind_of(matrix)
        return None if kind == "counts" else f"{kind}: {why}"
    if units is Units.EXPECTED_COUNTS:
        total = common_total(matrix)
        return None if total is None else f"normalised values: every cell sums to {total:,.0f}"
    if are_many_whole and np.median(_smallest(matrix)) == 1:
        return f"whole numbers up to {data.max():.0f}, 1 the smallest in most cells, so these are counts"
    return _fault_of_total(matrix, units)


def common_total(matrix: sparse.csr_matrix) -> float | None:
    """Return what the cells sum to if they all sum to the same, as normalised ones do."""
    sums_C = np.asarray(matrix.sum(axis=1, dtype=np.float64)).ravel()
    sums_C = sums_C[sums_C > 0]
    if len(sums_C) < MIN_CELLS or not np.isfinite(sums_C).all():
        return None
    middle = float(np.median(sums_C))
    return middle if float(np.ptp(sums_C)) <= SPREAD * middle else None


def are_whole(data: npt.NDArray[Any]) -> bool:
    """Tell whether all numbers are whole."""
    return bool(np.issubdtype(data.dtype, np.integer) or np.array_equal(data, np.rint(data)))


def logarithm_of(matrix: sparse.csr_matrix) -> tuple[str, float] | None:
    """Return the logarithm that, undone, makes all cells sum to the same, and that sum."""
    if matrix.data.min() < 0 or matrix.data.max() > np.log2(1e7):
        return None
    totals = {log: common_total(without_log(matrix, log)) for log in LOGARITHMS}
    return next(((log, total) for log, total in totals.items() if total is not None), None)


def per_ten_thousand(plain: sparse.csr_matrix) -> sparse.csr_matrix:
    """Return cells that each sum to a power of ten, such as CPM, as counts per 10,000; others as they are."""
    sums_C = np.asarray(plain.sum(axis=1, dtype=np.float64)).ravel()
    shares_C = np.where(sums_C > 0, sums_C, 1e4) / 1e4
    powers_C = 10.0 ** np.rint(np.log10(shares_C))
    if (powers_C == 1).all() or np.abs(shares_C / powers_C - 1).max() > ROUNDED_LOGS:
        return plain
    scaled = plain.data / np.repeat(powers_C, np.diff(plain.indptr))
    return sparse.csr_matrix((scaled, plain.indices, plain.indptr), shape=plain.shape)


def _fault_of_total(plain: sparse.csr_matrix, units: Units, *, but: str = "") -> str | None:
    """Say why values cannot be shares of the total that their units name; genes left out make a sum smaller only."""
    expected = TOTALS.get(units)
    if expected is None:
        return None
    total = common_total(plain)
    if total is not None and abs(total - expected) > 2 * SPREAD * expected:
        return f"cells that sum to {total:,.0f} each{but}, not to {expected:,.0f}"
    largest = float(np.asarray(plain.sum(axis=1, dtype=np.float64)).max())
    if largest > expected * (1 + ROUNDED_LOGS):
        return f"cells that sum to up to {largest:,.0f}{but}, more than {expected:,.0f}"
    return None


def _stored(matrix: sparse.csr_matrix) -> sparse.csr_matrix:
    """Return a matrix without stored zeros."""
    if matrix.data.all():
        return matrix
    kept = sparse.csr_matrix(matrix, copy=True)
    kept.eliminate_zeros()
    return kept


def _starts(matrix: sparse.csr_matrix) -> npt.NDArray[Any]:
    """Return where the numbers of each cell that has some begin."""
    return np.asarray(matrix.indptr[:-1][np.diff(matrix.indptr) > 0])


def _smallest(matrix: sparse.csr_matrix) -> npt.NDArray[Any]:
    return np.asarray(np.minimum.reduceat(matrix.data, _starts(matrix)))
