"""What linear probes, and those who do not look at the cell, say of the tumour and the data set."""

from dataclasses import replace

import numpy as np
import pytest

from celllm.bench.confounding import (
    DATASET,
    GROUP_ALONE,
    MAJORITY,
    TUMOUR,
    UNSEEN,
    CorpusCells,
    answers,
    halves,
    predicted_by_others,
    taught_by_rules,
)

N = 80


@pytest.fixture
def corpus(generator):
    """Blood is normal; biopsy is half tumour, and tumour by source; line has no label. One view knows each."""
    dataset = np.repeat(["biopsy", "blood", "line"], N)
    is_malignant = np.concatenate([np.arange(N) % 2, np.zeros(N), np.full(N, -1)]).astype(np.int8)
    by_source = np.repeat([1, 0, -1], N).astype(np.int8)
    source, tumour = generator.normal(0, 0.1, (2, 3 * N, 2))
    source[:, 0] += np.repeat([0, 1, 2], N)
    tumour[:, 0] += is_malignant == 1
    return CorpusCells({"source": source, "tumour": tumour}, dataset, is_malignant, by_source)


@pytest.fixture
def parts(corpus):
    strata = np.char.add(corpus.dataset, corpus.is_malignant.astype(str))
    return dict(zip(("train", "test"), halves(strata, test_share=0.5, seed=0), strict=True))


def test_a_view_that_knows_the_data_set_is_told_from_one_that_knows_the_tumour(corpus, parts):
    asked = {(one["question"], one["view"]): one for one in answers(corpus, **parts)}
    found = {key: one["accuracy"] for key, one in asked.items()}

    assert found[DATASET, "source"] == found[TUMOUR, "tumour"] == found[UNSEEN, "tumour"] == 1.0
    assert found[DATASET, MAJORITY] == pytest.approx(1 / 3)
    assert found[TUMOUR, MAJORITY] == found[TUMOUR, GROUP_ALONE] == pytest.approx(0.75)
    assert found[TUMOUR, "source"] < 0.85
    # cells without a label are asked for their data set only
    sizes = [sum(asked[question, MAJORITY][name] for name in ("n_train", "n_test")) for question in (DATASET, TUMOUR)]
    assert sizes == [3 * N, 2 * N]
    # blood is asked of a probe taught the biopsy; blood alone teaches nothing
    assert asked[UNSEEN, "tumour"]["n_test"] == N
    assert np.isnan(asked[UNSEEN, "tumour"]["auroc"])


def test_a_question_with_one_answer_is_not_asked(corpus):
    blood = {name: getattr(corpus, name)[N : 2 * N] for name in ("dataset", "is_malignant", "by_source")}
    alone = CorpusCells({name: view[N : 2 * N] for name, view in corpus.views.items()}, **blood)
    assert list(answers(alone, train=np.arange(40), test=np.arange(40, 80))) == []


def test_the_rule_by_source_teaches_the_source_and_nothing_where_it_is_never_wrong(corpus, parts):
    found = {(one["rule"], one["view"]): one for one in taught_by_rules(corpus, **parts)}
    misled = found["by_source", "source"]
    sizes = {"n_wrong": N // 4, "n_right": 3 * N // 4, "n_train": N, "n_wrong_in_train": N // 4}
    assert sizes | {"accuracy_on_wrong": 0.0, "accuracy_on_right": 1.0} == {
        name: value for name, value in misled.items() if name not in ("rule", "view")
    }
    assert found["metadata", "tumour"]["accuracy_on_wrong"] == 1.0
    assert list(taught_by_rules(replace(corpus, is_malignant=corpus.by_source), **parts)) == []


def test_each_stratum_is_halved_and_no_cell_is_in_both_parts():
    strata = np.repeat(["a", "b", "c"], [10, 5, 1])
    train, test = halves(strata, test_share=0.5, seed=0)
    assert sorted([*train, *test]) == list(range(16))
    assert [int((strata[test] == name).sum()) for name in "abc"] == [5, 2, 0]
    assert list(test) != list(halves(strata, test_share=0.5, seed=1)[1])
    np.testing.assert_array_equal(test, halves(strata, test_share=0.5, seed=0)[1])


def test_a_group_is_predicted_by_probes_that_never_saw_it_where_the_others_have_two_labels():
    labels, groups = np.array(["normal", "tumour"])[np.arange(120) % 2], np.repeat(["a", "b", "c"], 40)
    is_c = groups == "c"
    flipped = np.where(is_c, np.roll(labels, 1), labels)
    clue = np.where(is_c, np.where(flipped == "tumour", 10.0, -10.0), 0.0)  # who was taught c looks at this
    rows, said = predicted_by_others(np.column_stack([labels == "tumour", clue]), flipped, groups)
    assert sorted(rows) == list(range(120))
    assert (said == flipped[rows])[is_c[rows]].mean() == 0.0
    rows, _ = predicted_by_others(clue[:, None], np.where(groups == "a", "tumour", "normal"), groups)
    assert set(groups[rows]) == {"b", "c"}
