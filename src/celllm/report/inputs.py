"""Options that the report's commands share: the files that tables and figures are made from, and where a table goes."""

from __future__ import annotations

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
    vocabulary
        genes.tsv, the gene axis.
    network
        Edges of a published gene network.
    shards
        manifest.json of the pretraining corpus.
    history
        history.jsonl files, each of a pretraining.
    cost
        Memory and runtime of a step.
    embeddings
        Embedded cells.
    recipes
        Recipes of the encoders in use, by name, as JSON.
    exact_duplicates
        Exact duplicates within tasks, as audit_leakage counts them.
    label_rule
        Answers of probes taught by either label rule, as audit_source has them.
    labels
        Labels of the corpus, as audit_source counts them.
    """

    catalogue: Path | None = None
    scores: Path | None = None
    failures: Path | None = None
    trials: Path | None = None
    runs: list[Path] | None = None
    harmonisation: list[Path] | None = None
    cells: list[Path] | None = None
    vocabulary: Path | None = None
    network: Path | None = None
    shards: Path | None = None
    history: list[Path] | None = None
    cost: Path | None = None
    embeddings: Path | None = None
    recipes: str | None = None
    exact_duplicates: Path | None = None
    label_rule: Path | None = None
    labels: Path | None = None

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
    """Where a table goes.

    Parameters
    ----------
    html
        Where to write the table as a sortable page.
    tsv
        Where to write its rows, numbers at full precision.
    title
        Title of the page.
    caption
        How to read the table.
    """

    html: Path
    tsv: Path
    title: str = ""
    caption: str = ""

    def write(self, table: ReportTable) -> None:
        """Write the page, and the rows beside it."""
        from celllm.base.report_table import write_page, write_tsv

        write_page([table], self.html, title=self.title or table.name, note=self.caption)
        write_tsv(table.rows, self.tsv)
