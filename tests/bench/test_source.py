"""The source audit finds a view that knows the data set, and a rule that teaches nothing else."""

import numpy as np
import pytest

from celllm.bench.methods.probe import halves
from celllm.bench.source import DATASET, GROUP_ALONE, MAJORITY, TUMOUR, UNSEEN, CorpusCells, answers, taught_by_rules

N = 80


@pytest.fixture
def corpus(generator):
    """Blood is normal; biopsy is half tumour, and tumour by source; line has no label. One view knows each."""
    dataset = np.repeat(["biopsy", "blood", "line"], N)
    is_malignant = np.concatenate([np.arange(N) % 2, np.zeros(N), np.full(N, -1)]).astype(np.int8)
    by_source = np.repeat([1, 0, -1], N).astype(np.int8)
    knows_source = generator.normal(0, 0.1, (3 * N, 2))
    knows_source[:, 0] += np.repeat([0, 1, 2], N)
    knows_tumour = generator.normal(0, 0.1, (3 * N, 2))
    knows_tumour[:, 0] += is_malignant == 1
    return CorpusCells({"source": knows_source, "tumour": knows_tumour}, dataset, is_malignant, by_source)


@pytest.fixture
def parts(corpus):
    strata = np.char.add(corpus.dataset, corpus.is_malignant.astype(str))
    return dict(zip(("train", "test"), halves(strata, test_share=0.5, seed=0), strict=True))


def test_a_view_that_knows_the_data_set_is_told_from_one_that_knows_the_tumour(corpus, parts):
    found = {(one.question, one.view): one.metrics["accuracy"] for one in answers(corpus, **parts)}
    assert found[DATASET, "source"] == 1.0
    assert found[DATASET, MAJORITY] == pytest.approx(1 / 3)
    assert found[TUMOUR, "tumour"] == 1.0
    assert found[TUMOUR, MAJORITY] == found[TUMOUR, GROUP_ALONE] == pytest.approx(0.75)
    assert found[TUMOUR, "source"] < 0.85


def test_cells_without_a_label_are_asked_for_their_data_set_only(corpus, parts):
    sizes = {one.question: one.n_train + one.n_test for one in answers(corpus, **parts)}
    assert sizes[DATASET] == 3 * N
    assert sizes[TUMOUR] == 2 * N


def test_a_data_set_is_passed_over_where_the_others_cannot_teach_the_tumour(corpus, parts):
    unseen = {one.view: one for one in answers(corpus, **parts) if one.question == UNSEEN}
    assert unseen["tumour"].n_test == N  # blood, by a probe taught the biopsy; blood alone teaches nothing
    assert unseen["tumour"].metrics["accuracy"] == 1.0
    assert np.isnan(unseen["tumour"].metrics["auroc"])


def test_a_question_with_one_answer_is_not_asked(corpus):
    blood = corpus.dataset == "blood"
    alone = CorpusCells(
        {name: view[blood] for name, view in corpus.views.items()},
        corpus.dataset[blood],
        corpus.is_malignant[blood],
        corpus.by_source[blood],
    )
    assert list(answers(alone, train=np.arange(40), test=np.arange(40, 80))) == []


def test_the_rule_by_source_teaches_the_source(corpus, parts):
    found = {(one.rule, one.view): one for one in taught_by_rules(corpus, **parts)}
    assert found["by_source", "source"].n_wrong == N // 4
    assert found["by_source", "source"].n_right == 3 * N // 4
    assert found["by_source", "source"].n_train == N
    assert found["by_source", "source"].n_wrong_in_train == N // 4
    assert found["by_source", "source"].accuracy_on_wrong == 0.0
    assert found["by_source", "source"].accuracy_on_right == 1.0
    assert found["metadata", "tumour"].accuracy_on_wrong == 1.0


def test_nothing_is_taught_where_the_rule_is_never_wrong(corpus, parts):
    right = CorpusCells(corpus.views, corpus.dataset, corpus.by_source, corpus.by_source)
    assert list(taught_by_rules(right, **parts)) == []
