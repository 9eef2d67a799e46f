"""Missing is not a value, however a source writes it and in whatever type pandas holds it."""

import dataclasses
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from celllm.base.errors import InputError
from celllm.sources.readers.cells import RawCells, TumourRule, annotate
from celllm.sources.texts import is_missing, texts


def test_what_stands_for_nothing_is_missing_and_what_says_something_is_not():
    nothing = ["", " ", "NA", "N/A", "#N/A", "nan", "NaN ", "<NA>", "None", r"\N", "-", "?", "unknown", "Not.defined"]
    assert [text for text in nothing if not is_missing(text)] == []
    something = ["NK", "Na+ channel", "none of these", "unknown lineage 3", "0", "False", "B"]
    assert [text for text in something if is_missing(text)] == []


@pytest.mark.parametrize(
    ("column", "expected"),
    [
        (pd.array(["T", pd.NA, "B"], dtype="string"), ["T", "", "B"]),
        (pd.array([0, pd.NA, 1], dtype="Int64"), ["0", "", "1"]),
        (np.array([0.0, np.nan, 1.5]), ["0", "", "1.5"]),
        (pd.Categorical(["T", None, "nan"]), ["T", "", ""]),
        (pd.Categorical([1.0, 2.0, None]), ["1", "2", ""]),
        (np.array([" T  cell", "1.0", None], dtype=object), ["T cell", "1", ""]),
        (np.array([True, False, True]), ["True", "False", "True"]),
    ],
)
def test_a_column_of_any_type_has_one_text_a_value(column, expected):
    assert texts(pd.Series(column)).tolist() == expected


@pytest.fixture
def row(rows):
    return dataclasses.replace(rows.row("pbmc3k_10x"), label_column=None, sample_column=None)


def cells(**obs):
    table = pd.DataFrame(obs)
    table.index = table.index.astype(str)
    return RawCells(sparse.csr_matrix((len(table), 1)), ["A"], table, Path("f.h5ad"))


def test_labels_donors_and_samples_that_are_missing_are_none(row):
    found = cells(l=["T", "Unknown", None], d=["d1", np.nan, "NA"], s=["s1", "", "s2"])
    made = annotate(found, dataclasses.replace(row, label_column="l", donor_column="d", sample_column="s"))
    assert made[["label", "donor", "sample"]].to_numpy().tolist() == [["T", "d1", "s1"], ["", "", ""], ["", "", "s2"]]


def test_a_label_map_that_names_it_makes_it_a_label(row):
    named = dataclasses.replace(row, label_column="l", label_map={"NA": "natural killer", "T": "T"})
    assert annotate(cells(l=["NA", "T", None]), named)["label"].tolist() == ["natural killer", "T", ""]


@pytest.mark.parametrize(
    ("rule", "column", "expected"),
    [
        ("obs:c:cancer", ["cancer", "normal", "unknown", None], [1, 0, -1, -1]),
        ("obs:c:cancer", ["Cancer", "CANCER ", "Normal", "none"], [1, 1, 0, -1]),
        ("obs:c:1", [1.0, 0.0, np.nan, 1.0], [1, 0, -1, 1]),
        ("obs:c:1.0", ["1", "0", "", "1"], [1, 0, -1, 1]),
        ("obs:c:True", [True, False, None, True], [1, 0, -1, 1]),
    ],
)
def test_cells_without_a_tumour_flag_are_unknown_and_numbers_are_one_value(row, rule, column, expected):
    assert annotate(cells(c=column), dataclasses.replace(row, malignancy=rule))["is_malignant"].tolist() == expected


def test_a_tumour_value_that_no_cell_has_is_refused_with_those_there_are(row):
    rule = TumourRule(dataclasses.replace(row, malignancy="obs:c:tumor"))
    rule.see(cells(c=["tumour", "normal"]))
    with pytest.raises(InputError, match=r"(?s)obs column c.*'tumor'.*'normal', 'tumour'"):
        rule.check()
    rule.see(cells(c=["tumor"]))
    rule.check()
