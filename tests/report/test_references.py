"""No number of an encoder without its baselines, and none of simulated data without that word, wherever it stands."""

from dataclasses import replace

import pandas as pd
import pytest
from tests.report.conftest import seen

from celllm.report.comparisons import comparisons_table, controls_table
from celllm.report.details import classes_table, spread_table
from celllm.report.figures.benchmark import curves_of, dots_of, points_of
from celllm.report.main_table import costs_table, main_table
from celllm.report.references import missing_references, withheld
from celllm.report.results import Results

TABLES = {
    "main": main_table,
    "comparisons": comparisons_table,
    "classes": classes_table,
    "spread": spread_table,
}
TITLED = TABLES | {"costs": costs_table, "controls": controls_table}


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


@pytest.mark.parametrize("table", TABLES)
@pytest.mark.parametrize("is_absent", [False, True], ids=["all ran", "no reference"])
def test_a_table_shows_a_score_of_an_encoder_only_with_its_references(with_class, catalogue, table, is_absent):
    rest = with_class[(with_class["method"] != "logistic") | (not is_absent)]
    rows = seen(TABLES[table](Results(rest), catalogue))
    ours = [
        row for row in rows if "CellLM" in (row.get("method"), row.get("ours")) and row["task"] == "Annotation of blood"
    ]
    assert any("0." in text for row in ours for text in row.values()) == (not is_absent)


def test_a_figure_draws_a_score_of_an_encoder_only_with_its_references(scores, catalogue):
    curve = {name: replace(catalogue.tasks["blood"], task=name, train=0.05, validation=0) for name in ("few", "more")}
    known = catalogue.model_copy(update={"tasks": curve})
    blood = scores[(scores["task"] == "blood") & (scores["method"] != "logistic")]
    results = Results(pd.concat([blood.assign(task=name) for name in curve]))
    dots = dots_of(results, known).items()
    assert [dot for (_, method), dot in dots if method.startswith("celllm")] == [None] * 4
    (tasks,) = curves_of(known, results)
    assert list(points_of(tasks, known, results)) == ["majority", "control_leaked", "control_shuffled"]


@pytest.mark.parametrize("table", TITLED)
def test_simulated_data_are_called_simulated_in_every_row(with_class, catalogue, table):
    titles = [row["task"] for row in seen(TITLED[table](Results(with_class), catalogue))]
    assert {("of nothing" in title, "simulated" in title) for title in titles} == {(True, True), (False, False)}


@pytest.fixture
def with_class(scores):
    """The scores, with the F1 of a class and a second model seed."""
    of_class = scores[scores["metric"] == "macro_f1"].assign(metric="f1:B cell")
    return pd.concat([scores, of_class, scores.assign(seed=1)])
