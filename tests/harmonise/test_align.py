"""Values on the vocabulary's axis: whatever cells and names come, nothing is gained and nothing lost unseen."""

import dataclasses
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy import sparse

from celllm.config import tables
from celllm.harmonise.align import Aligner, to_vocabulary
from celllm.harmonise.symbols import Mapping, SymbolIndex, map_names
from celllm.harmonise.vocabulary import Vocabulary
from celllm.sources.readers.cells import RawCells, in_pieces


def mapping(*index):
    names = [f"n{i}" for i in range(len(index))]
    return Mapping(names, np.array(index), ["approved" if i >= 0 else "unknown" for i in index])


def test_zscores_of_one_gene_are_averaged():
    values = sparse.csr_matrix(np.array([[1.0, -3.0, 2.0]], dtype=np.float32))
    assert to_vocabulary(values, mapping(1, 1, 0), 2, combine="mean").toarray().tolist() == [[2.0, -1.0]]


def test_sums_beyond_float32_stay_exact():
    values = sparse.csr_matrix(np.array([[2**24 + 1, 2]], dtype=np.int32))
    assert to_vocabulary(values, mapping(0, 0), 1)[0, 0] == 2**24 + 3


GENES = pd.DataFrame(
    {
        "symbol": ["A", "B", "OUTSIDE", "ERCC1"],
        "hgnc_id": ["H:A", "H:B", "H:O", "H:E"],
        "prev_symbol": [["A2"], [], [], []],
        "alias_symbol": [[]] * 4,
    }
).assign(entrez_id="", ensembl_gene_id="")
VOCABULARY = Vocabulary(GENES[["symbol", "hgnc_id"]][:2])


def report(row, *files):
    """Align files of (names, counts), cell by cell."""
    aligner = Aligner(row, index=SymbolIndex(GENES), vocabulary=VOCABULARY)
    for number, (names, counts) in enumerate(files):
        obs = pd.DataFrame(index=[f"c{i}" for i in range(len(counts))])
        matrix = sparse.csr_matrix(np.array(counts))
        for piece in in_pieces(RawCells(matrix, list(names), obs, Path("f"), sample=f"s{number}"), 1):
            aligner.add(piece)
    return aligner.report(threshold=0)


@pytest.fixture
def row(root):
    row = tables.read_datasets(root / "config/datasets.tsv").row("pbmc68k_reduced")
    return dataclasses.replace(row, label_column=None, min_genes=0)


def test_the_share_is_of_counts_and_leaves_spike_ins_out(row):
    made = report(row, (["A", "OUTSIDE", "ERCC-00002", "ERCC1"], [[6, 1, 100, 1], [0, 1, 7, 1]]))
    assert made.mapped_share_of_counts == pytest.approx(6 / 10)
    assert made.share_by_route["outside_vocabulary"] == pytest.approx(4 / 10)
    assert made.top_lost == [("ERCC1", 0.2), ("OUTSIDE", 0.2)]
    assert (made.n_names, made.mapped, made.ambiguous, made.lost, made.merged) == (4, 1, 0, 3, 0)


def test_files_of_a_dataset_are_summed_up_and_equal_names_counted_again(row):
    made = report(row, (["A", "x"], [[3, 1]]), (["A", "x"], [[1, 0]]), (["A", "x", "A.1"], [[0, 2, 3]]))
    assert made.mapped_share_of_counts == pytest.approx(7 / 10)
    assert made.top_lost == [("x", 0.3)]
    assert made.n_names == 7
    assert (made.by_route["approved"], made.by_route["repaired"]) == (3, 1)
    assert made.merged == 1


def test_zscores_are_weighed_by_names(row):
    scores = dataclasses.replace(row, units="zscore")
    assert report(scores, (["A", "B", "A2", "x"], [[-5.0, 1.0, 1.0, 3.0]])).mapped_share_of_counts == 0.75


NAMES = [
    *("FYB", "FYB1", "CD3D", "CD3D.1", "CD79A", "ENSG00000167286.10", "CD3D_ENSG00000167286.10", "3-Mar", "HLA.A"),
    *("ERCC-00002", "MALAT1", "NOT-A-GENE", "915", "CD3D (915)", "52", "", "gene", "MT-CO1"),
]


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
