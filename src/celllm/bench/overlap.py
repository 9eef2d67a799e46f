"""Cells that occur twice: in a benchmark and in the pretraining corpus, or in two parts of a split.

A cell is known by the hash of its counts (celllm.harmonise.quality.cell_hashes), whatever its name.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd


@dataclass(frozen=True)
class Leakage:
    """Benchmark cells of one task data set among the cells of one corpus data set.

    Parameters
    ----------
    before
        Cells of the aligned corpus data set with the counts of a benchmark cell.
    left_out
        Of these, how many are not in the shards.
    in_shards
        Names of cells in the shards with the counts of a benchmark cell; there must be none.
    """

    before: int
    left_out: int
    in_shards: list[str]


def leakage(benchmark: Collection[str], *, corpus: pd.DataFrame, shards: pd.DataFrame) -> Leakage:
    """Look for benchmark cells in a corpus data set, before and after exclusion.

    Parameters
    ----------
    benchmark
        Hashes of the cells on which a method is tested.
    corpus
        All aligned cells of the data set: columns cell_id, cell_hash.
    shards
        Its cells in the shards: the same columns. The hashes of the two are compared with `benchmark` separately, so
        that one recomputed from the shards' counts finds what a wrong column hides.
    """
    found = corpus.loc[corpus["cell_hash"].isin(benchmark), "cell_id"]
    leaked = shards.loc[shards["cell_hash"].isin(benchmark), "cell_id"]
    return Leakage(
        before=len(found),
        left_out=int((~found.isin(shards["cell_id"])).sum()),
        in_shards=[str(name) for name in leaked],
    )


@dataclass(frozen=True)
class Twins:
    """Cells of a task that have a twin: another cell with the same counts.

    Parameters
    ----------
    n_cells
        Cells in the split, those in no part included.
    n_twins
        Cells with a twin anywhere in the task.
    across
        By (part, other part): cells of `part` that have a twin in `other part`.
    """

    n_cells: int
    n_twins: int
    across: Mapping[tuple[str, str], int]


ACROSS = (("validation", "train"), ("test", "train"), ("test", "validation"))
"""Pairs of parts whose twins flatter a score: part, and the other part that gives it away."""


def twins(hash_of: Mapping[str, str], *, cells: Sequence[str], parts: Sequence[str]) -> Twins:
    """Count the cells of a split with a twin, and those whose twin lies in another part.

    A line of a regression task stands in the split once a drug, so it may be in several parts by design; a line is no
    twin of its own.

    Parameters
    ----------
    hash_of
        Hash of each cell or line.
    cells, parts
        Cell or line, and part, of each unit of the split.
    """
    units = pd.DataFrame({"cell": list(cells), "part": list(parts)}).drop_duplicates()
    units["hash"] = units["cell"].map(hash_of)
    n_names = units.groupby("hash")["cell"].transform("nunique")
    with_twin = units[n_names > 1]
    pairs = with_twin.merge(with_twin, on="hash", suffixes=("", "_of_twin"))
    pairs = pairs[pairs["cell"] != pairs["cell_of_twin"]]
    across = {
        (part, other): int(pairs.loc[(pairs["part"] == part) & (pairs["part_of_twin"] == other), "cell"].nunique())
        for part, other in ACROSS
    }
    return Twins(n_cells=int(units["cell"].nunique()), n_twins=int(with_twin["cell"].nunique()), across=across)


def part_sizes(parts: Sequence[str]) -> dict[str, int]:
    """Count the units of each part of a split."""
    names, sizes = np.unique(np.asarray(parts, dtype=str), return_counts=True)
    return dict(zip(names.tolist(), sizes.tolist(), strict=True))
