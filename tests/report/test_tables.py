from __future__ import annotations

import math

import pytest

from celllm.config import recipe
from celllm.config.claims import Answer, Claim
from celllm.config.overlays import paths_of
from celllm.report.results import Results
from celllm.report.tables import choices_table, claims_table, config_table, controls_table, costs_table


def set_score(scores, method, value, *, task="blood", split=0):
    rows = (scores["task"] == task) & (scores["method"] == method) & (scores["split"] == split)
    scores.loc[rows & (scores["metric"] == "macro_f1"), "value"] = value


def ordered(scores, catalogue):
    table = controls_table(Results(scores), catalogue).rows
    table = table[table["metric"] != "accuracy"]
    return dict(zip(zip(table["task"], table["split"], strict=True), table["ordered"], strict=True))


def test_controls_in_order_are_called_so_for_each_task_and_split(scores, catalogue):
    found = ordered(scores, catalogue)
    assert len(found) == 6
    assert set(found.values()) == {"yes"}


@pytest.mark.parametrize(
    ("method", "value"),
    [
        pytest.param("control_leaked", 0.5, id="leaked loses"),
        pytest.param("control_shuffled", 0.9, id="shuffled wins"),
    ],
)
def test_controls_out_of_order_are_called_so(scores, catalogue, method, value):
    set_score(scores, method, value)
    found = ordered(scores, catalogue)
    assert found[("Annotation of blood", 0)] == "no"
    assert found[("Annotation of blood", 1)] == "yes"


def test_where_a_metric_is_undefined_there_is_no_order(scores, catalogue):
    set_score(scores, "control_shuffled", math.nan)
    assert ordered(scores, catalogue)[("Annotation of blood", 0)] == "undefined"
    text = controls_table(Results(scores), catalogue).markdown
    assert "2 of 2" in next(line for line in text.splitlines() if "of blood" in line and "macro F1" in line)


def test_a_tie_with_the_leaked_control_counts_at_the_top_of_the_scale_only(scores, catalogue):
    set_score(scores, "logistic", 1.0)
    set_score(scores, "control_leaked", 1.0)
    set_score(scores, "logistic", 0.9, split=1)
    set_score(scores, "control_leaked", 0.9, split=1)
    found = ordered(scores, catalogue)
    assert found[("Annotation of blood", 0)] == "yes"
    assert found[("Annotation of blood", 1)] == "no"


def test_controls_that_did_not_run_are_called_so(scores, catalogue):
    found = ordered(scores[scores["method"] != "control_leaked"], catalogue)
    assert set(found.values()) == {"not run"}


def test_a_control_that_is_missing_on_a_split_is_counted_and_told_of(scores, catalogue):
    is_gone = (scores["method"] == "control_leaked") & (scores["split"] != 0) & (scores["task"] == "blood")
    text = controls_table(Results(scores[~is_gone]), catalogue).markdown
    assert "1 of 3 (2 without a control)" in next(x for x in text.splitlines() if "of blood" in x and "macro F1" in x)


def test_of_an_error_less_is_better(scores, catalogue):
    names = {
        "control_leaked": "control_leaked_pairs",
        "logistic": "ridge",
        "control_shuffled": "control_shuffled_pairs",
    }
    errors = scores[(scores["task"] == "blood") & (scores["metric"] == "macro_f1") & scores["method"].isin(names)]
    errors = errors.assign(task="lines", metric="rmse", method=errors["method"].map(names), value=1 - errors["value"])
    assert set(ordered(errors, catalogue).values()) == {"yes"}


def test_costs_are_means_over_splits(scores, catalogue):
    scores.loc[(scores["metric"] == "fit_s") & (scores["split"] == 2), "value"] = 5.0
    table = costs_table(Results(scores), catalogue)
    first = table.rows.to_dict("records")[0]
    assert (first["fit_s"], first["peak_mb"], first["n_splits"]) == (3.0, 300.0, 3)
    assert "simulated" in table.markdown.splitlines()[-1].lower()


def choices(root, **layers):
    folder = root / "config/recipes"
    return choices_table({name: recipe.read(*paths_of(of_name, folder)) for name, of_name in layers.items()})


def test_choices_list_each_key_with_the_value_in_force(root):
    demo = recipe.read(*paths_of(["paper", "tiny", "demo"], root / "config/recipes"))
    table = choices(root, demo=["paper", "tiny", "demo"]).rows
    assert set(table["key"]) == set(demo.our_choices)
    values = dict(zip(table["key"], table["value"], strict=True))
    assert values["tokens.truncation"] == demo.tokens.truncation
    assert values["training.steps"] == str(demo.training.steps)


def test_an_ablation_lists_what_it_switches_off_and_not_what_that_leaves_without_effect(root):
    real, off = ["paper", "tiny", "real"], {"objectives": {"contrastive": {"weight": 0.0}}}
    table = choices(root, real=real, ablation=[*real, off]).rows
    keys = {name: set(rows["key"]) for name, rows in table.groupby("recipe")}
    assert keys["real"] - keys["ablation"] == {
        *(f"objectives.contrastive.{key}" for key in ("temperature", "symmetric", "vector", "projection")),
        "objectives.shared_masked_view",
    }
    row = table[(table["recipe"] == "ablation") & (table["key"] == "objectives.contrastive.weight")]
    assert row["value"].item() == "0.0"


def test_nested_configuration_is_listed_by_dotted_key():
    table = config_table({"seeds": [0, 1], "threads": {"fit": 1}, "network": "coexpression", "mirror": None}).rows
    assert dict(zip(table["key"], table["value"], strict=True)) == {
        "seeds": "[0, 1]",
        "threads.fit": "1",
        "network": "coexpression",
        "mirror": "null",
    }


def test_verdicts_show_tolerance_and_reason():
    claim = Claim("c", "abstract", "blood", "celllm", "macro_f1", 0.718, 0.02)
    answer = Answer(claim, math.nan, math.nan, math.nan, 0, "not run", "no score for blood")
    text = claims_table([answer]).markdown
    assert "0.718 ± 0.02" in text
    assert "no score for blood" in text
