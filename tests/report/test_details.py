"""The page of details: spreads, classes, trials, choices, configuration; and the tables about data."""

import math
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from tests.report.conftest import seen

from celllm.config import recipe as recipes
from celllm.config.overlays import paths_of
from celllm.harmonise.harmonisation import Harmonisation, SampleCells
from celllm.report import details
from celllm.report.data import corpus_table, harmonisation_table
from celllm.report.results import Results

REPORT = Harmonisation(
    dataset="blood",
    n_names=10,
    mapped=6,
    ambiguous=1,
    lost=3,
    merged=2,
    mapped_share_of_counts=0.913,
    by_route={"approved": 5, "previous": 1, "ambiguous": 1, "outside_vocabulary": 2, "unknown": 1},
    share_by_route={"approved": 0.913, "ambiguous": 0.007, "outside_vocabulary": 0.06, "unknown": 0.02},
    top_lost=[("MALAT1", 0.05), ("XIST", 0.01)],
    samples={
        "s1": SampleCells(kept=60, empty=1, too_few_genes=2),
        "s2": SampleCells(kept=30, empty=0, too_few_genes=0),
    },
    threshold=0.8,
)


def test_spreads_of_splits_and_of_model_seeds_stand_apart(scores, catalogue):
    second = scores.assign(seed=1)
    second.loc[second["metric"] == "macro_f1", "value"] += 0.1
    table = details.spread_table(Results(pd.concat([scores, second])), catalogue).rows.set_index(["task", "method"])
    row = table.loc[("blood", "celllm")]
    assert (row["n_splits"], row["n_seeds"]) == (3, 2)
    assert row["sd_splits"] == pytest.approx(0.01)
    assert row["sd_seeds"] == pytest.approx(0.1 / 2**0.5)


def test_pretraining_seeds_are_methods_whose_spread_stands_beside_the_first(scores, catalogue):
    other = catalogue.methods["celllm"].pretrained_with(1)
    mine = scores[scores["method"] == "celllm"].assign(method=other.method)
    mine.loc[mine["metric"] == "macro_f1", "value"] += 0.1
    both = catalogue.model_copy(update={"methods": catalogue.methods | {other.method: other}})
    table = details.spread_table(Results(pd.concat([scores, mine])), both).rows.set_index(["task", "method"])

    assert table.loc[("blood", "celllm"), "sd_pretraining"] == pytest.approx(0.1 / 2**0.5)
    assert table.loc[("blood", [other.method, "logistic"]), "sd_pretraining"].isna().all()


def test_each_class_has_a_row_over_the_splits_that_have_it(scores, catalogue):
    rows = [("blood", "logistic", split, 0, "f1:B cell", 0.4 + 0.1 * split, 0.05) for split in (0, 1)]
    results = Results(pd.concat([scores, pd.DataFrame(rows, columns=scores.columns)]))
    (row,) = details.classes_table(results, catalogue).rows.to_dict("records")
    assert (row["method"], row["class"], row["n_splits"]) == ("logistic", "B cell", 2)
    assert row["f1"] == pytest.approx(0.45)


def recipe(root, *overlays):
    return recipes.read(*paths_of(list(overlays), root / "config/recipes"))


def test_choices_list_each_key_with_the_value_in_force(root):
    demo = recipe(root, "paper", "tiny", "demo")
    table = details.choices_table({"celllm": demo}).rows
    assert set(table["key"]) <= set(demo.our_choices)
    values = dict(zip(table["key"], table["value"], strict=True))
    assert values["tokens.truncation"] == demo.tokens.truncation
    assert values["training.steps"] == str(demo.training.steps)


def test_an_ablation_lists_what_it_switches_off_and_not_what_that_leaves_without_effect(root):
    off = {"objectives": {"contrastive": {"weight": 0}}}
    table = details.choices_table({"whole": recipe(root, "paper"), "off": recipe(root, "paper", off)}).rows
    keys = {name: set(rows["key"]) for name, rows in table.groupby("recipe")}
    assert "objectives.contrastive.weight" in keys["off"]
    assert any(key.startswith("objectives.contrastive.") for key in keys["whole"] - keys["off"])


def test_nested_configuration_is_listed_by_dotted_key():
    config = {"seeds": [0, 1], "threads": {"fit": 1}, "network": "coexpression", "mirror": None}
    table = details.config_table(config).rows
    assert dict(zip(table["key"], table["value"], strict=True)) == {
        "seeds": "[0, 1]",
        "threads.fit": "1",
        "network": "coexpression",
        "mirror": "null",
    }


def test_the_corpus_is_shared_out_into_tumour_normal_and_unknown(catalogue):
    corpus = SimpleNamespace(
        datasets={
            "blood": {"kept": 4, "excluded_test": 2, "excluded_equal": 3, "simulated": False},
            "simulated_cells": {"kept": 0, "excluded_test": 0, "excluded_equal": 0, "simulated": True},
        },
        dataset=pd.Categorical(["blood"] * 4, categories=["blood", "simulated_cells"]),
        is_malignant=np.array([1, 0, 0, -1], dtype=np.int8),
    )
    table = corpus_table(corpus, catalogue)
    first, second = table.rows.to_dict("records")
    assert (first["title"], first["cells_kept"], first["test_cells_excluded"]) == ("Blood", 4, 2)
    assert (first["simulated"], first["equal_to_benchmark_excluded"]) == ("real", 3)
    assert (first["tumour_share"], first["normal_share"], first["unknown_share"]) == (0.25, 0.5, 0.25)
    assert second["simulated"] == "simulated"
    assert math.isnan(second["tumour_share"])
    assert seen(table)[0]["tumour share"] == "25.0%"


def test_harmonisation_lists_what_was_lost_as_names_and_as_shares_of_counts(catalogue):
    table = harmonisation_table([REPORT], catalogue)
    (found,) = table.rows.to_dict("records")
    assert (found["outside_vocabulary"], found["unknown"], found["ambiguous"], found["merged"]) == (2, 1, 1, 2)
    assert (found["outside_share"], found["unknown_share"], found["ambiguous_share"]) == (0.06, 0.02, 0.007)
    assert (found["cells_kept"], found["cells_dropped"]) == (90, 3)
    assert found["top_lost"] == "MALAT1 5.00%; XIST 1.00%"
    assert seen(table)[0]["mapped share"] == "91.3%"
