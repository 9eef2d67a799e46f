"""Cells as a reader gives them, in pieces; and what their dataset's row says of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd
from scipy import sparse

from celllm.base.errors import InputError
from celllm.config.tables import Dataset
from celllm.sources.raw import RawFile, RawManifest
from celllm.sources.values import check_values, without_log

PIECE: Final = 2048
"""Cells that a reader gives at once, where its format can be read in pieces."""
NO_LABEL: Final = frozenset({"", "nan", "None", "unlabelled"})
"""What sources write into the label column of a cell without a label."""
MALIGNANCY: Final = {"normal": 0, "tumour": 1, "unknown": -1}


@dataclass(frozen=True)
class RawCells:
    """Some cells of one file. Pieces of a file follow each other and share their names.

    Parameters
    ----------
    matrix
        Cells x source names, as published.
    names
        Gene names as the source gives them, one a column; repeats are possible. The same list in all pieces of a file.
    obs
        What the source says of these cells, indexed by barcode.
    file
        Where they were read from; errors name it.
    sample
        The sample that the whole file holds, if the manifest or the format names one.
    facts
        What the list of samples says of that sample: study, tissue, malignancy (`normal`, `tumour` or `unknown`) …
    """

    matrix: sparse.csr_matrix
    names: list[str]
    obs: pd.DataFrame
    file: Path
    sample: str | None = None
    facts: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(
        cls, file: RawFile, matrix: sparse.csr_matrix, names: list[str], cells: pd.DataFrame | Iterable[str]
    ) -> RawCells:
        """Give cells of a file; `cells` is their `obs`, or their barcodes where nothing else is known."""
        obs = cells if isinstance(cells, pd.DataFrame) else pd.DataFrame(index=pd.Index(list(cells), dtype=object))
        return cls(matrix, names, obs, file.path, file.sample, file.facts)


Reader = Callable[[RawManifest, Dataset], Iterator[RawCells]]
"""Reads a dataset's files piece by piece, values as published."""


def in_pieces(cells: RawCells, size: int = PIECE) -> Iterator[RawCells]:
    """Cut cells that are in memory into pieces of at most `size`; one empty piece if there are none."""
    for start in range(0, max(1, cells.matrix.shape[0]), size):
        rows = slice(start, start + size)
        yield replace(cells, matrix=cells.matrix[rows], obs=cells.obs.iloc[rows])


def admitted(cells: RawCells, dataset: Dataset) -> RawCells:
    """Check that the values are what the dataset's row says, and undo its logarithm.

    Raises
    ------
    InputError
        If they are something else; sources/values.py says how that is seen.
    """
    if dataset.units is None:
        return cells
    check_values(cells.matrix.data, dataset.units, file=cells.file, field="units", log=dataset.log)
    if dataset.log is None:
        return cells
    return replace(cells, matrix=without_log(cells.matrix, dataset.log))


def annotate(cells: RawCells, dataset: Dataset, *, rule: str = "metadata") -> pd.DataFrame:
    """Find each cell's sample, donor, study, label and malignancy, as the dataset's row says.

    Parameters
    ----------
    cells
        A piece.
    dataset
        Its row.
    rule
        Where malignancy comes from: `metadata` (the row's `malignancy`: annotation of cells or samples) or `by_source`
        (the row's `source_malignancy`: one label for the whole source, the paper's literal reading).

    Returns
    -------
    Columns sample, donor, study, label (str; "" where there is none), is_malignant (int8: 1 tumour, 0 normal,
    -1 unknown); index as in `cells.obs`. `label_column` may be `sample`: the sample is then the label.

    Raises
    ------
    InputError
        If a column that the row names is missing (the message lists those there are), or a label is not in the
        row's `label_map`.
    """
    index = cells.obs.index
    sample = _constant(cells.sample or dataset.dataset, index)
    if cells.sample is None and dataset.sample_column is not None:
        sample = _column(cells, dataset.sample_column, "sample_column", dataset)
    donor = sample
    if dataset.donor_column is not None:
        donor = _column(cells, dataset.donor_column, "donor_column", dataset)
    label = _constant("", index)
    if dataset.label_column == "sample":
        label = sample
    elif dataset.label_column is not None:
        label = _column(cells, dataset.label_column, "label_column", dataset)
    return pd.DataFrame(
        {
            "sample": sample,
            "donor": donor,
            "study": _constant(cells.facts.get("study", dataset.dataset), index),
            "label": _mapped(label.where(~label.isin(NO_LABEL), ""), cells, dataset),
            "is_malignant": _malignancy(cells, dataset, rule),
        },
        index=index,
    )


def _constant(value: str, index: pd.Index[Any]) -> pd.Series[Any]:
    return pd.Series([value] * len(index), index=index, dtype=object)


def _mapped(label: pd.Series[Any], cells: RawCells, dataset: Dataset) -> pd.Series[Any]:
    if not dataset.label_map:
        return label
    unknown = sorted(set(label) - set(dataset.label_map) - {""})
    if unknown:
        raise InputError(
            file=cells.file,
            field=f"label {unknown[0]}",
            expected=f"one of {', '.join(dataset.label_map)}, as label_map of {dataset.dataset} has them",
            found=", ".join(unknown),
            remedy="add the label to label_map in config/datasets.tsv; null leaves its cells without a label",
        )
    return label.map(lambda name: dataset.label_map.get(name) or "")


def _malignancy(cells: RawCells, dataset: Dataset, rule: str) -> np.ndarray:
    said = dataset.malignancy if rule == "metadata" else dataset.source_malignancy
    if said.startswith("obs:"):
        _, column, value = said.split(":", 2)
        return (_column(cells, column, "malignancy", dataset) == value).to_numpy().astype(np.int8)
    if said == "samples":
        if cells.facts.get("malignancy") not in MALIGNANCY:
            raise InputError(
                file=cells.file,
                field=f"malignancy of sample {cells.sample}",
                expected=f"normal, tumour or unknown, as the list of samples of {dataset.dataset} has it",
                found=repr(cells.facts.get("malignancy")),
                remedy=f"fetch {dataset.dataset} again: snakemake --forcerun fetch; or name another malignancy in "
                "config/datasets.tsv",
            )
        said = cells.facts["malignancy"]
    return np.full(len(cells.obs), MALIGNANCY[said], dtype=np.int8)


def _column(cells: RawCells, column: str, setting: str, dataset: Dataset) -> pd.Series[Any]:
    if column not in cells.obs.columns:
        raise InputError(
            file=cells.file,
            field=f"obs column {column}",
            expected=f"the {setting} of {dataset.dataset} in config/datasets.tsv",
            found=f"the columns {', '.join(map(str, cells.obs.columns)) or '(none)'}",
            remedy=f"name one of these as {setting}, or write - for none",
        )
    # "T cell " and "T cell" are one label
    return cells.obs[column].astype(str).str.strip().astype(object)
