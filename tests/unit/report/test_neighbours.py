from __future__ import annotations

import pytest

from celllm.contracts import tables
from celllm.report.neighbours import LEAKED, LINEAR, SCRATCH, SHUFFLED, alone, missing_neighbours, neighbours_of
from celllm.report.results import Results


def test_an_encoder_needs_the_linear_model_and_the_network_without_pretraining(catalogue):
    assert neighbours_of(catalogue.methods.row("celllm")) == ("logistic", "celllm_scratch")
    assert neighbours_of(catalogue.methods.row("celllm_response")) == ("ridge", "celllm_scratch_response")


def test_the_network_without_pretraining_needs_the_linear_model_only(catalogue):
    assert neighbours_of(catalogue.methods.row("celllm_scratch")) == ("logistic",)


def test_a_method_without_encoder_may_stand_alone(catalogue):
    assert neighbours_of(catalogue.methods.row("majority")) == ()


def test_a_method_on_components_starts_from_no_encoder_and_may_stand_alone(root):
    row = tables.read_methods(root / "config/methods.tsv").row("pca_logistic")
    assert row.recipe == tables.COMPONENTS
    assert neighbours_of(row) == ()


def test_nobody_is_alone_where_all_ran(scores, catalogue):
    assert alone(Results(scores), catalogue) == set()


@pytest.mark.parametrize("absent", ["logistic", "celllm_scratch"])
def test_an_encoder_is_alone_where_a_neighbour_did_not_run(scores, catalogue, absent):
    rest = scores[(scores["method"] != absent) | (scores["task"] != "blood")]
    assert ("blood", "celllm") in alone(Results(rest), catalogue)
    assert ("invented", "celllm") not in alone(Results(rest), catalogue)
    assert ("blood", "majority") not in alone(Results(rest), catalogue)


def test_a_neighbour_must_have_the_same_splits(scores, catalogue):
    rest = scores[(scores["method"] != "logistic") | (scores["split"] != 2)]
    celllm = catalogue.methods.row("celllm")
    assert missing_neighbours(Results(rest), task="blood", method=celllm, metric="macro_f1") == ["logistic"]


def test_the_named_neighbours_and_controls_are_shipped_methods(root):
    methods = tables.read_methods(root / "config/methods.tsv")
    for part in (LINEAR, SCRATCH, LEAKED, SHUFFLED):
        for kind, name in part.items():
            assert methods.row(name).kind == kind
