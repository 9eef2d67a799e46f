from __future__ import annotations

import pytest

from celllm.report.references import missing_references, withheld
from celllm.report.results import Results


def test_nothing_is_withheld_where_all_ran(scores, catalogue):
    assert withheld(Results(scores), catalogue) == set()


@pytest.mark.parametrize("absent", ["logistic", "celllm_scratch"])
def test_an_encoder_is_withheld_where_a_reference_did_not_run(scores, catalogue, absent):
    rest = scores[(scores["method"] != absent) | (scores["task"] != "blood")]
    assert ("blood", "celllm") in withheld(Results(rest), catalogue)
    assert ("invented", "celllm") not in withheld(Results(rest), catalogue)
    assert ("blood", "majority") not in withheld(Results(rest), catalogue)


def test_a_reference_must_have_the_same_splits(scores, catalogue):
    rest = scores[(scores["method"] != "logistic") | (scores["split"] != 2)]
    celllm = catalogue.methods["celllm"]
    blood = catalogue.tasks["blood"]
    assert missing_references(Results(rest), catalogue, task=blood, method=celllm, metric="macro_f1") == ["logistic"]
