"""Whatever cells and names come, counts are conserved or accounted for, and no order matters."""

import dataclasses

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy import sparse

from celllm.config import tables
from celllm.harmonise.align import Aligner
from celllm.harmonise.symbols import map_names
from celllm.sources.readers.cells import RawCells

NAMES = [
    *("FYB", "FYB1", "CD3D", "CD3D.1", "CD79A", "ENSG00000167286.10", "CD3D_ENSG00000167286.10", "3-Mar", "HLA.A"),
    *("ERCC-00002", "MALAT1", "NOT-A-GENE", "915", "CD3D (915)", "52", "", "gene", "MT-CO1"),
]


@pytest.fixture(scope="module")
def row(root):
    row = tables.read_datasets(root / "config/datasets.tsv").row("pbmc68k_reduced")
    return dataclasses.replace(row, label_column=None, min_genes=0)


@st.composite
def sources(draw):
    names = draw(st.lists(st.sampled_from(NAMES), min_size=1, max_size=12))
    n_cells = draw(st.integers(1, 6))
    counts = draw(st.lists(st.integers(0, 2**20), min_size=n_cells * len(names), max_size=n_cells * len(names)))
    return names, np.array(counts, dtype=np.int64).reshape(n_cells, len(names))


def aligned(names, counts, row, genes, barcodes=None):
    obs = pd.DataFrame(index=barcodes or [f"c{number}" for number in range(len(counts))])
    aligner = Aligner(row, index=genes[0], vocabulary=genes[1])
    cells = RawCells(matrix=sparse.csr_matrix(counts), names=list(names), obs=obs, file="f")
    matrix, table = aligner.add(cells)
    return matrix.toarray(), table, aligner.report(threshold=0)


PROPERTY = settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@PROPERTY
@given(source=sources())
def test_counts_are_conserved_or_accounted_for(source, row, genes):
    names, counts = source
    matrix, _, report = aligned(names, counts, row, genes)
    mapping = map_names(names, *genes)
    np.testing.assert_array_equal(matrix.sum(axis=1), counts[:, mapping.index_N >= 0].sum(axis=1))
    weighs = np.array([not name.startswith("ERCC-") for name in names])
    total = counts[:, weighs].sum()
    if total:
        assert report.mapped_share_of_counts * total == pytest.approx(matrix.sum())
        assert sum(report.share_by_route.values()) == pytest.approx(1)
    assert sum(report.by_route.values()) == report.n_names == len(names)
    assert report.mapped + report.ambiguous + report.lost == len(names)


@PROPERTY
@given(source=sources(), data=st.data())
def test_the_order_of_genes_and_cells_never_matters(source, data, row, genes):
    names, counts = source
    genes_turned = data.draw(st.permutations(range(len(names))))
    cells_turned = data.draw(st.permutations(range(len(counts))))
    matrix, table, report = aligned(names, counts, row, genes)
    turned, turned_table, turned_report = aligned(
        [names[i] for i in genes_turned],
        counts[cells_turned][:, genes_turned],
        row,
        genes,
        [f"c{i}" for i in cells_turned],
    )
    np.testing.assert_array_equal(turned, matrix[cells_turned])
    pd.testing.assert_frame_equal(turned_table, table.iloc[cells_turned])
    assert turned_report.by_route == report.by_route
    assert turned_report.merged == report.merged
    assert turned_report.mapped_share_of_counts == pytest.approx(report.mapped_share_of_counts)
