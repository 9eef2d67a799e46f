"""Put a dataset's cells onto the vocabulary's axis, and report what was lost."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
from scipy import sparse

from celllm.cells.quality import cell_hashes, enough_genes, n_expressed
from celllm.cli.entry import run
from celllm.contracts import counts, harmonisation, hgnc, raw, tables, vocabulary
from celllm.contracts.harmonisation import Harmonisation
from celllm.contracts.readers import RawCells, annotate, read_raw
from celllm.contracts.tables import Dataset
from celllm.contracts.vocabulary import Vocabulary
from celllm.errors import InputError
from celllm.genes.align import account, harmonisation_of, to_vocabulary
from celllm.genes.symbols import SymbolIndex, map_names
from celllm.provenance import stamp


def parser() -> argparse.ArgumentParser:
    """Declare the options."""
    options = argparse.ArgumentParser(prog="celllm.cli.align_cells", description=__doc__, allow_abbrev=False)
    options.add_argument("--dataset", required=True, help="name of the dataset")
    options.add_argument("--datasets", required=True, type=Path, help="config/datasets.tsv")
    options.add_argument("--raw", required=True, type=Path, help="manifest of the dataset's files")
    options.add_argument("--hgnc", required=True, type=Path, help="manifest of the gene table")
    options.add_argument("--vocabulary", required=True, type=Path, help="genes.tsv")
    options.add_argument("--threshold", type=float, default=0.8, help="least share of counts that must map")
    options.add_argument("--stage", default="align_cells", help="name and version of the stage")
    options.add_argument("--cells", required=True, type=Path, help="where to write the cells")
    options.add_argument("--harmonisation", required=True, type=Path, help="where to write the report")
    return options


@dataclass(frozen=True)
class Aligned:
    """A dataset on the vocabulary's axis: cells x genes, and obs with sample, label, is_malignant."""

    matrix: sparse.csr_matrix
    obs: pd.DataFrame
    report: Harmonisation


def align(
    files: Sequence[RawCells],
    dataset: Dataset,
    *,
    index: SymbolIndex,
    genes: Vocabulary,
    threshold: float,
) -> Aligned:
    """Map names, drop cells with too few genes, move the rest onto the vocabulary's axis.

    Raises
    ------
    InputError
        If less than `threshold` of the counts lands on the vocabulary, no cell is left, or the cells'
        names repeat.
    """
    are_counts = dataset.values != "zscore"
    matrices, tables_of_cells, accounts = [], [], []
    n_dropped = 0
    for cells in files:
        mapping = map_names(cells.names, index, genes)
        kept = enough_genes(cells.matrix, dataset.min_genes)
        n_dropped += int((~kept).sum())
        values = cells.matrix[np.flatnonzero(kept)]
        accounts.append((mapping, *account(values, mapping, are_counts=are_counts)))
        matrices.append(to_vocabulary(values, mapping, genes.n_genes, combine="sum" if are_counts else "mean"))
        obs = annotate(cells, dataset)[kept]
        sample = f"{cells.sample}:" if cells.sample is not None and len(files) > 1 else ""
        tables_of_cells.append(obs.set_axis([f"{dataset.dataset}:{sample}{name}" for name in obs.index]))
    obs = pd.concat(tables_of_cells)
    report = harmonisation_of(
        accounts,
        dataset=dataset.dataset,
        cells_kept=len(obs),
        cells_dropped=n_dropped,
        threshold=threshold,
    )
    _check(report, obs, files[0].file, dataset)
    return Aligned(matrix=sparse.vstack(matrices, format="csr"), obs=obs, report=report)


def _check(report: Harmonisation, obs: pd.DataFrame, file: Path, dataset: Dataset) -> None:
    if obs.empty:
        raise InputError(
            file=file,
            field="cells",
            expected=f"cells with at least {dataset.min_genes} expressed genes",
            found=f"none among {report.cells_dropped}",
            remedy=f"lower min_genes of {dataset.dataset} in config/datasets.tsv, or check its reader",
        )
    if not obs.index.is_unique:
        raise InputError(
            file=file,
            field="cell names",
            expected="each name once within a sample",
            found=f"{obs.index[obs.index.duplicated()][0]} more than once",
            remedy="put the sample before the names, or give each sample a file of its own",
        )
    if report.mapped_share_of_counts < report.threshold:
        what = "names" if dataset.values == "zscore" else "counts"
        lost = ", ".join(f"{name} {share:.2%}" for name, share in report.top_lost)
        raise InputError(
            file=file,
            field="gene names",
            expected=f"at least {report.threshold:.0%} of the {what} on vocabulary genes",
            found=f"{report.mapped_share_of_counts:.1%}; most lost: {lost or 'nothing'}",
            remedy="check that names are symbols or Ensembl ids of human genes; or lower the config's threshold",
        )


def pack(aligned: Aligned, dataset: Dataset, genes: Vocabulary, provenance: dict[str, object]) -> ad.AnnData:
    """Add totals and hashes, and put all into the format of contracts.counts."""
    matrix = aligned.matrix
    obs = aligned.obs.assign(
        n_counts=np.asarray(matrix.sum(axis=1), dtype=np.float64).ravel(),
        n_genes=n_expressed(matrix),
        cell_hash=cell_hashes(matrix),
    )
    return counts.build(
        matrix,
        obs,
        vocabulary=genes,
        dataset=dataset.dataset,
        values=dataset.values or "counts",
        simulated=dataset.simulated,
        provenance=provenance,
    )


def main(argv: Sequence[str] | None = None) -> None:
    """Read the raw cells, align them, write them and the report."""
    args = parser().parse_args(argv)
    dataset = tables.read_datasets(args.datasets).row(args.dataset)
    genes = vocabulary.read(args.vocabulary)
    index = SymbolIndex(hgnc.read(raw.read(args.hgnc).only().path))
    files = list(read_raw(raw.read(args.raw), dataset))
    aligned = align(files, dataset, index=index, genes=genes, threshold=args.threshold)
    inputs = {"raw": args.raw, "hgnc": args.hgnc, "vocabulary": args.vocabulary}
    counts.write(pack(aligned, dataset, genes, stamp(args.stage, inputs)), args.cells)
    harmonisation.write(aligned.report, args.harmonisation)
    report = aligned.report
    print(
        f"{report.cells_kept} cells kept, {report.cells_dropped} dropped; {report.mapped} of {report.n_names} names "
        f"mapped, {report.mapped_share_of_counts:.1%} of the counts",
    )


if __name__ == "__main__":
    run(main)
