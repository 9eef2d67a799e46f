"""Write the report's tables: `python -m celllm.report.commands.tabulate`."""

from __future__ import annotations

import argparse
import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from celllm.base import report_table
from celllm.base.entry import add_tables, run
from celllm.bench import scores
from celllm.config import claims, recipe
from celllm.corpus import format as shards
from celllm.corpus.reader import ShardReader
from celllm.report.bench_tables import classes_table, failed_table, spread_table, trials_table
from celllm.report.catalogue import Catalogue
from celllm.report.comparisons import compare, comparisons_table
from celllm.report.data_tables import corpus_table
from celllm.report.main_table import main_table
from celllm.report.results import Results
from celllm.report.tables import choices_table, claims_table, config_table, controls_table, costs_table


def parser() -> argparse.ArgumentParser:
    """Build the command line."""
    made = argparse.ArgumentParser(prog="celllm tabulate", description=__doc__)
    made.add_argument("--scores", type=Path, required=True, help="results/bench/scores.tsv")
    made.add_argument("--failed", type=Path, required=True, help="results/bench/failures.json")
    made.add_argument("--trials", type=Path, required=True, help="results/bench/trials.tsv")
    made.add_argument("--claims", type=Path, required=True, help="results/report/claims.tsv")
    add_tables(made)
    made.add_argument("--recipes", type=json.loads, required=True, help="recipes of the encoders by name, JSON")
    made.add_argument("--shards", type=Path, required=True, help="results/shards/manifest.json")
    made.add_argument("--config", type=json.loads, required=True, help="the configuration in force, JSON text")
    made.add_argument("--not-run", nargs="*", default=[], metavar="TASK", help="tasks whose data are not at hand")
    made.add_argument("--stage", default="report", help="name and version of the workflow's stage")
    made.add_argument("--tables", type=Path, required=True, help="folder the tables are written to")
    return made


def main(argv: Sequence[str] | None = None) -> None:
    """Read scores and records, summarise, write."""
    args = parser().parse_args(argv)
    catalogue = Catalogue.read(tasks=args.tasks, methods=args.methods, datasets=args.datasets)
    answers = claims.read_answers(args.claims)
    results, failed = Results(scores.read(args.scores)), scores.read_failures(args.failed)
    n_failed = Counter(zip(failed["task"], failed["method"], strict=True))
    titles = {dataset.dataset: dataset.title for dataset in catalogue.datasets}
    corpus = ShardReader(args.shards)
    recipes = {name: recipe.parse(values, file="--recipes") for name, values in args.recipes.items()}
    made = [
        claims_table(answers),
        comparisons_table(compare(results, catalogue, [answer.claim for answer in answers]), catalogue),
        spread_table(results, catalogue),
        classes_table(results, catalogue),
        trials_table(scores.read_trials(args.trials), results, catalogue),
        failed_table(failed, catalogue),
        controls_table(results, catalogue),
        costs_table(results, catalogue),
        choices_table(recipes),
        config_table(args.config),
        corpus_table(
            shards.read(args.shards).datasets,
            dataset=corpus.dataset,
            is_malignant=corpus.is_malignant,
            titles=titles,
        ),
        main_table(results, answers, catalogue=catalogue, failed=n_failed, not_run=args.not_run),
    ]
    for table in made:
        report_table.write(table, args.tables)


if __name__ == "__main__":
    run(main)
