from __future__ import annotations

import pytest

from celllm.config import tables
from celllm.config.neighbours import LEAKED, LINEAR, LINEAR_NEW_DRUGS, SCRATCH, SHUFFLED, linear_of, neighbours_of
from celllm.report.references import missing_references, withheld
from celllm.report.results import Results


@pytest.fixture
def task(root):
    return tables.read_tasks(root / "config/tasks.tsv").row


def test_an_encoder_needs_the_linear_model_and_the_network_without_pretraining(catalogue, task):
    cells, lines = task("annotation_pbmc68k"), task("cell_line_cold")
    assert neighbours_of(catalogue.methods["celllm"], cells) == ("logistic", "celllm_scratch")
    assert neighbours_of(catalogue.methods["celllm_response"], lines) == ("ridge", "celllm_scratch_response")


@pytest.mark.parametrize("name", ["cell_line_drug", "cell_line_both"])
def test_the_linear_model_of_drugs_never_met_is_one_that_has_an_answer_for_them(catalogue, task, name):
    assert linear_of(task(name)) == LINEAR_NEW_DRUGS
    assert neighbours_of(catalogue.methods["celllm_response"], task(name))[0] == LINEAR_NEW_DRUGS


def test_the_network_without_pretraining_needs_the_linear_model_only(catalogue, task):
    assert neighbours_of(catalogue.methods["celllm_scratch"], task("annotation_pbmc68k")) == ("logistic",)


def test_a_method_without_encoder_may_stand_alone(catalogue, task):
    assert neighbours_of(catalogue.methods["majority"], task("annotation_pbmc68k")) == ()


def test_a_method_on_components_starts_from_no_encoder_and_may_stand_alone(root, task):
    row = tables.read_methods(root / "config/methods.tsv").row("pca_logistic")
    assert row.encoder == tables.COMPONENTS
    assert neighbours_of(row, task("annotation_pbmc68k")) == ()


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
    assert missing_references(Results(rest), task=blood, method=celllm, metric="macro_f1") == ["logistic"]


def test_the_named_references_and_controls_are_shipped_methods(root):
    methods = tables.read_methods(root / "config/methods.tsv")
    assert methods.row(LINEAR_NEW_DRUGS).kind == "regression"
    for part in (LINEAR, SCRATCH, LEAKED, SHUFFLED):
        for kind, name in part.items():
            assert methods.row(name).kind == kind
