"""Cells built from published files equal those of the mirror; CELLLM_RAW_MIRROR is a folder of the published files."""

import hashlib
import os
import re
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy import sparse

from celllm.config import tables
from celllm.sources.fetch import FetchContext, fetch_all
from celllm.sources.raw import RawManifest
from celllm.sources.readers.cells import annotate
from celllm.sources.readers.registry import read_raw

ROOT = Path(__file__).resolve().parents[2]
FILES = tables.read_files(ROOT / "config/files.tsv")
BUILT = [row for row in tables.read_datasets(ROOT / "config/datasets.tsv") if "".join(row.built).endswith(".h5ad")]

MORE = {"drug_pc9_erlotinib_gse149383": 4}
"""Cells that the mirror does not have: four of 201 or 202 genes that the published benchmark has left out."""

CUT = {"RP4-633O19": "ENSG00000223695", "RP1-213J1P": "ENSG00000227838", "RP11-59D5": "ENSG00000236345"}
"""Genes of heart_ipsc_cardiac_day2_day5 whose names the mirror has cut at the wrong place."""

ROUNDED = "pbmc_scp345_scp591_lognorm"
"""Here the mirror has rounded logarithms to two decimals, so values are not compared."""


def key(name):
    """A gene's id where its name has one, else the name, in which R may have put dots for hyphens."""
    found = re.search(r"ENSG\d{11}", CUT.get(name, name))
    return found[0] if found else name.removeprefix("hg19_").replace(".", "-")


def cells_of(row, folder, mirror, *, built):
    """Digests of all cells with an expressed gene, with label and malignancy; and the names of the expressed genes."""
    context = FetchContext(folder=folder / row.dataset, mirrors=[mirror], built=row.built if built else ())
    context.folder.parent.mkdir()
    files = fetch_all([(file, {}) for file in FILES.of(row.dataset)], context)
    pieces = list(read_raw(RawManifest(row.dataset, tuple(files), folder), row))
    names = sorted({key(name) for piece in pieces for name in piece.names})
    place = {name: i for i, name in enumerate(names)}
    found, sums = Counter(), np.zeros(len(names))
    for piece in pieces:
        columns = [place[key(name)] for name in piece.names]
        onto = sparse.csr_matrix(
            (np.ones(len(columns)), (np.arange(len(columns)), columns)), (len(columns), len(names))
        )
        matrix = sparse.csr_matrix(piece.matrix.astype(np.float64) @ onto)
        matrix.eliminate_zeros()
        matrix.sort_indices()
        sums += np.asarray(abs(matrix[np.flatnonzero(np.diff(matrix.indptr) >= row.min_genes)]).sum(axis=0)).ravel()
        said = annotate(piece, row)[["label", "is_malignant"]].to_numpy().tolist()
        values = np.zeros(matrix.nnz) if row.dataset == ROUNDED else matrix.data.astype(np.float32)
        for (label, is_malignant), begin, end in zip(said, matrix.indptr[:-1], matrix.indptr[1:], strict=True):
            if end - begin >= row.min_genes:
                content = matrix.indices[begin:end].tobytes() + values[begin:end].tobytes()
                found[hashlib.sha256(content).hexdigest(), label, is_malignant] += 1
    return found, {name for name, total in zip(names, sums, strict=True) if total}


@pytest.mark.slow
@pytest.mark.parametrize("row", BUILT, ids=lambda row: row.dataset)
def test_cells_built_from_published_files_equal_those_of_the_mirror(row, mirror, tmp_path):
    published = os.environ.get("CELLLM_RAW_MIRROR")
    if published is None or not (Path(published) / row.dataset).is_dir():
        pytest.skip("no folder CELLLM_RAW_MIRROR with the published files")
    units = row.units if row.log is None else None  # logarithms are compared as they stand
    row = replace(row, min_genes=max(1, row.min_genes), log=None, units=units)
    ours, names = cells_of(row, tmp_path / "published", Path(published), built=False)
    theirs, twin_names = cells_of(row, tmp_path / "built", mirror, built=True)
    left, right = ours - theirs, theirs - ours
    assert names == twin_names or row.dataset in MORE
    assert (left.total(), right.total()) == (MORE.get(row.dataset, 0), 0), f"{ours.total()} and {theirs.total()} cells"
