"""Missing is not a value: the one list of what stands for nothing in labels, donors, samples and tumour flags."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, Final

import numpy as np
import pandas as pd

MISSING: Final = re.compile(
    r"|\?|n ?/?a|#n/a|nan|<na>|nat|none|null|nil|\\n|missing|unk|un(?:known|assigned|labell?ed|annotated|defined)"
    r"|un(?:determined|specified|available)|not (?:assigned|defined|determined|specified|available|applicable)"
    r"|not (?:provided|collected|known|annotated)"
)
"""Compared in lower case, a run of blanks, hyphens, dots and underscores being one blank, at the ends none."""
WHOLE: Final = re.compile(r"(-?\d+)\.0+")
"""A whole number as pandas writes it beside a missing one: 1.0."""


def is_missing(text: str) -> bool:
    """Tell whether a text stands for nothing."""
    return MISSING.fullmatch(re.sub(r"[\s_.-]+", " ", text.casefold()).strip()) is not None


def plain(text: str) -> str:
    """Give a value the one form it is compared in: no blanks around it, 1.0 as 1."""
    stripped = " ".join(text.split())
    whole = WHOLE.fullmatch(stripped)
    return whole[1] if whole else stripped


def texts(column: pd.Series[Any], *, known: Iterable[str] = ()) -> pd.Series[Any]:
    """Return a column of any type as plain texts, "" where the value is missing; one of `known` never is."""
    named = {plain(value) for value in known}
    codes, values = pd.factorize(column, use_na_sentinel=True)
    written = [plain(str(value)) for value in values]
    kept = ["", *(text if text in named or not is_missing(text) else "" for text in written)]
    return pd.Series(np.array(kept, dtype=object)[codes + 1], index=column.index, name=column.name, dtype=object)
