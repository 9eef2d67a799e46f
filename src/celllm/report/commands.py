"""Commands of the report: tables, figures, and audits of an encoder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from celllm.base.app import Accelerator, Stage, Threads, commands

if TYPE_CHECKING:
    from celllm.base.report_table import ReportTable

app = commands()


@dataclass(frozen=True)
class Page:
    """Where tables go.

    Parameters
    ----------
    html
        Where to write the tables as a page; each can be sorted.
    tsv
        Where to write the rows of the first, numbers at full precision.
    rows
        Folder for the rows of the others, each under its own name.
    title
        Title of the page.
    caption
        How to read it.
    """

    html: Path
    tsv: Path
    rows: Path = Path("details")
    title: str = ""
    caption: str = ""

    def write(self, made: ReportTable | Sequence[ReportTable]) -> None:
        """Write the page, and the rows beside it; then raise what a table found that must stop the workflow."""
        from celllm.base.report_table import ReportTable, write_page, write_tsv

        tables = [made] if isinstance(made, ReportTable) else made
        write_page(tables, self.html, title=self.title or tables[0].name, note=self.caption)
        for number, table in enumerate(tables):
            write_tsv(table.rows, self.rows / f"{table.name}.tsv" if number else self.tsv)
        for table in tables:
            if table.fault is not None:
                raise table.fault


PageFiles = Annotated[Page, Parameter(name="*")]


@app.command
def report_table(*, table: str, page: PageFiles, **inputs: list[str]) -> None:
    """Write a page of the report, sortable tables that need no other file, and the same rows tab separated.

    audit_leakage fails, once it is written, where the shards hold a benchmark cell.

    Parameters
    ----------
    table
        Name of the page: main, comparisons, claims, costs, controls, failures, corpus, harmonisation, audit_leakage,
        details or per_drug/TASK.
    page
        Where the tables go.
    inputs
        Files they are made from, by role: --catalogue, --scores and so on; without them, it says which it needs.

    Example::

        python -m celllm report_table --table costs --catalogue results/bench/catalogue.json \
            --scores results/bench/scores.tsv --html costs.html --tsv costs.tsv
    """
    from celllm.report.items import build

    page.write(build("report_table", table, inputs))


@app.command
def report_figure(*, figure: str, png: Path, pdf: Path, stage: Stage = "report", **inputs: list[str]) -> None:
    """Draw a figure of the report, as PNG and as PDF; both say what made them.

    Parameters
    ----------
    figure
        Name of the figure: scores, fewshot, curves, step_cost/ENCODER, confusion/TASK/METHOD,
        per_drug/TASK or umap/DATASET.
    png
        Where to write the figure for screens.
    pdf
        Where to write the figure for print.
    inputs
        Files it is made from, by role: --catalogue, --scores and so on; without them, it says which it needs.

    Example::

        python -m celllm report_figure --figure scores --catalogue results/bench/catalogue.json \
            --scores results/bench/scores.tsv --png scores.png --pdf scores.pdf
    """
    from celllm.base.provenance import stamp
    from celllm.report.figures.style import save
    from celllm.report.items import build, files_of

    save(build("report_figure", figure, inputs), png=png, pdf=pdf, provenance=stamp(stage, files_of(inputs)))


@app.command
def audit_encoder(
    *,
    audit: str,
    page: PageFiles,
    threads: Threads = 1,
    accelerator: Accelerator = "auto",
    **inputs: list[str],
) -> None:
    """Audit a frozen encoder, and write the tables of it as report_table does.

    Parameters
    ----------
    audit
        audit_source: ask views of corpus cells for their data set, beside tumour or normal (the batch-confounding
        probe); or audit_embeddings: how embeddings keep labels together, mix batches and spread out.
    page
        Where the tables go.
    inputs
        Files they are made from, by role: --catalogue, --encoder and so on; without them, it says which it needs.

    Example::

        python -m celllm audit_encoder --audit audit_embeddings --catalogue results/bench/catalogue.json \
            --encoder results/pretrain/celllm/seed0/encoder.safetensors --cells results/cells/pbmc68k_reduced.h5ad \
            --vocabulary results/vocabulary/genes.tsv --html embeddings.html --tsv embeddings.tsv
    """
    from celllm.model.device import device_of
    from celllm.report.items import build

    page.write(build("audit_encoder", audit, inputs, device=device_of(accelerator, threads=threads)))
