"""`results/cells/{dataset}.h5ad`: cells on the vocabulary's axis, before any normalisation.

X: CSR, cells x vocabulary genes, int32 counts (float32 where `uns["values"]` is not `counts`).
obs: index `{dataset}:{barcode}`, unique; sample, label (str; "" where there is none), is_malignant
(int8: 1 tumour, 0 normal, -1 unknown), n_counts, n_genes, cell_hash (of gene and count, so that equal
cells are found across datasets). var: index = symbols. uns: dataset, vocabulary (digest), values,
simulated, provenance (JSON).
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import anndata as ad
import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import sparse

from celllm.contracts.atomic import writing
from celllm.contracts.vocabulary import Vocabulary
from celllm.errors import InputError, VocabularyMismatch

OBS_COLUMNS = ("sample", "label", "is_malignant", "n_counts", "n_genes", "cell_hash")
UNS_KEYS = ("dataset", "vocabulary", "values", "simulated", "provenance")
VALUES = ("counts", "zscore", "tpm", "lognorm")
REMEDY = "rebuild it: snakemake --forcerun align_cells"


def build(
    matrix: sparse.csr_matrix,
    obs: pd.DataFrame,
    *,
    vocabulary: Vocabulary,
    dataset: str,
    values: str,
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
    values
        What the numbers of `matrix` are; counts become int32, anything else float32.
    simulated
        Whether they come from the simulator.
    provenance
        What made them, as celllm.provenance.stamp says it.
    """
    dtype = np.int32 if values == "counts" else np.float32
    ordered = sparse.csr_matrix(matrix, dtype=dtype)
    ordered.sort_indices()
    return ad.AnnData(
        X=ordered,
        obs=obs[list(OBS_COLUMNS)].astype({"is_malignant": np.int8}),
        var=pd.DataFrame(index=pd.Index(vocabulary.symbols, name="symbol")),
        uns={
            "dataset": dataset,
            "vocabulary": vocabulary.digest,
            "values": values,
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
    """Read and check aligned cells; `sample`, `label` and `cell_hash` come back as str.

    Raises
    ------
    InputError
        If something of the format is missing, or X holds what its `values` cannot.
    VocabularyMismatch
        If the cells were aligned to another vocabulary than the one given.
    """
    cells = ad.read_h5ad(path)
    check(cells, path)
    for column in ("sample", "label", "cell_hash"):
        cells.obs[column] = cells.obs[column].astype(str).astype(object)
    cells.uns["simulated"] = bool(cells.uns["simulated"])
    if vocabulary is not None and cells.uns["vocabulary"] != vocabulary.digest:
        raise VocabularyMismatch(
            file=path,
            found=str(cells.uns["vocabulary"]),
            expected=vocabulary.digest,
            remedy=REMEDY,
        )
    return cells


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
    values = cells.uns["values"]
    if values not in VALUES:
        raise InputError(
            file=path,
            field="uns values",
            expected=f"one of {', '.join(VALUES)}",
            found=repr(values),
            remedy=REMEDY,
        )
    check_values(cells.X.data, values, file=path, field="X")


def check_values(data: npt.NDArray[Any], values: str, *, file: Path | str, field: str) -> None:
    """Raise InputError if numbers cannot be what they are said to be.

    Counts must be whole and none negative; TPM and log-normalised values must not be negative;
    z-scores may be anything finite.
    """
    if not len(data):
        return
    expected = {
        "counts": "whole counts, 0 or more",
        "tpm": "transcripts per million, 0 or more",
        "lognorm": "log-normalised values, 0 or more",
    }.get(values, "finite numbers")
    lowest, highest = float(data.min()), float(data.max())
    found = None
    if not np.isfinite(lowest + highest):
        found = "a value that is not a finite number"
    elif values != "zscore" and lowest < 0:
        found = f"negative value {lowest:.2f}, so these are scaled values"
    elif values == "counts" and not np.array_equal(data, np.rint(data)):
        # Counts of a cell reach hundreds; the logarithm of any count that a sequencer yields stays below 20.
        kind = "log-normalised" if highest < 20 else "not whole numbers"
        found = f"{kind}: max {highest:.1f}, fractional values such as {_fraction(data):g}"
    if found is not None:
        raise InputError(
            file=file,
            field=field,
            expected=expected,
            found=found,
            remedy="give the raw counts, or correct the column values of the dataset in config/datasets.tsv",
        )


def _fraction(data: npt.NDArray[Any]) -> float:
    return float(data[np.argmax(data != np.rint(data))])
