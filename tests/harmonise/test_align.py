"""Values on the vocabulary's axis: nothing gained, nothing lost unseen."""

import numpy as np
import pytest
from scipy import sparse

from celllm.harmonise.align import Account, harmonisation_of, to_vocabulary
from celllm.harmonise.symbols import Mapping


def mapping(*index):
    names = [f"n{i}" for i in range(len(index))]
    return Mapping(names, np.array(index), ["approved" if i >= 0 else "unknown" for i in index])


def test_names_of_one_gene_are_summed():
    values = sparse.csr_matrix(np.array([[1, 2, 4, 8], [0, 0, 1, 0]], dtype=np.int32))
    aligned = to_vocabulary(values, mapping(2, 0, 2, -1), 3)
    assert aligned.toarray().tolist() == [[2, 0, 5], [0, 0, 1]]
    assert aligned.has_sorted_indices


def test_zscores_of_one_gene_are_averaged():
    values = sparse.csr_matrix(np.array([[1.0, -3.0, 2.0]], dtype=np.float32))
    assert to_vocabulary(values, mapping(1, 1, 0), 2, combine="mean").toarray().tolist() == [[2.0, -1.0]]


def test_mapped_counts_are_conserved_in_every_cell(generator):
    values = sparse.csr_matrix(generator.poisson(0.7, (30, 50)).astype(np.int32))
    index = generator.integers(-1, 12, 50)
    aligned = to_vocabulary(values, mapping(*index), 12)
    expected = values.toarray()[:, index >= 0].sum(axis=1)
    assert aligned.sum(axis=1).A1.tolist() == expected.tolist()


def test_the_order_of_cells_and_names_does_not_matter(generator):
    values = sparse.csr_matrix(generator.poisson(0.7, (20, 40)).astype(np.int32))
    index = generator.integers(-1, 9, 40)
    cells, names = generator.permutation(20), generator.permutation(40)
    straight = to_vocabulary(values, mapping(*index), 9)
    turned = to_vocabulary(values[cells][:, names], mapping(*index[names]), 9)
    assert (turned.toarray() == straight.toarray()[cells]).all()


def test_aligning_twice_changes_nothing(generator):
    values = sparse.csr_matrix(generator.poisson(0.7, (20, 40)).astype(np.int32))
    once = to_vocabulary(values, mapping(*generator.integers(-1, 9, 40)), 9)
    assert (to_vocabulary(once, mapping(*range(9)), 9).toarray() == once.toarray()).all()


def test_sums_beyond_float32_stay_exact():
    values = sparse.csr_matrix(np.array([[2**24 + 1, 2]], dtype=np.int32))
    assert to_vocabulary(values, mapping(0, 0), 1)[0, 0] == 2**24 + 3


def report(*parts, are_counts=True):
    accounts = []
    for values, names in parts:
        accounts.append(Account(names, are_counts=are_counts))
        for row in values:  # piece by piece
            accounts[-1].add(row)
    return harmonisation_of(accounts, dataset="d", samples={}, threshold=0.8)


def test_the_share_is_of_counts_and_leaves_spike_ins_out():
    values = sparse.csr_matrix(np.array([[6, 1, 100], [0, 1, 7]]))
    names = Mapping(["A", "MALAT1", "ERCC-00002"], np.array([0, -1, -1]), ["approved", "outside_vocabulary", "unknown"])
    made = report((values, names))
    assert made.mapped_share_of_counts == pytest.approx(6 / 8)
    assert made.share_by_route["outside_vocabulary"] == pytest.approx(2 / 8)
    assert sum(made.share_by_route.values()) == pytest.approx(1)
    assert made.top_lost == [("MALAT1", 0.25)]
    assert (made.n_names, made.mapped, made.ambiguous, made.lost, made.merged) == (3, 1, 0, 2, 0)


def test_a_gene_whose_name_starts_like_a_spike_in_counts():
    values = sparse.csr_matrix(np.array([[3, 1]]))
    names = Mapping(["ERCC1", "A"], np.array([0, -1]), ["approved", "unknown"])
    assert report((values, names)).mapped_share_of_counts == 0.75


def test_files_of_a_dataset_are_summed_up():
    one = sparse.csr_matrix(np.array([[3, 1]]))
    two = sparse.csr_matrix(np.array([[1, 2, 3]]))
    made = report((one, mapping(0, -1)), (two, mapping(0, -1, 0)))
    assert made.mapped_share_of_counts == pytest.approx(7 / 10)
    assert made.top_lost == [("n1", 0.3)]
    assert made.n_names == 5
    assert made.by_route["approved"] == 3
    assert made.merged == 1


def test_zscores_are_weighed_by_names():
    values = sparse.csr_matrix(np.array([[-5.0, 1.0, 1.0, 3.0]]))
    assert report((values, mapping(0, 1, 2, -1)), are_counts=False).mapped_share_of_counts == 0.75
