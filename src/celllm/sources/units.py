"""What a source's matrix says of its units: sums of cells, decimals and common factors tell kinds of numbers apart.

Shapes: C cells, G genes. Few cells or numbers prove nothing, so nothing is said of them.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from scipy import sparse

from celllm.base.errors import InputError
from celllm.config.units import Units
from celllm.sources.values import check_values, refused, without_log

TOTALS: Final = {Units.CP10K: 1e4, Units.TPM: 1e6}
"""What a cell's values sum to over all genes."""
LOGARITHMS: Final = ("ln(x+1)", "log2(x+1)", "log10(x+1)", "log2(x/10+1)")
MIN_CELLS: Final = 5
"""Cells with values that sums are judged by."""
MIN_VALUES: Final = 20
"""Numbers that a common factor, or the lack of decimals or negative values, is judged by."""
SPREAD: Final = 0.01
"""Relative spread of cells' sums up to which they count as equal; sums of counts differ by far more."""
ROUNDED_LOGS: Final = 0.05
"""Relative distance from its total at which a cell's sum may lie whose logarithms were rounded to two decimals."""
ROUNDING: Final = 0.01
"""Distance from a whole number that arithmetic in 32 bits leaves."""


def as_units(matrix: sparse.csr_matrix, units: str, *, log: str | None, file: Path | str) -> sparse.csr_matrix:
    """Check a source's cells x names against what its row says, and undo the logarithm; counts come back whole.

    Beside what `check_values` sees, the sums of cells tell normalised values, multiples of counts and other logarithms.
    """
    known = Units(units)
    try:
        check_values(matrix.data, units, file=file, field="units", log=log)
    except InputError as error:
        kind = kind_of_fractions(matrix) if log is None and known.is_whole else None
        raise (error if kind is None else refused(known, log, f"{error.found}; {kind}", file=file)) from None
    plain = matrix if log is None else without_log(matrix, log)
    if known is Units.CP10K:
        plain = per_ten_thousand(plain)
    found = _fault_of_cells(matrix, plain, known, log) if len(matrix.data) else None
    if found is not None:
        raise refused(known, log, found, file=file)
    if log is not None and known.is_whole:
        plain.data = np.rint(plain.data)
    return plain


def _fault_of_cells(matrix: sparse.csr_matrix, plain: sparse.csr_matrix, units: Units, log: str | None) -> str | None:
    if units is Units.ZSCORE:
        is_positive = len(matrix.data) >= MIN_VALUES and matrix.data.min() >= 0
        return "no negative value, and z-scores lie on both sides of 0" if is_positive else None
    if log is not None:
        found = fault_of_logarithm(matrix, plain, units, log)
        if found is None and units.is_whole:
            off = np.abs(plain.data - np.rint(plain.data)) - 1e-5 * plain.data
            if off.max() > ROUNDING:
                found = f"with {log} undone no whole numbers, such as {plain.data[off.argmax()]:g}"
        return found
    if units.is_whole:
        return kind_of_counts(matrix)
    if units is Units.EXPECTED_COUNTS:
        total = common_total(matrix)
        return None if total is None else f"normalised values: every cell sums to {total:,.0f}"
    if len(matrix.data) >= MIN_VALUES and are_whole(matrix.data) and np.median(_smallest(matrix)) == 1:
        return f"whole numbers up to {matrix.data.max():.0f}, 1 the smallest in most cells, so these are counts"
    return fault_of_total(matrix, units)


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


def kind_of_counts(matrix: sparse.csr_matrix) -> str | None:
    """Say what whole numbers are if they are no counts: multiples of one number, or rounded normalised values."""
    data = matrix.data[matrix.data != 0]
    if not len(data) or data.min() == 1:
        return None
    if len(data) >= MIN_VALUES:
        factor = int(np.gcd.reduce(data.astype(np.int64)))
        if factor > 1:
            return f"counts times {factor}: all {len(data)} numbers are multiples of it"
    total = common_total(matrix)
    if total is not None and np.median(_smallest(matrix)) > 1:
        return f"rounded normalised values: every cell sums to about {total:,.0f}, and a cell's smallest is not 1"
    return None


def kind_of_fractions(matrix: sparse.csr_matrix) -> str | None:
    """Say what numbers with decimals are, where sums or decimals tell."""
    data = matrix.data
    if are_whole(data) or not np.isfinite(data).all() or data.min() < 0:
        return None
    total = common_total(matrix)
    if total is not None:
        return f"normalised values: every cell sums to {total:,.0f}"
    taken = logarithm_of(matrix)
    if taken is not None:
        return f"log-normalised values: {taken[0]} undone, every cell sums to {taken[1]:,.0f}"
    off = float(np.abs(data - np.rint(data)).max())
    if off <= ROUNDING and (data >= 1 - ROUNDING).all():
        return f"counts with the rounding of floats, up to {off:.1g} from a whole number: round them"
    is_whole = data == np.rint(data)
    if data.max() < np.log1p(TOTALS[Units.TPM]) and is_whole.mean() < 0.1:
        return None
    return (
        f"decimals in {1 - is_whole.mean():.0%} of the numbers, and cells of different sums: counts corrected for "
        "ambient RNA (SoupX without roundToInt), or expected counts (RSEM)"
    )


def logarithm_of(matrix: sparse.csr_matrix) -> tuple[str, float] | None:
    """Return the logarithm that, undone, makes all cells sum to the same, and that sum."""
    if not len(matrix.data) or matrix.data.min() < 0 or matrix.data.max() > np.log2(1e7):
        return None
    for log in LOGARITHMS:
        total = common_total(without_log(matrix, log))
        if total is not None:
            return log, total
    return None


def fault_of_logarithm(matrix: sparse.csr_matrix, plain: sparse.csr_matrix, units: Units, log: str) -> str | None:
    """Say why values are not the logarithm they are said to be; `plain` are they with it undone."""
    if len(matrix.data) >= MIN_VALUES and are_whole(matrix.data):
        return f"whole numbers up to {matrix.data.max():.0f}, so these are counts and no logarithms"
    if common_total(plain) is None:
        taken = logarithm_of(matrix)
        if taken is not None and taken[0] != log:
            return f"{taken[0]}: undone so every cell sums to {taken[1]:,.0f}, and undone as {log} they differ"
    return fault_of_total(plain, units, but=f" with {log} undone")


def per_ten_thousand(plain: sparse.csr_matrix) -> sparse.csr_matrix:
    """Return cells that each sum to a power of ten, such as CPM, as counts per 10,000; others as they are."""
    sums_C = np.asarray(plain.sum(axis=1, dtype=np.float64)).ravel()
    shares_C = np.where(sums_C > 0, sums_C, 1e4) / 1e4
    powers_C = 10.0 ** np.rint(np.log10(shares_C))
    if (powers_C == 1).all() or np.abs(shares_C / powers_C - 1).max() > ROUNDED_LOGS:
        return plain
    scaled = plain.data / np.repeat(powers_C, np.diff(plain.indptr))
    return sparse.csr_matrix((scaled, plain.indices, plain.indptr), shape=plain.shape)


def fault_of_total(plain: sparse.csr_matrix, units: Units, *, but: str = "") -> str | None:
    """Say why values cannot be shares of the total that their units name; genes left out make a sum smaller only."""
    expected = TOTALS.get(units)
    if expected is None or not plain.shape[0]:
        return None
    total = common_total(plain)
    if total is not None and abs(total - expected) > 2 * SPREAD * expected:
        return f"cells that sum to {total:,.0f} each{but}, not to {expected:,.0f}"
    largest = float(np.asarray(plain.sum(axis=1, dtype=np.float64)).max())
    if largest > expected * (1 + ROUNDED_LOGS):
        return f"cells that sum to up to {largest:,.0f}{but}, more than {expected:,.0f}"
    return None


def _smallest(matrix: sparse.csr_matrix) -> npt.NDArray[Any]:
    """Return the smallest value above 0 of each cell that has one."""
    kept = sparse.csr_matrix(matrix, copy=True)
    kept.eliminate_zeros()
    starts = kept.indptr[:-1][np.diff(kept.indptr) > 0]
    return np.asarray(np.minimum.reduceat(kept.data, starts))
