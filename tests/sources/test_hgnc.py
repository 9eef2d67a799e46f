"""The HGNC table in the forms it comes in."""

import gzip

import pandas as pd
import pytest

from celllm.base.errors import InputError
from celllm.sources import hgnc

HEADER = ["hgnc_id", "symbol", "locus_group", "status", "alias_symbol", "prev_symbol", "entrez_id", "ensembl_gene_id"]
ROWS = [
    ["HGNC:1", "AAA", "protein-coding gene", "Approved", "A1|A2", "OLD1", "11", "ENSG01"],
    ["HGNC:2", "NA", "non-coding RNA", "Approved", "NULL", "", "", ""],
    ["HGNC:3", "CCC", "protein-coding gene", "Entry Withdrawn", "", "OLD3", "", ""],
]


def table(rows=ROWS, header=HEADER):
    return "\n".join("\t".join(row) for row in [header, *rows]) + "\n"


def test_text_gzip_and_parquet_give_the_same(tmp_path):
    (tmp_path / "hgnc.txt").write_text(table())
    (tmp_path / "hgnc.txt.gz").write_bytes(gzip.compress(table().encode()))
    frame = pd.DataFrame(ROWS, columns=HEADER).replace("", None)
    frame.to_parquet(tmp_path / "hgnc.parquet")
    expected = hgnc.read(tmp_path / "hgnc.txt")
    assert list(expected["symbol"]) == ["AAA", "NA"]  # a name, and not missing; CCC is withdrawn
    assert expected["alias_symbol"].tolist() == [["A1", "A2"], ["NULL"]]
    assert [expected[column][1] for column in ("prev_symbol", "entrez_id")] == [[], ""]
    for name in ("hgnc.txt.gz", "hgnc.parquet"):
        pd.testing.assert_frame_equal(hgnc.read(tmp_path / name), expected)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (table([row[:-1] for row in ROWS], HEADER[:-1]), r"(?s)hgnc\.txt: columns.*no ensembl_gene_id"),
        (table(ROWS[2:]), "entries of status Approved"),
        (table([ROWS[0], ["HGNC:9", *ROWS[0][1:]]]), "AAA more than once"),
    ],
    ids=["a column", "nothing approved", "a symbol twice"],
)
def test_what_is_not_the_complete_set_is_refused(tmp_path, text, message):
    (tmp_path / "hgnc.txt").write_text(text)
    with pytest.raises(InputError, match=message):
        hgnc.read(tmp_path / "hgnc.txt")
