"""Commands of the gene axis, and of cells and drug responses on it."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from celllm.base.app import Stage, VocabularyFile, commands
from celllm.config.rows import DatasetRow

app = commands()
NAMED_LOSS = 0.01
"""Share of the counts from which a lost name is printed."""


@app.command
def build_vocabulary(*, hgnc: Path, locus_group: str = "protein-coding gene", vocabulary: Path) -> None:
    r"""Build the gene axis: the approved genes of one locus group, sorted by symbol.

    Parameters
    ----------
    hgnc
        manifest of HGNC's gene annotation
    locus_group
        HGNC's name of the genes to take
    vocabulary
        file to write the genes to (genes.tsv)

    Example::

        celllm build_vocabulary --hgnc resources/raw/hgnc_demo/manifest.json --vocabulary results/vocabulary/genes.tsv
    """
    from celllm.harmonise import vocabulary as vocabulary_file
    from celllm.sources import hgnc as hgnc_file
    from celllm.sources import raw
    from celllm.sources.archives import unreadable

    file = raw.read(hgnc).only()
    annotation = hgnc_file.read(file.path)
    try:
        genes = vocabulary_file.of_locus_group(annotation, locus_group)
    except ValueError as error:
        expected, remedy = f"genes of locus group {locus_group!r}", "correct locus_group in the config"
        raise unreadable(file.path, expected, str(error), field="locus_group", remedy=remedy) from None
    vocabulary_file.write(genes, vocabulary)
    print(f"{genes.n_genes} genes, vocabulary {genes.digest[:12]}")


@app.command
def align_cells(
    *,
    dataset: DatasetRow,
    raw: Path,
    hgnc: Path,
    vocabulary: VocabularyFile,
    mapped_threshold: float = 0.8,
    malignancy_rule: Literal["metadata", "by_source"] = "metadata",
    stage: Stage = "align_cells",
    cells: Path,
    harmonisation: Path,
) -> None:
    r"""Put a data set's cells onto the gene axis, drop shallow ones, and report what was lost.

    Parameters
    ----------
    dataset
        the data set's row of config/datasets.tsv as JSON
    raw
        manifest of the data set's files
    hgnc
        manifest of HGNC's gene annotation
    mapped_threshold
        minimum share of counts that must lie on vocabulary genes
    malignancy_rule
        label a cell tumour or normal by the source's metadata, or all cells of a source alike
    cells
        file to write the aligned cells to
    harmonisation
        file to write the report to

    Example::

        celllm align_cells --raw resources/raw/pbmc68k_reduced/manifest.json \
            --hgnc resources/raw/hgnc_demo/manifest.json --vocabulary results/vocabulary/genes.tsv \
            --cells pbmc68k.h5ad --harmonisation pbmc68k.json \
            --dataset '{"dataset": "pbmc68k_reduced", "title": "PBMC", "role": "task", "reader": "h5ad",
                        "units": "counts", "simulated": false, "label_column": "bulk_labels", "sample_column": null,
                        "malignancy": "normal", "min_genes": 1, "citation": null, "licence": null,
                        "matrix": "raw", "recover": "ln(x+1)"}'
    """
    from celllm.base.heap import return_large_blocks
    from celllm.base.provenance import stamp
    from celllm.harmonise import cells as cells_file
    from celllm.harmonise import harmonisation as report_file
    from celllm.harmonise import vocabulary as vocabulary_file
    from celllm.harmonise.align import Aligner
    from celllm.harmonise.symbols import SymbolIndex
    from celllm.sources import hgnc as hgnc_file
    from celllm.sources import raw as raw_file
    from celllm.sources.readers.registry import read_raw

    return_large_blocks()
    genes = vocabulary_file.read(vocabulary)
    index = SymbolIndex(hgnc_file.read(raw_file.read(hgnc).only().path))
    aligner = Aligner(dataset, index=index, vocabulary=genes, malignancy_rule=malignancy_rule)
    inputs = {"raw": raw, "hgnc": hgnc, "vocabulary": vocabulary}
    with cells_file.writing_cells(
        cells,
        vocabulary=genes,
        dataset=dataset.dataset,
        units=aligner.units,
        simulated=dataset.simulated,
        provenance=stamp(stage, inputs, malignancy_rule=malignancy_rule),
    ) as writer:
        for piece in read_raw(raw_file.read(raw), dataset):
            writer.append(*aligner.add(piece))
        report = aligner.report(threshold=mapped_threshold)
        writer.is_named = aligner.is_named
    report_file.write(report, harmonisation)
    print(
        f"{report.cells_kept} cells kept, {report.cells_dropped} dropped; {report.mapped} of {report.n_names} names "
        f"mapped ({report.merged} of them to a gene that another name has too), "
        f"{report.mapped_share_of_counts:.1%} of the counts",
    )
    lost = [f"{name} {share:.1%}" for name, share in report.top_lost if share >= NAMED_LOSS]
    if lost:
        print(f"lost, of all counts: {', '.join(lost)}")
    for kind, n_features in report.left_out.items():
        print(f"left out: {n_features} features, {kind}")
    for what, n_cells in report.missing.items():
        if n_cells:
            print(f"{n_cells} kept cells without {what}")
    for name, sample in report.samples.items():
        if sample.empty or sample.too_few_genes:
            print(
                f"sample {name or '(none)'}: {sample.kept} cells kept, {sample.empty} empty and "
                f"{sample.too_few_genes} with fewer than {dataset.min_genes} genes dropped"
            )


@app.command
def align_responses(*, dataset: DatasetRow, raw: Path, responses: Path) -> None:
    r"""Bring a data set's drug responses into one table: line, drug, SMILES, ln IC50.

    Parameters
    ----------
    dataset
        the data set's row of config/datasets.tsv as JSON
    raw
        manifest of the data set's files
    responses
        file to write the responses to

    Example::

        celllm align_responses --raw resources/raw/gdsc_tgsa/manifest.json --responses gdsc_tgsa.parquet \
            --dataset '{"dataset": "gdsc_tgsa", "title": "GDSC", "role": "response", "reader": "gdsc_tgsa",
                        "units": null, "simulated": false, "label_column": null, "sample_column": null,
                        "malignancy": "unknown", "min_genes": 0, "citation": null, "licence": null}'
    """
    from celllm.sources import raw as raw_file
    from celllm.sources import responses as responses_file

    pairs = responses_file.read_raw(raw_file.read(raw), dataset)
    responses_file.write(pairs, responses)
    table = pairs.table
    for reason, n_left_out in pairs.left_out.items():
        print(f"left out: {n_left_out} {reason}")
    print(f"{len(table)} pairs of {table['line'].nunique()} lines and {table['drug'].nunique()} drugs")
