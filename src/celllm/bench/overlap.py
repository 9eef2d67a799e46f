"""Cells that occur twice: in a benchmark and in the pretraining corpus, or in two subsets of a split.

A cell is known by the hash of its counts (celllm.harmonise.quality.cell_hashes), whatever its name.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd


@dataclass(frozen=True)
class Leakage:
    """Benchmark cells of one task data set among the cells of one corpus data set."""

    before: int
    """Cells of the aligned corpus data set with the counts of a benchmark cell."""
    left_out: int
    """Of these, how many are not in the shards."""
    in_shards: list[str]
    """Names of cells in the shards with the counts of a benchmark cell; there must be none."""


def leakage(benchmark: Collection[str], *, corpus: pd.DataFrame, shards: pd.DataFrame) -> Leakage:
    """Look for benchmark cells, by their hashes, in a corpus data set, before and after exclusion.

    `corpus` are all aligned cells of the data set, `shards` its cells in the shards: columns cell_id, cell_hash. The
    hashes of the two are compared with `benchmark` separately, so that one recomputed from the shards' counts finds
    what a wrong column hides.
    """
    found = corpus.loc[corpus["cell_hash"].isin(benchmark), "cell_id"]
    leaked = shards.loc[shards["cell_hash"].isin(benchmark), "cell_id"]
    return Leakage(
        before=len(found),
        left_out=int((~found.isin(shards["cell_id"])).sum()),
        in_shards=[str(name) for name in leaked],
    )


@dataclass(frozen=True)
class Duplicates:
    """Cells of a task that have an exact duplicate: another cell with the same counts."""

    n_cells: int
    """Cells in the split, those in no subset included."""
    n_duplicates: int
    """Cells with a duplicate anywhere in the task."""
    across: Mapping[tuple[str, str], int]
    """By (subset, other subset): cells of `subset` that have a duplicate in `other subset`."""


ACROSS = (("validation", "train"), ("test", "train"), ("test", "validation"))
"""Pairs of subsets whose duplicates flatter a score: subset, and the other subset that gives it away."""


def exact_duplicates(hash_of: Mapping[str, str], *, cells: Sequence[str], subsets: Sequence[str]) -> Duplicates:
    """Count the cells of a split with an exact duplicate, and those whose duplicate lies in another subset.

    A line of a regression task stands in the split once a drug, so it may be in several subsets by design; a line is no
    duplicate of itself. `cells` and `subsets` are those of each unit.
    """
    units = pd.DataFrame({"cell": list(cells), "subset": list(subsets)}).drop_duplicates()
    units["hash"] = units["cell"].map(hash_of)
    n_names = units.groupby("hash")["cell"].transform("nunique")
    repeated = units[n_names > 1]
    pairs = repeated.merge(repeated, on="hash", suffixes=("", "_other"))
    pairs = pairs[pairs["cell"] != pairs["cell_other"]]
    across = {
        (subset, other): int(
            pairs.loc[(pairs["subset"] == subset) & (pairs["subset_other"] == other), "cell"].nunique()
        )
        for subset, other in ACROSS
    }
    return Duplicates(n_cells=int(units["cell"].nunique()), n_duplicates=int(repeated["cell"].nunique()), across=across)


def subset_sizes(subsets: Sequence[str]) -> dict[str, int]:
    """Count the units of each subset of a split."""
    names, sizes = np.unique(np.asarray(subsets, dtype=str), return_counts=True)
    return dict(zip(names.tolist(), sizes.tolist(), strict=True))
