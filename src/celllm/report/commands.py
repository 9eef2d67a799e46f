"""Commands of the report: tables, the page of details, figures, and three audits."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from celllm.base.app import commands
from celllm.base.errors import InputError
from celllm.report.inputs import Inputs, Page

app = commands()
InputFiles = Annotated[Inputs, Parameter(name="*")]
PageFiles = Annotated[Page, Parameter(name="*")]
_NONE = Inputs()


@app.command
def report_table(*, table: str, page: PageFiles, inputs: InputFiles = _NONE) -> None:
    """Write a table of the report: a sortable page that needs no other file, and the same rows tab separated.

    Parameters
    ----------
    table
        Name of the table: main, comparisons, claims, costs, controls, failures, corpus, harmonisation
        or per_drug/TASK.
    page
        Where the table goes.
    inputs
        Files it is made from.

    Example::

        python -m celllm report_table --table costs --catalogue results/bench/catalogue.json \
            --scores results/bench/scores.tsv --html costs.html --tsv costs.tsv
    """
    from celllm.report.items import TABLES, build

    page.write(build(TABLES, table, inputs))


@app.command
def report_details(
    *, html: Path, tables: Path, title: str = "Details", caption: str = "", inputs: InputFiles = _NONE
) -> None:
    """Write the page of details: what the other tables rest on, one table below the other.

    Parameters
    ----------
    html
        Where to write the page.
    tables
        Folder for the rows of each table, tab separated.
    title
        Title of the page.
    caption
        How to read the page.
    inputs
        Files it is made from.

    Example::

        python -m celllm report_details --catalogue results/bench/catalogue.json --scores results/bench/scores.tsv \
            --trials results/bench/trials.tsv --recipes '{"celllm": {...}}' \
            --harmonisation results/cells/pbmc68k_reduced.harmonisation.json \
            --cells results/cells/pbmc68k_reduced.h5ad --vocabulary results/vocabulary/genes.tsv \
            --exact-duplicates results/report/details/exact_duplicates.tsv \
            --label-rule results/report/details/label_rule.tsv --labels results/report/details/labels.tsv \
            --html details.html --tables details
    """
    from celllm.base.report_table import write_page, write_tsv
    from celllm.report.items import DETAILS, build

    made = build(DETAILS, "details", inputs)
    write_page(made, html, title=title, note=caption)
    for table in made:
        write_tsv(table.rows, tables / f"{table.name}.tsv")


@app.command
def report_figure(*, figure: str, png: Path, pdf: Path, stage: str = "report", inputs: InputFiles = _NONE) -> None:
    """Draw a figure of the report, as PNG and as PDF; both say what made them.

    Parameters
    ----------
    figure
        Name of the figure: scores, fewshot, harmonisation, curves, step_cost/ENCODER, confusion/TASK/METHOD,
        per_drug/TASK or umap/DATASET.
    png
        Where to write the figure for screens.
    pdf
        Where to write the figure for print.
    stage
        Name and version of the workflow's stage.
    inputs
        Files it is made from.

    Example::

        python -m celllm report_figure --figure scores --catalogue results/bench/catalogue.json \
            --scores results/bench/scores.tsv --png scores.png --pdf scores.pdf
    """
    from celllm.base.provenance import stamp
    from celllm.report.figures.style import save
    from celllm.report.items import FIGURES, build

    drawn = build(FIGURES, figure, inputs)
    save(drawn, png=png, pdf=pdf, provenance=stamp(stage, inputs.files()))


@app.command
def audit_leakage(
    *,
    cells: list[Path],
    benchmark_cells: list[Path],
    splits: list[Path],
    shards: Path,
    catalogue: Path,
    page: PageFiles,
    exact_duplicates: Path,
) -> None:
    """Look for benchmark cells in the pretraining corpus, and for exact duplicates within a task.

    Fails, once the tables are written, where the shards hold a benchmark cell.

    Parameters
    ----------
    cells
        Aligned cells of the corpus.
    benchmark_cells
        Aligned cells of the tasks.
    splits
        Manifests of the splits of all tasks, or split files.
    shards
        manifest.json of the pretraining corpus.
    catalogue
        results/bench/catalogue.json, what is run.
    exact_duplicates
        Where to write the exact duplicates within each split, tab separated.
    page
        Where the table goes.

    Example::

        python -m celllm audit_leakage --cells results/cells/simulated_tumour_cells.h5ad \
            --benchmark-cells results/cells/pbmc68k_reduced.h5ad \
            --splits results/splits/annotation_pbmc68k/manifest.json --shards results/shards/manifest.json \
            --catalogue results/bench/catalogue.json --html leakage.html --tsv leakage.tsv \
            --exact-duplicates exact_duplicates.tsv
    """
    from celllm.base.report_table import write_tsv
    from celllm.config import catalogue as catalogues
    from celllm.report.leakage import leakage_tables

    made, duplicates, leaked = leakage_tables(
        cells, benchmark_cells, splits=splits, shards=shards, catalogue=catalogues.read(catalogue)
    )
    page.write(made)
    write_tsv(duplicates, exact_duplicates)
    print(f"{made.rows['equal_before_exclusion'].sum()} equal before exclusion, {len(leaked)} in the shards")
    if leaked:
        raise InputError(
            file=shards,
            field="cells",
            expected="no cell with the counts of a benchmark cell",
            found=f"{len(leaked)}, such as {leaked[0]}; all counts stand in {page.tsv}",
            remedy="write the shards again: snakemake --forcerun write_shards; then pretrain again",
        )


@app.command
def audit_source(
    *,
    shards: Path,
    encoder: Path,
    history: Path,
    catalogue: Path,
    page: PageFiles,
    label_rule: Path,
    labels: Path,
    max_cells: int = 2_000,
    test_share: float = 0.5,
    seed: int = 0,
    threads: int = 1,
    accelerator: Literal["auto", "cpu", "cuda"] = "auto",
) -> None:
    """Ask frozen views of corpus cells for their data set, beside tumour or normal: the batch-confounding probe.

    Parameters
    ----------
    shards
        manifest.json of the pretraining corpus.
    encoder
        encoder.safetensors.
    history
        history.jsonl of its pretraining.
    catalogue
        results/bench/catalogue.json, what is run.
    label_rule
        Where to write what probes answer that were taught by either label rule, tab separated.
    labels
        Where to write how many labels of the corpus the rules give, tab separated.
    page
        Where the table goes.
    max_cells
        Cells of a data set, at most; of more, some are drawn at random.
    test_share
        Share of the cells that no probe is trained on.
    seed
        Random seed of the cells drawn and of the weights that were not pretrained.
    threads
        CPU threads.
    accelerator
        Kind of device; auto: a GPU if there is one.

    Example::

        python -m celllm audit_source --shards results/shards/manifest.json \
            --encoder results/pretrain/celllm/seed0/encoder.safetensors \
            --history results/pretrain/celllm/seed0/history.jsonl --catalogue results/bench/catalogue.json \
            --html source.html --tsv source.tsv --label-rule label_rule.tsv --labels labels.tsv
    """
    from celllm.base.report_table import write_tsv
    from celllm.config import catalogue as catalogues
    from celllm.model.device import device_of
    from celllm.report import audits

    made, rule_rows, label_rows = audits.source_tables(
        shards,
        encoder,
        history,
        catalogue=catalogues.read(catalogue),
        max_cells=max_cells,
        test_share=test_share,
        seed=seed,
        device=device_of(accelerator, threads=threads),
    )
    page.write(made)
    write_tsv(rule_rows, label_rule)
    write_tsv(label_rows, labels)


@app.command
def audit_embeddings(
    *,
    encoder: Path,
    cells: list[Path],
    vocabulary: Path,
    catalogue: Path,
    page: PageFiles,
    max_cells: int = 5_000,
    seed: int = 0,
    threads: int = 1,
    accelerator: Literal["auto", "cpu", "cuda"] = "auto",
) -> None:
    """Measure how frozen embeddings keep labels together, mix batches and spread out.

    Parameters
    ----------
    encoder
        encoder.safetensors.
    cells
        Aligned cells, labelled, each file of a data set.
    vocabulary
        genes.tsv, the gene axis.
    catalogue
        results/bench/catalogue.json, for the titles.
    page
        Where the table goes.
    max_cells
        Cells of a data set, at most; of more, some are drawn at random.
    seed
        Random seed of the cells drawn and of the weights that were not pretrained.
    threads
        CPU threads.
    accelerator
        Kind of device; auto: a GPU if there is one.

    Example::

        python -m celllm audit_embeddings --encoder results/pretrain/celllm/seed0/encoder.safetensors \
            --cells results/cells/pbmc68k_reduced.h5ad --vocabulary results/vocabulary/genes.tsv \
            --catalogue results/bench/catalogue.json --html embeddings.html --tsv embeddings.tsv
    """
    from celllm.config import catalogue as catalogues
    from celllm.model.device import device_of
    from celllm.report import audits

    known, device = catalogues.read(catalogue), device_of(accelerator, threads=threads)
    options = {"max_cells": max_cells, "seed": seed}
    made = audits.embeddings_table(encoder, cells, vocabulary, catalogue=known, device=device, **options)
    page.write(made)
