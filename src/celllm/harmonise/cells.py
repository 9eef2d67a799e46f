"""`results/cells/{dataset}.h5ad`: cells on the vocabulary's axis, before any normalisation.

X: CSR, cells x vocabulary genes, int32 counts (float32 where `uns["units"]` is not `counts`).
obs: index `{dataset}:{barcode}` or `{dataset}:{sample}:{barcode}`, unique; sample, donor, study, label (str; "" where
there is none), is_malignant (int8: 1 tumour, 0 normal, -1 unknown), n_counts, n_genes, cell_hash (of gene and
count, so that equal cells are found across datasets). var: index = symbols; is_named: whether the source has a name for
the gene. uns: dataset, vocabulary (digest),
units (celllm.config.units), simulated, provenance (JSON).

harmonise/cells_stream.py writes and reads the same files in pieces.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import anndata as ad
import numpy as np
import pandas as pd
from scipy import sparse

from celllm.base.atomic import writing
from celllm.base.errors import InputError, VocabularyMismatch
from celllm.config.units import Units
from celllm.harmonise.vocabulary import Vocabulary
from celllm.sources.values import check_values, dtype_of

OBS_COLUMNS = ("sample", "donor", "study", "label", "is_malignant", "n_counts", "n_genes", "cell_hash")
CATEGORICAL = ("sample", "donor", "study", "label")
"""Columns of few different values."""
UNS_KEYS = ("dataset", "vocabulary", "units", "simulated", "provenance")
REMEDY = "rebuild it: snakemake --forcerun align_cells"


def build(
    matrix: sparse.csr_matrix,
    obs: pd.DataFrame,
    *,
    vocabulary: Vocabulary,
    dataset: str,
    units: Units | str,
    simulated: bool,
    provenance: dict[str, Any],
) -> ad.AnnData:
    """Put aligned cells into the form this module writes.

    Parameters
    ----------
    matrix
        Cells x vocabulary genes.
    obs
        The columns of the format, indexed by cell id.
    vocabulary
        The genes of the columns.
    dataset
        Name of the dataset.
    units
        What the numbers of `matrix` are; counts become int32, anything else float32.
    simulated
        Whether they come from the simulator.
    provenance
        What made them, as celllm.base.provenance.stamp says it.
    """
    ordered = sparse.csr_matrix(matrix, dtype=dtype_of(units))
    ordered.sort_indices()
    return ad.AnnData(
        X=ordered,
        obs=obs[list(OBS_COLUMNS)].astype({"is_malignant": np.int8}),
        var=pd.DataFrame({"is_named": True}, index=pd.Index(vocabulary.symbols, name="symbol")),
        uns={
            "dataset": dataset,
            "vocabulary": vocabulary.digest,
            "units": str(units),
            "simulated": simulated,
            "provenance": json.dumps(provenance, sort_keys=True),
        },
    )


def write(cells: ad.AnnData, path: Path | str) -> None:
    """Check and write aligned cells."""
    check(cells, path)
    with writing(path) as part:
        cells.write_h5ad(part, compression="lzf")


def read(path: Path | str, *, vocabulary: Vocabulary | None = None) -> ad.AnnData:
    """Read and check aligned cells; columns of text come back as str.

    Raises
    ------
    InputError
        If something of the format is missing, or X holds what its units cannot.
    VocabularyMismatch
        If the cells were aligned to another vocabulary than the one given.
    """
    cells = ad.read_h5ad(path)
    check(cells, path)
    for column in (*CATEGORICAL, "cell_hash"):
        cells.obs[column] = cells.obs[column].astype(str).astype(object)
    cells.uns["simulated"] = bool(cells.uns["simulated"])
    check_vocabulary(str(cells.uns["vocabulary"]), None if vocabulary is None else vocabulary.digest, path)
    return cells


def check_vocabulary(found: str, expected: str | None, path: Path | str) -> None:
    """Raise VocabularyMismatch, naming `path`, unless two digests are equal or nothing is expected."""
    if expected is not None and found != expected:
        raise VocabularyMismatch(file=path, found=found, expected=expected, remedy=REMEDY)


def check(cells: ad.AnnData, path: Path | str) -> None:
    """Raise InputError, naming `path`, unless the cells follow the format."""
    for field, expected, present in (
        ("obs columns", OBS_COLUMNS, list(cells.obs.columns)),
        ("uns", UNS_KEYS, list(cells.uns)),
    ):
        missing = [name for name in expected if name not in present]
        if missing:
            raise InputError(
                file=path,
                field=field,
                expected=", ".join(expected),
                found=f"no {', '.join(missing)} among {', '.join(map(str, present)) or 'none'}",
                remedy=REMEDY,
            )
    if not cells.obs_names.is_unique:
        twice = cells.obs_names[cells.obs_names.duplicated()][0]
        raise InputError(
            file=path,
            field="obs index",
            expected="each cell id once",
            found=f"{twice} more than once",
            remedy=REMEDY,
        )
    if not isinstance(cells.X, sparse.csr_matrix):
        raise InputError(
            file=path,
            field="X",
            expected="a CSR matrix",
            found=type(cells.X).__name__,
            remedy=REMEDY,
        )
    labels = set(np.unique(cells.obs["is_malignant"].to_numpy()).tolist())
    if not labels <= {-1, 0, 1}:
        raise InputError(
            file=path,
            field="is_malignant",
            expected="1 tumour, 0 normal or -1 unknown",
            found=str(sorted(labels - {-1, 0, 1})[0]),
            remedy=REMEDY,
        )
    units = cells.uns["units"]
    if units not in list(Units):
        raise InputError(
            file=path,
            field="uns units",
            expected=f"one of {', '.join(Units)}",
            found=repr(units),
            remedy=REMEDY,
        )
    check_values(cells.X.data, units, file=path, field="X", is_source=False)
