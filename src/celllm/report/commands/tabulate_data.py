"""Write the report's tables about data: `python -m celllm.report.commands.tabulate_data`."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from celllm.base import report_table
from celllm.base.entry import run
from celllm.config import tables
from celllm.genes import network as network_file
from celllm.harmonise import cells as cells_file
from celllm.harmonise import harmonisation, vocabulary
from celllm.report.data_tables import harmonisation_table, samples_table, vocabulary_table


def parser() -> argparse.ArgumentParser:
    """Build the command line."""
    made = argparse.ArgumentParser(prog="celllm tabulate_data", description=__doc__)
    made.add_argument("--harmonisation", type=Path, required=True, nargs="+", help="results/cells/*.harmonisation.json")
    made.add_argument("--cells", type=Path, required=True, nargs="+", help="aligned cells of the same data sets")
    made.add_argument("--vocabulary", type=Path, required=True, help="genes.tsv")
    made.add_argument("--gene-table", required=True, help="name of the data set that the vocabulary is made from")
    made.add_argument("--locus-group", required=True, help="HGNC's name of its genes")
    made.add_argument("--network", type=Path, help="edges of a published gene network")
    made.add_argument("--datasets", type=Path, required=True, help="config/datasets.tsv, for the titles")
    made.add_argument("--stage", default="report", help="name and version of the workflow's stage")
    made.add_argument("--tables", type=Path, required=True, help="folder the tables are written to")
    return made


def main(argv: Sequence[str] | None = None) -> None:
    """Read the records of alignment, summarise, write."""
    args = parser().parse_args(argv)
    titles = {dataset.dataset: dataset.title for dataset in tables.read_datasets(args.datasets)}
    genes = vocabulary.read(args.vocabulary)
    reports = [harmonisation.read(path) for path in args.harmonisation]
    is_named = np.zeros(genes.n_genes, dtype=bool)
    for path in args.cells:
        is_named |= cells_file.named_genes(path, vocabulary=genes.digest)
    has_edge, network = None, ""
    if args.network is not None:
        found = network_file.read(args.network, vocabulary=genes)
        network = found.source
        has_edge = np.zeros(genes.n_genes, dtype=bool)
        has_edge[found.a_E] = has_edge[found.b_E] = True
    made = [
        harmonisation_table(reports, titles=titles),
        samples_table(reports, titles=titles),
        vocabulary_table(
            locus_group=args.locus_group,
            gene_table=args.gene_table,
            is_named=is_named,
            has_edge=has_edge,
            network=network,
        ),
    ]
    for table in made:
        report_table.write(table, args.tables)


if __name__ == "__main__":
    run(main)
