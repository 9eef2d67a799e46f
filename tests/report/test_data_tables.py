"""Tables about data: the vocabulary, names, cells, corpus."""

import math

import numpy as np
import pandas as pd
import pytest

from celllm.harmonise.harmonisation import Harmonisation, SampleCells
from celllm.report.data_tables import corpus_table, harmonisation_table, samples_table, vocabulary_table

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
TITLES = {"blood": "Blood cells"}


def test_the_corpus_is_shared_out_into_tumour_normal_and_unknown():
    table = corpus_table(
        {
            "blood": {"kept": 4, "excluded_test": 2, "excluded_equal": 3, "simulated": False},
            "simulated_cells": {"kept": 0, "excluded_test": 0, "excluded_equal": 0, "simulated": True},
        },
        dataset=pd.Categorical(["blood"] * 4, categories=["blood", "simulated_cells"]),
        is_malignant=np.array([1, 0, 0, -1], dtype=np.int8),
        titles=TITLES,
    )
    first, second = table.rows.to_dict("records")
    assert first["title"] == "Blood cells"
    assert (first["cells_kept"], first["test_cells_excluded"], first["simulated"]) == (4, 2, "real")
    assert first["equal_to_benchmark_excluded"] == 3
    assert (first["tumour_share"], first["normal_share"], first["unknown_share"]) == (0.25, 0.5, 0.25)
    assert second["simulated"] == "simulated"
    assert math.isnan(second["tumour_share"])
    assert "| 25.0%" in table.markdown


def test_harmonisation_lists_what_was_lost_as_names_and_as_shares_of_counts():
    table = harmonisation_table([REPORT], titles=TITLES)
    (found,) = table.rows.to_dict("records")
    assert (found["outside_vocabulary"], found["unknown"], found["ambiguous"], found["merged"]) == (2, 1, 1, 2)
    assert (found["outside_share"], found["unknown_share"], found["ambiguous_share"]) == (0.06, 0.02, 0.007)
    assert (found["cells_kept"], found["cells_dropped"]) == (90, 3)
    assert found["top_lost"] == "MALAT1 5.00%; XIST 1.00%"
    assert "91.3%" in table.markdown


def test_samples_have_a_row_each():
    rows = samples_table([REPORT], titles=TITLES).rows
    assert rows["sample"].tolist() == ["s1", "s2"]
    assert rows[["kept", "empty", "too_few_genes"]].to_numpy().tolist() == [[60, 1, 2], [30, 0, 0]]


@pytest.mark.parametrize(
    ("has_edge", "expected"),
    [
        (None, {"the vocabulary": 4, "named by a data set": 2}),
        (
            np.array([False, True, True, False]),
            {"the vocabulary": 4, "with an edge in ppi": 2, "named or": 3, "named and": 1},
        ),
    ],
    ids=["no network", "network"],
)
def test_the_size_of_the_vocabulary_stands_beside_the_papers(has_edge, expected):
    rows = vocabulary_table(
        locus_group="protein-coding gene",
        gene_table="hgnc",
        is_named=np.array([True, True, False, False]),
        has_edge=has_edge,
        network="ppi",
    ).rows
    for what, number in expected.items():
        (row,) = rows[rows["genes"].str.contains(what)].to_dict("records")
        assert row["number"] == number
        assert row["beyond_paper"] == number - 19_379
