"""`links.tsv` round-trips, and refuses what it should."""

from __future__ import annotations

import pytest

from celllm.base.errors import InputError
from celllm.genes import link_scores
from celllm.genes.link_scores import LinkScore

ROWS = [
    LinkScore("graphmae", "uniform", 0, 0.9375, 0.875, 120, 30, 2),
    LinkScore("graphmae", "uniform", 1, 0.5, 0.5, 120, 30, 0),
    LinkScore("degree_product", "degree_matched", 0, 0.25, 1.0, 120, 30, 2),
]


def test_scores_are_read_as_they_were_written(tmp_path):
    link_scores.write(ROWS, tmp_path / "links.tsv")
    assert link_scores.read(tmp_path / "links.tsv") == ROWS


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("node2vec\tuniform\t0\t0.5\t0.5\t1\t1\t1", "node2vec"),
        ("svd\tby hand\t0\t0.5\t0.5\t1\t1\t1", "by hand"),
        ("svd\tuniform\t0\t\t0.5\t1\t1\t1", "could not convert"),
        ("svd\tuniform\t0\t0.5\tnan\t1\t1\t1", "0 to 1"),
        ("svd\tuniform\t0\t1.5\t0.5\t1\t1\t1", "1.5"),
        ("svd\tuniform\tzero\t0.5\t0.5\t1\t1\t1", "zero"),
        ("svd\tuniform\t0\t0.5\t0.5\t1\t1\t1\nsvd\tuniform\t0\t0.6\t0.5\t1\t1\t1", "svd, uniform, 0 more than once"),
    ],
    ids=["method", "negatives", "nothing", "nan", "out of range", "seed", "twice"],
)
def test_a_wrong_row_is_refused(tmp_path, row, message):
    (tmp_path / "links.tsv").write_text("\t".join(link_scores.COLUMNS) + "\n" + row + "\n")
    with pytest.raises(InputError, match=message):
        link_scores.read(tmp_path / "links.tsv")


def test_a_table_of_other_columns_is_refused(tmp_path):
    (tmp_path / "links.tsv").write_text("method\tauroc\nsvd\t0.5\n")
    with pytest.raises(InputError, match="snakemake --forcerun evaluate_genes"):
        link_scores.read(tmp_path / "links.tsv")
