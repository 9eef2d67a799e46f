"""Cells as a reader gives them, in pieces; and what their dataset's row says of them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd
from scipy import sparse

from celllm.config.tables import Dataset
from celllm.sources.archives import unreadable
from celllm.sources.raw import RawFile, RawManifest
from celllm.sources.texts import plain, texts

PIECE: Final = 2048
"""Cells that a reader gives at once, where its format can be read in pieces."""
MALIGNANCY: Final = {"normal": 0, "tumour": 1, "unknown": -1}


@dataclass(frozen=True)
class RawCells:
    """Some cells of one file. Pieces of a file follow each other and share their names."""

    matrix: sparse.csr_matrix
    """Cells x source names, as published."""
    names: list[str]
    """Gene names as the source gives them, one a column, repeats possible; the same list in all pieces of a file."""
    obs: pd.DataFrame
    file: Path
    sample: str | None = None
    """The sample that the whole file holds, if the manifest or the format names one."""
    facts: Mapping[str, str] = field(default_factory=dict)
    """What the list of samples says of that sample: study, tissue, malignancy (`normal`, `tumour` or `unknown`) …"""
    left_out: Mapping[str, int] = field(default_factory=dict)
    """Features of the file that are no human genes, by their kind: how many."""

    @classmethod
    def of(
        cls,
        file: RawFile,
        matrix: sparse.csr_matrix,
        names: list[str],
        cells: pd.DataFrame | Iterable[str],
        left_out: Mapping[str, int] | None = None,
    ) -> RawCells:
        """Give cells of a file; `cells` is their `obs`, or their barcodes where nothing else is known."""
        obs = cells if isinstance(cells, pd.DataFrame) else pd.DataFrame(index=pd.Index(list(cells), dtype=object))
        return cls(matrix, names, obs, file.path, file.sample, file.facts, left_out or {})


Reader = Callable[[RawManifest, Dataset], Iterator[RawCells]]


def in_pieces(cells: RawCells, size: int = PIECE) -> Iterator[RawCells]:
    """Cut cells that are in memory into pieces of at most `size`; one empty piece if there are none."""
    for start in range(0, max(1, cells.matrix.shape[0]), size):
        rows = slice(start, start + size)
        yield replace(cells, matrix=cells.matrix[rows], obs=cells.obs.iloc[rows])


def annotate(cells: RawCells, dataset: Dataset, *, rule: str = "metadata") -> pd.DataFrame:
    """Find each cell's sample, donor, study, label and malignancy, as the dataset's row says.

    `rule` says where malignancy comes from: `metadata` (the row's `malignancy`: annotation of cells or samples) or
    `by_source` (the row's `source_malignancy`: one label for the whole source, the paper's literal reading).

    Returns sample, donor, study, label (str; "" where there is none), is_malignant (int8: 1 tumour, 0 normal, -1
    unknown). InputError if a column that the row names is missing, or a label is not in the row's `label_map`.
    """
    made = pd.DataFrame(index=cells.obs.index)
    made["sample"] = cells.sample or dataset.dataset
    if cells.sample is None and dataset.sample_column is not None:
        made["sample"] = _column(cells, dataset.sample_column, "sample_column", dataset)
    made["donor"] = made["sample"]
    if dataset.donor_column is not None:
        made["donor"] = _column(cells, dataset.donor_column, "donor_column", dataset)
    made["study"] = cells.facts.get("study", dataset.dataset)
    made["label"] = ""
    if dataset.label_column == "sample":
        made["label"] = made["sample"]
    elif dataset.label_column is not None:
        made["label"] = _column(cells, dataset.label_column, "label_column", dataset, known=dataset.label_map)
    made["label"] = _mapped(made["label"], cells, dataset)
    made["is_malignant"] = _malignancy(cells, dataset, rule)
    return made


def columns_asked(dataset: Dataset, *, rule: str = "metadata") -> tuple[str, ...]:
    """Return what of `annotate`'s columns a column of the source gives, and may give to some cells only."""
    asked = {"label": dataset.label_column, "donor": dataset.donor_column, "sample": dataset.sample_column}
    is_of_cells = rule == "metadata" and dataset.malignancy.startswith("obs:")
    return tuple(name for name, column in (asked | {"is_malignant": is_of_cells or None}).items() if column is not None)


class TumourRule:
    """The values that a rule `obs:COLUMN:VALUE` meets, so that a value which no cell has is refused."""

    def __init__(self, dataset: Dataset) -> None:
        self._dataset = dataset
        self._column, self._value = dataset.malignancy.split(":", 2)[1:]
        self._found: set[str] = set()
        self._file = Path()

    def see(self, cells: RawCells) -> None:
        """Note the values of a piece."""
        self._file = cells.file
        found = _column(cells, self._column, "malignancy", self._dataset, known=(self._value,))
        self._found |= set(found)

    def check(self) -> None:
        """Raise InputError if no cell had the rule's value; of a list of samples all may be normal."""
        if self._dataset.samples is None and plain(self._value).casefold() not in {
            value.casefold() for value in self._found
        }:
            expected = f"cells with {self._value!r}, tumour as malignancy of {self._dataset.dataset} says"
            found = f"none, but {', '.join(map(repr, sorted(self._found - {''})[:10])) or 'no value at all'}"
            remedy = f"correct obs:{self._column}:VALUE in config/datasets.tsv, or write normal or unknown"
            raise unreadable(self._file, expected, found, field=f"obs column {self._column}", remedy=remedy)


def _mapped(label: pd.Series[Any], cells: RawCells, dataset: Dataset) -> pd.Series[Any]:
    if not dataset.label_map:
        return label
    labels = {plain(label): to for label, to in dataset.label_map.items()}
    unknown = sorted(set(label) - set(labels) - {""})
    if unknown:
        expected = f"one of {', '.join(dataset.label_map)}, as label_map of {dataset.dataset} has them"
        remedy = "add the label to label_map in config/datasets.tsv; null leaves its cells without a label"
        raise unreadable(cells.file, expected, ", ".join(unknown), field=f"label {unknown[0]}", remedy=remedy)
    return label.map(lambda name: labels.get(name) or "")


def _malignancy(cells: RawCells, dataset: Dataset, rule: str) -> np.ndarray:
    said = dataset.malignancy if rule == "metadata" else dataset.source_malignancy
    if said.startswith("obs:"):
        column, value = said.split(":", 2)[1:]
        found = _column(cells, column, "malignancy", dataset, known=(value,))
        is_tumour = found.str.casefold() == plain(value).casefold()
        return np.where(found == "", MALIGNANCY["unknown"], is_tumour).astype(np.int8)
    if said == "samples":
        said = cells.facts.get("malignancy", "")
        if said not in MALIGNANCY:
            expected = f"normal, tumour or unknown, as the list of samples of {dataset.dataset} has it"
            remedy = f"fetch {dataset.dataset} again: snakemake --forcerun fetch; or name another malignancy in "
            remedy += "config/datasets.tsv"
            field = f"malignancy of sample {cells.sample}"
            raise unreadable(cells.file, expected, repr(said), field=field, remedy=remedy)
    return np.full(len(cells.obs), MALIGNANCY[said], dtype=np.int8)


def _column(
    cells: RawCells, column: str, setting: str, dataset: Dataset, *, known: Collection[str] = ()
) -> pd.Series[Any]:
    """Return a column's texts, "" for what is missing; what the row itself names (`known`) is a value."""
    expected = f"the {setting} of {dataset.dataset} in config/datasets.tsv"
    remedy = f"name one of these as {setting}, or write - for none"
    return texts(column_of(cells.obs, column, file=cells.file, expected=expected, remedy=remedy), known=known)


def column_of(obs: pd.DataFrame, name: str, *, file: Path | str, expected: str, remedy: str) -> pd.Series[Any]:
    """Return a column of what is known of cells; InputError that names those there are."""
    if name not in obs.columns:
        found = f"the columns {', '.join(map(str, obs.columns)) or '(none)'}"
        raise unreadable(file, expected, found, field=f"obs column {name}", remedy=remedy)
    return obs[name]
