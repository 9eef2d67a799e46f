"""The HGNC table in the forms it comes in."""

import gzip

import pandas as pd
import pytest

from celllm.base.errors import InputError
from celllm.sources import hgnc

HEADER = ["hgnc_id", "symbol", "locus_group", "status", "alias_symbol", "prev_symbol", "entrez_id", "ensembl_gene_id"]
ROWS = [
    ["HGNC:1", "AAA", "protein-coding gene", "Approved", "A1|A2", "OLD1", "11", "ENSG01"],
    ["HGNC:2", "BBB", "non-coding RNA", "Approved", "", "", "", ""],
    ["HGNC:3", "CCC", "protein-coding gene", "Entry Withdrawn", "", "OLD3", "", ""],
]


def table(rows=ROWS, header=HEADER):
    return "\n".join("\t".join(row) for row in [header, *rows]) + "\n"


def test_withdrawn_entries_are_left_out_and_lists_are_split(tmp_path):
    (tmp_path / "hgnc.txt").write_text(table())
    genes = hgnc.read(tmp_path / "hgnc.txt")
    assert list(genes["symbol"]) == ["AAA", "BBB"]
    assert genes["alias_symbol"][0] == ["A1", "A2"]
    assert genes["prev_symbol"][1] == []
    assert genes["entrez_id"][1] == ""


def test_text_gzip_and_parquet_give_the_same(tmp_path):
    (tmp_path / "hgnc.txt").write_text(table())
    (tmp_path / "hgnc.txt.gz").write_bytes(gzip.compress(table().encode()))
    frame = pd.DataFrame(ROWS, columns=HEADER).replace("", None)
    frame.to_parquet(tmp_path / "hgnc.parquet")
    expected = hgnc.read(tmp_path / "hgnc.txt")
    for name in ("hgnc.txt.gz", "hgnc.parquet"):
        pd.testing.assert_frame_equal(hgnc.read(tmp_path / name), expected)


def test_a_gene_called_na_stays_a_name(tmp_path):
    (tmp_path / "hgnc.txt").write_text(table([["HGNC:1", "NA", "other", "Approved", "NULL", "", "", ""]]))
    genes = hgnc.read(tmp_path / "hgnc.txt")
    assert genes["symbol"][0] == "NA"
    assert genes["alias_symbol"][0] == ["NULL"]


def test_a_missing_column_is_named(tmp_path):
    (tmp_path / "hgnc.txt").write_text(table([row[:-1] for row in ROWS], HEADER[:-1]))
    with pytest.raises(InputError, match=r"(?s)hgnc\.txt: columns.*no ensembl_gene_id"):
        hgnc.read(tmp_path / "hgnc.txt")


def test_a_table_without_approved_entries_is_refused(tmp_path):
    (tmp_path / "hgnc.txt").write_text(table(ROWS[2:]))
    with pytest.raises(InputError, match="entries of status Approved"):
        hgnc.read(tmp_path / "hgnc.txt")


def test_a_symbol_approved_twice_is_refused(tmp_path):
    (tmp_path / "hgnc.txt").write_text(table([ROWS[0], ["HGNC:9", *ROWS[0][1:]]]))
    with pytest.raises(InputError, match="AAA more than once"):
        hgnc.read(tmp_path / "hgnc.txt")


def test_the_complete_set_has_its_published_numbers(mirror):
    genes = hgnc.read(mirror / "hgnc_complete_set_2024-10.txt.gz")
    assert len(genes) == 43_882
    assert (genes["locus_group"] == "protein-coding gene").sum() == 19_290
    old = hgnc.read(mirror / "hgnc_complete_set_2018-11.parquet")
    assert len(old) == 41_562
