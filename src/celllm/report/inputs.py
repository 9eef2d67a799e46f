"""Options that the report's commands share: the files that tables and figures are made from, and where a table goes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from celllm.base.report_table import ReportTable


@dataclass(frozen=True)
class Inputs:
    """Files; an item of the report needs some of them.

    Parameters
    ----------
    catalogue
        results/bench/catalogue.json, what is run.
    scores
        results/bench/scores.tsv.
    failures
        results/bench/failures.json.
    trials
        results/bench/trials.tsv.
    runs
        runs.json files, each of a method on a task.
    harmonisation
        harmonisation.json files, each of a data set.
    cells
        Aligned cells, each file of a data set.
    benchmark_cells
        Aligned cells of the tasks, where `cells` are those of the corpus.
    splits
        Manifests of the splits of all tasks, or split files.
    vocabulary
        genes.tsv, the gene axis.
    network
        Edges of a published gene network.
    shards
        manifest.json of the pretraining corpus.
    encoder
        encoder.safetensors.
    history
        history.jsonl files, each of a pretraining.
    cost
        Memory and runtime of a step.
    embeddings
        Embedded cells.
    recipes
        Recipes of the encoders in use, by name, as JSON.
    """

    catalogue: Path | None = None
    scores: Path | None = None
    failures: Path | None = None
    trials: Path | None = None
    runs: list[Path] | None = None
    harmonisation: list[Path] | None = None
    cells: list[Path] | None = None
    benchmark_cells: list[Path] | None = None
    splits: list[Path] | None = None
    vocabulary: Path | None = None
    network: Path | None = None
    shards: Path | None = None
    encoder: Path | None = None
    history: list[Path] | None = None
    cost: Path | None = None
    embeddings: Path | None = None
    recipes: str | None = None

    def files(self) -> dict[str, Path]:
        """Return the files that were given: by role, or by their own path where a role has several."""
        found: dict[str, Path] = {}
        for field in fields(self):
            given = getattr(self, field.name)
            if isinstance(given, list):
                found |= {str(file): file for file in given}
            elif isinstance(given, Path):
                found[field.name] = given
        return found


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
