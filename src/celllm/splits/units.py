"""What a method is given: cells with labels, or pairs of cell line and drug with responses."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from scipy import sparse

from celllm.base.errors import InputError
from celllm.config.tables import Task
from celllm.config.units import Units
from celllm.splits.cells import wrong

if TYPE_CHECKING:
    from celllm.harmonise.cells import AlignedCells
    from celllm.sources.responses import Responses


@dataclass(frozen=True)
class Cells:
    """Cells and their labels; names of cells are the units of a split."""

    counts: sparse.csr_matrix
    """Cells x vocabulary genes, float32, in the unit that `values` names."""
    values: Units
    labels: np.ndarray
    """One a cell; "" where there is none or it is hidden."""
    cell_ids: np.ndarray
    simulated: bool

    @property
    def units(self) -> list[str]:
        """Names by which a split tells its subsets apart."""
        return [str(cell) for cell in self.cell_ids]

    def hiding(self, rows: np.ndarray) -> Cells:
        """Return the same cells with the labels of `rows` blanked."""
        labels = self.labels.copy()
        labels[rows] = ""
        return replace(self, labels=labels)


@dataclass(frozen=True)
class Pairs:
    """Cell lines, drugs and the response of a line to a drug."""

    expression: sparse.csr_matrix
    """Lines x vocabulary genes, float32, in the unit that `values` names."""
    values: Units
    line_ids: np.ndarray
    drugs: list[str]
    smiles: list[str]
    line: np.ndarray
    """For each pair the row of its line in `expression`."""
    drug: np.ndarray
    """For each pair the position of its drug in `drugs`."""
    response: np.ndarray
    """ln IC50 (natural logarithm of µM) of each pair; nan where hidden."""
    simulated: bool

    @property
    def units(self) -> list[str]:
        """Names by which a split tells its subsets apart."""
        return [f"{self.line_ids[line]}|{self.drugs[drug]}" for line, drug in zip(self.line, self.drug, strict=True)]

    def hiding(self, rows: np.ndarray) -> Pairs:
        """Return the same pairs with the responses of `rows` blanked."""
        response = self.response.copy()
        response[rows] = np.nan
        return replace(self, response=response)


def cells_from(adata: AlignedCells) -> Cells:
    """Take what a benchmark needs of aligned cells."""
    return Cells(
        counts=_matrix(adata.X),
        values=Units(adata.uns["units"]),
        labels=adata.obs["label"].to_numpy(str),
        cell_ids=adata.obs.index.to_numpy(str),
        simulated=bool(adata.uns["simulated"]),
    )


def pairs_from(adata: AlignedCells, responses: Responses, *, file: Path | str) -> Pairs:
    """Join aligned cell lines, named `{dataset}:{line}`, with responses; a pair whose line has no expression falls out.

    InputError if a drug has no structure, or two, or if no line of the table has expression; it names `file`.
    """
    line_ids = np.array([line_of(name) for name in adata.obs.index], dtype=str)
    kept = with_expression(responses.table, line_ids, file=file)
    smiles_of = dict(zip(kept["drug"], kept["smiles"], strict=True))
    drugs = sorted(smiles_of)
    return Pairs(
        expression=_matrix(adata.X),
        values=Units(adata.uns["units"]),
        line_ids=line_ids,
        drugs=drugs,
        smiles=[smiles_of[drug] for drug in drugs],
        line=pd.Index(line_ids).get_indexer(kept["line"]),
        drug=pd.Index(drugs).get_indexer(kept["drug"]),
        response=kept["response"].to_numpy(np.float64),
        simulated=bool(adata.uns["simulated"]) or responses.simulated,
    )


def check_responses(task: Task, responses: Path | None) -> None:
    """Refuse a regression without a table of responses, and any other task with one."""
    if (task.kind == "regression") != (responses is not None):
        found = f"{task.kind}, {responses or 'no --responses'}"
        remedy = "give or leave out --responses, or correct the task's columns kind and response"
        raise wrong(task, "kind and response", "--responses for a regression, and only there", found, remedy)


def line_of(cell_id: str) -> str:
    """Return the line of a cell id `{dataset}:{line}`."""
    return cell_id.split(":", maxsplit=1)[-1]


def with_expression(responses: pd.DataFrame, line_ids: Sequence[str] | np.ndarray, *, file: Path | str) -> pd.DataFrame:
    """Return the rows of a response table whose line has expression, names as str; errors as of `pairs_from`."""
    table = responses.astype({"line": str, "drug": str})
    kept = table[table["line"].isin(list(line_ids))]
    if kept.empty:
        expected = f"lines with expression, such as {', '.join(line_ids[:3])}"
        found = f"others, such as {', '.join(table['line'].unique()[:3])}"
        remedy = "check the columns dataset and response of the task in config/tasks.tsv"
        raise InputError(file=file, field="line", expected=expected, found=found, remedy=remedy)
    structures = kept[["drug", "smiles"]].drop_duplicates()
    without = structures["drug"][structures["smiles"].fillna("").str.strip() == ""]
    twice = structures[structures["drug"].duplicated(keep=False)].sort_values("drug", kind="stable")
    if len(without):
        expected, found, remedy = f"a structure (SMILES) for drug {without.iloc[0]}", "nothing", "add the structure"
    elif len(twice):
        expected, found = f"one structure for drug {twice['drug'].iloc[0]}", " and ".join(twice["smiles"].iloc[:2])
        remedy = "keep one"
    else:
        return kept
    remedy += " in the table of drugs, or drop the drug's rows"
    raise InputError(file=file, field="smiles", expected=expected, found=found, remedy=remedy)


def _matrix(values: sparse.csr_matrix) -> sparse.csr_matrix:
    """Return float32 values whose two index arrays are of one type.

    AnnData reads them in two, and scipy would convert all of both each time a batch of rows is taken.
    """
    cells = sparse.csr_matrix(values, dtype=np.float32)
    return sparse.csr_matrix((cells.data, cells.indices, cells.indptr), shape=cells.shape)
