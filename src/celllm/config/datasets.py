"""Rows of `datasets.tsv` and `files.tsv`: what is fetched, and what is done to it on the way to cells."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, model_validator
from pydantic.dataclasses import dataclass

from celllm.config.columns import JsonObject, WholeNumber, Words, json_object, matching
from celllm.config.table import ROW
from celllm.config.units import Units

LOGARITHM = re.compile(r"(log2|ln|log10)\(x(?:/(\d+))?\+1\)")
"""A logarithm: its base, and what the values were divided by before."""

SourceLabel = Literal["normal", "tumour", "unknown"]
Key = Annotated[str, matching(r"[A-Za-z0-9][A-Za-z0-9_.-]*", "a name of letters, digits and _ . -, without blanks")]
"""What names a row: part of files' names and of command lines."""


@dataclass(frozen=True, config=ROW)
class Dataset:
    """One row of `datasets.tsv`: something that is fetched or simulated."""

    dataset: Key
    """Key; also the name of its folders and files."""
    title: str
    """What tables and figures call it."""
    role: Literal["corpus", "task", "genes", "network", "response", "samples", "embedding"]
    """What it is for; `samples` is a list of samples, `embedding` one of genes."""
    reader: str
    """Name of the format its files come in: `celllm.sources.readers`."""
    units: Units | None
    """What the numbers are once `log` is undone; none for tables without cells."""
    simulated: bool
    """Whether the values come from the simulator and not from cells."""
    label_column: str | None
    """Column of `obs` with the label to be predicted."""
    sample_column: str | None
    """Column of `obs` with the sample (donor, run)."""
    malignancy: Annotated[
        str,
        matching(r"normal|tumour|unknown|samples|obs:[^:]+:.+", "normal, tumour, unknown, samples or obs:COLUMN:VALUE"),
    ]
    """`normal`, `tumour` or `unknown` for all cells; `obs:COLUMN:VALUE`: tumour where the column holds it, unknown
    where it holds nothing; `samples`: as the list of samples says."""
    min_genes: WholeNumber
    """Cells with fewer expressed genes, counted before harmonisation, are dropped."""
    citation: str | None
    """Whom to cite."""
    licence: str | None
    """Licence of the source."""
    matrix: Annotated[
        str,
        matching(r"(X|raw|layers:[^|]+)(\|(X|raw|layers:[^|]+))*", "X, raw or layers:NAME, or several with | between"),
    ] = "X"
    """Which matrix of an h5ad file: `X`, `raw` or `layers:NAME`; of several, `raw|X`, the first that the file has."""
    log: Annotated[
        str | None, matching(LOGARITHM.pattern, "a logarithm such as log2(x+1), ln(x+1) or log2(x/10+1)")
    ] = None
    """The logarithm that the source has taken, such as `log2(x+1)`; it is undone when the cells are read."""
    label_map: Annotated[dict[str, str | None], BeforeValidator(json_object)] = Field(default_factory=dict)
    """Source label to label, a JSON object; null takes the label away. Empty: labels stay as they are."""
    donor_column: str | None = None
    """Column of `obs` with the donor; none: the sample stands for its donor."""
    source_malignancy: SourceLabel = "unknown"
    """What all cells are under the label rule `by_source`."""
    samples: str | None = None
    """The data set that lists the samples, where the row in `files.tsv` is a template with {fields}."""
    obs: JsonObject = Field(default_factory=dict)
    """Columns of `obs` by the names that this row uses, a JSON object. What stands there is the source's column;
    `{"column": "pattern"}`, what the pattern's group finds in it; or `{"column": {"value": "ours"}}`, in which `*`
    stands for any signs. A column without name is the cells' names."""
    keep: JsonObject = Field(default_factory=dict)
    """Which cells are taken: values by column of `obs`, a JSON object of lists; empty: all. `{"": "once"}`: of cells of
    one name, whose counts must be equal, the first."""
    built: Words = ()
    """Files that a mirror may hold in place of the published ones: cells as h5ad, edges and responses as parquet, with
    all that `obs`, `keep` and `recover` say done."""
    recover: Annotated[str | None, matching(rf"x|{LOGARITHM.pattern}", "x, or a logarithm such as ln(x+1)")] = None
    """Counts are recovered: the source holds them times a factor a cell (`x`), or that number's logarithm."""

    @model_validator(mode="after")
    def _says_simulated(self) -> Dataset:
        if self.simulated and not ("simulated" in self.dataset and "simulated" in self.title.lower()):
            msg = "the word simulated in the name and in the title of simulated data"
            raise ValueError(msg)
        return self


@dataclass(frozen=True, config=ROW)
class SourceFile:
    """One row of `files.tsv`: a file of a data set, as published."""

    dataset: str
    """The data set it belongs to."""
    file: Annotated[str, matching(r"[^/~].*", "the file's name alone; the mirror says in which folder it lies")]
    """Its name, also in a mirror folder."""
    url: str | None
    """`https://…`, `package:<module>:<path in it>`, `repo:<path in the checkout>`; none: a mirror only."""
    bytes: WholeNumber | None
    """Size; none where unknown."""
    sha256: Annotated[str | None, matching(r"[0-9a-f]{64}", "64 hexadecimal digits in lower case, or -")]
    """Checksum in hex; none where unknown."""
    sample: str | None
    """Name of the sample that the file holds, where a data set has one file a sample."""
    part: str | None = None
    """What of it is meant: paths in an R object, such as `pbmc@assays$RNA@counts` (sources/readers/robjects.py); of a
    text with labels, the column with the cells' names, or its number where the table has no header; of an archive, a
    pattern of the members to take, whose group is the sample."""
    use: Literal["cells", "labels", "some_labels"] = "cells"
    """What it is for: `cells`; `labels`, one row for each of the cells; `some_labels`: cells may be without, and rows
    without a cell."""
    facts: JsonObject = Field(default_factory=dict)
    """What is true of all its cells, a JSON object: study, tissue, malignancy; each is a column of `obs` too."""
