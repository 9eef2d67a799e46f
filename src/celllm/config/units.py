"""What the numbers of a matrix are: the one list of units."""

from __future__ import annotations

from enum import StrEnum


class Units(StrEnum):
    """Units of expression, once a logarithm that the source has taken is undone."""

    COUNTS = "counts"
    """Whole molecules or reads."""
    EXPECTED_COUNTS = "expected_counts"
    """Counts with decimals, as RSEM gives them."""
    TPM = "tpm"
    """Transcripts per million."""
    CP10K = "cp10k"
    """Counts per ten thousand of a cell."""
    ZSCORE = "zscore"
    """Standardised over cells, gene by gene; negative values are possible and zero is the mean."""

    @property
    def is_whole(self) -> bool:
        """Whether every number is whole."""
        return self is Units.COUNTS

    @property
    def is_proportional(self) -> bool:
        """Whether numbers are proportional to molecules within a cell: they sum, scale and log as counts do."""
        return self is not Units.ZSCORE
