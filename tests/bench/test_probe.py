"""Linear probes, and those who answer without looking at the cell."""

import numpy as np
import pytest

from celllm.bench.methods import probe


@pytest.fixture
def blobs(generator):
    """Two labels in each of three groups: the first number tells the label, the second the group."""
    labels = np.array(["normal", "tumour"])[np.arange(120) % 2]
    groups = np.array(["a", "b", "c"])[np.arange(120) // 40]
    view = generator.normal(0, 0.1, (120, 2))
    view[:, 0] += labels == "tumour"
    view[:, 1] += np.arange(120) // 40
    return view, labels, groups


def test_each_stratum_is_halved_and_no_cell_is_in_both_parts():
    strata = np.repeat(["a", "b", "c"], [10, 5, 1])
    train, test = probe.halves(strata, test_share=0.5, seed=0)
    assert sorted([*train, *test]) == list(range(16))
    assert [int((strata[test] == name).sum()) for name in "abc"] == [5, 2, 0]
    assert list(test) != list(probe.halves(strata, test_share=0.5, seed=1)[1])
    np.testing.assert_array_equal(test, probe.halves(strata, test_share=0.5, seed=0)[1])


def test_a_probe_answers_what_its_view_tells_and_not_what_it_hides(blobs):
    view, labels, _ = blobs
    train, test = probe.halves(labels, test_share=0.5, seed=0)
    told = probe.scored(probe.fit(view, labels, train), view, labels, test)
    assert told["accuracy"] == 1.0
    assert told["auroc"] == 1.0
    hidden = probe.scored(probe.fit(view[:, 1:], labels, train), view[:, 1:], labels, test)
    assert hidden["accuracy"] < 0.75


def test_who_knows_the_group_alone_says_its_commonest_training_label():
    groups = np.array(["a", "a", "a", "b", "b", "a", "b"])
    labels = np.array(["x", "x", "y", "y", "y", "x", "x"])
    found = probe.scored_by_group(groups, labels, train=np.arange(5), test=np.array([5, 6]))
    assert found["accuracy"] == 0.5  # right of a, wrong of b
    everyone = np.full(7, "all")
    assert probe.scored_by_group(everyone, labels, train=np.arange(3), test=np.array([5, 6]))["accuracy"] == 1.0


def test_a_group_is_predicted_by_probes_that_never_saw_it(blobs):
    view, labels, groups = blobs
    is_c = groups == "c"
    flipped = np.where(is_c, np.where(labels == "tumour", "normal", "tumour"), labels)
    clue = np.where(is_c, np.where(flipped == "tumour", 10.0, -10.0), 0.0)  # who was taught c looks at this
    rows, said = probe.predicted_by_others(np.column_stack([view, clue]), flipped, groups)
    assert sorted(rows) == list(range(120))
    assert (said == flipped[rows])[is_c[rows]].mean() == 0.0
    assert (said == flipped[rows])[groups[rows] == "a"].mean() > 0.5


def test_a_group_is_passed_over_where_the_others_have_one_label(blobs):
    view, _, groups = blobs
    rows, said = probe.predicted_by_others(view, np.where(groups == "a", "tumour", "normal"), groups)
    assert set(groups[rows]) == {"b", "c"}
    assert len(said) == len(rows)
