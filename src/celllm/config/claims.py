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

Verdict = Literal["reproduced", "not reproduced", "not run", "not comparable"]
VERDICTS: tuple[Verdict, ...] = ("reproduced", "not reproduced", "not run", "not comparable")
_REMEDY = "correct the row; the columns are explained in config/README.md"


@dataclass(frozen=True)
class Claim:
    """A number somebody published.

    Parameters
    ----------
    claim
        Name of the row.
    source
        Where the number stands.
    task
        Task of ours it belongs to; `a+b` for a mean over two tasks.
    paper
        The published value, a fraction.
    tolerance
        Largest distance between ours and the published value that still counts as reproduced.
    """

    claim: str
    source: str
    task: str
    method: str
    metric: str
    paper: float
    tolerance: float

    @property
    def tasks(self) -> tuple[str, ...]:
        """Tasks the number is a mean over; mostly one."""
        return tuple(self.task.split("+"))


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
    """Read `config/claims.tsv`.

    Raises
    ------
    InputError
        If a column is missing or unknown, a name stands twice, or a number is no fraction.
    """
    table = _table(path, CLAIM_COLUMNS)
    twice = table["claim"][table["claim"].duplicated()]
    if len(twice):
        raise InputError(
            file=path,
            field="claim",
            expected="each claim once",
            found=f"{twice.iloc[0]} more than once",
            remedy="give each row a name of its own",
        )
    return [_claim(row, path) for _, row in table.iterrows()]


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
                claim=_claim(row, path),
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


def _claim(row: pd.Series[str], path: Path | str) -> Claim:
    name = row["claim"]
    return Claim(
        claim=name,
        source=row["source"],
        task=row["task"],
        method=row["method"],
        metric=row["metric"],
        paper=_fraction(row["paper"], f"paper of {name}", path, lowest=-1.0),
        tolerance=_fraction(row["tolerance"], f"tolerance of {name}", path, lowest=0.0),
    )


def _fraction(text: str, field: str, path: Path | str, *, lowest: float) -> float:
    value = _number(text)
    if not lowest <= value <= 1:
        raise InputError(
            file=path,
            field=field,
            expected=f"a fraction from {lowest:g} to 1, not a percentage",
            found=repr(text),
            remedy=_REMEDY,
        )
    return value


def _number(text: str) -> float:
    try:
        return float(text) if text else math.nan
    except ValueError:
        return math.nan
