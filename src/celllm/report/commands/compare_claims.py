"""Put our scores beside published numbers: `python -m celllm.report.commands.compare_claims`."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from celllm.base.entry import add_tables, run
from celllm.bench import scores
from celllm.config import claims
from celllm.report.catalogue import Catalogue
from celllm.report.claims import answer_claims
from celllm.report.results import Results


def parser() -> argparse.ArgumentParser:
    """Build the command line."""
    made = argparse.ArgumentParser(prog="celllm compare_claims", description=__doc__)
    made.add_argument("--scores", type=Path, required=True, help="results/bench/scores.tsv")
    made.add_argument("--claims", type=Path, required=True, help="config/claims.tsv")
    add_tables(made)
    made.add_argument("--not-run", nargs="*", default=[], metavar="TASK", help="tasks whose data are not at hand")
    made.add_argument("--stage", default="compare_claims", help="name and version of the workflow's stage")
    made.add_argument("--out", type=Path, required=True, help="claims with ours beside them, tab separated")
    return made


def main(argv: Sequence[str] | None = None) -> None:
    """Read claims and scores, compare, write."""
    args = parser().parse_args(argv)
    catalogue = Catalogue.read(tasks=args.tasks, methods=args.methods, datasets=args.datasets)
    answers = answer_claims(
        claims.read(args.claims),
        Results(scores.read(args.scores)),
        catalogue=catalogue,
        not_run=args.not_run,
    )
    claims.write_answers(answers, args.out)


if __name__ == "__main__":
    run(main)
