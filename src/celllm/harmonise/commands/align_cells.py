"""Put a dataset's cells onto the vocabulary's axis, and report what was lost."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from celllm.base.entry import run
from celllm.base.heap import return_large_blocks
from celllm.base.provenance import stamp
from celllm.config import tables
from celllm.harmonise import cells as cells_file
from celllm.harmonise import harmonisation, vocabulary
from celllm.harmonise.align import Aligner
from celllm.harmonise.symbols import SymbolIndex
from celllm.sources import hgnc, raw
from celllm.sources.readers.registry import read_raw


def parser() -> argparse.ArgumentParser:
    """Declare the options."""
    options = argparse.ArgumentParser(prog="celllm align_cells", description=__doc__, allow_abbrev=False)
    options.add_argument("--dataset", required=True, help="name of the dataset")
    options.add_argument("--datasets", required=True, type=Path, help="config/datasets.tsv")
    options.add_argument("--raw", required=True, type=Path, help="manifest of the dataset's files")
    options.add_argument("--hgnc", required=True, type=Path, help="manifest of the gene table")
    options.add_argument("--vocabulary", required=True, type=Path, help="genes.tsv")
    options.add_argument("--threshold", type=float, default=0.8, help="least share of counts that must map")
    options.add_argument(
        "--malignancy-rule",
        choices=("metadata", "by_source"),
        default="metadata",
        help="tumour or normal as annotated, or one label a source",
    )
    options.add_argument("--stage", default="align_cells", help="name and version of the stage")
    options.add_argument("--cells", required=True, type=Path, help="where to write the cells")
    options.add_argument("--harmonisation", required=True, type=Path, help="where to write the report")
    return options


def main(argv: Sequence[str] | None = None) -> None:
    """Read the raw cells, align them, write them and the report."""
    args = parser().parse_args(argv)
    return_large_blocks()
    dataset = tables.read_datasets(args.datasets).row(args.dataset)
    genes = vocabulary.read(args.vocabulary)
    index = SymbolIndex(hgnc.read(raw.read(args.hgnc).only().path))
    aligner = Aligner(dataset, index=index, vocabulary=genes, malignancy_rule=args.malignancy_rule)
    inputs = {"raw": args.raw, "hgnc": args.hgnc, "vocabulary": args.vocabulary}
    with cells_file.writing_cells(
        args.cells,
        vocabulary=genes,
        dataset=dataset.dataset,
        units=aligner.units,
        simulated=dataset.simulated,
        provenance=stamp(args.stage, inputs, malignancy_rule=args.malignancy_rule),
    ) as writer:
        for cells in read_raw(raw.read(args.raw), dataset):
            writer.append(*aligner.add(cells))
        report = aligner.report(threshold=args.threshold)
        writer.is_named = aligner.is_named
    harmonisation.write(report, args.harmonisation)
    print(
        f"{report.cells_kept} cells kept, {report.cells_dropped} dropped; {report.mapped} of {report.n_names} names "
        f"mapped ({report.merged} of them to a gene that another name has too), "
        f"{report.mapped_share_of_counts:.1%} of the counts",
    )
    for name, sample in report.samples.items():
        if sample.empty or sample.too_few_genes:
            print(
                f"sample {name}: {sample.kept} cells kept, {sample.empty} empty and {sample.too_few_genes} with fewer "
                f"than {dataset.min_genes} genes dropped"
            )


if __name__ == "__main__":
    run(main)
