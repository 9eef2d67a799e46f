"""What the numbers of a matrix are: checked at the door, and logarithms undone where a dataset's row says so.

celllm.config.units has the list of units; a source's is a row's `units`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from scipy import sparse

from celllm.base.errors import InputError
from celllm.config.datasets import LOGARITHM
from celllm.config.units import Units

MAX_COUNT: Final = int(np.iinfo(np.int32).max)
MAX_LOG: Final = 30.0
"""No logarithm of a sequencer's numbers is larger: 2^30 reads of one gene in one cell."""
MIN_HIGHEST: Final = 20.0
"""The largest TPM or CP10K of many cells lies far above this, the largest logarithm below it."""
EXPECTED: Final = {
    Units.COUNTS: "whole counts, 0 or more",
    Units.EXPECTED_COUNTS: "expected counts, 0 or more",
    Units.TPM: "transcripts per million, 0 or more",
    Units.CP10K: "counts per 10,000, 0 or more",
    Units.ZSCORE: "finite numbers",
}
REMEDY: Final = "give the raw counts, or correct the columns units and log of the dataset in config/datasets.tsv"


def dtype_of(units: Units | str) -> np.dtype[Any]:
    """Return the type that numbers are held in: int32 for counts, float32 for all others."""
    return np.dtype(np.int32 if Units(units).is_whole else np.float32)


def check_values(
    data: npt.NDArray[Any],
    units: str,
    *,
    file: Path | str,
    field: str,
    log: str | None = None,
    is_source: bool = True,
) -> None:
    """Raise InputError if numbers cannot be what they are said to be.

    Counts must be whole and at most 2^31 - 1; nothing but z-scores may be negative. Where a logarithm `log` is said to
    have been taken, none may be larger than a logarithm can be; where TPM or CP10K are said to be plain, one at least
    must be larger, if these are the source's own numbers (`is_source`).
    """
    if not len(data):
        return
    units = Units(units)
    found = _fault(data, units, log, is_source=is_source)
    if found is not None:
        raise refused(units, log, found, file=file, field=field)


def refused(units: Units, log: str | None, found: str, *, file: Path | str, field: str = "units") -> InputError:
    """Say that numbers are not what a row says."""
    expected = EXPECTED[units] if log is None else f"{log} of {EXPECTED[units]}"
    return InputError(file=file, field=field, expected=expected, found=found, remedy=REMEDY)


def _fault(data: npt.NDArray[Any], units: Units, log: str | None, *, is_source: bool) -> str | None:
    lowest, highest = float(data.min()), float(data.max())
    if not np.isfinite(lowest) or not np.isfinite(highest):
        n_bad = int((~np.isfinite(data)).sum())
        return f"{n_bad} of {len(data)} values not a finite number (NaN or infinite)"
    if units is Units.ZSCORE:
        return None
    if lowest < 0:
        return f"negative value {lowest:.2f}, so these are scaled values"
    if log is not None:
        return f"values up to {highest:.1f}, too large for a logarithm" if highest > MAX_LOG else None
    if units.is_whole:
        return _fault_of_counts(data, highest)
    if is_source and units in {Units.TPM, Units.CP10K} and highest < MIN_HIGHEST:
        return f"log-normalised values: the largest is {highest:.1f}"
    return None


def _fault_of_counts(data: npt.NDArray[Any], highest: float) -> str | None:
    if not np.issubdtype(data.dtype, np.integer) and not np.array_equal(data, np.rint(data)):
        # Counts of a cell reach hundreds; the logarithm of any count that a sequencer yields stays below 20.
        kind = "log-normalised" if highest < MIN_HIGHEST else "not whole numbers"
        fraction = float(data[np.argmax(data != np.rint(data))])
        return f"{kind}: max {highest:.1f}, fractional values such as {fraction:g}"
    if highest > MAX_COUNT:
        return f"a count of {highest:.0f}, beyond the largest that 32 bits hold ({MAX_COUNT})"
    return None


def without_log(matrix: sparse.csr_matrix, log: str) -> sparse.csr_matrix:
    """Undo a logarithm, as `datasets.tsv` writes it: `log2(x/10+1)` of x becomes x, in float64. Zero stays zero."""
    found = LOGARITHM.fullmatch(log)
    if found is None:
        msg = f"not a logarithm that can be undone: {log}"
        raise ValueError(msg)
    factor = {"log2": np.log(2.0), "ln": 1.0, "log10": np.log(10.0)}[found[1]]
    plain = np.expm1(matrix.data.astype(np.float64) * factor) * float(found[2] or 1)
    return sparse.csr_matrix((plain, matrix.indices, matrix.indptr), shape=matrix.shape)
