"""Pairs of line and drug: what is held out is held out whole, a compound under all its names."""

from dataclasses import replace

import numpy as np
import pytest

from celllm.base.errors import InputError
from celllm.splits.compounds import compounds
from celllm.splits.pairs import divide

RULES = ("pairs", "lines", "drugs", "both")
LINES = np.repeat([f"line{number}" for number in range(50)], 20)
DRUGS = np.tile([f"drug{number}" for number in range(20)], 50)
SUBSETS = ("train", "validation", "test")
ERLOTINIB = "COCCOc1cc2ncnc(Nc3cccc(C#C)c3)c2cc1OCCOC"
EACH_FIFTH = {"train": 0.6, "validation": 0.2, "test": 0.2}


@pytest.fixture
def split(pairs_task):
    def make(rule, lines=LINES, drugs=DRUGS, *, seed=0, structures=None, **shares):
        task = replace(pairs_task, split=rule, **(EACH_FIFTH if rule == "both" else {}) | shares)
        return divide(lines, drugs, drugs if structures is None else structures, task, seed=seed)

    return make


def sizes(subsets):
    return [int(np.sum(subsets == subset)) for subset in (*SUBSETS, "unused")]


def test_pairs_are_divided_eight_to_one_to_one_and_share_lines_and_drugs(split):
    subsets = split("pairs")

    assert sizes(subsets) == [800, 100, 100, 0]
    for names in (LINES, DRUGS):
        assert set(names[subsets == "train"]) & set(names[subsets == "test"])


@pytest.mark.parametrize(("rule", "names", "wanted"), [("lines", LINES, [40, 5, 5]), ("drugs", DRUGS, [16, 2, 2])])
def test_whole_lines_or_whole_drugs_are_in_one_subset(split, rule, names, wanted):
    subsets = split(rule)
    held = [set(names[subsets == subset]) for subset in SUBSETS]

    assert [len(of_subset) for of_subset in held] == wanted
    assert sum(wanted) == len(set.union(*held))
    assert sizes(split("lines", train=0.2, validation=0, test=0.8)) == [200, 0, 800, 0]


@pytest.mark.parametrize(
    ("rule", "n_pairs", "message"),
    [
        ("lines", 20, "of the cell lines"),
        ("lines", 80, "of the cell lines"),
        ("drugs", 1, r"drugs(?s:.*)share 0\.1 of 1"),
    ],
    ids=["one line", "four lines", "one drug"],
)
def test_fewer_lines_or_drugs_than_subsets_are_refused(split, rule, n_pairs, message):
    with pytest.raises(InputError, match=f"validation of lines(?s:.*)at least one .*{message}"):
        split(rule, LINES[:n_pairs], DRUGS[:n_pairs])


def test_a_pair_of_both_has_line_and_drug_in_its_subset_and_any_other_pair_is_unused(split):
    subsets = split("both", seed=1)
    # one seed holds out the same lines whether the drugs are known or not, so the two tasks can be compared
    of_line, of_drug = (split(rule, seed=1, **EACH_FIFTH) for rule in ("lines", "drugs"))

    assert sizes(subsets) == [30 * 12, 10 * 4, 10 * 4, 1000 - 360 - 80]
    np.testing.assert_array_equal(subsets, np.where(of_line == of_drug, of_line, "unused"))


@pytest.mark.parametrize("rule", RULES)
def test_seeds_differ_one_seed_repeats_and_the_order_of_the_pairs_does_not_matter(split, rule, generator):
    order = generator.permutation(len(LINES))

    np.testing.assert_array_equal(split(rule, LINES[order], DRUGS[order], seed=2), split(rule, seed=2)[order])
    assert (split(rule, seed=3) != split(rule, seed=4)).any()


def test_a_line_that_met_a_compound_under_two_names_met_it_in_one_subset(split):
    drugs, structures = DRUGS, np.where(DRUGS == "drug7", "drug19", DRUGS)
    subsets = split("pairs", structures=structures)

    assert (subsets[drugs == "drug7"] == subsets[drugs == "drug19"]).all()
    assert len(set(subsets[drugs == "drug7"])) == 3


@pytest.mark.parametrize("rule", ["drugs", "both"])
def test_two_names_of_one_structure_are_held_out_together(split, rule):
    lines = np.repeat([f"line{number}" for number in range(6)], 3)
    drugs, structures = np.tile(["a", "b", "c"], 6), np.tile(["s", "t", "t"], 6)
    for seed in range(6):
        subsets = split(rule, lines, drugs, structures=structures, seed=seed, train=0.5, validation=0, test=0.5)
        assert (subsets[drugs == "b"] == subsets[drugs == "c"]).all()
        assert set(subsets[drugs == "a"]) != set(subsets[drugs == "b"])


def test_a_sparse_table_that_leaves_both_without_a_test_pair_is_refused(split):
    # every line met one drug only: a test line and a test drug need not meet
    lines, drugs = np.array([f"l{number}" for number in range(10)]), np.array([f"d{number}" for number in range(10)])
    shares = {"train": 0.8, "validation": 0, "test": 0.2}
    is_test_line = split("lines", lines, drugs, **shares) == "test"
    is_test_drug = split("drugs", lines, drugs, **shares) == "test"
    free, taken = drugs[~is_test_drug], drugs[is_test_drug]
    met = [*lines[is_test_line], *lines[~is_test_line]], [*free[:2], *taken, *free[2:]]

    with pytest.raises(InputError, match="test of lines") as caught:
        split("both", *map(np.array, met), **shares)
    assert caught.value.found == "2 pairs of its lines, 2 of its drugs"


@pytest.mark.parametrize(
    ("one", "other"),
    [
        pytest.param(ERLOTINIB, f"{ERLOTINIB}.Cl", id="salt"),
        pytest.param("CC(=O)[O-].[Na+]", "CC(O)=O", id="charge"),
        pytest.param("C[C@H](N)C(=O)O", "CC(N)C(=O)O", id="stereo"),
        pytest.param("OCC", "CCO", id="spelling"),
    ],
)
def test_salts_charges_stereo_and_spelling_make_no_other_compound(one, other):
    found = compounds(np.array([one, other, "c1ccccc1", one]))

    assert found[0] == found[1] == found[3] == min(one, other)
    assert found[2] == "c1ccccc1"


def test_a_structure_that_cannot_be_read_is_a_compound_of_its_own():
    assert compounds(np.array(["s", "t", "s"])).tolist() == ["s", "t", "s"]
