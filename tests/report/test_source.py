"""Tables of the source audit."""

import math

import numpy as np
import pandas as pd
import pytest

from celllm.bench.source import Answer, Taught
from celllm.config import recipe as recipes
from celllm.report.source import HEAD, head_rows, label_rule_table, labels_table, source_table

HISTORY = pd.DataFrame(
    {
        "step": [10, 20, 30],
        "validation_loss": [math.nan, 1.0, 2.0],
        "validation_malignancy_accuracy": [math.nan, 0.75, 0.5],
        "validation_malignancy_majority": [math.nan, 0.6, 0.6],
    }
)


def recipe(select):
    return recipes.parse(
        {
            "tokens": {"max_length": 24},
            "genes": {"method": "random"},
            "encoder": {"width": 16, "depth": 2, "heads": 2, "head_width": 8},
            "training": {"batch_cells": 8, "chunk_tokens": 8, "steps": 30, "validation_cells": 4, "select": select},
        },
        file="tiny",
    )


@pytest.mark.parametrize(("select", "accuracy"), [("last", 0.5), ("best", 0.75)])
def test_the_heads_accuracy_is_that_of_the_weights_that_were_kept(select, accuracy):
    majority, head = head_rows(HISTORY, recipe(select))
    assert (majority["accuracy"], head["accuracy"]) == (0.6, accuracy)


def test_a_head_that_was_not_trained_has_no_row():
    assert head_rows(HISTORY[["step"]], recipe("last")) == []


def test_the_table_has_the_probes_and_the_head():
    metrics = {"accuracy": 0.51234, "macro_f1": 0.4, "auroc": math.nan}
    table = source_table([Answer("tumour", "CellLM", 10, 1000, metrics)], head_rows(HISTORY, recipe("last")))
    assert list(table.rows["question"]) == ["tumour", HEAD, HEAD]
    assert "| 1,000" in table.markdown
    assert "0.512" in table.markdown
    assert "nan" not in table.markdown


def test_labels_of_either_rule_are_counted_and_wrong_ones_too():
    table = labels_table(
        pd.Categorical(["biopsy"] * 4 + ["blood"] * 2),
        np.array([1, 0, 0, -1, 0, 0], dtype=np.int8),
        by_source={"biopsy": 1, "blood": -1},
        titles={"blood": "Blood"},
    )
    biopsy, blood = table.rows.to_dict("records")
    assert (biopsy["tumour"], biopsy["normal"], biopsy["unknown"], biopsy["wrong_by_source"]) == (1, 2, 1, 2)
    assert (blood["title"], blood["by_source"], blood["wrong_by_source"]) == ("Blood", "unknown", 0)


def test_a_run_whose_labels_are_those_of_the_source_says_that_the_truth_is_not_at_hand():
    taught = [Taught("by_source", "CellLM", 10, 2, 3, 4, 0.25, 1.0)]
    assert "truth is not at hand" in label_rule_table([], malignancy_rule="by_source").markdown
    table = label_rule_table(taught, malignancy_rule="metadata")
    assert "truth is not at hand" not in table.markdown
    assert table.rows.iloc[0]["accuracy_on_wrong"] == 0.25
