"""Tokens: bins, order, truncation, padding."""

import numpy as np
import pytest
from scipy.sparse import csr_matrix

from celllm.config.recipe_encoder import TokenSettings
from celllm.corpus.tokens import CLS, MASK, N_TOKENS, PAD, bins_of, levels_of, padded, tokenise


def rule(**changes):
    return TokenSettings(**{"max_length": 64, **changes})


def genes_of(cells, rule, **options):
    return tokenise(csr_matrix(cells), rule, **options).padded()[0]


def lists(tokens):
    """Genes and bins of padded cells."""
    return [part.tolist() for part in tokens.padded()[:2]]


def counts_of_level(level):
    """One cell whose gene 0 has the given log2(1 + x) at 10,000 counts; gene 1 takes the rest."""
    value = 2.0**level - 1
    return csr_matrix([[value, 10_000 - value]])


@pytest.fixture
def cells(generator):
    return csr_matrix(generator.poisson(0.8, (12, 40)) * generator.integers(1, 9, (12, 40)))


@pytest.mark.parametrize(
    ("rounding", "level", "expected"),
    [
        *(("floor", *case) for case in [(0.4, 0), (0.999, 0), (1.0, 1), (4.99, 4), (5.0, 5), (9.0, 5)]),
        *(("round", *case) for case in [(0.4, 0), (0.6, 1), (4.4, 4), (4.6, 5), (9.0, 5)]),
    ],
)
def test_a_level_goes_into_its_bin_and_everything_from_five_up_into_five(rounding, level, expected):
    assert bins_of(levels_of(counts_of_level(level), rule()), rule(rounding=rounding))[0] == expected


@pytest.mark.parametrize(("base", "expected"), [(2, [2, 5]), ("e", [1, 5])])
def test_natural_logarithm_gives_lower_bins(base, expected):
    assert bins_of(levels_of(csr_matrix([[3, 9997]]), rule(log_base=base)), rule()).tolist() == expected


def test_a_cell_is_cls_then_its_expressed_genes_in_vocabulary_order_then_padding():
    assert (CLS, PAD, MASK, N_TOKENS) == (6, 7, 8, 9)  # the authors' ids, and a MASK of our own
    # the least expressed gene is of bin 0, and a token all the same
    counts = csr_matrix(np.array([[0, 1, 0, 9, 0], [5000, 0, 3, 3, 4994], [0, 0.3, 0, 9999, 0]]))

    tokens = tokenise(counts, rule())
    genes_BL, bins_BL, values_BL = tokens.padded()

    assert genes_BL.tolist() == [[5, 1, 3, 6, 6], [5, 0, 2, 3, 4], [5, 1, 3, 6, 6]]
    assert bins_BL.tolist() == [[CLS, 5, 5, PAD, PAD], [CLS, 5, 2, 2, 5], [CLS, 0, 5, PAD, PAD]]
    assert genes_BL.dtype == bins_BL.dtype == np.int64
    np.testing.assert_allclose(values_BL[1], np.log2([1, 5001, 4, 4, 4995]), rtol=1e-6)
    assert values_BL[0].tolist()[3:] == [0, 0]
    assert tokens.genes_N.tolist() == [5, 1, 3, 5, 0, 2, 3, 4, 5, 1, 3]
    assert tokens.bins_N.tolist() == [CLS, 5, 5, CLS, 5, 2, 2, 5, CLS, 0, 5]
    assert tokens.lengths_B.tolist() == [3, 5, 3]


def test_packed_cells_are_padded_in_any_order_and_again_and_again():
    values_N, lengths_B, starts_B = np.arange(6, dtype=np.uint8), np.array([1, 3, 1]), np.array([5, 0, 5])

    rows_BL = padded(values_N, lengths_B, fill=9, starts_B=starts_B)

    assert rows_BL.tolist() == [[5, 9, 9], [0, 1, 2], [5, 9, 9]]
    assert padded(values_N, np.array([2, 4]), fill=9).tolist() == [[0, 1, 9, 9], [2, 3, 4, 5]]


def test_an_empty_cell_is_cls_alone():
    assert genes_of([[1, 0], [0, 0], [0, 2], [0, 0]], rule()).tolist() == [[2, 0], [2, 3], [2, 1], [2, 3]]
    assert lists(tokenise(csr_matrix((1, 2), dtype=np.int32), rule())) == [[[2]], [[CLS]]]
    assert genes_of(csr_matrix((0, 2), dtype=np.int32), rule()).shape == (0, 1)


@pytest.mark.parametrize(
    "untidy",
    [
        csr_matrix((np.array([0, 2, 7]), np.array([0, 1, 2]), np.array([0, 3])), shape=(1, 3)),
        csr_matrix((np.array([7, 2]), np.array([2, 1]), np.array([0, 2])), shape=(1, 3)),
    ],
    ids=["stored zero", "unsorted"],
)
def test_stored_zeros_and_unsorted_genes_change_nothing(untidy):
    before = untidy.data.copy()
    assert lists(tokenise(untidy, rule())) == lists(tokenise(csr_matrix([[0, 2, 7]]), rule()))
    np.testing.assert_array_equal(untidy.data, before)


@pytest.mark.parametrize("truncation", ["random_subset", "head", "top_expressed"])
def test_truncation_obeys_the_length_keeps_the_order_and_loses_no_short_cell(cells, truncation):
    whole = tokenise(cells, rule())
    cut = tokenise(cells, rule(truncation=truncation, max_length=16))

    assert cut.padded()[0].shape == (12, 16)
    np.testing.assert_array_equal(cut.lengths_B, np.minimum(whole.lengths_B, 16))
    for wholes, cuts in zip(zip(*whole.padded(), strict=True), zip(*cut.padded(), strict=True), strict=True):
        pairs = list(zip(*wholes, strict=True))
        kept = [pair for pair in zip(*cuts, strict=True) if pair[1] != PAD]
        assert [pair for pair in pairs if pair in kept] == kept


def test_head_keeps_the_first_genes_and_top_expressed_the_highest():
    counts = [[1, 2, 5, 4, 2]]

    assert genes_of(counts, rule(truncation="head", max_length=4)).tolist() == [[5, 0, 1, 2]]
    kept = genes_of(counts, rule(truncation="top_expressed", max_length=4))[0].tolist()
    assert kept in ([5, 1, 2, 3], [5, 2, 3, 4])  # genes 1 and 4 are equal
    # normalisation sees the genes that truncation drops
    assert tokenise(csr_matrix([[1, 9999]]), rule(truncation="head", max_length=2)).bins_N.tolist() == [CLS, 1]


def test_of_genes_equally_expressed_the_highest_keep_some_from_the_whole_vocabulary():
    counts = np.ones((1, 1500))
    counts[0, ::100] = 9

    kept = genes_of(counts, rule(truncation="top_expressed", max_length=513))[0, 1:]

    assert np.isin(np.arange(0, 1500, 100), kept).all()
    assert np.bincount(kept // 500).min() > 140  # about 171 expected in each third


def test_a_fixed_subset_depends_neither_on_companions_nor_on_their_order(cells):
    cut = rule(max_length=10)
    together = genes_of(cells, cut)

    np.testing.assert_array_equal(np.vstack([genes_of(cells[row], cut) for row in range(12)]), together)
    np.testing.assert_array_equal(genes_of(cells[::-1], cut)[::-1], together)


def test_each_draw_is_another_subset_fixed_by_the_cell(cells):
    cut = rule(max_length=10)
    first, second = (genes_of(cells, cut, draw=draw) for draw in (0, 1))

    np.testing.assert_array_equal(first, genes_of(cells, cut))
    np.testing.assert_array_equal(second[5:6], genes_of(cells[5], cut, draw=1))
    assert (np.sort(first) != np.sort(second)).any(axis=1).all()


def test_fixed_subsets_are_spread_evenly_and_differ_between_cells(generator):
    counts = csr_matrix((generator.random((2000, 30)) < 0.8).astype(np.int32))

    kept = genes_of(counts, rule(max_length=11))[:, 1:]

    share = np.bincount(kept.ravel(), minlength=30) / counts.sum(axis=0).A1
    assert np.ptp(share) < 0.1  # each gene is expressed in about 1,600 cells: standard error 0.012
    assert len(np.unique(kept, axis=0)) > 1900


def test_a_generator_draws_another_subset_each_time_and_the_same_from_one_seed(cells):
    cut = rule(max_length=10)
    generator = np.random.default_rng(5)
    first, second = (genes_of(cells, cut, generator=generator) for _ in range(2))

    assert (first != second).any()
    np.testing.assert_array_equal(first, genes_of(cells, cut, generator=np.random.default_rng(5)))


def test_zscores_above_zero_are_tokens_of_their_whole_part_and_tpm_gives_those_of_counts(cells):
    tokens = tokenise(csr_matrix([[-1.5, 0.4, 0.0, 2.9, 7.0]]), rule(), units="zscore")
    assert lists(tokens) == [[[5, 1, 3, 4]], [[CLS, 0, 2, 5]]]
    assert lists(tokenise(cells * 250.0, rule(), units="tpm")) == lists(tokenise(cells, rule()))


def test_full_layout_shows_the_panel_in_its_order_with_silent_genes_as_bin_zero():
    counts = csr_matrix([[0, 1, 0, 9999], [3, 0, 0, 9997]])

    tokens = tokenise(counts, rule(layout="full"), panel=np.array([3, 0, 1]))

    assert lists(tokens) == [[[4, 3, 0, 1]] * 2, [[CLS, 5, 0, 1], [CLS, 5, 2, 0]]]
    np.testing.assert_allclose(tokens.padded()[2], [[0, np.log2(1e4), 0, 1], [0, np.log2(9998), 2, 0]], rtol=1e-6)
    assert genes_of([[0, 1, 0]], rule(layout="full")).tolist() == [[3, 0, 1, 2]]  # without a panel, all genes


@pytest.mark.parametrize(
    ("panel", "message"),
    [
        pytest.param(None, "a panel of 4 genes and CLS do not fit into max_length 4", id="too long"),
        pytest.param([0, -1], "the vocabulary has 0 to 3", id="negative gene"),
        pytest.param([0, 4], "the vocabulary has 0 to 3", id="unknown gene"),
    ],
)
def test_a_panel_that_does_not_fit_is_refused(panel, message):
    with pytest.raises(ValueError, match=message):
        tokenise(csr_matrix([[0, 1, 0, 5]]), rule(layout="full", max_length=4), panel=panel)
