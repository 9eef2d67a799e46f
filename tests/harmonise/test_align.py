"""Values on the vocabulary's axis: nothing gained, nothing lost unseen."""

import dataclasses
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from celllm.config import tables
from celllm.harmonise.align import Aligner, to_vocabulary
from celllm.harmonise.symbols import Mapping, SymbolIndex
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
