"""`config/claims.tsv`: one row a published number; `results/report/claims.tsv`: ours beside it.

Columns of the first: claim source task method metric paper tolerance. The answers add ours, ci_low, ci_high,
n_splits, verdict and note. A claim that is a mean over tasks names them as `a+b`. Numbers are fractions.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Literal

import pandas as pd

from celllm.base.atomic import writing
from celllm.base.errors import InputError
from celllm.config.tables import Claim, read_claims

Verdict = Literal["reproduced", "not reproduced", "not run", "not comparable"]
VERDICTS: tuple[Verdict, ...] = ("reproduced", "not reproduced", "not run", "not comparable")
_REMEDY = "correct the row; the columns are explained in config/README.md"


@dataclass(frozen=True)
class Answer:
    """A claim with our number beside it.

    Parameters
    ----------
    ours, ci_low, ci_high
        Mean over splits and its 95 % interval; nan where there is nothing to compare.
    n_splits
        Splits behind `ours`.
    note
        Why there is no verdict on the number, where there is none.
    """

    claim: Claim
    ours: float
    ci_low: float
    ci_high: float
    n_splits: int
    verdict: Verdict
    note: str = ""


CLAIM_COLUMNS = tuple(field.name for field in fields(Claim))
ANSWER_COLUMNS = (*CLAIM_COLUMNS, "ours", "ci_low", "ci_high", "n_splits", "verdict", "note")


def read(path: Path | str) -> list[Claim]:
    """Read `config/claims.tsv`; errors as in `celllm.config.table`."""
    return list(read_claims(path))


def write_answers(answers: Sequence[Answer], path: Path | str) -> None:
    """Write the answered claims, in the order of the claims table."""
    rows = [
        {
            **asdict(answer.claim),
            "ours": answer.ours,
            "ci_low": answer.ci_low,
            "ci_high": answer.ci_high,
            "n_splits": answer.n_splits,
            "verdict": answer.verdict,
            "note": answer.note,
        }
        for answer in answers
    ]
    with writing(path) as part:
        pd.DataFrame(rows, columns=list(ANSWER_COLUMNS)).to_csv(part, sep="\t", index=False, float_format="%.10g")


def read_answers(path: Path | str) -> list[Answer]:
    """Read the answered claims; errors as in `read`, and for a verdict that is none of `VERDICTS`."""
    answers = []
    for _, row in _table(path, ANSWER_COLUMNS).iterrows():
        verdict = next((known for known in VERDICTS if known == row["verdict"]), None)
        if verdict is None:
            raise InputError(
                file=path,
                field=f"verdict of {row['claim']}",
                expected=", ".join(VERDICTS),
                found=repr(row["verdict"]),
                remedy="compare again: snakemake --forcerun compare_claims",
            )
        answers.append(
            Answer(
                claim=_claim(row),
                ours=_number(row["ours"]),
                ci_low=_number(row["ci_low"]),
                ci_high=_number(row["ci_high"]),
                n_splits=int(row["n_splits"]),
                verdict=verdict,
                note=str(row["note"]),
            ),
        )
    return answers


def _table(path: Path | str, columns: Sequence[str]) -> pd.DataFrame:
    table = pd.read_csv(path, sep="\t", dtype=str, keep_default_na=False)
    if set(table.columns) != set(columns):
        raise InputError(
            file=path,
            field="columns",
            expected=", ".join(columns),
            found=", ".join(table.columns),
            remedy=_REMEDY,
        )
    return table


def _claim(row: pd.Series[str]) -> Claim:
    names = ("claim", "source", "task", "method", "metric")
    return Claim(**{name: row[name] for name in names}, paper=float(row["paper"]), tolerance=float(row["tolerance"]))


def _number(text: str) -> float:
    try:
        return float(text) if text else math.nan
    except ValueError:
        return math.nan
