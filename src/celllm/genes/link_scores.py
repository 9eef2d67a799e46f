"""`links.tsv`: how well held-out edges of the gene network are told from pairs that are none.

One row a method, kind of negatives and seed; columns in `COLUMNS`. `negatives` is uniform or degree_matched; `held_out`
counts edges, `without_edge` genes of the vocabulary that have none in the whole network, `cut_off` genes that lost all
of theirs to the held-out ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import pandas as pd

from celllm.base.atomic import writing
from celllm.base.errors import InputError

METHODS = ("graphmae", "svd", "random", "features", "adamic_adar", "common_neighbours", "degree_product")
"""Gene tables; the features that GraphMAE starts from; what the network's edges alone say."""
NEGATIVES = ("uniform", "degree_matched")


@dataclass(frozen=True)
class LinkScore:
    """One row of the file."""

    method: str
    negatives: str
    seed: int
    auroc: float
    average_precision: float
    held_out: int
    without_edge: int
    cut_off: int


COLUMNS = tuple(field.name for field in fields(LinkScore))
_REMEDY = "evaluate again: snakemake --forcerun evaluate_genes"


def read(path: Path | str) -> list[LinkScore]:
    """Read `links.tsv`.

    Raises
    ------
    InputError
        If a column is missing, a method or kind of negatives is unknown, a value is no number or out of range, or a row
        stands twice.
    """
    table = pd.read_csv(path, sep="\t", dtype=str, keep_default_na=False)
    if tuple(table.columns) != COLUMNS:
        raise _error(path, "columns", ", ".join(COLUMNS), ", ".join(table.columns))
    for column, known in (("method", METHODS), ("negatives", NEGATIVES)):
        if unknown := sorted(set(table[column]) - set(known)):
            raise _error(path, column, f"one of {', '.join(known)}", repr(unknown[0]))
    twice = table.duplicated(["method", "negatives", "seed"])
    if twice.any():
        found = ", ".join(table.loc[twice, ["method", "negatives", "seed"]].iloc[0])
        raise _error(path, "method, negatives, seed", "each once", f"{found} more than once")
    shares = ("auroc", "average_precision")
    numbers = {"method": str, "negatives": str} | {column: float if column in shares else int for column in COLUMNS[2:]}
    try:
        typed = table.astype(numbers)
    except ValueError as error:
        raise _error(path, ", ".join(COLUMNS[2:]), "numbers", str(error)) from None
    for column in shares:
        if not typed[column].between(0, 1).all():
            raise _error(path, column, "0 to 1", str(typed[column][~typed[column].between(0, 1)].iloc[0]))
    return [LinkScore(*row) for row in typed.itertuples(index=False, name=None)]


def write(scores: Sequence[LinkScore], path: Path | str) -> None:
    """Write what `read` returns, in its order."""
    table = pd.DataFrame([asdict(score) for score in scores], columns=list(COLUMNS))
    with writing(path) as part:
        table.to_csv(part, sep="\t", index=False, float_format="%.6g")


def _error(path: Path | str, field: str, expected: str, found: str) -> InputError:
    return InputError(file=path, field=field, expected=expected, found=found, remedy=_REMEDY)
